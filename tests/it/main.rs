//! The integration tests, in one binary.

mod metrics;
mod server;
