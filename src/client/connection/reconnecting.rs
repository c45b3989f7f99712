//! An event stream of a monitor that reconnects after each loss.
//!
//! It does not know what the events mean, nor from where a stream can be resumed: that is set in
//! its request.

use std::time::Duration;

use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until, timeout};

use super::{ANSWER_TIMEOUT, ClientError, MAX_BODY_BYTES, MonitorClient};
use crate::client::event_stream::{EventStreamDecoder, ServerSentEvent};
use crate::net::backoff::Backoff;
use crate::net::http::HttpClient;

/// The server sends something at least every 15 s. After this time without anything, the connection
/// is lost (`docs/protocol.md`).
const SILENCE: Duration = Duration::from_secs(40);
/// The waits between attempts to connect again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// What a stream, or a subscription that reads it, yields.
#[derive(Debug)]
pub(crate) enum SubscriptionEvent<M> {
    /// Messages that arrived together.
    Messages(Vec<M>),
    /// The connection is lost, or could not be opened. Another attempt follows after the wait.
    Disconnected {
        /// Why.
        error: ClientError,
        /// The time until the next attempt.
        wait: Duration,
    },
}

/// What is requested, now and after a loss.
#[derive(Debug)]
pub(crate) struct StreamRequest {
    pub(crate) path: &'static str,
    /// The part of the URL behind the `?`; it may be empty.
    pub(crate) query: String,
    /// The ID of the event after which the server is to resume; `None` if it cannot.
    pub(crate) last_event_id: Option<String>,
}

/// An event stream that reconnects.
#[derive(Debug)]
pub(crate) struct ReconnectingStream {
    server: MonitorClient,
    request: StreamRequest,
    stream: Option<OpenStream>,
    backoff: Backoff,
    /// When to connect again; `None` while there is a connection.
    next_attempt: Option<Instant>,
}

#[derive(Debug)]
struct OpenStream {
    http: HttpClient,
    body: Incoming,
    decoder: EventStreamDecoder,
}

impl ReconnectingStream {
    pub(crate) fn new(server: MonitorClient, request: StreamRequest) -> Self {
        Self {
            server,
            request,
            stream: None,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            next_attempt: None,
        }
    }

    /// The request of the next attempt to connect.
    pub(crate) fn request(&mut self) -> &mut StreamRequest {
        &mut self.request
    }

    /// The server that it reads from.
    pub(crate) fn server(&self) -> &MonitorClient {
        &self.server
    }

    /// Waits for the next events, or for the loss of the connection. Reconnects by itself, after
    /// the wait that [`SubscriptionEvent::Disconnected`] announced.
    ///
    /// # Errors
    ///
    /// If another attempt cannot succeed either.
    pub(crate) async fn next(&mut self) -> Result<SubscriptionEvent<ServerSentEvent>, ClientError> {
        if let Some(until) = self.next_attempt {
            sleep_until(until).await;
            self.next_attempt = None;
        }

        match self.read().await {
            Ok(events) => {
                self.backoff.reset();
                Ok(SubscriptionEvent::Messages(events))
            }
            Err(error) if error.is_transient() => Ok(self.disconnect(error)),
            Err(error) => Err(error),
        }
    }

    /// Gives the connection up. The next one is opened after a wait.
    pub(crate) fn disconnect<M>(&mut self, error: ClientError) -> SubscriptionEvent<M> {
        self.stream = None;
        let wait = self.backoff.wait(fastrand::f64());
        self.next_attempt = Some(Instant::now() + wait);
        SubscriptionEvent::Disconnected { error, wait }
    }

    async fn read(&mut self) -> Result<Vec<ServerSentEvent>, ClientError> {
        let address = self.server.address.clone();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => self.stream.insert(self.open().await?),
        };

        loop {
            let data = timeout(SILENCE, stream.http.data(&mut stream.body)).await;
            let data = match data {
                Ok(Some(Ok(data))) => data,
                Ok(Some(Err(error))) => return Err(ClientError::Lost(address, error.to_string())),
                Ok(None) => {
                    return Err(ClientError::Lost(address, "the server closed it".to_owned()));
                }
                Err(_) => {
                    let problem = format!("nothing arrived for {} s", SILENCE.as_secs());
                    return Err(ClientError::Lost(address, problem));
                }
            };

            let events = stream.decoder.decode(&data);
            if stream.decoder.buffered() > MAX_BODY_BYTES {
                let problem = format!("an event has more than {MAX_BODY_BYTES} bytes");
                return Err(ClientError::NotFleetMonitor(address, problem));
            }
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    async fn open(&self) -> Result<OpenStream, ClientError> {
        let StreamRequest { path, query, last_event_id } = &self.request;
        let mut request = self.server.request(path, query, "text/event-stream")?;
        if let Some(id) = last_event_id.as_ref().and_then(|id| id.parse().ok()) {
            request.headers_mut().insert("last-event-id", id);
        }

        let mut http = HttpClient::default();
        let exchange = self.server.exchange(&mut http, request);
        let response = timeout(ANSWER_TIMEOUT, exchange)
            .await
            .map_err(|_| ClientError::NoAnswer(self.server.address.clone()))??;
        Ok(OpenStream {
            http,
            body: response.into_body(),
            decoder: EventStreamDecoder::default(),
        })
    }
}
