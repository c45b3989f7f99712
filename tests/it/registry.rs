//! The registries of recorded clusters and their events, as the source `etcd` decodes them, without
//! an etcd.
//!
//! Each incident was recorded in two ways at once: the lists of fleetctl every 0.2 s, and every
//! event of etcd. The origin of the recordings is described in `tests/fixtures/etcd/README.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fleet_monitor::cluster::{
    Cluster, Event, FleetList, Machine, Moment, Reading, RegistrySnapshot, Text, UnitFile,
    UnitState, Verdict,
};
use fleet_monitor::source::etcd::RECHECK_DELAY;
use fleet_monitor::source::etcd::key_tree::KeyTree;
use fleet_monitor::source::etcd::keys::{self, KeyEvent, Node};
use fleet_monitor::source::recording::{RecordedReport, RecordingEntry, RecordingReader};
use fleet_monitor::source::table;
use serde_json::Value;

use crate::live::recording::UnitOnMachine;
use crate::support::changes::apply_changes;

const PREFIX: &str = "/_coreos.com/fleet";
/// The maximal difference of the two clocks of an incident.
const SLACK: Duration = Duration::from_millis(60);
const GRACE: Duration = Duration::from_secs(30);

pub const INCIDENTS: [&str; 9] = [
    "filling-the-cluster.v0.5.0",
    "filling-the-cluster.v0.8.3",
    "filling-the-cluster.v0.9.2",
    "filling-the-cluster.v0.11.8",
    "fleetd-restart",
    "fleetd-restart-of-the-polled-machine",
    "kill-machine-and-return",
    "shutdown-machine-and-return",
    "start-stop-destroy",
];

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A recorded tree, and its index.
pub fn tree(name: &str) -> (Node, u64) {
    let mut recorded: Value = serde_json::from_str(&fixture(&format!("etcd/{name}.json"))).unwrap();
    let index = recorded["index"].as_u64().unwrap_or_default();
    (
        keys::decode_node(recorded["tree"].take().to_string().as_bytes()).unwrap(),
        index,
    )
}

/// The events of an incident, each with its time.
pub fn events(name: &str) -> Vec<(Duration, KeyEvent)> {
    let event = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let t = Duration::from_secs_f64(line["t"].as_f64().unwrap());
        (t, serde_json::from_value(line["event"].take()).unwrap())
    };

    fixture(&format!("etcd/{name}.watch.jsonl"))
        .lines()
        .map(event)
        .collect()
}

fn polls(name: &str) -> Vec<RecordedReport> {
    let mut reader = RecordingReader::default();
    let text = fixture(&format!("timeline/{name}.jsonl"));
    let entries = text.lines().filter_map(|line| reader.read(line).unwrap());
    let polls = entries.filter_map(|entry| match entry {
        RecordingEntry::Poll(poll) => Some(poll),
        RecordingEntry::Begin { .. } => None,
    });
    polls.collect()
}

/// An incident as the source yields it: a reading after each event, each second, and some time
/// after each deletion.
fn readings(name: &str) -> Vec<(Duration, Reading)> {
    let start = Instant::now();
    let mut key_tree = KeyTree::new(PREFIX);
    let (tree, index) = tree(&format!("{name}.start"));
    key_tree.load(tree, index, start);
    let mut readings = vec![(Duration::ZERO, Reading::Registry(key_tree.snapshot(start)))];
    let mut tick = Duration::from_secs(1);
    let mut settle_due = None;

    for (t, event) in events(name) {
        while let due = settle_due.unwrap_or(tick).min(tick)
            && due < t
        {
            readings.push((due, changes(&mut key_tree, start + due)));
            if due == tick {
                tick += Duration::from_secs(1);
            } else {
                settle_due = None;
            }
        }
        key_tree.apply(&event, start + t);
        if key_tree.has_changed() {
            let reading = changes(&mut key_tree, start + t);
            if reading.ends_leases() {
                settle_due = Some(t + RECHECK_DELAY);
            }
            readings.push((t, reading));
        }
    }
    readings
}

fn changes(key_tree: &mut KeyTree, now: Instant) -> Reading {
    let changes = key_tree.changes(now);
    Reading::Changes { index: key_tree.index(), changes }
}

/// The registry after each reading of an incident.
fn snapshots(name: &str) -> Vec<(Duration, RegistrySnapshot)> {
    let mut snapshot = RegistrySnapshot::default();
    let mut snapshots = Vec::new();

    for (t, reading) in readings(name) {
        match reading {
            Reading::Registry(registry) => snapshot = registry,
            Reading::Changes { index, changes } => apply_changes(&mut snapshot, index, &changes),
            other => panic!("{other:?}"),
        }
        snapshots.push((t, snapshot.clone()));
    }
    snapshots
}

#[test]
fn the_rows_are_those_that_fleetctl_lists() {
    let fixture: Value = serde_json::from_str(&fixture("etcd/v1.0.0.tree.json")).unwrap();
    let mut key_tree = KeyTree::new(PREFIX);
    let now = Instant::now();
    let (tree, index) = tree("v1.0.0.tree");
    key_tree.load(tree, index, now);

    let snapshot = key_tree.snapshot(now);
    let list = |name: &str| fixture["lists"][name].as_str().unwrap().as_bytes().to_vec();
    let columns = ["unit", "load", "active", "sub", "machine", "hash"];
    assert_eq!(*snapshot.states, *table::units(&list("list-units"), &columns).unwrap());

    let mut machines = snapshot.machines.to_vec();
    assert!(
        machines
            .iter_mut()
            .all(|machine| machine.version.take().as_deref() == Some("1.0.0"))
    );
    assert_eq!(
        machines,
        table::machines(&list("list-machines"), &["machine", "ip", "metadata"]).unwrap()
    );

    let columns = ["unit", "global", "state", "dstate", "target", "hash", "desc"];
    let mut files = snapshot.files.to_vec();
    // fleetctl does not list requirements.
    for file in &mut files {
        assert!(file.requirements_known);
        file.requirements_known = false;
        file.requirements.clear();
    }
    assert_eq!(files, table::unit_files(&list("list-unit-files"), &columns).unwrap());

    let global = snapshot
        .files
        .iter()
        .find(|file| &*file.unit == "global-west.service")
        .unwrap();
    assert_eq!(
        global.requirements,
        [r#"MachineMetadata="region=us-west" "region=us-east""#.into()]
    );
    assert_eq!(snapshot.leader.as_deref(), Some("3f1a8c5e9b2d4f60a7c1d2e3b4f50617"));
    assert_eq!(snapshot.overdue, []);
}

/// Whether a state is equal to what fleetctl listed. Not every fleetctl was asked for the columns
/// `load` and `hash`.
fn is_as_listed(ours: &UnitState, listed: &UnitState) -> bool {
    let row = |it: &UnitState| {
        (
            it.unit.clone(),
            it.machine.clone(),
            it.ip.clone(),
            it.active.clone(),
            it.sub.clone(),
        )
    };
    let is_equal = |ours: &Option<Text>, listed: &Option<Text>| listed.is_none() || ours == listed;

    row(ours) == row(listed)
        && is_equal(&ours.load, &listed.load)
        && is_equal(&ours.hash, &listed.hash)
}

fn is_file_as_listed(ours: &UnitFile, listed: &UnitFile) -> bool {
    let row = |it: &UnitFile| (it.unit.clone(), it.desired.clone(), it.target.clone());
    row(ours) == row(listed) && (listed.hash.is_none() || ours.hash == listed.hash)
}

fn all_equal<T>(ours: &[T], listed: &[&T], is_same: fn(&T, &T) -> bool) -> bool {
    ours.len() == listed.len()
        && ours.iter().zip(listed).all(|(ours, listed)| is_same(ours, listed))
}

/// Whether a registry is equal to a list that fleetctl printed.
fn is_equal_to_list(snapshot: &RegistrySnapshot, list: &Reading) -> bool {
    match list {
        Reading::Units { states, .. } => {
            // Before 0.7 fleetctl lists also units that no machine reports.
            let listed: Vec<_> = states.iter().filter(|state| state.machine.is_some()).collect();
            all_equal(&snapshot.states, &listed, is_as_listed)
        }
        Reading::Machines { machines } => {
            let is_same = |ours: &Machine, listed: &Machine| {
                (&ours.id, &ours.ip, &ours.metadata) == (&listed.id, &listed.ip, &listed.metadata)
            };
            all_equal(&snapshot.machines, &machines.iter().collect::<Vec<_>>(), is_same)
        }
        Reading::UnitFiles { files } => {
            all_equal(&snapshot.files, &files.iter().collect::<Vec<_>>(), is_file_as_listed)
        }
        Reading::Registry(_) | Reading::Changes { .. } => unreachable!("they were polled"),
    }
}

/// Whether the registry was equal to the list at some moment of the poll.
fn is_equal_during(
    poll: &RecordedReport,
    list: &Reading,
    snapshots: &[(Duration, RegistrySnapshot)],
) -> bool {
    let from = poll.at.saturating_sub(poll.took + SLACK);
    let to = poll.at + SLACK;
    let first = snapshots.iter().rposition(|(t, _)| *t <= from).unwrap_or(0);

    snapshots[first..]
        .iter()
        .take_while(|(t, _)| *t <= to)
        .any(|(_, snapshot)| is_equal_to_list(snapshot, list))
}

#[test]
fn the_rows_after_each_event_are_those_that_fleetctl_listed_then() {
    for name in INCIDENTS {
        let snapshots = snapshots(name);
        let (end, _) = snapshots.last().unwrap();
        let mut compared = 0;

        for poll in polls(name).iter().filter(|poll| poll.at < *end) {
            // The fleetd was being restarted.
            let Ok(list) = &poll.outcome else { continue };
            // Recordings of an old fleetctl do not contain its unit files (see the README there).
            let is_old = name.starts_with("filling-the-cluster.v0.");
            if is_old && poll.lists == [FleetList::UnitFiles] {
                continue;
            }

            assert!(
                is_equal_during(poll, list, &snapshots),
                "{name} at {:?}: the registry was never equal to this list: {list:#?}",
                poll.at
            );
            compared += 1;
        }
        println!("{name}: {compared} lists are the same");
        assert!(compared > 150, "{name}");
    }
}

/// What a monitor shows of an incident.
struct RegistryReplay {
    events: Vec<(Duration, Event)>,
    /// For each unit on a machine, its verdicts, each with its beginning.
    verdicts: BTreeMap<UnitOnMachine, Vec<(Duration, Verdict)>>,
    /// When a machine was first shown as silent.
    silent: Option<Duration>,
}

fn replay(name: &str, snapshots: &[(Duration, RegistrySnapshot)]) -> RegistryReplay {
    let start = Moment::now();
    let mut cluster = Cluster::new(GRACE);
    let mut replay = RegistryReplay { events: Vec::new(), verdicts: BTreeMap::new(), silent: None };

    for ((t, snapshot), (_, reading)) in snapshots.iter().zip(readings(name)) {
        let transitions = cluster.apply(reading, start + *t, Duration::ZERO);
        replay
            .events
            .extend(transitions.iter().map(|it| (*t, it.event.clone())));
        let view = cluster.view();
        for unit in &view.units {
            let Some(machine) = unit.state.machine.clone() else {
                continue;
            };
            let verdicts = replay.verdicts.entry((unit.state.unit.clone(), machine)).or_default();
            if verdicts.last().is_none_or(|last| last.1 != unit.verdict) {
                verdicts.push((*t, unit.verdict));
            }
        }
        for state in snapshot.states.iter() {
            let shown = view
                .units
                .iter()
                .find(|it| (&it.state.unit, &it.state.machine) == (&state.unit, &state.machine));
            let row = |it: &UnitState| (it.load.clone(), it.active.clone(), it.sub.clone());
            assert_eq!(
                shown.map(|it| row(&it.state)),
                Some(row(state)),
                "{name} at {t:?}: shown at once"
            );
        }
        if view.machines.iter().any(|member| member.silent_since.is_some()) {
            replay.silent.get_or_insert(*t);
        }
    }
    replay
}

impl RegistryReplay {
    fn times(&self, kind: &str) -> Vec<f64> {
        let of_kind = self.events.iter().filter(|(_, event)| event.name() == kind);
        of_kind
            .map(|(t, _)| (t.as_secs_f64() * 100.0).round() / 100.0)
            .collect()
    }

    fn count(&self, kind: &str) -> usize {
        self.times(kind).len()
    }
}

/// Whether a row could really be gone at some time between two moments: fleet did not want the unit
/// there, or the machine was away for longer than a restart takes.
fn truly_gone(
    snapshots: &[(Duration, RegistrySnapshot)],
    (unit, machine): &UnitOnMachine,
    from: Duration,
    to: Duration,
) -> bool {
    let mut away_since = None;

    let between = snapshots.iter().filter(|(t, _)| (from..=to).contains(t));
    between.into_iter().any(|(t, snapshot)| {
        let wanted = snapshot.files.iter().any(|file| {
            let here = file.global || file.target.as_ref() == Some(machine);
            file.unit == *unit && file.desired.as_deref() != Some("inactive") && here
        });
        if snapshot.machines.iter().any(|it| it.id == *machine) {
            away_since = None;
        } else {
            away_since.get_or_insert(*t);
        }

        !wanted || away_since.is_some_and(|since| *t - since > Duration::from_secs(3))
    })
}

#[test]
fn no_row_that_was_there_is_ever_reported_gone() {
    for name in INCIDENTS {
        let snapshots = snapshots(name);
        let mut gone = BTreeMap::new();
        for (t, event) in replay(name, &snapshots).events {
            let Some(place) = event.place() else { continue };
            let Some(machine) = place.machine.clone() else {
                continue;
            };
            let key = (place.unit.clone(), machine);

            match event {
                Event::Gone { .. } => _ = gone.insert(key, t),
                Event::Appeared { .. } => {
                    if let Some(from) = gone.remove(&key) {
                        assert!(
                            truly_gone(&snapshots, &key, from, t),
                            "{name}: {key:?} was gone from {from:?} to {t:?}"
                        );
                    }
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_fleetd_that_restarts_is_no_event() {
    let snapshots = snapshots("fleetd-restart");
    let replay = replay("fleetd-restart", &snapshots);
    // Its states are deleted at 9.1 s, its key for 0.1 s; its states are set again at 10.2 s, and
    // those of global units on other machines as late as 27.7 s. The only event before that is the
    // one of flap.service, which is in a crash loop all the time.
    assert_eq!(replay.times("crash_loop"), [12.0]);

    let first = replay
        .events
        .iter()
        .find(|(_, event)| event.name() != "crash_loop")
        .unwrap();
    assert!(
        first.0 > Duration::from_secs(40),
        "an event before anything had happened: {first:?}"
    );
    // At 29 s it is killed. Its states expire at 40.4 s, and so it is silent 3 s later; its key
    // expires at 54.4 s, and it joins at 64.3 s.
    assert_eq!(replay.times("machine_silent"), [44.0]);
    assert_eq!(replay.silent, Some(Duration::from_secs(44)));
    assert_eq!(replay.times("machine_lost"), [54.36]);
    assert_eq!(replay.times("machine_joined"), [64.31]);
    assert_eq!(
        replay.count("stale"),
        0,
        "the event of the machine replaces those of its nine units"
    );

    // fleet moves its units when the machine has left, and seven start elsewhere.
    let gone = replay.times("gone");
    assert_eq!(gone.len(), 7);
    assert!(gone.iter().all(|t| (55.6..55.7).contains(t)), "{gone:?}");
    for unit in ["pinned.service", "node-agent.service"] {
        let verdicts = &replay.verdicts[&(unit.into(), "d2e8f4a10b6c4973b5d7e9f1a3c5b7d9".into())];
        assert_eq!(
            verdicts.last(),
            Some(&(Duration::from_millis(54_361), Verdict::MachineLost)),
            "{unit} is nowhere else"
        );
    }
}

#[test]
fn a_machine_without_power_is_silent_before_it_is_lost() {
    let snapshots = snapshots("kill-machine-and-return");
    let replay = replay("kill-machine-and-return", &snapshots);
    assert_eq!(replay.times("machine_silent"), [17.0]);
    assert_eq!(replay.times("machine_lost"), [21.3]);
    assert_eq!(replay.times("machine_joined"), [59.08]);
    assert_eq!(replay.times("machine_heard"), [0.0; 0]);

    let verdicts =
        &replay.verdicts[&("hello@2.service".into(), "7b05e6c4a9f84d21932c1e0f8d7a6b54".into())];
    assert_eq!(
        verdicts.iter().map(|it| it.1).collect::<Vec<_>>(),
        [Verdict::Ok, Verdict::MachineLost]
    );
    // fleet moves what was on it at once; the old states expire at 27.3 s.
    assert_eq!(replay.count("gone"), 6);
    assert!(replay.times("gone").iter().all(|t| *t == 27.3));

    // The global one is nowhere else, and is reported again when the machine is back.
    let verdicts =
        &replay.verdicts[&("node-agent.service".into(), "7b05e6c4a9f84d21932c1e0f8d7a6b54".into())];
    assert_eq!(
        verdicts.iter().map(|it| it.1).collect::<Vec<_>>(),
        [Verdict::Ok, Verdict::MachineLost, Verdict::Ok]
    );
    assert_eq!((replay.count("stale"), replay.count("source_suspect")), (0, 0));
}

#[test]
fn a_state_that_is_overdue_is_stale_before_it_expires() {
    let snapshots = snapshots("fleetd-restart");
    let verdicts = &replay("fleetd-restart", &snapshots).verdicts;
    let verdicts = &verdicts[&("pinned.service".into(), "d2e8f4a10b6c4973b5d7e9f1a3c5b7d9".into())];
    // Renewed last at 10.2 s, overdue from 37.2 s on, expired at 40.4 s.
    assert_eq!(verdicts[3], (Duration::from_secs(38), Verdict::Stale));
}

#[test]
fn a_deleted_state_is_gone_if_it_is_not_set_again_at_once() {
    let destroyed = replay("start-stop-destroy", &snapshots("start-stop-destroy"));
    // Unloaded at 29.1 s, destroyed at 50.2 s. Its machine deletes the state at 30.96 s and at
    // 55.96 s, which counts half a second later.
    assert_eq!(destroyed.times("gone"), [31.56, 56.56]);

    let ghost = destroyed
        .verdicts
        .values()
        .flatten()
        .filter(|(_, verdict)| *verdict == Verdict::Ghost);
    assert_eq!(ghost.map(|(t, _)| t.as_secs()).collect::<Vec<_>>(), [29, 50]);

    // Shut down at 2 s: its states are deleted, then fleet moves its units.
    let name = "shutdown-machine-and-return";
    let shut_down = replay(name, &snapshots(name));
    assert!(shut_down.times("gone")[..8].iter().all(|t| (3.45..3.5).contains(t)));
    assert_eq!((shut_down.count("stale"), shut_down.count("source_suspect")), (0, 0));
}

#[test]
fn the_leader_and_the_versions_of_fleet_are_known() {
    for (name, version) in
        [("filling-the-cluster.v0.5.0", "0.5.0"), ("kill-machine-and-return", "1.0.0")]
    {
        let snapshots = snapshots(name);
        let (_, last) = snapshots.last().unwrap();
        assert!(
            last.machines
                .iter()
                .all(|machine| machine.version.as_deref() == Some(version)),
            "{name}"
        );
        // Before 0.7 no engine leads.
        assert_eq!(last.leader.is_some(), version != "0.5.0", "{name}");
    }
}
