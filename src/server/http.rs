//! One connection that is not, or not yet, a WebSocket.
//!
//! hyper reads the head of a request under a deadline that begins when the connection does, so that
//! a client that sends nothing, or a byte now and then, is cut off like one that is idle between
//! two requests. A client that does not take its answer is cut off by the limit on the life of the
//! whole connection.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW,
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, RETRY_AFTER, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use super::access::Refusal;
use super::content::{Body, Content};
use super::events::{self, EventStreamUpgrade};
use super::query::SubscriptionRequest;
use super::routes::{self, Resource};
use super::stream::Stream;
use super::{ServerSettings, Shared, upgrade};
use crate::feed::channel::Transport;
use crate::metrics::Dropped;

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// What may be done with what is there.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// The page needs nothing but its own files and its own server.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Keeps an answer out of pages of other origins, even where they cannot read it (Fetch, section
/// "Cross-Origin-Resource-Policy header").
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// How long a stopping server waits for the first request of a client that came just before.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// The answer to a request.
pub(super) type Answer = Response<Body>;

/// Serves one connection until it is closed, or is an event stream or a WebSocket and no more
/// hyper's.
pub(super) async fn serve(shared: Arc<Shared>, stream: Stream) {
    let timing = shared.timing;
    let (stop, tasks) = (shared.stop.clone(), shared.tasks.clone());
    let (granting, mut granted) = oneshot::channel::<(Answer, EventStreamUpgrade)>();
    let granting = Mutex::new(Some(granting));
    let answered = Notify::new();
    let service = service_fn(|request| {
        let (shared, granting, answered) = (&shared, &granting, &answered);
        async move {
            let mut grant = None;
            let answer = answer(shared, request, &mut grant).await;
            let Some((grant, granting)) = grant.zip(take(granting)) else {
                answered.notify_one();
                return Ok::<_, Infallible>(answer);
            };
            match granting.send((answer, grant)) {
                // Whoever waits for it is below, and ends all this.
                Ok(()) => pending().await,
                // The connection is being closed already.
                Err((answer, _)) => Ok(answer),
            }
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timing.handshake)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let over = async {
        tokio::select! {
            // hyper would close a connection whose first request is still on its way, and a client
            // takes that for a refusal.
            () = stop.cancelled() => drop(timeout(FIRST_REQUEST, answered.notified()).await),
            () = sleep(timing.connection) => {}
        }
    };
    let mut grant = tokio::select! {
        // How a connection ends concerns nobody but the client.
        _ = &mut connection => return,
        Ok(grant) = &mut granted => Some(grant),
        () = over => None,
    };
    granted.close();
    grant = grant.or_else(|| granted.try_recv().ok());
    if let Some((answer, grant)) = grant {
        if let Some(parts) = connection.into_parts() {
            // A task of its own, so that what hyper needed for the connection is freed.
            tasks.spawn(events::serve(parts.io.into_inner(), answer, grant));
        }
        return;
    }
    Pin::new(&mut connection).graceful_shutdown();
    let _ = timeout(timing.write, connection).await;
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The answer to a request; if it is one for an event stream that is granted, only its head.
async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    grant: &mut Option<EventStreamUpgrade>,
) -> Answer {
    let settings = shared.settings();
    let origin = request.headers().get(ORIGIN).cloned();
    let admission = if is_old_probe(&request) {
        Ok(())
    } else {
        settings.access.admit(request.uri(), request.headers())
    };
    let mut answer = match admission {
        Err(refusal) => refused(refusal, request.headers()).await,
        Ok(()) => {
            let mut answer = match admitted(shared, &settings, request, grant).await {
                Ok(answer) => answer,
                Err((refusal, headers)) => refused(refusal, &headers).await,
            };
            if let Some(origin) = origin {
                allow_origin(answer.headers_mut(), origin);
            }
            answer
        }
    };
    let headers = answer.headers_mut();
    if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    }
    headers.insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Origin, Accept-Encoding, Accept"));
    answer
}

/// Whether this is a liveness probe in HTTP/1.0, which has no `Host` (RFC 1945): HAProxy's `option
/// httpchk` sends such. A browser always sends `Host`, so no rebound name gets in by this.
fn is_old_probe(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_10
        && request.uri().authority().is_none()
        && !headers.contains_key(HOST)
        && !headers.contains_key(ORIGIN)
        && matches!(Resource::at(request.uri().path()), Some(Resource::Health))
}

/// The answer to a request whose host and origin are good.
async fn admitted(
    shared: &Arc<Shared>,
    settings: &ServerSettings,
    request: Request<Incoming>,
    grant: &mut Option<EventStreamUpgrade>,
) -> Result<Answer, (Refusal, HeaderMap)> {
    let access = &settings.access;
    let headers = request.headers();
    if upgrade::is_asked_for(headers) {
        return match access.authorize(headers, request.uri().query()) {
            Ok(()) => Ok(upgrade::answer(shared, request).await),
            Err(refusal) => Err((refusal, headers.clone())),
        };
    }
    // A browser asks what it may ask for without the token (Fetch, section "CORS-preflight fetch").
    if request.method() == Method::OPTIONS {
        return Ok(options(headers));
    }
    let resource = Resource::at(request.uri().path());
    if !resource.as_ref().is_some_and(Resource::is_public) {
        // A browser can add no header to a request for an event stream either.
        let query = request
            .uri()
            .query()
            .filter(|_| matches!(resource, Some(Resource::Events)));
        access
            .authorize(headers, query)
            .map_err(|refusal| (refusal, headers.clone()))?;
    }
    let Some(resource) = resource else {
        let message = "there is nothing here; see / for the page, /v2/state for the data, or open a WebSocket";
        return Ok(Content::error(StatusCode::NOT_FOUND, message).answer(headers).await);
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let message = "only GET and HEAD are supported";
        let mut answer = Content::error(StatusCode::METHOD_NOT_ALLOWED, message)
            .answer(headers)
            .await;
        answer.headers_mut().insert(ALLOW, METHODS);
        return Ok(answer);
    }
    if matches!(resource, Resource::Events) && request.method() == Method::GET {
        return Ok(stream(shared, &request, grant).await);
    }
    Ok(routes::content(shared, settings, &resource, headers)
        .answer(headers)
        .await)
}

/// The event stream, if there is room for one more client.
async fn stream(
    shared: &Arc<Shared>,
    request: &Request<Incoming>,
    grant: &mut Option<EventStreamUpgrade>,
) -> Answer {
    let headers = request.headers();
    match SubscriptionRequest::of(request, Transport::EventStream, &shared.channels) {
        Err((status, message)) => Content::error(status, &message).answer(headers).await,
        Ok(wish) => match shared.seat() {
            Some(seat) => {
                *grant = Some(EventStreamUpgrade { wish, seat });
                events::announce()
            }
            None => full(shared, headers).await,
        },
    }
}

/// The answer where there is no room for one more client.
pub(super) async fn full(shared: &Shared, headers: &HeaderMap) -> Answer {
    shared.metrics.client_dropped(Dropped::Refused);
    let clients = shared.clients();
    let message = format!(
        "there are {clients} clients already, as many as --max-clients allows; try again later"
    );
    let mut answer = Content::error(StatusCode::SERVICE_UNAVAILABLE, &message)
        .answer(headers)
        .await;
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("10"));
    answer
}

async fn refused(refusal: Refusal, headers: &HeaderMap) -> Answer {
    let mut answer = Content::error(refusal.status, &refusal.message).answer(headers).await;
    if refusal.status == StatusCode::UNAUTHORIZED {
        answer
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

fn options(headers: &HeaderMap) -> Answer {
    let mut answer = Response::new(Body::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let answered = answer.headers_mut();
    answered.insert(ALLOW, METHODS);
    if headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        answered.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answered.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Authorization, If-None-Match, Last-Event-ID"),
        );
        answered.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    answer
}

/// Lets the page of an origin that was admitted read the answer.
fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("ETag, Fleet-Monitor-Status"),
    );
}
