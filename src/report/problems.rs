//! The problems that the server has found, in the order in which to look at them.
//!
//! What is a problem is decided by the server alone: it must not be decided here.

use std::cmp::Reverse;

use super::cluster_state::ClusterState;
use super::verdicts::{self, Tone};
use super::wire::ProblemRow;

impl ProblemRow {
    /// Its name: a verdict for people, or what is wrong with the machine or the source.
    pub fn word(&self) -> String {
        self.kind.replace('_', " ")
    }

    /// How much it needs attention.
    pub fn tone(&self) -> Tone {
        match &*self.severity {
            "critical" => Tone::Bad,
            _ => Tone::Warning,
        }
    }

    /// Whether it is about the source: what is known of the cluster may be wrong.
    pub fn is_about_source(&self) -> bool {
        self.kind.starts_with("source_")
    }

    /// The ID of the machine that it is about, if it is about one and not about units.
    pub fn lost_or_silent_machine(&self) -> Option<&str> {
        let is_about_machine = matches!(&*self.kind, "machine_lost" | "machine_silent")
            && self.unit.is_none()
            && self.template.is_none();

        self.machine.as_deref().filter(|_| is_about_machine)
    }
}

/// All open problems, those to look at first in front: that of the source, then what has begun
/// before what was wrong already when the monitor started, then the worst, then the largest. None
/// of an older server.
pub fn problems(state: &ClusterState) -> Vec<&ProblemRow> {
    let mut problems: Vec<&ProblemRow> =
        state.problems.iter().flat_map(|all| all.values()).collect();

    problems.sort_by_key(|problem| {
        (
            !problem.is_about_source(),
            !problem.since_seen,
            problem.tone(),
            Reverse(problem.count),
            verdicts::rank(&problem.kind),
            Reverse(problem.since),
        )
    });
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(id: &str, kind: &str, severity: &str, count: usize) -> ProblemRow {
        ProblemRow {
            id: id.into(),
            kind: kind.into(),
            severity: severity.into(),
            since: 1_000,
            since_seen: true,
            count,
            ..ProblemRow::default()
        }
    }

    fn ids(rows: Vec<ProblemRow>) -> String {
        let rows = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        let state = ClusterState { problems: Some(rows), ..ClusterState::default() };

        problems(&state).into_iter().map(|problem| &*problem.id).collect()
    }

    #[test]
    fn what_is_new_comes_before_what_is_worse_and_that_before_what_is_larger() {
        let before_start = |problem| ProblemRow { since_seen: false, ..problem };
        let rows = vec![
            before_start(problem("a", "failed", "critical", 9)),
            problem("b", "stale", "warning", 8),
            problem("c", "crash_loop", "critical", 1),
            problem("d", "machine_lost", "critical", 7),
            problem("e", "failed", "critical", 1),
        ];
        assert_eq!(ids(rows), "decba");
    }

    #[test]
    fn the_source_comes_first() {
        let rows = vec![
            problem("a", "machine_lost", "critical", 20),
            problem("b", "source_failing", "critical", 0),
        ];
        assert_eq!(ids(rows), "ba");
    }

    #[test]
    fn of_equal_problems_the_newest_comes_first() {
        let newer = ProblemRow { since: 2_000, ..problem("b", "failed", "critical", 1) };
        assert_eq!(ids(vec![problem("a", "failed", "critical", 1), newer]), "ba");
    }

    #[test]
    fn a_unit_that_is_lost_with_its_machine_is_not_the_machine() {
        let of_machine = ProblemRow {
            machine: Some("m1".into()),
            ..problem("a", "machine_lost", "critical", 2)
        };
        let of_unit = ProblemRow { unit: Some("a.service".into()), ..of_machine.clone() };
        let of_verdict = ProblemRow { kind: "failed".into(), ..of_machine.clone() };

        assert_eq!(of_machine.lost_or_silent_machine(), Some("m1"));
        assert_eq!(of_unit.lost_or_silent_machine(), None);
        assert_eq!(of_verdict.lost_or_silent_machine(), None);
    }

    #[test]
    fn a_verdict_has_the_same_name_as_a_kind_of_problems() {
        for verdict in verdicts::names() {
            assert_eq!(problem("a", verdict, "critical", 1).word(), verdicts::word(verdict));
        }
    }
}
