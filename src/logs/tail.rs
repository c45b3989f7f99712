//! Follows the log of one unit on one machine, for all who read it.
//!
//! ```text
//! read up to the newest entry ──► follow ──► the connection ends
//!   ▲                                            │
//!   └──────── from the last cursor ◄── wait ◄────┘
//! ```
//!
//! It must not know who reads it. It ends when nobody does.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::entry::{self, LogLine};
use super::journal::{
    EntryStream, JournalEntries, JournalError, JournalStart, MAX_BACKLOG, UnitJournal,
};
use super::line_rate::LineRate;
use super::line_splitter::StreamLine;
use super::log_buffer::{LogBuffer, LogEntry, UnreadEntries};
use crate::net::backoff::Backoff;

/// The wait before the first retry, and the longest one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A connection that lasted this long was a success, even if nothing arrived.
const LASTING: Duration = Duration::from_secs(10);

/// Whether a log can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TailState {
    /// The first answer has not arrived yet.
    Connecting,
    /// All lines up to now have been read, and more follow.
    Connected,
    /// It cannot be read, for this reason. It is tried again.
    Failed(Arc<str>),
}

/// The log of one unit on one machine. The last `Arc` that is dropped ends it.
#[derive(Debug)]
pub(crate) struct Tail {
    log: Arc<SharedLog>,
    task: AbortHandle,
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tail {
    /// Begins to read.
    pub(super) fn start(journal: UnitJournal) -> Self {
        let log = Arc::new(SharedLog {
            buffer: Mutex::default(),
            progress: watch::Sender::new(TailState::Connecting),
        });
        let reader = TailReader {
            journal,
            log: log.clone(),
            cursors: [None, None],
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
        };

        let task = tokio::spawn(reader.run()).abort_handle();
        Self { log, task }
    }

    /// Wakes for each change: of the state, or new entries.
    pub(crate) fn subscribe(&self) -> watch::Receiver<TailState> {
        self.log.progress.subscribe()
    }

    /// The position of a reader who wants the last `count` entries.
    pub(crate) fn position_of_last(&self, count: usize) -> u64 {
        self.log.with_buffer(|buffer| buffer.position_of_last(count))
    }

    /// What follows after `position`; see [`LogBuffer::read`].
    pub(crate) fn read(&self, position: &mut u64, max_bytes: usize) -> UnreadEntries {
        self.log.with_buffer(|buffer| buffer.read(position, max_bytes))
    }

    /// Whether there is something after `position`.
    pub(crate) fn has_unread(&self, position: u64) -> bool {
        self.log.with_buffer(|buffer| buffer.end()) > position
    }
}

/// What the task that reads shares with the readers of a log.
#[derive(Debug)]
struct SharedLog {
    buffer: Mutex<LogBuffer>,
    progress: watch::Sender<TailState>,
}

impl SharedLog {
    /// A poisoned lock may be used: an entry is pushed as a whole.
    fn with_buffer<T>(&self, act: impl FnOnce(&mut LogBuffer) -> T) -> T {
        act(&mut self.buffer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, entries: impl IntoIterator<Item = LogEntry>) {
        self.with_buffer(|buffer| entries.into_iter().for_each(|entry| buffer.push(entry)));
        self.progress.send_modify(|_| {});
    }

    fn set(&self, state: TailState) {
        self.progress.send_replace(state);
    }
}

/// A cursor for each of [`JournalEntries::ALL`].
type Cursors = [Option<Box<str>>; 2];

/// The task that reads.
struct TailReader {
    journal: UnitJournal,
    log: Arc<SharedLog>,
    /// The last entry that was read, of each of [`JournalEntries::ALL`].
    cursors: Cursors,
    backoff: Backoff,
}

impl TailReader {
    async fn run(mut self) {
        loop {
            let Err(error) = self.read_and_follow().await;

            self.log.set(TailState::Failed(error.to_string().into()));
            sleep(self.backoff.wait(fastrand::f64())).await;
        }
    }

    /// Reads what is there, and then what follows, until the connection ends.
    async fn read_and_follow(&mut self) -> Result<Infallible, JournalError> {
        let (mut entries, cursors) = self.read_up_to_now().await?;
        entries.sort_by_key(|(time, _)| *time);
        self.log.push(entries.into_iter().map(|(_, entry)| entry));
        self.cursors = cursors;
        self.log.set(TailState::Connected);

        let connected = Instant::now();
        let [written, about_unit] = &mut self.cursors;
        let mut rates = [LineRate::new(connected), LineRate::new(connected)];
        let [written_rate, about_rate] = &mut rates;
        let journal = &self.journal;
        let log = &*self.log;
        let of_processes = follow(journal, JournalEntries::Written, written, written_rate, log);
        let of_systemd = follow(journal, JournalEntries::AboutUnit, about_unit, about_rate, log);
        let result = tokio::select! {
            result = of_processes => result,
            result = of_systemd => result,
        };

        let skipped = rates.map(|mut rate| rate.take_skipped(Instant::now()));
        let skipped = skipped.into_iter().filter(|skipped| *skipped > 0);
        self.log.push(skipped.map(LogEntry::Skipped));
        if connected.elapsed() >= LASTING {
            self.backoff.reset();
        }
        result
    }

    /// Reads from the last cursors on, or the last entries, each with its time. Only if all were
    /// read, the cursors that are returned are valid.
    async fn read_up_to_now(&self) -> Result<(Vec<(Duration, LogEntry)>, Cursors), JournalError> {
        let mut read = Vec::new();
        let mut cursors = self.cursors.clone();

        for (entries, cursor) in JournalEntries::ALL.into_iter().zip(&mut cursors) {
            let start = JournalStart::after(cursor.as_deref());
            let mut stream = self.journal.read(entries, &start, MAX_BACKLOG + 1).await?;
            let mut parser = EntryParser::after(cursor);
            let mut time = Duration::ZERO;

            let first = read.len();
            stream
                .read_to_end(|line| {
                    // More than what was asked for is not stored.
                    if read.len() - first > MAX_BACKLOG {
                        return;
                    }
                    let entry = parser.parse(line);
                    if let Some(LogEntry::Line(line)) = &entry {
                        time = line.time;
                    }
                    read.extend(entry.map(|entry| (time, entry)));
                })
                .await?;
            parser.finish()?;
        }
        Ok((read, cursors))
    }
}

/// Reads what follows after the cursor, and moves the cursor, until the connection ends.
async fn follow(
    journal: &UnitJournal,
    entries: JournalEntries,
    cursor: &mut Option<Box<str>>,
    rate: &mut LineRate,
    log: &SharedLog,
) -> Result<Infallible, JournalError> {
    let start = JournalStart::after(cursor.as_deref());
    let mut stream = journal.follow(entries, &start).await?;
    let mut parser = EntryParser::after(cursor);

    loop {
        let is_open = match rate.deadline() {
            None => follow_once(&mut stream, &mut parser, rate, log).await?,
            Some(deadline) => {
                let next = follow_once(&mut stream, &mut parser, rate, log);
                timeout_at(deadline, next).await.unwrap_or(Ok(true))?
            }
        };

        let skipped = rate.end_window(Instant::now());
        if skipped > 0 {
            log.push([LogEntry::Skipped(skipped)]);
        }
        parser.finish()?;
        if !is_open {
            let ended = "it ended; systemd-journal-gatewayd may have been restarted";
            return Err(JournalError::Closed(journal.address, ended.to_owned()));
        }
    }
}

/// Waits for more entries. Returns whether there may be more.
async fn follow_once(
    stream: &mut EntryStream,
    parser: &mut EntryParser<'_>,
    rate: &mut LineRate,
    log: &SharedLog,
) -> Result<bool, JournalError> {
    let mut arrived = Vec::new();
    let is_open = stream
        .next(|line| {
            if rate.admits_line() {
                arrived.extend(parser.parse(line));
            } else {
                parser.skip(line);
            }
        })
        .await?;

    if !arrived.is_empty() {
        log.push(arrived);
    }
    Ok(is_open)
}

/// Parses entries, and remembers the cursor of the last one.
struct EntryParser<'a> {
    /// The cursor at which the entries begin. The entry itself has been read already.
    known: Option<Box<str>>,
    last: &'a mut Option<Box<str>>,
    /// The last entry that was skipped. Only its cursor matters.
    skipped: Vec<u8>,
    invalid: Option<String>,
}

impl<'a> EntryParser<'a> {
    fn after(cursor: &'a mut Option<Box<str>>) -> Self {
        Self {
            known: cursor.clone(),
            last: cursor,
            skipped: Vec::new(),
            invalid: None,
        }
    }

    /// The line of an entry; `None` for one that was read before, and for one that is no entry.
    fn parse(&mut self, line: StreamLine<'_>) -> Option<LogEntry> {
        let StreamLine::Complete(entry) = line else {
            return Some(LogEntry::Skipped(1));
        };
        if entry.is_empty() {
            return None;
        }
        let Some(line) = LogLine::parse(entry) else {
            let beginning = String::from_utf8_lossy(&entry[..entry.len().min(80)]).into_owned();
            self.invalid
                .get_or_insert_with(|| beginning.replace(char::is_control, " "));
            return None;
        };

        self.skipped.clear();
        *self.last = Some(line.cursor.clone());
        let is_known = self.known.take().is_some_and(|known| known == line.cursor);
        (!is_known).then_some(LogEntry::Line(line))
    }

    fn skip(&mut self, line: StreamLine<'_>) {
        if let StreamLine::Complete(entry) = line {
            self.skipped.clear();
            self.skipped.extend_from_slice(entry);
        }
    }

    /// Moves the cursor behind what was skipped.
    ///
    /// # Errors
    ///
    /// If a line was no entry of a journal.
    fn finish(&mut self) -> Result<(), JournalError> {
        if let Some(invalid) = self.invalid.take() {
            return Err(JournalError::NotAJournal(format!("{invalid:?} is no entry")));
        }
        if let Some(cursor) = entry::cursor(&self.skipped) {
            *self.last = Some(cursor);
        }
        self.skipped.clear();
        Ok(())
    }
}
