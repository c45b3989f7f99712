//! The JSON of fleet's HTTP API, and the rows that it means.
//!
//! Rows are the same, column for column, as `fleetctl` lists for the same cluster. The shapes are
//! those of fleet's `schema/v1.json`; fleetd leaves out what is empty, also whole lists, so that
//! `{}` is an empty page. This module is pure: it knows neither sockets nor HTTP, and no bytes can
//! make it panic.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::rows::{metadata, non_empty, printable};
use super::unit_file::{UnitOption, description, hash, is_global, requirements};
use crate::cluster::{Machine, MachineId, UnitFile, UnitName, UnitState};

/// A row of one of fleet's lists.
pub trait Row: Sized {
    /// The last part of the list's path.
    const PATH: &'static str;
    /// The member of the page that has the rows.
    const KEY: &'static str;
    /// The row as fleetd writes it.
    type Wire: DeserializeOwned + Into<Self>;
    /// What makes a row the same row in a later reading. Lists are sorted by it, as fleetctl sorts
    /// them.
    type Key: Ord;
    /// Whether a reading that may lack rows is better than none: a row that is not in it is not yet
    /// taken for gone.
    const MAY_LACK_ROWS: bool;

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
    Ok(Page {
        rows: raw.rows.into_iter().map(Into::into).collect(),
        next: raw.next.filter(|token| !token.is_empty()),
    })
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

/// Puts the pages of one list together, and tells when they do not fit.
///
/// fleetd reads its registry anew for each page, and a page is "rows 101 to 200 as of now". If a
/// row before the border between two pages appears while they are read, the last row of the one
/// page is also the first of the next: that can be seen. If such a row goes, the first row of the
/// next page moves to the page that was already read, and is lost: that cannot be seen in the
/// pages. But a reading that lost a row so always has another one, the one that went, which the
/// reading after it cannot have. Hence the rule: a reading of several pages is good if it has
/// **every row of the reading right before it**, good or not; if not, the list is read again. As
/// long as no row goes, that costs nothing; when one has gone, it costs a second reading, which
/// agrees. Reading each page twice would double every reading.
///
/// So every row that has been there since the reading before is in a good reading. A row that is
/// newer can still be lost at a border, and comes with the next reading: no row vanishes by that.
/// Only a row that comes and goes within one reading can hide what its going lost.
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
    /// Takes the pages of one reading and gives the whole list, sorted, or, if it has to be read
    /// again, what there is of it as the error. No row is there twice: the one that was read later
    /// counts.
    ///
    /// One page alone is always whole. The first reading of several pages has none before it, and
    /// is read again.
    pub fn collate(&mut self, pages: Vec<Vec<R>>) -> Result<Vec<R>, Vec<R>> {
        let whole = pages.len() <= 1;
        let count: usize = pages.iter().map(Vec::len).sum();
        let rows: BTreeMap<R::Key, R> =
            pages.into_iter().flatten().map(|row| (row.key(), row)).collect();
        let twice = rows.len() < count;
        let keys: BTreeSet<R::Key> = rows.values().map(R::key).collect();
        let good =
            whole || !twice && self.before.as_ref().is_some_and(|before| before.is_subset(&keys));
        self.before = (whole || !twice).then_some(keys);
        let rows = rows.into_values().collect();
        if good { Ok(rows) } else { Err(rows) }
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
                    // An empty object is an empty list; one that is full of other things is
                    // something else.
                    Some(member) if !known => {
                        Err(serde::de::Error::unknown_field(&member, &[R::KEY, "nextPageToken"]))
                    }
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

impl Row for UnitState {
    const PATH: &'static str = "state";
    const KEY: &'static str = "states";
    type Wire = State;
    type Key = (UnitName, Option<MachineId>);
    const MAY_LACK_ROWS: bool = true;

    fn key(&self) -> Self::Key {
        (self.unit.clone(), self.machine.clone())
    }
}

impl Row for Machine {
    const PATH: &'static str = "machines";
    const KEY: &'static str = "machines";
    type Wire = WireMachine;
    type Key = MachineId;
    const MAY_LACK_ROWS: bool = false;

    fn key(&self) -> Self::Key {
        self.id.clone()
    }
}

impl Row for UnitFile {
    const PATH: &'static str = "units";
    const KEY: &'static str = "units";
    type Wire = Unit;
    type Key = UnitName;
    const MAY_LACK_ROWS: bool = false;

    fn key(&self) -> Self::Key {
        self.unit.clone()
    }
}

impl From<State> for UnitState {
    fn from(state: State) -> Self {
        Self {
            unit: printable(&state.name),
            machine: non_empty(state.machine_id.as_deref()),
            ip: None,
            load: non_empty(state.systemd_load_state.as_deref()),
            active: non_empty(state.systemd_active_state.as_deref()),
            sub: non_empty(state.systemd_sub_state.as_deref()),
            hash: non_empty(state.hash.as_deref()),
        }
    }
}

impl From<WireMachine> for Machine {
    fn from(machine: WireMachine) -> Self {
        Self {
            id: printable(&machine.id),
            ip: non_empty(machine.primary_ip.as_deref()),
            metadata: metadata(&machine.metadata.unwrap_or_default()),
            version: None,
        }
    }
}

impl From<Unit> for UnitFile {
    fn from(unit: Unit) -> Self {
        let options = unit.options.unwrap_or_default();
        let target: Option<MachineId> = non_empty(unit.machine_id.as_deref());
        // Before 0.13 fleetd knew `true` alone, and gave a unit with `Global=yes` to one machine
        // like any other.
        let global = target.is_none() && is_global(&options);
        Self {
            unit: printable(&unit.name),
            hash: Some(hash(&options).into()),
            desired: non_empty(unit.desired_state.as_deref()),
            target,
            target_known: true,
            global,
            description: description(&options),
            requirements: requirements(&options),
            requirements_known: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builders;

    fn rows<R: Row>(body: &str) -> Vec<R> {
        page(body.as_bytes()).expect("a page").rows
    }

    fn file(options: &str) -> UnitFile {
        let body = format!(r#"{{"units":[{{"name":"a.service","options":[{options}]}}]}}"#);
        rows(&body).remove(0)
    }

    // The rows of these bodies are from fleetd v1.0.0.

    #[test]
    fn state_has_fleetctls_columns_and_no_address() {
        let body = r#"{"states":[{"hash":"a54d85379efe04d9b798936c1f3b9cffedff1b74","machineID":"3f1a8c5e9b2d4f60a7c1d2e3b4f50617","name":"with-dash\\x2descaped.service","systemdActiveState":"active","systemdLoadState":"loaded","systemdSubState":"running"}]}"#;
        let expected = UnitState {
            unit: r"with-dash\x2descaped.service".into(),
            machine: Some("3f1a8c5e9b2d4f60a7c1d2e3b4f50617".into()),
            ip: None,
            load: Some("loaded".into()),
            active: Some("active".into()),
            sub: Some("running".into()),
            hash: Some("a54d85379efe04d9b798936c1f3b9cffedff1b74".into()),
        };
        assert_eq!(rows::<UnitState>(body), [expected]);
    }

    #[test]
    fn metadata_is_sorted_pairs_whatever_they_contain() {
        let machines: Vec<Machine> = rows(
            r#"{"machines":[{"id":"7b05","metadata":{"region":"eu-west","":"noval","empty":"","expr":"a=b=c","tags":"a,b=c d"},"primaryIP":"172.17.8.104"},{"id":"d2e8","primaryIP":""}]}"#,
        );
        assert_eq!(
            machines[0].metadata.as_deref(),
            Some("=noval,empty=,expr=a=b=c,region=eu-west,tags=a,b=c d")
        );
        assert_eq!(machines[1], builders::machine("d2e8"));
    }

    #[test]
    fn hash_is_of_the_file_as_fleet_writes_it() {
        let one_section =
            r#"{"name":"ExecStart","section":"Service","value":"/bin/sleep infinity"}"#;
        assert_eq!(
            file(one_section).hash.as_deref(),
            Some("8385c9176f09a5ee3bbb88d45c6fc3f0b69d1f52")
        );
        let three_sections = r#"{"name":"Description","section":"Unit","value":"Web front end"},{"name":"ExecStart","section":"Service","value":"/bin/sleep infinity"},{"name":"MachineMetadata","section":"X-Fleet","value":"role=web"}"#;
        assert_eq!(
            file(three_sections).hash.as_deref(),
            Some("a54d85379efe04d9b798936c1f3b9cffedff1b74")
        );
        let scattered = r#"{"name":"MachineMetadata","section":"X-Fleet","value":"role=db"},{"name":"ExecStart","section":"Service","value":"x"},{"name":"Conflicts","section":"X-Fleet"}"#;
        // As fleet writes it: [X-Fleet], its two options, an empty line, [Service].
        assert_eq!(
            file(scattered).hash.as_deref(),
            Some("d1426f68b075873cf1ee5f57989defcf393a3251")
        );
    }

    #[test]
    fn description_is_the_first_on_one_line() {
        let described = |options| file(options).description;
        assert_eq!(described(""), None);
        assert_eq!(described(r#"{"name":"Description","section":"Unit"}"#), None);
        assert_eq!(described(r#"{"name":"Description","section":"Service","value":"x"}"#), None);
        let two = r#"{"name":"Description","section":"Unit","value":"one"},{"name":"Description","section":"Unit","value":"two"}"#;
        assert_eq!(described(two).as_deref(), Some("one"));
        let continued =
            r#"{"name":"Description","section":"Unit","value":"first line \\\n  second line"}"#;
        assert_eq!(described(continued).as_deref(), Some("first line  second line"));
    }

    #[test]
    fn last_truthy_global_counts() {
        let global = |value: &str| {
            file(&format!(r#"{{"name":"Global","section":"X-Fleet","value":{value:?}}}"#)).global
        };
        for value in ["true", "TRUE", "yes", "1", "on", "t", "\"true\""] {
            assert!(global(value), "{value}");
        }
        for value in ["", "false", "no", "0", "off", "y"] {
            assert!(!global(value), "{value}");
        }
        assert!(!file(r#"{"name":"Global","section":"X-Fleet","value":"true"},{"name":"Global","section":"X-Fleet","value":"no"}"#).global);
        assert!(!file(r#"{"name":"Global","section":"Service","value":"true"}"#).global);
        let scheduled = r#"{"units":[{"name":"a.service","machineID":"1","options":[{"name":"Global","section":"X-Fleet","value":"yes"}]}]}"#;
        let scheduled: UnitFile = rows(scheduled).remove(0);
        assert_eq!((scheduled.global, scheduled.target), (false, Some("1".into())));
    }

    #[test]
    fn requirements_are_those_that_fleet_heeds() {
        let options = r#"{"name":"Description","section":"Unit","value":"x"},{"name":"Global","section":"X-Fleet","value":"true"},{"name":"MachineMetadata","section":"X-Fleet","value":"\"region=us-west\" \"region=us-east\""},{"name":"X-ConditionMachineOf","section":"X-Fleet","value":"web.service"},{"name":"machineof","section":"X-Fleet","value":"web.service"},{"name":"Conflicts","section":"Unit","value":"b.service"}"#;
        let requirements: Vec<String> =
            file(options).requirements.iter().map(ToString::to_string).collect();
        let expected = [
            "MachineMetadata=\"region=us-west\" \"region=us-east\"",
            "X-ConditionMachineOf=web.service",
        ];
        assert_eq!(requirements, expected);
    }

    #[test]
    fn no_value_brings_a_control_character_into_a_row() {
        let unit = r#"{"units":[{"name":"a\u001b[31m.service","desiredState":"x\n","machineID":"m\u0000","options":[{"name":"Description","section":"Unit","value":"a\u0007b"},{"name":"Conflicts","section":"X-Fleet","value":"b\r"}]}]}"#;
        let file: UnitFile = rows(unit).remove(0);
        assert_eq!(
            (&*file.unit, file.desired.as_deref()),
            ("a\u{fffd}[31m.service", Some("x\u{fffd}"))
        );
        assert_eq!(
            (file.target.as_deref(), file.description.as_deref()),
            (Some("m\u{fffd}"), Some("a\u{fffd}b"))
        );
        assert_eq!(&*file.requirements[0], "Conflicts=b\u{fffd}");

        let state = r#"{"states":[{"name":"a\n.service","hash":"\u007f","machineID":"m\r","systemdSubState":"x\u009b"}]}"#;
        let state: UnitState = rows(state).remove(0);
        assert_eq!(
            (&*state.unit, state.machine.as_deref()),
            ("a\u{fffd}.service", Some("m\u{fffd}"))
        );
        assert_eq!(
            (state.hash.as_deref(), state.sub.as_deref()),
            (Some("\u{fffd}"), Some("x\u{fffd}"))
        );

        let machine = r#"{"machines":[{"id":"m\n","primaryIP":"\u001b","metadata":{"rack":"7\tleft,\nright"}}]}"#;
        let machine: Machine = rows(machine).remove(0);
        assert_eq!((&*machine.id, machine.ip.as_deref()), ("m\u{fffd}", Some("\u{fffd}")));
        assert_eq!(machine.metadata.as_deref(), Some("rack=7\tleft,\u{fffd}right"));
    }

    #[test]
    fn missing_or_null_list_is_an_empty_one() {
        for body in [
            "{}",
            r#"{"machines":null}"#,
            r#"{"machines":[]}"#,
            r#"{"machines":[],"kind":"x","nextPageToken":""}"#,
        ] {
            assert_eq!(
                page::<Machine>(body.as_bytes()).expect(body),
                Page { rows: Vec::new(), next: None },
                "{body}"
            );
        }
    }

    #[test]
    fn other_json_is_not_taken_for_an_empty_list() {
        for body in [
            "null",
            "[]",
            "7",
            r#"{"action":"get","node":{}}"#,
            r#"{"machines":[{}]}"#,
            r#"{"machines":{}}"#,
            r#"{"error":{}}"#,
        ] {
            assert!(
                matches!(page::<Machine>(body.as_bytes()), Err(WireError::NotFleet(_))),
                "{body}"
            );
        }
        for body in ["", "<html>", "{", r#"{"machines":["#, "{}{}"] {
            assert!(matches!(page::<Machine>(body.as_bytes()), Err(WireError::NotJson)), "{body}");
        }
    }

    #[test]
    fn error_body_has_a_message_that_may_be_empty() {
        assert_eq!(error_message(br#"{"error":{"code":500,"message":""}}"#).as_deref(), Some(""));
        assert_eq!(
            error_message(br#"{"error":{"code":400,"message":"token limit must be 100"}}"#)
                .as_deref(),
            Some("token limit must be 100")
        );
        assert_eq!(error_message(b"404 page not found"), None);
    }

    fn machines(ids: &[u16]) -> Vec<Machine> {
        ids.iter().map(|id| builders::machine(&format!("{id:05}"))).collect()
    }

    fn ids(rows: &[Machine]) -> Vec<u16> {
        rows.iter()
            .map(|row| row.id.parse().expect("an ID made by machines()"))
            .collect()
    }

    fn collated(collation: &mut Collation<Machine>, pages: &[&[u16]]) -> Option<Vec<u16>> {
        collation
            .collate(pages.iter().map(|page| machines(page)).collect())
            .ok()
            .map(|rows| ids(&rows))
    }

    #[test]
    fn one_page_is_whole() {
        let mut collation = Collation::default();
        assert_eq!(collated(&mut collation, &[&[3, 1, 2]]), Some(vec![1, 2, 3]));
        assert_eq!(collated(&mut collation, &[&[2]]), Some(vec![2]));
        assert_eq!(collated(&mut collation, &[]), Some(vec![]));
    }

    #[test]
    fn several_pages_need_every_row_of_the_reading_before() {
        let mut collation = Collation::default();
        assert_eq!(collated(&mut collation, &[&[1, 2], &[3, 4]]), None, "nothing to compare with");
        assert_eq!(collated(&mut collation, &[&[1, 2], &[3, 4]]), Some(vec![1, 2, 3, 4]));
        assert_eq!(
            collated(&mut collation, &[&[1, 2], &[3, 4], &[5]]),
            Some(vec![1, 2, 3, 4, 5]),
            "5 has come"
        );
        assert_eq!(
            collated(&mut collation, &[&[1, 2], &[4, 5]]),
            None,
            "1 went after the first page, 3 was lost"
        );
        assert_eq!(collated(&mut collation, &[&[2, 3], &[4, 5]]), None, "1 went");
        assert_eq!(collated(&mut collation, &[&[2, 3], &[4, 5]]), Some(vec![2, 3, 4, 5]));
        assert_eq!(collated(&mut collation, &[&[2, 3], &[3, 4], &[5]]), None, "3 is there twice");
        assert_eq!(
            collated(&mut collation, &[&[1, 2], &[3, 4], &[5]]),
            None,
            "what has a row twice proves nothing"
        );
        assert_eq!(collated(&mut collation, &[&[1, 2], &[3, 4], &[5]]), Some(vec![1, 2, 3, 4, 5]));
    }

    #[test]
    fn torn_list_is_what_was_read_last_of_each_row() {
        let machine = |id: &str, ip: &str| Machine { ip: Some(ip.into()), ..builders::machine(id) };
        let pages = vec![
            vec![machine("1", "a"), machine("3", "a")],
            vec![machine("3", "b"), machine("2", "b")],
        ];
        let expected = vec![machine("1", "a"), machine("2", "b"), machine("3", "b")];
        assert_eq!(Collation::default().collate(pages), Err(expected));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = (page::<UnitState>(&body), page::<Machine>(&body), page::<UnitFile>(&body), error_message(&body));
        }

        #[test]
        fn no_text_in_a_unit_file_makes_it_panic(section: String, name: String, value: String) {
            let option = UnitOption { section, name, value };
            let _ = UnitFile::from(Unit { name: String::new(), desired_state: None, machine_id: None, options: Some(vec![option]) });
        }

        /// Rows come and go (for good) before any page; what is accepted has every row that has
        /// been there since the reading before.
        #[test]
        fn accepted_list_has_every_row_since_the_reading_before(
            first in prop::collection::btree_set(0u16..200, 0..30),
            changes in prop::collection::vec(prop::option::weighted(0.4, (any::<bool>(), 0u16..200)), 1..200),
        ) {
            const PAGE: usize = 4;
            let (mut registry, mut known, mut lasting) = (first.clone(), first.clone(), first);
            let mut changes = changes.into_iter();
            let mut collation = Collation::default();
            'readings: loop {
                let mut at_start = registry.clone();
                let mut young = BTreeSet::new();
                let mut pages = Vec::new();
                loop {
                    let all: Vec<u16> = registry.iter().copied().collect();
                    let here = all.chunks(PAGE).nth(pages.len()).unwrap_or_default();
                    pages.push(machines(here));
                    let last = here.len() < PAGE;
                    match changes.next() {
                        None => break 'readings,
                        Some(Some((true, row))) if known.insert(row) => {
                            registry.insert(row);
                            young.insert(row);
                        }
                        Some(Some((false, row))) if !young.contains(&row) => {
                            registry.remove(&row);
                            lasting.remove(&row);
                            at_start.remove(&row);
                        }
                        _ => {}
                    }
                    if last {
                        break;
                    }
                }
                if let Ok(rows) = collation.collate(pages) {
                    let ids: BTreeSet<u16> = ids(&rows).into_iter().collect();
                    prop_assert_eq!(ids.len(), rows.len());
                    prop_assert!(lasting.is_subset(&ids), "{:?} lack some of {:?}", ids, lasting);
                }
                lasting = at_start;
            }
        }
    }
}
