//! Outages, incomplete lists and empty lists: when the source is suspect, and what is kept.

use std::time::Duration;

use super::{TestCluster, file, files, machines, seven_files, seven_states, state, units};
use crate::cluster::{Event, FleetList, UnitFile, UnitState, Verdict};

/// A cluster of 30 units on the machines m1 to m3.
fn thirty() -> TestCluster {
    let mut cluster = TestCluster::empty();
    cluster.read(0, machines(&["m1", "m2", "m3"]));
    cluster.read(0, files(&thirty_files()));
    cluster.read(0, units(&thirty_states()));
    cluster
}

fn thirty_states() -> Vec<UnitState> {
    (0..30)
        .map(|n| state(&format!("u{n:02}.service"), &format!("m{}", n % 3 + 1), "active"))
        .collect()
}

fn thirty_files() -> Vec<UnitFile> {
    (0..30)
        .map(|n| file(&format!("u{n:02}.service"), "launched", Some(&format!("m{}", n % 3 + 1))))
        .collect()
}

impl TestCluster {
    /// Reads all lists, of which the list of units contains only the first `listed` of thirty.
    fn read_all(&mut self, second: u64, listed: usize) {
        self.read(second, units(&thirty_states()[..listed]));
        self.read(second, machines(&["m1", "m2", "m3"]));
        self.read(second, files(&thirty_files()));
    }
}

#[test]
fn events_are_complete_since_all_lists_have_been_read_and_an_outage_does_not_change_that() {
    let mut cluster = TestCluster::empty();
    cluster.read(0, units(&seven_states()));
    cluster.read(1, machines(&["m1", "m2", "m3", "m4"]));
    cluster.fail(2, FleetList::UnitFiles);
    assert_eq!(cluster.health().events_since, None);

    cluster.read(3, files(&seven_files()));
    let all_read = (cluster.start + Duration::from_secs(3)).wall;
    assert_eq!(cluster.health().events_since, Some(all_read));

    cluster.fail(4, FleetList::Units);
    cluster.read(5, units(&seven_states()));
    assert_eq!(cluster.health().events_since, Some(all_read));
}

#[test]
fn a_recording_that_restarts_begins_a_new_history() {
    let mut cluster = TestCluster::new();
    cluster.cluster.reset();
    assert_eq!(cluster.health().events_since, None);
}

#[test]
fn an_outage_removes_no_row_and_restarts_the_grace() {
    let mut cluster = TestCluster::new();

    cluster.read(2, units(&seven_states()[1..]));
    assert_eq!(cluster.fail(4, FleetList::Units), ["source_down"]);
    assert_eq!(cluster.fail(5, FleetList::Machines), [""; 0], "one event only");
    assert_eq!(cluster.view().units.len(), 7);
    cluster.read(100, units(&seven_states()[1..]));
    assert_eq!(cluster.read(101, machines(&["m1", "m2", "m3", "m4"])), ["source_back"]);
    assert_eq!(
        cluster.read(129, units(&seven_states()[1..])),
        [""; 0],
        "the grace does not run while fleet does not answer"
    );
    assert_eq!(cluster.read(131, units(&seven_states()[1..])), ["gone"]);
}

#[test]
fn when_most_rows_vanish_the_source_is_suspect_and_all_rows_are_kept() {
    let mut cluster = TestCluster::new();
    let few = || units(&seven_states()[..3]);

    assert_eq!(cluster.read(2, few()), [""; 0], "the other lists may explain it");
    cluster.read(3, machines(&["m1", "m2", "m3", "m4"]));
    assert_eq!(cluster.read(3, files(&seven_files())), ["source_suspect"]);
    assert!(cluster.health().suspect_since.is_some());
    assert_eq!(cluster.read(500, few()), [""; 0], "the grace does not run");
    assert_eq!(cluster.view().units.len(), 7);
    assert_eq!(
        cluster.read(502, units(&seven_states())),
        [""; 0],
        "there is no event for each row"
    );
    assert!(cluster.health().suspect_since.is_none());
    assert_eq!(cluster.health().held_back, 4);
}

#[test]
fn when_most_rows_vanish_together_with_their_unit_files_they_are_gone() {
    let mut cluster = TestCluster::new();
    cluster.read(2, units(&seven_states()[..1]));
    assert_eq!(cluster.read(2, files(&seven_files()[..1])), ["gone"; 6]);
    assert_eq!(cluster.view().units.len(), 1);
}

#[test]
fn an_empty_first_list_of_units_makes_the_source_suspect() {
    let mut cluster = TestCluster::empty();
    cluster.read(0, machines(&["m1", "m2", "m3", "m4"]));
    cluster.read(0, files(&seven_files()));
    for second in (0..60).step_by(2) {
        cluster.read(second, units(&[]));
    }

    let verdicts = cluster.view().units.iter().map(|unit| unit.verdict);
    assert!(
        verdicts.into_iter().all(|verdict| verdict == Verdict::Ok),
        "they may be reported"
    );
    assert_eq!(cluster.count("source_suspect"), 1, "one event only");
    cluster.read(60, units(&seven_states()));
    assert!(cluster.health().suspect_since.is_none());
}

#[test]
fn after_an_empty_first_list_of_units_no_unit_is_unreported_for_the_grace() {
    let global = |requirements_known| UnitFile {
        global: true,
        requirements_known,
        ..file("a.service", "launched", None)
    };

    // A machine that has not reported any unit yet has more time for a global one.
    for (wanted, until) in [
        (file("a.service", "launched", Some("m1")), 30),
        (global(true), 60),
        (global(false), 30),
    ] {
        let mut cluster = TestCluster::empty();
        cluster.read(0, units(&[]));
        cluster.read(0, machines(&["m1", "m2"]));
        cluster.read(0, files(&[wanted]));
        for second in (2..until).step_by(2) {
            cluster.read(second, units(&[]));
            assert_eq!(
                cluster.verdict("a.service"),
                Some(Verdict::Ok),
                "{second} s: it may be reported"
            );
        }
        cluster.read(until, units(&[]));
        assert_eq!(cluster.verdict("a.service"), Some(Verdict::Unreported));
        assert_eq!(cluster.events, []);
    }
}

#[test]
fn after_an_empty_first_list_of_units_the_rows_may_appear_one_by_one() {
    let mut cluster = TestCluster::empty();

    cluster.read(0, machines(&["m1"]));
    cluster.read(
        0,
        files(&["a", "b"].map(|unit| file(&format!("{unit}.service"), "launched", Some("m1")))),
    );
    cluster.read(0, units(&[]));
    cluster.read(20, units(&[state("a.service", "m1", "active")]));
    assert_eq!(
        cluster.verdict("b.service"),
        Some(Verdict::Ok),
        "the list may become complete row by row"
    );
    cluster.read(30, units(&[state("a.service", "m1", "active")]));
    assert_eq!(cluster.verdict("b.service"), Some(Verdict::Unreported));
}

#[test]
fn an_etcd_without_keys_is_not_an_empty_cluster() {
    let mut cluster = TestCluster::new();

    cluster.read(2, units(&[]));
    cluster.read(2, files(&[]));
    cluster.read(2, machines(&[]));
    cluster.read(4, units(&[]));
    cluster.read(12, files(&[]));
    assert_eq!(cluster.view().units.iter().filter(|unit| unit.listed).count(), 7);
    assert!(cluster.health().suspect_since.is_some());
    // A fleet with machines and without units has really been emptied.
    cluster.read(22, machines(&["m1"]));
    cluster.read(22, files(&[]));
    assert_eq!(cluster.view().units.len(), 0);
}

#[test]
fn an_etcd_without_keys_is_not_an_empty_cluster_in_any_order_of_lists() {
    let mut cluster = TestCluster::new();
    cluster.read(10, files(&[]));
    cluster.read(10, machines(&[]));
    cluster.read(11, units(&[]));
    cluster.read(13, units(&[]));
    assert_eq!(cluster.count("gone"), 0);
    assert_eq!(cluster.view().units.len(), 7);
}

#[test]
fn rows_that_come_back_one_by_one_after_a_suspicion_are_not_gone_when_it_ends() {
    let mut cluster = thirty();

    (2..40).step_by(2).for_each(|second| cluster.read_all(second, 19));
    (40..120).step_by(2).for_each(|second| cluster.read_all(second, 22));
    assert!(
        cluster.health().suspect_since.is_none(),
        "the suspicion is over, and eight rows are still absent"
    );
    assert_eq!(
        cluster.events.iter().map(Event::name).collect::<Vec<_>>(),
        ["source_suspect"],
        "there is no other event during the grace"
    );
    cluster.read_all(119, 30);
    assert_eq!(cluster.events.len(), 1, "{:?}", cluster.events);
    assert_eq!(cluster.health().held_back, 11);
}

#[test]
fn rows_that_are_absent_for_the_grace_after_a_suspicion_are_gone() {
    let mut cluster = thirty();
    (2..40).step_by(2).for_each(|second| cluster.read_all(second, 19));
    (40..120).step_by(2).for_each(|second| cluster.read_all(second, 22));
    assert_eq!(cluster.count("gone"), 0);
    cluster.read_all(120, 22);
    assert_eq!(cluster.count("gone"), 8);
}

#[test]
fn a_list_of_varying_length_raises_one_suspicion() {
    let mut cluster = thirty();

    (2..20)
        .step_by(2)
        .for_each(|second| cluster.read_all(second, if second % 4 == 0 { 21 } else { 19 }));
    cluster.read_all(20, 30);
    assert_eq!(
        (cluster.count("source_suspect"), cluster.count("stale"), cluster.count("gone")),
        (1, 0, 0)
    );
    assert!(cluster.health().suspect_since.is_none());
}

#[test]
fn verdicts_are_found_while_the_unit_files_cannot_be_read() {
    let mut cluster = TestCluster::empty();

    cluster.read(0, machines(&["m1", "m2", "m3"]));
    cluster.read(0, units(&thirty_states()));
    for second in (2..60).step_by(10) {
        cluster.fail(second, FleetList::UnitFiles);
        cluster.read(second, units(&thirty_states()[1..]));
        cluster.read(second, machines(&["m1", "m2"]));
    }
    assert_eq!((cluster.count("machine_lost"), cluster.count("gone")), (1, 1));
    assert_eq!(cluster.verdict("u00.service"), None, "m1 does not report it any more");
    assert_eq!(cluster.verdict("u02.service"), Some(Verdict::MachineLost), "m3 has left");
}

#[test]
fn an_incomplete_list_of_unit_files_after_an_outage_removes_no_row() {
    let mut cluster = thirty();
    cluster.fail(10, FleetList::Units);
    cluster.fail(10, FleetList::UnitFiles);
    cluster.read(20, units(&thirty_states()[..11]));
    cluster.read(20, files(&thirty_files()[..11]));
    assert_eq!(cluster.count("gone"), 0);
    cluster.read_all(30, 30);
    assert_eq!(cluster.count("gone"), 0);
}
