//! The judgement, case by case and under arbitrary readings.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{
    Cluster, Event, Lease, Machine, MachineId, Member, Moment, Reading, RegistrySnapshot, Topic, Transition, UnitFile,
    UnitName, UnitState, Verdict,
};

const GRACE: Duration = Duration::from_secs(30);

/// A cluster and its clock.
struct Watch {
    cluster: Cluster,
    start: Moment,
    events: Vec<Event>,
}

fn state(unit: &str, machine: &str, active: &str) -> UnitState {
    UnitState {
        machine: Some(machine.into()),
        ip: Some(format!("10.0.0.{}", &machine[1..]).as_str().into()),
        load: Some("loaded".into()),
        active: Some(active.into()),
        sub: Some("running".into()),
        ..UnitState::unreported(unit.into())
    }
}

fn machine(id: &str) -> Machine {
    Machine { id: id.into(), ip: Some(format!("10.0.0.{}", &id[1..]).as_str().into()), metadata: None, version: None }
}

fn file(unit: &str, desired: &str, target: Option<&str>) -> UnitFile {
    UnitFile {
        unit: unit.into(),
        hash: None,
        desired: Some(desired.into()),
        target: target.map(MachineId::from),
        target_known: true,
        global: false,
        description: None,
        requirements: vec![],
        requirements_known: false,
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
    /// A cluster of machines m1 to m4 with `a.service` on m1 and five more units on m2, all wanted there.
    fn new() -> Self {
        let mut watch = Self { cluster: Cluster::new(GRACE), start: Moment::now(), events: vec![] };
        watch.at(0, machines(&["m1", "m2", "m3", "m4"]));
        watch.at(0, files(&Self::files()));
        watch.at(0, units(&Self::states()));
        assert_eq!(watch.events, [], "what is there at the beginning is no event");
        watch
    }

    fn states() -> Vec<UnitState> {
        let mut states = vec![state("a.service", "m1", "active")];
        states.extend((0..5).map(|number| state(&format!("b{number}.service"), "m2", "active")));
        states
    }

    fn files() -> Vec<UnitFile> {
        let mut files = vec![file("a.service", "launched", Some("m1"))];
        files.extend((0..5).map(|number| file(&format!("b{number}.service"), "launched", Some("m2"))));
        files
    }

    fn at(&mut self, second: u64, reading: Reading) -> Vec<&'static str> {
        let transitions = self.cluster.read(reading, self.start + Duration::from_secs(second), Duration::ZERO);
        self.keep(&transitions)
    }

    fn fail(&mut self, second: u64, topic: Topic) -> Vec<&'static str> {
        let transitions = self.cluster.fail(topic.alone(), "no answer", self.start + Duration::from_secs(second));
        self.keep(&transitions)
    }

    fn keep(&mut self, transitions: &[Arc<Transition>]) -> Vec<&'static str> {
        let events: Vec<Event> = transitions.iter().map(|transition| transition.event.clone()).collect();
        let names = events.iter().map(Event::name).collect();
        self.events.extend(events);
        names
    }

    fn verdict(&self, unit: &str) -> Option<Verdict> {
        self.cluster.view().units.iter().find(|shown| &*shown.state.unit == unit).map(|shown| shown.verdict)
    }

    fn reason(&self, unit: &str) -> &str {
        &self.cluster.view().units.iter().find(|shown| &*shown.state.unit == unit).unwrap().reason
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
    assert_eq!(watch.fail(4, Topic::Units), ["source_down"]);
    assert_eq!(watch.fail(5, Topic::Machines), [""; 0], "told once");
    assert_eq!(watch.cluster.view().units.len(), 6);
    watch.at(100, units(&Watch::states()[1..]));
    assert_eq!(watch.at(101, machines(&["m1", "m2", "m3", "m4"])), ["source_back"]);
    assert_eq!(watch.at(129, units(&Watch::states()[1..])), [""; 0], "the grace had run while fleet did not answer");
    assert_eq!(watch.at(131, units(&Watch::states()[1..])), ["gone"]);
}

#[test]
fn a_list_of_machines_that_is_short_after_an_outage_loses_nobody() {
    let mut watch = Watch::new();
    watch.fail(2, Topic::Machines);
    assert_eq!(watch.at(4, machines(&["m2"])), ["source_back"]);
    assert_eq!(watch.at(14, machines(&["m2", "m1"])), [""; 0]);
    assert_eq!(watch.at(34, machines(&["m2", "m1"])), ["machine_lost", "machine_lost"], "m3 and m4 are away in truth");
}

#[test]
fn an_empty_list_of_machines_is_not_believed() {
    let mut watch = Watch::new();
    assert_eq!(watch.at(2, machines(&[])), [""; 0]);
    assert!(watch.cluster.view().machines.iter().all(|machine| machine.lost_since.is_none()));
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
    assert_eq!(watch.verdict("new.service"), Some(Verdict::Ok), "its file has not been read yet");
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
    assert_eq!(watch.reason("a.service"), "It is only submitted: fleet does not want it anywhere.");
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
        units.iter().find(|unit| unit.state.machine.as_deref() == Some(machine)).map(|unit| unit.verdict)
    };
    assert_eq!(verdict("m1"), Some(Verdict::Ghost));
    assert_eq!(verdict("m3"), Some(Verdict::Ok));
}

#[test]
fn a_unit_on_a_machine_that_left_is_lost_however_active_it_claims_to_be() {
    let mut watch = Watch::new();
    let mut states = Watch::states();
    states[0].ip = None;
    watch.at(2, units(&states));
    assert_eq!(watch.verdict("a.service"), Some(Verdict::MachineLost));
    assert_eq!(watch.at(2, machines(&["m2", "m3", "m4"])), ["machine_lost"]);
    assert_eq!(watch.at(4, units(&states[1..])), ["gone"], "fleet has let go of it");
}

#[test]
fn a_machine_that_was_lost_is_remembered_for_the_grace() {
    let mut watch = Watch::new();
    watch.at(2, machines(&["m1", "m2", "m3"]));
    assert_eq!(watch.cluster.view().machines.iter().filter(|machine| machine.lost_since.is_some()).count(), 1);
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
    watch.at(2, machines(&["m1", "m2", "m3", "m4"]));
    assert_eq!(watch.at(2, files(&Watch::files())), ["source_suspect"]);
    assert!(watch.cluster.health().suspect_since.is_some());
    assert_eq!(watch.at(500, few()), [""; 0], "the grace does not run");
    assert_eq!(watch.cluster.view().units.len(), 6);
    assert_eq!(watch.at(502, units(&Watch::states())), [""; 0], "alert nobody about each row");
    assert!(watch.cluster.health().suspect_since.is_none());
    assert_eq!(watch.cluster.health().held_back, 3);
}

#[test]
fn when_most_rows_vanish_since_fleet_let_go_of_them_they_are_gone() {
    let mut watch = Watch::new();
    watch.at(2, units(&Watch::states()[..1]));
    assert_eq!(watch.at(2, files(&Watch::files()[..1])), ["gone"; 5]);
    assert_eq!(watch.cluster.view().units.len(), 1);
}

#[test]
fn an_etcd_that_knows_nothing_is_no_empty_cluster() {
    let mut watch = Watch::new();
    watch.at(2, units(&[]));
    watch.at(2, files(&[]));
    watch.at(2, machines(&[]));
    watch.at(4, units(&[]));
    watch.at(12, files(&[]));
    assert_eq!(watch.cluster.view().units.iter().filter(|unit| unit.listed).count(), 6);
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
    wanted[6].requirements = vec!["MachineMetadata=role=gpu".into()];
    assert_eq!(watch.at(2, files(&wanted)), ["appeared"; 3]);
    assert_eq!(watch.verdict("nowhere.service"), Some(Verdict::Unscheduled));
    assert_eq!(
        watch.reason("nowhere.service"),
        "fleet wants it launched, but no machine takes it; it asks for MachineMetadata=role=gpu."
    );
    assert_eq!(watch.verdict("soon.service"), Some(Verdict::Unreported));
    assert_eq!(watch.verdict("everywhere.service"), Some(Verdict::Unreported));
    assert!(watch.cluster.view().units.iter().filter(|unit| !unit.listed).count() == 3);
}

#[test]
fn a_machine_without_an_address_is_not_lost() {
    let mut watch = Watch { cluster: Cluster::new(GRACE), start: Moment::now(), events: vec![] };
    let bare = Machine { id: "m1".into(), ip: None, metadata: None, version: None };
    watch.at(0, Reading::Machines { machines: vec![bare] });
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
    assert!(Arc::ptr_eq(before.units.get(&b0).unwrap(), watch.cluster.view().units.get(&b0).unwrap()));
}

/// A cluster of 30 units on three machines.
fn thirty() -> Watch {
    let mut watch = Watch { cluster: Cluster::new(GRACE), start: Moment::now(), events: vec![] };
    watch.at(0, machines(&["m1", "m2", "m3"]));
    watch.at(0, files(&thirty_files()));
    watch.at(0, units(&thirty_states()));
    watch
}

fn thirty_states() -> Vec<UnitState> {
    (0..30).map(|n| state(&format!("u{n:02}.service"), &format!("m{}", n % 3 + 1), "active")).collect()
}

fn thirty_files() -> Vec<UnitFile> {
    (0..30).map(|n| file(&format!("u{n:02}.service"), "launched", Some(&format!("m{}", n % 3 + 1)))).collect()
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
    (40..80).step_by(2).for_each(|second| watch.reads(second, 22));
    assert_eq!((watch.count("source_suspect"), watch.count("gone")), (1, 0));
    assert_eq!(watch.count("stale"), 8, "the doubt is over, and eight are still away");
    watch.reads(80, 30);
    assert_eq!((watch.count("back"), watch.count("gone")), (8, 0));
}

#[test]
fn a_list_that_wobbles_is_one_doubt() {
    let mut watch = thirty();
    (2..20).step_by(2).for_each(|second| watch.reads(second, if second % 4 == 0 { 21 } else { 19 }));
    watch.reads(20, 30);
    assert_eq!((watch.count("source_suspect"), watch.count("stale"), watch.count("gone")), (1, 0, 0));
    assert!(watch.cluster.health().suspect_since.is_none());
}

#[test]
fn unit_files_that_cannot_be_read_do_not_stop_the_judgement() {
    let mut watch = Watch { cluster: Cluster::new(GRACE), start: Moment::now(), events: vec![] };
    watch.at(0, machines(&["m1", "m2", "m3"]));
    watch.at(0, units(&thirty_states()));
    for second in (2..60).step_by(10) {
        watch.fail(second, Topic::UnitFiles);
        watch.at(second, units(&thirty_states()[..29]));
        watch.at(second, machines(&["m1", "m2"]));
    }
    assert_eq!((watch.count("machine_lost"), watch.count("gone")), (1, 1));
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
    assert_eq!(watch.cluster.view().units.len(), 6);
}

#[test]
fn unit_files_that_are_short_after_an_outage_take_no_row_away() {
    let mut watch = thirty();
    watch.fail(10, Topic::Units);
    watch.fail(10, Topic::UnitFiles);
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
    watch.cluster.read(files(&Watch::files()), at, Duration::from_secs(25));
    assert_eq!(watch.verdict("new.service"), Some(Verdict::Ok));
    watch.at(28, files(&Watch::files()));
    assert_eq!(watch.verdict("new.service"), Some(Verdict::Ghost));
}

#[test]
fn what_comes_first_into_an_empty_cluster_is_an_event() {
    let mut watch = Watch { cluster: Cluster::new(GRACE), start: Moment::now(), events: vec![] };
    watch.at(0, machines(&[]));
    watch.at(0, files(&[]));
    watch.at(0, units(&[]));
    assert_eq!(watch.at(10, machines(&["m1"])), ["machine_joined"]);
    assert_eq!(watch.at(10, files(&[file("a.service", "launched", Some("m1"))])), ["appeared"]);
    assert_eq!(watch.at(12, units(&[state("a.service", "m1", "active")])), ["appeared"]);
}

/// What a source may say in a small world of three units and three machines.
fn any_reading() -> impl Strategy<Value = Result<Reading, Topic>> {
    let name = || (0..3_u8).prop_map(|number| format!("{number}.service"));
    let id = || (0..3_u8).prop_map(|number| format!("m{number}"));
    let state = (name(), id(), prop::sample::select(vec!["active", "failed"]), any::<bool>()).prop_map(
        |(unit, id, active, known)| {
            let state = state(&unit, &id, active);
            UnitState { ip: state.ip.clone().filter(|_| known), ..state }
        },
    );
    let file = (name(), prop::sample::select(vec!["launched", "inactive"]), prop::option::of(id()), any::<bool>())
        .prop_map(|(unit, desired, target, global)| UnitFile { global, ..file(&unit, desired, target.as_deref()) });
    prop_oneof![
        4 => prop::collection::vec(state, 0..6).prop_map(|states| Ok(Reading::Units { states, files: None })),
        2 => prop::collection::vec(id(), 0..4)
            .prop_map(|ids| Ok(machines(&ids.iter().map(String::as_str).collect::<Vec<_>>()))),
        2 => prop::collection::vec(file, 0..4).prop_map(|files| Ok(Reading::UnitFiles { files })),
        1 => prop::sample::select(Topic::ALL.to_vec()).prop_map(Err),
    ]
}

type Key = (UnitName, Option<MachineId>);

fn keys(cluster: &Cluster) -> BTreeSet<Key> {
    cluster.view().units.iter().map(|unit| (unit.state.unit.clone(), unit.state.machine.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever a source says, and in whatever order: what is reported is shown, what failed changes nothing, each row
    /// is there once and in order, and the events tell of each row on a machine that comes and goes.
    #[test]
    fn the_view_is_sound(
        readings in prop::collection::vec((any_reading(), 0..20_u64), 1..40),
        grace in prop::sample::select(vec![0, 30_u64]),
    ) {
        let mut cluster = Cluster::new(Duration::from_secs(grace));
        let mut at = Moment::now();
        let mut told: Option<BTreeSet<Key>> = None;
        for (said, pause) in readings {
            at = at + Duration::from_secs(pause);
            let before = cluster.view().clone();
            let (transitions, reported) = match said {
                Ok(reading) => {
                    let reported: Option<BTreeSet<Key>> = match &reading {
                        Reading::Units { states, .. } => {
                            Some(states.iter().map(|state| (state.unit.clone(), state.machine.clone())).collect())
                        }
                        _ => None,
                    };
                    (cluster.read(reading, at, Duration::ZERO), reported)
                }
                Err(topic) => {
                    let transitions = cluster.fail(topic.alone(), "no answer", at);
                    prop_assert!(Arc::ptr_eq(&before, cluster.view()));
                    (transitions, None)
                }
            };
            let shown = keys(&cluster);
            prop_assert_eq!(shown.len(), cluster.view().units.len(), "a row is there twice");
            prop_assert!(cluster.view().units.iter().map(|unit| (&unit.state.unit, &unit.state.machine)).is_sorted());
            let placed: BTreeSet<Key> = shown.iter().filter(|key| key.1.is_some()).cloned().collect();
            if let Some(reported) = &reported {
                prop_assert!(placed.is_superset(reported));
                if grace == 0 {
                    prop_assert_eq!(&placed, reported);
                }
            }
            for transition in &transitions {
                let Some(place) = transition.event.place() else { continue };
                let key = (place.unit.clone(), place.machine.clone());
                if let Some(told) = told.as_mut().filter(|_| key.1.is_some()) {
                    match transition.event {
                        Event::Appeared { .. } => prop_assert!(told.insert(key), "it appeared twice"),
                        Event::Gone { .. } => prop_assert!(told.remove(&key), "it went twice"),
                        _ => prop_assert!(told.contains(&key), "it was not there"),
                    }
                }
            }
            match &mut told {
                Some(told) => prop_assert_eq!(&*told, &placed),
                None if reported.is_some() => told = Some(placed),
                None => {}
            }
        }
    }

    /// A row that is away for one reading while its unit file stays is never reported gone.
    #[test]
    fn a_row_that_blinks_is_never_gone(missing in prop::collection::vec(any::<bool>(), 6), pause in 1..1000_u64) {
        let mut watch = Watch::new();
        let there: Vec<UnitState> = Watch::states().into_iter().zip(&missing).filter(|(_, gone)| !**gone).map(|(state, _)| state).collect();
        watch.at(pause, units(&there));
        watch.at(pause, files(&Watch::files()));
        watch.at(pause, machines(&["m1", "m2", "m3", "m4"]));
        watch.at(2 * pause, units(&Watch::states()));
        prop_assert!(!watch.events.iter().any(|event| event.name() == "gone"), "{:?}", watch.events);
        prop_assert_eq!(watch.cluster.health().held_back, missing.iter().filter(|gone| **gone).count() as u64);
    }
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

fn a_on_m1() -> Lease {
    Lease::Unit("a.service".into(), "m1".into())
}

impl Watch {
    fn registry() -> Self {
        let mut watch = Self { cluster: Cluster::new(GRACE), start: Moment::now(), events: vec![] };
        assert_eq!(watch.told(0, &registry()), [""; 0], "what is there at the beginning is no event");
        assert!(watch.cluster.health().ready());
        watch
    }

    fn told(&mut self, second: u64, registry: &RegistrySnapshot) -> Vec<&'static str> {
        self.at(second, Reading::Registry(registry.clone()))
    }

    fn member(&self, id: &str) -> &Member {
        self.cluster.view().machines.iter().find(|member| &*member.machine.id == id).unwrap()
    }
}

#[test]
fn what_the_registry_has_taken_away_is_gone_at_once() {
    let mut watch = Watch::registry();
    assert_eq!(watch.told(1, &targeted(registry(), Some("m3"))), [""; 0]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Ghost), "its machine has not let go of it yet");
    assert_eq!(watch.told(2, &targeted(without_a(), Some("m3"))), ["gone"]);
    let mut watch = Watch::registry();
    assert_eq!(watch.told(1, &targeted(without_a(), None)), ["gone"], "also where no machine takes it");
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
fn what_has_expired_is_awaited_until_fleet_says_otherwise() {
    let mut watch = Watch::registry();
    let overdue = RegistrySnapshot { overdue: vec![(a_on_m1(), Duration::from_secs(26))], ..registry() };
    assert_eq!(watch.told(26, &overdue), [""; 0]);
    assert_eq!(watch.verdict("a.service"), Some(Verdict::Stale));
    let since = watch.cluster.view().units.iter().next().unwrap().stale_since;
    assert_eq!(since, Some(watch.start.wall), "its age counts from its last renewal");
    assert_eq!(
        watch.told(28, &RegistrySnapshot { overdue: vec![(a_on_m1(), Duration::from_secs(28))], ..registry() }),
        [""; 0]
    );
    assert_eq!(watch.told(30, &RegistrySnapshot { expired: vec![a_on_m1()], ..without_a() }), [""; 0]);
    assert_eq!(watch.cluster.view().units.iter().next().unwrap().stale_since, since, "and goes on to");
    assert_eq!(watch.told(33, &without_a()), ["stale"]);
    assert_eq!(watch.told(3600, &without_a()), [""; 0], "no grace ends that");
    assert!(watch.reason("a.service").contains("expire"), "{}", watch.reason("a.service"));
    assert_eq!(watch.told(3601, &targeted(without_a(), Some("m3"))), ["gone"]);
}

#[test]
fn a_state_that_is_renewed_late_is_no_event() {
    let mut watch = Watch::registry();
    watch.told(26, &RegistrySnapshot { overdue: vec![(a_on_m1(), Duration::from_secs(26))], ..registry() });
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
    for topic in Topic::ALL {
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
    let mut watch = Watch { cluster: Cluster::new(GRACE), start: Moment::now(), events: vec![] };
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
    let mut watch = Watch { cluster: Cluster::new(GRACE), start: Moment::now(), events: vec![] };
    watch.told(0, &whole);
    let without = RegistrySnapshot { states: Watch::states()[1..].into(), ..whole };
    watch.told(1, &RegistrySnapshot { expired: vec![a_on_m1()], ..without.clone() });
    assert_eq!(watch.told(4, &without), ["stale"]);
    assert_eq!(watch.told(31, &without), ["gone"], "its machine is there, and may not be meant any more");
}

#[test]
fn a_machine_that_is_silent_through_an_outage_is_not_heard_by_that() {
    let mut watch = Watch::registry();
    let silent = |seconds| RegistrySnapshot {
        overdue: vec![(Lease::Machine("m2".into()), Duration::from_secs(seconds))],
        ..registry()
    };
    assert_eq!(watch.told(23, &silent(23)), ["machine_silent"]);
    watch.fail(24, Topic::Units);
    assert_eq!(watch.told(25, &silent(25)), ["source_back"]);
    assert!(watch.member("m2").silent_since.is_some());
    assert_eq!(watch.told(26, &registry()), ["machine_heard"]);
}

#[test]
fn what_expires_on_one_machine_is_no_reason_to_doubt_all() {
    let mut watch = Watch::registry();
    let on_m2: Vec<Lease> =
        (0..5).map(|number| Lease::Unit(format!("b{number}.service").as_str().into(), "m2".into())).collect();
    let left = RegistrySnapshot { states: Watch::states()[..1].into(), ..registry() };
    watch.told(1, &RegistrySnapshot { expired: on_m2, ..left.clone() });
    assert_eq!(watch.told(4, &left), ["stale"; 5]);
    assert_eq!(watch.cluster.health().suspect_since, None);
    let none = RegistrySnapshot { states: [].into(), ..left };
    watch.told(100, &none);
    assert_eq!(watch.told(103, &none), ["stale"]);
    assert_eq!(watch.told(130, &none), ["gone"], "which was taken away");
}

#[test]
fn who_leads_is_shown() {
    let mut watch = Watch::registry();
    assert!(watch.member("m1").leads && !watch.member("m2").leads);
    assert_eq!(watch.told(1, &RegistrySnapshot { leader: None, ..registry() }), [""; 0]);
    assert!(!watch.member("m1").leads);
}
