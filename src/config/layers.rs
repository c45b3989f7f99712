//! The places where options can be set: defaults, environment and file, each as a [`Layer`], and
//! the command line.
//!
//! A layer keeps each value as it was written, with its origin. This module does not know what a
//! value means. `source::selection` knows which options belong to different sources.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::literal::{quoted, refuse_quotes, scalar};
use super::options::{OPTIONS, PREFIX, is_known, unknown, variable};
use super::parse;
use super::{ConfigError, Environment};
use crate::cli::{CA_VARIABLE, CERT_VARIABLE, Cli, KEY_VARIABLE, URL_VARIABLE};
use crate::source::selection::rules;

const CONFIG_VARIABLE: &str = "FLEET_MONITOR_CONFIG";

/// Variables that set no option of the daemon: the file, and the monitor that a command such as
/// `fleet-monitor status` asks.
const NO_OPTIONS: [&str; 5] =
    [CONFIG_VARIABLE, URL_VARIABLE, CA_VARIABLE, CERT_VARIABLE, KEY_VARIABLE];

/// The name of the layer of defaults, and the origin of its values.
pub(super) const DEFAULT: &str = "default";

/// The values that are set in one place.
pub(super) struct Layer {
    metadata: Metadata,
    values: Dict,
}

impl Layer {
    /// This layer without the options that belong to another source than options that are set in a
    /// stronger place.
    fn without_conflicts(mut self, stronger: &Figment) -> Self {
        let decided: Vec<(&str, String)> = OPTIONS
            .iter()
            .filter_map(|(key, _)| Some((*key, comparable(&stronger.find_value(key).ok()?))))
            .collect();

        self.values.retain(|key, value| {
            let value = comparable(value);
            decided
                .iter()
                .all(|(other, with)| rules::share_a_source((key, &value), (other, with)))
        });
        self
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// All places, merged.
pub(super) struct MergedLayers {
    pub(super) figment: Figment,
    /// The default file, if it does not exist.
    pub(super) absent_file: Option<String>,
}

/// Merges all places: the command line overrides the environment, which overrides the file, which
/// overrides the defaults. Errors that concern a whole place, and unknown keys, go to `errors`.
pub(super) fn merged(
    cli: &Cli,
    variables: &Environment,
    default_file: &Path,
    errors: &mut Vec<ConfigError>,
) -> MergedLayers {
    let mut absent_file = None;
    let read = match read_file(cli, variables, default_file) {
        Ok(ConfigFile::Text { path, text }) => file(path, &text, errors).map(Some),
        Ok(ConfigFile::Absent { path }) => {
            absent_file = Some(path);
            Ok(None)
        }
        Err(error) => Err(error),
    };
    let file = read.unwrap_or_else(|error| {
        errors.push(error);
        None
    });

    let environment = environment(variables, errors).without_conflicts(&Figment::from(cli));
    let stronger = Figment::from(&environment).merge(cli);

    let mut figment = Figment::from(defaults());
    if let Some(file) = file {
        figment = figment.merge(file.without_conflicts(&stronger));
    }
    MergedLayers { figment: figment.merge(environment).merge(cli), absent_file }
}

fn defaults() -> Layer {
    let values = OPTIONS
        .iter()
        .filter_map(|&(key, default)| Some((key.to_owned(), default?.into())))
        .collect();

    Layer {
        metadata: Metadata::named(DEFAULT).interpolater(|_, _| DEFAULT.into()),
        values,
    }
}

/// The layer of the environment. Values stay text, so that no type is guessed. An empty value
/// counts as not set, because that is what a line `NAME=` in an `EnvironmentFile=` means.
fn environment(environment: &Environment, errors: &mut Vec<ConfigError>) -> Layer {
    let mut values = Dict::new();
    let ours = environment
        .variables
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX) && !NO_OPTIONS.contains(&name.as_str()));

    for (name, value) in ours {
        match OPTIONS.iter().find(|(key, _)| variable(key) == *name) {
            Some(_) if value.is_empty() => {}
            Some((key, _)) => {
                values.insert((*key).into(), value.as_str().into());
            }
            None => {
                let key = name[PREFIX.len()..].to_lowercase();
                errors.push(unknown(key, environment.origin(name), variable));
            }
        }
    }

    let origins = environment.clone();
    let metadata = Metadata::named("environment")
        .interpolater(move |_, keys| origins.origin(&variable(&keys.join("."))));
    Layer { metadata, values }
}

/// The configuration file.
enum ConfigFile {
    Text { path: String, text: String },
    Absent { path: String },
}

/// Reads the configuration file. A file that was named explicitly has to exist; the default one
/// does not.
fn read_file(
    cli: &Cli,
    environment: &Environment,
    default: &Path,
) -> Result<ConfigFile, ConfigError> {
    let from_environment = environment
        .variables
        .get(CONFIG_VARIABLE)
        .filter(|path| !path.is_empty())
        .map(Path::new);
    let (path, named_by) = match (&cli.config, from_environment) {
        (Some(path), _) => (path.as_path(), Some("--config".to_owned())),
        (None, Some(path)) => (path, Some(environment.origin(CONFIG_VARIABLE))),
        (None, None) => (default, None),
    };
    let shown = path.display().to_string();

    if let (Some(_), Err(problem)) = (&named_by, refuse_quotes(&shown)) {
        return Err(error_of_file(shown, named_by, problem));
    }
    match (std::fs::read_to_string(path), &named_by) {
        (Ok(text), _) => Ok(ConfigFile::Text { path: shown, text }),
        (Err(error), None) if error.kind() == ErrorKind::NotFound => {
            Ok(ConfigFile::Absent { path: shown })
        }
        (Err(error), _) => Err(error_of_file(shown, named_by, format!("cannot be read: {error}"))),
    }
}

/// An error that concerns a whole file. `named_by` is the option that named it.
fn error_of_file(path: String, named_by: Option<String>, problem: String) -> ConfigError {
    match named_by {
        Some(origin) => ConfigError {
            key: Some("config".into()),
            value: Some(quoted(&path)),
            origin,
            problem,
        },
        None => ConfigError { key: None, value: None, origin: path, problem },
    }
}

/// The layer of a file. It does not use figment's own provider for TOML, whose errors quote the
/// line: the line may contain a secret.
fn file(path: String, text: &str, errors: &mut Vec<ConfigError>) -> Result<Layer, ConfigError> {
    let mut values: Dict = Toml::from_str(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        let problem = error.message().trim_end().replace('\n', "; ");
        let origin = format!("{path}:{line}:{column}");
        ConfigError { key: None, value: None, origin, problem }
    })?;

    let lines: BTreeMap<String, usize> = values
        .keys()
        .filter_map(|key| Some((key.clone(), line(text, key)?)))
        .collect();
    let origin =
        move |key: &str| lines.get(key).map_or(path.clone(), |line| format!("{path}:{line}"));

    values.retain(|key, _| {
        let is_known = is_known(key);
        if !is_known {
            errors.push(unknown(key.clone(), origin(key), str::to_owned));
        }
        is_known
    });
    Ok(Layer {
        metadata: Metadata::named("file").interpolater(move |_, keys| origin(&keys.join("."))),
        values,
    })
}

/// A value as text that [`rules`] can compare. A switch is `true` or `false`, however it is
/// written.
pub(super) fn comparable(value: &Value) -> String {
    let text = scalar(value).unwrap_or_default();

    match parse::switch(&text) {
        Ok(on) => on.to_string(),
        Err(_) => text,
    }
}

/// Line and column of a byte, both from 1. Columns are characters.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);

    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The line that sets a key, or that begins its table, from 1. `None` if it is written unusually,
/// for example with escapes.
fn line(text: &str, key: &str) -> Option<usize> {
    let sets_key = |line: &str| {
        let rest = line
            .trim_start()
            .trim_start_matches(['[', '"', '\''])
            .strip_prefix(key);
        rest.is_some_and(|rest| {
            rest.trim_start_matches(['"', '\''])
                .trim_start()
                .starts_with(['=', '.', ']'])
        })
    };

    text.lines().position(sets_key).map(|index| index + 1)
}
