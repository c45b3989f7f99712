//! All that is known of one unit, on every machine that has it.

use super::cluster_state::ClusterState;
use super::next_steps::{next_steps, subject_of_unit, worst};
use super::problem_units::ProblemUnits;
use super::since::Since;
use super::table::{Layout, printable, style};
use super::times::Times;
use super::unit_history::last_hour_line;
use super::verdicts;
use super::wire::{HistoryDocument, MachineRow, UnitRow};
use crate::actions::Actions;

/// Names of a field are padded to this width.
const NAME_WIDTH: usize = 9;

/// The rows of a unit. Without a suffix, a name is that of a service, as for fleetctl.
pub fn rows_of_unit<'a>(state: &'a ClusterState, name: &str) -> Vec<&'a UnitRow> {
    let service = format!("{name}.service");

    let rows = |wanted: &str| -> Vec<&UnitRow> {
        state.units.values().filter(|unit| unit.unit == wanted).collect()
    };
    let exact = rows(name);
    if exact.is_empty() { rows(&service) } else { exact }
}

/// The text for one unit, with a newline at its end. `rows` has at least one row.
pub fn unit_detail(
    state: &ClusterState,
    rows: &[&UnitRow],
    history: &HistoryDocument,
    times: &Times,
    layout: Layout,
    actions: &Actions,
) -> String {
    let Some(first) = rows.first() else {
        return String::new();
    };

    let mut lines = vec![title(first)];
    lines.extend(wanted(state, first));
    lines.extend(ran_before(state, rows, times));
    let problems = ProblemUnits::of(state);
    for row in rows {
        lines.push(String::new());
        lines.extend(on_machine(row, &problems, times, layout));
        let hour = history.last_hour(state, row, times.now());
        let line = last_hour_line(&hour, times.now(), layout);
        lines.extend(line.map(|line| format!("  {:NAME_WIDTH$} {line}", "last hour")));
    }

    let events = history.lines(times);
    if !events.is_empty() {
        lines.push(String::new());
        lines.extend(events);
    }

    lines.extend(next_lines(state, rows, actions));
    lines.join("\n") + "\n"
}

/// What to do next. Of a unit with several rows, it is about the worst of them.
fn next_lines(state: &ClusterState, rows: &[&UnitRow], actions: &Actions) -> Vec<String> {
    let Some(row) = worst(rows) else {
        return vec![];
    };
    let steps = next_steps(actions, &subject_of_unit(state, row));
    if steps.is_empty() {
        return vec![];
    }

    let heading = match row.place() {
        Some(place) if rows.len() > 1 => format!("Next, on {}:", printable(place)),
        _ => "Next:".to_owned(),
    };
    let steps = steps.iter().map(|step| format!("  {step}"));
    [String::new(), heading].into_iter().chain(steps).collect()
}

fn title(row: &UnitRow) -> String {
    match &row.description {
        Some(description) => printable(&format!("{} - {description}", row.unit)),
        None => printable(&row.unit),
    }
}

/// What fleet wants of the unit.
fn wanted(state: &ClusterState, row: &UnitRow) -> Vec<String> {
    let desired = row.desired.as_deref().unwrap_or("not known: there is no unit file");
    let target = match &row.target {
        _ if row.global => Some("every machine that meets its requirements".to_owned()),
        Some(id) => Some(state.machine_name(id).to_owned()),
        None => None,
    };

    let mut lines = vec![field("wanted", desired)];
    lines.extend(target.map(|target| field("target", &target)));
    if !row.requirements.is_empty() {
        lines.push(field("requires", &row.requirements.join(", ")));
    }
    lines
}

/// The lost machines that ran the unit when they left the cluster, and have no row of it any more:
/// fleet has moved it since then.
fn ran_before(state: &ClusterState, rows: &[&UnitRow], times: &Times) -> Vec<String> {
    let has_row = |machine: &MachineRow| {
        rows.iter()
            .any(|row| row.machine.as_deref() == Some(&*machine.machine))
    };
    let ran = |machine: &MachineRow| {
        rows.first().is_some_and(|row| machine.ran.contains(&row.unit)) && !has_row(machine)
    };

    let lost = state.machines.values().filter(|machine| ran(machine));
    lost.filter_map(|machine| {
        let left = times.ago(machine.lost_since?);
        Some(field("ran", &format!("on {} when that was lost, {left}", machine.name())))
    })
    .collect()
}

/// How the unit is on one machine, or on none.
fn on_machine(
    row: &UnitRow,
    problems: &ProblemUnits,
    times: &Times,
    layout: Layout,
) -> Vec<String> {
    let tone = style(verdicts::tone(&row.verdict));
    let word = verdicts::word(&row.verdict);
    let verdict = if layout.color {
        format!("{tone}{word}{tone:#}")
    } else {
        word.to_owned()
    };
    let lasting = times.lasting(Since::of_verdict(row));

    let mut lines = vec![
        field("machine", &row.address_and_id()),
        format!(
            "  {:NAME_WIDTH$} {verdict} for {lasting}: {}",
            "verdict",
            printable(&row.reason)
        ),
    ];
    let problem = problems.describe(row, times);
    lines.extend(problem.map(|problem| field("problem", &problem)));
    if row.active.is_some() || row.sub.is_some() {
        let load = row.load.as_deref().unwrap_or("-");
        let lasting = times.lasting(Since::of_state(row));
        lines.push(field("state", &format!("{} ({load}) for {lasting}", row.state())));
    }
    if let Some(stale) = row.stale_since {
        let lasting = times.lasting(Since::seen_at(stale));
        lines.push(field("stale", &format!("not reported for {lasting}")));
    }
    if let (Some(has), Some(wanted)) = (&row.hash, &row.file_hash)
        && has != wanted
    {
        let short = |hash: &str| hash.get(..7).unwrap_or(hash).to_owned();
        let versions = format!("the machine has {}, fleet has {}", short(has), short(wanted));
        lines.push(field("version", &versions));
    }
    lines
}

fn field(name: &str, value: &str) -> String {
    format!("  {name:NAME_WIDTH$} {}", printable(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_suffix_is_that_of_a_service() {
        let mut state = ClusterState::default();
        for name in ["web.service", "db", "db.service"] {
            let unit = UnitRow { unit: name.into(), ..UnitRow::default() };
            state.units.insert(unit.key(), unit);
        }

        for (name, found) in [("web", "web.service"), ("db", "db"), ("web.service", "web.service")]
        {
            let rows = rows_of_unit(&state, name);
            assert_eq!(rows.iter().map(|row| &*row.unit).collect::<Vec<_>>(), [found]);
        }
        assert!(rows_of_unit(&state, "cache").is_empty());
    }
}
