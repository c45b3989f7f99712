//! `/v2/recording`: the last minutes of what is recorded, as a file to attach to a report.
//!
//! As with an event stream, the connection is taken from hyper: a download may take longer than
//! hyper's connections live, and must not be read ahead of its client. This module must not know
//! what a recording contains, nor where it is.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use hyper::{Response, StatusCode, Version};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use super::archive::{RecordingArchive, RecordingDownload};
use super::content::{HttpResponse, NO_STORE, ResponseBody};
use super::context::{MAX_DOWNLOADS, ServerContext};
use super::error::HttpError;
use super::events::{self, encode_head};
use super::query::{invalid_value, unknown_key};
use super::rate_limit::RateLimitedStream;
use super::stream::ClientStream;
use crate::quantity;
use crate::utc;

/// The media type of a file that is compressed with zstd (RFC 8878, section 7.1).
const ZSTD: HeaderValue = HeaderValue::from_static("application/zstd");

/// The keys of the query.
const KEYS: &str = "last and anonymize";

/// How much is handed out, unless the request says it.
const DEFAULT_LAST: Duration = Duration::from_secs(15 * 60);

/// An accepted request for a recording.
pub(super) struct RecordingUpgrade {
    download: Box<dyn RecordingDownload>,
    /// Whether the end of the body is marked (RFC 9112, section 7.1), so that a client knows when
    /// it does not have all of it. A client of HTTP/1.0 does not understand that.
    is_chunked: bool,
    context: Arc<ServerContext>,
    place: OwnedSemaphorePermit,
}

impl fmt::Debug for RecordingUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingUpgrade").finish_non_exhaustive()
    }
}

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
struct RecordingQuery {
    last: Duration,
    is_anonymous: bool,
}

impl RecordingQuery {
    /// The error is a message for the client.
    fn parse(query: &str) -> Result<Self, String> {
        let mut parsed = Self { last: DEFAULT_LAST, is_anonymous: false };

        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "last" => {
                    let expected = "expected a time such as 90s, 15m, 24h or 7d";
                    parsed.last = quantity::duration(&value)
                        .ok_or_else(|| invalid_value(&key, &value, &expected))?;
                }
                "anonymize" => {
                    parsed.is_anonymous = match &*value {
                        "1" => true,
                        "0" => false,
                        _ => return Err(invalid_value(&key, &value, &"expected 1 or 0")),
                    };
                }
                "token" => {}
                _ => return Err(unknown_key(&key, KEYS)),
            }
        }
        Ok(parsed)
    }
}

/// Accepts a request.
///
/// # Errors
///
/// 400 if the query is wrong, 404 if nothing is recorded, 503 if there are too many downloads or
/// the recording cannot be read.
pub(super) async fn accept(
    context: &Arc<ServerContext>,
    query: Option<&str>,
    version: Version,
) -> Result<(HttpResponse, RecordingUpgrade), HttpError> {
    let (archive, query) = check(context, query)?;
    let place = context.downloads.clone().try_acquire_owned().map_err(|_| {
        let message = format!("{MAX_DOWNLOADS} recordings are being downloaded already");
        HttpError::unavailable(message).with_header(RETRY_AFTER, "10")
    })?;

    let now = SystemTime::now();
    let since = now.checked_sub(query.last).unwrap_or(UNIX_EPOCH);
    let opened = spawn_blocking(move || archive.since(since, query.is_anonymous)).await;
    let unreadable = |error: &dyn fmt::Display| {
        HttpError::unavailable(format!("the recording cannot be read: {error}"))
    };
    let download = opened
        .map_err(|error| unreadable(&error))?
        .map_err(|error| unreadable(&error))?
        .ok_or_else(|| HttpError::not_found("nothing has been recorded yet"))?;

    let is_chunked = version >= Version::HTTP_11;
    let mut response = response_head(now);
    if is_chunked {
        let chunked = HeaderValue::from_static("chunked");
        response.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
    let upgrade = RecordingUpgrade { download, is_chunked, context: context.clone(), place };
    Ok((response, upgrade))
}

/// What HEAD is answered with. Nothing is read for it.
///
/// # Errors
///
/// As [`accept`], as far as they are known without reading the recording.
pub(super) fn head(
    context: &Arc<ServerContext>,
    query: Option<&str>,
) -> Result<HttpResponse, HttpError> {
    check(context, query)?;
    Ok(response_head(SystemTime::now()))
}

fn check(
    context: &ServerContext,
    query: Option<&str>,
) -> Result<(Arc<dyn RecordingArchive>, RecordingQuery), HttpError> {
    let archive = context.recording().ok_or_else(|| {
        HttpError::new(
            StatusCode::NOT_FOUND,
            "nothing is recorded: this monitor runs without --record; \
             --record FILE --record-keep 24h,1GiB records all the time",
        )
    })?;
    let query = RecordingQuery::parse(query.unwrap_or_default()).map_err(HttpError::bad_request)?;

    Ok((archive, query))
}

fn response_head(now: SystemTime) -> HttpResponse {
    let mut response = Response::new(ResponseBody::default());
    let headers = response.headers_mut();
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.as_secs();
    let stamp = format!("{}T{}Z", utc::day(seconds), utc::time_of_day(seconds));
    let stamp = stamp.replace(['-', ':'], "");

    headers.insert(CONTENT_TYPE, ZSTD);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    // The name is ASCII: digits and letters.
    if let Ok(value) =
        HeaderValue::from_str(&format!("attachment; filename=\"fleet-monitor-{stamp}.zst\""))
    {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
}

/// Serves one download until it is complete, or until one side closes the connection.
pub(super) async fn serve(stream: ClientStream, response: HttpResponse, upgrade: RecordingUpgrade) {
    let RecordingUpgrade { mut download, is_chunked, context, place } = upgrade;
    let mut stream = RateLimitedStream::new(stream, context.timing.rate_window);
    let mut bytes = encode_head(&response);
    drop(response);

    loop {
        let next = spawn_blocking(move || {
            let part = download.next_part();
            (download, part)
        });
        let part = match next.await {
            Ok((rest, Ok(part))) => {
                download = rest;
                part
            }
            // The client sees that the end is missing.
            _ => break,
        };

        let is_last = part.is_none();
        append_part(&mut bytes, part.as_deref(), is_chunked);
        if events::write(&context, &mut stream, &bytes).await.is_err() {
            break;
        }
        if is_last {
            events::close(&context, &mut stream).await;
            break;
        }
        bytes.clear();
    }
    drop(place);
}

/// Appends a part of the body, or its end.
fn append_part(bytes: &mut Vec<u8>, part: Option<&[u8]>, is_chunked: bool) {
    match part {
        // An empty chunk would be the end.
        Some([]) => {}
        Some(part) if is_chunked => {
            bytes.extend(format!("{:x}\r\n", part.len()).into_bytes());
            bytes.extend(part);
            bytes.extend(b"\r\n");
        }
        Some(part) => bytes.extend(part),
        None if is_chunked => bytes.extend(b"0\r\n\r\n"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_a_time_and_whether_it_is_anonymous() {
        let parsed = |query| RecordingQuery::parse(query).unwrap();
        let query = |seconds, is_anonymous| RecordingQuery {
            last: Duration::from_secs(seconds),
            is_anonymous,
        };
        assert_eq!(parsed(""), query(900, false));
        assert_eq!(parsed("last=90s&anonymize=1&token=t"), query(90, true));
        assert_eq!(parsed("last=24h&anonymize=0"), query(86_400, false));

        for (query, named) in [
            ("last=15", "last=\"15\""),
            ("last=m", "last=\"m\""),
            ("last=-1m", "last=\"-1m\""),
            ("last=99999999999999999d", "last="),
            ("anonymize=yes", "anonymize=\"yes\""),
            ("since=1", "\"since\""),
        ] {
            let error = RecordingQuery::parse(query).unwrap_err();
            assert!(error.contains(named), "{query}: {error}");
        }
    }

    #[test]
    fn a_body_in_chunks_has_its_end() {
        let mut bytes = Vec::new();
        for part in [Some(&b"0123456789abcdefg"[..]), Some(b""), None] {
            append_part(&mut bytes, part, true);
        }
        assert_eq!(bytes, b"11\r\n0123456789abcdefg\r\n0\r\n\r\n");
    }
}
