//! The addresses of `--listen`. It opens no socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The longest path of a unix socket, in bytes: `sun_path` of `unix(7)`, without the byte that ends
/// it.
const MAX_PATH_BYTES: usize = 107;

/// An item of `--listen`: an address in addition to that of `--bind` and `--port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port. 0: any free port.
    Tcp(SocketAddr),
    /// The absolute path of a unix socket.
    Unix(PathBuf),
}

/// Why a text is no [`ListenAddress`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ListenAddressError(&'static str);

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        let Some(path) = text.strip_prefix("unix://") else {
            return text.parse().map(ListenAddress::Tcp).map_err(|_| {
                ListenAddressError(
                    "expected unix:///PATH, or an IP address and a port, such as 127.0.0.1:8990 \
                     or [::1]:8990",
                )
            });
        };

        if !path.starts_with('/') || path.ends_with('/') {
            return Err(ListenAddressError(
                "expected the absolute path of a socket, such as unix:///run/fleet-monitor.sock",
            ));
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(ListenAddressError("the path of a socket has at most 107 bytes"));
        }
        Ok(ListenAddress::Unix(path.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_path_of_a_socket_or_a_port_of_an_ip_address() {
        let tcp = |text: &str| ListenAddress::Tcp(text.parse().unwrap());
        let longest = format!("/{}", "x".repeat(MAX_PATH_BYTES - 1));

        for (text, address) in [
            ("unix:///run/a.sock", Some(ListenAddress::Unix("/run/a.sock".into()))),
            (&format!("unix://{longest}"), Some(ListenAddress::Unix((&longest).into()))),
            ("127.0.0.1:8990", Some(tcp("127.0.0.1:8990"))),
            ("[::]:0", Some(tcp("[::]:0"))),
            (&format!("unix://{longest}x"), None),
            ("unix://run/a.sock", None),
            ("unix:///run/", None),
            ("unix://", None),
            ("/run/a.sock", None),
            ("::1:8990", None),
            ("8990", None),
            ("localhost:8990", None),
            ("http://127.0.0.1:8990", None),
        ] {
            assert_eq!(text.parse().ok(), address, "{text}");
        }
    }
}
