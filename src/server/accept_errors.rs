//! Errors of accept(2): how long the accept loop pauses, and when it logs.
//!
//! This module must not know what is accepted.

use std::io;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

/// Whether an error concerns only one connection, which the client has closed in the meantime, or
/// none (`EINTR`). The next connection can be accepted at once.
pub(super) fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};

    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// The backoff after errors that concern all connections, such as too many open files.
#[derive(Debug, Default)]
pub(super) struct AcceptErrors {
    /// When the last error occurred.
    last: Option<Instant>,
    pause: Duration,
}

impl AcceptErrors {
    const MIN_PAUSE: Duration = Duration::from_millis(50);
    const MAX_PAUSE: Duration = Duration::from_secs(1);
    /// After this time without an error the backoff starts again, and the next error is logged.
    const RECOVERY: Duration = Duration::from_secs(10);

    /// Records an error. Returns the pause before the next attempt.
    pub(super) fn record(&mut self, error: &io::Error, now: Instant) -> Duration {
        let has_recovered = self.last.is_none_or(|last| now - last > Self::RECOVERY);

        if has_recovered {
            warn!(
                "no connection can be accepted at the moment: {error}; trying again until it works"
            );
            self.pause = Self::MIN_PAUSE;
        } else {
            self.pause = (self.pause * 2).min(Self::MAX_PAUSE);
        }

        self.last = Some(now);
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_second_and_starts_again_after_a_recovery() {
        let error = io::Error::other("too many open files");
        let start = Instant::now();
        let mut errors = AcceptErrors::default();
        let mut pause_at = |seconds| {
            errors
                .record(&error, start + Duration::from_secs(seconds))
                .as_millis()
        };

        assert_eq!([0; 7].map(&mut pause_at), [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(pause_at(9), 1000);
        assert_eq!(pause_at(20), 50);
    }

    #[test]
    fn only_an_aborted_connection_concerns_no_other() {
        let error = |number| io::Error::from_raw_os_error(number);
        let aborted = 103;
        let too_many_files = 24;
        let no_buffers = 105;

        assert!(concerns_one_connection(&error(aborted)));
        assert!(!concerns_one_connection(&error(too_many_files)));
        assert!(!concerns_one_connection(&error(no_buffers)));
    }
}
