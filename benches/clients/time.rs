//! The time from a change to the last client.

use std::time::{Duration, Instant};

use fleet_monitor::server::open_files::OpenFiles;

use crate::judged;
use crate::readers::{Kind, Readers};
use crate::server::{Bench, Floor};

const ROUNDS: usize = 9;

/// In milliseconds, for the larger number.
const BUDGET: f64 = 500.0;

/// Prints the median for a thousand and for ten thousand clients.
pub async fn to_the_last_client() {
    println!("Time until a changed row has reached the last client:");
    for clients in [1_000, 10_000] {
        let clients = clients.min(OpenFiles::raise().connections());
        for kind in [Kind::First, Kind::Second, Kind::Events] {
            let mut bench = Bench::start(20).await;
            let mut readers = Readers::start(bench.address, clients, kind).await;
            readers.got_all().await;
            let mut took = Vec::new();
            for _ in 0..ROUNDS {
                let begun = Instant::now();
                bench.change();
                readers.got_all().await;
                took.push(begun.elapsed());
            }
            let server = median(took);
            drop(readers);
            bench.empty().await;
            let message = bench.change_on_the_wire(kind).await;
            let bytes = message.len();
            let mut floor = Floor::start(clients, message).await;
            let mut took = Vec::new();
            for _ in 0..ROUNDS {
                let begun = Instant::now();
                floor.round().await;
                took.push(begun.elapsed());
            }
            let floor = median(took);
            println!(
                "  {clients:>6} clients, {kind:6} {bytes:>5} bytes: server {server:6.1} ms, write() {floor:6.1} ms: \
                 {:.2} × {}",
                server / floor,
                judged(server, BUDGET, "ms")
            );
        }
    }
}

fn median(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    took[took.len() / 2].as_secs_f64() * 1e3
}
