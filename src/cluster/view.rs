//! What is shown: the judged rows, as an immutable view that shares with the one before all that
//! did not change.
//!
//! It knows neither why a row is as it is nor who looks at it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use immutable_chunkmap::map::Map;

use super::model::{Machine, MachineId, UnitFile, UnitName, UnitState};
use super::verdict::Verdict;

/// Names a row: a unit, and the machine that it is on; none for a unit that no machine reports.
pub type RowKey = (UnitName, Option<MachineId>);

/// A unit on one machine, or nowhere, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What was last reported of it. All but the name is `None` where fleet wants it but nobody
    /// reports it.
    pub state: UnitState,
    /// Whether fleet's unit list has, or as far as we judge should have, this row. A unit that is
    /// only submitted is in the view and not in the list (from fleet 0.7 on).
    pub listed: bool,
    /// Since when it has not been reported, if it is held although fleet does not report it, or
    /// should have been reported again by now.
    pub stale_since: Option<SystemTime>,
    /// What fleet wants, if there is a unit file.
    pub file: Option<Arc<UnitFile>>,
    /// The judgement.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: Cow<'static, str>,
    /// Since when that has been the judgement.
    pub verdict_since: SystemTime,
    /// Whether we saw it begin; if not, it was so when watching began, at `verdict_since`.
    pub verdict_since_seen: bool,
    /// Since when its load, active and sub state have been as they are.
    pub since: SystemTime,
    /// Whether we saw that change ourselves; if not, it was so when watching began, at `since`.
    pub since_seen: bool,
}

/// A machine as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What fleet last said of it.
    pub machine: Machine,
    /// Whether its engine decides where units go, where the source tells that.
    pub leads: bool,
    /// Since when nothing was heard of it, if it should have been heard again by now and has not
    /// left yet.
    pub silent_since: Option<SystemTime>,
    /// Since when it has been missing from fleet's list of machines, if it has.
    pub lost_since: Option<SystemTime>,
    /// Since when it has been there, as far as we saw.
    pub since: SystemTime,
    /// Whether we saw it join; if not, it was there when watching began.
    pub since_seen: bool,
}

impl Unit {
    /// The name of its row.
    pub fn key(&self) -> RowKey {
        (self.state.unit.clone(), self.state.machine.clone())
    }
}

/// How many rows a chunk of a view has at most: so many are copied when one of them changes.
const CHUNK: usize = 64;

/// The units, sorted by name, then machine. Cloning it copies nothing, and changing a clone copies
/// little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Units {
    rows: Map<RowKey, Arc<Unit>, CHUNK>,
    tally: Tally,
}

/// How many units there are of a kind, kept as they change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    listed: usize,
    verdicts: [usize; Verdict::ALL.len()],
}

impl Tally {
    /// How many rows fleet's own list has, or as far as we judge should have.
    pub fn listed(&self) -> usize {
        self.listed
    }

    /// How many rows have a verdict.
    pub fn of(&self, verdict: Verdict) -> usize {
        self.verdicts[verdict as usize]
    }

    fn add(&mut self, unit: &Unit) {
        self.listed += usize::from(unit.listed);
        self.verdicts[unit.verdict as usize] += 1;
    }

    fn subtract(&mut self, unit: &Unit) {
        self.listed -= usize::from(unit.listed);
        self.verdicts[unit.verdict as usize] -= 1;
    }
}

impl Units {
    /// All rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Unit>> {
        (&self.rows).into_iter().map(|(_, unit)| unit)
    }

    /// One row.
    pub fn get(&self, key: &RowKey) -> Option<&Arc<Unit>> {
        self.rows.get(key)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows there are of a kind.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Adds a row, in place of the one with its name.
    pub fn insert(&mut self, unit: Arc<Unit>) {
        self.tally.add(&unit);

        if let Some(before) = self.rows.insert_cow(unit.key(), unit) {
            self.tally.subtract(&before);
        }
    }

    /// Takes a row away.
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
        let mut all = Self::default();
        units.into_iter().for_each(|unit| all.insert(unit));
        all
    }
}

impl From<Vec<Arc<Unit>>> for Units {
    fn from(units: Vec<Arc<Unit>>) -> Self {
        units.into_iter().collect()
    }
}

/// The cluster at one moment, judged. Immutable and shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The units.
    pub units: Units,
    /// The machines, sorted by ID.
    pub machines: Vec<Arc<Member>>,
}
