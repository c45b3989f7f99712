//! The thread that writes a recording: it divides it into chapters, and goes on after a failure.
//!
//! It must not know what is in a line, or who reads the recording.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Access, OFlags, access};
use rustix::io::Errno;
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::encoder::LineEncoder;
use super::file::RecordingFile;
use super::segments::{self, RecordKeep};
use crate::cluster::{Moment, Text};
use crate::source::SourceReport;
use crate::write_queue::{WriteQueue, WriteTask};

/// How long the writer waits for a whole registry until it requests one again.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(10);

/// When something is done besides writing reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordingRules {
    /// How much is kept; `None`: all of it, in one file.
    pub(crate) keep: Option<RecordKeep>,
    /// How long a chapter becomes. Who plays a recording from the middle begins with a chapter.
    pub(crate) chapter: Duration,
    /// How long the writer waits after a failure until it tries again.
    pub(crate) retry: Duration,
}

impl RecordingRules {
    /// The rules for a recording of which so much is kept.
    pub(crate) fn keeping(keep: Option<RecordKeep>) -> Self {
        let rules = Self::default();
        let part = keep.and_then(|keep| keep.part_age());
        let chapter = part.map_or(rules.chapter, |part| part.min(rules.chapter));
        Self { keep, chapter, ..rules }
    }
}

impl Default for RecordingRules {
    fn default() -> Self {
        Self {
            keep: None,
            chapter: Duration::from_secs(300),
            retry: Duration::from_secs(5),
        }
    }
}

/// What the thread has to do.
#[derive(Debug)]
pub(super) enum RecordingTask {
    /// Writes a report of the source with this name.
    Report(Box<SourceReport>, Text),
    /// All reports that follow are of another cluster.
    NewRun,
    /// Goes on with other rules.
    SetRules(RecordingRules),
    /// Completes the file.
    Complete,
}

/// What the thread has to say to the recorder.
#[derive(Debug, Default)]
pub(super) struct WriterRequests {
    /// It can only go on with a whole registry.
    pub(super) wants_snapshot: AtomicBool,
    /// How many reports it has dropped since the recorder last asked.
    pub(super) dropped: AtomicU64,
}

/// Writes the queued reports to a file, in a thread of its own.
pub(super) struct RecordingWriter {
    path: PathBuf,
    rules: RecordingRules,
    queue: WriteQueue<RecordingTask>,
    requests: Arc<WriterRequests>,
    encoder: LineEncoder,
    file: Option<RecordingFile>,
    /// When the first report was written to the file; `None` before it.
    file_begun: Option<Moment>,
    /// The chapter that is being written; `None` before the first, and after a failure.
    chapter: Option<Chapter>,
    /// When a whole registry was last requested for a new chapter.
    requested_snapshot: Option<Instant>,
    outage: Option<Outage>,
}

/// A chapter that is being written.
struct Chapter {
    begun: Moment,
    source: Text,
}

/// The time in which the file cannot be written.
struct Outage {
    last_attempt: Instant,
    /// How many reports were dropped.
    dropped: u64,
}

impl RecordingWriter {
    pub(super) fn new(
        path: &Path,
        rules: RecordingRules,
        queue: WriteQueue<RecordingTask>,
        requests: Arc<WriterRequests>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            rules,
            queue,
            requests,
            encoder: LineEncoder::default(),
            file: None,
            file_begun: None,
            chapter: None,
            requested_snapshot: None,
            outage: None,
        }
    }

    /// Writes until the queue is closed and empty. `opened` gets the result of opening the file.
    pub(super) fn run(mut self, opened: oneshot::Sender<io::Result<()>>) {
        match RecordingFile::open(&self.path) {
            Ok(file) => {
                self.file = Some(file);
                let _ = opened.send(Ok(()));
            }
            Err(error) => {
                if let Err(Err(error)) = opened.send(Err(error)) {
                    // The caller does not wait for the result any more.
                    error!(
                        "the recording {} cannot be opened, the program goes on without it: \
                         {error}",
                        self.path.display()
                    );
                }
                return self.queue.abandon();
            }
        }

        while let Some(task) = self.queue.next_task() {
            match task {
                WriteTask::Write(RecordingTask::Report(report, source)) => {
                    self.record(&report, &source);
                }
                WriteTask::Write(RecordingTask::NewRun) => {
                    self.encoder = LineEncoder::default();
                    self.chapter = None;
                }
                WriteTask::Write(RecordingTask::SetRules(rules)) => self.rules = rules,
                WriteTask::Write(RecordingTask::Complete) => self.complete(),
                WriteTask::ReportDropped(polls) => self.report_gap(polls),
            }
        }
        self.complete();
    }

    /// Writes a report, or drops it while the file cannot be written.
    fn record(&mut self, report: &SourceReport, source: &Text) {
        let is_too_early = |outage: &Outage| outage.last_attempt.elapsed() < self.rules.retry;
        if self.outage.as_ref().is_some_and(is_too_early) {
            return self.drop_one();
        }

        match self.try_to_record(report, source) {
            Ok(true) => {
                if let Some(outage) = self.outage.take() {
                    self.report_gap(outage.dropped);
                }
            }
            // It waits for a whole registry, which has all that this report has.
            Ok(false) => {}
            Err(error) => self.fail(&error),
        }
    }

    /// Returns whether the report was written.
    fn try_to_record(&mut self, report: &SourceReport, source: &Text) -> io::Result<bool> {
        let is_file_full = self.is_file_full(report.at);
        let is_due = self.chapter.as_ref().is_none_or(|chapter| {
            report.at.since(chapter.begun) >= self.rules.chapter || chapter.source != *source
        });
        let mut lines = Vec::new();
        if is_due || is_file_full {
            if LineEncoder::can_begin_with(report) {
                self.end_chapter()?;
                if is_file_full {
                    self.begin_file(report.at)?;
                }
                lines = self.encoder.begin_chapter(report, source);
                self.chapter = Some(Chapter { begun: report.at, source: source.clone() });
                self.requested_snapshot = None;
            } else {
                let waits = |requested: Instant| requested.elapsed() < SNAPSHOT_WAIT;
                if !self.requested_snapshot.is_some_and(waits) {
                    self.requested_snapshot = Some(Instant::now());
                    self.requests.wants_snapshot.store(true, Ordering::Relaxed);
                }
                if self.chapter.is_none() {
                    return Ok(false);
                }
            }
        }

        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(RecordingFile::open(&self.path)?),
        };
        lines.extend(self.encoder.line(report));
        file.append(&lines)?;
        self.file_begun.get_or_insert(report.at);
        Ok(true)
    }

    /// Whether the next report belongs into another file.
    fn is_file_full(&self, now: Moment) -> bool {
        let (Some(keep), Some(file)) = (self.rules.keep, &self.file) else {
            return false;
        };

        let is_old = |age: Duration| self.file_begun.is_some_and(|begun| now.since(begun) >= age);
        let is_large = |size: u64| file.length() >= size;
        keep.part_age().is_some_and(is_old) || keep.part_size().is_some_and(is_large)
    }

    /// Sets the file aside, and removes what need not be kept any more.
    fn begin_file(&mut self, now: Moment) -> io::Result<()> {
        let Some(keep) = self.rules.keep else {
            return Ok(());
        };

        self.file = None;
        self.file_begun = None;
        segments::set_aside(&self.path, now.wall)?;
        segments::remove_old(&self.path, keep, now.wall)
    }

    fn end_chapter(&mut self) -> io::Result<()> {
        self.chapter = None;
        match &mut self.file {
            Some(file) => file.end_chapter(),
            None => Ok(()),
        }
    }

    /// After a failure the next report begins a chapter, so that it refers to nothing that is not
    /// in the file.
    fn fail(&mut self, error: &io::Error) {
        if self.outage.is_none() {
            error!(
                "the recording {} cannot be written, the program goes on without it \
                 and tries again: {error}",
                self.path.display()
            );
        }

        let dropped = self.outage.as_ref().map_or(0, |outage| outage.dropped);
        self.outage = Some(Outage { last_attempt: Instant::now(), dropped });
        self.chapter = None;
        self.drop_one();
        // When it is opened again, what was written in part is removed.
        self.file = None;
    }

    fn drop_one(&mut self) {
        self.requests.dropped.fetch_add(1, Ordering::Relaxed);
        if let Some(outage) = &mut self.outage {
            outage.dropped += 1;
        }
    }

    fn report_gap(&self, polls: u64) {
        warn!(
            "the recording {} lacks {polls} polls: it could not be written for a while",
            self.path.display()
        );
    }

    fn complete(&mut self) {
        if let Err(error) = self.end_chapter() {
            self.fail(&error);
        }
    }
}

/// Whether the file can be appended to, or its directory allows to create it.
pub(super) fn check_open(path: &Path) -> io::Result<()> {
    // Without this flag, a pipe that nobody reads would block.
    let non_blocking = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().append(true).custom_flags(non_blocking).open(path);

    match opened {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(access(segments::directory(path), Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error),
    }
}
