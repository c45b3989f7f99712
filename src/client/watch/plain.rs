//! One line per event, for a pipe or a file: the time, the severity and the event's text.
//!
//! It begins with the last events, as `tail -f` does with the last lines.

use std::io::{self, Write};
use std::process::ExitCode;

use super::draw::Theme;
use super::updates::Updates;
use crate::client::CommandError;
use crate::client::connection::{ClientError, MonitorClient, SubscriptionEvent};
use crate::client::stdio::{print_note, reader_is_gone};
use crate::report::table::printable;
use crate::report::{ClusterState, EventRow, InvalidMessage, Message, RowTopic, Times};

/// How many events are printed that happened before.
const EARLIER_EVENTS: usize = 10;

/// Prints events until nobody reads them any more. Returns the exit status.
pub(super) async fn run(
    server: &MonitorClient,
    filter: &str,
    theme: Theme,
    times: &Times,
) -> Result<ExitCode, CommandError> {
    let query = format!("topics=events&{}", super::query(filter));
    let mut updates = Updates::of(server.subscribe(&query));
    let mut lines = Lines::default();
    let mut is_connected = true;

    let reader_is_gone = reader_is_gone();
    tokio::pin!(reader_is_gone);

    let mut messages = super::first_messages(&mut updates).await?;
    loop {
        for message in messages {
            let events = lines.new_events(message).map_err(|error| {
                ClientError::NotFleetMonitor(server.address.clone(), error.to_string())
            })?;
            print(&events, theme, times)?;
        }

        messages = tokio::select! {
            () = &mut reader_is_gone => return Ok(ExitCode::SUCCESS),
            update = updates.next() => match update? {
                SubscriptionEvent::Messages(messages) => {
                    if !is_connected {
                        print_note("connected again");
                    }
                    is_connected = true;
                    messages
                }
                SubscriptionEvent::Disconnected { error, .. } => {
                    if is_connected {
                        print_note(&format!("{error}; reconnecting"));
                    }
                    is_connected = false;
                    Vec::new()
                }
            },
        };
    }
}

/// Which events have been printed.
#[derive(Default)]
struct Lines {
    state: ClusterState,
    /// The number of the last event that was printed; `None` before the first list of events.
    last: Option<u64>,
}

impl Lines {
    /// The events of a message that have not been printed yet, the oldest first.
    fn new_events(&mut self, message: Message) -> Result<Vec<EventRow>, InvalidMessage> {
        // All events of another run of the server are new.
        if let Message::Hello(hello) = &message
            && self.last.is_some()
            && hello.epoch != self.state.hello.epoch
        {
            self.last = Some(0);
        }
        let has_events = matches!(
            message,
            Message::Event { .. } | Message::Snapshot { topic: RowTopic::Events, .. }
        );

        self.state.apply(message)?;
        if !has_events {
            return Ok(Vec::new());
        }

        let newest_first = self.state.events.iter().rev();
        let mut events: Vec<EventRow> = match self.last {
            None => newest_first.take(EARLIER_EVENTS).cloned().collect(),
            Some(last) => newest_first
                .take_while(|event| event.number > last)
                .cloned()
                .collect(),
        };
        events.reverse();
        self.last = Some(events.last().map_or(self.last.unwrap_or(0), |event| event.number));
        Ok(events)
    }
}

/// Writes events to stdout, where they can be read at once.
fn print(events: &[EventRow], theme: Theme, times: &Times) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for event in events {
        writeln!(stdout, "{}", line(event, theme, times))?;
    }
    stdout.flush()
}

/// The line of an event. It is kept, and so it has no age.
fn line(event: &EventRow, theme: Theme, times: &Times) -> String {
    let line = format!("{} {:<7} {}", times.rfc_3339(event.time), event.severity, event.text);
    // An escape sequence in a text must not reach the terminal.
    let printable = printable(&line);

    match theme {
        Theme::Colored if event.severity == "warning" => format!("\x1b[33m{printable}\x1b[0m"),
        Theme::Colored | Theme::Monochrome => printable,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::report::{TimeFormat, TimeZone};
    use crate::snapshots::assert_catalogue;

    fn event(number: u64) -> Value {
        json!({"number": number, "severity": "info", "text": "something happened"})
    }

    fn hello(epoch: &str) -> Value {
        json!({"type": "hello", "epoch": epoch})
    }

    fn snapshot(numbers: impl IntoIterator<Item = u64>) -> Value {
        let rows: Vec<Value> = numbers.into_iter().map(event).collect();
        json!({"type": "snapshot", "topic": "events", "rows": rows})
    }

    fn later(number: u64) -> Value {
        let mut message = event(number);
        message["type"] = "event".into();
        message["revision"] = number.into();
        message
    }

    /// The numbers of the events that are printed after these messages.
    fn printed(lines: &mut Lines, messages: &[Value]) -> Vec<u64> {
        messages
            .iter()
            .flat_map(|message| {
                lines
                    .new_events(serde_json::from_value(message.clone()).unwrap())
                    .unwrap()
            })
            .map(|event| event.number)
            .collect()
    }

    #[test]
    fn it_begins_with_the_last_events_and_then_prints_each_once() {
        let mut lines = Lines::default();
        let numbers = printed(&mut lines, &[hello("a"), snapshot(1..=30), later(31)]);
        assert_eq!(numbers, (21..=31).collect::<Vec<_>>());

        let resync = json!({"type": "resync", "reason": "…"});
        let messages = [hello("a"), resync, snapshot(5..=33), later(34)];
        assert_eq!(printed(&mut lines, &messages), [32, 33, 34]);
    }

    #[test]
    fn all_events_of_another_run_are_new() {
        let mut lines = Lines::default();
        printed(&mut lines, &[hello("a"), snapshot(1..=3)]);

        let resync = json!({"type": "resync", "reason": "…"});
        let messages = [hello("b"), resync, snapshot(1..=2), later(3)];
        assert_eq!(printed(&mut lines, &messages), [1, 2, 3]);
    }

    #[test]
    fn a_monitor_without_events_prints_the_first_one() {
        let mut lines = Lines::default();
        let numbers = printed(&mut lines, &[hello("a"), snapshot([]), later(1), later(2)]);
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn lines_are_in_these_words() {
        let event = |severity: &str, text: &str| EventRow {
            time: 1_700_000_020_000,
            severity: severity.to_owned(),
            text: text.to_owned(),
            ..EventRow::default()
        };
        let warning =
            event("warning", "db.service on 172.17.8.102: active/running → failed/failed");
        let info = event("info", "machine 172.17.8.102 joined the cluster");
        let hostile = event("info", "a\x1b[2Jb\nc");
        let utc = Times::utc(0);
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let local = Times::new(0, TimeFormat::Local, &berlin);

        assert_catalogue(
            "watch-lines",
            [
                ("a warning", line(&warning, Theme::Monochrome, &utc)),
                ("an info", line(&info, Theme::Colored, &utc)),
                ("in the zone of the terminal", line(&info, Theme::Monochrome, &local)),
                ("control characters", line(&hostile, Theme::Monochrome, &utc)),
            ],
        );
        assert!(line(&warning, Theme::Colored, &utc).starts_with('\x1b'));
    }
}
