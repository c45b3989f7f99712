//! The JSON object of `/v2/state`.
//!
//! It comes in two parts: the head depends on the time of the request, the body does not and is
//! shared.

use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;

use super::health::HealthJson;
use super::problems::ProblemJson;
use super::rows::{EventJson, MachineJson, UnitJson};
use super::{SoftwareJson, to_json};
use crate::cluster::Moment;
use crate::feed::Publication;
use crate::feed::subscription::{Subscription, Topic};

#[derive(Serialize)]
struct StateHeadJson<'a> {
    epoch: &'a str,
    revision: u64,
    #[serde(serialize_with = "super::milliseconds")]
    time: SystemTime,
    software: SoftwareJson,
    health: HealthJson<'a>,
}

#[derive(Serialize)]
struct StateBodyJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<Vec<UnitJson<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machines: Option<Vec<MachineJson<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<Vec<ProblemJson<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transitions: Option<Vec<EventJson<'a>>>,
}

/// The text from the opening brace to the comma in front of the [`state_body`].
pub(in crate::feed) fn state_head(publication: &Publication, clients: usize, now: Moment) -> Bytes {
    let mut head = to_json(&StateHeadJson {
        epoch: &publication.epoch,
        revision: publication.revision,
        time: now.wall,
        software: SoftwareJson::THIS,
        health: HealthJson::new(&publication.health, &publication.source, Some(clients), now),
    });

    let brace = head.pop();
    debug_assert_eq!(brace, Some(b'}'));
    head.push(b',');
    head.into()
}

/// The text behind the [`state_head`], up to the closing brace: the rows and events that are
/// selected. A topic that is not selected is missing.
pub(in crate::feed) fn state_body(publication: &Publication, selection: &Subscription) -> Bytes {
    let filter = &selection.filter;
    let units = publication.view.units.iter().filter(|unit| filter.unit(unit));
    let machines = publication
        .view
        .machines
        .iter()
        .filter(|member| filter.machine(member));
    let problems = publication.problems.iter().filter(|problem| filter.problem(problem));
    let newest_first = publication.transitions.iter().rev();
    let transitions = newest_first.filter(|transition| filter.event(&transition.event));

    let has = |topic| selection.has(topic);
    let body = to_json(&StateBodyJson {
        units: has(Topic::Units).then(|| units.map(|unit| UnitJson::from(&**unit)).collect()),
        machines: has(Topic::Machines)
            .then(|| machines.map(|member| MachineJson::from(&**member)).collect()),
        problems: has(Topic::Problems)
            .then(|| problems.map(|problem| ProblemJson::from(&**problem)).collect()),
        transitions: has(Topic::Events)
            .then(|| transitions.map(|transition| EventJson::from(&**transition)).collect()),
    });

    // Without the opening brace.
    Bytes::from(body).slice(1..)
}
