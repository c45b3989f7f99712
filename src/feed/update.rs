//! The messages of the second protocol, exactly as `docs/protocol.md` writes them down.

use bytes::Bytes;
use serde::Serialize;

use super::message::{HealthRow, MachineRow, Software, TransitionRow, UnitRow, to_json};
use super::subscription::{Filter, Subscription, Topic};
use super::{Publication, SourceInfo};
use crate::cluster::{Change, Health, MachineId, Member, Moment, Transition, Unit};

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Update<'a> {
    Hello {
        revision: u64,
        epoch: &'a str,
        software: Software,
        source: &'a str,
        recording: bool,
        topics: Vec<&'static str>,
        #[serde(skip_serializing_if = "String::is_empty")]
        filter: String,
    },
    Resync {
        revision: u64,
        reason: &'a str,
    },
    Event {
        revision: u64,
        #[serde(flatten)]
        transition: TransitionRow<'a>,
    },
    Status {
        revision: u64,
        health: HealthRow<'a>,
    },
}

fn message(update: &Update) -> Bytes {
    to_json(update).into()
}

/// What a session begins with.
pub(super) fn hello(publication: &Publication, subscription: &Subscription) -> Bytes {
    message(&Update::Hello {
        revision: publication.revision,
        epoch: &publication.epoch,
        software: Software::THIS,
        source: &publication.source.name,
        recording: publication.source.recording,
        topics: subscription.topics.iter().map(|topic| topic.name()).collect(),
        filter: subscription.filter.to_string(),
    })
}

/// What a client knows is to be forgotten: snapshots follow.
pub(super) fn resync(revision: u64, reason: &str) -> Bytes {
    message(&Update::Resync { revision, reason })
}

/// Something happened.
pub(super) fn event(revision: u64, transition: &Transition) -> Bytes {
    message(&Update::Event { revision, transition: transition.into() })
}

/// The state of the source.
pub(super) fn status(revision: u64, health: &Health, source: &SourceInfo, now: Moment) -> Bytes {
    message(&Update::Status { revision, health: HealthRow::new(health, source, None, now) })
}

/// All of a topic that passes the filter.
pub(super) fn snapshot(publication: &Publication, topic: Topic, filter: &Filter) -> Bytes {
    #[derive(Serialize)]
    struct Snapshot<R> {
        r#type: &'static str,
        topic: &'static str,
        revision: u64,
        rows: Vec<R>,
    }
    fn message<R: Serialize>(topic: Topic, revision: u64, rows: impl Iterator<Item = R>) -> Bytes {
        to_json(&Snapshot {
            r#type: "snapshot",
            topic: topic.name(),
            revision,
            rows: rows.collect(),
        })
        .into()
    }
    let revision = publication.revision;
    match topic {
        Topic::Units => {
            let units = publication.view.units.iter().map(|unit| &**unit);
            message(topic, revision, units.filter(|unit| filter.unit(unit)).map(UnitRow::from))
        }
        Topic::Machines => {
            let members = publication.view.machines.iter().map(|member| &**member);
            message(
                topic,
                revision,
                members.filter(|member| filter.machine(member)).map(MachineRow::from),
            )
        }
        Topic::Events => {
            let transitions = publication.history.iter().map(|transition| &**transition);
            let passing = transitions.filter(|transition| filter.event(&transition.event));
            message(topic, revision, passing.map(TransitionRow::from))
        }
    }
}

/// What changed of the units, for those to whom only such are there that `shown` selects.
pub(super) fn units(
    revision: u64,
    changes: &[Change<Unit>],
    shown: impl Fn(&Unit) -> bool,
) -> Bytes {
    delta::<_, UnitRow, UnitKey>(Topic::Units, revision, changes, shown)
}

/// What changed of the machines, likewise.
pub(super) fn machines(
    revision: u64,
    changes: &[Change<Member>],
    shown: impl Fn(&Member) -> bool,
) -> Bytes {
    delta::<_, MachineRow, MachineKey>(Topic::Machines, revision, changes, shown)
}

#[derive(Serialize)]
struct UnitKey<'a> {
    unit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<&'a MachineId>,
}

impl<'a> From<&'a Unit> for UnitKey<'a> {
    fn from(unit: &'a Unit) -> Self {
        Self { unit: &unit.state.unit, machine: unit.state.machine.as_ref() }
    }
}

#[derive(Serialize)]
struct MachineKey<'a> {
    machine: &'a str,
}

impl<'a> From<&'a Member> for MachineKey<'a> {
    fn from(member: &'a Member) -> Self {
        Self { machine: &member.machine.id }
    }
}

fn delta<'a, T, R, K>(
    topic: Topic,
    revision: u64,
    changes: &'a [Change<T>],
    shown: impl Fn(&T) -> bool,
) -> Bytes
where
    R: Serialize + From<&'a T>,
    K: Serialize + From<&'a T>,
{
    #[derive(Serialize)]
    struct Delta<R, K> {
        r#type: &'static str,
        topic: &'static str,
        revision: u64,
        upsert: Vec<R>,
        remove: Vec<K>,
    }
    let (mut upsert, mut remove) = (vec![], vec![]);
    for Change { before, after } in changes {
        match (
            before.as_deref().filter(|row| shown(row)),
            after.as_deref().filter(|row| shown(row)),
        ) {
            (_, Some(after)) => upsert.push(R::from(after)),
            (Some(before), None) => remove.push(K::from(before)),
            (None, None) => {}
        }
    }
    let delta = Delta {
        r#type: "delta",
        topic: topic.name(),
        revision,
        upsert,
        remove,
    };
    to_json(&delta).into()
}
