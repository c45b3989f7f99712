//! The second protocol: what a client is told, from its first message on.
//!
//! Clients that want the same get the same bytes: they share a [`Channel`]. A
//! [`ChannelSubscription`] is one client on it, of which nothing is kept but the revision that it
//! has.
//!
//! What everybody may want (all rows, and what came last) there is once. What is made for some,
//! since they filter or lag, has to find room: however many strangers want however many different
//! things, memory is bounded. This module does not know sockets, and time is passed in.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::history::{HistoryEntry, Subject};
use super::subscription::{Subscription, Topic};
use super::{Publication, frame, update};
use crate::cluster::{Moment, View};

/// In which form messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Each is a WebSocket frame.
    WebSocket,
    /// Each is a server-sent event (HTML, section "Server-sent events").
    EventStream,
}

/// What follows on an event stream: how long a client that lost it waits before it comes back, in
/// milliseconds.
const RETRY: &str = "retry: 2000\n\n";

/// Where a client was when it was last here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The run of the program.
    pub epoch: String,
    /// The last revision that it has.
    pub revision: u64,
}

/// Messages as they travel, one after the other. Cloning it copies nothing.
#[derive(Clone, Debug)]
pub struct Batch(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    bytes: Bytes,
    messages: usize,
    /// What it takes of the room, for as long as anybody has it.
    _room: Option<OwnedSemaphorePermit>,
}

impl Batch {
    /// So many messages.
    pub fn new(bytes: Bytes, messages: usize) -> Self {
        Self(Arc::new(Encoded { bytes, messages, _room: None }))
    }

    /// The bytes for the wire.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// How many messages they are.
    pub fn messages(&self) -> usize {
        self.0.messages
    }
}

/// There is no room for more that is made for some clients only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much is asked for with different filters; try again later, or without a filter")]
pub struct OverBudget;

/// All channels that somebody follows.
#[derive(Debug)]
pub struct Channels {
    open: Mutex<HashMap<Key, Weak<Channel>>>,
    room: Arc<MemoryBudget>,
}

/// A wish, so that equal ones are equal.
type Key = (Transport, Vec<Topic>, String);

impl Default for Channels {
    fn default() -> Self {
        let left = Arc::new(Semaphore::new(MemoryBudget::BYTES));
        Self {
            open: Mutex::default(),
            room: Arc::new(MemoryBudget { left, recent: Mutex::default() }),
        }
    }
}

impl Channels {
    /// How many different wishes there may be at a time: each is judged anew for each row that
    /// changes.
    const MAX: usize = 1024;

    /// The one for this wish.
    ///
    /// # Errors
    ///
    /// When there are too many different ones.
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
        let room = self.room.clone();
        let channel = Arc::new(Channel { transport, subscription, room, made: Mutex::default() });
        channels.insert(key, Arc::downgrade(&channel));
        Ok(channel)
    }
}

/// The room for what is made for some clients only.
#[derive(Debug)]
struct MemoryBudget {
    left: Arc<Semaphore>,
    /// What was made last, so that it is there for the next who wants it.
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    batches: VecDeque<Batch>,
    bytes: usize,
}

impl MemoryBudget {
    /// All that there is.
    const BYTES: usize = 64 * 1024 * 1024;
    /// What nobody needs at the moment may take so much of it.
    const RECENT: usize = 8 * 1024 * 1024;

    fn take(&self, bytes: Bytes, messages: usize) -> Result<Batch, OverBudget> {
        let size = u32::try_from(bytes.len()).map_err(|_| OverBudget)?;
        let room = self
            .left
            .clone()
            .try_acquire_many_owned(size)
            .map_err(|_| OverBudget)?;
        let batch = Batch(Arc::new(Encoded { bytes, messages, _room: Some(room) }));
        let mut recent = lock(&self.recent);
        recent.bytes += batch.bytes().len();
        recent.batches.push_back(batch.clone());
        while recent.bytes > Self::RECENT {
            let Some(oldest) = recent.batches.pop_front() else {
                break;
            };
            recent.bytes -= oldest.bytes().len();
        }
        Ok(batch)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all clients with the same wish get.
#[derive(Debug)]
pub struct Channel {
    transport: Transport,
    subscription: Subscription,
    room: Arc<MemoryBudget>,
    made: Mutex<EncodedCache>,
}

/// What was made for one revision, so that it is made once for all.
#[derive(Debug, Default)]
struct EncodedCache {
    revision: u64,
    /// What everybody has a right to.
    kept: Vec<Batch>,
    snapshots: Weak<Encoded>,
    /// What is missed since a revision.
    missed: HashMap<u64, Weak<Encoded>>,
}

/// Why a client has to begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResyncReason {
    Forgotten,
    Exceeding,
    OtherEpoch,
    Ahead,
}

impl ResyncReason {
    fn reason(self) -> &'static str {
        match self {
            ResyncReason::Forgotten => "what came since then is not known any more",
            ResyncReason::Exceeding => "the missed updates are larger than a snapshot",
            ResyncReason::OtherEpoch => "this is another run of the program",
            ResyncReason::Ahead => "this revision is still to come",
        }
    }
}

impl Channel {
    /// What was made for this revision.
    fn made(&self, publication: &Publication) -> MutexGuard<'_, EncodedCache> {
        let mut made = lock(&self.made);
        if made.revision != publication.revision {
            *made = EncodedCache { revision: publication.revision, ..EncodedCache::default() };
        }
        made
    }

    /// Finds room for a batch, unless it is one that all may want.
    fn reserve(
        &self,
        bytes: Bytes,
        messages: usize,
        for_all: bool,
        kept: &mut Vec<Batch>,
    ) -> Result<Batch, OverBudget> {
        if for_all && self.subscription.filter.is_empty() {
            let batch = Batch::new(bytes, messages);
            kept.push(batch.clone());
            Ok(batch)
        } else {
            self.room.take(bytes, messages)
        }
    }

    /// All that there is.
    fn snapshots(&self, publication: &Publication) -> Result<Batch, OverBudget> {
        let Subscription { topics, filter } = &self.subscription;
        let mut made = self.made(publication);
        if let Some(snapshots) = made.snapshots.upgrade() {
            return Ok(Batch(snapshots));
        }
        let snapshots = topics
            .iter()
            .map(|topic| (update::snapshot(publication, *topic, filter), None));
        let (bytes, messages) = self.encode(publication, snapshots);
        let batch = self.reserve(bytes, messages, true, &mut made.kept)?;
        made.snapshots = Arc::downgrade(&batch.0);
        Ok(batch)
    }

    /// How many rows and events all that there is has.
    fn rows(&self, publication: &Publication) -> usize {
        let Subscription { topics, filter } = &self.subscription;
        let View { units, machines } = &*publication.view;
        let all = filter.is_empty();
        let rows = |topic: &Topic| match topic {
            Topic::Units if all => units.len(),
            Topic::Units => units.iter().filter(|unit| filter.unit(unit)).count(),
            Topic::Machines if all => machines.len(),
            Topic::Machines => machines.iter().filter(|member| filter.machine(member)).count(),
            Topic::Events if all => publication.history.len(),
            Topic::Events => publication
                .history
                .iter()
                .filter(|it| filter.event(&it.event))
                .count(),
        };
        topics.iter().map(rows).sum()
    }

    /// What came after `revision`; none where that is nothing to this channel.
    fn missed(
        &self,
        publication: &Publication,
        revision: u64,
    ) -> Result<Option<Batch>, ResyncReason> {
        let mut made = self.made(publication);
        if let Some(missed) = made.missed.get(&revision).and_then(Weak::upgrade) {
            return Ok(Some(Batch(missed)));
        }
        let entries: Vec<&HistoryEntry> = publication
            .log
            .since(revision)
            .ok_or(ResyncReason::Forgotten)?
            .collect();
        // One that has seen all but the newest is told it, however much it is.
        let is_in_step = revision >= publication.previous;
        if !is_in_step
            && entries.iter().map(|entry| self.told(entry)).sum::<usize>() > self.rows(publication)
        {
            return Err(ResyncReason::Exceeding);
        }
        let messages = entries
            .into_iter()
            .filter_map(|entry| Some((self.message(entry)?, Some(entry.revision))));
        let (bytes, messages) = self.encode(publication, messages);
        if messages == 0 {
            return Ok(None);
        }
        let for_all = revision == publication.previous;
        let batch = self
            .reserve(bytes, messages, for_all, &mut made.kept)
            .map_err(|OverBudget| ResyncReason::Exceeding)?;
        made.missed.insert(revision, Arc::downgrade(&batch.0));
        Ok(Some(batch))
    }

    /// How many rows or events an entry tells to those who follow this channel.
    fn told(&self, entry: &HistoryEntry) -> usize {
        let Subscription { filter, .. } = &self.subscription;
        match (entry.subject.topic(), &entry.subject) {
            (Some(topic), _) if !self.subscription.has(topic) => 0,
            (_, Subject::Source) => 0,
            (_, Subject::Event(transition)) => filter.event(&transition.event).into(),
            (_, Subject::Units(changes)) => changes
                .iter()
                .filter(|change| change.any(|unit| filter.unit(unit)))
                .count(),
            (_, Subject::Machines(changes)) => changes
                .iter()
                .filter(|change| change.any(|member| filter.machine(member)))
                .count(),
        }
    }

    /// An entry for those who follow this channel, if it is anything to them.
    fn message(&self, entry: &HistoryEntry) -> Option<Bytes> {
        let HistoryEntry { revision, subject, message } = entry;
        let filter = &self.subscription.filter;
        let is_told = matches!(subject, Subject::Source) || self.told(entry) > 0;
        is_told.then(|| match subject {
            Subject::Units(changes) if !filter.is_empty() => {
                update::units(*revision, changes, |unit| filter.unit(unit))
            }
            Subject::Machines(changes) if !filter.is_empty() => {
                update::machines(*revision, changes, |member| filter.machine(member))
            }
            _ => message.clone(),
        })
    }

    /// One message as it travels.
    fn single(&self, publication: &Publication, message: Bytes, revision: Option<u64>) -> Batch {
        let (bytes, messages) = self.encode(publication, [(message, revision)]);
        Batch::new(bytes, messages)
    }

    /// Messages as they travel, and how many they are; each with the revision from which a client
    /// that has it can go on, if it can.
    fn encode(
        &self,
        publication: &Publication,
        messages: impl IntoIterator<Item = (Bytes, Option<u64>)>,
    ) -> (Bytes, usize) {
        let (mut bytes, mut count) = (BytesMut::new(), 0);
        for (message, revision) in messages {
            count += 1;
            match self.transport {
                Transport::WebSocket => frame::put_text(&mut bytes, &message),
                Transport::EventStream => {
                    if let Some(revision) = revision {
                        bytes.extend_from_slice(
                            format!("id: {}-{revision}\n", publication.epoch).as_bytes(),
                        );
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

/// One client of the second protocol.
#[derive(Debug)]
pub struct ChannelSubscription {
    channel: Arc<Channel>,
    revision: u64,
}

impl ChannelSubscription {
    /// A client that has just come, and what it gets: what it missed if it comes back, else all
    /// that there is.
    ///
    /// # Errors
    ///
    /// When there is no room for that.
    pub fn begin(
        channel: Arc<Channel>,
        position: Option<&Position>,
        publication: &Publication,
        now: Moment,
    ) -> Result<(Self, Vec<Batch>), OverBudget> {
        let mut batches = vec![];
        if channel.transport == Transport::EventStream {
            batches.push(Batch::new(Bytes::from_static(RETRY.as_bytes()), 0));
        }
        batches.push(channel.single(
            publication,
            update::hello(publication, &channel.subscription),
            None,
        ));
        let missed = match position {
            None => None,
            Some(position) if position.epoch != *publication.epoch => {
                Some(Err(ResyncReason::OtherEpoch))
            }
            Some(position) if position.revision > publication.revision => {
                Some(Err(ResyncReason::Ahead))
            }
            Some(position) => Some(channel.missed(publication, position.revision)),
        };
        let follower = Self { channel, revision: publication.revision };
        match missed {
            None => batches.push(follower.channel.snapshots(publication)?),
            Some(Ok(missed)) => batches.extend(missed),
            Some(Err(lost)) => batches.extend(follower.resync(publication, lost)?),
        }
        batches.push(follower.status(publication, now));
        Ok((follower, batches))
    }

    /// What is new since the client was told last.
    ///
    /// # Errors
    ///
    /// When there is no room for that: the client has to go, and come again.
    pub fn news(
        &mut self,
        publication: &Publication,
        now: Moment,
    ) -> Result<Vec<Batch>, OverBudget> {
        let before = std::mem::replace(&mut self.revision, publication.revision);
        if before == publication.revision {
            return Ok(vec![]);
        }
        match self.channel.missed(publication, before) {
            Ok(missed) => Ok(missed.into_iter().collect()),
            Err(lost) => {
                let mut batches = self.resync(publication, lost)?;
                batches.push(self.status(publication, now));
                Ok(batches)
            }
        }
    }

    /// The state of the source, for a line on which nothing else is to be said.
    pub fn status(&self, publication: &Publication, now: Moment) -> Batch {
        let Publication { health, source, .. } = publication;
        let status = update::status(self.revision, health, source, now);
        self.channel.single(publication, status, Some(self.revision))
    }

    fn resync(
        &self,
        publication: &Publication,
        lost: ResyncReason,
    ) -> Result<Vec<Batch>, OverBudget> {
        let resync = update::resync(publication.revision, lost.reason());
        Ok(vec![
            self.channel.single(publication, resync, None),
            self.channel.snapshots(publication)?,
        ])
    }
}

#[cfg(test)]
mod tests;
