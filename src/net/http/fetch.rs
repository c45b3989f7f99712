//! Reads one document from a URL, with bounds on its size and on the time. It does not know what is
//! in the document.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderValue};
use tokio::time::timeout;

use super::post::{PostFailure, after_colon, send, shown_text};
use super::target::PostTarget;
use super::{BodyError, HttpClient, get};
use crate::net::causes;
use crate::net::tls::TlsClient;

/// The time after which a connection to one address of a host is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many bytes of the body of a refusal are read.
const MAX_REFUSAL_BYTES: usize = 4 << 10;

/// The bounds on one document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchLimits {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

/// Why a document could not be read. In the messages, "it" is the server. They do not show a secret
/// of the URL.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchFailure {
    /// There is no connection, or no response over it.
    #[error(transparent)]
    Exchange(#[from] PostFailure),
    /// The document was not complete in time.
    #[error("it has not sent everything within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The connection was closed in the middle of the document.
    #[error("it closed the connection in the middle of its answer: {cause}", cause = causes(.0))]
    CutOff(#[source] hyper::Error),
    /// There are more bytes than the limit allows.
    #[error("its answer has more than {} MiB", .0 >> 20)]
    TooLarge(usize),
    /// The response is not 200.
    #[error("answered {status}{}", after_colon(message))]
    Status {
        status: StatusCode,
        /// The beginning of the body; empty if it is no text for people.
        message: String,
    },
}

/// Reads the document at a URL. `tls` is needed for `https://`. `authorization` is sent unless the
/// URL has a user and a password. Redirects are not followed, so that neither is sent elsewhere.
pub(crate) async fn fetch(
    target: &PostTarget,
    tls: Option<&TlsClient>,
    authorization: Option<&HeaderValue>,
    limits: FetchLimits,
) -> Result<Vec<u8>, FetchFailure> {
    match timeout(limits.time, exchange(target, tls, authorization, limits.bytes)).await {
        Ok(result) => result,
        Err(_) => Err(FetchFailure::Timeout(limits.time)),
    }
}

async fn exchange(
    target: &PostTarget,
    tls: Option<&TlsClient>,
    authorization: Option<&HeaderValue>,
    max_bytes: usize,
) -> Result<Vec<u8>, FetchFailure> {
    let mut request = get(&target.authority(), target.path())
        .expect("the target was validated when it was parsed");
    if let Some(authorization) = target.authorization().or(authorization) {
        request.headers_mut().insert(AUTHORIZATION, authorization.clone());
    }

    let mut http = HttpClient::default();
    let response = send(&mut http, request, target, tls, CONNECT_TIMEOUT).await?;

    let status = response.status();
    if status != StatusCode::OK {
        let text = http.body(response, MAX_REFUSAL_BYTES).await.unwrap_or_default();
        let message = shown_text(&text, target);
        return Err(FetchFailure::Status { status, message });
    }
    http.body(response, max_bytes).await.map_err(|error| match error {
        BodyError::TooLarge => FetchFailure::TooLarge(max_bytes),
        BodyError::Exchange(error) => FetchFailure::CutOff(error),
    })
}
