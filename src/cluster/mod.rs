//! The cluster as fleet describes it, and as we judge it to be.
//!
//! A [`Reading`] is what a source said at one moment, unjudged. The [`Cluster`] adds it to what is
//! known, lets each row and each machine that it concerns make one step of its life, and holds the
//! [`View`] that is published, with a [`Transition`] for each thing that happened and a [`Delta`]
//! of what is shown in another way.
//!
//! This module knows nothing of how a reading was obtained and nothing of who looks at the view:
//! time is passed in, so that a test can replay an hour in a millisecond.

mod crash_loop;
mod delta;
mod desired;
mod health;
mod knowledge;
mod machine_life;
mod machines;
mod model;
mod observation;
mod source_trust;
mod suspicion;
#[cfg(test)]
mod tests;
mod transition;
mod unit_life;
mod units;
mod verdict;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use delta::{Change, Delta};
pub use health::{Expected, Health, ListHealth, Overdue, ReadFailure};
use knowledge::{Batch, Knowledge};
use machines::Source;
use model::Span;
pub use model::{FleetList, Machine, MachineId, Moment, Text, UnitFile, UnitName, UnitState};
pub use observation::{Lease, Observation, Reading, RegistrySnapshot};
use source_trust::SourceTrust;
pub use transition::{Event, Place, Seconds, Severity, Transition};
pub use unit_life::Retention;
use unit_life::SourceStanding;
use units::Circumstances;
pub use verdict::Verdict;
pub use view::{Member, RowKey, Tally, Unit, Units, View};

/// All that is known of the cluster.
#[derive(Debug)]
pub struct Cluster {
    retention: Retention,
    knowledge: Knowledge,
    trust: SourceTrust,
    /// How far the source was trusted when it was last looked at.
    trusted: Option<SourceStanding>,
    view: Arc<View>,
    /// The view before the last reading, and what that changed.
    before: Arc<View>,
    delta: Delta,
    /// Whether every topic has been read once, so that what changes now is a change of the cluster.
    complete: bool,
    /// How many transitions there have been.
    transitions: u64,
    /// How many disappearances were held back before the cluster was forgotten.
    held_back: u64,
}

impl Cluster {
    /// A cluster of which nothing is known yet.
    pub fn new(retention: impl Into<Retention>) -> Self {
        Self {
            retention: retention.into(),
            knowledge: Knowledge::default(),
            trust: SourceTrust::new(0),
            trusted: None,
            view: Arc::default(),
            before: Arc::default(),
            delta: Delta::default(),
            complete: false,
            transitions: 0,
            held_back: 0,
        }
    }

    /// The cluster as it is to be shown. The same `Arc` as long as nothing in it changes.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The view before the last reading, and what differs from it in the view now.
    pub fn change(&self) -> (&Arc<View>, &Delta) {
        (&self.before, &self.delta)
    }

    /// The state of the source.
    pub fn health(&self) -> &Health {
        self.trust.health()
    }

    /// Sets when the next reading of some topics has to come, if one has to.
    pub fn expect(&mut self, topics: &[FleetList], expected: Option<Expected>) {
        self.trust.expect(topics, expected);
    }

    /// Sets how long rows are kept from now on.
    pub fn set_retention(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// Forgets the cluster, as when a recording begins anew. No transition tells of it.
    pub fn forget(&mut self) {
        let held_back = self.health().held_back;
        *self = Self {
            transitions: self.transitions,
            held_back,
            trust: SourceTrust::new(held_back),
            ..Self::new(self.retention)
        };
    }

    /// Takes what a source said: the answer was complete at `at`, and took `took`. Returns what
    /// happened, in order.
    pub fn read(&mut self, reading: Reading, at: Moment, took: Duration) -> Vec<Arc<Transition>> {
        let mut events = Vec::new();
        let is_first = self.trust.succeed(reading.topics(), at, &mut events);
        let settled = self.trust.is_settled(self.retention, at);
        let mut batch =
            Batch::new(Span { begun: at.before(took), ended: at }, is_first, settled, events);

        self.knowledge.take(reading, &mut batch);
        self.conclude(&mut batch, at);
        self.number(batch.events, at)
    }

    /// Takes note that some topics could not be read. Nothing that is known is given up for that.
    pub fn fail(&mut self, topics: &[FleetList], reason: &str, at: Moment) -> Vec<Arc<Transition>> {
        let mut events = Vec::new();
        self.trust.fail(topics, reason, at, &mut events);
        self.before = self.view.clone();
        self.delta = Delta::default();
        self.number(events, at)
    }

    /// Draws the conclusions: machines first, then the source, then the rows that any of this
    /// concerns.
    fn conclude(&mut self, batch: &mut Batch, at: Moment) {
        let retention = self.retention;
        let passes_through = retention.passes_through();
        let source = Source::new(self.trust.standing(retention, at), retention);
        self.knowledge.step_machines(source, batch);

        let is_bare = self.knowledge.is_bare();
        if is_bare {
            self.trust.begins_bare();
        }
        if !passes_through && (batch.has_absences() || is_bare || self.trust.is_watching()) {
            self.look_for_what_is_missing(batch, at);
        }
        let standing = self.trust.standing(retention, at);
        if self.trusted.replace(standing) != Some(standing) {
            self.knowledge.reconsider(batch);
        }

        self.show(batch, at);
        self.trust.set_held_back(self.held_back + self.knowledge.held_back());
        let has_unread = self.health().unread().next().is_some();
        self.complete |= !has_unread;
    }

    fn look_for_what_is_missing(&mut self, batch: &mut Batch, at: Moment) {
        for key in batch.returned() {
            self.trust.returned(key, at);
        }
        let (missing, of) = self.knowledge.missing(self.circumstances(at));
        let since = self.trust.pending_since();
        let is_informed = since.is_some_and(|since| self.knowledge.is_informed_since(since, batch));
        self.trust
            .look(&missing, of, is_informed, self.retention, at, &mut batch.events);
    }

    fn circumstances(&self, at: Moment) -> Circumstances {
        Circumstances {
            source: self.trust.standing(self.retention, at),
            retention: self.retention,
            is_complete: self.complete,
            at,
        }
    }

    /// Brings the view up to date. What is as it was before stays the same in memory.
    fn show(&mut self, batch: &mut Batch, at: Moment) {
        self.before = self.view.clone();
        let circumstances = self.circumstances(at);
        let mut changed = BTreeMap::new();
        self.knowledge
            .look(circumstances, batch, |key, unit| _ = changed.insert(key, unit));

        let mut delta = Delta::default();
        for (key, after) in changed {
            let before = self.before.units.get(&key).cloned();
            if before == after {
                continue;
            }
            let units = &mut Arc::make_mut(&mut self.view).units;
            match &after {
                Some(unit) => units.insert(unit.clone()),
                None => units.remove(&key),
            }
            delta.units.push(Change { before, after });
        }

        self.knowledge.forget_lost(self.retention, at);
        let machines = self.knowledge.machines().members(&self.before.machines, at);
        if machines != self.before.machines {
            delta.machines = Delta::of_machines(&self.before.machines, &machines);
            Arc::make_mut(&mut self.view).machines = machines;
        }
        self.delta = delta;
    }

    fn number(&mut self, events: Vec<Event>, at: Moment) -> Vec<Arc<Transition>> {
        let number = |event| {
            self.transitions += 1;
            Arc::new(Transition { number: self.transitions, time: at.wall, event })
        };
        events.into_iter().map(number).collect()
    }
}
