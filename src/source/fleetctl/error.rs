//! The errors of fleetctl, and how they quote what fleetctl printed to standard error.
//!
//! It must not know how fleetctl is run.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::io::Errno;

use super::{FleetctlVersion, MAX_LIST_BYTES};
use crate::source::table::TableError;

/// How many lines of standard error an error quotes at most.
const QUOTED_LINES: usize = 4;

/// How many characters of fleetctl's output an error quotes at most.
pub(super) const QUOTED_CHARACTERS: usize = 600;

/// What a user can do about a fleetctl that cannot be used.
const ADVICE: &str = "name a fleetctl with --fleetctl (-t lets it use an ssh host), read etcd \
                      instead with -e or fleet's API with --api, or try a recorded cluster with \
                      --demo";

/// Why fleetctl could not be run, or its answer is unusable.
#[derive(Debug, thiserror::Error)]
pub enum FleetctlError {
    /// There is no such command. Holds where it was looked for.
    #[error("fleetctl not found: looked for {0}; {ADVICE}")]
    Missing(String),
    /// The file is not a program, or this user may not execute it.
    #[error("{} is not an executable file; {ADVICE}", .0.display())]
    NotExecutable(PathBuf),
    /// The system refused to start it.
    #[error("cannot run {}: {error}", program.display())]
    Spawn {
        /// The path of the program.
        program: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// It is the fleetctl of another product.
    #[error(
        "{} is the fleetctl of Fleet, the osquery product, not of CoreOS fleet; {ADVICE}",
        .0.display()
    )]
    Osquery(PathBuf),
    /// It is another program.
    #[error(
        "{} is not the fleetctl of CoreOS fleet: with --version it printed `{output}`; {ADVICE}",
        program.display()
    )]
    Unknown {
        /// The path of the program.
        program: PathBuf,
        /// The beginning of its output.
        output: String,
    },
    /// The output of so old a version is not known.
    #[error(
        "{} is fleetctl {version}, which is too old: v0.5.0 or later is required; {ADVICE}",
        program.display()
    )]
    TooOld {
        /// The path of the program.
        program: PathBuf,
        /// The version that fleetctl printed.
        version: FleetctlVersion,
    },
    /// It failed, or refused its arguments (after which fleetctl 0.13 and later exit with status
    /// 0).
    #[error("`{command}` ended with {status}{}", quoted(stderr))]
    Failed {
        /// The command with its arguments.
        command: String,
        /// The exit status, or the signal that ended it.
        status: ExitStatus,
        /// The end of its standard error.
        stderr: String,
    },
    /// It succeeded, but its output is not the requested list.
    #[error("`{command}` printed no valid list: {error}{}", quoted(stderr))]
    InvalidTable {
        /// The command with its arguments.
        command: String,
        /// What is wrong with its output.
        error: TableError,
        /// The end of its standard error.
        stderr: String,
    },
    /// It printed too much, and was killed.
    #[error(
        "`{command}` was killed: it printed more than {} MiB{}",
        MAX_LIST_BYTES >> 20,
        quoted(stderr)
    )]
    OutputTooLarge {
        /// The command with its arguments.
        command: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// It did not end in time, and was killed.
    #[error(
        "`{command}` was killed: no answer within {} s (--poll-timeout){}",
        timeout.as_secs_f64(),
        quoted(stderr)
    )]
    Timeout {
        /// The command with its arguments.
        command: String,
        /// The timeout of the poll.
        timeout: Duration,
        /// The end of its standard error so far.
        stderr: String,
    },
    /// Its output could not be read.
    #[error("cannot read the output of `{command}`: {error}")]
    Read {
        /// The command with its arguments.
        command: String,
        /// The error of the system.
        error: io::Error,
    },
}

impl FleetctlError {
    /// Whether a retry is pointless: there is no such command, or it is not CoreOS fleet's
    /// fleetctl.
    pub fn is_unusable(&self) -> bool {
        match self {
            Self::Missing(_)
            | Self::NotExecutable(_)
            | Self::Osquery(_)
            | Self::Unknown { .. }
            | Self::TooOld { .. } => true,
            Self::Spawn { error, .. } => {
                let permanent = [Errno::NOENT, Errno::ACCESS, Errno::NOEXEC, Errno::NOTDIR];
                Errno::from_io_error(error).is_some_and(|errno| permanent.contains(&errno))
            }
            Self::Failed { .. }
            | Self::InvalidTable { .. }
            | Self::OutputTooLarge { .. }
            | Self::Timeout { .. }
            | Self::Read { .. } => false,
        }
    }
}

/// The important lines of standard error as the end of a message: the error, without the log before
/// it, and without the usage text or stack trace after it.
pub(super) fn quoted(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("####"))
        .collect();
    let error = lines.iter().rposition(|line| line.starts_with("Error"));
    let panic = lines.iter().position(|line| line.starts_with("panic:"));
    let usage = lines.iter().position(|line| line.starts_with("Usage"));

    let important = match (panic, error, usage) {
        (Some(panic), ..) => &lines[panic..=panic],
        (_, Some(error), _) => &lines[error..lines.len().min(error + QUOTED_LINES)],
        (.., Some(usage @ 1..)) => &lines[usage.saturating_sub(QUOTED_LINES)..usage],
        _ => &lines[lines.len().saturating_sub(QUOTED_LINES)..],
    };

    let text = important.join("; ");
    match text.char_indices().nth(QUOTED_CHARACTERS) {
        Some((end, _)) => format!("; stderr: {}…", &text[..end]),
        None if text.is_empty() => String::new(),
        None => format!("; stderr: {text}"),
    }
}
