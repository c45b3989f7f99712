//! The machines because of which units may be wrong: those that are lost or silent, and those that
//! have just come back.
//!
//! It does not know what is wrong with a unit.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::MachineTrouble;
use super::wrong_rows::TrustedTime;
use crate::cluster::{MachineId, View};

/// How long a machine that is back may take to report its units. After a crash, fleetd v1.0.0
/// publishes its first unit state 27 to 51 s after its machine.
const RETURN: Duration = Duration::from_secs(60);

/// A machine because of which units may be wrong. The times are those of the clock.
#[derive(Clone, Copy, Debug)]
enum MachineWatch {
    /// It has been lost or silent since then.
    Absent(TrustedTime),
    /// It has been back since then, and may not have reported all of its units yet.
    Returned(TrustedTime),
}

/// Machines because of which units may be wrong.
#[derive(Debug, Default)]
pub(super) struct WatchedMachines(HashMap<MachineId, MachineWatch>);

impl WatchedMachines {
    /// Applies which machines are lost or silent, at a time of the clock.
    pub(super) fn update(&mut self, view: &View, clock: TrustedTime) {
        let absent: HashSet<&MachineId> = view
            .machines
            .iter()
            .filter(|member| MachineTrouble::of(member).is_some())
            .map(|member| &member.machine.id)
            .collect();

        for id in &absent {
            let watch = self.0.entry((*id).clone()).or_insert(MachineWatch::Absent(clock));
            if let MachineWatch::Returned(_) = watch {
                *watch = MachineWatch::Absent(clock);
            }
        }
        self.0.retain(|id, watch| match *watch {
            MachineWatch::Absent(_) if absent.contains(id) => true,
            MachineWatch::Absent(_) => {
                *watch = MachineWatch::Returned(clock);
                true
            }
            MachineWatch::Returned(since) => clock.since(since).of_absences() < RETURN,
        });
    }

    pub(super) fn contains(&self, id: &MachineId) -> bool {
        self.0.contains_key(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &MachineId> {
        self.0.keys()
    }

    /// Since when a machine has been lost or silent, by the clock; `None` if it is neither.
    pub(super) fn absent_since(&self, id: &MachineId) -> Option<TrustedTime> {
        match self.0.get(id) {
            Some(MachineWatch::Absent(since)) => Some(*since),
            Some(MachineWatch::Returned(_)) | None => None,
        }
    }
}
