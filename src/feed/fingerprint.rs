//! Fingerprints of what clients have of a row, a machine or a problem: the same number for the same
//! JSON, also in another run of the program.
//!
//! It does not know who compares them.

use serde::Serialize;

use super::message::{MachineJson, ProblemJson, UnitJson, to_json};
use crate::cluster::{Member, Unit};
use crate::digest::digest;
use crate::problems::Problem;

pub(crate) fn of_unit(unit: &Unit) -> u64 {
    of_json(&UnitJson::from(unit))
}

pub(crate) fn of_machine(member: &Member) -> u64 {
    of_json(&MachineJson::from(member))
}

pub(crate) fn of_problem(problem: &Problem) -> u64 {
    of_json(&ProblemJson::from(problem))
}

fn of_json(row: &impl Serialize) -> u64 {
    digest(to_json(row))
}
