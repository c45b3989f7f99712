//! fleet-monitor watches a CoreOS fleet cluster and publishes what it sees.
//!
//! fleet schedules systemd units on the machines of a cluster. This program reads fleet's lists or
//! its keys in etcd, decides what is really the case, and sends it to browsers and programs. Data
//! flows from left to right, and never back:
//!
//! ```text
//! fleetctl ──── source::fleetctl ┐                              ┌► metrics, journal
//! fleet's API ─ source::api      ├► Reading ► cluster ► daemon ─┤
//! etcd's keys ─ source::etcd     │              │               └► feed ► server ► browser
//! recording ─── source::replay   ┘              └ View, Delta, Transition
//! ```
//!
//! In the order in which data meets them:
//!
//! 1. [`cli`] and [`config`] read the options, from the command line, the environment and a file.
//!    `main.rs` turns the result into an exit status.
//! 2. [`source`] reads fleet. A source is polled ([`source::FleetClient`]) or watches etcd. It
//!    sends [`source::SourceEvent`]s, most of them with a [`cluster::Reading`]: a list of fleet, or
//!    changes of its keys. It knows nothing about clients.
//! 3. [`cluster`] is the core, and is pure: it gets readings and the time. fleet's lists lack
//!    units that run, so each unit and each machine has a life of its own, a small state machine
//!    that moves only with evidence. The results are a [`cluster::View`] (what is shown, with a
//!    [`cluster::Verdict`] for each unit), a [`cluster::Delta`] between two views, and
//!    [`cluster::Transition`]s (events).
//! 4. [`daemon`] is the loop that connects all parts. It passes events to [`telemetry`] (the log
//!    and the journal) and [`metrics`], and everything to the feed.
//! 5. [`feed`] encodes each message once for all clients, and publishes it as a
//!    [`feed::Publication`] with a revision. A client that reconnects resumes from its revision.
//! 6. [`server`] accepts connections, checks who has access, and sends the same bytes to each
//!    client: one task for each WebSocket, event stream or request. It never asks a source.
//! 7. [`lifecycle`] handles signals, and reports readiness, status and liveness to systemd.
//!
//! Everything that may block (stderr, the journal, a recording's disk, systemd) is written through
//! a bounded queue with a thread of its own, so that none of it can stop the loop.

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
