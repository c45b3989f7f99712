//! How a row is currently shown, and since when.
//!
//! It does not know how the verdict is found.

use std::sync::Arc;
use std::time::SystemTime;

use super::super::context::RowContext;
use super::super::model::{Moment, ReasonText, UnitFile, UnitState};
use super::super::peer::{KnownSince, LearningTime, PeerUnit};
use super::super::saved::{SavedRow, SavedRowKind};
use super::super::saved_time::SavedTime;
use super::super::unit_life::Departure;
use super::super::verdict::Verdict;
use super::super::view::{MachineDetails, Unit};

/// The result of refreshing a row.
pub(crate) enum RefreshedRow {
    /// It is shown as before.
    Unchanged,
    /// It is shown differently.
    Changed(Arc<Unit>),
    /// It is to be removed.
    Gone(Departure),
}

/// A row with its verdict.
pub(crate) struct JudgedRow<'a> {
    pub(crate) state: UnitState,
    /// Whether fleet's own list contains it, or should contain it.
    pub(crate) listed: bool,
    /// Since when it has not been reported, or not been renewed; `None` if it is up to date.
    pub(crate) stale_since: Option<SystemTime>,
    pub(crate) file: Option<&'a Arc<UnitFile>>,
    pub(crate) verdict: Verdict,
    pub(crate) reason: ReasonText,
}

/// A verdict, and since when it has been shown.
#[derive(Clone, Copy, Debug)]
struct ShownVerdict {
    verdict: Verdict,
    since: SystemTime,
    /// Whether this process saw it begin.
    since_seen: bool,
}

/// What was last shown of a row, and since when its state has been the same.
#[derive(Debug)]
pub(crate) struct RowDisplay {
    /// `None` until the row is shown for the first time.
    shown: Option<Arc<Unit>>,
    /// The verdict of `shown`, or of the program that ran before.
    verdict: Option<ShownVerdict>,
    state_since: Moment,
    /// Whether this process saw the state change at `state_since`.
    state_since_seen: bool,
}

impl RowDisplay {
    pub(crate) fn new(state_since: Moment, state_since_seen: bool) -> Self {
        Self { shown: None, verdict: None, state_since, state_since_seen }
    }

    /// How a saved row goes on. It has not been shown yet.
    pub(crate) fn restore(saved: &SavedRow, now: Moment) -> Self {
        let verdict = ShownVerdict {
            verdict: saved.verdict,
            since: saved.verdict_since.0,
            since_seen: saved.verdict_since_seen,
        };

        Self {
            verdict: Some(verdict),
            ..Self::new(saved.since.moment(now), saved.since_seen)
        }
    }

    /// Learns since when the state and the verdict have been the same, if another monitor knows
    /// that better of the same state. Returns whether it does.
    pub(crate) fn learn(&mut self, peer: &PeerUnit, learning: LearningTime) -> bool {
        let state = KnownSince { time: self.state_since.wall, is_seen: self.state_since_seen };
        let learns_state = state.is_improved_by(peer.since(), learning);
        if learns_state {
            self.state_since = SavedTime(peer.since().time).moment(learning.now);
            self.state_since_seen = peer.since().is_seen;
        }

        let mut learns_verdict = false;
        if let Some(shown) = self.verdict.as_mut().filter(|shown| shown.verdict == peer.verdict()) {
            let known = KnownSince { time: shown.since, is_seen: shown.since_seen };
            learns_verdict = known.is_improved_by(peer.verdict_since(), learning);
            if learns_verdict {
                shown.since = peer.verdict_since().time;
                shown.since_seen = peer.verdict_since().is_seen;
            }
        }
        learns_state || learns_verdict
    }

    /// The row with what is shown of it; `None` if it has never been shown.
    pub(crate) fn saved(
        &self,
        state: UnitState,
        appeared: Moment,
        kind: SavedRowKind,
    ) -> Option<SavedRow> {
        let ShownVerdict { verdict, since, since_seen } = self.verdict?;

        Some(SavedRow {
            state,
            appeared: appeared.into(),
            since: self.state_since.into(),
            since_seen: self.state_since_seen,
            verdict,
            verdict_since: SavedTime(since),
            verdict_since_seen: since_seen,
            kind,
        })
    }

    /// Records that the unit's state has changed. `is_seen` tells whether that was now, as opposed
    /// to some time before.
    pub(crate) fn record_state_change(&mut self, at: Moment, is_seen: bool) {
        self.state_since = at;
        self.state_since_seen = is_seen;
    }

    pub(crate) fn state_since(&self) -> Moment {
        self.state_since
    }

    /// Whether this process saw the state begin. If not, it was there at the first reading.
    pub(crate) fn state_since_seen(&self) -> bool {
        self.state_since_seen
    }

    pub(crate) fn shows(&self, verdict: Verdict) -> bool {
        self.verdict.is_some_and(|shown| shown.verdict == verdict)
    }

    /// Shows the row with this verdict.
    pub(crate) fn update(&mut self, row: JudgedRow, context: &RowContext) -> RefreshedRow {
        let verdict = self.next_verdict(row.verdict, context);
        self.verdict = Some(verdict);
        let machine = machine_details(&row, context);
        let unit = Unit {
            state: row.state,
            listed: row.listed,
            stale_since: row.stale_since,
            file: row.file.cloned(),
            verdict: row.verdict,
            reason: row.reason,
            verdict_since: verdict.since,
            verdict_since_seen: verdict.since_seen,
            since: self.state_since.wall,
            since_seen: self.state_since_seen,
            machine,
        };

        if self.shown.as_deref() == Some(&unit) {
            return RefreshedRow::Unchanged;
        }
        RefreshedRow::Changed(self.shown.insert(Arc::new(unit)).clone())
    }

    /// The verdict that is shown from now on: the one before if it is the same.
    fn next_verdict(&self, verdict: Verdict, context: &RowContext) -> ShownVerdict {
        let (since, since_seen) = match self.verdict {
            Some(before) if before.verdict == verdict => return before,
            Some(_) => (context.at.wall, context.is_complete),
            None => (self.state_since.wall, self.state_since_seen),
        };

        ShownVerdict { verdict, since, since_seen }
    }
}

/// What is known of the machine that reports the row, or else of its target.
fn machine_details(row: &JudgedRow, context: &RowContext) -> MachineDetails {
    let target = || row.file.and_then(|file| file.target.as_ref());
    let id = row.state.machine.as_ref().or_else(target);

    id.and_then(|id| context.machines.get(id))
        .map(|machine| MachineDetails {
            ip: machine.ip.clone(),
            metadata: machine.metadata.clone(),
        })
        .unwrap_or_default()
}
