//! The whole program with the source `etcd`.

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::trouble::{WHOLE, proxy};
use crate::support::etcd::{Etcd, PREFIX, RecordedNode, registry};
use crate::support::{Daemon, Double as Fleetctl, Program};

/// The registry of a fleet whose keys do not expire while a test runs.
fn fleet() -> RecordedNode {
    fn prolong(node: &mut RecordedNode) {
        node.ttl = node.ttl.map(|_| 600);
        node.nodes.iter_mut().for_each(prolong);
    }
    let mut fleet = registry("v1.0.0");
    prolong(&mut fleet);
    fleet
}

pub async fn etcd() -> Option<Etcd> {
    let etcd = Etcd::start().await?;
    etcd.fill(&fleet()).await;
    Some(etcd)
}

fn port(url: &str) -> &str {
    url.rsplit_once(':').unwrap().1
}

/// The program with `-e`, and a fleetctl in its `PATH`.
fn with_endpoint(url: &str, fleetctl: &Fleetctl) -> Program {
    let path = format!("{}:/usr/bin:/bin", fleetctl.command().parent().unwrap().display());
    Program::new(&["-e", "127.0.0.1", "--endpoint-port", port(url)]).environment("PATH", path)
}

pub async fn until_ready(daemon: &Daemon) {
    daemon.source_is("ok").await;
    assert_eq!(daemon.get("/readyz").await.0, 200);
}

/// The name of its source.
async fn source(daemon: &Daemon) -> String {
    daemon.health().await["source"].as_str().unwrap().to_owned()
}

/// Why it is not ready.
pub async fn reason(daemon: &Daemon) -> String {
    daemon.source_is("failing").await;
    let (status, ready) = daemon.get("/readyz").await;
    assert_eq!(status, 503);
    ready["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn with_an_endpoint_etcd_is_watched_if_it_can_be_and_named() {
    let Some(etcd) = etcd().await else { return };
    let (proxy, url) = proxy(&etcd).await;
    let fleetctl = Fleetctl::new("v1.0.0");
    let mut daemon = with_endpoint(&url, &fleetctl).start().await;
    until_ready(&daemon).await;
    assert!(source(&daemon).await.starts_with("etcd v3."));
    daemon.notices.first("STATUS=etcd v3.").await;
    assert!(shown(&daemon).await.iter().all(|rows| !rows.is_empty()));
    assert!(!proxy.asked(WHOLE).is_empty());
    assert!(fleetctl.calls().is_empty(), "fleetctl was run too");
    daemon.stop(Signal::TERM).await;
}

#[tokio::test]
async fn with_an_endpoint_and_a_fleetctl_etcd_is_not_asked() {
    let Some(etcd) = etcd().await else { return };
    let (proxy, url) = proxy(&etcd).await;
    let fleetctl = Fleetctl::new("v1.0.0");
    let arguments = ["-e", "127.0.0.1", "--endpoint-port", port(&url)];
    let daemon = Program::asking(&fleetctl, &arguments).start().await;
    until_ready(&daemon).await;
    daemon.notices.first("STATUS=fleetctl v1.0.0").await;
    assert_eq!(proxy.asked(""), [""; 0]);
}

#[tokio::test]
async fn an_etcd_without_v2_is_no_source() {
    let Some(etcd) = Etcd::start_without_v2().await else {
        return;
    };
    let url = etcd.url();
    let fleetctl = Fleetctl::new("v1.0.0");
    let names_both = |text: &str| text.contains(&url) && text.contains("--enable-v2");

    let daemon = with_endpoint(&url, &fleetctl).start().await;
    until_ready(&daemon).await;
    assert_eq!(source(&daemon).await, "fleetctl v1.0.0");
    daemon.log.find(|line| names_both(line).then_some(())).await;

    for arguments in [
        ["--source", "etcd", "-e", "127.0.0.1", "--endpoint-port", port(&url)].as_slice(),
        &["--etcd", &url],
    ] {
        let (code, message, _) = Program::new(arguments).end().await;
        assert_eq!(code, 78, "{message}");
        assert!(names_both(&message), "{message}");
    }
}

#[tokio::test]
async fn it_starts_without_etcd_and_is_ready_when_etcd_is() {
    let Some(mut etcd) = etcd().await else { return };
    etcd.stop_hard();
    let url = etcd.url();
    let fleetctl = Fleetctl::new("v1.0.0");
    let daemon = with_endpoint(&url, &fleetctl).start().await;
    daemon.notices.first("READY=1").await;
    let reason = reason(&daemon).await;
    assert!(reason.contains(&url), "{reason}");
    etcd.restart().await;
    until_ready(&daemon).await;
}

#[tokio::test]
async fn an_etcd_without_a_fleet_is_waited_for() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let url = etcd.url();
    let fleetctl = Fleetctl::new("v1.0.0");
    let daemon = with_endpoint(&url, &fleetctl).start().await;
    let reason = reason(&daemon).await;
    assert!(reason.contains(&url) && reason.contains(PREFIX), "{reason}");
    etcd.fill(&fleet()).await;
    until_ready(&daemon).await;
}

/// The machines and units that it publishes, without times.
async fn shown(daemon: &Daemon) -> [Vec<Value>; 2] {
    let mut state = daemon.get("/v2/state").await.1;
    ["machines", "units"].map(|list| {
        let mut rows = state[list].as_array_mut().unwrap().clone();
        for row in rows.iter_mut().filter_map(Value::as_object_mut) {
            row.retain(|column, _| !column.contains("since") && column != "seen");
        }
        rows
    })
}

#[tokio::test]
async fn a_recorded_registry_can_be_replayed() {
    let Some(etcd) = etcd().await else { return };
    let directory = TempDir::new().unwrap();
    let url = etcd.url();
    let recording = directory.path().join("recording.jsonl");
    let recording = recording.to_str().unwrap();
    let mut daemon = Program::new(&["--etcd", &url, "--record", recording]).start().await;
    until_ready(&daemon).await;
    let live = shown(&daemon).await;
    let leaders: Vec<_> = live[0].iter().filter(|machine| machine["leader"] == true).collect();
    assert_eq!(leaders.len(), 1, "{live:?}");
    assert!(live[0].iter().all(|machine| machine["version"] == "1.0.0"), "{live:?}");
    daemon.stop(Signal::TERM).await;

    let daemon = Program::new(&["--replay", recording]).start().await;
    daemon.source_is("ended").await;
    assert_eq!(shown(&daemon).await, live);
    assert!(source(&daemon).await.starts_with("recording of etcd v3."));
}

#[tokio::test]
async fn a_reload_that_does_not_concern_etcd_does_not_interrupt_the_watch() {
    let Some(mut etcd) = etcd().await else { return };
    let (proxy, url) = proxy(&etcd).await;
    let fleetctl = Fleetctl::new("v1.0.0");
    let daemon = with_endpoint(&url, &fleetctl).start().await;
    until_ready(&daemon).await;
    daemon.configure("max_clients = 5\ngrace = 10\n");
    daemon.reload().await;
    assert_eq!(proxy.asked(WHOLE).len(), 1);

    // It is still the same source although etcd is down: another one would not know the version.
    etcd.stop_hard();
    daemon.source_is("failing").await;
    daemon.reload().await;
    assert!(source(&daemon).await.starts_with("etcd v3."));
    etcd.restart().await;
    daemon.event("source_back").await;

    daemon.configure("etcd_prefix = '/another/fleet'\n");
    daemon.reload().await;
    let reason = reason(&daemon).await;
    assert!(reason.contains("/another/fleet"), "{reason}");
}

#[tokio::test]
async fn the_watchdog_is_notified_whatever_etcd_does() {
    let Some(mut etcd) = etcd().await else { return };
    let url = etcd.url();
    let program = Program::new(&["--etcd", &url, "--poll-timeout", "1"])
        .environment("WATCHDOG_USEC", "300000");
    let daemon = program.start().await;
    until_ready(&daemon).await;

    etcd.pause();
    daemon.source_is("failing").await;
    daemon
        .notices
        .nth(daemon.notices.count("WATCHDOG=1") + 30, "WATCHDOG=1")
        .await;

    etcd.restart().await;
    daemon.event("source_back").await;
    daemon
        .notices
        .nth(daemon.notices.count("WATCHDOG=1") + 4, "WATCHDOG=1")
        .await;
}
