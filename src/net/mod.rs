//! What everything needs that connects to a server: HTTP, names of hosts, and the wait between
//! attempts.
//!
//! It knows neither fleet nor what is requested.

pub(crate) mod backoff;
pub mod host;
pub(crate) mod http;
pub(crate) mod percent;
