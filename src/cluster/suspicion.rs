//! Whether the source's lists lack so much that it is the source that is doubted, and not each row.
//!
//! When a large part of all rows is missing at once, or in turn, though fleet wants them just
//! there, one event says so instead of one for each row, and nothing is given up for its sake. The
//! rows of one machine alone are that machine's matter. It knows rows by their names only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::model::{MachineId, Moment};
use super::view::RowKey;

/// How long a row that was missing and came back counts: lists that lack other rows each time are
/// not whole either.
const RECENT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    None,
    /// Too much is missing; why, is not known yet.
    Unconfirmed { since: Moment },
    /// The source is doubted.
    Confirmed {
        since: Moment,
        /// Since when it has been less.
        fewer: Option<Moment>,
    },
}

/// What a look at the missing rows comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Nothing,
    /// The source is doubted from now on: so many rows are missing.
    Begins {
        missing: usize,
    },
    /// It is believed again.
    Ends,
}

#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    state: State,
    /// Rows that came back, and when.
    returned: BTreeMap<RowKey, Moment>,
}

impl Suspicion {
    /// Since when the source is doubted.
    pub(crate) fn since(&self) -> Option<SystemTime> {
        match self.state {
            State::Confirmed { since, .. } => Some(since.wall),
            _ => None,
        }
    }

    /// Whether rows are held for its sake, confirmed or not.
    pub(crate) fn holds(&self) -> bool {
        !matches!(self.state, State::None)
    }

    /// Since when too many rows have been missing.
    pub(crate) fn pending_since(&self) -> Option<Moment> {
        match self.state {
            State::Unconfirmed { since } => Some(since),
            _ => None,
        }
    }

    /// A row that was missing is back.
    pub(crate) fn returned(&mut self, key: &RowKey, at: Moment) {
        self.returned.insert(key.clone(), at);
    }

    /// Whether a look at the missing rows is due.
    pub(crate) fn is_of_interest(&self) -> bool {
        self.holds() || !self.returned.is_empty()
    }

    /// Takes a look. `missing` are the rows that fleet wants where they were and that are not
    /// reported, `of` is how many rows there are, and `is_informed` whether what explains a missing
    /// row has been read since.
    pub(crate) fn look(
        &mut self,
        missing: &BTreeSet<RowKey>,
        of: usize,
        is_informed: bool,
        grace: Duration,
        at: Moment,
    ) -> Finding {
        self.returned.retain(|_, returned| at.since(*returned) < RECENT);
        let blinked = self.returned.keys().filter(|key| !missing.contains(*key));
        let machines: BTreeSet<&Option<MachineId>> = missing
            .iter()
            .chain(self.returned.keys())
            .map(|(_, machine)| machine)
            .collect();
        let count = missing.len() + blinked.count();
        // What is back counts only while more is missing: a fleetd that restarts is no reason for
        // doubt.
        let still = missing.len() * 10 > of;

        let is_of_several = machines.len() > 1 || missing.len() == of;

        if still && count > 2 && count * 3 > of && is_of_several {
            return self.too_many(count, is_informed, at);
        }
        match &mut self.state {
            State::None => Finding::Nothing,
            State::Unconfirmed { .. } => {
                self.state = State::None;
                Finding::Nothing
            }
            State::Confirmed { fewer, .. } => {
                let fewer = *fewer.get_or_insert(at);
                if missing.is_empty() || at.since(fewer) >= grace {
                    self.state = State::None;
                    self.returned.clear();
                    return Finding::Ends;
                }
                Finding::Nothing
            }
        }
    }

    fn too_many(&mut self, count: usize, is_informed: bool, at: Moment) -> Finding {
        let since = match self.state {
            State::None => at,
            State::Unconfirmed { since } => since,
            State::Confirmed { since, .. } => {
                self.state = State::Confirmed { since, fewer: None };
                return Finding::Nothing;
            }
        };
        if !is_informed {
            self.state = State::Unconfirmed { since };
            return Finding::Nothing;
        }
        self.state = State::Confirmed { since, fewer: None };
        Finding::Begins { missing: count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    /// Thirty rows on three machines, ten on each, and what is known of them.
    struct Source {
        start: Moment,
        suspicion: Suspicion,
    }

    /// The rows with these numbers; one of three is on the same machine.
    fn rows(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<RowKey> {
        let row = |number: usize| {
            let unit = format!("u{number:02}.service");
            let machine = format!("m{}", number % 3);
            (unit.as_str().into(), Some(machine.as_str().into()))
        };
        numbers.into_iter().map(row).collect()
    }

    impl Source {
        fn new() -> Self {
            Self { start: Moment::now(), suspicion: Suspicion::default() }
        }

        fn look(&mut self, second: u64, missing: &BTreeSet<RowKey>) -> Finding {
            self.suspicion
                .look(missing, 30, true, GRACE, self.start + Duration::from_secs(second))
        }

        fn returned(&mut self, second: u64, rows: &BTreeSet<RowKey>) {
            for row in rows {
                self.suspicion.returned(row, self.start + Duration::from_secs(second));
            }
        }
    }

    #[test]
    fn more_than_a_third_of_all_rows_on_several_machines_is_too_much() {
        let mut source = Source::new();
        assert_eq!(source.look(0, &rows(0..10)), Finding::Nothing);
        assert_eq!(source.look(1, &rows(0..11)), Finding::Begins { missing: 11 });
        assert_eq!(source.look(2, &rows(0..12)), Finding::Nothing, "told once");
    }

    #[test]
    fn the_rows_of_one_machine_are_that_machines_matter() {
        let of_one = rows((0..30).step_by(3));
        let suspicion = &mut Suspicion::default();
        assert_eq!(
            suspicion.look(&of_one, 12, true, GRACE, Moment::now()),
            Finding::Nothing,
            "10 of 12"
        );
    }

    #[test]
    fn all_rows_are_too_much_on_one_machine_too() {
        let of_one = rows((0..30).step_by(3));
        let suspicion = &mut Suspicion::default();
        assert_eq!(
            suspicion.look(&of_one, 10, true, GRACE, Moment::now()),
            Finding::Begins { missing: 10 }
        );
    }

    #[test]
    fn one_or_two_rows_are_no_reason_for_doubt() {
        let suspicion = &mut Suspicion::default();
        assert_eq!(suspicion.look(&rows(0..2), 2, true, GRACE, Moment::now()), Finding::Nothing);
    }

    #[test]
    fn nothing_is_told_until_what_explains_it_was_read_but_all_is_held() {
        let mut source = Source::new();
        let missing = rows(0..20);
        assert_eq!(
            source.suspicion.look(&missing, 30, false, GRACE, source.start),
            Finding::Nothing
        );
        assert!(source.suspicion.holds());
        assert_eq!(
            (source.suspicion.since(), source.suspicion.pending_since()),
            (None, Some(source.start))
        );

        assert_eq!(source.look(1, &missing), Finding::Begins { missing: 20 });
        assert_eq!(source.suspicion.since(), Some(source.start.wall));
    }

    #[test]
    fn what_was_explained_meanwhile_ends_it_without_a_word() {
        let mut source = Source::new();
        source.suspicion.look(&rows(0..20), 30, false, GRACE, source.start);
        assert_eq!(source.look(1, &rows(0..5)), Finding::Nothing);
        assert!(!source.suspicion.holds());
    }

    #[test]
    fn it_ends_when_nothing_is_missing_or_little_for_the_grace() {
        let mut source = Source::new();
        source.look(0, &rows(0..20));
        assert_eq!(source.look(10, &rows([])), Finding::Ends);

        let mut source = Source::new();
        source.look(0, &rows(0..20));
        assert_eq!(source.look(10, &rows(0..5)), Finding::Nothing);
        assert_eq!(source.look(39, &rows(0..5)), Finding::Nothing);
        assert_eq!(source.look(40, &rows(0..5)), Finding::Ends);
    }

    #[test]
    fn lists_that_lack_other_rows_in_turn_are_one_doubt() {
        let mut source = Source::new();
        let turns = [rows(0..8), rows(8..16), rows(16..24)];
        let mut findings = Vec::new();

        for second in 0..60_usize {
            let missing = &turns[second % 3];
            source.returned(second as u64, &turns[(second + 2) % 3]);
            findings.push(source.look(second as u64, missing));
        }
        findings.retain(|finding| *finding != Finding::Nothing);
        assert!(matches!(findings.as_slice(), [Finding::Begins { .. }]), "{findings:?}");
        assert_eq!(source.look(61, &rows([])), Finding::Ends);
    }

    #[test]
    fn what_is_back_is_no_reason_for_doubt_unless_more_is_missing() {
        let mut source = Source::new();
        source.returned(0, &rows(0..20));
        assert_eq!(source.look(1, &rows(20..23)), Finding::Nothing, "a fleetd that has restarted");
        assert_eq!(source.look(1, &rows(20..24)), Finding::Begins { missing: 24 });
    }
}
