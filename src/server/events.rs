//! The second protocol as server-sent events (HTML, section "Server-sent events").
//!
//! hyper sends the stream, and asks for the next piece of it only when the client has taken what was before. A client
//! that does not is cut off by [`super::http`], by the deadline that is set here for each piece.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::stream::{self, Stream};
use http_body_util::StreamBody;
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::time::{Instant, sleep_until};

use super::Seat;
use super::content::{Body, EVENT_STREAM, Piece, piece};
use super::http::{Answer, Deadline, Line};
use super::query::Query;
use crate::cluster::Moment;
use crate::feed::Subscriber;
use crate::feed::channel::{Batch, Follower, Transport};
use crate::metrics::Dropped;

/// One client.
struct Events {
    feed: Subscriber,
    follower: Follower,
    /// What is to be sent next.
    pending: VecDeque<Batch>,
    /// When something was last sent.
    spoke: Instant,
    line: Arc<Line>,
    seat: Seat,
}

/// The stream for a client that has a seat.
pub(super) fn answer(query: Query, line: Arc<Line>, seat: Seat) -> Answer {
    let shared = &seat.0;
    let mut feed = shared.feed.clone();
    let publication = feed.borrow_and_update().clone();
    let channel = shared.channels.open(Transport::EventStream, query.subscription);
    let (follower, first) = Follower::begin(channel, query.position.as_ref(), &publication, Moment::now());
    let events = Events { feed, follower, pending: first.into(), spoke: Instant::now(), line, seat };
    let mut answer = Response::new(Body::Right(StreamBody::new(Box::pin(events.stream()))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    answer
}

impl Events {
    fn stream(self) -> impl Stream<Item = Result<Frame<Piece>, Infallible>> + Send {
        stream::unfold(self, |mut events| async move {
            let batch = events.next().await?;
            events.seat.0.metrics.sent(batch.messages, batch.bytes.len());
            Some((Ok(Frame::data(piece(batch.bytes))), events))
        })
    }

    /// What comes next; none when the server is being stopped.
    async fn next(&mut self) -> Option<Batch> {
        let timing = self.seat.0.timing;
        self.line.set(Deadline::None);
        loop {
            if let Some(batch) = self.pending.pop_front() {
                self.spoke = Instant::now();
                self.line.set(Deadline::Cut(self.spoke + timing.write));
                return Some(batch);
            }
            tokio::select! {
                biased;
                () = self.seat.0.stop.cancelled() => return None,
                changed = self.feed.changed() => {
                    changed.ok()?;
                    let publication = self.feed.borrow_and_update().clone();
                    self.pending.extend(self.follower.news(&publication, Moment::now()));
                }
                () = sleep_until(self.spoke + timing.heartbeat) => {
                    let publication = self.feed.borrow().clone();
                    self.pending.push_back(self.follower.status(&publication, Moment::now()));
                }
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let shared = &self.seat.0;
        let reason = match self.line.get() {
            _ if shared.stop.is_cancelled() => Dropped::Shutdown,
            Deadline::Cut(at) if at <= Instant::now() => Dropped::Slow,
            _ => Dropped::Closed,
        };
        shared.metrics.client_dropped(reason);
    }
}
