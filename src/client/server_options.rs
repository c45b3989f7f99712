//! Which monitor a command asks, with which token and which certificates: from its options, or else
//! from the environment.
//!
//! It sends nothing.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use hyper::header::HeaderValue;

use super::CommandError;
use super::address::ServerAddress;
use super::connection::MonitorClient;
use crate::cli::{
    CA_VARIABLE, CERT_VARIABLE, ConnectionOptions, DEFAULT_URL, KEY_VARIABLE, TOKEN_FILE_VARIABLE,
    URL_VARIABLE,
};
use crate::net::tls::{self, TlsClient, TlsFileError, TlsIdentity, TrustedRoots};

/// A value, and the option or the variable that sets it.
struct SetValue {
    value: OsString,
    set_by: &'static str,
}

impl SetValue {
    /// The value of the option; or else that of the variable, unless it is empty.
    fn find(
        option: Option<OsString>,
        flag: &'static str,
        variable: &'static str,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Option<Self> {
        let from_environment = || lookup(variable).filter(|value| !value.is_empty());

        match option {
            Some(value) => Some(Self { value, set_by: flag }),
            None => from_environment().map(|value| Self { value, set_by: variable }),
        }
    }

    fn path(&self) -> &Path {
        Path::new(&self.value)
    }

    fn wrong(&self, problem: &dyn std::fmt::Display) -> CommandError {
        CommandError::Option {
            option: self.set_by,
            value: self.value.display().to_string(),
            problem: problem.to_string(),
        }
    }
}

impl MonitorClient {
    /// The server that the options name, or the environment.
    pub(super) fn from_options(options: &ConnectionOptions) -> Result<Self, CommandError> {
        Self::find(options, |name| env::var_os(name))
    }

    fn find(
        options: &ConnectionOptions,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, CommandError> {
        let url = options.url.clone().map(OsString::from);
        let url = SetValue::find(url, "--url", URL_VARIABLE, &lookup)
            .unwrap_or(SetValue { value: DEFAULT_URL.into(), set_by: "--url" });
        let text = url.value.to_str().ok_or_else(|| url.wrong(&"is not UTF-8"))?;
        let address: ServerAddress = text
            .parse()
            .map_err(|problem: super::address::ServerAddressError| url.wrong(&problem))?;

        let token_file = options.token_file.clone().map(OsString::from);
        let token_file = SetValue::find(token_file, "--token-file", TOKEN_FILE_VARIABLE, &lookup);
        let token = token_file.as_ref().map(read_token).transpose()?;

        let tls = TlsOptions::find(options, &lookup).client(&address)?;
        Ok(Self { address, token, tls })
    }
}

/// The files for TLS with the monitor.
struct TlsOptions {
    ca: Option<SetValue>,
    cert: Option<SetValue>,
    key: Option<SetValue>,
}

impl TlsOptions {
    fn find(options: &ConnectionOptions, lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let find = |option: &Option<PathBuf>, flag, variable| {
            SetValue::find(option.clone().map(OsString::from), flag, variable, &lookup)
        };

        Self {
            ca: find(&options.ca, "--ca", CA_VARIABLE),
            cert: find(&options.cert, "--cert", CERT_VARIABLE),
            key: find(&options.key, "--key", KEY_VARIABLE),
        }
    }

    /// `None` if the connection is not encrypted.
    fn client(&self, address: &ServerAddress) -> Result<Option<TlsClient>, CommandError> {
        if !address.is_tls() {
            return Ok(None);
        }

        let roots = match &self.ca {
            Some(ca) => {
                let (certificates, _) =
                    tls::read_roots(ca.path()).map_err(|problem| ca.wrong(&problem))?;
                let origin = format!("{} = {:?}", ca.set_by, ca.path().display());
                TrustedRoots { certificates, origin }
            }
            None => TrustedRoots::of_host("the store of this host")?,
        };
        let client = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => TlsIdentity::read(cert.path(), key.path())
                .and_then(|identity| TlsClient::with_identity(roots, identity))
                .map_err(|error| {
                    let cert = (cert.set_by, cert.path());
                    TlsFileError::of_identity(cert, (key.set_by, key.path()), error)
                })?,
            (Some(cert), None) => return Err(cert.wrong(&"needs its private key: --key FILE")),
            (None, Some(key)) => return Err(key.wrong(&"needs its certificate: --cert FILE")),
            (None, None) => TlsClient::new(roots),
        };
        Ok(Some(client))
    }
}

/// The header `Authorization` with the token from a file.
fn read_token(file: &SetValue) -> Result<HeaderValue, CommandError> {
    let text = fs::read_to_string(file.path())
        .map_err(|error| file.wrong(&format_args!("cannot be read: {error}")))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(file.wrong(&"expected one line of visible ASCII characters"));
    }

    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| file.wrong(&error))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address and the header with the token that are chosen.
    fn chosen(
        url: Option<&str>,
        token_file: Option<&Path>,
        variables: &[(&str, &str)],
    ) -> Result<(String, Option<HeaderValue>), CommandError> {
        let options = ConnectionOptions {
            url: url.map(str::to_owned),
            token_file: token_file.map(Into::into),
            ca: None,
            cert: None,
            key: None,
        };
        let lookup = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        };

        let server = MonitorClient::find(&options, lookup)?;
        Ok((server.address.to_string(), server.token))
    }

    #[test]
    fn an_option_overrides_the_variable_and_an_empty_variable_is_not_set() {
        let of = |url, variables: &[_]| chosen(url, None, variables).unwrap().0;

        assert_eq!(of(None, &[]), "http://localhost:8989");
        assert_eq!(of(None, &[("FLEET_MONITOR_URL", "")]), "http://localhost:8989");
        let variables = [("FLEET_MONITOR_URL", "unix:///run/a.sock")];
        assert_eq!(of(None, &variables), "unix:///run/a.sock");
        assert_eq!(of(Some("http://a:1"), &variables), "http://a:1");
    }

    #[test]
    fn a_token_is_read_from_the_file_of_the_option_or_of_the_variable() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = |name: &str, token: &str| {
            let path = directory.path().join(name);
            fs::write(&path, token).unwrap();
            path
        };
        let one = file("one", "one\n");
        let other = file("other", "other\n");
        let variables = [("FLEET_MONITOR_TOKEN_FILE", other.to_str().unwrap())];
        let of = |path, variables: &[_]| chosen(None, path, variables).unwrap().1;

        assert_eq!(of(Some(&*one), &variables).unwrap(), "Bearer one");
        assert_eq!(of(None, &variables).unwrap(), "Bearer other");
        assert_eq!(of(None, &[("FLEET_MONITOR_TOKEN_FILE", "")]), None);
    }

    #[test]
    fn an_error_names_the_option_or_the_variable_that_sets_the_value() {
        let option_of = |result: Result<_, CommandError>| match result {
            Err(CommandError::Option { option, .. }) => option,
            _ => panic!("no error of an option"),
        };
        let nowhere = Some(Path::new("/nonexistent/token"));

        assert_eq!(option_of(chosen(Some("ftp://a"), None, &[])), "--url");
        let variables = [("FLEET_MONITOR_URL", "ftp://a")];
        assert_eq!(option_of(chosen(None, None, &variables)), "FLEET_MONITOR_URL");
        assert_eq!(option_of(chosen(None, nowhere, &[])), "--token-file");
        let variables = [("FLEET_MONITOR_TOKEN_FILE", "/nonexistent/token")];
        assert_eq!(option_of(chosen(None, None, &variables)), "FLEET_MONITOR_TOKEN_FILE");
    }
}
