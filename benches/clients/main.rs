//! What many clients cost the server: `cargo bench --bench clients`, or one part: `cargo bench
//! --bench clients -- cpu`.
//!
//! - `cpu`: the CPU time of a frame, beside a loop that only writes the same bytes to the same
//!   number of sockets;
//! - `memory`: the resident memory of a client: idle, after a message of 1 MB, and one that does
//!   not read;
//! - `bytes`: what one changed row, and none, put on the wire;
//! - `time`: how long a changed row takes to the last of many clients, beside the same loop.
//!
//! The clients are in a process of their own, and each part is in a fresh one: this program again,
//! with arguments. Nothing is asserted: a line ends with its budget, and with `OVER` where it is
//! missed.

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/support/builders.rs"]
mod builders;
mod bytes;
mod cpu;
mod memory;
mod readers;
mod server;
mod time;

use fleet_monitor::server::open_files::OpenFiles;

/// The parts, in the order in which they are run.
const PARTS: [&str; 4] = ["cpu", "memory", "bytes", "time"];

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", "cpu"] => on_one_core(cpu::of_a_frame()),
        ["run", "memory"] => {
            memory::measurements().for_each(|[kind, case]| this(&["run", "memory", kind, case]));
        }
        ["run", "memory", kind, case] => on_one_core(memory::of_a_client(kind, case)),
        ["run", "bytes"] => on_one_core(bytes::on_the_wire()),
        ["run", "time"] => on_one_core(time::to_the_last_client()),
        ["readers", ref order @ ..] => readers::read(order),
        ref chosen => {
            let chosen = |part: &&str| chosen.is_empty() || chosen.contains(part);
            PARTS.into_iter().filter(chosen).for_each(|part| this(&["run", part]));
        }
    }
}

/// Runs this program again.
fn this(arguments: &[&str]) {
    let program = std::env::current_exe().expect("a path");
    let status = std::process::Command::new(program)
        .args(arguments)
        .status()
        .expect("this program");
    assert!(status.success(), "{arguments:?}: {status}");
}

fn on_one_core(part: impl Future<Output = ()>) {
    OpenFiles::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(part);
}

/// What stands behind a number: its budget, and whether it is kept.
fn judged(number: f64, budget: f64, unit: &str) -> String {
    format!("(budget {budget} {unit}){}", if number > budget { " OVER" } else { "" })
}
