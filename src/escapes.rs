//! Removes escape sequences (ECMA-48) and a byte order mark from the output of a program. Pure.
//!
//! It must not know what the output means. Escape sequences come, for example, from a program that
//! colours its log, or from a wrapper that colours the output of fleetctl.

use anstyle_parse::{DefaultCharAccumulator, Parser, Perform};

/// The byte order mark in UTF-8 (RFC 3629, section 6).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const ESCAPE: u8 = 0x1b;

/// The output without escape sequences and byte order mark. `None` if it has neither, if it is not
/// UTF-8, or if a sequence contains line breaks.
pub(crate) fn strip(output: &[u8]) -> Option<Vec<u8>> {
    let is_marked = output.starts_with(BYTE_ORDER_MARK);
    if !is_marked && !output.contains(&ESCAPE) || std::str::from_utf8(output).is_err() {
        return None;
    }

    let mut parser = Parser::<DefaultCharAccumulator>::new();
    let mut text = PlainText(String::with_capacity(output.len()));
    for byte in output.strip_prefix(BYTE_ORDER_MARK).unwrap_or(output) {
        parser.advance(&mut text, *byte);
    }

    let text = text.0.into_bytes();
    let line_count = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
    (line_count(&text) == line_count(output)).then_some(text)
}

/// Collects everything except escape sequences. Other control characters stay: the reader of the
/// table decides whether they are allowed.
struct PlainText(String);

impl Perform for PlainText {
    fn print(&mut self, character: char) {
        self.0.push(character);
    }

    fn execute(&mut self, byte: u8) {
        self.0.push(char::from(byte));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_are_removed() {
        for sequence in [
            "\x1b[31m",
            "\x1b[0m",
            "\x1b[38;5;196m",
            "\x1b[K",
            "\x1b[?25l",
            "\x1b(B",
            "\x1b]0;title\x07",
            "\x1b]8;;http://x\x1b\\",
        ] {
            let output = format!("a.service\t{sequence}loaded\r\n{sequence}Zoë\n");
            assert_eq!(
                strip(output.as_bytes()).as_deref(),
                Some("a.service\tloaded\r\nZoë\n".as_bytes()),
                "{sequence:?}"
            );
        }
    }

    #[test]
    fn a_byte_order_mark_at_the_beginning_is_removed() {
        assert_eq!(strip("\u{feff}a\tb\n".as_bytes()).as_deref(), Some(&b"a\tb\n"[..]));
        assert_eq!(strip("a\t\u{feff}b\n".as_bytes()), None);
    }

    #[test]
    fn an_output_without_escape_sequences_stays_as_it_is() {
        for output in [&b""[..], b"a\tb\r\n", b"a\0\x07\n", b"\x1b[31m\xff\n"] {
            assert_eq!(strip(output), None, "{output:?}");
        }
    }

    #[test]
    fn other_control_characters_stay() {
        assert_eq!(
            strip("\x1b[1m\0\x07\x7f\u{9b}\n".as_bytes()).as_deref(),
            Some("\0\x07\x7f\u{9b}\n".as_bytes())
        );
    }

    #[test]
    fn a_sequence_that_contains_a_line_break_is_not_removed() {
        for output in [&b"a\tb\n\x1b]0;title\nc\td\n"[..], b"a\tb\n\x1b]0;title\nc\td\n\x07e\tf\n"]
        {
            assert_eq!(strip(output), None, "{output:?}");
        }
    }

    proptest! {
        #[test]
        fn no_escape_character_remains(output in "(\x1b\\[[0-9;]{0,5}m|[a-z\t\n]){0,40}") {
            let stripped = strip(output.as_bytes()).unwrap_or_else(|| output.clone().into_bytes());
            prop_assert!(!stripped.contains(&ESCAPE));
        }
    }
}
