//! The program as a whole: whom it informs, by its options.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::support::post_receiver::{Answer, PostReceiver, Posted};
use crate::support::{Alertmanager, Daemon, Double, Program, within_timeout};

const MACHINE: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
const HASH: &str = "5e2b6d0a475534e522e2f579fa06ae1ab3f32707";

const WAITING: &str = r#"fleet_monitor_notifications_waiting{to="webhook"}"#;

/// Options with which a failure of the source is a problem at once.
const AT_ONCE: [&str; 8] = [
    "--problem-after",
    "3600,source=0",
    "--unit-freq",
    "0.1",
    "--machine-freq",
    "0.1",
    "--grace",
    "0.1",
];

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&AT_ONCE, more].concat()
}

/// The kinds of the events in the next requests, until there are so many.
async fn next_events(receiver: &mut PostReceiver, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    while events.len() < count {
        let posted = receiver.next().await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        events.extend(
            posted["events"].as_array().unwrap().iter().map(|event| {
                format!("{} {}", text(&event["event"]), text(&event["problem"]["kind"]))
            }),
        );
    }
    events
}

#[tokio::test]
async fn a_webhook_and_an_alertmanager_are_informed_of_the_beginning_and_the_end() {
    let mut webhook = PostReceiver::start().await;
    let mut alertmanager = PostReceiver::start().await;
    let webhook_url = format!("{}/hook", webhook.url());
    let alertmanager_url = alertmanager.url();
    let fleetctl = Double::new("v1.0.0");
    let daemon = Daemon::asking(
        &fleetctl,
        &arguments(&[
            "--webhook",
            &webhook_url,
            "--alertmanager",
            &alertmanager_url,
            "--alert-labels",
            "cluster=west",
            "--external-url",
            "https://fleet.example.com",
        ]),
    )
    .await;

    daemon.source_is("ok").await;
    fleetctl.mode("fail");
    assert_eq!(next_events(&mut webhook, 1).await, ["opened source_failing"]);
    let alert = alertmanager.next().await.json()[0].clone();
    assert_eq!(alert["labels"]["alertname"], "FleetUnreadable");
    assert_eq!(alert["labels"]["cluster"], "west");
    assert_eq!(alert["generatorURL"], "https://fleet.example.com/");

    fleetctl.mode("replay");
    assert_eq!(next_events(&mut webhook, 1).await, ["closed source_failing"]);
    let mut ended = alertmanager.next().await.json()[0].clone();
    while ended["endsAt"].as_str() > Some(&rfc3339_now()) {
        ended = alertmanager.next().await.json()[0].clone();
    }
    assert_eq!(ended["labels"], alert["labels"]);
}

/// Now, as far as it is compared with other times of this form.
fn rfc3339_now() -> String {
    let output = std::process::Command::new("date")
        .args(["--utc", "+%Y-%m-%dT%H:%M:%S.999Z"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_recording_informs_nobody() {
    let mut webhook = PostReceiver::start().await;
    let url = webhook.url();
    let daemon = Program::new(&["--demo", "--problem-after", "0", "--webhook", &url])
        .start()
        .await;

    let mut problems = 0;
    while problems == 0 {
        let (_, state) = daemon.get("/v2/state?topics=problems").await;
        problems = state["problems"].as_array().map_or(0, Vec::len);
    }
    assert!(webhook.take().is_none());
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_ends_the_program_with_the_reason() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("secret");
    fs::write(&file, "two\nlines").unwrap();
    let file = file.to_str().unwrap();
    let program = Program::new(&[
        "--demo",
        "--webhook",
        "https://user:geheim@hooks.example.com/geheim",
        "--webhook-secret-file",
        file,
    ]);

    let (status, log, _) = program.end().await;

    assert_eq!(status, 78, "{log}");
    assert!(log.contains("webhook_secret_file") && log.contains(file), "{log}");
    assert!(!log.contains("geheim"), "{log}");
}

/// Makes the fleetctl, a v0.11.8, list one unit with this active and sub state.
fn list(fleetctl: &Double, active: &str, sub: &str) {
    let place = format!("{MACHINE}/172.17.8.101");
    let rows = json!({
        "list-units": [["db.service", "loaded", active, sub, place, HASH]],
        "list-unit-files": [["db.service", "false", "launched", "launched", place, HASH, "-"]],
    });
    fleetctl.write("rows.json", &rows.to_string());
}

fn failing() -> Double {
    let fleetctl = Double::new("v0.11.8");
    list(&fleetctl, "failed", "failed");
    fleetctl
}

/// A program for which a unit that fails is a problem at once.
fn program(fleetctl: &Double, more: &[&str]) -> Program {
    let polls = ["--unit-freq", "0.1", "--machine-freq", "0.1", "--problem-after", "0"];
    Program::asking(fleetctl, &[&polls, more].concat())
}

/// The only event of a request.
fn event(posted: &Posted) -> Value {
    let events = posted.json()["events"].take();
    assert_eq!(events.as_array().unwrap().len(), 1, "{events}");
    events[0].clone()
}

#[tokio::test]
async fn a_unit_that_fails_is_an_alert_and_an_event_until_it_recovers() {
    let mut webhook = PostReceiver::start().await;
    let notified = PostReceiver::start().await;
    let Some(alertmanager) = Alertmanager::start(&notified.url()).await else {
        return;
    };
    let fleetctl = failing();
    let arguments = ["--webhook", &webhook.url(), "--alertmanager", &alertmanager.url()];
    let mut daemon = program(&fleetctl, &arguments).start().await;

    let opened = event(&webhook.next().await);
    let problems = daemon.get("/v2/state?topics=problems").await.1["problems"].take();
    assert_eq!(opened["event"], "opened");
    assert_eq!(json!([opened["problem"]]), problems, "the same keys and values");
    assert_eq!(opened["problem"]["kind"], "failed");
    let alerts = alertmanager.until(|alerts| alerts.len() == 1).await;
    assert_eq!(alerts[0]["labels"]["unit"], "db.service");
    assert_eq!(alerts[0]["labels"]["machine"], MACHINE);

    list(&fleetctl, "active", "running");
    let closed = event(&webhook.next().await);
    assert_eq!((&closed["event"], &closed["end"]), (&json!("closed"), &json!("recovered")));
    assert_eq!(closed["problem"]["id"], opened["problem"]["id"]);
    alertmanager.until(<[Value]>::is_empty).await;

    list(&fleetctl, "failed", "failed");
    alertmanager.until(|alerts| alerts.len() == 1).await;
    daemon.stop(Signal::TERM).await;
    assert_eq!(alertmanager.alerts().await.len(), 1, "the end of the monitor ends no problem");
}

#[tokio::test]
async fn events_that_were_not_delivered_survive_the_end_of_the_program() {
    for signal in [Signal::TERM, Signal::KILL] {
        let state = TempDir::new().unwrap();
        let address = PostReceiver::start().await.address;
        let url = format!("http://{address}");
        let fleetctl = failing();
        let start = || {
            program(&fleetctl, &["--webhook", &url])
                .environment("STATE_DIRECTORY", state.path())
                .start()
        };
        let mut daemon: Daemon = start().await;
        let is_waiting = async { while daemon.counter(WAITING).await < 1 {} };
        within_timeout("an event that waits", is_waiting).await;
        let id = daemon.get("/v2/state?topics=problems").await.1["problems"][0]["id"].take();

        if signal == Signal::KILL {
            // Only what has been written survives that.
            let file = state.path().join("webhook-queue");
            within_timeout("the event on disk", async {
                while !fs::read_to_string(&file).unwrap().contains(id.as_str().unwrap()) {
                    sleep(Duration::from_millis(10)).await;
                }
            })
            .await;
        }
        daemon.stop(signal).await;

        let mut webhook = PostReceiver::start_at(address).await;
        let _daemon = start().await;
        assert_eq!(event(&webhook.next().await)["problem"]["id"], id, "{signal:?}");
    }
}

#[tokio::test]
async fn receivers_that_hang_delay_neither_the_program_nor_its_end() {
    let mut receivers = [PostReceiver::start().await, PostReceiver::start().await];
    for receiver in &receivers {
        receiver.set(Answer::Hang);
    }
    let fleetctl = failing();
    let [webhook, alertmanager] = receivers.each_ref().map(PostReceiver::url);
    let arguments = ["--webhook", &webhook, "--alertmanager", &alertmanager];
    let mut daemon = program(&fleetctl, &arguments).start().await;
    for receiver in &mut receivers {
        receiver.next().await;
    }

    list(&fleetctl, "active", "running");
    daemon.event("changed").await;

    daemon.stop(Signal::TERM).await;
}
