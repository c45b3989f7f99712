//! When the source becomes suspect, and when it is trusted again.

use super::*;

const GRACE: Duration = Duration::from_secs(30);

/// The keys of rows by number. Each third row is on the same machine.
fn rows(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<RowKey> {
    let row = |number: usize| {
        let unit = format!("u{number:02}.service");
        let machine = format!("m{}", number % 3);
        (unit.as_str().into(), Some(machine.as_str().into()))
    };
    numbers.into_iter().map(row).collect()
}

/// The first update of a new suspicion.
fn first_update(keys: &BTreeSet<RowKey>, of: usize) -> Option<SuspicionChange> {
    let missing = MissingRows { keys, of, is_informed: true };
    Suspicion::default().update(missing, GRACE, Moment::now())
}

/// A suspicion over thirty rows on three machines, ten on each.
struct SuspicionScenario {
    start: Moment,
    suspicion: Suspicion,
}

impl SuspicionScenario {
    fn new() -> Self {
        Self { start: Moment::now(), suspicion: Suspicion::default() }
    }

    fn update(&mut self, second: u64, keys: &BTreeSet<RowKey>) -> Option<SuspicionChange> {
        let missing = MissingRows { keys, of: 30, is_informed: true };
        self.suspicion.update(missing, GRACE, self.at(second))
    }

    fn update_uninformed(&mut self, keys: &BTreeSet<RowKey>) -> Option<SuspicionChange> {
        let missing = MissingRows { keys, of: 30, is_informed: false };
        self.suspicion.update(missing, GRACE, self.start)
    }

    fn record_returns(&mut self, second: u64, keys: &BTreeSet<RowKey>) {
        for key in keys {
            self.suspicion.record_return(key, self.at(second));
        }
    }

    fn at(&self, second: u64) -> Moment {
        self.start + Duration::from_secs(second)
    }
}

#[test]
fn more_than_a_third_of_all_rows_on_several_machines_is_too_much() {
    let mut source = SuspicionScenario::new();
    assert_eq!(source.update(0, &rows(0..10)), None);
    assert_eq!(source.update(1, &rows(0..11)), Some(SuspicionChange::Raised { missing: 11 }));
    assert_eq!(source.update(2, &rows(0..12)), None, "raised once");
}

#[test]
fn missing_rows_of_one_machine_do_not_make_the_source_suspect() {
    let of_one = rows((0..30).step_by(3));
    assert_eq!(first_update(&of_one, 12), None, "10 of 12");
}

#[test]
fn all_rows_are_too_much_on_one_machine_too() {
    let of_one = rows((0..30).step_by(3));
    assert_eq!(first_update(&of_one, 10), Some(SuspicionChange::Raised { missing: 10 }));
}

#[test]
fn one_or_two_rows_do_not_make_the_source_suspect() {
    assert_eq!(first_update(&rows(0..2), 2), None);
}

#[test]
fn rows_are_kept_at_once_but_the_source_is_suspect_only_after_an_explanation_could_be_read() {
    let mut source = SuspicionScenario::new();
    let missing = rows(0..20);
    assert_eq!(source.update_uninformed(&missing), None);
    assert!(source.suspicion.holds_rows());
    assert_eq!(source.suspicion.since(), None);
    assert_eq!(source.suspicion.unconfirmed_since(), Some(source.start));

    assert_eq!(source.update(1, &missing), Some(SuspicionChange::Raised { missing: 20 }));
    assert_eq!(source.suspicion.since(), Some(source.start.wall));
}

#[test]
fn an_unconfirmed_suspicion_that_is_explained_ends_without_an_event() {
    let mut source = SuspicionScenario::new();
    source.update_uninformed(&rows(0..20));
    assert_eq!(source.update(1, &rows(0..5)), None);
    assert!(!source.suspicion.holds_rows());
}

#[test]
fn it_ends_when_nothing_is_missing_or_few_rows_for_the_grace() {
    let mut source = SuspicionScenario::new();
    source.update(0, &rows(0..20));
    assert_eq!(source.update(10, &rows([])), Some(SuspicionChange::Cleared));

    let mut source = SuspicionScenario::new();
    source.update(0, &rows(0..20));
    assert_eq!(source.update(10, &rows(0..5)), None);
    assert_eq!(source.update(39, &rows(0..5)), None);
    assert_eq!(source.update(40, &rows(0..5)), Some(SuspicionChange::Cleared));
}

#[test]
fn lists_that_lack_different_rows_in_turns_raise_one_suspicion() {
    let mut source = SuspicionScenario::new();
    let turns = [rows(0..8), rows(8..16), rows(16..24)];
    let mut changes = Vec::new();

    for second in 0..60_usize {
        let missing = &turns[second % 3];
        source.record_returns(second as u64, &turns[(second + 2) % 3]);
        changes.extend(source.update(second as u64, missing));
    }
    assert!(matches!(changes.as_slice(), [SuspicionChange::Raised { .. }]), "{changes:?}");
    assert_eq!(source.update(61, &rows([])), Some(SuspicionChange::Cleared));
}

#[test]
fn returned_rows_count_only_while_others_are_missing() {
    let mut source = SuspicionScenario::new();
    source.record_returns(0, &rows(0..20));
    assert_eq!(source.update(1, &rows(20..23)), None, "a fleetd that has restarted");
    assert_eq!(source.update(1, &rows(20..24)), Some(SuspicionChange::Raised { missing: 24 }));
}
