//! Parses a unit file: fleet's options, the description, and the hash. Pure.
//!
//! It must not know which source the file comes from.

use std::collections::HashMap;

use serde::Deserialize;
use sha1::{Digest, Sha1};

use super::rows::{printable, printable_if_any};
use crate::cluster::Text;

/// An option of a unit file. fleetd omits an empty value in its JSON.
#[derive(Deserialize)]
pub(super) struct UnitOption {
    #[serde(default)]
    pub(super) section: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: String,
}

/// Parses the text of a unit file as go-systemd's `unit.Deserialize` does (`systemd.syntax(7)`). If
/// a value continues on the next line, the backslash and the newline are part of the value. A line
/// that is neither a section nor an option is ignored.
pub(super) fn options(text: &str) -> Vec<UnitOption> {
    let mut section = String::new();
    let mut options = Vec::new();
    let mut lines = text.lines();

    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }

        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((name, value)) = line.split_once('=') {
            let mut value = value.trim_start().to_owned();
            while value.ends_with('\\')
                && let Some(next_line) = lines.next()
            {
                value.push('\n');
                value.push_str(next_line.trim_end());
            }

            options.push(UnitOption {
                section: section.clone(),
                name: name.trim_end().to_owned(),
                value,
            });
        }
    }

    options
}

/// The `[X-Fleet]` options that restrict which machine may run a unit, with their old names
/// (fleet's `job/job.go`).
const REQUIREMENTS: [&str; 10] = [
    "MachineID",
    "MachineOf",
    "MachineMetadata",
    "Conflicts",
    "Replaces",
    "X-ConditionMachineID",
    "X-ConditionMachineBootID",
    "X-ConditionMachineOf",
    "X-ConditionMachineMetadata",
    "X-Conflicts",
];

/// The requirements, as `Name=value`.
pub(super) fn requirements(options: &[UnitOption]) -> Vec<Text> {
    options
        .iter()
        .filter(|option| option.section == "X-Fleet" && REQUIREMENTS.contains(&&*option.name))
        .map(|option| printable(&format!("{}={}", option.name, option.value)))
        .collect()
}

/// Whether the last option `Global` of `[X-Fleet]` is true. Unlike the requirements, this option
/// has no old name (fleet's `job/job.go`).
pub(super) fn is_global(options: &[UnitOption]) -> bool {
    let last = options
        .iter()
        .rev()
        .find(|option| option.section == "X-Fleet" && option.name == "Global");

    last.is_some_and(|option| {
        let value = option.value.trim_matches('"').to_lowercase();
        ["true", "yes", "1", "on", "t"].contains(&value.as_str())
    })
}

/// The first `Description` of `[Unit]`, which fleetctl prints (fleet's `unit/unit.go`), on one
/// line: a backslash, the newline after it and the blanks that follow become one space.
pub(super) fn description(options: &[UnitOption]) -> Option<Text> {
    let first = options
        .iter()
        .find(|option| option.section == "Unit" && option.name == "Description")?;

    let mut lines = first.value.split("\\\n");
    let mut joined = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        joined.push(' ');
        joined.push_str(line.trim_start());
    }
    printable_if_any(Some(&joined))
}

/// The SHA-1 by which fleet identifies a unit file: that of its [`text`].
pub(super) fn hash(options: &[UnitOption]) -> String {
    sha1(&text(options))
}

/// The text of a unit file as fleet stores it, which go-systemd's `unit.Serialize` writes: sections
/// in the order in which they first appear, each with all its options.
pub(super) fn text(options: &[UnitOption]) -> String {
    let mut sections: Vec<String> = Vec::new();
    let mut indices: HashMap<&str, usize> = HashMap::new();

    for UnitOption { section, name, value } in options {
        let index = *indices.entry(section).or_insert_with(|| {
            sections.push(format!("[{section}]\n"));
            sections.len() - 1
        });
        sections[index] += &format!("{name}={value}\n");
    }
    sections.join("\n")
}

/// The hash of a text as fleet has it. fleet hashes the options of a file, and very old versions
/// may have hashed the text as it was. So if the text itself has the expected hash, it is that.
pub(super) fn hash_of_text(text: &str, expected: Option<&str>) -> String {
    let as_it_is = sha1(text);
    if expected == Some(&as_it_is) {
        return as_it_is;
    }
    hash(&options(text))
}

fn sha1(text: &str) -> String {
    Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_parsed_into_options() {
        let text = "# comment\n\
                    [Unit]\nDescription = Web \\\n  front end\n\n\
                    [X-Fleet]\nGlobal=true\n; Global=false\nno option\n\
                    MachineMetadata=role=web\nExecStart=\\";
        let read: Vec<_> = options(text)
            .into_iter()
            .map(|option| (option.section, option.name, option.value))
            .collect();
        let expected = [
            ("Unit", "Description", "Web \\\n  front end"),
            ("X-Fleet", "Global", "true"),
            ("X-Fleet", "MachineMetadata", "role=web"),
            ("X-Fleet", "ExecStart", "\\"),
        ];
        assert_eq!(
            read,
            expected.map(|(section, name, value)| (section.into(), name.into(), value.into()))
        );

        let read = options(text);
        assert_eq!(description(&read).as_deref(), Some("Web  front end"));
        assert!(is_global(&read));
        assert_eq!(requirements(&read), ["MachineMetadata=role=web".into()]);
    }

    #[test]
    fn the_hash_of_a_text_that_fleet_wrote_is_that_of_fleet() {
        let text = "[Unit]\nDescription=Web front end\n\n\
                    [Service]\nExecStart=/bin/sleep infinity\n\n\
                    [X-Fleet]\nMachineMetadata=role=web\n";
        assert_eq!(hash(&options(text)), "a54d85379efe04d9b798936c1f3b9cffedff1b74");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let read = options(&text);
            let _ = (description(&read), is_global(&read), requirements(&read), hash(&read));
        }
    }
}
