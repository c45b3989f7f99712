//! A client that applies messages as `docs/protocol.md` says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ChannelBench;
use crate::cluster::Moment;
use crate::feed::channel::{ChannelCursor, MessageBatch, ResumePosition, Transport};
use crate::feed::subscription::{Subscription, Topic};
use crate::feed::update;

type RowsByKey = BTreeMap<String, Value>;

pub(super) struct ProtocolClient {
    transport: Transport,
    subscription: Subscription,
    /// That of the last `hello`.
    epoch: String,
    /// `None` while it is disconnected.
    cursor: Option<ChannelCursor>,
    /// The rows of each topic that has some.
    pub(super) topics: BTreeMap<String, RowsByKey>,
    pub(super) position: Option<ResumePosition>,
    /// The numbers of all events since the last resync.
    events: Vec<u64>,
    health: Value,
    /// The reasons of all resyncs.
    pub(super) resyncs: Vec<String>,
    /// The types of all messages, until the test clears them.
    pub(super) received: Vec<String>,
}

/// Splits a batch into its messages. Each comes with the `id` of its server-sent event, from which
/// a client can resume.
fn messages(transport: Transport, batch: &MessageBatch) -> Vec<(Value, Option<String>)> {
    let messages = match transport {
        Transport::WebSocket => frames(batch.bytes()),
        Transport::EventStream => server_sent_events(batch.bytes()),
    };

    assert_eq!(messages.len(), batch.messages());
    messages
}

fn frames(mut bytes: &[u8]) -> Vec<(Value, Option<String>)> {
    let mut messages = vec![];

    while let [0x81, length, rest @ ..] = bytes {
        let (length, rest) = match length {
            126 => (u16::from_be_bytes([rest[0], rest[1]]) as usize, &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            length => (*length as usize, rest),
        };
        messages.push((serde_json::from_slice(&rest[..length]).unwrap(), None));
        bytes = &rest[length..];
    }

    assert!(bytes.is_empty());
    messages
}

fn server_sent_events(bytes: &[u8]) -> Vec<(Value, Option<String>)> {
    let mut messages = vec![];

    for event in str::from_utf8(bytes).unwrap().split_terminator("\n\n") {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        if let Some(data) = field("data: ") {
            let message = serde_json::from_str(data).unwrap();
            messages.push((message, field("id: ").map(str::to_owned)));
        }
    }
    messages
}

/// What identifies a row of units, machines or problems. A problem has an ID, and may be about a
/// unit or a machine too.
fn key_of(row: &Value) -> String {
    match row.get("id") {
        Some(id) => id.to_string(),
        None => format!("{} {}", row["unit"], row["machine"]),
    }
}

fn by_key(rows: &Value) -> RowsByKey {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| (key_of(row), row.clone()))
        .collect()
}

fn numbers(rows: &Value) -> Vec<u64> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["number"].as_u64().unwrap()).collect()
}

impl ProtocolClient {
    /// A client that has received the first messages.
    pub(super) fn connected(
        bench: &ChannelBench,
        transport: Transport,
        subscription: &Subscription,
    ) -> Self {
        let mut client = Self {
            transport,
            subscription: subscription.clone(),
            epoch: String::new(),
            cursor: None,
            topics: BTreeMap::new(),
            position: None,
            events: vec![],
            health: Value::Null,
            resyncs: vec![],
            received: vec![],
        };

        client.connect(bench);
        client
    }

    /// Connects from its position, if it has one.
    pub(super) fn connect(&mut self, bench: &ChannelBench) {
        let channel = bench
            .channels
            .open(self.transport, self.subscription.clone())
            .unwrap();
        let position = self.position.as_ref();
        let (cursor, batches) =
            ChannelCursor::begin(channel, position, &bench.last(), Moment::now()).unwrap();

        self.cursor = Some(cursor);
        self.receive_all(&batches, usize::MAX);
    }

    /// Receives everything that it has not yet. Connects if necessary.
    pub(super) fn catch_up(&mut self, bench: &ChannelBench) {
        match &mut self.cursor {
            Some(cursor) => {
                let batches = cursor.updates(&bench.last(), Moment::now()).unwrap();
                self.receive_all(&batches, usize::MAX);
            }
            None => self.connect(bench),
        }
    }

    /// Gets a heartbeat.
    pub(super) fn wait(&mut self, bench: &ChannelBench) {
        let cursor = self.cursor.as_mut().expect("it is connected");
        let batches = cursor.heartbeat(&bench.last(), Moment::now()).unwrap();
        self.receive_all(&batches, usize::MAX);
    }

    /// Loses its connection after it has received so many of the next messages.
    pub(super) fn disconnect_after(&mut self, bench: &ChannelBench, messages: usize) {
        if let Some(mut cursor) = self.cursor.take() {
            let batches = cursor.updates(&bench.last(), Moment::now()).unwrap();
            self.receive_all(&batches, messages);
        }
    }

    fn receive_all(&mut self, batches: &[MessageBatch], most: usize) {
        let messages = batches.iter().flat_map(|batch| messages(self.transport, batch));

        for (message, id) in messages.take(most).collect::<Vec<_>>() {
            self.receive(&message, id.as_deref());
        }
    }

    fn receive(&mut self, message: &Value, id: Option<&str>) {
        let kind = message["type"].as_str().unwrap();
        let topic = message["topic"].as_str().unwrap_or_default();
        self.received.push(kind.to_owned());

        match kind {
            "hello" => message["epoch"].as_str().unwrap().clone_into(&mut self.epoch),
            "resync" => self.forget(message["reason"].as_str().unwrap()),
            "snapshot" if topic == "events" => self.events = numbers(&message["rows"]),
            "snapshot" => {
                self.topics.insert(topic.to_owned(), by_key(&message["rows"]));
            }
            "delta" => self.apply_delta(topic, message),
            "event" => self.events.push(message["number"].as_u64().unwrap()),
            "status" => self.health = message["health"].clone(),
            other => panic!("{other}"),
        }

        self.remember_position(kind, message["revision"].as_u64().unwrap(), id);
    }

    fn forget(&mut self, reason: &str) {
        self.topics.clear();
        self.events.clear();
        self.position = None;
        self.resyncs.push(reason.to_owned());
    }

    fn apply_delta(&mut self, topic: &str, message: &Value) {
        let rows = self.topics.get_mut(topic).expect("a snapshot before");

        rows.extend(by_key(&message["upsert"]));
        for row in message["remove"].as_array().unwrap() {
            let removed = rows.remove(&key_of(row));
            let is_after_restart = message["revision"] == update::BEFORE_RESUMED;
            assert!(removed.is_some() || is_after_restart, "only rows of the client are removed");
        }
    }

    fn remember_position(&mut self, kind: &str, revision: u64, id: Option<&str>) {
        let can_resume = matches!(kind, "delta" | "event" | "status");
        let is_after_restart = can_resume && kind != "status" && revision == update::BEFORE_RESUMED;
        if self.transport == Transport::EventStream {
            let expected = can_resume.then(|| format!("{}-{revision}", self.epoch));
            assert_eq!(id.map(str::to_owned), expected);
        }
        if !can_resume {
            return;
        }

        let before = self.position.as_ref().filter(|position| position.epoch == self.epoch);
        let before = before.map_or(0, |position| position.revision);
        let is_heartbeat = kind == "status" && revision == before;
        assert!(
            revision > before || is_heartbeat || is_after_restart,
            "{revision} after {before}"
        );
        self.position = Some(ResumePosition { epoch: self.epoch.clone(), revision });
    }

    /// Checks that it has exactly what is published. It must have caught up.
    pub(super) fn assert_up_to_date(&self, bench: &ChannelBench) {
        let publication = bench.last();
        let Subscription { topics, filter } = &self.subscription;

        for topic in topics {
            let snapshot = update::snapshot(&publication, *topic, filter);
            let snapshot: Value = serde_json::from_slice(&snapshot).unwrap();
            if *topic == Topic::Events {
                let expected = numbers(&snapshot["rows"]);
                assert!(self.events.ends_with(&expected), "{:?} {expected:?}", self.events);
                assert!(self.events.is_sorted_by(|a, b| a < b), "none twice: {:?}", self.events);
            } else {
                assert_eq!(self.topics[topic.name()], by_key(&snapshot["rows"]));
            }
        }

        let is_subscribed = |name: &String| topics.iter().any(|topic| topic.name() == name);
        assert!(self.topics.keys().all(is_subscribed));
        assert_eq!(self.health["held_back"], json!(publication.health.held_back));
    }
}
