//! The rules for every request: who has access, which methods are supported, and which headers each
//! response has.
//!
//! This module must not know the content of a route, nor how the connection is served.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW,
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION,
    ORIGIN, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::uri::{Authority, PathAndQuery};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};

use super::content::{HttpResponse, JSON, NO_STORE, ResponseBody, error_response};
use super::context::{Protocol, ServerContext};
use super::error::HttpError;
use super::error_page;
use super::events::{self, EventStreamUpgrade};
use super::headers::prefers;
use super::logs::LogStreamUpgrade;
use super::query::SubscriptionRequest;
use super::recording::{self, RecordingUpgrade};
use super::replay;
use super::routes::{self, Route};
use super::settings::ServerSettings;
use super::{unit_file, upgrade};
use crate::feed::channel::Transport;

/// The methods of every resource.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// The `Content-Security-Policy` of every response without one of its own: the page needs only its
/// own files and its own server.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Keeps a response out of pages of other origins, even if they could not read it (Fetch, section
/// "Cross-Origin-Resource-Policy header").
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The response to a request. If a request for an event stream was accepted, the response is only
/// the head, and the events follow it.
pub(super) struct HttpReply {
    pub(super) response: HttpResponse,
    pub(super) event_stream: Option<StreamUpgrade>,
}

/// An accepted request for an event stream.
#[derive(Debug)]
pub(super) enum StreamUpgrade {
    /// For messages of the second protocol.
    Events(EventStreamUpgrade),
    /// For the log of a unit.
    Log(LogStreamUpgrade),
    /// For what is recorded.
    Recording(RecordingUpgrade),
}

impl From<HttpResponse> for HttpReply {
    fn from(response: HttpResponse) -> Self {
        Self { response, event_stream: None }
    }
}

/// Checks the host and the origin of a request, and answers it.
pub(super) async fn respond(context: &Arc<ServerContext>, request: Request<Incoming>) -> HttpReply {
    let settings = context.settings();
    let access = &settings.access;
    let origin = request.headers().get(ORIGIN).cloned();
    let uri = request.uri().clone();
    let prefers_page = prefers(request.headers(), "text/html", JSON);
    let refusal = |error, visited| match prefers_page {
        true => error_page::response(error, visited),
        false => error_response(error),
    };

    let allowed = if is_old_liveness_probe(&request) {
        Ok(())
    } else {
        access.check_host_and_origin(request.uri(), request.headers())
    };

    let mut reply = match allowed {
        Err(error) => refusal(error, None).into(),
        Ok(()) => {
            let reply = dispatch(context, &settings, request).await;
            let mut reply = reply.unwrap_or_else(|error| refusal(error, Some(uri.path())).into());
            if let Some(origin) = origin {
                allow_origin(reply.response.headers_mut(), origin);
            }
            reply
        }
    };

    add_common_headers(reply.response.headers_mut());
    reply
}

/// Redirects a request that came without TLS to the same port with TLS.
pub(super) fn redirect_to_tls(context: &ServerContext, request: &Request<Incoming>) -> HttpReply {
    let uri = request.uri();
    let headers = request.headers();
    let redirected = context
        .settings()
        .access
        .check_host_and_origin(uri, headers)
        .and_then(|()| tls_location(uri, headers));

    let mut response = match redirected {
        Ok(location) => {
            let message = "only HTTPS is spoken at this port: use https:// in the URL";
            let error = HttpError::new(StatusCode::PERMANENT_REDIRECT, message);
            let mut response = error_response(error);
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(error) => error_response(error),
    };
    add_common_headers(response.headers_mut());
    response.into()
}

/// The URL of a request with TLS. A host without a port is at the default port of HTTP.
fn tls_location(uri: &Uri, headers: &HeaderMap) -> Result<HeaderValue, HttpError> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = uri.authority().map(Authority::as_str).or(host).unwrap_or_default();
    let has_port = authority.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let port = if has_port { "" } else { ":80" };
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);

    HeaderValue::try_from(format!("https://{authority}{port}{path}"))
        .map_err(|_| HttpError::bad_request("the requested URL cannot be redirected to"))
}

/// Whether this is a liveness check in HTTP/1.0, which has no `Host` (RFC 1945). HAProxy's `option
/// httpchk` sends such requests. A browser always sends `Host`, so DNS rebinding cannot use this.
fn is_old_liveness_probe(request: &Request<Incoming>) -> bool {
    let headers = request.headers();

    request.version() == Version::HTTP_10
        && request.uri().authority().is_none()
        && !headers.contains_key(HOST)
        && !headers.contains_key(ORIGIN)
        && matches!(Route::find(request.uri().path()), Some(Route::Liveness))
}

/// Answers a request whose host and origin are allowed: checks the token and the method, and finds
/// the route.
async fn dispatch(
    context: &Arc<ServerContext>,
    settings: &ServerSettings,
    request: Request<Incoming>,
) -> Result<HttpReply, HttpError> {
    let headers = request.headers();
    let query = request.uri().query();
    let method = request.method();

    if upgrade::is_requested(headers) {
        settings.access.authorize(headers, query)?;
        return upgrade::accept(context, request).map(HttpReply::from);
    }

    // Before the token is checked: a browser sends a preflight request without it (Fetch, section
    // "CORS-preflight fetch").
    if method == Method::OPTIONS {
        return Ok(options(headers).into());
    }

    let route = Route::of_request(request.uri().path(), headers);
    if !route.as_ref().is_some_and(Route::is_public) {
        // Only an event stream may have the token in its query, like a WebSocket: a browser cannot
        // add a header to these requests.
        let query = query.filter(|_| matches!(route, Some(Route::Events | Route::Logs)));
        settings.access.authorize(headers, query)?;
    }

    let Some(route) = route else {
        return Err(HttpError::new(
            StatusCode::NOT_FOUND,
            "there is nothing here; see / for the page, /v2/state for the data, \
             or open a WebSocket",
        ));
    };
    if matches!(route, Route::Replay) {
        let content = replay::content(context, method, query)?;
        return Ok(content.into_response(headers).await.into());
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let message = "only GET and HEAD are supported";
        return Err(
            HttpError::new(StatusCode::METHOD_NOT_ALLOWED, message).with_header(ALLOW, METHODS)
        );
    }
    let content = match (&route, method) {
        (Route::Events, &Method::GET) => return event_stream(context, &request),
        (Route::Logs, &Method::GET) => return log_stream(context, query),
        (Route::Recording, &Method::GET) => {
            let (response, upgrade) = recording::accept(context, query, request.version()).await?;
            let event_stream = Some(StreamUpgrade::Recording(upgrade));
            return Ok(HttpReply { response, event_stream });
        }
        (Route::Recording, _) => return Ok(recording::head(context, query)?.into()),
        // It must not ask fleet for what is not sent.
        (Route::UnitFile, &Method::HEAD) => unit_file::head(context, settings)?,
        _ => routes::content(context, settings, &route, query, headers).await?,
    };
    Ok(content.into_response(headers).await.into())
}

/// Accepts a request for an event stream.
fn event_stream(
    context: &Arc<ServerContext>,
    request: &Request<Incoming>,
) -> Result<HttpReply, HttpError> {
    let channels = &context.channels;
    let subscription =
        SubscriptionRequest::from_request(request, Transport::EventStream, channels)?;
    let permit = context.client_permit(Protocol::Second)?;

    Ok(HttpReply {
        response: events::response_head(),
        event_stream: Some(StreamUpgrade::Events(EventStreamUpgrade { subscription, permit })),
    })
}

/// Accepts a request for the log of a unit.
fn log_stream(context: &Arc<ServerContext>, query: Option<&str>) -> Result<HttpReply, HttpError> {
    let upgrade = LogStreamUpgrade::accept(context, query.unwrap_or_default())?;
    let mut response = events::response_head();
    // A log may contain secrets, like a unit file.
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);

    Ok(HttpReply { response, event_stream: Some(StreamUpgrade::Log(upgrade)) })
}

fn options(request: &HeaderMap) -> HttpResponse {
    let mut response = Response::new(ResponseBody::default());
    *response.status_mut() = StatusCode::NO_CONTENT;

    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    if request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Authorization, If-None-Match, Last-Event-ID"),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// Allows pages of an accepted origin to read the response.
fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("ETag, Fleet-Monitor-Status"),
    );
}

fn add_common_headers(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    }
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(PAGE_POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Origin, Accept-Encoding, Accept"));
}
