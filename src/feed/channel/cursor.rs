//! One client of the second protocol: how far it has read a channel, and what it gets next.
//!
//! It does not know the client's socket.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::MessageBatch;
use super::budget::OverBudget;
use super::{Channel, Resumed, ResyncReason, Transport};
use crate::cluster::Moment;
use crate::feed::{Publication, update};

/// The first field of an event stream: how long a client waits before it reconnects, in
/// milliseconds.
const RETRY: &str = "retry: 2000\n\n";

/// What a client that reconnects has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumePosition {
    /// The process that the revision belongs to.
    pub epoch: String,
    /// The revision of the last message that the client has.
    pub revision: u64,
}

/// One client's position in a channel.
#[derive(Debug)]
pub struct ChannelCursor {
    channel: Arc<Channel>,
    /// The client has, or is being sent, everything up to this revision.
    revision: u64,
    /// What a client of the program that ran before has, until it is known what it has missed. It
    /// gets nothing until then.
    pending: Option<ResumePosition>,
}

impl ChannelCursor {
    /// Begins to read a channel. Returns the first messages too: what the client has missed since
    /// its `position`, or snapshots.
    ///
    /// # Errors
    ///
    /// If the memory budget is not large enough for these messages.
    pub fn begin(
        channel: Arc<Channel>,
        position: Option<&ResumePosition>,
        publication: &Publication,
        now: Moment,
    ) -> Result<(Self, Vec<MessageBatch>), OverBudget> {
        let mut cursor = Self { channel, revision: publication.revision, pending: None };
        let channel = &cursor.channel;
        let mut batches = vec![];

        if channel.transport() == Transport::EventStream {
            batches.push(MessageBatch::new(Bytes::from_static(RETRY.as_bytes()), 0));
        }
        let hello = update::hello(publication, channel.subscription());
        batches.push(channel.encode_one(publication, hello, None));

        match position.map(|position| channel.resume(publication, position)) {
            None => batches.push(channel.snapshots(publication)?),
            Some(Ok(Resumed::Updates(updates))) => batches.extend(updates),
            Some(Ok(Resumed::Later)) => {
                cursor.pending = position.cloned();
                return Ok((cursor, batches));
            }
            Some(Err(reason)) => batches.extend(cursor.resync(publication, reason)?),
        }

        batches.push(cursor.status(publication, now));
        Ok((cursor, batches))
    }

    /// The messages since the last call, or since [`begin`](Self::begin).
    ///
    /// # Errors
    ///
    /// If the memory budget is not large enough for them. The client has to reconnect.
    pub(crate) fn updates(
        &mut self,
        publication: &Publication,
        now: Moment,
    ) -> Result<Vec<MessageBatch>, OverBudget> {
        if let Some(position) = self.pending.take() {
            return self.resume_pending(position, publication, now);
        }
        let last_revision = std::mem::replace(&mut self.revision, publication.revision);
        if last_revision == publication.revision {
            return Ok(vec![]);
        }

        match self.channel.updates_since(publication, last_revision) {
            Ok(updates) => Ok(updates.into_iter().collect()),
            Err(reason) => {
                let mut batches = self.resync(publication, reason)?;
                batches.push(self.status(publication, now));
                Ok(batches)
            }
        }
    }

    /// What a client gets that has been sent nothing for a while: the state of the source. One that
    /// waits for what it has missed does not wait any longer.
    ///
    /// # Errors
    ///
    /// If the memory budget is not large enough for it. The client has to reconnect.
    pub(crate) fn heartbeat(
        &mut self,
        publication: &Publication,
        now: Moment,
    ) -> Result<Vec<MessageBatch>, OverBudget> {
        let mut batches = vec![];
        if self.pending.take().is_some() {
            self.revision = publication.revision;
            batches = self.resync(publication, ResyncReason::NotReadYet)?;
        }

        batches.push(self.status(publication, now));
        Ok(batches)
    }

    /// What a client has missed that waits for it, if that is known by now.
    fn resume_pending(
        &mut self,
        position: ResumePosition,
        publication: &Publication,
        now: Moment,
    ) -> Result<Vec<MessageBatch>, OverBudget> {
        let mut batches = match self.channel.resume(publication, &position) {
            Ok(Resumed::Later) => {
                self.pending = Some(position);
                return Ok(vec![]);
            }
            Ok(Resumed::Updates(updates)) => updates.into_iter().collect(),
            Err(reason) => self.resync(publication, reason)?,
        };

        self.revision = publication.revision;
        batches.push(self.status(publication, now));
        Ok(batches)
    }

    /// The state of the source.
    pub(crate) fn status(&self, publication: &Publication, now: Moment) -> MessageBatch {
        let Publication { health, source, .. } = publication;
        let status = update::status(self.revision, health, source, now);

        self.channel.encode_one(publication, status, Some(self.revision))
    }

    fn resync(
        &self,
        publication: &Publication,
        reason: ResyncReason,
    ) -> Result<Vec<MessageBatch>, OverBudget> {
        let resync = update::resync(publication.revision, reason.text());

        Ok(vec![
            self.channel.encode_one(publication, resync, None),
            self.channel.snapshots(publication)?,
        ])
    }
}
