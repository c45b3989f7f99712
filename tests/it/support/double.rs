//! The fleetctl double (`tests/fleetctl`), one for each test.

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

/// The versions that the double can imitate.
pub const VERSIONS: [&str; 10] = [
    "v0.5.0", "v0.6.2", "v0.7.1", "v0.8.3", "v0.9.2", "v0.10.2", "v0.11.8", "v0.12.0", "v0.13.0",
    "v1.0.0",
];

/// The recorded output of a version: `tests/fixtures/fleetctl/VERSION.json`.
pub fn recorded(version: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/fixtures/fleetctl/{version}.json"));

    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// A double in a directory of its own, which holds its settings and what it has recorded.
pub struct Double {
    directory: TempDir,
}

impl Double {
    /// A double of this version that behaves correctly.
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

    /// Its path, for `--fleetctl`.
    pub fn command(&self) -> PathBuf {
        self.path("fleetctl")
    }

    /// A client that runs it.
    pub fn source(&self, connection: FleetctlConnection) -> Fleetctl {
        self.source_within(Duration::from_secs(60), connection)
    }

    /// A client that runs it, with this timeout for each poll.
    pub fn source_within(&self, timeout: Duration, connection: FleetctlConnection) -> Fleetctl {
        let command = self.command().to_str().unwrap().to_owned();
        let settings = FleetctlSettings { command, search_path: None, connection, timeout };
        Fleetctl::new(settings).unwrap()
    }

    /// Sets its mode (see `tests/fleetctl/double.rs`).
    pub fn mode(&self, mode: &str) {
        self.write("mode", mode);
    }

    /// Replaces one of the files that it reads, atomically.
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

    /// The names of the environment variables of the last call.
    pub fn environment(&self) -> Vec<String> {
        serde_json::from_str(&fs::read_to_string(self.path("environment")).unwrap()).unwrap()
    }

    /// How many processes it has left behind in the mode `orphan`.
    pub fn orphans(&self) -> usize {
        fs::read_to_string(self.path("orphans")).map_or(0, |orphans| orphans.lines().count())
    }

    /// Receives the processes of the calls that have a child. Has to be called before the first
    /// such call.
    pub fn processes(&self) -> Processes {
        let fifo = self.path("pids");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();

        // Opened for writing too, the pipe does not end when the first call closes it.
        Processes(BufReader::new(
            pipe::OpenOptions::new().read_write(true).open_receiver(fifo).unwrap(),
        ))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }
}

/// The processes of calls that have a child, in the order of the calls.
pub struct Processes(BufReader<pipe::Receiver>);

impl Processes {
    /// The fleetctl of the next such call, and its child.
    pub async fn next(&mut self) -> (Process, Process) {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();

        let (fleetctl, child) = line.trim().split_once(' ').unwrap();
        (Process::new(fleetctl.parse().unwrap()), Process::new(child.parse().unwrap()))
    }
}
