//! What is recorded, as the server sees it.
//!
//! This module must not know what a recording contains, nor where it is.

use std::fmt;
use std::io;
use std::time::SystemTime;

/// What is recorded. The methods may block.
pub trait RecordingArchive: fmt::Debug + Send + Sync {
    /// What was recorded since a time; if that is asked for, without anything that identifies the
    /// cluster. `None`: nothing is recorded yet.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn since(
        &self,
        since: SystemTime,
        is_anonymous: bool,
    ) -> io::Result<Option<Box<dyn RecordingDownload>>>;
}

/// A recording on its way to a client.
pub trait RecordingDownload: Send {
    /// The next part of the file; `None` at the end. May block.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn next_part(&mut self) -> io::Result<Option<Vec<u8>>>;
}
