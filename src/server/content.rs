//! The form in which content travels: validators, compression, errors in JSON.
//!
//! It knows the headers of HTTP and nothing of what the content is about.

use std::io::Write;
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH,
};
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::http::Answer;

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";

/// The media type of server-sent events.
pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// Smaller content is not worth compressing.
const WORTH_COMPRESSING: usize = 1024;

/// Larger content would keep a worker of the runtime from the sessions for too long.
const LARGE: usize = 32 * 1024;

/// What gzip begins with: DEFLATE, no flags, no time, an unknown system (RFC 1952, section 2.3).
const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The body of an answer, in parts of which large ones are shared with other answers.
pub(super) type Body = Full<Chain<Chain<Bytes, Bytes>, Bytes>>;

/// What an answer says.
pub(super) struct Content {
    pub(super) status: StatusCode,
    pub(super) media_type: &'static str,
    /// The beginning, made for this answer alone.
    pub(super) own: Bytes,
    /// The rest, which many answers have in common.
    pub(super) common: Option<Arc<CachedBody>>,
    /// A validator. It is weak (`W/"…"`), since it is the same for all forms of the content (RFC
    /// 9110, section 8.8.1).
    pub(super) etag: Option<String>,
    /// A header that goes with it, whether or not the body has to be sent.
    pub(super) extra: Option<(HeaderName, HeaderValue)>,
}

impl Content {
    pub(super) fn new(media_type: &'static str, own: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            media_type,
            own: own.into(),
            common: None,
            etag: None,
            extra: None,
        }
    }

    /// An error, for people and programs.
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        let body = json!({ "error": { "code": status.as_u16(), "message": message } }).to_string();
        Self { status, ..Self::new(JSON, body) }
    }

    /// The answer to a request with these headers. hyper leaves out the body where HEAD was asked.
    pub(super) async fn answer(mut self, request: &HeaderMap) -> Answer {
        let mut answer = Response::new(Body::default());
        if let Some((name, value)) = self.extra.take() {
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
        answer
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        let compressed = if accepts_gzip(request) { self.gzip().await } else { None };
        if compressed.is_some() {
            answer
                .headers_mut()
                .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let [first, second, third] = compressed.unwrap_or_else(|| self.plain());
        *answer.body_mut() = Full::new(first.chain(second).chain(third));
        answer
    }

    fn plain(&self) -> [Bytes; 3] {
        [
            self.own.clone(),
            self.common
                .as_ref()
                .map(|common| common.plain.clone())
                .unwrap_or_default(),
            Bytes::new(),
        ]
    }

    /// The content as one gzip member, which is all that browsers take, of two parts. None if it is
    /// not worth it, or was lost at shutdown: uncompressed will do.
    async fn gzip(&self) -> Option<[Bytes; 3]> {
        if self.plain().iter().map(Bytes::len).sum::<usize>() <= WORTH_COMPRESSING {
            return None;
        }
        let (own, is_all) = (self.own.clone(), self.common.is_none());
        let Deflated { bytes: first, mut checksum } = if own.len() < LARGE {
            Deflated::new(&GZIP, &own, is_all)
        } else {
            spawn_blocking(move || Deflated::new(&GZIP, &own, is_all))
                .await
                .ok()?
        };
        let mut second = Bytes::new();
        if let Some(common) = &self.common {
            let deflated = common.deflated().await?;
            checksum.combine(&deflated.checksum);
            second = deflated.bytes.clone();
        }
        let end = [checksum.sum().to_le_bytes(), checksum.amount().to_le_bytes()].concat();
        Some([first, second, end.into()])
    }
}

/// Content that many answers have in common.
#[derive(Debug, Default)]
pub(super) struct CachedBody {
    plain: Bytes,
    deflated: OnceCell<Deflated>,
}

impl CachedBody {
    pub(super) fn new(plain: Bytes) -> Self {
        Self { plain, deflated: OnceCell::new() }
    }

    /// Compressed when it is first asked for, once for all. That is done in a task of its own, so
    /// that it is not begun again and again for clients that do not wait for it.
    async fn deflated(self: &Arc<Self>) -> Option<&Deflated> {
        if !self.deflated.initialized() {
            let common = self.clone();
            let task = tokio::spawn(async move {
                let plain = common.plain.clone();
                let compress = || spawn_blocking(move || Deflated::new(&[], &plain, true));
                common.deflated.get_or_try_init(compress).await.map(drop)
            });
            task.await.ok()?.ok()?;
        }
        self.deflated.get()
    }
}

/// The newest content of a kind, so that all answers that have it share what was made of it.
#[derive(Debug, Default)]
pub(super) struct ResponseCache(Mutex<Arc<CachedBody>>);

impl ResponseCache {
    /// What there is of these bytes, by their place in memory.
    pub(super) fn of(&self, plain: Bytes) -> Arc<CachedBody> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.plain.as_ptr_range() != plain.as_ptr_range() {
            *newest = Arc::new(CachedBody::new(plain));
        }
        newest.clone()
    }
}

/// A part of a DEFLATE stream (RFC 1951). It refers to nothing before it, and ends with a byte: so
/// a part that was made for one answer can be followed by one that was made for all.
#[derive(Debug)]
struct Deflated {
    bytes: Bytes,
    /// Of what was compressed.
    checksum: Crc,
}

impl Deflated {
    /// `plain`, compressed, after `prefix` as it is.
    fn new(prefix: &[u8], plain: &[u8], is_last: bool) -> Self {
        let mut checksum = Crc::new();
        checksum.update(plain);
        let mut encoder = DeflateEncoder::new(prefix.to_vec(), Compression::fast());
        let deflated = encoder.write_all(plain).and_then(|()| match is_last {
            true => encoder.finish(),
            false => encoder.flush().map(|()| take(encoder.get_mut())),
        });
        // Writing to memory does not fail.
        Self {
            bytes: deflated.expect("compressed to memory").into(),
            checksum,
        }
    }
}

/// The elements of a list in a header that may be there several times (RFC 9110, section 5.6.1).
fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

/// Whether the client has the content with this tag already (RFC 9110, section 13.1.2). Our tags
/// have no comma.
fn is_known(etag: &str, headers: &HeaderMap) -> bool {
    let opaque = |tag: &'_ str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    elements(headers, IF_NONE_MATCH).any(|known| known == "*" || opaque(known) == opaque(etag))
}

/// Whether the client takes gzip (RFC 9110, section 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let weight = |wanted: &[&str]| {
        elements(headers, ACCEPT_ENCODING).find_map(|element| {
            let (coding, parameters) = element.split_once(';').unwrap_or((element, ""));
            let weight = parameters
                .trim()
                .strip_prefix("q=")
                .map_or(Some(1.0), |weight| weight.trim().parse().ok());
            wanted
                .iter()
                .any(|wanted| coding.trim().eq_ignore_ascii_case(wanted))
                .then_some(weight.unwrap_or(0.0))
        })
    };
    weight(&["gzip", "x-gzip"])
        .or_else(|| weight(&["*"]))
        .is_some_and(|weight: f32| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (name.clone(), HeaderValue::from_static(value)))
            .collect()
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
            assert_eq!(
                accepts_gzip(&headers(&ACCEPT_ENCODING, accepted)),
                expected,
                "{accepted:?}"
            );
        }
    }

    #[test]
    fn the_same_bytes_are_the_same_content() {
        let newest = ResponseCache::default();
        let bytes = Bytes::from(vec![0; 10]);
        let first = newest.of(bytes.clone());
        assert!(Arc::ptr_eq(&first, &newest.of(bytes.clone())));
        assert!(!Arc::ptr_eq(&first, &newest.of(Bytes::from(vec![0; 10]))));
    }

    #[tokio::test]
    async fn what_one_client_asked_for_is_compressed_for_all_even_if_it_has_gone() {
        let common = Arc::new(CachedBody::new(Bytes::from(vec![b'x'; 1_000_000])));
        tokio::select! {
            biased;
            _ = common.deflated() => panic!("at once"),
            () = std::future::ready(()) => {}
        }
        while !common.deflated.initialized() {
            tokio::task::yield_now().await;
        }
        let deflated = common.deflated().await.expect("compressed");
        assert_eq!(
            deflated.bytes.as_ptr(),
            common.deflated().await.expect("compressed").bytes.as_ptr()
        );
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
            assert_eq!(
                is_known(r#"W/"e-7""#, &headers(&IF_NONE_MATCH, known)),
                expected,
                "{known:?}"
            );
        }
    }
}
