//! How a unit state or a machine was last reported: present, overdue, or absent and why.
//!
//! It does not know what follows from that, and it does not distinguish units from machines.

use serde::{Deserialize, Serialize};

use super::model::Moment;

/// Why a row is missing, as far as the source can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Absence {
    /// A list does not contain it, and a list does not say why.
    Unlisted,
    /// Its key was deleted: by its own machine, or by another fleetd.
    Deleted,
    /// Its key was not renewed in time.
    Expired,
}

/// What it means that a reading has something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Novelty {
    /// Whether it is an event. In the first reading of a list it is none, unless it is known what
    /// was there before.
    pub(crate) is_event: bool,
    /// Whether it has happened since the reading before, as opposed to some time before the first
    /// reading.
    pub(crate) is_seen: bool,
}

/// Whether the source currently reports a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ReportStatus {
    /// The last reading contained it.
    Current,
    /// It is still there, but its key should have been renewed by now.
    Overdue {
        /// When the key was last renewed.
        since: Moment,
    },
    /// It is not in the list any more, or its key is gone.
    Absent {
        /// The first reading without it. If its key expired, the wall clock part is the key's last
        /// renewal instead.
        since: Moment,
        absence: Absence,
        /// Whether a later reading did not contain it either.
        confirmed: bool,
    },
}

impl ReportStatus {
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, ReportStatus::Absent { .. })
    }

    pub(crate) fn is_overdue(&self) -> bool {
        matches!(self, ReportStatus::Overdue { .. })
    }

    /// Marks a current row as overdue. Returns whether it was current.
    pub(crate) fn mark_overdue(&mut self, since: Moment) -> bool {
        let was_current = *self == ReportStatus::Current;

        if was_current {
            *self = ReportStatus::Overdue { since };
        }
        was_current
    }

    /// Ends being overdue. Returns whether it was overdue.
    pub(crate) fn mark_renewed(&mut self) -> bool {
        let was_overdue = self.is_overdue();

        if was_overdue {
            *self = ReportStatus::Current;
        }
        was_overdue
    }

    /// Marks the row as absent since a moment, or confirms that it is absent. Returns whether that
    /// adds any information: the row was not absent, or not confirmed, or has expired by now.
    pub(crate) fn mark_absent(&mut self, absence: Absence, since: Moment) -> bool {
        let ReportStatus::Absent { confirmed, absence: known, .. } = self else {
            *self = ReportStatus::Absent { since, absence, confirmed: false };
            return true;
        };

        let has_expired_now = absence == Absence::Expired && *known != absence;
        let is_news = !*confirmed || has_expired_now;
        *confirmed = true;
        if has_expired_now {
            *known = absence;
        }
        is_news
    }
}
