//! What goes on after a restart of the program: the state of the program that ran before is given
//! to all parts that need it, and the state of this one is saved.
//!
//! It does not know how anything is read or written.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::{info, warn};

use super::Daemon;
use super::state_keeper::StateKeeper;
use crate::cluster::{Cluster, FleetList, HumanDuration, Moment, Retention, SavedTime, Transition};
use crate::feed::PreviousRun;
use crate::saved_state::{SavedState, Stamped};

/// What was saved, and who saves from now on.
pub(super) struct Restart {
    pub(super) cluster: Cluster,
    pub(super) saved: Option<SavedState>,
    pub(super) keeper: Option<StateKeeper>,
}

impl Restart {
    /// Goes on with what was saved in this directory. Without one, nothing is saved.
    pub(super) async fn from(directory: Option<PathBuf>, retention: Retention) -> Self {
        let Some(directory) = directory else {
            info!(
                "nothing is kept over a restart: there is no $STATE_DIRECTORY (StateDirectory= of \
                 systemd)"
            );
            return Self::without(retention);
        };
        let Some((saved, writer)) = SavedState::open(&directory).await else {
            return Self::without(retention);
        };

        let saved = Some(saved).filter(|saved| saved.epoch.is_some());
        let cluster = match &saved {
            Some(saved) => Cluster::restore(retention, saved.cluster(), Moment::now()),
            None => Cluster::new(retention),
        };
        Self { cluster, saved, keeper: Some(StateKeeper::new(writer)) }
    }

    /// Begins with nothing, and saves nothing, as for a recording.
    pub(super) fn without(retention: Retention) -> Self {
        Self { cluster: Cluster::new(retention), saved: None, keeper: None }
    }
}

impl Daemon {
    /// Once the units have been read, gives what was saved to the parts that go on with it.
    pub(super) fn restore_saved(&mut self, now: Moment) {
        let has_units = self.cluster.health().list(FleetList::Units).read.is_some();
        let Some(saved) = self.saved.as_ref().filter(|_| has_units) else {
            return;
        };
        if self.cluster.has_discarded_saved() {
            warn!(
                "the saved state is of another cluster, with none of these machines and units: it \
                 is discarded"
            );
            self.forget_saved();
            return;
        }
        if std::mem::replace(&mut self.has_restored, true) {
            return;
        }

        let problems: Vec<_> = saved.problems.iter().map(|it| it.value.clone()).collect();
        self.problems.restore(&problems, now);
        let events = saved.events.iter().map(|Stamped { value, .. }| {
            let transition: Transition = value.clone().into();
            Arc::new(transition)
        });
        let mut events: Vec<Arc<Transition>> = events.collect();
        events.sort_by_key(|transition| (transition.time, transition.number));
        let complete = saved.events_since.zip(saved.saved);
        let complete = complete.map(|(SavedTime(since), SavedTime(until))| (since, until));
        self.publisher.restore_events(&events, complete, now);

        let age = saved
            .saved
            .and_then(|SavedTime(time)| now.wall.duration_since(time).ok())
            .unwrap_or_default();
        info!(
            "going on with the state of {} ago: {} units, {} machines, {} problems, {} events",
            HumanDuration(age),
            saved.rows.len(),
            saved.machines.len(),
            saved.problems.len(),
            saved.events.len()
        );
    }

    /// What was saved is not of the cluster that is watched now.
    pub(super) fn forget_saved(&mut self) {
        if self.saved.take().is_some() {
            self.publisher.set_previous_run(None);
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.interrupt();
        }
    }

    /// Saves what has changed with the newest publication.
    pub(super) fn save_state(&mut self, transitions: &[Arc<Transition>], now: Moment) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        // The source may have become one with a reload.
        if self.source.is_recording() {
            return;
        }

        let publication = self.publisher.last();
        keeper.record(transitions, publication.revision);
        if keeper.has_begun() {
            keeper.save(&self.cluster, &publication, self.cluster.change(), now);
        } else if self.cluster.health().events_since.is_some() {
            let saved = self.saved.take();
            let diff = keeper.begin(&self.cluster, &publication, saved.as_ref(), now);

            // Clients that have resumed already wait for this.
            if let Some(saved) = saved {
                let run = PreviousRun { diff: Some(diff), ..previous_run(&saved) };
                self.publisher.set_previous_run(Some(run));
            }
        }
    }
}

/// What the clients of the run have that was saved.
pub(super) fn previous_run(saved: &SavedState) -> PreviousRun {
    let changed_rows = saved.rows.iter().map(|row| (row.value.key(), row.revision));
    let changed_machines = saved
        .machines
        .iter()
        .map(|saved| (saved.value.machine.id.clone(), saved.revision));
    let changed_problems = saved
        .problems
        .iter()
        .map(|saved| (saved.value.id.clone(), saved.revision));

    let is_late = |revision: u64| revision > saved.complete_since;
    PreviousRun {
        epoch: saved.epoch.clone().unwrap_or_default(),
        revision: saved.revision,
        complete_since: saved.complete_since,
        rows: changed_rows
            .chain(saved.removed_rows.iter().cloned())
            .filter(|(_, revision)| is_late(*revision))
            .collect(),
        machines: changed_machines
            .chain(saved.removed_machines.iter().cloned())
            .filter(|(_, revision)| is_late(*revision))
            .collect(),
        problems: changed_problems
            .chain(saved.removed_problems.iter().cloned())
            .filter(|(_, revision)| is_late(*revision))
            .collect(),
        events: saved
            .events
            .iter()
            .map(|event| (event.value.number, event.revision))
            .collect(),
        transitions: saved.transitions,
        diff: None,
    }
}
