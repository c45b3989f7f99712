//! Reads an entry of the journal, in the JSON format of systemd (Journal JSON Format). Pure.
//!
//! It must not know from where the entry comes, nor who reads it.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::escapes;

/// The largest message that is passed on, in bytes.
const MAX_MESSAGE: usize = 8 * 1024;
/// The largest name of a program that is passed on, in bytes.
const MAX_IDENTIFIER: usize = 128;
/// The largest cursor, in bytes. Those of systemd have about 150.
const MAX_CURSOR: usize = 512;

/// What stands for a message that the JSON format leaves out.
const LEFT_OUT: &str = "(a message of 4,096 bytes or more; read it on the machine)";

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// When the journal received it, since 1970, by the clock of its machine.
    pub(crate) time: Duration,
    /// From 0, an emergency, to 7, for debugging (`sd-daemon(3)`); `None` if the entry has none.
    pub(crate) priority: Option<u8>,
    /// The process that wrote it.
    pub(crate) pid: Option<u32>,
    /// The program that wrote it, as it calls itself, or else the name of its process.
    pub(crate) identifier: Option<Box<str>>,
    /// Without escape sequences. A control character other than a line break or a tab is replaced
    /// by U+FFFD.
    pub(crate) message: Box<str>,
    /// Whether the message was longer.
    pub(crate) truncated: bool,
    /// Whether the message was not text.
    pub(crate) binary: bool,
    /// The place of the entry in its journal (`journalctl --cursor`).
    pub(crate) cursor: Box<str>,
}

impl LogLine {
    /// Reads one entry. `None` if it is not an entry of a journal.
    pub(super) fn parse(entry: &[u8]) -> Option<Self> {
        let fields: Map<String, Value> = serde_json::from_slice(entry).ok()?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);

        let microseconds = text("__REALTIME_TIMESTAMP")?.parse().ok()?;
        let cursor = text("__CURSOR").filter(|cursor| is_cursor(cursor))?;
        let MessageText { text: message, truncated, binary } = message(fields.get("MESSAGE"));
        let identifier = text("SYSLOG_IDENTIFIER").or_else(|| text("_COMM"));
        let pid = text("_PID").or_else(|| text("SYSLOG_PID"));

        Some(Self {
            time: Duration::from_micros(microseconds),
            priority: text("PRIORITY").and_then(|priority| priority.parse().ok()),
            pid: pid.and_then(|pid| pid.parse().ok()),
            identifier: identifier.map(|name| clean(name, MAX_IDENTIFIER).text),
            message,
            truncated,
            binary,
            cursor: cursor.into(),
        })
    }
}

/// The cursor of an entry, without the rest. `None` if it is not an entry of a journal.
pub(super) fn cursor(entry: &[u8]) -> Option<Box<str>> {
    #[derive(serde::Deserialize)]
    struct CursorField {
        #[serde(rename = "__CURSOR")]
        cursor: Box<str>,
    }

    let CursorField { cursor } = serde_json::from_slice(entry).ok()?;
    is_cursor(&cursor).then_some(cursor)
}

/// Whether this can be sent back in the header `Range`: a cursor of systemd has only visible
/// characters, and no colon, which separates it from what follows.
fn is_cursor(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    (1..=MAX_CURSOR).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// A message as it is passed on.
struct MessageText {
    text: Box<str>,
    truncated: bool,
    binary: bool,
}

/// The message of an entry. In JSON, a field with bytes that are not printable, be it only an
/// escape sequence, is an array of numbers; one that occurs several times is an array of its
/// values; and one of 4,096 bytes or more is `null`.
fn message(field: Option<&Value>) -> MessageText {
    match field {
        None => clean("", MAX_MESSAGE),
        Some(Value::String(text)) => clean(text, MAX_MESSAGE),
        Some(Value::Null) => MessageText { text: LEFT_OUT.into(), truncated: true, binary: false },
        Some(Value::Array(items)) => match bytes(items) {
            Some(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let is_text = std::str::from_utf8(&bytes).is_ok();
                let message = clean(&text, MAX_MESSAGE);
                MessageText { binary: message.binary || !is_text, ..message }
            }
            None => {
                let texts: Vec<_> = items.iter().map(|item| message(Some(item)).text).collect();
                clean(&texts.join("\n"), MAX_MESSAGE)
            }
        },
        Some(other) => clean(&other.to_string(), MAX_MESSAGE),
    }
}

fn bytes(items: &[Value]) -> Option<Vec<u8>> {
    items.iter().map(|item| u8::try_from(item.as_u64()?).ok()).collect()
}

/// A text without escape sequences, in which control characters are replaced, and which is cut
/// after so many bytes.
fn clean(text: &str, max: usize) -> MessageText {
    let stripped = escapes::strip(text.as_bytes()).and_then(|text| String::from_utf8(text).ok());
    let text = stripped.as_deref().unwrap_or(text);
    let text = text.trim_end_matches(['\n', '\r']);

    let is_control = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    let binary = text.chars().any(is_control);
    let end = (0..=max.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    let kept = &text[..end.unwrap_or(0)];

    MessageText {
        text: if binary {
            kept.replace(is_control, "\u{fffd}").into()
        } else {
            kept.into()
        },
        truncated: kept.len() < text.len(),
        binary,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(message: &Value) -> LogLine {
        let entry = json!({
            "__CURSOR": "s=0;i=1", "__REALTIME_TIMESTAMP": "1700000000123456", "PRIORITY": "3",
            "_PID": "4711", "SYSLOG_IDENTIFIER": "docker", "_COMM": "exe", "MESSAGE": message,
        });
        LogLine::parse(entry.to_string().as_bytes()).expect("an entry")
    }

    #[test]
    fn an_entry_has_a_time_a_priority_a_process_and_a_message() {
        let line = LogLine {
            time: Duration::from_micros(1_700_000_000_123_456),
            priority: Some(3),
            pid: Some(4711),
            identifier: Some("docker".into()),
            message: "Größe: 3\n\tat main".into(),
            truncated: false,
            binary: false,
            cursor: "s=0;i=1".into(),
        };
        assert_eq!(entry(&json!("Größe: 3\n\tat main\n")), line);
    }

    #[test]
    fn fields_may_be_missing() {
        let line =
            LogLine::parse(br#"{"__CURSOR":"s=0","__REALTIME_TIMESTAMP":"1","_COMM":"cat"}"#);
        let line = line.expect("an entry");
        assert_eq!((line.priority, line.pid, &*line.message), (None, None, ""));
        assert_eq!(line.identifier.as_deref(), Some("cat"));
    }

    #[test]
    fn a_message_is_text_whatever_it_was() {
        let bytes = |bytes: &[u8]| json!(bytes);
        for (message, text, truncated, binary) in [
            (bytes(b"\x1b[31mred\x1b[0m"), "red", false, false),
            (bytes(b"caf\xc3\xa9"), "café", false, false),
            (bytes(b"\xff\xfe"), "\u{fffd}\u{fffd}", false, true),
            (bytes(b"a\0b"), "a\u{fffd}b", false, true),
            (json!("bell\u{7}"), "bell\u{fffd}", false, true),
            (json!(["one", "two"]), "one\ntwo", false, false),
            (json!([[255], "two"]), "\u{fffd}\ntwo", false, false),
            (json!(null), LEFT_OUT, true, false),
            (json!(7), "7", false, false),
            (json!([]), "", false, false),
        ] {
            let line = entry(&message);
            assert_eq!(
                (&*line.message, line.truncated, line.binary),
                (text, truncated, binary),
                "{message}"
            );
        }
    }

    #[test]
    fn a_long_message_is_cut_between_two_characters() {
        let line = entry(&json!("ö".repeat(MAX_MESSAGE)));
        assert_eq!((line.message.len(), line.truncated), (MAX_MESSAGE, true));

        let line = entry(&json!(format!("x{}", "ö".repeat(MAX_MESSAGE))));
        assert_eq!((line.message.len(), line.truncated), (MAX_MESSAGE - 1, true));
    }

    #[test]
    fn what_is_no_entry_is_none() {
        let with_cursor =
            |cursor: &str| json!({ "__CURSOR": cursor, "__REALTIME_TIMESTAMP": "1" }).to_string();
        assert!(LogLine::parse(with_cursor("s=0").as_bytes()).is_some());
        assert_eq!(cursor(with_cursor("s=0").as_bytes()).as_deref(), Some("s=0"));

        let long = "x".repeat(MAX_CURSOR + 1);
        for text in [
            "",
            "{",
            "[]",
            "null",
            "<html>",
            r#"{"__CURSOR":"s=0"}"#,
            r#"{"__CURSOR":"s=0","__REALTIME_TIMESTAMP":"-1"}"#,
            &with_cursor(""),
            &with_cursor("s=0:7"),
            &with_cursor("s=0\r\nHost: x"),
            &with_cursor(&long),
        ] {
            assert_eq!(LogLine::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(cursor(with_cursor("a b").as_bytes()), None);
    }
}
