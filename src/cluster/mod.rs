//! The cluster as fleet describes it, with a verdict on each unit.
//!
//! It knows nothing of how a reading was obtained, and nothing of who looks at the view. Time is
//! passed in, so that a test can replay an hour in a millisecond.
//!
//! A [`Reading`] is what a source has read at one moment. The [`Cluster`] applies it to what is
//! known, makes one step in the life of each row and machine that it affects, and updates the
//! [`View`] that is published. It returns a [`Transition`] for each thing that happened, and keeps
//! a [`Delta`] of what is shown differently.

mod context;
mod crash_loop;
mod delta;
mod desired;
mod health;
mod knowledge;
mod machine_life;
mod machines;
mod model;
mod observation;
mod peer;
mod peer_event;
mod report;
mod requirements;
mod retention;
mod saved;
mod saved_time;
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
use std::time::{Duration, SystemTime};

use context::EvaluationContext;
pub use delta::{Change, Delta};
pub use health::{Health, ListHealth, OverdueList, ReadFailure, ReadSchedule};
use knowledge::{Knowledge, ReadingImpact};
use model::ReadSpan;
pub use model::{
    FleetList, Machine, MachineId, Moment, RowKey, Text, UnitFile, UnitName, UnitState,
};
pub use observation::{Lease, Observation, Reading, RegistrySnapshot};
use peer::LearningTime;
pub use peer::PeerCluster;
pub(crate) use peer::{PeerMachine, PeerUnit, bounded, milliseconds};
pub use peer_event::PeerEvent;
pub(crate) use peer_event::PeerEventJson;
pub use retention::Retention;
use saved::{ClusterMatch, SavedIdentity};
pub use saved::{SavedCluster, SavedEvent, SavedMachine, SavedRow};
pub use saved_time::SavedTime;
use source_trust::{SourceStanding, SourceTrust};
use suspicion::MissingRows;
pub use transition::{Event, HumanDuration, Place, Severity, Transition};
pub use verdict::Verdict;
pub use view::{MachineDetails, Member, Tally, Unit, Units, View};

/// All that is known of the cluster.
#[derive(Debug)]
pub struct Cluster {
    retention: Retention,
    knowledge: Knowledge,
    trust: SourceTrust,
    /// The standing of the source after the last reading; `None` before the first.
    last_standing: Option<SourceStanding>,
    view: Arc<View>,
    /// The view before the last reading.
    view_before: Arc<View>,
    /// The difference between `view_before` and `view`.
    delta: Delta,
    /// Whether every list has been read at least once, so that a change in the lists is a change of
    /// the cluster.
    is_complete: bool,
    /// The number of transitions so far.
    transitions: u64,
    /// The value of [`Health::held_back`] when the cluster was last reset.
    held_back_before_reset: u64,
    /// Whether what is known was saved by the program that ran before.
    is_restored: bool,
    /// When that was saved last.
    saved_at: Option<SystemTime>,
    /// What was saved, until it is known whether it is this cluster.
    saved_identity: Option<SavedIdentity>,
    /// Whether what was saved is so old that all that left meanwhile has been gone for longer than
    /// anything is kept.
    is_outdated: bool,
    /// Whether what was saved was of another cluster.
    has_discarded: bool,
}

impl Cluster {
    /// A cluster of which nothing is known yet.
    pub fn new(retention: impl Into<Retention>) -> Self {
        Self {
            retention: retention.into(),
            knowledge: Knowledge::default(),
            trust: SourceTrust::new(0),
            last_standing: None,
            view: Arc::default(),
            view_before: Arc::default(),
            delta: Delta::default(),
            is_complete: false,
            transitions: 0,
            held_back_before_reset: 0,
            is_restored: false,
            saved_at: None,
            saved_identity: None,
            is_outdated: false,
            has_discarded: false,
        }
    }

    /// A cluster that goes on as if it had been running, without a reading since it was saved.
    /// Nothing of it is shown before the units have been read.
    pub fn restore(retention: Retention, mut saved: SavedCluster, now: Moment) -> Self {
        let mut cluster = Self::new(retention);
        cluster.transitions = saved.transitions;
        saved.remove_long_lost(retention.lost, now.wall);
        if saved.is_empty() {
            return cluster;
        }

        cluster.saved_at = saved.saved.map(|SavedTime(time)| time);
        let age = cluster.saved_at.and_then(|time| now.wall.duration_since(time).ok());
        cluster.is_outdated = age.is_some_and(|age| age > retention.lost.max(retention.grace));
        cluster.is_restored = true;
        cluster.saved_identity = Some(SavedIdentity::of(&saved));
        cluster.trust.set_restored(true);
        cluster.knowledge = Knowledge::restore(saved, now);
        cluster
    }

    /// Whether what was saved was of another cluster, and was discarded.
    pub fn has_discarded_saved(&self) -> bool {
        self.has_discarded
    }

    /// What is to be saved of a row; `None` if it is not there.
    pub fn saved_row(&self, key: &RowKey) -> Option<SavedRow> {
        self.knowledge.saved_row(key)
    }

    /// What is to be saved of a machine; `None` if it is not there.
    pub fn saved_machine(&self, id: &MachineId) -> Option<SavedMachine> {
        self.knowledge.machines().saved(id)
    }

    /// The file of a unit, as last read.
    pub fn unit_file(&self, unit: &UnitName) -> Option<&Arc<UnitFile>> {
        self.knowledge.unit_file(unit)
    }

    /// The number of the last transition.
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// The cluster as it is to be shown. It is the same `Arc` as long as nothing in it changes.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The view before the last reading, and how the current view differs from it.
    pub fn change(&self) -> (&Arc<View>, &Delta) {
        (&self.view_before, &self.delta)
    }

    /// The state of the source.
    pub fn health(&self) -> &Health {
        self.trust.health()
    }

    /// Sets by when some lists are to be read again; `None` if they are not read regularly.
    pub fn set_schedule(&mut self, lists: &[FleetList], schedule: Option<ReadSchedule>) {
        self.trust.set_schedule(lists, schedule);
    }

    /// Sets how long rows are kept from now on.
    pub fn set_retention(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// Learns what another monitor knows of this cluster, and this one does not: the beginning of
    /// what has not changed, and machines that were lost before the start. What this one has seen
    /// itself stays. Returns what has happened because of that, in order.
    pub fn learn(&mut self, peer: &PeerCluster, at: Moment) -> Vec<Arc<Transition>> {
        let span = ReadSpan { begun: at, ended: at };
        let has_recovered = self.trust.has_recovered(self.retention, at);
        let mut impact = ReadingImpact::new(span, false, true, has_recovered, Vec::new());

        let learning = LearningTime { now: at, gap: self.saved_at.zip(self.health().events_since) };
        self.knowledge.learn(peer, self.retention, learning, &mut impact);
        self.evaluate(&mut impact, at);
        self.update_view(&mut impact, at);
        self.number(impact.into_events(), at)
    }

    /// Numbers events that another monitor has seen, so that they can be told from all others.
    pub fn number_learned(&mut self, events: Vec<PeerEvent>) -> Vec<Arc<Transition>> {
        let number = |PeerEvent { time, event }| {
            self.transitions += 1;
            Arc::new(Transition { number: self.transitions, time, event })
        };
        events.into_iter().map(number).collect()
    }

    /// Forgets everything about the cluster without any transition, as when a recording restarts.
    /// The counters continue.
    pub fn reset(&mut self) {
        let held_back = self.health().held_back;

        *self = Self {
            transitions: self.transitions,
            held_back_before_reset: held_back,
            trust: SourceTrust::new(held_back),
            ..Self::new(self.retention)
        };
    }

    /// Applies a reading that was complete at `at`, after it had taken `took`. Returns what
    /// happened, in order.
    pub fn apply(&mut self, reading: Reading, at: Moment, took: Duration) -> Vec<Arc<Transition>> {
        let span = ReadSpan { begun: at.before(took), ended: at };
        self.compare_with_saved(&reading, span);
        let mut events = Vec::new();
        let is_first = self.trust.record_success(reading.lists(), at, &mut events);
        if is_first && self.is_outdated {
            self.knowledge.retain_listed(&reading);
        }

        let has_recovered = self.trust.has_recovered(self.retention, at);
        // What is new is an event only if it is known that it is the same cluster.
        let is_known = self.is_restored && self.saved_identity.is_none();
        let mut impact = ReadingImpact::new(span, is_first, is_known, has_recovered, events);

        self.knowledge.apply(reading, &mut impact);
        self.evaluate(&mut impact, at);
        self.update_view(&mut impact, at);

        self.trust
            .set_held_back(self.held_back_before_reset + self.knowledge.held_back());
        let has_unread = self.health().unread().next().is_some();
        self.is_complete |= !has_unread;
        self.number(impact.into_events(), at)
    }

    /// Discards what was saved if a reading shows that it was another cluster.
    fn compare_with_saved(&mut self, reading: &Reading, span: ReadSpan) {
        let Some(saved) = &mut self.saved_identity else {
            return;
        };

        match saved.compare(reading) {
            ClusterMatch::Unknown => saved.keep(reading, span),
            ClusterMatch::Same => self.saved_identity = None,
            ClusterMatch::Other => {
                let before = saved.take_readings();
                self.saved_identity = None;
                self.is_restored = false;
                self.saved_at = None;
                self.has_discarded = true;
                self.trust.set_restored(false);
                self.knowledge = Knowledge::default();
                self.view = Arc::default();

                // What was read of this cluster until now is not saved. Events of it would be
                // compared with the other one.
                for (reading, span) in before {
                    let mut impact = ReadingImpact::new(span, true, false, true, Vec::new());
                    self.knowledge.apply(reading, &mut impact);
                }
            }
        }
    }

    /// Records that some lists could not be read. What is known stays as it is.
    pub fn record_failure(
        &mut self,
        lists: &[FleetList],
        reason: &str,
        at: Moment,
    ) -> Vec<Arc<Transition>> {
        let mut events = Vec::new();
        self.trust.record_failure(lists, reason, at, &mut events);

        self.view_before = self.view.clone();
        self.delta = Delta::default();
        self.number(events, at)
    }

    /// Evaluates the machines first, then the source. The rows depend on both.
    fn evaluate(&mut self, impact: &mut ReadingImpact, at: Moment) {
        let retention = self.retention;
        let standing = self.trust.standing(retention, at);
        self.knowledge.step_machines(standing, retention, impact);

        let lacks_all_units = self.knowledge.lacks_all_units();
        if lacks_all_units {
            self.trust.record_no_units();
        }
        let may_be_suspect =
            impact.absences_changed() || lacks_all_units || self.trust.needs_check();
        let is_judged = !retention.passes_through() && !self.trust.is_restoring(retention, at);
        if may_be_suspect && is_judged {
            self.check_missing_rows(impact, at);
        }

        let standing = self.trust.standing(retention, at);
        self.trust.set_standing(standing);
        if self.last_standing.replace(standing) != Some(standing) {
            self.knowledge.refresh_not_current(impact);
        }
    }

    /// Checks whether so many rows are missing that the source is suspect.
    fn check_missing_rows(&mut self, impact: &mut ReadingImpact, at: Moment) {
        for key in impact.returned() {
            self.trust.record_return(key, at);
        }

        let (keys, of) = self.knowledge.unexplained(self.evaluation_context(at));
        let is_informed = self
            .trust
            .unconfirmed_since()
            .is_some_and(|since| self.knowledge.is_informed_since(since, at));
        let missing = MissingRows { keys: &keys, of, is_informed };
        self.trust.check_missing(missing, self.retention, at, impact.events());
    }

    fn evaluation_context(&self, at: Moment) -> EvaluationContext {
        EvaluationContext {
            source: self.trust.standing(self.retention, at),
            retention: self.retention,
            is_complete: self.is_complete,
            at,
        }
    }

    /// Refreshes the rows, and updates the view and the delta. What does not change is shared with
    /// the view before.
    fn update_view(&mut self, impact: &mut ReadingImpact, at: Moment) {
        self.view_before = self.view.clone();
        let mut delta = Delta::default();

        // What was saved is not shown before the units have been read. Then everything is.
        let hides_saved = self.is_restored && self.health().list(FleetList::Units).read.is_none();
        if !hides_saved {
            let context = self.evaluation_context(at);
            let mut changed = BTreeMap::new();
            self.knowledge
                .refresh(context, impact, |key, unit| _ = changed.insert(key, unit));
            self.knowledge.remove_lost_machines(self.retention, impact);
            self.knowledge
                .refresh(context, impact, |key, unit| _ = changed.insert(key, unit));

            for (key, after) in changed {
                delta.units.extend(self.update_row(&key, after));
            }
        }

        let before = &self.view_before.machines;
        let machines = self.knowledge.machines().members(before, hides_saved, at);
        if machines != *before {
            delta.machines = Delta::of_machines(before, &machines);
            Arc::make_mut(&mut self.view).machines = machines;
        }
        self.delta = delta;
    }

    /// Updates one row of the view. Returns the change, if it is one.
    fn update_row(&mut self, key: &RowKey, after: Option<Arc<Unit>>) -> Option<Change<Unit>> {
        let before = self.view_before.units.get(key).cloned();
        if before == after {
            return None;
        }

        let units = &mut Arc::make_mut(&mut self.view).units;
        match &after {
            Some(unit) => units.insert(unit.clone()),
            None => units.remove(key),
        }
        Some(Change { before, after })
    }

    fn number(&mut self, events: Vec<Event>, at: Moment) -> Vec<Arc<Transition>> {
        let number = |event| {
            self.transitions += 1;
            Arc::new(Transition { number: self.transitions, time: at.wall, event })
        };
        events.into_iter().map(number).collect()
    }
}
