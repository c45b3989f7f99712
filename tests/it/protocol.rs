//! `docs/protocol.md` says what the program does: its examples are made again here, and its tables
//! are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fleet_monitor::actions::{
    Actions, ClusterAccess, Condition, LinkTemplate, Placeholder, commands,
};
use fleet_monitor::cluster::{
    Cluster, Event, FleetList, Health, Lease, Machine, Member, Moment, Reading, RegistrySnapshot,
    UnitFile, UnitState, Verdict, View,
};
use fleet_monitor::feed::channel::{ChannelCursor, Channels, ResumePosition, Transport};
use fleet_monitor::feed::event_history::HistoryQuery;
use fleet_monitor::feed::fields::{MachineField, UnitField};
use fleet_monitor::feed::filter::Filter;
use fleet_monitor::feed::subscription::Subscription;
use fleet_monitor::feed::{FeedInput, FeedSettings, Publication, Publish, Publisher, SourceInfo};
use fleet_monitor::metrics::{Metrics, MetricsFormat, Scrape, UnitSeries};
use fleet_monitor::problems::{
    MachineTrouble, ProblemDelays, ProblemKind, ProblemTracker, SourceFault,
};
use fleet_monitor::server::{ServerSettings, Timing};
use fleet_monitor::unit_files::{
    UnitFileDocument, UnitFileMode, UnitFileVersion, UnitFileVersions,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use wildmatch::WildMatch;

use crate::server::{ServerBench, settings};
use crate::support::{Daemon, Double, Proxy, builders, cannot_run, recorded};

const PAGE: &str = include_str!("../../docs/protocol.md");

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The block that follows each `<!-- KIND: NAME -->`.
fn blocks(kind: &str) -> BTreeMap<&'static str, &'static str> {
    let mark = format!("<!-- {kind}: ");
    let parts = PAGE.split(&mark).skip(1);
    let block = |part: &'static str| {
        let (name, rest) = part.split_once(" -->\n```").expect("a block after the name");
        let (_, rest) = rest.split_once('\n').expect("the name of a language");
        (name, rest.split_once("\n```").expect("the end of the block").0)
    };
    parts.map(block).collect()
}

/// The first column of the table that follows `<!-- table: NAME -->`, without its back quotes.
fn table(name: &str) -> BTreeSet<&'static str> {
    let (_, rest) = PAGE.split_once(&format!("<!-- table: {name} -->\n")).expect(name);
    let rows = rest.lines().take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        row.split('`')
            .nth(1)
            .unwrap_or_else(|| panic!("{name}: no name in {row}"))
    })
    .collect()
}

fn start() -> Moment {
    Moment {
        instant: Instant::now(),
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    }
}

const WEST: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
const EAST: &str = "9c4b7a2e1d3f48568e0f1a2b3c4d5e6f";
const NORTH: &str = "d2e8f4a10b6c4973b5d7e9f1a3c5b7d9";

fn machine(id: &str, ip: &str, metadata: Option<&str>) -> Machine {
    Machine {
        ip: Some(ip.into()),
        metadata: metadata.map(Into::into),
        ..builders::machine(id)
    }
}

fn state(unit: &str, (machine, ip): (&str, &str), state: &str, hash: &str) -> UnitState {
    UnitState {
        ip: Some(ip.into()),
        hash: Some(hash.into()),
        ..builders::unit_state(unit, machine, state)
    }
}

fn file(unit: &str, hash: &str, target: Option<&str>) -> UnitFile {
    UnitFile {
        hash: Some(hash.into()),
        requirements_known: false,
        ..builders::unit_file(unit, target)
    }
}

const AGENT: &str = "52fd8a40dd4c1b4e1f6c1f0a77a0f5c0d91a5c37";
const DB: &str = "d27b415d0c1bb6dbf5cac4f3ebc9562df906ecd4";
const GPU: &str = "b1eecd8638577595d5889f7bdf42f79d499331a4";
const WEB: &str = "a54d853eb6e2db9d6c91b2ed5a5d3a3f4d8c6f02";

fn unread(source: &str) -> Publisher {
    let settings = FeedSettings {
        unit_fields: ["unit", "load", "active", "sub", "machine"]
            .map(|field| field.parse().unwrap())
            .into(),
        machine_fields: MachineField::ALL.into(),
        publish: Publish::Changes,
    };
    let source = SourceInfo::live(source);
    Publisher::new(settings, "6c0b8f9a3d2e4715", source)
}

/// What `--problem-after 20,machine_lost=0` means.
fn problem_delays() -> ProblemDelays {
    ProblemDelays {
        default: Duration::from_secs(20),
        by_name: [("machine_lost", Duration::ZERO)].into(),
    }
}

/// A small cluster to which much happens, as published by the end of it.
fn publisher(begun: Moment) -> Publisher {
    let mut publisher = unread("fleet API v1.0.0");
    let mut cluster = Cluster::new(Duration::from_secs(30));
    let mut problems = ProblemTracker::new(problem_delays());

    let (west, east, north) =
        ((WEST, "172.17.8.101"), (EAST, "172.17.8.102"), (NORTH, "172.17.8.103"));
    let mut machines = vec![
        machine(west.0, west.1, Some("region=us-west,role=web")),
        machine(east.0, east.1, None),
        machine(north.0, north.1, None),
    ];
    let files = vec![
        UnitFile { global: true, ..file("agent.service", AGENT, None) },
        file("db.service", DB, Some(EAST)),
        UnitFile {
            requirements: vec!["MachineMetadata=gpu=true".into()],
            ..file("gpu.service", GPU, None)
        },
        UnitFile {
            description: Some("Web server".into()),
            ..file("web@1.service", WEB, Some(WEST))
        },
    ];
    let mut states = vec![
        state("agent.service", east, "active/running", AGENT),
        state("agent.service", west, "active/running", AGENT),
        state("db.service", east, "active/running", DB),
        state("web@1.service", west, "active/running", WEB),
    ];
    let units =
        |states: &Vec<UnitState>| Ok(Reading::Units { states: states.clone(), files: None });
    let mut polls = vec![
        (0, Ok(Reading::Machines { machines: machines.clone() })),
        (0, units(&states)),
        (0, Ok(Reading::UnitFiles { files: files.clone() })),
    ];
    states[2] = state("db.service", east, "failed/failed", DB);
    polls.push((20, units(&states)));
    states.remove(0);
    machines.pop();
    polls.extend([
        (40, units(&states)),
        (40, Ok(Reading::Machines { machines })),
        (40, Ok(Reading::UnitFiles { files })),
        (42, units(&states)),
        (50, Err((FleetList::UnitFiles, "no answer within 10 s (--poll-timeout)"))),
    ]);
    for (second, outcome) in polls {
        let at = begun + Duration::from_secs(second);
        let (transitions, read) = match outcome {
            Ok(reading) => {
                let topics = reading.lists();
                (cluster.apply(reading, at, Duration::ZERO), topics)
            }
            Err((topic, reason)) => (cluster.record_failure(topic.alone(), reason, at), &[][..]),
        };
        problems.update(cluster.view(), cluster.health(), at);
        publisher.publish(FeedInput {
            problems: problems.open(),
            view: cluster.view(),
            health: cluster.health(),
            transitions: &transitions,
            change: None,
            read,
            now: at,
        });
    }
    publisher
}

/// Two machines as etcd tells of them: one leads, and one was not heard for long.
fn machines_of_etcd(begun: Moment) -> Value {
    let version = || Some("1.0.0".into());
    let west = Machine {
        version: version(),
        ..machine(WEST, "172.17.8.101", Some("region=us-west,role=web"))
    };
    let east = Machine { version: version(), ..machine(EAST, "172.17.8.102", None) };
    let registry = RegistrySnapshot {
        machines: [west, east].into(),
        leader: Some(WEST.into()),
        ..RegistrySnapshot::default()
    };
    let silent = (Lease::Machine(EAST.into()), Duration::from_millis(22_500));
    let later = RegistrySnapshot { overdue: vec![silent], ..registry.clone() };
    let (mut publisher, mut cluster) = (unread("etcd"), Cluster::new(Duration::from_secs(30)));
    for (second, registry) in [(0, registry), (23, later)] {
        let now = begun + Duration::from_secs(second);
        let transitions = cluster.apply(Reading::Registry(registry), now, Duration::ZERO);
        let (view, health) = (cluster.view(), cluster.health());
        publisher.publish(FeedInput {
            problems: &Default::default(),
            view,
            health,
            transitions: &transitions,
            change: None,
            read: &FleetList::ALL,
            now,
        });
    }
    let state = publication(&publisher).state(0, begun).concat();
    serde_json::from_slice::<Value>(&state).unwrap()["machines"].take()
}

/// A problem of the instances of a template.
fn lost_machine() -> Value {
    let member = Member {
        lost_since: Some(SystemTime::now()),
        ran: ["web@1.service".into()].into(),
        ..builders::member(machine(EAST, "172.17.8.102", None))
    };
    let view = View { machines: vec![Arc::new(member)], ..View::default() };

    let mut publisher = unread("fleet API v1.0.0");
    publisher.publish(FeedInput {
        problems: &Default::default(),
        view: &Arc::new(view),
        health: &Health::default(),
        transitions: &[],
        change: None,
        read: &[],
        now: Moment::now(),
    });
    let [head, body] = publisher.subscribe().borrow().state(0, Moment::now());
    let state: Value = serde_json::from_slice(&[head, body].concat()).unwrap();
    state["machines"][0].clone()
}

fn problem_of_a_template(begun: Moment) -> Value {
    let mut cluster = Cluster::new(Duration::from_secs(30));
    let mut problems = ProblemTracker::new(ProblemDelays::default());
    let machines = [(WEST, "172.17.8.101"), (EAST, "172.17.8.102")];
    let names = ["web@1.service", "web@2.service"];
    let units = |at: &str| Reading::Units {
        states: names
            .iter()
            .zip(machines)
            .map(|(name, machine)| state(name, machine, at, WEB))
            .collect(),
        files: None,
    };
    let files = names.iter().zip(machines);

    for (second, reading) in [
        (
            0,
            Reading::Machines {
                machines: machines.map(|(id, ip)| machine(id, ip, None)).into(),
            },
        ),
        (
            0,
            Reading::UnitFiles {
                files: files.map(|(name, (id, _))| file(name, WEB, Some(id))).collect(),
            },
        ),
        (0, units("active/running")),
        (20, units("failed/failed")),
        (50, units("failed/failed")),
    ] {
        let now = begun + Duration::from_secs(second);
        cluster.apply(reading, now, Duration::ZERO);
        problems.update(cluster.view(), cluster.health(), now);
    }

    let mut publisher = unread("fleet API v1.0.0");
    publisher.publish(FeedInput {
        problems: problems.open(),
        view: cluster.view(),
        health: cluster.health(),
        transitions: &[],
        change: None,
        read: &[],
        now: begun,
    });
    let state = publication(&publisher).state(0, begun).concat();
    let mut state: Value = serde_json::from_slice(&state).unwrap();
    state["problems"][0].take()
}

/// The answer of `/v2/history` for a unit.
fn history(published: &Publication, now: Moment) -> Value {
    let query = HistoryQuery::Unit("db.service".into());
    let body = published.history_of(&query, now).expect("a history");
    serde_json::from_slice(&body.json).unwrap()
}

/// The answer of `/v2/history` for another monitor.
fn shared_history(published: &Publication, now: Moment) -> Value {
    serde_json::from_slice(&published.shared_history(now).expect("a history")).unwrap()
}

fn publication(publisher: &Publisher) -> Arc<Publication> {
    publisher.subscribe().borrow().clone()
}

/// A value with the type of each thing in place of that thing.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| (key.clone(), shape(value)))
            .collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => "string".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "true or false".into(),
        Value::Null => Value::Null,
    }
}

#[tokio::test]
async fn the_examples_are_what_the_program_says() {
    let begun = start();
    let mut publisher = publisher(begun);
    let published = publication(&publisher);
    let now = begun + Duration::from_millis(53_500);
    let state: Value = serde_json::from_slice(&published.state(2, now).concat()).unwrap();

    publisher.set_settings(FeedSettings {
        unit_fields: UnitField::ALL.into(),
        machine_fields: vec![MachineField::Ip],
        publish: Publish::Changes,
    });
    let health = published.health.clone();
    publisher.publish(FeedInput {
        problems: &published.problems,
        view: &published.view,
        health: &health,
        transitions: &[],
        change: None,
        read: &[],
        now,
    });
    let chosen = publication(&publisher);

    let bench = ServerBench::start().await;
    let text = async |path| {
        String::from_utf8(bench.get(path).await.body)
            .unwrap()
            .trim_end()
            .to_owned()
    };
    let (missing, unready) = (text("/nothing").await, text("/readyz").await);
    let bad_query = text("/v2/events?topics=all").await;

    let frame = |list: &Option<fleet_monitor::feed::PublishedList>| {
        String::from_utf8(list.as_ref().unwrap().frame().payload().to_vec()).unwrap()
    };
    let examples = blocks("example");
    let exact = [
        ("units", frame(&published.unit_list)),
        ("machines", frame(&published.machine_list)),
        ("chosen unit fields", frame(&chosen.unit_list)),
        ("chosen machine fields", frame(&chosen.machine_list)),
        ("error", missing),
        ("bad query", bad_query),
    ];
    for (name, made) in &exact {
        let example = examples
            .get(name)
            .unwrap_or_else(|| panic!("no example {name} of\n{made}"));
        assert_eq!(example, made, "{name}");
    }
    let example =
        |name| serde_json::from_str::<Value>(examples.get(name).expect(name)).expect(name);
    assert_eq!(example("state"), state, "state:\n{state}");
    let history = history(&published, now);
    assert_eq!(example("history"), history, "history:\n{history}");
    assert_eq!(
        shape(&example("not ready")),
        shape(&serde_json::from_str(&unready).unwrap()),
        "not ready:\n{unready}"
    );
    let of_etcd = machines_of_etcd(begun);
    assert_eq!(example("machines of etcd"), of_etcd, "machines of etcd:\n{of_etcd}");
    let of_template = problem_of_a_template(begun);
    assert_eq!(example("problem of a template"), of_template, "problem:\n{of_template}");
    let actions = json!(actions());
    assert_eq!(example("actions"), actions, "actions:\n{actions}");
    let second = second(&published, now);
    for (name, made) in &second {
        let example = examples
            .get(name)
            .unwrap_or_else(|| panic!("no example {name} of\n{made}"));
        match serde_json::from_str::<Value>(made) {
            Ok(made) => assert_eq!(
                serde_json::from_str::<Value>(example).expect(name),
                made,
                "{name}:\n{made}"
            ),
            Err(_) => assert_eq!(example, made, "{name}"),
        }
    }
    let file = unit_file_document();
    assert_eq!(example("unit file"), file, "unit file:\n{file}");
    assert_eq!(examples.len(), exact.len() + second.len() + 7, "an example that nothing checks");
}

/// What can be done next in a cluster behind a tunnel.
fn actions() -> Actions {
    let access = ClusterAccess {
        fleetctl_flags: vec!["--tunnel=bastion:22".to_owned()],
        jump_host: Some("bastion:22".to_owned()),
        has_journal: true,
    };
    let link = LinkTemplate::new("Logs", "https://kibana.example/{unit}?host={ip}").unwrap();

    Actions {
        commands: commands(&access),
        links: vec![link],
        ..Actions::default()
    }
}

/// The file of a unit, of which a machine runs an old version.
fn unit_file_document() -> Value {
    let version = |hash: &str, arguments: &str| UnitFileVersion {
        hash: hash.into(),
        content: format!(
            "[Service]\nEnvironment=DB_PASSWORD=hunter2\nExecStart=/opt/web{arguments}\n"
        )
        .into(),
    };
    let versions = UnitFileVersions {
        current: Some(version(WEB, " --port 80")),
        old: vec![version(GPU, "")],
    };
    let running = [(GPU.into(), WEST.into())];
    json!(UnitFileDocument::new(
        &"web@1.service".into(),
        &versions,
        &running,
        UnitFileMode::Masked
    ))
}

/// What a client of the second protocol is sent, message by message, as an event stream has it.
fn sent(
    published: &Publication,
    filter: &str,
    position: Option<(&str, u64)>,
    now: Moment,
) -> Vec<String> {
    let subscription = Subscription { filter: filter.parse().unwrap(), ..Subscription::default() };
    let channel = Channels::default()
        .open(Transport::EventStream, subscription)
        .unwrap();
    let position =
        position.map(|(epoch, revision)| ResumePosition { epoch: epoch.into(), revision });
    let (_, batches) = ChannelCursor::begin(channel, position.as_ref(), published, now).unwrap();
    let stream: Vec<u8> = batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
    let stream = String::from_utf8(stream).unwrap();
    stream
        .split_terminator("\n\n")
        .skip(1)
        .map(ToOwned::to_owned)
        .collect()
}

/// One of each message of the second protocol.
fn second(published: &Publication, now: Moment) -> Vec<(&'static str, String)> {
    let names = "unit:db.service unit:web@*";
    // By then all has been read.
    let ready = Some(("6c0b8f9a3d2e4715", 6));
    let everything = sent(published, names, None, now);
    let elsewhere = sent(published, names, Some(("5f0c", 12)), now);
    let missed = sent(published, names, ready, now);
    let active = sent(published, "state:active", ready, now);
    let event = |sent: &[String], start: &str| {
        let found = sent.iter().find(|event| event.contains(&format!("data: {start}")));
        found.unwrap_or_else(|| panic!("no {start} in {sent:#?}")).clone()
    };
    let message =
        |sent: &[String], start| event(sent, start).split_once("data: ").unwrap().1.to_owned();
    vec![
        ("hello", message(&everything, r#"{"type":"hello""#)),
        ("resync", message(&elsewhere, r#"{"type":"resync""#)),
        ("snapshot", message(&everything, r#"{"type":"snapshot","topic":"units""#)),
        ("delta", message(&missed, r#"{"type":"delta","topic":"units""#)),
        ("delta of a filter", message(&active, r#"{"type":"delta","topic":"units""#)),
        ("delta of machines", message(&missed, r#"{"type":"delta","topic":"machines""#)),
        ("delta of problems", message(&missed, r#"{"type":"delta","topic":"problems""#)),
        ("event", message(&missed, r#"{"type":"event""#)),
        ("status", message(&missed, r#"{"type":"status""#)),
        ("server-sent event", event(&missed, r#"{"type":"event""#)),
    ]
}

#[test]
fn the_tables_of_keys_are_complete() {
    let begun = start();
    let published = publication(&publisher(begun));
    let state: Value = serde_json::from_slice(&published.state(2, begun).concat()).unwrap();
    let keys = |values: &[&Value]| -> BTreeSet<String> {
        values
            .iter()
            .flat_map(|value| value.as_object().unwrap().keys().cloned())
            .collect()
    };
    let rows = |key: &str| state[key].as_array().unwrap().iter().collect::<Vec<_>>();
    let health = &state["health"];
    let of_etcd = machines_of_etcd(begun);
    let lost = lost_machine();
    let of_etcd = of_etcd.as_array().unwrap().iter().collect();
    let machines = [rows("machines"), of_etcd, vec![&lost]].concat();
    let of_template = problem_of_a_template(begun);
    let problems = [rows("problems"), vec![&of_template]].concat();
    let topics = FleetList::ALL.map(|topic| &health["topics"][topic.name()]);
    for (name, keys) in [
        ("state", keys(&[&state])),
        ("history", keys(&[&history(&published, begun)])),
        ("shared history", keys(&[&shared_history(&published, begun)])),
        ("health", keys(&[health])),
        ("topic", keys(&topics)),
        ("unit", keys(&rows("units"))),
        ("machine", keys(&machines)),
        ("problem", keys(&problems)),
        ("transition", keys(&rows("transitions"))),
        ("unit file", keys(&[&unit_file_document()])),
        ("running version", keys(&[&unit_file_document()["running"][0]])),
    ] {
        let keys: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
        assert_eq!(table(name), keys, "{name}");
    }
}

#[test]
fn the_tables_of_names_are_complete() {
    for (name, names) in [
        ("verdicts", Verdict::ALL.map(Verdict::name).to_vec()),
        ("events", Event::NAMES.to_vec()),
        ("unit fields", UnitField::ALL.iter().map(|field| field.name()).collect()),
        ("machine fields", MachineField::ALL.iter().map(|field| field.name()).collect()),
    ] {
        assert_eq!(table(name), names.into_iter().collect(), "{name}");
    }
}

#[test]
fn the_table_of_the_kinds_of_problems_is_complete_and_has_their_severities() {
    let (_, rest) = PAGE.split_once("<!-- table: kinds of problems -->\n").unwrap();
    let rows = rest.lines().take_while(|line| line.starts_with('|')).skip(2);
    let documented: BTreeMap<&str, &str> = rows
        .map(|row| {
            let words: Vec<&str> = row.split('`').collect();
            (words[1], words[3])
        })
        .collect();

    let faults = [SourceFault::Failing, SourceFault::Overdue, SourceFault::Suspect];
    let conditions = [MachineTrouble::Lost, MachineTrouble::Silent];
    let verdicts = Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Ok);
    let kinds = faults
        .map(ProblemKind::Source)
        .into_iter()
        .chain(conditions.map(ProblemKind::Machine))
        .chain(verdicts.map(ProblemKind::Unit));
    let expected = kinds.map(|kind| (kind.name(), kind.severity().name())).collect();
    assert_eq!(documented, expected);
}

#[test]
fn the_tables_of_actions_are_complete() {
    let actions = actions();
    let templates = actions.commands.unit.iter().chain(&actions.commands.machine);
    let used: BTreeSet<String> = templates
        .flat_map(|template| template.when.iter())
        .map(|condition| json!(condition).as_str().unwrap().to_owned())
        .collect();
    assert_eq!(table("conditions"), used.iter().map(String::as_str).collect());
    for name in table("conditions") {
        let condition: Condition = serde_json::from_value(json!(name)).unwrap();
        assert_ne!(condition, Condition::Unknown, "{name}");
    }

    let names = Placeholder::ALL.map(|(name, _)| format!("{{{name}}}"));
    assert_eq!(table("placeholders"), names.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn the_tables_of_the_second_protocol_are_complete() {
    let begun = start();
    let types =
        second(&publication(&publisher(begun)), begun)
            .into_iter()
            .filter_map(|(_, message)| {
                let message: Value = serde_json::from_str(&message).ok()?;
                Some(message["type"].as_str().unwrap().to_owned())
            });
    assert_eq!(
        table("messages"),
        types.collect::<BTreeSet<_>>().iter().map(String::as_str).collect()
    );
    let bench = ServerBench::start().await;
    let answer: Value =
        serde_json::from_slice(&bench.get("/v2/events?key=value").await.body).unwrap();
    let (_, known) = answer["error"]["message"]
        .as_str()
        .unwrap()
        .split_once("expected ")
        .unwrap();
    assert_eq!(table("query"), known.split(", ").flat_map(|keys| keys.split(" and ")).collect());
}

#[test]
fn the_table_of_filter_keys_is_complete() {
    let error = "x:y".parse::<Filter>().unwrap_err().to_string();
    let (_, known) = error.split_once("expected ").unwrap();
    let keys: BTreeSet<&str> = known.split(", ").flat_map(|keys| keys.split(" or ")).collect();
    let terms = table("filter keys");
    let documented = terms.iter().filter_map(|term| Some(term.split_once(':')?.0));
    assert_eq!(
        documented.map(|key| format!("{key}:")).collect::<BTreeSet<_>>(),
        keys.iter().map(ToString::to_string).collect()
    );
}

#[test]
fn the_table_of_metrics_is_complete() {
    let published = publication(&publisher(start()));
    let metrics = Metrics::new();
    metrics.polled(FleetList::Units, Duration::from_millis(30), true, SystemTime::now());
    let scrape = Scrape {
        publication: &published,
        clients: 0,
        unit_series: &UnitSeries { selected: vec![WildMatch::new("*")], max_troubled: 10 },
        now: Moment::now(),
    };
    let text = metrics.encode(MetricsFormat::Prometheus, scrape);
    let families = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    assert_eq!(table("metrics"), families);
}

#[tokio::test]
async fn each_path_is_there() {
    let settings = ServerSettings { journal_port: Some(19531), ..settings() };
    let bench = ServerBench::with(settings, Timing::default(), Publish::Changes).await;
    let paths = table("paths");
    assert!(paths.len() >= 7, "{paths:?}");
    for path in paths {
        // What is there has no end.
        let is_stream = ["/v2/events", "/v2/logs"].contains(&path);
        let method = if is_stream { "HEAD" } else { "GET" };
        let answer = bench.request(method, path, &[]).await;
        let status = answer.status;
        let is_there = match path {
            "/v2/unit-file" => status == 404 && answer.text().contains("--unit-files"),
            "/v2/replay" => status == 404 && answer.text().contains("--replay"),
            "/v2/recording" => status == 404 && answer.text().contains("--record"),
            _ => [200, 503].contains(&status),
        };
        assert!(is_there, "{path}: {status}");
    }
}

/// The client that is on the page, running; it says each message that it gets, and the rows that it
/// then has.
struct PageClient {
    _child: Child,
    said: Lines<BufReader<ChildStdout>>,
    _directory: TempDir,
}

impl PageClient {
    /// What is on the page is to be used by others; this is such another.
    const USE: &str = "
import json, sys
from follow import follow, rows
for message in follow(sys.argv[1]):
    known = {topic: list(known.values()) for topic, known in rows.items()}
    print(json.dumps({'message': message, 'rows': known}), flush=True)
";

    /// None where there is no Python.
    fn start(address: SocketAddr) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("follow.py"), blocks("client")["follow.py"]).unwrap();
        let mut command = Command::new("python3");
        command
            .args(["-c", Self::USE, &format!("http://{address}")])
            .current_dir(&directory);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        match command.spawn() {
            Ok(mut child) => {
                let said = BufReader::new(child.stdout.take().unwrap()).lines();
                Some(Self { _child: child, said, _directory: directory })
            }
            Err(error) => {
                cannot_run(&format!("python3 cannot be started: {error}"));
                None
            }
        }
    }

    /// Waits until it has the rows of this state, and returns the messages until then.
    async fn catch_up(&mut self, state: &Value) -> Vec<Value> {
        let mut messages = vec![];
        loop {
            let line = timeout(PATIENCE, self.said.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("it does not catch up, after {messages:#?}"));
            let mut said: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
            messages.push(said["message"].take());
            let same = |topic| by_key(&said["rows"][topic]) == by_key(&state[topic]);
            let last = messages.last().unwrap();
            // More snapshots may come after the one that makes the rows the same.
            if last["type"] != "snapshot"
                && last["revision"] == state["revision"]
                && same("units")
                && same("machines")
                && same("problems")
            {
                return messages;
            }
        }
    }
}

/// Rows in the order of their keys.
fn by_key(rows: &Value) -> BTreeMap<String, &Value> {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| (format!("{} {} {}", row["id"], row["unit"], row["machine"]), row))
        .collect()
}

/// The state, once it is as it should be.
async fn state_when(daemon: &Daemon, is_so: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let (_, state) = daemon.get("/v2/state").await;
        if is_so(&state) {
            return state;
        }
        assert!(Instant::now() < until, "it does not come to be so: {state:#}");
    }
}

#[tokio::test]
async fn the_client_on_the_page_goes_on_after_a_lost_connection() {
    let fleetctl = Double::new("v1.0.0");
    let quick = ["--unit-freq", "0.1", "--machine-freq", "0.1", "--problem-after", "0"];
    let daemon = Daemon::asking(&fleetctl, &quick).await;
    let before = state_when(&daemon, |state| state["health"]["state"] == "ok").await;
    let proxy = Proxy::to(daemon.address).await;
    let Some(mut client) = PageClient::start(proxy.address) else {
        return;
    };
    client.catch_up(&before).await;

    proxy.cut();
    let lists = recorded("v1.0.0")["lists"].take();
    let rows = |list: &str, without: &str| {
        let rows = lists[list]["rows"].as_array().unwrap().iter();
        rows.filter(|row| row[0] != without).cloned().collect::<Vec<_>>()
    };
    let mut units = rows("list-units", "web.service");
    units[0][2] = "failed".into();
    let files = rows("list-unit-files", "web.service");
    fleetctl
        .write("rows.json", &json!({"list-units": units, "list-unit-files": files}).to_string());
    let is_there =
        |state: &Value, unit: &str| by_key(&state["units"]).values().any(|row| row["unit"] == unit);
    let away = state_when(&daemon, |state| {
        !is_there(state, "web.service")
            && state["units"][0]["active"] == "failed"
            && state["problems"] != json!([])
    });
    let away = away.await;
    assert_ne!(away["revision"], before["revision"]);
    proxy.mend();
    let missed = client.catch_up(&away).await;
    let types: Vec<_> = missed
        .iter()
        .map(|message| message["type"].as_str().unwrap())
        .collect();
    assert_eq!((types[0], types.contains(&"delta")), ("hello", true), "{types:?}");
    assert!(!types.contains(&"snapshot") && !types.contains(&"resync"), "{types:?}");
    let position =
        |state: &Value| format!("{}-{}", state["epoch"].as_str().unwrap(), state["revision"]);
    assert_eq!(proxy.asked("Last-Event-"), [format!("Last-Event-Id: {}", position(&before))]);

    fleetctl.write("rows.json", "{}");
    let after = state_when(&daemon, |state| is_there(state, "web.service")).await;
    client.catch_up(&after).await;
}
