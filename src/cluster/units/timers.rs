//! When rows are to be refreshed although nothing was received for them.
//!
//! It does not know why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::super::model::RowKey;

/// One timer for each row at most.
#[derive(Debug, Default)]
pub(crate) struct RowTimers {
    by_time: BTreeSet<(Instant, RowKey)>,
    by_row: BTreeMap<RowKey, Instant>,
}

impl RowTimers {
    /// Sets the timer of a row, or clears it.
    pub(crate) fn set(&mut self, key: &RowKey, due: Option<Instant>) {
        if self.by_row.get(key).copied() == due {
            return;
        }

        if let Some(before) = self.by_row.remove(key) {
            self.by_time.remove(&(before, key.clone()));
        }
        if let Some(due) = due {
            self.by_row.insert(key.clone(), due);
            self.by_time.insert((due, key.clone()));
        }
    }

    /// Removes the timers that have expired, and returns their rows, the earliest first.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<RowKey> {
        let mut expired = Vec::new();

        while let Some((due, _)) = self.by_time.first()
            && *due <= now
        {
            let Some((_, key)) = self.by_time.pop_first() else {
                break;
            };
            self.by_row.remove(&key);
            expired.push(key);
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_timer_expires_once_at_the_time_that_was_set_last() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let [one, other] = ["a.service", "b.service"].map(|unit| (unit.into(), None));
        let mut timers = RowTimers::default();

        timers.set(&one, Some(at(1)));
        timers.set(&other, Some(at(2)));
        timers.set(&one, Some(at(3)));
        assert_eq!(timers.take_expired(at(1)), []);
        assert_eq!(timers.take_expired(at(3)), [other.clone(), one]);
        assert_eq!(timers.take_expired(at(9)), []);

        timers.set(&other, Some(at(10)));
        timers.set(&other, None);
        assert_eq!(timers.take_expired(at(10)), []);
    }
}
