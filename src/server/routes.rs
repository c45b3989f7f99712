//! What is at which path.
//!
//! From a publication to the content of an answer. It does not know who asks, or in what form the
//! content travels.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::content::{Content, EVENT_STREAM, JSON, ResponseCache};
use super::page::{self, Asset};
use super::{ServerSettings, Shared};
use crate::cluster::{FleetList, Health, Moment, Seconds};
use crate::feed::{Publication, PublishedList, count};
use crate::metrics::Format;

/// The state of the source, with every answer about the state of the cluster: one that has not
/// changed is not sent again, but its age has changed.
const STATUS: HeaderName = HeaderName::from_static("fleet-monitor-status");

/// What can be asked for.
pub(super) enum Resource {
    /// A file of the page.
    Asset(&'static Asset),
    /// The unit list of the first protocol.
    Units,
    /// The machine list of the first protocol.
    Machines,
    /// Everything.
    State,
    /// What happens, as it happens.
    Events,
    /// The metrics.
    Metrics,
    /// Whether the process lives.
    Health,
    /// Whether the data can be relied on.
    Ready,
}

impl Resource {
    /// What is at a path. Whoever scrapes or probes may write it with a `/` at the end, and may
    /// follow no redirect.
    pub(super) fn at(path: &str) -> Option<Self> {
        Some(match path.strip_suffix('/').unwrap_or(path) {
            "/v1/units" => Self::Units,
            "/v1/machines" => Self::Machines,
            "/v2/state" => Self::State,
            "/v2/events" => Self::Events,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            _ => Self::Asset(page::asset(path)?),
        })
    }

    /// Whether it tells nothing of the cluster, and so needs no token.
    pub(super) fn is_public(&self) -> bool {
        matches!(self, Self::Asset(_) | Self::Health)
    }
}

/// What is told to many, as it was told last.
#[derive(Debug, Default)]
pub(super) struct ResponseCaches {
    units: ResponseCache,
    machines: ResponseCache,
    state: ResponseCache,
}

/// What a resource holds at this moment.
pub(super) fn content(
    shared: &Shared,
    settings: &ServerSettings,
    resource: &Resource,
    headers: &HeaderMap,
) -> Content {
    let publication = shared.feed.borrow().clone();
    let now = Moment::now();
    match resource {
        Resource::Asset(asset) => asset.content(),
        Resource::Units => {
            list(&publication, publication.unit_list.as_ref(), &shared.told.units, "units")
        }
        Resource::Machines => list(
            &publication,
            publication.machine_list.as_ref(),
            &shared.told.machines,
            "machines",
        ),
        Resource::State => {
            let [own, common] = publication.state(shared.clients(), now);
            Content {
                common: Some(shared.told.state.of(common)),
                etag: Some(format!("W/\"{}-{}\"", publication.epoch, publication.revision)),
                extra: header(&publication.short_health(shared.clients(), now))
                    .map(|health| (STATUS, health)),
                ..Content::new(JSON, own)
            }
        }
        // Of a stream this is the head alone, for those who ask for no more.
        Resource::Events => Content::new(EVENT_STREAM, Bytes::new()),
        Resource::Metrics => {
            let format = format(headers);
            let globs = &settings.metrics_units;
            Content::new(
                format.media_type(),
                shared.metrics.encode(format, &publication, shared.clients(), globs),
            )
        }
        Resource::Health => Content::new(JSON, json!({ "status": "ok" }).to_string()),
        Resource::Ready => ready(&publication, shared.clients(), now),
    }
}

fn list(
    publication: &Publication,
    list: Option<&PublishedList>,
    newest: &ResponseCache,
    what: &str,
) -> Content {
    match list {
        Some(list) => Content {
            common: Some(newest.of(list.frame().payload())),
            etag: Some(format!("W/\"{}-{}\"", publication.epoch, list.revision())),
            ..Content::new(JSON, Bytes::new())
        },
        None => Content::error(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("{what} have not been read yet"),
        ),
    }
}

fn ready(publication: &Publication, clients: usize, now: Moment) -> Content {
    let health = publication.short_health(clients, now);
    let reason = unready(&publication.health, now);
    let summary = summary(&publication.health, now);
    let mut text = match &reason {
        Some(reason) => {
            json!({ "status": "not ready", "reason": format!("not ready: {reason}"), "summary": summary })
        }
        None => json!({ "status": "ready", "summary": summary }),
    }
    .to_string()
    .into_bytes();
    text.pop();
    text.extend_from_slice(b",\"health\":");
    text.extend(health);
    text.push(b'}');
    let status = if reason.is_some() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    Content { status, ..Content::new(JSON, text) }
}

/// Why the data cannot be relied on, if they cannot.
fn unready(health: &Health, now: Moment) -> Option<String> {
    if let Some(failure) = health.failure() {
        return Some(format!(
            "failing for {}: {}",
            Seconds(failure.since.age(now)),
            failure.reason
        ));
    }
    if let Some(overdue) = health.overdue(now) {
        return Some(overdue.to_string());
    }
    let unread: Vec<String> = health.unread().map(|topic| topic.to_string()).collect();
    match unread.split_last()? {
        (last, []) => Some(format!("{last} have not been read yet")),
        (last, others) => Some(format!("{} and {last} have not been read yet", others.join(", "))),
    }
}

/// How old the data are, and how far fleet is believed, for people.
fn summary(health: &Health, now: Moment) -> String {
    let topics = FleetList::ALL.map(|topic| match health.list(topic).read {
        Some(read) => format!("{topic} read {} ago", Seconds(read.age(now))),
        None => format!("{topic} not read yet"),
    });
    let held_back = count(health.held_back, "disappearance");
    let suspect = health.suspect_since.map_or_else(String::new, |since| {
        let lasted = Seconds(now.wall.duration_since(since).unwrap_or_default());
        format!("; many units have been missing from fleet's list for {lasted} and are not believed gone")
    });
    format!("{}; {held_back} held back{suspect}", topics.join(", "))
}

/// The form of the metrics that a client understands: Prometheus asks for OpenMetrics, a person
/// with curl does not.
fn format(headers: &HeaderMap) -> Format {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepted
        .into_iter()
        .any(|types| types.contains("application/openmetrics-text"))
    {
        Format::OpenMetrics
    } else {
        Format::Prometheus
    }
}

/// JSON as the value of a header, which has ASCII only.
fn header(json: &[u8]) -> Option<HeaderValue> {
    let mut ascii = String::with_capacity(json.len());
    for character in String::from_utf8_lossy(json).chars() {
        if matches!(character, ' '..='~') {
            ascii.push(character);
        } else {
            let mut units = [0; 2];
            ascii.extend(
                character
                    .encode_utf16(&mut units)
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}")),
            );
        }
    }
    HeaderValue::from_maybe_shared(Bytes::from(ascii)).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::{Expected, ListHealth, ReadFailure};
    use crate::snapshots::assert_catalogue;

    #[test]
    fn a_header_is_ascii_and_the_same_json() {
        let json = json!({ "reason": "fleetctl: „größer“ 🚢\n\u{1}\u{7f}" }).to_string();
        let header = header(json.as_bytes()).expect("a header");
        let text = header.to_str().expect("ASCII");
        assert_eq!(
            text,
            r#"{"reason":"fleetctl: \u201egr\u00f6\u00dfer\u201c \ud83d\udea2\n\u0001\u007f"}"#
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(text).expect("JSON"),
            serde_json::from_str::<serde_json::Value>(&json).expect("JSON"),
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let now = Moment::now();
        let read = ListHealth { read: Some(now), ..ListHealth::default() };
        let mut health = Health::default();
        let all = unready(&health, now).expect("a reason");
        assert!(FleetList::ALL.iter().all(|topic| all.contains(&topic.to_string())), "{all}");
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
    fn readiness_and_the_age_of_the_data_are_told_in_these_words() {
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
        let expected = Expected {
            every: Duration::from_secs(1),
            within: Duration::from_secs(3),
        };
        overdue.lists[1].expected = Some(expected);

        let told = [
            ("nothing read", Health::default()),
            ("unit files not read", some),
            ("all read", all),
            ("many units missing at once", suspect),
            ("machines cannot be read", failing),
            ("machines not read in time", overdue),
        ];
        let told = told.map(|(given, health)| {
            let reason = unready(&health, now).unwrap_or_else(|| "(ready)".to_owned());
            (given, format!("{reason}\n{}", summary(&health, now)))
        });
        assert_catalogue("readiness", told);
    }
}
