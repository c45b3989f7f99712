//! Runs a command once and reads what it says: without a shell, without input, and with an end.
//!
//! The child leads a process group of its own. Whatever happens (the child ends, talks too much or
//! too long, or the caller drops the future), that group is killed, so that neither the child nor
//! one of its children outlives the call; tokio reaps the child. What has left the group, such as
//! an ssh that stays as the master of others, is left alone: when the child has ended, what was
//! written until then is the answer, whoever still holds the pipes. This module does not know which
//! command it is.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::orphans::{self, ChildGuard};

/// How much a child may print, in bytes.
pub const LIMIT: usize = 64 * 1024 * 1024;

/// How much of its standard error is kept, in bytes: the end.
const TAIL: usize = 4 * 1024;

/// How long the pipes are read on when the child has ended, and something else still holds them.
const HELD: Duration = Duration::from_millis(500);

/// What systemd tells a service about itself, which must not be taken for a message to the child
/// (`sd_notify(3)`, `sd_watchdog_enabled(3)`, `sd_listen_fds(3)`).
const NOT_INHERITED: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// How many children may be about to start, so that a disk that hangs does not take all threads:
/// one for each topic, and one to spare.
static SPAWNING: Semaphore = Semaphore::const_new(4);

/// What came of running a command.
pub struct ChildRun {
    /// How it ended.
    pub ended: Result<ChildOutput, ChildError>,
    /// The end of its standard error, also of a child that was killed.
    pub stderr: String,
}

/// A child that ended by itself, and all that it printed.
pub struct ChildOutput {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// Whether something that it started still holds its standard output or error.
    pub pipes_are_held: bool,
}

/// Why a child did not end by itself.
pub enum ChildError {
    /// It could not be started.
    Spawn(io::Error),
    /// It printed more than [`LIMIT`].
    TooMuch,
    /// It did not end in time.
    TooLate,
    /// It could not be read or waited for.
    Read(io::Error),
}

/// Runs the program to its end, until the deadline at most.
pub async fn run(program: &Path, arguments: &[String], deadline: Instant) -> ChildRun {
    let mut stderr = Vec::new();
    let ended = talk(program, arguments, deadline, &mut stderr).await;
    ChildRun { ended, stderr: String::from_utf8_lossy(&stderr).into_owned() }
}

async fn talk(
    program: &Path,
    arguments: &[String],
    deadline: Instant,
    complaint: &mut Vec<u8>,
) -> Result<ChildOutput, ChildError> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    let (_own, mut child) = spawn(command).await.map_err(ChildError::Spawn)?;
    let mut group = ProcessGroup::of(child.id());

    let mut stdout = Vec::new();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let reading =
        async { tokio::try_join!(whole(out, &mut stdout), tail(err, complaint)).map(drop) };
    let (status, pipes_are_held) = end(&mut child, &mut group, reading, deadline).await?;
    Ok(ChildOutput { status, stdout, pipes_are_held })
}

/// Waits for the end of the child, and for the end of what it says: how it ended, and whether the
/// pipes are still held.
async fn end(
    child: &mut Child,
    group: &mut ProcessGroup,
    reading: impl Future<Output = Result<(), ChildError>>,
    deadline: Instant,
) -> Result<(ExitStatus, bool), ChildError> {
    let mut reading = pin!(reading);
    let mut is_read = false;
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait() => break status.map_err(ChildError::Read)?,
            read = &mut reading, if !is_read => {
                read?;
                is_read = true;
            }
            () = sleep_until(deadline) => return Err(ChildError::TooLate),
        }
    };

    // What is left of the group lets go of the pipes by that.
    group.kill();
    if is_read {
        return Ok((status, false));
    }
    match timeout_at(deadline.min(Instant::now() + HELD), reading).await {
        Ok(read) => read.map(|()| (status, false)),
        Err(_) => Ok((status, true)),
    }
}

/// Starts a child. This waits until the kernel has read the program, from a disk that may hang: so
/// a thread does it that may wait.
async fn spawn(mut command: Command) -> io::Result<(ChildGuard, Child)> {
    let permit = SPAWNING.acquire().await.map_err(io::Error::other)?;
    // One that comes when nobody waits for it any more does not stay.
    command.kill_on_drop(true);
    let spawning = spawn_blocking(move || {
        let child = orphans::spawn(&mut command);
        drop(permit);
        child
    });
    spawning.await.map_err(io::Error::other)?
}

/// Reads a pipe to its end. Given up, it has put into `read` what was there until then.
async fn whole(pipe: Option<impl AsyncRead + Unpin>, read: &mut Vec<u8>) -> Result<(), ChildError> {
    if let Some(mut pipe) = pipe {
        while pipe.read_buf(read).await.map_err(ChildError::Read)? > 0 {
            if read.len() > LIMIT {
                return Err(ChildError::TooMuch);
            }
        }
    }
    Ok(())
}

/// The same, but keeps the end alone.
async fn tail(pipe: Option<impl AsyncRead + Unpin>, read: &mut Vec<u8>) -> Result<(), ChildError> {
    if let Some(mut pipe) = pipe {
        while pipe.read_buf(read).await.map_err(ChildError::Read)? > 0 {
            read.drain(..read.len().saturating_sub(TAIL));
        }
    }
    Ok(())
}

/// A process group that is killed once, at the latest when this is dropped.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
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

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}
