//! What the value of one key of fleet's registry says.
//!
//! The columns are the same, character for character, as fleetctl makes of the same keys. Pure: it
//! knows no other key and no lease.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

use serde::Deserialize;

use super::words::Words;
use crate::cluster::{Lease, Machine, MachineId, Text, UnitName, UnitState};
use crate::source::rows::{metadata, non_empty, printable};
use crate::source::unit_file::{self, UnitOption};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// `states/UNIT/MACHINE`, or `state/UNIT` without a machine.
    State { unit: &'a str, machine: Option<&'a str> },
    /// `machines/ID/object`
    Machine { id: &'a str },
    /// `machines/ID/metadata/NAME`
    Metadata { id: &'a str },
    /// `job/UNIT/object`
    Object { unit: &'a str },
    /// `job/UNIT/target-state`
    TargetState { unit: &'a str },
    /// `job/UNIT/target`
    Target { unit: &'a str },
    /// `unit/HASH`
    File { hash: &'a str },
    /// `lease/engine-leader`
    Leader,
}

impl<'a> Kind<'a> {
    /// What a key is for, which is named from fleet's directory on; none if it is of no use here.
    pub(super) fn of(key: &'a str) -> Option<Self> {
        let mut parts = key.split('/');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];

        match parts {
            [Some("states"), Some(unit), Some(machine), None, _] => {
                Some(Kind::State { unit, machine: Some(machine) })
            }
            [Some("state"), Some(unit), None, ..] => Some(Kind::State { unit, machine: None }),
            [Some("machines"), Some(id), Some("object"), None, _] => Some(Kind::Machine { id }),
            [Some("machines"), Some(id), Some("metadata"), Some(_), None] => {
                Some(Kind::Metadata { id })
            }
            [Some("job"), Some(unit), Some("object"), None, _] => Some(Kind::Object { unit }),
            [Some("job"), Some(unit), Some("target-state"), None, _] => {
                Some(Kind::TargetState { unit })
            }
            [Some("job"), Some(unit), Some("target"), None, _] => Some(Kind::Target { unit }),
            [Some("unit"), Some(hash), None, ..] => Some(Kind::File { hash }),
            [Some("lease"), Some("engine-leader"), None, ..] => Some(Kind::Leader),
            _ => None,
        }
    }
}

/// What a value says.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// The state of a unit on a machine; without the machine's address.
    State(Box<UnitState>),
    /// A machine, with the metadata that it began with.
    Machine(Box<MachineObject>),
    /// Metadata that was given to a machine since; `None`: taken from it.
    Metadata(Option<Box<str>>),
    /// The hash of a unit's file.
    Object(Option<Text>),
    /// What fleet wants of a unit.
    TargetState(Option<Text>),
    /// The machine that fleet has chosen for a unit.
    Target(Option<MachineId>),
    /// What a unit file says.
    File(Box<File>),
    /// The machine whose engine schedules.
    Leader(Option<MachineId>),
    /// It is not what fleet writes there.
    Invalid,
}

/// What a unit file says, as far as rows need it.
#[derive(Debug, PartialEq)]
pub(super) struct File {
    pub(super) description: Option<Text>,
    pub(super) global: bool,
    pub(super) requirements: Vec<Text>,
}

/// The value of `machines/ID/object` (fleet's `machine/state.go`).
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MachineObject {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default, rename = "PublicIP")]
    public_ip: String,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    version: String,
}

impl MachineObject {
    pub(super) fn id(&self) -> MachineId {
        printable(&self.id)
    }

    /// The machine, with what was `added` to its metadata since (fleet v1.0.0,
    /// `registry/machine.go`).
    pub(super) fn machine<'a>(
        &self,
        added: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Machine {
        let mut pairs = self.metadata.clone().unwrap_or_default();
        for (name, value) in added {
            match value {
                Some(value) => _ = pairs.insert(name.to_owned(), value.to_owned()),
                None => _ = pairs.remove(name),
            }
        }

        Machine {
            id: self.id(),
            ip: non_empty(Some(&self.public_ip)),
            metadata: metadata(&pairs),
            // With a `v` since 0.12.
            version: non_empty(self.version.strip_prefix('v').or(Some(&self.version))),
        }
    }
}

impl Value {
    /// What a text says at a key of this kind. Words that many values share are shared.
    pub(super) fn of(kind: Kind, text: &str, words: &mut Words) -> Self {
        match kind {
            Kind::State { unit, machine } => {
                state(unit, machine, text, words).unwrap_or(Value::Invalid)
            }
            Kind::Machine { .. } => {
                serde_json::from_str(text).map_or(Value::Invalid, Value::Machine)
            }
            Kind::Metadata { .. } => {
                Value::Metadata(Some(text).filter(|text| !text.is_empty()).map(Into::into))
            }
            Kind::Object { .. } => Value::Object(unit_hash(text).map(|hash| words.share(&hash))),
            Kind::TargetState { .. } => Value::TargetState(shared(text, words)),
            Kind::Target { .. } => Value::Target(shared(text, words).map(Into::into)),
            Kind::File { .. } => Value::File(Box::new(file(text))),
            Kind::Leader => Value::Leader(leader(text)),
        }
    }

    /// Whom the file of a hash is for: the hash, and the unit.
    pub(super) fn user(&self, kind: Kind) -> Option<(Text, Text)> {
        match (self, kind) {
            (Value::Object(Some(hash)), Kind::Object { unit }) => Some((hash.clone(), unit.into())),
            _ => None,
        }
    }

    /// Whose lease the key is, if it is one that fleetd renews.
    pub(super) fn lease(&self) -> Option<Lease> {
        match self {
            Value::State(state) => Some(Lease::Unit(state.unit.clone(), state.machine.clone()?)),
            Value::Machine(machine) => Some(Lease::Machine(machine.id())),
            _ => None,
        }
    }
}

/// A number that tells two texts apart.
pub(super) fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// A column that many rows have, which is stored once.
fn shared(text: &str, words: &mut Words) -> Option<Text> {
    non_empty::<Text>(Some(text)).map(|text| words.share(&text))
}

/// The value of `states/UNIT/MACHINE` (fleet's `registry/unit_state.go`).
fn state(unit: &str, machine: Option<&str>, text: &str, words: &mut Words) -> Option<Value> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Object {
        load_state: String,
        active_state: String,
        sub_state: String,
        machine_state: Option<Reporter>,
        #[serde(default)]
        unit_hash: String,
    }
    #[derive(Deserialize)]
    struct Reporter {
        #[serde(rename = "ID")]
        id: String,
    }
    let object: Object = serde_json::from_str(text).ok()?;

    let reporter = object.machine_state.as_ref().map(|machine| machine.id.as_str());
    let machine = shared(machine.or(reporter)?, words)?;
    let unit: UnitName = words.share(&printable::<Text>(unit)).into();
    Some(Value::State(Box::new(UnitState {
        unit,
        machine: Some(machine.into()),
        ip: None,
        load: shared(&object.load_state, words),
        active: shared(&object.active_state, words),
        sub: shared(&object.sub_state, words),
        hash: shared(&object.unit_hash, words),
    })))
}

/// The hash in `job/UNIT/object`, which has it as a list of bytes.
fn unit_hash(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Object {
        unit_hash: [u8; 20],
    }
    let object: Object = serde_json::from_str(text).ok()?;
    Some(object.unit_hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn file(text: &str) -> File {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Object {
        raw: String,
    }
    let options: Vec<UnitOption> = serde_json::from_str(text)
        .map(|object: Object| unit_file::options(&object.raw))
        .unwrap_or_default();

    File {
        description: unit_file::description(&options),
        global: unit_file::is_global(&options),
        requirements: unit_file::requirements(&options),
    }
}

/// The value of `lease/engine-leader` (fleet's `pkg/lease/etcd.go`).
fn leader(text: &str) -> Option<MachineId> {
    #[derive(Deserialize)]
    struct Object {
        #[serde(rename = "MachineID")]
        machine_id: String,
    }
    serde_json::from_str(text)
        .ok()
        .map(|object: Object| printable(&object.machine_id))
}
