//! The cluster as fleet describes it, and as we judge it to be.
//!
//! A [`Reading`] is what a source said at one moment, unjudged. The [`Cluster`] merges readings of all topics, has them
//! judged, and holds the [`View`] that is published, with a [`Transition`] for each thing that happened.
//!
//! This module knows nothing of how a reading was obtained and nothing of who looks at the view: it depends on the
//! standard library and serde alone, and time is passed in, so that a test can replay an hour in a millisecond.

mod conclude;
mod delta;
mod health;
mod judge;
mod merge;
mod show;
#[cfg(test)]
mod tests;
mod transition;

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

pub use delta::{Change, Delta};
pub use health::{Expected, Failure, Health, Overdue, TopicHealth};
pub use merge::Cluster;
pub use transition::{Event, Place, Seconds, Severity, Transition};

/// A short text that many rows share.
pub type Text = Arc<str>;

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

/// One thing that a source is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// What the machines report of the units: `fleetctl list-units`, `/fleet/v1/state`.
    Units,
    /// Who is in the cluster: `fleetctl list-machines`, `/fleet/v1/machines`.
    Machines,
    /// What fleet wants: `fleetctl list-unit-files`, `/fleet/v1/units`.
    UnitFiles,
}

impl Topic {
    /// All topics, in the order in which a source is first asked for them.
    pub const ALL: [Topic; 3] = [Topic::Units, Topic::Machines, Topic::UnitFiles];

    /// Only this one, as a list.
    pub fn alone(self) -> &'static [Topic] {
        match self {
            Topic::Units => &[Topic::Units],
            Topic::Machines => &[Topic::Machines],
            Topic::UnitFiles => &[Topic::UnitFiles],
        }
    }

    /// The name in messages, metrics and recordings.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Units => "units",
            Topic::Machines => "machines",
            Topic::UnitFiles => "unit_files",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Topic::Units => "units",
            Topic::Machines => "machines",
            Topic::UnitFiles => "unit files",
        })
    }
}

/// What a source said of one topic at one moment: all of it, unjudged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The unit states. A fleetctl before 0.7 lists every submitted unit with what fleet wants of it, in one table:
    /// then `files` is there too, and [`Topic::UnitFiles`] is never read on its own.
    Units {
        /// A row for each unit on each machine.
        states: Vec<UnitState>,
        /// The unit files, where the same answer told them.
        files: Option<Vec<UnitFile>>,
    },
    /// The machines.
    Machines {
        /// A row for each machine.
        machines: Vec<Machine>,
    },
    /// The unit files.
    UnitFiles {
        /// A row for each unit file.
        files: Vec<UnitFile>,
    },
    /// All topics at one moment.
    Registry(Registry),
}

impl Reading {
    /// What it tells of.
    pub fn topics(&self) -> &'static [Topic] {
        match self {
            Reading::Units { files: None, .. } => Topic::Units.alone(),
            Reading::Units { files: Some(_), .. } => &[Topic::Units, Topic::UnitFiles],
            Reading::Machines { .. } => Topic::Machines.alone(),
            Reading::UnitFiles { .. } => Topic::UnitFiles.alone(),
            Reading::Registry(_) => &Topic::ALL,
        }
    }
}

/// What fleet's registry has, all of it at one moment. Nothing in it is older than the rest, and it says what lists
/// cannot: whether something was taken away or has expired, and what should have been renewed by now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// etcd's index at that moment.
    pub index: u64,
    /// A row for each unit on each machine. A list that has not changed is the one of the reading before, shared.
    pub states: Arc<[UnitState]>,
    /// A row for each machine.
    pub machines: Arc<[Machine]>,
    /// A row for each unit file.
    pub files: Arc<[UnitFile]>,
    /// The machine whose engine decides where units go.
    pub leader: Option<MachineId>,
    /// What has gone since the reading before for the reason alone that nobody renewed it in time.
    pub expired: Vec<Heartbeat>,
    /// What is there but should have been renewed by now, and for how long it has not been.
    pub overdue: Vec<(Heartbeat, Duration)>,
}

/// Something that a fleetd writes into the registry again and again, or it expires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heartbeat {
    /// That a machine is there.
    Machine(MachineId),
    /// The state of a unit on a machine.
    Unit(UnitName, MachineId),
}

/// One row of `fleetctl list-units`. `None` stands for the `-` that fleetctl prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// The unit.
    pub unit: UnitName,
    /// The machine that reports it; none where fleet lists a unit that no machine reports (before 0.7 only).
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
    /// The machine.
    pub id: MachineId,
    /// Its address, as fleetd publishes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Text>,
    /// Its metadata as fleetctl prints it: `key=value` pairs sorted by key, between commas. A value may contain a
    /// comma itself, so the text cannot be split again with certainty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Text>,
    /// The version of its fleetd, such as `1.0.0`, where the source tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Text>,
}

/// One row of `fleetctl list-unit-files`: what fleet wants of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFile {
    /// The unit.
    pub unit: UnitName,
    /// SHA-1 of the unit file in fleet's registry, as 40 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Text>,
    /// The desired state: `inactive`, `loaded` or `launched`; none where fleet does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Text>,
    /// The machine that fleet has chosen. Always none for a global unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<MachineId>,
    /// Whether the source tells targets at all; without, a missing `target` means nothing (fleetctl 0.5).
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub target_known: bool,
    /// Whether the unit runs on every machine that meets its requirements.
    #[serde(default, skip_serializing_if = "is_false")]
    pub global: bool,
    /// `Description=` of the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text>,
    /// The `[X-Fleet]` options that decide which machine may take it, as `Name=value`; empty where the source has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<Text>,
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

/// When something was read: the steady clock for durations, the wall clock for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For durations. In a replay it runs at the recording's pace.
    pub instant: Instant,
    /// For people.
    pub wall: SystemTime,
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// The moment `time` before this one, as far as the clocks go back.
    pub fn before(self, time: Duration) -> Self {
        Self {
            instant: self.instant.checked_sub(time).unwrap_or(self.instant),
            wall: self.wall.checked_sub(time).unwrap_or(self.wall),
        }
    }

    /// How long ago it was, as people count: the steady clock of a replay runs at the recording's pace.
    pub fn age(self, now: Moment) -> Duration {
        now.wall.duration_since(self.wall).unwrap_or_default()
    }

    /// The time from `earlier` until this moment; zero if that is later.
    pub fn since(self, earlier: Moment) -> Duration {
        self.instant.saturating_duration_since(earlier.instant)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, time: Duration) -> Moment {
        Moment { instant: self.instant + time, wall: self.wall + time }
    }
}

/// The judgement over one unit on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// systemd says that it failed, or cannot load it.
    Failed,
    /// It is on a machine that is not in the cluster any more.
    MachineLost,
    /// fleet wants it and has chosen a machine, but no machine reports it.
    Unreported,
    /// fleet wants it, but no machine takes it.
    Unscheduled,
    /// A machine reports it, but its unit file is gone.
    Ghost,
    /// fleet wants it and reported it before, but does not now.
    Stale,
    /// The machine runs another version of the unit file than fleet has.
    Outdated,
    /// All is as fleet wants it.
    Ok,
}

impl Verdict {
    /// All verdicts, the worst first.
    pub const ALL: [Verdict; 8] = [
        Verdict::Failed,
        Verdict::MachineLost,
        Verdict::Unreported,
        Verdict::Unscheduled,
        Verdict::Ghost,
        Verdict::Stale,
        Verdict::Outdated,
        Verdict::Ok,
    ];

    /// The name in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Failed => "failed",
            Verdict::MachineLost => "machine_lost",
            Verdict::Unreported => "unreported",
            Verdict::Unscheduled => "unscheduled",
            Verdict::Ghost => "ghost",
            Verdict::Stale => "stale",
            Verdict::Outdated => "outdated",
            Verdict::Ok => "ok",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::MachineLost => "machine lost",
            other => other.name(),
        })
    }
}

/// A unit on one machine, or nowhere, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What was last reported of it. All but the name is `None` where fleet wants it but nobody reports it.
    pub state: UnitState,
    /// Whether fleet's unit list has, or as far as we judge should have, this row. A unit that is only submitted is in
    /// the view and not in the list (from fleet 0.7 on).
    pub listed: bool,
    /// Since when it has not been reported, if it is held although fleet does not report it, or should have been
    /// reported again by now.
    pub stale_since: Option<SystemTime>,
    /// What fleet wants, if there is a unit file.
    pub file: Option<Arc<UnitFile>>,
    /// The judgement.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: Cow<'static, str>,
    /// Since when that has been the judgement.
    pub verdict_since: SystemTime,
    /// Whether we saw it begin; if not, it was so when watching began, at `verdict_since`.
    pub verdict_since_seen: bool,
    /// Since when its load, active and sub state have been as they are.
    pub since: SystemTime,
    /// Whether we saw that change ourselves; if not, it was so when watching began, at `since`.
    pub since_seen: bool,
}

/// A machine as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What fleet last said of it.
    pub machine: Machine,
    /// Whether its engine decides where units go, where the source tells that.
    pub leads: bool,
    /// Since when nothing was heard of it, if it should have been heard again by now and has not left yet.
    pub silent_since: Option<SystemTime>,
    /// Since when it has been missing from fleet's list of machines, if it has.
    pub lost_since: Option<SystemTime>,
    /// Since when it has been there, as far as we saw.
    pub since: SystemTime,
    /// Whether we saw it join; if not, it was there when watching began.
    pub since_seen: bool,
}

/// The cluster at one moment, judged. Immutable and shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Sorted by unit, then machine.
    pub units: Vec<Arc<Unit>>,
    /// Sorted by ID.
    pub machines: Vec<Arc<Member>>,
}
