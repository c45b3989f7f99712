//! The columns of the lists: which of them fit, how wide they are, and what is in their cells.
//! Pure.

use std::borrow::Cow;
use std::collections::HashMap;

use ratatui::style::Style;

use super::super::order::{Order, Tab};
use super::theme::Theme;
use crate::report::{EventRow, MachineRow, Since, TimeFormat, Times, UnitCount, UnitRow, verdicts};

/// A column of one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Unit,
    State,
    Verdict,
    Machine,
    Since,
    Reason,
    MachineId,
    Presence,
    Units,
    Version,
    Metadata,
    /// The time of an event in full.
    Time,
    /// The time of an event, if the reader wants times.
    At,
    Ago,
    Severity,
    Kind,
    Text,
}

/// The width of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    /// So many cells.
    Cells(u16),
    /// This share of what the others leave.
    Share(u16),
}

/// A cell of a row.
pub(super) struct ListCell<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) style: Style,
}

/// The columns of a list that fit into a width, each with its own width.
pub(super) fn layout(tab: Tab, format: TimeFormat, width: u16) -> Vec<(Column, u16)> {
    let columns = columns(tab, format, width);
    let gaps = u16::try_from(columns.len()).unwrap_or(0).saturating_sub(1);
    let fixed: u16 = columns.iter().map(|(_, width)| width.cells()).sum();
    let left = width.saturating_sub(fixed + gaps);
    let shares: u16 = columns.iter().map(|(_, width)| width.share()).sum();

    columns
        .into_iter()
        .map(|(column, width)| match width {
            Width::Cells(cells) => (column, cells),
            Width::Share(share) => (column, left * share / shares),
        })
        .collect()
}

fn columns(tab: Tab, format: TimeFormat, width: u16) -> Vec<(Column, Width)> {
    use Column::{
        Ago, At, Kind, Machine, MachineId, Metadata, Presence, Reason, Severity, Since, State,
        Text, Time, Unit, Units, Verdict, Version,
    };
    use Width::{Cells, Share};

    // `activating/auto-restart` needs the larger one.
    let state = if width < 100 { 18 } else { 23 };
    // A time takes more room than an age.
    let is_relative = format == TimeFormat::Relative;
    let (least_since, since) = if is_relative { (36, 9) } else { (41, 14) };
    let when: [(u16, Column, Width); 2] = if is_relative {
        [(120, Time, Cells(20)), (0, Ago, Cells(8))]
    } else {
        [(0, At, Cells(12)), (120, Ago, Cells(8))]
    };
    // Each column with the least width of the screen in which it has its place.
    let all: &[(u16, Column, Width)] = match tab {
        Tab::Units => &[
            (0, Unit, Share(2)),
            (56, State, Cells(state)),
            (0, Verdict, Cells(12)),
            (72, Machine, Cells(15)),
            (least_since, Since, Cells(since)),
            (120, Reason, Share(3)),
        ],
        Tab::Machines => &[
            (0, Machine, Cells(15)),
            (160, MachineId, Cells(32)),
            (0, Presence, Cells(8)),
            (least_since, Since, Cells(since)),
            (48, Units, Cells(8)),
            (100, Version, Cells(8)),
            (60, Metadata, Share(1)),
        ],
        Tab::Events => &[
            when[0],
            when[1],
            (56, Severity, Cells(8)),
            (120, Kind, Cells(16)),
            (0, Text, Share(1)),
        ],
    };
    all.iter()
        .filter(|(least, _, _)| width >= *least)
        .map(|(_, column, width)| (*column, *width))
        .collect()
}

impl Width {
    fn cells(self) -> u16 {
        match self {
            Width::Cells(cells) => cells,
            Width::Share(_) => 0,
        }
    }

    fn share(self) -> u16 {
        match self {
            Width::Cells(_) => 0,
            Width::Share(share) => share,
        }
    }
}

impl Column {
    pub(super) fn title(self) -> &'static str {
        match self {
            Column::Unit => "unit",
            Column::State | Column::Presence => "state",
            Column::Verdict => "verdict",
            Column::Machine => "machine",
            Column::Since => "since",
            Column::Reason => "reason",
            Column::MachineId => "ID",
            Column::Units => "units",
            Column::Version => "fleet",
            Column::Metadata => "metadata",
            Column::Time => "time",
            Column::At => "at",
            Column::Ago => "ago",
            Column::Severity => "severity",
            Column::Kind => "event",
            Column::Text => "what",
        }
    }

    /// Whether the rows of the tab are sorted by this column.
    pub(super) fn is_sorted_by(self, tab: Tab, order: Order) -> bool {
        match (tab, order) {
            (Tab::Units, Order::Problem) => self == Column::Verdict,
            (Tab::Units, Order::Name) => self == Column::Unit,
            (Tab::Machines, Order::Problem) => self == Column::Presence,
            (Tab::Units | Tab::Machines, Order::Machine) | (Tab::Machines, Order::Name) => {
                self == Column::Machine
            }
            (Tab::Units | Tab::Machines, Order::Since) => self == Column::Since,
            (Tab::Events, _) => matches!(self, Column::Ago | Column::At),
        }
    }
}

/// The cell of a unit.
pub(super) fn unit_cell<'a>(
    column: Column,
    unit: &'a UnitRow,
    times: &Times,
    theme: Theme,
) -> ListCell<'a> {
    let style = theme.verdict(&unit.verdict);
    match column {
        Column::Unit => ListCell::plain(&*unit.unit),
        Column::State if unit.active.as_deref() == Some("failed") => {
            ListCell::styled(unit.state(), theme.bad())
        }
        Column::State => ListCell::plain(unit.state()),
        Column::Verdict => ListCell::styled(verdicts::word(&unit.verdict), style),
        Column::Machine => ListCell::plain(unit.place().unwrap_or("-")),
        Column::Since => ListCell::plain(times.brief(Since::of_unit(unit))),
        Column::Reason => ListCell::plain(&*unit.reason),
        _ => ListCell::plain(""),
    }
}

/// The cell of a machine. `units` has the number of units on each machine.
pub(super) fn machine_cell<'a>(
    column: Column,
    machine: &'a MachineRow,
    units: &HashMap<&str, UnitCount>,
    times: &Times,
    theme: Theme,
) -> ListCell<'a> {
    match column {
        Column::Machine => ListCell::plain(machine.name()),
        Column::MachineId => ListCell::plain(&*machine.machine),
        Column::Presence => {
            let status = machine.status();
            ListCell::styled(status.word(), theme.tone(status.tone()))
        }
        Column::Since => ListCell::plain(times.brief(Since::of_machine(machine))),
        Column::Units => {
            let count = units.get(&*machine.machine).copied().unwrap_or_default();
            ListCell::plain(count.all.to_string())
        }
        Column::Version => ListCell::plain(machine.version.as_deref().unwrap_or("-")),
        Column::Metadata => ListCell::plain(machine.metadata.as_deref().unwrap_or("-")),
        _ => ListCell::plain(""),
    }
}

/// The cell of an event.
pub(super) fn event_cell<'a>(
    column: Column,
    event: &'a EventRow,
    times: &Times,
    theme: Theme,
) -> ListCell<'a> {
    let style = severity_style(event, theme);
    match column {
        Column::Time => ListCell::plain(times.rfc_3339(event.time)),
        Column::At => ListCell::plain(times.brief(Since::seen_at(event.time))),
        Column::Ago => ListCell::plain(Since::seen_at(event.time).age(times.now())),
        Column::Severity => ListCell::styled(&*event.severity, style),
        Column::Kind => ListCell::plain(&*event.event),
        Column::Text => ListCell::styled(&*event.text, style),
        _ => ListCell::plain(""),
    }
}

pub(super) fn severity_style(event: &EventRow, theme: Theme) -> Style {
    if event.severity == "warning" {
        theme.warning()
    } else {
        Style::new()
    }
}

impl<'a> ListCell<'a> {
    fn plain(text: impl Into<Cow<'a, str>>) -> Self {
        Self::styled(text, Style::new())
    }

    fn styled(text: impl Into<Cow<'a, str>>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_any_width_the_columns_fit() {
        let formats = [TimeFormat::Relative, TimeFormat::Local];
        for (tab, format) in Tab::ALL
            .into_iter()
            .flat_map(|tab| formats.map(|format| (tab, format)))
        {
            for width in 30..300 {
                let layout = layout(tab, format, width);
                let gaps = u16::try_from(layout.len()).unwrap() - 1;
                let used: u16 = layout.iter().map(|(_, width)| width).sum();

                assert!(used + gaps <= width, "{tab:?} at {width}: {layout:?}");
                assert!(layout.iter().all(|(_, width)| *width >= 8), "{tab:?}: {layout:?}");
            }
        }
    }

    #[test]
    fn a_narrow_screen_keeps_the_name_and_the_verdict() {
        let columns = |width| -> Vec<Column> {
            layout(Tab::Units, TimeFormat::Relative, width)
                .into_iter()
                .map(|(column, _)| column)
                .collect()
        };
        assert_eq!(columns(30), [Column::Unit, Column::Verdict]);
        assert_eq!(columns(80).len(), 5);
        assert!(columns(200).contains(&Column::Reason));
    }
}
