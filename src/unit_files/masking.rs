//! Masks what looks like a secret in a unit file. Pure.
//!
//! A file cannot say what in it is secret. So this goes by names, such as `PASSWORD` in
//! `Environment=DB_PASSWORD=…`, and by the forms in which secrets are usually passed. When in
//! doubt, it masks. The file keeps its lines, and each line its name. `[X-Fleet]` is left as it is,
//! since fleet's lists have that anyway.

mod landmarks;
mod lines;
#[cfg(test)]
mod tests;

use std::ops::Range;

use landmarks::{Landmark, Positions};
use lines::{Continuation, LogicalLine, logical_lines};

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

/// Options of programs such as curl, whose value is `USER:PASSWORD`. The value may follow the short
/// ones without a blank.
const USER_OPTIONS: [&str; 4] = ["-u", "-U", "--user", "--proxy-user"];

const QUOTES: [char; 2] = ['"', '\''];

/// A command whose name contains one of these takes a password after `-p`, with a blank or without.
const COMMANDS_WITH_PASSWORD: [&str; 5] = ["login", "mysql", "mariadb", "psql", "sshpass"];

/// The commands of docker and podman that take ports after `-p`.
const COMMANDS_WITH_PORTS: [&str; 2] = ["run", "create"];

/// The text with masks in place of secrets. It has as many lines as before. The time that it takes
/// grows with the length of the text only, whatever the text is.
pub(super) fn mask(text: &str) -> String {
    // Versions of systemd differ in where a line continues. What is a secret for one of them is
    // masked.
    let mut secrets = secrets(text, Continuation::Strict);
    secrets.extend(self::secrets(text, Continuation::Lenient));
    replaced(text, &united(secrets))
}

/// Where the secrets are, if lines continue in this way.
fn secrets(text: &str, continuation: Continuation) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    let mut is_of_fleet = false;

    for LogicalLine { start, text } in logical_lines(text, continuation) {
        if let Some(section) = section(&text) {
            is_of_fleet = section == "X-Fleet";
        } else if !is_of_fleet {
            let found = secrets_of_line(&text).into_iter();
            secrets.extend(found.map(|secret| start + secret.start..start + secret.end));
        }
    }
    secrets
}

/// The same parts in their order, without any that overlap.
fn united(mut parts: Vec<Range<usize>>) -> Vec<Range<usize>> {
    parts.sort_by_key(|part| part.start);

    let mut united: Vec<Range<usize>> = Vec::with_capacity(parts.len());
    for part in parts {
        match united.last_mut() {
            Some(last) if part.start < last.end => last.end = last.end.max(part.end),
            _ => united.push(part),
        }
    }
    united
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

/// Whether a word after `-p` publishes a port, such as `80:80` or `${IP}:80:80/udp`.
fn is_port_mapping(word: &str) -> bool {
    let Some((host, container)) = word.trim_matches(['"', '\'']).rsplit_once(':') else {
        return false;
    };
    let container = container.trim_end_matches("/tcp").trim_end_matches("/udp");
    let is_number = |character: char| character.is_ascii_digit() || character == '-';

    // A variable, in braces.
    let variable = host.strip_prefix("${").and_then(|host| host.split_once('}'));
    let is_named = |(name, _): &(&str, &str)| {
        name.chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_')
    };
    let host = variable.filter(is_named).map_or(host, |(_, host)| host);

    !container.is_empty()
        && container.chars().all(is_number)
        && host
            .chars()
            .all(|character| is_number(character) || matches!(character, '.' | ':'))
}

/// Finds secrets in the value of an option: words, some of them in quotes, as `systemd.syntax(7)`
/// and `systemd.service(5)` describe them.
///
/// It only goes forwards. What it looks for further on, from many places, is in [`Positions`].
struct ValueScanner<'a> {
    text: &'a str,
    /// Where it is, in bytes.
    at: usize,
    /// The quote that is open.
    quote: Option<char>,
    /// Whether it has passed a command that takes a password after `-p`.
    takes_password: bool,
    /// Whether it has passed a command that takes ports after `-p`.
    takes_ports: bool,
    found: Vec<Range<usize>>,
    positions: Positions<'a>,
}

impl<'a> ValueScanner<'a> {
    fn new(text: &'a str, at: usize) -> Self {
        Self {
            text,
            at,
            quote: None,
            takes_password: false,
            takes_ports: false,
            found: Vec::new(),
            positions: Positions::new(text),
        }
    }

    fn secrets(mut self) -> Vec<Range<usize>> {
        while let Some(character) = self.next() {
            count(1);
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
        count(name.len());
        self.at = end;
        self.pass_command(name);

        if self.takes_password && name.starts_with("-p") {
            self.short_password(start + "-p".len());
            if is_secret(name) {
                self.next_word();
            }
        } else if self.user(start, name) {
            // Its password has been found.
        } else if is_secret(name) {
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
        }
    }

    /// Takes note of a command that gives `-p` a meaning.
    fn pass_command(&mut self, name: &str) {
        self.takes_ports |= COMMANDS_WITH_PORTS.contains(&name);
        if !self.takes_password {
            let name = name.to_ascii_lowercase();
            self.takes_password = COMMANDS_WITH_PASSWORD.iter().any(|known| name.contains(known));
        }
    }

    /// The value of `-p`, which begins here or after blanks. It is secret unless it is a port.
    fn short_password(&mut self, after_letter: usize) {
        let mut start = after_letter;
        if self.at == after_letter {
            self.pass_closing_quote();
            start = self.at + self.blanks();
        }

        let word = self.text[start..]
            .split(char::is_whitespace)
            .next()
            .unwrap_or_default();
        count(word.len());
        if !(self.takes_ports && is_port_mapping(word)) {
            self.secret(start);
        }
    }

    /// Passes the value of an option for a user, if this is one: what follows the colon is secret.
    fn user(&mut self, start: usize, name: &str) -> bool {
        let is_whole = USER_OPTIONS.contains(&name);
        let value = if is_whole {
            self.pass_closing_quote();
            let rest = &self.text[self.at..];
            self.at + value_after_separator(rest, true).unwrap_or_else(|| self.blanks())
        } else if name.starts_with(['-']) && name[1..].starts_with(['u', 'U']) {
            start + "-u".len()
        } else {
            return false;
        };

        let colon = self.positions.next(Landmark::Colon, value);
        // A Go program has options such as `-upstream=http://…`.
        let is_option = !is_whole && self.positions.next(Landmark::Equals, value) < colon;
        if is_option || colon >= self.end_of_user(value) {
            return false;
        }

        let end = self.end_of_value(value);
        let password = colon + 1..value + self.text[value..end].trim_end_matches(QUOTES).len();
        if password.start > password.end {
            return false;
        }
        self.found.push(password);
        self.at = end;
        true
    }

    /// Before which place the colon after the user's name has to be, if the name begins here.
    fn end_of_user(&mut self, value: usize) -> usize {
        let content = self.text[value..].trim_start_matches('\\');
        let begin = self.text.len() - content.len();
        count(begin - value);

        match content.chars().next() {
            Some(quote @ ('"' | '\'')) if begin > value || self.quote != Some(quote) => {
                // The colon may follow the closing quote.
                let quote = self.positions.next(Landmark::of_quote(quote), begin + 1);
                (quote + 2).min(self.text.len())
            }
            _ => self.positions.end_of_word(value),
        }
    }

    /// The next word is secret.
    fn next_word(&mut self) {
        self.pass_closing_quote();
        let blanks = self.blanks();
        if blanks > 0 {
            self.secret(self.at + blanks);
        }
    }

    /// Passes the end of quotes, if they end here: the word before may be in quotes of its own.
    fn pass_closing_quote(&mut self) {
        if let Some(quote) = self.quote
            && self.text[self.at..].starts_with(quote)
        {
            self.skip(quote);
        }
    }

    /// The length of the blanks that begin here.
    fn blanks(&self) -> usize {
        let rest = &self.text[self.at..];
        let blanks = rest.len() - rest.trim_start().len();
        count(blanks);
        blanks
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
            count(1);
            match (self.quote.or(inner), character) {
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
        self.at = start;

        if let Some(at_sign) = self.positions.last_at_sign(start) {
            let colon = self.positions.next(Landmark::Colon, start);
            let password = if colon < at_sign { colon + 1 } else { start };
            self.found.push(password..at_sign);
            self.at = at_sign;
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
    count(rest.len() - after_blanks.len());

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

/// Counts what is looked at. Tests hold it against the length of the text.
fn count(characters: usize) {
    #[cfg(test)]
    LOOKED_AT.set(LOOKED_AT.get() + characters);
    #[cfg(not(test))]
    let _ = characters;
}

#[cfg(test)]
thread_local! {
    /// How many characters [`mask`] has looked at in this thread.
    pub(super) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
