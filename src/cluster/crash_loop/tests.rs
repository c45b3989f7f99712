//! When a crash loop begins, when it is over, and when each of that is an event.

use super::*;
use crate::builders;

const WAIT: &str = "activating/auto-restart";
const RUN: &str = "active/running";

/// A state by its `active/sub`.
fn state(text: &str) -> UnitState {
    builders::unit_state("a.service", "m1", text)
}

/// Records states, each at its second, and returns whether the unit is in a loop after each.
fn looping(samples: &[(u64, &str)]) -> Vec<bool> {
    let start = Moment::now();
    let mut history: Option<RestartHistory> = None;
    let mut loops = Vec::new();

    for (second, text) in samples {
        let state = state(text);
        let at = start + Duration::from_secs(*second);
        let history = history.get_or_insert_with(|| RestartHistory::new(&state, at));

        history.record_state(&state, at);
        history.advance(at);
        loops.push(history.describe().is_some());
    }
    loops
}

/// Records states, each at its second, and returns the notices, each with its second.
fn notices(samples: &[(u64, &str)]) -> Vec<(u64, CrashLoopNotice)> {
    let start = Moment::now();
    let mut history = RestartHistory::new(&state(samples[0].1), start);
    let mut notices = Vec::new();

    for (second, text) in samples {
        let at = start + Duration::from_secs(*second);

        history.record_state(&state(text), at);
        history.advance(at);
        notices.extend(history.take_notice(true).map(|notice| (*second, notice)));
    }
    notices
}

#[test]
fn the_second_restart_makes_a_loop() {
    assert_eq!(
        looping(&[(0, RUN), (10, WAIT), (12, RUN), (20, WAIT)]),
        [false, false, false, true]
    );
}

#[test]
fn one_restart_is_no_loop() {
    assert_eq!(looping(&[(0, RUN), (10, WAIT), (20, WAIT), (21, RUN), (600, RUN)]), [false; 5]);
}

#[test]
fn a_unit_that_is_seen_only_waiting_is_in_a_loop() {
    assert_eq!(
        looping(&[(0, WAIT), (10, WAIT), (12, WAIT), (14, RUN)]),
        [false, false, true, true]
    );
}

#[test]
fn restarts_far_apart_are_no_loop() {
    assert_eq!(
        looping(&[(0, WAIT), (5, RUN), (700, WAIT), (705, RUN), (1500, WAIT)]),
        [false; 5]
    );
}

#[test]
fn a_loop_is_over_when_the_unit_ran_for_a_minute() {
    let samples = [(0, WAIT), (5, RUN), (10, WAIT), (12, RUN), (71, RUN), (72, RUN)];
    assert_eq!(looping(&samples), [false, false, true, true, true, false]);
}

#[test]
fn a_loop_is_over_when_the_unit_ran_for_as_long_as_between_two_restarts() {
    let samples = [(0, WAIT), (5, RUN), (200, WAIT), (205, RUN), (404, RUN), (405, RUN)];
    assert_eq!(looping(&samples), [false, false, true, true, true, false]);
}

#[test]
fn starting_for_long_does_not_end_a_loop() {
    let samples = [
        (0, WAIT),
        (1, "activating/start"),
        (91, WAIT),
        (92, "activating/start"),
        (181, WAIT),
    ];
    assert_eq!(looping(&samples), [false, false, true, true, true]);
}

#[test]
fn restarts_between_two_polls_are_inferred_from_starts() {
    let start = "activating/start";
    let samples = [(0, RUN), (2, start), (4, RUN), (6, start), (8, RUN), (10, start)];
    assert_eq!(looping(&samples), [false, false, false, false, false, true]);
}

#[test]
fn a_loop_has_one_notice_when_it_begins_and_one_when_it_is_over() {
    let begun = CrashLoopNotice::Begun("2 restarts were seen within 5 s".into());
    let over = CrashLoopNotice::Over("it has been running for 60 s".into());
    let samples = [
        (0, RUN),
        (5, WAIT),
        (7, RUN),
        (10, WAIT),
        (12, RUN),
        (20, WAIT),
        (22, RUN),
        (82, RUN),
        (90, RUN),
    ];

    assert_eq!(notices(&samples), [(10, begun), (82, over)]);
}

#[test]
fn a_loop_is_over_when_systemd_gives_up() {
    let over = CrashLoopNotice::Over("it has not been restarted for 60 s".into());
    let samples = [
        (0, WAIT),
        (2, RUN),
        (4, WAIT),
        (6, "failed/failed"),
        (65, "failed/failed"),
        (66, "failed/failed"),
    ];

    assert_eq!(notices(&samples).last(), Some(&(66, over)));
}

#[test]
fn the_loop_of_a_unit_that_fleet_stops_is_over_at_once() {
    let mut history = RestartHistory::new(&state(WAIT), Moment::now());
    history.advance(Moment::now() + ONLY_WAITING);
    history.take_notice(true);

    history.record_not_wanted();
    assert_eq!(history.take_notice(true), None, "systemd still restarts it");
    history.record_state(&state("inactive/dead"), Moment::now());
    history.record_not_wanted();
    assert_eq!(
        history.take_notice(true),
        Some(CrashLoopNotice::Over("fleet does not want it to run any more".into()))
    );
}

#[test]
fn a_loop_that_was_never_shown_has_no_notice_when_it_is_over() {
    let mut history = RestartHistory::new(&state(WAIT), Moment::now());
    history.advance(Moment::now() + ONLY_WAITING);
    assert_eq!(history.take_notice(false), None, "a worse verdict is shown");

    history.record_state(&state("inactive/dead"), Moment::now());
    history.record_not_wanted();
    assert_eq!(history.take_notice(true), None);
}
