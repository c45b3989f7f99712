//! The life of a machine, as one pure step.
//!
//! ```text
//!                  renewed, or one of its units is reported
//!            ┌───────────────────────────────────────────────┐
//!            ▼                                               │
//!  seen ► Present ── overdue, or none of its units is ──► Silent
//!            │ ▲     reported any more                       │
//!            │ └── seen ──┐                                  │
//!            └─ absent ─► Missing ◄────────── absent ────────┘
//!            ▲              │ expired, unlisted, or deleted for longer than a restart takes;
//!            │              ▼ never right after an outage
//!    one of its units      Lost ◄─ absent ─┐
//!    is reported            │              │
//!            │              └── seen ─► Returned
//!            └──────────────────────────────┘
//! ```
//!
//! The order of what happens within one moment does not matter: a step looks at what is known, not at what came last. It
//! knows nothing of units but how many of them are reported.

use std::time::Duration;

use super::model::Moment;
use super::observation::{Absence, Report};

/// How long a fleetd that restarts may leave its keys deleted: its machine is back within 0.1 s, its states within 1.2 s
/// (fleet v1.0.0). Nothing is told of a machine or a unit that is away for a shorter time.
pub(super) const RESTART: Duration = Duration::from_secs(3);

/// Whether a machine is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum MachinePresence {
    /// It is in the cluster.
    Present,
    /// It is in the cluster, but is not heard of.
    Silent {
        /// When it was heard of last.
        since: Moment,
    },
    /// It is not in the cluster, and may be back in no time.
    Missing {
        /// Since when.
        since: Moment,
        /// Whether it was told to be silent before.
        silent: bool,
    },
    /// It has left the cluster.
    Lost {
        /// Since when.
        since: Moment,
    },
    /// It is back in the cluster, and none of the units that were on it has been reported yet: after a crash, fleetd
    /// v1.0.0 publishes its first state 27 to 51 s after its machine.
    Returned,
}

/// What is known of a machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct MachineEvidence {
    /// Whether it is in the cluster.
    pub(super) report: Report,
    /// How many rows are on it, whether or not they are reported.
    pub(super) rows: usize,
    /// Since when none of these has been reported, if none is.
    pub(super) mute_since: Option<Moment>,
    /// Whether the source answers, and an outage is not just over.
    pub(super) settled: bool,
    /// Whether the source's lists are doubted.
    pub(super) suspect: bool,
    /// Whether another machine is in the cluster: fleet without a machine is no fleet.
    pub(super) has_company: bool,
}

/// What happened to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MachineNews {
    /// It left the cluster.
    Lost,
    /// It came back.
    Joined,
    /// It is not heard of any more.
    Silent,
    /// It is heard of again.
    Heard,
}

/// One step of the life of a machine.
pub(super) fn step(
    presence: MachinePresence,
    evidence: &MachineEvidence,
    now: Moment,
) -> (MachinePresence, Option<MachineNews>) {
    let is_mute = evidence.mute_since.is_some();

    match (presence, evidence.report) {
        (MachinePresence::Lost { .. }, Report::Absent { .. }) => (presence, None),
        (MachinePresence::Lost { .. }, _) if is_mute => (MachinePresence::Returned, Some(MachineNews::Joined)),
        (MachinePresence::Lost { .. }, _) => (MachinePresence::Present, Some(MachineNews::Joined)),

        (MachinePresence::Returned, Report::Absent { since, .. }) => step(missing(since, false), evidence, now),
        (MachinePresence::Returned, _) if is_mute => (MachinePresence::Returned, None),
        (MachinePresence::Returned, _) => (MachinePresence::Present, None),

        (MachinePresence::Present, Report::Absent { since, .. }) => step(missing(since, false), evidence, now),
        (MachinePresence::Silent { .. }, Report::Absent { since, .. }) => step(missing(since, true), evidence, now),
        (MachinePresence::Missing { .. }, Report::Absent { since, absence, .. }) => {
            let restarts = absence == Absence::Deleted && now.since(since) < RESTART;
            if restarts || !evidence.settled || !evidence.has_company {
                return (presence, None);
            }
            (MachinePresence::Lost { since: now }, Some(MachineNews::Lost))
        }

        (MachinePresence::Present | MachinePresence::Missing { silent: false, .. }, report) => {
            match silent_since(report, evidence, now) {
                Some(since) => (MachinePresence::Silent { since }, Some(MachineNews::Silent)),
                None => (MachinePresence::Present, None),
            }
        }
        (MachinePresence::Silent { .. } | MachinePresence::Missing { silent: true, .. }, report) => {
            let still = match (report, evidence.mute_since) {
                (Report::Overdue { since }, _) => Some(since),
                (_, since) => since.filter(|_| evidence.rows > 1),
            };
            match still {
                Some(since) => (MachinePresence::Silent { since }, None),
                None => (MachinePresence::Present, Some(MachineNews::Heard)),
            }
        }
    }
}

fn missing(since: Moment, silent: bool) -> MachinePresence {
    MachinePresence::Missing { since, silent }
}

/// Since when a machine that is in the cluster has not been heard of. Right after an outage many are not, and not through
/// their own fault; a single unit that is not reported says nothing of its machine.
fn silent_since(report: Report, evidence: &MachineEvidence, now: Moment) -> Option<Moment> {
    if !evidence.settled || evidence.suspect {
        return None;
    }
    match (report, evidence.mute_since) {
        (Report::Overdue { since }, _) => Some(since),
        (_, Some(since)) if evidence.rows > 1 && now.since(since) >= RESTART => Some(since),
        _ => None,
    }
}
