//! What is published, and when; and the wording of the status line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::fields::{MachineField, UnitField};
use super::filter::Filter;
use super::subscription::Subscription;
use super::update_history::UpdateContent;
use super::*;
use crate::builders;
use crate::cluster::{
    Cluster, FleetList, Lease, Machine, Moment, ReadSchedule, Reading, RegistrySnapshot,
    Transition, UnitState,
};
use crate::problems::{ProblemDelays, ProblemTracker};
use crate::snapshots::{assert_catalogue, assert_text};

/// A cluster whose readings are published.
struct PublishBench {
    cluster: Cluster,
    publisher: Publisher,
    subscriber: Subscriber,
    /// Finds the problems that are published.
    problems: ProblemTracker,
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

/// A tracker for which everything that is wrong is a problem at once.
pub(super) fn problem_tracker() -> ProblemTracker {
    ProblemTracker::new(ProblemDelays { default: Duration::ZERO, by_name: BTreeMap::new() })
}

impl PublishBench {
    fn new(publish: Publish) -> Self {
        let source = SourceInfo {
            name: "fleetctl v1.0.0".into(),
            recording: false,
            ended: false,
            playback: None,
        };
        let publisher = Publisher::new(settings(publish), "e", source);
        let subscriber = publisher.subscribe();

        Self {
            cluster: Cluster::new(Duration::from_secs(30)),
            publisher,
            subscriber,
            problems: ProblemTracker::default(),
            now: Moment::now(),
        }
    }

    fn read(&mut self, reading: Reading) {
        let read = reading.lists();
        let transitions = self.cluster.apply(reading, self.now, Duration::ZERO);
        self.publish(&transitions, read);
    }

    fn fail_units(&mut self, error: &str) {
        let transitions = self.cluster.record_failure(&[FleetList::Units], error, self.now);
        self.publish(&transitions, &[]);
    }

    fn publish(&mut self, transitions: &[Arc<Transition>], read: &[FleetList]) {
        self.problems
            .update(self.cluster.view(), self.cluster.health(), self.now);
        self.publisher.publish(FeedInput {
            view: self.cluster.view(),
            problems: self.problems.open(),
            health: self.cluster.health(),
            transitions,
            change: None,
            read,
            now: self.now,
        });
    }

    fn units(&mut self, units: &[UnitState]) {
        self.read(Reading::Units { states: units.to_vec(), files: None });
    }

    fn machines(&mut self) {
        let machine = Machine {
            ip: Some("10.0.0.1".into()),
            metadata: Some("a=b".into()),
            ..builders::machine("m1")
        };
        self.read(Reading::Machines { machines: vec![machine] });
    }

    fn files(&mut self, units: &[&str]) {
        let file = |unit: &&str| builders::unit_file(unit, Some("m1"));
        self.read(Reading::UnitFiles { files: units.iter().map(file).collect() });
    }

    fn last(&self) -> Arc<Publication> {
        self.subscriber.borrow().clone()
    }

    /// The revisions of the last publication, of its machine list and of its unit list; 0 for a
    /// list that is not there.
    fn revisions(&self) -> (u64, u64, u64) {
        let last = self.last();
        let of_list =
            |list: &Option<PublishedList>| list.as_ref().map_or(0, PublishedList::revision);

        (last.revision, of_list(&last.machine_list), of_list(&last.unit_list))
    }

    /// `/v2/state` as it is `after` the last reading.
    fn state(&self, clients: usize, after: Duration) -> Value {
        let [head, body] = self.last().state(clients, self.now + after);
        serde_json::from_slice(&[head, body].concat()).unwrap()
    }
}

fn json_of(list: &Option<PublishedList>) -> String {
    let payload = list.as_ref().unwrap().frame().payload();
    String::from_utf8(payload.to_vec()).unwrap()
}

#[test]
fn a_list_is_published_once_it_has_been_read_and_whenever_it_changes() {
    let mut bench = PublishBench::new(Publish::Changes);
    assert_eq!(bench.revisions(), (0, 0, 0));

    bench.machines();
    assert_eq!(bench.revisions(), (2, 2, 0), "no empty unit list before the units were read");

    bench.units(&[unit("a.service", Some("m1"), "active")]);
    assert_eq!(bench.revisions(), (4, 2, 4));

    bench.units(&[unit("a.service", Some("m1"), "active")]);
    assert_eq!(bench.revisions(), (4, 2, 4), "nothing has changed");

    bench.files(&["a.service", "b.service"]);
    let why = "the desired state is part of the view, but not of these lists";
    assert_eq!(bench.revisions(), (6, 2, 4), "{why}");

    bench.units(&[unit("a.service", Some("m1"), "failed")]);
    assert_eq!(bench.revisions(), (8, 2, 8));
}

#[test]
fn readers_are_woken_only_by_changes() {
    let mut bench = PublishBench::new(Publish::Changes);
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    assert!(bench.subscriber.has_changed().unwrap());

    bench.subscriber.mark_unchanged();
    bench.now = bench.now + Duration::from_secs(2);
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    assert!(!bench.subscriber.has_changed().unwrap());
    assert_eq!(
        bench.last().health.list(FleetList::Units).read,
        Some(bench.now),
        "the age of the data is published nevertheless"
    );
}

#[test]
fn with_polls_a_list_is_published_after_each_reading() {
    let mut bench = PublishBench::new(Publish::Polls);
    for _ in 0..2 {
        bench.machines();
        bench.units(&[unit("a.service", Some("m1"), "active")]);
    }
    assert_eq!(bench.revisions(), (6, 5, 6));
}

#[test]
fn lists_are_published_again_when_a_recording_starts_again() {
    let mut bench = PublishBench::new(Publish::Changes);
    let mut last = 0;

    for _ in 0..3 {
        bench.cluster.reset();
        bench.units(&[unit("a.service", Some("m1"), "active")]);
        bench.units(&[unit("a.service", Some("m1"), "failed")]);
        let (_, _, units) = bench.revisions();
        assert!(units > last, "a client that has revision {last} would never get {units}");
        last = units;
    }
}

#[test]
fn other_columns_take_effect_with_the_next_reading() {
    let mut bench = PublishBench::new(Publish::Changes);
    bench.units(&[unit("a.service", Some("m1"), "active")]);

    bench.publisher.set_settings(FeedSettings {
        unit_fields: vec![UnitField::Unit, UnitField::Verdict],
        ..settings(Publish::Changes)
    });
    bench.units(&[unit("a.service", Some("m1"), "active")]);

    assert_eq!(
        json_of(&bench.last().unit_list),
        r#"{"type":"unit","fields":["unit","verdict"],"items":[["a.service","ok"]]}"#
    );
}

/// A bench whose unit list has only the keys of its rows.
fn bench_with_keys() -> PublishBench {
    let mut bench = PublishBench::new(Publish::Changes);
    bench.publisher.set_settings(FeedSettings {
        unit_fields: vec![UnitField::Key],
        ..settings(Publish::Changes)
    });
    bench
}

/// A unit on a machine with this address.
fn unit_at(name: &str, machine: &str, ip: Option<&str>) -> UnitState {
    UnitState {
        ip: ip.map(Into::into),
        ..unit(name, Some(machine), "active")
    }
}

#[test]
fn the_keys_in_the_unit_list_are_those_of_its_rows() {
    let mut bench = bench_with_keys();
    bench.units(&[
        unit_at("a.service", "m1", Some("10.0.0.1")),
        unit_at("a.service", "m2", Some("10.0.0.2")),
        unit_at("b.service", "m2", Some("10.0.0.2")),
    ]);
    bench.files(&["a.service", "b.service", "c.service"]);

    assert_eq!(
        json_of(&bench.last().unit_list),
        concat!(
            r#"{"type":"unit","fields":["key"],"#,
            r#""items":[["a.service [10.0.0.1]"],["a.service [10.0.0.2]"],["b.service"]]}"#
        )
    );
}

#[test]
fn a_list_is_published_when_keys_change() {
    let mut bench = bench_with_keys();
    let first = unit_at("a.service", "m1", Some("10.0.0.1"));
    let mut publish = |units: &[UnitState]| {
        bench.units(units);
        bench.last().unit_list.as_ref().map(PublishedList::revision)
    };

    let alone = publish(std::slice::from_ref(&first));
    let with_another = publish(&[first.clone(), unit_at("a.service", "m2", None)]);
    assert!(with_another > alone, "the first row has the address in its key now");

    let with_address = publish(&[first.clone(), unit_at("a.service", "m2", Some("10.0.0.2"))]);
    assert!(with_address > with_another, "the key of the second row has the address");

    let same_address = publish(&[first, unit_at("a.service", "m2", Some("10.0.0.1"))]);
    assert!(same_address > with_address, "the key of the first row has its machine");
}

#[test]
fn a_unit_list_repeats_a_name_if_that_is_its_first_column_and_two_listed_rows_have_it() {
    let one = unit_at("a.service", "m1", Some("10.0.0.1"));
    let other = unit_at("a.service", "m2", Some("10.0.0.2"));
    let repeats = |first_column, units: &[UnitState]| {
        let mut bench = PublishBench::new(Publish::Changes);
        bench.publisher.set_settings(FeedSettings {
            unit_fields: vec![first_column, UnitField::Machine],
            ..settings(Publish::Changes)
        });
        bench.units(units);
        bench.last().unit_list.as_ref().unwrap().repeats_a_name()
    };

    assert!(repeats(UnitField::Unit, &[one.clone(), other.clone()]));
    assert!(!repeats(UnitField::Key, &[one.clone(), other.clone()]));
    assert!(!repeats(UnitField::Unit, &[one, unit_at("b.service", "m2", Some("10.0.0.2"))]));
}

#[test]
fn the_first_protocol_is_that_of_the_prototype() {
    let active = unit("b.service", Some("m1"), "active");
    let failed = unit("a.service", Some("m1"), "failed");
    let mut bench = PublishBench::new(Publish::Changes);
    bench.machines();
    bench.units(&[active, failed]);
    bench.files(&["a.service", "b.service", "c.service"]);

    assert_eq!(
        json_of(&bench.last().machine_list),
        concat!(
            r#"{"type":"machine","fields":["machine","ip","metadata"],"#,
            r#""items":[["m1","10.0.0.1","a=b"]]}"#
        )
    );
    assert_eq!(
        json_of(&bench.last().unit_list),
        concat!(
            r#"{"type":"unit","fields":["unit","load","active","sub","machine"],"items":["#,
            r#"["a.service","loaded","failed","-","m1/10.0.0.1"],"#,
            r#"["b.service","loaded","active","-","m1/10.0.0.1"]]}"#
        ),
        "sorted, and without units that no machine reports"
    );
}

#[test]
fn the_state_has_everything() {
    let mut bench = PublishBench::new(Publish::Changes);
    bench.machines();
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    bench.files(&["a.service", "c.service"]);
    bench.units(&[unit("a.service", Some("m1"), "failed")]);

    let state = bench.state(3, Duration::from_secs(2));
    let keys: BTreeSet<&str> = state.as_object().unwrap().keys().map(String::as_str).collect();
    let all = [
        "epoch",
        "health",
        "machines",
        "problems",
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
fn a_machine_of_etcd_has_version_leader_and_silent_since() {
    let mut bench = PublishBench::new(Publish::Changes);
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

    let state = bench.state(0, Duration::ZERO);
    let expected = serde_json::json!([
        {
            "machine": "m1", "version": "1.0.0", "leader": true,
            "since": 100_000, "since_seen": false,
        },
        {"machine": "m2", "silent_since": 77_000, "since": 100_000, "since_seen": false},
    ]);
    assert_eq!(state["machines"], expected);

    assert_eq!(
        json_of(&bench.last().machine_list),
        concat!(
            r#"{"type":"machine","fields":["machine","ip","metadata"],"#,
            r#""items":[["m1","-","-"],["m2","-","-"]]}"#
        )
    );
}

#[test]
fn the_newest_thousand_transitions_are_kept() {
    let mut bench = PublishBench::new(Publish::Changes);
    for number in 0..1200 {
        let active = if number % 2 == 0 { "active" } else { "failed" };
        bench.units(&[unit("a.service", Some("m1"), active)]);
    }

    let transitions = bench.last().transitions.clone();
    assert_eq!(transitions.len(), 1000);
    assert_eq!(transitions[0].number, 200);
    assert_eq!(transitions[999].number, 1199);
}

/// `/plain` as it is `after` the last reading.
fn plain_page(bench: &PublishBench, after: Duration) -> String {
    let parts = bench.last().plain_page(2, bench.now + after);
    String::from_utf8(parts.concat()).unwrap()
}

#[test]
fn the_plain_page_of_a_cluster_with_problems_reads_like_this() {
    let mut bench = bench_with_clock();
    bench.problems = problem_tracker();
    bench.machines();
    bench
        .units(&[unit("a.service", Some("m1"), "active"), unit("b.service", Some("m1"), "active")]);
    bench.files(&["a.service", "b.service", "c.service"]);
    bench.now = bench.now + Duration::from_secs(60);
    bench
        .units(&[unit("a.service", Some("m1"), "failed"), unit("b.service", Some("m1"), "active")]);
    bench.fail_units("exit status 1: <no> & \"yes\"");

    let page = plain_page(&bench, Duration::from_secs(125));
    assert!(!page.contains("<no>"), "{page}");
    assert_text("plain-page", &page);
}

#[test]
fn the_tables_of_the_plain_page_are_encoded_once_until_a_row_changes() {
    let mut bench = PublishBench::new(Publish::Changes);
    let tables = |bench: &PublishBench| bench.last().plain_page(0, bench.now)[1].clone();

    bench.units(&[unit("a.service", Some("m1"), "active")]);
    let first = tables(&bench);
    bench.now = bench.now + Duration::from_secs(1);
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    assert_eq!(tables(&bench).as_ptr(), first.as_ptr());

    bench.units(&[unit("a.service", Some("m1"), "failed")]);
    assert_ne!(tables(&bench), first);
}

#[test]
fn the_head_of_the_plain_page_changes_when_data_get_old_and_not_while_they_are_current() {
    let mut bench = bench_with_clock();
    let schedule = ReadSchedule::new(Duration::from_secs(2), Duration::from_secs(13));
    bench.cluster.set_schedule(&[FleetList::Units], Some(schedule));
    bench.machines();
    bench.files(&["a.service"]);
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    let head = |after| bench.last().plain_page(0, bench.now + after)[0].clone();

    let current = head(Duration::ZERO);
    assert_eq!(head(Duration::from_secs(13)), current);
    assert_ne!(head(Duration::from_secs(14)), current, "overdue");
    assert_ne!(head(Duration::from_secs(14)), head(Duration::from_secs(15)), "older");
}

const START_OF_STATUS_LINES: Duration = Duration::from_secs(50_525);

/// A bench whose clock is at [`START_OF_STATUS_LINES`], so that the line has known times.
fn bench_with_clock() -> PublishBench {
    let mut bench = PublishBench::new(Publish::Changes);
    bench.now.wall = UNIX_EPOCH + START_OF_STATUS_LINES;
    bench
}

type NamedLines = Vec<(&'static str, String)>;

fn lines_of_a_source_that_fails(lines: &mut NamedLines) {
    let both = [unit("a.service", Some("m1"), "failed"), unit("b.service", Some("m1"), "active")];
    let mut bench = bench_with_clock();
    lines.push(("nothing read", status_line(&bench.last(), 0)));

    bench.machines();
    bench.units(&both);
    bench.files(&["a.service", "b.service"]);
    lines.push(("all read", status_line(&bench.last(), 1)));

    bench.files(&["a.service", "b.service", "unreported.service"]);
    lines.push(("a unit that no machine reports", status_line(&bench.last(), 1)));
    bench.files(&["a.service", "b.service"]);

    bench.units(&both[..1]);
    bench.units(&both);
    lines.push(("a row that was missing for a moment", status_line(&bench.last(), 2)));

    bench.now.wall = UNIX_EPOCH + START_OF_STATUS_LINES + Duration::from_secs(6);
    bench.fail_units("exit status 1");
    lines.push(("units cannot be read", status_line(&bench.last(), 1)));
}

fn line_of_a_problem(lines: &mut NamedLines) {
    let failed = [unit("a.service", Some("m1"), "failed")];
    let mut bench = bench_with_clock();
    bench.machines();
    bench.units(&failed);
    bench.files(&["a.service"]);

    bench.now = bench.now + Duration::from_secs(30);
    bench.units(&failed);
    lines.push(("a unit that has failed for 30 s", status_line(&bench.last(), 1)));
}

fn lines_of_a_source_that_is_overdue(lines: &mut NamedLines) {
    let mut bench = PublishBench::new(Publish::Changes);
    bench.now = Moment::now().before(Duration::from_secs(32));
    let schedule = ReadSchedule::new(Duration::from_secs(2), Duration::from_secs(13));
    bench.cluster.set_schedule(&[FleetList::Units], Some(schedule));
    bench.machines();
    bench.units(&[unit("b.service", Some("m1"), "active")]);

    let line = status_line(&bench.last(), 1);
    let line = line.replace(&status::clock(bench.now.wall), "HH:MM:SS UTC");
    lines.push(("units not read in time", line));
}

fn lines_of_a_source_that_is_suspect(lines: &mut NamedLines) {
    let machine_of = |number| if number % 2 == 0 { "m1" } else { "m2" };
    let states: Vec<UnitState> = (0..9)
        .map(|number| {
            let name = format!("{number}.service");
            builders::unit_state(&name, machine_of(number), "active/running")
        })
        .collect();
    let files = states
        .iter()
        .map(|state| builders::unit_file(&state.unit, state.machine.as_deref()))
        .collect();

    let mut bench = bench_with_clock();
    bench.read(Reading::Machines { machines: ["m1", "m2"].map(builders::machine).to_vec() });
    bench.units(&states);
    bench.read(Reading::UnitFiles { files });
    bench.units(&[]);
    bench.now = bench.now + Duration::from_secs(4);
    bench.units(&[]);
    lines.push(("many units missing at once", status_line(&bench.last(), 1)));

    let source = SourceInfo {
        name: "recording of fleetctl v1.0.0".into(),
        recording: true,
        ended: true,
        playback: None,
    };
    bench.publisher.set_source(source);
    lines.push(("a recording that is over", status_line(&bench.last(), 1)));
}

#[test]
fn the_status_line_counts_the_rows_of_the_state() {
    let mut bench = PublishBench::new(Publish::Changes);
    bench.machines();
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    bench.files(&["a.service", "unreported.service"]);

    let rows = bench.state(0, Duration::ZERO)["units"].as_array().unwrap().len();
    assert_eq!(rows, 2);
    assert!(status_line(&bench.last(), 0).contains(&count(2, "unit")));
}

#[test]
fn a_row_is_sent_when_the_metadata_of_its_machine_begins_to_pass() {
    let machine =
        |metadata: &str| Machine { metadata: Some(metadata.into()), ..builders::machine("m1") };
    let mut bench = PublishBench::new(Publish::Changes);
    bench.read(Reading::Machines { machines: vec![machine("role=db")] });
    bench.units(&[unit("a.service", Some("m1"), "active")]);
    let selected = |bench: &PublishBench| {
        let selection = Subscription {
            filter: "meta:role=web".parse().unwrap(),
            ..Subscription::default()
        };
        let [head, body] = bench.last().selected_state(&selection, 0, bench.now);
        let state: Value = serde_json::from_slice(&[head, body].concat()).unwrap();
        state["units"].as_array().unwrap().len()
    };
    assert_eq!(selected(&bench), 0);

    let before = bench.last();
    bench.read(Reading::Machines { machines: vec![machine("role=web")] });
    assert_eq!(selected(&bench), 1);

    let filter: Filter = "meta:role=web".parse().unwrap();
    let last = bench.last();
    let mut changes = last.updates.since(before.revision).unwrap();
    let is_sent = changes.any(|entry| match &entry.content {
        UpdateContent::Units(changes) => changes.iter().any(|change| {
            let before = change.before.as_ref().is_some_and(|unit| filter.unit(unit));
            !before && change.after.as_ref().is_some_and(|unit| filter.unit(unit))
        }),
        _ => false,
    });
    assert!(is_sent);
}

#[test]
fn the_wording_of_the_status_line() {
    let mut lines = Vec::new();
    lines_of_a_source_that_fails(&mut lines);
    line_of_a_problem(&mut lines);
    lines_of_a_source_that_is_overdue(&mut lines);
    lines_of_a_source_that_is_suspect(&mut lines);

    assert_catalogue("status-lines", lines);
}
