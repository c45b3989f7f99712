//! `/plain`: what is published, as an HTML page that needs no script.
//!
//! It comes in two parts: the head depends on the time of the request, the body does not and is
//! shared. So all times in the body are absolute. It does not know who reads the page, nor how
//! often it is loaded again.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::Publication;
use super::html::HtmlText;
use super::status::{clock, count, status_line, unix_seconds};
use crate::cluster::{
    FleetList, HumanDuration, ListHealth, MachineId, Member, Moment, Severity, Text, Transition,
    Unit, Verdict,
};
use crate::problems::{Problem, ProblemCause, ProblemSeverity};
use crate::utc::{day, time_of_day};

/// How many events the page has, the newest ones.
const MAX_EVENTS: usize = 50;

/// The columns of each table.
const PROBLEM_COLUMNS: [&str; 3] = ["Problem", "Details", "Since (UTC)"];
const UNIT_COLUMNS: [&str; 5] = ["Unit", "State", "Verdict", "Machine", "Since (UTC)"];
const MACHINE_COLUMNS: [&str; 6] =
    ["Address", "State", "Since (UTC)", "ID", "Version of fleet", "Metadata"];
const EVENT_COLUMNS: [&str; 2] = ["Time (UTC)", "Event"];

/// Stands for a value that is not known.
const UNKNOWN: &str = "–";

/// The page up to the [`body`]: the state of the source, and the age of its data.
///
/// It has the time in whole minutes, so that it is the same for most of the requests in which
/// nothing has changed.
pub(super) fn head(publication: &Publication, clients: usize, now: Moment) -> Bytes {
    let health = &publication.health;
    let is_doubtful = health.failure().is_some()
        || health.overdue(now).is_some()
        || health.suspect_since.is_some()
        || !health.ready();

    let mark = match publication.problems.len() {
        _ if is_doubtful => "(?) ".to_owned(),
        0 => String::new(),
        problems => format!("({problems}) "),
    };
    let doubtful = if is_doubtful { " data-tone=\"warn\"" } else { "" };
    let minute = &timestamp(now.wall)[..MINUTE];
    let status = status_line(publication, clients);
    let status = HtmlText(&status);

    let mut page = format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <head>\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{mark}fleet-monitor</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <link rel=\"stylesheet\" href=\"style.css\">\n\
         <link rel=\"stylesheet\" href=\"plain.css\">\n\
         </head>\n\
         <body>\n\
         <header class=\"top\">\n\
         <h1>fleet-monitor</h1>\n\
         <p class=\"source\">{minute} UTC</p>\n\
         </header>\n\
         <main>\n\
         <p class=\"status\"{doubtful}>{status}</p>\n\
         <ul class=\"lists\">\n"
    );
    for list in FleetList::ALL {
        let age = age_of_list(health.list(list), now);
        add(&mut page, format_args!("<li>{list}: {}\n", HtmlText(&age)));
    }
    page.push_str("</ul>\n");
    page.into()
}

/// Whether a list is up to date, or how old it is, and why.
fn age_of_list(list: &ListHealth, now: Moment) -> String {
    let Some(read) = list.read else {
        return match &list.failure {
            Some(failure) => format!("not read yet: {}", failure.reason),
            None => "not read yet".to_owned(),
        };
    };

    let age = read.age(now);
    let old = format!("read {} ago, at {}", HumanDuration(age), clock(read.wall));
    let is_overdue = list.schedule.is_some_and(|schedule| schedule.is_overdue(age));
    match &list.failure {
        Some(failure) => format!("{old}: {}", failure.reason),
        None if is_overdue => old,
        None => "up to date".to_owned(),
    }
}

/// The page from the end of the [`head`] on: the problems, then everything else that is given.
/// Events are given the newest first.
pub(super) fn body<'a>(
    problems: impl IntoIterator<Item = &'a Arc<Problem>>,
    units: impl IntoIterator<Item = &'a Arc<Unit>>,
    machines: impl IntoIterator<Item = &'a Arc<Member>>,
    events: impl IntoIterator<Item = &'a Arc<Transition>>,
) -> Bytes {
    let mut problems: Vec<&Problem> = problems.into_iter().map(|problem| &**problem).collect();
    problems.sort_by_key(|problem| order_of(problem));

    let units: Vec<&Unit> = units.into_iter().map(|unit| &**unit).collect();
    let mut machines: Vec<&Member> = machines.into_iter().map(|member| &**member).collect();
    machines.sort_by_key(|member| MachineState::of(member));
    let addresses: Addresses = machines
        .iter()
        .map(|member| (&member.machine.id, address_of_member(member)))
        .collect();

    let events: Vec<&Transition> =
        events.into_iter().take(MAX_EVENTS).map(|event| &**event).collect();

    let sections = [
        ("problems", count(problems.len() as u64, "problem")),
        ("units", count(units.len() as u64, "unit")),
        ("machines", count(machines.len() as u64, "machine")),
        ("events", count(events.len() as u64, "latest event")),
    ];
    let mut page = String::from("<nav aria-label=\"Tables\">\n");
    for (id, title) in &sections {
        add(&mut page, format_args!("<a href=\"#{id}\">{title}</a>\n"));
    }
    page.push_str("</nav>\n");

    let [all_problems, all_units, all_machines, all_events] = sections;
    section(&mut page, &all_problems, &PROBLEM_COLUMNS, |page| {
        problems.iter().for_each(|problem| problem_row(page, problem));
    });
    section(&mut page, &all_units, &UNIT_COLUMNS, |page| {
        units.iter().for_each(|unit| unit_row(page, unit, &addresses));
    });
    section(&mut page, &all_machines, &MACHINE_COLUMNS, |page| {
        machines.iter().for_each(|member| machine_row(page, member));
    });
    section(&mut page, &all_events, &EVENT_COLUMNS, |page| {
        events.iter().for_each(|event| event_row(page, event));
    });

    page.push_str(FOOTER);
    page.into()
}

const FOOTER: &str = "</main>\n\
    <footer>\n\
    <p>This page needs no JavaScript. It is loaded again\n\
    <a href=\"plain\">every 10 seconds</a> or <a href=\"plain?refresh=off\">never</a>.</p>\n\
    <p><a href=\"./\">The live page</a> <a href=\"v2/state\">The same as JSON</a></p>\n\
    </footer>\n\
    </body>\n\
    </html>\n";

/// A heading, and below it a table if it has rows.
fn section(
    page: &mut String,
    (id, title): &(&str, String),
    columns: &[&str],
    add_rows: impl FnOnce(&mut String),
) {
    add(page, format_args!("<section id=\"{id}\">\n<h2>{title}</h2>\n"));

    let mut rows = String::new();
    add_rows(&mut rows);
    if !rows.is_empty() {
        page.push_str("<table>\n<thead>\n<tr>");
        for column in columns {
            add(page, format_args!("<th scope=\"col\">{column}\n"));
        }
        add(page, format_args!("</thead>\n<tbody>\n{rows}</tbody>\n</table>\n"));
    }

    page.push_str("</section>\n");
}

/// The order of the problems: those that this process has seen begin, then the others; of each, the
/// latest first, and of what was opened at once the worst.
///
/// It does not depend on the time, so it cannot tell what is new from what is old, as the live page
/// does.
fn order_of(problem: &Problem) -> impl Ord + use<> {
    let Problem { since_seen, opened, cause, units, .. } = problem;
    // The others may follow from a source that cannot be relied on.
    let is_of_source = matches!(cause, ProblemCause::Source(_));

    Reverse((*since_seen, *opened, is_of_source, cause.severity(), units.len()))
}

fn problem_row(page: &mut String, problem: &Problem) {
    let tone = match problem.cause.severity() {
        ProblemSeverity::Critical => "bad",
        ProblemSeverity::Warning => "warn",
    };
    let (summary, description) = (problem.summary(), problem.description());

    row(page, Some(tone));
    cell(page, "name", HtmlText(&summary));
    cell(page, "reason", HtmlText(&description));
    since_cell(page, (problem.since, problem.since_seen));
}

fn unit_row(page: &mut String, unit: &Unit, addresses: &Addresses<'_>) {
    row(page, tone(unit.verdict));
    cell(page, "name", HtmlText(&unit.state.unit));
    cell(page, "state", HtmlText(&state_of_unit(unit)));
    match unit.verdict {
        Verdict::Ok => cell(page, "verdict", Verdict::Ok),
        wrong => {
            let reason = HtmlText(&unit.reason);
            cell(page, "verdict", format_args!("{wrong} <span>{reason}</span>"));
        }
    }
    cell(page, "machine", HtmlText(&machine_of_unit(unit, addresses)));
    since_cell(page, (unit.since, unit.since_seen));
}

fn machine_row(page: &mut String, member: &Member) {
    let state = MachineState::of(member);
    let leader = if member.leads { ", engine leader" } else { "" };
    let text_or_dash = |text: &'_ Option<Text>| text.as_deref().unwrap_or(UNKNOWN).to_owned();

    row(page, state.tone());
    cell(page, "name", HtmlText(address_of_member(member)));
    cell(page, "state", format_args!("{}{leader}", state.name()));
    since_cell(page, state.since(member));
    cell(page, "id", HtmlText(&member.machine.id));
    cell(page, "version", HtmlText(&text_or_dash(&member.machine.version)));
    cell(page, "metadata", HtmlText(&text_or_dash(&member.machine.metadata)));
}

fn event_row(page: &mut String, transition: &Transition) {
    let tone = match transition.event.severity() {
        Severity::Warning => Some("warn"),
        Severity::Info => None,
    };
    let text = transition.event.to_string();

    row(page, tone);
    cell(page, "since", timestamp(transition.time));
    cell(page, "event", HtmlText(&text));
}

/// Begins a row. The tone is a colour of the style sheet.
fn row(page: &mut String, tone: Option<&str>) {
    match tone {
        Some(tone) => add(page, format_args!("<tr data-tone=\"{tone}\">")),
        None => page.push_str("<tr>"),
    }
}

/// Adds a cell to the row. HTML does not need the ends of cells and rows.
fn cell(page: &mut String, class: &str, html: impl Display) {
    add(page, format_args!("<td class=\"{class}\">{html}\n"));
}

/// When something began, or by when it had begun, if this process did not see it begin.
fn since_cell(page: &mut String, (since, is_seen): (SystemTime, bool)) {
    let before = if is_seen { "" } else { "before " };
    cell(page, "since", format_args!("{before}{}", timestamp(since)));
}

fn add(page: &mut String, html: impl Display) {
    write!(page, "{html}").expect("writing to a string does not fail");
}

fn tone(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Failed | Verdict::CrashLoop | Verdict::MachineLost | Verdict::Unreported => {
            Some("bad")
        }
        Verdict::Unscheduled | Verdict::Ghost | Verdict::Stale | Verdict::Outdated => Some("warn"),
        Verdict::Ok => None,
    }
}

/// `active/running`, after the load state if that is not `loaded`.
fn state_of_unit(unit: &Unit) -> String {
    let load = unit.state.load.as_deref().filter(|load| *load != "loaded");
    let active = match (&unit.state.active, &unit.state.sub) {
        (Some(active), Some(sub)) => Some(format!("{active}/{sub}")),
        (Some(active), None) => Some(active.to_string()),
        (None, _) => None,
    };

    match (load, active) {
        (Some(load), Some(active)) => format!("{load}, {active}"),
        (Some(load), None) => load.to_owned(),
        (None, Some(active)) => active,
        (None, None) => UNKNOWN.to_owned(),
    }
}

/// The addresses of machines, or else their IDs.
type Addresses<'a> = HashMap<&'a MachineId, &'a str>;

/// The machine that a unit is on, or else its target: the address, or else the ID.
fn machine_of_unit(unit: &Unit, addresses: &Addresses<'_>) -> String {
    let address = |id: &MachineId| addresses.get(id).map_or(&**id, |address| *address).to_owned();
    let target = unit.file.as_ref().and_then(|file| file.target.as_ref());

    match (&unit.state.ip, &unit.state.machine, target) {
        (Some(ip), ..) => ip.to_string(),
        (None, Some(machine), _) => address(machine),
        (None, None, Some(target)) => format!("target {}", address(target)),
        (None, None, None) => UNKNOWN.to_owned(),
    }
}

/// The address of a machine, or else its ID.
fn address_of_member(member: &Member) -> &str {
    member.machine.ip.as_deref().unwrap_or(&member.machine.id)
}

/// Whether a machine is in the cluster. The worst comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum MachineState {
    Lost,
    Silent,
    Present,
}

impl MachineState {
    fn of(member: &Member) -> Self {
        if member.lost_since.is_some() {
            Self::Lost
        } else if member.silent_since.is_some() {
            Self::Silent
        } else {
            Self::Present
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Present => "in the cluster",
        }
    }

    fn tone(self) -> Option<&'static str> {
        match self {
            Self::Lost => Some("bad"),
            Self::Silent => Some("warn"),
            Self::Present => None,
        }
    }

    /// Since when, and whether this process saw it begin.
    fn since(self, member: &Member) -> (SystemTime, bool) {
        match (member.lost_since, member.silent_since) {
            (Some(since), _) | (None, Some(since)) => (since, true),
            (None, None) => (member.since, member.since_seen),
        }
    }
}

/// `2023-11-14 22:13:20`, in UTC.
fn timestamp(time: SystemTime) -> String {
    let seconds = unix_seconds(time);
    format!("{} {}", day(seconds), time_of_day(seconds))
}

/// The part of a [`timestamp`] without its seconds, in characters.
const MINUTE: usize = "2023-11-14 22:13".len();
