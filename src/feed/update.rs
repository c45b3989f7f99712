//! The messages of the second protocol, as `docs/protocol.md` defines them.
//!
//! It does not know which client gets a message, nor how it is framed.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::filter::Filter;
use super::message::{
    EventJson, HealthJson, MachineJson, ProblemJson, SoftwareJson, UnitJson, UnitKeyJson, to_json,
};
use super::previous_run::MissedChanges;
use super::subscription::{Subscription, Topic};
use super::{Publication, SourceInfo};
use crate::cluster::{Change, Health, MachineId, Member, Moment, RowKey, Text, Transition, Unit};
use crate::problems::Problem;

/// The revision of messages for a client of the program that ran before, until it has all of them.
/// It cannot resume from there.
pub(super) const BEFORE_RESUMED: u64 = 0;

/// The messages that are not about a topic's rows.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum MessageJson<'a> {
    Hello {
        revision: u64,
        epoch: &'a str,
        software: SoftwareJson,
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
        event: EventJson<'a>,
    },
    Status {
        revision: u64,
        health: HealthJson<'a>,
    },
}

#[derive(Serialize)]
struct SnapshotJson<R> {
    r#type: &'static str,
    topic: &'static str,
    revision: u64,
    rows: Vec<R>,
}

#[derive(Serialize)]
struct DeltaJson<R, K> {
    r#type: &'static str,
    topic: &'static str,
    revision: u64,
    upsert: Vec<R>,
    remove: Vec<K>,
}

/// What identifies the row of a machine.
#[derive(Serialize)]
struct MachineKeyJson<'a> {
    machine: &'a str,
}

/// What identifies a problem.
#[derive(Serialize)]
struct ProblemKeyJson<'a> {
    id: &'a str,
}

impl<'a> From<&'a Member> for MachineKeyJson<'a> {
    fn from(member: &'a Member) -> Self {
        Self { machine: &member.machine.id }
    }
}

impl<'a> From<&'a Problem> for ProblemKeyJson<'a> {
    fn from(problem: &'a Problem) -> Self {
        Self { id: &problem.id }
    }
}

/// The first message of a connection.
pub(super) fn hello(publication: &Publication, subscription: &Subscription) -> Bytes {
    encode(&MessageJson::Hello {
        revision: publication.revision,
        epoch: &publication.epoch,
        software: SoftwareJson::THIS,
        source: &publication.source.name,
        recording: publication.source.recording,
        topics: subscription.topics.iter().map(|topic| topic.name()).collect(),
        filter: subscription.filter.to_string(),
    })
}

/// Announces snapshots that replace everything the client has.
pub(super) fn resync(revision: u64, reason: &str) -> Bytes {
    encode(&MessageJson::Resync { revision, reason })
}

/// The message for something that happened.
pub(super) fn event(revision: u64, transition: &Transition) -> Bytes {
    encode(&MessageJson::Event { revision, event: transition.into() })
}

/// The state of the source.
pub(super) fn status(revision: u64, health: &Health, source: &SourceInfo, now: Moment) -> Bytes {
    encode(&MessageJson::Status { revision, health: HealthJson::new(health, source, None, now) })
}

fn encode(message: &MessageJson) -> Bytes {
    to_json(message).into()
}

/// All rows of a topic that pass the filter.
pub(super) fn snapshot(publication: &Publication, topic: Topic, filter: &Filter) -> Bytes {
    let revision = publication.revision;

    match topic {
        Topic::Units => {
            let units = publication.view.units.iter().map(|unit| &**unit);
            let passing = units.filter(|unit| filter.unit(unit));
            encode_snapshot(topic, revision, passing.map(UnitJson::from))
        }
        Topic::Machines => {
            let members = publication.view.machines.iter().map(|member| &**member);
            let passing = members.filter(|member| filter.machine(member));
            encode_snapshot(topic, revision, passing.map(MachineJson::from))
        }
        Topic::Problems => {
            let problems = publication.problems.iter().map(|problem| &**problem);
            let passing = problems.filter(|problem| filter.problem(problem));
            encode_snapshot(topic, revision, passing.map(ProblemJson::from))
        }
        Topic::Events => {
            let transitions = publication.transitions.iter().map(|transition| &**transition);
            let passing = transitions.filter(|transition| filter.event(&transition.event));
            encode_snapshot(topic, revision, passing.map(EventJson::from))
        }
    }
}

fn encode_snapshot<R: Serialize>(
    topic: Topic,
    revision: u64,
    rows: impl Iterator<Item = R>,
) -> Bytes {
    let snapshot = SnapshotJson {
        r#type: "snapshot",
        topic: topic.name(),
        revision,
        rows: rows.collect(),
    };

    to_json(&snapshot).into()
}

/// The changes of units, for clients that have only the rows for which `passes` is true.
pub(super) fn unit_delta(
    revision: u64,
    changes: &[Change<Unit>],
    passes: impl Fn(&Unit) -> bool,
) -> Bytes {
    encode_delta::<_, UnitJson, UnitKeyJson>(Topic::Units, revision, changes, passes)
}

/// The changes of machines, for clients that have only the rows for which `passes` is true.
pub(super) fn machine_delta(
    revision: u64,
    changes: &[Change<Member>],
    passes: impl Fn(&Member) -> bool,
) -> Bytes {
    encode_delta::<_, MachineJson, MachineKeyJson>(Topic::Machines, revision, changes, passes)
}

/// The changes of problems, for clients that have only those for which `passes` is true.
pub(super) fn problem_delta(
    revision: u64,
    changes: &[Change<Problem>],
    passes: impl Fn(&Problem) -> bool,
) -> Bytes {
    encode_delta::<_, ProblemJson, ProblemKeyJson>(Topic::Problems, revision, changes, passes)
}

/// The rows, machines and problems that a client of the program that ran before has not, or has as
/// they were. What it has not been sent may be removed as well. Topics without any have no message.
pub(super) fn missed_delta(
    publication: &Publication,
    missed: &MissedChanges,
    topic: Topic,
    filter: &Filter,
) -> Option<Bytes> {
    match topic {
        Topic::Units => {
            let units = &publication.view.units;
            let current = |key: &RowKey| units.get(key).filter(|unit| filter.unit(unit)).cloned();
            let (upsert, remove) = split(&missed.rows, current);

            let keys = remove
                .into_iter()
                .map(|(unit, machine)| UnitKeyJson { unit, machine: machine.as_ref() });
            encode_missed(topic, upsert.iter().map(|unit| UnitJson::from(&**unit)), keys)
        }
        Topic::Machines => {
            let view = &publication.view;
            let current =
                |id: &MachineId| view.machine(id).filter(|member| filter.machine(member)).cloned();
            let (upsert, remove) = split(&missed.machines, current);

            let keys = remove.into_iter().map(|id| MachineKeyJson { machine: id });
            encode_missed(topic, upsert.iter().map(|member| MachineJson::from(&**member)), keys)
        }
        Topic::Problems => {
            let problems = &publication.problems;
            let current = |id: &Text| {
                let problem = problems.iter().find(|problem| problem.id == *id)?;
                Some(problem.clone()).filter(|problem| filter.problem(problem))
            };
            let (upsert, remove) = split(&missed.problems, current);

            let keys = remove.into_iter().map(|id| ProblemKeyJson { id });
            encode_missed(topic, upsert.iter().map(|problem| ProblemJson::from(&**problem)), keys)
        }
        Topic::Events => None,
    }
}

/// What is there of these keys, and the keys of what is not.
fn split<K, T>(
    keys: &BTreeSet<K>,
    current: impl Fn(&K) -> Option<Arc<T>>,
) -> (Vec<Arc<T>>, Vec<&K>) {
    let mut there = Vec::new();
    let mut gone = Vec::new();

    for key in keys {
        match current(key) {
            Some(row) => there.push(row),
            None => gone.push(key),
        }
    }
    (there, gone)
}

fn encode_missed<R: Serialize, K: Serialize>(
    topic: Topic,
    upsert: impl Iterator<Item = R>,
    remove: impl Iterator<Item = K>,
) -> Option<Bytes> {
    let delta = DeltaJson {
        r#type: "delta",
        topic: topic.name(),
        revision: BEFORE_RESUMED,
        upsert: upsert.collect(),
        remove: remove.collect(),
    };

    let is_empty = delta.upsert.is_empty() && delta.remove.is_empty();
    (!is_empty).then(|| to_json(&delta).into())
}

fn encode_delta<'a, T, R, K>(
    topic: Topic,
    revision: u64,
    changes: &'a [Change<T>],
    passes: impl Fn(&T) -> bool,
) -> Bytes
where
    R: Serialize + From<&'a T>,
    K: Serialize + From<&'a T>,
{
    let mut upsert = vec![];
    let mut remove = vec![];

    for Change { before, after } in changes {
        let before = before.as_deref().filter(|row| passes(row));
        let after = after.as_deref().filter(|row| passes(row));
        match (before, after) {
            (_, Some(after)) => upsert.push(R::from(after)),
            (Some(before), None) => remove.push(K::from(before)),
            (None, None) => {}
        }
    }

    let delta = DeltaJson {
        r#type: "delta",
        topic: topic.name(),
        revision,
        upsert,
        remove,
    };
    to_json(&delta).into()
}
