//! Where a member of etcd listens. It knows the spelling, and nothing of connections.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;

use crate::source::host;

/// A member of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it is spoken to over TLS (`https://`).
    pub tls: bool,
    /// A name or an IP address, an IPv6 address without its brackets, and with its zone, if any.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is no [`Endpoint`]. It does not quote the text, which may have credentials in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EndpointError(&'static str);

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let tls = match text.split_once("://") {
            Some(("http", _)) => false,
            Some(("https", _)) => true,
            _ => return Err(EndpointError("expected http://HOST:PORT or https://HOST:PORT")),
        };
        let uri: Uri = text
            .parse()
            .map_err(|_| EndpointError("expected http://HOST:PORT or https://HOST:PORT"))?;
        if text.contains('@') {
            return Err(EndpointError(
                "no user and password may be in it: --etcd-user NAME, with the password in --etcd-password-file FILE",
            ));
        }
        if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
            return Err(EndpointError("only a host and a port may follow the scheme"));
        }
        let host = uri
            .host()
            .and_then(host::read_in_url)
            .ok_or(EndpointError("it needs a host"))?;
        let port = uri
            .port_u16()
            .ok_or(EndpointError("it needs a port, as in http://127.0.0.1:2379"))?;
        Ok(Self { tls, host, port })
    }
}

impl Endpoint {
    /// Whether nobody but it can read what it is sent: over TLS, or on this machine.
    pub(super) fn is_confidential(&self) -> bool {
        let is_loopback = self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        self.tls || is_loopback || self.host == "localhost"
    }

    /// What a request names as its host.
    pub fn authority(&self) -> String {
        host::in_header(&self.host, self.port)
    }

    /// What its certificate is for.
    pub fn name(&self) -> &str {
        host::without_zone(&self.host)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "http{}://{}",
            if self.tls { "s" } else { "" },
            host::in_url(&self.host, self.port)
        )
    }
}

/// A URL for people, of whoever it is: without a user and a password, without control characters,
/// and not too long.
pub(super) fn without_credentials(url: &str) -> String {
    const LONGEST: usize = 200;
    let plain: String = url.chars().filter(|char| !char.is_control()).take(LONGEST).collect();
    let Some((scheme, rest)) = plain.split_once("://") else {
        return plain;
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority_end].rsplit_once('@') {
        Some((credentials, _)) => format!("{scheme}://…@{}", &rest[credentials.len() + 1..]),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::assert_catalogue;

    #[test]
    fn what_is_read_is_what_is_shown() {
        for text in [
            "http://10.0.0.1:4001",
            "https://etcd-01.example.com:2379",
            "http://[fd00::1]:2379",
        ] {
            assert_eq!(text.parse::<Endpoint>().map(|it| it.to_string()).as_deref(), Ok(text));
        }
        let endpoint: Endpoint = "https://[fd00::1]:2379/".parse().unwrap();
        assert_eq!(endpoint, Endpoint { tls: true, host: "fd00::1".into(), port: 2379 });
    }

    #[test]
    fn a_zone_is_for_the_socket_alone() {
        for text in ["http://[fe80::1%25eth0]:2379", "http://[fe80::1%eth0]:2379"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.host, "fe80::1%eth0");
            assert_eq!(
                (endpoint.authority().as_str(), endpoint.name()),
                ("[fe80::1]:2379", "fe80::1")
            );
            assert_eq!(endpoint.to_string(), "http://[fe80::1%25eth0]:2379");
        }
    }

    #[test]
    fn what_is_no_address_is_told_in_these_words() {
        let told = [
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
            told.iter().all(|(_, error)| !error.to_string().contains("cret")),
            "credentials are not repeated"
        );
        assert_catalogue("etcd-address-errors", told);
    }

    #[test]
    fn what_others_say_is_shown_without_credentials() {
        for (url, shown) in [
            ("http://10.0.0.2:4001/v2/keys", "http://10.0.0.2:4001/v2/keys"),
            (
                "http://root:secret@10.0.0.2:4001/v2/keys?a=@",
                "http://…@10.0.0.2:4001/v2/keys?a=@",
            ),
            ("http://a@b:secret@c", "http://…@c"),
            ("/login\u{1b}[31m", "/login[31m"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
        assert_eq!(without_credentials(&"ä".repeat(1000)).chars().count(), 200);
    }
}
