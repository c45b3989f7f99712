//! Requests to a running fleet-monitor: what it answers once, or a stream of events that is opened
//! again after each lost connection.
//!
//! It does not know what is shown.

mod reconnecting;

use std::io;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::address::ServerAddress;
use crate::actions::Actions;
use crate::net::http::{self, BodyError, HttpClient, HttpConnection, HttpRequest, RequestError};
use crate::net::tls::{CertificateRefusal, HandshakeError, TlsClient};
use crate::report::{HistoryDocument, StateDocument, UnitFileReply};

pub(crate) use reconnecting::{ReconnectingStream, StreamRequest, SubscriptionEvent};

/// How long the server may take to answer a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How large an answer may be.
const MAX_BODY_BYTES: usize = 256 << 20;

/// What a client needs to send a request.
#[derive(Clone, Debug)]
pub(crate) struct MonitorClient {
    pub(crate) address: ServerAddress,
    /// The token; `None` if the server needs none.
    pub(crate) token: Option<HeaderValue>,
    /// TLS for the connection; `None` if it is not encrypted.
    pub(crate) tls: Option<TlsClient>,
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
    /// The connection cannot be encrypted.
    #[error("no TLS with {0}: {reason}", reason = tls_advice(.1))]
    Tls(ServerAddress, Box<HandshakeError>),
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
            // A server or a proxy that restarts may close a connection at any time.
            ClientError::Tls(_, reason) => matches!(**reason, HandshakeError::Io(_)),
            ClientError::Refused { status, .. } => is_temporary(*status),
            ClientError::Token(..) | ClientError::Query(_) | ClientError::NotFleetMonitor(..) => {
                false
            }
        }
    }

    /// What the server says it does not have, if that is the error.
    pub(crate) fn not_found(&self) -> Option<&str> {
        match self {
            ClientError::Refused { status: StatusCode::NOT_FOUND, message, .. } => Some(message),
            _ => None,
        }
    }
}

/// Why there is no TLS, in the words of the options of a command.
fn tls_advice(reason: &HandshakeError) -> String {
    match reason {
        HandshakeError::Certificate(
            CertificateRefusal::UnknownIssuer(origin) | CertificateRefusal::OtherIssuerKey(origin),
        ) => format!(
            "its certificate is of no CA in {origin}: name the file with the certificate of its CA \
             with --ca"
        ),
        HandshakeError::NoClientCertificate => {
            "it requires a certificate: name one with --cert and --key".to_owned()
        }
        reason => reason.to_string(),
    }
}

fn unit_query(unit: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("unit", unit)
        .finish()
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
        self.get_json("/v2/state", query).await
    }

    /// Reads `/v2/actions`. An older server has none.
    pub(crate) async fn actions(&self) -> Result<Actions, ClientError> {
        match self.get_json("/v2/actions", "").await {
            Err(error) if error.not_found().is_some() => Ok(Actions::default()),
            answer => answer,
        }
    }

    /// Reads `/v2/history` of a unit on all machines.
    pub(crate) async fn history(&self, unit: &str) -> Result<HistoryDocument, ClientError> {
        self.get_json("/v2/history", &unit_query(unit)).await
    }

    /// Reads `/v2/unit-file`. `unit` is a full name.
    pub(crate) async fn unit_file(&self, unit: &str) -> Result<UnitFileReply, ClientError> {
        self.get_json("/v2/unit-file", &unit_query(unit)).await
    }

    async fn get_json<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &str,
    ) -> Result<T, ClientError> {
        let body = self.get(path, query).await?;
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

    fn request(
        &self,
        path: &str,
        query: &str,
        accept: &'static str,
    ) -> Result<HttpRequest, ClientError> {
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
        request: HttpRequest,
    ) -> Result<Response<Incoming>, ClientError> {
        let response = http.send(request, async || self.connect().await).await.map_err(
            |error| match error {
                RequestError::Connect(error) => error,
                RequestError::Exchange(error) if error.is_parse() => {
                    ClientError::NotFleetMonitor(self.address.clone(), error.to_string())
                }
                RequestError::Exchange(error) => {
                    // A client certificate is verified after the handshake of TLS 1.3.
                    let tls = self.tls.as_ref().and_then(|tls| tls.explain(&error));
                    match tls {
                        Some(reason) => ClientError::Tls(self.address.clone(), Box::new(reason)),
                        None => ClientError::Lost(self.address.clone(), error.to_string()),
                    }
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
                match &self.tls {
                    Some(tls) => {
                        let stream = tls.connect(host, stream).await.map_err(|error| {
                            ClientError::Tls(self.address.clone(), Box::new(error))
                        })?;
                        HttpConnection::over(stream).await
                    }
                    None => HttpConnection::over(stream).await,
                }
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
