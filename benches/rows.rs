//! From fleetctl's text to the frames that clients get, on one core: `cargo bench --bench rows`.
//!
//! Each step is printed in milliseconds and as a multiple of the floor, which is the time to
//! validate the same text as UTF-8 and to copy it once. The last line is the budget of all steps
//! together. Nothing is asserted: compare two runs on the same machine.

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
/// For all steps together, in milliseconds.
const BUDGET: f64 = 20.0;

const UNIT_COLUMNS: [&str; 6] = ["unit", "load", "active", "sub", "machine", "hash"];
const FILE_COLUMNS: [&str; 6] = ["unit", "hash", "dstate", "target", "desc", "global"];
const MACHINE_COLUMNS: [&str; 3] = ["machine", "ip", "metadata"];

/// The machine of a unit with this number, as `ID/IP`.
fn machine(number: usize) -> String {
    let number = number % MACHINES;
    format!("{number:032x}/172.17.8.{number}")
}

/// The output of `list-units`. One unit has another state in every second run.
fn unit_table(run: usize) -> String {
    let mut text = String::new();
    for unit in 0..UNITS {
        let has_exited = unit == UNITS / 2 && run % 2 == 1;
        let sub = if has_exited { "exited" } else { "running" };
        let _ = writeln!(
            text,
            "web@{unit:05}.service\tloaded\tactive\t{sub}\t{}\t{unit:040x}",
            machine(unit)
        );
    }
    text
}

/// The output of `list-unit-files`.
fn file_table() -> String {
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

/// The output of `list-machines`.
fn machine_table() -> String {
    let mut text = String::new();
    for number in 0..MACHINES {
        let _ = writeln!(text, "{}\tregion=eu", machine(number).replace('/', "\t"));
    }
    text
}

/// The times that one step took.
struct TimedStep {
    name: &'static str,
    times: Vec<Duration>,
}

impl TimedStep {
    fn new(name: &'static str) -> Self {
        Self { name, times: Vec::new() }
    }

    fn run<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = black_box(step());
        self.times.push(start.elapsed());
        result
    }

    /// In milliseconds.
    fn median(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1000.0
    }
}

/// A cluster that knows all machines and unit files, but no state of a unit yet.
fn cluster() -> Cluster {
    let machines = table::machines(machine_table().as_bytes(), &MACHINE_COLUMNS)
        .expect("a table as fleetctl prints it");
    let files = table::unit_files(file_table().as_bytes(), &FILE_COLUMNS)
        .expect("a table as fleetctl prints it");

    let mut cluster = Cluster::new(Duration::from_secs(30));
    for reading in [Reading::Machines { machines }, Reading::UnitFiles { files }] {
        cluster.apply(reading, Moment::now(), Duration::ZERO);
    }
    cluster
}

fn publisher() -> Publisher {
    let unit_fields = vec![
        UnitField::Unit,
        UnitField::Load,
        UnitField::Active,
        UnitField::Sub,
        UnitField::Machine,
    ];
    let settings = FeedSettings {
        unit_fields,
        machine_fields: MachineField::ALL.into(),
        publish: Publish::Changes,
    };

    Publisher::new(settings, "epoch", SourceInfo::default())
}

fn main() {
    let mut cluster = cluster();
    let mut publisher = publisher();
    let texts = [unit_table(0), unit_table(1)];

    let mut floor = TimedStep::new("validate and copy");
    let mut parse = TimedStep::new("text → rows");
    let mut apply = TimedStep::new("rows → judged view");
    let mut publish = TimedStep::new("view → delta, frames");

    for run in 0..RUNS {
        let text = texts[run % 2].as_bytes();
        let _ = floor.run(|| std::str::from_utf8(black_box(text)).map(str::to_owned));

        let states = parse
            .run(|| table::units(text, &UNIT_COLUMNS))
            .expect("a table as fleetctl prints it");

        let reading = Reading::Units { states, files: None };
        let transitions = apply.run(|| cluster.apply(reading, Moment::now(), Duration::ZERO));

        let input = FeedInput {
            view: cluster.view(),
            health: cluster.health(),
            problems: &Default::default(),
            transitions: &transitions,
            change: None,
            read: &[],
            now: Moment::now(),
        };
        publish.run(|| publisher.publish(input));
    }

    println!(
        "{UNITS} units, {} KiB of text, one of them changed; median of {RUNS} runs:",
        texts[0].len() / 1024
    );
    print_times(&floor, &[parse, apply, publish]);
}

fn print_times(floor: &TimedStep, steps: &[TimedStep]) {
    let print = |name: &str, time: f64| {
        println!("  {name:<20} {time:8.2} ms {:8.1} × floor", time / floor.median());
    };

    print(floor.name, floor.median());
    for step in steps {
        print(step.name, step.median());
    }
    print("all steps", steps.iter().map(TimedStep::median).sum());
    println!("  {:<20} {BUDGET:8.2} ms", "budget");
}
