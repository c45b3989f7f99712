//! The JSON of fleet's HTTP API, and the rows that it means.
//!
//! Rows are the same, column for column, as `fleetctl` lists for the same cluster. The shapes are those of fleet's
//! `schema/v1.json`; fleetd leaves out what is empty, also whole lists, so that `{}` is an empty page. This module is
//! pure: it knows neither sockets nor HTTP, and no bytes can make it panic.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha1::{Digest, Sha1};

use crate::cluster::{Machine, MachineId, Text, UnitFile, UnitName, UnitState};

/// A row of one of fleet's lists.
pub trait Row: Sized {
    /// The last part of the list's path.
    const PATH: &'static str;
    /// The member of the page that has the rows.
    const KEY: &'static str;
    /// The row as fleetd writes it.
    type Wire: DeserializeOwned + Into<Self>;
    /// What makes a row the same row in a later reading. Lists are sorted by it, as fleetctl sorts them.
    type Key: Ord;

    /// This row's key.
    fn key(&self) -> Self::Key;
}

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<R> {
    /// Its rows, in fleetd's order.
    pub rows: Vec<R>,
    /// What to ask for the next page with; none on the last one.
    pub next: Option<String>,
}

/// Why a body is not a page.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// It is no JSON at all.
    #[error("not JSON")]
    NotJson,
    /// It is JSON, but no page of the list that was asked for.
    #[error("JSON, but not fleet's: {0}")]
    NotFleet(String),
}

/// Reads a page of a list.
pub fn page<R: Row>(body: &[u8]) -> Result<Page<R>, WireError> {
    let raw: RawPage<R> = serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => WireError::NotFleet(error.to_string()),
        _ => WireError::NotJson,
    })?;
    Ok(Page { rows: raw.rows.into_iter().map(Into::into).collect(), next: raw.next.filter(|token| !token.is_empty()) })
}

/// The message of an error body, `{"error":{"code":N,"message":"…"}}`. It is often empty.
pub fn error_message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        message: String,
    }
    serde_json::from_slice(body).ok().map(|body: Body| body.error.message)
}

/// Fills in each state's address from the list of machines, as fleetctl does.
pub fn join(states: &mut [UnitState], machines: &[Machine]) {
    let addresses: HashMap<&MachineId, &Text> =
        machines.iter().filter_map(|machine| Some((&machine.id, machine.ip.as_ref()?))).collect();
    for state in states {
        state.ip = state.machine.as_ref().and_then(|id| addresses.get(id)).copied().cloned();
    }
}

/// Puts the pages of one list together, and tells when they do not fit.
///
/// fleetd reads its registry anew for each page, and a page is "row 101 to 200 of now". If a row before the border
/// between two pages appears while they are read, the last row of the one page is also the first of the next: that can
/// be seen. If such a row goes, the first row of the next page moves to the page that was already read, and is lost:
/// that cannot be seen in the pages. But a reading that lost a row so always has another row, the one that went, which
/// the reading after it cannot have. Hence the rule: a reading of several pages is good if it has **every row of the
/// reading right before it**, good or not; if not, the list is read again. As long as no row goes, that costs nothing;
/// when one has gone, it costs a second reading, which also has it gone. Only a row that comes and goes within one
/// reading can deceive it. Reading each page twice would find no more, and double the cost of every reading.
#[derive(Debug)]
pub struct Collation<R: Row> {
    before: Option<BTreeSet<R::Key>>,
}

impl<R: Row> Default for Collation<R> {
    fn default() -> Self {
        Self { before: None }
    }
}

impl<R: Row> Collation<R> {
    /// Takes the pages of one reading and gives the whole list, sorted, or nothing if it has to be read again.
    ///
    /// One page alone is always whole. The first reading of several pages has none before it, and is read again.
    pub fn collate(&mut self, pages: Vec<Vec<R>>) -> Option<Vec<R>> {
        let whole = pages.len() <= 1;
        let mut rows: Vec<R> = pages.into_iter().flatten().collect();
        rows.sort_by_cached_key(R::key);
        let keys: BTreeSet<R::Key> = rows.iter().map(R::key).collect();
        let twice = keys.len() < rows.len();
        let good = whole || !twice && self.before.as_ref().is_some_and(|before| before.is_subset(&keys));
        self.before = (whole || !twice).then_some(keys);
        good.then_some(rows)
    }
}

struct RawPage<R: Row> {
    rows: Vec<R::Wire>,
    next: Option<String>,
}

impl<'de, R: Row> Deserialize<'de> for RawPage<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<R>(PhantomData<R>);

        impl<'de, R: Row> Visitor<'de> for Members<R> {
            type Value = RawPage<R>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object with {:?}", R::KEY)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut page = RawPage { rows: Vec::new(), next: None };
                let (mut known, mut stranger) = (false, None);
                while let Some(member) = map.next_key::<String>()? {
                    if member == R::KEY {
                        page.rows = map.next_value::<Option<Vec<R::Wire>>>()?.unwrap_or_default();
                        known = true;
                    } else if member == "nextPageToken" {
                        page.next = map.next_value()?;
                        known = true;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                        stranger = Some(member);
                    }
                }
                match stranger {
                    // An empty object is an empty list; one that is full of other things is something else.
                    Some(member) if !known => Err(serde::de::Error::unknown_field(&member, &[R::KEY, "nextPageToken"])),
                    _ => Ok(page),
                }
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// An entry of `/state`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    name: String,
    hash: Option<String>,
    #[serde(rename = "machineID")]
    machine_id: Option<String>,
    systemd_load_state: Option<String>,
    systemd_active_state: Option<String>,
    systemd_sub_state: Option<String>,
}

/// An entry of `/machines`.
#[derive(Deserialize)]
pub struct WireMachine {
    id: String,
    metadata: Option<BTreeMap<String, String>>,
    #[serde(rename = "primaryIP")]
    primary_ip: Option<String>,
}

/// An entry of `/units`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    name: String,
    desired_state: Option<String>,
    #[serde(rename = "machineID")]
    machine_id: Option<String>,
    options: Option<Vec<UnitOption>>,
}

/// A line of a unit file. fleetd leaves an empty value out.
#[derive(Deserialize)]
struct UnitOption {
    #[serde(default)]
    section: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
}

impl Row for UnitState {
    const PATH: &'static str = "state";
    const KEY: &'static str = "states";
    type Wire = State;
    type Key = (UnitName, Option<MachineId>);

    fn key(&self) -> Self::Key {
        (self.unit.clone(), self.machine.clone())
    }
}

impl Row for Machine {
    const PATH: &'static str = "machines";
    const KEY: &'static str = "machines";
    type Wire = WireMachine;
    type Key = MachineId;

    fn key(&self) -> Self::Key {
        self.id.clone()
    }
}

impl Row for UnitFile {
    const PATH: &'static str = "units";
    const KEY: &'static str = "units";
    type Wire = Unit;
    type Key = UnitName;

    fn key(&self) -> Self::Key {
        self.unit.clone()
    }
}

/// An empty text and none are the same to fleet, and `-` to fleetctl.
fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn text(text: Option<String>) -> Option<Text> {
    filled(text.as_deref()).map(Text::from)
}

fn machine_id(id: Option<&str>) -> Option<MachineId> {
    filled(id).map(MachineId::from)
}

impl From<State> for UnitState {
    fn from(state: State) -> Self {
        Self {
            unit: UnitName::from(state.name.as_str()),
            machine: machine_id(state.machine_id.as_deref()),
            ip: None,
            load: text(state.systemd_load_state),
            active: text(state.systemd_active_state),
            sub: text(state.systemd_sub_state),
            hash: text(state.hash),
        }
    }
}

impl From<WireMachine> for Machine {
    fn from(machine: WireMachine) -> Self {
        let pairs: Vec<String> =
            machine.metadata.unwrap_or_default().iter().map(|(key, value)| format!("{key}={value}")).collect();
        Self {
            id: MachineId::from(machine.id.as_str()),
            ip: text(machine.primary_ip),
            metadata: text(Some(pairs.join(","))),
        }
    }
}

impl From<Unit> for UnitFile {
    fn from(unit: Unit) -> Self {
        let options = unit.options.unwrap_or_default();
        // Before 0.13 fleetd knew `true` alone, and gave a unit with `Global=yes` to one machine like any other.
        let global = filled(unit.machine_id.as_deref()).is_none() && is_global(&options);
        Self {
            unit: UnitName::from(unit.name.as_str()),
            hash: Some(hash(&options).into()),
            desired: text(unit.desired_state),
            target: machine_id(unit.machine_id.as_deref()),
            target_known: true,
            global,
            description: description(&options),
            requirements: options
                .iter()
                .filter(|option| option.section == "X-Fleet" && REQUIREMENTS.contains(&option.name.as_str()))
                .map(|option| format!("{}={}", option.name, option.value).into())
                .collect(),
        }
    }
}

/// The `[X-Fleet]` options that decide which machine may take a unit, with their old spellings (fleet's `job/job.go`).
const REQUIREMENTS: [&str; 10] = [
    "MachineID",
    "MachineOf",
    "MachineMetadata",
    "Conflicts",
    "Replaces",
    "X-ConditionMachineID",
    "X-ConditionMachineBootID",
    "X-ConditionMachineOf",
    "X-ConditionMachineMetadata",
    "X-Conflicts",
];

/// Whether the last `Global` of `[X-Fleet]` says so. There is no old spelling of it (fleet's `job/job.go`).
fn is_global(options: &[UnitOption]) -> bool {
    let last = options.iter().rev().find(|option| option.section == "X-Fleet" && option.name == "Global");
    last.is_some_and(|option| {
        let value = option.value.trim_matches('"').to_lowercase();
        ["true", "yes", "1", "on", "t"].contains(&value.as_str())
    })
}

/// The first `Description` of `[Unit]`, the one that fleetctl prints (fleet's `unit/unit.go`), on one line: what
/// joins a continued line, and the blanks that begin it, become one space.
fn description(options: &[UnitOption]) -> Option<Text> {
    let first = options.iter().find(|option| option.section == "Unit" && option.name == "Description")?;
    let mut lines = first.value.split("\\\n");
    let mut joined = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        joined.push(' ');
        joined.push_str(line.trim_start());
    }
    text(Some(joined))
}

/// The SHA-1 by which fleet knows a unit file's content: of the file as go-systemd's `unit.Serialize` writes it, with
/// the options of a section together, in the order in which the sections first appear.
fn hash(options: &[UnitOption]) -> String {
    let mut sections: Vec<String> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for UnitOption { section, name, value } in options {
        let place = *places.entry(section).or_insert_with(|| {
            sections.push(format!("[{section}]\n"));
            sections.len() - 1
        });
        sections[place] += &format!("{name}={value}\n");
    }
    format!("{:x}", Sha1::digest(sections.join("\n")))
}
