//! One problem, as `/v2/state` and the second protocol send it.
//!
//! It does not know which problems are sent, nor in what kind of message.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use super::UnitKeyJson;
use crate::cluster::{MachineId, Text, UnitName};
use crate::problems::Problem;

/// How many of its units are named. A problem may have all units of a cluster, and is sent again
/// with each that comes or goes.
const MAX_NAMED: usize = 20;

/// A problem, as `docs/protocol.md` documents it.
#[derive(Serialize)]
pub(in crate::feed) struct ProblemJson<'a> {
    id: &'a str,
    kind: &'static str,
    severity: &'static str,
    #[serde(serialize_with = "super::milliseconds")]
    since: SystemTime,
    since_seen: bool,
    #[serde(serialize_with = "super::milliseconds")]
    opened: SystemTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a UnitName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<&'a MachineId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a Text>,
    count: usize,
    verdicts: BTreeMap<&'static str, usize>,
    units: Vec<UnitKeyJson<'a>>,
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

/// A problem as a JSON object.
pub(crate) fn problem_json(problem: &Problem) -> String {
    String::from_utf8(super::to_json(&ProblemJson::from(problem))).expect("JSON is UTF-8")
}

impl<'a> From<&'a Problem> for ProblemJson<'a> {
    fn from(problem: &'a Problem) -> Self {
        let cause = &problem.cause;
        let machine = cause.machine();
        let units = problem.units.iter().take(MAX_NAMED);

        let mut verdicts = BTreeMap::new();
        for unit in &problem.units {
            *verdicts.entry(unit.verdict.name()).or_default() += 1;
        }

        Self {
            id: &problem.id,
            kind: cause.kind().name(),
            severity: cause.severity().name(),
            since: problem.since,
            since_seen: problem.since_seen,
            opened: problem.opened,
            unit: cause.unit(),
            template: cause.template(),
            machine: machine.map(|machine| &machine.id),
            ip: machine.and_then(|machine| machine.ip.as_ref()),
            count: problem.units.len(),
            verdicts,
            units: units.map(|unit| UnitKeyJson::from(&**unit)).collect(),
            text: problem.summary(),
            detail: problem.description(),
        }
    }
}
