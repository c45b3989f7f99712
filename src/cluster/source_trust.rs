//! How far the source is to be trusted: whether it answers, whether an outage is just over, whether
//! its lists lack too much.
//!
//! It knows nothing of rows but which are missing.

use super::health::{Expected, Health, ReadFailure};
use super::model::{FleetList, Moment};
use super::suspicion::{Finding, Suspicion};
use super::transition::Event;
use super::unit_life::{Retention, SourceStanding};
use super::view::RowKey;
use std::collections::BTreeSet;

/// The state of the source, as far as judging its answers is concerned.
#[derive(Debug)]
pub(crate) struct SourceTrust {
    health: Health,
    /// Since when the units and the machines can be read, or the source is believed, again. Of one
    /// that began without any unit, since it began.
    recovered: Option<Moment>,
    suspicion: Suspicion,
    began: Option<Moment>,
}

impl SourceTrust {
    /// Of a source that has not answered yet, after so many disappearances were held back.
    pub(crate) fn new(held_back: u64) -> Self {
        let health = Health { held_back, ..Health::default() };
        Self {
            health,
            recovered: None,
            suspicion: Suspicion::default(),
            began: None,
        }
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    pub(crate) fn set_held_back(&mut self, held_back: u64) {
        self.health.held_back = held_back;
    }

    /// When the next reading of some topics has to come, if one has to.
    pub(crate) fn expect(&mut self, topics: &[FleetList], expected: Option<Expected>) {
        for topic in topics {
            self.health.topic_mut(*topic).expected = expected;
        }
    }

    /// Some topics were read. Returns whether that is the first reading of one of them.
    pub(crate) fn succeed(
        &mut self,
        topics: &[FleetList],
        at: Moment,
        events: &mut Vec<Event>,
    ) -> bool {
        self.began.get_or_insert(at);
        let down_since = self.health.failure().map(|failure| failure.since);
        let mut is_first = false;

        for topic in topics {
            let health = self.health.topic_mut(*topic);
            is_first |= health.read.replace(at).is_none();
            // Unit files that cannot be read say nothing of the rows.
            if health.failure.take().is_some() && *topic != FleetList::UnitFiles {
                self.recovered = Some(at);
            }
        }
        if let (Some(since), None) = (down_since, self.health.failure()) {
            events.push(Event::SourceBack { after: at.since(since) });
        }
        is_first
    }

    /// Some topics could not be read.
    pub(crate) fn fail(
        &mut self,
        topics: &[FleetList],
        reason: &str,
        at: Moment,
        events: &mut Vec<Event>,
    ) {
        if self.health.failure().is_none() {
            events.push(Event::SourceDown { reason: reason.to_owned() });
        }
        for topic in topics {
            let failure = &mut self.health.topic_mut(*topic).failure;
            let since = failure.as_ref().map_or(at, |failure| failure.since);
            *failure = Some(ReadFailure { since, reason: reason.into() });
        }
    }

    /// Nothing has been reported, though fleet has units: so begins a source that has only come up
    /// itself.
    pub(crate) fn begins_bare(&mut self) {
        self.recovered = self.recovered.or(self.began);
    }

    /// Whether what fleet lists cannot be read.
    fn is_failing(&self) -> bool {
        [FleetList::Units, FleetList::Machines]
            .iter()
            .any(|topic| self.health.topic(*topic).failure.is_some())
    }

    /// Whether the source answers, and did not begin to so recently that its answers may be short:
    /// fleet needs 10 to 30 s after an outage of etcd until its lists are whole again.
    pub(crate) fn is_settled(&self, retention: Retention, at: Moment) -> bool {
        !self.is_failing()
            && self
                .recovered
                .is_none_or(|recovered| at.since(recovered) >= retention.grace)
    }

    pub(crate) fn standing(&self, retention: Retention, at: Moment) -> SourceStanding {
        if self.is_failing() {
            return SourceStanding::Failing;
        }
        if !self.is_settled(retention, at) {
            return SourceStanding::Unsettled;
        }
        if self.suspicion.holds() {
            return SourceStanding::Suspect;
        }
        SourceStanding::Settled { since: self.recovered.or(self.began).unwrap_or(at) }
    }

    /// A row that was missing is back.
    pub(crate) fn returned(&mut self, key: &RowKey, at: Moment) {
        self.suspicion.returned(key, at);
    }

    /// Whether the missing rows are to be looked at, although none came or went.
    pub(crate) fn is_watching(&self) -> bool {
        self.suspicion.is_of_interest()
    }

    /// Since when too many rows have been missing of which it is not known yet why.
    pub(crate) fn pending_since(&self) -> Option<Moment> {
        self.suspicion.pending_since()
    }

    /// Looks at the missing rows, of `of` rows in all.
    pub(crate) fn look(
        &mut self,
        missing: &BTreeSet<RowKey>,
        of: usize,
        is_informed: bool,
        retention: Retention,
        at: Moment,
        events: &mut Vec<Event>,
    ) {
        match self.suspicion.look(missing, of, is_informed, retention.grace, at) {
            Finding::Nothing => {}
            Finding::Begins { missing } => events.push(Event::SourceSuspect { missing, of }),
            Finding::Ends => self.recovered = Some(at),
        }
        self.health.suspect_since = self.suspicion.since();
    }
}
