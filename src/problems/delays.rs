//! How long something has to be wrong until it is a problem (`--problem-after`).
//!
//! It does not know how these times are configured.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ProblemKind;

/// How long something has to be wrong until it is a problem, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProblemDelays {
    /// For all kinds that have none of their own.
    pub default: Duration,
    /// By the name of a kind, which is one of [`ProblemKind::NAMES`].
    pub by_name: BTreeMap<&'static str, Duration>,
}

impl ProblemDelays {
    /// The default, in seconds.
    pub const DEFAULT: u64 = 30;

    pub(super) fn of(&self, kind: ProblemKind) -> Duration {
        self.by_name.get(kind.name()).copied().unwrap_or(self.default)
    }

    pub(super) fn of_source(&self) -> Duration {
        self.by_name.get("source").copied().unwrap_or(self.default)
    }
}

impl Default for ProblemDelays {
    fn default() -> Self {
        Self {
            default: Duration::from_secs(Self::DEFAULT),
            by_name: BTreeMap::new(),
        }
    }
}
