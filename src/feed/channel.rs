//! The second protocol: what a client is told, from its first message on.
//!
//! Clients that want the same get the same bytes: they share a [`Channel`]. A [`Follower`] is one client on it, of which
//! nothing is kept but the revision that it has. It does not know sockets, and time is passed in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Bytes, BytesMut};

use super::history::{Entry, Subject};
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

/// What follows on an event stream: how long a client that lost it waits before it comes back, in milliseconds.
const RETRY: &str = "retry: 2000\n\n";

/// Where a client was when it was last here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The run of the program.
    pub epoch: String,
    /// The last revision that it has.
    pub revision: u64,
}

/// Messages as they travel, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The bytes for the wire.
    pub bytes: Bytes,
    /// How many messages they are.
    pub messages: usize,
}

/// All channels that somebody follows.
#[derive(Debug, Default)]
pub struct Channels(Mutex<HashMap<Key, Weak<Channel>>>);

/// A wish, so that equal ones are equal.
type Key = (Transport, Vec<Topic>, String);

impl Channels {
    /// The one for this wish.
    pub fn open(&self, transport: Transport, subscription: Subscription) -> Arc<Channel> {
        let topics = subscription.topics.iter().copied().collect();
        let key = (transport, topics, subscription.filter.to_string());
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&key).and_then(Weak::upgrade) {
            return channel;
        }
        channels.retain(|_, channel| channel.strong_count() > 0);
        let channel = Arc::new(Channel { transport, subscription, made: Mutex::default() });
        channels.insert(key, Arc::downgrade(&channel));
        channel
    }
}

/// What all clients with the same wish get.
#[derive(Debug)]
pub struct Channel {
    transport: Transport,
    subscription: Subscription,
    made: Mutex<Made>,
}

/// What was made for one revision, so that it is made once for all.
#[derive(Debug, Default)]
struct Made {
    revision: u64,
    snapshots: Option<Batch>,
    /// By the revision before it: what is missed since then, if that is known.
    missed: HashMap<u64, Option<Missed>>,
}

/// What a client missed, and how many rows and events that tells.
#[derive(Clone, Debug)]
struct Missed {
    batch: Batch,
    rows: usize,
}

impl Channel {
    /// Nearly all clients are at the same revision. What was made for others is kept for no more than so many of them.
    const MAX_MISSED: usize = 16;

    /// What was made for this revision.
    fn made(&self, publication: &Publication) -> MutexGuard<'_, Made> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.revision != publication.revision {
            *made = Made { revision: publication.revision, ..Made::default() };
        }
        made
    }

    /// All that there is.
    fn snapshots(&self, publication: &Publication) -> Batch {
        let Subscription { topics, filter } = &self.subscription;
        let snapshots = || topics.iter().map(|topic| (update::snapshot(publication, *topic, filter), None));
        self.made(publication).snapshots.get_or_insert_with(|| self.batch(publication, snapshots())).clone()
    }

    /// How many rows and events all that there is has.
    fn rows(&self, publication: &Publication) -> usize {
        let filter = &self.subscription.filter;
        let View { units, machines } = &*publication.view;
        let rows = |topic: &Topic| match topic {
            Topic::Units => units.iter().filter(|unit| filter.unit(unit)).count(),
            Topic::Machines => machines.iter().filter(|member| filter.machine(member)).count(),
            Topic::Events => publication.history.iter().filter(|it| filter.event(&it.event)).count(),
        };
        self.subscription.topics.iter().map(rows).sum()
    }

    /// What came after `revision`; none if that is not known any more.
    fn missed(&self, publication: &Publication, revision: u64) -> Option<Missed> {
        let make = || {
            let entries = publication.log.since(revision)?;
            let mut rows = 0;
            let messages = entries.filter_map(|entry| {
                let (message, count) = self.message(entry)?;
                rows += count;
                Some((message, Some(entry.revision)))
            });
            let batch = self.batch(publication, messages);
            Some(Missed { batch, rows })
        };
        let missed = &mut self.made(publication).missed;
        if missed.len() > Self::MAX_MISSED {
            missed.clear();
        }
        missed.entry(revision).or_insert_with(make).clone()
    }

    /// An entry for those who follow this channel, if it is anything to them, and how many rows or events it tells.
    fn message(&self, entry: &Entry) -> Option<(Bytes, usize)> {
        let Entry { revision, subject, message } = entry;
        let Subscription { filter, .. } = &self.subscription;
        let whole = |count| (message.clone(), count);
        let (topic, (message, count)) = match subject {
            Subject::Source => return Some(whole(0)),
            Subject::Event(transition) => (Topic::Events, whole(filter.event(&transition.event).into())),
            Subject::Units(changes) if filter.is_empty() => (Topic::Units, whole(changes.len())),
            Subject::Units(changes) => (Topic::Units, update::units(*revision, changes, |unit| filter.unit(unit))),
            Subject::Machines(changes) if filter.is_empty() => (Topic::Machines, whole(changes.len())),
            Subject::Machines(changes) => {
                (Topic::Machines, update::machines(*revision, changes, |member| filter.machine(member)))
            }
        };
        (count > 0 && self.subscription.has(topic)).then_some((message, count))
    }

    /// Messages as they travel; each with the revision from which a client that has it can go on, if it can.
    fn batch(&self, publication: &Publication, messages: impl IntoIterator<Item = (Bytes, Option<u64>)>) -> Batch {
        let (mut bytes, mut count) = (BytesMut::new(), 0);
        for (message, revision) in messages {
            count += 1;
            match self.transport {
                Transport::WebSocket => frame::put_text(&mut bytes, &message),
                Transport::EventStream => {
                    if let Some(revision) = revision {
                        bytes.extend_from_slice(format!("id: {}-{revision}\n", publication.epoch).as_bytes());
                    }
                    bytes.extend_from_slice(b"data: ");
                    bytes.extend_from_slice(&message);
                    bytes.extend_from_slice(b"\n\n");
                }
            }
        }
        Batch { bytes: bytes.freeze(), messages: count }
    }
}

/// One client of the second protocol.
#[derive(Debug)]
pub struct Follower {
    channel: Arc<Channel>,
    revision: u64,
}

impl Follower {
    /// A client that has just come, and what it gets: what it missed if it comes back, else all that there is.
    pub fn begin(
        channel: Arc<Channel>,
        position: Option<&Position>,
        publication: &Publication,
        now: Moment,
    ) -> (Self, Vec<Batch>) {
        let hello = channel.batch(publication, [(update::hello(publication, &channel.subscription), None)]);
        let mut follower = Self { channel, revision: publication.revision };
        let mut batches = vec![hello];
        if follower.channel.transport == Transport::EventStream {
            batches.insert(0, Batch { bytes: Bytes::from_static(RETRY.as_bytes()), messages: 0 });
        }
        batches.extend(match position {
            None => vec![follower.channel.snapshots(publication)],
            Some(position) if position.epoch != *publication.epoch => {
                follower.resync(publication, "this is another run of the program")
            }
            Some(position) if position.revision > publication.revision => {
                follower.resync(publication, "this revision is still to come")
            }
            Some(position) => {
                follower.revision = position.revision;
                let missed = follower.missed(publication);
                missed.unwrap_or_else(|reason| follower.resync(publication, reason))
            }
        });
        batches.push(follower.status(publication, now));
        (follower, batches)
    }

    /// What is new since the client was told last.
    pub fn news(&mut self, publication: &Publication, now: Moment) -> Vec<Batch> {
        self.missed(publication).unwrap_or_else(|reason| {
            let mut batches = self.resync(publication, reason);
            batches.push(self.status(publication, now));
            batches
        })
    }

    /// What the client missed, or why it has to begin anew.
    fn missed(&mut self, publication: &Publication) -> Result<Vec<Batch>, &'static str> {
        let before = std::mem::replace(&mut self.revision, publication.revision);
        if before == publication.revision {
            return Ok(vec![]);
        }
        let missed = self.channel.missed(publication, before).ok_or("what came since then is not known any more")?;
        // One that has seen all but the newest is told it, however much it is.
        if before < publication.previous && missed.rows > self.channel.rows(publication) {
            return Err("what came since then is more than all that there is");
        }
        Ok(if missed.batch.messages == 0 { vec![] } else { vec![missed.batch] })
    }

    /// The state of the source, for a line on which nothing else is to be said.
    pub fn status(&self, publication: &Publication, now: Moment) -> Batch {
        let Publication { health, source, .. } = publication;
        let status = update::status(self.revision, health, source, now);
        self.channel.batch(publication, [(status, Some(self.revision))])
    }

    fn resync(&self, publication: &Publication, reason: &str) -> Vec<Batch> {
        let resync = update::resync(publication.revision, reason);
        vec![self.channel.batch(publication, [(resync, None)]), self.channel.snapshots(publication)]
    }
}

#[cfg(test)]
mod tests;
