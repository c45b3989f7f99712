//! What is wrong, in one line. Pure.

use ratatui::text::{Line, Span};

use super::super::model::{Connection, Model};
use super::theme::Theme;
use crate::report::counted::counted;
use crate::report::problems;

/// How many problems are named at most. A line of a screen has no room for more.
const MAX_NAMED: usize = 20;

/// `2 problems: machine 10.0.0.3 (d2e8f4a1) lost, 20 units; db.service failed on 10.0.0.1`, or that
/// all is well. Without a connection, the age of the data comes first.
pub(super) fn headline(model: &Model, theme: Theme) -> Line<'_> {
    let mut line = Line::default();
    if let (Connection::Lost { .. }, Some(last)) = (&model.connection, model.last_message) {
        let elapsed = u64::try_from(model.elapsed(last).as_millis()).unwrap_or(u64::MAX);
        let times = model.times();
        let ago = times.ago(times.now().saturating_sub(elapsed));
        line.push_span(Span::styled(format!("as of {ago}: "), theme.bad()));
    }

    let problems = problem_spans(model, theme);
    match (problems.is_empty(), model.pending.is_empty()) {
        (true, true) => line.push_span(without_problem(model, theme)),
        (true, false) => line.push_span(pending(model, theme)),
        (false, true) => line.extend(problems),
        (false, false) => {
            line.extend(problems);
            line.push_span("; ");
            line.push_span(pending(model, theme));
        }
    }
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

/// How many problems there are, and each of them, those to look at first in front.
fn problem_spans(model: &Model, theme: Theme) -> Vec<Span<'_>> {
    let problems = problems(&model.cluster, model.server_now());
    if problems.is_empty() {
        return vec![];
    }

    let mut spans = vec![Span::from(counted(problems.len(), "problem"))];
    for (index, problem) in problems.into_iter().take(MAX_NAMED).enumerate() {
        spans.push(Span::from(if index == 0 { ": " } else { "; " }));
        spans.push(Span::styled(&*problem.text, theme.tone(problem.tone())));
    }
    spans
}

fn pending(model: &Model, theme: Theme) -> Span<'static> {
    Span::styled(model.pending.to_string(), theme.warning())
}
