//! Parses and formats the address of a member of etcd. It knows nothing of connections.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;

use crate::net::host;

/// How many characters of a URL that a server sent are shown.
const MAX_SHOWN_CHARS: usize = 200;

/// The address of a member of etcd, as `--etcd` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether the scheme is `https://`.
    pub tls: bool,
    /// A name or an IP address. An IPv6 address has no brackets, but its zone, if there is one.
    pub host: String,
    /// The TCP port; 2379 or 4001 for most members.
    pub port: u16,
}

/// Why a text is no [`Endpoint`]. It does not quote the text, which may contain credentials.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EndpointError(&'static str);

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let syntax = EndpointError("expected http://HOST:PORT or https://HOST:PORT");
        let tls = match text.split_once("://") {
            Some(("http", _)) => false,
            Some(("https", _)) => true,
            _ => return Err(syntax),
        };
        let uri: Uri = text.parse().map_err(|_| syntax)?;

        if text.contains('@') {
            return Err(EndpointError(
                "a user and a password do not belong in it: use --etcd-user NAME, and \
                 --etcd-password-file FILE for the password",
            ));
        }
        if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
            return Err(EndpointError("only a host and a port may follow the scheme"));
        }

        let host = uri
            .host()
            .and_then(host::parse_in_url)
            .ok_or(EndpointError("it needs a host"))?;
        let port = uri
            .port_u16()
            .ok_or(EndpointError("it needs a port, as in http://127.0.0.1:2379"))?;
        Ok(Self { tls, host, port })
    }
}

impl Endpoint {
    /// Whether what is sent to it cannot be read on the network: it has TLS, or is on this machine.
    pub(super) fn is_confidential(&self) -> bool {
        let is_loopback = self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        self.tls || is_loopback || self.host == "localhost"
    }

    /// The value of the header `Host`.
    pub(super) fn authority(&self) -> String {
        host::in_header(&self.host, self.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", host::in_url(&self.host, self.port))
    }
}

/// A URL that a server sent, for a message: without credentials and control characters, and cut to
/// [`MAX_SHOWN_CHARS`]. Everything before the last `@` of its path counts as credentials, since a
/// password that is not escaped may contain a `/`.
pub(super) fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |colon| colon + 3));
    let path_end = rest.find(['?', '#']).unwrap_or(rest.len());
    let shown = match rest[..path_end].rfind('@') {
        Some(at) => format!("{scheme}…{}", &rest[at..]),
        None => url.to_owned(),
    };

    shown
        .chars()
        .filter(|char| !char.is_control())
        .take(MAX_SHOWN_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::assert_catalogue;

    #[test]
    fn an_address_is_shown_as_it_is_read() {
        for text in [
            "http://10.0.0.1:4001",
            "https://etcd-01.example.com:2379",
            "http://[fd00::1]:2379",
        ] {
            assert_eq!(
                text.parse::<Endpoint>()
                    .map(|endpoint| endpoint.to_string())
                    .as_deref(),
                Ok(text)
            );
        }
        let endpoint: Endpoint = "https://[fd00::1]:2379/".parse().unwrap();
        assert_eq!(endpoint, Endpoint { tls: true, host: "fd00::1".into(), port: 2379 });
    }

    #[test]
    fn a_zone_is_kept_for_the_socket_and_not_sent_to_the_server() {
        for text in ["http://[fe80::1%25eth0]:2379", "http://[fe80::1%eth0]:2379"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.host, "fe80::1%eth0");
            assert_eq!(endpoint.authority(), "[fe80::1]:2379");
            assert_eq!(endpoint.to_string(), "http://[fe80::1%25eth0]:2379");
        }
    }

    #[test]
    fn an_invalid_address_is_explained() {
        let errors = [
            "10.0.0.1:4001",
            "unix:///run/etcd.sock",
            "http://etcd",
            "http://etcd:2379/v2/keys",
            "http://root:secret@etcd:2379",
            "https://root:se/cret@etcd:2379",
            "http://:2379",
        ]
        .map(|text| (text, text.parse::<Endpoint>().unwrap_err()));
        assert!(
            errors.iter().all(|(_, error)| !error.to_string().contains("cret")),
            "credentials are not repeated"
        );
        assert_catalogue("etcd-address-errors", errors);
    }

    #[test]
    fn a_url_from_outside_is_shown_without_credentials() {
        for (url, shown) in [
            ("http://10.0.0.2:4001/v2/keys", "http://10.0.0.2:4001/v2/keys"),
            (
                "http://root:secret@10.0.0.2:4001/v2/keys?a=@",
                "http://…@10.0.0.2:4001/v2/keys?a=@",
            ),
            ("http://a@b:secret@c", "http://…@c"),
            ("http://a:se/cret@c/v2", "http://…@c/v2"),
            ("//a:secret@c/v2", "…@c/v2"),
            ("/login\u{1b}[31m", "/login[31m"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
        assert_eq!(without_credentials(&"ä".repeat(1000)).chars().count(), 200);

        let long = format!("http://root:{}@10.0.0.2", "secret".repeat(100));
        assert_eq!(without_credentials(&long), "http://…@10.0.0.2");
    }
}
