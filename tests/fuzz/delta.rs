//! A delta must tell what the two sets of rows do not have in common, and nothing else; and applied
//! to the older view, it must make the newer one.

#![no_main]

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../it/support/builders.rs"]
mod builders;

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_monitor::cluster::{Change, Delta, MachineId, Unit, UnitName, UnitState, View};
use libfuzzer_sys::fuzz_target;

type Key = (UnitName, Option<MachineId>);
type Rows = BTreeMap<Key, Arc<Unit>>;

/// Three bytes tell a row: its unit, its machine (or none), its state.
fn row(unit: u8, machine: u8, state: u8) -> (Key, Arc<Unit>) {
    let unit = UnitName::from(format!("{unit}.service").as_str());
    let machine = (machine > 0).then(|| MachineId::from(format!("{machine:02x}").as_str()));
    let state = UnitState {
        machine: machine.clone(),
        load: None,
        active: Some(state.to_string().into()),
        sub: None,
        ..builders::unit_state(&unit, "01", "active/running")
    };
    let row = builders::unit(state);
    ((unit, machine), Arc::new(row))
}

fn rows(bytes: &[u8]) -> Rows {
    bytes.as_chunks().0.iter().map(|[unit, machine, state]| row(*unit, *machine, *state)).collect()
}

fn view(rows: &Rows) -> View {
    View { units: rows.values().cloned().collect(), machines: vec![] }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((split, bytes)) = bytes.split_first() else { return };
    let (before, after) = bytes.split_at((*split as usize * 3).min(bytes.len()));
    let (before, mut after) = (rows(before), rows(after));
    // Rows that did not change are often the same in memory.
    for (key, row) in &mut after {
        if let Some(same) = before.get(key).filter(|old| old == &row && key.0.len() % 2 == 0) {
            *row = same.clone();
        }
    }

    let changes = Delta::between(&view(&before), &view(&after)).units;

    let mut expected: BTreeMap<Key, Change<Unit>> = BTreeMap::new();
    for key in before.keys().chain(after.keys()) {
        let change = Change { before: before.get(key).cloned(), after: after.get(key).cloned() };
        if change.before != change.after {
            expected.insert(key.clone(), change);
        }
    }
    assert_eq!(changes, expected.into_values().collect::<Vec<_>>());

    let mut applied = before;
    for Change { before, after } in changes {
        if let Some(row) = before {
            applied.remove(&(row.state.unit.clone(), row.state.machine.clone()));
        }
        if let Some(row) = after {
            applied.insert((row.state.unit.clone(), row.state.machine.clone()), row);
        }
    }
    assert_eq!(applied, after);
});
