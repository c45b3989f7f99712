//! A row that no machine has reported: a unit that fleet may want, on a machine or nowhere yet.
//!
//! It knows no other row. When a machine reports the unit, a new row takes its place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::context::RowContext;
use super::super::machine_life::MachinePresence;
use super::super::model::{MachineId, Moment, UnitFile, UnitName, UnitState};
use super::super::requirements::{RequirementsMatch, match_requirements};
use super::super::verdict::{ExpectedFacts, judge_expected};
use super::display::{JudgedRow, RefreshedRow, RowDisplay};

/// How long a unit may take to its first report. `fleetctl start` to a running row takes 2.5 to
/// 2.9 s (fleet v1.0.0).
const LAUNCH: Duration = Duration::from_secs(10);
/// How long a machine that has not reported any unit may take to its first report. A fleetd that
/// was killed is in the list of machines 27 to 51 s before that (fleet v1.0.0).
const FIRST_REPORT: Duration = Duration::from_secs(60);
/// How long fleet may take to choose a machine. It takes 0.2 to 1.2 s.
const SCHEDULE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct ExpectedRow {
    unit: UnitName,
    /// The machine that a global unit is expected on; `None` for the row of a unit that is on no
    /// machine.
    machine: Option<MachineId>,
    /// Since when it has been expected as it is now.
    appeared: Moment,
    /// Whether fleet's own list contains it.
    listed: bool,
    display: RowDisplay,
}

impl ExpectedRow {
    pub(crate) fn new(
        unit: UnitName,
        machine: Option<MachineId>,
        listed: bool,
        at: Moment,
        since_seen: bool,
    ) -> Self {
        Self {
            unit,
            machine,
            appeared: at,
            listed,
            display: RowDisplay::new(at, since_seen),
        }
    }

    pub(crate) fn appeared(&self) -> Moment {
        self.appeared
    }

    /// Ends the wait for a first report: the unit has been waited for before.
    pub(crate) fn skip_wait(&mut self, at: Moment) {
        self.appeared = at.before(LAUNCH);
    }

    /// Sets whether fleet's own list contains the row. Returns whether that has changed.
    pub(crate) fn set_listed(&mut self, listed: bool) -> bool {
        std::mem::replace(&mut self.listed, listed) != listed
    }

    /// Finds the verdict. Returns how the row is shown, and when to refresh it next.
    pub(crate) fn refresh(&mut self, context: &RowContext) -> (RefreshedRow, Option<Instant>) {
        let file = context.desired.get(&self.unit);
        self.restart_wait_if_replaced(file, context.at);

        let machine = self
            .machine
            .as_ref()
            .or_else(|| file.and_then(|file| file.target.as_ref()));
        let wait_ends = self.appeared.instant + self.wait(machine, file, context);
        let is_waiting = file.is_some_and(|file| file.is_wanted())
            && !context.retention.passes_through()
            && context.at.instant < wait_ends;

        let (verdict, reason) = judge_expected(&ExpectedFacts {
            file: file.map(|file| &**file),
            machine: machine.map(|id| context.machines.display_name(id)),
            is_early: is_waiting || self.may_be_reported(machine, file, context),
            fits_no_machine: file.is_some_and(|file| fits_no_machine(file, context)),
        });

        let mut state = UnitState {
            machine: self.machine.clone(),
            ..UnitState::unreported(self.unit.clone())
        };
        state.ip = self.machine.as_ref().and_then(|id| context.machines.ip(id)).cloned();
        let row = JudgedRow {
            state,
            listed: self.listed,
            stale_since: None,
            file,
            verdict,
            reason,
        };
        (self.display.update(row, context), is_waiting.then_some(wait_ends))
    }

    /// Restarts the wait if fleet wants something else of the unit than before.
    fn restart_wait_if_replaced(&mut self, file: Option<&Arc<UnitFile>>, at: Moment) {
        let file = file.map(|file| &**file);
        let is_replaced = self
            .display
            .shown()
            .is_some_and(|shown| state_and_target(shown.file.as_deref()) != state_and_target(file));

        if is_replaced {
            self.appeared = at;
        }
    }

    /// How long to wait before it is a problem that the unit is not reported.
    fn wait(
        &self,
        machine: Option<&MachineId>,
        file: Option<&Arc<UnitFile>>,
        context: &RowContext,
    ) -> Duration {
        let is_unscheduled =
            machine.is_none() && file.is_some_and(|file| file.target_known && !file.global);
        if is_unscheduled {
            return SCHEDULE;
        }

        let has_launched = context.at.instant >= self.appeared.instant + LAUNCH;
        let is_first_report =
            self.machine.as_ref().is_some_and(|id| !context.machines.has_rows(id));
        if has_launched && is_first_report {
            FIRST_REPORT
        } else {
            LAUNCH
        }
    }

    /// Whether the unit may run although it is not reported: the source's lists may be incomplete,
    /// or the machine has not reported anything since it rejoined. Only the unit files tell that
    /// fleet has chosen no machine, which stays true.
    fn may_be_reported(
        &self,
        machine: Option<&MachineId>,
        file: Option<&Arc<UnitFile>>,
        context: &RowContext,
    ) -> bool {
        let has_place = machine.is_some() || file.is_some_and(|file| file.global);
        let machine_does_not_report = self.machine.as_ref().is_some_and(|id| {
            matches!(
                context.machines.presence(id),
                Some(MachinePresence::Returned | MachinePresence::Missing { .. })
            )
        });

        (has_place && !context.source.is_trusted()) || machine_does_not_report
    }
}

fn state_and_target(file: Option<&UnitFile>) -> (Option<&str>, Option<&str>) {
    let desired = file.and_then(|file| file.desired.as_deref());
    let target = file.and_then(|file| file.target.as_deref());

    (desired, target)
}

/// Whether a global unit is known to fit none of the machines.
fn fits_no_machine(file: &UnitFile, context: &RowContext) -> bool {
    file.global
        && !context.machines.is_empty()
        && context
            .machines
            .present()
            .all(|machine| match_requirements(file, machine) == RequirementsMatch::No)
}
