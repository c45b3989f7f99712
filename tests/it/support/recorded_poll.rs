//! Plays recorded polls to a cluster.

use std::sync::Arc;

use fleet_monitor::cluster::{Cluster, Moment, Transition};
use fleet_monitor::source::recording::RecordedReport;

/// Applies a poll of a recording that began at `start`. Returns its events.
pub fn apply(cluster: &mut Cluster, poll: &RecordedReport, start: Moment) -> Vec<Arc<Transition>> {
    let at = start + poll.at;

    match &poll.outcome {
        Ok(reading) => cluster.apply(reading.clone(), at, poll.took),
        Err(error) => cluster.record_failure(poll.lists, error, at),
    }
}
