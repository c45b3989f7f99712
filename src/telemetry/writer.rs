//! The threads that write the log, and the queues in front of them.
//!
//! journald and whoever reads stderr may stop reading at any time. Only the writing thread waits
//! for them then.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tracing::field::{Field, Value, Visit};
use tracing::{Dispatch, Event, Metadata, Subscriber, warn};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, registry};

use crate::write_queue::{WriteQueue, WriteTask};

/// How much of the log may wait, in bytes: all that happens when every unit of a large cluster
/// changes at once.
const LIMIT: usize = 8 * 1024 * 1024;

/// How long the journal is waited for at the start.
const OPEN: Duration = Duration::from_secs(1);

/// What an entry of the queue needs besides its text, about.
const OVERHEAD: usize = 64;

/// The most fields that an event can have (`tracing::field::FieldSet::value_set`).
const MAX_FIELDS: usize = 32;

/// Where the log waits to be written.
#[derive(Debug)]
pub(super) enum LogQueue {
    /// For the journal.
    Events(JournalQueue),
    /// For stderr.
    Lines(StderrQueue),
}

impl LogQueue {
    pub(super) fn dropped(&self) -> u64 {
        match self {
            LogQueue::Events(events) => events.0.dropped(),
            LogQueue::Lines(lines) => lines.0.dropped(),
        }
    }

    pub(super) fn flush(&self, patience: Duration) {
        match self {
            LogQueue::Events(events) => events.0.flush(patience),
            LogQueue::Lines(lines) => lines.0.flush(patience),
        }
    }
}

/// Lines for stderr.
#[derive(Clone, Debug)]
pub(super) struct StderrQueue(WriteQueue<Vec<u8>>);

impl StderrQueue {
    /// Starts the thread that writes them.
    pub(super) fn start() -> io::Result<Self> {
        // Its own handle: whoever else writes to stderr does not have to wait for this thread's
        // lock.
        let mut stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let queue = WriteQueue::new(LIMIT);
        let lines = queue.clone();
        thread().spawn(move || {
            // There is no other place to say that this one cannot be written to.
            serve(&lines, "stderr", |line: Vec<u8>| drop(stderr.write_all(&line)));
        })?;
        Ok(Self(queue))
    }
}

impl Write for &StderrQueue {
    /// The subscriber writes each line in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec(), line.len() + OVERHEAD);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for StderrQueue {
    type Writer = &'a StderrQueue;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Events for the journal.
#[derive(Clone, Debug)]
pub(super) struct JournalQueue(WriteQueue<JournalEvent>);

/// An event with the text of its fields.
#[derive(Debug)]
struct JournalEvent {
    metadata: &'static Metadata<'static>,
    fields: Vec<(Field, String)>,
}

impl JournalQueue {
    /// Starts the thread that writes them.
    ///
    /// # Errors
    ///
    /// When there is no journal. One that hangs is taken for one that is there.
    pub(super) fn start() -> io::Result<Self> {
        let queue = WriteQueue::new(LIMIT);
        let events = queue.clone();
        let (opened, is_open) = mpsc::channel();
        thread().spawn(move || match journal() {
            Ok(journal) => {
                let _ = opened.send(Ok(()));
                serve(&events, "the journal", |event: JournalEvent| event.dispatch(&journal));
            }
            Err(error) => {
                let _ = opened.send(Err(error));
                events.abandon();
            }
        })?;

        is_open.recv_timeout(OPEN).unwrap_or(Ok(()))?;
        Ok(Self(queue))
    }
}

/// The journal, as a subscriber that nobody has for a default: it gets what is dispatched to it,
/// and no callsite is enabled for its sake. Making it sends a datagram.
fn journal() -> io::Result<Dispatch> {
    // Our fields carry their own prefix, FLEET_, so that they are what docs/journal.md says they
    // are.
    let journal = tracing_journald::layer()?
        .with_field_prefix(None)
        .with_priority_mappings(PriorityMappings {
            info: Priority::Informational,
            debug: Priority::Debug,
            ..PriorityMappings::new()
        });
    Ok(Dispatch::new(registry().with(journal).with(LevelFilter::OFF)))
}

impl<S: Subscriber> Layer<S> for JournalQueue {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut owned = JournalEvent { metadata: event.metadata(), fields: Vec::new() };
        event.record(&mut owned);

        let text: usize = owned.fields.iter().map(|(_, text)| text.len() + OVERHEAD).sum();
        self.0.push(owned, text);
    }
}

impl Visit for JournalEvent {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.clone(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.push((field.clone(), format!("{value:?}")));
    }
}

impl JournalEvent {
    fn dispatch(&self, subscriber: &Dispatch) {
        let Some((unused, _)) = self.fields.first() else {
            return;
        };

        let mut values: [(&Field, Option<&dyn Value>); MAX_FIELDS] = [(unused, None); MAX_FIELDS];
        for (slot, (field, text)) in values.iter_mut().zip(&self.fields) {
            *slot = (field, Some(text));
        }

        let values = self.metadata.fields().value_set(&values);
        subscriber.event(&Event::new(self.metadata, &values));
    }
}

fn thread() -> thread::Builder {
    thread::Builder::new().name("log".to_owned())
}

/// Writes what is queued, and says what could not be once it can write again.
fn serve<T>(queue: &WriteQueue<T>, reader: &str, mut write: impl FnMut(T)) {
    while let Some(work) = queue.next() {
        match work {
            WriteTask::Write(entry) => write(entry),
            WriteTask::ReportDropped(lines) => {
                warn!(
                    "{lines} lines of the log were dropped, as {reader} was not read for a while"
                );
            }
        }
    }
}
