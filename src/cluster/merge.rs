//! Merges readings into what is known of the cluster.
//!
//! Between two readings a row is live (reported), stale (not reported, but not known to have gone) or gone. This module
//! takes in what was read; [`super::conclude`] says what follows from it, by the rules of [`super::judge`], and
//! [`super::show`] makes the view.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{
    Event, Expected, Failure, Health, Heartbeat, Machine, MachineId, Moment, Place, Reading, Registry, Text, Topic,
    Transition, Unit, UnitFile, UnitName, UnitState, View,
};

/// A unit on a machine; on none for a unit that no machine reports.
pub(super) type Key = (UnitName, Option<MachineId>);

/// How long a fleetd that restarts may be without what it took away when it stopped: its machine is back within 0.1 s, its
/// states within 1.2 s (fleet v1.0.0). Until then nothing is told of it.
pub(super) const RESTART: Duration = Duration::from_secs(3);

/// All that is known of the cluster.
#[derive(Debug)]
pub struct Cluster {
    pub(super) grace: Duration,
    pub(super) rows: BTreeMap<Key, Row>,
    pub(super) units_read: Option<Span>,
    /// The units that the last reading listed without a machine (fleetctl before 0.7).
    pub(super) unplaced: BTreeSet<UnitName>,
    pub(super) files: Option<Files>,
    pub(super) machines: BTreeMap<MachineId, MachineRow>,
    /// When the machines were last read and there were some.
    pub(super) machines_read: Option<Span>,
    /// What the last reading had, if it was of the registry: then nothing that is known is older than the rest.
    pub(super) registry: Option<Registry>,
    /// Since when the units and the machines can be read, or the source is believed, again.
    pub(super) recovered: Option<Moment>,
    pub(super) doubt: Option<Doubt>,
    pub(super) health: Health,
    pub(super) view: Arc<View>,
    /// Whether every topic has been read once, so that what changes now is a change of the cluster.
    pub(super) complete: bool,
    /// How many transitions there have been.
    transitions: u64,
}

/// When something was read. Of what happened in between, it may tell or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) begun: Moment,
    pub(super) ended: Moment,
}

impl Span {
    /// Whether all of it was read after `moment`.
    pub(super) fn is_since(self, moment: Moment) -> bool {
        self.begun.instant >= moment.instant
    }
}

/// What is known of a unit on a machine.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) state: UnitState,
    /// When it was first reported.
    pub(super) appeared: Moment,
    pub(super) since: SystemTime,
    pub(super) since_seen: bool,
    pub(super) missing: Option<Missing>,
    /// When it was last reported, if it should have been reported again by now.
    pub(super) overdue_since: Option<SystemTime>,
    /// Whether it was reported although its machine had left.
    pub(super) outlived_machine: bool,
    /// Whether fleet's own list has it: always, but for a unit that only its unit file tells of.
    pub(super) listed: bool,
    /// As the view has it; none before it is shown.
    pub(super) shown: Option<Arc<Unit>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    pub(super) since: Moment,
    /// Whether a transition has told of it.
    pub(super) told: bool,
    /// Whether it has expired: nobody took it away.
    pub(super) expired: bool,
}

#[derive(Debug)]
pub(super) struct Files {
    pub(super) read: Span,
    pub(super) files: BTreeMap<UnitName, Arc<UnitFile>>,
}

#[derive(Debug)]
pub(super) struct MachineRow {
    pub(super) machine: Machine,
    pub(super) since: SystemTime,
    pub(super) since_seen: bool,
    /// When it was last heard of, if it should have been heard again by now.
    pub(super) silent_since: Option<SystemTime>,
    /// Since when the registry has not had it, while it does not count as lost.
    pub(super) missing: Option<Missing>,
    pub(super) lost: Option<Moment>,
}

impl MachineRow {
    fn new(machine: Machine, at: Moment, since_seen: bool) -> Self {
        Self { machine, since: at.wall, since_seen, silent_since: None, missing: None, lost: None }
    }

    fn lose(&mut self, at: Moment, events: &mut Vec<Event>) {
        (self.missing, self.silent_since, self.lost) = (None, None, Some(at));
        events.push(Event::MachineLost { machine: self.machine.id.clone(), ip: self.machine.ip.clone() });
    }
}

/// That too many rows are missing at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    pub(super) since: Moment,
    pub(super) confirmed: bool,
    /// Since when it has been fewer, but some.
    pub(super) fewer: Option<Moment>,
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
            registry: None,
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

    /// Takes note of when the next reading of some topics has to come, if one has to.
    pub fn expect(&mut self, topics: &[Topic], expected: Option<Expected>) {
        for topic in topics {
            self.health.topic_mut(*topic).expected = expected;
        }
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

    /// Takes what a source said of one topic: the answer was complete at `at`, and took `took`. Returns what happened,
    /// in order.
    pub fn read(&mut self, reading: Reading, at: Moment, took: Duration) -> Vec<Arc<Transition>> {
        let read = Span { begun: at.before(took), ended: at };
        let mut events = Vec::new();
        let first = self.succeed(reading.topics(), at, &mut events);
        if !matches!(reading, Reading::Registry(_)) {
            self.registry = None;
        }
        match reading {
            Reading::Units { states, files } => {
                if let Some(files) = files {
                    self.read_files(files, read);
                }
                self.read_units(states, read, first, &mut events);
            }
            Reading::Machines { machines } => self.read_machines(machines, read, first, &mut events),
            Reading::UnitFiles { files } => self.read_files(files, read),
            Reading::Registry(registry) => self.read_registry(registry, read, first, &mut events),
        }
        self.conclude(at, &mut events);
        self.number(events, at)
    }

    /// Takes note that some topics could not be read. Nothing that is known is given up for that.
    pub fn fail(&mut self, topics: &[Topic], reason: &str, at: Moment) -> Vec<Arc<Transition>> {
        let mut events = Vec::new();
        if self.health.failure().is_none() {
            events.push(Event::SourceDown { reason: reason.to_owned() });
        }
        for topic in topics {
            let failure = &mut self.health.topic_mut(*topic).failure;
            let since = failure.as_ref().map_or(at, |failure| failure.since);
            *failure = Some(Failure { since, reason: reason.into() });
        }
        self.number(events, at)
    }

    /// Returns whether it is the first reading of these topics.
    fn succeed(&mut self, topics: &[Topic], at: Moment, events: &mut Vec<Event>) -> bool {
        let down_since = self.health.failure().map(|failure| failure.since);
        let mut first = false;
        for topic in topics {
            let health = self.health.topic_mut(*topic);
            first |= health.read.replace(at).is_none();
            // Unit files that cannot be read say nothing of the rows.
            if health.failure.take().is_some() && *topic != Topic::UnitFiles {
                self.recovered = Some(at);
            }
        }
        if let (Some(since), None) = (down_since, self.health.failure()) {
            events.push(Event::SourceBack { after: at.since(since) });
        }
        first
    }

    /// Whether what fleet lists cannot be read.
    pub(super) fn is_failing(&self) -> bool {
        [Topic::Units, Topic::Machines].iter().any(|topic| self.health.topic(*topic).failure.is_some())
    }

    /// Whether the source fails, or did so recently that its answers may be short: fleet needs 10 to 30 s after an
    /// outage of etcd until its lists are whole again.
    pub(super) fn is_unsettled(&self, at: Moment) -> bool {
        self.is_failing() || self.recovered.is_some_and(|recovered| at.since(recovered) < self.grace)
    }

    fn read_units(&mut self, mut states: Vec<UnitState>, read: Span, first: bool, events: &mut Vec<Event>) {
        self.units_read = Some(read);
        let unplaced = states.extract_if(.., |state| state.machine.is_none());
        self.unplaced = unplaced.map(|state| state.unit).collect();
        // As fleet lists them already.
        states.sort_by(|a, b| order(a).cmp(&order(b)));
        let mut reported = states.into_iter().peekable();
        let mut new = Vec::new();
        for ((unit, machine), row) in self.rows.iter_mut().filter(|(key, _)| key.1.is_some()) {
            while let Some(state) = reported.next_if(|state| order(state) < (unit, machine)) {
                new.push(state);
            }
            match reported.next_if(|state| order(state) == (unit, machine)) {
                Some(state) => row.report(state, read.ended, &self.machines, events, &mut self.health.held_back),
                None => {
                    row.missing.get_or_insert(Missing { since: read.ended, told: false, expired: false });
                }
            }
        }
        for state in new.into_iter().chain(reported) {
            let key = (state.unit.clone(), state.machine.clone());
            // A list may have a row twice; the first is as good as the second.
            if !self.rows.contains_key(&key) {
                if !first {
                    events.push(Event::Appeared { place: self.place(&state), to: text(&state) });
                }
                self.rows.insert(key, Row::new(state, read.ended, !first));
            }
        }
    }

    fn read_files(&mut self, files: Vec<UnitFile>, read: Span) {
        let mut known = self.files.take().map(|files| files.files).unwrap_or_default();
        let files = files
            .into_iter()
            .map(|file| match known.remove(&file.unit) {
                Some(same) if *same == file => (file.unit, same),
                _ => (file.unit.clone(), Arc::new(file)),
            })
            .collect();
        self.files = Some(Files { read, files });
    }

    fn read_machines(&mut self, machines: Vec<Machine>, read: Span, first: bool, events: &mut Vec<Event>) {
        let at = read.ended;
        if !machines.is_empty() {
            self.machines_read = Some(read);
        }
        // fleet without a machine is no fleet, and a list that is short right after an outage proves nothing.
        let believed = self.grace.is_zero() || !(machines.is_empty() || self.is_unsettled(at));
        let mut reported: BTreeMap<MachineId, Machine> =
            machines.into_iter().map(|machine| (machine.id.clone(), machine)).collect();
        for (id, row) in &mut self.machines {
            match reported.remove(id) {
                Some(machine) => {
                    row.missing = None;
                    if row.lost.take().is_some() {
                        (row.since, row.since_seen) = (at.wall, true);
                        events.push(Event::MachineJoined { machine: id.clone(), ip: machine.ip.clone() });
                    }
                    row.machine = machine;
                }
                None if row.lost.is_some() => {}
                None if self.registry.is_some() => {
                    row.missing.get_or_insert(Missing { since: at, told: false, expired: false });
                }
                None if believed => row.lose(at, events),
                None => {}
            }
        }
        for (id, machine) in reported {
            if !first {
                events.push(Event::MachineJoined { machine: id.clone(), ip: machine.ip.clone() });
            }
            self.machines.insert(id, MachineRow::new(machine, at, !first));
        }
    }

    fn read_registry(&mut self, registry: Registry, read: Span, first: bool, events: &mut Vec<Event>) {
        let before = self.registry.replace(registry.clone());
        let is_same = |list: fn(&Registry) -> *const ()| before.as_ref().map(list) == Some(list(&registry));
        match &mut self.files {
            Some(known) if is_same(|it| it.files.as_ptr().cast()) => known.read = read,
            _ => self.read_files(registry.files.to_vec(), read),
        }
        if is_same(|it| it.machines.as_ptr().cast()) {
            self.machines_read = self.machines_read.and(Some(read));
        } else {
            self.read_machines(registry.machines.to_vec(), read, first, events);
        }
        if is_same(|it| it.states.as_ptr().cast()) {
            self.units_read = Some(read);
        } else {
            self.read_units(registry.states.to_vec(), read, first, events);
        }
        for heartbeat in registry.expired {
            let missing = match heartbeat {
                Heartbeat::Machine(id) => self.machines.get_mut(&id).and_then(|row| row.missing.as_mut()),
                Heartbeat::Unit(unit, machine) => {
                    self.rows.get_mut(&(unit, Some(machine))).and_then(|row| row.missing.as_mut())
                }
            };
            if let Some(missing) = missing {
                missing.expired = true;
            }
        }
        self.lose_machines(read.ended, events);
        self.take_overdue(&registry.overdue.into_iter().collect(), read.ended, events);
    }

    /// A machine whose key has expired is lost; one whose fleetd took the key away may be back in no time.
    fn lose_machines(&mut self, at: Moment, events: &mut Vec<Event>) {
        let none_is_there = self.machines.values().all(|row| row.missing.is_some() || row.lost.is_some());
        if !self.grace.is_zero() && (none_is_there || self.is_unsettled(at)) {
            return;
        }
        let is_over = |missing: Missing| missing.expired || self.grace.is_zero() || at.since(missing.since) >= RESTART;
        for row in self.machines.values_mut().filter(|row| row.missing.is_some_and(is_over)) {
            row.lose(at, events);
        }
    }

    fn take_overdue(&mut self, overdue: &HashMap<Heartbeat, Duration>, at: Moment, events: &mut Vec<Event>) {
        // Right after an outage of etcd many are, and not through their own fault.
        let unsettled = self.is_unsettled(at);
        for (id, row) in &mut self.machines {
            let (machine, ip) = (id.clone(), row.machine.ip.clone());
            match (overdue.get(&Heartbeat::Machine(id.clone())), row.silent_since) {
                (Some(age), None) if !unsettled => {
                    row.silent_since = Some(at.before(*age).wall);
                    events.push(Event::MachineSilent { machine, ip });
                }
                (None, Some(_)) if row.missing.is_none() => {
                    row.silent_since = None;
                    events.push(Event::MachineHeard { machine, ip });
                }
                _ => {}
            }
        }
        for ((unit, machine), row) in &mut self.rows {
            let Some(machine) = machine else { continue };
            // What has expired is as old as it was.
            if row.missing.is_some() || overdue.is_empty() && row.overdue_since.is_none() {
                continue;
            }
            let since = overdue.get(&Heartbeat::Unit(unit.clone(), machine.clone())).map(|age| at.before(*age).wall);
            row.overdue_since = row.overdue_since.filter(|_| since.is_some()).or(since.filter(|_| !unsettled));
        }
    }

    /// Whether the machine of a row has left the cluster, by the newer of two witnesses: the row itself, which fleet
    /// lists without an address when its machine is not in the list of machines, and our own last reading of that list.
    pub(super) fn has_lost_machine(&self, row: &Row) -> bool {
        let Some(machine) = &row.state.machine else { return false };
        match (self.machines.get(machine), &row.state.ip) {
            (Some(MachineRow { missing: Some(_), .. }), _) => false,
            (Some(MachineRow { lost: None, machine, .. }), None) => machine.ip.is_some() && row.missing.is_none(),
            (None, None) => !self.machines.is_empty(),
            (Some(MachineRow { lost: Some(lost), .. }), ip) => {
                let reported_later = self.units_read.is_some_and(|read| read.is_since(*lost));
                ip.is_none() || row.missing.is_some() || !reported_later
            }
            (_, Some(_)) => false,
        }
    }

    pub(super) fn place(&self, state: &UnitState) -> Place {
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

impl Row {
    pub(super) fn new(state: UnitState, at: Moment, since_seen: bool) -> Self {
        Self {
            state,
            appeared: at,
            since: at.wall,
            since_seen,
            missing: None,
            overdue_since: None,
            outlived_machine: false,
            listed: true,
            shown: None,
        }
    }

    fn report(
        &mut self,
        state: UnitState,
        at: Moment,
        machines: &BTreeMap<MachineId, MachineRow>,
        events: &mut Vec<Event>,
        held_back: &mut u64,
    ) {
        let missing = self.missing.take();
        *held_back += u64::from(missing.is_some());
        // What is the same stays the same in memory.
        if missing.is_none() && self.state == state {
            return;
        }
        let before = std::mem::replace(&mut self.state, state);
        let changed = columns(&before) != columns(&self.state);
        if changed {
            (self.since, self.since_seen) = (at.wall, true);
        }
        if missing.is_some_and(|missing| missing.told) {
            events.push(Event::Back { place: place(&self.state, machines), to: text(&self.state) });
        } else if changed {
            let place = place(&self.state, machines);
            events.push(Event::Changed { place, from: text(&before), to: text(&self.state) });
        }
    }
}

impl UnitState {
    /// The row of a unit that no machine reports.
    pub(crate) fn unreported(unit: UnitName) -> Self {
        Self { unit, machine: None, ip: None, load: None, active: None, sub: None, hash: None }
    }
}

/// What a change of state is a change of.
fn columns(state: &UnitState) -> [&Option<Text>; 3] {
    [&state.load, &state.active, &state.sub]
}

fn order(state: &UnitState) -> (&UnitName, &Option<MachineId>) {
    (&state.unit, &state.machine)
}

fn place(state: &UnitState, machines: &BTreeMap<MachineId, MachineRow>) -> Place {
    let known = || machines.get(state.machine.as_ref()?)?.machine.ip.clone();
    let ip: Option<Text> = state.ip.clone().or_else(known);
    Place { unit: state.unit.clone(), machine: state.machine.clone(), ip }
}

/// A row's state in one word, as transitions tell it: `active/running`, and the load state where that is odd.
pub(super) fn text(state: &UnitState) -> String {
    let column = |column: &Option<Text>| column.as_deref().unwrap_or("-").to_owned();
    let text = format!("{}/{}", column(&state.active), column(&state.sub));
    match state.load.as_deref() {
        None | Some("loaded") => text,
        Some(load) => format!("{text} ({load})"),
    }
}
