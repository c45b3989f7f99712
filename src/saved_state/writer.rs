//! Writes what has changed to the file, in a thread of its own.
//!
//! It does not know what a change means.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tracing::{error, info, warn};

use super::changes::StateChanges;
use super::contents::SavedState;
use super::live::{LiveRecords, for_each_at};
use super::record::{FORMAT_VERSION, StateRecord};
use crate::append_log::{LogFile, put_record};

/// The file, and the one that is locked by the program that writes it.
const FILE: &str = "state";
const LOCK: &str = "state.lock";
/// The time from one write to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// The same after a write that failed.
const RETRY: Duration = Duration::from_secs(5);
/// A file that is smaller is not written anew.
const MIN_COMPACTED_BYTES: u64 = 1 << 20;

/// Passes changes on to the thread that writes them. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct StateWriter(Arc<WriterInner>);

#[derive(Debug)]
struct WriterInner {
    queue: Mutex<Queue>,
    /// Notified when something is to be written, or was written.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: StateChanges,
    is_writing: bool,
    /// Whether to write at once, and how often a write has ended since.
    is_urgent: bool,
    attempts: u64,
}

impl StateWriter {
    pub(super) fn new() -> Self {
        let inner = WriterInner { queue: Mutex::default(), changed: Condvar::new() };
        Self(Arc::new(inner))
    }

    /// Adds changes to those that wait to be written. It never waits for the disk.
    pub(crate) fn save(&self, changes: StateChanges) {
        self.lock().waiting.merge(changes);
        self.0.changed.notify_all();
    }

    /// Writes what waits now, once, and waits for that, but no longer than `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        let mut queue = self.lock();
        queue.is_urgent = true;
        self.0.changed.notify_all();

        // After a timeout, or if the disk is full, the rest is lost.
        let attempts = queue.attempts + u64::from(queue.is_writing);
        let _ = self.0.changed.wait_timeout_while(queue, limit, |queue| {
            let is_tried = queue.attempts > attempts;
            queue.is_writing || !(queue.waiting.is_empty() || is_tried)
        });
    }

    /// For the thread: waits until there is something to write, and `earliest` is over.
    fn next_changes(&self, earliest: Instant) -> StateChanges {
        let mut queue = self.lock();

        loop {
            let wait = earliest.saturating_duration_since(Instant::now());
            let is_due = wait.is_zero() || queue.is_urgent;
            if !queue.waiting.is_empty() && is_due {
                queue.is_writing = true;
                return std::mem::take(&mut queue.waiting);
            }

            let changed = &self.0.changed;
            queue = if queue.waiting.is_empty() {
                changed.wait(queue).unwrap_or_else(PoisonError::into_inner)
            } else {
                let (queue, _) = changed
                    .wait_timeout(queue, wait)
                    .unwrap_or_else(PoisonError::into_inner);
                queue
            };
        }
    }

    /// For the thread: what became of the changes. Those that were not written wait again.
    fn finish(&self, unwritten: Option<StateChanges>) {
        let mut queue = self.lock();

        if let Some(mut unwritten) = unwritten {
            let later = std::mem::take(&mut queue.waiting);
            if !later.is_empty() {
                unwritten.merge(later);
            }
            queue.waiting = unwritten;
        }
        queue.is_writing = false;
        queue.attempts += 1;
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file that is written.
pub(super) struct StateFile {
    path: PathBuf,
    file: LogFile,
    /// Locked as long as this program writes the file.
    _lock: File,
    /// All that changed after this revision of the run is in the file.
    complete_since: u64,
    /// At this size the file is written anew.
    compact_at: u64,
    /// Whether the last write failed.
    is_failing: bool,
}

impl StateFile {
    /// Opens the file in a directory, and reads it. What is damaged is cut off.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, SavedState)> {
        let lock = lock(directory)?;
        let path = directory.join(FILE);
        let mut file = LogFile::open(directory, FILE)?;

        let live = read(&file, &path)?;
        let (saved, end) = match live {
            Some(mut live) => {
                live.trim();
                (SavedState::read(file.read()?, &live)?, live.end)
            }
            None => (SavedState::default(), 0),
        };
        file.cut(end);

        let file = Self {
            path,
            _lock: lock,
            complete_since: 0,
            compact_at: MIN_COMPACTED_BYTES.max(file.bytes()),
            file,
            is_failing: false,
        };
        Ok((file, saved))
    }

    /// Writes until the program ends.
    pub(super) fn run(mut self, writer: &StateWriter) {
        let mut earliest = Instant::now();
        loop {
            let changes = writer.next_changes(earliest);
            let begun = Instant::now();

            match self.write(&changes) {
                Ok(()) => {
                    if std::mem::take(&mut self.is_failing) {
                        info!("the state is saved in {} again", self.path.display());
                    }
                    earliest = begun + INTERVAL;
                    writer.finish(None);
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.is_failing, true) {
                        error!(
                            "the state cannot be saved in {}, and is lost if the program ends: \
                             {error}",
                            self.path.display()
                        );
                    }
                    earliest = begun + RETRY;
                    writer.finish(Some(changes));
                }
            }
        }
    }

    /// Writes changes, and waits until they are on disk.
    pub(super) fn write(&mut self, changes: &StateChanges) -> io::Result<()> {
        let complete_since = changes.complete_since.unwrap_or(self.complete_since);
        if changes.start.as_ref().is_some_and(|start| start.discards) {
            self.file.replace(|_| Ok(()))?;
        }

        let mut log = String::new();
        if self.file.bytes() == 0 {
            put_record(&mut log, &StateRecord::Format(FORMAT_VERSION).json());
        }
        for record in changes.records(complete_since) {
            put_record(&mut log, &record.json());
        }
        self.file.append(log.as_bytes())?;
        self.complete_since = complete_since;

        if self.file.bytes() >= self.compact_at {
            self.compact();
        }
        Ok(())
    }

    /// As after a write that failed.
    #[cfg(test)]
    pub(super) fn mark_torn(&mut self) {
        self.file.mark_torn();
    }

    /// Writes the file anew without the records that are not needed any more. If that fails, as on
    /// a disk that is almost full, the file stays as it is, and is tried again when it has grown.
    fn compact(&mut self) {
        let compacted = compacted(&self.file);
        let result = compacted.and_then(|(live, offsets)| {
            let source = self.file.read()?;
            self.file.replace(|target| {
                let mut line = String::new();
                put_record(&mut line, &StateRecord::Format(FORMAT_VERSION).json());
                target.write_all(line.as_bytes())?;

                for_each_at(source, &offsets, |_, body| {
                    line.clear();
                    put_record(&mut line, body);
                    target.write_all(line.as_bytes())
                })?;

                line.clear();
                put_record(&mut line, &StateRecord::Commit(live.commit).json());
                target.write_all(line.as_bytes())
            })?;
            self.complete_since = live.commit.complete_since;
            Ok(())
        });

        if let Err(error) = result {
            warn!("{} is larger than it has to be: {error}", self.path.display());
        }
        self.compact_at = MIN_COMPACTED_BYTES.max(self.file.bytes() * 2);
    }
}

/// The records that are still needed, and where they are.
fn compacted(file: &LogFile) -> io::Result<(LiveRecords, Vec<u64>)> {
    let mut live = LiveRecords::read(file.read()?, file.bytes())?;
    live.trim();
    let offsets = live.offsets();
    Ok((live, offsets))
}

/// Reads a file, and says what is not used of it. `None`: nothing is.
fn read(file: &LogFile, path: &Path) -> io::Result<Option<LiveRecords>> {
    let live = LiveRecords::read(file.read()?, file.bytes())?;

    if live.is_of_later_format {
        warn!(
            "{} was written by a later version of this program; it is moved aside, and the state \
             of the cluster begins anew",
            path.display()
        );
        fs::copy(path, path.with_extension("later"))?;
        return Ok(None);
    }
    if live.dropped > 0 {
        let what = if live.is_damaged { "damaged" } else { "incomplete" };
        warn!(
            "{}: the last {} of {} bytes are {what} and left out",
            path.display(),
            live.dropped,
            file.bytes()
        );
    }
    Ok(Some(live))
}

/// Locks a directory, so that two programs do not write the same file.
fn lock(directory: &Path) -> io::Result<File> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(directory.join(LOCK))?;

    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        // Some file systems have no locks.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOLCK) => Ok(lock),
        Err(Errno::WOULDBLOCK) => {
            Err(io::Error::other("another fleet-monitor uses it; each needs one of its own"))
        }
        Err(error) => Err(error.into()),
    }
}
