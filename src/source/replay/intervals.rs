//! The intervals between the polls of a recording. Pure.
//!
//! It must not know what the polls contain, or when they are played.

use std::time::Duration;

use crate::cluster::{FleetList, ReadSchedule};
use crate::source::recording::RecordedReport;

/// How often each list was polled in a recording.
#[derive(Debug, Default)]
pub(super) struct RecordedIntervals([ListIntervals; 3]);

#[derive(Debug, Default)]
struct ListIntervals {
    /// When the list was last polled in the current part of the recording; `None` before its first
    /// poll there.
    last_poll: Option<Duration>,
    count: u32,
    sum: Duration,
    longest: Duration,
}

impl RecordedIntervals {
    /// Begins the next part of the recording: no interval reaches from one part into the next.
    pub(super) fn begin_part(&mut self) {
        for intervals in &mut self.0 {
            intervals.last_poll = None;
        }
    }

    pub(super) fn add(&mut self, poll: &RecordedReport) {
        for list in poll.lists {
            let intervals = &mut self.0[*list as usize];
            if let Some(last_poll) = intervals.last_poll.replace(poll.at) {
                let interval = poll.at.saturating_sub(last_poll);
                intervals.count += 1;
                intervals.sum += interval;
                intervals.longest = intervals.longest.max(interval);
            }
        }

        // If a list is not polled any more, the time until the end of the part counts as an
        // interval.
        for intervals in &mut self.0 {
            let last_poll = intervals.last_poll.unwrap_or(poll.at);
            intervals.longest = intervals.longest.max(poll.at.saturating_sub(last_poll));
        }
    }

    /// How soon a poll of this list is followed by the next one; `None` if the list was polled once
    /// at most.
    pub(super) fn schedule(&self, list: FleetList) -> Option<ReadSchedule> {
        let ListIntervals { count, sum, longest, .. } = self.0[list as usize];
        let every = sum.checked_div(count)?;
        Some(ReadSchedule::new(every, longest))
    }
}
