//! Masks what looks like a secret in a unit file. Pure.
//!
//! A file cannot say what in it is secret. So this goes by names, such as `PASSWORD` in
//! `Environment=DB_PASSWORD=…`, and by the forms in which secrets are usually passed. When in
//! doubt, it masks. The file keeps its lines, and each line its name. `[X-Fleet]` is left as it is,
//! since fleet's lists have that anyway.

#[cfg(test)]
mod tests;

use std::ops::Range;

/// What stands in place of a secret, however long that is.
const MASK: &str = "********";

/// A name that contains one of these, in upper or lower case, has a secret value. `PASS` stands for
/// password, passwd and passphrase too.
const SECRET_WORDS: [&str; 7] = ["PASS", "PWD", "TOKEN", "SECRET", "KEY", "CREDENTIAL", "AUTH"];

/// Options of systemd that contain such a word and have no secret value: a mode, a switch, names of
/// variables, or paths (`systemd.exec(5)`, `systemd.socket(5)`, `systemd.unit(5)`).
const HARMLESS_OPTIONS: [&str; 10] = [
    "PassEnvironment",
    "PassCredentials",
    "PassSecurity",
    "PassPacketInfo",
    "KeyringMode",
    "LoadCredential",
    "LoadCredentialEncrypted",
    "ImportCredential",
    "ConditionCredential",
    "AssertCredential",
];

/// Options whose value is `ID:SECRET` (`systemd.exec(5)`).
const CREDENTIAL_OPTIONS: [&str; 2] = ["SetCredential", "SetCredentialEncrypted"];

/// The words before the secret in `Authorization: Bearer …` (RFC 6750, RFC 7617).
const AUTHORIZATION_SCHEMES: [&str; 4] = ["Basic", BEARER, "Digest", "Token"];

/// The one of them that a secret follows anywhere. The others are usual words.
const BEARER: &str = "Bearer";

/// Options of programs such as curl, whose value is `USER:PASSWORD`.
const USER_OPTIONS: [&str; 2] = ["-u", "--user"];

/// The text with masks in place of secrets. It has as many lines as before.
pub(super) fn mask(text: &str) -> String {
    let mut secrets = Vec::new();
    let mut is_of_fleet = false;

    for line in logical_lines(text) {
        let content = &text[line.clone()];
        if let Some(section) = section(content) {
            is_of_fleet = section == "X-Fleet";
        } else if !is_of_fleet {
            let found = secrets_of_line(content).into_iter();
            secrets.extend(found.map(|secret| line.start + secret.start..line.start + secret.end));
        }
    }
    replaced(text, &secrets)
}

/// The ranges of lines. One that ends with a backslash includes the next one, unless it is a
/// comment (`systemd.syntax(7)`).
fn logical_lines(text: &str) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut is_continued = false;
    let mut at = 0;

    for line in text.split_inclusive('\n') {
        let begins = !is_continued;
        if begins {
            start = at;
        }
        at += line.len();

        let is_comment = begins && line.trim_start().starts_with(['#', ';']);
        is_continued = !is_comment && line.trim_end().ends_with('\\');
        if !is_continued {
            lines.push(start..at);
        }
    }
    if is_continued {
        lines.push(start..at);
    }
    lines
}

fn section(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.strip_suffix(']')
}

/// Where the secrets of one logical line are.
fn secrets_of_line(line: &str) -> Vec<Range<usize>> {
    let Some((name, value)) = option(line) else {
        return ValueScanner::new(line, 0).secrets();
    };

    let end = line.trim_end().len().max(value);
    let secret = if CREDENTIAL_OPTIONS.contains(&name) {
        let start = line[value..end].find(':').map_or(value, |colon| value + colon + 1);
        start..end
    } else if is_secret(name) && !HARMLESS_OPTIONS.contains(&name) {
        value..end
    } else {
        return ValueScanner::new(line, value).secrets();
    };
    vec![secret]
}

/// The name of an option, and where its value begins. A comment has none.
fn option(line: &str) -> Option<(&str, usize)> {
    let equals = line.find('=')?;
    let name = line[..equals].trim();
    let is_name = !name.is_empty() && name.chars().all(is_name_character);
    is_name.then_some((name, equals + 1))
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.')
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn is_authorization_scheme(word: &str) -> bool {
    AUTHORIZATION_SCHEMES
        .iter()
        .any(|scheme| scheme.eq_ignore_ascii_case(word))
}

/// Finds secrets in the value of an option: words, some of them in quotes, as `systemd.syntax(7)`
/// and `systemd.service(5)` describe them.
struct ValueScanner<'a> {
    text: &'a str,
    /// Where it is, in bytes.
    at: usize,
    /// The quote that is open.
    quote: Option<char>,
    found: Vec<Range<usize>>,
}

impl<'a> ValueScanner<'a> {
    fn new(text: &'a str, at: usize) -> Self {
        Self { text, at, quote: None, found: Vec::new() }
    }

    fn secrets(mut self) -> Vec<Range<usize>> {
        while let Some(character) = self.next() {
            if is_name_character(character) {
                self.name();
            } else if self.text[self.at..].starts_with("://") {
                self.url();
            } else {
                self.skip(character);
            }
        }
        self.found
    }

    fn next(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// Passes one character, or two after a backslash.
    fn skip(&mut self, character: char) {
        self.at += character.len_utf8();
        match character {
            '\\' => self.at += self.next().map_or(0, char::len_utf8),
            '"' | '\'' if self.quote.is_none() => self.quote = Some(character),
            _ if self.quote == Some(character) => self.quote = None,
            _ => {}
        }
    }

    /// Passes a name, and the secret that belongs to it.
    fn name(&mut self) {
        let start = self.at;
        let rest = &self.text[start..];
        let end = start + rest.find(|next| !is_name_character(next)).unwrap_or(rest.len());
        let name = &self.text[start..end];
        self.at = end;

        if is_secret(name) {
            let is_in_path = self.text[..start].ends_with(['/', '@']);
            if let Some(value) = value_after_separator(&self.text[end..], is_in_path) {
                self.secret(end + value);
                if is_authorization_scheme(&self.text[end + value..self.at]) {
                    self.next_word();
                }
            } else if name.starts_with('-') {
                self.next_word();
            }
        } else if name.eq_ignore_ascii_case(BEARER) {
            self.next_word();
        } else if USER_OPTIONS.contains(&name) {
            self.user();
        }
    }

    /// The value of an option for a user: what follows the colon is secret.
    fn user(&mut self) {
        let rest = &self.text[self.at..];
        let value = self.at + value_after_separator(rest, true).unwrap_or_else(|| blanks(rest));
        let end = self.end_of_value(value);

        let content = self.text[value..end].trim_end_matches(['"', '\'']);
        if let Some(colon) = content.find(':') {
            self.found.push(value + colon + 1..value + content.len());
            self.at = end;
        }
    }

    /// The next word is secret.
    fn next_word(&mut self) {
        // The word before it may be in quotes, which end here.
        if let Some(quote) = self.quote
            && self.text[self.at..].starts_with(quote)
        {
            self.skip(quote);
        }

        let blanks = blanks(&self.text[self.at..]);
        if blanks > 0 {
            self.secret(self.at + blanks);
        }
    }

    /// A secret begins here.
    fn secret(&mut self, start: usize) {
        let end = self.end_of_value(start);
        if start < end {
            self.found.push(start..end);
        }
        self.at = end;
    }

    /// Where a value ends: at the closing quote if it is inside of quotes, or else at a blank that
    /// is not in quotes of its own.
    fn end_of_value(&self, start: usize) -> usize {
        let mut inner = None;
        let mut characters = self.text[start..].char_indices();

        while let Some((at, character)) = characters.next() {
            match (self.quote.or(inner), character) {
                (None, '\\') if self.text[start + at..].starts_with("\\\n") => return start + at,
                (_, '\\') => _ = characters.next(),
                (Some(quote), _) if quote == character => {
                    if self.quote.is_some() {
                        return start + at;
                    }
                    inner = None;
                }
                (None, '"' | '\'') => inner = Some(character),
                (None, _) if character.is_whitespace() => return start + at,
                _ => {}
            }
        }
        self.text.len()
    }

    /// Masks the password in a URL, or all that stands before its last `@`. In doubt that is more:
    /// a password that is not escaped may contain any character but a blank.
    fn url(&mut self) {
        let start = self.at + "://".len();
        let rest = &self.text[start..];
        let end = rest
            .find(|next: char| next.is_whitespace() || matches!(next, '"' | '\''))
            .unwrap_or(rest.len());

        self.at = start;
        if let Some(at_sign) = rest[..end].rfind('@') {
            let password = rest[..at_sign].find(':').map_or(0, |colon| colon + 1);
            self.found.push(start + password..start + at_sign);
            self.at = start + at_sign;
        }
    }
}

/// Where the value begins in what follows a name: after a `=`, or a `:` as in JSON and in headers.
/// `None` if there is no value.
fn value_after_separator(rest: &str, is_in_path: bool) -> Option<usize> {
    // The end of a name in quotes, which may be escaped.
    let after_quote = rest.trim_start_matches(['"', '\'', '\\', ']', '+', '?']);
    let after_blanks = after_quote.trim_start_matches([' ', '\t']);
    let has_blanks = after_blanks.len() < after_quote.len();

    let value = match after_blanks.chars().next()? {
        '=' => &after_blanks[1..],
        ':' if !is_in_path => &after_blanks[1..],
        _ => return None,
    };
    let value = if has_blanks || after_blanks.starts_with(':') {
        value.trim_start_matches([' ', '\t'])
    } else {
        value
    };
    Some(rest.len() - value.len())
}

/// The length of the blanks at the beginning. A backslash and a newline count as a blank.
fn blanks(text: &str) -> usize {
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start();
        let trimmed = trimmed.strip_prefix("\\\n").unwrap_or(trimmed);
        if trimmed.len() == rest.len() {
            return text.len() - rest.len();
        }
        rest = trimmed;
    }
}

/// The text with a mask in place of each of these parts. If a part has several lines, each of them
/// is masked, and keeps its indentation and its backslash.
fn replaced(text: &str, secrets: &[Range<usize>]) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut done = 0;

    for secret in secrets {
        masked.push_str(&text[done..secret.start]);
        for line in text[secret.clone()].split_inclusive('\n') {
            masked.push_str(&masked_line(line));
        }
        done = secret.end;
    }
    masked.push_str(&text[done..]);
    masked
}

fn masked_line(line: &str) -> String {
    let (content, newline) = match line.strip_suffix('\n') {
        Some(content) => (content, "\n"),
        None => (line, ""),
    };
    let (content, backslash) = match content.trim_end().strip_suffix('\\') {
        Some(content) if !newline.is_empty() => (content.trim_end(), " \\"),
        _ => (content, ""),
    };

    let indentation = &content[..content.len() - content.trim_start().len()];
    let mask = if content.trim().is_empty() { "" } else { MASK };
    format!("{indentation}{mask}{backslash}{newline}")
}
