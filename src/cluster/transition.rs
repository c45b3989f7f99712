//! What happens in a cluster, as one enum.
//!
//! The journal entry, the counter and the event for clients are all made from an [`Event`], so that
//! they cannot disagree.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use super::{MachineId, Text, UnitName};

/// Something that happened, when it did, and its place in the order of all that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Counts up from 1 since the start of the process.
    pub number: u64,
    /// When we learned of it.
    pub time: SystemTime,
    /// What happened.
    pub event: Event,
}

/// A unit on a machine, as an event names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The unit.
    pub unit: UnitName,
    /// The machine; none for a unit that is on no machine.
    pub machine: Option<MachineId>,
    /// The machine's address, where it is known.
    pub ip: Option<Text>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A unit is reported for the first time on this machine.
    Appeared {
        /// Where.
        place: Place,
        /// Its state, as `active/sub`.
        to: String,
    },
    /// A unit's load, active or sub state is another one.
    Changed {
        /// Where.
        place: Place,
        /// The state before.
        from: String,
        /// The state now.
        to: String,
    },
    /// A unit that fleet wants is not reported any more; its last row is kept.
    Stale {
        /// Where.
        place: Place,
        /// Its last state.
        from: String,
    },
    /// A stale unit is reported again.
    Back {
        /// Where.
        place: Place,
        /// Its state now.
        to: String,
    },
    /// A unit is not on this machine any more.
    Gone {
        /// Where it was.
        place: Place,
        /// Its last state.
        from: String,
        /// How we know.
        reason: &'static str,
    },
    /// A unit fails, is started again, and fails again. Its restarts from then on are no events of
    /// their own.
    CrashLoop {
        /// Where.
        place: Place,
        /// Its state now.
        to: String,
        /// How often it was restarted.
        reason: Cow<'static, str>,
    },
    /// A crash loop is over: the unit ran for long enough, or nothing starts it again.
    CrashLoopOver {
        /// Where.
        place: Place,
        /// Its state now; none if it is not there any more.
        to: Option<String>,
        /// How we know.
        reason: Cow<'static, str>,
    },
    /// A machine is in the cluster that was not before.
    MachineJoined {
        /// The machine.
        machine: MachineId,
        /// Its address.
        ip: Option<Text>,
    },
    /// A machine does not say any more that it is there; it leaves the cluster soon unless it does.
    MachineSilent {
        /// The machine.
        machine: MachineId,
        /// Its address.
        ip: Option<Text>,
    },
    /// A silent machine is heard again.
    MachineHeard {
        /// The machine.
        machine: MachineId,
        /// Its address.
        ip: Option<Text>,
    },
    /// A machine has left the cluster.
    MachineLost {
        /// The machine.
        machine: MachineId,
        /// Its last address.
        ip: Option<Text>,
    },
    /// The source does not answer, or with nonsense.
    SourceDown {
        /// What failed, with what.
        reason: String,
    },
    /// Every topic of the source can be read again.
    SourceBack {
        /// How long it could not.
        after: Duration,
    },
    /// So many rows vanished at once, although fleet wants them, that the source is not believed.
    SourceSuspect {
        /// How many rows are missing.
        missing: usize,
        /// Of how many.
        of: usize,
    },
}

/// How much an event matters, in the words of `syslog(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It should be looked at.
    Warning,
    /// Good to know.
    Info,
}

impl Severity {
    /// The word, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

impl Event {
    /// The names of all kinds of event, for counters that start at zero.
    pub const NAMES: [&'static str; 14] = [
        "appeared",
        "changed",
        "stale",
        "back",
        "gone",
        "crash_loop",
        "crash_loop_over",
        "machine_joined",
        "machine_silent",
        "machine_heard",
        "machine_lost",
        "source_down",
        "source_back",
        "source_suspect",
    ];

    /// The name of this kind of event, in JSON and metrics.
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// The journal's `MESSAGE_ID` of this kind of event (`systemd.journal-fields(7)`). These never
    /// change.
    pub fn message_id(&self) -> &'static str {
        [
            "dbd5ff259b7e4b81b25532b8fd99290e",
            "64344823e5174888ac26b5ae7a4fe888",
            "c44405d18c9e4de18b047335bd29c7e2",
            "3c94fcb274d64ff0b74f2bfce9869635",
            "72ac2af9dc9644a1ba9d51a0747a0e4d",
            "3fb464cd818a41348321dd95cf9c03bd",
            "1e6d80866ed040bab8ea4dda1bed1bc5",
            "35c7a2c160a6465fb5dd1f2c31701062",
            "86defacc043c46feb4569259b02d2ade",
            "b36c3ebcefc148bf99770edc7badf472",
            "835238efa5ff49d6a888435cf7864b05",
            "95493dfc38fc450cbb18f95e97352e01",
            "01e6dae57d3c481b9b4f2d6a394fd024",
            "c0afe0ebe3264cac9f493d714f2e3043",
        ][self.index()]
    }

    fn index(&self) -> usize {
        match self {
            Event::Appeared { .. } => 0,
            Event::Changed { .. } => 1,
            Event::Stale { .. } => 2,
            Event::Back { .. } => 3,
            Event::Gone { .. } => 4,
            Event::CrashLoop { .. } => 5,
            Event::CrashLoopOver { .. } => 6,
            Event::MachineJoined { .. } => 7,
            Event::MachineSilent { .. } => 8,
            Event::MachineHeard { .. } => 9,
            Event::MachineLost { .. } => 10,
            Event::SourceDown { .. } => 11,
            Event::SourceBack { .. } => 12,
            Event::SourceSuspect { .. } => 13,
        }
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Event::Appeared { to, .. } | Event::Changed { to, .. } | Event::Back { to, .. }
                if is_failed(to) =>
            {
                Severity::Warning
            }
            Event::CrashLoop { .. }
            | Event::MachineSilent { .. }
            | Event::MachineLost { .. }
            | Event::SourceDown { .. }
            | Event::SourceSuspect { .. } => Severity::Warning,
            _ => Severity::Info,
        }
    }

    /// The unit and where it is, for an event about a unit.
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

    /// The machine that it is about, by ID.
    pub fn machine(&self) -> Option<&MachineId> {
        match self {
            Event::MachineJoined { machine, .. }
            | Event::MachineSilent { machine, .. }
            | Event::MachineHeard { machine, .. }
            | Event::MachineLost { machine, .. } => Some(machine),
            _ => self.place().and_then(|place| place.machine.as_ref()),
        }
    }

    /// The machine's address, where it is known.
    pub fn ip(&self) -> Option<&Text> {
        match self {
            Event::MachineJoined { ip, .. }
            | Event::MachineSilent { ip, .. }
            | Event::MachineHeard { ip, .. }
            | Event::MachineLost { ip, .. } => ip.as_ref(),
            _ => self.place().and_then(|place| place.ip.as_ref()),
        }
    }

    /// The state before.
    pub fn from(&self) -> Option<&str> {
        match self {
            Event::Changed { from, .. } | Event::Stale { from, .. } | Event::Gone { from, .. } => {
                Some(from)
            }
            _ => None,
        }
    }

    /// The state now.
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

    /// Why, where that is not the event itself.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Event::Gone { reason, .. } => Some(reason),
            Event::CrashLoop { reason, .. } | Event::CrashLoopOver { reason, .. } => Some(reason),
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

/// A machine for people: its address, or its ID where it has none.
fn spot<'a>(machine: &'a MachineId, ip: Option<&'a Text>) -> &'a str {
    ip.map_or(machine, |ip| ip)
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Appeared { place, to } => write!(f, "{place} appeared: {to}"),
            Event::Changed { place, from, to } => write!(f, "{place}: {from} → {to}"),
            Event::Stale { place, from } => {
                write!(
                    f,
                    "{place} is not reported any more, though fleet wants it; last seen {from}"
                )
            }
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
                write!(f, "machine {} joined the cluster", spot(machine, ip.as_ref()))
            }
            Event::MachineSilent { machine, ip } => {
                let machine = spot(machine, ip.as_ref());
                write!(
                    f,
                    "machine {machine} is silent: it leaves the cluster soon unless its fleetd is heard again"
                )
            }
            Event::MachineHeard { machine, ip } => {
                write!(f, "machine {} is heard again", spot(machine, ip.as_ref()))
            }
            Event::MachineLost { machine, ip } => {
                write!(f, "machine {} left the cluster", spot(machine, ip.as_ref()))
            }
            Event::SourceDown { reason } => write!(f, "fleet cannot be read: {reason}"),
            Event::SourceBack { after } => {
                write!(f, "fleet can be read again, after {}", Seconds(*after))
            }
            Event::SourceSuspect { missing, of } => write!(
                f,
                "{missing} of {of} units vanished from fleet's list although fleet wants them: not believed, all are kept"
            ),
        }
    }
}

/// A duration for people: `14 s`, `3 min`, `2 h`.
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0..120 => write!(f, "{} s", self.0.as_secs_f64().round()),
            seconds @ 120..7200 => write!(f, "{} min", seconds / 60),
            seconds => write!(f, "{} h", seconds / 3600),
        }
    }
}
