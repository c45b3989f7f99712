//! Which leases are overdue, and when to check again. It does not know what the cluster concludes
//! from that.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::entries::Entries;
use super::entry::KeyEntry;
use crate::cluster::{Lease, Observation};

/// The leases that were reported as overdue.
#[derive(Debug, Default)]
pub(super) struct OverdueLeases {
    keys: BTreeSet<Box<str>>,
    /// No lease becomes overdue before this moment. `None` if no key is a lease.
    next_check: Option<Instant>,
}

impl OverdueLeases {
    pub(super) fn contains(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// Forgets a key that was renewed or removed. Returns whether it was overdue.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        self.keys.remove(key)
    }

    /// Schedules a check for the moment after which this entry is overdue.
    pub(super) fn schedule(&mut self, entry: &KeyEntry) {
        self.next_check = self.next_check.into_iter().chain(entry.overdue_after()).min();
    }

    /// Makes the next check examine all entries, since leases may not be overdue any more.
    pub(super) fn recheck_all(&mut self, now: Instant) {
        self.next_check = Some(now);
    }

    /// Reports the leases that have become overdue, and those that are not overdue any more.
    pub(super) fn check(&mut self, entries: &Entries, now: Instant) -> Vec<Observation> {
        if self.next_check.is_none_or(|next| now < next) {
            return Vec::new();
        }

        let mut changes = Vec::new();
        let mut next_check: Option<Instant> = None;
        for (key, entry) in entries.lease_keys() {
            let Some(overdue_after) = entry.overdue_after() else {
                continue;
            };
            if now <= overdue_after {
                next_check = next_check.into_iter().chain([overdue_after]).min();
                if self.keys.remove(key) {
                    changes.extend(entry.value().lease().map(Observation::Renewed));
                }
            } else if let Some((lease, age)) = entry.overdue(now)
                && self.keys.insert(key.into())
            {
                changes.push(Observation::Overdue(lease, age));
            }
        }
        self.next_check = next_check;
        changes
    }

    /// All leases that are overdue, each with the time since its last renewal, for a snapshot.
    pub(super) fn snapshot(&mut self, entries: &Entries, now: Instant) -> Vec<(Lease, Duration)> {
        self.keys.clear();
        self.recheck_all(now);

        let mut overdue = Vec::new();
        for (key, entry) in entries.iter() {
            if let Some(lease) = entry.overdue(now) {
                self.keys.insert(key.into());
                overdue.push(lease);
            }
        }
        overdue
    }
}
