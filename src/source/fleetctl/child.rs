//! Runs a program once and reads its output: without a shell, without input, and with a deadline.
//!
//! It must not know which program it runs. The child leads a process group of its own. When the
//! child ends, prints too much or misses its deadline, and when the caller drops the future, the
//! whole group is killed, so that no process of the group outlives the call. tokio reaps the child.
//! A process that has left the group is not killed, such as an ssh that stays as the master of a
//! connection. If such a process still holds the pipes, only the output that comes until shortly
//! after the end of the child is used ([`HELD_PIPES_TIMEOUT`]).

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

/// How many bytes of its standard error are kept, from its end.
const STDERR_LIMIT: usize = 4 * 1024;

/// How long the pipes are read after the end of the child while another process holds them.
const HELD_PIPES_TIMEOUT: Duration = Duration::from_millis(500);

/// Variables that systemd sets for a service. They are not meant for its child processes
/// (`sd_notify(3)`, `sd_watchdog_enabled(3)`, `sd_listen_fds(3)`).
const NOT_INHERITED: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// Limits how many children are being started at the same time: one for each list, two for unit
/// files, and one more. So if the disk hangs, not all threads for blocking calls hang with it.
static SPAWN_PERMITS: Semaphore = Semaphore::const_new(6);

/// The result of one run.
pub(super) struct ChildRun {
    pub(super) result: Result<ChildOutput, ChildError>,
    /// The end of its standard error, also if the child was killed.
    pub(super) stderr: String,
}

/// The output of a child that ended by itself.
pub(super) struct ChildOutput {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    /// Whether another process still holds its standard output or error.
    pub(super) pipes_are_held: bool,
}

/// Why a run has no output.
pub(super) enum ChildError {
    /// The child could not be started.
    Spawn(io::Error),
    /// It printed more than [`ChildLimits::stdout`].
    OutputTooLarge,
    /// It did not end before the deadline.
    Timeout,
    /// Reading its output, or waiting for its end, failed.
    Read(io::Error),
}

/// When a child is killed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChildLimits {
    /// By when it has to end.
    pub(super) deadline: Instant,
    /// How many bytes it may print to standard output.
    pub(super) stdout: usize,
}

/// Runs the program until it ends, or exceeds a limit.
pub(super) async fn run(program: &Path, arguments: &[String], limits: ChildLimits) -> ChildRun {
    let mut stderr = Vec::new();
    let result = run_child(program, arguments, limits, &mut stderr).await;

    ChildRun {
        result,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

async fn run_child(
    program: &Path,
    arguments: &[String],
    limits: ChildLimits,
    stderr: &mut Vec<u8>,
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

    let (_guard, mut child) = spawn(command).await.map_err(ChildError::Spawn)?;
    let mut group = ProcessGroup::led_by(child.id());

    let mut stdout = Vec::new();
    let stdout_pipe = child.stdout.take();
    let stderr_pipe = child.stderr.take();
    let reading = async {
        let stdout = read_all(stdout_pipe, &mut stdout, limits.stdout);
        tokio::try_join!(stdout, read_end(stderr_pipe, stderr)).map(drop)
    };
    let (status, pipes_are_held) =
        wait_for_end(&mut child, &mut group, reading, limits.deadline).await?;

    Ok(ChildOutput { status, stdout, pipes_are_held })
}

/// Waits until the child has ended, and until its output is read. Returns its exit status, and
/// whether another process still holds the pipes.
async fn wait_for_end(
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
            result = &mut reading, if !is_read => {
                result?;
                is_read = true;
            }
            () = sleep_until(deadline) => return Err(ChildError::Timeout),
        }
    };

    // The other processes of the group may hold the pipes open. Killing them closes the pipes.
    group.kill();
    if is_read {
        return Ok((status, false));
    }

    let reading_ends = deadline.min(Instant::now() + HELD_PIPES_TIMEOUT);
    match timeout_at(reading_ends, reading).await {
        Ok(result) => result.map(|()| (status, false)),
        Err(_) => Ok((status, true)),
    }
}

/// Starts a child. It is started in a thread that may block, because the kernel reads the program
/// from a disk that may hang.
async fn spawn(mut command: Command) -> io::Result<(ChildGuard, Child)> {
    let permit = SPAWN_PERMITS.acquire().await.map_err(io::Error::other)?;
    // Kills a child that is started after the caller has dropped this future.
    command.kill_on_drop(true);

    let spawning = spawn_blocking(move || {
        let child = orphans::spawn(&mut command);
        drop(permit);
        child
    });
    spawning.await.map_err(io::Error::other)?
}

/// Reads a pipe to its end. If the future is dropped, `bytes` holds what was read so far.
async fn read_all(
    pipe: Option<impl AsyncRead + Unpin>,
    bytes: &mut Vec<u8>,
    limit: usize,
) -> Result<(), ChildError> {
    if let Some(mut pipe) = pipe {
        while pipe.read_buf(bytes).await.map_err(ChildError::Read)? > 0 {
            if bytes.len() > limit {
                return Err(ChildError::OutputTooLarge);
            }
        }
    }
    Ok(())
}

/// Reads a pipe to its end, and keeps the last [`STDERR_LIMIT`] bytes.
async fn read_end(
    pipe: Option<impl AsyncRead + Unpin>,
    bytes: &mut Vec<u8>,
) -> Result<(), ChildError> {
    if let Some(mut pipe) = pipe {
        while pipe.read_buf(bytes).await.map_err(ChildError::Read)? > 0 {
            bytes.drain(..bytes.len().saturating_sub(STDERR_LIMIT));
        }
    }
    Ok(())
}

/// A process group that is killed once, at the latest when this is dropped.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn led_by(leader: Option<u32>) -> Self {
        Self(leader.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// Kills the group, only once: as soon as no process of the group is left, the kernel may give
    /// its number to another group.
    fn kill(&mut self) {
        if let Some(leader) = self.0.take() {
            // This only fails if no process of the group is left.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}
