//! What happened to one unit, for a terminal: a line about the last hour of each row, and the
//! latest events.
//!
//! It does not know where the events come from.

use super::cluster_state::ClusterState;
use super::duration::age;
use super::last_hour::{HOUR, LastHour, StateKind, is_started_by_another};
use super::table::{Layout, printable, style};
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
    pub fn lines(&self, now: Milliseconds) -> Vec<String> {
        if self.events.is_empty() {
            return Vec::from_iter(self.absence(now));
        }

        let shown = self.events.iter().rev().take(MAX_EVENTS);
        let more = self.events.len().saturating_sub(MAX_EVENTS);
        let more = (more > 0).then(|| format!("and {more} more"));
        let end = [more, self.beginning(now)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; ");

        let mut lines = vec!["Events, newest first:".to_owned()];
        lines.extend(shown.map(|event| event_line(event, now)));
        if !end.is_empty() {
            lines.push(format!("  {end}"));
        }
        lines
    }

    /// That there are no events, and since when.
    fn absence(&self, now: Milliseconds) -> Option<String> {
        let since = age(self.complete_since?, now, true);
        Some(if self.dropped {
            format!("Events: none in the last {since}, older ones are no longer kept")
        } else {
            format!("Events: none since fleet-monitor began to watch, {since} ago")
        })
    }

    /// From when on the events are complete.
    fn beginning(&self, now: Milliseconds) -> Option<String> {
        let since = age(self.complete_since?, now, true);
        Some(if self.dropped {
            format!("complete for the last {since}, older ones are no longer kept")
        } else {
            format!("complete since fleet-monitor began to watch, {since} ago")
        })
    }
}

fn event_line(event: &EventRow, now: Milliseconds) -> String {
    let ago = format!("{} ago", age(event.time, now, true));
    format!("  {ago:>11}  {}", printable(&event.text))
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
