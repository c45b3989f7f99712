//! What is wrong, by cause: a machine that is lost or silent with its units, units with the same
//! problem on one machine, instances of one template, or single units.
//!
//! What is new comes before what has been so for long; then the worst, then the largest.

use std::collections::BTreeMap;

use super::cluster_state::ClusterState;
use super::machine_condition::MachineCondition;
use super::since::Since;
use super::verdicts::{self, Tone};
use super::wire::{MachineRow, Milliseconds, UnitRow};

/// A problem that began within this time is new.
const NEW: Milliseconds = 10 * 60 * 1000;

/// What one problem is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause<'a> {
    /// The machine has left the cluster.
    MachineLost(&'a MachineRow),
    /// The machine is in the cluster, and does not report as it should.
    MachineSilent(&'a MachineRow),
    /// Units with this verdict on one machine.
    OnMachine {
        /// The verdict.
        verdict: &'a str,
        /// The machine's name for people.
        machine: &'a str,
    },
    /// Units of one template with this verdict, on several machines.
    Template {
        /// The verdict.
        verdict: &'a str,
        /// The template, such as `web@`.
        template: &'a str,
    },
    /// One unit.
    Unit,
}

/// One problem, with the units that have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem<'a> {
    /// What it is about.
    pub cause: Cause<'a>,
    /// The units that have it, by name. Empty for a machine without such a unit.
    pub units: Vec<&'a UnitRow>,
    /// When the newest part of it began.
    pub since: Since,
    /// How much it needs attention.
    pub tone: Tone,
    /// Its place among the verdicts, the worst first.
    rank: usize,
}

impl Problem<'_> {
    /// Whether it began a short time ago.
    pub fn is_new(&self, now: Milliseconds) -> bool {
        self.since.is_exact && now.saturating_sub(self.since.time) < NEW
    }

    /// Its name: a verdict for people, or what is wrong with the machine.
    pub fn word(&self) -> &str {
        match &self.cause {
            Cause::MachineLost(_) => "machine lost",
            Cause::MachineSilent(_) => "machine silent",
            Cause::OnMachine { verdict, .. } | Cause::Template { verdict, .. } => {
                verdicts::word(verdict)
            }
            Cause::Unit => self.units.first().map_or("", |unit| verdicts::word(&unit.verdict)),
        }
    }
}

/// All problems of the cluster, those to look at first in front.
pub fn problems(state: &ClusterState, now: Milliseconds) -> Vec<Problem<'_>> {
    let mut wrong: Vec<&UnitRow> = state.units.values().filter(|unit| !unit.is_ok()).collect();
    let mut problems = Vec::new();

    for machine in state.machines.values() {
        problems.extend(machine_problem(machine, &mut wrong));
    }
    problems.extend(grouped(
        &mut wrong,
        |unit| unit.place(),
        |verdict, machine| Cause::OnMachine { verdict, machine },
    ));
    problems.extend(grouped(&mut wrong, template, |verdict, template| Cause::Template {
        verdict,
        template,
    }));
    problems.extend(wrong.into_iter().map(|unit| of_units(Cause::Unit, vec![unit])));

    problems.sort_by_key(|problem| {
        (
            !problem.is_new(now),
            problem.rank,
            std::cmp::Reverse(problem.units.len()),
            std::cmp::Reverse(problem.since.time),
        )
    });
    problems
}

/// The problem of a machine that is lost or silent. Takes those units out of `wrong` that are wrong
/// because of it.
fn machine_problem<'a>(
    machine: &'a MachineRow,
    wrong: &mut Vec<&'a UnitRow>,
) -> Option<Problem<'a>> {
    let condition = machine.condition();
    let (cause, rank) = match condition {
        MachineCondition::Lost => (Cause::MachineLost(machine), 0),
        MachineCondition::Silent => (Cause::MachineSilent(machine), verdicts::rank("unreported")),
        MachineCondition::Leader | MachineCondition::Present => return None,
    };

    let is_of_machine = |unit: &UnitRow| {
        unit.machine.as_deref() == Some(&*machine.machine)
            && matches!(&*unit.verdict, "machine_lost" | "stale" | "unreported")
    };
    let units = wrong.extract_if(.., |unit| is_of_machine(unit)).collect();
    let since = Since::of_machine(machine);
    Some(Problem { cause, units, since, tone: condition.tone(), rank })
}

/// One problem for each group of two units or more that have the same verdict and the same key.
/// Takes them out of `wrong`.
fn grouped<'a>(
    wrong: &mut Vec<&'a UnitRow>,
    key: fn(&'a UnitRow) -> Option<&'a str>,
    cause: fn(&'a str, &'a str) -> Cause<'a>,
) -> Vec<Problem<'a>> {
    let mut groups: BTreeMap<(&str, &str), Vec<&UnitRow>> = BTreeMap::new();
    for unit in wrong.iter() {
        if let Some(key) = key(unit) {
            groups.entry((&unit.verdict, key)).or_default().push(unit);
        }
    }
    groups.retain(|_, units| units.len() > 1);

    wrong.retain(|unit| {
        key(unit).is_none_or(|key| !groups.contains_key(&(unit.verdict.as_str(), key)))
    });
    groups
        .into_iter()
        .map(|((verdict, key), units)| of_units(cause(verdict, key), units))
        .collect()
}

/// The problem of some units, of which there is at least one, with the same verdict.
fn of_units<'a>(cause: Cause<'a>, units: Vec<&'a UnitRow>) -> Problem<'a> {
    let newest = units
        .iter()
        .map(|unit| Since::of_verdict(unit))
        .max_by_key(|since| (since.is_exact, since.time));
    let verdict = units.first().map_or("ok", |unit| &unit.verdict);

    Problem {
        cause,
        since: newest.unwrap_or(Since { time: 0, is_exact: false }),
        tone: verdicts::tone(verdict),
        rank: verdicts::rank(verdict),
        units,
    }
}

/// `web@` of `web@1.service`; `None` if the unit is no instance. A global unit counts as a template
/// of its own.
fn template(unit: &UnitRow) -> Option<&str> {
    match unit.unit.split_once('@') {
        Some((prefix, _)) => Some(&unit.unit[..=prefix.len()]),
        None => unit.global.then_some(&unit.unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Milliseconds = 1_700_000_000_000;
    const MINUTE: Milliseconds = 60_000;

    fn unit(name: &str, machine: &str, verdict: &str, minutes: u64) -> UnitRow {
        UnitRow {
            unit: name.into(),
            machine: Some(machine.into()),
            verdict: verdict.into(),
            verdict_since: NOW - minutes * MINUTE,
            verdict_since_seen: true,
            ..UnitRow::default()
        }
    }

    fn state(units: Vec<UnitRow>, machines: Vec<MachineRow>) -> ClusterState {
        ClusterState {
            units: units.into_iter().map(|unit| (unit.key(), unit)).collect(),
            machines: machines
                .into_iter()
                .map(|machine| (machine.machine.clone(), machine))
                .collect(),
            ..ClusterState::default()
        }
    }

    fn summary(state: &ClusterState) -> Vec<(&str, usize)> {
        let mut summary = Vec::new();
        for problem in problems(state, NOW) {
            let word = match problem.cause {
                Cause::MachineLost(_) => "machine lost",
                Cause::MachineSilent(_) => "machine silent",
                Cause::OnMachine { machine, .. } => state
                    .machines
                    .get(machine)
                    .map_or("on a machine", |machine| &machine.machine),
                Cause::Template { .. } => "template",
                Cause::Unit => "unit",
            };
            summary.push((word, problem.units.len()));
        }
        summary
    }

    #[test]
    fn a_lost_machine_explains_its_units_and_leads() {
        let lost = MachineRow {
            machine: "m1".into(),
            lost_since: Some(NOW - MINUTE),
            ..MachineRow::default()
        };
        let state = state(
            vec![
                unit("a.service", "m1", "machine_lost", 1),
                unit("b.service", "m1", "machine_lost", 1),
                unit("c.service", "m1", "failed", 1),
                unit("d.service", "m2", "failed", 600),
            ],
            vec![lost],
        );
        assert_eq!(summary(&state), [("machine lost", 2), ("unit", 1), ("unit", 1)]);
    }

    #[test]
    fn units_with_one_problem_on_one_machine_or_of_one_template_are_one_problem() {
        let state = state(
            vec![
                unit("a.service", "m1", "failed", 1),
                unit("b.service", "m1", "failed", 2),
                unit("web@1.service", "m2", "crash_loop", 1),
                unit("web@2.service", "m3", "crash_loop", 1),
                unit("web@3.service", "m4", "stale", 1),
            ],
            vec![],
        );
        assert_eq!(summary(&state), [("on a machine", 2), ("template", 2), ("unit", 1)]);
    }

    #[test]
    fn what_is_new_comes_before_what_is_worse() {
        let state = state(
            vec![
                unit("old.service", "m1", "failed", 11),
                unit("new.service", "m2", "outdated", 9),
            ],
            vec![],
        );
        let problems = problems(&state, NOW);
        let names: Vec<_> = problems.iter().map(|problem| &*problem.units[0].unit).collect();
        assert_eq!(names, ["new.service", "old.service"]);
    }
}
