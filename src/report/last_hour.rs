//! The last hour of a row: its states, how often they changed, and whether it is flapping.
//!
//! It knows no words for them. `src/page/last-hour.js` computes the same, and
//! `tests/fixtures/history/cases.json` tests both.

#[cfg(test)]
mod tests;

use super::wire::{EventRow, Milliseconds, UnitRow};

/// An hour, in milliseconds.
pub const HOUR: Milliseconds = 3_600_000;
/// A unit that went down so often in the last hour is flapping,
const MIN_FALLS: usize = 4;
/// if it last went down within this time, in milliseconds.
const RECENT: Milliseconds = 1_200_000;
/// Units that start the service of the same name, which ends by itself.
const STARTERS: [&str; 3] = [".timer", ".path", ".socket"];

/// What a state means for a unit, from the most to the least telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateKind {
    /// It failed, or cannot be loaded.
    Failed,
    /// It is in a crash loop.
    Loop,
    /// Its state is not known.
    Unreported,
    /// It is not on the machine.
    Absent,
    /// It does not run.
    Down,
    /// It starts or stops.
    Moving,
    /// It runs.
    Up,
}

/// The time in which a row was in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSegment {
    /// When it began.
    pub from: Milliseconds,
    /// When it ended, or now.
    pub to: Milliseconds,
    /// What the state means.
    pub kind: StateKind,
    /// The state as events have it; `None` for kinds that are no state of systemd.
    pub state: Option<String>,
}

/// What happened to a row in the last hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastHour {
    /// Since when it is known, an hour ago at the earliest.
    pub begin: Milliseconds,
    /// From `begin` to now, without gaps.
    pub segments: Vec<StateSegment>,
    /// How often the state changed.
    pub changes: usize,
    /// How often it went down.
    pub falls: usize,
    /// Whether it went down often, and lately.
    pub is_flapping: bool,
    /// Whether it is in a crash loop now.
    pub is_looping: bool,
}

/// Whether another unit starts this one now and then. Its end is no failure.
pub fn is_started_by_another(unit: &str, exists: impl Fn(&str) -> bool) -> bool {
    unit.strip_suffix(".service")
        .is_some_and(|stem| STARTERS.iter().any(|suffix| exists(&format!("{stem}{suffix}"))))
}

impl LastHour {
    /// `events` are those of the row, oldest first; they are complete since `complete_since`.
    /// `is_started` says whether another unit starts it: see [`is_started_by_another`].
    pub fn of(
        row: &UnitRow,
        events: &[&EventRow],
        complete_since: Option<Milliseconds>,
        is_started: bool,
        now: Milliseconds,
    ) -> Self {
        let first = events.first().map(|event| event.time);
        let known = complete_since.or(first).unwrap_or(now);
        let begin = known.max(now.saturating_sub(HOUR)).min(now);

        let changes = events.iter().filter(|event| event.time >= begin && is_change(event));
        let falls: Vec<Milliseconds> = falls(events, is_started)
            .into_iter()
            .filter(|time| *time >= begin)
            .collect();
        let is_looping = row.verdict == "crash_loop";
        let is_recent = falls.last().is_some_and(|last| *last >= now.saturating_sub(RECENT));

        Self {
            begin,
            segments: segments(row, events, begin, now),
            changes: changes.count(),
            falls: falls.len(),
            is_flapping: !is_looping && falls.len() >= MIN_FALLS && is_recent,
            is_looping,
        }
    }

    /// The most telling kind in each of so many equal parts of the last hour; `None` where nothing
    /// is known.
    pub fn cells(&self, count: usize, now: Milliseconds) -> Vec<Option<StateKind>> {
        let start = now.saturating_sub(HOUR);
        let boundary = |cell: usize| start + HOUR * cell as u64 / count as u64;

        (0..count)
            .map(|cell| {
                let (from, to) = (boundary(cell), boundary(cell + 1));
                let overlaps = |segment: &&StateSegment| segment.from < to && segment.to > from;
                self.segments
                    .iter()
                    .filter(overlaps)
                    .map(|segment| segment.kind)
                    .min()
            })
            .collect()
    }
}

/// Whether the state changed.
fn is_change(event: &EventRow) -> bool {
    matches!(&*event.event, "appeared" | "changed" | "stale" | "back" | "gone")
}

/// What is shown of a row at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ShownState {
    kind: StateKind,
    state: Option<String>,
}

impl ShownState {
    const LOOP: Self = Self { kind: StateKind::Loop, state: None };
    const ABSENT: Self = Self { kind: StateKind::Absent, state: None };
    const UNREPORTED: Self = Self { kind: StateKind::Unreported, state: None };

    fn of_state(state: Option<&str>) -> Self {
        match state {
            Some(state) => Self { kind: kind(state), state: Some(state.to_owned()) },
            None => Self::ABSENT,
        }
    }

    fn before(event: &EventRow) -> Self {
        match &*event.event {
            "appeared" => Self::ABSENT,
            "back" => Self::UNREPORTED,
            _ => Self::of_state(event.from.as_deref().or(event.to.as_deref())),
        }
    }

    /// `None` if an event changes nothing.
    fn after(event: &EventRow) -> Option<Self> {
        match &*event.event {
            "gone" => Some(Self::ABSENT),
            "stale" => Some(Self::UNREPORTED),
            _ => event.to.as_deref().map(|to| Self::of_state(Some(to))),
        }
    }

    fn current(row: &UnitRow) -> Self {
        if row.verdict == "crash_loop" {
            return Self::LOOP;
        }
        Self::of_state(row.active.as_ref().map(|_| row.state()).as_deref())
    }

    /// The same, or the crash loop in which it is one state of many.
    fn in_loop(self, is_loop: bool) -> Self {
        if is_loop && self.state.is_some() {
            Self::LOOP
        } else {
            self
        }
    }
}

/// Segments in the making.
struct StateSegments {
    begin: Milliseconds,
    segments: Vec<StateSegment>,
}

impl StateSegments {
    fn add(&mut self, from: Milliseconds, to: Milliseconds, shown: ShownState) {
        let from = from.max(self.begin);
        if to <= from {
            return;
        }

        let ShownState { kind, state } = shown;
        match self.segments.last_mut() {
            Some(last) if last.kind == kind && last.state == state => last.to = to,
            _ => self.segments.push(StateSegment { from, to, kind, state }),
        }
    }
}

fn segments(
    row: &UnitRow,
    events: &[&EventRow],
    begin: Milliseconds,
    now: Milliseconds,
) -> Vec<StateSegment> {
    let mut made = StateSegments { begin, segments: Vec::new() };
    let mut shown = match events.first() {
        Some(first) => ShownState::before(first),
        None => ShownState::current(row),
    };
    let mut since = begin;
    let mut is_loop = events
        .iter()
        .find(|event| is_of_loop(event))
        .is_some_and(|event| event.event == "crash_loop_over");

    for event in events {
        // The server's clock may have been set back.
        let time = event.time.min(now);
        made.add(since, time, shown.clone().in_loop(is_loop));
        since = time;
        shown = ShownState::after(event).unwrap_or(shown);
        if is_of_loop(event) {
            is_loop = event.event == "crash_loop";
        }
    }

    // Neither the loss of a machine nor a report that is overdue is an event of the unit.
    let shown = shown.in_loop(is_loop);
    match unreported_since(row) {
        Some(lost) => {
            made.add(since, since.max(lost), shown);
            made.add(since.max(lost), now, ShownState::UNREPORTED);
        }
        None => made.add(since, now, shown),
    }
    made.segments
}

fn is_of_loop(event: &EventRow) -> bool {
    matches!(&*event.event, "crash_loop" | "crash_loop_over")
}

/// Since when the state of a row has not been known; `None` if it is.
fn unreported_since(row: &UnitRow) -> Option<Milliseconds> {
    let is_lost = row.verdict == "machine_lost";
    row.stale_since.or(is_lost.then_some(row.verdict_since))
}

fn kind(state: &str) -> StateKind {
    let active = state.split('/').next().unwrap_or_default();
    match active {
        "active" | "reloading" | "refreshing" => StateKind::Up,
        "activating" | "deactivating" => StateKind::Moving,
        "failed" => StateKind::Failed,
        // Behind the state is a load state other than `loaded`, such as `(not-found)`.
        _ if state.ends_with(')') => StateKind::Failed,
        _ => StateKind::Down,
    }
}

/// What a state means for the question how often a unit went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServicePhase {
    Up,
    Starting,
    Stopped,
    Failed,
    /// systemd waits before it restarts the unit.
    Waiting,
}

impl ServicePhase {
    fn of(state: Option<&str>) -> Self {
        let (active, sub) = state.and_then(|state| state.split_once('/')).unwrap_or_default();
        match active {
            "active" | "reloading" | "refreshing" => Self::Up,
            "failed" => Self::Failed,
            "activating" if sub.starts_with("auto-restart") => Self::Waiting,
            "activating" => Self::Starting,
            _ => Self::Stopped,
        }
    }
}

/// The times at which the unit went down.
fn falls(events: &[&EventRow], is_started: bool) -> Vec<Milliseconds> {
    let mut falls = Vec::new();
    let mut is_down = false;

    for event in events.iter().filter(|event| event.event == "changed") {
        let was = ServicePhase::of(event.from.as_deref());
        let is = ServicePhase::of(event.to.as_deref());
        let has_failed = matches!(is, ServicePhase::Failed | ServicePhase::Waiting);
        let has_stopped = was == ServicePhase::Up && is != ServicePhase::Up && !is_started;

        if has_failed || has_stopped {
            if !is_down {
                falls.push(event.time);
            }
            is_down = true;
        }
        if matches!(is, ServicePhase::Up | ServicePhase::Starting) {
            is_down = false;
        }
    }
    falls
}
