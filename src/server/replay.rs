//! `/v2/replay`: how a recording is played, and where there are events in it. POST changes it, for
//! all viewers.
//!
//! It is only there while a recording is played with `--replay`: of a live cluster nothing can be
//! changed. This module must not know how a recording is played.

use hyper::header::{ALLOW, RETRY_AFTER};
use hyper::{Method, StatusCode};
use serde::Serialize;
use std::time::{Duration, SystemTime};

use super::content::{JSON, ResponseContent};
use super::context::ServerContext;
use super::error::HttpError;
use super::query::{invalid_value, unknown_key};
use crate::playback::{PlaybackCommand, PlaybackControl};

/// The methods of this resource.
const METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// The keys of the query of POST.
const KEYS: &str = "position, paused and speed";

/// The slowest and the fastest speed.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;

#[derive(Serialize)]
struct ReplayDocument {
    /// Milliseconds since the beginning of the recording.
    events: Vec<u64>,
    /// Whether all of it has been searched for events.
    complete: bool,
    /// The wall clock at the beginning of what is played, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
}

/// The content for a request.
///
/// # Errors
///
/// 404 if no recording is played, 405 for other methods, 400 if the query is wrong, 503 if there
/// are too many commands.
pub(super) fn content(
    context: &ServerContext,
    method: &Method,
    query: Option<&str>,
) -> Result<ResponseContent, HttpError> {
    let control = context.playback().ok_or_else(|| {
        HttpError::not_found("no recording is played with --replay, so nothing can be changed")
    })?;

    match *method {
        Method::GET | Method::HEAD => {}
        Method::POST => {
            let commands = parse(query.unwrap_or_default()).map_err(HttpError::bad_request)?;
            send(&control, &commands)?;
        }
        _ => {
            let message = "only GET, HEAD and POST are supported";
            return Err(
                HttpError::new(StatusCode::METHOD_NOT_ALLOWED, message).with_header(ALLOW, METHODS)
            );
        }
    }
    Ok(ResponseContent::new(JSON, document(context, &control)))
}

fn send(control: &PlaybackControl, commands: &[PlaybackCommand]) -> Result<(), HttpError> {
    for command in commands {
        if !control.send(*command) {
            return Err(HttpError::unavailable("too many changes are waiting")
                .with_header(RETRY_AFTER, "1"));
        }
    }
    Ok(())
}

fn document(context: &ServerContext, control: &PlaybackControl) -> Vec<u8> {
    let marks = control.marks().clone();
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let begin = context.feed.borrow().recorded_begin();

    let document = ReplayDocument {
        events: marks.positions.into_iter().map(milliseconds).collect(),
        complete: marks.is_complete,
        time: begin
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok().map(milliseconds)),
    };
    serde_json::to_vec(&document).expect("numbers are JSON")
}

/// The commands in a query. The error is a message for the client.
fn parse(query: &str) -> Result<Vec<PlaybackCommand>, String> {
    let mut commands = Vec::new();

    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let invalid = |expected: &str| invalid_value(&key, &value, &expected);
        commands.push(match &*key {
            "position" => {
                let milliseconds = value.parse();
                let milliseconds =
                    milliseconds.map_err(|_| invalid("expected milliseconds, such as 60000"))?;
                PlaybackCommand::Seek(Duration::from_millis(milliseconds))
            }
            "paused" => match &*value {
                "1" => PlaybackCommand::Pause,
                "0" => PlaybackCommand::Resume,
                _ => return Err(invalid("expected 1 or 0")),
            },
            "speed" => {
                let speed = value.parse().ok().filter(|speed| SPEEDS.contains(speed));
                let speed = speed.ok_or_else(|| invalid("expected a factor, such as 10 or 0.5"))?;
                PlaybackCommand::SetSpeed(speed)
            }
            "token" => continue,
            _ => return Err(unknown_key(&key, KEYS)),
        });
    }

    if commands.is_empty() {
        return Err(format!("the query has to say what to change: {KEYS}"));
    }
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_what_is_to_be_changed() {
        assert_eq!(
            parse("position=60000&paused=0&speed=2.5"),
            Ok(vec![
                PlaybackCommand::Seek(Duration::from_secs(60)),
                PlaybackCommand::Resume,
                PlaybackCommand::SetSpeed(2.5),
            ])
        );
        for (query, named) in [
            ("", "position"),
            ("position=-1", "position=\"-1\""),
            ("paused=yes", "paused=\"yes\""),
            ("speed=0", "speed=\"0\""),
            ("speed=NaN", "speed=\"NaN\""),
            ("stop=1", "\"stop\""),
        ] {
            let error = parse(query).unwrap_err();
            assert!(error.contains(named), "{query}: {error}");
        }
    }
}
