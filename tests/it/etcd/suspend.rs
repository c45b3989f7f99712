//! Watches that stall: because a proxy holds streams back, or because this program was suspended.

use std::time::Duration;

use fleet_monitor::source::etcd::EtcdSource;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::daemon::until_ready;
use super::trouble::{WATCH, WHOLE, create_fleet, proxy, report};
use super::watched::{follow, settings, until};
use crate::support::etcd::{Etcd, PREFIX};
use crate::support::{Daemon, Program, Proxy};

/// Longer than any gap between two ticks of a program that runs.
const SUSPEND_TIME: Duration = Duration::from_secs(6);

/// The events in one round: a stream delivers them with few requests, a plain watch with one
/// request for each.
const EVENTS: usize = 40;

/// How many rounds there are until events must be streamed.
const ROUNDS: usize = 5;

/// The request of a probe.
const PROBE: &str = "GET /v2/keys/_coreos.com/fleet/lease";

/// Runs a test while fleet has a leader that writes its key, more often than a real one.
async fn while_led(etcd: &Etcd, test: impl Future<Output = ()>) {
    let lead = async {
        loop {
            etcd.set(&format!("{PREFIX}/lease/engine-leader"), r#"{"MachineID":"m1"}"#, Some(10))
                .await;
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = lead => unreachable!(),
        () = test => {}
    }
}

/// Writes more bytes than the buffers of a connection hold, but fewer events than etcd's history.
/// etcd ends the stream of a watch that is 100 events behind (etcd 3.4, `v2store/watcher.go`).
async fn overflow(etcd: &Etcd) {
    let value = "x".repeat(60_000);
    for _ in 0..600 {
        etcd.set(&format!("{PREFIX}/large"), &value, None).await;
    }
}

/// Whether many events come with few requests. `deliver` publishes one, and waits until it was
/// delivered. A stream that starts behind is dropped again, so on a busy machine it may take
/// several until one stays.
async fn is_streamed(proxy: &Proxy, mut deliver: impl AsyncFnMut(&str)) -> bool {
    for _ in 0..ROUNDS {
        let before = proxy.asked(WATCH).len();
        for number in 0..EVENTS {
            deliver(&format!("state-{number}")).await;
        }
        if proxy.asked(WATCH).len() <= before + 3 {
            return true;
        }
    }
    false
}

/// Whether the program watches etcd by a stream.
async fn has_stream(etcd: &Etcd, proxy: &Proxy, daemon: &Daemon) -> bool {
    let mut client = daemon.connect().await;
    let deliver = async |sub: &str| {
        report(etcd, "a.service", sub, None).await;
        while !client.next_of("unit").await["items"].to_string().contains(sub) {}
    };
    is_streamed(proxy, deliver).await
}

/// A program that watches etcd by a stream, and was then suspended for a while.
async fn suspended(
    etcd: &Etcd,
    proxy: &Proxy,
    url: &str,
    meanwhile: impl Future<Output = ()>,
) -> Daemon {
    let daemon = Program::new(&["--etcd", url]).start().await;
    until_ready(&daemon).await;
    proxy.until_asked("stream=true").await;
    assert!(has_stream(etcd, proxy, &daemon).await);

    daemon.signal(Signal::STOP);
    tokio::join!(meanwhile, sleep(SUSPEND_TIME));
    daemon.signal(Signal::CONT);
    daemon
}

#[tokio::test]
async fn a_program_that_was_suspended_goes_on_with_its_stream() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    let (proxy, url) = proxy(&etcd).await;
    while_led(&etcd, async {
        let daemon = suspended(&etcd, &proxy, &url, overflow(&etcd)).await;
        // One probe finds out what etcd has, and the next one whether the watch has it too.
        let probes = proxy.asked(PROBE).len();
        proxy.until_asked_times(PROBE, probes + 3).await;
        assert!(has_stream(&etcd, &proxy, &daemon).await);
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_did_not_survive_a_suspend_is_followed_by_another() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    let (proxy, url) = proxy(&etcd).await;
    while_led(&etcd, async {
        let daemon = suspended(&etcd, &proxy, &url, async { proxy.hold("stream=true") }).await;
        proxy.until_asked_times(WHOLE, 2).await;
        proxy.mend();
        assert!(has_stream(&etcd, &proxy, &daemon).await);
    })
    .await;
}

#[tokio::test]
async fn after_a_stall_streams_are_tried_again_after_a_while() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    let (proxy, url) = proxy(&etcd).await;
    let again = Duration::from_secs(5);
    let mut watched = follow(EtcdSource::new(settings(&[&url])).unwrap().with_stream_retry(again));
    let streams = || {
        proxy
            .asked(WATCH)
            .iter()
            .filter(|line| line.contains("stream=true"))
            .count()
    };
    while_led(&etcd, async {
        proxy.hold("stream=true");
        let held = Instant::now();
        until(&mut watched, |_| proxy.asked(WHOLE).len() >= 2).await;
        proxy.mend();
        until(&mut watched, |_| streams() >= 2).await;
        // Without the wait, it would be after two probes, which is 4 s.
        assert!(held.elapsed() > again, "{:?}", held.elapsed());

        let deliver = async |sub: &str| {
            let index = report(&etcd, "a.service", sub, None).await;
            until(&mut watched, |registry| registry.index >= index).await;
        };
        assert!(is_streamed(&proxy, deliver).await);
    })
    .await;
}
