//! Streams of messages: the second protocol, resumed where it was, and the log of a unit.
//!
//! It does not know how a stream is opened, nor what is done with the messages.

use form_urlencoded::Serializer;
use serde::de::DeserializeOwned;

use super::connection::{
    ClientError, MonitorClient, ReconnectingStream, StreamRequest, SubscriptionEvent,
};
use super::event_stream::ServerSentEvent;
use crate::report::{LogMessage, Message};

/// The stream of the second protocol. After a loss it resumes where it was.
#[derive(Debug)]
pub(crate) struct EventSubscription {
    stream: ReconnectingStream,
}

/// Which log is read.
#[derive(Clone, Debug)]
pub(crate) struct LogQuery {
    /// The full name of the unit.
    pub(crate) unit: String,
    /// The ID or the address of a machine; `None` for all that run the unit.
    pub(crate) machine: Option<String>,
    /// How many of the last lines are read.
    pub(crate) lines: u32,
    /// Whether what follows is read too.
    pub(crate) follow: bool,
    /// A filter, which is compared with the messages; it may be empty.
    pub(crate) filter: String,
}

/// The stream of a unit's log. After a loss it goes on with what is written from then on.
#[derive(Debug)]
pub(crate) struct LogSubscription {
    stream: ReconnectingStream,
    query: LogQuery,
    /// Whether something has arrived.
    has_begun: bool,
}

impl MonitorClient {
    /// Subscribes to `/v2/events`. `query` selects topics and rows.
    pub(crate) fn subscribe(&self, query: &str) -> EventSubscription {
        let request = StreamRequest {
            path: "/v2/events",
            query: query.to_owned(),
            last_event_id: None,
        };
        EventSubscription { stream: ReconnectingStream::new(self.clone(), request) }
    }

    /// Subscribes to `/v2/logs`.
    pub(crate) fn log(&self, query: LogQuery) -> LogSubscription {
        let request = StreamRequest {
            path: "/v2/logs",
            query: query.to_text(),
            last_event_id: None,
        };
        LogSubscription {
            stream: ReconnectingStream::new(self.clone(), request),
            query,
            has_begun: false,
        }
    }
}

impl EventSubscription {
    /// Waits for the next messages, or for the loss of the connection.
    ///
    /// # Errors
    ///
    /// If another attempt to connect cannot succeed.
    pub(crate) async fn next(&mut self) -> Result<SubscriptionEvent<Message>, ClientError> {
        let events = match self.stream.next().await? {
            SubscriptionEvent::Messages(events) => events,
            SubscriptionEvent::Disconnected { error, wait } => {
                return Ok(SubscriptionEvent::Disconnected { error, wait });
            }
        };

        let mut messages = Vec::with_capacity(events.len());
        for event in events {
            let message = decode(&self.stream, &event)?;
            if event.id.is_some() {
                self.stream.request().last_event_id = event.id;
            } else if matches!(message, Message::Resync { .. }) {
                // If the connection is lost before the snapshots have all arrived, the old position
                // would be wrong.
                self.stream.request().last_event_id = None;
            }
            messages.push(message);
        }
        Ok(SubscriptionEvent::Messages(messages))
    }
}

impl LogSubscription {
    /// Waits for the next messages, or for the loss of the connection.
    ///
    /// # Errors
    ///
    /// If another attempt to connect cannot succeed.
    pub(crate) async fn next(&mut self) -> Result<SubscriptionEvent<LogMessage>, ClientError> {
        let events = match self.stream.next().await {
            Ok(SubscriptionEvent::Messages(events)) => events,
            Ok(SubscriptionEvent::Disconnected { error, wait }) => {
                return Ok(SubscriptionEvent::Disconnected { error, wait });
            }
            // A monitor that has just been restarted does not know the unit yet.
            Err(error) if self.has_begun && error.not_found().is_some() => {
                return Ok(self.stream.disconnect(error));
            }
            Err(error) => return Err(error),
        };

        self.has_begun = true;
        let messages = events.iter().map(|event| decode(&self.stream, event));
        let messages = messages.collect::<Result<Vec<LogMessage>, _>>()?;

        let has_lines = messages.iter().any(|message| matches!(message, LogMessage::Line(_)));
        if has_lines && self.query.lines > 0 {
            self.query.lines = 0;
            self.stream.request().query = self.query.to_text();
        }
        Ok(SubscriptionEvent::Messages(messages))
    }
}

impl LogQuery {
    fn to_text(&self) -> String {
        let mut query = Serializer::new(String::new());
        query
            .append_pair("unit", &self.unit)
            .append_pair("lines", &self.lines.to_string())
            .append_pair("follow", if self.follow { "yes" } else { "no" });

        if let Some(machine) = &self.machine {
            query.append_pair("machine", machine);
        }
        if !self.filter.is_empty() {
            query.append_pair("filter", &self.filter);
        }
        query.finish()
    }
}

fn decode<M: DeserializeOwned>(
    stream: &ReconnectingStream,
    event: &ServerSentEvent,
) -> Result<M, ClientError> {
    serde_json::from_str(&event.data).map_err(|error| stream.server().not_fleet_monitor(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_only_what_is_selected() {
        let all = LogQuery {
            unit: "web@1.service".into(),
            machine: None,
            lines: 200,
            follow: false,
            filter: String::new(),
        };
        assert_eq!(all.to_text(), "unit=web%401.service&lines=200&follow=no");

        let some = LogQuery {
            machine: Some("10.0.0.1".into()),
            follow: true,
            filter: "error -GET".into(),
            ..all
        };
        assert_eq!(
            some.to_text(),
            "unit=web%401.service&lines=200&follow=yes&machine=10.0.0.1&filter=error+-GET"
        );
    }
}
