//! What the tests share.

mod daemon;
mod double;
pub mod fleetd;
mod process;

pub use daemon::{Client, Daemon, Program};
pub use double::{Double, VERSIONS, recorded};
pub use process::Process;
