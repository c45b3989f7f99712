//! The JSON object of `/v2/history` for another monitor: all that it may merge.
//!
//! It does not know what becomes of it there.

use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;

use super::rows::{EventJson, MachineJson, UnitJson};
use super::to_json;
use crate::cluster::{MachineId, Moment, Unit, UnitName};
use crate::feed::Publication;
use crate::feed::event_history::{EventSubject, SharedEvents};
use crate::problems::{Problem, ProblemCause};

#[derive(Serialize)]
struct SharedHistoryJson<'a> {
    epoch: &'a str,
    #[serde(serialize_with = "super::milliseconds")]
    now: SystemTime,
    interval: f64,
    #[serde(serialize_with = "super::milliseconds")]
    complete_since: SystemTime,
    incomplete: Vec<IncompleteJson<'a>>,
    machines: Vec<MachineJson<'a>>,
    units: Vec<UnitJson<'a>>,
    problems: Vec<SharedProblemJson<'a>>,
    events: Vec<EventJson<'a>>,
}

/// What events are missing of, and until when.
#[derive(Serialize)]
struct IncompleteJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<&'a str>,
    #[serde(serialize_with = "super::milliseconds")]
    until: SystemTime,
}

impl<'a> From<&'a (EventSubject, SystemTime)> for IncompleteJson<'a> {
    fn from((subject, until): &'a (EventSubject, SystemTime)) -> Self {
        let (unit, machine) = match subject {
            EventSubject::Unit(unit, machine) => (Some(&**unit), machine.as_deref()),
            EventSubject::Machine(machine) => (None, Some(&**machine)),
        };
        Self { unit, machine, until: *until }
    }
}

/// An open problem, with all of its units.
#[derive(Serialize)]
struct SharedProblemJson<'a> {
    id: &'a str,
    cause: &'a ProblemCause,
    #[serde(serialize_with = "super::milliseconds")]
    since: SystemTime,
    since_seen: bool,
    #[serde(serialize_with = "super::milliseconds")]
    opened: SystemTime,
    units: Vec<SharedProblemUnitJson<'a>>,
}

/// A unit that has a problem, and its machine, or its target if no machine reports it.
#[derive(Serialize)]
struct SharedProblemUnitJson<'a> {
    unit: &'a UnitName,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<&'a MachineId>,
}

impl<'a> From<&'a Problem> for SharedProblemJson<'a> {
    fn from(problem: &'a Problem) -> Self {
        let unit = |unit: &'a Unit| SharedProblemUnitJson {
            unit: &unit.state.unit,
            machine: unit.machine_id(),
        };
        Self {
            id: &problem.id,
            cause: &problem.cause,
            since: problem.since,
            since_seen: problem.since_seen,
            opened: problem.opened,
            units: problem.units.iter().map(|it| unit(it)).collect(),
        }
    }
}

/// All that another monitor may merge.
pub(in crate::feed) fn shared_history(
    publication: &Publication,
    shared: &SharedEvents,
    now: Moment,
) -> Bytes {
    let view = &publication.view;

    to_json(&SharedHistoryJson {
        epoch: &publication.epoch,
        now: now.wall,
        interval: publication.health.longest_interval().as_secs_f64(),
        complete_since: shared.complete_since,
        incomplete: shared.incomplete.iter().map(IncompleteJson::from).collect(),
        machines: view
            .machines
            .iter()
            .map(|member| MachineJson::from(&**member))
            .collect(),
        units: view.units.iter().map(|unit| UnitJson::from(&**unit)).collect(),
        problems: publication
            .problems
            .iter()
            .map(|problem| SharedProblemJson::from(&**problem))
            .collect(),
        events: shared.events.iter().map(EventJson::from).collect(),
    })
    .into()
}
