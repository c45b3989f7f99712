//! Plays a recording to a cluster, as a monitor that starts at some moment of it would have read
//! it.

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
use fleet_monitor::source::etcd::SETTLE;
use fleet_monitor::source::recording::{RecordedPoll, RecordingEntry, RecordingReader};

use crate::support::changes::follow;

pub const GRACE: Duration = Duration::from_secs(30);

/// A unit on a machine.
pub type Key = (UnitName, MachineId);

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
pub fn polls(name: &str) -> Vec<RecordedPoll> {
    let mut reader = RecordingReader::default();
    let text = fixture(name);
    let entries = text.lines().filter_map(|line| reader.read(line).unwrap());

    let polls = entries.filter_map(|entry| match entry {
        RecordingEntry::Poll(poll) => Some(poll),
        RecordingEntry::Begin { .. } => None,
    });
    polls.collect()
}

/// How a row is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// As `active/sub`.
    pub state: Text,
    /// The name of the verdict; empty where nobody judges.
    pub verdict: &'static str,
    pub reason: Text,
}

impl Shown {
    /// A state that nobody has judged.
    pub fn raw(state: Text) -> Self {
        Self { state, verdict: "", reason: "".into() }
    }

    fn judged(unit: &Unit) -> Self {
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
    let word = |word: &Option<Text>| word.clone().unwrap_or_else(|| "-".into());
    format!("{}/{}", word(&state.active), word(&state.sub)).into()
}

/// What each row was, and since when; `None` where it was not there.
#[derive(Clone, Debug, Default)]
pub struct History(BTreeMap<Key, Vec<(Duration, Option<Shown>)>>);

impl History {
    /// From `at` on, these are the rows, and no others.
    pub fn set(&mut self, at: Duration, rows: BTreeMap<Key, Shown>) {
        let missing: Vec<Key> =
            self.0.keys().filter(|key| !rows.contains_key(key)).cloned().collect();

        for key in missing {
            self.push(key, at, None);
        }
        for (key, shown) in rows {
            self.push(key, at, Some(shown));
        }
    }

    /// From `at` on, the row is so.
    pub fn push(&mut self, key: Key, at: Duration, shown: Option<Shown>) {
        let changes = self.0.entry(key).or_default();
        let is_news = match changes.last() {
            Some((_, last)) => *last != shown,
            None => shown.is_some(),
        };

        if is_news {
            changes.push((at, shown));
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.keys()
    }

    pub fn changes(&self, key: &Key) -> &[(Duration, Option<Shown>)] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    pub fn at(&self, key: &Key, at: Duration) -> Option<&Shown> {
        self.changes(key)
            .iter()
            .take_while(|(since, _)| *since <= at)
            .last()?
            .1
            .as_ref()
    }

    /// The times for which the row was as it was: from, to, how. The last one ends at `end`.
    pub fn spans(
        &self,
        key: &Key,
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

/// What a monitor saw that started at some moment of a recording.
#[derive(Default)]
pub struct Watched {
    pub start: Duration,
    /// The rows as they were shown.
    pub shown: History,
    /// The rows of the source's last list of units.
    pub listed: History,
    /// When a list of units was read.
    pub heard: Vec<Duration>,
    /// Units that run on several machines.
    pub global: BTreeSet<UnitName>,
    pub events: Vec<(Duration, Event)>,
}

/// Plays to one cluster all polls from `start` on, and keeps what it showed.
pub fn watch(polls: &[RecordedPoll], start: Duration) -> Watched {
    let mut watched = Watched { start, ..Watched::default() };

    let mut registry = RegistrySnapshot::default();

    play(polls, start, |at, outcome, happened, cluster| {
        let outcome = &match outcome {
            Ok(Reading::Changes { index, changes }) => {
                follow(&mut registry, *index, changes);
                Ok(Reading::Registry(registry.clone()))
            }
            other => other.clone(),
        };
        if let Ok(Reading::Registry(whole)) = outcome {
            registry.clone_from(whole);
        }
        if let Some(rows) = listed(outcome) {
            watched.listed.set(at, rows);
            watched.heard.push(at);
        }
        watched.global.extend(global(outcome));

        for transition in happened {
            // What was told as gone was so for an observer, even if it is back in the same view.
            if let (Event::Gone { .. }, Some(key)) = (&transition.event, key(&transition.event)) {
                watched.shown.push(key, at, None);
            }
            watched.events.push((at, transition.event.clone()));
        }
        watched.shown.set(at, shown(cluster.view()));
    });
    watched
}

/// Plays to one cluster all polls from `start` on. After each, `observe` gets when it was, what
/// came of it, what happened, and the cluster.
pub fn play<'a>(
    polls: impl IntoIterator<Item = &'a RecordedPoll>,
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

    let mut hear = |poll: &RecordedPoll| {
        let happened = match &poll.outcome {
            Ok(reading) => cluster.read(reading.clone(), zero + poll.at, poll.took),
            Err(error) => cluster.fail(poll.lists, error, zero + poll.at),
        };
        observe(poll.at, &poll.outcome, &happened, &cluster);
    };
    if let Some(first) = before.and_then(|before| first(before, start)) {
        hear(&first);
    }
    polls.for_each(hear);
}

/// What a monitor reads first that starts at `start`, after the poll before. Where all topics are
/// read at one moment, it is what was so by then; elsewhere it hears of each topic for the first
/// time when it was polled next.
fn first(before: &RecordedPoll, start: Duration) -> Option<RecordedPoll> {
    let Ok(Reading::Registry(registry)) = &before.outcome else {
        return None;
    };
    let registry = RegistrySnapshot { expired: Vec::new(), ..registry.clone() };
    Some(RecordedPoll {
        at: start,
        took: before.took,
        lists: before.lists,
        outcome: Ok(Reading::Registry(registry)),
    })
}

/// The recording of a registry as a monitor gets it that watches etcd from `start` on: a whole
/// registry, also after a failure, and then what has changed.
pub fn changes(registry: &[RecordedPoll], start: Duration) -> Vec<RecordedPoll> {
    let begun = registry
        .iter()
        .rfind(|poll| poll.at <= start)
        .and_then(|before| first(before, start));
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
    let mut polls: Vec<RecordedPoll> = polls.collect();

    // What was deleted is looked at again.
    let settled = |poll: &RecordedPoll| match &poll.outcome {
        Ok(reading @ Reading::Changes { index, .. }) if reading.ends_leases() => {
            let outcome = Ok(Reading::Changes { index: *index, changes: Vec::new() });
            Some(RecordedPoll { at: poll.at + SETTLE, outcome, ..poll.clone() })
        }
        _ => None,
    };
    let looks: Vec<RecordedPoll> = polls.iter().filter_map(settled).collect();
    polls.extend(looks);
    polls.sort_by_key(|poll| poll.at);
    polls
}

/// The changes that lead from one registry to another.
fn difference(before: &RegistrySnapshot, after: &RegistrySnapshot) -> Vec<Observation> {
    let mut changes = Vec::new();
    let ended = |lease: Lease| {
        if after.expired.contains(&lease) {
            Observation::Expired(lease)
        } else {
            Observation::Deleted(lease)
        }
    };

    let states = after.states.iter().filter(|state| !before.states.contains(state));
    changes.extend(states.cloned().map(Observation::Reported));
    let is_left = |state: &&UnitState| {
        !after
            .states
            .iter()
            .any(|it| (&it.unit, &it.machine) == (&state.unit, &state.machine))
    };
    for state in before.states.iter().filter(is_left) {
        let machine = state.machine.clone().expect("states are of machines");
        changes.push(ended(Lease::Unit(state.unit.clone(), machine)));
    }

    let machines = after
        .machines
        .iter()
        .filter(|machine| !before.machines.contains(machine));
    changes.extend(machines.cloned().map(Observation::MachineSeen));
    for machine in before
        .machines
        .iter()
        .filter(|machine| !after.machines.iter().any(|it| it.id == machine.id))
    {
        changes.push(ended(Lease::Machine(machine.id.clone())));
    }

    let files = after.files.iter().filter(|file| !before.files.contains(file));
    changes.extend(files.cloned().map(Observation::Wanted));
    for file in before
        .files
        .iter()
        .filter(|file| !after.files.iter().any(|it| it.unit == file.unit))
    {
        changes.push(Observation::NotWanted(file.unit.clone()));
    }
    if before.leader != after.leader {
        changes.push(Observation::Leads(after.leader.clone()));
    }

    let is_overdue =
        |registry: &RegistrySnapshot, lease| registry.overdue.iter().any(|(it, _)| it == lease);
    let overdue = after.overdue.iter().filter(|(lease, _)| !is_overdue(before, lease));
    changes.extend(overdue.map(|(lease, age)| Observation::Overdue(lease.clone(), *age)));
    let renewed = before.overdue.iter().filter(|(lease, _)| !is_overdue(after, lease));
    changes.extend(renewed.map(|(lease, _)| Observation::Renewed(lease.clone())));
    changes
}

/// The recording of a registry as a monitor would have got it that asks for lists: the units every
/// 2 s, beginning at `start`, machines and unit files every 10 s and whenever a row has appeared or
/// vanished.
pub fn polled(registry: &[RecordedPoll], start: Duration) -> Vec<RecordedPoll> {
    let took = Duration::from_millis(10);
    let end = registry.last().map_or(Duration::ZERO, |poll| poll.at);
    let mut due = FleetList::ALL.map(|topic| (start + took * (1 + topic as u32), topic));
    let mut rows: Option<BTreeSet<Key>> = None;
    let mut polls = Vec::new();

    loop {
        let next = due.iter_mut().min().expect("there are topics");
        let (at, topic) = *next;
        if at > end {
            return polls;
        }
        next.0 = at + Duration::from_secs(if topic == FleetList::Units { 2 } else { 10 });

        let then = registry
            .iter()
            .rfind(|poll| poll.at <= at)
            .or(registry.first())
            .expect("the recording has polls");
        let outcome = match &then.outcome {
            Ok(Reading::Registry(registry)) => Ok(list(registry, topic)),
            Ok(_) => unreachable!("it is the recording of a registry"),
            Err(error) => Err(error.clone()),
        };

        let listed = if topic == FleetList::Units {
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
        polls.push(RecordedPoll { at, took, lists: topic.alone(), outcome });
    }
}

fn list(registry: &RegistrySnapshot, topic: FleetList) -> Reading {
    match topic {
        FleetList::Units => Reading::Units { states: registry.states.to_vec(), files: None },
        FleetList::Machines => Reading::Machines { machines: registry.machines.to_vec() },
        FleetList::UnitFiles => Reading::UnitFiles { files: registry.files.to_vec() },
    }
}

fn listed(outcome: &Result<Reading, String>) -> Option<BTreeMap<Key, Shown>> {
    let states: &[UnitState] = match outcome {
        Ok(Reading::Units { states, .. }) => states,
        Ok(Reading::Registry(registry)) => &registry.states,
        _ => return None,
    };

    let rows = states.iter().filter_map(|state| {
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

fn shown(view: &View) -> BTreeMap<Key, Shown> {
    let rows = view.units.iter().filter_map(|unit| {
        let key = (unit.state.unit.clone(), unit.state.machine.clone()?);
        Some((key, Shown::judged(unit)))
    });
    rows.collect()
}

fn key(event: &Event) -> Option<Key> {
    let place = event.place()?;
    Some((place.unit.clone(), place.machine.clone()?))
}
