//! What the events of single units cost, memory and CPU: `cargo bench --bench history`.
//!
//! 5,000 units change 50 times each, 80 of them in each publication, which a busy cluster needs
//! 2 s for. Memory is that of the process before and after. The CPU time of a publication is
//! compared with that of one without a history, in the same run. Each line ends with its budget,
//! and with `OVER` if it is missed.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_monitor::cluster::{Event, Health, Moment, Place, Transition, View};
use fleet_monitor::feed::event_history::{MAX_BYTES, MAX_EVENTS};
use fleet_monitor::feed::fields::{MachineField, UnitField};
use fleet_monitor::feed::{FeedInput, FeedSettings, Publish, Publisher, SourceInfo};

#[path = "../tests/it/support/builders.rs"]
#[allow(dead_code, reason = "this bench needs few of them")]
mod builders;

const UNITS: usize = 5000;
const MACHINES: usize = 50;
/// The units that change in one publication.
const CHANGED: usize = 80;
/// For all events, in bytes.
const MEMORY_BUDGET: usize = 64 * 1024 * 1024;
/// The CPU time of a publication, as a multiple of one without a history.
const CPU_BUDGET: f64 = 1.5;

fn name(unit: usize) -> String {
    format!("web-with-a-long-name@{unit:04}.service")
}

fn machine(unit: usize) -> String {
    format!("{:032x}", unit % MACHINES)
}

fn view() -> Arc<View> {
    let units = (0..UNITS).map(|unit| {
        let state = builders::unit_state(&name(unit), &machine(unit), "active/running");
        Arc::new(builders::unit(state))
    });
    Arc::new(View { units: units.collect(), machines: Vec::new() })
}

/// An event as the cluster makes it: none of its texts is shared.
fn transition(number: usize) -> Arc<Transition> {
    let unit = number % UNITS;
    let (from, to) = match (number / UNITS) % 2 {
        0 => ("active/running", "failed/failed"),
        _ => ("failed/failed", "active/running"),
    };
    let place = Place {
        unit: name(unit).as_str().into(),
        machine: Some(machine(unit).as_str().into()),
        ip: Some(format!("172.17.8.{}", unit % MACHINES).into()),
    };

    Arc::new(Transition {
        number: number as u64 + 1,
        time: Moment::now().wall,
        event: Event::Changed { place, from: from.into(), to: to.into() },
    })
}

fn publisher() -> Publisher {
    let settings = FeedSettings {
        unit_fields: vec![UnitField::Unit],
        machine_fields: vec![MachineField::Machine],
        publish: Publish::Changes,
    };
    Publisher::new(settings, "epoch", SourceInfo::default())
}

/// Publishes all events, and returns the time for one publication.
fn publish_all(publisher: &mut Publisher, view: &Arc<View>) -> Duration {
    let health = Health::default();
    let events = UNITS * MAX_EVENTS;
    let mut spent = Duration::ZERO;

    for first in (0..events).step_by(CHANGED) {
        let transitions: Vec<_> = (first..events.min(first + CHANGED)).map(transition).collect();
        let start = Instant::now();
        publisher.publish(FeedInput {
            problems: &Default::default(),
            view,
            health: &health,
            transitions: &transitions,
            change: None,
            read: &[],
            now: Moment::now(),
        });
        spent += start.elapsed();
    }
    spent / events.div_ceil(CHANGED) as u32
}

/// The resident memory of this process, in bytes (`proc_pid_statm(5)`).
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc");
    let pages: usize = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("a number of pages");
    pages * 4096
}

fn judged(is_met: bool) -> &'static str {
    if is_met { "" } else { " OVER" }
}

fn main() {
    let view = view();

    // Once without, so that what every publisher needs is there already.
    let mut without = publisher();
    without.set_history(Duration::ZERO, Moment::now());
    let plain = publish_all(&mut without, &view);

    let before = resident();
    let mut with = publisher();
    let kept = publish_all(&mut with, &view);
    let grown = resident().saturating_sub(before);
    let publication = with.subscribe().borrow().clone();
    let (events, counted) = publication.history_size();

    let mib = |bytes: usize| bytes as f64 / (1024.0 * 1024.0);
    println!("events kept: {events} of {UNITS} units");
    println!(
        "bytes counted: {:.1} MiB, {} for an event (budget {:.0} MiB){}",
        mib(counted),
        counted / events,
        mib(MAX_BYTES),
        judged(counted <= MAX_BYTES && events == UNITS * MAX_EVENTS)
    );
    println!(
        "memory of the process: {:.1} MiB more (budget {:.0} MiB){}",
        mib(grown),
        mib(MEMORY_BUDGET),
        judged(grown <= MEMORY_BUDGET)
    );

    let ratio = kept.as_secs_f64() / plain.as_secs_f64();
    println!(
        "a publication with {CHANGED} events: {kept:.0?}, without a history {plain:.0?}, \
         ratio {ratio:.2} (budget {CPU_BUDGET}){}",
        judged(ratio <= CPU_BUDGET)
    );
}
