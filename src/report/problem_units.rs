//! Which of the open problems each unit has.
//!
//! The server names the first units of a problem. Which others have it follows from what the
//! problem says about all of its units. It must not know where that is shown.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::cluster_state::ClusterState;
use super::problems::open_problems;
use super::since::Since;
use super::times::Times;
use super::wire::{ProblemRow, UnitRow};

/// A unit and its machine.
type PlacedUnit<'a> = (&'a str, Option<&'a str>);

/// The units that are wrong, with their problems.
#[derive(Debug)]
pub struct ProblemUnits<'a> {
    problems: HashMap<PlacedUnit<'a>, &'a ProblemRow>,
    /// Whether the server knows problems at all.
    is_known: bool,
}

impl<'a> ProblemUnits<'a> {
    /// The units of all open problems.
    pub fn of(state: &'a ClusterState) -> Self {
        let mut units = Self { problems: HashMap::new(), is_known: state.problems.is_some() };
        for problem in open_problems(state) {
            for unit in &problem.units {
                units.problems.insert((&*unit.unit, unit.machine.as_deref()), problem);
            }
        }

        // Which problem a unit has must not depend on the time.
        let mut incomplete: Vec<&ProblemRow> = open_problems(state)
            .filter(|problem| problem.count > problem.units.len())
            .collect();
        incomplete.sort_by_key(|problem| (problem.tone(), Reverse(problem.count)));
        for problem in incomplete {
            units.add_unnamed(state, problem);
        }
        units
    }

    /// The problem that a unit has; `None` if it has none, or if the server is older than problems.
    pub fn problem_of(&self, unit: &UnitRow) -> Option<&'a ProblemRow> {
        self.problems.get(&key(unit)).copied()
    }

    /// Whether something is wrong with a unit, but not for long enough to be a problem.
    pub fn is_pending(&self, unit: &UnitRow) -> bool {
        self.is_known && !unit.is_ok() && self.problem_of(unit).is_none()
    }

    /// Which problem a unit has, and since when it is open; or that it has none yet. `None` if
    /// nothing is wrong with it.
    pub fn describe(&self, unit: &UnitRow, times: &Times) -> Option<String> {
        match self.problem_of(unit) {
            Some(problem) => {
                let lasting = times.lasting(Since::seen_at(problem.opened));
                Some(format!("open for {lasting}: {}", problem.text))
            }
            None => self
                .is_pending(unit)
                .then(|| "none yet: it has not been wrong for long enough".to_owned()),
        }
    }

    /// Adds the units of a problem that it does not name: of those that it may be about, the ones
    /// that have been wrong for the longest time.
    fn add_unnamed(&mut self, state: &'a ClusterState, problem: &'a ProblemRow) {
        let last_named = problem.units.last();
        let last_named = last_named.map(|unit| (&*unit.unit, unit.machine.as_deref()));

        let mut candidates: Vec<&UnitRow> = state
            .units
            .values()
            .filter(|unit| {
                !unit.is_ok()
                    && Some(key(unit)) > last_named
                    && !self.problems.contains_key(&key(unit))
                    && may_have(problem, unit)
            })
            .collect();
        candidates.sort_by_key(|unit| unit.verdict_since);

        let unnamed = problem.count - problem.units.len();
        for unit in candidates.into_iter().take(unnamed) {
            self.problems.insert(key(unit), problem);
        }
    }
}

fn key(unit: &UnitRow) -> PlacedUnit<'_> {
    (&unit.unit, unit.machine.as_deref())
}

/// Whether all that a problem says about its units is true for this one.
fn may_have(problem: &ProblemRow, unit: &UnitRow) -> bool {
    // A unit that no machine reports counts as on its target.
    let machine = unit.machine.as_ref().or(unit.target.as_ref());
    let is_on_machine = match (&problem.machine, &problem.template) {
        (None, Some(_)) => true,
        (expected, _) => machine == expected.as_ref(),
    };
    let is_of_template =
        |template: &String| unit.unit == *template || is_instance(&unit.unit, template);

    is_on_machine
        && problem.template.as_ref().is_none_or(is_of_template)
        && problem.verdicts.contains_key(&unit.verdict)
}

/// Whether a unit is an instance of a template: `web@1.service` of `web@.service`.
fn is_instance(unit: &str, template: &str) -> bool {
    let parts = template.split_once("@.").zip(unit.split_once('@'));

    parts.is_some_and(|((prefix, suffix), (unit_prefix, rest))| {
        unit_prefix == prefix && rest.rsplit_once('.').is_some_and(|(_, end)| end == suffix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::wire::ProblemUnit;

    fn unit(name: &str, machine: &str, verdict: &str, since: u64) -> UnitRow {
        UnitRow {
            unit: name.into(),
            machine: Some(machine.into()),
            verdict: verdict.into(),
            verdict_since: since,
            ..UnitRow::default()
        }
    }

    /// A problem of so many failed units, which names some of them, all on `m1`.
    fn failed_on_m1(id: &str, named: &[&str], count: usize) -> ProblemRow {
        let unit = |name: &&str| ProblemUnit { unit: (*name).into(), machine: Some("m1".into()) };

        ProblemRow {
            id: id.into(),
            kind: "failed".into(),
            machine: Some("m1".into()),
            count,
            verdicts: [("failed".to_owned(), count)].into(),
            units: named.iter().map(unit).collect(),
            ..ProblemRow::default()
        }
    }

    fn state(units: &[UnitRow], problems: Option<Vec<ProblemRow>>) -> ClusterState {
        ClusterState {
            units: units.iter().map(|unit| (unit.key(), unit.clone())).collect(),
            problems: problems
                .map(|rows| rows.into_iter().map(|row| (row.id.clone(), row)).collect()),
            ..ClusterState::default()
        }
    }

    /// The name of each unit, with the ID of its problem.
    fn owners(state: &ClusterState) -> Vec<(&str, Option<&str>)> {
        let units = ProblemUnits::of(state);
        let id = |unit| units.problem_of(unit).map(|problem| &*problem.id);

        state.units.values().map(|unit| (&*unit.unit, id(unit))).collect()
    }

    #[test]
    fn a_problem_names_its_units() {
        let units = [unit("a", "m1", "failed", 1), unit("b", "m1", "failed", 2)];
        let state = state(&units, Some(vec![failed_on_m1("1", &["a"], 1)]));

        assert_eq!(owners(&state), [("a", Some("1")), ("b", None)]);
        let problems = ProblemUnits::of(&state);
        assert!(!problems.is_pending(&units[0]) && problems.is_pending(&units[1]));
    }

    #[test]
    fn units_that_are_not_named_have_the_problem_that_says_the_same_of_all_its_units() {
        let units = [
            unit("a", "m1", "failed", 5),
            unit("b", "m1", "failed", 5),
            unit("c", "m1", "stale", 1),
            unit("d", "m1", "failed", 9),
            unit("e", "m2", "failed", 1),
            unit("f", "m1", "failed", 3),
            unit("g", "m1", "failed", 1),
        ];
        let problems = vec![failed_on_m1("1", &["b"], 2), failed_on_m1("2", &["g"], 1)];

        let state = state(&units, Some(problems));
        let expected = [
            // It would be named.
            ("a", None),
            ("b", Some("1")),
            ("c", None),
            // Only one more unit has the problem: the one that has been wrong for longer.
            ("d", None),
            ("e", None),
            ("f", Some("1")),
            ("g", Some("2")),
        ];
        assert_eq!(owners(&state), expected);
    }

    #[test]
    fn instances_have_the_problem_of_their_template_on_any_machine() {
        let units = [
            unit("web@1.service", "m1", "failed", 1),
            unit("web@2.service", "m2", "failed", 1),
            unit("web@3.timer", "m2", "failed", 1),
            unit("webber@1.service", "m2", "failed", 1),
        ];
        let problem = ProblemRow {
            machine: None,
            template: Some("web@.service".into()),
            ..failed_on_m1("1", &["web@1.service"], 4)
        };

        let state = state(&units, Some(vec![problem]));
        let owned = owners(&state).into_iter().filter(|(_, id)| id.is_some());
        let owned: Vec<_> = owned.map(|(unit, _)| unit).collect();
        assert_eq!(owned, ["web@1.service", "web@2.service"]);
    }

    #[test]
    fn of_an_older_server_no_unit_is_known_to_be_pending() {
        let units = [unit("a", "m1", "failed", 1)];
        let state = state(&units, None);
        assert!(!ProblemUnits::of(&state).is_pending(&units[0]));
    }
}
