//! Crash loops: when they are told, and what is not told meanwhile.

use std::time::Duration;

use super::{GRACE, Watch, file, files, state, units};
use crate::cluster::{Cluster, Event, Reading, Retention, UnitState, Verdict};

const WAITS: &str = "activating/auto-restart";
const RUNS: &str = "active/running";

/// The rows, of which `a.service` is in a state.
fn states(text: &str) -> Vec<UnitState> {
    let (active, sub) = text.split_once('/').unwrap();
    let a = UnitState { sub: Some(sub.into()), ..state("a.service", "m1", active) };
    Watch::states()
        .into_iter()
        .map(|state| if *state.unit == *a.unit { a.clone() } else { state })
        .collect()
}

fn loops(text: &str) -> Reading {
    units(&states(text))
}

/// A cluster in which `a.service` has been in a crash loop since 20 s.
fn looping() -> Watch {
    let mut watch = Watch::new();
    assert_eq!(watch.at(10, loops(WAITS)), ["changed"]);
    assert_eq!(watch.at(14, loops(RUNS)), ["changed"]);
    assert_eq!(watch.at(20, loops(WAITS)), ["changed", "crash_loop"]);
    watch
}

#[test]
fn a_crash_loop_is_told_with_how_often_and_then_none_of_its_restarts() {
    let mut watch = looping();
    let told = watch.events.last().unwrap();
    assert_eq!(
        told.to_string(),
        "a.service on 10.0.0.1 is in a crash loop: 2 restarts were seen within 10 s"
    );
    assert_eq!((told.to(), told.severity().name()), (Some(WAITS), "warning"));

    for second in (22..600).step_by(4) {
        assert_eq!(watch.at(second, loops(RUNS)), [""; 0]);
        assert_eq!(watch.at(second + 2, loops(WAITS)), [""; 0]);
    }
    assert_eq!(watch.verdict("a.service"), Some(Verdict::CrashLoop));
}

#[test]
fn a_crash_loop_is_over_when_the_unit_ran_for_long_enough() {
    let mut watch = looping();
    assert_eq!(watch.at(24, loops(RUNS)), [""; 0]);
    assert_eq!(watch.at(82, loops(RUNS)), [""; 0]);
    assert_eq!(watch.at(84, loops(RUNS)), ["crash_loop_over"]);
    let told = watch.events.last().unwrap();
    assert_eq!(
        told.to_string(),
        "a.service on 10.0.0.1 is not in a crash loop any more, now active/running: it has been running for 60 s"
    );
    assert_eq!(told.severity().name(), "info");
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Ok));

    assert_eq!(watch.at(90, loops(WAITS)), ["changed"], "a single restart is one again");
}

#[test]
fn a_crash_loop_is_over_when_fleet_stops_the_unit() {
    let mut watch = looping();
    let mut stopped = Watch::files();
    stopped[0] = file("a.service", "loaded", Some("m1"));

    assert_eq!(watch.at(30, files(&stopped)), [""; 0], "systemd goes on to start it");
    assert_eq!(watch.at(32, loops("inactive/dead")), ["crash_loop_over"]);
    assert_eq!(watch.events.last().unwrap().to(), Some("inactive/dead"));
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Ok));
}

#[test]
fn a_crash_loop_is_over_when_its_row_is_gone() {
    let mut watch = looping();
    assert_eq!(watch.at(30, files(&Watch::files()[1..])), [""; 0]);
    assert_eq!(watch.at(32, units(&Watch::states()[1..])), ["crash_loop_over", "gone"]);

    let [.., over, gone] = watch.events.as_slice() else {
        panic!("{:?}", watch.events)
    };
    assert_eq!((over.reason(), over.to()), (gone.reason(), None));
}

#[test]
fn a_unit_in_a_crash_loop_that_fails_for_good_is_told_to_have_failed() {
    let mut watch = looping();
    assert_eq!(watch.at(22, loops("failed/failed")), ["changed"]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Failed));
    assert_eq!(watch.at(82, loops("failed/failed")), ["crash_loop_over"]);
}

#[test]
fn a_crash_loop_whose_row_blinks_is_told_once() {
    let mut watch = looping();
    for second in (22..200).step_by(4) {
        assert_eq!(watch.at(second, units(&Watch::states()[1..])), [""; 0]);
        assert_eq!(watch.at(second + 2, loops(WAITS)), [""; 0]);
    }
}

#[test]
fn a_unit_that_is_not_reported_is_not_told_to_loop_nor_to_have_recovered() {
    let mut watch = Watch::new();
    watch.at(10, loops(WAITS));
    assert_eq!(watch.at(12, units(&Watch::states()[1..])), [""; 0]);
    assert_eq!(watch.at(24, units(&Watch::states()[1..])), ["stale"]);

    let mut watch = looping();
    watch.at(22, loops(RUNS));
    assert_eq!(watch.at(24, units(&Watch::states()[1..])), [""; 0]);
    assert_eq!(watch.fail(26, crate::cluster::FleetList::Units), ["source_down"]);
    assert_eq!(watch.at(100, units(&Watch::states()[1..])), ["source_back"]);
}

#[test]
fn a_ghost_is_not_told_to_be_in_a_crash_loop() {
    let mut watch = Watch::new();
    watch.at(10, files(&Watch::files()[1..]));
    for second in (10..100).step_by(4) {
        watch.at(second, loops(WAITS));
        watch.at(second + 2, loops(RUNS));
    }
    assert_eq!(watch.count("crash_loop"), 0);
}

#[test]
fn a_unit_that_was_waiting_when_watching_began_is_told_after_12_s() {
    for grace in [GRACE, Duration::ZERO] {
        let mut watch = Watch::new();
        watch.cluster = Cluster::new(Retention::from(grace));
        watch.at(0, super::machines(&["m1", "m2"]));
        watch.at(0, files(&Watch::files()));
        watch.at(0, loops(WAITS));

        assert_eq!(watch.at(10, loops(WAITS)), [""; 0]);
        assert_eq!(watch.at(12, loops(WAITS)), ["crash_loop"]);
        let Some(Event::CrashLoop { reason, .. }) = watch.events.last() else {
            panic!("{:?}", watch.events)
        };
        assert_eq!(reason, "systemd has been about to start it again for more than 12 s");
        assert_eq!(watch.at(600, loops(WAITS)), [""; 0], "grace {grace:?}");
    }
}
