//! The file of a log: appended to, and replaced as a whole.
//!
//! It does not know what is in it. Each call may block, and may fail: the disk may hang or be full.
//! After a failure the file is as it was before the call, as soon as that can be done.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Only the owner may read it: it has the names of all units.
const MODE: u32 = 0o600;

/// A log that is open for appending.
#[derive(Debug)]
pub(crate) struct LogFile {
    directory: PathBuf,
    name: &'static str,
    file: File,
    /// How long the file is, or has to be: what is behind that was not written as a whole.
    bytes: u64,
    /// Whether there may be something behind `bytes`.
    is_torn: bool,
}

impl LogFile {
    /// Opens a file in a directory, or creates it.
    pub(crate) fn open(directory: &Path, name: &'static str) -> io::Result<Self> {
        let path = directory.join(name);
        let file = OpenOptions::new().append(true).create(true).mode(MODE).open(&path)?;
        let bytes = file.metadata()?.len();

        Ok(Self {
            directory: directory.to_owned(),
            name,
            file,
            bytes,
            is_torn: false,
        })
    }

    /// How long it is, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its contents, from the beginning.
    pub(crate) fn read(&self) -> io::Result<BufReader<File>> {
        File::open(self.path()).map(BufReader::new)
    }

    /// Cuts off what is behind this many bytes, now or before the next records are appended.
    pub(crate) fn cut(&mut self, bytes: u64) {
        self.is_torn |= bytes < self.bytes;
        self.bytes = bytes;
    }

    /// As after a write that failed.
    #[cfg(test)]
    pub(crate) fn mark_torn(&mut self) {
        self.is_torn = true;
    }

    /// Appends records, and waits until they are on disk.
    pub(crate) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.bytes)?;
        }

        self.is_torn = true;
        self.file.write_all(records)?;
        self.file.sync_data()?;
        self.is_torn = false;
        self.bytes += records.len() as u64;
        Ok(())
    }

    /// Replaces the contents by what `write` writes. If that fails, they stay as they are.
    pub(crate) fn replace(
        &mut self,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> io::Result<()> {
        let new_path = self.directory.join(format!("{}.new", self.name));
        let written = write_new(&new_path, write).and_then(|file| {
            let bytes = file.metadata()?.len();
            fs::rename(&new_path, self.path())?;
            Ok((file, bytes))
        });

        match written {
            Ok((file, bytes)) => {
                self.file = file;
                self.bytes = bytes;
                self.is_torn = false;
                // The name is on disk only when the directory is.
                File::open(&self.directory)?.sync_all()
            }
            Err(error) => {
                // It would only take space, which may be what is missing.
                let _ = fs::remove_file(&new_path);
                Err(error)
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(self.name)
    }
}

/// Writes a new file, and waits until it is on disk.
fn write_new(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<File> {
    // It is left over from a process that was killed. In append mode its contents would stay.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(MODE)
        .open(path)?;

    let mut writer = BufWriter::new(file);
    write(&mut writer)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn contents(log: &LogFile) -> String {
        let mut contents = String::new();
        log.read().unwrap().read_to_string(&mut contents).unwrap();
        contents
    }

    #[test]
    fn what_was_appended_is_there_when_the_file_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(directory.path(), "log").unwrap();
        log.append(b"one\n").unwrap();
        drop(log);

        let mut log = LogFile::open(directory.path(), "log").unwrap();
        assert_eq!(log.bytes(), 4);
        log.append(b"two\n").unwrap();

        assert_eq!(contents(&log), "one\ntwo\n");
        let mode = fs::metadata(log.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
    }

    #[test]
    fn the_next_records_replace_what_was_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(directory.path(), "log").unwrap();
        log.append(b"one\ntw").unwrap();

        log.cut(4);
        log.append(b"three\n").unwrap();

        assert_eq!(contents(&log), "one\nthree\n");
        assert_eq!(log.bytes(), 10);
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(directory.path(), "log").unwrap();
        log.append(b"old\n").unwrap();
        fs::write(directory.path().join("log.new"), "left over from a killed process").unwrap();

        let failure = |file: &mut BufWriter<File>| {
            file.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        };
        assert!(log.replace(failure).is_err());
        assert_eq!(contents(&log), "old\n");
        assert!(!directory.path().join("log.new").exists());

        log.replace(|file| file.write_all(b"new\n")).unwrap();
        log.append(b"more\n").unwrap();
        assert_eq!(contents(&log), "new\nmore\n");
    }
}
