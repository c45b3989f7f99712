//! The log: entries with fields for the journal, or lines for stderr.
//!
//! It must not know what the other modules log. The only exception is `log_transition`, which makes
//! the journal entry of a transition. Logging never blocks: a thread writes the queued entries.

mod filter;
mod modules;
mod writer;

use std::fmt::Write;
use std::os::linux::fs::MetadataExt;
use std::time::Duration;

use tracing::{Level, event};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, registry};

use crate::cluster::{Severity, Transition};
use writer::{JournalQueue, LogQueue, StderrQueue};

pub(crate) use filter::LEVELS;
pub use filter::{LogFilter, LogFilterError};
pub(crate) use modules::{MODULES, ROOT};

/// How long the program waits at its end until the queued entries are written.
const FLUSH: Duration = Duration::from_millis(250);

/// Where the log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    /// To the journal if stderr is the journal's stream, else to stderr.
    #[default]
    Auto,
    /// To the journal, with fields.
    Journal,
    /// To stderr, as lines.
    Stderr,
}

/// The running log. Dropping it waits until the queued entries are written, 250 ms at most.
#[derive(Debug)]
pub struct LogHandle {
    filter: Handle<EnvFilter, Registry>,
    queue: LogQueue,
}

impl LogHandle {
    /// Replaces the filter.
    ///
    /// # Errors
    ///
    /// When the log has ended.
    pub(crate) fn set_filter(&self, filter: &LogFilter) -> Result<(), String> {
        self.filter
            .reload(filter.build())
            .map_err(|error| format!("the log filter cannot be changed: {error}"))
    }

    /// Whether entries go to the journal, with their fields.
    pub(crate) fn has_fields(&self) -> bool {
        matches!(self.queue, LogQueue::Journal(_))
    }

    /// How many entries were dropped so far because the journal, or the reader of stderr, was too
    /// slow.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        self.queue.flush(FLUSH);
    }
}

/// Starts the log.
///
/// # Errors
///
/// When the journal was requested and cannot be reached.
pub fn start(target: LogTarget, filter: &LogFilter) -> Result<LogHandle, String> {
    let (filter, handle) = reload::Layer::new(filter.build());

    let queue = match open_journal(target)? {
        Some(journal) => {
            registry().with(filter).with(journal.clone()).init();
            LogQueue::Journal(journal)
        }
        None => {
            let stderr = StderrQueue::start()
                .map_err(|error| format!("cannot start the thread that writes the log: {error}"))?;
            // These lines have no fields: those of a transition only repeat its message.
            let fields = fmt::format::debug_fn(|line, field, value| match field.name() {
                "message" => write!(EscapeControls(line), "{value:?}"),
                _ => Ok(()),
            });

            let layer = fmt::layer().with_target(false).fmt_fields(fields).with_ansi(false);
            registry().with(filter).with(layer.with_writer(stderr.clone())).init();
            LogQueue::Stderr(stderr)
        }
    };
    Ok(LogHandle { filter: handle, queue })
}

/// Connects to the journal if the log goes there. `None`: the log goes to stderr.
fn open_journal(target: LogTarget) -> Result<Option<JournalQueue>, String> {
    match target {
        LogTarget::Stderr => Ok(None),
        LogTarget::Auto if !stderr_is_the_journal() => Ok(None),
        // If this fails, the log goes to stderr, and so to the journal, without fields.
        LogTarget::Auto => Ok(JournalQueue::start().ok()),
        LogTarget::Journal => JournalQueue::start()
            .map(Some)
            .map_err(|error| format!("log_to = journal: journald cannot be reached: {error}")),
    }
}

/// Whether systemd has connected stderr to the journal (`$JOURNAL_STREAM` in `systemd.exec(5)`).
fn stderr_is_the_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else {
        return false;
    };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };

    stream == format!("{}:{}", stderr.st_dev(), stderr.st_ino())
}

/// Logs a transition, with the fields that `docs/journal.md` documents.
pub(crate) fn log_transition(transition: &Transition) {
    let transition_event = &transition.event;

    macro_rules! entry {
        ($level:expr) => {
            event!(
                $level,
                message_id = transition_event.message_id(),
                fleet_event = transition_event.name(),
                fleet_unit = transition_event.place().map(|place| &*place.unit),
                fleet_machine = transition_event.machine().map(|machine| &**machine),
                fleet_ip = transition_event.ip().map(|ip| &**ip),
                fleet_from = transition_event.from(),
                fleet_to = transition_event.to(),
                fleet_reason = transition_event.reason(),
                "{transition_event}"
            )
        };
    }

    match transition_event.severity() {
        Severity::Warning => entry!(Level::WARN),
        Severity::Info => entry!(Level::INFO),
    }
}

/// Escapes control characters, because a message may quote text from etcd, fleet or a client. So
/// each message stays on one line, and cannot control the terminal that displays it.
struct EscapeControls<W>(W);

impl<W: Write> Write for EscapeControls<W> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let printable = part.trim_end_matches(char::is_control);
            self.0.write_str(printable)?;
            write!(self.0, "{}", part[printable.len()..].escape_debug())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stays_on_one_line_and_cannot_control_a_terminal() {
        let mut line = EscapeControls(String::new());
        write!(line, "etcd says: \x1b[31mZoë\r\nWARN a lie\u{9b}, \"a\\b\"").unwrap();
        assert_eq!(line.0, r#"etcd says: \u{1b}[31mZoë\r\nWARN a lie\u{9b}, "a\b""#);
    }
}
