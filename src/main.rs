//! The `fleet-monitor` program.

fn main() {}
