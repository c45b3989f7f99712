//! Rows of lists that are polled: absent, back, moved, unloaded, unscheduled.

use std::sync::Arc;
use std::time::Duration;

use super::{TestCluster, file, files, machines, seven_files, seven_states, state, units};
use crate::cluster::{UnitFile, Verdict};

#[test]
fn a_row_that_one_list_lacks_is_no_event_but_counted_as_held_back() {
    let mut cluster = TestCluster::new();
    assert_eq!(cluster.read(2, units(&seven_states()[1..])), [""; 0]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Stale));
    assert_eq!(cluster.read(4, units(&seven_states())), [""; 0]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Ok));
    assert_eq!(cluster.health().held_back, 1);
}

#[test]
fn an_absent_row_is_stale_and_gone_after_the_grace() {
    let mut cluster = TestCluster::new();
    let others = || units(&seven_states()[1..]);

    cluster.read(2, others());
    assert_eq!(cluster.read(4, others()), ["stale"]);
    assert_eq!(cluster.read(31, others()), [""; 0]);
    assert_eq!(cluster.read(32, others()), ["gone"]);
    // fleet still wants it: it is shown as a unit that no machine reports.
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Unreported));
    assert_eq!(cluster.read(34, units(&seven_states())), ["appeared"]);
}

#[test]
fn a_stale_row_that_returns_is_back_with_its_state() {
    let mut cluster = TestCluster::new();
    cluster.read(2, units(&seven_states()[1..]));
    cluster.read(4, units(&seven_states()[1..]));
    let mut states = seven_states();
    states[0].active = Some("failed".into());
    assert_eq!(cluster.read(6, units(&states)), ["back"]);
    assert_eq!(cluster.events.last().unwrap().to(), Some("failed/running"));
}

#[test]
fn an_absent_row_is_gone_as_soon_as_its_unit_file_is_deleted() {
    let mut cluster = TestCluster::new();
    cluster.read(2, units(&seven_states()[1..]));
    assert_eq!(cluster.read(2, files(&seven_files()[1..])), ["gone"]);
    assert_eq!(cluster.verdict("a.service"), None);
}

#[test]
fn a_row_without_a_unit_file_is_a_ghost_and_then_gone_at_once() {
    let mut cluster = TestCluster::new();
    cluster.read(2, files(&seven_files()[1..]));
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Ghost));
    assert_eq!(
        cluster.reason("a.service"),
        "Its unit file was deleted, but its machine still reports it as active/running."
    );
    assert_eq!(cluster.read(4, units(&seven_states()[1..])), ["gone"]);
}

#[test]
fn unit_files_that_were_read_before_a_row_appeared_do_not_make_it_a_ghost() {
    let mut cluster = TestCluster::new();
    let mut states = seven_states();

    states.push(state("new.service", "m3", "active"));
    assert_eq!(cluster.read(2, units(&states)), ["appeared"]);
    assert_eq!(
        cluster.verdict("new.service"),
        Some(Verdict::Ok),
        "its file has not been read yet"
    );
    assert_eq!(cluster.read(4, units(&seven_states())), [""; 0]);
    assert_eq!(cluster.verdict("new.service"), Some(Verdict::Stale));
}

#[test]
fn a_unit_that_was_unloaded_is_gone_and_then_only_submitted() {
    let mut cluster = TestCluster::new();
    let mut wanted = seven_files();

    wanted[0] = file("a.service", "inactive", None);
    cluster.read(2, files(&wanted));
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Ghost));
    assert_eq!(cluster.read(4, units(&seven_states()[1..])), ["gone"]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Ok));
    assert_eq!(
        cluster.reason("a.service"),
        "It is only submitted: fleet does not want it on any machine."
    );
    assert_eq!(cluster.read(6, files(&wanted[1..])), ["gone"], "its file was deleted as well");
}

#[test]
fn a_unit_that_moves_is_on_both_machines_until_the_new_one_has_it() {
    let mut cluster = TestCluster::new();
    let mut wanted = seven_files();
    wanted[0].target = Some("m3".into());
    cluster.read(2, units(&seven_states()[1..]));
    cluster.read(2, files(&wanted));
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Stale));

    let mut states = seven_states();
    states[0] = state("a.service", "m3", "active");
    assert_eq!(cluster.read(4, units(&states)), ["appeared", "gone"]);
}

#[test]
fn the_old_row_of_a_unit_that_has_moved_is_a_ghost() {
    let mut cluster = TestCluster::new();
    let mut wanted = seven_files();
    wanted[0].target = Some("m3".into());

    let mut states = seven_states();
    states.push(state("a.service", "m3", "active"));
    cluster.read(2, units(&states));
    cluster.read(2, files(&wanted));

    let verdict = |machine: &str| {
        let units = &cluster.view().units;
        units
            .iter()
            .find(|unit| unit.state.machine.as_deref() == Some(machine))
            .map(|unit| unit.verdict)
    };
    assert_eq!(verdict("m1"), Some(Verdict::Ghost));
    assert_eq!(verdict("m3"), Some(Verdict::Ok));
}

#[test]
fn the_reason_of_an_unreported_unit_tells_why() {
    let mut cluster = TestCluster::new();
    let mut wanted = seven_files();
    wanted.push(file("nowhere.service", "launched", None));
    wanted.push(file("soon.service", "launched", Some("m3")));
    wanted.push(UnitFile { global: true, ..file("everywhere.service", "launched", None) });
    wanted[7].requirements = vec!["MachineMetadata=role=gpu".into()];
    assert_eq!(cluster.read(2, files(&wanted)), ["appeared"; 3]);
    for unit in ["nowhere.service", "soon.service", "everywhere.service"] {
        assert_eq!(
            cluster.verdict(unit),
            Some(Verdict::Ok),
            "{unit}: fleet has only just begun to want it"
        );
        assert!(
            cluster.reason(unit).ends_with("it has not been reported yet."),
            "{}",
            cluster.reason(unit)
        );
    }

    cluster.read(5, units(&seven_states()));
    assert_eq!(
        cluster.verdict("nowhere.service"),
        Some(Verdict::Unscheduled),
        "fleet chooses within a second"
    );
    assert_eq!(
        cluster.reason("nowhere.service"),
        "fleet wants it launched, but has not scheduled it on any machine; \
         it requires MachineMetadata=role=gpu."
    );
    assert_eq!(
        cluster.verdict("soon.service"),
        Some(Verdict::Ok),
        "a machine needs longer to start it"
    );

    cluster.read(12, units(&seven_states()));
    assert_eq!(cluster.verdict("soon.service"), Some(Verdict::Unreported));
    assert_eq!(
        cluster.reason("soon.service"),
        "fleet wants it launched on 10.0.0.3, which does not report it."
    );
    assert_eq!(cluster.verdict("everywhere.service"), Some(Verdict::Unreported));
    assert!(cluster.view().units.iter().filter(|unit| !unit.listed).count() == 3);
}

#[test]
fn unchanged_rows_are_shared_between_views() {
    let mut cluster = TestCluster::new();
    let before = cluster.view().clone();
    cluster.read(2, units(&seven_states()));
    cluster.read(10, files(&seven_files()));
    cluster.read(10, machines(&["m1", "m2", "m3", "m4"]));
    assert!(Arc::ptr_eq(&before, cluster.view()));

    let mut states = seven_states();
    states[0].active = Some("failed".into());
    assert_eq!(cluster.read(12, units(&states)), ["changed"]);

    let b0 = ("b0.service".into(), Some("m2".into()));
    assert!(Arc::ptr_eq(
        before.units.get(&b0).unwrap(),
        cluster.view().units.get(&b0).unwrap()
    ));
}

#[test]
fn a_moved_unit_may_be_absent_on_the_new_machine_while_the_old_one_still_lists_it() {
    let mut cluster = TestCluster::new();
    let mut wanted = seven_files();
    wanted[0].target = Some("m3".into());

    let mut old = seven_states();
    old[0].ip = None;
    cluster.read(2, units(&old));
    cluster.read(2, machines(&["m2", "m3", "m4"]));
    cluster.read(3, files(&wanted));

    let mut both = old.clone();
    both.push(state("a.service", "m3", "active"));
    cluster.read(4, units(&both));
    cluster.read(5, files(&wanted));
    assert_eq!(cluster.read(6, units(&old)), [""; 0]);
}

#[test]
fn unit_files_whose_reading_began_before_a_row_appeared_do_not_make_it_a_ghost() {
    let mut cluster = TestCluster::new();
    let mut states = seven_states();
    states.push(state("new.service", "m3", "active"));
    cluster.read(20, units(&states));

    let at = cluster.start + Duration::from_secs(27);
    cluster.read_taking(Duration::from_secs(25), files(&seven_files()), at);
    assert_eq!(cluster.verdict("new.service"), Some(Verdict::Ok));
    cluster.read(28, files(&seven_files()));
    assert_eq!(cluster.verdict("new.service"), Some(Verdict::Ghost));
}

#[test]
fn the_first_machine_and_unit_of_an_empty_cluster_are_events() {
    let mut cluster = TestCluster::empty();

    cluster.read(0, machines(&[]));
    cluster.read(0, files(&[]));
    cluster.read(0, units(&[]));
    assert_eq!(cluster.read(10, machines(&["m1"])), ["machine_joined"]);
    assert_eq!(
        cluster.read(10, files(&[file("a.service", "launched", Some("m1"))])),
        ["appeared"]
    );
    assert_eq!(cluster.read(12, units(&[state("a.service", "m1", "active")])), ["appeared"]);
}
