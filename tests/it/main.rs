//! Tests of the program from outside, with real child processes, sockets, signals, browsers and
//! service managers. All are in one binary.

mod api;
mod architecture;
mod attack;
mod browser;
mod config;
mod container;
mod daemon;
mod etcd;
mod first_answers;
mod fleetctl;
mod hanging;
mod incidents;
mod journal;
mod language;
mod live;
mod log_command;
mod logs;
mod metrics;
mod operations;
mod packages;
mod protocol;
mod proxies;
mod readme;
mod registry;
mod server;
mod sockets;
mod ssh;
mod support;
mod system;
mod terminal;
mod timeline;
mod unit_file;
mod unit_file_requests;
mod watch;
mod zones;
