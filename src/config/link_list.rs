//! The list of links: how it is written in each place.
//!
//! In the file it is an array of tables, `[{ name = "Logs", url = "https://…" }]`; on the command
//! line each link is `NAME=URL`, and in the environment these are separated by commas. Which URLs
//! are valid is decided in [`crate::actions`].

use std::collections::BTreeSet;

use figment::value::{Dict, Value};

use super::literal::{items, quoted, refuse_quotes, scalar};
use super::parse::Parsed;
use crate::actions::{LinkTemplate, MAX_LINKS};

const EXPECTED: &str = "expected links, such as [{ name = \"Logs\", url = \
                        \"https://logs.example/{unit}\" }] in the file, or \
                        Logs=https://logs.example/{unit}";

/// The links of a value.
pub(super) fn parse(value: &Value) -> Parsed<Vec<LinkTemplate>> {
    scalar(value).iter().try_for_each(|text| refuse_quotes(text))?;
    let links = match value {
        // `--link ''`, so that the command line can set none.
        Value::Array(_, values) if is_empty_text(values) => vec![],
        Value::Array(_, values) => values.iter().map(link).collect::<Parsed<Vec<_>>>()?,
        value => {
            let texts = items(value).ok_or(EXPECTED)?;
            texts.iter().map(|text| from_text(text)).collect::<Parsed<Vec<_>>>()?
        }
    };
    if links.len() > MAX_LINKS {
        return Err(format!("expected at most {MAX_LINKS} links"));
    }

    let mut names = BTreeSet::new();
    match links.iter().find(|link| !names.insert(&*link.name)) {
        Some(twice) => Err(format!("{:?} is there twice", twice.name)),
        None => Ok(links),
    }
}

fn is_empty_text(values: &[Value]) -> bool {
    matches!(values, [Value::String(_, text)] if text.is_empty())
}

fn link(value: &Value) -> Parsed<LinkTemplate> {
    match value {
        Value::Dict(_, table) => from_table(table),
        value => from_text(&scalar(value).ok_or(EXPECTED)?),
    }
}

fn from_table(table: &Dict) -> Parsed<LinkTemplate> {
    if let Some(unknown) = table.keys().find(|key| !matches!(&***key, "name" | "url")) {
        return Err(format!("unknown key {unknown:?}; a link has a name and a url"));
    }

    let text = |key: &str| {
        let value = table.get(key).ok_or_else(|| format!("a link needs a {key}"))?;
        scalar(value).ok_or_else(|| format!("the {key} of a link is a text"))
    };
    checked(&text("name")?, &text("url")?)
}

/// A link as `NAME=URL`.
fn from_text(text: &str) -> Parsed<LinkTemplate> {
    refuse_quotes(text)?;
    let (name, url) = text
        .split_once('=')
        .ok_or_else(|| format!("{EXPECTED}; a comma in a URL is written %2C"))?;

    checked(name.trim(), url.trim())
}

fn checked(name: &str, url: &str) -> Parsed<LinkTemplate> {
    LinkTemplate::new(name, url).map_err(|error| format!("link {name:?}: {error}"))
}

/// The links as TOML.
pub(super) fn as_toml(links: &[LinkTemplate]) -> String {
    let links: Vec<String> = links
        .iter()
        .map(|link| format!("{{ name = {}, url = {} }}", quoted(&link.name), quoted(&link.url)))
        .collect();

    format!("[{}]", links.join(", "))
}
