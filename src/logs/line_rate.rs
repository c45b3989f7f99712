//! The limit on the lines of one unit that are passed on. Pure: time is passed in.
//!
//! Lines beyond it are counted, but not parsed: a unit that floods its journal costs little more
//! than the bytes that arrive.

use tokio::time::{Duration, Instant};

/// The lines that are passed on in each [`WINDOW`].
const MAX_LINES: u64 = 500;
const WINDOW: Duration = Duration::from_secs(1);

/// How many lines have arrived in the current window.
#[derive(Debug)]
pub(super) struct LineRate {
    window_end: Instant,
    passed: u64,
    skipped: u64,
}

impl LineRate {
    pub(super) fn new(now: Instant) -> Self {
        Self { window_end: now + WINDOW, passed: 0, skipped: 0 }
    }

    /// Counts a line. Returns whether it is passed on.
    pub(super) fn admits_line(&mut self) -> bool {
        let is_admitted = self.passed < MAX_LINES;
        if is_admitted {
            self.passed += 1;
        } else {
            self.skipped += 1;
        }
        is_admitted
    }

    /// When the skipped lines of this window are to be reported; `None` if there are none.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.skipped > 0).then_some(self.window_end)
    }

    /// How many lines were skipped and not reported. The window ends.
    pub(super) fn take_skipped(&mut self, now: Instant) -> u64 {
        let skipped = self.skipped;
        *self = Self::new(now);
        skipped
    }

    /// Begins a new window if this one is over. Returns how many lines were skipped in it.
    pub(super) fn end_window(&mut self, now: Instant) -> u64 {
        if now < self.window_end {
            return 0;
        }

        self.take_skipped(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted_until_the_window_ends() {
        let start = Instant::now();
        let mut rate = LineRate::new(start);

        let passed = (0..MAX_LINES + 7).filter(|_| rate.admits_line()).count();
        assert_eq!(passed as u64, MAX_LINES);
        assert_eq!(rate.deadline(), Some(start + WINDOW));
        assert_eq!(rate.end_window(start + WINDOW / 2), 0);
        assert_eq!(rate.end_window(start + WINDOW), 7);

        assert!(rate.admits_line());
        assert_eq!(rate.deadline(), None);
    }
}
