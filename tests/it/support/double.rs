//! The fleetctl of the tests (`tests/fleetctl`), one for each test.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_monitor::source::fleetctl::{Fleetctl, FleetctlConnection, FleetctlSettings};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;

use super::Process;

/// The versions that it can be.
pub const VERSIONS: [&str; 10] = [
    "v0.5.0", "v0.6.2", "v0.7.1", "v0.8.3", "v0.9.2", "v0.10.2", "v0.11.8", "v0.12.0", "v0.13.0",
    "v1.0.0",
];

/// What was recorded of a version: `tests/fixtures/fleetctl/VERSION.json`.
pub fn recorded(version: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/fixtures/fleetctl/{version}.json"));
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// A fleetctl in a directory of its own, which is its memory.
pub struct Double {
    directory: TempDir,
}

impl Double {
    /// A fleetctl of this version, which does as it should.
    pub fn new(version: &str) -> Self {
        let directory = TempDir::new().unwrap();
        // target/PROFILE/deps/it-… → target/PROFILE/examples/fleetctl-double
        let program = std::env::current_exe()
            .unwrap()
            .ancestors()
            .nth(2)
            .unwrap()
            .join("examples/fleetctl-double");
        assert!(program.is_file(), "build it first: cargo build --example fleetctl-double");
        std::os::unix::fs::symlink(program, directory.path().join("fleetctl")).unwrap();
        let double = Self { directory };
        double.write("version", version);
        double
    }

    /// Its path, as for `--fleetctl`.
    pub fn command(&self) -> PathBuf {
        self.path("fleetctl")
    }

    /// A source that asks it.
    pub fn source(&self, connection: FleetctlConnection) -> Fleetctl {
        self.source_within(Duration::from_secs(60), connection)
    }

    /// The same, with another deadline for each poll.
    pub fn source_within(&self, timeout: Duration, connection: FleetctlConnection) -> Fleetctl {
        let command = self.command().to_str().unwrap().to_owned();
        Fleetctl::new(FleetctlSettings { command, connection, timeout }).unwrap()
    }

    /// What it does from now on.
    pub fn mode(&self, mode: &str) {
        self.write("mode", mode);
    }

    /// Changes one of the files that it reads, all at once.
    pub fn write(&self, file: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(file)).unwrap();
    }

    /// The arguments of each call so far.
    pub fn calls(&self) -> Vec<Vec<String>> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The names of the environment variables that the last call had.
    pub fn environment(&self) -> Vec<String> {
        serde_json::from_str(&fs::read_to_string(self.path("environment")).unwrap()).unwrap()
    }

    /// How many processes it has left behind in the mode `orphan`.
    pub fn orphans(&self) -> usize {
        fs::read_to_string(self.path("orphans")).map_or(0, |orphans| orphans.lines().count())
    }

    /// Announces the processes of the calls that have a child. To be called before the first of
    /// these.
    pub fn processes(&self) -> Processes {
        let fifo = self.path("pids");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        // With a writer of our own it does not end when the first call has closed it.
        Processes(BufReader::new(
            pipe::OpenOptions::new().read_write(true).open_receiver(fifo).unwrap(),
        ))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }
}

/// The calls that have a child, as they come.
pub struct Processes(BufReader<pipe::Receiver>);

impl Processes {
    /// The fleetctl of the next such call, and its child.
    pub async fn next(&mut self) -> (Process, Process) {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        let (leader, child) = line.trim().split_once(' ').unwrap();
        (Process::new(leader.parse().unwrap()), Process::new(child.parse().unwrap()))
    }
}
