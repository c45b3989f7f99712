//! The logs of units: what a machine's journal has about a unit, read over HTTP from
//! systemd-journal-gatewayd(8) on that machine.
//!
//! A log is read while somebody reads it, and once for all who do. It must not know who that is,
//! nor which machines are in the cluster: the caller has checked that.
//!
//! ```text
//! gatewayd ── journal ── line_splitter ── entry ──► log_buffer ──► each reader, at his own pace
//!              └─────────────── tail ────────────────┘
//! ```

mod entry;
mod journal;
mod line_rate;
mod line_splitter;
mod log_buffer;
mod tail;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use journal::UnitJournal;

pub(crate) use entry::LogLine;
pub(crate) use journal::MAX_BACKLOG;
pub(crate) use log_buffer::LogEntry;
pub(crate) use tail::{Tail, TailState};

use crate::metrics::Metrics;

/// The logs that are read at a time: one for each unit on each machine. A log has two connections.
const MAX_TAILS: usize = 128;

/// All logs that are read at the moment.
#[derive(Debug)]
pub(crate) struct UnitLogs {
    tails: Mutex<HashMap<TailKey, Weak<Tail>>>,
    metrics: Arc<Metrics>,
}

/// A unit and the journal that has its log.
type TailKey = (SocketAddr, Box<str>);

/// As many logs are read as may be.
#[derive(Debug)]
pub(crate) struct TooManyTails;

impl UnitLogs {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { tails: Mutex::default(), metrics }
    }

    /// The log of a unit on the machine whose systemd-journal-gatewayd listens at this address. It
    /// is shared with all others who read it.
    pub(crate) fn tail(&self, address: SocketAddr, unit: &str) -> Result<Arc<Tail>, TooManyTails> {
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address, Box::from(unit));
        if let Some(tail) = tails.get(&key).and_then(Weak::upgrade) {
            return Ok(tail);
        }

        tails.retain(|_, tail| tail.strong_count() > 0);
        if tails.len() >= MAX_TAILS {
            return Err(TooManyTails);
        }

        let metrics = self.metrics.clone();
        let tail = Arc::new(Tail::start(UnitJournal { address, unit: unit.into(), metrics }));
        tails.insert(key, Arc::downgrade(&tail));
        Ok(tail)
    }
}
