//! Watching the end of a process that is not a child of the test.

use std::path::PathBuf;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process that is running, or was.
pub struct Process {
    id: u32,
    /// Readable when it has ended; none if it had before.
    handle: Option<AsyncFd<OwnedFd>>,
}

impl Process {
    pub fn new(id: u32) -> Self {
        let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Self { id, handle: None },
            Err(error) => panic!("process {id}: {error}"),
        };
        #[expect(
            deprecated,
            reason = "the other one is unsafe; the handle is owned, so it outlives its registration"
        )]
        let handle = AsyncFd::with_interest(handle, Interest::READABLE).unwrap();
        Self { id, handle: Some(handle) }
    }

    /// Waits until it has ended.
    pub async fn ended(&self) {
        let Some(handle) = &self.handle else { return };
        let ended = tokio::time::timeout(Duration::from_secs(10), handle.readable()).await;
        let _ = ended
            .unwrap_or_else(|_| panic!("process {} is still running", self.id))
            .unwrap();
    }

    /// Ends it.
    pub async fn kill(&self) {
        kill_process(Pid::from_raw(i32::try_from(self.id).unwrap()).unwrap(), Signal::KILL)
            .unwrap();
        self.ended().await;
    }

    /// Waits until it has ended and its parent, this process, has taken note: no zombie is left.
    pub async fn reaped(&self) {
        self.ended().await;
        let entry = PathBuf::from(format!("/proc/{}", self.id));
        let gone = async {
            while entry.exists() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let reaped = tokio::time::timeout(Duration::from_secs(10), gone).await;
        reaped.unwrap_or_else(|_| panic!("process {} is a zombie", self.id));
    }
}
