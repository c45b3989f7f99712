//! The recorded timelines of real clusters, replayed: no row that was there all the time is ever
//! reported gone.
//!
//! Each recording was made with a poll every 0.2 s. Here it is read as the agent reads a cluster,
//! every 2 s (units) and every 10 s (machines and unit files, and at once when a row has appeared
//! or vanished), beginning at each of ten different moments. Where they come from:
//! `tests/fixtures/timeline/README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use fleet_monitor::cluster::{
    Cluster, Event, FleetList, MachineId, Moment, Reading, Transition, UnitName, UnitState, Verdict,
};
use fleet_monitor::source::recording::{RecordedPoll, RecordingEntry, RecordingReader};

use crate::live::recording;

type Key = (UnitName, MachineId);

const GRACE: Duration = Duration::from_secs(30);

const RECORDINGS: [&str; 13] = [
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

pub fn polls(name: &str) -> Vec<RecordedPoll> {
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

/// The rows of a good reading of the units.
fn rows(poll: &RecordedPoll) -> Option<BTreeSet<Key>> {
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

/// The polls that an agent which starts at `offset` would have made.
pub fn sampled(polls: &[RecordedPoll], offset: Duration) -> Vec<&RecordedPoll> {
    let mut due = [offset; 3];
    let mut last = None;
    let mut taken = Vec::new();
    for poll in polls {
        if poll.at < due[poll.lists[0] as usize] {
            continue;
        }
        due[poll.lists[0] as usize] =
            poll.at + Duration::from_secs(if poll.lists[0] == FleetList::Units { 2 } else { 10 });
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

/// Whether a row that was gone between two moments was so in truth: fleet did not want the unit, or
/// did not have the machine.
fn truly_gone(polls: &[RecordedPoll], (unit, machine): &Key, from: Duration, to: Duration) -> bool {
    polls
        .iter()
        .filter(|poll| poll.at >= from && poll.at <= to)
        .any(|poll| match &poll.outcome {
            Ok(Reading::Machines { machines }) => machines.iter().all(|there| there.id != *machine),
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

/// How often a row was taken for gone although it was not.
#[derive(Debug, Default)]
struct Disappearances {
    left: BTreeMap<Key, Duration>,
    wrong: usize,
}

impl Disappearances {
    fn leaves(&mut self, key: Key, at: Duration) {
        self.left.insert(key, at);
    }

    fn returns(&mut self, key: &Key, at: Duration, polls: &[RecordedPoll]) {
        if let Some(from) = self.left.remove(key) {
            self.wrong += usize::from(!truly_gone(polls, key, from, at));
        }
    }
}

fn feed(
    cluster: &mut Cluster,
    poll: &RecordedPoll,
    start: Moment,
) -> Vec<std::sync::Arc<Transition>> {
    match &poll.outcome {
        Ok(reading) => cluster.read(reading.clone(), start + poll.at, poll.took),
        Err(error) => cluster.fail(poll.lists, error, start + poll.at),
    }
}

fn key(event: &Event) -> Option<Key> {
    let place = event.place()?;
    Some((place.unit.clone(), place.machine.clone()?))
}

#[test]
fn no_row_that_was_there_is_ever_reported_gone() {
    let mut total = (0, 0);
    for name in RECORDINGS {
        let polls = polls(name);
        let (mut raw, mut ours) = (0, 0);
        for offset in (0..10).map(|step| Duration::from_millis(step * 200)) {
            let (start, mut cluster) = (Moment::now(), Cluster::new(GRACE));
            let (mut seen, mut in_lists, mut in_events) =
                (BTreeSet::new(), Disappearances::default(), Disappearances::default());
            for poll in sampled(&polls, offset) {
                if let Some(rows) = rows(poll) {
                    rows.difference(&seen)
                        .for_each(|key| in_lists.returns(key, poll.at, &polls));
                    seen.difference(&rows)
                        .for_each(|key| in_lists.leaves(key.clone(), poll.at));
                    seen = rows;
                }
                for transition in feed(&mut cluster, poll, start) {
                    match (&transition.event, key(&transition.event)) {
                        (Event::Gone { .. }, Some(key)) => in_events.leaves(key, poll.at),
                        (Event::Appeared { .. }, Some(key)) => {
                            in_events.returns(&key, poll.at, &polls);
                        }
                        _ => {}
                    }
                }
            }
            raw += in_lists.wrong;
            ours += in_events.wrong;
        }
        println!("{name:40} false disappearances: {raw:4} in fleet's lists, {ours} in ours");
        total = (total.0 + raw, total.1 + ours);
    }
    println!(
        "{:40} false disappearances: {:4} in fleet's lists, {} in ours",
        "all", total.0, total.1
    );
    assert_eq!(total.1, 0, "a row that was there was reported gone");
    assert!(
        total.0 > 100,
        "the recordings are not what they were: fleet's lists have only {} in them",
        total.0
    );
}

/// What an agent that starts at 0.6 s sees, with its time.
struct Watched {
    events: Vec<(f64, Event)>,
    /// For each verdict, the units that ever had it, and when first.
    verdicts: BTreeMap<Verdict, BTreeMap<String, f64>>,
    /// The fewest rows that were ever listed after the first reading.
    fewest: usize,
}

fn watch(name: &str, grace: Duration) -> Watched {
    let polls = polls(name);
    let (start, mut cluster) = (Moment::now(), Cluster::new(grace));
    let mut watched = Watched {
        events: vec![],
        verdicts: BTreeMap::new(),
        fewest: usize::MAX,
    };
    for poll in sampled(&polls, Duration::from_millis(600)) {
        let at = poll.at.as_secs_f64();
        watched.events.extend(
            feed(&mut cluster, poll, start)
                .into_iter()
                .map(|it| (at, it.event.clone())),
        );
        for unit in &cluster.view().units {
            let units = watched.verdicts.entry(unit.verdict).or_default();
            units.entry(unit.state.unit.to_string()).or_insert(at);
        }
        if cluster.health().topic(FleetList::Units).read.is_some() {
            watched.fewest = watched
                .fewest
                .min(cluster.view().units.iter().filter(|unit| unit.listed).count());
        }
    }
    watched
}

impl Watched {
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
    let watched = watch("kill-machine-and-return", GRACE);
    let lost = watched.verdicts[&Verdict::MachineLost]["hello@2.service"];
    // fleet lists the rows without an address from 21.4 s on, and drops them at 27.5 s.
    assert!((21.4..24.0).contains(&lost), "machine lost at {lost}");
    let arrived = watched.first("appeared", "hello@2.service", "172.17.8.101").unwrap();
    let gone = watched.first("gone", "hello@2.service", "172.17.8.104").unwrap();
    assert!(lost < arrived && arrived < gone && gone < 30.0, "{lost}, {arrived}, {gone}");
    assert_eq!(watched.count("machine_lost"), 1);
    assert_eq!(watched.count("machine_joined"), 1);
    let appearances = watched.events.iter().filter(|event| {
        event.1.name() == "appeared"
            && event.1.place().is_some_and(|place| &*place.unit == "hello@2.service")
    });
    assert_eq!(appearances.count(), 1, "a unit that is moved appears once");
}

#[test]
fn a_destroyed_unit_is_a_ghost_until_its_row_goes_and_gone_with_that() {
    // Destroyed at 50.2 s; its row stays active/running for 5 to 6 s.
    let watched = watch("start-stop-destroy", GRACE);
    let ghost = watched.verdicts[&Verdict::Ghost].get("tl.service").copied().unwrap();
    let gone: Vec<f64> = watched
        .events
        .iter()
        .filter(|event| event.1.name() == "gone")
        .map(|event| event.0)
        .collect();
    assert!(ghost > 28.9, "a ghost before it was unloaded: {ghost}");
    assert!(gone.last().is_some_and(|gone| (55.0..59.0).contains(gone)), "{gone:?}");
    assert_eq!(watched.count("stale"), 0, "{:?}", watched.events);
}

#[test]
fn a_restart_or_an_outage_never_empties_the_view() {
    for name in [
        "fleetd-restart",
        "fleetd-restart-of-the-polled-machine",
        "etcd-down-10s",
        "etcd-down-70s",
    ] {
        let watched = watch(name, GRACE);
        assert!(watched.fewest >= 28, "{name}: {}", watched.fewest);
    }
    let watched = watch("etcd-down-70s", GRACE);
    assert_eq!(watched.count("source_down"), 1);
    assert_eq!(watched.count("source_back"), 1);
    assert_eq!(watched.count("source_suspect"), 1, "one entry tells that all rows are missing");
}

/// But `outdated`, of which the next test makes one, and `unreported`: in no recorded cluster does
/// a machine that speaks lack a unit for long.
#[test]
fn every_verdict_has_a_recorded_case() {
    let kill = watch("kill-machine-and-return", GRACE);
    assert!(kill.has(Verdict::Ok, "web.service"));
    assert!(kill.has(Verdict::Failed, "crash.service"), "failed/failed");
    assert!(kill.has(Verdict::Failed, "badsetting.service"), "bad-setting");
    assert!(kill.has(Verdict::MachineLost, "node-agent.service"));
    assert!(
        kill.has(Verdict::Unscheduled, "nowhere.service"),
        "no machine meets its requirements"
    );
    assert!(watch("shutdown-machine-and-return", GRACE).has(Verdict::Stale, "global-west.service"));
    assert!(watch("start-stop-destroy", GRACE).has(Verdict::Ghost, "tl.service"));
    assert!(kill.has(Verdict::CrashLoop, "flap.service"));
}

/// Its machine is in the cluster at 95 s, after an outage of etcd, and reports it at 124 s.
#[test]
fn a_machine_that_takes_long_to_its_first_report_is_waited_for() {
    let live = recording::watch(&recording::polls("etcd.jsonl.gz"), Duration::from_secs(13));
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

/// Here, fleet has got another file for one of a recorded cluster.
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
        cluster.read(reading, start + poll.at, poll.took);
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
fn without_grace_the_rows_of_fleet_are_passed_through() {
    for name in RECORDINGS {
        let (start, mut cluster) = (Moment::now(), Cluster::new(Duration::ZERO));
        for poll in sampled(&polls(name), Duration::ZERO) {
            feed(&mut cluster, poll, start);
            let Ok(Reading::Units { states, .. }) = &poll.outcome else {
                continue;
            };
            let listed = cluster
                .view()
                .units
                .iter()
                .filter(|unit| unit.listed)
                .map(|unit| &unit.state);
            // A row that fleetctl before 0.7 prints without a machine has nothing but its name.
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
