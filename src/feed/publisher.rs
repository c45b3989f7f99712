//! The writer of publications: it compares the newest view with the last publication, and encodes
//! what has changed.
//!
//! It does not know how many readers there are.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::event_history::PeerEvents;
use super::input::{FeedInput, FeedSettings, Publish};
use super::list::{Columns, ListPublisher};
use super::previous_run::PreviousRun;
use super::publication::{EncodedBodies, Publication, SourceInfo, Subscriber};
use super::update;
use super::update_history::{HistoryEntry, UpdateContent, UpdateHistory};
use crate::cluster::{Delta, FleetList, Health, Moment, PeerEvent, Transition};
use crate::problems::changed_problems;

/// The only writer of publications.
#[derive(Debug)]
pub struct Publisher {
    publish: Publish,
    units: ListPublisher,
    machines: ListPublisher,
    sender: watch::Sender<Arc<Publication>>,
}

impl Publisher {
    /// A publisher that has published nothing yet. `epoch` identifies this process.
    pub fn new(settings: FeedSettings, epoch: &str, source: SourceInfo) -> Self {
        let empty = Publication::empty(epoch, source);

        Self {
            publish: settings.publish,
            units: ListPublisher::new(
                FleetList::Units,
                Columns::Units(settings.unit_fields.into()),
            ),
            machines: ListPublisher::new(
                FleetList::Machines,
                Columns::Machines(settings.machine_fields.into()),
            ),
            sender: watch::Sender::new(Arc::new(empty)),
        }
    }

    /// A new reader, which has the newest publication at once.
    pub fn subscribe(&self) -> Subscriber {
        self.sender.subscribe()
    }

    /// The newest publication, which readers have too.
    pub(crate) fn last(&self) -> Arc<Publication> {
        self.sender.borrow().clone()
    }

    /// Applies other settings. They take effect with the next publication.
    pub fn set_settings(&mut self, settings: FeedSettings) {
        self.publish = settings.publish;
        self.units.set_columns(Columns::Units(settings.unit_fields.into()));
        self.machines
            .set_columns(Columns::Machines(settings.machine_fields.into()));
    }

    /// Sets for how long the events of units and machines that are not in the cluster any more are
    /// kept. Zero: the events of each unit and machine are not kept at all.
    pub fn set_history(&mut self, keep: Duration, now: Moment) {
        self.last().history().set_keep(keep, now);
    }

    /// Sets what the clients of the program that ran before have, so that they can resume. Wakes
    /// those that wait for it.
    pub(crate) fn set_previous_run(&mut self, previous_run: Option<PreviousRun>) {
        let last = self.last();

        self.sender.send_replace(Arc::new(Publication {
            previous_run: previous_run.map(Arc::new),
            ..(*last).clone()
        }));
    }

    /// Adds events of the program that ran before, oldest first. `complete` is since when and until
    /// when it has noticed all of them. Clients that are connected already get everything anew.
    pub(crate) fn restore_events(
        &mut self,
        events: &[Arc<Transition>],
        complete: Option<(SystemTime, SystemTime)>,
        now: Moment,
    ) {
        self.last().history().restore(events, complete, now.wall);
        self.add_earlier(events);
    }

    /// The events of another monitor that are not known here, oldest first.
    pub(crate) fn unknown_events(&self, peer: &PeerEvents, now: Moment) -> Vec<PeerEvent> {
        self.last().history().unknown_of(peer, now.wall)
    }

    /// Merges what another monitor has seen. `events` are those of its events that are not known
    /// here, numbered. Nothing is merged before all lists have been read. Clients that are
    /// connected already get everything anew.
    pub(crate) fn merge_events(&mut self, peer: &PeerEvents, events: &[Arc<Transition>]) {
        let last = self.last();
        let Some(start) = last.health.events_since else {
            return;
        };

        last.history().merge(peer, events, start);
        self.add_earlier(events);
    }

    /// Adds events that happened before those of this run, or between them.
    fn add_earlier(&mut self, events: &[Arc<Transition>]) {
        if events.is_empty() {
            return;
        }

        let last = self.last();
        let mut transitions: Vec<Arc<Transition>> =
            events.iter().chain(&*last.transitions).cloned().collect();
        transitions.sort_by_key(|transition| (transition.time, transition.number));
        let excess = transitions.len().saturating_sub(Publication::MAX_TRANSITIONS);
        let revision = last.revision + 1;
        self.sender.send_replace(Arc::new(Publication {
            revision,
            previous_revision: last.revision,
            transitions: transitions[excess..].into(),
            bodies: Arc::default(),
            updates: Arc::new(UpdateHistory::beginning_after(revision)),
            ..(*last).clone()
        }));
    }

    /// Publishes another source, unless it is the same as before.
    pub(crate) fn set_source(&mut self, source: SourceInfo) {
        let last = self.last();
        if last.source == source {
            return;
        }

        let revision = last.revision + 1;
        let next = Publication {
            source,
            revision,
            previous_revision: last.revision,
            ..(*last).clone()
        };
        let entry = HistoryEntry {
            revision,
            message: update::status(revision, &next.health, &next.source, next.now()),
            content: UpdateContent::Status,
        };

        let updates = last.updates.with([entry]);
        self.sender.send_replace(Arc::new(Publication { updates, ..next }));
    }

    /// Forgets all events, because a recording goes on at another place. Clients get snapshots.
    pub(crate) fn forget_events(&mut self) {
        let last = self.last();
        last.history().clear();

        let revision = last.revision + 1;
        self.sender.send_replace(Arc::new(Publication {
            revision,
            previous_revision: last.revision,
            transitions: Arc::new([]),
            bodies: Arc::default(),
            updates: Arc::new(UpdateHistory::beginning_after(revision)),
            ..(*last).clone()
        }));
    }

    /// Publishes. Wakes the readers only if something has changed that they read.
    pub fn publish(&mut self, input: FeedInput<'_>) {
        let last = self.last();
        let delta = delta_since(&last, &input);
        last.history().record(input.transitions, input.view, input.now);
        self.units.apply(&delta);
        self.machines.apply(&delta);

        let entries = encode_updates(&last, &input, delta);
        let next = entries.last().map_or(last.revision + 1, |entry| entry.revision);

        let unit_list = self
            .units
            .next_list(last.unit_list.as_ref(), self.publish, next, &input);
        let machine_list =
            self.machines
                .next_list(last.machine_list.as_ref(), self.publish, next, &input);

        let has_new_list = [&unit_list, &machine_list]
            .into_iter()
            .flatten()
            .any(|list| list.revision() == next);
        let has_changed = has_new_list || !entries.is_empty();
        let (revision, previous_revision) = if has_changed {
            (next, last.revision)
        } else {
            (last.revision, last.previous_revision)
        };

        let publication = Publication {
            epoch: last.epoch.clone(),
            revision,
            previous_revision,
            source: last.source.clone(),
            view: input.view.clone(),
            health: input.health.clone(),
            problems: input.problems.clone(),
            transitions: append_transitions(&last.transitions, input.transitions),
            history: last.history.clone(),
            unit_list,
            machine_list,
            bodies: next_bodies(&last, &input),
            updates: last.updates.with(entries),
            previous_run: last.previous_run.clone(),
        };

        self.sender.send_if_modified(|slot| {
            *slot = Arc::new(publication);
            has_changed
        });
    }
}

/// What differs from the last publication.
fn delta_since(last: &Publication, input: &FeedInput<'_>) -> Delta {
    if Arc::ptr_eq(&last.view, input.view) {
        return Delta::default();
    }

    match input.change {
        Some((before, delta)) if Arc::ptr_eq(&last.view, before) => delta.clone(),
        _ => Delta::between(&last.view, input.view),
    }
}

/// The bodies of the next publication: the encoded ones if they are still the same.
fn next_bodies(last: &Publication, input: &FeedInput<'_>) -> Arc<EncodedBodies> {
    let is_same = Arc::ptr_eq(&last.view, input.view)
        && Arc::ptr_eq(&last.problems, input.problems)
        && input.transitions.is_empty();
    if is_same { last.bodies.clone() } else { Arc::default() }
}

/// The new messages of the second protocol, each with a revision of its own.
fn encode_updates(last: &Publication, input: &FeedInput<'_>, delta: Delta) -> Vec<HistoryEntry> {
    let Delta { units, machines } = delta;
    let problems = changed_problems(&last.problems, input.problems);
    let lists = [
        UpdateContent::Units(units),
        UpdateContent::Machines(machines),
        UpdateContent::Problems(problems),
    ];
    let events = input.transitions.iter().cloned().map(UpdateContent::Event);
    let has_other_status = !is_same_status(&last.health, input.health);
    let status = has_other_status.then_some(UpdateContent::Status);

    let encode = |revision, content: &UpdateContent| match content {
        UpdateContent::Units(changes) => update::unit_delta(revision, changes, |_| true),
        UpdateContent::Machines(changes) => update::machine_delta(revision, changes, |_| true),
        UpdateContent::Problems(changes) => update::problem_delta(revision, changes, |_| true),
        UpdateContent::Event(transition) => update::event(revision, transition),
        UpdateContent::Status => update::status(revision, input.health, &last.source, input.now),
    };

    lists
        .into_iter()
        .filter(|list| !list.is_empty())
        .chain(events)
        .chain(status)
        .zip(last.revision + 1..)
        .map(|(content, revision)| HistoryEntry {
            revision,
            message: encode(revision, &content),
            content,
        })
        .collect()
}

/// Whether both are equal, apart from the age of the data.
fn is_same_status(a: &Health, b: &Health) -> bool {
    let status = |health: &Health| {
        let lists = health
            .lists
            .clone()
            .map(|list| (list.read.is_some(), list.failure.map(|failure| failure.reason)));
        (lists, health.suspect_since, health.events_since, health.held_back)
    };

    status(a) == status(b)
}

/// The transitions with new ones behind them, without the oldest if there are too many.
fn append_transitions(
    known: &Arc<[Arc<Transition>]>,
    new: &[Arc<Transition>],
) -> Arc<[Arc<Transition>]> {
    if new.is_empty() {
        return known.clone();
    }

    let excess = (known.len() + new.len()).saturating_sub(Publication::MAX_TRANSITIONS);
    known.iter().chain(new).skip(excess).cloned().collect()
}
