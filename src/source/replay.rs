//! A source that plays a recording.
//!
//! It must not know what is done with the readings. They come at the intervals of the recording, or
//! faster. Their times are those of the recording, so that grace periods and timeouts have the same
//! effect at any speed.

mod intervals;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};
use std::str;
use std::time::Duration;

use tokio::fs;
use tokio::io::{AsyncBufReadExt, BufReader as AsyncBufReader, Lines};
use tokio::time::{Instant, sleep_until};

use super::recording::{RecordedReport, RecordingEntry, RecordingReader};
use super::{Liveness, SourceError, SourceEvent, SourceReport};
use crate::cluster::{Moment, Text};
use intervals::RecordedIntervals;

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
    lines: RecordingLines,
    intervals: RecordedIntervals,
    /// How many seconds of the recording pass in one second.
    speed: f64,
    /// When the current part of the recording began to play; `None` until its first poll. A part
    /// begins with each line that has `recording`.
    start: Option<PlaybackStart>,
    reader: RecordingReader,
    /// The next poll, until it is due.
    pending: Option<RecordedReport>,
    /// The name of the source that was recorded.
    source: Option<Text>,
    liveness: Liveness,
    ended: bool,
}

/// When a part of a recording began to play.
#[derive(Clone, Copy, Debug)]
struct PlaybackStart {
    /// On the real clock.
    real: Instant,
    /// On the clock of the readings, which runs `speed` times as fast.
    judged: Moment,
}

/// The lines of the recording that are not played yet.
#[derive(Debug)]
enum RecordingLines {
    File(Lines<AsyncBufReader<fs::File>>),
    /// The built-in recording, which starts again at its end.
    Demo(str::Lines<'static>),
}

impl RecordingLines {
    /// The next line; `None` at the end. Cancel safe.
    async fn next(&mut self) -> Option<String> {
        match self {
            // All lines were readable when the recording was opened. If one is not any more, the
            // recording ends there.
            RecordingLines::File(lines) => lines.next_line().await.ok().flatten(),
            RecordingLines::Demo(lines) => {
                let line = lines.next().or_else(|| {
                    *lines = DEMO.lines();
                    lines.next()
                });
                line.map(str::to_owned)
            }
        }
    }
}

impl Replay {
    /// Opens a recording and checks all of it, so that an invalid line is an error at the start,
    /// not an hour later. `speed` is how many seconds of the recording pass in one second.
    pub(crate) fn open(path: &Path, speed: f64) -> Result<Self, ReplayError> {
        let unreadable = |error| ReplayError::Unreadable { path: path.to_owned(), error };
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let intervals = check(&mut file, path)?;

        file.rewind().map_err(unreadable)?;
        let file = fs::File::from_std(file.into_inner());
        let lines = AsyncBufReader::new(file).lines();
        Ok(Self::new(RecordingLines::File(lines), intervals, speed))
    }

    /// The built-in recording, in an endless loop.
    pub(crate) fn demo(speed: f64) -> Self {
        // A test plays it, so this does not fail.
        let intervals = check(&mut DEMO.as_bytes(), Path::new("demo.jsonl")).unwrap_or_default();
        Self::new(RecordingLines::Demo(DEMO.lines()), intervals, speed)
    }

    fn new(lines: RecordingLines, intervals: RecordedIntervals, speed: f64) -> Self {
        Self {
            lines,
            intervals,
            speed,
            start: None,
            reader: RecordingReader::default(),
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

            match self.next_entry().await {
                Some(RecordingEntry::Poll(poll)) => self.pending = Some(poll),
                Some(RecordingEntry::Begin { source }) => {
                    self.start = None;
                    self.source = source;
                    return SourceEvent::Restarted;
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
        // If the future is dropped while it sleeps, the next call finds the poll in `pending`.
        if let Some(poll) = &self.pending {
            let due = self.due(start, poll);
            self.liveness.set_deadline(due);
            sleep_until(due).await;
        }

        match self.pending.take() {
            Some(poll) => SourceEvent::Report(self.report(start, poll)),
            None => std::future::pending().await,
        }
    }

    /// The next entry; `None` at the end.
    async fn next_entry(&mut self) -> Option<RecordingEntry> {
        loop {
            let line = self.lines.next().await?;
            // All lines were valid when the recording was opened.
            if let Ok(Some(entry)) = self.reader.read(&line) {
                return Some(entry);
            }
        }
    }

    fn due(&self, start: PlaybackStart, poll: &RecordedReport) -> Instant {
        let wait = Duration::try_from_secs_f64(poll.at.as_secs_f64() / self.speed);
        start.real + wait.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    fn report(&self, start: PlaybackStart, poll: RecordedReport) -> SourceReport {
        // The monotonic clock is that of the recording. The wall clock, which people read, is real.
        let at = Moment { instant: (start.judged + poll.at).instant, ..Moment::now() };
        SourceReport {
            lists: poll.lists,
            at,
            took: poll.took,
            schedule: self.intervals.schedule(poll.lists[0], self.speed),
            outcome: poll.outcome.map_err(SourceError::Recorded),
        }
    }
}

/// Checks a whole recording, and measures its intervals.
fn check(lines: &mut impl BufRead, path: &Path) -> Result<RecordedIntervals, ReplayError> {
    let mut reader = RecordingReader::default();
    let mut text = String::new();
    let mut intervals = RecordedIntervals::default();
    let mut has_polls = false;

    for number in 1.. {
        let invalid = |problem| ReplayError::Line { path: path.to_owned(), line: number, problem };
        text.clear();
        match lines.read_line(&mut text) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(invalid("it is not UTF-8".to_owned()));
            }
            Err(error) => return Err(ReplayError::Unreadable { path: path.to_owned(), error }),
        }

        match reader.read(&text).map_err(invalid)? {
            Some(RecordingEntry::Begin { .. }) => intervals.begin_part(),
            Some(RecordingEntry::Poll(poll)) => {
                has_polls = true;
                intervals.add(&poll);
            }
            None => {}
        }
    }

    if has_polls {
        Ok(intervals)
    } else {
        Err(ReplayError::Empty { path: path.to_owned() })
    }
}
