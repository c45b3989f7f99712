use proptest::prelude::{Just, Strategy, prop, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::changes::apply_changes;
use crate::cluster::UnitName;

const FLEET: &str = "/_coreos.com/fleet";
const STATE: &str = concat!(
    r#"{"loadState":"loaded","activeState":"active","subState":"running","#,
    r#""machineState":{"ID":"m1","PublicIP":"","Metadata":null},"unitHash":"5e2b"}"#,
);
const MACHINE: &str =
    r#"{"ID":"m1","PublicIP":"10.0.0.1","Metadata":{"role":"web"},"Version":"1.0.0"}"#;

fn empty_tree() -> Node {
    serde_json::from_value(serde_json::json!({"key": FLEET, "dir": true})).unwrap()
}

/// A key tree, its clock and etcd's index.
struct TestTree {
    tree: KeyTree,
    start: Instant,
    index: u64,
}

impl TestTree {
    /// A tree with `a.service` on m1. All TTLs are 30 s, from second 0 on.
    fn new() -> Self {
        let mut tree = KeyTree::new(FLEET);
        let start = Instant::now();
        tree.load(empty_tree(), 10, start);
        let mut test = Self { tree, start, index: 10 };
        test.event(0, "set", "machines/m1/object", Some(MACHINE), Some(30));
        test.event(0, "set", "states/a.service/m1", Some(STATE), Some(30));
        test.snapshot(0);
        test
    }

    fn at(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    fn event(
        &mut self,
        second: u64,
        action: &str,
        key: &str,
        value: Option<&str>,
        ttl: Option<u64>,
    ) {
        self.index += 1;
        let mut node =
            serde_json::json!({"key": format!("{FLEET}/{key}"), "modifiedIndex": self.index});
        if let Some(value) = value {
            node["value"] = value.into();
        }
        if let Some(ttl) = ttl {
            node["ttl"] = ttl.into();
            node["expiration"] = "2026-11-23T08:07:17Z".into();
        }
        let event = serde_json::json!({"action": action, "node": node});
        let event = serde_json::from_value(event).unwrap();
        self.tree.apply(&event, self.at(second));
    }

    fn changes(&mut self, second: u64) -> Vec<Observation> {
        self.tree.changes(self.at(second))
    }

    fn snapshot(&mut self, second: u64) -> RegistrySnapshot {
        self.tree.snapshot(self.at(second))
    }
}

fn machine_lease() -> Lease {
    Lease::Machine("m1".into())
}

fn unit_lease() -> Lease {
    Lease::Unit("a.service".into(), "m1".into())
}

#[test]
fn a_renewal_changes_nothing_but_the_expiry() {
    let mut test = TestTree::new();
    assert_eq!(test.snapshot(25).states[0].ip.as_deref(), Some("10.0.0.1"));

    test.event(25, "set", "states/a.service/m1", Some(STATE), Some(30));

    assert!(!test.tree.has_changed());
    assert_eq!(test.changes(26), []);
}

#[test]
fn a_lease_that_is_not_renewed_is_overdue_and_then_expired() {
    let mut test = TestTree::new();
    assert_eq!(test.snapshot(22).overdue, []);
    assert_eq!(test.snapshot(23).overdue, [(machine_lease(), Duration::from_secs(23))]);

    test.event(24, "update", "machines/m1/object", Some(MACHINE), Some(30));
    assert_eq!(test.snapshot(25).overdue, []);
    assert_eq!(test.snapshot(27).overdue, []);
    assert_eq!(test.snapshot(28).overdue, [(unit_lease(), Duration::from_secs(28))]);

    test.event(30, "expire", "states/a.service/m1", None, None);
    let snapshot = test.snapshot(30);
    assert_eq!(snapshot.states.len(), 0);
    assert_eq!(snapshot.expired, [unit_lease()]);
    assert_eq!(snapshot.overdue, []);
    assert_eq!(test.snapshot(31).expired, [], "reported once");
}

#[test]
fn a_lease_with_a_shorter_ttl_is_overdue_sooner() {
    let mut test = TestTree::new();
    test.event(1, "set", "states/a.service/m1", Some(STATE), Some(20));
    assert_eq!(test.snapshot(19).overdue, []);
    assert_eq!(test.snapshot(20).overdue, [(unit_lease(), Duration::from_secs(19))]);
}

#[test]
fn a_key_that_is_set_again_has_not_expired() {
    let mut test = TestTree::new();
    let before = test.snapshot(0).states;

    test.event(30, "expire", "states/a.service/m1", None, None);
    test.event(30, "set", "states/a.service/m1", Some(STATE), Some(30));

    let snapshot = test.snapshot(30);
    assert_eq!(snapshot.expired, []);
    assert_eq!(before, snapshot.states);
}

#[test]
fn deleting_a_directory_deletes_the_keys_in_it_and_no_others() {
    let mut test = TestTree::new();
    test.event(1, "set", "states/a.service/m2", Some(STATE), Some(30));
    test.event(1, "set", "states/a.service2/m1", Some(STATE), Some(30));
    test.event(1, "set", "states/a.servic/m1", Some(STATE), Some(30));

    test.event(2, "delete", "states/a.service", None, None);

    let snapshot = test.snapshot(2);
    let left: Vec<&str> = snapshot.states.iter().map(|state| &*state.unit).collect();
    assert_eq!(left, ["a.servic", "a.service2"]);
    assert_eq!(snapshot.expired, [], "it was deleted");
}

#[test]
fn states_of_an_old_fleet_count_until_a_new_one_writes_its_own() {
    let mut tree = KeyTree::new(FLEET);
    let now = Instant::now();
    tree.load(empty_tree(), 10, now);
    let mut test = TestTree { tree, start: now, index: 10 };
    test.event(0, "set", "state/a.service", Some(STATE), None);
    let snapshot = test.snapshot(0);
    assert_eq!(snapshot.states[0].machine.as_deref(), Some("m1"));

    test.event(1, "set", "states/b.service/m2", Some(STATE), Some(30));
    test.event(1, "set", "state/b.service", Some(STATE), Some(30));
    let units: Vec<UnitName> = test
        .snapshot(1)
        .states
        .iter()
        .map(|state| state.unit.clone())
        .collect();
    assert_eq!(units, ["b.service".into()]);
}

#[test]
fn metadata_that_was_set_later_counts() {
    let mut test = TestTree::new();
    test.event(1, "set", "machines/m1/metadata/rack", Some("7"), None);
    test.event(1, "set", "machines/m1/metadata/role", Some(""), None);
    assert_eq!(test.snapshot(1).machines[0].metadata.as_deref(), Some("rack=7"));

    test.event(2, "delete", "machines/m1/metadata/role", None, None);
    assert_eq!(test.snapshot(2).machines[0].metadata.as_deref(), Some("rack=7,role=web"));
}

#[test]
fn control_characters_are_replaced_in_keys_and_values() {
    let mut test = TestTree::new();
    test.event(1, "set", "machines/m1/metadata/rack", Some("7\tleft,\x1b[31mred"), None);
    test.event(1, "set", "states/a\n.service/m1", Some(STATE), Some(30));
    test.event(1, "set", "job/a\n.service/object", Some("{}"), None);
    test.event(1, "set", "job/a\n.service/target-state", Some("launched\r\n"), None);

    let snapshot = test.snapshot(1);
    assert_eq!(
        snapshot.machines[0].metadata.as_deref(),
        Some("rack=7\tleft,\u{fffd}[31mred,role=web")
    );
    assert_eq!(snapshot.states[1].unit, "a\u{fffd}.service".into());
    assert_eq!(snapshot.files[0].unit, snapshot.states[1].unit);
    assert_eq!(snapshot.files[0].desired.as_deref(), Some("launched\u{fffd}\u{fffd}"));
}

#[test]
fn invalid_values_are_ignored() {
    let mut test = TestTree::new();
    for key in [
        "machines/m2/object",
        "states/b.service/m1",
        "lease/engine-leader",
        "job/b.service/object",
    ] {
        test.event(1, "set", key, Some("nonsense"), None);
    }

    let snapshot = test.snapshot(1);
    assert_eq!(snapshot.machines.len(), 1);
    assert_eq!(snapshot.states.len(), 1);
    assert_eq!(snapshot.leader, None);
    assert_eq!(&*snapshot.files[0].unit, "b.service");
    assert_eq!(snapshot.files[0].hash, None);
}

#[test]
fn a_comparison_finds_what_the_watch_missed() {
    let tree = |nodes: &[(&str, &str, u64)]| {
        let leaf = |(key, value, index): &(&str, &str, u64)| {
            let key = format!("{FLEET}/{key}");
            serde_json::json!({"key": key, "value": value, "modifiedIndex": index})
        };
        let nodes: Vec<_> = nodes.iter().map(leaf).collect();
        let states =
            serde_json::json!({"key": format!("{FLEET}/states"), "dir": true, "nodes": nodes});
        let tree = serde_json::json!({"key": FLEET, "dir": true, "nodes": [states]});
        serde_json::from_value::<Node>(tree).unwrap()
    };
    let machine = ("machines/m1/object", MACHINE, 11);
    let a = ("states/a.service/m1", STATE, 12);
    let differences = |events: &[(&str, &str)], index: u64, nodes: &[(&str, &str, u64)]| {
        let mut test = TestTree::new();
        test.tree.begin_comparison();
        for (action, key) in events {
            test.event(1, action, key, Some(STATE).filter(|_| *action == "set"), Some(30));
        }
        test.tree.count_differences(tree(nodes), index)
    };

    let b = ("states/b.service/m1", STATE, 13);
    let newer_a = ("states/a.service/m1", "{}", 13);
    assert_eq!(differences(&[], 12, &[machine, a]), 0);
    assert_eq!(differences(&[], 12, &[machine]), 1, "etcd does not have it any more");
    assert_eq!(differences(&[], 13, &[machine, a, b]), 1, "the watch lacks it");
    assert_eq!(differences(&[], 13, &[machine, newer_a]), 1, "the watch has an older value");

    // A change after the tree was read is no difference.
    assert_eq!(differences(&[("set", "states/b.service/m1")], 12, &[machine, a]), 0);
    assert_eq!(differences(&[("set", "states/a.service/m1")], 12, &[machine, a]), 0);
    assert_eq!(differences(&[("delete", "states/a.service")], 12, &[machine, a]), 0);
    let deleted = differences(&[("delete", "states/a.service")], 13, &[machine, a]);
    assert_eq!(deleted, 1, "it existed after the deletion");
}

#[test]
fn an_event_yields_its_own_change_and_no_other() {
    let mut test = TestTree::new();
    let state = |sub: &str| STATE.replace("running", sub);
    let job = r#"{"UnitHash":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}"#;
    let hash = "0102030405060708090a0b0c0d0e0f1011121314";

    test.event(1, "set", "states/a.service/m1", Some(&state("exited")), Some(30));
    let changes = test.changes(1);
    let [Observation::Reported(reported)] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(reported.sub.as_deref(), Some("exited"));

    test.event(2, "set", "job/a.service/object", Some(job), None);
    test.event(2, "set", "job/a.service/target-state", Some("launched"), None);
    let changes = test.changes(2);
    let [Observation::Wanted(file)] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(file.desired.as_deref(), Some("launched"));
    assert_eq!(file.hash.as_deref(), Some(hash));

    // The unit file is written after the job that refers to it.
    let text = r#"{"Raw":"[Unit]\nDescription=A"}"#;
    test.event(3, "set", &format!("unit/{hash}"), Some(text), None);
    let changes = test.changes(3);
    let [Observation::Wanted(file)] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(file.description.as_deref(), Some("A"));

    test.event(4, "set", "lease/engine-leader", Some(r#"{"MachineID":"m1"}"#), Some(10));
    assert_eq!(test.changes(4), [Observation::Leads(Some("m1".into()))]);

    test.event(5, "delete", "job/a.service", None, None);
    assert_eq!(test.changes(5), [Observation::NotWanted("a.service".into())]);

    test.event(6, "delete", "states/a.service/m1", None, None);
    test.event(6, "expire", "machines/m1/object", None, None);
    let ends = [Observation::Expired(machine_lease()), Observation::Deleted(unit_lease())];
    assert_eq!(test.changes(6), ends);
}

#[test]
fn a_key_that_is_set_again_at_once_was_not_deleted() {
    let mut test = TestTree::new();
    test.event(1, "delete", "states/a.service", None, None);
    test.event(1, "set", "states/a.service/m1", Some(STATE), Some(30));

    let changes = test.changes(1);

    assert!(matches!(&changes[..], [Observation::Reported(_)]), "{changes:?}");
}

#[test]
fn a_lease_is_overdue_once_and_renewed_once() {
    let mut test = TestTree::new();
    test.event(20, "update", "machines/m1/object", Some(MACHINE), Some(30));
    assert_eq!(test.changes(27), []);
    assert_eq!(test.changes(28), [Observation::Overdue(unit_lease(), Duration::from_secs(28))]);
    assert_eq!(test.changes(29), []);

    test.event(29, "set", "states/a.service/m1", Some(STATE), Some(30));

    assert!(test.tree.has_changed(), "it is reported at once");
    assert_eq!(test.changes(29), [Observation::Renewed(unit_lease())]);
}

#[test]
fn an_outage_of_etcd_makes_no_lease_overdue() {
    let mut test = TestTree::new();
    for second in (2..=20).step_by(2) {
        test.tree.record_received(test.at(second));
    }
    assert_eq!(test.changes(28).len(), 2);

    test.tree.record_received(test.at(30));

    let renewed = [
        Observation::Renewed(Lease::Machine("m1".into())),
        Observation::Renewed(unit_lease()),
    ];
    assert_eq!(test.changes(30)[..], renewed);
}

#[derive(Clone, Debug)]
enum TreeStep {
    Event {
        action: &'static str,
        key: String,
        value: Option<String>,
        ttl: Option<u64>,
    },
    Time(u64),
    Read,
}

fn any_step() -> impl Strategy<Value = TreeStep> {
    let state =
        (0..3, 0..2, 0..3_usize, "states|state").prop_map(|(unit, machine, sub, folder)| {
            let key = if folder == "state" {
                format!("state/u{unit}")
            } else {
                format!("states/u{unit}/m{machine}")
            };
            let value = STATE
                .replace("running", ["running", "exited", "failed"][sub])
                .replace("m1", &format!("m{machine}"));
            (key, Some(value), Some(30))
        });
    let machine = (0..2, 0..2).prop_map(|(id, ip)| {
        let value = MACHINE
            .replace("m1", &format!("m{id}"))
            .replace("0.0.1", &format!("0.0.{ip}"));
        (format!("machines/m{id}/object"), Some(value), Some(30))
    });
    let metadata = (0..2, "|7|8")
        .prop_map(|(id, value)| (format!("machines/m{id}/metadata/rack"), Some(value), None));
    let object = (0..3, 0..2).prop_map(|(unit, hash)| {
        (
            format!("job/u{unit}/object"),
            Some(format!(r#"{{"UnitHash":{:?}}}"#, [hash; 20])),
            None,
        )
    });
    let target = (0..3, "target|target-state", "m0|m1|launched|")
        .prop_map(|(unit, name, value)| (format!("job/u{unit}/{name}"), Some(value), None));
    let file = (0..2, "A|B").prop_map(|(hash, description)| {
        let key = format!("unit/{}", format!("{hash:02x}").repeat(20));
        (key, Some(format!(r#"{{"Raw":"[Unit]\nDescription={description}"}}"#)), None)
    });
    let leader = "m0|m1".prop_map(|id| {
        ("lease/engine-leader".into(), Some(format!(r#"{{"MachineID":"{id}"}}"#)), None)
    });
    let written = prop_oneof![
        4 => state,
        1 => machine,
        1 => metadata,
        2 => object,
        2 => target,
        1 => file,
        1 => leader,
    ];
    let folder =
        prop_oneof!["states|state|machines", "states/u[0-2]", "job/u[0-2]", "machines/m[01]"];
    let removed = prop_oneof![written.clone().prop_map(|(key, ..)| key), folder];

    prop_oneof![
        8 => written.prop_map(|(key, value, ttl)| {
            TreeStep::Event { action: "set", key, value, ttl }
        }),
        3 => (removed, "delete|expire").prop_map(|(key, action)| {
            let action = if action == "delete" { "delete" } else { "expire" };
            TreeStep::Event { action, key, value: None, ttl: None }
        }),
        1 => (1_u64..20).prop_map(TreeStep::Time),
        3 => Just(TreeStep::Read),
    ]
}

proptest! {
    /// A receiver that applies the changes has the same rows as a snapshot.
    #[test]
    fn applying_all_changes_leads_to_the_snapshot(
        steps in prop::collection::vec(any_step(), 0..60),
    ) {
        let mut test = TestTree::new();
        let mut witness = TestTree::new();
        let mut followed = test.snapshot(0);
        let mut second = 0;

        for step in steps.into_iter().chain([TreeStep::Read]) {
            match step {
                TreeStep::Event { action, key, value, ttl } => {
                    test.event(second, action, &key, value.as_deref(), ttl);
                    witness.event(second, action, &key, value.as_deref(), ttl);
                }
                TreeStep::Time(seconds) => second += seconds,
                TreeStep::Read => {
                    let changes = test.changes(second);
                    apply_changes(&mut followed, test.index, &changes);
                    let whole = witness.snapshot(second);
                    let leases = |snapshot: &RegistrySnapshot| -> BTreeSet<Lease> {
                        snapshot.overdue.iter().map(|(lease, _)| lease.clone()).collect()
                    };
                    prop_assert_eq!(&followed.states, &whole.states);
                    prop_assert_eq!(&followed.machines, &whole.machines);
                    prop_assert_eq!(&followed.files, &whole.files);
                    prop_assert_eq!(&followed.leader, &whole.leader);
                    prop_assert_eq!(leases(&followed), leases(&whole));
                }
            }
        }
    }
}
