//! The errors of fleet's API, with messages that say what to do. It knows nothing of connections.

use std::io;
use std::path::PathBuf;

use hyper::StatusCode;

use super::address::{Address, file_kind};
use super::{MAX_LIST_BYTES, MAX_PAGES, MAX_READS};

/// Why fleet's API could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The unix socket does not exist.
    #[error(
        "there is no socket {}: start it with 'systemctl start fleet.socket', or name another with \
         --api",
        .0.display()
    )]
    NoSocket(PathBuf),
    /// A directory or a file is where the unix socket should be.
    #[error(
        "{} is {}, not a socket: docker creates a directory for a volume that does not exist; \
         remove it, start fleet.socket, and then the container",
        path.display(), file_kind(path)
    )]
    NotASocket {
        /// The path of `--api`.
        path: PathBuf,
    },
    /// This process may not connect to the unix socket.
    #[error("no permission to use {}: run as a user of the group fleet", .0.display())]
    PermissionDenied(PathBuf),
    /// The host, or the unix socket, refuses the connection.
    #[error(
        "{0} refuses the connection: nothing listens there; see 'systemctl status fleet.socket \
         fleet.service'"
    )]
    Refused(Address),
    /// A connection is not possible for another reason.
    #[error("cannot connect to {0}: {1}")]
    Unreachable(Address, #[source] io::Error),
    /// The connection was closed without a response. fleetd does that while it starts, and when a
    /// request crashes it.
    #[error(
        "{0} closed the connection without an answer: is fleetd being restarted? See 'journalctl \
         -u fleet'"
    )]
    NoAnswer(Address),
    /// The connection was closed in the middle of a response.
    #[error("{0} closed the connection in the middle of an answer: {1}")]
    BrokenOff(Address, #[source] hyper::Error),
    /// fleetd responds, but has no registry: 503, or 500 without a message. It responds with 503
    /// also while it starts or stops, up to 90 s, with a healthy etcd (fleet v1.0.0).
    #[error(
        "fleet at {address} cannot reach etcd (HTTP {}): fleetd is being started or stopped, or \
         etcd is down; see 'systemctl status fleet', and etcd's health if that lasts",
        .status.as_u16()
    )]
    NoEtcd {
        /// The address of fleetd.
        address: Address,
        /// The HTTP status: 500 or 503.
        status: StatusCode,
    },
    /// A status other than 200 for which there is no variant of its own.
    #[error(
        "{address}{path} answers HTTP {status}{}",
        message.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
    )]
    Status {
        /// The address of fleetd.
        address: Address,
        /// The path that was requested.
        path: String,
        /// Any status but 200.
        status: StatusCode,
        /// fleet's message. `None` if it has none.
        message: Option<String>,
    },
    /// The response is not HTTP.
    #[error("what listens at {0} does not speak HTTP ({1}): is it fleet's API?")]
    NotHttp(Address, #[source] hyper::Error),
    /// The body of the response for this path is not JSON.
    #[error("{0}{1} answers with something other than JSON: is it fleet's API?")]
    NotJson(Address, String),
    /// The response is not one of fleet's API, with the reason.
    #[error("what listens at {0} is not fleet's API: {1}")]
    NotFleet(Address, String),
    /// The list at this path has more bytes than any real one.
    #[error("the list {0}{1} is larger than {limit} MiB: gave up", limit = MAX_LIST_BYTES >> 20)]
    TooLarge(Address, String),
    /// The list at this path has more pages than any real one.
    #[error("the list {0}{1} has more than {MAX_PAGES} pages: gave up")]
    TooManyPages(Address, String),
    /// The list at this path changed each time while its pages were read, so that rows may be
    /// missing.
    #[error(
        "the list {0}{1} kept changing between its pages, {MAX_READS} times: it will be read again"
    )]
    Inconsistent(Address, String),
}
