//! The events that wait to be delivered: a bounded queue, on disk if there is a directory for it.
//!
//! It does not know what an event means, nor who gets it.
//!
//! Pushing never waits: a thread writes to the disk. So a process that is killed right after a push
//! may lose the event, and one that ends properly loses none.

mod disk;
mod records;
mod waiting;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tracing::{info, warn};

use disk::{DiskQueue, DiskTask};
use records::Recovered;
use waiting::WaitingEvents;

/// The first directory of systemd's `$STATE_DIRECTORY` (`systemd.exec(5)`), which has several
/// separated by colons.
pub fn state_directory(value: Option<&OsStr>) -> Option<PathBuf> {
    let first = value?.as_bytes().split(|byte| *byte == b':').next()?;
    (!first.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(first)))
}

/// Events in the order in which they were pushed. At most 10,000 of them, and 16 MiB, wait; beyond
/// that the oldest are dropped.
#[derive(Debug)]
pub(super) struct EventQueue {
    /// Identifies the queue, unlike any other, also after a restart.
    id: u64,
    waiting: Mutex<WaitingEvents>,
    pushed: Notify,
    /// `None`: the events are in memory only.
    disk: Option<DiskQueue>,
}

/// Events that are sent together.
#[derive(Debug)]
pub(super) struct EventBatch {
    /// Identifies the events: the same when they are sent again, also after a restart.
    pub(super) delivery_id: String,
    /// Each as JSON.
    pub(super) events: Vec<Arc<str>>,
    /// The number of the last event.
    last: u64,
}

impl EventQueue {
    /// A queue with the events in this directory. If it cannot be used, the log says why, and the
    /// queue is in memory.
    pub(super) async fn open(directory: Option<&Path>) -> Self {
        let Some(directory) = directory else {
            info!(
                "events for the webhook that wait are lost when this process ends: there is no \
                 $STATE_DIRECTORY (StateDirectory= of systemd)"
            );
            return Self::new(Recovered::default(), None);
        };

        match DiskQueue::open(directory).await {
            Ok((disk, recovered)) => {
                if !recovered.waiting.is_empty() {
                    info!("{} events for the webhook are left", recovered.waiting.len());
                }
                Self::new(recovered, Some(disk))
            }
            Err(error) => {
                warn!(
                    "events for the webhook that wait are lost when this process ends: \
                     $STATE_DIRECTORY {} cannot be used: {error}",
                    directory.display()
                );
                Self::new(Recovered::default(), None)
            }
        }
    }

    fn new(recovered: Recovered, disk: Option<DiskQueue>) -> Self {
        let Recovered { id, mut waiting, .. } = recovered;

        // After a power failure the disk may not know the last numbers that were used.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        waiting.skip_to(since_1970.as_millis().try_into().unwrap_or(0));

        Self {
            id,
            waiting: Mutex::new(waiting),
            pushed: Notify::new(),
            disk,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Appends events. Returns how many of the oldest were dropped to make room.
    pub(super) fn push(&self, events: Vec<String>) -> usize {
        if events.is_empty() {
            return 0;
        }

        // The lock is kept until the disk has its tasks, so that it gets them in order.
        let mut waiting = self.lock();
        let pushed = events.into_iter().map(|event| waiting.push(event.into())).collect();
        self.write(DiskTask::Append(pushed));

        let dropped = waiting.drop_oldest();
        if let Some(last) = dropped.last {
            self.write(DiskTask::Remove(last));
        }
        self.pushed.notify_one();
        dropped.count
    }

    /// Waits for the next events to send. They stay in the queue.
    pub(super) async fn next_batch(&self) -> EventBatch {
        loop {
            if let Some(batch) = self.batch() {
                return batch;
            }
            self.pushed.notified().await;
        }
    }

    fn batch(&self) -> Option<EventBatch> {
        let mut waiting = self.lock();
        let is_new = waiting.begin_batch();
        let events = waiting.batch();
        let first = events.first()?.number;
        let last = events.last()?.number;

        if is_new {
            self.write(DiskTask::BeginBatch(last));
        }
        Some(EventBatch {
            delivery_id: format!("{:016x}-{first}-{last}", self.id),
            events: events.into_iter().map(|event| event.json).collect(),
            last,
        })
    }

    /// Removes events that were delivered.
    pub(super) fn remove(&self, batch: &EventBatch) {
        let mut waiting = self.lock();
        waiting.remove_through(batch.last);
        self.write(DiskTask::Remove(batch.last));
    }

    /// Waits until everything is on disk, but no longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        if let Some(disk) = &self.disk {
            disk.flush(limit);
        }
    }

    fn write(&self, task: DiskTask) {
        if let Some(disk) = &self.disk {
            disk.push(task);
        }
    }

    fn lock(&self) -> MutexGuard<'_, WaitingEvents> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn a_delivery_that_the_disk_has_forgotten_does_not_get_its_id_again() {
        let directory = TempDir::new().unwrap();
        let queue = EventQueue::open(Some(directory.path())).await;
        let empty = std::fs::read(directory.path().join("webhook-queue")).unwrap();
        queue.push(vec!["{}".to_owned()]);
        let first = queue.next_batch().await.delivery_id;
        queue.flush(Duration::from_secs(60));
        drop(queue);
        std::fs::write(directory.path().join("webhook-queue"), empty).unwrap();

        // As long as a restart takes at least.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let queue = EventQueue::open(Some(directory.path())).await;
        assert_eq!(queue.len(), 0);
        queue.push(vec!["{}".to_owned()]);

        assert_ne!(queue.next_batch().await.delivery_id, first);
    }

    #[test]
    fn the_state_directory_is_the_first_of_systemd() {
        let directory = |value: &str| state_directory(Some(value.as_ref()));
        assert_eq!(directory("/var/lib/a"), Some("/var/lib/a".into()));
        assert_eq!(directory("/var/lib/a:/var/lib/b"), Some("/var/lib/a".into()));
        assert_eq!(directory(""), None);
        assert_eq!(state_directory(None), None);
    }
}
