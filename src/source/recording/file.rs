//! The file of a recording: it is appended to, compressed or not, and repaired if its end is cut.
//!
//! It must not know what the lines mean. Each chapter is a zstd frame of its own. After each call
//! of [`RecordingFile::append`] all lines are with the kernel, so that a process that is killed
//! loses none of them.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::frames;

/// The compression level. At this one, 80 of 5,000 rows take about a millisecond.
pub(super) const LEVEL: i32 = 3;

/// The end of the name of a file that is not compressed.
const PLAIN_EXTENSION: &str = "jsonl";

/// How much of the end of a file is searched for the beginning of its last line, in bytes.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// How often, and at which intervals, it is tried to lock a file.
const LOCK_ATTEMPTS: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A recording that is appended to.
pub struct RecordingFile {
    file: File,
    is_compressed: bool,
    /// Whether it has a length: it is no pipe.
    is_regular: bool,
    /// The zstd frame of the current chapter.
    frame: Option<zstd::Encoder<'static, File>>,
}

impl RecordingFile {
    /// Opens a file, and creates it if it does not exist. If its end is cut, it is repaired. A new
    /// file is compressed unless its name ends in `.jsonl`; another one stays as it is.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, read or repaired.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let is_regular = file.metadata()?.is_file();
        if is_regular {
            lock(&file)?;
        }
        let is_plain_name = path.extension().is_some_and(|extension| extension == PLAIN_EXTENSION);

        let mut is_compressed = !is_plain_name;
        if is_regular && file.metadata()?.len() > 0 {
            let mut readable = OpenOptions::new().read(true).write(true).open(path)?;
            is_compressed = is_zstd(&mut readable)?;
            if is_compressed {
                repair_frames(&readable)?;
            } else {
                repair_lines(&mut readable)?;
            }
        }

        Ok(Self { file, is_compressed, is_regular, frame: None })
    }

    /// Appends lines to the current chapter, or begins one.
    ///
    /// # Errors
    ///
    /// When they cannot be written. Then a part of them may be written.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_compressed {
            let frame = match &mut self.frame {
                Some(frame) => frame,
                None => self.frame.insert(zstd::Encoder::new(self.file.try_clone()?, LEVEL)?),
            };
            frame.write_all(lines)?;
            frame.flush()
        } else {
            self.file.write_all(lines)
        }
    }

    /// How many bytes it has; zero for a pipe.
    pub(super) fn length(&self) -> u64 {
        match self.file.metadata() {
            Ok(metadata) if self.is_regular => metadata.len(),
            _ => 0,
        }
    }

    /// Ends the current chapter, if there is one.
    ///
    /// # Errors
    ///
    /// When its end cannot be written.
    pub fn end_chapter(&mut self) -> io::Result<()> {
        if let Some(frame) = self.frame.take() {
            frame.finish()?;
        }
        Ok(())
    }
}

/// Keeps other monitors from writing to the file until this process closes it, however it ends. One
/// that is just ending gets a moment for that.
fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_ATTEMPTS {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => thread::sleep(LOCK_PAUSE),
            // Not every file system has locks.
            _ => return Ok(()),
        }
    }
    Err(io::Error::other("another process records to it"))
}

/// Whether the content is compressed. Reads from the beginning, and stays there.
pub(super) fn is_zstd(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let mut beginning = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(4).read_to_end(&mut beginning)?;
    file.seek(SeekFrom::Start(0))?;

    Ok(beginning == frames::MAGIC)
}

/// Completes the last frame, if the program that wrote it was killed.
fn repair_frames(file: &File) -> io::Result<()> {
    let found = frames::find(&mut BufReader::new(file))?;
    let length = file.metadata()?.len();
    let end = found.last().map_or(0, |frame| frame.end);
    let is_cut = found.last().is_some_and(|frame| !frame.is_complete);

    if end < length {
        file.set_len(end)?;
    }
    if is_cut {
        let mut file = file;
        file.seek(SeekFrom::Start(end))?;
        file.write_all(&frames::LAST_BLOCK)?;
    }
    Ok(())
}

/// Removes the last line, if it has no end.
fn repair_lines(file: &mut File) -> io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    let searched = length.min(MAX_LINE);
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(length - searched))?;
    file.take(searched).read_to_end(&mut end)?;

    let cut = end.iter().rev().take_while(|byte| **byte != b'\n').count() as u64;
    let is_line_of_recording = |cut: usize| end[end.len() - cut..].starts_with(b"{");
    match cut {
        0 => Ok(()),
        cut if usize::try_from(cut).is_ok_and(is_line_of_recording) => file.set_len(length - cut),
        // Not what this program writes.
        _ => file.write_all(b"\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn text(path: &Path) -> String {
        let bytes = fs::read(path).unwrap();
        String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap()
    }

    #[test]
    fn the_name_of_a_new_file_and_the_content_of_another_say_whether_it_is_compressed() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain.jsonl");
        let compressed = folder.path().join("recording");
        let old = folder.path().join("old");
        fs::write(&old, "{\"recording\":1}\n").unwrap();

        for path in [&plain, &compressed, &old] {
            let mut file = RecordingFile::open(path).unwrap();
            file.append(b"{}\n").unwrap();
            file.end_chapter().unwrap();
        }

        assert_eq!(fs::read_to_string(&plain).unwrap(), "{}\n");
        assert_eq!(text(&compressed), "{}\n");
        assert_eq!(fs::read_to_string(&old).unwrap(), "{\"recording\":1}\n{}\n");
    }

    #[test]
    fn what_a_killed_program_has_appended_is_there_and_is_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        let mut killed = RecordingFile::open(&path).unwrap();
        killed.append(b"one\n").unwrap();
        killed.append(b"two\n").unwrap();
        // Its frame is never completed. The beginning of a third block reached the disk.
        drop(killed);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend([0x44, 0x01]);
        fs::write(&path, bytes).unwrap();

        let mut next = RecordingFile::open(&path).unwrap();
        next.append(b"three\n").unwrap();
        next.end_chapter().unwrap();
        assert_eq!(text(&path), "one\ntwo\nthree\n");
    }

    #[test]
    fn no_second_monitor_writes_to_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        let first = RecordingFile::open(&path).unwrap();
        assert!(RecordingFile::open(&path).is_err());

        drop(first);
        assert!(RecordingFile::open(&path).is_ok());
    }

    #[test]
    fn a_line_without_an_end_is_removed_before_others_follow() {
        let folder = tempfile::tempdir().unwrap();
        for (before, after) in [
            ("{\"t\":1}\n{\"t\":2,", "{\"t\":1}\nx\n"),
            ("{\"t\":1}\n", "{\"t\":1}\nx\n"),
            ("{\"t\":", "x\n"),
            ("something else", "something else\nx\n"),
        ] {
            let path = folder.path().join("recording.jsonl");
            fs::write(&path, before).unwrap();
            RecordingFile::open(&path).unwrap().append(b"x\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
    }
}
