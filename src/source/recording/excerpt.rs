//! The last minutes of a recording, as a recording of their own.
//!
//! It must not know who gets them. It reads the files while they are written to, and holds only one
//! line and what is not taken yet.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use super::anonymizer::Anonymizer;
use super::chapters::{self, ChapterHead, ChapterLines};
use super::file::LEVEL;
use super::segments;

/// About how many bytes a part of an excerpt has.
const PART: usize = 64 * 1024;

/// The last minutes of a recording. They are compressed, and begin with a chapter.
pub(crate) struct RecordingExcerpt {
    /// The files that are left, the next one last, each with the offset of its first chapter.
    files: Vec<(File, u64)>,
    lines: Option<ChapterLines>,
    line: Vec<u8>,
    anonymizer: Option<Anonymizer>,
    /// Whether the current frame has lines.
    has_lines: bool,
    /// `None`: all of it has been taken.
    frame: Option<zstd::Encoder<'static, Vec<u8>>>,
}

impl RecordingExcerpt {
    /// What was recorded since a time, and before it since the beginning of its chapter. `None`:
    /// nothing is recorded yet.
    pub(crate) fn open(
        path: &Path,
        since: SystemTime,
        is_anonymous: bool,
    ) -> io::Result<Option<Self>> {
        let mut paths = segments::older_files(path)?;
        paths.push(path.to_owned());

        // All are opened first: a file may get another name, or be removed.
        let mut files = Vec::new();
        for path in paths.iter().rev() {
            let mut file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let heads = chapters::all_chapters(&mut file)?;
            let is_old = |head: &&ChapterHead| head.time.is_some_and(|time| time <= since);
            let first = heads
                .iter()
                .rfind(is_old)
                .or_else(|| heads.iter().find(|head| head.time.is_some()));

            let is_enough = heads.iter().any(|head| is_old(&head));
            if let Some(first) = first {
                files.push((file, first.start));
            }
            if is_enough {
                break;
            }
        }

        if files.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            files,
            lines: None,
            line: Vec::new(),
            anonymizer: is_anonymous.then(Anonymizer::default),
            has_lines: false,
            frame: Some(new_frame()?),
        }))
    }

    /// The next part; `None` at the end. May block.
    pub(crate) fn next_part(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(mut frame) = self.frame.take() else {
            return Ok(None);
        };
        let mut part = Vec::new();

        while self.read_line()? {
            if chapters::begins(&self.line) && self.has_lines {
                part.extend(frame.finish()?);
                frame = new_frame()?;
            }
            self.anonymize_line();
            frame.write_all(&self.line)?;
            self.has_lines = true;

            if part.len() + frame.get_ref().len() >= PART {
                part.append(frame.get_mut());
                self.frame = Some(frame);
                return Ok(Some(part));
            }
        }

        part.extend(frame.finish()?);
        Ok(Some(part))
    }

    /// Reads the next line. Returns whether there is one.
    fn read_line(&mut self) -> io::Result<bool> {
        loop {
            let lines = match &mut self.lines {
                Some(lines) => lines,
                None => match self.files.pop() {
                    Some((file, offset)) => self.lines.insert(ChapterLines::of_file(file, offset)?),
                    None => return Ok(false),
                },
            };

            // What follows damage in a file is left out.
            if lines.read(&mut self.line).unwrap_or(false) {
                if self.line.ends_with(b"\n") {
                    return Ok(true);
                }
            } else {
                self.lines = None;
            }
        }
    }

    /// A line that cannot be read is left out.
    fn anonymize_line(&mut self) {
        let Some(anonymizer) = &mut self.anonymizer else {
            return;
        };

        let line = serde_json::from_slice(&self.line);
        self.line.clear();
        if let Ok(mut line) = line {
            anonymizer.anonymize(&mut line);
            if serde_json::to_writer(&mut self.line, &line).is_ok() {
                self.line.push(b'\n');
            }
        }
    }
}

fn new_frame() -> io::Result<zstd::Encoder<'static, Vec<u8>>> {
    zstd::Encoder::new(Vec::new(), LEVEL)
}
