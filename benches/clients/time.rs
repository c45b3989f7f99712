//! The time until the last client has a change.

use std::time::{Duration, Instant};

use fleet_monitor::server::open_files::OpenFileLimit;

use crate::bench_server::BenchServer;
use crate::client::ClientKind;
use crate::client_process::ClientProcess;
use crate::with_budget;
use crate::write_loop::WriteLoop;

const ROUNDS: usize = 9;

/// For the larger number of clients, in milliseconds.
const BUDGET: f64 = 500.0;

/// For TLS, as a multiple of the time without.
const TLS_BUDGET: f64 = 2.0;

/// Prints the median for a thousand and for ten thousand clients, beside that of the write loop.
pub async fn measure() {
    println!("Time until a changed row has reached the last client:");

    for clients in [1_000, 10_000] {
        let clients = clients.min(OpenFileLimit::raise().connections());
        for kind in ClientKind::ALL {
            let [mut plain, mut tls] =
                [BenchServer::start(20).await, BenchServer::start_with_tls(20).await];
            let plain_time = time_to_clients(&mut plain, clients, kind).await;
            let tls_time = time_to_clients(&mut tls, clients, kind).await;

            let message = plain.change_on_the_wire(kind).await;
            let bytes = message.len();
            let write_time = time_to_write(clients, message).await;

            println!(
                "  {clients:>6} clients, {kind:6} {bytes:>5} bytes: server {plain_time:6.1} ms, \
                 write() {write_time:6.1} ms: {:.2} × {}; with TLS {tls_time:6.1} ms: {:.2} × {}",
                plain_time / write_time,
                with_budget(plain_time, BUDGET, "ms"),
                tls_time / plain_time,
                with_budget(tls_time / plain_time, TLS_BUDGET, "× plain"),
            );
        }
    }
}

/// In milliseconds. All clients have left when this returns.
async fn time_to_clients(server: &mut BenchServer, clients: usize, kind: ClientKind) -> f64 {
    let mut clients = ClientProcess::start(&server.endpoint, clients, kind).await;
    clients.all_received().await;

    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        server.publish_change();
        clients.all_received().await;
        times.push(start.elapsed());
    }

    drop(clients);
    server.all_clients_left().await;
    median(times)
}

/// In milliseconds.
async fn time_to_write(sockets: usize, message: Vec<u8>) -> f64 {
    let mut write_loop = WriteLoop::start(sockets, message).await;

    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        write_loop.round().await;
        times.push(start.elapsed());
    }
    median(times)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
