//! The answer for clients: a unit file, and how the versions that machines run differ from it.
//! Pure.
//!
//! Texts are compared as they are, and only then masked. So a secret that was changed is a changed
//! line, although both lines look the same.

use serde::Serialize;

use super::diff::{LineChange, changes};
use super::masking::mask;
use super::{UnitFileMode, UnitFileVersion, UnitFileVersions};
use crate::cluster::{MachineId, Text, UnitName};

/// A unit file as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnitFileDocument {
    unit: UnitName,
    /// The hash of the file that fleet has. `None`: it has none any more.
    hash: Option<Text>,
    content: Option<String>,
    /// Whether values that look like secrets are masked.
    masked: bool,
    /// The other versions that machines run, the one on most machines first.
    running: Vec<RunningVersion>,
}

/// A version that fleet does not have any more, or not yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct RunningVersion {
    hash: Text,
    /// The machines that run it.
    machines: Vec<MachineId>,
    /// `None`: neither the source nor the cache has it.
    content: Option<String>,
    /// From this version to that of fleet: each line after a space, a `-` or a `+`.
    diff: Option<Vec<String>>,
}

impl UnitFileDocument {
    /// What clients see of these versions. `running` says which machine reports which version.
    pub fn new(
        unit: &UnitName,
        versions: &UnitFileVersions,
        running: &[(Text, MachineId)],
        mode: UnitFileMode,
    ) -> Self {
        let current = versions
            .current
            .as_ref()
            .map(|current| ShownVersion::new(current, mode));

        let mut others: Vec<RunningVersion> = Vec::new();
        for (hash, machine) in running {
            if current.as_ref().is_some_and(|current| current.version.hash == *hash) {
                continue;
            }
            match others.iter_mut().find(|other| other.hash == *hash) {
                Some(other) => other.machines.push(machine.clone()),
                None => {
                    let old = versions.old.iter().find(|version| version.hash == *hash);
                    let old = old.map(|old| ShownVersion::new(old, mode));
                    others.push(RunningVersion::new(hash, machine, old, current.as_ref()));
                }
            }
        }
        others.sort_by_key(|other| std::cmp::Reverse(other.machines.len()));

        Self {
            unit: unit.clone(),
            hash: current.as_ref().map(|current| current.version.hash.clone()),
            content: current.map(|current| current.text),
            masked: mode == UnitFileMode::Masked,
            running: others,
        }
    }
}

impl RunningVersion {
    fn new(
        hash: &Text,
        machine: &MachineId,
        version: Option<ShownVersion>,
        current: Option<&ShownVersion>,
    ) -> Self {
        Self {
            hash: hash.clone(),
            machines: vec![machine.clone()],
            diff: version
                .as_ref()
                .zip(current)
                .map(|(version, current)| diff(version, current)),
            content: version.map(|version| version.text),
        }
    }
}

/// A version, and its text as clients see it, which takes a while to make.
struct ShownVersion<'a> {
    version: &'a UnitFileVersion,
    text: String,
}

impl<'a> ShownVersion<'a> {
    fn new(version: &'a UnitFileVersion, mode: UnitFileMode) -> Self {
        let text = match mode {
            UnitFileMode::Masked => mask(&version.content),
            UnitFileMode::Full => version.content.to_string(),
        };
        Self { version, text }
    }
}

/// All lines of both texts, with signs.
fn diff(old: &ShownVersion, new: &ShownVersion) -> Vec<String> {
    let [old_lines, new_lines] = [old, new].map(|shown| lines(&shown.version.content));
    let [old_shown, new_shown] = [old, new].map(|shown| lines(&shown.text));

    changes(&old_lines, &new_lines)
        .into_iter()
        .map(|change| match change {
            LineChange::Kept(line) => format!(" {}", new_shown[line]),
            LineChange::Removed(line) => format!("-{}", old_shown[line]),
            LineChange::Added(line) => format!("+{}", new_shown[line]),
        })
        .collect()
}

/// The lines of a text. Masking keeps their number.
fn lines(text: &str) -> Vec<&str> {
    text.strip_suffix('\n').unwrap_or(text).split('\n').collect()
}
