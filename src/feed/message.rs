//! The JSON that clients read, as `docs/protocol.md` defines it.
//!
//! It does not know when a message is sent, nor to whom.

mod health;
mod history;
mod key_column;
mod list;
mod problems;
mod rows;
mod shared_history;
mod state;

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

pub(super) use health::{HealthJson, short_health};
pub use history::HistoryBody;
pub(super) use history::history;
pub(super) use list::{machine_cells, machine_list, repeats_a_name, unit_cells, unit_list};
pub(super) use problems::ProblemJson;
pub(crate) use problems::problem_json;
pub(super) use rows::{EventJson, MachineJson, UnitJson, UnitKeyJson};
pub(super) use shared_history::shared_history;
pub(super) use state::{state_body, state_head};

/// The name and version of this program.
#[derive(Serialize)]
pub(super) struct SoftwareJson {
    name: &'static str,
    version: &'static str,
}

impl SoftwareJson {
    pub(super) const THIS: Self = Self {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
    };
}

pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    // serde_json fails only on a writer that fails, or on a map whose keys are not strings. Here
    // is neither.
    serde_json::to_vec(value).expect("the messages are plain structs")
}

/// Milliseconds since 1970 (UTC).
fn milliseconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    serializer.serialize_u64(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn some_milliseconds<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}
