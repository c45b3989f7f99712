//! How a recording is played, as the source, the feed and the server share it: what a viewer can
//! change, and the clock of what is shown.
//!
//! It must not know what is in a recording, nor how a viewer asks for a change. All viewers see the
//! same, so a change that one of them makes is a change for all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use crate::utc;

/// How many commands may wait. More are refused.
const MAX_COMMANDS: usize = 16;

/// How many places of events are kept.
pub(crate) const MAX_MARKS: usize = 4000;

/// What a viewer can change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PlaybackCommand {
    Pause,
    Resume,
    /// How many seconds of the recording pass in one second.
    SetSpeed(f64),
    /// Goes on at this time since the beginning of the recording.
    Seek(Duration),
}

/// How a recording is played at a moment. A *position* is a time since its beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Playback {
    /// The part that is played.
    pub(crate) begin: Duration,
    pub(crate) end: Duration,
    pub(crate) is_paused: bool,
    pub(crate) speed: f64,
    /// A position, and when that is shown. If time passes in the recording, it passes from there.
    pub(crate) position: Duration,
    pub(crate) shown: SystemTime,
    /// The wall clock at that position; `None` if the recording does not have it.
    pub(crate) time: Option<SystemTime>,
    /// Whether time passes in the recording.
    pub(crate) is_running: bool,
}

impl Playback {
    /// The position that is shown at a time of the real clock.
    pub(crate) fn position_at(&self, real: SystemTime) -> Duration {
        let position = self.position.saturating_add(self.elapsed(real));
        position.min(self.end.max(self.position))
    }

    /// The wall clock of the recording at a time of the real clock. Without a recorded one it is
    /// the real one.
    pub(crate) fn clock(&self, real: SystemTime) -> SystemTime {
        match self.time {
            Some(time) => time + (self.position_at(real) - self.position),
            None => real,
        }
    }

    fn elapsed(&self, real: SystemTime) -> Duration {
        if !self.is_running {
            return Duration::ZERO;
        }

        let elapsed = real.duration_since(self.shown).unwrap_or_default();
        Duration::try_from_secs_f64(elapsed.as_secs_f64() * self.speed).unwrap_or(Duration::MAX)
    }
}

/// Where there are events in a recording, as far as it has been searched.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventMarks {
    /// Positions, in their order, at most [`MAX_MARKS`].
    pub(crate) positions: Vec<Duration>,
    /// Whether all of it has been searched.
    pub(crate) is_complete: bool,
}

/// Lets the server change how a recording is played. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct PlaybackControl {
    commands: mpsc::Sender<PlaybackCommand>,
    marks: Arc<Mutex<EventMarks>>,
}

/// The commands of all clones of a [`PlaybackControl`].
pub(crate) type PlaybackCommands = mpsc::Receiver<PlaybackCommand>;

impl PlaybackControl {
    pub(crate) fn channel() -> (Self, PlaybackCommands) {
        let (commands, receiver) = mpsc::channel(MAX_COMMANDS);
        (Self { commands, marks: Arc::default() }, receiver)
    }

    /// Passes a command on. Returns false if too many are waiting.
    pub(crate) fn send(&self, command: PlaybackCommand) -> bool {
        self.commands.try_send(command).is_ok()
    }

    /// Whether the recording is not played any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    pub(crate) fn marks(&self) -> MutexGuard<'_, EventMarks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a recording, as an option names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordedTime {
    /// A time since the beginning.
    Offset(Duration),
    /// The first time at which it is so late, by the wall clock in UTC; since midnight.
    TimeOfDay(Duration),
    /// A time by the wall clock.
    At(SystemTime),
}

impl RecordedTime {
    /// Parses an offset such as `90s`, a time of day such as `14:30`, or a time in RFC 3339.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(time) = utc::parse_rfc3339(text) {
            return Some(Self::At(time));
        }
        if let Some((seconds, fraction)) = utc::parse_time_of_day(text) {
            return Some(Self::TimeOfDay(Duration::from_secs(seconds) + fraction));
        }

        let (number, unit) = text.split_at(text.find(|char: char| char.is_ascii_alphabetic())?);
        let factor = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let is_number = number.starts_with(|char: char| char.is_ascii_digit());
        let seconds: f64 = number.parse().ok().filter(|_| is_number)?;
        Duration::try_from_secs_f64(seconds * factor).ok().map(Self::Offset)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn playback() -> Playback {
        Playback {
            begin: Duration::ZERO,
            end: 100 * SECOND,
            is_paused: false,
            speed: 10.0,
            position: 20 * SECOND,
            shown: UNIX_EPOCH + 1000 * SECOND,
            time: Some(UNIX_EPOCH + 50 * SECOND),
            is_running: true,
        }
    }

    #[test]
    fn the_clock_of_a_recording_runs_at_its_speed_and_stops_at_its_end() {
        let at = |seconds: u32| UNIX_EPOCH + seconds * SECOND;
        let running = playback();
        assert_eq!(running.position_at(at(1003)), 50 * SECOND);
        assert_eq!(running.clock(at(1003)), at(80));
        assert_eq!(running.position_at(at(1100)), 100 * SECOND);
        assert_eq!(running.clock(at(1100)), at(130));

        let paused = Playback { is_running: false, ..running };
        assert_eq!(paused.position_at(at(1003)), 20 * SECOND);
        let without_clock = Playback { time: None, ..running };
        assert_eq!(without_clock.clock(at(1003)), at(1003), "it is the real one");
    }

    #[test]
    fn a_place_in_a_recording_is_an_offset_a_time_of_day_or_a_time() {
        let time = UNIX_EPOCH + 1_700_000_000 * SECOND;
        for (text, expected) in [
            ("90s", RecordedTime::Offset(90 * SECOND)),
            ("1.5m", RecordedTime::Offset(90 * SECOND)),
            ("2h", RecordedTime::Offset(7200 * SECOND)),
            ("14:30", RecordedTime::TimeOfDay(52_200 * SECOND)),
            ("14:30:05", RecordedTime::TimeOfDay(52_205 * SECOND)),
            ("2023-11-14T22:13:20Z", RecordedTime::At(time)),
            ("2023-11-14 23:13:20+01:00", RecordedTime::At(time)),
        ] {
            assert_eq!(RecordedTime::parse(text), Some(expected), "{text}");
        }
        for text in ["", "90", "s", "-5s", "infs", "5d", "25:00", "2023-11-14", "noon"] {
            assert_eq!(RecordedTime::parse(text), None, "{text}");
        }
    }
}
