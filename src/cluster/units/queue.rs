//! What time makes due, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::super::view::RowKey;

/// The rows that are to be looked at when their time has come, each at one moment.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    by_time: BTreeSet<(Instant, RowKey)>,
    due: BTreeMap<RowKey, Instant>,
}

impl Queue {
    /// Sets when a row is due, in place of what was set before; with none, it is not.
    pub(crate) fn schedule(&mut self, key: &RowKey, due: Option<Instant>) {
        if self.due.get(key).copied() == due {
            return;
        }

        if let Some(before) = self.due.remove(key) {
            self.by_time.remove(&(before, key.clone()));
        }
        if let Some(due) = due {
            self.due.insert(key.clone(), due);
            self.by_time.insert((due, key.clone()));
        }
    }

    /// Takes what is due by now, the earliest first.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<RowKey> {
        let mut taken = Vec::new();

        while let Some((due, _)) = self.by_time.first()
            && *due <= now
        {
            let Some((_, key)) = self.by_time.pop_first() else {
                break;
            };
            self.due.remove(&key);
            taken.push(key);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_row_is_due_once_at_the_moment_that_was_set_last() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let [one, other] = ["a.service", "b.service"].map(|unit| (unit.into(), None));
        let mut queue = Queue::default();

        queue.schedule(&one, Some(at(1)));
        queue.schedule(&other, Some(at(2)));
        queue.schedule(&one, Some(at(3)));
        assert_eq!(queue.take(at(1)), []);
        assert_eq!(queue.take(at(3)), [other.clone(), one]);
        assert_eq!(queue.take(at(9)), []);

        queue.schedule(&other, Some(at(10)));
        queue.schedule(&other, None);
        assert_eq!(queue.take(at(10)), []);
    }
}
