//! Which machines have the log of a unit: those that run it, and the one that ran it before. Pure.
//!
//! It must not know how a log is read.

use super::Publication;
use crate::cluster::{MachineId, Text};

/// A machine whose journal has lines of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnitMachine {
    pub(crate) machine: MachineId,
    /// Its last known address.
    pub(crate) ip: Option<Text>,
    pub(crate) role: MachineRole,
    /// Whether it is in the cluster.
    pub(crate) is_present: bool,
}

/// What a machine has to do with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MachineRole {
    /// It runs the unit, or is to run it.
    Current,
    /// It ran the unit before another one did.
    Previous,
}

impl Publication {
    /// The machines that have the log of a unit, first those that have the unit now. `None` if
    /// there is no such unit.
    ///
    /// If several machines have it, none of them counts as previous: it did not move.
    pub(crate) fn unit_machines(&self, unit: &str) -> Option<Vec<UnitMachine>> {
        let rows: Vec<_> = self.view.units.of_unit(unit).collect();
        let first = rows.first()?;

        let mut machines: Vec<UnitMachine> = Vec::new();
        for row in &rows {
            let Some(id) = row.machine_id() else { continue };
            let ip = row.state.ip.as_ref().or(row.machine.ip.as_ref());
            machines.push(self.unit_machine(id, ip, MachineRole::Current));
        }

        let is_global = first.file.as_ref().is_some_and(|file| file.global);
        if !is_global && machines.len() <= 1 {
            let current = machines.first().map(|machine| machine.machine.clone());
            machines.extend(self.machine_before(unit, current.as_ref()));
        }
        Some(machines)
    }

    /// The last machine with an event of this unit that is not on the one that has it now.
    fn machine_before(&self, unit: &str, current: Option<&MachineId>) -> Option<UnitMachine> {
        self.transitions.iter().rev().find_map(|transition| {
            let place = transition.event.place().filter(|place| &*place.unit == unit)?;
            let id = place.machine.as_ref().filter(|id| Some(*id) != current)?;

            Some(self.unit_machine(id, place.ip.as_ref(), MachineRole::Previous))
        })
    }

    fn unit_machine(&self, id: &MachineId, ip: Option<&Text>, role: MachineRole) -> UnitMachine {
        let member = self.view.machines.iter().find(|member| member.machine.id == *id);
        let address = member.and_then(|member| member.machine.ip.as_ref());

        UnitMachine {
            machine: id.clone(),
            ip: address.or(ip).cloned(),
            role,
            is_present: member.is_some_and(|member| member.lost_since.is_none()),
        }
    }
}
