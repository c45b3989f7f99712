//! Posts bodies to one URL: connects, with TLS if the URL says so, and explains why a post failed.
//! It knows neither what is posted, nor when to try again.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use super::target::PostTarget;
use super::{HttpClient, HttpConnection, HttpRequest, RequestError};
use crate::net::causes;
use crate::net::tls::{HandshakeError, TlsClient};

/// The part of the time limit after which a connection to one address of a host is given up, so
/// that there is time for the next address.
const CONNECT_PART: u32 = 4;
/// How many bytes of the body of a response are read.
const MAX_BODY_BYTES: usize = 4 << 10;
/// How long to wait for the body of a response, after its head.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// How many characters of the body of a response are shown.
const MAX_SHOWN_CHARS: usize = 200;

/// Posts to one URL. It keeps its connection open for the next post. Redirects are not followed.
#[derive(Debug)]
pub(crate) struct PostClient {
    target: PostTarget,
    tls: Option<TlsClient>,
    limit: Duration,
    http: HttpClient,
}

/// Why a body could not be posted, and where to. It does not show a secret of the URL.
#[derive(Debug, thiserror::Error)]
#[error("{target}: {reason}")]
pub(crate) struct PostError {
    pub(crate) target: PostTarget,
    #[source]
    pub(crate) reason: Box<PostFailure>,
}

/// Why a body could not be posted. In the messages, "it" is the server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostFailure {
    /// Nothing listens there.
    #[error("connection refused: is the server running, and is the port right?")]
    Refused,
    /// There is no address for the name of the host.
    #[error("the name of the host cannot be resolved ({0}): is it right?")]
    Unresolved(#[source] io::Error),
    /// A connection is not possible for another reason.
    #[error("cannot connect: {0}")]
    Unreachable(#[source] io::Error),
    /// The connection cannot be encrypted.
    #[error("no TLS with it: {0}")]
    Tls(#[source] HandshakeError),
    /// The connection was closed before the head of a response.
    #[error("it closed the connection without an answer: {cause}", cause = causes(.0))]
    Closed(#[source] hyper::Error),
    /// What listens there does not speak HTTP, or not with or without TLS.
    #[error(
        "what answers is not HTTP ({cause}): is the port right, and http:// or https://?",
        cause = causes(.0)
    )]
    NotHttp(#[source] hyper::Error),
    /// There was no response within the time limit.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The response is not 2xx.
    #[error("answered {status}{}{}", after_colon(message), advice(*status, redirect.as_ref()))]
    Status {
        status: StatusCode,
        /// The beginning of the body; empty if it is no text for people, or shows a secret of the
        /// URL.
        message: String,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
        /// Where a redirect leads, if that is another server.
        redirect: Option<PostTarget>,
    },
}

impl PostFailure {
    /// How long the server wants to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl PostClient {
    /// A client of one URL. `tls` is needed for `https://`. Each post has `limit` to complete.
    pub(crate) fn new(target: PostTarget, tls: Option<TlsClient>, limit: Duration) -> Self {
        Self { target, tls, limit, http: HttpClient::default() }
    }

    /// Posts a body with these headers. Any status 2xx is a success.
    ///
    /// The body may arrive twice: see [`HttpClient::send`].
    pub(crate) async fn post(
        &mut self,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<(), PostError> {
        let limit = self.limit;
        let result = match timeout_at(Instant::now() + limit, self.exchange(headers, body)).await {
            Ok(result) => result,
            Err(_) => Err(PostFailure::Timeout(limit)),
        };

        result.map_err(|reason| {
            self.http.close();
            PostError { target: self.target.clone(), reason: Box::new(reason) }
        })
    }

    async fn exchange(
        &mut self,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<(), PostFailure> {
        let request = self.request(headers, body);
        let Self { target, tls, limit, http } = self;
        let response = send(http, request, target, tls.as_ref(), *limit / CONNECT_PART).await?;

        let status = response.status();
        let retry_after = header(&response, &RETRY_AFTER).and_then(parse_seconds);
        let redirect = header(&response, &LOCATION).and_then(|location| location.parse().ok());
        let text = self.read_body(response).await;
        if status.is_success() {
            return Ok(());
        }
        let message = shown_text(&text, &self.target);
        Err(PostFailure::Status { status, message, retry_after, redirect })
    }

    fn request(&self, headers: &[(&'static str, String)], body: Bytes) -> HttpRequest {
        let target = &self.target;
        let mut request = super::post(&target.authority(), target.path(), body)
            .expect("the target was validated when it was parsed");

        for (name, value) in headers {
            let value = HeaderValue::try_from(value).expect("a header of this program is valid");
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        if let Some(authorization) = target.authorization() {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        request
    }

    /// Reads the beginning of a body. If there is more of it, or if it is slow, the connection is
    /// closed.
    async fn read_body(&mut self, response: Response<Incoming>) -> Vec<u8> {
        let mut incoming = response.into_body();
        let mut text = Vec::new();

        let http = &mut self.http;
        let read = async {
            while text.len() <= MAX_BODY_BYTES {
                match http.data(&mut incoming).await {
                    Some(Ok(data)) => text.extend_from_slice(&data),
                    Some(Err(_)) => return false,
                    None => return true,
                }
            }
            false
        };
        let is_complete = timeout(BODY_TIMEOUT, read).await.unwrap_or(false);

        if !is_complete {
            self.http.close();
        }
        text.truncate(MAX_BODY_BYTES);
        text
    }
}

/// Sends a request to a target, and waits for the head of the response. `tls` is needed for
/// `https://`; `connect_limit` is that of [`connect`].
pub(super) async fn send(
    http: &mut HttpClient,
    request: HttpRequest,
    target: &PostTarget,
    tls: Option<&TlsClient>,
    connect_limit: Duration,
) -> Result<Response<Incoming>, PostFailure> {
    let tls = tls.filter(|_| target.is_tls());

    http.send(request, async || connect(target, tls, connect_limit).await)
        .await
        .map_err(|error| match error {
            RequestError::Connect(failure) => failure,
            RequestError::Exchange(error) => exchange_failure(error, tls),
        })
}

/// Opens a connection to the first address of the host that accepts one. `limit` is for each
/// address, so that one that does not answer leaves time for the next.
async fn connect(
    target: &PostTarget,
    tls: Option<&TlsClient>,
    limit: Duration,
) -> Result<HttpConnection, PostFailure> {
    let addresses = lookup_host((target.host(), target.port()))
        .await
        .map_err(PostFailure::Unresolved)?;

    let mut connected = Err(PostFailure::Unresolved(io::ErrorKind::NotFound.into()));
    for address in addresses {
        connected = match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(PostFailure::Refused)
            }
            Ok(Err(error)) => Err(PostFailure::Unreachable(error)),
            Err(_) => Err(PostFailure::Unreachable(io::ErrorKind::TimedOut.into())),
        };
        if connected.is_ok() {
            break;
        }
    }
    let stream = connected?;

    let connection = match tls {
        None => HttpConnection::over(stream).await,
        Some(tls) => {
            let encrypted = tls.connect(target.host(), stream).await.map_err(PostFailure::Tls)?;
            HttpConnection::over(encrypted).await
        }
    };
    connection.map_err(|error| exchange_failure(error, tls))
}

/// Why there is no response over a connection.
fn exchange_failure(error: hyper::Error, tls: Option<&TlsClient>) -> PostFailure {
    match tls.and_then(|tls| tls.explain(&error)) {
        Some(problem) => PostFailure::Tls(problem),
        None if error.is_parse() => PostFailure::NotHttp(error),
        None => PostFailure::Closed(error),
    }
}

fn header<'a>(response: &'a Response<Incoming>, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The seconds of a `Retry-After` (RFC 9110, section 10.2.3). Its other format, a date, depends on
/// the clock of the server, and is ignored.
fn parse_seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The beginning of a body as one line for people. Empty if the body is HTML, or if it quotes the
/// path, which may be secret, as Spring's default error does.
pub(super) fn shown_text(body: &[u8], target: &PostTarget) -> String {
    let text = String::from_utf8_lossy(body);
    if text.trim_start().starts_with('<') || target.is_quoted_in(&text) {
        return String::new();
    }

    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars()
        .filter(|char| !char.is_control())
        .take(MAX_SHOWN_CHARS)
        .collect()
}

/// A message as the end of a sentence; nothing if it is empty.
pub(super) fn after_colon(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(": {message}"),
    }
}

/// What to do about a status, as the end of a sentence.
fn advice(status: StatusCode, redirect: Option<&PostTarget>) -> String {
    match (status.as_u16(), redirect) {
        (300..=399, Some(target)) => {
            format!("; redirects are not followed, and this one leads to {target}")
        }
        (300..=399, None) => "; redirects are not followed: is the path of the URL right?".into(),
        (401 | 403, _) => "; are the user and the password in the URL right?".into(),
        (404 | 405, _) => "; is the path of the URL right?".into(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
