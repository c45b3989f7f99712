use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::builders::{self, unit_state};
use crate::cluster::{FleetList, Health, ListHealth, Moment, ReadFailure, Verdict, View};

/// A cluster whose rows and machines a test sets, second by second.
struct Timeline {
    tracker: ProblemTracker,
    start: Moment,
    view: View,
    health: Health,
}

impl Timeline {
    fn new(delays: ProblemDelays) -> Self {
        let start = Moment::now();
        let health = Health { events_since: Some(start.wall), ..Health::default() };

        Self {
            tracker: ProblemTracker::new(delays),
            start,
            view: View::default(),
            health,
        }
    }

    fn set(&mut self, unit: &str, machine: &str, verdict: Verdict) {
        let mut row = builders::unit(unit_state(unit, machine, "active/running"));
        row.verdict = verdict;
        self.view.units.insert(Arc::new(row));
    }

    fn remove(&mut self, unit: &str, machine: &str) {
        self.view.units.remove(&(unit.into(), Some(machine.into())));
    }

    fn set_machine(&mut self, id: &str, trouble: Option<MachineTrouble>) {
        let since = Some(self.start.wall);
        let mut member = builders::member(builders::machine(id));
        match trouble {
            Some(MachineTrouble::Lost) => member.lost_since = since,
            Some(MachineTrouble::Silent) => member.silent_since = since,
            None => {}
        }

        self.view.machines.retain(|known| &*known.machine.id != id);
        self.view.machines.push(Arc::new(member));
    }

    fn fail_source(&mut self) {
        let failure = ReadFailure { since: self.start, reason: "no answer".into() };
        self.health.lists[FleetList::Units as usize] =
            ListHealth { failure: Some(failure), ..ListHealth::default() };
    }

    fn restore_source(&mut self) {
        self.health.lists = Default::default();
    }

    /// What has become of the problems at this second.
    fn at(&mut self, second: u64) -> Vec<String> {
        let now = self.start + Duration::from_secs(second);
        let changes = self.tracker.update(&self.view, &self.health, now);

        changes
            .iter()
            .map(|change| match change {
                ProblemChange::Opened(problem) => format!("+ {}", problem.summary()),
                ProblemChange::Changed(problem) => format!("~ {}", problem.summary()),
                ProblemChange::Closed(problem, end) => {
                    format!("- {} {}", end.name(), problem.summary())
                }
            })
            .collect()
    }

    /// What becomes of the problems until this second, one update each second.
    fn until(&mut self, from: u64, to: u64) -> Vec<String> {
        (from..=to).flat_map(|second| self.at(second)).collect()
    }
}

fn timeline() -> Timeline {
    Timeline::new(ProblemDelays::default())
}

const NONE: [&str; 0] = [];

#[test]
fn a_verdict_that_lasts_is_opened_once_and_closed_once() {
    let mut timeline = timeline();
    timeline.set("web.service", "m1", Verdict::Failed);
    assert_eq!(timeline.until(0, 29), NONE);
    assert_eq!(timeline.at(30), ["+ web.service failed on m1"]);
    assert_eq!(timeline.until(31, 300), NONE);

    timeline.set("web.service", "m1", Verdict::Ok);
    assert_eq!(timeline.at(301), ["- recovered web.service failed on m1"]);
    assert_eq!(timeline.until(302, 400), NONE);
    assert_eq!(timeline.tracker.open().len(), 0);
}

#[test]
fn a_blink_is_no_problem() {
    let mut timeline = timeline();
    for blink in 0..20 {
        timeline.set("web.service", "m1", Verdict::Stale);
        assert_eq!(timeline.until(blink * 60, blink * 60 + 25), NONE);
        timeline.set("web.service", "m1", Verdict::Ok);
        assert_eq!(timeline.until(blink * 60 + 26, blink * 60 + 59), NONE);
    }
}

#[test]
fn a_unit_that_is_unreported_for_a_moment_keeps_its_problem() {
    let mut timeline = timeline();
    timeline.set("web.service", "m1", Verdict::Failed);
    timeline.until(0, 100);
    timeline.set("web.service", "m1", Verdict::Stale);
    assert_eq!(timeline.until(101, 125), ["~ web.service failed on m1"]);

    timeline.set("web.service", "m1", Verdict::Failed);
    assert_eq!(timeline.until(126, 200), ["~ web.service failed on m1"]);
}

#[test]
fn what_becomes_worse_is_another_problem_and_so_is_what_becomes_better() {
    let mut timeline = timeline();
    timeline.set("web.service", "m1", Verdict::Outdated);
    timeline.until(0, 1000);

    timeline.set("web.service", "m1", Verdict::Failed);
    assert_eq!(timeline.until(1001, 1030).len(), 1, "its verdict, at once");
    assert_eq!(
        timeline.at(1031),
        [
            "- replaced web.service runs another version than fleet has on m1",
            "+ web.service failed on m1"
        ]
    );

    timeline.set("web.service", "m1", Verdict::Outdated);
    timeline.until(1032, 1061);
    assert_eq!(
        timeline.at(1062),
        [
            "- replaced web.service failed on m1",
            "+ web.service runs another version than fleet has on m1"
        ]
    );
}

#[test]
fn a_unit_that_alternates_between_bad_verdicts_is_a_problem() {
    let mut timeline = timeline();
    let verdicts = [Verdict::Failed, Verdict::CrashLoop].into_iter().cycle();
    let mut opened = Vec::new();
    for (round, verdict) in verdicts.take(10).enumerate() {
        timeline.set("web.service", "m1", verdict);
        let from = round as u64 * 10;
        opened.extend(timeline.until(from, from + 9));
    }
    let opened: Vec<_> = opened
        .iter()
        .filter(|change| change.starts_with(['+', '-']))
        .collect();
    assert_eq!(opened, ["+ web.service is in a crash loop on m1"]);
}

#[test]
fn twenty_units_on_one_lost_machine_are_one_problem() {
    let mut timeline = timeline();
    timeline.set_machine("m1", None);
    timeline.set_machine("m2", None);
    timeline.at(0);

    timeline.set_machine("m1", Some(MachineTrouble::Silent));
    for unit in 0..20 {
        timeline.set(&format!("web@{unit}.service"), "m1", Verdict::Stale);
    }
    assert_eq!(timeline.until(1, 12), NONE);
    timeline.set_machine("m1", Some(MachineTrouble::Lost));
    for unit in 0..20 {
        timeline.set(&format!("web@{unit}.service"), "m1", Verdict::MachineLost);
    }
    assert_eq!(timeline.until(13, 300), ["+ machine m1 lost, 20 units"]);

    // It is back, and reports its units half a minute later.
    timeline.set_machine("m1", None);
    let changes = timeline.until(301, 340);
    assert_eq!(changes, ["~ machine m1 lost, 20 units"]);
    for unit in 0..20 {
        timeline.set(&format!("web@{unit}.service"), "m1", Verdict::Ok);
    }
    assert_eq!(timeline.until(341, 400), ["- recovered machine m1 lost, 20 units"]);
}

#[test]
fn a_machine_that_is_forgotten_is_a_problem_no_more() {
    let mut timeline = timeline();
    timeline.set_machine("m1", Some(MachineTrouble::Lost));
    assert_eq!(timeline.until(0, 60), ["+ machine m1 lost"]);
    timeline.view.machines.clear();
    assert_eq!(timeline.at(61), ["- gone machine m1 lost"]);
}

#[test]
fn a_silent_machine_that_is_lost_later_is_another_problem() {
    let mut timeline = timeline();
    timeline.set_machine("m1", Some(MachineTrouble::Silent));
    assert_eq!(timeline.until(0, 60), ["+ machine m1 silent"]);
    timeline.set_machine("m1", Some(MachineTrouble::Lost));
    assert_eq!(timeline.at(61), ["- replaced machine m1 silent", "+ machine m1 lost"]);
}

#[test]
fn what_fails_after_its_machine_is_back_takes_its_own_time() {
    let mut timeline = timeline();
    timeline.set_machine("m1", Some(MachineTrouble::Lost));
    timeline.set("web.service", "m1", Verdict::MachineLost);
    timeline.until(0, 100);

    timeline.set_machine("m1", None);
    timeline.set("web.service", "m1", Verdict::Failed);
    assert_eq!(timeline.until(101, 130), ["- recovered machine m1 lost, 1 unit"]);
    assert_eq!(timeline.until(131, 160), ["+ web.service failed on m1"]);
}

#[test]
fn units_that_fail_together_are_one_problem() {
    let mut timeline = timeline();
    for (second, unit) in ["a.service", "b.service", "c.service"].iter().enumerate() {
        timeline.set(unit, "m1", Verdict::Failed);
        assert_eq!(timeline.at(second as u64 * 2), NONE);
    }
    assert_eq!(timeline.until(5, 60), ["+ 3 units failed on m1"]);

    // One more within five minutes joins them.
    timeline.set("d.service", "m1", Verdict::Failed);
    assert_eq!(timeline.until(61, 100), ["~ 4 units failed on m1"]);

    // Later it is noticed as a problem of its own.
    timeline.until(101, 400);
    timeline.set("e.service", "m1", Verdict::Failed);
    assert_eq!(timeline.until(401, 500), ["+ e.service failed on m1"]);

    // The others go on as one, to the last of them.
    for unit in ["a.service", "b.service", "c.service"] {
        timeline.set(unit, "m1", Verdict::Ok);
    }
    assert_eq!(timeline.at(501), ["~ 1 unit failed on m1"]);
    timeline.remove("d.service", "m1");
    assert_eq!(timeline.at(502), ["- gone 1 unit failed on m1"]);
}

#[test]
fn instances_of_one_template_that_fail_together_are_one_problem() {
    let mut timeline = timeline();
    for machine in ["m1", "m2", "m3"] {
        timeline.set(&format!("web@{machine}.service"), machine, Verdict::Failed);
    }
    timeline.set("db.service", "m1", Verdict::Failed);
    assert_eq!(
        timeline.until(0, 60),
        ["+ 3 units of web@.service failed", "+ db.service failed on m1"]
    );
}

#[test]
fn a_fault_of_the_source_is_one_problem_and_mutes_the_others() {
    let mut timeline = timeline();
    timeline.set("old.service", "m1", Verdict::Failed);
    timeline.until(0, 60);

    timeline.fail_source();
    timeline.at(61);
    for unit in 0..50 {
        timeline.set(&format!("web@{unit}.service"), "m1", Verdict::Stale);
    }
    assert_eq!(timeline.until(62, 400), ["+ fleet cannot be read"]);

    timeline.restore_source();
    assert_eq!(timeline.at(401), ["- recovered fleet cannot be read"]);
    assert_eq!(
        timeline.until(402, 425),
        NONE,
        "what it lists right after an outage may be wrong"
    );
    for unit in 1..50 {
        timeline.set(&format!("web@{unit}.service"), "m1", Verdict::Ok);
    }
    assert_eq!(
        timeline.until(426, 500),
        ["+ web@0.service is not reported any more on m1"],
        "and what lasts is a problem"
    );
}

#[test]
fn a_source_that_fails_now_and_then_delays_problems_and_does_not_hide_them() {
    let mut timeline = timeline();
    timeline.set("web.service", "m1", Verdict::Failed);
    let mut changes = Vec::new();
    for round in 0..30 {
        timeline.fail_source();
        changes.extend(timeline.at(round * 4));
        timeline.restore_source();
        changes.extend(timeline.until(round * 4 + 1, round * 4 + 3));
    }
    assert_eq!(changes, ["+ web.service failed on m1"]);
}

#[test]
fn a_suspect_source_is_one_problem() {
    let mut timeline = timeline();
    timeline.health.suspect_since = Some(timeline.start.wall);
    for unit in 0..50 {
        timeline.set(&format!("web@{unit}.service"), "m1", Verdict::Stale);
    }
    assert_eq!(timeline.until(0, 300), ["+ fleet's list of units is incomplete"]);
}

#[test]
fn each_kind_may_have_a_delay_of_its_own() {
    let seconds = Duration::from_secs;
    let mut timeline = Timeline::new(ProblemDelays {
        default: seconds(0),
        by_name: [("stale", seconds(300)), ("source", seconds(60))].into(),
    });
    timeline.set("a.service", "m1", Verdict::Failed);
    timeline.set("b.service", "m1", Verdict::Stale);
    assert_eq!(timeline.at(0), ["+ a.service failed on m1"]);
    assert_eq!(timeline.until(1, 299), NONE);
    assert_eq!(timeline.at(300), ["+ b.service is not reported any more on m1"]);

    timeline.fail_source();
    assert_eq!(timeline.until(301, 360), NONE);
    assert_eq!(timeline.at(361), ["+ fleet cannot be read"]);
}

#[test]
fn nothing_is_a_problem_before_everything_has_been_read() {
    let mut timeline = timeline();
    timeline.health.events_since = None;
    timeline.set("a.service", "m1", Verdict::Failed);
    assert_eq!(timeline.until(0, 100), NONE);

    timeline.fail_source();
    assert_eq!(timeline.until(101, 200), ["+ fleet cannot be read"]);
}

#[test]
fn an_id_is_stable_while_a_problem_is_open_and_another_one_later() {
    let mut timeline = timeline();
    let mut ids = Vec::new();
    for round in 0..2 {
        timeline.set("web.service", "m1", Verdict::Failed);
        for second in 0..60 {
            timeline.at(round * 100 + second);
            ids.extend(timeline.tracker.open().iter().map(|problem| problem.id.clone()));
        }
        timeline.set("web.service", "m1", Verdict::Ok);
        timeline.at(round * 100 + 60);
    }
    ids.dedup();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert_eq!(ids[0].len(), 16);
}

impl Timeline {
    /// The program ends, and starts again at this second: what was wrong for a while is not known
    /// any more, except the problems that were open.
    fn restart(&mut self, second: u64) -> Vec<SavedProblem> {
        let now = self.start + Duration::from_secs(second);
        let open = self.tracker.open().clone();
        let saved: Vec<SavedProblem> =
            open.iter().map(|problem| SavedProblem::from(&**problem)).collect();
        let text = serde_json::to_string(&saved).unwrap();
        assert_eq!(serde_json::from_str::<Vec<SavedProblem>>(&text).unwrap(), saved);

        self.tracker = ProblemTracker::new(ProblemDelays::default());
        self.tracker.restore(&saved, now);
        saved
    }

    fn ids(&self) -> Vec<String> {
        self.tracker
            .open()
            .iter()
            .map(|problem| problem.id.to_string())
            .collect()
    }
}

/// A timeline with a lost machine and two failed units elsewhere, all of them problems.
fn with_problems() -> Timeline {
    let mut timeline = Timeline::new(ProblemDelays::default());
    timeline.set_machine("m1", Some(MachineTrouble::Lost));
    timeline.set("on-m1.service", "m1", Verdict::MachineLost);
    for unit in ["a.service", "b.service"] {
        timeline.set(unit, "m2", Verdict::Failed);
    }
    timeline.until(0, 60);
    assert_eq!(timeline.tracker.open().len(), 2);
    timeline
}

#[test]
fn problems_go_on_over_a_restart_and_nobody_is_informed_of_that() {
    let mut timeline = with_problems();
    let before = timeline.tracker.open().clone();
    timeline.restart(100);

    assert_eq!(timeline.until(100, 200), [""; 0]);
    assert_eq!(timeline.tracker.open(), &before);
}

#[test]
fn a_problem_that_is_over_after_a_restart_is_closed() {
    let mut timeline = with_problems();
    timeline.restart(100);
    timeline.set_machine("m1", None);
    timeline.set("on-m1.service", "m1", Verdict::Ok);
    timeline.set("a.service", "m2", Verdict::Ok);
    timeline.remove("b.service", "m2");

    let changes = timeline.at(101);
    assert!(changes.iter().all(|change| change.starts_with("- ")), "{changes:?}");
    assert!(timeline.ids().is_empty());
}

#[test]
fn a_problem_has_other_units_after_a_restart() {
    let mut timeline = with_problems();
    let ids = timeline.ids();
    timeline.restart(100);
    timeline.set("a.service", "m2", Verdict::Ok);

    let changes = timeline.at(101);
    assert!(matches!(&*changes, [change] if change.starts_with("~ 1 unit")), "{changes:?}");
    assert_eq!(timeline.ids(), ids);
}

#[test]
fn what_no_machine_has_reported_yet_closes_no_problem_right_after_a_restart() {
    let row = |verdict| {
        let mut row = builders::unit(unit_state("a.service", "m2", "active/running"));
        row.state.active = None;
        row.file = Some(Arc::new(builders::unit_file("a.service", Some("m2"))));
        row.verdict = verdict;
        Arc::new(row)
    };
    let mut timeline = Timeline::new(ProblemDelays::default());
    timeline.view.units.insert(row(Verdict::Unreported));
    timeline.until(0, 60);
    let ids = timeline.ids();
    assert_eq!(ids.len(), 1);

    timeline.restart(100);
    timeline.view.units.insert(row(Verdict::Ok));
    assert_eq!(timeline.until(100, 129), [""; 0]);
    assert_eq!(timeline.ids(), ids);
    let changes = timeline.until(130, 140);
    assert!(
        matches!(&*changes, [change] if change.starts_with("- recovered")),
        "{changes:?}"
    );
}

#[test]
fn a_machine_that_is_away_for_a_moment_ends_no_problem_of_its_units() {
    let mut timeline = timeline();
    timeline.set_machine("m1", None);
    timeline.set("web.service", "m1", Verdict::Failed);
    timeline.until(0, 60);

    timeline.set_machine("m1", Some(MachineTrouble::Silent));
    timeline.set("web.service", "m1", Verdict::Stale);
    let changes = timeline.until(61, 80);
    timeline.set_machine("m1", None);
    timeline.set("web.service", "m1", Verdict::Failed);
    let all = [changes, timeline.until(81, 200)].concat();
    assert!(all.iter().all(|change| change.starts_with('~')), "{all:?}");
}

#[test]
fn a_unit_whose_row_loses_its_machine_keeps_its_time() {
    let unreported = || {
        let mut row = builders::unit(unit_state("web.service", "m1", "active/running"));
        row.state.machine = None;
        row.state.active = None;
        row.file = Some(Arc::new(builders::unit_file("web.service", Some("m1"))));
        row.verdict = Verdict::Unreported;
        Arc::new(row)
    };
    let mut timeline = timeline();
    timeline.set("web.service", "m1", Verdict::Stale);
    let mut changes = timeline.until(0, 31);
    timeline.remove("web.service", "m1");
    timeline.view.units.insert(unreported());
    changes.extend(timeline.until(32, 100));

    let opened_or_closed: Vec<_> = changes
        .iter()
        .filter(|change| change.starts_with(['+', '-']))
        .collect();
    assert_eq!(
        opened_or_closed,
        [
            "+ web.service is not reported any more on m1",
            "- replaced web.service is not reported any more on m1",
            "+ web.service is not reported on m1"
        ]
    );
}

#[test]
fn a_unit_that_runs_elsewhere_has_recovered() {
    let mut timeline = timeline();
    timeline.set("web.service", "m1", Verdict::Failed);
    timeline.until(0, 60);

    timeline.remove("web.service", "m1");
    let mut row = builders::unit(unit_state("web.service", "m2", "active/running"));
    row.file = Some(Arc::new(builders::unit_file("web.service", Some("m2"))));
    timeline.view.units.insert(Arc::new(row));
    assert_eq!(timeline.at(61), ["- recovered web.service failed on m1"]);
}

#[test]
fn units_that_fail_one_after_the_other_become_one_problem() {
    let mut timeline = timeline();
    let mut changes = Vec::new();
    for unit in 0..10 {
        timeline.set(&format!("u{unit}.service"), "m1", Verdict::Failed);
        changes.extend(timeline.until(unit * 6, unit * 6 + 5));
    }
    changes.extend(timeline.until(60, 120));

    let opened = changes.iter().filter(|change| change.starts_with('+')).count();
    assert_eq!(opened, 2, "one unit, and then all of them: {changes:?}");
    assert_eq!(timeline.tracker.open().len(), 1);
    assert_eq!(timeline.tracker.open()[0].units.len(), 10);
}

#[test]
fn a_burst_beside_an_older_problem_with_the_same_cause_is_one_problem() {
    let mut timeline = timeline();
    for unit in ["old-a.service", "old-b.service"] {
        timeline.set(unit, "m1", Verdict::Failed);
    }
    timeline.until(0, 1000);
    for unit in 0..40 {
        timeline.set(&format!("u{unit}.service"), "m1", Verdict::Failed);
    }

    let changes = timeline.until(1001, 1100);
    assert_eq!(changes, ["- replaced 2 units failed on m1", "+ 42 units failed on m1"]);
}

#[test]
fn unit_files_that_cannot_be_read_are_a_problem_and_mute_none() {
    let mut timeline = timeline();
    let failure = ReadFailure { since: timeline.start, reason: "timeout".into() };
    timeline.health.lists[FleetList::UnitFiles as usize] =
        ListHealth { failure: Some(failure), ..ListHealth::default() };
    timeline.set("web.service", "m1", Verdict::Failed);

    let mut changes = timeline.until(0, 60);
    changes.sort();
    assert_eq!(changes, ["+ fleet cannot be read", "+ web.service failed on m1"]);
}

#[test]
fn a_source_that_never_recovers_is_a_problem() {
    let mut timeline = timeline();
    let mut changes = Vec::new();
    for round in 0..6 {
        timeline.fail_source();
        changes.extend(timeline.until(round * 20, round * 20 + 1));
        timeline.restore_source();
        timeline.health.is_recovering = true;
        changes.extend(timeline.until(round * 20 + 2, round * 20 + 19));
    }
    assert_eq!(changes, ["+ fleet cannot be read"]);

    timeline.health.is_recovering = false;
    assert_eq!(timeline.at(200), ["- recovered fleet cannot be read"]);
}

#[test]
fn one_failure_is_no_problem_while_the_source_recovers() {
    let mut timeline = timeline();
    timeline.fail_source();
    timeline.at(0);
    timeline.restore_source();
    timeline.health.is_recovering = true;
    assert_eq!(timeline.until(1, 100), NONE);
}

#[test]
fn all_problems_end_when_another_cluster_is_watched() {
    let mut timeline = with_problems();
    assert_eq!(timeline.tracker.clear().len(), 2);
    assert_eq!(timeline.tracker.open().len(), 0);
}

#[test]
fn what_was_wrong_before_the_start_is_not_mixed_with_what_is_new() {
    let mut timeline = timeline();
    timeline.set("old.service", "m1", Verdict::Failed);
    timeline.until(0, 20);
    let mut row = builders::unit(unit_state("new.service", "m1", "failed/failed"));
    row.verdict = Verdict::Failed;
    row.verdict_since_seen = true;
    timeline.view.units.insert(Arc::new(row));

    let changes = timeline.until(21, 100);
    assert_eq!(changes, ["+ old.service failed on m1", "+ new.service failed on m1"]);
}

#[test]
fn a_problem_has_been_there_since_the_first_of_its_units() {
    let mut timeline = timeline();
    let failed_at = |unit: &str, second: u64, start: Moment| {
        let mut row = builders::unit(unit_state(unit, "m1", "failed/failed"));
        row.verdict = Verdict::Failed;
        row.verdict_since = (start + Duration::from_secs(second)).wall;
        Arc::new(row)
    };
    let start = timeline.start;
    timeline.view.units.insert(failed_at("a.service", 0, start));
    timeline.until(0, 59);
    timeline.view.units.insert(failed_at("b.service", 60, start));
    timeline.until(60, 120);

    let [problem] = &**timeline.tracker.open() else {
        panic!("{:?}", timeline.tracker.open());
    };
    assert_eq!((problem.units.len(), problem.since), (2, start.wall));
}

#[test]
fn a_machine_that_was_silent_before_the_start_was_not_seen_to_become_so() {
    for (silent_for, is_seen) in [(7200, false), (0, true)] {
        let mut timeline = timeline();
        let mut member = builders::member(builders::machine("m1"));
        member.silent_since = Some(timeline.start.before(Duration::from_secs(silent_for)).wall);
        timeline.view.machines.push(Arc::new(member));
        timeline.until(0, 60);
        assert_eq!(timeline.tracker.open()[0].since_seen, is_seen);
    }
}

/// A problem of one unit, as another monitor has opened it.
fn of_another_monitor(timeline: &Timeline, unit: &str, verdict: &str) -> SavedProblem {
    let opened = timeline.start.wall.duration_since(std::time::UNIX_EPOCH).unwrap();
    let opened = u64::try_from(opened.as_nanos()).unwrap();
    let json = serde_json::json!({
        "id": "0123456789abcdef", "since": opened, "since_seen": true, "opened": opened,
        "cause": {"unit": {"verdict": verdict, "unit": unit, "machine": {"id": "m2", "ip": null}}},
        "rows": [[unit, "m2"]],
    });
    serde_json::from_value(json).unwrap()
}

#[test]
fn what_is_wrong_here_too_is_the_problem_of_another_monitor() {
    let mut timeline = Timeline::new(ProblemDelays::default());
    timeline.set("a.service", "m2", Verdict::Failed);
    timeline.at(0);
    let peer = of_another_monitor(&timeline, "a.service", "failed");
    let now = timeline.start + Duration::from_secs(1);

    assert_eq!(
        timeline
            .tracker
            .learn(std::slice::from_ref(&peer), &timeline.view, now),
        1
    );
    assert_eq!(timeline.tracker.learn(&[peer], &timeline.view, now), 0, "it is known then");

    // Nobody is informed that it is open, since the other one has done that; but that it is over.
    assert_eq!(timeline.until(1, 100), [""; 0]);
    assert_eq!(timeline.ids(), ["0123456789abcdef"]);
    timeline.set("a.service", "m2", Verdict::Ok);
    let closed = timeline.at(101);
    assert!(closed.len() == 1 && closed[0].starts_with("- recovered"), "{closed:?}");
}

#[test]
fn a_problem_of_another_monitor_is_none_if_nothing_is_wrong_here_or_this_one_has_it() {
    let mut timeline = Timeline::new(ProblemDelays::default());
    timeline.set("a.service", "m2", Verdict::Ok);
    timeline.set("b.service", "m2", Verdict::Failed);
    timeline.until(0, 40);
    let before = timeline.ids();
    assert_eq!(before.len(), 1);

    let now = timeline.start + Duration::from_secs(41);
    for (unit, verdict) in [
        ("a.service", "failed"),
        ("b.service", "failed"),
        ("b.service", "outdated"),
        ("missing.service", "failed"),
    ] {
        let peer = of_another_monitor(&timeline, unit, verdict);
        assert_eq!(timeline.tracker.learn(&[peer], &timeline.view, now), 0, "{unit} {verdict}");
    }
    assert_eq!(timeline.until(41, 80), [""; 0]);
    assert_eq!(timeline.ids(), before);
}
