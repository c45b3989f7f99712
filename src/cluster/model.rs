//! What fleet lists: units, machines and unit files as plain data, and the moments at which they
//! were read.
//!
//! It knows nothing of verdicts, and nothing of how rows are shown.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

/// A short text that many rows share.
pub type Text = Arc<str>;

/// A reason as people read it.
pub(crate) type ReasonText = Cow<'static, str>;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Text);

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<Text> for $name {
            fn from(text: Text) -> Self {
                Self(text)
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A systemd unit's full name, such as `web@1.service` (`systemd.unit(5)`).
    UnitName
}
name! {
    /// A machine's ID: the 32 hexadecimal digits of its `/etc/machine-id` (`machine-id(5)`).
    MachineId
}

/// The key of a row: a unit, and the machine that it is on; `None` for a unit that no machine
/// reports.
pub type RowKey = (UnitName, Option<MachineId>);

/// One of the three lists that fleet offers, each of which is read on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FleetList {
    /// The unit states that machines report: `fleetctl list-units`, `/fleet/v1/state`.
    Units,
    /// The machines in the cluster: `fleetctl list-machines`, `/fleet/v1/machines`.
    Machines,
    /// What fleet wants: `fleetctl list-unit-files`, `/fleet/v1/units`.
    UnitFiles,
}

impl FleetList {
    /// All lists, in the order in which they are first read.
    pub const ALL: [FleetList; 3] = [FleetList::Units, FleetList::Machines, FleetList::UnitFiles];

    /// This list only, as a slice.
    pub fn alone(self) -> &'static [FleetList] {
        match self {
            FleetList::Units => &[FleetList::Units],
            FleetList::Machines => &[FleetList::Machines],
            FleetList::UnitFiles => &[FleetList::UnitFiles],
        }
    }

    /// The name in messages, metrics and recordings.
    pub fn name(self) -> &'static str {
        match self {
            FleetList::Units => "units",
            FleetList::Machines => "machines",
            FleetList::UnitFiles => "unit_files",
        }
    }
}

impl fmt::Display for FleetList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FleetList::Units => "units",
            FleetList::Machines => "machines",
            FleetList::UnitFiles => "unit files",
        })
    }
}

/// One row of `fleetctl list-units`. `None` stands for the `-` that fleetctl prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// The unit's full name.
    pub unit: UnitName,
    /// The machine that reports it; `None` for a unit that no machine reports (fleet before 0.7
    /// lists these, too).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineId>,
    /// The machine's address, if the source's own list of machines had the machine at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Text>,
    /// systemd's load state: `loaded`, `not-found`, `bad-setting`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Text>,
    /// systemd's active state: `active`, `inactive`, `activating`, `deactivating`, `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Text>,
    /// systemd's sub state: `running`, `exited`, `auto-restart`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<Text>,
    /// SHA-1 of the unit file that the machine has, as 40 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Text>,
}

/// One row of `fleetctl list-machines`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The machine's ID: 32 hexadecimal digits.
    pub id: MachineId,
    /// Its address, as fleetd publishes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Text>,
    /// Its metadata as fleetctl prints it: `key=value` pairs sorted by key, between commas. A value
    /// may contain a comma itself, so the text cannot be split again with certainty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Text>,
    /// The version of its fleetd, such as `1.0.0`; `None` if the source does not provide it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Text>,
}

/// One row of `fleetctl list-unit-files`: what fleet wants of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFile {
    /// The unit's full name.
    pub unit: UnitName,
    /// SHA-1 of the unit file in fleet's registry, as 40 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Text>,
    /// The desired state: `inactive`, `loaded` or `launched`; `None` if the source does not provide
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Text>,
    /// The machine that fleet has chosen. Always `None` for a global unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<MachineId>,
    /// Whether the source provides targets. If not, `target` is `None` also for a scheduled unit
    /// (fleetctl 0.5).
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub target_known: bool,
    /// Whether the unit runs on every machine that meets its requirements.
    #[serde(default, skip_serializing_if = "is_false")]
    pub global: bool,
    /// `Description=` of the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text>,
    /// The `[X-Fleet]` options that decide on which machines it may run, as `Name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<Text>,
    /// Whether the source provides requirements. If not, `requirements` is empty also for a unit
    /// that has some (fleetctl).
    #[serde(default, skip_serializing_if = "is_false")]
    pub requirements_known: bool,
}

impl UnitFile {
    /// Whether fleet wants the unit on some machine.
    pub fn is_wanted(&self) -> bool {
        self.desired.as_deref().is_some_and(|desired| desired != "inactive")
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A moment on both clocks: the steady one for durations, the wall clock for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The steady clock. In a replay it runs at the recording's pace.
    pub instant: Instant,
    /// The time by the wall clock, for people.
    pub wall: SystemTime,
}

impl Moment {
    /// The current moment, by both clocks.
    pub fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// The moment `duration` earlier; a clock that cannot go back so far stays.
    pub fn before(self, duration: Duration) -> Self {
        Self {
            instant: self.instant.checked_sub(duration).unwrap_or(self.instant),
            wall: self.wall.checked_sub(duration).unwrap_or(self.wall),
        }
    }

    /// How long ago it was by the wall clock. (The steady clock of a replay runs at the recording's
    /// pace.)
    pub fn age(self, now: Moment) -> Duration {
        now.wall.duration_since(self.wall).unwrap_or_default()
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        self.instant.saturating_duration_since(earlier.instant)
    }
}

/// The time that a reading took. It may or may not include what happened during that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadSpan {
    pub(crate) begun: Moment,
    pub(crate) ended: Moment,
}

impl ReadSpan {
    /// Whether the reading began at or after `moment`.
    pub(crate) fn is_since(self, moment: Moment) -> bool {
        self.begun.instant >= moment.instant
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, duration: Duration) -> Moment {
        Moment { instant: self.instant + duration, wall: self.wall + duration }
    }
}

impl UnitState {
    /// The state of a unit that no machine reports.
    pub(crate) fn unreported(unit: UnitName) -> Self {
        Self {
            unit,
            machine: None,
            ip: None,
            load: None,
            active: None,
            sub: None,
            hash: None,
        }
    }

    /// The state as events show it: `active/running`, with the load state unless that is `loaded`.
    pub(crate) fn text(&self) -> Text {
        let active = self.active.as_deref().unwrap_or("-");
        let sub = self.sub.as_deref().unwrap_or("-");

        match self.load.as_deref() {
            None | Some("loaded") => format!("{active}/{sub}").into(),
            Some(load) => format!("{active}/{sub} ({load})").into(),
        }
    }

    /// Whether systemd reports it as failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.active.as_deref() == Some("failed")
    }

    /// Whether load, active and sub state are the same as those of `other`.
    pub(crate) fn is_same_state(&self, other: &Self) -> bool {
        (&self.load, &self.active, &self.sub) == (&other.load, &other.active, &other.sub)
    }
}
