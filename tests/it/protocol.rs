//! `docs/protocol.md` says what the program does: its examples are made again here, and its tables are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fleet_monitor::cluster::{Cluster, Event, Machine, Moment, Reading, Topic, UnitFile, UnitState, Verdict};
use fleet_monitor::feed::fields::{MachineField, UnitField};
use fleet_monitor::feed::{News, Publication, Publish, Publisher, Settings, SourceInfo};
use fleet_monitor::metrics::{Format, Metrics};
use serde_json::Value;

use crate::server::Bench;

const PAGE: &str = include_str!("../../docs/protocol.md");

/// The JSON that follows each `<!-- example: NAME -->`.
fn examples() -> BTreeMap<&'static str, &'static str> {
    let parts = PAGE.split("<!-- example: ").skip(1);
    let example = |part: &'static str| {
        let (name, rest) = part.split_once(" -->\n```json\n").expect("a block of JSON after the name");
        (name, rest.split_once("\n```").expect("the end of the block").0)
    };
    parts.map(example).collect()
}

/// The first column of the table that follows `<!-- table: NAME -->`, without its back quotes.
fn table(name: &str) -> BTreeSet<&'static str> {
    let (_, rest) = PAGE.split_once(&format!("<!-- table: {name} -->\n")).expect(name);
    let rows = rest.lines().take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.split('`').nth(1).unwrap_or_else(|| panic!("{name}: no name in {row}"))).collect()
}

fn start() -> Moment {
    Moment { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) }
}

const WEST: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
const EAST: &str = "9c4b7a2e1d3f48568e0f1a2b3c4d5e6f";
const NORTH: &str = "d2e8f4a10b6c4973b5d7e9f1a3c5b7d9";

fn machine(id: &str, ip: &str, metadata: Option<&str>) -> Machine {
    Machine { id: id.into(), ip: Some(ip.into()), metadata: metadata.map(Into::into) }
}

fn state(unit: &str, machine: (&str, &str), state: (&str, &str), hash: &str) -> UnitState {
    UnitState {
        unit: unit.into(),
        machine: Some(machine.0.into()),
        ip: Some(machine.1.into()),
        load: Some("loaded".into()),
        active: Some(state.0.into()),
        sub: Some(state.1.into()),
        hash: Some(hash.into()),
    }
}

fn file(unit: &str, hash: &str, target: Option<&str>) -> UnitFile {
    UnitFile {
        unit: unit.into(),
        hash: Some(hash.into()),
        desired: Some("launched".into()),
        target: target.map(Into::into),
        target_known: true,
        global: false,
        description: None,
        requirements: vec![],
    }
}

const AGENT: &str = "52fd8a40dd4c1b4e1f6c1f0a77a0f5c0d91a5c37";
const DB: &str = "d27b415d0c1bb6dbf5cac4f3ebc9562df906ecd4";
const GPU: &str = "b1eecd8638577595d5889f7bdf42f79d499331a4";
const WEB: &str = "a54d853eb6e2db9d6c91b2ed5a5d3a3f4d8c6f02";

/// A small cluster to which much happens, as published by the end of it.
fn publisher(begun: Moment) -> Publisher {
    let settings = Settings {
        unit_fields: ["unit", "load", "active", "sub", "machine"].map(|field| field.parse().unwrap()).into(),
        machine_fields: MachineField::ALL.into(),
        publish: Publish::Changes,
    };
    let source = SourceInfo { name: "fleet API v1.0.0".into(), ..SourceInfo::default() };
    let mut publisher = Publisher::new(settings, "6c0b8f9a3d2e4715", source);
    let mut cluster = Cluster::new(Duration::from_secs(30));

    let (west, east, north) = ((WEST, "172.17.8.101"), (EAST, "172.17.8.102"), (NORTH, "172.17.8.103"));
    let mut machines = vec![
        machine(west.0, west.1, Some("region=us-west,role=web")),
        machine(east.0, east.1, None),
        machine(north.0, north.1, None),
    ];
    let files = vec![
        UnitFile { global: true, ..file("agent.service", AGENT, None) },
        file("db.service", DB, Some(EAST)),
        UnitFile { requirements: vec!["MachineMetadata=gpu=true".into()], ..file("gpu.service", GPU, None) },
        UnitFile { description: Some("Web server".into()), ..file("web@1.service", WEB, Some(WEST)) },
    ];
    let mut states = vec![
        state("agent.service", east, ("active", "running"), AGENT),
        state("agent.service", west, ("active", "running"), AGENT),
        state("db.service", east, ("active", "running"), DB),
        state("web@1.service", west, ("active", "running"), WEB),
    ];
    let units = |states: &Vec<UnitState>| Ok(Reading::Units { states: states.clone(), files: None });
    let mut polls = vec![
        (0, units(&states)),
        (0, Ok(Reading::Machines { machines: machines.clone() })),
        (0, Ok(Reading::UnitFiles { files: files.clone() })),
    ];
    states[2] = state("db.service", east, ("failed", "failed"), DB);
    polls.push((20, units(&states)));
    states.remove(0);
    machines.pop();
    polls.extend([
        (40, units(&states)),
        (40, Ok(Reading::Machines { machines })),
        (40, Ok(Reading::UnitFiles { files })),
        (42, units(&states)),
        (50, Err((Topic::UnitFiles, "no answer within 10 s (--poll-timeout)"))),
    ]);
    for (second, outcome) in polls {
        let at = begun + Duration::from_secs(second);
        let (transitions, read) = match outcome {
            Ok(reading) => {
                let topic = reading.topic();
                (cluster.read(reading, at, Duration::ZERO), Some(topic))
            }
            Err((topic, reason)) => (cluster.fail(topic, reason, at), None),
        };
        let (view, health) = (cluster.view(), cluster.health());
        publisher.publish(News { view, health, transitions: &transitions, read, now: at });
    }
    publisher
}

fn publication(publisher: &Publisher) -> Arc<Publication> {
    publisher.subscribe().borrow().clone()
}

/// A value with the type of each thing in place of that thing.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
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

    publisher.set(Settings {
        unit_fields: UnitField::ALL.into(),
        machine_fields: vec![MachineField::Ip],
        publish: Publish::Changes,
    });
    let health = published.health.clone();
    publisher.publish(News { view: &published.view, health: &health, transitions: &[], read: None, now });
    let chosen = publication(&publisher);

    let bench = Bench::start().await;
    let (mut missing, mut unready) = (bench.get("/nothing").await, bench.get("/readyz").await);
    let text = |bytes: &mut Vec<u8>| String::from_utf8(std::mem::take(bytes)).unwrap();
    let (missing, unready) = (text(&mut missing.body), text(&mut unready.body));

    let frame = |list: &Option<fleet_monitor::feed::List>| {
        String::from_utf8(list.as_ref().unwrap().frame.payload().to_vec()).unwrap()
    };
    let examples = examples();
    let exact = [
        ("units", frame(&published.units)),
        ("machines", frame(&published.machines)),
        ("chosen unit fields", frame(&chosen.units)),
        ("chosen machine fields", frame(&chosen.machines)),
        ("error", missing),
    ];
    for (name, made) in &exact {
        let example = examples.get(name).unwrap_or_else(|| panic!("no example {name} of\n{made}"));
        assert_eq!(example, made, "{name}");
    }
    let example = |name| serde_json::from_str::<Value>(examples.get(name).expect(name)).expect(name);
    assert_eq!(example("state"), state, "state:\n{state}");
    assert_eq!(shape(&example("not ready")), shape(&serde_json::from_str(&unready).unwrap()), "not ready:\n{unready}");
    assert_eq!(examples.len(), exact.len() + 2, "an example that nothing checks");
}

#[test]
fn the_tables_of_keys_are_complete() {
    let begun = start();
    let published = publication(&publisher(begun));
    let state: Value = serde_json::from_slice(&published.state(2, begun).concat()).unwrap();
    let keys = |values: &[&Value]| -> BTreeSet<String> {
        values.iter().flat_map(|value| value.as_object().unwrap().keys().cloned()).collect()
    };
    let rows = |key: &str| state[key].as_array().unwrap().iter().collect::<Vec<_>>();
    let health = &state["health"];
    let topics = Topic::ALL.map(|topic| &health["topics"][topic.name()]);
    for (name, keys) in [
        ("state", keys(&[&state])),
        ("health", keys(&[health])),
        ("topic", keys(&topics)),
        ("unit", keys(&rows("units"))),
        ("machine", keys(&rows("machines"))),
        ("transition", keys(&rows("transitions"))),
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
fn the_table_of_metrics_is_complete() {
    let published = publication(&publisher(start()));
    let metrics = Metrics::new();
    metrics.polled(Topic::Units, Duration::from_millis(30), true, SystemTime::now());
    let text = metrics.encode(Format::Prometheus, &published, 0, &["*".to_owned()]);
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(table("metrics"), families);
}

#[tokio::test]
async fn each_path_is_there() {
    let bench = Bench::start().await;
    let paths = table("paths");
    assert!(paths.len() >= 7, "{paths:?}");
    for path in paths {
        let status = bench.get(path).await.status;
        assert!([200, 503].contains(&status), "{path}: {status}");
    }
}
