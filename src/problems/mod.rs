//! What is a problem: a verdict that has lasted, by its cause. This is the one definition for the
//! headline, `check`, alerts and webhooks.
//!
//! It knows the view of the cluster and the state of the source. It does not know who is informed
//! of a problem. Time is passed in.
//!
//! Units that are wrong for the same reason are one problem: a lost machine with all its units,
//! units with the same verdict on one machine, instances of one template. A problem is opened once
//! and closed once. What it is about does not change while it is open; which units have it does.
//!
//! While the source cannot be relied on, that is the problem: nothing else is opened, and the time
//! does not count as time that a verdict has lasted.

mod cause;
mod delays;
mod grouping;
mod peer;
mod problem;
mod saved;
mod source_fault;
#[cfg(test)]
mod tests;
mod text;
mod tracker;
mod watched_machines;
mod wrong_rows;

pub use cause::{MachineName, MachineTrouble, ProblemCause, ProblemKind, ProblemSeverity};
pub use delays::ProblemDelays;
pub use peer::PeerProblem;
pub(crate) use problem::changed_problems;
pub use problem::{OpenProblems, Problem, ProblemChange, ProblemEnd};
pub use saved::SavedProblem;
pub use source_fault::SourceFault;
pub use tracker::ProblemTracker;
