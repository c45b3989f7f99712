//! Doubles, processes and builders that the tests share.

mod alertmanager;
pub mod builders;
pub mod certificates;
pub mod changes;
mod client;
pub mod containers;
mod daemon;
mod double;
pub mod endpoint;
pub mod etcd;
pub mod fleetd;
pub mod journal;
pub mod journal_gateway;
mod log;
mod log_server;
mod message_log;
pub mod post_receiver;
mod process;
mod proxy;
pub mod recorded_poll;
mod reverse_proxy;
pub mod snapshots;
mod terminal;

use std::path::PathBuf;

pub use alertmanager::Alertmanager;
pub use client::Client;
pub use daemon::{Daemon, Program};
pub use double::{Double, VERSIONS, recorded};
pub use log::Log;
pub use log_server::{LogServer, LogViewer, log_line, log_machine};
pub use message_log::within_timeout;
pub use process::Process;
pub use proxy::Proxy;
pub use reverse_proxy::{ReverseProxy, documented};
pub use terminal::Terminal;

/// The directory with the packages that `packaging/build` has built; `None` if they are not to be
/// tested. In CI that is a failure.
pub fn packages() -> Option<PathBuf> {
    let packages = std::env::var_os("FLEET_MONITOR_PACKAGES").map(PathBuf::from);
    if packages.is_none() {
        cannot_run(
            "FLEET_MONITOR_PACKAGES names no directory with packages; \
             `tests/run --system` builds them",
        );
    }
    packages
}

/// Prints why a test cannot run. In CI the test fails.
pub fn cannot_run(why: &str) {
    assert!(!std::env::var("CI").is_ok_and(|value| value == "true"), "{why}");
    eprintln!("not run: {why}");
}
