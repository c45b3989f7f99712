//! From fleetctl's text to the frames that clients get, on one core: `cargo bench --bench rows`.
//!
//! Each step is printed in milliseconds and as a multiple of the floor, which is to validate the
//! same text as UTF-8 and copy it once. The budget stands beside the whole. Nothing is asserted:
//! compare two runs on the same machine.

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use fleet_monitor::cluster::{Cluster, Moment, Reading};
use fleet_monitor::feed::fields::{MachineField, UnitField};
use fleet_monitor::feed::{FeedInput, FeedSettings, Publish, Publisher, SourceInfo};
use fleet_monitor::source::table;

const UNITS: usize = 10_000;
const MACHINES: usize = 50;
const RUNS: usize = 30;
/// What all steps together may take, in milliseconds.
const BUDGET: f64 = 20.0;
const UNIT_COLUMNS: [&str; 6] = ["unit", "load", "active", "sub", "machine", "hash"];
const FILE_COLUMNS: [&str; 6] = ["unit", "hash", "dstate", "target", "desc", "global"];

fn machine(number: usize) -> String {
    let number = number % MACHINES;
    format!("{number:032x}/172.17.8.{number}")
}

/// What `list-units` prints. In every other text one unit is in another state.
fn units(run: usize) -> String {
    let mut text = String::new();
    for unit in 0..UNITS {
        let sub = if unit == UNITS / 2 && run % 2 == 1 {
            "exited"
        } else {
            "running"
        };
        let _ = writeln!(
            text,
            "web@{unit:05}.service\tloaded\tactive\t{sub}\t{}\t{unit:040x}",
            machine(unit)
        );
    }
    text
}

fn files() -> String {
    let mut text = String::new();
    for unit in 0..UNITS {
        let _ = writeln!(
            text,
            "web@{unit:05}.service\t{unit:040x}\tlaunched\t{}\tA web server for many\tfalse",
            machine(unit)
        );
    }
    text
}

fn machines() -> String {
    (0..MACHINES).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "{}\tregion=eu", machine(number).replace('/', "\t"));
        text
    })
}

/// The median of what a step took.
struct Step {
    name: &'static str,
    took: Vec<Duration>,
}

impl Step {
    fn new(name: &'static str) -> Self {
        Self { name, took: Vec::new() }
    }

    fn time<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = black_box(step());
        self.took.push(begun.elapsed());
        done
    }

    fn median(&self) -> f64 {
        let mut took = self.took.clone();
        took.sort_unstable();
        took[took.len() / 2].as_secs_f64() * 1000.0
    }
}

fn main() {
    let mut cluster = Cluster::new(Duration::from_secs(30));
    let fields = [
        UnitField::Unit,
        UnitField::Load,
        UnitField::Active,
        UnitField::Sub,
        UnitField::Machine,
    ];
    let settings = FeedSettings {
        unit_fields: fields.into(),
        machine_fields: MachineField::ALL.into(),
        publish: Publish::Changes,
    };
    let mut publisher = Publisher::new(settings, "epoch", SourceInfo::default());
    let known = [
        table::machines(machines().as_bytes(), &["machine", "ip", "metadata"])
            .map(|machines| Reading::Machines { machines }),
        table::unit_files(files().as_bytes(), &FILE_COLUMNS)
            .map(|files| Reading::UnitFiles { files }),
    ];
    for reading in known {
        cluster.read(
            reading.expect("a table as fleetctl prints it"),
            Moment::now(),
            Duration::ZERO,
        );
    }

    let mut floor = Step::new("validate and copy");
    let mut steps = ["text → rows", "rows → judged view", "view → delta, frames"].map(Step::new);
    let [rows, view, frame] = &mut steps;
    let texts = [units(0), units(1)];
    for run in 0..RUNS {
        let text = texts[run % 2].as_bytes();
        let _ = floor.time(|| std::str::from_utf8(black_box(text)).map(str::to_owned));
        let states = rows
            .time(|| table::units(text, &UNIT_COLUMNS))
            .expect("a table as fleetctl prints it");
        let reading = Reading::Units { states, files: None };
        let transitions = view.time(|| cluster.read(reading, Moment::now(), Duration::ZERO));
        let (shown, health) = (cluster.view(), cluster.health());
        let news = FeedInput {
            view: shown,
            health,
            transitions: &transitions,
            change: None,
            read: &[],
            now: Moment::now(),
        };
        frame.time(|| publisher.publish(news));
    }

    println!(
        "{UNITS} units, {} KiB of text, one of them changed; median of {RUNS} runs:",
        texts[0].len() / 1024
    );
    let whole: f64 = steps.iter().map(Step::median).sum();
    let lines = std::iter::once(&floor)
        .chain(&steps)
        .map(|step| (step.name, step.median()));
    for (name, took) in lines.chain([("all steps", whole)]) {
        println!("  {name:<20} {took:8.2} ms {:8.1} × floor", took / floor.median());
    }
    println!("  {:<20} {BUDGET:8.2} ms", "budget");
}
