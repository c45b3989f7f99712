//! The lines of a log: how one is written, and how they are read.
//!
//! It opens no file.

use std::io::{self, BufRead, Read};

/// How long a line may be. A longer one is damaged: so a file without any line break does not take
/// all memory.
const MAX_LINE: u64 = 16 << 20;

/// Appends one record, a text without a line break.
pub(crate) fn put_record(log: &mut String, body: &str) {
    debug_assert!(!body.contains('\n'), "a record is one line: {body:?}");

    log.push_str(&checksum(body));
    log.push(' ');
    log.push_str(body);
    log.push('\n');
}

/// Eight hexadecimal digits.
fn checksum(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

/// What was found at one place of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadRecord<'a> {
    /// A whole record.
    Whole {
        /// Where its line begins, in bytes.
        offset: u64,
        body: &'a str,
    },
    /// A line that is cut off, or differs from what was written.
    Damaged,
}

/// Reads a log, line by line.
#[derive(Debug)]
pub(crate) struct RecordReader<R> {
    log: R,
    line: Vec<u8>,
    offset: u64,
}

impl<R: BufRead> RecordReader<R> {
    pub(crate) fn new(log: R) -> Self {
        Self { log, line: Vec::new(), offset: 0 }
    }

    /// Where the next line begins, in bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line; `None` at the end of the log.
    pub(crate) fn next(&mut self) -> io::Result<Option<ReadRecord<'_>>> {
        self.line.clear();
        let offset = self.offset;
        let read = (&mut self.log).take(MAX_LINE).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }

        self.offset += read as u64;
        Ok(Some(match body(&self.line) {
            Some(body) => ReadRecord::Whole { offset, body },
            None => ReadRecord::Damaged,
        }))
    }
}

/// The body of a line; `None` if the line is damaged.
fn body(line: &[u8]) -> Option<&str> {
    let line = str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (checksum, body) = line.split_once(' ')?;

    (checksum == self::checksum(body)).then_some(body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODIES: [&str; 4] = [r#"{"a":1}"#, "", "with blanks and ä", "last"];

    fn log() -> Vec<u8> {
        let mut log = String::new();
        BODIES.iter().for_each(|body| put_record(&mut log, body));
        log.into_bytes()
    }

    /// The bodies of all whole records before the first damaged one, and whether there is one.
    fn read(log: &[u8]) -> (Vec<String>, bool) {
        let mut reader = RecordReader::new(log);
        let mut bodies = Vec::new();

        while let Some(record) = reader.next().unwrap() {
            match record {
                ReadRecord::Whole { body, .. } => bodies.push(body.to_owned()),
                ReadRecord::Damaged => return (bodies, true),
            }
        }
        (bodies, false)
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        assert_eq!(read(&log()), (BODIES.map(str::to_owned).to_vec(), false));
        assert_eq!(read(b""), (vec![], false));
    }

    #[test]
    fn a_log_that_is_cut_anywhere_has_all_whole_records() {
        let log = log();
        let ends: Vec<usize> = log
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(index, _)| index + 1)
            .collect();

        for cut in 0..=log.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let is_at_end = cut == 0 || ends.contains(&cut);
            let expected = BODIES[..whole].iter().map(|body| (*body).to_owned()).collect();
            assert_eq!(read(&log[..cut]), (expected, !is_at_end), "cut at {cut}");
        }
    }

    #[test]
    fn a_changed_bit_is_noticed_wherever_it_is() {
        let log = log();
        for index in 0..log.len() {
            for bit in 0..8 {
                let mut damaged = log.clone();
                damaged[index] ^= 1 << bit;

                let (bodies, is_damaged) = read(&damaged);
                assert!(is_damaged, "bit {bit} of byte {index}: {bodies:?}");
            }
        }
    }

    #[test]
    fn offsets_are_those_of_the_lines() {
        let log = log();
        let mut reader = RecordReader::new(&log[..]);
        while let Some(record) = reader.next().unwrap() {
            let ReadRecord::Whole { offset, body } = record else {
                panic!("nothing is damaged");
            };
            let line = &log[usize::try_from(offset).unwrap()..];
            assert!(line["01234567 ".len()..].starts_with(body.as_bytes()));
        }
        assert_eq!(reader.offset(), log.len() as u64);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            read(&bytes);
        }
    }
}
