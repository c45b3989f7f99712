//! Saves what has changed in the cluster, and finds out what has changed since the program that ran
//! before saved it.
//!
//! It does not know how anything is saved, nor what clients get.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{
    Change, Cluster, Delta, MachineId, Moment, RowKey, SavedRow, SavedTime, Text, Transition,
    UnitFile, UnitName, View,
};
use crate::feed::{Publication, RestartDiff, fingerprint};
use crate::problems::{OpenProblems, changed_problems};
use crate::saved_state::{RunStart, SavedState, Stamped, StateChanges, StateWriter};

/// How often it is saved that nothing has changed: so it is known how old the saved state is.
const TOUCH_INTERVAL: Duration = Duration::from_secs(60);

/// Saves the state.
#[derive(Debug)]
pub(super) struct StateKeeper {
    writer: StateWriter,
    /// Whether this run has begun to save.
    has_begun: bool,
    /// Whether clients got something since the last time that is not saved.
    is_interrupted: bool,
    /// What was saved last.
    view: Arc<View>,
    problems: OpenProblems,
    revision: u64,
    /// The events that are not passed on yet, with their revisions.
    events: Vec<(u64, Arc<Transition>)>,
    last: Option<Moment>,
}

impl StateKeeper {
    pub(super) fn new(writer: StateWriter) -> Self {
        Self {
            writer,
            has_begun: false,
            is_interrupted: false,
            view: Arc::default(),
            problems: Arc::new([]),
            revision: 0,
            events: Vec::new(),
            last: None,
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Another cluster is watched, or a recording, which is not saved. A client that has rows of it
    /// cannot resume after a restart.
    pub(super) fn interrupt(&mut self) {
        self.is_interrupted = true;
    }

    /// Keeps events until the rest is saved.
    pub(super) fn record(&mut self, transitions: &[Arc<Transition>], revision: u64) {
        let stamped = transitions.iter().map(|transition| (revision, transition.clone()));
        self.events.extend(stamped);
    }

    /// Begins to save. `saved` is what the program that ran before has saved; `None` if that is of
    /// no use. Returns what differs from it.
    pub(super) fn begin(
        &mut self,
        cluster: &Cluster,
        publication: &Publication,
        saved: Option<&SavedState>,
        now: Moment,
    ) -> RestartDiff {
        let nothing = SavedState::default();
        let diff = restart_diff(saved.unwrap_or(&nothing), publication);
        let known: HashMap<&UnitName, &UnitFile> = saved
            .iter()
            .flat_map(|saved| &saved.files)
            .map(|file| (&file.unit, file))
            .collect();

        let units: BTreeSet<&UnitName> = publication
            .view
            .units
            .iter()
            .map(|unit| &unit.state.unit)
            .chain(known.keys().copied())
            .collect();
        let files = units.into_iter().filter_map(|unit| {
            let file = cluster.unit_file(unit);
            let is_same = file.map(|file| &**file) == known.get(unit).copied();
            (!is_same).then(|| (unit.clone(), file.cloned()))
        });

        let mut changes = self.changes(cluster, publication, now);
        changes.start = Some(RunStart {
            epoch: (*publication.epoch).into(),
            discards: saved.is_none(),
        });
        changes.complete_since = Some(publication.revision);
        changes.files = files.collect();
        put_rows(&mut changes, cluster, publication, diff.rows.iter());
        put_machines(&mut changes, cluster, publication, diff.machines.iter());
        put_problems(&mut changes, publication, diff.problems.iter());

        self.has_begun = true;
        self.pass_on(changes, publication, now);
        diff
    }

    /// Saves what has changed since the last call. `change` is a view and what has changed since
    /// it, if that is known.
    pub(super) fn save(
        &mut self,
        cluster: &Cluster,
        publication: &Publication,
        change: (&Arc<View>, &Delta),
        now: Moment,
    ) {
        let delta = match change {
            _ if Arc::ptr_eq(&self.view, &publication.view) => Delta::default(),
            (before, delta) if Arc::ptr_eq(&self.view, before) => delta.clone(),
            _ => Delta::between(&self.view, &publication.view),
        };
        let mut changes = self.changes(cluster, publication, now);

        // What is saved of a row has more than what is shown. It changes with its events too.
        let of_events: Vec<RowKey> = changes
            .events
            .iter()
            .filter_map(|(_, transition)| transition.event.place())
            .map(|place| (place.unit.clone(), place.machine.clone()))
            .collect();
        let rows: Vec<RowKey> = delta
            .units
            .iter()
            .filter_map(Change::latest)
            .map(|unit| unit.key())
            .chain(of_events)
            .collect();
        let machines: Vec<MachineId> = delta
            .machines
            .iter()
            .filter_map(Change::latest)
            .map(|member| member.machine.id.clone())
            .collect();

        for change in &delta.units {
            let file_before = change.before.as_ref().and_then(|unit| unit.file.as_ref());
            let Some(unit) = change.latest() else {
                continue;
            };
            let file = cluster.unit_file(&unit.state.unit);
            let is_same = match (file_before, file) {
                (Some(before), Some(after)) => Arc::ptr_eq(before, after),
                (before, after) => before.is_none() && after.is_none(),
            };
            if !is_same {
                changes.files.insert(unit.state.unit.clone(), file.cloned());
            }
        }
        put_rows(&mut changes, cluster, publication, rows.iter());
        put_machines(&mut changes, cluster, publication, machines.iter());
        let problems: Vec<Text> = changed_problems(&self.problems, &publication.problems)
            .iter()
            .filter_map(Change::latest)
            .map(|problem| problem.id.clone())
            .collect();
        put_problems(&mut changes, publication, problems.iter());

        let is_due = self.last.is_none_or(|last| now.since(last) >= TOUCH_INTERVAL);
        // A client may resume from a revision with which no row has changed.
        changes.is_touch = is_due || publication.revision != self.revision;
        if !changes.is_empty() {
            self.pass_on(changes, publication, now);
        }
    }

    /// Saves until when the state was up to date, and waits for all writes, but no longer than
    /// `limit`.
    pub(super) fn finish(&mut self, cluster: &Cluster, publication: &Publication, limit: Duration) {
        if self.has_begun {
            let now = Moment::now();
            let mut changes = self.changes(cluster, publication, now);
            changes.is_touch = true;
            self.pass_on(changes, publication, now);
            self.writer.flush(limit);
        }
    }

    fn changes(
        &mut self,
        cluster: &Cluster,
        publication: &Publication,
        now: Moment,
    ) -> StateChanges {
        let is_interrupted = std::mem::take(&mut self.is_interrupted);
        StateChanges {
            complete_since: is_interrupted.then_some(publication.revision),
            revision: publication.revision,
            transitions: cluster.transitions(),
            saved: Some(SavedTime(now.wall)),
            events_since: publication.events_noticed_since().map(SavedTime),
            events: std::mem::take(&mut self.events).into(),
            ..StateChanges::default()
        }
    }

    fn pass_on(&mut self, changes: StateChanges, publication: &Publication, now: Moment) {
        self.view = publication.view.clone();
        self.problems = publication.problems.clone();
        self.revision = publication.revision;
        self.last = Some(now);
        self.writer.save(changes);
    }
}

/// What differs in a publication from what was saved.
fn restart_diff(saved: &SavedState, publication: &Publication) -> RestartDiff {
    let rows = publication
        .view
        .units
        .iter()
        .map(|unit| (unit.key(), fingerprint::of_unit(unit)));
    let machines = publication
        .view
        .machines
        .iter()
        .map(|member| (member.machine.id.clone(), fingerprint::of_machine(member)));
    let problems = publication
        .problems
        .iter()
        .map(|problem| (problem.id.clone(), fingerprint::of_problem(problem)));

    RestartDiff {
        revision: publication.revision,
        rows: differing(&saved.rows, SavedRow::key, rows),
        machines: differing(&saved.machines, |saved| saved.machine.id.clone(), machines),
        problems: differing(&saved.problems, |problem| problem.id.clone(), problems),
    }
}

/// The keys of what is new, has another fingerprint, or is gone.
fn differing<T, K: Ord + Clone>(
    saved: &[Stamped<T>],
    key: impl Fn(&T) -> K,
    current: impl Iterator<Item = (K, u64)>,
) -> BTreeSet<K> {
    let mut known: BTreeMap<K, u64> = saved
        .iter()
        .map(|stamped| (key(&stamped.value), stamped.fingerprint))
        .collect();

    let mut differing: BTreeSet<K> = current
        .filter(|(key, fingerprint)| known.remove(key) != Some(*fingerprint))
        .map(|(key, _)| key)
        .collect();
    differing.extend(known.into_keys());
    differing
}

fn put_rows<'a>(
    changes: &mut StateChanges,
    cluster: &Cluster,
    publication: &Publication,
    keys: impl Iterator<Item = &'a RowKey>,
) {
    for key in keys {
        let row = cluster.saved_row(key).zip(publication.view.units.get(key).cloned());
        changes.rows.insert(key.clone(), (publication.revision, row));
    }
}

fn put_machines<'a>(
    changes: &mut StateChanges,
    cluster: &Cluster,
    publication: &Publication,
    ids: impl Iterator<Item = &'a MachineId>,
) {
    for id in ids {
        let machine = cluster.saved_machine(id).zip(publication.view.machine(id).cloned());
        changes.machines.insert(id.clone(), (publication.revision, machine));
    }
}

fn put_problems<'a>(
    changes: &mut StateChanges,
    publication: &Publication,
    ids: impl Iterator<Item = &'a Text>,
) {
    for id in ids {
        let problem = publication.problems.iter().find(|problem| problem.id == *id);
        changes
            .problems
            .insert(id.clone(), (publication.revision, problem.cloned()));
    }
}
