//! Plays a recording as if it were a live source.
//!
//! The readings come at the recording's own pace, or faster, and carry the recording's time, so that they are judged as
//! they would have been. It knows the format of a line from [`super::recording`] and nothing of who listens.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::recording::{self, Entry, Poll};
use super::{Promise, Report, Said, SourceError};
use crate::cluster::{Moment, Reading, Text, Topic};

/// The built-in recording: a real cluster of four machines and 30 units under fleet v1.0.0, of which one machine loses
/// power and comes back, and then another is shut down and comes back.
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
    lines: Lines,
    speed: f64,
    looping: bool,
    /// When the part that is being played began, in our time and in the recording's.
    start: Option<Start>,
    last: [Option<Reading>; 3],
    promise: Promise,
    ended: bool,
}

#[derive(Clone, Copy, Debug)]
struct Start {
    ours: Instant,
    theirs: Moment,
}

#[derive(Debug)]
enum Lines {
    File(BufReader<File>),
    Demo(Cursor<&'static str>),
}

impl Lines {
    fn next(&mut self, line: &mut String) -> io::Result<usize> {
        line.clear();
        match self {
            Lines::File(file) => file.read_line(line),
            Lines::Demo(text) => text.read_line(line),
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        match self {
            Lines::File(file) => file.rewind(),
            Lines::Demo(text) => text.rewind(),
        }
    }
}

impl Replay {
    /// Opens a recording. The whole of it is checked first, so that a wrong line is known at the start and not an hour
    /// later. `speed` is how many seconds of the recording pass in one.
    pub fn open(path: &Path, speed: f64) -> Result<Self, ReplayError> {
        let unreadable = |error| ReplayError::Unreadable { path: path.to_owned(), error };
        let mut lines = Lines::File(BufReader::new(File::open(path).map_err(unreadable)?));
        check(&mut lines, path)?;
        lines.rewind().map_err(unreadable)?;
        Ok(Self::new(lines, speed, false))
    }

    /// The recording that is built in, again and again.
    pub fn demo(speed: f64) -> Self {
        Self::new(Lines::Demo(Cursor::new(DEMO)), speed, true)
    }

    fn new(lines: Lines, speed: f64, looping: bool) -> Self {
        let (start, last) = (None, [const { None }; 3]);
        Self { lines, speed, looping, start, last, promise: Promise::default(), ended: false }
    }

    /// When it will speak next.
    pub fn promise(&self) -> &Promise {
        &self.promise
    }

    /// Waits for the next thing that the recording says. After its end, for ever, unless it is looping.
    pub async fn next(&mut self) -> Said {
        if self.ended {
            self.promise.nothing_more();
            return std::future::pending().await;
        }
        let mut line = String::new();
        loop {
            // A recording is a local file, or in memory: reading a line of it does not keep others waiting.
            let entry = match self.lines.next(&mut line) {
                Ok(0) if self.looping && self.lines.rewind().is_ok() => continue,
                Ok(0) | Err(_) => {
                    self.ended = true;
                    return Said::Ended;
                }
                Ok(_) => recording::parse(&line),
            };
            match entry {
                Ok(Some(Entry::Begin { source })) => {
                    self.start = None;
                    self.last = [const { None }; 3];
                    return Said::Began { source };
                }
                Ok(Some(Entry::Poll(poll))) => return Said::Report(self.wait_for(poll).await),
                // The whole file was checked when it was opened.
                Ok(None) | Err(_) => {}
            }
        }
    }

    async fn wait_for(&mut self, poll: Poll) -> Report {
        let start = *self.start.get_or_insert_with(|| Start { ours: Instant::now(), theirs: Moment::now() });
        let wait = Duration::try_from_secs_f64(poll.at.as_secs_f64() / self.speed).unwrap_or(Duration::MAX);
        let due = start.ours.checked_add(wait).unwrap_or_else(|| start.ours + Duration::from_secs(86_400 * 365));
        self.promise.next_by(due.into_std());
        sleep_until(due).await;
        let outcome = match poll.outcome {
            Ok(Some(reading)) => {
                self.last[poll.topic as usize] = Some(reading.clone());
                Ok(reading)
            }
            Ok(None) => self.same(poll.topic),
            Err(error) => Err(SourceError::Recorded(error)),
        };
        // The steady clock runs at the recording's pace, the wall clock of people does not.
        let at = Moment { instant: (start.theirs + poll.at).instant, ..Moment::now() };
        Report { topic: poll.topic, at, took: poll.took, outcome }
    }

    fn same(&self, topic: Topic) -> Result<Reading, SourceError> {
        self.last[topic as usize]
            .clone()
            .ok_or_else(|| SourceError::Recorded("the recording says `same`, but there was nothing before".to_owned()))
    }
}

fn check(lines: &mut Lines, path: &Path) -> Result<(), ReplayError> {
    let (mut text, mut polls, mut number) = (String::new(), 0, 0);
    loop {
        number += 1;
        let wrong = |problem| ReplayError::Line { path: path.to_owned(), line: number, problem };
        match lines.next(&mut text) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(wrong("it is not UTF-8".to_owned())),
            Err(error) => return Err(ReplayError::Unreadable { path: path.to_owned(), error }),
        }
        if let Some(Entry::Poll(_)) = recording::parse(&text).map_err(wrong)? {
            polls += 1;
        }
    }
    if polls == 0 { Err(ReplayError::Empty { path: path.to_owned() }) } else { Ok(()) }
}

/// What the built-in recording is of.
pub fn demo_source() -> Option<Text> {
    match recording::parse(DEMO.lines().next()?) {
        Ok(Some(Entry::Begin { source })) => source,
        _ => None,
    }
}
