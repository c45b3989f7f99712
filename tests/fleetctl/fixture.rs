//! The recorded output of each fleetctl: `tests/fixtures/fleetctl/VERSION.json`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Deserialize;

/// The rows of each list, by its command.
pub type Rows = BTreeMap<String, Vec<Vec<String>>>;

/// The recorded output of one version.
#[derive(Deserialize)]
pub struct Fixture {
    version: String,
    /// By command.
    pub lists: BTreeMap<String, RecordedTable>,
    /// How it refuses a flag, by the command before the flag; how it refuses a command, under
    /// `list-unitz`.
    pub refusals: BTreeMap<String, Call>,
    /// Standard error when etcd does not answer, by command.
    pub failures: BTreeMap<String, String>,
    /// Standard error when the endpoint is not fleet's API, by command.
    pub not_fleet: BTreeMap<String, String>,
}

/// A list with all columns that it can have.
#[derive(Deserialize)]
pub struct RecordedTable {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// The output of a call and its exit status.
#[derive(Clone, Deserialize)]
pub struct Call {
    pub rc: u8,
    pub stdout: String,
    pub stderr: String,
}

impl Fixture {
    pub fn load(version: &str) -> Self {
        macro_rules! fixtures {
            ($($version:literal)*) => {
                match version {
                    $($version => {
                        include_str!(concat!("../fixtures/fleetctl/", $version, ".json"))
                    })*
                    other => panic!("there is no recording of fleetctl {other}"),
                }
            };
        }

        let text = fixtures!(
            "v0.5.0" "v0.6.2" "v0.7.1" "v0.8.3" "v0.9.2" "v0.10.2" "v0.11.8" "v0.12.0" "v0.13.0"
            "v1.0.0"
        );
        serde_json::from_str(text).expect("the fixtures match this type")
    }

    pub fn major_and_minor(&self) -> (u32, u32) {
        major_and_minor(self.version.rsplit(' ').next().unwrap_or_default())
    }

    /// The refusal of the flag `name` after `command`, or of the command `name` (`list-unitz`).
    pub fn refusal(&self, command: &str, name: &str) -> Call {
        let call = self.refusals[command].clone();
        call.with("bogus", name).with("list-unitz", name)
    }

    /// The refusal of a long flag with one dash, from 0.13 on.
    pub fn shorthand(&self, command: &str, flag: &str) -> Call {
        let first = &flag[..flag.chars().next().map_or(0, char::len_utf8)];

        self.refusals[command]
            .clone()
            .with("flag: --bogus", &format!("shorthand flag: '{first}' in -{flag}"))
    }
}

impl Call {
    /// A failure as all versions report it.
    pub fn failure(stderr: String) -> Self {
        Self { rc: 1, stdout: String::new(), stderr }
    }

    fn with(self, from: &str, to: &str) -> Self {
        Self {
            rc: self.rc,
            stdout: self.stdout.replace(from, to),
            stderr: self.stderr.replace(from, to),
        }
    }

    /// Prints the recorded output. Returns the recorded exit status, also if nobody reads the
    /// output.
    pub fn replay(&self) -> ExitCode {
        let _ = io::stdout().write_all(self.stdout.as_bytes());
        let _ = io::stderr().write_all(self.stderr.as_bytes());
        ExitCode::from(self.rc)
    }
}

/// The first two numbers of a version such as `v0.11.8`.
pub fn major_and_minor(version: &str) -> (u32, u32) {
    let mut parts = version
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse().expect("a version consists of numbers"));

    let major = parts.next().unwrap_or(0);
    let minor = parts.next().unwrap_or(0);
    (major, minor)
}
