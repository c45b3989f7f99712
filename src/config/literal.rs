//! Values as text and as TOML: how they are read, and how errors and reports show them.
//!
//! It does not know which options there are.

use figment::value::Value;

/// A single value as text, so that `8989` and `"8989"` are the same everywhere.
pub(super) fn scalar(value: &Value) -> Option<String> {
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

/// The items of a list: of an array, or of text with commas. `None` for any other type.
pub(super) fn items(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(_, values) => values.iter().map(scalar).collect(),
        value => match scalar(value)?.trim() {
            "" => Some(Vec::new()),
            text => Some(text.split(',').map(|item| item.trim().to_owned()).collect()),
        },
    }
}

/// Refuses a value in quotation marks. A shell removes them, but `docker --env-file` keeps them.
pub(super) fn refuse_quotes(text: &str) -> Result<(), String> {
    let is_quoted = ['"', '\'']
        .iter()
        .any(|&mark| text.len() > 1 && text.starts_with(mark) && text.ends_with(mark));

    if is_quoted {
        Err("has quotation marks around it; write it without them".into())
    } else {
        Ok(())
    }
}

/// A value as TOML, for errors. A user and a password before an `@` are replaced by `…`.
pub(super) fn without_credentials(value: &Value) -> String {
    match value {
        Value::Array(_, values) => {
            format!("[{}]", values.iter().map(without_credentials).collect::<Vec<_>>().join(", "))
        }
        // A link. Other tables are in the wrong place, and may contain a secret.
        Value::Dict(_, values) if values.keys().all(|key| matches!(&**key, "name" | "url")) => {
            let pair = |(key, value)| format!("{key} = {}", without_credentials(value));
            format!("{{ {} }}", values.iter().map(pair).collect::<Vec<_>>().join(", "))
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

/// Text as TOML. A number or a boolean needs no quotation marks.
pub(super) fn bare_or_quoted(text: &str) -> String {
    let is_integer = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    let is_fraction =
        text.contains('.') && text.parse::<f64>().is_ok_and(|number| number.to_string() == text);

    if is_integer || is_fraction || matches!(text, "true" | "false") {
        text.into()
    } else {
        quoted(text)
    }
}

/// Text as a basic string of TOML (TOML 1.0, section "String"). Its escapes are those of JSON, and
/// only TOML requires one for DEL.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
