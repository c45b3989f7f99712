//! What each source costs, and how soon a change is at a client: `cargo bench --bench sources`, or some of the parts:
//! `cargo bench --bench sources -- etcd storm`.
//!
//! The program itself, as it is released and with its default frequencies, watches a cluster of 5,000 units on 50
//! machines, and has a client of each protocol:
//!
//! - `etcd`: in a real etcd (3.x, in `$PATH`), where the bench renews each key as often as fleet does;
//! - `storm`: the same, while 2,000 units change as fast as etcd takes it;
//! - `api`: over fleet's API, from a double;
//! - `fleetctl`: by a script that prints lists.
//!
//! The doubles answer at once: what a real fleetd or fleetctl takes to read the registry comes on top, and is not told
//! here. Nothing is asserted: a line ends with its budget, and with `OVER` where it is missed.

mod client;
mod fleet;
mod processes;
mod stand;
#[expect(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::fs;
use std::time::{Duration, Instant};

use client::Client;
use fleet::{MACHINES, UNITS};
use processes::{Cpu, Meter, Share};
use stand::{ByFleetctl, InEtcd, OverApi, Stand};
use support::{Daemon, Program};
use tokio::time::sleep;

/// How long CPU time is counted.
const WHILE: Duration = Duration::from_secs(20);
/// How many changes are timed, each after a pause of up to so long.
const CHANGES: usize = 40;
const PAUSE: Duration = Duration::from_secs(2);
/// How many units change in a storm.
const STORM: usize = 2_000;

/// For etcd: in per cent of a core, and in milliseconds.
const CPU_BUDGET: f64 = 5.0;
const TIME_BUDGET: f64 = 50.0;

#[tokio::main]
async fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let is_chosen = |part: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == part);
    let load = fs::read_to_string("/proc/loadavg").expect("procfs");
    let load = load.split(' ').next().unwrap_or_default();
    println!("{UNITS} units on {MACHINES} machines; {CHANGES} changes; the load of this machine was {load}:");
    if (is_chosen("etcd") || is_chosen("storm"))
        && let Some(stand) = InEtcd::start().await
    {
        if is_chosen("etcd") {
            etcd(&stand).await;
        }
        if is_chosen("storm") {
            storm(&stand).await;
        }
    }
    if is_chosen("api") {
        let stand = OverApi::start().await;
        let mut watched = Watched::start("api", &stand).await;
        let [share] = Meter::share_of([watched.daemon.pid()], WHILE).await;
        watched.at_rest(share, None);
        watched.times(&stand, None).await;
    }
    if is_chosen("fleetctl") {
        let stand = ByFleetctl::start();
        let mut watched = Watched::start("fleetctl", &stand).await;
        let [share] = Meter::share_of([watched.daemon.pid()], WHILE).await;
        watched.at_rest(share, None);
        watched.times(&stand, None).await;
    }
}

async fn etcd(stand: &InEtcd) {
    let before = (Instant::now(), stand.index().await);
    let [alone] = Meter::share_of([stand.etcd.pid()], WHILE).await;
    let mut watched = Watched::start("etcd", stand).await;
    let [share, with] = Meter::share_of([watched.daemon.pid(), stand.etcd.pid()], WHILE).await;
    let events = (stand.index().await - before.1) as f64 / before.0.elapsed().as_secs_f64();
    watched.at_rest(share, Some(CPU_BUDGET));
    println!(
        "           etcd itself {:.1} %, without this watch {:.1} %; {events:.0} events a second",
        with.own, alone.own
    );
    watched.times(stand, Some(TIME_BUDGET)).await;
}

async fn storm(stand: &InEtcd) {
    let mut watched = Watched::start("storm", stand).await;
    let units: Vec<usize> = stand.fleet().renewed_long_since().take(STORM).collect();
    let (begun, meter, before) = (Instant::now(), Meter::of(watched.daemon.pid()), Cpu::of(watched.daemon.pid()));
    stand.change_all(&units[..STORM - 1], "storm").await;
    let last = stand.change(units[STORM - 1], "calm").await;
    let wrote = last - begun;
    let seen = watched.until("calm").await.map(|at| milliseconds(at - last));
    let (share, spent) = (meter.share(), Cpu::of(watched.daemon.pid()).milliseconds() - before.milliseconds());
    let shown = watched.daemon.get("/v2/state").await.1;
    let differences = stand.fleet().differences(&shown);
    println!(
        "  storm    {STORM} changes in {:.2} s: CPU {spent:.0} ms ({:.0} %); the last change at a client after {:.0} ms, \
         {:.0} ms; forgotten by etcd {} times; {differences} units wrong in the end",
        wrote.as_secs_f64(),
        share.own,
        seen[0],
        seen[1],
        watched.daemon.log.count("has forgotten what came after"),
    );
}

/// The program that watches a fleet, with a client of each protocol.
struct Watched {
    name: &'static str,
    daemon: Daemon,
    clients: [Client; 2],
    /// What it took to begin.
    beginning: Cpu,
}

impl Watched {
    async fn start(name: &'static str, stand: &impl Stand) -> Self {
        let arguments = stand.arguments();
        let daemon = Program::new(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).start().await;
        daemon.log.first("first reading: ").await;
        let beginning = Cpu::of(daemon.pid());
        let clients =
            [Client::of_the_first_protocol(daemon.address).await, Client::of_the_second_protocol(daemon.address).await];
        Self { name, daemon, clients, beginning }
    }

    fn at_rest(&self, share: Share, budget: Option<f64>) {
        println!(
            "  {:8} CPU {:.1} % {}, its children {:.1} %; {:.0} ms to begin; {:.0} MiB at most",
            self.name,
            share.own,
            judged(share.own, budget, "%"),
            share.children,
            self.beginning.milliseconds(),
            self.daemon.peak_memory() as f64 / 1024.0
        );
    }

    /// Changes one unit after the other, and prints how soon each is at a client.
    async fn times(&mut self, stand: &impl Stand, budget: Option<f64>) {
        let meter = Meter::of(self.daemon.pid());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for change in 0..CHANGES {
            sleep(PAUSE.mul_f64(fastrand::f64())).await;
            let unit = stand.fleet().renewed_long_since().next().expect("a unit");
            let substate = format!("change-{change}");
            let changed = stand.change(unit, &substate).await;
            let [at_first, at_second] = self.until(&substate).await;
            first.push(milliseconds(at_first - changed));
            second.push(milliseconds(at_second - changed));
        }
        let share = meter.share();
        for (protocol, mut times) in [("first", first), ("second", second)] {
            times.sort_unstable_by(f64::total_cmp);
            let (median, worst) = (times[CHANGES / 2], times[CHANGES - 1]);
            println!(
                "           a change at a client of the {protocol} protocol: {median:.0} ms {}, {worst:.0} ms at worst",
                judged(median, budget, "ms")
            );
        }
        println!("           CPU meanwhile {:.1} %, its children {:.1} %", share.own, share.children);
    }

    /// When each client was told of this.
    async fn until(&mut self, awaited: &str) -> [Instant; 2] {
        let [first, second] = &mut self.clients;
        tokio::join!(first.until(awaited), second.until(awaited)).into()
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What stands behind a number: its budget if it has one, and whether it is kept.
fn judged(number: f64, budget: Option<f64>, unit: &str) -> String {
    budget.map_or(String::new(), |budget| {
        format!("(budget {budget} {unit}){}", if number > budget { " OVER" } else { "" })
    })
}
