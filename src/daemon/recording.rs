//! Connects the downloads of clients to what is recorded. It knows neither the format of a
//! recording, nor how a client gets it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::Daemon;
use crate::cluster::Retention;
use crate::server::{RecordingArchive, RecordingDownload};
use crate::source::recording::RecordingExcerpt;

/// The recording that is being written.
#[derive(Debug)]
struct CurrentRecording(PathBuf);

impl RecordingArchive for CurrentRecording {
    fn since(
        &self,
        since: SystemTime,
        is_anonymous: bool,
    ) -> io::Result<Option<Box<dyn RecordingDownload>>> {
        let excerpt = RecordingExcerpt::open(&self.0, since, is_anonymous)?;
        Ok(excerpt.map(|excerpt| Box::new(excerpt) as Box<dyn RecordingDownload>))
    }
}

impl RecordingDownload for RecordingExcerpt {
    fn next_part(&mut self) -> io::Result<Option<Vec<u8>>> {
        RecordingExcerpt::next_part(self)
    }
}

impl Daemon {
    /// Lets clients download what is recorded now.
    pub(super) fn publish_recording(&self) {
        let recording = self.recorder.as_ref().map(|recorder| {
            let path = recorder.path().to_owned();
            Arc::new(CurrentRecording(path)) as Arc<dyn RecordingArchive>
        });

        self.server.set_recording(recording);
    }

    /// Lets clients change how a recording is played, and searches it for events.
    pub(super) fn publish_playback_control(&self, retention: Retention) {
        self.server.set_playback(self.source.playback_control());
        self.source.search_events(retention);
    }
}
