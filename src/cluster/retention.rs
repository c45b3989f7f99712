//! How long rows are kept that are not reported any more.
//!
//! It does not know which rows those are.

use std::time::Duration;

/// How long rows are kept that are not reported any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long a row is kept that fleet still wants but its machine does not report. With zero,
    /// rows appear and disappear exactly as fleet lists them.
    pub grace: Duration,
    /// How long a lost machine is remembered, and its rows are kept unless fleet has them
    /// elsewhere.
    pub lost: Duration,
}

impl Retention {
    /// The default of [`Retention::lost`].
    pub const LOST: Duration = Duration::from_secs(3600);

    /// Whether rows appear and disappear exactly as fleet lists them.
    pub(crate) fn passes_through(self) -> bool {
        self.grace.is_zero()
    }
}

impl From<Duration> for Retention {
    /// With this grace period.
    fn from(grace: Duration) -> Self {
        Self { grace, lost: Self::LOST }
    }
}
