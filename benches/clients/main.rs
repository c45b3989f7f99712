//! What many clients cost the server: `cargo bench --bench clients`, or one part: `cargo bench
//! --bench clients -- cpu`.
//!
//! - `cpu`: the CPU time of a frame, beside a loop that only writes the same bytes to as many
//!   sockets;
//! - `memory`: the resident memory for each client: idle, after messages of 1 MB, and for one that
//!   does not read, with TLS and without;
//! - `bytes`: the bytes on the wire for one changed row, and for none;
//! - `time`: the time until the last of many clients has a changed row, beside the same loop, with
//!   TLS and without.
//!
//! Each part is measured in a new process: this program starts itself again, with arguments. The
//! clients are in another process. Nothing is asserted: a line ends with its budget, and with
//! `OVER` if that is exceeded.

mod bench_server;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/support/builders.rs"]
mod builders;
mod bytes;
mod client;
mod client_process;
mod cpu;
mod endpoint;
mod memory;
mod message_reader;
mod time;
mod write_loop;

use fleet_monitor::server::open_files::OpenFileLimit;

/// In the order in which they are measured.
const PARTS: [&str; 4] = ["cpu", "memory", "bytes", "time"];

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();

    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", "cpu"] => block_on(cpu::measure()),
        ["run", "memory"] => {
            for [transport, kind, case] in memory::arguments() {
                run_again(&["run", "memory", transport, kind, case]);
            }
        }
        ["run", "memory", transport, kind, case] => {
            block_on(memory::measure(transport, kind, case));
        }
        ["run", "bytes"] => block_on(bytes::measure()),
        ["run", "time"] => block_on(time::measure()),
        ["clients", ref arguments @ ..] => client_process::run(arguments),
        ref chosen => {
            let is_chosen = |part: &&str| chosen.is_empty() || chosen.contains(part);
            for part in PARTS.into_iter().filter(is_chosen) {
                run_again(&["run", part]);
            }
        }
    }
}

/// Runs this program with other arguments, and waits for its end.
fn run_again(arguments: &[&str]) {
    let program = std::env::current_exe().expect("a path");
    let status = std::process::Command::new(program)
        .args(arguments)
        .status()
        .expect("this program");

    assert!(status.success(), "{arguments:?}: {status}");
}

/// Runs a part with one worker thread.
fn block_on(part: impl Future<Output = ()>) {
    OpenFileLimit::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();

    runtime.expect("a runtime").block_on(part);
}

/// The end of a line: the budget, and `OVER` if the result exceeds it.
fn with_budget(result: f64, budget: f64, unit: &str) -> String {
    let over = if result > budget { " OVER" } else { "" };
    format!("(budget {budget} {unit}){over}")
}
