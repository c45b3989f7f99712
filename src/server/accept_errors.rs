//! Errors of accept(2): how long the accept loop pauses, and when it logs.
//!
//! This module must not know what is accepted.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::Instant;
use tracing::warn;

/// Errors that only one connection had, be it that the client has closed it or that the network has
/// failed. Linux passes them on from accept(2), whose manual page says to try again at once.
const ERRORS_OF_ONE_CONNECTION: [Errno; 11] = [
    Errno::CONNABORTED,
    Errno::CONNREFUSED,
    Errno::CONNRESET,
    Errno::HOSTDOWN,
    Errno::HOSTUNREACH,
    Errno::NETDOWN,
    Errno::NETUNREACH,
    Errno::NONET,
    Errno::NOPROTOOPT,
    Errno::OPNOTSUPP,
    Errno::PROTO,
];

/// Whether an error concerns only one connection, or none (`EINTR`). The next connection can be
/// accepted at once.
pub(super) fn concerns_one_connection(error: &io::Error) -> bool {
    Errno::from_io_error(error)
        .is_some_and(|errno| errno == Errno::INTR || ERRORS_OF_ONE_CONNECTION.contains(&errno))
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
    fn errors_of_one_connection_concern_no_other() {
        let is_of_one = |errno: Errno| concerns_one_connection(&errno.into());

        assert!(ERRORS_OF_ONE_CONNECTION.into_iter().all(is_of_one));
        assert!(is_of_one(Errno::INTR));
        for of_all in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::PERM] {
            assert!(!is_of_one(of_all), "{of_all}");
        }
        assert!(!concerns_one_connection(&io::Error::other("no number of the system")));
    }
}
