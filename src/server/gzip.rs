//! gzip in parts: a response may begin with a few bytes of its own, followed by a large part that
//! many responses share.
//!
//! This module must not know what is compressed.
//!
//! `/v2/state` needs the parts. Its beginning has the current time and ages, so no two responses
//! are equal, but the rows after it only change with the cluster. A cache of whole responses, each
//! for a second, was measured and rejected. With 5,000 units the body has 2.9 MB; compressing all
//! of it takes 4.9 ms of CPU, while a whole request takes 0.15 ms if the rows are compressed
//! already. And clients that do not read their response would no longer share one compressed body:
//! with a new one each second, 0.4 MB each, they could hold 90 of them until they time out.

use std::io::Write;
use std::mem::take;

use bytes::Bytes;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// The gzip header: DEFLATE, no flags, no time, an unknown system (RFC 1952, section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A part of a DEFLATE stream (RFC 1951). It refers to nothing before it and ends at a byte
/// boundary, so parts that were compressed separately can be concatenated.
#[derive(Debug)]
pub(super) struct DeflatePart {
    bytes: Bytes,
    /// The checksum of the uncompressed bytes.
    checksum: Crc,
}

impl DeflatePart {
    /// The first part of a gzip member, with the header. A last part must follow.
    pub(super) fn first(plain: &[u8]) -> Self {
        Self::compress(&HEADER, plain, false)
    }

    /// A part between the first and the last one.
    pub(super) fn middle(plain: &[u8]) -> Self {
        Self::compress(&[], plain, false)
    }

    /// The last part of a gzip member.
    pub(super) fn last(plain: &[u8]) -> Self {
        Self::compress(&[], plain, true)
    }

    fn compress(prefix: &[u8], plain: &[u8], is_last: bool) -> Self {
        let mut checksum = Crc::new();
        checksum.update(plain);

        let mut encoder = DeflateEncoder::new(prefix.to_vec(), Compression::fast());
        let compressed = encoder.write_all(plain).and_then(|()| match is_last {
            true => encoder.finish(),
            false => encoder.flush().map(|()| take(encoder.get_mut())),
        });

        Self {
            bytes: compressed.expect("writing to memory does not fail").into(),
            checksum,
        }
    }
}

/// One gzip member of two parts or three. Browsers decode only one member.
pub(super) fn member(
    first: DeflatePart,
    middle: Option<&DeflatePart>,
    last: &DeflatePart,
) -> [Bytes; 3] {
    let mut checksum = first.checksum;
    for part in middle.into_iter().chain([last]) {
        checksum.combine(&part.checksum);
    }

    let middle_bytes = middle.map(|middle| middle.bytes.clone());
    let trailer = [checksum.sum().to_le_bytes(), checksum.amount().to_le_bytes()].concat();
    let end = [&*last.bytes, &trailer].concat();
    [first.bytes, middle_bytes.unwrap_or_default(), end.into()]
}
