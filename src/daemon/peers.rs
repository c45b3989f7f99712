//! Merges what other monitors know, once all lists of fleet have been read: only then is it known
//! which cluster this is, and what this monitor has seen itself.
//!
//! It does not know how the others are asked.

use tracing::{debug, info, warn};

use super::Daemon;
use crate::cluster::{HumanDuration, Moment};
use crate::net::http::PostTarget;
use crate::peers::{OwnKnowledge, PeerHistory, UnusableHistory, UsableHistory};

impl Daemon {
    /// Keeps an answer until it can be merged.
    pub(super) fn add_peer_history(&mut self, history: PeerHistory) {
        self.peer_histories.push(history);
        self.merge_peer_histories();
    }

    /// Merges the answers, if all lists have been read.
    pub(super) fn merge_peer_histories(&mut self) {
        if self.cluster.health().events_since.is_none() {
            return;
        }

        for PeerHistory { from, shared } in std::mem::take(&mut self.peer_histories) {
            let now = Moment::now();
            let publication = self.publisher.last();
            let view = self.cluster.view();
            let own = OwnKnowledge {
                epoch: &publication.epoch,
                machines: view.machines.iter().map(|member| &member.machine.id).collect(),
                interval: self.cluster.health().longest_interval(),
                now: now.wall,
            };

            match shared.usable(&own) {
                Ok(usable) => self.merge_peer_history(&from, &usable, now),
                Err(UnusableHistory::Itself) => debug!("{from} is this monitor itself"),
                Err(error) => warn!("the history from {from} is ignored: {error}"),
            }
        }
    }

    fn merge_peer_history(&mut self, from: &PostTarget, peer: &UsableHistory, now: Moment) {
        let happened = self.cluster.learn(&peer.cluster, now);
        let unknown = self.publisher.unknown_events(&peer.events, now);
        let events = self.cluster.number_learned(unknown);
        self.publisher.merge_events(&peer.events, &events);
        let problems = self.problems.learn(&peer.problems, self.cluster.view(), now);

        if let Some(keeper) = &mut self.keeper {
            keeper.record(&events, self.publisher.last().revision);
        }
        self.metrics.history_merged(events.len());
        self.publish(&happened, &[]);

        let since = self.publisher.last().events_noticed_since();
        let age = since.and_then(|since| now.wall.duration_since(since).ok());
        info!(
            "merged the history from {from}: {} events and {problems} open problems that were not \
             known here; events are complete for the last {}",
            events.len(),
            HumanDuration(age.unwrap_or_default())
        );
    }
}
