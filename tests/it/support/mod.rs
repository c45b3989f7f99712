//! What the tests share.

mod double;
pub mod fleetd;
mod process;

pub use double::{Double, VERSIONS, recorded};
pub use process::Process;
