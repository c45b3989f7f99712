//! The sockets of the server, TCP and unix: those it listens on, and those of its clients.
//!
//! The rest of the server must not know which of the two kinds a socket is.

use std::fmt;
use std::io;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use super::socket_file::SocketFile;

/// A connection to a client.
pub(super) type ClientStream = Either<TcpStream, UnixStream>;

/// A socket that clients connect to.
#[derive(Debug)]
pub enum ServerListener {
    /// A port of IPv4, IPv6 or both.
    Tcp(TcpListener),
    /// A path, or an abstract name.
    Unix {
        /// The file that has to be removed at the end; `None` for a socket of systemd, and for an
        /// abstract name. It is dropped before the listener: as long as that listens, no other
        /// process replaces the file.
        file: Option<SocketFile>,
        /// The socket.
        listener: UnixListener,
    },
}

impl From<TcpListener> for ServerListener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl ServerListener {
    pub(super) async fn accept(&self) -> io::Result<ClientStream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // If this fails, messages are only delayed a little.
                let _ = stream.set_nodelay(true);
                Ok(Either::Left(stream))
            }
            Self::Unix { listener, .. } => Ok(Either::Right(listener.accept().await?.0)),
        }
    }
}

/// The address: `[::]:8989`, `/run/fleet-monitor.sock`, or `@name` for an abstract name
/// (`unix(7)`).
impl fmt::Display for ServerListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = "an unknown address";

        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str(unknown),
            },
            Self::Unix { listener, .. } => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                let name = address.as_ref().and_then(|address| address.as_abstract_name());
                match (path, name) {
                    (Some(path), _) => write!(f, "{}", path.display()),
                    (None, Some(name)) => write!(f, "@{}", name.escape_ascii()),
                    (None, None) => f.write_str(unknown),
                }
            }
        }
    }
}

/// Writes what fits into the kernel's buffer, without waiting.
pub(super) fn try_write(stream: &ClientStream, bytes: &[u8]) -> io::Result<usize> {
    match stream {
        Either::Left(stream) => stream.try_write(bytes),
        Either::Right(stream) => stream.try_write(bytes),
    }
}

/// Makes the connection end with a reset when it is dropped. Otherwise the kernel would keep
/// retransmitting what the client does not read. A unix socket needs no reset: what was written is
/// in the client's buffer already.
pub(super) fn reset_on_drop(stream: &ClientStream) -> io::Result<()> {
    match stream {
        Either::Left(stream) => stream.set_zero_linger(),
        Either::Right(_) => Ok(()),
    }
}
