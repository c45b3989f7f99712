//! What clients can read at one moment: the cluster, the source, and what has happened.
//!
//! A publication never changes. It does not know how the next one is made, nor who reads it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::watch;

use super::event_history::{EventHistory, HistoryQuery};
use super::list::PublishedList;
use super::message::{self, HistoryBody};
use super::plain;
use super::previous_run::PreviousRun;
use super::subscription::Subscription;
use super::update_history::UpdateHistory;
use crate::cluster::{Health, MachineId, Moment, Text, Transition, View};
use crate::playback::Playback;
use crate::problems::OpenProblems;

/// A reader of publications.
pub type Subscriber = watch::Receiver<Arc<Publication>>;

/// The source of the data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceInfo {
    /// A name for people, such as `fleetctl v1.0.0`.
    pub name: Text,
    /// True for a recording, false for a live cluster.
    pub recording: bool,
    /// True once a recording has been played to its end.
    pub ended: bool,
    /// How a recording is played, unless it is the built-in one.
    pub(crate) playback: Option<Playback>,
}

impl SourceInfo {
    /// A live cluster.
    pub fn live(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// Everything that clients may read, at one moment. Immutable and shared.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Identifies this process. A revision of another epoch cannot be compared with one of this.
    pub(crate) epoch: Arc<str>,
    /// Grows whenever the view, the transitions or the state of the source change.
    pub(crate) revision: u64,
    /// The revision of the publication before this one.
    pub(super) previous_revision: u64,
    pub(super) source: SourceInfo,
    /// What is shown of the cluster.
    pub view: Arc<View>,
    /// The state of the source.
    pub health: Health,
    /// What is wrong and has lasted.
    pub problems: OpenProblems,
    /// What has happened, oldest first, at most [`MAX_TRANSITIONS`](Self::MAX_TRANSITIONS).
    pub(super) transitions: Arc<[Arc<Transition>]>,
    /// The latest events of each unit and machine. It goes on, unlike the rest: all publications
    /// share it, so that a new one costs no copy.
    pub(super) history: Arc<Mutex<EventHistory>>,
    /// The unit list of the first protocol; `None` until units have been read.
    pub unit_list: Option<PublishedList>,
    /// The machine list of the first protocol; `None` until machines have been read.
    pub machine_list: Option<PublishedList>,
    /// What is encoded on the first request. It depends on the view, the problems and the
    /// transitions alone, so publications in which these are equal share it.
    pub(super) bodies: Arc<EncodedBodies>,
    /// The latest messages of the second protocol.
    pub(super) updates: Arc<UpdateHistory>,
    /// What the clients of the program that ran before have; `None` if that is not known.
    pub(super) previous_run: Option<Arc<PreviousRun>>,
}

/// The large part of each content that has everything.
#[derive(Debug, Default)]
pub(super) struct EncodedBodies {
    /// Of `/v2/state`.
    state: OnceLock<Bytes>,
    /// Of `/plain`.
    plain: OnceLock<Bytes>,
}

impl Publication {
    /// How many transitions are kept.
    pub(super) const MAX_TRANSITIONS: usize = 1000;

    /// The publication before anything has been read.
    pub(super) fn empty(epoch: &str, source: SourceInfo) -> Self {
        Self {
            epoch: epoch.into(),
            revision: 0,
            previous_revision: 0,
            source,
            view: Arc::default(),
            health: Health::default(),
            problems: Arc::new([]),
            transitions: Arc::new([]),
            history: Arc::default(),
            unit_list: None,
            machine_list: None,
            bodies: Arc::default(),
            updates: Arc::default(),
            previous_run: None,
        }
    }

    /// The present. The wall clock is that of the recording, if one is played that has it.
    pub(crate) fn now(&self) -> Moment {
        let now = Moment::now();
        match &self.source.playback {
            Some(playback) => Moment { wall: playback.clock(now.wall), ..now },
            None => now,
        }
    }

    /// The wall clock at position zero of the run that is played, if a recording is that has it.
    pub(crate) fn recorded_begin(&self) -> Option<SystemTime> {
        let playback = self.source.playback?;
        playback.time?.checked_sub(playback.position)
    }

    /// Whether the source is a recording, so that there may be no such machines.
    pub(crate) fn is_recording(&self) -> bool {
        self.source.recording
    }

    /// Whether a machine is in the cluster.
    pub(crate) fn has_machine(&self, id: &MachineId) -> bool {
        let member = self.view.machine(id);
        member.is_some_and(|member| member.lost_since.is_none())
    }

    /// The JSON object of `/v2/state`, in two parts. The large one is encoded once and shared by
    /// all clients.
    pub fn state(&self, clients: usize, now: Moment) -> [Bytes; 2] {
        let encode = || message::state_body(self, &Subscription::default());
        let body = self.bodies.state.get_or_init(encode);
        [message::state_head(self, clients, now), body.clone()]
    }

    /// The page of `/plain`, in two parts. The large one is encoded once and shared by all clients.
    pub(crate) fn plain_page(&self, clients: usize, now: Moment) -> [Bytes; 2] {
        let view = &self.view;
        let body = self.bodies.plain.get_or_init(|| {
            let newest_first = self.transitions.iter().rev();
            plain::body(&*self.problems, &view.units, &view.machines, newest_first)
        });
        [plain::head(self, clients, now), body.clone()]
    }

    /// The JSON object of `/v2/state` with the selected rows and events, in two parts. Both are
    /// encoded at each call.
    pub(crate) fn selected_state(
        &self,
        selection: &Subscription,
        clients: usize,
        now: Moment,
    ) -> [Bytes; 2] {
        let body = message::state_body(self, selection);
        [message::state_head(self, clients, now), body]
    }

    /// Whether the latest events of each unit and machine are kept.
    pub(crate) fn keeps_history(&self) -> bool {
        self.history().is_on()
    }

    /// How many events of single units and machines are kept, and how many bytes they take.
    pub fn history_size(&self) -> (usize, usize) {
        let history = self.history();
        (history.len(), history.bytes())
    }

    /// The JSON object of `/v2/history`, encoded at each call. `None` if what the query selects is
    /// not in the cluster, and has no events.
    pub fn history_of(&self, query: &HistoryQuery, now: Moment) -> Option<HistoryBody> {
        let found = self.history().find(query);
        if !found.is_known && !query.is_in(&self.view) {
            return None;
        }
        Some(message::history(&found, self.events_noticed_since(), now))
    }

    /// The JSON object with all that another monitor may merge, encoded at each call. `None` until
    /// all lists of fleet have been read.
    pub fn shared_history(&self, now: Moment) -> Option<Bytes> {
        let start = self.health.events_since?;
        let shared = self.history().share(start);
        Some(message::shared_history(self, &shared, now))
    }

    /// Since when all events have been noticed, by this program, the one that ran before, or other
    /// monitors. `None` until all lists of fleet have been read.
    pub(crate) fn events_noticed_since(&self) -> Option<SystemTime> {
        let start = self.health.events_since?;
        Some(self.history().noticed_since(start))
    }

    /// The history, locked. It is only held for a moment: to add the events of one publication, or
    /// to copy those that one request needs.
    pub(super) fn history(&self) -> MutexGuard<'_, EventHistory> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of the source as a JSON object that fits into an HTTP header: reasons are cut
    /// after 200 characters.
    pub(crate) fn short_health(&self, clients: usize, now: Moment) -> Vec<u8> {
        message::short_health(self, clients, now)
    }
}
