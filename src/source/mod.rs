//! Where readings come from: a fleetctl, fleet's HTTP API, etcd, or a recording.
//!
//! A source yields [`SourceReport`]s at its own pace and is never asked for anything. Dropping it ends
//! what it has under way and kills its children. It knows what a [`Reading`] is and nothing else:
//! neither who judges it nor who looks.

pub mod api;
pub mod etcd;
pub mod fleetctl;
pub mod host;
mod http;
pub mod polled;
pub mod recording;
pub mod replay;
mod rows;
pub(crate) mod selection;
pub mod table;
mod unit_file;
pub mod wire;

pub use fleetctl::reap_orphans;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{Expected, FleetList, Moment, Reading, Text};
use etcd::Watched;
use polled::Polled;
use replay::Replay;

/// What a source says.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are reports")]
pub enum SourceEvent {
    /// What came of asking once.
    Report(SourceReport),
    /// A recording begins, maybe not for the first time, or another cluster answers than before:
    /// nothing that was said before belongs to it.
    Began,
    /// What was known was compared with all that there is.
    Checked {
        /// How many keys were not as they were known.
        differences: usize,
    },
    /// A recording is over. What it said last stays.
    Ended,
}

/// What came of asking once.
#[derive(Debug)]
pub struct SourceReport {
    /// What was asked for.
    pub lists: &'static [FleetList],
    /// When the answer was complete.
    pub at: Moment,
    /// How long it took.
    pub took: Duration,
    /// The answer, or why there is none.
    pub outcome: Result<Reading, SourceError>,
    /// When the next report of these lists has to come after this one, if one has to.
    pub expected: Option<Expected>,
}

/// A source that is running.
#[derive(Debug)]
pub enum Source {
    /// Something that is asked on a schedule.
    Polled(Polled),
    /// An etcd that is being watched.
    Etcd(Watched),
    /// A recording that is being played.
    Replay(Box<Replay>),
}

impl Source {
    /// Waits for the next thing that it says. May be given up and called again: nothing is lost.
    pub async fn next(&mut self) -> SourceEvent {
        match self {
            Source::Polled(polled) => polled.next().await,
            Source::Etcd(etcd) => etcd.next().await,
            Source::Replay(replay) => replay.next().await,
        }
    }

    /// Has the next reading be a whole one, for who begins to follow in between.
    pub fn tell_all(&self) {
        match self {
            Source::Etcd(etcd) => etcd.tell_all(),
            // What they say is whole, or refers to what they said before.
            Source::Polled(_) | Source::Replay(_) => {}
        }
    }

    /// A name for people, such as `fleetctl v1.0.0`.
    pub fn name(&self) -> Text {
        match self {
            Source::Polled(polled) => polled.name(),
            Source::Etcd(etcd) => etcd.name(),
            Source::Replay(replay) => replay.name(),
        }
    }

    /// Whether it is a recording, and not a live cluster.
    pub fn is_recording(&self) -> bool {
        matches!(self, Source::Replay(_))
    }

    /// Whether it is a recording that is over.
    pub fn has_ended(&self) -> bool {
        matches!(self, Source::Replay(replay) if replay.has_ended())
    }

    /// When it will speak next.
    pub fn liveness(&self) -> &Liveness {
        match self {
            Source::Polled(polled) => polled.liveness(),
            Source::Etcd(etcd) => etcd.liveness(),
            Source::Replay(replay) => replay.liveness(),
        }
    }

    /// Gives up what is under way, and returns when its children are gone. It says nothing after
    /// that.
    pub async fn stop(&mut self) {
        match self {
            Source::Polled(polled) => polled.stop().await,
            Source::Etcd(etcd) => etcd.stop().await,
            Source::Replay(_) => {}
        }
    }
}

/// One way of asking fleet for a list.
pub trait FleetClient: Send + Sync + 'static {
    /// What is asked, for people: `fleetctl v1.0.0`.
    fn name(&self) -> String;

    /// Asks once. The caller gives up a poll that takes too long: dropping the future must end
    /// everything that was begun.
    fn poll(&self, list: FleetList) -> impl Future<Output = Result<Reading, SourceError>> + Send;
}

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// fleetctl could not be run, or its answer could not be used.
    #[error(transparent)]
    Fleetctl(#[from] fleetctl::FleetctlError),
    /// fleet's HTTP API could not be reached, or its answer could not be used.
    #[error(transparent)]
    Api(#[from] api::ApiError),
    /// No member of etcd could be read.
    #[error(transparent)]
    Etcd(#[from] etcd::error::EtcdErrors),
    /// There was no answer in time, and the source could not tell more than that.
    #[error("no answer within {} s (--poll-timeout)", .0.as_secs_f64())]
    Timeout(Duration),
    /// A recording says that this reading failed.
    #[error("{0}")]
    Recorded(String),
}

impl SourceError {
    /// Whether no waiting will mend it: the source is not there, or is not what it was taken for.
    /// At the start of the program this is an error of the configuration; later it is a failure
    /// like any other.
    pub fn is_unusable(&self) -> bool {
        match self {
            SourceError::Fleetctl(error) => error.is_unusable(),
            SourceError::Etcd(errors) => errors.is_unusable(),
            SourceError::Api(_) | SourceError::Timeout(_) | SourceError::Recorded(_) => false,
        }
    }
}

/// By when a source yields its next event, for the watchdog: one that misses its deadline is stuck.
#[derive(Clone, Debug)]
pub struct Liveness {
    base: Instant,
    /// Milliseconds after `base`, for each list.
    by: Arc<[AtomicU64; 3]>,
}

/// How much longer than its schedule says a reading may take until it is with the clients, on a
/// host that is busy.
const MARGIN: Duration = Duration::from_secs(1);

/// How late a source may be before it counts as stuck.
const LATE: Duration = Duration::from_secs(5);

impl Default for Liveness {
    fn default() -> Self {
        Self {
            base: Instant::now(),
            by: Arc::new([const { AtomicU64::new(0) }; 3]),
        }
    }
}

impl Liveness {
    /// The next event of `list` comes by then.
    fn set_deadline_of(&self, list: FleetList, by: Instant) {
        let by = u64::try_from((by - self.base).as_millis()).unwrap_or(u64::MAX);
        self.by[list as usize].store(by, Ordering::Relaxed);
    }

    /// The next event comes by then.
    fn set_deadline(&self, by: Instant) {
        for list in FleetList::ALL {
            self.set_deadline_of(list, by);
        }
    }

    /// No event comes any more.
    fn clear_deadline(&self) {
        for by in &*self.by {
            by.store(u64::MAX, Ordering::Relaxed);
        }
    }

    /// Whether no deadline has been missed.
    pub fn is_alive(&self) -> bool {
        let late =
            u64::try_from(self.base.elapsed().saturating_sub(LATE).as_millis()).unwrap_or(u64::MAX);
        self.by.iter().all(|by| by.load(Ordering::Relaxed) >= late)
    }
}
