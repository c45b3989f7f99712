//! Encoded messages on their way to clients.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

/// Messages in the form in which they are sent, one after the other. Cloning it copies nothing.
#[derive(Clone, Debug)]
pub struct MessageBatch(Arc<BatchContent>);

/// A batch that is freed when the last client has sent it.
#[derive(Debug, Default)]
pub(super) struct WeakBatch(Weak<BatchContent>);

#[derive(Debug)]
struct BatchContent {
    bytes: Bytes,
    messages: usize,
    /// The part of the memory budget that this batch uses, returned when the batch is freed.
    _budget: Option<OwnedSemaphorePermit>,
}

impl MessageBatch {
    /// A batch that uses no memory budget.
    pub(crate) fn new(bytes: Bytes, messages: usize) -> Self {
        Self(Arc::new(BatchContent { bytes, messages, _budget: None }))
    }

    pub(super) fn within(budget: OwnedSemaphorePermit, bytes: Bytes, messages: usize) -> Self {
        Self(Arc::new(BatchContent { bytes, messages, _budget: Some(budget) }))
    }

    /// All messages, with what frames them.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// How many messages it has.
    pub(crate) fn messages(&self) -> usize {
        self.0.messages
    }

    pub(super) fn downgrade(&self) -> WeakBatch {
        WeakBatch(Arc::downgrade(&self.0))
    }
}

impl WeakBatch {
    pub(super) fn upgrade(&self) -> Option<MessageBatch> {
        self.0.upgrade().map(MessageBatch)
    }
}
