//! The metrics that are computed from a publication when they are requested.
//!
//! This module must not know what is counted since the start of the program.

use std::collections::BTreeMap;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::{Metric, Registry, Unit as MetricUnit};

use super::family::{GaugeList, Labels, gauge};
use super::{Scrape, UnitSeries};
use crate::cluster::{Member, Text, Unit, Verdict};
use crate::feed::Publication;
use crate::problems::ProblemKind;

/// systemd's active states (`org.freedesktop.systemd1(5)`). Each has a series even while no unit is
/// in it.
const ACTIVE_STATES: [&str; 6] =
    ["active", "reloading", "inactive", "failed", "activating", "deactivating"];

/// The value of `active_state` for a row that no machine has reported although nothing is wrong
/// with it: fleet does not want it started, or has only just begun to.
const NO_STATE: &str = "none";

/// The value of `machine` for a row that is on no machine.
const NO_MACHINE: &str = "none";

/// The families about the cluster. A list that has not been read yet has none.
pub(super) fn cluster(publication: &Publication, unit_series: &UnitSeries) -> Registry {
    let mut registry = Registry::with_prefix("fleet");

    if publication.unit_list.is_some() {
        register_units(&mut registry, publication, unit_series);
        register_troubled_units(&mut registry, publication, unit_series.max_troubled);
    }
    if publication.machine_list.is_some() {
        register_machines(&mut registry, publication);
    }
    register_problems(&mut registry, publication);
    registry
}

fn register_units(registry: &mut Registry, publication: &Publication, unit_series: &UnitSeries) {
    let mut states = zero_states();
    let mut verdicts: BTreeMap<&str, i64> = Verdict::ALL.map(|verdict| (verdict.name(), 0)).into();
    let mut selected_units = GaugeList::default();

    for unit in publication.view.units.iter() {
        *states.entry(counted_state(unit)).or_default() += 1;
        *verdicts.entry(unit.verdict.name()).or_default() += 1;

        if unit_series.selected.iter().any(|glob| glob.matches(&unit.state.unit)) {
            add_unit_states(&mut selected_units, unit);
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
        selected_units,
    );
}

fn register_problems(registry: &mut Registry, publication: &Publication) {
    let mut kinds: BTreeMap<&str, i64> = ProblemKind::all().map(|kind| (kind.name(), 0)).collect();
    for problem in publication.problems.iter() {
        *kinds.entry(problem.cause.kind().name()).or_default() += 1;
    }

    registry.register(
        "problems",
        "What has been wrong for --problem-after or longer, by its kind; units that are wrong for \
         the same reason are one problem",
        gauges("kind", kinds),
    );
}

/// Names the units whose verdict is not `ok`, at most `max` of them: those with the worst verdicts,
/// by name. So the number of series follows trouble, not the size of the cluster.
fn register_troubled_units(registry: &mut Registry, publication: &Publication, max: usize) {
    let mut troubled: Vec<&Unit> = publication
        .view
        .units
        .iter()
        .map(|unit| &**unit)
        .filter(|unit| unit.verdict != Verdict::Ok)
        .collect();

    // The units are in the order of their names already, which a stable sort keeps.
    troubled.sort_by_key(|unit| unit.verdict);
    let left_out = troubled.len().saturating_sub(max);
    troubled.truncate(max);

    let series: GaugeList<4> = troubled
        .into_iter()
        .map(|unit| (troubled_unit_labels(unit), 1))
        .collect();
    registry.register(
        "unit_troubled",
        "Each unit whose verdict is not ok; always 1. At most --metrics-troubled units, the worst \
         first",
        series,
    );
    registry.register(
        "unit_troubled_left_out",
        "How many units whose verdict is not ok have no series of their own",
        gauge(left_out as i64),
    );
}

fn troubled_unit_labels(unit: &Unit) -> Labels<4> {
    let machine = unit.state.machine.as_deref();
    // Of a row that is on no machine, the details are those of its target.
    let ip = machine.and(unit.state.ip.as_ref().or(unit.machine.ip.as_ref()));

    [
        ("unit", unit.state.unit.to_string()),
        ("machine", machine.unwrap_or(NO_MACHINE).to_owned()),
        ("ip", text_or_empty(ip)),
        ("verdict", unit.verdict.name().to_owned()),
    ]
}

/// The value of a label; empty, which Prometheus treats as absent, if it is not known.
fn text_or_empty(text: Option<&Text>) -> String {
    text.map_or_else(String::new, ToString::to_string)
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
fn add_unit_states(family: &mut GaugeList<3>, unit: &Unit) {
    let state = &unit.state;

    for active in ACTIVE_STATES {
        let labels = [
            ("unit", state.unit.to_string()),
            ("machine", state.machine.as_deref().unwrap_or(NO_MACHINE).to_owned()),
            ("active_state", active.to_owned()),
        ];
        let is_in_state = unit.current_active_state() == Some(active);
        family.push(labels, is_in_state.into());
    }
}

fn register_machines(registry: &mut Registry, publication: &Publication) {
    let machines = &publication.view.machines;
    let (present, lost): (Vec<&Member>, Vec<&Member>) = machines
        .iter()
        .map(|member| &**member)
        .partition(|member| member.lost_since.is_none());

    registry.register(
        "machines",
        "Machines in the cluster, and those that left it",
        gauges("state", [("present", present.len() as i64), ("lost", lost.len() as i64)]),
    );

    let info: GaugeList<4> = present
        .iter()
        .map(|member| (machine_info_labels(member), 1))
        .collect();
    registry.register("machine_info", "Each machine in the cluster; always 1", info);

    let troubled: GaugeList<3> = machines
        .iter()
        .filter_map(|member| Some((troubled_machine_labels(member)?, 1)))
        .collect();
    registry.register(
        "machine_troubled",
        "Each machine that has left the cluster, or is silent; always 1",
        troubled,
    );
}

fn machine_info_labels(member: &Member) -> Labels<4> {
    let machine = &member.machine;

    [
        ("machine", machine.id.to_string()),
        ("ip", text_or_empty(machine.ip.as_ref())),
        ("version", text_or_empty(machine.version.as_ref())),
        ("metadata", text_or_empty(machine.metadata.as_ref())),
    ]
}

/// `None` for a machine that is in the cluster and reports its units.
fn troubled_machine_labels(member: &Member) -> Option<Labels<3>> {
    let state = match (member.lost_since, member.silent_since) {
        (Some(_), _) => "lost",
        (None, Some(_)) => "silent",
        (None, None) => return None,
    };

    Some([
        ("machine", member.machine.id.to_string()),
        ("ip", text_or_empty(member.machine.ip.as_ref())),
        ("state", state.to_owned()),
    ])
}

/// The families about this program that follow from the present.
pub(super) fn program(scrape: Scrape) -> Registry {
    let mut registry = Registry::with_prefix("fleet_monitor");
    let health = &scrape.publication.health;

    let held_back = Counter::<u64>::default();
    held_back.inc_by(health.held_back);
    registry.register(
        "disappearances_held_back",
        "Rows that disappeared from fleet's lists and came back",
        held_back,
    );

    let (events, bytes) = scrape.publication.history_size();
    registry.register(
        "history_events",
        "Events of single units and machines that are kept",
        gauge(events as i64),
    );
    registry.register_with_unit(
        "history",
        "Memory for these events",
        MetricUnit::Bytes,
        gauge(bytes as i64),
    );

    let is_ready = health.ready() && health.overdue(scrape.now).is_none();
    registry.register(
        "ready",
        "Whether the data can be relied on, as /readyz says",
        gauge(i64::from(is_ready)),
    );
    registry.register(
        "source_up",
        "Whether each of fleet's lists could be read when that was last tried",
        gauge(i64::from(health.ready())),
    );
    registry.register(
        "source_suspect",
        "Whether so many units are missing from fleet's list that it is not trusted",
        gauge(i64::from(health.suspect_since.is_some())),
    );
    registry.register(
        "clients",
        "Clients that are connected: WebSockets and event streams",
        gauge(scrape.clients as i64),
    );

    registry
}

/// A family with one label.
fn gauges<'a>(
    label: &'static str,
    values: impl IntoIterator<Item = (&'a str, i64)>,
) -> impl Metric {
    let series = |(name, value): (&str, i64)| ([(label, name.to_owned())], value);
    values.into_iter().map(series).collect::<GaugeList<1>>()
}
