//! From the judged view to what clients get: encoded once, shared by all.
//!
//! The [`Publisher`] is the one writer, a [`Subscriber`] one of many readers. Between them is a
//! `watch` channel: memory does not grow with the clients, a new client has the current state at
//! once, and one that is slow misses what was overwritten in the meantime. There is no queue per
//! client, anywhere.
//!
//! This module knows what clients read. It does not know sockets.

pub mod channel;
pub mod fields;
mod frame;
mod history;
mod list;
mod message;
mod status;
pub mod subscription;
#[cfg(test)]
mod tests;
mod update;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::watch;

use crate::cluster::{Delta, FleetList, Health, Moment, Text, Transition, View};
use fields::{MachineField, UnitField};
pub use frame::Frame;
use history::{History, HistoryEntry, Subject};
use list::Columns;
pub use list::List;
pub use status::{count, line as status_line};

/// How many transitions are remembered.
const HISTORY: usize = 1000;

/// When a list of the first protocol is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// When it has changed.
    #[default]
    Changes,
    /// After every poll, as the prototype of 2014 did.
    Polls,
}

/// What the first protocol sends, and when.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// The columns of the unit list.
    pub unit_fields: Vec<UnitField>,
    /// The columns of the machine list.
    pub machine_fields: Vec<MachineField>,
    /// When a list is sent again.
    pub publish: Publish,
}

/// Where the data come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceInfo {
    /// A name for people, such as `fleetctl v1.0.0`.
    pub name: Text,
    /// Whether this is a recording and not a live cluster.
    pub recording: bool,
    /// Whether the recording is over.
    pub ended: bool,
}

/// All that clients may see, at one moment. Immutable and shared.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Names this run of the program: revisions of another epoch mean nothing.
    pub epoch: Arc<str>,
    /// Grows with each thing that is told: whenever the view, the history or the state of the
    /// source changes.
    pub revision: u64,
    /// The revision of the publication before this one.
    previous: u64,
    /// Where the data come from.
    pub source: SourceInfo,
    /// The cluster.
    pub view: Arc<View>,
    /// The state of the source.
    pub health: Health,
    /// What happened, oldest first, at most 1,000.
    pub history: Arc<[Arc<Transition>]>,
    /// The unit list of the first protocol; none until units have been read.
    pub units: Option<List>,
    /// The machine list of the first protocol; none until machines have been read.
    pub machines: Option<List>,
    content: Arc<OnceLock<Bytes>>,
    log: Arc<History>,
}

impl Publication {
    /// Everything as one JSON object, for `/v2/state`, in two parts of which the large one is
    /// encoded once per revision and shared.
    pub fn state(&self, clients: usize, now: Moment) -> [Bytes; 2] {
        let content = self.content.get_or_init(|| message::content(self));
        [message::head(self, clients, now), content.clone()]
    }

    /// The state of the source as one JSON object, so short that it fits into a header: reasons end
    /// after 200 characters.
    pub fn health(&self, clients: usize, now: Moment) -> Vec<u8> {
        message::health(self, clients, now)
    }
}

/// A reader of publications.
pub type Subscriber = watch::Receiver<Arc<Publication>>;

/// The one writer of publications.
#[derive(Debug)]
pub struct Publisher {
    publish: Publish,
    unit_columns: Columns,
    machine_columns: Columns,
    /// The lists that have changed and were held back.
    held_back: [bool; 2],
    sender: watch::Sender<Arc<Publication>>,
}

/// What is new since the last publication.
#[derive(Clone, Copy, Debug)]
pub struct FeedInput<'a> {
    /// The cluster as it is now.
    pub view: &'a Arc<View>,
    /// The source as it is now.
    pub health: &'a Health,
    /// What happened.
    pub transitions: &'a [Arc<Transition>],
    /// The view before, and what differs from it now, where that is known already.
    pub change: Option<(&'a Arc<View>, &'a Delta)>,
    /// The topics that were just read with success.
    pub read: &'a [FleetList],
    /// When this is published.
    pub now: Moment,
}

impl Publisher {
    /// A publisher that has published nothing yet. `epoch` names this run of the program.
    pub fn new(settings: FeedSettings, epoch: &str, source: SourceInfo) -> Self {
        let first = Publication {
            epoch: epoch.into(),
            revision: 0,
            previous: 0,
            source,
            view: Arc::default(),
            health: Health::default(),
            history: Arc::new([]),
            units: None,
            machines: None,
            content: Arc::default(),
            log: Arc::default(),
        };
        Self {
            publish: settings.publish,
            unit_columns: Columns::Units(settings.unit_fields.into()),
            machine_columns: Columns::Machines(settings.machine_fields.into()),
            held_back: [false; 2],
            sender: watch::Sender::new(Arc::new(first)),
        }
    }

    /// A new reader.
    pub fn subscribe(&self) -> Subscriber {
        self.sender.subscribe()
    }

    /// What was published last.
    pub fn last(&self) -> Arc<Publication> {
        self.sender.borrow().clone()
    }

    /// Takes other settings into use. The lists follow with the next publication.
    pub fn set(&mut self, settings: FeedSettings) {
        self.publish = settings.publish;
        self.unit_columns = Columns::Units(settings.unit_fields.into());
        self.machine_columns = Columns::Machines(settings.machine_fields.into());
    }

    /// Names the source anew.
    pub fn name_source(&mut self, source: SourceInfo, now: Moment) {
        let last = self.last();
        if last.source != source {
            let revision = last.revision + 1;
            let message = update::status(revision, &last.health, &source, now);
            let log = last
                .log
                .with([HistoryEntry { revision, subject: Subject::Source, message }]);
            let previous = last.revision;
            self.sender.send_replace(Arc::new(Publication {
                source,
                revision,
                previous,
                log,
                ..(*last).clone()
            }));
        }
    }

    /// Publishes. Wakes the readers only if there is news.
    pub fn publish(&mut self, news: FeedInput<'_>) {
        let last = self.last();
        let same_content = Arc::ptr_eq(&last.view, news.view) && news.transitions.is_empty();
        let delta = delta(&last, &news);
        let columns = [&self.unit_columns, &self.machine_columns];
        let shown = columns.map(|columns| columns.show(&delta));

        let entries = entries(&last, &news, delta);
        let next = entries.last().map_or(last.revision + 1, |entry| entry.revision);
        let units = self.list(FleetList::Units, last.units.as_ref(), shown[0], next, &news);
        let machines =
            self.list(FleetList::Machines, last.machines.as_ref(), shown[1], next, &news);

        let new_list = [&units, &machines]
            .into_iter()
            .flatten()
            .any(|list| list.revision == next);
        let changed = new_list || !entries.is_empty();
        let publication = Publication {
            epoch: last.epoch.clone(),
            revision: if changed { next } else { last.revision },
            previous: if changed { last.revision } else { last.previous },
            source: last.source.clone(),
            view: news.view.clone(),
            health: news.health.clone(),
            history: grow(&last.history, news.transitions),
            units,
            machines,
            content: if same_content {
                last.content.clone()
            } else {
                Arc::default()
            },
            log: last.log.with(entries),
        };
        self.sender.send_if_modified(|slot| {
            *slot = Arc::new(publication);
            changed
        });
    }

    /// The list of a topic as it is from now on; none until the topic has been read.
    fn list(
        &mut self,
        topic: FleetList,
        last: Option<&List>,
        is_shown: bool,
        next: u64,
        news: &FeedInput<'_>,
    ) -> Option<List> {
        news.health.list(topic).read?;
        let (columns, held_back) = match topic {
            FleetList::Units => (&self.unit_columns, &mut self.held_back[0]),
            FleetList::Machines | FleetList::UnitFiles => {
                (&self.machine_columns, &mut self.held_back[1])
            }
        };
        let list = || Some(List::new(next, news.view, columns, news.now));
        let Some(last) = last.filter(|last| last.has(columns)) else {
            return list();
        };

        let is_polled = self.publish == Publish::Polls && news.read.contains(&topic);
        let has_changed = is_shown || *held_back;
        *held_back = has_changed && !is_polled && last.holds_back(news.now);
        if is_polled || (has_changed && !*held_back) {
            list()
        } else {
            Some(last.clone())
        }
    }
}

/// What differs from what was published last.
fn delta(last: &Publication, news: &FeedInput<'_>) -> Delta {
    match news.change {
        _ if Arc::ptr_eq(&last.view, news.view) => Delta::default(),
        Some((before, delta)) if Arc::ptr_eq(&last.view, before) => delta.clone(),
        _ => Delta::between(&last.view, news.view),
    }
}

/// What the second protocol has to tell, each with a revision of its own.
fn entries(last: &Publication, news: &FeedInput<'_>, delta: Delta) -> Vec<HistoryEntry> {
    let Delta { units, machines } = delta;
    let (health, source, now) = (news.health, &last.source, news.now);
    let lists = [Subject::Units(units), Subject::Machines(machines)];
    let events = news.transitions.iter().cloned().map(Subject::Event);
    let status = (!same_state(&last.health, health)).then_some(Subject::Source);
    lists
        .into_iter()
        .filter(|list| !list.is_empty())
        .chain(events)
        .chain(status)
        .zip(last.revision + 1..)
        .map(|(subject, revision)| HistoryEntry {
            revision,
            message: match &subject {
                Subject::Units(changes) => update::units(revision, changes, |_| true),
                Subject::Machines(changes) => update::machines(revision, changes, |_| true),
                Subject::Event(transition) => update::event(revision, transition),
                Subject::Source => update::status(revision, health, source, now),
            },
            subject,
        })
        .collect()
}

/// Whether two healths say the same, the age of the data aside.
fn same_state(a: &Health, b: &Health) -> bool {
    let state = |health: &Health| {
        let topics = health
            .lists
            .clone()
            .map(|topic| (topic.read.is_some(), topic.failure.map(|it| it.reason)));
        (topics, health.suspect_since, health.held_back)
    };
    state(a) == state(b)
}

fn grow(history: &Arc<[Arc<Transition>]>, new: &[Arc<Transition>]) -> Arc<[Arc<Transition>]> {
    if new.is_empty() {
        return history.clone();
    }
    let excess = (history.len() + new.len()).saturating_sub(HISTORY);
    history.iter().chain(new).skip(excess).cloned().collect()
}
