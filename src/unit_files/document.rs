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
        let current = versions.current.as_ref();

        let mut others: Vec<RunningVersion> = Vec::new();
        for (hash, machine) in running {
            if current.is_some_and(|current| current.hash == *hash) {
                continue;
            }
            match others.iter_mut().find(|other| other.hash == *hash) {
                Some(other) => other.machines.push(machine.clone()),
                None => others.push(RunningVersion::new(hash, machine, versions, mode)),
            }
        }
        others.sort_by_key(|other| std::cmp::Reverse(other.machines.len()));

        Self {
            unit: unit.clone(),
            hash: current.map(|current| current.hash.clone()),
            content: current.map(|current| shown(&current.content, mode)),
            masked: mode == UnitFileMode::Masked,
            running: others,
        }
    }
}

impl RunningVersion {
    fn new(
        hash: &Text,
        machine: &MachineId,
        versions: &UnitFileVersions,
        mode: UnitFileMode,
    ) -> Self {
        let version = versions.old.iter().find(|version| version.hash == *hash);

        Self {
            hash: hash.clone(),
            machines: vec![machine.clone()],
            content: version.map(|version| shown(&version.content, mode)),
            diff: version
                .zip(versions.current.as_ref())
                .map(|(version, current)| diff(version, current, mode)),
        }
    }
}

/// A text as clients see it.
fn shown(content: &str, mode: UnitFileMode) -> String {
    match mode {
        UnitFileMode::Masked => mask(content),
        UnitFileMode::Full => content.to_owned(),
    }
}

/// All lines of both texts, with signs.
fn diff(old: &UnitFileVersion, new: &UnitFileVersion, mode: UnitFileMode) -> Vec<String> {
    let [old_shown, new_shown] = [old, new].map(|version| shown(&version.content, mode));
    let [old_lines, new_lines] = [old, new].map(|version| lines(&version.content));
    let [old_shown, new_shown] = [&old_shown, &new_shown].map(|text| lines(text));

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
