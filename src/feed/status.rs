//! The state of everything in one line for a person, as `systemctl status` shows it.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Publication;
use crate::cluster::{FleetList, Moment, Verdict};

/// The line: what is wrong first, else what is there.
pub fn line(publication: &Publication, clients: usize) -> String {
    let (source, health) = (&publication.source, &publication.health);
    let overdue = health.overdue(Moment::now());
    let mut line = match (health.failure(), &overdue) {
        (Some(failure), _) => {
            format!(
                "{}: failing since {}: {}; ",
                source.name,
                clock(failure.since.wall),
                failure.reason
            )
        }
        (None, Some(overdue)) => format!("{}: {overdue}; ", source.name),
        (None, None) => format!("{}: ", source.name),
    };
    let read = health.list(FleetList::Units).read;
    if read.is_none() && health.list(FleetList::Machines).read.is_none() {
        line.push_str("nothing has been read yet");
    } else {
        if let Some(read) = read
            && (health.failure().is_some() || overdue.is_some())
        {
            let _ = write!(line, "as of {}: ", clock(read.wall));
        }
        line.push_str(&contents(publication));
    }
    if let Some(since) = health.suspect_since {
        let _ = write!(
            line,
            ", many of them missing from fleet's list since {} and not believed gone",
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

fn contents(publication: &Publication) -> String {
    let view = &publication.view;
    let machines = view
        .machines
        .iter()
        .filter(|machine| machine.lost_since.is_none())
        .count();
    let tally = view.units.tally();
    let wrong = Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Ok);
    let wrong = wrong
        .map(|verdict| (verdict, tally.of(verdict)))
        .filter(|(_, count)| *count > 0);
    let wrong: Vec<String> = wrong.map(|(verdict, count)| format!("{count} {verdict}")).collect();
    let mut contents = format!(
        "{}, {}",
        count(machines as u64, "machine"),
        count(tally.listed() as u64, "unit")
    );
    if !wrong.is_empty() {
        let _ = write!(contents, " ({})", wrong.join(", "));
    }
    contents
}

/// `1 unit`, `2 units`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// A time of day. The line is shown next to the date, and by a machine whose clock is likely UTC:
/// so is this.
pub(super) fn clock(time: SystemTime) -> String {
    let second = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
    format!("{:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}
