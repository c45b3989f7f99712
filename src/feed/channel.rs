//! The second protocol: which messages a client gets, and in which form.
//!
//! It does not know sockets, and time is passed in.
//!
//! Clients with the same transport and the same subscription share a [`Channel`], which encodes
//! each message once for all of them. A [`ChannelCursor`] is the position of one client, and all
//! that is kept for it.
//!
//! Each channel caches what clients without a filter need: the snapshots and the newest updates.
//! Messages for clients that have a filter, or are slow, take their memory from a budget that all
//! channels share. So the memory has a limit, whatever clients ask for.

mod batch;
mod budget;
mod cursor;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Bytes, BytesMut};

use self::batch::WeakBatch;
use self::budget::MemoryBudget;
use super::previous_run::{Missed, PreviousRun};
use super::subscription::{Subscription, Topic};
use super::update_history::{HistoryEntry, UpdateContent};
use super::{Publication, frame, update};
use crate::cluster::View;

pub use self::batch::MessageBatch;
pub use self::budget::OverBudget;
pub use self::cursor::{ChannelCursor, ResumePosition};

/// The form in which messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Each message is a WebSocket frame.
    WebSocket,
    /// Each message is a server-sent event (HTML, section "Server-sent events").
    EventStream,
}

/// All channels that have a client.
#[derive(Debug, Default)]
pub struct Channels {
    open: Mutex<HashMap<ChannelKey, Weak<Channel>>>,
    budget: Arc<MemoryBudget>,
}

/// Equal for clients that can share a channel.
type ChannelKey = (Transport, Vec<Topic>, String);

/// All clients with the same transport and the same subscription.
#[derive(Debug)]
pub struct Channel {
    transport: Transport,
    subscription: Subscription,
    budget: Arc<MemoryBudget>,
    cache: Mutex<EncodedCache>,
}

/// What has been encoded for one revision.
#[derive(Debug, Default)]
struct EncodedCache {
    revision: u64,
    /// Batches that do not count against the budget. They are kept until the next revision, the
    /// others only as long as a client needs them.
    kept: Vec<MessageBatch>,
    snapshots: WeakBatch,
    /// By the revision after which the updates begin.
    updates_since: HashMap<u64, WeakBatch>,
    /// The same for clients of the program that ran before, by its revisions.
    missed_since: HashMap<u64, WeakBatch>,
}

/// Why a client gets snapshots in place of the updates that it has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResyncReason {
    TooOld,
    LargerThanSnapshot,
    OtherEpoch,
    FutureRevision,
    NotSaved,
    NotReadYet,
    OverBudget,
}

/// What a client that resumes gets.
#[derive(Debug)]
enum Resumed {
    /// What it has missed; `None` if that is nothing.
    Updates(Option<MessageBatch>),
    /// Nothing yet: the cluster has not been read since the program was restarted.
    Later,
}

impl ResyncReason {
    /// The reason for people.
    fn text(self) -> &'static str {
        match self {
            ResyncReason::TooOld => "the missed updates are no longer kept",
            ResyncReason::LargerThanSnapshot => "the missed updates are larger than a snapshot",
            ResyncReason::OtherEpoch => "this is another run of the program",
            ResyncReason::FutureRevision => "this revision does not exist yet",
            ResyncReason::NotSaved => {
                "the program was restarted, and had not saved its last messages"
            }
            ResyncReason::NotReadYet => {
                "the program was restarted, and has not read everything since"
            }
            ResyncReason::OverBudget => "there is not enough memory for the missed updates",
        }
    }
}

impl Channels {
    /// How many different subscriptions there may be at a time. The filter of each of them is
    /// applied to every row that changes.
    const MAX: usize = 1024;

    /// The channel for a client.
    ///
    /// # Errors
    ///
    /// If there are too many channels, unless the client has no filter.
    pub fn open(
        &self,
        transport: Transport,
        subscription: Subscription,
    ) -> Result<Arc<Channel>, OverBudget> {
        let topics = subscription.topics.iter().copied().collect();
        let key = (transport, topics, subscription.filter.to_string());

        let mut channels = lock(&self.open);
        if let Some(channel) = channels.get(&key).and_then(Weak::upgrade) {
            return Ok(channel);
        }

        if channels.len() >= Self::MAX {
            channels.retain(|_, channel| channel.strong_count() > 0);
        }
        if channels.len() >= Self::MAX && !subscription.filter.is_empty() {
            return Err(OverBudget);
        }

        let channel = Arc::new(Channel {
            transport,
            subscription,
            budget: self.budget.clone(),
            cache: Mutex::default(),
        });
        channels.insert(key, Arc::downgrade(&channel));
        Ok(channel)
    }

    /// Counts a response with a filter against the memory budget, until it is dropped.
    ///
    /// # Errors
    ///
    /// If the budget is not large enough for it at the moment.
    pub(crate) fn charge(&self, response: Bytes) -> Result<Bytes, OverBudget> {
        self.budget.charge(response)
    }
}

impl Channel {
    fn transport(&self) -> Transport {
        self.transport
    }

    fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// The cache for the revision of this publication.
    fn cache(&self, publication: &Publication) -> MutexGuard<'_, EncodedCache> {
        let mut cache = lock(&self.cache);
        if cache.revision != publication.revision {
            *cache = EncodedCache { revision: publication.revision, ..EncodedCache::default() };
        }
        cache
    }

    /// Snapshots of all topics.
    fn snapshots(&self, publication: &Publication) -> Result<MessageBatch, OverBudget> {
        let Subscription { topics, filter } = &self.subscription;
        let mut cache = self.cache(publication);
        if let Some(snapshots) = cache.snapshots.upgrade() {
            return Ok(snapshots);
        }

        let messages = topics
            .iter()
            .map(|topic| (update::snapshot(publication, *topic, filter), None));
        let (bytes, messages) = self.encode(publication, messages);

        let batch = self.reserve(bytes, messages, true, &mut cache)?;
        cache.snapshots = batch.downgrade();
        Ok(batch)
    }

    /// What a client has missed that had this position when it lost its connection.
    fn resume(
        &self,
        publication: &Publication,
        position: &ResumePosition,
    ) -> Result<Resumed, ResyncReason> {
        let previous_run = publication.previous_run.as_deref();
        if position.epoch != *publication.epoch {
            let run = previous_run.filter(|run| *run.epoch == *position.epoch);
            let run = run.ok_or(ResyncReason::OtherEpoch)?;
            return self.resume_after_restart(publication, run, position.revision);
        }
        if position.revision > publication.revision {
            return Err(ResyncReason::FutureRevision);
        }

        // Before that, a client may have rows of the program that ran before.
        let begin = previous_run.and_then(|run| run.diff.as_ref());
        if begin.is_some_and(|diff| position.revision < diff.revision) {
            return Err(ResyncReason::TooOld);
        }
        self.updates_since(publication, position.revision)
            .map(Resumed::Updates)
    }

    /// What a client has missed that had this revision of the program that ran before.
    fn resume_after_restart(
        &self,
        publication: &Publication,
        run: &PreviousRun,
        revision: u64,
    ) -> Result<Resumed, ResyncReason> {
        let mut cache = self.cache(publication);
        let cached = cache.missed_since.get(&revision).and_then(WeakBatch::upgrade);
        if cached.is_some() {
            return Ok(Resumed::Updates(cached));
        }

        let missed =
            match run.missed_since(revision, &publication.updates, &publication.transitions) {
                Missed::NotKnownYet => return Ok(Resumed::Later),
                Missed::Unknown => return Err(ResyncReason::TooOld),
                Missed::NotSaved => return Err(ResyncReason::NotSaved),
                Missed::Known(missed) => missed,
            };
        if missed.len() > self.snapshot_rows(publication) {
            return Err(ResyncReason::LargerThanSnapshot);
        }

        let Subscription { topics, filter } = &self.subscription;
        let deltas = topics
            .iter()
            .filter_map(|topic| update::missed_delta(publication, &missed, *topic, filter));
        let events = missed
            .events
            .iter()
            .filter(|transition| topics.contains(&Topic::Events) && filter.event(&transition.event))
            .map(|transition| update::event(update::BEFORE_RESUMED, transition));
        // A client that has some of them only gets everything.
        let messages = deltas
            .chain(events)
            .map(|message| (message, Some(update::BEFORE_RESUMED)));
        let (bytes, messages) = self.encode(publication, messages);
        if messages == 0 {
            return Ok(Resumed::Updates(None));
        }

        // That is what most of them need.
        let is_last = revision == run.revision;
        let batch = self
            .reserve(bytes, messages, is_last, &mut cache)
            .map_err(|OverBudget| ResyncReason::OverBudget)?;
        cache.missed_since.insert(revision, batch.downgrade());
        Ok(Resumed::Updates(Some(batch)))
    }

    /// The messages after `revision`; `None` if none of them is for this channel.
    fn updates_since(
        &self,
        publication: &Publication,
        revision: u64,
    ) -> Result<Option<MessageBatch>, ResyncReason> {
        let mut cache = self.cache(publication);
        let cached = cache.updates_since.get(&revision).and_then(WeakBatch::upgrade);
        if cached.is_some() {
            return Ok(cached);
        }

        let entries: Vec<&HistoryEntry> = publication
            .updates
            .since(revision)
            .ok_or(ResyncReason::TooOld)?
            .collect();

        // A client that lacks only the newest publication gets updates, however many they are.
        let is_up_to_date = revision >= publication.previous_revision;
        if !is_up_to_date && self.update_rows(&entries) > self.snapshot_rows(publication) {
            return Err(ResyncReason::LargerThanSnapshot);
        }

        let messages = entries
            .into_iter()
            .filter_map(|entry| Some((self.message(entry)?, Some(entry.revision))));
        let (bytes, messages) = self.encode(publication, messages);
        if messages == 0 {
            return Ok(None);
        }

        let needed_by_all = revision == publication.previous_revision;
        let batch = self
            .reserve(bytes, messages, needed_by_all, &mut cache)
            .map_err(|OverBudget| ResyncReason::OverBudget)?;
        cache.updates_since.insert(revision, batch.downgrade());
        Ok(Some(batch))
    }

    /// Makes a batch. It is kept in the cache if all clients without a filter need it; otherwise
    /// it uses the memory budget.
    fn reserve(
        &self,
        bytes: Bytes,
        messages: usize,
        needed_by_all: bool,
        cache: &mut EncodedCache,
    ) -> Result<MessageBatch, OverBudget> {
        if needed_by_all && self.subscription.filter.is_empty() {
            let batch = MessageBatch::new(bytes, messages);
            cache.kept.push(batch.clone());
            Ok(batch)
        } else {
            self.budget.reserve(bytes, messages)
        }
    }

    /// How many rows and events the snapshots have.
    fn snapshot_rows(&self, publication: &Publication) -> usize {
        let Subscription { topics, filter } = &self.subscription;
        let View { units, machines } = &*publication.view;
        let problems = &publication.problems;
        let transitions = &publication.transitions;
        let has_no_filter = filter.is_empty();

        let rows = |topic: &Topic| match topic {
            Topic::Units if has_no_filter => units.len(),
            Topic::Units => units.iter().filter(|unit| filter.unit(unit)).count(),
            Topic::Machines if has_no_filter => machines.len(),
            Topic::Machines => machines.iter().filter(|member| filter.machine(member)).count(),
            Topic::Problems if has_no_filter => problems.len(),
            Topic::Problems => problems.iter().filter(|problem| filter.problem(problem)).count(),
            Topic::Events if has_no_filter => transitions.len(),
            Topic::Events => transitions
                .iter()
                .filter(|transition| filter.event(&transition.event))
                .count(),
        };
        topics.iter().map(rows).sum()
    }

    /// How many rows and events the messages of these entries have.
    fn update_rows(&self, entries: &[&HistoryEntry]) -> usize {
        entries.iter().map(|entry| self.entry_rows(entry)).sum()
    }

    /// How many rows or events of an entry this channel has.
    fn entry_rows(&self, entry: &HistoryEntry) -> usize {
        let filter = &self.subscription.filter;
        if let Some(topic) = entry.content.topic()
            && !self.subscription.has(topic)
        {
            return 0;
        }

        match &entry.content {
            UpdateContent::Status => 0,
            UpdateContent::Event(transition) => filter.event(&transition.event).into(),
            UpdateContent::Units(changes) => changes
                .iter()
                .filter(|change| change.any(|unit| filter.unit(unit)))
                .count(),
            UpdateContent::Machines(changes) => changes
                .iter()
                .filter(|change| change.any(|member| filter.machine(member)))
                .count(),
            UpdateContent::Problems(changes) => changes
                .iter()
                .filter(|change| change.any(|problem| filter.problem(problem)))
                .count(),
        }
    }

    /// The message of an entry; `None` if this channel has nothing of it.
    fn message(&self, entry: &HistoryEntry) -> Option<Bytes> {
        let HistoryEntry { revision, content, message } = entry;
        let filter = &self.subscription.filter;
        let is_status = matches!(content, UpdateContent::Status);
        if !is_status && self.entry_rows(entry) == 0 {
            return None;
        }

        Some(match content {
            UpdateContent::Units(changes) if !filter.is_empty() => {
                update::unit_delta(*revision, changes, |unit| filter.unit(unit))
            }
            UpdateContent::Machines(changes) if !filter.is_empty() => {
                update::machine_delta(*revision, changes, |member| filter.machine(member))
            }
            UpdateContent::Problems(changes) if !filter.is_empty() => {
                update::problem_delta(*revision, changes, |problem| filter.problem(problem))
            }
            _ => message.clone(),
        })
    }

    /// A batch of one message, which uses no memory budget.
    fn encode_one(
        &self,
        publication: &Publication,
        message: Bytes,
        revision: Option<u64>,
    ) -> MessageBatch {
        let (bytes, messages) = self.encode(publication, [(message, revision)]);
        MessageBatch::new(bytes, messages)
    }

    /// Frames messages for the transport, and counts them. Each comes with the revision from which
    /// a client that has it can resume, or with `None` if a client cannot resume after it.
    fn encode(
        &self,
        publication: &Publication,
        messages: impl IntoIterator<Item = (Bytes, Option<u64>)>,
    ) -> (Bytes, usize) {
        let mut bytes = BytesMut::new();
        let mut count = 0;

        for (message, revision) in messages {
            count += 1;
            match self.transport {
                Transport::WebSocket => frame::put_text(&mut bytes, &message),
                Transport::EventStream => {
                    if let Some(revision) = revision {
                        let id = format!("id: {}-{revision}\n", publication.epoch);
                        bytes.extend_from_slice(id.as_bytes());
                    }
                    bytes.extend_from_slice(b"data: ");
                    bytes.extend_from_slice(&message);
                    bytes.extend_from_slice(b"\n\n");
                }
            }
        }

        (bytes.freeze(), count)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
