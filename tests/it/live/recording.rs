//! Plays a recording to a cluster, as a monitor that starts at some moment of it would have read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use fleet_monitor::cluster::{
    Cluster, Event, MachineId, Moment, Reading, RegistrySnapshot, Text, Topic, Transition, Unit, UnitFile, UnitName, UnitState,
    View,
};
use fleet_monitor::source::recording::{Entry, Poll, Reader};

pub const GRACE: Duration = Duration::from_secs(30);

/// A unit on a machine.
pub type Key = (UnitName, MachineId);

/// A file of `tests/fixtures/live`; one that ends in `.gz` is unpacked.
pub fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/live").join(name);
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
pub fn polls(name: &str) -> Vec<Poll> {
    let mut reader = Reader::default();
    let text = fixture(name);
    let entries = text.lines().filter_map(|line| reader.read(line).unwrap());

    let polls = entries.filter_map(|entry| match entry {
        Entry::Poll(poll) => Some(poll),
        Entry::Begin { .. } => None,
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
        Self { state: text(&unit.state), verdict: unit.verdict.name(), reason: (&*unit.reason).into() }
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
        let missing: Vec<Key> = self.0.keys().filter(|key| !rows.contains_key(key)).cloned().collect();

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
        self.changes(key).iter().take_while(|(since, _)| *since <= at).last()?.1.as_ref()
    }

    /// The times for which the row was as it was: from, to, how. The last one ends at `end`.
    pub fn spans(&self, key: &Key, end: Duration) -> impl Iterator<Item = (Duration, Duration, Option<&Shown>)> {
        let changes = self.changes(key);
        let ends = changes.iter().skip(1).map(|(at, _)| *at).chain([end]);
        changes.iter().zip(ends).map(|((from, shown), to)| (*from, to, shown.as_ref()))
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
    /// The last view.
    pub view: View,
}

/// Plays to one cluster all polls from `start` on.
pub fn watch(polls: &[Poll], start: Duration) -> Watched {
    watch_until(polls, start, Duration::MAX)
}

/// Plays to one cluster all polls from `start` until `end`.
pub fn watch_until(polls: &[Poll], start: Duration, end: Duration) -> Watched {
    let zero = Moment::now();
    let mut cluster = Cluster::new(GRACE);
    let mut watched = Watched { start, ..Watched::default() };

    for (at, took, topics, outcome) in heard(polls, start).take_while(|heard| heard.0 <= end) {
        if let Some(rows) = listed(&outcome) {
            watched.listed.set(at, rows);
            watched.heard.push(at);
        }
        watched.global.extend(global(&outcome));

        let happened: Vec<Arc<Transition>> = match outcome {
            Ok(reading) => cluster.read(reading, zero + at, took),
            Err(error) => cluster.fail(topics, &error, zero + at),
        };

        for transition in happened {
            // What was told as gone was so for an observer, even if it is back in the same view.
            if let (Event::Gone { .. }, Some(key)) = (&transition.event, key(&transition.event)) {
                watched.shown.push(key, at, None);
            }
            watched.events.push((at, transition.event.clone()));
        }
        watched.shown.set(at, shown(cluster.view()));
    }

    watched.view = (**cluster.view()).clone();
    watched
}

type Heard = (Duration, Duration, &'static [Topic], Result<Reading, String>);

/// What a monitor hears that starts at `start`. Where all topics are read at one moment, it first reads what was so by
/// then; elsewhere it hears of each topic for the first time when it was polled next.
fn heard(polls: &[Poll], start: Duration) -> impl Iterator<Item = Heard> {
    let first = polls.iter().rfind(|poll| poll.at < start).and_then(|poll| match &poll.outcome {
        Ok(Reading::Registry(registry)) => {
            let registry = RegistrySnapshot { expired: Vec::new(), ..registry.clone() };
            Some((start, poll.took, poll.topics, Ok(Reading::Registry(registry))))
        }
        _ => None,
    });

    let rest = polls.iter().filter(move |poll| poll.at >= start);
    first.into_iter().chain(rest.map(|poll| (poll.at, poll.took, poll.topics, poll.outcome.clone())))
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
