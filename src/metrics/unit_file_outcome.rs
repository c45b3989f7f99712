//! What became of a request for a unit file, as a label of a metric.
//!
//! This module must not know how a unit file is read.

/// What became of a request for a unit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitFileOutcome {
    /// It was answered without a query to the source.
    Cached,
    /// The source was asked, and answered.
    Fetched,
    /// The source could not answer, or not in time.
    Failed,
    /// Too many requests were under way, or unit files are not shown.
    Refused,
}

impl UnitFileOutcome {
    /// All outcomes; the metric has a series for each.
    pub const ALL: [UnitFileOutcome; 4] = [
        UnitFileOutcome::Cached,
        UnitFileOutcome::Fetched,
        UnitFileOutcome::Failed,
        UnitFileOutcome::Refused,
    ];

    /// The value of the label `outcome`.
    pub fn name(self) -> &'static str {
        match self {
            UnitFileOutcome::Cached => "cached",
            UnitFileOutcome::Fetched => "fetched",
            UnitFileOutcome::Failed => "failed",
            UnitFileOutcome::Refused => "refused",
        }
    }
}
