//! The sockets of the server, TCP and unix: those it listens on, and those of its clients, with or
//! without TLS.
//!
//! The rest of the server must not know which kind a socket is, but for `opening`, which decides
//! about TLS.

use std::fmt;
use std::io;

use futures_util::FutureExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use super::socket_file::SocketFile;
use crate::net::tls::TlsServerStream;

/// The socket of a client, as it was accepted.
pub(super) type ClientSocket = Either<TcpStream, UnixStream>;

/// A connection to a client: the socket itself, or TLS over it.
pub(super) type ClientStream = Either<ClientSocket, Box<TlsServerStream<TcpStream>>>;

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
    pub(super) async fn accept(&self) -> io::Result<ClientSocket> {
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

/// How much of a message was written without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteProgress {
    /// All of it is in the kernel's buffer.
    Complete,
    /// The stream has taken this many bytes, and the rest is still to be written. Even if there is
    /// no rest, the stream has to be flushed.
    Taken(usize),
}

/// Writes what fits into the kernel's buffer, without waiting.
pub(super) fn try_write(stream: &mut ClientStream, bytes: &[u8]) -> io::Result<WriteProgress> {
    let (written, is_flushed) = match stream {
        Either::Left(Either::Left(stream)) => (stream.try_write(bytes), true),
        Either::Left(Either::Right(stream)) => (stream.try_write(bytes), true),
        Either::Right(stream) => {
            let written = stream.write(bytes).now_or_never();
            let flushed = stream.flush().now_or_never();
            let would_block = || Err(io::ErrorKind::WouldBlock.into());
            (written.unwrap_or_else(would_block), flushed.transpose()?.is_some())
        }
    };

    match written {
        Ok(written) if written == bytes.len() && is_flushed => Ok(WriteProgress::Complete),
        Ok(written) => Ok(WriteProgress::Taken(written)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(WriteProgress::Taken(0)),
        Err(error) => Err(error),
    }
}

/// Makes the connection end with a reset when it is dropped. Otherwise the kernel would keep
/// retransmitting what the client does not read. A unix socket needs no reset: what was written is
/// in the client's buffer already.
pub(super) fn reset_on_drop(stream: &ClientStream) -> io::Result<()> {
    match stream {
        Either::Left(Either::Left(stream)) => stream.set_zero_linger(),
        Either::Left(Either::Right(_)) => Ok(()),
        Either::Right(stream) => stream.transport().set_zero_linger(),
    }
}
