//! The places where an option can be set, laid over each other, and what is in force for each key.
//!
//! Values stay what they were where they were written, each with its origin; what they mean is not
//! known here. Which of them lead to different sources is known to [`rules`].

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::{ConfigError, Setting, parse};
use crate::cli::Cli;
use crate::source::selection::rules;

pub(super) const PREFIX: &str = "FLEET_MONITOR_";
const CONFIG_VARIABLE: &str = "FLEET_MONITOR_CONFIG";
const DEFAULT: &str = "default";

/// What is wrong with it may be that its password is there too, so no error shows its value.
const USER: &str = "etcd_user";

/// Every key, and what is in force where it is set nowhere.
pub(super) const OPTIONS: &[(&str, Option<&str>)] = &[
    ("fleetctl", None),
    ("machine_freq", Some("10")),
    ("unit_freq", Some("2")),
    ("endpoint", None),
    ("endpoint_port", Some("4001")),
    ("tunnel", None),
    ("tunnel_port", Some("22")),
    ("source", Some("auto")),
    ("api", None),
    ("etcd", None),
    ("etcd_prefix", Some(rules::DEFAULT_ETCD_PREFIX)),
    ("etcd_ca", None),
    ("etcd_cert", None),
    ("etcd_key", None),
    ("etcd_user", None),
    ("etcd_password_file", None),
    ("poll_timeout", Some("10")),
    ("grace", Some("30")),
    ("keep_lost", Some("3600")),
    ("demo", Some("false")),
    ("record", None),
    ("replay", None),
    ("replay_speed", Some("1")),
    ("port", Some("8989")),
    ("bind", None),
    ("publish", Some("changes")),
    ("unit_fields", Some("unit,load,active,sub,machine")),
    ("machine_fields", Some("machine,ip,metadata")),
    ("metrics_units", Some("")),
    ("allowed_origins", Some("")),
    ("allowed_hosts", Some("")),
    ("token_file", None),
    ("max_clients", Some("10000")),
    ("log", Some("info")),
    ("log_to", Some("auto")),
];

/// One place, read.
struct Layer {
    metadata: Metadata,
    values: Dict,
}

impl Layer {
    /// Without the options that ask for another source than an option of a stronger place does.
    fn under(mut self, stronger: &Figment) -> Self {
        let decided: Vec<(&str, String)> = OPTIONS
            .iter()
            .filter_map(|(key, _)| Some((*key, comparable(&stronger.find_value(key).ok()?))))
            .collect();
        self.values.retain(|key, value| {
            let value = comparable(value);
            decided
                .iter()
                .all(|(by, with)| rules::agree((key, &value), (by, with)))
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

/// Values stay text, so that nothing is guessed from them. An empty one is not set: that is how a
/// line of an `EnvironmentFile=` says nothing.
fn environment(variables: &BTreeMap<String, String>, errors: &mut Vec<ConfigError>) -> Layer {
    let mut values = Dict::new();
    for (name, value) in variables
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX) && *name != CONFIG_VARIABLE)
    {
        match OPTIONS.iter().find(|(key, _)| variable(key) == *name) {
            Some(_) if value.is_empty() => {}
            Some((key, _)) => {
                values.insert((*key).into(), value.as_str().into());
            }
            None => {
                let key = name[PREFIX.len()..].to_lowercase();
                errors.push(unknown(key, name.clone(), variable));
            }
        }
    }
    let metadata = Metadata::named("environment").interpolater(|_, keys| variable(&keys.join(".")));
    Layer { metadata, values }
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

/// Path and text of the file that was named, which must be there, or else of the default one, which
/// need not be.
fn read_file(
    cli: &Cli,
    variables: &BTreeMap<String, String>,
    default: &Path,
) -> Result<Option<(String, String)>, ConfigError> {
    let from_environment = variables
        .get(CONFIG_VARIABLE)
        .filter(|path| !path.is_empty())
        .map(Path::new);
    let (path, named_by) = match (&cli.config, from_environment) {
        (Some(path), _) => (path.as_path(), Some("--config")),
        (None, Some(path)) => (path, Some(CONFIG_VARIABLE)),
        (None, None) => (default, None),
    };
    let place = path.display().to_string();
    if let (Some(origin), Err(problem)) = (named_by, refuse_quotes(&place)) {
        let (key, value) = (Some("config".into()), Some(quoted(&place)));
        return Err(ConfigError { key, value, origin: origin.into(), problem });
    }
    match (std::fs::read_to_string(path), named_by) {
        (Ok(text), _) => Ok(Some((place, text))),
        (Err(error), None) if error.kind() == ErrorKind::NotFound => Ok(None),
        (Err(error), None) => Err(ConfigError {
            key: None,
            value: None,
            origin: place,
            problem: format!("cannot be read: {error}"),
        }),
        (Err(error), Some(origin)) => Err(ConfigError {
            key: Some("config".into()),
            value: Some(quoted(&place)),
            origin: origin.into(),
            problem: format!("cannot be read: {error}"),
        }),
    }
}

/// Not through figment's own provider for files: its error quotes the line, which may hold a
/// secret.
fn file(place: String, text: &str, errors: &mut Vec<ConfigError>) -> Result<Layer, ConfigError> {
    let mut values: Dict = Toml::from_str(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        let problem = error.message().trim_end().replace('\n', "; ");
        ConfigError {
            key: None,
            value: None,
            origin: format!("{place}:{line}:{column}"),
            problem,
        }
    })?;
    let lines: BTreeMap<String, usize> = values
        .keys()
        .filter_map(|key| Some((key.clone(), line(text, key)?)))
        .collect();
    let origin =
        move |key: &str| lines.get(key).map_or(place.clone(), |line| format!("{place}:{line}"));
    values.retain(|key, _| {
        let known = OPTIONS.iter().any(|(known, _)| known == key);
        if !known {
            errors.push(unknown(key.clone(), origin(key), str::to_owned));
        }
        known
    });
    Ok(Layer {
        metadata: Metadata::named("file").interpolater(move |_, keys| origin(&keys.join("."))),
        values,
    })
}

/// Line and column of a byte, both from 1; columns are characters.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The line that sets a key or begins its table, if it is written in the usual way.
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

/// An unknown key is told without its value, which may be a secret in the wrong place.
fn unknown(key: String, origin: String, spelled: impl Fn(&str) -> String) -> ConfigError {
    let wanted = key.replace('-', "_");
    let closest = OPTIONS
        .iter()
        .map(|(known, _)| (distance(&wanted, known), *known))
        .min();
    let extended = OPTIONS
        .iter()
        .find(|(known, _)| wanted.len() > 2 && known.starts_with(&wanted));
    let meant = match (closest, extended) {
        (Some((distance, known)), _) if distance <= wanted.chars().count().div_ceil(3) => {
            Some(known)
        }
        (_, extended) => extended.map(|(known, _)| *known),
    };
    let hint = meant
        .map(|known| format!("; did you mean {}?", spelled(known)))
        .unwrap_or_default();
    ConfigError {
        key: Some(key),
        value: None,
        origin,
        problem: format!("unknown option{hint}"),
    }
}

/// Levenshtein's distance: how many characters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[row.len() - 1]
}

/// A value in force.
pub(super) struct Found {
    value: Value,
    origin: String,
    given: bool,
}

/// What is in force, taken key by key, while errors and settings add up.
pub(super) struct Values {
    figment: Figment,
    pub(super) errors: Vec<ConfigError>,
    pub(super) settings: Vec<Setting>,
}

impl Values {
    /// Lays the command line over the environment, over the file, over the defaults. A choice of
    /// the source counts as not set if a stronger place has made another one.
    pub(super) fn new(
        cli: &Cli,
        variables: &BTreeMap<String, String>,
        default_file: &Path,
    ) -> Self {
        let mut errors = Vec::new();
        let file = read_file(cli, variables, default_file).and_then(|found| {
            found.map(|(place, text)| file(place, &text, &mut errors)).transpose()
        });
        let file = file.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let environment = environment(variables, &mut errors).under(&Figment::from(cli));
        let stronger = Figment::from(&environment).merge(cli);
        let mut figment = Figment::from(defaults());
        if let Some(file) = file {
            figment = figment.merge(file.under(&stronger));
        }
        figment = figment.merge(environment).merge(cli);
        Self { figment, errors, settings: Vec::new() }
    }

    fn find(&self, key: &str) -> Option<Found> {
        let value = self.figment.find_value(key).ok()?;
        let metadata = self.figment.get_metadata(value.tag())?;
        let origin = metadata.interpolate(self.figment.profile(), &[key]);
        Some(Found { given: metadata.name != DEFAULT, value, origin })
    }

    /// The value of a key that has a default. Where it is wrong, an error is noted, and the value
    /// is a placeholder.
    pub(super) fn take<T: Default>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        self.optional(key, parse).unwrap_or_default()
    }

    /// The value of a key, if it is set. Where it is wrong, an error is noted.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.convert(key, |value| {
            let text = scalar(value).ok_or("expected a single value")?;
            refuse_quotes(&text)?;
            Ok((parse(&text)?, bare_or_quoted(&text)))
        })
    }

    /// The value of a key that is a list: an array in the file, text with commas anywhere.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&[String]) -> Result<Vec<T>, String>,
    ) -> Vec<T> {
        let converted = self.convert(key, |value| {
            scalar(value).iter().try_for_each(|text| refuse_quotes(text))?;
            let items = items(value).ok_or("expected a list, such as [\"a\", \"b\"] or \"a,b\"")?;
            items.iter().try_for_each(|item| refuse_quotes(item))?;
            let shown: Vec<_> = items.iter().map(|item| quoted(item)).collect();
            Ok((parse(&items)?, format!("[{}]", shown.join(", "))))
        });
        converted.unwrap_or_default()
    }

    fn convert<T>(
        &mut self,
        key: &'static str,
        convert: impl Fn(&Value) -> Result<(T, String), String>,
    ) -> Option<T> {
        let Some(found) = self.find(key) else {
            self.settings
                .push(Setting { key, value: None, origin: DEFAULT.into() });
            return None;
        };
        match convert(&found.value) {
            Ok((converted, shown)) => {
                self.settings
                    .push(Setting { key, value: Some(shown), origin: found.origin });
                Some(converted)
            }
            Err(problem) => {
                self.fail(key, &found, problem);
                None
            }
        }
    }

    fn fail(&mut self, key: &str, found: &Found, problem: String) {
        let value = (key != USER).then(|| without_credentials(&found.value));
        self.errors.push(ConfigError {
            key: Some(key.into()),
            value,
            origin: found.origin.clone(),
            problem,
        });
    }

    /// Notes that what a key is set to needs something else.
    pub(super) fn refuse(&mut self, key: &str, problem: &str) {
        if let Some(found) = self.find(key) {
            self.fail(key, &found, problem.into());
        }
    }

    /// The pairs of keys, set anywhere but in the defaults, that lead to different sources.
    pub(super) fn conflicts(&self) -> Vec<(&'static str, &'static str)> {
        let set: Vec<(&str, String)> = OPTIONS
            .iter()
            .filter_map(|(key, _)| Some((*key, comparable(&self.given(key)?.value))))
            .collect();
        let set: Vec<(&str, &str)> =
            set.iter().map(|(key, value)| (*key, value.as_str())).collect();
        rules::conflicts(&set)
    }

    /// Notes an error if both keys are set anywhere but in the defaults.
    pub(super) fn exclude(&mut self, key: &str, other: &str) {
        if let (Some(found), Some(excluded)) = (self.given(key), self.given(other)) {
            let value = if other == USER {
                "…".to_owned()
            } else {
                without_credentials(&excluded.value)
            };
            let problem =
                format!("cannot be combined with {other} = {value} ({})", excluded.origin);
            self.fail(key, &found, problem);
        }
    }

    fn given(&self, key: &str) -> Option<Found> {
        self.find(key).filter(|found| found.given)
    }
}

/// A value as [`rules`] knows it: text, and a switch, however it is written, as `true` or `false`.
fn comparable(value: &Value) -> String {
    let text = scalar(value).unwrap_or_default();
    match parse::switch(&text) {
        Ok(on) => on.to_string(),
        Err(_) => text,
    }
}

/// A single value as text, so that `8989` and `"8989"` are the same everywhere.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, char) => Some(char.to_string()),
        Value::Bool(_, bool) => Some(bool.to_string()),
        Value::Num(_, number) => number
            .to_i128()
            .map(|number| number.to_string())
            .or(number.to_f64().map(|number| number.to_string())),
        Value::Empty(..) | Value::Dict(..) | Value::Array(..) => None,
    }
}

fn items(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(_, values) => values.iter().map(scalar).collect(),
        value => match scalar(value)?.trim() {
            "" => Some(Vec::new()),
            text => Some(text.split(',').map(|item| item.trim().to_owned()).collect()),
        },
    }
}

/// Refuses a value in quotation marks. A shell takes them away, but `docker --env-file` keeps them.
fn refuse_quotes(text: &str) -> Result<(), String> {
    let is_quoted = ['"', '\'']
        .iter()
        .any(|&mark| text.len() > 1 && text.starts_with(mark) && text.ends_with(mark));
    if is_quoted {
        Err("has quotation marks around it; write it without them".into())
    } else {
        Ok(())
    }
}

/// As TOML, for people: whatever stands before an `@`, but for a scheme, is nobody's business.
fn without_credentials(value: &Value) -> String {
    match value {
        Value::Array(_, values) => {
            format!("[{}]", values.iter().map(without_credentials).collect::<Vec<_>>().join(", "))
        }
        value => scalar(value).map_or("{…}".into(), |text| {
            match (text.rsplit_once('@'), text.split_once("://")) {
                (Some((_, host)), Some((scheme, _))) if !scheme.contains('@') => {
                    quoted(&format!("{scheme}://…@{host}"))
                }
                (Some((user, host)), _) if user.contains(':') => quoted(&format!("…@{host}")),
                _ => bare_or_quoted(&text),
            }
        }),
    }
}

/// As TOML; what reads the same as a number or a boolean needs no quotes.
fn bare_or_quoted(text: &str) -> String {
    let is_integer = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    let is_fraction =
        text.contains('.') && text.parse::<f64>().is_ok_and(|number| number.to_string() == text);
    if is_integer || is_fraction || matches!(text, "true" | "false") {
        text.into()
    } else {
        quoted(text)
    }
}

/// A basic string of TOML: JSON's escapes are valid in it, and DEL is the one character that only
/// TOML escapes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
