//! The records of a queue's file. It opens no file.
//!
//! A line that is damaged is left out, such as the last one after a power failure. The other lines
//! do not depend on it.

use std::io::{self, BufRead};

use super::waiting::{QueuedEvent, WaitingEvents};
use crate::append_log::{ReadRecord, RecordReader, put_record};

/// The version of the format.
const FORMAT_VERSION: u32 = 1;

/// What a file contains.
#[derive(Debug)]
pub(super) struct Recovered {
    /// Identifies the queue.
    pub(super) id: u64,
    pub(super) waiting: WaitingEvents,
    /// How many lines are damaged.
    pub(super) damaged: usize,
}

impl Default for Recovered {
    /// A new queue.
    fn default() -> Self {
        Self {
            id: fastrand::u64(..),
            waiting: WaitingEvents::default(),
            damaged: 0,
        }
    }
}

/// The whole file of a queue.
pub(super) fn encode(id: u64, waiting: &WaitingEvents) -> String {
    let before_first = waiting
        .iter()
        .next()
        .map_or(waiting.next_number(), |event| event.number)
        .saturating_sub(1);

    let mut lines = line(&format!("queue {FORMAT_VERSION} {id:016x}"));
    lines += &removal(before_first);
    for event in waiting.iter() {
        lines += &self::event(event);
    }
    lines += &batch(waiting.batch_end());
    lines
}

/// An event that was pushed.
pub(super) fn event(event: &QueuedEvent) -> String {
    line(&format!("event {} {}", event.number, event.json))
}

/// A batch that ends with this event is about to be sent.
pub(super) fn batch(last: u64) -> String {
    line(&format!("batch {last}"))
}

/// All events up to this one were delivered or dropped.
pub(super) fn removal(last: u64) -> String {
    line(&format!("removed {last}"))
}

/// Reads a file.
pub(super) fn decode(file: impl BufRead) -> io::Result<Recovered> {
    let mut recovered = Recovered::default();
    let mut reader = RecordReader::new(file);

    while let Some(record) = reader.next()? {
        let applied = match record {
            ReadRecord::Whole { body, .. } => apply(body, &mut recovered),
            ReadRecord::Damaged => None,
        };
        if applied.is_none() {
            recovered.damaged += 1;
        }
    }
    Ok(recovered)
}

/// Applies a record. `None` if it is none of this format.
fn apply(record: &str, recovered: &mut Recovered) -> Option<()> {
    let (kind, rest) = record.split_once(' ')?;
    let waiting = &mut recovered.waiting;

    match kind {
        "queue" => {
            let (version, id) = rest.split_once(' ')?;
            if version.parse() != Ok(FORMAT_VERSION) {
                return None;
            }
            recovered.id = u64::from_str_radix(id, 16).ok()?;
        }
        "event" => {
            let (number, json) = rest.split_once(' ')?;
            waiting.insert(QueuedEvent { number: number.parse().ok()?, json: json.into() });
        }
        "batch" => waiting.set_batch_end(rest.parse().ok()?),
        "removed" => waiting.remove_through(rest.parse().ok()?),
        _ => return None,
    }
    Some(())
}

fn line(record: &str) -> String {
    let mut line = String::new();
    put_record(&mut line, record);
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: u64 = 0x0123_4567_89ab_cdef;

    fn push(waiting: &mut WaitingEvents, json: &str) -> String {
        event(&waiting.push(json.into()))
    }

    /// A file with all kinds of records, and for the end of each line what is waiting there.
    fn file() -> (String, Vec<(usize, WaitingEvents)>) {
        let mut waiting = WaitingEvents::default();
        let mut file = encode(ID, &waiting);
        let mut states = vec![(file.len(), waiting.clone())];
        let mut append = |line: String, waiting: &WaitingEvents| {
            file += &line;
            states.push((file.len(), waiting.clone()));
        };

        for json in [r#"{"event":"opened","problem":"ä"}"#, "{}", r#"{"a":"\n"}"#] {
            let line = push(&mut waiting, json);
            append(line, &waiting);
        }
        waiting.begin_batch();
        append(batch(waiting.batch_end()), &waiting);
        let line = push(&mut waiting, "{}");
        append(line, &waiting);
        waiting.remove_through(3);
        append(removal(3), &waiting);
        let line = push(&mut waiting, "{}");
        append(line, &waiting);
        (file, states)
    }

    #[test]
    fn a_file_that_is_cut_anywhere_has_all_that_was_written_before() {
        let (file, states) = file();
        for cut in 0..=file.len() {
            let recovered = decode(&file.as_bytes()[..cut]).unwrap();

            let complete = states.iter().rev().find(|(end, _)| *end <= cut);
            match complete {
                Some((end, expected)) => {
                    assert_eq!(recovered.waiting, *expected, "cut at {cut}");
                    assert_eq!(recovered.id, ID, "cut at {cut}");
                    assert_eq!(recovered.damaged, usize::from(*end < cut), "cut at {cut}");
                }
                None => assert!(recovered.waiting.is_empty(), "cut at {cut}"),
            }
        }
    }

    #[test]
    fn a_damaged_line_does_not_affect_the_others() {
        let (file, _) = file();
        let whole = decode(file.as_bytes()).unwrap();
        for index in 0..file.len() {
            let mut damaged = file.clone().into_bytes();
            damaged[index] ^= 0x04;
            let recovered = decode(&*damaged).unwrap();

            assert!(recovered.damaged > 0, "at {index}");
            // An event is missing, or is there again.
            let events = recovered.waiting.len();
            assert!((1..=5).contains(&events), "{events} at {index}");
            assert!(recovered.waiting.next_number() >= whole.waiting.next_number() - 1);
        }
    }

    #[test]
    fn a_compacted_file_has_the_same_events() {
        let (file, _) = file();
        let recovered = decode(file.as_bytes()).unwrap();

        let compacted = encode(recovered.id, &recovered.waiting);

        let again = decode(compacted.as_bytes()).unwrap();
        assert!(compacted.len() < file.len());
        assert_eq!((again.id, again.waiting), (recovered.id, recovered.waiting));
    }

    #[test]
    fn the_numbers_of_an_empty_queue_go_on() {
        let mut waiting = WaitingEvents::default();
        waiting.remove_through(41);
        let mut recovered = decode(encode(ID, &waiting).as_bytes()).unwrap();
        assert_eq!(recovered.waiting.push("{}".into()).number, 42);
    }

    #[test]
    fn a_later_format_is_not_read() {
        let recovered = decode(line("queue 2 0123456789abcdef").as_bytes()).unwrap();
        assert_eq!(recovered.damaged, 1);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = decode(&*bytes);
        }
    }
}
