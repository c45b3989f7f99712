//! Where the server listens: an address, or the sockets that systemd passed, and what `--listen`
//! adds.
//!
//! This module must not know what is accepted on a listener.

mod address;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;

use listenfd::ListenFd;
use rustix::io::ioctl_fionbio;
use rustix::net::sockopt::{set_ipv6_v6only, socket_acceptconn};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::socket_file::{self, SocketFileError};
use super::stream::ServerListener;
pub use address::{ListenAddress, ListenAddressError};

/// How many connections may wait in the kernel to be accepted. The kernel may allow fewer
/// (`listen(2)`, `somaxconn`).
const BACKLOG: u32 = 4096;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be used.
    #[error("cannot listen on {address}: {}", advice(.source, *.set_by))]
    Bind {
        /// The address of `--bind`, or all addresses; or one of `--listen`.
        address: SocketAddr,
        /// The options that set it.
        set_by: AddressOptions,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A unix socket of `--listen` cannot be used.
    #[error("cannot listen on unix://{}: {problem}", path.display())]
    Unix {
        /// Its path.
        path: PathBuf,
        /// What prevents it.
        problem: SocketFileError,
    },
    /// A file descriptor that systemd passed cannot be listened on.
    #[error("file descriptor {descriptor}, which was passed in LISTEN_FDS, {problem}")]
    Passed {
        /// Counted from 3 (`sd_listen_fds(3)`).
        descriptor: RawFd,
        /// What is wrong, and which directive of the socket unit is right.
        problem: io::Error,
    },
}

/// The options that set an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressOptions {
    /// `--bind` and `--port`.
    BindAndPort,
    /// `--listen`.
    Listen,
}

/// The error, with the option that helps.
fn advice(error: &io::Error, set_by: AddressOptions) -> String {
    let (address, port) = match set_by {
        AddressOptions::BindAndPort => ("--bind", "--port"),
        AddressOptions::Listen => ("--listen", "--listen"),
    };

    match error.kind() {
        io::ErrorKind::AddrInUse => format!("in use; choose another port with {port}"),
        io::ErrorKind::PermissionDenied => format!(
            "not permitted; choose a port from 1024 up with {port}, or grant CAP_NET_BIND_SERVICE"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address; choose another with {address}")
        }
        _ => error.to_string(),
    }
}

/// The listeners that systemd passed (`sd_listen_fds(3)`), or else one on `address` and `port`; and
/// one on each of `others`. Without an address it is `::` for both families, or `0.0.0.0` if there
/// is no IPv6. For port 0 the kernel chooses a free one.
///
/// # Errors
///
/// When an address cannot be used, or a passed file descriptor is not a listening stream socket.
pub fn listen(
    address: Option<IpAddr>,
    port: u16,
    others: &[ListenAddress],
) -> Result<Vec<ServerListener>, ListenError> {
    let mut listeners = passed_listeners()?;
    if listeners.is_empty() {
        listeners.push(bind(address, port)?.into());
    }

    for other in others {
        listeners.push(listen_on(other)?);
    }
    Ok(listeners)
}

/// A listener on an address of `--listen`.
fn listen_on(address: &ListenAddress) -> Result<ServerListener, ListenError> {
    match address {
        ListenAddress::Tcp(address) => {
            let listener = bind_to(*address).map_err(|source| ListenError::Bind {
                address: *address,
                set_by: AddressOptions::Listen,
                source,
            })?;
            Ok(listener.into())
        }
        ListenAddress::Unix(path) => {
            let (file, listener) = socket_file::bind(path, BACKLOG)
                .map_err(|problem| ListenError::Unix { path: path.clone(), problem })?;
            Ok(ServerListener::Unix { file: Some(file), listener })
        }
    }
}

fn passed_listeners() -> Result<Vec<ServerListener>, ListenError> {
    let mut sockets = ListenFd::from_env();
    (0..sockets.len())
        .filter_map(|index| passed_listener(&mut sockets, index))
        .collect()
}

/// The passed socket at an index, TCP or unix.
fn passed_listener(
    sockets: &mut ListenFd,
    index: usize,
) -> Option<Result<ServerListener, ListenError>> {
    let (descriptor, listener) = if let Ok(tcp) = sockets.take_tcp_listener(index) {
        let tcp = tcp?;
        (
            tcp.as_raw_fd(),
            prepare(tcp).and_then(TcpListener::from_std).map(ServerListener::Tcp),
        )
    } else if let Ok(unix) = sockets.take_unix_listener(index) {
        let unix = unix?;
        (
            unix.as_raw_fd(),
            prepare(unix)
                .and_then(UnixListener::from_std)
                .map(|listener| ServerListener::Unix { file: None, listener }),
        )
    } else {
        let other = io::Error::other(
            "is no stream socket of IPv4, IPv6 or unix; only ListenStream= will do",
        );
        (sockets.take_raw_fd(index).ok()??, Err(other))
    };

    Some(listener.map_err(|problem| ListenError::Passed { descriptor, problem }))
}

/// Checks that a socket is listening, and makes it non-blocking for tokio.
fn prepare<S: AsFd>(socket: S) -> io::Result<S> {
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
        bind_to(address).map_err(|source| ListenError::Bind {
            address,
            set_by: AddressOptions::BindAndPort,
            source,
        })
    };

    match address {
        Some(address) => bind(address),
        None => match bind(Ipv6Addr::UNSPECIFIED.into()) {
            Err(ListenError::Bind { source, .. }) if has_no_ipv6(&source) => {
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
        // Both families, whatever net.ipv6.bindv6only is set to.
        set_ipv6_v6only(&socket, false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether an error says that IPv6 is not compiled into the kernel, or switched off.
fn has_no_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
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
    async fn the_error_for_a_port_in_use_names_the_option_that_helps() {
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
    async fn the_error_for_an_address_of_another_machine_names_the_option_that_helps() {
        let other = Ipv4Addr::new(192, 0, 2, 1);
        let error = bind(Some(other.into()), 8989).expect_err("the address of another machine");
        assert!(
            error.to_string().contains("192.0.2.1:8989") && error.to_string().contains("--bind"),
            "{error}"
        );
    }

    #[test]
    fn errors_of_listening_have_these_words() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let bind = |kind: io::ErrorKind| {
            let set_by = AddressOptions::BindAndPort;
            ListenError::Bind { address, set_by, source: kind.into() }.to_string()
        };
        let listen = |kind: io::ErrorKind| {
            let set_by = AddressOptions::Listen;
            ListenError::Bind { address, set_by, source: kind.into() }.to_string()
        };
        let unix = |problem: SocketFileError| {
            ListenError::Unix { path: "/run/a.sock".into(), problem }.to_string()
        };
        let problem =
            prepare(TcpSocket::new_v4().expect("a socket")).expect_err("it does not listen");
        let passed = ListenError::Passed { descriptor: 3, problem };

        let texts = [
            ("in use", bind(io::ErrorKind::AddrInUse)),
            ("not permitted", bind(io::ErrorKind::PermissionDenied)),
            ("another machine's address", bind(io::ErrorKind::AddrNotAvailable)),
            ("another problem", bind(io::ErrorKind::OutOfMemory)),
            ("in use, of --listen", listen(io::ErrorKind::AddrInUse)),
            ("not permitted, of --listen", listen(io::ErrorKind::PermissionDenied)),
            (
                "another machine's address, of --listen",
                listen(io::ErrorKind::AddrNotAvailable),
            ),
            ("a unix socket in use", unix(SocketFileError::InUse)),
            ("a file in the place of a unix socket", unix(SocketFileError::NotASocket)),
            ("no directory for it", unix(SocketFileError::NoDirectory("/run".into()))),
            ("a directory that stays locked", unix(SocketFileError::Locked("/run".into()))),
            (
                "no permission for it",
                unix(io::Error::from(io::ErrorKind::PermissionDenied).into()),
            ),
            ("a socket of systemd that does not listen", passed.to_string()),
        ];
        assert_catalogue("listening", texts);
    }
}
