//! fleet-monitor watches a CoreOS fleet cluster and publishes what it sees.
//!
//! fleet schedules systemd units on the machines of a cluster. This program reads fleet's lists or
//! its keys in etcd, works out the state of each unit and machine from them, and sends it to
//! browsers and programs. Data flows from left to right, and never back:
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
//! 2. [`source`] reads fleet. A source is polled ([`source::FleetClient`]), watches etcd, or plays
//!    a recording. It sends [`source::SourceEvent`]s, most of them with a [`cluster::Reading`]: a
//!    list of fleet, or changes of its keys. It knows nothing about clients; what viewers change in
//!    how a recording is played reaches it through `playback`.
//! 3. [`cluster`] is the core, and is pure: it gets readings and the time. fleet's lists lack
//!    units that run, so what is missing from them is not removed at once. Each row (a unit on a
//!    machine) and each machine has a small state machine, which takes a step when there is
//!    evidence, or when a timeout is over. The results are a [`cluster::View`] (what is shown, with
//!    a [`cluster::Verdict`] for each row), a [`cluster::Delta`] between two views, and
//!    [`cluster::Transition`]s (events).
//! 4. [`problems`] is pure, too: it finds what has been wrong for long enough, by its cause. Each
//!    problem is opened once and closed once.
//! 5. [`daemon`] is the loop that connects all parts. It passes events to [`telemetry`] (the log
//!    and the journal) and [`metrics`], and everything to the feed.
//! 6. [`feed`] encodes each message once for all clients with the same subscription. It publishes
//!    the state as a [`feed::Publication`] with a revision. A client that reconnects resumes from
//!    its revision.
//! 7. [`server`] accepts connections, checks who has access, and writes the encoded bytes: one task
//!    for each connection, be it a WebSocket, an event stream or plain HTTP. It never asks a
//!    source itself. Only an admitted request for a unit file leads to one, through
//!    [`unit_files`]: bounded, cached, and off by default.
//! 8. `logs` reads the journals of machines, while clients read the log of a unit and only then.
//! 9. [`notify`] sends the beginning and the end of problems to Alertmanagers and to a webhook, one
//!    task for each of them, and tries again until they are accepted.
//! 10. `peers` asks the other monitors of the cluster for their history at the start. What they
//!     know is merged like what this one has saved.
//! 11. [`lifecycle`] handles signals, and reports readiness, status and liveness to systemd.
//!
//! With a command, such as `fleet-monitor status`, the program is not that daemon, but asks one:
//! [`client`] reads the public protocol of a running monitor, and [`report`] makes texts of it. It
//! connects with `net`, as sources do. [`actions`] are the next steps that both can show of a unit:
//! commands to copy, and links.
//!
//! Writing to stderr, the journal, a disk or systemd may block. So each of them has a bounded queue
//! and a thread that writes from it, and none can stop the loop.

pub mod actions;
mod append_log;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod daemon;
mod digest;
mod escapes;
pub mod feed;
mod interner;
pub mod lifecycle;
mod logs;
pub mod metrics;
mod net;
pub mod notify;
mod peers;
mod playback;
pub mod problems;
mod quantity;
pub mod report;
mod saved_state;
mod secret_file;
pub mod server;
mod similar;
pub mod source;
pub mod telemetry;
pub mod unit_files;
mod unit_types;
mod utc;
mod write_queue;

// Helpers that unit tests share with the tests in `tests/`. Those name the crate `fleet_monitor`,
// so it needs that name here too.
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
