//! What a client of the second protocol asks for in its query.
//!
//! The meaning of topics and filters is the feed's.

use std::sync::Arc;

use hyper::header::HeaderName;
use hyper::{Request, StatusCode};

use crate::feed::channel::{Channel, Channels, OverBudget, ResumePosition, Transport};
use crate::feed::subscription::Subscription;

/// The keys that a query may have. The token is read by [`super::access`].
const KEYS: &str = "topics, filter, epoch, revision and token";

/// Where an event stream is to go on (HTML, section "The `Last-Event-ID` header").
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a client of the second protocol gets.
#[derive(Debug)]
pub(super) struct SubscriptionRequest {
    pub(super) channel: Arc<Channel>,
    pub(super) position: Option<ResumePosition>,
}

impl SubscriptionRequest {
    /// What a request asks for: in its query, and in the header with which a browser comes back to
    /// an event stream.
    ///
    /// # Errors
    ///
    /// 400 where it cannot be understood, 503 where there is no room for it.
    pub(super) fn of<B>(
        request: &Request<B>,
        transport: Transport,
        channels: &Channels,
    ) -> Result<Self, (StatusCode, String)> {
        let query = request.uri().query().unwrap_or_default();
        let Query { subscription, mut position } =
            Query::parse(query).map_err(|it| (StatusCode::BAD_REQUEST, it))?;
        if transport == Transport::EventStream
            && let Some(id) = request.headers().get(LAST_EVENT_ID).and_then(|id| id.to_str().ok())
        {
            position = Some(last_event(id));
        }
        let crowded = |error: OverBudget| (StatusCode::SERVICE_UNAVAILABLE, error.to_string());
        Ok(Self {
            channel: channels.open(transport, subscription).map_err(crowded)?,
            position,
        })
    }
}

/// What a client wants, and where it was when it was last here.
#[derive(Debug, Default, PartialEq)]
struct Query {
    subscription: Subscription,
    position: Option<ResumePosition>,
}

impl Query {
    /// Reads a query (URL Standard, section "application/x-www-form-urlencoded parsing").
    fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self::default();
        let (mut epoch, mut revision) = (None, None);
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            let wrong = |expected: String| format!("{key}={value:?} in the query: {expected}");
            match &*key {
                "topics" => {
                    query.subscription.topics =
                        Subscription::parse_topics(&value).map_err(wrong)?;
                }
                "filter" => query.subscription.filter = value.parse().map_err(wrong)?,
                "epoch" => epoch = Some(value.into_owned()),
                "revision" => {
                    revision = Some(
                        value
                            .parse()
                            .map_err(|_| wrong("expected a whole number".to_owned()))?,
                    );
                }
                "token" => {}
                _ => return Err(format!("{key:?} in the query is not known; expected {KEYS}")),
            }
        }
        query.position = match (epoch, revision) {
            (Some(epoch), Some(revision)) => Some(ResumePosition { epoch, revision }),
            (None, None) => None,
            _ => {
                return Err("epoch and revision in the query go together: one of them is missing"
                    .to_owned());
            }
        };
        Ok(query)
    }
}

/// The position that an `id:` of ours tells: `EPOCH-REVISION`. Another is from another server, and
/// so of another epoch.
fn last_event(id: &str) -> ResumePosition {
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
    fn a_query_says_what_is_wanted() {
        assert_eq!(Query::parse("").unwrap(), Query::default());
        let query = Query::parse(
            "topics=units,events&filter=unit%3Aweb%40*+state:failed&epoch=e&revision=7&token=t%26",
        );
        let query = query.unwrap();
        assert_eq!(query.subscription.topics, [Topic::Units, Topic::Events].into());
        assert_eq!(query.subscription.filter.to_string(), "state:failed unit:web@*");
        assert_eq!(query.position, Some(ResumePosition { epoch: "e".into(), revision: 7 }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, culprit) in [
            ("topics=units,all", "topics=\"units,all\""),
            ("topics=", "topics=\"\""),
            ("filter=verdict:ok", "filter=\"verdict:ok\""),
            ("filter=unit:", "filter=\"unit:\""),
            ("epoch=e&revision=-1", "revision=\"-1\""),
            ("epoch=e", "revision"),
            ("filters=a", "\"filters\""),
        ] {
            let error = Query::parse(query).unwrap_err();
            assert!(error.contains(culprit), "{query}: {error}");
        }
        let long = format!("filter=unit:{}", "x".repeat(252));
        assert!(Query::parse(&long).unwrap_err().contains("256"));
        assert!(Query::parse(&long[..long.len() - 1]).is_ok());
    }

    #[test]
    fn the_id_of_an_event_is_a_position() {
        let position = |epoch: &str, revision| ResumePosition { epoch: epoch.into(), revision };
        assert_eq!(last_event("6c0b-17"), position("6c0b", 17));
        assert_eq!(last_event("a-b-17"), position("a-b", 17));
        assert_eq!(last_event("something"), position("something", 0));
    }
}
