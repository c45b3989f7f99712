//! WebSocket frames.
//!
//! It does not know what is in a message.

use bytes::{BufMut, Bytes, BytesMut};

/// A WebSocket text frame, header and payload. A server does not mask its frames, so all clients
/// get the same bytes (RFC 6455, section 5.2). Cloning it copies nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
    /// The length of the header.
    header: usize,
}

impl Frame {
    /// The frame of one text message.
    pub(super) fn text(payload: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(MAX_HEADER + payload.len());
        put_text(&mut bytes, payload);

        let header = bytes.len() - payload.len();
        Self { bytes: bytes.freeze(), header }
    }

    /// The whole frame: header and payload.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The message without the header.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(self.header..)
    }
}

/// The longest header of a frame without a mask, in bytes.
const MAX_HEADER: usize = 10;

/// Appends the frame of one text message to `bytes`.
pub(super) fn put_text(bytes: &mut BytesMut, payload: &[u8]) {
    const FIN_TEXT: u8 = 0x81;
    bytes.reserve(MAX_HEADER + payload.len());

    bytes.put_u8(FIN_TEXT);
    match payload.len() {
        length @ 0..126 => bytes.put_u8(length as u8),
        length @ 126..0x1_0000 => {
            bytes.put_u8(126);
            bytes.put_u16(length as u16);
        }
        length => {
            bytes.put_u8(127);
            bytes.put_u64(length as u64);
        }
    }

    bytes.put_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_encoded_as_in_rfc_6455() {
        for (length, header) in [
            (0, 2),
            (125, 2),
            (126, 4),
            (127, 4),
            (0xffff, 4),
            (0x1_0000, 10),
            (0x10_0000, 10),
        ] {
            let payload = vec![b'x'; length];
            let frame = Frame::text(&payload);

            assert_eq!(frame.bytes().len(), header + length, "{length}");
            assert_eq!(frame.payload(), payload, "{length}");
        }

        assert_eq!(Frame::text(b"hi").bytes().as_ref(), b"\x81\x02hi");
        assert_eq!(Frame::text(&[0; 126]).bytes()[..4], [0x81, 126, 0, 126]);
        assert_eq!(Frame::text(&[0; 0x1_0000]).bytes()[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
