//! Whatever is published, and however slow or absent a client is: what it has in the end is what
//! there is.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::builders;
use crate::cluster::{Event, Health, Member, Place, Transition, Unit, UnitState};
use crate::feed::{FeedInput, FeedSettings, Publish, Publisher, SourceInfo};
use crate::snapshots::assert_catalogue;

const MACHINES: [&str; 2] = ["m1", "m2"];
const STATES: [&str; 3] = ["active", "failed", "inactive"];

/// Units by their number, as the number of their machine (0 for none) and of their state.
type Units = BTreeMap<u8, (u8, u8)>;

fn unit(number: u8, machine: u8, state: u8) -> Arc<Unit> {
    let machine = (machine > 0).then(|| MACHINES[machine as usize - 1]);
    let state = UnitState {
        machine: machine.map(Into::into),
        load: None,
        active: Some(STATES[state as usize].into()),
        sub: None,
        ..builders::unit_state(&format!("unit{number}.service"), MACHINES[0], "active/running")
    };
    Arc::new(builders::unit(state))
}

fn member(id: &str) -> Arc<Member> {
    Arc::new(builders::member(builders::machine(id)))
}

fn view(units: &Units, machines: usize) -> Arc<View> {
    let mut units: Vec<_> = units
        .iter()
        .map(|(number, (machine, state))| unit(*number, *machine, *state))
        .collect();
    units.sort_by(|a, b| (&a.state.unit, &a.state.machine).cmp(&(&b.state.unit, &b.state.machine)));
    Arc::new(View {
        units: units.into(),
        machines: MACHINES[..machines].iter().map(|id| member(id)).collect(),
    })
}

struct Bench {
    publisher: Publisher,
    channels: Channels,
    health: Health,
    transitions: u64,
}

impl Bench {
    fn new() -> Self {
        let settings = FeedSettings {
            unit_fields: vec![],
            machine_fields: vec![],
            publish: Publish::Changes,
        };
        Self {
            publisher: Publisher::new(settings, "e", SourceInfo::default()),
            channels: Channels::default(),
            health: Health::default(),
            transitions: 0,
        }
    }

    fn last(&self) -> Arc<Publication> {
        self.publisher.last()
    }

    /// Publishes a view, with an event about each of these units.
    fn publish(&mut self, view: &Arc<View>, events: &[u8]) {
        let event = |number: &u8| {
            self.transitions += 1;
            let unit = format!("unit{number}.service").as_str().into();
            let machine = MACHINES.get(*number as usize % 3).map(|id| (*id).into());
            let event = Event::Appeared {
                place: Place { unit, machine, ip: None },
                to: "active".into(),
            };
            Arc::new(Transition {
                number: self.transitions,
                time: SystemTime::UNIX_EPOCH,
                event,
            })
        };
        let transitions: Vec<_> = events.iter().map(event).collect();
        let news = FeedInput {
            view,
            health: &self.health,
            transitions: &transitions,
            change: None,
            read: &[],
            now: Moment::now(),
        };
        self.publisher.publish(news);
    }

    fn client(&self, transport: Transport, subscription: &Subscription) -> Client {
        let mut client = Client {
            transport,
            subscription: subscription.clone(),
            follower: None,
            topics: BTreeMap::new(),
            position: None,
            events: vec![],
            health: Value::Null,
            resyncs: vec![],
            heard: vec![],
        };
        client.connect(self);
        client
    }
}

/// A client as the protocol's description has it.
struct Client {
    transport: Transport,
    subscription: Subscription,
    follower: Option<ChannelSubscription>,
    topics: BTreeMap<String, BTreeMap<String, Value>>,
    position: Option<Position>,
    events: Vec<u64>,
    health: Value,
    resyncs: Vec<String>,
    /// The types of all messages.
    heard: Vec<String>,
}

/// The messages of a batch, and where each lets a client go on.
fn messages(transport: Transport, batch: &Batch) -> Vec<(Value, Option<String>)> {
    let mut messages = vec![];
    match transport {
        Transport::WebSocket => {
            let mut bytes = &batch.bytes()[..];
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
        }
        Transport::EventStream => {
            for event in std::str::from_utf8(batch.bytes()).unwrap().split_terminator("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data: ") {
                    messages.push((
                        serde_json::from_str(data).unwrap(),
                        field("id: ").map(str::to_owned),
                    ));
                }
            }
        }
    }
    assert_eq!(messages.len(), batch.messages());
    messages
}

fn key(row: &Value) -> String {
    format!("{} {}", row["unit"], row["machine"])
}

impl Client {
    fn connect(&mut self, bench: &Bench) {
        let channel = bench
            .channels
            .open(self.transport, self.subscription.clone())
            .unwrap();
        let begun = ChannelSubscription::begin(
            channel,
            self.position.as_ref(),
            &bench.last(),
            Moment::now(),
        );
        let (follower, batches) = begun.unwrap();
        self.follower = Some(follower);
        self.take(&batches, usize::MAX);
    }

    fn catch_up(&mut self, bench: &Bench) {
        match &mut self.follower {
            Some(follower) => {
                let batches = follower.news(&bench.last(), Moment::now()).unwrap();
                self.take(&batches, usize::MAX);
            }
            None => self.connect(bench),
        }
    }

    /// Loses the line after so many of the messages that are on their way.
    fn drop_after(&mut self, bench: &Bench, messages: usize) {
        if let Some(mut follower) = self.follower.take() {
            let batches = follower.news(&bench.last(), Moment::now()).unwrap();
            self.take(&batches, messages);
        }
    }

    fn take(&mut self, batches: &[Batch], most: usize) {
        let messages = batches.iter().flat_map(|batch| messages(self.transport, batch));
        for (message, id) in messages.take(most).collect::<Vec<_>>() {
            self.hear(&message, id.as_deref());
        }
    }

    fn hear(&mut self, message: &Value, id: Option<&str>) {
        let kind = message["type"].as_str().unwrap();
        let topic = message["topic"].as_str().unwrap_or_default();
        let revision = message["revision"].as_u64().unwrap();
        self.heard.push(kind.to_owned());
        let rows = |of: &Value| of.as_array().unwrap().clone();
        match kind {
            "hello" => {}
            "resync" => {
                self.topics.clear();
                self.events.clear();
                self.position = None;
                self.resyncs.push(message["reason"].as_str().unwrap().to_owned());
            }
            "snapshot" if topic == "events" => {
                self.events = rows(&message["rows"])
                    .iter()
                    .map(|row| row["number"].as_u64().unwrap())
                    .collect();
            }
            "snapshot" => {
                let rows = rows(&message["rows"])
                    .into_iter()
                    .map(|row| (key(&row), row))
                    .collect();
                self.topics.insert(topic.to_owned(), rows);
            }
            "delta" => {
                let known = self.topics.get_mut(topic).expect("a snapshot before");
                for row in rows(&message["upsert"]) {
                    known.insert(key(&row), row);
                }
                for row in rows(&message["remove"]) {
                    known.remove(&key(&row)).expect("only what is there is removed");
                }
            }
            "event" => self.events.push(message["number"].as_u64().unwrap()),
            "status" => self.health = message["health"].clone(),
            other => panic!("{other}"),
        }
        let goes_on = matches!(kind, "delta" | "event" | "status");
        if self.transport == Transport::EventStream {
            assert_eq!(id.map(str::to_owned), goes_on.then(|| format!("e-{revision}")));
        }
        if goes_on {
            let before = self.position.as_ref().map_or(0, |position| position.revision);
            assert!(
                revision > before || (kind == "status" && revision == before),
                "{revision} after {before}"
            );
            self.position = Some(Position { epoch: "e".into(), revision });
        }
    }

    /// Has caught up: what it has is what there is.
    fn check(&self, bench: &Bench) {
        let publication = bench.last();
        let Subscription { topics, filter } = &self.subscription;
        for topic in topics {
            let snapshot: Value =
                serde_json::from_slice(&update::snapshot(&publication, *topic, filter)).unwrap();
            let rows = snapshot["rows"].as_array().unwrap();
            if *topic == Topic::Events {
                let expected: Vec<u64> =
                    rows.iter().map(|row| row["number"].as_u64().unwrap()).collect();
                assert!(self.events.ends_with(&expected), "{:?} {expected:?}", self.events);
                assert!(self.events.is_sorted_by(|a, b| a < b), "none twice: {:?}", self.events);
            } else {
                let expected: BTreeMap<String, Value> =
                    rows.iter().map(|row| (key(row), row.clone())).collect();
                assert_eq!(self.topics[topic.name()], expected);
            }
        }
        assert!(
            self.topics
                .keys()
                .all(|topic| topics.iter().any(|wanted| wanted.name() == topic))
        );
        assert_eq!(self.health["held_back"], json!(publication.health.held_back));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        units: Units,
        machines: usize,
        events: Vec<u8>,
        held_back: bool,
    },
    CatchUp(usize),
    Drop(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let units = prop::collection::btree_map(0..6u8, (0..3u8, 0..3u8), 0..6);
    let events = prop::collection::vec(0..6u8, 0..4);
    prop_oneof![
        3 => (units, 0..3usize, events, any::<bool>()).prop_map(|(units, machines, events, held_back)| {
            Step::Publish { units, machines, events, held_back }
        }),
        2 => (0..CLIENTS).prop_map(Step::CatchUp),
        1 => (0..CLIENTS, 0..6usize).prop_map(|(client, messages)| Step::Drop(client, messages)),
    ]
}

const CLIENTS: usize = 6;

fn subscriptions() -> [Subscription; 3] {
    let all = Subscription::default();
    let filtered = Subscription {
        filter: "machine:m1 state:failed state:active".parse().unwrap(),
        ..all.clone()
    };
    let some = Subscription {
        topics: [Topic::Units, Topic::Events].into(),
        filter: "unit:unit[0] unit:*1.service *2*".parse().unwrap(),
    };
    [all, filtered, some]
}

proptest! {
    #[test]
    fn a_client_that_has_caught_up_has_what_there_is(steps in prop::collection::vec(step(), 0..40)) {
        let mut bench = Bench::new();
        let transports = [Transport::WebSocket, Transport::EventStream];
        let mut clients: Vec<Client> = transports
            .into_iter()
            .flat_map(|transport| subscriptions().map(|subscription| bench.client(transport, &subscription)))
            .collect();
        for step in steps {
            match step {
                Step::Publish { units, machines, events, held_back } => {
                    bench.health.held_back += u64::from(held_back);
                    bench.publish(&view(&units, machines), &events);
                }
                Step::CatchUp(client) => clients[client].catch_up(&bench),
                Step::Drop(client, messages) => clients[client].drop_after(&bench, messages),
            }
        }
        for client in &mut clients {
            client.catch_up(&bench);
            client.check(&bench);
        }
    }
}

fn units(states: &[(u8, u8)]) -> Arc<View> {
    view(&states.iter().map(|(number, state)| (*number, (1, *state))).collect(), 1)
}

#[test]
fn who_comes_back_gets_what_was_missed_and_no_more() {
    let mut bench = Bench::new();
    bench.publish(&units(&[(1, 0), (2, 0), (3, 0)]), &[1, 2, 3]);
    let mut client = bench.client(Transport::WebSocket, &Subscription::default());
    assert_eq!(client.heard, ["hello", "snapshot", "snapshot", "snapshot", "status"]);
    client.heard.clear();
    client.drop_after(&bench, 0);
    bench.publish(&units(&[(1, 0), (2, 1), (3, 0)]), &[2]);
    bench.publish(&units(&[(1, 0), (3, 0)]), &[]);
    client.catch_up(&bench);
    assert_eq!(client.heard, ["hello", "delta", "event", "delta", "status"]);
    client.check(&bench);
    client.heard.clear();
    client.drop_after(&bench, 0);
    client.catch_up(&bench);
    assert_eq!(client.heard, ["hello", "status"], "nothing was missed");
}

#[test]
fn who_cannot_go_on_is_told_so_and_gets_all() {
    let mut bench = Bench::new();
    bench.publish(&units(&[(1, 0)]), &[1]);
    for (epoch, revision, lost) in
        [("another", 1, ResyncReason::OtherEpoch), ("e", 1_000, ResyncReason::Ahead)]
    {
        let mut client = bench.client(Transport::EventStream, &Subscription::default());
        client.heard.clear();
        client.position = Some(Position { epoch: epoch.into(), revision });
        client.connect(&bench);
        assert_eq!(client.heard, ["hello", "resync", "snapshot", "snapshot", "snapshot", "status"]);
        assert_eq!(client.resyncs, [lost.reason()]);
    }
    let mut absent = bench.client(Transport::WebSocket, &Subscription::default());
    absent.drop_after(&bench, 0);
    for _ in 0..3000 {
        bench.publish(&units(&[(1, 1)]), &[]);
        bench.publish(&units(&[(1, 0)]), &[]);
    }
    absent.catch_up(&bench);
    assert_eq!(absent.resyncs, [ResyncReason::Forgotten.reason()]);
    absent.check(&bench);
}

#[test]
fn who_is_behind_by_more_than_all_there_is_gets_all_there_is() {
    let mut bench = Bench::new();
    bench.publish(&units(&[(1, 0), (2, 0)]), &[]);
    let topics = Subscription::topics("units").unwrap();
    let units_only = Subscription { topics, ..Subscription::default() };
    let mut slow = bench.client(Transport::WebSocket, &units_only);
    let mut quick = bench.client(Transport::WebSocket, &units_only);
    for state in [1, 2, 0] {
        bench.publish(&units(&[(1, state), (2, 0)]), &[]);
        quick.catch_up(&bench);
    }
    slow.catch_up(&bench);
    assert_eq!(slow.resyncs, [ResyncReason::Exceeding.reason()]);
    slow.check(&bench);
    bench.publish(&units(&[]), &[]);
    quick.catch_up(&bench);
    assert!(
        quick.resyncs.is_empty(),
        "who has seen all but the newest is told it, however much it is"
    );
    quick.check(&bench);
}

#[test]
fn clients_with_equal_wishes_share_their_bytes() {
    let mut bench = Bench::new();
    bench.publish(&units(&[(1, 0)]), &[]);
    let open = |filter: &str| {
        let subscription =
            Subscription { filter: filter.parse().unwrap(), ..Subscription::default() };
        bench.channels.open(Transport::WebSocket, subscription).unwrap()
    };
    let (one, same, other) =
        (open("unit:a* state:failed"), open("state:failed a*"), open("unit:b*"));
    assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
    let last = bench.last();
    let [first, second] =
        [one, same].map(|channel| channel.snapshots(&last).unwrap().bytes().as_ptr());
    assert_eq!(first, second);
}

#[test]
fn strangers_with_many_filters_get_only_so_much_room() {
    let mut bench = Bench::new();
    let many = |state| view(&(0..=255).map(|number| (number, (1, state))).collect(), 1);
    bench.publish(&many(0), &[]);
    let room = bench.channels.room.clone();
    let shared = std::mem::take(&mut bench.channels);
    let open = |terms: String| {
        let subscription =
            Subscription { filter: terms.parse().unwrap(), ..Subscription::default() };
        shared.open(Transport::WebSocket, subscription)
    };
    let taken = || MemoryBudget::BYTES - room.left.available_permits();
    let mut channels = vec![];
    for number in 0..Channels::MAX {
        let channel = open(format!("unit* unit:{number}")).unwrap();
        drop(channel.snapshots(&bench.last()).unwrap());
        channels.push(channel);
    }
    assert!(
        (MemoryBudget::RECENT / 2..=MemoryBudget::RECENT).contains(&taken()),
        "{}",
        taken()
    );
    assert_eq!(open("unit* unit:more".to_owned()).unwrap_err(), OverBudget);
    assert!(open(String::new()).is_ok(), "who wants all gets it");
    let held: Result<Vec<Batch>, OverBudget> = channels
        .iter()
        .chain(&channels)
        .map(|channel| channel.snapshots(&bench.last()))
        .collect();
    assert!(held.is_ok(), "equal wishes share what is on its way");
    let left = &room.left;
    let others = left
        .clone()
        .try_acquire_many_owned(left.available_permits() as u32)
        .unwrap();
    bench.publish(&many(1), &[]);
    assert_eq!(
        channels[0].snapshots(&bench.last()).err(),
        Some(OverBudget),
        "what is on its way counts, too"
    );
    drop((held, others));
    channels.clear();
    assert!(open("unit* unit:more".to_owned()).is_ok());
}

#[test]
fn who_lags_takes_room_and_begins_anew_where_there_is_none() {
    let mut bench = Bench::new();
    let many = |state| view(&(0..=255).map(|number| (number, (1, state))).collect(), 1);
    bench.publish(&many(0), &[]);
    let mut lagging = bench.client(Transport::WebSocket, &Subscription::default());
    bench.publish(&many(1), &[]);
    bench.publish(&units(&[(1, 0), (2, 0)]), &[]);
    bench.publish(&many(1), &[]);
    let room = bench
        .channels
        .room
        .left
        .clone()
        .try_acquire_many_owned(MemoryBudget::BYTES as u32)
        .unwrap();
    lagging.catch_up(&bench);
    assert_eq!(lagging.resyncs, [ResyncReason::Exceeding.reason()]);
    lagging.check(&bench);
    drop(room);
}

#[test]
fn a_change_that_leaves_the_filter_is_a_removal() {
    let mut bench = Bench::new();
    bench.publish(&units(&[(1, 1), (2, 0)]), &[]);
    let failed = Subscription {
        filter: "state:failed".parse().unwrap(),
        ..Subscription::default()
    };
    let mut client = bench.client(Transport::WebSocket, &failed);
    assert_eq!(client.topics["units"].len(), 1);
    bench.publish(&units(&[(1, 0), (2, 0)]), &[]);
    client.catch_up(&bench);
    assert_eq!(client.topics["units"].len(), 0);
    client.heard.clear();
    bench.publish(&units(&[(1, 0), (2, 2)]), &[]);
    client.catch_up(&bench);
    assert!(client.heard.is_empty(), "what is of no concern is not told: {:?}", client.heard);
}

#[test]
fn one_changed_row_is_short() {
    let mut bench = Bench::new();
    let many = |state| {
        view(
            &(0..=250)
                .map(|number| (number, (1, if number == 7 { state } else { 0 })))
                .collect(),
            1,
        )
    };
    bench.publish(&many(0), &[]);
    let channel = bench
        .channels
        .open(Transport::WebSocket, Subscription::default())
        .unwrap();
    let (mut follower, _) =
        ChannelSubscription::begin(channel, None, &bench.last(), Moment::now()).unwrap();
    bench.publish(&many(1), &[7]);
    let news = follower.news(&bench.last(), Moment::now()).unwrap();
    let bytes: usize = news.iter().map(|batch| batch.bytes().len()).sum();
    assert!(bytes < 1000, "{bytes}");
    assert!(
        follower.news(&bench.last(), Moment::now()).unwrap().is_empty(),
        "nothing changed, nothing to say"
    );
    let later = Moment::now() + Duration::from_secs(15);
    assert_eq!(follower.status(&bench.last(), later).messages(), 1);
}

#[test]
fn who_has_to_begin_anew_is_told_why_in_these_words() {
    let lost = [
        ResyncReason::Forgotten,
        ResyncReason::Exceeding,
        ResyncReason::OtherEpoch,
        ResyncReason::Ahead,
    ];
    assert_catalogue("resyncs", lost.map(|lost| (format!("{lost:?}"), lost.reason())));
}
