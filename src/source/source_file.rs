//! A unit file as a source has it, and why one was not read. Pure.
//!
//! It must not know how a source reads a file. Errors never quote a content, which may be secret.

use super::SourceError;

/// How many bytes a unit file may have. fleet refuses lines of more than 2 KiB, and real files have
/// a few KiB.
pub(crate) const MAX_FILE_BYTES: usize = 64 << 10;

/// How many bytes a response with one may have: JSON, in which some characters are escaped.
pub(super) const JSON_BYTES: usize = 4 * MAX_FILE_BYTES;

/// A unit file as the source has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// fleet's hash of it.
    pub(crate) hash: String,
    pub(crate) text: String,
}

/// What was read for a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadFiles {
    /// `None`: fleet has no unit of this name.
    pub(crate) current: Option<SourceFile>,
    /// Those of the requested old versions that the source still has.
    pub(crate) old: Vec<SourceFile>,
}

/// Why a unit file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileReadError {
    /// The source is a recording.
    #[error("a recording has no unit files")]
    Recording,
    /// Such a name cannot be passed on to the source.
    #[error("{0:?} is not the name of a unit")]
    Name(String),
    /// No real unit file is so large.
    #[error("the unit file has more than {limit} KiB", limit = MAX_FILE_BYTES >> 10)]
    TooLarge,
    /// The answer of the source is not a unit file, or not one with the hash that it should have.
    #[error("what the source has is not a unit file, or not the one that fleet names")]
    Unreadable,
    /// The source cannot be asked, or fails.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl SourceFile {
    /// A file with this hash.
    ///
    /// # Errors
    ///
    /// It is larger than [`MAX_FILE_BYTES`].
    pub(super) fn new(hash: String, text: String) -> Result<Self, FileReadError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(FileReadError::TooLarge);
        }
        Ok(Self { hash, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::assert_catalogue;

    #[test]
    fn errors_are_in_these_words() {
        let errors = [
            FileReadError::Recording,
            FileReadError::Name("a b".to_owned()),
            FileReadError::TooLarge,
            FileReadError::Unreadable,
        ];
        assert_catalogue(
            "unit-file-read-errors",
            errors.map(|error| (format!("{error:?}"), error)),
        );
    }
}
