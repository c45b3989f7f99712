//! Units that have been unhealthy since the program started. No event reports them, so they are
//! logged once. This module only decides which units these are; it does not log.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cluster::{RowKey, Unit, Verdict, View};

/// The rows of which it is not known yet whether they are healthy: fleet wants them, and no machine
/// has reported them, but the time that machines have for that is not over.
#[derive(Debug)]
pub(super) struct InitialProblems {
    pending: BTreeSet<RowKey>,
}

impl InitialProblems {
    /// Begins with the first complete view. Also returns the units that are unhealthy in it.
    pub(super) fn of(view: &View) -> (Self, Vec<Arc<Unit>>) {
        let pending = view
            .units
            .iter()
            .filter(|unit| is_pending(unit))
            .map(|unit| unit.key())
            .collect();
        let wrong = view.units.iter().filter(|unit| is_wrong(unit)).cloned().collect();
        (Self { pending }, wrong)
    }

    /// Applies a later view. Returns the pending units whose time is over without a report.
    pub(super) fn missed(&mut self, view: &View) -> Vec<Arc<Unit>> {
        let mut missed = Vec::new();

        self.pending.retain(|key| {
            let unit = view.units.get(key);
            missed.extend(unit.filter(|unit| is_unreported(unit) && is_wrong(unit)).cloned());
            unit.is_some_and(|unit| is_pending(unit))
        });
        missed
    }
}

fn is_pending(unit: &Unit) -> bool {
    is_unreported(unit)
        && unit.verdict == Verdict::Ok
        && unit.file.as_ref().is_some_and(|file| file.is_wanted())
}

fn is_unreported(unit: &Unit) -> bool {
    unit.state.active.is_none()
}

/// Whether the unit is unhealthy. A global unit whose requirements no machine meets may be meant
/// for a machine that is still to come, so that is not a problem.
fn is_wrong(unit: &Unit) -> bool {
    let is_global = unit.file.as_ref().is_some_and(|file| file.global);
    unit.verdict != Verdict::Ok && !(unit.verdict == Verdict::Unscheduled && is_global)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::builders::{self, unit_file};
    use crate::cluster::{Cluster, Moment, Reading, RegistrySnapshot, UnitFile, UnitState};

    fn state(unit: &str, active: &str) -> UnitState {
        builders::unit_state(unit, "m1", &format!("{active}/running"))
    }

    /// The problems that are returned for a cluster that does not change, at each of these seconds.
    /// From 5 s on, `late.service` is reported too.
    fn problems(seconds: &[u64], states: &[UnitState], files: &[UnitFile]) -> Vec<(u64, String)> {
        let start = Moment::now();
        let mut cluster = Cluster::new(Duration::from_secs(30));
        let mut initial_problems = None;
        let mut found = Vec::new();

        for second in seconds {
            let late = (*second >= 5).then(|| state("late.service", "active"));
            let registry = RegistrySnapshot {
                states: states.iter().cloned().chain(late).collect(),
                machines: [builders::machine("m1")].into(),
                files: files
                    .iter()
                    .cloned()
                    .chain([unit_file("late.service", Some("m1"))])
                    .collect(),
                ..RegistrySnapshot::default()
            };
            cluster.apply(
                Reading::Registry(registry),
                start + Duration::from_secs(*second),
                Duration::ZERO,
            );

            let wrong = match &mut initial_problems {
                None => {
                    let (initial, wrong) = InitialProblems::of(cluster.view());
                    initial_problems = Some(initial);
                    wrong
                }
                Some(problems) => problems.missed(cluster.view()),
            };
            found.extend(
                wrong
                    .iter()
                    .map(|unit| (*second, format!("{} {}", unit.state.unit, unit.verdict))),
            );
        }
        found
    }

    fn at(second: u64, problem: &str) -> (u64, String) {
        (second, problem.to_owned())
    }

    #[test]
    fn a_unit_that_is_not_reported_in_time_is_a_problem_once_and_a_healthy_one_is_not() {
        let states = [state("ok.service", "active"), state("bad.service", "failed")];
        let mut files = ["ok.service", "bad.service", "missed.service"]
            .map(|unit| unit_file(unit, Some("m1")))
            .to_vec();
        files.push(unit_file("nowhere.service", None));
        files.push(UnitFile {
            desired: Some("inactive".into()),
            ..unit_file("submitted.service", None)
        });

        assert_eq!(
            problems(&[0, 2, 4, 6, 8, 10, 12, 60], &states, &files),
            [
                at(0, "bad.service failed"),
                at(4, "nowhere.service unscheduled"),
                at(10, "missed.service unreported")
            ]
        );
    }

    #[test]
    fn a_global_unit_is_a_problem_on_each_machine_that_fits_and_not_if_none_does() {
        let global =
            |unit, requirements| UnitFile { global: true, requirements, ..unit_file(unit, None) };
        let files = [
            global("agent.service", Vec::new()),
            global("gpu.service", vec!["MachineMetadata=role=gpu".into()]),
            unit_file("ok.service", Some("m1")),
        ];
        let states = [state("ok.service", "active")];

        assert_eq!(
            problems(&[0, 9, 10, 60], &states, &files),
            [at(10, "agent.service unreported")]
        );
    }
}
