//! What happened to one unit, for a terminal: a line about the last hour of each row, and the
//! latest events.
//!
//! It does not know where the events come from.

use super::cluster_state::ClusterState;
use super::duration::age;
use super::last_hour::{HOUR, LastHour, StateKind, is_started_by_another};
use super::since::Since;
use super::table::{Layout, printable, style};
use super::times::Times;
use super::verdicts::Tone;
use super::wire::{EventRow, HistoryDocument, Milliseconds, UnitRow};

/// How many of the unit's latest events are shown.
const MAX_EVENTS: usize = 10;
/// In how many equal parts the last hour is shown.
const CELLS: usize = 30;
const CELLS_OF_NARROW: usize = 20;
/// A terminal with fewer columns is narrow.
const NARROW: usize = 100;

impl HistoryDocument {
    /// The history of a unit as far as the newest events of the whole cluster tell it, for servers
    /// that have no other.
    pub fn from_events(state: &ClusterState, unit: &str) -> Self {
        let events_since = state.health.as_ref().and_then(|health| health.events_since);
        let oldest = state.events.front().filter(|oldest| oldest.number > 1);
        let dropped = oldest
            .map(|oldest| oldest.time)
            .filter(|time| events_since < Some(*time));
        let is_of_unit = |event: &&EventRow| event.unit.as_deref() == Some(unit);

        Self {
            complete_since: events_since.and(dropped.or(events_since)),
            dropped: dropped.is_some(),
            events: state.events.iter().filter(is_of_unit).cloned().collect(),
            ..Self::default()
        }
    }

    /// The last hour of a row of the unit.
    pub fn last_hour(&self, state: &ClusterState, row: &UnitRow, now: Milliseconds) -> LastHour {
        let is_here = |event: &&EventRow| {
            event.machine.is_none() || row.machine.is_none() || event.machine == row.machine
        };
        let events: Vec<&EventRow> = self.events.iter().filter(is_here).collect();
        let exists = |unit: &str| {
            let first = (unit.to_owned(), None);
            let next = state.units.range(first..).next();
            next.is_some_and(|((found, _), _)| found == unit)
        };

        let is_started = is_started_by_another(&row.unit, exists);
        LastHour::of(row, &events, self.complete_since, is_started, now)
    }

    /// The latest events, newest first, and how complete they are. Empty if nothing is known.
    pub fn lines(&self, times: &Times) -> Vec<String> {
        if self.events.is_empty() {
            return Vec::from_iter(self.absence(times));
        }

        let shown = self.events.iter().rev().take(MAX_EVENTS);
        let more = self.events.len().saturating_sub(MAX_EVENTS);
        let more = (more > 0).then(|| format!("and {more} more"));
        let end = [more, self.beginning(times)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; ");

        let mut lines = vec!["Events, newest first:".to_owned()];
        lines.extend(event_lines(shown, times));
        if !end.is_empty() {
            lines.push(format!("  {end}"));
        }
        lines
    }

    /// That there are no events, and since when.
    fn absence(&self, times: &Times) -> Option<String> {
        let since = self.complete_since?;
        Some(if self.dropped {
            let lasting = times.lasting(Since::seen_at(since));
            format!("Events: none in the last {lasting}; older ones are no longer kept")
        } else {
            format!("Events: none since fleet-monitor began to watch, {}", times.ago(since))
        })
    }

    /// From when on the events are complete.
    fn beginning(&self, times: &Times) -> Option<String> {
        let since = self.complete_since?;
        Some(if self.dropped {
            let lasting = times.lasting(Since::seen_at(since));
            format!("complete for the last {lasting}; older ones are no longer kept")
        } else {
            format!("complete since fleet-monitor began to watch, {}", times.ago(since))
        })
    }
}

/// A line for each event: how long ago it was, when that was, and what happened.
fn event_lines<'a>(
    events: impl Iterator<Item = &'a EventRow>,
    times: &Times,
) -> impl Iterator<Item = String> {
    let at = |event: &EventRow| times.are_absolute().then(|| times.at(event.time));
    let events: Vec<_> = events.map(|event| (event, at(event))).collect();
    let longest = events.iter().flat_map(|(_, at)| at).map(String::len).max();

    let now = times.now();
    events.into_iter().map(move |(event, at)| {
        let ago = format!("{} ago", age(event.time, now, true));
        let at = at.map(|at| format!("{at:>width$}  ", width = longest.unwrap_or_default()));
        format!("  {ago:>11}  {}{}", at.unwrap_or_default(), printable(&event.text))
    })
}

/// The last hour in a line: a strip of the states, the oldest on the left, and what it means.
/// `None` if nothing is known of it.
pub fn last_hour_line(hour: &LastHour, now: Milliseconds, layout: Layout) -> Option<String> {
    if hour.segments.is_empty() {
        return None;
    }

    let is_narrow = layout.width.is_some_and(|width| width < NARROW);
    let cells = hour.cells(if is_narrow { CELLS_OF_NARROW } else { CELLS }, now);
    let strip: String = cells.into_iter().map(|kind| drawn(kind, layout.color)).collect();

    Some(format!("{strip}  {}", in_words(hour, now)))
}

/// One cell: the height and the shape say what it is, with or without colours.
fn drawn(kind: Option<StateKind>, has_color: bool) -> String {
    let (shape, tone) = match kind {
        None => ('·', None),
        Some(StateKind::Failed) => ('x', Some(Tone::Bad)),
        Some(StateKind::Loop) => ('~', Some(Tone::Bad)),
        Some(StateKind::Unreported) => ('?', Some(Tone::Warning)),
        Some(StateKind::Absent) => (' ', None),
        Some(StateKind::Down) => ('▁', None),
        Some(StateKind::Moving) => ('▄', None),
        Some(StateKind::Up) => ('█', None),
    };

    match tone.filter(|_| has_color).map(style) {
        Some(style) => format!("{style}{shape}{style:#}"),
        None => shape.to_string(),
    }
}

fn in_words(hour: &LastHour, now: Milliseconds) -> String {
    let changes = match hour.changes {
        0 => "no changes".to_owned(),
        1 => "1 change".to_owned(),
        changes => format!("{changes} changes"),
    };
    let is_shorter = hour.begin > now.saturating_sub(HOUR);
    let known =
        is_shorter.then(|| format!(" in the {} that are known", age(hour.begin, now, true)));
    let trouble = match hour {
        LastHour { is_looping: true, .. } => ", in a crash loop".to_owned(),
        LastHour { is_flapping: true, falls, .. } => format!(", flapping: went down {falls} times"),
        _ => String::new(),
    };

    format!("{changes}{}{trouble}", known.unwrap_or_default())
}
