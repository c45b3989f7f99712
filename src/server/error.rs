//! `HttpError`: why a request is refused, for the client that sent it.
//!
//! This module must not know the rules that lead to an error, nor how the response is encoded.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

/// The response to a request that is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HttpError {
    pub(super) status: StatusCode,
    /// The cause, and where there is one the option that would allow the request.
    pub(super) message: String,
    /// Headers that the status requires, such as `Allow` with 405.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// What the operator can set to allow the request, if that is possible.
    pub(super) missing: Option<MissingSetting>,
}

/// An option that is a list, and the item that would have to be in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MissingSetting {
    /// The key in the configuration file.
    pub(super) key: &'static str,
    pub(super) item: String,
}

impl HttpError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            headers: vec![],
            missing: None,
        }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    pub(super) fn with_missing(mut self, key: &'static str, item: &impl ToString) -> Self {
        self.missing = Some(MissingSetting { key, item: item.to_string() });
        self
    }
}
