//! The life of a machine as a state machine: one pure function, [`step`], makes every transition.
//!
//! It knows nothing of units except how many of the machine's units are reported.
//!
//! The diagram is in `docs/development.md`. A machine is lost when its key has expired, when a list
//! does not contain it, or when its key has been deleted for longer than a restart takes; but never
//! right after an outage. A step depends on what is known at a moment, not on the order in which it
//! was received.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::model::Moment;
use super::report::{Absence, ReportStatus};

/// How long a restarting fleetd may leave its keys deleted. fleet v1.0.0 sets its machine's key
/// again within 0.1 s, and its unit states within 1.2 s. A shorter absence of a machine or a unit
/// is no event.
pub(crate) const RESTART: Duration = Duration::from_secs(3);

/// The state of a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MachinePresence {
    /// It is in the cluster.
    Present,
    /// It is in the cluster, but does not renew its keys, or reports none of its units.
    Silent {
        /// The last renewal, or when the last of its units went missing.
        since: Moment,
    },
    /// It is not in the cluster, and may be restarting.
    Missing { since: Moment },
    /// It has left the cluster.
    Lost { since: Moment },
    /// It has rejoined the cluster, and has not reported any of its units since. After a crash,
    /// fleetd v1.0.0 publishes its first unit state 27 to 51 s after its machine.
    Returned,
}

/// Whether the absence of a unit's report says anything, as far as its machine is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MachineStanding {
    /// It reports units, without interruption since then.
    Reporting { since: Moment },
    /// It reports no unit, or is not in the cluster at the moment. A missing report proves nothing.
    NotReporting { since: Moment },
    /// It has left the cluster.
    Lost { since: Moment },
}

/// What is known of a machine at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineEvidence {
    pub(crate) report: ReportStatus,
    /// The number of rows on it, reported or not.
    pub(crate) rows: usize,
    /// Since when none of these rows has been reported; `None` if one is, or if there are none.
    pub(crate) mute_since: Option<Moment>,
    /// Whether the source answers, and has done so for the grace period since its last outage.
    pub(crate) source_has_recovered: bool,
    /// Whether the source's lists are suspected to be incomplete.
    pub(crate) suspect: bool,
    /// Whether at least one other machine is in the cluster. A cluster without any machine is a
    /// fault of the source.
    pub(crate) has_company: bool,
}

/// What a step has to report of a machine. Each value becomes an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MachineNotice {
    Lost,
    Joined,
    Silent,
    /// It is not silent any more.
    Heard,
}

/// Computes the next state of a machine, and the notice to emit if there is one.
pub(crate) fn step(
    presence: MachinePresence,
    evidence: &MachineEvidence,
    now: Moment,
) -> (MachinePresence, Option<MachineNotice>) {
    if let ReportStatus::Absent { since, absence, .. } = evidence.report {
        return step_of_absent(presence, absence, since, evidence, now);
    }
    let is_mute = evidence.mute_since.is_some();

    match presence {
        MachinePresence::Lost { .. } if is_mute => {
            (MachinePresence::Returned, Some(MachineNotice::Joined))
        }
        MachinePresence::Lost { .. } => (MachinePresence::Present, Some(MachineNotice::Joined)),

        MachinePresence::Returned if is_mute => (MachinePresence::Returned, None),
        MachinePresence::Returned | MachinePresence::Missing { .. } => {
            (MachinePresence::Present, None)
        }

        MachinePresence::Present => match silent_since(evidence, now) {
            Some(since) => (MachinePresence::Silent { since }, Some(MachineNotice::Silent)),
            None => (MachinePresence::Present, None),
        },
        MachinePresence::Silent { .. } => match still_silent_since(evidence) {
            Some(since) => (MachinePresence::Silent { since }, None),
            None => (MachinePresence::Present, Some(MachineNotice::Heard)),
        },
    }
}

fn step_of_absent(
    presence: MachinePresence,
    absence: Absence,
    since: Moment,
    evidence: &MachineEvidence,
    now: Moment,
) -> (MachinePresence, Option<MachineNotice>) {
    if let MachinePresence::Lost { .. } = presence {
        return (presence, None);
    }
    if has_left(absence, since, evidence, now) {
        return (MachinePresence::Lost { since: now }, Some(MachineNotice::Lost));
    }

    match presence {
        MachinePresence::Present => (MachinePresence::Missing { since }, None),
        unchanged => (unchanged, None),
    }
}

/// Whether a machine that is absent has left the cluster. A restarting one is back within
/// [`RESTART`], and right after an outage many machines are not registered again yet.
fn has_left(absence: Absence, since: Moment, evidence: &MachineEvidence, now: Moment) -> bool {
    let may_be_restarting = absence == Absence::Deleted && now.since(since) < RESTART;

    !may_be_restarting && evidence.source_has_recovered && evidence.has_company
}

/// Since when a present machine has been silent, if it is. Right after an outage many machines are
/// late through no fault of their own. One single unit that is not reported says nothing about its
/// machine.
fn silent_since(evidence: &MachineEvidence, now: Moment) -> Option<Moment> {
    if !evidence.source_has_recovered || evidence.suspect {
        return None;
    }

    match (evidence.report, evidence.mute_since) {
        (ReportStatus::Overdue { since }, _) => Some(since),
        (_, Some(since)) if evidence.rows > 1 && now.since(since) >= RESTART => Some(since),
        _ => None,
    }
}

/// Since when a silent machine has been silent, if it still is. It stays silent while the source is
/// trusted less.
fn still_silent_since(evidence: &MachineEvidence) -> Option<Moment> {
    match evidence.report {
        ReportStatus::Overdue { since } => Some(since),
        _ => evidence.mute_since.filter(|_| evidence.rows > 1),
    }
}
