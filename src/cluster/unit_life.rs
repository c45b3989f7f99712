//! The life of a row, a unit on a machine, as one pure step.
//!
//! ```text
//!  wanted ► Expected ── reported ──► Reported ◄── renewed ──► Overdue
//!                                      ▲  │                    │
//!                                      │  └──── absent ────────┤
//!                                      │                       ▼
//!                                      ├──── reported ────── Absent ── for longer than a blink ──► Stale
//!                                      ├──── reported ────────────────────────────────────────────┤  │
//!                                      │                       │ its machine is lost              │  │
//!                                      │                       ▼                                     │
//!                                      └──── reported ──────  Lost ◄────── its machine is lost ──────┘
//!
//!  Absent, Stale, Lost ── evidence about this row, or its time is over ──► Gone
//! ```
//!
//! A row goes only by evidence about that row: fleet does not want the unit any more; or another machine reports it; or its
//! key was deleted and fleet does not want it there. What merely expired, or is missing from a list, waits: for the grace
//! period, which runs only while its machine reports others and the source is believed, or for the keep time on a machine
//! that is lost. It knows neither sources nor texts of people but the reason why a row went.

use std::time::{Duration, Instant};

use super::desired::{NotWanted, Wanted};
use super::model::Moment;
use super::observation::{Absence, Report};

/// A deleted key may be set again at once: `fleetctl unload` makes fleetd delete the states of a unit and set them again
/// 4 ms later (v1.0.0).
const REWRITE: Duration = Duration::from_millis(500);
/// How long after its return a row that is absent once more is no news.
const BLINK: Duration = Duration::from_secs(60);

/// Whether a row is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// fleet wants the unit here, and nothing has been reported of it yet.
    Expected,
    /// Its machine reports it.
    Reported,
    /// Its machine should have reported it again by now.
    Overdue,
    /// It is not reported; nobody was told yet.
    Absent,
    /// It is not reported, and that was told.
    Stale,
    /// It is not reported, and its machine is lost, or was and has not reported it since.
    Lost,
    /// It is not there any more.
    Gone(Departure),
}

/// How we know that a row is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    NotWanted(NotWanted),
    Moved { from_lost_machine: bool },
    TakenAway,
    GraceOver,
    KeepTimeOver,
    NotListed,
}

impl Departure {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Departure::NotWanted(NotWanted::NoFile) => "its unit file is gone",
            Departure::NotWanted(NotWanted::Unloaded) => "fleet has unloaded it",
            Departure::Moved { from_lost_machine: false } => "fleet has moved it to another machine",
            Departure::Moved { from_lost_machine: true } => {
                "its machine is lost, and fleet has moved it to another one"
            }
            Departure::TakenAway => "fleet has taken it away from its machine",
            Departure::GraceOver => "fleet has not reported it for longer than the grace period (--grace)",
            Departure::KeepTimeOver => "its machine has been lost for longer than the keep time (--keep-lost)",
            Departure::NotListed => "fleet does not list it any more",
        }
    }
}

/// Where the machine of a row stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum MachineStanding {
    /// It reports units.
    Speaking {
        /// Since when, without a break.
        since: Moment,
    },
    /// It reports none, or is not in the cluster for a moment: what it does not report proves nothing.
    Waiting {
        /// Since when.
        since: Moment,
    },
    /// It has left the cluster.
    Lost {
        /// Since when.
        since: Moment,
    },
}

/// Whether the source is believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SourceStanding {
    /// It is.
    Settled {
        /// Since when, without a break.
        since: Moment,
    },
    /// An outage is just over: its lists may be short and old.
    Unsettled,
    /// Its lists lack too much.
    Suspect,
    /// It cannot be read.
    Failing,
}

/// How long rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long a row that fleet wants is kept after its machine has stopped reporting it; with zero, every row is believed
    /// as it comes and goes.
    pub grace: Duration,
    /// How long the rows of a lost machine are kept.
    pub lost: Duration,
}

impl Retention {
    /// How long the rows of a lost machine are kept, where nothing else is asked for.
    pub const LOST: Duration = Duration::from_secs(3600);

    /// Whether every row is believed as it comes and goes.
    pub(super) fn passes_through(self) -> bool {
        self.grace.is_zero()
    }
}

impl From<Duration> for Retention {
    /// With this grace period.
    fn from(grace: Duration) -> Self {
        Self { grace, lost: Self::LOST }
    }
}

/// What is known of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// What was last heard of it.
    pub(super) report: Report,
    /// Whether fleet wants it here.
    pub(super) wanted: Wanted,
    /// Whether another machine reports the unit: the one that fleet has chosen, or one that began later.
    pub(super) is_elsewhere: bool,
    /// Its machine.
    pub(super) machine: MachineStanding,
    /// The source.
    pub(super) source: SourceStanding,
    /// Whether it is, or was, shown to be on a lost machine.
    pub(super) was_lost: bool,
    /// When it came back after it was told to be stale.
    pub(super) came_back: Option<Moment>,
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Stale,
    Back,
    Gone(Departure),
}

/// What a step comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) presence: Presence,
    pub(super) news: Option<News>,
    /// When time alone may change it.
    pub(super) due: Option<Instant>,
}

/// One step of the life of a row that has been reported.
pub(super) fn step(presence: Presence, evidence: &Evidence, retention: Retention, now: Moment) -> Step {
    let back = (presence == Presence::Stale).then_some(News::Back);

    match evidence.report {
        Report::Current => Step { presence: Presence::Reported, news: back, due: None },
        Report::Overdue { .. } => {
            // Right after an outage many are, and not through their own fault.
            let settled = matches!(evidence.source, SourceStanding::Settled { .. });
            let presence = if settled { Presence::Overdue } else { Presence::Reported };
            Step { presence, news: back, due: None }
        }
        Report::Absent { since, absence, confirmed } => {
            if retention.passes_through() {
                return gone(Departure::NotListed);
            }
            absent(presence, evidence, Missing { since, absence, confirmed }, retention, now)
        }
    }
}

#[derive(Clone, Copy)]
struct Missing {
    since: Moment,
    absence: Absence,
    confirmed: bool,
}

fn absent(presence: Presence, evidence: &Evidence, missing: Missing, retention: Retention, now: Moment) -> Step {
    let mut due = None;

    if let Some(departure) = departure(evidence, missing) {
        let not_before = missing.since.instant + REWRITE;
        if missing.absence != Absence::Deleted || now.instant >= not_before {
            return gone(departure);
        }
        due = Some(not_before);
    }
    if let Some((departure, end)) = end_of_wait(evidence, missing, retention) {
        if now.instant >= end {
            return gone(departure);
        }
        due = Some(due.map_or(end, |due: Instant| due.min(end)));
    }

    let is_lost = evidence.was_lost || matches!(evidence.machine, MachineStanding::Lost { .. });
    if is_lost {
        return Step { presence: Presence::Lost, news: None, due };
    }
    if presence == Presence::Stale {
        return Step { presence, news: None, due };
    }
    match worth_telling(evidence, missing, retention) {
        Some(at) if now.instant >= at => Step { presence: Presence::Stale, news: Some(News::Stale), due },
        at => Step { presence: Presence::Absent, news: None, due: due.into_iter().chain(at).min() },
    }
}

fn gone(departure: Departure) -> Step {
    Step { presence: Presence::Gone(departure), news: Some(News::Gone(departure)), due: None }
}

/// The evidence about this row that it is gone, if there is some.
fn departure(evidence: &Evidence, missing: Missing) -> Option<Departure> {
    let is_old = matches!(evidence.source, SourceStanding::Unsettled | SourceStanding::Failing);
    let is_deleted = missing.absence == Absence::Deleted;

    match evidence.wanted {
        Wanted::Not(reason) => Some(Departure::NotWanted(reason)),
        _ if evidence.is_elsewhere && (is_deleted || !is_old) => {
            Some(Departure::Moved { from_lost_machine: evidence.was_lost })
        }
        Wanted::Elsewhere | Wanted::Nowhere if is_deleted => Some(Departure::TakenAway),
        _ => None,
    }
}

/// When the wait for a row is over, as far as anything but evidence can end it.
fn end_of_wait(evidence: &Evidence, missing: Missing, retention: Retention) -> Option<(Departure, Instant)> {
    let SourceStanding::Settled { since: believed } = evidence.source else { return None };

    match evidence.machine {
        MachineStanding::Lost { since } => {
            Some((Departure::KeepTimeOver, since.instant.max(believed.instant) + retention.lost))
        }
        MachineStanding::Waiting { since } => {
            let since = since.instant.max(missing.since.instant).max(believed.instant);
            Some((Departure::GraceOver, since + retention.lost.max(retention.grace)))
        }
        MachineStanding::Speaking { since } => {
            let since = since.instant.max(missing.since.instant).max(believed.instant);
            Some((Departure::GraceOver, since + retention.grace))
        }
    }
}

/// When it is worth an event that a row is not reported; never where other events tell of it.
fn worth_telling(evidence: &Evidence, missing: Missing, retention: Retention) -> Option<Instant> {
    let is_missed = matches!(evidence.wanted, Wanted::Here { .. } | Wanted::Unknown);
    let is_believed = matches!(evidence.source, SourceStanding::Settled { .. });
    let speaks = matches!(evidence.machine, MachineStanding::Speaking { .. });
    // When one fleetd lets go of a global unit, it deletes the states of all machines, and each of these puts its own
    // back when it renews it, up to 24 s later (fleet v1.0.0).
    let is_quirk = matches!(evidence.wanted, Wanted::Here { global: true }) && missing.absence == Absence::Deleted;
    if !is_missed || !is_believed || !speaks || is_quirk {
        return None;
    }

    let earliest = match missing.absence {
        Absence::Unlisted => missing.confirmed.then_some(missing.since.instant)?,
        Absence::Deleted | Absence::Expired => missing.since.instant + super::machine_life::RESTART,
    };
    let blinks = evidence.came_back.is_some_and(|back| missing.since.since(back) < BLINK);
    Some(if blinks { earliest.max(missing.since.instant + retention.grace) } else { earliest })
}
