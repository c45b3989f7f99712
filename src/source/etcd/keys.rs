//! The JSON of etcd's v2 keys API (etcd 2.x and 3.x, `Documentation/v2/api.md`).
//!
//! Pure: it knows neither sockets nor fleet, and no bytes can make it panic.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Longer TTLs are cut to this, so that no clock overflows.
const MAX_TTL: Duration = Duration::from_secs(86_400 * 365);

/// A key, or a directory of keys.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Node {
    /// The whole path, which begins with `/`.
    pub key: String,
    /// Whether it is a directory.
    pub dir: bool,
    /// The value of a key. `None` for a directory, and for a key that was deleted.
    pub value: Option<String>,
    /// The contents of a directory.
    pub nodes: Vec<Node>,
    /// etcd's index when it was last written.
    pub modified_index: u64,
    /// Seconds until it expires, rounded up; negative if it should have expired.
    ttl: Option<i64>,
    /// When it expires, by etcd's clock. A key that should have expired, but that etcd has not
    /// removed yet, has no `ttl`.
    expiration: Option<IgnoredAny>,
}

impl Node {
    /// The time until it expires. `None` if it does not expire.
    pub fn ttl(&self) -> Option<Duration> {
        self.expiration.as_ref()?;
        let seconds = u64::try_from(self.ttl.unwrap_or(0)).unwrap_or(0);
        Some(Duration::from_secs(seconds).min(MAX_TTL))
    }
}

/// A change of a key or a directory.
#[derive(Debug, Deserialize)]
pub struct KeyEvent {
    /// What was done to it.
    pub action: KeyAction,
    /// The key after that.
    pub node: Node,
}

/// What can be done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyAction {
    /// It was written, whether or not it existed.
    Set,
    /// It was written, and did not exist before.
    Create,
    /// It was written, and existed before.
    Update,
    /// It was written, because its value was the one that the client expected.
    CompareAndSwap,
    /// A client deleted the key (`delete`).
    Delete,
    /// It was deleted, because its value was the one that the client expected.
    CompareAndDelete,
    /// The TTL of the key was over, so etcd deleted it (`expire`).
    Expire,
    /// It was only read, or this program does not know the action.
    #[serde(other)]
    Other,
}

/// The body of a response that is an error of etcd.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EtcdErrorBody {
    /// One of etcd's codes, such as [`EtcdErrorBody::KEY_NOT_FOUND`].
    pub(super) error_code: u32,
    /// The sentence for this code.
    #[serde(default)]
    pub(super) message: String,
    /// What this error is about, such as a key. May be empty.
    #[serde(default)]
    pub(super) cause: String,
}

impl EtcdErrorBody {
    /// There is no such key.
    pub(super) const KEY_NOT_FOUND: u32 = 100;
    /// The event at that index is no longer in etcd's history of 1,000 events.
    pub(super) const INDEX_CLEARED: u32 = 401;

    /// The message with its cause, for people.
    pub(super) fn text(&self) -> String {
        let Self { message, cause, .. } = self;
        if cause.is_empty() {
            message.clone()
        } else {
            format!("{message} ({cause})")
        }
    }
}

/// Decodes the response to a GET.
///
/// # Errors
///
/// The body is not such a response.
pub fn decode_node(body: &[u8]) -> Result<Node, serde_json::Error> {
    #[derive(Deserialize)]
    struct GetBody {
        node: Node,
    }
    serde_json::from_slice(body).map(|body: GetBody| body.node)
}

/// Decodes the events of a watch. Bytes may come in pieces of any size. Since 2.0, etcd ends an
/// event with a newline.
#[derive(Debug, Default)]
pub(super) struct EventDecoder {
    /// The beginning of an event that is not complete.
    pending: Vec<u8>,
}

impl EventDecoder {
    /// Adds some bytes, and returns the events that are complete now.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Result<Vec<KeyEvent>, serde_json::Error> {
        self.pending.extend_from_slice(bytes);
        // An event ends with a newline, or with `}` (etcd 0.4). So no event ends in these bytes.
        if !bytes.contains(&b'\n') && !bytes.ends_with(b"}") {
            return Ok(Vec::new());
        }

        let mut events = serde_json::Deserializer::from_slice(&self.pending).into_iter();
        let mut complete = Vec::new();
        let mut end = 0;
        loop {
            match events.next() {
                Some(Ok(event)) => complete.push(event),
                Some(Err(error)) if error.is_eof() => break,
                Some(Err(error)) => return Err(error),
                None => {
                    end = self.pending.len();
                    break;
                }
            }
            end = events.byte_offset();
        }

        self.pending.drain(..end);
        if self.pending.trim_ascii().is_empty() {
            self.pending.clear();
        }
        Ok(complete)
    }

    /// The number of bytes of an event that is not complete.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXPIRE: &str = concat!(
        r#"{"action":"expire","node":{"key":"/a/b","modifiedIndex":8,"createdIndex":3},"#,
        r#""prevNode":{"key":"/a/b","value":"x","expiration":"2026-11-23T08:07:17.315665439Z","#,
        r#""ttl":0,"modifiedIndex":7,"createdIndex":3}}"#,
    );

    fn ttl(body: &str) -> Option<Duration> {
        decode_node(body.as_bytes()).unwrap().ttl()
    }

    #[test]
    fn a_tree_is_decoded() {
        let body = concat!(
            r#"{"action":"get","node":{"key":"/a","dir":true,"nodes":["#,
            r#"{"key":"/a/b","value":"1","expiration":"2026-11-23T08:07:17Z","ttl":12,"#,
            r#""modifiedIndex":7,"createdIndex":3}],"modifiedIndex":2,"createdIndex":2}}"#,
        );
        let leaf = Node {
            key: "/a/b".into(),
            value: Some("1".into()),
            modified_index: 7,
            ttl: Some(12),
            expiration: Some(IgnoredAny),
            ..Node::default()
        };
        let tree = Node {
            key: "/a".into(),
            dir: true,
            nodes: vec![leaf],
            modified_index: 2,
            ..Node::default()
        };
        assert_eq!(decode_node(body.as_bytes()).unwrap(), tree);
        assert_eq!(tree.ttl(), None);
        assert_eq!(tree.nodes[0].ttl(), Some(Duration::from_secs(12)));

        assert!(decode_node(b"{}").is_err());
        assert!(decode_node(b"<html>").is_err());
    }

    #[test]
    fn a_ttl_is_never_negative_and_never_overflows() {
        let without_ttl = concat!(
            r#"{"node":{"key":"/a/b","value":"1","expiration":"2026-11-23T08:07:17Z","#,
            r#""modifiedIndex":7}}"#,
        );
        assert_eq!(ttl(without_ttl), Some(Duration::ZERO), "it should have expired");

        for (seconds, expected) in [("-4", Duration::ZERO), ("9223372036854775807", MAX_TTL)] {
            let field = format!("\"ttl\":{seconds},\"modifiedIndex\"");
            assert_eq!(ttl(&without_ttl.replace("\"modifiedIndex\"", &field)), Some(expected));
        }
    }

    #[test]
    fn events_come_in_pieces_of_any_size() {
        let text = format!("{EXPIRE}\n{EXPIRE}\n");
        for size in 1..text.len() {
            let mut decoder = EventDecoder::default();
            let events: Vec<KeyEvent> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|bytes| decoder.decode(bytes).unwrap())
                .collect();

            assert_eq!(events.len(), 2, "{size}");
            for event in events {
                assert_eq!(event.action, KeyAction::Expire);
                assert_eq!(event.node.key, "/a/b");
            }
            assert_eq!(decoder.pending_bytes(), 0);
        }
    }

    #[test]
    fn an_event_with_a_newline_in_its_middle_is_an_error() {
        let mut decoder = EventDecoder::default();
        assert!(decoder.decode(&EXPIRE.as_bytes()[..50]).unwrap().is_empty());
        assert_eq!(decoder.pending_bytes(), 50);
        assert!(decoder.decode(b"\n").is_err(), "in the middle of a text");
    }

    #[test]
    fn events_of_etcd_0_4_have_no_newline() {
        let mut decoder = EventDecoder::default();
        assert_eq!(decoder.decode(format!("{EXPIRE}{EXPIRE}").as_bytes()).unwrap().len(), 2);
        assert_eq!(decoder.decode(EXPIRE.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn an_action_of_the_future_is_no_error() {
        let event: KeyEvent =
            serde_json::from_str(r#"{"action":"bless","node":{"key":"/a"}}"#).unwrap();
        assert_eq!(event.action, KeyAction::Other);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(pieces: Vec<Vec<u8>>) {
            let mut decoder = EventDecoder::default();
            for piece in pieces {
                let _ = decoder.decode(&piece);
                let _ = decode_node(&piece);
            }
        }
    }
}
