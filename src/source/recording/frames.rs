//! Where the zstd frames of a file begin and end (RFC 8878, section 3.1), without decompressing it.
//!
//! It must not know what is in the frames. A chapter of a recording is a frame of its own, so that
//! it can be found and played alone. A frame is cut when the program that wrote it was killed.

use std::io::{self, BufRead, Read, Seek};

/// The first bytes of each frame.
pub(super) const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// An empty block that is the last one of a frame: it completes a frame that was cut.
pub(super) const LAST_BLOCK: [u8; 3] = [1, 0, 0];

/// Of the magic numbers of frames that hold no data, all but the last four bits.
const SKIPPABLE: u32 = 0x184D_2A50;

/// One frame of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ZstdFrame {
    /// Where it begins in the file.
    pub(super) start: u64,
    /// Where it ends; of a frame that is cut, where its last complete block ends.
    pub(super) end: u64,
    pub(super) is_complete: bool,
}

/// Finds the frames of a file. What is no frame is skipped, and so is the rest of one that is
/// damaged.
pub(super) fn find(file: &mut (impl BufRead + Seek)) -> io::Result<Vec<ZstdFrame>> {
    let length = file.seek(io::SeekFrom::End(0))?;
    let mut position = file.seek(io::SeekFrom::Start(0))?;
    let mut frames = Vec::new();

    while position < length {
        let frame = match FrameHeader::read(file, length - position)? {
            Some(header) => {
                walk(file, position, length, &header)?.map(|frame| (frame, header.is_skippable))
            }
            None => None,
        };

        let searched_from = match frame {
            Some((frame, is_skippable)) => {
                if !is_skippable {
                    frames.push(frame);
                }
                if frame.is_complete {
                    position = frame.end;
                    continue;
                }
                frame.end.max(position + 1)
            }
            None => position + 1,
        };
        match find_magic(file, searched_from)? {
            Some(next) => position = file.seek(io::SeekFrom::Start(next))?,
            None => break,
        }
    }
    Ok(frames)
}

/// Where the next frame seems to begin, at or after an offset.
fn find_magic(file: &mut (impl BufRead + Seek), from: u64) -> io::Result<Option<u64>> {
    let mut position = file.seek(io::SeekFrom::Start(from))?;
    let mut found = 0;

    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }

        for byte in buffer {
            position += 1;
            found = match *byte == MAGIC[found] {
                true => found + 1,
                // No byte of the magic number occurs in it twice.
                false => usize::from(*byte == MAGIC[0]),
            };
            if found == MAGIC.len() {
                return Ok(Some(position - MAGIC.len() as u64));
            }
        }
        let length = buffer.len();
        file.consume(length);
    }
}

/// Walks over the blocks of a frame whose header has just been read. `None`: it is cut in its
/// header, so there is nothing of it.
fn walk(
    file: &mut (impl BufRead + Seek),
    start: u64,
    length: u64,
    header: &FrameHeader,
) -> io::Result<Option<ZstdFrame>> {
    let mut end = start + header.length;
    let cut = |end| Ok(Some(ZstdFrame { start, end, is_complete: false }));
    if end > length {
        return Ok(None);
    }
    if header.is_skippable {
        file.seek(io::SeekFrom::Start(end))?;
        return Ok(Some(ZstdFrame { start, end, is_complete: true }));
    }

    file.seek(io::SeekFrom::Start(end))?;
    loop {
        let mut block = [0; 4];
        if end + 3 > length {
            return cut(end);
        }
        file.read_exact(&mut block[..3])?;

        let block = u32::from_le_bytes(block);
        let is_last = block & 1 == 1;
        let content = match block >> 1 & 3 {
            // One byte, which is repeated.
            1 => 1,
            0 | 2 => block >> 3,
            _ => return cut(end),
        };

        let block_end = end + 3 + u64::from(content);
        if block_end > length {
            return cut(end);
        }
        file.seek_relative(i64::from(content))?;
        end = block_end;
        if is_last {
            break;
        }
    }

    let end = end + header.checksum;
    if end > length {
        return cut(end - header.checksum);
    }
    file.seek(io::SeekFrom::Start(end))?;
    Ok(Some(ZstdFrame { start, end, is_complete: true }))
}

/// What the header of a frame says of its size.
struct FrameHeader {
    /// How many bytes it has; of a skippable frame, all of it.
    length: u64,
    /// How many bytes follow the last block.
    checksum: u64,
    is_skippable: bool,
}

impl FrameHeader {
    /// `None` if the next bytes, of which `left` are there, begin no frame.
    fn read(file: &mut impl Read, left: u64) -> io::Result<Option<Self>> {
        if left < 5 {
            return Ok(None);
        }
        let mut magic = [0; 4];
        file.read_exact(&mut magic)?;

        if u32::from_le_bytes(magic) & !0xF == SKIPPABLE {
            if left < 8 {
                return Ok(None);
            }
            let mut size = [0; 4];
            file.read_exact(&mut size)?;
            let length = 8 + u64::from(u32::from_le_bytes(size));
            return Ok(Some(Self { length, checksum: 0, is_skippable: true }));
        }
        if magic != MAGIC {
            return Ok(None);
        }

        let mut descriptor = [0; 1];
        file.read_exact(&mut descriptor)?;
        let [descriptor] = descriptor;
        let is_single_segment = descriptor & 0x20 != 0;
        let window = u64::from(!is_single_segment);
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let content_size = match descriptor >> 6 {
            0 => u64::from(is_single_segment),
            1 => 2,
            2 => 4,
            _ => 8,
        };

        Ok(Some(Self {
            length: 5 + window + dictionary + content_size,
            checksum: if descriptor & 4 != 0 { 4 } else { 0 },
            is_skippable: false,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    /// A frame of several blocks.
    fn frame(checksum: bool) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(checksum).unwrap();
        for block in [b"first ".repeat(100), vec![b'x'; 300_000], b"last".to_vec()] {
            encoder.write_all(&block).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap()
    }

    fn frames(bytes: &[u8]) -> Vec<(usize, usize, bool)> {
        let frames = find(&mut Cursor::new(bytes)).unwrap();
        let place = |offset: u64| usize::try_from(offset).unwrap();
        frames
            .into_iter()
            .map(|frame| (place(frame.start), place(frame.end), frame.is_complete))
            .collect()
    }

    #[test]
    fn frames_are_found_where_they_were_written() {
        let plain = frame(false);
        let with_checksum = frame(true);
        let skippable = [&0x184D_2A51_u32.to_le_bytes()[..], &2_u32.to_le_bytes(), b"??"].concat();
        let bytes = [&plain[..], &skippable, &with_checksum].concat();

        let second = plain.len() + skippable.len();
        assert_eq!(frames(&bytes), [(0, plain.len(), true), (second, bytes.len(), true)]);
        assert_eq!(frames(b""), []);
        assert_eq!(frames(b"{\"recording\":1}"), []);
    }

    #[test]
    fn a_frame_behind_a_damaged_one_is_found() {
        let mut damaged = frame(false);
        // Block type 3 is reserved.
        let header = 6;
        damaged[header] |= 6;
        let length = damaged.len();
        let bytes = [damaged, frame(false)].concat();

        assert_eq!(frames(&bytes), [(0, header, false), (length, bytes.len(), true)]);
    }

    #[test]
    fn wherever_a_frame_is_cut_a_last_block_completes_it() {
        let whole = frame(false);
        let text = zstd::decode_all(&whole[..]).unwrap();

        for length in 0..whole.len() {
            let found = frames(&whole[..length]);
            let Some(&(0, end, is_complete)) = found.first() else {
                assert!(length < 8, "{length}");
                continue;
            };
            assert!(!is_complete && end <= length, "{length}");

            let completed = [&whole[..end], &LAST_BLOCK].concat();
            let left = zstd::decode_all(&completed[..]).unwrap();
            assert!(text.starts_with(&left), "{length}");
        }
    }
}
