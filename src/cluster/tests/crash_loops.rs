//! Crash loops: when each of their two events is emitted, and which events are not emitted
//! meanwhile.

use std::time::Duration;

use super::{GRACE, TestCluster, file, files, machines, seven_files, seven_states, state, units};
use crate::cluster::{Event, FleetList, Reading, UnitState, Verdict};

const WAITS: &str = "activating/auto-restart";
const RUNS: &str = "active/running";

/// The unit states, with `a.service` in this state.
fn states(text: &str) -> Vec<UnitState> {
    let (active, sub) = text.split_once('/').unwrap();
    let a = UnitState { sub: Some(sub.into()), ..state("a.service", "m1", active) };
    seven_states()
        .into_iter()
        .map(|state| if *state.unit == *a.unit { a.clone() } else { state })
        .collect()
}

fn a_in(text: &str) -> Reading {
    units(&states(text))
}

/// A cluster in which `a.service` has been in a crash loop since 20 s.
fn looping() -> TestCluster {
    let mut cluster = TestCluster::new();
    assert_eq!(cluster.read(10, a_in(WAITS)), ["changed"]);
    assert_eq!(cluster.read(14, a_in(RUNS)), ["changed"]);
    assert_eq!(cluster.read(20, a_in(WAITS)), ["changed", "crash_loop"]);
    cluster
}

#[test]
fn a_crash_loop_is_one_event_with_the_number_of_restarts_and_none_of_these_is_an_event() {
    let mut cluster = looping();
    let event = cluster.events.last().unwrap();
    assert_eq!(
        event.to_string(),
        "a.service on 10.0.0.1 is in a crash loop: 2 restarts were seen within 10 s"
    );
    assert_eq!((event.to(), event.severity().name()), (Some(WAITS), "warning"));

    for second in (22..600).step_by(4) {
        assert_eq!(cluster.read(second, a_in(RUNS)), [""; 0]);
        assert_eq!(cluster.read(second + 2, a_in(WAITS)), [""; 0]);
    }
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::CrashLoop));
}

#[test]
fn a_crash_loop_is_over_when_the_unit_ran_for_long_enough() {
    let mut cluster = looping();
    assert_eq!(cluster.read(24, a_in(RUNS)), [""; 0]);
    assert_eq!(cluster.read(82, a_in(RUNS)), [""; 0]);
    assert_eq!(cluster.read(84, a_in(RUNS)), ["crash_loop_over"]);
    let event = cluster.events.last().unwrap();
    assert_eq!(
        event.to_string(),
        "a.service on 10.0.0.1 is not in a crash loop any more, now active/running: \
         it has been running for 60 s"
    );
    assert_eq!(event.severity().name(), "info");
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Ok));

    assert_eq!(cluster.read(90, a_in(WAITS)), ["changed"], "the next restart is an event again");
}

#[test]
fn a_crash_loop_is_over_when_fleet_stops_the_unit() {
    let mut cluster = looping();
    let mut stopped = seven_files();
    stopped[0] = file("a.service", "loaded", Some("m1"));

    assert_eq!(cluster.read(30, files(&stopped)), [""; 0], "systemd still restarts it");
    assert_eq!(cluster.read(32, a_in("inactive/dead")), ["crash_loop_over"]);
    assert_eq!(cluster.events.last().unwrap().to(), Some("inactive/dead"));
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Ok));
}

#[test]
fn a_crash_loop_is_over_when_its_row_is_gone() {
    let mut cluster = looping();
    assert_eq!(cluster.read(30, files(&seven_files()[1..])), [""; 0]);
    assert_eq!(cluster.read(32, units(&seven_states()[1..])), ["crash_loop_over", "gone"]);

    let [.., over, gone] = cluster.events.as_slice() else {
        panic!("{:?}", cluster.events)
    };
    assert_eq!((over.reason(), over.to()), (gone.reason(), None));
}

#[test]
fn a_failure_for_good_is_an_event_also_in_a_crash_loop() {
    let mut cluster = looping();
    assert_eq!(cluster.read(22, a_in("failed/failed")), ["changed"]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Failed));
    assert_eq!(cluster.read(82, a_in("failed/failed")), ["crash_loop_over"]);
}

#[test]
fn a_crash_loop_whose_row_is_absent_now_and_then_is_one_event() {
    let mut cluster = looping();
    for second in (22..200).step_by(4) {
        assert_eq!(cluster.read(second, units(&seven_states()[1..])), [""; 0]);
        assert_eq!(cluster.read(second + 2, a_in(WAITS)), [""; 0]);
    }
}

#[test]
fn no_crash_loop_begins_or_is_over_while_the_unit_is_not_reported() {
    let mut cluster = TestCluster::new();
    cluster.read(10, a_in(WAITS));
    assert_eq!(cluster.read(12, units(&seven_states()[1..])), [""; 0]);
    assert_eq!(cluster.read(24, units(&seven_states()[1..])), ["stale"]);

    let mut cluster = looping();
    cluster.read(22, a_in(RUNS));
    assert_eq!(cluster.read(24, units(&seven_states()[1..])), [""; 0]);
    assert_eq!(cluster.fail(26, FleetList::Units), ["source_down"]);
    assert_eq!(cluster.read(100, units(&seven_states()[1..])), ["source_back"]);
}

#[test]
fn a_crash_loop_of_a_ghost_is_no_event() {
    let mut cluster = TestCluster::new();
    cluster.read(10, files(&seven_files()[1..]));
    for second in (10..100).step_by(4) {
        cluster.read(second, a_in(WAITS));
        cluster.read(second + 2, a_in(RUNS));
    }
    assert_eq!(cluster.count("crash_loop"), 0);
}

#[test]
fn a_unit_that_waits_for_a_restart_from_the_first_reading_on_is_in_a_crash_loop_after_12_s() {
    for grace in [GRACE, Duration::ZERO] {
        let mut cluster = TestCluster::with_grace(grace);
        cluster.read(0, machines(&["m1", "m2"]));
        cluster.read(0, files(&seven_files()));
        cluster.read(0, a_in(WAITS));

        assert_eq!(cluster.read(10, a_in(WAITS)), [""; 0]);
        assert_eq!(cluster.read(12, a_in(WAITS)), ["crash_loop"]);
        let Some(Event::CrashLoop { reason, .. }) = cluster.events.last() else {
            panic!("{:?}", cluster.events)
        };
        assert_eq!(reason, "systemd has been waiting to restart it for more than 12 s");
        assert_eq!(cluster.read(600, a_in(WAITS)), [""; 0], "grace {grace:?}");
    }
}
