//! What each fleetctl was seen to print: `tests/fixtures/fleetctl/VERSION.json`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Deserialize;

/// The rows of each list, by its command.
pub type Rows = BTreeMap<String, Vec<Vec<String>>>;

/// One version's recorded output.
#[derive(Deserialize)]
pub struct Fixture {
    version: String,
    pub lists: BTreeMap<String, List>,
    pub refusals: BTreeMap<String, Call>,
    pub failures: BTreeMap<String, String>,
    pub not_fleet: BTreeMap<String, String>,
}

/// A list with every column that it can have.
#[derive(Deserialize)]
pub struct List {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// How a call ended.
#[derive(Clone, Deserialize)]
pub struct Call {
    pub rc: u8,
    pub stdout: String,
    pub stderr: String,
}

impl Fixture {
    pub fn of(version: &str) -> Self {
        macro_rules! fixtures {
            ($($version:literal)*) => {
                match version {
                    $($version => include_str!(concat!("../fixtures/fleetctl/", $version, ".json")),)*
                    other => panic!("there is no recording of fleetctl {other}"),
                }
            };
        }
        let text = fixtures!("v0.5.0" "v0.6.2" "v0.7.1" "v0.8.3" "v0.9.2" "v0.10.2" "v0.11.8" "v0.12.0" "v0.13.0" "v1.0.0");
        serde_json::from_str(text).expect("the fixtures are as this type says")
    }

    pub fn version(&self) -> &str {
        self.version.rsplit(' ').next().unwrap_or_default()
    }

    /// The refusal of a flag (before or after `place`) or of a command (`list-unitz`).
    pub fn refusal(&self, place: &str, name: &str) -> Call {
        let call = self.refusals[place].clone();
        call.with("bogus", name).with("list-unitz", name)
    }

    /// The refusal of a long flag with a single dash, from 0.13 on.
    pub fn shorthand(&self, place: &str, flag: &str) -> Call {
        let first = &flag[..flag.chars().next().map_or(0, char::len_utf8)];
        self.refusals[place]
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

    /// Prints what it printed and ends as it ended. A reader that is gone is not an error.
    pub fn end(&self) -> ExitCode {
        let _ = io::stdout().write_all(self.stdout.as_bytes());
        let _ = io::stderr().write_all(self.stderr.as_bytes());
        ExitCode::from(self.rc)
    }
}
