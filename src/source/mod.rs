//! The sources of readings: fleetctl, fleet's HTTP API, etcd, or a recording.
//!
//! It must not know how a [`Reading`] is evaluated or displayed. A source yields [`SourceReport`]s
//! on its own schedule. Dropping it cancels what it does and kills its child processes.

pub mod api;
pub mod etcd;
mod file_reader;
pub mod fleetctl;
pub mod polled;
pub mod recording;
mod replay;
mod rows;
pub(crate) mod selection;
mod source_file;
pub mod table;
mod unit_file;
pub mod version;
mod wire;

pub(crate) use file_reader::UnitFileReader;
pub(crate) use fleetctl::reap_orphans;
pub(crate) use replay::ReplayOptions;
pub(crate) use source_file::{FileReadError, SourceFile};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{FleetList, Moment, ReadSchedule, Reading, Retention, Text};
use crate::playback::{Playback, PlaybackControl};
use etcd::EtcdWatcher;
use polled::Polled;
use replay::Replay;
use version::FleetVersion;

/// What a source yields.
#[derive(Debug)]
pub enum SourceEvent {
    /// The result of a poll, or of a watch.
    Report(SourceReport),
    /// A recording begins, or begins again; or etcd belongs to another cluster than before, or was
    /// restored from a backup. All earlier reports are void.
    Restarted,
    /// The source has read the registry again, and compared it with the watched state.
    Rechecked {
        /// How many keys differed.
        differences: usize,
    },
    /// A second of a recording has passed, until this moment of it. So what depends on time alone
    /// is in its order with the reports, at any speed.
    TimePassed(Moment),
    /// A recording is over. Its last readings stay valid.
    Ended,
    /// A recording goes on at another place. All earlier reports are void.
    Sought,
    /// What was recorded before that place, and is now played at once.
    CatchingUp(SourceReport),
    /// All of that was played.
    CaughtUp,
    /// A recording is played in another way.
    PlaybackChanged,
}

/// The result of one poll, or of a watch.
#[derive(Debug)]
pub struct SourceReport {
    /// The lists that were read.
    pub lists: &'static [FleetList],
    /// When the answer was complete.
    pub at: Moment,
    /// How long the source waited for the answer. Zero if no single request led to this report,
    /// as with the changes that a watch delivers.
    pub took: Duration,
    /// The reading, or why there is none.
    pub outcome: Result<Reading, SourceError>,
    /// How soon the next report of these lists has to follow; `None`: there may never be one.
    pub schedule: Option<ReadSchedule>,
}

/// A source that is running.
#[derive(Debug)]
pub(crate) enum Source {
    /// fleetctl or fleet's API, polled on a schedule.
    Polled(Polled),
    /// An etcd that is watched.
    Etcd(EtcdWatcher),
    /// A recording that is played.
    Replay(Box<Replay>),
}

impl Source {
    /// Waits for the next event. Cancel safe: no event is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> SourceEvent {
        match self {
            Source::Polled(polled) => polled.next().await,
            Source::Etcd(etcd) => etcd.next().await,
            Source::Replay(replay) => replay.next().await,
        }
    }

    /// Makes the next reading a whole registry instead of changes, for a receiver that has missed
    /// earlier readings.
    pub(crate) fn request_snapshot(&self) {
        match self {
            Source::Etcd(etcd) => etcd.request_snapshot(),
            // A poll always reads a whole list, and a recording cannot be read in another way.
            Source::Polled(_) | Source::Replay(_) => {}
        }
    }

    /// The name for the page and for messages, such as `fleetctl v1.0.0`.
    pub(crate) fn name(&self) -> Text {
        match self {
            Source::Polled(polled) => polled.name(),
            Source::Etcd(etcd) => etcd.name(),
            Source::Replay(replay) => replay.name(),
        }
    }

    /// The version of the fleetctl or fleetd that answers; `None` if it is not known, as that of a
    /// fleetd is not from etcd.
    pub(crate) fn fleet_version(&self) -> Option<FleetVersion> {
        match self {
            Source::Polled(polled) => polled.fleet_version(),
            Source::Etcd(_) | Source::Replay(_) => None,
        }
    }

    /// Whether the source is a recording, not a live cluster.
    pub(crate) fn is_recording(&self) -> bool {
        matches!(self, Source::Replay(_))
    }

    /// How a recording is played; `None` for a live cluster.
    pub(crate) fn playback(&self) -> Option<Playback> {
        match self {
            Source::Replay(replay) => replay.playback(),
            Source::Polled(_) | Source::Etcd(_) => None,
        }
    }

    /// What changes how a recording is played; `None` for a live cluster.
    pub(crate) fn playback_control(&self) -> Option<PlaybackControl> {
        match self {
            Source::Replay(replay) => replay.control(),
            Source::Polled(_) | Source::Etcd(_) => None,
        }
    }

    /// Searches a recording for events.
    pub(crate) fn search_events(&self, retention: Retention) {
        if let Source::Replay(replay) = self {
            replay.search_events(retention);
        }
    }

    /// Whether the source is a recording that is over.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self, Source::Replay(replay) if replay.has_ended())
    }

    /// By when the source yields its next event.
    pub(crate) fn liveness(&self) -> &Liveness {
        match self {
            Source::Polled(polled) => polled.liveness(),
            Source::Etcd(etcd) => etcd.liveness(),
            Source::Replay(replay) => replay.liveness(),
        }
    }

    /// Cancels what the source does, and returns when its tasks and child processes have ended. It
    /// yields no event after that.
    pub(crate) async fn stop(&mut self) {
        match self {
            Source::Polled(polled) => polled.stop().await,
            Source::Etcd(etcd) => etcd.stop().await,
            Source::Replay(_) => {}
        }
    }
}

/// One way of asking fleet for a list.
pub trait FleetClient: Send + Sync + 'static {
    /// The name for the page and for messages, such as `fleetctl v1.0.0`.
    fn name(&self) -> String;

    /// The version of the fleetctl or fleetd that answers; `None` if it is not known.
    fn fleet_version(&self) -> Option<FleetVersion> {
        None
    }

    /// Reads a list once. The caller drops the future if the poll takes too long. Dropping it must
    /// end everything that the poll has started.
    fn poll(&self, list: FleetList) -> impl Future<Output = Result<Reading, SourceError>> + Send;
}

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// fleetctl could not be run, or its answer is unusable.
    #[error(transparent)]
    Fleetctl(#[from] fleetctl::FleetctlError),
    /// fleet's HTTP API could not be reached, or its answer is unusable.
    #[error(transparent)]
    Api(#[from] api::ApiError),
    /// No member of etcd could be read.
    #[error(transparent)]
    Etcd(#[from] etcd::error::EtcdErrors),
    /// There was no answer within this timeout, and the client reported no better error itself.
    #[error("no answer within {} s (--poll-timeout)", .0.as_secs_f64())]
    Timeout(Duration),
    /// The text of an error that was recorded.
    #[error("{0}")]
    Recorded(String),
}

impl SourceError {
    /// Whether a retry is pointless: the source does not exist, is another program, or lacks the
    /// API that is needed. At the start this is a configuration error; later it is retried like any
    /// other failure.
    pub fn is_unusable(&self) -> bool {
        match self {
            SourceError::Fleetctl(error) => error.is_unusable(),
            SourceError::Etcd(errors) => errors.is_unusable(),
            SourceError::Api(_) | SourceError::Timeout(_) | SourceError::Recorded(_) => false,
        }
    }
}

/// By when a source yields its next event. For the watchdog: a source that misses its deadline is
/// stuck.
#[derive(Clone, Debug)]
pub struct Liveness {
    /// When this was created.
    base: Instant,
    /// The deadline of each list, in milliseconds after `base`.
    deadlines: Arc<[AtomicU64; 3]>,
}

/// How much later than scheduled a reading may reach the clients when the host is busy.
const MARGIN: Duration = Duration::from_secs(1);

/// How late a source may be before it counts as stuck.
const LATE: Duration = Duration::from_secs(5);

impl Default for Liveness {
    fn default() -> Self {
        Self {
            base: Instant::now(),
            deadlines: Arc::new([const { AtomicU64::new(0) }; 3]),
        }
    }
}

impl Liveness {
    /// Sets the deadline of the next event that concerns `list`.
    fn set_deadline_of(&self, list: FleetList, deadline: Instant) {
        self.deadlines[list as usize].store(milliseconds(deadline - self.base), Ordering::Relaxed);
    }

    /// Sets the deadline of the next event.
    fn set_deadline(&self, deadline: Instant) {
        for list in FleetList::ALL {
            self.set_deadline_of(list, deadline);
        }
    }

    /// Removes all deadlines: no further event is due.
    fn clear_deadline(&self) {
        for deadline in &*self.deadlines {
            deadline.store(u64::MAX, Ordering::Relaxed);
        }
    }

    /// Whether no deadline was missed by more than [`LATE`].
    pub(crate) fn is_alive(&self) -> bool {
        let oldest_allowed = milliseconds(self.base.elapsed().saturating_sub(LATE));
        self.deadlines
            .iter()
            .all(|deadline| deadline.load(Ordering::Relaxed) >= oldest_allowed)
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
