//! fleet's registry as a tree of keys: what an event of etcd changes in it, and what is due by its
//! leases.
//!
//! Where fleet keeps what:
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
//! Pure: time is passed in. It knows neither sockets nor who asks, and leaves what a value says to
//! `value`.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::keys::{Action, KeyEvent, Node};
use super::value::{File, Kind, Value, fingerprint};
use super::words::Words;
use crate::cluster::{
    Lease, Machine, MachineId, Observation, RegistrySnapshot, Text, UnitFile, UnitName, UnitState,
};
use crate::source::rows::{join, printable};

/// What is left of a state's time when its renewal is overdue. fleet renews it after half of its
/// time (to v0.11) or four fifths (v1.0.0).
const STATE_OVERDUE: f64 = 0.1;
/// The same for a machine, which fleet renews after half of its time.
const MACHINE_OVERDUE: f64 = 0.25;
/// An etcd from which nothing was received for so long stands still, as far as anybody knows. It is
/// asked every 2 s.
const STILL: Duration = Duration::from_millis(2500);
/// etcd gives the time that is left in whole seconds, rounded up.
const ROUNDED: Duration = Duration::from_secs(1);
/// The directories whose keys have leases.
const LEASED: [&str; 3] = ["machines/", "state/", "states/"];

/// fleet's registry at one index.
#[derive(Debug)]
pub struct KeyTree {
    prefix: String,
    index: u64,
    entries: BTreeMap<Box<str>, KeyEntry>,
    /// Whether states are in `states/`, and those in `state/` are the same once more.
    has_states: bool,
    /// The hash of each unit's file with the unit: whom a unit file is for.
    users: BTreeSet<(Text, Text)>,
    words: Words,
    touched: Touched,
    /// The leases that expired while nobody watched.
    expired: Vec<Lease>,
    /// The keys that were said to be overdue.
    overdue: BTreeSet<Box<str>>,
    /// No lease becomes overdue earlier.
    next_overdue: Option<Instant>,
    /// When something was last received from etcd.
    received: Option<Instant>,
    /// What was deleted while a check is under way, and at which index.
    deleted: Option<BTreeMap<Box<str>, u64>>,
}

#[derive(Debug)]
struct KeyEntry {
    value: Value,
    /// Of the text that the value was made of.
    fingerprint: u64,
    modified: u64,
    lease: Option<Granted>,
}

/// The time that a key was given.
#[derive(Clone, Copy, Debug)]
struct Granted {
    until: Instant,
    time: Duration,
}

/// What has changed since that was last asked.
#[derive(Debug, Default)]
struct Touched {
    /// The keys with leases, and what became of the lease that was there before.
    leases: BTreeMap<Box<str>, Option<Ended>>,
    /// The units of which fleet wants something else.
    units: BTreeSet<Text>,
    leader: bool,
    renewed: Vec<Lease>,
}

#[derive(Debug)]
struct Ended {
    lease: Lease,
    has_expired: bool,
}

impl Touched {
    fn is_empty(&self) -> bool {
        self.leases.is_empty() && self.units.is_empty() && !self.leader && self.renewed.is_empty()
    }

    /// A key with a lease is another one, or not there any more.
    fn lease(&mut self, key: &str, before: Option<&Value>, has_expired: bool) {
        let ended = || {
            before
                .and_then(Value::lease)
                .map(|lease| Ended { lease, has_expired })
        };

        match self.leases.get_mut(key) {
            // The first lease is the one that is known, and the last end is how it ended.
            Some(Some(known)) => known.has_expired = has_expired,
            Some(unknown) => *unknown = ended(),
            None => _ = self.leases.insert(key.into(), ended()),
        }
    }
}

impl KeyTree {
    /// Nothing yet. `prefix` is the whole key of fleet's directory.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            index: 0,
            entries: BTreeMap::new(),
            has_states: false,
            users: BTreeSet::new(),
            words: Words::default(),
            touched: Touched::default(),
            expired: Vec::new(),
            overdue: BTreeSet::new(),
            next_overdue: None,
            received: None,
            deleted: None,
        }
    }

    /// The index of the newest thing in it.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many keys it has.
    pub fn keys(&self) -> usize {
        self.entries.len()
    }

    /// Something was received from etcd. As long as nothing was, nobody could renew anything: that
    /// time is nobody's delay.
    pub fn receive(&mut self, now: Instant) {
        let stood_still = self.stood_still(now);
        if stood_still.is_zero() {
            return;
        }

        for lease in self.entries.values_mut().filter_map(|entry| entry.lease.as_mut()) {
            lease.until += stood_still;
        }
        // What was overdue may not be any more.
        self.next_overdue = Some(now);
    }

    /// How long etcd stood still until now.
    fn stood_still(&mut self, now: Instant) -> Duration {
        let silence = now.saturating_duration_since(self.received.replace(now).unwrap_or(now));
        if silence >= STILL { silence } else { Duration::ZERO }
    }

    /// Takes the whole tree as it was at an index, in place of what it had.
    pub fn load(&mut self, tree: Node, index: u64, now: Instant) {
        let stood_still = self.stood_still(now);
        let states = format!("{}/states", self.prefix);
        self.has_states = tree.nodes.iter().any(|node| node.key == states);
        self.deleted = None;
        self.users.clear();
        self.keep_expired();

        let before = std::mem::take(&mut self.entries);
        for leaf in leaves(tree) {
            self.write(&leaf, now);
        }

        // What is left of the time of each says how much time they were given at least.
        let is_state: fn(&Value) -> bool = |value| matches!(value, Value::State(_));
        let is_machine: fn(&Value) -> bool = |value| matches!(value, Value::Machine(_));
        for is_of_kind in [is_state, is_machine] {
            let entries = self.entries.values_mut().filter(|entry| is_of_kind(&entry.value));
            let leases: Vec<_> = entries.filter_map(|entry| entry.lease.as_mut()).collect();
            let longest = leases.iter().map(|lease| lease.time).max().unwrap_or_default();
            for lease in leases {
                *lease = Granted {
                    until: lease.until + stood_still,
                    time: longest + stood_still,
                };
            }
        }

        // Nobody said what became of what is not there any more: it has expired if its time may be
        // over.
        let is_over =
            |entry: &KeyEntry| entry.lease.is_some_and(|lease| lease.until <= now + ROUNDED);
        let gone = before
            .iter()
            .filter(|(key, entry)| !self.entries.contains_key(*key) && is_over(entry));
        self.expired.extend(gone.filter_map(|(_, entry)| entry.value.lease()));
        self.index = index;
    }

    /// Takes one event.
    pub fn apply(&mut self, event: &KeyEvent, now: Instant) {
        self.index = self.index.max(event.node.modified_index);
        match event.action {
            Action::Set | Action::Create | Action::Update | Action::CompareAndSwap => {
                if let Some((key, kind, before)) = self.write(&event.node, now) {
                    self.touch(key, kind, before.as_ref(), false);
                }
            }
            Action::Delete | Action::CompareAndDelete => self.remove(&event.node, false),
            Action::Expire => self.remove(&event.node, true),
            Action::Other => {}
        }
    }

    /// Writes one key. If it says something else than before, returns it with what it said.
    fn write<'a>(
        &mut self,
        node: &'a Node,
        now: Instant,
    ) -> Option<(&'a str, Kind<'a>, Option<Value>)> {
        let key = below(&self.prefix, &node.key)?;
        let text = node.value.as_deref().filter(|_| !node.dir)?;
        if key.starts_with("states/") && !self.has_states {
            self.leave_old_states();
        }
        if self.has_states && key.starts_with("state/") {
            return None;
        }
        let kind = Kind::of(key)?;

        let fingerprint = fingerprint(text);
        let lease = node.ttl().map(|time| Granted { until: now + time, time });
        if let Some(same) = self
            .entries
            .get_mut(key)
            .filter(|entry| entry.fingerprint == fingerprint)
        {
            same.modified = node.modified_index;
            same.lease = lease;
            if self.overdue.remove(key) {
                self.touched.renewed.extend(same.value.lease());
            }
            let overdue_from = same.overdue_from();
            self.expect_renewal(overdue_from);
            return None;
        }

        let value = Value::of(kind, text, &mut self.words);
        let entry = KeyEntry { value, fingerprint, modified: node.modified_index, lease };
        self.expect_renewal(entry.overdue_from());
        self.overdue.remove(key);
        let user = entry.value.user(kind);
        let before = self.entries.insert(key.into(), entry).map(|entry| entry.value);
        if let Some(no_longer) = before.as_ref().and_then(|value| value.user(kind)) {
            self.users.remove(&no_longer);
        }
        self.users.extend(user);
        Some((key, kind, before))
    }

    /// A lease is overdue from then on, if it is one.
    fn expect_renewal(&mut self, overdue_from: Option<Instant>) {
        self.next_overdue = self.next_overdue.into_iter().chain(overdue_from).min();
    }

    /// The cluster has just been given a newer fleet.
    fn leave_old_states(&mut self) {
        self.has_states = true;
        let keys: Vec<Box<str>> =
            inside(&self.entries, "state/").map(|(key, _)| key.into()).collect();
        for key in keys {
            self.remove_key(&key, false);
        }
    }

    fn remove(&mut self, node: &Node, has_expired: bool) {
        let Some(key) = below(&self.prefix, &node.key) else {
            return;
        };
        let own = self.entries.contains_key(key).then(|| key.into());
        let within = inside(&self.entries, &format!("{key}/")).map(|(key, _)| key.into());
        let keys: Vec<Box<str>> = own.into_iter().chain(within).collect();

        for key in keys {
            self.remove_key(&key, has_expired);
            if let Some(deleted) = &mut self.deleted {
                deleted.insert(key, node.modified_index);
            }
        }
    }

    fn remove_key(&mut self, key: &str, has_expired: bool) {
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        self.overdue.remove(key);
        let Some(kind) = Kind::of(key) else { return };

        if let Some(user) = entry.value.user(kind) {
            self.users.remove(&user);
        }
        self.touch(key, kind, Some(&entry.value), has_expired);
    }

    /// Notes what the change of a key concerns. `before` is what it said until now.
    fn touch(&mut self, key: &str, kind: Kind, before: Option<&Value>, has_expired: bool) {
        match kind {
            Kind::State { .. } | Kind::Machine { .. } => {
                self.touched.lease(key, before, has_expired);
            }
            Kind::Metadata { id } => {
                self.touched.lease(&format!("machines/{id}/object"), None, false);
            }
            Kind::Object { unit } | Kind::TargetState { unit } | Kind::Target { unit } => {
                self.touched.units.insert(unit.into());
            }
            Kind::File { hash } => {
                let from = (Text::from(hash), Text::from(""));
                let users = self.users.range(from..).take_while(|(of, _)| **of == *hash);
                self.touched.units.extend(users.map(|(_, unit)| unit.clone()));
            }
            Kind::Leader => self.touched.leader = true,
        }
    }

    /// Whether anything has changed since [`KeyTree::changes`] or [`KeyTree::snapshot`], time
    /// aside.
    pub fn has_changed(&self) -> bool {
        !self.touched.is_empty()
    }

    /// What has changed since it was last asked, and what has become overdue by now.
    pub fn changes(&mut self, now: Instant) -> Vec<Observation> {
        let touched = std::mem::take(&mut self.touched);
        let mut changes = Vec::new();

        for (key, ended) in touched.leases {
            let value = self.value(&key);
            if let Some(Ended { lease, has_expired }) = ended
                && value.and_then(Value::lease).as_ref() != Some(&lease)
            {
                changes.push(if has_expired {
                    Observation::Expired(lease)
                } else {
                    Observation::Deleted(lease)
                });
            }
            match value {
                Some(Value::State(state)) => changes.push(Observation::Reported((**state).clone())),
                Some(Value::Machine(_)) => {
                    changes.extend(self.machine(&key).map(Observation::MachineSeen));
                    // Metadata that is given to a machine renews nothing.
                    let overdue = self.entries.get(&key).filter(|_| self.overdue.contains(&key));
                    let overdue = overdue.and_then(|entry| entry.overdue(now));
                    changes.extend(overdue.map(|(lease, age)| Observation::Overdue(lease, age)));
                }
                _ => {}
            }
        }
        for unit in touched.units {
            changes.push(match self.file(&unit) {
                Some(file) => Observation::Wanted(file),
                None => Observation::NotWanted(printable(&unit)),
            });
        }
        if touched.leader {
            changes.push(Observation::Leads(self.leader()));
        }
        changes.extend(touched.renewed.into_iter().map(Observation::Renewed));
        self.look_for_overdue(now, &mut changes);
        changes
    }

    /// Says which leases are overdue by now and were not, or were and are not.
    fn look_for_overdue(&mut self, now: Instant, changes: &mut Vec<Observation>) {
        if self.next_overdue.is_none_or(|next| now < next) {
            return;
        }

        let mut next: Option<Instant> = None;
        for (key, entry) in LEASED.into_iter().flat_map(|folder| inside(&self.entries, folder)) {
            let Some(from) = entry.overdue_from() else {
                continue;
            };
            if now <= from {
                next = next.into_iter().chain([from]).min();
                if self.overdue.remove(key) {
                    changes.extend(entry.value.lease().map(Observation::Renewed));
                }
            } else if let Some((lease, age)) = entry.overdue(now)
                && self.overdue.insert(key.into())
            {
                changes.push(Observation::Overdue(lease, age));
            }
        }
        self.next_overdue = next;
    }

    /// All that there is, in place of [`KeyTree::changes`].
    pub fn snapshot(&mut self, now: Instant) -> RegistrySnapshot {
        let machines: Vec<Machine> = inside(&self.entries, "machines/")
            .filter_map(|(key, _)| self.machine(key))
            .collect();
        let mut states: Vec<UnitState> =
            self.entries.values().filter_map(KeyEntry::state).cloned().collect();
        join(&mut states, &machines);
        states.sort_by(|a, b| (&a.unit, &a.machine).cmp(&(&b.unit, &b.machine)));
        let units = inside(&self.entries, "job/").filter_map(|(key, _)| match Kind::of(key)? {
            Kind::Object { unit } => self.file(unit),
            _ => None,
        });
        let files: Vec<UnitFile> = units.collect();

        self.keep_expired();
        let leases: BTreeSet<Lease> = self
            .entries
            .values()
            .filter_map(|entry| entry.value.lease())
            .collect();
        let expired = std::mem::take(&mut self.expired)
            .into_iter()
            .filter(|lease| !leases.contains(lease))
            .collect();

        self.overdue.clear();
        self.next_overdue = Some(now).filter(|_| !leases.is_empty());
        let mut overdue = Vec::new();
        for (key, entry) in &self.entries {
            if let Some(late) = entry.overdue(now) {
                self.overdue.insert(key.clone());
                overdue.push(late);
            }
        }

        RegistrySnapshot {
            index: self.index,
            states: states.into(),
            machines: machines.into(),
            files: files.into(),
            leader: self.leader(),
            expired,
            overdue,
        }
    }

    /// Of what has changed, only which leases expired is still to be said: all else is in a whole
    /// tree.
    fn keep_expired(&mut self) {
        let ended = std::mem::take(&mut self.touched).leases.into_values().flatten();
        self.expired
            .extend(ended.filter(|ended| ended.has_expired).map(|ended| ended.lease));
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    fn leader(&self) -> Option<MachineId> {
        match self.value("lease/engine-leader") {
            Some(Value::Leader(leader)) => leader.clone(),
            _ => None,
        }
    }

    /// The machine of `machines/ID/object`, with its own metadata and what was added since.
    fn machine(&self, key: &str) -> Option<Machine> {
        let Value::Machine(object) = self.value(key)? else {
            return None;
        };
        let folder = format!("{}metadata/", key.strip_suffix("object")?);

        let added = inside(&self.entries, &folder).filter_map(|(key, entry)| match &entry.value {
            Value::Metadata(value) => Some((&key[folder.len()..], value.as_deref())),
            _ => None,
        });
        Some(object.machine(added))
    }

    /// What fleet wants of a unit. One without an object is none: what is left of one that was
    /// destroyed.
    fn file(&self, unit: &str) -> Option<UnitFile> {
        let value = |name: &str| self.value(&format!("job/{unit}/{name}"));
        let Value::Object(hash) = value("object")? else {
            return None;
        };
        let file: Option<&File> =
            hash.as_ref()
                .and_then(|hash| match self.value(&format!("unit/{hash}"))? {
                    Value::File(file) => Some(&**file),
                    _ => None,
                });
        let target = match value("target") {
            Some(Value::Target(target)) => target.clone(),
            _ => None,
        };
        let desired = match value("target-state") {
            Some(Value::TargetState(desired)) => desired.clone(),
            _ => None,
        };

        let unit: UnitName = printable(unit);
        Some(UnitFile {
            unit,
            hash: hash.clone(),
            desired,
            // Before 0.13 fleet knew `true` alone, and gave a unit with `Global=yes` to one machine
            // like any other.
            global: target.is_none() && file.is_some_and(|file| file.global),
            target,
            target_known: true,
            description: file.and_then(|file| file.description.clone()),
            requirements: file.map(|file| file.requirements.clone()).unwrap_or_default(),
            requirements_known: file.is_some(),
        })
    }

    /// Remembers from now on what is deleted, for [`KeyTree::differences`].
    pub fn begin_check(&mut self) {
        self.deleted = Some(BTreeMap::new());
    }

    /// In how many keys a tree that was read at an index differs from what it has, where neither is
    /// newer than the other.
    pub fn differences(&mut self, tree: Node, index: u64) -> usize {
        let deleted = self.deleted.take().unwrap_or_default();
        let mut read: BTreeMap<Box<str>, (u64, u64)> = BTreeMap::new();
        for leaf in leaves(tree) {
            let Some(key) = below(&self.prefix, &leaf.key) else {
                continue;
            };
            let is_ignored = self.has_states && key.starts_with("state/");
            if let (Some(_), Some(text), false) = (Kind::of(key), &leaf.value, is_ignored) {
                read.insert(key.into(), (leaf.modified_index, fingerprint(text)));
            }
        }

        let is_wrong = |key: &str, leaf: (u64, u64)| match self.entries.get(key) {
            Some(ours) if ours.modified > index => false,
            Some(ours) => (ours.modified, ours.fingerprint) != leaf,
            None => deleted.get(key).is_none_or(|at| *at <= index),
        };
        let is_left =
            |key: &str, ours: &KeyEntry| ours.modified <= index && !read.contains_key(key);
        let wrong = read.iter().filter(|(key, leaf)| is_wrong(key, **leaf)).count();
        let left = self.entries.iter().filter(|(key, entry)| is_left(key, entry)).count();
        wrong + left
    }
}

impl KeyEntry {
    fn state(&self) -> Option<&UnitState> {
        match &self.value {
            Value::State(state) => Some(state),
            _ => None,
        }
    }

    /// From when on it is overdue, if it is something that fleetd renews.
    fn overdue_from(&self) -> Option<Instant> {
        let lease = self.lease?;
        let left = match &self.value {
            Value::State(_) => STATE_OVERDUE,
            Value::Machine(_) => MACHINE_OVERDUE,
            _ => return None,
        };
        lease.until.checked_sub(lease.time.mul_f64(left))
    }

    /// For how long it has not been renewed, if it should have been by now.
    fn overdue(&self, now: Instant) -> Option<(Lease, Duration)> {
        let lease = self
            .lease
            .filter(|_| self.overdue_from().is_some_and(|from| now > from))?;
        Some((self.value.lease()?, lease.time - lease.until.saturating_duration_since(now)))
    }
}

/// Whether a tree has anything that fleet puts there: if not, it may be anybody's.
pub fn is_fleets(tree: &Node) -> bool {
    let folders = tree.nodes.iter().filter_map(|node| node.key.rsplit('/').next());
    folders
        .filter(|_| tree.dir)
        .any(|name| ["machines", "job", "engine", "lease"].contains(&name))
}

/// The keys of a tree, without its directories.
fn leaves(tree: Node) -> impl Iterator<Item = Node> {
    let mut nodes = vec![tree];
    std::iter::from_fn(move || {
        loop {
            let mut node = nodes.pop()?;
            nodes.append(&mut node.nodes);
            if !node.dir {
                return Some(node);
            }
        }
    })
}

/// What is in a directory, which is named with its last `/`.
fn inside<'a>(
    entries: &'a BTreeMap<Box<str>, KeyEntry>,
    folder: &str,
) -> impl Iterator<Item = (&'a str, &'a KeyEntry)> + use<'a> {
    let folder: Box<str> = folder.into();
    let from = (Bound::Included(&*folder), Bound::Unbounded);
    let keys = entries.range::<str, _>(from);
    keys.map(|(key, entry)| (&**key, entry))
        .take_while(move |(key, _)| key.starts_with(&*folder))
}

/// The part of a key below a directory.
fn below<'a>(prefix: &str, key: &'a str) -> Option<&'a str> {
    key.strip_prefix(prefix)?.strip_prefix('/')
}
