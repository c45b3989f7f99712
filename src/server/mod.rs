//! From the feed to the sockets: who may connect, what a request gets, and one session for each
//! WebSocket client.
//!
//! Everything here reads publications and nothing else: no client can make the agent ask fleet for
//! anything. Each limit on what a stranger may send, hold or wait for is in [`Timing`],
//! [`ServerSettings`] or next to them.

pub mod access;
mod content;
mod events;
mod http;
pub mod listen;
mod meter;
mod page;
mod query;
mod routes;
mod session;
pub mod stream;
mod upgrade;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::feed::Subscriber;
use crate::feed::channel::Channels;
use crate::metrics::{Dropped, Metrics};
use access::Policy;
use routes::ResponseCaches;
use stream::{Listener, Stream};

/// How many connections there may be besides the clients: HTTP requests and handshakes. Never more
/// than half of all, so that clients have room.
const SPARE_CONNECTIONS: usize = 1024;

/// What may change while the server runs.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// How many clients there may be: WebSockets and event streams.
    pub max_clients: usize,
    /// How many connections of all kinds there may be, so that files are left for the source: see
    /// [`listen::OpenFiles::connections`].
    pub max_connections: usize,
    /// Who may look.
    pub access: Policy,
    /// Globs of the units that have a series of their own in the metrics.
    pub metrics_units: Vec<String>,
}

/// How long the server waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// For the head of a request, and for the next request on the same connection.
    pub handshake: Duration,
    /// How long a connection that is no WebSocket is kept before it is asked to come again.
    pub connection: Duration,
    /// How long a client may take to take a message or an answer.
    pub write: Duration,
    /// The time between pings.
    pub ping: Duration,
    /// How long a client of the second protocol is told nothing.
    pub heartbeat: Duration,
    /// How long a WebSocket client may take to answer a ping, by whatever.
    pub answer: Duration,
    /// The time for a WebSocket client to take its leave.
    pub close: Duration,
    /// In this time a WebSocket client may send [`Timing::FLOOD`] bytes.
    pub flood: Duration,
}

impl Timing {
    /// How many bytes a WebSocket client may send in [`Timing::flood`]: far more than any that
    /// answers pings.
    pub const FLOOD: usize = 64 * 1024;
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            connection: Duration::from_secs(60),
            write: Duration::from_secs(30),
            ping: Duration::from_secs(20),
            heartbeat: Duration::from_secs(15),
            answer: Duration::from_secs(40),
            close: Duration::from_secs(1),
            flood: Duration::from_secs(10),
        }
    }
}

/// The server. Clones share all.
#[derive(Clone, Debug)]
pub struct Server(Arc<Shared>);

/// What all connections share.
#[derive(Debug)]
struct Shared {
    settings: watch::Sender<Arc<ServerSettings>>,
    timing: Timing,
    feed: Subscriber,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    tasks: TaskTracker,
    clients: AtomicUsize,
    told: ResponseCaches,
    channels: Channels,
}

impl Server {
    /// A server of what `feed` has, until `stop` is cancelled.
    pub fn new(
        settings: ServerSettings,
        timing: Timing,
        feed: Subscriber,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            settings: watch::Sender::new(Arc::new(settings)),
            timing,
            feed,
            metrics,
            stop,
            tasks: TaskTracker::new(),
            clients: AtomicUsize::new(0),
            told: ResponseCaches::default(),
            channels: Channels::default(),
        }))
    }

    /// Takes other settings into use. Who is connected stays connected.
    pub fn set(&self, settings: ServerSettings) {
        self.0.settings.send_replace(Arc::new(settings));
    }

    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.0.clients()
    }

    /// Accepts connections until the server is stopped. No error ends it: what cannot be accepted
    /// now, such as when the open files have run out, can be later. Several listeners may be served
    /// at once.
    pub async fn serve(&self, listener: impl Into<Listener>) {
        let listener = listener.into();
        let mut trouble = Trouble::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.0.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(stream) => self.0.clone().admit(stream),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    let pause = trouble.with(&error, Instant::now());
                    tokio::select! {
                        () = self.0.stop.cancelled() => return,
                        () = sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// Waits until all connections are closed, at most `deadline`, and returns how many are left.
    /// To be called after the server was told to stop.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.0.tasks.close();
        // At the deadline the number of those that are left says enough.
        let _ = timeout(deadline, self.0.tasks.wait()).await;
        self.0.tasks.len()
    }
}

impl Shared {
    fn settings(&self) -> Arc<ServerSettings> {
        self.settings.borrow().clone()
    }

    fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    fn admit(self: Arc<Self>, stream: Stream) {
        // Each connection is one task, but for the moment in which it becomes a client.
        let connections = self.tasks.len();
        let others = connections.saturating_sub(self.clients());
        let max = self.settings.borrow().max_connections;
        if connections >= max || others >= SPARE_CONNECTIONS.min(max / 2) {
            self.metrics.client_dropped(Dropped::OverBudget);
            return;
        }
        self.tasks.clone().spawn(http::serve(self, stream));
    }

    /// A place for one more client, if there is one.
    fn seat(self: &Arc<Self>) -> Option<ClientPermit> {
        let max = self.settings.borrow().max_clients;
        self.clients
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |clients| {
                (clients < max).then_some(clients + 1)
            })
            .ok()
            .map(|_| ClientPermit(self.clone()))
    }
}

/// A client's place among the clients; free again when dropped.
#[derive(Debug)]
struct ClientPermit(Arc<Shared>);

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether an error of accept(2) says only that this one connection has gone in the meantime.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// A window of errors from accept(2).
#[derive(Debug, Default)]
struct Trouble {
    last: Option<Instant>,
    pause: Duration,
}

impl Trouble {
    const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);
    /// After this time without an error, another one begins a new window.
    const OVER: Duration = Duration::from_secs(10);

    /// Says so once in a window, and returns how long to wait before accepting again.
    fn with(&mut self, error: &io::Error, now: Instant) -> Duration {
        if self.last.is_none_or(|last| now - last > Self::OVER) {
            warn!(
                "no connection can be accepted at the moment: {error}; trying again until it works"
            );
            self.pause = Self::SHORTEST_PAUSE;
        } else {
            self.pause = (self.pause * 2).min(Self::LONGEST_PAUSE);
        }
        self.last = Some(now);
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_during_a_spell_and_begins_anew_after_it() {
        let error = io::Error::other("too many open files");
        let start = Instant::now();
        let mut trouble = Trouble::default();
        let mut pause_at =
            |seconds| trouble.with(&error, start + Duration::from_secs(seconds)).as_millis();
        assert_eq!([0; 7].map(&mut pause_at), [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(pause_at(9), 1000);
        assert_eq!(pause_at(20), 50);
    }

    #[test]
    fn a_client_that_has_gone_is_no_trouble() {
        let error = |number| io::Error::from_raw_os_error(number);
        let (aborted, too_many, no_buffers) = (103, 24, 105);
        assert!(concerns_one_connection(&error(aborted)));
        assert!(!concerns_one_connection(&error(too_many)));
        assert!(!concerns_one_connection(&error(no_buffers)));
    }
}
