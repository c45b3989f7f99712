//! The program as a whole: whom it informs, by its options.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::post_receiver::PostReceiver;
use crate::support::{Daemon, Double, Program};

/// Options with which a failure of the source is a problem at once.
const AT_ONCE: [&str; 6] = [
    "--problem-after",
    "3600,source=0",
    "--unit-freq",
    "0.1",
    "--machine-freq",
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
async fn events_that_wait_survive_a_restart_of_the_program() {
    let mut webhook = PostReceiver::start().await;
    webhook.set_status(503);
    let url = webhook.url();
    let state = TempDir::new().unwrap();
    let fleetctl = Double::new("v1.0.0");
    let start = || {
        Program::asking(&fleetctl, &arguments(&["--webhook", &url]))
            .environment("STATE_DIRECTORY", state.path())
            .start()
    };

    let mut daemon = start().await;
    daemon.source_is("ok").await;
    fleetctl.mode("fail");
    assert_eq!(next_events(&mut webhook, 1).await, ["opened source_failing"]);
    assert!(daemon.stop(Signal::TERM).await.success());

    fleetctl.mode("replay");
    webhook.set_status(200);
    let _daemon = start().await;
    assert_eq!(next_events(&mut webhook, 1).await, ["opened source_failing"]);
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
