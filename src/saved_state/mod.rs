//! What is kept over a restart of the program: the cluster, its problems and its events, in a file
//! under `$STATE_DIRECTORY`.
//!
//! It must not know what the cluster makes of it.
//!
//! [`SavedState::open`] reads what the program that ran before has left. A [`StateWriter`] passes
//! on what has changed since, and never waits: a thread writes it, once a second at most. What has
//! changed again meanwhile is written once. So a hanging or a full disk costs no more memory than
//! the cluster itself.
//!
//! The file is a log of changes ([`record`]). Those of one second are valid together or not at all.
//! A process that is killed loses at most the last second. Whatever is in the file, the program
//! starts.

mod changes;
mod contents;
mod live;
mod record;
mod stamped;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::Path;
use std::time::Duration;

use tracing::warn;

use crate::append_log::open_in_thread;
use writer::StateFile;

pub(crate) use changes::{RunStart, StateChanges};
pub(crate) use contents::SavedState;
pub(crate) use stamped::Stamped;
pub(crate) use writer::StateWriter;

/// How long the caller waits until the file is read.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

impl SavedState {
    /// Reads what is left in a directory, and begins to write there. If the directory cannot be
    /// used, the log says why, and the program goes on without.
    pub(crate) async fn open(directory: &Path) -> Option<(Self, StateWriter)> {
        match Self::try_open(directory).await {
            Ok(opened) => Some(opened),
            Err(error) => {
                warn!(
                    "nothing is kept over a restart: $STATE_DIRECTORY {} cannot be used: {error}",
                    directory.display()
                );
                None
            }
        }
    }

    async fn try_open(directory: &Path) -> io::Result<(Self, StateWriter)> {
        let writer = StateWriter::new();
        let tasks = writer.clone();
        let directory = directory.to_owned();

        let open = move || StateFile::open(&directory);
        let run = move |file: StateFile| file.run(&tasks);
        let saved = open_in_thread("saved-state", OPEN_TIMEOUT, open, run).await?;
        Ok((saved, writer))
    }
}
