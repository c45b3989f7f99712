//! Finds that a watch has fallen silent: etcd has something that the watch should have told by now,
//! and did not.
//!
//! Whose fault that is depends on whether this program ran all the time. If its process was stopped
//! (SIGSTOP) or its machine was suspended, connections may have ended meanwhile, and nothing is
//! wrong with what is between it and etcd.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The longest time between two ticks while this program runs.
const STANDSTILL: Duration = Duration::from_secs(3);

/// What a look at etcd says of the watch beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// It has told all that it should have.
    Complete,
    /// It has not, although this program ran all the time.
    Silent,
    /// It has not, since this program stood still.
    SilentAfterStandstill,
}

/// Compares what a watch has told with what etcd is known to have.
#[derive(Debug)]
pub(super) struct Silence {
    /// The newest index that etcd was known to have at the look before; 0 if it was none. The watch
    /// must have come as far by the next look.
    known: u64,
    /// Whether this program stood still, and the watch has not been found to be complete since.
    stood_still: bool,
    /// The time of the last tick.
    ticked: Duration,
}

impl Silence {
    pub(super) fn new() -> Self {
        Self { known: 0, stood_still: false, ticked: now() }
    }

    /// To be called once a second.
    pub(super) fn tick(&mut self) {
        self.tick_at(now());
    }

    /// Takes in a look: etcd's newest index that it tells, and how far the watch has come.
    pub(super) fn look(&mut self, newest: u64, watched: u64) -> Hearing {
        self.look_at(newest, watched, now())
    }

    fn tick_at(&mut self, now: Duration) {
        if now.saturating_sub(self.ticked) > STANDSTILL {
            self.stood_still = true;
            // What comes of that is still on its way to us.
            self.known = 0;
        }
        self.ticked = now;
    }

    fn look_at(&mut self, newest: u64, watched: u64, now: Duration) -> Hearing {
        self.tick_at(now);
        if self.known > watched {
            return if self.stood_still {
                Hearing::SilentAfterStandstill
            } else {
                Hearing::Silent
            };
        }
        if self.known > 0 {
            self.stood_still = false;
        }
        self.known = newest;
        Hearing::Complete
    }
}

/// Time that the machine was suspended counts on this clock; on that of `Instant` it does not
/// (`clock_gettime(2)`).
fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look at each of these seconds: etcd's newest index, how far the watch has come, and what
    /// follows.
    fn assert_looks(looks: &[(u64, u64, u64, Hearing)]) {
        let mut silence = Silence::new();
        let start = silence.ticked;
        for &(second, newest, watched, expected) in looks {
            let now = start + Duration::from_secs(second);
            assert_eq!(silence.look_at(newest, watched, now), expected, "{second}: {silence:?}");
        }
    }

    #[test]
    fn a_watch_is_silent_if_it_misses_what_was_known_at_the_look_before() {
        assert_looks(&[
            (2, 5, 4, Hearing::Complete),
            (4, 7, 5, Hearing::Complete),
            (6, 8, 6, Hearing::Silent),
        ]);
        assert_looks(&[
            (2, 0, 4, Hearing::Complete),
            (4, 7, 5, Hearing::Complete),
            (6, 8, 7, Hearing::Complete),
        ]);
    }

    #[test]
    fn what_was_known_before_a_standstill_is_no_proof() {
        assert_looks(&[
            (2, 5, 4, Hearing::Complete),
            (20, 50, 4, Hearing::Complete),
            (22, 51, 50, Hearing::Complete),
        ]);
    }

    #[test]
    fn a_watch_that_did_not_survive_a_standstill_is_nobodys_fault() {
        assert_looks(&[
            (2, 5, 5, Hearing::Complete),
            (20, 50, 5, Hearing::Complete),
            (22, 51, 9, Hearing::SilentAfterStandstill),
        ]);
    }

    #[test]
    fn a_watch_that_was_complete_after_a_standstill_is_judged_as_any_other() {
        assert_looks(&[
            (20, 50, 5, Hearing::Complete),
            (22, 51, 50, Hearing::Complete),
            (24, 52, 50, Hearing::Silent),
        ]);
    }

    #[test]
    fn ticks_between_the_looks_tell_a_slow_answer_from_a_standstill() {
        let mut silence = Silence::new();
        let start = silence.ticked;
        silence.look_at(5, 5, start);
        for second in 1..=9 {
            silence.tick_at(start + Duration::from_secs(second));
        }
        assert_eq!(silence.look_at(9, 4, start + Duration::from_secs(10)), Hearing::Silent);
    }
}
