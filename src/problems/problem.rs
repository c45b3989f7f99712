//! A problem, and what becomes of it.
//!
//! It does not know how problems are found.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::ProblemCause;
use crate::cluster::{Change, Member, Text, Unit};

/// Something that is wrong and has lasted.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Identifies it as long as it is open, and unlike that of any other: 16 hexadecimal digits.
    pub id: Text,
    /// What it is about. It stays as it was when the problem was opened.
    pub cause: ProblemCause,
    /// Since when it has been so: of several units, the first of those with which it was opened.
    pub since: SystemTime,
    /// Whether this process saw it begin. If not, it is older than `since`.
    pub since_seen: bool,
    /// When it was opened.
    pub opened: SystemTime,
    /// The units that have it now, sorted by name and machine, as they were when the problem last
    /// changed. Empty for the source, and for a machine without units that are wrong.
    pub units: Vec<Arc<Unit>>,
    /// The machine that it is about, if it is about one that is lost or silent.
    pub machine: Option<Arc<Member>>,
}

/// What has become of a problem.
#[derive(Clone, Debug, PartialEq)]
pub enum ProblemChange {
    /// It is new.
    Opened(Arc<Problem>),
    /// It has other units than before.
    Changed(Arc<Problem>),
    /// It is over. The problem is as it was before.
    Closed(Arc<Problem>, ProblemEnd),
}

/// Why a problem is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemEnd {
    /// What was wrong is well again.
    Recovered,
    /// The units or the machine do not exist any more.
    Gone,
    /// What was wrong is part of another problem now.
    Replaced,
}

impl ProblemEnd {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            ProblemEnd::Recovered => "recovered",
            ProblemEnd::Gone => "gone",
            ProblemEnd::Replaced => "replaced",
        }
    }
}

/// All open problems, those that were opened last at the end.
pub type OpenProblems = Arc<[Arc<Problem>]>;

/// What differs between the open problems of two moments: which were opened, closed, or have other
/// units.
pub(crate) fn changed_problems(
    before: &OpenProblems,
    after: &OpenProblems,
) -> Vec<Change<Problem>> {
    if Arc::ptr_eq(before, after) {
        return Vec::new();
    }

    let known: HashMap<&str, &Arc<Problem>> =
        before.iter().map(|problem| (&*problem.id, problem)).collect();
    let open: HashSet<&str> = after.iter().map(|problem| &*problem.id).collect();

    let changed = after.iter().filter_map(|problem| {
        let before = known.get(&*problem.id).copied();
        let is_changed = before.is_none_or(|before| !Arc::ptr_eq(before, problem));
        is_changed.then(|| Change { before: before.cloned(), after: Some(problem.clone()) })
    });
    let closed = before
        .iter()
        .filter(|problem| !open.contains(&*problem.id))
        .map(|problem| Change { before: Some(problem.clone()), after: None });
    changed.chain(closed).collect()
}
