//! Reads the tables that fleetctl prints with `--no-legend --full --fields=…`. Pure.
//!
//! It must not know how the output was obtained, or which version of fleetctl printed it.
//!
//! - A table is read by the requested columns, never by their widths: Go's `text/tabwriter` puts
//!   one or more tabs between two cells, depending on the widest cell of that call.
//! - A missing value is printed as `-`. A column that was not requested is treated as one without
//!   values, so that one reader works for all versions of fleetctl.
//! - A terminal between fleetctl and this program ends lines with CR LF, which is accepted. Any
//!   other control character is an error, except in free text, where it is replaced as in the other
//!   sources.

mod row;
#[cfg(test)]
#[path = "../../tests/fleetctl/tabwriter.rs"]
mod tabwriter;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::cluster::{Machine, Text, UnitFile, UnitState};
use row::TableRows;

/// Why an output is not the requested table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Holds the index of the first byte that is not UTF-8.
    #[error("the output is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    /// fleetctl printed its help, because it did not accept its arguments.
    #[error("the output is a help text, not a list")]
    HelpText,
    /// The output ends within a line.
    #[error("the output is cut off in line {line}: `{text}`")]
    CutOff {
        /// The number of the line, from 1.
        line: usize,
        /// The beginning of the line.
        text: String,
    },
    /// A line has more or fewer columns than requested, or an empty cell.
    #[error("line {line} does not have the {expected} requested columns: `{text}`")]
    WrongColumns {
        /// The number of the line, from 1.
        line: usize,
        /// How many columns were requested.
        expected: usize,
        /// The beginning of the line.
        text: String,
    },
    /// A column that is not free text has a control character.
    #[error(
        "line {line} has control characters in its columns: `{text}`; \
         does fleetctl write to a terminal?"
    )]
    ControlCharacters {
        /// The number of the line, from 1.
        line: usize,
        /// The beginning of the line, with its control characters escaped.
        text: String,
    },
    /// A row has no unit or machine.
    #[error("line {line} has no value in column {column}: `{text}`")]
    MissingName {
        /// The number of the line, from 1.
        line: usize,
        /// The column that needs a value.
        column: &'static str,
        /// The beginning of the line.
        text: String,
    },
}

/// Reads `list-units`.
///
/// # Errors
///
/// When any line is not a row of these columns: an incomplete table is never used.
pub fn units(output: &[u8], columns: &[&str]) -> Result<Vec<UnitState>, TableError> {
    let [mut ids, mut ips, mut loads, mut actives, mut subs] = <[TextInterner; 5]>::default();

    TableRows::new(output, columns)?
        .map(|row| {
            let row = row?;
            let (id, ip) = row.machine("machine")?;
            Ok(UnitState {
                unit: row.unit()?,
                machine: id.map(|id| ids.shared(id).into()),
                ip: ip.map(|ip| ips.shared(ip)),
                load: row.cell("load").map(|cell| loads.shared(cell)),
                active: row.cell("active").map(|cell| actives.shared(cell)),
                sub: row.cell("sub").map(|cell| subs.shared(cell)),
                hash: row.text("hash"),
            })
        })
        .collect()
}

/// Reads `list-machines`.
///
/// # Errors
///
/// When any line is not a row of these columns.
pub fn machines(output: &[u8], columns: &[&str]) -> Result<Vec<Machine>, TableError> {
    TableRows::new(output, columns)?
        .map(|row| {
            let row = row?;
            let (id, _) = row.machine("machine")?;
            Ok(Machine {
                id: id.ok_or_else(|| row.missing_name("machine"))?.into(),
                ip: row.text("ip"),
                metadata: row.text("metadata"),
                version: None,
            })
        })
        .collect()
}

/// Reads `list-unit-files`, or the columns of unit files in `list-units` of a fleetctl before 0.7.
///
/// The target is in the column `target` (`tmachine` before 0.8). The target of a global unit is
/// `global`, or `-` before 0.10.
///
/// # Errors
///
/// When any line is not a row of these columns.
pub fn unit_files(output: &[u8], columns: &[&str]) -> Result<Vec<UnitFile>, TableError> {
    let target_column = ["target", "tmachine"]
        .into_iter()
        .find(|column| columns.contains(column));
    let [mut desired_states, mut targets] = <[TextInterner; 2]>::default();

    TableRows::new(output, columns)?
        .map(|row| {
            let row = row?;
            let global = row.cell("global") == Some("true");
            let target = match target_column {
                Some(column) if !global => row.machine(column)?.0,
                _ => None,
            };
            Ok(UnitFile {
                unit: row.unit()?,
                hash: row.text("hash"),
                desired: row.cell("dstate").map(|cell| desired_states.shared(cell)),
                target: target.map(|id| targets.shared(id).into()),
                target_known: target_column.is_some(),
                global,
                description: row.text("desc"),
                requirements: Vec::new(),
                requirements_known: false,
            })
        })
        .collect()
}

/// Sorts the pairs of each machine's metadata: fleetctl before 0.6 prints them in another order in
/// each call. A value cannot contain a comma in these versions.
pub(super) fn sort_metadata(machines: &mut [Machine]) {
    for machine in machines {
        if let Some(metadata) = &machine.metadata {
            let mut pairs: Vec<&str> = metadata.split(',').collect();
            pairs.sort_unstable();
            machine.metadata = Some(pairs.join(",").into());
        }
    }
}

/// Shares equal texts of a column, so that each of them is in memory once.
#[derive(Default)]
struct TextInterner {
    texts: HashSet<Text>,
    /// The text of the previous row, which is the most likely one.
    previous: Text,
}

impl TextInterner {
    fn shared(&mut self, cell: &str) -> Text {
        if *self.previous != *cell {
            let known = self.texts.get(cell).cloned();
            self.previous = known.unwrap_or_else(|| {
                let new = Text::from(cell);
                self.texts.insert(new.clone());
                new
            });
        }
        self.previous.clone()
    }
}
