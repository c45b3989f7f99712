//! The source `etcd` while a real etcd, or the connection to it, is in trouble.

use std::time::Duration;

use fleet_monitor::cluster::{Lease, Reading, RegistrySnapshot};
use fleet_monitor::source::etcd::error::{EtcdError, EtcdErrors};
use fleet_monitor::source::etcd::{EtcdSettings, EtcdSource};
use fleet_monitor::source::{SourceError, SourceEvent};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::watched::{FollowedSource, follow, next, settings, until, watch};
use crate::support::Proxy;
use crate::support::etcd::{Etcd, PREFIX};

/// The request for the whole registry.
pub const WHOLE: &str = "GET /v2/keys/_coreos.com/fleet?recursive=true";
/// The request of a watch.
pub const WATCH: &str = "GET /v2/keys/_coreos.com/fleet?wait=true";

/// Creates a fleet of one machine, and a unit that runs on it.
pub async fn create_fleet(etcd: &Etcd) {
    appear(etcd, "m1", None).await;
    report(etcd, "a.service", "running", None).await;
}

async fn appear(etcd: &Etcd, machine: &str, ttl: Option<u64>) -> u64 {
    etcd.set(
        &format!("{PREFIX}/machines/{machine}/object"),
        &json!({"ID": machine}).to_string(),
        ttl,
    )
    .await
}

/// Writes the state of a unit on machine m1, and returns etcd's index after that.
pub async fn report(etcd: &Etcd, unit: &str, sub: &str, ttl: Option<u64>) -> u64 {
    let state = json!({
        "loadState": "loaded",
        "activeState": "active",
        "subState": sub,
        "machineState": {"ID": "m1"},
    });
    etcd.set(&format!("{PREFIX}/states/{unit}/m1"), &state.to_string(), ttl)
        .await
}

fn sub<'a>(registry: &'a RegistrySnapshot, unit: &str) -> Option<&'a str> {
    registry
        .states
        .iter()
        .find(|state| &*state.unit == unit)?
        .sub
        .as_deref()
}

fn within(timeout: Duration, urls: &[&str]) -> EtcdSettings {
    EtcdSettings { timeout, ..settings(urls) }
}

/// The next failure of a source with a single member, which the error must name. Only registries
/// with rows may come before it.
pub async fn failure(watched: &mut FollowedSource, url: &str) -> EtcdError {
    loop {
        match next(watched).await {
            SourceEvent::Report(report) => match report.outcome {
                Ok(Reading::Registry(registry)) => assert!(!registry.machines.is_empty()),
                Ok(other) => panic!("{other:?}"),
                Err(error) => return single_error(error, url),
            },
            other => panic!("{other:?}"),
        }
    }
}

/// The error of the only member, which it must name.
pub fn single_error(error: SourceError, url: &str) -> EtcdError {
    let SourceError::Etcd(EtcdErrors(mut errors)) = error else {
        panic!("{error:?}")
    };
    let error = errors.pop().expect("an error of the member");
    assert!(errors.is_empty(), "there is only one member: {errors:?}");
    assert!(error.to_string().contains(&format!(" {url}")), "{error}");
    error
}

/// All registries up to the first one that fulfils a condition, whatever failures come between.
/// None may be without rows.
async fn registries_until(
    watched: &mut FollowedSource,
    condition: impl Fn(&RegistrySnapshot) -> bool,
) -> Vec<RegistrySnapshot> {
    let mut registries: Vec<RegistrySnapshot> = Vec::new();
    while !registries.last().is_some_and(&condition) {
        match next(watched).await {
            SourceEvent::Report(report) => match report.outcome {
                Ok(Reading::Registry(registry)) => registries.push(registry),
                Ok(other) => panic!("{other:?}"),
                Err(_) => continue,
            },
            other => panic!("{other:?}"),
        }
        assert!(!registries.last().unwrap().machines.is_empty());
    }
    registries
}

pub async fn proxy(etcd: &Etcd) -> (Proxy, String) {
    let proxy = Proxy::to(etcd.url().strip_prefix("http://").unwrap().parse().unwrap()).await;
    let url = format!("http://{}", proxy.address);
    (proxy, url)
}

#[tokio::test]
async fn a_killed_etcd_is_a_failure_until_it_is_back() {
    let Some(mut etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    let mut watched = watch(&[&etcd.url()]);
    until(&mut watched, |registry| sub(registry, "a.service") == Some("running")).await;
    etcd.stop_hard();
    let error = failure(&mut watched, &etcd.url()).await;
    assert!(matches!(error, EtcdError::Refused(_)), "{error}");
    etcd.restart().await;
    report(&etcd, "a.service", "exited", None).await;
    let registries =
        registries_until(&mut watched, |registry| sub(registry, "a.service") == Some("exited"))
            .await;
    for registry in registries {
        assert!(sub(&registry, "a.service").is_some(), "{registry:?}");
        assert_eq!(registry.expired, []);
    }
}

#[tokio::test]
async fn events_that_are_no_longer_in_the_history_are_followed_by_a_whole_reading() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    let (proxy, url) = proxy(&etcd).await;
    let mut watched = watch(&[&url]);
    until(&mut watched, |_| true).await;
    proxy.hold("stream=true");
    let index = report(&etcd, "a.service", "start", None).await;
    until(&mut watched, |registry| registry.index >= index).await;
    proxy.until_asked("stream=true").await;
    etcd.churn(1000).await;
    report(&etcd, "a.service", "exited", None).await;
    proxy.mend();
    until(&mut watched, |registry| sub(registry, "a.service") == Some("exited")).await;
    assert_eq!(proxy.asked(WHOLE).len(), 2);
    let requests = proxy.asked("").into_iter().filter(|line| line.ends_with(" HTTP/1.1"));
    assert!(requests.into_iter().all(|line| line.starts_with("GET ")));
}

#[tokio::test]
async fn a_stream_that_starts_behind_loses_no_event() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    let (proxy, url) = proxy(&etcd).await;
    let mut watched = watch(&[&url]);
    until(&mut watched, |_| true).await;
    proxy.hold("stream=true");
    let index = report(&etcd, "a.service", "start", None).await;
    until(&mut watched, |registry| registry.index >= index).await;
    proxy.until_asked("stream=true").await;
    for unit in ["b.service", "c.service", "d.service"] {
        report(&etcd, unit, "running", None).await;
    }
    proxy.mend();
    for unit in ["b.service", "c.service", "d.service"] {
        until(&mut watched, |registry| sub(registry, unit) == Some("running")).await;
    }
    for sub_state in ["start-pre", "start", "running"] {
        report(&etcd, "d.service", sub_state, None).await;
        until(&mut watched, |registry| sub(registry, "d.service") == Some(sub_state)).await;
    }
    assert_eq!(proxy.asked(WHOLE).len(), 1);
}

#[tokio::test]
async fn writes_outside_fleets_directory_do_not_prevent_a_stream() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    let (proxy, url) = proxy(&etcd).await;
    let mut watched = watch(&[&url]);
    until(&mut watched, |_| true).await;
    for number in 0..20 {
        etcd.set("/somebody/else", "x", None).await;
        let index = report(&etcd, "a.service", &format!("state-{number}"), None).await;
        until(&mut watched, |registry| registry.index >= index).await;
    }
    assert!(proxy.asked(WATCH).len() <= 3, "{:?}", proxy.asked(WATCH));
}

/// Two machines have leases of 8 s and of 16 s, and etcd is paused for most of the shorter one.
#[tokio::test]
async fn while_etcd_is_paused_no_lease_is_overdue() {
    join_all([Duration::from_secs(1), Duration::from_secs(20)].map(pause_etcd)).await;
}

async fn pause_etcd(timeout: Duration) {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    appear(&etcd, "m2", Some(8)).await;
    appear(&etcd, "m3", Some(16)).await;
    let mut watched = follow(EtcdSource::new(within(timeout, &[&etcd.url()])).unwrap());
    until(&mut watched, |_| true).await;
    let paused = Instant::now();
    etcd.pause();
    if timeout < Duration::from_secs(6) {
        let error = failure(&mut watched, &etcd.url()).await;
        assert!(matches!(error, EtcdError::Timeout(_, time) if time == timeout), "{error}");
    }
    sleep_until(paused + Duration::from_secs(6)).await;
    etcd.resume();
    let at_once = registries_until(&mut watched, |_| true).await;
    let mut renewed = 0;
    for machine in ["m2", "m3"] {
        renewed = appear(&etcd, machine, Some(16)).await;
    }
    let later = registries_until(&mut watched, |registry| registry.index >= renewed).await;
    for registry in at_once.into_iter().chain(later) {
        assert_eq!(registry.machines.len(), 3, "{timeout:?}");
        assert_eq!(registry.overdue, [], "{timeout:?}");
        assert_eq!(registry.expired, [], "{timeout:?}");
    }
}

#[tokio::test]
async fn a_key_that_vanished_during_an_outage_has_expired_if_its_ttl_was_over() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    report(&etcd, "deleted.service", "running", Some(600)).await;
    let set = report(&etcd, "expired.service", "running", Some(2)).await;
    let (proxy, url) = proxy(&etcd).await;
    let mut watched = watch(&[&url]);
    until(&mut watched, |registry| registry.states.len() == 3).await;
    proxy.cut();
    let gone = etcd
        .event(&format!("{PREFIX}/states/expired.service/m1"), set + 1)
        .await;
    assert_eq!(gone.action, "expire");
    etcd.delete(&format!("{PREFIX}/states/deleted.service")).await;
    proxy.mend();
    let registries = registries_until(&mut watched, |registry| registry.states.len() == 1).await;
    let expired: Vec<_> = registries.into_iter().flat_map(|registry| registry.expired).collect();
    assert_eq!(expired, [Lease::Unit("expired.service".into(), "m1".into())]);
}

#[tokio::test]
async fn a_member_that_fails_is_replaced_by_the_next() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    let ((first, first_url), (second, second_url)) = (proxy(&etcd).await, proxy(&etcd).await);
    let mut watched = watch(&[&first_url, &second_url]);
    until(&mut watched, |_| true).await;
    for (lost, sub_state) in [(&first, "start"), (&second, "running"), (&first, "exited")] {
        first.mend();
        second.mend();
        lost.cut();
        report(&etcd, "a.service", sub_state, None).await;
        let has_rows =
            |registry: &RegistrySnapshot| sub(registry, "a.service").expect("a row") == sub_state;
        until(&mut watched, has_rows).await;
    }
}

#[tokio::test]
async fn a_watch_that_stalls_while_etcd_is_alive_is_detected() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    let (proxy, url) = proxy(&etcd).await;
    let mut watched = watch(&[&url]);
    until(&mut watched, |_| true).await;
    let lead = async {
        loop {
            etcd.set(&format!("{PREFIX}/lease/engine-leader"), r#"{"MachineID":"m1"}"#, Some(10))
                .await;
            sleep(Duration::from_millis(200)).await;
        }
    };
    let change = async {
        until(&mut watched, |registry| registry.leader.is_some()).await;
        let held = Instant::now();
        proxy.hold("wait=true");
        report(&etcd, "a.service", "exited", None).await;
        until(&mut watched, |registry| sub(registry, "a.service") == Some("exited")).await;
        held.elapsed()
    };
    let took = tokio::select! {
        () = lead => unreachable!(),
        took = change => took,
    };
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(proxy.asked(WHOLE).len(), 2, "it reads the registry again");
}

#[tokio::test]
async fn a_registry_that_is_deleted_as_a_whole_is_a_failure_and_no_empty_cluster() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    for directory in [PREFIX, "/_coreos.com"] {
        let mut watched = watch(&[&etcd.url()]);
        until(&mut watched, |_| true).await;
        etcd.delete(directory).await;
        let error = failure(&mut watched, &etcd.url()).await;
        assert!(matches!(&error, EtcdError::KeyNotFound(_, key) if key == PREFIX), "{error}");
        create_fleet(&etcd).await;
        registries_until(&mut watched, |registry| sub(registry, "a.service") == Some("running"))
            .await;
    }
}

#[tokio::test]
async fn a_comparison_finds_no_differences_however_much_changes() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    create_fleet(&etcd).await;
    let mut watched = follow(
        EtcdSource::new(settings(&[&etcd.url()]))
            .unwrap()
            .with_comparison_interval(Duration::ZERO),
    );
    let writes = async {
        for number in 0.. {
            let unit = format!("unit-{}.service", number % 50);
            match number % 7 {
                6 => drop(
                    etcd.delete(&format!("{PREFIX}/states/unit-{}.service", (number - 1) % 50))
                        .await,
                ),
                number => drop(report(&etcd, &unit, "running", (number == 3).then_some(1)).await),
            }
        }
    };
    let checks = async {
        let mut checks = 0;
        let mut first = None;
        let mut last = 0;
        while checks < 4 {
            match next(&mut watched).await {
                SourceEvent::Rechecked { differences } => {
                    assert_eq!(differences, 0);
                    checks += 1;
                }
                SourceEvent::Report(report) => match report.outcome {
                    Ok(Reading::Registry(registry)) => {
                        last = registry.index;
                        first.get_or_insert(last);
                    }
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
        last - first.unwrap()
    };
    let changes = tokio::select! {
        () = writes => unreachable!(),
        changes = checks => changes,
    };
    assert!(changes > 300, "only {changes} changes");
}
