//! All that is known of one row. Pure.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::super::list::Key;
use super::super::model::Model;
use super::columns::severity_style;
use super::theme::Theme;
use crate::actions::ActionSubject;
use crate::report::counted::counted;
use crate::report::{
    EventRow, MachineRow, ProblemUnits, Since, UnitRow, UnitRowKey, next_steps, subject_of_machine,
    subject_of_unit, verdicts,
};

/// The lines of a row's details; those at the end matter least.
pub(super) fn lines<'a>(model: &'a Model, key: &'a Key, theme: Theme) -> Vec<Line<'a>> {
    match key {
        Key::Unit(key) => unit_lines(model, key, theme),
        Key::Machine(id) => machine_lines(model, id, theme),
        Key::Event(number) => event_lines(model, *number),
    }
}

fn unit_lines<'a>(model: &'a Model, key: &'a UnitRowKey, theme: Theme) -> Vec<Line<'a>> {
    let (name, machine) = key;
    let mut lines = vec![Line::styled(&**name, Theme::heading())];
    let mut steps = vec![];

    match model.cluster.units.get(key) {
        None => lines.push(Line::from("This unit is no longer there.")),
        Some(unit) => {
            lines.extend(unit.description.as_deref().map(Line::from));
            lines.push(Line::default());
            lines.extend(unit_facts(model, unit, theme));
            steps = step_lines(model, &subject_of_unit(&model.cluster, unit));
        }
    }
    lines.extend(steps);

    let is_of_unit =
        |event: &EventRow| event.unit.as_deref() == Some(name) && event.machine == *machine;
    lines.extend(latest_events(model, is_of_unit, theme));
    lines
}

fn unit_facts<'a>(model: &'a Model, unit: &'a UnitRow, theme: Theme) -> Vec<Line<'a>> {
    let times = model.detail_times();
    let since = times.lasting(Since::of_unit(unit));
    let state_since = times.lasting(Since::of_state(unit));

    let mut verdict = fact(
        "Verdict",
        Span::styled(verdicts::word(&unit.verdict), theme.verdict(&unit.verdict)),
    );
    verdict.push_span(format!(" for {since}: {}", unit.reason));
    let state = match &unit.load {
        Some(load) => format!("{} ({load}) for {state_since}", unit.state()),
        None => "not reported by any machine".to_owned(),
    };

    let problem = ProblemUnits::of(&model.cluster).describe(unit, &times);
    let mut lines = vec![verdict];
    lines.extend(problem.map(|problem| fact("Problem", problem)));
    lines.push(fact("State", state));
    lines.push(fact("Machine", unit.address_and_id()));
    lines.push(fact("fleet wants", what_fleet_wants(model, unit)));
    if !unit.requirements.is_empty() {
        lines.push(fact("Requires", unit.requirements.join(", ")));
    }
    if let (Some(hash), Some(file_hash)) = (&unit.hash, &unit.file_hash)
        && hash != file_hash
    {
        lines.push(fact("Unit file", format!("{hash} on the machine, {file_hash} in fleet")));
    }
    lines
}

fn what_fleet_wants(model: &Model, unit: &UnitRow) -> String {
    let desired = unit.desired.as_deref().unwrap_or("not known");
    let target = match &unit.target {
        _ if unit.global => "on every machine that meets its requirements".to_owned(),
        Some(target) => format!("on {}", model.cluster.machine_name(target)),
        None => return desired.to_owned(),
    };
    format!("{desired}, {target}")
}

fn machine_lines<'a>(model: &'a Model, id: &'a str, theme: Theme) -> Vec<Line<'a>> {
    let Some(machine) = model.cluster.machines.get(id) else {
        return vec![
            Line::styled(id, Theme::heading()),
            Line::from("This machine is no longer there."),
        ];
    };

    let mut lines = vec![Line::styled(machine.name(), Theme::heading()), Line::default()];
    lines.extend(machine_facts(model, machine));
    lines.extend(step_lines(model, &subject_of_machine(machine)));
    lines.extend(ran_lines(model, machine));
    lines.extend(latest_events(model, |event| event.machine.as_deref() == Some(id), theme));
    lines
}

fn machine_facts<'a>(model: &'a Model, machine: &'a MachineRow) -> Vec<Line<'a>> {
    let lasting = model.detail_times().lasting(Since::of_machine(machine));
    let counts = model.cluster.count_units_by_machine();
    let units = counts.get(&*machine.machine).copied().unwrap_or_default();

    let mut lines = vec![
        fact("ID", &*machine.machine),
        fact("State", format!("{} for {lasting}", machine.status().word())),
        fact("Units", format!("{}, {} not ok", units.all, units.wrong)),
    ];
    lines.extend(machine.version.as_deref().map(|version| fact("fleet", version)));
    lines.extend(machine.metadata.as_deref().map(|metadata| fact("Metadata", metadata)));
    lines
}

/// The units that ran on a machine when it was lost, below a heading; nothing for any other.
fn ran_lines<'a>(model: &'a Model, machine: &'a MachineRow) -> Vec<Line<'a>> {
    if machine.ran.is_empty() {
        return vec![];
    }

    let count = counted(machine.ran.len(), "unit");
    let heading = Line::styled(format!("{count} ran here when it was lost"), Theme::heading());
    let units = machine.ran.iter().map(|unit| where_now(model, machine, unit));
    let units = units.map(|unit| Line::from(format!("  {unit}")));
    [Line::default(), heading].into_iter().chain(units).collect()
}

/// A unit that ran on a lost machine, and where it is now.
fn where_now(model: &Model, lost: &MachineRow, unit: &str) -> String {
    let first = (unit.to_owned(), None);
    let rows = model
        .cluster
        .units
        .range(first..)
        .take_while(|((name, _), _)| name == unit);
    let places: Vec<&str> = rows
        .filter(|((_, machine), _)| machine.as_deref() != Some(&*lost.machine))
        .filter_map(|(_, row)| row.place())
        .collect();

    if places.is_empty() {
        unit.to_owned()
    } else {
        format!("{unit}, now on {}", places.join(", "))
    }
}

fn event_lines(model: &Model, number: u64) -> Vec<Line<'_>> {
    let Some(event) = model.event(number) else {
        return vec![Line::from("This event is no longer kept.")];
    };

    let mut lines = vec![
        Line::styled(&*event.text, Theme::heading()),
        Line::default(),
        fact("Event", format!("{} ({})", event.event, event.severity)),
        fact("Time", model.detail_times().ago(event.time)),
    ];
    lines.extend(event.unit.as_deref().map(|unit| fact("Unit", unit)));
    lines.extend(event.machine.as_deref().map(|machine| fact("Machine", machine)));
    lines.extend(event.reason.as_deref().map(|reason| fact("Reason", reason)));
    lines
}

/// A heading, and the commands and links for a row, if there are any.
fn step_lines<'a>(model: &Model, subject: &ActionSubject<'_>) -> Vec<Line<'a>> {
    let steps = next_steps(&model.actions, subject);
    if steps.is_empty() {
        return vec![];
    }

    let heading = Line::styled("Next", Theme::heading());
    let steps = steps.into_iter().map(|step| Line::from(format!("  {step}")));
    [Line::default(), heading].into_iter().chain(steps).collect()
}

/// A heading, and the latest events that are selected, the newest first.
fn latest_events<'a>(
    model: &'a Model,
    is_selected: impl Fn(&EventRow) -> bool,
    theme: Theme,
) -> Vec<Line<'a>> {
    const MOST: usize = 50;
    let times = model.detail_times();
    let events = model.cluster.events.iter().rev().filter(|event| is_selected(event));
    let events: Vec<Line> = events
        .take(MOST)
        .map(|event| {
            let age = Since::seen_at(event.time).age(times.now());
            Line::from(vec![
                Span::from(format!("  {age:>7} ago  {}  ", times.at(event.time))),
                Span::styled(&*event.text, severity_style(event, theme)),
            ])
        })
        .collect();

    let heading = if events.is_empty() {
        "No events"
    } else {
        "Events, the newest first"
    };
    let mut lines = vec![Line::default(), Line::styled(heading, Theme::heading())];
    lines.extend(events);
    lines
}

/// A line with a name and a value.
fn fact<'a>(name: &'static str, value: impl Into<Span<'a>>) -> Line<'a> {
    let mut line = Line::styled(format!("{name:<13}"), Style::new());
    line.push_span(value);
    line
}
