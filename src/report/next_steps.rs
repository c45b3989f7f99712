//! What to do next about a unit, a machine or a problem. Pure.
//!
//! It must not know which commands and links there are: the server sends them.

use super::cluster_state::ClusterState;
use super::table::printable;
use super::verdicts;
use super::wire::{MachineRow, ProblemRow, UnitRow};
use crate::actions::{ActionSubject, Actions};

/// What an action is about: a row of a unit.
pub fn subject_of_unit<'a>(state: &'a ClusterState, row: &'a UnitRow) -> ActionSubject<'a> {
    let machine = row.machine.as_ref().and_then(|id| state.machines.get(id));
    let has_left = machine.is_some_and(|machine| machine.lost_since.is_some());
    let ip_of_machine = || machine.and_then(|machine| machine.ip.as_deref());

    ActionSubject {
        unit: Some(&row.unit),
        machine: row.machine.as_deref(),
        ip: row.ip.as_deref().or_else(ip_of_machine),
        is_global: row.global,
        is_lost: has_left || row.verdict == "machine_lost",
        has_file: row.desired.is_some() || row.file_hash.is_some(),
    }
}

/// What an action is about: a machine.
pub fn subject_of_machine(machine: &MachineRow) -> ActionSubject<'_> {
    ActionSubject {
        machine: Some(&machine.machine),
        ip: machine.ip.as_deref(),
        is_lost: machine.lost_since.is_some(),
        ..ActionSubject::default()
    }
}

/// The commands for a subject, and below them its links.
pub fn next_steps(actions: &Actions, subject: &ActionSubject<'_>) -> Vec<String> {
    let commands = actions.commands_for(subject).into_iter();
    let links = actions
        .links_for(subject)
        .into_iter()
        .map(|(name, url)| format!("{}: {url}", printable(name)));

    commands.chain(links).collect()
}

/// Of the rows of a unit, the one to look at first: the worst.
pub(super) fn worst<'a>(rows: &[&'a UnitRow]) -> Option<&'a UnitRow> {
    rows.iter().copied().min_by_key(|row| verdicts::rank(&row.verdict))
}

/// The command to begin with for a problem. `None` if the server has none for it.
pub(super) fn first_command(
    state: &ClusterState,
    problem: &ProblemRow,
    actions: &Actions,
) -> Option<String> {
    let subject = match problem.lost_or_silent_machine() {
        Some(machine) => subject_of_machine(state.machines.get(machine)?),
        None => subject_of_unit(state, worst_of_problem(state, problem)?),
    };

    actions.commands_for(&subject).into_iter().next()
}

/// Of the units that a problem names, the one to look at first.
fn worst_of_problem<'a>(state: &'a ClusterState, problem: &ProblemRow) -> Option<&'a UnitRow> {
    let rows: Vec<&UnitRow> = problem
        .units
        .iter()
        .filter_map(|unit| state.units.get(&(unit.unit.clone(), unit.machine.clone())))
        .collect();

    worst(&rows)
}
