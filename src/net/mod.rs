//! What everything needs that connects to a server: HTTP, TLS, names of hosts, and the wait between
//! attempts.
//!
//! It knows neither fleet nor what is requested.

pub(crate) mod backoff;
pub mod host;
pub(crate) mod http;
pub(crate) mod percent;
pub(crate) mod tls;

use std::error::Error;

/// An error with all its causes. The texts of most libraries' errors do not contain their causes.
pub(crate) fn causes(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", causes(cause)),
        None => error.to_string(),
    }
}
