//! The clients that behave: each must be told everything, once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, Semaphore, watch};

use super::wire::{Connection, Message, Protocol, request};
use crate::support::endpoint::{Endpoint, reset_on_drop};

/// What all of them were told, put together: deltas and events are the same for each.
#[derive(Default)]
pub struct Record {
    /// The first snapshot of each topic.
    snapshots: RefCell<BTreeMap<String, Value>>,
    /// The deltas and events by revision.
    pub messages: RefCell<BTreeMap<u64, Box<[u8]>>>,
    /// The lists of the first protocol, in the order in which they were first heard.
    pub lists: RefCell<Vec<Rc<[u8]>>>,
    /// How often a client was turned away.
    pub refusals: Cell<usize>,
    /// Something was heard.
    pub news: Notify,
}

impl Record {
    /// The revision of the last delta or event.
    pub fn last(&self) -> Option<u64> {
        self.messages.borrow().last_key_value().map(|(revision, _)| *revision)
    }

    /// What the snapshot of a topic and the deltas after it amount to: the rows, in order.
    fn rows(&self, topic: &str) -> Option<Vec<Value>> {
        let snapshot = self.snapshots.borrow().get(topic)?.clone();
        let mut rows: BTreeMap<_, Value> = snapshot["rows"]
            .as_array()?
            .iter()
            .map(|row| (key(row), row.clone()))
            .collect();
        let from = snapshot["revision"].as_u64()?;
        for (_, message) in self.messages.borrow().range(from + 1..) {
            let delta: Value = serde_json::from_slice(message).unwrap();
            if delta["type"] == "delta" && delta["topic"] == topic {
                for removed in delta["remove"].as_array().unwrap() {
                    rows.remove(&key(removed)).expect("what is removed was there");
                }
                for row in delta["upsert"].as_array().unwrap() {
                    rows.insert(key(row), row.clone());
                }
            }
        }
        Some(rows.into_values().collect())
    }

    /// The numbers of the events, in order.
    fn events(&self) -> Vec<u64> {
        let messages = self.messages.borrow();
        let messages = messages
            .values()
            .map(|message| serde_json::from_slice::<Value>(message).unwrap());
        messages
            .filter(|message| message["type"] == "event")
            .map(|event| event["number"].as_u64().unwrap())
            .collect()
    }

    /// Whether this was said of late.
    pub fn has_heard(&self, what: &str) -> bool {
        let contains = |text: &[u8]| str::from_utf8(text).unwrap().contains(what);
        self.messages
            .borrow()
            .values()
            .rev()
            .take(8)
            .any(|message| contains(message))
            && self.lists.borrow().iter().rev().take(2).any(|list| contains(list))
    }

    /// Whether a client that has taken every delta has the rows of this state (`/v2/state`), and
    /// every event its last.
    pub fn amounts_to(&self, state: &Value) -> bool {
        let events = self.events();
        assert!(
            events.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "events are missing: {events:?}"
        );
        events.last() == state["transitions"][0]["number"].as_u64().as_ref()
            && ["units", "machines"]
                .iter()
                .all(|topic| self.rows(topic).as_ref() == state[topic].as_array())
    }

    /// The list that says the same as this one, if it was told.
    pub fn same(&self, list: &Value) -> Option<Rc<[u8]>> {
        let lists = self.lists.borrow();
        lists
            .iter()
            .rev()
            .find(|told| serde_json::from_slice::<Value>(told).unwrap() == *list)
            .cloned()
    }

    /// How many deltas and events there were after one revision, up to and with another.
    fn count(&self, after: u64, last: u64) -> usize {
        self.messages.borrow().range(after + 1..=last).count()
    }

    fn list(&self, text: &[u8]) -> Rc<[u8]> {
        let mut lists = self.lists.borrow_mut();
        match lists.iter().rev().find(|list| ***list == *text) {
            Some(list) => list.clone(),
            None => {
                lists.push(text.into());
                lists[lists.len() - 1].clone()
            }
        }
    }
}

/// What names a row, in the order of the rows.
fn key(row: &Value) -> (Option<String>, Option<String>) {
    let text = |key: &str| row[key].as_str().map(str::to_owned);
    (text("unit"), text("machine"))
}

/// A client, over as many connections as it takes.
pub struct LastingClient {
    server: Endpoint,
    protocol: Protocol,
    record: Rc<Record>,
    heard: RefCell<Heard>,
}

/// What it has heard so far.
#[derive(Default)]
struct Heard {
    epoch: String,
    /// The revision from which on it is told of every change.
    start: Option<u64>,
    /// The revision of its last delta or event, and how many these were.
    last: u64,
    count: usize,
    /// The point to resume from.
    point: Option<u64>,
    /// The newest lists of the first protocol.
    machines: Option<Rc<[u8]>>,
    units: Option<Rc<[u8]>>,
}

impl LastingClient {
    pub fn new(server: Endpoint, protocol: Protocol, record: Rc<Record>) -> Self {
        Self { server, protocol, record, heard: RefCell::default() }
    }

    /// Listens for ever, and at each `storm` goes away and comes back. `doors` is how many may be
    /// connecting at a time; without, whoever is turned away tries again.
    pub async fn run(
        self: Rc<Self>,
        mut storm: watch::Receiver<u32>,
        doors: Option<Rc<Semaphore>>,
    ) {
        loop {
            let mut connection = self.connect(doors.as_deref()).await;
            tokio::select! {
                never = self.listen(&mut connection) => match never {},
                changed = storm.changed() => changed.expect("the storm outlives its clients"),
            }
            if storm.borrow().is_multiple_of(2) {
                reset_on_drop(connection.stream()).expect("a reset instead of an end");
            }
        }
    }

    async fn connect(&self, doors: Option<&Semaphore>) -> Connection {
        let permit = match doors {
            Some(doors) => Some(doors.acquire().await.expect("they are never closed")),
            None => None,
        };
        let request = {
            let mut heard = self.heard.borrow_mut();
            (heard.machines, heard.units) = (None, None);
            request(
                self.server.address,
                self.protocol,
                heard.point.map(|revision| (heard.epoch.as_str(), revision)),
            )
        };
        loop {
            let answer = match self.server.connect().await {
                Ok(stream) => Connection::open(stream, &request).await,
                // The server has closed the connection before or during the handshake.
                Err(_) if self.server.tls.is_some() => Err(String::new()),
                Err(error) => Err(error.to_string()),
            };
            match answer {
                Ok(connection) => return connection,
                Err(refusal) if permit.is_some() => {
                    panic!("turned away from a place that is free: {refusal:?}")
                }
                Err(refusal) => {
                    assert!(
                        refusal.is_empty() || refusal.contains(" 503 "),
                        "turned away: {refusal}"
                    );
                    self.record.refusals.update(|count| count + 1);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn listen(&self, connection: &mut Connection) -> std::convert::Infallible {
        loop {
            let mut ping = false;
            connection.messages(|message| match message {
                Message::Text(text) => self.hear(text),
                Message::Ping => ping = true,
                Message::Pong => panic!("nobody asked"),
                Message::Close(code) => {
                    panic!("{:?}: a client that behaves was closed with {code}", self.protocol)
                }
            });
            if ping {
                connection.pong();
            }
            self.record.news.notify_one();
            if let Err(error) = connection.read().await {
                panic!("{:?}: a client that behaves was cut off: {error}", self.protocol);
            }
        }
    }

    fn hear(&self, text: &[u8]) {
        let heard = &mut *self.heard.borrow_mut();
        let r#type = between(text, b"{\"type\":\"", b'"');
        match (self.protocol, r#type) {
            (Protocol::First, b"machine") => heard.machines = Some(self.record.list(text)),
            (Protocol::First, b"unit") => heard.units = Some(self.record.list(text)),
            (Protocol::Second | Protocol::Events, r#type) => {
                let revision = revision(text);
                match r#type {
                    b"delta" | b"event" => heard.change(&self.record, revision, text),
                    b"status" => heard.status(revision),
                    b"snapshot" => {
                        assert_eq!(heard.start, None, "a snapshot that was not asked for");
                        self.record.keep(text);
                    }
                    b"hello" => heard.hello(text),
                    _ => panic!("{}", String::from_utf8_lossy(text)),
                }
            }
            _ => panic!("not of this protocol: {}", String::from_utf8_lossy(text)),
        }
    }

    /// Whether it has been told how things are, so that it can be told of every change.
    pub fn is_settled(&self) -> bool {
        let heard = self.heard.borrow();
        match self.protocol {
            Protocol::First => heard.machines.is_some() && heard.units.is_some(),
            Protocol::Second | Protocol::Events => heard.start.is_some(),
        }
    }

    /// Whether it has heard all up to this revision, each once, or has the newest lists.
    pub fn has_all(&self, last: u64, [machines, units]: [&[u8]; 2]) -> bool {
        let heard = self.heard.borrow();
        match self.protocol {
            Protocol::First => {
                heard.machines.as_deref() == Some(machines) && heard.units.as_deref() == Some(units)
            }
            Protocol::Second | Protocol::Events => {
                let Some(start) = heard.start else {
                    return false;
                };
                if heard.last < last && start < last {
                    return false;
                }
                assert_eq!(
                    heard.count,
                    self.record.count(start, last),
                    "since {start}: something is missing"
                );
                true
            }
        }
    }
}

impl Record {
    fn keep(&self, snapshot: &[u8]) {
        let topic = String::from_utf8_lossy(between(snapshot, b"\"topic\":\"", b'"')).into_owned();
        let mut snapshots = self.snapshots.borrow_mut();
        snapshots
            .entry(topic)
            .or_insert_with(|| serde_json::from_slice(snapshot).unwrap());
    }
}

impl Heard {
    fn hello(&mut self, text: &[u8]) {
        let hello: Value = serde_json::from_slice(text).unwrap();
        self.epoch = hello["epoch"].as_str().unwrap().to_owned();
    }

    fn status(&mut self, revision: u64) {
        assert!(self.point <= Some(revision), "back from {:?} to {revision}", self.point);
        self.start.get_or_insert(revision);
        self.point = Some(revision);
    }

    fn change(&mut self, record: &Record, revision: u64, text: &[u8]) {
        assert!(self.start.is_some(), "a change of what is not known");
        assert!(self.point < Some(revision), "{revision} again after {:?}", self.point);
        let mut messages = record.messages.borrow_mut();
        let message = messages.entry(revision).or_insert_with(|| text.into());
        assert!(**message == *text, "two messages of revision {revision}");
        (self.last, self.point) = (revision, Some(revision));
        self.count += 1;
    }
}

/// What stands between the first `before` and the next `end`. It is near the beginning.
fn between<'a>(text: &'a [u8], before: &[u8], end: u8) -> &'a [u8] {
    let start = text.windows(before.len()).position(|window| window == before);
    let rest = &text
        [start.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(text))) + before.len()..];
    rest.split(|byte| *byte == end).next().unwrap_or_default()
}

fn revision(text: &[u8]) -> u64 {
    str::from_utf8(between(text, b"\"revision\":", b','))
        .unwrap()
        .parse()
        .unwrap()
}
