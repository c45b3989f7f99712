//! The threads that write the log, and the queues in front of them.
//!
//! They must not know why a target is selected. journald, and the reader of stderr, may stop
//! reading at any time. Then only the writing thread blocks.

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

/// How many bytes of the log may be queued: enough for the events of a large cluster in which every
/// unit changes at once.
const QUEUE_LIMIT: usize = 8 * 1024 * 1024;

/// How long the program waits at its start until the journal is open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// About how many bytes of memory a queued entry needs besides its text.
const ENTRY_OVERHEAD: usize = 64;

/// How many fields an event has at most (`tracing::field::FieldSet::value_set`).
const MAX_FIELDS: usize = 32;

/// The queue of the selected target.
#[derive(Debug)]
pub(super) enum LogQueue {
    Journal(JournalQueue),
    Stderr(StderrQueue),
}

impl LogQueue {
    pub(super) fn dropped(&self) -> u64 {
        match self {
            LogQueue::Journal(journal) => journal.0.dropped(),
            LogQueue::Stderr(stderr) => stderr.0.dropped(),
        }
    }

    pub(super) fn flush(&self, timeout: Duration) {
        match self {
            LogQueue::Journal(journal) => journal.0.flush(timeout),
            LogQueue::Stderr(stderr) => stderr.0.flush(timeout),
        }
    }
}

/// A queue of lines for stderr.
#[derive(Clone, Debug)]
pub(super) struct StderrQueue(WriteQueue<Vec<u8>>);

impl StderrQueue {
    /// Starts the thread that writes them.
    pub(super) fn start() -> io::Result<Self> {
        // A handle of its own: while this thread blocks, it must not hold the lock of
        // `io::stderr()`.
        let mut stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let queue = WriteQueue::new(QUEUE_LIMIT);

        let lines = queue.clone();
        thread().spawn(move || {
            // If stderr cannot be written to, there is no other place to report that.
            write_entries(&lines, "stderr", |line: Vec<u8>| drop(stderr.write_all(&line)));
        })?;
        Ok(Self(queue))
    }
}

impl Write for &StderrQueue {
    /// The subscriber writes each line in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec(), line.len() + ENTRY_OVERHEAD);
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

/// A queue of events for the journal.
#[derive(Clone, Debug)]
pub(super) struct JournalQueue(WriteQueue<JournalEvent>);

/// An event with its fields as text.
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
    /// When there is no journal. If the journal does not respond in [`OPEN_TIMEOUT`], that is no
    /// error.
    pub(super) fn start() -> io::Result<Self> {
        let queue = WriteQueue::new(QUEUE_LIMIT);

        let events = queue.clone();
        let (result_sender, result) = mpsc::channel();
        thread().spawn(move || match connect_to_journal() {
            Ok(journal) => {
                let _ = result_sender.send(Ok(()));
                write_entries(&events, "the journal", |event: JournalEvent| {
                    event.dispatch(&journal);
                });
            }
            Err(error) => {
                let _ = result_sender.send(Err(error));
                events.abandon();
            }
        })?;

        result.recv_timeout(OPEN_TIMEOUT).unwrap_or(Ok(()))?;
        Ok(Self(queue))
    }
}

/// The journal as a subscriber. It is never the default subscriber: it receives only the events
/// that are dispatched to it, and enables no callsite. Creating it sends a datagram, which may
/// block.
fn connect_to_journal() -> io::Result<Dispatch> {
    // Our fields have a prefix of their own, FLEET_, as docs/journal.md documents.
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

        let size: usize = owned.fields.iter().map(|(_, text)| text.len() + ENTRY_OVERHEAD).sum();
        self.0.push(owned, size);
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

        // `value_set` needs an array of fixed size. The places at its end get a field without a
        // value.
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

/// Writes the queued entries until the queue is closed, and logs how many were dropped meanwhile.
fn write_entries<T>(queue: &WriteQueue<T>, target: &str, mut write: impl FnMut(T)) {
    while let Some(task) = queue.next_task() {
        match task {
            WriteTask::Write(entry) => write(entry),
            WriteTask::ReportDropped(count) => {
                warn!("{count} log entries were dropped: {target} did not accept data for a while");
            }
        }
    }
}
