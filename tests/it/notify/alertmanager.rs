//! Alerts in a real Alertmanager.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_monitor::notify::AlertTiming;
use serde_json::Value;
use tokio::time::sleep;

use super::{Bench, alerts_to};
use crate::support::Alertmanager;
use crate::support::post_receiver::PostReceiver;

/// Shorter than in the program, so that alerts that are not sent again end after two seconds.
const TIMING: AlertTiming = AlertTiming {
    collect: Duration::from_millis(50),
    resend: Duration::from_millis(500),
    keep_closed: Duration::from_secs(60),
    request: Duration::from_secs(10),
    first_retry: Duration::from_millis(50),
    longest_retry: Duration::from_millis(100),
};

/// The units of alerts.
fn units(alerts: &[Value]) -> BTreeSet<&str> {
    alerts
        .iter()
        .map(|alert| alert["labels"]["unit"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_problem_is_an_alert_from_its_beginning_to_its_end() {
    let mut receiver = PostReceiver::start().await;
    let Some(alertmanager) = Alertmanager::start(&receiver.url()).await else {
        return;
    };
    let mut monitor = Bench::start(alerts_to(&[&alertmanager.url()], TIMING)).await;
    monitor.open(&["db.service", r"x\x2d'1\x22.service"]);

    let alerts = alertmanager.until(|alerts| alerts.len() == 2).await;
    assert_eq!(units(&alerts), ["db.service", r"x\x2d'1\x22.service"].into());
    let alert = alerts
        .iter()
        .find(|alert| alert["labels"]["unit"] == "db.service")
        .unwrap();
    assert_eq!(alert["labels"]["alertname"], "FleetUnitFailed");
    assert_eq!(alert["labels"]["cluster"], "west");
    assert_eq!(alert["annotations"]["summary"], "db.service failed on 10.0.0.1");
    let link = alert["generatorURL"].as_str().unwrap();
    assert!(link.starts_with("https://fleet.example.com/#"), "{link}");
    for _ in 0..2 {
        assert_eq!(receiver.next().await.json()["status"], "firing");
    }

    monitor.close("db.service");
    alertmanager.until(|alerts| alerts.len() == 1).await;
    let notification = receiver.next().await.json();
    assert_eq!(notification["status"], "resolved");
    assert_eq!(notification["commonLabels"]["unit"], "db.service");

    // It comes back, and is announced again.
    monitor.open(&["db.service"]);
    alertmanager.until(|alerts| alerts.len() == 2).await;
    let notification = receiver.next().await.json();
    assert_eq!(notification["status"], "firing");
    assert_eq!(notification["commonLabels"]["unit"], "db.service");
    assert!(receiver.take().is_none(), "each is announced once, however often it is sent");
}

#[tokio::test]
async fn many_problems_at_once_are_so_many_alerts() {
    let receiver = PostReceiver::start().await;
    let Some(alertmanager) = Alertmanager::start(&receiver.url()).await else {
        return;
    };
    let mut monitor = Bench::start(alerts_to(&[&alertmanager.url()], TIMING)).await;
    let units: Vec<String> = (0..500).map(|number| format!("web@{number}.service")).collect();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    monitor.open(&units);
    alertmanager.until(|alerts| alerts.len() == 500).await;
}

#[tokio::test]
async fn alerts_end_by_themselves_when_the_monitor_dies() {
    let mut receiver = PostReceiver::start().await;
    let Some(alertmanager) = Alertmanager::start(&receiver.url()).await else {
        return;
    };
    let mut monitor = Bench::start(alerts_to(&[&alertmanager.url()], TIMING)).await;
    monitor.open(&["db.service"]);
    assert_eq!(receiver.next().await.json()["status"], "firing");

    drop(monitor);

    assert_eq!(receiver.next().await.json()["status"], "resolved");
    assert!(alertmanager.alerts().await.is_empty());
}

#[tokio::test]
async fn a_monitor_that_is_restarted_goes_on_with_the_alerts() {
    let mut receiver = PostReceiver::start().await;
    let Some(alertmanager) = Alertmanager::start(&receiver.url()).await else {
        return;
    };
    let mut monitor = Bench::start(alerts_to(&[&alertmanager.url()], TIMING)).await;
    monitor.open(&["db.service"]);
    assert_eq!(receiver.next().await.json()["status"], "firing");
    drop(monitor);

    // It is another problem to this monitor, and the same alert.
    let mut monitor = Bench::start(alerts_to(&[&alertmanager.url()], TIMING)).await;
    monitor.open(&["db.service"]);
    sleep(6 * TIMING.resend).await;
    assert!(receiver.take().is_none(), "nothing has changed");

    monitor.close("db.service");
    assert_eq!(receiver.next().await.json()["status"], "resolved");
}

#[tokio::test]
async fn an_alertmanager_that_has_forgotten_everything_gets_all_alerts_again() {
    let receiver = PostReceiver::start().await;
    let Some(mut alertmanager) = Alertmanager::start(&receiver.url()).await else {
        return;
    };
    let mut monitor = Bench::start(alerts_to(&[&alertmanager.url()], TIMING)).await;
    monitor.open(&["a.service", "b.service"]);
    alertmanager.until(|alerts| alerts.len() == 2).await;

    alertmanager.stop();
    monitor.close("a.service");
    monitor.open(&["c.service"]);
    alertmanager.start_again().await;

    let expected = ["b.service", "c.service"].into();
    alertmanager.until(|alerts| units(alerts) == expected).await;
}

#[tokio::test]
async fn two_monitors_of_one_cluster_raise_one_alert() {
    let receiver = PostReceiver::start().await;
    let Some(alertmanager) = Alertmanager::start(&receiver.url()).await else {
        return;
    };
    let mut monitors = Vec::new();
    for unit in ["a.service", "b.service"] {
        let mut monitor = Bench::start(alerts_to(&[&alertmanager.url()], TIMING)).await;
        monitor.open(&["db.service", unit]);
        monitors.push(monitor);
    }

    let expected = ["a.service", "b.service", "db.service"].into();
    let alerts = alertmanager.until(|alerts| units(alerts) == expected).await;
    assert_eq!(alerts.len(), 3);
}
