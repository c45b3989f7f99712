//! The JSON of `/v2/state` and of the second protocol, as `docs/protocol.md` defines it.
//!
//! Unknown keys and messages are ignored, so that a client can read a newer server. It knows no
//! transport.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A time, in milliseconds since 1970 by the server's clock.
pub type Milliseconds = u64;

/// What identifies a row of units: the unit, and its machine; `None` for a unit on no machine.
pub type UnitRowKey = (String, Option<String>);

/// The JSON object of `/v2/state`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateDocument {
    /// A name of the run of the program.
    pub epoch: String,
    /// The number of the newest change.
    pub revision: u64,
    /// When it was sent.
    pub time: Milliseconds,
    /// The program that sent it.
    pub software: Software,
    /// The state of the source.
    pub health: SourceHealth,
    /// All units, sorted by name and machine. Empty if the query left them out.
    #[serde(default)]
    pub units: Vec<UnitRow>,
    /// All machines, sorted by ID. Empty if the query left them out.
    #[serde(default)]
    pub machines: Vec<MachineRow>,
    /// The open problems. `None` if the query left them out, or if the server is older than they
    /// are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<ProblemRow>>,
    /// What happened, newest first. Empty if the query left it out.
    #[serde(default)]
    pub transitions: Vec<EventRow>,
}

/// The JSON object of `/v2/unit-file`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UnitFileReply {
    /// The unit's full name.
    pub unit: String,
    /// The hash of the file that fleet has; `None` if it has none any more.
    pub hash: Option<String>,
    /// That file.
    pub content: Option<String>,
    /// Whether values that look like secrets are masked.
    pub masked: bool,
    /// The other versions that machines run.
    pub running: Vec<VersionReply>,
}

/// A version of a unit file that machines run and fleet does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct VersionReply {
    /// Its hash.
    pub hash: String,
    /// The IDs of the machines.
    pub machines: Vec<String>,
    /// The file; `None` if it is not kept anywhere.
    pub content: Option<String>,
    /// All lines of this version and of that of fleet, with a space, a `-` or a `+` before each.
    pub diff: Option<Vec<String>>,
}

/// The program that serves a cluster's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Software {
    /// `fleet-monitor`.
    pub name: String,
    /// Its version, such as `0.1.0`.
    pub version: String,
}

/// A unit on one machine, or on none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitRow {
    /// The unit's full name.
    pub unit: String,
    /// The machine's ID; `None` for a unit on no machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The machine's address; `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// systemd's load state; `None` if no machine has reported the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<String>,
    /// systemd's active state; `None` if no machine has reported the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// systemd's sub state; `None` if no machine has reported the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// SHA-1 of the unit file that the machine has; `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Whether fleet's own list contains the row, or should contain it.
    pub listed: bool,
    /// Since when it has not been reported; `None` if it is up to date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_since: Option<Milliseconds>,
    /// The desired state: `inactive`, `loaded` or `launched`; `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// The ID of the machine that fleet has chosen; `None` if it has chosen none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether it runs on every machine that meets its requirements.
    pub global: bool,
    /// `Description=`; `None` if there is none, or it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// SHA-1 of the unit file that fleet has; `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_hash: Option<String>,
    /// The `[X-Fleet]` options that decide on which machines it may run, as `Name=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<String>,
    /// The verdict: `ok`, or what is wrong.
    pub verdict: String,
    /// The reason for the verdict, in one sentence.
    pub reason: String,
    /// Since when the verdict has been the same.
    pub verdict_since: Milliseconds,
    /// Whether the server saw the verdict begin. If not, it is older than `verdict_since`.
    pub verdict_since_seen: bool,
    /// Since when the state has been the same.
    pub since: Milliseconds,
    /// Whether the server saw the state change. If not, it is older than `since`.
    pub since_seen: bool,
    /// Keys of a newer server, which `--json` passes on.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl UnitRow {
    /// What identifies the row.
    pub fn key(&self) -> UnitRowKey {
        (self.unit.clone(), self.machine.clone())
    }

    /// Whether nothing is wrong with it.
    pub fn is_ok(&self) -> bool {
        self.verdict == "ok"
    }

    /// The machine for people: its address, else the beginning of its ID.
    pub fn place(&self) -> Option<&str> {
        self.ip.as_deref().or(self.machine.as_deref().map(short_id))
    }

    /// The machine's address and ID, as far as they are known; `none` for a unit on no machine.
    pub fn address_and_id(&self) -> String {
        match (&self.ip, &self.machine) {
            (Some(ip), Some(machine)) => format!("{ip} ({machine})"),
            (None, Some(machine)) => machine.clone(),
            (_, None) => "none".to_owned(),
        }
    }

    /// `active/sub`, or `-` if no machine has reported it.
    pub fn state(&self) -> String {
        match (&self.active, &self.sub) {
            (None, None) => "-".to_owned(),
            (active, sub) => {
                format!("{}/{}", active.as_deref().unwrap_or("-"), sub.as_deref().unwrap_or("-"))
            }
        }
    }
}

/// A machine of the cluster, or one that has left it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineRow {
    /// The machine's ID: 32 hexadecimal digits.
    pub machine: String,
    /// Its address; `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Its metadata, as `key=value` pairs separated by commas; `None` if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The version of its fleetd; `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether its engine schedules units.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub leader: bool,
    /// Since when it has been silent; `None` if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Milliseconds>,
    /// When it left the cluster; `None` if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_since: Option<Milliseconds>,
    /// The units that it reported when it left the cluster, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ran: Vec<String>,
    /// When it joined, or was first read.
    pub since: Milliseconds,
    /// Whether the server saw it join.
    pub since_seen: bool,
    /// Keys of a newer server, which `--json` passes on.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl MachineRow {
    /// Its name for people: its address, else the beginning of its ID.
    pub fn name(&self) -> &str {
        self.ip.as_deref().unwrap_or_else(|| short_id(&self.machine))
    }
}

/// Something that has been wrong for long enough, by its cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProblemRow {
    /// Identifies it as long as it is open, and unlike that of any other.
    pub id: String,
    /// What is wrong: the verdict of its units, or `machine_lost`, `machine_silent`,
    /// `source_failing`, `source_overdue`, `source_suspect`.
    pub kind: String,
    /// `critical` or `warning`.
    pub severity: String,
    /// Since when it has been so: of several units, the first of them.
    pub since: Milliseconds,
    /// Whether the server saw it begin. If not, it is older than `since`.
    pub since_seen: bool,
    /// When it was opened.
    pub opened: Milliseconds,
    /// The unit; `None` if it is not about a single one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The template, such as `web@.service`, or the global unit; `None` if it is not about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The ID of the machine that it is about, or that all units are on; `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The machine's address; `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// How many units have it.
    pub count: usize,
    /// How many of these have each verdict.
    pub verdicts: BTreeMap<String, usize>,
    /// The first of the units that have it, by name and machine.
    pub units: Vec<ProblemUnit>,
    /// The problem in one line.
    pub text: String,
    /// The reason of a single unit, or the names of several; `None` if there is no more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Keys of a newer server.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// A unit that has a problem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemUnit {
    /// The unit's full name.
    pub unit: String,
    /// The machine's ID; `None` for a unit on no machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// The first eight digits of a machine's ID, as fleetctl shortens it.
pub(super) fn short_id(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventRow {
    /// Counts up from 1 since the start of the server.
    pub number: u64,
    /// When the server learned of it.
    pub time: Milliseconds,
    /// The kind, such as `changed`.
    pub event: String,
    /// The unit; `None` if the event is not about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The machine's ID; `None` if the event is not about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The machine's address; `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The unit's state before, as `active/sub`; `None` if the event has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The unit's state after, as `active/sub`; `None` if the event has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The reason; `None` if the event has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `warning` or `info`.
    pub severity: String,
    /// The event in one sentence.
    pub text: String,
    /// Keys of a newer server, which `--json` passes on.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// The JSON object of `/v2/history`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct HistoryDocument {
    /// When it was sent.
    pub now: Milliseconds,
    /// Since when the events are complete; `None` if that is not known.
    pub complete_since: Option<Milliseconds>,
    /// Whether older events were dropped, or there were none because nothing watched.
    pub dropped: bool,
    /// What happened, oldest first.
    pub events: Vec<EventRow>,
}

/// The state of the source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceHealth {
    /// A name of the source for people, such as `fleetctl v1.0.0`.
    pub source: String,
    /// Whether it is a recording.
    pub recording: bool,
    /// Whether the data can be relied on.
    pub state: HealthState,
    /// When `state` began; `None` for `ok` and `starting`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Milliseconds>,
    /// The error; `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When this was sent.
    pub time: Milliseconds,
    /// Each list of fleet by its name: `units`, `machines`, `unit_files`.
    pub topics: BTreeMap<String, TopicHealth>,
    /// Since when all events have been noticed; `None` until all lists have been read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_since: Option<Milliseconds>,
    /// How many disappearances have been held back.
    pub held_back: u64,
    /// The number of clients; `None` in the second protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<u64>,
    /// How a recording is played; `None` if none is that a viewer can change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayState>,
}

/// How a recording is played. Positions are in milliseconds since its beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplayState {
    /// Where the part begins that is played.
    pub begin: u64,
    /// Where it ends.
    pub end: u64,
    /// Where it was when this was sent.
    pub position: u64,
    /// Whether it is paused.
    pub paused: bool,
    /// How many seconds of the recording pass in one.
    pub rate: f64,
    /// The same while it is neither paused nor over.
    pub speed: f64,
    /// Whether all times are those of the recording.
    pub clock: bool,
}

/// Whether the data can be relied on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// A list of fleet has not been read yet.
    #[default]
    Starting,
    /// All lists are read as they should be.
    Ok,
    /// A list cannot be read.
    Failing,
    /// A list was not read in time.
    Overdue,
    /// So many rows are missing at once that the list of units is not trusted.
    Suspect,
    /// A recording is over.
    Ended,
    /// A state of a newer server.
    #[serde(other)]
    Unknown,
}

/// The state of one list of fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicHealth {
    /// Seconds since it was last read, when the message was sent; `None` if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<f64>,
    /// Seconds since it could last be read; `None` if it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_for: Option<f64>,
    /// The error; `None` if it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a client can subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowTopic {
    /// Units on machines.
    Units,
    /// Machines.
    Machines,
    /// What has been wrong for long enough.
    Problems,
    /// What happens.
    Events,
    /// A topic of a newer server.
    #[serde(other)]
    Unknown,
}

/// A message of the second protocol.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// The first message of a connection.
    Hello(Hello),
    /// Snapshots follow, since missed messages cannot be sent.
    Resync {
        /// Why, for people.
        reason: String,
    },
    /// All rows of a topic.
    Snapshot {
        /// The topic, which decides what the rows are.
        topic: RowTopic,
        /// All rows: [`UnitRow`]s, [`MachineRow`]s, [`ProblemRow`]s or [`EventRow`]s.
        rows: Vec<serde_json::Value>,
    },
    /// The rows of a topic that changed.
    Delta {
        /// The number of the change.
        revision: u64,
        /// The topic, which decides what the rows are.
        topic: RowTopic,
        /// New and changed rows.
        upsert: Vec<serde_json::Value>,
        /// The keys of rows that are gone.
        remove: Vec<serde_json::Value>,
    },
    /// Something happened.
    Event {
        /// The number of the change.
        revision: u64,
        /// What happened.
        #[serde(flatten)]
        event: EventRow,
    },
    /// The state of the source.
    Status {
        /// The number of the change.
        revision: u64,
        /// The state.
        health: SourceHealth,
    },
    /// A message of a newer server.
    #[serde(other)]
    Unknown,
}

/// The first message of a connection.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// A name of the run of the program.
    pub epoch: String,
    /// The number of the newest change.
    pub revision: u64,
    /// The program that answers.
    pub software: Software,
    /// A name of the source for people.
    pub source: String,
    /// Whether it is a recording.
    pub recording: bool,
}
