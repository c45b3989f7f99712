//! A bounded queue in front of something that may block: stderr, the journal, systemd, a disk.
//!
//! Whoever has something to write pushes it and never waits; a thread takes it from the queue and
//! may wait as long as it likes. What does not fit is dropped and counted. This module does not
//! know what is written, or where to.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A queue. Clones share it.
#[derive(Debug)]
pub(crate) struct WriteQueue<T>(Arc<QueueInner<T>>);

#[derive(Debug)]
struct QueueInner<T> {
    /// How many bytes may wait.
    limit: usize,
    state: Mutex<QueueState<T>>,
    /// Notified when an entry was pushed or written, or the queue was closed.
    changed: Condvar,
}

#[derive(Debug)]
struct QueueState<T> {
    /// With the size of each in bytes.
    entries: VecDeque<(T, usize)>,
    /// The sum of these sizes.
    bytes: usize,
    is_writing: bool,
    is_closed: bool,
    dropped: u64,
    /// How many of the dropped entries the writer has been told of.
    reported: u64,
}

/// What there is to do for the thread that writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WriteTask<T> {
    /// To write this.
    Write(T),
    /// To say that so many entries were dropped: all that was queued has been written now.
    ReportDropped(u64),
}

impl<T> Clone for WriteQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> WriteQueue<T> {
    /// An empty queue in which up to `limit` bytes may wait. One entry may always wait, however
    /// large it is.
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

    /// Appends an entry in place of those that it supersedes. Only for entries of few kinds, each
    /// of which supersedes its own: they are never dropped.
    pub(crate) fn supersede(&self, entry: T, supersedes: impl Fn(&T) -> bool) {
        let mut state = self.lock();

        state.entries.retain(|(waiting, _)| !supersedes(waiting));
        state.append(entry, 0);
        self.0.changed.notify_all();
    }

    /// How many entries have been dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until all that was pushed is written, but no longer than `patience`.
    pub(crate) fn flush(&self, patience: Duration) {
        let state = self.lock();

        // What is not written by then is not waited for.
        let _ = self.0.changed.wait_timeout_while(state, patience, |state| {
            state.is_writing || !state.entries.is_empty()
        });
    }

    /// Takes no more entries. Those that wait are still written.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.0.changed.notify_all();
    }

    /// Whether it takes no more entries.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// For the thread that writes: it will write no more. What waits is given up.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();

        state.is_closed = true;
        state.is_writing = false;
        state.entries.clear();
        state.bytes = 0;
        self.0.changed.notify_all();
    }

    /// For the thread that writes: waits for work. `None` once the queue is closed and empty.
    pub(crate) fn next(&self) -> Option<WriteTask<T>> {
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
    fn what_does_not_fit_is_counted_and_told_once_all_else_is_written() {
        let queue = WriteQueue::new(10);
        let pushed = [1, 2, 3, 4].map(|entry| queue.push(entry, 5));
        assert_eq!(pushed, [true, true, false, false]);
        assert_eq!(queue.dropped(), 2);

        let work = [(); 3].map(|()| queue.next().unwrap());
        assert_eq!(work, [WriteTask::Write(1), WriteTask::Write(2), WriteTask::ReportDropped(2)]);
        assert!(queue.push(5, 5), "there is room again");
        assert_eq!(queue.next(), Some(WriteTask::Write(5)));
    }

    #[test]
    fn an_entry_larger_than_the_limit_fits_into_an_empty_queue() {
        let queue = WriteQueue::new(10);
        assert!(queue.push("large", 100));
        assert!(!queue.push("small", 1));
    }

    #[test]
    fn an_entry_takes_the_place_of_those_that_it_supersedes() {
        let queue = WriteQueue::new(10);
        for entry in ["status: 1", "ready", "status: 2"] {
            queue.supersede(entry, |waiting| waiting.starts_with(&entry[..5]));
        }
        queue.close();
        let work: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(work, [WriteTask::Write("ready"), WriteTask::Write("status: 2")]);
    }

    #[test]
    fn flushing_waits_for_the_entry_that_is_being_written() {
        let queue = WriteQueue::new(10);
        queue.push((), 1);
        assert_eq!(queue.next(), Some(WriteTask::Write(())));

        let writer = queue.clone();
        let begun = Instant::now();
        queue.flush(Duration::from_millis(20));
        assert!(begun.elapsed() >= Duration::from_millis(20), "it is not written yet");

        let writing = thread::spawn(move || writer.next());
        queue.flush(Duration::from_secs(60));
        assert!(begun.elapsed() < Duration::from_secs(60));
        queue.close();
        assert_eq!(writing.join().unwrap(), None);
    }
}
