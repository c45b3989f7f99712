//! When alerts are sent, and to whom.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::sleep;

use super::{ALERT_TIMING, Bench, alerts_to};
use crate::support::post_receiver::{Answer, PostReceiver, Posted};

const SENT: &str = r#"fleet_monitor_notifications_total{to="alertmanager",outcome="sent"}"#;
const FAILED: &str = r#"fleet_monitor_notifications_total{to="alertmanager",outcome="failed"}"#;
const WAITING: &str = r#"fleet_monitor_notifications_waiting{to="alertmanager"}"#;

/// The units of the alerts, and how many seconds after the request each of them ends.
fn ends(posted: &Posted) -> Vec<(String, f64)> {
    let now = Timestamp::now();
    let alerts = posted.json();
    let alerts = alerts.as_array().unwrap().iter().map(|alert| {
        let unit = alert["labels"]["unit"].as_str().unwrap().to_owned();
        let ends: Timestamp = alert["endsAt"].as_str().unwrap().parse().unwrap();
        (unit, ends.duration_since(now).as_secs_f64())
    });
    alerts.collect()
}

#[tokio::test]
async fn all_open_problems_are_sent_in_one_request_to_each_alertmanager() {
    let mut one = PostReceiver::start().await;
    let mut another = PostReceiver::start().await;
    let prefixed = format!("{}/prefix/", another.url());
    let mut bench = Bench::start(alerts_to(&[&one.url(), &prefixed], ALERT_TIMING)).await;

    let units: Vec<String> = (0..500).map(|number| format!("web@{number}.service")).collect();
    for unit in &units {
        bench.open(&[unit]);
    }

    let posted = one.next().await;
    assert_eq!(posted.path, "/api/v2/alerts");
    assert_eq!(posted.headers["content-type"], "application/json");
    let sent: HashSet<String> = ends(&posted).into_iter().map(|(unit, _)| unit).collect();
    assert_eq!(sent, units.into_iter().collect());

    let posted = another.next().await;
    assert_eq!(posted.path, "/prefix/api/v2/alerts");
    assert_eq!(ends(&posted).len(), 500);
    bench.until(WAITING, |waiting| waiting == 0).await;
}

#[tokio::test]
async fn alerts_are_sent_again_and_end_by_themselves_otherwise() {
    let mut receiver = PostReceiver::start().await;
    let mut bench = Bench::start(alerts_to(&[&receiver.url()], ALERT_TIMING)).await;
    bench.open(&["a.service"]);

    for _ in 0..3 {
        let [(_, seconds)] = &ends(&receiver.next().await)[..] else {
            panic!("one alert");
        };
        // At most: the request may have been on its way for a while.
        assert!((-10.0..=0.4).contains(seconds), "{seconds}");
    }
    assert!(bench.metric(SENT) >= 2);
}

#[tokio::test]
async fn an_alert_that_has_ended_is_sent_until_it_begins_again() {
    let mut receiver = PostReceiver::start().await;
    let mut bench = Bench::start(alerts_to(&[&receiver.url()], ALERT_TIMING)).await;
    bench.open(&["a.service", "b.service"]);
    let mut end = end_of_a(&receiver.next().await);

    // The end of an open one is another one in each request.
    bench.close("a.service");
    for _ in 0..3 {
        loop {
            let next = end_of_a(&receiver.next().await);
            if std::mem::replace(&mut end, next.clone()) == next {
                break;
            }
        }
    }

    let closed = end;
    bench.open(&["a.service"]);
    while end_of_a(&receiver.next().await) == closed {}
    for _ in 0..3 {
        assert_ne!(end_of_a(&receiver.next().await), closed);
    }
}

/// When the alert about `a.service` ends, of which there must be one.
fn end_of_a(posted: &Posted) -> String {
    let alerts = posted.json();
    let mut alerts = alerts.as_array().unwrap().iter();
    let is_it = |alert: &&Value| alert["labels"]["unit"] == "a.service";

    let end = alerts.find(is_it).unwrap()["endsAt"].as_str().unwrap().to_owned();
    assert!(alerts.find(is_it).is_none(), "it is there twice");
    end
}

#[tokio::test]
async fn without_alerts_nothing_is_sent() {
    let mut receiver = PostReceiver::start().await;
    let mut bench = Bench::start(alerts_to(&[&receiver.url()], ALERT_TIMING)).await;
    bench.update(&[]);
    sleep(3 * ALERT_TIMING.resend).await;
    assert!(receiver.take().is_none());
}

#[tokio::test]
async fn an_alertmanager_that_hangs_or_is_down_does_not_affect_another() {
    let hanging = PostReceiver::start().await;
    hanging.set(Answer::Hang);
    let down = PostReceiver::start().await.url();
    let mut receiver = PostReceiver::start().await;
    let mut bench =
        Bench::start(alerts_to(&[&hanging.url(), &down, &receiver.url()], ALERT_TIMING)).await;

    bench.open(&["a.service"]);
    assert_eq!(ends(&receiver.next().await).len(), 1);
    bench.until(FAILED, |failed| failed >= 3).await;
    bench.until(WAITING, |waiting| waiting == 2).await;
}

#[tokio::test]
async fn an_alertmanager_that_was_restarted_gets_all_alerts() {
    let mut receiver = PostReceiver::start().await;
    let mut bench = Bench::start(alerts_to(&[&receiver.url()], ALERT_TIMING)).await;
    bench.open(&["a.service", "b.service"]);
    receiver.next().await;

    let address = receiver.address;
    drop(receiver);
    bench.close("b.service");
    bench.until(FAILED, |failed| failed > 0).await;

    let mut receiver = PostReceiver::start_at(address).await;
    let alerts = ends(&receiver.next().await);
    assert!(alerts[0].1 > alerts[1].1 && alerts[1].1 <= 0.0, "{alerts:?}");
    bench.until(WAITING, |waiting| waiting == 0).await;
}
