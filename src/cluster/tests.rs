//! The judgement, case by case.

mod crash_loops;
mod lives;
mod random;

use std::sync::Arc;
use std::time::Duration;

use super::{
    Cluster, Event, FleetList, Lease, Machine, Member, Moment, Reading, RegistrySnapshot,
    Transition, UnitFile, UnitState, Verdict,
};
use crate::builders;

const GRACE: Duration = Duration::from_secs(30);

/// A cluster and its clock.
struct Watch {
    cluster: Cluster,
    start: Moment,
    events: Vec<Event>,
}

fn state(unit: &str, machine: &str, active: &str) -> UnitState {
    let ip = Some(format!("10.0.0.{}", &machine[1..]).into());
    UnitState {
        ip,
        ..builders::unit_state(unit, machine, &format!("{active}/running"))
    }
}

fn machine(id: &str) -> Machine {
    Machine {
        ip: Some(format!("10.0.0.{}", &id[1..]).into()),
        ..builders::machine(id)
    }
}

fn file(unit: &str, desired: &str, target: Option<&str>) -> UnitFile {
    UnitFile {
        desired: Some(desired.into()),
        requirements_known: false,
        ..builders::unit_file(unit, target)
    }
}

fn units(states: &[UnitState]) -> Reading {
    Reading::Units { states: states.to_vec(), files: None }
}

fn machines(ids: &[&str]) -> Reading {
    Reading::Machines { machines: ids.iter().map(|id| machine(id)).collect() }
}

fn files(files: &[UnitFile]) -> Reading {
    Reading::UnitFiles { files: files.to_vec() }
}

impl Watch {
    /// A cluster of machines m1 to m4 with `a.service` and `z.service` on m1 and five more units on
    /// m2, all wanted there. Without `a.service`, m1 still reports `z.service`.
    fn new() -> Self {
        let mut watch = Self {
            cluster: Cluster::new(GRACE),
            start: Moment::now(),
            events: vec![],
        };
        watch.at(0, machines(&["m1", "m2", "m3", "m4"]));
        watch.at(0, files(&Self::files()));
        watch.at(0, units(&Self::states()));
        assert_eq!(watch.events, [], "what is there at the beginning is no event");
        watch
    }

    fn states() -> Vec<UnitState> {
        let mut states = vec![state("a.service", "m1", "active")];
        states.extend((0..5).map(|number| state(&format!("b{number}.service"), "m2", "active")));
        states.push(state("z.service", "m1", "active"));
        states
    }

    fn files() -> Vec<UnitFile> {
        let mut files = vec![file("a.service", "launched", Some("m1"))];
        files.extend(
            (0..5).map(|number| file(&format!("b{number}.service"), "launched", Some("m2"))),
        );
        files.push(file("z.service", "launched", Some("m1")));
        files
    }

    fn at(&mut self, second: u64, reading: Reading) -> Vec<&'static str> {
        self.after(Duration::from_secs(second), reading)
    }

    fn after(&mut self, time: Duration, reading: Reading) -> Vec<&'static str> {
        let transitions = self.cluster.read(reading, self.start + time, Duration::ZERO);
        self.keep(&transitions)
    }

    fn fail(&mut self, second: u64, topic: FleetList) -> Vec<&'static str> {
        let transitions =
            self.cluster
                .fail(topic.alone(), "no answer", self.start + Duration::from_secs(second));
        self.keep(&transitions)
    }

    fn keep(&mut self, transitions: &[Arc<Transition>]) -> Vec<&'static str> {
        let events: Vec<Event> = transitions
            .iter()
            .map(|transition| transition.event.clone())
            .collect();
        let names = events.iter().map(Event::name).collect();
        self.events.extend(events);
        names
    }

    fn verdict(&self, unit: &str) -> Option<Verdict> {
        self.cluster
            .view()
            .units
            .iter()
            .find(|shown| &*shown.state.unit == unit)
            .map(|shown| shown.verdict)
    }

    fn reason(&self, unit: &str) -> &str {
        &self
            .cluster
            .view()
            .units
            .iter()
            .find(|shown| &*shown.state.unit == unit)
            .unwrap()
            .reason
    }
}

#[test]
fn a_row_that_blinks_is_no_event_but_is_counted() {
    let mut watch = Watch::new();
    assert_eq!(watch.at(2, units(&Watch::states()[1..])), [""; 0]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Stale));
    assert_eq!(watch.at(4, units(&Watch::states())), [""; 0]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Ok));
    assert_eq!(watch.cluster.health().held_back, 1);
}

#[test]
fn a_row_that_stays_away_is_stale_and_after_the_grace_gone() {
    let mut watch = Watch::new();
    let others = || units(&Watch::states()[1..]);
    watch.at(2, others());
    assert_eq!(watch.at(4, others()), ["stale"]);
    assert_eq!(watch.at(31, others()), [""; 0]);
    assert_eq!(watch.at(32, others()), ["gone"]);
    // fleet goes on to want it: it is shown as what no machine reports.
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Unreported));
    assert_eq!(watch.at(34, units(&Watch::states())), ["appeared"]);
}

#[test]
fn a_stale_row_that_returns_is_back_with_its_state() {
    let mut watch = Watch::new();
    watch.at(2, units(&Watch::states()[1..]));
    watch.at(4, units(&Watch::states()[1..]));
    let mut states = Watch::states();
    states[0].active = Some("failed".into());
    assert_eq!(watch.at(6, units(&states)), ["back"]);
    assert_eq!(watch.events.last().unwrap().to(), Some("failed/running"));
}

#[test]
fn an_outage_gives_up_nothing_and_the_grace_begins_anew() {
    let mut watch = Watch::new();
    watch.at(2, units(&Watch::states()[1..]));
    assert_eq!(watch.fail(4, FleetList::Units), ["source_down"]);
    assert_eq!(watch.fail(5, FleetList::Machines), [""; 0], "told once");
    assert_eq!(watch.cluster.view().units.len(), 7);
    watch.at(100, units(&Watch::states()[1..]));
    assert_eq!(watch.at(101, machines(&["m1", "m2", "m3", "m4"])), ["source_back"]);
    assert_eq!(
        watch.at(129, units(&Watch::states()[1..])),
        [""; 0],
        "the grace had run while fleet did not answer"
    );
    assert_eq!(watch.at(131, units(&Watch::states()[1..])), ["gone"]);
}

#[test]
fn a_list_of_machines_that_is_short_after_an_outage_loses_nobody() {
    let mut watch = Watch::new();
    watch.fail(2, FleetList::Machines);
    assert_eq!(watch.at(4, machines(&["m2"])), ["source_back"]);
    assert_eq!(watch.at(14, machines(&["m2", "m1"])), [""; 0]);
    assert_eq!(
        watch.at(34, machines(&["m2", "m1"])),
        ["machine_lost", "machine_lost"],
        "m3 and m4 are away in truth"
    );
}

#[test]
fn an_empty_list_of_machines_is_not_believed() {
    let mut watch = Watch::new();
    assert_eq!(watch.at(2, machines(&[])), [""; 0]);
    assert!(
        watch
            .cluster
            .view()
            .machines
            .iter()
            .all(|machine| machine.lost_since.is_none())
    );
}

#[test]
fn a_unit_is_gone_with_the_first_reading_that_shows_its_file_gone() {
    let mut watch = Watch::new();
    watch.at(2, units(&Watch::states()[1..]));
    assert_eq!(watch.at(2, files(&Watch::files()[1..])), ["gone"]);
    assert_eq!(watch.verdict("a.service"), None);
}

#[test]
fn a_row_without_a_unit_file_is_a_ghost_and_then_gone_at_once() {
    let mut watch = Watch::new();
    watch.at(2, files(&Watch::files()[1..]));
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Ghost));
    assert_eq!(
        watch.reason("a.service"),
        "Its unit file is gone, though its machine still reports it as active/running."
    );
    assert_eq!(watch.at(4, units(&Watch::states()[1..])), ["gone"]);
}

#[test]
fn unit_files_that_are_older_than_a_row_prove_nothing_about_it() {
    let mut watch = Watch::new();
    let mut states = Watch::states();
    states.push(state("new.service", "m3", "active"));
    assert_eq!(watch.at(2, units(&states)), ["appeared"]);
    assert_eq!(
        watch.verdict("new.service"),
        Some(Verdict::Ok),
        "its file has not been read yet"
    );
    assert_eq!(watch.at(4, units(&Watch::states())), [""; 0]);
    assert_eq!(watch.verdict("new.service"), Some(Verdict::Stale));
}

#[test]
fn a_unit_that_was_unloaded_is_gone_and_then_only_submitted() {
    let mut watch = Watch::new();
    let mut wanted = Watch::files();
    wanted[0] = file("a.service", "inactive", None);
    watch.at(2, files(&wanted));
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Ghost));
    assert_eq!(watch.at(4, units(&Watch::states()[1..])), ["gone"]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Ok));
    assert_eq!(
        watch.reason("a.service"),
        "It is only submitted: fleet does not want it anywhere."
    );
    assert_eq!(watch.at(6, files(&wanted[1..])), ["gone"], "and its file went as well");
}

#[test]
fn a_unit_that_moves_is_on_both_machines_until_the_new_one_has_it() {
    let mut watch = Watch::new();
    let mut wanted = Watch::files();
    wanted[0].target = Some("m3".into());
    watch.at(2, units(&Watch::states()[1..]));
    watch.at(2, files(&wanted));
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Stale));
    let mut states = Watch::states();
    states[0] = state("a.service", "m3", "active");
    assert_eq!(watch.at(4, units(&states)), ["appeared", "gone"]);
}

#[test]
fn the_old_row_of_a_unit_that_has_moved_is_a_ghost() {
    let mut watch = Watch::new();
    let mut wanted = Watch::files();
    wanted[0].target = Some("m3".into());
    let mut states = Watch::states();
    states.push(state("a.service", "m3", "active"));
    watch.at(2, units(&states));
    watch.at(2, files(&wanted));
    let verdict = |machine: &str| {
        let units = &watch.cluster.view().units;
        units
            .iter()
            .find(|unit| unit.state.machine.as_deref() == Some(machine))
            .map(|unit| unit.verdict)
    };
    assert_eq!(verdict("m1"), Some(Verdict::Ghost));
    assert_eq!(verdict("m3"), Some(Verdict::Ok));
}

#[test]
fn a_unit_on_a_machine_that_left_is_lost_however_active_it_claims_to_be() {
    let mut watch = Watch::new();
    let mut states = Watch::states();
    for state in states
        .iter_mut()
        .filter(|state| state.machine.as_deref() == Some("m1"))
    {
        state.ip = None;
    }
    watch.at(2, units(&states));
    assert_eq!(watch.verdict("a.service"), Some(Verdict::MachineLost));
    assert_eq!(watch.at(2, machines(&["m2", "m3", "m4"])), ["machine_lost"]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::MachineLost));
}

/// A cluster in which m1 has left, and with it the rows of its units.
fn without_m1() -> Watch {
    let mut watch = Watch::new();
    assert_eq!(watch.at(2, machines(&["m2", "m3", "m4"])), ["machine_lost"]);
    assert_eq!(watch.at(4, units(&on_m2())), [""; 0], "fleet still wants them on m1");
    watch
}

fn on_m2() -> Vec<UnitState> {
    Watch::states()
        .into_iter()
        .filter(|state| state.machine.as_deref() == Some("m2"))
        .collect()
}

#[test]
fn a_unit_of_a_lost_machine_is_gone_when_fleet_has_it_elsewhere() {
    let mut watch = without_m1();
    let mut wanted = Watch::files();
    wanted[0].target = Some("m3".into());
    assert_eq!(watch.at(6, files(&wanted)), [""; 0], "m3 does not report it yet");
    assert_eq!(watch.verdict("a.service"), Some(Verdict::MachineLost));

    let mut states = on_m2();
    states.push(state("a.service", "m3", "active"));
    assert_eq!(watch.at(8, units(&states)), ["appeared", "gone"]);
    let Some(Event::Gone { reason, .. }) = watch.events.last() else {
        panic!("{:?}", watch.events)
    };
    assert_eq!(*reason, "its machine is lost, and fleet has moved it to another one");
    assert_eq!(watch.verdict("z.service"), Some(Verdict::MachineLost));
}

#[test]
fn a_unit_of_a_lost_machine_is_gone_when_fleet_does_not_want_it() {
    let mut watch = without_m1();
    assert_eq!(watch.at(6, files(&Watch::files()[1..])), ["gone"]);
    assert_eq!(watch.verdict("z.service"), Some(Verdict::MachineLost));
}

#[test]
fn the_units_of_a_lost_machine_are_gone_after_the_keep_time_and_the_machine_with_them() {
    let mut watch = without_m1();
    assert_eq!(watch.at(3601, units(&on_m2())), [""; 0]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::MachineLost));
    assert!(watch.member("m1").lost_since.is_some(), "its units name it");

    assert_eq!(watch.at(3602, units(&on_m2())), ["gone"; 2]);
    assert_eq!(
        watch.verdict("a.service"),
        Some(Verdict::Unreported),
        "fleet goes on to want it"
    );
    assert_eq!(watch.cluster.view().machines.len(), 3);
}

#[test]
fn a_machine_that_was_lost_is_remembered_for_the_grace() {
    let mut watch = Watch::new();
    watch.at(2, machines(&["m1", "m2", "m3"]));
    assert_eq!(
        watch
            .cluster
            .view()
            .machines
            .iter()
            .filter(|machine| machine.lost_since.is_some())
            .count(),
        1
    );
    watch.at(31, machines(&["m1", "m2", "m3"]));
    assert_eq!(watch.cluster.view().machines.len(), 4);
    watch.at(32, machines(&["m1", "m2", "m3"]));
    assert_eq!(watch.cluster.view().machines.len(), 3);
    assert_eq!(watch.at(42, machines(&["m1", "m2", "m3", "m4"])), ["machine_joined"]);
}

#[test]
fn when_most_rows_vanish_the_source_is_suspect_and_all_stay() {
    let mut watch = Watch::new();
    let few = || units(&Watch::states()[..3]);
    assert_eq!(watch.at(2, few()), [""; 0], "nobody knows yet why");
    watch.at(3, machines(&["m1", "m2", "m3", "m4"]));
    assert_eq!(watch.at(3, files(&Watch::files())), ["source_suspect"]);
    assert!(watch.cluster.health().suspect_since.is_some());
    assert_eq!(watch.at(500, few()), [""; 0], "the grace does not run");
    assert_eq!(watch.cluster.view().units.len(), 7);
    assert_eq!(watch.at(502, units(&Watch::states())), [""; 0], "alert nobody about each row");
    assert!(watch.cluster.health().suspect_since.is_none());
    assert_eq!(watch.cluster.health().held_back, 4);
}

#[test]
fn when_most_rows_vanish_since_fleet_let_go_of_them_they_are_gone() {
    let mut watch = Watch::new();
    watch.at(2, units(&Watch::states()[..1]));
    assert_eq!(watch.at(2, files(&Watch::files()[..1])), ["gone"; 6]);
    assert_eq!(watch.cluster.view().units.len(), 1);
}

#[test]
fn an_empty_first_answer_is_no_empty_cluster() {
    let mut watch = Watch {
        cluster: Cluster::new(GRACE),
        start: Moment::now(),
        events: vec![],
    };
    watch.at(0, machines(&["m1", "m2", "m3", "m4"]));
    watch.at(0, files(&Watch::files()));
    for second in (0..60).step_by(2) {
        watch.at(second, units(&[]));
    }

    let verdicts = watch.cluster.view().units.iter().map(|unit| unit.verdict);
    assert!(
        verdicts.into_iter().all(|verdict| verdict == Verdict::Ok),
        "nobody knows whether they are reported"
    );
    assert_eq!(watch.count("source_suspect"), 1, "which is told once");
    watch.at(60, units(&Watch::states()));
    assert!(watch.cluster.health().suspect_since.is_none());
}

#[test]
fn an_empty_first_answer_is_doubted_for_the_grace_however_few_units_fleet_has() {
    let global = |requirements_known| UnitFile {
        global: true,
        requirements_known,
        ..file("a.service", "launched", None)
    };
    // What a machine has of global units that has not spoken yet is waited for longer.
    for (wanted, until) in [
        (file("a.service", "launched", Some("m1")), 30),
        (global(true), 60),
        (global(false), 30),
    ] {
        let mut watch = Watch {
            cluster: Cluster::new(GRACE),
            start: Moment::now(),
            events: vec![],
        };
        watch.at(0, units(&[]));
        watch.at(0, machines(&["m1", "m2"]));
        watch.at(0, files(&[wanted]));
        for second in (2..until).step_by(2) {
            watch.at(second, units(&[]));
            assert_eq!(watch.verdict("a.service"), Some(Verdict::Ok), "{second} s: nobody knows");
        }
        watch.at(until, units(&[]));
        assert_eq!(watch.verdict("a.service"), Some(Verdict::Unreported));
        assert_eq!(watch.events, []);
    }
}

#[test]
fn a_first_answer_that_is_whole_after_a_while_is_believed_row_by_row() {
    let mut watch = Watch {
        cluster: Cluster::new(GRACE),
        start: Moment::now(),
        events: vec![],
    };
    watch.at(0, machines(&["m1"]));
    watch.at(
        0,
        files(&["a", "b"].map(|unit| file(&format!("{unit}.service"), "launched", Some("m1")))),
    );
    watch.at(0, units(&[]));
    watch.at(20, units(&[state("a.service", "m1", "active")]));
    assert_eq!(
        watch.verdict("b.service"),
        Some(Verdict::Ok),
        "the list may become whole one by one"
    );
    watch.at(30, units(&[state("a.service", "m1", "active")]));
    assert_eq!(watch.verdict("b.service"), Some(Verdict::Unreported));
}

#[test]
fn an_etcd_that_knows_nothing_is_no_empty_cluster() {
    let mut watch = Watch::new();
    watch.at(2, units(&[]));
    watch.at(2, files(&[]));
    watch.at(2, machines(&[]));
    watch.at(4, units(&[]));
    watch.at(12, files(&[]));
    assert_eq!(watch.cluster.view().units.iter().filter(|unit| unit.listed).count(), 7);
    assert!(watch.cluster.health().suspect_since.is_some());
    // A fleet with machines and without units is one that was emptied.
    watch.at(22, machines(&["m1"]));
    watch.at(22, files(&[]));
    assert_eq!(watch.cluster.view().units.len(), 0);
}

#[test]
fn what_no_machine_reports_says_why() {
    let mut watch = Watch::new();
    let mut wanted = Watch::files();
    wanted.push(file("nowhere.service", "launched", None));
    wanted.push(file("soon.service", "launched", Some("m3")));
    wanted.push(UnitFile { global: true, ..file("everywhere.service", "launched", None) });
    wanted[7].requirements = vec!["MachineMetadata=role=gpu".into()];
    assert_eq!(watch.at(2, files(&wanted)), ["appeared"; 3]);
    for unit in ["nowhere.service", "soon.service", "everywhere.service"] {
        assert_eq!(
            watch.verdict(unit),
            Some(Verdict::Ok),
            "{unit}: fleet has only just begun to want it"
        );
        assert!(
            watch.reason(unit).ends_with("it has not been reported yet."),
            "{}",
            watch.reason(unit)
        );
    }

    watch.at(5, units(&Watch::states()));
    assert_eq!(
        watch.verdict("nowhere.service"),
        Some(Verdict::Unscheduled),
        "fleet chooses within a second"
    );
    assert_eq!(
        watch.reason("nowhere.service"),
        "fleet wants it launched, but no machine takes it; it asks for MachineMetadata=role=gpu."
    );
    assert_eq!(
        watch.verdict("soon.service"),
        Some(Verdict::Ok),
        "a machine needs longer to start it"
    );

    watch.at(12, units(&Watch::states()));
    assert_eq!(watch.verdict("soon.service"), Some(Verdict::Unreported));
    assert_eq!(
        watch.reason("soon.service"),
        "fleet wants it launched on 10.0.0.3, which does not report it."
    );
    assert_eq!(watch.verdict("everywhere.service"), Some(Verdict::Unreported));
    assert!(watch.cluster.view().units.iter().filter(|unit| !unit.listed).count() == 3);
}

#[test]
fn a_machine_without_an_address_is_not_lost() {
    let mut watch = Watch {
        cluster: Cluster::new(GRACE),
        start: Moment::now(),
        events: vec![],
    };
    watch.at(0, Reading::Machines { machines: vec![builders::machine("m1")] });
    let unit = UnitState { ip: None, ..state("a.service", "m1", "active") };
    watch.at(0, units(&[unit]));
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Ok));
}

#[test]
fn what_does_not_change_stays_the_same_in_memory() {
    let mut watch = Watch::new();
    let before = watch.cluster.view().clone();
    watch.at(2, units(&Watch::states()));
    watch.at(10, files(&Watch::files()));
    watch.at(10, machines(&["m1", "m2", "m3", "m4"]));
    assert!(Arc::ptr_eq(&before, watch.cluster.view()));
    let mut states = Watch::states();
    states[0].active = Some("failed".into());
    assert_eq!(watch.at(12, units(&states)), ["changed"]);
    let b0 = ("b0.service".into(), Some("m2".into()));
    assert!(Arc::ptr_eq(
        before.units.get(&b0).unwrap(),
        watch.cluster.view().units.get(&b0).unwrap()
    ));
}

/// A cluster of 30 units on three machines.
fn thirty() -> Watch {
    let mut watch = Watch {
        cluster: Cluster::new(GRACE),
        start: Moment::now(),
        events: vec![],
    };
    watch.at(0, machines(&["m1", "m2", "m3"]));
    watch.at(0, files(&thirty_files()));
    watch.at(0, units(&thirty_states()));
    watch
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

impl Watch {
    /// Reads everything, of which the unit list has only the first `units`.
    fn reads(&mut self, second: u64, listed: usize) {
        self.at(second, units(&thirty_states()[..listed]));
        self.at(second, machines(&["m1", "m2", "m3"]));
        self.at(second, files(&thirty_files()));
    }

    fn count(&self, name: &str) -> usize {
        self.events.iter().filter(|event| event.name() == name).count()
    }
}

#[test]
fn rows_that_come_back_one_by_one_after_a_doubt_are_not_gone_when_it_ends() {
    let mut watch = thirty();
    (2..40).step_by(2).for_each(|second| watch.reads(second, 19));
    (40..120).step_by(2).for_each(|second| watch.reads(second, 22));
    assert!(
        watch.cluster.health().suspect_since.is_none(),
        "the doubt is over, and eight are still away"
    );
    assert_eq!(
        watch.events.iter().map(Event::name).collect::<Vec<_>>(),
        ["source_suspect"],
        "nothing is told for the grace"
    );
    watch.reads(119, 30);
    assert_eq!(watch.events.len(), 1, "{:?}", watch.events);
    assert_eq!(watch.cluster.health().held_back, 11);
}

#[test]
fn rows_that_stay_away_for_the_grace_after_a_doubt_are_gone() {
    let mut watch = thirty();
    (2..40).step_by(2).for_each(|second| watch.reads(second, 19));
    (40..120).step_by(2).for_each(|second| watch.reads(second, 22));
    assert_eq!(watch.count("gone"), 0);
    watch.reads(120, 22);
    assert_eq!(watch.count("gone"), 8);
}

#[test]
fn a_list_that_wobbles_is_one_doubt() {
    let mut watch = thirty();
    (2..20)
        .step_by(2)
        .for_each(|second| watch.reads(second, if second % 4 == 0 { 21 } else { 19 }));
    watch.reads(20, 30);
    assert_eq!(
        (watch.count("source_suspect"), watch.count("stale"), watch.count("gone")),
        (1, 0, 0)
    );
    assert!(watch.cluster.health().suspect_since.is_none());
}

#[test]
fn unit_files_that_cannot_be_read_do_not_stop_the_judgement() {
    let mut watch = Watch {
        cluster: Cluster::new(GRACE),
        start: Moment::now(),
        events: vec![],
    };
    watch.at(0, machines(&["m1", "m2", "m3"]));
    watch.at(0, units(&thirty_states()));
    for second in (2..60).step_by(10) {
        watch.fail(second, FleetList::UnitFiles);
        watch.at(second, units(&thirty_states()[1..]));
        watch.at(second, machines(&["m1", "m2"]));
    }
    assert_eq!((watch.count("machine_lost"), watch.count("gone")), (1, 1));
    assert_eq!(watch.verdict("u00.service"), None, "m1 does not report it any more");
    assert_eq!(watch.verdict("u02.service"), Some(Verdict::MachineLost), "m3 has left");
}

#[test]
fn the_new_row_of_a_unit_that_moved_may_blink_while_the_old_one_is_still_listed() {
    let mut watch = Watch::new();
    let mut wanted = Watch::files();
    wanted[0].target = Some("m3".into());
    let mut old = Watch::states();
    old[0].ip = None;
    watch.at(2, units(&old));
    watch.at(2, machines(&["m2", "m3", "m4"]));
    watch.at(3, files(&wanted));
    let mut both = old.clone();
    both.push(state("a.service", "m3", "active"));
    watch.at(4, units(&both));
    watch.at(5, files(&wanted));
    assert_eq!(watch.at(6, units(&old)), [""; 0]);
}

#[test]
fn an_etcd_that_knows_nothing_is_no_empty_cluster_in_whatever_order_it_is_asked() {
    let mut watch = Watch::new();
    watch.at(10, files(&[]));
    watch.at(10, machines(&[]));
    watch.at(11, units(&[]));
    watch.at(13, units(&[]));
    assert_eq!(watch.count("gone"), 0);
    assert_eq!(watch.cluster.view().units.len(), 7);
}

#[test]
fn unit_files_that_are_short_after_an_outage_take_no_row_away() {
    let mut watch = thirty();
    watch.fail(10, FleetList::Units);
    watch.fail(10, FleetList::UnitFiles);
    watch.at(20, units(&thirty_states()[..11]));
    watch.at(20, files(&thirty_files()[..11]));
    assert_eq!(watch.count("gone"), 0);
    watch.reads(30, 30);
    assert_eq!(watch.count("gone"), 0);
}

#[test]
fn a_list_of_unit_files_that_was_begun_before_a_row_appeared_proves_nothing_about_it() {
    let mut watch = Watch::new();
    let mut states = Watch::states();
    states.push(state("new.service", "m3", "active"));
    watch.at(20, units(&states));
    let at = watch.start + Duration::from_secs(27);
    watch
        .cluster
        .read(files(&Watch::files()), at, Duration::from_secs(25));
    assert_eq!(watch.verdict("new.service"), Some(Verdict::Ok));
    watch.at(28, files(&Watch::files()));
    assert_eq!(watch.verdict("new.service"), Some(Verdict::Ghost));
}

#[test]
fn what_comes_first_into_an_empty_cluster_is_an_event() {
    let mut watch = Watch {
        cluster: Cluster::new(GRACE),
        start: Moment::now(),
        events: vec![],
    };
    watch.at(0, machines(&[]));
    watch.at(0, files(&[]));
    watch.at(0, units(&[]));
    assert_eq!(watch.at(10, machines(&["m1"])), ["machine_joined"]);
    assert_eq!(watch.at(10, files(&[file("a.service", "launched", Some("m1"))])), ["appeared"]);
    assert_eq!(watch.at(12, units(&[state("a.service", "m1", "active")])), ["appeared"]);
}

/// A registry in which the cluster of [`Watch::new`] is.
fn registry() -> RegistrySnapshot {
    RegistrySnapshot {
        states: Watch::states().into(),
        machines: ["m1", "m2", "m3", "m4"].map(machine).into(),
        files: Watch::files().into(),
        leader: Some("m1".into()),
        ..RegistrySnapshot::default()
    }
}

/// Without the state of `a.service` on m1.
fn without_a() -> RegistrySnapshot {
    RegistrySnapshot { states: Watch::states()[1..].into(), ..registry() }
}

/// Where fleet wants `a.service` on a machine, or nowhere.
fn targeted(registry: RegistrySnapshot, target: Option<&str>) -> RegistrySnapshot {
    let mut files = Watch::files();
    files[0] = file("a.service", "launched", target);
    RegistrySnapshot { files: files.into(), ..registry }
}

/// Without so many of the five states of m2, and their leases.
fn without_b(count: usize) -> (Vec<Lease>, RegistrySnapshot) {
    let lease = |state: &UnitState| Lease::Unit(state.unit.clone(), "m2".into());
    let mut states = Watch::states();
    let leases = states.drain(1..=count).map(|state| lease(&state)).collect();
    (leases, RegistrySnapshot { states: states.into(), ..registry() })
}

fn a_on_m1() -> Lease {
    Lease::Unit("a.service".into(), "m1".into())
}

impl Watch {
    fn registry() -> Self {
        let mut watch = Self {
            cluster: Cluster::new(GRACE),
            start: Moment::now(),
            events: vec![],
        };
        assert_eq!(
            watch.told(0, &registry()),
            [""; 0],
            "what is there at the beginning is no event"
        );
        assert!(watch.cluster.health().ready());
        watch
    }

    fn told(&mut self, second: u64, registry: &RegistrySnapshot) -> Vec<&'static str> {
        self.at(second, Reading::Registry(registry.clone()))
    }

    fn member(&self, id: &str) -> &Member {
        self.cluster
            .view()
            .machines
            .iter()
            .find(|member| &*member.machine.id == id)
            .unwrap()
    }
}

#[test]
fn what_the_registry_has_taken_away_is_gone_unless_it_is_set_again_at_once() {
    for target in [Some("m3"), None] {
        let mut watch = Watch::registry();
        assert_eq!(watch.told(1, &targeted(registry(), target)), [""; 0]);
        assert_eq!(
            watch.verdict("a.service"),
            Some(Verdict::Ghost),
            "its machine has not let go of it yet"
        );

        let mut told = |millis, registry| {
            watch.after(Duration::from_millis(millis), Reading::Registry(registry))
        };
        assert_eq!(told(2000, targeted(without_a(), target)), [""; 0]);
        assert_eq!(
            told(2004, targeted(registry(), target)),
            [""; 0],
            "it is deleted and set again"
        );
        assert_eq!(told(3000, targeted(without_a(), target)), [""; 0]);
        assert_eq!(told(3499, targeted(without_a(), target)), [""; 0]);
        assert_eq!(told(3500, targeted(without_a(), target)), ["gone"]);
    }
}

#[test]
fn a_state_that_was_taken_away_though_fleet_wants_it_is_held() {
    let mut watch = Watch::registry();
    assert_eq!(watch.told(1, &without_a()), [""; 0]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Stale));
    assert_eq!(watch.told(3, &registry()), [""; 0], "a fleetd that restarts is no event");
    assert_eq!(watch.cluster.health().held_back, 1);
    watch.told(10, &without_a());
    assert_eq!(watch.told(13, &without_a()), ["stale"], "one that stays away is");
    assert_eq!(watch.told(39, &without_a()), [""; 0]);
    assert_eq!(watch.told(40, &without_a()), ["gone"], "after the grace");
}

#[test]
fn what_has_expired_is_as_old_as_its_last_renewal_and_gone_after_the_grace() {
    let mut watch = Watch::registry();
    let overdue = RegistrySnapshot {
        overdue: vec![(a_on_m1(), Duration::from_secs(26))],
        ..registry()
    };
    assert_eq!(watch.told(26, &overdue), [""; 0]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Stale));
    let since = watch.cluster.view().units.iter().next().unwrap().stale_since;
    assert_eq!(since, Some(watch.start.wall), "its age counts from its last renewal");
    assert_eq!(
        watch.told(
            28,
            &RegistrySnapshot {
                overdue: vec![(a_on_m1(), Duration::from_secs(28))],
                ..registry()
            }
        ),
        [""; 0]
    );
    assert_eq!(
        watch.told(30, &RegistrySnapshot { expired: vec![a_on_m1()], ..without_a() }),
        [""; 0]
    );
    assert_eq!(
        watch.cluster.view().units.iter().next().unwrap().stale_since,
        since,
        "and goes on to"
    );
    assert_eq!(watch.told(33, &without_a()), ["stale"]);
    assert!(watch.reason("a.service").contains("expire"), "{}", watch.reason("a.service"));
    assert_eq!(watch.told(59, &without_a()), [""; 0]);
    assert_eq!(
        watch.told(60, &without_a()),
        ["gone"],
        "its machine reports others all the time"
    );
}

#[test]
fn what_has_expired_is_not_gone_because_fleet_takes_its_target_away() {
    let mut watch = Watch::registry();
    watch.told(1, &RegistrySnapshot { expired: vec![a_on_m1()], ..without_a() });
    // The engine does that 1.1 s after a machine is lost, and sets the same target again when it is
    // back.
    assert_eq!(watch.told(2, &targeted(without_a(), None)), [""; 0]);
    assert_eq!(watch.told(3, &targeted(without_a(), Some("m3"))), [""; 0]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Stale));

    let mut states = without_a().states.to_vec();
    states.push(state("a.service", "m3", "active"));
    let moved = RegistrySnapshot { states: states.into(), ..targeted(registry(), Some("m3")) };
    assert_eq!(watch.told(4, &moved), ["appeared", "gone"]);
}

#[test]
fn a_state_that_is_renewed_late_is_no_event() {
    let mut watch = Watch::registry();
    watch.told(
        26,
        &RegistrySnapshot {
            overdue: vec![(a_on_m1(), Duration::from_secs(26))],
            ..registry()
        },
    );
    assert_eq!(watch.told(27, &registry()), [""; 0]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Ok));
    assert_eq!(watch.cluster.view().units.iter().next().unwrap().stale_since, None);
}

#[test]
fn a_machine_is_silent_before_it_is_lost() {
    let mut watch = Watch::registry();
    let m2 = || Lease::Machine("m2".into());
    let silent = RegistrySnapshot { overdue: vec![(m2(), Duration::from_secs(23))], ..registry() };
    assert_eq!(watch.told(23, &silent), ["machine_silent"]);
    assert_eq!(watch.member("m2").silent_since, Some(watch.start.wall));
    assert_eq!(watch.told(24, &silent), [""; 0], "told once");
    assert_eq!(watch.told(25, &registry()), ["machine_heard"]);
    watch.told(48, &silent);
    let machines: Arc<[Machine]> = ["m1", "m3", "m4"].map(machine).into();
    let lost = RegistrySnapshot { machines, expired: vec![m2()], ..registry() };
    assert_eq!(watch.told(55, &lost), ["machine_lost"]);
    let member = watch.member("m2");
    assert!(member.lost_since.is_some() && member.silent_since.is_none());
}

#[test]
fn a_machine_whose_key_was_taken_away_may_be_back_in_no_time() {
    let mut watch = Watch::registry();
    let mut states = Watch::states();
    states[1..].iter_mut().for_each(|state| state.ip = None);
    let machines = ["m1", "m3", "m4"].map(machine).into();
    let without = RegistrySnapshot { states: states.into(), machines, ..registry() };
    assert_eq!(watch.told(1, &without), [""; 0]);
    assert_eq!(watch.member("m2").silent_since, None);
    assert_eq!(watch.told(2, &without), [""; 0]);
    assert_eq!(watch.member("m2").silent_since, Some(watch.start.wall + Duration::from_secs(1)));
    assert_eq!(watch.verdict("b0.service"), Some(Verdict::Ok), "its units are where they were");
    assert_eq!(watch.told(3, &registry()), [""; 0]);
    assert_eq!(watch.member("m2").silent_since, None);
    watch.told(10, &without);
    assert_eq!(watch.told(13, &without), ["machine_lost"]);
    assert_eq!(watch.verdict("b0.service"), Some(Verdict::MachineLost));
}

#[test]
fn an_etcd_that_was_away_makes_no_machine_lost() {
    let mut watch = Watch::registry();
    let all = |ids: &[&str]| ids.iter().map(|id| Lease::Machine((*id).into())).collect();
    for topic in FleetList::ALL {
        watch.fail(10, topic);
    }
    // Whatever expired while it was away is gone at its return.
    let bare = RegistrySnapshot {
        states: [].into(),
        machines: ["m1"].map(machine).into(),
        expired: all(&["m2", "m3", "m4"]),
        ..registry()
    };
    let late = Lease::Machine("m1".into());
    let bare = RegistrySnapshot { overdue: vec![(late, Duration::from_secs(30))], ..bare };
    assert_eq!(watch.told(80, &bare), ["source_back"]);
    assert_eq!(watch.member("m1").silent_since, None);
    assert_eq!(watch.told(83, &bare), ["source_suspect"]);
    assert_eq!(watch.told(90, &registry()), [""; 0]);
    assert_eq!(watch.count("gone") + watch.count("machine_lost"), 0);
}

#[test]
fn global_states_that_one_fleetd_took_away_everywhere_are_no_news() {
    let (mut states, mut files) = (Watch::states(), Watch::files());
    let everywhere = ["m1", "m2", "m3", "m4"];
    states.extend(everywhere.map(|id| state("global.service", id, "active")));
    files.push(UnitFile { global: true, ..file("global.service", "launched", None) });
    let whole = RegistrySnapshot { states: states.into(), files: files.into(), ..registry() };
    let mut watch = Watch {
        cluster: Cluster::new(GRACE),
        start: Moment::now(),
        events: vec![],
    };
    watch.told(0, &whole);
    let without = RegistrySnapshot { states: Watch::states().into(), ..whole.clone() };
    for second in 1..25 {
        assert_eq!(watch.told(second, &without), [""; 0]);
    }
    assert_eq!(watch.verdict("global.service"), Some(Verdict::Stale));
    assert_eq!(watch.told(25, &whole), [""; 0]);
}

#[test]
fn a_global_state_that_has_expired_is_not_awaited_for_ever() {
    let global = || UnitFile { global: true, ..file("a.service", "launched", None) };
    let mut files = Watch::files();
    files[0] = global();
    let whole = RegistrySnapshot { files: files.into(), ..registry() };
    let mut watch = Watch {
        cluster: Cluster::new(GRACE),
        start: Moment::now(),
        events: vec![],
    };
    watch.told(0, &whole);
    let without = RegistrySnapshot { states: Watch::states()[1..].into(), ..whole };
    watch.told(1, &RegistrySnapshot { expired: vec![a_on_m1()], ..without.clone() });
    assert_eq!(watch.told(4, &without), ["stale"]);
    assert_eq!(
        watch.told(31, &without),
        ["gone"],
        "its machine is there, and may not be meant any more"
    );
}

#[test]
fn a_machine_that_is_silent_through_an_outage_is_not_heard_by_that() {
    let mut watch = Watch::registry();
    let silent = |seconds| RegistrySnapshot {
        overdue: vec![(Lease::Machine("m2".into()), Duration::from_secs(seconds))],
        ..registry()
    };
    assert_eq!(watch.told(23, &silent(23)), ["machine_silent"]);
    watch.fail(24, FleetList::Units);
    assert_eq!(watch.told(25, &silent(25)), ["source_back"]);
    assert!(watch.member("m2").silent_since.is_some());
    assert_eq!(watch.told(26, &registry()), ["machine_heard"]);
}

#[test]
fn what_expires_on_one_machine_is_no_reason_to_doubt_all() {
    let mut watch = Watch::registry();
    let (expired, left) = without_b(4);
    watch.told(1, &RegistrySnapshot { expired, ..left.clone() });
    assert_eq!(watch.told(4, &left), ["stale"; 4]);
    assert_eq!(watch.cluster.health().suspect_since, None);

    assert_eq!(watch.told(31, &left), ["gone"; 4]);

    let one_each = RegistrySnapshot { states: left.states[1..].into(), ..left };
    watch.told(100, &one_each);
    assert_eq!(watch.told(103, &one_each), ["stale"], "which was taken away");
    assert_eq!(watch.told(130, &one_each), ["gone"]);
}

#[test]
fn a_machine_none_of_whose_units_is_reported_is_silent_and_they_wait() {
    let mut watch = Watch::registry();
    let (expired, left) = without_b(5);
    assert_eq!(watch.told(1, &RegistrySnapshot { expired, ..left.clone() }), [""; 0]);
    assert_eq!(watch.told(3, &left), [""; 0]);
    assert_eq!(watch.told(4, &left), ["machine_silent"]);
    assert_eq!(watch.member("m2").silent_since, Some(watch.start.wall + Duration::from_secs(1)));
    assert_eq!(watch.verdict("b0.service"), Some(Verdict::Stale));

    assert_eq!(watch.told(1000, &left), [""; 0], "the grace does not run");
    assert_eq!(watch.told(1001, &registry()), ["machine_heard"]);
    assert_eq!(watch.verdict("b0.service"), Some(Verdict::Ok));
}

#[test]
fn a_single_unit_that_is_not_reported_says_nothing_of_its_machine() {
    let whole = RegistrySnapshot {
        states: [state("a.service", "m1", "active")].into(),
        files: Watch::files()[..1].into(),
        ..registry()
    };
    let mut watch = Watch {
        cluster: Cluster::new(GRACE),
        start: Moment::now(),
        events: vec![],
    };
    watch.told(0, &whole);
    let none = RegistrySnapshot { states: [].into(), ..whole };
    for second in 1..100 {
        assert_eq!(watch.told(second, &none), [""; 0]);
    }
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Stale));
    assert_eq!(watch.member("m1").silent_since, None);
}

#[test]
fn who_leads_is_shown() {
    let mut watch = Watch::registry();
    assert!(watch.member("m1").leads && !watch.member("m2").leads);
    assert_eq!(watch.told(1, &RegistrySnapshot { leader: None, ..registry() }), [""; 0]);
    assert!(!watch.member("m1").leads);
}

/// Without the states of m1, all of which have expired.
fn without_states_of_m1() -> RegistrySnapshot {
    let z_on_m1 = Lease::Unit("z.service".into(), "m1".into());
    RegistrySnapshot {
        states: on_m2().into(),
        expired: vec![a_on_m1(), z_on_m1],
        ..registry()
    }
}

/// A cluster in which m1 and its states expired at 20 s, and m1 is back at 40 s and has reported
/// nothing yet.
fn with_m1_back() -> Watch {
    let mut watch = Watch::registry();
    let lost = without_states_of_m1();
    let machines = ["m2", "m3", "m4"].map(machine).into();
    let expired = [lost.expired.clone(), vec![Lease::Machine("m1".into())]].concat();
    assert_eq!(
        watch.told(20, &RegistrySnapshot { machines, expired, ..lost }),
        ["machine_lost"]
    );
    assert_eq!(watch.told(40, &without_states_of_m1()), ["machine_joined"]);
    watch
}

#[test]
fn the_units_of_a_machine_that_is_back_wait_until_it_has_spoken() {
    let mut watch = with_m1_back();
    assert_eq!(watch.told(1000, &without_states_of_m1()), [""; 0], "the grace does not run");
    assert_eq!(watch.verdict("a.service"), Some(Verdict::MachineLost));
    assert!(
        watch
            .reason("a.service")
            .starts_with("Its machine is back in the cluster and has not reported any unit yet")
    );

    assert_eq!(watch.told(1001, &without_a()), [""; 0], "it reports z.service");
    assert_eq!(watch.told(1030, &without_a()), [""; 0], "the grace counts from there");
    assert_eq!(watch.verdict("a.service"), Some(Verdict::MachineLost), "and lost stays lost");
    assert_eq!(watch.told(1031, &without_a()), ["gone"]);
}

#[test]
fn a_machine_that_is_back_and_reports_all_its_units_has_lost_none() {
    let mut watch = with_m1_back();
    assert_eq!(watch.told(80, &registry()), [""; 0]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Ok));
    assert_eq!(watch.cluster.health().held_back, 2);
}

#[test]
fn what_fleet_has_taken_from_a_machine_that_was_lost_is_gone_soon_after_it_reports_the_rest() {
    let mut watch = with_m1_back();
    assert_eq!(watch.told(50, &targeted(without_states_of_m1(), None)), [""; 0]);
    assert_eq!(watch.told(60, &targeted(without_a(), None)), [""; 0]);
    assert_eq!(
        watch.told(62, &targeted(without_a(), None)),
        [""; 0],
        "it sets one state after the other"
    );
    assert_eq!(watch.told(63, &targeted(without_a(), None)), ["gone"]);
}

/// A fleetd that restarts takes 3 s to set its keys again: so long a registry without anything is
/// no doubt yet.
#[test]
fn an_empty_registry_is_doubted_when_a_fleetd_would_have_restarted() {
    let mut watch = Watch::registry();
    let empty = RegistrySnapshot { states: [].into(), machines: [].into(), ..registry() };

    for second in 10..13 {
        assert_eq!(watch.told(second, &empty), [""; 0], "{second} s");
    }
    assert_eq!(watch.told(13, &empty), ["source_suspect"]);
}

/// A fleetd that was killed is back for up to 51 s before it publishes a state. Who begins to watch
/// meanwhile does not know what it will report.
#[test]
fn a_machine_that_has_not_spoken_yet_is_waited_for_longer() {
    let mut watch = Watch {
        cluster: Cluster::new(GRACE),
        start: Moment::now(),
        events: vec![],
    };
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
    let on_second = |watch: &Watch| {
        let unit = watch
            .cluster
            .view()
            .units
            .get(&("agent.service".into(), Some("m2".into())))
            .cloned();
        unit.map(|unit| unit.verdict)
    };

    for second in [0, 11, 51, 59] {
        watch.told(second, &registry);
        assert_eq!(on_second(&watch), Some(Verdict::Ok), "{second} s");
    }
    watch.told(60, &registry);
    assert_eq!(on_second(&watch), Some(Verdict::Unreported));
}
