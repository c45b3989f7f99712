//! The second protocol as server-sent events (HTML, section "Server-sent events").
//!
//! hyper reads the request and is done with the connection then: what it keeps for one is several
//! times what a stream needs. The answer is as long as the connection (RFC 9112, section 6.3).

use hyper::Response;
use hyper::body::Body;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use super::ClientPermit;
use super::content::EVENT_STREAM;
use super::meter::{RateLimitExceeded, RateLimited};
use super::query::SubscriptionRequest;
use super::session::under_deadline;
use super::stream::{Stream, reset};
use crate::cluster::Moment;
use crate::feed::Subscriber;
use crate::feed::channel::{ChannelCursor, MessageBatch, OverBudget};
use crate::metrics::Dropped;

const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A request for a stream that was granted.
#[derive(Debug)]
pub(super) struct EventStreamUpgrade {
    pub(super) wish: SubscriptionRequest,
    pub(super) seat: ClientPermit,
}

/// What the answer to a granted request begins with.
pub(super) fn announce<B: Default>() -> Response<B> {
    let mut answer = Response::new(B::default());
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    // Else nginx would gather some kilobytes first.
    answer.headers_mut().insert(BUFFERING, HeaderValue::from_static("no"));
    answer
}

/// Serves one client until one side ends it.
pub(super) async fn serve(stream: Stream, answer: Response<impl Body>, grant: EventStreamUpgrade) {
    let EventStreamUpgrade { wish: SubscriptionRequest { channel, position }, seat } = grant;
    let mut feed = seat.0.feed.clone();
    let publication = feed.borrow_and_update().clone();
    // Without a word, as there is no room for one: a browser comes back by itself.
    let Ok((follower, first)) =
        ChannelCursor::begin(channel, position.as_ref(), &publication, Moment::now())
    else {
        return seat.0.metrics.client_dropped(Dropped::OverBudget);
    };
    drop(publication);
    let stream = RateLimited::new(stream, seat.0.timing.flood);
    let head = MessageBatch::new(head(&answer).into(), 0);
    drop(answer);
    let mut events = Events { stream, feed, follower, spoke: Instant::now(), seat };
    let reason = events.tell([vec![head], first].concat()).await;
    events.seat.0.metrics.client_dropped(reason);
    if reason == Dropped::Slow {
        let _ = reset(events.stream.unmetered());
    }
}

/// The head of an answer as it travels (RFC 9112, section 2.1).
fn head<B>(answer: &Response<B>) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {}\r\n", answer.status()).into_bytes();
    for (name, value) in answer.headers() {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// One client.
struct Events {
    stream: RateLimited,
    feed: Subscriber,
    follower: ChannelCursor,
    /// When something was last sent.
    spoke: Instant,
    seat: ClientPermit,
}

impl Events {
    /// Sends these, and what comes after, until the client is dropped.
    async fn tell(&mut self, first: Vec<MessageBatch>) -> Dropped {
        let (timing, stop) = (self.seat.0.timing, self.seat.0.stop.clone());
        let mut ignored = [0; 64];
        let mut alarm = std::pin::pin!(sleep_until(self.spoke + timing.heartbeat));
        let mut sent = self.send(first).await;
        while sent.is_ok() {
            sent = tokio::select! {
                biased;
                () = stop.cancelled() => Err(Dropped::Shutdown),
                read = self.stream.read(&mut ignored) => match read {
                    Ok(1..) => Ok(()),
                    Err(error) if RateLimitExceeded::is(&error) => Err(Dropped::RateLimitExceeded),
                    Ok(0) | Err(_) => Err(Dropped::Closed),
                },
                changed = self.feed.changed() => match changed {
                    Ok(()) => {
                        let publication = self.feed.borrow_and_update().clone();
                        let news = self.follower.updates(&publication, Moment::now());
                        drop(publication);
                        match news {
                            Ok(news) => self.send(news).await,
                            Err(OverBudget) => Err(Dropped::OverBudget),
                        }
                    }
                    Err(_) => Err(Dropped::Shutdown),
                },
                () = &mut alarm => {
                    let done = if Instant::now() >= self.spoke + timing.heartbeat {
                        let status = self.follower.status(&self.feed.borrow(), Moment::now());
                        self.send(vec![status]).await
                    } else {
                        Ok(())
                    };
                    // Not moved with each message: it is seldom reached.
                    alarm.as_mut().reset(self.spoke + timing.heartbeat);
                    done
                }
            };
        }
        sent.err().unwrap_or(Dropped::Closed)
    }

    async fn send(&mut self, batches: Vec<MessageBatch>) -> Result<(), Dropped> {
        for batch in batches {
            let Self { stream, seat, .. } = self;
            let write = async { Ok(stream.write_all(batch.bytes()).await?) };
            under_deadline(&seat.0, write).await.map_err(|end| end.reason)?;
            seat.0.metrics.sent(batch.messages(), batch.bytes().len());
            self.spoke = Instant::now();
        }
        Ok(())
    }
}
