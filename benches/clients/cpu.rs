//! The CPU time for one message to one client.

use std::time::Duration;

use crate::bench_server::BenchServer;
use crate::client::ClientKind;
use crate::client_process::ClientProcess;
use crate::with_budget;
use crate::write_loop::WriteLoop;

const CLIENTS: usize = 1_000;

/// How often each case is measured. The best result counts, because other programs on the machine
/// can only make it worse.
const ATTEMPTS: usize = 7;

struct CpuCase {
    kind: ClientKind,
    rows: usize,
    /// How many changes are published in one attempt.
    rounds: usize,
    /// The CPU time of the server, as a multiple of that of the write loop.
    budget: Option<f64>,
}

/// Lists of about 2 KB, 100 KB and 1 MB in the first protocol, and deltas of one row in the second.
const CASES: [CpuCase; 5] = [
    CpuCase {
        kind: ClientKind::First,
        rows: 20,
        rounds: 200,
        budget: Some(1.5),
    },
    CpuCase {
        kind: ClientKind::First,
        rows: 1_000,
        rounds: 20,
        budget: Some(1.25),
    },
    CpuCase {
        kind: ClientKind::First,
        rows: 10_500,
        rounds: 4,
        budget: Some(1.25),
    },
    CpuCase {
        kind: ClientKind::Second,
        rows: 1_000,
        rounds: 200,
        budget: None,
    },
    CpuCase {
        kind: ClientKind::Events,
        rows: 1_000,
        rounds: 200,
        budget: None,
    },
];

/// Prints the CPU time in each case, beside that of the write loop.
pub async fn measure() {
    println!("CPU time of a frame, {CLIENTS} clients:");

    for case in CASES {
        let CpuCase { kind, rows, rounds, budget } = case;
        let mut best_server = f64::MAX;
        let mut best_write = f64::MAX;
        let mut bytes = 0;

        for _ in 0..ATTEMPTS {
            let mut server = BenchServer::start(rows).await;
            // The clients stay until the end of the attempt: the server must not close their
            // connections while the write loop is measured.
            let mut clients = ClientProcess::start(&server.endpoint, CLIENTS, kind).await;
            let server_time = server_time(&mut server, &mut clients, rounds).await;
            best_server = best_server.min(server_time);

            let message = server.change_on_the_wire(kind).await;
            bytes = message.len();
            best_write = best_write.min(write_time(message, rounds).await);
        }

        let ratio = best_server / best_write;
        let result = budget
            .map(|budget| with_budget(ratio, budget, "×"))
            .unwrap_or_default();
        println!(
            "  {kind:6} {bytes:>7} bytes: server {best_server:6.2} µs, \
             write() {best_write:6.2} µs: {ratio:.2} × {result}"
        );
    }
}

/// The server's CPU time for one message to one client, in microseconds.
async fn server_time(server: &mut BenchServer, clients: &mut ClientProcess, rounds: usize) -> f64 {
    clients.all_received().await;

    let before = cpu_time();
    for _ in 0..rounds {
        server.publish_change();
        clients.all_received().await;
    }
    microseconds_each(cpu_time() - before, rounds)
}

/// The CPU time to write one message to one socket, in microseconds.
async fn write_time(message: Vec<u8>, rounds: usize) -> f64 {
    let mut write_loop = WriteLoop::start(CLIENTS, message).await;

    let before = cpu_time();
    for _ in 0..rounds {
        write_loop.round().await;
    }
    microseconds_each(cpu_time() - before, rounds)
}

fn microseconds_each(time: Duration, rounds: usize) -> f64 {
    time.as_secs_f64() * 1e6 / (CLIENTS * rounds) as f64
}

/// The CPU time of this process (`proc_pid_stat(5)`).
fn cpu_time() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");

    // `utime` and `stime`.
    let ticks: u32 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u32>().expect("a number"))
        .sum();
    TICK * ticks
}
