//! When events are sent to a webhook, and what survives.

use std::time::{Duration, Instant};

use fleet_monitor::notify::WebhookSecret;
use ring::hmac;
use serde_json::Value;
use tempfile::TempDir;

use super::{Bench, events_to};
use crate::support::post_receiver::{Answer, PostReceiver, Posted};

const SENT: &str = r#"fleet_monitor_notifications_total{to="webhook",outcome="sent"}"#;
const FAILED: &str = r#"fleet_monitor_notifications_total{to="webhook",outcome="failed"}"#;
const DROPPED: &str = r#"fleet_monitor_notifications_total{to="webhook",outcome="dropped"}"#;
const WAITING: &str = r#"fleet_monitor_notifications_waiting{to="webhook"}"#;

const DELIVERY: &str = "x-fleet-monitor-delivery";
const SIGNATURE: &str = "x-fleet-monitor-signature";

/// The kinds of the events of a request, and their units.
fn events(posted: &Posted) -> Vec<String> {
    let events = posted.json()["events"].as_array().unwrap().clone();
    events
        .iter()
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            format!("{} {}", text(&event["event"]), text(&event["problem"]["unit"]))
        })
        .collect()
}

fn digits_to_bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[tokio::test]
async fn events_are_sent_in_order_and_signed() {
    let mut receiver = PostReceiver::start().await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "geheim").unwrap();
    let secret = WebhookSecret::read(Some(&file), None).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"geheim");
    let mut settings = events_to(&format!("{}/hook?a=b", receiver.url()), None);
    settings.webhook.as_mut().unwrap().secret = secret;
    let mut bench = Bench::start(settings).await;

    bench.open(&["a.service", "b.service"]);
    bench.close("a.service");

    let mut all = Vec::new();
    while all.len() < 3 {
        let posted = receiver.next().await;
        assert_eq!(posted.path, "/hook?a=b");
        let signature = posted.headers[SIGNATURE].strip_prefix("sha256=").unwrap();
        hmac::verify(&key, &posted.body, &digits_to_bytes(signature)).unwrap();
        assert_eq!(posted.headers["content-type"], "application/json");

        let json = posted.json();
        assert_eq!(json["version"], 1);
        for event in json["events"].as_array().unwrap() {
            assert!(event["time"].as_u64().unwrap() <= json["sent"].as_u64().unwrap());
            let end = (event["event"] == "closed").then_some("recovered");
            assert_eq!(event["end"].as_str(), end);
        }
        all.extend(events(&posted));
    }
    assert_eq!(all, ["opened a.service", "opened b.service", "closed a.service"]);
    bench.until(SENT, |sent| sent == 3).await;
    bench.until(WAITING, |waiting| waiting == 0).await;
}

#[tokio::test]
async fn an_event_is_sent_again_with_the_same_delivery_until_it_is_accepted() {
    let mut receiver = PostReceiver::start().await;
    receiver.set_status(500);
    let mut bench = Bench::start(events_to(&receiver.url(), None)).await;
    bench.open(&["a.service"]);

    let first = receiver.next().await;
    assert!(!first.headers.contains_key(SIGNATURE));
    // Events that come meanwhile are not part of what is sent again.
    bench.open(&["b.service"]);
    for status in [404, 410, 302, 204] {
        receiver.set_status(status);
        // There may be one more with the status before.
        bench.until(FAILED, |failed| failed > 0).await;
        let again = receiver.next().await;
        assert_eq!(again.headers[DELIVERY], first.headers[DELIVERY]);
        assert_eq!(events(&again), ["opened a.service"]);
    }
    bench.until(SENT, |sent| sent == 2).await;
    let mut last = receiver.next().await;
    while let Some(posted) = receiver.take() {
        last = posted;
    }
    assert_eq!(events(&last), ["opened b.service"]);
    assert_ne!(last.headers[DELIVERY], first.headers[DELIVERY]);
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_pause_gets_it() {
    let mut receiver = PostReceiver::start().await;
    receiver.set(Answer::Status(503, vec![("retry-after", "1".to_owned())]));
    let mut bench = Bench::start(events_to(&receiver.url(), None)).await;
    bench.open(&["a.service"]);

    receiver.next().await;
    let start = Instant::now();
    receiver.set_status(200);
    receiver.next().await;

    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn events_survive_a_restart_of_the_monitor() {
    let directory = TempDir::new().unwrap();
    let mut receiver = PostReceiver::start().await;
    receiver.set_status(500);
    let mut bench = Bench::start(events_to(&receiver.url(), Some(&directory))).await;
    bench.open(&["a.service"]);
    let first = receiver.next().await;
    bench.open(&["b.service"]);
    bench.notifier.flush(Duration::from_secs(60));
    drop(bench);

    // What may have been received already is sent with the same delivery.
    let mut receiver = PostReceiver::start().await;
    let mut bench = Bench::start(events_to(&receiver.url(), Some(&directory))).await;
    let again = receiver.next().await;
    assert_eq!(again.headers[DELIVERY], first.headers[DELIVERY]);
    assert_eq!(events(&again), ["opened a.service"]);
    assert_eq!(events(&receiver.next().await), ["opened b.service"]);

    bench.until(SENT, |sent| sent == 2).await;
    bench.open(&["c.service"]);
    assert_eq!(events(&receiver.next().await), ["opened c.service"]);
    bench.until(SENT, |sent| sent == 3).await;
    bench.notifier.flush(Duration::from_secs(60));
    drop(bench);

    let bench = Bench::start(events_to(&receiver.url(), Some(&directory))).await;
    assert_eq!(bench.metric(WAITING), 0);
}

#[tokio::test]
async fn beyond_the_limit_the_oldest_events_are_dropped_and_counted() {
    let mut receiver = PostReceiver::start().await;
    receiver.set(Answer::Hang);
    let mut bench = Bench::start(events_to(&receiver.url(), None)).await;
    let units: Vec<String> = (0..10_010).map(|number| format!("{number}.service")).collect();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();

    bench.open(&units);

    assert_eq!(bench.metric(DROPPED), 10);
    assert_eq!(bench.metric(WAITING), 10_000);
    assert_eq!(events(&receiver.next().await).len(), 100);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_does_not_stop_events() {
    let mut receiver = PostReceiver::start().await;
    let directory = TempDir::new().unwrap();
    let mut settings = events_to(&receiver.url(), None);
    let missing = directory.path().join("missing");
    settings.webhook.as_mut().unwrap().state_directory = Some(missing);
    let mut bench = Bench::start(settings).await;
    bench.open(&["a.service"]);
    assert_eq!(events(&receiver.next().await), ["opened a.service"]);
}
