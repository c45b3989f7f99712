//! Parses a file of environment variables as systemd does for `EnvironmentFile=`
//! (`systemd.exec(5)`). Pure.
//!
//! It must not know which variables are options, nor where the file is.

use std::iter::Peekable;
use std::str::Chars;

/// A variable that the file sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// The line on which it begins, from 1.
    pub(super) line: usize,
    pub(super) name: String,
    /// The value without its quotation marks and escapes.
    pub(super) value: String,
}

/// What the file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EnvFile {
    /// In the order of the file. If a variable is set twice, the last value counts.
    pub(super) assignments: Vec<Assignment>,
    /// The lines, from 1, that are neither comments nor valid assignments. systemd ignores them.
    pub(super) ignored: Vec<usize>,
}

impl EnvFile {
    pub(super) fn parse(text: &str) -> Self {
        let mut scanner = Scanner { rest: text.chars().peekable(), line: 1 };
        let mut file = Self::default();

        while let Some(first) = scanner.next_if(|_| true) {
            match first {
                _ if first.is_ascii_whitespace() => {}
                '#' | ';' => scanner.skip_line(),
                _ => {
                    let line = scanner.line;
                    match scanner.assignment(first) {
                        Some((name, value)) if is_name(&name) && is_value(&value) => {
                            file.assignments.push(Assignment { line, name, value });
                        }
                        _ => file.ignored.push(line),
                    }
                }
            }
        }
        file
    }
}

/// Reads the text character by character.
struct Scanner<'a> {
    rest: Peekable<Chars<'a>>,
    /// The current line, from 1.
    line: usize,
}

impl Scanner<'_> {
    fn next_if(&mut self, is_wanted: impl FnOnce(char) -> bool) -> Option<char> {
        let next = self.rest.next_if(|char| is_wanted(*char))?;
        if next == '\n' {
            self.line += 1;
        }
        Some(next)
    }

    fn skip_line(&mut self) {
        while self.next_if(|char| !is_end_of_line(char)).is_some() {}
    }

    /// The name and the value of the assignment that begins with `first`. `None`: the line has no
    /// `=`.
    fn assignment(&mut self, first: char) -> Option<(String, String)> {
        let mut name = first.to_string();
        if first != '=' {
            while let Some(next) = self.next_if(|char| char != '=' && !is_end_of_line(char)) {
                name.push(next);
            }
            self.next_if(|char| char == '=')?;
        }

        let name = name.trim_end().to_owned();
        Some((name, self.value()))
    }

    /// The rest of an assignment. A quoted part may contain line ends, and so may a part with a
    /// backslash before the end of the line. Blanks around the value and around quoted parts do not
    /// count.
    fn value(&mut self) -> String {
        let mut value = String::new();
        // A quotation mark begins a quoted part only at the start, or after another quoted part.
        let mut is_in_word = false;
        // The bytes of the value that are not blanks at its end.
        let mut kept = 0;

        while let Some(next) = self.next_if(|char| !is_end_of_line(char)) {
            match next {
                '\'' if !is_in_word => {
                    while let Some(quoted) = self.next_if(|char| char != '\'') {
                        value.push(quoted);
                    }
                    self.next_if(|_| true);
                    kept = value.len();
                }
                '"' if !is_in_word => {
                    self.double_quoted(&mut value);
                    kept = value.len();
                }
                '\\' => {
                    // The end of a line is removed together with the backslash.
                    value.extend(self.next_if(|_| true).filter(|char| !is_end_of_line(*char)));
                    kept = value.len();
                    is_in_word = true;
                }
                _ if next.is_ascii_whitespace() => {
                    if is_in_word {
                        value.push(next);
                    }
                }
                _ => {
                    value.push(next);
                    kept = value.len();
                    is_in_word = true;
                }
            }
        }

        value.truncate(kept);
        value
    }

    /// Appends what is up to the next double quotation mark, in which a backslash escapes the same
    /// characters as in a shell.
    fn double_quoted(&mut self, value: &mut String) {
        while let Some(next) = self.next_if(|_| true) {
            match next {
                '"' => return,
                '\\' => match self.next_if(|_| true) {
                    Some('\n') | None => {}
                    Some(escaped @ ('"' | '\\' | '`' | '$')) => value.push(escaped),
                    Some(other) => value.extend(['\\', other]),
                },
                _ => value.push(next),
            }
        }
    }
}

fn is_end_of_line(char: char) -> bool {
    matches!(char, '\n' | '\r')
}

/// Whether systemd accepts the name of a variable.
fn is_name(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

/// Whether systemd accepts the value of a variable.
fn is_value(text: &str) -> bool {
    !text
        .chars()
        .any(|char| char.is_ascii_control() && !matches!(char, '\t' | '\n'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The value of the only variable, which is named `A`.
    fn value(text: &str) -> String {
        let file = EnvFile::parse(text);
        assert_eq!((file.assignments.len(), &*file.ignored), (1, &[][..]), "{text:?}");
        assert_eq!(file.assignments[0].name, "A", "{text:?}");
        file.assignments[0].value.clone()
    }

    #[test]
    fn values_are_read_as_systemd_reads_them() {
        for (text, expected) in [
            ("A=b", "b"),
            ("A=", ""),
            ("A=\n", ""),
            ("  A = b c \t\n", "b c"),
            ("A=b\r\n", "b"),
            ("A=b # no comment", "b # no comment"),
            ("A=b=c", "b=c"),
            ("A=$B ${C} %i", "$B ${C} %i"),
            ("A='b  c'", "b  c"),
            ("A=' b '  ", " b "),
            (r#"A="b c""#, "b c"),
            (r#"A="b"'c' "d""#, "bcd"),
            (r#"A=b"c""#, r#"b"c""#),
            (r#"A="b"c"d""#, r#"bc"d""#),
            ("A='b\nc'", "b\nc"),
            ("A=\"b\nc\"", "b\nc"),
            ("A=b\\\nc", "bc"),
            ("A=b\\\n  c", "b  c"),
            ("A=\"b\\\nc\"", "bc"),
            (r"A=b\ ", "b "),
            (r#"A=\"b\""#, r#""b""#),
            (r"A=\t", "t"),
            (r#"A="\"\\\`\$\t""#, r#""\`$\t"#),
            (r"A='\'", r"\"),
            ("A=\"b", "b"),
            ("A=b\\", "b"),
        ] {
            assert_eq!(value(text), expected, "{text:?}");
        }
    }

    #[test]
    fn comments_and_empty_lines_are_skipped_and_each_variable_has_its_line() {
        let text = "# A=1\n  ; B=2\n\nC=3\r\nD='4\n5'\n# continued \\\nE=6\nC=7";
        let file = EnvFile::parse(text);

        let found: Vec<_> = file
            .assignments
            .iter()
            .map(|Assignment { line, name, value }| (*line, &**name, &**value))
            .collect();
        assert_eq!(found, [(4, "C", "3"), (5, "D", "4\n5"), (8, "E", "6"), (9, "C", "7")]);
        assert_eq!(file.ignored, [0; 0]);
    }

    #[test]
    fn other_lines_are_ignored() {
        let file = EnvFile::parse("A\nexport B=1\n2C=1\n=1\nD-E=1\nF=\u{1b}\n  G");
        assert_eq!(file, EnvFile { assignments: vec![], ignored: vec![1, 2, 3, 4, 5, 6, 7] });
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|([AB ='\"\\\\#;\r\n]{0,12})*") {
            let lines = text.split('\n').count();
            let EnvFile { assignments, ignored } = EnvFile::parse(&text);
            let found = assignments.iter().map(|assignment| assignment.line).chain(ignored);
            prop_assert!(found.max().unwrap_or(1) <= lines);
        }

        #[test]
        fn any_value_in_single_quotes_is_kept(value in "[^'\u{0}-\u{1f}\u{7f}]*") {
            let file = EnvFile::parse(&format!("A='{value}'\n"));
            prop_assert_eq!(&file.assignments[0].value, &value);
        }
    }
}
