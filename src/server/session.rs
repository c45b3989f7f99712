//! One WebSocket client, from the handshake to its end.
//!
//! A session is one task that owns the unsplit stream. Ready frames go straight to the stream
//! beneath tungstenite, after what tungstenite has under way was flushed: so a payload is never
//! copied for one client. Of what a client was sent the session remembers a number or two.
//!
//! It knows the feed and the socket. It does not know HTTP, nor why the client was let in.

use std::io::ErrorKind;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::meter::{RateLimitExceeded, RateLimited};
use super::query::SubscriptionRequest;
use super::stream::{Stream, reset, try_write};
use super::{ClientPermit, Shared};
use crate::cluster::Moment;
use crate::feed::channel::{ChannelCursor, MessageBatch, OverBudget};
use crate::feed::{PublishedList, Subscriber};
use crate::metrics::Dropped;

/// The most that a client may send in one message, in bytes.
const MAX_MESSAGE: usize = 4096;

/// Clients send next to nothing.
const READ_BUFFER: usize = 512;

/// Space for a few pongs and a close frame, which have 125 bytes of payload at most (RFC 6455,
/// section 5.5).
const MAX_WRITE_BUFFER: usize = 512;

/// A connected client.
#[derive(Debug)]
pub(super) struct Session {
    socket: WebSocketStream<RateLimited>,
    feed: Subscriber,
    seat: ClientPermit,
    protocol: Protocol,
    /// What the client gets first.
    greeting: Vec<MessageBatch>,
    /// When the client was last sent something.
    spoke: Instant,
}

/// What the client was sent last.
#[derive(Debug)]
enum Protocol {
    /// The revisions of the lists.
    First {
        machines: u64,
        units: u64,
    },
    Second(ChannelCursor),
}

/// Why a session ends, and what the client is told if it still listens.
#[derive(Debug)]
pub(super) struct End {
    pub(super) reason: Dropped,
    farewell: CloseAction,
}

#[derive(Debug)]
enum CloseAction {
    /// The connection is cut: the client is not there, or in the middle of a frame.
    Cut,
    /// The client's own close frame is answered.
    Answer,
    /// The client is told why.
    Close(CloseCode, &'static str),
}

impl End {
    fn cut(reason: Dropped) -> Self {
        Self { reason, farewell: CloseAction::Cut }
    }

    fn close(reason: Dropped, code: CloseCode, text: &'static str) -> Self {
        Self { reason, farewell: CloseAction::Close(code, text) }
    }

    fn flood() -> Self {
        Self::close(Dropped::RateLimitExceeded, CloseCode::Policy, "too much in too short a time")
    }

    fn shutdown() -> Self {
        Self::close(Dropped::Shutdown, CloseCode::Away, "the server is being stopped")
    }
}

impl From<OverBudget> for End {
    fn from(_: OverBudget) -> Self {
        Self::close(
            Dropped::OverBudget,
            CloseCode::Again,
            "too much is asked for with different filters",
        )
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Self::close(
                Dropped::Oversized,
                CloseCode::Size,
                "messages may have 4096 bytes at most",
            ),
            // The queue of answers to pings is full: the client sends them and does not read.
            Error::WriteBufferFull(_) => Self::cut(Dropped::Slow),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::cut(Dropped::Closed)
            }
            Error::Protocol(_) => {
                Self::close(Dropped::Protocol, CloseCode::Protocol, "not a WebSocket frame")
            }
            Error::Utf8(_) => {
                Self::close(Dropped::Protocol, CloseCode::Invalid, "text that is not UTF-8")
            }
            Error::Io(error) if RateLimitExceeded::is(&error) => Self::flood(),
            _ => Self::cut(Dropped::Closed),
        }
    }
}

impl Session {
    /// A session on a stream whose handshake is done. `leftover` is what was read of it after the
    /// handshake; it is copied, as the buffer behind it would otherwise stay for as long as the
    /// session.
    pub(super) async fn new(
        stream: Stream,
        leftover: &[u8],
        seat: ClientPermit,
        wish: Option<SubscriptionRequest>,
    ) -> Result<Self, OverBudget> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let stream = RateLimited::new(stream, seat.0.timing.flood);
        let socket = WebSocketStream::from_partially_read(
            stream,
            leftover.to_vec(),
            Role::Server,
            Some(config),
        )
        .await;
        let mut feed = seat.0.feed.clone();
        let (protocol, greeting) = match wish {
            None => {
                feed.mark_changed();
                (Protocol::First { machines: 0, units: 0 }, vec![])
            }
            Some(SubscriptionRequest { channel, position }) => {
                let publication = feed.borrow_and_update().clone();
                let (follower, greeting) =
                    ChannelCursor::begin(channel, position.as_ref(), &publication, Moment::now())?;
                (Protocol::Second(follower), greeting)
            }
        };
        Ok(Self {
            socket,
            feed,
            seat,
            protocol,
            greeting,
            spoke: Instant::now(),
        })
    }

    /// Serves the client until one side ends it.
    pub(super) async fn run(mut self) {
        let end = self.converse().await;
        self.shared().metrics.client_dropped(end.reason);
        // A client that does not take its leave in time is cut off like one that takes none.
        let _ = timeout(self.shared().timing.close, close(&mut self.socket, end.farewell)).await;
    }

    fn shared(&self) -> &Shared {
        &self.seat.0
    }

    async fn converse(&mut self) -> End {
        let timing = self.shared().timing;
        let mut next_ping = Instant::now() + timing.ping;
        // The first ping that was not answered, by whatever.
        let mut pinged: Option<Instant> = None;
        let stop = self.shared().stop.clone();
        let mut stop = std::pin::pin!(stop.cancelled());
        let mut alarm = std::pin::pin!(sleep_until(self.alarm(next_ping, pinged)));
        let greeting = std::mem::take(&mut self.greeting);
        if let Err(end) = self.send(greeting).await {
            return end;
        }
        loop {
            let done = tokio::select! {
                biased;
                // First, so that for what happens most by far nothing else is looked at.
                changed = self.feed.changed() => match changed {
                    Ok(()) => self.send_news().await,
                    Err(_) => Err(End::shutdown()),
                },
                () = &mut stop => Err(End::shutdown()),
                message = self.socket.next() => {
                    pinged = None;
                    match message {
                        None => Err(End::cut(Dropped::Closed)),
                        Some(Ok(Message::Close(_))) => Err(End { reason: Dropped::Closed, farewell: CloseAction::Answer }),
                        Some(Ok(_)) if self.socket.get_mut().message() => Ok(()),
                        Some(Ok(_)) => Err(End::flood()),
                        Some(Err(error)) => Err(error.into()),
                    }
                }
                () = &mut alarm => {
                    let now = Instant::now();
                    let done = if pinged.is_some_and(|pinged| now >= pinged + timing.answer) {
                        Err(End::cut(Dropped::Silent))
                    } else if now >= next_ping {
                        next_ping = now + timing.ping;
                        pinged.get_or_insert(now);
                        self.ping().await
                    } else {
                        self.send_heartbeat(now).await
                    };
                    alarm.as_mut().reset(self.alarm(next_ping, pinged));
                    done
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// The next timer: ping, pong timeout or heartbeat.
    fn alarm(&self, next_ping: Instant, pinged: Option<Instant>) -> Instant {
        let timing = self.shared().timing;
        let alarm = pinged.map_or(next_ping, |pinged| next_ping.min(pinged + timing.answer));
        match self.protocol {
            Protocol::First { .. } => alarm,
            Protocol::Second(_) => alarm.min(self.spoke + timing.heartbeat),
        }
    }

    /// Sends what is new to the client.
    async fn send_news(&mut self) -> Result<(), End> {
        let publication = self.feed.borrow_and_update().clone();
        let news = match &mut self.protocol {
            Protocol::First { machines, units } => [
                newer(publication.machine_list.as_ref(), machines),
                newer(publication.unit_list.as_ref(), units),
            ]
            .into_iter()
            .flatten()
            .collect(),
            Protocol::Second(follower) => follower.updates(&publication, Moment::now())?,
        };
        drop(publication);
        self.send(news).await
    }

    async fn send_heartbeat(&mut self, now: Instant) -> Result<(), End> {
        match &self.protocol {
            Protocol::Second(follower) if now >= self.spoke + self.shared().timing.heartbeat => {
                let status = follower.status(&self.feed.borrow(), Moment::now());
                self.send(vec![status]).await
            }
            _ => Ok(()),
        }
    }

    async fn send(&mut self, batches: Vec<MessageBatch>) -> Result<(), End> {
        for batch in batches {
            let written = self.write_at_once(batch.bytes())?;
            let Self { socket, seat, .. } = self;
            if written < batch.bytes().len() {
                under_deadline(&seat.0, async {
                    // Nothing may come between the parts of a frame.
                    if written == 0 {
                        socket.flush().await?;
                    }
                    Ok(socket.get_mut().write_all(&batch.bytes()[written..]).await?)
                })
                .await?;
            }
            seat.0.metrics.sent(batch.messages(), batch.bytes().len());
            self.spoke = Instant::now();
        }
        Ok(())
    }

    /// Writes what the kernel takes at once, which mostly is all: then there is no deadline to set.
    fn write_at_once(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let Some(flushed) = self.socket.flush().now_or_never() else {
            return Ok(0);
        };
        flushed?;
        match try_write(self.socket.get_ref().unmetered(), bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            written => Ok(written?),
        }
    }

    async fn ping(&mut self) -> Result<(), End> {
        under_deadline(&self.seat.0, self.socket.send(Message::Ping(Bytes::new()))).await
    }
}

/// The list, if it is newer than the one with the revision `sent`.
fn newer(list: Option<&PublishedList>, sent: &mut u64) -> Option<MessageBatch> {
    let list = list.filter(|list| list.revision() > *sent)?;
    *sent = list.revision();
    Some(MessageBatch::new(list.frame().bytes().clone(), 1))
}

/// Writes, unless the client takes too long: for all, or for the little time that is left when the
/// server is being stopped. Either leaves a frame cut in two, after which nothing more can be said.
pub(super) async fn under_deadline(
    shared: &Shared,
    write: impl Future<Output = Result<(), Error>>,
) -> Result<(), End> {
    let mut write = std::pin::pin!(write);
    tokio::select! {
        biased;
        result = &mut write => return result.map_err(End::from),
        () = shared.stop.cancelled() => {}
        () = sleep(shared.timing.write) => return Err(End::cut(Dropped::Slow)),
    }
    match timeout(shared.timing.close, write).await {
        Ok(result) => result.map_err(End::from).and(Err(End::shutdown())),
        Err(_) => Err(End::cut(Dropped::Shutdown)),
    }
}

/// Says farewell, and waits until the client has gone: closing a socket that has unread data resets
/// the connection, and the client might not see the close frame (RFC 9293, section 3.10.4; RFC
/// 6455, section 7.1.1).
async fn close(
    socket: &mut WebSocketStream<RateLimited>,
    farewell: CloseAction,
) -> Result<(), Error> {
    match farewell {
        CloseAction::Cut => Ok(reset(socket.get_ref().unmetered())?),
        CloseAction::Answer => socket.flush().await,
        CloseAction::Close(code, reason) => {
            socket.close(Some(CloseFrame { code, reason: reason.into() })).await?;
            let stream = socket.get_mut().unmetered_mut();
            stream.shutdown().await?;
            let mut ignored = [0; 256];
            while stream.read(&mut ignored).await? > 0 {}
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::either::Either;
    use tokio_util::sync::CancellationToken;

    use super::super::{Server, ServerSettings, Timing};
    use super::*;
    use crate::feed::{self, Publish, Publisher, SourceInfo};
    use crate::metrics::Metrics;
    use crate::snapshots::assert_catalogue;

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
            metrics_units: vec![],
        };
        let metrics = Arc::new(Metrics::new());
        let stop = CancellationToken::new();
        let server = Server::new(settings, Timing::default(), publisher.subscribe(), metrics, stop);
        let seat = server.0.seat().expect("a seat");
        let stream = Either::Left(accepted.expect("a connection").0);
        let session = Session::new(stream, &[], seat, None).await.expect("room");
        let size = size_of_val(&session.run());
        assert!(size <= 3072, "{size} bytes");
    }
    #[test]
    fn clients_that_are_closed_are_told_why_in_these_words() {
        let too_long =
            Error::Capacity(CapacityError::MessageTooLong { size: 5000, max_size: 4096 });
        let ends = [
            End::flood(),
            End::shutdown(),
            OverBudget.into(),
            too_long.into(),
            Error::Protocol(ProtocolError::InvalidOpcode(3)).into(),
            Error::Utf8(String::new()).into(),
        ];
        let told = ends.map(|end| match end.farewell {
            CloseAction::Close(code, text) => (format!("{}: {code}", end.reason.name()), text),
            other => panic!("{other:?}"),
        });
        let refusal = ("crowded: 503".to_owned(), OverBudget.to_string());
        assert_catalogue(
            "closes",
            told.map(|(given, text)| (given, text.to_owned()))
                .into_iter()
                .chain([refusal]),
        );
    }
}
