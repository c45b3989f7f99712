//! Whether the source's lists lack so much that it is the source that is doubted, and not each row.
//!
//! When a large part of all rows is missing at once, or in turn, though fleet wants them just there, one event says so
//! instead of one for each row, and nothing is given up for its sake. The rows of one machine alone are that machine's
//! matter. It knows rows by their names only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::model::{MachineId, Moment};
use super::view::RowKey;

/// How long a row that was missing and came back counts: lists that lack other rows each time are not whole either.
const RECENT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    None,
    /// Too much is missing; why, is not known yet.
    Unconfirmed { since: Moment },
    /// The source is doubted.
    Confirmed {
        since: Moment,
        /// Since when it has been less.
        fewer: Option<Moment>,
    },
}

/// What a look at the missing rows comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Nothing,
    /// The source is doubted from now on: so many rows are missing.
    Begins {
        missing: usize,
    },
    /// It is believed again.
    Ends,
}

#[derive(Debug, Default)]
pub(super) struct Suspicion {
    state: State,
    /// Rows that came back, and when.
    returned: BTreeMap<RowKey, Moment>,
}

impl Suspicion {
    /// Since when the source is doubted.
    pub(super) fn since(&self) -> Option<SystemTime> {
        match self.state {
            State::Confirmed { since, .. } => Some(since.wall),
            _ => None,
        }
    }

    /// Whether rows are held for its sake, confirmed or not.
    pub(super) fn holds(&self) -> bool {
        !matches!(self.state, State::None)
    }

    /// Since when too many rows have been missing.
    pub(super) fn pending_since(&self) -> Option<Moment> {
        match self.state {
            State::Unconfirmed { since } => Some(since),
            _ => None,
        }
    }

    /// A row that was missing is back.
    pub(super) fn returned(&mut self, key: &RowKey, at: Moment) {
        self.returned.insert(key.clone(), at);
    }

    /// Whether a look at the missing rows is due.
    pub(super) fn is_of_interest(&self) -> bool {
        self.holds() || !self.returned.is_empty()
    }

    /// Takes a look. `missing` are the rows that fleet wants where they were and that are not reported, `of` is how many
    /// rows there are, and `is_informed` whether what explains a missing row has been read since.
    pub(super) fn look(
        &mut self,
        missing: &BTreeSet<RowKey>,
        of: usize,
        is_informed: bool,
        grace: Duration,
        at: Moment,
    ) -> Finding {
        self.returned.retain(|_, returned| at.since(*returned) < RECENT);
        let blinked = self.returned.keys().filter(|key| !missing.contains(*key));
        let machines: BTreeSet<&Option<MachineId>> =
            missing.iter().chain(self.returned.keys()).map(|(_, machine)| machine).collect();
        let count = missing.len() + blinked.count();
        // What is back counts only while more is missing: a fleetd that restarts is no reason for doubt.
        let still = missing.len() * 10 > of;

        let is_of_several = machines.len() > 1 || missing.len() == of;

        if still && count > 2 && count * 3 > of && is_of_several {
            return self.too_many(count, is_informed, at);
        }
        match &mut self.state {
            State::None => Finding::Nothing,
            State::Unconfirmed { .. } => {
                self.state = State::None;
                Finding::Nothing
            }
            State::Confirmed { fewer, .. } => {
                let fewer = *fewer.get_or_insert(at);
                if missing.is_empty() || at.since(fewer) >= grace {
                    self.state = State::None;
                    self.returned.clear();
                    return Finding::Ends;
                }
                Finding::Nothing
            }
        }
    }

    fn too_many(&mut self, count: usize, is_informed: bool, at: Moment) -> Finding {
        let since = match self.state {
            State::None => at,
            State::Unconfirmed { since } => since,
            State::Confirmed { since, .. } => {
                self.state = State::Confirmed { since, fewer: None };
                return Finding::Nothing;
            }
        };
        if !is_informed {
            self.state = State::Unconfirmed { since };
            return Finding::Nothing;
        }
        self.state = State::Confirmed { since, fewer: None };
        Finding::Begins { missing: count }
    }
}
