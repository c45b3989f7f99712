//! How much memory the messages for some clients only may take.
//!
//! It counts bytes, and does not know what is in a message.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::batch::MessageBatch;
use super::lock;

/// The limit for filters, or for messages to clients with a filter, is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many clients use different filters; try again later, or without a filter")]
pub struct OverBudget;

/// The memory for batches that not all clients need, because they have a filter or are slow, and
/// for responses with a filter.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    /// One permit for each byte.
    pub(super) available: Arc<Semaphore>,
    /// Keeps the newest batches for a while, so that the next client need not encode them again.
    recent: Mutex<RecentBatches>,
}

/// Bytes that use the budget.
struct ChargedBytes {
    bytes: Bytes,
    /// Returned when the bytes are dropped.
    _budget: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for ChargedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[derive(Debug, Default)]
struct RecentBatches {
    /// Encoded messages that channels keep, oldest first.
    batches: VecDeque<MessageBatch>,
    /// The size of all of them.
    bytes: usize,
}

impl MemoryBudget {
    /// The size of all batches together.
    pub(super) const BYTES: usize = 64 * 1024 * 1024;
    /// The part of it that batches may use which no client is being sent at the moment.
    pub(super) const RECENT_BYTES: usize = 8 * 1024 * 1024;

    /// Makes a batch that uses the budget until it is freed.
    ///
    /// # Errors
    ///
    /// If the budget is not large enough for it at the moment.
    pub(super) fn reserve(
        &self,
        bytes: Bytes,
        messages: usize,
    ) -> Result<MessageBatch, OverBudget> {
        let permit = self.permit(&bytes)?;

        let batch = MessageBatch::within(permit, bytes, messages);
        lock(&self.recent).push(batch.clone());
        Ok(batch)
    }

    /// Counts bytes against the budget until they are dropped.
    ///
    /// # Errors
    ///
    /// If the budget is not large enough for them at the moment.
    pub(super) fn charge(&self, bytes: Bytes) -> Result<Bytes, OverBudget> {
        let permit = self.permit(&bytes)?;

        Ok(Bytes::from_owner(ChargedBytes { bytes, _budget: permit }))
    }

    fn permit(&self, bytes: &Bytes) -> Result<OwnedSemaphorePermit, OverBudget> {
        let size = u32::try_from(bytes.len()).map_err(|_| OverBudget)?;

        self.available
            .clone()
            .try_acquire_many_owned(size)
            .map_err(|_| OverBudget)
    }
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self {
            available: Arc::new(Semaphore::new(Self::BYTES)),
            recent: Mutex::default(),
        }
    }
}

impl RecentBatches {
    fn push(&mut self, batch: MessageBatch) {
        self.bytes += batch.bytes().len();
        self.batches.push_back(batch);

        while self.bytes > MemoryBudget::RECENT_BYTES {
            let Some(oldest) = self.batches.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes().len();
        }
    }
}
