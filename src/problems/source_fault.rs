//! Whether the source can be relied on, and if not, why.
//!
//! It knows nothing of units and machines.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::cluster::{FleetList, Health, Moment};

/// Why the source cannot be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceFault {
    /// A list cannot be read.
    Failing,
    /// A list has not been read in time, although no reading failed.
    Overdue,
    /// So many units are missing from its list that it is not trusted.
    Suspect,
}

impl SourceFault {
    /// The worst fault that the source has now.
    pub(super) fn of(health: &Health, now: Moment) -> Option<Self> {
        if health.failure().is_some() {
            Some(SourceFault::Failing)
        } else if health.overdue_in_order(now).is_some() {
            Some(SourceFault::Overdue)
        } else {
            health.suspect_since.map(|_| SourceFault::Suspect)
        }
    }

    /// Whether what the source says of units and machines cannot be relied on. That the unit files
    /// cannot be read does not affect it.
    pub(super) fn affects_rows(health: &Health, now: Moment) -> bool {
        let is_failing = [FleetList::Units, FleetList::Machines]
            .into_iter()
            .any(|list| health.list(list).failure.is_some());
        let is_overdue = || {
            health
                .overdue_in_order(now)
                .is_some_and(|overdue| overdue.list != FleetList::UnitFiles)
        };

        is_failing || health.suspect_since.is_some() || is_overdue()
    }

    /// Since when the source has had this fault; `None` if it has it no more.
    pub(super) fn since(self, health: &Health, now: Moment) -> Option<SystemTime> {
        match self {
            SourceFault::Failing => health.failure().map(|failure| failure.since.wall),
            SourceFault::Overdue => health.overdue_in_order(now).map(|overdue| overdue.since),
            SourceFault::Suspect => health.suspect_since,
        }
    }
}
