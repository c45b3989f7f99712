//! The whole program over restarts: what was saved goes on, whatever has happened to the program,
//! to the disk and to the cluster meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::support::containers::unshare;
use crate::support::fleetd::{Fleetd, Registry, Reply};
use crate::support::{Client, Daemon, Program, within_timeout};

/// A fleet that tests change, and a directory for what is saved.
pub struct Fleet {
    pub registry: Arc<Mutex<Option<Registry>>>,
    fleetd: Fleetd,
    directory: TempDir,
}

/// The hash of a unit file without options.
const EMPTY_FILE: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

pub fn machine(id: u8) -> String {
    format!("{id:032x}")
}

impl Fleet {
    /// Units on two machines of three; one unit has failed.
    pub fn new() -> Self {
        let registry = Arc::new(Mutex::new(Some(Registry::default())));
        let source = registry.clone();
        let fleetd = Fleetd::unix(move |path: &str| {
            let registry = source.lock().unwrap();
            registry
                .as_ref()
                .map_or(Reply::Close, |registry| registry.reply(path))
        });
        let fleet = Self { registry, fleetd, directory: TempDir::new().unwrap() };

        fleet.change(|registry| {
            for id in 1..=3 {
                registry.machines.push(json!({
                    "id": machine(id), "primaryIP": format!("10.0.0.{id}"), "metadata": {}
                }));
            }
        });
        for number in 0..8 {
            fleet.set(&format!("web-{number}.service"), 1 + number % 2, "active");
        }
        fleet.set("bad.service", 1, "failed");
        fleet
    }

    pub fn change(&self, change: impl FnOnce(&mut Registry)) {
        change(self.registry.lock().unwrap().as_mut().unwrap());
    }

    /// Sets a unit that fleet wants on a machine, and its state there.
    pub fn set(&self, unit: &str, on: u8, active: &str) {
        self.change(|registry| {
            registry.states.retain(|state| state["name"] != unit);
            registry.units.retain(|file| file["name"] != unit);
            registry.states.push(json!({
                "name": unit, "machineID": machine(on), "hash": EMPTY_FILE,
                "systemdLoadState": "loaded", "systemdActiveState": active,
                "systemdSubState": active,
            }));
            registry.units.push(json!({
                "name": unit, "machineID": machine(on), "currentState": "launched",
                "desiredState": "launched", "options": [],
            }));
        });
    }

    /// A machine leaves the cluster. fleet still wants its units there.
    pub fn lose(&self, id: u8) {
        self.change(|registry| {
            registry.machines.retain(|it| it["id"] != machine(id));
            registry.states.retain(|it| it["machineID"] != machine(id));
        });
    }

    pub fn program(&self) -> Program {
        let arguments = [
            "--api",
            self.fleetd.address(),
            "--unit-freq",
            "0.1",
            "--machine-freq",
            "0.1",
            "--grace",
            "2",
            "--problem-after",
            "1",
        ];
        Program::new(&arguments).environment("STATE_DIRECTORY", self.directory.path())
    }

    /// A program whose source is in its configuration, so that a reload may name another one.
    async fn start_configured(&self) -> Daemon {
        let program = Program::new(&["--unit-freq", "0.1", "--machine-freq", "0.1"])
            .environment("STATE_DIRECTORY", self.directory.path());
        program.configure(&self.configuration());
        program.start().await
    }

    fn configuration(&self) -> String {
        format!("api = {:?}", self.fleetd.address())
    }

    pub async fn start(&self) -> Daemon {
        let daemon = self.program().start().await;
        if self.registry.lock().unwrap().is_some() {
            daemon.source_is("ok").await;
        }
        daemon
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Waits until the file has a text.
    pub async fn saved(&self, text: &str) {
        let saved = async {
            while !fs::read_to_string(self.file()).is_ok_and(|saved| saved.contains(text)) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        within_timeout(text, saved).await;
    }
}

pub async fn state(daemon: &Daemon) -> Value {
    daemon.get("/v2/state").await.1
}

/// The row of a list with this value of a key.
pub fn row(state: &Value, list: &str, key: &str, value: &str) -> Value {
    let rows = state[list].as_array().unwrap();
    let found = rows.iter().find(|row| row[key] == value);
    found.cloned().unwrap_or_default()
}

/// Waits until the state fulfils a condition, and returns it.
pub async fn until(daemon: &Daemon, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let found = async {
        loop {
            let state = state(daemon).await;
            if condition(&state) {
                return state;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    within_timeout(what, found).await
}

/// The problems, by their IDs.
pub fn problems(state: &Value) -> BTreeMap<String, Value> {
    let problems = state["problems"].as_array().unwrap().iter();
    problems
        .map(|problem| (problem["id"].as_str().unwrap().to_owned(), problem.clone()))
        .collect()
}

pub fn has_two_problems(state: &Value) -> bool {
    state["problems"].as_array().unwrap().len() == 2
}

/// A fleet that has lost machine 2, and its state after a monitor has problems with that and with
/// `bad.service`, and has saved them.
async fn with_problems(daemon: &Daemon, fleet: &Fleet) -> Value {
    fleet.lose(2);
    let state = until(daemon, "two problems", has_two_problems).await;
    for problem in state["problems"].as_array().unwrap() {
        fleet.saved(problem["id"].as_str().unwrap()).await;
    }
    fleet.saved("machine_lost").await;
    state
}

#[tokio::test]
async fn after_a_kill_everything_goes_on() {
    let fleet = Fleet::new();
    let mut daemon = fleet.start().await;
    let before = with_problems(&daemon, &fleet).await;
    daemon.kill().await;

    let daemon = fleet.start().await;
    let after = until(&daemon, "two problems", has_two_problems).await;

    assert_ne!(after["epoch"], before["epoch"]);
    for unit in ["bad.service", "web-0.service", "web-1.service"] {
        assert_eq!(row(&after, "units", "unit", unit), row(&before, "units", "unit", unit));
    }
    assert_eq!(row(&after, "units", "unit", "web-1.service")["verdict"], "machine_lost");
    assert_eq!(after["machines"], before["machines"]);
    let lost = row(&after, "machines", "machine", &machine(2));
    assert_eq!(lost["ip"], "10.0.0.2");
    assert_eq!(lost["ran"].as_array().unwrap().len(), 4);
    assert_eq!(problems(&after), problems(&before));
    assert_eq!(after["transitions"], before["transitions"]);
}

#[tokio::test]
async fn what_changed_while_it_did_not_run_is_an_event() {
    let fleet = Fleet::new();
    let mut daemon = fleet.start().await;
    fleet.saved("commit").await;
    daemon.stop(Signal::TERM).await;
    fleet.set("web-0.service", 1, "failed");

    let daemon = fleet.start().await;

    let event = daemon.event("changed").await;
    assert_eq!(event["unit"], "web-0.service");
    let unit = row(&state(&daemon).await, "units", "unit", "web-0.service");
    assert_eq!(unit["since_seen"], false);
    assert_eq!(unit["since"], event["time"]);
}

#[tokio::test]
async fn the_last_moment_is_saved_when_it_is_stopped() {
    let fleet = Fleet::new();
    let mut daemon = fleet.start().await;
    fleet.saved("commit").await;
    fleet.set("web-0.service", 1, "failed");
    let event = daemon.event("changed").await;
    daemon.stop(Signal::TERM).await;

    let daemon = fleet.start().await;
    let state = state(&daemon).await;
    let saved = row(&state, "transitions", "event", "changed");
    assert_eq!((&saved["number"], &saved["text"]), (&event["number"], &event["text"]));
    assert_eq!(row(&state, "units", "unit", "web-0.service")["since_seen"], true);
}

#[tokio::test]
async fn nothing_is_published_before_the_units_are_read() {
    let fleet = Fleet::new();
    let mut daemon = fleet.start().await;
    fleet.saved("commit").await;
    daemon.stop(Signal::TERM).await;
    let registry = fleet.registry.lock().unwrap().take();

    let daemon = fleet.start().await;
    daemon.event("source_down").await;
    let (status, _) = daemon.get("/readyz").await;
    assert_eq!(status, 503);
    let unread = state(&daemon).await;
    assert_eq!((&unread["units"], &unread["machines"]), (&json!([]), &json!([])));

    *fleet.registry.lock().unwrap() = registry;
    daemon.source_is("ok").await;
    assert_eq!(state(&daemon).await["units"].as_array().unwrap().len(), 9);
}

#[tokio::test]
async fn a_damaged_file_is_said_and_used_as_far_as_possible() {
    let fleet = Fleet::new();
    let mut daemon = fleet.start().await;
    let before = with_problems(&daemon, &fleet).await;
    daemon.kill().await;
    let mut contents = fs::read(fleet.file()).unwrap();
    contents.extend_from_slice(b"01234567 {\"row\":");
    fs::write(fleet.file(), contents).unwrap();

    let daemon = fleet.start().await;
    daemon.log.first(fleet.file().to_str().unwrap()).await;
    let after = until(&daemon, "two problems", has_two_problems).await;
    assert_eq!(problems(&after), problems(&before));
}

#[tokio::test]
async fn any_other_file_is_said_and_replaced() {
    let fleet = Fleet::new();
    fs::write(fleet.file(), "no log\n".repeat(1000)).unwrap();

    let mut daemon = fleet.start().await;
    daemon.log.first(fleet.file().to_str().unwrap()).await;
    fleet.saved("commit").await;
    daemon.stop(Signal::TERM).await;
    assert!(!fs::read_to_string(fleet.file()).unwrap().contains("no log"));
}

#[tokio::test]
async fn another_cluster_is_not_mistaken_for_the_one_that_was_saved() {
    let fleet = Fleet::new();
    let mut daemon = fleet.start().await;
    with_problems(&daemon, &fleet).await;
    daemon.kill().await;

    let other = Fleet::new();
    other.change(|registry| {
        let text = serde_json::to_string(&registry.states).unwrap();
        let text = text
            .replace("web-", "api-")
            .replace("bad", "good")
            .replace("failed", "active");
        registry.states = serde_json::from_str(&text.replace(&machine(1), &machine(9))).unwrap();
        registry.states.retain(|state| state["machineID"] == machine(9));
        registry.units.clear();
        registry.machines = vec![json!({ "id": machine(9), "metadata": {} })];
    });
    let daemon = other
        .program()
        .environment("STATE_DIRECTORY", fleet.directory.path())
        .start()
        .await;
    daemon.source_is("ok").await;

    let state = state(&daemon).await;
    assert_eq!(state["machines"].as_array().unwrap().len(), 1);
    assert_eq!((&state["problems"], &state["transitions"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn without_a_directory_it_says_once_that_nothing_is_kept() {
    let fleet = Fleet::new();
    let daemon = fleet.program().environment("STATE_DIRECTORY", "").start().await;
    daemon.source_is("ok").await;
    assert_eq!(daemon.log.count("$STATE_DIRECTORY"), 1);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_does_not_stop_it() {
    let fleet = Fleet::new();
    for directory in ["/nonexistent", "/dev/null", "/proc"] {
        let daemon = fleet
            .program()
            .environment("STATE_DIRECTORY", directory)
            .start()
            .await;
        daemon.source_is("ok").await;
        assert_eq!(daemon.log.count("$STATE_DIRECTORY"), 1, "{directory}");
    }
}

#[tokio::test]
async fn two_monitors_do_not_write_one_file() {
    let fleet = Fleet::new();
    let _first = fleet.start().await;
    fleet.saved("commit").await;

    let second = fleet.start().await;
    assert_eq!(second.log.count("$STATE_DIRECTORY"), 1);
}

#[tokio::test]
async fn a_recording_saves_nothing() {
    let directory = TempDir::new().unwrap();
    let daemon = Program::new(&["--demo"])
        .environment("STATE_DIRECTORY", directory.path())
        .start()
        .await;
    daemon.source_is("ok").await;
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(daemon.log.count("$STATE_DIRECTORY"), 0);
}

#[tokio::test]
async fn what_is_saved_stays_as_it_is_while_a_recording_is_played_after_a_reload() {
    let fleet = Fleet::new();
    let mut daemon = fleet.start_configured().await;
    fleet.saved("bad.service").await;

    daemon.configure("demo = true");
    daemon.reload().await;
    let saved = fs::read(fleet.file()).unwrap();
    until(&daemon, "the recording", |state| state["health"]["recording"] == true).await;
    daemon.source_is("ok").await;
    daemon.stop(Signal::TERM).await;
    assert_eq!(fs::read(fleet.file()).unwrap(), saved);
}

/// The directory is on a disk of its own, of which a file takes almost everything.
#[tokio::test]
async fn on_a_full_disk_it_goes_on_and_saves_as_soon_as_there_is_space() {
    let Some(wrapper) = unshare(&["--mount"]) else {
        return;
    };
    let fleet = Fleet::new();
    let directory = fleet.directory.path().to_str().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k none {directory} && \
         head -c 60k /dev/zero >{directory}/filler && exec \"$@\""
    );
    let wrapper = [&wrapper[..], &["sh", "-c", &script, "sh"]].concat();

    let address = fleet.fleetd.address();
    let mut arguments = vec!["--api", address, "--unit-freq", "0.1", "--machine-freq", "0.1"];
    arguments.extend(["--grace", "2"]);
    let daemon = Program::under(&wrapper, &arguments)
        .environment("STATE_DIRECTORY", directory)
        .start()
        .await;
    daemon.source_is("ok").await;
    let path = fleet.file();
    let path = path.to_str().unwrap();
    daemon.log.first(path).await;

    // It is said once, and the cluster is watched as ever.
    fleet.set("web-0.service", 1, "failed");
    daemon.event("changed").await;
    sleep(Duration::from_secs(7)).await;
    assert_eq!(daemon.log.count(path), 1);

    let inside = |name: &str| {
        let pid = daemon.pid().as_raw_nonzero();
        Path::new(&format!("/proc/{pid}/root{directory}")).join(name)
    };
    fs::remove_file(inside("filler")).unwrap();
    daemon.log.nth(2, path).await;
    let saved = fs::read_to_string(inside("state")).unwrap();
    assert!(saved.ends_with('\n') && saved.contains("web-0.service"), "{saved}");
    assert!(saved.lines().last().unwrap().contains("commit"), "{saved}");
}

/// A client of the second protocol that has its rows, and remembers where it can resume.
struct Subscriber {
    client: Client,
    query: String,
    rows: BTreeMap<String, Value>,
    epoch: String,
    revision: u64,
    /// The types of the messages since it was connected.
    received: Vec<String>,
    /// How many rows it was sent since then.
    sent: usize,
}

impl Subscriber {
    async fn connect(daemon: &Daemon, filter: &str) -> Self {
        let query = format!("topics=units,machines,problems,events&filter={filter}");
        let mut subscriber = Self {
            client: daemon.subscribe(&query).await,
            query,
            rows: BTreeMap::new(),
            epoch: String::new(),
            revision: 0,
            received: Vec::new(),
            sent: 0,
        };
        subscriber.until("status").await;
        subscriber
    }

    /// Connects to another run of the program.
    async fn resume(&mut self, daemon: &Daemon) {
        let Self { query, epoch, revision, .. } = self;
        let query = format!("{query}&epoch={epoch}&revision={revision}");
        self.client = daemon.subscribe(&query).await;
        self.received.clear();
        self.sent = 0;
    }

    /// Resumes from what the server does not know, so that it gets all rows anew.
    async fn resumes_with_everything(&mut self, daemon: &Daemon) {
        self.resume(daemon).await;
        self.until("status").await;
        assert!(self.received.contains(&"resync".to_owned()), "{:?}", self.received);
        self.is_up_to_date(daemon).await;
    }

    async fn until(&mut self, r#type: &str) {
        loop {
            let message = self.client.next().await;
            self.apply(&message);
            if message["type"] == r#type {
                return;
            }
        }
    }

    fn apply(&mut self, message: &Value) {
        let r#type = message["type"].as_str().unwrap();
        self.received.push(r#type.to_owned());
        let topic = message["topic"].as_str().unwrap_or_default();

        match r#type {
            "hello" => message["epoch"].as_str().unwrap().clone_into(&mut self.epoch),
            "resync" => self.rows.clear(),
            "snapshot" => self.put(topic, &message["rows"]),
            "delta" => {
                self.put(topic, &message["upsert"]);
                for key in message["remove"].as_array().unwrap() {
                    self.rows.remove(&key_of(topic, key));
                }
            }
            "event" => self.put("events", &json!([message])),
            _ => {}
        }
        if ["delta", "event", "status"].contains(&r#type) {
            self.revision = message["revision"].as_u64().unwrap();
        }
    }

    fn put(&mut self, topic: &str, rows: &Value) {
        for row in rows.as_array().unwrap() {
            let mut row = row.clone();
            row.as_object_mut()
                .unwrap()
                .retain(|key, _| key != "type" && key != "revision");
            self.rows.insert(key_of(topic, &row), row);
            self.sent += 1;
        }
    }

    /// Waits until it has what a new client gets.
    async fn is_up_to_date(&mut self, daemon: &Daemon) {
        let filter = self.query.split("filter=").nth(1).unwrap().to_owned();
        for _ in 0..50 {
            let new = Self::connect(daemon, &filter).await;
            while let Ok(message) = timeout(Duration::from_millis(100), self.client.next()).await {
                self.apply(&message);
            }
            if self.rows == new.rows {
                return;
            }
        }
        let new = Self::connect(daemon, &filter).await;
        assert_eq!(self.rows, new.rows);
    }
}

fn key_of(topic: &str, row: &Value) -> String {
    let key = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    match topic {
        "problems" => format!("{topic} {}", key("id")),
        "events" => format!("{topic} {}", row["number"]),
        _ => format!("{topic} {} {}", key("unit"), key("machine")),
    }
}

#[tokio::test]
async fn a_client_that_resumes_gets_what_differs() {
    for filter in ["", "state%3Aactive"] {
        let fleet = Fleet::new();
        let mut daemon = fleet.start().await;
        let mut client = Subscriber::connect(&daemon, filter).await;
        fleet.set("web-0.service", 1, "activating");
        until(&daemon, "a change", |state| state["transitions"].as_array().unwrap().len() == 1)
            .await;
        client.resume(&daemon).await;
        client.until("status").await;
        daemon.stop(Signal::TERM).await;
        let epoch = client.epoch.clone();

        fleet.set("web-3.service", 2, "activating");
        fleet.set("web-6.service", 3, "active");
        let daemon = fleet.program().start().await;
        client.resume(&daemon).await;
        client.until("status").await;
        daemon.source_is("ok").await;

        assert_ne!(client.epoch, epoch);
        assert!(!client.received.contains(&"resync".to_owned()), "{:?}", client.received);
        assert!(!client.received.contains(&"snapshot".to_owned()), "{:?}", client.received);
        assert!(client.sent < 8, "{} rows", client.sent);
        client.is_up_to_date(&daemon).await;

        // And it goes on from there.
        fleet.set("web-5.service", 2, "activating");
        client.until("event").await;
        client.resume(&daemon).await;
        client.until("status").await;
        assert!(!client.received.contains(&"snapshot".to_owned()), "{:?}", client.received);
        client.is_up_to_date(&daemon).await;
    }
}

#[tokio::test]
async fn a_client_that_missed_changes_before_the_restart_gets_them_too() {
    let fleet = Fleet::new();
    let mut daemon = fleet.start().await;
    fleet.saved("commit").await;
    let mut client = Subscriber::connect(&daemon, "").await;
    drop(std::mem::replace(&mut client.client, daemon.connect_to_events().await));

    fleet.set("web-0.service", 1, "activating");
    fleet.change(|registry| {
        registry.states.retain(|state| state["name"] != "web-1.service");
        registry.units.retain(|file| file["name"] != "web-1.service");
    });
    daemon.event("gone").await;
    daemon.event("changed").await;
    daemon.stop(Signal::TERM).await;
    let daemon = fleet.start().await;
    client.resume(&daemon).await;
    client.until("status").await;

    assert!(!client.received.contains(&"resync".to_owned()), "{:?}", client.received);
    assert!(
        !client
            .rows
            .contains_key(&format!("units web-1.service {}", machine(2)))
    );
    client.is_up_to_date(&daemon).await;
}

#[tokio::test]
async fn a_client_that_has_what_was_not_saved_gets_everything() {
    let fleet = Fleet::new();
    let mut daemon = fleet.start().await;
    fleet.saved("commit").await;
    let mut client = Subscriber::connect(&daemon, "").await;
    daemon.stop(Signal::TERM).await;

    client.revision += 1;
    let daemon = fleet.start().await;
    client.resumes_with_everything(&daemon).await;
}

#[tokio::test]
async fn a_client_that_has_rows_of_a_recording_gets_everything() {
    let fleet = Fleet::new();
    let mut daemon = fleet.start_configured().await;
    fleet.saved("bad.service").await;

    daemon.configure("demo = true");
    daemon.reload().await;
    until(&daemon, "the recording", |state| state["units"].as_array().unwrap().len() > 9).await;
    let mut client = Subscriber::connect(&daemon, "").await;
    // It loses its connection, and gets nothing more of this run.
    client.client = daemon.subscribe("topics=events").await;

    daemon.configure(&fleet.configuration());
    daemon.reload().await;
    until(&daemon, "the cluster", |state| state["units"].as_array().unwrap().len() == 9).await;
    daemon.stop(Signal::TERM).await;
    let daemon = fleet.start().await;
    client.resumes_with_everything(&daemon).await;
}

#[tokio::test]
async fn what_was_saved_of_another_cluster_does_not_go_on_after_a_reload() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let mut daemon = fleet.start().await;
    with_problems(&daemon, &fleet).await;
    daemon.stop(Signal::TERM).await;

    // It cannot be read before the configuration names another cluster.
    *fleet.registry.lock().unwrap() = None;
    let daemon = fleet.start_configured().await;
    daemon.configure(&other.configuration());
    daemon.reload().await;
    daemon.source_is("ok").await;

    let state = state(&daemon).await;
    assert_eq!(state["problems"], json!([]));
    let events = state["transitions"].as_array().unwrap();
    assert!(events.iter().all(|event| event["event"] == "source_down"), "{events:?}");
}
