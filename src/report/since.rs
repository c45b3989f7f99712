//! Since when what is shown of a row has been so.

use super::duration::age;
use super::wire::{MachineRow, Milliseconds, ProblemRow, UnitRow};

/// The beginning of what is shown of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// When it began, by the server's clock.
    pub time: Milliseconds,
    /// Whether the server saw it begin. If not, it is older.
    pub is_exact: bool,
}

impl Since {
    /// The beginning of a unit's verdict if something is wrong with it, or else of its state. A
    /// stale unit counts from when it was not reported any more.
    pub fn of_unit(unit: &UnitRow) -> Self {
        if unit.is_ok() {
            return Self::of_state(unit);
        }

        match unit.stale_since.filter(|_| unit.verdict == "stale") {
            Some(time) => Self::seen_at(time),
            None => Self::of_verdict(unit),
        }
    }

    /// The beginning of a unit's verdict.
    pub fn of_verdict(unit: &UnitRow) -> Self {
        Self { time: unit.verdict_since, is_exact: unit.verdict_since_seen }
    }

    /// The beginning of a unit's load, active and sub state.
    pub fn of_state(unit: &UnitRow) -> Self {
        Self { time: unit.since, is_exact: unit.since_seen }
    }

    /// When a machine left the cluster, or became silent, or else joined the cluster.
    pub fn of_machine(machine: &MachineRow) -> Self {
        match machine.lost_since.or(machine.silent_since) {
            Some(time) => Self::seen_at(time),
            None => Self { time: machine.since, is_exact: machine.since_seen },
        }
    }

    /// The beginning of what a problem is about.
    pub fn of_problem(problem: &ProblemRow) -> Self {
        Self { time: problem.since, is_exact: problem.since_seen }
    }

    /// A time at which something was seen to begin.
    pub fn seen_at(time: Milliseconds) -> Self {
        Self { time, is_exact: true }
    }

    /// How long that has been so at `now`.
    pub fn age(self, now: Milliseconds) -> String {
        age(self.time, now, self.is_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(since: Since) -> (u64, bool) {
        (since.time / 1000, since.is_exact)
    }

    #[test]
    fn a_unit_counts_from_its_verdict_or_else_from_its_state() {
        let unit = UnitRow {
            verdict: "ok".into(),
            since: 1_000,
            since_seen: true,
            verdict_since: 2_000,
            stale_since: Some(3_000),
            ..UnitRow::default()
        };
        let failed = UnitRow { verdict: "failed".into(), ..unit.clone() };
        let stale = UnitRow { verdict: "stale".into(), ..unit.clone() };

        assert_eq!(seconds(Since::of_unit(&unit)), (1, true));
        assert_eq!(seconds(Since::of_unit(&failed)), (2, false));
        assert_eq!(seconds(Since::of_unit(&stale)), (3, true));
    }

    #[test]
    fn a_machine_counts_from_its_loss_its_silence_or_when_it_joined() {
        let present = MachineRow { since: 1_000, ..MachineRow::default() };
        let silent = MachineRow { silent_since: Some(2_000), ..present.clone() };
        let lost = MachineRow { lost_since: Some(3_000), ..silent.clone() };

        assert_eq!(seconds(Since::of_machine(&present)), (1, false));
        assert_eq!(seconds(Since::of_machine(&silent)), (2, true));
        assert_eq!(seconds(Since::of_machine(&lost)), (3, true));
    }
}
