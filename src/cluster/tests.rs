//! The cluster as a whole: readings in, view and events out. Each file has one theme.

mod crash_loops;
mod lists;
mod lives;
mod machines;
mod peers;
mod random;
mod registry_machines;
mod registry_units;
mod restarts;
mod source;

use std::sync::Arc;
use std::time::Duration;

use super::{
    Cluster, Event, FleetList, Health, Lease, Machine, Member, Moment, Reading, RegistrySnapshot,
    Retention, Transition, Unit, UnitFile, UnitState, Verdict, View,
};
use crate::builders;

const GRACE: Duration = Duration::from_secs(30);

/// A cluster with a clock that starts with it, and all events so far.
struct TestCluster {
    cluster: Cluster,
    start: Moment,
    events: Vec<Event>,
}

impl TestCluster {
    /// A cluster that has not read anything.
    fn empty() -> Self {
        Self::with_grace(GRACE)
    }

    fn with_grace(grace: Duration) -> Self {
        Self {
            cluster: Cluster::new(Retention::from(grace)),
            start: Moment::now(),
            events: vec![],
        }
    }

    /// A cluster of machines m1 to m4 with `a.service` and `z.service` on m1 and five more units on
    /// m2, all wanted there. Without `a.service`, m1 still reports `z.service`.
    fn new() -> Self {
        let mut cluster = Self::empty();

        cluster.read(0, machines(&["m1", "m2", "m3", "m4"]));
        cluster.read(0, files(&seven_files()));
        cluster.read(0, units(&seven_states()));
        assert_eq!(cluster.events, [], "the first readings are no events");
        cluster
    }

    /// The same cluster, read from a registry.
    fn from_registry() -> Self {
        let mut cluster = Self::empty();

        let events = cluster.read_registry(0, &registry());
        assert_eq!(events, [""; 0], "the first reading is no event");
        assert!(cluster.health().ready());
        cluster
    }

    /// Applies a reading at some seconds after the start. Returns the names of the events.
    fn read(&mut self, second: u64, reading: Reading) -> Vec<&'static str> {
        self.read_after(Duration::from_secs(second), reading)
    }

    fn read_after(&mut self, time: Duration, reading: Reading) -> Vec<&'static str> {
        self.read_taking(Duration::ZERO, reading, self.start + time)
    }

    /// Applies a reading that was complete at `at`, after it had taken `took`.
    fn read_taking(&mut self, took: Duration, reading: Reading, at: Moment) -> Vec<&'static str> {
        let transitions = self.cluster.apply(reading, at, took);
        self.record(&transitions)
    }

    fn read_registry(&mut self, second: u64, registry: &RegistrySnapshot) -> Vec<&'static str> {
        self.read(second, Reading::Registry(registry.clone()))
    }

    fn fail(&mut self, second: u64, list: FleetList) -> Vec<&'static str> {
        let at = self.start + Duration::from_secs(second);
        let transitions = self.cluster.record_failure(list.alone(), "no answer", at);
        self.record(&transitions)
    }

    fn record(&mut self, transitions: &[Arc<Transition>]) -> Vec<&'static str> {
        let events: Vec<Event> = transitions
            .iter()
            .map(|transition| transition.event.clone())
            .collect();
        let names = events.iter().map(Event::name).collect();

        self.events.extend(events);
        names
    }

    /// The number of events with this name.
    fn count(&self, name: &str) -> usize {
        self.events.iter().filter(|event| event.name() == name).count()
    }

    fn view(&self) -> &Arc<View> {
        self.cluster.view()
    }

    fn health(&self) -> &Health {
        self.cluster.health()
    }

    /// The first row of a unit.
    fn unit(&self, unit: &str) -> Option<&Unit> {
        self.view()
            .units
            .iter()
            .find(|shown| &*shown.state.unit == unit)
            .map(|shown| &**shown)
    }

    fn verdict(&self, unit: &str) -> Option<Verdict> {
        self.unit(unit).map(|shown| shown.verdict)
    }

    fn reason(&self, unit: &str) -> &str {
        &self.unit(unit).expect("a row").reason
    }

    fn member(&self, id: &str) -> &Member {
        self.view()
            .machines
            .iter()
            .find(|member| &*member.machine.id == id)
            .expect("a machine")
    }
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

/// The unit states of the cluster of [`TestCluster::new`].
fn seven_states() -> Vec<UnitState> {
    let mut states = vec![state("a.service", "m1", "active")];

    states.extend((0..5).map(|number| state(&format!("b{number}.service"), "m2", "active")));
    states.push(state("z.service", "m1", "active"));
    states
}

/// The unit files of the cluster of [`TestCluster::new`].
fn seven_files() -> Vec<UnitFile> {
    let on_m2 = |number| file(&format!("b{number}.service"), "launched", Some("m2"));
    let mut files = vec![file("a.service", "launched", Some("m1"))];

    files.extend((0..5).map(on_m2));
    files.push(file("z.service", "launched", Some("m1")));
    files
}

fn on_m2() -> Vec<UnitState> {
    seven_states()
        .into_iter()
        .filter(|state| state.machine.as_deref() == Some("m2"))
        .collect()
}

/// The registry of the cluster of [`TestCluster::new`].
fn registry() -> RegistrySnapshot {
    RegistrySnapshot {
        states: seven_states().into(),
        machines: ["m1", "m2", "m3", "m4"].map(machine).into(),
        files: seven_files().into(),
        leader: Some("m1".into()),
        ..RegistrySnapshot::default()
    }
}

/// The same without the state of `a.service` on m1.
fn without_a() -> RegistrySnapshot {
    RegistrySnapshot { states: seven_states()[1..].into(), ..registry() }
}

/// The same with another target of `a.service`, or none.
fn targeted(registry: RegistrySnapshot, target: Option<&str>) -> RegistrySnapshot {
    let mut files = seven_files();
    files[0] = file("a.service", "launched", target);
    RegistrySnapshot { files: files.into(), ..registry }
}

/// The leases of some of the five states of m2, and the registry without these.
fn without_b(count: usize) -> (Vec<Lease>, RegistrySnapshot) {
    let lease = |state: &UnitState| Lease::Unit(state.unit.clone(), "m2".into());
    let mut states = seven_states();
    let leases = states.drain(1..=count).map(|state| lease(&state)).collect();
    (leases, RegistrySnapshot { states: states.into(), ..registry() })
}

fn a_on_m1() -> Lease {
    Lease::Unit("a.service".into(), "m1".into())
}
