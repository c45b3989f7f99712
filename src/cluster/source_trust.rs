//! How far the source is trusted: whether it answers, whether an outage has just ended, and whether
//! its lists are suspect.
//!
//! It knows nothing of rows except the keys of those that are missing.

use super::health::{Health, ReadFailure, ReadSchedule};
use super::model::RowKey;
use super::model::{FleetList, Moment};
use super::retention::Retention;
use super::suspicion::{MissingRows, Suspicion, SuspicionChange};
use super::transition::Event;

/// Whether the source can be trusted at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SourceStanding {
    /// It is trusted, without interruption since then.
    Trusted { since: Moment },
    /// An outage has just ended: its lists may be incomplete and outdated.
    Recovering,
    /// Its lists are suspected to be incomplete.
    Suspect,
    /// It cannot be read.
    Failing,
}

impl SourceStanding {
    pub(crate) fn is_trusted(self) -> bool {
        matches!(self, SourceStanding::Trusted { .. })
    }

    /// Whether its lists may still show the state before an outage.
    pub(crate) fn may_be_outdated(self) -> bool {
        matches!(self, SourceStanding::Recovering | SourceStanding::Failing)
    }
}

/// The health of the source, and what else determines its [`SourceStanding`].
#[derive(Debug)]
pub(crate) struct SourceTrust {
    health: Health,
    suspicion: Suspicion,
    /// When the first list was read.
    began: Option<Moment>,
    /// When the units and machines could be read again after an outage, or a suspicion ended. For a
    /// source that listed no unit at first, when it began.
    recovered: Option<Moment>,
    /// Whether the cluster was restored, and the source has not recovered since it was first read:
    /// until then, it is like after an outage, since nothing is known of the time before.
    is_restored: bool,
}

impl SourceTrust {
    /// The trust in a source that has not been read yet. `held_back` is the initial value of
    /// [`Health::held_back`].
    pub(crate) fn new(held_back: u64) -> Self {
        Self {
            health: Health { held_back, ..Health::default() },
            suspicion: Suspicion::default(),
            began: None,
            recovered: None,
            is_restored: false,
        }
    }

    /// Records that it is known what was there before the first reading.
    pub(crate) fn set_restored(&mut self, is_restored: bool) {
        self.is_restored = is_restored;
    }

    /// Whether the source has not recovered yet since a restored cluster was first read. Many rows
    /// may be missing then because the program did not run for long.
    pub(crate) fn is_restoring(&mut self, retention: Retention, at: Moment) -> bool {
        self.is_restored &= !self.has_recovered(retention, at);
        self.is_restored
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    pub(crate) fn set_held_back(&mut self, held_back: u64) {
        self.health.held_back = held_back;
    }

    /// Publishes how far the source is trusted now.
    pub(crate) fn set_standing(&mut self, standing: SourceStanding) {
        self.health.is_recovering = standing == SourceStanding::Recovering;
    }

    /// Sets by when some lists are to be read again; `None` if they are not read regularly.
    pub(crate) fn set_schedule(&mut self, lists: &[FleetList], schedule: Option<ReadSchedule>) {
        for list in lists {
            self.health.list_mut(*list).schedule = schedule;
        }
    }

    /// Records that some lists were read. Returns whether one of them was read for the first time.
    pub(crate) fn record_success(
        &mut self,
        lists: &[FleetList],
        at: Moment,
        events: &mut Vec<Event>,
    ) -> bool {
        self.began.get_or_insert(at);
        let down_since = self.health.failure().map(|failure| failure.since);
        let mut is_first = false;

        for list in lists {
            let health = self.health.list_mut(*list);
            let is_first_of_list = health.read.replace(at).is_none();
            let had_failed = health.failure.take().is_some();
            is_first |= is_first_of_list;

            // A failure to read the unit files does not affect the rows.
            let is_after_outage = had_failed || (is_first_of_list && self.is_restored);
            if is_after_outage && *list != FleetList::UnitFiles {
                self.recovered = Some(at);
            }
        }

        if self.health.unread().next().is_none() {
            self.health.events_since.get_or_insert(at.wall);
        }

        if let (Some(since), None) = (down_since, self.health.failure()) {
            events.push(Event::SourceBack { after: at.since(since) });
        }
        is_first
    }

    /// Records that some lists could not be read.
    pub(crate) fn record_failure(
        &mut self,
        lists: &[FleetList],
        reason: &str,
        at: Moment,
        events: &mut Vec<Event>,
    ) {
        if self.health.failure().is_none() {
            events.push(Event::SourceDown { reason: reason.to_owned() });
        }

        for list in lists {
            let failure = &mut self.health.list_mut(*list).failure;
            let since = failure.as_ref().map_or(at, |failure| failure.since);
            *failure = Some(ReadFailure { since, reason: reason.into() });
        }
    }

    /// Records that no unit is reported although fleet has unit files, as after a restart of etcd
    /// or fleet. A source that begins like this is not trusted yet.
    pub(crate) fn record_no_units(&mut self) {
        self.recovered = self.recovered.or(self.began);
    }

    /// Whether the units or the machines cannot be read.
    fn is_failing(&self) -> bool {
        [FleetList::Units, FleetList::Machines]
            .iter()
            .any(|list| self.health.list(*list).failure.is_some())
    }

    /// Whether the source answers, and has done so for the grace period since its last outage:
    /// fleet needs 10 to 30 s after an outage of etcd until its lists are complete again.
    pub(crate) fn has_recovered(&self, retention: Retention, at: Moment) -> bool {
        // Of a restored cluster, neither the units nor the machines may have been read yet.
        let grace_is_over = match self.recovered {
            Some(recovered) => at.since(recovered) >= retention.grace,
            None => !self.is_restored || retention.passes_through(),
        };

        grace_is_over && !self.is_failing()
    }

    pub(crate) fn standing(&self, retention: Retention, at: Moment) -> SourceStanding {
        if self.is_failing() {
            return SourceStanding::Failing;
        }

        if !self.has_recovered(retention, at) {
            return SourceStanding::Recovering;
        }
        if self.suspicion.holds_rows() {
            return SourceStanding::Suspect;
        }
        SourceStanding::Trusted { since: self.recovered.or(self.began).unwrap_or(at) }
    }

    /// Records that a missing row is back.
    pub(crate) fn record_return(&mut self, key: &RowKey, at: Moment) {
        self.suspicion.record_return(key, at);
    }

    /// Whether [`SourceTrust::check_missing`] is to be called although no row went missing or came
    /// back.
    pub(crate) fn needs_check(&self) -> bool {
        self.suspicion.needs_update()
    }

    /// Since when too many rows have been missing, if that is not confirmed yet.
    pub(crate) fn unconfirmed_since(&self) -> Option<Moment> {
        self.suspicion.unconfirmed_since()
    }

    /// Updates the suspicion by the rows that are missing now.
    pub(crate) fn check_missing(
        &mut self,
        missing: MissingRows,
        retention: Retention,
        at: Moment,
        events: &mut Vec<Event>,
    ) {
        let of = missing.of;

        match self.suspicion.update(missing, retention.grace, at) {
            Some(SuspicionChange::Raised { missing }) => {
                events.push(Event::SourceSuspect { missing, of });
            }
            Some(SuspicionChange::Cleared) => self.recovered = Some(at),
            None => {}
        }
        self.health.suspect_since = self.suspicion.since();
    }
}
