//! What was published lately, message by message.
//!
//! It holds what a client needs that was away, or slow, for a while; how a client is told is not
//! its concern.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::subscription::Topic;
use crate::cluster::{Change, Member, Transition, Unit};

/// One message of the second protocol, and what it was made of, so that it can be made again for a
/// filter.
#[derive(Debug)]
pub(super) struct HistoryEntry {
    pub(super) revision: u64,
    pub(super) subject: Subject,
    /// The message to a client that wants everything.
    pub(super) message: Bytes,
}

/// What a message is about.
#[derive(Debug)]
pub(super) enum Subject {
    Units(Vec<Change<Unit>>),
    Machines(Vec<Change<Member>>),
    Event(Arc<Transition>),
    Source,
}

impl Subject {
    /// The topic that it belongs to; none for what is for all.
    pub(super) fn topic(&self) -> Option<Topic> {
        match self {
            Subject::Units(_) => Some(Topic::Units),
            Subject::Machines(_) => Some(Topic::Machines),
            Subject::Event(_) => Some(Topic::Events),
            Subject::Source => None,
        }
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Subject::Units(changes) => changes.is_empty(),
            Subject::Machines(changes) => changes.is_empty(),
            Subject::Event(_) | Subject::Source => false,
        }
    }
}

/// The newest entries, oldest first. A client that knows a revision before they begin has missed
/// something.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    entries: VecDeque<Arc<HistoryEntry>>,
    bytes: usize,
    /// The revision before the first entry.
    begin: u64,
}

impl History {
    /// How many entries are kept at most.
    pub(super) const MAX_ENTRIES: usize = 4096;
    /// How many bytes their messages have at most.
    pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;

    /// A history that goes on with these.
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
            self.begin = oldest.revision;
        }
    }

    /// All that is newer than `revision`; none if some of it is not known any more.
    pub(super) fn since(&self, revision: u64) -> Option<impl Iterator<Item = &HistoryEntry>> {
        let first = self.entries.partition_point(|entry| entry.revision <= revision);
        (revision >= self.begin).then(|| self.entries.range(first..).map(|entry| &**entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(revision: u64, bytes: usize) -> HistoryEntry {
        HistoryEntry {
            revision,
            subject: Subject::Source,
            message: Bytes::from(vec![b' '; bytes]),
        }
    }

    fn since(history: &History, revision: u64) -> Option<Vec<u64>> {
        history
            .since(revision)
            .map(|entries| entries.map(|entry| entry.revision).collect())
    }

    #[test]
    fn it_tells_what_is_newer_or_that_it_does_not_know() {
        let mut history = History::default();
        assert_eq!(since(&history, 0), Some(vec![]));
        for revision in [1, 2, 4] {
            history.push(entry(revision, 1));
        }
        assert_eq!(since(&history, 0), Some(vec![1, 2, 4]));
        assert_eq!(since(&history, 2), Some(vec![4]));
        assert_eq!(since(&history, 3), Some(vec![4]), "a revision without a message");
        assert_eq!(since(&history, 4), Some(vec![]));
    }

    #[test]
    fn it_is_bounded_by_count() {
        let mut history = History::default();
        for revision in 1..=History::MAX_ENTRIES as u64 + 3 {
            history.push(entry(revision, 1));
        }
        assert_eq!(since(&history, 2), None);
        assert_eq!(since(&history, 3).map(|entries| entries.len()), Some(History::MAX_ENTRIES));
    }

    #[test]
    fn it_is_bounded_by_bytes() {
        let mut history = History::default();
        for revision in 1..=5 {
            history.push(entry(revision, History::MAX_BYTES / 4));
        }
        assert_eq!(since(&history, 0), None);
        assert_eq!(since(&history, 1), Some(vec![2, 3, 4, 5]));
        history.push(entry(6, History::MAX_BYTES + 1));
        assert_eq!(since(&history, 5), None, "what is larger than all that is kept is not kept");
        assert_eq!(since(&history, 6), Some(vec![]));
    }
}
