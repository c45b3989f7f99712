//! Takes out of an output what was meant for a terminal, or says how to read it: escape sequences
//! (ECMA-48), such as a wrapper that colours its output puts into it, and a byte order mark. Pure.

use anstyle_parse::{DefaultCharAccumulator, Parser, Perform};

/// What a text may begin with in UTF-8 (RFC 3629, section 6).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const ESCAPE: u8 = 0x1b;

/// The output without escape sequences and byte order mark; `None` if it has neither, or is no
/// text, or if a sequence would take lines with it.
pub(super) fn plain(output: &[u8]) -> Option<Vec<u8>> {
    let marked = output.starts_with(BYTE_ORDER_MARK);
    if !marked && !output.contains(&ESCAPE) || std::str::from_utf8(output).is_err() {
        return None;
    }

    let mut parser = Parser::<DefaultCharAccumulator>::new();
    let mut text = PlainText(String::with_capacity(output.len()));
    for byte in output.strip_prefix(BYTE_ORDER_MARK).unwrap_or(output) {
        parser.advance(&mut text, *byte);
    }
    let text = text.0.into_bytes();
    let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
    (lines(&text) == lines(output)).then_some(text)
}

/// All but the sequences. Other control characters stay: whether they have a place is for the
/// reader to say.
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
    fn sequences_are_taken_out_whole() {
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
                plain(output.as_bytes()).as_deref(),
                Some("a.service\tloaded\r\nZoë\n".as_bytes()),
                "{sequence:?}"
            );
        }
    }

    #[test]
    fn a_byte_order_mark_is_taken_off_the_beginning() {
        assert_eq!(plain("\u{feff}a\tb\n".as_bytes()).as_deref(), Some(&b"a\tb\n"[..]));
        assert_eq!(plain("a\t\u{feff}b\n".as_bytes()), None);
    }

    #[test]
    fn an_output_without_them_is_left_alone() {
        for output in [&b""[..], b"a\tb\r\n", b"a\0\x07\n", b"\x1b[31m\xff\n"] {
            assert_eq!(plain(output), None, "{output:?}");
        }
    }

    #[test]
    fn other_control_characters_stay() {
        assert_eq!(
            plain("\x1b[1m\0\x07\x7f\u{9b}\n".as_bytes()).as_deref(),
            Some("\0\x07\x7f\u{9b}\n".as_bytes())
        );
    }

    #[test]
    fn a_sequence_takes_no_line_with_it() {
        for output in [&b"a\tb\n\x1b]0;title\nc\td\n"[..], b"a\tb\n\x1b]0;title\nc\td\n\x07e\tf\n"]
        {
            assert_eq!(plain(output), None, "{output:?}");
        }
    }

    proptest! {
        #[test]
        fn no_escape_is_left(output in "(\x1b\\[[0-9;]{0,5}m|[a-z\t\n]){0,40}") {
            let stripped = plain(output.as_bytes()).unwrap_or_else(|| output.clone().into_bytes());
            prop_assert!(!stripped.contains(&ESCAPE));
        }
    }
}
