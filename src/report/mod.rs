//! The state of a cluster as the public JSON describes it, and what people are told about it.
//!
//! It is pure. It knows the public protocol alone: neither how the state is decided, nor how the
//! JSON arrives. The client prints its texts, and the server sends them to programs that ask for
//! plain text.

mod cluster_state;
pub mod duration;
mod since;
mod utc;
pub mod verdicts;
mod wire;

pub use cluster_state::{ClusterState, InvalidMessage};
pub use since::Since;
pub use utc::utc;
pub use wire::{
    EventRow, Health, HealthState, Hello, ListHealth, MachineRow, Message, Milliseconds, RowKey,
    Software, StateDocument, Topic, UnitRow,
};
