//! The state of everything in one line for people, as `systemctl status` shows it.
//!
//! It does not know how the line gets there.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Publication;
use crate::cluster::{FleetList, Verdict};
use crate::utc::time_of_day;

/// The line. A problem of the source comes first, then what is in the cluster.
pub(crate) fn status_line(publication: &Publication, clients: usize) -> String {
    let source = &publication.source;
    let health = &publication.health;
    let mut line = format!("{}: ", source.name);

    let overdue = health.overdue(publication.now());
    if let Some(failure) = health.failure() {
        let since = clock(failure.since.wall);
        let _ = write!(line, "failing since {since}: {}; ", failure.reason);
    } else if let Some(overdue) = &overdue {
        let _ = write!(line, "{overdue}; ");
    }

    let units_read = health.list(FleetList::Units).read;
    if units_read.is_none() && health.list(FleetList::Machines).read.is_none() {
        line.push_str("nothing has been read yet");
    } else {
        if let Some(read) = units_read
            && (health.failure().is_some() || overdue.is_some())
        {
            let _ = write!(line, "as of {}: ", clock(read.wall));
        }
        line.push_str(&cluster_summary(publication));
    }

    if let Some(since) = health.suspect_since {
        let _ = write!(
            line,
            ", fleet's list is suspect since {}: many units are missing from it",
            clock(since)
        );
    }
    if health.held_back > 0 {
        let _ = write!(line, ", {} held back", count(health.held_back, "disappearance"));
    }
    if source.ended {
        line.push_str(", the recording is over");
    }

    let _ = write!(line, ", {}", count(clients as u64, "client"));
    line
}

/// `2 machines, 9 units (1 failed, 2 stale), 1 problem`. All rows of the view count, as on the
/// page. What has not been wrong for long is no problem.
fn cluster_summary(publication: &Publication) -> String {
    let view = &publication.view;
    let machines = view
        .machines
        .iter()
        .filter(|machine| machine.lost_since.is_none())
        .count();
    let tally = view.units.tally();

    let wrong: Vec<String> = Verdict::ALL
        .into_iter()
        .filter(|verdict| *verdict != Verdict::Ok)
        .map(|verdict| (verdict, tally.of(verdict)))
        .filter(|(_, count)| *count > 0)
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();

    let mut summary = format!(
        "{}, {}",
        count(machines as u64, "machine"),
        count(view.units.len() as u64, "unit")
    );
    if !wrong.is_empty() {
        let _ = write!(summary, " ({})", wrong.join(", "));
    }
    if !publication.problems.is_empty() {
        let _ = write!(summary, ", {}", count(publication.problems.len() as u64, "problem"));
    }
    summary
}

/// `1 unit`, `2 units`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// A time of day in UTC. The line is shown next to a date, and the clocks of servers are usually
/// UTC.
pub(super) fn clock(time: SystemTime) -> String {
    format!("{} UTC", time_of_day(unix_seconds(time)))
}

/// Seconds since 1970.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
