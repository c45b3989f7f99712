//! What one reading affects: the events it causes, and what has to be refreshed because of it.
//!
//! It does not know what the reading contained.

use std::collections::{BTreeMap, BTreeSet};

use super::super::model::RowKey;
use super::super::model::{Moment, ReadSpan, UnitName};
use super::super::report::Novelty;
use super::super::transition::Event;
use super::super::unit_life::Departure;

#[derive(Debug)]
pub(crate) struct ReadingImpact {
    read: ReadSpan,
    is_first: bool,
    is_restored: bool,
    has_recovered: bool,
    events: Vec<Event>,
    rows: BTreeSet<RowKey>,
    units: BTreeSet<UnitName>,
    departures: BTreeMap<UnitName, Departure>,
    returned: Vec<RowKey>,
    absences_changed: bool,
    machines_changed: bool,
}

impl ReadingImpact {
    /// The impact of a reading, before anything is applied. `is_first` tells whether it is the
    /// first reading of one of its lists, `is_restored` whether it is known what was there before
    /// the first readings, and `has_recovered` whether the source has recovered from its last
    /// outage.
    pub(crate) fn new(
        read: ReadSpan,
        is_first: bool,
        is_restored: bool,
        has_recovered: bool,
        events: Vec<Event>,
    ) -> Self {
        Self {
            read,
            is_first,
            is_restored,
            has_recovered,
            events,
            rows: BTreeSet::new(),
            units: BTreeSet::new(),
            departures: BTreeMap::new(),
            returned: Vec::new(),
            absences_changed: false,
            machines_changed: false,
        }
    }

    pub(crate) fn read(&self) -> ReadSpan {
        self.read
    }

    pub(crate) fn at(&self) -> Moment {
        self.read.ended
    }

    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// What it means that this reading has something new.
    pub(crate) fn novelty(&self) -> Novelty {
        Novelty {
            is_event: !self.is_first || self.is_restored,
            is_seen: !self.is_first,
        }
    }

    pub(crate) fn has_recovered(&self) -> bool {
        self.has_recovered
    }

    pub(crate) fn events(&mut self) -> &mut Vec<Event> {
        &mut self.events
    }

    pub(crate) fn into_events(self) -> Vec<Event> {
        self.events
    }

    /// Schedules a refresh of some rows.
    pub(crate) fn refresh_rows(&mut self, keys: impl IntoIterator<Item = RowKey>) {
        self.rows.extend(keys);
    }

    pub(crate) fn take_rows(&mut self) -> BTreeSet<RowKey> {
        std::mem::take(&mut self.rows)
    }

    /// Schedules an update of the expected rows of some units.
    pub(crate) fn update_expected(&mut self, units: impl IntoIterator<Item = UnitName>) {
        self.units.extend(units);
    }

    pub(crate) fn take_units(&mut self) -> BTreeSet<UnitName> {
        std::mem::take(&mut self.units)
    }

    /// Records that a row was removed. Another one may be expected in its place.
    pub(crate) fn record_departure(&mut self, unit: &UnitName, departure: Departure) {
        self.departures.insert(unit.clone(), departure);
        self.units.insert(unit.clone());
    }

    /// How a row of the unit was removed, if one was.
    pub(crate) fn departure(&self, unit: &UnitName) -> Option<Departure> {
        self.departures.get(unit).copied()
    }

    /// Records that a row is absent, or confirmed to be.
    pub(crate) fn record_absence(&mut self, key: RowKey) {
        self.absences_changed = true;
        self.rows.insert(key);
    }

    /// Records that an absent row is reported again.
    pub(crate) fn record_return(&mut self, key: RowKey) {
        self.absences_changed = true;
        self.returned.push(key);
    }

    /// The rows that were absent and are reported again.
    pub(crate) fn returned(&self) -> &[RowKey] {
        &self.returned
    }

    /// Whether rows became absent, were confirmed to be, or came back.
    pub(crate) fn absences_changed(&self) -> bool {
        self.absences_changed
    }

    /// Records that a machine joined, left, or changed its description.
    pub(crate) fn record_machine_change(&mut self) {
        self.machines_changed = true;
    }

    pub(crate) fn machines_changed(&self) -> bool {
        self.machines_changed
    }
}
