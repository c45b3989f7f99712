//! `/readyz`: whether the data are current, and why not.
//!
//! This module must not know how the data are read.

use hyper::StatusCode;
use serde_json::json;

use super::content::{JSON, ResponseContent};
use crate::cluster::{FleetList, Health, HumanDuration, Moment};
use crate::feed::{Publication, count};

/// 200 if the data are current, else 503 with the reason. Both contain the state of the source.
pub(super) fn content(publication: &Publication, clients: usize, now: Moment) -> ResponseContent {
    let summary = summary(&publication.health, now);
    let (status, body) = match unready(&publication.health, now) {
        None => (StatusCode::OK, json!({ "status": "ready", "summary": summary })),
        Some(reason) => {
            let reason = format!("not ready: {reason}");
            let body = json!({ "status": "not ready", "reason": reason, "summary": summary });
            (StatusCode::SERVICE_UNAVAILABLE, body)
        }
    };

    // The feed has encoded the health already, so it is appended to the object as it is.
    let mut text = body.to_string().into_bytes();
    text.pop();
    text.extend_from_slice(b",\"health\":");
    text.extend(publication.short_health(clients, now));
    text.push(b'}');

    ResponseContent { status, ..ResponseContent::new(JSON, text) }
}

/// Why the data are not current. `None`: they are.
fn unready(health: &Health, now: Moment) -> Option<String> {
    if let Some(failure) = health.failure() {
        return Some(format!(
            "failing for {}: {}",
            HumanDuration(failure.since.age(now)),
            failure.reason
        ));
    }
    if let Some(overdue) = health.overdue(now) {
        return Some(overdue.to_string());
    }

    let unread: Vec<String> = health.unread().map(|list| list.to_string()).collect();
    match unread.split_last()? {
        (last, []) => Some(format!("{last} have not been read yet")),
        (last, others) => Some(format!("{} and {last} have not been read yet", others.join(", "))),
    }
}

/// The age of the data, and whether the source is suspect, in one sentence for people.
fn summary(health: &Health, now: Moment) -> String {
    let ages = FleetList::ALL.map(|list| match health.list(list).read {
        Some(read) => format!("{list} read {} ago", HumanDuration(read.age(now))),
        None => format!("{list} not read yet"),
    });
    let held_back = count(health.held_back, "disappearance");
    let suspect = health.suspect_since.map_or_else(String::new, |since| {
        let lasted = HumanDuration(now.wall.duration_since(since).unwrap_or_default());
        format!("; fleet's list has been suspect for {lasted}: many units are missing from it")
    });

    format!("{}; {held_back} held back{suspect}", ages.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::{ListHealth, ReadFailure, ReadSchedule};
    use crate::snapshots::assert_catalogue;

    #[test]
    fn the_reason_names_the_lists_that_are_missing() {
        let now = Moment::now();
        let read = ListHealth { read: Some(now), ..ListHealth::default() };
        let mut health = Health::default();

        let all = unready(&health, now).expect("a reason");
        assert!(FleetList::ALL.iter().all(|list| all.contains(&list.to_string())), "{all}");

        health.lists = [read.clone(), read.clone(), ListHealth::default()];
        let one = unready(&health, now).expect("a reason");
        assert!(one.starts_with("unit files ") && !one.contains("machines"), "{one}");

        health.lists = [read.clone(), read.clone(), read];
        assert_eq!(unready(&health, now), None);

        health.lists[1].failure = Some(ReadFailure { since: now, reason: "exit status 1".into() });
        let failing = unready(&health, now + Duration::from_secs(14)).expect("a reason");
        assert!(failing.contains("14 s") && failing.contains("exit status 1"), "{failing}");
    }

    #[test]
    fn readiness_and_the_age_of_the_data_are_described_in_these_words() {
        let start = Moment::now();
        let now = start + Duration::from_secs(10);
        let read = |second| ListHealth {
            read: Some(start + Duration::from_secs(second)),
            ..ListHealth::default()
        };

        let some = Health {
            lists: [read(9), read(6), ListHealth::default()],
            held_back: 3,
            ..Health::default()
        };
        let all = Health {
            lists: [read(9), read(6), read(6)],
            held_back: 1,
            ..Health::default()
        };
        let suspect = Health { suspect_since: Some(start.wall), ..all.clone() };
        let mut failing = all.clone();
        failing.lists[1].failure =
            Some(ReadFailure { since: start, reason: "exit status 1".into() });
        let mut overdue = all.clone();
        let schedule = ReadSchedule::new(Duration::from_secs(1), Duration::from_secs(3));
        overdue.lists[1].schedule = Some(schedule);

        let cases = [
            ("nothing read", Health::default()),
            ("unit files not read", some),
            ("all read", all),
            ("many units missing at once", suspect),
            ("machines cannot be read", failing),
            ("machines not read in time", overdue),
        ];
        let texts = cases.map(|(case, health)| {
            let reason = unready(&health, now).unwrap_or_else(|| "(ready)".to_owned());
            (case, format!("{reason}\n{}", summary(&health, now)))
        });
        assert_catalogue("readiness", texts);
    }
}
