//! Whether the source answers, and how old what it said is.

use std::time::SystemTime;

use super::{Moment, Text, Topic};

/// The state of the source, as it is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The topics, in the order of [`Topic::ALL`].
    pub topics: [TopicHealth; 3],
    /// Since when so many rows have been missing that the source is not believed.
    pub suspect_since: Option<SystemTime>,
    /// How many disappearances have been held back so far: rows that fleet's list did not have although they had not
    /// gone.
    pub held_back: u64,
}

/// The state of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicHealth {
    /// When it was last read with success.
    pub read: Option<Moment>,
    /// Why its last reading failed, if it did.
    pub failure: Option<Failure>,
}

/// A topic that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Since when.
    pub since: Moment,
    /// What failed last, with what.
    pub reason: Text,
}

impl Health {
    /// The state of one topic.
    pub fn topic(&self, topic: Topic) -> &TopicHealth {
        &self.topics[topic as usize]
    }

    pub(super) fn topic_mut(&mut self, topic: Topic) -> &mut TopicHealth {
        &mut self.topics[topic as usize]
    }

    /// The failure that has lasted longest.
    pub fn failure(&self) -> Option<&Failure> {
        self.topics.iter().filter_map(|topic| topic.failure.as_ref()).min_by_key(|failure| failure.since.instant)
    }

    /// The topics that have never been read.
    pub fn unread(&self) -> impl Iterator<Item = Topic> {
        Topic::ALL.into_iter().filter(|topic| self.topic(*topic).read.is_none())
    }

    /// Whether every topic has been read, and its last reading succeeded.
    pub fn ready(&self) -> bool {
        self.failure().is_none() && self.unread().next().is_none()
    }
}
