//! All that is known of the cluster, and how a reading changes it.
//!
//! It does not know the view.
//!
//! It keeps when each list was last read, which decides how far a list can be trusted. The lists
//! themselves are in the [`Inventory`].

mod impact;
mod inventory;
mod read_times;
mod registry_diff;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::EvaluationContext;
use super::machine_life::RESTART;
use super::machines::Machines;
use super::model::RowKey;
use super::model::{FleetList, Machine, Moment, UnitFile, UnitName, UnitState};
use super::observation::{Observation, Reading, RegistrySnapshot};
use super::peer::{LearningTime, PeerCluster};
use super::report::Absence;
use super::retention::Retention;
use super::saved::{SavedCluster, SavedRow};
use super::source_trust::SourceStanding;
use super::units::AddressColumn;
#[cfg(test)]
use super::units::UnitRecords;
use super::view::Unit;
pub(crate) use impact::ReadingImpact;
use inventory::Inventory;
use read_times::ReadTimes;
use registry_diff::RegistryDiff;

#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    inventory: Inventory,
    read_times: ReadTimes,
    /// Whether the last reading covered all lists at one moment.
    reads_all_lists: bool,
    /// The last reading, if it was a whole registry. The next one is compared with it.
    registry: Option<RegistrySnapshot>,
}

impl Knowledge {
    /// What was saved. No list has been read yet.
    pub(crate) fn restore(saved: SavedCluster, now: Moment) -> Self {
        Self { inventory: Inventory::restore(saved, now), ..Self::default() }
    }

    /// Removes the rows and machines that a reading does not contain, as far as it covers them.
    pub(crate) fn retain_listed(&mut self, reading: &Reading) {
        self.inventory.retain_listed(reading);
    }

    pub(crate) fn saved_row(&self, key: &RowKey) -> Option<SavedRow> {
        self.inventory.rows().saved(key)
    }

    pub(crate) fn unit_file(&self, unit: &UnitName) -> Option<&Arc<UnitFile>> {
        self.inventory.desired().get(unit)
    }

    pub(crate) fn machines(&self) -> &Machines {
        self.inventory.machines()
    }

    #[cfg(test)]
    pub(crate) fn rows(&self) -> &UnitRecords {
        self.inventory.rows()
    }

    pub(crate) fn held_back(&self) -> u64 {
        self.inventory.rows().held_back()
    }

    /// Applies a reading, and collects what it affects in `impact`.
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
            self.inventory.refresh_everything(impact);
        }
    }

    /// Applies a list of units. A fleetctl before 0.7 lists also units without a machine.
    fn apply_units(&mut self, mut states: Vec<UnitState>, impact: &mut ReadingImpact) {
        self.read_times.record_units(impact.read());
        let without_machine: BTreeSet<UnitName> = states
            .extract_if(.., |state| state.machine.is_none())
            .map(|state| state.unit)
            .collect();

        let absence = |_: &RowKey| Absence::Unlisted;
        self.inventory
            .apply_states(states, AddressColumn::Listed, absence, impact);
        self.inventory.set_listed_without_machine(without_machine, impact);
    }

    fn apply_unit_files(&mut self, files: Vec<UnitFile>, impact: &mut ReadingImpact) {
        let is_complete = self.is_plausible(&files, impact) && impact.has_recovered();

        self.inventory.apply_files(files, is_complete, impact);
    }

    fn is_plausible(&mut self, files: &[UnitFile], impact: &ReadingImpact) -> bool {
        let machines_read = self.read_times.machines();

        self.inventory.is_plausible(files, impact.read(), machines_read)
    }

    /// Applies a list of machines. An empty one is a fault of the source, unless there has never
    /// been a machine.
    fn apply_machines(&mut self, machines: Vec<Machine>, impact: &mut ReadingImpact) {
        if machines.is_empty() && self.read_times.machines().is_some() {
            return;
        }

        if !machines.is_empty() {
            self.read_times.record_machines(impact.read());
            self.inventory.apply_confirmed_empty_list(impact);
        }
        self.inventory.apply_machines(machines, |_| Absence::Unlisted, impact);
    }

    /// Applies a whole registry.
    fn apply_registry(
        &mut self,
        snapshot: RegistrySnapshot,
        before: Option<&RegistrySnapshot>,
        impact: &mut ReadingImpact,
    ) {
        let diff = RegistryDiff::new(snapshot, before, impact.has_recovered());

        if diff.has_machines() {
            self.read_times.record_machines(impact.read());
        }
        if let Some(machines) = diff.changed_machines() {
            self.inventory
                .apply_machines(machines, |id| diff.absence_of_machine(id), impact);
        }

        self.apply_registry_files(&diff, impact);

        self.read_times.record_units(impact.read());
        let absence = |key: &RowKey| diff.absence_of_row(key);
        match diff.changed_states() {
            Some(states) => {
                self.inventory
                    .apply_states(states, AddressColumn::NotListed, absence, impact);
            }
            None => self.inventory.confirm_absences(absence, impact),
        }

        self.inventory.set_leader(diff.leader());
        self.inventory.apply_overdue(&diff.overdue(), impact);
        self.registry = Some(diff.into_snapshot());
    }

    /// Applies the unit files of a registry. They have no leases, so that they are complete also
    /// right after an outage.
    fn apply_registry_files(&mut self, diff: &RegistryDiff, impact: &mut ReadingImpact) {
        match diff.changed_files() {
            Some(files) => {
                let is_complete = self.is_plausible(&files, impact);
                self.inventory.apply_files(files, is_complete, impact);
            }
            None => {
                let known_since = self.inventory.desired().read_began();
                self.inventory.confirm_files(known_since, impact);
            }
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
        let known_since = self.inventory.desired().read_began().filter(|_| follows_registry);
        self.read_times.confirm(impact.read());
        self.inventory.confirm_files(known_since, impact);
        self.inventory.confirm_absences(|_| Absence::Deleted, impact);

        // The events of units contain the addresses of machines that may be in the same reading.
        let is_machine = |change: &Observation| matches!(change, Observation::MachineSeen(_));
        let (machines, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_machine);
        for change in machines.into_iter().chain(others) {
            self.inventory.apply_change(change, impact);
        }
    }

    /// Learns what another monitor knows.
    pub(crate) fn learn(
        &mut self,
        peer: &PeerCluster,
        retention: Retention,
        learning: LearningTime,
        impact: &mut ReadingImpact,
    ) {
        self.inventory.learn(peer, retention, learning, impact);
    }

    /// Makes one step of each machine's life.
    pub(crate) fn step_machines(
        &mut self,
        source: SourceStanding,
        retention: Retention,
        impact: &mut ReadingImpact,
    ) {
        self.inventory.step_machines(source, retention, impact);
    }

    /// Schedules a refresh of all rows that depend on how far the source is trusted.
    pub(crate) fn refresh_not_current(&self, impact: &mut ReadingImpact) {
        self.inventory.refresh_not_current(impact);
    }

    /// Whether the units have been read and none is reported, although fleet has unit files.
    pub(crate) fn lacks_all_units(&self) -> bool {
        self.read_times.has_units()
            && !self.inventory.desired().is_empty()
            && self.inventory.rows().none_reported()
    }

    /// The missing rows that nothing explains, and the number of rows there should be.
    pub(crate) fn unexplained(&self, context: EvaluationContext) -> (BTreeSet<RowKey>, usize) {
        let rows = self.inventory.rows();
        let desired = self.inventory.desired();
        let count = rows.count_reported();

        // If no unit was ever reported, an empty list is compared with the targets that fleet has
        // chosen.
        if count == 0 && self.read_times.has_units() {
            let expected = rows.expected_by_target(desired);
            let count = expected.len();
            return (expected, count);
        }
        (rows.unexplained(&context.with(desired, self.machines())), count)
    }

    /// Whether the lists that could explain rows which have been missing since a moment were read
    /// since: the unit files and the machines, or, if that takes long, the units once more. A
    /// watched registry explains them at once, unless a fleetd is restarting.
    pub(crate) fn is_informed_since(&self, since: Moment, now: Moment) -> bool {
        if self.reads_all_lists {
            return now.since(since) >= RESTART;
        }

        let has_files = self.inventory.desired().is_known_since(since);
        let has_machines = self.read_times.has_machines_since(since);
        (has_files && has_machines) || self.read_times.has_units_after(since)
    }

    /// Brings all rows up to date that the reading affects, or whose timers have expired. Calls
    /// `changed` with each row that is shown differently, and with `None` for each that was
    /// removed.
    pub(crate) fn refresh(
        &mut self,
        context: EvaluationContext,
        impact: &mut ReadingImpact,
        mut changed: impl FnMut(RowKey, Option<Arc<Unit>>),
    ) {
        self.inventory.refresh_rows(context, impact, &mut changed);

        // Before the units have been read it is not known that no machine reports them.
        if self.inventory.desired().is_known() && self.read_times.has_units() {
            self.inventory.update_expected_rows(context, impact, &mut changed);
        }
    }

    /// Removes machines that have been lost for the keep time and have no row any more, and
    /// schedules a refresh of the rows of which one is the target.
    pub(crate) fn remove_lost_machines(
        &mut self,
        retention: Retention,
        impact: &mut ReadingImpact,
    ) {
        self.inventory.remove_lost_machines(retention, impact);
    }
}
