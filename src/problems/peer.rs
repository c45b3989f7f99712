//! An open problem as another monitor sends it, and which of its problems go on here.
//!
//! It does not know what has become of them.

use std::collections::HashSet;
use std::time::SystemTime;

use serde::Deserialize;

use super::{ProblemCause, SavedProblem};
use crate::cluster::{MachineId, RowKey, SavedTime, Text, UnitName, View, bounded, milliseconds};

/// How many units of a problem are accepted.
const MAX_UNITS: usize = 100_000;
/// The length of an ID: 16 hexadecimal digits.
const ID_LENGTH: usize = 16;

/// An open problem of another monitor.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerProblem {
    id: Text,
    cause: ProblemCause,
    #[serde(deserialize_with = "milliseconds")]
    since: SystemTime,
    since_seen: bool,
    #[serde(deserialize_with = "milliseconds")]
    opened: SystemTime,
    #[serde(deserialize_with = "bounded::<_, _, MAX_UNITS>")]
    units: Vec<PeerProblemUnit>,
}

#[derive(Clone, Debug, Deserialize)]
struct PeerProblemUnit {
    unit: UnitName,
    machine: Option<MachineId>,
}

impl PeerProblem {
    /// The problem; `None` if its times or its ID cannot be right, or if it is about the source:
    /// each monitor has a source of its own.
    pub(crate) fn into_saved(self, now: SystemTime) -> Option<SavedProblem> {
        let has_id =
            self.id.len() == ID_LENGTH && self.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_past = self.since <= self.opened && self.opened <= now;
        let is_of_source = matches!(self.cause, ProblemCause::Source(_));
        if !has_id || !is_past || is_of_source {
            return None;
        }

        let row = |PeerProblemUnit { unit, machine }| -> RowKey { (unit, machine) };
        Some(SavedProblem {
            id: self.id,
            cause: self.cause,
            since: SavedTime(self.since),
            since_seen: self.since_seen,
            opened: SavedTime(self.opened),
            rows: self.units.into_iter().map(row).collect(),
        })
    }
}

/// The problems of another monitor that go on here: something is wrong here too, and no open
/// problem is about it.
pub(super) fn learned(
    peer: &[SavedProblem],
    open: &[SavedProblem],
    view: &View,
) -> Vec<SavedProblem> {
    let members: HashSet<&RowKey> = open.iter().flat_map(|open| &open.rows).collect();
    let mut learned: Vec<SavedProblem> = Vec::new();

    for problem in peer.iter().filter(|problem| problem.is_in(view)) {
        let is_same =
            |other: &SavedProblem| other.id == problem.id || other.cause.is_same(&problem.cause);
        if open.iter().chain(&learned).any(is_same) {
            continue;
        }

        let mut problem = problem.clone();
        problem.rows.retain(|key| !members.contains(key));
        let is_of_machine = matches!(problem.cause, ProblemCause::Machine { .. });
        if is_of_machine || !problem.rows.is_empty() {
            learned.push(problem);
        }
    }
    learned
}
