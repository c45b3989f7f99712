//! What the server is configured with: limits, access rules and time limits.
//!
//! All values are parsed and ready to use. This module must not know where they come from, nor how
//! the server applies them.

use std::time::Duration;

use super::access::AccessPolicy;
use super::tls::ServerTls;
use crate::actions::LinkTemplate;
use crate::metrics::UnitSeries;
use crate::unit_files::UnitFileMode;

/// The settings that may change while the server runs.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The largest number of clients at a time: WebSockets and event streams together.
    pub max_clients: usize,
    /// The largest number of connections of all kinds. It leaves open files for the source: see
    /// [`OpenFileLimit::connections`](super::open_files::OpenFileLimit::connections).
    pub max_connections: usize,
    /// Which requests are accepted.
    pub access: AccessPolicy,
    /// The port of systemd-journal-gatewayd on the machines of the cluster, from which the logs of
    /// units are read. `None`: no log is read.
    pub journal_port: Option<u16>,
    /// Links for units and machines.
    pub links: Vec<LinkTemplate>,
    /// How much of unit files clients are shown. `None`: nothing, and the source is never asked.
    pub unit_files: Option<UnitFileMode>,
    /// Which units have metric series of their own.
    pub unit_series: UnitSeries,
    /// TLS for all TCP listeners; `None`: they are plain. Unix sockets never have TLS.
    pub tls: Option<ServerTls>,
}

/// The time limits and intervals of the server. Tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Time limit for the head of a request, measured from the start of the connection or from the
    /// end of the previous response.
    pub handshake: Duration,
    /// How long a plain HTTP connection lives before the server closes it. Event streams and
    /// WebSockets are exempt.
    pub connection: Duration,
    /// Time limit for a client to read a message or a response.
    pub write: Duration,
    /// The interval between two pings.
    pub ping: Duration,
    /// After this time without a message, a client of the second protocol gets a `status` message
    /// as a heartbeat.
    pub heartbeat: Duration,
    /// Time limit for a WebSocket client to answer a ping. Any message counts as an answer.
    pub pong: Duration,
    /// Time limit for the closing handshake of a WebSocket.
    pub close: Duration,
    /// How often the files with the certificate are looked at.
    pub certificate: Duration,
    /// In each window of this length a client may send [`Timing::MAX_BYTES_PER_WINDOW`].
    pub rate_window: Duration,
}

impl Timing {
    /// The rate limit of a client, in bytes for each [`Timing::rate_window`]. A client that only
    /// answers pings stays far below it.
    pub const MAX_BYTES_PER_WINDOW: usize = 64 * 1024;
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            connection: Duration::from_secs(60),
            write: Duration::from_secs(30),
            ping: Duration::from_secs(20),
            heartbeat: Duration::from_secs(15),
            pong: Duration::from_secs(40),
            close: Duration::from_secs(1),
            certificate: Duration::from_secs(10),
            rate_window: Duration::from_secs(10),
        }
    }
}
