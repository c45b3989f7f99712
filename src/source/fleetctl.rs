//! Asks a fleetctl: runs it once for each list and reads the table that it prints.
//!
//! It asks the command for its version first, once, and from then on speaks that version's dialect.
//! Nothing that fleetctl does is believed without a look: exit status 0 is no proof of an answer, a
//! table is whole or it is none, and a call may never end. A poll ends by its own deadline, so that
//! it can tell what fleetctl said until then; dropping one kills all that it started.

mod child;
mod dialect;
mod orphans;
mod plain;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Once;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub use self::dialect::{FleetctlConnection, FleetctlVersion};
pub use self::orphans::reap_orphans;

use self::child::{ChildError, ChildOutput, ChildRun};
use self::dialect::VersionError;
use super::table::TableError;
use super::{FleetClient, SourceError};
use crate::cluster::{FleetList, Reading};

/// How much of what fleetctl complained about an error quotes, in lines and in characters.
const QUOTED_LINES: usize = 4;
const QUOTED: usize = 600;

/// Which fleetctl to ask, and how it is to reach the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetctlSettings {
    /// A name to look for in `$PATH`, or, with a slash in it, the path of a file.
    pub command: String,
    /// How it reaches the cluster.
    pub connection: FleetctlConnection,
    /// How long a poll may take.
    pub timeout: Duration,
}

/// A fleetctl that can be asked.
#[derive(Debug)]
pub struct Fleetctl {
    settings: FleetctlSettings,
    program: PathBuf,
    version: OnceCell<FleetctlVersion>,
    /// Whether it was said that escape sequences are taken out of its output.
    escapes_told: Once,
    /// Whether it was said that something which it leaves behind holds its pipes.
    held_told: Once,
}

/// Why fleetctl could not be asked, or its answer not be used.
#[derive(Debug, thiserror::Error)]
pub enum FleetctlError {
    /// There is no such command.
    #[error("there is no fleetctl: looked for {0}; {ADVICE}")]
    Missing(String),
    /// The command is there, but it is not a program, or not for us.
    #[error("{} is not an executable file; {ADVICE}", .0.display())]
    NotExecutable(PathBuf),
    /// The system would not start it.
    #[error("cannot run {}: {error}", program.display())]
    Spawn {
        /// What was started.
        program: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is the program of another product.
    #[error("{} is the fleetctl of Fleet, the osquery product, not of CoreOS fleet; {ADVICE}", .0.display())]
    Osquery(PathBuf),
    /// It is something else.
    #[error("{} does not look like CoreOS fleet's fleetctl: asked for its version, it said `{said}`; {ADVICE}", program.display())]
    Unknown {
        /// What was asked.
        program: PathBuf,
        /// The beginning of its answer.
        said: String,
    },
    /// Nobody knows how so old a version behaves.
    #[error("{} is fleetctl {version}, which is too old: v0.5.0 is the oldest that is understood; {ADVICE}", program.display())]
    TooOld {
        /// What was asked.
        program: PathBuf,
        /// Its version.
        version: FleetctlVersion,
    },
    /// It failed, or did not understand what it was asked (which is no failure to fleetctl 0.13 and
    /// later).
    #[error("`{command}` ended with {status}{}", said(stderr))]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said on standard error.
        stderr: String,
    },
    /// It ended well, but its answer is not the list that was asked for.
    #[error("`{command}`: {error}{}", said(stderr))]
    Answer {
        /// What was run.
        command: String,
        /// What is wrong.
        error: TableError,
        /// What it said on standard error.
        stderr: String,
    },
    /// It talked without an end, and was killed.
    #[error("`{command}` was killed: it printed more than {} MiB{}", child::LIMIT >> 20, said(stderr))]
    OutputTooLarge {
        /// What was run.
        command: String,
        /// What it said on standard error.
        stderr: String,
    },
    /// It did not end in time, and was killed.
    #[error("`{command}` was killed: no answer within {} s (--poll-timeout){}", timeout.as_secs_f64(), said(stderr))]
    Timeout {
        /// What was run.
        command: String,
        /// How long the poll was allowed to take.
        timeout: Duration,
        /// What it said on standard error until then.
        stderr: String,
    },
    /// What it said could not be read.
    #[error("cannot read what `{command}` says: {error}")]
    Read {
        /// What was run.
        command: String,
        /// What the system says.
        error: io::Error,
    },
}

const ADVICE: &str = "name one with --fleetctl, read fleet's API instead with --api, or look at a recorded cluster with --demo";

impl FleetctlError {
    /// Whether no waiting will mend it: there is no command, or it is not CoreOS fleet's fleetctl.
    pub fn is_unusable(&self) -> bool {
        match self {
            Self::Missing(_)
            | Self::NotExecutable(_)
            | Self::Osquery(_)
            | Self::Unknown { .. }
            | Self::TooOld { .. } => true,
            Self::Spawn { error, .. } => {
                let never = [Errno::NOENT, Errno::ACCESS, Errno::NOEXEC, Errno::NOTDIR];
                Errno::from_io_error(error).is_some_and(|errno| never.contains(&errno))
            }
            Self::Failed { .. }
            | Self::Answer { .. }
            | Self::OutputTooLarge { .. }
            | Self::Timeout { .. }
            | Self::Read { .. } => false,
        }
    }
}

impl Fleetctl {
    /// Finds the command. It is not run before the first poll.
    ///
    /// # Errors
    ///
    /// When there is no such command, or it is not an executable file.
    pub fn new(settings: FleetctlSettings) -> Result<Self, FleetctlError> {
        let program = find(&settings.command, std::env::var_os("PATH").as_deref())?;
        Ok(Self {
            settings,
            program,
            version: OnceCell::new(),
            escapes_told: Once::new(),
            held_told: Once::new(),
        })
    }

    /// Polls that begin at once share the question; after a failure the next one asks again.
    async fn version(&self, deadline: Instant) -> Result<&FleetctlVersion, FleetctlError> {
        self.version
            .get_or_try_init(|| async {
                let (stdout, _) = self.run(&["--version".to_owned()], deadline).await?;
                let said = String::from_utf8_lossy(&stdout);
                let program = self.program.clone();
                match FleetctlVersion::parse(&said) {
                    Ok(version) if version.is_too_old() => {
                        Err(FleetctlError::TooOld { program, version })
                    }
                    Ok(version) => Ok(version),
                    Err(VersionError::Osquery) => Err(FleetctlError::Osquery(program)),
                    Err(VersionError::Unknown) => {
                        let said =
                            said.lines().next().unwrap_or_default().chars().take(QUOTED).collect();
                        Err(FleetctlError::Unknown { program, said })
                    }
                }
            })
            .await
    }

    /// What it prints, and what it says on standard error besides.
    async fn run(
        &self,
        arguments: &[String],
        deadline: Instant,
    ) -> Result<(Vec<u8>, String), FleetctlError> {
        let ChildRun { ended, stderr } = child::run(&self.program, arguments, deadline).await;
        let stderr = plain::plain(stderr.as_bytes())
            .and_then(|plain| String::from_utf8(plain).ok())
            .unwrap_or(stderr);
        let command = self.command(arguments);
        let ChildOutput { status, stdout, pipes_are_held } = match ended {
            Ok(ended) => ended,
            Err(ChildError::Spawn(error)) => {
                return Err(FleetctlError::Spawn { program: self.program.clone(), error });
            }
            Err(ChildError::TooMuch) => {
                return Err(FleetctlError::OutputTooLarge { command, stderr });
            }
            Err(ChildError::TooLate) => {
                return Err(FleetctlError::Timeout {
                    command,
                    timeout: self.settings.timeout,
                    stderr,
                });
            }
            Err(ChildError::Read(error)) => return Err(FleetctlError::Read { command, error }),
        };
        // From 0.13 on, an unknown flag or command is complained about with exit status 0.
        if !status.success() || stderr.lines().any(|line| line.starts_with("Error: unknown")) {
            return Err(FleetctlError::Failed { command, status, stderr });
        }
        if pipes_are_held {
            self.held_told.call_once(|| {
                tracing::info!(
                    "`{command}` has ended, but something that it started still holds its output or standard error: \
                     what was written until then is the answer, which takes 0.5 s longer each time"
                );
            });
        }
        if !stderr.is_empty() {
            tracing::debug!(stderr, "{command} said");
        }
        Ok((self.plain(stdout), stderr))
    }

    fn plain(&self, stdout: Vec<u8>) -> Vec<u8> {
        let Some(plain) = plain::plain(&stdout) else {
            return stdout;
        };
        self.escapes_told.call_once(|| {
            tracing::warn!(
                "the output of {} has escape sequences or a byte order mark in it, which are passed over: \
                 let it print without colours, and not to a terminal",
                self.settings.command
            );
        });
        plain
    }

    fn command(&self, arguments: &[String]) -> String {
        format!("{} {}", self.settings.command, arguments.join(" "))
    }
}

impl FleetClient for Fleetctl {
    /// `fleetctl v0.11.8`, or `fleetctl` as long as its version is not known.
    fn name(&self) -> String {
        match self.version.get() {
            Some(version) => format!("fleetctl {version}"),
            None => "fleetctl".to_owned(),
        }
    }

    async fn poll(&self, list: FleetList) -> Result<Reading, SourceError> {
        let deadline = Instant::now() + self.settings.timeout;
        let version = self.version(deadline).await?;
        let arguments = version.arguments(&self.settings.connection, list);
        let (stdout, stderr) = self.run(&arguments, deadline).await?;
        let reading = version.read(list, &stdout).map_err(|error| FleetctlError::Answer {
            command: self.command(&arguments),
            error,
            stderr,
        })?;
        Ok(reading)
    }
}

fn find(command: &str, path: Option<&OsStr>) -> Result<PathBuf, FleetctlError> {
    if command.contains('/') {
        let program = PathBuf::from(command);
        return match program.metadata() {
            Ok(_) if is_executable(&program) => Ok(program),
            Ok(_) => Err(FleetctlError::NotExecutable(program)),
            Err(error) => Err(FleetctlError::Missing(format!("{command} ({error})"))),
        };
    }
    let path = path.unwrap_or_default();
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(command))
        .find(|program| !command.is_empty() && is_executable(program))
        .ok_or_else(|| FleetctlError::Missing(format!("`{command}` in $PATH ({})", path.display())))
}

fn is_executable(program: &Path) -> bool {
    program.is_file() && access(program, Access::EXEC_OK).is_ok()
}

/// What matters of fleetctl's complaint, in one line: the error without the log before it, the
/// usage text or the stack trace below it.
fn said(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("####"))
        .collect();
    let error = lines.iter().rposition(|line| line.starts_with("Error"));
    let panic = lines.iter().position(|line| line.starts_with("panic:"));
    let usage = lines.iter().position(|line| line.starts_with("Usage"));
    let quoted = match (panic, error, usage) {
        (Some(panic), ..) => &lines[panic..=panic],
        (_, Some(error), _) => &lines[error..lines.len().min(error + QUOTED_LINES)],
        (.., Some(usage @ 1..)) => &lines[usage.saturating_sub(QUOTED_LINES)..usage],
        _ => &lines[lines.len().saturating_sub(QUOTED_LINES)..],
    };
    let text = quoted.join("; ");
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!(" and said: {}…", &text[..end]),
        None if text.is_empty() => String::new(),
        None => format!(" and said: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::snapshots::assert_catalogue;

    /// What is quoted of a complaint.
    fn quoted(stderr: &str) -> String {
        said(stderr)
            .split_once(": ")
            .map(|(_, quoted)| quoted.to_owned())
            .unwrap_or_default()
    }

    #[test]
    fn the_complaint_is_one_line() {
        assert_eq!(said(""), "");
        assert_eq!(
            quoted(
                "Error retrieving list of active machines (timed out)\nPossible issues:\n  etcd is unhealthy\n\n"
            ),
            "Error retrieving list of active machines (timed out); Possible issues:; etcd is unhealthy"
        );
        assert_eq!(
            quoted("flag provided but not defined: -x\nUsage of fleetctl:\n  -debug\n    \tMore"),
            "flag provided but not defined: -x"
        );
        assert_eq!(quoted("panic: nil\n\ngoroutine 1 [running]:\nmain.main()\n"), "panic: nil");
        assert_eq!(quoted("a\nb\nc\nd\ne\n"), "b; c; d; e");
        assert_eq!(quoted("ERROR retrying\nERROR retrying\nError: no\nWhy\n"), "Error: no; Why");
        assert!(quoted(&"ü".repeat(5000)).ends_with("üü…"));
    }

    #[test]
    fn a_name_is_looked_for_in_path_and_a_path_is_not() {
        let looked = |command: &str, path: &str| find(command, Some(OsStr::new(path)));
        assert_eq!(looked("sh", "/nowhere:/bin").unwrap(), Path::new("/bin/sh"));
        assert_eq!(looked("/bin/sh", "/nowhere").unwrap(), Path::new("/bin/sh"));
        let error = looked("sh", "/nowhere").unwrap_err();
        assert!(
            matches!(&error, FleetctlError::Missing(at) if at.contains("`sh`") && at.contains("/nowhere")),
            "{error:?}"
        );
        assert!(matches!(looked("", "/bin"), Err(FleetctlError::Missing(_))));
        assert!(matches!(looked("/nowhere/fleetctl", "/bin"), Err(FleetctlError::Missing(_))));
        assert!(matches!(looked("/etc/passwd", "/bin"), Err(FleetctlError::NotExecutable(_))));
        assert!(matches!(looked("/bin/", "/bin"), Err(FleetctlError::NotExecutable(_))));
    }
    #[test]
    fn what_can_fail_is_told_in_these_words() {
        let program = || PathBuf::from("/usr/bin/fleetctl");
        let command = || "fleetctl list-units --no-legend".to_owned();
        let stderr = || "Error: unable to initialize registry\n".to_owned();
        let missing = |command: &str| find(command, Some(OsStr::new("/usr/bin:/bin"))).unwrap_err();
        let error = || io::Error::from(Errno::NOEXEC);
        let version = FleetctlVersion::parse("fleetctl version 0.4.0").unwrap();
        let errors = [
            ("no such command in $PATH", missing("no-fleetctl")),
            ("no such file", missing("/nowhere/fleetctl")),
            ("a file that cannot be executed", FleetctlError::NotExecutable(program())),
            (
                "a file that the system does not start",
                FleetctlError::Spawn { program: program(), error: error() },
            ),
            ("the fleetctl of osquery", FleetctlError::Osquery(program())),
            (
                "another program",
                FleetctlError::Unknown {
                    program: program(),
                    said: "true (GNU coreutils) 9.1".into(),
                },
            ),
            ("too old a version", FleetctlError::TooOld { program: program(), version }),
            ("exit status 1", {
                let status = ExitStatus::from_raw(1 << 8);
                FleetctlError::Failed { command: command(), status, stderr: stderr() }
            }),
            ("killed by a signal, without a word", {
                let status = ExitStatus::from_raw(9);
                FleetctlError::Failed { command: command(), status, stderr: String::new() }
            }),
            ("an answer that is no list", {
                let error = TableError::HelpText;
                FleetctlError::Answer { command: command(), error, stderr: String::new() }
            }),
            (
                "too large an answer",
                FleetctlError::OutputTooLarge { command: command(), stderr: stderr() },
            ),
            ("no answer in time", {
                let timeout = Duration::from_millis(2500);
                FleetctlError::Timeout { command: command(), timeout, stderr: stderr() }
            }),
            (
                "pipes that cannot be read",
                FleetctlError::Read { command: command(), error: error() },
            ),
        ];
        assert_catalogue("fleetctl-errors", errors);
    }
}
