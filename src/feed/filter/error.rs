//! `FilterError`: why a text is not a filter.
//!
//! It does not know where the text comes from.

use super::FilterKey;
use crate::similar::most_similar;

/// Why a text is not a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The text before a colon is not a key.
    #[error("{key}: is not a key of filters; expected {}{}", valid_keys(), hint(*.similar))]
    UnknownKey {
        /// What is written before the colon, in lower case.
        key: String,
        /// The key that was probably meant.
        similar: Option<&'static str>,
    },
    /// There is nothing behind a key.
    #[error("expected something after {key}:")]
    NoPattern {
        /// The key.
        key: &'static str,
    },
    /// The filter is too long.
    #[error("expected {most} bytes at most")]
    TooLong {
        /// The length of the longest filter, in bytes.
        most: usize,
    },
}

impl FilterError {
    pub(super) fn unknown_key(key: &str) -> Self {
        Self::UnknownKey { key: key.to_owned(), similar: similar(key) }
    }
}

/// The key that was probably meant: the most similar one, or else one that begins like it.
fn similar(key: &str) -> Option<&'static str> {
    let names = FilterKey::ALL.map(FilterKey::name);
    let begins_alike = |name: &&str| key.starts_with(*name) || name.starts_with(key);

    most_similar(key, names).or_else(|| names.into_iter().find(begins_alike))
}

fn hint(similar: Option<&str>) -> String {
    similar
        .map(|name| format!("; did you mean {name}:?"))
        .unwrap_or_default()
}

/// `unit:, machine:, … or meta:`
fn valid_keys() -> String {
    let [others @ .., last] = FilterKey::ALL.map(|key| format!("{}:", key.name()));

    format!("{} or {last}", others.join(", "))
}
