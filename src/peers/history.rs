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
/// Two monitors may need longer for the same than their poll intervals: a poll takes its time, and
/// a machine is missing for some seconds before it is lost.
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
    #[error("its clock and that of this host differ by {} s: is there NTP?", .0.as_secs())]
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

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn time(milliseconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    /// What another monitor sends, and this one would accept.
    fn answer() -> Value {
        let machine = json!({"machine": "m1", "since": NOW - 5000, "since_seen": false});
        json!({
            "epoch": "other", "now": NOW, "interval": 10.0, "complete_since": NOW - 60_000,
            "incomplete": [{"unit": "a.service", "machine": "m1", "until": NOW - 30_000}],
            "machines": [machine], "units": [], "problems": [],
            "events": [{"time": NOW - 1000, "event": "machine_lost", "machine": "m2"}],
        })
    }

    fn usable(answer: &Value) -> Result<UsableHistory, UnusableHistory> {
        let id = MachineId::from("m1");
        let own = OwnKnowledge {
            epoch: "own",
            machines: BTreeSet::from([&id]),
            interval: Duration::from_secs(10),
            now: time(NOW),
        };
        SharedHistory::parse(answer.to_string().as_bytes())
            .unwrap()
            .usable(&own)
    }

    fn with(key: &str, value: Value) -> Value {
        let mut answer = answer();
        answer[key] = value;
        answer
    }

    #[test]
    fn an_answer_of_the_same_cluster_can_be_used() {
        let UsableHistory { cluster, problems, events } = usable(&answer()).unwrap();
        assert_eq!(cluster.machine_ids().count(), 1);
        assert!(problems.is_empty());
        assert_eq!(events.events.len(), 1);
        assert_eq!(events.complete, (time(NOW - 60_000), time(NOW)));
        assert_eq!(events.incomplete[0].2, time(NOW - 30_000));
        assert_eq!(events.tolerance, Duration::from_secs(25), "both intervals and the reaction");
    }

    #[test]
    fn an_answer_that_cannot_be_used_says_why() {
        let refused = |key, value| usable(&with(key, value)).unwrap_err();
        assert_eq!(refused("epoch", json!("own")), UnusableHistory::Itself);
        assert_eq!(refused("machines", json!([])), UnusableHistory::OtherCluster);
        for now in [NOW - 61_000, NOW + 61_000] {
            let difference = Duration::from_secs(61);
            assert_eq!(refused("now", json!(now)), UnusableHistory::OtherTime(difference));
        }
    }

    #[test]
    fn nothing_from_the_future_is_used() {
        let late = NOW + 1;
        let event = json!({"time": late, "event": "machine_lost", "machine": "m2"});
        assert!(
            usable(&with("events", json!([event])))
                .unwrap()
                .events
                .events
                .is_empty()
        );

        let problem = |since: u64, opened: u64, id: &str| {
            json!([{
                "id": id, "since": since, "since_seen": true, "opened": opened, "units": [],
                "cause": {"machine": {"trouble": "lost", "machine": {"id": "m2", "ip": null}}},
            }])
        };
        let id = "0123456789abcdef";
        let problems = |problem| usable(&with("problems", problem)).unwrap().problems.len();
        assert_eq!(problems(problem(NOW - 2, NOW - 1, id)), 1);
        assert_eq!(problems(problem(NOW - 2, late, id)), 0);
        assert_eq!(problems(problem(NOW - 1, NOW - 2, id)), 0);
        assert_eq!(problems(problem(NOW - 2, NOW - 1, "../../etc")), 0);

        let future = with("complete_since", json!(late));
        assert_eq!(usable(&future).unwrap().events.complete, (time(NOW), time(NOW)));
    }

    #[test]
    fn an_interval_that_is_no_time_does_not_make_events_the_same() {
        for interval in [json!(-1.0), json!(1e300)] {
            let tolerance = usable(&with("interval", interval)).unwrap().events.tolerance;
            assert!(tolerance <= Duration::from_secs(15) + MAX_INTERVAL, "{tolerance:?}");
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_refused() {
        let item = json!({"until": 1});
        for (count, is_accepted) in [(MAX_EVENTS, true), (MAX_EVENTS + 1, false)] {
            let answer = with("incomplete", json!(vec![item.clone(); count])).to_string();
            assert_eq!(SharedHistory::parse(answer.as_bytes()).is_ok(), is_accepted, "{count}");
        }
    }
}
