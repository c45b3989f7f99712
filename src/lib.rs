//! fleet-monitor watches a CoreOS fleet cluster and publishes what it sees.
//!
//! The way of a row, read from left to right; nothing flows back:
//!
//! ```text
//! fleetctl child ── source::table ┐
//! fleet.sock HTTP ─ source::wire  ├─► Reading ─► cluster (observe, step, judge) ─► feed (encode once) ─► watch ─► session ─► browser
//! etcd's keys ─────── source::etcd┤                         └─► journal, metrics, history              (one per client)
//! recording ─────── source::replay┘
//! ```
//!
//! A session never asks a source for anything, and a source never knows a client. [`daemon`] is the
//! only place where all parts meet.

pub mod cli;
pub mod cluster;
pub mod config;
pub mod daemon;
pub mod feed;
pub mod lifecycle;
pub mod metrics;
pub mod server;
pub mod source;
pub mod telemetry;
mod write_queue;

// What unit tests share with those of `tests/`, where the crate has a name.
#[cfg(test)]
extern crate self as fleet_monitor;
#[cfg(test)]
#[path = "../tests/it/support/builders.rs"]
mod builders;
#[cfg(test)]
#[path = "../tests/it/support/changes.rs"]
mod changes;
#[cfg(test)]
#[path = "../tests/it/support/snapshots.rs"]
mod snapshots;
