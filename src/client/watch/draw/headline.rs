//! What is wrong, in one line. Pure.

use ratatui::text::{Line, Span};

use super::super::model::{Connection, Model};
use super::theme::Theme;
use crate::report::duration::duration;
use crate::report::{MachineCondition, verdicts};

/// `1 machine lost, 1 silent; units: 2 failed, 1 stale`, or that all is well. Without a connection,
/// the age of the data comes first.
pub(super) fn headline(model: &Model, theme: Theme) -> Line<'static> {
    let mut line = Line::default();
    if let (Connection::Lost { .. }, Some(last)) = (&model.connection, model.last_message) {
        let age = duration(model.elapsed(last).as_secs());
        line.push_span(Span::styled(format!("as of {age} ago: "), theme.bad()));
    }

    let machines = machine_spans(model, theme);
    let units = unit_spans(model, theme);
    if machines.is_empty() && units.is_empty() {
        line.push_span(without_problem(model, theme));
        return line;
    }
    let separator = if machines.is_empty() || units.is_empty() {
        ""
    } else {
        "; "
    };
    line.extend(machines);
    line.push_span(separator);
    line.extend(units);
    line
}

fn without_problem(model: &Model, theme: Theme) -> Span<'static> {
    let is_read = model
        .cluster
        .health
        .as_ref()
        .and_then(|health| health.topics.get("units"))
        .is_some_and(|units| units.age.is_some());

    match model.cluster.units.len() {
        0 if !is_read => Span::from("no data yet"),
        0 if !model.filter.applied.is_empty() => Span::from("no unit matches"),
        0 => Span::from("no units"),
        1 => Span::styled("1 unit ok", theme.good()),
        units => Span::styled(format!("{units} units ok"), theme.good()),
    }
}

/// How many machines are lost, and how many are silent.
fn machine_spans(model: &Model, theme: Theme) -> Vec<Span<'static>> {
    let mut spans: Vec<Span> = Vec::new();
    for condition in [MachineCondition::Lost, MachineCondition::Silent] {
        let word = condition.word();
        let text = match (spans.is_empty(), model.cluster.count_machines(condition)) {
            (_, 0) => continue,
            (true, 1) => format!("1 machine {word}"),
            (true, count) => format!("{count} machines {word}"),
            (false, count) => format!(", {count} {word}"),
        };
        spans.push(Span::styled(text, theme.tone(condition.tone())));
    }
    spans
}

/// How many units have each problem.
fn unit_spans(model: &Model, theme: Theme) -> Vec<Span<'static>> {
    let problems = model.verdicts.iter().filter(|(verdict, _)| verdict != "ok");
    problems
        .enumerate()
        .map(|(index, (verdict, count))| {
            let before = if index == 0 { "units: " } else { ", " };
            let text = format!("{before}{count} {}", verdicts::word(verdict));
            Span::styled(text, theme.verdict(verdict))
        })
        .collect()
}
