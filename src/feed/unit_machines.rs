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
        let member = self.view.machine(id);
        let address = member.and_then(|member| member.machine.ip.as_ref());

        UnitMachine {
            machine: id.clone(),
            ip: address.or(ip).cloned(),
            role,
            is_present: member.is_some_and(|member| member.lost_since.is_none()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::builders;
    use crate::cluster::{Event, Place, Transition, UnitFile, UnitState, View};
    use crate::feed::SourceInfo;

    /// A publication in which these machines are present, with a unit on some of them, and an event
    /// of it on others.
    fn publication(present: &[&str], on: &[&str], before: &[&str], is_global: bool) -> Publication {
        let unit = |machine: &&str| {
            let state = UnitState {
                ip: Some("10.0.0.9".into()),
                ..builders::unit_state("a.service", machine, "active/running")
            };
            let file = UnitFile { global: is_global, ..builders::unit_file("a.service", None) };
            Arc::new(crate::cluster::Unit { file: Some(Arc::new(file)), ..builders::unit(state) })
        };
        let member = |id: &&str| Arc::new(builders::member(builders::machine(id)));
        let transition = |machine: &&str| {
            let machine = Some((*machine).into());
            let place = Place {
                unit: "a.service".into(),
                machine,
                ip: Some("10.0.0.8".into()),
            };
            Arc::new(Transition {
                number: 1,
                time: std::time::SystemTime::UNIX_EPOCH,
                event: Event::Appeared { place, to: "active/running".into() },
            })
        };

        Publication {
            view: Arc::new(View {
                units: on.iter().map(unit).collect(),
                machines: present.iter().map(member).collect(),
            }),
            transitions: before.iter().map(transition).collect(),
            ..Publication::empty("e", SourceInfo::default())
        }
    }

    fn machines(publication: &Publication) -> Vec<(String, MachineRole, bool)> {
        let machines = publication.unit_machines("a.service").expect("the unit");
        machines
            .into_iter()
            .map(|machine| (machine.machine.to_string(), machine.role, machine.is_present))
            .collect()
    }

    #[test]
    fn a_unit_that_moved_has_a_machine_before() {
        let moved = publication(&["m1", "m2"], &["m2"], &["m0", "m1", "m2"], false);
        assert_eq!(
            machines(&moved),
            [
                ("m2".to_owned(), MachineRole::Current, true),
                ("m1".to_owned(), MachineRole::Previous, true),
            ]
        );

        let lost = publication(&["m2"], &["m2"], &["m1"], false);
        assert_eq!(machines(&lost)[1], ("m1".to_owned(), MachineRole::Previous, false));
        assert_eq!(lost.unit_machines("a.service").unwrap()[1].ip.as_deref(), Some("10.0.0.8"));
    }

    #[test]
    fn a_unit_on_several_machines_has_none_before() {
        for publication in [
            publication(&["m1", "m2"], &["m1", "m2"], &["m3"], false),
            publication(&["m1"], &["m1"], &["m3"], true),
        ] {
            assert!(
                machines(&publication)
                    .iter()
                    .all(|(_, role, _)| *role == MachineRole::Current)
            );
        }
    }

    #[test]
    fn a_unit_that_does_not_exist_has_no_machines() {
        let publication = publication(&["m1"], &["m1"], &[], false);
        assert_eq!(publication.unit_machines("b.service"), None);
        assert_eq!(publication.unit_machines("a.servic"), None);
    }
}
