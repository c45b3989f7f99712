//! What is known of a machine that was lost before the start: alone, from what is left of it; and
//! with another monitor, from what that one knows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{
    GRACE, TestCluster, file, files, machine, machines, on_m2, registry, seven_files, seven_states,
    state, units,
};
use crate::cluster::{
    Cluster, PeerCluster, PeerMachine, PeerUnit, Reading, RegistrySnapshot, Retention, UnitState,
    Verdict,
};

/// The registry after m1 was lost: fleet has not scheduled its units elsewhere yet.
fn left_of_m1(states: Vec<UnitState>) -> RegistrySnapshot {
    RegistrySnapshot {
        states: states.into(),
        machines: ["m2", "m3", "m4"].map(machine).into(),
        ..registry()
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[test]
fn alone_targets_that_are_not_in_the_cluster_are_lost_at_the_first_reading() {
    let mut of_registry = TestCluster::empty();
    of_registry.read_registry(0, &left_of_m1(on_m2()));

    // Whichever list is read first.
    let lists: [fn() -> Reading; 3] =
        [|| machines(&["m2", "m3", "m4"]), || files(&seven_files()), || units(&on_m2())];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut of_lists = TestCluster::empty();
        for list in order {
            of_lists.read(0, lists[list]());
        }

        for cluster in [&of_lists, &of_registry] {
            for unit in ["a.service", "z.service"] {
                assert_eq!(cluster.verdict(unit), Some(Verdict::MachineLost), "{order:?}");
            }
            assert!(cluster.reason("a.service").contains("m1"), "{}", cluster.reason("a.service"));
            assert_eq!(cluster.verdict("b0.service"), Some(Verdict::Ok));
        }
    }
}

#[test]
fn alone_states_without_a_machine_are_lost_at_the_first_reading() {
    let mut of_registry = TestCluster::empty();
    of_registry.read_registry(0, &left_of_m1(seven_states()));

    // In such a list they have no address.
    let without_address = |state: UnitState| match state.machine.as_deref() {
        Some("m1") => UnitState { ip: None, ..state },
        _ => state,
    };
    let states: Vec<_> = seven_states().into_iter().map(without_address).collect();
    let mut of_lists = TestCluster::empty();
    of_lists.read(0, units(&states));
    of_lists.read(0, files(&seven_files()));
    of_lists.read(0, machines(&["m2", "m3", "m4"]));

    for cluster in [&of_lists, &of_registry] {
        assert_eq!(cluster.verdict("a.service"), Some(Verdict::MachineLost));
        assert_eq!(cluster.verdict("b0.service"), Some(Verdict::Ok));
    }
}

#[test]
fn a_target_that_is_known_before_its_machine_is_not_lost() {
    let mut cluster = TestCluster::new();
    let mut wanted = seven_files();
    wanted.push(file("new.service", "launched", Some("m5")));
    cluster.read(2, files(&wanted));
    assert_eq!(cluster.verdict("new.service"), Some(Verdict::Ok));

    cluster.read(4, machines(&["m1", "m2", "m3", "m4", "m5"]));
    let mut states = seven_states();
    states.push(state("new.service", "m5", "active"));
    cluster.read(6, units(&states));
    assert_eq!(cluster.verdict("new.service"), Some(Verdict::Ok));
    assert_eq!(cluster.count("machine_lost"), 0);
}

impl TestCluster {
    /// What a monitor sends that has seen this cluster.
    fn shared(&self, change: impl Fn(&mut Value)) -> PeerCluster {
        let view = self.view();
        let units = view.units.iter().map(|unit| {
            let mut json = json!({
                "unit": unit.state.unit, "machine": unit.state.machine, "load": unit.state.load,
                "active": unit.state.active, "sub": unit.state.sub, "verdict": unit.verdict.name(),
                "verdict_since": milliseconds(unit.verdict_since),
                "verdict_since_seen": unit.verdict_since_seen,
                "since": milliseconds(unit.since), "since_seen": unit.since_seen,
            });
            if let Some(since) = unit.stale_since {
                json["stale_since"] = json!(milliseconds(since));
            }
            change(&mut json);
            serde_json::from_value::<PeerUnit>(json).unwrap()
        });
        let machines = view.machines.iter().map(|member| {
            let mut json = json!({
                "machine": member.machine.id, "ip": member.machine.ip, "ran": *member.ran,
                "since": milliseconds(member.since), "since_seen": member.since_seen,
            });
            if let Some(since) = member.lost_since {
                json["lost_since"] = json!(milliseconds(since));
            }
            change(&mut json);
            serde_json::from_value::<PeerMachine>(json).unwrap()
        });
        PeerCluster { units: units.collect(), machines: machines.collect() }
    }

    /// Another monitor of the same cluster, which starts later and reads this.
    fn later(&self, second: u64, registry: &RegistrySnapshot) -> TestCluster {
        let mut later = TestCluster {
            cluster: Cluster::new(Retention::from(GRACE)),
            start: self.start,
            events: vec![],
        };
        later.read_registry(second, registry);
        later
    }

    /// Learns from another monitor. Returns the names of the events.
    fn learn(&mut self, second: u64, peer: &PeerCluster) -> Vec<&'static str> {
        let at = self.start + Duration::from_secs(second);
        let transitions = self.cluster.learn(peer, at);
        self.record(&transitions)
    }
}

/// A monitor that has seen `b0.service` fail and m1 being lost, and one that starts later.
fn seen_and_not_seen() -> (TestCluster, TestCluster) {
    let failed = |states: Vec<UnitState>| -> Vec<UnitState> {
        let fail = |state: UnitState| match &*state.unit {
            "b0.service" => UnitState { active: Some("failed".into()), ..state },
            _ => state,
        };
        states.into_iter().map(fail).collect()
    };
    let mut seen = TestCluster::from_registry();
    seen.read_registry(
        10,
        &RegistrySnapshot { states: failed(seven_states()).into(), ..registry() },
    );
    let after = left_of_m1(failed(on_m2()));
    seen.read_registry(20, &after);
    seen.read_registry(30, &after);
    assert!(seen.member("m1").lost_since.is_some());

    let not_seen = seen.later(100, &after);
    (seen, not_seen)
}

/// All that is shown of a unit, but with times as they are sent.
fn shown(cluster: &TestCluster, unit: &str) -> Value {
    let unit = cluster.unit(unit).expect("a row");
    json!([
        unit.state.machine,
        unit.state.active,
        unit.verdict.name(),
        unit.reason,
        milliseconds(unit.since),
        unit.since_seen,
        milliseconds(unit.verdict_since),
        unit.verdict_since_seen,
        unit.stale_since.map(milliseconds),
    ])
}

#[test]
fn what_another_monitor_has_seen_is_shown_as_there() {
    let (seen, mut later) = seen_and_not_seen();
    assert_ne!(shown(&later, "b0.service"), shown(&seen, "b0.service"));

    assert_eq!(later.learn(101, &seen.shared(|_| {})), [""; 0]);

    for unit in ["a.service", "b0.service", "b1.service", "z.service"] {
        assert_eq!(shown(&later, unit), shown(&seen, unit), "{unit}");
    }
    let [found, expected] = [later.member("m1"), seen.member("m1")];
    assert_eq!(found.machine.ip, expected.machine.ip);
    assert_eq!(found.ran, expected.ran);
    assert_eq!(found.lost_since.map(milliseconds), expected.lost_since.map(milliseconds));
    assert_eq!(later.view().units.len(), seen.view().units.len());

    // Once more changes nothing.
    let view = later.view().clone();
    assert_eq!(later.learn(102, &seen.shared(|_| {})), [""; 0]);
    assert_eq!(*later.view(), view);

    // And from there it goes on by itself.
    let at_home = RegistrySnapshot { states: seven_states().into(), ..registry() };
    assert!(later.read_registry(110, &at_home).contains(&"machine_joined"));
    assert!(later.member("m1").lost_since.is_none());
}

#[test]
fn what_this_monitor_has_seen_stays() {
    let (seen, _) = seen_and_not_seen();
    let mut other = TestCluster::from_registry();
    other.start = seen.start;
    let before: Vec<Value> = ["a.service", "b1.service"].map(|unit| shown(&other, unit)).into();

    // Here m1 is in the cluster, and everything runs.
    let earlier = |json: &mut Value| json["since"] = json!(1);
    other.learn(40, &seen.shared(earlier));
    assert!(other.member("m1").lost_since.is_none());
    assert_eq!(other.verdict("b0.service"), Some(Verdict::Ok), "not failed");
    assert_eq!(shown(&other, "a.service"), before[0]);

    // The state of this one is the same; that one knows an earlier beginning.
    assert_eq!(other.unit("b1.service").map(|unit| milliseconds(unit.since)), Some(1));
    other.read_registry(50, &left_of_m1(seven_states()));
    let failed = state("b1.service", "m2", "failed");
    let mut states = seven_states();
    states[2] = failed;
    other.read_registry(60, &RegistrySnapshot { states: states.into(), ..registry() });
    let seen_here = shown(&other, "b1.service");
    let earlier_failure = |json: &mut Value| {
        json["active"] = json!("failed");
        json["since"] = json!(1);
    };
    other.learn(61, &seen.shared(earlier_failure));
    assert_eq!(shown(&other, "b1.service"), seen_here);
}

#[test]
fn rows_of_units_that_fleet_does_not_have_are_not_learned() {
    let (seen, mut later) = seen_and_not_seen();
    let invent = |json: &mut Value| {
        if json["unit"] == "a.service" {
            json["unit"] = json!("invented.service");
        }
    };
    later.learn(101, &seen.shared(invent));
    assert_eq!(later.verdict("invented.service"), None);
    assert_eq!(later.verdict("z.service"), Some(Verdict::MachineLost));
}

#[test]
fn what_lies_in_the_future_or_was_lost_too_long_ago_is_not_learned() {
    for lost in [-3601, 600] {
        let (seen, mut later) = seen_and_not_seen();
        let base = i64::try_from(milliseconds(later.start.wall)).unwrap();
        let lie = |json: &mut Value| {
            if json.get("lost_since").is_some() {
                json["lost_since"] = json!(base + lost * 1000 + 100_000);
            }
        };
        let mut shared = seen.shared(lie);
        shared.remove_future((later.start + Duration::from_secs(101)).wall);
        later.learn(101, &shared);
        assert_eq!(later.view().machines.len(), 3, "{lost}");
    }
}
