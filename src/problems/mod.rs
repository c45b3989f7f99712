//! What is a problem: a verdict that has lasted, by its cause. This is the one definition for the
//! headline, `check`, alerts and webhooks.
//!
//! It knows the view of the cluster and the state of the source. It does not know who is informed
//! of a problem. Time is passed in.
//!
//! Units that are wrong for the same reason are one problem: a lost machine with all its units,
//! units with the same verdict on one machine, instances of one template. A problem is opened once
//! and closed once. What it is about does not change while it is open; which units have it does.
//!
//! While the source cannot be relied on, that is the problem: nothing else is opened, and the time
//! does not count as time that a verdict has lasted.

mod cause;
mod delays;
mod grouping;
mod source_fault;
#[cfg(test)]
mod tests;
mod text;
mod wrong_rows;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cluster::{Health, MachineId, Member, Moment, RowKey, Text, Unit, Verdict, View};

pub use cause::{Cause, MachineCondition, MachineName, ProblemKind, ProblemSeverity};
pub use delays::ProblemDelays;
use grouping::group;
pub use source_fault::SourceFault;
use wrong_rows::{TrustedClock, WrongRows};

/// How long after it was opened a group of units takes in others with the same cause. A unit that
/// is wrong later than that is a problem of its own, so that it is noticed.
const JOIN: Duration = Duration::from_secs(300);

/// Something that is wrong and has lasted.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Identifies it as long as it is open, and unlike that of any other: 16 hexadecimal digits.
    pub id: Text,
    /// What it is about. It stays as it was when the problem was opened.
    pub cause: Cause,
    /// Since when it has been so: of several units, the first of them.
    pub since: SystemTime,
    /// Whether this process saw it begin. If not, it is older than `since`.
    pub since_seen: bool,
    /// When it was opened.
    pub opened: SystemTime,
    /// The units that have it now, sorted by name and machine, as they were when the problem last
    /// changed. Empty for the source, and for a machine without units that are wrong.
    pub units: Vec<Arc<Unit>>,
    /// The machine that it is about, if it is about one that is lost or silent.
    pub machine: Option<Arc<Member>>,
}

/// What has become of a problem.
#[derive(Clone, Debug, PartialEq)]
pub enum ProblemChange {
    /// It is new.
    Opened(Arc<Problem>),
    /// It has other units than before.
    Changed(Arc<Problem>),
    /// It is over. The problem is as it was before.
    Closed(Arc<Problem>, ProblemEnd),
}

/// Why a problem is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemEnd {
    /// What was wrong is well again.
    Recovered,
    /// The units or the machine do not exist any more.
    Gone,
    /// What was wrong is part of another problem now.
    Replaced,
}

impl ProblemEnd {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            ProblemEnd::Recovered => "recovered",
            ProblemEnd::Gone => "gone",
            ProblemEnd::Replaced => "replaced",
        }
    }
}

/// All open problems, those that were opened last at the end.
pub type OpenProblems = Arc<[Arc<Problem>]>;

/// Finds the problems of a cluster, and follows each of them from its beginning to its end.
#[derive(Debug, Default)]
pub struct ProblemTracker {
    delays: ProblemDelays,
    /// Counts the time in which the source could be relied on.
    clock: TrustedClock,
    /// The fault of the source, and when it began; `None` if it has none.
    fault: Option<(SourceFault, Moment)>,
    rows: WrongRows,
    /// Since when each machine has been lost or silent, by the clock.
    machines: HashMap<MachineId, Duration>,
    /// In the order in which they were opened.
    open: Vec<OpenProblem>,
    published: OpenProblems,
}

/// An open problem, and what is needed to follow it.
#[derive(Debug)]
struct OpenProblem {
    problem: Arc<Problem>,
    /// When it was opened, by the clock.
    opened: Duration,
    /// The rows that have it.
    rows: HashSet<RowKey>,
}

impl OpenProblem {
    fn cause(&self) -> &Cause {
        &self.problem.cause
    }

    fn machine_id(&self) -> Option<&MachineId> {
        match self.cause() {
            Cause::Machine { machine, .. } => Some(&machine.id),
            _ => None,
        }
    }
}

impl ProblemTracker {
    /// A tracker that has seen nothing yet.
    pub fn new(delays: ProblemDelays) -> Self {
        Self { delays, ..Self::default() }
    }

    /// Sets how long a verdict has to last from now on. Open problems stay open.
    pub fn set_delays(&mut self, delays: ProblemDelays) {
        self.delays = delays;
    }

    /// The open problems after the last update.
    pub fn open(&self) -> &OpenProblems {
        &self.published
    }

    /// Applies the state of the cluster at a moment. Returns what has become of the problems.
    pub fn update(&mut self, view: &View, health: &Health, now: Moment) -> Vec<ProblemChange> {
        self.update_fault(health, now);
        self.clock.advance(now, self.fault.is_none());

        let mut changes = Vec::new();
        let is_complete = health.events_since.is_some();
        if is_complete {
            self.update_machines(view);
            self.update_rows(view);
            self.close_ended(view, &mut changes);
        }

        self.update_source_problem(health, now, &mut changes);
        if is_complete && self.fault.is_none() {
            self.open_machines(view, now, &mut changes);
            self.open_units(now, &mut changes);
        }
        if is_complete {
            self.refresh(view, &mut changes);
        }

        if !changes.is_empty() {
            self.published = self.open.iter().map(|open| open.problem.clone()).collect();
        }
        changes
    }

    fn update_fault(&mut self, health: &Health, now: Moment) {
        let fault = SourceFault::of(health, now);

        self.fault = match (fault, self.fault) {
            (Some(fault), Some((_, since))) => Some((fault, since)),
            (Some(fault), None) => Some((fault, now)),
            (None, _) => None,
        };
    }

    fn update_machines(&mut self, view: &View) {
        let absent: HashSet<&MachineId> = view
            .machines
            .iter()
            .filter(|member| MachineCondition::of(member).is_some())
            .map(|member| &member.machine.id)
            .collect();

        self.machines.retain(|id, _| absent.contains(id));
        for id in absent {
            if !self.machines.contains_key(id) {
                self.machines.insert(id.clone(), self.clock.time());
            }
        }
    }

    /// Notes which rows are wrong. Those that suffer from a machine that is lost or silent wait
    /// with it: the time of their own begins when it is back.
    fn update_rows(&mut self, view: &View) {
        let machines: HashSet<MachineId> = self
            .machines
            .keys()
            .chain(self.open.iter().filter_map(OpenProblem::machine_id))
            .cloned()
            .collect();

        self.rows.update(view, self.clock.time(), |unit| {
            let machine = unit.machine_id().filter(|id| machines.contains(*id))?;
            let is_absent = self.machines.contains_key(machine);
            suffers_from_machine(unit.verdict, is_absent).then(|| machine.clone())
        });
    }

    /// Takes the rows out of their problems that do not belong there any more, and closes problems
    /// that are over.
    fn close_ended(&mut self, view: &View, changes: &mut Vec<ProblemChange>) {
        let clock = self.clock.time();
        let mut still_open = Vec::new();

        for mut open in std::mem::take(&mut self.open) {
            let severity = open.cause().severity();
            let mut end = ProblemEnd::Gone;

            if let Some(machine) = open.machine_id().cloned() {
                // It is over when the machine is back, and has reported what was lost with it.
                let is_over = !self.machines.contains_key(&machine)
                    && !self
                        .rows
                        .iter()
                        .any(|(_, row)| row.machine.as_ref() == Some(&machine));
                if is_over {
                    let is_back = view.machines.iter().any(|member| member.machine.id == machine);
                    end = if is_back {
                        ProblemEnd::Recovered
                    } else {
                        ProblemEnd::Gone
                    };
                    changes.push(ProblemChange::Closed(open.problem, end));
                    continue;
                }
            } else if !matches!(open.cause(), Cause::Source(_)) {
                open.rows.retain(|key| {
                    let Some(row) = self.rows.get(key) else {
                        if view.units.get(key).is_some() && end != ProblemEnd::Replaced {
                            end = ProblemEnd::Recovered;
                        }
                        return false;
                    };

                    let is_other = row.severity != severity
                        && row.has_kept_severity(clock, &self.delays)
                        || row.machine.is_some();
                    if is_other {
                        end = ProblemEnd::Replaced;
                    }
                    !is_other
                });
                if open.rows.is_empty() {
                    changes.push(ProblemChange::Closed(open.problem, end));
                    continue;
                }
            }
            still_open.push(open);
        }
        self.open = still_open;
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
            .position(|open| matches!(open.cause(), Cause::Source(_)));

        match (self.fault, position) {
            (None, Some(position)) => {
                let open = self.open.remove(position);
                changes.push(ProblemChange::Closed(open.problem, ProblemEnd::Recovered));
            }
            (Some((fault, since)), None) if now.since(since) >= self.delays.of_source() => {
                let began = fault.since(health, now).unwrap_or(since.wall);
                let opened = self.new_problem(Cause::Source(fault), (began, true), now);
                changes.push(opened);
            }
            _ => {}
        }
    }

    fn open_machines(&mut self, view: &View, now: Moment, changes: &mut Vec<ProblemChange>) {
        for member in &view.machines {
            let id = &member.machine.id;
            let (Some((condition, since)), Some(began)) =
                (MachineCondition::of(member), self.machines.get(id))
            else {
                continue;
            };
            let cause = Cause::Machine { condition, machine: MachineName::of(member) };
            if self.clock.time() - *began < self.delays.of(cause.kind()) {
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
                    changes.push(self.new_problem(cause, (since, true), now));
                }
            }
        }
    }

    fn open_units(&mut self, now: Moment, changes: &mut Vec<ProblemChange>) {
        self.join_groups();

        let waiting = self.waiting();
        if !waiting.iter().any(|unit| self.is_due(unit)) {
            return;
        }

        // What has begun since belongs to the group too: its cause has lasted.
        let groups = group(waiting)
            .into_iter()
            .filter(|(_, units)| units.iter().any(|unit| self.is_due(unit)));
        for (cause, units) in groups.collect::<Vec<_>>() {
            if self.open.iter().any(|open| open.cause().is_same(&cause)) {
                // What is about the same as an older problem is named on its own.
                for unit in units.into_iter().filter(|unit| self.is_due(unit)).collect::<Vec<_>>() {
                    self.open_group(Cause::of_unit(&unit), &[unit], now, changes);
                }
            } else {
                self.open_group(cause, &units, now, changes);
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

    /// Adds units to groups that have the same cause and were opened a short time ago.
    fn join_groups(&mut self) {
        let oldest = self.clock.time().saturating_sub(JOIN);
        let due: Vec<Arc<Unit>> =
            self.waiting().into_iter().filter(|unit| self.is_due(unit)).collect();

        for unit in due {
            let causes = [Cause::of_machine_of(&unit), Cause::of_template_of(&unit)];
            let group = self.open.iter_mut().find(|open| {
                open.opened >= oldest && causes.iter().any(|cause| open.cause().is_same(cause))
            });
            if let Some(group) = group {
                group.rows.insert(unit.key());
            }
        }
    }

    /// Whether a unit has been wrong for long enough.
    fn is_due(&self, unit: &Unit) -> bool {
        self.rows
            .get(&unit.key())
            .is_some_and(|row| row.has_lasted(self.clock.time(), &self.delays))
    }

    fn open_group(
        &mut self,
        cause: Cause,
        units: &[Arc<Unit>],
        now: Moment,
        changes: &mut Vec<ProblemChange>,
    ) {
        let first = units
            .iter()
            .min_by_key(|unit| unit.verdict_since)
            .map_or((now.wall, false), |unit| (unit.verdict_since, unit.verdict_since_seen));

        changes.push(self.new_problem(cause, first, now));
        if let Some(open) = self.open.last_mut() {
            open.rows.extend(units.iter().map(|unit| unit.key()));
        }
    }

    /// Opens a problem, which has no units yet.
    fn new_problem(
        &mut self,
        cause: Cause,
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
        });
        ProblemChange::Opened(problem)
    }

    /// Gives each problem the units that it has now.
    fn refresh(&mut self, view: &View, changes: &mut Vec<ProblemChange>) {
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
                .filter_map(|key| view.units.get(key))
                .cloned()
                .collect();
            units.sort_by_key(|unit| unit.key());
            let member = machine.and_then(|id| {
                view.machines.iter().find(|member| member.machine.id == id).cloned()
            });

            if is_same(&open.problem, &units, member.as_ref()) {
                continue;
            }
            let problem = Arc::new(Problem { units, machine: member, ..(*open.problem).clone() });
            open.problem = problem.clone();

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
    }
}

/// Whether a unit with this verdict is wrong because of its machine. When the machine is back, only
/// what was lost with it waits for its report: after a crash, fleetd v1.0.0 publishes its first
/// unit state 27 to 51 s after its machine.
fn suffers_from_machine(verdict: Verdict, is_absent: bool) -> bool {
    match verdict {
        Verdict::MachineLost => true,
        Verdict::Stale | Verdict::Unreported => is_absent,
        _ => false,
    }
}

/// Whether a problem has these units, with the same verdicts and reasons, and its machine is in the
/// same condition.
fn is_same(problem: &Problem, units: &[Arc<Unit>], machine: Option<&Arc<Member>>) -> bool {
    let shown = |unit: &Arc<Unit>| (unit.key(), unit.verdict, unit.reason.clone());
    let condition = |member: &Arc<Member>| MachineCondition::of(member);

    problem.machine.as_ref().map(condition) == machine.map(condition)
        && problem.units.len() == units.len()
        && problem
            .units
            .iter()
            .zip(units)
            .all(|(a, b)| Arc::ptr_eq(a, b) || shown(a) == shown(b))
}
