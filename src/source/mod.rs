//! Where readings come from: a fleetctl, fleet's HTTP API, or a recording.
//!
//! A source yields [`Report`]s at its own pace and is never asked for anything. Dropping it ends what it has under way
//! and kills its children. It knows what a [`Reading`] is and nothing else: neither who judges it nor who looks.

pub mod api;
pub mod fleetctl;
pub mod polled;
pub mod replay;
pub mod table;
pub mod wire;

use std::time::Duration;

use crate::cluster::{Moment, Reading, Topic};

/// What came of asking for one topic.
#[derive(Debug)]
pub struct Report {
    /// What was asked for.
    pub topic: Topic,
    /// When the answer was complete.
    pub at: Moment,
    /// How long it took.
    pub took: Duration,
    /// The answer, or why there is none.
    pub outcome: Result<Reading, SourceError>,
}

/// One way of asking fleet for a topic.
pub trait Poll: Send + Sync + 'static {
    /// Asks once. The caller sets the deadline: dropping the future must end everything that was begun.
    fn poll(&self, topic: Topic) -> impl Future<Output = Result<Reading, SourceError>> + Send;
}

/// Why a topic could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// fleetctl could not be run, or its answer could not be used.
    #[error(transparent)]
    Fleetctl(#[from] fleetctl::FleetctlError),
    /// fleet's HTTP API could not be reached, or its answer could not be used.
    #[error(transparent)]
    Api(#[from] api::ApiError),
    /// There was no answer in time.
    #[error("no answer within {} s (--poll-timeout)", .0.as_secs_f64())]
    Timeout(Duration),
    /// A recording says that this reading failed.
    #[error("{0}")]
    Recorded(String),
}

impl SourceError {
    /// Whether no waiting will mend it: the source is not there, or is not what it was taken for. At the start of the
    /// program this is an error of the configuration; later it is a failure like any other.
    pub fn is_unusable(&self) -> bool {
        match self {
            SourceError::Fleetctl(error) => error.is_unusable(),
            SourceError::Api(_) | SourceError::Timeout(_) | SourceError::Recorded(_) => false,
        }
    }
}
