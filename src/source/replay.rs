//! Plays a recording as if it were a live source.
//!
//! The readings come at the recording's own pace, or faster, and carry the recording's time, so
//! that they are judged as they would have been. It knows the format of a line from
//! [`super::recording`] and nothing of who listens.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};
use std::str;
use std::time::Duration;

use tokio::fs;
use tokio::io::{AsyncBufReadExt, BufReader as AsyncBufReader, Lines as AsyncLines};
use tokio::time::{Instant, sleep_until};

use super::recording::{RecordedPoll, RecordingEntry, RecordingReader};
use super::{LATE, Liveness, SourceError, SourceEvent, SourceReport};
use crate::cluster::{Expected, FleetList, Moment, Text};

/// The built-in recording: a real cluster of four machines and 30 units under fleet v1.0.0, of
/// which one machine loses power and comes back, and then another is shut down and comes back.
const DEMO: &str = include_str!("demo.jsonl");

/// A recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("the recording {} cannot be read: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line of it makes no sense.
    #[error("the recording {} cannot be played: line {line}: {problem}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        problem: String,
    },
    /// It has no poll.
    #[error("the recording {} cannot be played: there is no poll in it", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A recording that is being played.
#[derive(Debug)]
pub struct Replay {
    lines: RecordingLines,
    pace: RecordedIntervals,
    speed: f64,
    /// When the part that is being played began, in our time and in the recording's.
    start: Option<PlaybackStart>,
    reader: RecordingReader,
    /// The next poll, until it is due.
    pending: Option<RecordedPoll>,
    source: Option<Text>,
    liveness: Liveness,
    ended: bool,
}

#[derive(Clone, Copy, Debug)]
struct PlaybackStart {
    ours: Instant,
    theirs: Moment,
}

#[derive(Debug)]
enum RecordingLines {
    File(AsyncLines<AsyncBufReader<fs::File>>),
    /// Begins anew at its end.
    Demo(str::Lines<'static>),
}

impl RecordingLines {
    /// The next line; none at the end. May be given up and called again.
    async fn next(&mut self) -> Option<String> {
        match self {
            // Every line could be read when the recording was opened; what cannot be read now is
            // its end.
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
    /// Opens a recording. The whole of it is checked first, so that a wrong line is known at the
    /// start and not an hour later. `speed` is how many seconds of the recording pass in one.
    pub fn open(path: &Path, speed: f64) -> Result<Self, ReplayError> {
        let unreadable = |error| ReplayError::Unreadable { path: path.to_owned(), error };
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let pace = check(&mut file, path)?;
        file.rewind().map_err(unreadable)?;
        let file = fs::File::from_std(file.into_inner());
        Ok(Self::new(RecordingLines::File(AsyncBufReader::new(file).lines()), pace, speed))
    }

    /// The recording that is built in, again and again.
    pub fn demo(speed: f64) -> Self {
        // It is played in a test.
        let pace = check(&mut DEMO.as_bytes(), Path::new("demo.jsonl")).unwrap_or_default();
        Self::new(RecordingLines::Demo(DEMO.lines()), pace, speed)
    }

    fn new(lines: RecordingLines, pace: RecordedIntervals, speed: f64) -> Self {
        Self {
            lines,
            pace,
            speed,
            start: None,
            reader: RecordingReader::default(),
            pending: None,
            source: None,
            liveness: Liveness::default(),
            ended: false,
        }
    }

    /// When it will speak next.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// What is being played, for people.
    pub fn name(&self) -> Text {
        match &self.source {
            Some(source) => format!("recording of {source}").as_str().into(),
            None => "recording".into(),
        }
    }

    /// Whether it is over.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Waits for the next thing that the recording says. After its end, for ever, unless it is
    /// looping.
    pub async fn next(&mut self) -> SourceEvent {
        while self.pending.is_none() {
            if self.ended {
                self.liveness.clear_deadline();
                return std::future::pending().await;
            }
            match self.read().await {
                Some(RecordingEntry::Poll(poll)) => self.pending = Some(poll),
                Some(RecordingEntry::Begin { source }) => {
                    self.start = None;
                    self.source = source;
                    return SourceEvent::Began;
                }
                None => {
                    self.ended = true;
                    return SourceEvent::Ended;
                }
            }
        }
        // A call that is given up while it waits leaves the poll where the next call finds it.
        let start = *self
            .start
            .get_or_insert_with(|| PlaybackStart { ours: Instant::now(), theirs: Moment::now() });
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
    async fn read(&mut self) -> Option<RecordingEntry> {
        loop {
            let line = self.lines.next().await?;
            // Every line was checked when the recording was opened.
            if let Ok(Some(entry)) = self.reader.read(&line) {
                return Some(entry);
            }
        }
    }

    fn due(&self, start: PlaybackStart, poll: &RecordedPoll) -> Instant {
        const FAR: Duration = Duration::from_secs(86_400 * 365);
        let wait = Duration::try_from_secs_f64(poll.at.as_secs_f64() / self.speed).unwrap_or(FAR);
        start.ours + wait.min(FAR)
    }

    fn report(&self, start: PlaybackStart, poll: RecordedPoll) -> SourceReport {
        // The steady clock runs at the recording's pace, the wall clock of people does not.
        let at = Moment { instant: (start.theirs + poll.at).instant, ..Moment::now() };
        let expected = self.pace.expected(poll.lists[0], self.speed);
        let outcome = poll.outcome.map_err(SourceError::Recorded);
        SourceReport { lists: poll.lists, at, took: poll.took, outcome, expected }
    }
}

/// How often each topic was polled in a recording.
#[derive(Debug, Default)]
struct RecordedIntervals([ListIntervals; 3]);

#[derive(Debug, Default)]
struct ListIntervals {
    /// When it was last polled in the part of the recording that is being read.
    last: Option<Duration>,
    gaps: u32,
    sum: Duration,
    longest: Duration,
}

impl RecordedIntervals {
    /// Another part begins.
    fn begin(&mut self) {
        for intervals in &mut self.0 {
            intervals.last = None;
        }
    }

    fn poll(&mut self, poll: &RecordedPoll) {
        for list in poll.lists {
            let pace = &mut self.0[*list as usize];
            if let Some(last) = pace.last.replace(poll.at) {
                let gap = poll.at.saturating_sub(last);
                pace.gaps += 1;
                pace.sum += gap;
                pace.longest = pace.longest.max(gap);
            }
        }
        // A topic that is not polled any more waits for its next poll until the end.
        for pace in &mut self.0 {
            pace.longest = pace.longest.max(poll.at.saturating_sub(pace.last.unwrap_or(poll.at)));
        }
    }

    /// When a poll is followed by the next, if there ever is one.
    fn expected(&self, list: FleetList, speed: f64) -> Option<Expected> {
        let ListIntervals { gaps, sum, longest, .. } = self.0[list as usize];
        let ours =
            |theirs: Duration| Duration::try_from_secs_f64(theirs.as_secs_f64() / speed).ok();

        let every = ours(sum.checked_div(gaps)?)?;
        let within = ours(longest)?.checked_add(LATE)?;
        Some(Expected { every, within })
    }
}

/// Reads all of a recording.
fn check(lines: &mut impl BufRead, path: &Path) -> Result<RecordedIntervals, ReplayError> {
    let (mut reader, mut text) = (RecordingReader::default(), String::new());
    let mut pace = RecordedIntervals::default();
    let (mut polls, mut number) = (0, 0);
    loop {
        number += 1;
        let wrong = |problem| ReplayError::Line { path: path.to_owned(), line: number, problem };
        text.clear();
        match lines.read_line(&mut text) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(wrong("it is not UTF-8".to_owned()));
            }
            Err(error) => return Err(ReplayError::Unreadable { path: path.to_owned(), error }),
        }
        match reader.read(&text).map_err(wrong)? {
            Some(RecordingEntry::Begin { .. }) => pace.begin(),
            Some(RecordingEntry::Poll(poll)) => {
                polls += 1;
                pace.poll(&poll);
            }
            None => {}
        }
    }
    if polls == 0 {
        Err(ReplayError::Empty { path: path.to_owned() })
    } else {
        Ok(pace)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::snapshots::assert_catalogue;

    fn recording(lines: &[&str]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        file
    }

    const LINES: [&str; 5] = [
        r#"{"recording":1,"source":"fleetctl v1.0.0"}"#,
        r#"{"t":0.5,"topic":"machines","machines":[{"id":"m1"}]}"#,
        r#"{"t":2,"event":"a note"}"#,
        r#"{"t":4.5,"topic":"machines","same":true}"#,
        r#"{"t":6.5,"topic":"machines","error":"no route"}"#,
    ];

    async fn report(replay: &mut Replay) -> SourceReport {
        match replay.next().await {
            SourceEvent::Report(report) => report,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_recording_is_played_at_its_pace_and_stays_at_its_end() {
        let file = recording(&LINES);
        let mut replay = Replay::open(file.path(), 2.0).unwrap();
        assert_eq!(&*replay.name(), "recording");
        assert!(matches!(replay.next().await, SourceEvent::Began));
        assert_eq!(&*replay.name(), "recording of fleetctl v1.0.0");
        let start = Instant::now();
        let first = report(&mut replay).await;
        assert_eq!(start.elapsed().as_millis(), 250, "twice as fast");
        let second = report(&mut replay).await;
        assert_eq!(start.elapsed().as_millis(), 2250);
        assert_eq!(
            second.at.since(first.at),
            Duration::from_secs(4),
            "judged by the recording's clock"
        );
        assert_eq!(first.outcome.unwrap(), second.outcome.unwrap());
        assert_eq!(report(&mut replay).await.outcome.unwrap_err().to_string(), "no route");
        assert!(matches!(replay.next().await, SourceEvent::Ended));
        assert!(replay.has_ended());
        assert!(
            tokio::time::timeout(Duration::from_secs(1000), replay.next())
                .await
                .is_err()
        );
        assert!(replay.liveness().is_alive());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_is_followed_by_the_next_at_the_pace_of_the_recording() {
        let file = recording(&[
            r#"{"t":0,"topic":"units","states":[]}"#,
            r#"{"t":1,"topic":"units","same":true}"#,
            r#"{"t":6,"topic":"units","same":true}"#,
            r#"{"t":6,"topic":"machines","machines":[]}"#,
            r#"{"t":14,"topic":"machines","same":true}"#,
        ]);
        let mut replay = Replay::open(file.path(), 2.0).unwrap();
        let second = Duration::from_secs(1);
        // 1 s and 5 s, and then 8 s to the end; twice as fast.
        let expected = Expected { every: second * 3 / 2, within: 4 * second + LATE };
        assert_eq!(report(&mut replay).await.expected, Some(expected));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_loses_nothing() {
        let file = recording(&LINES);
        let mut replay = Replay::open(file.path(), 1.0).unwrap();
        let mut lists = 0;
        while !replay.has_ended() {
            if let Ok(SourceEvent::Report(_)) =
                tokio::time::timeout(Duration::from_millis(100), replay.next()).await
            {
                lists += 1;
            }
        }
        assert_eq!(lists, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_recording_that_is_built_in_begins_anew() {
        let mut replay = Replay::demo(1.0);
        let start = Instant::now();
        let mut beginnings = Vec::new();
        while beginnings.len() < 3 {
            match replay.next().await {
                SourceEvent::Began => beginnings.push(start.elapsed().as_secs()),
                SourceEvent::Report(report) => assert!(report.outcome.is_ok(), "{report:?}"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(beginnings[0], 0);
        assert!((100..150).contains(&beginnings[1]), "about two minutes: {beginnings:?}");
        assert!(beginnings[2].abs_diff(2 * beginnings[1]) <= 1, "{beginnings:?}");
    }

    /// Recordings that cannot be played.
    fn unplayable() -> Vec<(String, ReplayError)> {
        let lines = [
            "nonsense",
            r#"{"recording":3}"#,
            r#"{"topic":"units","same":true}"#,
            r#"{"t":-1,"topic":"units","same":true}"#,
            r#"{"t":1,"took":-1,"topic":"units","same":true}"#,
            r#"{"t":1,"topic":"units"}"#,
            r#"{"t":1,"topic":"units","same":true}"#,
            r#"{"t":1,"topic":"registry","overdue":[[{"machine":"m1"},-1]]}"#,
            r#"{"t":1,"topic":"bogus"}"#,
        ];
        let mut unplayable: Vec<(String, ReplayError)> = Vec::new();
        let mut open = |content: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content).unwrap();
            let error = Replay::open(file.path(), 1.0).unwrap_err();
            unplayable.push((content.escape_ascii().to_string(), error));
        };
        lines
            .iter()
            .for_each(|line| open(format!("{}\n{line}", LINES[0]).as_bytes()));
        open(LINES[0].as_bytes());
        open(b"{\"t\":1}\n\xff\xff\n");

        let missing = Replay::open(Path::new("/nowhere/recording"), 1.0).unwrap_err();
        unplayable.push(("no file".to_owned(), missing));
        unplayable
    }

    #[test]
    fn what_cannot_be_played_is_told_with_its_line() {
        for (content, error) in unplayable() {
            let expected = match &*content {
                "no file" => matches!(error, ReplayError::Unreadable { .. }),
                content if content.ends_with("v1.0.0\\\"}") => {
                    matches!(error, ReplayError::Empty { .. })
                }
                _ => matches!(error, ReplayError::Line { line: 2, .. }),
            };
            assert!(expected, "{content}: {error:?}");
        }
    }

    #[test]
    fn what_cannot_be_played_is_told_in_these_words() {
        let told = unplayable().into_iter().map(|(content, mut error)| {
            let (ReplayError::Unreadable { path, .. }
            | ReplayError::Line { path, .. }
            | ReplayError::Empty { path }) = &mut error;
            *path = "FILE".into();
            (content.replace("\\n", "\n").replace("\\\"", "\""), error)
        });
        assert_catalogue("recording-errors", told);
    }
}
