//! A delta must have exactly the rows that differ between two views. Applied to the older view, it
//! must make the newer one.

#![no_main]

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../it/support/builders.rs"]
mod builders;

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_monitor::cluster::{Change, Delta, MachineId, Unit, UnitName, UnitState, View};
use libfuzzer_sys::fuzz_target;

type RowKey = (UnitName, Option<MachineId>);
type RowsByKey = BTreeMap<RowKey, Arc<Unit>>;

/// The row for three bytes of input. Machine 0 is none.
fn row(unit: u8, machine: u8, state: u8) -> (RowKey, Arc<Unit>) {
    let unit = UnitName::from(format!("{unit}.service").as_str());
    let machine = (machine > 0).then(|| MachineId::from(format!("{machine:02x}").as_str()));
    let state = UnitState {
        machine: machine.clone(),
        load: None,
        active: Some(state.to_string().into()),
        sub: None,
        ..builders::unit_state(&unit, "01", "active/running")
    };

    ((unit, machine), Arc::new(builders::unit(state)))
}

fn rows(bytes: &[u8]) -> RowsByKey {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|[unit, machine, state]| row(*unit, *machine, *state))
        .collect()
}

fn key_of(row: &Unit) -> RowKey {
    (row.state.unit.clone(), row.state.machine.clone())
}

fn view(rows: &RowsByKey) -> View {
    View { units: rows.values().cloned().collect(), machines: vec![] }
}

/// Lets half of the rows that did not change be the same in memory, as they are in most views.
fn share_equal_rows(before: &RowsByKey, after: &mut RowsByKey) {
    for (key, row) in after {
        let equal = before
            .get(key)
            .filter(|old| *old == row && key.0.len().is_multiple_of(2));
        if let Some(equal) = equal {
            *row = equal.clone();
        }
    }
}

fn expected_changes(before: &RowsByKey, after: &RowsByKey) -> Vec<Change<Unit>> {
    let mut changes = BTreeMap::new();
    for key in before.keys().chain(after.keys()) {
        let change = Change {
            before: before.get(key).cloned(),
            after: after.get(key).cloned(),
        };
        if change.before != change.after {
            changes.insert(key.clone(), change);
        }
    }
    changes.into_values().collect()
}

fn apply(changes: Vec<Change<Unit>>, rows: &mut RowsByKey) {
    for Change { before, after } in changes {
        if let Some(row) = before {
            rows.remove(&key_of(&row));
        }
        if let Some(row) = after {
            rows.insert(key_of(&row), row);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((split, bytes)) = bytes.split_first() else {
        return;
    };
    let (before, after) = bytes.split_at((*split as usize * 3).min(bytes.len()));
    let before = rows(before);
    let mut after = rows(after);
    share_equal_rows(&before, &mut after);

    let changes = Delta::between(&view(&before), &view(&after)).units;
    assert_eq!(changes, expected_changes(&before, &after));

    let mut applied = before;
    apply(changes, &mut applied);
    assert_eq!(applied, after);
});
