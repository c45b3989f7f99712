//! Why a WebSocket session ends, and how its connection is closed.
//!
//! This module must not know what the session sends before its end.

use futures_util::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::super::deadline::WriteFailure;
use super::super::rate_limit::{RateLimitExceeded, RateLimitedStream};
use super::super::stream::reset_on_drop;
use crate::feed::channel::OverBudget;
use crate::metrics::DropReason;

/// Why a session ends, for the metrics, and how the connection is closed.
#[derive(Debug)]
pub(super) struct SessionEnd {
    pub(super) reason: DropReason,
    pub(super) action: CloseAction,
}

/// How the connection is closed.
#[derive(Debug)]
pub(super) enum CloseAction {
    /// With a reset: the client does not respond, or the last frame is cut off.
    Reset,
    /// With a reply to the client's own close frame.
    Reply,
    /// With a close frame that names the reason.
    Close(CloseCode, &'static str),
}

impl SessionEnd {
    pub(super) fn reset(reason: DropReason) -> Self {
        Self { reason, action: CloseAction::Reset }
    }

    pub(super) fn closed_by_client() -> Self {
        Self { reason: DropReason::Closed, action: CloseAction::Reply }
    }

    pub(super) fn rate_limit_exceeded() -> Self {
        Self::close(
            DropReason::RateLimitExceeded,
            CloseCode::Policy,
            "too much in too short a time",
        )
    }

    pub(super) fn shutdown() -> Self {
        Self::close(DropReason::Shutdown, CloseCode::Away, "the server is being stopped")
    }

    fn close(reason: DropReason, code: CloseCode, text: &'static str) -> Self {
        Self { reason, action: CloseAction::Close(code, text) }
    }
}

impl From<OverBudget> for SessionEnd {
    fn from(_: OverBudget) -> Self {
        Self::close(
            DropReason::OverBudget,
            CloseCode::Again,
            "too much is asked for with different filters",
        )
    }
}

impl From<Error> for SessionEnd {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Self::close(
                DropReason::Oversized,
                CloseCode::Size,
                "messages may have 4096 bytes at most",
            ),
            // The queue of pongs is full: the client sends pings and does not read.
            Error::WriteBufferFull(_) => Self::reset(DropReason::Slow),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::reset(DropReason::Closed)
            }
            Error::Protocol(_) => {
                Self::close(DropReason::Protocol, CloseCode::Protocol, "not a WebSocket frame")
            }
            Error::Utf8(_) => {
                Self::close(DropReason::Protocol, CloseCode::Invalid, "text that is not UTF-8")
            }
            Error::Io(error) if RateLimitExceeded::caused(&error) => Self::rate_limit_exceeded(),
            _ => Self::reset(DropReason::Closed),
        }
    }
}

impl From<WriteFailure<Error>> for SessionEnd {
    fn from(failure: WriteFailure<Error>) -> Self {
        match failure {
            WriteFailure::Failed(error) => error.into(),
            WriteFailure::Slow => Self::reset(DropReason::Slow),
            WriteFailure::Stopping => Self::shutdown(),
            WriteFailure::CutOff => Self::reset(DropReason::Shutdown),
        }
    }
}

impl CloseAction {
    /// Closes the connection. After a close frame it waits for the client to disconnect: closing a
    /// socket with unread data resets the connection, and the client might not see the close frame
    /// (RFC 9293, section 3.10.4; RFC 6455, section 7.1.1).
    pub(super) async fn run(
        self,
        socket: &mut WebSocketStream<RateLimitedStream>,
    ) -> Result<(), Error> {
        match self {
            CloseAction::Reset => Ok(reset_on_drop(socket.get_ref().inner())?),
            CloseAction::Reply => socket.flush().await,
            CloseAction::Close(code, reason) => {
                socket.close(Some(CloseFrame { code, reason: reason.into() })).await?;

                let stream = socket.get_mut().inner_mut();
                stream.shutdown().await?;
                let mut ignored = [0; 256];
                while stream.read(&mut ignored).await? > 0 {}
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::assert_catalogue;

    #[test]
    fn close_frames_name_the_reason_in_these_words() {
        let too_long =
            Error::Capacity(CapacityError::MessageTooLong { size: 5000, max_size: 4096 });
        let ends = [
            SessionEnd::rate_limit_exceeded(),
            SessionEnd::shutdown(),
            OverBudget.into(),
            too_long.into(),
            Error::Protocol(ProtocolError::InvalidOpcode(3)).into(),
            Error::Utf8(String::new()).into(),
        ];

        let closes = ends.map(|end| match end.action {
            CloseAction::Close(code, text) => {
                (format!("{}: {code}", end.reason.name()), text.to_owned())
            }
            other => panic!("{other:?}"),
        });
        let refusal = ("crowded: 503".to_owned(), OverBudget.to_string());
        assert_catalogue("closes", closes.into_iter().chain([refusal]));
    }
}
