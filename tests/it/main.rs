//! The program as others meet it: real child processes, sockets, signals, browsers and service managers, in one binary.

mod api;
mod architecture;
mod browser;
mod config;
mod fleetctl;
mod metrics;
mod server;
mod support;
mod timeline;
