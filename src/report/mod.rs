//! The state of a cluster as the public JSON describes it, and what people are told about it.
//!
//! It is pure. It knows the public protocol alone: neither how the state is decided, nor how the
//! JSON arrives. The client prints its texts, and the server sends them to programs that ask for
//! plain text.

mod check;
mod cluster_state;
pub mod counted;
pub mod duration;
mod last_hour;
mod log_message;
mod log_text;
mod machine_status;
mod next_steps;
mod overview;
mod pending;
mod problem_units;
mod problems;
mod since;
pub mod table;
#[cfg(test)]
mod tests;
mod times;
mod unit_detail;
mod unit_file;
mod unit_history;
mod unit_name;
pub mod verdicts;
mod wire;

pub use check::{CheckRules, CheckStatus, Threshold, check};
pub use cluster_state::{ClusterState, InvalidMessage, UnitCount};
pub use last_hour::{HOUR, LastHour, StateKind, StateSegment, is_started_by_another};
pub use log_message::{
    LogMachine, LogMachineState, LogMessage, LogRow, MachineInLog, MissedBecause,
};
pub use log_text::{LogFormat, LogOutput, LogText};
pub use machine_status::MachineStatus;
pub use next_steps::{next_steps, subject_of_machine, subject_of_unit};
pub use overview::{Assessment, ShownUnits, fitting_format, overview};
pub use pending::Pending;
pub use problem_units::ProblemUnits;
pub use problems::problems;
pub use since::Since;
pub use table::{Layout, printable};
pub use times::{TimeFormat, TimeZone, Times};
pub use unit_detail::{rows_of_unit, unit_detail};
pub use unit_file::unit_file;
pub use unit_name::full_name;
pub use wire::{
    EventRow, HealthState, Hello, HistoryDocument, MachineRow, Message, Milliseconds, ProblemRow,
    ProblemUnit, RowTopic, Software, SourceHealth, StateDocument, TopicHealth, UnitFileReply,
    UnitRow, UnitRowKey, VersionReply,
};
