//! Puts values into a command, so that a shell takes each of them as it is. Pure.
//!
//! It must not know which commands there are.

use super::ActionSubject;
use super::template::{TemplatePart, parts};

/// The command. `None` if it is no template, if a value is not known, or if a value has control
/// characters or would be taken for a flag: names come from fleet, where anybody may have put them.
pub(super) fn expand(template: &str, subject: &ActionSubject<'_>) -> Option<String> {
    let mut command = String::new();
    let mut is_quoted = false;

    for part in parts(template).ok()? {
        match part {
            TemplatePart::Text(text) => {
                is_quoted ^= text.matches('\'').count() % 2 == 1;
                command.push_str(text);
            }
            TemplatePart::Value(placeholder) => {
                let value = placeholder.value(subject)?;
                let begins_word = command.is_empty() || command.ends_with([' ', '\'']);
                let is_flag = begins_word && value.starts_with('-');
                if value.is_empty() || is_flag || value.chars().any(char::is_control) {
                    return None;
                }

                // What is within quotes is a command for another shell, which reads the value once
                // more.
                let word = quoted(value);
                command.push_str(&if is_quoted { escaped(&word) } else { word });
            }
        }
    }
    Some(command)
}

/// A word for a shell: a name may contain a backslash (`systemd-escape(1)`).
pub(super) fn quoted(text: &str) -> String {
    let is_plain =
        |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | '@' | ':');

    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", escaped(text))
    }
}

/// A text within single quotes: the quotes are closed, and opened again, for each quote in it.
fn escaped(text: &str) -> String {
    text.replace('\'', "'\\''")
}
