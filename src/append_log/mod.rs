//! A file of records that only grows, until it is written anew: [`LogFile`] appends to it and
//! replaces it, [`RecordReader`] reads it.
//!
//! It must not know what a record means. It writes no log line.
//!
//! Each record is one line: a checksum of eight hexadecimal digits, a blank, and a text without a
//! line break. So a file that ends within a record, as after a power failure or on a full disk, is
//! recognized, and people can read it.

mod file;
mod open_in_thread;
mod records;

pub(crate) use file::LogFile;
pub(crate) use open_in_thread::open_in_thread;
pub(crate) use records::{ReadRecord, RecordReader, put_record};
