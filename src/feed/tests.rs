//! What is published, when, and in which words.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::*;
use crate::builders;
use crate::cluster::{Cluster, Expected, Lease, Machine, Reading, RegistrySnapshot, UnitState};
use crate::snapshots::assert_catalogue;

struct Bench {
    cluster: Cluster,
    publisher: Publisher,
    subscriber: Subscriber,
    now: Moment,
}

fn settings(publish: Publish) -> FeedSettings {
    FeedSettings {
        unit_fields: vec![
            UnitField::Unit,
            UnitField::Load,
            UnitField::Active,
            UnitField::Sub,
            UnitField::Machine,
        ],
        machine_fields: MachineField::ALL.to_vec(),
        publish,
    }
}

fn unit(name: &str, machine: Option<&str>, active: &str) -> UnitState {
    UnitState {
        machine: machine.map(Into::into),
        ip: machine.map(|_| "10.0.0.1".into()),
        active: Some(active.into()),
        sub: None,
        hash: Some("0123456789".into()),
        ..builders::unit_state(name, "m1", "active/running")
    }
}

impl Bench {
    fn new(publish: Publish) -> Self {
        let source = SourceInfo {
            name: "fleetctl v1.0.0".into(),
            recording: false,
            ended: false,
        };
        let publisher = Publisher::new(settings(publish), "e", source);
        let subscriber = publisher.subscribe();
        Self {
            cluster: Cluster::new(Duration::from_secs(30)),
            publisher,
            subscriber,
            now: Moment::now(),
        }
    }

    fn read(&mut self, reading: Reading) {
        let read = reading.lists();
        let transitions = self.cluster.read(reading, self.now, Duration::ZERO);
        let (view, health) = (self.cluster.view(), self.cluster.health());
        self.publisher.publish(FeedInput {
            view,
            health,
            transitions: &transitions,
            change: None,
            read,
            now: self.now,
        });
    }

    fn units(&mut self, units: &[UnitState]) {
        self.read(Reading::Units { states: units.to_vec(), files: None });
    }

    fn machines(&mut self) {
        let (ip, metadata) = (Some("10.0.0.1".into()), Some("a=b".into()));
        let machine = Machine { ip, metadata, ..builders::machine("m1") };
        self.read(Reading::Machines { machines: vec![machine] });
    }

    fn files(&mut self, units: &[&str]) {
        let file = |unit: &&str| builders::unit_file(unit, Some("m1"));
        self.read(Reading::UnitFiles { files: units.iter().map(file).collect() });
    }

    fn last(&self) -> Arc<Publication> {
        self.subscriber.borrow().clone()
    }

    fn revisions(&self) -> (u64, u64, u64) {
        let last = self.last();
        let list = |list: &Option<List>| list.as_ref().map_or(0, |list| list.revision);
        (last.revision, list(&last.machines), list(&last.units))
    }
}

fn text(list: &Option<List>) -> String {
    String::from_utf8(list.as_ref().unwrap().frame().payload().to_vec()).unwrap()
}

#[test]
fn a_list_is_there_once_it_was_read_and_new_when_it_changed() {
    let mut bench = Bench::new(Publish::Changes);
    assert_eq!(bench.revisions(), (0, 0, 0));
    bench.machines();
    assert_eq!(bench.revisions(), (2, 2, 0), "no empty unit list before the units were read");
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    assert_eq!(bench.revisions(), (4, 2, 4));
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    assert_eq!(bench.revisions(), (4, 2, 4), "nothing has changed");
    bench.files(&["a.service", "b.service"]);
    assert_eq!(
        bench.revisions(),
        (6, 2, 4),
        "what fleet wants is part of the view, but not of the lists"
    );
    bench.units(&[unit("a.service", Some("m1"), "failed")]);
    assert_eq!(bench.revisions(), (8, 2, 8));
}

#[test]
fn readers_are_woken_by_news_alone() {
    let mut bench = Bench::new(Publish::Changes);
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    assert!(bench.subscriber.has_changed().unwrap());
    bench.subscriber.mark_unchanged();
    bench.now = bench.now + Duration::from_secs(2);
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    assert!(!bench.subscriber.has_changed().unwrap());
    assert_eq!(
        bench.last().health.list(FleetList::Units).read,
        Some(bench.now),
        "though the data are newer"
    );
}

#[test]
fn with_polls_a_list_is_new_after_each_reading_of_it() {
    let mut bench = Bench::new(Publish::Polls);
    for _ in 0..2 {
        bench.machines();
        bench.units(&[unit("a.service", Some("m1"), "active")]);
    }
    assert_eq!(bench.revisions(), (6, 5, 6));
}

#[test]
fn a_recording_that_begins_anew_is_sent_anew() {
    let mut bench = Bench::new(Publish::Changes);
    let mut last = 0;
    for _ in 0..3 {
        bench.cluster.forget();
        bench.units(&[unit("a.service", Some("m1"), "active")]);
        bench.units(&[unit("a.service", Some("m1"), "failed")]);
        let (_, _, units) = bench.revisions();
        assert!(units > last, "a client that has revision {last} would never get {units}");
        last = units;
    }
}

#[test]
fn other_fields_are_published_with_the_next_reading() {
    let mut bench = Bench::new(Publish::Changes);
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    bench.publisher.set(FeedSettings {
        unit_fields: vec![UnitField::Unit, UnitField::Verdict],
        ..settings(Publish::Changes)
    });
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    assert_eq!(
        text(&bench.last().units),
        r#"{"type":"unit","fields":["unit","verdict"],"items":[["a.service","ok"]]}"#
    );
}

#[test]
fn the_first_protocol_is_as_it_always_was() {
    let mut bench = Bench::new(Publish::Changes);
    bench.machines();
    bench
        .units(&[unit("b.service", Some("m1"), "active"), unit("a.service", Some("m1"), "failed")]);
    bench.files(&["a.service", "b.service", "c.service"]);
    assert_eq!(
        text(&bench.last().machines),
        r#"{"type":"machine","fields":["machine","ip","metadata"],"items":[["m1","10.0.0.1","a=b"]]}"#
    );
    assert_eq!(
        text(&bench.last().units),
        concat!(
            r#"{"type":"unit","fields":["unit","load","active","sub","machine"],"items":["#,
            r#"["a.service","loaded","failed","-","m1/10.0.0.1"],["b.service","loaded","active","-","m1/10.0.0.1"]]}"#
        ),
        "sorted, and without what no machine reports"
    );
}

#[test]
fn the_state_has_everything() {
    let mut bench = Bench::new(Publish::Changes);
    bench.machines();
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    bench.files(&["a.service", "c.service"]);
    bench.units(&[unit("a.service", Some("m1"), "failed")]);
    let state: Value =
        serde_json::from_slice(&bench.last().state(3, bench.now + Duration::from_secs(2)).concat())
            .unwrap();
    let keys: BTreeSet<&str> = state.as_object().unwrap().keys().map(String::as_str).collect();
    let all = [
        "epoch",
        "health",
        "machines",
        "revision",
        "software",
        "time",
        "transitions",
        "units",
    ];
    assert_eq!(keys, BTreeSet::from(all));
    assert_eq!(state["health"]["state"], "ok");
    assert_eq!(state["health"]["clients"], 3);
    assert_eq!(state["health"]["topics"]["units"]["age"], 2.0);
    assert_eq!(state["units"][0]["verdict"], "failed");
    assert_eq!(state["units"][1]["unit"], "c.service");
    assert_eq!(state["units"][1]["listed"], false);
    assert_eq!(state["transitions"][0]["text"], "a.service on 10.0.0.1: active/- → failed/-");
    assert_eq!(state["transitions"][0]["severity"], "warning");
}

#[test]
fn a_machine_has_its_version_whether_it_leads_and_since_when_it_is_silent() {
    let mut bench = Bench::new(Publish::Changes);
    bench.now.wall = UNIX_EPOCH + Duration::from_secs(100);
    let machine = |id: &str, version: Option<&str>| Machine {
        version: version.map(Into::into),
        ..builders::machine(id)
    };
    let registry = RegistrySnapshot {
        machines: [machine("m1", Some("1.0.0")), machine("m2", None)].into(),
        leader: Some("m1".into()),
        overdue: vec![(Lease::Machine("m2".into()), Duration::from_secs(23))],
        ..RegistrySnapshot::default()
    };
    bench.read(Reading::Registry(registry));
    let state: Value = serde_json::from_slice(&bench.last().state(0, bench.now).concat()).unwrap();
    let expected = serde_json::json!([
        {"machine": "m1", "version": "1.0.0", "leader": true, "since": 100_000, "since_seen": false},
        {"machine": "m2", "silent_since": 77_000, "since": 100_000, "since_seen": false},
    ]);
    assert_eq!(state["machines"], expected);
    assert_eq!(
        text(&bench.last().machines),
        r#"{"type":"machine","fields":["machine","ip","metadata"],"items":[["m1","-","-"],["m2","-","-"]]}"#
    );
}

#[test]
fn the_history_has_the_last_thousand() {
    let mut bench = Bench::new(Publish::Changes);
    for number in 0..1200 {
        bench.units(&[unit(
            "a.service",
            Some("m1"),
            if number % 2 == 0 { "active" } else { "failed" },
        )]);
    }
    let history = bench.last().history.clone();
    assert_eq!(history.len(), 1000);
    assert_eq!(history[0].number, 200);
    assert_eq!(history[999].number, 1199);
}

#[test]
fn the_status_line_is_in_these_words() {
    let mut bench = Bench::new(Publish::Changes);
    let mut told = Vec::new();
    bench.now.wall = UNIX_EPOCH + Duration::from_secs(50_525);
    told.push(("nothing read", status_line(&bench.last(), 0)));

    let both = [unit("a.service", Some("m1"), "failed"), unit("b.service", Some("m1"), "active")];
    bench.machines();
    bench.units(&both);
    bench.files(&["a.service", "b.service"]);
    told.push(("all read", status_line(&bench.last(), 1)));
    bench.units(&both[..1]);
    bench.units(&both);
    told.push(("a row that was missing for a moment", status_line(&bench.last(), 2)));

    bench.now.wall = UNIX_EPOCH + Duration::from_secs(50_531);
    let transitions = bench.cluster.fail(&[FleetList::Units], "exit status 1", bench.now);
    let (view, health) = (bench.cluster.view(), bench.cluster.health());
    bench.publisher.publish(FeedInput {
        view,
        health,
        transitions: &transitions,
        change: None,
        read: &[],
        now: bench.now,
    });
    told.push(("units cannot be read", status_line(&bench.last(), 1)));

    let mut bench = Bench::new(Publish::Changes);
    bench.now = Moment::now().before(Duration::from_secs(32));
    let expected = Expected {
        every: Duration::from_secs(2),
        within: Duration::from_secs(13),
    };
    bench.cluster.expect(&[FleetList::Units], Some(expected));
    bench.machines();
    bench.units(&both[1..]);
    let line = status_line(&bench.last(), 1);
    told.push((
        "units not read in time",
        line.replace(&status::clock(bench.now.wall), "HH:MM:SS UTC"),
    ));

    let mut bench = Bench::new(Publish::Changes);
    bench.now.wall = UNIX_EPOCH + Duration::from_secs(50_525);
    let machine_of = |number| if number % 2 == 0 { "m1" } else { "m2" };
    let many = (0..9).map(|number| {
        builders::unit_state(&format!("{number}.service"), machine_of(number), "active/running")
    });
    let many: Vec<UnitState> = many.collect();
    let files = many
        .iter()
        .map(|state| builders::unit_file(&state.unit, state.machine.as_deref()))
        .collect();
    bench.read(Reading::Machines { machines: ["m1", "m2"].map(builders::machine).to_vec() });
    bench.units(&many);
    bench.read(Reading::UnitFiles { files });
    bench.units(&[]);
    bench.now = bench.now + Duration::from_secs(4);
    bench.units(&[]);
    told.push(("many units missing at once", status_line(&bench.last(), 1)));

    let source = SourceInfo {
        name: "recording of fleetctl v1.0.0".into(),
        recording: true,
        ended: true,
    };
    bench.publisher.name_source(source, bench.now);
    told.push(("a recording that is over", status_line(&bench.last(), 1)));
    assert_catalogue("status-lines", told);
}
