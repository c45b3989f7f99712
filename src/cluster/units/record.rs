//! One row: either expected or reported.
//!
//! It knows what both kinds have in common, and nothing else of them.

use std::time::Instant;

use super::super::context::RowContext;
use super::super::model::{MachineId, Moment};
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
