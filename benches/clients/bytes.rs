//! How many bytes a client of the second protocol is sent.

use std::time::Instant;

use fleet_monitor::server::Timing;

use crate::bench_server::BenchServer;
use crate::client::{ClientKind, SingleClient};
use crate::with_budget;

const ROWS: usize = 1_000;

/// For one changed row, in bytes.
const BUDGET: f64 = 1_024.0;

/// Prints the bytes for one changed row and its event, and for readings without a change.
pub async fn measure() {
    println!("Bytes on the wire, {ROWS} units:");

    for kind in [ClientKind::Second, ClientKind::Events] {
        let mut server = BenchServer::with_timing(ROWS, Timing::default()).await;
        let mut client = SingleClient::connect(&server.endpoint, kind).await;
        client.read_until(kind.last_of_state()).await;

        server.publish_change();
        let changed = client.read_until(kind.last_of_change()).await.len();
        let result = with_budget(changed as f64, BUDGET, "bytes");
        println!("  {kind:6} one changed row and its event: {changed} {result}");

        let start = Instant::now();
        for _ in 0..100 {
            server.publish_the_same();
        }
        let heartbeat = client.read_until("status").await.len();
        println!(
            "  {kind:6} 100 readings without a change: 0, then a heartbeat of {heartbeat} after \
             {:.1?}",
            start.elapsed()
        );
    }
}
