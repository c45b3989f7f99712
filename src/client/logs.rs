//! `fleet-monitor logs`: the log of a unit, from the machines that run it.

use std::io::{self, Write};
use std::process::ExitCode;

use super::connection::{ClientError, MonitorClient, SubscriptionEvent};
use super::stdio::{print_note, reader_is_gone};
use super::subscription::LogQuery;
use super::{CommandError, terminal};
use crate::cli::LogsOptions;
use crate::report::{LogFormat, LogMessage, LogOutput, LogText, full_name};

/// The exit status if there is no such unit, or its log cannot be read on any machine.
const NOT_READ: u8 = 1;

/// Prints the log until nothing follows, or until nobody reads it any more.
pub(super) async fn run(options: &LogsOptions) -> Result<ExitCode, CommandError> {
    let server = MonitorClient::from_options(&options.connection)?;
    let unit = full_name(&options.unit);
    let format = if options.json {
        LogFormat::Json
    } else {
        LogFormat::Text { color: terminal::layout(options.color).color }
    };
    let mut output = LogOutput::new(&*unit, format);
    let mut subscription = server.log(LogQuery {
        unit,
        machine: options.machine.clone(),
        lines: options.lines,
        follow: options.follow,
        filter: options.filter.join(" "),
    });
    let mut connection = ConnectionState::Opening;

    let reader_is_gone = reader_is_gone();
    tokio::pin!(reader_is_gone);
    loop {
        let event = tokio::select! {
            () = &mut reader_is_gone => return Ok(ExitCode::SUCCESS),
            event = subscription.next() => event,
        };

        match event {
            Ok(SubscriptionEvent::Messages(messages)) => {
                if connection == ConnectionState::Lost {
                    print_note("connected again; lines of the time between are not shown");
                }
                connection = ConnectionState::Open;

                print(&mut output, &messages)?;
                if messages.contains(&LogMessage::End) {
                    break;
                }
            }
            // Without -f, what is missing would not be noticed. At the beginning, the address may
            // be wrong.
            Ok(SubscriptionEvent::Disconnected { error, .. })
                if !options.follow || connection == ConnectionState::Opening =>
            {
                return Err(error.into());
            }
            Ok(SubscriptionEvent::Disconnected { error, .. }) => {
                if connection == ConnectionState::Open {
                    print_note(&format!("{error}; reconnecting"));
                }
                connection = ConnectionState::Lost;
            }
            Err(error) => return not_found(error),
        }
    }

    Ok(if output.was_read() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_READ)
    })
}

/// Whether the monitor can be reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ConnectionState {
    /// Nothing has arrived yet.
    Opening,
    Open,
    /// It was open before.
    Lost,
}

/// Prints what follows from these messages, where it can be read at once.
fn print(output: &mut LogOutput, messages: &[LogMessage]) -> io::Result<()> {
    let mut lines = String::new();
    for text in messages.iter().flat_map(|message| output.print(message)) {
        match text {
            LogText::Line(line) => {
                lines += &line;
                lines.push('\n');
            }
            LogText::Note(note) => {
                flush(&mut lines)?;
                print_note(&note);
            }
        }
    }
    flush(&mut lines)
}

/// Writes lines, and forgets them.
fn flush(lines: &mut String) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(lines.as_bytes())?;
    lines.clear();
    stdout.flush()
}

/// The exit status for an error: its own one if it is that something does not exist.
fn not_found(error: ClientError) -> Result<ExitCode, CommandError> {
    match error.not_found() {
        Some(message) => {
            print_note(message);
            Ok(ExitCode::from(NOT_READ))
        }
        None => Err(error.into()),
    }
}
