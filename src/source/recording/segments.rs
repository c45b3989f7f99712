//! The older files of a recording that is kept for a while: their names, and which are removed.
//!
//! It must not know what is in the files. The newest file of a recording has its name; when
//! another one begins, the time is appended to that: `flight.20261127T211530.123Z`. So only such
//! files are ever removed.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::utc;

/// In how many files the time or the size that is kept is divided. As much as one of them holds
/// may be kept longer, and is missing from the size.
const PARTS: u32 = 8;

/// How much of a recording is kept, at least one of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordKeep {
    pub(crate) age: Option<Duration>,
    /// In bytes.
    pub(crate) size: Option<u64>,
}

impl RecordKeep {
    /// How long one file becomes.
    pub(super) fn part_age(&self) -> Option<Duration> {
        self.age.map(|age| age / PARTS)
    }

    /// How large one file becomes, in bytes.
    pub(super) fn part_size(&self) -> Option<u64> {
        self.size.map(|size| size / u64::from(PARTS))
    }
}

/// An older file of a recording.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Segment {
    /// When the next one began.
    ended: SystemTime,
    path: PathBuf,
}

/// The older files of the recording with this path, the oldest first.
pub(in crate::source) fn older_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let segments = segments(path)?.into_iter();
    Ok(segments.map(|segment| segment.path).collect())
}

fn segments(path: &Path) -> io::Result<Vec<Segment>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(directory(path)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };

    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry?;
        let file = entry.file_name();
        let ended = file
            .to_str()
            .and_then(|file| file.strip_prefix(name)?.strip_prefix('.'))
            .and_then(parse_stamp);
        if let Some(ended) = ended {
            segments.push(Segment { ended, path: entry.path() });
        }
    }
    segments.sort();
    Ok(segments)
}

/// Gives a file the name of an older one.
pub(super) fn set_aside(path: &Path, mut now: SystemTime) -> io::Result<()> {
    loop {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".");
        aside.push(stamp(now));
        let aside = PathBuf::from(aside);

        if !aside.try_exists()? {
            return fs::rename(path, aside);
        }
        now += Duration::from_millis(1);
    }
}

/// Removes older files that are too old, or too large together.
pub(super) fn remove_old(path: &Path, keep: RecordKeep, now: SystemTime) -> io::Result<()> {
    let part = keep.part_size().unwrap_or_default();
    let limit = keep.size.map_or(u64::MAX, |size| size - part);
    let mut total = 0_u64;

    for segment in segments(path)?.into_iter().rev() {
        let size = fs::metadata(&segment.path).map_or(0, |metadata| metadata.len());
        total = total.saturating_add(size);

        let age = now.duration_since(segment.ended).unwrap_or_default();
        let is_too_old = keep.age.is_some_and(|kept| age > kept);
        if is_too_old || total > limit {
            match fs::remove_file(&segment.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The directory that a file is in.
pub(super) fn directory(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// The time in the name of an older file: `20261127T211530.123Z`.
fn stamp(time: SystemTime) -> String {
    utc::rfc3339(time).replace(['-', ':'], "")
}

fn parse_stamp(text: &str) -> Option<SystemTime> {
    let is_stamp = text.len() == "20261127T211530.123Z".len() && text.is_ascii();
    if !is_stamp {
        return None;
    }

    let (year, rest) = text.split_at(4);
    let (month, rest) = rest.split_at(2);
    let (day, rest) = rest.split_at(2);
    let (hour, rest) = rest.split_at(3);
    let (minute, second) = rest.split_at(2);
    utc::parse_rfc3339(&format!("{year}-{month}-{day}{hour}:{minute}:{second}"))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
    }

    fn names(path: &Path) -> Vec<String> {
        let files = older_files(path).unwrap().into_iter();
        files
            .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    fn set_aside_with(path: &Path, bytes: usize, seconds: u64) {
        fs::write(path, vec![b' '; bytes]).unwrap();
        set_aside(path, at(seconds)).unwrap();
    }

    #[test]
    fn older_files_have_the_time_in_their_names_and_are_found_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flight");
        for seconds in [10, 0, 0] {
            set_aside_with(&path, 1, seconds);
        }
        for other in
            ["flight", "flight.old", "flight.20231114T221320Z", "other.20231114T221320.000Z"]
        {
            fs::write(folder.path().join(other), "").unwrap();
        }

        assert_eq!(
            names(&path),
            [
                "flight.20231114T221320.000Z",
                "flight.20231114T221320.001Z",
                "flight.20231114T221330.000Z",
            ]
        );
    }

    #[test]
    fn what_is_too_old_or_too_much_is_removed_the_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flight");
        for seconds in 0..6 {
            set_aside_with(&path, 100, seconds * 10);
        }

        let keep = RecordKeep { age: Some(Duration::from_secs(40)), size: None };
        remove_old(&path, keep, at(60)).unwrap();
        assert_eq!(names(&path).len(), 4, "those that ended at most 40 s ago");

        // One part of eight is left for the newest file.
        let keep = RecordKeep { age: None, size: Some(240) };
        remove_old(&path, keep, at(60)).unwrap();
        assert_eq!(names(&path), ["flight.20231114T221400.000Z", "flight.20231114T221410.000Z"]);
    }
}
