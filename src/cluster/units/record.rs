//! One row: either expected or reported.
//!
//! It knows what both kinds have in common, and nothing else of them.

use std::time::Instant;

use super::super::context::RowContext;
use super::super::model::{MachineId, Moment, UnitFile};
use super::super::peer::{LearningTime, PeerUnit};
use super::super::saved::{SavedRow, SavedRowKind};
use super::super::transition::Event;
use super::display::RefreshedRow;
use super::expected::ExpectedRow;
use super::reported::ReportedRow;

#[derive(Debug)]
pub(crate) enum UnitRecord {
    Expected(ExpectedRow),
    Reported(ReportedRow),
}

impl UnitRecord {
    /// The row that was saved, and fleet's file of its unit then.
    pub(crate) fn restore(saved: &SavedRow, file: Option<&UnitFile>, now: Moment) -> Self {
        match &saved.kind {
            SavedRowKind::Expected { listed } => {
                UnitRecord::Expected(ExpectedRow::restore(saved, *listed, file, now))
            }
            SavedRowKind::Reported(kind) => {
                UnitRecord::Reported(ReportedRow::restore(saved, kind, now))
            }
        }
    }

    /// What is to be saved; `None` if it has never been shown.
    pub(crate) fn saved(&self) -> Option<SavedRow> {
        match self {
            UnitRecord::Expected(row) => row.saved(),
            UnitRecord::Reported(row) => row.saved(),
        }
    }

    /// Learns since when it has been as it is, if another monitor knows that better. Returns
    /// whether it does.
    pub(crate) fn learn(&mut self, peer: &PeerUnit, learning: LearningTime) -> bool {
        match self {
            UnitRecord::Expected(row) => row.learn(peer, learning),
            UnitRecord::Reported(row) => row.learn(peer, learning),
        }
    }

    pub(crate) fn expected(&mut self) -> Option<&mut ExpectedRow> {
        match self {
            UnitRecord::Expected(row) => Some(row),
            UnitRecord::Reported(_) => None,
        }
    }

    pub(crate) fn reported(&self) -> Option<&ReportedRow> {
        match self {
            UnitRecord::Expected(_) => None,
            UnitRecord::Reported(row) => Some(row),
        }
    }

    pub(crate) fn reported_mut(&mut self) -> Option<&mut ReportedRow> {
        match self {
            UnitRecord::Expected(_) => None,
            UnitRecord::Reported(row) => Some(row),
        }
    }

    pub(crate) fn is_reported(&self) -> bool {
        self.reported().is_some()
    }

    /// When it was first reported, or since when it has been expected.
    pub(crate) fn appeared(&self) -> Moment {
        match self {
            UnitRecord::Expected(row) => row.appeared(),
            UnitRecord::Reported(row) => row.appeared(),
        }
    }

    /// Brings the row up to date. `replacement` is the machine that reports the unit instead, if
    /// one does. Returns how the row is shown, and when to refresh it next.
    pub(crate) fn refresh(
        &mut self,
        replacement: Option<&MachineId>,
        context: &RowContext,
        events: &mut Vec<Event>,
    ) -> (RefreshedRow, Option<Instant>) {
        match self {
            UnitRecord::Expected(row) => row.refresh(context),
            UnitRecord::Reported(row) => row.refresh(replacement, context, events),
        }
    }
}
