//! All tests against real sockets, processes, browsers and service managers, in one binary.

mod config;
mod daemon;
mod fleetctl;
mod support;
mod timeline;
