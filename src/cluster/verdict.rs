//! The verdict on a row and the reason for it, as pure functions of what is known of the row.
//!
//! It does not know how that became known.
//!
//! fleet's lists lack rows of units that run, and contain rows of units that do not (measured for
//! v1.0.0 and v0.11.8): a restart of fleetd removes the rows of global units on all machines for up
//! to 24 s, the first answers after an outage of etcd are incomplete for 10 to 30 s, and the row of
//! a destroyed unit stays `active/running` for seconds to minutes.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::crash_loop::RestartHistory;
use super::desired::{DesiredPlacement, NotWanted};
use super::machine_life::MachineStanding;
use super::model::{ReasonText, Text, UnitFile, UnitState};
use super::transition::HumanDuration;
use super::unit_life::UnitPresence;

/// What is wrong with a unit on a machine, if anything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// systemd reports that it failed, or cannot load it.
    Failed,
    /// It fails, is restarted, and fails again, several times within minutes.
    CrashLoop,
    /// Its machine has left the cluster, or is back and has not reported it since.
    MachineLost,
    /// fleet wants it and has chosen a machine, but no machine reports it.
    Unreported,
    /// fleet wants it, but has not scheduled it on any machine.
    Unscheduled,
    /// A machine reports it, although fleet does not want it there.
    Ghost,
    /// fleet wants it, and it was reported before, but is not now.
    Stale,
    /// The machine runs another version of the unit file than fleet has.
    Outdated,
    /// Nothing is known to be wrong.
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

    /// Whether a row with this verdict is in its reported state now. With any other verdict, that
    /// state is only the last known one, or is reported although fleet does not want the unit
    /// there, or there is none.
    pub fn has_current_state(self) -> bool {
        match self {
            Verdict::Failed | Verdict::CrashLoop | Verdict::Outdated | Verdict::Ok => true,
            Verdict::MachineLost
            | Verdict::Unreported
            | Verdict::Unscheduled
            | Verdict::Ghost
            | Verdict::Stale => false,
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

/// How long a unit may be starting, stopping or reloading before its reason mentions it.
pub(crate) const LONG_START_OR_STOP: Duration = Duration::from_secs(120);

/// The end of reasons for rows that are not reported.
const LAST_KNOWN: &str = "this is its last known state";

/// What is known of a row that is, or was, reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReportedFacts<'a> {
    /// The last reported state.
    pub(crate) state: &'a UnitState,
    pub(crate) presence: UnitPresence,
    /// Whether its key has expired.
    pub(crate) has_expired: bool,
    pub(crate) file: Option<&'a UnitFile>,
    pub(crate) desired: DesiredPlacement,
    pub(crate) machine: MachineStanding,
    /// Whether its machine is in the cluster, or returned to it.
    pub(crate) machine_is_present: bool,
    /// Whether it is still reported although its machine has left the cluster.
    pub(crate) outlives_machine: bool,
    /// The display name of the machine that reports the unit instead.
    pub(crate) moved_to: Option<&'a str>,
    /// The display name of the machine that fleet has chosen.
    pub(crate) target: Option<&'a str>,
    pub(crate) restarts: Option<&'a RestartHistory>,
    /// Whether it has been starting, stopping or reloading for [`LONG_START_OR_STOP`].
    pub(crate) is_long_start_or_stop: bool,
}

impl ReportedFacts<'_> {
    fn active(&self) -> &str {
        self.state.active.as_deref().unwrap_or("-")
    }

    fn sub(&self) -> &str {
        self.state.sub.as_deref().unwrap_or("-")
    }

    fn is_wanted_launched(&self) -> bool {
        self.file
            .is_some_and(|file| file.desired.as_deref() == Some("launched"))
    }
}

/// What is known of a unit that fleet may want and no machine has reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpectedFacts<'a> {
    pub(crate) file: Option<&'a UnitFile>,
    /// The display name of the machine that it is expected on.
    pub(crate) machine: Option<&'a str>,
    /// Whether it may still be reported: fleet has only just begun to want it, or the source's
    /// lists may be incomplete.
    pub(crate) is_early: bool,
    /// Whether that machine has left the cluster.
    pub(crate) machine_is_lost: bool,
    /// Whether it is global, and no machine of the cluster meets its requirements.
    pub(crate) fits_no_machine: bool,
}

/// The verdict on a row that is, or was, reported.
pub(crate) fn judge_reported(facts: &ReportedFacts) -> (Verdict, ReasonText) {
    match facts.presence {
        UnitPresence::Lost => (Verdict::MachineLost, lost_reason(facts).into()),
        UnitPresence::Absent | UnitPresence::Stale => (Verdict::Stale, stale_reason(facts)),
        _ => judge_present(facts),
    }
}

fn lost_reason(facts: &ReportedFacts) -> &'static str {
    const LEFT: &str = "Its machine has left the cluster; this is its last known state.";

    match facts.machine {
        MachineStanding::Lost { .. } => LEFT,
        MachineStanding::NotReporting { .. } if !facts.machine_is_present => LEFT,
        MachineStanding::NotReporting { .. } => {
            "Its machine is back in the cluster and has not reported any unit yet; \
             this is its last known state."
        }
        MachineStanding::Reporting { .. } => {
            "Its machine is back in the cluster and has not reported this unit yet; \
             this is its last known state."
        }
    }
}

fn stale_reason(facts: &ReportedFacts) -> ReasonText {
    if let MachineStanding::NotReporting { .. } = facts.machine {
        return format!("Its machine reports none of its units at the moment; {LAST_KNOWN}.")
            .into();
    }

    let reason = match (facts.desired, facts.target) {
        (DesiredPlacement::Elsewhere, Some(target)) => {
            format!("It is not reported any more; fleet wants it on {target}")
        }
        (DesiredPlacement::Elsewhere | DesiredPlacement::Unassigned, _) => {
            "It is not reported any more, and fleet has chosen no machine for it".to_owned()
        }
        (DesiredPlacement::NotWanted(_), _) => {
            "It is not reported any more, and fleet does not want it".to_owned()
        }
        (DesiredPlacement::Here { .. } | DesiredPlacement::Unknown, _) if facts.has_expired => {
            "fleet wants it, but its state has expired".to_owned()
        }
        (DesiredPlacement::Here { .. } | DesiredPlacement::Unknown, _) => {
            "fleet wants it but does not report it at the moment".to_owned()
        }
    };
    format!("{reason}; {LAST_KNOWN}.").into()
}

/// The verdict on a row that is reported now: the first that applies, in this order.
fn judge_present(facts: &ReportedFacts) -> (Verdict, ReasonText) {
    if let Some(reason) = unwanted_reason(facts) {
        let verdict = if facts.outlives_machine {
            Verdict::MachineLost
        } else {
            Verdict::Ghost
        };
        return (verdict, reason);
    }

    if facts.active() == "failed" {
        return (Verdict::Failed, failed_reason(facts.sub()));
    }
    if let Some(restarts) = facts.restarts.and_then(RestartHistory::describe) {
        let reason = format!("It fails and is restarted repeatedly: {restarts}.");
        return (Verdict::CrashLoop, reason.into());
    }
    if let Some(reason) = not_loaded_reason(facts) {
        return (Verdict::Failed, reason);
    }
    if facts.presence == UnitPresence::Overdue {
        let reason = "Its machine has not renewed its state in time; \
                      it expires soon unless the machine does.";
        return (Verdict::Stale, reason.into());
    }
    if let Some(reason) = outdated_reason(facts) {
        return (Verdict::Outdated, reason);
    }
    (Verdict::Ok, ok_reason(facts))
}

/// Why a row should not be reported, if so: fleet does not want it, or its machine has left.
fn unwanted_reason(facts: &ReportedFacts) -> Option<ReasonText> {
    let active = facts.active();
    let sub = facts.sub();
    if facts.outlives_machine {
        let reason =
            format!("Its machine has left the cluster; fleet still lists it as {active}/{sub}.");
        return Some(reason.into());
    }

    let reason = match facts.desired {
        DesiredPlacement::NotWanted(NotWanted::NoFile) => {
            format!(
                "Its unit file was deleted, but its machine still reports it as {active}/{sub}."
            )
        }
        DesiredPlacement::NotWanted(NotWanted::Unloaded) => {
            format!("It was unloaded, but its machine still reports it as {active}/{sub}.")
        }
        DesiredPlacement::Elsewhere | DesiredPlacement::Unassigned => match facts.moved_to {
            Some(machine) => {
                format!("fleet has moved it to {machine}, but this machine still reports it.")
            }
            None => "fleet does not schedule it on this machine any more, but the machine still \
                     reports it."
                .to_owned(),
        },
        DesiredPlacement::Here { .. } | DesiredPlacement::Unknown => return None,
    };
    Some(reason.into())
}

fn failed_reason(sub: &str) -> ReasonText {
    if sub == "failed" {
        "systemd says that it failed.".into()
    } else {
        format!("systemd says that it failed: {sub}.").into()
    }
}

fn not_loaded_reason(facts: &ReportedFacts) -> Option<ReasonText> {
    match facts.state.load.as_deref()? {
        load @ ("bad-setting" | "error" | "not-found") => {
            Some(format!("systemd cannot load its unit file: {load}.").into())
        }
        "masked" if facts.is_wanted_launched() => Some(
            "It is masked on its machine, so systemd does not start it, though fleet wants it \
             launched."
                .into(),
        ),
        _ => None,
    }
}

fn outdated_reason(facts: &ReportedFacts) -> Option<ReasonText> {
    let on_machine = facts.state.hash.as_ref()?;
    let in_fleet = facts.file?.hash.as_ref()?;
    if on_machine == in_fleet {
        return None;
    }

    let reason = format!(
        "The machine runs version {} of its unit file, fleet has {}.",
        short_hash(on_machine),
        short_hash(in_fleet)
    );
    Some(reason.into())
}

fn ok_reason(facts: &ReportedFacts) -> ReasonText {
    let active = facts.active();

    if facts.is_long_start_or_stop {
        let time = HumanDuration(LONG_START_OR_STOP);
        return format!("It has been {active}/{} for more than {time}.", facts.sub()).into();
    }
    if facts.is_wanted_launched() && active == "inactive" {
        return "It is loaded but not running: it has finished, or was stopped on its machine."
            .into();
    }
    "It is as fleet wants it.".into()
}

/// The verdict on a unit that no machine has reported.
pub(crate) fn judge_expected(facts: &ExpectedFacts) -> (Verdict, ReasonText) {
    let Some(file) = facts.file else {
        return (Verdict::Ok, "No machine reports it.".into());
    };
    let desired = match file.desired.as_deref() {
        None => {
            let reason =
                "No machine reports it, and this version of fleet does not list desired states.";
            return (Verdict::Ok, reason.into());
        }
        Some("inactive") => {
            let reason = "It is only submitted: fleet does not want it on any machine.";
            return (Verdict::Ok, reason.into());
        }
        Some(desired) => desired,
    };

    if facts.fits_no_machine {
        let requirements = listed_requirements(file, ": ");
        let reason = format!(
            "It is global and wanted {desired}, but no machine in the cluster meets its \
             requirements{requirements}."
        );
        return (Verdict::Unscheduled, reason.into());
    }
    if facts.is_early {
        let place = facts
            .machine
            .map(|machine| format!(" on {machine}"))
            .unwrap_or_default();
        let reason = format!("fleet wants it {desired}{place}; it has not been reported yet.");
        return (Verdict::Ok, reason.into());
    }
    if let Some(machine) = facts.machine.filter(|_| facts.machine_is_lost) {
        let reason = format!("fleet wants it {desired} on {machine}, which has left the cluster.");
        return (Verdict::MachineLost, reason.into());
    }
    judge_unreported(file, desired, facts.machine)
}

/// The verdict on a unit that should have been reported by now.
fn judge_unreported(
    file: &UnitFile,
    desired: &str,
    machine: Option<&str>,
) -> (Verdict, ReasonText) {
    let requirements = listed_requirements(file, "; it requires ");

    let (verdict, reason) = match machine {
        Some(machine) if file.global => (
            Verdict::Unreported,
            format!(
                "It is global and wanted {desired}, but {machine} does not report it{requirements}."
            ),
        ),
        Some(machine) => (
            Verdict::Unreported,
            format!("fleet wants it {desired} on {machine}, which does not report it."),
        ),
        None if file.global => (
            Verdict::Unreported,
            format!("It is global and wanted {desired}, but no machine reports it{requirements}."),
        ),
        None if !file.target_known => (
            Verdict::Unreported,
            format!("fleet wants it {desired}, but no machine reports it."),
        ),
        None => (
            Verdict::Unscheduled,
            format!(
                "fleet wants it {desired}, but has not scheduled it on any machine{requirements}."
            ),
        ),
    };
    (verdict, reason.into())
}

/// The unit's requirements after an introduction; empty if it has none.
fn listed_requirements(file: &UnitFile, introduction: &str) -> String {
    match &*file.requirements {
        [] => String::new(),
        requirements => format!("{introduction}{}", requirements.join(", ")),
    }
}

/// A hash as fleetctl shortens it.
fn short_hash(hash: &Text) -> &str {
    hash.get(..7).unwrap_or(hash)
}
