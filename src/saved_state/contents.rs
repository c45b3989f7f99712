//! What a file says: the state of the cluster when it was last written.
//!
//! It does not know what becomes of it.

use std::io::{self, BufRead};

use super::live::{LiveRecords, for_each_at};
use super::record::StateRecord;
use super::stamped::Stamped;
use crate::cluster::{
    MachineId, RowKey, SavedCluster, SavedEvent, SavedMachine, SavedRow, SavedTime, Text, UnitFile,
};
use crate::problems::SavedProblem;

/// What was saved by the program that ran before. Empty if there is nothing.
#[derive(Debug, Default)]
pub(crate) struct SavedState {
    /// Identifies the run.
    pub(crate) epoch: Option<Text>,
    /// The last revision that was saved.
    pub(crate) revision: u64,
    /// All that changed after this revision is known.
    pub(crate) complete_since: u64,
    pub(crate) transitions: u64,
    pub(crate) saved: Option<SavedTime>,
    /// Since when all events are known; `None` if that is not known.
    pub(crate) events_since: Option<SavedTime>,
    pub(crate) rows: Vec<Stamped<SavedRow>>,
    pub(crate) machines: Vec<Stamped<SavedMachine>>,
    pub(crate) files: Vec<UnitFile>,
    pub(crate) problems: Vec<Stamped<SavedProblem>>,
    /// Oldest first.
    pub(crate) events: Vec<Stamped<SavedEvent>>,
    /// What was removed, with the revision.
    pub(crate) removed_rows: Vec<(RowKey, u64)>,
    pub(crate) removed_machines: Vec<(MachineId, u64)>,
    pub(crate) removed_problems: Vec<(Text, u64)>,
}

impl SavedState {
    /// Reads the records of a file that are still needed.
    pub(super) fn read(log: impl BufRead, live: &LiveRecords) -> io::Result<Self> {
        let mut saved = Self {
            revision: live.commit.revision,
            complete_since: live.commit.complete_since,
            transitions: live.commit.transitions,
            saved: live.commit.saved,
            events_since: live.commit.events_since,
            ..Self::default()
        };

        for_each_at(log, &live.offsets(), |offset, body| {
            let record = serde_json::from_str(body).map_err(io::Error::other)?;
            saved.add(record, live.epoch.is_none_or(|epoch| offset > epoch));
            Ok(())
        })?;
        saved.events.sort_by_key(|event| event.value.number);
        Ok(saved)
    }

    fn add(&mut self, record: StateRecord, is_of_last_run: bool) {
        match record {
            StateRecord::Epoch(epoch) => self.epoch = Some(epoch),
            StateRecord::Row(row) => self.rows.push(row.of_run(is_of_last_run)),
            StateRecord::Machine(machine) => self.machines.push(machine.of_run(is_of_last_run)),
            StateRecord::File(file) => self.files.push(file),
            StateRecord::Problem(problem) => self.problems.push(problem.of_run(is_of_last_run)),
            StateRecord::Event(event) => self.events.push(event.of_run(is_of_last_run)),
            StateRecord::RowGone(key) => self.removed_rows.push((key.value, key.revision)),
            StateRecord::MachineGone(id) => self.removed_machines.push((id.value, id.revision)),
            StateRecord::ProblemGone(id) => self.removed_problems.push((id.value, id.revision)),
            StateRecord::FileGone(_) | StateRecord::Format(_) | StateRecord::Commit(_) => {}
        }
    }

    /// What the cluster goes on with.
    pub(crate) fn cluster(&self) -> SavedCluster {
        SavedCluster {
            rows: self.rows.iter().map(|row| row.value.clone()).collect(),
            machines: self.machines.iter().map(|machine| machine.value.clone()).collect(),
            files: self.files.clone(),
            transitions: self.transitions,
            saved: self.saved,
        }
    }
}
