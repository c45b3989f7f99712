//! The verdict on a row, and the reason for it, as pure functions of what is known.
//!
//! fleet's lists lack rows that are there and have rows that are not (measured for v1.0.0 and v0.11.8): a restart of
//! fleetd takes away the rows of global units on all machines for up to 19 s, the first answers after an outage of etcd
//! are short for 10 to 30 s, and the row of a destroyed unit lives on as `active/running` for seconds to minutes. It knows
//! nothing of how a row came to be as it is.

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
pub(super) const LASTING: Duration = Duration::from_secs(120);

type Reason = Cow<'static, str>;

/// What is known of a row that has been reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation<'a> {
    /// What its machine reported last.
    pub(super) state: &'a UnitState,
    pub(super) presence: Presence,
    /// Whether it expired, if it is not reported.
    pub(super) has_expired: bool,
    pub(super) file: Option<&'a UnitFile>,
    pub(super) wanted: Wanted,
    /// Its machine.
    pub(super) machine: MachineStanding,
    /// Whether its machine is in the cluster, as far as it is known.
    pub(super) machine_is_there: bool,
    /// Whether it is reported although its machine has left.
    pub(super) outlives_machine: bool,
    /// The machine that reports it in its place, as people name it.
    pub(super) moved_to: Option<&'a str>,
    /// The machine that fleet has chosen, as people name it.
    pub(super) target: Option<&'a str>,
    pub(super) restarts: Option<&'a RestartHistory>,
    /// Whether it has been starting, stopping or reloading for longer than [`LASTING`].
    pub(super) is_lasting: bool,
}

/// The verdict on a row that has been reported.
pub(super) fn judge(situation: &Situation) -> (Verdict, Reason) {
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
        (Wanted::Not(_), _) => format!("It is not reported any more, and fleet does not want it; {LAST}."),
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
        return (if situation.outlives_machine { Verdict::MachineLost } else { Verdict::Ghost }, reason);
    }
    if active == "failed" {
        let reason = if sub == "failed" { String::new() } else { format!(": {sub}") };
        return (Verdict::Failed, format!("systemd says that it failed{reason}.").into());
    }
    if let Some(times) = situation.restarts.and_then(RestartHistory::loop_in_words) {
        return (Verdict::CrashLoop, format!("It fails and is started again, over and over: {times}.").into());
    }
    match state.load.as_deref() {
        Some(load @ ("bad-setting" | "error" | "not-found")) => {
            return (Verdict::Failed, format!("systemd cannot load its unit file: {load}.").into());
        }
        Some("masked") if situation.file.is_some_and(|file| file.desired.as_deref() == Some("launched")) => {
            let reason = "It is masked on its machine, so systemd does not start it, though fleet wants it launched.";
            return (Verdict::Failed, reason.into());
        }
        _ => {}
    }
    if situation.presence == Presence::Overdue {
        let reason = "Its machine should have reported it again by now, and it expires soon unless it does.";
        return (Verdict::Stale, reason.into());
    }
    let file_hash = situation.file.and_then(|file| file.hash.as_ref());
    if let (Some(here), Some(fleets)) = (&state.hash, file_hash)
        && here != fleets
    {
        let reason = format!("The machine runs version {} of its unit file, fleet has {}.", short(here), short(fleets));
        return (Verdict::Outdated, reason.into());
    }

    if situation.is_lasting {
        let time = Seconds(LASTING);
        return (Verdict::Ok, format!("It has been {active}/{sub} for more than {time}.").into());
    }
    let launched = situation.file.is_some_and(|file| file.desired.as_deref() == Some("launched"));
    let reason = if launched && active == "inactive" {
        "It is loaded but not running: it has finished, or was stopped on its machine."
    } else {
        "It is as fleet wants it."
    };
    (Verdict::Ok, reason.into())
}

/// Why a reported row should not be there, if it should not. That its machine has left comes after what fleet wants.
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
            Some(machine) => format!("fleet has moved it to {machine}; this machine still reports it."),
            None => "fleet has taken it away from this machine, which still reports it.".to_owned(),
        },
        _ => return None,
    };
    Some(reason.into())
}

/// What is known of a unit that fleet may want somewhere and no machine reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expectation<'a> {
    pub(super) file: Option<&'a UnitFile>,
    /// The machine that it is expected on, or that fleet has chosen, as people name it.
    pub(super) machine: Option<&'a str>,
    /// Whether fleet wants it for so short a time that nothing need be reported yet, or it is not known whether it is.
    pub(super) is_early: bool,
    /// Whether it is global, and no machine of the cluster meets what it requires.
    pub(super) fits_nowhere: bool,
}

/// The verdict on a unit that no machine reports.
pub(super) fn judge_expected(expectation: &Expectation) -> (Verdict, Reason) {
    let Some(file) = expectation.file else {
        return (Verdict::Ok, "No machine reports it.".into());
    };
    let desired = match file.desired.as_deref() {
        None => return (Verdict::Ok, "No machine reports it, and this fleet does not say what it wants.".into()),
        Some("inactive") => return (Verdict::Ok, "It is only submitted: fleet does not want it anywhere.".into()),
        Some(desired) => desired,
    };
    let asks = match &*file.requirements {
        [] => String::new(),
        requirements => format!("; it asks for {}", requirements.join(", ")),
    };

    if expectation.fits_nowhere {
        let reason = format!("It is global and wanted {desired}, but no machine of the cluster fits{asks}.");
        return (Verdict::Unscheduled, reason.into());
    }
    let (verdict, reason) = match expectation.machine {
        Some(machine) if file.global => {
            (Verdict::Unreported, format!("It is global and wanted {desired}, but {machine} does not report it{asks}."))
        }
        Some(machine) => {
            (Verdict::Unreported, format!("fleet wants it {desired} on {machine}, which does not report it."))
        }
        None if file.global => {
            (Verdict::Unreported, format!("It is global and wanted {desired}, but no machine reports it{asks}."))
        }
        None if !file.target_known => {
            (Verdict::Unreported, format!("fleet wants it {desired}, but no machine reports it."))
        }
        None => (Verdict::Unscheduled, format!("fleet wants it {desired}, but no machine takes it{asks}.")),
    };
    if expectation.is_early {
        let place = expectation.machine.map(|machine| format!(" on {machine}")).unwrap_or_default();
        return (Verdict::Ok, format!("fleet wants it {desired}{place}; it has not been reported yet.").into());
    }
    (verdict, reason.into())
}

/// A hash as fleetctl shortens it.
fn short(hash: &Text) -> &str {
    hash.get(..7).unwrap_or(hash)
}
