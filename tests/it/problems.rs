//! Which problems recorded incidents lead to, beside the alerts that fleet's own lists would have
//! caused.
//!
//! `cargo test --test it -- problems --nocapture` prints the table.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_monitor::cluster::{Cluster, Moment, Reading, UnitState, Verdict};
use fleet_monitor::problems::{
    Problem, ProblemCause, ProblemChange, ProblemDelays, ProblemTracker,
};
use fleet_monitor::source::recording::RecordedReport;

use crate::live::recording::{GRACE, UnitOnMachine, changes, polled, polls, states};
use crate::live::truth::Truth;
use crate::support::recorded_poll;
use crate::timeline;

/// Units of the recorded clusters that fail on purpose, that no machine may run, or that are
/// destroyed and started while it is recorded.
const BROKEN: [&str; 8] = [
    "badsetting.service",
    "conflict-a.service",
    "conflict-b.service",
    "crash.service",
    "flap.service",
    "masked-user.service",
    "notify-static.service",
    "nowhere.service",
];

const TICK: Duration = Duration::from_secs(1);

/// What a monitor made of a recording, or of a part of it.
#[derive(Default)]
struct Outcome {
    /// The problems that were opened: when, and with which units.
    opened: Vec<(Duration, Problem)>,
    /// For each of them, the time since its first sign was shown.
    delays: Vec<Duration>,
    /// The alerts that fleet's lists would have caused: one for each row that vanishes or fails.
    raw: usize,
}

impl Outcome {
    /// Replays polls to a monitor that updates its problems with each of them, and each second.
    fn of<'a>(polls: impl IntoIterator<Item = &'a RecordedReport>) -> Self {
        let start = Moment::now();
        let mut cluster = Cluster::new(GRACE);
        let mut tracker = ProblemTracker::new(ProblemDelays::default());
        let mut outcome = Self::default();
        let mut raw = RawAlerts::default();
        let mut tick = Duration::ZERO;

        for poll in polls {
            while tick < poll.at {
                outcome.update(&mut tracker, &cluster, start, tick);
                tick += TICK;
            }
            recorded_poll::apply(&mut cluster, poll, start);
            raw.read(&poll.outcome);
            outcome.update(&mut tracker, &cluster, start, poll.at);
        }

        outcome.raw = raw.alerts;
        outcome
    }

    fn update(
        &mut self,
        tracker: &mut ProblemTracker,
        cluster: &Cluster,
        start: Moment,
        at: Duration,
    ) {
        let now = start + at;

        for change in tracker.update(cluster.view(), cluster.health(), now) {
            if let ProblemChange::Opened(problem) = change {
                self.delays
                    .push(now.wall.duration_since(problem.since).unwrap_or_default());
                self.opened.push((at, (*problem).clone()));
            }
        }
    }

    /// The problems about units.
    fn of_units(&self) -> impl Iterator<Item = &(Duration, Problem)> {
        self.opened.iter().filter(|(_, problem)| {
            !matches!(problem.cause, ProblemCause::Source(_) | ProblemCause::Machine { .. })
        })
    }
}

/// The alerts of somebody who watches fleet's lists as they are.
#[derive(Default)]
struct RawAlerts {
    listed: BTreeSet<UnitOnMachine>,
    failed: BTreeSet<UnitOnMachine>,
    alerts: usize,
}

impl RawAlerts {
    fn read(&mut self, outcome: &Result<Reading, String>) {
        let Some(states) = states(outcome) else {
            return;
        };
        let rows = |wanted: fn(&UnitState) -> bool| -> BTreeSet<UnitOnMachine> {
            let rows = states.iter().filter(|state| wanted(state));
            rows.filter_map(|state| Some((state.unit.clone(), state.machine.clone()?)))
                .collect()
        };

        let listed = rows(|_| true);
        let failed = rows(|state| state.active.as_deref() == Some("failed"));
        self.alerts += self.listed.difference(&listed).count();
        self.alerts += failed.difference(&self.failed).count();
        self.listed = listed;
        self.failed = failed;
    }
}

/// A monitor's outcome with the name of the recording.
fn print(name: &str, outcomes: &[Outcome]) {
    let monitors = outcomes.len();
    let units: usize = outcomes.iter().map(|outcome| outcome.of_units().count()).sum();
    let all: usize = outcomes.iter().map(|outcome| outcome.opened.len()).sum();
    let raw: usize = outcomes.iter().map(|outcome| outcome.raw).sum();
    let mut delays: Vec<Duration> = outcomes
        .iter()
        .flat_map(|outcome| outcome.delays.iter().copied())
        .collect();
    delays.sort();
    let median = delays.get(delays.len() / 2).copied().unwrap_or_default();
    let worst = delays.last().copied().unwrap_or_default();

    println!(
        "{name:40} {monitors:3} monitors: {all:4} problems, {units:4} of them of units; delay \
         {:.0} s (median), {:.0} s (worst); {raw:6} alerts by the lists",
        median.as_secs_f64(),
        worst.as_secs_f64()
    );
}

fn describe((at, problem): &(Duration, Problem)) -> String {
    format!("{:.1} s: {} ({})", at.as_secs_f64(), problem.summary(), problem.description())
}

/// Ten monitors that poll a timeline, each from another moment on.
fn of_timeline(name: &str) -> Vec<Outcome> {
    let polls = timeline::polls(name);
    let starts = (0..10).map(|step| Duration::from_millis(step * 1100));

    starts
        .map(|start| Outcome::of(timeline::sampled(&polls, start)))
        .collect()
}

/// Whether a unit of the problem was in trouble, as far as the names of the units say.
fn is_about_broken_units(problem: &Problem) -> bool {
    problem.units.iter().all(|unit| BROKEN.contains(&&*unit.state.unit))
}

#[test]
fn no_timeline_leads_to_a_problem_of_a_unit_that_is_well() {
    let mut wrong = Vec::new();

    for name in timeline::RECORDINGS {
        let outcomes = of_timeline(name);
        print(name, &outcomes);

        for outcome in &outcomes {
            let opened = outcome.of_units();
            let well = opened.filter(|(_, problem)| !is_about_broken_units(problem));
            wrong.extend(well.map(|opened| format!("{name}, {}", describe(opened))));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The recordings of one cluster by three sources, with the truth beside them.
#[test]
fn ten_minutes_of_trouble_lead_to_no_problem_of_a_unit_that_ran_all_the_time() {
    let truth = Truth::read(crate::live::END);
    let mut wrong = Vec::new();

    for source in ["etcd", "api", "fleetctl", "lists"] {
        let file = if source == "lists" { "etcd" } else { source };
        let recorded = polls(&format!("{file}.jsonl.gz"));
        let outcomes: Vec<Outcome> = crate::live::starts()
            .map(|start| match source {
                "etcd" => Outcome::of(&changes(&recorded, start)),
                "lists" => Outcome::of(&polled(&recorded, start)),
                _ => Outcome::of(recorded.iter().filter(|poll| poll.at >= start)),
            })
            .collect();
        print(&format!("live, by {source}"), &outcomes);

        for outcome in &outcomes {
            let opened = outcome.of_units();
            let well = opened.filter(|(at, problem)| has_a_unit_that_ran(problem, *at, &truth));
            wrong.extend(well.map(|opened| format!("{source}, {}", describe(opened))));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether one of the units ran from a minute before the problem was opened until then, and is said
/// not to.
fn has_a_unit_that_ran(problem: &Problem, opened: Duration, truth: &Truth) -> bool {
    let from = opened.saturating_sub(Duration::from_secs(60));

    problem.units.iter().any(|unit| {
        let is_said_to_run =
            matches!(unit.verdict, Verdict::CrashLoop | Verdict::Ghost | Verdict::Outdated);
        let key = unit
            .state
            .machine
            .clone()
            .map(|machine| (unit.state.unit.clone(), machine));
        let is_broken = BROKEN.contains(&&*unit.state.unit);
        !is_said_to_run
            && !is_broken
            && key.is_some_and(|key| truth.ran_throughout(&key, from, opened))
    })
}

/// The small recordings, each of one fault: what a monitor opens that reads them to the end.
#[test]
fn each_fault_is_as_many_problems_as_it_has_causes() {
    for (name, expected) in [
        ("1-etcd-fleetd-crash.jsonl", &[][..]),
        ("2-fleetctl-fleetd-crash.jsonl", &[]),
        ("3-fleetctl-machine-lost-then-stale.jsonl", &["machine 10.0.0.3"]),
        ("4-crash-loop.jsonl", &["flap.service is in a crash loop"]),
        ("5-etcd-outage.jsonl", &[]),
        ("6-etcd-fleetd-crashes-again.jsonl", &[]),
    ] {
        let outcome = Outcome::of(&polls(name));
        print(name, std::slice::from_ref(&outcome));

        let opened: Vec<String> = outcome.opened.iter().map(describe).collect();
        assert_eq!(opened.len(), expected.len(), "{name}: {opened:#?}");
        for (opened, expected) in opened.iter().zip(expected) {
            assert!(opened.contains(expected), "{name}: {opened}");
        }
    }
}
