//! The metrics that are computed from a publication when they are requested.
//!
//! This module must not know what is counted since the start of the program.

use std::collections::BTreeMap;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry, Unit as MetricUnit};
use wildmatch::WildMatch;

use crate::cluster::{Moment, Unit, Verdict};
use crate::feed::Publication;

/// systemd's active states (`org.freedesktop.systemd1(5)`). Each has a series even while no unit is
/// in it.
const ACTIVE_STATES: [&str; 6] =
    ["active", "reloading", "inactive", "failed", "activating", "deactivating"];

/// The value of `active_state` for a row that no machine has reported although nothing is wrong
/// with it: fleet does not want it started, or has only just begun to.
const NO_STATE: &str = "none";

/// A family whose labels are the same for each series.
type LabelFamily = Family<Vec<(&'static str, String)>, Gauge>;

/// The families about the cluster. A list that has not been read yet has none. Units that match one
/// of `globs` have series of their own.
pub(super) fn cluster(publication: &Publication, globs: &[WildMatch]) -> Registry {
    let mut registry = Registry::with_prefix("fleet");

    if publication.unit_list.is_some() {
        register_units(&mut registry, publication, globs);
    }
    if publication.machine_list.is_some() {
        register_machines(&mut registry, publication);
    }
    registry
}

fn register_units(registry: &mut Registry, publication: &Publication, globs: &[WildMatch]) {
    let mut states = zero_states();
    let mut verdicts: BTreeMap<&str, i64> = Verdict::ALL.map(|verdict| (verdict.name(), 0)).into();
    let single_units = LabelFamily::default();

    for unit in publication.view.units.iter() {
        *states.entry(counted_state(unit)).or_default() += 1;
        *verdicts.entry(unit.verdict.name()).or_default() += 1;

        if globs.iter().any(|glob| glob.matches(&unit.state.unit)) {
            add_unit_states(&single_units, unit);
        }
    }

    registry.register(
        "units",
        "Units by systemd's active state; those whose state is not known now by their verdict",
        gauges("active_state", states),
    );
    registry.register("unit_verdicts", "Units by verdict", gauges("verdict", verdicts));
    registry.register(
        "unit_state",
        "Whether each unit that --metrics-units selects is now in each of systemd's active states",
        single_units,
    );
}

/// A series for each value of `active_state` that [`counted_state`] has.
fn zero_states() -> BTreeMap<&'static str, i64> {
    let verdicts = Verdict::ALL
        .into_iter()
        .filter(|verdict| !verdict.has_current_state())
        .map(Verdict::name);

    ACTIVE_STATES
        .into_iter()
        .chain([NO_STATE])
        .chain(verdicts)
        .map(|state| (state, 0))
        .collect()
}

/// What a row is counted as, so that each row is counted once: its active state now, or else its
/// verdict. What was last known of a lost machine must not look as if it ran.
fn counted_state(unit: &Unit) -> &str {
    if unit.verdict.has_current_state() {
        unit.current_active_state().unwrap_or(NO_STATE)
    } else {
        unit.verdict.name()
    }
}

/// Adds a series for each active state. So a unit whose state changes often has no more series than
/// any other.
fn add_unit_states(family: &LabelFamily, unit: &Unit) {
    let state = &unit.state;

    for active in ACTIVE_STATES {
        let labels = vec![
            ("unit", state.unit.to_string()),
            ("machine", state.machine.as_deref().unwrap_or("none").to_owned()),
            ("active_state", active.to_owned()),
        ];
        let is_in_state = unit.current_active_state() == Some(active);
        family.get_or_create(&labels).set(is_in_state.into());
    }
}

fn register_machines(registry: &mut Registry, publication: &Publication) {
    let machines = &publication.view.machines;
    let lost = machines.iter().filter(|member| member.lost_since.is_some()).count();
    let present = machines.len() - lost;

    registry.register(
        "machines",
        "Machines in the cluster, and those that left it",
        gauges("state", [("present", present as i64), ("lost", lost as i64)]),
    );
}

/// The families about this program that follow from the publication and the number of clients.
pub(super) fn program(publication: &Publication, clients: usize) -> Registry {
    let mut registry = Registry::with_prefix("fleet_monitor");
    let health = &publication.health;

    let held_back = Counter::<u64>::default();
    held_back.inc_by(health.held_back);
    registry.register(
        "disappearances_held_back",
        "Rows that disappeared from fleet's lists and came back",
        held_back,
    );

    let ready = Gauge::<i64>::default();
    ready.set((health.ready() && health.overdue(Moment::now()).is_none()).into());
    registry.register("ready", "Whether the data can be relied on, as /readyz says", ready);

    let (events, bytes) = publication.history_size();
    let kept = Gauge::<i64>::default();
    kept.set(events as i64);
    registry.register("history_events", "Events of single units and machines that are kept", kept);
    let size = Gauge::<i64>::default();
    size.set(bytes as i64);
    registry.register_with_unit("history", "Memory for these events", MetricUnit::Bytes, size);

    let connected = Gauge::<i64>::default();
    connected.set(clients as i64);
    registry.register(
        "clients",
        "Clients that are connected: WebSockets and event streams",
        connected,
    );

    registry
}

/// A family with one label.
fn gauges<'a>(
    label: &'static str,
    values: impl IntoIterator<Item = (&'a str, i64)>,
) -> impl Metric {
    let family = LabelFamily::default();
    for (name, value) in values {
        family.get_or_create(&vec![(label, name.to_owned())]).set(value);
    }
    family
}
