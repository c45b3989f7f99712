//! Requests to a running fleet-monitor: its state once, or the event stream of the second protocol,
//! resumed after each lost connection.
//!
//! It does not know what is shown.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep_until, timeout};

use super::address::ServerAddress;
use super::event_stream::EventStreamDecoder;
use crate::net::backoff::Backoff;
use crate::net::http::{self, BodyError, HttpClient, HttpConnection, RequestError};
use crate::report::{Message, StateDocument, UnitFileReply};

/// How long the server may take to answer a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The server sends something at least every 15 s. After this time without anything, the connection
/// is lost (`docs/protocol.md`).
const SILENCE: Duration = Duration::from_secs(40);
/// How large an answer may be.
const MAX_BODY_BYTES: usize = 256 << 20;
/// The waits between attempts to connect again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// What a client needs to send a request.
#[derive(Clone, Debug)]
pub(crate) struct MonitorClient {
    pub(crate) address: ServerAddress,
    /// The token; `None` if the server needs none.
    pub(crate) token: Option<HeaderValue>,
}

/// Why a request has no valid answer. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nothing listens there, or it cannot be reached.
    #[error(
        "cannot connect to {address}: {error}; is fleet-monitor running there? Set \
         --url, or FLEET_MONITOR_URL"
    )]
    Connect { address: ServerAddress, error: io::Error },
    /// No answer came in time.
    #[error("{0} did not answer within {seconds} s", seconds = ANSWER_TIMEOUT.as_secs())]
    NoAnswer(ServerAddress),
    /// The connection was closed, or nothing came for too long.
    #[error("the connection to {0} was lost: {1}")]
    Lost(ServerAddress, String),
    /// The token is missing or wrong.
    #[error(
        "{0} requires a token, and {1}: name a file that contains it with --token-file, or in \
         FLEET_MONITOR_TOKEN_FILE"
    )]
    Token(ServerAddress, &'static str),
    /// The request was refused; the server says why.
    #[error("{address} refused the request with status {status}: {message}")]
    Refused { address: ServerAddress, status: StatusCode, message: String },
    /// The filter, or another part of the query, is wrong; the server says why.
    #[error("{0}")]
    Query(String),
    /// What answers is not a fleet-monitor, or not of a version that this client can read.
    #[error("{0} does not answer like fleet-monitor: {1}; is --url right?")]
    NotFleetMonitor(ServerAddress, String),
}

impl ClientError {
    /// Whether another attempt could succeed without any change by the user.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            ClientError::Connect { .. } | ClientError::NoAnswer(_) | ClientError::Lost(..) => true,
            ClientError::Refused { status, .. } => is_temporary(*status),
            ClientError::Token(..) | ClientError::Query(_) | ClientError::NotFleetMonitor(..) => {
                false
            }
        }
    }
}

/// Whether a server, or a proxy before it, may answer otherwise in a moment.
fn is_temporary(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

impl MonitorClient {
    /// Reads `/v2/state`. `query` is the part of the URL behind the `?`; it may be empty.
    pub(crate) async fn state(&self, query: &str) -> Result<StateDocument, ClientError> {
        let body = self.get("/v2/state", query).await?;
        serde_json::from_slice(&body).map_err(|error| self.not_fleet_monitor(&error))
    }

    /// Reads `/v2/unit-file`. `unit` is a full name.
    pub(crate) async fn unit_file(&self, unit: &str) -> Result<UnitFileReply, ClientError> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("unit", unit)
            .finish();
        let body = self.get("/v2/unit-file", &query).await?;
        serde_json::from_slice(&body).map_err(|error| self.not_fleet_monitor(&error))
    }

    /// Sends one request, and reads the whole answer.
    pub(crate) async fn get(&self, path: &str, query: &str) -> Result<Vec<u8>, ClientError> {
        let mut http = HttpClient::default();
        let exchange = async {
            let request = self.request(path, query, "application/json")?;
            let response = self.exchange(&mut http, request).await?;
            self.body(&mut http, response).await
        };

        let answer = timeout(ANSWER_TIMEOUT, exchange).await;
        answer.map_err(|_| ClientError::NoAnswer(self.address.clone()))?
    }

    /// Subscribes to `/v2/events`. `query` selects topics and rows.
    pub(crate) fn subscribe(&self, query: &str) -> EventSubscription {
        EventSubscription {
            server: self.clone(),
            query: query.to_owned(),
            stream: None,
            last_event_id: None,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            next_attempt: None,
        }
    }

    fn request(
        &self,
        path: &str,
        query: &str,
        accept: &'static str,
    ) -> Result<Request<Empty<Bytes>>, ClientError> {
        let mut target = self.address.path(path);
        if !query.is_empty() {
            target = format!("{target}?{query}");
        }

        let mut request = http::get(&self.address.authority(), &target)
            .map_err(|error| ClientError::Query(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        Ok(request)
    }

    /// Sends a request, and checks the status of its response.
    async fn exchange(
        &self,
        http: &mut HttpClient,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, ClientError> {
        let response = http.send(request, async || self.connect().await).await.map_err(
            |error| match error {
                RequestError::Connect(error) => error,
                RequestError::Exchange(error) if error.is_parse() => {
                    ClientError::NotFleetMonitor(self.address.clone(), error.to_string())
                }
                RequestError::Exchange(error) => {
                    ClientError::Lost(self.address.clone(), error.to_string())
                }
            },
        )?;

        if response.status() == StatusCode::OK {
            Ok(response)
        } else {
            Err(self.refusal(http, response).await)
        }
    }

    /// The error for an answer that is not what fleet-monitor sends.
    pub(crate) fn not_fleet_monitor(&self, error: &serde_json::Error) -> ClientError {
        ClientError::NotFleetMonitor(self.address.clone(), error.to_string())
    }

    async fn connect(&self) -> Result<HttpConnection, ClientError> {
        let connect_error = |error| ClientError::Connect { address: self.address.clone(), error };

        let connection = match &self.address {
            ServerAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(connect_error)?;
                HttpConnection::over(stream).await
            }
            ServerAddress::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port))
                    .await
                    .map_err(connect_error)?;
                HttpConnection::over(stream).await
            }
        };
        connection.map_err(|error| ClientError::Lost(self.address.clone(), error.to_string()))
    }

    async fn body(
        &self,
        http: &mut HttpClient,
        response: Response<Incoming>,
    ) -> Result<Vec<u8>, ClientError> {
        http.body(response, MAX_BODY_BYTES)
            .await
            .map_err(|error| match error {
                BodyError::TooLarge => ClientError::NotFleetMonitor(
                    self.address.clone(),
                    format!("its answer has more than {MAX_BODY_BYTES} bytes"),
                ),
                BodyError::Exchange(error) => {
                    ClientError::Lost(self.address.clone(), error.to_string())
                }
            })
    }

    /// The error for a response with another status than 200. The body is
    /// `{"error":{"code":…,"message":…}}`, if it is fleet-monitor that answers.
    async fn refusal(&self, http: &mut HttpClient, response: Response<Incoming>) -> ClientError {
        #[derive(Deserialize)]
        struct RefusalBody {
            error: ErrorText,
        }
        #[derive(Deserialize)]
        struct ErrorText {
            message: String,
        }

        let status = response.status();
        let body = match self.body(http, response).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        let Ok(RefusalBody { error: ErrorText { message } }) = serde_json::from_slice(&body) else {
            // A proxy in front of a fleet-monitor that restarts.
            if is_temporary(status) {
                let message = "a proxy cannot reach fleet-monitor".to_owned();
                return ClientError::Refused { address: self.address.clone(), status, message };
            }
            return ClientError::NotFleetMonitor(self.address.clone(), format!("status {status}"));
        };

        match status {
            StatusCode::UNAUTHORIZED => {
                let problem = match self.token {
                    Some(_) => "this one is wrong",
                    None => "none is set",
                };
                ClientError::Token(self.address.clone(), problem)
            }
            StatusCode::BAD_REQUEST => ClientError::Query(message),
            _ => ClientError::Refused { address: self.address.clone(), status, message },
        }
    }
}

/// What a subscription yields.
#[derive(Debug)]
pub(crate) enum SubscriptionEvent {
    /// Messages that arrived together.
    Messages(Vec<Message>),
    /// The connection is lost, or could not be opened. Another attempt follows after the wait.
    Disconnected {
        /// Why.
        error: ClientError,
        /// The time until the next attempt.
        wait: Duration,
    },
}

/// An event stream that reconnects, and resumes where it was.
#[derive(Debug)]
pub(crate) struct EventSubscription {
    server: MonitorClient,
    query: String,
    stream: Option<OpenStream>,
    /// The last `EPOCH-REVISION` after which the server can resume; `None` begins with snapshots.
    last_event_id: Option<String>,
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

impl EventSubscription {
    /// Waits for the next messages, or for the loss of the connection. Reconnects by itself, after
    /// the wait that [`SubscriptionEvent::Disconnected`] announced.
    ///
    /// # Errors
    ///
    /// If another attempt cannot succeed either.
    pub(crate) async fn next(&mut self) -> Result<SubscriptionEvent, ClientError> {
        if let Some(until) = self.next_attempt {
            sleep_until(until).await;
            self.next_attempt = None;
        }

        match self.read().await {
            Ok(messages) => {
                self.backoff.reset();
                Ok(SubscriptionEvent::Messages(messages))
            }
            Err(error) if error.is_transient() => {
                self.stream = None;
                let wait = self.backoff.wait(fastrand::f64());
                self.next_attempt = Some(Instant::now() + wait);
                Ok(SubscriptionEvent::Disconnected { error, wait })
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&mut self) -> Result<Vec<Message>, ClientError> {
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

            let mut messages = Vec::new();
            for event in stream.decoder.decode(&data) {
                let message: Message = serde_json::from_str(&event.data).map_err(|error| {
                    ClientError::NotFleetMonitor(address.clone(), error.to_string())
                })?;
                if event.id.is_some() {
                    self.last_event_id = event.id;
                } else if matches!(message, Message::Resync { .. }) {
                    // If the connection is lost before the snapshots have all arrived, the old
                    // position would be wrong.
                    self.last_event_id = None;
                }
                messages.push(message);
            }
            if !messages.is_empty() {
                return Ok(messages);
            }
        }
    }

    async fn open(&self) -> Result<OpenStream, ClientError> {
        let mut request = self.server.request("/v2/events", &self.query, "text/event-stream")?;
        if let Some(id) = self.last_event_id.as_ref().and_then(|id| id.parse().ok()) {
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
