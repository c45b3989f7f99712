//! The log: to the journal with fields, or to stderr as lines.
//!
//! Nobody who logs waits for either: a thread of its own writes what is queued. Nothing here knows
//! what is logged, but for [`tell`], which makes the one journal entry of a transition.

mod writer;

use std::fmt::Write;
use std::os::linux::fs::MetadataExt;
use std::str::FromStr;
use std::time::Duration;

use tracing::{Level, event};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, registry};

use crate::cluster::{Severity, Transition};
use writer::{EventQueue, LineQueue, Queue};

/// How long the last lines are waited for at the end.
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

/// The log, once it was begun.
#[derive(Debug)]
pub struct Log {
    filter: Handle<EnvFilter, Registry>,
    queue: Queue,
}

impl Log {
    /// Replaces the filter.
    ///
    /// # Errors
    ///
    /// When the log has ended.
    pub fn set_filter(&self, filter: &LogFilter) -> Result<(), String> {
        self.filter
            .reload(filter.build())
            .map_err(|error| format!("the log filter cannot be changed: {error}"))
    }

    /// How many lines were dropped so far because whoever reads them did not.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.flush(FLUSH);
    }
}

/// Which entries are logged: valid directives of [`EnvFilter`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter(
    /// The directives as text, since an [`EnvFilter`] cannot be cloned.
    String,
);

impl LogFilter {
    fn build(&self) -> EnvFilter {
        EnvFilter::try_new(&self.0).expect("the directives were parsed before")
    }
}

impl FromStr for LogFilter {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        EnvFilter::try_new(text).map(|_| Self(text.to_owned()))
    }
}

/// Starts the log.
///
/// # Errors
///
/// When the journal was asked for and cannot be reached.
pub fn start(target: LogTarget, filter: &LogFilter) -> Result<Log, String> {
    let (filter, handle) = reload::Layer::new(filter.build());
    let events = match target {
        LogTarget::Stderr => None,
        LogTarget::Auto if !stderr_is_the_journal() => None,
        // With stderr being the journal's stream, lines written there are not lost either.
        LogTarget::Auto => EventQueue::start().ok(),
        LogTarget::Journal => {
            let unreachable =
                |error| format!("log_to = journal: journald cannot be reached: {error}");
            Some(EventQueue::start().map_err(unreachable)?)
        }
    };

    let (events, lines, queue) = match events {
        Some(events) => (Some(events.clone()), None, Queue::Events(events)),
        None => {
            let lines = LineQueue::start()
                .map_err(|error| format!("cannot start the thread that writes the log: {error}"))?;
            // A line is for a person: the fields of a transition say again what its message says.
            let fields = fmt::format::debug_fn(|line, field, value| match field.name() {
                "message" => write!(Printable(line), "{value:?}"),
                _ => Ok(()),
            });
            let layer = fmt::layer().with_target(false).fmt_fields(fields).with_ansi(false);
            (None, Some(layer.with_writer(lines.clone())), Queue::Lines(lines))
        }
    };

    registry().with(filter).with(events).with(lines).init();
    Ok(Log { filter: handle, queue })
}

/// Whether stderr is the stream that systemd connected to the journal (`systemd.exec(5)`,
/// `$JOURNAL_STREAM`).
fn stderr_is_the_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else {
        return false;
    };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    stream == format!("{}:{}", stderr.st_dev(), stderr.st_ino())
}

/// Makes the journal entry of a transition.
pub fn tell(transition: &Transition) {
    let happened = &transition.event;
    macro_rules! entry {
        ($level:expr) => {
            event!(
                $level,
                message_id = happened.message_id(),
                fleet_event = happened.name(),
                fleet_unit = happened.place().map(|place| &*place.unit),
                fleet_machine = happened.machine().map(|machine| &**machine),
                fleet_ip = happened.ip().map(|ip| &**ip),
                fleet_from = happened.from(),
                fleet_to = happened.to(),
                fleet_reason = happened.reason(),
                "{happened}"
            )
        };
    }
    match happened.severity() {
        Severity::Warning => entry!(Level::WARN),
        Severity::Info => entry!(Level::INFO),
    }
}

/// Writes out control characters, since a message may quote what somebody else said: it takes one
/// line, and does nothing to the terminal that it is read on.
struct Printable<W>(W);

impl<W: Write> Write for Printable<W> {
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
    fn a_message_takes_one_line_and_does_nothing_to_a_terminal() {
        let mut line = Printable(String::new());
        write!(line, "etcd says: \x1b[31mZoë\r\nWARN a lie\u{9b}, \"a\\b\"").unwrap();
        assert_eq!(line.0, r#"etcd says: \u{1b}[31mZoë\r\nWARN a lie\u{9b}, "a\b""#);
    }
}
