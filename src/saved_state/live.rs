//! Which records of a file are still needed. Pure, apart from reading.
//!
//! It is used to read a file, and to write it anew without the rest.

use std::collections::HashMap;
use std::io::{self, BufRead};

use super::record::{Commit, FORMAT_VERSION, RecordSubject, StateRecord};
use crate::append_log::{ReadRecord, RecordReader};

/// How many events of one unit or machine are kept. The program that runs keeps no more either.
const MAX_EVENTS_OF_ONE: u32 = 50;
/// How many bytes all events may take in a file that is written anew.
const MAX_EVENT_BYTES: u64 = 16 << 20;
/// Of how many removed rows, machines and problems it is kept that they were removed.
const MAX_REMOVALS: usize = 4096;

/// Where a record is in the file.
#[derive(Clone, Copy, Debug)]
struct RecordPlace {
    offset: u64,
    bytes: u64,
    removal: Option<u64>,
    event_subject: Option<u64>,
}

/// The records of a file that are still needed, and what is wrong with the rest.
#[derive(Debug, Default)]
pub(super) struct LiveRecords {
    places: HashMap<RecordSubject, RecordPlace>,
    /// Since the last commit.
    uncommitted: Vec<(Option<RecordSubject>, RecordPlace)>,
    /// Where the record of the last run is; `None` if there is none.
    pub(super) epoch: Option<u64>,
    pub(super) commit: Commit,
    /// The end of the last commit, or of the first record.
    pub(super) end: u64,
    /// How many bytes behind `end` are not used: they are damaged, or have no commit.
    pub(super) dropped: u64,
    /// Whether there is a damaged record.
    pub(super) is_damaged: bool,
    /// Whether the file was written by a later version of the program.
    pub(super) is_of_later_format: bool,
}

impl LiveRecords {
    /// Reads a file of so many bytes.
    pub(super) fn read(log: impl BufRead, bytes: u64) -> io::Result<Self> {
        let mut live = Self::default();
        let mut reader = RecordReader::new(log);
        let mut is_first = true;

        loop {
            let (offset, record) = match reader.next()? {
                None => break,
                Some(ReadRecord::Damaged) => (0, None),
                Some(ReadRecord::Whole { offset, body }) => {
                    (offset, serde_json::from_str::<StateRecord>(body).ok())
                }
            };
            let end = reader.offset();
            let Some(record) = record else {
                live.is_damaged = true;
                break;
            };

            match (is_first, record) {
                (true, StateRecord::Format(FORMAT_VERSION)) => live.end = end,
                (true, StateRecord::Format(_)) => {
                    live.is_of_later_format = true;
                    break;
                }
                (false, StateRecord::Commit(commit)) => live.apply_commit(commit, end),
                (false, record) => live.add(&record, offset, end - offset),
                (true, _) => {
                    live.is_damaged = true;
                    break;
                }
            }
            is_first = false;
        }
        live.dropped = bytes.saturating_sub(live.end);
        Ok(live)
    }

    fn add(&mut self, record: &StateRecord, offset: u64, bytes: u64) {
        let place = RecordPlace {
            offset,
            bytes,
            removal: record.removal(),
            event_subject: record.event_subject(),
        };
        self.uncommitted.push((record.subject(), place));
    }

    fn apply_commit(&mut self, commit: Commit, end: u64) {
        for (subject, place) in std::mem::take(&mut self.uncommitted) {
            match subject {
                Some(subject) => _ = self.places.insert(subject, place),
                // A run begins: a client of another one cannot resume after its removals.
                None => {
                    self.epoch = Some(place.offset);
                    self.places.retain(|_, place| place.removal.is_none());
                }
            }
        }
        self.commit = commit;
        self.end = end;
    }

    /// Drops what is not worth keeping: old events and removals. Returns how many bytes the others
    /// take.
    pub(super) fn trim(&mut self) -> u64 {
        self.trim_events();
        self.trim_removals();

        self.places.values().map(|place| place.bytes).sum()
    }

    fn trim_events(&mut self) {
        let mut events: Vec<(u64, RecordPlace)> = self
            .places
            .iter()
            .filter_map(|(subject, place)| match subject {
                RecordSubject::Event(number) => Some((*number, *place)),
                _ => None,
            })
            .collect();
        events.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));

        let mut counts: HashMap<Option<u64>, u32> = HashMap::new();
        let mut bytes = 0;
        for (number, place) in events {
            let count = counts.entry(place.event_subject).or_default();
            *count += 1;
            bytes += place.bytes;
            if *count > MAX_EVENTS_OF_ONE || bytes > MAX_EVENT_BYTES {
                self.places.remove(&RecordSubject::Event(number));
            }
        }
    }

    /// Keeps the latest removals. What changed before the last one that is dropped is not known any
    /// more. That a unit file was removed need not be known.
    fn trim_removals(&mut self) {
        self.places.retain(|_, place| place.removal != Some(0));
        let mut revisions: Vec<u64> =
            self.places.values().filter_map(|place| place.removal).collect();
        if revisions.len() <= MAX_REMOVALS {
            return;
        }

        revisions.sort_unstable();
        let last_dropped = revisions[revisions.len() - MAX_REMOVALS - 1];
        self.places
            .retain(|_, place| place.removal.is_none_or(|revision| revision > last_dropped));
        self.commit.complete_since = self.commit.complete_since.max(last_dropped);
    }

    /// Where the records are that are still needed, in order, that of the run among them.
    pub(super) fn offsets(&self) -> Vec<u64> {
        let mut offsets: Vec<u64> = self
            .places
            .values()
            .map(|place| place.offset)
            .chain(self.epoch)
            .collect();
        offsets.sort_unstable();
        offsets
    }
}

/// Calls `found` with each record at one of these offsets, which are in order.
pub(super) fn for_each_at(
    log: impl BufRead,
    offsets: &[u64],
    mut found: impl FnMut(u64, &str) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = RecordReader::new(log);
    let mut wanted = offsets.iter().copied().peekable();

    while wanted.peek().is_some() {
        match reader.next()? {
            Some(ReadRecord::Whole { offset, body }) => {
                if wanted.next_if_eq(&offset).is_some() {
                    found(offset, body)?;
                }
            }
            Some(ReadRecord::Damaged) | None => {
                return Err(io::Error::other("it has changed while it was read"));
            }
        }
    }
    Ok(())
}
