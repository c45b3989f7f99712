//! Whether the source answers, and how old what it said is.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::{FleetList, Moment, Seconds, Text};

/// The state of the source, as it is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The topics, in the order of [`FleetList::ALL`].
    pub topics: [ListHealth; 3],
    /// Since when so many rows have been missing that the source is not believed.
    pub suspect_since: Option<SystemTime>,
    /// How many disappearances have been held back so far: rows that fleet's list did not have
    /// although they had not gone.
    pub held_back: u64,
}

/// The state of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListHealth {
    /// When it was last read with success.
    pub read: Option<Moment>,
    /// Why its last reading failed, if it did.
    pub failure: Option<ReadFailure>,
    /// When the next reading has to come, if one has to.
    pub expected: Option<Expected>,
}

/// When the reading of a topic is followed by the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// How often it is read as a rule.
    pub every: Duration,
    /// How old the last reading is at most, as long as none fails: with the time that the next may
    /// take, and the pause before it.
    pub within: Duration,
}

/// A topic that is not read as its schedule promises, though no reading of it has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Which one.
    pub topic: FleetList,
    /// How old its last reading is.
    pub age: Duration,
    /// How often it is to be read.
    pub every: Duration,
    /// Since when the next reading is overdue.
    pub since: SystemTime,
}

impl fmt::Display for Overdue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every = (self.every.as_secs_f64() * 10.0).round() / 10.0;
        write!(
            f,
            "{} were last read {} ago, expected every {every} s",
            self.topic,
            Seconds(self.age)
        )
    }
}

/// A topic that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFailure {
    /// Since when.
    pub since: Moment,
    /// What failed last, with what.
    pub reason: Text,
}

impl Health {
    /// The state of one topic.
    pub fn topic(&self, topic: FleetList) -> &ListHealth {
        &self.topics[topic as usize]
    }

    pub(crate) fn topic_mut(&mut self, topic: FleetList) -> &mut ListHealth {
        &mut self.topics[topic as usize]
    }

    /// The failure that has lasted longest.
    pub fn failure(&self) -> Option<&ReadFailure> {
        self.topics
            .iter()
            .filter_map(|topic| topic.failure.as_ref())
            .min_by_key(|failure| failure.since.instant)
    }

    /// The topics that have never been read.
    pub fn unread(&self) -> impl Iterator<Item = FleetList> {
        FleetList::ALL
            .into_iter()
            .filter(|topic| self.topic(*topic).read.is_none())
    }

    /// The first topic whose next reading is overdue by the clock, whatever is known of the source.
    pub fn overdue(&self, now: Moment) -> Option<Overdue> {
        FleetList::ALL.into_iter().find_map(|topic| {
            let health = self.topic(topic);
            let read = health.read?;
            let Expected { every, within } = health.expected?;
            let age = read.age(now);

            (age > within).then(|| Overdue { topic, age, every, since: read.wall + within })
        })
    }

    /// Whether every topic has been read, and its last reading succeeded. Whether that was lately,
    /// [`Health::overdue`] says.
    pub fn ready(&self) -> bool {
        self.failure().is_none() && self.unread().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_topic_is_overdue_once_its_last_reading_is_older_than_its_schedule_allows() {
        let read = Moment::now();
        let expected = Some(Expected { every: 2 * SECOND, within: 13 * SECOND });
        let mut health = Health::default();
        health.topics[FleetList::Units as usize] =
            ListHealth { read: Some(read), failure: None, expected };

        assert_eq!(health.overdue(read + 13 * SECOND), None);
        let overdue = health.overdue(read + 32 * SECOND).expect("overdue");
        assert_eq!(overdue.to_string(), "units were last read 32 s ago, expected every 2 s");
        assert_eq!(overdue.since, read.wall + 13 * SECOND);
    }

    #[test]
    fn nothing_is_overdue_that_is_not_expected() {
        let read = Moment::now();
        let mut health = Health::default();
        health.topics[FleetList::Units as usize] =
            ListHealth { read: Some(read), ..ListHealth::default() };
        assert_eq!(health.overdue(read + 3600 * SECOND), None);
    }
}
