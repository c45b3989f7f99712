//! What fleet wants: the unit files, and where their units belong.
//!
//! It knows nothing of what machines report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::model::{Machine, Moment, Span, Text, UnitFile, UnitName};

/// Whether fleet wants a unit on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It does, or has not chosen another machine as far as the source tells.
    Here {
        /// Whether it wants it on all machines that meet its requirements.
        global: bool,
    },
    /// It wants it on another machine.
    Elsewhere,
    /// It wants it, and has not chosen a machine.
    Nowhere,
    /// It does not want it.
    Not(NotWanted),
    /// The unit files have not been read since the row appeared.
    Unknown,
}

/// Why fleet does not want a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotWanted {
    NoFile,
    Unloaded,
}

/// Whether a machine meets what a global unit requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Yes,
    No,
    /// What it requires is not known, or cannot be judged from here.
    Unknown,
}

/// The unit files, as they were last read.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    files: BTreeMap<UnitName, Arc<UnitFile>>,
    /// The global ones.
    global: BTreeSet<UnitName>,
    read: Option<Span>,
    /// Since when lists have been empty that were not before.
    empty_since: Option<Moment>,
}

impl Desired {
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

    /// Whether they have been read at all.
    pub(crate) fn is_known(&self) -> bool {
        self.read.is_some()
    }

    /// Whether they have been read since a moment, and whole.
    pub(crate) fn is_known_since(&self, moment: Moment) -> bool {
        self.read.is_some_and(|read| read.is_since(moment))
    }

    /// When the last reading of them began.
    pub(crate) fn read_at(&self) -> Option<Moment> {
        self.read.map(|read| read.begun)
    }

    /// What is known is known to be so at this moment.
    pub(crate) fn confirm(&mut self, read: Span) {
        self.read = Some(read);
    }

    /// Takes a whole list. A file that it lacks stays where the list is not believed to be whole.
    /// Returns the units whose files changed.
    pub(crate) fn list(
        &mut self,
        files: Vec<UnitFile>,
        read: Span,
        is_whole: bool,
    ) -> Vec<UnitName> {
        self.read = Some(read);
        let mut lacking: BTreeSet<UnitName> = self.files.keys().cloned().collect();
        let mut changed = Vec::new();

        for file in files {
            lacking.remove(&file.unit);
            changed.extend(self.want(file));
        }
        if is_whole {
            changed.extend(lacking.into_iter().filter_map(|unit| self.forget(&unit)));
        }
        changed
    }

    /// Whether a list may be taken as the whole truth. An etcd without any fleet key answers with
    /// empty lists and no error: so an empty list is believed only when machines that were read
    /// after the first one show that it is fleet.
    pub(crate) fn is_plausible(
        &mut self,
        files: &[UnitFile],
        read: Span,
        machines_read: Option<Span>,
    ) -> bool {
        if !files.is_empty() {
            self.empty_since = None;
            return true;
        }
        let since = *self.empty_since.get_or_insert(read.begun);
        machines_read.is_some_and(|machines| machines.is_since(since))
    }

    /// The reading of an empty list that was not believed, if machines that were read at this later
    /// time confirm it.
    pub(crate) fn empty_list_confirmed_by(&self, machines_read: Span) -> Option<Span> {
        let was_doubted = self.empty_since.is_some_and(|since| machines_read.is_since(since))
            && !self.files.is_empty();
        self.read.filter(|_| was_doubted)
    }

    /// Takes one unit file. Returns its unit if that is news.
    pub(crate) fn want(&mut self, file: UnitFile) -> Option<UnitName> {
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

    /// Takes a unit file away. Returns its unit if it was there.
    pub(crate) fn forget(&mut self, unit: &UnitName) -> Option<UnitName> {
        self.global.remove(unit);
        self.files.remove(unit).map(|_| unit.clone())
    }

    /// Whether fleet wants a unit on a machine, on which a row of it appeared at a moment.
    pub(crate) fn wants(&self, unit: &UnitName, machine: &Machine, appeared: Moment) -> Wanted {
        let Some(file) = self.files.get(unit) else {
            return if self.is_known_since(appeared) {
                Wanted::Not(NotWanted::NoFile)
            } else {
                Wanted::Unknown
            };
        };
        if file.desired.as_deref() == Some("inactive") {
            return if self.is_known_since(appeared) {
                Wanted::Not(NotWanted::Unloaded)
            } else {
                Wanted::Unknown
            };
        }
        if file.global {
            return if matches(file, machine) == Match::No {
                Wanted::Elsewhere
            } else {
                Wanted::Here { global: true }
            };
        }

        match &file.target {
            _ if !file.target_known => Wanted::Here { global: false },
            Some(target) if *target == machine.id => Wanted::Here { global: false },
            _ if !self.is_known_since(appeared) => Wanted::Unknown,
            Some(_) => Wanted::Elsewhere,
            None => Wanted::Nowhere,
        }
    }
}

/// Whether a machine meets what a global unit requires (fleet v1.0.0, `job/job.go` and
/// `machine/machine.go`): of each key of its metadata that is named, one of the values.
pub(crate) fn matches(file: &UnitFile, machine: &Machine) -> Match {
    if file.requirements.is_empty() && !file.requirements_known {
        return Match::Unknown;
    }
    let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();

    for requirement in &file.requirements {
        let Some((name, value)) = requirement.split_once('=') else {
            return Match::Unknown;
        };
        match name.trim_start_matches("X-Condition") {
            "MachineMetadata" => {
                for pair in quoted_words(value) {
                    let Some((key, value)) = pair.split_once('=') else {
                        continue;
                    };
                    wanted.entry(key.trim()).or_default().push(value.trim());
                }
            }
            "MachineID" if value.trim_matches('"') != &*machine.id => return Match::No,
            "MachineID" => {}
            _ => return Match::Unknown,
        }
    }

    let metadata: Vec<(&str, &str)> = pairs(machine.metadata.as_ref());
    let meets = |(key, values): (&&str, &Vec<&str>)| {
        metadata
            .iter()
            .any(|(name, value)| name == key && values.contains(value))
    };
    if wanted.iter().all(meets) {
        Match::Yes
    } else {
        Match::No
    }
}

/// The words of a value such as `"region=us-west" "region=us-east"`, or the one that it is.
fn quoted_words(value: &str) -> Vec<&str> {
    let value = value.trim();
    if !value.starts_with('"') {
        return vec![value];
    }
    value.split('"').skip(1).step_by(2).collect()
}

/// Metadata as fleetctl prints it. A value that has a comma itself is cut, which makes it no value
/// that is asked for.
fn pairs(metadata: Option<&Text>) -> Vec<(&str, &str)> {
    metadata
        .map_or(vec![], |text| text.split(',').filter_map(|pair| pair.split_once('=')).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::builders;

    fn file(requirements: &[&str]) -> UnitFile {
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
    fn of_each_metadata_key_one_value_must_be_met() {
        let meets =
            |requirements: &[&str], metadata| matches(&file(requirements), &machine(metadata));
        let either = r#"MachineMetadata="region=us-west" "region=us-east""#;

        assert_eq!(meets(&[], ""), Match::Yes);
        assert_eq!(meets(&[either], "region=us-east,role=db"), Match::Yes);
        assert_eq!(meets(&[either], "region=eu"), Match::No);
        assert_eq!(
            meets(&[either, "MachineMetadata=role=web"], "region=us-east,role=db"),
            Match::No
        );
        assert_eq!(meets(&["X-ConditionMachineMetadata=role=web"], "role=web"), Match::Yes);
        assert_eq!(meets(&["MachineID=m1"], ""), Match::Yes);
        assert_eq!(meets(&["MachineID=m2"], ""), Match::No);
    }

    /// A reading that took no time, so many seconds after the start.
    fn read(start: Moment, second: u64) -> Span {
        let at = start + Duration::from_secs(second);
        Span { begun: at, ended: at }
    }

    fn on(target: Option<&str>, desired: &str) -> UnitFile {
        UnitFile {
            desired: Some(desired.into()),
            ..builders::unit_file("a.service", target)
        }
    }

    /// Whether fleet wants `a.service` on m1, by a list that was read a second after its row
    /// appeared, or before that.
    fn wants(files: Vec<UnitFile>, read_later: bool) -> Wanted {
        let start = Moment::now();
        let mut desired = Desired::default();
        desired.list(files, read(start, 1), true);
        let appeared = if read_later {
            start
        } else {
            start + Duration::from_secs(2)
        };
        desired.wants(&"a.service".into(), &machine("role=web"), appeared)
    }

    #[test]
    fn a_unit_is_wanted_where_its_file_says() {
        assert_eq!(wants(vec![on(Some("m1"), "launched")], true), Wanted::Here { global: false });
        assert_eq!(wants(vec![on(Some("m2"), "launched")], true), Wanted::Elsewhere);
        assert_eq!(wants(vec![on(None, "launched")], true), Wanted::Nowhere);
        assert_eq!(wants(vec![on(None, "inactive")], true), Wanted::Not(NotWanted::Unloaded));
        assert_eq!(wants(vec![], true), Wanted::Not(NotWanted::NoFile));
    }

    #[test]
    fn a_list_that_is_older_than_a_row_says_only_that_it_is_wanted_there() {
        assert_eq!(wants(vec![on(Some("m1"), "launched")], false), Wanted::Here { global: false });
        for files in [
            vec![on(Some("m2"), "launched")],
            vec![on(None, "launched")],
            vec![on(None, "inactive")],
            vec![],
        ] {
            assert_eq!(wants(files.clone(), false), Wanted::Unknown, "{files:?}");
        }
    }

    #[test]
    fn without_targets_a_unit_is_wanted_wherever_it_is() {
        let untold = UnitFile { target_known: false, ..on(None, "launched") };
        assert_eq!(wants(vec![untold], true), Wanted::Here { global: false });
    }

    #[test]
    fn a_global_unit_is_wanted_where_its_requirements_are_met() {
        assert_eq!(
            wants(vec![file(&["MachineMetadata=role=web"])], true),
            Wanted::Here { global: true }
        );
        assert_eq!(wants(vec![file(&["MachineMetadata=role=db"])], true), Wanted::Elsewhere);
        assert_eq!(
            wants(vec![file(&["Conflicts=b.service"])], true),
            Wanted::Here { global: true },
            "who knows"
        );
    }

    #[test]
    fn a_list_that_is_not_whole_takes_no_file_away() {
        let start = Moment::now();
        let mut desired = Desired::default();
        assert_eq!(
            desired.list(vec![on(None, "launched")], read(start, 0), true),
            ["a.service".into()]
        );
        assert_eq!(desired.list(vec![], read(start, 1), false), []);
        assert_eq!(desired.list(vec![], read(start, 2), true), ["a.service".into()]);
        assert!(desired.get(&"a.service".into()).is_none());
    }

    #[test]
    fn an_empty_list_is_believed_when_machines_were_read_after_the_first_one() {
        let start = Moment::now();
        let mut desired = Desired::default();
        desired.list(vec![on(None, "launched")], read(start, 0), true);

        assert!(!desired.is_plausible(&[], read(start, 10), Some(read(start, 5))));
        assert_eq!(desired.empty_list_confirmed_by(read(start, 9)), None);
        assert_eq!(
            desired.empty_list_confirmed_by(read(start, 11)),
            Some(read(start, 0)),
            "with the machines themselves"
        );
        assert!(
            desired.is_plausible(&[], read(start, 20), Some(read(start, 11))),
            "or the next time"
        );

        let files = [on(None, "launched")];
        assert!(desired.is_plausible(&files, read(start, 30), None));
        assert!(
            !desired.is_plausible(&[], read(start, 40), Some(read(start, 31))),
            "it begins anew"
        );
    }

    #[test]
    fn what_cannot_be_judged_is_unknown() {
        assert_eq!(matches(&file(&["Conflicts=b.service"]), &machine("")), Match::Unknown);
        let untold = UnitFile { requirements_known: false, ..file(&[]) };
        assert_eq!(matches(&untold, &machine("")), Match::Unknown);
    }
}
