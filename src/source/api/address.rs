//! Parses and formats the address of fleet's API. It opens no connection.

use std::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hyper::Uri;

use crate::net::host;

/// Where fleet's API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The path of a unix socket; fleet's own is `/var/run/fleet.sock`.
    Unix(PathBuf),
    /// A TCP port of a host (`http://HOST:PORT`).
    Tcp {
        /// A name or an IP address. An IPv6 address has no brackets, but its zone, if there is one.
        host: String,
        /// The TCP port; 49153 is the usual one.
        port: u16,
    },
}

impl Default for Address {
    /// The address of CoreOS's fleet.socket.
    fn default() -> Self {
        Address::Unix("/var/run/fleet.sock".into())
    }
}

/// Why a text is no [`Address`]. It does not quote the text, which may contain credentials.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(&'static str);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') {
                Ok(Address::Unix(path.into()))
            } else {
                Err(AddressError("the path must be absolute, as in unix:///var/run/fleet.sock"))
            };
        }

        if text.starts_with("https://") {
            return Err(AddressError("fleet has no TLS; use http://HOST:PORT"));
        }
        if !text.starts_with("http://") {
            return Err(AddressError("expected unix:///PATH or http://HOST:PORT"));
        }
        let uri: Uri = text.parse().map_err(|_| AddressError("expected http://HOST:PORT"))?;
        if uri.path() != "/" || uri.query().is_some() || text.contains(['@', '#']) {
            return Err(AddressError("only a host and a port may follow http://"));
        }

        let host = uri
            .host()
            .and_then(host::parse_in_url)
            .ok_or(AddressError("it needs a host"))?;
        let port = uri
            .port_u16()
            .ok_or(AddressError("it needs a port, as in http://127.0.0.1:49153"))?;
        Ok(Address::Tcp { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp { host, port } => write!(f, "http://{}", host::in_url(host, *port)),
        }
    }
}

impl Address {
    /// The value of the header `Host`.
    pub(super) fn authority(&self) -> String {
        match self {
            Address::Unix(_) => "fleet".to_owned(),
            Address::Tcp { host, port } => host::in_header(host, *port),
        }
    }

    /// Why nothing can listen at this address, as a part of a sentence. `None` if the unix socket
    /// exists, and for TCP, where that is not known without connecting.
    pub fn absence(&self) -> Option<String> {
        let Address::Unix(path) = self else {
            return None;
        };
        match path.metadata() {
            Ok(metadata) if metadata.file_type().is_socket() => None,
            Ok(_) => Some(format!("{} is {}", path.display(), file_kind(path))),
            Err(_) => Some(format!("there is no {self}")),
        }
    }
}

/// What is at a path where a socket should be, for a message.
pub(super) fn file_kind(path: &Path) -> &'static str {
    if path.is_dir() { "a directory" } else { "a file" }
}
