//! Draws the model. Pure: it knows neither a terminal nor what happens next.
//!
//! From top to bottom: the source and the state of the data, what is wrong, the tabs, the list or
//! the details, maybe a notice, and the keys or the filter that is typed.

mod columns;
mod details;
mod headline;
mod help;
mod theme;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget, Wrap};

use self::columns::{Column, ListCell};
use self::headline::headline;
pub(super) use self::theme::Theme;
use super::edit_line::EditLine;
use super::list::Key;
use super::model::{Connection, Mode, Model};
use super::order::Tab;
use crate::report::{HealthState, Since, SourceHealth};

/// How many lines are above the rows of a list: the title, the headline, the tabs, the head.
const LINES_ABOVE: u16 = 4;

/// How many rows of a list are visible on a screen of this height.
pub(super) fn list_height(model: &Model, height: u16) -> usize {
    let below = 1 + u16::from(notice(model).is_some());
    height.saturating_sub(LINES_ABOVE + below).into()
}

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame, model: &Model, theme: Theme) {
    let area = frame.area();
    let mut lines = area.rows();
    let mut next_line = || lines.next().unwrap_or_default();
    let buffer = frame.buffer_mut();

    draw_ends(buffer, next_line(), &title(model), &state_of_data(model, theme));
    draw_line(buffer, next_line(), &headline(model, theme));
    draw_ends(buffer, next_line(), &tabs(model), &settings(model));

    let mut bottom = area.rows().rev();
    let last_line = bottom.next().unwrap_or_default();
    if let Some(notice) = notice(model) {
        let notice = Line::styled(notice, theme.warning());
        draw_line(buffer, bottom.next().unwrap_or_default(), &notice);
    }

    let rows = u16::try_from(list_height(model, area.height)).unwrap_or(0);
    let middle = Rect { y: area.y + LINES_ABOVE - 1, height: rows + 1, ..area }.intersection(area);
    match visible_mode(model) {
        Mode::Details(key) => draw_details(buffer, middle, model, key, theme),
        _ => draw_list(buffer, middle, model, theme),
    }
    if let Mode::Help(_) = model.mode {
        help::draw(buffer, area);
    }

    if let Mode::Filter(line) = &model.mode {
        let position = draw_filter(buffer, last_line, line);
        frame.set_cursor_position(position);
    } else {
        let keys = Line::styled(keys(model), Theme::faint());
        draw_ends(buffer, last_line, &keys, &part_of_list(model));
    }
}

/// What is shown below the help.
fn visible_mode(model: &Model) -> &Mode {
    match &model.mode {
        Mode::Help(behind) => behind,
        mode => mode,
    }
}

fn title(model: &Model) -> Line<'_> {
    let source = match &model.cluster.health {
        Some(health) if !health.source.is_empty() => &health.source,
        _ => &model.cluster.hello.source,
    };
    Line::from(vec![
        Span::styled("fleet-monitor", Theme::heading()),
        Span::from(format!("  {source}")),
    ])
}

/// Whether the rows are up to date, and if not, since when.
fn state_of_data(model: &Model, theme: Theme) -> Line<'static> {
    match &model.connection {
        Connection::Connecting => Line::styled("connecting", theme.warning()),
        Connection::Lost { next_attempt, .. } => {
            let seconds = model.remaining(*next_attempt).as_millis().div_ceil(1000);
            let attempt = match seconds {
                0 => "reconnecting".to_owned(),
                _ => format!("reconnecting in {seconds} s"),
            };
            Line::styled(format!("disconnected: {attempt}"), theme.bad())
        }
        Connection::Live => match &model.cluster.health {
            None => Line::styled("connecting", theme.warning()),
            Some(health) => state_of_source(model, health, theme),
        },
    }
}

fn state_of_source(model: &Model, health: &SourceHealth, theme: Theme) -> Line<'static> {
    let lasting = |state: &str| match health.since {
        Some(since) => format!("{state} for {}", model.times().lasting(Since::seen_at(since))),
        None => state.to_owned(),
    };

    match health.state {
        HealthState::Ok if health.recording => Line::styled("recording", theme.good()),
        HealthState::Ok => Line::styled("live", theme.good()),
        HealthState::Starting => Line::styled("starting", theme.warning()),
        HealthState::Failing => Line::styled(lasting("stale"), theme.bad()),
        HealthState::Overdue => Line::styled(lasting("overdue"), theme.warning()),
        HealthState::Suspect => Line::styled(lasting("suspect"), theme.warning()),
        HealthState::Ended => Line::styled("recording, ended", theme.good()),
        HealthState::Unknown => Line::styled("not known", theme.warning()),
    }
}

fn tabs(model: &Model) -> Line<'static> {
    let cluster = &model.cluster;
    let mut line = Line::default();

    for (index, tab) in Tab::ALL.into_iter().enumerate() {
        let (name, count) = match tab {
            Tab::Units => ("Units", cluster.units.len()),
            Tab::Machines => ("Machines", cluster.machines.len()),
            Tab::Events => ("Events", cluster.events.len()),
        };
        let style = if tab == model.tab {
            Theme::selected()
        } else {
            Style::new()
        };
        line.push_span(Span::styled(format!(" {} {name} {count} ", index + 1), style));
    }
    line
}

/// The filter in force, and the zone of the times in the list, if there are any.
fn settings(model: &Model) -> Line<'static> {
    let filter = match (&model.filter.requested, &*model.filter.applied) {
        (Some(requested), _) if requested.is_empty() => Some("filter: none (waiting)".to_owned()),
        (Some(requested), _) => Some(format!("filter: {requested} (waiting)")),
        (None, "") => None,
        (None, applied) => Some(format!("filter: {applied}")),
    };
    let times = model.times();
    let zone = times.are_absolute().then(|| format!("times: {}", times.zone()));

    Line::from([filter, zone].into_iter().flatten().collect::<Vec<_>>().join("  "))
}

/// What else is to be known, in one line.
fn notice(model: &Model) -> Option<&str> {
    if let Some(refusal) = &model.filter.refusal {
        return Some(&refusal.message);
    }
    if let Connection::Lost { reason, .. } = &model.connection {
        return Some(reason);
    }

    let health = model.cluster.health.as_ref()?;
    match health.state {
        HealthState::Suspect => {
            Some("So many units are missing from fleet's list that it is not trusted for now.")
        }
        _ => health.reason.as_deref(),
    }
}

fn keys(model: &Model) -> &'static str {
    match &model.mode {
        Mode::Help(_) => "any key: back",
        Mode::Details(_) => "Esc back  ↑↓ other rows  ? help  q quit",
        Mode::List | Mode::Filter(_) => {
            "Enter details  / filter  s sort  r reverse  Tab list  ? help  q quit"
        }
    }
}

/// Which rows are visible, if not all are.
fn part_of_list(model: &Model) -> Line<'static> {
    match (&model.mode, model.list().part()) {
        (Mode::List, Some((first, last, count))) => {
            Line::styled(format!("{first}–{last} of {count}"), Theme::faint())
        }
        _ => Line::default(),
    }
}

/// Draws the filter that is being typed, and returns the place of the cursor.
fn draw_filter(buffer: &mut Buffer, area: Rect, line: &EditLine) -> Position {
    let (before, after) = line.parts();
    let before = format!("filter: {before}");
    let width = u16::try_from(Span::from(&before).width()).unwrap_or(u16::MAX);
    // The end of a text that is too long matters more than its beginning.
    let hidden = (width + 1).saturating_sub(area.width);

    Paragraph::new(format!("{before}{after}"))
        .scroll((0, hidden))
        .render(area, buffer);
    Position::new(area.x + width - hidden, area.y)
}

fn draw_details(buffer: &mut Buffer, area: Rect, model: &Model, key: &Key, theme: Theme) {
    Paragraph::new(details::lines(model, key, theme))
        .wrap(Wrap { trim: false })
        .render(area, buffer);
}

fn draw_list(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let layout = columns::layout(model.tab, model.time_format, area.width);
    let mut lines = area.rows();
    let Some(head) = lines.next() else {
        return;
    };
    draw_head(buffer, head, model, &layout);

    let cluster = &model.cluster;
    let times = model.times();
    let units = match model.tab {
        Tab::Machines => cluster.count_units_by_machine(),
        Tab::Units | Tab::Events => std::collections::HashMap::new(),
    };
    let is_old = matches!(model.connection, Connection::Lost { .. });

    for ((key, is_selected), line) in model.list().visible().zip(lines) {
        let cell = |column| match key {
            Key::Unit(key) => cluster
                .units
                .get(key)
                .map(|unit| columns::unit_cell(column, unit, &times, theme)),
            Key::Machine(id) => cluster
                .machines
                .get(id)
                .map(|machine| columns::machine_cell(column, machine, &units, &times, theme)),
            Key::Event(number) => model
                .event(*number)
                .map(|event| columns::event_cell(column, event, &times, theme)),
        };

        draw_cells(buffer, line, &layout, cell);
        if is_old {
            buffer.set_style(line, Theme::faint());
        }
        if is_selected {
            buffer.set_style(line, Theme::selected());
        }
    }
}

fn draw_head(buffer: &mut Buffer, area: Rect, model: &Model, layout: &[(Column, u16)]) {
    let (order, is_reversed) = model.order();
    let arrow = if is_reversed { " ▲" } else { " ▼" };

    draw_cells(buffer, area, layout, |column| {
        let is_sorted = column.is_sorted_by(model.tab, order);
        let title = format!("{}{}", column.title(), if is_sorted { arrow } else { "" });
        Some(ListCell { text: title.into(), style: Theme::heading() })
    });
}

fn draw_cells<'a>(
    buffer: &mut Buffer,
    line: Rect,
    layout: &[(Column, u16)],
    cell: impl Fn(Column) -> Option<ListCell<'a>>,
) {
    let mut x = line.x;
    for (column, width) in layout {
        if let Some(ListCell { text, style }) = cell(*column) {
            draw_text(buffer, x, line.y, &text, *width, style);
        }
        x += width + 1;
    }
}

/// Draws a text, whose end is replaced by `…` if it is too long.
fn draw_text(buffer: &mut Buffer, x: u16, y: u16, text: &str, width: u16, style: Style) {
    let (end, _) = buffer.set_stringn(x, y, text, width.into(), style);

    // A wide character may leave the last cell empty.
    let is_full = width > 0 && end + 1 >= x + width;
    if is_full && Span::raw(text).width() > width.into() {
        buffer.set_stringn(x + width - 1, y, "…", 1, style);
    }
}

/// Draws a line, whose end is replaced by `…` if it is too long.
fn draw_line(buffer: &mut Buffer, area: Rect, line: &Line) {
    line.render(area, buffer);

    if area.width > 0 && line.width() > area.width.into() {
        buffer[(area.right() - 1, area.y)].set_symbol("…");
    }
}

/// Draws a line at the left, and one at the right that has precedence.
fn draw_ends(buffer: &mut Buffer, area: Rect, left: &Line, right: &Line) {
    draw_line(buffer, area, left);
    if right.width() > 0 {
        draw_right(buffer, area, right);
    }
}

/// Draws a line at the right, with a gap of two cells before it.
fn draw_right(buffer: &mut Buffer, area: Rect, line: &Line) {
    let width = u16::try_from(line.width()).unwrap_or(u16::MAX).min(area.width);
    let gap = Rect {
        x: area.right().saturating_sub(width + 2).max(area.x),
        width: 2.min(area.width - width),
        ..area
    };
    for x in gap.left()..gap.right() {
        buffer[(x, gap.y)].reset();
    }

    buffer.set_line(area.right() - width, area.y, line, width);
}

#[cfg(test)]
mod tests;
