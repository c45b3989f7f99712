//! The history of another monitor: what it says, and whether it can be used. Pure.
//!
//! It does not know how the history was received, nor what becomes of it.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::cluster::{
    MachineId, PeerCluster, PeerEvent, PeerEventJson, PeerMachine, PeerUnit, Text, UnitName,
    bounded, milliseconds,
};
use crate::feed::PeerEvents;
use crate::net::http::PostTarget;
use crate::problems::{PeerProblem, SavedProblem};

/// How far the clocks of two monitors may be apart. Fleet's machines have NTP.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(60);
/// Two monitors may need longer for the same than their poll intervals: a poll takes its time, and a
/// machine is missing for some seconds before it is lost.
const REACTION: Duration = Duration::from_secs(5);
/// The longest interval of another monitor that is believed.
const MAX_INTERVAL: Duration = Duration::from_secs(600);
/// How much of each kind is accepted: much more than fleet can manage.
const MAX_UNITS: usize = 100_000;
const MAX_MACHINES: usize = 10_000;
const MAX_EVENTS: usize = 100_000;
const MAX_PROBLEMS: usize = 10_000;

/// An answer, and whose it is.
#[derive(Debug)]
pub(crate) struct PeerHistory {
    pub(crate) from: PostTarget,
    pub(crate) shared: SharedHistory,
}

/// All that another monitor shares.
#[derive(Debug, Deserialize)]
pub(crate) struct SharedHistory {
    /// Identifies its run.
    epoch: Text,
    /// Its time when it answered.
    #[serde(deserialize_with = "milliseconds")]
    now: SystemTime,
    /// The longest time between two of its polls, in seconds.
    interval: f64,
    #[serde(deserialize_with = "milliseconds")]
    complete_since: SystemTime,
    #[serde(deserialize_with = "bounded::<_, _, MAX_EVENTS>")]
    incomplete: Vec<Incomplete>,
    #[serde(deserialize_with = "bounded::<_, _, MAX_UNITS>")]
    units: Vec<PeerUnit>,
    #[serde(deserialize_with = "bounded::<_, _, MAX_MACHINES>")]
    machines: Vec<PeerMachine>,
    #[serde(deserialize_with = "bounded::<_, _, MAX_PROBLEMS>")]
    problems: Vec<PeerProblem>,
    #[serde(deserialize_with = "bounded::<_, _, MAX_EVENTS>")]
    events: Vec<PeerEventJson>,
}

/// What events are missing of, and until when.
#[derive(Debug, Deserialize)]
struct Incomplete {
    unit: Option<UnitName>,
    machine: Option<MachineId>,
    #[serde(deserialize_with = "milliseconds")]
    until: SystemTime,
}

/// What this monitor knows, with which an answer is compared.
#[derive(Clone, Debug)]
pub(crate) struct OwnKnowledge<'a> {
    pub(crate) epoch: &'a str,
    pub(crate) machines: BTreeSet<&'a MachineId>,
    /// The longest time between two of its polls.
    pub(crate) interval: Duration,
    pub(crate) now: SystemTime,
}

/// What is left of an answer that can be used.
#[derive(Debug)]
pub(crate) struct UsableHistory {
    pub(crate) cluster: PeerCluster,
    pub(crate) problems: Vec<SavedProblem>,
    pub(crate) events: PeerEvents,
}

/// Why an answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnusableHistory {
    /// It is the answer of this very program.
    #[error("it is this monitor itself")]
    Itself,
    /// None of its machines is in this cluster.
    #[error("it watches another cluster: none of its machines is in this one")]
    OtherCluster,
    /// The clocks differ.
    #[error("its clock differs by {} s from that of this host: does NTP run on both?", .0.as_secs())]
    OtherTime(Duration),
}

impl SharedHistory {
    /// Reads the JSON of `/v2/history`.
    pub(super) fn parse(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }

    /// What can be used of it: nothing from the future, and nothing about the source.
    pub(crate) fn usable(self, own: &OwnKnowledge<'_>) -> Result<UsableHistory, UnusableHistory> {
        if *self.epoch == *own.epoch {
            return Err(UnusableHistory::Itself);
        }
        let mut cluster = PeerCluster { units: self.units, machines: self.machines };
        if !cluster.machine_ids().any(|id| own.machines.contains(id)) {
            return Err(UnusableHistory::OtherCluster);
        }
        let difference = own
            .now
            .duration_since(self.now)
            .unwrap_or_else(|later| later.duration());
        if difference > MAX_CLOCK_DIFFERENCE {
            return Err(UnusableHistory::OtherTime(difference));
        }

        cluster.remove_future(own.now);
        let problems = self.problems.into_iter();
        let mut events: Vec<PeerEvent> = self
            .events
            .into_iter()
            .filter_map(PeerEventJson::into_event)
            .filter(|event| event.time <= own.now)
            .collect();
        events.sort_by_key(|event| event.time);

        let interval = Duration::try_from_secs_f64(self.interval).unwrap_or_default();
        let until = self.now.min(own.now);
        Ok(UsableHistory {
            cluster,
            problems: problems.filter_map(|problem| problem.into_saved(own.now)).collect(),
            events: PeerEvents {
                events,
                complete: (self.complete_since.min(until), until),
                incomplete: self
                    .incomplete
                    .into_iter()
                    .map(|Incomplete { unit, machine, until }| (unit, machine, until))
                    .collect(),
                tolerance: own.interval + interval.min(MAX_INTERVAL) + REACTION,
            },
        })
    }
}
