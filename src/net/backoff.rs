//! Exponential backoff: the wait before a retry, which grows with each failure. Pure: it knows
//! neither a clock nor what is retried.

use std::time::Duration;

/// The smallest part of a wait that remains after jitter has shortened it.
const LEAST_PART: f64 = 0.75;

/// An exponential backoff with jitter.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    /// The next wait, without jitter; `None` as long as nothing has failed.
    next: Option<Duration>,
}

impl Backoff {
    /// The first wait is `first`, each next one twice as long, and none longer than `longest`.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: None }
    }

    /// Whether the last attempt failed.
    pub(crate) fn is_active(&self) -> bool {
        self.next.is_some()
    }

    /// Records a success: the next failure is followed by the first wait again.
    pub(crate) fn reset(&mut self) {
        self.next = None;
    }

    /// Records a failure, and returns how long to wait for the next attempt.
    ///
    /// `chance` is a random number between 0 and 1. The smaller it is, the more the wait is
    /// shortened, by a quarter at most, so that monitors whose fleet failed at the same moment do
    /// not all retry at the same moment.
    pub(crate) fn wait(&mut self, chance: f64) -> Duration {
        let wait = self.next.unwrap_or(self.first).min(self.longest);
        self.next = Some(wait.saturating_mul(2));

        wait.mul_f64(LEAST_PART + chance.clamp(0.0, 1.0) * (1.0 - LEAST_PART))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn waits(backoff: &mut Backoff, count: usize) -> Vec<u64> {
        (0..count).map(|_| backoff.wait(1.0).as_secs()).collect()
    }

    #[test]
    fn each_wait_is_twice_the_one_before_up_to_the_longest() {
        let mut backoff = Backoff::new(4 * SECOND, 30 * SECOND);
        assert_eq!(waits(&mut backoff, 5), [4, 8, 16, 30, 30]);

        let mut backoff = Backoff::new(120 * SECOND, 30 * SECOND);
        assert_eq!(waits(&mut backoff, 2), [30, 30]);
    }

    #[test]
    fn a_success_starts_it_again() {
        let mut backoff = Backoff::new(SECOND, 30 * SECOND);
        assert!(!backoff.is_active());
        assert_eq!(waits(&mut backoff, 3), [1, 2, 4]);
        assert!(backoff.is_active());

        backoff.reset();

        assert!(!backoff.is_active());
        assert_eq!(waits(&mut backoff, 1), [1]);
    }

    #[test]
    fn jitter_takes_a_quarter_of_a_wait_at_most_and_does_not_add_up() {
        let mut backoff = Backoff::new(4 * SECOND, 30 * SECOND);
        assert_eq!(backoff.wait(0.0), 3 * SECOND);
        assert_eq!(backoff.wait(0.5), 7 * SECOND);
        assert_eq!(backoff.wait(-1.0), 12 * SECOND);
    }

    #[test]
    fn no_number_of_failures_overflows() {
        let mut backoff = Backoff::new(SECOND, Duration::MAX / 4);
        for _ in 0..100 {
            backoff.wait(0.5);
        }
    }
}
