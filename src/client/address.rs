//! The address of a running fleet-monitor: `http://HOST:PORT` or `https://HOST:PORT`, maybe with a
//! path, or a unix socket.
//!
//! It opens no connection.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;

use crate::net::host;

/// The port if a URL has none: the server's default.
const DEFAULT_PORT: u16 = 8989;

/// Where a fleet-monitor listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    /// The path of a unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// Whether the connection is encrypted: `https://`.
        is_tls: bool,
        /// A name or an IP address, as a socket needs it.
        host: String,
        port: u16,
        /// The path below which a proxy serves it; empty if there is none.
        prefix: String,
    },
}

/// Why a text is not a [`ServerAddress`]. It does not quote the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ServerAddressError(&'static str);

const EXPECTED: ServerAddressError =
    ServerAddressError("expected http://HOST:PORT, https://HOST:PORT or unix:///PATH");

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, ServerAddressError> {
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') {
                Ok(ServerAddress::Unix(path.into()))
            } else {
                Err(ServerAddressError(
                    "the path must be absolute, as in unix:///run/fleet-monitor.sock",
                ))
            };
        }
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let is_tls = with_scheme.starts_with("https://");
        if !is_tls && !with_scheme.starts_with("http://") {
            return Err(EXPECTED);
        }
        if with_scheme.contains(['@', '#', '?']) {
            return Err(ServerAddressError(
                "only a host, a port and a path may follow http:// or https://; the token is in \
                 --token-file",
            ));
        }

        let uri: Uri = with_scheme.parse().map_err(|_| EXPECTED)?;
        let host = uri
            .host()
            .and_then(host::parse_in_url)
            .ok_or(ServerAddressError("it needs a host"))?;
        Ok(ServerAddress::Tcp {
            is_tls,
            host,
            port: uri.port_u16().unwrap_or(DEFAULT_PORT),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerAddress::Unix(path) => write!(f, "unix://{}", path.display()),
            ServerAddress::Tcp { is_tls, host, port, prefix } => {
                let scheme = if *is_tls { "https" } else { "http" };
                write!(f, "{scheme}://{}{prefix}", host::in_url(host, *port))
            }
        }
    }
}

impl ServerAddress {
    /// Whether the connection is encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, ServerAddress::Tcp { is_tls: true, .. })
    }

    /// The value of the header `Host`. For a unix socket, a name that every server accepts.
    pub(crate) fn authority(&self) -> String {
        match self {
            ServerAddress::Unix(_) => "localhost".to_owned(),
            ServerAddress::Tcp { host, port, .. } => host::in_header(host, *port),
        }
    }

    /// The path of a request, below the prefix.
    pub(crate) fn path(&self, path: &str) -> String {
        match self {
            ServerAddress::Unix(_) => path.to_owned(),
            ServerAddress::Tcp { prefix, .. } => format!("{prefix}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, prefix: &str) -> ServerAddress {
        ServerAddress::Tcp {
            is_tls: false,
            host: host.into(),
            port,
            prefix: prefix.into(),
        }
    }

    #[test]
    fn an_address_is_a_url_a_host_or_a_socket() {
        for (text, address) in [
            ("http://localhost:8989", tcp("localhost", 8989, "")),
            ("http://core-01:80/fleet/", tcp("core-01", 80, "/fleet")),
            ("core-01", tcp("core-01", 8989, "")),
            ("core-01:1234", tcp("core-01", 1234, "")),
            ("http://[fe80::1%25eth0]:1", tcp("fe80::1%eth0", 1, "")),
            (
                "unix:///run/fleet-monitor.sock",
                ServerAddress::Unix("/run/fleet-monitor.sock".into()),
            ),
            (
                "https://core-01/fleet",
                ServerAddress::Tcp {
                    is_tls: true,
                    host: "core-01".into(),
                    port: 8989,
                    prefix: "/fleet".into(),
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn an_invalid_address_is_explained() {
        for (text, named) in [
            ("unix://run/x", "absolute"),
            ("ftp://core-01", "http://"),
            ("http://user:secret@core-01", "--token-file"),
            ("http://core-01/?token=secret", "--token-file"),
            ("", "http://"),
        ] {
            let error = text.parse::<ServerAddress>().unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
