//! All rows: what is known of each unit on each machine.
//!
//! It does not know which readings the rows come from.
//!
//! A row alone is in [`reported`] and [`expected`]; here it is compared with the others of its
//! unit. The cost of a change depends on the change, not on the size of the cluster: a row is
//! refreshed when something was received for it, its unit or its machine, or when its timer has
//! expired.

mod display;
mod expected;
mod record;
mod reported;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::context::RowContext;
use super::desired::Desired;
use super::machines::Machines;
use super::model::RowKey;
use super::model::{MachineId, Moment, UnitName, UnitState};
use super::peer::{LearningTime, PeerUnit};
use super::report::{Absence, Novelty};
use super::requirements::{RequirementsMatch, match_requirements};
use super::saved::SavedRow;
use super::transition::{Event, Place};
use super::unit_life::Departure;
#[cfg(test)]
use super::unit_life::UnitPresence;
pub(crate) use display::RefreshedRow;
use expected::ExpectedRow;
use record::UnitRecord;
use reported::ReportedRow;
use timers::RowTimers;

/// The state of a unit that no machine reports, in events.
const SUBMITTED: &str = "submitted";

/// Whether a state was read from a list that contains the addresses of machines. In such a list, a
/// missing address shows that the machine is missing from fleet's list of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressColumn {
    Listed,
    NotListed,
}

/// All rows by their key.
#[derive(Debug, Default)]
pub(crate) struct UnitRecords {
    records: BTreeMap<RowKey, UnitRecord>,
    /// The rows that are absent.
    absent: BTreeSet<RowKey>,
    timers: RowTimers,
    /// The units that the last list contained without a machine.
    listed_without_machine: BTreeSet<UnitName>,
    /// See [`super::Health::held_back`].
    held_back: u64,
}

impl UnitRecords {
    /// The rows that were saved, with fleet's files then.
    pub(crate) fn restore(saved: &[SavedRow], desired: &Desired, now: Moment) -> Self {
        let mut rows = Self::default();

        for saved in saved {
            let key = saved.key();
            let file = desired.get(&key.0).map(|file| &**file);
            let record = UnitRecord::restore(saved, file, now);
            if record.reported().is_some_and(ReportedRow::is_absent) {
                rows.absent.insert(key.clone());
            }
            rows.records.insert(key, record);
        }
        rows
    }

    /// What is to be saved of a row; `None` if it is not there, or has never been shown.
    pub(crate) fn saved(&self, key: &RowKey) -> Option<SavedRow> {
        self.records.get(key)?.saved()
    }

    /// Removes the rows that are, or were, reported, and are none of these.
    pub(crate) fn retain_reported(&mut self, keys: &BTreeSet<RowKey>) {
        self.records
            .retain(|key, record| !record.is_reported() || keys.contains(key));
        self.absent.retain(|key| keys.contains(key));
    }

    /// Learns since when a row has been as it is, if another monitor knows that better. Returns
    /// whether it does.
    pub(crate) fn learn(&mut self, peer: &PeerUnit, learning: LearningTime) -> bool {
        let record = self.records.get_mut(&peer.key());
        record.is_some_and(|record| record.learn(peer, learning))
    }

    /// Adds a row that was lost with its machine before the start, unless there is such a row.
    /// Returns whether it was added.
    pub(crate) fn insert_lost(&mut self, saved: &SavedRow, now: Moment) -> bool {
        let key = saved.key();
        if self.records.get(&key).is_some_and(UnitRecord::is_reported) {
            return false;
        }

        self.timers.set(&key, None);
        self.records
            .insert(key.clone(), UnitRecord::restore(saved, None, now));
        self.absent.insert(key);
        true
    }

    /// Whether a machine reports a unit, or did.
    pub(crate) fn has_reported(&self, unit: &UnitName) -> bool {
        self.records_of_unit(unit).any(|(_, record)| record.is_reported())
    }

    /// The units that a machine reports, or did.
    pub(crate) fn units_on(&self, machine: &MachineId) -> Vec<UnitName> {
        self.records
            .iter()
            .filter(|(key, record)| key.1.as_ref() == Some(machine) && record.is_reported())
            .map(|(key, _)| key.0.clone())
            .collect()
    }

    pub(crate) fn held_back(&self) -> u64 {
        self.held_back
    }

    /// The presence of each row; `None` for one that is only expected.
    #[cfg(test)]
    pub(crate) fn presences(&self) -> BTreeMap<RowKey, Option<UnitPresence>> {
        self.records
            .iter()
            .map(|(key, record)| (key.clone(), record.reported().map(ReportedRow::presence)))
            .collect()
    }

    /// The number of rows that are, or were, reported.
    pub(crate) fn count_reported(&self) -> usize {
        self.records.values().filter(|record| record.is_reported()).count()
    }

    /// Whether no row is, or was, reported.
    pub(crate) fn none_reported(&self) -> bool {
        !self.records.values().any(UnitRecord::is_reported)
    }

    pub(crate) fn absent(&self) -> &BTreeSet<RowKey> {
        &self.absent
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &RowKey> {
        self.records.keys()
    }

    /// The rows of a unit, the one without a machine first.
    pub(crate) fn keys_of_unit<'a>(
        &'a self,
        unit: &UnitName,
    ) -> impl Iterator<Item = &'a RowKey> + use<'a> {
        self.records_of_unit(unit).map(|(key, _)| key)
    }

    /// The rows of some machines. This scans all rows, and is meant for events of machines.
    pub(crate) fn keys_of_machines(&self, machines: &BTreeSet<MachineId>) -> Vec<RowKey> {
        let is_on_machine =
            |key: &&RowKey| key.1.as_ref().is_some_and(|machine| machines.contains(machine));

        self.records.keys().filter(is_on_machine).cloned().collect()
    }

    /// The rows that are expected, overdue or absent.
    pub(crate) fn not_current(&self) -> Vec<RowKey> {
        self.keys_where(|record| !record.reported().is_some_and(ReportedRow::is_current))
    }

    /// The rows that appeared at or after a moment.
    pub(crate) fn appeared_since(&self, moment: Moment) -> Vec<RowKey> {
        self.keys_where(|record| record.appeared().instant >= moment.instant)
    }

    /// The rows that are, or were, reported.
    pub(crate) fn reported(&self) -> Vec<RowKey> {
        self.keys_where(UnitRecord::is_reported)
    }

    /// The rows that should have been renewed by now.
    pub(crate) fn overdue(&self) -> Vec<RowKey> {
        self.keys_where(|record| record.reported().is_some_and(ReportedRow::is_overdue))
    }

    fn keys_where(&self, predicate: impl Fn(&UnitRecord) -> bool) -> Vec<RowKey> {
        self.records
            .iter()
            .filter(|(_, record)| predicate(record))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// The number of rows on a machine that are, or were, reported, and of those that are.
    pub(crate) fn count_on_machine(&self, machine: &MachineId) -> (usize, usize) {
        let on_machine = self
            .records
            .iter()
            .filter(|(key, _)| key.1.as_ref() == Some(machine))
            .filter_map(|(_, record)| record.reported());

        on_machine.fold((0, 0), |(rows, reported), row| {
            (rows + 1, reported + usize::from(!row.is_absent()))
        })
    }

    fn records_of_unit<'a>(
        &'a self,
        unit: &UnitName,
    ) -> impl Iterator<Item = (&'a RowKey, &'a UnitRecord)> + use<'a> {
        let name = unit.clone();
        let first = (unit.clone(), None);

        self.records
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |(key, _)| key.0 == name)
    }

    /// The rows whose timers have expired.
    pub(crate) fn take_due(&mut self, at: Moment) -> Vec<RowKey> {
        self.timers.take_expired(at.instant)
    }

    /// Records that a machine reports a unit. Returns whether that adds any information.
    pub(crate) fn record_report(
        &mut self,
        state: UnitState,
        addresses: AddressColumn,
        at: Moment,
        novelty: Novelty,
        machines: &mut Machines,
        events: &mut Vec<Event>,
    ) -> bool {
        let Some(machine) = state.machine.clone() else {
            return false;
        };
        let key = (state.unit.clone(), Some(machine.clone()));
        let without_address = addresses == AddressColumn::Listed && state.ip.is_none();

        let known = self.records.get_mut(&key).and_then(UnitRecord::reported_mut);
        let Some(row) = known else {
            let row = ReportedRow::new(state, without_address, at, novelty.is_seen);
            if novelty.is_event {
                events.push(row.appeared_event(machines));
            }
            machines.adjust_counts(&machine, 1, 1);
            self.records.insert(key, UnitRecord::Reported(row));
            return true;
        };

        if row.is_reported_as(&state) {
            return false;
        }
        if row.is_absent() {
            self.held_back += 1;
            self.absent.remove(&key);
            machines.adjust_counts(&machine, 0, 1);
        }
        row.record_report(state, without_address, at, novelty.is_seen, machines, events);
        true
    }

    /// Marks a row as absent. Returns whether that adds any information.
    pub(crate) fn mark_absent(
        &mut self,
        key: &RowKey,
        absence: Absence,
        at: Moment,
        machines: &mut Machines,
    ) -> bool {
        let Some(row) = self.records.get_mut(key).and_then(UnitRecord::reported_mut) else {
            return false;
        };
        let was_absent = row.is_absent();
        let is_news = row.mark_absent(absence, at);

        if !was_absent {
            self.absent.insert(key.clone());
            if let Some(machine) = &key.1 {
                machines.adjust_counts(machine, 0, -1);
            }
        }
        is_news
    }

    /// Marks a row as overdue. Returns whether it was current.
    pub(crate) fn mark_overdue(&mut self, key: &RowKey, since: Moment) -> bool {
        self.records
            .get_mut(key)
            .and_then(UnitRecord::reported_mut)
            .is_some_and(|row| row.mark_overdue(since))
    }

    /// Ends being overdue. Returns whether the row was overdue.
    pub(crate) fn mark_renewed(&mut self, key: &RowKey) -> bool {
        self.records
            .get_mut(key)
            .and_then(UnitRecord::reported_mut)
            .is_some_and(ReportedRow::mark_renewed)
    }

    /// The absent rows that nothing explains: fleet wants them where they were, as far as that is
    /// known, and their machines are not lost.
    pub(crate) fn unexplained(&self, context: &RowContext) -> BTreeSet<RowKey> {
        let is_unexplained = |key: &&RowKey| {
            self.records
                .get(*key)
                .and_then(UnitRecord::reported)
                .is_some_and(|row| row.is_unexplained(context))
        };

        self.absent.iter().filter(is_unexplained).cloned().collect()
    }

    /// The rows there should be by the targets that fleet has chosen, of units that were never
    /// reported.
    pub(crate) fn expected_by_target(&self, desired: &Desired) -> BTreeSet<RowKey> {
        let expected = self.records.iter().filter(|(_, record)| !record.is_reported());

        let targets = expected.filter_map(|((unit, _), _)| {
            let file = desired.get(unit).filter(|file| file.is_wanted())?;
            Some((unit.clone(), Some(file.target.clone()?)))
        });
        targets.collect()
    }

    /// Brings a row up to date, and sets its timer.
    pub(crate) fn refresh(
        &mut self,
        key: &RowKey,
        context: &RowContext,
        events: &mut Vec<Event>,
    ) -> RefreshedRow {
        let replacement = self.replacement(key, context);
        let Some(record) = self.records.get_mut(key) else {
            return RefreshedRow::Unchanged;
        };
        let (refreshed, due) = record.refresh(replacement.as_ref(), context, events);

        self.timers.set(key, due);
        if let RefreshedRow::Gone(_) = refreshed {
            self.absent.remove(key);
            self.records.remove(key);
        }
        refreshed
    }

    /// The machine that reports the unit instead of the row's: the one that fleet has chosen, or,
    /// if the row is absent, one that began later. The target may have been read before fleet chose
    /// another machine.
    fn replacement(&self, key: &RowKey, context: &RowContext) -> Option<MachineId> {
        let row = self.records.get(key)?.reported()?;
        let file = context.desired.get(&key.0)?;
        let is_target = file.target.as_ref() == key.1.as_ref();
        if file.global || (is_target && !row.is_absent()) {
            return None;
        }

        let replaces = |other_key: &RowKey, other: &ReportedRow| {
            let is_target = file.target.is_some() && other_key.1 == file.target;
            let began_later = other.appeared().instant > row.appeared().instant;

            other_key.1 != key.1
                && !other.is_absent()
                && !other.is_on_lost_machine(context)
                && (is_target || (row.is_absent() && began_later))
        };
        self.records_of_unit(&key.0)
            .filter_map(|(other_key, record)| Some((other_key, record.reported()?)))
            .find(|(other_key, other)| replaces(other_key, other))
            .and_then(|(other_key, _)| other_key.1.clone())
    }

    /// Adds and removes the expected rows of a unit so that they agree with its file. `left` tells
    /// how a row of the unit is gone, if one is. Returns the rows that were added, and those that
    /// were removed.
    pub(crate) fn update_expected(
        &mut self,
        unit: &UnitName,
        left: Option<Departure>,
        context: &RowContext,
        events: &mut Vec<Event>,
    ) -> (Vec<RowKey>, Vec<RowKey>) {
        let expected = self.expected_machines(unit, context);

        let removed = self.remove_expected_except(unit, &expected);
        let has_row = self.records_of_unit(unit).next().is_some() || !expected.is_empty();
        if removed.iter().any(|key| key.1.is_none()) && !has_row {
            events.push(Event::Gone {
                place: place_without_machine(unit),
                from: SUBMITTED.into(),
                reason: "its unit file was deleted".into(),
            });
        }

        let mut added = Vec::new();
        for machine in expected {
            let key = (unit.clone(), machine);
            if self.records.contains_key(&key) {
                continue;
            }

            if key.1.is_none() && context.is_complete && left.is_none() {
                let place = place_without_machine(unit);
                events.push(Event::Appeared { place, to: SUBMITTED.into() });
            }
            self.insert_expected(key.clone(), left, context);
            added.push(key);
        }
        (added, removed)
    }

    /// Removes the expected rows of a unit on other machines than these.
    fn remove_expected_except(
        &mut self,
        unit: &UnitName,
        machines: &[Option<MachineId>],
    ) -> Vec<RowKey> {
        let removed: Vec<RowKey> = self
            .records_of_unit(unit)
            .filter(|(key, record)| !record.is_reported() && !machines.contains(&key.1))
            .map(|(key, _)| key.clone())
            .collect();

        for key in &removed {
            self.timers.set(key, None);
            self.records.remove(key);
        }
        removed
    }

    fn insert_expected(&mut self, key: RowKey, left: Option<Departure>, context: &RowContext) {
        let (unit, machine) = key.clone();
        let is_listed = machine.is_none() && self.listed_without_machine.contains(&unit);
        let mut row = ExpectedRow::new(unit, machine, is_listed, context.at, context.is_complete);

        if left.is_some_and(Departure::is_timeout) {
            row.skip_wait(context.at);
        }
        self.records.insert(key, UnitRecord::Expected(row));
    }

    /// The machines on which a unit is expected to be reported and is not: for a global unit, those
    /// that meet its requirements. If there is none and the unit has no row, `None` stands for no
    /// machine.
    fn expected_machines(&self, unit: &UnitName, context: &RowContext) -> Vec<Option<MachineId>> {
        let Some(file) = context.desired.get(unit) else {
            return vec![];
        };
        let reported: BTreeSet<&MachineId> = self
            .records_of_unit(unit)
            .filter(|(_, record)| record.is_reported())
            .filter_map(|(key, _)| key.1.as_ref())
            .collect();

        if file.global && file.is_wanted() && !context.retention.passes_through() {
            let missing: Vec<Option<MachineId>> = context
                .machines
                .present()
                .filter(|machine| !reported.contains(&machine.id))
                .filter(|machine| match_requirements(file, machine) == RequirementsMatch::Yes)
                .map(|machine| Some(machine.id.clone()))
                .collect();
            if !missing.is_empty() {
                return missing;
            }
        }

        if reported.is_empty() { vec![None] } else { vec![] }
    }

    /// Records which units fleet's own list contains without a machine (fleetctl before 0.7).
    /// Returns the rows for which that has changed.
    pub(crate) fn set_listed_without_machine(&mut self, units: BTreeSet<UnitName>) -> Vec<RowKey> {
        let mut changed = Vec::new();

        for (key, record) in self.records.iter_mut().filter(|(key, _)| key.1.is_none()) {
            let is_listed = units.contains(&key.0);
            if record.expected().is_some_and(|row| row.set_listed(is_listed)) {
                changed.push(key.clone());
            }
        }
        self.listed_without_machine = units;
        changed
    }
}

fn place_without_machine(unit: &UnitName) -> Place {
    Place { unit: unit.clone(), machine: None, ip: None }
}
