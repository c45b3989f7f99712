//! What each source costs, and how long a change takes to a client: `cargo bench --bench sources`,
//! or some of the parts: `cargo bench --bench sources -- etcd storm`.
//!
//! The release build of the program, with its default intervals, watches a cluster of 5,000 units
//! on 50 machines, and has one client:
//!
//! - `etcd`: from a real etcd (3.x, in `$PATH`), whose keys the bench renews as often as fleet
//!   does;
//! - `etcd-20000`: the same, with 20,000 units on 200 machines;
//! - `storm`: the same, with 5,000 units, of which 2,000 change as fast as etcd accepts it;
//! - `api`: from a double of fleet's API;
//! - `fleetctl`: from a script that prints lists.
//!
//! The doubles answer at once. A real fleetd or fleetctl needs additional time to read the
//! registry, which is not measured. The CPU time of etcd and of this bench is not counted.
//!
//! If `FLEET_MONITOR_BEFORE` is the path of another build of the program, both are measured in
//! turns with the same fleet. Nothing is asserted: a line ends with its budget, and with `OVER` if
//! that is exceeded.

mod cpu;
mod measurements;
mod monitor;
mod simulated_fleet;
mod simulated_source;
#[expect(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod timing_client;

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use cpu::{CpuMeter, CpuTime};
use measurements::{Measurements, ResourceBudgets};
use monitor::{Build, Monitor};
use simulated_fleet::SimulatedFleet;
use simulated_source::{ApiSource, EtcdSource, FleetctlSource, SimulatedSource};
use timing_client::TimingClient;

/// How often each build is measured.
const ROUNDS: usize = 3;
/// How long etcd is measured without a watch.
const ETCD_ALONE: Duration = Duration::from_secs(10);
/// How many units change in a storm.
const STORM: usize = 2_000;

const FEW_UNITS: usize = 5_000;
const MANY_UNITS: usize = 20_000;

/// For etcd. The first release needed this much memory at most.
const BUDGETS_OF_FEW: ResourceBudgets = ResourceBudgets {
    cpu_at_rest: Some(2.5),
    peak_memory: Some(46.0),
    to_second_protocol: Some(5.0),
};
const BUDGETS_OF_MANY: ResourceBudgets = ResourceBudgets {
    cpu_at_rest: Some(10.0),
    peak_memory: Some(284.0),
    to_second_protocol: Some(5.0),
};

#[tokio::main]
async fn main() {
    let chosen: Vec<String> =
        env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let is_chosen = |part: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == part);
    let load = fs::read_to_string("/proc/loadavg").expect("procfs");
    let load = load.split(' ').next().unwrap_or_default();
    println!("the load of this machine was {load}; {ROUNDS} rounds");

    let before = env::var("FLEET_MONITOR_BEFORE").ok();
    let builds: Vec<Build> = [Build::Now]
        .into_iter()
        .chain(before.as_deref().map(Build::Before))
        .collect();

    if (is_chosen("etcd") || is_chosen("storm"))
        && let Some(source) = EtcdSource::start(SimulatedFleet::with_units(FEW_UNITS)).await
    {
        if is_chosen("etcd") {
            measure_etcd("etcd", &source, &builds, &BUDGETS_OF_FEW).await;
        }
        if is_chosen("storm") {
            measure_storm(&source, &builds).await;
        }
    }

    if is_chosen("etcd-20000")
        && let Some(source) = EtcdSource::start(SimulatedFleet::with_units(MANY_UNITS)).await
    {
        measure_etcd("etcd-20000", &source, &builds, &BUDGETS_OF_MANY).await;
    }

    if is_chosen("api") {
        let source = ApiSource::start(SimulatedFleet::with_units(FEW_UNITS)).await;
        measure("api", &source, &builds, &ResourceBudgets::default()).await;
    }

    if is_chosen("fleetctl") {
        let source = FleetctlSource::start(SimulatedFleet::with_units(FEW_UNITS));
        measure("fleetctl", &source, &builds, &ResourceBudgets::default()).await;
    }
}

/// Measures etcd alone, and then all builds.
async fn measure_etcd(
    part: &str,
    source: &EtcdSource,
    builds: &[Build<'_>],
    budgets: &ResourceBudgets,
) {
    let start = Instant::now();
    let index = source.index().await;
    let alone = CpuMeter::measure_for(source.pid(), ETCD_ALONE).await;
    let events = (source.index().await - index) as f64 / start.elapsed().as_secs_f64();
    println!(
        "{part}: {events:.0} events a second; etcd itself, with no watch, {:.1} %",
        alone.own
    );

    measure(part, source, builds, budgets).await;
}

/// Measures all builds in turns, and prints the results.
async fn measure(
    part: &str,
    source: &impl SimulatedSource,
    builds: &[Build<'_>],
    budgets: &ResourceBudgets,
) {
    let mut results: Vec<Measurements> = builds.iter().map(|_| Measurements::default()).collect();
    for _ in 0..ROUNDS {
        for (build, results) in builds.iter().zip(&mut results) {
            let monitor = Monitor::start(*build, source).await;
            monitor.measure(source, results).await;
        }
    }

    let (units, machines) = {
        let fleet = source.fleet();
        (fleet.units(), fleet.machines())
    };
    println!("{part}: {units} units on {machines} machines");
    results[0].print(results.get(1), budgets);
}

/// Changes many units at once, and prints the CPU time and when clients have the last change.
async fn measure_storm(source: &EtcdSource, builds: &[Build<'_>]) {
    for build in builds {
        let monitor = Monitor::start(*build, source).await;
        let mut first = monitor.client(source, None).await;
        let mut second = monitor.client(source, TimingClient::SECOND_PROTOCOL).await;

        let units: Vec<usize> = source.fleet().units_by_renewal().take(STORM).collect();
        let (last_unit, other_units) = units.split_last().expect("a unit");
        let [other_substate, last_substate] =
            ["storm", "calm"].map(|substate| format!("{substate}-{:016x}", fastrand::u64(..)));

        let start = Instant::now();
        let meter = CpuMeter::start(monitor.daemon.pid());
        let before = CpuTime::so_far(monitor.daemon.pid());
        source.change_all(other_units, &other_substate).await;
        let changed = source.change(*last_unit, &last_substate).await;
        let (at_first, at_second) =
            tokio::join!(first.wait_for(&last_substate), second.wait_for(&last_substate));

        let share = meter.share();
        let after = CpuTime::so_far(monitor.daemon.pid());
        let cpu = after.own_milliseconds() - before.own_milliseconds();
        let state = monitor.daemon.get("/v2/state").await.1;
        println!(
            "storm, {}: {STORM} changes in {:.2} s: CPU {cpu:.0} ms ({:.0} %); the last change at \
             a client after {:.0} ms, {:.0} ms; etcd had deleted events {} times; {} units wrong \
             in the end",
            build.name(),
            (changed - start).as_secs_f64(),
            share.own,
            milliseconds(at_first - changed),
            milliseconds(at_second - changed),
            monitor.daemon.log.count("no longer has the events after"),
            source.fleet().differences(&state),
        );
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}
