//! Runs a command once and reads what it says: without a shell, without input, and with an end.
//!
//! The child leads a process group of its own. Whatever happens (the child ends, talks too much, or the caller drops the
//! future), that group is killed, so that neither the child nor one of its children outlives the call; tokio reaps the
//! child. This module does not know which command it is.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// How much a child may print, in bytes.
pub const LIMIT: usize = 64 * 1024 * 1024;

/// How much of its standard error is kept, in bytes: the end.
const TAIL: usize = 4 * 1024;

/// What systemd tells a service about itself, which must not be taken for a message to the child (`sd_notify(3)`,
/// `sd_watchdog_enabled(3)`, `sd_listen_fds(3)`).
const NOT_INHERITED: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// What a child said until it ended.
pub struct Answer {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: String,
}

/// Why there is no answer.
pub enum ChildError {
    /// It could not be started.
    Spawn(io::Error),
    /// It printed more than [`LIMIT`].
    TooMuch,
    /// It could not be read or waited for.
    Read(io::Error),
}

/// Runs the program to its end.
pub async fn run(program: &Path, arguments: &[String]) -> Result<Answer, ChildError> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(ChildError::Spawn)?;
    let mut group = Group::of(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = async {
        let status = child.wait().await.map_err(ChildError::Read);
        group.kill();
        status
    };
    let (status, stdout, stderr) = tokio::try_join!(ended, whole(stdout), tail(stderr))?;
    Ok(Answer { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
}

async fn whole(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, ChildError> {
    let mut read = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(LIMIT as u64 + 1).read_to_end(&mut read).await.map_err(ChildError::Read)?;
    }
    if read.len() > LIMIT { Err(ChildError::TooMuch) } else { Ok(read) }
}

async fn tail(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, ChildError> {
    let mut read = Vec::new();
    if let Some(mut pipe) = pipe {
        while pipe.read_buf(&mut read).await.map_err(ChildError::Read)? > 0 {
            read.drain(..read.len().saturating_sub(TAIL));
        }
    }
    Ok(read)
}

/// A process group that is killed once, at the latest when this is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(leader: Option<u32>) -> Self {
        Self(leader.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// Once is right: after its leader has been reaped, the number may soon be another group's.
    fn kill(&mut self) {
        if let Some(leader) = self.0.take() {
            // The only failure is that nobody is left to kill.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
