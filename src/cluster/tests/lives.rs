//! Compares the two state diagrams of `docs/development.md` with the code and with recorded
//! clusters: both make exactly the transitions of the diagrams.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;

use super::GRACE;
use crate::cluster::desired::{DesiredPlacement, NotWanted};
use crate::cluster::machine_life::{self, MachineEvidence, MachinePresence, MachineStanding};
use crate::cluster::report::{Absence, ReportStatus};
use crate::cluster::source_trust::SourceStanding;
use crate::cluster::unit_life::{self, UnitEvidence, UnitPresence};
use crate::cluster::{Cluster, FleetList, Moment, Reading, Retention};
use crate::source::etcd::key_tree::KeyTree;
use crate::source::etcd::keys::{self, KeyEvent};
use crate::source::recording::{RecordedReport, RecordingEntry, RecordingReader};

/// A transition from one state to another, by their names.
type StateChange = (String, String);

/// The state before the first one, and after the last one if that is not a state of its own.
const NO_STATE: &str = "[*]";

/// The transitions of rows that are made without a step: rows are added, and expected ones are
/// replaced or removed.
const UNIT_CHANGES_WITHOUT_STEP: [(&str, &str); 4] = [
    (NO_STATE, "Expected"),
    (NO_STATE, "Reported"),
    ("Expected", "Reported"),
    ("Expected", NO_STATE),
];

/// The same for machines.
const MACHINE_CHANGES_WITHOUT_STEP: [(&str, &str); 2] = [(NO_STATE, "Present"), ("Lost", NO_STATE)];

/// All transitions of rows and of machines.
#[derive(Debug, Default, PartialEq, Eq)]
struct StateChanges {
    units: BTreeSet<StateChange>,
    machines: BTreeSet<StateChange>,
}

fn push(transitions: &mut BTreeSet<StateChange>, from: &str, to: &str) {
    if from != to {
        transitions.insert((from.to_owned(), to.to_owned()));
    }
}

/// The name of a row's state. A row without presence is only expected.
fn unit_state(presence: Option<UnitPresence>) -> &'static str {
    let Some(presence) = presence else {
        return "Expected";
    };

    match presence {
        UnitPresence::Reported => "Reported",
        UnitPresence::Overdue => "Overdue",
        UnitPresence::Absent => "Absent",
        UnitPresence::Stale => "Stale",
        UnitPresence::Lost => "Lost",
        UnitPresence::Gone(_) => "Gone",
    }
}

fn machine_state(presence: MachinePresence) -> &'static str {
    match presence {
        MachinePresence::Present => "Present",
        MachinePresence::Silent { .. } => "Silent",
        MachinePresence::Missing { .. } => "Missing",
        MachinePresence::Lost { .. } => "Lost",
        MachinePresence::Returned => "Returned",
    }
}

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder)
}

/// The content of a recording, which is decompressed if its name ends in `.gz`.
fn read_text(path: &Path) -> String {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();

    if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        file.read_to_string(&mut text).unwrap();
    }
    text
}

/// All polls of a file; empty if it is no recording.
fn polls(path: &Path) -> Vec<RecordedReport> {
    let mut reader = RecordingReader::default();
    let entries: Vec<RecordingEntry> = read_text(path)
        .lines()
        .filter_map(|line| reader.read(line).ok().flatten())
        .collect();

    let polls = entries.into_iter().filter_map(|entry| match entry {
        RecordingEntry::Poll(poll) => Some(poll),
        RecordingEntry::Begin { .. } => None,
    });
    polls.collect()
}

/// An incident as the source `etcd` yields it: a reading after each event, and each second.
fn polls_of_watch(name: &str) -> Vec<RecordedReport> {
    let start = Instant::now();
    let mut tree = KeyTree::new("/_coreos.com/fleet");
    let recorded: serde_json::Value =
        serde_json::from_str(&read_text(&fixtures("etcd").join(format!("{name}.start.json"))))
            .unwrap();
    let index = recorded["index"].as_u64().unwrap_or_default();
    tree.load(
        keys::decode_node(recorded["tree"].to_string().as_bytes()).unwrap(),
        index,
        start,
    );

    let poll = |at: Duration, reading| RecordedReport {
        at,
        time: None,
        took: Duration::ZERO,
        lists: &FleetList::ALL,
        schedule: None,
        outcome: Ok(reading),
    };
    let changes =
        |tree: &mut KeyTree, at| Reading::Changes { index: 0, changes: tree.changes(start + at) };
    let mut polls = vec![poll(Duration::ZERO, Reading::Registry(tree.snapshot(start)))];
    let mut tick = Duration::from_secs(1);
    for line in read_text(&fixtures("etcd").join(format!("{name}.watch.jsonl"))).lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let at = Duration::from_secs_f64(line["t"].as_f64().unwrap());
        let event: KeyEvent = serde_json::from_value(line["event"].clone()).unwrap();

        while tick < at {
            polls.push(poll(tick, changes(&mut tree, tick)));
            tick += Duration::from_secs(1);
        }
        tree.apply(&event, start + at);
        if tree.has_changed() {
            polls.push(poll(at, changes(&mut tree, at)));
        }
    }
    polls
}

/// Records the transitions that one reading made. `begins` is the first state of a new row or
/// machine, `ends` the last state of a removed one.
fn record<K: Ord>(
    transitions: &mut BTreeSet<StateChange>,
    before: &BTreeMap<K, &'static str>,
    after: &BTreeMap<K, &'static str>,
    begins: impl Fn(&str) -> &'static str,
    ends: impl Fn(&str) -> &'static str,
) {
    for (key, to) in after {
        let from = before.get(key).copied().unwrap_or_else(|| {
            push(transitions, NO_STATE, begins(to));
            begins(to)
        });
        push(transitions, from, to);
    }

    for (_, from) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
        push(transitions, from, ends(from));
    }
}

/// Replays all polls from `start` on to a cluster, and records the transitions.
fn replay(
    polls: &[RecordedReport],
    retention: impl Into<Retention>,
    start: Duration,
    transitions: &mut StateChanges,
) {
    let zero = Moment::now();
    let mut cluster = Cluster::new(retention);
    let mut units = BTreeMap::new();
    let mut machines = BTreeMap::new();

    for poll in polls.iter().filter(|poll| poll.at >= start) {
        match &poll.outcome {
            Ok(reading) => cluster.apply(reading.clone(), zero + poll.at, poll.took),
            Err(error) => cluster.record_failure(poll.lists, error, zero + poll.at),
        };

        let presences = cluster.knowledge.rows().presences().into_iter();
        let after = presences.map(|(key, presence)| (key, unit_state(presence))).collect();
        let begins = |state: &str| if state == "Expected" { "Expected" } else { "Reported" };
        let ends = |state: &str| if state == "Expected" { NO_STATE } else { "Gone" };
        record(&mut transitions.units, &units, &after, begins, ends);
        units = after;

        let presences = cluster.knowledge.machines().presences().into_iter();
        let after = presences
            .map(|(id, presence)| (id, machine_state(presence)))
            .collect();
        record(&mut transitions.machines, &machines, &after, |_| "Present", |_| NO_STATE);
        machines = after;
    }
}

/// The transitions in recorded clusters, by monitors that start at different moments.
fn recorded() -> StateChanges {
    let mut transitions = StateChanges::default();

    for folder in ["timeline", "live"] {
        for entry in fs::read_dir(fixtures(folder)).unwrap() {
            let polls = polls(&entry.unwrap().path());
            // A recording of changes can only be replayed from its beginning.
            let has_changes = polls
                .iter()
                .any(|poll| matches!(poll.outcome, Ok(Reading::Changes { .. })));
            let starts: &[u64] = if has_changes { &[0] } else { &[0, 13, 20, 60, 95, 300] };
            for start in starts {
                replay(&polls, GRACE, Duration::from_secs(*start), &mut transitions);
            }
        }
    }
    for name in [
        "fleetd-restart",
        "kill-machine-and-return",
        "shutdown-machine-and-return",
        "start-stop-destroy",
    ] {
        // The keep time is longer than any recording, so one monitor has a shorter one.
        let short = Retention { grace: GRACE, lost: GRACE };
        for retention in [GRACE.into(), short] {
            replay(&polls_of_watch(name), retention, Duration::ZERO, &mut transitions);
        }
    }
    transitions
}

/// All combinations of two lists.
fn each<A: Copy, B: Copy>(one: &[A], other: &[B]) -> Vec<(A, B)> {
    one.iter().flat_map(|a| other.iter().map(|b| (*a, *b))).collect()
}

const BOTH: [bool; 2] = [false, true];
const ABSENCES: [Absence; 3] = [Absence::Unlisted, Absence::Deleted, Absence::Expired];

/// The times for which a row or a machine has been in its state.
const AGES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(30),
    Duration::from_secs(2 * 3600),
];

/// The transitions that the step of a row makes, with all combinations of evidence.
fn unit_steps() -> BTreeSet<StateChange> {
    let mut transitions = BTreeSet::new();
    let since = Moment::now();
    let presences = [
        UnitPresence::Reported,
        UnitPresence::Overdue,
        UnitPresence::Absent,
        UnitPresence::Stale,
        UnitPresence::Lost,
    ];

    for (presence, (evidence, age)) in each(&presences, &each(&unit_evidence(since), &AGES)) {
        let evidence = UnitEvidence {
            was_lost: evidence.was_lost || presence == UnitPresence::Lost,
            ..evidence
        };
        for grace in [GRACE, Duration::ZERO] {
            let step = unit_life::step(presence, &evidence, Retention::from(grace), since + age);
            push(&mut transitions, unit_state(Some(presence)), unit_state(Some(step.presence)));
        }
    }
    transitions
}

/// All combinations of evidence about a row.
fn unit_evidence(since: Moment) -> Vec<UnitEvidence> {
    let absent = |(absence, confirmed)| ReportStatus::Absent { since, absence, confirmed };
    let mut reports = vec![ReportStatus::Current, ReportStatus::Overdue { since }];
    reports.extend(each(&ABSENCES, &BOTH).into_iter().map(absent));

    let placements = [
        DesiredPlacement::Here { global: false },
        DesiredPlacement::Here { global: true },
        DesiredPlacement::Elsewhere,
        DesiredPlacement::Unassigned,
        DesiredPlacement::NotWanted(NotWanted::NoFile),
        DesiredPlacement::Unknown,
    ];
    let machines = [
        MachineStanding::Reporting { since: since.before(GRACE) },
        MachineStanding::Reporting { since },
        MachineStanding::NotReporting { since },
        MachineStanding::Lost { since },
    ];
    let sources = [
        SourceStanding::Trusted { since },
        SourceStanding::Recovering,
        SourceStanding::Suspect,
        SourceStanding::Failing,
    ];

    let standings = each(&machines, &sources);
    let flags = each(&BOTH, &each(&BOTH, &BOTH));
    each(&each(&reports, &placements), &each(&standings, &flags))
        .into_iter()
        .map(|((report, desired), ((machine, source), flags))| {
            let (is_elsewhere, (desired_is_newer, was_lost)) = flags;
            UnitEvidence {
                report,
                desired,
                desired_is_newer,
                is_elsewhere,
                machine,
                source,
                was_lost,
                came_back: None,
            }
        })
        .collect()
}

/// The transitions that the step of a machine makes, with all combinations of evidence.
fn machine_steps() -> BTreeSet<StateChange> {
    let mut transitions = BTreeSet::new();
    let since = Moment::now();
    let presences = [
        MachinePresence::Present,
        MachinePresence::Silent { since },
        MachinePresence::Missing { since },
        MachinePresence::Lost { since },
        MachinePresence::Returned,
    ];
    let mut reports = vec![ReportStatus::Current, ReportStatus::Overdue { since }];
    reports.extend(ABSENCES.map(|absence| ReportStatus::Absent {
        since,
        absence,
        confirmed: false,
    }));
    let rows = [(0, None), (1, None), (1, Some(since)), (2, None), (2, Some(since))];

    for ((presence, report), ((rows, mute_since), age)) in
        each(&each(&presences, &reports), &each(&rows, &AGES))
    {
        for (source_has_recovered, (suspect, has_company)) in each(&BOTH, &each(&BOTH, &BOTH)) {
            let evidence = MachineEvidence {
                report,
                rows,
                mute_since,
                source_has_recovered,
                suspect,
                has_company,
            };
            let (after, _) = machine_life::step(presence, &evidence, since + age);
            push(&mut transitions, machine_state(presence), machine_state(after));
        }
    }
    transitions
}

/// The transitions that the code makes.
fn made_by_code() -> StateChanges {
    let mut transitions = StateChanges { units: unit_steps(), machines: machine_steps() };

    for (from, to) in UNIT_CHANGES_WITHOUT_STEP {
        push(&mut transitions.units, from, to);
    }
    for (from, to) in MACHINE_CHANGES_WITHOUT_STEP {
        push(&mut transitions.machines, from, to);
    }
    transitions
}

/// The transitions of the diagram under a heading of `docs/development.md`.
fn diagram(heading: &str) -> BTreeSet<StateChange> {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/development.md"))
            .unwrap();
    let (_, section) = page
        .split_once(heading)
        .unwrap_or_else(|| panic!("there is no {heading:?}"));
    let (_, diagram) = section
        .split_once("```mermaid\nstateDiagram-v2\n")
        .expect("a diagram");
    let (diagram, _) = diagram.split_once("```").expect("the end of the diagram");

    let transition = |line: &str| {
        let (states, _) = line
            .split_once(": ")
            .unwrap_or_else(|| panic!("{line:?} does not say why"));
        let (from, to) = states
            .split_once(" --> ")
            .unwrap_or_else(|| panic!("{line:?} is no transition"));
        (from.trim().to_owned(), to.trim().to_owned())
    };
    let lines: Vec<&str> = diagram.lines().collect();
    let transitions: BTreeSet<StateChange> = lines.iter().copied().map(transition).collect();
    assert_eq!(transitions.len(), lines.len(), "under {heading:?} a transition is there twice");
    transitions
}

fn drawn() -> StateChanges {
    StateChanges {
        units: diagram("\n### The life of a row\n"),
        machines: diagram("\n### The life of a machine\n"),
    }
}

/// The transitions that only one of two contains, one a line.
fn differences(drawn: &StateChanges, others: &StateChanges) -> String {
    let only = |what: &str, one: &BTreeSet<StateChange>, other: &BTreeSet<StateChange>| -> String {
        let line = |(from, to): &StateChange| format!("{what}: {from} --> {to}\n");
        one.difference(other).map(line).collect()
    };
    only("a row, only drawn", &drawn.units, &others.units)
        + &only("a row, not drawn", &others.units, &drawn.units)
        + &only("a machine, only drawn", &drawn.machines, &others.machines)
        + &only("a machine, not drawn", &others.machines, &drawn.machines)
}

#[test]
fn the_diagrams_have_the_transitions_that_the_code_makes() {
    assert_eq!(differences(&drawn(), &made_by_code()), "");
}

#[test]
fn the_diagrams_have_the_transitions_that_recorded_clusters_make() {
    assert_eq!(differences(&drawn(), &recorded()), "");
}
