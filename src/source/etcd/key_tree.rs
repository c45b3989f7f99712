//! fleet's registry as a tree of keys: what an event of etcd changes in it, and which leases are
//! overdue.
//!
//! The keys of fleet:
//!
//! ```text
//! job/UNIT/object, target-state, target   what fleet wants, and where
//! unit/HASH                               the text of a unit file
//! states/UNIT/MACHINE                     what a machine reports (fleet 0.6 and later); expires
//! state/UNIT                              the same (0.5; later ones write it for compatibility)
//! machines/ID/object, metadata/KEY        which machines there are; expires
//! lease/engine-leader                     whose engine schedules (0.7 and later); expires
//! ```
//!
//! Pure: time is passed in. It knows neither sockets nor what is done with a change. `value`
//! decodes the values.

mod entries;
mod entry;
mod overdue;
mod pending;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::keys::{KeyAction, KeyEvent, Node};
use super::value::{KeyKind, KeyValue, fingerprint};
use crate::cluster::{Lease, Observation, RegistrySnapshot, Text};
use crate::interner::Interner;
use crate::source::rows::printable;
use entries::Entries;
use entry::{KeyEntry, KeyExpiry};
use overdue::OverdueLeases;
use pending::{FormerLease, PendingChanges};

/// If etcd sends nothing for this long, it is assumed to be down, so that no lease can be renewed.
/// It is probed every 2 s, so normally something is received that often.
const OUTAGE: Duration = Duration::from_millis(2500);

/// fleet's registry at one index.
#[derive(Debug)]
pub struct KeyTree {
    /// The whole path of fleet's directory.
    prefix: String,
    /// The index of the newest change.
    index: u64,
    entries: Entries,
    /// Whether states are in `states/`. Then those in `state/` only repeat them, and are ignored.
    has_states: bool,
    /// Which units use a unit file: pairs of the file's hash and the unit.
    file_users: BTreeSet<(Text, Text)>,
    interner: Interner,
    pending: PendingChanges,
    /// The leases that expired before the last load, for the next snapshot.
    expired: Vec<Lease>,
    overdue: OverdueLeases,
    /// When something was last received from etcd.
    last_received: Option<Instant>,
    /// The keys that were deleted during a comparison, each with the index of that; `None` if no
    /// comparison is under way.
    deleted: Option<BTreeMap<Box<str>, u64>>,
}

impl KeyTree {
    /// An empty tree. `prefix` is the whole path of fleet's directory.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            index: 0,
            entries: Entries::default(),
            has_states: false,
            file_users: BTreeSet::new(),
            interner: Interner::default(),
            pending: PendingChanges::default(),
            expired: Vec::new(),
            overdue: OverdueLeases::default(),
            last_received: None,
            deleted: None,
        }
    }

    /// etcd's index of the newest change in it.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The number of keys.
    pub(super) fn key_count(&self) -> usize {
        self.entries.len()
    }

    /// Records that something was received from etcd. If that ends an outage, all leases are
    /// extended by the length of the outage, since they could not be renewed.
    pub(super) fn record_received(&mut self, now: Instant) {
        let outage = self.outage_until(now);
        if outage.is_zero() {
            return;
        }

        for entry in self.entries.iter_mut() {
            entry.postpone(outage);
        }
        self.overdue.recheck_all(now);
    }

    /// How long the outage was that ends now; zero if there was none.
    fn outage_until(&mut self, now: Instant) -> Duration {
        let last_received = self.last_received.replace(now).unwrap_or(now);
        let gap = now.saturating_duration_since(last_received);
        if gap >= OUTAGE { gap } else { Duration::ZERO }
    }

    /// Replaces all keys by those of a whole tree that was read at an index.
    pub fn load(&mut self, tree: Node, index: u64, now: Instant) {
        let outage = self.outage_until(now);
        let states = format!("{}/states", self.prefix);
        self.has_states = tree.nodes.iter().any(|node| node.key == states);
        self.deleted = None;
        self.file_users.clear();
        self.expired.extend(self.pending.take_expired());

        let before = std::mem::take(&mut self.entries);
        for leaf in leaves(tree) {
            self.write(&leaf, now);
        }
        self.index = index;

        self.restore_ttls(outage, |value| matches!(value, KeyValue::State(_)));
        self.restore_ttls(outage, |value| matches!(value, KeyValue::Machine(_)));

        // No event says why a key is missing now. It counts as expired if its time was over.
        let expired = before
            .iter()
            .filter(|(key, entry)| self.entries.get(key).is_none() && entry.may_have_expired(now))
            .filter_map(|(_, entry)| entry.value().lease());
        self.expired.extend(expired);
    }

    /// Sets the TTL of all keys of one kind to the longest time that any of them has left. etcd
    /// reports only the time that is left, and not the TTL that a key was given. It is assumed that
    /// all keys of one kind are given the same TTL.
    fn restore_ttls(&mut self, outage: Duration, is_of_kind: fn(&KeyValue) -> bool) {
        let longest = self
            .entries
            .iter()
            .filter(|(_, entry)| is_of_kind(entry.value()))
            .filter_map(|(_, entry)| entry.ttl())
            .max()
            .unwrap_or_default();

        for entry in self.entries.iter_mut().filter(|entry| is_of_kind(entry.value())) {
            entry.set_ttl(longest + outage);
            entry.postpone(outage);
        }
    }

    /// Applies one event of etcd, received at `now`.
    pub fn apply(&mut self, event: &KeyEvent, now: Instant) {
        self.index = self.index.max(event.node.modified_index);
        match event.action {
            KeyAction::Set | KeyAction::Create | KeyAction::Update | KeyAction::CompareAndSwap => {
                if let Some((key, kind, before)) = self.write(&event.node, now) {
                    self.record_change(key, kind, before.as_ref(), false);
                }
            }
            KeyAction::Delete | KeyAction::CompareAndDelete => self.remove(&event.node, false),
            KeyAction::Expire => self.remove(&event.node, true),
            KeyAction::Other => {}
        }
    }

    /// Writes one key. If its value changed, returns the key and the value that it had before.
    fn write<'a>(
        &mut self,
        node: &'a Node,
        now: Instant,
    ) -> Option<(&'a str, KeyKind<'a>, Option<KeyValue>)> {
        let key = below(&self.prefix, &node.key)?;
        let text = node.value.as_deref().filter(|_| !node.dir)?;
        if key.starts_with("states/") && !self.has_states {
            self.drop_old_states();
        }
        if self.has_states && key.starts_with("state/") {
            return None;
        }
        let kind = KeyKind::of(key)?;

        let index = node.modified_index;
        let expiry = node.ttl().map(|ttl| KeyExpiry::new(ttl, now));
        let fingerprint = fingerprint(text);
        if let Some(same) = self
            .entries
            .get_mut(key)
            .filter(|entry| entry.fingerprint() == fingerprint)
        {
            same.renew(index, expiry);
            if self.overdue.remove(key) {
                self.pending.renewed.extend(same.value().lease());
            }
            self.overdue.schedule(same);
            return None;
        }

        let value = KeyValue::decode(kind, text, &mut self.interner);
        let file_reference = value.file_reference(kind);
        let entry = KeyEntry::new(value, fingerprint, index, expiry);
        self.overdue.remove(key);
        self.overdue.schedule(&entry);

        let before = self.entries.insert(key, entry).map(KeyEntry::into_value);
        if let Some(old) = before.as_ref().and_then(|value| value.file_reference(kind)) {
            self.file_users.remove(&old);
        }
        self.file_users.extend(file_reference);
        Some((key, kind, before))
    }

    /// A newer fleet has begun to write `states/`: drops what an older one wrote to `state/`.
    fn drop_old_states(&mut self) {
        self.has_states = true;
        let keys: Vec<Box<str>> =
            self.entries.directory("state/").map(|(key, _)| key.into()).collect();
        for key in keys {
            self.remove_key(&key, false);
        }
    }

    /// Removes a key, or a directory with all keys in it.
    fn remove(&mut self, node: &Node, has_expired: bool) {
        let Some(key) = below(&self.prefix, &node.key) else {
            return;
        };
        let own = self.entries.get(key).map(|_| key.into());
        let inside = self.entries.directory(&format!("{key}/")).map(|(key, _)| key.into());
        let keys: Vec<Box<str>> = own.into_iter().chain(inside).collect();

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
        let Some(kind) = KeyKind::of(key) else {
            return;
        };

        let before = entry.into_value();
        if let Some(file_reference) = before.file_reference(kind) {
            self.file_users.remove(&file_reference);
        }
        self.record_change(key, kind, Some(&before), has_expired);
    }

    /// Records which rows the change of a key affects. `before` is the value that the key had.
    fn record_change(
        &mut self,
        key: &str,
        kind: KeyKind,
        before: Option<&KeyValue>,
        has_expired: bool,
    ) {
        match kind {
            KeyKind::State { .. } | KeyKind::Machine { .. } => {
                self.pending.record_lease(key, before, has_expired);
            }
            KeyKind::Metadata { id } => {
                let machine = format!("machines/{id}/object");
                self.pending.record_lease(&machine, None, false);
            }
            KeyKind::Job { unit } | KeyKind::TargetState { unit } | KeyKind::Target { unit } => {
                self.pending.units.insert(unit.into());
            }
            KeyKind::UnitFile { hash } => {
                let start = (Text::from(hash), Text::from(""));
                let users = self
                    .file_users
                    .range(start..)
                    .take_while(|(used, _)| **used == *hash)
                    .map(|(_, unit)| unit.clone());
                self.pending.units.extend(users);
            }
            KeyKind::Leader => self.pending.leader = true,
        }
    }

    /// Whether an event has changed anything since the last [`KeyTree::changes`] or
    /// [`KeyTree::snapshot`]. Leases that have become overdue do not count.
    pub fn has_changed(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What has changed since the last call of this or of [`KeyTree::snapshot`], and what is
    /// overdue by now.
    pub fn changes(&mut self, now: Instant) -> Vec<Observation> {
        let pending = std::mem::take(&mut self.pending);
        let mut changes = Vec::new();

        for (key, ended) in pending.leases {
            self.push_lease_changes(&key, ended, now, &mut changes);
        }
        for unit in pending.units {
            changes.push(match self.entries.unit_file(&unit) {
                Some(file) => Observation::Wanted(file),
                None => Observation::NotWanted(printable(&unit)),
            });
        }
        if pending.leader {
            changes.push(Observation::Leads(self.entries.leader()));
        }
        changes.extend(pending.renewed.into_iter().map(Observation::Renewed));
        changes.append(&mut self.overdue.check(&self.entries, now));
        changes
    }

    /// The changes of one key that is a lease.
    fn push_lease_changes(
        &self,
        key: &str,
        ended: Option<FormerLease>,
        now: Instant,
        changes: &mut Vec<Observation>,
    ) {
        let value = self.entries.value(key);
        if let Some(FormerLease { lease, has_expired }) = ended
            && value.and_then(KeyValue::lease).as_ref() != Some(&lease)
        {
            changes.push(if has_expired {
                Observation::Expired(lease)
            } else {
                Observation::Deleted(lease)
            });
        }

        match value {
            Some(KeyValue::State(state)) => changes.push(Observation::Reported((**state).clone())),
            Some(KeyValue::Machine(_)) => {
                changes.extend(self.entries.machine(key).map(Observation::MachineSeen));

                // Metadata that is set for a machine does not renew its lease.
                if self.overdue.contains(key) {
                    let overdue = self.entries.get(key).and_then(|entry| entry.overdue(now));
                    changes.extend(overdue.map(|(lease, age)| Observation::Overdue(lease, age)));
                }
            }
            _ => {}
        }
    }

    /// The whole registry, in place of [`KeyTree::changes`].
    pub fn snapshot(&mut self, now: Instant) -> RegistrySnapshot {
        let machines = self.entries.machines();
        let states = self.entries.states(&machines);
        let files = self.entries.unit_files();

        self.expired.extend(self.pending.take_expired());
        let leases: BTreeSet<Lease> = self.entries.leases().collect();
        let mut expired = std::mem::take(&mut self.expired);
        expired.retain(|lease| !leases.contains(lease));

        RegistrySnapshot {
            index: self.index,
            states: states.into(),
            machines: machines.into(),
            files: files.into(),
            leader: self.entries.leader(),
            expired,
            overdue: self.overdue.snapshot(&self.entries, now),
        }
    }

    /// Starts a comparison: until [`KeyTree::count_differences`], deleted keys are remembered.
    pub(super) fn begin_comparison(&mut self) {
        self.deleted = Some(BTreeMap::new());
    }

    /// Ends a comparison with a tree that was read at an index: in how many keys the two differ.
    /// Keys that the watch has seen change after that index do not count.
    pub(super) fn count_differences(&mut self, tree: Node, index: u64) -> usize {
        let deleted = self.deleted.take().unwrap_or_default();
        let mut read: BTreeMap<Box<str>, (u64, u64)> = BTreeMap::new();
        for leaf in leaves(tree) {
            let Some(key) = below(&self.prefix, &leaf.key) else {
                continue;
            };
            let is_ignored = self.has_states && key.starts_with("state/");
            if let (Some(_), Some(text), false) = (KeyKind::of(key), &leaf.value, is_ignored) {
                read.insert(key.into(), (leaf.modified_index, fingerprint(text)));
            }
        }

        let is_wrong = |key: &str, leaf: (u64, u64)| match self.entries.get(key) {
            Some(entry) if entry.modified_index() > index => false,
            Some(entry) => (entry.modified_index(), entry.fingerprint()) != leaf,
            None => deleted.get(key).is_none_or(|deleted_at| *deleted_at <= index),
        };
        let is_left_over = |key: &str, entry: &KeyEntry| {
            entry.modified_index() <= index && !read.contains_key(key)
        };
        let wrong = read.iter().filter(|(key, leaf)| is_wrong(key, **leaf)).count();
        let left_over = self
            .entries
            .iter()
            .filter(|(key, entry)| is_left_over(key, entry))
            .count();
        wrong + left_over
    }
}

/// Whether a tree has one of the directories that fleet creates. If not, another program may have
/// written it.
pub(super) fn is_of_fleet(tree: &Node) -> bool {
    const DIRECTORIES: [&str; 4] = ["machines", "job", "engine", "lease"];
    let mut names = tree.nodes.iter().filter_map(|node| node.key.rsplit('/').next());
    tree.dir && names.any(|name| DIRECTORIES.contains(&name))
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

/// The part of a key below a directory; `None` if it is not in that directory.
fn below<'a>(prefix: &str, key: &'a str) -> Option<&'a str> {
    key.strip_prefix(prefix)?.strip_prefix('/')
}
