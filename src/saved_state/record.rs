//! The records of the file, as JSON.
//!
//! It does not know how they are framed, nor which of them are still needed.
//!
//! The first record is the format. A run of the program begins with its epoch. The records of one
//! second end with a commit, and do not count without it.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::stamped::Stamped;
use crate::cluster::{
    MachineId, RowKey, SavedEvent, SavedMachine, SavedRow, SavedTime, Text, UnitFile, UnitName,
};
use crate::problems::SavedProblem;

/// The version of the format.
pub(super) const FORMAT_VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StateRecord {
    Format(u32),
    /// A run of the program begins. The revisions before it are of another run.
    Epoch(Text),
    Row(Stamped<SavedRow>),
    RowGone(Stamped<RowKey>),
    Machine(Stamped<SavedMachine>),
    MachineGone(Stamped<MachineId>),
    File(UnitFile),
    FileGone(UnitName),
    Problem(Stamped<SavedProblem>),
    ProblemGone(Stamped<Text>),
    Event(Stamped<SavedEvent>),
    Commit(Commit),
}

/// The end of the records of one second.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Commit {
    /// The last revision that these records belong to.
    pub(super) revision: u64,
    /// All that changed after this revision of the run is in the file.
    pub(super) complete_since: u64,
    /// The number of the last transition.
    pub(super) transitions: u64,
    pub(super) saved: Option<SavedTime>,
    /// Since when all events are known, as far as they are in the file; `None` if that is not
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) events_since: Option<SavedTime>,
}

/// What a record is about. A later record about the same replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum RecordSubject {
    Row(RowKey),
    Machine(MachineId),
    File(UnitName),
    Problem(Text),
    /// An event, by its number.
    Event(u64),
}

impl StateRecord {
    /// `None` for records that are about none of these.
    pub(super) fn subject(&self) -> Option<RecordSubject> {
        Some(match self {
            StateRecord::Row(row) => RecordSubject::Row(row.value.key()),
            StateRecord::RowGone(key) => RecordSubject::Row(key.value.clone()),
            StateRecord::Machine(machine) => {
                RecordSubject::Machine(machine.value.machine.id.clone())
            }
            StateRecord::MachineGone(id) => RecordSubject::Machine(id.value.clone()),
            StateRecord::File(file) => RecordSubject::File(file.unit.clone()),
            StateRecord::FileGone(unit) => RecordSubject::File(unit.clone()),
            StateRecord::Problem(problem) => RecordSubject::Problem(problem.value.id.clone()),
            StateRecord::ProblemGone(id) => RecordSubject::Problem(id.value.clone()),
            StateRecord::Event(event) => RecordSubject::Event(event.value.number),
            StateRecord::Format(_) | StateRecord::Epoch(_) | StateRecord::Commit(_) => return None,
        })
    }

    /// The revision with which something was removed; `None` if this is no removal. That of a unit
    /// file has none.
    pub(super) fn removal(&self) -> Option<u64> {
        match self {
            StateRecord::RowGone(Stamped { revision, .. })
            | StateRecord::MachineGone(Stamped { revision, .. })
            | StateRecord::ProblemGone(Stamped { revision, .. }) => Some(*revision),
            StateRecord::FileGone(_) => Some(0),
            _ => None,
        }
    }

    /// The same number for events of the same unit on the same machine, or of the same machine.
    /// Another one may have it by chance; then fewer events of both are kept.
    pub(super) fn event_subject(&self) -> Option<u64> {
        let StateRecord::Event(event) = self else {
            return None;
        };
        let mut hasher = DefaultHasher::new();
        event.value.unit().hash(&mut hasher);
        event.value.machine().hash(&mut hasher);
        Some(hasher.finish())
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("a record has no keys but texts")
    }
}
