//! What is put on the wire for a client of the second protocol.

use std::time::Instant;

use fleet_monitor::server::Timing;

use crate::judged;
use crate::readers::{Kind, Listener};
use crate::server::Bench;

const ROWS: usize = 1_000;

/// In bytes, for one changed row.
const BUDGET: f64 = 1_024.0;

/// Prints it for one changed row, with the event that tells of it, and for none.
pub async fn on_the_wire() {
    println!("Bytes on the wire, {ROWS} units:");
    for kind in [Kind::Second, Kind::Events] {
        let mut bench = Bench::with(ROWS, Timing::default()).await;
        let mut listener = Listener::connect(bench.address, kind).await;
        listener.until(kind.last_of_state()).await;
        bench.change();
        let changed = listener.until(kind.last_of_change()).await.len();
        let judged = judged(changed as f64, BUDGET, "bytes");
        println!("  {kind:6} one changed row, and the event that tells of it: {changed} {judged}");
        let begun = Instant::now();
        for _ in 0..100 {
            bench.publish_the_same();
        }
        let heartbeat = listener.until("status").await.len();
        println!(
            "  {kind:6} 100 readings without a change: 0, until after {:.1?} a heartbeat of {heartbeat}",
            begun.elapsed()
        );
    }
}
