//! The public JSON, exactly as `docs/protocol.md` writes it down.
//!
//! This module turns a view into text. It does not know who gets it or when.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::fields::{MachineField, UnitField};
use super::{Publication, SourceInfo};
use crate::cluster::{FleetList, Health, MachineId, Member, Moment, Text, Transition, Unit, View};

/// What stands for an empty column, as fleetctl prints it.
const EMPTY: &str = "-";

/// How many characters of a reason are told where space is short: in a header it is there up to
/// four times, in ASCII.
const SHORT_REASON: usize = 200;

/// A list of the first protocol, written as its rows are made.
#[derive(Serialize)]
struct List<I> {
    r#type: &'static str,
    fields: Vec<&'static str>,
    items: I,
}

/// An array whose elements are made while it is written.
struct Array<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Array<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// The unit list of the first protocol: only rows that fleet's own list has, or should have.
pub fn units(view: &View, fields: &[UnitField]) -> Vec<u8> {
    let ips: HashMap<&MachineId, &Text> = view
        .machines
        .iter()
        .filter_map(|member| Some((&member.machine.id, member.machine.ip.as_ref()?)))
        .collect();
    let listed: Vec<&Arc<Unit>> = view.units.iter().filter(|unit| unit.listed).collect();
    let rows = listed
        .iter()
        .map(|unit| Array(fields.iter().map(|field| unit_cell(unit, *field, &ips))));
    to_json(&List {
        r#type: "unit",
        fields: fields.iter().map(|field| field.name()).collect(),
        items: Array(rows),
    })
}

/// The machine list of the first protocol: only machines that are in the cluster.
pub fn machines(view: &View, fields: &[MachineField]) -> Vec<u8> {
    let present = view.machines.iter().filter(|member| member.lost_since.is_none());
    let rows = present.map(|member| Array(fields.iter().map(|field| machine_cell(member, *field))));
    to_json(&List {
        r#type: "machine",
        fields: fields.iter().map(|field| field.name()).collect(),
        items: Array(rows),
    })
}

/// A row of the unit list as it is in it, but for the addresses of targets; none where it is not in
/// it.
pub(super) fn unit_row<'a>(unit: &'a Unit, fields: &[UnitField]) -> Option<Vec<Cow<'a, str>>> {
    let ips = HashMap::new();
    unit.listed
        .then(|| fields.iter().map(|field| unit_cell(unit, *field, &ips)).collect())
}

/// A row of the machine list as it is in it; none where it is not in it.
pub(super) fn machine_row<'a>(
    member: &'a Member,
    fields: &[MachineField],
) -> Option<Vec<Cow<'a, str>>> {
    member
        .lost_since
        .is_none()
        .then(|| fields.iter().map(|field| machine_cell(member, *field)).collect())
}

fn unit_cell<'a>(
    unit: &'a Unit,
    field: UnitField,
    ips: &HashMap<&MachineId, &Text>,
) -> Cow<'a, str> {
    let file = unit.file.as_deref();
    match field {
        UnitField::Unit => Cow::Borrowed(&unit.state.unit),
        UnitField::Load => text(unit.state.load.as_ref()),
        UnitField::Active => text(unit.state.active.as_ref()),
        UnitField::Sub => text(unit.state.sub.as_ref()),
        UnitField::Machine => place(unit.state.machine.as_ref(), unit.state.ip.as_ref()),
        UnitField::Hash => text(unit.state.hash.as_ref()),
        UnitField::DesiredState => text(file.and_then(|file| file.desired.as_ref())),
        UnitField::Target if file.is_some_and(|file| file.global) => "global".into(),
        UnitField::Target => {
            let target = file.and_then(|file| file.target.as_ref());
            place(target, target.and_then(|target| ips.get(target).copied()))
        }
        UnitField::Global => file
            .map_or(EMPTY, |file| if file.global { "true" } else { "false" })
            .into(),
        UnitField::Description => text(file.and_then(|file| file.description.as_ref())),
        UnitField::Verdict => unit.verdict.name().into(),
    }
}

fn machine_cell(member: &Member, field: MachineField) -> Cow<'_, str> {
    match field {
        MachineField::Machine => Cow::Borrowed(&member.machine.id),
        MachineField::Ip => text(member.machine.ip.as_ref()),
        MachineField::Metadata => text(member.machine.metadata.as_ref()),
    }
}

/// `ID/IP`, as fleetctl prints a machine; the ID alone where the machine is not in the cluster.
fn place<'a>(machine: Option<&'a MachineId>, ip: Option<&Text>) -> Cow<'a, str> {
    match (machine, ip) {
        (Some(machine), Some(ip)) => Cow::Owned([machine, "/", ip].concat()),
        (Some(machine), None) => Cow::Borrowed(machine),
        (None, _) => Cow::Borrowed(EMPTY),
    }
}

fn text(text: Option<&Text>) -> Cow<'_, str> {
    Cow::Borrowed(text.map_or(EMPTY, |text| text))
}

/// The part of `/v2/state` that changes with the revision alone, after its [`head`].
pub fn content(publication: &Publication) -> Bytes {
    #[derive(Serialize)]
    struct Content<'a> {
        units: Vec<UnitRow<'a>>,
        machines: Vec<MachineRow<'a>>,
        transitions: Vec<TransitionRow<'a>>,
    }
    let view = &publication.view;
    let content = to_json(&Content {
        units: view.units.iter().map(|unit| UnitRow::from(unit.as_ref())).collect(),
        machines: view
            .machines
            .iter()
            .map(|member| MachineRow::from(member.as_ref()))
            .collect(),
        transitions: publication
            .history
            .iter()
            .rev()
            .map(|transition| TransitionRow::from(transition.as_ref()))
            .collect(),
    });
    Bytes::from(content).slice(1..)
}

/// `/v2/state` up to its [`content`].
pub fn head(publication: &Publication, clients: usize, now: Moment) -> Bytes {
    #[derive(Serialize)]
    struct Head<'a> {
        epoch: &'a str,
        revision: u64,
        #[serde(serialize_with = "milliseconds")]
        time: SystemTime,
        software: Software,
        health: HealthRow<'a>,
    }
    let mut head = to_json(&Head {
        epoch: &publication.epoch,
        revision: publication.revision,
        time: now.wall,
        software: Software::THIS,
        health: HealthRow::new(&publication.health, &publication.source, Some(clients), now),
    });
    head.pop();
    head.push(b',');
    head.into()
}

/// The program.
#[derive(Serialize)]
pub(super) struct Software {
    name: &'static str,
    version: &'static str,
}

impl Software {
    pub(super) const THIS: Self = Self {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
    };
}

/// The health alone, with short reasons.
pub fn health(publication: &Publication, clients: usize, now: Moment) -> Vec<u8> {
    let mut row = HealthRow::new(&publication.health, &publication.source, Some(clients), now);
    let TopicRows { units, machines, unit_files } = &mut row.topics;
    let reasons =
        [&mut row.reason, &mut units.reason, &mut machines.reason, &mut unit_files.reason];
    for reason in reasons.into_iter().flatten() {
        if let Some((end, _)) = reason.char_indices().nth(SHORT_REASON) {
            *reason = Cow::Owned(reason[..end].to_owned());
        }
    }
    to_json(&row)
}

#[derive(Serialize)]
pub(super) struct HealthRow<'a> {
    source: &'a str,
    recording: bool,
    state: &'static str,
    #[serde(serialize_with = "some_milliseconds", skip_serializing_if = "Option::is_none")]
    since: Option<SystemTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    #[serde(serialize_with = "milliseconds")]
    time: SystemTime,
    topics: TopicRows<'a>,
    held_back: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<usize>,
}

#[derive(Serialize)]
struct TopicRows<'a> {
    units: TopicRow<'a>,
    machines: TopicRow<'a>,
    unit_files: TopicRow<'a>,
}

#[derive(Serialize)]
struct TopicRow<'a> {
    /// Seconds since it was last read with success.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<f64>,
    /// Seconds since its reading began to fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_for: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
}

impl<'a> HealthRow<'a> {
    pub(super) fn new(
        health: &'a Health,
        source: &'a SourceInfo,
        clients: Option<usize>,
        now: Moment,
    ) -> Self {
        let topic = |topic: FleetList| {
            let topic = health.list(topic);
            let failure = topic.failure.as_ref();
            TopicRow {
                age: topic.read.map(|read| seconds(read.age(now))),
                failing_for: failure.map(|failure| seconds(failure.since.age(now))),
                reason: failure.map(|failure| Cow::Borrowed(&*failure.reason)),
            }
        };
        let (state, since, reason) = if let Some(failure) = health.failure() {
            ("failing", Some(failure.since.wall), Some(Cow::Borrowed(&*failure.reason)))
        } else if let Some(overdue) = health.overdue(now) {
            ("overdue", Some(overdue.since), Some(Cow::Owned(overdue.to_string())))
        } else if let Some(since) = health.suspect_since {
            ("suspect", Some(since), None)
        } else if !health.ready() {
            ("starting", None, None)
        } else if source.ended {
            ("ended", None, None)
        } else {
            ("ok", None, None)
        };
        HealthRow {
            source: &source.name,
            recording: source.recording,
            state,
            since,
            reason,
            time: now.wall,
            topics: TopicRows {
                units: topic(FleetList::Units),
                machines: topic(FleetList::Machines),
                unit_files: topic(FleetList::UnitFiles),
            },
            held_back: health.held_back,
            clients,
        }
    }
}

#[derive(Serialize)]
pub(super) struct UnitRow<'a> {
    unit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<&'a MachineId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<&'a Text>,
    listed: bool,
    #[serde(serialize_with = "some_milliseconds", skip_serializing_if = "Option::is_none")]
    stale_since: Option<SystemTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    desired: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a MachineId>,
    global: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_hash: Option<&'a Text>,
    #[serde(skip_serializing_if = "<[Text]>::is_empty")]
    requirements: &'a [Text],
    verdict: &'static str,
    reason: &'a str,
    #[serde(serialize_with = "milliseconds")]
    verdict_since: SystemTime,
    verdict_since_seen: bool,
    #[serde(serialize_with = "milliseconds")]
    since: SystemTime,
    since_seen: bool,
}

impl<'a> From<&'a Unit> for UnitRow<'a> {
    fn from(unit: &'a Unit) -> Self {
        let file = unit.file.as_deref();
        Self {
            unit: &unit.state.unit,
            machine: unit.state.machine.as_ref(),
            ip: unit.state.ip.as_ref(),
            load: unit.state.load.as_ref(),
            active: unit.state.active.as_ref(),
            sub: unit.state.sub.as_ref(),
            hash: unit.state.hash.as_ref(),
            listed: unit.listed,
            stale_since: unit.stale_since,
            desired: file.and_then(|file| file.desired.as_ref()),
            target: file.and_then(|file| file.target.as_ref()),
            global: file.is_some_and(|file| file.global),
            description: file.and_then(|file| file.description.as_ref()),
            file_hash: file.and_then(|file| file.hash.as_ref()),
            requirements: file.map_or(&[], |file| &file.requirements),
            verdict: unit.verdict.name(),
            reason: &unit.reason,
            verdict_since: unit.verdict_since,
            verdict_since_seen: unit.verdict_since_seen,
            since: unit.since,
            since_seen: unit.since_seen,
        }
    }
}

#[derive(Serialize)]
pub(super) struct MachineRow<'a> {
    machine: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a Text>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    leader: bool,
    #[serde(serialize_with = "some_milliseconds", skip_serializing_if = "Option::is_none")]
    silent_since: Option<SystemTime>,
    #[serde(serialize_with = "some_milliseconds", skip_serializing_if = "Option::is_none")]
    lost_since: Option<SystemTime>,
    #[serde(serialize_with = "milliseconds")]
    since: SystemTime,
    since_seen: bool,
}

impl<'a> From<&'a Member> for MachineRow<'a> {
    fn from(member: &'a Member) -> Self {
        Self {
            machine: &member.machine.id,
            ip: member.machine.ip.as_ref(),
            metadata: member.machine.metadata.as_ref(),
            version: member.machine.version.as_ref(),
            leader: member.leads,
            silent_since: member.silent_since,
            lost_since: member.lost_since,
            since: member.since,
            since_seen: member.since_seen,
        }
    }
}

#[derive(Serialize)]
pub(super) struct TransitionRow<'a> {
    number: u64,
    #[serde(serialize_with = "milliseconds")]
    time: SystemTime,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<&'a MachineId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    severity: &'static str,
    text: String,
}

impl<'a> From<&'a Transition> for TransitionRow<'a> {
    fn from(transition: &'a Transition) -> Self {
        let event = &transition.event;
        Self {
            number: transition.number,
            time: transition.time,
            event: event.name(),
            unit: event.place().map(|place| &*place.unit),
            machine: event.machine(),
            ip: event.ip(),
            from: event.from(),
            to: event.to(),
            reason: event.reason(),
            severity: event.severity().name(),
            text: event.to_string(),
        }
    }
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

fn milliseconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    serializer.serialize_u64(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn some_milliseconds<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}

pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    // Only a map with keys that are no strings, or a failing writer, makes serde_json fail: neither
    // is here.
    serde_json::to_vec(value).expect("the public messages are plain structs")
}
