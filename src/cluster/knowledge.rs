//! All that is known of the cluster, and how a reading adds to it.
//!
//! It notes which rows a reading concerns; what follows for them is seen to afterwards, so that the
//! order in which things are said within one reading does not matter. It knows nothing of the view.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::desired::Desired;
use super::machine_life::RESTART;
use super::machines::{Machines, Source};
use super::model::{FleetList, Machine, MachineId, Moment, Span, UnitFile, UnitName, UnitState};
use super::observation::{Absence, Lease, Observation, Reading, RegistrySnapshot};
use super::transition::Event;
use super::unit_life::{Departure, Retention};
use super::units::{Circumstances, Look, Rows, Surroundings};
use super::view::{RowKey, Unit};

/// What one reading brings about.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) read: Span,
    /// Whether it is the first reading of one of its topics.
    pub(crate) is_first: bool,
    /// Whether an outage is not just over.
    pub(crate) settled: bool,
    pub(crate) events: Vec<Event>,
    /// The rows to be looked at.
    rows: BTreeSet<RowKey>,
    /// The units whose expected rows may be others.
    units: BTreeSet<UnitName>,
    /// The units that have lost a row, and how.
    left: BTreeMap<UnitName, Departure>,
    /// The rows that came back after they had been missing.
    returned: Vec<RowKey>,
    /// Whether rows went missing or came back, or missing ones were confirmed.
    absences: bool,
    /// Whether machines came, went, or describe themselves anew.
    machines: bool,
}

impl Batch {
    pub(crate) fn new(read: Span, is_first: bool, settled: bool, events: Vec<Event>) -> Self {
        Self {
            read,
            is_first,
            settled,
            events,
            rows: BTreeSet::new(),
            units: BTreeSet::new(),
            left: BTreeMap::new(),
            returned: Vec::new(),
            absences: false,
            machines: false,
        }
    }

    fn at(&self) -> Moment {
        self.read.ended
    }

    pub(crate) fn returned(&self) -> &[RowKey] {
        &self.returned
    }

    pub(crate) fn has_absences(&self) -> bool {
        self.absences
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    rows: Rows,
    desired: Desired,
    machines: Machines,
    units_read: Option<Span>,
    /// When the machines were last read and there were some.
    machines_read: Option<Span>,
    /// Whether the last reading was of all topics at one moment.
    reads_all_at_once: bool,
    /// The last reading, if it was of the whole registry: a list that it shares with the next one
    /// says nothing new.
    registry: Option<RegistrySnapshot>,
}

impl Knowledge {
    pub(crate) fn machines(&self) -> &Machines {
        &self.machines
    }

    #[cfg(test)]
    pub(crate) fn rows(&self) -> &Rows {
        &self.rows
    }

    pub(crate) fn held_back(&self) -> u64 {
        self.rows.held_back()
    }

    /// Takes in a reading.
    pub(crate) fn take(&mut self, reading: Reading, batch: &mut Batch) {
        let all = batch.is_first;
        let registry_before = self.registry.take();
        self.reads_all_at_once = reading.topics().len() == FleetList::ALL.len();

        match reading {
            Reading::Units { states, files } => {
                if let Some(files) = files {
                    self.take_files(files, batch);
                }
                self.take_units(states, batch);
            }
            Reading::Machines { machines } => self.take_machines(machines, batch),
            Reading::UnitFiles { files } => self.take_files(files, batch),
            Reading::Registry(snapshot) => {
                self.take_registry(snapshot, registry_before.as_ref(), batch);
            }
            Reading::Changes { changes, .. } => {
                self.take_changes(changes, registry_before.is_some(), batch);
            }
        }
        if all {
            batch.units.extend(self.desired.units().cloned());
            batch.rows.extend(self.rows.keys().cloned());
        }
    }

    /// Takes what has changed since the reading before, which `follows_registry` if that was of
    /// everything.
    fn take_changes(
        &mut self,
        changes: Vec<Observation>,
        follows_registry: bool,
        batch: &mut Batch,
    ) {
        let since = self.desired.read_at().filter(|_| follows_registry);
        self.confirm(batch.read);
        self.wants_are_newer(since, batch);
        for key in self.rows.absent().clone() {
            self.vanish(&key, Absence::Deleted, batch);
        }

        // The events of units name their machines, which may have been seen at the same moment.
        let is_of_machine = |change: &Observation| matches!(change, Observation::MachineSeen(_));
        let (machines, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_of_machine);
        for change in machines.into_iter().chain(others) {
            self.observe(change, batch);
        }
    }

    /// What is known is known to be so at this moment.
    fn confirm(&mut self, read: Span) {
        self.units_read = Some(read);
        self.machines_read = self.machines_read.and(Some(read));
        self.desired.confirm(read);
    }

    fn take_units(&mut self, mut states: Vec<UnitState>, batch: &mut Batch) {
        self.units_read = Some(batch.read);
        let unplaced = states.extract_if(.., |state| state.machine.is_none());
        let unplaced: BTreeSet<UnitName> = unplaced.map(|state| state.unit).collect();

        self.list_states(states, |_| Absence::Unlisted, true, batch);
        batch.rows.extend(self.rows.list_unplaced(unplaced));
    }

    fn list_states(
        &mut self,
        states: Vec<UnitState>,
        absence: impl Fn(&RowKey) -> Absence,
        with_addresses: bool,
        batch: &mut Batch,
    ) {
        let mut lacking: BTreeSet<RowKey> = self.rows.reported_keys().into_iter().collect();

        for state in states {
            lacking.remove(&(state.unit.clone(), state.machine.clone()));
            self.report(state, with_addresses, batch);
        }
        for key in lacking {
            self.vanish(&key, absence(&key), batch);
        }
    }

    fn report(&mut self, state: UnitState, from_list: bool, batch: &mut Batch) {
        let key = (state.unit.clone(), state.machine.clone());
        let was_absent = self.rows.absent().contains(&key);
        let at = batch.at();
        let is_new = self.rows.report(
            state,
            from_list,
            at,
            batch.is_first,
            &mut self.machines,
            &mut batch.events,
        );
        if !is_new {
            return;
        }

        if was_absent {
            batch.absences = true;
            batch.returned.push(key.clone());
        }
        // It may be why another row of the unit is gone.
        batch.rows.extend(self.rows.of_unit(&key.0).cloned());
        batch.units.insert(key.0);
    }

    fn vanish(&mut self, key: &RowKey, absence: Absence, batch: &mut Batch) {
        if self.rows.vanish(key, absence, batch.at(), &mut self.machines) {
            batch.absences = true;
            batch.rows.insert(key.clone());
        }
    }

    fn take_files(&mut self, files: Vec<UnitFile>, batch: &mut Batch) {
        let is_plausible = self.desired.is_plausible(&files, batch.read, self.machines_read);
        self.list_files(files, is_plausible && batch.settled, batch);
    }

    fn list_files(&mut self, files: Vec<UnitFile>, is_whole: bool, batch: &mut Batch) {
        let since = self.desired.read_at();
        let changed = self.desired.list(files, batch.read, is_whole);

        for unit in changed {
            self.wants_changed(unit, batch);
        }
        self.wants_are_newer(since, batch);
    }

    /// Of some rows it was not known what fleet wants, or wants since they are absent.
    fn wants_are_newer(&self, since: Option<Moment>, batch: &mut Batch) {
        if let Some(since) = since {
            batch.rows.extend(self.rows.appeared_since(since));
        }
        batch.rows.extend(self.rows.absent().iter().cloned());
    }

    fn wants_changed(&mut self, unit: UnitName, batch: &mut Batch) {
        batch.rows.extend(self.rows.of_unit(&unit).cloned());
        batch.units.insert(unit);
    }

    fn take_machines(&mut self, machines: Vec<Machine>, batch: &mut Batch) {
        // fleet without a machine is no fleet.
        if machines.is_empty() && self.machines_read.is_some() {
            return;
        }
        if !machines.is_empty() {
            self.machines_read = Some(batch.read);
            if let Some(read) = self.desired.empty_list_confirmed_by(batch.read) {
                let changed = self.desired.list(Vec::new(), read, batch.settled);
                changed.into_iter().for_each(|unit| self.wants_changed(unit, batch));
            }
        }
        self.list_machines(machines, |_| Absence::Unlisted, batch);
    }

    fn list_machines(
        &mut self,
        machines: Vec<Machine>,
        absence: impl Fn(&MachineId) -> Absence,
        batch: &mut Batch,
    ) {
        let mut lacking = self.machines.listed();

        for machine in machines {
            lacking.remove(&machine.id);
            self.see_machine(machine, batch);
        }
        for id in lacking {
            self.machines.absent(&id, absence(&id), batch.at());
            batch.machines = true;
        }
    }

    fn see_machine(&mut self, machine: Machine, batch: &mut Batch) {
        let id = machine.id.clone();
        let is_known = self.machines.get(&id).is_some();
        let is_new = self
            .machines
            .seen(machine, batch.at(), batch.is_first, &mut batch.events);

        if !is_known {
            let (rows, reported) = self.rows.count_of(&id);
            self.machines.recount(&id, rows, reported);
        }
        if is_new {
            batch.machines = true;
            batch.rows.extend(self.rows.of_machines(&BTreeSet::from([id])));
        }
    }

    /// Takes a whole registry. After an outage nobody knows whether a key was deleted.
    fn take_registry(
        &mut self,
        snapshot: RegistrySnapshot,
        before: Option<&RegistrySnapshot>,
        batch: &mut Batch,
    ) {
        let same_machines =
            before.is_some_and(|before| Arc::ptr_eq(&before.machines, &snapshot.machines));
        let same_files = before.is_some_and(|before| Arc::ptr_eq(&before.files, &snapshot.files));
        let same_states =
            before.is_some_and(|before| Arc::ptr_eq(&before.states, &snapshot.states));
        self.registry =
            Some(RegistrySnapshot { expired: Vec::new(), overdue: Vec::new(), ..snapshot.clone() });
        let expired: BTreeSet<Lease> = snapshot.expired.into_iter().collect();
        let otherwise = if batch.settled {
            Absence::Deleted
        } else {
            Absence::Unlisted
        };
        let absence = |lease: &Lease| {
            if expired.contains(lease) {
                Absence::Expired
            } else {
                otherwise
            }
        };

        if !snapshot.machines.is_empty() {
            self.machines_read = Some(batch.read);
        }
        let of_machine = |id: &MachineId| absence(&Lease::Machine(id.clone()));
        if !same_machines {
            self.list_machines(snapshot.machines.to_vec(), of_machine, batch);
        }

        // What fleet wants does not expire: it is whole also right after an outage.
        if same_files && !snapshot.files.is_empty() {
            let since = self.desired.read_at();
            self.desired.confirm(batch.read);
            self.wants_are_newer(since, batch);
        } else {
            let files = snapshot.files.to_vec();
            let is_plausible = self.desired.is_plausible(&files, batch.read, self.machines_read);
            self.list_files(files, is_plausible, batch);
        }

        self.units_read = Some(batch.read);
        let of_row = |key: &RowKey| match key {
            (unit, Some(machine)) => absence(&Lease::Unit(unit.clone(), machine.clone())),
            (_, None) => otherwise,
        };
        if same_states {
            for key in self.rows.absent().clone() {
                self.vanish(&key, of_row(&key), batch);
            }
        } else {
            // The addresses are those of the machines here.
            let states = snapshot
                .states
                .iter()
                .cloned()
                .map(|state| UnitState { ip: None, ..state });
            self.list_states(states.collect(), of_row, false, batch);
        }

        self.machines.lead(snapshot.leader);
        self.list_overdue(snapshot.overdue.into_iter().collect(), batch);
    }

    fn list_overdue(&mut self, overdue: BTreeMap<Lease, Duration>, batch: &mut Batch) {
        for id in self.machines.overdue_machines() {
            if !overdue.contains_key(&Lease::Machine(id.clone())) {
                self.machines.renewed(&id);
            }
        }
        for key in self.rows.overdue_keys() {
            let (unit, Some(machine)) = &key else {
                continue;
            };
            if !overdue.contains_key(&Lease::Unit(unit.clone(), machine.clone())) {
                self.observe(
                    Observation::Renewed(Lease::Unit(unit.clone(), machine.clone())),
                    batch,
                );
            }
        }
        for (lease, age) in overdue {
            self.observe(Observation::Overdue(lease, age), batch);
        }
    }

    /// Takes one change.
    fn observe(&mut self, observation: Observation, batch: &mut Batch) {
        match observation {
            Observation::Reported(state) => {
                self.report(UnitState { ip: None, ..state }, false, batch);
            }
            Observation::MachineSeen(machine) => self.see_machine(machine, batch),
            Observation::Wanted(file) => {
                if let Some(unit) = self.desired.want(file) {
                    self.wants_changed(unit, batch);
                }
            }
            Observation::NotWanted(unit) => {
                if let Some(unit) = self.desired.forget(&unit) {
                    self.wants_changed(unit, batch);
                }
            }
            Observation::Deleted(lease) => self.end(lease, Absence::Deleted, batch),
            Observation::Expired(lease) => self.end(lease, Absence::Expired, batch),
            Observation::Overdue(Lease::Machine(id), age) => {
                self.machines.overdue(&id, batch.at().before(age));
            }
            Observation::Overdue(Lease::Unit(unit, machine), age) => {
                let key = (unit, Some(machine));
                if self.rows.overdue(&key, batch.at().before(age)) {
                    batch.rows.insert(key);
                }
            }
            Observation::Renewed(Lease::Machine(id)) => self.machines.renewed(&id),
            Observation::Renewed(Lease::Unit(unit, machine)) => {
                let key = (unit, Some(machine));
                if self.rows.renewed(&key) {
                    batch.rows.insert(key);
                }
            }
            Observation::Leads(leader) => self.machines.lead(leader),
        }
    }

    fn end(&mut self, lease: Lease, absence: Absence, batch: &mut Batch) {
        match lease {
            Lease::Machine(id) => {
                self.machines.absent(&id, absence, batch.at());
                batch.machines = true;
            }
            Lease::Unit(unit, machine) => self.vanish(&(unit, Some(machine)), absence, batch),
        }
    }

    /// Everything that is open is to be looked at: the source is trusted more, or less, than
    /// before.
    pub(crate) fn reconsider(&self, batch: &mut Batch) {
        batch.rows.extend(self.rows.unreported());
    }

    /// Lets the machines make their steps.
    pub(crate) fn step_machines(&mut self, source: Source, batch: &mut Batch) {
        let moved = self.machines.step(source, batch.at(), &mut batch.events);

        if !moved.is_empty() {
            batch.machines = true;
            batch.rows.extend(self.rows.of_machines(&moved));
        }
        if batch.machines {
            batch.units.extend(self.desired.global_units().cloned());
        }
    }

    /// Whether nothing has been reported, though fleet has units.
    pub(crate) fn is_bare(&self) -> bool {
        self.units_read.is_some() && !self.desired.is_empty() && self.rows.is_bare()
    }

    /// The rows that nothing explains, and of how many.
    pub(crate) fn missing(&self, circumstances: Circumstances) -> (BTreeSet<RowKey>, usize) {
        let around = Surroundings {
            desired: &self.desired,
            machines: &self.machines,
            circumstances,
        };
        let missing = self.rows.unexplained(&around);
        let of = self.rows.placed();

        // An empty answer is not an empty cluster, the first one neither: fleet has chosen machines
        // for units.
        if of == 0 && self.units_read.is_some() {
            let expected = self.rows.expected_on_machines(&self.desired);
            let count = expected.len();
            return (expected, count);
        }
        (missing, of)
    }

    /// Whether what explains rows that have been missing since a moment has been read: what fleet
    /// wants and who is there, or, where that takes long, the units once more.
    pub(crate) fn is_informed_since(&self, since: Moment, batch: &Batch) -> bool {
        let files = self.desired.is_known_since(since);
        let machines = self.machines_read.is_some_and(|read| read.is_since(since));
        let again = self.units_read.is_some_and(|read| read.ended.instant > since.instant);
        let restarted = batch.at().since(since) >= RESTART;

        if self.reads_all_at_once {
            restarted
        } else {
            (files && machines) || again
        }
    }

    /// Looks at all rows that the reading, or time, concerns. Calls `changed` with each row that is
    /// shown in another way from now on; with none if it is not there any more.
    pub(crate) fn look(
        &mut self,
        circumstances: Circumstances,
        batch: &mut Batch,
        mut changed: impl FnMut(RowKey, Option<Arc<Unit>>),
    ) {
        let mut keys = std::mem::take(&mut batch.rows);
        keys.extend(self.rows.take_due(batch.at()));
        for key in keys {
            self.look_at(key, circumstances, batch, &mut changed);
        }

        // Before the units have been read it is not known that no machine reports them.
        if !self.desired.is_known() || self.units_read.is_none() {
            return;
        }
        for unit in std::mem::take(&mut batch.units) {
            let left = batch.left.get(&unit).copied();
            let around = Surroundings {
                desired: &self.desired,
                machines: &self.machines,
                circumstances,
            };
            let (added, removed) = self.rows.expect(&unit, left, &around, &mut batch.events);
            for key in removed {
                changed(key, None);
            }
            for key in added {
                self.look_at(key, circumstances, batch, &mut changed);
            }
        }
    }

    fn look_at(
        &mut self,
        key: RowKey,
        circumstances: Circumstances,
        batch: &mut Batch,
        changed: &mut impl FnMut(RowKey, Option<Arc<Unit>>),
    ) {
        let around = Surroundings {
            desired: &self.desired,
            machines: &self.machines,
            circumstances,
        };

        match self.rows.look(&key, &around, &mut batch.events) {
            Look::Same => {}
            Look::Shown(unit) => changed(key, Some(unit)),
            Look::Gone(departure) => {
                if let Some(machine) = &key.1 {
                    self.machines.count(machine, -1, 0);
                }
                batch.left.insert(key.0.clone(), departure);
                batch.units.insert(key.0.clone());
                changed(key, None);
            }
        }
    }

    /// Forgets lost machines on which no row is.
    pub(crate) fn forget_lost(&mut self, retention: Retention, at: Moment) {
        self.machines.forget_lost(retention, at);
    }
}
