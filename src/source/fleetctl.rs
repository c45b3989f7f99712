//! The client of fleet that runs fleetctl, once for each list, and reads the table that it prints.
//!
//! It must not know when it is polled. It runs `fleetctl --version` before the first list, until
//! that succeeds once, and from then on uses the arguments and columns of that version. fleetctl is
//! not trusted: exit status 0 does not prove that the output is a list, an incomplete table is an
//! error, and a call may never end. A poll has a deadline of its own, so that its error can quote
//! what fleetctl printed until then. Dropping a poll kills the process group that it has started.

mod child;
mod dialect;
mod error;
mod orphans;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use rustix::fs::{Access, access};
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub(super) use self::dialect::etcd_flags;
pub use self::dialect::{FleetctlConnection, FleetctlVersion};
pub use self::error::FleetctlError;
pub(crate) use self::orphans::reap_orphans;

use self::child::{ChildError, ChildLimits, ChildOutput, ChildRun};
use self::dialect::VersionError;
use self::error::QUOTED_CHARACTERS;
use super::source_file::{FileReadError, MAX_FILE_BYTES, SourceFile};
use super::unit_file;
use super::version::FleetVersion;
use super::{FleetClient, SourceError};
use crate::cluster::{FleetList, Reading};
use crate::escapes;

/// How many bytes a list may have.
const MAX_LIST_BYTES: usize = 64 << 20;

/// Which fleetctl is run, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetctlSettings {
    /// A name to look for in [`search_path`](Self::search_path); with a slash in it, the path of a
    /// file.
    pub command: String,
    /// The value of `$PATH`. `None`: not set.
    pub search_path: Option<OsString>,
    /// How fleetctl connects to the cluster.
    pub connection: FleetctlConnection,
    /// How long a poll may take.
    pub timeout: Duration,
}

/// The client that runs fleetctl.
#[derive(Debug)]
pub struct Fleetctl {
    settings: FleetctlSettings,
    program: PathBuf,
    version: OnceCell<FleetctlVersion>,
    /// So that the removal of escape sequences from the output is logged only once.
    escapes_logged: Once,
    /// So that it is logged only once that another process holds the pipes of fleetctl.
    held_pipes_logged: Once,
}

impl Fleetctl {
    /// Finds the command. It is not run before the first poll.
    ///
    /// # Errors
    ///
    /// When there is no such command, or it is not an executable file.
    pub fn new(settings: FleetctlSettings) -> Result<Self, FleetctlError> {
        let program = find(&settings.command, settings.search_path.as_deref())?;

        Ok(Self {
            settings,
            program,
            version: OnceCell::new(),
            escapes_logged: Once::new(),
            held_pipes_logged: Once::new(),
        })
    }

    /// The version of fleetctl. Polls that run at the same time share one call; after a failure the
    /// next poll retries.
    async fn version(&self, deadline: Instant) -> Result<&FleetctlVersion, FleetctlError> {
        self.version
            .get_or_try_init(|| async {
                let limits = ChildLimits { deadline, stdout: MAX_LIST_BYTES };
                let (stdout, _) = self.run(&["--version".to_owned()], limits).await?;
                self.parse_version(&String::from_utf8_lossy(&stdout))
            })
            .await
    }

    /// Reads the file of a unit with `fleetctl cat`. `None` if there is no such unit. `known` is
    /// its hash as last listed.
    pub(super) async fn read_file(
        &self,
        unit: &str,
        known: Option<&str>,
    ) -> Result<Option<SourceFile>, FileReadError> {
        let deadline = Instant::now() + self.settings.timeout;
        let version = self.version(deadline).await.map_err(SourceError::from)?;
        let arguments = version.cat_arguments(&self.settings.connection, unit);
        let limits = ChildLimits { deadline, stdout: MAX_FILE_BYTES };

        let stdout = match self.run(&arguments, limits).await {
            Ok((stdout, _)) => stdout,
            Err(FleetctlError::Failed { stderr, .. })
                if stderr.contains(&format!("Unit {unit} not found")) =>
            {
                return Ok(None);
            }
            Err(FleetctlError::OutputTooLarge { .. }) => return Err(FileReadError::TooLarge),
            Err(error) => return Err(SourceError::from(error).into()),
        };

        let text = String::from_utf8(stdout).map_err(|_| FileReadError::Unreadable)?;
        if unit_file::options(&text).is_empty() {
            return Err(FileReadError::Unreadable);
        }
        let hash = unit_file::hash_of_text(&text, known);
        SourceFile::new(hash, text).map(Some)
    }

    fn parse_version(&self, output: &str) -> Result<FleetctlVersion, FleetctlError> {
        let program = self.program.clone();
        match FleetctlVersion::parse(output) {
            Ok(version) if version.is_too_old() => Err(FleetctlError::TooOld { program, version }),
            Ok(version) => Ok(version),
            Err(VersionError::Osquery) => Err(FleetctlError::Osquery(program)),
            Err(VersionError::Unknown) => {
                let line = output.lines().next().unwrap_or_default();
                let output = line.chars().take(QUOTED_CHARACTERS).collect();
                Err(FleetctlError::Unknown { program, output })
            }
        }
    }

    /// Runs fleetctl. Returns its standard output and the end of its standard error.
    async fn run(
        &self,
        arguments: &[String],
        limits: ChildLimits,
    ) -> Result<(Vec<u8>, String), FleetctlError> {
        let ChildRun { result, stderr } = child::run(&self.program, arguments, limits).await;
        let stderr = escapes::strip(stderr.as_bytes())
            .and_then(|stripped| String::from_utf8(stripped).ok())
            .unwrap_or(stderr);
        let command = self.command(arguments);
        let ChildOutput { status, stdout, pipes_are_held } = match result {
            Ok(output) => output,
            Err(error) => return Err(self.child_error(error, command, stderr)),
        };

        // From 0.13 on, fleetctl exits with status 0 after an unknown flag or command.
        if !status.success() || stderr.lines().any(|line| line.starts_with("Error: unknown")) {
            return Err(FleetctlError::Failed { command, status, stderr });
        }

        if pipes_are_held {
            self.held_pipes_logged.call_once(|| {
                tracing::info!(
                    "`{command}` has ended, but a process that it started keeps its output open: \
                     the output so far is used, and each call takes 0.5 s longer"
                );
            });
        }
        if !stderr.is_empty() {
            tracing::debug!(stderr, "{command} printed to standard error");
        }

        Ok((self.without_escapes(stdout), stderr))
    }

    fn child_error(&self, error: ChildError, command: String, stderr: String) -> FleetctlError {
        match error {
            ChildError::Spawn(error) => {
                FleetctlError::Spawn { program: self.program.clone(), error }
            }
            ChildError::OutputTooLarge => FleetctlError::OutputTooLarge { command, stderr },
            ChildError::Timeout => {
                let timeout = self.settings.timeout;
                FleetctlError::Timeout { command, timeout, stderr }
            }
            ChildError::Read(error) => FleetctlError::Read { command, error },
        }
    }

    fn without_escapes(&self, stdout: Vec<u8>) -> Vec<u8> {
        let Some(stripped) = escapes::strip(&stdout) else {
            return stdout;
        };

        self.escapes_logged.call_once(|| {
            tracing::warn!(
                "the output of {} has escape sequences or a byte order mark, which are ignored: \
                 let it print without colours, and not to a terminal",
                self.settings.command
            );
        });
        stripped
    }

    fn command(&self, arguments: &[String]) -> String {
        format!("{} {}", self.settings.command, arguments.join(" "))
    }
}

impl FleetClient for Fleetctl {
    /// Such as `fleetctl v0.11.8`; `fleetctl` as long as its version is not known.
    fn name(&self) -> String {
        match self.version.get() {
            Some(version) => format!("fleetctl {version}"),
            None => "fleetctl".to_owned(),
        }
    }

    fn fleet_version(&self) -> Option<FleetVersion> {
        self.version.get().map(FleetctlVersion::number)
    }

    async fn poll(&self, list: FleetList) -> Result<Reading, SourceError> {
        let deadline = Instant::now() + self.settings.timeout;

        let version = self.version(deadline).await?;
        let arguments = version.arguments(&self.settings.connection, list);
        let limits = ChildLimits { deadline, stdout: MAX_LIST_BYTES };
        let (stdout, stderr) = self.run(&arguments, limits).await?;

        let reading = version
            .read(list, &stdout)
            .map_err(|error| FleetctlError::InvalidTable {
                command: self.command(&arguments),
                error,
                stderr,
            })?;
        Ok(reading)
    }
}

/// Finds the program of a command, as a shell does. Relative directories in `$PATH` are skipped.
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
