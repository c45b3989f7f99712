//! What one key of fleet's registry is for, and how its value is decoded.
//!
//! The columns are the same, character for character, as those that fleetctl prints for the same
//! keys. Pure: it knows neither other keys nor when a key expires.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

use serde::Deserialize;

use crate::cluster::{Lease, Machine, MachineId, Text, UnitName, UnitState};
use crate::interner::Interner;
use crate::source::rows::{metadata, printable, printable_if_any};
use crate::source::unit_file::{self, UnitOption};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum KeyKind<'a> {
    /// `states/UNIT/MACHINE`, or `state/UNIT`, which does not name the machine.
    State { unit: &'a str, machine: Option<&'a str> },
    /// `machines/ID/object`
    Machine { id: &'a str },
    /// `machines/ID/metadata/NAME`
    Metadata { id: &'a str },
    /// `job/UNIT/object`
    Job { unit: &'a str },
    /// `job/UNIT/target-state`
    TargetState { unit: &'a str },
    /// `job/UNIT/target`
    Target { unit: &'a str },
    /// `unit/HASH`
    UnitFile { hash: &'a str },
    /// `lease/engine-leader`
    Leader,
}

impl<'a> KeyKind<'a> {
    /// The kind of a key, whose path starts below fleet's directory. `None` if this program does
    /// not need the key.
    pub(super) fn of(key: &'a str) -> Option<Self> {
        let mut parts = key.split('/');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];

        match parts {
            [Some("states"), Some(unit), Some(machine), None, _] => {
                Some(KeyKind::State { unit, machine: Some(machine) })
            }
            [Some("state"), Some(unit), None, ..] => Some(KeyKind::State { unit, machine: None }),
            [Some("machines"), Some(id), Some("object"), None, _] => Some(KeyKind::Machine { id }),
            [Some("machines"), Some(id), Some("metadata"), Some(_), None] => {
                Some(KeyKind::Metadata { id })
            }
            [Some("job"), Some(unit), Some("object"), None, _] => Some(KeyKind::Job { unit }),
            [Some("job"), Some(unit), Some("target-state"), None, _] => {
                Some(KeyKind::TargetState { unit })
            }
            [Some("job"), Some(unit), Some("target"), None, _] => Some(KeyKind::Target { unit }),
            [Some("unit"), Some(hash), None, ..] => Some(KeyKind::UnitFile { hash }),
            [Some("lease"), Some("engine-leader"), None, ..] => Some(KeyKind::Leader),
            _ => None,
        }
    }
}

/// The decoded value of a key.
#[derive(Debug, PartialEq)]
pub(super) enum KeyValue {
    /// The state of a unit on a machine, without the machine's address.
    State(Box<UnitState>),
    /// A machine, with the metadata from its configuration.
    Machine(Box<MachineObject>),
    /// Metadata that was set for a machine later. `None`: the value is empty, and the metadata of
    /// that name is removed.
    Metadata(Option<Box<str>>),
    /// The hash of a unit's file. `None` if the value is invalid.
    Job(Option<Text>),
    /// The state that fleet wants for a unit.
    TargetState(Option<Text>),
    /// The machine that fleet has chosen for a unit.
    Target(Option<MachineId>),
    /// The contents of a unit file.
    UnitFile(Box<ParsedUnitFile>),
    /// The machine whose engine schedules.
    Leader(Option<MachineId>),
    /// The value is not what fleet writes to such a key.
    Invalid,
}

/// The parts of a unit file that are shown.
#[derive(Debug, PartialEq)]
pub(super) struct ParsedUnitFile {
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

    /// The machine, with the metadata that was set or removed later (fleet v1.0.0,
    /// `registry/machine.go`).
    pub(super) fn machine<'a>(
        &self,
        metadata_changes: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Machine {
        let mut pairs = self.metadata.clone().unwrap_or_default();
        for (name, value) in metadata_changes {
            match value {
                Some(value) => _ = pairs.insert(name.to_owned(), value.to_owned()),
                None => _ = pairs.remove(name),
            }
        }

        Machine {
            id: self.id(),
            ip: printable_if_any(Some(&self.public_ip)),
            metadata: metadata(&pairs),
            // fleet 0.12 and later write it with a `v`.
            version: printable_if_any(self.version.strip_prefix('v').or(Some(&self.version))),
        }
    }
}

impl KeyValue {
    /// Decodes the value of a key. Texts that many values have are shared.
    pub(super) fn decode(kind: KeyKind, text: &str, interner: &mut Interner) -> Self {
        match kind {
            KeyKind::State { unit, machine } => decode_state(unit, machine, text, interner)
                .map_or(KeyValue::Invalid, |state| KeyValue::State(Box::new(state))),
            KeyKind::Machine { .. } => {
                serde_json::from_str(text).map_or(KeyValue::Invalid, KeyValue::Machine)
            }
            KeyKind::Metadata { .. } => {
                KeyValue::Metadata(Some(text).filter(|text| !text.is_empty()).map(Into::into))
            }
            KeyKind::Job { .. } => {
                KeyValue::Job(decode_job(text).map(|hash| interner.share(&hash)))
            }
            KeyKind::TargetState { .. } => KeyValue::TargetState(shared(text, interner)),
            KeyKind::Target { .. } => KeyValue::Target(shared(text, interner).map(Into::into)),
            KeyKind::UnitFile { .. } => KeyValue::UnitFile(Box::new(decode_unit_file(text))),
            KeyKind::Leader => KeyValue::Leader(decode_leader(text)),
        }
    }

    /// The unit file that a job refers to: its hash, and the unit.
    pub(super) fn file_reference(&self, kind: KeyKind) -> Option<(Text, Text)> {
        match (self, kind) {
            (KeyValue::Job(Some(hash)), KeyKind::Job { unit }) => Some((hash.clone(), unit.into())),
            _ => None,
        }
    }

    /// The lease that this value represents. `None` if it is not that of a unit or a machine.
    pub(super) fn lease(&self) -> Option<Lease> {
        match self {
            KeyValue::State(state) => Some(Lease::Unit(state.unit.clone(), state.machine.clone()?)),
            KeyValue::Machine(machine) => Some(Lease::Machine(machine.id())),
            _ => None,
        }
    }
}

/// A hash by which a changed text is detected. Two texts with the same hash count as equal.
pub(super) fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// A text for a column, of which equal ones are stored once; `None` if it is empty.
fn shared(text: &str, interner: &mut Interner) -> Option<Text> {
    printable_if_any::<Text>(Some(text)).map(|text| interner.share(&text))
}

/// Decodes `states/UNIT/MACHINE` or `state/UNIT` (fleet's `registry/unit_state.go`).
fn decode_state(
    unit: &str,
    machine: Option<&str>,
    text: &str,
    interner: &mut Interner,
) -> Option<UnitState> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct StateObject {
        load_state: String,
        active_state: String,
        sub_state: String,
        machine_state: Option<ReportingMachine>,
        #[serde(default)]
        unit_hash: String,
    }
    #[derive(Deserialize)]
    struct ReportingMachine {
        #[serde(rename = "ID")]
        id: String,
    }
    let object: StateObject = serde_json::from_str(text).ok()?;

    let reporting = object.machine_state.as_ref().map(|machine| machine.id.as_str());
    let machine = shared(machine.or(reporting)?, interner)?;
    let unit: UnitName = interner.share(&printable::<Text>(unit)).into();
    Some(UnitState {
        unit,
        machine: Some(machine.into()),
        ip: None,
        load: shared(&object.load_state, interner),
        active: shared(&object.active_state, interner),
        sub: shared(&object.sub_state, interner),
        hash: shared(&object.unit_hash, interner),
    })
}

/// Decodes the hash in `job/UNIT/object`, which is a list of bytes.
pub(super) fn decode_job(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct JobObject {
        unit_hash: [u8; 20],
    }
    let object: JobObject = serde_json::from_str(text).ok()?;

    Some(object.unit_hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Decodes `unit/HASH`: the text of the file.
pub(super) fn decode_unit_text(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct UnitFileObject {
        raw: String,
    }
    let object: UnitFileObject = serde_json::from_str(text).ok()?;

    Some(object.raw)
}

/// The parts of the file in `unit/HASH` that are shown.
fn decode_unit_file(text: &str) -> ParsedUnitFile {
    let options: Vec<UnitOption> = decode_unit_text(text)
        .map(|raw| unit_file::options(&raw))
        .unwrap_or_default();

    ParsedUnitFile {
        description: unit_file::description(&options),
        global: unit_file::is_global(&options),
        requirements: unit_file::requirements(&options),
    }
}

/// Decodes `lease/engine-leader` (fleet's `pkg/lease/etcd.go`).
fn decode_leader(text: &str) -> Option<MachineId> {
    #[derive(Deserialize)]
    struct LeaderObject {
        #[serde(rename = "MachineID")]
        machine_id: String,
    }
    let object: LeaderObject = serde_json::from_str(text).ok()?;

    Some(printable(&object.machine_id))
}
