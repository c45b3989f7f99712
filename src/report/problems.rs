//! The problems that the server has found, in the order in which to look at them.
//!
//! What is a problem is decided by the server alone: it must not be decided here.

use std::cmp::Reverse;

use super::cluster_state::ClusterState;
use super::verdicts::{self, Tone};
use super::wire::{Milliseconds, ProblemRow};

/// For how many milliseconds a problem is new: as long as in `src/page/problems.js`.
const NEW_FOR: Milliseconds = 600_000;

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

    /// Whether the server saw it begin, and opened it less than ten minutes ago.
    fn is_new(&self, now: Milliseconds) -> bool {
        self.since_seen && now.saturating_sub(self.opened) < NEW_FOR
    }

    /// The ID of the machine that it is about, if it is about one and not about units.
    pub fn lost_or_silent_machine(&self) -> Option<&str> {
        let is_about_machine = matches!(&*self.kind, "machine_lost" | "machine_silent")
            && self.unit.is_none()
            && self.template.is_none();

        self.machine.as_deref().filter(|_| is_about_machine)
    }
}

/// All open problems, in no order. None of an older server.
pub(super) fn open_problems(state: &ClusterState) -> impl Iterator<Item = &ProblemRow> {
    state.problems.iter().flat_map(|all| all.values())
}

/// All open problems at this time by the clock of the server, those to look at first in front: that
/// of the source, then the new ones, then the worst, then the largest, then the latest. None of an
/// older server.
pub fn problems(state: &ClusterState, now: Milliseconds) -> Vec<&ProblemRow> {
    let mut problems: Vec<&ProblemRow> = open_problems(state).collect();

    problems.sort_by_key(|problem| {
        (
            !problem.is_about_source(),
            !problem.is_new(now),
            problem.tone(),
            Reverse(problem.count),
            Reverse(problem.opened),
            verdicts::rank(&problem.kind),
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
            opened: 31_000,
            count,
            ..ProblemRow::default()
        }
    }

    fn ids(rows: Vec<ProblemRow>) -> String {
        ids_at(40_000, rows)
    }

    fn ids_at(now: Milliseconds, rows: Vec<ProblemRow>) -> String {
        let rows = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        let state = ClusterState { problems: Some(rows), ..ClusterState::default() };

        problems(&state, now)
            .into_iter()
            .map(|problem| &*problem.id)
            .collect()
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
    fn a_problem_is_new_for_ten_minutes_after_it_was_opened() {
        let rows = || {
            let old = ProblemRow { opened: 0, ..problem("a", "failed", "critical", 9) };
            vec![old, problem("b", "stale", "warning", 1)]
        };
        assert_eq!(ids_at(NEW_FOR - 1, rows()), "ab");
        assert_eq!(ids_at(NEW_FOR, rows()), "ba");
        assert_eq!(ids_at(NEW_FOR + 31_000, rows()), "ab");
    }

    #[test]
    fn of_equal_problems_the_latest_comes_first() {
        let newer = ProblemRow { opened: 32_000, ..problem("b", "failed", "critical", 1) };
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
