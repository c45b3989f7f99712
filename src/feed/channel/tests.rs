//! A client has what is published once it has caught up, whatever is published, and however slow
//! or disconnected the client was.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tokio::sync::OwnedSemaphorePermit;

use self::client::ProtocolClient;
use super::*;
use crate::builders;
use crate::cluster::{
    Change, Delta, Event, Health, Member, Moment, Place, Transition, Unit, UnitState, Verdict,
};
use crate::feed::{
    FeedInput, FeedSettings, PreviousRun, Publish, Publisher, RestartDiff, SourceInfo,
};
use crate::problems::{
    MachineName, MachineTrouble, OpenProblems, Problem, ProblemCause, SourceFault,
};
use crate::snapshots::assert_catalogue;

mod client;

const MACHINES: [&str; 2] = ["m1", "m2"];
const STATES: [&str; 3] = ["active", "failed", "inactive"];

/// Units by their number. Each has the number of its machine, counted from 1 (0 for none), and an
/// index of [`STATES`].
type NumberedUnits = BTreeMap<u8, (u8, u8)>;

/// Problems by their number: 0 is about the source, 1 about a machine, and all others about units.
/// Each has the number, the machine and the state of its units.
type NumberedProblems = BTreeMap<u8, Vec<(u8, u8, u8)>>;

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

fn view(units: &NumberedUnits, machines: usize) -> Arc<View> {
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

/// A view of units, by their number and state, that are all on one machine.
fn view_of(states: &[(u8, u8)]) -> Arc<View> {
    let units = states.iter().map(|(number, state)| (*number, (1, *state)));
    view(&units.collect(), 1)
}

/// A view of 256 units, all in this state.
fn many_units(state: u8) -> Arc<View> {
    view(&(0..=255).map(|number| (number, (1, state))).collect(), 1)
}

fn problem(number: u8, units: &[(u8, u8, u8)]) -> Arc<Problem> {
    let machine = MachineName { id: MACHINES[0].into(), ip: None };
    let cause = match number {
        0 => ProblemCause::Source(SourceFault::Failing),
        1 => ProblemCause::Machine { trouble: MachineTrouble::Lost, machine },
        _ => ProblemCause::OnMachine { verdict: Verdict::Failed, machine: Some(machine) },
    };
    let units = units
        .iter()
        .map(|(number, machine, state)| unit(*number, *machine, *state));

    Arc::new(Problem {
        id: format!("problem{number}").as_str().into(),
        since: SystemTime::UNIX_EPOCH,
        since_seen: true,
        opened: SystemTime::UNIX_EPOCH,
        units: if number == 0 { vec![] } else { units.collect() },
        machine: (number == 1).then(|| member(MACHINES[0])),
        cause,
    })
}

fn problems(problems: &NumberedProblems) -> OpenProblems {
    problems
        .iter()
        .map(|(number, units)| problem(*number, units))
        .collect()
}

fn with_filter(filter: &str) -> Subscription {
    Subscription { filter: filter.parse().unwrap(), ..Subscription::default() }
}

/// A publisher and the channels of its clients.
struct ChannelBench {
    publisher: Publisher,
    channels: Channels,
    health: Health,
    problems: OpenProblems,
    /// How many transitions there have been.
    transitions: u64,
}

impl ChannelBench {
    fn new() -> Self {
        Self::with_epoch("e")
    }

    fn with_epoch(epoch: &str) -> Self {
        let settings = FeedSettings {
            unit_fields: vec![],
            machine_fields: vec![],
            publish: Publish::Changes,
        };

        Self {
            publisher: Publisher::new(settings, epoch, SourceInfo::default()),
            channels: Channels::default(),
            health: Health::default(),
            problems: OpenProblems::default(),
            transitions: 0,
        }
    }

    /// The program after a restart, which has not read anything yet.
    fn restarted(&self) -> Self {
        let mut bench = Self::with_epoch("f");
        bench.transitions = self.transitions;
        bench.publisher.set_previous_run(Some(self.saved()));
        bench
    }

    /// What is saved of what the clients have.
    fn saved(&self) -> PreviousRun {
        let last = self.last();
        let mut run = PreviousRun {
            epoch: (*last.epoch).into(),
            revision: last.revision,
            transitions: self.transitions,
            ..PreviousRun::default()
        };

        for entry in last.updates.since(0).expect("there are few") {
            match &entry.content {
                UpdateContent::Units(changes) => {
                    let rows = changes.iter().flat_map(Change::rows);
                    run.rows.extend(rows.map(|unit| (unit.key(), entry.revision)));
                }
                UpdateContent::Machines(changes) => {
                    let rows = changes.iter().flat_map(Change::rows);
                    let ids = rows.map(|member| member.machine.id.clone());
                    run.machines.extend(ids.map(|id| (id, entry.revision)));
                }
                UpdateContent::Event(transition) => {
                    run.events.insert(transition.number, entry.revision);
                }
                UpdateContent::Problems(changes) => {
                    let rows = changes.iter().flat_map(Change::rows);
                    run.problems
                        .extend(rows.map(|problem| (problem.id.clone(), entry.revision)));
                }
                UpdateContent::Status => {}
            }
        }
        run
    }

    /// The first publication after a restart of `before`.
    fn publish_first(&mut self, before: &ChannelBench, view: &Arc<View>, events: &[u8]) {
        let known = before.last();
        self.publisher.restore_events(&known.transitions, None, Moment::now());
        self.publish(view, events);

        let Delta { units, machines } = Delta::between(&known.view, view);
        let rows = units.iter().flat_map(Change::rows);
        let members = machines.iter().flat_map(Change::rows);
        let now = self.last().problems.clone();
        let problems = known.problems.iter().chain(now.iter());
        let diff = RestartDiff {
            revision: self.last().revision,
            rows: rows.map(|unit| unit.key()).collect(),
            machines: members.map(|member| member.machine.id.clone()).collect(),
            problems: problems.map(|problem| problem.id.clone()).collect(),
        };
        let run = PreviousRun { diff: Some(diff), ..before.saved() };
        self.publisher.set_previous_run(Some(run));
    }

    fn last(&self) -> Arc<Publication> {
        self.publisher.last()
    }

    /// Publishes a view, with one event for each of these units.
    fn publish(&mut self, view: &Arc<View>, events: &[u8]) {
        let transitions: Vec<_> = events.iter().map(|unit| self.transition(*unit)).collect();

        self.publisher.publish(FeedInput {
            view,
            health: &self.health,
            problems: &self.problems,
            transitions: &transitions,
            change: None,
            read: &[],
            now: Moment::now(),
        });
    }

    fn transition(&mut self, unit: u8) -> Arc<Transition> {
        self.transitions += 1;
        let place = Place {
            unit: format!("unit{unit}.service").as_str().into(),
            machine: MACHINES.get(unit as usize % 3).map(|id| (*id).into()),
            ip: None,
        };

        Arc::new(Transition {
            number: self.transitions,
            time: SystemTime::UNIX_EPOCH,
            event: Event::Appeared { place, to: "active".into() },
        })
    }

    fn client(&self, transport: Transport, subscription: &Subscription) -> ProtocolClient {
        ProtocolClient::connected(self, transport, subscription)
    }

    fn open(&self, subscription: Subscription) -> Result<Arc<Channel>, OverBudget> {
        self.channels.open(Transport::WebSocket, subscription)
    }

    /// How many bytes of the memory budget are in use.
    fn used_budget(&self) -> usize {
        MemoryBudget::BYTES - self.channels.budget.available.available_permits()
    }

    /// Takes the rest of the memory budget until the permit is dropped.
    fn exhaust_budget(&self) -> OwnedSemaphorePermit {
        let available = self.channels.budget.available.clone();
        let rest = available.available_permits();
        available.try_acquire_many_owned(rest as u32).unwrap()
    }
}

#[derive(Clone, Debug)]
enum TestStep {
    Publish {
        units: NumberedUnits,
        machines: usize,
        problems: NumberedProblems,
        events: Vec<u8>,
        /// Whether one more disappearance was held back.
        held_back: bool,
    },
    CatchUp {
        client: usize,
    },
    Disconnect {
        client: usize,
        after_messages: usize,
    },
}

const CLIENTS: usize = 6;

fn test_step() -> impl Strategy<Value = TestStep> {
    let units = prop::collection::btree_map(0..6u8, (0..3u8, 0..3u8), 0..6);
    let units_of_problem = prop::collection::vec((0..6u8, 0..3u8, 0..3u8), 1..3);
    let problems = prop::collection::btree_map(0..4u8, units_of_problem, 0..4);
    let events = prop::collection::vec(0..6u8, 0..4);
    let publish = (units, 0..3usize, problems, events, any::<bool>());

    prop_oneof![
        3 => publish.prop_map(|(units, machines, problems, events, held_back)| {
            TestStep::Publish { units, machines, problems, events, held_back }
        }),
        2 => (0..CLIENTS).prop_map(|client| TestStep::CatchUp { client }),
        1 => (0..CLIENTS, 0..6usize).prop_map(|(client, after_messages)| {
            TestStep::Disconnect { client, after_messages }
        }),
    ]
}

fn subscriptions() -> [Subscription; 3] {
    let some_topics = Subscription {
        topics: [Topic::Units, Topic::Problems, Topic::Events].into(),
        ..with_filter("unit:unit[0] unit:*1.service unit:*2*")
    };

    [
        Subscription::default(),
        with_filter("machine:m1 state:failed state:active -unit2"),
        some_topics,
    ]
}

/// One for each transport and subscription.
fn all_kinds_of_clients(bench: &ChannelBench) -> Vec<ProtocolClient> {
    let mut clients = vec![];
    for transport in [Transport::WebSocket, Transport::EventStream] {
        for subscription in subscriptions() {
            clients.push(bench.client(transport, &subscription));
        }
    }
    clients
}

proptest! {
    #[test]
    fn a_client_that_has_caught_up_has_what_is_published(
        steps in prop::collection::vec(test_step(), 0..40)
    ) {
        let mut bench = ChannelBench::new();
        let mut clients = all_kinds_of_clients(&bench);

        apply(steps, &mut bench, &mut clients);

        for client in &mut clients {
            client.catch_up(&bench);
            client.assert_up_to_date(&bench);
        }
    }
}

/// Applies steps to a program and its clients.
fn apply(steps: Vec<TestStep>, bench: &mut ChannelBench, clients: &mut [ProtocolClient]) {
    for step in steps {
        match step {
            TestStep::Publish { units, machines, problems: rows, events, held_back } => {
                bench.health.held_back += u64::from(held_back);
                bench.problems = problems(&rows);
                bench.publish(&view(&units, machines), &events);
            }
            TestStep::CatchUp { client } => clients[client].catch_up(bench),
            TestStep::Disconnect { client, after_messages } => {
                clients[client].disconnect_after(bench, after_messages);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_client_that_has_caught_up_after_a_restart_has_what_is_published(
        before in prop::collection::vec(test_step(), 0..20),
        left in prop::collection::vec(0..8usize, CLIENTS),
        early in prop::collection::vec(any::<bool>(), CLIENTS),
        first in prop::collection::btree_map(0..6u8, (0..3u8, 0..3u8), 0..6),
        after in prop::collection::vec(test_step(), 0..20),
    ) {
        let mut bench = ChannelBench::new();
        let mut clients = all_kinds_of_clients(&bench);
        apply(before, &mut bench, &mut clients);
        for (client, messages) in clients.iter_mut().zip(left) {
            client.disconnect_after(&bench, messages);
        }

        let mut restarted = bench.restarted();
        for (client, is_early) in clients.iter_mut().zip(early) {
            if is_early {
                client.connect(&restarted);
            }
        }
        restarted.publish_first(&bench, &view(&first, 2), &[1]);
        apply(after, &mut restarted, &mut clients);

        for client in &mut clients {
            client.catch_up(&restarted);
            client.assert_up_to_date(&restarted);
        }
    }
}

#[test]
fn after_a_restart_a_client_gets_what_differs_as_soon_as_that_is_known() {
    let mut bench = ChannelBench::new();
    bench.publish(&view_of(&[(1, 0), (2, 0), (3, 0)]), &[1, 2, 3]);
    let mut client = bench.client(Transport::WebSocket, &Subscription::default());
    client.disconnect_after(&bench, 0);

    let mut restarted = bench.restarted();
    client.received.clear();
    client.catch_up(&restarted);
    client.catch_up(&restarted);
    assert_eq!(client.received, ["hello"], "it waits");

    restarted.publish_first(&bench, &view_of(&[(1, 0), (2, 1), (4, 0)]), &[2]);
    client.catch_up(&restarted);
    assert_eq!(client.received, ["hello", "delta", "event", "status"]);
    assert_eq!(client.resyncs, [""; 0]);
    client.assert_up_to_date(&restarted);
}

#[test]
fn a_client_does_not_wait_for_longer_than_a_heartbeat() {
    let mut bench = ChannelBench::new();
    bench.publish(&view_of(&[(1, 0)]), &[1]);
    let mut client = bench.client(Transport::WebSocket, &Subscription::default());
    client.disconnect_after(&bench, 0);

    let mut restarted = bench.restarted();
    client.catch_up(&restarted);
    client.wait(&restarted);
    assert_eq!(client.resyncs, [ResyncReason::NotReadYet.text()]);

    restarted.publish_first(&bench, &view_of(&[(2, 0)]), &[2]);
    client.catch_up(&restarted);
    client.assert_up_to_date(&restarted);
}

#[test]
fn a_client_that_lost_its_connection_while_it_resumed_gets_everything() {
    let mut bench = ChannelBench::new();
    bench.publish(&view(&[(1, (1, 0))].into(), 1), &[1]);
    let mut client = bench.client(Transport::WebSocket, &Subscription::default());
    client.disconnect_after(&bench, 0);

    let mut restarted = bench.restarted();
    client.connect(&restarted);
    restarted.publish_first(&bench, &view(&[(2, (2, 0))].into(), 2), &[2]);
    client.disconnect_after(&restarted, 1);
    client.connect(&restarted);
    client.assert_up_to_date(&restarted);
}

#[test]
fn a_client_that_reconnects_gets_only_what_it_has_missed() {
    let mut bench = ChannelBench::new();
    bench.publish(&view_of(&[(1, 0), (2, 0), (3, 0)]), &[1, 2, 3]);
    let mut client = bench.client(Transport::WebSocket, &Subscription::default());
    assert_eq!(
        client.received,
        ["hello", "snapshot", "snapshot", "snapshot", "snapshot", "status"]
    );

    client.received.clear();
    client.disconnect_after(&bench, 0);
    bench.publish(&view_of(&[(1, 0), (2, 1), (3, 0)]), &[2]);
    bench.publish(&view_of(&[(1, 0), (3, 0)]), &[]);
    client.catch_up(&bench);
    assert_eq!(client.received, ["hello", "delta", "event", "delta", "status"]);
    client.assert_up_to_date(&bench);

    client.received.clear();
    client.disconnect_after(&bench, 0);
    client.catch_up(&bench);
    assert_eq!(client.received, ["hello", "status"], "nothing was missed");
}

#[test]
fn a_client_that_cannot_resume_gets_snapshots_and_the_reason() {
    let mut bench = ChannelBench::new();
    bench.publish(&view_of(&[(1, 0)]), &[1]);

    for (epoch, revision, reason) in [
        ("another", 1, ResyncReason::OtherEpoch),
        ("e", 1_000, ResyncReason::FutureRevision),
    ] {
        let mut client = bench.client(Transport::EventStream, &Subscription::default());
        client.received.clear();
        client.position = Some(ResumePosition { epoch: epoch.into(), revision });
        client.connect(&bench);

        let expected =
            ["hello", "resync", "snapshot", "snapshot", "snapshot", "snapshot", "status"];
        assert_eq!(client.received, expected);
        assert_eq!(client.resyncs, [reason.text()]);
    }
}

#[test]
fn a_client_whose_updates_are_no_longer_kept_gets_snapshots() {
    let mut bench = ChannelBench::new();
    bench.publish(&view_of(&[(1, 0)]), &[1]);
    let mut client = bench.client(Transport::WebSocket, &Subscription::default());

    client.disconnect_after(&bench, 0);
    for _ in 0..3000 {
        bench.publish(&view_of(&[(1, 1)]), &[]);
        bench.publish(&view_of(&[(1, 0)]), &[]);
    }
    client.catch_up(&bench);

    assert_eq!(client.resyncs, [ResyncReason::TooOld.text()]);
    client.assert_up_to_date(&bench);
}

#[test]
fn a_client_whose_missed_updates_are_larger_than_a_snapshot_gets_snapshots() {
    let mut bench = ChannelBench::new();
    bench.publish(&view_of(&[(1, 0), (2, 0)]), &[]);
    let topics = Subscription::parse_topics("units").unwrap();
    let units_only = Subscription { topics, ..Subscription::default() };
    let mut slow = bench.client(Transport::WebSocket, &units_only);
    let mut quick = bench.client(Transport::WebSocket, &units_only);

    for state in [1, 2, 0] {
        bench.publish(&view_of(&[(1, state), (2, 0)]), &[]);
        quick.catch_up(&bench);
    }
    slow.catch_up(&bench);
    assert_eq!(slow.resyncs, [ResyncReason::LargerThanSnapshot.text()]);
    slow.assert_up_to_date(&bench);

    bench.publish(&view_of(&[]), &[]);
    quick.catch_up(&bench);
    let why = "a client that lacks only the newest publication gets updates, however many";
    assert!(quick.resyncs.is_empty(), "{why}");
    quick.assert_up_to_date(&bench);
}

#[test]
fn clients_with_equal_subscriptions_share_their_messages() {
    let mut bench = ChannelBench::new();
    bench.publish(&view_of(&[(1, 0)]), &[]);

    let channel = bench.open(with_filter("unit:a* state:failed")).unwrap();
    let same = bench.open(with_filter("state:failed UNIT:a*")).unwrap();
    let other = bench.open(with_filter("unit:b*")).unwrap();
    assert!(Arc::ptr_eq(&channel, &same));
    assert!(!Arc::ptr_eq(&channel, &other));

    let last = bench.last();
    let address_of_bytes = |channel: &Channel| channel.snapshots(&last).unwrap().bytes().as_ptr();
    assert_eq!(address_of_bytes(&channel), address_of_bytes(&same));
}

#[test]
fn channels_and_messages_with_filters_are_limited() {
    let mut bench = ChannelBench::new();
    bench.publish(&many_units(0), &[]);

    let mut channels = vec![];
    for number in 0..Channels::MAX {
        let channel = bench.open(with_filter(&format!("unit:unit* unit:{number}"))).unwrap();
        drop(channel.snapshots(&bench.last()).unwrap());
        channels.push(channel);
    }
    let recent = MemoryBudget::RECENT_BYTES / 2..=MemoryBudget::RECENT_BYTES;
    assert!(recent.contains(&bench.used_budget()), "{}", bench.used_budget());

    assert_eq!(bench.open(with_filter("unit:unit* unit:more")).unwrap_err(), OverBudget);
    assert!(bench.open(Subscription::default()).is_ok(), "no limit without a filter");

    let being_sent: Result<Vec<MessageBatch>, OverBudget> = channels
        .iter()
        .chain(&channels)
        .map(|channel| channel.snapshots(&bench.last()))
        .collect();
    assert!(being_sent.is_ok(), "clients of one channel share what they are being sent");

    let rest = bench.exhaust_budget();
    bench.publish(&many_units(1), &[]);
    let why = "messages that are being sent count";
    assert_eq!(channels[0].snapshots(&bench.last()).err(), Some(OverBudget), "{why}");

    drop((being_sent, rest));
    channels.clear();
    assert!(bench.open(with_filter("unit:unit* unit:more")).is_ok());
}

#[test]
fn a_slow_client_gets_snapshots_if_the_budget_is_exhausted() {
    let mut bench = ChannelBench::new();
    bench.publish(&many_units(0), &[]);
    let mut slow = bench.client(Transport::WebSocket, &Subscription::default());

    bench.publish(&many_units(1), &[]);
    bench.publish(&view_of(&[(1, 0), (2, 0)]), &[]);
    bench.publish(&many_units(1), &[]);
    let all = bench.exhaust_budget();
    assert_eq!(bench.used_budget(), MemoryBudget::BYTES);
    slow.catch_up(&bench);

    assert_eq!(slow.resyncs, [ResyncReason::LargerThanSnapshot.text()]);
    slow.assert_up_to_date(&bench);
    drop(all);
}

#[test]
fn a_response_with_a_filter_uses_the_budget_until_it_is_dropped() {
    let mut bench = ChannelBench::new();
    bench.publish(&many_units(0), &[]);
    let response = Bytes::from(vec![b'x'; 1000]);

    let charged = bench.channels.charge(response.clone()).unwrap();
    assert_eq!(charged, response);
    assert_eq!(bench.used_budget(), 1000);
    drop(charged);
    assert_eq!(bench.used_budget(), 0);

    let all = bench.exhaust_budget();
    assert_eq!(bench.channels.charge(response).unwrap_err(), OverBudget);
    drop(all);
}

#[test]
fn a_row_that_no_longer_passes_the_filter_is_removed() {
    let mut bench = ChannelBench::new();
    bench.publish(&view_of(&[(1, 1), (2, 0)]), &[]);
    let mut client = bench.client(Transport::WebSocket, &with_filter("state:failed"));
    assert_eq!(client.topics["units"].len(), 1);

    bench.publish(&view_of(&[(1, 0), (2, 0)]), &[]);
    client.catch_up(&bench);
    assert_eq!(client.topics["units"].len(), 0);

    client.received.clear();
    bench.publish(&view_of(&[(1, 0), (2, 2)]), &[]);
    client.catch_up(&bench);
    let why = "a row that neither passed before nor passes now is not sent";
    assert!(client.received.is_empty(), "{why}: {:?}", client.received);
}

#[test]
fn a_problem_is_sent_when_it_changes_and_removed_by_its_id_when_it_is_closed() {
    let mut bench = ChannelBench::new();
    let view = view_of(&[(1, 1), (2, 1)]);
    let failed = |unit: u8| (unit, 1, 1);
    bench.problems = problems(&[(2, vec![failed(1)]), (3, vec![failed(2)])].into());
    bench.publish(&view, &[]);
    let mut all = bench.client(Transport::WebSocket, &Subscription::default());
    let mut some = bench.client(Transport::WebSocket, &with_filter("unit:unit1.service"));
    let counts = |client: &ProtocolClient| -> Vec<_> {
        client.topics["problems"]
            .values()
            .map(|row| row["count"].clone())
            .collect()
    };
    assert_eq!((counts(&all), counts(&some)), (vec![1.into(), 1.into()], vec![1.into()]));

    bench.problems = problems(&[(3, vec![failed(1), failed(2)])].into());
    bench.publish(&view, &[]);
    for client in [&mut all, &mut some] {
        client.catch_up(&bench);
        assert_eq!(counts(client), [2], "one is closed, and one has both units");
        client.assert_up_to_date(&bench);
    }

    all.received.clear();
    bench.publish(&view, &[]);
    all.catch_up(&bench);
    assert!(all.received.is_empty(), "nothing has changed: {:?}", all.received);
}

#[test]
fn the_delta_of_one_row_is_short() {
    let with_unit_7 = |state| {
        let units = (0..=250).map(|number| (number, if number == 7 { state } else { 0 }));
        view_of(&units.collect::<Vec<_>>())
    };
    let mut bench = ChannelBench::new();
    bench.publish(&with_unit_7(0), &[]);
    let channel = bench.open(Subscription::default()).unwrap();
    let (mut cursor, _) =
        ChannelCursor::begin(channel, None, &bench.last(), Moment::now()).unwrap();

    bench.publish(&with_unit_7(1), &[7]);
    let updates = cursor.updates(&bench.last(), Moment::now()).unwrap();
    let bytes: usize = updates.iter().map(|batch| batch.bytes().len()).sum();
    assert!(bytes < 1000, "{bytes}");

    let updates = cursor.updates(&bench.last(), Moment::now()).unwrap();
    assert!(updates.is_empty(), "nothing has changed since");

    let later = Moment::now() + Duration::from_secs(15);
    assert_eq!(cursor.status(&bench.last(), later).messages(), 1);
}

#[test]
fn the_wording_of_resyncs() {
    let reasons = [
        ResyncReason::TooOld,
        ResyncReason::LargerThanSnapshot,
        ResyncReason::OtherEpoch,
        ResyncReason::FutureRevision,
        ResyncReason::NotSaved,
        ResyncReason::NotReadYet,
    ];
    let texts = reasons.map(|reason| (format!("{reason:?}"), reason.text()));

    assert_catalogue("resyncs", texts);
}
