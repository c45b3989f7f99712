//! Restarts of the program: what was saved goes on, and what has changed meanwhile is found out.

use std::time::{Duration, SystemTime};

use super::{
    GRACE, TestCluster, file, files, machine, machines, on_m2, registry, seven_files, seven_states,
    state, units, without_a,
};
use crate::cluster::{
    Cluster, FleetList, Lease, Reading, RegistrySnapshot, Retention, SavedCluster, SavedMachine,
    SavedRow, SavedTime, UnitState, Verdict,
};

impl TestCluster {
    fn at(&self, second: u64) -> SystemTime {
        (self.start + Duration::from_secs(second)).wall
    }

    /// All that is saved of the cluster, after it was written and read again.
    fn saved(&self, second: u64) -> SavedCluster {
        let view = self.view();
        let rows = view.units.iter().map(|unit| {
            let saved = self.cluster.saved_row(&unit.key()).expect("a row that is shown");
            serde_json::from_str::<SavedRow>(&serde_json::to_string(&saved).unwrap()).unwrap()
        });
        let machines = view.machines.iter().map(|member| {
            let saved = self.cluster.saved_machine(&member.machine.id).expect("a machine");
            serde_json::from_str::<SavedMachine>(&serde_json::to_string(&saved).unwrap()).unwrap()
        });
        let mut files: Vec<_> = view.units.iter().filter_map(|unit| unit.file.clone()).collect();
        files.dedup();

        SavedCluster {
            rows: rows.collect(),
            machines: machines.collect(),
            files: files.iter().map(|file| (**file).clone()).collect(),
            transitions: self.cluster.transitions(),
            saved: Some(SavedTime(self.at(second))),
        }
    }

    /// The program ends at one second, and starts again at another.
    fn restart(&mut self, saved: u64, started: u64) {
        let saved = self.saved(saved);
        let now = self.start + Duration::from_secs(started);
        self.cluster = Cluster::restore(Retention::from(GRACE), saved, now);
        self.events.clear();
    }
}

/// The registry after m1 has left the cluster, and its states have expired.
fn without_m1() -> RegistrySnapshot {
    RegistrySnapshot {
        states: on_m2().into(),
        machines: ["m2", "m3", "m4"].map(machine).into(),
        expired: vec![
            Lease::Machine("m1".into()),
            Lease::Unit("a.service".into(), "m1".into()),
            Lease::Unit("z.service".into(), "m1".into()),
        ],
        ..registry()
    }
}

fn with_state(unit: UnitState) -> RegistrySnapshot {
    let mut states = seven_states();
    states[0] = unit;
    RegistrySnapshot { states: states.into(), ..registry() }
}

#[test]
fn times_go_on_and_nothing_is_an_event_if_nothing_has_changed() {
    let mut cluster = TestCluster::from_registry();
    let failed = with_state(state("a.service", "m1", "failed"));
    cluster.read_registry(5, &failed);
    let before = cluster.view().clone();

    cluster.restart(100, 160);
    assert_eq!(cluster.read_registry(161, &failed), [""; 0]);

    assert_eq!(cluster.view().units, before.units);
    assert_eq!(cluster.view().machines, before.machines);
    let unit = cluster.unit("a.service").unwrap();
    assert_eq!((unit.since, unit.since_seen), (cluster.at(5), true));
    assert_eq!((unit.verdict_since, unit.verdict_since_seen), (cluster.at(5), true));
    assert_eq!(cluster.read_registry(300, &failed), [""; 0], "nor is it one later");
}

#[test]
fn what_has_changed_meanwhile_is_an_event_whose_beginning_was_not_seen() {
    let mut cluster = TestCluster::from_registry();
    cluster.restart(100, 160);
    let mut changed = with_state(state("a.service", "m1", "failed"));
    changed.machines = ["m1", "m2", "m3", "m4", "m5"].map(machine).into();
    changed.states = [&*changed.states, &[state("new.service", "m5", "active")]]
        .concat()
        .into();

    let events = cluster.read_registry(161, &changed);

    assert_eq!(events, ["machine_joined", "changed", "appeared"]);
    for unit in ["a.service", "new.service"] {
        let unit = cluster.unit(unit).unwrap();
        assert_eq!((unit.since, unit.since_seen), (cluster.at(161), false));
        assert!(!unit.verdict_since_seen);
    }
    assert!(!cluster.member("m5").since_seen);
}

#[test]
fn transitions_are_numbered_on() {
    let mut cluster = TestCluster::from_registry();
    cluster.read_registry(5, &with_state(state("a.service", "m1", "failed")));
    cluster.restart(6, 7);

    let now = cluster.start + Duration::from_secs(8);
    let transitions = cluster
        .cluster
        .apply(Reading::Registry(registry()), now, Duration::ZERO);

    let numbers: Vec<u64> = transitions.iter().map(|transition| transition.number).collect();
    assert_eq!(numbers, [2]);
}

#[test]
fn a_lost_machine_is_remembered_with_what_ran_there() {
    let mut cluster = TestCluster::from_registry();
    cluster.read_registry(50, &without_m1());
    let ran = ["a.service".into(), "z.service".into()];
    assert_eq!(*cluster.member("m1").ran, ran);

    cluster.restart(100, 160);
    for second in [161, 195, 3000] {
        cluster.read_registry(second, &RegistrySnapshot { expired: vec![], ..without_m1() });

        let member = cluster.member("m1");
        assert_eq!(member.machine.ip.as_deref(), Some("10.0.0.1"));
        assert_eq!(member.lost_since, Some(cluster.at(50)), "at {second} s");
        assert_eq!(*member.ran, ran);
        assert_eq!(cluster.verdict("a.service"), Some(Verdict::MachineLost), "at {second} s");
    }
    assert_eq!(cluster.events, []);

    assert_eq!(cluster.read_registry(3001, &registry()), ["machine_joined"]);
    assert!(cluster.member("m1").ran.is_empty());
}

#[test]
fn a_machine_that_left_meanwhile_is_lost_after_the_grace_period() {
    let mut cluster = TestCluster::from_registry();
    cluster.restart(100, 160);
    let without_m1 = RegistrySnapshot { expired: vec![], ..without_m1() };

    assert_eq!(cluster.read_registry(161, &without_m1), [""; 0]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Stale));
    assert_eq!(cluster.read_registry(192, &without_m1), ["machine_lost"]);

    let member = cluster.member("m1");
    assert_eq!(member.machine.ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(member.ran.len(), 2);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::MachineLost));
}

#[test]
fn a_machine_is_not_lost_early_whichever_list_is_read_first() {
    let present = || machines(&["m2", "m3", "m4"]);
    let orders = [
        [files(&seven_files()), present(), units(&on_m2())],
        [units(&on_m2()), files(&seven_files()), present()],
        [present(), units(&on_m2()), files(&seven_files())],
    ];
    for readings in orders {
        let mut cluster = TestCluster::new();
        cluster.restart(100, 160);
        for (second, reading) in (161..).zip(readings) {
            assert_eq!(cluster.read(second, reading), [""; 0]);
        }

        assert_eq!(cluster.read(180, present()), [""; 0]);
        assert_eq!(cluster.read(194, present()), ["machine_lost"]);
    }
}

#[test]
fn a_row_that_left_meanwhile_is_gone_by_evidence_or_after_the_grace_period() {
    let mut cluster = TestCluster::from_registry();
    cluster.restart(100, 160);
    let mut without = without_a();
    let is_not_b0 = |unit: &str| unit != "b0.service";
    without.files = without
        .files
        .iter()
        .filter(|file| is_not_b0(&file.unit))
        .cloned()
        .collect();
    without.states = without
        .states
        .iter()
        .filter(|state| is_not_b0(&state.unit))
        .cloned()
        .collect();

    assert_eq!(
        cluster.read_registry(161, &without),
        ["gone"],
        "b0.service has no file any more"
    );
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::Stale));
    assert_eq!(cluster.read_registry(190, &without), [""; 0]);
    assert_eq!(cluster.read_registry(192, &without), ["gone"]);
}

#[test]
fn a_long_pause_raises_no_suspicion() {
    let mut cluster = TestCluster::from_registry();
    cluster.restart(100, 160);
    let other = |number| format!("c{number}.service");
    let states: Vec<UnitState> =
        (0..5).map(|number| state(&other(number), "m2", "active")).collect();
    let wanted: Vec<_> = (0..5)
        .map(|number| file(&other(number), "launched", Some("m2")))
        .collect();

    for second in (161..240).step_by(2) {
        let now = second + 1;
        cluster.read(second, units(&states));
        cluster.read(second, machines(&["m1", "m2", "m3", "m4"]));
        cluster.read(now, files(&wanted));
        assert_eq!(cluster.health().suspect_since, None, "at {second} s");
    }
    assert_eq!(cluster.view().units.len(), 5);
}

#[test]
fn nothing_is_shown_before_the_units_have_been_read() {
    let mut cluster = TestCluster::new();
    cluster.read(50, machines(&["m2", "m3", "m4"]));
    cluster.restart(100, 160);
    assert!(cluster.view().units.is_empty() && cluster.view().machines.is_empty());

    cluster.fail(161, FleetList::Units);
    cluster.read(162, files(&seven_files()));
    cluster.read(163, machines(&["m2", "m3", "m4"]));
    assert!(cluster.view().units.is_empty());
    assert_eq!(cluster.view().machines.len(), 3, "those that were read");

    cluster.read(164, units(&on_m2()));
    assert_eq!(cluster.view().machines.len(), 4);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::MachineLost));
    assert_eq!(cluster.verdict("b0.service"), Some(Verdict::Ok));
}

#[test]
fn what_was_missed_before_still_is() {
    let mut cluster = TestCluster::from_registry();
    let mut files = seven_files();
    files.push(file("missed.service", "launched", Some("m3")));
    let registry = RegistrySnapshot { files: files.into(), ..registry() };
    cluster.read_registry(1, &registry);
    cluster.read_registry(90, &registry);
    let missed = cluster.unit("missed.service").unwrap().clone();
    assert_eq!(missed.verdict, Verdict::Unreported);

    cluster.restart(100, 160);
    for second in [161, 170, 192, 300] {
        cluster.read_registry(second, &registry);
        assert_eq!(*cluster.unit("missed.service").unwrap(), missed, "at {second} s");
    }
}

#[test]
fn a_crash_loop_goes_on() {
    let mut cluster = TestCluster::from_registry();
    let waiting = UnitState {
        active: Some("activating".into()),
        sub: Some("auto-restart".into()),
        ..state("a.service", "m1", "active")
    };
    cluster.read_registry(10, &with_state(waiting.clone()));
    cluster.read_registry(12, &registry());
    cluster.read_registry(20, &with_state(waiting));
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::CrashLoop));
    cluster.read_registry(22, &registry());

    // It may have been restarted again meanwhile, so it has to run for a while.
    cluster.restart(23, 300);
    assert_eq!(cluster.read_registry(301, &registry()), [""; 0]);
    assert_eq!(cluster.verdict("a.service"), Some(Verdict::CrashLoop));
    assert_eq!(cluster.unit("a.service").unwrap().verdict_since, cluster.at(20));
    assert_eq!(cluster.read_registry(362, &registry()), ["crash_loop_over"]);
}

#[test]
fn what_was_saved_of_another_cluster_is_discarded() {
    let mut cluster = TestCluster::from_registry();
    cluster.restart(100, 160);
    let other = RegistrySnapshot {
        states: [state("other.service", "m8", "active")].into(),
        machines: ["m8", "m9"].map(machine).into(),
        files: [file("other.service", "launched", Some("m8"))].into(),
        ..RegistrySnapshot::default()
    };

    assert_eq!(cluster.read_registry(161, &other), [""; 0], "the first reading is no event");

    assert!(cluster.cluster.has_discarded_saved());
    assert_eq!(cluster.view().units.len(), 1);
    assert_eq!(cluster.view().machines.len(), 2);
}

#[test]
fn all_that_was_read_of_the_other_cluster_is_shown() {
    let mut cluster = TestCluster::new();
    cluster.restart(100, 160);
    assert_eq!(cluster.read(161, machines(&["m8", "m9"])), [""; 0]);
    assert!(!cluster.cluster.has_discarded_saved(), "the units are not known yet");

    let events = cluster.read(162, units(&[state("other.service", "m8", "active")]));
    assert_eq!(events, [""; 0]);
    assert!(cluster.cluster.has_discarded_saved());
    assert_eq!(cluster.view().machines.len(), 2);
    assert_eq!(cluster.unit("other.service").unwrap().machine.ip.as_deref(), Some("10.0.0.8"));
}

#[test]
fn an_empty_list_does_not_tell_that_it_is_another_cluster() {
    let mut cluster = TestCluster::new();
    cluster.restart(100, 160);
    cluster.read(161, units(&[]));
    assert!(!cluster.cluster.has_discarded_saved());
    assert_eq!(cluster.view().units.len(), 7);

    cluster.read(162, machines(&["m8"]));
    assert!(cluster.cluster.has_discarded_saved());
    assert!(cluster.view().units.is_empty());
}

#[test]
fn a_lost_machine_is_forgotten_when_the_keep_time_is_over_meanwhile() {
    let mut cluster = TestCluster::from_registry();
    cluster.read_registry(50, &without_m1());

    cluster.restart(3000, 3700);
    cluster.read_registry(3701, &RegistrySnapshot { expired: vec![], ..without_m1() });

    assert_eq!(cluster.view().machines.len(), 3);
    assert_eq!(cluster.events, []);
    assert!(
        cluster
            .view()
            .machines
            .iter()
            .all(|member| &*member.machine.id != "m1")
    );
}

#[test]
fn after_a_pause_longer_than_the_keep_time_only_what_is_still_there_goes_on() {
    let mut cluster = TestCluster::from_registry();
    let failed = state("b0.service", "m2", "failed");
    let mut states = on_m2();
    states[0] = failed;
    let all = [&seven_states()[..1], &states[..], &seven_states()[6..]].concat();
    cluster.read_registry(5, &RegistrySnapshot { states: all.into(), ..registry() });

    cluster.restart(100, 4000);
    let left = RegistrySnapshot { states: states.into(), expired: vec![], ..without_m1() };
    cluster.read_registry(4001, &left);

    assert_eq!(cluster.events, []);
    assert_eq!(cluster.unit("b0.service").unwrap().since, cluster.at(5));
    assert_eq!(cluster.view().machines.len(), 3);
}
