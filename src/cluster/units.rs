//! The rows: what is known of each unit on each machine.
//!
//! It takes in what was said of a row, and has rows looked at ([`row`]), which it compares with the
//! others of their unit. The cost of a change is the cost of the change: a row is looked at when
//! something was said of it, of its unit or of its machine, or when its time has come.

mod queue;
mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::desired::{Desired, Match, matches};
use super::machines::Machines;
use super::model::{MachineId, Moment, UnitName, UnitState};
use super::observation::Absence;
use super::transition::{Event, Place};
#[cfg(test)]
use super::unit_life::Presence;
use super::unit_life::{Departure, Retention, SourceStanding};
use super::view::{RowKey, Unit};
use queue::Queue;
use row::Row;

/// The state of a unit that no machine reports, in transitions.
const SUBMITTED: &str = "submitted";

/// What else is known when a row is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) machines: &'a Machines,
    pub(crate) circumstances: Circumstances,
}

/// What holds for all rows at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    pub(crate) source: SourceStanding,
    pub(crate) retention: Retention,
    /// Whether everything has been read once, so that what changes now is a change of the cluster.
    pub(crate) is_complete: bool,
    pub(crate) at: Moment,
}

/// What became of a row that was looked at.
pub(crate) enum Look {
    /// It is shown as it was.
    Same,
    /// It is shown in another way.
    Shown(Arc<Unit>),
    /// It is not there any more.
    Gone(Departure),
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    rows: BTreeMap<RowKey, Row>,
    /// What is not reported any more.
    absent: BTreeSet<RowKey>,
    queue: Queue,
    /// The units that the last list had without a machine.
    unplaced: BTreeSet<UnitName>,
    /// How often a row was back that was absent, and had not gone.
    held_back: u64,
}

impl Rows {
    pub(crate) fn held_back(&self) -> u64 {
        self.held_back
    }

    #[cfg(test)]
    pub(crate) fn presences(&self) -> BTreeMap<RowKey, Presence> {
        self.rows
            .iter()
            .map(|(key, row)| (key.clone(), row.presence()))
            .collect()
    }

    /// How many rows are reported, or were.
    pub(crate) fn placed(&self) -> usize {
        self.rows.values().filter(|row| row.is_placed()).count()
    }

    /// Whether there is none that is reported, or was.
    pub(crate) fn is_bare(&self) -> bool {
        !self.rows.values().any(Row::is_placed)
    }

    pub(crate) fn absent(&self) -> &BTreeSet<RowKey> {
        &self.absent
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &RowKey> {
        self.rows.keys()
    }

    /// The rows of a unit, the one without a machine first.
    pub(crate) fn of_unit<'a>(
        &'a self,
        unit: &UnitName,
    ) -> impl Iterator<Item = &'a RowKey> + use<'a> {
        self.range(unit).map(|(key, _)| key)
    }

    /// The rows of a machine. It looks at all rows, so it is for what happens to machines.
    pub(crate) fn of_machines(&self, machines: &BTreeSet<MachineId>) -> Vec<RowKey> {
        let is_of =
            |key: &&RowKey| key.1.as_ref().is_some_and(|machine| machines.contains(machine));
        self.rows.keys().filter(is_of).cloned().collect()
    }

    /// The rows that are not reported, not reported in time, or not reported yet.
    pub(crate) fn unreported(&self) -> Vec<RowKey> {
        self.keys_of(|row| !row.is_reported_in_time())
    }

    /// The rows that appeared at or after a moment.
    pub(crate) fn appeared_since(&self, moment: Moment) -> Vec<RowKey> {
        self.keys_of(|row| row.appeared().instant >= moment.instant)
    }

    /// The rows that a list of the units is to have: those that are reported, or were.
    pub(crate) fn reported_keys(&self) -> Vec<RowKey> {
        self.keys_of(Row::is_placed)
    }

    /// How many rows of a machine there are, and how many of them are reported.
    pub(crate) fn count_of(&self, machine: &MachineId) -> (usize, usize) {
        let of = self
            .rows
            .iter()
            .filter(|(key, row)| key.1.as_ref() == Some(machine) && row.is_placed());
        of.fold((0, 0), |(rows, reported), (_, row)| {
            (rows + 1, reported + usize::from(!row.is_absent()))
        })
    }

    fn keys_of(&self, is_such: impl Fn(&Row) -> bool) -> Vec<RowKey> {
        self.rows
            .iter()
            .filter(|(_, row)| is_such(row))
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn range<'a>(
        &'a self,
        unit: &UnitName,
    ) -> impl Iterator<Item = (&'a RowKey, &'a Row)> + use<'a> {
        let name = unit.clone();
        let from = (unit.clone(), None);
        self.rows
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(move |(key, _)| key.0 == name)
    }

    /// What is due by now.
    pub(crate) fn take_due(&mut self, at: Moment) -> Vec<RowKey> {
        self.queue.take(at.instant)
    }

    /// A machine reports a unit. Returns whether that says anything new.
    pub(crate) fn report(
        &mut self,
        state: UnitState,
        from_list: bool,
        at: Moment,
        is_first: bool,
        machines: &mut Machines,
        events: &mut Vec<Event>,
    ) -> bool {
        let Some(machine) = state.machine.clone() else {
            return false;
        };
        let key = (state.unit.clone(), Some(machine.clone()));
        let without_address = from_list && state.ip.is_none();

        match self.rows.get_mut(&key) {
            Some(row) if row.is_placed() => {
                if row.is_reported_as(&state) {
                    return false;
                }
                let was_absent = row.is_absent();
                if was_absent {
                    self.held_back += 1;
                    self.absent.remove(&key);
                    machines.count(&machine, 0, 1);
                }
                row.take(state, without_address, at, machines, events);
            }
            _ => {
                let row = Row::reported(state, without_address, at, !is_first);
                if !is_first {
                    events.push(row.appearance(machines));
                }
                machines.count(&machine, 1, 1);
                self.rows.insert(key, row);
            }
        }
        true
    }

    /// A row is not there any more. Returns whether that is new, or says more than before.
    pub(crate) fn vanish(
        &mut self,
        key: &RowKey,
        absence: Absence,
        at: Moment,
        machines: &mut Machines,
    ) -> bool {
        let Some(row) = self.rows.get_mut(key).filter(|row| row.is_placed()) else {
            return false;
        };
        let was_absent = row.is_absent();
        let is_new = row.vanish(absence, at);

        if !was_absent {
            self.absent.insert(key.clone());
            if let Some(machine) = &key.1 {
                machines.count(machine, 0, -1);
            }
        }
        is_new
    }

    /// A row should have been renewed by now. Returns whether that is new.
    pub(crate) fn overdue(&mut self, key: &RowKey, since: Moment) -> bool {
        self.rows.get_mut(key).is_some_and(|row| row.overdue(since))
    }

    /// An overdue row was renewed. Returns whether it was overdue.
    pub(crate) fn renewed(&mut self, key: &RowKey) -> bool {
        self.rows.get_mut(key).is_some_and(Row::renewed)
    }

    /// The rows that should have been renewed by now.
    pub(crate) fn overdue_keys(&self) -> Vec<RowKey> {
        self.keys_of(Row::is_overdue)
    }

    /// Of the rows that are not reported, those that fleet wants where they were, as far as that is
    /// known, and whose machine is not lost: nothing explains them.
    pub(crate) fn unexplained(&self, around: &Surroundings) -> BTreeSet<RowKey> {
        let is_unexplained =
            |key: &&RowKey| self.rows.get(*key).is_some_and(|row| row.is_unexplained(around));
        self.absent.iter().filter(is_unexplained).cloned().collect()
    }

    /// The units that fleet wants on a machine of its choice and of which nothing has been reported
    /// yet.
    pub(crate) fn expected_on_machines(&self, desired: &Desired) -> BTreeSet<RowKey> {
        let expected = self.rows.iter().filter(|(_, row)| !row.is_placed());
        let chosen = expected.filter_map(|(key, _)| {
            let file = desired.get(&key.0).filter(|file| file.is_wanted())?;
            Some((key.0.clone(), Some(file.target.clone()?)))
        });
        chosen.collect()
    }

    /// Looks at a row: lets it make its step and has its verdict made.
    pub(crate) fn look(
        &mut self,
        key: &RowKey,
        around: &Surroundings,
        events: &mut Vec<Event>,
    ) -> Look {
        let replacement = self.replacement(key, around);
        let Some(row) = self.rows.get_mut(key) else {
            return Look::Same;
        };
        let (look, due) = row.look(replacement.as_ref(), around, events);

        self.queue.schedule(key, due);
        if let Look::Gone(_) = look {
            self.absent.remove(key);
            self.rows.remove(key);
        }
        look
    }

    /// The machine that reports the unit in a row's place: the one that fleet has chosen, or, if
    /// the row is absent, one that began later. The target may have been read before fleet chose
    /// anew.
    fn replacement(&self, key: &RowKey, around: &Surroundings) -> Option<MachineId> {
        let row = self.rows.get(key).filter(|row| row.is_placed())?;
        let file = around.desired.get(&key.0)?;
        let is_here = file.target.as_ref() == key.1.as_ref();
        let is_absent = row.is_absent();
        if file.global || (is_here && !is_absent) {
            return None;
        }

        let replaces = |(other, it): &(&RowKey, &Row)| {
            let is_target = file.target.is_some() && other.1 == file.target;
            other.1 != key.1
                && it.is_placed()
                && !it.is_absent()
                && !it.is_on_lost_machine(around)
                && (is_target || (is_absent && it.appeared().instant > row.appeared().instant))
        };
        self.range(&key.0)
            .find(replaces)
            .and_then(|(other, _)| other.1.clone())
    }

    /// Brings the rows of what is expected of a unit in line with its file, after one of its rows
    /// may have `left`. Returns the names of those that were added, and of those that were taken
    /// away.
    pub(crate) fn expect(
        &mut self,
        unit: &UnitName,
        left: Option<Departure>,
        around: &Surroundings,
        events: &mut Vec<Event>,
    ) -> (Vec<RowKey>, Vec<RowKey>) {
        let expected = self.expected_places(unit, around);
        let known = self.range(unit).filter(|(_, row)| !row.is_placed());
        let known: Vec<RowKey> = known.map(|(key, _)| key.clone()).collect();
        let mut removed = Vec::new();
        for key in known.into_iter().filter(|key| !expected.contains(&key.1)) {
            self.queue.schedule(&key, None);
            self.rows.remove(&key);
            removed.push(key);
        }

        let is_left = self.range(unit).next().is_some() || !expected.is_empty();
        if removed.iter().any(|key| key.1.is_none()) && !is_left {
            let place = Place { unit: unit.clone(), machine: None, ip: None };
            events.push(Event::Gone {
                place,
                from: SUBMITTED.to_owned(),
                reason: "its unit file is gone",
            });
        }
        let mut added = Vec::new();
        for machine in expected {
            let key = (unit.clone(), machine.clone());
            if self.rows.contains_key(&key) {
                continue;
            }
            if machine.is_none() && around.circumstances.is_complete && left.is_none() {
                let place = Place { unit: unit.clone(), machine: None, ip: None };
                events.push(Event::Appeared { place, to: SUBMITTED.to_owned() });
            }
            let state = UnitState { machine, ..UnitState::unreported(unit.clone()) };
            let listed = key.1.is_none() && self.unplaced.contains(unit);
            let Circumstances { at, is_complete, .. } = around.circumstances;
            let mut row = Row::expected(state, listed, at, is_complete);
            // What was waited for in vain is not waited for again.
            if left.is_some_and(Departure::ends_a_wait) {
                row.give_up(at);
            }
            self.rows.insert(key.clone(), row);
            added.push(key);
        }
        (added, removed)
    }

    /// Where a row is to be of what is expected of a unit: on machines that a global unit fits,
    /// else nowhere.
    fn expected_places(&self, unit: &UnitName, around: &Surroundings) -> Vec<Option<MachineId>> {
        let Some(file) = around.desired.get(unit) else {
            return vec![];
        };
        let placed: BTreeSet<&MachineId> = self
            .range(unit)
            .filter(|(_, row)| row.is_placed())
            .filter_map(|(key, _)| key.1.as_ref())
            .collect();

        if file.global && file.is_wanted() && !around.circumstances.retention.passes_through() {
            let fits = |id: &MachineId| {
                around
                    .machines
                    .get(id)
                    .is_some_and(|it| matches(file, it) == Match::Yes)
            };
            let fitting = around
                .machines
                .present()
                .map(|machine| &machine.id)
                .filter(|id| fits(id));
            let lacking: Vec<Option<MachineId>> =
                fitting.filter(|id| !placed.contains(id)).cloned().map(Some).collect();
            if !lacking.is_empty() {
                return lacking;
            }
        }
        if placed.is_empty() { vec![None] } else { vec![] }
    }

    /// Says which units fleet's own list has without a machine (fleetctl before 0.7). Returns the
    /// rows of which that is new.
    pub(crate) fn list_unplaced(&mut self, unplaced: BTreeSet<UnitName>) -> Vec<RowKey> {
        let mut changed = Vec::new();
        for (key, row) in self.rows.iter_mut().filter(|(key, _)| key.1.is_none()) {
            if row.list(unplaced.contains(&key.0)) {
                changed.push(key.clone());
            }
        }
        self.unplaced = unplaced;
        changed
    }
}
