//! What a client selects: topics, and a filter for their rows.
//!
//! It does not know how rows are sent, nor how a client subscribes.

use std::collections::BTreeSet;
use std::fmt;

use super::filter::Filter;

/// A kind of messages that a client can subscribe to. Messages about the source go to all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Rows: each unit on each machine.
    Units,
    /// Machines of the cluster.
    Machines,
    /// What has been wrong for long enough, by its cause.
    Problems,
    /// What happens to units, machines and the source.
    Events,
}

impl Topic {
    /// All topics, in the order in which their snapshots are sent.
    pub const ALL: [Topic; 4] = [Topic::Units, Topic::Machines, Topic::Problems, Topic::Events];

    /// The name in queries and messages.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Units => "units",
            Topic::Machines => "machines",
            Topic::Problems => "problems",
            Topic::Events => "events",
        }
    }
}

/// What a client subscribes to. Clients with equal subscriptions get the same messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// At least one topic.
    pub topics: BTreeSet<Topic>,
    /// Selects rows and events of the topics.
    pub filter: Filter,
}

impl Default for Subscription {
    /// All topics, without a filter.
    fn default() -> Self {
        Self { topics: Topic::ALL.into(), filter: Filter::default() }
    }
}

impl Subscription {
    /// Parses names of topics, separated by commas.
    ///
    /// # Errors
    ///
    /// Says what was expected, if a name is not that of a topic.
    pub(crate) fn parse_topics(names: &str) -> Result<BTreeSet<Topic>, String> {
        let topic = |name: &str| {
            let topic = Topic::ALL.into_iter().find(|topic| topic.name() == name);
            topic.ok_or_else(|| {
                "expected some of units, machines, problems and events, with commas between"
                    .to_owned()
            })
        };

        names.split(',').map(topic).collect()
    }

    /// Whether it selects everything there is.
    pub(crate) fn is_everything(&self) -> bool {
        self.filter.is_empty() && self.topics.len() == Topic::ALL.len()
    }

    /// Whether the client subscribes to a topic.
    pub(super) fn has(&self, topic: Topic) -> bool {
        self.topics.contains(&topic)
    }
}

impl fmt::Display for Subscription {
    /// The same text for all subscriptions that select the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics: Vec<&str> = self.topics.iter().map(|topic| topic.name()).collect();

        write!(f, "{} {}", topics.join(","), self.filter)
    }
}
