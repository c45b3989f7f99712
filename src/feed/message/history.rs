//! The JSON object of `/v2/history`.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;

use super::rows::EventJson;
use super::to_json;
use crate::cluster::Moment;
use crate::feed::event_history::FoundEvents;

/// The events of one unit or machine as JSON.
#[derive(Debug)]
pub struct HistoryBody {
    /// The object of `/v2/history`.
    pub json: Bytes,
    /// Differs if anything but the time in the JSON does.
    pub(crate) version: String,
}

#[derive(Serialize)]
struct HistoryJson<'a> {
    #[serde(serialize_with = "super::milliseconds")]
    now: SystemTime,
    #[serde(
        serialize_with = "super::some_milliseconds",
        skip_serializing_if = "Option::is_none"
    )]
    complete_since: Option<SystemTime>,
    dropped: bool,
    events: Vec<EventJson<'a>>,
}

/// The events that were found. `noticed_since` is since when all events have been noticed; `None`
/// if not everything has been read yet.
pub(in crate::feed) fn history(
    found: &FoundEvents,
    noticed_since: Option<SystemTime>,
    now: Moment,
) -> HistoryBody {
    let dropped = noticed_since.is_some() && found.dropped > noticed_since;
    let complete_since = noticed_since.max(found.dropped.filter(|_| dropped));

    let count = found.events.len();
    let numbers = found.events.iter().map(|transition| transition.number);
    let newest = numbers.max().unwrap_or(0);
    let since = complete_since.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let since = since.unwrap_or_default().as_millis();

    HistoryBody {
        version: format!("{newest}-{count}-{since}"),
        json: to_json(&HistoryJson {
            now: now.wall,
            complete_since,
            dropped,
            events: found.events.iter().map(EventJson::from).collect(),
        })
        .into(),
    }
}
