//! Probes a member of etcd while it is watched: whether it is alive, and from time to time it reads
//! the whole tree for a comparison. It does not know what the watch has delivered.

use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep};

use super::error::EtcdError;
use super::keys::{self, Node};
use super::member_client::MemberClient;

/// The time between two probes.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// The result of a probe.
#[derive(Debug)]
pub(super) enum MonitorEvent {
    /// etcd is alive. Its index is at least `newest`; 0 if it is not known.
    Alive { newest: u64 },
    /// The whole tree is about to be read, for a comparison.
    ComparisonBegins,
    /// The whole tree as it was at an index.
    Tree { tree: Node, index: u64 },
}

/// Probes etcd until a probe fails, and returns why. Each `comparison_interval`, a probe reads the
/// whole tree.
pub(super) async fn monitor(
    mut client: MemberClient,
    key: &str,
    comparison_interval: Duration,
    events: Sender<MonitorEvent>,
) -> EtcdError {
    let mut last_comparison = Instant::now();
    loop {
        // A sleep instead of an interval: after this program was suspended, an interval would start
        // two probes right after each other, and at the second one the watch could not have
        // delivered yet what the first one found.
        sleep(PROBE_INTERVAL).await;

        let event = if last_comparison.elapsed() < comparison_interval {
            probe(&mut client, key).await
        } else {
            last_comparison = Instant::now();
            // The receiver is gone only when this future is about to be dropped.
            let _ = events.send(MonitorEvent::ComparisonBegins).await;
            client
                .read_tree(key)
                .await
                .map(|read| MonitorEvent::Tree { tree: read.tree, index: read.index })
        };
        match event {
            Ok(event) => drop(events.send(event).await),
            Err(error) => return error,
        }
    }
}

/// Reads the lease of the leader, the one key that fleet writes every 2 seconds; a fleet without a
/// leader has none. It is read with a quorum: a member that is cut off from the others responds,
/// but receives no changes.
async fn probe(client: &mut MemberClient, key: &str) -> Result<MonitorEvent, EtcdError> {
    let leader = format!("{key}/lease/engine-leader");
    let newest = match client.get(&leader, "?quorum=true").await {
        Ok(response) => {
            keys::decode_node(&response.body)
                .map_err(|error| client.invalid_body(&error))?
                .modified_index
        }
        Err(EtcdError::KeyNotFound(..)) => 0,
        Err(error) => return Err(error),
    };
    Ok(MonitorEvent::Alive { newest })
}
