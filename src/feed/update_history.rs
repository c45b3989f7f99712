//! The latest messages of the second protocol.
//!
//! From these, a client that was slow or disconnected gets what it has missed. This module does
//! not know how messages are sent.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::subscription::Topic;
use crate::cluster::{Change, Member, Transition, Unit};

/// One message of the second protocol, and its content, from which a channel with a filter encodes
/// a message of its own.
#[derive(Debug)]
pub(super) struct HistoryEntry {
    pub(super) revision: u64,
    pub(super) content: UpdateContent,
    /// The message for clients without a filter.
    pub(super) message: Bytes,
}

/// The content of a message that has a revision of its own.
#[derive(Debug)]
pub(super) enum UpdateContent {
    Units(Vec<Change<Unit>>),
    Machines(Vec<Change<Member>>),
    Event(Arc<Transition>),
    /// The state of the source.
    Status,
}

impl UpdateContent {
    /// `None` for messages that all clients get.
    pub(super) fn topic(&self) -> Option<Topic> {
        match self {
            UpdateContent::Units(_) => Some(Topic::Units),
            UpdateContent::Machines(_) => Some(Topic::Machines),
            UpdateContent::Event(_) => Some(Topic::Events),
            UpdateContent::Status => None,
        }
    }

    /// Whether it is a list of changes without any change.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            UpdateContent::Units(changes) => changes.is_empty(),
            UpdateContent::Machines(changes) => changes.is_empty(),
            UpdateContent::Event(_) | UpdateContent::Status => false,
        }
    }
}

/// The newest messages, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct UpdateHistory {
    entries: VecDeque<Arc<HistoryEntry>>,
    /// The size of all messages.
    bytes: usize,
    /// The revision before the first entry. A client with an older revision has missed messages
    /// that are no longer here.
    oldest_base: u64,
}

impl UpdateHistory {
    pub(super) const MAX_ENTRIES: usize = 4096;
    /// How large all messages together may be.
    pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;

    /// An empty history. A client with an older revision has missed what is no longer here.
    pub(super) fn after(revision: u64) -> Self {
        Self { oldest_base: revision, ..Self::default() }
    }

    /// A history with these entries behind the others.
    pub(super) fn with(
        self: &Arc<Self>,
        entries: impl IntoIterator<Item = HistoryEntry>,
    ) -> Arc<Self> {
        let mut history = self.clone();
        for entry in entries {
            Arc::make_mut(&mut history).push(entry);
        }
        history
    }

    fn push(&mut self, entry: HistoryEntry) {
        self.bytes += entry.message.len();
        self.entries.push_back(Arc::new(entry));

        while self.entries.len() > Self::MAX_ENTRIES || self.bytes > Self::MAX_BYTES {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= oldest.message.len();
            self.oldest_base = oldest.revision;
        }
    }

    /// All entries after `revision`; `None` if some of them are no longer kept.
    pub(super) fn since(&self, revision: u64) -> Option<impl Iterator<Item = &HistoryEntry>> {
        if revision < self.oldest_base {
            return None;
        }

        let first = self.entries.partition_point(|entry| entry.revision <= revision);
        Some(self.entries.range(first..).map(|entry| &**entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(revision: u64, bytes: usize) -> HistoryEntry {
        HistoryEntry {
            revision,
            content: UpdateContent::Status,
            message: Bytes::from(vec![b' '; bytes]),
        }
    }

    fn revisions_since(history: &UpdateHistory, revision: u64) -> Option<Vec<u64>> {
        history
            .since(revision)
            .map(|entries| entries.map(|entry| entry.revision).collect())
    }

    #[test]
    fn entries_after_a_revision_are_found() {
        let mut history = UpdateHistory::default();
        assert_eq!(revisions_since(&history, 0), Some(vec![]));

        for revision in [1, 2, 4] {
            history.push(entry(revision, 1));
        }

        assert_eq!(revisions_since(&history, 0), Some(vec![1, 2, 4]));
        assert_eq!(revisions_since(&history, 2), Some(vec![4]));
        assert_eq!(revisions_since(&history, 3), Some(vec![4]), "a revision without a message");
        assert_eq!(revisions_since(&history, 4), Some(vec![]));
    }

    #[test]
    fn the_number_of_entries_is_limited() {
        let mut history = UpdateHistory::default();
        for revision in 1..=UpdateHistory::MAX_ENTRIES as u64 + 3 {
            history.push(entry(revision, 1));
        }

        assert_eq!(revisions_since(&history, 2), None);
        let kept = revisions_since(&history, 3).map(|revisions| revisions.len());
        assert_eq!(kept, Some(UpdateHistory::MAX_ENTRIES));
    }

    #[test]
    fn the_size_of_all_messages_is_limited() {
        let mut history = UpdateHistory::default();
        for revision in 1..=5 {
            history.push(entry(revision, UpdateHistory::MAX_BYTES / 4));
        }
        assert_eq!(revisions_since(&history, 0), None);
        assert_eq!(revisions_since(&history, 1), Some(vec![2, 3, 4, 5]));

        history.push(entry(6, UpdateHistory::MAX_BYTES + 1));
        assert_eq!(revisions_since(&history, 5), None, "a message above the limit is not kept");
        assert_eq!(revisions_since(&history, 6), Some(vec![]));
    }
}
