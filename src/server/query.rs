//! Parses queries: what a list or the state is narrowed to, what a client of the second protocol
//! subscribes to, and from where it resumes. The latter may be in `Last-Event-ID`.
//!
//! This module must not know what topics and filters mean: the feed does.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use hyper::Request;
use hyper::header::HeaderName;

use super::error::HttpError;
use crate::feed::channel::{Channel, Channels, OverBudget, ResumePosition, Transport};
use crate::feed::event_history::HistoryQuery;
use crate::feed::filter::{Filter, FilterError};
use crate::feed::subscription::{Subscription, Topic};

/// The keys of a query for the second protocol. [`super::access`] reads the token.
const SUBSCRIPTION_KEYS: &str = "topics, filter, epoch, revision and token";
/// The keys of a query for the state.
const STATE_KEYS: &str = "topics and filter";
/// The keys of a query for the history of a unit or a machine.
const HISTORY_KEYS: &str = "unit and machine";
/// The keys of a query for a unit file.
const UNIT_KEYS: &str = "unit";
/// The keys of a query for a list of the first protocol.
const LIST_KEYS: &str = "filter";

/// The position from which an event stream resumes (HTML, section "The `Last-Event-ID` header").
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The filter in the query of a list of the first protocol.
///
/// # Errors
///
/// 400 if the query is wrong.
pub(super) fn list_filter(query: &str) -> Result<Filter, HttpError> {
    let mut filter = Filter::default();

    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "filter" => filter = parse_filter(&value).map_err(HttpError::bad_request)?,
            // No token is read from this query. It is ignored, as if it were not there.
            "token" => {}
            _ => return Err(HttpError::bad_request(unknown_key(&key, LIST_KEYS))),
        }
    }
    Ok(filter)
}

/// The topics and the filter in the query of the state.
///
/// # Errors
///
/// 400 if the query is wrong.
pub(super) fn state_selection(query: &str) -> Result<Subscription, HttpError> {
    let mut selection = Subscription::default();

    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "topics" => {
                selection.topics = parse_topics(&value).map_err(HttpError::bad_request)?;
            }
            "filter" => selection.filter = parse_filter(&value).map_err(HttpError::bad_request)?,
            "token" => {}
            _ => return Err(HttpError::bad_request(unknown_key(&key, STATE_KEYS))),
        }
    }
    Ok(selection)
}

/// The unit or the machine in the query of a history. `None`: all of it.
///
/// # Errors
///
/// 400 if the query is wrong.
pub(super) fn history_query(query: &str) -> Result<Option<HistoryQuery>, HttpError> {
    let mut unit = None;
    let mut machine = None;

    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let wanted = match &*key {
            "unit" => &mut unit,
            "machine" => &mut machine,
            "token" => continue,
            _ => return Err(HttpError::bad_request(unknown_key(&key, HISTORY_KEYS))),
        };
        if value.is_empty() {
            return Err(HttpError::bad_request(invalid_value(&key, "", &"expected a name")));
        }
        *wanted = Some(value);
    }

    Ok(match (unit, machine) {
        (Some(unit), None) => Some(HistoryQuery::Unit((&*unit).into())),
        (Some(unit), Some(id)) => Some(HistoryQuery::UnitOn((&*unit).into(), (&*id).into())),
        (None, Some(id)) => Some(HistoryQuery::Machine((&*id).into())),
        (None, None) => None,
    })
}

/// The name in the query of a unit file.
///
/// # Errors
///
/// 400 if the query is wrong, or names no unit.
pub(super) fn unit_name(query: &str) -> Result<String, HttpError> {
    let mut unit = None;

    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "unit" => unit = Some(value.into_owned()),
            "token" => {}
            _ => return Err(HttpError::bad_request(unknown_key(&key, UNIT_KEYS))),
        }
    }
    unit.ok_or_else(|| HttpError::bad_request("the query has to name a unit: ?unit=NAME"))
}

/// A valid request of a client of the second protocol.
#[derive(Debug)]
pub(super) struct SubscriptionRequest {
    pub(super) channel: Arc<Channel>,
    /// Where the client resumes. `None`: it begins with a snapshot.
    pub(super) position: Option<ResumePosition>,
}

impl SubscriptionRequest {
    /// Reads the query of a request and, for an event stream, the header with which a browser
    /// resumes.
    ///
    /// # Errors
    ///
    /// 400 if the query is wrong, 503 if the memory budget for filters is exhausted.
    pub(super) fn from_request<B>(
        request: &Request<B>,
        transport: Transport,
        channels: &Channels,
    ) -> Result<Self, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let query = SubscriptionQuery::parse(query).map_err(HttpError::bad_request)?;

        let last_event_id = request
            .headers()
            .get(LAST_EVENT_ID)
            .filter(|_| transport == Transport::EventStream)
            .and_then(|id| id.to_str().ok());
        let position = last_event_id.map(parse_event_id).or(query.position);

        let channel = channels
            .open(transport, query.subscription)
            .map_err(|error: OverBudget| HttpError::unavailable(error.to_string()))?;
        Ok(Self { channel, position })
    }
}

/// A parsed query.
#[derive(Debug, Default, PartialEq)]
struct SubscriptionQuery {
    subscription: Subscription,
    position: Option<ResumePosition>,
}

impl SubscriptionQuery {
    /// Parses a query (URL Standard, section "application/x-www-form-urlencoded parsing"). The
    /// error is a message for the client.
    fn parse(text: &str) -> Result<Self, String> {
        let mut subscription = Subscription::default();
        let mut epoch = None;
        let mut revision = None;

        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            match &*key {
                "topics" => subscription.topics = parse_topics(&value)?,
                "filter" => subscription.filter = parse_filter(&value)?,
                "epoch" => epoch = Some(value.into_owned()),
                "revision" => {
                    let number = value.parse();
                    let invalid = |_| invalid_value(&key, &value, &"expected a whole number");
                    revision = Some(number.map_err(invalid)?);
                }
                "token" => {}
                _ => return Err(unknown_key(&key, SUBSCRIPTION_KEYS)),
            }
        }

        let position = match (epoch, revision) {
            (Some(epoch), Some(revision)) => Some(ResumePosition { epoch, revision }),
            (None, None) => None,
            _ => {
                return Err("epoch and revision in the query go together: one of them is missing"
                    .to_owned());
            }
        };
        Ok(Self { subscription, position })
    }
}

fn parse_topics(value: &str) -> Result<BTreeSet<Topic>, String> {
    Subscription::parse_topics(value).map_err(|error| invalid_value("topics", value, &error))
}

pub(super) fn parse_filter(value: &str) -> Result<Filter, String> {
    value
        .parse()
        .map_err(|error: FilterError| invalid_value("filter", value, &error))
}

/// The message for a value that is wrong.
pub(super) fn invalid_value(key: &str, value: &str, error: &dyn fmt::Display) -> String {
    format!("{key}={value:?} in the query: {error}")
}

/// The message for a key that the query of this path does not have.
pub(super) fn unknown_key(key: &str, known: &str) -> String {
    format!("{key:?} in the query is not known; expected {known}")
}

/// The position in an event ID, which is `EPOCH-REVISION`. An ID of another form comes from another
/// server. It counts as an epoch of its own, so the client gets a snapshot.
fn parse_event_id(id: &str) -> ResumePosition {
    let parts = id
        .rsplit_once('-')
        .and_then(|(epoch, revision)| Some((epoch, revision.parse().ok()?)));
    let (epoch, revision) = parts.unwrap_or((id, 0));

    ResumePosition { epoch: epoch.to_owned(), revision }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_topics_a_filter_and_a_position() {
        assert_eq!(SubscriptionQuery::parse("").unwrap(), SubscriptionQuery::default());

        let query = SubscriptionQuery::parse(
            "topics=units,events&filter=unit%3Aweb%40*+state:failed&epoch=e&revision=7&token=t%26",
        );
        let query = query.unwrap();
        assert_eq!(query.subscription.topics, [Topic::Units, Topic::Events].into());
        assert_eq!(query.subscription.filter.to_string(), "state:failed unit:web@*");
        assert_eq!(query.position, Some(ResumePosition { epoch: "e".into(), revision: 7 }));
    }

    #[test]
    fn the_error_names_what_is_wrong() {
        for (query, named) in [
            ("topics=units,all", "topics=\"units,all\""),
            ("topics=", "topics=\"\""),
            ("filter=stat:failed", "filter=\"stat:failed\""),
            ("filter=unit:", "filter=\"unit:\""),
            ("epoch=e&revision=-1", "revision=\"-1\""),
            ("epoch=e", "revision"),
            ("filters=a", "\"filters\""),
        ] {
            let error = SubscriptionQuery::parse(query).unwrap_err();
            assert!(error.contains(named), "{query}: {error}");
        }

        let long = format!("filter=unit:{}", "x".repeat(252));
        assert!(SubscriptionQuery::parse(&long).unwrap_err().contains("256"));
        assert!(SubscriptionQuery::parse(&long[..long.len() - 1]).is_ok());
    }

    #[test]
    fn a_list_has_a_filter_and_the_state_has_topics_too() {
        assert_eq!(list_filter("filter=web&token=t").unwrap().to_string(), "web");
        assert!(list_filter("").unwrap().is_empty());

        let selection = state_selection("topics=events&filter=web&token=t").unwrap();
        assert_eq!(selection.topics, [Topic::Events].into());
        assert_eq!(selection.filter.to_string(), "web");
        assert!(state_selection("").unwrap().is_everything());
        assert!(!state_selection("topics=events").unwrap().is_everything());

        for (query, named) in [
            ("filter=stat:failed", "stat:"),
            ("topics=units", "\"topics\""),
            ("filters=a", "\"filters\""),
        ] {
            let error = list_filter(query).unwrap_err();
            assert_eq!(error.status, hyper::StatusCode::BAD_REQUEST);
            assert!(error.message.contains(named), "{query}: {}", error.message);
        }
        for (query, named) in [
            ("filter=stat:failed", "stat:"),
            ("topics=all", "topics=\"all\""),
            ("revision=7", "\"revision\""),
        ] {
            let error = state_selection(query).unwrap_err();
            assert_eq!(error.status, hyper::StatusCode::BAD_REQUEST);
            assert!(error.message.contains(named), "{query}: {}", error.message);
        }
    }

    #[test]
    fn a_history_is_that_of_a_unit_of_a_machine_or_all_of_it() {
        let parsed = |query| history_query(query).unwrap();
        assert_eq!(parsed("unit=a%40b.service"), Some(HistoryQuery::Unit("a@b.service".into())));
        assert_eq!(parsed("machine=m&token=t"), Some(HistoryQuery::Machine("m".into())));
        let on = HistoryQuery::UnitOn("a.service".into(), "m".into());
        assert_eq!(parsed("machine=m&unit=a.service"), Some(on));
        assert_eq!(parsed("token=t"), None);

        for (query, named) in [
            ("unit=", "unit=\"\""),
            ("unit=a&machine=", "machine=\"\""),
            ("unit=a&filter=b", "\"filter\""),
        ] {
            let error = history_query(query).unwrap_err();
            assert_eq!(error.status, hyper::StatusCode::BAD_REQUEST);
            assert!(error.message.contains(named), "{query}: {}", error.message);
        }
    }

    #[test]
    fn a_unit_file_is_that_of_one_unit() {
        assert_eq!(unit_name("unit=a%40b.service&token=t").unwrap(), "a@b.service");

        for (query, named) in [("", "unit"), ("units=a", "\"units\""), ("filter=a", "\"filter\"")] {
            let error = unit_name(query).unwrap_err();
            assert_eq!(error.status, hyper::StatusCode::BAD_REQUEST);
            assert!(error.message.contains(named), "{query}: {}", error.message);
        }
    }

    #[test]
    fn the_id_of_an_event_is_a_position() {
        let position = |epoch: &str, revision| ResumePosition { epoch: epoch.into(), revision };
        assert_eq!(parse_event_id("6c0b-17"), position("6c0b", 17));
        assert_eq!(parse_event_id("a-b-17"), position("a-b", 17));
        assert_eq!(parse_event_id("something"), position("something", 0));
    }
}
