//! The rows, the unit files and the machines, and how one list or one change updates them.
//!
//! It does not know whether a list can be trusted.
//!
//! An update only records what it affects, in a [`ReadingImpact`]. The rows are refreshed
//! afterwards, so that the order of updates within one reading does not matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::context::EvaluationContext;
use super::super::desired::Desired;
use super::super::machines::Machines;
use super::super::model::RowKey;
use super::super::model::{Machine, MachineId, Moment, ReadSpan, UnitFile, UnitName, UnitState};
use super::super::observation::{Lease, Observation, Reading};
use super::super::peer::{LearningTime, PeerCluster};
use super::super::report::Absence;
use super::super::retention::Retention;
use super::super::saved::{SavedCluster, SavedMachine, SavedRow};
use super::super::source_trust::SourceStanding;
use super::super::units::{AddressColumn, RefreshedRow, UnitRecords};
use super::super::view::Unit;
use super::impact::ReadingImpact;

#[derive(Debug, Default)]
pub(crate) struct Inventory {
    rows: UnitRecords,
    desired: Desired,
    machines: Machines,
}

impl Inventory {
    /// What was saved.
    pub(crate) fn restore(saved: SavedCluster, now: Moment) -> Self {
        let read = saved.saved.map_or(now, |time| time.moment(now));
        let desired = Desired::restore(saved.files, read);
        let rows = UnitRecords::restore(&saved.rows, &desired, now);
        let mut machines = Machines::restore(saved.machines, now);

        for id in machines.ids() {
            let (count, reported) = rows.count_on_machine(&id);
            machines.restore_counts(&id, count, reported);
        }
        Self { rows, desired, machines }
    }

    /// Removes the rows and machines that a reading does not contain, as far as it covers them.
    pub(crate) fn retain_listed(&mut self, reading: &Reading) {
        let (states, machines): (Option<&[UnitState]>, Option<&[Machine]>) = match reading {
            Reading::Units { states, .. } => (Some(states), None),
            Reading::Machines { machines } => (None, Some(machines)),
            Reading::Registry(registry) => (Some(&registry.states), Some(&registry.machines)),
            Reading::UnitFiles { .. } | Reading::Changes { .. } => (None, None),
        };

        // An empty list may be a fault of the source.
        if let Some(states) = states.filter(|states| !states.is_empty()) {
            let listed = states.iter().map(|state| (state.unit.clone(), state.machine.clone()));
            self.rows.retain_reported(&listed.collect());
        }
        if let Some(machines) = machines.filter(|machines| !machines.is_empty()) {
            let listed = machines.iter().map(|machine| machine.id.clone());
            self.machines.retain(&listed.collect());
        }
        for id in self.machines.ids() {
            let (rows, reported) = self.rows.count_on_machine(&id);
            self.machines.restore_counts(&id, rows, reported);
        }
    }

    pub(crate) fn rows(&self) -> &UnitRecords {
        &self.rows
    }

    pub(crate) fn desired(&self) -> &Desired {
        &self.desired
    }

    pub(crate) fn machines(&self) -> &Machines {
        &self.machines
    }

    /// Applies all unit states. `absence` tells why a row is missing that they do not contain.
    pub(crate) fn apply_states(
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

    /// Records which units the list contained without a machine.
    pub(crate) fn set_listed_without_machine(
        &mut self,
        units: BTreeSet<UnitName>,
        impact: &mut ReadingImpact,
    ) {
        impact.refresh_rows(self.rows.set_listed_without_machine(units));
    }

    /// Records that the rows that were absent still are.
    pub(crate) fn confirm_absences(
        &mut self,
        absence: impl Fn(&RowKey) -> Absence,
        impact: &mut ReadingImpact,
    ) {
        for key in self.rows.absent().clone() {
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
            impact.novelty(),
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
        self.refresh_unit(key.0, impact);
    }

    fn mark_absent(&mut self, key: &RowKey, absence: Absence, impact: &mut ReadingImpact) {
        let is_news = self.rows.mark_absent(key, absence, impact.at(), &mut self.machines);

        if is_news {
            impact.record_absence(key.clone());
        }
    }

    /// Whether a list of unit files can be complete. See [`Desired::is_plausible`].
    pub(crate) fn is_plausible(
        &mut self,
        files: &[UnitFile],
        read: ReadSpan,
        machines_read: Option<ReadSpan>,
    ) -> bool {
        self.desired.is_plausible(files, read, machines_read)
    }

    /// Applies a list of unit files. Files that it does not contain are removed only if it
    /// `is_complete`.
    pub(crate) fn apply_files(
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

    /// Records that the unit files were read again and have not changed. `known_since` is the
    /// beginning of the reading before, if that can have been too old for some rows.
    pub(crate) fn confirm_files(
        &mut self,
        known_since: Option<Moment>,
        impact: &mut ReadingImpact,
    ) {
        self.desired.confirm(impact.read());
        self.refresh_undecided(known_since, impact);
    }

    /// Applies an empty list of unit files that was read before, if this reading of the machines
    /// confirms it.
    pub(crate) fn apply_confirmed_empty_list(&mut self, impact: &mut ReadingImpact) {
        let Some(read) = self.desired.empty_list_confirmed_by(impact.read()) else {
            return;
        };
        let changed = self.desired.apply_list(Vec::new(), read, impact.has_recovered());

        for unit in changed {
            self.refresh_unit(unit, impact);
        }
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

    /// Applies all machines. `absence` tells why one is missing that they do not contain.
    pub(crate) fn apply_machines(
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
        let is_news = self
            .machines
            .upsert(machine, impact.at(), impact.novelty(), impact.events());

        if !is_known {
            let (rows, reported) = self.rows.count_on_machine(&id);
            self.machines.set_counts(&id, rows, reported);
        }
        if is_news {
            impact.record_machine_change();
            impact.refresh_rows(self.keys_with_target(&id));
            impact.refresh_rows(self.rows.keys_of_machines(&BTreeSet::from([id])));
        }
    }

    /// The rows on no machine of which this machine is the target.
    fn keys_with_target(&self, id: &MachineId) -> Vec<RowKey> {
        let target = |unit: &UnitName| self.desired.get(unit)?.target.as_ref();

        self.rows
            .keys()
            .filter(|(unit, machine)| machine.is_none() && target(unit) == Some(id))
            .cloned()
            .collect()
    }

    pub(crate) fn set_leader(&mut self, leader: Option<MachineId>) {
        self.machines.set_leader(leader);
    }

    /// Applies one change of a registry.
    pub(crate) fn apply_change(&mut self, change: Observation, impact: &mut ReadingImpact) {
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
            Observation::Leads(leader) => self.set_leader(leader),
        }
    }

    /// Applies the complete list of overdue leases, each with the age of its last renewal.
    pub(crate) fn apply_overdue(
        &mut self,
        overdue: &BTreeMap<Lease, Duration>,
        impact: &mut ReadingImpact,
    ) {
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

    /// Learns what another monitor knows, and this one does not.
    pub(crate) fn learn(
        &mut self,
        peer: &PeerCluster,
        retention: Retention,
        learning: LearningTime,
        impact: &mut ReadingImpact,
    ) {
        for unit in &peer.units {
            if self.rows.learn(unit, learning) {
                impact.refresh_rows([unit.key()]);
            }
        }
        for machine in peer.machines.iter().filter(|machine| !machine.is_lost()) {
            self.machines.learn_since(machine, learning);
        }

        let is_empty = self.machines.is_empty();
        if retention.passes_through() || is_empty {
            return;
        }
        for (machine, rows) in peer.lost(retention.lost, impact.at().wall) {
            if self.machines.get(&machine.machine.id).is_none() {
                self.insert_lost(machine, &rows, impact);
            }
        }
    }

    /// Adds a machine that was lost before the start, and the rows that were lost with it: those of
    /// units that fleet still has, and of which no machine reports another one.
    fn insert_lost(
        &mut self,
        machine: SavedMachine,
        rows: &[SavedRow],
        impact: &mut ReadingImpact,
    ) {
        let id = machine.machine.id.clone();
        for row in rows {
            let unit = &row.state.unit;
            let is_wanted = self.desired.get(unit).is_some_and(|file| {
                file.is_wanted() && (file.global || !self.rows.has_reported(unit))
            });
            if is_wanted && self.rows.insert_lost(row, impact.at()) {
                self.refresh_unit(unit.clone(), impact);
            }
        }

        self.machines.insert_lost(machine, impact.at());
        let (rows, reported) = self.rows.count_on_machine(&id);
        self.machines.restore_counts(&id, rows, reported);

        impact.record_machine_change();
        impact.refresh_rows(self.keys_with_target(&id));
        impact.refresh_rows(self.rows.keys_of_machines(&BTreeSet::from([id])));
    }

    /// Makes one step of each machine's life.
    pub(crate) fn step_machines(
        &mut self,
        source: SourceStanding,
        retention: Retention,
        impact: &mut ReadingImpact,
    ) {
        // The rows of a machine that leaves are still there: they are removed after this step.
        for id in self.machines.just_absent() {
            self.machines.set_ran(&id, self.rows.units_on(&id));
        }

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

    /// Removes machines that have been lost for the keep time and have no row any more, and
    /// schedules a refresh of the rows of which one is the target.
    pub(crate) fn remove_lost_machines(
        &mut self,
        retention: Retention,
        impact: &mut ReadingImpact,
    ) {
        for id in self.machines.remove_lost(retention, impact.at()) {
            impact.refresh_rows(self.keys_with_target(&id));
        }
    }

    /// Schedules a refresh of everything.
    pub(crate) fn refresh_everything(&self, impact: &mut ReadingImpact) {
        impact.update_expected(self.desired.units().cloned());
        impact.refresh_rows(self.rows.keys().cloned());
    }

    /// Schedules a refresh of all rows that depend on how far the source is trusted.
    pub(crate) fn refresh_not_current(&self, impact: &mut ReadingImpact) {
        impact.refresh_rows(self.rows.not_current());
    }

    /// Refreshes all rows that the reading affects, or whose timers have expired. Calls `changed`
    /// with each row that is shown differently, and with `None` for each that was removed.
    pub(crate) fn refresh_rows(
        &mut self,
        context: EvaluationContext,
        impact: &mut ReadingImpact,
        changed: &mut impl FnMut(RowKey, Option<Arc<Unit>>),
    ) {
        let mut keys = impact.take_rows();
        keys.extend(self.rows.take_due(context.at));

        for key in keys {
            self.refresh_row(key, context, impact, changed);
        }
    }

    /// Updates the expected rows of all units that the reading affects, like
    /// [`Inventory::refresh_rows`].
    pub(crate) fn update_expected_rows(
        &mut self,
        context: EvaluationContext,
        impact: &mut ReadingImpact,
        changed: &mut impl FnMut(RowKey, Option<Arc<Unit>>),
    ) {
        for unit in impact.take_units() {
            let left = impact.departure(&unit);
            let row_context = context.with(&self.desired, &self.machines);
            let (added, removed) =
                self.rows.update_expected(&unit, left, &row_context, impact.events());

            for key in removed {
                changed(key, None);
            }
            for key in added {
                self.refresh_row(key, context, impact, changed);
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
}
