//! The rows: what is known of each unit on each machine, and the queue of what time makes due.
//!
//! It takes in what was said of a row, gathers the evidence for its next step ([`super::unit_life`]), and has the verdict
//! made ([`super::verdict`]). The cost of a change is the cost of the change: a row is looked at when something was said of
//! it, of its unit or of its machine, or when its time has come.

mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use super::desired::{Desired, Match, Wanted, matches};
use super::machines::Machines;
use super::model::{MachineId, Moment, UnitName, UnitState};
use super::observation::{Absence, Report};
use super::transition::{Event, Place};
use super::unit_life::{Departure, MachineStanding, News, Presence, Retention, SourceStanding, Step, step};
use super::view::{RowKey, Unit};
use row::{LAUNCH, Row, place};

/// The state of a unit that no machine reports, in transitions.
const SUBMITTED: &str = "submitted";

/// What else is known when a row is looked at.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) desired: &'a Desired,
    pub(super) machines: &'a Machines,
    pub(super) circumstances: Circumstances,
}

/// What holds for all rows at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    pub(super) source: SourceStanding,
    pub(super) retention: Retention,
    /// Whether everything has been read once, so that what changes now is a change of the cluster.
    pub(super) is_complete: bool,
    pub(super) at: Moment,
}

/// What became of a row that was looked at.
pub(super) enum Look {
    /// It is shown as it was.
    Same,
    /// It is shown in another way.
    Shown(Arc<Unit>),
    /// It is not there any more.
    Gone(Departure),
}

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: BTreeMap<RowKey, Row>,
    /// What is not reported any more.
    absent: BTreeSet<RowKey>,
    /// What time makes due. An entry that is not that of its row any more means nothing.
    queue: BTreeSet<(Instant, RowKey)>,
    /// The units that the last list had without a machine.
    unplaced: BTreeSet<UnitName>,
    /// How often a row was back that was absent, and had not gone.
    held_back: u64,
}

impl Rows {
    pub(super) fn held_back(&self) -> u64 {
        self.held_back
    }

    #[cfg(test)]
    pub(super) fn presences(&self) -> BTreeMap<RowKey, Presence> {
        self.rows.iter().map(|(key, row)| (key.clone(), row.presence)).collect()
    }

    /// How many rows are reported, or were.
    pub(super) fn placed(&self) -> usize {
        self.rows.values().filter(|row| row.is_placed()).count()
    }

    /// Whether there is none that is reported, or was.
    pub(super) fn is_bare(&self) -> bool {
        !self.rows.values().any(Row::is_placed)
    }

    pub(super) fn absent(&self) -> &BTreeSet<RowKey> {
        &self.absent
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &RowKey> {
        self.rows.keys()
    }

    /// The rows of a unit, the one without a machine first.
    pub(super) fn of_unit<'a>(&'a self, unit: &UnitName) -> impl Iterator<Item = &'a RowKey> + use<'a> {
        self.range(unit).map(|(key, _)| key)
    }

    /// The rows of a machine. It looks at all rows, so it is for what happens to machines.
    pub(super) fn of_machines(&self, machines: &BTreeSet<MachineId>) -> Vec<RowKey> {
        let is_of = |key: &&RowKey| key.1.as_ref().is_some_and(|machine| machines.contains(machine));
        self.rows.keys().filter(is_of).cloned().collect()
    }

    /// The rows that are not reported, not reported in time, or not reported yet.
    pub(super) fn unreported(&self) -> Vec<RowKey> {
        let is_open = |row: &Row| row.report != Report::Current || row.presence == Presence::Expected;
        self.rows.iter().filter(|(_, row)| is_open(row)).map(|(key, _)| key.clone()).collect()
    }

    /// The rows that appeared at or after a moment.
    pub(super) fn appeared_since(&self, moment: Moment) -> Vec<RowKey> {
        let is_new = |row: &Row| row.appeared.instant >= moment.instant;
        self.rows.iter().filter(|(_, row)| is_new(row)).map(|(key, _)| key.clone()).collect()
    }

    /// The rows that a list of the units is to have: those that are reported, or were.
    pub(super) fn reported_keys(&self) -> Vec<RowKey> {
        let is_reported = |row: &Row| row.presence != Presence::Expected;
        self.rows.iter().filter(|(_, row)| is_reported(row)).map(|(key, _)| key.clone()).collect()
    }

    /// How many rows of a machine there are, and how many of them are reported.
    pub(super) fn count_of(&self, machine: &MachineId) -> (usize, usize) {
        let of = self.rows.iter().filter(|(key, row)| key.1.as_ref() == Some(machine) && row.is_placed());
        of.fold((0, 0), |(rows, reported), (_, row)| (rows + 1, reported + usize::from(!row.report.is_absent())))
    }

    fn range<'a>(&'a self, unit: &UnitName) -> impl Iterator<Item = (&'a RowKey, &'a Row)> + use<'a> {
        let name = unit.clone();
        let from = (unit.clone(), None);
        self.rows.range((Bound::Included(from), Bound::Unbounded)).take_while(move |(key, _)| key.0 == name)
    }

    /// What is due by now.
    pub(super) fn take_due(&mut self, at: Moment) -> Vec<RowKey> {
        let mut due = Vec::new();

        while let Some((instant, _)) = self.queue.first()
            && *instant <= at.instant
        {
            let Some((instant, key)) = self.queue.pop_first() else { break };
            if let Some(row) = self.rows.get_mut(&key)
                && row.due == Some(instant)
            {
                row.due = None;
                due.push(key);
            }
        }
        due
    }

    /// A machine reports a unit. Returns whether that says anything new.
    pub(super) fn report(
        &mut self,
        state: UnitState,
        from_list: bool,
        at: Moment,
        is_first: bool,
        machines: &mut Machines,
        events: &mut Vec<Event>,
    ) -> bool {
        let Some(machine) = state.machine.clone() else { return false };
        let key = (state.unit.clone(), Some(machine.clone()));
        let without_address = from_list && state.ip.is_none();

        match self.rows.get_mut(&key) {
            Some(row) if row.is_placed() => {
                let was_absent = row.report.is_absent();
                if !was_absent && row.report == Report::Current && row.state == state {
                    return false;
                }
                if was_absent {
                    self.held_back += 1;
                    self.absent.remove(&key);
                    machines.count(&machine, 0, 1);
                }
                row.take(state, without_address, at, machines, events);
            }
            _ => {
                if !is_first {
                    let to = state.text();
                    events.push(Event::Appeared { place: place(&state, machines), to });
                }
                machines.count(&machine, 1, 1);
                self.rows.insert(key, Row::reported(state, without_address, at, !is_first));
            }
        }
        true
    }

    /// A row is not there any more. Returns whether that is new, or says more than before.
    pub(super) fn vanish(&mut self, key: &RowKey, absence: Absence, at: Moment, machines: &mut Machines) -> bool {
        let Some(row) = self.rows.get_mut(key) else { return false };
        if !row.is_placed() {
            return false;
        }

        match &mut row.report {
            Report::Absent { confirmed, absence: known, .. } => {
                let is_new = !*confirmed || (absence == Absence::Expired && *known != absence);
                *confirmed = true;
                if absence == Absence::Expired {
                    *known = absence;
                }
                is_new
            }
            report => {
                // What is overdue is as old as it was when it expires.
                let since = match *report {
                    Report::Overdue { since } if absence == Absence::Expired => Moment { instant: at.instant, ..since },
                    _ => at,
                };
                *report = Report::Absent { since, absence, confirmed: false };
                self.absent.insert(key.clone());
                if let Some(machine) = &key.1 {
                    machines.count(machine, 0, -1);
                }
                true
            }
        }
    }

    /// A row should have been renewed by now. Returns whether that is new.
    pub(super) fn overdue(&mut self, key: &RowKey, since: Moment) -> bool {
        let Some(row) = self.rows.get_mut(key) else { return false };
        let is_new = row.report == Report::Current;

        if is_new {
            row.report = Report::Overdue { since };
        }
        is_new
    }

    /// An overdue row was renewed. Returns whether it was overdue.
    pub(super) fn renewed(&mut self, key: &RowKey) -> bool {
        let Some(row) = self.rows.get_mut(key) else { return false };
        let was_overdue = matches!(row.report, Report::Overdue { .. });

        if was_overdue {
            row.report = Report::Current;
        }
        was_overdue
    }

    /// The rows that should have been renewed by now.
    pub(super) fn overdue_keys(&self) -> Vec<RowKey> {
        let is_overdue = |row: &Row| matches!(row.report, Report::Overdue { .. });
        self.rows.iter().filter(|(_, row)| is_overdue(row)).map(|(key, _)| key.clone()).collect()
    }

    /// Of the rows that are not reported, those that fleet wants where they were, as far as that is known, and whose
    /// machine is not lost: nothing explains them.
    pub(super) fn unexplained(&self, around: &Surroundings) -> BTreeSet<RowKey> {
        let is_unexplained = |key: &&RowKey| {
            let Some(row) = self.rows.get(*key) else { return false };
            let Report::Absent { absence, .. } = row.report else { return false };
            if row.presence == Presence::Lost || matches!(row.standing(around), MachineStanding::Lost { .. }) {
                return false;
            }
            match row.wanted(around) {
                Wanted::Here { global } => !(global && absence == Absence::Deleted),
                Wanted::Unknown => true,
                _ => false,
            }
        };
        self.absent.iter().filter(is_unexplained).cloned().collect()
    }

    /// The units that fleet wants on a machine of its choice and of which nothing has been reported yet.
    pub(super) fn expected_on_machines(&self, desired: &Desired) -> BTreeSet<RowKey> {
        let expected = self.rows.iter().filter(|(_, row)| row.presence == Presence::Expected);
        let chosen = expected.filter_map(|(key, _)| {
            let file = desired.get(&key.0).filter(|file| file.is_wanted())?;
            Some((key.0.clone(), Some(file.target.clone()?)))
        });
        chosen.collect()
    }

    /// Looks at a row: lets it make its step and has its verdict made.
    pub(super) fn look(&mut self, key: &RowKey, around: &Surroundings, events: &mut Vec<Event>) -> Look {
        let Some(row) = self.rows.get(key) else { return Look::Same };
        if row.presence == Presence::Expected {
            return self.look_at_expected(key, around);
        }

        let replacement = self.replacement(key, around);
        let Some(row) = self.rows.get_mut(key) else { return Look::Same };
        let evidence = row.evidence(replacement.is_some(), around);
        let Step { presence, news, due } =
            step(row.presence, &evidence, around.circumstances.retention, around.circumstances.at);
        row.presence = presence;
        match news {
            Some(News::Gone(departure)) => {
                self.remove(key, departure, around, events);
                return Look::Gone(departure);
            }
            Some(News::Back) => {
                row.came_back = Some(around.circumstances.at);
                let to = row.state.text();
                events.push(Event::Back { place: place(&row.state, around.machines), to });
            }
            Some(News::Stale) => {
                let from = row.state.text();
                events.push(Event::Stale { place: place(&row.state, around.machines), from });
            }
            None => {}
        }

        let target = replacement.filter(|_| !row.report.is_absent());
        let moved_to = target.map(|id| around.machines.name(&id).to_owned());
        let (unit, due_too) = row.show(&evidence, moved_to.as_deref(), around);
        self.schedule(key, due.into_iter().chain(due_too).min());
        let look = self.finish(key, unit);
        events.extend(self.rows.get_mut(key).and_then(|row| row.tell_of_loop(around.machines)));
        look
    }

    fn look_at_expected(&mut self, key: &RowKey, around: &Surroundings) -> Look {
        let Some(row) = self.rows.get_mut(key) else { return Look::Same };
        let (unit, due) = row.show_expected(around);

        self.schedule(key, due);
        self.finish(key, unit)
    }

    fn finish(&mut self, key: &RowKey, unit: Unit) -> Look {
        let Some(row) = self.rows.get_mut(key) else { return Look::Same };
        if row.shown.as_deref() == Some(&unit) {
            return Look::Same;
        }
        Look::Shown(row.shown.insert(Arc::new(unit)).clone())
    }

    fn schedule(&mut self, key: &RowKey, due: Option<Instant>) {
        let Some(row) = self.rows.get_mut(key) else { return };
        if row.due == due {
            return;
        }

        if let Some(before) = row.due.take() {
            self.queue.remove(&(before, key.clone()));
        }
        row.due = due;
        if let Some(due) = due {
            self.queue.insert((due, key.clone()));
        }
    }

    /// The machine that reports the unit in a row's place: the one that fleet has chosen, or, if the row is absent, one
    /// that began later. The target may have been read before fleet chose anew.
    fn replacement(&self, key: &RowKey, around: &Surroundings) -> Option<MachineId> {
        let row = self.rows.get(key)?;
        let file = around.desired.get(&key.0)?;
        let is_here = file.target.as_ref() == key.1.as_ref();
        let is_absent = row.report.is_absent();
        if file.global || (is_here && !is_absent) {
            return None;
        }

        let replaces = |(other, it): &(&RowKey, &Row)| {
            let is_target = file.target.is_some() && other.1 == file.target;
            other.1 != key.1
                && it.is_placed()
                && !it.report.is_absent()
                && !it.is_on_lost_machine(around)
                && (is_target || (is_absent && it.appeared.instant > row.appeared.instant))
        };
        self.range(&key.0).find(replaces).and_then(|(other, _)| other.1.clone())
    }

    fn remove(&mut self, key: &RowKey, departure: Departure, around: &Surroundings, events: &mut Vec<Event>) {
        self.schedule(key, None);
        self.absent.remove(key);
        let Some(row) = self.rows.remove(key) else { return };

        let from = row.state.text();
        let reason = departure.reason();
        events.extend(row.tell_end_of_loop(reason, around.machines));
        events.push(Event::Gone { place: place(&row.state, around.machines), from, reason });
    }

    /// Brings the rows of what is expected of a unit in line with its file, after one of its rows may have `left`. Returns
    /// the names of those that were added, and of those that were taken away.
    pub(super) fn expect(
        &mut self,
        unit: &UnitName,
        left: Option<Departure>,
        around: &Surroundings,
        events: &mut Vec<Event>,
    ) -> (Vec<RowKey>, Vec<RowKey>) {
        let expected = self.expected_places(unit, around);
        let known: Vec<RowKey> = self
            .range(unit)
            .filter(|(_, row)| row.presence == Presence::Expected)
            .map(|(key, _)| key.clone())
            .collect();
        let mut removed = Vec::new();
        for key in known.into_iter().filter(|key| !expected.contains(&key.1)) {
            self.schedule(&key, None);
            self.rows.remove(&key);
            removed.push(key);
        }

        let is_left = self.range(unit).next().is_some() || !expected.is_empty();
        if removed.iter().any(|key| key.1.is_none()) && !is_left {
            let place = Place { unit: unit.clone(), machine: None, ip: None };
            events.push(Event::Gone { place, from: SUBMITTED.to_owned(), reason: "its unit file is gone" });
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
                row.appeared = at.before(LAUNCH);
            }
            self.rows.insert(key.clone(), row);
            added.push(key);
        }
        (added, removed)
    }

    /// Where a row is to be of what is expected of a unit: on machines that a global unit fits, else nowhere.
    fn expected_places(&self, unit: &UnitName, around: &Surroundings) -> Vec<Option<MachineId>> {
        let Some(file) = around.desired.get(unit) else { return vec![] };
        let placed: BTreeSet<&MachineId> =
            self.range(unit).filter(|(_, row)| row.is_placed()).filter_map(|(key, _)| key.1.as_ref()).collect();

        if file.global && file.is_wanted() && !around.circumstances.retention.passes_through() {
            let fits = |id: &MachineId| around.machines.get(id).is_some_and(|it| matches(file, it) == Match::Yes);
            let fitting = around.machines.present().map(|machine| &machine.id).filter(|id| fits(id));
            let lacking: Vec<Option<MachineId>> =
                fitting.filter(|id| !placed.contains(id)).cloned().map(Some).collect();
            if !lacking.is_empty() {
                return lacking;
            }
        }
        if placed.is_empty() { vec![None] } else { vec![] }
    }

    /// Says which units fleet's own list has without a machine (fleetctl before 0.7). Returns the rows of which that is new.
    pub(super) fn list_unplaced(&mut self, unplaced: BTreeSet<UnitName>) -> Vec<RowKey> {
        let mut changed = Vec::new();
        for (key, row) in self.rows.iter_mut().filter(|(key, _)| key.1.is_none()) {
            let listed = unplaced.contains(&key.0);
            if row.listed != listed {
                row.listed = listed;
                changed.push(key.clone());
            }
        }
        self.unplaced = unplaced;
        changed
    }
}
