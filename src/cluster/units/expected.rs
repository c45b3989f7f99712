//! A row that no machine has reported: a unit that fleet may want, on a machine or nowhere yet.
//!
//! It knows no other row. When a machine reports the unit, a new row takes its place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::context::RowContext;
use super::super::machine_life::MachinePresence;
use super::super::model::{MachineId, Moment, Text, UnitFile, UnitName, UnitState};
use super::super::peer::{LearningTime, PeerUnit};
use super::super::requirements::{RequirementsMatch, match_requirements};
use super::super::saved::{SavedRow, SavedRowKind};
use super::super::verdict::{ExpectedFacts, Verdict, judge_expected};
use super::display::{JudgedRow, RefreshedRow, RowDisplay};

/// How long a unit may take to its first report. `fleetctl start` to a running row takes 2.5 to
/// 2.9 s (fleet v1.0.0).
const LAUNCH: Duration = Duration::from_secs(10);
/// How long a machine that has not reported any unit may take to its first report. A fleetd that
/// was killed is in the list of machines 27 to 51 s before that (fleet v1.0.0).
const FIRST_REPORT: Duration = Duration::from_secs(60);
/// How long fleet may take to choose a machine. It takes 0.2 to 1.2 s.
const SCHEDULE: Duration = Duration::from_secs(3);

/// The desired state of a unit, and the machine that fleet has chosen for it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WantedPlace {
    desired: Option<Text>,
    target: Option<MachineId>,
}

impl WantedPlace {
    fn of(file: Option<&UnitFile>) -> Self {
        Self {
            desired: file.and_then(|file| file.desired.clone()),
            target: file.and_then(|file| file.target.clone()),
        }
    }
}

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
    /// What fleet wanted of it when it was last evaluated; `None` before.
    wanted: Option<WantedPlace>,
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
            wanted: None,
            display: RowDisplay::new(at, since_seen),
        }
    }

    /// The row that was saved, and fleet's file of its unit then.
    pub(crate) fn restore(
        saved: &SavedRow,
        listed: bool,
        file: Option<&UnitFile>,
        now: Moment,
    ) -> Self {
        Self {
            unit: saved.state.unit.clone(),
            machine: saved.state.machine.clone(),
            appeared: saved.appeared.moment(now),
            listed,
            wanted: Some(WantedPlace::of(file)),
            display: RowDisplay::restore(saved, now),
        }
    }

    /// What is to be saved; `None` if it has never been shown.
    pub(crate) fn saved(&self) -> Option<SavedRow> {
        let state = UnitState {
            machine: self.machine.clone(),
            ..UnitState::unreported(self.unit.clone())
        };

        let kind = SavedRowKind::Expected { listed: self.listed };
        self.display.saved(state, self.appeared, kind)
    }

    /// Learns since when it has been as it is, if another monitor knows that better of a row that
    /// no machine has reported. Returns whether it does.
    pub(crate) fn learn(&mut self, peer: &PeerUnit, learning: LearningTime) -> bool {
        peer.state().active.is_none() && self.display.learn(peer, learning)
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

        let machine_is_unknown = machine.is_some_and(|id| context.machines.is_unknown(id));
        let machine_is_lost = machine.is_some_and(|id| {
            matches!(context.machines.presence(id), Some(MachinePresence::Lost { .. }))
        });
        // A target that was not in the cluster when it was first read had left before. Later, a
        // target may be known before its machine is.
        let was_lost_before = machine_is_unknown && !self.display.state_since_seen();
        let is_early = is_waiting || self.may_be_reported(machine, file, context);

        let (verdict, reason) = judge_expected(&ExpectedFacts {
            file: file.map(|file| &**file),
            machine: machine.map(|id| context.machines.display_name(id)),
            machine_is_lost: machine_is_lost || machine_is_unknown,
            is_early: is_early && !was_lost_before,
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
        let wanted = WantedPlace::of(file.map(|file| &**file));
        let is_replaced = self.wanted.as_ref().is_some_and(|before| *before != wanted);

        if is_replaced {
            self.appeared = at;
        }
        self.wanted = Some(wanted);
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

        // What was missed before the source failed still is, until a machine reports it.
        let is_missed = self.display.shows(Verdict::Unreported);
        let may_be_unlisted = !context.source.is_trusted() && !is_missed;
        (has_place && may_be_unlisted) || machine_does_not_report
    }
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
