//! Clusters for the page: recordings, and what a fleetctl lists.

use serde_json::{Value, json};

use crate::support::Double;

pub(super) const WEB: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
pub(super) const DB: &str = "9c4b7a2e1d3f48568e0f1a2b3c4d5e6f";
pub(super) const OLD: &str = "d2e8f4a10b6c4973b5d7e9f1a3c5b7d9";
const HASH: &str = "a54d85379efe04d9b798936c1f3b9cffedff1b74";

pub(super) const THREE_UNITS: [(&str, &str, &str); 3] = [
    ("api.service", WEB, "active/running"),
    ("cron.timer", DB, "active/waiting"),
    ("web.service", WEB, "failed/failed"),
];

pub(super) fn three_units() -> Recording {
    Recording::of(&THREE_UNITS)
}

/// Four units with a problem each, and forty without: seven chips.
pub(super) fn four_troubles() -> Recording {
    let names: Vec<String> = (0..38).map(|number| format!("app-{number:02}.service")).collect();
    let mut units = vec![
        ("failed.service", WEB, "failed/failed"),
        ("ghost.service", DB, "active/running"),
        ("lost.service", OLD, "active/running"),
        ("outdated.service", WEB, "active/running"),
        ("starting.service", DB, "activating/start"),
        ("stopped.service", WEB, "inactive/dead"),
        ("stopping.service", DB, "deactivating/stop-sigterm"),
    ];
    units.extend(names.iter().map(|name| (name.as_str(), WEB, "active/running")));

    let (mut files, mut states) = rows(&units);
    files.retain(|file| file["unit"] != "ghost.service");
    for state in states.iter_mut().filter(|state| state["unit"] == "outdated.service") {
        state["hash"] = json!("0b6c49735d7e9f1a3c5b7d9d2e8f4a1c6f1b3c9f");
    }

    let mut recording = Recording::default();
    recording.line(&json!({"recording": 1, "source": "fleetctl v1.0.0"}));
    let mut machines = vec![
        json!({"id": WEB, "ip": "10.0.0.1", "metadata": "region=us-west,role=web"}),
        json!({"id": DB, "ip": "10.0.0.2", "metadata": "role=db"}),
        json!({"id": OLD, "ip": "10.0.0.3"}),
    ];
    recording.line(&json!({"t": 0.0, "topic": "machines", "machines": machines}));
    recording.line(&json!({"t": 0.0, "topic": "unit_files", "files": files}));
    recording.line(&json!({"t": 0.0, "topic": "units", "states": states}));

    // The third machine leaves the cluster, and its unit is lost.
    machines.pop();
    states.retain(|state| state["machine"] != OLD);
    recording.line(&json!({"t": 0.1, "topic": "machines", "machines": machines}));
    recording.line(&json!({"t": 0.1, "topic": "units", "states": states}));
    recording.line(&json!({"t": 600.0, "topic": "units", "states": states}));
    recording
}

/// A recording in the making, as text.
#[derive(Default)]
pub(super) struct Recording(pub(super) String);

impl Recording {
    /// Two machines, and these units as `(unit, machine, "active/sub")`, all of them wanted.
    pub(super) fn of(units: &[(&str, &str, &str)]) -> Self {
        let mut recording = Self::default();
        recording.line(&json!({"recording": 1, "source": "fleetctl v1.0.0"}));
        recording.line(&json!({"t": 0.0, "topic": "machines", "machines": [
            {"id": WEB, "ip": "10.0.0.1", "metadata": "region=us-west,role=web"},
            {"id": DB, "ip": "10.0.0.2", "metadata": "role=db"},
        ]}));
        recording.at(0.0, units)
    }

    /// These units on three machines, as they are in etcd: the first machine is the leader, and the
    /// last has an older fleet.
    pub(super) fn of_etcd(units: &[(&str, &str, &str)]) -> Self {
        let mut recording = Self::default();
        recording.line(&json!({"recording": 1, "source": "etcd"}));
        let (files, states) = rows(units);
        let metadata = "region=us-west,role=web";
        let machines = json!([
            {"id": WEB, "ip": "10.0.0.1", "metadata": metadata, "version": "1.0.0"},
            {"id": DB, "ip": "10.0.0.2", "metadata": "role=db", "version": "1.0.0"},
            {"id": OLD, "ip": "10.0.0.3", "version": "0.11.8"},
        ]);
        recording.line(&json!({
            "t": 0.0,
            "topic": "registry",
            "leader": WEB,
            "files": files,
            "states": states,
            "machines": machines,
        }));
        recording
    }

    /// At `time` the keys of the second machine and of its unit are overdue for so many seconds, or
    /// renewed if that is 0.
    pub(super) fn silent(mut self, time: f64, seconds: u32) -> Self {
        let overdue = json!([[{"machine": DB}, seconds], [{"unit": ["cron.timer", DB]}, seconds]]);
        let overdue = if seconds > 0 { overdue } else { json!([]) };
        self.line(&json!({"t": time, "topic": "registry", "leader": WEB, "overdue": overdue}));
        self
    }

    /// From `time` on the units are these.
    pub(super) fn at(mut self, time: f64, units: &[(&str, &str, &str)]) -> Self {
        let (files, states) = rows(units);
        self.line(&json!({"t": time, "topic": "unit_files", "files": files}));
        self.line(&json!({"t": time, "topic": "units", "states": states}));
        self
    }

    /// From `time` on the second machine is not in the cluster, and of these units only those on
    /// the first one are listed.
    pub(super) fn without_db(mut self, time: f64, units: &[(&str, &str, &str)]) -> Self {
        let (_, states) = rows(units);
        let there: Vec<_> = states.into_iter().filter(|state| state["machine"] == WEB).collect();
        self.line(&json!({"t": time, "topic": "machines", "machines": [
            {"id": WEB, "ip": "10.0.0.1", "metadata": "region=us-west,role=web"},
        ]}));
        self.line(&json!({"t": time, "topic": "units", "states": there}));
        self
    }

    /// From `time` on fleet has the unit files of these units too, and none of their states yet.
    pub(super) fn wanted(mut self, time: f64, units: &[(&str, &str, &str)]) -> Self {
        let (files, _) = rows(units);
        self.line(&json!({"t": time, "topic": "unit_files", "files": files}));
        self
    }

    /// From `time` on these topics cannot be read.
    pub(super) fn failing(mut self, time: f64, topics: &[&str]) -> Self {
        for topic in topics {
            self.line(&json!({"t": time, "topic": topic, "error": "etcd has no leader"}));
        }
        self
    }

    pub(super) fn line(&mut self, line: &Value) {
        self.0.push_str(&format!("{line}\n"));
    }
}

/// The unit files and the states of these units. A unit on both machines is a global one.
fn rows(units: &[(&str, &str, &str)]) -> (Vec<Value>, Vec<Value>) {
    let on_both = |unit: &str| units.iter().filter(|(other, ..)| *other == unit).count() > 1;
    let file = |&(unit, machine, _): &(&str, &str, &str)| {
        let global = on_both(unit);
        let target = (!global).then_some(machine);
        json!({
            "unit": unit,
            "hash": HASH,
            "desired": "launched",
            "target": target,
            "global": global,
            "description": format!("What {unit} is for"),
        })
    };
    let state = |(unit, machine, state): &(&str, &str, &str)| {
        let (active, sub) = state.split_once('/').unwrap();
        let ip = if *machine == WEB { "10.0.0.1" } else { "10.0.0.2" };
        json!({
            "unit": unit,
            "machine": machine,
            "ip": ip,
            "load": "loaded",
            "active": active,
            "sub": sub,
            "hash": HASH,
        })
    };
    (units.iter().map(file).collect(), units.iter().map(state).collect())
}

/// A fleetctl that lists these units, as [`list`] does.
pub(super) fn listing(units: &[(&str, &str, &str)]) -> Double {
    let fleetctl = Double::new("v1.0.0");
    list(&fleetctl, units);
    fleetctl
}

/// From now on the fleetctl lists two machines, and these units as `(unit, machine, "active/sub")`,
/// all of them wanted.
pub(super) fn list(fleetctl: &Double, units: &[(&str, &str, &str)]) {
    let mut files = Vec::new();
    let mut states = Vec::new();
    for (unit, machine, state) in units {
        let (active, sub) = state.split_once('/').unwrap();
        let place = format!("{machine}/{}", if *machine == WEB { "10.0.0.1" } else { "10.0.0.2" });
        files.push(json!([
            unit,
            "false",
            "launched",
            "launched",
            place,
            HASH,
            format!("What {unit} is for")
        ]));
        states.push(json!([unit, "loaded", active, sub, place, HASH]));
    }

    let machines = [[WEB, "10.0.0.1", "region=us-west,role=web"], [DB, "10.0.0.2", "role=db"]];
    let lists = json!({"list-machines": machines, "list-unit-files": files, "list-units": states});
    fleetctl.write("rows.json", &lists.to_string());
}
