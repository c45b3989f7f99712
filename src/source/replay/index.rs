//! The time line of a recording: its runs, and where its chapters begin.
//!
//! It must not know when anything is played. A *position* is a time since the beginning of the
//! recording. The time in which nothing was recorded, between two runs of the program, has no
//! positions.

use std::io;
use std::path::PathBuf;
use std::str;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::intervals::RecordedIntervals;
use super::{DEMO, ReplayError};
use crate::cluster::Text;
use crate::playback::RecordedTime;
use crate::source::recording::{
    ChapterHead, ChapterLines, RecordingEntry, RecordingReader, chapters,
};

/// The files of a recording, in the order in which they are played.
#[derive(Clone, Debug)]
pub(super) enum RecordingFiles {
    Files(Vec<PathBuf>),
    /// The built-in recording.
    Demo,
}

impl RecordingFiles {
    /// The lines of a file, from this offset on.
    pub(super) fn open(&self, file: usize, offset: u64) -> io::Result<ChapterLines> {
        match self {
            RecordingFiles::Files(paths) => ChapterLines::open(&paths[file], offset),
            // Its only chapter is the first.
            RecordingFiles::Demo => Ok(ChapterLines::of_text(DEMO.as_bytes())),
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            RecordingFiles::Files(paths) => paths.len(),
            RecordingFiles::Demo => 1,
        }
    }

    pub(super) fn path(&self, file: usize) -> PathBuf {
        match self {
            RecordingFiles::Files(paths) => paths[file].clone(),
            RecordingFiles::Demo => "demo.jsonl".into(),
        }
    }
}

/// Where everything is in a recording.
#[derive(Debug, Default)]
pub(super) struct RecordingIndex {
    /// At least one, in the order of the recording.
    pub(super) chapters: Vec<ChapterPlace>,
    /// At least one, in the order of the recording.
    pub(super) runs: Vec<RecordedRun>,
    /// The intervals of a recording that does not have the schedules of its source.
    pub(super) intervals: RecordedIntervals,
}

/// Where a chapter begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChapterPlace {
    pub(super) file: usize,
    pub(super) offset: u64,
    pub(super) run: usize,
    pub(super) position: Duration,
}

/// One run of the program that recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RecordedRun {
    /// The position at which it begins.
    pub(super) position: Duration,
    /// Its time at its first chapter, as its reports measure it. More than zero if the recording
    /// does not have its beginning any more.
    pub(super) zero: Duration,
    pub(super) length: Duration,
    /// The wall clock at its first chapter; `None` before version 3 of the format.
    pub(super) time: Option<SystemTime>,
}

impl RecordedRun {
    /// The position of a time, as the reports of the run measure it.
    pub(super) fn position_of(&self, at: Duration) -> Duration {
        self.position + at.saturating_sub(self.zero)
    }

    fn end(&self) -> Duration {
        self.position + self.length
    }

    fn extend_to(&mut self, at: Duration) {
        self.length = self.length.max(at.saturating_sub(self.zero));
    }
}

impl RecordingIndex {
    /// Reads a recording. One that is not compressed, or older than version 3 of the format, is
    /// checked line by line, so that an invalid line is an error at the start, not an hour later.
    pub(super) fn of(files: &RecordingFiles) -> Result<Self, ReplayError> {
        let mut builder = IndexBuilder::default();
        let mut has_polls = false;

        for file in 0..files.count() {
            let path = files.path(file);
            let unreadable = |error| ReplayError::Unreadable { path: path.clone(), error };
            let heads = match files {
                RecordingFiles::Files(paths) => chapters(&paths[file]).map_err(unreadable)?,
                RecordingFiles::Demo => None,
            };

            match heads {
                Some(heads) if heads.iter().all(|head| head.t.is_some()) => {
                    has_polls |= builder.add_chapters(files, file, &heads).map_err(unreadable)?;
                }
                heads => {
                    let is_seekable = heads.is_none();
                    has_polls |= builder.check_lines(files, file, is_seekable)?;
                }
            }
        }

        if has_polls {
            Ok(builder.index)
        } else {
            Err(ReplayError::Empty { path: files.path(0) })
        }
    }

    /// The last chapter that begins at least so long before a position; the first one of its run
    /// if there is none.
    pub(super) fn chapter_before(&self, position: Duration, by: Duration) -> usize {
        let run = self.run_at(position);
        let latest = position.saturating_sub(by);

        let chapters = self.chapters.iter().enumerate();
        let of_run = chapters.filter(|(_, chapter)| chapter.run == run);
        let mut candidates = of_run.map(|(number, chapter)| (number, chapter.position));
        let first = candidates.clone().next();
        candidates
            .rfind(|(_, begin)| *begin <= latest)
            .or(first)
            // A compressed file of an older format has one chapter for all its runs.
            .map_or_else(|| self.chapter_with_run(run), |(number, _)| number)
    }

    fn chapter_with_run(&self, run: usize) -> usize {
        self.chapters
            .iter()
            .rposition(|chapter| chapter.run <= run)
            .unwrap_or_default()
    }

    fn run_at(&self, position: Duration) -> usize {
        let after = self.runs.partition_point(|run| run.position <= position);
        after.saturating_sub(1)
    }

    /// The wall clock at a position; `None` if the recording does not have it.
    pub(super) fn time_at(&self, position: Duration) -> Option<SystemTime> {
        let run = self.runs.get(self.run_at(position))?;
        Some(run.time? + position.saturating_sub(run.position))
    }

    /// The positions between two times.
    pub(super) fn part(
        &self,
        from: Option<RecordedTime>,
        to: Option<RecordedTime>,
    ) -> Result<(Duration, Duration), String> {
        let length = self.length();
        let begin = match from {
            Some(from) => self.position_of(from, Duration::ZERO)?,
            None => Duration::ZERO,
        };
        let end = match to {
            Some(to) => self.position_of(to, begin)?.min(length),
            None => length,
        };

        if from.is_some() && begin >= length {
            Err("--from is not before its end".to_owned())
        } else if to.is_some() && begin >= end {
            Err("--to is not after the beginning of what is to be played".to_owned())
        } else {
            Ok((begin, end))
        }
    }

    /// The position of a time; of a time of day, the first one after `from`.
    fn position_of(&self, time: RecordedTime, from: Duration) -> Result<Duration, String> {
        const NO_CLOCK: &str = "it has no wall clock, since its format is older than version 3; \
                                use a time since its beginning, such as 90s";
        let time = match time {
            RecordedTime::Offset(offset) => return Ok(offset),
            RecordedTime::At(time) => time,
            RecordedTime::TimeOfDay(time_of_day) => {
                let begin = self.time_at(from).ok_or(NO_CLOCK)?;
                next_time_of_day(begin, time_of_day)
            }
        };

        for run in &self.runs {
            let begin = run.time.ok_or(NO_CLOCK)?;
            // A time between two runs is the beginning of the second one.
            let since_begin = time.duration_since(begin).unwrap_or_default();
            if since_begin <= run.length {
                return Ok(run.position + since_begin);
            }
        }
        Ok(self.length())
    }

    /// The position of the end.
    pub(super) fn length(&self) -> Duration {
        self.runs.last().map(RecordedRun::end).unwrap_or_default()
    }
}

#[derive(Default)]
struct IndexBuilder {
    index: RecordingIndex,
    /// The run of the last chapter, as the recording names it.
    run_name: Option<Text>,
    /// Reads the files that are checked line by line. A run may go on from one to the next.
    reader: RecordingReader,
}

impl IndexBuilder {
    /// Adds the chapters of a file in which each has its time. Returns whether there is a poll.
    fn add_chapters(
        &mut self,
        files: &RecordingFiles,
        file: usize,
        heads: &[ChapterHead],
    ) -> io::Result<bool> {
        let mut has_polls = false;

        for (number, head) in heads.iter().enumerate() {
            let at = Duration::try_from_secs_f64(head.t.unwrap_or_default()).unwrap_or_default();
            let goes_on = head.run.is_some() && head.run == self.run_name;
            if !goes_on {
                self.begin_run(at, head.time);
                self.run_name.clone_from(&head.run);
            }
            self.begin_chapter(file, head.start, at);

            // Only the last chapter of a run says how long the run is.
            let next = heads.get(number + 1);
            if next.is_none_or(|next| next.run != head.run) {
                let last = last_report(files.open(file, head.start)?);
                self.extend_to(last.unwrap_or(at));
                has_polls |= last.is_some();
            } else {
                has_polls = true;
            }
        }
        Ok(has_polls)
    }

    /// Checks all lines of a file, and adds its chapters; only the first one if the others cannot
    /// be read without it. Returns whether there is a poll.
    fn check_lines(
        &mut self,
        files: &RecordingFiles,
        file: usize,
        is_seekable: bool,
    ) -> Result<bool, ReplayError> {
        let path = files.path(file);
        let unreadable = |error| ReplayError::Unreadable { path: path.clone(), error };
        let mut lines = files.open(file, 0).map_err(unreadable)?;
        let mut bytes = Vec::new();
        let mut offset = 0;
        let mut has_polls = false;
        let mut has_chapter = false;

        for line in 1.. {
            let invalid = |problem| ReplayError::Line { path: path.clone(), line, problem };
            if !lines.read(&mut bytes).map_err(unreadable)? {
                break;
            }

            let text = str::from_utf8(&bytes).map_err(|_| invalid("it is not UTF-8".to_owned()))?;
            let chapters = self.reader.chapters();
            let entry = match self.reader.read(text) {
                Ok(entry) => entry,
                // A program that was killed while it wrote the last line has left a part of it.
                Err(_) if has_polls && !text.ends_with('\n') => break,
                Err(problem) => return Err(invalid(problem)),
            };

            let begins_chapter = self.reader.chapters() > chapters;
            match entry {
                Some(RecordingEntry::Begin { at, time, .. }) => {
                    self.index.intervals.begin_part();
                    self.begin_run(at, time);
                    self.begin_chapter(file, offset, at);
                }
                Some(RecordingEntry::Poll(report)) => {
                    if !has_chapter {
                        self.begin_run(Duration::ZERO, None);
                        self.begin_chapter(file, 0, Duration::ZERO);
                        has_chapter = true;
                    }
                    has_polls = true;
                    self.index.intervals.add(&report);
                    self.extend_to(report.at);
                }
                None if begins_chapter => {
                    let at = chapter_time(text);
                    self.begin_chapter(file, offset, at);
                }
                None => {}
            }
            has_chapter |= begins_chapter;
            offset += bytes.len() as u64;
        }

        if !is_seekable {
            self.keep_first_chapter_of(file);
        }
        Ok(has_polls)
    }

    fn begin_run(&mut self, zero: Duration, time: Option<SystemTime>) {
        let position = self.index.length();
        self.index
            .runs
            .push(RecordedRun { position, zero, length: Duration::ZERO, time });
    }

    fn begin_chapter(&mut self, file: usize, offset: u64, at: Duration) {
        let run = self.index.runs.len() - 1;
        let position = self.index.runs[run].position_of(at);
        self.index.chapters.push(ChapterPlace { file, offset, run, position });
    }

    fn extend_to(&mut self, at: Duration) {
        if let Some(run) = self.index.runs.last_mut() {
            run.extend_to(at);
        }
    }

    fn keep_first_chapter_of(&mut self, file: usize) {
        let mut is_first = true;
        self.index
            .chapters
            .retain(|chapter| chapter.file != file || std::mem::take(&mut is_first));
    }
}

/// The first moment at or after `begin` at which it is so late, in UTC.
fn next_time_of_day(begin: SystemTime, time_of_day: Duration) -> SystemTime {
    const DAY: u64 = 86_400;
    let since_epoch = begin.duration_since(UNIX_EPOCH).unwrap_or_default();
    let midnight = Duration::from_secs(since_epoch.as_secs() / DAY * DAY);

    let today = UNIX_EPOCH + midnight + time_of_day;
    if today < begin {
        today + Duration::from_secs(DAY)
    } else {
        today
    }
}

/// When a chapter that goes on with a run begins, as the reports of the run measure it.
fn chapter_time(line: &str) -> Duration {
    let mut reader = RecordingReader::default();
    match reader.read(line) {
        Ok(Some(RecordingEntry::Begin { at, .. })) => at,
        _ => Duration::ZERO,
    }
}

/// When the last report of a chapter was complete, as the run measures it. `None`: it has none.
fn last_report(mut lines: ChapterLines) -> Option<Duration> {
    let mut reader = RecordingReader::default();
    let mut line = Vec::new();
    let mut last = None;

    while let Ok(true) = lines.read(&mut line) {
        let Ok(text) = str::from_utf8(&line) else {
            break;
        };
        match reader.read(text) {
            Ok(_) if reader.chapters() > 1 => break,
            Ok(Some(RecordingEntry::Poll(report))) => last = last.max(Some(report.at)),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    last
}
