//! The keys by name, and the rows that are made of several keys. It knows neither events nor time.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::super::value::{KeyKind, KeyValue, ParsedUnitFile};
use super::entry::KeyEntry;
use crate::cluster::{Lease, Machine, MachineId, UnitFile, UnitName, UnitState};
use crate::source::rows::{join, printable};

/// The directories whose keys are leases.
const LEASE_DIRECTORIES: [&str; 3] = ["machines/", "state/", "states/"];

/// All keys that this program needs, by their path below fleet's directory.
#[derive(Debug, Default)]
pub(super) struct Entries(BTreeMap<Box<str>, KeyEntry>);

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, key: &str) -> Option<&KeyEntry> {
        self.0.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut KeyEntry> {
        self.0.get_mut(key)
    }

    /// The value of a key.
    pub(super) fn value(&self, key: &str) -> Option<&KeyValue> {
        self.get(key).map(KeyEntry::value)
    }

    /// Sets a key, and returns the entry that it replaces.
    pub(super) fn insert(&mut self, key: &str, entry: KeyEntry) -> Option<KeyEntry> {
        self.0.insert(key.into(), entry)
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<KeyEntry> {
        self.0.remove(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &KeyEntry)> {
        self.0.iter().map(|(key, entry)| (&**key, entry))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut KeyEntry> {
        self.0.values_mut()
    }

    /// The keys in a directory, whose name ends with `/`.
    pub(super) fn directory<'a>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = (&'a str, &'a KeyEntry)> + use<'a> {
        let name: Box<str> = name.into();
        let start = (Bound::Included(&*name), Bound::Unbounded);
        let keys = self.0.range::<str, _>(start);
        keys.map(|(key, entry)| (&**key, entry))
            .take_while(move |(key, _)| key.starts_with(&*name))
    }

    /// The keys that may be leases.
    pub(super) fn lease_keys(&self) -> impl Iterator<Item = (&str, &KeyEntry)> {
        LEASE_DIRECTORIES.into_iter().flat_map(|name| self.directory(name))
    }

    /// All leases that exist.
    pub(super) fn leases(&self) -> impl Iterator<Item = Lease> {
        self.0.values().filter_map(|entry| entry.value().lease())
    }

    /// All states with the addresses of their machines, sorted by unit and machine.
    pub(super) fn states(&self, machines: &[Machine]) -> Vec<UnitState> {
        let mut states: Vec<UnitState> =
            self.0.values().filter_map(KeyEntry::state).cloned().collect();
        join(&mut states, machines);
        states.sort_by(|a, b| (&a.unit, &a.machine).cmp(&(&b.unit, &b.machine)));
        states
    }

    /// All machines that have an `object` key.
    pub(super) fn machines(&self) -> Vec<Machine> {
        self.directory("machines/")
            .filter_map(|(key, _)| self.machine(key))
            .collect()
    }

    /// What fleet wants of each unit.
    pub(super) fn unit_files(&self) -> Vec<UnitFile> {
        self.directory("job/")
            .filter_map(|(key, _)| match KeyKind::of(key)? {
                KeyKind::Job { unit } => self.unit_file(unit),
                _ => None,
            })
            .collect()
    }

    /// The machine whose engine schedules.
    pub(super) fn leader(&self) -> Option<MachineId> {
        match self.value("lease/engine-leader") {
            Some(KeyValue::Leader(leader)) => leader.clone(),
            _ => None,
        }
    }

    /// The machine whose object is at this key, `machines/ID/object`, with the metadata that was
    /// set later.
    pub(super) fn machine(&self, key: &str) -> Option<Machine> {
        let KeyValue::Machine(object) = self.value(key)? else {
            return None;
        };

        let directory = format!("{}metadata/", key.strip_suffix("object")?);
        let metadata = self
            .directory(&directory)
            .filter_map(|(key, entry)| match entry.value() {
                KeyValue::Metadata(value) => Some((&key[directory.len()..], value.as_deref())),
                _ => None,
            });
        Some(object.machine(metadata))
    }

    /// What fleet wants of a unit. `None` if the unit has no object: it was destroyed, and other
    /// keys of it are left over.
    pub(super) fn unit_file(&self, unit: &str) -> Option<UnitFile> {
        let value = |name: &str| self.value(&format!("job/{unit}/{name}"));
        let KeyValue::Job(hash) = value("object")? else {
            return None;
        };

        let file = hash.as_ref().and_then(|hash| self.parsed_file(hash));
        let target = match value("target") {
            Some(KeyValue::Target(target)) => target.clone(),
            _ => None,
        };
        let desired = match value("target-state") {
            Some(KeyValue::TargetState(desired)) => desired.clone(),
            _ => None,
        };
        // Before 0.13 fleet accepted only the value `true`, and scheduled a unit with `Global=yes`
        // to one machine, as any other unit. A unit that has a target is therefore not global.
        let global = target.is_none() && file.is_some_and(|file| file.global);

        let unit: UnitName = printable(unit);
        Some(UnitFile {
            unit,
            hash: hash.clone(),
            desired,
            global,
            target,
            target_known: true,
            description: file.and_then(|file| file.description.clone()),
            requirements: file.map(|file| file.requirements.clone()).unwrap_or_default(),
            requirements_known: file.is_some(),
        })
    }

    fn parsed_file(&self, hash: &str) -> Option<&ParsedUnitFile> {
        match self.value(&format!("unit/{hash}"))? {
            KeyValue::UnitFile(file) => Some(file),
            _ => None,
        }
    }
}
