//! Replays the recorded timelines of real clusters: no row that was there all the time is ever
//! reported gone.
//!
//! The recordings have a poll every 0.2 s. Here they are polled as the program polls a cluster: the
//! units every 2 s, machines and unit files every 10 s and whenever a row has appeared or vanished.
//! This is repeated with ten different starts. The origin of the recordings is described in
//! `tests/fixtures/timeline/README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use fleet_monitor::cluster::{Cluster, Event, FleetList, Moment, Reading, UnitState, Verdict};
use fleet_monitor::source::recording::{RecordedReport, RecordingEntry, RecordingReader};

use crate::live::recording::{self, UnitOnMachine};
use crate::support::recorded_poll::apply;

const GRACE: Duration = Duration::from_secs(30);

pub const RECORDINGS: [&str; 13] = [
    "etcd-down-10s",
    "etcd-down-70s",
    "filling-the-cluster.v0.5.0",
    "filling-the-cluster.v0.8.3",
    "filling-the-cluster.v0.9.2",
    "filling-the-cluster.v0.11.8",
    "filling-the-cluster.v1.0.0",
    "fleetd-restart",
    "fleetd-restart-of-the-polled-machine",
    "kill-machine-and-return",
    "partition-machine",
    "shutdown-machine-and-return",
    "start-stop-destroy",
];

pub fn polls(name: &str) -> Vec<RecordedReport> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/fixtures/timeline/{name}.jsonl"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut reader = RecordingReader::default();
    let entries = text.lines().filter_map(|line| reader.read(line).unwrap());
    let polls = entries.filter_map(|entry| match entry {
        RecordingEntry::Poll(poll) => Some(poll),
        RecordingEntry::Begin { .. } => None,
    });

    polls.collect()
}

/// The rows of a list of units; `None` for another list or a failure.
fn rows(poll: &RecordedReport) -> Option<BTreeSet<UnitOnMachine>> {
    let Ok(Reading::Units { states, .. }) = &poll.outcome else {
        return None;
    };

    Some(
        states
            .iter()
            .filter_map(|state| Some((state.unit.clone(), state.machine.clone()?)))
            .collect(),
    )
}

/// The polls that a monitor with a start at `offset` would have made.
pub fn sampled(polls: &[RecordedReport], offset: Duration) -> Vec<&RecordedReport> {
    let mut due = [offset; 3];
    let mut last = None;
    let mut taken = Vec::new();

    for poll in polls {
        let list = poll.lists[0];
        if poll.at < due[list as usize] {
            continue;
        }
        let interval = if list == FleetList::Units { 2 } else { 10 };
        due[list as usize] = poll.at + Duration::from_secs(interval);

        if let Some(rows) = rows(poll) {
            if last.as_ref().is_some_and(|last| *last != rows) {
                due[FleetList::Machines as usize] = poll.at;
                due[FleetList::UnitFiles as usize] = poll.at;
            }
            last = Some(rows);
        }
        taken.push(poll);
    }
    taken
}

/// Whether a row could really be gone at some time between two moments: fleet did not want the unit
/// there, or the machine was not in the cluster.
fn truly_gone(
    polls: &[RecordedReport],
    (unit, machine): &UnitOnMachine,
    from: Duration,
    to: Duration,
) -> bool {
    polls
        .iter()
        .filter(|poll| poll.at >= from && poll.at <= to)
        .any(|poll| match &poll.outcome {
            Ok(Reading::Machines { machines }) => {
                machines.iter().all(|listed| listed.id != *machine)
            }
            Ok(Reading::UnitFiles { files } | Reading::Units { files: Some(files), .. }) => {
                !files.iter().any(|file| {
                    file.unit == *unit
                        && file.desired.as_deref() != Some("inactive")
                        && (file.global
                            || !file.target_known
                            || file.target.as_ref() == Some(machine))
                })
            }
            _ => false,
        })
}

/// Counts rows that disappeared and came back although they had never been gone.
#[derive(Debug, Default)]
struct Disappearances {
    missing_since: BTreeMap<UnitOnMachine, Duration>,
    false_ones: usize,
}

impl Disappearances {
    fn record_missing(&mut self, key: UnitOnMachine, at: Duration) {
        self.missing_since.insert(key, at);
    }

    fn record_back(&mut self, key: &UnitOnMachine, at: Duration, polls: &[RecordedReport]) {
        if let Some(from) = self.missing_since.remove(key) {
            self.false_ones += usize::from(!truly_gone(polls, key, from, at));
        }
    }
}

fn key(event: &Event) -> Option<UnitOnMachine> {
    let place = event.place()?;
    Some((place.unit.clone(), place.machine.clone()?))
}

#[test]
fn no_row_that_was_there_is_ever_reported_gone() {
    let mut total_in_lists = 0;
    let mut total_in_events = 0;

    for name in RECORDINGS {
        let polls = polls(name);
        let mut in_lists = 0;
        let mut in_events = 0;
        for offset in (0..10).map(|step| Duration::from_millis(step * 200)) {
            let (lists, events) = count_false_disappearances(&polls, offset);
            in_lists += lists;
            in_events += events;
        }

        print_count(name, in_lists, in_events);
        total_in_lists += in_lists;
        total_in_events += in_events;
    }

    print_count("all", total_in_lists, total_in_events);
    assert_eq!(total_in_events, 0, "a row that was there was reported gone");
    assert!(
        total_in_lists > 100,
        "the recordings have changed: fleet's lists have only {total_in_lists} in them"
    );
}

fn print_count(name: &str, in_lists: usize, in_events: usize) {
    println!("{name:40} false disappearances: {in_lists:4} in fleet's lists, {in_events} in ours");
}

/// The number of false disappearances in fleet's lists and in the events of a monitor.
fn count_false_disappearances(polls: &[RecordedReport], offset: Duration) -> (usize, usize) {
    let start = Moment::now();
    let mut cluster = Cluster::new(GRACE);
    let mut last_rows = BTreeSet::new();
    let mut in_lists = Disappearances::default();
    let mut in_events = Disappearances::default();

    for poll in sampled(polls, offset) {
        if let Some(rows) = rows(poll) {
            for key in rows.difference(&last_rows) {
                in_lists.record_back(key, poll.at, polls);
            }
            for key in last_rows.difference(&rows) {
                in_lists.record_missing(key.clone(), poll.at);
            }
            last_rows = rows;
        }

        for transition in apply(&mut cluster, poll, start) {
            match (&transition.event, key(&transition.event)) {
                (Event::Gone { .. }, Some(key)) => in_events.record_missing(key, poll.at),
                (Event::Appeared { .. }, Some(key)) => {
                    in_events.record_back(&key, poll.at, polls);
                }
                _ => {}
            }
        }
    }
    (in_lists.false_ones, in_events.false_ones)
}

/// What a monitor with a start at 0.6 s shows, with the time of each event.
struct TimelineReplay {
    events: Vec<(f64, Event)>,
    /// For each verdict, the units that ever had it, and the second when they first did.
    verdicts: BTreeMap<Verdict, BTreeMap<String, f64>>,
    /// The smallest number of listed rows after the first reading.
    fewest: usize,
}

fn replay(name: &str, grace: Duration) -> TimelineReplay {
    let polls = polls(name);
    let start = Moment::now();
    let mut cluster = Cluster::new(grace);
    let mut replay = TimelineReplay {
        events: vec![],
        verdicts: BTreeMap::new(),
        fewest: usize::MAX,
    };

    for poll in sampled(&polls, Duration::from_millis(600)) {
        let at = poll.at.as_secs_f64();
        replay.events.extend(
            apply(&mut cluster, poll, start)
                .into_iter()
                .map(|it| (at, it.event.clone())),
        );
        for unit in &cluster.view().units {
            let units = replay.verdicts.entry(unit.verdict).or_default();
            units.entry(unit.state.unit.to_string()).or_insert(at);
        }
        if cluster.health().list(FleetList::Units).read.is_some() {
            replay.fewest = replay
                .fewest
                .min(cluster.view().units.iter().filter(|unit| unit.listed).count());
        }
    }
    replay
}

impl TimelineReplay {
    fn first(&self, kind: &str, unit: &str, ip: &str) -> Option<f64> {
        let matches = |event: &&(f64, Event)| {
            let place = event.1.place();
            event.1.name() == kind
                && place.is_some_and(|it| &*it.unit == unit && it.ip.as_deref() == Some(ip))
        };
        self.events.iter().find(matches).map(|event| event.0)
    }

    fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event.1.name() == kind).count()
    }

    fn has(&self, verdict: Verdict, unit: &str) -> bool {
        self.verdicts
            .get(&verdict)
            .is_some_and(|units| units.contains_key(unit))
    }
}

#[test]
fn the_units_of_a_killed_machine_are_lost_and_then_gone() {
    let replay = replay("kill-machine-and-return", GRACE);
    let lost = replay.verdicts[&Verdict::MachineLost]["hello@2.service"];
    // fleet lists the rows without an address from 21.4 s on, and does not list them from 27.5 s
    // on.
    assert!((21.4..24.0).contains(&lost), "machine lost at {lost}");

    let arrived = replay.first("appeared", "hello@2.service", "172.17.8.101").unwrap();
    let gone = replay.first("gone", "hello@2.service", "172.17.8.104").unwrap();
    assert!(lost < arrived && arrived < gone && gone < 30.0, "{lost}, {arrived}, {gone}");
    assert_eq!(replay.count("machine_lost"), 1);
    assert_eq!(replay.count("machine_joined"), 1);

    let appearances = replay.events.iter().filter(|event| {
        event.1.name() == "appeared"
            && event.1.place().is_some_and(|place| &*place.unit == "hello@2.service")
    });
    assert_eq!(appearances.count(), 1, "a unit that is moved appears once");
}

#[test]
fn a_destroyed_unit_is_a_ghost_while_it_is_listed_and_then_gone() {
    // Destroyed at 50.2 s; its row stays active/running for 5 to 6 s.
    let replay = replay("start-stop-destroy", GRACE);
    let ghost = replay.verdicts[&Verdict::Ghost].get("tl.service").copied().unwrap();
    let gone: Vec<f64> = replay
        .events
        .iter()
        .filter(|event| event.1.name() == "gone")
        .map(|event| event.0)
        .collect();

    assert!(ghost > 28.9, "a ghost before it was unloaded: {ghost}");
    assert!(gone.last().is_some_and(|gone| (55.0..59.0).contains(gone)), "{gone:?}");
    assert_eq!(replay.count("stale"), 0, "{:?}", replay.events);
}

#[test]
fn a_restart_or_an_outage_never_empties_the_view() {
    for name in [
        "fleetd-restart",
        "fleetd-restart-of-the-polled-machine",
        "etcd-down-10s",
        "etcd-down-70s",
    ] {
        let replay = replay(name, GRACE);
        assert!(replay.fewest >= 28, "{name}: {}", replay.fewest);
    }

    let replay = replay("etcd-down-70s", GRACE);
    assert_eq!(replay.count("source_down"), 1);
    assert_eq!(replay.count("source_back"), 1);
    assert_eq!(replay.count("source_suspect"), 1, "one event for all missing rows");
}

/// Except `outdated`, which a test below produces, and `unreported`: in no recorded cluster does a
/// machine report other units and lack one for long.
#[test]
fn every_verdict_has_a_recorded_case() {
    let kill = replay("kill-machine-and-return", GRACE);

    assert!(kill.has(Verdict::Ok, "web.service"));
    assert!(kill.has(Verdict::Failed, "crash.service"), "failed/failed");
    assert!(kill.has(Verdict::Failed, "badsetting.service"), "bad-setting");
    assert!(kill.has(Verdict::MachineLost, "node-agent.service"));
    assert!(
        kill.has(Verdict::Unscheduled, "nowhere.service"),
        "no machine meets its requirements"
    );
    assert!(
        replay("shutdown-machine-and-return", GRACE).has(Verdict::Stale, "global-west.service")
    );
    assert!(replay("start-stop-destroy", GRACE).has(Verdict::Ghost, "tl.service"));
    assert!(kill.has(Verdict::CrashLoop, "flap.service"));
}

/// The machine joins at 95 s, after an outage of etcd, and first reports the unit at 124 s.
#[test]
fn a_unit_is_not_unreported_while_its_machine_has_not_reported_anything() {
    let live = recording::replay(&recording::polls("etcd.jsonl.gz"), Duration::from_secs(13));
    let unreported = ("global-west.service".into(), "3f1a8c5e9b2d4f60a7c1d2e3b4f50617".into());
    let verdicts = live
        .shown
        .changes(&unreported)
        .iter()
        .filter_map(|(_, shown)| Some(shown.as_ref()?.verdict));

    assert!(
        verdicts
            .into_iter()
            .all(|verdict| verdict != Verdict::Unreported.name())
    );
}

/// The recording is changed so that fleet has another unit file.
#[test]
fn a_unit_whose_file_was_replaced_is_outdated() {
    let mut cluster = Cluster::new(GRACE);
    let start = Moment::now();

    for poll in sampled(&polls("kill-machine-and-return"), Duration::ZERO)
        .into_iter()
        .take(6)
    {
        let mut reading = poll.outcome.clone().unwrap();
        if let Reading::UnitFiles { files } = &mut reading {
            let file = files.iter_mut().find(|file| &*file.unit == "web.service").unwrap();
            file.hash = Some("0123456789012345678901234567890123456789".into());
        }
        cluster.apply(reading, start + poll.at, poll.took);
    }

    let unit = cluster
        .view()
        .units
        .iter()
        .find(|unit| &*unit.state.unit == "web.service")
        .unwrap();
    assert_eq!(unit.verdict, Verdict::Outdated);
    assert_eq!(
        unit.reason,
        "The machine runs version a54d853 of its unit file, fleet has 0123456."
    );
}

#[test]
fn without_a_grace_the_listed_rows_are_those_of_fleet() {
    for name in RECORDINGS {
        let start = Moment::now();
        let mut cluster = Cluster::new(Duration::ZERO);
        for poll in sampled(&polls(name), Duration::ZERO) {
            apply(&mut cluster, poll, start);

            let Ok(Reading::Units { states, .. }) = &poll.outcome else {
                continue;
            };
            let listed = cluster
                .view()
                .units
                .iter()
                .filter(|unit| unit.listed)
                .map(|unit| &unit.state);

            // A row that fleetctl before 0.7 prints without a machine has only a name.
            let named = |state: &UnitState| (state.unit.clone(), state.machine.clone());
            let listed: Vec<&UnitState> = listed.collect();
            assert!(
                listed.iter().copied().map(named).eq(states.iter().map(named)),
                "{name} at {:?}",
                poll.at
            );

            for (ours, theirs) in listed
                .into_iter()
                .zip(states)
                .filter(|(_, theirs)| theirs.machine.is_some())
            {
                assert_eq!(ours, theirs, "{name} at {:?}", poll.at);
            }
        }
    }
}
