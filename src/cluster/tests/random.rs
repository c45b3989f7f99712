//! The judgement under arbitrary readings: lists that lack rows, come late and in any order,
//! registries and their changes.

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

/// A reading, or the topics that could not be read; how long after the one before it was complete,
/// and how long it took.
type SourceEvent = (Result<Reading, &'static [FleetList]>, Duration, Duration);

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
        3 => (any_name(), any_id()).prop_map(|(unit, id)| Lease::Unit(unit.as_str().into(), id.as_str().into())),
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
        1 => (any_lease(), 0..30_u64).prop_map(|(lease, age)| Observation::Overdue(lease, Duration::from_secs(age))),
        1 => any_lease().prop_map(Observation::Renewed),
        1 => prop::option::of(any_id()).prop_map(|id| Observation::Leads(id.map(|id| id.as_str().into()))),
    ]
}

/// Rows in the order of a list, each once.
fn listed(states: Vec<UnitState>) -> Vec<UnitState> {
    let by_key = |state: UnitState| ((state.unit.clone(), state.machine.clone()), state);
    states
        .into_iter()
        .map(by_key)
        .collect::<BTreeMap<_, _>>()
        .into_values()
        .collect()
}

fn listed_files(files: Vec<UnitFile>) -> Vec<UnitFile> {
    files
        .into_iter()
        .map(|file| (file.unit.clone(), file))
        .collect::<BTreeMap<_, _>>()
        .into_values()
        .collect()
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
            states: listed(states).into(),
            machines: machines.into(),
            files: listed_files(files).into(),
            expired,
            overdue: overdue
                .into_iter()
                .map(|lease| (lease, Duration::from_secs(age)))
                .collect(),
            ..RegistrySnapshot::default()
        },
    )
}

/// What a source may say that is asked for lists.
fn polled() -> impl Strategy<Value = Vec<SourceEvent>> {
    let outcome = prop_oneof![
        4 => prop::collection::vec(any_state(), 0..6)
            .prop_map(|states| Ok(Reading::Units { states: listed(states), files: None })),
        2 => any_machines().prop_map(|machines| Ok(Reading::Machines { machines })),
        2 => prop::collection::vec(any_file(), 0..4)
            .prop_map(|files| Ok(Reading::UnitFiles { files: listed_files(files) })),
        1 => prop::sample::select(FleetList::ALL.to_vec()).prop_map(|topic| Err(topic.alone())),
    ];
    prop::collection::vec((outcome, seconds(0..20), seconds(0..5)), 1..40)
}

/// What a source may say that watches a registry. It begins with the whole of it.
fn watched() -> impl Strategy<Value = Vec<SourceEvent>> {
    let outcome = prop_oneof![
        6 => prop::collection::vec(any_observation(), 0..6).prop_map(|changes| Ok(Reading::Changes { index: 0, changes })),
        2 => any_registry().prop_map(|registry| Ok(Reading::Registry(registry))),
        1 => Just(Err(&FleetList::ALL as &'static [FleetList])),
    ];
    let later = prop::collection::vec((outcome, seconds(0..20), Just(Duration::ZERO)), 0..40);
    (any_registry(), later).prop_map(|(registry, later)| {
        let first = (Ok(Reading::Registry(registry)), Duration::ZERO, Duration::ZERO);
        std::iter::once(first).chain(later).collect()
    })
}

fn seconds(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_secs)
}

/// What the source reports at the moment, and what was told of it.
#[derive(Default)]
struct Model {
    /// The rows, with when each was reported last.
    reported: BTreeMap<RowKey, Moment>,
    /// The rows that were, with when that was.
    left: BTreeMap<RowKey, Moment>,
    /// The rows that are there for who reads the events alone, from the first reading of the units
    /// on.
    told: Option<BTreeSet<RowKey>>,
}

impl Model {
    fn report(&mut self, states: &[UnitState], at: Moment) {
        let reported = states
            .iter()
            .map(|state| ((state.unit.clone(), state.machine.clone()), at))
            .collect();
        let before = std::mem::replace(&mut self.reported, reported);
        self.left.extend(before.into_keys().map(|key| (key, at)));
    }

    fn take(&mut self, reading: &Reading, at: Moment) {
        match reading {
            Reading::Units { states, .. } => self.report(states, at),
            Reading::Registry(registry) => self.report(&registry.states, at),
            Reading::Machines { .. } | Reading::UnitFiles { .. } => {}
            Reading::Changes { changes, .. } => {
                changes.iter().for_each(|observation| self.observe(observation, at));
            }
        }
    }

    fn observe(&mut self, observation: &Observation, at: Moment) {
        match observation {
            Observation::Reported(state) => {
                self.reported.insert((state.unit.clone(), state.machine.clone()), at);
            }
            Observation::Deleted(Lease::Unit(unit, machine))
            | Observation::Expired(Lease::Unit(unit, machine)) => {
                let key = (unit.clone(), Some(machine.clone()));
                if self.reported.remove(&key).is_some() {
                    self.left.insert(key, at);
                }
            }
            _ => {}
        }
    }

    /// Takes what was told, and holds it against the rows that are shown now.
    fn hear(
        &mut self,
        transitions: &[Arc<Transition>],
        shown: &BTreeSet<RowKey>,
        at: Moment,
    ) -> Result<(), TestCaseError> {
        for transition in transitions {
            let Some(place) = transition.event.place() else {
                continue;
            };
            let key = (place.unit.clone(), place.machine.clone());
            let Some(told) = self.told.as_mut().filter(|_| key.1.is_some()) else {
                continue;
            };
            match &transition.event {
                Event::Appeared { .. } => prop_assert!(told.insert(key), "it appeared twice"),
                Event::Gone { reason, .. } => {
                    prop_assert!(told.remove(&key), "it went twice");
                    if reason.contains("--grace") {
                        prop_assert!(at.since(self.left[&key]) >= GRACE, "it had its grace");
                    }
                    prop_assert!(!reason.contains("--keep-lost"), "an hour is not over");
                }
                _ => prop_assert!(told.contains(&key), "it was not there"),
            }
        }
        prop_assert!(
            self.told.as_ref().is_none_or(|told| told == shown),
            "{:?}, and not {shown:?}",
            self.told
        );
        Ok(())
    }
}

/// The rows that are shown because a machine reports them, or did.
fn reported(cluster: &Cluster) -> BTreeSet<RowKey> {
    let units = cluster.view().units.iter();
    units
        .filter(|unit| unit.state.active.is_some())
        .map(|unit| unit.key())
        .collect()
}

/// The view is in order, and all that is kept beside it says the same.
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
    prop_assert_eq!(
        view.units.tally().listed(),
        view.units.iter().filter(|unit| unit.listed).count()
    );

    let (before, delta) = cluster.change();
    prop_assert_eq!(delta, &Delta::between(before, view));
    Ok(())
}

/// Whatever a source says, and in whatever order: what is reported is shown, what failed changes
/// nothing, each row is there once and in order, the events tell of each row on a machine that
/// comes and goes, and no row goes before its time.
fn assert_sound(said: Vec<SourceEvent>, grace: Duration) -> Result<(), TestCaseError> {
    let mut cluster = Cluster::new(grace);
    let mut model = Model::default();
    let mut at = Moment::now();

    for (outcome, pause, took) in said {
        at = at + pause;
        let before = cluster.view().clone();
        let reading = match outcome {
            Ok(reading) => reading,
            Err(topics) => {
                let transitions = cluster.fail(topics, "no answer", at);
                prop_assert!(Arc::ptr_eq(&before, cluster.view()));
                prop_assert!(
                    transitions
                        .iter()
                        .all(|transition| transition.event.place().is_none())
                );
                assert_consistent(&cluster)?;
                continue;
            }
        };

        model.take(&reading, at);
        let has_units = reading.lists().contains(&FleetList::Units);
        let transitions = cluster.read(reading, at, took);
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
            model.hear(&transitions, &shown, at)?;
        }
        if has_units {
            model.told.get_or_insert(shown);
        }
    }
    Ok(())
}

/// A change of each thing in the registry at most, in any two orders.
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

fn text(transitions: &[Arc<Transition>]) -> Vec<String> {
    let mut text: Vec<String> = transitions
        .iter()
        .map(|transition| format!("{:?}", transition.event))
        .collect();
    text.sort();
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_view_of_lists_is_sound(said in polled(), grace in prop::sample::select(vec![Duration::ZERO, GRACE])) {
        assert_sound(said, grace)?;
    }

    #[test]
    fn the_view_of_a_registry_is_sound(said in watched(), grace in prop::sample::select(vec![Duration::ZERO, GRACE])) {
        assert_sound(said, grace)?;
    }

    /// What is said of different things at one moment comes to the same in any order: the same
    /// view, and the same events.
    #[test]
    fn the_order_within_one_moment_does_not_matter(
        start in any_registry(),
        changes in prop::collection::vec((any_changes_in_two_orders(), seconds(0..20)), 1..12),
    ) {
        let mut at = Moment::now();
        let mut clusters = [Cluster::new(GRACE), Cluster::new(GRACE)];
        for cluster in &mut clusters {
            cluster.read(Reading::Registry(start.clone()), at, Duration::ZERO);
        }

        for ((one, other), pause) in changes {
            at = at + pause;
            let told = [one, other];
            let mut happened = Vec::new();
            for (cluster, changes) in clusters.iter_mut().zip(told) {
                happened.push(text(&cluster.read(Reading::Changes { index: 0, changes }, at, Duration::ZERO)));
            }
            prop_assert_eq!(&happened[0], &happened[1]);
            prop_assert_eq!(clusters[0].view(), clusters[1].view());
            prop_assert_eq!(clusters[0].health(), clusters[1].health());
        }
    }

    /// The rows of a list come to the same in any order.
    #[test]
    fn the_order_of_a_list_does_not_matter(
        rows in prop::collection::vec(any_state(), 0..6).prop_map(listed)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        let mut one = TestCluster::new();
        let mut other = TestCluster { start: one.start, ..TestCluster::empty() };
        for reading in [machines(&["m1", "m2", "m3", "m4"]), files(&seven_files()), units(&seven_states())] {
            other.read(0, reading);
        }

        let mut told = [one.read(2, units(&rows.0)), other.read(2, units(&rows.1))];
        told.iter_mut().for_each(|told| told.sort_unstable());
        prop_assert_eq!(&told[0], &told[1]);
        prop_assert_eq!(one.view(), other.view());
    }

    /// A row that is away for one reading while its unit file stays is never reported gone.
    #[test]
    fn a_row_that_blinks_is_never_gone(missing in prop::collection::vec(any::<bool>(), 7), pause in 1..1000_u64) {
        let mut cluster = TestCluster::new();
        let is_there = seven_states().into_iter().zip(&missing).filter(|(_, gone)| !**gone);
        let there: Vec<UnitState> = is_there.map(|(state, _)| state).collect();

        cluster.read(pause, units(&there));
        cluster.read(pause, files(&seven_files()));
        cluster.read(pause, machines(&["m1", "m2", "m3", "m4"]));
        cluster.read(2 * pause, units(&seven_states()));

        prop_assert_eq!(cluster.count("gone"), 0, "{:?}", cluster.events);
        prop_assert_eq!(cluster.health().held_back, missing.iter().filter(|gone| **gone).count() as u64);
    }
}
