//! A bounded queue in front of a writer that may block: stderr, the journal, systemd, a disk.
//!
//! It must not know what is written, or where to. Pushing an entry never blocks. A thread pops the
//! entries and writes them, and may block for as long as it likes. An entry that does not fit is
//! dropped and counted.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A handle to the queue; clones share one queue.
#[derive(Debug)]
pub(crate) struct WriteQueue<T>(Arc<QueueInner<T>>);

#[derive(Debug)]
struct QueueInner<T> {
    /// How many bytes the waiting entries may have together.
    limit: usize,
    state: Mutex<QueueState<T>>,
    /// Notified when an entry is added or written, and when the queue is closed.
    changed: Condvar,
}

#[derive(Debug)]
struct QueueState<T> {
    /// The waiting entries, each with its size in bytes.
    entries: VecDeque<(T, usize)>,
    /// The sum of the sizes of `entries`.
    bytes: usize,
    is_writing: bool,
    is_closed: bool,
    dropped: u64,
    /// How many of the dropped entries were reported to the writer.
    reported: u64,
}

/// The next task of the thread that writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WriteTask<T> {
    /// The next entry, which the thread has to write.
    Write(T),
    /// All that was queued is written. Report that this many entries were dropped before.
    ReportDropped(u64),
}

impl<T> Clone for WriteQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> WriteQueue<T> {
    /// An empty queue in which up to `limit` bytes may wait. An empty queue accepts any entry,
    /// however large it is.
    pub(crate) fn new(limit: usize) -> Self {
        let state = QueueState {
            entries: VecDeque::new(),
            bytes: 0,
            is_writing: false,
            is_closed: false,
            dropped: 0,
            reported: 0,
        };
        Self(Arc::new(QueueInner {
            limit,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }))
    }

    /// Appends an entry of `size` bytes, or drops it if it does not fit. Returns whether it will be
    /// written.
    pub(crate) fn push(&self, entry: T, size: usize) -> bool {
        let mut state = self.lock();

        if state.is_closed {
            return false;
        }

        if !state.entries.is_empty() && state.bytes + size > self.0.limit {
            state.dropped += 1;
            return false;
        }

        state.append(entry, size);
        self.0.changed.notify_all();
        true
    }

    /// Appends an entry and removes the waiting entries that it replaces. Such an entry counts as
    /// zero bytes and is never dropped, even if the queue is closed. So the caller must have few
    /// kinds of such entries, and each entry must replace the waiting one of its kind.
    pub(crate) fn replace(&self, entry: T, is_replaced: impl Fn(&T) -> bool) {
        let mut state = self.lock();

        state.entries.retain(|(waiting, _)| !is_replaced(waiting));
        state.append(entry, 0);
        self.0.changed.notify_all();
    }

    /// How many entries have been dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until all entries are written, but no longer than `timeout`.
    pub(crate) fn flush(&self, timeout: Duration) {
        let state = self.lock();

        // After a timeout the remaining entries are not waited for.
        let _ = self.0.changed.wait_timeout_while(state, timeout, |state| {
            state.is_writing || !state.entries.is_empty()
        });
    }

    /// Makes [`push`](Self::push) refuse further entries. The waiting entries are still written.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.0.changed.notify_all();
    }

    /// Whether the queue refuses further entries.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// For the thread that writes: closes the queue and discards the waiting entries, because they
    /// cannot be written any more.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();

        state.is_closed = true;
        state.is_writing = false;
        state.entries.clear();
        state.bytes = 0;
        self.0.changed.notify_all();
    }

    /// For the thread that writes: waits for the next task. `None` once the queue is closed and
    /// empty.
    pub(crate) fn next_task(&self) -> Option<WriteTask<T>> {
        let mut state = self.lock();

        state.is_writing = false;
        self.0.changed.notify_all();

        loop {
            if let Some((entry, size)) = state.entries.pop_front() {
                state.bytes -= size;
                state.is_writing = true;
                return Some(WriteTask::Write(entry));
            }

            if state.reported < state.dropped {
                let dropped = state.dropped - state.reported;
                state.reported = state.dropped;
                return Some(WriteTask::ReportDropped(dropped));
            }

            if state.is_closed {
                return None;
            }

            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// For the thread that writes: waits until there is a task, or the queue is closed, but no
    /// longer than `limit`. Returns whether `next_task` would not wait.
    pub(crate) fn wait_for_task(&self, limit: Duration) -> bool {
        let mut state = self.lock();
        state.is_writing = false;
        self.0.changed.notify_all();

        let is_idle = |state: &mut QueueState<T>| {
            state.entries.is_empty() && state.reported == state.dropped && !state.is_closed
        };
        let (_state, result) = self
            .0
            .changed
            .wait_timeout_while(state, limit, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, QueueState<T>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> QueueState<T> {
    fn append(&mut self, entry: T, size: usize) {
        self.bytes += size;
        self.entries.push_back((entry, size));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn dropped_entries_are_counted_and_reported_once_the_queue_is_empty() {
        let queue = WriteQueue::new(10);
        let pushed = [1, 2, 3, 4].map(|entry| queue.push(entry, 5));
        assert_eq!(pushed, [true, true, false, false]);
        assert_eq!(queue.dropped(), 2);

        let tasks = [(); 3].map(|()| queue.next_task().unwrap());
        assert_eq!(tasks, [WriteTask::Write(1), WriteTask::Write(2), WriteTask::ReportDropped(2)]);

        assert!(queue.push(5, 5), "the queue has space again");
        assert_eq!(queue.next_task(), Some(WriteTask::Write(5)));
    }

    #[test]
    fn an_entry_larger_than_the_limit_fits_into_an_empty_queue() {
        let queue = WriteQueue::new(10);
        assert!(queue.push("large", 100));
        assert!(!queue.push("small", 1));
    }

    #[test]
    fn an_entry_replaces_the_waiting_entries_of_its_kind() {
        let queue = WriteQueue::new(10);
        for entry in ["status: 1", "ready", "status: 2"] {
            queue.replace(entry, |waiting| waiting.starts_with(&entry[..5]));
        }
        queue.close();

        let tasks: Vec<_> = std::iter::from_fn(|| queue.next_task()).collect();
        assert_eq!(tasks, [WriteTask::Write("ready"), WriteTask::Write("status: 2")]);
    }

    #[test]
    fn flushing_waits_for_the_entry_that_is_being_written() {
        let queue = WriteQueue::new(10);
        queue.push((), 1);
        assert_eq!(queue.next_task(), Some(WriteTask::Write(())));

        let writer = queue.clone();
        let start = Instant::now();
        queue.flush(Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(20), "the entry is not written yet");

        let writing = thread::spawn(move || writer.next_task());
        queue.flush(Duration::from_secs(60));
        assert!(start.elapsed() < Duration::from_secs(60));

        queue.close();
        assert_eq!(writing.join().unwrap(), None);
    }
}
