//! The routes, and how the content of each is made from the newest publication.
//!
//! This module must not know who sent the request, nor how the content is encoded.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, REFRESH};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::content::{EVENT_STREAM, JSON, NO_STORE, ResponseContent};
use super::context::ServerContext;
use super::error::HttpError;
use super::headers::prefers;
use super::logs;
use super::overview::{self, PLAIN_TEXT};
use super::page::{self, HTML, PageFile};
use super::query::{history_query, list_filter, state_selection};
use super::readiness;
use super::response_cache::{CachedBody, ResponseCache};
use super::settings::ServerSettings;
use super::unit_file;
use crate::feed::channel::OverBudget;
use crate::feed::event_history::HistoryQuery;
use crate::feed::filter::Filter;
use crate::feed::subscription::Subscription;
use crate::feed::{Publication, PublishedList};
use crate::metrics::{MetricsFormat, Scrape};

/// A header with the state of the source. It is sent with `/v2/state` even if the rows have not
/// changed (304), because the age of the data has changed.
const STATUS: HeaderName = HeaderName::from_static("fleet-monitor-status");

/// Seconds until a browser loads `/plain` again.
const PLAIN_REFRESH: HeaderValue = HeaderValue::from_static("10");

/// What can be requested.
pub(super) enum Route {
    /// A file of the page.
    Page(&'static PageFile),
    /// The unit list of the first protocol.
    Units,
    /// The machine list of the first protocol.
    Machines,
    /// Units, machines, recent events and the state of the source, as one JSON object.
    State,
    /// What an operator can do next: commands and links.
    Actions,
    /// The latest events of one unit or machine, or all that another monitor may merge.
    History,
    /// The state as a page that needs no script.
    Plain,
    /// The same as plain text, as `fleet-monitor status` prints it.
    Overview,
    /// The second protocol as an event stream.
    Events,
    /// The log of a unit as an event stream.
    Logs,
    /// The file of one unit.
    UnitFile,
    /// The last minutes of what is recorded.
    Recording,
    /// How a recording is played.
    Replay,
    Metrics,
    /// Whether the process is running.
    Liveness,
    /// Whether the data are current.
    Readiness,
}

impl Route {
    /// The route for a request. Programs that prefer plain text get the overview in place of the
    /// page.
    pub(super) fn of_request(path: &str, headers: &HeaderMap) -> Option<Self> {
        if path == "/" && prefers(headers, "text/plain", "text/html") {
            return Some(Self::Overview);
        }
        Self::find(path)
    }

    /// The route for a path. A `/` at the end is ignored, since programs that scrape or probe may
    /// add one and may not follow redirects.
    ///
    /// A page refers to files beside it, so its path has no `/` at the end.
    pub(super) fn find(path: &str) -> Option<Self> {
        if path == "/plain" {
            return Some(Self::Plain);
        }

        Some(match path.strip_suffix('/').unwrap_or(path) {
            "/v1/units" => Self::Units,
            "/v1/machines" => Self::Machines,
            "/v2/state" => Self::State,
            "/v2/actions" => Self::Actions,
            "/v2/history" => Self::History,
            "/v2/events" => Self::Events,
            "/v2/logs" => Self::Logs,
            "/v2/unit-file" => Self::UnitFile,
            "/v2/recording" => Self::Recording,
            "/v2/replay" => Self::Replay,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Liveness,
            "/readyz" => Self::Readiness,
            _ => Self::Page(page::file(path)?),
        })
    }

    /// Whether it contains no data of the cluster, and so needs no token.
    pub(super) fn is_public(&self) -> bool {
        matches!(self, Self::Page(_) | Self::Liveness)
    }
}

/// The current content of a route, narrowed as the query says.
///
/// # Errors
///
/// 400 if the query of a list, of the state or of a history is wrong. 404 for the history of what
/// is not there, or if none is kept. 503 for a list or a whole history that has not been read yet,
/// or if the memory budget for filters is exhausted. For a unit file, see [`unit_file::content`].
pub(super) async fn content(
    context: &ServerContext,
    settings: &ServerSettings,
    route: &Route,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<ResponseContent, HttpError> {
    let publication = context.feed.borrow().clone();
    let caches = &context.caches;
    let query = query.unwrap_or_default();

    Ok(match route {
        Route::Page(file) => file.content(),
        Route::Units => {
            let filter = list_filter(query)?;
            let units = read_list(publication.unit_list.as_ref(), "units")?;
            list(context, &publication, units, &caches.units, &filter)?
        }
        Route::Machines => {
            let filter = list_filter(query)?;
            let machines = read_list(publication.machine_list.as_ref(), "machines")?;
            list(context, &publication, machines, &caches.machines, &filter)?
        }
        Route::State => state(context, &publication, &state_selection(query)?)?,
        Route::Actions => actions(context),
        Route::History => match history_query(query)? {
            Some(query) => history(context, &publication, &query)?,
            None => shared_history(context, &publication)?,
        },
        Route::Plain => plain(context, &publication, query),
        Route::Overview => {
            let selection = state_selection(query)?;
            let actions = context.actions();
            let text = overview::text(&publication, &selection, context.clients(), &actions)?;
            ResponseContent::new(PLAIN_TEXT, charge(context, text)?)
        }
        Route::UnitFile => unit_file::content(context, settings, Some(query)).await?,
        // GET is answered by `events` and `logs`; these are for HEAD. `recording` and `replay`
        // answer both.
        Route::Events | Route::Recording | Route::Replay => {
            ResponseContent::new(EVENT_STREAM, Bytes::new())
        }
        Route::Logs => {
            logs::check_enabled(context)?;
            ResponseContent::new(EVENT_STREAM, Bytes::new())
        }
        Route::Metrics => {
            let format = metrics_format(headers);
            let scrape = Scrape {
                publication: &publication,
                clients: context.clients(),
                unit_series: &settings.unit_series,
                now: publication.now(),
            };
            ResponseContent::new(format.media_type(), context.metrics.encode(format, scrape))
        }
        Route::Liveness => ResponseContent::new(JSON, json!({ "status": "ok" }).to_string()),
        Route::Readiness => readiness::content(&publication, context.clients(), publication.now()),
    })
}

fn read_list<'a>(
    list: Option<&'a PublishedList>,
    name: &str,
) -> Result<&'a PublishedList, HttpError> {
    list.ok_or_else(|| HttpError::unavailable(format!("{name} have not been read yet")))
}

/// A list. The whole one is encoded once for all, a filtered one for this request alone.
fn list(
    context: &ServerContext,
    publication: &Publication,
    list: &PublishedList,
    cache: &ResponseCache,
    filter: &Filter,
) -> Result<ResponseContent, HttpError> {
    let version = format!("{}-{}", publication.epoch, list.revision());
    if filter.is_empty() {
        return Ok(ResponseContent {
            shared: Some(cache.get(list.frame().payload())),
            etag: Some(etag(&version, None)),
            ..ResponseContent::new(JSON, Bytes::new())
        });
    }

    let body = charge(context, list.filtered(filter).into())?;
    Ok(ResponseContent {
        etag: Some(etag(&version, Some(&filter.to_string()))),
        ..ResponseContent::new(JSON, body)
    })
}

/// The state. The whole one is encoded once for all, a narrowed one for this request alone.
fn state(
    context: &ServerContext,
    publication: &Publication,
    selection: &Subscription,
) -> Result<ResponseContent, HttpError> {
    let now = publication.now();
    let clients = context.clients();
    let version = format!("{}-{}", publication.epoch, publication.revision);

    let (beginning, rows, etag) = if selection.is_everything() {
        let [beginning, rows] = publication.state(clients, now);
        (beginning, context.caches.state.get(rows), etag(&version, None))
    } else {
        let [beginning, rows] = publication.selected_state(selection, clients, now);
        let rows = Arc::new(CachedBody::new(charge(context, rows)?));
        (beginning, rows, etag(&version, Some(&selection.to_string())))
    };

    let health = publication.short_health(clients, now);
    Ok(ResponseContent {
        shared: Some(rows),
        etag: Some(etag),
        extra_header: json_header(&health).map(|health| (STATUS, health)),
        ..ResponseContent::new(JSON, beginning)
    })
}

/// The commands and links. The tag covers all of it: it does not depend on the publication.
fn actions(context: &ServerContext) -> ResponseContent {
    let body = serde_json::to_vec(&context.actions()).expect("texts and booleans are JSON");
    let mut hasher = DefaultHasher::new();
    hasher.write(&body);

    ResponseContent {
        etag: Some(format!("W/\"{:x}\"", hasher.finish())),
        ..ResponseContent::new(JSON, body)
    }
}

/// The latest events of one unit or machine, encoded for this request alone.
fn history(
    context: &ServerContext,
    publication: &Publication,
    query: &HistoryQuery,
) -> Result<ResponseContent, HttpError> {
    if !publication.keeps_history() {
        let message = "no history is kept: --history is 0";
        return Err(HttpError::not_found(message));
    }
    let Some(history) = publication.history_of(query, publication.now()) else {
        let message = format!("{query} is not in the cluster, and nothing is known of it");
        return Err(HttpError::not_found(message));
    };

    let version = format!("{}-{}", publication.epoch, history.version);
    Ok(ResponseContent {
        etag: Some(etag(&version, Some(&query.to_string()))),
        ..ResponseContent::new(JSON, charge(context, history.json)?)
    })
}

/// All that another monitor may merge, encoded for this request alone.
fn shared_history(
    context: &ServerContext,
    publication: &Publication,
) -> Result<ResponseContent, HttpError> {
    if !publication.keeps_history() {
        return Err(HttpError::not_found("no history is kept: --history is 0"));
    }
    if publication.is_recording() {
        return Err(HttpError::not_found("a recording is played, which is no history to merge"));
    }
    let Some(history) = publication.shared_history(publication.now()) else {
        return Err(HttpError::unavailable("not all lists of fleet have been read yet"));
    };

    Ok(ResponseContent {
        extra_header: Some((CACHE_CONTROL, NO_STORE)),
        ..ResponseContent::new(JSON, charge(context, history)?)
    })
}

/// A validator. Content that was narrowed has another one than the whole: `selection` is what it
/// was narrowed to.
fn etag(version: &str, selection: Option<&str>) -> String {
    match selection {
        None => format!("W/\"{version}\""),
        Some(selection) => {
            let selection = utf8_percent_encode(selection, NON_ALPHANUMERIC);
            format!("W/\"{version}-{selection}\"")
        }
    }
}

/// Counts a body that this response alone needs against the memory budget for filters.
fn charge(context: &ServerContext, body: Bytes) -> Result<Bytes, HttpError> {
    let budget = &context.channels;

    budget
        .charge(body)
        .map_err(|error: OverBudget| HttpError::unavailable(error.to_string()))
}

/// The page that needs no script. Its tag covers all of it, unlike that of the state: after a 304 a
/// browser shows the page that it has, with the age of the data in it.
fn plain(context: &ServerContext, publication: &Publication, query: &str) -> ResponseContent {
    let [beginning, tables] = publication.plain_page(context.clients(), publication.now());
    let mut hasher = DefaultHasher::new();
    hasher.write(&beginning);

    // People who need more time, or whom it disturbs, can switch it off (WCAG 2.2, 2.2.1).
    let is_refreshed = !form_urlencoded::parse(query.as_bytes())
        .any(|(key, value)| key == "refresh" && value == "off");

    ResponseContent {
        shared: Some(context.caches.plain.get(tables)),
        etag: Some(format!(
            "W/\"{}-{}-{:x}\"",
            publication.epoch,
            publication.revision,
            hasher.finish()
        )),
        extra_header: is_refreshed.then_some((REFRESH, PLAIN_REFRESH)),
        ..ResponseContent::new(HTML, beginning)
    }
}

/// The format of the metrics that a client prefers. Prometheus prefers OpenMetrics; a person with
/// curl, who accepts anything, does not.
fn metrics_format(headers: &HeaderMap) -> MetricsFormat {
    let openmetrics = MetricsFormat::OpenMetrics;
    let prometheus = MetricsFormat::Prometheus;

    if prefers(headers, openmetrics.media_type(), prometheus.media_type()) {
        openmetrics
    } else {
        prometheus
    }
}

/// JSON as the value of a header, in ASCII.
fn json_header(json: &[u8]) -> Option<HeaderValue> {
    let mut ascii = String::with_capacity(json.len());
    for character in String::from_utf8_lossy(json).chars() {
        if matches!(character, ' '..='~') {
            ascii.push(character);
        } else {
            let mut utf16 = [0; 2];
            let escapes = character.encode_utf16(&mut utf16);
            ascii.extend(escapes.iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }

    HeaderValue::from_maybe_shared(Bytes::from(ascii)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_ascii_and_the_same_json() {
        let json = json!({ "reason": "fleetctl: „größer“ 🚢\n\u{1}\u{7f}" }).to_string();
        let header = json_header(json.as_bytes()).expect("a header");
        let text = header.to_str().expect("ASCII");
        assert_eq!(
            text,
            r#"{"reason":"fleetctl: \u201egr\u00f6\u00dfer\u201c \ud83d\udea2\n\u0001\u007f"}"#
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(text).expect("JSON"),
            serde_json::from_str::<serde_json::Value>(&json).expect("JSON"),
        );
    }
}
