//! Which alerts of `packaging/prometheus` fire during recorded incidents, and when: `promtool`
//! evaluates the rules on the series that Prometheus would have had.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use fleet_monitor::source::recording::RecordedReport;
use tempfile::TempDir;

use super::scrapes::{INTERVAL, Scrapes, scrapes};
use crate::architecture::root;
use crate::live::recording;
use crate::support::cannot_run;
use crate::timeline;

/// An alert that fires from one second to another, both included. `end` is the end of the incident.
#[derive(Clone, Copy, Debug)]
struct Firing {
    alert: &'static str,
    unit: &'static str,
    ip: &'static str,
    from: u64,
    to: u64,
}

/// A timeline as a monitor would have read it, which goes on for some minutes as it ended.
fn timeline_scrapes(name: &str, minutes: u64) -> Scrapes {
    let polls = timeline::polls(name);
    let sampled = timeline::sampled(&polls, Duration::from_millis(600));
    scrapes(&sampled, Duration::from_secs(minutes * 60))
}

fn live_scrapes(name: &str, seconds: u64) -> Scrapes {
    let polls = recording::polls(name);
    let polls: Vec<&RecordedReport> = polls.iter().collect();
    scrapes(&polls, Duration::from_secs(seconds))
}

#[test]
fn explore() {
    for name in ["etcd-down-70s", "etcd-down-10s", "fleetd-restart", "fleetd-restart-of-the-polled-machine", "kill-machine-and-return", "partition-machine", "shutdown-machine-and-return","start-stop-destroy"] {
        let s = timeline_scrapes(name, 10);
        show(name, &s);
    }
    for (name, end) in [("etcd.jsonl.gz", 555), ("api.jsonl.gz", 555), ("fleetctl.jsonl.gz", 555), ("1-etcd-fleetd-crash.jsonl", 120), ("2-fleetctl-fleetd-crash.jsonl", 120), ("3-fleetctl-machine-lost-then-stale.jsonl", 600), ("4-crash-loop.jsonl", 600), ("5-etcd-outage.jsonl", 120), ("6-etcd-fleetd-crashes-again.jsonl", 120)] {
        show(name, &live_scrapes(name, end));
    }
}
fn show(name: &str, s: &Scrapes) {
    println!("== {name}");
    for line in s.input_series().split("      - series: ") {
        if line.contains("_troubled{") || line.contains("source_") && !line.contains("transitions") || line.contains("ready") || line.contains("transitions") && line.contains("suspect") {
            println!("{line}");
        }
    }
}
