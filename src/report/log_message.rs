//! The JSON of `/v2/logs`: the log of a unit, as it is read on the machines.
//!
//! Unknown keys and messages are ignored, so that a client can read a newer server. It knows no
//! transport.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::wire::Milliseconds;

/// One message about a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogMessage {
    /// A line of the log.
    Line(LogRow),
    /// Lines that this client does not get.
    Missed {
        /// The ID of the machine that has them.
        machine: String,
        /// How many.
        lines: u64,
        /// Why.
        reason: MissedBecause,
    },
    /// Whether the log on a machine is read.
    Machine(LogMachine),
    /// From now on, this machine runs the unit. Its lines follow.
    Moved {
        /// The machine's ID.
        machine: String,
    },
    /// Nothing follows.
    End,
    /// A message of a newer server.
    #[serde(other)]
    Unknown,
}

/// A line of a log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogRow {
    /// The ID of the machine that has it.
    pub machine: String,
    /// When the journal received it, by the machine's clock.
    pub time: Milliseconds,
    /// The priority as syslog numbers it, 0 to 7; `None` if it has none.
    pub priority: Option<u8>,
    /// The process that wrote it; `None` if it is not known.
    pub pid: Option<u32>,
    /// The name of the program; `None` if it is not known.
    pub identifier: Option<String>,
    /// The text.
    pub message: String,
    /// Whether the text is only the beginning of the message.
    pub truncated: bool,
    /// Whether the message is not text.
    pub binary: bool,
    /// Its place in the journal of its machine.
    pub cursor: String,
    /// Keys of a newer server, which `--json` passes on.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// A machine that has the log, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogMachine {
    /// The machine's ID.
    pub machine: String,
    /// Its address; `None` if it is not known.
    #[serde(default)]
    pub ip: Option<String>,
    /// Whether its log is read.
    pub state: LogMachineState,
    /// Whether it runs the unit now.
    pub role: MachineInLog,
    /// Why it is not read; `None` if it is.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Whether the log of a machine is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogMachineState {
    /// The machine has not answered yet.
    Connecting,
    /// It is read.
    Connected,
    /// Nothing follows from this machine.
    Ended,
    /// It cannot be read at the moment.
    Failed,
    /// A state of a newer server.
    #[serde(other)]
    Unknown,
}

/// What a machine has to do with the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineInLog {
    /// It runs the unit.
    Current,
    /// It ran the unit before another machine did.
    Previous,
    /// A role of a newer server.
    #[serde(other)]
    Unknown,
}

/// Why a client does not get lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedBecause {
    /// The client is slow.
    Slow,
    /// The unit writes more than is passed on.
    Rate,
    /// A reason of a newer server.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_printed_as_it_was_sent() {
        let sent = json!({
            "type": "line",
            "machine": "3f1a",
            "time": 1_700_000_000_123_u64,
            "priority": null,
            "pid": 4711,
            "identifier": "docker",
            "message": "text",
            "truncated": false,
            "binary": true,
            "cursor": "s=1",
            "of_a_newer_server": [1],
        });

        let message: LogMessage = serde_json::from_value(sent.clone()).unwrap();
        assert!(matches!(&message, LogMessage::Line(row) if row.pid == Some(4711)));
        assert_eq!(serde_json::to_value(message).unwrap(), sent);
    }

    #[test]
    fn what_only_a_newer_server_sends_is_no_error() {
        for (message, expected) in [
            (json!({"type": "rotated", "machine": "3f1a"}), LogMessage::Unknown),
            (
                json!({"type": "missed", "machine": "3f1a", "lines": 2, "reason": "vacuumed"}),
                LogMessage::Missed {
                    machine: "3f1a".into(),
                    lines: 2,
                    reason: MissedBecause::Unknown,
                },
            ),
            (
                json!({"type": "machine", "machine": "3f1a", "state": "paused", "role": "next"}),
                LogMessage::Machine(LogMachine {
                    machine: "3f1a".into(),
                    ip: None,
                    state: LogMachineState::Unknown,
                    role: MachineInLog::Unknown,
                    reason: None,
                }),
            ),
        ] {
            assert_eq!(serde_json::from_value::<LogMessage>(message).unwrap(), expected);
        }
    }
}
