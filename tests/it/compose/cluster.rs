//! The cluster that is played: its steps.

use std::collections::BTreeMap;
use std::fs;

use super::folder;
use crate::support::etcd::{EtcdRecording, PREFIX};

/// The keys and values, without the prefix.
type Registry = BTreeMap<String, String>;

/// The steps before the line `repeat`, and those of one round.
fn steps() -> (String, String) {
    let text = fs::read_to_string(folder().join("cluster.txt")).unwrap();
    let (beginning, round) = text.split_once("\nrepeat\n").expect("a round");
    (beginning.to_owned(), round.to_owned())
}

/// Takes steps, without their times.
fn play(registry: &mut Registry, steps: &str) {
    for line in steps
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (step, rest) = line.split_once(' ').expect("a step with something");
        match step {
            "set" | "lease" => {
                let (key, value) = rest.split_once(' ').expect("a key and a value");
                registry.insert(key.replace("%5C", r"\"), value.to_owned());
            }
            "delete" => {
                let key = rest.replace("%5C", r"\");
                let below = format!("{key}/");
                let before = registry.len();
                registry.retain(|other, _| *other != key && !other.starts_with(&below));
                assert!(registry.len() < before, "{line}: there is no such key");
            }
            // All keys of the machine expire meanwhile.
            "silence" => registry.retain(|key, value| {
                let is_leased = key.starts_with("states/") || key.starts_with("machines/");
                !(is_leased && (key.contains(rest) || value.contains(rest)))
            }),
            "wait" => assert!(rest.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{line}"),
            "say" => {}
            _ => panic!("{line}"),
        }
    }
}

#[test]
fn the_cluster_is_a_recorded_one() {
    let recording = EtcdRecording::load("kill-machine-and-return");
    let values = recording.start.values().into_iter();
    let recorded: Registry = values
        .filter_map(|(key, value)| {
            let key = key.strip_prefix(PREFIX)?.strip_prefix('/')?;
            let is_of_older_versions = key.starts_with("state/") || key.ends_with("/job-state");
            (!is_of_older_versions).then(|| (key.to_owned(), value.unwrap_or_default().to_owned()))
        })
        .collect();

    let mut registry = Registry::new();
    play(&mut registry, &steps().0);
    assert_eq!(registry, recorded);
}

#[test]
fn a_round_ends_as_it_began() {
    let (beginning, round) = steps();
    let mut registry = Registry::new();
    play(&mut registry, &beginning);
    let before = registry.clone();

    play(&mut registry, &round);
    assert_eq!(registry, before);
}
