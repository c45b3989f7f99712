//! The cluster that is watched, as fleet v1.0.0 keeps it in etcd, answers for it over its API, and
//! prints it.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use sha1::{Digest, Sha1};

use crate::support::etcd::PREFIX;
use crate::support::fleetd::Registry;

/// How many units are on a machine.
const ON_EACH: usize = 100;

/// How long states and machines live without renewal (fleet's `agent_ttl`), in seconds, and how
/// soon fleet v1.0.0 renews them; then the same for its leader.
pub const TTL: u64 = 30;
pub const RENEWAL_OF_STATES: Duration = Duration::from_secs(24);
pub const RENEWAL_OF_MACHINES: Duration = Duration::from_secs(15);
pub const LEADER_TTL: u64 = 10;
pub const RENEWAL_OF_LEADER: Duration = Duration::from_secs(2);

/// A key and its value.
pub type Entry = (String, String);

/// All units are active; what changes is their substate.
pub struct Fleet {
    substates: Vec<String>,
    /// The unit whose state was renewed last.
    pub renewed: usize,
}

impl Fleet {
    pub fn of(units: usize) -> Self {
        Self { substates: vec!["running".to_owned(); units], renewed: 0 }
    }

    pub fn units(&self) -> usize {
        self.substates.len()
    }

    pub fn machines(&self) -> usize {
        self.units() / ON_EACH
    }

    /// The unit that is last in each list.
    pub fn last(&self) -> String {
        name(self.units() - 1)
    }

    pub fn change(&mut self, unit: usize, substate: &str) {
        substate.clone_into(&mut self.substates[unit]);
    }

    /// The units, with those at last that are to be renewed next: what the bench writes to the
    /// first of them, no renewal under way undoes.
    pub fn renewed_long_since(&self) -> impl Iterator<Item = usize> + use<> {
        const MARGIN: usize = 1_000;
        let units = self.units();
        let first = self.renewed + MARGIN;

        (first..first + units).map(move |unit| unit % units)
    }

    /// What stays until somebody changes it.
    pub fn lasting(&self) -> impl Iterator<Item = Entry> {
        (0..self.units()).flat_map(|unit| {
            let (job, hash) = (format!("{PREFIX}/job/{}", name(unit)), Sha1::digest(file(unit)));
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

    /// What a unit's machine renews, in fleet's order; the last is the one that counts.
    pub fn leases(&self, unit: usize) -> [Entry; 3] {
        let state = json!({
            "loadState": "loaded", "activeState": "active", "subState": self.substates[unit],
            "machineState": {"ID": self.machine(unit), "PublicIP": "", "Metadata": null, "Capabilities": null, "Version": ""},
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

    pub fn machine_lease(&self, number: usize) -> Entry {
        let object = json!({
            "ID": self.machine(number), "PublicIP": self.ip(number), "Metadata": {"region": "eu-west"},
            "Capabilities": {"DISABLE_ENGINE": false, "GRPC": false}, "Version": "v1.0.0",
        });
        (format!("{PREFIX}/machines/{}/object", self.machine(number)), object.to_string())
    }

    pub fn leader_lease(&self) -> Entry {
        (
            format!("{PREFIX}/lease/engine-leader"),
            json!({"MachineID": self.machine(0), "Version": 1}).to_string(),
        )
    }

    /// What fleetd answers from.
    pub fn registry(&self) -> Registry {
        let states = self.substates.iter().enumerate().map(|(unit, substate)| {
            json!({
                "name": name(unit), "hash": hash_of(unit), "machineID": self.machine(unit), "systemdLoadState": "loaded",
                "systemdActiveState": "active", "systemdSubState": substate,
            })
        });
        let machines = (0..self.machines())
            .map(|number| json!({"id": self.machine(number), "primaryIP": self.ip(number), "metadata": {"region": "eu-west"}}));
        let units = (0..self.units()).map(|unit| {
            let [description, command] = options(unit);
            json!({
                "name": name(unit), "currentState": "launched", "desiredState": "launched", "machineID": self.machine(unit),
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

    /// What `fleetctl list-units` prints.
    pub fn unit_table(&self) -> String {
        let row = |(unit, substate): (usize, &String)| {
            let (name, hash) = (name(unit), hash_of(unit));
            format!("{name}\tloaded\tactive\t{substate}\t{}\t{hash}\n", self.place(unit))
        };
        self.substates.iter().enumerate().map(row).collect()
    }

    /// What `fleetctl list-unit-files` prints.
    pub fn file_table(&self) -> String {
        let row = |unit| {
            let [description, _] = options(unit);
            format!(
                "{}\tfalse\tlaunched\t{}\t{}\t{description}\n",
                name(unit),
                self.place(unit),
                hash_of(unit)
            )
        };
        (0..self.units()).map(row).collect()
    }

    /// What `fleetctl list-machines` prints.
    pub fn machine_table(&self) -> String {
        (0..self.machines())
            .map(|number| {
                format!("{}\t{}\tregion=eu-west\n", self.machine(number), self.ip(number))
            })
            .collect()
    }

    /// In how many units `/v2/state` is not as it.
    pub fn differences(&self, state: &serde_json::Value) -> usize {
        let units = state["units"].as_array().expect("units");
        let shown: HashMap<_, _> = units
            .iter()
            .map(|row| (row["unit"].as_str(), row["sub"].as_str()))
            .collect();
        let is_shown = |(unit, substate): &(usize, &String)| {
            shown
                .get(&Some(name(*unit).as_str()))
                .is_some_and(|shown| *shown == Some(substate.as_str()))
        };
        self.units().abs_diff(units.len())
            + self.substates.iter().enumerate().filter(|row| !is_shown(row)).count()
    }

    fn machine(&self, unit: usize) -> String {
        format!("{:032x}", unit % self.machines())
    }

    fn ip(&self, unit: usize) -> String {
        format!("172.17.8.{}", unit % self.machines())
    }

    fn place(&self, unit: usize) -> String {
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
