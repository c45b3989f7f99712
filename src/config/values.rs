//! Reads the value in force of one key after the other, and collects all settings and all errors.
//!
//! It does not know what a value means: a function of [`parse`](super::parse) does.

use std::fmt::Display;
use std::path::Path;

use figment::Figment;
use figment::value::Value;

use super::layers::{self, DEFAULT, MergedLayers, comparable};
use super::link_list;
use super::literal::{bare_or_quoted, items, quoted, refuse_quotes, scalar, without_credentials};
use super::options::{OPTIONS, SECRET};
use super::{ConfigError, Environment, Setting};
use crate::actions::LinkTemplate;
use crate::cli::Cli;
use crate::source::selection::rules;

/// The value of a key, from the strongest place that sets it.
struct FoundValue {
    value: Value,
    /// A flag, an environment variable, a file with line, or `default`.
    origin: String,
    is_default: bool,
}

/// All values in force. Reading a value adds it to `settings`, or an error to `errors`.
pub(super) struct Values {
    figment: Figment,
    pub(super) errors: Vec<ConfigError>,
    pub(super) settings: Vec<Setting>,
    /// The configuration file, if there is none. `None`: it was read, or is one of the errors.
    pub(super) absent_file: Option<String>,
}

impl Values {
    /// Reads all places. `default_file` is used if no other file is named.
    pub(super) fn new(cli: &Cli, environment: &Environment, default_file: &Path) -> Self {
        let mut errors = Vec::new();
        let MergedLayers { figment, absent_file } =
            layers::merged(cli, environment, default_file, &mut errors);

        Self { figment, errors, settings: Vec::new(), absent_file }
    }

    /// The value of a key that has a default. If it is wrong, an error is added, and `T::default()`
    /// is returned as a placeholder.
    pub(super) fn with_default<T: Default>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        self.optional(key, parse).unwrap_or_default()
    }

    /// The value of a key. `None` if it is not set, or wrong; then an error is added.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.single(key, |text| Ok((parse(text)?, bare_or_quoted(text))))
    }

    /// The value of a key that contains a secret: the report shows it as `Display` does.
    pub(super) fn secret<T: Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.single(key, |text| {
            let parsed = parse(text)?;
            let shown = quoted(&format!("{parsed}/…"));
            Ok((parsed, shown))
        })
    }

    /// Reads a key that has one value, with a function as [`read`](Self::read) takes it.
    fn single<T>(
        &mut self,
        key: &'static str,
        convert: impl Fn(&str) -> Result<(T, String), String>,
    ) -> Option<T> {
        self.read(key, |value| {
            let text = scalar(value).ok_or("expected a single value")?;
            refuse_quotes(&text)?;
            convert(&text)
        })
    }

    /// The value of a key that is a list: an array in the file, or text with commas in any place.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&[String]) -> Result<Vec<T>, String>,
    ) -> Vec<T> {
        let list = self.read(key, |value| {
            scalar(value).iter().try_for_each(|text| refuse_quotes(text))?;
            let items = items(value).ok_or("expected a list, such as [\"a\", \"b\"] or \"a,b\"")?;
            items.iter().try_for_each(|item| refuse_quotes(item))?;

            let shown: Vec<_> = items.iter().map(|item| quoted(item)).collect();
            Ok((parse(&items)?, format!("[{}]", shown.join(", "))))
        });
        list.unwrap_or_default()
    }

    /// The value of a key whose list means one thing as a whole.
    pub(super) fn whole_list<T: Default>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&[String]) -> Result<T, String>,
    ) -> T {
        let list = self.list(key, |items| Ok(vec![parse(items)?]));
        list.into_iter().next().unwrap_or_default()
    }

    /// The value of a key that is a list of links.
    pub(super) fn links(&mut self, key: &'static str) -> Vec<LinkTemplate> {
        let links = self.read(key, |value| {
            let links = link_list::parse(value)?;
            let shown = link_list::as_toml(&links);
            Ok((links, shown))
        });
        links.unwrap_or_default()
    }

    /// Reads a key with a function that returns the value, and its TOML for the settings.
    fn read<T>(
        &mut self,
        key: &'static str,
        convert: impl Fn(&Value) -> Result<(T, String), String>,
    ) -> Option<T> {
        let Some(found) = self.find(key) else {
            let origin = DEFAULT.into();
            self.settings.push(Setting { key, value: None, origin });
            return None;
        };

        match convert(&found.value) {
            Ok((converted, shown)) => {
                self.settings
                    .push(Setting { key, value: Some(shown), origin: found.origin });
                Some(converted)
            }
            Err(problem) => {
                self.add_error(key, &found, problem);
                None
            }
        }
    }

    /// Adds an error about the value of a key, if the key is set.
    pub(super) fn refuse(&mut self, key: &str, problem: &str) {
        if let Some(found) = self.find(key) {
            self.add_error(key, &found, problem.into());
        }
    }

    /// Adds an error to `key` if both keys are set, defaults aside.
    pub(super) fn refuse_both(&mut self, key: &str, other: &str) {
        let (Some(found), Some(excluded)) = (self.find_set(key), self.find_set(other)) else {
            return;
        };
        let value = if SECRET.contains(&other) {
            "…".to_owned()
        } else {
            without_credentials(&excluded.value)
        };

        let problem = format!("cannot be combined with {other} = {value} ({})", excluded.origin);
        self.add_error(key, &found, problem);
    }

    /// The pairs of keys that are set, defaults aside, and that belong to different sources.
    pub(super) fn conflicts(&self) -> Vec<(&'static str, &'static str)> {
        let set: Vec<(&str, String)> = OPTIONS
            .iter()
            .filter_map(|(key, _)| Some((*key, comparable(&self.find_set(key)?.value))))
            .collect();
        let set: Vec<(&str, &str)> =
            set.iter().map(|(key, value)| (*key, value.as_str())).collect();

        rules::conflicts(&set)
    }

    fn add_error(&mut self, key: &str, found: &FoundValue, problem: String) {
        let value = (!SECRET.contains(&key)).then(|| without_credentials(&found.value));

        self.errors.push(ConfigError {
            key: Some(key.into()),
            value,
            origin: found.origin.clone(),
            problem,
        });
    }

    fn find_set(&self, key: &str) -> Option<FoundValue> {
        self.find(key).filter(|found| !found.is_default)
    }

    fn find(&self, key: &str) -> Option<FoundValue> {
        let value = self.figment.find_value(key).ok()?;
        let metadata = self.figment.get_metadata(value.tag())?;
        let origin = metadata.interpolate(self.figment.profile(), &[key]);

        Some(FoundValue { is_default: metadata.name == DEFAULT, value, origin })
    }
}
