//! Lost machines in lists that are polled, and their rows.

use super::{TestCluster, files, machines, on_m2, seven_files, seven_states, state, units};
use crate::builders;
use crate::cluster::{
    Event, FleetList, Machine, MachineDetails, Reading, UnitFile, UnitState, Verdict,
};

/// A cluster that m1 has left, with the rows of its units.
fn without_m1() -> TestCluster {
    let mut cluster = TestCluster::new();
    assert_eq!(cluster.read(2, machines(&["m2", "m3", "m4"])), ["machine_lost"]);
    assert_eq!(cluster.read(4, units(&on_m2())), [""; 0], "fleet still wants them on m1");
    cluster
}

#[test]
fn an_incomplete_list_of_machines_after_an_outage_loses_no_machine() {
    let mut cluster = TestCluster::new();

    cluster.fail(2, FleetList::Machines);
    assert_eq!(cluster.read(4, machines(&["m2"])), ["source_back"]);
    assert_eq!(cluster.read(14, machines(&["m2", "m1"])), [""; 0]);
    assert_eq!(
        cluster.read(34, machines(&["m2", "m1"])),
        ["machine_lost", "machine_lost"],
        "m3 and m4 have really left"
    );
}

#[test]
fn an_empty_list_of_machines_is_ignored() {
    let mut cluster = TestCluster::new();

    assert_eq!(cluster.read(2, machines(&[])), [""; 0]);
    assert!(
        cluster
            .view()
            .machines
            .iter()
            .all(|machine| machine.lost_since.is_none())
    );
}

#[test]
fn an_active_unit_on_a_machine_that_left_is_lost() {
    let mut cluster = TestCluster::new();
    let mut states = seven_states();

    for state in states
        .iter_mut()
        .filter(|state| state.machine.as_deref() == Some("m1"))
    {
        state.ip = None;
    }
    cluster.read(2, units(&states));
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::MachineLost));
    assert_eq!(cluster.read(2, machines(&["m2", "m3", "m4"])), ["machine_lost"]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::MachineLost));
}

#[test]
fn a_unit_of_a_lost_machine_is_gone_when_fleet_has_it_elsewhere() {
    let mut cluster = without_m1();
    let mut wanted = seven_files();
    wanted[0].target = Some("m3".into());
    assert_eq!(cluster.read(6, files(&wanted)), [""; 0], "m3 does not report it yet");
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::MachineLost));

    let mut states = on_m2();
    states.push(state("a.service", "m3", "active"));
    assert_eq!(cluster.read(8, units(&states)), ["appeared", "gone"]);
    let Some(Event::Gone { reason, .. }) = cluster.events.last() else {
        panic!("{:?}", cluster.events)
    };
    assert_eq!(*reason, "its machine is lost, and fleet has moved it to another one");
    assert_eq!(cluster.verdict("z.service"), Some(Verdict::MachineLost));
}

#[test]
fn a_unit_of_a_lost_machine_is_gone_when_fleet_does_not_want_it() {
    let mut cluster = without_m1();
    assert_eq!(cluster.read(6, files(&seven_files()[1..])), ["gone"]);
    assert_eq!(cluster.verdict("z.service"), Some(Verdict::MachineLost));
}

#[test]
fn the_units_of_a_lost_machine_are_gone_after_the_keep_time_and_the_machine_with_them() {
    let mut cluster = without_m1();
    assert_eq!(cluster.read(3601, units(&on_m2())), [""; 0]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::MachineLost));
    assert!(cluster.member("m1").lost_since.is_some(), "it still has rows");

    assert_eq!(cluster.read(3602, units(&on_m2())), ["gone"; 2]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::MachineLost), "fleet wants it there");
    assert_eq!(cluster.view().machines.len(), 3);
}

#[test]
fn a_lost_machine_is_remembered_until_the_keep_time_is_over() {
    let mut cluster = TestCluster::new();

    cluster.read(2, machines(&["m1", "m2", "m3"]));
    assert_eq!(
        cluster
            .view()
            .machines
            .iter()
            .filter(|machine| machine.lost_since.is_some())
            .count(),
        1
    );
    cluster.read(3601, machines(&["m1", "m2", "m3"]));
    assert_eq!(cluster.view().machines.len(), 4);
    cluster.read(3602, machines(&["m1", "m2", "m3"]));
    assert_eq!(cluster.view().machines.len(), 3);
    assert_eq!(cluster.read(3612, machines(&["m1", "m2", "m3", "m4"])), ["machine_joined"]);
}

#[test]
fn a_machine_without_an_address_is_not_lost() {
    let mut cluster = TestCluster::empty();
    cluster.read(0, Reading::Machines { machines: vec![builders::machine("m1")] });
    let unit = UnitState { ip: None, ..state("a.service", "m1", "active") };
    cluster.read(0, units(&[unit]));
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Ok));
}

#[test]
fn a_row_has_the_address_and_the_metadata_of_its_machine_or_target() {
    let with_metadata = |metadata: &str| {
        let known = |id| Machine {
            ip: Some("10.0.0.9".into()),
            metadata: Some(metadata.into()),
            ..builders::machine(id)
        };
        Reading::Machines { machines: ["m1", "m2", "m3", "m4"].map(known).to_vec() }
    };
    let details = |metadata: &str| {
        Some(MachineDetails { ip: Some("10.0.0.9".into()), metadata: Some(metadata.into()) })
    };
    let of = |cluster: &TestCluster, unit| cluster.unit(unit).map(|row| row.machine.clone());
    let submitted = UnitFile {
        desired: Some("inactive".into()),
        ..builders::unit_file("s", None)
    };
    let waiting = builders::unit_file("waiting.service", Some("m3"));

    let mut cluster = TestCluster::new();
    cluster.read(1, files(&[seven_files(), vec![submitted, waiting]].concat()));
    for (second, metadata) in [(2, "role=web"), (12, "role=db")] {
        cluster.read(second, with_metadata(metadata));
        assert_eq!(of(&cluster, "a.service"), details(metadata), "of its machine");
        assert_eq!(of(&cluster, "waiting.service"), details(metadata), "of its target");
        assert_eq!(of(&cluster, "s"), Some(MachineDetails::default()), "it has neither");
    }
}
