//! A stream that a client may not flood.
//!
//! Bytes are what is counted, beneath the WebSocket protocol: whatever they are, each costs us
//! something. It does not know what they mean, nor what is done about a flood.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Timing;
use super::stream::Stream;

/// A connection whose reads fail with [`RateLimitExceeded`] when the client has sent more than it
/// may.
#[derive(Debug)]
pub(super) struct RateLimited {
    stream: Stream,
    allowance: Allowance,
}

/// What a message counts for, besides its bytes.
const MESSAGE: usize = 100;

/// The client has sent more than [`Timing::FLOOD`] bytes in one window.
#[derive(Debug)]
pub(super) struct RateLimitExceeded;

impl RateLimitExceeded {
    /// Whether this is what an error says.
    pub(super) fn is(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(error) if error.is::<Self>())
    }
}

impl fmt::Display for RateLimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client sends too much")
    }
}

impl std::error::Error for RateLimitExceeded {}

impl RateLimited {
    /// A stream of which [`Timing::FLOOD`] bytes may be read in each `window`.
    pub(super) fn new(stream: Stream, window: Duration) -> Self {
        Self { stream, allowance: Allowance::new(window, Instant::now()) }
    }

    /// Counts a message, which costs us something however short it is. Whether there may be one
    /// more.
    pub(super) fn message(&mut self) -> bool {
        self.allowance.take(MESSAGE, Instant::now())
    }

    pub(super) fn unmetered(&self) -> &Stream {
        &self.stream
    }

    pub(super) fn unmetered_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

impl AsyncRead for RateLimited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        let allowed = self.allowance.take(read, Instant::now());
        Poll::Ready(if allowed {
            Ok(())
        } else {
            Err(io::Error::other(RateLimitExceeded))
        })
    }
}

impl AsyncWrite for RateLimited {
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

/// Counts in spells.
#[derive(Debug)]
struct Allowance {
    window: Duration,
    since: Instant,
    left: usize,
}

impl Allowance {
    fn new(window: Duration, now: Instant) -> Self {
        Self { window, since: now, left: Timing::FLOOD }
    }

    /// Whether there may be so many bytes more now.
    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        if now - self.since >= self.window {
            *self = Self::new(self.window, now);
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
    fn a_client_may_send_so_much_in_each_spell() {
        let start = Instant::now();
        let window = Duration::from_secs(10);
        let mut allowance = Allowance::new(window, start);
        assert!(allowance.take(Timing::FLOOD - 1, start));
        assert!(allowance.take(1, start));
        assert!(!allowance.take(1, start + window / 2));
        assert!(allowance.take(Timing::FLOOD, start + window));
    }
}
