//! The time limit for writing to a client.
//!
//! This module must not know what is written, nor over which protocol.

use tokio::time::{sleep, timeout};

use super::context::ServerContext;

/// Why a write ends the connection.
pub(super) enum WriteFailure<E> {
    /// The write itself failed.
    Failed(E),
    /// The client did not read in time. The message is cut off.
    Slow,
    /// The server is stopping. The message was written completely.
    Stopping,
    /// The server is stopping, and the client did not read in the short time that was left. The
    /// message is cut off.
    CutOff,
}

/// Writes within [`Timing::write`](super::settings::Timing::write), or, once the server is
/// stopping, within [`Timing::close`](super::settings::Timing::close). After a message that is cut
/// off nothing else can be sent.
pub(super) async fn write_in_time<E>(
    context: &ServerContext,
    write: impl Future<Output = Result<(), E>>,
) -> Result<(), WriteFailure<E>> {
    let mut write = std::pin::pin!(write);

    tokio::select! {
        biased;
        result = &mut write => return result.map_err(WriteFailure::Failed),
        () = context.stop.cancelled() => {}
        () = sleep(context.timing.write) => return Err(WriteFailure::Slow),
    }

    match timeout(context.timing.close, write).await {
        Ok(Ok(())) => Err(WriteFailure::Stopping),
        Ok(Err(error)) => Err(WriteFailure::Failed(error)),
        Err(_) => Err(WriteFailure::CutOff),
    }
}
