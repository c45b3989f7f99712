//! What the clients of the program that ran before have, as far as that was saved: so a client that
//! resumes gets what differs now, and not everything.
//!
//! It does not know in which form a client gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::update_history::{UpdateContent, UpdateHistory};
use crate::cluster::{Change, MachineId, RowKey, Text, Transition};

/// The run before this one.
#[derive(Clone, Debug, Default)]
pub(crate) struct PreviousRun {
    /// Identifies it.
    pub(crate) epoch: Text,
    /// Its last revision that was saved.
    pub(crate) revision: u64,
    /// All that it changed after this revision is known.
    pub(crate) complete_since: u64,
    /// The revision with which a row last changed or was removed. Of those that are not here,
    /// nothing changed since `complete_since`.
    pub(crate) rows: BTreeMap<RowKey, u64>,
    /// The same of machines.
    pub(crate) machines: BTreeMap<MachineId, u64>,
    /// The same of problems.
    pub(crate) problems: BTreeMap<Text, u64>,
    /// The numbers of its events, with their revisions.
    pub(crate) events: BTreeMap<u64, u64>,
    /// The number of its last transition.
    pub(crate) transitions: u64,
    /// What was different when everything had been read; `None` until then.
    pub(crate) diff: Option<RestartDiff>,
}

/// What differs between the state that was saved and the first publication with everything: rows,
/// machines and problems that are new, have changed, or are gone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RestartDiff {
    /// The revision of that publication.
    pub(crate) revision: u64,
    pub(crate) rows: BTreeSet<RowKey>,
    pub(crate) machines: BTreeSet<MachineId>,
    pub(crate) problems: BTreeSet<Text>,
}

/// What a client of the run before has missed.
#[derive(Debug, Default)]
pub(super) struct MissedChanges {
    pub(super) rows: BTreeSet<RowKey>,
    pub(super) machines: BTreeSet<MachineId>,
    pub(super) problems: BTreeSet<Text>,
    /// Oldest first.
    pub(super) events: Vec<Arc<Transition>>,
}

/// Whether it is known what a client has missed.
#[derive(Debug)]
pub(super) enum Missed {
    /// Not before everything has been read.
    NotKnownYet,
    /// Not any more, or it never was.
    Unknown,
    /// The client has messages that were not saved.
    NotSaved,
    Known(MissedChanges),
}

impl PreviousRun {
    /// What a client has missed that has everything until this revision of that run. `updates` and
    /// `transitions` are the latest of this run.
    pub(super) fn missed_since(
        &self,
        revision: u64,
        updates: &UpdateHistory,
        transitions: &[Arc<Transition>],
    ) -> Missed {
        if revision > self.revision {
            return Missed::NotSaved;
        }
        if revision < self.complete_since {
            return Missed::Unknown;
        }
        let Some(diff) = &self.diff else {
            return Missed::NotKnownYet;
        };
        let Some(entries) = updates.since(diff.revision) else {
            return Missed::Unknown;
        };
        let Some(events) = self.missed_events(revision, transitions) else {
            return Missed::Unknown;
        };

        let mut missed = MissedChanges {
            rows: later(&self.rows, revision).chain(diff.rows.iter().cloned()).collect(),
            machines: later(&self.machines, revision)
                .chain(diff.machines.iter().cloned())
                .collect(),
            problems: later(&self.problems, revision)
                .chain(diff.problems.iter().cloned())
                .collect(),
            events,
        };
        for entry in entries {
            missed.add(&entry.content);
        }
        Missed::Known(missed)
    }

    /// The events after a revision; `None` if not all of them are kept.
    fn missed_events(
        &self,
        revision: u64,
        transitions: &[Arc<Transition>],
    ) -> Option<Vec<Arc<Transition>>> {
        let first = self
            .events
            .iter()
            .find(|(_, of_event)| **of_event > revision)
            .map_or(self.transitions + 1, |(number, _)| *number);
        let missed: Vec<Arc<Transition>> = transitions
            .iter()
            .filter(|transition| transition.number >= first)
            .cloned()
            .collect();

        // Those that another monitor has seen are in the order of their times.
        let numbers = missed.iter().map(|transition| transition.number);
        let last = numbers.max().unwrap_or(first - 1);
        let is_complete = missed.len() as u64 == last + 1 - first;
        is_complete.then_some(missed)
    }
}

impl MissedChanges {
    fn add(&mut self, content: &UpdateContent) {
        match content {
            UpdateContent::Units(changes) => {
                let units = changes.iter().flat_map(Change::rows);
                self.rows.extend(units.map(|unit| unit.key()));
            }
            UpdateContent::Machines(changes) => {
                let members = changes.iter().flat_map(Change::rows);
                self.machines.extend(members.map(|member| member.machine.id.clone()));
            }
            UpdateContent::Problems(changes) => {
                let problems = changes.iter().flat_map(Change::rows);
                self.problems.extend(problems.map(|problem| problem.id.clone()));
            }
            // All of them are in the publication too.
            UpdateContent::Event(_) | UpdateContent::Status => {}
        }
    }

    /// How many rows and events it has.
    pub(super) fn len(&self) -> usize {
        self.rows.len() + self.machines.len() + self.problems.len() + self.events.len()
    }
}

/// The keys of what changed after a revision.
fn later<K: Clone>(changed: &BTreeMap<K, u64>, revision: u64) -> impl Iterator<Item = K> {
    changed
        .iter()
        .filter(move |(_, changed)| **changed > revision)
        .map(|(key, _)| key.clone())
}
