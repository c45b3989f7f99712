//! Finds messages in a stream of bytes, without parsing them.

use crate::client::ClientKind;

/// Splits what a client has read into messages.
pub struct MessageReader {
    kind: ClientKind,
    /// The first bytes of the frame or line that is not complete yet.
    prefix: Vec<u8>,
    /// How many bytes of that frame or line have been read.
    read: usize,
}

impl MessageReader {
    /// How many bytes of a frame or line are enough to find its type.
    const PREFIX: usize = 48;

    pub fn new(kind: ClientKind) -> Self {
        Self { kind, prefix: Vec::with_capacity(Self::PREFIX), read: 0 }
    }

    /// Processes what was read next. Calls `on_message` with the type of each complete message.
    pub fn process(&mut self, mut bytes: &[u8], mut on_message: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let end = match self.kind {
                ClientKind::First | ClientKind::Second => {
                    self.frame_length().map(|length| length - self.read)
                }
                ClientKind::Events => {
                    bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1)
                }
            };
            // A frame whose length is not known yet is read byte by byte, a line as a whole.
            let without_end = match self.kind {
                ClientKind::First | ClientKind::Second => 1,
                ClientKind::Events => bytes.len(),
            };
            let (taken, rest) = bytes.split_at(end.unwrap_or(without_end).min(bytes.len()));

            let missing = Self::PREFIX.saturating_sub(self.prefix.len());
            self.prefix.extend_from_slice(&taken[..missing.min(taken.len())]);
            self.read += taken.len();
            bytes = rest;

            if end.is_some_and(|end| end == taken.len()) {
                if let Some(r#type) = self.message_type() {
                    on_message(r#type);
                }
                self.prefix.clear();
                self.read = 0;
            }
        }
    }

    /// The length of the current frame with its header, if enough of the header has been read (RFC
    /// 6455, section 5.2).
    fn frame_length(&self) -> Option<usize> {
        let (&[_, length], rest) = self.prefix.split_first_chunk()?;

        Some(match length {
            126 => 4 + usize::from(u16::from_be_bytes(*rest.first_chunk()?)),
            127 => 10 + u64::from_be_bytes(*rest.first_chunk()?) as usize,
            length => 2 + usize::from(length),
        })
    }

    /// The value of the key `type`, which is the first one of each message.
    fn message_type(&self) -> Option<&str> {
        const KEY: &[u8] = b"{\"type\":\"";
        let start = self.prefix.windows(KEY.len()).position(|window| window == KEY)?;
        let value = &self.prefix[start + KEY.len()..];
        let end = value.iter().position(|byte| *byte == b'"')?;

        str::from_utf8(&value[..end]).ok()
    }
}
