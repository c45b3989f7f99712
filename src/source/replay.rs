//! A source that plays a recording.
//!
//! It must not know what is done with the readings. They come at the intervals of the recording, or
//! faster. Their times are those of the recording, so that grace periods and timeouts have the same
//! effect at any speed.

mod entries;
mod index;
mod intervals;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::recording::{RecordedReport, RecordingEntry, older_files};
use super::{Liveness, SourceError, SourceEvent, SourceReport};
use crate::cluster::{Moment, Text};
use entries::RecordingEntries;
use index::{RecordingFiles, RecordingIndex};

/// The built-in recording: a real cluster of four machines and 30 units under fleet v1.0.0. One
/// machine loses power and comes back, and then another is shut down and comes back.
const DEMO: &str = include_str!("demo.jsonl");

/// The longest wait for a poll, so that a time far in the future does not overflow.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400 * 365);

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The file cannot be read.
    #[error("cannot read the recording {}: {error}", .path.display())]
    Unreadable {
        /// The path of the recording.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// A line is invalid.
    #[error("cannot play the recording {}: line {line}: {problem}", .path.display())]
    Line {
        /// The path of the recording.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with the line.
        problem: String,
    },
    /// The recording has no poll.
    #[error("cannot play the recording {}: it has no polls", .path.display())]
    Empty {
        /// The path of the recording.
        path: PathBuf,
    },
}

/// A recording that is played.
#[derive(Debug)]
pub(crate) struct Replay {
    files: RecordingFiles,
    index: Arc<RecordingIndex>,
    entries: RecordingEntries,
    /// How many seconds of the recording pass in one second.
    speed: f64,
    /// When the current run began to play; `None` until its first report.
    start: Option<PlaybackStart>,
    /// The next report, until it is due, and the number of its run.
    pending: Option<(usize, RecordedReport)>,
    /// The name of the source that was recorded.
    source: Option<Text>,
    liveness: Liveness,
    ended: bool,
}

/// When a run of a recording began to play.
#[derive(Clone, Copy, Debug)]
struct PlaybackStart {
    /// On the real clock.
    real: Instant,
    /// On the clock of the readings, which runs `speed` times as fast.
    judged: Moment,
}

impl Replay {
    /// Opens a recording with its older files, and checks it, so that an invalid line is an error
    /// at the start, not an hour later. `speed` is how many seconds of the recording pass in one
    /// second.
    pub(crate) fn open(path: &Path, speed: f64) -> Result<Self, ReplayError> {
        let unreadable = |error| ReplayError::Unreadable { path: path.to_owned(), error };
        let mut paths = older_files(path).map_err(unreadable)?;
        // Between two files there is none with this name.
        if paths.is_empty() || path.try_exists().map_err(unreadable)? {
            paths.push(path.to_owned());
        }

        let files = RecordingFiles::Files(paths);
        let index = RecordingIndex::of(&files)?;
        Ok(Self::new(files, index, speed))
    }

    /// The built-in recording, in an endless loop.
    pub(crate) fn demo(speed: f64) -> Self {
        let files = RecordingFiles::Demo;
        // A test plays it, so this does not fail.
        let index = RecordingIndex::of(&files).unwrap_or_default();
        Self::new(files, index, speed)
    }

    fn new(files: RecordingFiles, index: RecordingIndex, speed: f64) -> Self {
        let index = Arc::new(index);
        Self {
            entries: RecordingEntries::from_chapter(&files, &index, 0),
            files,
            index,
            speed,
            start: None,
            pending: None,
            source: None,
            liveness: Liveness::default(),
            ended: false,
        }
    }

    /// By when the source yields its next event.
    pub(crate) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// The name for the page and for messages, such as `recording of fleetctl v1.0.0`.
    pub(crate) fn name(&self) -> Text {
        match &self.source {
            Some(source) => format!("recording of {source}").as_str().into(),
            None => "recording".into(),
        }
    }

    /// Whether the recording is over.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Waits for the next event. After the end of the recording this waits for ever. Cancel safe.
    pub(crate) async fn next(&mut self) -> SourceEvent {
        while self.pending.is_none() {
            if self.ended {
                self.liveness.clear_deadline();
                return std::future::pending().await;
            }

            match self.entries.next().await {
                Some((run, RecordingEntry::Poll(report))) => self.pending = Some((run, report)),
                Some((_, RecordingEntry::Begin { source, .. })) => {
                    self.start = None;
                    self.source = source;
                    return SourceEvent::Restarted;
                }
                None if matches!(self.files, RecordingFiles::Demo) => {
                    self.entries = RecordingEntries::from_chapter(&self.files, &self.index, 0);
                }
                None => {
                    self.ended = true;
                    return SourceEvent::Ended;
                }
            }
        }

        let start = *self
            .start
            .get_or_insert_with(|| PlaybackStart { real: Instant::now(), judged: Moment::now() });
        // If the future is dropped while it sleeps, the next call finds the report in `pending`.
        if let Some((run, report)) = &self.pending {
            let due = self.due(start, *run, report);
            self.liveness.set_deadline(due);
            sleep_until(due).await;
        }

        match self.pending.take() {
            Some((run, report)) => SourceEvent::Report(self.report(start, run, report)),
            None => std::future::pending().await,
        }
    }

    /// The time of a report since the beginning of its run, or of what the recording has of it.
    fn elapsed(&self, run: usize, report: &RecordedReport) -> Duration {
        report.at.saturating_sub(self.index.runs[run].zero)
    }

    fn due(&self, start: PlaybackStart, run: usize, report: &RecordedReport) -> Instant {
        let elapsed = self.elapsed(run, report).as_secs_f64();
        let wait = Duration::try_from_secs_f64(elapsed / self.speed);
        start.real + wait.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    fn report(&self, start: PlaybackStart, run: usize, report: RecordedReport) -> SourceReport {
        // The monotonic clock is that of the recording. The wall clock, which people read, is real.
        let instant = (start.judged + self.elapsed(run, &report)).instant;
        SourceReport {
            lists: report.lists,
            at: Moment { instant, ..Moment::now() },
            took: report.took,
            schedule: report
                .schedule
                .or_else(|| self.index.intervals.schedule(report.lists[0], self.speed)),
            outcome: report.outcome.map_err(SourceError::Recorded),
        }
    }
}
