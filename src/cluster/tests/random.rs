//! Properties that hold for any readings: incomplete lists, late lists in any order, registries and
//! their changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{
    GRACE, TestCluster, file, files, machine, machines, seven_files, seven_states, state, units,
};
use crate::cluster::{
    Cluster, Delta, Event, FleetList, Lease, Machine, Moment, Observation, Reading,
    RegistrySnapshot, RowKey, Transition, UnitFile, UnitState, Units, Verdict,
};

/// One attempt to read.
#[derive(Clone, Debug)]
struct Attempt {
    /// The reading, or the lists that could not be read.
    outcome: Result<Reading, &'static [FleetList]>,
    /// The time since the previous attempt ended.
    pause: Duration,
    /// The time that the reading took.
    took: Duration,
}

fn any_name() -> impl Strategy<Value = String> {
    (0..3_u8).prop_map(|number| format!("{number}.service"))
}

fn any_id() -> impl Strategy<Value = String> {
    (0..3_u8).prop_map(|number| format!("m{number}"))
}

fn any_state() -> impl Strategy<Value = UnitState> {
    (
        any_name(),
        any_id(),
        prop::sample::select(vec!["active", "failed", "activating"]),
        any::<bool>(),
    )
        .prop_map(|(unit, id, active, has_address)| {
            let state = state(&unit, &id, active);
            UnitState { ip: state.ip.clone().filter(|_| has_address), ..state }
        })
}

fn any_file() -> impl Strategy<Value = UnitFile> {
    let desired = prop::sample::select(vec!["launched", "inactive"]);

    (any_name(), desired, prop::option::of(any_id()), any::<bool>(), any::<bool>()).prop_map(
        |(unit, desired, target, global, requirements_known)| {
            let target = target.filter(|_| !global);
            UnitFile {
                global,
                requirements_known,
                ..file(&unit, desired, target.as_deref())
            }
        },
    )
}

fn any_lease() -> impl Strategy<Value = Lease> {
    prop_oneof![
        1 => any_id().prop_map(|id| Lease::Machine(id.as_str().into())),
        3 => (any_name(), any_id())
            .prop_map(|(unit, id)| Lease::Unit(unit.as_str().into(), id.as_str().into())),
    ]
}

fn any_observation() -> impl Strategy<Value = Observation> {
    prop_oneof![
        3 => any_state().prop_map(Observation::Reported),
        1 => any_id().prop_map(|id| Observation::MachineSeen(machine(&id))),
        1 => any_file().prop_map(Observation::Wanted),
        1 => any_name().prop_map(|unit| Observation::NotWanted(unit.as_str().into())),
        2 => any_lease().prop_map(Observation::Deleted),
        2 => any_lease().prop_map(Observation::Expired),
        1 => (any_lease(), seconds(0..30))
            .prop_map(|(lease, age)| Observation::Overdue(lease, age)),
        1 => any_lease().prop_map(Observation::Renewed),
        1 => prop::option::of(any_id())
            .prop_map(|id| Observation::Leads(id.map(|id| id.as_str().into()))),
    ]
}

/// The states sorted as in a list, the last one of each row.
fn sorted_states(states: Vec<UnitState>) -> Vec<UnitState> {
    let by_key: BTreeMap<RowKey, UnitState> = states
        .into_iter()
        .map(|state| ((state.unit.clone(), state.machine.clone()), state))
        .collect();
    by_key.into_values().collect()
}

/// The files sorted as in a list, the last one of each unit.
fn sorted_files(files: Vec<UnitFile>) -> Vec<UnitFile> {
    let by_unit: BTreeMap<_, _> = files.into_iter().map(|file| (file.unit.clone(), file)).collect();
    by_unit.into_values().collect()
}

fn any_machines() -> impl Strategy<Value = Vec<Machine>> {
    prop::collection::btree_set(any_id(), 0..4)
        .prop_map(|ids| ids.iter().map(|id| machine(id)).collect())
}

fn any_registry() -> impl Strategy<Value = RegistrySnapshot> {
    let leases = || prop::collection::vec(any_lease(), 0..3);
    let rows = (
        prop::collection::vec(any_state(), 0..6),
        any_machines(),
        prop::collection::vec(any_file(), 0..4),
    );

    (rows, leases(), leases(), 0..30_u64).prop_map(
        |((states, machines, files), expired, overdue, age)| RegistrySnapshot {
            states: sorted_states(states).into(),
            machines: machines.into(),
            files: sorted_files(files).into(),
            expired,
            overdue: overdue
                .into_iter()
                .map(|lease| (lease, Duration::from_secs(age)))
                .collect(),
            ..RegistrySnapshot::default()
        },
    )
}

/// Any attempts of a source that is polled.
fn polled() -> impl Strategy<Value = Vec<Attempt>> {
    let outcome = prop_oneof![
        4 => prop::collection::vec(any_state(), 0..6)
            .prop_map(|states| Ok(Reading::Units { states: sorted_states(states), files: None })),
        2 => any_machines().prop_map(|machines| Ok(Reading::Machines { machines })),
        2 => prop::collection::vec(any_file(), 0..4)
            .prop_map(|files| Ok(Reading::UnitFiles { files: sorted_files(files) })),
        1 => prop::sample::select(FleetList::ALL.to_vec()).prop_map(|list| Err(list.alone())),
    ];
    let attempt = (outcome, seconds(0..20), seconds(0..5))
        .prop_map(|(outcome, pause, took)| Attempt { outcome, pause, took });

    prop::collection::vec(attempt, 1..40)
}

/// Any attempts of a source that watches a registry. The first one reads the whole registry.
fn watched() -> impl Strategy<Value = Vec<Attempt>> {
    let attempt = |outcome, pause| Attempt { outcome, pause, took: Duration::ZERO };
    let outcome = prop_oneof![
        6 => prop::collection::vec(any_observation(), 0..6)
            .prop_map(|changes| Ok(Reading::Changes { index: 0, changes })),
        2 => any_registry().prop_map(|registry| Ok(Reading::Registry(registry))),
        1 => Just(Err(&FleetList::ALL as &'static [FleetList])),
    ];
    let later = (outcome, seconds(0..20)).prop_map(move |(outcome, pause)| attempt(outcome, pause));

    (any_registry(), prop::collection::vec(later, 0..40)).prop_map(move |(registry, later)| {
        let first = attempt(Ok(Reading::Registry(registry)), Duration::ZERO);
        std::iter::once(first).chain(later).collect()
    })
}

fn seconds(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_secs)
}

/// A second, simpler account of the rows, with which the cluster is compared.
#[derive(Default)]
struct ReferenceModel {
    /// The rows that the source reports, each with the time of its last report.
    reported: BTreeMap<RowKey, Moment>,
    /// The rows that it reported before, each with the time when it was first missing.
    missing_since: BTreeMap<RowKey, Moment>,
    /// The rows according to the events alone; `None` until the units were first read.
    by_events: Option<BTreeSet<RowKey>>,
}

impl ReferenceModel {
    fn apply(&mut self, reading: &Reading, at: Moment) {
        match reading {
            Reading::Units { states, .. } => self.apply_states(states, at),
            Reading::Registry(registry) => self.apply_states(&registry.states, at),
            Reading::Machines { .. } | Reading::UnitFiles { .. } => {}
            Reading::Changes { changes, .. } => {
                for change in changes {
                    self.apply_change(change, at);
                }
            }
        }
    }

    fn apply_states(&mut self, states: &[UnitState], at: Moment) {
        let reported = states
            .iter()
            .map(|state| ((state.unit.clone(), state.machine.clone()), at))
            .collect();

        let before = std::mem::replace(&mut self.reported, reported);
        self.missing_since.extend(before.into_keys().map(|key| (key, at)));
    }

    fn apply_change(&mut self, change: &Observation, at: Moment) {
        match change {
            Observation::Reported(state) => {
                let key = (state.unit.clone(), state.machine.clone());
                self.reported.insert(key, at);
            }
            Observation::Deleted(Lease::Unit(unit, machine))
            | Observation::Expired(Lease::Unit(unit, machine)) => {
                let key = (unit.clone(), Some(machine.clone()));
                if self.reported.remove(&key).is_some() {
                    self.missing_since.insert(key, at);
                }
            }
            _ => {}
        }
    }

    /// Applies the events, and compares the result with the rows that are shown.
    fn check_events(
        &mut self,
        transitions: &[Arc<Transition>],
        shown: &BTreeSet<RowKey>,
        at: Moment,
    ) -> Result<(), TestCaseError> {
        let Some(rows) = &mut self.by_events else {
            return Ok(());
        };

        for transition in transitions {
            let Some(place) = transition.event.place() else {
                continue;
            };
            let key = (place.unit.clone(), place.machine.clone());
            if key.1.is_none() {
                continue;
            }

            match &transition.event {
                Event::Appeared { .. } => prop_assert!(rows.insert(key), "it appeared twice"),
                Event::Gone { reason, .. } => {
                    prop_assert!(rows.remove(&key), "it was gone twice");
                    if reason.contains("--grace") {
                        let missing_for = at.since(self.missing_since[&key]);
                        prop_assert!(missing_for >= GRACE, "it was kept for the grace period");
                    }
                    prop_assert!(!reason.contains("--keep-lost"), "no test lasts an hour");
                }
                _ => prop_assert!(rows.contains(&key), "it had not appeared"),
            }
        }
        prop_assert_eq!(&*rows, shown);
        Ok(())
    }
}

/// The rows that are shown because a machine reports them, or reported them before.
fn reported(cluster: &Cluster) -> BTreeSet<RowKey> {
    let units = cluster.view().units.iter();
    units
        .filter(|unit| unit.state.active.is_some())
        .map(|unit| unit.key())
        .collect()
}

/// The view is sorted, and the tally and the delta agree with it.
fn assert_consistent(cluster: &Cluster) -> Result<(), TestCaseError> {
    let view = cluster.view();
    let keys: BTreeSet<RowKey> = view.units.iter().map(|unit| unit.key()).collect();
    prop_assert_eq!(keys.len(), view.units.len(), "a row is there twice");
    prop_assert!(view.units.iter().map(|unit| unit.key()).is_sorted());
    prop_assert!(view.machines.iter().map(|member| &member.machine.id).is_sorted());

    let recount: Units = view.units.iter().cloned().collect();
    prop_assert_eq!(view.units.tally(), recount.tally());
    for verdict in Verdict::ALL {
        let count = view.units.iter().filter(|unit| unit.verdict == verdict).count();
        prop_assert_eq!(view.units.tally().of(verdict), count);
    }

    let (before, delta) = cluster.change();
    prop_assert_eq!(delta, &Delta::between(before, view));
    Ok(())
}

/// Whatever is read, in any order: what is reported is shown, a failure changes nothing, the view
/// is consistent, the events agree with the rows on machines, and no row is gone before its time.
fn assert_sound(attempts: Vec<Attempt>, grace: Duration) -> Result<(), TestCaseError> {
    let mut cluster = Cluster::new(grace);
    let mut model = ReferenceModel::default();
    let mut at = Moment::now();

    for Attempt { outcome, pause, took } in attempts {
        at = at + pause;
        let before = cluster.view().clone();

        let reading = match outcome {
            Ok(reading) => reading,
            Err(lists) => {
                let transitions = cluster.record_failure(lists, "no answer", at);
                let is_about_source =
                    |transition: &Arc<Transition>| transition.event.place().is_none();

                prop_assert!(Arc::ptr_eq(&before, cluster.view()));
                prop_assert!(transitions.iter().all(is_about_source));
                assert_consistent(&cluster)?;
                continue;
            }
        };

        model.apply(&reading, at);
        let has_units = reading.lists().contains(&FleetList::Units);
        let transitions = cluster.apply(reading, at, took);
        assert_consistent(&cluster)?;
        prop_assert!(Arc::ptr_eq(&before, cluster.change().0));

        let shown = reported(&cluster);
        prop_assert!(
            model.reported.keys().all(|key| shown.contains(key)),
            "{:?} in {shown:?}",
            model.reported
        );
        if grace.is_zero() {
            prop_assert!(shown.iter().eq(model.reported.keys()));
        } else {
            model.check_events(&transitions, &shown, at)?;
        }
        if has_units {
            model.by_events.get_or_insert(shown);
        }
    }
    Ok(())
}

/// At most one change of each key in the registry, in any two orders.
fn any_changes_in_two_orders() -> impl Strategy<Value = (Vec<Observation>, Vec<Observation>)> {
    let changes = prop::collection::vec(any_observation(), 0..10).prop_map(|observations| {
        let subject = |observation: &Observation| match observation {
            Observation::Reported(state) => format!("state {} {:?}", state.unit, state.machine),
            Observation::MachineSeen(machine) => format!("machine {}", machine.id),
            Observation::Wanted(UnitFile { unit, .. }) | Observation::NotWanted(unit) => {
                format!("file {unit}")
            }
            Observation::Deleted(lease)
            | Observation::Expired(lease)
            | Observation::Overdue(lease, _)
            | Observation::Renewed(lease) => match lease {
                Lease::Machine(id) => format!("machine {id}"),
                Lease::Unit(unit, machine) => format!("state {unit} {:?}", Some(machine)),
            },
            Observation::Leads(_) => "leader".to_owned(),
        };
        let by_subject = observations
            .into_iter()
            .map(|observation| (subject(&observation), observation));
        by_subject
            .collect::<BTreeMap<_, _>>()
            .into_values()
            .collect::<Vec<_>>()
    });

    changes.prop_flat_map(|changes| (Just(changes.clone()), Just(changes).prop_shuffle()))
}

/// The events as text, sorted: those of one reading have no order.
fn sorted_events(transitions: &[Arc<Transition>]) -> Vec<String> {
    let mut events: Vec<String> = transitions
        .iter()
        .map(|transition| format!("{:?}", transition.event))
        .collect();

    events.sort();
    events
}

fn zero_or_grace() -> impl Strategy<Value = Duration> {
    prop::sample::select(vec![Duration::ZERO, GRACE])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_view_of_lists_is_sound(attempts in polled(), grace in zero_or_grace()) {
        assert_sound(attempts, grace)?;
    }

    #[test]
    fn the_view_of_a_registry_is_sound(attempts in watched(), grace in zero_or_grace()) {
        assert_sound(attempts, grace)?;
    }

    /// Changes of different keys in one reading lead to the same view and the same events in any
    /// order.
    #[test]
    fn the_order_of_changes_within_one_reading_does_not_matter(
        start in any_registry(),
        changes in prop::collection::vec((any_changes_in_two_orders(), seconds(0..20)), 1..12),
    ) {
        let mut at = Moment::now();
        let mut clusters = [Cluster::new(GRACE), Cluster::new(GRACE)];
        for cluster in &mut clusters {
            cluster.apply(Reading::Registry(start.clone()), at, Duration::ZERO);
        }

        for ((one, other), pause) in changes {
            at = at + pause;
            let mut events = Vec::new();
            for (cluster, changes) in clusters.iter_mut().zip([one, other]) {
                let reading = Reading::Changes { index: 0, changes };
                events.push(sorted_events(&cluster.apply(reading, at, Duration::ZERO)));
            }

            prop_assert_eq!(&events[0], &events[1]);
            prop_assert_eq!(clusters[0].view(), clusters[1].view());
            prop_assert_eq!(clusters[0].health(), clusters[1].health());
        }
    }

    #[test]
    fn the_order_of_rows_in_a_list_does_not_matter(
        rows in prop::collection::vec(any_state(), 0..6)
            .prop_map(sorted_states)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        let mut one = TestCluster::new();
        let mut other = TestCluster { start: one.start, ..TestCluster::empty() };
        other.read(0, machines(&["m1", "m2", "m3", "m4"]));
        other.read(0, files(&seven_files()));
        other.read(0, units(&seven_states()));

        let mut events = [one.read(2, units(&rows.0)), other.read(2, units(&rows.1))];
        for names in &mut events {
            names.sort_unstable();
        }
        prop_assert_eq!(&events[0], &events[1]);
        prop_assert_eq!(one.view(), other.view());
    }

    #[test]
    fn a_row_that_one_list_lacks_is_not_gone_while_its_unit_file_is_there(
        is_missing in prop::collection::vec(any::<bool>(), 7),
        pause in 1..1000_u64,
    ) {
        let mut cluster = TestCluster::new();
        let present: Vec<UnitState> = seven_states()
            .into_iter()
            .zip(&is_missing)
            .filter(|(_, is_missing)| !**is_missing)
            .map(|(state, _)| state)
            .collect();

        cluster.read(pause, units(&present));
        cluster.read(pause, files(&seven_files()));
        cluster.read(pause, machines(&["m1", "m2", "m3", "m4"]));
        cluster.read(2 * pause, units(&seven_states()));

        prop_assert_eq!(cluster.count("gone"), 0, "{:?}", cluster.events);
        let missing = is_missing.iter().filter(|is_missing| **is_missing).count() as u64;
        prop_assert_eq!(cluster.health().held_back, missing);
    }
}
