//! What is printed of a unit's log: its lines as journalctl prints them, and notes about what is
//! missing and where the unit is. Times are in UTC.
//!
//! It does not know where the text goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::log_message::{
    LogMachine, LogMachineState, LogMessage, LogRow, MachineInLog, MissedBecause,
};
use super::table::printable;
use super::wire::{Milliseconds, short_id};
use crate::utc::{month_and_day, time_of_day};

/// A tab in a message is this wide, since the text before it has any width.
const TAB: &str = "    ";

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// As journalctl prints them.
    Text {
        /// Whether priorities have colours.
        color: bool,
    },
    /// As JSON, one object per line.
    Json,
}

/// Something to print. It has no newline at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogText {
    /// For standard output: a line of the log.
    Line(String),
    /// For standard error.
    Note(String),
}

/// Prints a log: what was said of the machines decides what is said next.
#[derive(Debug)]
pub struct LogOutput {
    unit: String,
    format: LogFormat,
    /// Each machine that has been heard of, by its ID.
    machines: BTreeMap<String, MachineOutput>,
    /// Where the unit was found after a move, and what that machine is called is not known yet.
    unnamed: BTreeSet<String>,
}

/// What has been printed about a machine.
#[derive(Debug, Default)]
struct MachineOutput {
    /// Its address; `None` if it is not known.
    ip: Option<String>,
    /// Whether its log was ever read.
    was_read: bool,
    /// Why it cannot be read; `None` if it can, or if that is not known yet.
    problem: Option<String>,
    /// Whether it was said that it ran the unit before.
    is_previous: bool,
}

impl LogOutput {
    /// A log of which nothing has been printed yet.
    pub fn new(unit: impl Into<String>, format: LogFormat) -> Self {
        Self {
            unit: unit.into(),
            format,
            machines: BTreeMap::new(),
            unnamed: BTreeSet::new(),
        }
    }

    /// Whether the log was read on any machine.
    pub fn was_read(&self) -> bool {
        self.machines.values().any(|machine| machine.was_read)
    }

    /// What is to be printed because of a message.
    pub fn print(&mut self, message: &LogMessage) -> Vec<LogText> {
        let mut texts = Vec::new();
        match message {
            LogMessage::Line(row) => {
                self.name_moved(&row.machine, &mut texts);
                self.machines.entry(row.machine.clone()).or_default().was_read = true;
                texts.push(LogText::Line(self.line(row)));
            }
            LogMessage::Machine(machine) => {
                self.machine(machine, &mut texts);
                self.name_moved(&machine.machine, &mut texts);
            }
            LogMessage::Missed { machine, lines, reason } => {
                texts.push(self.missed(machine, *lines, *reason));
            }
            LogMessage::Moved { machine } => {
                self.unnamed.insert(machine.clone());
                if self.machines.contains_key(machine) {
                    self.name_moved(machine, &mut texts);
                }
            }
            LogMessage::End | LogMessage::Unknown => {}
        }
        texts
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        let ip = self.machines.get(id).and_then(|machine| machine.ip.as_deref());
        ip.unwrap_or_else(|| short_id(id))
    }

    fn machine(&mut self, message: &LogMachine, texts: &mut Vec<LogText>) {
        let LogMachine { machine: id, ip, state, role, reason } = message;
        let unit = &self.unit;
        let name = ip.as_deref().unwrap_or_else(|| short_id(id));
        let machine = self.machines.entry(id.clone()).or_default();
        machine.ip.clone_from(ip);

        let is_previous = *role == MachineInLog::Previous;
        if is_previous && !machine.is_previous {
            texts.push(note(&format!("{name} ran {unit} before")));
        }
        machine.is_previous = is_previous;

        match state {
            LogMachineState::Connected => {
                machine.was_read = true;
                if machine.problem.take().is_some() {
                    texts.push(note(&format!("the log on {name} can be read again")));
                }
            }
            LogMachineState::Failed => {
                let problem = reason.clone().unwrap_or_else(|| "no reason is known".to_owned());
                if machine.problem.as_ref() != Some(&problem) {
                    texts.push(note(&format!("cannot read the log on {name}: {problem}")));
                }
                machine.problem = Some(problem);
            }
            LogMachineState::Ended => {
                if let Some(reason) = reason {
                    texts.push(note(&format!("the log on {name} has ended: {reason}")));
                }
            }
            LogMachineState::Connecting | LogMachineState::Unknown => {}
        }
    }

    fn missed(&self, machine: &str, lines: u64, reason: MissedBecause) -> LogText {
        let name = self.name(machine);
        let noun = if lines == 1 { "line" } else { "lines" };
        let because = match reason {
            MissedBecause::Slow => ": they came faster than they were read here",
            MissedBecause::Rate => ": the unit writes more than the monitor passes on",
            MissedBecause::Unknown => "",
        };
        note(&format!("{lines} {noun} of {name} missed{because}"))
    }

    /// Says that the unit has moved to this machine, if that has not been said yet.
    fn name_moved(&mut self, id: &str, texts: &mut Vec<LogText>) {
        if self.unnamed.remove(id) {
            texts.push(note(&format!("{} moved to {}", self.unit, self.name(id))));
        }
    }

    fn line(&self, row: &LogRow) -> String {
        match self.format {
            LogFormat::Text { color } => self.text(row, color),
            LogFormat::Json => json(row),
        }
    }

    fn text(&self, row: &LogRow, color: bool) -> String {
        let machine = match self.machines.len() {
            0 | 1 => String::new(),
            _ => format!("{} ", self.name(&row.machine)),
        };
        let identifier = row.identifier.as_deref().unwrap_or("unknown");
        let pid = row.pid.map(|pid| format!("[{pid}]")).unwrap_or_default();
        let beginning = printable(&format!("{} {machine}{identifier}{pid}: ", time(row.time)));

        let style = if color { style(row.priority) } else { Style::new() };
        let message = message(row).join(&format!("\n{}", " ".repeat(beginning.chars().count())));
        format!("{beginning}{style}{message}{style:#}")
    }
}

/// A note. Names and reasons are not trusted.
fn note(text: &str) -> LogText {
    LogText::Note(printable(text))
}

/// `Nov 14 22:13:20`
fn time(time: Milliseconds) -> String {
    let seconds = time / 1000;
    format!("{} {}", month_and_day(seconds), time_of_day(seconds))
}

/// The lines of a message, without any character that could move the cursor of a terminal.
fn message(row: &LogRow) -> Vec<String> {
    let mut text = row.message.trim_end_matches('\n').replace('\t', TAB);
    if row.binary {
        text += " [binary]";
    }
    if row.truncated {
        text += " [truncated]";
    }
    text.split('\n').map(printable).collect()
}

/// The style of a priority, as in journalctl.
fn style(priority: Option<u8>) -> Style {
    let colored = |color: AnsiColor| Style::new().fg_color(Some(color.into())).bold();
    match priority {
        Some(0..=3) => colored(AnsiColor::Red),
        Some(4) => colored(AnsiColor::Yellow),
        Some(5) => Style::new().bold(),
        Some(7) => Style::new().dimmed(),
        _ => Style::new(),
    }
}

/// The message as JSON. The control characters that JSON does not escape are escaped too, as they
/// can only be within strings.
fn json(row: &LogRow) -> String {
    let message = LogMessage::Line(row.clone());
    let text = serde_json::to_string(&message).unwrap_or_default();

    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            let _ = write!(escaped, "\\u{:04x}", u32::from(char));
        } else {
            escaped.push(char);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::assert_catalogue;

    const WEB: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
    const DB: &str = "9c4b7a2e1d3f48568e0f1a2b3c4d5e6f";

    fn row(priority: u8, message: &str) -> LogRow {
        LogRow {
            machine: WEB.into(),
            time: 1_700_000_000_123,
            priority: Some(priority),
            pid: Some(4711),
            identifier: Some("docker".into()),
            message: message.into(),
            ..LogRow::default()
        }
    }

    fn machine(id: &str, state: LogMachineState, role: MachineInLog) -> LogMessage {
        let ip = if id == WEB { "10.0.0.1" } else { "10.0.0.2" };
        let failed = "connection refused; is systemd-journal-gatewayd.socket started?";
        LogMessage::Machine(LogMachine {
            machine: id.into(),
            ip: Some(ip.into()),
            state,
            role,
            reason: (state == LogMachineState::Failed).then(|| failed.into()),
        })
    }

    fn current(id: &str, state: LogMachineState) -> LogMessage {
        machine(id, state, MachineInLog::Current)
    }

    fn output(format: LogFormat) -> LogOutput {
        LogOutput::new("web.service", format)
    }

    const PLAIN: LogFormat = LogFormat::Text { color: false };
    const COLORED: LogFormat = LogFormat::Text { color: true };

    /// The line that is printed for a row of the only machine.
    fn printed(format: LogFormat, row: LogRow) -> String {
        match output(format).print(&LogMessage::Line(row)).remove(0) {
            LogText::Line(line) => line,
            note @ LogText::Note(_) => panic!("{note:?}"),
        }
    }

    /// All that is printed, a note with `! ` in front.
    fn all(output: &mut LogOutput, messages: &[LogMessage]) -> String {
        let texts = messages.iter().flat_map(|message| output.print(message));
        let lines = texts.map(|text| match text {
            LogText::Line(line) => line,
            LogText::Note(note) => format!("! {note}"),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn lines_and_notes_are_in_these_words() {
        let line = |row: LogRow| LogMessage::Line(row);
        let of_db = LogRow { machine: DB.into(), ..row(6, "GET / 200") };
        let anonymous = LogRow { identifier: None, pid: None, ..row(6, "started") };
        let cut = LogRow { truncated: true, ..row(6, "a long one") };
        let binary = LogRow { binary: true, ..row(6, "a\u{fffd}b") };
        let missed = |lines, reason| LogMessage::Missed { machine: WEB.into(), lines, reason };

        let cases: [(&str, Vec<LogMessage>); 8] = [
            ("a line", vec![line(row(6, "GET / 200"))]),
            ("no program", vec![line(anonymous)]),
            ("not whole", vec![line(cut), line(binary)]),
            ("several lines and a tab", vec![line(row(3, "panic:\n\tat main\n"))]),
            (
                "two machines",
                vec![
                    current(WEB, LogMachineState::Connected),
                    machine(DB, LogMachineState::Connected, MachineInLog::Previous),
                    line(row(6, "GET / 200")),
                    line(of_db.clone()),
                ],
            ),
            (
                "a machine that cannot be read",
                vec![
                    current(WEB, LogMachineState::Connecting),
                    current(WEB, LogMachineState::Failed),
                    current(WEB, LogMachineState::Failed),
                    current(WEB, LogMachineState::Connected),
                ],
            ),
            (
                "missed lines",
                vec![
                    current(WEB, LogMachineState::Connected),
                    missed(120, MissedBecause::Slow),
                    missed(1, MissedBecause::Rate),
                    missed(2, MissedBecause::Unknown),
                ],
            ),
            (
                "a move",
                vec![
                    line(row(6, "stopping")),
                    LogMessage::Moved { machine: DB.into() },
                    current(DB, LogMachineState::Connected),
                    line(of_db),
                ],
            ),
        ];
        let texts = cases.map(|(case, messages)| (case, all(&mut output(PLAIN), &messages)));
        assert_catalogue("log-lines", texts);
    }

    #[test]
    fn a_move_is_told_once_whether_or_not_the_address_is_known() {
        let moved = LogMessage::Moved { machine: DB.into() };
        let line = LogMessage::Line(LogRow { machine: DB.into(), ..row(6, "x") });
        let told = |messages: &[LogMessage]| {
            let text = all(&mut output(PLAIN), messages);
            let notes = text.lines().filter(|line| line.starts_with('!'));
            notes.map(str::to_owned).collect::<Vec<_>>()
        };

        let by_id = told(&[moved.clone(), line.clone(), line.clone()]);
        assert!(by_id.len() == 1 && by_id[0].contains("9c4b7a2e"), "{by_id:?}");
        let known = current(DB, LogMachineState::Connected);
        for messages in [[known.clone(), moved.clone(), line.clone()], [moved, known, line]] {
            let by_address = told(&messages);
            assert!(by_address.len() == 1 && by_address[0].contains("10.0.0.2"), "{by_address:?}");
        }
    }

    #[test]
    fn a_priority_has_the_colour_that_journalctl_gives_it() {
        let style = |priority| {
            let line = printed(COLORED, row(priority, "text"));
            line.split_once(": ").unwrap().1.to_owned()
        };

        for priority in 0..=3 {
            assert_eq!(style(priority), "\u{1b}[1m\u{1b}[31mtext\u{1b}[0m");
        }
        assert_eq!(style(4), "\u{1b}[1m\u{1b}[33mtext\u{1b}[0m");
        assert_eq!(style(5), "\u{1b}[1mtext\u{1b}[0m");
        assert_eq!(style(6), "text");
        assert_eq!(style(7), "\u{1b}[2mtext\u{1b}[0m");
        assert_eq!(printed(PLAIN, row(3, "text")).find('\u{1b}'), None);
    }

    #[test]
    fn no_control_character_of_a_log_reaches_a_terminal() {
        let hostile = "\u{1b}[2J\u{9b}31m\r\u{7}\u{7f}\n\u{1b}]0;title\u{7}";
        let hostile = LogRow { identifier: Some(hostile.into()), ..row(3, hostile) };
        for format in [PLAIN, LogFormat::Json] {
            let line = printed(format, hostile.clone());
            let control = |char: &char| char.is_control() && *char != '\n';
            assert_eq!(line.chars().find(control), None, "{line:?}");
        }

        let parsed: LogMessage =
            serde_json::from_str(&printed(LogFormat::Json, hostile.clone())).unwrap();
        assert_eq!(parsed, LogMessage::Line(hostile));

        let mut output = output(PLAIN);
        let notes = output.print(&LogMessage::Machine(LogMachine {
            machine: WEB.into(),
            ip: Some("\u{1b}[2J".into()),
            state: LogMachineState::Failed,
            role: MachineInLog::Previous,
            reason: Some("\u{1b}[2J".into()),
        }));
        assert!(notes.len() == 2 && !format!("{notes:?}").contains("\\u{1b}"), "{notes:?}");
    }

    #[test]
    fn a_log_was_read_if_a_machine_answered() {
        let mut output = output(PLAIN);
        for state in [LogMachineState::Connecting, LogMachineState::Failed] {
            output.print(&current(WEB, state));
            assert!(!output.was_read());
        }

        output.print(&current(DB, LogMachineState::Connected));
        assert!(output.was_read());
    }
}
