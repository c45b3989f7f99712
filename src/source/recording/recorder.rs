//! Records reports, through a bounded queue.
//!
//! It must not know the format of the file. A thread encodes, compresses and writes the queued
//! reports, because that takes time, and because the disk may hang.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::warn;

use super::writer::{self, RecordingRules, RecordingTask, RecordingWriter, WriterRequests};
use crate::cluster::{Reading, Text};
use crate::source::{SourceError, SourceReport};
use crate::write_queue::WriteQueue;

/// How many bytes of reports may be queued: many lists of a large cluster.
const QUEUE_LIMIT: usize = 16 * 1024 * 1024;

/// About how many bytes a row takes in the queue.
const BYTES_PER_ROW: usize = 200;

/// How long the caller waits until the file is open. After that the program goes on, and the thread
/// still tries to open it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// Appends readings to a file.
#[derive(Debug)]
pub(crate) struct Recorder {
    path: PathBuf,
    rules: RecordingRules,
    queue: WriteQueue<RecordingTask>,
    requests: Arc<WriterRequests>,
    /// Whether anything was queued yet.
    has_begun: bool,
    /// Whether a report was dropped since the last whole registry was queued. Changes must not be
    /// written after such a gap.
    has_gap: bool,
}

impl Recorder {
    /// Opens a file to append to, and creates it if it does not exist.
    pub(crate) async fn open(path: &Path, rules: RecordingRules) -> io::Result<Self> {
        let queue = WriteQueue::new(QUEUE_LIMIT);
        let requests = Arc::new(WriterRequests::default());

        let (opened_sender, opened) = oneshot::channel();
        let writer = RecordingWriter::new(path, rules, queue.clone(), requests.clone());
        thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || writer.run(opened_sender))?;

        match timeout(OPEN_TIMEOUT, opened).await {
            Ok(result) => {
                result.unwrap_or_else(|_| Err(io::Error::other("its thread has ended")))?;
            }
            Err(_) => warn!(
                "the recording {} is not open after {OPEN_TIMEOUT:?}: \
                 its disk hangs, or it is a pipe that nobody reads",
                path.display()
            ),
        }

        Ok(Self {
            path: path.to_owned(),
            rules,
            queue,
            requests,
            has_begun: false,
            has_gap: false,
        })
    }

    /// Checks whether [`open`](Self::open) would succeed, without creating or changing anything.
    pub(crate) async fn check(path: &Path) -> io::Result<()> {
        let path = path.to_owned();

        match timeout(OPEN_TIMEOUT, spawn_blocking(move || writer::check_open(&path))).await {
            Ok(result) => result.unwrap_or_else(|error| Err(io::Error::other(error))),
            // The program would go on too.
            Err(_) => Ok(()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Goes on with other rules.
    pub(crate) fn set_rules(&mut self, rules: RecordingRules) {
        if self.rules == rules {
            return;
        }

        self.rules = rules;
        let sets_rules = |task: &RecordingTask| matches!(task, RecordingTask::SetRules(_));
        self.queue.replace(RecordingTask::SetRules(rules), sets_rules);
    }

    /// Completes the file, and waits until all of it is written, or until `timeout` is over.
    pub(crate) fn complete(&self, timeout: Duration) {
        let is_complete = |task: &RecordingTask| matches!(task, RecordingTask::Complete);
        self.queue.replace(RecordingTask::Complete, is_complete);
        self.queue.flush(timeout);
    }

    /// Waits until all queued reports are written.
    #[cfg(test)]
    pub(super) fn flush(&self, timeout: Duration) {
        self.queue.flush(timeout);
    }

    /// Appends a report of the source with this name.
    ///
    /// Returns false if the report was dropped because the disk is too slow. Then the source has to
    /// deliver a whole registry next, if it watches one: changes refer to what was recorded before
    /// them. So they are ignored as long as nothing else was recorded, and dropped after a gap.
    pub(crate) fn write(&mut self, report: &SourceReport, source: &Text) -> bool {
        let is_change = matches!(report.outcome, Ok(Reading::Changes { .. }));
        if is_change && self.has_gap {
            return false;
        }
        if is_change && !self.has_begun {
            return true;
        }

        let task = RecordingTask::Report(Box::new(copy_of(report)), source.clone());
        let is_queued = self.queue.push(task, size_of(report)) || self.queue.is_closed();

        self.has_begun = true;
        if !is_queued {
            self.has_gap = true;
        } else if matches!(report.outcome, Ok(Reading::Registry(_))) {
            self.has_gap = false;
        }
        is_queued
    }

    /// The reports that follow are of another cluster, or of one that was restored.
    pub(crate) fn begin_new_run(&mut self) {
        // It is never dropped, and there are few.
        self.queue.replace(RecordingTask::NewRun, |_| false);
        self.has_begun = false;
    }

    /// Whether the next report has to be a whole registry. Asked once, it is forgotten.
    pub(crate) fn takes_snapshot(&self) -> bool {
        self.requests.wants_snapshot.swap(false, Ordering::Relaxed)
    }

    /// How many reports could not be written since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.requests.dropped.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn copy_of(report: &SourceReport) -> SourceReport {
    SourceReport {
        lists: report.lists,
        at: report.at,
        took: report.took,
        schedule: report.schedule,
        outcome: match &report.outcome {
            Ok(reading) => Ok(reading.clone()),
            Err(error) => Err(SourceError::Recorded(error.to_string())),
        },
    }
}

/// About how many bytes a report takes in the queue.
fn size_of(report: &SourceReport) -> usize {
    let rows = match &report.outcome {
        Ok(Reading::Units { states, files }) => states.len() + files.as_ref().map_or(0, Vec::len),
        Ok(Reading::Machines { machines }) => machines.len(),
        Ok(Reading::UnitFiles { files }) => files.len(),
        Ok(Reading::Registry(registry)) => {
            registry.states.len() + registry.machines.len() + registry.files.len()
        }
        Ok(Reading::Changes { changes, .. }) => changes.len(),
        Err(_) => 1,
    };

    (rows + 1) * BYTES_PER_ROW
}
