//! The cases that the page has to agree with, and what the terminal makes of them.

use serde::Deserialize;

use super::*;

/// When all cases are, so that their times can be relative.
const NOW: Milliseconds = 1_700_000_000_000;

#[derive(Deserialize)]
struct HistoryCase {
    name: String,
    row: CaseRow,
    complete_since: Option<i64>,
    started_by_another: bool,
    events: Vec<CaseEvent>,
    expected: ExpectedHour,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CaseRow {
    active: Option<String>,
    sub: Option<String>,
    verdict: String,
    stale_since: Option<i64>,
    verdict_since: i64,
}

#[derive(Deserialize)]
struct CaseEvent {
    at: i64,
    event: String,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Deserialize)]
struct ExpectedHour {
    changes: usize,
    falls: usize,
    flapping: bool,
    looping: bool,
    segments: Vec<(i64, i64, String, Option<String>)>,
}

/// Seconds from now, as a time.
fn at(seconds: i64) -> Milliseconds {
    NOW.checked_add_signed(seconds * 1000).expect("a time")
}

fn event(at_second: i64, event: &str, from: Option<&str>, to: Option<&str>) -> EventRow {
    EventRow {
        time: at(at_second),
        event: event.into(),
        from: from.map(Into::into),
        to: to.map(Into::into),
        ..EventRow::default()
    }
}

impl HistoryCase {
    fn last_hour(&self) -> LastHour {
        let row = UnitRow {
            active: self.row.active.clone(),
            sub: self.row.sub.clone(),
            verdict: self.row.verdict.clone(),
            stale_since: self.row.stale_since.map(at),
            verdict_since: at(self.row.verdict_since),
            ..UnitRow::default()
        };
        let events: Vec<EventRow> = self
            .events
            .iter()
            .map(|case| event(case.at, &case.event, case.from.as_deref(), case.to.as_deref()))
            .collect();
        let events: Vec<&EventRow> = events.iter().collect();
        let since = self.complete_since.map(at);

        LastHour::of(&row, &events, since, self.started_by_another, NOW)
    }
}

#[test]
fn the_last_hour_is_what_the_table_of_cases_says() {
    let cases = include_str!("../../../tests/fixtures/history/cases.json");
    let cases: Vec<HistoryCase> = serde_json::from_str(cases).expect("the table");
    assert!(cases.len() > 20, "there are more cases than that");

    for case in cases {
        let found = case.last_hour();
        let HistoryCase { name, expected, .. } = case;
        let relative = |time: Milliseconds| (time.cast_signed() - NOW.cast_signed()) / 1000;
        let segments: Vec<_> = found
            .segments
            .iter()
            .map(|segment| {
                let kind = format!("{:?}", segment.kind).to_lowercase();
                (relative(segment.from), relative(segment.to), kind, segment.state.clone())
            })
            .collect();

        assert_eq!(segments, expected.segments, "{name}");
        assert_eq!((found.changes, found.falls), (expected.changes, expected.falls), "{name}");
        assert_eq!(
            (found.is_flapping, found.is_looping),
            (expected.flapping, expected.looping),
            "{name}"
        );
    }
}

#[test]
fn a_cell_has_the_most_telling_state_in_it() {
    let row = UnitRow { verdict: "ok".into(), ..UnitRow::default() };
    let events = [
        event(-1795, "changed", Some("active/running"), Some("failed/failed")),
        event(-1794, "changed", Some("failed/failed"), Some("activating/start")),
        event(-900, "changed", Some("activating/start"), Some("active/running")),
    ];
    let events: Vec<&EventRow> = events.iter().collect();
    let hour = LastHour::of(&row, &events, Some(at(-2700)), false, NOW);

    use StateKind::{Failed, Moving, Up};
    assert_eq!(hour.cells(4, NOW), [None, Some(Up), Some(Failed), Some(Up)]);
    assert_eq!(hour.cells(6, NOW)[3..], [Some(Failed), Some(Moving), Some(Up)]);
}

#[test]
fn a_service_may_be_started_by_a_unit_of_its_name() {
    let exists = |unit: &str| ["job.timer", "a@1.path"].contains(&unit);
    assert!(is_started_by_another("job.service", exists));
    assert!(is_started_by_another("a@1.service", exists));
    assert!(!is_started_by_another("web.service", exists));
    assert!(!is_started_by_another("job.timer", exists));
}
