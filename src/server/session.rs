//! One WebSocket client, from the end of the handshake to the end of the connection.
//!
//! This module knows the feed and the socket. It must not know HTTP, nor why the client was
//! accepted.
//!
//! A session is one task that owns the stream. Encoded frames are written directly to the stream
//! below tungstenite, once tungstenite has flushed its own frames, so no payload is copied for one
//! client. A session does not keep what it has sent, only the revision of it.

mod end;

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::context::{ClientPermit, ServerContext};
use super::deadline::write_in_time;
use super::query::SubscriptionRequest;
use super::rate_limit::RateLimitedStream;
use super::stream::{ClientStream, WriteProgress, try_write};
use crate::feed::channel::{ChannelCursor, MessageBatch, OverBudget};
use crate::feed::{PublishedList, Subscriber};
use crate::metrics::DropReason;
use end::SessionEnd;

/// The largest message that a client may send, in bytes.
const MAX_MESSAGE: usize = 4096;

/// The size of the read buffer, in bytes. It is small, because clients send almost nothing.
const READ_BUFFER: usize = 512;

/// The size of the write buffer, in bytes. It has room for a few pongs and a close frame, which
/// have a payload of at most 125 bytes (RFC 6455, section 5.5).
const MAX_WRITE_BUFFER: usize = 512;

/// A client whose handshake is done.
#[derive(Debug)]
pub(super) struct Session {
    socket: WebSocketStream<RateLimitedStream>,
    feed: Subscriber,
    permit: ClientPermit,
    progress: ClientProgress,
    /// What a client of the second protocol gets first; empty for the first protocol.
    initial_batches: Vec<MessageBatch>,
    last_sent: Instant,
}

/// What the client has already, by protocol.
#[derive(Debug)]
enum ClientProgress {
    /// The revisions of the lists that were sent last; 0: not sent yet.
    First {
        machines: u64,
        units: u64,
    },
    Second(ChannelCursor),
}

/// When pings are sent and when they must be answered.
struct PingTimers {
    next_ping: Instant,
    /// When the first ping was sent that the client has not answered; `None`: all are answered.
    unanswered_since: Option<Instant>,
}

impl Session {
    /// A session on a stream whose handshake is done. `leftover` are bytes that hyper read beyond
    /// the handshake. They are copied: otherwise hyper's buffer would live as long as the session.
    ///
    /// # Errors
    ///
    /// When the memory budget for filters is exhausted.
    pub(super) async fn new(
        stream: ClientStream,
        leftover: &[u8],
        permit: ClientPermit,
        subscription: Option<SubscriptionRequest>,
    ) -> Result<Self, OverBudget> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let stream = RateLimitedStream::new(stream, permit.context().timing.rate_window);
        let socket = WebSocketStream::from_partially_read(
            stream,
            leftover.to_vec(),
            Role::Server,
            Some(config),
        )
        .await;

        let mut feed = permit.context().feed.clone();
        let (progress, initial_batches) = match subscription {
            None => {
                feed.mark_changed();
                (ClientProgress::First { machines: 0, units: 0 }, vec![])
            }
            Some(SubscriptionRequest { channel, position }) => {
                let publication = feed.borrow_and_update().clone();
                let (cursor, batches) = ChannelCursor::begin(
                    channel,
                    position.as_ref(),
                    &publication,
                    publication.now(),
                )?;
                (ClientProgress::Second(cursor), batches)
            }
        };

        Ok(Self {
            socket,
            feed,
            permit,
            progress,
            initial_batches,
            last_sent: Instant::now(),
        })
    }

    /// Serves the client until one side closes the connection.
    pub(super) async fn run(mut self) {
        let Err(SessionEnd { reason, action }) = self.exchange_messages().await;
        self.context().metrics.client_dropped(reason);

        // If the client does not complete the closing handshake in time, the connection is dropped.
        let _ = timeout(self.context().timing.close, action.run(&mut self.socket)).await;
    }

    fn context(&self) -> &ServerContext {
        self.permit.context()
    }

    async fn exchange_messages(&mut self) -> Result<Infallible, SessionEnd> {
        let mut timers = PingTimers {
            next_ping: Instant::now() + self.context().timing.ping,
            unanswered_since: None,
        };
        let stop = self.context().stop.clone();
        let mut stop = std::pin::pin!(stop.cancelled());
        let mut timer = std::pin::pin!(sleep_until(self.next_timer(&timers)));

        let initial_batches = std::mem::take(&mut self.initial_batches);
        self.send(initial_batches).await?;

        loop {
            tokio::select! {
                biased;
                // First, because it is by far the most frequent event. When it is ready, the others
                // need not be polled.
                changed = self.feed.changed() => match changed {
                    Ok(()) => self.send_updates().await?,
                    Err(_) => return Err(SessionEnd::shutdown()),
                },
                () = &mut stop => return Err(SessionEnd::shutdown()),
                message = self.socket.next() => {
                    timers.unanswered_since = None;
                    self.receive(message)?;
                }
                () = &mut timer => {
                    self.handle_timer(&mut timers).await?;
                    timer.as_mut().reset(self.next_timer(&timers));
                }
            }
        }
    }

    /// Ignores a message of the client, unless it ends the session.
    fn receive(&mut self, message: Option<Result<Message, Error>>) -> Result<(), SessionEnd> {
        match message {
            None => Err(SessionEnd::reset(DropReason::Closed)),
            Some(Ok(Message::Close(_))) => Err(SessionEnd::closed_by_client()),
            Some(Ok(_)) if self.socket.get_mut().charge_message() => Ok(()),
            Some(Ok(_)) => Err(SessionEnd::rate_limit_exceeded()),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// The next timer: ping, pong timeout or heartbeat.
    fn next_timer(&self, timers: &PingTimers) -> Instant {
        let timing = self.context().timing;
        let ping_or_timeout = timers
            .unanswered_since
            .map_or(timers.next_ping, |since| timers.next_ping.min(since + timing.pong));

        match self.progress {
            ClientProgress::First { .. } => ping_or_timeout,
            ClientProgress::Second(_) => ping_or_timeout.min(self.last_sent + timing.heartbeat),
        }
    }

    async fn handle_timer(&mut self, timers: &mut PingTimers) -> Result<(), SessionEnd> {
        let now = Instant::now();
        let timing = self.context().timing;

        if timers
            .unanswered_since
            .is_some_and(|since| now >= since + timing.pong)
        {
            Err(SessionEnd::reset(DropReason::PongTimeout))
        } else if now >= timers.next_ping {
            timers.next_ping = now + timing.ping;
            timers.unanswered_since.get_or_insert(now);
            self.send_ping().await
        } else {
            self.send_heartbeat(now).await
        }
    }

    /// Sends what has been published since the client's revision.
    async fn send_updates(&mut self) -> Result<(), SessionEnd> {
        let publication = self.feed.borrow_and_update().clone();
        let batches = match &mut self.progress {
            ClientProgress::First { machines, units } => [
                newer_list(publication.machine_list.as_ref(), machines),
                newer_list(publication.unit_list.as_ref(), units),
            ]
            .into_iter()
            .flatten()
            .collect(),
            ClientProgress::Second(cursor) => cursor.updates(&publication, publication.now())?,
        };

        // A slow client must not keep the whole publication in memory.
        drop(publication);
        self.send(batches).await
    }

    async fn send_heartbeat(&mut self, now: Instant) -> Result<(), SessionEnd> {
        let due = self.last_sent + self.context().timing.heartbeat;

        match &mut self.progress {
            ClientProgress::Second(cursor) if now >= due => {
                let publication = self.feed.borrow().clone();
                let heartbeat = cursor.heartbeat(&publication, publication.now())?;
                drop(publication);
                self.send(heartbeat).await
            }
            _ => Ok(()),
        }
    }

    async fn send(&mut self, batches: Vec<MessageBatch>) -> Result<(), SessionEnd> {
        for batch in batches {
            let progress = self.write_without_waiting(batch.bytes())?;

            let Self { socket, permit, .. } = self;
            if let WriteProgress::Taken(taken) = progress {
                write_in_time(permit.context(), async {
                    // A frame of tungstenite must not come between the parts of this one.
                    if taken == 0 {
                        socket.flush().await?;
                    }
                    let stream = socket.get_mut();
                    stream.write_all(&batch.bytes()[taken..]).await?;
                    Ok(stream.flush().await?)
                })
                .await?;
            }

            let metrics = &permit.context().metrics;
            metrics.sent(batch.messages(), batch.bytes().len());
            self.last_sent = Instant::now();
        }
        Ok(())
    }

    /// Writes what fits into the kernel's buffer. Usually that is all, and no deadline has to be
    /// set.
    fn write_without_waiting(&mut self, bytes: &[u8]) -> Result<WriteProgress, Error> {
        let Some(flushed) = self.socket.flush().now_or_never() else {
            return Ok(WriteProgress::Taken(0));
        };
        flushed?;

        Ok(try_write(self.socket.get_mut().inner_mut(), bytes)?)
    }

    async fn send_ping(&mut self) -> Result<(), SessionEnd> {
        let ping = self.socket.send(Message::Ping(Bytes::new()));
        Ok(write_in_time(self.permit.context(), ping).await?)
    }
}

/// The list, if its revision is newer than `sent`, which is then updated.
fn newer_list(list: Option<&PublishedList>, sent: &mut u64) -> Option<MessageBatch> {
    let list = list.filter(|list| list.revision() > *sent)?;
    *sent = list.revision();
    Some(MessageBatch::new(list.frame().bytes().clone(), 1))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::either::Either;
    use tokio_util::sync::CancellationToken;

    use super::super::context::Protocol;
    use super::super::settings::{ServerSettings, Timing};
    use super::*;
    use crate::feed::{self, Publish, Publisher, SourceInfo};
    use crate::metrics::Metrics;
    use crate::unit_files::UnitFiles;

    #[tokio::test]
    async fn a_session_is_small() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let _client = client.expect("a connection");

        let settings = feed::FeedSettings {
            unit_fields: vec![],
            machine_fields: vec![],
            publish: Publish::Changes,
        };
        let publisher = Publisher::new(settings, "e", SourceInfo::default());
        let settings = ServerSettings {
            max_clients: 1,
            max_connections: 1,
            access: Default::default(),
            journal_port: None,
            links: vec![],
            unit_files: None,
            unit_series: Default::default(),
            tls: None,
        };
        let context = Arc::new(ServerContext::new(
            settings,
            Timing::default(),
            publisher.subscribe(),
            Arc::new(Metrics::new()),
            UnitFiles::channel().0,
            CancellationToken::new(),
        ));

        let permit = context.client_permit(Protocol::First).expect("a permit");
        let stream = Either::Left(Either::Left(accepted.expect("a connection").0));
        let session = Session::new(stream, &[], permit, None).await.expect("room");
        let size = size_of_val(&session.run());
        assert!(size <= 3072, "{size} bytes");
    }
}
