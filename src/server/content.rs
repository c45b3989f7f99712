//! The response to a request: content with its validator, compressed if that helps, or an error in
//! JSON.
//!
//! This module knows HTTP headers. It must not know what the content means.

use std::sync::{Arc, LazyLock};

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use http_body_util::Full;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::error::HttpError;
use super::gzip::{self, DeflatePart};
use super::headers::{accepts_gzip, matches_etag};
use super::response_cache::CachedBody;

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";

/// The media type of server-sent events.
pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// The value of `Cache-Control` for what may contain secrets.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Content up to this size, in bytes, is not compressed.
const MIN_COMPRESSED: usize = 1024;

/// Content from this size on, in bytes, is compressed on a thread for blocking work. It would keep
/// a worker of the runtime from the sessions for too long.
const MIN_BLOCKING: usize = 32 * 1024;

/// How a body ends.
struct BodyEnd {
    plain: &'static [u8],
    compressed: DeflatePart,
}

/// The end of JSON: a newline, so that a shell's prompt comes on a line of its own.
static NEWLINE: LazyLock<BodyEnd> = LazyLock::new(|| BodyEnd::new(b"\n"));

/// The end of other content.
static NOTHING: LazyLock<BodyEnd> = LazyLock::new(|| BodyEnd::new(b""));

impl BodyEnd {
    fn new(plain: &'static [u8]) -> Self {
        Self { plain, compressed: DeflatePart::last(plain) }
    }

    fn of(media_type: &str) -> &'static Self {
        match media_type {
            JSON => &NEWLINE,
            _ => &NOTHING,
        }
    }
}

/// A body in up to three parts. Large parts are shared with other responses.
pub(super) type ResponseBody = Full<Chain<Chain<Bytes, Bytes>, Bytes>>;

/// A response of the server, of any kind.
pub(super) type HttpResponse = Response<ResponseBody>;

/// The content of a response, before it is encoded for one client. JSON gets a newline at its end.
pub(super) struct ResponseContent {
    pub(super) status: StatusCode,
    pub(super) media_type: &'static str,
    /// The beginning of the body, which belongs to this response alone.
    pub(super) beginning: Bytes,
    /// The rest of the body, which many responses share.
    pub(super) shared: Option<Arc<CachedBody>>,
    /// A validator. It is weak (`W/"…"`), since it is the same for all encodings of the content
    /// (RFC 9110, section 8.8.1).
    pub(super) etag: Option<String>,
    /// A header that is sent even if the client has the body already (304).
    pub(super) extra_header: Option<(HeaderName, HeaderValue)>,
}

impl ResponseContent {
    pub(super) fn new(media_type: &'static str, beginning: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            media_type,
            beginning: beginning.into(),
            shared: None,
            etag: None,
            extra_header: None,
        }
    }

    /// The response to a request with these headers. hyper omits the body in a response to HEAD.
    pub(super) async fn into_response(mut self, request: &HeaderMap) -> HttpResponse {
        let mut response = Response::new(ResponseBody::default());
        let headers = response.headers_mut();

        if let Some((name, value)) = self.extra_header.take() {
            headers.insert(name, value);
        }
        if let Some(etag) = &self.etag {
            // A tag is always ASCII: an epoch and digits, or the hash of a file.
            if let Ok(value) = HeaderValue::from_str(etag) {
                headers.insert(ETAG, value);
            }
            if matches_etag(request, etag) {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return response;
            }
        }

        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        *response.status_mut() = self.status;

        let compressed = if accepts_gzip(request) {
            self.compress().await
        } else {
            None
        };
        if compressed.is_some() {
            response
                .headers_mut()
                .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }

        let [first, second, third] = compressed.unwrap_or_else(|| self.plain());
        *response.body_mut() = Full::new(first.chain(second).chain(third));
        response
    }

    fn plain(&self) -> [Bytes; 3] {
        let shared = self.shared.as_ref().map(|shared| shared.plain().clone());
        let end = BodyEnd::of(self.media_type).plain;
        [self.beginning.clone(), shared.unwrap_or_default(), Bytes::from_static(end)]
    }

    /// The content as one gzip member. `None`: it is too short, or the runtime is shutting down; it
    /// is then sent uncompressed.
    async fn compress(&self) -> Option<[Bytes; 3]> {
        let length: usize = self.plain().iter().map(Bytes::len).sum();
        if length <= MIN_COMPRESSED {
            return None;
        }

        let beginning = self.beginning.clone();
        let first = if beginning.len() < MIN_BLOCKING {
            DeflatePart::first(&beginning)
        } else {
            spawn_blocking(move || DeflatePart::first(&beginning)).await.ok()?
        };

        let shared = match &self.shared {
            Some(shared) => Some(shared.compressed().await?),
            None => None,
        };
        let end = &BodyEnd::of(self.media_type).compressed;
        Some(gzip::member(first, shared, end))
    }
}

/// The response to a refused request, for people and programs.
pub(super) fn error_response(error: HttpError) -> HttpResponse {
    let HttpError { status, message, headers, .. } = error;
    let body = json!({ "error": { "code": status.as_u16(), "message": message } }).to_string();
    let end = Bytes::from_static(NEWLINE.plain);
    let body = Bytes::from(body).chain(Bytes::new()).chain(end);

    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response.headers_mut().extend(headers);
    response
}
