//! What can happen in a cluster: the kinds of events, and one [`Event`] with its details.
//!
//! The journal entry, the counter and the event for clients are all derived from an [`Event`], so
//! that they cannot disagree. It does not know who reads them.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::model::ReasonText;
use super::{MachineId, Text, UnitName};

/// An event with its time and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Counts up from 1, over restarts if the state of the cluster is saved.
    pub number: u64,
    /// When this process learned of it.
    pub time: SystemTime,
    /// The event, with its details.
    pub event: Event,
}

/// The unit and the machine that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The unit's full name.
    pub unit: UnitName,
    /// The machine; `None` for a unit that is on no machine.
    pub machine: Option<MachineId>,
    /// The machine's address; `None` if it is not known.
    pub ip: Option<Text>,
}

/// Something that happened in the cluster, or to the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A machine reports a unit for the first time.
    Appeared {
        /// The unit and the machine.
        place: Place,
        /// The unit's state, as `active/sub`.
        to: Text,
    },
    /// A unit's load, active or sub state has changed.
    Changed {
        /// The unit and the machine.
        place: Place,
        /// The previous state, as `active/sub`.
        from: Text,
        /// The new state, as `active/sub`.
        to: Text,
    },
    /// A unit that fleet wants is not reported any more; its last row is kept.
    Stale {
        /// The unit and the machine that used to report it.
        place: Place,
        /// The last reported state, as `active/sub`.
        from: Text,
    },
    /// A stale unit is reported again.
    Back {
        /// The unit and the machine.
        place: Place,
        /// The state in which it is reported, as `active/sub`.
        to: Text,
    },
    /// A unit is not on this machine any more.
    Gone {
        /// The unit and the machine that used to report it.
        place: Place,
        /// The last reported state, as `active/sub`.
        from: Text,
        /// The evidence, or the timeout that is over.
        reason: ReasonText,
    },
    /// A unit fails, is restarted, and fails again. No further restart is an event until the loop
    /// is over.
    CrashLoop {
        /// The unit and the machine.
        place: Place,
        /// The current state, as `active/sub`.
        to: Text,
        /// How often it was restarted.
        reason: ReasonText,
    },
    /// A crash loop is over: the unit has run for long enough, or nothing restarts it.
    CrashLoopOver {
        /// The unit and the machine.
        place: Place,
        /// The current state, as `active/sub`; `None` if the unit is gone.
        to: Option<Text>,
        /// The evidence for it.
        reason: ReasonText,
    },
    /// A machine has joined the cluster.
    MachineJoined {
        /// The machine's ID: 32 hexadecimal digits.
        machine: MachineId,
        /// The machine's address; `None` if it is not known.
        ip: Option<Text>,
    },
    /// A machine is in the cluster, but has not renewed its key in time, or none of its units is
    /// reported any more.
    MachineSilent {
        /// The machine's ID: 32 hexadecimal digits.
        machine: MachineId,
        /// The machine's address; `None` if it is not known.
        ip: Option<Text>,
    },
    /// A silent machine renews its keys, or reports a unit, again.
    MachineHeard {
        /// The machine's ID: 32 hexadecimal digits.
        machine: MachineId,
        /// The machine's address; `None` if it is not known.
        ip: Option<Text>,
    },
    /// A machine has left the cluster.
    MachineLost {
        /// The machine's ID: 32 hexadecimal digits.
        machine: MachineId,
        /// The machine's last address; `None` if it was never known.
        ip: Option<Text>,
    },
    /// The source does not answer, or its answers are invalid.
    SourceDown {
        /// What failed, with what error.
        reason: String,
    },
    /// Every list can be read again.
    SourceBack {
        /// How long at least one list could not be read.
        after: Duration,
    },
    /// So many rows vanished at once, although fleet wants them, that the source's lists are
    /// considered incomplete.
    SourceSuspect {
        /// The number of missing rows.
        missing: usize,
        /// The number of rows there should be.
        of: usize,
    },
}

/// How much an event matters, in the terms of `syslog(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// An operator should look at it.
    Warning,
    /// No action is needed.
    Info,
}

impl Severity {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// How the severity of an event is determined.
#[derive(Clone, Copy)]
enum SeverityRule {
    Info,
    Warning,
    /// A warning if the unit's new state is `failed`.
    WarningIfFailed,
}

/// What all events of one kind have in common.
struct EventKind {
    name: &'static str,
    severity: SeverityRule,
    message_id: &'static str,
}

/// Builds [`Event::NAMES`] and [`Event::kind`] from one table, which the compiler checks to be
/// complete.
macro_rules! event_kinds {
    ($($variant:ident, $name:literal, $severity:ident, $message_id:literal;)*) => {
        impl Event {
            /// The names of all kinds of events, so that counters can start at zero.
            pub const NAMES: [&'static str; [$($name),*].len()] = [$($name),*];

            fn kind(&self) -> &'static EventKind {
                match self {
                    $(Event::$variant { .. } => &EventKind {
                        name: $name,
                        severity: SeverityRule::$severity,
                        message_id: $message_id,
                    },)*
                }
            }
        }
    };
}

// The variant, its name in JSON and metrics, its severity, and its `MESSAGE_ID` in the journal. A
// MESSAGE_ID never changes.
event_kinds! {
    Appeared,      "appeared",        WarningIfFailed, "dbd5ff259b7e4b81b25532b8fd99290e";
    Changed,       "changed",         WarningIfFailed, "64344823e5174888ac26b5ae7a4fe888";
    Stale,         "stale",           Info,            "c44405d18c9e4de18b047335bd29c7e2";
    Back,          "back",            WarningIfFailed, "3c94fcb274d64ff0b74f2bfce9869635";
    Gone,          "gone",            Info,            "72ac2af9dc9644a1ba9d51a0747a0e4d";
    CrashLoop,     "crash_loop",      Warning,         "3fb464cd818a41348321dd95cf9c03bd";
    CrashLoopOver, "crash_loop_over", Info,            "1e6d80866ed040bab8ea4dda1bed1bc5";
    MachineJoined, "machine_joined",  Info,            "35c7a2c160a6465fb5dd1f2c31701062";
    MachineSilent, "machine_silent",  Warning,         "86defacc043c46feb4569259b02d2ade";
    MachineHeard,  "machine_heard",   Info,            "b36c3ebcefc148bf99770edc7badf472";
    MachineLost,   "machine_lost",    Warning,         "835238efa5ff49d6a888435cf7864b05";
    SourceDown,    "source_down",     Warning,         "95493dfc38fc450cbb18f95e97352e01";
    SourceBack,    "source_back",     Info,            "01e6dae57d3c481b9b4f2d6a394fd024";
    SourceSuspect, "source_suspect",  Warning,         "c0afe0ebe3264cac9f493d714f2e3043";
}

impl Event {
    /// The name of this kind of event, in JSON and metrics.
    pub fn name(&self) -> &'static str {
        self.kind().name
    }

    /// The journal's `MESSAGE_ID` of this kind of event (`systemd.journal-fields(7)`).
    pub fn message_id(&self) -> &'static str {
        self.kind().message_id
    }

    /// How much this event matters.
    pub fn severity(&self) -> Severity {
        let is_warning = match self.kind().severity {
            SeverityRule::Info => false,
            SeverityRule::Warning => true,
            SeverityRule::WarningIfFailed => self.to().is_some_and(is_failed),
        };

        if is_warning { Severity::Warning } else { Severity::Info }
    }

    /// The unit and its machine, for an event about a unit.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Event::Appeared { place, .. }
            | Event::Changed { place, .. }
            | Event::Stale { place, .. }
            | Event::Back { place, .. }
            | Event::Gone { place, .. }
            | Event::CrashLoop { place, .. }
            | Event::CrashLoopOver { place, .. } => Some(place),
            _ => None,
        }
    }

    /// The ID of the machine that the event, or its unit, belongs to.
    pub fn machine(&self) -> Option<&MachineId> {
        match self {
            Event::MachineJoined { machine, .. }
            | Event::MachineSilent { machine, .. }
            | Event::MachineHeard { machine, .. }
            | Event::MachineLost { machine, .. } => Some(machine),
            _ => self.place().and_then(|place| place.machine.as_ref()),
        }
    }

    /// The address of [`Event::machine`]; `None` if it is not known.
    pub fn ip(&self) -> Option<&Text> {
        match self {
            Event::MachineJoined { ip, .. }
            | Event::MachineSilent { ip, .. }
            | Event::MachineHeard { ip, .. }
            | Event::MachineLost { ip, .. } => ip.as_ref(),
            _ => self.place().and_then(|place| place.ip.as_ref()),
        }
    }

    /// The unit's state before the event.
    pub fn from(&self) -> Option<&str> {
        match self {
            Event::Changed { from, .. } | Event::Stale { from, .. } | Event::Gone { from, .. } => {
                Some(from)
            }
            _ => None,
        }
    }

    /// The unit's state after the event.
    pub fn to(&self) -> Option<&str> {
        match self {
            Event::Appeared { to, .. }
            | Event::Changed { to, .. }
            | Event::Back { to, .. }
            | Event::CrashLoop { to, .. } => Some(to),
            Event::CrashLoopOver { to, .. } => to.as_deref(),
            _ => None,
        }
    }

    /// The reason, for events that have one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Event::Gone { reason, .. }
            | Event::CrashLoop { reason, .. }
            | Event::CrashLoopOver { reason, .. } => Some(reason),
            Event::SourceDown { reason } => Some(reason),
            _ => None,
        }
    }
}

fn is_failed(state: &str) -> bool {
    state.starts_with("failed")
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unit)?;

        match (&self.ip, &self.machine) {
            (Some(ip), _) => write!(f, " on {ip}"),
            (None, Some(machine)) => write!(f, " on {machine}"),
            (None, None) => Ok(()),
        }
    }
}

/// A machine's address, or its ID if it has none.
fn address_or_id<'a>(machine: &'a MachineId, ip: Option<&'a Text>) -> &'a str {
    ip.map_or(machine, |ip| ip)
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Appeared { place, to } => write!(f, "{place} appeared: {to}"),
            Event::Changed { place, from, to } => write!(f, "{place}: {from} → {to}"),
            Event::Stale { place, from } => write!(
                f,
                "{place} is not reported any more, though fleet wants it; last seen {from}"
            ),
            Event::Back { place, to } => write!(f, "{place} is reported again: {to}"),
            Event::Gone { place, from, reason } => {
                write!(f, "{place} is gone, last seen {from}: {reason}")
            }

            Event::CrashLoop { place, reason, .. } => {
                write!(f, "{place} is in a crash loop: {reason}")
            }
            Event::CrashLoopOver { place, to, reason } => {
                write!(f, "{place} is not in a crash loop any more")?;
                if let Some(to) = to {
                    write!(f, ", now {to}")?;
                }
                write!(f, ": {reason}")
            }

            Event::MachineJoined { machine, ip } => {
                write!(f, "machine {} joined the cluster", address_or_id(machine, ip.as_ref()))
            }
            Event::MachineSilent { machine, ip } => write!(
                f,
                "machine {} is silent: it has not renewed its key in time, or none of its units is \
                 reported any more",
                address_or_id(machine, ip.as_ref())
            ),
            Event::MachineHeard { machine, ip } => {
                write!(f, "machine {} is heard again", address_or_id(machine, ip.as_ref()))
            }
            Event::MachineLost { machine, ip } => {
                write!(f, "machine {} left the cluster", address_or_id(machine, ip.as_ref()))
            }

            Event::SourceDown { reason } => write!(f, "fleet cannot be read: {reason}"),
            Event::SourceBack { after } => {
                write!(f, "fleet can be read again, after {}", HumanDuration(*after))
            }
            Event::SourceSuspect { missing, of } => write!(
                f,
                "{missing} of {of} units vanished from fleet's list although fleet wants them: \
                 the list is suspect, all are kept"
            ),
        }
    }
}

/// Formats a duration for people: `14 s`, `3 min`, `2 h`.
pub struct HumanDuration(pub Duration);

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0..120 => write!(f, "{} s", self.0.as_secs_f64().round()),
            seconds @ 120..7200 => write!(f, "{} min", seconds / 60),
            seconds => write!(f, "{} h", seconds / 3600),
        }
    }
}
