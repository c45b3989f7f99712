//! The second protocol as server-sent events (HTML, section "Server-sent events").
//!
//! hyper only reads the request, and then the connection is taken from it: the state that hyper
//! keeps for a connection is several times what a stream needs. So this module writes the response
//! head itself. The body ends with the connection (RFC 9112, section 6.3). This module must not
//! know why the client was accepted.

use std::convert::Infallible;
use std::io;

use hyper::Response;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::content::{EVENT_STREAM, HttpResponse, ResponseBody};
use super::context::{ClientPermit, ServerContext};
use super::deadline::{WriteFailure, write_in_time};
use super::query::SubscriptionRequest;
use super::rate_limit::{RateLimitExceeded, RateLimitedStream};
use super::stream::{ClientStream, reset_on_drop};
use crate::feed::Subscriber;
use crate::feed::channel::{ChannelCursor, MessageBatch};
use crate::metrics::DropReason;

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// An accepted request for an event stream.
#[derive(Debug)]
pub(super) struct EventStreamUpgrade {
    pub(super) subscription: SubscriptionRequest,
    pub(super) permit: ClientPermit,
}

/// The head of the response to an accepted request. [`serve`] writes it, and the body.
pub(super) fn response_head() -> HttpResponse {
    let mut response = Response::new(ResponseBody::default());
    let headers = response.headers_mut();

    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    // Otherwise nginx buffers some kilobytes before it forwards any.
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Serves one client until one side closes the connection.
pub(super) async fn serve(
    stream: ClientStream,
    response: HttpResponse,
    upgrade: EventStreamUpgrade,
) {
    let EventStreamUpgrade { subscription, permit } = upgrade;
    let SubscriptionRequest { channel, position } = subscription;

    let mut feed = permit.context().feed.clone();
    let publication = feed.borrow_and_update().clone();
    let begun = ChannelCursor::begin(channel, position.as_ref(), &publication, publication.now());
    drop(publication);
    let Ok((cursor, batches)) = begun else {
        // Closed without a response: the memory budget has no room for the first messages. Browsers
        // reconnect by themselves.
        return permit.context().metrics.client_dropped(DropReason::OverBudget);
    };

    let head = MessageBatch::new(encode_head(&response).into(), 0);
    drop(response);
    let initial_batches = [vec![head], batches].concat();

    let mut session = EventStreamSession {
        stream: RateLimitedStream::new(stream, permit.context().timing.rate_window),
        feed,
        cursor,
        last_sent: Instant::now(),
        permit,
    };
    let Err(reason) = session.run(initial_batches).await;

    end(session.permit.context(), &mut session.stream, reason).await;
}

/// Counts the end of a stream, and closes it. What a slow client has not read is discarded.
pub(super) async fn end(
    context: &ServerContext,
    stream: &mut RateLimitedStream,
    reason: DropReason,
) {
    context.metrics.client_dropped(reason);

    if reason == DropReason::Slow {
        let _ = reset_on_drop(stream.inner());
    } else {
        close(context, stream).await;
    }
}

/// Closes a stream after its last byte. Over TLS, an end without an alert means that something is
/// missing (RFC 8446, section 6.1).
pub(super) async fn close(context: &ServerContext, stream: &mut RateLimitedStream) {
    let _ = timeout(context.timing.close, stream.shutdown()).await;
}

/// Writes bytes within the time limit.
pub(super) async fn write(
    context: &ServerContext,
    stream: &mut RateLimitedStream,
    bytes: &[u8],
) -> Result<(), DropReason> {
    let write = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    write_in_time(context, write)
        .await
        .map_err(|failure| drop_reason(&failure))
}

/// The head of a response on the wire (RFC 9112, section 2.1).
pub(super) fn encode_head<B>(response: &Response<B>) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// One client of the event stream, until it is dropped.
struct EventStreamSession {
    stream: RateLimitedStream,
    feed: Subscriber,
    cursor: ChannelCursor,
    last_sent: Instant,
    permit: ClientPermit,
}

impl EventStreamSession {
    /// Sends the first batches and then every update, until the client is dropped.
    async fn run(&mut self, initial_batches: Vec<MessageBatch>) -> Result<Infallible, DropReason> {
        let heartbeat = self.permit.context().timing.heartbeat;
        let stop = self.permit.context().stop.clone();
        let mut ignored = [0; 64];
        let mut timer = std::pin::pin!(sleep_until(self.last_sent + heartbeat));

        self.send(initial_batches).await?;

        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(DropReason::Shutdown),
                read = self.stream.read(&mut ignored) => check_read(read)?,
                changed = self.feed.changed() => match changed {
                    Ok(()) => self.send_updates().await?,
                    Err(_) => return Err(DropReason::Shutdown),
                },
                () = &mut timer => {
                    if Instant::now() >= self.last_sent + heartbeat {
                        self.send_heartbeat().await?;
                    }
                    // Only here, not with each message: that would cost more than a timer which
                    // fires too early now and then.
                    timer.as_mut().reset(self.last_sent + heartbeat);
                }
            }
        }
    }

    async fn send_updates(&mut self) -> Result<(), DropReason> {
        let publication = self.feed.borrow_and_update().clone();
        let batches = self.cursor.updates(&publication, publication.now());

        // A slow client must not keep the whole publication in memory.
        drop(publication);
        self.send(batches.map_err(|_| DropReason::OverBudget)?).await
    }

    async fn send_heartbeat(&mut self) -> Result<(), DropReason> {
        let publication = self.feed.borrow().clone();
        let heartbeat = self.cursor.heartbeat(&publication, publication.now());
        drop(publication);
        self.send(heartbeat.map_err(|_| DropReason::OverBudget)?).await
    }

    async fn send(&mut self, batches: Vec<MessageBatch>) -> Result<(), DropReason> {
        for batch in batches {
            let context = self.permit.context();
            write(context, &mut self.stream, batch.bytes()).await?;

            context.metrics.sent(batch.messages(), batch.bytes().len());
            self.last_sent = Instant::now();
        }
        Ok(())
    }
}

/// Ignores what a client sends. Returns why the connection ends, if it does.
pub(super) fn check_read(read: io::Result<usize>) -> Result<(), DropReason> {
    match read {
        Ok(1..) => Ok(()),
        Err(error) if RateLimitExceeded::caused(&error) => Err(DropReason::RateLimitExceeded),
        Ok(0) | Err(_) => Err(DropReason::Closed),
    }
}

fn drop_reason(failure: &WriteFailure<io::Error>) -> DropReason {
    match failure {
        WriteFailure::Failed(_) => DropReason::Closed,
        WriteFailure::Slow => DropReason::Slow,
        WriteFailure::Stopping | WriteFailure::CutOff => DropReason::Shutdown,
    }
}
