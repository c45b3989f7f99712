//! The JSON object of `/v2/state`.
//!
//! It comes in two parts: the head depends on the time of the request, the body does not and is
//! shared.

use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;

use super::health::HealthJson;
use super::rows::{EventJson, MachineJson, UnitJson};
use super::{SoftwareJson, to_json};
use crate::cluster::Moment;
use crate::feed::Publication;

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
    units: Vec<UnitJson<'a>>,
    machines: Vec<MachineJson<'a>>,
    transitions: Vec<EventJson<'a>>,
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

/// The text behind the [`state_head`], up to the closing brace.
pub(in crate::feed) fn state_body(publication: &Publication) -> Bytes {
    let view = &publication.view;
    let transitions = publication.transitions.iter().rev();

    let body = to_json(&StateBodyJson {
        units: view.units.iter().map(|unit| UnitJson::from(&**unit)).collect(),
        machines: view
            .machines
            .iter()
            .map(|member| MachineJson::from(&**member))
            .collect(),
        transitions: transitions.map(|transition| EventJson::from(&**transition)).collect(),
    });

    // Without the opening brace.
    Bytes::from(body).slice(1..)
}
