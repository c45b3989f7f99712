//! What a source can read: whole lists, a whole registry, or single changes of it.
//!
//! It knows nothing of verdicts, and it does not name sources: what a source can tell is in the
//! kind of its readings. A list contains what is there and does not tell why something is missing;
//! an event of etcd tells whether a key was deleted or has expired.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::{FleetList, Machine, MachineId, UnitFile, UnitName, UnitState};

/// What a source has read at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The unit states. A fleetctl before 0.7 lists units and their desired states in one table:
    /// then `files` is present, and [`FleetList::UnitFiles`] is never read on its own.
    Units {
        /// A row for each unit on each machine.
        states: Vec<UnitState>,
        /// The unit files, if the same answer contained them.
        files: Option<Vec<UnitFile>>,
    },
    /// All machines of the cluster.
    Machines {
        /// A row for each machine.
        machines: Vec<Machine>,
    },
    /// All unit files that fleet has.
    UnitFiles {
        /// A row for each unit file.
        files: Vec<UnitFile>,
    },
    /// All lists at one moment.
    Registry(RegistrySnapshot),
    /// The changes since the previous reading, in order; it follows a [`Reading::Registry`], or
    /// other changes.
    Changes {
        /// etcd's index after the changes.
        index: u64,
        /// Empty if nothing has changed.
        changes: Vec<Observation>,
    },
}

impl Reading {
    /// The lists that it covers.
    pub fn lists(&self) -> &'static [FleetList] {
        match self {
            Reading::Units { files: None, .. } => FleetList::Units.alone(),
            Reading::Units { files: Some(_), .. } => &[FleetList::Units, FleetList::UnitFiles],
            Reading::Machines { .. } => FleetList::Machines.alone(),
            Reading::UnitFiles { .. } => FleetList::UnitFiles.alone(),
            Reading::Registry(_) | Reading::Changes { .. } => &FleetList::ALL,
        }
    }

    /// Whether it contains the deletion or expiry of a key with a lease.
    pub fn ends_leases(&self) -> bool {
        let Reading::Changes { changes, .. } = self else {
            return false;
        };

        changes
            .iter()
            .any(|change| matches!(change, Observation::Deleted(_) | Observation::Expired(_)))
    }
}

/// The whole content of fleet's registry at one moment. Unlike lists, it tells what has expired,
/// and what should have been renewed by now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrySnapshot {
    /// etcd's index at that moment.
    pub index: u64,
    /// A row for each unit on each machine.
    pub states: Arc<[UnitState]>,
    /// A row for each machine.
    pub machines: Arc<[Machine]>,
    /// A row for each unit file.
    pub files: Arc<[UnitFile]>,
    /// The machine whose engine schedules units; `None` if no engine leads.
    pub leader: Option<MachineId>,
    /// The leases that have expired since the previous reading, as opposed to keys that were
    /// deleted.
    pub expired: Vec<Lease>,
    /// The leases that should have been renewed by now, each with the age of its last renewal.
    pub overdue: Vec<(Lease, Duration)>,
}

/// A key of fleet's registry with a TTL, which fleetd renews regularly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lease {
    /// The presence of a machine.
    Machine(MachineId),
    /// The state of a unit on a machine.
    Unit(UnitName, MachineId),
}

/// One change of fleet's registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// A machine reports a new state of a unit.
    Reported(UnitState),
    /// A machine is new, or its description has changed.
    MachineSeen(Machine),
    /// A unit file is new, or the desired state or target of its unit has changed.
    Wanted(UnitFile),
    /// A unit file was deleted.
    NotWanted(UnitName),
    /// A key with a lease was deleted.
    Deleted(Lease),
    /// A key with a lease was not renewed in time.
    Expired(Lease),
    /// A key should have been renewed by now; the duration is the age of its last renewal.
    Overdue(Lease, Duration),
    /// An overdue key was renewed.
    Renewed(Lease),
    /// The engine of another machine schedules units now, or none does.
    Leads(Option<MachineId>),
}
