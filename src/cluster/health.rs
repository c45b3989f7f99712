//! Whether the source answers, and how old its last answers are.
//!
//! It does not know what the answers contained.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::{FleetList, HumanDuration, Moment, Text};

/// The state of the source, as it is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The lists, in the order of [`FleetList::ALL`].
    pub lists: [ListHealth; 3],
    /// Since when so many rows have been missing that the source is suspect; `None` if it is not.
    pub suspect_since: Option<SystemTime>,
    /// Whether an outage or a suspicion has just ended, so that its lists may be incomplete.
    pub is_recovering: bool,
    /// When all lists had been read for the first time. What happened before that is no event.
    /// `None` until then.
    pub events_since: Option<SystemTime>,
    /// How many disappearances have been held back so far: how often a row was missing from fleet's
    /// list and came back without having been gone.
    pub held_back: u64,
}

/// The health of one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListHealth {
    /// When it was last read successfully; `None` before the first time.
    pub read: Option<Moment>,
    /// The failure of its last reading; `None` if that succeeded.
    pub failure: Option<ReadFailure>,
    /// By when it is to be read again; `None` if it is not read regularly.
    pub schedule: Option<ReadSchedule>,
}

/// The schedule by which a list is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSchedule {
    /// The regular time between two polls of a list.
    pub every: Duration,
    /// The maximal age of the last reading while no reading fails: the pause before the next one
    /// and the time that it may take.
    pub within: Duration,
    /// How much older it may look to somebody whose clock does not wait for readings: that of a
    /// recording runs at the speed at which it is played. Zero for a live source.
    pub margin: Duration,
}

impl ReadSchedule {
    /// The schedule of a live source.
    pub fn new(every: Duration, within: Duration) -> Self {
        Self { every, within, margin: Duration::ZERO }
    }

    /// Whether a reading of this age is overdue, as it looks.
    pub(crate) fn is_overdue(self, age: Duration) -> bool {
        age > self.within.saturating_add(self.margin)
    }
}

/// A list that is not read as scheduled, although no reading has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverdueList {
    /// The list that is overdue.
    pub list: FleetList,
    /// The age of its last reading.
    pub age: Duration,
    /// The interval at which it should be read.
    pub every: Duration,
    /// Since when the next reading has been overdue.
    pub since: SystemTime,
}

impl fmt::Display for OverdueList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every = (self.every.as_secs_f64() * 10.0).round() / 10.0;
        write!(
            f,
            "{} were last read {} ago, expected every {every} s",
            self.list,
            HumanDuration(self.age)
        )
    }
}

/// Why a list cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFailure {
    /// When the first reading failed.
    pub since: Moment,
    /// What failed last, with what error.
    pub reason: Text,
}

impl Health {
    /// The health of one list.
    pub fn list(&self, list: FleetList) -> &ListHealth {
        &self.lists[list as usize]
    }

    pub(crate) fn list_mut(&mut self, list: FleetList) -> &mut ListHealth {
        &mut self.lists[list as usize]
    }

    /// The failure that has lasted longest.
    pub fn failure(&self) -> Option<&ReadFailure> {
        self.lists
            .iter()
            .filter_map(|list| list.failure.as_ref())
            .min_by_key(|failure| failure.since.instant)
    }

    /// The lists that have never been read.
    pub fn unread(&self) -> impl Iterator<Item = FleetList> {
        FleetList::ALL
            .into_iter()
            .filter(|list| self.list(*list).read.is_none())
    }

    /// The longest time between two readings of a list; zero if no list has a schedule.
    pub(crate) fn longest_interval(&self) -> Duration {
        let schedules = self.lists.iter().filter_map(|list| list.schedule);
        schedules.map(|schedule| schedule.every).max().unwrap_or_default()
    }

    /// The first list whose next reading is overdue, as it looks.
    pub fn overdue(&self, now: Moment) -> Option<OverdueList> {
        self.first_overdue(now, ReadSchedule::is_overdue)
    }

    /// The first list whose next reading is overdue at a moment by which all readings have been
    /// applied that belong before it.
    pub(crate) fn overdue_in_order(&self, at: Moment) -> Option<OverdueList> {
        self.first_overdue(at, |schedule, age| age > schedule.within)
    }

    fn first_overdue(
        &self,
        at: Moment,
        is_overdue: impl Fn(ReadSchedule, Duration) -> bool,
    ) -> Option<OverdueList> {
        FleetList::ALL.into_iter().find_map(|list| {
            let health = self.list(list);
            let read = health.read?;
            let schedule = health.schedule?;
            let age = read.age(at);

            is_overdue(schedule, age).then(|| OverdueList {
                list,
                age,
                every: schedule.every,
                since: read.wall + schedule.within,
            })
        })
    }

    /// Whether every list has been read, and its last reading succeeded. It does not matter how old
    /// that reading is; see [`Health::overdue`].
    pub fn ready(&self) -> bool {
        self.failure().is_none() && self.unread().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_list_is_overdue_once_its_last_reading_is_older_than_its_schedule_allows() {
        let read = Moment::now();
        let schedule = Some(ReadSchedule::new(2 * SECOND, 13 * SECOND));
        let mut health = Health::default();
        health.lists[FleetList::Units as usize] =
            ListHealth { read: Some(read), failure: None, schedule };

        assert_eq!(health.overdue(read + 13 * SECOND), None);
        let overdue = health.overdue(read + 32 * SECOND).expect("overdue");
        assert_eq!(overdue.to_string(), "units were last read 32 s ago, expected every 2 s");
        assert_eq!(overdue.since, read.wall + 13 * SECOND);
    }

    #[test]
    fn a_list_that_is_not_expected_is_never_overdue() {
        let read = Moment::now();
        let mut health = Health::default();
        health.lists[FleetList::Units as usize] =
            ListHealth { read: Some(read), ..ListHealth::default() };
        assert_eq!(health.overdue(read + 3600 * SECOND), None);
    }
}
