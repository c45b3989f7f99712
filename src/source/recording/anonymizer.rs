//! Replaces what identifies a cluster in the lines of a recording, each text by the same one
//! wherever it occurs. Pure.
//!
//! It must not know where the lines come from. States, times and versions stay. What could not be
//! recognised is replaced as a whole, so that nothing is left by mistake.

use std::collections::HashMap;
use std::net::IpAddr;

use super::RecordingLine;
use crate::cluster::{Lease, Machine, MachineId, Observation, Text, UnitFile, UnitName, UnitState};
use crate::unit_types::UNIT_TYPES;

/// What identifies a cluster, by kind. A text has a replacement for each kind that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    UnitPrefix,
    Instance,
    Machine,
    Address,
    MetadataKey,
    MetadataValue,
    Description,
    Hash,
    Requirement,
    Error,
}

/// Replaces texts. One of these is used for a whole recording.
#[derive(Debug, Default)]
pub(super) struct Anonymizer {
    replacements: HashMap<(Kind, String), Text>,
    counts: HashMap<Kind, u32>,
}

impl Anonymizer {
    /// Replaces all texts of a line.
    pub(super) fn anonymize(&mut self, line: &mut RecordingLine) {
        if let Some(source) = &mut line.source {
            *source = source_kind(source).into();
        }
        if let Some(error) = &mut line.error {
            *error = self.replace(Kind::Error, error).to_string();
        }

        let states = line.states.iter_mut().flatten();
        for state in states.chain(&mut line.changed_states) {
            self.state(state);
        }
        let machines = line.machines.iter_mut().flatten();
        for machine in machines.chain(&mut line.changed_machines) {
            self.machine(machine);
        }
        let files = line.files.iter_mut().flatten();
        for file in files.chain(&mut line.changed_files) {
            self.file(file);
        }

        for (unit, machine) in &mut line.removed_states {
            *unit = self.unit(unit);
            *machine = machine.take().map(|id| self.machine_id(&id));
        }
        for id in line.removed_machines.iter_mut().chain(&mut line.leader) {
            *id = self.machine_id(id);
        }
        for unit in &mut line.removed_files {
            *unit = self.unit(unit);
        }
        for lease in &mut line.expired {
            self.lease(lease);
        }
        for (lease, _) in &mut line.overdue {
            self.lease(lease);
        }
        for change in &mut line.changes {
            self.change(change);
        }
    }

    fn change(&mut self, change: &mut Observation) {
        match change {
            Observation::Reported(state) => self.state(state),
            Observation::MachineSeen(machine) => self.machine(machine),
            Observation::Wanted(file) => self.file(file),
            Observation::NotWanted(unit) => *unit = self.unit(unit),
            Observation::Deleted(lease)
            | Observation::Expired(lease)
            | Observation::Overdue(lease, _)
            | Observation::Renewed(lease) => self.lease(lease),
            Observation::Leads(leader) => {
                *leader = leader.take().map(|id| self.machine_id(&id));
            }
        }
    }

    fn state(&mut self, state: &mut UnitState) {
        let UnitState { unit, machine, ip, load, active, sub, hash } = state;
        *unit = self.unit(unit);
        *machine = machine.take().map(|id| self.machine_id(&id));
        self.replace_some(Kind::Address, ip);
        self.replace_some(Kind::Hash, hash);
        for word in [load, active, sub] {
            keep_if(word, is_state);
        }
    }

    fn machine(&mut self, machine: &mut Machine) {
        let Machine { id, ip, metadata, version } = machine;
        *id = self.machine_id(id);
        self.replace_some(Kind::Address, ip);
        if let Some(metadata) = metadata {
            *metadata = self.metadata(metadata).into();
        }
        keep_if(version, is_version);
    }

    fn file(&mut self, file: &mut UnitFile) {
        let UnitFile { unit, hash, desired, target, description, requirements, .. } = file;
        *unit = self.unit(unit);
        *target = target.take().map(|id| self.machine_id(&id));
        self.replace_some(Kind::Hash, hash);
        self.replace_some(Kind::Description, description);
        keep_if(desired, is_state);
        for requirement in requirements {
            *requirement = self.requirement(requirement).into();
        }
    }

    fn lease(&mut self, lease: &mut Lease) {
        match lease {
            Lease::Machine(id) => *id = self.machine_id(id),
            Lease::Unit(unit, id) => {
                *unit = self.unit(unit);
                *id = self.machine_id(id);
            }
        }
    }

    fn unit(&mut self, unit: &UnitName) -> UnitName {
        self.unit_text(unit).as_str().into()
    }

    /// The name of a unit, or a pattern of names. What it is and whether it is a template or an
    /// instance stays: `web@1.service` may become `unit-7@3.service`.
    fn unit_text(&mut self, name: &str) -> String {
        let (name, suffix) = match name.rsplit_once('.') {
            Some((name, suffix)) if UNIT_TYPES.contains(&suffix) => (name, format!(".{suffix}")),
            _ => (name, String::new()),
        };
        let (prefix, instance) = match name.split_once('@') {
            Some((prefix, instance)) => (prefix, Some(instance)),
            None => (name, None),
        };

        let prefix = self.replace(Kind::UnitPrefix, prefix);
        match instance {
            None => format!("{prefix}{suffix}"),
            Some(instance @ ("" | "*")) => format!("{prefix}@{instance}{suffix}"),
            Some(instance) => {
                let instance = self.replace(Kind::Instance, instance);
                format!("{prefix}@{instance}{suffix}")
            }
        }
    }

    fn machine_id(&mut self, id: &MachineId) -> MachineId {
        self.replace(Kind::Machine, id).into()
    }

    /// Pairs of metadata between commas. A part of a value that has a comma is replaced too.
    fn metadata(&mut self, metadata: &str) -> String {
        let pairs: Vec<String> = metadata.split(',').map(|pair| self.metadata_pair(pair)).collect();
        pairs.join(",")
    }

    fn metadata_pair(&mut self, pair: &str) -> String {
        match pair.split_once('=') {
            Some((key, value)) => {
                let key = self.replace(Kind::MetadataKey, key.trim());
                let value = self.replace(Kind::MetadataValue, value.trim());
                format!("{key}={value}")
            }
            None => self.replace(Kind::MetadataValue, pair).to_string(),
        }
    }

    /// An option of `[X-Fleet]`, as `Name=value`.
    fn requirement(&mut self, requirement: &str) -> String {
        let Some((name, value)) = requirement.split_once('=') else {
            return self.replace(Kind::Requirement, requirement).to_string();
        };

        let words: Vec<&str> = match value.trim().strip_prefix('"') {
            Some(_) => value.split('"').skip(1).step_by(2).collect(),
            None => vec![value.trim()],
        };
        let mut replaced = Vec::new();
        for word in words {
            replaced.push(match name.trim_start_matches("X-Condition") {
                "MachineMetadata" => self.metadata_pair(word),
                "MachineID" | "MachineBootID" => self.replace(Kind::Machine, word).to_string(),
                "MachineOf" | "Conflicts" | "Replaces" => self.unit_text(word),
                "Global" if matches!(word, "true" | "false") => word.to_owned(),
                _ => return self.replace(Kind::Requirement, requirement).to_string(),
            });
        }

        match value.trim().starts_with('"') {
            true => format!("{name}=\"{}\"", replaced.join("\" \"")),
            false => format!("{name}={}", replaced.concat()),
        }
    }

    fn replace_some(&mut self, kind: Kind, text: &mut Option<Text>) {
        if let Some(text) = text {
            *text = self.replace(kind, text);
        }
    }

    /// The replacement of a text. An empty text stays.
    fn replace(&mut self, kind: Kind, text: &str) -> Text {
        if text.is_empty() {
            return "".into();
        }
        let key = (kind, text.to_owned());
        if let Some(known) = self.replacements.get(&key) {
            return known.clone();
        }

        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let replacement: Text = new_text(kind, text, *count).as_str().into();
        self.replacements.insert(key, replacement.clone());
        replacement
    }
}

/// A new text of a kind, the `number`th.
fn new_text(kind: Kind, text: &str, number: u32) -> String {
    match kind {
        Kind::UnitPrefix => format!("unit-{number}"),
        Kind::Instance => number.to_string(),
        // Random, so that their beginnings differ too.
        Kind::Machine => format!("{:032x}", fastrand::u128(..)),
        Kind::Hash => format!("{:08x}{:032x}", fastrand::u32(..), fastrand::u128(..)),
        Kind::Address => address(text, number),
        Kind::MetadataKey => format!("key-{number}"),
        Kind::MetadataValue => format!("value-{number}"),
        Kind::Description => format!("Description {number}"),
        Kind::Requirement => format!("Requirement-{number}=?"),
        Kind::Error => format!("error {number}"),
    }
}

/// An address of the same family: of the network for benchmarks (RFC 2544), and of the one for
/// documentation (RFC 3849), in which no machine is.
fn address(text: &str, number: u32) -> String {
    match text.parse() {
        Ok(IpAddr::V4(_)) => {
            let [_, second, third, fourth] = number.to_be_bytes();
            format!("198.{}.{third}.{fourth}", 18 + second % 2)
        }
        Ok(IpAddr::V6(_)) => format!("2001:db8::{number:x}"),
        Err(_) => format!("host-{number}"),
    }
}

/// The kind of a source and its version, without anything else that its name may have.
fn source_kind(name: &str) -> String {
    let kinds = ["fleetctl", "fleet API", "etcd"];
    let kind = kinds.into_iter().find(|kind| name.starts_with(kind));
    let version = name
        .rsplit(' ')
        .next()
        .filter(|word| word.strip_prefix('v').is_some_and(is_version));

    match (kind, version) {
        (Some(kind), Some(version)) => format!("{kind} {version}"),
        (kind, _) => kind.unwrap_or("a source").to_owned(),
    }
}

fn keep_if(word: &mut Option<Text>, is_harmless: fn(&str) -> bool) {
    if word.as_deref().is_some_and(|word| !is_harmless(word)) {
        *word = Some("other".into());
    }
}

/// Whether it can be a state of systemd or fleet.
fn is_state(word: &str) -> bool {
    word.len() <= 24 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// Whether it is the version of a release: digits and dots, and perhaps `+git`.
fn is_version(text: &str) -> bool {
    let number = text.strip_suffix("+git").unwrap_or(text);
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builders;

    fn unit(anonymizer: &mut Anonymizer, name: &str) -> String {
        anonymizer.unit(&name.into()).to_string()
    }

    #[test]
    fn a_unit_keeps_its_type_and_is_the_same_template_or_instance() {
        let mut anonymizer = Anonymizer::default();
        let names = [
            "shop@.service",
            "shop@alice.service",
            "shop@bob.service",
            "shop@alice.timer",
            "shop.socket",
            "cart.service",
            "odd.name",
        ];
        assert_eq!(
            names.map(|name| unit(&mut anonymizer, name)),
            [
                "unit-1@.service",
                "unit-1@1.service",
                "unit-1@2.service",
                "unit-1@1.timer",
                "unit-1.socket",
                "unit-2.service",
                "unit-3",
            ]
        );
    }

    #[test]
    fn the_requirements_of_a_unit_still_fit_the_metadata_of_the_machines() {
        let mut anonymizer = Anonymizer::default();
        assert_eq!(anonymizer.metadata("region=eu,role=db"), "key-1=value-1,key-2=value-2");

        for (requirement, replaced) in [
            ("MachineMetadata=role=db", "MachineMetadata=key-2=value-2"),
            (
                r#"X-ConditionMachineMetadata="region=eu" "region=us""#,
                r#"X-ConditionMachineMetadata="key-1=value-1" "key-1=value-3""#,
            ),
            ("Conflicts=shop@*.service", "Conflicts=unit-1@*.service"),
            ("MachineOf=shop@1.service", "MachineOf=unit-1@1.service"),
            ("Secret=value", "Requirement-1=?"),
        ] {
            assert_eq!(anonymizer.requirement(requirement), replaced);
        }

        let id = anonymizer.machine_id(&"m1".into());
        assert_eq!(anonymizer.requirement("MachineID=m1"), format!("MachineID={id}"));
    }

    #[test]
    fn an_address_becomes_one_of_its_family_which_no_machine_has() {
        let mut anonymizer = Anonymizer::default();
        let addresses = ["10.0.0.7", "fd00::7", "core-01", "10.0.0.7"];
        assert_eq!(
            addresses.map(|address| anonymizer.replace(Kind::Address, address).to_string()),
            ["198.18.0.1", "2001:db8::2", "host-3", "198.18.0.1"]
        );
    }

    #[test]
    fn states_and_versions_stay_unless_they_are_none() {
        let mut anonymizer = Anonymizer::default();
        let mut state = builders::unit_state("a.service", "m1", "active/auto-restart");
        anonymizer.state(&mut state);
        assert_eq!(state.text(), "active/auto-restart".into());

        state.sub = Some("10.0.0.1".into());
        anonymizer.state(&mut state);
        assert_eq!(state.text(), "active/other".into());

        for (name, kept) in [
            ("fleetctl v1.0.0", "fleetctl v1.0.0"),
            ("fleet API v0.11.8+git", "fleet API v0.11.8+git"),
            ("etcd at 10.0.0.1", "etcd"),
            ("secret", "a source"),
        ] {
            assert_eq!(source_kind(name), kept);
        }
    }
}
