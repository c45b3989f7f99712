//! What a unit file says that matters here: fleet's options, the description, the hash. Pure.

use std::collections::HashMap;

use serde::Deserialize;
use sha1::{Digest, Sha1};

use super::rows::{non_empty, printable};
use crate::cluster::Text;

/// A line of a unit file. fleetd leaves an empty value out.
#[derive(Deserialize)]
pub(super) struct UnitOption {
    #[serde(default)]
    pub(super) section: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: String,
}

/// The options of a unit file's text, as go-systemd's `unit.Deserialize` reads it
/// (`systemd.syntax(7)`): a value that goes on after a backslash has the backslash and the newline
/// in it. What is no option is passed over.
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
                && let Some(more) = lines.next()
            {
                value.push('\n');
                value.push_str(more.trim_end());
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

/// The `[X-Fleet]` options that decide which machine may take a unit, with their old spellings
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
    let ours = options
        .iter()
        .filter(|option| option.section == "X-Fleet" && REQUIREMENTS.contains(&&*option.name));
    ours.map(|option| printable(&format!("{}={}", option.name, option.value)))
        .collect()
}

/// Whether the last `Global` of `[X-Fleet]` says so. There is no old spelling of it (fleet's
/// `job/job.go`).
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

/// The first `Description` of `[Unit]`, the one that fleetctl prints (fleet's `unit/unit.go`), on
/// one line: what joins a continued line, and the blanks that begin it, become one space.
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
    non_empty(Some(&joined))
}

/// The SHA-1 by which fleet knows a unit file's content: of the file as go-systemd's
/// `unit.Serialize` writes it, with the options of a section together, in the order in which the
/// sections first appear.
pub(super) fn hash(options: &[UnitOption]) -> String {
    let mut sections: Vec<String> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for UnitOption { section, name, value } in options {
        let place = *places.entry(section).or_insert_with(|| {
            sections.push(format!("[{section}]\n"));
            sections.len() - 1
        });
        sections[place] += &format!("{name}={value}\n");
    }
    Sha1::digest(sections.join("\n"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_read_as_options() {
        let text = "# comment\n[Unit]\nDescription = Web \\\n  front end\n\n[X-Fleet]\nGlobal=true\n; Global=false\nno option\nMachineMetadata=role=web\nExecStart=\\";
        let read: Vec<_> = options(text)
            .into_iter()
            .map(|it| (it.section, it.name, it.value))
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
    fn hash_is_that_of_the_text_where_fleet_wrote_it() {
        let text = "[Unit]\nDescription=Web front end\n\n[Service]\nExecStart=/bin/sleep infinity\n\n[X-Fleet]\nMachineMetadata=role=web\n";
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
