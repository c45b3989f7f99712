//! The whole program while it records: killed, reloaded, and with older files.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Daemon, Double, Program};

/// Polls as fast as the program allows.
const FAST: [&str; 4] = ["-m", "0.1", "-u", "0.05"];

/// Starts a program that records a fleetctl to this file.
async fn recording(fleetctl: &Double, path: &Path, more: &[&str]) -> Daemon {
    let record = ["--record", path.to_str().unwrap()];
    Daemon::asking(fleetctl, &[&FAST, &record[..], more].concat()).await
}

/// Waits until the units have been polled so many more times.
async fn polls(daemon: &Daemon, count: u64) {
    daemon.source_is("ok").await;
    daemon
        .counts(count, "fleet_monitor_poll_duration_seconds_count{topic=\"units\"}")
        .await;
}

/// Plays a recording to its end. Returns the units that are there then.
async fn played(path: &Path) -> Vec<Value> {
    let arguments = ["--replay", path.to_str().unwrap(), "--replay-speed", "100"];
    let daemon = Program::new(&arguments).start().await;
    daemon.source_is("ended").await;
    daemon.get("/v2/state").await.1["units"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_monitor_that_is_killed_loses_nothing_and_its_recording_is_gone_on_with() {
    let fleetctl = Double::new("v1.0.0");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");

    for _ in 0..2 {
        let mut daemon = recording(&fleetctl, &path, &["--record-keep", "1m"]).await;
        polls(&daemon, 8).await;
        let live = daemon.get("/v2/state").await.1["units"].as_array().unwrap().len();
        daemon.stop(Signal::KILL).await;

        assert_eq!(played(&path).await.len(), live);
    }
}

#[tokio::test]
async fn a_reload_goes_on_with_the_same_file() {
    let fleetctl = Double::new("v1.0.0");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let mut daemon = recording(&fleetctl, &path, &[]).await;
    polls(&daemon, 4).await;
    daemon.reload().await;
    polls(&daemon, 4).await;
    daemon.stop(Signal::TERM).await;

    let bytes = fs::read(&path).unwrap();
    let text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap();
    assert_eq!(text.matches("{\"recording\":").count(), 1, "one chapter: {text}");
}

#[tokio::test]
async fn a_second_monitor_does_not_record_to_the_same_file() {
    let fleetctl = Double::new("v1.0.0");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let daemon = recording(&fleetctl, &path, &[]).await;
    polls(&daemon, 4).await;

    let second = Program::asking(&fleetctl, &["--record", path.to_str().unwrap()]);
    let (status, log, _) = second.end().await;
    assert_eq!(status, 78, "{log}");
    assert!(log.contains("record = "), "{log}");
    assert_eq!(daemon.failed_polls().await, 0);
}
