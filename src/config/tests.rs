//! Options as a user sets them, in all three places.

mod conflicts;
mod errors;
mod etcd;
mod precedence;
mod report;
mod tls;
mod values;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use clap::{CommandFactory, Parser};
use proptest::prelude::*;
use tempfile::TempDir;

use super::options::OPTIONS;
use super::*;
use crate::snapshots::{assert_catalogue, assert_text};
use crate::source::ReplayOptions;
use crate::source::api::Address;
use crate::source::recording::RecordKeep;
use crate::source::selection::SourceRequest;

/// The three places, and a directory in which no default file is.
struct Places {
    arguments: String,
    cli: Cli,
    environment: Environment,
    directory: TempDir,
}

impl Places {
    fn new() -> Self {
        Self {
            arguments: String::new(),
            cli: Cli::default(),
            environment: Environment::default(),
            directory: TempDir::new().unwrap(),
        }
    }

    fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.join(" ");
        self.cli = Cli::try_parse_from(["fleet-monitor"].iter().chain(arguments)).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment
            .variables
            .insert(format!("FLEET_MONITOR_{name}"), value.into());
        self
    }

    /// With the variables of this file in addition, which is named `ENV`.
    fn env_file(mut self, text: &str) -> Self {
        let path = self.env_path();
        fs::write(&path, text).unwrap();
        self.environment.add_file(&path).unwrap();
        self
    }

    fn env_path(&self) -> PathBuf {
        self.directory.path().join("fleet-monitor.env")
    }

    fn file(self, text: &str) -> Self {
        fs::write(self.path(), text).unwrap();
        self
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("fleet-monitor.toml")
    }

    fn load(&self) -> Result<(Config, Settings), ConfigErrors> {
        load_over(&self.cli, &self.environment, &self.path())
    }

    fn config(&self) -> Config {
        self.load().unwrap().0
    }

    fn origin(&self, key: &str) -> String {
        let origin = self
            .load()
            .unwrap()
            .1
            .options
            .into_iter()
            .find(|setting| setting.key == key)
            .unwrap()
            .origin;
        self.named(&origin)
    }

    /// All that is wrong, for people.
    fn complaint(&self) -> String {
        self.named(&self.load().unwrap_err().to_string())
    }

    /// What is wrong: of each error the key and the origin.
    fn refused(&self) -> Vec<(String, String)> {
        let errors = self.load().unwrap_err().0.into_iter();
        errors
            .map(|error| (error.key.unwrap_or_default(), self.named(&error.origin)))
            .collect()
    }

    /// With the paths of the files as `FILE` and `ENV`.
    fn named(&self, text: &str) -> String {
        text.replace(self.path().to_str().unwrap(), "FILE")
            .replace(self.env_path().to_str().unwrap(), "ENV")
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments = Some(self.arguments.clone()).filter(|arguments| !arguments.is_empty());
        let variables = self
            .environment
            .variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let file = fs::read_to_string(self.path()).unwrap_or_default();
        let lines = file.lines().map(|line| format!("FILE: {line}"));
        let directory = self.path().is_dir().then(|| "FILE is a directory".to_owned());

        let given: Vec<String> = arguments
            .into_iter()
            .chain(variables)
            .chain(lines)
            .chain(directory)
            .collect();
        f.write_str(&given.join("\n"))
    }
}

fn pair(key: &str, origin: &str) -> (String, String) {
    (key.to_owned(), origin.to_owned())
}

fn flag(key: &str) -> String {
    match key {
        "links" => "--link".to_owned(),
        _ => format!("--{}", key.replace('_', "-")),
    }
}

fn variable(key: &str) -> String {
    format!("FLEET_MONITOR_{}", key.to_uppercase())
}

/// The same wrong value in each place.
fn in_each_place() -> [Places; 3] {
    [
        Places::new().arguments(&["--unit-freq", "fast"]),
        Places::new().variable("UNIT_FREQ", "fast"),
        Places::new().file("unit_freq = 'fast'"),
    ]
}
