//! The limit on how much a client may send.
//!
//! The limit counts the bytes that are read from the socket, before they are parsed, since each of
//! them takes some work. This module must not know what the bytes mean, nor how a client is closed.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::settings::Timing;
use super::stream::ClientStream;

/// How many bytes a WebSocket message counts in addition to its own. Even an empty message takes
/// some work.
const MESSAGE_COST: usize = 100;

/// A connection whose reads fail with [`RateLimitExceeded`] when the client has sent too much.
#[derive(Debug)]
pub(super) struct RateLimitedStream {
    stream: ClientStream,
    window: RateWindow,
}

impl RateLimitedStream {
    /// A stream from which [`Timing::MAX_BYTES_PER_WINDOW`] may be read in each `window`.
    pub(super) fn new(stream: ClientStream, window: Duration) -> Self {
        Self { stream, window: RateWindow::new(window, Instant::now()) }
    }

    /// Charges for a WebSocket message. Returns whether it is within the limit.
    pub(super) fn charge_message(&mut self) -> bool {
        self.window.charge(MESSAGE_COST, Instant::now())
    }

    pub(super) fn inner(&self) -> &ClientStream {
        &self.stream
    }

    pub(super) fn inner_mut(&mut self) -> &mut ClientStream {
        &mut self.stream
    }
}

impl AsyncRead for RateLimitedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;

        let read = buffer.filled().len() - before;
        let is_allowed = self.window.charge(read, Instant::now());
        Poll::Ready(if is_allowed {
            Ok(())
        } else {
            Err(io::Error::other(RateLimitExceeded))
        })
    }
}

impl AsyncWrite for RateLimitedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The client has sent more than [`Timing::MAX_BYTES_PER_WINDOW`] in one window.
#[derive(Debug)]
pub(super) struct RateLimitExceeded;

impl RateLimitExceeded {
    /// Whether this is the cause of an I/O error.
    pub(super) fn caused(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(error) if error.is::<Self>())
    }
}

impl fmt::Display for RateLimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client sends too much")
    }
}

impl std::error::Error for RateLimitExceeded {}

/// How much may still be sent in the current window.
#[derive(Debug)]
struct RateWindow {
    length: Duration,
    start: Instant,
    /// The bytes that may still be received in this window.
    left: usize,
}

impl RateWindow {
    fn new(length: Duration, now: Instant) -> Self {
        Self { length, start: now, left: Timing::MAX_BYTES_PER_WINDOW }
    }

    /// Counts these bytes. Returns whether they are within the limit.
    fn charge(&mut self, bytes: usize, now: Instant) -> bool {
        if now - self.start >= self.length {
            *self = Self::new(self.length, now);
        }

        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_has_the_same_limit() {
        let start = Instant::now();
        let length = Duration::from_secs(10);
        let mut window = RateWindow::new(length, start);

        assert!(window.charge(Timing::MAX_BYTES_PER_WINDOW - 1, start));
        assert!(window.charge(1, start));
        assert!(!window.charge(1, start + length / 2));
        assert!(window.charge(Timing::MAX_BYTES_PER_WINDOW, start + length));
    }
}
