//! The JSON of etcd's v2 keys API (etcd 2.x and 3.x, `Documentation/v2/api.md`).
//!
//! Pure: it knows neither sockets nor fleet, and no bytes can make it panic.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// No life is longer, as far as clocks are asked for it.
const LONGEST: Duration = Duration::from_secs(86_400 * 365);

/// A key, or a directory of keys.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Node {
    /// The whole path, from `/` on.
    pub key: String,
    /// Whether it is a directory.
    pub dir: bool,
    /// The value of a key. What was deleted has none.
    pub value: Option<String>,
    /// What is in a directory.
    pub nodes: Vec<Node>,
    /// etcd's index when it was last written.
    pub modified_index: u64,
    /// Seconds until it expires, rounded up; less than 0 if it is over.
    ttl: Option<i64>,
    /// When it expires, by etcd's clock. A key whose time is over and which etcd has not taken away
    /// yet has no `ttl`.
    expiration: Option<IgnoredAny>,
}

impl Node {
    /// How much time is left to it, if it expires at all.
    pub fn ttl(&self) -> Option<Duration> {
        let seconds = u64::try_from(self.ttl.unwrap_or(0)).unwrap_or(0);
        self.expiration
            .as_ref()
            .map(|_| Duration::from_secs(seconds).min(LONGEST))
    }
}

/// What was done to a key or a directory.
#[derive(Debug, Deserialize)]
pub struct KeyEvent {
    /// What was done.
    pub action: Action,
    /// What there is now.
    pub node: Node,
}

/// What can be done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It was written, whether or not it was there.
    Set,
    /// It was written, and was not there.
    Create,
    /// It was written, and was there.
    Update,
    /// It was written, and was as expected.
    CompareAndSwap,
    /// It was taken away.
    Delete,
    /// It was taken away, and was as expected.
    CompareAndDelete,
    /// Nobody renewed it in time.
    Expire,
    /// It was only read, or something that this program does not know was done.
    #[serde(other)]
    Other,
}

/// Why etcd did not do what it was asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// See the constants.
    pub error_code: u32,
    /// etcd's words.
    #[serde(default)]
    pub message: String,
    /// What they are about.
    #[serde(default)]
    pub cause: String,
}

impl Refusal {
    /// There is no such key.
    pub const KEY_NOT_FOUND: u32 = 100;
    /// What happened at that index has been forgotten: etcd remembers 1,000 events.
    pub const INDEX_CLEARED: u32 = 401;
}

/// What a GET answers.
///
/// # Errors
///
/// What is wrong with the body.
pub fn node(body: &[u8]) -> Result<Node, serde_json::Error> {
    #[derive(Deserialize)]
    struct Answer {
        node: Node,
    }
    serde_json::from_slice(body).map(|answer: Answer| answer.node)
}

/// Cuts what a watch says into events. Bytes may come in any pieces; etcd since 2.0 ends an event
/// with a newline.
#[derive(Debug, Default)]
pub struct EventDecoder {
    rest: Vec<u8>,
}

impl EventDecoder {
    /// The events that are complete with these bytes.
    ///
    /// # Errors
    ///
    /// What is wrong with an event.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<KeyEvent>, serde_json::Error> {
        self.rest.extend_from_slice(bytes);
        // Else nothing has come to its end.
        if !bytes.contains(&b'\n') && !bytes.ends_with(b"}") {
            return Ok(Vec::new());
        }
        let mut events = serde_json::Deserializer::from_slice(&self.rest).into_iter();
        let (mut complete, mut end) = (Vec::new(), 0);
        loop {
            match events.next() {
                Some(Ok(event)) => complete.push(event),
                Some(Err(error)) if error.is_eof() => break,
                Some(Err(error)) => return Err(error),
                None => {
                    end = self.rest.len();
                    break;
                }
            }
            end = events.byte_offset();
        }
        self.rest.drain(..end);
        if self.rest.trim_ascii().is_empty() {
            self.rest.clear();
        }
        Ok(complete)
    }

    /// How many bytes of an event are there that is not complete.
    pub fn pending(&self) -> usize {
        self.rest.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXPIRE: &str = r#"{"action":"expire","node":{"key":"/a/b","modifiedIndex":8,"createdIndex":3},"prevNode":{"key":"/a/b","value":"x","expiration":"2026-11-23T08:07:17.315665439Z","ttl":0,"modifiedIndex":7,"createdIndex":3}}"#;

    #[test]
    fn a_tree_is_read() {
        let body = r#"{"action":"get","node":{"key":"/a","dir":true,"nodes":[{"key":"/a/b","value":"1","expiration":"2026-11-23T08:07:17Z","ttl":12,"modifiedIndex":7,"createdIndex":3}],"modifiedIndex":2,"createdIndex":2}}"#;
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
        assert_eq!(node(body.as_bytes()).unwrap(), tree);
        assert_eq!(tree.ttl(), None);
        assert_eq!(tree.nodes[0].ttl(), Some(Duration::from_secs(12)));
        // What is over and not yet gone.
        let over = r#"{"node":{"key":"/a/b","value":"1","expiration":"2026-11-23T08:07:17Z","modifiedIndex":7}}"#;
        assert_eq!(node(over.as_bytes()).unwrap().ttl(), Some(Duration::ZERO));
        for (ttl, expected) in [("-4", Duration::ZERO), ("9223372036854775807", LONGEST)] {
            let odd =
                over.replace("\"modifiedIndex\"", &format!("\"ttl\":{ttl},\"modifiedIndex\""));
            assert_eq!(node(odd.as_bytes()).unwrap().ttl(), Some(expected));
        }
        assert!(node(b"{}").is_err());
        assert!(node(b"<html>").is_err());
    }

    #[test]
    fn events_come_in_any_pieces() {
        let text = format!("{EXPIRE}\n{EXPIRE}\n");
        for size in 1..text.len() {
            let mut events = EventDecoder::default();
            let taken: Vec<KeyEvent> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|bytes| events.take(bytes).unwrap())
                .collect();
            assert_eq!(taken.len(), 2, "{size}");
            assert!(
                taken
                    .iter()
                    .all(|it| it.action == Action::Expire && it.node.key == "/a/b")
            );
            assert_eq!(events.pending(), 0);
        }
        let mut events = EventDecoder::default();
        assert!(events.take(&EXPIRE.as_bytes()[..50]).unwrap().is_empty());
        assert_eq!(events.pending(), 50);
        assert!(events.take(b"\n").is_err(), "in the middle of a text");
        // etcd 0.4 writes no newlines.
        let mut events = EventDecoder::default();
        assert_eq!(events.take(format!("{EXPIRE}{EXPIRE}").as_bytes()).unwrap().len(), 2);
        assert_eq!(events.take(EXPIRE.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn an_action_of_the_future_is_no_error() {
        let event: KeyEvent =
            serde_json::from_str(r#"{"action":"bless","node":{"key":"/a"}}"#).unwrap();
        assert_eq!(event.action, Action::Other);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(pieces: Vec<Vec<u8>>) {
            let mut events = EventDecoder::default();
            for piece in pieces {
                let _ = (events.take(&piece), node(&piece));
            }
        }
    }
}
