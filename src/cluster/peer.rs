//! What another monitor knows of the cluster, as it sends it (`/v2/history`), and which of it may
//! be learned here.
//!
//! It is input of a stranger: it is bounded, its times are checked, and it does not replace what
//! this program has seen itself. It is not known here how it was received.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::model::{Machine, MachineId, Moment, RowKey, Text, UnitName, UnitState};
use super::report::Absence;
use super::saved::{
    SavedAbsence, SavedMachine, SavedPresence, SavedReport, SavedRow, SavedRowKind,
};
use super::saved_time::SavedTime;
use super::unit_life::UnitPresence;
use super::verdict::Verdict;

/// How many units that ran on one machine are accepted of another monitor.
const MAX_RAN: usize = 10_000;

/// What another monitor knows of the cluster.
#[derive(Clone, Debug, Default)]
pub struct PeerCluster {
    /// Its rows.
    pub(crate) units: Vec<PeerUnit>,
    /// Its machines, lost ones too.
    pub(crate) machines: Vec<PeerMachine>,
}

/// One of its rows.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PeerUnit {
    unit: UnitName,
    machine: Option<MachineId>,
    load: Option<Text>,
    active: Option<Text>,
    sub: Option<Text>,
    hash: Option<Text>,
    #[serde(default, deserialize_with = "some_milliseconds")]
    stale_since: Option<SystemTime>,
    verdict: Verdict,
    #[serde(deserialize_with = "milliseconds")]
    verdict_since: SystemTime,
    verdict_since_seen: bool,
    #[serde(deserialize_with = "milliseconds")]
    since: SystemTime,
    since_seen: bool,
}

/// One of its machines.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PeerMachine {
    machine: MachineId,
    ip: Option<Text>,
    metadata: Option<Text>,
    version: Option<Text>,
    #[serde(default, deserialize_with = "some_milliseconds")]
    lost_since: Option<SystemTime>,
    #[serde(default, deserialize_with = "bounded::<_, _, MAX_RAN>")]
    ran: Vec<UnitName>,
    #[serde(deserialize_with = "milliseconds")]
    since: SystemTime,
    since_seen: bool,
}

/// Since when something has been as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownSince {
    pub(crate) time: SystemTime,
    /// Whether it was seen to begin then.
    pub(crate) is_seen: bool,
}

impl KnownSince {
    /// Whether `other` knows the beginning of the same better: this one was not seen to begin, and
    /// that was earlier; or that was seen while nothing was seen here.
    pub(crate) fn is_improved_by(self, other: KnownSince, learning: LearningTime) -> bool {
        let is_earlier = !self.is_seen && other.time < self.time;
        let has_begun_unseen =
            other.is_seen && self.time < other.time && learning.is_gap(other.time);

        is_earlier || has_begun_unseen
    }
}

/// When something is learned, and of which time nothing is known here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LearningTime {
    pub(crate) now: Moment,
    /// From when until when nothing was watched, if there was something before.
    pub(crate) gap: Option<(SystemTime, SystemTime)>,
}

impl LearningTime {
    fn is_gap(self, time: SystemTime) -> bool {
        self.gap.is_some_and(|(from, until)| (from..=until).contains(&time))
    }
}

impl PeerCluster {
    /// Removes what has a time in the future.
    pub(crate) fn remove_future(&mut self, now: SystemTime) {
        self.units
            .retain(|unit| unit.since <= now && unit.verdict_since <= now);
        self.machines.retain(|machine| {
            machine.since <= now && machine.lost_since.is_none_or(|since| since <= now)
        });
    }

    /// The IDs of its machines, lost ones too.
    pub(crate) fn machine_ids(&self) -> impl Iterator<Item = &MachineId> {
        self.machines.iter().map(|machine| &machine.machine)
    }

    /// The machines that were lost within the keep time, with the rows that were lost with them.
    pub(crate) fn lost(
        &self,
        keep: Duration,
        now: SystemTime,
    ) -> impl Iterator<Item = (SavedMachine, Vec<SavedRow>)> {
        self.machines.iter().filter_map(move |machine| {
            let since = machine.lost_since?;
            let is_kept = now.duration_since(since).is_ok_and(|age| age < keep);
            is_kept.then(|| (machine.saved_as_lost(since), self.rows_lost_with(machine, since)))
        })
    }

    fn rows_lost_with(&self, machine: &PeerMachine, since: SystemTime) -> Vec<SavedRow> {
        let is_lost_with_it = |unit: &&PeerUnit| {
            unit.verdict == Verdict::MachineLost
                && unit.active.is_some()
                && unit.machine.as_ref() == Some(&machine.machine)
        };

        self.units
            .iter()
            .filter(is_lost_with_it)
            .map(|unit| unit.saved_as_lost(since))
            .collect()
    }
}

impl PeerUnit {
    pub(crate) fn key(&self) -> RowKey {
        (self.unit.clone(), self.machine.clone())
    }

    /// Whether it is in its state now, as opposed to a state that is only the last known one.
    pub(crate) fn is_current(&self) -> bool {
        self.stale_since.is_none()
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    pub(crate) fn since(&self) -> KnownSince {
        KnownSince { time: self.since, is_seen: self.since_seen }
    }

    pub(crate) fn verdict_since(&self) -> KnownSince {
        KnownSince { time: self.verdict_since, is_seen: self.verdict_since_seen }
    }

    /// The last reported state.
    pub(crate) fn state(&self) -> UnitState {
        UnitState {
            unit: self.unit.clone(),
            machine: self.machine.clone(),
            ip: None,
            load: self.load.clone(),
            active: self.active.clone(),
            sub: self.sub.clone(),
            hash: self.hash.clone(),
        }
    }

    fn saved_as_lost(&self, lost: SystemTime) -> SavedRow {
        let absence = SavedAbsence {
            since: SavedTime(self.stale_since.unwrap_or(lost)),
            absence: Absence::Unlisted,
            confirmed: true,
        };
        let report = SavedReport {
            absence: Some(absence),
            presence: UnitPresence::Lost,
            without_address: false,
            came_back: None,
            restarts: None,
        };

        SavedRow {
            state: self.state(),
            appeared: SavedTime(self.since),
            since: SavedTime(self.since),
            since_seen: self.since_seen,
            verdict: self.verdict,
            verdict_since: SavedTime(self.verdict_since),
            verdict_since_seen: self.verdict_since_seen,
            kind: SavedRowKind::Reported(report),
        }
    }
}

impl PeerMachine {
    pub(crate) fn id(&self) -> &MachineId {
        &self.machine
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost_since.is_some()
    }

    pub(crate) fn since(&self) -> KnownSince {
        KnownSince { time: self.since, is_seen: self.since_seen }
    }

    fn saved_as_lost(&self, since: SystemTime) -> SavedMachine {
        SavedMachine {
            machine: Machine {
                id: self.machine.clone(),
                ip: self.ip.clone(),
                metadata: self.metadata.clone(),
                version: self.version.clone(),
            },
            presence: SavedPresence::Lost { since: SavedTime(since) },
            since: SavedTime(self.since),
            since_seen: self.since_seen,
            ran: self
                .ran
                .iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .cloned()
                .collect(),
        }
    }
}

/// A list of at most `MAX` items. It is an error if there are more: their JSON may be much smaller
/// than they are in memory.
pub(crate) fn bounded<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                if list.len() == MAX {
                    return Err(serde::de::Error::invalid_length(MAX + 1, &self));
                }
                list.push(item);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(Bounded::<T, MAX>(PhantomData))
}

/// A time as milliseconds since 1970.
pub(crate) fn milliseconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SystemTime, D::Error> {
    let milliseconds = u64::deserialize(deserializer)?;
    UNIX_EPOCH
        .checked_add(Duration::from_millis(milliseconds))
        .ok_or_else(|| serde::de::Error::custom("the time is out of range"))
}

/// Such a time, which may be missing.
pub(crate) fn some_milliseconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SystemTime>, D::Error> {
    milliseconds(deserializer).map(Some)
}
