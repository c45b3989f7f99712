//! The life of a row, a unit on a machine, as one pure step.
//!
//! Its diagram is in `docs/development.md`.
//!
//! A row goes only by evidence about that row: fleet does not want the unit any more; or another
//! machine reports it; or its machine took it away, and fleet does not want it there. What merely
//! expired, or is missing from a list, waits: for the grace period, which runs only while its
//! machine reports others and the source is believed, or for the keep time on a machine that is
//! lost. It knows neither sources nor texts of people but the reason why a row went.

use std::time::{Duration, Instant};

use super::desired::{NotWanted, Wanted};
use super::machine_life::RESTART;
use super::model::Moment;
use super::observation::{Absence, Report};

/// A deleted key may be set again at once: `fleetctl unload` makes fleetd delete the states of a
/// unit and set them again 4 ms later (v1.0.0).
const REWRITE: Duration = Duration::from_millis(500);
/// How long after its return a row that is absent once more is no news.
const BLINK: Duration = Duration::from_secs(60);

/// Whether a row is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
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
pub(crate) enum Departure {
    NotWanted(NotWanted),
    Moved { from_lost_machine: bool },
    TakenAway,
    GraceOver,
    KeepTimeOver,
    NotListed,
}

impl Departure {
    /// Whether nothing is known of the row but that it was waited for long enough.
    pub(crate) fn ends_a_wait(self) -> bool {
        matches!(self, Departure::GraceOver | Departure::KeepTimeOver)
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Departure::NotWanted(NotWanted::NoFile) => "its unit file is gone",
            Departure::NotWanted(NotWanted::Unloaded) => "fleet has unloaded it",
            Departure::Moved { from_lost_machine: false } => {
                "fleet has moved it to another machine"
            }
            Departure::Moved { from_lost_machine: true } => {
                "its machine is lost, and fleet has moved it to another one"
            }
            Departure::TakenAway => "fleet has taken it away from its machine",
            Departure::GraceOver => {
                "fleet has not reported it for longer than the grace period (--grace)"
            }
            Departure::KeepTimeOver => {
                "its machine has been lost for longer than the keep time (--keep-lost)"
            }
            Departure::NotListed => "fleet does not list it any more",
        }
    }
}

/// Where the machine of a row stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MachineStanding {
    /// It reports units.
    Speaking {
        /// Since when, without a break.
        since: Moment,
    },
    /// It reports none, or is not in the cluster for a moment: what it does not report proves
    /// nothing.
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
pub(crate) enum SourceStanding {
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

impl SourceStanding {
    /// Whether its lists may be old, or short.
    pub(crate) fn is_old(self) -> bool {
        matches!(self, SourceStanding::Unsettled | SourceStanding::Failing)
    }
}

/// How long rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long a row that fleet wants is kept after its machine has stopped reporting it; with
    /// zero, every row is believed as it comes and goes.
    pub grace: Duration,
    /// How long the rows of a lost machine are kept.
    pub lost: Duration,
}

impl Retention {
    /// How long the rows of a lost machine are kept, where nothing else is asked for.
    pub const LOST: Duration = Duration::from_secs(3600);

    /// Whether every row is believed as it comes and goes.
    pub(crate) fn passes_through(self) -> bool {
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
pub(crate) struct Evidence {
    /// What was last heard of it.
    pub(crate) report: Report,
    /// Whether fleet wants it here.
    pub(crate) wanted: Wanted,
    /// Whether what fleet wants was read since the row was not reported any more, and since its
    /// machine has reported others.
    pub(crate) wanted_is_newer: bool,
    /// Whether another machine reports the unit: the one that fleet has chosen, or one that began
    /// later.
    pub(crate) is_elsewhere: bool,
    /// Its machine.
    pub(crate) machine: MachineStanding,
    /// The source.
    pub(crate) source: SourceStanding,
    /// Whether it is, or was, shown to be on a lost machine.
    pub(crate) was_lost: bool,
    /// When it came back after it was told to be stale.
    pub(crate) came_back: Option<Moment>,
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Stale,
    Back,
    Gone(Departure),
}

/// What a step comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) presence: Presence,
    pub(crate) news: Option<News>,
    /// When time alone may change it.
    pub(crate) due: Option<Instant>,
}

/// One step of the life of a row that has been reported.
pub(crate) fn step(
    presence: Presence,
    evidence: &Evidence,
    retention: Retention,
    now: Moment,
) -> Step {
    let back = (presence == Presence::Stale).then_some(News::Back);

    match evidence.report {
        Report::Current => Step { presence: Presence::Reported, news: back, due: None },
        Report::Overdue { .. } => {
            // Right after an outage many are, and not through their own fault. One that was absent
            // has only just come back.
            let settled = matches!(evidence.source, SourceStanding::Settled { .. });
            let was_there = matches!(presence, Presence::Reported | Presence::Overdue);
            let presence = if settled && was_there {
                Presence::Overdue
            } else {
                Presence::Reported
            };
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

fn absent(
    presence: Presence,
    evidence: &Evidence,
    missing: Missing,
    retention: Retention,
    now: Moment,
) -> Step {
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
        Some(at) if presence == Presence::Absent && now.instant >= at => {
            Step { presence: Presence::Stale, news: Some(News::Stale), due }
        }
        at => Step {
            presence: Presence::Absent,
            news: None,
            due: due.into_iter().chain(at).min(),
        },
    }
}

fn gone(departure: Departure) -> Step {
    Step {
        presence: Presence::Gone(departure),
        news: Some(News::Gone(departure)),
        due: None,
    }
}

/// The evidence about this row that it is gone, if there is some.
fn departure(evidence: &Evidence, missing: Missing) -> Option<Departure> {
    let is_deleted = missing.absence == Absence::Deleted;

    match evidence.wanted {
        Wanted::Not(reason) => Some(Departure::NotWanted(reason)),
        _ if evidence.is_elsewhere && (is_deleted || !evidence.source.is_old()) => {
            Some(Departure::Moved { from_lost_machine: evidence.was_lost })
        }
        Wanted::Elsewhere | Wanted::Nowhere if is_deleted || is_let_go(evidence, missing) => {
            Some(Departure::TakenAway)
        }
        _ => None,
    }
}

/// Whether a list that lacks a row is as good as a deletion: its machine goes on to report others,
/// and what fleet wants was read since. When fleetd dies, all that it reported goes at once.
fn is_let_go(evidence: &Evidence, missing: Missing) -> bool {
    let speaks = matches!(evidence.machine, MachineStanding::Speaking { since } if since.instant < missing.since.instant);

    missing.absence == Absence::Unlisted
        && missing.confirmed
        && evidence.wanted_is_newer
        && speaks
        && !evidence.source.is_old()
        && !evidence.was_lost
}

/// Whether a machine that was lost is back and reports its units, of which fleet does not want this
/// one there any more. When it wants one there again, the engine sets its target before that.
fn is_left_behind(evidence: &Evidence) -> bool {
    evidence.was_lost
        && evidence.wanted_is_newer
        && matches!(evidence.wanted, Wanted::Elsewhere | Wanted::Nowhere)
}

/// When the wait for a row is over, as far as anything but evidence can end it.
fn end_of_wait(
    evidence: &Evidence,
    missing: Missing,
    retention: Retention,
) -> Option<(Departure, Instant)> {
    let SourceStanding::Settled { since: believed } = evidence.source else {
        return None;
    };

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
            if is_left_behind(evidence) {
                return Some((Departure::TakenAway, since + RESTART.min(retention.grace)));
            }
            Some((Departure::GraceOver, since + retention.grace))
        }
    }
}

/// When it is worth an event that a row is not reported; never where other events tell of it.
fn worth_telling(evidence: &Evidence, missing: Missing, retention: Retention) -> Option<Instant> {
    let is_missed = matches!(evidence.wanted, Wanted::Here { .. } | Wanted::Unknown);
    let is_believed = matches!(evidence.source, SourceStanding::Settled { .. });
    let speaks = matches!(evidence.machine, MachineStanding::Speaking { .. });
    // When one fleetd lets go of a global unit, it deletes the states of all machines, and each of
    // these puts its own back when it renews it, up to 24 s later (fleet v1.0.0).
    let is_quirk = matches!(evidence.wanted, Wanted::Here { global: true })
        && missing.absence == Absence::Deleted;
    if !is_missed || !is_believed || !speaks || is_quirk {
        return None;
    }

    let earliest = match missing.absence {
        Absence::Unlisted => missing.confirmed.then_some(missing.since.instant)?,
        Absence::Deleted | Absence::Expired => missing.since.instant + RESTART,
    };
    let blinks = evidence
        .came_back
        .is_some_and(|back| missing.since.since(back) < BLINK);
    Some(if blinks {
        earliest.max(missing.since.instant + retention.grace)
    } else {
        earliest
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::assert_catalogue;

    const GRACE: Duration = Duration::from_secs(30);
    const HOUR: Duration = Duration::from_secs(3600);

    /// A row that is not reported any more from the start on; before, all had been well for an
    /// hour.
    struct Life {
        start: Moment,
        presence: Presence,
        evidence: Evidence,
        due: Option<Instant>,
    }

    impl Life {
        fn absent(absence: Absence) -> Self {
            let start = Moment::now();
            let evidence = Evidence {
                report: Report::Absent { since: start, absence, confirmed: true },
                wanted: Wanted::Here { global: false },
                wanted_is_newer: true,
                is_elsewhere: false,
                machine: MachineStanding::Speaking { since: start.before(HOUR) },
                source: SourceStanding::Settled { since: start.before(HOUR) },
                was_lost: false,
                came_back: None,
            };
            Self { start, presence: Presence::Reported, evidence, due: None }
        }

        fn but(mut self, change: impl FnOnce(&mut Evidence, Moment)) -> Self {
            change(&mut self.evidence, self.start);
            self
        }

        fn at(&mut self, seconds: f64) -> Option<News> {
            let evidence = Evidence {
                was_lost: self.presence == Presence::Lost || self.evidence.was_lost,
                ..self.evidence
            };
            let now = self.start + Duration::from_secs_f64(seconds);
            let step = step(self.presence, &evidence, Retention::from(GRACE), now);

            self.presence = step.presence;
            self.due = step.due;
            step.news
        }

        /// Steps whenever time makes one due, and returns what there is to tell, with when.
        fn lives_on(mut self) -> Vec<(f64, News)> {
            let mut told = Vec::new();
            let mut now = 0.0;

            loop {
                told.extend(self.at(now).map(|news| (now, news)));
                match self.due.filter(|_| !matches!(self.presence, Presence::Gone(_))) {
                    Some(due) => now = due.duration_since(self.start.instant).as_secs_f64(),
                    None => return told,
                }
            }
        }
    }

    fn gone(departure: Departure) -> News {
        News::Gone(departure)
    }

    #[test]
    fn what_lists_lack_though_fleet_wants_it_is_stale_at_once_and_gone_after_the_grace() {
        let told = Life::absent(Absence::Unlisted).lives_on();
        assert_eq!(told, [(0.0, News::Stale), (30.0, gone(Departure::GraceOver))]);
    }

    #[test]
    fn what_one_list_lacks_is_not_told() {
        let mut life = Life::absent(Absence::Unlisted).but(|it, start| {
            it.report =
                Report::Absent { since: start, absence: Absence::Unlisted, confirmed: false }
        });
        assert_eq!(life.at(0.0), None);
        assert_eq!(life.presence, Presence::Absent);
    }

    #[test]
    fn what_was_deleted_or_has_expired_is_told_when_a_restart_would_be_over() {
        for absence in [Absence::Deleted, Absence::Expired] {
            let told = Life::absent(absence).lives_on();
            assert_eq!(
                told,
                [(3.0, News::Stale), (30.0, gone(Departure::GraceOver))],
                "{absence:?}"
            );
        }
    }

    #[test]
    fn a_deleted_key_that_fleet_does_not_want_there_is_gone_unless_it_is_set_again() {
        for (wanted, departure) in [
            (Wanted::Not(NotWanted::NoFile), Departure::NotWanted(NotWanted::NoFile)),
            (Wanted::Nowhere, Departure::TakenAway),
            (Wanted::Elsewhere, Departure::TakenAway),
        ] {
            let told = Life::absent(Absence::Deleted)
                .but(|it, _| it.wanted = wanted)
                .lives_on();
            assert_eq!(told, [(0.5, gone(departure))]);
        }
    }

    #[test]
    fn what_expired_is_not_gone_because_its_target_was_taken_away() {
        for wanted in [Wanted::Nowhere, Wanted::Elsewhere] {
            let told = Life::absent(Absence::Expired)
                .but(|it, _| it.wanted = wanted)
                .lives_on();
            assert_eq!(told, [(30.0, gone(Departure::GraceOver))]);
        }
    }

    #[test]
    fn what_a_list_lacks_is_gone_once_unit_files_read_later_do_not_have_it_there() {
        let mut life = Life::absent(Absence::Unlisted).but(|it, _| {
            it.wanted = Wanted::Nowhere;
            it.wanted_is_newer = false;
        });
        assert_eq!(life.at(0.0), None);
        life.evidence.wanted_is_newer = true;
        assert_eq!(life.at(1.0), Some(gone(Departure::TakenAway)));
    }

    #[test]
    fn what_a_list_lacks_together_with_all_other_rows_of_its_machine_is_not_taken_away() {
        let told = Life::absent(Absence::Unlisted)
            .but(|it, start| {
                it.wanted = Wanted::Nowhere;
                it.machine = MachineStanding::Waiting { since: start };
            })
            .lives_on();
        assert_eq!(told, [(3600.0, gone(Departure::GraceOver))]);
    }

    #[test]
    fn a_unit_that_another_machine_reports_is_gone_here() {
        for absence in [Absence::Unlisted, Absence::Expired] {
            let told = Life::absent(absence).but(|it, _| it.is_elsewhere = true).lives_on();
            assert_eq!(told, [(0.0, gone(Departure::Moved { from_lost_machine: false }))]);
        }
    }

    #[test]
    fn right_after_an_outage_nothing_goes_on_the_word_of_lists_and_nothing_is_told() {
        for source in [SourceStanding::Unsettled, SourceStanding::Failing] {
            for (wanted, is_elsewhere) in [
                (Wanted::Here { global: false }, false),
                (Wanted::Nowhere, false),
                (Wanted::Elsewhere, true),
            ] {
                let mut life = Life::absent(Absence::Unlisted).but(|it, _| {
                    it.source = source;
                    it.wanted = wanted;
                    it.is_elsewhere = is_elsewhere;
                });
                assert_eq!(life.at(7200.0), None);
                assert_eq!((life.presence, life.due), (Presence::Absent, None));
            }
        }
    }

    #[test]
    fn while_the_source_is_suspect_nothing_is_told_and_the_grace_does_not_run() {
        let mut life =
            Life::absent(Absence::Unlisted).but(|it, _| it.source = SourceStanding::Suspect);
        assert_eq!(life.at(7200.0), None);
        assert_eq!((life.presence, life.due), (Presence::Absent, None));
    }

    #[test]
    fn the_grace_begins_anew_when_the_source_is_believed_again_and_when_the_machine_reports_others_again()
     {
        let told = Life::absent(Absence::Expired)
            .but(|it, start| {
                it.source = SourceStanding::Settled { since: start + Duration::from_secs(100) }
            })
            .lives_on();
        assert_eq!(told.last(), Some(&(130.0, gone(Departure::GraceOver))));

        let told = Life::absent(Absence::Expired)
            .but(|it, start| {
                it.machine = MachineStanding::Speaking { since: start + Duration::from_secs(100) }
            })
            .lives_on();
        assert_eq!(told.last(), Some(&(130.0, gone(Departure::GraceOver))));
    }

    #[test]
    fn the_rows_of_a_lost_machine_are_kept_for_the_keep_time_and_told_only_when_they_go() {
        let told = Life::absent(Absence::Expired)
            .but(|it, start| it.machine = MachineStanding::Lost { since: start })
            .lives_on();
        assert_eq!(told, [(3600.0, gone(Departure::KeepTimeOver))]);
    }

    #[test]
    fn what_was_lost_does_not_turn_stale() {
        let mut life = Life::absent(Absence::Expired)
            .but(|it, start| it.machine = MachineStanding::Lost { since: start });
        life.at(0.0);
        life.evidence.machine =
            MachineStanding::Speaking { since: life.start + Duration::from_secs(40) };
        assert_eq!(life.at(69.0), None);
        assert_eq!(life.presence, Presence::Lost);
        assert_eq!(
            life.at(70.0),
            Some(gone(Departure::GraceOver)),
            "the grace counts from when its machine spoke"
        );
    }

    #[test]
    fn what_was_stale_is_lost_with_its_machine() {
        let mut life = Life::absent(Absence::Expired);
        assert_eq!(life.at(3.0), None);
        assert_eq!(life.at(3.0), Some(News::Stale));
        life.evidence.machine = MachineStanding::Lost { since: life.start };
        assert_eq!(life.at(10.0), None);
        assert_eq!(life.presence, Presence::Lost);
    }

    #[test]
    fn only_what_was_told_is_told_to_be_back() {
        for (presence, news) in [
            (Presence::Stale, Some(News::Back)),
            (Presence::Absent, None),
            (Presence::Lost, None),
        ] {
            let mut life = Life::absent(Absence::Unlisted).but(|it, _| it.report = Report::Current);
            life.presence = presence;
            assert_eq!(life.at(5.0), news);
            assert_eq!(life.presence, Presence::Reported);
        }
    }

    #[test]
    fn what_blinks_is_told_again_only_if_it_stays_away_for_the_grace() {
        let told = Life::absent(Absence::Unlisted)
            .but(|it, start| it.came_back = Some(start.before(Duration::from_secs(59))))
            .lives_on();
        assert_eq!(told, [(30.0, gone(Departure::GraceOver))], "that is the end of it");

        let told = Life::absent(Absence::Unlisted)
            .but(|it, start| it.came_back = Some(start.before(Duration::from_secs(60))))
            .lives_on();
        assert_eq!(told[0], (0.0, News::Stale), "a minute later it is news");
    }

    #[test]
    fn a_global_state_that_was_deleted_is_not_told() {
        // One fleetd that lets go of a global unit deletes the states of all machines.
        let told = Life::absent(Absence::Deleted)
            .but(|it, _| it.wanted = Wanted::Here { global: true })
            .lives_on();
        assert_eq!(told, [(30.0, gone(Departure::GraceOver))]);
    }

    #[test]
    fn without_a_grace_what_is_not_listed_is_gone() {
        let life = Life::absent(Absence::Unlisted);
        let step =
            step(Presence::Reported, &life.evidence, Retention::from(Duration::ZERO), life.start);
        assert_eq!(step.presence, Presence::Gone(Departure::NotListed));
    }

    #[test]
    fn right_after_an_outage_nothing_is_overdue() {
        for (source, presence) in [
            (SourceStanding::Unsettled, Presence::Reported),
            (SourceStanding::Settled { since: Moment::now() }, Presence::Overdue),
        ] {
            let mut life = Life::absent(Absence::Expired).but(|it, start| {
                it.report = Report::Overdue { since: start };
                it.source = source;
            });
            assert_eq!(life.at(1.0), None);
            assert_eq!(life.presence, presence);
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
        assert_catalogue(
            "departures",
            departures.map(|departure| (format!("{departure:?}"), departure.reason())),
        );
    }
}
