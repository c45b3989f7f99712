//! What a client knows of the cluster: rows and events, kept up to date by messages of the second
//! protocol.
//!
//! It knows neither how messages arrive nor what is shown of them.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::machine_status::MachineStatus;
use super::wire::{
    EventRow, HealthState, Hello, MachineRow, Message, ProblemRow, RowTopic, SourceHealth,
    StateDocument, UnitRow, UnitRowKey,
};

/// How many events are kept: as many as the server keeps.
const MAX_EVENTS: usize = 1000;

/// The cluster as a client knows it.
#[derive(Clone, Debug, Default)]
pub struct ClusterState {
    /// The last `hello`.
    pub hello: Hello,
    /// The last state of the source; `None` before the first `status`.
    pub health: Option<SourceHealth>,
    /// All units, by name and machine.
    pub units: BTreeMap<UnitRowKey, UnitRow>,
    /// All machines, by ID.
    pub machines: BTreeMap<String, MachineRow>,
    /// The open problems, by ID; `None` if the server has not sent any list of them. An older
    /// server has none.
    pub problems: Option<BTreeMap<String, ProblemRow>>,
    /// The latest events, oldest first.
    pub events: VecDeque<EventRow>,
}

/// How many units are on a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitCount {
    /// All of them.
    pub all: usize,
    /// Those that are not `ok`.
    pub wrong: usize,
}

/// A message that does not have the form that `docs/protocol.md` defines.
#[derive(Debug, thiserror::Error)]
#[error("a message of the second protocol is invalid: {0}")]
pub struct InvalidMessage(#[from] serde_json::Error);

/// What identifies the row of a unit.
#[derive(Deserialize)]
struct UnitKey {
    unit: String,
    machine: Option<String>,
}

/// What identifies the row of a machine.
#[derive(Deserialize)]
struct MachineKey {
    machine: String,
}

/// What identifies a problem.
#[derive(Deserialize)]
struct ProblemKey {
    id: String,
}

impl ClusterState {
    /// Whether the source is read as it should be. If not, the cluster may be in another state.
    pub fn is_current(&self) -> bool {
        self.health
            .as_ref()
            .is_some_and(|health| matches!(health.state, HealthState::Ok | HealthState::Ended))
    }

    /// How many machines have this status.
    pub fn count_machines(&self, status: MachineStatus) -> usize {
        self.machines
            .values()
            .filter(|machine| machine.status() == status)
            .count()
    }

    /// How many machines have not left the cluster.
    pub fn count_present_machines(&self) -> usize {
        self.machines.len() - self.count_machines(MachineStatus::Lost)
    }

    /// How many units are on each machine, by its ID. Machines without units are left out.
    pub fn count_units_by_machine(&self) -> HashMap<&str, UnitCount> {
        let mut counts: HashMap<&str, UnitCount> = HashMap::new();
        for unit in self.units.values() {
            if let Some(machine) = &unit.machine {
                let count = counts.entry(machine).or_default();
                count.all += 1;
                count.wrong += usize::from(!unit.is_ok());
            }
        }
        counts
    }

    /// The name of a machine for people: its ID, if no more is known of it.
    pub fn machine_name<'a>(&'a self, id: &'a str) -> &'a str {
        self.machines.get(id).map_or(id, MachineRow::name)
    }

    /// Applies one message.
    ///
    /// # Errors
    ///
    /// If a row or a key has an unexpected form. Rows before it have been applied.
    pub fn apply(&mut self, message: Message) -> Result<(), InvalidMessage> {
        match message {
            Message::Hello(hello) => self.hello = hello,
            Message::Snapshot { topic, rows } => self.replace(topic, rows)?,
            Message::Delta { topic, upsert, remove, .. } => {
                self.remove(topic, remove)?;
                self.upsert(topic, upsert)?;
            }
            Message::Event { event, .. } => self.push_event(event),
            Message::Status { health, .. } => self.health = Some(health),
            Message::Resync { .. } | Message::Unknown => {}
        }
        Ok(())
    }

    fn replace(&mut self, topic: RowTopic, rows: Vec<Value>) -> Result<(), InvalidMessage> {
        match topic {
            RowTopic::Units => self.units.clear(),
            RowTopic::Machines => self.machines.clear(),
            RowTopic::Problems => self.problems = Some(BTreeMap::new()),
            RowTopic::Events => self.events.clear(),
            RowTopic::Unknown => {}
        }
        self.upsert(topic, rows)
    }

    fn upsert(&mut self, topic: RowTopic, rows: Vec<Value>) -> Result<(), InvalidMessage> {
        match topic {
            RowTopic::Units => {
                for unit in decode::<UnitRow>(rows) {
                    let unit = unit?;
                    self.units.insert(unit.key(), unit);
                }
            }
            RowTopic::Machines => {
                for machine in decode::<MachineRow>(rows) {
                    let machine = machine?;
                    self.machines.insert(machine.machine.clone(), machine);
                }
            }
            RowTopic::Problems => {
                let problems = self.problems.get_or_insert_default();
                for problem in decode::<ProblemRow>(rows) {
                    let problem = problem?;
                    problems.insert(problem.id.clone(), problem);
                }
            }
            RowTopic::Events => {
                for event in decode(rows) {
                    self.push_event(event?);
                }
            }
            RowTopic::Unknown => {}
        }
        Ok(())
    }

    fn remove(&mut self, topic: RowTopic, keys: Vec<Value>) -> Result<(), InvalidMessage> {
        match topic {
            RowTopic::Units => {
                for key in decode(keys) {
                    let UnitKey { unit, machine } = key?;
                    self.units.remove(&(unit, machine));
                }
            }
            RowTopic::Machines => {
                for key in decode(keys) {
                    let MachineKey { machine } = key?;
                    self.machines.remove(&machine);
                }
            }
            RowTopic::Problems => {
                let problems = self.problems.get_or_insert_default();
                for key in decode(keys) {
                    let ProblemKey { id } = key?;
                    problems.remove(&id);
                }
            }
            RowTopic::Events | RowTopic::Unknown => {}
        }
        Ok(())
    }

    fn push_event(&mut self, event: EventRow) {
        self.events.push_back(event);
        if self.events.len() > MAX_EVENTS {
            self.events.pop_front();
        }
    }
}

fn decode<T: DeserializeOwned>(
    values: Vec<Value>,
) -> impl Iterator<Item = Result<T, serde_json::Error>> {
    values.into_iter().map(serde_json::from_value)
}

impl From<StateDocument> for ClusterState {
    fn from(document: StateDocument) -> Self {
        let StateDocument {
            epoch,
            revision,
            time: _,
            software,
            health,
            units,
            machines,
            problems,
            transitions,
        } = document;
        let hello = Hello {
            epoch,
            revision,
            software,
            source: health.source.clone(),
            recording: health.recording,
        };

        Self {
            hello,
            health: Some(health),
            units: units.into_iter().map(|unit| (unit.key(), unit)).collect(),
            machines: machines
                .into_iter()
                .map(|machine| (machine.machine.clone(), machine))
                .collect(),
            problems: problems.map(|problems| {
                problems
                    .into_iter()
                    .map(|problem| (problem.id.clone(), problem))
                    .collect()
            }),
            events: transitions.into_iter().rev().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(state: &mut ClusterState, message: Value) {
        state.apply(serde_json::from_value(message).unwrap()).unwrap();
    }

    fn units(state: &ClusterState) -> Vec<(&str, Option<&str>, &str)> {
        state
            .units
            .values()
            .map(|unit| (&*unit.unit, unit.machine.as_deref(), &*unit.verdict))
            .collect()
    }

    #[test]
    fn a_snapshot_replaces_rows_and_a_delta_changes_some() {
        let mut state = ClusterState::default();
        apply(
            &mut state,
            json!({"type": "snapshot", "topic": "units", "revision": 1, "rows": [
                {"unit": "a", "machine": "m1", "verdict": "ok"},
                {"unit": "a", "machine": "m2", "verdict": "ok"},
                {"unit": "b", "verdict": "unscheduled"},
            ]}),
        );
        apply(
            &mut state,
            json!({"type": "delta", "topic": "units", "revision": 2,
                "upsert": [{"unit": "a", "machine": "m1", "verdict": "failed"}],
                "remove": [{"unit": "b"}, {"unit": "a", "machine": "m2"}]}),
        );
        assert_eq!(units(&state), [("a", Some("m1"), "failed")]);

        apply(
            &mut state,
            json!({"type": "snapshot", "topic": "units", "revision": 3, "rows": []}),
        );
        assert_eq!(units(&state), []);
    }

    #[test]
    fn problems_are_known_as_soon_as_there_is_a_list_of_them() {
        let mut state = ClusterState::default();
        apply(
            &mut state,
            json!({"type": "snapshot", "topic": "units", "revision": 1, "rows": []}),
        );
        assert_eq!(state.problems, None, "an older server has none");

        apply(
            &mut state,
            json!({"type": "snapshot", "topic": "problems", "revision": 1,
                "rows": [{"id": "1", "kind": "failed"}, {"id": "2", "kind": "stale"}]}),
        );
        apply(
            &mut state,
            json!({"type": "delta", "topic": "problems", "revision": 2,
                "upsert": [{"id": "2", "kind": "stale", "count": 3}], "remove": [{"id": "1"}]}),
        );
        let problems: Vec<_> = state.problems.unwrap().into_values().collect();
        assert_eq!(problems.len(), 1);
        assert_eq!((&*problems[0].id, problems[0].count), ("2", 3));
    }

    #[test]
    fn what_a_newer_server_adds_is_ignored() {
        let mut state = ClusterState::default();
        apply(&mut state, json!({"type": "advice", "revision": 1, "text": "…"}));
        apply(
            &mut state,
            json!({"type": "snapshot", "topic": "logs", "revision": 1, "rows": [1]}),
        );
        apply(
            &mut state,
            json!({"type": "status", "revision": 1, "health": {"state": "odd", "colour": 3}}),
        );
        assert_eq!(state.health.unwrap().state, super::super::HealthState::Unknown);
    }

    #[test]
    fn as_many_events_are_kept_as_the_server_keeps() {
        let mut state = ClusterState::default();
        for number in 1..=1001 {
            let event = EventRow { number, ..EventRow::default() };
            state.apply(Message::Event { revision: number, event }).unwrap();
        }
        assert_eq!(state.events.len(), 1000);
        assert_eq!(state.events[0].number, 2);
    }
}
