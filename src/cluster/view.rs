//! What is shown: all rows with their verdicts, as an immutable view that shares all unchanged rows
//! with the view before.
//!
//! It knows neither how a verdict was found nor who looks at it.

use std::sync::Arc;
use std::time::SystemTime;

use immutable_chunkmap::map::Map;

use super::model::{Machine, MachineId, ReasonText, RowKey, Text, UnitFile, UnitName, UnitState};
use super::verdict::Verdict;

/// A unit on one machine, or nowhere, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The last reported state. For a unit that no machine has reported, everything is `None`
    /// except the name, and the machine and its address where the unit is expected on one.
    pub state: UnitState,
    /// Whether fleet's own list contains this row, or should contain it. A unit that is only
    /// submitted is in the view, but not in the list (from fleet 0.7 on).
    pub listed: bool,
    /// Since when it has not been reported, or not been renewed; `None` if it is up to date.
    pub stale_since: Option<SystemTime>,
    /// The unit file; `None` if there is none, or it has not been read.
    pub file: Option<Arc<UnitFile>>,
    /// What is wrong with it, if anything is.
    pub verdict: Verdict,
    /// The reason for the verdict, in one sentence.
    pub reason: ReasonText,
    /// Since when the verdict has been the same.
    pub verdict_since: SystemTime,
    /// Whether this process saw the verdict begin. If not, it was already the case at
    /// `verdict_since`.
    pub verdict_since_seen: bool,
    /// Since when its load, active and sub state have been the same.
    pub since: SystemTime,
    /// Whether this process saw the state change. If not, it was already the case at `since`.
    pub since_seen: bool,
    /// What is known of its machine, or of its target if no machine reports it.
    pub machine: MachineDetails,
}

/// What a row has of its machine, so that units can be selected by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineDetails {
    /// The last known address, also of a machine that is lost.
    pub ip: Option<Text>,
    /// See [`Machine::metadata`].
    pub metadata: Option<Text>,
}

/// A machine as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its description as last read.
    pub machine: Machine,
    /// Whether its engine schedules units; `false` if the source does not tell.
    pub leads: bool,
    /// Since when it has been silent, if it is: it should have renewed its keys by now, or reports
    /// none of its units.
    pub silent_since: Option<SystemTime>,
    /// When it left the cluster, if it has.
    pub lost_since: Option<SystemTime>,
    /// The units that it reported when it left; empty while it is in the cluster.
    pub ran: Arc<[UnitName]>,
    /// When it joined, or when this process first read it.
    pub since: SystemTime,
    /// Whether this process saw it join. If not, it was already there at `since`.
    pub since_seen: bool,
}

impl Unit {
    /// The key of its row.
    pub fn key(&self) -> RowKey {
        (self.state.unit.clone(), self.state.machine.clone())
    }

    /// The machine that reports it, or else its target.
    pub(crate) fn machine_id(&self) -> Option<&MachineId> {
        let target = || self.file.as_ref()?.target.as_ref();

        self.state.machine.as_ref().or_else(target)
    }

    /// Its active state now; `None` if that is not known, or it has none. See
    /// [`Verdict::has_current_state`].
    pub fn current_active_state(&self) -> Option<&str> {
        let is_current = self.verdict.has_current_state();
        self.state.active.as_deref().filter(|_| is_current)
    }
}

/// The maximal number of rows in a chunk of the map. A change of one row copies its chunk.
const CHUNK: usize = 64;

/// The units, sorted by name, then machine. A clone shares all rows, and a change of a clone copies
/// few of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Units {
    rows: Map<RowKey, Arc<Unit>, CHUNK>,
    tally: Tally,
}

/// The number of units of each kind, updated with each change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    verdicts: [usize; Verdict::ALL.len()],
}

impl Tally {
    /// The number of rows with this verdict.
    pub fn of(&self, verdict: Verdict) -> usize {
        self.verdicts[verdict as usize]
    }

    fn add(&mut self, unit: &Unit) {
        self.verdicts[unit.verdict as usize] += 1;
    }

    fn subtract(&mut self, unit: &Unit) {
        self.verdicts[unit.verdict as usize] -= 1;
    }
}

impl Units {
    /// All rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Unit>> {
        (&self.rows).into_iter().map(|(_, unit)| unit)
    }

    /// The row with this key.
    pub fn get(&self, key: &RowKey) -> Option<&Arc<Unit>> {
        self.rows.get(key)
    }

    /// The rows of one unit, sorted by machine.
    pub(crate) fn of_unit<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Unit>> {
        let first: RowKey = (name.into(), None);

        self.rows
            .range(first..)
            .map(|(_, unit)| unit)
            .take_while(move |unit| &*unit.state.unit == name)
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of rows of each kind.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Inserts a row, and replaces the one with the same key.
    pub fn insert(&mut self, unit: Arc<Unit>) {
        self.tally.add(&unit);

        if let Some(before) = self.rows.insert_cow(unit.key(), unit) {
            self.tally.subtract(&before);
        }
    }

    /// Removes a row, if it is there.
    pub fn remove(&mut self, key: &RowKey) {
        if let Some(before) = self.rows.remove_cow(key) {
            self.tally.subtract(&before);
        }
    }
}

impl<'a> IntoIterator for &'a Units {
    type Item = &'a Arc<Unit>;
    type IntoIter = Box<dyn Iterator<Item = &'a Arc<Unit>> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl FromIterator<Arc<Unit>> for Units {
    fn from_iter<I: IntoIterator<Item = Arc<Unit>>>(units: I) -> Self {
        let mut collected = Self::default();

        for unit in units {
            collected.insert(unit);
        }
        collected
    }
}

impl From<Vec<Arc<Unit>>> for Units {
    fn from(units: Vec<Arc<Unit>>) -> Self {
        units.into_iter().collect()
    }
}

/// The cluster at one moment. Immutable and shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// All rows, sorted by unit, then machine.
    pub units: Units,
    /// The machines, sorted by ID.
    pub machines: Vec<Arc<Member>>,
}

impl View {
    /// The machine with an ID, lost ones too.
    pub(crate) fn machine(&self, id: &str) -> Option<&Arc<Member>> {
        let index = self
            .machines
            .binary_search_by(|member| (*member.machine.id).cmp(id))
            .ok()?;
        Some(&self.machines[index])
    }
}
