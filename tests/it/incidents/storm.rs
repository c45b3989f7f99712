//! Lists that lack other rows each time, as a fleetd gives them that cannot keep up: what blinks is
//! told once.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_monitor::cluster::{Event, FleetList, Reading, RegistrySnapshot, UnitFile, UnitState};
use fleet_monitor::source::recording::RecordedPoll;

use super::{machine, registry_at, running, seconds, wanted};
use crate::live::recording::{Watched, watch};

const ROWS: usize = 102;
const MACHINES: [&str; 4] = ["1", "2", "3", "4"];

/// When the storm begins and ends.
const STORM: (usize, usize) = (20, 60);
/// When the last list is read.
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

/// The list at a moment: in the storm 77 to 83 of all rows, and every `pace` seconds others.
fn list(at: usize, pace: usize) -> Vec<UnitState> {
    if !(STORM.0..STORM.1).contains(&at) {
        return states();
    }

    // 37 and 102 have no common divisor, so that `row * 37` meets every row once.
    let turn = at / pace;
    let lacks = ROWS - (77 + turn * 5 % 7);
    let first = turn * 23;
    let mut states: BTreeMap<usize, UnitState> = states().into_iter().enumerate().collect();
    for row in first..first + lacks {
        states.remove(&(row * 37 % ROWS));
    }
    assert!((77..=83).contains(&states.len()));
    states.into_values().collect()
}

fn polled() -> Watched {
    let mut polls = Vec::new();
    let mut push = |at: f64, topic: FleetList, reading| {
        let took = Duration::from_millis(10);
        polls.push(RecordedPoll {
            at: seconds(at),
            took,
            lists: topic.alone(),
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
    watch(&polls, Duration::ZERO)
}

/// What is set again within 3 s is nothing by etcd, so there the storm is slower.
fn by_etcd() -> Watched {
    let registry = |at| RegistrySnapshot {
        index: at as u64,
        states: list(at, 5).into(),
        machines: MACHINES.map(machine).into(),
        files: files().into(),
        ..RegistrySnapshot::default()
    };
    let polls: Vec<RecordedPoll> =
        (0..END).map(|at| registry_at(at as f64, registry(at))).collect();
    watch(&polls, Duration::ZERO)
}

fn assert_told_once(watched: &Watched) {
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut source = Vec::new();
    for (at, event) in &watched.events {
        let line = format!("{:.1} s: {event}", at.as_secs_f64());
        assert!(!matches!(event, Event::Gone { .. } | Event::Appeared { .. }), "{line}");
        match event.place() {
            Some(place) => rows.entry(place.unit.to_string()).or_default().push(line),
            None => source.push(line),
        }
    }

    for (unit, told) in &rows {
        assert!(told.len() <= 2, "{unit}:\n{}", told.join("\n"));
    }
    assert!(source.len() <= 2, "of the source:\n{}", source.join("\n"));

    let told: usize = rows.values().map(Vec::len).sum();
    println!("{told} events of rows in all, {} of the source", source.len());
}

fn assert_is_over(watched: &Watched) {
    let end = seconds(END as f64);
    for key in watched.shown.keys() {
        let (since, _, shown) = watched.shown.spans(key, end).last().unwrap();
        assert_eq!(shown.map(|shown| shown.verdict), Some("ok"), "{} at the end", key.0);
        assert!(
            since < seconds(STORM.1 as f64 + 60.0),
            "{} was not well before {since:?}",
            key.0
        );
    }
    assert_eq!(watched.shown.keys().count(), ROWS);
}

#[test]
fn rows_that_blink_in_lists_are_told_once_and_once_when_it_is_over() {
    assert_told_once(&polled());
}

#[test]
fn rows_that_blink_in_etcd_are_told_once_and_once_when_it_is_over() {
    assert_told_once(&by_etcd());
}

#[test]
fn after_a_storm_of_lists_all_rows_are_well() {
    assert_is_over(&polled());
    assert_is_over(&by_etcd());
}
