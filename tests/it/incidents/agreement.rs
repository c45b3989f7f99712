//! Monitors that started at different moments, or use different sources, come to the same view
//! after an incident.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use fleet_monitor::cluster::{Event, View};
use fleet_monitor::source::recording::RecordedPoll;

use crate::live::SOURCES;
use crate::live::recording::{play, polled, polls};
use crate::timeline;

/// A moment at which monitors are compared.
#[derive(Clone, Copy)]
struct Moment {
    at: Duration,
    /// Who started later did not watch for long enough, or does not know what was there before the
    /// incident.
    started_by: Duration,
    /// A machine that had left the cluster for 3 s only, by the beginning of its ID. A monitor that
    /// asks for the machines every 10 s may have missed that, and one that had not read everything
    /// since an outage was not to believe it.
    brief_loss: Option<&'static str>,
}

const fn moment(at: u64, started_by: u64) -> Moment {
    Moment {
        at: Duration::from_secs(at),
        started_by: Duration::from_secs(started_by),
        brief_loss: None,
    }
}

/// When all was quiet: each machine had been reporting its units for at least 18 s, and nothing was
/// done yet. Every monitor is asked that has watched two polls of each topic, and for as long as a
/// crash loop takes to tell.
const QUIET: [Moment; 4] = [moment(238, 208), moment(310, 280), moment(382, 352), moment(502, 472)];

/// When an incident was not over, and nothing had changed for 20 s: a fleetd had come back without
/// states, or a machine was partitioned. Only those are asked that had started before.
const STANDING: [Moment; 3] = [AFTER_A_BRIEF_LOSS, moment(360, 300), moment(470, 370)];
const AFTER_A_BRIEF_LOSS: Moment = Moment { brief_loss: Some("9c4b"), ..moment(165, 10) };

/// The rows with their verdicts, and the machines, as text that can be compared and read.
type Rows = BTreeMap<String, String>;

fn rows(view: &View) -> Rows {
    let units = view.units.iter().map(|unit| {
        let machine = unit
            .state
            .machine
            .as_ref()
            .map_or("no machine", |machine| &machine[..4]);
        (format!("{} on {machine}", unit.state.unit), unit.verdict.name().to_owned())
    });
    let machines = view.machines.iter().map(|member| {
        let is = match (member.lost_since, member.silent_since) {
            (Some(_), _) => "lost",
            (None, Some(_)) => "silent",
            (None, None) => "present",
        };
        (format!("machine {}", &member.machine.id[..4]), is.to_owned())
    });
    units.chain(machines).collect()
}

/// Steps of 0.1 s over 2 s, and one every 9.7 s through all incidents.
fn starts() -> impl Iterator<Item = Duration> {
    let at_first = (0..20).map(|step| Duration::from_millis(step * 100));
    let meanwhile = (1..50).map(|step| Duration::from_millis(step * 9700));
    at_first.chain(meanwhile)
}

/// For each moment: what each monitor showed, by name.
type Views = BTreeMap<Duration, BTreeMap<String, Rows>>;

/// Plays the polls to a monitor, and keeps what it shows at the moments.
fn watch<'a>(
    name: &str,
    polls: impl IntoIterator<Item = &'a RecordedPoll>,
    start: Duration,
    moments: &[Moment],
    views: &mut Views,
) {
    let name = format!("{name} from {:.1} s on", start.as_secs_f64());
    let mut moments: Vec<Moment> = moments
        .iter()
        .filter(|moment| start <= moment.started_by)
        .copied()
        .collect();
    moments.sort_by_key(|moment| moment.at);
    let mut moments = moments.into_iter().peekable();
    let mut last = None;
    let mut lost = BTreeSet::new();

    play(polls, start, |at, _, happened, cluster| {
        while let Some(moment) = moments.next_if(|moment| moment.at < at) {
            let rows = last.as_deref().map(rows).unwrap_or_default();
            match moment.brief_loss {
                Some(machine) if !lost.contains(machine) => assert_waits_for(machine, &rows, &name),
                _ => _ = views.entry(moment.at).or_default().insert(name.clone(), rows),
            }
        }
        lost.extend(happened.iter().filter_map(|transition| match &transition.event {
            Event::MachineLost { machine, .. } => Some(machine[..4].to_owned()),
            _ => None,
        }));
        last = Some(cluster.view().clone());
    });

    assert!(moments.next().is_none(), "{name}: the recording is shorter");
}

/// Who does not know that a machine was lost shows that it reports nothing, and takes none of its
/// rows for gone or well.
fn assert_waits_for(machine: &str, rows: &Rows, name: &str) {
    let place = format!(" on {machine}");
    let of_machine: Vec<_> = rows.iter().filter(|(row, _)| row.ends_with(&place)).collect();

    assert_eq!(of_machine.len(), 4, "{name}: {of_machine:?}");
    assert!(
        of_machine.iter().all(|(_, verdict)| *verdict == "stale"),
        "{name}: {of_machine:?}"
    );
}

/// What most monitors showed.
fn most(views: &BTreeMap<String, Rows>) -> &Rows {
    let mut counts: BTreeMap<&Rows, usize> = BTreeMap::new();
    for rows in views.values() {
        *counts.entry(rows).or_default() += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .expect("there are monitors")
        .0
}

/// What differs, one row a line, with the monitors that see it so.
fn differences(views: &Views) -> String {
    let mut lines = Vec::new();

    for (quiet, views) in views {
        let most = most(views);
        let mut different: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, rows) in views {
            let all: BTreeSet<&String> = most.keys().chain(rows.keys()).collect();
            for row in all.into_iter().filter(|row| most.get(*row) != rows.get(*row)) {
                let is =
                    |rows: &Rows| rows.get(row).cloned().unwrap_or_else(|| "not there".to_owned());
                let line = format!(
                    "at {} s: {row} is {}, for most {}",
                    quiet.as_secs(),
                    is(rows),
                    is(most)
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
            most(views).len()
        );
    }
    let differences = differences(views);
    assert!(differences.is_empty(), "{what}: monitors disagree:\n{differences}");
}

/// What the monitors of each recorded source showed, and of `lists`: monitors that asked for lists
/// of what etcd said, each at moments of its own.
static SEEN: LazyLock<Vec<(&str, Views)>> = LazyLock::new(|| {
    std::thread::scope(|scope| {
        let sources = SOURCES.into_iter().chain(["lists"]);
        let threads: Vec<_> = sources.map(|name| scope.spawn(move || (name, seen(name)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
});

fn seen(name: &str) -> Views {
    let is_lists = name == "lists";
    let recorded = polls(&format!("{}.jsonl.gz", if is_lists { "etcd" } else { name }));
    let moments = [&QUIET[..], &STANDING[..]].concat();
    let mut views = Views::new();

    for start in starts() {
        if is_lists {
            watch(name, &polled(&recorded, start), start, &moments, &mut views);
        } else {
            watch(name, &recorded, start, &moments, &mut views);
        }
    }
    views
}

/// Whether the monitors of each source agree among themselves.
fn assert_each_agrees(moments: &[Moment]) {
    for (name, views) in &*SEEN {
        let views = views
            .iter()
            .filter(|(at, _)| moments.iter().any(|moment| moment.at == **at));
        assert_agree(name, &views.map(|(at, views)| (*at, views.clone())).collect());
    }
}

/// Whether the monitors of all sources agree.
fn assert_all_agree(moments: &[Moment]) {
    let mut all = Views::new();
    for moment in moments {
        let views = SEEN.iter().filter_map(|(_, views)| views.get(&moment.at));
        all.insert(
            moment.at,
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
fn a_monitor_that_watches_etcd_misses_no_loss_however_brief() {
    let (_, views) = SEEN
        .iter()
        .find(|(name, _)| *name == "etcd")
        .expect("it is one of the sources");
    let Moment { at, started_by, .. } = AFTER_A_BRIEF_LOSS;
    assert_eq!(views[&at].len(), starts().filter(|start| *start <= started_by).count());
}

/// Of these recordings a poll was made every 0.2 s, so that monitors can poll at different moments.
#[test]
fn monitors_of_a_recorded_timeline_agree_whatever_the_moments_of_their_polls() {
    // At 2 s a machine loses power, is shut down, loses its network; it is back at 59 s, at 39 s,
    // and not again.
    let moments: [(&str, [Moment; 2]); 3] = [
        ("kill-machine-and-return", [moment(57, 2), moment(76, 46)]),
        ("shutdown-machine-and-return", [moment(37, 2), moment(56, 26)]),
        ("partition-machine", [moment(51, 2), moment(74, 2)]),
    ];

    for (name, moments) in moments {
        let polls = timeline::polls(name);
        let mut views = Views::new();

        let at_first = (0..10).map(|step| Duration::from_millis(step * 200));
        let meanwhile = (1..10).map(|step| Duration::from_millis(step * 5100));
        for start in at_first.chain(meanwhile) {
            watch(name, timeline::sampled(&polls, start), start, &moments, &mut views);
        }
        assert_agree(name, &views);
    }
}
