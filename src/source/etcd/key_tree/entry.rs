//! The decoded value of one key, and when its lease is overdue. It does not know which key that is.

use std::time::{Duration, Instant};

use super::super::value::KeyValue;
use crate::cluster::{Lease, UnitState};

/// If less than this part of a state's TTL is left, its renewal is overdue. fleet renews a state
/// after half of its TTL (up to v0.11) or four fifths (v1.0.0).
const STATE_OVERDUE: f64 = 0.1;
/// The same for a machine, which fleet renews after half of its TTL.
const MACHINE_OVERDUE: f64 = 0.25;
/// etcd reports the time that is left in whole seconds, rounded up.
const TTL_RESOLUTION: Duration = Duration::from_secs(1);

/// The value of a key, and its lease.
#[derive(Debug)]
pub(super) struct KeyEntry {
    value: KeyValue,
    /// The fingerprint of the text that the value was decoded from.
    fingerprint: u64,
    /// etcd's index of the last write.
    modified_index: u64,
    /// `None` if the key does not expire.
    expiry: Option<KeyExpiry>,
}

/// When a key expires, and the TTL that it was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyExpiry {
    at: Instant,
    ttl: Duration,
}

impl KeyExpiry {
    pub(super) fn new(ttl: Duration, now: Instant) -> Self {
        Self { at: now + ttl, ttl }
    }
}

impl KeyEntry {
    pub(super) fn new(
        value: KeyValue,
        fingerprint: u64,
        modified_index: u64,
        expiry: Option<KeyExpiry>,
    ) -> Self {
        Self { value, fingerprint, modified_index, expiry }
    }

    pub(super) fn value(&self) -> &KeyValue {
        &self.value
    }

    pub(super) fn into_value(self) -> KeyValue {
        self.value
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub(super) fn modified_index(&self) -> u64 {
        self.modified_index
    }

    /// The state of a unit, if the value is one.
    pub(super) fn state(&self) -> Option<&UnitState> {
        match &self.value {
            KeyValue::State(state) => Some(state),
            _ => None,
        }
    }

    /// Records that the same value was written once more.
    pub(super) fn renew(&mut self, modified_index: u64, expiry: Option<KeyExpiry>) {
        self.modified_index = modified_index;
        self.expiry = expiry;
    }

    /// Postpones the expiry by a time in which the key could not be renewed.
    pub(super) fn postpone(&mut self, by: Duration) {
        if let Some(expiry) = &mut self.expiry {
            expiry.at += by;
        }
    }

    /// The TTL that it was given, if it expires.
    pub(super) fn ttl(&self) -> Option<Duration> {
        self.expiry.map(|expiry| expiry.ttl)
    }

    pub(super) fn set_ttl(&mut self, ttl: Duration) {
        if let Some(expiry) = &mut self.expiry {
            expiry.ttl = ttl;
        }
    }

    /// Whether it may have expired by now. Its expiry is known only to [`TTL_RESOLUTION`].
    pub(super) fn may_have_expired(&self, now: Instant) -> bool {
        self.expiry.is_some_and(|expiry| expiry.at <= now + TTL_RESOLUTION)
    }

    /// After this moment, the key is overdue. `None` if fleetd does not renew it.
    pub(super) fn overdue_after(&self) -> Option<Instant> {
        let expiry = self.expiry?;
        let part = match &self.value {
            KeyValue::State(_) => STATE_OVERDUE,
            KeyValue::Machine(_) => MACHINE_OVERDUE,
            _ => return None,
        };
        expiry.at.checked_sub(expiry.ttl.mul_f64(part))
    }

    /// The lease, and the time since its last renewal, if it is overdue.
    pub(super) fn overdue(&self, now: Instant) -> Option<(Lease, Duration)> {
        if now <= self.overdue_after()? {
            return None;
        }

        let expiry = self.expiry?;
        let age = expiry.ttl - expiry.at.saturating_duration_since(now);
        Some((self.value.lease()?, age))
    }
}
