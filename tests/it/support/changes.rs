//! Applies the changes that the source `etcd` yields to a whole registry, for tests that compare
//! both.
//!
//! The unit tests of the crate include this file too.

use std::collections::BTreeMap;

use fleet_monitor::cluster::{Lease, Observation, RegistrySnapshot, UnitState};

/// Applies the changes up to `index`. Only leases that expire in these changes are in `expired`
/// afterwards.
pub fn apply_changes(registry: &mut RegistrySnapshot, index: u64, changes: &[Observation]) {
    let key = |state: &UnitState| (state.unit.clone(), state.machine.clone());
    let mut states: BTreeMap<_, _> = registry
        .states
        .iter()
        .map(|state| (key(state), state.clone()))
        .collect();
    let mut machines: BTreeMap<_, _> = registry
        .machines
        .iter()
        .map(|it| (it.id.clone(), it.clone()))
        .collect();
    let mut files: BTreeMap<_, _> = registry
        .files
        .iter()
        .map(|file| (file.unit.clone(), file.clone()))
        .collect();
    let mut overdue: BTreeMap<_, _> = registry.overdue.drain(..).collect();
    registry.index = index;
    registry.expired.clear();

    for change in changes {
        match change.clone() {
            Observation::Reported(state) => {
                overdue.remove(&Lease::Unit(
                    state.unit.clone(),
                    state.machine.clone().unwrap_or_else(|| "".into()),
                ));
                states.insert(key(&state), state);
            }
            Observation::MachineSeen(machine) => {
                overdue.remove(&Lease::Machine(machine.id.clone()));
                machines.insert(machine.id.clone(), machine);
            }
            Observation::Wanted(file) => _ = files.insert(file.unit.clone(), file),
            Observation::NotWanted(unit) => _ = files.remove(&unit),
            Observation::Deleted(lease) | Observation::Expired(lease) => {
                overdue.remove(&lease);
                match &lease {
                    Lease::Machine(id) => _ = machines.remove(id),
                    Lease::Unit(unit, id) => _ = states.remove(&(unit.clone(), Some(id.clone()))),
                }
                if matches!(change, Observation::Expired(_)) {
                    registry.expired.push(lease);
                }
            }
            Observation::Overdue(lease, age) => _ = overdue.insert(lease, age),
            Observation::Renewed(lease) => _ = overdue.remove(&lease),
            Observation::Leads(leader) => registry.leader = leader,
        }
    }

    // The addresses of states are those of their machines.
    for state in states.values_mut() {
        let machine = state.machine.as_ref().and_then(|id| machines.get(id));
        state.ip = machine.and_then(|machine| machine.ip.clone());
    }
    registry.states = states.into_values().collect();
    registry.machines = machines.into_values().collect();
    registry.files = files.into_values().collect();
    registry.overdue = overdue.into_iter().collect();
}
