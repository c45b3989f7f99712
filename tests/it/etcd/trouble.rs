//! The source `etcd` while a real etcd, or the way to it, is in trouble.

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

/// How the source asks for all that there is.
pub const WHOLE: &str = "GET /v2/keys/_coreos.com/fleet?recursive=true";
pub const WATCH: &str = "GET /v2/keys/_coreos.com/fleet?wait=true";

/// A fleet of one machine, and a unit that runs on it.
pub async fn found(etcd: &Etcd) {
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

/// The machine reports a unit.
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

fn sub<'a>(told: &'a RegistrySnapshot, unit: &str) -> Option<&'a str> {
    told.states.iter().find(|state| &*state.unit == unit)?.sub.as_deref()
}

fn within(timeout: Duration, urls: &[&str]) -> EtcdSettings {
    EtcdSettings { timeout, ..settings(urls) }
}

/// The next failure of the one member that is asked, which it names. Only readings may come before
/// it, and none without rows.
pub async fn failure(watched: &mut FollowedSource, url: &str) -> EtcdError {
    loop {
        match next(watched).await {
            SourceEvent::Report(report) => match report.outcome {
                Ok(Reading::Registry(told)) => assert!(!told.machines.is_empty()),
                Ok(other) => panic!("{other:?}"),
                Err(error) => return of_one(error, url),
            },
            other => panic!("{other:?}"),
        }
    }
}

/// The error of the one member that is asked, which it names.
pub fn of_one(error: SourceError, url: &str) -> EtcdError {
    let SourceError::Etcd(EtcdErrors(mut errors)) = error else {
        panic!("{error:?}")
    };
    let error = errors.pop().expect("it is of one member");
    assert!(errors.is_empty(), "of one member alone: {errors:?}");
    assert!(error.to_string().contains(&format!(" {url}")), "{error}");
    error
}

/// All readings up to the first that is enough, whatever failures come between. None may be without
/// rows.
async fn readings(
    watched: &mut FollowedSource,
    enough: impl Fn(&RegistrySnapshot) -> bool,
) -> Vec<RegistrySnapshot> {
    let mut readings: Vec<RegistrySnapshot> = Vec::new();
    while !readings.last().is_some_and(&enough) {
        match next(watched).await {
            SourceEvent::Report(report) => match report.outcome {
                Ok(Reading::Registry(told)) => readings.push(told),
                Ok(other) => panic!("{other:?}"),
                Err(_) => continue,
            },
            other => panic!("{other:?}"),
        }
        assert!(!readings.last().unwrap().machines.is_empty());
    }
    readings
}

pub async fn proxy(etcd: &Etcd) -> (Proxy, String) {
    let proxy = Proxy::to(etcd.url().strip_prefix("http://").unwrap().parse().unwrap()).await;
    let url = format!("http://{}", proxy.address);
    (proxy, url)
}

#[tokio::test]
async fn a_killed_one_is_a_failure_until_it_is_back() {
    let Some(mut etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
    let mut watched = watch(&[&etcd.url()]);
    until(&mut watched, |told| sub(told, "a.service") == Some("running")).await;
    etcd.stop_hard();
    let error = failure(&mut watched, &etcd.url()).await;
    assert!(matches!(error, EtcdError::Refused(_)), "{error}");
    etcd.restart().await;
    report(&etcd, "a.service", "exited", None).await;
    let readings = readings(&mut watched, |told| sub(told, "a.service") == Some("exited")).await;
    for told in readings {
        assert!(sub(&told, "a.service").is_some(), "{told:?}");
        assert_eq!(told.expired, []);
    }
}

#[tokio::test]
async fn a_history_that_is_used_up_is_followed_by_a_whole_reading() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
    let (proxy, url) = proxy(&etcd).await;
    let mut watched = watch(&[&url]);
    until(&mut watched, |_| true).await;
    proxy.hold("stream=true");
    let index = report(&etcd, "a.service", "start", None).await;
    until(&mut watched, |told| told.index >= index).await;
    proxy.until_asked("stream=true").await;
    etcd.churn(1000).await;
    report(&etcd, "a.service", "exited", None).await;
    proxy.mend();
    until(&mut watched, |told| sub(told, "a.service") == Some("exited")).await;
    assert_eq!(proxy.asked(WHOLE).len(), 2);
    let requests = proxy.asked("").into_iter().filter(|line| line.ends_with(" HTTP/1.1"));
    assert!(requests.into_iter().all(|line| line.starts_with("GET ")));
}

#[tokio::test]
async fn a_stream_that_begins_behind_loses_nothing() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
    let (proxy, url) = proxy(&etcd).await;
    let mut watched = watch(&[&url]);
    until(&mut watched, |_| true).await;
    proxy.hold("stream=true");
    let index = report(&etcd, "a.service", "start", None).await;
    until(&mut watched, |told| told.index >= index).await;
    proxy.until_asked("stream=true").await;
    for unit in ["b.service", "c.service", "d.service"] {
        report(&etcd, unit, "running", None).await;
    }
    proxy.mend();
    for unit in ["b.service", "c.service", "d.service"] {
        until(&mut watched, |told| sub(told, unit) == Some("running")).await;
    }
    for sub_state in ["start-pre", "start", "running"] {
        report(&etcd, "d.service", sub_state, None).await;
        until(&mut watched, |told| sub(told, "d.service") == Some(sub_state)).await;
    }
    assert_eq!(proxy.asked(WHOLE).len(), 1);
}

#[tokio::test]
async fn what_others_write_does_not_keep_it_from_streaming() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
    let (proxy, url) = proxy(&etcd).await;
    let mut watched = watch(&[&url]);
    until(&mut watched, |_| true).await;
    for number in 0..20 {
        etcd.set("/somebody/else", "x", None).await;
        let index = report(&etcd, "a.service", &format!("state-{number}"), None).await;
        until(&mut watched, |told| told.index >= index).await;
    }
    assert!(proxy.asked(WATCH).len() <= 3, "{:?}", proxy.asked(WATCH));
}

/// Two machines are half-way to their expiry when etcd stands still for most of what one of them
/// has left.
#[tokio::test]
async fn while_it_stands_still_nobody_is_late() {
    join_all([Duration::from_secs(1), Duration::from_secs(20)].map(stand_still)).await;
}

async fn stand_still(timeout: Duration) {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
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
    let heard = readings(&mut watched, |_| true).await;
    let mut renewed = 0;
    for machine in ["m2", "m3"] {
        renewed = appear(&etcd, machine, Some(16)).await;
    }
    let then = readings(&mut watched, |told| told.index >= renewed).await;
    for told in heard.into_iter().chain(then) {
        assert_eq!(
            (told.machines.len(), told.overdue, told.expired),
            (3, vec![], vec![]),
            "{timeout:?}"
        );
    }
}

#[tokio::test]
async fn what_went_while_nothing_was_heard_has_expired_if_its_time_was_over() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
    report(&etcd, "deleted.service", "running", Some(600)).await;
    let set = report(&etcd, "expired.service", "running", Some(2)).await;
    let (proxy, url) = proxy(&etcd).await;
    let mut watched = watch(&[&url]);
    until(&mut watched, |told| told.states.len() == 3).await;
    proxy.cut();
    let gone = etcd
        .event(&format!("{PREFIX}/states/expired.service/m1"), set + 1)
        .await;
    assert_eq!(gone.action, "expire");
    etcd.delete(&format!("{PREFIX}/states/deleted.service")).await;
    proxy.mend();
    let readings = readings(&mut watched, |told| told.states.len() == 1).await;
    let expired: Vec<_> = readings.into_iter().flat_map(|told| told.expired).collect();
    assert_eq!(expired, [Lease::Unit("expired.service".into(), "m1".into())]);
}

#[tokio::test]
async fn a_member_that_is_lost_is_replaced_by_the_next() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
    let ((first, first_url), (second, second_url)) = (proxy(&etcd).await, proxy(&etcd).await);
    let mut watched = watch(&[&first_url, &second_url]);
    until(&mut watched, |_| true).await;
    for (lost, sub_state) in [(&first, "start"), (&second, "running"), (&first, "exited")] {
        first.mend();
        second.mend();
        lost.cut();
        report(&etcd, "a.service", sub_state, None).await;
        let has_rows =
            |told: &RegistrySnapshot| sub(told, "a.service").expect("a row") == sub_state;
        until(&mut watched, has_rows).await;
    }
}

#[tokio::test]
async fn a_watch_that_is_dead_while_etcd_lives_is_found() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
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
        until(&mut watched, |told| told.leader.is_some()).await;
        let held = Instant::now();
        proxy.hold("wait=true");
        report(&etcd, "a.service", "exited", None).await;
        until(&mut watched, |told| sub(told, "a.service") == Some("exited")).await;
        held.elapsed()
    };
    let took = tokio::select! {
        () = lead => unreachable!(),
        took = change => took,
    };
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(proxy.asked(WHOLE).len(), 2, "it asks anew");
}

#[tokio::test]
async fn a_registry_that_is_taken_away_as_a_whole_is_a_failure_and_no_empty_cluster() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
    for directory in [PREFIX, "/_coreos.com"] {
        let mut watched = watch(&[&etcd.url()]);
        until(&mut watched, |_| true).await;
        etcd.delete(directory).await;
        let error = failure(&mut watched, &etcd.url()).await;
        assert!(matches!(&error, EtcdError::NoFleet(_, key) if key == PREFIX), "{error}");
        found(&etcd).await;
        readings(&mut watched, |told| sub(told, "a.service") == Some("running")).await;
    }
}

#[tokio::test]
async fn a_watch_that_is_right_is_found_to_be_right_however_much_changes() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    found(&etcd).await;
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
        let (mut checks, mut first, mut last) = (0, None, 0);
        while checks < 4 {
            match next(&mut watched).await {
                SourceEvent::Checked { differences } => {
                    assert_eq!(differences, 0);
                    checks += 1;
                }
                SourceEvent::Report(report) => match report.outcome {
                    Ok(Reading::Registry(told)) => {
                        last = told.index;
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
