//! Monitors that started at different times, or use different sources, show the same after an
//! incident.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use fleet_monitor::cluster::{Event, View};
use fleet_monitor::source::recording::RecordedReport;

use crate::live::SOURCES;
use crate::live::recording::{play, polled, polls};
use crate::timeline;

/// A time at which the views of all monitors are compared.
#[derive(Clone, Copy)]
struct Checkpoint {
    at: Duration,
    /// A monitor that started later is not compared: it has not watched for long enough, or does
    /// not know the rows before the incident.
    started_by: Duration,
    /// A machine that had left the cluster for 3 s only, by the beginning of its ID. A monitor that
    /// reads the machines every 10 s may have missed that; and one that had not read every list
    /// since an outage must ignore it.
    brief_loss: Option<&'static str>,
}

const fn checkpoint(at: u64, started_by: u64) -> Checkpoint {
    Checkpoint {
        at: Duration::from_secs(at),
        started_by: Duration::from_secs(started_by),
        brief_loss: None,
    }
}

/// Checkpoints after an incident: each machine has reported its units for at least 18 s, and the
/// next incident has not begun. All monitors are compared that have polled each list twice, and
/// have watched for as long as it takes to detect a crash loop.
const QUIET: [Checkpoint; 4] = [
    checkpoint(238, 208),
    checkpoint(310, 280),
    checkpoint(382, 352),
    checkpoint(502, 472),
];

/// Checkpoints during an incident, after 20 s without any change: a fleetd is back without states,
/// or a machine is partitioned. Only monitors are compared that started before it.
const STANDING: [Checkpoint; 3] = [AFTER_A_BRIEF_LOSS, checkpoint(360, 300), checkpoint(470, 370)];
const AFTER_A_BRIEF_LOSS: Checkpoint =
    Checkpoint { brief_loss: Some("9c4b"), ..checkpoint(165, 10) };

/// The rows with their verdicts, and the machines with their states, as text.
type ShownRows = BTreeMap<String, String>;

fn rows(view: &View) -> ShownRows {
    let units = view.units.iter().map(|unit| {
        let machine = unit
            .state
            .machine
            .as_ref()
            .map_or("no machine", |machine| &machine[..4]);
        (format!("{} on {machine}", unit.state.unit), unit.verdict.name().to_owned())
    });
    let machines = view.machines.iter().map(|member| {
        let state = match (member.lost_since, member.silent_since) {
            (Some(_), _) => "lost",
            (None, Some(_)) => "silent",
            (None, None) => "present",
        };
        (format!("machine {}", &member.machine.id[..4]), state.to_owned())
    });

    units.chain(machines).collect()
}

/// Steps of 0.1 s over 2 s, and one every 9.7 s through all incidents.
fn starts() -> impl Iterator<Item = Duration> {
    let at_first = (0..20).map(|step| Duration::from_millis(step * 100));
    let meanwhile = (1..50).map(|step| Duration::from_millis(step * 9700));
    at_first.chain(meanwhile)
}

/// What each monitor showed at each checkpoint, by the name of the monitor.
type Views = BTreeMap<Duration, BTreeMap<String, ShownRows>>;

/// Replays the polls to a monitor, and records what it shows at the checkpoints.
fn record_views<'a>(
    name: &str,
    polls: impl IntoIterator<Item = &'a RecordedReport>,
    start: Duration,
    checkpoints: &[Checkpoint],
    views: &mut Views,
) {
    let name = format!("{name} from {:.1} s on", start.as_secs_f64());
    let mut checkpoints: Vec<Checkpoint> = checkpoints
        .iter()
        .filter(|checkpoint| start <= checkpoint.started_by)
        .copied()
        .collect();
    checkpoints.sort_by_key(|checkpoint| checkpoint.at);
    let mut checkpoints = checkpoints.into_iter().peekable();
    let mut last = None;
    let mut lost = BTreeSet::new();

    play(polls, start, |at, _, transitions, cluster| {
        while let Some(checkpoint) = checkpoints.next_if(|checkpoint| checkpoint.at < at) {
            let rows = last.as_deref().map(rows).unwrap_or_default();
            match checkpoint.brief_loss {
                Some(machine) if !lost.contains(machine) => assert_stale_on(machine, &rows, &name),
                _ => _ = views.entry(checkpoint.at).or_default().insert(name.clone(), rows),
            }
        }
        lost.extend(transitions.iter().filter_map(|transition| match &transition.event {
            Event::MachineLost { machine, .. } => Some(machine[..4].to_owned()),
            _ => None,
        }));
        last = Some(cluster.view().clone());
    });

    assert!(checkpoints.next().is_none(), "{name}: the recording is shorter");
}

/// A monitor that does not know that a machine was lost shows its rows as stale, none as gone or
/// ok.
fn assert_stale_on(machine: &str, rows: &ShownRows, name: &str) {
    let place = format!(" on {machine}");
    let on_machine: Vec<_> = rows.iter().filter(|(row, _)| row.ends_with(&place)).collect();

    assert_eq!(on_machine.len(), 4, "{name}: {on_machine:?}");
    assert!(
        on_machine.iter().all(|(_, verdict)| *verdict == "stale"),
        "{name}: {on_machine:?}"
    );
}

/// What most monitors showed.
fn majority(views: &BTreeMap<String, ShownRows>) -> &ShownRows {
    let mut counts: BTreeMap<&ShownRows, usize> = BTreeMap::new();

    for rows in views.values() {
        *counts.entry(rows).or_default() += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .expect("there are monitors")
        .0
}

/// The differences to what most monitors showed, one row a line, with the monitors that differ.
fn differences(views: &Views) -> String {
    let mut lines = Vec::new();

    for (at, views) in views {
        let majority = majority(views);
        let mut different: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, rows) in views {
            let all: BTreeSet<&String> = majority.keys().chain(rows.keys()).collect();
            for row in all.into_iter().filter(|row| majority.get(*row) != rows.get(*row)) {
                let row_of = |rows: &ShownRows| {
                    rows.get(row).cloned().unwrap_or_else(|| "not there".to_owned())
                };
                let line = format!(
                    "at {} s: {row} is {}, for most {}",
                    at.as_secs(),
                    row_of(rows),
                    row_of(majority)
                );
                different.entry(line).or_default().push(name);
            }
        }
        for (line, names) in different {
            let more = if names.len() > 3 {
                format!(" and {} more", names.len() - 3)
            } else {
                String::new()
            };
            lines.push(format!("{line}: {}{more}", names[..names.len().min(3)].join(", ")));
        }
    }
    lines.join("\n")
}

fn assert_agree(what: &str, views: &Views) {
    for (at, views) in views {
        println!(
            "{what} at {} s: {} monitors, {} rows",
            at.as_secs(),
            views.len(),
            majority(views).len()
        );
    }

    let differences = differences(views);
    assert!(differences.is_empty(), "{what}: monitors disagree:\n{differences}");
}

/// What the monitors of each recorded source showed, and those of `lists`, which poll lists of the
/// recorded etcd at different moments.
static VIEWS: LazyLock<Vec<(&str, Views)>> = LazyLock::new(|| {
    std::thread::scope(|scope| {
        let sources = SOURCES.into_iter().chain(["lists"]);
        let threads: Vec<_> = sources
            .map(|name| scope.spawn(move || (name, views_of(name))))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
});

fn views_of(name: &str) -> Views {
    let is_lists = name == "lists";
    let recorded = polls(&format!("{}.jsonl.gz", if is_lists { "etcd" } else { name }));
    let checkpoints = [&QUIET[..], &STANDING[..]].concat();
    let mut views = Views::new();

    for start in starts() {
        if is_lists {
            record_views(name, &polled(&recorded, start), start, &checkpoints, &mut views);
        } else {
            record_views(name, &recorded, start, &checkpoints, &mut views);
        }
    }
    views
}

/// Asserts that all monitors with the same source agree.
fn assert_each_agrees(checkpoints: &[Checkpoint]) {
    for (name, views) in &*VIEWS {
        let views = views
            .iter()
            .filter(|(at, _)| checkpoints.iter().any(|checkpoint| checkpoint.at == **at));
        assert_agree(name, &views.map(|(at, views)| (*at, views.clone())).collect());
    }
}

/// Asserts that all monitors of all sources agree.
fn assert_all_agree(checkpoints: &[Checkpoint]) {
    let mut all = Views::new();

    for checkpoint in checkpoints {
        let views = VIEWS.iter().filter_map(|(_, views)| views.get(&checkpoint.at));
        all.insert(
            checkpoint.at,
            views
                .flatten()
                .map(|(name, rows)| (name.clone(), rows.clone()))
                .collect(),
        );
    }
    assert_agree("all sources", &all);
}

#[test]
fn monitors_of_one_source_agree_after_an_incident_whenever_they_started() {
    assert_each_agrees(&QUIET);
}

#[test]
fn monitors_of_one_source_agree_while_an_incident_lasts() {
    assert_each_agrees(&STANDING);
}

#[test]
fn monitors_of_all_sources_agree_after_an_incident() {
    assert_all_agree(&QUIET);
}

#[test]
fn monitors_of_all_sources_agree_while_an_incident_lasts() {
    assert_all_agree(&STANDING);
}

#[test]
fn a_monitor_that_watches_etcd_misses_no_brief_loss() {
    let (_, views) = VIEWS
        .iter()
        .find(|(name, _)| *name == "etcd")
        .expect("it is one of the sources");
    let Checkpoint { at, started_by, .. } = AFTER_A_BRIEF_LOSS;
    assert_eq!(views[&at].len(), starts().filter(|start| *start <= started_by).count());
}

/// These recordings have a poll every 0.2 s, so that monitors can poll at different moments.
#[test]
fn monitors_of_a_recorded_timeline_agree_whenever_they_poll() {
    // At 2 s a machine loses power, is shut down, or is partitioned. It is back at 59 s, at 39 s,
    // and never.
    let checkpoints: [(&str, [Checkpoint; 2]); 3] = [
        ("kill-machine-and-return", [checkpoint(57, 2), checkpoint(76, 46)]),
        ("shutdown-machine-and-return", [checkpoint(37, 2), checkpoint(56, 26)]),
        ("partition-machine", [checkpoint(51, 2), checkpoint(74, 2)]),
    ];

    for (name, checkpoints) in checkpoints {
        let polls = timeline::polls(name);
        let mut views = Views::new();

        let at_first = (0..10).map(|step| Duration::from_millis(step * 200));
        let meanwhile = (1..10).map(|step| Duration::from_millis(step * 5100));
        for start in at_first.chain(meanwhile) {
            record_views(name, timeline::sampled(&polls, start), start, &checkpoints, &mut views);
        }
        assert_agree(name, &views);
    }
}
