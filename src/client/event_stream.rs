//! Decodes server-sent events (HTML Standard, section "Parsing an event stream"), as far as this
//! server uses them. It knows no messages.

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerSentEvent {
    /// The position after it; `None` if a client cannot resume there.
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// Bytes may come in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct EventStreamDecoder {
    /// The beginning of a line that is not complete yet.
    pending: Vec<u8>,
    event: ServerSentEvent,
}

impl EventStreamDecoder {
    /// The events that are complete with these bytes.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Vec<ServerSentEvent> {
        let mut events = Vec::new();
        let mut rest = bytes;

        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.pending);
            self.line(&String::from_utf8_lossy(&line), &mut events);
        }
        self.pending.extend_from_slice(rest);
        events
    }

    /// How many bytes the event has that is not complete yet.
    pub(crate) fn buffered(&self) -> usize {
        self.pending.len() + self.event.data.len()
    }

    fn line(&mut self, line: &str, events: &mut Vec<ServerSentEvent>) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if !event.data.is_empty() {
                events.push(event);
            }
            return;
        }

        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            "id" => self.event.id = Some(value.to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        "retry: 2000\n\ndata: {\"a\":1}\n\nid: e-2\r\ndata: ä: b\r\n\r\n: comment\n\ndata: 3";

    fn event(id: Option<&str>, data: &str) -> ServerSentEvent {
        ServerSentEvent { id: id.map(str::to_owned), data: data.to_owned() }
    }

    #[test]
    fn events_are_decoded_however_the_bytes_are_split() {
        let expected = [event(None, "{\"a\":1}"), event(Some("e-2"), "ä: b")];

        for size in 1..STREAM.len() {
            let mut decoder = EventStreamDecoder::default();
            let events: Vec<_> = STREAM
                .as_bytes()
                .chunks(size)
                .flat_map(|chunk| decoder.decode(chunk))
                .collect();
            assert_eq!(events, expected, "{size}");
            assert_eq!(decoder.buffered(), "data: 3".len());
        }
    }
}
