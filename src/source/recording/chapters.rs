//! The chapters of a recording's file: where they are, and how their lines are read.
//!
//! It must not know what is in a report. Of a compressed file only the first line of each chapter
//! is decompressed to find them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use super::file::is_zstd;
use super::{RecordingLine, frames};
use crate::cluster::Text;
use crate::utc;

/// The longest first line of a chapter, in bytes.
const MAX_HEAD: u64 = 64 * 1024;

/// How the first line of a chapter begins.
const HEAD: &[u8] = b"{\"recording\":";

/// What is known of a chapter from its first line.
#[derive(Clone, Debug)]
pub(in crate::source) struct ChapterHead {
    /// Where it begins in the file.
    pub(in crate::source) start: u64,
    pub(in crate::source) run: Option<Text>,
    /// Seconds since the beginning of the run; `None` before version 3 of the format.
    pub(in crate::source) t: Option<f64>,
    pub(in crate::source) time: Option<SystemTime>,
}

/// The chapters of a compressed file; `None` if the file is not compressed.
pub(in crate::source) fn chapters(path: &Path) -> io::Result<Option<Vec<ChapterHead>>> {
    let mut file = File::open(path)?;
    match is_zstd(&mut file)? {
        true => compressed_chapters(&mut file).map(Some),
        false => Ok(None),
    }
}

/// The chapters of a file. One that is not compressed is read as a whole.
pub(super) fn all_chapters(file: &mut File) -> io::Result<Vec<ChapterHead>> {
    if is_zstd(file)? {
        return compressed_chapters(file);
    }

    let mut reader = BufReader::new(file);
    let mut heads = Vec::new();
    let mut line = Vec::new();
    let mut start = 0;
    while reader.read_until(b'\n', &mut line)? > 0 {
        if begins(&line) {
            heads.push(ChapterHead::of(start, &line));
        }
        start += line.len() as u64;
        line.clear();
    }
    Ok(heads)
}

fn compressed_chapters(file: &mut File) -> io::Result<Vec<ChapterHead>> {
    let mut file = BufReader::new(file);
    let mut heads = Vec::new();

    for frame in frames::find(&mut file)? {
        file.seek(SeekFrom::Start(frame.start))?;
        let mut line = Vec::new();
        // What a cut file has of the line may be no JSON.
        let _ = BufReader::new(zstd::Decoder::with_buffer(&mut file)?.take(MAX_HEAD))
            .read_until(b'\n', &mut line);
        heads.push(ChapterHead::of(frame.start, &line));
    }
    Ok(heads)
}

/// Whether a line begins a chapter.
pub(super) fn begins(line: &[u8]) -> bool {
    line.starts_with(HEAD)
}

impl ChapterHead {
    fn of(start: u64, line: &[u8]) -> Self {
        let line: RecordingLine = if begins(line) {
            serde_json::from_slice(line).unwrap_or_default()
        } else {
            RecordingLine::default()
        };

        Self {
            start,
            run: line.run,
            t: line.t,
            time: line.time.as_deref().and_then(utc::parse_rfc3339),
        }
    }
}

/// The lines of a file, from the beginning of a chapter on. They end where the file is cut.
pub(in crate::source) struct ChapterLines {
    reader: Box<dyn BufRead + Send>,
    /// Whether the file is compressed.
    is_compressed: bool,
}

impl ChapterLines {
    /// The lines of a file, from this offset on.
    pub(in crate::source) fn open(path: &Path, offset: u64) -> io::Result<Self> {
        Self::of_file(File::open(path)?, offset)
    }

    /// The lines of an open file, from this offset on.
    pub(super) fn of_file(mut file: File, offset: u64) -> io::Result<Self> {
        let is_compressed = is_zstd(&mut file)?;
        file.seek(SeekFrom::Start(offset))?;

        let reader: Box<dyn BufRead + Send> = if is_compressed {
            Box::new(BufReader::new(zstd::Decoder::new(file)?))
        } else {
            Box::new(BufReader::new(file))
        };
        Ok(Self { reader, is_compressed })
    }

    /// The lines of a text.
    pub(in crate::source) fn of_text(text: &'static [u8]) -> Self {
        Self { reader: Box::new(text), is_compressed: false }
    }

    /// Reads the next line, with its end, into an empty buffer. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// When the file cannot be read. Of a compressed file: also when it is damaged, but not when
    /// it is cut.
    pub(in crate::source) fn read(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        match self.reader.read_until(b'\n', line) {
            Ok(_) => {}
            Err(error) if self.is_compressed && error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }

        // A program that was killed while it wrote a line has left a part of it.
        let is_cut = self.is_compressed && !line.ends_with(b"\n");
        Ok(!line.is_empty() && !is_cut)
    }
}

impl std::fmt::Debug for ChapterLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChapterLines")
            .field("is_compressed", &self.is_compressed)
            .finish_non_exhaustive()
    }
}
