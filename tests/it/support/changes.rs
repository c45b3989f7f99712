//! Applies the changes that the source `etcd` yields to a whole registry, for tests that compare
//! both.
//!
//! The unit tests of the crate include this file too.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_monitor::cluster::{
    Lease, Machine, MachineId, Observation, RegistrySnapshot, RowKey, UnitFile, UnitName, UnitState,
};

/// Applies the changes up to `index`. Only leases that expire in these changes are in `expired`
/// afterwards.
pub fn apply_changes(registry: &mut RegistrySnapshot, index: u64, changes: &[Observation]) {
    let mut maps = RegistryMaps::new(registry);

    for change in changes {
        maps.apply(change.clone());
    }
    *registry = maps.into_snapshot(index);
}

/// A registry by key.
struct RegistryMaps {
    states: BTreeMap<RowKey, UnitState>,
    machines: BTreeMap<MachineId, Machine>,
    files: BTreeMap<UnitName, UnitFile>,
    overdue: BTreeMap<Lease, Duration>,
    expired: Vec<Lease>,
    leader: Option<MachineId>,
}

fn key(state: &UnitState) -> RowKey {
    (state.unit.clone(), state.machine.clone())
}

impl RegistryMaps {
    fn new(registry: &RegistrySnapshot) -> Self {
        let states = registry.states.iter().map(|state| (key(state), state.clone()));
        let machines = registry.machines.iter().map(|it| (it.id.clone(), it.clone()));
        let files = registry.files.iter().map(|file| (file.unit.clone(), file.clone()));

        Self {
            states: states.collect(),
            machines: machines.collect(),
            files: files.collect(),
            overdue: registry.overdue.iter().cloned().collect(),
            expired: Vec::new(),
            leader: registry.leader.clone(),
        }
    }

    fn apply(&mut self, change: Observation) {
        match change {
            Observation::Reported(state) => {
                let machine = state.machine.clone().unwrap_or_else(|| "".into());
                self.overdue.remove(&Lease::Unit(state.unit.clone(), machine));
                self.states.insert(key(&state), state);
            }
            Observation::MachineSeen(machine) => {
                self.overdue.remove(&Lease::Machine(machine.id.clone()));
                self.machines.insert(machine.id.clone(), machine);
            }
            Observation::Wanted(file) => _ = self.files.insert(file.unit.clone(), file),
            Observation::NotWanted(unit) => _ = self.files.remove(&unit),
            Observation::Deleted(lease) => self.end(&lease),
            Observation::Expired(lease) => {
                self.end(&lease);
                self.expired.push(lease);
            }
            Observation::Overdue(lease, age) => _ = self.overdue.insert(lease, age),
            Observation::Renewed(lease) => _ = self.overdue.remove(&lease),
            Observation::Leads(leader) => self.leader = leader,
        }
    }

    fn end(&mut self, lease: &Lease) {
        self.overdue.remove(lease);

        match lease {
            Lease::Machine(id) => _ = self.machines.remove(id),
            Lease::Unit(unit, id) => _ = self.states.remove(&(unit.clone(), Some(id.clone()))),
        }
    }

    fn into_snapshot(mut self, index: u64) -> RegistrySnapshot {
        // The addresses of states are those of their machines.
        for state in self.states.values_mut() {
            let machine = state.machine.as_ref().and_then(|id| self.machines.get(id));
            state.ip = machine.and_then(|machine| machine.ip.clone());
        }

        RegistrySnapshot {
            index,
            states: self.states.into_values().collect(),
            machines: self.machines.into_values().collect(),
            files: self.files.into_values().collect(),
            leader: self.leader,
            expired: self.expired,
            overdue: self.overdue.into_iter().collect(),
        }
    }
}
