//! What is wrong, but not for long enough to be a problem. Prometheus calls such an alert pending.
//!
//! How long that is, only the server knows. Of an older server, which knows no problems, it is all
//! that is wrong.

use std::collections::HashSet;
use std::fmt::{self, Display};

use super::cluster_state::ClusterState;
use super::counted::counted;
use super::machine_status::MachineStatus;
use super::problem_units::ProblemUnits;
use super::problems::open_problems;
use super::verdicts;
use super::wire::{MachineRow, UnitRow};

/// What comes before it, wherever it is shown.
pub(super) const NOT_A_PROBLEM_YET: &str = "not a problem yet: ";

/// What is wrong and has no problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Machines that are lost or silent, in words; empty if there are none.
    machines: String,
    /// Units, in words; empty if there are none.
    units: String,
    /// Whether the server knows no problems.
    is_of_older_server: bool,
}

impl Pending {
    /// What is wrong in a cluster and has no problem.
    pub fn of(state: &ClusterState) -> Self {
        let problem_units = ProblemUnits::of(state);
        let units: Vec<&UnitRow> = state
            .units
            .values()
            .filter(|unit| !unit.is_ok() && problem_units.problem_of(unit).is_none())
            .collect();

        Self {
            machines: words_of_machines(state),
            units: words_of_units(&units),
            is_of_older_server: state.problems.is_none(),
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.machines.is_empty() && self.units.is_empty()
    }
}

/// `1 machine lost, 2 silent`, of those that have no problem.
fn words_of_machines(state: &ClusterState) -> String {
    let have_problem: HashSet<&str> = open_problems(state)
        .filter_map(|problem| problem.lost_or_silent_machine())
        .collect();

    let mut parts = Vec::new();
    for status in [MachineStatus::Lost, MachineStatus::Silent] {
        let is_pending = |machine: &&MachineRow| {
            machine.status() == status && !have_problem.contains(&*machine.machine)
        };
        let word = status.word();
        match state.machines.values().filter(is_pending).count() {
            0 => {}
            count if parts.is_empty() => {
                parts.push(format!("{} {word}", counted(count, "machine")));
            }
            count => parts.push(format!("{count} {word}")),
        }
    }
    parts.join(", ")
}

/// `3 units (1 failed, 2 stale)`.
fn words_of_units(units: &[&UnitRow]) -> String {
    if units.is_empty() {
        return String::new();
    }

    let verdicts = verdicts::summary(units.iter().copied());
    format!("{} ({verdicts})", counted(units.len(), "unit"))
}

impl Display for Pending {
    /// `not a problem yet: 1 machine lost, 1 silent, 3 units (1 failed, 2 stale)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_of_older_server {
            f.write_str(NOT_A_PROBLEM_YET)?;
        }

        let parts = [&*self.machines, &*self.units];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::wire::{ProblemRow, ProblemUnit};

    fn unit(name: &str, verdict: &str) -> UnitRow {
        UnitRow {
            unit: name.into(),
            verdict: verdict.into(),
            ..UnitRow::default()
        }
    }

    fn lost(id: &str) -> MachineRow {
        MachineRow {
            machine: id.into(),
            lost_since: Some(1),
            ..MachineRow::default()
        }
    }

    fn cluster(units: &[UnitRow], machines: &[MachineRow]) -> ClusterState {
        ClusterState {
            units: units.iter().map(|unit| (unit.key(), unit.clone())).collect(),
            machines: machines
                .iter()
                .map(|machine| (machine.machine.clone(), machine.clone()))
                .collect(),
            problems: Some([].into()),
            ..ClusterState::default()
        }
    }

    fn add(state: &mut ClusterState, problem: ProblemRow) {
        state.problems.as_mut().unwrap().insert(problem.id.clone(), problem);
    }

    #[test]
    fn what_has_a_problem_is_not_pending() {
        let mut state =
            cluster(&[unit("a", "failed"), unit("b", "ok"), unit("c", "stale")], &[lost("m1")]);
        let pending = Pending::of(&state).to_string();
        assert_eq!(
            pending,
            format!("{NOT_A_PROBLEM_YET}1 machine lost, 2 units (1 failed, 1 stale)")
        );

        add(
            &mut state,
            ProblemRow {
                id: "1".into(),
                kind: "failed".into(),
                count: 1,
                units: vec![ProblemUnit { unit: "a".into(), machine: None }],
                ..ProblemRow::default()
            },
        );
        add(
            &mut state,
            ProblemRow {
                id: "2".into(),
                kind: "machine_lost".into(),
                machine: Some("m1".into()),
                ..ProblemRow::default()
            },
        );
        assert_eq!(Pending::of(&state).to_string(), format!("{NOT_A_PROBLEM_YET}1 unit (1 stale)"));

        state.units.remove(&("c".to_owned(), None));
        assert!(Pending::of(&state).is_empty());
    }

    #[test]
    fn of_an_older_server_it_is_all_that_is_wrong() {
        let mut state = cluster(&[unit("a", "failed")], &[]);
        state.problems = None;
        assert_eq!(Pending::of(&state).to_string(), "1 unit (1 failed)");
    }
}
