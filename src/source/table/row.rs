//! Splits a table of fleetctl into rows and cells. Pure.
//!
//! It must not know which list a table is. It knows the format of single cells: names, `ID/IP`, and
//! free text, of which a description (`desc`) may continue on the next line.

use std::borrow::Cow;
use std::iter::Enumerate;
use std::str::SplitTerminator;

use super::TableError;
use crate::cluster::{Text, UnitName};
use crate::source::rows::printable;

/// Columns that hold free text, which may contain tabs. Such a column is only possible in the last
/// place, and is read to the end of the line.
const FREE_TEXT: [&str; 2] = ["desc", "metadata"];

/// How many characters of a line an error quotes.
const QUOTED_CHARACTERS: usize = 80;

/// One row, which may take several lines.
pub(super) struct TableRow<'a> {
    /// The number of its first line, from 1.
    number: usize,
    line: &'a str,
    columns: &'a [&'a str],
    cells: Vec<Cow<'a, str>>,
}

impl TableRow<'_> {
    /// The value of a column, as printed; `None` if it is `-`, or if the column was not requested.
    pub(super) fn cell(&self, column: &str) -> Option<&str> {
        let index = self.columns.iter().position(|name| *name == column)?;
        self.cells.get(index).map(AsRef::as_ref).filter(|cell| *cell != "-")
    }

    /// The value of a column, without control characters.
    pub(super) fn text(&self, column: &str) -> Option<Text> {
        self.cell(column).map(printable)
    }

    pub(super) fn unit(&self) -> Result<UnitName, TableError> {
        self.cell("unit")
            .map(Into::into)
            .ok_or_else(|| self.missing_name("unit"))
    }

    /// The machine's ID and IP address from a cell `ID/IP`. `/IP` is missing if the machine is not
    /// in fleet's list of machines.
    pub(super) fn machine(
        &self,
        column: &'static str,
    ) -> Result<(Option<&str>, Option<&str>), TableError> {
        let Some(cell) = self.cell(column) else {
            return Ok((None, None));
        };

        let (id, ip) = cell.split_once('/').unwrap_or((cell, ""));
        if id.is_empty() {
            return Err(self.missing_name(column));
        }
        Ok((Some(id), Some(ip).filter(|ip| !ip.is_empty())))
    }

    pub(super) fn missing_name(&self, column: &'static str) -> TableError {
        TableError::MissingName { line: self.number, column, text: quoted(self.line) }
    }
}

/// The rows of a table.
pub(super) struct TableRows<'a> {
    columns: &'a [&'a str],
    lines: Enumerate<SplitTerminator<'a, char>>,
}

impl<'a> TableRows<'a> {
    /// Checks that the output may be a table. The rows themselves are checked one by one.
    pub(super) fn new(output: &'a [u8], columns: &'a [&'a str]) -> Result<Self, TableError> {
        let text = std::str::from_utf8(output)
            .map_err(|error| TableError::NotUtf8(error.valid_up_to()))?;
        if ["NAME:", "Usage", "USAGE"]
            .iter()
            .any(|title| text.starts_with(title))
        {
            return Err(TableError::HelpText);
        }

        if !(text.is_empty() || text.ends_with('\n'))
            && let Some((index, line)) = text.split('\n').enumerate().last()
        {
            return Err(cut_off(index + 1, line));
        }
        Ok(Self { columns, lines: text.split_terminator('\n').enumerate() })
    }

    fn row(&mut self, number: usize, line: &'a str) -> Result<TableRow<'a>, TableError> {
        let columns = self.columns;
        let mut cells = cells(line, columns).ok_or_else(|| TableError::WrongColumns {
            line: number,
            expected: columns.len(),
            text: quoted(line),
        })?;
        if has_control_characters(line, &cells, columns) {
            return Err(TableError::ControlCharacters {
                line: number,
                text: quoted(&line.escape_debug().to_string()),
            });
        }

        // fleetctl prints a description of several lines as in the unit file. systemd replaces the
        // backslash at the end of a line with a space, and skips the white space at the beginning
        // of the next line (`systemd.syntax(7)`).
        if columns.last() == Some(&"desc")
            && let Some(description) = cells.last_mut()
        {
            while let Some(begin) = description.strip_suffix('\\') {
                let (_, next_line) = self.lines.next().ok_or_else(|| cut_off(number, line))?;
                let rest = without_line_end(next_line).trim_start();
                *description = Cow::Owned(format!("{begin} {rest}"));
            }
        }

        Ok(TableRow { number, line, columns, cells })
    }
}

impl<'a> Iterator for TableRows<'a> {
    type Item = Result<TableRow<'a>, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (index, line) = self.lines.next()?;
        Some(self.row(index + 1, without_line_end(line)))
    }
}

/// A line without the CRs at its end: each terminal between fleetctl and this program adds one.
fn without_line_end(line: &str) -> &str {
    line.trim_end_matches('\r')
}

fn ends_in_free_text(columns: &[&str]) -> bool {
    columns.last().is_some_and(|last| FREE_TEXT.contains(last))
}

/// Whether a line has control characters outside of free text.
fn has_control_characters(line: &str, cells: &[Cow<str>], columns: &[&str]) -> bool {
    // Most lines are printable ASCII: their cells need not be checked.
    if line.bytes().all(|byte| byte == b'\t' || (b' '..0x7f).contains(&byte)) {
        return false;
    }

    let checked = cells.len() - usize::from(ends_in_free_text(columns));
    cells[..checked].iter().any(|cell| cell.contains(char::is_control))
}

/// Splits a line at runs of tabs. `None` if the number of cells is wrong, or a cell is empty.
fn cells<'a>(line: &'a str, columns: &[&str]) -> Option<Vec<Cow<'a, str>>> {
    let ends_in_free_text = ends_in_free_text(columns);
    let mut cells = Vec::with_capacity(columns.len());
    let mut rest = line;

    while !(ends_in_free_text && cells.len() + 1 == columns.len())
        && let Some((cell, next)) = rest.split_once('\t')
    {
        cells.push(Cow::Borrowed(cell));
        rest = next.trim_start_matches('\t');
    }
    cells.push(Cow::Borrowed(rest));

    (cells.len() == columns.len() && cells.iter().all(|cell| !cell.is_empty())).then_some(cells)
}

fn cut_off(line: usize, text: &str) -> TableError {
    TableError::CutOff { line, text: quoted(text) }
}

/// The beginning of a line.
fn quoted(line: &str) -> String {
    match line.char_indices().nth(QUOTED_CHARACTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
