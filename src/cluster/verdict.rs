//! The verdict on a row, and the reason for it, as pure functions of what is known.
//!
//! fleet's lists lack rows that are there and have rows that are not (measured for v1.0.0 and
//! v0.11.8): a restart of fleetd takes away the rows of global units on all machines for up to 19
//! s, the first answers after an outage of etcd are short for 10 to 30 s, and the row of a
//! destroyed unit lives on as `active/running` for seconds to minutes. It knows nothing of how a
//! row came to be as it is.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::crash_loop::RestartHistory;
use super::desired::{NotWanted, Wanted};
use super::model::{Text, UnitFile, UnitState};
use super::transition::Seconds;
use super::unit_life::{MachineStanding, Presence};

/// The judgement over one unit on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// systemd says that it failed, or cannot load it.
    Failed,
    /// It fails, is started again, and fails again.
    CrashLoop,
    /// It is on a machine that is not in the cluster any more.
    MachineLost,
    /// fleet wants it and has chosen a machine, but no machine reports it.
    Unreported,
    /// fleet wants it, but no machine takes it.
    Unscheduled,
    /// A machine reports it, but its unit file is gone.
    Ghost,
    /// fleet wants it and reported it before, but does not now.
    Stale,
    /// The machine runs another version of the unit file than fleet has.
    Outdated,
    /// All is as fleet wants it.
    Ok,
}

impl Verdict {
    /// All verdicts, the worst first.
    pub const ALL: [Verdict; 9] = [
        Verdict::Failed,
        Verdict::CrashLoop,
        Verdict::MachineLost,
        Verdict::Unreported,
        Verdict::Unscheduled,
        Verdict::Ghost,
        Verdict::Stale,
        Verdict::Outdated,
        Verdict::Ok,
    ];

    /// The name in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Failed => "failed",
            Verdict::CrashLoop => "crash_loop",
            Verdict::MachineLost => "machine_lost",
            Verdict::Unreported => "unreported",
            Verdict::Unscheduled => "unscheduled",
            Verdict::Ghost => "ghost",
            Verdict::Stale => "stale",
            Verdict::Outdated => "outdated",
            Verdict::Ok => "ok",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::CrashLoop => "crash loop",
            Verdict::MachineLost => "machine lost",
            other => other.name(),
        })
    }
}

/// How long a unit may take to start, stop or reload before its reason says that it does.
pub(crate) const LASTING: Duration = Duration::from_secs(120);

type Reason = Cow<'static, str>;

/// What is known of a row that has been reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    /// What its machine reported last.
    pub(crate) state: &'a UnitState,
    pub(crate) presence: Presence,
    /// Whether it expired, if it is not reported.
    pub(crate) has_expired: bool,
    pub(crate) file: Option<&'a UnitFile>,
    pub(crate) wanted: Wanted,
    /// Its machine.
    pub(crate) machine: MachineStanding,
    /// Whether its machine is in the cluster, as far as it is known.
    pub(crate) machine_is_there: bool,
    /// Whether it is reported although its machine has left.
    pub(crate) outlives_machine: bool,
    /// The machine that reports it in its place, as people name it.
    pub(crate) moved_to: Option<&'a str>,
    /// The machine that fleet has chosen, as people name it.
    pub(crate) target: Option<&'a str>,
    pub(crate) restarts: Option<&'a RestartHistory>,
    /// Whether it has been starting, stopping or reloading for longer than [`LASTING`].
    pub(crate) is_lasting: bool,
}

/// The verdict on a row that has been reported.
pub(crate) fn judge(situation: &Situation) -> (Verdict, Reason) {
    match situation.presence {
        Presence::Lost => (Verdict::MachineLost, lost(situation)),
        Presence::Absent | Presence::Stale => (Verdict::Stale, stale(situation)),
        _ => reported(situation),
    }
}

fn lost(situation: &Situation) -> Reason {
    match situation.machine {
        MachineStanding::Lost { .. } => "Its machine has left the cluster; this is its last known state.",
        MachineStanding::Waiting { .. } if !situation.machine_is_there => {
            "Its machine has left the cluster; this is its last known state."
        }
        MachineStanding::Waiting { .. } => {
            "Its machine is back in the cluster and has not reported any unit yet; this is its last known state."
        }
        MachineStanding::Speaking { .. } => {
            "Its machine is back in the cluster and has not reported this unit yet; this is its last known state."
        }
    }
    .into()
}

fn stale(situation: &Situation) -> Reason {
    const LAST: &str = "this is its last known state";

    if let MachineStanding::Waiting { .. } = situation.machine {
        return format!("Its machine reports none of its units at the moment; {LAST}.").into();
    }
    match (situation.wanted, situation.target) {
        (Wanted::Elsewhere, Some(target)) => {
            format!("It is not reported any more; fleet wants it on {target}; {LAST}.")
        }
        (Wanted::Elsewhere | Wanted::Nowhere, _) => {
            format!("It is not reported any more, and fleet has chosen no machine for it; {LAST}.")
        }
        (Wanted::Not(_), _) => {
            format!("It is not reported any more, and fleet does not want it; {LAST}.")
        }
        (Wanted::Here { .. } | Wanted::Unknown, _) if situation.has_expired => {
            format!("fleet wants it, but its machine has let it expire; {LAST}.")
        }
        (Wanted::Here { .. } | Wanted::Unknown, _) => {
            format!("fleet wants it but does not report it at the moment; {LAST}.")
        }
    }
    .into()
}

fn reported(situation: &Situation) -> (Verdict, Reason) {
    let state = situation.state;
    let active = state.active.as_deref().unwrap_or("-");
    let sub = state.sub.as_deref().unwrap_or("-");

    if let Some(reason) = ghost(situation, active, sub) {
        return (
            if situation.outlives_machine {
                Verdict::MachineLost
            } else {
                Verdict::Ghost
            },
            reason,
        );
    }
    if active == "failed" {
        let reason = if sub == "failed" {
            String::new()
        } else {
            format!(": {sub}")
        };
        return (Verdict::Failed, format!("systemd says that it failed{reason}.").into());
    }
    if let Some(times) = situation.restarts.and_then(RestartHistory::loop_in_words) {
        return (
            Verdict::CrashLoop,
            format!("It fails and is started again, over and over: {times}.").into(),
        );
    }
    match state.load.as_deref() {
        Some(load @ ("bad-setting" | "error" | "not-found")) => {
            return (Verdict::Failed, format!("systemd cannot load its unit file: {load}.").into());
        }
        Some("masked")
            if situation
                .file
                .is_some_and(|file| file.desired.as_deref() == Some("launched")) =>
        {
            let reason = "It is masked on its machine, so systemd does not start it, though fleet wants it launched.";
            return (Verdict::Failed, reason.into());
        }
        _ => {}
    }
    if situation.presence == Presence::Overdue {
        let reason =
            "Its machine should have reported it again by now, and it expires soon unless it does.";
        return (Verdict::Stale, reason.into());
    }
    let file_hash = situation.file.and_then(|file| file.hash.as_ref());
    if let (Some(here), Some(fleets)) = (&state.hash, file_hash)
        && here != fleets
    {
        let reason = format!(
            "The machine runs version {} of its unit file, fleet has {}.",
            short(here),
            short(fleets)
        );
        return (Verdict::Outdated, reason.into());
    }

    if situation.is_lasting {
        let time = Seconds(LASTING);
        return (Verdict::Ok, format!("It has been {active}/{sub} for more than {time}.").into());
    }
    let launched = situation
        .file
        .is_some_and(|file| file.desired.as_deref() == Some("launched"));
    let reason = if launched && active == "inactive" {
        "It is loaded but not running: it has finished, or was stopped on its machine."
    } else {
        "It is as fleet wants it."
    };
    (Verdict::Ok, reason.into())
}

/// Why a reported row should not be there, if it should not. That its machine has left comes after
/// what fleet wants.
fn ghost(situation: &Situation, active: &str, sub: &str) -> Option<Reason> {
    let reason = match situation.wanted {
        Wanted::Not(NotWanted::NoFile) if !situation.outlives_machine => {
            format!("Its unit file is gone, though its machine still reports it as {active}/{sub}.")
        }
        Wanted::Not(NotWanted::Unloaded) if !situation.outlives_machine => {
            format!("fleet has unloaded it, though its machine still reports it as {active}/{sub}.")
        }
        _ if situation.outlives_machine => {
            format!("Its machine has left the cluster; fleet still lists it as {active}/{sub}.")
        }
        Wanted::Elsewhere | Wanted::Nowhere => match situation.moved_to {
            Some(machine) => {
                format!("fleet has moved it to {machine}; this machine still reports it.")
            }
            None => "fleet has taken it away from this machine, which still reports it.".to_owned(),
        },
        _ => return None,
    };
    Some(reason.into())
}

/// What is known of a unit that fleet may want somewhere and no machine reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expectation<'a> {
    pub(crate) file: Option<&'a UnitFile>,
    /// The machine that it is expected on, or that fleet has chosen, as people name it.
    pub(crate) machine: Option<&'a str>,
    /// Whether fleet wants it for so short a time that nothing need be reported yet, or it is not
    /// known whether it is.
    pub(crate) is_early: bool,
    /// Whether it is global, and no machine of the cluster meets what it requires.
    pub(crate) fits_nowhere: bool,
}

/// The verdict on a unit that no machine reports.
pub(crate) fn judge_expected(expectation: &Expectation) -> (Verdict, Reason) {
    let Some(file) = expectation.file else {
        return (Verdict::Ok, "No machine reports it.".into());
    };
    let desired = match file.desired.as_deref() {
        None => {
            return (
                Verdict::Ok,
                "No machine reports it, and this fleet does not say what it wants.".into(),
            );
        }
        Some("inactive") => {
            return (Verdict::Ok, "It is only submitted: fleet does not want it anywhere.".into());
        }
        Some(desired) => desired,
    };
    let asks = match &*file.requirements {
        [] => String::new(),
        requirements => format!("; it asks for {}", requirements.join(", ")),
    };

    if expectation.fits_nowhere {
        let reason =
            format!("It is global and wanted {desired}, but no machine of the cluster fits{asks}.");
        return (Verdict::Unscheduled, reason.into());
    }
    let (verdict, reason) = match expectation.machine {
        Some(machine) if file.global => (
            Verdict::Unreported,
            format!("It is global and wanted {desired}, but {machine} does not report it{asks}."),
        ),
        Some(machine) => (
            Verdict::Unreported,
            format!("fleet wants it {desired} on {machine}, which does not report it."),
        ),
        None if file.global => (
            Verdict::Unreported,
            format!("It is global and wanted {desired}, but no machine reports it{asks}."),
        ),
        None if !file.target_known => (
            Verdict::Unreported,
            format!("fleet wants it {desired}, but no machine reports it."),
        ),
        None => (
            Verdict::Unscheduled,
            format!("fleet wants it {desired}, but no machine takes it{asks}."),
        ),
    };
    if expectation.is_early {
        let place = expectation
            .machine
            .map(|machine| format!(" on {machine}"))
            .unwrap_or_default();
        return (
            Verdict::Ok,
            format!("fleet wants it {desired}{place}; it has not been reported yet.").into(),
        );
    }
    (verdict, reason.into())
}

/// A hash as fleetctl shortens it.
fn short(hash: &Text) -> &str {
    hash.get(..7).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
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

    /// As `load/active/sub`.
    fn state(text: &str) -> UnitState {
        let mut words = text.split('/').map(Text::from);
        UnitState {
            load: words.next(),
            active: words.next(),
            sub: words.next(),
            ..UnitState::unreported("a.service".into())
        }
    }

    /// The verdict on a unit that is as it should be but for its state and what a test changes.
    fn judged(text: &str, change: impl FnOnce(&mut Situation)) -> (Verdict, String) {
        judged_with(&file(), text, change)
    }

    fn judged_with(
        file: &UnitFile,
        text: &str,
        change: impl FnOnce(&mut Situation),
    ) -> (Verdict, String) {
        let state = state(text);
        let mut situation = Situation {
            state: &state,
            presence: Presence::Reported,
            has_expired: false,
            file: Some(file),
            wanted: Wanted::Here { global: false },
            machine: MachineStanding::Speaking { since: Moment::now() },
            machine_is_there: true,
            outlives_machine: false,
            moved_to: None,
            target: None,
            restarts: None,
            is_lasting: false,
        };
        change(&mut situation);
        let (verdict, reason) = judge(&situation);
        (verdict, reason.into_owned())
    }

    fn expected(file: &UnitFile, change: impl FnOnce(&mut Expectation)) -> (Verdict, String) {
        let mut expectation = Expectation {
            file: Some(file),
            machine: None,
            is_early: false,
            fits_nowhere: false,
        };
        change(&mut expectation);
        let (verdict, reason) = judge_expected(&expectation);
        (verdict, reason.into_owned())
    }

    #[test]
    fn a_unit_that_runs_where_fleet_wants_it_is_ok() {
        assert_eq!(judged("loaded/active/running", |_| {}).0, Verdict::Ok);
    }

    #[test]
    fn a_masked_unit_that_fleet_wants_launched_has_failed() {
        assert_eq!(judged("masked/inactive/dead", |_| {}).0, Verdict::Failed);

        let loaded = UnitFile { desired: Some("loaded".into()), ..file() };
        assert_eq!(judged_with(&loaded, "masked/inactive/dead", |_| {}).0, Verdict::Ok);
    }

    #[test]
    fn a_unit_that_has_been_starting_stopping_or_reloading_for_long_says_so() {
        for state in ["activating/start", "deactivating/stop-sigterm", "reloading/reload"] {
            let (verdict, reason) = judged(&format!("loaded/{state}"), |it| it.is_lasting = true);
            assert!(
                verdict == Verdict::Ok && reason.contains(state) && reason.contains("2 min"),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_row_that_is_missed_is_stale_whatever_fleet_wants() {
        let machine = "10.0.0.2";
        for (wanted, target) in [
            (Wanted::Here { global: false }, None),
            (Wanted::Elsewhere, Some(machine)),
            (Wanted::Nowhere, None),
            (Wanted::Not(NotWanted::NoFile), None),
            (Wanted::Unknown, None),
        ] {
            let (verdict, reason) = judged("loaded/active/running", |it| {
                it.presence = Presence::Stale;
                it.wanted = wanted;
                it.target = target;
            });
            assert_eq!(verdict, Verdict::Stale);
            assert_eq!(reason.contains(machine), target.is_some(), "{reason}");
        }
    }

    #[test]
    fn a_lost_row_says_whether_its_machine_is_back() {
        let reason = |machine, is_there| {
            let (verdict, reason) = judged("loaded/active/running", |it| {
                it.presence = Presence::Lost;
                it.machine = machine;
                it.machine_is_there = is_there;
            });
            assert_eq!(verdict, Verdict::MachineLost);
            reason
        };
        let since = Moment::now();

        let left = reason(MachineStanding::Lost { since }, true);
        assert_eq!(reason(MachineStanding::Waiting { since }, false), left);
        let back = reason(MachineStanding::Waiting { since }, true);
        assert_ne!(back, left);
        assert_ne!(reason(MachineStanding::Speaking { since }, true), back);
    }

    #[test]
    fn a_unit_that_outlives_its_machine_is_lost_and_a_ghost_only_while_its_machine_is_there() {
        let ghost = |outlives| {
            judged("loaded/active/running", |it| {
                it.wanted = Wanted::Not(NotWanted::NoFile);
                it.outlives_machine = outlives;
            })
        };
        assert_eq!(ghost(false).0, Verdict::Ghost);
        assert_eq!(ghost(true).0, Verdict::MachineLost);
    }

    #[test]
    fn what_is_not_reported_yet_is_no_trouble_yet() {
        let (verdict, reason) = expected(&file(), |it| {
            it.machine = Some("10.0.0.1");
            it.is_early = true;
        });
        assert_eq!(verdict, Verdict::Ok);
        assert!(reason.contains("10.0.0.1"), "{reason}");
    }

    #[test]
    fn what_is_not_reported_names_the_machine_by_its_address() {
        let (verdict, reason) = expected(&file(), |it| it.machine = Some("10.0.0.1"));
        assert_eq!(verdict, Verdict::Unreported);
        assert!(reason.contains("10.0.0.1"), "{reason}");
    }

    #[test]
    fn what_fleet_has_chosen_no_machine_for_is_unscheduled_unless_targets_are_not_known() {
        assert_eq!(expected(&file(), |_| {}).0, Verdict::Unscheduled);
        let untold = UnitFile { target_known: false, ..file() };
        assert_eq!(expected(&untold, |_| {}).0, Verdict::Unreported);
    }

    #[test]
    fn a_global_unit_that_fits_no_machine_is_unscheduled_at_once() {
        let requirements = vec!["MachineMetadata=role=gpu".into()];
        let global = UnitFile { global: true, requirements, ..file() };
        let (verdict, reason) = expected(&global, |it| {
            it.fits_nowhere = true;
            it.is_early = true;
        });
        assert_eq!(verdict, Verdict::Unscheduled);
        assert!(reason.contains("MachineMetadata=role=gpu"), "{reason}");
    }

    #[test]
    fn a_global_unit_that_one_machine_does_not_report_names_it() {
        let global = UnitFile { global: true, ..file() };
        let (verdict, reason) = expected(&global, |it| it.machine = Some("10.0.0.1"));
        assert_eq!(verdict, Verdict::Unreported);
        assert!(reason.contains("10.0.0.1"), "{reason}");
    }

    #[test]
    fn what_fleet_does_not_want_is_only_submitted() {
        let submitted = UnitFile { desired: Some("inactive".into()), ..file() };
        assert_eq!(expected(&submitted, |_| {}).0, Verdict::Ok);
    }
    /// A unit that was restarted often, or, with `once`, that is about to be for long.
    fn looping(once: bool) -> &'static RestartHistory {
        let start = Moment::now();
        let waiting = state("loaded/activating/auto-restart");
        let mut history = RestartHistory::new(&waiting, start);
        for second in if once { 0..0 } else { 1..3 } {
            history.note(
                &state("loaded/active/running"),
                start + Duration::from_secs(20 * second - 10),
            );
            history.note(&waiting, start + Duration::from_secs(20 * second));
        }
        history.advance(start + Duration::from_secs(60));
        Box::leak(Box::new(history))
    }

    #[test]
    fn verdicts_have_these_reasons() {
        let since = Moment::now();
        let (often, once) = (looping(false), looping(true));
        let run = "loaded/active/running";
        let missed = |wanted, target| {
            judged(run, |it| {
                it.presence = Presence::Stale;
                it.wanted = wanted;
                it.target = target;
            })
        };
        let ghost = |wanted, moved_to| {
            judged(run, |it| {
                it.wanted = wanted;
                it.moved_to = moved_to;
            })
        };
        let lost = |machine, is_there| {
            judged(run, |it| {
                it.presence = Presence::Lost;
                it.machine = machine;
                it.machine_is_there = is_there;
            })
        };
        let waiting = MachineStanding::Waiting { since };
        let here = Wanted::Here { global: false };
        let reported = [
            ("as fleet wants it", judged(run, |_| {})),
            ("launched and inactive", judged("loaded/inactive/dead", |_| {})),
            (
                "starting for long",
                judged("loaded/activating/start", |it| it.is_lasting = true),
            ),
            ("failed", judged("loaded/failed/failed", |_| {})),
            ("failed, with another sub state", judged("loaded/failed/exited", |_| {})),
            ("not loaded", judged("not-found/inactive/dead", |_| {})),
            ("masked, and wanted", judged("masked/inactive/dead", |_| {})),
            ("restarted often", judged(run, |it| it.restarts = Some(often))),
            (
                "only ever seen waiting for a restart",
                judged(run, |it| it.restarts = Some(once)),
            ),
            ("overdue", judged(run, |it| it.presence = Presence::Overdue)),
            ("no unit file", ghost(Wanted::Not(NotWanted::NoFile), None)),
            ("unloaded", ghost(Wanted::Not(NotWanted::Unloaded), None)),
            ("moved, and reported there", ghost(Wanted::Elsewhere, Some("10.0.0.2"))),
            ("moved", ghost(Wanted::Nowhere, None)),
            (
                "reported of a machine that has left",
                judged(run, |it| it.outlives_machine = true),
            ),
            ("missing, and wanted", missed(here, None)),
            ("missing, and moved", missed(Wanted::Elsewhere, Some("10.0.0.2"))),
            ("missing, and wanted on no machine yet", missed(Wanted::Nowhere, None)),
            ("missing, and not wanted", missed(Wanted::Not(NotWanted::NoFile), None)),
            ("lost", lost(MachineStanding::Lost { since }, false)),
            ("lost, and its machine is back", lost(waiting, true)),
            (
                "lost, and its machine reports others",
                lost(MachineStanding::Speaking { since }, true),
            ),
        ];
        let mut told = Vec::from(reported);
        told.push(("missing, with all of its machine", {
            judged(run, |it| {
                it.presence = Presence::Absent;
                it.machine = waiting;
            })
        }));
        told.push(("expired", {
            judged(run, |it| {
                it.presence = Presence::Stale;
                it.has_expired = true;
            })
        }));
        let other: &UnitState =
            Box::leak(Box::new(UnitState { hash: Some("abcdef1234".into()), ..state(run) }));
        told.push(("another version of the unit file", judged(run, |it| it.state = other)));

        let machine = Some("10.0.0.1");
        let global = || UnitFile { global: true, ..file() };
        let asking = UnitFile {
            requirements: vec!["MachineMetadata=role=gpu".into()],
            ..global()
        };
        let of = |desired: Option<&str>| UnitFile { desired: desired.map(Into::into), ..file() };
        told.extend([
            ("no machine, no unit file", expected(&file(), |it| it.file = None)),
            ("no machine, and the desired state is not known", expected(&of(None), |_| {})),
            ("submitted", expected(&of(Some("inactive")), |_| {})),
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
            ("global, and fits no machine", expected(&asking, |it| it.fits_nowhere = true)),
            ("not reported yet", {
                expected(&file(), |it| {
                    it.machine = machine;
                    it.is_early = true;
                })
            }),
        ]);
        let told = told
            .into_iter()
            .map(|(given, (verdict, reason))| (format!("{given}: {verdict}"), reason));
        assert_catalogue("verdict-reasons", told);
    }
}
