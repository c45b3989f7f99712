//! What has changed since the last report. It knows which keys have changed, not their new values.

use std::collections::{BTreeMap, BTreeSet};

use super::super::value::KeyValue;
use crate::cluster::{Lease, Text};

/// The changes that have not been reported yet.
#[derive(Debug, Default)]
pub(super) struct PendingChanges {
    /// The keys with leases that have changed, each with the lease that it had before, if any.
    pub(super) leases: BTreeMap<Box<str>, Option<FormerLease>>,
    /// The units whose desired state, target or unit file has changed.
    pub(super) units: BTreeSet<Text>,
    /// Whether the leader may be another one.
    pub(super) leader: bool,
    /// The leases that were overdue and have been renewed.
    pub(super) renewed: Vec<Lease>,
}

/// A lease that a key had before its last change.
#[derive(Debug)]
pub(super) struct FormerLease {
    pub(super) lease: Lease,
    /// Whether it expired, as opposed to being deleted.
    pub(super) has_expired: bool,
}

impl PendingChanges {
    pub(super) fn is_empty(&self) -> bool {
        self.leases.is_empty() && self.units.is_empty() && !self.leader && self.renewed.is_empty()
    }

    /// Records that the value of a key with a lease changed, or the key was removed. `before` is
    /// its value until now.
    pub(super) fn record_lease(&mut self, key: &str, before: Option<&KeyValue>, has_expired: bool) {
        let ended = || {
            let lease = before?.lease()?;
            Some(FormerLease { lease, has_expired })
        };

        match self.leases.get_mut(key) {
            // If the key has had several leases since the last report, the first of them is the one
            // that was reported. The last event decides whether it counts as expired or deleted.
            Some(Some(known)) => known.has_expired = has_expired,
            Some(unknown) => *unknown = ended(),
            None => _ = self.leases.insert(key.into(), ended()),
        }
    }

    /// Drops all changes, for a snapshot that contains them. Returns only the leases that expired,
    /// which a snapshot cannot show otherwise.
    pub(super) fn take_expired(&mut self) -> impl Iterator<Item = Lease> + use<> {
        std::mem::take(self)
            .leases
            .into_values()
            .flatten()
            .filter(|ended| ended.has_expired)
            .map(|ended| ended.lease)
    }
}
