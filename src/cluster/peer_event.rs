//! An event as another monitor sends it.
//!
//! It does not know which of them are known here already.

use std::time::SystemTime;

use serde::Deserialize;

use super::model::{MachineId, ReasonText, Text, UnitName};
use super::peer::milliseconds;
use super::transition::{Event, Place};

/// An event of a unit or a machine that another monitor has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEvent {
    /// When that monitor learned of it.
    pub time: SystemTime,
    /// The event.
    pub event: Event,
}

/// The JSON of an event, as in `transitions`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PeerEventJson {
    #[serde(deserialize_with = "milliseconds")]
    time: SystemTime,
    event: Text,
    unit: Option<UnitName>,
    machine: Option<MachineId>,
    ip: Option<Text>,
    from: Option<Text>,
    to: Option<Text>,
    reason: Option<String>,
}

impl PeerEventJson {
    /// The event; `None` if it is of a kind that is not known here, lacks what its kind needs, or
    /// is about the source: each monitor has a source of its own.
    pub(crate) fn into_event(self) -> Option<PeerEvent> {
        let Self { time, event, unit, machine, ip, from, to, reason } = self;
        let place = |machine, ip| Some(Place { unit: unit?, machine, ip });
        let reason = reason.map(ReasonText::Owned);

        let event = match &*event {
            "appeared" => Event::Appeared { place: place(machine, ip)?, to: to? },
            "changed" => Event::Changed { place: place(machine, ip)?, from: from?, to: to? },
            "stale" => Event::Stale { place: place(machine, ip)?, from: from? },
            "back" => Event::Back { place: place(machine, ip)?, to: to? },
            "gone" => Event::Gone { place: place(machine, ip)?, from: from?, reason: reason? },
            "crash_loop" => {
                Event::CrashLoop { place: place(machine, ip)?, to: to?, reason: reason? }
            }
            "crash_loop_over" => {
                Event::CrashLoopOver { place: place(machine, ip)?, to, reason: reason? }
            }
            "machine_joined" => Event::MachineJoined { machine: machine?, ip },
            "machine_silent" => Event::MachineSilent { machine: machine?, ip },
            "machine_heard" => Event::MachineHeard { machine: machine?, ip },
            "machine_lost" => Event::MachineLost { machine: machine?, ip },
            _ => return None,
        };
        Some(PeerEvent { time, event })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::{Value, json};

    use super::*;

    fn parse(json: Value) -> Option<PeerEvent> {
        serde_json::from_value::<PeerEventJson>(json).unwrap().into_event()
    }

    #[test]
    fn every_kind_but_those_of_the_source_is_read() {
        for name in Event::NAMES {
            let event = parse(json!({
                "time": 1_700_000_000_000_u64, "event": name, "unit": "a.service", "machine": "m",
                "ip": "10.0.0.1", "from": "active/running", "to": "failed/failed", "reason": "why",
                "severity": "info", "text": "a text",
            }));

            let is_of_source = name.starts_with("source_");
            assert_eq!(event.is_none(), is_of_source, "{name}");
            if let Some(PeerEvent { time, event }) = event {
                assert_eq!(event.name(), name);
                assert_eq!(time, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
                assert_eq!(event.machine().map(|machine| &**machine), Some("m"));
            }
        }
    }

    #[test]
    fn an_event_without_what_it_needs_or_of_an_unknown_kind_is_left_out() {
        for json in [
            json!({"time": 1, "event": "changed", "unit": "a.service", "to": "active/running"}),
            json!({"time": 1, "event": "gone", "unit": "a.service", "from": "active/running"}),
            json!({"time": 1, "event": "machine_lost"}),
            json!({"time": 1, "event": "promoted", "unit": "a.service"}),
        ] {
            assert_eq!(parse(json.clone()), None, "{json}");
        }
    }
}
