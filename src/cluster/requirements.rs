//! Whether a machine meets the requirements of a global unit, as fleet itself decides it.
//!
//! It knows nothing of what fleet has scheduled.

use std::collections::BTreeMap;

use super::model::{Machine, Text, UnitFile};

/// Whether a machine meets the requirements of a global unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequirementsMatch {
    Yes,
    No,
    /// The requirements are not known, or depend on more than the machine's ID and metadata.
    Unknown,
}

/// Compares the requirements of a unit with a machine (fleet v1.0.0, `job/job.go` and
/// `machine/machine.go`): for each metadata key that is named, the machine must have one of the
/// values.
pub(crate) fn match_requirements(file: &UnitFile, machine: &Machine) -> RequirementsMatch {
    if file.requirements.is_empty() && !file.requirements_known {
        return RequirementsMatch::Unknown;
    }
    let mut required: BTreeMap<&str, Vec<&str>> = BTreeMap::new();

    for requirement in &file.requirements {
        let Some((name, value)) = requirement.split_once('=') else {
            return RequirementsMatch::Unknown;
        };

        match name.trim_start_matches("X-Condition") {
            "MachineMetadata" => {
                for pair in quoted_words(value) {
                    let Some((key, value)) = pair.split_once('=') else {
                        continue;
                    };
                    required.entry(key.trim()).or_default().push(value.trim());
                }
            }
            "MachineID" if value.trim_matches('"') != &*machine.id => {
                return RequirementsMatch::No;
            }
            "MachineID" => {}
            _ => return RequirementsMatch::Unknown,
        }
    }

    let metadata = metadata_pairs(machine.metadata.as_ref());
    let is_met = |(key, values): (&&str, &Vec<&str>)| {
        metadata
            .iter()
            .any(|(name, value)| name == key && values.contains(value))
    };
    if required.iter().all(is_met) {
        RequirementsMatch::Yes
    } else {
        RequirementsMatch::No
    }
}

/// The words of a value such as `"region=us-west" "region=us-east"`; a value without quotes is one
/// word.
fn quoted_words(value: &str) -> Vec<&str> {
    let value = value.trim();
    if !value.starts_with('"') {
        return vec![value];
    }

    value.split('"').skip(1).step_by(2).collect()
}

/// Splits metadata as fleetctl prints it. A value that contains a comma is cut there; it then
/// equals no required value.
fn metadata_pairs(metadata: Option<&Text>) -> Vec<(&str, &str)> {
    metadata
        .map_or(vec![], |text| text.split(',').filter_map(|pair| pair.split_once('=')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builders;

    fn global_unit(requirements: &[&str]) -> UnitFile {
        let requirements = requirements.iter().map(|text| (*text).into()).collect();
        UnitFile {
            global: true,
            requirements,
            ..builders::unit_file("a.service", None)
        }
    }

    fn machine(metadata: &str) -> Machine {
        Machine { metadata: Some(metadata.into()), ..builders::machine("m1") }
    }

    #[test]
    fn for_each_metadata_key_one_of_the_values_is_required() {
        let matches = |requirements: &[&str], metadata| {
            match_requirements(&global_unit(requirements), &machine(metadata))
        };
        let either = r#"MachineMetadata="region=us-west" "region=us-east""#;
        let web = "MachineMetadata=role=web";

        assert_eq!(matches(&[], ""), RequirementsMatch::Yes);
        assert_eq!(matches(&[either], "region=us-east,role=db"), RequirementsMatch::Yes);
        assert_eq!(matches(&[either], "region=eu"), RequirementsMatch::No);
        assert_eq!(matches(&[either, web], "region=us-east,role=db"), RequirementsMatch::No);

        let condition = "X-ConditionMachineMetadata=role=web";
        assert_eq!(matches(&[condition], "role=web"), RequirementsMatch::Yes);
        assert_eq!(matches(&["MachineID=m1"], ""), RequirementsMatch::Yes);
        assert_eq!(matches(&["MachineID=m2"], ""), RequirementsMatch::No);
    }

    #[test]
    fn requirements_that_depend_on_other_units_or_are_not_known_cannot_be_decided() {
        let conflicting = global_unit(&["Conflicts=b.service"]);
        let unknown = UnitFile { requirements_known: false, ..global_unit(&[]) };

        for file in [conflicting, unknown] {
            assert_eq!(match_requirements(&file, &machine("")), RequirementsMatch::Unknown);
        }
    }
}
