//! The form in which content travels: validators, compression, errors in JSON.
//!
//! It knows the headers of HTTP and nothing of what the content is about.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::http::Answer;

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";

/// Smaller content is not worth compressing.
const WORTH_COMPRESSING: usize = 1024;

/// Larger content would keep a worker of the runtime from the sessions for too long.
const LARGE: usize = 32 * 1024;

/// What an answer says.
pub(super) struct Content {
    pub(super) status: StatusCode,
    pub(super) media_type: &'static str,
    pub(super) body: Bytes,
    /// The body, compressed, where that has been done already.
    pub(super) compressed: Option<Bytes>,
    /// A validator. It is weak (`W/"…"`), since it is the same for all forms of the content (RFC 9110, section 8.8.1).
    pub(super) etag: Option<String>,
    /// A header that goes with it, whether or not the body has to be sent.
    pub(super) extra: Option<(HeaderName, HeaderValue)>,
}

impl Content {
    pub(super) fn new(media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, media_type, body: body.into(), compressed: None, etag: None, extra: None }
    }

    /// An error, for people and programs.
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        let body = json!({ "error": { "code": status.as_u16(), "message": message } }).to_string();
        Self { status, ..Self::new(JSON, body) }
    }

    /// The answer to a request with these headers. hyper leaves out the body where HEAD was asked.
    pub(super) async fn answer(self, request: &HeaderMap) -> Answer {
        let mut answer = Response::new(Full::default());
        if let Some((name, value)) = self.extra {
            answer.headers_mut().insert(name, value);
        }
        if let Some(etag) = &self.etag {
            // A tag is made of an epoch, which is ASCII, and digits.
            if let Ok(value) = HeaderValue::from_str(etag) {
                answer.headers_mut().insert(ETAG, value);
            }
            if is_known(etag, request) {
                *answer.status_mut() = StatusCode::NOT_MODIFIED;
                return answer;
            }
        }
        *answer.status_mut() = self.status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        let compressed = match self.compressed {
            _ if self.body.len() <= WORTH_COMPRESSING || !accepts_gzip(request) => None,
            Some(compressed) => Some(compressed),
            None if self.body.len() < LARGE => Some(gzip(&self.body, Compression::fast())),
            None => {
                let body = self.body.clone();
                // Uncompressed will do should the task be lost at shutdown.
                tokio::task::spawn_blocking(move || gzip(&body, Compression::fast())).await.ok()
            }
        };
        let body = match compressed {
            Some(compressed) => {
                answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                compressed
            }
            None => self.body,
        };
        *answer.body_mut() = Full::new(body);
        answer
    }
}

/// The body, compressed.
pub(super) fn gzip(body: &[u8], level: Compression) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    // Writing to memory does not fail.
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("gzip to memory").into()
}

/// The elements of a list in a header that may be there several times (RFC 9110, section 5.6.1).
fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|element| !element.is_empty())
}

/// Whether the client has the content with this tag already (RFC 9110, section 13.1.2). Our tags have no comma.
fn is_known(etag: &str, headers: &HeaderMap) -> bool {
    let opaque = |tag: &'_ str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    elements(headers, IF_NONE_MATCH).any(|known| known == "*" || opaque(known) == opaque(etag))
}

/// Whether the client takes gzip (RFC 9110, section 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let weight = |wanted: &[&str]| {
        elements(headers, ACCEPT_ENCODING).find_map(|element| {
            let (coding, parameters) = element.split_once(';').unwrap_or((element, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.trim().parse().ok());
            wanted.iter().any(|wanted| coding.trim().eq_ignore_ascii_case(wanted)).then_some(weight.unwrap_or(0.0))
        })
    };
    weight(&["gzip", "x-gzip"]).or_else(|| weight(&["*"])).is_some_and(|weight: f32| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn gzip_is_used_where_it_is_accepted() {
        for (accepted, expected) in [
            (&["gzip"][..], true),
            (&["deflate, GZIP;q=0.5, br"], true),
            (&["deflate", "gzip"], true),
            (&["*"], true),
            (&["x-gzip"], true),
            (&["gzip;q=0"], false),
            (&["gzip; q=0.000, *"], false),
            (&["*;q=0"], false),
            (&["br"], false),
            (&[""], false),
            (&[], false),
            (&["gzip;q=nonsense"], false),
        ] {
            assert_eq!(accepts_gzip(&headers(&ACCEPT_ENCODING, accepted)), expected, "{accepted:?}");
        }
    }

    #[test]
    fn a_known_tag_is_found_in_any_form() {
        for (known, expected) in [
            (&[r#"W/"e-7""#][..], true),
            (&[r#""e-7""#], true),
            (&[r#""a", W/"e-7" , "b""#], true),
            (&[r#""a""#, r#""e-7""#], true),
            (&["*"], true),
            (&[r#""e-8""#], false),
            (&["e-7"], false),
            (&[], false),
        ] {
            assert_eq!(is_known(r#"W/"e-7""#, &headers(&IF_NONE_MATCH, known)), expected, "{known:?}");
        }
    }
}
