//! Replays a recording to a cluster, as a monitor that starts at some moment of it would read it.
//!
//! It does not judge what the cluster shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use fleet_monitor::cluster::{
    Cluster, Event, FleetList, Lease, MachineId, Moment, Observation, Reading, RegistrySnapshot,
    Text, Transition, Unit, UnitFile, UnitName, UnitState, View,
};
use fleet_monitor::source::etcd::RECHECK_DELAY;
use fleet_monitor::source::recording::{RecordedReport, RecordingEntry, RecordingReader};

use crate::support::changes::apply_changes;
use crate::support::recorded_poll;

pub const GRACE: Duration = Duration::from_secs(30);

/// A row of the replays: a unit on a machine.
pub type UnitOnMachine = (UnitName, MachineId);

/// A file of `tests/fixtures/live`; one that ends in `.gz` is unpacked.
pub fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/live")
        .join(name);
    let mut file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();

    if name.ends_with(".gz") {
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        file.read_to_string(&mut text).unwrap();
    }
    text
}

/// The polls of a recording.
pub fn polls(name: &str) -> Vec<RecordedReport> {
    let mut reader = RecordingReader::default();
    let text = fixture(name);
    let entries = text.lines().filter_map(|line| reader.read(line).unwrap());

    let polls = entries.filter_map(|entry| match entry {
        RecordingEntry::Poll(poll) => Some(poll),
        RecordingEntry::Begin { .. } => None,
    });
    polls.collect()
}

/// How a row is shown at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The state as `active/sub`.
    pub state: Text,
    /// The name of the verdict; empty for a row of the source itself.
    pub verdict: &'static str,
    pub reason: Text,
}

impl Shown {
    /// A row of the source itself.
    pub fn raw(state: Text) -> Self {
        Self { state, verdict: "", reason: "".into() }
    }

    fn with_verdict(unit: &Unit) -> Self {
        Self {
            state: text(&unit.state),
            verdict: unit.verdict.name(),
            reason: (&*unit.reason).into(),
        }
    }

    pub fn is_active(&self) -> bool {
        self.state.starts_with("active/")
    }
}

fn text(state: &UnitState) -> Text {
    let column = |text: &Option<Text>| text.clone().unwrap_or_else(|| "-".into());
    format!("{}/{}", column(&state.active), column(&state.sub)).into()
}

/// The changes of each row, each with its time; `None` when the row was removed.
#[derive(Clone, Debug, Default)]
pub struct History(BTreeMap<UnitOnMachine, Vec<(Duration, Option<Shown>)>>);

impl History {
    /// Sets all rows from `at` on.
    pub fn set(&mut self, at: Duration, rows: BTreeMap<UnitOnMachine, Shown>) {
        let missing: Vec<UnitOnMachine> =
            self.0.keys().filter(|key| !rows.contains_key(key)).cloned().collect();

        for key in missing {
            self.push(key, at, None);
        }
        for (key, shown) in rows {
            self.push(key, at, Some(shown));
        }
    }

    /// Sets one row from `at` on.
    pub fn push(&mut self, key: UnitOnMachine, at: Duration, shown: Option<Shown>) {
        let changes = self.0.entry(key).or_default();
        let is_news = match changes.last() {
            Some((_, last)) => *last != shown,
            None => shown.is_some(),
        };

        if is_news {
            changes.push((at, shown));
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = &UnitOnMachine> {
        self.0.keys()
    }

    pub fn changes(&self, key: &UnitOnMachine) -> &[(Duration, Option<Shown>)] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    pub fn at(&self, key: &UnitOnMachine, at: Duration) -> Option<&Shown> {
        self.changes(key)
            .iter()
            .take_while(|(since, _)| *since <= at)
            .last()?
            .1
            .as_ref()
    }

    /// The periods between the changes of a row: beginning, end, and the row in between. The last
    /// one ends at `end`.
    pub fn spans(
        &self,
        key: &UnitOnMachine,
        end: Duration,
    ) -> impl Iterator<Item = (Duration, Duration, Option<&Shown>)> {
        let changes = self.changes(key);
        let ends = changes.iter().skip(1).map(|(at, _)| *at).chain([end]);
        changes
            .iter()
            .zip(ends)
            .map(|((from, shown), to)| (*from, to, shown.as_ref()))
    }
}

/// What a monitor read and showed that started at some moment of a recording.
#[derive(Default)]
pub struct MonitorReplay {
    pub start: Duration,
    /// The rows as they were shown.
    pub shown: History,
    /// The rows of the source's last list of units.
    pub listed: History,
    /// The times when a list of units was read.
    pub list_reads: Vec<Duration>,
    /// The global units.
    pub global: BTreeSet<UnitName>,
    pub events: Vec<(Duration, Event)>,
}

/// Replays all polls from `start` on to one cluster, and records what it shows.
pub fn replay(polls: &[RecordedReport], start: Duration) -> MonitorReplay {
    let mut replay = MonitorReplay { start, ..MonitorReplay::default() };
    let mut registry = RegistrySnapshot::default();

    play(polls, start, |at, outcome, transitions, cluster| {
        let outcome = &match outcome {
            Ok(Reading::Changes { index, changes }) => {
                apply_changes(&mut registry, *index, changes);
                Ok(Reading::Registry(registry.clone()))
            }
            other => other.clone(),
        };
        if let Ok(Reading::Registry(whole)) = outcome {
            registry.clone_from(whole);
        }
        if let Some(rows) = listed(outcome) {
            replay.listed.set(at, rows);
            replay.list_reads.push(at);
        }
        replay.global.extend(global(outcome));

        for transition in transitions {
            // For whoever reads the events the row was gone, even if it is back in the same view.
            if let (Event::Gone { .. }, Some(key)) = (&transition.event, key(&transition.event)) {
                replay.shown.push(key, at, None);
            }
            replay.events.push((at, transition.event.clone()));
        }
        replay.shown.set(at, shown(cluster.view()));
    });
    replay
}

/// Replays all polls from `start` on to one cluster. Calls `observe` after each with its time, its
/// outcome, the transitions, and the cluster.
pub fn play<'a>(
    polls: impl IntoIterator<Item = &'a RecordedReport>,
    start: Duration,
    mut observe: impl FnMut(Duration, &Result<Reading, String>, &[Arc<Transition>], &Cluster),
) {
    let zero = Moment::now();
    let mut cluster = Cluster::new(GRACE);

    let mut polls = polls.into_iter().peekable();
    let mut before = None;
    while let Some(poll) = polls.next_if(|poll| poll.at < start) {
        before = Some(poll);
    }

    let mut apply = |poll: &RecordedReport| {
        let transitions = recorded_poll::apply(&mut cluster, poll, zero);
        observe(poll.at, &poll.outcome, &transitions, &cluster);
    };
    if let Some(first) = before.and_then(|before| first_poll(before, start)) {
        apply(&first);
    }
    polls.for_each(apply);
}

/// The first poll of a monitor that starts at `start`, after the recorded poll `before`. If that
/// was a whole registry, the monitor reads the same one. Otherwise it reads each list with the next
/// poll of that list.
fn first_poll(before: &RecordedReport, start: Duration) -> Option<RecordedReport> {
    let Ok(Reading::Registry(registry)) = &before.outcome else {
        return None;
    };
    let registry = RegistrySnapshot { expired: Vec::new(), ..registry.clone() };

    Some(RecordedReport {
        at: start,
        outcome: Ok(Reading::Registry(registry)),
        ..before.clone()
    })
}

/// The recording of a registry as a monitor reads it that watches etcd from `start` on: a whole
/// registry at first and after each failure, and then the changes.
pub fn changes(registry: &[RecordedReport], start: Duration) -> Vec<RecordedReport> {
    let begun = registry
        .iter()
        .rfind(|poll| poll.at <= start)
        .and_then(|before| first_poll(before, start));
    let mut known: Option<RegistrySnapshot> = None;

    let after = registry.iter().filter(|poll| poll.at > start).cloned();
    let polls = begun.into_iter().chain(after).map(|mut poll| {
        let before = known.take();
        if let Ok(Reading::Registry(registry)) = poll.outcome {
            let reading = match &before {
                Some(before) => Reading::Changes {
                    index: registry.index,
                    changes: difference(before, &registry),
                },
                None => Reading::Registry(registry.clone()),
            };
            known = Some(registry);
            poll.outcome = Ok(reading);
        }
        poll
    });
    let mut polls: Vec<RecordedReport> = polls.collect();

    // After a deletion, the source yields another reading.
    let second_reading = |poll: &RecordedReport| match &poll.outcome {
        Ok(reading @ Reading::Changes { index, .. }) if reading.ends_leases() => {
            let outcome = Ok(Reading::Changes { index: *index, changes: Vec::new() });
            Some(RecordedReport { at: poll.at + RECHECK_DELAY, outcome, ..poll.clone() })
        }
        _ => None,
    };
    let second_readings: Vec<RecordedReport> = polls.iter().filter_map(second_reading).collect();
    polls.extend(second_readings);
    polls.sort_by_key(|poll| poll.at);
    polls
}

/// The changes that lead from one registry to another.
fn difference(before: &RegistrySnapshot, after: &RegistrySnapshot) -> Vec<Observation> {
    let mut changes = state_changes(before, after);
    changes.extend(machine_changes(before, after));
    changes.extend(file_changes(before, after));

    if before.leader != after.leader {
        changes.push(Observation::Leads(after.leader.clone()));
    }
    changes.extend(overdue_changes(before, after));
    changes
}

/// That a key with a lease is not in the registry any more.
fn end_of(lease: Lease, after: &RegistrySnapshot) -> Observation {
    if after.expired.contains(&lease) {
        Observation::Expired(lease)
    } else {
        Observation::Deleted(lease)
    }
}

fn state_changes(before: &RegistrySnapshot, after: &RegistrySnapshot) -> Vec<Observation> {
    let is_same_row = |a: &UnitState, b: &UnitState| (&a.unit, &a.machine) == (&b.unit, &b.machine);
    let changed = after.states.iter().filter(|state| !before.states.contains(state));
    let removed = before
        .states
        .iter()
        .filter(|state| !after.states.iter().any(|it| is_same_row(it, state)));

    let mut changes: Vec<_> = changed.cloned().map(Observation::Reported).collect();
    for state in removed {
        let machine = state.machine.clone().expect("a state has a machine");
        changes.push(end_of(Lease::Unit(state.unit.clone(), machine), after));
    }
    changes
}

fn machine_changes(before: &RegistrySnapshot, after: &RegistrySnapshot) -> Vec<Observation> {
    let changed = after
        .machines
        .iter()
        .filter(|machine| !before.machines.contains(machine));
    let removed = before
        .machines
        .iter()
        .filter(|machine| !after.machines.iter().any(|it| it.id == machine.id));

    let changed = changed.cloned().map(Observation::MachineSeen);
    let removed = removed.map(|machine| end_of(Lease::Machine(machine.id.clone()), after));
    changed.chain(removed).collect()
}

fn file_changes(before: &RegistrySnapshot, after: &RegistrySnapshot) -> Vec<Observation> {
    let changed = after.files.iter().filter(|file| !before.files.contains(file));
    let removed = before
        .files
        .iter()
        .filter(|file| !after.files.iter().any(|it| it.unit == file.unit));

    let changed = changed.cloned().map(Observation::Wanted);
    let removed = removed.map(|file| Observation::NotWanted(file.unit.clone()));
    changed.chain(removed).collect()
}

fn overdue_changes(before: &RegistrySnapshot, after: &RegistrySnapshot) -> Vec<Observation> {
    let is_overdue =
        |registry: &RegistrySnapshot, lease| registry.overdue.iter().any(|(it, _)| it == lease);
    let overdue = after.overdue.iter().filter(|(lease, _)| !is_overdue(before, lease));
    let renewed = before.overdue.iter().filter(|(lease, _)| !is_overdue(after, lease));

    let overdue = overdue.map(|(lease, age)| Observation::Overdue(lease.clone(), *age));
    let renewed = renewed.map(|(lease, _)| Observation::Renewed(lease.clone()));
    overdue.chain(renewed).collect()
}

/// The recording of a registry as a monitor reads it that polls lists: the units every 2 s from
/// `start` on, machines and unit files every 10 s and whenever a row has appeared or vanished.
pub fn polled(registry: &[RecordedReport], start: Duration) -> Vec<RecordedReport> {
    let took = Duration::from_millis(10);
    let end = registry.last().map_or(Duration::ZERO, |poll| poll.at);
    let mut due = FleetList::ALL.map(|list| (start + took * (1 + list as u32), list));
    let mut rows: Option<BTreeSet<UnitOnMachine>> = None;
    let mut polls = Vec::new();

    loop {
        let next = due.iter_mut().min().expect("there are lists");
        let (at, list) = *next;
        if at > end {
            return polls;
        }
        next.0 = at + Duration::from_secs(if list == FleetList::Units { 2 } else { 10 });

        let recorded = registry
            .iter()
            .rfind(|poll| poll.at <= at)
            .or(registry.first())
            .expect("the recording has polls");
        let outcome = match &recorded.outcome {
            Ok(Reading::Registry(registry)) => Ok(reading(registry, list)),
            Ok(_) => unreachable!("it is the recording of a registry"),
            Err(error) => Err(error.clone()),
        };

        let listed = if list == FleetList::Units {
            listed(&outcome)
        } else {
            None
        };
        if let Some(listed) = listed {
            let listed = listed.into_keys().collect();
            if rows.as_ref().is_some_and(|rows| *rows != listed) {
                due[FleetList::Machines as usize].0 = at + took;
                due[FleetList::UnitFiles as usize].0 = at + took * 2;
            }
            rows = Some(listed);
        }
        polls.push(RecordedReport {
            at,
            time: None,
            took,
            lists: list.alone(),
            schedule: None,
            outcome,
        });
    }
}

/// The list as read from this registry.
fn reading(registry: &RegistrySnapshot, list: FleetList) -> Reading {
    match list {
        FleetList::Units => Reading::Units { states: registry.states.to_vec(), files: None },
        FleetList::Machines => Reading::Machines { machines: registry.machines.to_vec() },
        FleetList::UnitFiles => Reading::UnitFiles { files: registry.files.to_vec() },
    }
}

/// The unit states of a poll, if it read them.
pub fn states(outcome: &Result<Reading, String>) -> Option<&[UnitState]> {
    match outcome {
        Ok(Reading::Units { states, .. }) => Some(states),
        Ok(Reading::Registry(registry)) => Some(&registry.states),
        _ => None,
    }
}

fn listed(outcome: &Result<Reading, String>) -> Option<BTreeMap<UnitOnMachine, Shown>> {
    let rows = states(outcome)?.iter().filter_map(|state| {
        let key = (state.unit.clone(), state.machine.clone()?);
        Some((key, Shown::raw(text(state))))
    });
    Some(rows.collect())
}

fn global(outcome: &Result<Reading, String>) -> impl Iterator<Item = UnitName> {
    let files: &[UnitFile] = match outcome {
        Ok(Reading::UnitFiles { files }) => files,
        Ok(Reading::Registry(registry)) => &registry.files,
        _ => &[],
    };
    files.iter().filter(|file| file.global).map(|file| file.unit.clone())
}

fn shown(view: &View) -> BTreeMap<UnitOnMachine, Shown> {
    let rows = view.units.iter().filter_map(|unit| {
        let key = (unit.state.unit.clone(), unit.state.machine.clone()?);
        Some((key, Shown::with_verdict(unit)))
    });
    rows.collect()
}

fn key(event: &Event) -> Option<UnitOnMachine> {
    let place = event.place()?;
    Some((place.unit.clone(), place.machine.clone()?))
}
