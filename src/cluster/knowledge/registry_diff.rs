//! A whole registry, compared with the one of the reading before.
//!
//! It does not know what follows from the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::model::RowKey;
use super::super::model::{Machine, MachineId, UnitFile, UnitState};
use super::super::observation::{Lease, RegistrySnapshot};
use super::super::report::Absence;

#[derive(Debug)]
pub(crate) struct RegistryDiff {
    snapshot: RegistrySnapshot,
    expired: BTreeSet<Lease>,
    /// Why a key is missing that has not expired.
    default_absence: Absence,
    same_states: bool,
    same_machines: bool,
    same_files: bool,
}

impl RegistryDiff {
    /// Compares a snapshot with the one before. A list that both share has not changed. Unless the
    /// source `has_recovered`, a key that is missing may have been lost in an outage.
    pub(crate) fn new(
        snapshot: RegistrySnapshot,
        before: Option<&RegistrySnapshot>,
        has_recovered: bool,
    ) -> Self {
        Self {
            expired: snapshot.expired.iter().cloned().collect(),
            default_absence: if has_recovered {
                Absence::Deleted
            } else {
                Absence::Unlisted
            },
            same_states: before.is_some_and(|it| Arc::ptr_eq(&it.states, &snapshot.states)),
            same_machines: before.is_some_and(|it| Arc::ptr_eq(&it.machines, &snapshot.machines)),
            same_files: before.is_some_and(|it| Arc::ptr_eq(&it.files, &snapshot.files)),
            snapshot,
        }
    }

    /// The unit states if they have changed, without the addresses, which are those of the
    /// machines.
    pub(crate) fn changed_states(&self) -> Option<Vec<UnitState>> {
        let without_address = |state: &UnitState| UnitState { ip: None, ..state.clone() };

        (!self.same_states).then(|| self.snapshot.states.iter().map(without_address).collect())
    }

    /// The machines if they have changed.
    pub(crate) fn changed_machines(&self) -> Option<Vec<Machine>> {
        (!self.same_machines).then(|| self.snapshot.machines.to_vec())
    }

    /// The unit files if they have changed, or if there are none: an empty list may be accepted
    /// later than it was first read.
    pub(crate) fn changed_files(&self) -> Option<Vec<UnitFile>> {
        let is_unchanged = self.same_files && !self.snapshot.files.is_empty();

        (!is_unchanged).then(|| self.snapshot.files.to_vec())
    }

    pub(crate) fn has_machines(&self) -> bool {
        !self.snapshot.machines.is_empty()
    }

    /// Why a row is missing that the snapshot does not contain.
    pub(crate) fn absence_of_row(&self, key: &RowKey) -> Absence {
        match key {
            (unit, Some(machine)) => self.absence_of(&Lease::Unit(unit.clone(), machine.clone())),
            (_, None) => self.default_absence,
        }
    }

    /// Why a machine is missing that the snapshot does not contain.
    pub(crate) fn absence_of_machine(&self, id: &MachineId) -> Absence {
        self.absence_of(&Lease::Machine(id.clone()))
    }

    fn absence_of(&self, lease: &Lease) -> Absence {
        if self.expired.contains(lease) {
            Absence::Expired
        } else {
            self.default_absence
        }
    }

    pub(crate) fn leader(&self) -> Option<MachineId> {
        self.snapshot.leader.clone()
    }

    /// The leases that should have been renewed by now, and how old their last renewals are.
    pub(crate) fn overdue(&self) -> BTreeMap<Lease, Duration> {
        self.snapshot.overdue.iter().cloned().collect()
    }

    /// The snapshot, without what concerns this reading alone.
    pub(crate) fn into_snapshot(self) -> RegistrySnapshot {
        RegistrySnapshot { expired: Vec::new(), overdue: Vec::new(), ..self.snapshot }
    }
}
