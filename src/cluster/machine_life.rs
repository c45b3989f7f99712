//! The life of a machine, as one pure step.
//!
//! Its diagram is in `docs/development.md`. A machine is lost when its key has expired, when a list
//! lacks it, or when its key was deleted for longer than a restart takes; never right after an
//! outage.
//!
//! The order of what happens within one moment does not matter: a step looks at what is known, not
//! at what came last. It knows nothing of units but how many of them are reported.

use std::time::Duration;

use super::model::Moment;
use super::observation::{Absence, Report};

/// How long a fleetd that restarts may leave its keys deleted: its machine is back within 0.1 s,
/// its states within 1.2 s (fleet v1.0.0). Nothing is told of a machine or a unit that is away for
/// a shorter time.
pub(crate) const RESTART: Duration = Duration::from_secs(3);

/// Whether a machine is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MachinePresence {
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
    },
    /// It has left the cluster.
    Lost {
        /// Since when.
        since: Moment,
    },
    /// It is back in the cluster, and none of the units that were on it has been reported yet:
    /// after a crash, fleetd v1.0.0 publishes its first state 27 to 51 s after its machine.
    Returned,
}

/// What is known of a machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineEvidence {
    /// Whether it is in the cluster.
    pub(crate) report: Report,
    /// How many rows are on it, whether or not they are reported.
    pub(crate) rows: usize,
    /// Since when none of these has been reported, if none is.
    pub(crate) mute_since: Option<Moment>,
    /// Whether the source answers, and an outage is not just over.
    pub(crate) settled: bool,
    /// Whether the source's lists are doubted.
    pub(crate) suspect: bool,
    /// Whether another machine is in the cluster: fleet without a machine is no fleet.
    pub(crate) has_company: bool,
}

/// What happened to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MachineNews {
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
pub(crate) fn step(
    presence: MachinePresence,
    evidence: &MachineEvidence,
    now: Moment,
) -> (MachinePresence, Option<MachineNews>) {
    let is_mute = evidence.mute_since.is_some();

    match (presence, evidence.report) {
        (MachinePresence::Lost { .. }, Report::Absent { .. }) => (presence, None),
        (MachinePresence::Lost { .. }, _) if is_mute => {
            (MachinePresence::Returned, Some(MachineNews::Joined))
        }
        (MachinePresence::Lost { .. }, _) => (MachinePresence::Present, Some(MachineNews::Joined)),

        (_, Report::Absent { since, absence, .. }) => {
            if has_left(absence, since, evidence, now) {
                return (MachinePresence::Lost { since: now }, Some(MachineNews::Lost));
            }
            match presence {
                MachinePresence::Present => (MachinePresence::Missing { since }, None),
                noted => (noted, None),
            }
        }

        (MachinePresence::Returned, _) if is_mute => (MachinePresence::Returned, None),
        (MachinePresence::Returned | MachinePresence::Missing { .. }, _) => {
            (MachinePresence::Present, None)
        }

        (MachinePresence::Present, report) => match silent_since(report, evidence, now) {
            Some(since) => (MachinePresence::Silent { since }, Some(MachineNews::Silent)),
            None => (MachinePresence::Present, None),
        },
        (MachinePresence::Silent { .. }, report) => {
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

/// Whether a machine that is not there has left. One that restarts is back in no time, and right
/// after an outage many are not there yet.
fn has_left(absence: Absence, since: Moment, evidence: &MachineEvidence, now: Moment) -> bool {
    let restarts = absence == Absence::Deleted && now.since(since) < RESTART;
    !restarts && evidence.settled && evidence.has_company
}

/// Since when a machine that is in the cluster has not been heard of. Right after an outage many
/// are not, and not through their own fault; a single unit that is not reported says nothing of its
/// machine.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with two rows, both of which are reported, in the company of others; all is well.
    struct Life {
        start: Moment,
        presence: MachinePresence,
        evidence: MachineEvidence,
    }

    impl Life {
        fn new() -> Self {
            let evidence = MachineEvidence {
                report: Report::Current,
                rows: 2,
                mute_since: None,
                settled: true,
                suspect: false,
                has_company: true,
            };
            Self {
                start: Moment::now(),
                presence: MachinePresence::Present,
                evidence,
            }
        }

        /// It is not in the cluster from the start on.
        fn absent(absence: Absence) -> Self {
            let mut life = Self::new();
            life.evidence.report = Report::Absent { since: life.start, absence, confirmed: false };
            life
        }

        /// None of its rows is reported from the start on.
        fn mute() -> Self {
            let mut life = Self::new();
            life.evidence.mute_since = Some(life.start);
            life
        }

        fn at(&mut self, seconds: u64) -> Option<MachineNews> {
            let (presence, news) =
                step(self.presence, &self.evidence, self.start + Duration::from_secs(seconds));
            self.presence = presence;
            news
        }
    }

    #[test]
    fn a_machine_that_expired_or_is_not_listed_is_lost_at_once() {
        for absence in [Absence::Expired, Absence::Unlisted] {
            let mut life = Life::absent(absence);
            assert_eq!(life.at(0), Some(MachineNews::Lost));
            assert_eq!(life.at(1), None, "told once");
        }
    }

    #[test]
    fn a_machine_whose_key_was_deleted_may_be_back_in_no_time() {
        let mut life = Life::absent(Absence::Deleted);
        assert_eq!(life.at(2), None);
        assert_eq!(life.presence, MachinePresence::Missing { since: life.start });

        life.evidence.report = Report::Current;
        assert_eq!(life.at(2), None);
        assert_eq!(life.presence, MachinePresence::Present);

        life = Life::absent(Absence::Deleted);
        assert_eq!(life.at(3), Some(MachineNews::Lost));
    }

    #[test]
    fn no_machine_is_lost_right_after_an_outage_and_none_if_all_are_away() {
        let mut life = Life::absent(Absence::Expired);
        life.evidence.settled = false;
        assert_eq!(life.at(0), None);

        let mut life = Life::absent(Absence::Expired);
        life.evidence.has_company = false;
        assert_eq!(life.at(0), None);
    }

    #[test]
    fn a_machine_whose_key_is_overdue_is_silent_until_it_is_renewed() {
        let mut life = Life::new();
        life.evidence.report = Report::Overdue { since: life.start };
        assert_eq!(life.at(20), Some(MachineNews::Silent));
        assert_eq!(life.at(21), None, "told once");
        life.evidence.report = Report::Current;
        assert_eq!(life.at(22), Some(MachineNews::Heard));
    }

    #[test]
    fn a_machine_none_of_whose_rows_is_reported_is_silent_when_a_restart_would_be_over() {
        let mut life = Life::mute();
        assert_eq!(life.at(2), None);
        assert_eq!(life.at(3), Some(MachineNews::Silent));
        life.evidence.mute_since = None;
        assert_eq!(life.at(4), Some(MachineNews::Heard));
    }

    #[test]
    fn one_row_that_is_not_reported_says_nothing_of_its_machine() {
        let mut life = Life::mute();
        life.evidence.rows = 1;
        assert_eq!(life.at(3600), None);
    }

    #[test]
    fn nobody_is_silent_while_the_source_is_not_trusted() {
        for (settled, suspect) in [(false, false), (true, true)] {
            let mut life = Life::mute();
            life.evidence.settled = settled;
            life.evidence.suspect = suspect;
            assert_eq!(life.at(3600), None);
        }
    }

    #[test]
    fn a_silent_machine_stays_silent_when_the_source_is_trusted_less() {
        let mut life = Life::mute();
        life.at(3);
        life.evidence.settled = false;
        assert_eq!(life.at(4), None);
        assert_eq!(life.presence, MachinePresence::Silent { since: life.start });
    }

    #[test]
    fn a_machine_that_is_back_has_returned_until_one_of_its_rows_is_reported() {
        let mut life = Life::absent(Absence::Expired);
        life.at(0);
        life.evidence.report = Report::Current;
        life.evidence.mute_since = Some(life.start);
        assert_eq!(life.at(40), Some(MachineNews::Joined));
        assert_eq!(life.presence, MachinePresence::Returned);
        assert_eq!(life.at(80), None, "it is not called silent for that");

        life.evidence.mute_since = None;
        assert_eq!(life.at(81), None);
        assert_eq!(life.presence, MachinePresence::Present);
    }

    #[test]
    fn a_machine_that_is_back_with_a_row_or_without_any_that_is_known_is_present() {
        let mut life = Life::absent(Absence::Expired);
        life.at(0);
        life.evidence.report = Report::Current;
        assert_eq!(life.at(40), Some(MachineNews::Joined));
        assert_eq!(life.presence, MachinePresence::Present);
    }

    #[test]
    fn a_machine_that_is_back_and_crashes_again_is_lost_again() {
        let mut life = Life::mute();
        life.presence = MachinePresence::Returned;
        life.evidence.report = Report::Absent {
            since: life.start,
            absence: Absence::Expired,
            confirmed: false,
        };
        assert_eq!(life.at(0), Some(MachineNews::Lost));
    }
}
