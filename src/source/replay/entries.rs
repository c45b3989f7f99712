//! Reads the entries of a recording ahead of their time, on threads that may block.
//!
//! It must not know when an entry is played.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::str;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};
use tracing::warn;

use super::index::{ChapterPlace, RecordingFiles, RecordingIndex};
use crate::source::recording::{ChapterLines, RecordingEntry, RecordingReader};

/// How many bytes of lines are read ahead.
const AHEAD: usize = 256 * 1024;

/// How many entries are read ahead.
const MAX_AHEAD: usize = 64;

/// An entry, and the number of its run.
pub(super) type EntryOfRun = (usize, RecordingEntry);

/// The entries of a recording, from the beginning of a chapter on.
#[derive(Debug)]
pub(super) struct RecordingEntries {
    ready: VecDeque<EntryOfRun>,
    state: ReadState,
}

#[derive(Debug)]
enum ReadState {
    Idle(Box<EntryReader>),
    Reading(JoinHandle<(Box<EntryReader>, VecDeque<EntryOfRun>)>),
    /// All entries are in `ready`.
    Ended,
}

impl RecordingEntries {
    /// The entries from a chapter on.
    pub(super) fn from_chapter(
        files: &RecordingFiles,
        index: &Arc<RecordingIndex>,
        chapter: usize,
    ) -> Self {
        let reader = EntryReader::new(files, index, chapter);
        Self {
            ready: VecDeque::new(),
            state: ReadState::Idle(Box::new(reader)),
        }
    }

    /// The next entry; `None` at the end. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<EntryOfRun> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(entry);
            }

            if let ReadState::Reading(task) = &mut self.state {
                // Nobody cancels the task, so the only error is a panic, which goes on here; or the
                // runtime is shutting down.
                let (reader, entries) = match task.await {
                    Ok(read) => read,
                    Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                    Err(_) => return None,
                };
                self.state = match entries.is_empty() {
                    true => ReadState::Ended,
                    false => ReadState::Idle(reader),
                };
                self.ready = entries;
            }

            self.state = match std::mem::replace(&mut self.state, ReadState::Ended) {
                ReadState::Idle(mut reader) if self.ready.is_empty() => {
                    ReadState::Reading(spawn_blocking(move || {
                        let entries = reader.read_ahead();
                        (reader, entries)
                    }))
                }
                ReadState::Ended if self.ready.is_empty() => return None,
                state => state,
            };
        }
    }
}

/// Reads entries, and may block.
#[derive(Debug)]
pub(super) struct EntryReader {
    files: RecordingFiles,
    index: Arc<RecordingIndex>,
    /// The number of the chapter that is being read, and its place.
    chapter: usize,
    place: ChapterPlace,
    run: usize,
    /// Whether an entry of the first run was read.
    has_begun: bool,
    /// `None`: to be opened at `place`.
    lines: Option<ChapterLines>,
    reader: RecordingReader,
}

impl EntryReader {
    /// Reads from a chapter on.
    pub(super) fn new(files: &RecordingFiles, index: &Arc<RecordingIndex>, chapter: usize) -> Self {
        let place = index.chapters[chapter];
        Self {
            files: files.clone(),
            index: index.clone(),
            chapter,
            place,
            run: place.run,
            has_begun: false,
            lines: None,
            reader: RecordingReader::default(),
        }
    }

    /// Some entries; none at the end.
    fn read_ahead(&mut self) -> VecDeque<EntryOfRun> {
        let mut entries = VecDeque::new();
        let mut bytes = 0;

        while bytes < AHEAD && entries.len() < MAX_AHEAD {
            match self.next_entry() {
                Some((entry, length)) => {
                    entries.push_back(entry);
                    bytes += length;
                }
                None => break,
            }
        }
        entries
    }

    /// The next entry, and the length of its line.
    pub(super) fn next_entry(&mut self) -> Option<(EntryOfRun, usize)> {
        let mut line = Vec::new();
        loop {
            let lines = match &mut self.lines {
                Some(lines) => lines,
                None => match self.files.open(self.place.file, self.place.offset) {
                    Ok(lines) => self.lines.insert(lines),
                    Err(error) => {
                        self.skip_damage(&error.to_string())?;
                        continue;
                    }
                },
            };

            match lines.read(&mut line) {
                Ok(true) => {}
                Ok(false) => {
                    self.go_to_next_file()?;
                    continue;
                }
                Err(error) => {
                    self.skip_damage(&error.to_string())?;
                    continue;
                }
            }

            let chapters = self.reader.chapters();
            let read = match str::from_utf8(&line) {
                Ok(text) => self.reader.read(text),
                Err(error) => Err(error.to_string()),
            };
            match read {
                Ok(entry) => {
                    if self.reader.chapters() > chapters {
                        self.enter_chapter();
                    }
                    if let Some(entry) = entry {
                        return Some(((self.run_of(&entry), entry), line.len()));
                    }
                }
                // Most lines were checked when the recording was opened.
                Err(problem) => self.skip_damage(&problem)?,
            }
        }
    }

    /// The number of the run that an entry belongs to.
    fn run_of(&mut self, entry: &RecordingEntry) -> usize {
        let begins = matches!(entry, RecordingEntry::Begin { .. });
        if begins && self.has_begun && self.run + 1 < self.index.runs.len() {
            self.run += 1;
        }
        self.has_begun = true;
        self.run
    }

    /// A line has begun a chapter: it is the first one, or the next one.
    fn enter_chapter(&mut self) {
        let next = self.chapter + 1;
        let is_first = self.reader.chapters() == 1;
        if !is_first && next < self.index.chapters.len() {
            self.chapter = next;
        }
    }

    /// `None`: it was the last file.
    fn go_to_next_file(&mut self) -> Option<()> {
        let file = self.place.file + 1;
        if file >= self.files.count() {
            return None;
        }

        self.place = ChapterPlace { file, offset: 0, ..self.place };
        self.lines = None;
        Some(())
    }

    /// Goes on with the next chapter, because the rest of this one is damaged. `None`: there is
    /// none.
    fn skip_damage(&mut self, problem: &str) -> Option<()> {
        let path = self.files.path(self.place.file);
        warn!(
            "the recording {} is damaged, the rest of a chapter is skipped: {problem}",
            path.display()
        );

        let next = self.chapter + 1;
        self.place = *self.index.chapters.get(next)?;
        self.chapter = next;
        self.lines = None;
        Some(())
    }
}
