//! Reads the tables that fleetctl prints with `--no-legend --full --fields=…`.
//!
//! A table is read by the columns that were asked for, never by their widths: Go's `text/tabwriter`
//! puts one tab or more between two cells, as many as the widest cell of that call needs. A missing
//! value is `-`. A column that was not asked for reads as one without values, so that one reader
//! serves all versions of fleetctl.
//!
//! A terminal between fleetctl and us ends lines in CR LF: that is a line end too. Any other
//! control character is no part of a column, except in a text that is anybody's: there it is
//! replaced, as in the other sources.
//!
//! This module knows bytes and rows. It knows neither how the bytes were obtained nor which version
//! prints what.

use std::borrow::Cow;
use std::collections::HashSet;
use std::iter::Enumerate;
use std::str::SplitTerminator;

use super::rows::printable;
use crate::cluster::{Machine, Text, UnitFile, UnitName, UnitState};

/// Columns whose text is anybody's: it may contain tabs, so it is read whole, and only in the last
/// place.
const FREE_TEXT: [&str; 2] = ["desc", "metadata"];

/// How much of a line an error quotes, in characters.
const QUOTED: usize = 80;

/// Why an output is not the table that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The bytes are no text.
    #[error("the output is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    /// fleetctl explained itself instead of answering: it did not understand how it was called.
    #[error("the output is a help text, not a list")]
    HelpText,
    /// The output ends within a line.
    #[error("the output is cut off in line {line}: `{text}`")]
    CutOff {
        /// The line's number, from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// A line has other columns than those asked for, or an empty cell.
    #[error("line {line} does not have the {expected} columns asked for: `{text}`")]
    WrongColumns {
        /// The line's number, from 1.
        line: usize,
        /// How many were asked for.
        expected: usize,
        /// The line's beginning.
        text: String,
    },
    /// A column has a control character.
    #[error(
        "line {line} has control characters in its columns: `{text}`; does fleetctl write to a terminal?"
    )]
    ControlCharacters {
        /// The line's number, from 1.
        line: usize,
        /// The line's beginning, with its control characters written out.
        text: String,
    },
    /// A row does not say what it is about.
    #[error("line {line} names no {column}: `{text}`")]
    MissingName {
        /// The line's number, from 1.
        line: usize,
        /// The column in which the name is missing.
        column: &'static str,
        /// The line's beginning.
        text: String,
    },
}

/// Reads `list-units`.
///
/// # Errors
///
/// When any line is not a row of these columns: half a table is no table.
pub fn units(output: &[u8], columns: &[&str]) -> Result<Vec<UnitState>, TableError> {
    let [mut ids, mut ips, mut load, mut active, mut sub] = <[TextInterner; 5]>::default();
    rows(output, columns)?
        .map(|row| {
            let row = row?;
            let (id, ip) = row.machine("machine")?;
            Ok(UnitState {
                unit: row.unit()?,
                machine: id.map(|id| ids.shared(id).into()),
                ip: ip.map(|ip| ips.shared(ip)),
                load: row.cell("load").map(|cell| load.shared(cell)),
                active: row.cell("active").map(|cell| active.shared(cell)),
                sub: row.cell("sub").map(|cell| sub.shared(cell)),
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
    rows(output, columns)?
        .map(|row| {
            let row = row?;
            let (id, _) = row.machine("machine")?;
            Ok(Machine {
                id: id.ok_or_else(|| row.nameless("machine"))?.into(),
                ip: row.text("ip"),
                metadata: row.text("metadata"),
                version: None,
            })
        })
        .collect()
}

/// Reads `list-unit-files`, or what `list-units` says of the unit files in a fleetctl before 0.7.
///
/// The target is in the column `target` (`tmachine` before 0.8). That of a global unit is `global`
/// or, before 0.10, `-`.
///
/// # Errors
///
/// When any line is not a row of these columns.
pub fn unit_files(output: &[u8], columns: &[&str]) -> Result<Vec<UnitFile>, TableError> {
    let target = ["target", "tmachine"]
        .into_iter()
        .find(|column| columns.contains(column));
    let [mut desired, mut targets] = <[TextInterner; 2]>::default();
    rows(output, columns)?
        .map(|row| {
            let row = row?;
            let global = row.cell("global") == Some("true");
            let target_machine = match target {
                Some(column) if !global => row.machine(column)?.0,
                _ => None,
            };
            Ok(UnitFile {
                unit: row.unit()?,
                hash: row.text("hash"),
                desired: row.cell("dstate").map(|cell| desired.shared(cell)),
                target: target_machine.map(|id| targets.shared(id).into()),
                target_known: target.is_some(),
                global,
                description: row.text("desc"),
                requirements: Vec::new(),
                requirements_known: false,
            })
        })
        .collect()
}

/// Puts the pairs of each machine's metadata in order: fleetctl before 0.6 prints them in another
/// one at each call. A value cannot contain a comma in these versions.
pub fn sort_metadata(machines: &mut [Machine]) {
    for machine in machines {
        if let Some(metadata) = &machine.metadata {
            let mut pairs: Vec<&str> = metadata.split(',').collect();
            pairs.sort_unstable();
            machine.metadata = Some(pairs.join(",").into());
        }
    }
}

/// The texts of a column that says the same of many rows, each of them once in memory.
#[derive(Default)]
struct TextInterner {
    all: HashSet<Text>,
    /// That of the row above, which is the most likely.
    above: Text,
}

impl TextInterner {
    fn shared(&mut self, cell: &str) -> Text {
        if *self.above != *cell {
            let known = self.all.get(cell).cloned();
            self.above = known.unwrap_or_else(|| {
                let new = Text::from(cell);
                self.all.insert(new.clone());
                new
            });
        }
        self.above.clone()
    }
}

/// One row, which may take several lines.
struct TableRow<'a> {
    number: usize,
    line: &'a str,
    columns: &'a [&'a str],
    cells: Vec<Cow<'a, str>>,
}

impl TableRow<'_> {
    fn cell(&self, column: &str) -> Option<&str> {
        let index = self.columns.iter().position(|name| *name == column)?;
        self.cells.get(index).map(AsRef::as_ref).filter(|cell| *cell != "-")
    }

    fn text(&self, column: &str) -> Option<Text> {
        self.cell(column).map(printable)
    }

    fn unit(&self) -> Result<UnitName, TableError> {
        self.cell("unit").map(Into::into).ok_or_else(|| self.nameless("unit"))
    }

    /// Reads a cell of the form `ID/IP`; without `/IP` when the machine is not in fleet's list of
    /// machines.
    fn machine(&self, column: &'static str) -> Result<(Option<&str>, Option<&str>), TableError> {
        let Some(cell) = self.cell(column) else {
            return Ok((None, None));
        };
        let (id, ip) = cell.split_once('/').unwrap_or((cell, ""));
        if id.is_empty() {
            return Err(self.nameless(column));
        }
        Ok((Some(id), Some(ip).filter(|ip| !ip.is_empty())))
    }

    fn nameless(&self, column: &'static str) -> TableError {
        TableError::MissingName { line: self.number, column, text: quoted(self.line) }
    }
}

/// The rows of a table, read one by one.
struct TableRows<'a> {
    columns: &'a [&'a str],
    lines: Enumerate<SplitTerminator<'a, char>>,
}

fn rows<'a>(output: &'a [u8], columns: &'a [&'a str]) -> Result<TableRows<'a>, TableError> {
    let text =
        std::str::from_utf8(output).map_err(|error| TableError::NotUtf8(error.valid_up_to()))?;
    if ["NAME:", "Usage", "USAGE"]
        .iter()
        .any(|title| text.starts_with(title))
    {
        return Err(TableError::HelpText);
    }
    if !(text.is_empty() || text.ends_with('\n'))
        && let Some((before, line)) = text.split('\n').enumerate().last()
    {
        return Err(cut_off(before + 1, line));
    }
    Ok(TableRows { columns, lines: text.split_terminator('\n').enumerate() })
}

impl<'a> Iterator for TableRows<'a> {
    type Item = Result<TableRow<'a>, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (before, line) = self.lines.next()?;
        Some(self.row(before + 1, without_line_end(line)))
    }
}

impl<'a> TableRows<'a> {
    fn row(&mut self, number: usize, line: &'a str) -> Result<TableRow<'a>, TableError> {
        let columns = self.columns;
        let wrong = || TableError::WrongColumns {
            line: number,
            expected: columns.len(),
            text: quoted(line),
        };
        let mut cells = cells(line, columns).ok_or_else(wrong)?;
        if has_controls(line, &cells, columns) {
            return Err(TableError::ControlCharacters {
                line: number,
                text: quoted(&line.escape_debug().to_string()),
            });
        }
        // fleetctl prints a description of several lines as it stands in the unit file. systemd
        // reads the backslash at the end of a line as a space and skips the white space that the
        // next begins with (`systemd.syntax(7)`).
        if columns.last() == Some(&"desc")
            && let Some(description) = cells.last_mut()
        {
            while let Some(begun) = description.strip_suffix('\\') {
                let (_, continued) = self.lines.next().ok_or_else(|| cut_off(number, line))?;
                *description =
                    Cow::Owned(format!("{begun} {}", without_line_end(continued).trim_start()));
            }
        }
        Ok(TableRow { number, line, columns, cells })
    }
}

/// A line without what terminals put before its `\n`: a CR for each terminal that it came through.
fn without_line_end(line: &str) -> &str {
    line.trim_end_matches('\r')
}

/// Whether the last column may contain anything.
fn ends_in_free_text(columns: &[&str]) -> bool {
    columns.last().is_some_and(|last| FREE_TEXT.contains(last))
}

/// Whether there are control characters in a line, other than in a text that may contain anything.
fn has_controls(line: &str, cells: &[Cow<str>], columns: &[&str]) -> bool {
    // Most lines are seen to have none at all without a look at their cells.
    if line.bytes().all(|byte| byte == b'\t' || (b' '..0x7f).contains(&byte)) {
        return false;
    }
    let strict = cells.len() - usize::from(ends_in_free_text(columns));
    cells[..strict].iter().any(|cell| cell.contains(char::is_control))
}

/// Splits a line at runs of tabs; none if these are not the columns.
fn cells<'a>(line: &'a str, columns: &[&str]) -> Option<Vec<Cow<'a, str>>> {
    let free = ends_in_free_text(columns);
    let mut cells = Vec::with_capacity(columns.len());
    let mut rest = line;
    while !(free && cells.len() + 1 == columns.len())
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

fn quoted(line: &str) -> String {
    match line.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
#[path = "../../tests/fleetctl/tabwriter.rs"]
mod tabwriter;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::tabwriter::render;
    use super::*;
    use crate::cluster::MachineId;
    use crate::snapshots::assert_catalogue;

    const UNITS: [&str; 6] = ["unit", "load", "active", "sub", "machine", "hash"];
    const MACHINES: [&str; 3] = ["machine", "ip", "metadata"];
    const FILES: [&str; 6] = ["unit", "global", "dstate", "target", "hash", "desc"];

    /// As v0.11.8 prints it: the second machine has left fleet's list of machines, the third row
    /// has no hash.
    const LISTED: &str = "conflict-a.service\tloaded\tactive\t\trunning\t\t5555eeee6666ffff7777000088881111/10.44.0.12\tb1eecd8638577595d5889f7bdf42f79d499331a4\n\
        crash.service\t\tloaded\tfailed\t\tfailed\t\t1111aaaa2222bbbb3333cccc4444dddd\t\t3854661799e66f56f11a25b36b834b49efb64735\n\
        flap.service\t\tloaded\tactivating\tauto-restart\t9999222233334444555566667777aaaa/10.44.0.13\t-\n";

    #[test]
    fn reads_units_by_their_columns() {
        let units = units(LISTED.as_bytes(), &UNITS).unwrap();
        assert_eq!(units.len(), 3);
        assert_eq!(
            units[0],
            UnitState {
                unit: "conflict-a.service".into(),
                machine: Some("5555eeee6666ffff7777000088881111".into()),
                ip: Some("10.44.0.12".into()),
                load: Some("loaded".into()),
                active: Some("active".into()),
                sub: Some("running".into()),
                hash: Some("b1eecd8638577595d5889f7bdf42f79d499331a4".into()),
            }
        );
        assert_eq!(
            (units[1].machine.as_deref(), &units[1].ip),
            (Some("1111aaaa2222bbbb3333cccc4444dddd"), &None)
        );
        assert_eq!((units[2].sub.as_deref(), &units[2].hash), (Some("auto-restart"), &None));
    }

    #[test]
    fn what_many_rows_say_is_once_in_memory() {
        let lines = ["a.service\tloaded\tm1/10.0.0.1\n", "b.service\tnot-found\tm2/10.0.0.2\n"];
        let read =
            units(lines.repeat(2).concat().as_bytes(), &["unit", "load", "machine"]).unwrap();
        let texts = |row: usize| {
            let UnitState { machine, ip, load, .. } = &read[row];
            [machine.as_deref(), ip.as_deref(), load.as_deref()]
                .map(|text: Option<&str>| text.unwrap().as_ptr())
        };
        assert_eq!((texts(0), texts(1)), (texts(2), texts(3)));
        assert_eq!(read[3].ip.as_deref(), Some("10.0.0.2"));
    }

    #[test]
    fn lays_out_as_fleetctl_does() {
        let rows: Vec<Vec<&str>> = LISTED
            .lines()
            .map(|line| line.split('\t').filter(|s| !s.is_empty()).collect())
            .collect();
        assert_eq!(render(&rows), LISTED);
    }

    #[test]
    fn metadata_is_read_whole() {
        let output = "3f1a8c5e\t172.17.8.101\towner=Zoë \"q\" \t tab,tags=a,b=c d\n9c4b7a2e\t172.17.8.102\t-\nd2e8f4a1\t-\t\t=noval\n";
        let machines = machines(output.as_bytes(), &MACHINES).unwrap();
        assert_eq!(machines[0].metadata.as_deref(), Some("owner=Zoë \"q\" \t tab,tags=a,b=c d"));
        assert_eq!(machines[1].metadata, None);
        assert_eq!((&machines[2].ip, machines[2].metadata.as_deref()), (&None, Some("=noval")));
    }

    #[test]
    fn metadata_in_random_order_is_sorted() {
        let mut machines =
            machines(b"a\t-\trole=db,disk=ssd,=noval\nb\t-\t-\n", &MACHINES).unwrap();
        sort_metadata(&mut machines);
        assert_eq!(machines[0].metadata.as_deref(), Some("=noval,disk=ssd,role=db"));
    }

    #[test]
    fn a_target_is_a_machine_or_nothing() {
        let output = "a.service\tfalse\tlaunched\tabcd/10.0.0.1\tff\tA\nb.service\ttrue\tlaunched\tglobal\tff\tB\n\
            c.service\ttrue\tlaunched\t-\tff\t-\nd.service\tfalse\t-\t-\tff\tD\n";
        let files = unit_files(output.as_bytes(), &FILES).unwrap();
        let targets: Vec<_> = files
            .iter()
            .map(|file| (file.global, file.target.as_deref()))
            .collect();
        assert_eq!(targets, [(false, Some("abcd")), (true, None), (true, None), (false, None)]);
        assert_eq!((files[3].desired.as_deref(), files[2].description.as_deref()), (None, None));
        assert!(files.iter().all(|file| file.target_known));
    }

    #[test]
    fn what_was_not_asked_for_is_not_known() {
        let files = unit_files(b"a.service\tff\tA\n", &["unit", "hash", "desc"]).unwrap();
        assert!(!files[0].target_known && !files[0].global && files[0].desired.is_none());
    }

    #[test]
    fn a_description_may_take_several_lines() {
        let output = "a.service\tfirst line \\\n  second line \\\n\tthird\nb.service\t-\n";
        let files = unit_files(output.as_bytes(), &["unit", "desc"]).unwrap();
        assert_eq!(files[0].description.as_deref(), Some("first line  second line  third"));
        assert_eq!(files[1].unit, "b.service".into());
    }

    #[test]
    fn a_line_may_end_as_a_terminal_ends_it() {
        for end in ["\r\n", "\r\r\n"] {
            let behind_a_terminal = |output: &str| output.replace('\n', end).into_bytes();
            assert_eq!(units(&behind_a_terminal(LISTED), &UNITS), units(LISTED.as_bytes(), &UNITS));
            let machines =
                machines(&behind_a_terminal("a\t-\trole=web,rack=7\n"), &MACHINES).unwrap();
            assert_eq!(machines[0].metadata.as_deref(), Some("role=web,rack=7"));
            let files =
                unit_files(&behind_a_terminal("a\tfirst \\\n  second\nb\t-\n"), &["unit", "desc"])
                    .unwrap();
            assert_eq!(
                (files[0].description.as_deref(), &files[1].description),
                (Some("first  second"), &None)
            );
        }
    }

    #[test]
    fn a_control_character_in_a_column_is_no_list() {
        for control in ["\0", "\x08", "\x1b[31m", "\x7f", "\u{9b}", "\r"] {
            let output = format!("b.service\tloaded\na.{control}service\tloaded\n");
            let error = units(output.as_bytes(), &["unit", "load"]).unwrap_err();
            assert!(
                matches!(error, TableError::ControlCharacters { line: 2, .. }),
                "{control:?}: {error}"
            );
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn a_control_character_in_a_text_of_anybody_is_replaced() {
        let machines = machines(b"a\t-\track=7\tleft,x=\x1b[31m\x00\n", &MACHINES).unwrap();
        assert_eq!(machines[0].metadata.as_deref(), Some("rack=7\tleft,x=\u{fffd}[31m\u{fffd}"));
        let files = unit_files("a.service\tbell \x07\n".as_bytes(), &["unit", "desc"]).unwrap();
        assert_eq!(files[0].description.as_deref(), Some("bell \u{fffd}"));
    }

    #[test]
    fn nothing_is_no_rows() {
        assert_eq!(units(b"", &UNITS), Ok(Vec::new()));
    }

    /// Outputs that are no tables of the columns asked for.
    fn no_tables() -> Vec<(&'static [u8], TableError)> {
        let machines = |output: &'static [u8]| (output, machines(output, &MACHINES).unwrap_err());
        let files =
            |output: &'static [u8]| (output, unit_files(output, &["unit", "desc"]).unwrap_err());
        let units = |output: &'static [u8]| (output, units(output, &["unit", "hash"]).unwrap_err());
        vec![
            machines(b"abcd\t\xff\t-\n"),
            machines(b"NAME:\n\tfleetctl - \n"),
            machines(b"Usage of fleetctl:\n"),
            machines(b"a\t-\t-\nb\t-\tx"),
            machines(b"a\t-\t-\nb\t-\n"),
            machines(b"a\t-\t-\n\nb\t-\t-\n"),
            machines(b"-\t-\t-\n"),
            machines(b"/10.0.0.1\t-\t-\n"),
            files(b"-\tx\n"),
            files(b"a.service\tx\\\n"),
            units(b"a\tb\tc\n"),
            units(b"a\x1b[31m\tb\n"),
        ]
    }

    #[test]
    fn what_is_no_table_says_where_it_is_none() {
        use TableError::{CutOff, HelpText, MissingName, NotUtf8, WrongColumns};

        let found: Vec<TableError> = no_tables().into_iter().map(|(_, error)| error).collect();
        assert!(
            matches!(
                &found[..],
                [
                    NotUtf8(5),
                    HelpText,
                    HelpText,
                    CutOff { line: 2, .. },
                    WrongColumns { line: 2, expected: 3, .. },
                    WrongColumns { line: 2, expected: 3, .. },
                    MissingName { line: 1, .. },
                    MissingName { line: 1, .. },
                    MissingName { line: 1, .. },
                    CutOff { line: 1, .. },
                    WrongColumns { line: 1, expected: 2, .. },
                    TableError::ControlCharacters { line: 1, .. },
                ]
            ),
            "{found:?}"
        );
        let long = units("ü".repeat(1000).as_bytes(), &["unit", "hash"]).unwrap_err();
        assert!(long.to_string().ends_with("üü…`"), "{long}");
    }

    #[test]
    fn what_is_no_table_is_told_in_these_words() {
        let told = no_tables()
            .into_iter()
            .map(|(output, error)| (output.escape_ascii(), error));
        assert_catalogue("table-errors", told);
    }

    fn cell() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9@:_.%-][a-zA-Z0-9@:_. %\u{e9}-]{0,20}"
            .prop_filter("a dash alone is no value", |cell| cell != "-")
    }

    fn text() -> impl Strategy<Value = Option<Text>> {
        option::of(cell().prop_map(|cell| cell.as_str().into()))
    }

    fn place() -> impl Strategy<Value = (Option<MachineId>, Option<Text>)> {
        option::of(("[0-9a-f]{1,32}", option::of("[0-9a-f.:]{1,20}"))).prop_map(|place| match place
        {
            Some((id, ip)) => (Some(id.as_str().into()), ip.map(|ip| ip.as_str().into())),
            None => (None, None),
        })
    }

    fn shown(value: Option<&str>) -> String {
        value.unwrap_or("-").to_owned()
    }

    fn shown_place(machine: Option<&MachineId>, ip: Option<&Text>) -> String {
        match (machine, ip) {
            (Some(machine), Some(ip)) => format!("{machine}/{ip}"),
            (machine, _) => shown(machine.map(|id| &**id)),
        }
    }

    prop_compose! {
        fn unit_state()(
            unit in cell(), (machine, ip) in place(), load in text(), active in text(), sub in text(), hash in text(),
        ) -> UnitState {
            UnitState { unit: unit.as_str().into(), machine, ip, load, active, sub, hash }
        }
    }

    prop_compose! {
        fn machine()(
            id in "[0-9a-f]{1,32}", ip in text(), metadata in option::of("[a-z=][a-z=,\t \u{e9}]{0,30}"),
        ) -> Machine {
            Machine { id: id.as_str().into(), ip, metadata: metadata.map(|text| text.as_str().into()), version: None }
        }
    }

    prop_compose! {
        fn unit_file()(
            unit in cell(), global in any::<bool>(), desired in text(), (target, _) in place(), hash in text(),
            description in text(),
        ) -> UnitFile {
            UnitFile {
                unit: unit.as_str().into(), hash, desired, target: target.filter(|_| !global), target_known: true, global,
                description, requirements: Vec::new(),
            requirements_known: false,
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(output in vec(any::<u8>(), 0..400)) {
            let _ = (units(&output, &UNITS), machines(&output, &MACHINES), unit_files(&output, &FILES));
        }

        #[test]
        fn never_panics_on_what_is_nearly_a_table(output in "([a-\u{e9}/\\\\ -]{0,3}[\t\n]){0,40}") {
            let output = output.as_bytes();
            let _ = (units(output, &UNITS), machines(output, &MACHINES), unit_files(output, &FILES));
        }

        #[test]
        fn units_are_read_as_they_were_printed(states in vec(unit_state(), 0..12)) {
            let rows: Vec<Vec<String>> = states.iter().map(|state| vec![
                state.unit.to_string(),
                shown(state.load.as_deref()),
                shown(state.active.as_deref()),
                shown(state.sub.as_deref()),
                shown_place(state.machine.as_ref(), state.ip.as_ref()),
                shown(state.hash.as_deref()),
            ]).collect();
            prop_assert_eq!(units(render(&rows).as_bytes(), &UNITS), Ok(states));
        }

        #[test]
        fn unit_files_are_read_as_they_were_printed(files in vec(unit_file(), 0..12)) {
            let rows: Vec<Vec<String>> = files.iter().map(|file| vec![
                file.unit.to_string(),
                file.global.to_string(),
                shown(file.desired.as_deref()),
                if file.global { "global".into() } else { shown_place(file.target.as_ref(), None) },
                shown(file.hash.as_deref()),
                shown(file.description.as_deref()),
            ]).collect();
            prop_assert_eq!(unit_files(render(&rows).as_bytes(), &FILES), Ok(files));
        }

        /// A tab within a value is a column to fleetctl's layout, which may turn it into several.
        #[test]
        fn machines_are_read_as_they_were_printed(listed in vec(machine(), 0..12)) {
            let tabs_joined = |text: &str| text.split('\t').filter(|s| !s.is_empty()).collect::<Vec<_>>().join("\t");
            let joined = |machines: Vec<Machine>| machines.into_iter().map(|machine| Machine {
                metadata: machine.metadata.map(|text| tabs_joined(&text).as_str().into()), ..machine
            }).collect::<Vec<_>>();
            let rows: Vec<Vec<String>> = listed.iter().map(|machine| vec![
                machine.id.to_string(), shown(machine.ip.as_deref()), shown(machine.metadata.as_deref()),
            ]).collect();
            let read = machines(render(&rows).as_bytes(), &MACHINES).unwrap();
            prop_assert_eq!(joined(read), joined(listed));
        }
    }
}
