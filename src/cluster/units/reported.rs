//! A row that a machine reports, or did: what was last reported, and how it is shown.
//!
//! It knows no other row. It gathers the evidence for the next step of its life and the facts for
//! its verdict, and turns notices into events.

use std::time::Instant;

use super::super::context::RowContext;
use super::super::crash_loop::{CrashLoopNotice, RestartHistory};
use super::super::desired::DesiredPlacement;
use super::super::machine_life::{MachinePresence, MachineStanding};
use super::super::machines::Machines;
use super::super::model::{MachineId, Moment, UnitState};
use super::super::peer::{LearningTime, PeerUnit};
use super::super::report::{Absence, ReportStatus};
use super::super::saved::{SavedAbsence, SavedReport, SavedRow, SavedRowKind};
use super::super::saved_time::SavedTime;
use super::super::transition::{Event, Place};
use super::super::unit_life::{UnitEvidence, UnitNotice, UnitPresence, step};
use super::super::verdict::{LONG_START_OR_STOP, ReportedFacts, Verdict, judge_reported};
use super::display::{JudgedRow, RefreshedRow, RowDisplay};

#[derive(Debug)]
pub(crate) struct ReportedRow {
    /// The last reported state.
    state: UnitState,
    report: ReportStatus,
    presence: UnitPresence,
    /// When it was first reported.
    appeared: Moment,
    /// Whether a list contained it without an address: fleet's list of machines then lacked its
    /// machine.
    without_address: bool,
    restarts: Box<RestartHistory>,
    /// When it was last reported again after it had been stale.
    came_back: Option<Moment>,
    display: RowDisplay,
}

impl ReportedRow {
    pub(crate) fn new(
        state: UnitState,
        without_address: bool,
        at: Moment,
        since_seen: bool,
    ) -> Self {
        let restarts = Box::new(RestartHistory::new(&state, at));

        Self {
            state,
            report: ReportStatus::Current,
            presence: UnitPresence::Reported,
            appeared: at,
            without_address,
            restarts,
            came_back: None,
            display: RowDisplay::new(at, since_seen),
        }
    }

    /// The row that was saved. An overdue one counts as reported until it is overdue again.
    pub(crate) fn restore(saved: &SavedRow, kind: &SavedReport, now: Moment) -> Self {
        let state = saved.state.clone();
        let appeared = saved.appeared.moment(now);
        let report = match kind.absence {
            Some(SavedAbsence { since, absence, confirmed }) => {
                ReportStatus::Absent { since: since.moment(now), absence, confirmed }
            }
            None => ReportStatus::Current,
        };
        let restarts = match &kind.restarts {
            Some(restarts) => RestartHistory::restore(&state, restarts, now),
            None => RestartHistory::new(&state, saved.since.moment(now)),
        };

        Self {
            state,
            report,
            presence: match report {
                ReportStatus::Absent { .. } => kind.presence,
                _ => UnitPresence::Reported,
            },
            appeared,
            without_address: kind.without_address,
            restarts: Box::new(restarts),
            came_back: kind.came_back.map(|time| time.moment(now)),
            display: RowDisplay::restore(saved, now),
        }
    }

    /// What is to be saved; `None` if it has never been shown.
    pub(crate) fn saved(&self) -> Option<SavedRow> {
        let absence = match self.report {
            ReportStatus::Absent { since, absence, confirmed } => {
                Some(SavedAbsence { since: since.into(), absence, confirmed })
            }
            ReportStatus::Current | ReportStatus::Overdue { .. } => None,
        };
        let kind = SavedReport {
            absence,
            presence: self.presence,
            without_address: self.without_address,
            came_back: self.came_back.map(SavedTime::from),
            restarts: self.restarts.saved(),
        };

        self.display
            .saved(self.state.clone(), self.appeared, SavedRowKind::Reported(kind))
    }

    /// Learns since when it has been as it is, if another monitor knows that better of the same
    /// state. Returns whether it does.
    pub(crate) fn learn(&mut self, peer: &PeerUnit, learning: LearningTime) -> bool {
        let is_same = peer.is_current() && self.state.is_same_state(&peer.state());
        is_same && self.display.learn(peer, learning)
    }

    pub(crate) fn appeared(&self) -> Moment {
        self.appeared
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.report.is_absent()
    }

    pub(crate) fn is_overdue(&self) -> bool {
        self.report.is_overdue()
    }

    pub(crate) fn is_current(&self) -> bool {
        self.report == ReportStatus::Current
    }

    /// Whether a report of this state adds no information.
    pub(crate) fn is_reported_as(&self, state: &UnitState) -> bool {
        self.is_current() && self.state == *state
    }

    #[cfg(test)]
    pub(crate) fn presence(&self) -> UnitPresence {
        self.presence
    }

    pub(crate) fn appeared_event(&self, machines: &Machines) -> Event {
        Event::Appeared { place: self.place(machines), to: self.state.text() }
    }

    /// Records a report of the row. `is_seen` tells whether a new state was seen to begin.
    pub(crate) fn record_report(
        &mut self,
        state: UnitState,
        without_address: bool,
        at: Moment,
        is_seen: bool,
        machines: &Machines,
        events: &mut Vec<Event>,
    ) {
        let before = std::mem::replace(&mut self.state, state);
        self.report = ReportStatus::Current;
        self.without_address = without_address;
        if before.is_same_state(&self.state) {
            return;
        }

        self.display.record_state_change(at, is_seen);
        self.restarts.record_state(&self.state, at);

        // The event that a stale row is back contains its state; and the restarts of a crash loop
        // are no events of their own.
        let is_restart =
            self.restarts.is_announced() && !before.has_failed() && !self.state.has_failed();
        if self.presence != UnitPresence::Stale && !is_restart {
            events.push(Event::Changed {
                place: self.place(machines),
                from: before.text(),
                to: self.state.text(),
            });
        }
    }

    /// Marks the row as absent. Returns whether that adds any information.
    pub(crate) fn mark_absent(&mut self, absence: Absence, at: Moment) -> bool {
        // The shown age of a row that expires counts from its last renewal, as while it was
        // overdue.
        let since = match self.report {
            ReportStatus::Overdue { since } if absence == Absence::Expired => {
                Moment { instant: at.instant, ..since }
            }
            _ => at,
        };
        self.report.mark_absent(absence, since)
    }

    /// Marks the row as overdue. Returns whether it was current.
    pub(crate) fn mark_overdue(&mut self, since: Moment) -> bool {
        self.report.mark_overdue(since)
    }

    /// Ends being overdue. Returns whether it was overdue.
    pub(crate) fn mark_renewed(&mut self) -> bool {
        self.report.mark_renewed()
    }

    /// Whether nothing explains that the row is absent: fleet wants it where it was, as far as that
    /// is known, and its machine is not lost.
    pub(crate) fn is_unexplained(&self, context: &RowContext) -> bool {
        let ReportStatus::Absent { absence, .. } = self.report else {
            return false;
        };
        if self.presence == UnitPresence::Lost
            || matches!(self.machine_standing(context), MachineStanding::Lost { .. })
        {
            return false;
        }

        match self.desired_placement(context) {
            DesiredPlacement::Here { global } => !(global && absence == Absence::Deleted),
            DesiredPlacement::Unknown => true,
            _ => false,
        }
    }

    /// Whether its machine has left, by the newer of two indications: the row itself, which fleet
    /// lists without an address if its machine is not in the list of machines; and the state of the
    /// machine. One that was not in the cluster when that was first read had left before.
    pub(crate) fn is_on_lost_machine(&self, context: &RowContext) -> bool {
        let Some(machine) = &self.state.machine else {
            return false;
        };
        let has_known_address = context.machines.ip(machine).is_some();

        match context.machines.presence(machine) {
            None => {
                let was_there_first = !self.display.state_since_seen();
                (self.without_address || was_there_first) && context.machines.is_unknown(machine)
            }
            Some(MachinePresence::Lost { .. }) => true,
            Some(MachinePresence::Missing { .. }) => false,
            Some(_) => self.without_address && has_known_address && !self.is_absent(),
        }
    }

    /// Makes one step of the row's life and finds the verdict. `replacement` is the machine that
    /// reports the unit instead, if one does. Returns how the row is shown, and when to refresh it
    /// next.
    pub(crate) fn refresh(
        &mut self,
        replacement: Option<&MachineId>,
        context: &RowContext,
        events: &mut Vec<Event>,
    ) -> (RefreshedRow, Option<Instant>) {
        let evidence = self.evidence(replacement.is_some(), context);
        let step = step(self.presence, &evidence, context.retention, context.at);
        self.presence = step.presence;

        if let Some(notice) = step.notice {
            self.push_events(notice, context.machines, events);
        }
        match step.notice {
            Some(UnitNotice::Gone(departure)) => return (RefreshedRow::Gone(departure), None),
            Some(UnitNotice::Back) => self.came_back = Some(context.at),
            Some(UnitNotice::Stale) | None => {}
        }

        let next_of_loop = self.advance_crash_loop(evidence.desired, context);
        let long_from = self.long_transition_from();
        let is_long = long_from.is_some_and(|from| context.at.instant >= from);

        let moved_to = replacement
            .filter(|_| !self.is_absent())
            .map(|id| context.machines.display_name(id));
        let refreshed = self.show(&evidence, moved_to, is_long, context);
        events.extend(self.take_loop_event(context.machines));

        let due = [step.due, next_of_loop, long_from.filter(|_| !is_long)];
        (refreshed, due.into_iter().flatten().min())
    }

    fn evidence(&self, is_elsewhere: bool, context: &RowContext) -> UnitEvidence {
        let machine = self.machine_standing(context);
        let desired_is_newer = match (self.report, machine) {
            (
                ReportStatus::Absent { since, .. },
                MachineStanding::Reporting { since: reporting },
            ) => context.desired.is_known_since(since) && context.desired.is_known_since(reporting),
            _ => false,
        };

        UnitEvidence {
            report: self.report,
            desired: self.desired_placement(context),
            desired_is_newer,
            is_elsewhere,
            machine,
            source: context.source,
            was_lost: self.presence == UnitPresence::Lost || self.is_shown_as_lost(),
            came_back: self.came_back,
        }
    }

    fn desired_placement(&self, context: &RowContext) -> DesiredPlacement {
        let Some(id) = &self.state.machine else {
            return DesiredPlacement::Unknown;
        };
        let machine = context.machines.get_or_unknown(id);

        context.desired.placement(&self.state.unit, &machine, self.appeared)
    }

    fn machine_standing(&self, context: &RowContext) -> MachineStanding {
        self.state
            .machine
            .as_ref()
            .and_then(|id| context.machines.standing(id))
            .unwrap_or(MachineStanding::Reporting { since: self.appeared })
    }

    fn is_shown_as_lost(&self) -> bool {
        self.display.shows(Verdict::MachineLost)
    }

    fn push_events(&self, notice: UnitNotice, machines: &Machines, events: &mut Vec<Event>) {
        let place = self.place(machines);
        let state = self.state.text();

        match notice {
            UnitNotice::Stale => events.push(Event::Stale { place, from: state }),
            UnitNotice::Back => events.push(Event::Back { place, to: state }),
            UnitNotice::Gone(departure) => {
                let reason = departure.reason();
                if self.restarts.is_announced() {
                    events.push(Event::CrashLoopOver {
                        place: place.clone(),
                        to: None,
                        reason: reason.into(),
                    });
                }
                events.push(Event::Gone { place, from: state, reason: reason.into() });
            }
        }
    }

    /// Lets time pass for the crash loop. Returns when it may begin or end. A row that is absent
    /// neither runs nor waits.
    fn advance_crash_loop(
        &mut self,
        desired: DesiredPlacement,
        context: &RowContext,
    ) -> Option<Instant> {
        if self.is_absent() {
            return None;
        }

        let is_only_loaded = context
            .desired
            .get(&self.state.unit)
            .is_some_and(|file| file.desired.as_deref() == Some("loaded"));
        if is_only_loaded || matches!(desired, DesiredPlacement::NotWanted(_)) {
            self.restarts.record_not_wanted();
        }
        self.restarts.advance(context.at)
    }

    /// When a unit that is starting, stopping or reloading will have done so for
    /// [`LONG_START_OR_STOP`].
    fn long_transition_from(&self) -> Option<Instant> {
        let is_in_transition = matches!(
            self.state.active.as_deref(),
            Some("activating" | "deactivating" | "reloading")
        );

        is_in_transition.then(|| self.display.state_since().instant + LONG_START_OR_STOP)
    }

    fn show(
        &mut self,
        evidence: &UnitEvidence,
        moved_to: Option<&str>,
        is_long_start_or_stop: bool,
        context: &RowContext,
    ) -> RefreshedRow {
        let file = context.desired.get(&self.state.unit);
        let target = file
            .and_then(|file| file.target.as_ref())
            .map(|id| context.machines.display_name(id));
        let outlives_machine = self.is_on_lost_machine(context)
            && (!context.source.may_be_outdated() || self.is_shown_as_lost());

        let (verdict, reason) = judge_reported(&ReportedFacts {
            state: &self.state,
            presence: self.presence,
            has_expired: matches!(
                self.report,
                ReportStatus::Absent { absence: Absence::Expired, .. }
            ),
            file: file.map(|file| &**file),
            desired: evidence.desired,
            machine: evidence.machine,
            machine_is_present: self.machine_is_present(context),
            outlives_machine,
            moved_to,
            target,
            restarts: Some(&self.restarts),
            is_long_start_or_stop,
        });

        let stale_since = match self.report {
            ReportStatus::Current => None,
            ReportStatus::Overdue { since } | ReportStatus::Absent { since, .. } => {
                Some(since.wall)
            }
        };
        let row = JudgedRow {
            state: self.shown_state(verdict, context),
            listed: true,
            stale_since,
            file,
            verdict,
            reason,
        };
        self.display.update(row, context)
    }

    /// Whether its machine is known and not missing from the cluster.
    fn machine_is_present(&self, context: &RowContext) -> bool {
        let presence = self
            .state
            .machine
            .as_ref()
            .and_then(|id| context.machines.presence(id));

        !matches!(presence, Some(MachinePresence::Missing { .. }) | None)
    }

    /// The last reported state, with the address of its machine unless the machine is lost.
    fn shown_state(&self, verdict: Verdict, context: &RowContext) -> UnitState {
        let passes_through = context.retention.passes_through();
        let mut state = self.state.clone();

        if verdict == Verdict::MachineLost && !passes_through {
            state.ip = None;
        } else if state.ip.is_none() && (!passes_through || !self.without_address) {
            state.ip = state.machine.as_ref().and_then(|id| context.machines.ip(id)).cloned();
        }
        state
    }

    /// The event that a crash loop has begun or is over, if it is due.
    fn take_loop_event(&mut self, machines: &Machines) -> Option<Event> {
        let is_shown = self.display.shows(Verdict::CrashLoop);
        let notice = self.restarts.take_notice(is_shown)?;
        let place = self.place(machines);
        let to = self.state.text();

        Some(match notice {
            CrashLoopNotice::Begun(reason) => Event::CrashLoop { place, to, reason },
            CrashLoopNotice::Over(reason) => Event::CrashLoopOver { place, to: Some(to), reason },
        })
    }

    fn place(&self, machines: &Machines) -> Place {
        let known_ip = || machines.ip(self.state.machine.as_ref()?).cloned();

        Place {
            unit: self.state.unit.clone(),
            machine: self.state.machine.clone(),
            ip: self.state.ip.clone().or_else(known_ip),
        }
    }
}
