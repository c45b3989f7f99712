//! The latest lines of one unit on one machine, which all who read them share. Pure.
//!
//! It must not know who reads it: each reader keeps a position of its own, and a reader that is
//! slower than the unit misses lines, but learns how many.

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::LogLine;

/// The most entries that are kept.
const MAX_ENTRIES: usize = 2_000;
/// The most bytes of messages that are kept.
const MAX_BYTES: usize = 1 << 20;

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogEntry {
    /// A line.
    Line(LogLine),
    /// So many lines that nobody gets: the unit writes more than is passed on.
    Skipped(u64),
}

/// The latest entries, oldest first.
#[derive(Debug, Default)]
pub(super) struct LogBuffer {
    /// Each with the position at which it begins.
    entries: VecDeque<(u64, Arc<LogEntry>)>,
    bytes: usize,
    /// The position behind the newest entry. Positions count lines from the first one on, also
    /// those that were skipped.
    end: u64,
}

/// What a reader has not read yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct UnreadEntries {
    /// How many lines the reader misses, because they are no longer kept.
    pub(crate) missed: u64,
    /// The entries after those, oldest first.
    pub(crate) entries: Vec<Arc<LogEntry>>,
}

impl LogBuffer {
    /// The position behind the newest entry.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Appends an entry. The oldest ones make room for it.
    pub(super) fn push(&mut self, entry: LogEntry) {
        let begin = self.end;
        self.bytes += size(&entry);
        self.end += lines(&entry);
        self.entries.push_back((begin, Arc::new(entry)));

        while self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some((_, oldest)) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= size(&oldest);
        }
    }

    /// The position of the reader who wants the last `count` lines.
    pub(super) fn position_of_last(&self, count: usize) -> u64 {
        self.entries
            .iter()
            .rev()
            .filter(|(_, entry)| matches!(**entry, LogEntry::Line(_)))
            .take(count)
            .last()
            .map_or(self.end, |(begin, _)| *begin)
    }

    /// What follows after `position`, as far as its messages fit into `max_bytes`, but one entry at
    /// least. Moves the position behind it.
    pub(super) fn read(&self, position: &mut u64, max_bytes: usize) -> UnreadEntries {
        let oldest = self.entries.front().map_or(self.end, |(begin, _)| *begin);
        let missed = oldest.saturating_sub(*position);
        let first = self.entries.partition_point(|(begin, _)| begin < position);
        let mut bytes = 0;

        let entries: Vec<_> = self
            .entries
            .range(first..)
            .take_while(|(_, entry)| {
                let is_first = bytes == 0;
                bytes += size(entry);
                is_first || bytes <= max_bytes
            })
            .map(|(_, entry)| entry.clone())
            .collect();

        let next = self.entries.get(first + entries.len());
        *position = next.map_or(self.end, |(begin, _)| *begin);
        UnreadEntries { missed, entries }
    }
}

/// How many lines an entry stands for.
fn lines(entry: &LogEntry) -> u64 {
    match entry {
        LogEntry::Line(_) => 1,
        LogEntry::Skipped(lines) => *lines,
    }
}

/// What an entry counts, in bytes: its texts, and some for the rest of it.
fn size(entry: &LogEntry) -> usize {
    const OTHER_FIELDS: usize = 100;

    OTHER_FIELDS
        + match entry {
            LogEntry::Line(line) => {
                let identifier = line.identifier.as_ref().map_or(0, |text| text.len());
                line.message.len() + line.cursor.len() + identifier
            }
            LogEntry::Skipped(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line(message: &str) -> LogEntry {
        LogEntry::Line(LogLine {
            time: Duration::ZERO,
            priority: None,
            pid: None,
            identifier: None,
            message: message.into(),
            truncated: false,
            binary: false,
            cursor: "".into(),
        })
    }

    fn messages(unread: &UnreadEntries) -> Vec<&str> {
        unread
            .entries
            .iter()
            .map(|entry| match &**entry {
                LogEntry::Line(line) => &*line.message,
                LogEntry::Skipped(_) => "skipped",
            })
            .collect()
    }

    #[test]
    fn each_reader_reads_each_entry_once() {
        let mut buffer = LogBuffer::default();
        let mut position = 0;
        buffer.push(line("one"));
        buffer.push(LogEntry::Skipped(7));

        assert_eq!(messages(&buffer.read(&mut position, 1000)), ["one", "skipped"]);
        assert_eq!(buffer.read(&mut position, 1000), UnreadEntries::default());

        buffer.push(line("two"));
        assert_eq!(messages(&buffer.read(&mut position, 1000)), ["two"]);

        let mut other = buffer.position_of_last(1);
        assert_eq!(messages(&buffer.read(&mut other, 1000)), ["two"]);
        assert_eq!(buffer.position_of_last(9), 0);
    }

    #[test]
    fn a_reader_gets_as_much_as_he_takes_at_a_time() {
        let mut buffer = LogBuffer::default();
        for _ in 0..3 {
            buffer.push(line(&"x".repeat(1000)));
        }

        let mut position = 0;
        assert_eq!(buffer.read(&mut position, 2500).entries.len(), 2);
        assert_eq!(buffer.read(&mut position, 10).entries.len(), 1);
        assert_eq!(position, buffer.end());
    }

    #[test]
    fn a_slow_reader_misses_the_oldest_entries_and_learns_how_many() {
        let mut buffer = LogBuffer::default();
        for number in 0..MAX_ENTRIES + 3 {
            buffer.push(line(&number.to_string()));
        }

        let mut position = 1;
        let unread = buffer.read(&mut position, 250);
        assert_eq!((unread.missed, messages(&unread)), (2, vec!["3", "4"]));
        assert_eq!(buffer.read(&mut position, 0).missed, 0);
    }

    #[test]
    fn lines_that_were_skipped_count_as_lines() {
        let mut buffer = LogBuffer::default();
        buffer.push(line("old"));
        buffer.push(LogEntry::Skipped(10_000));
        buffer.push(line("new"));
        let mut last = buffer.position_of_last(2);
        assert_eq!(messages(&buffer.read(&mut last, 1000)), ["old", "skipped", "new"]);

        for _ in 0..MAX_ENTRIES {
            buffer.push(line("newer"));
        }
        let mut position = 0;
        assert_eq!(buffer.read(&mut position, 0).missed, 10_002);
    }

    #[test]
    fn the_bytes_are_bounded_too() {
        let mut buffer = LogBuffer::default();
        for _ in 0..MAX_BYTES / 1000 {
            buffer.push(line(&"x".repeat(1000)));
        }
        assert!(buffer.bytes <= MAX_BYTES);
        let sum: usize = buffer.entries.iter().map(|(_, entry)| size(entry)).sum();
        assert_eq!(buffer.bytes, sum);
        assert!(buffer.entries.len() > 900);

        buffer.push(line(&"x".repeat(MAX_BYTES)));
        assert_eq!((buffer.entries.len(), buffer.bytes), (0, 0));
    }
}
