//! Watches that fall silent: by a proxy that keeps streams back, and by a standstill of this
//! program itself.

use std::time::Duration;

use fleet_monitor::source::etcd::EtcdSource;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::daemon::until_ready;
use super::trouble::{WATCH, WHOLE, found, proxy, report};
use super::watched::{follow, settings, until};
use crate::support::etcd::{Etcd, PREFIX};
use crate::support::{Daemon, Program, Proxy};

/// Longer than any gap between two ticks of a program that runs.
const STANDSTILL: Duration = Duration::from_secs(6);

/// So many events come with few requests over a stream, and with one request for each without.
const EVENTS: usize = 40;

/// How often it is tried whether events are streamed.
const ROUNDS: usize = 5;

/// Runs a test while fleet has a leader, who writes its key, and does so more often than a real
/// one.
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

/// Writes more than connections hold to which nobody listens, but less events than etcd remembers.
/// etcd ends the stream of a watch that has fallen back by 100 events (etcd 3.4,
/// `v2store/watcher.go`).
async fn overflow(etcd: &Etcd) {
    let value = "x".repeat(60_000);
    for _ in 0..600 {
        etcd.set(&format!("{PREFIX}/large"), &value, None).await;
    }
}

/// Whether many events come with few requests. `hears` publishes one and waits until it was heard.
/// A stream that begins behind is left again, so on a busy machine some are needed until one stays.
async fn is_streamed(proxy: &Proxy, mut hears: impl AsyncFnMut(&str)) -> bool {
    for _ in 0..ROUNDS {
        let before = proxy.asked(WATCH).len();
        for number in 0..EVENTS {
            hears(&format!("state-{number}")).await;
        }
        if proxy.asked(WATCH).len() <= before + 3 {
            return true;
        }
    }
    false
}

/// Whether the program is streamed to.
async fn streams(etcd: &Etcd, proxy: &Proxy, daemon: &Daemon) -> bool {
    let mut client = daemon.connect().await;
    let hears = async |sub: &str| {
        report(etcd, "a.service", sub, None).await;
        while !client.next_of("unit").await["items"].to_string().contains(sub) {}
    };
    is_streamed(proxy, hears).await
}

/// A program that is streamed to, and then stopped for a while.
async fn stop_for_a_while(
    etcd: &Etcd,
    proxy: &Proxy,
    url: &str,
    meanwhile: impl Future<Output = ()>,
) -> Daemon {
    let daemon = Program::new(&["--etcd", url]).start().await;
    until_ready(&daemon).await;
    proxy.until_asked("stream=true").await;
    assert!(streams(etcd, proxy, &daemon).await);

    daemon.signal(Signal::STOP);
    tokio::join!(meanwhile, sleep(STANDSTILL));
    daemon.signal(Signal::CONT);
    daemon
}

#[tokio::test]
async fn a_program_that_was_stopped_goes_on_with_its_stream() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
    let (proxy, url) = proxy(&etcd).await;
    while_led(&etcd, async {
        let daemon = stop_for_a_while(&etcd, &proxy, &url, overflow(&etcd)).await;
        // A look says what etcd has, and the next one whether the watch has it too.
        let looks = proxy.asked("GET /v2/keys/_coreos.com/fleet/lease").len();
        proxy
            .until_asked_times("GET /v2/keys/_coreos.com/fleet/lease", looks + 3)
            .await;
        assert!(streams(&etcd, &proxy, &daemon).await);
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_did_not_survive_a_standstill_is_followed_by_another() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
    let (proxy, url) = proxy(&etcd).await;
    while_led(&etcd, async {
        let daemon =
            stop_for_a_while(&etcd, &proxy, &url, async { proxy.hold("stream=true") }).await;
        proxy.until_asked_times(WHOLE, 2).await;
        proxy.mend();
        assert!(streams(&etcd, &proxy, &daemon).await);
    })
    .await;
}

#[tokio::test]
async fn where_streams_did_not_come_through_they_are_tried_again_after_a_while() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
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
        // At once would be after two looks, each 2 s after what came before it.
        assert!(held.elapsed() > again, "{:?}", held.elapsed());

        let hears = async |sub: &str| {
            let index = report(&etcd, "a.service", sub, None).await;
            until(&mut watched, |told| told.index >= index).await;
        };
        assert!(is_streamed(&proxy, hears).await);
    })
    .await;
}
