//! What the tests share.

mod daemon;
mod double;
pub mod fleetd;
mod process;
mod proxy;

pub use daemon::{Client, Daemon, Program};
pub use double::{Double, VERSIONS, recorded};
pub use process::Process;
pub use proxy::Proxy;

/// Says why a test cannot run; that fails it under CI.
pub fn cannot_run(why: &str) {
    assert!(!std::env::var("CI").is_ok_and(|value| value == "true"), "{why}");
    eprintln!("not run: {why}");
}
