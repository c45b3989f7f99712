//! The state of the cluster on one screen: the source and the age of its data, what is wrong, the
//! machines.

use std::collections::BTreeSet;

use super::cluster_state::ClusterState;
use super::counted::counted;
use super::next_steps::first_command;
use super::pending::Pending;
use super::problems::problems;
use super::since::Since;
use super::table::{Cell, Layout, Table, cut, printable, style};
use super::times::{TimeFormat, Times};
use super::verdicts::{self, Tone};
use super::wire::{HealthState, ProblemRow, SourceHealth, UnitRow, short_id};
use crate::actions::Actions;

/// Lines that are left free at the end of the screen: for the prompt.
const RESERVED_LINES: usize = 2;
/// From so many columns on, a table has room for times beside ages.
const ROOM_FOR_TIMES: usize = 100;
/// How many problems are shown at least, however small the screen is.
const LEAST_PROBLEMS: usize = 3;

/// What can be said of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assessment {
    /// There is no problem.
    Well,
    /// There is a problem. Of an older server, which knows no problems: something is wrong.
    Wrong,
    /// The source cannot be read as it should, so the cluster may be in another state.
    Unknown,
}

impl Assessment {
    /// Assesses the cluster.
    pub fn of(state: &ClusterState) -> Self {
        if !state.is_current() {
            Assessment::Unknown
        } else if has_problems(state) {
            Assessment::Wrong
        } else {
            Assessment::Well
        }
    }
}

fn has_problems(state: &ClusterState) -> bool {
    match &state.problems {
        Some(problems) => !problems.is_empty(),
        None => !Pending::of(state).is_empty(),
    }
}

/// How much of the units is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownUnits {
    /// Only what has a problem, by cause.
    Problems,
    /// Every unit.
    All,
}

/// How times are written unless the reader chooses: beside the ages if there is room for them, as
/// into a pipe.
pub fn fitting_format(layout: Layout) -> TimeFormat {
    match layout.width {
        Some(width) if width < ROOM_FOR_TIMES => TimeFormat::Relative,
        _ => TimeFormat::Utc,
    }
}

/// The text, with a newline at its end.
pub fn overview(
    state: &ClusterState,
    times: &Times,
    units: ShownUnits,
    layout: Layout,
    actions: &Actions,
) -> String {
    let problems = problems(state, times.now());
    let next = next_line(state, &problems, actions);
    // It comes last, after an empty line.
    let reserved = RESERVED_LINES + next.as_ref().map_or(0, |next| 1 + rows_of(next, layout));
    let mut lines = vec![source_line(state, times, layout)];
    lines.extend(headline(state, &problems, layout));

    let machines = machine_table(state).lines(layout);
    match units {
        ShownUnits::All => {
            push_section(&mut lines, unit_table(state.units.values(), times).lines(layout));
        }
        ShownUnits::Problems => {
            let used = lines.len() + machines.len() + reserved + 3;
            let room = layout
                .height
                .map_or(usize::MAX, |height| height.saturating_sub(used).max(LEAST_PROBLEMS));
            let section = match state.problems {
                Some(_) => problem_lines(&problems, times, room, layout),
                None => wrong_unit_lines(state, times, room, layout),
            };
            push_section(&mut lines, section);
        }
    }
    let machines = shortened(machines, lines_left(&lines, reserved, layout), "machines");
    push_section(&mut lines, machines);

    let fits = layout.height.is_none_or(|height| lines.len() + reserved <= height);
    if let Some(next) = next.filter(|_| fits) {
        lines.extend([String::new(), next]);
    }
    lines.join("\n") + "\n"
}

/// What to do next about the problem to look at first, that of the source aside: no command helps
/// there. It is not cut, so that it can be copied.
fn next_line(state: &ClusterState, problems: &[&ProblemRow], actions: &Actions) -> Option<String> {
    let first = problems.iter().find(|problem| !problem.is_about_source())?;
    let command = first_command(state, first, actions)?;

    Some(format!("Next: {command}"))
}

/// How many rows of the screen a line takes that is not cut.
fn rows_of(line: &str, layout: Layout) -> usize {
    let width = layout.width.unwrap_or(usize::MAX).max(1);

    line.chars().count().div_ceil(width)
}

fn lines_left(lines: &[String], reserved: usize, layout: Layout) -> usize {
    layout.height.map_or(usize::MAX, |height| {
        height.saturating_sub(lines.len() + reserved + 1).max(LEAST_PROBLEMS)
    })
}

/// Appends a table after an empty line, unless it has no rows.
fn push_section(lines: &mut Vec<String>, section: Vec<String>) {
    if section.len() > 1 {
        lines.push(String::new());
        lines.extend(section);
    }
}

/// At most so many lines; the last one then says how many rows of these are left out.
fn shortened(mut lines: Vec<String>, limit: usize, rows: &str) -> Vec<String> {
    if lines.len() > limit {
        let left_out = lines.len() - limit + 1;
        lines.truncate(limit - 1);
        lines.push(format!("and {left_out} more {rows}"));
    }
    lines
}

/// `fleet API v1.0.0: live, units read 2 s ago`.
fn source_line(state: &ClusterState, times: &Times, layout: Layout) -> String {
    let Some(health) = &state.health else {
        return "no data yet".to_owned();
    };

    let (words, tone) = condition(health, times);
    let source = printable(&health.source);
    let rest = layout.width.map(|width| width.saturating_sub(source.len() + 2));
    let words = colored(&words, tone, Layout { width: rest, ..layout });
    format!("{source}: {words}")
}

/// Text in the colour of a tone, cut to the width.
fn colored(text: &str, tone: Tone, layout: Layout) -> String {
    let text = cut(&printable(text), layout.width.unwrap_or(usize::MAX));
    if !layout.color {
        return text;
    }

    let style = style(tone);
    format!("{style}{text}{style:#}")
}

/// Whether the data can be relied on, and how old they are.
fn condition(health: &SourceHealth, times: &Times) -> (String, Tone) {
    let since = |word: &str| {
        let lasting = health.since.map(|since| times.lasting(Since::seen_at(since)));
        let lasting = lasting.map(|lasting| format!(" for {lasting}"));
        format!("{word}{}", lasting.unwrap_or_default())
    };
    let reason = health
        .reason
        .as_deref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    let units_age = health
        .topics
        .get("units")
        .and_then(|list| list.age)
        .map(|age| times.ago(health.time.saturating_sub(age as u64 * 1000)))
        .map(|ago| format!(", units read {ago}"))
        .unwrap_or_default();

    match health.state {
        HealthState::Ok if health.recording => ("recording".to_owned(), Tone::Good),
        HealthState::Ok => (format!("live{units_age}"), Tone::Good),
        HealthState::Ended => ("recording, ended".to_owned(), Tone::Good),
        HealthState::Starting => ("waiting for the first complete data".to_owned(), Tone::Warning),
        HealthState::Failing => {
            (format!("{}{reason}{units_age}", since("cannot be read")), Tone::Bad)
        }
        HealthState::Overdue => (format!("{}{reason}", since("no new data")), Tone::Bad),
        HealthState::Suspect => (
            format!("{}: many units are missing from fleet's list", since("suspect")),
            Tone::Warning,
        ),
        HealthState::Unknown => {
            ("in a state that this version does not know".to_owned(), Tone::Warning)
        }
    }
}

/// What is wrong, or that all is well, and below it how large the cluster is.
fn headline(state: &ClusterState, problems: &[&ProblemRow], layout: Layout) -> Vec<String> {
    if state.health.is_none() {
        return vec![];
    }

    let pending = Pending::of(state);
    let parts = [
        (!problems.is_empty()).then(|| count_of(problems)),
        (!pending.is_empty()).then(|| pending.to_string()),
    ];
    let wrong: Vec<String> = parts.into_iter().flatten().collect();
    let words = match &*wrong {
        [] if Assessment::of(state) == Assessment::Unknown => "last known: all well".to_owned(),
        [] => "all well".to_owned(),
        _ => wrong.join("; "),
    };
    let tone = match problems.iter().map(|problem| problem.tone()).min() {
        Some(tone) => tone,
        None if !pending.is_empty() => Tone::Warning,
        None => Tone::Good,
    };

    vec![colored(&words, tone, layout), size_of(state, layout)]
}

/// `3 problems, 2 critical`.
fn count_of(problems: &[&ProblemRow]) -> String {
    let all = problems.len();
    let critical = problems.iter().filter(|problem| problem.tone() == Tone::Bad);

    match critical.count() {
        0 => counted(all, "problem"),
        critical if critical == all => counted(all, "critical problem"),
        critical => format!("{}, {critical} critical", counted(all, "problem")),
    }
}

/// `5 units (1 failed, 2 stale) on 1 machine`.
fn size_of(state: &ClusterState, layout: Layout) -> String {
    let units = counted(state.units.len(), "unit");
    let machines = counted(state.count_present_machines(), "machine");
    let wrong = verdicts::summary(state.units.values().filter(|unit| !unit.is_ok()));

    let text = match &*wrong {
        "" => format!("{units} on {machines}"),
        wrong => format!("{units} ({wrong}) on {machines}"),
    };
    cut(&printable(&text), layout.width.unwrap_or(usize::MAX))
}

/// The problems, at most so many lines of them.
fn problem_lines(
    problems: &[&ProblemRow],
    times: &Times,
    room: usize,
    layout: Layout,
) -> Vec<String> {
    let mut table = Table::new(titles(&["PROBLEM", "WHAT", "WHERE"], times));
    for problem in problems.iter().take(room) {
        let mut row = vec![
            Cell::toned(problem.word(), problem.tone()),
            subject(problem).into(),
            place(problem).into(),
        ];
        row.extend(time_cells(Since::of_problem(problem), times));
        row.push(problem.detail.as_deref().unwrap_or_default().into());
        table.push(row);
    }

    let mut lines = table.lines(layout);
    if problems.len() > room {
        lines.push(format!("and {} more: --all lists every unit", problems.len() - room));
    }
    lines
}

/// The unit, or how many units there are. What is about none of these is in one line.
fn subject(problem: &ProblemRow) -> String {
    let count = problem.count;

    match (&problem.unit, &problem.template) {
        (Some(unit), _) => unit.clone(),
        (None, Some(template)) => format!("{count}× {template}"),
        (None, None) if problem.lost_or_silent_machine().is_some() && count == 0 => {
            "no unit".to_owned()
        }
        (None, None) if count == 0 => problem.text.clone(),
        (None, None) => counted(count, "unit"),
    }
}

/// The machine, or on how many machines the units are.
fn place(problem: &ProblemRow) -> String {
    let machine = || problem.machine.as_deref().map(short_id);
    if let Some(place) = problem.ip.as_deref().or_else(machine) {
        return place.to_owned();
    }
    if problem.template.is_none() {
        return "-".to_owned();
    }

    let machines: BTreeSet<_> = problem.units.iter().map(|unit| &unit.machine).collect();
    let machines = counted(machines.len(), "machine");
    if problem.count > problem.units.len() {
        format!("≥ {machines}")
    } else {
        machines
    }
}

/// The units that are wrong, at most so many lines of them: what can be said of an older server.
fn wrong_unit_lines(
    state: &ClusterState,
    times: &Times,
    room: usize,
    layout: Layout,
) -> Vec<String> {
    let wrong = state.units.values().filter(|unit| !unit.is_ok());
    let lines = unit_table(wrong, times).lines(layout);

    shortened(lines, room.saturating_add(1), "units: --all lists every one")
}

/// Units, the worst first.
fn unit_table<'a>(units: impl Iterator<Item = &'a UnitRow>, times: &Times) -> Table {
    let mut units: Vec<&UnitRow> = units.collect();
    units.sort_by_key(|unit| verdicts::rank(&unit.verdict));

    let mut table = Table::new(titles(&["VERDICT", "UNIT", "STATE", "MACHINE"], times));
    for unit in units {
        let reason = if unit.is_ok() { "" } else { &unit.reason };
        let mut row = vec![
            Cell::toned(verdicts::word(&unit.verdict), verdicts::tone(&unit.verdict)),
            (&*unit.unit).into(),
            unit.state().into(),
            unit.place().unwrap_or("-").into(),
        ];
        row.extend(time_cells(Since::of_state(unit), times));
        row.push(reason.into());
        table.push(row);
    }
    table
}

/// The titles of a table whose last columns are for how long, maybe since when, and why.
fn titles(first: &[&str], times: &Times) -> Vec<String> {
    let since = times.are_absolute().then(|| format!("SINCE ({})", times.zone()));

    let mut titles: Vec<String> = first.iter().map(|title| (*title).to_owned()).collect();
    titles.push("FOR".to_owned());
    titles.extend(since);
    titles.push("REASON".to_owned());
    titles
}

/// For how long something has been so, and maybe since when.
fn time_cells(since: Since, times: &Times) -> Vec<Cell> {
    let age = since.age(times.now());
    let at = times.are_absolute().then(|| times.brief(since));

    [Some(age), at].into_iter().flatten().map(Cell::from).collect()
}

/// All machines, those that are lost or silent first.
fn machine_table(state: &ClusterState) -> Table {
    let mut machines: Vec<_> = state.machines.values().collect();
    machines.sort_by_key(|machine| (machine.status().tone(), machine.name()));

    let units = state.count_units_by_machine();
    let mut table = Table::new(["MACHINE", "ID", "STATE", "UNITS", "NOT OK", "METADATA"]);
    for machine in machines {
        let units = units.get(&*machine.machine).copied().unwrap_or_default();
        let status = machine.status();
        table.push([
            machine.name().into(),
            short_id(&machine.machine).into(),
            Cell::toned(status.word(), status.tone()),
            units.all.to_string().into(),
            units.wrong.to_string().into(),
            machine.metadata.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}
