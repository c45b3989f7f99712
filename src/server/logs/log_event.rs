//! The events of a log, as they are sent. Pure.
//!
//! This module must not know how they are sent.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use crate::feed::MachineRole;
use crate::logs::LogLine;

/// One event, as a JSON object.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum LogEvent<'a> {
    /// A line of the log.
    Line {
        machine: &'a str,
        /// In milliseconds since 1970.
        time: u64,
        priority: Option<u8>,
        pid: Option<u32>,
        identifier: Option<&'a str>,
        message: &'a str,
        truncated: bool,
        binary: bool,
        cursor: &'a str,
    },
    /// Lines that this client does not get.
    Missed { machine: &'a str, lines: u64, reason: MissedReason },
    /// A machine whose log is read, or is not.
    Machine {
        machine: &'a str,
        ip: Option<&'a str>,
        state: MachineLogState,
        role: MachineRole,
        reason: Option<&'a str>,
    },
    /// The unit is on this machine now. Its lines follow.
    Moved { machine: &'a str },
    /// Nothing follows.
    End,
}

/// Why a client does not get a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum MissedReason {
    /// The client, or what it may be sent in a second, is slower than the unit.
    Slow,
    /// The unit writes more than is passed on to anybody.
    Rate,
}

/// Whether the log of a machine is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum MachineLogState {
    /// The machine is being asked.
    Connecting,
    /// Its log is read.
    Connected,
    /// It is not in the cluster any more, and is not asked.
    Ended,
    /// It cannot be read, and is tried again.
    Failed,
}

impl<'a> LogEvent<'a> {
    pub(super) fn line(machine: &'a str, line: &'a LogLine) -> Self {
        Self::Line {
            machine,
            time: u64::try_from(line.time.as_millis()).unwrap_or(u64::MAX),
            priority: line.priority,
            pid: line.pid,
            identifier: line.identifier.as_deref(),
            message: &line.message,
            truncated: line.truncated,
            binary: line.binary,
            cursor: &line.cursor,
        }
    }

    /// Appends the event as a server-sent event (HTML, section "Server-sent events").
    pub(super) fn encode(&self, buffer: &mut BytesMut) {
        buffer.extend_from_slice(b"data: ");
        serde_json::to_writer(buffer.writer(), self)
            .expect("writing into memory does not fail, nor do these types");
        buffer.extend_from_slice(b"\n\n");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        let line = LogLine {
            time: Duration::from_millis(1_700_000_000_123),
            priority: Some(3),
            pid: None,
            identifier: Some("docker".into()),
            message: "one\n\ndata: two".into(),
            truncated: false,
            binary: false,
            cursor: "s=0".into(),
        };
        let mut buffer = BytesMut::new();
        LogEvent::line("3f1a", &line).encode(&mut buffer);
        LogEvent::End.encode(&mut buffer);

        assert_eq!(
            std::str::from_utf8(&buffer).unwrap(),
            "data: {\"type\":\"line\",\"machine\":\"3f1a\",\"time\":1700000000123,\"priority\":3,\
             \"pid\":null,\"identifier\":\"docker\",\"message\":\"one\\n\\ndata: two\",\
             \"truncated\":false,\"binary\":false,\"cursor\":\"s=0\"}\n\n\
             data: {\"type\":\"end\"}\n\n"
        );
    }
}
