//! What is known besides a row itself when the row is evaluated.
//!
//! It decides nothing.

use super::desired::Desired;
use super::machines::Machines;
use super::model::Moment;
use super::retention::Retention;
use super::source_trust::SourceStanding;

/// What holds for all rows at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EvaluationContext {
    pub(crate) source: SourceStanding,
    pub(crate) retention: Retention,
    /// Whether every list has been read at least once, so that a change in the lists is a change of
    /// the cluster.
    pub(crate) is_complete: bool,
    pub(crate) at: Moment,
}

impl EvaluationContext {
    pub(crate) fn with<'a>(self, desired: &'a Desired, machines: &'a Machines) -> RowContext<'a> {
        let Self { source, retention, is_complete, at } = self;

        RowContext { desired, machines, source, retention, is_complete, at }
    }
}

/// The same with the unit files and the machines.
#[derive(Clone, Copy)]
pub(crate) struct RowContext<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) machines: &'a Machines,
    pub(crate) source: SourceStanding,
    pub(crate) retention: Retention,
    /// See [`EvaluationContext::is_complete`].
    pub(crate) is_complete: bool,
    pub(crate) at: Moment,
}
