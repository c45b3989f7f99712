//! Each transition of a row, and when it must not be made.

use super::*;
use crate::snapshots::assert_catalogue;

const GRACE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);

/// A row that is absent from the start, on a trusted source and a reporting machine, where fleet
/// wants it. For an hour before that, it was reported.
struct UnitScenario {
    start: Moment,
    presence: UnitPresence,
    evidence: UnitEvidence,
    due: Option<Instant>,
}

impl UnitScenario {
    fn absent(absence: Absence) -> Self {
        let start = Moment::now();
        let evidence = UnitEvidence {
            report: ReportStatus::Absent { since: start, absence, confirmed: true },
            desired: DesiredPlacement::Here { global: false },
            desired_is_newer: true,
            is_elsewhere: false,
            machine: MachineStanding::Reporting { since: start.before(HOUR) },
            source: SourceStanding::Trusted { since: start.before(HOUR) },
            was_lost: false,
            came_back: None,
        };

        Self { start, presence: UnitPresence::Reported, evidence, due: None }
    }

    /// The same with other evidence. `change` also gets the start.
    fn with(mut self, change: impl FnOnce(&mut UnitEvidence, Moment)) -> Self {
        change(&mut self.evidence, self.start);
        self
    }

    fn step_at(&mut self, second: f64) -> Option<UnitNotice> {
        let evidence = UnitEvidence {
            was_lost: self.presence == UnitPresence::Lost || self.evidence.was_lost,
            ..self.evidence
        };
        let now = self.start + Duration::from_secs_f64(second);
        let step = step(self.presence, &evidence, Retention::from(GRACE), now);

        self.presence = step.presence;
        self.due = step.due;
        step.notice
    }

    /// Makes every step that is due, and returns the notices, each with its second.
    fn run(mut self) -> Vec<(f64, UnitNotice)> {
        let mut notices = Vec::new();
        let mut second = 0.0;

        loop {
            notices.extend(self.step_at(second).map(|notice| (second, notice)));

            match self.due.filter(|_| !matches!(self.presence, UnitPresence::Gone(_))) {
                Some(due) => second = due.duration_since(self.start.instant).as_secs_f64(),
                None => return notices,
            }
        }
    }
}

fn gone(departure: Departure) -> UnitNotice {
    UnitNotice::Gone(departure)
}

#[test]
fn a_wanted_row_that_lists_do_not_contain_is_stale_at_once_and_gone_after_the_grace() {
    let notices = UnitScenario::absent(Absence::Unlisted).run();
    assert_eq!(notices, [(0.0, UnitNotice::Stale), (30.0, gone(Departure::GraceOver))]);
}

#[test]
fn a_row_that_only_one_list_does_not_contain_is_no_event() {
    let mut unit = UnitScenario::absent(Absence::Unlisted).with(|it, start| {
        it.report =
            ReportStatus::Absent { since: start, absence: Absence::Unlisted, confirmed: false }
    });
    assert_eq!(unit.step_at(0.0), None);
    assert_eq!(unit.presence, UnitPresence::Absent);
}

#[test]
fn a_row_that_was_deleted_or_has_expired_is_stale_once_a_restart_would_be_over() {
    for absence in [Absence::Deleted, Absence::Expired] {
        let notices = UnitScenario::absent(absence).run();
        assert_eq!(
            notices,
            [(3.0, UnitNotice::Stale), (30.0, gone(Departure::GraceOver))],
            "{absence:?}"
        );
    }
}

#[test]
fn a_deleted_row_that_fleet_does_not_want_there_is_gone_unless_it_is_set_again() {
    for (desired, departure) in [
        (
            DesiredPlacement::NotWanted(NotWanted::NoFile),
            Departure::NotWanted(NotWanted::NoFile),
        ),
        (DesiredPlacement::Unassigned, Departure::TakenAway),
        (DesiredPlacement::Elsewhere, Departure::TakenAway),
    ] {
        let notices = UnitScenario::absent(Absence::Deleted)
            .with(|it, _| it.desired = desired)
            .run();
        assert_eq!(notices, [(0.5, gone(departure))]);
    }
}

#[test]
fn an_expired_row_is_not_gone_because_its_target_was_removed() {
    for desired in [DesiredPlacement::Unassigned, DesiredPlacement::Elsewhere] {
        let notices = UnitScenario::absent(Absence::Expired)
            .with(|it, _| it.desired = desired)
            .run();
        assert_eq!(notices, [(30.0, gone(Departure::GraceOver))]);
    }
}

#[test]
fn a_row_that_is_not_listed_is_gone_once_newer_unit_files_do_not_want_it_there() {
    let mut unit = UnitScenario::absent(Absence::Unlisted).with(|it, _| {
        it.desired = DesiredPlacement::Unassigned;
        it.desired_is_newer = false;
    });
    assert_eq!(unit.step_at(0.0), None);
    unit.evidence.desired_is_newer = true;
    assert_eq!(unit.step_at(1.0), Some(gone(Departure::TakenAway)));
}

#[test]
fn a_row_that_is_missing_with_all_others_of_its_machine_is_kept() {
    let notices = UnitScenario::absent(Absence::Unlisted)
        .with(|it, start| {
            it.desired = DesiredPlacement::Unassigned;
            it.machine = MachineStanding::NotReporting { since: start };
        })
        .run();
    assert_eq!(notices, [(3600.0, gone(Departure::SilentTooLong))]);
}

#[test]
fn a_unit_that_another_machine_reports_is_gone_here() {
    for absence in [Absence::Unlisted, Absence::Expired] {
        let notices = UnitScenario::absent(absence)
            .with(|it, _| it.is_elsewhere = true)
            .run();
        assert_eq!(notices, [(0.0, gone(Departure::Moved { from_lost_machine: false }))]);
    }
}

#[test]
fn right_after_an_outage_lists_remove_no_row_and_cause_no_event() {
    for source in [SourceStanding::Recovering, SourceStanding::Failing] {
        for (desired, is_elsewhere) in [
            (DesiredPlacement::Here { global: false }, false),
            (DesiredPlacement::Unassigned, false),
            (DesiredPlacement::Elsewhere, true),
        ] {
            let mut unit = UnitScenario::absent(Absence::Unlisted).with(|it, _| {
                it.source = source;
                it.desired = desired;
                it.is_elsewhere = is_elsewhere;
            });
            assert_eq!(unit.step_at(7200.0), None);
            assert_eq!((unit.presence, unit.due), (UnitPresence::Absent, None));
        }
    }
}

#[test]
fn while_the_source_is_suspect_there_is_no_event_and_the_grace_does_not_run() {
    let mut unit =
        UnitScenario::absent(Absence::Unlisted).with(|it, _| it.source = SourceStanding::Suspect);
    assert_eq!(unit.step_at(7200.0), None);
    assert_eq!((unit.presence, unit.due), (UnitPresence::Absent, None));
}

#[test]
fn the_grace_restarts_when_the_source_is_trusted_and_when_the_machine_reports_again() {
    let notices = UnitScenario::absent(Absence::Expired)
        .with(|it, start| {
            it.source = SourceStanding::Trusted { since: start + Duration::from_secs(100) }
        })
        .run();
    assert_eq!(notices.last(), Some(&(130.0, gone(Departure::GraceOver))));

    let notices = UnitScenario::absent(Absence::Expired)
        .with(|it, start| {
            it.machine = MachineStanding::Reporting { since: start + Duration::from_secs(100) }
        })
        .run();
    assert_eq!(notices.last(), Some(&(130.0, gone(Departure::GraceOver))));
}

#[test]
fn the_rows_of_a_lost_machine_are_kept_for_the_keep_time_and_then_gone() {
    let notices = UnitScenario::absent(Absence::Expired)
        .with(|it, start| it.machine = MachineStanding::Lost { since: start })
        .run();
    assert_eq!(notices, [(3600.0, gone(Departure::KeepTimeOver))]);
}

#[test]
fn a_lost_row_does_not_become_stale() {
    let mut unit = UnitScenario::absent(Absence::Expired)
        .with(|it, start| it.machine = MachineStanding::Lost { since: start });

    unit.step_at(0.0);
    unit.evidence.machine =
        MachineStanding::Reporting { since: unit.start + Duration::from_secs(40) };
    assert_eq!(unit.step_at(69.0), None);
    assert_eq!(unit.presence, UnitPresence::Lost);
    assert_eq!(
        unit.step_at(70.0),
        Some(gone(Departure::GraceOver)),
        "the grace runs from when its machine reported others"
    );
}

#[test]
fn a_stale_row_is_lost_with_its_machine() {
    let mut unit = UnitScenario::absent(Absence::Expired);
    assert_eq!(unit.step_at(3.0), None);
    assert_eq!(unit.step_at(3.0), Some(UnitNotice::Stale));
    unit.evidence.machine = MachineStanding::Lost { since: unit.start };
    assert_eq!(unit.step_at(10.0), None);
    assert_eq!(unit.presence, UnitPresence::Lost);
}

#[test]
fn only_a_stale_row_is_back() {
    for (presence, notice) in [
        (UnitPresence::Stale, Some(UnitNotice::Back)),
        (UnitPresence::Absent, None),
        (UnitPresence::Lost, None),
    ] {
        let mut unit =
            UnitScenario::absent(Absence::Unlisted).with(|it, _| it.report = ReportStatus::Current);
        unit.presence = presence;
        assert_eq!(unit.step_at(5.0), notice);
        assert_eq!(unit.presence, UnitPresence::Reported);
    }
}

#[test]
fn a_flapping_row_is_an_event_again_only_if_it_is_absent_for_the_grace() {
    let notices = UnitScenario::absent(Absence::Unlisted)
        .with(|it, start| it.came_back = Some(start.before(Duration::from_secs(59))))
        .run();
    assert_eq!(notices, [(30.0, gone(Departure::GraceOver))], "it is not stale before");

    let notices = UnitScenario::absent(Absence::Unlisted)
        .with(|it, start| it.came_back = Some(start.before(Duration::from_secs(60))))
        .run();
    assert_eq!(notices[0], (0.0, UnitNotice::Stale), "after a minute it is stale as usual");
}

#[test]
fn a_deleted_state_of_a_global_unit_is_not_stale() {
    // A fleetd that stops a global unit deletes the states of all machines.
    let notices = UnitScenario::absent(Absence::Deleted)
        .with(|it, _| it.desired = DesiredPlacement::Here { global: true })
        .run();
    assert_eq!(notices, [(30.0, gone(Departure::GraceOver))]);
}

#[test]
fn without_a_grace_a_row_that_is_not_listed_is_gone() {
    let unit = UnitScenario::absent(Absence::Unlisted);
    let step = step(
        UnitPresence::Reported,
        &unit.evidence,
        Retention::from(Duration::ZERO),
        unit.start,
    );
    assert_eq!(step.presence, UnitPresence::Gone(Departure::NotListed));
}

#[test]
fn right_after_an_outage_no_row_is_overdue() {
    for (source, presence) in [
        (SourceStanding::Recovering, UnitPresence::Reported),
        (SourceStanding::Trusted { since: Moment::now() }, UnitPresence::Overdue),
    ] {
        let mut unit = UnitScenario::absent(Absence::Expired).with(|it, start| {
            it.report = ReportStatus::Overdue { since: start };
            it.source = source;
        });
        assert_eq!(unit.step_at(1.0), None);
        assert_eq!(unit.presence, presence);
    }
}

#[test]
fn departures_have_these_reasons() {
    let departures = [
        Departure::NotWanted(NotWanted::NoFile),
        Departure::NotWanted(NotWanted::Unloaded),
        Departure::Moved { from_lost_machine: false },
        Departure::Moved { from_lost_machine: true },
        Departure::TakenAway,
        Departure::GraceOver,
        Departure::KeepTimeOver,
        Departure::NotListed,
    ];

    let reasons = departures.map(|departure| (format!("{departure:?}"), departure.reason()));
    assert_catalogue("departures", reasons);
}
