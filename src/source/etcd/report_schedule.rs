//! When the next report of a watch is due. It does not know what a report contains.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest time between two reports with changes. It bounds the cost of a burst of changes.
const MIN_GAP: Duration = Duration::from_millis(10);
/// How long after a report with ended leases another report is made, although nothing else has
/// changed. fleetd sets some keys again right after it deleted them, so the cluster can decide only
/// then whether a row is gone.
pub const RECHECK_DELAY: Duration = Duration::from_millis(600);

/// Decides when a report is due.
#[derive(Debug)]
pub(super) struct ReportSchedule {
    is_due: bool,
    /// Whether anything was received since the last tick.
    has_received: bool,
    /// A report with changes must not come before this moment.
    not_before: Instant,
    /// When another report follows on one with ended leases; `None` if there was no such report.
    recheck_at: Option<Instant>,
}

impl ReportSchedule {
    pub(super) fn new() -> Self {
        Self {
            is_due: false,
            has_received: false,
            not_before: Instant::now(),
            recheck_at: None,
        }
    }

    /// Whether a report is due now, or as soon as its gap is over.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// A report with changes must not come before this moment.
    pub(super) fn not_before(&self) -> Instant {
        self.not_before
    }

    /// When another report follows on one with ended leases; `None` if there was no such report.
    pub(super) fn recheck_at(&self) -> Option<Instant> {
        self.recheck_at
    }

    /// Records that something was received: a report is due with the next tick.
    pub(super) fn record_received(&mut self) {
        self.has_received = true;
    }

    /// Records that there are changes: a report is due.
    pub(super) fn record_changes(&mut self) {
        self.is_due = true;
    }

    /// Must be called once a second. As long as etcd responds, each tick makes a report due, also
    /// without changes: the cluster decides what follows from time alone when it gets a report.
    pub(super) fn tick(&mut self) {
        self.is_due |= std::mem::take(&mut self.has_received);
    }

    /// Makes a report due, since the moment of [`ReportSchedule::recheck_at`] has come.
    pub(super) fn recheck(&mut self) {
        self.recheck_at = None;
        self.is_due = true;
    }

    /// Records that a report was made.
    pub(super) fn record_report(&mut self, now: Instant, has_changes: bool, ends_leases: bool) {
        self.is_due = false;
        if has_changes {
            self.not_before = now + MIN_GAP;
        }
        if ends_leases {
            self.recheck_at = Some(now + RECHECK_DELAY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_report(schedule: &mut ReportSchedule) -> bool {
        let is_due = schedule.is_due();
        schedule.record_report(Instant::now(), false, false);
        is_due
    }

    #[test]
    fn a_tick_makes_a_report_due_only_if_something_was_received() {
        let mut schedule = ReportSchedule::new();
        schedule.tick();
        assert!(!has_report(&mut schedule));

        schedule.record_received();
        assert!(!schedule.is_due());
        schedule.tick();
        assert!(has_report(&mut schedule));

        schedule.tick();
        assert!(!has_report(&mut schedule));
    }

    #[test]
    fn changes_are_reported_at_once_and_the_next_after_a_gap() {
        let mut schedule = ReportSchedule::new();
        let now = schedule.not_before();
        schedule.record_changes();
        assert!(schedule.is_due());

        schedule.record_report(now, true, false);

        assert!(!schedule.is_due());
        assert_eq!(schedule.not_before(), now + MIN_GAP);
    }

    #[test]
    fn ended_leases_are_judged_again_once() {
        let mut schedule = ReportSchedule::new();
        let now = Instant::now();
        schedule.record_report(now, true, true);
        assert_eq!(schedule.recheck_at(), Some(now + RECHECK_DELAY));

        schedule.recheck();

        assert!(has_report(&mut schedule));
        assert_eq!(schedule.recheck_at(), None);
    }
}
