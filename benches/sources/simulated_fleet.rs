//! A cluster, in the forms in which fleet v1.0.0 stores it in etcd, sends it over its API, and
//! prints it.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use sha1::{Digest, Sha1};

use crate::support::etcd::PREFIX;
use crate::support::fleetd::Registry;

const UNITS_PER_MACHINE: usize = 100;

/// The TTL of states and machines, in seconds (fleet's `agent_ttl`).
pub const TTL: u64 = 30;
/// How often fleet v1.0.0 renews them.
pub const RENEWAL_OF_STATES: Duration = Duration::from_secs(24);
pub const RENEWAL_OF_MACHINES: Duration = Duration::from_secs(15);
/// The TTL of the leader, in seconds.
pub const LEADER_TTL: u64 = 10;
/// How often fleet v1.0.0 renews it.
pub const RENEWAL_OF_LEADER: Duration = Duration::from_secs(2);

/// A key of etcd and its value.
pub type KeyValue = (String, String);

/// A cluster in which all units are active. Only their substates change.
pub struct SimulatedFleet {
    /// By the number of the unit.
    substates: Vec<String>,
    /// The unit whose state was renewed last.
    pub renewed: usize,
}

impl SimulatedFleet {
    pub fn with_units(units: usize) -> Self {
        Self { substates: vec!["running".to_owned(); units], renewed: 0 }
    }

    pub fn units(&self) -> usize {
        self.substates.len()
    }

    pub fn machines(&self) -> usize {
        self.units() / UNITS_PER_MACHINE
    }

    /// The name of the unit that is last in each list.
    pub fn last_unit(&self) -> String {
        name(self.units() - 1)
    }

    pub fn change(&mut self, unit: usize, substate: &str) {
        substate.clone_into(&mut self.substates[unit]);
    }

    /// All units, beginning with those that are not renewed soon. A change of the first ones cannot
    /// be overwritten by a renewal that is pending.
    pub fn units_by_renewal(&self) -> impl Iterator<Item = usize> + use<> {
        const MARGIN: usize = 1_000;
        let units = self.units();
        let first = self.renewed + MARGIN;

        (first..first + units).map(move |unit| unit % units)
    }

    /// The keys without a TTL.
    pub fn lasting_keys(&self) -> impl Iterator<Item = KeyValue> {
        (0..self.units()).flat_map(|unit| {
            let job = format!("{PREFIX}/job/{}", name(unit));
            let hash = Sha1::digest(file(unit));
            let object = json!({"Name": name(unit), "UnitHash": hash[..]});
            [
                (
                    format!("{PREFIX}/unit/{}", hash_of(unit)),
                    json!({"Raw": file(unit)}).to_string(),
                ),
                (format!("{job}/object"), object.to_string()),
                (format!("{job}/target"), self.machine(unit)),
                (format!("{job}/target-state"), "launched".to_owned()),
            ]
        })
    }

    /// The keys that a unit's machine renews, in the order in which fleet does it. fleet-monitor
    /// reads the last one.
    pub fn leases(&self, unit: usize) -> [KeyValue; 3] {
        let state = json!({
            "loadState": "loaded", "activeState": "active", "subState": self.substates[unit],
            "machineState": {
                "ID": self.machine(unit), "PublicIP": "", "Metadata": null, "Capabilities": null,
                "Version": "",
            },
            "unitHash": hash_of(unit),
        });

        [
            (format!("{PREFIX}/job/{}/job-state", name(unit)), self.machine(unit)),
            (format!("{PREFIX}/state/{}", name(unit)), state.to_string()),
            (
                format!("{PREFIX}/states/{}/{}", name(unit), self.machine(unit)),
                state.to_string(),
            ),
        ]
    }

    pub fn machine_lease(&self, number: usize) -> KeyValue {
        let object = json!({
            "ID": self.machine(number), "PublicIP": self.ip(number),
            "Metadata": {"region": "eu-west"},
            "Capabilities": {"DISABLE_ENGINE": false, "GRPC": false}, "Version": "v1.0.0",
        });

        (format!("{PREFIX}/machines/{}/object", self.machine(number)), object.to_string())
    }

    pub fn leader_lease(&self) -> KeyValue {
        (
            format!("{PREFIX}/lease/engine-leader"),
            json!({"MachineID": self.machine(0), "Version": 1}).to_string(),
        )
    }

    /// The registry for a double of fleet's API.
    pub fn registry(&self) -> Registry {
        let states = self.substates.iter().enumerate().map(|(unit, substate)| {
            json!({
                "name": name(unit), "hash": hash_of(unit), "machineID": self.machine(unit),
                "systemdLoadState": "loaded", "systemdActiveState": "active",
                "systemdSubState": substate,
            })
        });
        let machines = (0..self.machines()).map(|number| {
            json!({
                "id": self.machine(number), "primaryIP": self.ip(number),
                "metadata": {"region": "eu-west"},
            })
        });
        let units = (0..self.units()).map(|unit| {
            let [description, command] = options(unit);
            json!({
                "name": name(unit), "currentState": "launched", "desiredState": "launched",
                "machineID": self.machine(unit),
                "options": [
                    {"section": "Unit", "name": "Description", "value": description},
                    {"section": "Service", "name": "ExecStart", "value": command},
                ],
            })
        });

        Registry {
            states: states.collect(),
            machines: machines.collect(),
            units: units.collect(),
        }
    }

    /// The output of `fleetctl list-units`.
    pub fn unit_table(&self) -> String {
        let row = |(unit, substate): (usize, &String)| {
            format!(
                "{}\tloaded\tactive\t{substate}\t{}\t{}\n",
                name(unit),
                self.machine_with_ip(unit),
                hash_of(unit)
            )
        };
        self.substates.iter().enumerate().map(row).collect()
    }

    /// The output of `fleetctl list-unit-files`.
    pub fn file_table(&self) -> String {
        let row = |unit| {
            let [description, _] = options(unit);
            format!(
                "{}\tfalse\tlaunched\t{}\t{}\t{description}\n",
                name(unit),
                self.machine_with_ip(unit),
                hash_of(unit)
            )
        };
        (0..self.units()).map(row).collect()
    }

    /// The output of `fleetctl list-machines`.
    pub fn machine_table(&self) -> String {
        (0..self.machines())
            .map(|number| {
                format!("{}\t{}\tregion=eu-west\n", self.machine(number), self.ip(number))
            })
            .collect()
    }

    /// In how many units `/v2/state` differs from this fleet.
    pub fn differences(&self, state: &serde_json::Value) -> usize {
        let units = state["units"].as_array().expect("units");
        let shown: HashMap<_, _> = units
            .iter()
            .map(|row| (row["unit"].as_str(), row["sub"].as_str()))
            .collect();

        let is_wrong = |(unit, substate): &(usize, &String)| {
            let name = name(*unit);
            shown.get(&Some(name.as_str())) != Some(&Some(substate.as_str()))
        };
        let wrong = self.substates.iter().enumerate().filter(is_wrong).count();
        wrong + self.units().abs_diff(units.len())
    }

    fn machine(&self, unit: usize) -> String {
        format!("{:032x}", unit % self.machines())
    }

    fn ip(&self, unit: usize) -> String {
        format!("172.17.8.{}", unit % self.machines())
    }

    fn machine_with_ip(&self, unit: usize) -> String {
        format!("{}/{}", self.machine(unit), self.ip(unit))
    }
}

fn name(unit: usize) -> String {
    format!("web@{unit:05}.service")
}

fn options(unit: usize) -> [String; 2] {
    [format!("Web server {unit} of many"), "/bin/sleep infinity".to_owned()]
}

fn file(unit: usize) -> String {
    let [description, command] = options(unit);
    format!("[Unit]\nDescription={description}\n\n[Service]\nExecStart={command}\n")
}

fn hash_of(unit: usize) -> String {
    Sha1::digest(file(unit))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
