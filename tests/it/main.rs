//! The program as others meet it: real child processes, real sockets, real signals.

mod fleetctl;
mod support;
