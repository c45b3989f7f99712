//! Recorded registries and events of real etcds: `tests/fixtures/etcd/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// A key with its value, or a directory with its keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedNode {
    pub key: String,
    pub value: Option<String>,
    /// Seconds until it expires, rounded up; `None` if it does not expire.
    pub ttl: Option<u64>,
    #[serde(default)]
    pub dir: bool,
    #[serde(default)]
    pub nodes: Vec<RecordedNode>,
    #[serde(rename = "modifiedIndex")]
    pub modified: u64,
}

impl RecordedNode {
    /// The keys with values and the empty directories, by path.
    pub fn flat(&self) -> BTreeMap<&str, &RecordedNode> {
        if self.nodes.is_empty() {
            return BTreeMap::from([(self.key.as_str(), self)]);
        }
        self.nodes.iter().flat_map(RecordedNode::flat).collect()
    }

    /// The values of the keys; `None` for an empty directory.
    pub fn values(&self) -> BTreeMap<&str, Option<&str>> {
        self.flat()
            .into_iter()
            .map(|(key, node)| (key, node.value.as_deref()))
            .collect()
    }
}

/// A change, as a watch delivers it.
#[derive(Clone, Debug, Deserialize)]
pub struct RecordedEvent {
    pub action: String,
    pub node: RecordedNode,
    #[serde(rename = "prevNode")]
    pub previous: Option<RecordedNode>,
}

/// The changes of a real registry during an incident: `tests/fixtures/etcd/README.md`.
pub struct EtcdRecording {
    /// etcd's index before the first event.
    pub index: u64,
    /// The registry before the first event.
    pub start: RecordedNode,
    pub events: Vec<TimedEvent>,
}

/// An event with its time.
#[derive(Deserialize)]
pub struct TimedEvent {
    /// When it was received, in seconds on the clock of the timeline with the same name.
    pub t: f64,
    pub event: RecordedEvent,
}

impl EtcdRecording {
    /// Reads `tests/fixtures/etcd/NAME.start.json` and `NAME.watch.jsonl`.
    pub fn load(name: &str) -> Self {
        let start: Value = serde_json::from_str(&fixture(&format!("{name}.start.json"))).unwrap();
        let events = fixture(&format!("{name}.watch.jsonl"));
        Self {
            index: start["index"].as_u64().unwrap(),
            start: RecordedNode::deserialize(&start["tree"]["node"]).unwrap(),
            events: events
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
        }
    }

    /// The events in their order, one at a time. Only consecutive expiries are together: they must
    /// expire together again, or a key that is renewed meanwhile would expire too.
    pub fn steps(&self) -> Vec<&[TimedEvent]> {
        let is_expiry = |timed: &TimedEvent| timed.event.action == "expire";
        self.events
            .chunk_by(|one, next| is_expiry(one) && is_expiry(next))
            .collect()
    }
}

/// The registry of a cluster with that version of fleetd: `tests/fixtures/etcd/VERSION.tree.json`.
pub fn registry(version: &str) -> RecordedNode {
    let tree: Value = serde_json::from_str(&fixture(&format!("{version}.tree.json"))).unwrap();
    RecordedNode::deserialize(&tree["tree"]["node"]).unwrap()
}

fn fixture(name: &str) -> String {
    fs::read_to_string(
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/etcd")
            .join(name),
    )
    .unwrap()
}
