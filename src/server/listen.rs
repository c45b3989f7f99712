//! Where the server listens, and how many files it may have open.
//!
//! This module turns an address, or what systemd passed, into [`Listener`]s. It does not accept
//! anything.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use listenfd::ListenFd;
use rustix::io::ioctl_fionbio;
use rustix::net::sockopt::{set_ipv6_v6only, socket_acceptconn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::stream::Listener;

/// How many connections the kernel keeps for us until they are accepted; it may keep fewer
/// (`listen(2)`, `somaxconn`).
const BACKLOG: u32 = 4096;

/// Files besides connections: listeners, the source's pipes and sockets, the journal, the runtime.
/// Where there are few files, half of them.
const RESERVED_FILES: u64 = 100;

/// The fewest files with which there is room for three children of fleetctl at a time, and for some
/// connections.
const LEAST_FILES: u64 = 64;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be used.
    #[error("cannot listen on {address}: {}", reason(.source))]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// systemd passed something that cannot be listened on.
    #[error("file descriptor {descriptor}, which was passed in LISTEN_FDS, {problem}")]
    Passed {
        /// Which one; the first is 3 (`sd_listen_fds(3)`).
        descriptor: RawFd,
        /// Why, and which directive of the socket unit would do.
        problem: io::Error,
    },
}

/// What to do about it, in the words of the options.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "in use; choose another with --port".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "not permitted; choose a --port from 1024 up, or grant CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; choose another with --bind".to_owned()
        }
        _ => error.to_string(),
    }
}

/// The listeners that systemd passed, if it did (`sd_listen_fds(3)`), else one on `address` and
/// `port`. Without an address it is `::` for both families, or `0.0.0.0` where there is no IPv6.
/// Port 0 is any that is free.
///
/// # Errors
///
/// When the address cannot be used, or what systemd passed is no stream socket that listens.
pub fn listen(address: Option<IpAddr>, port: u16) -> Result<Vec<Listener>, ListenError> {
    let passed = passed()?;
    if passed.is_empty() {
        Ok(vec![bind(address, port)?.into()])
    } else {
        Ok(passed)
    }
}

fn passed() -> Result<Vec<Listener>, ListenError> {
    let mut sockets = ListenFd::from_env();
    (0..sockets.len())
        .filter_map(|index| take(&mut sockets, index))
        .collect()
}

/// The socket at an index, of whichever kind it is.
fn take(sockets: &mut ListenFd, index: usize) -> Option<Result<Listener, ListenError>> {
    let (descriptor, listener) = if let Ok(tcp) = sockets.take_tcp_listener(index) {
        let tcp = tcp?;
        (
            tcp.as_raw_fd(),
            prepared(tcp).and_then(TcpListener::from_std).map(Listener::Tcp),
        )
    } else if let Ok(unix) = sockets.take_unix_listener(index) {
        let unix = unix?;
        (
            unix.as_raw_fd(),
            prepared(unix).and_then(UnixListener::from_std).map(Listener::Unix),
        )
    } else {
        let other = io::Error::other(
            "is no stream socket of IPv4, IPv6 or unix; only ListenStream= will do",
        );
        (sockets.take_raw_fd(index).ok()??, Err(other))
    };
    Some(listener.map_err(|problem| ListenError::Passed { descriptor, problem }))
}

/// The socket as tokio wants it, if it is one that connections can be accepted from.
fn prepared<S: AsFd>(socket: S) -> io::Result<S> {
    if !socket_acceptconn(&socket)? {
        return Err(io::Error::other(
            "is no socket that listens; only ListenStream= with Accept=no will do",
        ));
    }
    ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

fn bind(address: Option<IpAddr>, port: u16) -> Result<TcpListener, ListenError> {
    let bind = |address: IpAddr| {
        let address = SocketAddr::new(address, port);
        bind_to(address).map_err(|source| ListenError::Bind { address, source })
    };
    match address {
        Some(address) => bind(address),
        None => match bind(Ipv6Addr::UNSPECIFIED.into()) {
            Err(ListenError::Bind { source, .. }) if is_without_ipv6(&source) => {
                bind(Ipv4Addr::UNSPECIFIED.into())
            }
            result => result,
        },
    }
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        // Whatever net.ipv6.bindv6only says.
        set_ipv6_v6only(&socket, false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether the kernel was built, or told, to have no IPv6.
fn is_without_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// How many files the process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    limit: u64,
}

impl OpenFiles {
    /// Raises the soft limit to the hard one. Where that fails the limit stays, and is told as it
    /// is.
    pub fn raise() -> Self {
        let limit = getrlimit(Resource::Nofile);
        // Refused only where the hard limit has been lowered in the meantime.
        let _ =
            setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        Self {
            limit: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        }
    }

    /// What to do about it, if they are too few to do anything.
    pub fn too_few(self) -> Option<String> {
        (self.limit < LEAST_FILES).then(|| {
            format!(
                "only {} files may be open at a time, and at least {LEAST_FILES} are needed; raise LimitNOFILE= of the \
                 service, or `ulimit -n`",
                self.limit
            )
        })
    }

    /// How many connections that leaves room for.
    pub fn connections(self) -> usize {
        let reserved = RESERVED_FILES.min(self.limit / 2);
        usize::try_from(self.limit - reserved).unwrap_or(usize::MAX)
    }

    /// What is wrong with it, if `max_clients` cannot all be served.
    pub fn shortage(self, max_clients: usize) -> Option<String> {
        (self.connections() < max_clients).then(|| {
            format!("{self}, fewer than --max-clients {max_clients}; raise LimitNOFILE= of the service, or `ulimit -n`")
        })
    }
}

impl fmt::Display for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} open files: room for about {} clients", self.limit, self.connections())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::assert_catalogue;

    #[tokio::test]
    async fn without_an_address_both_families_are_served() {
        let listener = bind(None, 0).expect("a free port");
        let address = listener.local_addr().expect("an address");
        for host in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            if address.is_ipv4() && host.is_ipv6() {
                continue;
            }
            tokio::net::TcpStream::connect((host, address.port()))
                .await
                .expect("a connection");
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_way_out() {
        let first = bind(Some(Ipv4Addr::LOCALHOST.into()), 0).expect("a free port");
        let port = first.local_addr().expect("an address").port();
        let error = bind(Some(Ipv4Addr::LOCALHOST.into()), port).expect_err("in use");
        assert!(
            matches!(&error, ListenError::Bind { address, .. } if address.port() == port),
            "{error:?}"
        );
        assert!(error.to_string().contains("--port"), "{error}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_named_with_the_way_out() {
        let error = bind(Some(Ipv4Addr::new(192, 0, 2, 1).into()), 8989).expect_err("not ours");
        assert!(
            error.to_string().contains("192.0.2.1:8989") && error.to_string().contains("--bind"),
            "{error}"
        );
    }

    #[test]
    fn the_limit_of_open_files_is_told() {
        let files = OpenFiles { limit: 20000 };
        assert!(
            files.to_string().contains("20000") && files.to_string().contains("19900"),
            "{files}"
        );
        assert_eq!(files.shortage(19900), None);
        let shortage = files.shortage(19901).expect("a shortage");
        assert!(
            shortage.contains("19900")
                && shortage.contains("19901")
                && shortage.contains("LimitNOFILE")
        );
        assert_eq!(files.too_few(), None);
    }

    #[test]
    fn few_files_are_shared_and_too_few_are_refused_with_the_number_that_is_needed() {
        assert_eq!(OpenFiles { limit: 64 }.connections(), 32);
        assert_eq!(OpenFiles { limit: 64 }.too_few(), None);
        let refusal = OpenFiles { limit: 63 }.too_few().expect("a refusal");
        assert!(
            refusal.contains("63") && refusal.contains("64") && refusal.contains("LimitNOFILE"),
            "{refusal}"
        );
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        OpenFiles::raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
    #[test]
    fn what_is_wrong_with_addresses_and_open_files_is_told_in_these_words() {
        let bind = |kind: io::ErrorKind| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
            ListenError::Bind { address, source: kind.into() }.to_string()
        };
        let problem =
            prepared(TcpSocket::new_v4().expect("a socket")).expect_err("it does not listen");
        let passed = ListenError::Passed { descriptor: 3, problem };
        let told = [
            ("in use", bind(io::ErrorKind::AddrInUse)),
            ("not permitted", bind(io::ErrorKind::PermissionDenied)),
            ("another machine's address", bind(io::ErrorKind::AddrNotAvailable)),
            ("another problem", bind(io::ErrorKind::OutOfMemory)),
            ("a socket of systemd that does not listen", passed.to_string()),
            ("20000 open files", OpenFiles { limit: 20_000 }.to_string()),
            (
                "too few for all clients",
                OpenFiles { limit: 1024 }.shortage(10_000).expect("a shortage"),
            ),
            ("too few for anything", OpenFiles { limit: 63 }.too_few().expect("a refusal")),
        ];
        assert_catalogue("listening", told);
    }
}
