//! Columns of text: aligned, cut to a width, coloured, or plain.
//!
//! It does not know what the columns hold.

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::verdicts::Tone;

/// Two spaces between columns.
const GAP: usize = 2;
/// A column is not cut to less than this, in columns of the terminal.
const LEAST_WIDTH: usize = 8;

/// How text is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The columns of the terminal; `None` cuts nothing, as into a pipe.
    pub width: Option<usize>,
    /// The lines of the terminal; `None` for no limit.
    pub height: Option<usize>,
    /// Whether text is coloured.
    pub color: bool,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: printable(&text.into()), tone: None }
    }
}

impl Cell {
    /// Text in the colour of a tone.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { tone: Some(tone), ..Self::from(text) }
    }
}

/// Rows with titles.
#[derive(Clone, Debug, Default)]
pub struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(titles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            titles: titles.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, with a cell for each title.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its lines, the titles first. If they are too wide, the widest columns are cut.
    pub fn lines(&self, layout: Layout) -> Vec<String> {
        let titles: Vec<Cell> = self.titles.iter().map(|title| Cell::from(&**title)).collect();
        let widths = self.widths(layout.width);

        std::iter::once(line(&titles, &widths, layout, true))
            .chain(self.rows.iter().map(|row| line(row, &widths, layout, false)))
            .collect()
    }

    fn widths(&self, available: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.titles.iter().map(|title| title.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }

        let Some(available) = available else {
            return widths;
        };
        let gaps = GAP * widths.len().saturating_sub(1);
        loop {
            let total = widths.iter().sum::<usize>() + gaps;
            let widest = widths.iter_mut().max();
            match widest {
                Some(widest) if total > available && *widest > LEAST_WIDTH => {
                    *widest -= (total - available).min(*widest - LEAST_WIDTH).min(1);
                }
                _ => return widths,
            }
        }
    }
}

fn line(cells: &[Cell], widths: &[usize], layout: Layout, is_title: bool) -> String {
    let mut line = String::new();
    let last = cells.len().saturating_sub(1);

    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let text = cut(&cell.text, *width);
        let padding = if index == last { 0 } else { width - text.width() + GAP };
        let style = match cell.tone {
            _ if !layout.color => Style::new(),
            _ if is_title => Style::new().bold(),
            Some(tone) => style(tone),
            None => Style::new(),
        };
        line += &format!("{style}{text}{style:#}{}", " ".repeat(padding));
    }
    line.truncate(line.trim_end().len());
    line
}

/// The style of a tone. It says nothing that the words do not say.
pub fn style(tone: Tone) -> Style {
    match tone {
        Tone::Bad => Style::new().fg_color(Some(AnsiColor::Red.into())).bold(),
        Tone::Warning => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
        Tone::Good => Style::new().fg_color(Some(AnsiColor::Green.into())),
    }
}

/// Text that fits a width, with `…` at its end if it was cut.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }

    let mut cut = String::new();
    let mut used = 1;
    for char in text.chars() {
        used += char.width().unwrap_or(0);
        if used > width {
            break;
        }
        cut.push(char);
    }
    cut + "…"
}

/// Text without control characters: names and descriptions of units are not trusted, and must not
/// move the cursor of a terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["UNIT", "REASON"]);
        table.push(["a.service".into(), "systemd says that it failed.".into()]);
        table.push(["b".into(), "ok".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_nothing_is_cut_without_a_width() {
        let lines = table().lines(Layout::default());
        assert_eq!(
            lines,
            ["UNIT       REASON", "a.service  systemd says that it failed.", "b          ok"]
        );
    }

    #[test]
    fn the_widest_column_is_cut_to_fit() {
        let layout = Layout { width: Some(25), ..Layout::default() };
        let lines = table().lines(layout);
        assert_eq!(lines[1], "a.service  systemd says …");
        assert!(lines.iter().all(|line| line.width() <= 25), "{lines:?}");
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        let cell = Cell::from("a\u{1b}[31mb\nc");
        assert_eq!(cell.text, "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(cut("äöü日本語", 6), "äöü日…");
    }
}
