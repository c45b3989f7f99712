//! Unit states in a watched registry: deleted, expired, renewed late.

use std::time::Duration;

use super::{
    TestCluster, a_on_m1, file, registry, seven_files, seven_states, state, targeted, without_a,
    without_b,
};
use crate::cluster::{Reading, RegistrySnapshot, UnitFile, Verdict};

#[test]
fn a_deleted_state_is_gone_unless_it_is_set_again_at_once() {
    for target in [Some("m3"), None] {
        let mut cluster = TestCluster::from_registry();
        assert_eq!(cluster.read_registry(1, &targeted(registry(), target)), [""; 0]);
        assert_eq!(
            cluster.verdict("a.service"),
            Some(Verdict::Ghost),
            "its machine still reports it"
        );

        let mut read = |millis, registry| {
            cluster.read_after(Duration::from_millis(millis), Reading::Registry(registry))
        };
        assert_eq!(read(2000, targeted(without_a(), target)), [""; 0]);
        assert_eq!(
            read(2004, targeted(registry(), target)),
            [""; 0],
            "it is deleted and set again"
        );
        assert_eq!(read(3000, targeted(without_a(), target)), [""; 0]);
        assert_eq!(read(3499, targeted(without_a(), target)), [""; 0]);
        assert_eq!(read(3500, targeted(without_a(), target)), ["gone"]);
    }
}

#[test]
fn a_deleted_state_that_fleet_wants_is_kept_for_the_grace() {
    let mut cluster = TestCluster::from_registry();

    assert_eq!(cluster.read_registry(1, &without_a()), [""; 0]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Stale));
    assert_eq!(
        cluster.read_registry(3, &registry()),
        [""; 0],
        "a fleetd that restarts is no event"
    );
    assert_eq!(cluster.health().held_back, 1);
    cluster.read_registry(10, &without_a());
    assert_eq!(cluster.read_registry(13, &without_a()), ["stale"], "a longer absence is");
    assert_eq!(cluster.read_registry(39, &without_a()), [""; 0]);
    assert_eq!(cluster.read_registry(40, &without_a()), ["gone"], "after the grace");
}

#[test]
fn the_age_of_an_expired_state_counts_from_its_last_renewal() {
    let mut cluster = TestCluster::from_registry();
    let overdue = RegistrySnapshot {
        overdue: vec![(a_on_m1(), Duration::from_secs(26))],
        ..registry()
    };
    assert_eq!(cluster.read_registry(26, &overdue), [""; 0]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Stale));

    let since = cluster.view().units.iter().next().unwrap().stale_since;
    assert_eq!(since, Some(cluster.start.wall), "its age counts from its last renewal");
    assert_eq!(
        cluster.read_registry(
            28,
            &RegistrySnapshot {
                overdue: vec![(a_on_m1(), Duration::from_secs(28))],
                ..registry()
            }
        ),
        [""; 0]
    );
    assert_eq!(
        cluster.read_registry(30, &RegistrySnapshot { expired: vec![a_on_m1()], ..without_a() }),
        [""; 0]
    );
    assert_eq!(
        cluster.view().units.iter().next().unwrap().stale_since,
        since,
        "and is still the same"
    );
    assert_eq!(cluster.read_registry(33, &without_a()), ["stale"]);
    assert!(
        cluster.reason("a.service").contains("expire"),
        "{}",
        cluster.reason("a.service")
    );
    assert_eq!(cluster.read_registry(59, &without_a()), [""; 0]);
    assert_eq!(
        cluster.read_registry(60, &without_a()),
        ["gone"],
        "its machine has always reported others"
    );
}

#[test]
fn an_expired_state_is_not_gone_because_fleet_removes_its_target() {
    let mut cluster = TestCluster::from_registry();
    cluster.read_registry(1, &RegistrySnapshot { expired: vec![a_on_m1()], ..without_a() });
    // The engine removes the target 1.1 s after a machine is lost, and sets the same one again when
    // the machine is back.
    assert_eq!(cluster.read_registry(2, &targeted(without_a(), None)), [""; 0]);
    assert_eq!(cluster.read_registry(3, &targeted(without_a(), Some("m3"))), [""; 0]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Stale));

    let mut states = without_a().states.to_vec();
    states.push(state("a.service", "m3", "active"));
    let moved = RegistrySnapshot { states: states.into(), ..targeted(registry(), Some("m3")) };
    assert_eq!(cluster.read_registry(4, &moved), ["appeared", "gone"]);
}

#[test]
fn a_state_that_is_renewed_late_is_no_event() {
    let mut cluster = TestCluster::from_registry();

    cluster.read_registry(
        26,
        &RegistrySnapshot {
            overdue: vec![(a_on_m1(), Duration::from_secs(26))],
            ..registry()
        },
    );
    assert_eq!(cluster.read_registry(27, &registry()), [""; 0]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Ok));
    assert_eq!(cluster.view().units.iter().next().unwrap().stale_since, None);
}

#[test]
fn states_of_a_global_unit_that_one_fleetd_deleted_on_all_machines_are_no_event() {
    let mut states = seven_states();
    let mut files = seven_files();
    let everywhere = ["m1", "m2", "m3", "m4"];
    states.extend(everywhere.map(|id| state("global.service", id, "active")));
    files.push(UnitFile { global: true, ..file("global.service", "launched", None) });

    let whole = RegistrySnapshot { states: states.into(), files: files.into(), ..registry() };
    let mut cluster = TestCluster::empty();
    cluster.read_registry(0, &whole);

    let without = RegistrySnapshot { states: seven_states().into(), ..whole.clone() };
    for second in 1..25 {
        assert_eq!(cluster.read_registry(second, &without), [""; 0]);
    }
    assert_eq!(cluster.verdict("global.service"), Some(Verdict::Stale));
    assert_eq!(cluster.read_registry(25, &whole), [""; 0]);
}

#[test]
fn an_expired_state_of_a_global_unit_is_gone_after_the_grace() {
    let global = || UnitFile { global: true, ..file("a.service", "launched", None) };
    let mut files = seven_files();
    files[0] = global();

    let whole = RegistrySnapshot { files: files.into(), ..registry() };
    let mut cluster = TestCluster::empty();
    cluster.read_registry(0, &whole);

    let without = RegistrySnapshot { states: seven_states()[1..].into(), ..whole };
    cluster.read_registry(1, &RegistrySnapshot { expired: vec![a_on_m1()], ..without.clone() });
    assert_eq!(cluster.read_registry(4, &without), ["stale"]);
    assert_eq!(
        cluster.read_registry(31, &without),
        ["gone"],
        "its machine is there, but its requirements may have changed"
    );
}

#[test]
fn states_that_expire_on_one_machine_do_not_make_the_source_suspect() {
    let mut cluster = TestCluster::from_registry();
    let (expired, left) = without_b(4);
    cluster.read_registry(1, &RegistrySnapshot { expired, ..left.clone() });
    assert_eq!(cluster.read_registry(4, &left), ["stale"; 4]);
    assert_eq!(cluster.health().suspect_since, None);

    assert_eq!(cluster.read_registry(31, &left), ["gone"; 4]);

    let one_each = RegistrySnapshot { states: left.states[1..].into(), ..left };
    cluster.read_registry(100, &one_each);
    assert_eq!(
        cluster.read_registry(103, &one_each),
        ["stale"],
        "the state was deleted, not expired"
    );
    assert_eq!(cluster.read_registry(130, &one_each), ["gone"]);
}

/// A restarting fleetd sets its keys again within 3 s. Until then, an empty registry is no reason
/// for a suspicion.
#[test]
fn an_empty_registry_makes_the_source_suspect_once_a_restart_would_be_over() {
    let mut cluster = TestCluster::from_registry();
    let empty = RegistrySnapshot { states: [].into(), machines: [].into(), ..registry() };

    for second in 10..13 {
        assert_eq!(cluster.read_registry(second, &empty), [""; 0], "{second} s");
    }
    assert_eq!(cluster.read_registry(13, &empty), ["source_suspect"]);
}
