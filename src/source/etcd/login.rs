//! The user that etcd's requests are made as: its name, its password, and the header that carries
//! both.
//!
//! The password leaves this module in that header alone, which is marked as sensitive: no `Debug`
//! shows it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;

/// The name of the credential that holds the password, in systemd's `$CREDENTIALS_DIRECTORY`
/// (`systemd.exec(5)`).
const CREDENTIAL: &str = "etcd-password";

/// Where the user of etcd and its password are configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user's name, without a colon.
    pub user: String,
    /// The file with the password.
    pub password_file: Option<PathBuf>,
    /// systemd's `$CREDENTIALS_DIRECTORY`. A password there is preferred to the file.
    pub credentials: Option<PathBuf>,
}

/// Why a user of etcd cannot log in: there is no usable password.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Neither a file nor a credential is there.
    #[error(
        "etcd_user = {0:?} needs its password: --etcd-password-file FILE, or the credential etcd-password \
         (LoadCredential=etcd-password:FILE)"
    )]
    NoPassword(String),
    /// The file or the credential cannot be read.
    #[error("cannot read the password of etcd_user = {user:?} from {}: {source}", .path.display())]
    Unreadable {
        /// The user.
        user: String,
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The file does not hold one password.
    #[error("{} does not hold the password of an etcd user: expected one line of text", .0.display())]
    Unusable(PathBuf),
}

/// A user with its password, as each request carries it: HTTP Basic (RFC 7617).
#[derive(Clone)]
pub(super) struct Authorization {
    pub(super) user: String,
    pub(super) header: HeaderValue,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// Reads the password.
    pub(super) fn authorization(&self) -> Result<Authorization, LoginError> {
        let (password, path) = self.password()?;
        let password = password.strip_suffix("\n").unwrap_or(&password);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() || password.chars().any(char::is_control) {
            return Err(LoginError::Unusable(path));
        }

        let encoded = BASE64_STANDARD.encode(format!("{}:{password}", self.user));
        let mut header =
            HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 is ASCII");
        header.set_sensitive(true);
        Ok(Authorization { user: self.user.clone(), header })
    }

    /// The text that holds the password, and the file that it is from.
    fn password(&self) -> Result<(String, PathBuf), LoginError> {
        let credential = self.credentials.as_ref().map(|directory| directory.join(CREDENTIAL));
        if let Some(path) = credential {
            match std::fs::read_to_string(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => return self.readable(&path, read),
            }
        }

        match &self.password_file {
            Some(path) => self.readable(path, std::fs::read_to_string(path)),
            None => Err(LoginError::NoPassword(self.user.clone())),
        }
    }

    fn readable(
        &self,
        path: &Path,
        read: io::Result<String>,
    ) -> Result<(String, PathBuf), LoginError> {
        let unreadable = |source| LoginError::Unreadable {
            user: self.user.clone(),
            path: path.to_owned(),
            source,
        };
        Ok((read.map_err(unreadable)?, path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_password_is_that_of_the_credential_or_else_of_the_file() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        let mut login = Login {
            user: "Aladdin".into(),
            password_file: Some(file.clone()),
            credentials: Some(directory.path().to_owned()),
        };
        let unreadable = login.authorization().unwrap_err();
        assert!(
            matches!(&unreadable, LoginError::Unreadable { path, .. } if *path == file),
            "{unreadable}"
        );

        // The example of RFC 7617, section 2.
        std::fs::write(&file, "open sesame\r\n").unwrap();
        assert_eq!(login.authorization().unwrap().header, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");

        std::fs::write(directory.path().join("etcd-password"), "of systemd").unwrap();
        assert_eq!(login.authorization().unwrap().header, "Basic QWxhZGRpbjpvZiBzeXN0ZW1k");

        login.password_file = None;
        login.credentials = None;
        let missing = login.authorization().unwrap_err();
        assert!(
            matches!(&missing, LoginError::NoPassword(user) if user == "Aladdin"),
            "{missing}"
        );
    }

    #[test]
    fn what_is_no_password_is_refused() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        let login = Login {
            user: "root".into(),
            password_file: Some(file.clone()),
            credentials: None,
        };
        for text in ["", "\n", "one\ntwo\n", "tab\tbed"] {
            std::fs::write(&file, text).unwrap();
            let error = login.authorization().unwrap_err();
            assert!(
                matches!(&error, LoginError::Unusable(path) if *path == file),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "geheim").unwrap();
        let login = Login {
            user: "root".into(),
            password_file: Some(file),
            credentials: None,
        };
        let authorization = login.authorization().unwrap();
        let shown = format!("{authorization:?} {:?}", authorization.header);
        assert!(
            !shown.contains("geheim") && !shown.contains(authorization.header.to_str().unwrap()),
            "{shown}"
        );
    }
}
