//! The recorded timelines of real clusters, replayed: no row that was there all the time is ever reported gone.
//!
//! Each recording was made with a poll every 0.2 s; here it is read as the agent would have, every 2 s (units) and 10 s
//! (machines and unit files), beginning at each of ten different moments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use fleet_monitor::cluster::{Cluster, Event, MachineId, Moment, Reading, Topic, UnitName, Verdict};
use fleet_monitor::source::recording::{self, Entry, Poll};

type Key = (UnitName, Option<MachineId>);

fn polls(name: &str) -> Vec<Poll> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/timeline").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let entries = text.lines().filter_map(|line| recording::parse(line).unwrap());
    let mut last: [Option<Reading>; 3] = [const { None }; 3];
    entries
        .filter_map(|entry| match entry {
            Entry::Poll(mut poll) => {
                if let Ok(reading) = &mut poll.outcome {
                    let last = &mut last[poll.topic as usize];
                    match reading {
                        Some(reading) => *last = Some(reading.clone()),
                        None => *reading = last.clone(),
                    }
                }
                Some(poll)
            }
            Entry::Begin { .. } => None,
        })
        .collect()
}

/// The polls that an agent which starts at `offset` would have made.
fn sampled(polls: Vec<Poll>, offset: Duration) -> Vec<Poll> {
    let mut due = [offset; 3];
    let mut keys = None;
    let mut taken = Vec::new();
    for poll in polls {
        if poll.at < due[poll.topic as usize] {
            continue;
        }
        due[poll.topic as usize] = poll.at + Duration::from_secs(if poll.topic == Topic::Units { 2 } else { 10 });
        if let Ok(Some(Reading::Units { states, .. })) = &poll.outcome {
            let now: BTreeSet<Key> = states.iter().map(|state| (state.unit.clone(), state.machine.clone())).collect();
            if keys.as_ref().is_some_and(|keys| *keys != now) {
                due[Topic::Machines as usize] = poll.at;
                due[Topic::UnitFiles as usize] = poll.at;
            }
            keys = Some(now);
        }
        taken.push(poll);
    }
    taken
}

#[derive(Default, Debug)]
struct Outcome {
    /// Rows that the raw lists showed as gone although they came back.
    raw: usize,
    /// Rows that we reported gone although they came back.
    ours: usize,
    verdicts: BTreeMap<Verdict, BTreeSet<String>>,
    events: Vec<(f64, Event)>,
    suspects: usize,
    fewest: usize,
}

fn replay(polls: Vec<Poll>, grace: Duration) -> Outcome {
    let start = Moment::now();
    let mut cluster = Cluster::new(grace);
    let mut outcome = Outcome { fewest: usize::MAX, ..Outcome::default() };
    let (mut seen, mut away): (BTreeSet<Key>, BTreeSet<Key>) = Default::default();
    let mut gone: BTreeMap<Key, f64> = BTreeMap::new();
    for poll in polls {
        let at = start + poll.at;
        if let Ok(Some(Reading::Units { states, .. })) = &poll.outcome {
            let now: BTreeSet<Key> = states.iter().map(|state| (state.unit.clone(), state.machine.clone())).collect();
            outcome.raw += now.intersection(&away).count();
            away = away.difference(&now).cloned().collect();
            away.extend(seen.difference(&now).cloned());
            seen.extend(now);
        }
        let transitions = match poll.outcome {
            Ok(reading) => cluster.read(reading.unwrap(), at),
            Err(error) => cluster.fail(poll.topic, &error, at),
        };
        for transition in transitions {
            let event = transition.event.clone();
            if let Some(place) = event.place() {
                let key = (place.unit.clone(), place.machine.clone());
                match &event {
                    Event::Gone { .. } => drop(gone.insert(key, poll.at.as_secs_f64())),
                    Event::Appeared { .. } if gone.remove(&key).is_some() => outcome.ours += 1,
                    _ => {}
                }
            }
            if matches!(event, Event::SourceSuspect { .. }) {
                outcome.suspects += 1;
            }
            outcome.events.push((poll.at.as_secs_f64(), event));
        }
        if cluster.health().topic(Topic::Units).read.is_some() {
            let listed = cluster.view().units.iter().filter(|unit| unit.listed).count();
            outcome.fewest = outcome.fewest.min(listed);
        }
        for unit in &cluster.view().units {
            outcome.verdicts.entry(unit.verdict).or_default().insert(unit.state.unit.to_string());
        }
    }
    outcome
}

#[test]
fn print_all() {
    for name in [
        "kill-machine-and-return",
        "shutdown-machine-and-return",
        "fleetd-restart",
        "fleetd-restart-of-the-polled-machine",
        "partition-machine",
        "etcd-down-10s",
        "etcd-down-70s",
        "start-stop-destroy",
    ] {
        for offset in [0, 600, 1400] {
            let outcome = replay(
                sampled(polls(&format!("{name}.jsonl")), Duration::from_millis(offset)),
                Duration::from_secs(30),
            );
            println!(
                "{name} +{offset}: raw {} ours {} suspects {} fewest {}",
                outcome.raw, outcome.ours, outcome.suspects, outcome.fewest
            );
            if offset == 600 {
                for (at, event) in &outcome.events {
                    println!("    {at:6.1} {event}");
                }
                println!("    {:?}", outcome.verdicts.iter().filter(|(v, _)| **v != Verdict::Ok).collect::<Vec<_>>());
            }
        }
    }
}
