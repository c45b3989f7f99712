//! Lists that lack different rows each time, as an overloaded fleetd yields them: a flapping row is
//! not an event each time.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_monitor::cluster::{Event, FleetList, Reading, RegistrySnapshot, UnitFile, UnitState};
use fleet_monitor::source::recording::RecordedReport;

use super::{machine, registry_at, running, seconds, wanted};
use crate::live::recording::{MonitorReplay, replay};

const ROWS: usize = 102;
const MACHINES: [&str; 4] = ["1", "2", "3", "4"];

/// The seconds at which the storm begins and ends.
const STORM: (usize, usize) = (20, 60);
/// The second at which the last list is read.
const END: usize = 180;

fn unit(row: usize) -> String {
    format!("u{row:03}.service")
}

fn states() -> Vec<UnitState> {
    (0..ROWS)
        .map(|row| running(&unit(row), MACHINES[row % MACHINES.len()]))
        .collect()
}

fn files() -> Vec<UnitFile> {
    (0..ROWS)
        .map(|row| wanted(&unit(row), MACHINES[row % MACHINES.len()]))
        .collect()
}

/// The list at a second: in the storm 77 to 83 of all rows, different ones every `interval`
/// seconds.
fn list(at: usize, interval: usize) -> Vec<UnitState> {
    if !(STORM.0..STORM.1).contains(&at) {
        return states();
    }

    // 37 and 102 have no common divisor, so that `row * 37 % 102` is every row once.
    let turn = at / interval;
    let missing = ROWS - (77 + turn * 5 % 7);
    let first = turn * 23;
    let mut states: BTreeMap<usize, UnitState> = states().into_iter().enumerate().collect();
    for row in first..first + missing {
        states.remove(&(row * 37 % ROWS));
    }
    assert!((77..=83).contains(&states.len()));
    states.into_values().collect()
}

fn polled() -> MonitorReplay {
    let mut polls = Vec::new();
    let mut push = |at: f64, list: FleetList, reading| {
        let took = Duration::from_millis(10);
        polls.push(RecordedReport {
            at: seconds(at),
            time: None,
            took,
            lists: list.alone(),
            schedule: None,
            outcome: Ok(reading),
        });
    };

    for at in (0..END).step_by(2) {
        push(
            at as f64 + 0.02,
            FleetList::Units,
            Reading::Units { states: list(at, 2), files: None },
        );
        push(
            at as f64 + 0.04,
            FleetList::Machines,
            Reading::Machines { machines: MACHINES.map(machine).into() },
        );
        push(at as f64 + 0.06, FleetList::UnitFiles, Reading::UnitFiles { files: files() });
    }
    replay(&polls, Duration::ZERO)
}

/// With etcd, an absence of less than 3 s is no event. There the storm is slower.
fn watched() -> MonitorReplay {
    let registry = |at| RegistrySnapshot {
        index: at as u64,
        states: list(at, 5).into(),
        machines: MACHINES.map(machine).into(),
        files: files().into(),
        ..RegistrySnapshot::default()
    };
    let polls: Vec<RecordedReport> =
        (0..END).map(|at| registry_at(at as f64, registry(at))).collect();

    replay(&polls, Duration::ZERO)
}

fn assert_at_most_two_events(replay: &MonitorReplay) {
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut source = Vec::new();
    for (at, event) in &replay.events {
        let line = format!("{:.1} s: {event}", at.as_secs_f64());
        assert!(!matches!(event, Event::Gone { .. } | Event::Appeared { .. }), "{line}");
        match event.place() {
            Some(place) => rows.entry(place.unit.to_string()).or_default().push(line),
            None => source.push(line),
        }
    }

    for (unit, events) in &rows {
        assert!(events.len() <= 2, "{unit}:\n{}", events.join("\n"));
    }
    assert!(source.len() <= 2, "of the source:\n{}", source.join("\n"));

    let count: usize = rows.values().map(Vec::len).sum();
    println!("{count} events of rows in all, {} of the source", source.len());
}

fn assert_all_ok(replay: &MonitorReplay) {
    let end = seconds(END as f64);

    for key in replay.shown.keys() {
        let (since, _, shown) = replay.shown.spans(key, end).last().unwrap();
        assert_eq!(shown.map(|shown| shown.verdict), Some("ok"), "{} at the end", key.0);
        assert!(since < seconds(STORM.1 as f64 + 60.0), "{} was not ok before {since:?}", key.0);
    }
    assert_eq!(replay.shown.keys().count(), ROWS);
}

#[test]
fn a_row_that_flaps_in_lists_has_at_most_two_events() {
    assert_at_most_two_events(&polled());
}

#[test]
fn a_row_that_flaps_in_etcd_has_at_most_two_events() {
    assert_at_most_two_events(&watched());
}

#[test]
fn after_the_storm_all_rows_are_ok() {
    assert_all_ok(&polled());
    assert_all_ok(&watched());
}
