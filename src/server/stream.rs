//! The two kinds of socket that clients connect to: TCP and unix.
//!
//! All that knows one from the other is here. To the rest of the server a connection is a `Stream`.

use std::fmt;
use std::io;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

/// A connection.
pub(super) type Stream = Either<TcpStream, UnixStream>;

/// A socket that is connected to.
#[derive(Debug)]
pub enum Listener {
    /// A port of IPv4, IPv6 or both.
    Tcp(TcpListener),
    /// A path, or an abstract name.
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Without it a message only waits a little longer.
                let _ = stream.set_nodelay(true);
                Ok(Either::Left(stream))
            }
            Self::Unix(listener) => Ok(Either::Right(listener.accept().await?.0)),
        }
    }
}

/// Where it listens: `[::]:8989`, `/run/fleet-monitor.sock`, or `@name` for an abstract name
/// (`unix(7)`).
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = "an unknown address";
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str(unknown),
            },
            Self::Unix(listener) => {
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

/// Writes what the kernel takes at once.
pub(super) fn try_write(stream: &Stream, bytes: &[u8]) -> io::Result<usize> {
    match stream {
        Either::Left(stream) => stream.try_write(bytes),
        Either::Right(stream) => stream.try_write(bytes),
    }
}

/// Has the connection end by a reset when it is dropped, so that the kernel does not go on offering
/// what the client does not take. Of a unix socket there is nothing to go on with: what was written
/// is the client's already.
pub(super) fn reset(stream: &Stream) -> io::Result<()> {
    match stream {
        Either::Left(stream) => stream.set_zero_linger(),
        Either::Right(_) => Ok(()),
    }
}
