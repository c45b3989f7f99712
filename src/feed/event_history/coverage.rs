//! From when to when the cluster was watched: by this program, by the one that ran before, and by
//! other monitors. Pure.
//!
//! It does not know events.

use std::time::{Duration, SystemTime};

/// A pause that is not longer is no gap: as between two polls, what has changed meanwhile is
/// noticed after it. A restart takes about a second.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// The times before this run in which all events were noticed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Coverage {
    /// From when to when, in any order. They may overlap.
    spans: Vec<(SystemTime, SystemTime)>,
}

impl Coverage {
    /// Adds a time in which all events were noticed.
    pub(super) fn add(&mut self, from: SystemTime, until: SystemTime) {
        let is_in_another =
            |(other_from, other_until): &(_, _)| *other_from <= from && until <= *other_until;

        if from <= until && !self.spans.iter().any(is_in_another) {
            self.spans.push((from, until));
        }
    }

    /// The same, if events until this time are missing.
    pub(super) fn without(&self, missing_until: Option<SystemTime>) -> Self {
        let Some(missing) = missing_until else {
            return self.clone();
        };
        let later = self.spans.iter().map(|(from, until)| (missing.max(*from), *until));
        Self { spans: later.filter(|(from, until)| from <= until).collect() }
    }

    /// Since when there is no gap up to this run, which has noticed all events since `start`.
    pub(super) fn beginning(&self, start: SystemTime) -> SystemTime {
        let mut beginning = start;
        loop {
            let earliest = self
                .spans
                .iter()
                .filter(|(_, until)| *until + MAX_PAUSE >= beginning)
                .map(|(from, _)| *from)
                .min();
            match earliest {
                Some(earlier) if earlier < beginning => beginning = earlier,
                _ => return beginning,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn beginning(spans: &[(u64, u64)], start: u64) -> u64 {
        let mut coverage = Coverage::default();
        for (from, until) in spans {
            coverage.add(at(*from), at(*until));
        }
        let beginning = coverage.beginning(at(start));
        beginning.duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn alone_it_begins_with_this_run() {
        assert_eq!(beginning(&[], 1000), 1000);
    }

    #[test]
    fn a_short_pause_is_no_gap_and_a_long_one_is() {
        assert_eq!(beginning(&[(100, 990)], 1000), 100);
        assert_eq!(beginning(&[(100, 989)], 1000), 1000);
    }

    #[test]
    fn another_monitor_bridges_a_gap() {
        let saved = (100, 500);
        assert_eq!(beginning(&[saved], 1000), 1000);
        assert_eq!(beginning(&[saved, (400, 1001)], 1000), 100);
        assert_eq!(beginning(&[(400, 1001), saved], 1000), 100);
        assert_eq!(beginning(&[saved, (600, 1001)], 1000), 600);
    }

    #[test]
    fn what_is_missing_is_not_covered() {
        let mut coverage = Coverage::default();
        coverage.add(at(100), at(500));
        coverage.add(at(450), at(1000));
        let beginning = |missing| coverage.without(missing).beginning(at(1000));

        assert_eq!(beginning(None), at(100));
        assert_eq!(beginning(Some(at(200))), at(200));
        assert_eq!(beginning(Some(at(800))), at(800));
        assert_eq!(beginning(Some(at(2000))), at(1000));
    }

    #[test]
    fn a_time_that_ends_before_it_begins_counts_for_nothing() {
        assert_eq!(beginning(&[(2000, 100)], 1000), 1000);
    }
}
