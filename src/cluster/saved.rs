//! What is kept of a cluster over a restart of the program, as plain data.
//!
//! It does not know where it is kept, nor what becomes of it.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::crash_loop::SavedRestarts;
use super::model::{Machine, MachineId, ReadSpan, RowKey, UnitFile, UnitName, UnitState};
use super::observation::Reading;
use super::report::Absence;
use super::saved_time::SavedTime;
use super::transition::{Event, Transition};
use super::unit_life::UnitPresence;
use super::verdict::Verdict;

/// All that was known of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavedCluster {
    /// In any order, like the other lists.
    pub rows: Vec<SavedRow>,
    /// The machines, lost ones too.
    pub machines: Vec<SavedMachine>,
    /// The unit files.
    pub files: Vec<UnitFile>,
    /// The number of the last transition.
    pub transitions: u64,
    /// Until when all of it was up to date; `None` if nothing was saved.
    pub saved: Option<SavedTime>,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedRow {
    /// The last reported state. Of a row that no machine has reported, only the unit and its
    /// machine.
    pub(crate) state: UnitState,
    pub(crate) appeared: SavedTime,
    pub(crate) since: SavedTime,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) since_seen: bool,
    pub(crate) verdict: Verdict,
    pub(crate) verdict_since: SavedTime,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) verdict_since_seen: bool,
    pub(crate) kind: SavedRowKind,
}

/// Whether a machine has reported the row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SavedRowKind {
    Expected { listed: bool },
    Reported(SavedReport),
}

/// What is known of a row that a machine reports, or did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedReport {
    /// `None`: it is reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) absence: Option<SavedAbsence>,
    pub(crate) presence: UnitPresence,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) without_address: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) came_back: Option<SavedTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restarts: Option<SavedRestarts>,
}

/// Since when a row has not been reported, and why.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedAbsence {
    pub(crate) since: SavedTime,
    pub(crate) absence: Absence,
    pub(crate) confirmed: bool,
}

impl SavedRow {
    /// The key of its row.
    pub fn key(&self) -> RowKey {
        (self.state.unit.clone(), self.state.machine.clone())
    }
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedMachine {
    /// Its description as last read.
    pub machine: Machine,
    pub(crate) presence: SavedPresence,
    pub(crate) since: SavedTime,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) since_seen: bool,
    /// See [`Member::ran`](super::Member::ran).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ran: Vec<UnitName>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedEvent {
    /// See [`Transition::number`].
    pub number: u64,
    time: SavedTime,
    event: Event,
}

impl SavedEvent {
    /// The unit that it is about, if it is about one.
    pub(crate) fn unit(&self) -> Option<&UnitName> {
        self.event.place().map(|place| &place.unit)
    }

    /// The machine that it, or its unit, belongs to.
    pub(crate) fn machine(&self) -> Option<&MachineId> {
        self.event.machine()
    }
}

impl From<&Transition> for SavedEvent {
    fn from(transition: &Transition) -> Self {
        Self {
            number: transition.number,
            time: SavedTime(transition.time),
            event: transition.event.clone(),
        }
    }
}

impl From<SavedEvent> for Transition {
    fn from(SavedEvent { number, time, event }: SavedEvent) -> Self {
        Self { number, time: time.0, event }
    }
}

/// The state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SavedPresence {
    Present,
    Silent { since: SavedTime },
    Missing { since: SavedTime },
    Lost { since: SavedTime },
    Returned,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl SavedCluster {
    /// Whether nothing was saved.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.machines.is_empty()
    }

    /// Removes machines that have been lost for the keep time, and the rows on them.
    pub(crate) fn remove_long_lost(&mut self, keep: Duration, now: SystemTime) {
        let is_over = |saved: &SavedMachine| match saved.presence {
            SavedPresence::Lost { since } => {
                now.duration_since(since.0).is_ok_and(|age| age >= keep)
            }
            _ => false,
        };
        let over: BTreeSet<MachineId> = self
            .machines
            .iter()
            .filter(|saved| is_over(saved))
            .map(|saved| saved.machine.id.clone())
            .collect();

        let is_on_one = |row: &SavedRow| {
            let machine = row.state.machine.as_ref();
            machine.is_some_and(|machine| over.contains(machine))
        };
        self.rows.retain(|row| !is_on_one(row));
        self.machines.retain(|saved| !over.contains(&saved.machine.id));
    }
}

/// What a reading shows of the question whether a saved cluster is the one that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClusterMatch {
    /// It has a machine or a unit that was saved.
    Same,
    /// It has none of them.
    Other,
    /// It lists nothing yet.
    Unknown,
}

/// The machines and units of a saved cluster, until a reading shows whether it is the one that is
/// read.
#[derive(Debug)]
pub(crate) struct SavedIdentity {
    machines: BTreeSet<MachineId>,
    units: BTreeSet<UnitName>,
    has_read_others: bool,
    has_read_units: bool,
    /// The last readings of each list, which are all that is known if it is another cluster.
    readings: Vec<(Reading, ReadSpan)>,
}

impl SavedIdentity {
    pub(crate) fn of(saved: &SavedCluster) -> Self {
        let of_rows = saved.rows.iter().filter_map(|row| row.state.machine.clone());
        let of_machines = saved.machines.iter().map(|saved| saved.machine.id.clone());

        Self {
            machines: of_rows.chain(of_machines).collect(),
            units: saved.rows.iter().map(|row| row.state.unit.clone()).collect(),
            has_read_others: false,
            has_read_units: false,
            readings: Vec::new(),
        }
    }

    /// Keeps a reading that shows nothing yet.
    pub(crate) fn keep(&mut self, reading: &Reading, span: ReadSpan) {
        self.readings.retain(|(kept, _)| kept.lists() != reading.lists());
        self.readings.push((reading.clone(), span));
    }

    pub(crate) fn take_readings(&mut self) -> Vec<(Reading, ReadSpan)> {
        std::mem::take(&mut self.readings)
    }

    /// Compares a reading with what was saved.
    pub(crate) fn compare(&mut self, reading: &Reading) -> ClusterMatch {
        let content = ReadingContent::of(reading);
        let is_known = content.machines.iter().any(|id| self.machines.contains(*id))
            || content.units.iter().any(|unit| self.units.contains(*unit));
        if is_known {
            return ClusterMatch::Same;
        }

        let is_empty = content.machines.is_empty() && content.units.is_empty();
        self.has_read_others |= !is_empty;
        self.has_read_units |= content.has_units;
        if self.has_read_others && self.has_read_units {
            ClusterMatch::Other
        } else {
            ClusterMatch::Unknown
        }
    }
}

/// The machines and units that a reading names.
struct ReadingContent<'a> {
    machines: BTreeSet<&'a MachineId>,
    units: BTreeSet<&'a UnitName>,
    /// Whether it covers the unit states.
    has_units: bool,
}

impl<'a> ReadingContent<'a> {
    fn of(reading: &'a Reading) -> Self {
        let (states, machines, files): (&[UnitState], &[Machine], &[UnitFile]) = match reading {
            Reading::Units { states, files } => (states, &[], files.as_deref().unwrap_or(&[])),
            Reading::Machines { machines } => (&[], machines, &[]),
            Reading::UnitFiles { files } => (&[], &[], files),
            Reading::Registry(registry) => (&registry.states, &registry.machines, &registry.files),
            Reading::Changes { .. } => (&[], &[], &[]),
        };
        let of_states = states.iter().filter_map(|state| state.machine.as_ref());
        let named = states.iter().map(|state| &state.unit);

        Self {
            machines: of_states.chain(machines.iter().map(|machine| &machine.id)).collect(),
            units: named.chain(files.iter().map(|file| &file.unit)).collect(),
            has_units: matches!(reading, Reading::Units { .. } | Reading::Registry(_)),
        }
    }
}
