//! Waits for the end of a process that is not a child of the test.

use std::path::PathBuf;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process that is running, or has ended.
pub struct Process {
    id: u32,
    /// Readable once the process has ended. `None` if it had ended before.
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
        let Some(handle) = &self.handle else {
            return;
        };

        let ended = tokio::time::timeout(Duration::from_secs(10), handle.readable()).await;
        let _ = ended
            .unwrap_or_else(|_| panic!("process {} is still running", self.id))
            .unwrap();
    }

    /// Kills it, and waits until it has ended.
    pub async fn kill(&self) {
        let pid = Pid::from_raw(i32::try_from(self.id).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        self.ended().await;
    }

    /// Waits until it has ended and its parent has reaped it, so that no zombie is left.
    pub async fn reaped(&self) {
        self.ended().await;
        let entry = PathBuf::from(format!("/proc/{}", self.id));
        let is_gone = async {
            while entry.exists() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };

        let reaped = tokio::time::timeout(Duration::from_secs(10), is_gone).await;
        reaped.unwrap_or_else(|_| panic!("process {} is a zombie", self.id));
    }
}
