//! The life of a row as a state machine: one pure function, [`step`], makes every step.
//!
//! It knows neither sources nor messages, except the reason why a row is gone.
//!
//! The diagram is in `docs/development.md`. A row is removed at once on evidence about that row:
//! fleet does not want the unit any more; another machine reports it; or its machine deleted it and
//! fleet does not want it there. Without evidence, as when a list merely does not contain it, the
//! row is kept until a timeout: the grace period while its machine reports other units, the keep
//! time if its machine is lost, and the longer of the two if its machine reports no unit. Timeouts
//! count only while the source is trusted.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::desired::{DesiredPlacement, NotWanted};
use super::machine_life::{MachineStanding, RESTART};
use super::model::Moment;
use super::report::{Absence, ReportStatus};
use super::retention::Retention;
use super::source_trust::SourceStanding;

/// How long a deleted key may be set again. `fleetctl unload` makes fleetd delete the states of a
/// unit and set them again 4 ms later (v1.0.0).
const REWRITE: Duration = Duration::from_millis(500);
/// A row that is absent again within this time after it was back has to be absent for the grace
/// period before that is an event again.
const FLAPPING: Duration = Duration::from_secs(60);

/// The state of a row that is, or was, reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UnitPresence {
    /// Its machine reports it.
    Reported,
    /// Its machine should have renewed it by now.
    Overdue,
    /// It is not reported, which has not been an event yet.
    Absent,
    /// It is not reported, which has been an event.
    Stale,
    /// It is not reported, and its machine is lost, or was lost and has not reported it since.
    Lost,
    /// It is to be removed, so it is never saved.
    #[serde(skip)]
    Gone(Departure),
}

/// Why a row is removed: evidence about it, or a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    NotWanted(NotWanted),
    Moved {
        from_lost_machine: bool,
    },
    TakenAway,
    /// Its machine reports other units, but not this one.
    GraceOver,
    /// Its machine is lost.
    KeepTimeOver,
    /// Its machine is in the cluster and reports none of its units.
    SilentTooLong,
    /// Rows are shown as fleet lists them (`--grace 0`).
    NotListed,
}

impl Departure {
    /// Whether there was no evidence about the row: it was kept until a timeout.
    pub(crate) fn is_timeout(self) -> bool {
        matches!(self, Departure::GraceOver | Departure::KeepTimeOver | Departure::SilentTooLong)
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Departure::NotWanted(NotWanted::NoFile) => "its unit file was deleted",
            Departure::NotWanted(NotWanted::Unloaded) => "it was unloaded",
            Departure::Moved { from_lost_machine: false } => {
                "fleet has moved it to another machine"
            }
            Departure::Moved { from_lost_machine: true } => {
                "its machine is lost, and fleet has moved it to another one"
            }
            Departure::TakenAway => "fleet does not schedule it on this machine any more",
            Departure::GraceOver => {
                "fleet has not reported it for longer than the grace period (--grace)"
            }
            Departure::KeepTimeOver => {
                "its machine has been lost for longer than the keep time (--keep-lost)"
            }
            Departure::SilentTooLong => {
                "its machine has reported no unit for longer than the keep time (--keep-lost)"
            }
            Departure::NotListed => "fleet does not list it any more",
        }
    }
}

/// What is known of a row at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnitEvidence {
    pub(crate) report: ReportStatus,
    pub(crate) desired: DesiredPlacement,
    /// Whether `desired` was read after the row became absent, and after its machine began to
    /// report other units.
    pub(crate) desired_is_newer: bool,
    /// Whether another machine reports the unit: the one that fleet has chosen, or one that began
    /// later.
    pub(crate) is_elsewhere: bool,
    pub(crate) machine: MachineStanding,
    pub(crate) source: SourceStanding,
    /// Whether the row is, or was, shown to be on a lost machine.
    pub(crate) was_lost: bool,
    /// When the row was last reported again after it had been stale.
    pub(crate) came_back: Option<Moment>,
}

/// What a step has to report of a row. Each value becomes an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnitNotice {
    Stale,
    Back,
    Gone(Departure),
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct UnitStep {
    pub(crate) presence: UnitPresence,
    pub(crate) notice: Option<UnitNotice>,
    /// When to make the next step even if nothing is received until then.
    pub(crate) due: Option<Instant>,
}

/// When and how a row became absent.
#[derive(Clone, Copy)]
struct Missing {
    since: Moment,
    absence: Absence,
    confirmed: bool,
}

/// Computes the next state of a row that is, or was, reported.
pub(crate) fn step(
    presence: UnitPresence,
    evidence: &UnitEvidence,
    retention: Retention,
    now: Moment,
) -> UnitStep {
    let back = (presence == UnitPresence::Stale).then_some(UnitNotice::Back);

    match evidence.report {
        ReportStatus::Current => {
            UnitStep { presence: UnitPresence::Reported, notice: back, due: None }
        }
        ReportStatus::Overdue { .. } => UnitStep {
            presence: presence_of_overdue(presence, evidence),
            notice: back,
            due: None,
        },
        ReportStatus::Absent { .. } if retention.passes_through() => gone(Departure::NotListed),
        ReportStatus::Absent { since, absence, confirmed } => step_of_absent(
            presence,
            evidence,
            Missing { since, absence, confirmed },
            retention,
            now,
        ),
    }
}

/// Right after an outage many rows are overdue because nobody could renew them, so they count as
/// reported. So does a row that was absent before: it has only just been set again.
fn presence_of_overdue(presence: UnitPresence, evidence: &UnitEvidence) -> UnitPresence {
    let was_there = matches!(presence, UnitPresence::Reported | UnitPresence::Overdue);

    if evidence.source.is_trusted() && was_there {
        UnitPresence::Overdue
    } else {
        UnitPresence::Reported
    }
}

fn step_of_absent(
    presence: UnitPresence,
    evidence: &UnitEvidence,
    missing: Missing,
    retention: Retention,
    now: Moment,
) -> UnitStep {
    let mut due = None;

    // Evidence removes the row; but a deleted key may be set again at once.
    if let Some(departure) = departure(evidence, missing) {
        let rewrite_over = missing.since.instant + REWRITE;
        if missing.absence != Absence::Deleted || now.instant >= rewrite_over {
            return gone(departure);
        }
        due = Some(rewrite_over);
    }

    // So does a timeout.
    if let Some((departure, timeout)) = timeout(evidence, missing, retention) {
        if now.instant >= timeout {
            return gone(departure);
        }
        due = earliest(due, Some(timeout));
    }

    let is_lost = evidence.was_lost || matches!(evidence.machine, MachineStanding::Lost { .. });
    if is_lost {
        return UnitStep { presence: UnitPresence::Lost, notice: None, due };
    }
    if presence == UnitPresence::Stale {
        return UnitStep { presence, notice: None, due };
    }

    let stale_from = stale_from(evidence, missing, retention);
    if presence == UnitPresence::Absent && stale_from.is_some_and(|from| now.instant >= from) {
        return UnitStep {
            presence: UnitPresence::Stale,
            notice: Some(UnitNotice::Stale),
            due,
        };
    }
    UnitStep {
        presence: UnitPresence::Absent,
        notice: None,
        due: earliest(due, stale_from),
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

fn gone(departure: Departure) -> UnitStep {
    UnitStep {
        presence: UnitPresence::Gone(departure),
        notice: Some(UnitNotice::Gone(departure)),
        due: None,
    }
}

/// The evidence by which an absent row is to be removed, if there is any.
fn departure(evidence: &UnitEvidence, missing: Missing) -> Option<Departure> {
    let is_deleted = missing.absence == Absence::Deleted;

    match evidence.desired {
        DesiredPlacement::NotWanted(reason) => Some(Departure::NotWanted(reason)),
        _ if evidence.is_elsewhere && (is_deleted || !evidence.source.may_be_outdated()) => {
            Some(Departure::Moved { from_lost_machine: evidence.was_lost })
        }
        DesiredPlacement::Elsewhere | DesiredPlacement::Unassigned
            if is_deleted || is_released(evidence, missing) =>
        {
            Some(Departure::TakenAway)
        }
        _ => None,
    }
}

/// Whether a list without the row is as good as a deletion: its machine still reports other units,
/// and the unit files were read since. If fleetd had died, all of its units would be absent.
fn is_released(evidence: &UnitEvidence, missing: Missing) -> bool {
    let was_reporting = match evidence.machine {
        MachineStanding::Reporting { since } => since.instant < missing.since.instant,
        _ => false,
    };

    missing.absence == Absence::Unlisted
        && missing.confirmed
        && evidence.desired_is_newer
        && was_reporting
        && !evidence.source.may_be_outdated()
        && !evidence.was_lost
}

/// Whether a machine that was lost is back and reports units, and fleet does not want this one
/// there any more. If fleet wanted it there again, the engine would have set its target before.
fn is_left_behind(evidence: &UnitEvidence) -> bool {
    let is_wanted_here =
        !matches!(evidence.desired, DesiredPlacement::Elsewhere | DesiredPlacement::Unassigned);

    evidence.was_lost && evidence.desired_is_newer && !is_wanted_here
}

/// When an absent row is removed without any evidence about it; never while the source is not
/// trusted.
fn timeout(
    evidence: &UnitEvidence,
    missing: Missing,
    retention: Retention,
) -> Option<(Departure, Instant)> {
    let SourceStanding::Trusted { since: trusted } = evidence.source else {
        return None;
    };

    match evidence.machine {
        MachineStanding::Lost { since } => {
            let from = since.instant.max(trusted.instant);
            Some((Departure::KeepTimeOver, from + retention.lost))
        }
        MachineStanding::NotReporting { since } => {
            let from = since.instant.max(missing.since.instant).max(trusted.instant);
            Some((Departure::SilentTooLong, from + retention.lost.max(retention.grace)))
        }
        MachineStanding::Reporting { since } => {
            let from = since.instant.max(missing.since.instant).max(trusted.instant);
            if is_left_behind(evidence) {
                return Some((Departure::TakenAway, from + RESTART.min(retention.grace)));
            }
            Some((Departure::GraceOver, from + retention.grace))
        }
    }
}

/// When it becomes an event that a row is absent; never where other events explain it.
fn stale_from(evidence: &UnitEvidence, missing: Missing, retention: Retention) -> Option<Instant> {
    let is_missed =
        matches!(evidence.desired, DesiredPlacement::Here { .. } | DesiredPlacement::Unknown);
    let is_reporting = matches!(evidence.machine, MachineStanding::Reporting { .. });
    // When one fleetd stops a global unit, it deletes the states of all machines, and each of these
    // sets its own state again when it renews it, up to 24 s later (fleet v1.0.0).
    let is_side_effect = missing.absence == Absence::Deleted
        && matches!(evidence.desired, DesiredPlacement::Here { global: true });
    if !is_missed || !evidence.source.is_trusted() || !is_reporting || is_side_effect {
        return None;
    }

    let from = match missing.absence {
        Absence::Unlisted => missing.confirmed.then_some(missing.since.instant)?,
        Absence::Deleted | Absence::Expired => missing.since.instant + RESTART,
    };
    let is_flapping = evidence
        .came_back
        .is_some_and(|back| missing.since.since(back) < FLAPPING);
    Some(if is_flapping {
        from.max(missing.since.instant + retention.grace)
    } else {
        from
    })
}
