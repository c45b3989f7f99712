//! Which verdict a row gets, and the wording of all reasons.

use super::*;
use crate::builders;
use crate::cluster::Moment;
use crate::snapshots::assert_catalogue;

fn file() -> UnitFile {
    UnitFile {
        hash: Some("1234567890".into()),
        ..builders::unit_file("a.service", None)
    }
}

/// A state by its `load/active/sub`.
fn state(text: &str) -> UnitState {
    let mut words = text.split('/').map(Text::from);
    UnitState {
        load: words.next(),
        active: words.next(),
        sub: words.next(),
        ..UnitState::unreported("a.service".into())
    }
}

/// The verdict on a unit on which everything is as fleet wants it, except its state and what
/// `change` changes.
fn judge_state(text: &str, change: impl FnOnce(&mut ReportedFacts)) -> (Verdict, String) {
    judge_state_with(&file(), text, change)
}

fn judge_state_with(
    file: &UnitFile,
    text: &str,
    change: impl FnOnce(&mut ReportedFacts),
) -> (Verdict, String) {
    let state = state(text);
    let mut facts = ReportedFacts {
        state: &state,
        presence: UnitPresence::Reported,
        has_expired: false,
        file: Some(file),
        desired: DesiredPlacement::Here { global: false },
        machine: MachineStanding::Reporting { since: Moment::now() },
        machine_is_present: true,
        outlives_machine: false,
        moved_to: None,
        target: None,
        restarts: None,
        is_long_start_or_stop: false,
    };
    change(&mut facts);

    let (verdict, reason) = judge_reported(&facts);
    (verdict, reason.into_owned())
}

fn expected(file: &UnitFile, change: impl FnOnce(&mut ExpectedFacts)) -> (Verdict, String) {
    let mut facts = ExpectedFacts {
        file: Some(file),
        machine: None,
        machine_is_lost: false,
        is_early: false,
        fits_no_machine: false,
    };
    change(&mut facts);

    let (verdict, reason) = judge_expected(&facts);
    (verdict, reason.into_owned())
}

#[test]
fn a_unit_that_runs_where_fleet_wants_it_is_ok() {
    assert_eq!(judge_state("loaded/active/running", |_| {}).0, Verdict::Ok);
}

#[test]
fn a_masked_unit_that_fleet_wants_launched_has_failed() {
    assert_eq!(judge_state("masked/inactive/dead", |_| {}).0, Verdict::Failed);

    let loaded = UnitFile { desired: Some("loaded".into()), ..file() };
    assert_eq!(judge_state_with(&loaded, "masked/inactive/dead", |_| {}).0, Verdict::Ok);
}

#[test]
fn the_reason_tells_that_a_unit_has_been_starting_stopping_or_reloading_for_long() {
    for state in ["activating/start", "deactivating/stop-sigterm", "reloading/reload"] {
        let (verdict, reason) =
            judge_state(&format!("loaded/{state}"), |it| it.is_long_start_or_stop = true);
        assert!(
            verdict == Verdict::Ok && reason.contains(state) && reason.contains("2 min"),
            "{reason}"
        );
    }
}

#[test]
fn a_unit_that_fleet_wants_on_a_lost_machine_is_there_and_not_nowhere() {
    let verdict = |is_lost| {
        let wanted = expected(&file(), |it| {
            it.machine = Some("10.0.0.2");
            it.machine_is_lost = is_lost;
        });
        wanted.0
    };
    assert_eq!(verdict(false), Verdict::Unreported);
    assert_eq!(verdict(true), Verdict::MachineLost);
}

#[test]
fn an_absent_row_is_stale_whatever_fleet_wants() {
    let machine = "10.0.0.2";

    for (desired, target) in [
        (DesiredPlacement::Here { global: false }, None),
        (DesiredPlacement::Elsewhere, Some(machine)),
        (DesiredPlacement::Unassigned, None),
        (DesiredPlacement::NotWanted(NotWanted::NoFile), None),
        (DesiredPlacement::Unknown, None),
    ] {
        let (verdict, reason) = judge_state("loaded/active/running", |it| {
            it.presence = UnitPresence::Stale;
            it.desired = desired;
            it.target = target;
        });
        assert_eq!(verdict, Verdict::Stale);
        assert_eq!(reason.contains(machine), target.is_some(), "{reason}");
    }
}

#[test]
fn the_reason_of_a_lost_row_tells_whether_its_machine_is_back() {
    let reason = |machine, is_there| {
        let (verdict, reason) = judge_state("loaded/active/running", |it| {
            it.presence = UnitPresence::Lost;
            it.machine = machine;
            it.machine_is_present = is_there;
        });
        assert_eq!(verdict, Verdict::MachineLost);
        reason
    };
    let since = Moment::now();

    let left = reason(MachineStanding::Lost { since }, true);
    assert_eq!(reason(MachineStanding::NotReporting { since }, false), left);
    let back = reason(MachineStanding::NotReporting { since }, true);
    assert_ne!(back, left);
    assert_ne!(reason(MachineStanding::Reporting { since }, true), back);
}

#[test]
fn a_unit_that_outlives_its_machine_is_lost_and_a_ghost_only_while_its_machine_is_present() {
    let ghost = |outlives| {
        judge_state("loaded/active/running", |it| {
            it.desired = DesiredPlacement::NotWanted(NotWanted::NoFile);
            it.outlives_machine = outlives;
        })
    };
    assert_eq!(ghost(false).0, Verdict::Ghost);
    assert_eq!(ghost(true).0, Verdict::MachineLost);
}

#[test]
fn a_unit_that_may_still_be_reported_is_ok() {
    let (verdict, reason) = expected(&file(), |it| {
        it.machine = Some("10.0.0.1");
        it.is_early = true;
    });
    assert_eq!(verdict, Verdict::Ok);
    assert!(reason.contains("10.0.0.1"), "{reason}");
}

#[test]
fn the_reason_of_an_unreported_unit_names_the_machine_by_its_address() {
    let (verdict, reason) = expected(&file(), |it| it.machine = Some("10.0.0.1"));
    assert_eq!(verdict, Verdict::Unreported);
    assert!(reason.contains("10.0.0.1"), "{reason}");
}

#[test]
fn a_unit_without_a_target_is_unscheduled_unless_targets_are_not_known() {
    assert_eq!(expected(&file(), |_| {}).0, Verdict::Unscheduled);
    let without_target = UnitFile { target_known: false, ..file() };
    assert_eq!(expected(&without_target, |_| {}).0, Verdict::Unreported);
}

#[test]
fn a_global_unit_that_fits_no_machine_is_unscheduled_at_once() {
    let requirements = vec!["MachineMetadata=role=gpu".into()];
    let global = UnitFile { global: true, requirements, ..file() };
    let (verdict, reason) = expected(&global, |it| {
        it.fits_no_machine = true;
        it.is_early = true;
    });
    assert_eq!(verdict, Verdict::Unscheduled);
    assert!(reason.contains("MachineMetadata=role=gpu"), "{reason}");
}

#[test]
fn the_reason_of_an_unreported_global_unit_names_the_machine() {
    let global = UnitFile { global: true, ..file() };
    let (verdict, reason) = expected(&global, |it| it.machine = Some("10.0.0.1"));
    assert_eq!(verdict, Verdict::Unreported);
    assert!(reason.contains("10.0.0.1"), "{reason}");
}

#[test]
fn a_unit_that_fleet_does_not_want_is_ok() {
    let submitted = UnitFile { desired: Some("inactive".into()), ..file() };
    assert_eq!(expected(&submitted, |_| {}).0, Verdict::Ok);
}

/// The history of a unit that was restarted often, or, with `once`, of one that has been waiting
/// for its first restart for long.
fn looping(once: bool) -> &'static RestartHistory {
    let start = Moment::now();
    let waiting = state("loaded/activating/auto-restart");
    let mut history = RestartHistory::new(&waiting, start);

    for second in if once { 0..0 } else { 1..3 } {
        history.record_state(
            &state("loaded/active/running"),
            start + Duration::from_secs(20 * second - 10),
        );
        history.record_state(&waiting, start + Duration::from_secs(20 * second));
    }
    history.advance(start + Duration::from_secs(60));
    Box::leak(Box::new(history))
}

#[test]
fn verdicts_have_these_reasons() {
    let since = Moment::now();
    let often = looping(false);
    let once = looping(true);
    let run = "loaded/active/running";
    let absent = |desired, target| {
        judge_state(run, |it| {
            it.presence = UnitPresence::Stale;
            it.desired = desired;
            it.target = target;
        })
    };
    let ghost = |desired, moved_to| {
        judge_state(run, |it| {
            it.desired = desired;
            it.moved_to = moved_to;
        })
    };
    let lost = |machine, is_there| {
        judge_state(run, |it| {
            it.presence = UnitPresence::Lost;
            it.machine = machine;
            it.machine_is_present = is_there;
        })
    };
    let waiting = MachineStanding::NotReporting { since };
    let here = DesiredPlacement::Here { global: false };
    let reported = [
        ("as fleet wants it", judge_state(run, |_| {})),
        ("launched and inactive", judge_state("loaded/inactive/dead", |_| {})),
        (
            "starting for long",
            judge_state("loaded/activating/start", |it| it.is_long_start_or_stop = true),
        ),
        ("failed", judge_state("loaded/failed/failed", |_| {})),
        ("failed, with another sub state", judge_state("loaded/failed/exited", |_| {})),
        ("not loaded", judge_state("not-found/inactive/dead", |_| {})),
        ("masked, and wanted", judge_state("masked/inactive/dead", |_| {})),
        ("restarted often", judge_state(run, |it| it.restarts = Some(often))),
        (
            "only ever seen waiting for a restart",
            judge_state(run, |it| it.restarts = Some(once)),
        ),
        ("overdue", judge_state(run, |it| it.presence = UnitPresence::Overdue)),
        ("no unit file", ghost(DesiredPlacement::NotWanted(NotWanted::NoFile), None)),
        ("unloaded", ghost(DesiredPlacement::NotWanted(NotWanted::Unloaded), None)),
        (
            "moved, and reported there",
            ghost(DesiredPlacement::Elsewhere, Some("10.0.0.2")),
        ),
        ("moved", ghost(DesiredPlacement::Unassigned, None)),
        (
            "reported of a machine that has left",
            judge_state(run, |it| it.outlives_machine = true),
        ),
        ("missing, and wanted", absent(here, None)),
        ("missing, and moved", absent(DesiredPlacement::Elsewhere, Some("10.0.0.2"))),
        (
            "missing, and wanted on no machine yet",
            absent(DesiredPlacement::Unassigned, None),
        ),
        (
            "missing, and not wanted",
            absent(DesiredPlacement::NotWanted(NotWanted::NoFile), None),
        ),
        ("lost", lost(MachineStanding::Lost { since }, false)),
        ("lost, and its machine is back", lost(waiting, true)),
        (
            "lost, and its machine reports others",
            lost(MachineStanding::Reporting { since }, true),
        ),
    ];
    let mut reasons = Vec::from(reported);
    reasons.push(("missing, with all of its machine", {
        judge_state(run, |it| {
            it.presence = UnitPresence::Absent;
            it.machine = waiting;
        })
    }));
    reasons.push(("expired", {
        judge_state(run, |it| {
            it.presence = UnitPresence::Stale;
            it.has_expired = true;
        })
    }));
    let other: &UnitState =
        Box::leak(Box::new(UnitState { hash: Some("abcdef1234".into()), ..state(run) }));
    reasons.push(("another version of the unit file", judge_state(run, |it| it.state = other)));

    let machine = Some("10.0.0.1");
    let global = || UnitFile { global: true, ..file() };
    let with_requirements = UnitFile {
        requirements: vec!["MachineMetadata=role=gpu".into()],
        ..global()
    };
    let with_desired =
        |desired: Option<&str>| UnitFile { desired: desired.map(Into::into), ..file() };
    reasons.extend([
        ("no machine, no unit file", expected(&file(), |it| it.file = None)),
        (
            "no machine, and the desired state is not known",
            expected(&with_desired(None), |_| {}),
        ),
        ("submitted", expected(&with_desired(Some("inactive")), |_| {})),
        ("no machine chosen", expected(&file(), |_| {})),
        (
            "chosen machines are not known",
            expected(&UnitFile { target_known: false, ..file() }, |_| {}),
        ),
        (
            "not reported by the chosen machine",
            expected(&file(), |it| it.machine = machine),
        ),
        ("global, reported by no machine", expected(&global(), |_| {})),
        (
            "global, not reported by one machine",
            expected(&global(), |it| it.machine = machine),
        ),
        (
            "global, and fits no machine",
            expected(&with_requirements, |it| it.fits_no_machine = true),
        ),
        ("not reported yet", {
            expected(&file(), |it| {
                it.machine = machine;
                it.is_early = true;
            })
        }),
    ]);
    let reasons = reasons
        .into_iter()
        .map(|(given, (verdict, reason))| (format!("{given}: {verdict}"), reason));
    assert_catalogue("verdict-reasons", reasons);
}
