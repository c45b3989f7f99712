//! Writes a recording to a file.
//!
//! It must not know who reads the recording. A thread writes the queued lines, because the disk may
//! hang.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{Access, OFlags, access};
use rustix::io::Errno;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{error, warn};

use super::{FORMAT_VERSION, RecordedTopic, RecordingLine};
use crate::cluster::{Moment, Reading, RegistrySnapshot, Text};
use crate::source::SourceReport;
use crate::write_queue::{WriteQueue, WriteTask};

/// How many bytes of a recording may be queued: many lists of a large cluster.
const QUEUE_LIMIT: usize = 16 * 1024 * 1024;

/// How long the caller waits until the file is open. After that the program goes on, and the thread
/// still tries to open it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// Appends readings to a file, through a bounded queue.
#[derive(Debug)]
pub(crate) struct Recorder {
    lines: WriteQueue<Vec<u8>>,
    /// When the recording began; `None` until the first poll.
    start: Option<Moment>,
    /// The last reading of each [`RecordedTopic`] that was written, to which later lines refer.
    previous: [Option<Reading>; 5],
    /// Whether a report was dropped since the last whole registry was written. Changes must not be
    /// written after such a gap.
    has_gap: bool,
}

impl Recorder {
    /// Opens a file to append to, and creates it if it does not exist.
    pub(crate) async fn open(path: &Path) -> io::Result<Self> {
        let lines = WriteQueue::new(QUEUE_LIMIT);

        let (opened_sender, opened) = oneshot::channel();
        let writer = RecordingWriter { path: path.to_owned(), lines: lines.clone() };
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
            lines,
            start: None,
            previous: [const { None }; 5],
            has_gap: false,
        })
    }

    /// Checks whether [`open`](Self::open) would succeed, without creating or changing anything.
    pub(crate) async fn check(path: &Path) -> io::Result<()> {
        let path = path.to_owned();

        match timeout(OPEN_TIMEOUT, spawn_blocking(move || check_open(&path))).await {
            Ok(result) => result.unwrap_or_else(|error| Err(io::Error::other(error))),
            // The program would go on too.
            Err(_) => Ok(()),
        }
    }

    /// Waits until all queued lines are written, or until `timeout` is over.
    pub(crate) fn flush(&self, timeout: Duration) {
        self.lines.flush(timeout);
    }

    /// Appends a poll. `source` is the name that the first line of the recording gets.
    ///
    /// Returns false if the poll was dropped because the disk is too slow. After a write error the
    /// recording ends: further polls are ignored and do not count as dropped.
    ///
    /// Changes refer to a whole registry that was recorded before them. So changes are ignored as
    /// long as nothing else was recorded, and dropped after a gap until the next whole registry.
    pub(crate) fn write(&mut self, report: &SourceReport, source: &Text) -> bool {
        let is_change = matches!(report.outcome, Ok(Reading::Changes { .. }));
        if is_change && self.has_gap {
            return false;
        }
        if is_change && self.start.is_none() {
            return true;
        }

        let start = match self.start {
            Some(start) => start,
            None => self.begin(report, source),
        };
        let line = self.line(report, start);
        let is_queued = self.append(&line);

        if !is_queued {
            // The next lines must not refer to a line that is not in the file.
            self.previous = [const { None }; 5];
            self.has_gap = true;
        } else if matches!(report.outcome, Ok(Reading::Registry(_))) {
            self.has_gap = false;
        }
        is_queued
    }

    /// Appends the first line, and returns when the recording began.
    fn begin(&mut self, first_report: &SourceReport, source: &Text) -> Moment {
        self.append(&RecordingLine {
            recording: Some(FORMAT_VERSION),
            source: Some(source.clone()),
            ..RecordingLine::default()
        });

        // The recording begins when the first poll begins, not when its answer is complete.
        let first_answer = first_report.at;
        let start = Moment {
            instant: first_answer.instant - first_report.took,
            ..first_answer
        };
        *self.start.insert(start)
    }

    fn line(&mut self, report: &SourceReport, start: Moment) -> RecordingLine {
        let recorded_list = RecordedTopic::from_report(report);
        let mut line = RecordingLine {
            t: Some(rounded_seconds(report.at.since(start))),
            took: Some(rounded_seconds(report.took)),
            topic: Some(recorded_list),
            ..RecordingLine::default()
        };

        let previous = &mut self.previous[recorded_list as usize];
        match &report.outcome {
            Ok(Reading::Registry(registry)) => {
                let previous = match previous.replace(Reading::Registry(registry.clone())) {
                    Some(Reading::Registry(previous)) => Some(previous),
                    _ => None,
                };
                line.set_registry(registry, previous.as_ref());
            }
            Ok(Reading::Changes { index, changes }) => {
                line.index = Some(*index);
                line.changes.clone_from(changes);
            }
            Ok(reading) if previous.as_ref() == Some(reading) => line.same = true,
            Ok(reading) => {
                *previous = Some(reading.clone());
                line.set_rows(reading.clone());
            }
            Err(error) => line.error = Some(error.to_string()),
        }
        line
    }

    /// Returns false if the line does not fit into the queue.
    fn append(&mut self, line: &RecordingLine) -> bool {
        // This cannot fail: a line has no maps, and all its values can be written as JSON.
        let Ok(mut text) = serde_json::to_vec(line) else {
            return false;
        };
        text.push(b'\n');

        let size = text.len();
        self.lines.push(text, size) || self.lines.is_closed()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.lines.close();
    }
}

impl RecordingLine {
    fn set_rows(&mut self, reading: Reading) {
        match reading {
            Reading::Units { states, files } => {
                self.states = Some(states);
                self.files = files;
            }
            Reading::Machines { machines } => self.machines = Some(machines),
            Reading::UnitFiles { files } => self.files = Some(files),
            Reading::Registry(_) | Reading::Changes { .. } => {}
        }
    }

    /// Sets the lists that differ from the previous registry, and everything else.
    fn set_registry(&mut self, registry: &RegistrySnapshot, previous: Option<&RegistrySnapshot>) {
        let differs = |is_same: fn(&RegistrySnapshot, &RegistrySnapshot) -> bool| {
            !previous.is_some_and(|previous| is_same(previous, registry))
        };

        self.index = Some(registry.index);
        self.states = differs(|a, b| a.states == b.states).then(|| registry.states.to_vec());
        self.machines =
            differs(|a, b| a.machines == b.machines).then(|| registry.machines.to_vec());
        self.files = differs(|a, b| a.files == b.files).then(|| registry.files.to_vec());

        self.leader.clone_from(&registry.leader);
        self.expired.clone_from(&registry.expired);
        self.overdue = registry
            .overdue
            .iter()
            .map(|(lease, age)| (lease.clone(), rounded_seconds(*age)))
            .collect();
    }
}

/// Writes the queued lines to the file, in a thread of its own.
struct RecordingWriter {
    path: PathBuf,
    lines: WriteQueue<Vec<u8>>,
}

impl RecordingWriter {
    fn run(&self, opened: oneshot::Sender<io::Result<()>>) {
        let result = self.write_until_closed(opened);

        self.lines.abandon();
        if let Err(error) = result {
            error!(
                "the recording {} ends here, the program goes on without it: {error}",
                self.path.display()
            );
        }
    }

    fn write_until_closed(&self, opened: oneshot::Sender<io::Result<()>>) -> io::Result<()> {
        let mut file = match OpenOptions::new().create(true).append(true).open(&self.path) {
            Ok(file) => file,
            // If the caller does not wait for the result any more, this thread logs the error.
            Err(error) => return opened.send(Err(error)).or_else(|error| error),
        };
        let _ = opened.send(Ok(()));

        while let Some(task) = self.lines.next_task() {
            match task {
                WriteTask::Write(line) => file.write_all(&line)?,
                WriteTask::ReportDropped(polls) => {
                    warn!(
                        "the recording {} lacks {polls} polls: \
                         it could not be written for a while",
                        self.path.display()
                    );
                }
            }
        }
        Ok(())
    }
}

/// Whether the file can be appended to, or its directory allows to create it.
fn check_open(path: &Path) -> io::Result<()> {
    // Without this flag, a pipe that nobody reads would block.
    let non_blocking = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().append(true).custom_flags(non_blocking).open(path);

    match opened {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let directory = directory.unwrap_or(Path::new("."));
            Ok(access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error),
    }
}

/// Seconds, to the millisecond.
fn rounded_seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
