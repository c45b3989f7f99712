//! Machines in a watched registry: silent, lost, returned.

use std::sync::Arc;
use std::time::Duration;

use super::{
    TestCluster, a_on_m1, file, machine, on_m2, registry, seven_files, seven_states, state,
    targeted, without_a, without_b,
};
use crate::cluster::{FleetList, Lease, Machine, RegistrySnapshot, UnitFile, Verdict};

/// The same without the states of m1, all of which have expired.
fn without_states_of_m1() -> RegistrySnapshot {
    let z_on_m1 = Lease::Unit("z.service".into(), "m1".into());
    RegistrySnapshot {
        states: on_m2().into(),
        expired: vec![a_on_m1(), z_on_m1],
        ..registry()
    }
}

/// A cluster in which m1 and its states expired at 20 s, and m1 rejoined at 40 s and has not
/// reported anything yet.
fn with_m1_back() -> TestCluster {
    let mut cluster = TestCluster::from_registry();
    let lost = without_states_of_m1();
    let machines = ["m2", "m3", "m4"].map(machine).into();
    let expired = [lost.expired.clone(), vec![Lease::Machine("m1".into())]].concat();

    assert_eq!(
        cluster.read_registry(20, &RegistrySnapshot { machines, expired, ..lost }),
        ["machine_lost"]
    );
    assert_eq!(cluster.read_registry(40, &without_states_of_m1()), ["machine_joined"]);
    cluster
}

#[test]
fn a_machine_is_silent_before_it_is_lost() {
    let mut cluster = TestCluster::from_registry();
    let m2 = || Lease::Machine("m2".into());
    let silent = RegistrySnapshot { overdue: vec![(m2(), Duration::from_secs(23))], ..registry() };
    assert_eq!(cluster.read_registry(23, &silent), ["machine_silent"]);
    assert_eq!(cluster.member("m2").silent_since, Some(cluster.start.wall));
    assert_eq!(cluster.read_registry(24, &silent), [""; 0], "one event only");
    assert_eq!(cluster.read_registry(25, &registry()), ["machine_heard"]);
    cluster.read_registry(48, &silent);

    let machines: Arc<[Machine]> = ["m1", "m3", "m4"].map(machine).into();
    let lost = RegistrySnapshot { machines, expired: vec![m2()], ..registry() };
    assert_eq!(cluster.read_registry(55, &lost), ["machine_lost"]);

    let member = cluster.member("m2");
    assert!(member.lost_since.is_some() && member.silent_since.is_none());
}

#[test]
fn a_machine_whose_key_was_deleted_may_be_restarting() {
    let mut cluster = TestCluster::from_registry();
    let mut states = seven_states();
    states[1..].iter_mut().for_each(|state| state.ip = None);

    let machines = ["m1", "m3", "m4"].map(machine).into();
    let without = RegistrySnapshot { states: states.into(), machines, ..registry() };
    assert_eq!(cluster.read_registry(1, &without), [""; 0]);
    assert_eq!(cluster.member("m2").silent_since, None);
    assert_eq!(cluster.read_registry(2, &without), [""; 0]);
    assert_eq!(
        cluster.member("m2").silent_since,
        Some(cluster.start.wall + Duration::from_secs(1))
    );
    assert_eq!(cluster.verdict("b0.service"), Some(Verdict::Ok), "its units are still reported");
    assert_eq!(cluster.read_registry(3, &registry()), [""; 0]);
    assert_eq!(cluster.member("m2").silent_since, None);
    cluster.read_registry(10, &without);
    assert_eq!(cluster.read_registry(13, &without), ["machine_lost"]);
    assert_eq!(cluster.verdict("b0.service"), Some(Verdict::MachineLost));
}

#[test]
fn no_machine_is_lost_because_etcd_was_down() {
    let mut cluster = TestCluster::from_registry();
    let all = |ids: &[&str]| ids.iter().map(|id| Lease::Machine((*id).into())).collect();
    for list in FleetList::ALL {
        cluster.fail(10, list);
    }

    // All keys that expired during the outage are missing afterwards.
    let bare = RegistrySnapshot {
        states: [].into(),
        machines: ["m1"].map(machine).into(),
        expired: all(&["m2", "m3", "m4"]),
        ..registry()
    };
    let late = Lease::Machine("m1".into());
    let bare = RegistrySnapshot { overdue: vec![(late, Duration::from_secs(30))], ..bare };
    assert_eq!(cluster.read_registry(80, &bare), ["source_back"]);
    assert_eq!(cluster.member("m1").silent_since, None);
    assert_eq!(cluster.read_registry(83, &bare), ["source_suspect"]);
    assert_eq!(cluster.read_registry(90, &registry()), [""; 0]);
    assert_eq!(cluster.count("gone") + cluster.count("machine_lost"), 0);
}

#[test]
fn a_silent_machine_stays_silent_through_an_outage() {
    let mut cluster = TestCluster::from_registry();
    let silent = |seconds| RegistrySnapshot {
        overdue: vec![(Lease::Machine("m2".into()), Duration::from_secs(seconds))],
        ..registry()
    };

    assert_eq!(cluster.read_registry(23, &silent(23)), ["machine_silent"]);
    cluster.fail(24, FleetList::Units);
    assert_eq!(cluster.read_registry(25, &silent(25)), ["source_back"]);
    assert!(cluster.member("m2").silent_since.is_some());
    assert_eq!(cluster.read_registry(26, &registry()), ["machine_heard"]);
}

#[test]
fn a_machine_that_reports_none_of_its_units_is_silent_and_its_rows_are_kept() {
    let mut cluster = TestCluster::from_registry();
    let (expired, left) = without_b(5);
    assert_eq!(cluster.read_registry(1, &RegistrySnapshot { expired, ..left.clone() }), [""; 0]);
    assert_eq!(cluster.read_registry(3, &left), [""; 0]);
    assert_eq!(cluster.read_registry(4, &left), ["machine_silent"]);
    assert_eq!(
        cluster.member("m2").silent_since,
        Some(cluster.start.wall + Duration::from_secs(1))
    );
    assert_eq!(cluster.verdict("b0.service"), Some(Verdict::Stale));

    assert_eq!(cluster.read_registry(1000, &left), [""; 0], "the grace does not run");
    assert_eq!(cluster.read_registry(1001, &registry()), ["machine_heard"]);
    assert_eq!(cluster.verdict("b0.service"), Some(Verdict::Ok));
}

#[test]
fn a_machine_is_not_silent_because_its_only_unit_is_not_reported() {
    let whole = RegistrySnapshot {
        states: [state("a.service", "m1", "active")].into(),
        files: seven_files()[..1].into(),
        ..registry()
    };
    let mut cluster = TestCluster::empty();
    cluster.read_registry(0, &whole);

    let none = RegistrySnapshot { states: [].into(), ..whole };
    for second in 1..100 {
        assert_eq!(cluster.read_registry(second, &none), [""; 0]);
    }
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Stale));
    assert_eq!(cluster.member("m1").silent_since, None);
}

#[test]
fn the_leading_machine_is_shown() {
    let mut cluster = TestCluster::from_registry();
    assert!(cluster.member("m1").leads && !cluster.member("m2").leads);
    assert_eq!(
        cluster.read_registry(1, &RegistrySnapshot { leader: None, ..registry() }),
        [""; 0]
    );
    assert!(!cluster.member("m1").leads);
}

#[test]
fn the_grace_of_rows_on_a_returned_machine_runs_from_its_first_report() {
    let mut cluster = with_m1_back();
    assert_eq!(
        cluster.read_registry(1000, &without_states_of_m1()),
        [""; 0],
        "the grace does not run"
    );
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::MachineLost));
    assert!(
        cluster
            .reason("a.service")
            .starts_with("Its machine is back in the cluster and has not reported any unit yet")
    );

    assert_eq!(cluster.read_registry(1001, &without_a()), [""; 0], "it reports z.service");
    assert_eq!(cluster.read_registry(1030, &without_a()), [""; 0], "the grace runs from there");
    assert_eq!(
        cluster.verdict("a.service"),
        Some(Verdict::MachineLost),
        "the row is still lost"
    );
    assert_eq!(cluster.read_registry(1031, &without_a()), ["gone"]);
}

#[test]
fn a_returned_machine_that_reports_all_its_units_has_lost_none() {
    let mut cluster = with_m1_back();
    assert_eq!(cluster.read_registry(80, &registry()), [""; 0]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Ok));
    assert_eq!(cluster.health().held_back, 2);
}

#[test]
fn a_unit_that_fleet_removed_from_a_lost_machine_is_gone_soon_after_that_reports_others() {
    let mut cluster = with_m1_back();

    assert_eq!(cluster.read_registry(50, &targeted(without_states_of_m1(), None)), [""; 0]);
    assert_eq!(cluster.read_registry(60, &targeted(without_a(), None)), [""; 0]);
    assert_eq!(
        cluster.read_registry(62, &targeted(without_a(), None)),
        [""; 0],
        "it sets one state after the other"
    );
    assert_eq!(cluster.read_registry(63, &targeted(without_a(), None)), ["gone"]);
}

/// A fleetd that was killed joins up to 51 s before it publishes a state. A monitor that starts
/// meanwhile does not know what it will report.
#[test]
fn a_machine_that_has_not_reported_yet_has_more_time_for_a_unit() {
    let mut cluster = TestCluster::empty();
    let global = UnitFile {
        global: true,
        requirements_known: true,
        ..file("agent.service", "launched", None)
    };
    let registry = RegistrySnapshot {
        states: [state("agent.service", "m1", "active")].into(),
        machines: ["m1", "m2"].map(machine).into(),
        files: [global].into(),
        ..RegistrySnapshot::default()
    };
    let on_second = |cluster: &TestCluster| {
        let unit = cluster
            .view()
            .units
            .get(&("agent.service".into(), Some("m2".into())))
            .cloned();
        unit.map(|unit| unit.verdict)
    };

    for second in [0, 11, 51, 59] {
        cluster.read_registry(second, &registry);
        assert_eq!(on_second(&cluster), Some(Verdict::Ok), "{second} s");
    }
    cluster.read_registry(60, &registry);
    assert_eq!(on_second(&cluster), Some(Verdict::Unreported));
}
