//! An open problem as it is kept over a restart of the program.
//!
//! It does not know where it is kept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::wrong_rows::row_key;
use super::{Problem, ProblemCause};
use crate::cluster::{RowKey, SavedTime, Text};

/// An open problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedProblem {
    /// See [`Problem::id`].
    pub id: Text,
    cause: ProblemCause,
    since: SavedTime,
    since_seen: bool,
    opened: SavedTime,
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
