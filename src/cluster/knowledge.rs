//! All that is known of the cluster, and how a reading changes it.
//!
//! It does not know the view.
//!
//! Applying a reading only records what it affects, in a [`ReadingImpact`]. The rows are refreshed
//! afterwards, so that the order of entries within one reading does not matter.

mod impact;
mod read_times;
mod registry_diff;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::context::EvaluationContext;
use super::desired::Desired;
use super::machine_life::RESTART;
use super::machines::Machines;
use super::model::{FleetList, Machine, MachineId, Moment, UnitFile, UnitName, UnitState};
use super::observation::{Lease, Observation, Reading, RegistrySnapshot};
use super::report::Absence;
use super::retention::Retention;
use super::source_trust::SourceStanding;
use super::units::{AddressColumn, RefreshedRow, UnitRecords};
use super::view::{RowKey, Unit};
pub(crate) use impact::ReadingImpact;
use read_times::ReadTimes;
use registry_diff::RegistryDiff;

#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    rows: UnitRecords,
    desired: Desired,
    machines: Machines,
    read_times: ReadTimes,
    /// Whether the last reading covered all lists at one moment.
    reads_all_lists: bool,
    /// The last reading, if it was a whole registry. The next one is compared with it.
    registry: Option<RegistrySnapshot>,
}

impl Knowledge {
    pub(crate) fn machines(&self) -> &Machines {
        &self.machines
    }

    #[cfg(test)]
    pub(crate) fn rows(&self) -> &UnitRecords {
        &self.rows
    }

    pub(crate) fn held_back(&self) -> u64 {
        self.rows.held_back()
    }

    /// Applies a reading.
    pub(crate) fn apply(&mut self, reading: Reading, impact: &mut ReadingImpact) {
        let registry_before = self.registry.take();
        self.reads_all_lists = reading.lists().len() == FleetList::ALL.len();

        match reading {
            Reading::Units { states, files } => {
                if let Some(files) = files {
                    self.apply_unit_files(files, impact);
                }
                self.apply_units(states, impact);
            }
            Reading::Machines { machines } => self.apply_machines(machines, impact),
            Reading::UnitFiles { files } => self.apply_unit_files(files, impact),
            Reading::Registry(snapshot) => {
                self.apply_registry(snapshot, registry_before.as_ref(), impact);
            }
            Reading::Changes { changes, .. } => {
                self.apply_changes(changes, registry_before.is_some(), impact);
            }
        }

        if impact.is_first() {
            impact.update_expected(self.desired.units().cloned());
            impact.refresh_rows(self.rows.keys().cloned());
        }
    }

    /// Applies a list of units. Units without a machine are only listed (fleetctl before 0.7).
    fn apply_units(&mut self, mut states: Vec<UnitState>, impact: &mut ReadingImpact) {
        self.read_times.record_units(impact.read());
        let without_machine: BTreeSet<UnitName> = states
            .extract_if(.., |state| state.machine.is_none())
            .map(|state| state.unit)
            .collect();

        self.apply_states(states, AddressColumn::Listed, |_| Absence::Unlisted, impact);
        impact.refresh_rows(self.rows.set_listed_without_machine(without_machine));
    }

    /// Applies all unit states. `absence` tells why a row is missing that they do not contain.
    fn apply_states(
        &mut self,
        states: Vec<UnitState>,
        addresses: AddressColumn,
        absence: impl Fn(&RowKey) -> Absence,
        impact: &mut ReadingImpact,
    ) {
        let mut missing: BTreeSet<RowKey> = self.rows.reported().into_iter().collect();

        for state in states {
            missing.remove(&(state.unit.clone(), state.machine.clone()));
            self.record_report(state, addresses, impact);
        }
        for key in missing {
            self.mark_absent(&key, absence(&key), impact);
        }
    }

    fn record_report(
        &mut self,
        state: UnitState,
        addresses: AddressColumn,
        impact: &mut ReadingImpact,
    ) {
        let key = (state.unit.clone(), state.machine.clone());
        let was_absent = self.rows.absent().contains(&key);
        let is_news = self.rows.record_report(
            state,
            addresses,
            impact.at(),
            impact.is_first(),
            &mut self.machines,
            impact.events(),
        );
        if !is_news {
            return;
        }

        if was_absent {
            impact.record_return(key.clone());
        }
        // It may replace another row of the unit.
        impact.refresh_rows(self.rows.keys_of_unit(&key.0).cloned());
        impact.update_expected([key.0]);
    }

    fn mark_absent(&mut self, key: &RowKey, absence: Absence, impact: &mut ReadingImpact) {
        if self.rows.mark_absent(key, absence, impact.at(), &mut self.machines) {
            impact.record_absence(key.clone());
        }
    }

    fn apply_unit_files(&mut self, files: Vec<UnitFile>, impact: &mut ReadingImpact) {
        let is_plausible =
            self.desired
                .is_plausible(&files, impact.read(), self.read_times.machines());

        self.apply_file_list(files, is_plausible && impact.is_settled(), impact);
    }

    fn apply_file_list(
        &mut self,
        files: Vec<UnitFile>,
        is_complete: bool,
        impact: &mut ReadingImpact,
    ) {
        let known_since = self.desired.read_began();
        let changed = self.desired.apply_list(files, impact.read(), is_complete);

        for unit in changed {
            self.refresh_unit(unit, impact);
        }
        self.refresh_undecided(known_since, impact);
    }

    /// Schedules a refresh of the rows for which the unit files were too old so far: those that
    /// appeared later, and those that are absent.
    fn refresh_undecided(&self, known_since: Option<Moment>, impact: &mut ReadingImpact) {
        if let Some(since) = known_since {
            impact.refresh_rows(self.rows.appeared_since(since));
        }
        impact.refresh_rows(self.rows.absent().iter().cloned());
    }

    fn refresh_unit(&self, unit: UnitName, impact: &mut ReadingImpact) {
        impact.refresh_rows(self.rows.keys_of_unit(&unit).cloned());
        impact.update_expected([unit]);
    }

    /// Applies a list of machines. A cluster without any machine is a fault of the source, unless
    /// there has never been one.
    fn apply_machines(&mut self, machines: Vec<Machine>, impact: &mut ReadingImpact) {
        if machines.is_empty() && self.read_times.machines().is_some() {
            return;
        }

        if !machines.is_empty() {
            self.read_times.record_machines(impact.read());
            self.accept_confirmed_empty_list(impact);
        }
        self.apply_machine_list(machines, |_| Absence::Unlisted, impact);
    }

    /// Applies an empty list of unit files that was read before, if this reading confirms it.
    fn accept_confirmed_empty_list(&mut self, impact: &mut ReadingImpact) {
        let Some(read) = self.desired.empty_list_confirmed_by(impact.read()) else {
            return;
        };
        let changed = self.desired.apply_list(Vec::new(), read, impact.is_settled());

        for unit in changed {
            self.refresh_unit(unit, impact);
        }
    }

    /// Applies all machines. `absence` tells why one is missing that they do not contain.
    fn apply_machine_list(
        &mut self,
        machines: Vec<Machine>,
        absence: impl Fn(&MachineId) -> Absence,
        impact: &mut ReadingImpact,
    ) {
        let mut missing = self.machines.reported();

        for machine in machines {
            missing.remove(&machine.id);
            self.upsert_machine(machine, impact);
        }
        for id in missing {
            self.machines.mark_absent(&id, absence(&id), impact.at());
            impact.record_machine_change();
        }
    }

    fn upsert_machine(&mut self, machine: Machine, impact: &mut ReadingImpact) {
        let id = machine.id.clone();
        let is_known = self.machines.get(&id).is_some();
        let is_news =
            self.machines
                .upsert(machine, impact.at(), impact.is_first(), impact.events());

        if !is_known {
            let (rows, reported) = self.rows.count_on_machine(&id);
            self.machines.set_counts(&id, rows, reported);
        }
        if is_news {
            impact.record_machine_change();
            impact.refresh_rows(self.rows.keys_of_machines(&BTreeSet::from([id])));
        }
    }

    /// Applies a whole registry.
    fn apply_registry(
        &mut self,
        snapshot: RegistrySnapshot,
        before: Option<&RegistrySnapshot>,
        impact: &mut ReadingImpact,
    ) {
        let diff = RegistryDiff::new(snapshot, before, impact.is_settled());

        if diff.has_machines() {
            self.read_times.record_machines(impact.read());
        }
        if let Some(machines) = diff.changed_machines() {
            self.apply_machine_list(machines, |id| diff.absence_of_machine(id), impact);
        }

        self.apply_registry_files(&diff, impact);

        self.read_times.record_units(impact.read());
        match diff.changed_states() {
            Some(states) => {
                let absence = |key: &RowKey| diff.absence_of_row(key);
                self.apply_states(states, AddressColumn::NotListed, absence, impact);
            }
            None => {
                for key in self.rows.absent().clone() {
                    self.mark_absent(&key, diff.absence_of_row(&key), impact);
                }
            }
        }

        self.machines.set_leader(diff.leader());
        self.apply_overdue(&diff.overdue(), impact);
        self.registry = Some(diff.into_snapshot());
    }

    /// Applies the unit files of a registry. They have no leases, so that they are complete also
    /// right after an outage.
    fn apply_registry_files(&mut self, diff: &RegistryDiff, impact: &mut ReadingImpact) {
        let Some(files) = diff.changed_files() else {
            let known_since = self.desired.read_began();
            self.desired.confirm(impact.read());
            self.refresh_undecided(known_since, impact);
            return;
        };

        let is_plausible =
            self.desired
                .is_plausible(&files, impact.read(), self.read_times.machines());
        self.apply_file_list(files, is_plausible, impact);
    }

    /// Applies the complete list of overdue leases.
    fn apply_overdue(&mut self, overdue: &BTreeMap<Lease, Duration>, impact: &mut ReadingImpact) {
        let machines = self.machines.overdue().into_iter().map(Lease::Machine);
        let units = self
            .rows
            .overdue()
            .into_iter()
            .filter_map(|(unit, machine)| Some(Lease::Unit(unit, machine?)));
        let renewed: Vec<Lease> = machines
            .chain(units)
            .filter(|lease| !overdue.contains_key(lease))
            .collect();

        for lease in renewed {
            self.mark_renewed(lease, impact);
        }
        for (lease, age) in overdue {
            self.mark_overdue(lease.clone(), *age, impact);
        }
    }

    /// Applies what has changed since the previous reading. `follows_registry` tells whether that
    /// was a whole registry.
    fn apply_changes(
        &mut self,
        changes: Vec<Observation>,
        follows_registry: bool,
        impact: &mut ReadingImpact,
    ) {
        let known_since = self.desired.read_began().filter(|_| follows_registry);
        self.read_times.confirm(impact.read());
        self.desired.confirm(impact.read());
        self.refresh_undecided(known_since, impact);
        for key in self.rows.absent().clone() {
            self.mark_absent(&key, Absence::Deleted, impact);
        }

        // The events of units contain the addresses of machines that may be in the same reading.
        let is_machine = |change: &Observation| matches!(change, Observation::MachineSeen(_));
        let (machines, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_machine);
        for change in machines.into_iter().chain(others) {
            self.apply_change(change, impact);
        }
    }

    fn apply_change(&mut self, change: Observation, impact: &mut ReadingImpact) {
        match change {
            Observation::Reported(state) => {
                let state = UnitState { ip: None, ..state };
                self.record_report(state, AddressColumn::NotListed, impact);
            }
            Observation::MachineSeen(machine) => self.upsert_machine(machine, impact),
            Observation::Wanted(file) => {
                if let Some(unit) = self.desired.insert(file) {
                    self.refresh_unit(unit, impact);
                }
            }
            Observation::NotWanted(unit) => {
                if let Some(unit) = self.desired.remove(&unit) {
                    self.refresh_unit(unit, impact);
                }
            }
            Observation::Deleted(lease) => self.end_lease(lease, Absence::Deleted, impact),
            Observation::Expired(lease) => self.end_lease(lease, Absence::Expired, impact),
            Observation::Overdue(lease, age) => self.mark_overdue(lease, age, impact),
            Observation::Renewed(lease) => self.mark_renewed(lease, impact),
            Observation::Leads(leader) => self.machines.set_leader(leader),
        }
    }

    fn mark_overdue(&mut self, lease: Lease, age: Duration, impact: &mut ReadingImpact) {
        let since = impact.at().before(age);

        match lease {
            Lease::Machine(id) => self.machines.mark_overdue(&id, since),
            Lease::Unit(unit, machine) => {
                let key = (unit, Some(machine));
                if self.rows.mark_overdue(&key, since) {
                    impact.refresh_rows([key]);
                }
            }
        }
    }

    fn mark_renewed(&mut self, lease: Lease, impact: &mut ReadingImpact) {
        match lease {
            Lease::Machine(id) => self.machines.mark_renewed(&id),
            Lease::Unit(unit, machine) => {
                let key = (unit, Some(machine));
                if self.rows.mark_renewed(&key) {
                    impact.refresh_rows([key]);
                }
            }
        }
    }

    fn end_lease(&mut self, lease: Lease, absence: Absence, impact: &mut ReadingImpact) {
        match lease {
            Lease::Machine(id) => {
                self.machines.mark_absent(&id, absence, impact.at());
                impact.record_machine_change();
            }
            Lease::Unit(unit, machine) => {
                self.mark_absent(&(unit, Some(machine)), absence, impact);
            }
        }
    }

    /// Schedules a refresh of all rows that depend on how far the source is trusted.
    pub(crate) fn refresh_not_current(&self, impact: &mut ReadingImpact) {
        impact.refresh_rows(self.rows.not_current());
    }

    /// Makes one step of each machine's life.
    pub(crate) fn step_machines(
        &mut self,
        source: SourceStanding,
        retention: Retention,
        impact: &mut ReadingImpact,
    ) {
        let at = impact.at();
        let changed = self.machines.step(source, retention, at, impact.events());

        if !changed.is_empty() {
            impact.record_machine_change();
            impact.refresh_rows(self.rows.keys_of_machines(&changed));
        }
        if impact.machines_changed() {
            impact.update_expected(self.desired.global_units().cloned());
        }
    }

    /// Whether the units have been read and none is reported, although fleet has unit files.
    pub(crate) fn lacks_all_units(&self) -> bool {
        self.read_times.has_units() && !self.desired.is_empty() && self.rows.none_reported()
    }

    /// The missing rows that nothing explains, and the number of rows there should be.
    pub(crate) fn unexplained(&self, context: EvaluationContext) -> (BTreeSet<RowKey>, usize) {
        let count = self.rows.count_reported();

        // If no unit was ever reported, an empty list is compared with the targets that fleet has
        // chosen.
        if count == 0 && self.read_times.has_units() {
            let expected = self.rows.expected_by_target(&self.desired);
            let count = expected.len();
            return (expected, count);
        }
        let context = context.with(&self.desired, &self.machines);
        (self.rows.unexplained(&context), count)
    }

    /// Whether the lists that could explain rows which have been missing since a moment were read
    /// since: the unit files and the machines, or, if that takes long, the units once more.
    pub(crate) fn is_informed_since(&self, since: Moment, now: Moment) -> bool {
        if self.reads_all_lists {
            let restart_is_over = now.since(since) >= RESTART;
            return restart_is_over;
        }

        let has_files = self.desired.is_known_since(since);
        let has_machines = self.read_times.has_machines_since(since);
        (has_files && has_machines) || self.read_times.has_units_after(since)
    }

    /// Refreshes all rows that the reading affects, or whose timers have expired. Calls `changed`
    /// with each row that is shown differently, and with `None` for each that was removed.
    pub(crate) fn refresh(
        &mut self,
        context: EvaluationContext,
        impact: &mut ReadingImpact,
        mut changed: impl FnMut(RowKey, Option<Arc<Unit>>),
    ) {
        let mut keys = impact.take_rows();
        keys.extend(self.rows.take_due(context.at));
        for key in keys {
            self.refresh_row(key, context, impact, &mut changed);
        }

        // Before the units have been read it is not known that no machine reports them.
        if !self.desired.is_known() || !self.read_times.has_units() {
            return;
        }
        for unit in impact.take_units() {
            let left = impact.departure(&unit);
            let row_context = context.with(&self.desired, &self.machines);
            let (added, removed) =
                self.rows.update_expected(&unit, left, &row_context, impact.events());

            for key in removed {
                changed(key, None);
            }
            for key in added {
                self.refresh_row(key, context, impact, &mut changed);
            }
        }
    }

    fn refresh_row(
        &mut self,
        key: RowKey,
        context: EvaluationContext,
        impact: &mut ReadingImpact,
        changed: &mut impl FnMut(RowKey, Option<Arc<Unit>>),
    ) {
        let row_context = context.with(&self.desired, &self.machines);

        match self.rows.refresh(&key, &row_context, impact.events()) {
            RefreshedRow::Unchanged => {}
            RefreshedRow::Changed(unit) => changed(key, Some(unit)),
            RefreshedRow::Gone(departure) => {
                if let Some(machine) = &key.1 {
                    self.machines.adjust_counts(machine, -1, 0);
                }
                impact.record_departure(&key.0, departure);
                changed(key, None);
            }
        }
    }

    /// Removes machines that have been lost for the grace period and have no row any more.
    pub(crate) fn remove_lost_machines(&mut self, retention: Retention, at: Moment) {
        self.machines.remove_lost(retention, at);
    }
}
