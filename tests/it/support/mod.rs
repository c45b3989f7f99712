//! What the tests share.

mod double;
mod process;

pub use double::{Double, VERSIONS, recorded};
pub use process::Process;
