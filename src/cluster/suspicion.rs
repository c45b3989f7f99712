//! Whether so many rows are missing that the source's lists are suspected to be incomplete.
//!
//! It knows rows by their keys only.
//!
//! When a large part of all rows is missing, at once or in turns, although fleet wants them where
//! they were, one event replaces one event for each row, and all rows are kept. If only the rows of
//! one machine are missing, that is a problem of the machine.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::model::RowKey;
use super::model::{MachineId, Moment};

/// For how long a row counts that was missing and is back. A source whose lists lack different
/// rows each time has no complete list either.
const RECENT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, Default)]
enum SuspicionState {
    #[default]
    Clear,
    /// Too many rows are missing, and what would explain that has not been read since.
    Unconfirmed { since: Moment },
    /// Too many rows are missing without an explanation.
    Confirmed {
        since: Moment,
        /// Since when fewer rows have been missing; `None` while there are too many.
        fewer_since: Option<Moment>,
    },
}

/// How the suspicion has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SuspicionChange {
    /// The source has become suspect.
    Raised {
        /// The number of missing rows.
        missing: usize,
    },
    /// The source is not suspect any more.
    Cleared,
}

/// The missing rows at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MissingRows<'a> {
    /// The rows that fleet wants where they were, and that are not reported.
    pub(crate) keys: &'a BTreeSet<RowKey>,
    /// The number of rows there should be.
    pub(crate) of: usize,
    /// Whether the lists that could explain missing rows have been read since they were first
    /// missing.
    pub(crate) is_informed: bool,
}

/// The suspicion that the source's lists are incomplete.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    state: SuspicionState,
    /// Rows that were missing and are back, and when they came back.
    returned: BTreeMap<RowKey, Moment>,
}

impl Suspicion {
    /// Since when the source has been suspect; `None` if it is not.
    pub(crate) fn since(&self) -> Option<SystemTime> {
        match self.state {
            SuspicionState::Confirmed { since, .. } => Some(since.wall),
            _ => None,
        }
    }

    /// Whether rows are kept because of the suspicion, confirmed or not.
    pub(crate) fn holds_rows(&self) -> bool {
        !matches!(self.state, SuspicionState::Clear)
    }

    /// Since when too many rows have been missing, if that is not confirmed yet.
    pub(crate) fn unconfirmed_since(&self) -> Option<Moment> {
        match self.state {
            SuspicionState::Unconfirmed { since } => Some(since),
            _ => None,
        }
    }

    /// Records that a missing row is back.
    pub(crate) fn record_return(&mut self, key: &RowKey, at: Moment) {
        self.returned.insert(key.clone(), at);
    }

    /// Whether [`Suspicion::update`] is to be called although no row went missing or came back.
    pub(crate) fn needs_update(&self) -> bool {
        self.holds_rows() || !self.returned.is_empty()
    }

    /// Updates the suspicion by the rows that are missing now. Returns how it has changed, if it
    /// has.
    pub(crate) fn update(
        &mut self,
        missing: MissingRows,
        grace: Duration,
        at: Moment,
    ) -> Option<SuspicionChange> {
        self.returned.retain(|_, returned| at.since(*returned) < RECENT);

        match self.count_if_too_many(missing) {
            Some(count) => self.raise(count, missing.is_informed, at),
            None => self.ease(missing.keys.is_empty(), grace, at),
        }
    }

    /// The number of missing and recently returned rows, if it is too large.
    fn count_if_too_many(&self, missing: MissingRows) -> Option<usize> {
        let MissingRows { keys, of, .. } = missing;
        let flapping = self.returned.keys().filter(|key| !keys.contains(*key));
        let count = keys.len() + flapping.count();

        // Returned rows count only while others are missing: a fleetd that restarts is no reason
        // for a suspicion.
        let others_are_missing = keys.len() * 10 > of;
        let machines: BTreeSet<&Option<MachineId>> = keys
            .iter()
            .chain(self.returned.keys())
            .map(|(_, machine)| machine)
            .collect();
        let concerns_several_machines = machines.len() > 1 || keys.len() == of;

        let is_too_many =
            others_are_missing && count > 2 && count * 3 > of && concerns_several_machines;
        is_too_many.then_some(count)
    }

    fn raise(&mut self, count: usize, is_informed: bool, at: Moment) -> Option<SuspicionChange> {
        let since = match self.state {
            SuspicionState::Clear => at,
            SuspicionState::Unconfirmed { since } => since,
            SuspicionState::Confirmed { since, .. } => {
                self.state = SuspicionState::Confirmed { since, fewer_since: None };
                return None;
            }
        };

        if !is_informed {
            self.state = SuspicionState::Unconfirmed { since };
            return None;
        }
        self.state = SuspicionState::Confirmed { since, fewer_since: None };
        Some(SuspicionChange::Raised { missing: count })
    }

    fn ease(&mut self, is_complete: bool, grace: Duration, at: Moment) -> Option<SuspicionChange> {
        let SuspicionState::Confirmed { fewer_since, .. } = &mut self.state else {
            self.state = SuspicionState::Clear;
            return None;
        };

        let fewer_since = *fewer_since.get_or_insert(at);
        if !is_complete && at.since(fewer_since) < grace {
            return None;
        }
        self.state = SuspicionState::Clear;
        self.returned.clear();
        Some(SuspicionChange::Cleared)
    }
}
