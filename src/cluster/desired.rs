//! What fleet wants: the unit files, and on which machines their units belong.
//!
//! It knows nothing of what machines report.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::model::{Machine, Moment, ReadSpan, UnitFile, UnitName};
use super::requirements::{RequirementsMatch, match_requirements};

/// Whether fleet wants a unit on a given machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DesiredPlacement {
    /// On this machine, or at least on no other one, as far as the source tells.
    Here {
        /// Whether the unit is global: wanted on all machines that meet its requirements.
        global: bool,
    },
    /// On another machine, or, for a global unit, on machines that this one does not resemble.
    Elsewhere,
    /// On some machine, which fleet has not chosen yet.
    Unassigned,
    NotWanted(NotWanted),
    /// The unit files have not been read since the row appeared.
    Unknown,
}

/// Why fleet does not want a unit on any machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotWanted {
    NoFile,
    Unloaded,
}

/// The unit files as last read.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    files: BTreeMap<UnitName, Arc<UnitFile>>,
    /// The global ones of `files`.
    global: BTreeSet<UnitName>,
    read: Option<ReadSpan>,
    /// When the first of the most recent empty lists was read; `None` after a list with files.
    empty_since: Option<Moment>,
}

impl Desired {
    /// The unit files that were saved, as last read at this moment.
    pub(crate) fn restore(files: Vec<UnitFile>, read: Moment) -> Self {
        let mut desired = Self {
            read: Some(ReadSpan { begun: read, ended: read }),
            ..Self::default()
        };

        for file in files {
            desired.insert(file);
        }
        desired
    }

    pub(crate) fn get(&self, unit: &UnitName) -> Option<&Arc<UnitFile>> {
        self.files.get(unit)
    }

    pub(crate) fn units(&self) -> impl Iterator<Item = &UnitName> {
        self.files.keys()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(crate) fn global_units(&self) -> impl Iterator<Item = &UnitName> {
        self.global.iter()
    }

    /// Whether the unit files have ever been read.
    pub(crate) fn is_known(&self) -> bool {
        self.read.is_some()
    }

    /// Whether the last reading of the unit files began at or after a moment.
    pub(crate) fn is_known_since(&self, moment: Moment) -> bool {
        self.read.is_some_and(|read| read.is_since(moment))
    }

    /// When the last reading of the unit files began.
    pub(crate) fn read_began(&self) -> Option<Moment> {
        self.read.map(|read| read.begun)
    }

    /// Records that the unit files were read again and have not changed.
    pub(crate) fn confirm(&mut self, read: ReadSpan) {
        self.read = Some(read);
    }

    /// Applies a whole list. Files that it does not contain are removed only if it `is_complete`.
    /// Returns the units whose files changed.
    pub(crate) fn apply_list(
        &mut self,
        files: Vec<UnitFile>,
        read: ReadSpan,
        is_complete: bool,
    ) -> Vec<UnitName> {
        self.read = Some(read);
        let mut unlisted: BTreeSet<UnitName> = self.files.keys().cloned().collect();
        let mut changed = Vec::new();

        for file in files {
            unlisted.remove(&file.unit);
            changed.extend(self.insert(file));
        }
        if is_complete {
            changed.extend(unlisted.into_iter().filter_map(|unit| self.remove(&unit)));
        }
        changed
    }

    /// Whether a list can be complete. An etcd without any key of fleet yields empty lists and no
    /// error. An empty list is therefore accepted only after machines were read later than the
    /// first empty list, which shows that fleet's keys are there.
    pub(crate) fn is_plausible(
        &mut self,
        files: &[UnitFile],
        read: ReadSpan,
        machines_read: Option<ReadSpan>,
    ) -> bool {
        if !files.is_empty() {
            self.empty_since = None;
            return true;
        }

        let empty_since = *self.empty_since.get_or_insert(read.begun);
        machines_read.is_some_and(|machines| machines.is_since(empty_since))
    }

    /// The reading of an empty list that was not accepted, if machines that were read at this later
    /// time confirm it.
    pub(crate) fn empty_list_confirmed_by(&self, machines_read: ReadSpan) -> Option<ReadSpan> {
        let is_confirmed = self.empty_since.is_some_and(|since| machines_read.is_since(since));
        let was_rejected = !self.files.is_empty();

        self.read.filter(|_| is_confirmed && was_rejected)
    }

    /// Inserts one unit file. Returns its unit if the file is new or has changed.
    pub(crate) fn insert(&mut self, file: UnitFile) -> Option<UnitName> {
        let unit = file.unit.clone();
        if self.files.get(&unit).is_some_and(|known| **known == file) {
            return None;
        }

        if file.global {
            self.global.insert(unit.clone());
        } else {
            self.global.remove(&unit);
        }
        self.files.insert(unit.clone(), Arc::new(file));
        Some(unit)
    }

    /// Removes a unit file. Returns its unit if there was one.
    pub(crate) fn remove(&mut self, unit: &UnitName) -> Option<UnitName> {
        self.global.remove(unit);
        self.files.remove(unit).map(|_| unit.clone())
    }

    /// Whether fleet wants a unit on a machine, where its row appeared at a given moment. Unit
    /// files that were read before that cannot tell that the row is wrong.
    pub(crate) fn placement(
        &self,
        unit: &UnitName,
        machine: &Machine,
        appeared: Moment,
    ) -> DesiredPlacement {
        let if_known = |placement| {
            if self.is_known_since(appeared) {
                placement
            } else {
                DesiredPlacement::Unknown
            }
        };
        let Some(file) = self.files.get(unit) else {
            return if_known(DesiredPlacement::NotWanted(NotWanted::NoFile));
        };

        if file.desired.as_deref() == Some("inactive") {
            return if_known(DesiredPlacement::NotWanted(NotWanted::Unloaded));
        }
        if file.global {
            return match match_requirements(file, machine) {
                RequirementsMatch::No => DesiredPlacement::Elsewhere,
                RequirementsMatch::Yes | RequirementsMatch::Unknown => {
                    DesiredPlacement::Here { global: true }
                }
            };
        }

        match &file.target {
            _ if !file.target_known => DesiredPlacement::Here { global: false },
            Some(target) if *target == machine.id => DesiredPlacement::Here { global: false },
            Some(_) => if_known(DesiredPlacement::Elsewhere),
            None => if_known(DesiredPlacement::Unassigned),
        }
    }
}
