//! Finds the problems of a cluster, and follows each of them.
//!
//! It does not know how a problem is named, nor who is informed of it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::grouping::group;
use super::peer::learned;
use super::watched_machines::WatchedMachines;
use super::wrong_rows::{
    Reliance, TrustedClock, TrustedTime, WrongRow, WrongRows, find_row, row_key,
};
use super::{
    MachineName, MachineTrouble, OpenProblems, Problem, ProblemCause, ProblemChange, ProblemDelays,
    ProblemEnd, ProblemSeverity, SavedProblem, SourceFault,
};
use crate::cluster::{Health, MachineId, Member, Moment, RowKey, Unit, Verdict, View};

/// How long after it was opened a group of units takes in others with the same cause. A unit that
/// is wrong later than that is a problem of its own, so that it is noticed.
const JOIN: Duration = Duration::from_secs(300);

/// How long a problem is held back while others with the same cause are about to be opened, so that
/// all of them are one.
const SETTLE: Duration = Duration::from_secs(5);

/// Finds the problems of a cluster, and follows each of them from its beginning to its end.
#[derive(Debug, Default)]
pub struct ProblemTracker {
    delays: ProblemDelays,
    /// When the cluster was first looked at. What began before that was not seen to begin.
    started: Option<SystemTime>,
    /// Counts the time in which the source could be relied on.
    clock: TrustedClock,
    /// The fault of the source, and when it began; `None` if it has none. It is kept until the
    /// source has recovered, so that one that fails now and then is noticed.
    fault: Option<(SourceFault, Moment)>,
    /// How far the source can be relied on now.
    reliance: Reliance,
    rows: WrongRows,
    machines: WatchedMachines,
    /// When saved problems were restored; `None` if there were none. A row that no machine has
    /// reported yet proves nothing for a while after that.
    restored: Option<TrustedTime>,
    /// In the order in which they were opened.
    open: Vec<OpenProblem>,
    published: OpenProblems,
}

/// An open problem, and what is needed to follow it.
#[derive(Debug)]
struct OpenProblem {
    problem: Arc<Problem>,
    /// When it was opened, by the clock.
    opened: TrustedTime,
    /// The rows that have it.
    rows: HashSet<RowKey>,
    /// The rows that had it when it was saved, until it is compared with the cluster.
    saved_rows: Option<HashSet<RowKey>>,
}

impl OpenProblem {
    fn cause(&self) -> &ProblemCause {
        &self.problem.cause
    }

    fn machine_id(&self) -> Option<&MachineId> {
        match self.cause() {
            ProblemCause::Machine { machine, .. } => Some(&machine.id),
            _ => None,
        }
    }
}

impl ProblemTracker {
    /// A tracker that has seen nothing yet.
    pub fn new(delays: ProblemDelays) -> Self {
        Self {
            delays,
            // So that a problem can have been opened before the clock was.
            clock: TrustedClock::starting_at(JOIN),
            ..Self::default()
        }
    }

    /// Goes on with problems that were open when they were saved. They keep their IDs, and are
    /// closed only if they are over.
    pub fn restore(&mut self, saved: &[SavedProblem], now: Moment) {
        let clock = self.clock.time();
        self.restored = (!saved.is_empty()).then_some(clock).or(self.restored);

        let mut in_order: Vec<&SavedProblem> = saved.iter().collect();
        in_order.sort_by_key(|saved| saved.opened());
        for saved in in_order {
            let problem = saved.problem();
            let age = now.wall.duration_since(problem.opened).unwrap_or_default();
            self.open.push(OpenProblem {
                problem,
                opened: clock.before(age),
                rows: saved.rows.iter().cloned().collect(),
                saved_rows: Some(saved.rows.iter().cloned().collect()),
            });
        }
    }

    /// Goes on with problems that are open in another monitor, as far as there is such trouble
    /// here: something has been wrong for as long as the other one knows, and this one has no
    /// problem about it yet. They keep their IDs. Returns how many there are.
    pub fn learn(&mut self, peer: &[SavedProblem], view: &View, now: Moment) -> usize {
        let open = self.open.iter().map(|open| SavedProblem::from(&*open.problem));
        let learned = learned(peer, &open.collect::<Vec<_>>(), view);

        self.restore(&learned, now);
        learned.len()
    }

    /// Sets how long a verdict has to last from now on. Open problems stay open.
    pub fn set_delays(&mut self, delays: ProblemDelays) {
        self.delays = delays;
    }

    /// Forgets everything, as when another cluster is watched. Returns the end of all open
    /// problems.
    pub fn clear(&mut self) -> Vec<ProblemChange> {
        let before = std::mem::replace(self, Self::new(self.delays.clone()));
        let closed = |open: OpenProblem| ProblemChange::Closed(open.problem, ProblemEnd::Gone);

        before.open.into_iter().map(closed).collect()
    }

    /// The open problems after the last update.
    pub fn open(&self) -> &OpenProblems {
        &self.published
    }

    /// Applies the state of the cluster at a moment. Returns what has become of the problems.
    pub fn update(&mut self, view: &View, health: &Health, now: Moment) -> Vec<ProblemChange> {
        self.started.get_or_insert(now.wall);
        self.update_fault(health, now);
        self.clock.advance(now, self.reliance);

        let mut changes = Vec::new();
        let is_complete = health.events_since.is_some();
        if is_complete {
            self.machines.update(view, self.clock.time());
            self.update_rows(view);
            self.close_ended(view, &mut changes);
        }

        self.update_source_problem(health, now, &mut changes);
        if is_complete && self.reliance > Reliance::None {
            self.open_machines(view, now, &mut changes);
            self.open_units(now, &mut changes);
        }
        let has_restored = is_complete && self.refresh(view, &mut changes);

        if !changes.is_empty() || has_restored {
            self.published = self.open.iter().map(|open| open.problem.clone()).collect();
        }
        changes
    }

    fn update_fault(&mut self, health: &Health, now: Moment) {
        let fault = SourceFault::of(health, now);

        self.fault = match (fault, self.fault) {
            (Some(fault), Some((_, since))) => Some((fault, since)),
            (Some(fault), None) => Some((fault, now)),
            (None, before) => before.filter(|_| health.is_recovering),
        };
        self.reliance = if SourceFault::affects_rows(health, now) {
            Reliance::None
        } else if fault.is_some() || health.is_recovering {
            Reliance::Reports
        } else {
            Reliance::Absences
        };
    }

    /// Notes which rows are wrong. Those that are wrong because of their machine wait with it: the
    /// time of their own begins when that is over.
    fn update_rows(&mut self, view: &View) {
        let machines: HashSet<MachineId> = self
            .machines
            .ids()
            .chain(self.open.iter().filter_map(OpenProblem::machine_id))
            .cloned()
            .collect();

        self.rows.update(view, self.clock.time(), |unit| {
            let machine = unit.machine_id().filter(|id| machines.contains(*id))?;
            let may_wait = self.machines.contains(machine);
            suffers_from_machine(unit.verdict, may_wait).then(|| machine.clone())
        });
    }

    /// Takes the rows out of their problems that do not belong there any more, and closes problems
    /// that are over.
    fn close_ended(&mut self, view: &View, changes: &mut Vec<ProblemChange>) {
        let machines: HashSet<MachineId> = self
            .open
            .iter()
            .filter_map(OpenProblem::machine_id)
            .cloned()
            .collect();

        for mut open in std::mem::take(&mut self.open) {
            let end = match open.cause() {
                ProblemCause::Source(_) => None,
                ProblemCause::Machine { machine, .. } => self.end_of_machine(&machine.id, view),
                _ => self.take_rows_out(&mut open, &machines, view),
            };
            match end {
                Some(end) => changes.push(ProblemChange::Closed(open.problem, end)),
                None => self.open.push(open),
            }
        }
    }

    /// How the problem of a machine has ended. It is over when the machine is back, and has
    /// reported what was lost with it.
    fn end_of_machine(&self, machine: &MachineId, view: &View) -> Option<ProblemEnd> {
        let has_rows = self.rows.iter().any(|(_, row)| row.machine.as_ref() == Some(machine));
        if has_rows || self.machines.absent_since(machine).is_some() {
            return None;
        }

        Some(match view.machine(machine) {
            Some(_) => ProblemEnd::Recovered,
            None => ProblemEnd::Gone,
        })
    }

    /// Takes the rows out of the problem of some units that do not belong there any more. Returns
    /// how it has ended, if none is left. `machines` are those that have a problem of their own.
    fn take_rows_out(
        &self,
        open: &mut OpenProblem,
        machines: &HashSet<MachineId>,
        view: &View,
    ) -> Option<ProblemEnd> {
        let severity = open.cause().severity();
        let mut ends = Vec::new();

        open.rows.retain(|key| {
            let end = self.end_of_row(key, severity, machines, view);
            ends.extend(end);
            end.is_none()
        });
        let is_over = open.rows.is_empty();
        is_over.then(|| {
            let strongest = [ProblemEnd::Replaced, ProblemEnd::Recovered];
            strongest
                .into_iter()
                .find(|end| ends.contains(end))
                .unwrap_or(ProblemEnd::Gone)
        })
    }

    /// Why a row does not belong to a problem of this severity any more; `None` if it does.
    fn end_of_row(
        &self,
        key: &RowKey,
        severity: ProblemSeverity,
        machines: &HashSet<MachineId>,
        view: &View,
    ) -> Option<ProblemEnd> {
        let Some(row) = self.rows.get(key) else {
            return match find_row(view, key) {
                unit if self.is_unproven(unit) => None,
                _ if is_well(view, key) => Some(ProblemEnd::Recovered),
                _ => Some(ProblemEnd::Gone),
            };
        };

        let is_other = match &row.machine {
            // It belongs to its machine as soon as that is a problem.
            Some(machine) => machines.contains(machine),
            None => {
                row.severity != severity && row.has_kept_severity(self.clock.time(), &self.delays)
            }
        };
        is_other.then_some(ProblemEnd::Replaced)
    }

    /// Whether a row that is not wrong says nothing about a problem that it had before a restart:
    /// fleet wants the unit, and no machine has had the time to report it.
    fn is_unproven(&self, unit: Option<&Arc<Unit>>) -> bool {
        let is_early = self.restored.is_some_and(|restored| {
            self.clock.time().since(restored).of_absences() < self.delays.default
        });
        let is_awaited = unit.is_some_and(|unit| {
            let is_wanted = unit.file.as_ref().is_some_and(|file| file.is_wanted());
            unit.state.active.is_none() && is_wanted
        });

        is_early && is_awaited
    }

    fn update_source_problem(
        &mut self,
        health: &Health,
        now: Moment,
        changes: &mut Vec<ProblemChange>,
    ) {
        let position = self
            .open
            .iter()
            .position(|open| matches!(open.cause(), ProblemCause::Source(_)));

        match (self.fault, position) {
            (None, Some(position)) => {
                let open = self.open.remove(position);
                changes.push(ProblemChange::Closed(open.problem, ProblemEnd::Recovered));
            }
            // Not while it recovers: one failure is no problem.
            (Some((fault, since)), None)
                if SourceFault::of(health, now).is_some()
                    && now.since(since) >= self.delays.of_source() =>
            {
                let began = fault.since(health, now).unwrap_or(since.wall);
                let opened = self.new_problem(ProblemCause::Source(fault), (began, true), now);
                changes.push(opened);
            }
            _ => {}
        }
    }

    fn open_machines(&mut self, view: &View, now: Moment, changes: &mut Vec<ProblemChange>) {
        for member in &view.machines {
            let id = &member.machine.id;
            let (Some((trouble, since)), Some(began)) =
                (MachineTrouble::of(member), self.machines.absent_since(id))
            else {
                continue;
            };
            let cause = ProblemCause::Machine { trouble, machine: MachineName::of(member) };
            let lasted = self.clock.time().since(began).of_absences();
            if lasted < self.delays.of(cause.kind()) {
                continue;
            }

            let known = self.open.iter().position(|open| open.machine_id() == Some(id));
            match known {
                Some(position) if self.open[position].cause().severity() >= cause.severity() => {}
                known => {
                    // A silent machine that is lost now is another problem, and a worse one.
                    if let Some(position) = known {
                        let open = self.open.remove(position);
                        changes.push(ProblemChange::Closed(open.problem, ProblemEnd::Replaced));
                    }
                    let is_seen = self.started.is_some_and(|started| since >= started);
                    changes.push(self.new_problem(cause, (since, is_seen), now));
                }
            }
        }
    }

    fn open_units(&mut self, now: Moment, changes: &mut Vec<ProblemChange>) {
        self.join_groups(now, changes);

        // Units whose time comes shortly after that of others are part of their group.
        let mut waiting = self.waiting();
        waiting.retain(|unit| self.left(unit) <= SETTLE);

        let (seen, unseen) = waiting.into_iter().partition(|unit| unit.verdict_since_seen);
        for (cause, mut units) in group(seen).into_iter().chain(group(unseen)) {
            let is_settled = units.iter().all(|unit| self.left(unit).is_zero())
                || units.iter().any(|unit| self.overdue(unit) >= SETTLE);
            if !is_settled {
                continue;
            }

            units.retain(|unit| self.left(unit).is_zero());
            match &*units {
                [unit] => {
                    self.open_group(ProblemCause::of_unit(unit), &units, None, now, changes);
                }
                _ => self.open_group(cause, &units, None, now, changes),
            }
        }
    }

    /// The units that are wrong and have no problem yet.
    fn waiting(&self) -> Vec<Arc<Unit>> {
        let members: HashSet<&RowKey> = self.open.iter().flat_map(|open| &open.rows).collect();

        self.rows
            .iter()
            .filter(|(key, row)| row.machine.is_none() && !members.contains(key))
            .map(|(_, row)| row.unit.clone())
            .collect()
    }

    /// Adds units to problems that have the same cause and were opened a short time ago.
    fn join_groups(&mut self, now: Moment, changes: &mut Vec<ProblemChange>) {
        let clock = self.clock.time();
        let is_young = |open: &OpenProblem| clock.since(open.opened).of_reports() <= JOIN;
        let mut due = self.waiting();
        due.retain(|unit| self.left(unit).is_zero());

        for unit in due {
            let causes = [ProblemCause::of_machine_of(&unit), ProblemCause::of_template_of(&unit)];
            // Or what has been wrong since before the start would look new.
            let is_as_old = |open: &OpenProblem| open.problem.since_seen == unit.verdict_since_seen;
            let group = self.open.iter_mut().find(|open| {
                is_young(open)
                    && is_as_old(open)
                    && causes.iter().any(|cause| open.cause().is_same(cause))
            });
            if let Some(group) = group {
                group.rows.insert(row_key(&unit));
                continue;
            }

            // A problem of one unit becomes one of two.
            let common = causes.into_iter().find_map(|cause| {
                let position = self.open.iter().position(|open| {
                    let groups = open.cause().groups_of_unit();
                    is_young(open)
                        && is_as_old(open)
                        && groups.iter().flatten().any(|group| group.is_same(&cause))
                })?;
                Some((position, cause))
            });
            if let Some((position, cause)) = common {
                let single = self.open.remove(position);
                self.open_group(cause, &[unit], Some(single), now, changes);
            }
        }
    }

    /// How long it is until a unit has been wrong for long enough.
    fn left(&self, unit: &Unit) -> Duration {
        self.of_row(unit, WrongRow::left)
    }

    /// For how much longer than long enough a unit has been wrong.
    fn overdue(&self, unit: &Unit) -> Duration {
        self.of_row(unit, WrongRow::overdue)
    }

    fn of_row(
        &self,
        unit: &Unit,
        time: fn(&WrongRow, TrustedTime, &ProblemDelays) -> Duration,
    ) -> Duration {
        self.rows
            .get(&row_key(unit))
            .map_or(Duration::ZERO, |row| time(row, self.clock.time(), &self.delays))
    }

    /// Opens a problem of some units, and of that which a `single` unit has had for a short time.
    fn open_group(
        &mut self,
        cause: ProblemCause,
        units: &[Arc<Unit>],
        single: Option<OpenProblem>,
        now: Moment,
        changes: &mut Vec<ProblemChange>,
    ) {
        let mut rows: HashSet<RowKey> = units.iter().map(|unit| row_key(unit)).collect();
        let mut first = units
            .iter()
            .map(|unit| (unit.verdict_since, unit.verdict_since_seen))
            .min()
            .unwrap_or((now.wall, false));
        if let Some(single) = &single {
            first = first.min((single.problem.since, single.problem.since_seen));
        }

        // Two open problems are never about the same. An older one goes on in the new one, which
        // is as new as what has made it worse.
        let same = self.open.iter().position(|open| open.cause().is_same(&cause));
        let older = same.map(|position| self.open.remove(position));
        for replaced in single.into_iter().chain(older) {
            rows.extend(replaced.rows);
            changes.push(ProblemChange::Closed(replaced.problem, ProblemEnd::Replaced));
        }

        changes.push(self.new_problem(cause, first, now));
        if let Some(open) = self.open.last_mut() {
            open.rows = rows;
        }
    }

    /// Opens a problem, which has no units yet.
    fn new_problem(
        &mut self,
        cause: ProblemCause,
        (since, since_seen): (SystemTime, bool),
        now: Moment,
    ) -> ProblemChange {
        let problem = Arc::new(Problem {
            id: cause.problem_id(since, now.wall),
            cause,
            since,
            since_seen,
            opened: now.wall,
            units: Vec::new(),
            machine: None,
        });

        self.open.push(OpenProblem {
            problem: problem.clone(),
            opened: self.clock.time(),
            rows: HashSet::new(),
            saved_rows: None,
        });
        ProblemChange::Opened(problem)
    }

    /// Gives each problem the units that it has now. Returns whether there is one that was saved,
    /// and has not changed meanwhile.
    fn refresh(&mut self, view: &View, changes: &mut Vec<ProblemChange>) -> bool {
        let mut has_restored = false;
        let mut of_machines: BTreeMap<&MachineId, Vec<&RowKey>> = BTreeMap::new();
        for (key, row) in self.rows.iter() {
            if let Some(machine) = &row.machine {
                of_machines.entry(machine).or_default().push(key);
            }
        }

        for open in &mut self.open {
            let machine = open.machine_id().cloned();
            if let Some(machine) = &machine {
                let keys = of_machines.get(machine).into_iter().flatten();
                open.rows = keys.map(|key| (*key).clone()).collect();
            }
            let mut units: Vec<Arc<Unit>> = open
                .rows
                .iter()
                .filter_map(|key| find_row(view, key))
                .cloned()
                .collect();
            units.sort_by(|a, b| {
                (&a.state.unit, &a.state.machine).cmp(&(&b.state.unit, &b.state.machine))
            });
            let member = machine.and_then(|id| view.machine(&id).cloned());

            if is_same(&open.problem, &units, member.as_ref()) {
                continue;
            }
            let problem = Arc::new(Problem { units, machine: member, ..(*open.problem).clone() });
            open.problem = problem.clone();

            // It was announced with these units before.
            let has_same_rows = open.saved_rows.take().is_some_and(|saved| saved == open.rows);
            if has_same_rows {
                has_restored = true;
                continue;
            }

            // A new problem is announced with its units.
            let announced = changes.iter_mut().find_map(|change| match change {
                ProblemChange::Opened(opened) if opened.id == problem.id => Some(opened),
                _ => None,
            });
            match announced {
                Some(opened) => *opened = problem,
                None => changes.push(ProblemChange::Changed(problem)),
            }
        }
        has_restored
    }
}

/// Whether a unit with this verdict is wrong because of its machine, which is away or may not have
/// reported its units yet. What was lost with a machine that has a problem belongs to that problem
/// until it is reported.
fn suffers_from_machine(verdict: Verdict, may_wait: bool) -> bool {
    match verdict {
        Verdict::MachineLost => true,
        Verdict::Stale | Verdict::Unreported => may_wait,
        _ => false,
    }
}

/// Whether a row that is not wrong is well: it is shown, or its unit is elsewhere.
fn is_well(view: &View, key: &RowKey) -> bool {
    let is_elsewhere = || {
        let is_single = |unit: &Arc<Unit>| unit.file.as_ref().is_some_and(|file| !file.global);
        view.units
            .of_unit(&key.0)
            .any(|unit| is_single(unit) && unit.verdict == Verdict::Ok)
    };

    find_row(view, key).is_some() || is_elsewhere()
}

/// Whether a problem has these units, with the same verdicts and reasons, and its machine is in the
/// same trouble.
fn is_same(problem: &Problem, units: &[Arc<Unit>], machine: Option<&Arc<Member>>) -> bool {
    let shown = |unit: &Arc<Unit>| (row_key(unit), unit.verdict, unit.reason.clone());
    let trouble = |member: &Arc<Member>| MachineTrouble::of(member);

    problem.machine.as_ref().map(trouble) == machine.map(trouble)
        && problem.units.len() == units.len()
        && problem
            .units
            .iter()
            .zip(units)
            .all(|(a, b)| Arc::ptr_eq(a, b) || shown(a) == shown(b))
}
