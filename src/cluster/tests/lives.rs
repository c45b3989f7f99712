//! The two diagrams of `docs/development.md`: each of their transitions occurs in the code and in a
//! recorded cluster, and none besides.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;

use super::GRACE;
use crate::cluster::desired::{NotWanted, Wanted};
use crate::cluster::machine_life::{self, MachineEvidence, MachinePresence};
use crate::cluster::observation::{Absence, Report};
use crate::cluster::unit_life::{self, Evidence, MachineStanding, Presence, SourceStanding};
use crate::cluster::{Cluster, FleetList, Moment, Reading, Retention};
use crate::source::etcd::key_tree::KeyTree;
use crate::source::etcd::keys::{self, KeyEvent};
use crate::source::recording::{RecordedPoll, RecordingEntry, RecordingReader};

/// From a state to another one, by their names.
type Transition = (String, String);

/// Where a life begins, and where one ends that has no state of its own for that.
const NOTHING: &str = "[*]";

/// What happens to a row other than by a step: it is added, and what is only expected is taken away
/// again.
const BESIDE_THE_STEPS: [(&str, &str); 4] = [
    (NOTHING, "Expected"),
    (NOTHING, "Reported"),
    ("Expected", "Reported"),
    ("Expected", NOTHING),
];

/// The same of a machine.
const BESIDE_THE_STEPS_OF_A_MACHINE: [(&str, &str); 2] = [(NOTHING, "Present"), ("Lost", NOTHING)];

/// The transitions of both lives.
#[derive(Debug, Default, PartialEq, Eq)]
struct Transitions {
    units: BTreeSet<Transition>,
    machines: BTreeSet<Transition>,
}

fn push(transitions: &mut BTreeSet<Transition>, from: &str, to: &str) {
    if from != to {
        transitions.insert((from.to_owned(), to.to_owned()));
    }
}

fn unit_state(presence: Presence) -> &'static str {
    match presence {
        Presence::Expected => "Expected",
        Presence::Reported => "Reported",
        Presence::Overdue => "Overdue",
        Presence::Absent => "Absent",
        Presence::Stale => "Stale",
        Presence::Lost => "Lost",
        Presence::Gone(_) => "Gone",
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

/// A recording; one that ends in `.gz` is unpacked.
fn text(path: &Path) -> String {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();

    if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        file.read_to_string(&mut text).unwrap();
    }
    text
}

/// All polls of a file; none if it is no recording.
fn polls(path: &Path) -> Vec<RecordedPoll> {
    let mut reader = RecordingReader::default();
    let entries: Vec<RecordingEntry> = text(path)
        .lines()
        .filter_map(|line| reader.read(line).ok().flatten())
        .collect();

    let polls = entries.into_iter().filter_map(|entry| match entry {
        RecordingEntry::Poll(poll) => Some(poll),
        RecordingEntry::Begin { .. } => None,
    });
    polls.collect()
}

/// What etcd did during an incident, as its watch tells it: after each event, and each second.
fn watched(name: &str) -> Vec<RecordedPoll> {
    let start = Instant::now();
    let mut tree = KeyTree::new("/_coreos.com/fleet");
    let recorded: serde_json::Value =
        serde_json::from_str(&text(&fixtures("etcd").join(format!("{name}.start.json")))).unwrap();
    let index = recorded["index"].as_u64().unwrap_or_default();
    tree.load(keys::node(recorded["tree"].to_string().as_bytes()).unwrap(), index, start);

    let poll = |at: Duration, reading| RecordedPoll {
        at,
        took: Duration::ZERO,
        lists: &FleetList::ALL,
        outcome: Ok(reading),
    };
    let changes =
        |tree: &mut KeyTree, at| Reading::Changes { index: 0, changes: tree.changes(start + at) };
    let mut polls = vec![poll(Duration::ZERO, Reading::Registry(tree.snapshot(start)))];
    let mut tick = Duration::from_secs(1);
    for line in text(&fixtures("etcd").join(format!("{name}.watch.jsonl"))).lines() {
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

/// Notes what one reading changed in lives of one kind. A life that is new began as `begins`; one
/// that is over ended as `ends` says.
fn note<K: Ord>(
    transitions: &mut BTreeSet<Transition>,
    before: &BTreeMap<K, &'static str>,
    after: &BTreeMap<K, &'static str>,
    begins: impl Fn(&str) -> &'static str,
    ends: impl Fn(&str) -> &'static str,
) {
    for (key, to) in after {
        let from = before.get(key).copied().unwrap_or_else(|| {
            push(transitions, NOTHING, begins(to));
            begins(to)
        });
        push(transitions, from, to);
    }
    for (_, from) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
        push(transitions, from, ends(from));
    }
}

/// Plays all polls from `start` on to a cluster, and notes which transitions occur.
fn play(polls: &[RecordedPoll], start: Duration, transitions: &mut Transitions) {
    let zero = Moment::now();
    let mut cluster = Cluster::new(GRACE);
    let mut units = BTreeMap::new();
    let mut machines = BTreeMap::new();

    for poll in polls.iter().filter(|poll| poll.at >= start) {
        match &poll.outcome {
            Ok(reading) => cluster.read(reading.clone(), zero + poll.at, poll.took),
            Err(error) => cluster.fail(poll.lists, error, zero + poll.at),
        };

        let presences = cluster.knowledge.rows().presences().into_iter();
        let after = presences.map(|(key, presence)| (key, unit_state(presence))).collect();
        let begins = |state: &str| if state == "Expected" { "Expected" } else { "Reported" };
        let ends = |state: &str| if state == "Expected" { NOTHING } else { "Gone" };
        note(&mut transitions.units, &units, &after, begins, ends);
        units = after;

        let presences = cluster.knowledge.machines().presences().into_iter();
        let after = presences
            .map(|(id, presence)| (id, machine_state(presence)))
            .collect();
        note(&mut transitions.machines, &machines, &after, |_| "Present", |_| NOTHING);
        machines = after;
    }
}

/// The transitions that occur in recorded clusters, whose monitors start at different moments.
fn recorded() -> Transitions {
    let mut transitions = Transitions::default();

    for folder in ["timeline", "live"] {
        for entry in fs::read_dir(fixtures(folder)).unwrap() {
            let polls = polls(&entry.unwrap().path());
            // What has changed means nothing to who does not know the rest.
            let has_changes = polls
                .iter()
                .any(|poll| matches!(poll.outcome, Ok(Reading::Changes { .. })));
            let starts: &[u64] = if has_changes { &[0] } else { &[0, 13, 20, 60, 95, 300] };
            for start in starts {
                play(&polls, Duration::from_secs(*start), &mut transitions);
            }
        }
    }
    for name in [
        "fleetd-restart",
        "kill-machine-and-return",
        "shutdown-machine-and-return",
        "start-stop-destroy",
    ] {
        play(&watched(name), Duration::ZERO, &mut transitions);
    }
    transitions
}

/// All combinations of two lists.
fn each<A: Copy, B: Copy>(one: &[A], other: &[B]) -> Vec<(A, B)> {
    one.iter().flat_map(|a| other.iter().map(|b| (*a, *b))).collect()
}

const BOTH: [bool; 2] = [false, true];
const ABSENCES: [Absence; 3] = [Absence::Unlisted, Absence::Deleted, Absence::Expired];

/// How long a row or a machine may have been as it is.
const AGES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(30),
    Duration::from_secs(2 * 3600),
];

/// The transitions that the step of a row makes, by whatever evidence.
fn of_the_steps_of_a_row() -> BTreeSet<Transition> {
    let mut transitions = BTreeSet::new();
    let since = Moment::now();
    let presences = [
        Presence::Reported,
        Presence::Overdue,
        Presence::Absent,
        Presence::Stale,
        Presence::Lost,
    ];
    let mut reports = vec![Report::Current, Report::Overdue { since }];
    let absent = |(absence, confirmed)| Report::Absent { since, absence, confirmed };
    reports.extend(each(&ABSENCES, &BOTH).into_iter().map(absent));
    let wanted = [
        Wanted::Here { global: false },
        Wanted::Here { global: true },
        Wanted::Elsewhere,
        Wanted::Nowhere,
        Wanted::Not(NotWanted::NoFile),
        Wanted::Unknown,
    ];
    let machines = [
        MachineStanding::Speaking { since: since.before(GRACE) },
        MachineStanding::Speaking { since },
        MachineStanding::Waiting { since },
        MachineStanding::Lost { since },
    ];
    let sources = [
        SourceStanding::Settled { since },
        SourceStanding::Unsettled,
        SourceStanding::Suspect,
        SourceStanding::Failing,
    ];

    for ((presence, report), (wanted, machine)) in
        each(&each(&presences, &reports), &each(&wanted, &machines))
    {
        for ((source, age), (is_elsewhere, (wanted_is_newer, was_lost))) in
            each(&each(&sources, &AGES), &each(&BOTH, &each(&BOTH, &BOTH)))
        {
            let evidence = Evidence {
                report,
                wanted,
                wanted_is_newer,
                is_elsewhere,
                machine,
                source,
                was_lost: was_lost || presence == Presence::Lost,
                came_back: None,
            };
            for grace in [GRACE, Duration::ZERO] {
                let step =
                    unit_life::step(presence, &evidence, Retention::from(grace), since + age);
                push(&mut transitions, unit_state(presence), unit_state(step.presence));
            }
        }
    }
    transitions
}

/// The transitions that the step of a machine makes, by whatever evidence.
fn of_the_steps_of_a_machine() -> BTreeSet<Transition> {
    let mut transitions = BTreeSet::new();
    let since = Moment::now();
    let presences = [
        MachinePresence::Present,
        MachinePresence::Silent { since },
        MachinePresence::Missing { since },
        MachinePresence::Lost { since },
        MachinePresence::Returned,
    ];
    let mut reports = vec![Report::Current, Report::Overdue { since }];
    reports.extend(ABSENCES.map(|absence| Report::Absent { since, absence, confirmed: false }));
    let rows = [(0, None), (1, None), (1, Some(since)), (2, None), (2, Some(since))];

    for ((presence, report), ((rows, mute_since), age)) in
        each(&each(&presences, &reports), &each(&rows, &AGES))
    {
        for (settled, (suspect, has_company)) in each(&BOTH, &each(&BOTH, &BOTH)) {
            let evidence =
                MachineEvidence { report, rows, mute_since, settled, suspect, has_company };
            let (after, _) = machine_life::step(presence, &evidence, since + age);
            push(&mut transitions, machine_state(presence), machine_state(after));
        }
    }
    transitions
}

/// The transitions that the code makes.
fn of_the_code() -> Transitions {
    let mut transitions = Transitions {
        units: of_the_steps_of_a_row(),
        machines: of_the_steps_of_a_machine(),
    };

    for (from, to) in BESIDE_THE_STEPS {
        push(&mut transitions.units, from, to);
    }
    for (from, to) in BESIDE_THE_STEPS_OF_A_MACHINE {
        push(&mut transitions.machines, from, to);
    }
    transitions
}

/// The transitions of the diagram under a heading of `docs/development.md`.
fn of_the_diagram(heading: &str) -> BTreeSet<Transition> {
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
    let transitions: BTreeSet<Transition> = lines.iter().copied().map(transition).collect();
    assert_eq!(transitions.len(), lines.len(), "under {heading:?} a transition is there twice");
    transitions
}

fn drawn() -> Transitions {
    Transitions {
        units: of_the_diagram("\n### The life of a row\n"),
        machines: of_the_diagram("\n### The life of a machine\n"),
    }
}

/// What only one of two has, one transition a line.
fn differences(drawn: &Transitions, others: &Transitions) -> String {
    let only = |what: &str, one: &BTreeSet<Transition>, other: &BTreeSet<Transition>| -> String {
        let line = |(from, to): &Transition| format!("{what}: {from} --> {to}\n");
        one.difference(other).map(line).collect()
    };
    only("a row, only drawn", &drawn.units, &others.units)
        + &only("a row, not drawn", &others.units, &drawn.units)
        + &only("a machine, only drawn", &drawn.machines, &others.machines)
        + &only("a machine, not drawn", &others.machines, &drawn.machines)
}

#[test]
fn the_diagrams_have_the_transitions_that_the_code_makes() {
    assert_eq!(differences(&drawn(), &of_the_code()), "");
}

#[test]
fn the_diagrams_have_the_transitions_that_recorded_clusters_make() {
    assert_eq!(differences(&drawn(), &recorded()), "");
}
