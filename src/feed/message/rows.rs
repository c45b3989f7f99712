//! One row of the cluster, and one event, as `/v2/state` and the second protocol send them.
//!
//! It does not know which rows are sent, nor in what kind of message.

use std::time::SystemTime;

use serde::Serialize;

use crate::cluster::{MachineId, Member, Text, Transition, Unit, UnitName};

/// What identifies the row of a unit.
#[derive(Serialize)]
pub(in crate::feed) struct UnitKeyJson<'a> {
    pub(in crate::feed) unit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::feed) machine: Option<&'a MachineId>,
}

impl<'a> From<&'a Unit> for UnitKeyJson<'a> {
    fn from(unit: &'a Unit) -> Self {
        Self { unit: &unit.state.unit, machine: unit.state.machine.as_ref() }
    }
}

/// A unit on a machine, or on none.
#[derive(Serialize)]
pub(in crate::feed) struct UnitJson<'a> {
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
    #[serde(
        serialize_with = "super::some_milliseconds",
        skip_serializing_if = "Option::is_none"
    )]
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
    #[serde(serialize_with = "super::milliseconds")]
    verdict_since: SystemTime,
    verdict_since_seen: bool,
    #[serde(serialize_with = "super::milliseconds")]
    since: SystemTime,
    since_seen: bool,
}

impl<'a> From<&'a Unit> for UnitJson<'a> {
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

/// A machine, as `docs/protocol.md` documents it.
#[derive(Serialize)]
pub(in crate::feed) struct MachineJson<'a> {
    machine: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a Text>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    leader: bool,
    #[serde(
        serialize_with = "super::some_milliseconds",
        skip_serializing_if = "Option::is_none"
    )]
    silent_since: Option<SystemTime>,
    #[serde(
        serialize_with = "super::some_milliseconds",
        skip_serializing_if = "Option::is_none"
    )]
    lost_since: Option<SystemTime>,
    #[serde(skip_serializing_if = "<[UnitName]>::is_empty")]
    ran: &'a [UnitName],
    #[serde(serialize_with = "super::milliseconds")]
    since: SystemTime,
    since_seen: bool,
}

impl<'a> From<&'a Member> for MachineJson<'a> {
    fn from(member: &'a Member) -> Self {
        Self {
            machine: &member.machine.id,
            ip: member.machine.ip.as_ref(),
            metadata: member.machine.metadata.as_ref(),
            version: member.machine.version.as_ref(),
            leader: member.leads,
            silent_since: member.silent_since,
            lost_since: member.lost_since,
            ran: &member.ran,
            since: member.since,
            since_seen: member.since_seen,
        }
    }
}

/// Something that has happened.
#[derive(Serialize)]
pub(in crate::feed) struct EventJson<'a> {
    number: u64,
    #[serde(serialize_with = "super::milliseconds")]
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

impl<'a> From<&'a Transition> for EventJson<'a> {
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
