//! A source that plays a recording.
//!
//! It must not know what is done with the readings. They come at the intervals of the recording, or
//! faster. Their times are those of the recording, so that grace periods and timeouts have the same
//! effect at any speed.

mod entries;
mod events;
mod index;
mod intervals;
mod player;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use super::recording::older_files;
use super::{Liveness, SourceEvent};
use crate::cluster::{Retention, Text};
use crate::playback::{Playback, PlaybackCommands, PlaybackControl, RecordedTime};
use index::{RecordingFiles, RecordingIndex};
use player::Player;

/// The built-in recording: a real cluster of four machines and 30 units under fleet v1.0.0. One
/// machine loses power and comes back, and then another is shut down and comes back.
const DEMO: &str = include_str!("demo.jsonl");

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The file cannot be read.
    #[error("cannot read the recording {}: {error}", .path.display())]
    Unreadable {
        /// The path of the recording.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// A line is invalid.
    #[error("cannot play the recording {}: line {line}: {problem}", .path.display())]
    Line {
        /// The path of the recording.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with the line.
        problem: String,
    },
    /// The part to play is not in the recording.
    #[error("cannot play the recording {}: {problem}", .path.display())]
    Part {
        /// The path of the recording.
        path: PathBuf,
        /// What is wrong with the part.
        problem: String,
    },
    /// The recording has no poll.
    #[error("cannot play the recording {}: it has no polls", .path.display())]
    Empty {
        /// The path of the recording.
        path: PathBuf,
    },
}

/// How a recording is to be played.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReplayOptions {
    /// How many seconds of the recording pass in one second.
    pub(crate) speed: f64,
    /// Where it begins to play; `None`: at its beginning.
    pub(crate) from: Option<RecordedTime>,
    /// Where it ends; `None`: at its end.
    pub(crate) to: Option<RecordedTime>,
}

/// A recording that is played.
#[derive(Debug)]
pub(crate) struct Replay {
    player: Player,
    /// `None` for the built-in recording.
    control: Option<PlaybackControl>,
    commands: PlaybackCommands,
}

impl Replay {
    /// Opens a recording with its older files, and checks it, so that an invalid line is an error
    /// at the start, not an hour later.
    pub(crate) fn open(path: &Path, options: &ReplayOptions) -> Result<Self, ReplayError> {
        let unreadable = |error| ReplayError::Unreadable { path: path.to_owned(), error };
        let mut paths = older_files(path).map_err(unreadable)?;
        // Between two files there is none with this name.
        if paths.is_empty() || path.try_exists().map_err(unreadable)? {
            paths.push(path.to_owned());
        }

        let files = RecordingFiles::Files(paths);
        let index = RecordingIndex::of(&files)?;
        let (begin, end) = index
            .part(options.from, options.to)
            .map_err(|problem| ReplayError::Part { path: path.to_owned(), problem })?;

        let mut player = Player::new(files, index, options.speed);
        player.set_part(begin, end);
        if options.from.is_some() {
            player.go_to(begin);
        }
        let (control, commands) = PlaybackControl::channel();
        Ok(Self { player, control: Some(control), commands })
    }

    /// The built-in recording, in an endless loop.
    pub(crate) fn demo(speed: f64) -> Self {
        let files = RecordingFiles::Demo;
        // A test plays it, so this does not fail.
        let index = RecordingIndex::of(&files).unwrap_or_default();
        let (_, commands) = PlaybackControl::channel();
        Self {
            player: Player::new(files, index, speed),
            control: None,
            commands,
        }
    }

    /// By when the source yields its next event.
    pub(crate) fn liveness(&self) -> &Liveness {
        self.player.liveness()
    }

    /// The name for the page and for messages, such as `recording of fleetctl v1.0.0`.
    pub(crate) fn name(&self) -> Text {
        match self.player.source() {
            Some(source) => format!("recording of {source}").as_str().into(),
            None => "recording".into(),
        }
    }

    /// Whether the recording is over.
    pub(crate) fn has_ended(&self) -> bool {
        self.player.has_ended()
    }

    /// What changes how it is played; `None` for the built-in recording.
    pub(crate) fn control(&self) -> Option<PlaybackControl> {
        self.control.clone()
    }

    /// How it is played; `None` before its beginning, and for the built-in recording.
    pub(crate) fn playback(&self) -> Option<Playback> {
        self.control.as_ref()?;
        self.player.playback()
    }

    /// Searches the recording for events, in a thread of its own.
    pub(crate) fn search_events(&self, retention: Retention) {
        if let Some(control) = self.control() {
            self.player.search_events(retention, control);
        }
    }

    /// Waits for the next event. While it is paused, and after its end, this waits for a command.
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> SourceEvent {
        tokio::select! {
            biased;
            Some(command) = self.commands.recv() => self.player.apply(command),
            event = self.player.play() => event,
        }
    }
}
