//! What each source costs, and how soon a change is at a client: `cargo bench --bench sources`, or
//! some of the parts: `cargo bench --bench sources -- etcd storm`.
//!
//! The program itself, as it is released and with its default frequencies, watches a cluster of
//! 5,000 units on 50 machines, and has a client:
//!
//! - `etcd`: in a real etcd (3.x, in `$PATH`), where the bench renews each key as often as fleet
//!   does;
//! - `etcd-20000`: the same of 20,000 units on 200 machines;
//! - `storm`: the same of 5,000, while 2,000 units change as fast as etcd takes it;
//! - `api`: over fleet's API, from a double;
//! - `fleetctl`: by a script that prints lists.
//!
//! The doubles answer at once: what a real fleetd or fleetctl takes to read the registry comes on
//! top, and is not told here. What etcd and this bench cost is not counted.
//!
//! Where `FLEET_MONITOR_BEFORE` is the path of another build of the program, that is measured too:
//! each round once the one, then the other, of the same fleet. Nothing is asserted: a line ends
//! with its budget, and with `OVER` where it is missed.

mod client;
mod figures;
mod fleet;
mod processes;
mod stand;
#[expect(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod watched;

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use client::Client;
use figures::{Budgets, Figures};
use fleet::Fleet;
use processes::{Cpu, Meter};
use stand::{ByFleetctl, InEtcd, OverApi, Stand};
use watched::{Build, Watched};

/// How often each build is measured.
const ROUNDS: usize = 3;
/// How long etcd is measured alone.
const ALONE: Duration = Duration::from_secs(10);
/// How many units change in a storm.
const STORM: usize = 2_000;

const FEW: usize = 5_000;
const MANY: usize = 20_000;

/// For etcd. The memory is what the first release took at most.
const BUDGETS_OF_FEW: Budgets = Budgets {
    at_rest: Some(2.5),
    peak_memory: Some(46.0),
    second: Some(5.0),
};
const BUDGETS_OF_MANY: Budgets = Budgets {
    at_rest: Some(10.0),
    peak_memory: Some(284.0),
    second: Some(5.0),
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
        && let Some(stand) = InEtcd::start(Fleet::of(FEW)).await
    {
        if is_chosen("etcd") {
            etcd("etcd", &stand, &builds, &BUDGETS_OF_FEW).await;
        }
        if is_chosen("storm") {
            storm(&stand, &builds).await;
        }
    }
    if is_chosen("etcd-20000")
        && let Some(stand) = InEtcd::start(Fleet::of(MANY)).await
    {
        etcd("etcd-20000", &stand, &builds, &BUDGETS_OF_MANY).await;
    }
    if is_chosen("api") {
        let stand = OverApi::start(Fleet::of(FEW)).await;
        measure("api", &stand, &builds, &Budgets::default()).await;
    }
    if is_chosen("fleetctl") {
        let stand = ByFleetctl::start(Fleet::of(FEW));
        measure("fleetctl", &stand, &builds, &Budgets::default()).await;
    }
}

async fn etcd(part: &str, stand: &InEtcd, builds: &[Build<'_>], budgets: &Budgets) {
    let begun = Instant::now();
    let before = stand.index().await;
    let [alone] = Meter::share_of([stand.etcd.pid()], ALONE).await;
    let events = (stand.index().await - before) as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{part}: {events:.0} events a second; etcd itself, with no watch, {:.1} %",
        alone.own
    );

    measure(part, stand, builds, budgets).await;
}

/// Measures all builds in turn, and prints what was measured.
async fn measure(part: &str, stand: &impl Stand, builds: &[Build<'_>], budgets: &Budgets) {
    let mut figures: Vec<Figures> = builds.iter().map(|_| Figures::default()).collect();
    for _ in 0..ROUNDS {
        for (build, figures) in builds.iter().zip(&mut figures) {
            Watched::start(*build, stand).await.measure(stand, figures).await;
        }
    }

    let (units, machines) = {
        let fleet = stand.fleet();
        (fleet.units(), fleet.machines())
    };
    println!("{part}: {units} units on {machines} machines");
    figures[0].print(figures.get(1), budgets);
}

async fn storm(stand: &InEtcd, builds: &[Build<'_>]) {
    for build in builds {
        let watched = Watched::start(*build, stand).await;
        let mut first = watched.client(stand, None).await;
        let mut second = watched.client(stand, Client::SECOND_PROTOCOL).await;
        let units: Vec<usize> = stand.fleet().renewed_long_since().take(STORM).collect();
        let [stormy, calm] =
            ["storm", "calm"].map(|substate| format!("{substate}-{:016x}", fastrand::u64(..)));

        let begun = Instant::now();
        let meter = Meter::of(watched.daemon.pid());
        let before = Cpu::of(watched.daemon.pid());
        stand.change_all(&units[..STORM - 1], &stormy).await;
        let last = stand.change(units[STORM - 1], &calm).await;
        let (at_first, at_second) = tokio::join!(first.until(&calm), second.until(&calm));

        let share = meter.share();
        let spent = Cpu::of(watched.daemon.pid()).milliseconds() - before.milliseconds();
        let shown = watched.daemon.get("/v2/state").await.1;
        println!(
            "storm, {}: {STORM} changes in {:.2} s: CPU {spent:.0} ms ({:.0} %); the last change at a client after \
             {:.0} ms, {:.0} ms; forgotten by etcd {} times; {} units wrong in the end",
            build.name(),
            (last - begun).as_secs_f64(),
            share.own,
            milliseconds(at_first - last),
            milliseconds(at_second - last),
            watched.daemon.log.count("has forgotten what came after"),
            stand.fleet().differences(&shown),
        );
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}
