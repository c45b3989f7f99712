//! Keeps a queue on disk: a thread appends to its file, and writes it anew when most of it has been
//! delivered.
//!
//! It does not know what an event means. The disk may hang or be full: the caller never waits for
//! it, and the events are in memory as well.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{error, info, warn};

use super::records::{self, Recovered};
use super::waiting::{QueuedEvent, WaitingEvents};
use crate::append_log::{LogFile, open_in_thread};
use crate::write_queue::{WriteQueue, WriteTask};

/// The name of the file.
const FILE: &str = "webhook-queue";
/// How many bytes may wait to be written.
const QUEUE_LIMIT: usize = 16 << 20;
/// How many bytes of a file are read: more than it ever has.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// A file that is smaller is not written anew.
const MIN_COMPACTED_BYTES: u64 = 64 << 10;
/// The most bytes that a line has besides the event in it.
const LINE_BYTES: usize = 64;
/// How often a write that failed is tried again although nothing else is to be written.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// How long the caller waits until the file is read.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// What is to be written.
#[derive(Debug)]
pub(super) enum DiskTask {
    /// Events were pushed.
    Append(Vec<QueuedEvent>),
    /// A batch that ends with this event is about to be sent.
    BeginBatch(u64),
    /// All events up to this one were delivered or dropped.
    Remove(u64),
    /// Write what could not be written before, if there is such a thing.
    Retry,
}

/// Passes on what is to be written.
#[derive(Debug)]
pub(super) struct DiskQueue {
    tasks: WriteQueue<DiskTask>,
}

impl DiskQueue {
    /// Reads what is left in a directory, and writes there from now on.
    pub(super) async fn open(directory: &Path) -> io::Result<(Self, Recovered)> {
        let queue = Self { tasks: WriteQueue::new(QUEUE_LIMIT) };
        let tasks = queue.tasks.clone();
        let path = directory.to_owned();

        let open = move || DiskWriter::open(path);
        let run = move |writer: DiskWriter| writer.run(&tasks);
        let recovered = open_in_thread("webhook-queue", OPEN_TIMEOUT, open, run).await?;
        Ok((queue, recovered))
    }

    /// Passes on a task. It never waits.
    pub(super) fn push(&self, task: DiskTask) {
        match task {
            DiskTask::Append(events) => {
                let size = events.iter().map(|event| event.json.len()).sum();
                self.tasks.push(DiskTask::Append(events), size);
            }
            // A later task of the same kind contains the earlier one.
            DiskTask::Remove(_) => {
                self.tasks
                    .replace(task, |waiting| matches!(waiting, DiskTask::Remove(_)));
            }
            DiskTask::BeginBatch(_) => {
                self.tasks
                    .replace(task, |waiting| matches!(waiting, DiskTask::BeginBatch(_)));
            }
            DiskTask::Retry => {
                self.tasks.replace(task, |waiting| matches!(waiting, DiskTask::Retry));
            }
        }
    }

    /// Waits until everything is written, but no longer than `limit`. What could not be written
    /// before is tried again: there may be room by now.
    pub(super) fn flush(&self, limit: Duration) {
        self.push(DiskTask::Retry);
        self.tasks.flush(limit);
    }
}

impl Drop for DiskQueue {
    fn drop(&mut self) {
        self.tasks.close();
    }
}

/// The thread that writes.
struct DiskWriter {
    directory: PathBuf,
    id: u64,
    /// What is in the file, or should be.
    waiting: WaitingEvents,
    file: LogFile,
    /// Whether the last write failed.
    is_failing: bool,
}

impl DiskWriter {
    /// Reads the file, and writes it anew, so that it ends with a whole line.
    fn open(directory: PathBuf) -> io::Result<(Self, Recovered)> {
        let file = LogFile::open(&directory, FILE)?;
        let recovered = records::decode(file.read()?.take(MAX_FILE_BYTES))?;
        if recovered.damaged > 0 {
            warn!(
                "{}: {} damaged lines are left out",
                directory.join(FILE).display(),
                recovered.damaged
            );
        }

        let mut writer = Self {
            directory,
            id: recovered.id,
            waiting: recovered.waiting.clone(),
            file,
            is_failing: false,
        };
        writer.write_anew()?;
        Ok((writer, recovered))
    }

    fn run(mut self, tasks: &WriteQueue<DiskTask>) {
        loop {
            if self.is_failing && !tasks.wait_for_task(RETRY_INTERVAL) {
                self.write(DiskTask::Retry);
                continue;
            }

            let Some(task) = tasks.next_task() else {
                return;
            };
            match task {
                WriteTask::Write(task) => self.write(task),
                WriteTask::ReportDropped(dropped) => warn!(
                    "{dropped} times events for the webhook were not written to {}, which is too \
                     slow",
                    self.directory.display()
                ),
            }
        }
    }

    fn write(&mut self, task: DiskTask) {
        if matches!(task, DiskTask::Retry) && !self.is_failing {
            return;
        }
        let lines = self.apply(task);

        let written = if self.is_failing || self.is_mostly_removed() {
            self.write_anew()
        } else {
            self.file.append(lines.as_bytes())
        };
        match written {
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                info!("events for the webhook are written to {} again", self.directory.display());
            }
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                error!(
                    "events for the webhook are in memory only, since they cannot be written to \
                     {}: {error}",
                    self.directory.display()
                );
            }
            _ => {}
        }
    }

    /// Applies a task to what should be in the file. Returns the lines to append for it.
    fn apply(&mut self, task: DiskTask) -> String {
        match task {
            DiskTask::Append(events) => {
                let lines = events.iter().map(records::event).collect();
                for event in events {
                    self.waiting.insert(event);
                }
                lines
            }
            DiskTask::BeginBatch(last) => {
                self.waiting.set_batch_end(last);
                records::batch(last)
            }
            DiskTask::Remove(last) => {
                self.waiting.remove_through(last);
                records::removal(last)
            }
            DiskTask::Retry => String::new(),
        }
    }

    fn is_mostly_removed(&self) -> bool {
        let needed = self.waiting.bytes() + self.waiting.len() * LINE_BYTES;
        self.file.bytes() >= MIN_COMPACTED_BYTES && (needed as u64) < self.file.bytes() / 2
    }

    /// Replaces the file by one with the events that wait.
    fn write_anew(&mut self) -> io::Result<()> {
        let contents = records::encode(self.id, &self.waiting);
        self.file.replace(|file| file.write_all(contents.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use tempfile::TempDir;

    use super::*;

    /// The file that is about to replace the other.
    const NEW_FILE: &str = "webhook-queue.new";

    fn open(directory: &TempDir) -> (DiskWriter, Recovered) {
        DiskWriter::open(directory.path().to_owned()).unwrap()
    }

    fn length(directory: &TempDir) -> u64 {
        fs::metadata(directory.path().join(FILE)).unwrap().len()
    }

    /// Events with these numbers, of a bit more than 1 KiB each.
    fn events(numbers: std::ops::RangeInclusive<u64>) -> DiskTask {
        let events = numbers.map(|number| QueuedEvent {
            number,
            json: format!(r#"{{"text":"{}"}}"#, "x".repeat(1024)).into(),
        });
        DiskTask::Append(events.collect())
    }

    fn numbers(recovered: &Recovered) -> Vec<u64> {
        recovered.waiting.iter().map(|event| event.number).collect()
    }

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let directory = TempDir::new().unwrap();
        let (mut writer, recovered) = open(&directory);
        let id = recovered.id;
        assert!(recovered.waiting.is_empty());
        writer.write(events(1..=3));
        writer.write(DiskTask::BeginBatch(2));
        writer.write(DiskTask::Remove(1));

        let (_, recovered) = open(&directory);

        assert_eq!(numbers(&recovered), [2, 3]);
        assert_eq!((recovered.id, recovered.waiting.batch_end()), (id, 2));
    }

    #[test]
    fn the_file_is_written_anew_when_most_of_it_was_delivered() {
        let directory = TempDir::new().unwrap();
        let (mut writer, _) = open(&directory);
        for last in (100..=2_000).step_by(100) {
            writer.write(events(last - 99..=last));
            writer.write(DiskTask::Remove(last - 1));
            assert!(length(&directory) < 4 * MIN_COMPACTED_BYTES, "{last}");
        }

        // Not for as long as events are waiting.
        writer.write(events(2_001..=2_500));
        assert!(length(&directory) > 500 << 10);

        let (_, recovered) = open(&directory);
        assert_eq!(numbers(&recovered), (2_000..=2_500).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_was_cut_off_is_repaired() {
        let directory = TempDir::new().unwrap();
        let (mut writer, _) = open(&directory);
        writer.write(events(1..=2));
        let length = length(&directory);
        let file = OpenOptions::new()
            .write(true)
            .open(directory.path().join(FILE))
            .unwrap();
        file.set_len(length - 10).unwrap();

        let (mut writer, recovered) = open(&directory);
        assert_eq!((numbers(&recovered), recovered.damaged), (vec![1], 1));
        writer.write(events(2..=3));

        let (_, recovered) = open(&directory);
        assert_eq!((numbers(&recovered), recovered.damaged), (vec![1, 2, 3], 0));
    }

    #[test]
    fn after_an_error_everything_is_written_as_soon_as_that_is_possible() {
        let directory = TempDir::new().unwrap();
        let (mut writer, _) = open(&directory);
        let obstacle = directory.path().join(NEW_FILE);
        fs::create_dir(&obstacle).unwrap();
        writer.write(events(1..=100));
        writer.write(DiskTask::Remove(99));
        assert!(writer.is_failing, "the file cannot be written anew");
        writer.write(events(101..=101));
        assert!(writer.is_failing);

        fs::remove_dir(&obstacle).unwrap();
        writer.write(events(102..=102));
        assert!(!writer.is_failing);

        let (_, recovered) = open(&directory);
        assert_eq!(numbers(&recovered), [100, 101, 102]);
    }

    #[tokio::test]
    async fn a_flush_writes_what_could_not_be_written_before() {
        let directory = TempDir::new().unwrap();
        let (queue, _) = DiskQueue::open(directory.path()).await.unwrap();
        let obstacle = directory.path().join(NEW_FILE);
        fs::create_dir(&obstacle).unwrap();
        // The removal makes the queue write its file anew.
        queue.push(events(1..=100));
        queue.push(DiskTask::Remove(99));
        queue.push(events(101..=101));
        queue.flush(Duration::from_secs(60));
        let recovered = records::decode(&*fs::read(directory.path().join(FILE)).unwrap()).unwrap();
        assert!(!numbers(&recovered).contains(&101), "the file cannot be written anew");

        fs::remove_dir(&obstacle).unwrap();
        queue.flush(Duration::from_secs(60));

        let (_, recovered) = open(&directory);
        assert_eq!(numbers(&recovered), [100, 101]);
    }

    #[test]
    fn others_cannot_read_the_file() {
        use std::os::unix::fs::PermissionsExt;

        let directory = TempDir::new().unwrap();
        let _ = open(&directory);
        let metadata = fs::metadata(directory.path().join(FILE)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
}
