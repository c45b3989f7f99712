//! One row: what was last heard of it, and how it is shown.
//!
//! It gathers the evidence for the next step of its life, and has its verdict made. It knows no
//! other row.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::super::crash_loop::{LoopNews, RestartHistory};
use super::super::desired::{Match, Wanted, matches};
use super::super::machine_life::MachinePresence;
use super::super::machines::Machines;
use super::super::model::{MachineId, Moment, UnitFile, UnitState};
use super::super::observation::{Absence, Report};
use super::super::transition::{Event, Place};
use super::super::unit_life::{
    Evidence, MachineStanding, News, Presence, SourceStanding, Step, step,
};
use super::super::verdict::{Expectation, LASTING, Situation, Verdict, judge, judge_expected};
use super::super::view::Unit;
use super::{Circumstances, Look, Surroundings};

/// How long a unit may be without a report until that is trouble: `fleetctl start` to a running row
/// takes 2.5 to 2.9 s (fleet v1.0.0).
const LAUNCH: Duration = Duration::from_secs(10);
/// How long a machine that has reported nothing yet may take to its first report: a fleetd that was
/// killed is in the list of machines 27 to 51 s before that (fleet v1.0.0).
const FIRST_REPORT: Duration = Duration::from_secs(60);
/// How long fleet may take to choose a machine: 0.2 to 1.2 s.
const SCHEDULE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Row {
    state: UnitState,
    report: Report,
    presence: Presence,
    /// When it was first reported, or expected.
    appeared: Moment,
    /// Since when its state is as it is.
    changed: Moment,
    since_seen: bool,
    /// Whether a list had it without its machine's address, which that list's machines did not
    /// have.
    without_address: bool,
    /// Whether fleet's own list has it.
    listed: bool,
    restarts: Option<Box<RestartHistory>>,
    came_back: Option<Moment>,
    shown: Option<Arc<Unit>>,
}

impl Row {
    pub(crate) fn reported(
        state: UnitState,
        without_address: bool,
        at: Moment,
        since_seen: bool,
    ) -> Self {
        let history = RestartHistory::new(&state, at);
        Self {
            state,
            report: Report::Current,
            presence: Presence::Reported,
            appeared: at,
            changed: at,
            since_seen,
            without_address,
            listed: true,
            restarts: Some(Box::new(history)),
            came_back: None,
            shown: None,
        }
    }

    pub(crate) fn expected(state: UnitState, listed: bool, at: Moment, since_seen: bool) -> Self {
        Self {
            presence: Presence::Expected,
            listed,
            restarts: None,
            ..Self::reported(state, false, at, since_seen)
        }
    }

    /// Whether a machine reports it, or did.
    pub(crate) fn is_placed(&self) -> bool {
        self.presence != Presence::Expected
    }

    /// Whether it is not reported any more.
    pub(crate) fn is_absent(&self) -> bool {
        self.report.is_absent()
    }

    /// Whether it should have been renewed by now.
    pub(crate) fn is_overdue(&self) -> bool {
        matches!(self.report, Report::Overdue { .. })
    }

    pub(crate) fn is_reported_in_time(&self) -> bool {
        self.is_placed() && self.report == Report::Current
    }

    /// Whether that it is reported in a state says nothing new.
    pub(crate) fn is_reported_as(&self, state: &UnitState) -> bool {
        self.report == Report::Current && self.state == *state
    }

    #[cfg(test)]
    pub(crate) fn presence(&self) -> Presence {
        self.presence
    }

    /// When it was first reported, or expected.
    pub(crate) fn appeared(&self) -> Moment {
        self.appeared
    }

    /// What was waited for in vain is not waited for again.
    pub(crate) fn give_up(&mut self, at: Moment) {
        self.appeared = at.before(LAUNCH);
    }

    /// Says whether fleet's own list has it. Returns whether that is new.
    pub(crate) fn list(&mut self, listed: bool) -> bool {
        std::mem::replace(&mut self.listed, listed) != listed
    }

    /// That it is reported for the first time.
    pub(crate) fn appearance(&self, machines: &Machines) -> Event {
        Event::Appeared { place: place(&self.state, machines), to: self.state.text() }
    }

    pub(crate) fn take(
        &mut self,
        state: UnitState,
        without_address: bool,
        at: Moment,
        machines: &Machines,
        events: &mut Vec<Event>,
    ) {
        let before = std::mem::replace(&mut self.state, state);
        self.report = Report::Current;
        self.without_address = without_address;
        if before.is_same_state(&self.state) {
            return;
        }

        self.changed = at;
        self.since_seen = true;
        if let Some(restarts) = &mut self.restarts {
            restarts.note(&self.state, at);
        }
        // That a stale row is back says its state too; and a crash loop is told once, not with each
        // restart.
        let is_restart = self.is_in_told_loop() && !before.has_failed() && !self.state.has_failed();
        if self.presence != Presence::Stale && !is_restart {
            let place = place(&self.state, machines);
            events.push(Event::Changed { place, from: before.text(), to: self.state.text() });
        }
    }

    /// It is not there any more. Returns whether that is new, or says more than before.
    pub(crate) fn vanish(&mut self, absence: Absence, at: Moment) -> bool {
        match &mut self.report {
            Report::Absent { confirmed, absence: known, .. } => {
                let is_new = !*confirmed || (absence == Absence::Expired && *known != absence);
                *confirmed = true;
                if absence == Absence::Expired {
                    *known = absence;
                }
                is_new
            }
            report => {
                // What is overdue is as old as it was when it expires.
                let since = match *report {
                    Report::Overdue { since } if absence == Absence::Expired => {
                        Moment { instant: at.instant, ..since }
                    }
                    _ => at,
                };
                *report = Report::Absent { since, absence, confirmed: false };
                true
            }
        }
    }

    /// It should have been renewed by now. Returns whether that is new.
    pub(crate) fn overdue(&mut self, since: Moment) -> bool {
        let is_new = self.report == Report::Current;

        if is_new {
            self.report = Report::Overdue { since };
        }
        is_new
    }

    /// It was renewed. Returns whether it was overdue.
    pub(crate) fn renewed(&mut self) -> bool {
        let was_overdue = self.is_overdue();

        if was_overdue {
            self.report = Report::Current;
        }
        was_overdue
    }

    /// Whether it is not reported although fleet wants it where it was, as far as that is known,
    /// and its machine is not lost.
    pub(crate) fn is_unexplained(&self, around: &Surroundings) -> bool {
        let Report::Absent { absence, .. } = self.report else {
            return false;
        };
        if self.presence == Presence::Lost
            || matches!(self.standing(around), MachineStanding::Lost { .. })
        {
            return false;
        }

        match self.wanted(around) {
            Wanted::Here { global } => !(global && absence == Absence::Deleted),
            Wanted::Unknown => true,
            _ => false,
        }
    }

    /// Lets it make its step and has its verdict made. `replacement` is the machine that reports
    /// the unit in its place, if one does. Returns when time alone may change it, too.
    pub(crate) fn look(
        &mut self,
        replacement: Option<&MachineId>,
        around: &Surroundings,
        events: &mut Vec<Event>,
    ) -> (Look, Option<Instant>) {
        if !self.is_placed() {
            let (unit, due) = self.show_expected(around);
            return (self.shown_as(unit), due);
        }

        let Circumstances { retention, at, .. } = around.circumstances;
        let evidence = self.evidence(replacement.is_some(), around);
        let Step { presence, news, due } = step(self.presence, &evidence, retention, at);
        self.presence = presence;
        if let Some(news) = news {
            self.tell(news, around.machines, events);
        }
        match news {
            Some(News::Gone(departure)) => return (Look::Gone(departure), None),
            Some(News::Back) => self.came_back = Some(at),
            Some(News::Stale) | None => {}
        }

        let moved_to = replacement
            .filter(|_| !self.is_absent())
            .map(|id| around.machines.name(id));
        let (unit, due_too) = self.show(&evidence, moved_to, around);
        let look = self.shown_as(unit);
        events.extend(self.tell_of_loop(around.machines));
        (look, due.into_iter().chain(due_too).min())
    }

    fn tell(&self, news: News, machines: &Machines, events: &mut Vec<Event>) {
        let place = place(&self.state, machines);
        let state = self.state.text();

        match news {
            News::Stale => events.push(Event::Stale { place, from: state }),
            News::Back => events.push(Event::Back { place, to: state }),
            News::Gone(departure) => {
                let reason = departure.reason();
                if self.is_in_told_loop() {
                    events.push(Event::CrashLoopOver {
                        place: place.clone(),
                        to: None,
                        reason: reason.into(),
                    });
                }
                events.push(Event::Gone { place, from: state, reason });
            }
        }
    }

    fn shown_as(&mut self, unit: Unit) -> Look {
        if self.shown.as_deref() == Some(&unit) {
            return Look::Same;
        }
        Look::Shown(self.shown.insert(Arc::new(unit)).clone())
    }

    fn wanted(&self, around: &Surroundings) -> Wanted {
        let Some(machine) = &self.state.machine else {
            return Wanted::Unknown;
        };
        around
            .desired
            .wants(&self.state.unit, &around.machines.described(machine), self.appeared)
    }

    fn standing(&self, around: &Surroundings) -> MachineStanding {
        let known = self
            .state
            .machine
            .as_ref()
            .and_then(|id| around.machines.standing(id));
        known.unwrap_or(MachineStanding::Speaking { since: self.appeared })
    }

    /// Whether its machine has left, by the newer of two witnesses: the row itself, which fleet
    /// lists without an address when its machine is not in the list of machines, and the machine's
    /// own life.
    pub(crate) fn is_on_lost_machine(&self, around: &Surroundings) -> bool {
        let Some(machine) = &self.state.machine else {
            return false;
        };
        let has_known_address = around.machines.ip(machine).is_some();

        match around.machines.presence(machine) {
            None => self.without_address && !around.machines.is_empty(),
            Some(MachinePresence::Lost { .. }) => true,
            Some(MachinePresence::Missing { .. }) => false,
            Some(_) => self.without_address && has_known_address && !self.report.is_absent(),
        }
    }

    fn was_lost(&self) -> bool {
        self.shown
            .as_ref()
            .is_some_and(|shown| shown.verdict == Verdict::MachineLost)
    }

    fn evidence(&self, is_elsewhere: bool, around: &Surroundings) -> Evidence {
        let machine = self.standing(around);
        Evidence {
            report: self.report,
            wanted: self.wanted(around),
            wanted_is_newer: match (self.report, machine) {
                (Report::Absent { since, .. }, MachineStanding::Speaking { since: speaks }) => {
                    around.desired.is_known_since(since) && around.desired.is_known_since(speaks)
                }
                _ => false,
            },
            is_elsewhere,
            machine,
            source: around.circumstances.source,
            was_lost: self.presence == Presence::Lost || self.was_lost(),
            came_back: self.came_back,
        }
    }

    /// The row as it is shown, and when time alone may change that.
    fn show(
        &mut self,
        evidence: &Evidence,
        moved_to: Option<&str>,
        around: &Surroundings,
    ) -> (Unit, Option<Instant>) {
        let file = around.desired.get(&self.state.unit);
        let is_passed_through = around.circumstances.retention.passes_through();
        let outlives_machine = self.is_on_lost_machine(around)
            && (!around.circumstances.source.is_old() || self.was_lost());
        let target = file
            .and_then(|file| file.target.as_ref())
            .map(|id| around.machines.name(id));
        let presence = self
            .state
            .machine
            .as_ref()
            .and_then(|id| around.machines.presence(id));

        let mut due =
            self.next_of_loop(evidence.wanted, file.map(|file| &**file), around.circumstances.at);
        let is_transitional = matches!(
            self.state.active.as_deref(),
            Some("activating" | "deactivating" | "reloading")
        );
        let lasts_from = self.changed.instant + LASTING;
        let is_lasting = is_transitional && around.circumstances.at.instant >= lasts_from;
        if is_transitional && !is_lasting {
            due = Some(due.map_or(lasts_from, |due| due.min(lasts_from)));
        }

        let (verdict, reason) = judge(&Situation {
            state: &self.state,
            presence: self.presence,
            has_expired: matches!(self.report, Report::Absent { absence: Absence::Expired, .. }),
            file: file.map(|file| &**file),
            wanted: evidence.wanted,
            machine: evidence.machine,
            machine_is_there: !matches!(presence, Some(MachinePresence::Missing { .. }) | None),
            outlives_machine,
            moved_to,
            target,
            restarts: self.restarts.as_deref(),
            is_lasting,
        });
        let mut state = self.state.clone();
        if verdict == Verdict::MachineLost && !is_passed_through {
            state.ip = None;
        } else if state.ip.is_none() && (!is_passed_through || !self.without_address) {
            state.ip = state.machine.as_ref().and_then(|id| around.machines.ip(id)).cloned();
        }
        let stale_since = match self.report {
            Report::Current => None,
            Report::Overdue { since } | Report::Absent { since, .. } => Some(since.wall),
        };
        (self.unit(state, stale_since, file, (verdict, reason), around), due)
    }

    /// Lets time pass for a crash loop. Returns when time alone may change something. What is not
    /// reported does not run long enough, nor wait too long.
    fn next_of_loop(
        &mut self,
        wanted: Wanted,
        file: Option<&UnitFile>,
        at: Moment,
    ) -> Option<Instant> {
        let restarts = self.restarts.as_mut().filter(|_| !self.report.is_absent())?;
        let is_loaded_only = file.is_some_and(|file| file.desired.as_deref() == Some("loaded"));

        if is_loaded_only || matches!(wanted, Wanted::Not(_)) {
            restarts.not_wanted();
        }
        restarts.advance(at)
    }

    fn is_in_told_loop(&self) -> bool {
        self.restarts.as_ref().is_some_and(|restarts| restarts.is_told())
    }

    /// What there is to tell of a crash loop once the row has been shown.
    fn tell_of_loop(&mut self, machines: &Machines) -> Option<Event> {
        let is_shown = self
            .shown
            .as_ref()
            .is_some_and(|shown| shown.verdict == Verdict::CrashLoop);
        let news = self.restarts.as_mut()?.news(is_shown)?;
        let place = place(&self.state, machines);
        let to = self.state.text();

        Some(match news {
            LoopNews::Begun(reason) => Event::CrashLoop { place, to, reason },
            LoopNews::Over(reason) => Event::CrashLoopOver { place, to: Some(to), reason },
        })
    }

    fn show_expected(&mut self, around: &Surroundings) -> (Unit, Option<Instant>) {
        let file = around.desired.get(&self.state.unit);
        // Of another file than before, the wait begins anew.
        if self
            .shown
            .as_ref()
            .is_some_and(|shown| choice(shown.file.as_deref()) != choice(file.map(|it| &**it)))
        {
            self.appeared = around.circumstances.at;
        }
        let place = self
            .state
            .machine
            .as_ref()
            .or_else(|| file.and_then(|file| file.target.as_ref()));
        let is_launched = around.circumstances.at.instant >= self.appeared.instant + LAUNCH;
        let waits = if place.is_none() && file.is_some_and(|file| file.target_known && !file.global)
        {
            SCHEDULE
        } else if is_launched
            && self
                .state
                .machine
                .as_ref()
                .is_some_and(|id| !around.machines.has_spoken(id))
        {
            FIRST_REPORT
        } else {
            LAUNCH
        };
        let is_wanted = file.is_some_and(|file| file.is_wanted());
        let ends = self.appeared.instant + waits;
        let is_open = is_wanted
            && !around.circumstances.retention.passes_through()
            && around.circumstances.at.instant < ends;
        let is_speaking = |id: &MachineId| {
            !matches!(
                around.machines.presence(id),
                Some(MachinePresence::Returned | MachinePresence::Missing { .. })
            )
        };
        // What nobody reports may be what lists lack; that fleet has chosen no machine stands in
        // the unit files.
        let is_doubted = !matches!(around.circumstances.source, SourceStanding::Settled { .. });
        let is_early = is_open
            || (is_doubted && (place.is_some() || file.is_some_and(|file| file.global)))
            || self.state.machine.as_ref().is_some_and(|id| !is_speaking(id));
        let fits_nowhere = |file: &&Arc<UnitFile>| {
            file.global
                && !around.machines.is_empty()
                && around
                    .machines
                    .present()
                    .all(|machine| matches(file, machine) == Match::No)
        };

        let judged = judge_expected(&Expectation {
            file: file.map(|file| &**file),
            machine: place.map(|id| around.machines.name(id)),
            is_early,
            fits_nowhere: file.as_ref().is_some_and(fits_nowhere),
        });
        let mut state = self.state.clone();
        state.ip = state.machine.as_ref().and_then(|id| around.machines.ip(id)).cloned();
        (self.unit(state, None, file, judged, around), is_open.then_some(ends))
    }

    fn unit(
        &self,
        state: UnitState,
        stale_since: Option<SystemTime>,
        file: Option<&Arc<UnitFile>>,
        (verdict, reason): (Verdict, Cow<'static, str>),
        around: &Surroundings,
    ) -> Unit {
        let (verdict_since, verdict_since_seen) = match &self.shown {
            Some(before) if before.verdict == verdict => {
                (before.verdict_since, before.verdict_since_seen)
            }
            Some(_) => (around.circumstances.at.wall, around.circumstances.is_complete),
            None => (self.changed.wall, self.since_seen),
        };
        Unit {
            state,
            listed: self.listed,
            stale_since,
            file: file.cloned(),
            verdict,
            reason,
            verdict_since,
            verdict_since_seen,
            since: self.changed.wall,
            since_seen: self.since_seen,
        }
    }
}

/// What fleet wants of a unit, and where.
fn choice(file: Option<&UnitFile>) -> (Option<&str>, Option<&str>) {
    let desired = file.and_then(|file| file.desired.as_deref());
    (desired, file.and_then(|file| file.target.as_deref()))
}

fn place(state: &UnitState, machines: &Machines) -> Place {
    let known = || machines.ip(state.machine.as_ref()?).cloned();
    Place {
        unit: state.unit.clone(),
        machine: state.machine.clone(),
        ip: state.ip.clone().or_else(known),
    }
}
