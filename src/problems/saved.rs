//! An open problem as it is kept over a restart of the program.
//!
//! It does not know where it is kept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::wrong_rows::{find_row, row_key};
use super::{MachineTrouble, Problem, ProblemCause, ProblemKind};
use crate::cluster::{RowKey, SavedTime, Text, Unit, Verdict, View};

/// An open problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedProblem {
    /// See [`Problem::id`].
    pub id: Text,
    pub(super) cause: ProblemCause,
    pub(super) since: SavedTime,
    pub(super) since_seen: bool,
    pub(super) opened: SavedTime,
    /// The rows of the units that have it.
    pub(super) rows: Vec<RowKey>,
}

impl From<&Problem> for SavedProblem {
    fn from(problem: &Problem) -> Self {
        Self {
            id: problem.id.clone(),
            cause: problem.cause.clone(),
            since: SavedTime(problem.since),
            since_seen: problem.since_seen,
            opened: SavedTime(problem.opened),
            rows: problem.units.iter().map(|unit| row_key(unit)).collect(),
        }
    }
}

impl SavedProblem {
    /// Whether a view has what it is about: the machine is lost or silent, or a unit is wrong.
    pub(super) fn is_in(&self, view: &View) -> bool {
        match &self.cause {
            ProblemCause::Source(_) => false,
            ProblemCause::Machine { machine, trouble } => {
                let found = view
                    .machine(&machine.id)
                    .and_then(|member| MachineTrouble::of(member));
                found.is_some_and(|(found, _)| found == *trouble)
            }
            ProblemCause::OnMachine { .. }
            | ProblemCause::Template { .. }
            | ProblemCause::Unit { .. } => self.rows.iter().any(|key| {
                let severity = |unit: &Arc<Unit>| ProblemKind::Unit(unit.verdict).severity();
                let is_wrong = |unit: &&Arc<Unit>| unit.verdict != Verdict::Ok;
                let unit = find_row(view, key).filter(is_wrong);
                unit.is_some_and(|unit| severity(unit) == self.cause.severity())
            }),
        }
    }

    pub(super) fn opened(&self) -> SavedTime {
        self.opened
    }

    /// The problem, without its units and its machine.
    pub(super) fn problem(&self) -> Arc<Problem> {
        Arc::new(Problem {
            id: self.id.clone(),
            cause: self.cause.clone(),
            since: self.since.0,
            since_seen: self.since_seen,
            opened: self.opened.0,
            units: Vec::new(),
            machine: None,
        })
    }
}
