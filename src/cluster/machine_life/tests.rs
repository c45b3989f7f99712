//! Each transition of a machine, and when it must not be made.

use super::*;

/// A machine with two rows, both reported, in a cluster with other machines and a trusted source.
struct MachineScenario {
    start: Moment,
    presence: MachinePresence,
    evidence: MachineEvidence,
}

impl MachineScenario {
    fn new() -> Self {
        let evidence = MachineEvidence {
            report: ReportStatus::Current,
            rows: 2,
            mute_since: None,
            source_has_recovered: true,
            suspect: false,
            has_company: true,
        };

        Self {
            start: Moment::now(),
            presence: MachinePresence::Present,
            evidence,
        }
    }

    /// The machine is absent from the start.
    fn absent(absence: Absence) -> Self {
        let mut machine = Self::new();
        machine.evidence.report =
            ReportStatus::Absent { since: machine.start, absence, confirmed: false };
        machine
    }

    /// None of its rows is reported from the start.
    fn mute() -> Self {
        let mut machine = Self::new();
        machine.evidence.mute_since = Some(machine.start);
        machine
    }

    fn step_at(&mut self, second: u64) -> Option<MachineNotice> {
        let now = self.start + Duration::from_secs(second);
        let (presence, notice) = step(self.presence, &self.evidence, now);

        self.presence = presence;
        notice
    }
}

#[test]
fn a_machine_that_expired_or_is_not_listed_is_lost_at_once() {
    for absence in [Absence::Expired, Absence::Unlisted] {
        let mut machine = MachineScenario::absent(absence);
        assert_eq!(machine.step_at(0), Some(MachineNotice::Lost));
        assert_eq!(machine.step_at(1), None, "one notice only");
    }
}

#[test]
fn a_machine_whose_key_was_deleted_may_be_restarting() {
    let mut machine = MachineScenario::absent(Absence::Deleted);
    assert_eq!(machine.step_at(2), None);
    assert_eq!(machine.presence, MachinePresence::Missing { since: machine.start });

    machine.evidence.report = ReportStatus::Current;
    assert_eq!(machine.step_at(2), None);
    assert_eq!(machine.presence, MachinePresence::Present);

    machine = MachineScenario::absent(Absence::Deleted);
    assert_eq!(machine.step_at(3), Some(MachineNotice::Lost));
}

#[test]
fn no_machine_is_lost_right_after_an_outage_or_while_all_are_absent() {
    let mut machine = MachineScenario::absent(Absence::Expired);
    machine.evidence.source_has_recovered = false;
    assert_eq!(machine.step_at(0), None);

    let mut machine = MachineScenario::absent(Absence::Expired);
    machine.evidence.has_company = false;
    assert_eq!(machine.step_at(0), None);
}

#[test]
fn a_machine_whose_key_is_overdue_is_silent_until_it_is_renewed() {
    let mut machine = MachineScenario::new();
    machine.evidence.report = ReportStatus::Overdue { since: machine.start };
    assert_eq!(machine.step_at(20), Some(MachineNotice::Silent));
    assert_eq!(machine.step_at(21), None, "one notice only");

    machine.evidence.report = ReportStatus::Current;
    assert_eq!(machine.step_at(22), Some(MachineNotice::Heard));
}

#[test]
fn a_machine_that_reports_none_of_its_rows_is_silent_once_a_restart_would_be_over() {
    let mut machine = MachineScenario::mute();
    assert_eq!(machine.step_at(2), None);
    assert_eq!(machine.step_at(3), Some(MachineNotice::Silent));

    machine.evidence.mute_since = None;
    assert_eq!(machine.step_at(4), Some(MachineNotice::Heard));
}

#[test]
fn a_machine_is_not_silent_because_its_only_row_is_not_reported() {
    let mut machine = MachineScenario::mute();
    machine.evidence.rows = 1;
    assert_eq!(machine.step_at(3600), None);
}

#[test]
fn no_machine_becomes_silent_while_the_source_is_not_trusted() {
    for (source_has_recovered, suspect) in [(false, false), (true, true)] {
        let mut machine = MachineScenario::mute();
        machine.evidence.source_has_recovered = source_has_recovered;
        machine.evidence.suspect = suspect;
        assert_eq!(machine.step_at(3600), None);
    }
}

#[test]
fn a_silent_machine_stays_silent_while_the_source_is_trusted_less() {
    let mut machine = MachineScenario::mute();
    machine.step_at(3);
    machine.evidence.source_has_recovered = false;
    assert_eq!(machine.step_at(4), None);
    assert_eq!(machine.presence, MachinePresence::Silent { since: machine.start });
}

#[test]
fn a_machine_that_rejoins_is_returned_until_it_reports_one_of_its_rows() {
    let mut machine = MachineScenario::absent(Absence::Expired);
    machine.step_at(0);
    machine.evidence.report = ReportStatus::Current;
    machine.evidence.mute_since = Some(machine.start);
    assert_eq!(machine.step_at(40), Some(MachineNotice::Joined));
    assert_eq!(machine.presence, MachinePresence::Returned);
    assert_eq!(machine.step_at(80), None, "it is not silent meanwhile");

    machine.evidence.mute_since = None;
    assert_eq!(machine.step_at(81), None);
    assert_eq!(machine.presence, MachinePresence::Present);
}

#[test]
fn a_machine_that_rejoins_with_a_reported_row_or_without_known_rows_is_present() {
    let mut machine = MachineScenario::absent(Absence::Expired);
    machine.step_at(0);
    machine.evidence.report = ReportStatus::Current;
    assert_eq!(machine.step_at(40), Some(MachineNotice::Joined));
    assert_eq!(machine.presence, MachinePresence::Present);
}

#[test]
fn a_returned_machine_that_crashes_again_is_lost_again() {
    let mut machine = MachineScenario::mute();
    machine.presence = MachinePresence::Returned;
    machine.evidence.report = ReportStatus::Absent {
        since: machine.start,
        absence: Absence::Expired,
        confirmed: false,
    };
    assert_eq!(machine.step_at(0), Some(MachineNotice::Lost));
}
