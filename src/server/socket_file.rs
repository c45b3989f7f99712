//! Unix sockets with a path: they are created without replacing anything that is in use, and
//! removed when nobody listens on them any more.
//!
//! This module must not know where the path comes from.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::net::{UnixListener, UnixSocket};

/// Who may connect: the user and the group of this process, whatever its umask is. `connect(2)` on
/// a unix socket needs the permission to write.
const MODE: u32 = 0o660;

/// How long another program may hold the lock of the directory.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between two attempts to get that lock.
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// Why a unix socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum SocketFileError {
    /// A process listens on the socket.
    #[error("in use; another process listens there")]
    InUse,
    /// Something else than a socket has this path. It is never removed.
    #[error(
        "a file is there that is not a socket; remove it, or choose another path with --listen"
    )]
    NotASocket,
    /// The directory of the socket does not exist.
    #[error(
        "there is no directory {}; create it, or choose another path with --listen",
        .0.display()
    )]
    NoDirectory(PathBuf),
    /// Another process holds a lock of the directory, as this program does while it creates a
    /// socket.
    #[error("another process keeps the directory {} locked", .0.display())]
    Locked(PathBuf),
    /// This user must not create the socket, or must not connect to the one that is there.
    #[error(
        "not permitted; choose a path in a directory of the monitor's user with --listen, such as \
         the service's /run/fleet-monitor"
    )]
    NotPermitted,
    /// Any other error of the operating system.
    #[error("{0}")]
    System(io::Error),
}

impl From<io::Error> for SocketFileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::NotPermitted,
            _ => Self::System(error),
        }
    }
}

/// The file of a unix socket. It is removed when this value is dropped, unless another process has
/// replaced it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // If this fails, the next start replaces the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Listens on a path. A socket on which nobody listens is replaced: a process that was killed has
/// left it behind. `backlog` is the number of connections that may wait to be accepted.
pub(super) fn bind(
    path: &Path,
    backlog: u32,
) -> Result<(SocketFile, UnixListener), SocketFileError> {
    // Of two processes that start at the same time, the second would otherwise replace the socket
    // of the first, before that listens.
    let _lock = lock_directory(path)?;
    remove_stale(path)?;

    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile::new(path)?;

    // Until the socket listens, every connection is refused. So nobody connects before the
    // permissions are right.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    let listener = socket.listen(backlog)?;
    Ok((file, listener))
}

/// Locks the directory of a path until the returned file is closed.
fn lock_directory(path: &Path) -> Result<File, SocketFileError> {
    let directory = path.parent().unwrap_or(path);
    let file = File::open(directory).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            SocketFileError::NoDirectory(directory.to_owned())
        }
        _ => error.into(),
    })?;

    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => sleep(LOCK_RETRY),
            Err(Errno::WOULDBLOCK) => return Err(SocketFileError::Locked(directory.to_owned())),
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

/// Removes a socket on which nobody listens.
fn remove_stale(path: &Path) -> Result<(), SocketFileError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };

    if !metadata.file_type().is_socket() {
        return Err(SocketFileError::NotASocket);
    }
    if is_in_use(path)? {
        return Err(SocketFileError::InUse);
    }
    Ok(fs::remove_file(path)?)
}

/// Whether a process has this socket open.
fn is_in_use(path: &Path) -> Result<bool, SocketFileError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let attempt = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .and_then(|socket| connect(&socket, &SocketAddrUnix::new(path)?));

    match attempt {
        Err(Errno::CONNREFUSED) => Ok(false),
        // A full queue of connections, or a socket of datagrams.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Ok(true),
        Err(error) => Err(io::Error::from(error).into()),
    }
}
