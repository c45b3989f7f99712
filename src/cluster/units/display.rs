//! How a row is currently shown, and since when.
//!
//! It does not know how the verdict is found.

use std::sync::Arc;
use std::time::SystemTime;

use super::super::context::RowContext;
use super::super::model::{Moment, ReasonText, UnitFile, UnitState};
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

/// What was last shown of a row, and since when its state has been the same.
#[derive(Debug)]
pub(crate) struct RowDisplay {
    /// `None` until the row is shown for the first time.
    shown: Option<Arc<Unit>>,
    state_since: Moment,
    /// Whether this process saw the state change at `state_since`.
    state_since_seen: bool,
}

impl RowDisplay {
    pub(crate) fn new(state_since: Moment, state_since_seen: bool) -> Self {
        Self { shown: None, state_since, state_since_seen }
    }

    /// Records that the unit's state has changed.
    pub(crate) fn record_state_change(&mut self, at: Moment) {
        self.state_since = at;
        self.state_since_seen = true;
    }

    pub(crate) fn state_since(&self) -> Moment {
        self.state_since
    }

    pub(crate) fn shown(&self) -> Option<&Unit> {
        self.shown.as_deref()
    }

    pub(crate) fn shows(&self, verdict: Verdict) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.verdict == verdict)
    }

    /// Shows the row with this verdict.
    pub(crate) fn update(&mut self, row: JudgedRow, context: &RowContext) -> RefreshedRow {
        let (verdict_since, verdict_since_seen) = self.verdict_since(row.verdict, context);
        let machine = machine_details(&row, context);
        let unit = Unit {
            state: row.state,
            listed: row.listed,
            stale_since: row.stale_since,
            file: row.file.cloned(),
            verdict: row.verdict,
            reason: row.reason,
            verdict_since,
            verdict_since_seen,
            since: self.state_since.wall,
            since_seen: self.state_since_seen,
            machine,
        };

        if self.shown.as_deref() == Some(&unit) {
            return RefreshedRow::Unchanged;
        }
        RefreshedRow::Changed(self.shown.insert(Arc::new(unit)).clone())
    }

    /// Since when a verdict has been shown, and whether this process saw it begin.
    fn verdict_since(&self, verdict: Verdict, context: &RowContext) -> (SystemTime, bool) {
        match &self.shown {
            Some(before) if before.verdict == verdict => {
                (before.verdict_since, before.verdict_since_seen)
            }
            Some(_) => (context.at.wall, context.is_complete),
            None => (self.state_since.wall, self.state_since_seen),
        }
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
