//! Parses what a client of the second protocol subscribes to, and from where it resumes: its query,
//! and `Last-Event-ID`.
//!
//! This module must not know what topics and filters mean: the feed does.

use std::sync::Arc;

use hyper::Request;
use hyper::header::HeaderName;

use super::error::HttpError;
use crate::feed::channel::{Channel, Channels, OverBudget, ResumePosition, Transport};
use crate::feed::subscription::Subscription;

/// The keys that a query may have. [`super::access`] reads the token.
const KEYS: &str = "topics, filter, epoch, revision and token";

/// The position from which an event stream resumes (HTML, section "The `Last-Event-ID` header").
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

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
            let invalid = |expected: String| format!("{key}={value:?} in the query: {expected}");

            match &*key {
                "topics" => {
                    subscription.topics = Subscription::parse_topics(&value).map_err(invalid)?;
                }
                "filter" => subscription.filter = value.parse().map_err(invalid)?,
                "epoch" => epoch = Some(value.into_owned()),
                "revision" => {
                    let number = value.parse();
                    revision =
                        Some(number.map_err(|_| invalid("expected a whole number".to_owned()))?);
                }
                "token" => {}
                _ => return Err(format!("{key:?} in the query is not known; expected {KEYS}")),
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
    use crate::feed::subscription::Topic;

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
            ("filter=verdict:ok", "filter=\"verdict:ok\""),
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
    fn the_id_of_an_event_is_a_position() {
        let position = |epoch: &str, revision| ResumePosition { epoch: epoch.into(), revision };
        assert_eq!(parse_event_id("6c0b-17"), position("6c0b", 17));
        assert_eq!(parse_event_id("a-b-17"), position("a-b", 17));
        assert_eq!(parse_event_id("something"), position("something", 0));
    }
}
