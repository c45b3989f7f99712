//! Plays the entries of a recording at their times, and goes to others.
//!
//! It must not know who asks for that.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use super::entries::RecordingEntries;
use super::events;
use super::index::{RecordingFiles, RecordingIndex};
use crate::cluster::{Moment, ReadSchedule, Retention, Text};
use crate::playback::{Playback, PlaybackCommand, PlaybackControl};
use crate::source::recording::{RecordedReport, RecordingEntry};
use crate::source::{LATE, Liveness, SourceError, SourceEvent, SourceReport};

/// The longest wait for a poll, so that a time far in the future does not overflow.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400 * 365);

/// How much of a recording is played, in no time, before a position to which somebody has gone:
/// from there on it is known what has happened, and what is only away for a moment.
const BEFORE_SEEK: Duration = Duration::from_secs(600);

/// How much of a recording passes between two [`SourceEvent::TimePassed`]. They are at the same
/// positions wherever it begins to be played.
const TICK: Duration = Duration::from_secs(1);

/// How long the next report may take while reports are played at once.
const CATCHING_UP: Duration = Duration::from_secs(10);

/// Plays a recording.
#[derive(Debug)]
pub(super) struct Player {
    files: RecordingFiles,
    pub(super) index: Arc<RecordingIndex>,
    entries: RecordingEntries,
    /// How many seconds of the recording pass in one second.
    speed: f64,
    is_paused: bool,
    /// The positions between which it is played.
    begin: Duration,
    end: Duration,
    /// The next report, until it is due, and the number of its run.
    pending: Option<(usize, RecordedReport)>,
    /// The position from which on reports are played at their times. Those before it are played at
    /// once.
    catching_up: Option<Duration>,
    /// The clock of what is shown; `None` before the beginning.
    shown: Option<ShownPosition>,
    /// The clock by which readings are judged; `None` before the first report.
    judged: Option<JudgedPosition>,
    /// When the next second of the recording has passed; `None` before the first report of a run.
    next_tick: Option<Duration>,
    /// The name of the source that was recorded.
    source: Option<Text>,
    liveness: Liveness,
    ended: bool,
}

/// A position, and when it is shown.
#[derive(Clone, Copy, Debug)]
struct ShownPosition {
    position: Duration,
    real: Instant,
    wall: SystemTime,
}

/// A position, and as which time of the steady clock it counts.
#[derive(Clone, Copy, Debug)]
struct JudgedPosition {
    position: Duration,
    instant: std::time::Instant,
}

impl JudgedPosition {
    /// As which time a later position counts.
    fn instant_at(self, position: Duration) -> std::time::Instant {
        self.instant + position.saturating_sub(self.position)
    }
}

impl Player {
    pub(super) fn new(files: RecordingFiles, index: RecordingIndex, speed: f64) -> Self {
        let index = Arc::new(index);
        Self {
            entries: RecordingEntries::from_chapter(&files, &index, 0),
            files,
            speed,
            is_paused: false,
            begin: Duration::ZERO,
            end: index.length(),
            index,
            pending: None,
            catching_up: None,
            shown: None,
            judged: None,
            next_tick: None,
            source: None,
            liveness: Liveness::default(),
            ended: false,
        }
    }

    /// Plays only the part between two positions.
    pub(super) fn set_part(&mut self, begin: Duration, end: Duration) {
        self.begin = begin;
        self.end = end;
    }

    pub(super) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    pub(super) fn source(&self) -> Option<&Text> {
        self.source.as_ref()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn playback(&self) -> Option<Playback> {
        let ShownPosition { position, wall, .. } = self.shown?;

        Some(Playback {
            begin: self.begin,
            end: self.end,
            is_paused: self.is_paused,
            speed: self.speed,
            position,
            shown: wall,
            time: self.index.time_at(position),
            is_running: self.is_running(),
        })
    }

    pub(super) fn search_events(&self, retention: Retention, control: PlaybackControl) {
        events::search(&self.files, &self.index, retention, control);
    }

    /// Changes how the recording is played.
    pub(super) fn apply(&mut self, command: PlaybackCommand) -> SourceEvent {
        let position = self.position();

        match command {
            PlaybackCommand::Pause => self.is_paused = true,
            PlaybackCommand::Resume => self.is_paused = false,
            PlaybackCommand::SetSpeed(speed) => self.speed = speed,
            PlaybackCommand::Seek(position) => {
                self.go_to(position.clamp(self.begin, self.end));
                return SourceEvent::Sought;
            }
        }
        self.show(position);
        SourceEvent::PlaybackChanged
    }

    /// Goes on at another position. All earlier reports are void.
    pub(super) fn go_to(&mut self, position: Duration) {
        let chapter = self.index.chapter_before(position, BEFORE_SEEK);

        self.entries = RecordingEntries::from_chapter(&self.files, &self.index, chapter);
        self.pending = None;
        self.judged = None;
        self.next_tick = None;
        self.ended = false;
        self.catching_up = Some(position);
        self.show(position);
    }

    /// The next event. Cancel safe.
    pub(super) async fn play(&mut self) -> SourceEvent {
        while self.pending.is_none() {
            if self.ended {
                self.liveness.clear_deadline();
                return pending().await;
            }

            match self.entries.next().await {
                Some((run, RecordingEntry::Poll(report))) => self.pending = Some((run, report)),
                Some((run, RecordingEntry::Begin { source, .. })) => {
                    return self.begin_run(run, source);
                }
                None if matches!(self.files, RecordingFiles::Demo) => {
                    self.judged = self.judged.map(|judged| JudgedPosition {
                        position: Duration::ZERO,
                        instant: judged.instant_at(self.end),
                    });
                    self.entries = RecordingEntries::from_chapter(&self.files, &self.index, 0);
                }
                None => return self.end_playing(),
            }
        }

        // If the future is dropped while it sleeps, the next call finds the report in `pending`.
        let Some((run, report)) = &self.pending else {
            return pending().await;
        };
        let run = self.index.runs[*run];
        let position = run.position_of(report.at);
        if self.shown.is_none() {
            self.show(run.position);
        }

        let tick = self.next_tick.filter(|tick| *tick < position);
        let next = tick.unwrap_or(position);

        if let Some(target) = self.catching_up {
            self.liveness.set_deadline(Instant::now() + CATCHING_UP);
            if next > target {
                return self.end_catching_up(target);
            }
            if let Some(tick) = tick {
                return self.pass_time(tick);
            }
            return match self.take_report(position) {
                Some(report) => SourceEvent::CatchingUp(report),
                None => pending().await,
            };
        }

        if self.is_paused {
            self.liveness.clear_deadline();
            return pending().await;
        }
        let due = self.due(next.min(self.end));
        self.liveness.set_deadline(due);
        sleep_until(due).await;

        if next > self.end {
            return self.end_playing();
        }
        if let Some(tick) = tick {
            return self.pass_time(tick);
        }
        match self.take_report(position) {
            Some(report) => SourceEvent::Report(report),
            None => pending().await,
        }
    }

    fn begin_run(&mut self, run: usize, source: Option<Text>) -> SourceEvent {
        self.next_tick = None;
        self.source = source;
        if self.catching_up.is_none() {
            self.show(self.index.runs[run].position);
        }
        SourceEvent::Restarted
    }

    fn end_catching_up(&mut self, target: Duration) -> SourceEvent {
        self.catching_up = None;
        self.show(target);
        SourceEvent::CaughtUp
    }

    fn end_playing(&mut self) -> SourceEvent {
        if let Some(target) = self.catching_up {
            return self.end_catching_up(target);
        }

        self.pending = None;
        self.ended = true;
        self.show(self.end);
        SourceEvent::Ended
    }

    /// Whether time passes in the recording.
    fn is_running(&self) -> bool {
        !self.is_paused && !self.ended && self.catching_up.is_none()
    }

    /// Shows a position from now on.
    fn show(&mut self, position: Duration) {
        self.shown =
            Some(ShownPosition { position, real: Instant::now(), wall: SystemTime::now() });
    }

    /// The position that is shown now.
    fn position(&self) -> Duration {
        let Some(shown) = self.shown else {
            return self.begin;
        };
        if !self.is_running() {
            return shown.position;
        }

        let elapsed = shown.real.elapsed().as_secs_f64() * self.speed;
        let elapsed = Duration::try_from_secs_f64(elapsed).unwrap_or(LONGEST_WAIT);
        (shown.position + elapsed).min(self.end)
    }

    fn due(&self, position: Duration) -> Instant {
        let Some(shown) = self.shown else {
            return Instant::now();
        };

        let left = position.saturating_sub(shown.position).as_secs_f64();
        let wait = Duration::try_from_secs_f64(left / self.speed);
        shown.real + wait.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    fn pass_time(&mut self, tick: Duration) -> SourceEvent {
        self.next_tick = Some(tick + TICK);
        SourceEvent::TimePassed(self.moment_at(tick, self.index.time_at(tick)))
    }

    /// The moment as which a position counts. Without a recorded wall clock, people read the real
    /// one.
    fn moment_at(&mut self, position: Duration, recorded: Option<SystemTime>) -> Moment {
        let now = Moment::now();
        let judged = *self
            .judged
            .get_or_insert(JudgedPosition { position, instant: now.instant });

        let wall = recorded.unwrap_or_else(|| self.wall_without_recorded(position, now.wall));
        Moment { instant: judged.instant_at(position), wall }
    }

    /// Takes the report that is due.
    fn take_report(&mut self, position: Duration) -> Option<SourceReport> {
        let (_, report) = self.pending.take()?;
        let at = self.moment_at(position, report.time);
        if self.next_tick.is_none() {
            self.next_tick = Some(tick_after(position));
        }
        let schedule = report
            .schedule
            .or_else(|| self.index.intervals.schedule(report.lists[0]))
            .and_then(|schedule| self.played(schedule, report.time.is_some()));
        Some(SourceReport {
            lists: report.lists,
            at,
            took: report.took,
            schedule,
            outcome: report.outcome.map_err(SourceError::Recorded),
        })
    }

    /// The time by the real clock at which a report would have been shown that is played at once.
    fn wall_without_recorded(&self, position: Duration, now: SystemTime) -> SystemTime {
        let Some(target) = self.catching_up else {
            return now;
        };

        let before = target.saturating_sub(position).as_secs_f64() / self.speed;
        let before = Duration::try_from_secs_f64(before).unwrap_or_default();
        now.checked_sub(before).unwrap_or(now)
    }

    /// A recorded schedule as it is played: by the wall clock of the recording, if it has one, or
    /// else by the real one. What is late in this process is later by the clock of the recording,
    /// which runs at its speed. `None` if it is too slow for a schedule.
    fn played(&self, recorded: ReadSchedule, has_clock: bool) -> Option<ReadSchedule> {
        let scaled = |time: Duration, factor: f64| {
            Duration::try_from_secs_f64(time.as_secs_f64() * factor).ok()
        };
        if has_clock {
            return Some(ReadSchedule { margin: scaled(LATE, self.speed)?, ..recorded });
        }

        let every = scaled(recorded.every, 1.0 / self.speed)?;
        let within = scaled(recorded.within, 1.0 / self.speed)?;
        Some(ReadSchedule::new(every, within.checked_add(LATE)?))
    }
}

/// The first whole number of ticks after a position.
fn tick_after(position: Duration) -> Duration {
    TICK * (u32::try_from(position.as_secs()).unwrap_or(u32::MAX - 1) + 1)
}
