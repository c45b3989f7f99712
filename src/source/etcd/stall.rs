//! Detects a stalled watch: etcd has changes that the watch should have delivered by now, and did
//! not. It knows indices and a clock, and nothing of connections.
//!
//! If a watch has stalled, it matters whether this program was running all the time. While its
//! process was stopped (SIGSTOP) or its machine was suspended, connections may have been closed, so
//! a stall after that does not mean that something between this program and etcd is wrong.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The longest time between two ticks while this program runs. After a longer one it was suspended.
const MAX_TICK_GAP: Duration = Duration::from_secs(3);

/// What a probe of etcd shows about the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchHealth {
    /// The watch has delivered all that it should have.
    UpToDate,
    /// The watch lacks changes, although this program ran all the time.
    Stalled,
    /// The watch lacks changes, and this program was stopped or suspended before.
    StalledAfterSuspend,
}

/// Compares how far a watch has come with how far etcd is.
#[derive(Debug)]
pub(super) struct StallDetector {
    /// The newest index of etcd at the previous probe; 0 if it was not known. The watch must have
    /// reached it by the next probe.
    expected_index: u64,
    /// Whether this program was suspended, and the watch has not been up to date since.
    was_suspended: bool,
    /// The time of the last tick.
    last_tick: Duration,
}

impl StallDetector {
    pub(super) fn new() -> Self {
        Self { expected_index: 0, was_suspended: false, last_tick: now() }
    }

    /// Must be called once a second.
    pub(super) fn tick(&mut self) {
        self.tick_at(now());
    }

    /// Checks the watch after a probe. `newest` is etcd's newest index, or 0 if it is not known;
    /// `watched` is the index that the watch has reached.
    pub(super) fn probe(&mut self, newest: u64, watched: u64) -> WatchHealth {
        self.probe_at(newest, watched, now())
    }

    fn tick_at(&mut self, now: Duration) {
        if now.saturating_sub(self.last_tick) > MAX_TICK_GAP {
            self.was_suspended = true;
            // Events since then may still be on their way.
            self.expected_index = 0;
        }
        self.last_tick = now;
    }

    fn probe_at(&mut self, newest: u64, watched: u64, now: Duration) -> WatchHealth {
        self.tick_at(now);

        if self.expected_index > watched {
            return if self.was_suspended {
                WatchHealth::StalledAfterSuspend
            } else {
                WatchHealth::Stalled
            };
        }

        if self.expected_index > 0 {
            self.was_suspended = false;
        }
        self.expected_index = newest;
        WatchHealth::UpToDate
    }
}

/// The time since boot. Unlike [`Instant`](std::time::Instant) it includes the time in which the
/// machine was suspended (`clock_gettime(2)`).
fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probes at these seconds: etcd's newest index, the watch's index, and the result.
    fn assert_probes(probes: &[(u64, u64, u64, WatchHealth)]) {
        let mut detector = StallDetector::new();
        let start = detector.last_tick;
        for &(second, newest, watched, expected) in probes {
            let now = start + Duration::from_secs(second);
            let health = detector.probe_at(newest, watched, now);
            assert_eq!(health, expected, "{second}: {detector:?}");
        }
    }

    #[test]
    fn a_watch_is_stalled_if_it_lacks_what_was_known_at_the_previous_probe() {
        assert_probes(&[
            (2, 5, 4, WatchHealth::UpToDate),
            (4, 7, 5, WatchHealth::UpToDate),
            (6, 8, 6, WatchHealth::Stalled),
        ]);
        assert_probes(&[
            (2, 0, 4, WatchHealth::UpToDate),
            (4, 7, 5, WatchHealth::UpToDate),
            (6, 8, 7, WatchHealth::UpToDate),
        ]);
    }

    #[test]
    fn what_was_known_before_a_suspend_proves_nothing() {
        assert_probes(&[
            (2, 5, 4, WatchHealth::UpToDate),
            (20, 50, 4, WatchHealth::UpToDate),
            (22, 51, 50, WatchHealth::UpToDate),
        ]);
    }

    #[test]
    fn a_watch_that_did_not_survive_a_suspend_is_told_apart() {
        assert_probes(&[
            (2, 5, 5, WatchHealth::UpToDate),
            (20, 50, 5, WatchHealth::UpToDate),
            (22, 51, 9, WatchHealth::StalledAfterSuspend),
        ]);
    }

    #[test]
    fn a_watch_that_was_up_to_date_after_a_suspend_is_judged_as_any_other() {
        assert_probes(&[
            (20, 50, 5, WatchHealth::UpToDate),
            (22, 51, 50, WatchHealth::UpToDate),
            (24, 52, 50, WatchHealth::Stalled),
        ]);
    }

    #[test]
    fn ticks_between_probes_tell_a_slow_response_from_a_suspend() {
        let mut detector = StallDetector::new();
        let start = detector.last_tick;
        detector.probe_at(5, 5, start);
        for second in 1..=9 {
            detector.tick_at(start + Duration::from_secs(second));
        }

        let health = detector.probe_at(9, 4, start + Duration::from_secs(10));

        assert_eq!(health, WatchHealth::Stalled);
    }
}
