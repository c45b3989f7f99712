//! Encodes the state of the cluster, once for all clients.
//!
//! It knows what clients read. It does not know sockets, and time is passed in.
//!
//! The daemon gives each new view to the [`Publisher`], which makes a [`Publication`] of it. Each
//! client's task has a [`Subscriber`]. Between them is a tokio `watch` channel, which keeps the
//! newest publication only. So messages are not stored for each client, a new client gets the
//! current state at once, and a slow client skips publications. No client has a queue.
//!
//! - The first protocol sends whole lists: [`PublishedList`], with the columns in [`fields`].
//! - The second protocol sends what has changed: a [`channel`] sends the messages that a
//!   [`subscription`] selects.
//! - `/v2/state` is the whole publication as JSON, and `/plain` as a page that needs no script.
//! - `/v2/history` has the latest events of one unit or machine, from an [`event_history`] that all
//!   publications share; or, for another monitor, all that it may merge.
//!
//! All of them can be narrowed with a [`filter`].

pub mod channel;
pub mod event_history;
pub mod fields;
pub mod filter;
pub(crate) mod fingerprint;
mod frame;
mod html;
mod input;
mod list;
mod message;
mod plain;
mod previous_run;
mod publication;
mod publisher;
mod status;
pub mod subscription;
#[cfg(test)]
mod tests;
mod unit_machines;
mod update;
mod update_history;

pub(crate) use event_history::PeerEvents;
pub use frame::Frame;
pub(crate) use html::HtmlText;
pub use input::{FeedInput, FeedSettings, Publish};
pub use list::PublishedList;
pub(crate) use message::problem_json;
pub(crate) use previous_run::{PreviousRun, RestartDiff};
pub use publication::{Publication, SourceInfo, Subscriber};
pub use publisher::Publisher;
pub(crate) use status::{count, status_line};
pub(crate) use unit_machines::{MachineRole, UnitMachine};
