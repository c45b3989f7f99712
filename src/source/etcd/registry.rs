//! fleet's registry as a tree of keys, and the rows that it means.
//!
//! The rows are the same, column for column, as fleetctl makes of the same keys. Where fleet keeps what:
//!
//! ```text
//! job/UNIT/object, target-state, target   what fleet wants, and where
//! unit/HASH                               the text of a unit file
//! states/UNIT/MACHINE                     what a machine reports (fleet 0.6 and later); expires
//! state/UNIT                              the same (0.5, and for its sake later ones too)
//! machines/ID/object, metadata/KEY        who is there; expires
//! lease/engine-leader                     whose engine schedules (0.7 and later); expires
//! ```
//!
//! Pure: time is passed in. It knows neither sockets nor who asks.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::keys::{Action, Event, Node};
use crate::cluster::{Lease, Machine, MachineId, RegistrySnapshot as Reading, Text, UnitFile, UnitName, UnitState};
use crate::source::rows::{filled, join, metadata, printable};
use crate::source::unit_file::{self, UnitOption};

/// What is left of a state's time when its renewal is overdue. fleet renews it after half of its time (to v0.11) or four
/// fifths (v1.0.0).
const STATE_OVERDUE: f64 = 0.1;
/// The same for a machine, which fleet renews after half of its time.
const MACHINE_OVERDUE: f64 = 0.25;
/// An etcd that is not heard for so long stands still, as far as anybody knows. Its shell looks at it each 2 s.
const STILL: Duration = Duration::from_millis(2500);
/// etcd tells the time that is left in whole seconds, rounded up.
const ROUNDED: Duration = Duration::from_secs(1);

/// fleet's registry at one index.
#[derive(Debug, Default)]
pub struct Registry {
    prefix: String,
    index: u64,
    entries: BTreeMap<String, Entry>,
    /// Whether states are in `states/`, and those in `state/` are the same once more.
    has_states: bool,
    states: Arc<[UnitState]>,
    machines: Arc<[Machine]>,
    files: Arc<[UnitFile]>,
    changed: Changed,
    expired: Vec<Lease>,
    /// When etcd was last heard.
    heard: Option<Instant>,
    /// What was taken away while a check is under way, and at which index.
    taken_away: Option<BTreeMap<String, u64>>,
}

/// Which lists have to be made anew.
#[derive(Clone, Copy, Debug, Default)]
struct Changed {
    states: bool,
    machines: bool,
    files: bool,
    /// Something that is in no list.
    other: bool,
}

#[derive(Debug)]
struct Entry {
    value: Box<str>,
    modified: u64,
    /// When it expires, and how much time it was given.
    lease: Option<(Instant, Duration)>,
    meaning: Meaning,
}

/// What an entry says.
#[derive(Debug, PartialEq)]
enum Meaning {
    /// A unit on a machine; without the machine's address.
    State(UnitState),
    /// A machine, with the metadata that it began with.
    Machine(Box<MachineObject>),
    /// The metadata that was given to a machine since; empty: taken from it.
    Metadata,
    /// The hash of a unit's file.
    Object(Option<Text>),
    /// What fleet wants of a unit.
    TargetState,
    /// Where fleet wants it.
    Target,
    /// What a unit file says.
    File(Box<File>),
    /// Who schedules.
    Leader(Option<MachineId>),
    /// Nothing, since it is not what it should be.
    Nonsense,
}

#[derive(Debug, PartialEq)]
struct File {
    description: Option<Text>,
    global: bool,
    requirements: Vec<Text>,
}

/// The value of `machines/ID/object` (fleet's `machine/state.go`).
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MachineObject {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default, rename = "PublicIP")]
    public_ip: String,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    version: String,
}

/// The value of `states/UNIT/MACHINE` (fleet's `registry/unit_state.go`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateObject {
    load_state: String,
    active_state: String,
    sub_state: String,
    machine_state: Option<StateMachine>,
    #[serde(default)]
    unit_hash: String,
}

#[derive(Deserialize)]
struct StateMachine {
    #[serde(rename = "ID")]
    id: String,
}

impl Registry {
    /// Nothing yet. `prefix` is the whole key of fleet's directory.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::default() }
    }

    /// The index of the newest thing in it.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many keys it has.
    pub fn keys(&self) -> usize {
        self.entries.len()
    }

    /// etcd is heard. As long as it was not, nobody could renew anything: that time is nobody's delay.
    pub fn hear(&mut self, now: Instant) {
        let stood_still = self.stood_still(now);
        if !stood_still.is_zero() {
            for (expires, _) in self.entries.values_mut().filter_map(|entry| entry.lease.as_mut()) {
                *expires += stood_still;
            }
        }
    }

    /// How long etcd stood still until now.
    fn stood_still(&mut self, now: Instant) -> Duration {
        let silence = now.saturating_duration_since(self.heard.replace(now).unwrap_or(now));
        if silence >= STILL { silence } else { Duration::ZERO }
    }

    /// Takes the whole tree as it was at an index, in place of what it had.
    pub fn load(&mut self, tree: Node, index: u64, now: Instant) {
        let stood_still = self.stood_still(now);
        let before = std::mem::take(&mut self.entries);
        self.taken_away = None;
        self.changed = Changed { states: true, machines: true, files: true, other: true };
        let states = format!("{}/states", self.prefix);
        self.has_states = tree.nodes.iter().any(|node| node.key == states);
        let mut nodes = vec![tree];
        while let Some(mut node) = nodes.pop() {
            nodes.append(&mut node.nodes);
            self.write(node, now);
        }
        // What is left of the time of each says how much time they were given at least.
        for kind in [Entry::is_state, Entry::is_machine] {
            let leases = self.entries.values_mut().filter(|entry| kind(entry)).filter_map(|entry| entry.lease.as_mut());
            let leases: Vec<_> = leases.collect();
            let longest = leases.iter().map(|(_, given)| *given).max().unwrap_or_default();
            for (expires, given) in leases {
                (*expires, *given) = (*expires + stood_still, longest + stood_still);
            }
        }
        // Nobody was told what became of what is not there any more: it has expired if its time may be over.
        let is_over = |entry: &Entry| entry.lease.is_some_and(|(expires, _)| expires <= now + ROUNDED);
        let gone = before.iter().filter(|(key, entry)| !self.entries.contains_key(*key) && is_over(entry));
        self.expired.extend(gone.filter_map(|(_, entry)| entry.heartbeat()));
        self.index = index;
    }

    /// Takes one event.
    pub fn apply(&mut self, event: Event, now: Instant) {
        self.index = self.index.max(event.node.modified_index);
        match event.action {
            Action::Set | Action::Create | Action::Update | Action::CompareAndSwap => self.write(event.node, now),
            Action::Delete | Action::CompareAndDelete => self.remove(&event.node, false),
            Action::Expire => self.remove(&event.node, true),
            Action::Other => {}
        }
    }

    fn write(&mut self, node: Node, now: Instant) {
        let Some(key) = below(&self.prefix, &node.key) else { return };
        let ttl = node.ttl();
        let Some(value) = node.value.filter(|_| !node.dir) else { return };
        if key.starts_with("states/") && !self.has_states {
            // The cluster has just been given a newer fleet.
            self.has_states = true;
            self.entries.retain(|key, _| !key.starts_with("state/"));
        }
        if self.has_states && key.starts_with("state/") {
            return;
        }
        let Some(kind) = Kind::of(key) else { return };
        let lease = ttl.map(|ttl| (now + ttl, ttl));
        if let Some(same) = self.entries.get_mut(key).filter(|entry| *entry.value == *value) {
            (same.modified, same.lease) = (node.modified_index, lease);
        } else {
            let meaning = kind.meaning(&value);
            self.changed.note(&meaning);
            // A unit file's key is the hash of its text: that never changes, and nobody need keep it.
            let value = if matches!(kind, Kind::File) { String::new() } else { value };
            let entry = Entry { value: value.into(), modified: node.modified_index, lease, meaning };
            if let Some(before) = self.entries.insert(key.to_owned(), entry) {
                self.changed.note(&before.meaning);
            }
        }
    }

    fn remove(&mut self, node: &Node, has_expired: bool) {
        let Some(key) = below(&self.prefix, &node.key) else { return };
        let own = self.entries.contains_key(key).then(|| key.to_owned());
        let keys: Vec<String> =
            own.into_iter().chain(inside(&self.entries, &format!("{key}/")).map(|(key, _)| key.clone())).collect();
        for key in keys {
            let Some(entry) = self.entries.remove(&key) else { continue };
            self.changed.note(&entry.meaning);
            if has_expired && let Some(heartbeat) = entry.heartbeat() {
                self.expired.push(heartbeat);
            }
            if let Some(taken_away) = &mut self.taken_away {
                taken_away.insert(key, node.modified_index);
            }
        }
    }

    /// Whether what it means may have changed since it was last read.
    pub fn has_changed(&self) -> bool {
        let Changed { states, machines, files, other } = self.changed;
        states || machines || files || other
    }

    /// All that it means.
    pub fn read(&mut self, now: Instant) -> Reading {
        let changed = std::mem::take(&mut self.changed);
        if changed.machines {
            renew(&mut self.machines, machines(&self.entries));
        }
        if changed.states || changed.machines {
            let mut states: Vec<UnitState> = self.entries.values().filter_map(Entry::state).cloned().collect();
            join(&mut states, &self.machines);
            states.sort_by(|a, b| (&a.unit, &a.machine).cmp(&(&b.unit, &b.machine)));
            renew(&mut self.states, states);
        }
        if changed.files {
            renew(&mut self.files, files(&self.entries));
        }
        let heartbeats: Vec<Lease> = std::mem::take(&mut self.expired);
        let is_back = |heartbeat: &Lease| match heartbeat {
            Lease::Machine(id) => self.machines.iter().any(|machine| machine.id == *id),
            Lease::Unit(unit, machine) => {
                let key = (unit, Some(machine));
                self.states.binary_search_by(|state| (&state.unit, state.machine.as_ref()).cmp(&key)).is_ok()
            }
        };
        Reading {
            index: self.index,
            states: self.states.clone(),
            machines: self.machines.clone(),
            files: self.files.clone(),
            leader: self.entries.get("lease/engine-leader").and_then(|entry| match &entry.meaning {
                Meaning::Leader(leader) => leader.clone(),
                _ => None,
            }),
            expired: heartbeats.into_iter().filter(|heartbeat| !is_back(heartbeat)).collect(),
            overdue: self.entries.values().filter_map(|entry| entry.overdue(now)).collect(),
        }
    }

    /// Keeps in mind from now on what is taken away, for [`Registry::differences`].
    pub fn begin_check(&mut self) {
        self.taken_away = Some(BTreeMap::new());
    }

    /// In how many keys a tree that was read at an index differs from what it has, where neither is newer than the
    /// other.
    pub fn differences(&mut self, tree: Node, index: u64, now: Instant) -> usize {
        let taken_away = self.taken_away.take().unwrap_or_default();
        let mut read = Self::new(&self.prefix);
        read.load(tree, index, now);
        let wrong = |(key, entry): &(&String, &Entry)| match self.entries.get(*key) {
            Some(ours) if ours.modified > index => false,
            Some(ours) => (ours.modified, &ours.value) != (entry.modified, &entry.value),
            None => taken_away.get(*key).is_none_or(|taken| *taken <= index),
        };
        let missed = |(key, ours): &(&String, &Entry)| ours.modified <= index && !read.entries.contains_key(*key);
        read.entries.iter().filter(wrong).count() + self.entries.iter().filter(missed).count()
    }
}

/// Whether a tree has anything that fleet puts there: if not, it may be anybody's.
pub fn is_fleets(tree: &Node) -> bool {
    let folders = tree.nodes.iter().filter_map(|node| node.key.rsplit('/').next());
    folders.filter(|_| tree.dir).any(|name| ["machines", "job", "engine", "lease"].contains(&name))
}

/// A list that has turned out the same stays the same in memory.
fn renew<T: PartialEq>(list: &mut Arc<[T]>, new: Vec<T>) {
    if **list != *new {
        *list = new.into();
    }
}

/// What is in a directory, which is named with its last `/`.
fn inside<'a>(entries: &'a BTreeMap<String, Entry>, folder: &str) -> impl Iterator<Item = (&'a String, &'a Entry)> {
    let from = (Bound::Included(folder), Bound::Unbounded);
    entries.range::<str, _>(from).take_while(move |(key, _)| key.starts_with(folder))
}

/// The part of a key below a directory.
fn below<'a>(prefix: &str, key: &'a str) -> Option<&'a str> {
    key.strip_prefix(prefix)?.strip_prefix('/')
}

impl Changed {
    fn note(&mut self, meaning: &Meaning) {
        match meaning {
            Meaning::State(_) => self.states = true,
            Meaning::Machine(_) | Meaning::Metadata => self.machines = true,
            Meaning::Object(_) | Meaning::TargetState | Meaning::Target | Meaning::File(_) => self.files = true,
            Meaning::Leader(_) => self.other = true,
            Meaning::Nonsense => {}
        }
    }
}

/// What a key is for.
enum Kind<'a> {
    State { unit: &'a str, machine: Option<&'a str> },
    Machine,
    Metadata,
    Object,
    TargetState,
    Target,
    File,
    Leader,
}

impl<'a> Kind<'a> {
    fn of(key: &'a str) -> Option<Self> {
        let parts: Vec<&str> = key.split('/').collect();
        match *parts {
            ["states", unit, machine] => Some(Kind::State { unit, machine: Some(machine) }),
            ["state", unit] => Some(Kind::State { unit, machine: None }),
            ["machines", _, "object"] => Some(Kind::Machine),
            ["machines", _, "metadata", _] => Some(Kind::Metadata),
            ["job", _, "object"] => Some(Kind::Object),
            ["job", _, "target-state"] => Some(Kind::TargetState),
            ["job", _, "target"] => Some(Kind::Target),
            ["unit", _] => Some(Kind::File),
            ["lease", "engine-leader"] => Some(Kind::Leader),
            _ => None,
        }
    }

    fn meaning(&self, value: &str) -> Meaning {
        match self {
            Kind::State { unit, machine } => {
                serde_json::from_str(value).map_or(Meaning::Nonsense, |state| state_meaning(unit, *machine, &state))
            }
            Kind::Machine => serde_json::from_str(value).map_or(Meaning::Nonsense, Meaning::Machine),
            Kind::Metadata => Meaning::Metadata,
            Kind::Object => Meaning::Object(unit_hash(value)),
            Kind::TargetState => Meaning::TargetState,
            Kind::Target => Meaning::Target,
            Kind::File => Meaning::File(Box::new(file(value))),
            Kind::Leader => Meaning::Leader(leader(value)),
        }
    }
}

fn state_meaning(unit: &str, machine: Option<&str>, state: &StateObject) -> Meaning {
    let reporting = state.machine_state.as_ref().map(|machine| machine.id.as_str());
    let Some(machine) = filled(machine.or(reporting)) else { return Meaning::Nonsense };
    Meaning::State(UnitState {
        unit: printable(unit),
        machine: Some(machine),
        ip: None,
        load: filled(Some(&state.load_state)),
        active: filled(Some(&state.active_state)),
        sub: filled(Some(&state.sub_state)),
        hash: filled(Some(&state.unit_hash)),
    })
}

/// The hash in `job/UNIT/object`, which has it as a list of bytes.
fn unit_hash(value: &str) -> Option<Text> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Object {
        unit_hash: [u8; 20],
    }
    let object: Object = serde_json::from_str(value).ok()?;
    Some(object.unit_hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

fn file(value: &str) -> File {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Object {
        raw: String,
    }
    let options: Vec<UnitOption> =
        serde_json::from_str(value).map(|object: Object| unit_file::options(&object.raw)).unwrap_or_default();
    File {
        description: unit_file::description(&options),
        global: unit_file::is_global(&options),
        requirements: unit_file::requirements(&options),
    }
}

/// The value of `lease/engine-leader` (fleet's `pkg/lease/etcd.go`).
fn leader(value: &str) -> Option<MachineId> {
    #[derive(Deserialize)]
    struct Lease {
        #[serde(rename = "MachineID")]
        machine_id: String,
    }
    serde_json::from_str(value).ok().map(|lease: Lease| printable(&lease.machine_id))
}

impl Entry {
    fn is_state(&self) -> bool {
        matches!(self.meaning, Meaning::State(_))
    }

    fn is_machine(&self) -> bool {
        matches!(self.meaning, Meaning::Machine(_))
    }

    fn state(&self) -> Option<&UnitState> {
        match &self.meaning {
            Meaning::State(state) => Some(state),
            _ => None,
        }
    }

    fn heartbeat(&self) -> Option<Lease> {
        match &self.meaning {
            Meaning::State(state) => Some(Lease::Unit(state.unit.clone(), state.machine.clone()?)),
            Meaning::Machine(machine) => Some(Lease::Machine(printable(&machine.id))),
            _ => None,
        }
    }

    /// For how long it has not been renewed, if it should have been by now.
    fn overdue(&self, now: Instant) -> Option<(Lease, Duration)> {
        let (expires, given) = self.lease?;
        let left = expires.saturating_duration_since(now);
        let least = match &self.meaning {
            Meaning::State(_) => STATE_OVERDUE,
            Meaning::Machine(_) => MACHINE_OVERDUE,
            _ => return None,
        };
        if left >= given.mul_f64(least) { None } else { Some((self.heartbeat()?, given - left)) }
    }
}

/// The machines, each with its own metadata and what was added since (fleet v1.0.0, `registry/machine.go`).
fn machines(entries: &BTreeMap<String, Entry>) -> Vec<Machine> {
    let objects = inside(entries, "machines/").filter_map(|(key, entry)| match &entry.meaning {
        Meaning::Machine(object) => Some((key, &**object)),
        _ => None,
    });
    let machine = |(key, object): (&String, &MachineObject)| {
        let mut pairs = object.metadata.clone().unwrap_or_default();
        let folder = format!("{}metadata/", key.trim_end_matches("object"));
        for (key, entry) in inside(entries, &folder) {
            let name = &key[folder.len()..];
            if entry.value.is_empty() {
                pairs.remove(name);
            } else {
                pairs.insert(name.to_owned(), entry.value.to_string());
            }
        }
        Machine {
            id: printable(&object.id),
            ip: filled(Some(&object.public_ip)),
            metadata: metadata(&pairs),
            // With a `v` since 0.12.
            version: filled(object.version.strip_prefix('v').or(Some(&object.version))),
        }
    };
    objects.map(machine).collect()
}

/// What fleet wants. A unit without an object is none: what is left of one that was destroyed.
fn files(entries: &BTreeMap<String, Entry>) -> Vec<UnitFile> {
    let file = |(key, entry): (&String, &Entry)| {
        let Meaning::Object(hash) = &entry.meaning else { return None };
        let folder = key.strip_suffix("object")?;
        let unit: UnitName = printable(folder.strip_prefix("job/")?.strip_suffix('/')?);
        let value = |name: &str| entries.get(&format!("{folder}{name}")).map(|entry| &*entry.value);
        let file = hash.as_ref().and_then(|hash| match &entries.get(&format!("unit/{hash}"))?.meaning {
            Meaning::File(file) => Some(file),
            _ => None,
        });
        let target: Option<MachineId> = filled(value("target"));
        Some(UnitFile {
            unit,
            hash: hash.clone(),
            desired: filled(value("target-state")),
            // Before 0.13 fleet knew `true` alone, and gave a unit with `Global=yes` to one machine like any other.
            global: target.is_none() && file.is_some_and(|file| file.global),
            target,
            target_known: true,
            description: file.and_then(|file| file.description.clone()),
            requirements: file.map(|file| file.requirements.clone()).unwrap_or_default(),
            requirements_known: file.is_some(),
        })
    };
    inside(entries, "job/").filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: &str = "/_coreos.com/fleet";
    const STATE: &str = r#"{"loadState":"loaded","activeState":"active","subState":"running","machineState":{"ID":"m1","PublicIP":"","Metadata":null},"unitHash":"5e2b"}"#;
    const MACHINE: &str = r#"{"ID":"m1","PublicIP":"10.0.0.1","Metadata":{"role":"web"},"Version":"1.0.0"}"#;

    fn nothing() -> Node {
        serde_json::from_value(serde_json::json!({"key": FLEET, "dir": true})).unwrap()
    }

    /// A registry and its clock.
    struct Clock {
        registry: Registry,
        start: Instant,
        index: u64,
    }

    impl Clock {
        /// With `a.service` on m1, all of it given 30 s, at which 30 s begin.
        fn new() -> Self {
            let mut registry = Registry::new(FLEET);
            let start = Instant::now();
            registry.load(nothing(), 10, start);
            let mut clock = Self { registry, start, index: 10 };
            clock.happens(0, "set", "machines/m1/object", Some(MACHINE), Some(30));
            clock.happens(0, "set", "states/a.service/m1", Some(STATE), Some(30));
            clock.read(0);
            clock
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn happens(&mut self, second: u64, action: &str, key: &str, value: Option<&str>, ttl: Option<u64>) {
            self.index += 1;
            let mut node = serde_json::json!({"key": format!("{FLEET}/{key}"), "modifiedIndex": self.index});
            if let Some(value) = value {
                node["value"] = value.into();
            }
            if let Some(ttl) = ttl {
                node["ttl"] = ttl.into();
                node["expiration"] = "2026-11-23T08:07:17Z".into();
            }
            let event = serde_json::json!({"action": action, "node": node});
            self.registry.apply(serde_json::from_value(event).unwrap(), self.at(second));
        }

        fn read(&mut self, second: u64) -> Reading {
            self.registry.read(self.at(second))
        }
    }

    fn unit() -> Lease {
        Lease::Unit("a.service".into(), "m1".into())
    }

    #[test]
    fn a_renewal_changes_nothing_but_the_life() {
        let mut clock = Clock::new();
        let before = clock.read(25);
        clock.happens(25, "set", "states/a.service/m1", Some(STATE), Some(30));
        assert!(!clock.registry.has_changed());
        let after = clock.read(26);
        assert!(Arc::ptr_eq(&before.states, &after.states));
        assert_eq!(before.states[0].ip.as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn what_is_not_renewed_is_overdue_and_then_expired() {
        let mut clock = Clock::new();
        let machine = || Lease::Machine("m1".into());
        assert_eq!(clock.read(22).overdue, []);
        assert_eq!(clock.read(23).overdue, [(machine(), Duration::from_secs(23))]);
        clock.happens(24, "update", "machines/m1/object", Some(MACHINE), Some(30));
        assert_eq!(clock.read(25).overdue, []);
        assert_eq!(clock.read(27).overdue, []);
        assert_eq!(clock.read(28).overdue, [(unit(), Duration::from_secs(28))]);
        clock.happens(30, "expire", "states/a.service/m1", None, None);
        let told = clock.read(30);
        assert_eq!((told.states.len(), told.expired, told.overdue.len()), (0, vec![unit()], 0));
        assert_eq!(clock.read(31).expired, [], "told once");
    }

    #[test]
    fn what_was_given_less_time_is_overdue_sooner() {
        let mut clock = Clock::new();
        clock.happens(1, "set", "states/a.service/m1", Some(STATE), Some(20));
        assert_eq!(clock.read(19).overdue, []);
        assert_eq!(clock.read(20).overdue, [(unit(), Duration::from_secs(19))]);
    }

    #[test]
    fn what_is_back_has_not_expired() {
        let mut clock = Clock::new();
        let before = clock.read(0).states;
        clock.happens(30, "expire", "states/a.service/m1", None, None);
        clock.happens(30, "set", "states/a.service/m1", Some(STATE), Some(30));
        let told = clock.read(30);
        assert_eq!(told.expired, []);
        assert!(Arc::ptr_eq(&before, &told.states), "nothing has changed");
    }

    #[test]
    fn a_directory_goes_with_all_that_is_in_it_and_nothing_else() {
        let mut clock = Clock::new();
        clock.happens(1, "set", "states/a.service/m2", Some(STATE), Some(30));
        clock.happens(1, "set", "states/a.service2/m1", Some(STATE), Some(30));
        clock.happens(1, "set", "states/a.servic/m1", Some(STATE), Some(30));
        clock.happens(2, "delete", "states/a.service", None, None);
        let told = clock.read(2);
        let left: Vec<&str> = told.states.iter().map(|state| &*state.unit).collect();
        assert_eq!(left, ["a.servic", "a.service2"]);
        assert_eq!(told.expired, [], "it was taken away");
    }

    #[test]
    fn states_of_an_old_fleet_count_until_a_new_one_writes_its_own() {
        let mut registry = Registry::new(FLEET);
        let now = Instant::now();
        registry.load(nothing(), 10, now);
        let mut clock = Clock { registry, start: now, index: 10 };
        clock.happens(0, "set", "state/a.service", Some(STATE), None);
        let told = clock.read(0);
        assert_eq!(told.states[0].machine.as_deref(), Some("m1"));
        clock.happens(1, "set", "states/b.service/m2", Some(STATE), Some(30));
        clock.happens(1, "set", "state/b.service", Some(STATE), Some(30));
        let units: Vec<UnitName> = clock.read(1).states.iter().map(|state| state.unit.clone()).collect();
        assert_eq!(units, ["b.service".into()]);
    }

    #[test]
    fn metadata_that_was_set_since_counts() {
        let mut clock = Clock::new();
        clock.happens(1, "set", "machines/m1/metadata/rack", Some("7"), None);
        clock.happens(1, "set", "machines/m1/metadata/role", Some(""), None);
        assert_eq!(clock.read(1).machines[0].metadata.as_deref(), Some("rack=7"));
        clock.happens(2, "delete", "machines/m1/metadata/role", None, None);
        assert_eq!(clock.read(2).machines[0].metadata.as_deref(), Some("rack=7,role=web"));
    }

    #[test]
    fn no_key_and_no_value_brings_a_control_character_into_a_row() {
        let mut clock = Clock::new();
        clock.happens(1, "set", "machines/m1/metadata/rack", Some("7\tleft,\x1b[31mred"), None);
        clock.happens(1, "set", "states/a\n.service/m1", Some(STATE), Some(30));
        clock.happens(1, "set", "job/a\n.service/object", Some("{}"), None);
        clock.happens(1, "set", "job/a\n.service/target-state", Some("launched\r\n"), None);
        let read = clock.read(1);
        assert_eq!(read.machines[0].metadata.as_deref(), Some("rack=7\tleft,\u{fffd}[31mred,role=web"));
        assert_eq!(read.states[1].unit, "a\u{fffd}.service".into());
        assert_eq!(read.files[0].unit, read.states[1].unit);
        assert_eq!(read.files[0].desired.as_deref(), Some("launched\u{fffd}\u{fffd}"));
    }

    #[test]
    fn nonsense_is_passed_over() {
        let mut clock = Clock::new();
        for key in ["machines/m2/object", "states/b.service/m1", "lease/engine-leader", "job/b.service/object"] {
            clock.happens(1, "set", key, Some("nonsense"), None);
        }
        let told = clock.read(1);
        assert_eq!((told.machines.len(), told.states.len(), told.leader), (1, 1, None));
        assert_eq!((&*told.files[0].unit, &told.files[0].hash), ("b.service", &None));
    }

    #[test]
    fn a_check_finds_what_the_watch_was_never_told() {
        let tree = |nodes: &[(&str, &str, u64)]| {
            let leaf = |(key, value, index): &(&str, &str, u64)| serde_json::json!({"key": format!("{FLEET}/{key}"), "value": value, "modifiedIndex": index});
            let nodes: Vec<_> = nodes.iter().map(leaf).collect();
            let states = serde_json::json!({"key": format!("{FLEET}/states"), "dir": true, "nodes": nodes});
            let tree = serde_json::json!({"key": FLEET, "dir": true, "nodes": [states]});
            serde_json::from_value::<Node>(tree).unwrap()
        };
        let (machine, a) = (("machines/m1/object", MACHINE, 11), ("states/a.service/m1", STATE, 12));
        let differences = |happens: &[(&str, &str)], index: u64, nodes: &[(&str, &str, u64)]| {
            let mut clock = Clock::new();
            clock.registry.begin_check();
            for (action, key) in happens {
                clock.happens(1, action, key, Some(STATE).filter(|_| *action == "set"), Some(30));
            }
            let now = clock.at(1);
            clock.registry.differences(tree(nodes), index, now)
        };
        assert_eq!(differences(&[], 12, &[machine, a]), 0);
        assert_eq!(differences(&[], 12, &[machine]), 1, "we have it, and it is not there");
        assert_eq!(differences(&[], 13, &[machine, a, ("states/b.service/m1", STATE, 13)]), 1, "we lack it");
        assert_eq!(differences(&[], 13, &[machine, ("states/a.service/m1", "{}", 13)]), 1, "ours is older");
        // What happened after the tree was read is no difference.
        assert_eq!(differences(&[("set", "states/b.service/m1")], 12, &[machine, a]), 0);
        assert_eq!(differences(&[("set", "states/a.service/m1")], 12, &[machine, a]), 0);
        assert_eq!(differences(&[("delete", "states/a.service")], 12, &[machine, a]), 0);
        assert_eq!(differences(&[("delete", "states/a.service")], 13, &[machine, a]), 1, "it was there after that");
    }
}
