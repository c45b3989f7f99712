//! The beginning of a connection: with TLS, if there is a certificate.
//!
//! This module must not know HTTP.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::either::Either;
use tracing::debug;

use super::context::ServerContext;
use super::stream::{ClientSocket, ClientStream};
use super::tls::ServerTls;

/// The type of the record with which TLS begins: a handshake (RFC 8446, section 5.1). No request of
/// HTTP begins with this byte.
const HANDSHAKE: u8 = 22;

/// How long a stopping server waits for the first request of a client that has just connected.
pub(super) const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// A connection that has begun.
pub(super) enum OpenedConnection {
    /// What is requested is answered.
    Served(ClientStream),
    /// It is not encrypted, but has to be: each request is redirected.
    Redirected(ClientStream),
}

/// Waits for the beginning of a connection, within the time limit. `None` if it has ended.
pub(super) async fn open(
    context: &Arc<ServerContext>,
    socket: ClientSocket,
) -> Option<OpenedConnection> {
    let tls = context.settings().tls.clone();
    let (tls, socket) = match (tls, socket) {
        (Some(tls), Either::Left(socket)) => (tls, socket),
        (_, socket) => return Some(OpenedConnection::Served(Either::Left(socket))),
    };

    let mut begun = std::pin::pin!(begin(&tls, socket));
    let begun = tokio::select! {
        begun = &mut begun => begun,
        () = sleep(context.timing.handshake) => Err(io::ErrorKind::TimedOut.into()),
        // As much time as the first request would get.
        () = context.stop.cancelled() => timeout(FIRST_REQUEST, begun)
            .await
            .unwrap_or_else(|elapsed| Err(elapsed.into())),
    };
    match begun {
        Ok(opened) => opened,
        Err(error) => {
            context.metrics.tls_handshake_failed();
            debug!("a client did not complete the TLS handshake: {error}");
            None
        }
    }
}

async fn begin(tls: &ServerTls, socket: TcpStream) -> io::Result<Option<OpenedConnection>> {
    let mut first = [0];

    Ok(match socket.peek(&mut first).await? {
        // A check whether somebody listens. It is no failure.
        0 => None,
        _ if first == [HANDSHAKE] => {
            let stream = tls.accept(socket).await?;
            Some(OpenedConnection::Served(Either::Right(Box::new(stream))))
        }
        _ => Some(OpenedConnection::Redirected(Either::Left(Either::Left(socket)))),
    })
}
