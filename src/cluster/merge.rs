//! Merges readings into one view, and tells what happened in between.
//!
//! Between two readings a row is live (reported), stale (not reported, but not known to have gone) or gone. What is
//! certain is decided by [`super::judge`]; this module keeps the rows, the clocks and the counters.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::judge::{self, Evidence};
use super::{
    Event, Failure, Health, Machine, MachineId, Member, Moment, Place, Reading, Text, Topic, Transition, Unit,
    UnitFile, UnitName, UnitState, View,
};

/// A unit on a machine; on none for a unit that no machine reports.
type Key = (UnitName, Option<MachineId>);

/// All that is known of the cluster.
#[derive(Debug)]
pub struct Cluster {
    grace: Duration,
    rows: BTreeMap<Key, Row>,
    /// When the units were last read.
    units_read: Option<Moment>,
    /// The units that the last reading listed without a machine (fleetctl before 0.7).
    unplaced: BTreeSet<UnitName>,
    files: Option<Files>,
    machines: BTreeMap<MachineId, MachineRow>,
    /// When the machines were last read and there were some.
    machines_read: Option<Moment>,
    /// Since when the source has answered everything, if it ever failed.
    recovered: Option<Moment>,
    /// Since when too many rows have been missing, and whether that is confirmed.
    doubt: Option<Doubt>,
    health: Health,
    view: Arc<View>,
    /// Whether every topic has been read once, so that what changes now is a change of the cluster.
    complete: bool,
    /// How many transitions there have been.
    transitions: u64,
}

#[derive(Debug)]
struct Row {
    state: UnitState,
    /// When it was first reported.
    appeared: Moment,
    since: SystemTime,
    since_seen: bool,
    missing: Option<Missing>,
    /// Whether it was reported although its machine had left.
    outlived_machine: bool,
    /// Whether fleet's own list has it: always, but for a unit that only its unit file tells of.
    listed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    since: Moment,
    /// Whether a transition has told of it.
    told: bool,
}

#[derive(Debug)]
struct Files {
    read: Moment,
    files: BTreeMap<UnitName, Arc<UnitFile>>,
}

#[derive(Debug)]
struct MachineRow {
    machine: Machine,
    since: SystemTime,
    since_seen: bool,
    lost: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Moment,
    confirmed: bool,
}

impl Cluster {
    /// A cluster of which nothing is known yet. `grace` is how long a row that fleet wants is kept after fleet has
    /// stopped reporting it; with zero, every row is believed as it comes and goes.
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            rows: BTreeMap::new(),
            units_read: None,
            unplaced: BTreeSet::new(),
            files: None,
            machines: BTreeMap::new(),
            machines_read: None,
            recovered: None,
            doubt: None,
            health: Health::default(),
            view: Arc::default(),
            complete: false,
            transitions: 0,
        }
    }

    /// The cluster as it is to be shown. The same `Arc` as long as nothing in it changes.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The state of the source.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Takes another grace into use.
    pub fn set_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// Forgets the cluster, as when a recording begins anew. No transition tells of it.
    pub fn forget(&mut self) {
        let held_back = self.health.held_back;
        *self = Self { transitions: self.transitions, ..Self::new(self.grace) };
        self.health.held_back = held_back;
    }

    /// Takes what a source said of one topic. Returns what happened, in order.
    pub fn read(&mut self, reading: Reading, at: Moment) -> Vec<Arc<Transition>> {
        let mut events = Vec::new();
        self.succeed(reading.topic(), at, &mut events);
        match reading {
            Reading::Units { states, files } => {
                if let Some(files) = files {
                    // One answer told both: then both have been read.
                    self.succeed(Topic::UnitFiles, at, &mut events);
                    self.read_files(files, at);
                }
                self.read_units(states, at, &mut events);
            }
            Reading::Machines { machines } => self.read_machines(machines, at, &mut events),
            Reading::UnitFiles { files } => self.read_files(files, at),
        }
        self.judge(at, &mut events);
        self.number(events, at)
    }

    /// Takes note that one topic could not be read. Nothing that is known is given up for that.
    pub fn fail(&mut self, topic: Topic, reason: &str, at: Moment) -> Vec<Arc<Transition>> {
        let mut events = Vec::new();
        if self.health.failure().is_none() {
            events.push(Event::SourceDown { reason: reason.to_owned() });
        }
        let failure = &mut self.health.topic_mut(topic).failure;
        let since = failure.as_ref().map_or(at, |failure| failure.since);
        *failure = Some(Failure { since, reason: reason.into() });
        self.number(events, at)
    }

    fn succeed(&mut self, topic: Topic, at: Moment, events: &mut Vec<Event>) {
        let down_since = self.health.failure().map(|failure| failure.since);
        let topic = self.health.topic_mut(topic);
        topic.read = Some(at);
        if topic.failure.take().is_some() {
            self.recovered = Some(at);
        }
        if let (Some(since), None) = (down_since, self.health.failure()) {
            events.push(Event::SourceBack { after: at.since(since) });
        }
    }

    /// Whether the source fails, or did so recently that its answers may be short: fleet needs 10 to 30 s after an
    /// outage of etcd until its lists are whole again.
    fn unsettled(&self, at: Moment) -> bool {
        self.health.failure().is_some() || self.recovered.is_some_and(|recovered| at.since(recovered) < self.grace)
    }

    fn read_units(&mut self, states: Vec<UnitState>, at: Moment, events: &mut Vec<Event>) {
        let first = self.units_read.replace(at).is_none();
        let (placed, unplaced): (Vec<_>, Vec<_>) = states.into_iter().partition(|state| state.machine.is_some());
        self.unplaced = unplaced.into_iter().map(|state| state.unit).collect();
        let mut reported: BTreeMap<Key, UnitState> =
            placed.into_iter().map(|state| ((state.unit.clone(), state.machine.clone()), state)).collect();
        for (key, row) in self.rows.iter_mut().filter(|(key, _)| key.1.is_some()) {
            match reported.remove(key) {
                Some(state) => row.report(state, at, &self.machines, events, &mut self.health.held_back),
                None if row.missing.is_none() => row.missing = Some(Missing { since: at, told: false }),
                None => {}
            }
        }
        for (key, state) in reported {
            if !first {
                events.push(Event::Appeared { place: self.place(&state), to: text(&state) });
            }
            self.rows.insert(key, Row::new(state, at, !first));
        }
    }

    fn read_files(&mut self, files: Vec<UnitFile>, at: Moment) {
        if files.is_empty() && !self.grace.is_zero() && !self.fleet_is_there() {
            return;
        }
        let mut known = self.files.take().map(|files| files.files).unwrap_or_default();
        let files = files
            .into_iter()
            .map(|file| match known.remove(&file.unit) {
                Some(same) if *same == file => (file.unit, same),
                _ => (file.unit.clone(), Arc::new(file)),
            })
            .collect();
        self.files = Some(Files { read: at, files });
    }

    /// Whether something shows that it is fleet that answers. An etcd without any fleet key gives empty lists and no
    /// error, so when all rows are missing, the machines have to be read again before an empty list of unit files is
    /// believed.
    fn fleet_is_there(&self) -> bool {
        let placed = || self.rows.iter().filter(|(key, _)| key.1.is_some()).map(|(_, row)| row);
        let vanished = placed().filter_map(|row| row.missing).map(|missing| missing.since.instant).max();
        placed().any(|row| row.missing.is_none())
            || vanished.is_none_or(|vanished| self.machines_read.is_some_and(|read| read.instant >= vanished))
    }

    fn read_machines(&mut self, machines: Vec<Machine>, at: Moment, events: &mut Vec<Event>) {
        let unsettled = self.unsettled(at);
        let first = self.machines.is_empty();
        if !machines.is_empty() {
            self.machines_read = Some(at);
        }
        let mut reported: BTreeMap<MachineId, Machine> =
            machines.into_iter().map(|machine| (machine.id.clone(), machine)).collect();
        // fleet without a machine is no fleet, and a list that is short right after an outage proves nothing.
        let believed = self.grace.is_zero() || (!reported.is_empty() && !unsettled);
        for (id, row) in &mut self.machines {
            match reported.remove(id) {
                Some(machine) => {
                    if row.lost.take().is_some() {
                        (row.since, row.since_seen) = (at.wall, true);
                        events.push(Event::MachineJoined { machine: id.clone(), ip: machine.ip.clone() });
                    }
                    row.machine = machine;
                }
                None if believed && row.lost.is_none() => {
                    row.lost = Some(at);
                    events.push(Event::MachineLost { machine: id.clone(), ip: row.machine.ip.clone() });
                }
                None => {}
            }
        }
        for (id, machine) in reported {
            if !first {
                events.push(Event::MachineJoined { machine: id.clone(), ip: machine.ip.clone() });
            }
            self.machines.insert(id, MachineRow { machine, since: at.wall, since_seen: !first, lost: None });
        }
    }

    /// Draws the conclusions from all that is known.
    fn judge(&mut self, at: Moment, events: &mut Vec<Event>) {
        self.note_outlived(at);
        self.drop_what_is_gone(at, events);
        self.doubt_the_source(at, events);
        self.add_unreported(at, events);
        self.forget_lost_machines(at);
        self.show(at);
    }

    /// Marks the rows that fleet goes on to report after their machine has left: it then lists them without an address.
    fn note_outlived(&mut self, at: Moment) {
        if self.unsettled(at) {
            return;
        }
        let (machines, read) = (&self.machines, self.units_read);
        for row in self.rows.values_mut().filter(|row| row.missing.is_none()) {
            row.outlived_machine = row.state.ip.is_none() && machine_lost(row, machines, read);
        }
    }

    fn drop_what_is_gone(&mut self, at: Moment, events: &mut Vec<Event>) {
        let missing: Vec<Key> =
            self.rows.iter().filter(|(_, row)| row.missing.is_some()).map(|(key, _)| key.clone()).collect();
        let elsewhere = self.reporters(missing.iter().map(|(unit, _)| unit));
        let settled = !self.unsettled(at);
        for key in missing {
            let Some(row) = self.rows.get(&key) else { continue };
            let Some(missing) = row.missing else { continue };
            let waited_since = self.recovered.map_or(missing.since, |recovered| later(recovered, missing.since));
            let answering = self.health.failure().is_none();
            let grace_is_over = answering && self.doubt.is_none() && at.since(waited_since) >= self.grace;
            let reason = if self.grace.is_zero() {
                Some("fleet does not list it any more")
            } else {
                self.evidence(row, settled, &elsewhere)
                    .gone()
                    .or(grace_is_over.then_some("fleet has not reported it for longer than the grace (--grace)"))
            };
            if let Some(reason) = reason
                && let Some(row) = self.rows.remove(&key)
            {
                events.push(Event::Gone { place: self.place(&row.state), from: text(&row.state), reason });
            }
        }
    }

    /// When a large part of all rows is missing at once though fleet wants them just there, it is the source that is
    /// doubted: one event says so, instead of one for each row. While what fleet wants and who is there was read before
    /// they vanished, nothing is said yet: a machine may just have been shut down.
    fn doubt_the_source(&mut self, at: Moment, events: &mut Vec<Event>) {
        let settled = !self.unsettled(at);
        let elsewhere = HashMap::new();
        let placed = self.rows.iter().filter(|(key, _)| key.1.is_some());
        let of = placed.clone().count();
        let unexplained: Vec<Moment> = placed
            .filter(|(_, row)| self.evidence(row, settled, &elsewhere).wanted_here())
            .filter_map(|(_, row)| row.missing.map(|missing| missing.since))
            .collect();
        if judge::too_many(unexplained.len(), of) {
            let mut doubt = self.doubt.unwrap_or(Doubt { since: at, confirmed: false });
            if !doubt.confirmed && self.is_informed_since(doubt.since) {
                doubt.confirmed = true;
                self.health.suspect_since = Some(doubt.since.wall);
                events.push(Event::SourceSuspect { missing: unexplained.len(), of });
            }
            self.doubt = Some(doubt);
            return;
        }
        self.doubt = None;
        self.health.suspect_since = None;
        self.tell_of_the_stale(settled, events);
    }

    /// Tells of each missing row that fleet wants just where it was; of one whose machine has left, or which is being
    /// moved, other events tell.
    fn tell_of_the_stale(&mut self, settled: bool, events: &mut Vec<Event>) {
        let elsewhere = HashMap::new();
        let untold =
            |row: &&Row| row.missing.is_some_and(|missing| !missing.told && self.is_informed_since(missing.since));
        let stale: Vec<Key> = self
            .rows
            .values()
            .filter(untold)
            .filter(|row| self.evidence(row, settled, &elsewhere).wanted_here())
            .map(|row| (row.state.unit.clone(), row.state.machine.clone()))
            .collect();
        for key in stale {
            if let Some(row) = self.rows.get_mut(&key)
                && let Some(missing) = &mut row.missing
            {
                missing.told = true;
                let place = place(&row.state, &self.machines);
                events.push(Event::Stale { place, from: text(&row.state) });
            }
        }
    }

    /// Whether what fleet wants and who is there has been read since a row went missing; or, where that takes long, the
    /// units once more. A row that went because fleet let go of it is not worth an event before its end.
    fn is_informed_since(&self, missing: Moment) -> bool {
        let since = |read: Option<Moment>| read.is_some_and(|read| read.instant >= missing.instant);
        let why = since(self.files.as_ref().map(|files| files.read)) && since(self.health.topic(Topic::Machines).read);
        why || self.units_read.is_some_and(|read| read.instant > missing.instant)
    }

    /// Keeps one row without a machine for each unit that fleet knows and no machine reports.
    fn add_unreported(&mut self, at: Moment, events: &mut Vec<Event>) {
        // Before the units have been read it is not known that no machine reports them.
        let (Some(Files { files, .. }), Some(_)) = (&self.files, self.units_read) else { return };
        let first = !self.view.units.iter().any(|unit| unit.file.is_some());
        let placed: HashSet<UnitName> =
            self.rows.keys().filter(|key| key.1.is_some()).map(|key| key.0.clone()).collect();
        let was_shown = |unit: &UnitName| self.view.units.binary_search_by(|shown| shown.state.unit.cmp(unit)).is_ok();
        let nowhere = |unit: &UnitName| Place { unit: unit.clone(), machine: None, ip: None };
        self.rows.retain(|(unit, machine), _| {
            if machine.is_some() || (files.contains_key(unit) && !placed.contains(unit)) {
                return true;
            }
            if !placed.contains(unit) {
                let reason = "its unit file is gone";
                events.push(Event::Gone { place: nowhere(unit), from: SUBMITTED.to_owned(), reason });
            }
            false
        });
        for unit in files.keys().filter(|unit| !placed.contains(*unit)) {
            let row = self.rows.entry((unit.clone(), None)).or_insert_with(|| {
                if !first && !was_shown(unit) {
                    events.push(Event::Appeared { place: nowhere(unit), to: SUBMITTED.to_owned() });
                }
                Row::new(UnitState::unreported(unit.clone()), at, !first)
            });
            row.listed = self.unplaced.contains(unit);
        }
    }

    /// Forgets a lost machine when no row is on it any more and the grace is over.
    fn forget_lost_machines(&mut self, at: Moment) {
        let grace = self.grace;
        let in_use: HashSet<&MachineId> = self.rows.keys().filter_map(|key| key.1.as_ref()).collect();
        self.machines.retain(|id, row| match row.lost {
            Some(lost) => at.since(lost) < grace || (in_use.contains(id) && !grace.is_zero()),
            None => true,
        });
    }

    /// For each of these units, the machines that report it.
    fn reporters<'a>(&self, units: impl Iterator<Item = &'a UnitName>) -> HashMap<UnitName, Vec<MachineId>> {
        let mut reporters = HashMap::new();
        for unit in units {
            let machines = self
                .rows
                .range((unit.clone(), None)..)
                .take_while(|(key, _)| key.0 == *unit)
                .filter(|(_, row)| row.missing.is_none())
                .filter_map(|(key, _)| key.1.clone())
                .collect();
            reporters.insert(unit.clone(), machines);
        }
        reporters
    }

    fn evidence<'a>(
        &'a self,
        row: &'a Row,
        settled: bool,
        reporters: &'a HashMap<UnitName, Vec<MachineId>>,
    ) -> Evidence<'a> {
        let file = self.files.as_ref().and_then(|files| files.files.get(&row.state.unit)).map(|file| &**file);
        let target = file.and_then(|file| file.target.as_ref());
        let machine = row.state.machine.as_ref();
        let others = reporters.get(&row.state.unit).map_or(&[][..], Vec::as_slice);
        let elsewhere = if row.missing.is_some() {
            others.iter().find(|other| Some(*other) != machine)
        } else {
            others.iter().find(|other| Some(*other) != machine && Some(*other) == target)
        };
        Evidence {
            state: &row.state,
            reported: row.missing.is_none(),
            files_known: self.files.as_ref().is_some_and(|files| files.read.instant >= row.appeared.instant),
            file,
            machine_lost: settled && machine_lost(row, &self.machines, self.units_read),
            outlived_machine: row.outlived_machine,
            elsewhere,
        }
    }

    /// Makes the view anew; rows that are as before stay the same in memory.
    fn show(&mut self, at: Moment) {
        let settled = !self.unsettled(at);
        let several = self.units_on_several_machines();
        let mut units = Vec::with_capacity(self.rows.len());
        let mut old = self.view.units.iter().peekable();
        for ((unit, machine), row) in &self.rows {
            let file = self.files.as_ref().and_then(|files| files.files.get(unit)).cloned();
            let mut state = row.state.clone();
            let (verdict, reason) = if machine.is_none() {
                judge::verdict_on_unreported(file.as_deref())
            } else {
                let evidence = self.evidence(row, settled, &several);
                if !self.grace.is_zero() {
                    state.ip = match (evidence.machine_lost, machine.as_ref().and_then(|id| self.machines.get(id))) {
                        (true, _) => None,
                        (false, Some(row)) if state.ip.is_none() => row.machine.ip.clone(),
                        (false, _) => state.ip,
                    };
                }
                evidence.verdict()
            };
            let key = (unit, machine);
            while old.next_if(|old| (&old.state.unit, &old.state.machine) < key).is_some() {}
            let before = old.next_if(|old| (&old.state.unit, &old.state.machine) == key);
            let (verdict_since, verdict_since_seen) = match before {
                Some(before) if before.verdict == verdict => (before.verdict_since, before.verdict_since_seen),
                Some(_) => (at.wall, self.complete),
                None => (row.since, row.since_seen),
            };
            let shown = Unit {
                state,
                listed: row.listed,
                stale_since: row.missing.map(|missing| missing.since.wall),
                file,
                verdict,
                reason,
                verdict_since,
                verdict_since_seen,
                since: row.since,
                since_seen: row.since_seen,
            };
            units.push(match before {
                Some(same) if **same == shown => same.clone(),
                _ => Arc::new(shown),
            });
        }
        let machines = self.machines.values().map(|row| {
            let shown = Member {
                machine: row.machine.clone(),
                lost_since: row.lost.map(|lost| lost.wall),
                since: row.since,
                since_seen: row.since_seen,
            };
            let same = self.view.machines.binary_search_by(|old| old.machine.id.cmp(&shown.machine.id)).ok();
            match same.map(|index| &self.view.machines[index]) {
                Some(same) if **same == shown => same.clone(),
                _ => Arc::new(shown),
            }
        });
        let view = View { units, machines: machines.collect() };
        self.complete |= self.health.unread().next().is_none();
        if view != *self.view {
            self.view = Arc::new(view);
        }
    }

    /// The units that more than one machine reports, with these machines.
    fn units_on_several_machines(&self) -> HashMap<UnitName, Vec<MachineId>> {
        let mut several: HashMap<UnitName, Vec<MachineId>> = HashMap::new();
        let mut live = self.rows.iter().filter(|(key, row)| key.1.is_some() && row.missing.is_none()).peekable();
        while let Some(((unit, machine), _)) = live.next() {
            let next_is_same = live.peek().is_some_and(|(next, _)| next.0 == *unit);
            if (next_is_same || several.contains_key(unit))
                && let Some(machine) = machine
            {
                several.entry(unit.clone()).or_default().push(machine.clone());
            }
        }
        several
    }

    fn place(&self, state: &UnitState) -> Place {
        place(state, &self.machines)
    }

    fn number(&mut self, events: Vec<Event>, at: Moment) -> Vec<Arc<Transition>> {
        events
            .into_iter()
            .map(|event| {
                self.transitions += 1;
                Arc::new(Transition { number: self.transitions, time: at.wall, event })
            })
            .collect()
    }
}

/// The state of a unit that no machine reports, in transitions.
const SUBMITTED: &str = "submitted";

impl Row {
    fn new(state: UnitState, at: Moment, since_seen: bool) -> Self {
        Self { state, appeared: at, since: at.wall, since_seen, missing: None, outlived_machine: false, listed: true }
    }

    fn report(
        &mut self,
        state: UnitState,
        at: Moment,
        machines: &BTreeMap<MachineId, MachineRow>,
        events: &mut Vec<Event>,
        held_back: &mut u64,
    ) {
        let (from, to) = (text(&self.state), text(&state));
        let changed = from != to;
        if changed {
            (self.since, self.since_seen) = (at.wall, true);
        }
        let place = place(&state, machines);
        self.state = state;
        if let Some(missing) = self.missing.take() {
            *held_back += 1;
            if missing.told {
                events.push(Event::Back { place, to });
                return;
            }
        }
        if changed {
            events.push(Event::Changed { place, from, to });
        }
    }
}

impl UnitState {
    /// The row of a unit that no machine reports.
    pub(crate) fn unreported(unit: UnitName) -> Self {
        Self { unit, machine: None, ip: None, load: None, active: None, sub: None, hash: None }
    }
}

/// Whether the machine of a row has left the cluster, by the newer of two witnesses: the row itself, which fleet lists
/// without an address when its machine is not in the list of machines, and our own last reading of that list.
fn machine_lost(row: &Row, machines: &BTreeMap<MachineId, MachineRow>, units_read: Option<Moment>) -> bool {
    let Some(machine) = &row.state.machine else { return false };
    match (machines.get(machine), &row.state.ip) {
        (Some(MachineRow { lost: None, machine, .. }), None) => machine.ip.is_some() && row.missing.is_none(),
        (None, None) => !machines.is_empty(),
        (Some(MachineRow { lost: Some(lost), .. }), ip) => {
            let reported_later = units_read.is_some_and(|read| read.instant > lost.instant);
            ip.is_none() || row.missing.is_some() || !reported_later
        }
        (_, Some(_)) => false,
    }
}

fn place(state: &UnitState, machines: &BTreeMap<MachineId, MachineRow>) -> Place {
    let known = || machines.get(state.machine.as_ref()?)?.machine.ip.clone();
    let ip: Option<Text> = state.ip.clone().or_else(known);
    Place { unit: state.unit.clone(), machine: state.machine.clone(), ip }
}

/// A row's state in one word, as transitions tell it: `active/running`, and the load state where that is odd.
fn text(state: &UnitState) -> String {
    let column = |column: &Option<Text>| column.as_deref().unwrap_or("-").to_owned();
    let mut text = format!("{}/{}", column(&state.active), column(&state.sub));
    if let Some(load) = state.load.as_deref().filter(|load| *load != "loaded") {
        text.push_str(&format!(" ({load})"));
    }
    text
}

fn later(a: Moment, b: Moment) -> Moment {
    if a.instant >= b.instant { a } else { b }
}
