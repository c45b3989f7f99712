//! The CPU time of a frame.

use std::time::Duration;

use crate::judged;
use crate::readers::{Kind, Readers};
use crate::server::{Bench, Floor};

const CLIENTS: usize = 1_000;

/// Another measurement of the same; the best of them counts, as what else runs on the machine only
/// makes it worse.
const ATTEMPTS: usize = 7;

/// Prints it for frames of about 2 KB, 100 KB and 1 MB in the first protocol, and for a delta of
/// one row in the second.
pub async fn of_a_frame() {
    println!("CPU time of a frame, {CLIENTS} clients:");
    for (kind, rows, rounds, budget) in [
        (Kind::First, 20, 200, Some(1.5)),
        (Kind::First, 1_000, 20, Some(1.25)),
        (Kind::First, 10_500, 4, Some(1.25)),
        (Kind::Second, 1_000, 200, None),
        (Kind::Events, 1_000, 200, None),
    ] {
        let (mut served, mut written, mut bytes) = (f64::MAX, f64::MAX, 0);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / (CLIENTS * rounds) as f64;
        for _ in 0..ATTEMPTS {
            let mut bench = Bench::start(rows).await;
            let mut readers = Readers::start(bench.address, CLIENTS, kind).await;
            readers.got_all().await;
            let before = cpu_time();
            for _ in 0..rounds {
                bench.change();
                readers.got_all().await;
            }
            served = served.min(each(cpu_time() - before));

            let message = bench.change_on_the_wire(kind).await;
            bytes = message.len();
            let mut floor = Floor::start(CLIENTS, message).await;
            let before = cpu_time();
            for _ in 0..rounds {
                floor.round().await;
            }
            written = written.min(each(cpu_time() - before));
        }
        let ratio = served / written;
        let judged = budget.map(|budget| judged(ratio, budget, "×")).unwrap_or_default();
        println!(
            "  {kind:6} {bytes:>7} bytes: server {served:6.2} µs, write() {written:6.2} µs: {ratio:.2} × {judged}"
        );
    }
}

/// The CPU time of this process (`proc_pid_stat(5)`).
fn cpu_time() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields = stat
        .rsplit_once(')')
        .expect("a name in parentheses")
        .1
        .split_whitespace();
    let ticks: u32 = fields
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u32>().expect("a number"))
        .sum();
    TICK * ticks
}
