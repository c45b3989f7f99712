//! What has changed and is not written yet. Pure.
//!
//! What changes twice is written once, so that it takes no more memory than the cluster.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::record::{Commit, StateRecord};
use super::stamped::Stamped;
use crate::cluster::{
    MachineId, Member, RowKey, SavedEvent, SavedMachine, SavedRow, SavedTime, Text, Transition,
    Unit, UnitFile, UnitName,
};
use crate::feed::fingerprint;
use crate::problems::{Problem, SavedProblem};

/// How many events may wait to be written. Beyond that, the oldest are not written.
const MAX_EVENTS: usize = 20_000;

/// A run of the program begins to save.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunStart {
    pub(crate) epoch: Text,
    /// Whether what was saved before is of no use.
    pub(crate) discards: bool,
}

/// The newest state of something, with the revision; `None` if it was removed.
type Changed<T> = (u64, Option<T>);

/// What has changed.
#[derive(Debug, Default)]
pub(crate) struct StateChanges {
    pub(crate) start: Option<RunStart>,
    /// Before this revision, clients had what is not saved; `None` if that is as before.
    pub(crate) complete_since: Option<u64>,
    /// The revision after these changes.
    pub(crate) revision: u64,
    /// The number of the last transition.
    pub(crate) transitions: u64,
    /// Until when the saved state is up to date.
    pub(crate) saved: Option<SavedTime>,
    /// Since when all events are known.
    pub(crate) events_since: Option<SavedTime>,
    /// Whether that is to be written although nothing has changed.
    pub(crate) is_touch: bool,
    /// What is saved of a row, and what clients have of it.
    pub(crate) rows: BTreeMap<RowKey, Changed<(SavedRow, Arc<Unit>)>>,
    pub(crate) machines: BTreeMap<MachineId, Changed<(SavedMachine, Arc<Member>)>>,
    pub(crate) files: BTreeMap<UnitName, Option<Arc<UnitFile>>>,
    pub(crate) problems: BTreeMap<Text, Changed<Arc<Problem>>>,
    /// Oldest first.
    pub(crate) events: VecDeque<(u64, Arc<Transition>)>,
}

impl StateChanges {
    /// Whether there is nothing to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.start.is_none()
            && self.complete_since.is_none()
            && !self.is_touch
            && self.rows.is_empty()
            && self.machines.is_empty()
            && self.files.is_empty()
            && self.problems.is_empty()
            && self.events.is_empty()
    }

    /// Adds later changes.
    pub(super) fn merge(&mut self, later: StateChanges) {
        if later.start.is_some() {
            self.start = later.start;
        }
        self.complete_since = later.complete_since.or(self.complete_since);
        self.revision = later.revision;
        self.transitions = later.transitions;
        self.saved = later.saved;
        self.events_since = later.events_since;
        self.is_touch |= later.is_touch;
        self.rows.extend(later.rows);
        self.machines.extend(later.machines);
        self.files.extend(later.files);
        self.problems.extend(later.problems);
        self.events.extend(later.events);

        let excess = self.events.len().saturating_sub(MAX_EVENTS);
        self.events.drain(..excess);
    }

    /// The records of these changes. All that changed since `complete_since` is in the file.
    pub(super) fn records(&self, complete_since: u64) -> Vec<StateRecord> {
        let mut records = Vec::new();

        if let Some(start) = &self.start {
            records.push(StateRecord::Epoch(start.epoch.clone()));
        }
        for (key, (revision, row)) in &self.rows {
            records.push(match row {
                Some((row, unit)) => StateRecord::Row(Stamped {
                    revision: *revision,
                    fingerprint: fingerprint::of_unit(unit),
                    value: row.clone(),
                }),
                None => StateRecord::RowGone(gone(*revision, key)),
            });
        }
        for (id, (revision, machine)) in &self.machines {
            records.push(match machine {
                Some((machine, member)) => StateRecord::Machine(Stamped {
                    revision: *revision,
                    fingerprint: fingerprint::of_machine(member),
                    value: machine.clone(),
                }),
                None => StateRecord::MachineGone(gone(*revision, id)),
            });
        }
        for (unit, file) in &self.files {
            records.push(match file {
                Some(file) => StateRecord::File((**file).clone()),
                None => StateRecord::FileGone(unit.clone()),
            });
        }
        for (id, (revision, problem)) in &self.problems {
            records.push(match problem {
                Some(problem) => StateRecord::Problem(Stamped {
                    revision: *revision,
                    fingerprint: fingerprint::of_problem(problem),
                    value: SavedProblem::from(&**problem),
                }),
                None => StateRecord::ProblemGone(gone(*revision, id)),
            });
        }
        for (revision, transition) in &self.events {
            records.push(StateRecord::Event(Stamped {
                revision: *revision,
                fingerprint: 0,
                value: SavedEvent::from(&**transition),
            }));
        }

        records.push(StateRecord::Commit(Commit {
            revision: self.revision,
            complete_since,
            transitions: self.transitions,
            saved: self.saved,
            events_since: self.events_since,
        }));
        records
    }
}

fn gone<T: Clone>(revision: u64, key: &T) -> Stamped<T> {
    Stamped { revision, fingerprint: 0, value: key.clone() }
}
