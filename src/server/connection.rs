//! One HTTP connection, from its first request until it is closed, or until a WebSocket or an event
//! stream takes it over.
//!
//! This module must not know what is requested.
//!
//! hyper limits the time for the head of a request, measured from the start of the connection or
//! from the end of the previous response. So a connection is closed if it is idle, and also if a
//! byte arrives now and then. If the response is not read, the limit on the lifetime of the
//! connection closes it.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use super::content::HttpResponse;
use super::context::ServerContext;
use super::events;
use super::http::{self, HttpReply, StreamUpgrade};
use super::logs;
use super::opening::{FIRST_REQUEST, OpenedConnection, open};
use super::recording;
use super::stream::ClientSocket;

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// What the request handler hands over to [`serve`]: the head of the response, and the accepted
/// request for an event stream.
type EventStreamHandOver = (HttpResponse, StreamUpgrade);

/// Where the request handler hands over an event stream; empty after that.
type HandOverSlot = Mutex<Option<oneshot::Sender<EventStreamHandOver>>>;

/// Serves one connection until it is closed, or until an event stream or a WebSocket takes it over.
pub(super) async fn serve(context: Arc<ServerContext>, socket: ClientSocket) {
    let (stream, is_redirected) = match open(&context, socket).await {
        Some(OpenedConnection::Served(stream)) => (stream, false),
        Some(OpenedConnection::Redirected(stream)) => (stream, true),
        None => return,
    };
    let (sender, mut event_stream) = oneshot::channel();
    let slot: HandOverSlot = Mutex::new(Some(sender));
    let first_response = Notify::new();

    let service = service_fn(|request| {
        let context = &context;
        let slot = &slot;
        let first_response = &first_response;
        async move {
            let reply = if is_redirected {
                http::redirect_to_tls(context, &request)
            } else {
                http::respond(context, request).await
            };
            let response = hand_over_event_stream(reply, slot).await;
            first_response.notify_one();
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(context.timing.handshake)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();

    let handed_over = tokio::select! {
        // The result is ignored: why a connection ends matters only to its client.
        _ = &mut connection => return,
        Ok(handed_over) = &mut event_stream => Some(handed_over),
        () = end_of_life(&context, &first_response) => None,
    };

    // The request handler may have handed a stream over just now.
    event_stream.close();
    let handed_over = handed_over.or_else(|| event_stream.try_recv().ok());

    if let Some((response, upgrade)) = handed_over {
        if let Some(parts) = connection.into_parts() {
            // A task of its own, so that the memory that hyper needed for the connection is freed.
            let stream = parts.io.into_inner();
            match upgrade {
                StreamUpgrade::Events(upgrade) => {
                    context.tasks.spawn(events::serve(stream, response, upgrade));
                }
                StreamUpgrade::Log(upgrade) => {
                    context.tasks.spawn(logs::serve(stream, response, upgrade));
                }
                StreamUpgrade::Recording(upgrade) => {
                    context.tasks.spawn(recording::serve(stream, response, upgrade));
                }
            }
        }
    } else {
        Pin::new(&mut connection).graceful_shutdown();
        let _ = timeout(context.timing.write, connection).await;
    }
}

/// Waits until the connection has to be closed: the server stops, or the limit on its lifetime is
/// reached.
async fn end_of_life(context: &ServerContext, first_response: &Notify) {
    tokio::select! {
        // A graceful shutdown would close a connection whose first request has not arrived yet, and
        // the client would take that for a refusal. So the request gets a little time.
        () = context.stop.cancelled() => {
            let _ = timeout(FIRST_REQUEST, first_response.notified()).await;
        }
        () = sleep(context.timing.connection) => {}
    }
}

/// Hands an event stream over from hyper to [`events::serve`] or [`logs::serve`]. Any other reply
/// is just returned, as the response that hyper is to write.
///
/// ```text
///  hyper ── request ──► http::respond
///    │                       │ HttpReply with a StreamUpgrade
///    │                       ▼
///    │              hand_over_event_stream ── oneshot ──► serve
///    │                       │                              │ takes the socket out of hyper
///    │◄── never returns ─────┘                              │ (`into_parts`), which drops the
///    │    so hyper writes nothing                           │ connection and this future
///    ▼                                                      ▼
///  dropped                                            events::serve or logs::serve, in a task of
///                                                     its own, writes the head and the events
/// ```
///
/// If [`serve`] is closing the connection already, the head is all that the client gets.
async fn hand_over_event_stream(reply: HttpReply, slot: &HandOverSlot) -> HttpResponse {
    let HttpReply { response, event_stream } = reply;
    let Some(upgrade) = event_stream else {
        return response;
    };
    let Some(sender) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return response;
    };

    match sender.send((response, upgrade)) {
        Ok(()) => pending().await,
        Err((response, _)) => response,
    }
}
