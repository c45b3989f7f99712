//! What a source can say about the cluster: whole lists, a whole registry, or single changes.
//!
//! What a source knows is in its observations, not in who it is: a list says what is there and
//! leaves open why something is not; an event of etcd says whether a key was deleted or has
//! expired. It knows nothing of how that is judged.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::{FleetList, Machine, MachineId, UnitFile, UnitName, UnitState};

/// What a source said at one moment, unjudged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The unit states. A fleetctl before 0.7 lists every submitted unit with what fleet wants of
    /// it, in one table: then `files` is there too, and [`FleetList::UnitFiles`] is never read on its
    /// own.
    Units {
        /// A row for each unit on each machine.
        states: Vec<UnitState>,
        /// The unit files, where the same answer had them.
        files: Option<Vec<UnitFile>>,
    },
    /// The machines.
    Machines {
        /// A row for each machine.
        machines: Vec<Machine>,
    },
    /// The unit files.
    UnitFiles {
        /// A row for each unit file.
        files: Vec<UnitFile>,
    },
    /// All topics at one moment.
    Registry(RegistrySnapshot),
    /// What has changed since the reading before, in order; empty if nothing has. It follows on a
    /// [`Reading::Registry`].
    Changes {
        /// etcd's index now.
        index: u64,
        /// What has changed.
        changes: Vec<Observation>,
    },
}

impl Reading {
    /// The topics that it covers.
    pub fn topics(&self) -> &'static [FleetList] {
        match self {
            Reading::Units { files: None, .. } => FleetList::Units.alone(),
            Reading::Units { files: Some(_), .. } => &[FleetList::Units, FleetList::UnitFiles],
            Reading::Machines { .. } => FleetList::Machines.alone(),
            Reading::UnitFiles { .. } => FleetList::UnitFiles.alone(),
            Reading::Registry(_) | Reading::Changes { .. } => &FleetList::ALL,
        }
    }

    /// Whether keys with leases have been deleted since the reading before, or have expired.
    pub fn ends_leases(&self) -> bool {
        let Reading::Changes { changes, .. } = self else {
            return false;
        };
        changes
            .iter()
            .any(|change| matches!(change, Observation::Deleted(_) | Observation::Expired(_)))
    }
}

/// What fleet's registry has, all of it at one moment. Unlike lists, it says whether something was
/// deleted or has expired, and what should have been renewed by now.
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
    /// The machine whose engine decides where units go.
    pub leader: Option<MachineId>,
    /// The leases that have expired since the reading before, as opposed to keys that were deleted.
    pub expired: Vec<Lease>,
    /// The leases that should have been renewed by now, and for how long they have not been.
    pub overdue: Vec<(Lease, Duration)>,
}

/// A key of fleet's registry that fleetd renews again and again, or it expires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lease {
    /// That a machine is there.
    Machine(MachineId),
    /// The state of a unit on a machine.
    Unit(UnitName, MachineId),
}

/// One change of fleet's registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// A machine reports a state of a unit that is new.
    Reported(UnitState),
    /// A machine is there, or describes itself anew.
    MachineSeen(Machine),
    /// A unit file is there, or fleet wants something else of its unit.
    Wanted(UnitFile),
    /// A unit file was deleted.
    NotWanted(UnitName),
    /// A key was deleted.
    Deleted(Lease),
    /// A key was not renewed in time.
    Expired(Lease),
    /// A key should have been renewed by now, and has not been for so long.
    Overdue(Lease, Duration),
    /// An overdue key was renewed after all.
    Renewed(Lease),
    /// Another engine decides where units go, or none.
    Leads(Option<MachineId>),
}

/// Why a row is not there any more, as far as the source knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// A list does not have it.
    Unlisted,
    /// Its key was deleted: by its own machine, or by another fleetd.
    Deleted,
    /// Its key was not renewed in time.
    Expired,
}

/// What was last heard of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Report {
    /// It was there in the last reading.
    Current,
    /// It is there, but should have been renewed by now.
    Overdue {
        /// When it was renewed last.
        since: super::Moment,
    },
    /// It is not there.
    Absent {
        /// Since when.
        since: super::Moment,
        /// Why.
        absence: Absence,
        /// Whether a later reading of the units confirmed it.
        confirmed: bool,
    },
}

impl Report {
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Report::Absent { .. })
    }
}
