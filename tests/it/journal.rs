//! `docs/journal.md` against the code, and the entries that the journal receives.

use std::fs;
use std::time::Duration;

use fleet_monitor::cluster::{Event, Place, Severity};
use serde_json::json;
use tempfile::TempDir;

use crate::support::journal::Journal;
use crate::support::snapshots::assert_catalogue;

fn place(machine: Option<&str>, ip: Option<&str>) -> Place {
    Place {
        unit: "web.service".into(),
        machine: machine.map(Into::into),
        ip: ip.map(Into::into),
    }
}

/// One event of each kind.
fn events() -> [Event; 14] {
    let place = || place(Some("3f1a8c5e"), Some("10.0.0.1"));
    let from = || "active/running".into();
    let to = || "inactive/dead".into();
    let machine = || "3f1a8c5e".into();
    let ip = || Some("10.0.0.1".into());

    [
        Event::Appeared { place: place(), to: to() },
        Event::Changed { place: place(), from: from(), to: to() },
        Event::Stale { place: place(), from: from() },
        Event::Back { place: place(), to: to() },
        Event::Gone { place: place(), from: from(), reason: "REASON".into() },
        Event::CrashLoop { place: place(), to: to(), reason: "REASON".into() },
        Event::CrashLoopOver { place: place(), to: None, reason: "REASON".into() },
        Event::MachineJoined { machine: machine(), ip: ip() },
        Event::MachineSilent { machine: machine(), ip: ip() },
        Event::MachineHeard { machine: machine(), ip: ip() },
        Event::MachineLost { machine: machine(), ip: ip() },
        Event::SourceDown { reason: "REASON".to_owned() },
        Event::SourceBack { after: Duration::from_secs(14) },
        Event::SourceSuspect { missing: 12, of: 30 },
    ]
}

#[test]
fn the_wording_of_the_events() {
    let appeared_at = |place| Event::Appeared { place, to: "active/running".into() };
    let more_events = [
        appeared_at(place(Some("3f1a8c5e"), None)),
        appeared_at(place(None, None)),
        Event::MachineLost { machine: "3f1a8c5e".into(), ip: None },
        Event::SourceBack { after: Duration::from_secs(200) },
        Event::SourceBack { after: Duration::from_secs(8000) },
    ];

    assert_catalogue(
        "events",
        events().iter().chain(&more_events).map(|event| (event.name(), event)),
    );
}

#[test]
fn the_document_has_every_kind_of_event_with_its_id_and_severity() {
    let document = include_str!("../../docs/journal.md");
    let events = events();
    assert_eq!(events.each_ref().map(Event::name), Event::NAMES, "one of each kind");
    let rows: Vec<_> = document
        .lines()
        .filter(|line| line.starts_with("| `") && !line.contains("FLEET_"))
        .collect();
    assert_eq!(rows.len(), events.len());

    let (_, severities) = document.split_once("`PRIORITY` is 4").unwrap();
    let (warnings, _) = severities.split_once('.').unwrap();
    for (event, row) in events.iter().zip(rows) {
        let cells = format!("| `{}` | `{}` | ", event.name(), event.message_id());
        assert!(row.starts_with(&cells), "{row}: not {cells}");
        let is_warning = event.severity() == Severity::Warning;
        assert_eq!(
            warnings.contains(&format!("`{}`", event.name())),
            is_warning,
            "{}",
            event.name()
        );
    }

    let failed = "failed/failed".into();
    let from = "active/running".into();
    assert_eq!(
        Event::Changed { place: place(None, None), from, to: failed }.severity(),
        Severity::Warning
    );
}

#[tokio::test]
async fn a_crash_loop_is_one_warning_with_its_reason() {
    let Some(journal) = Journal::new() else {
        return;
    };
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/live/4-crash-loop.jsonl");
    let _daemon = journal.start(&["--replay", recording, "--replay-speed", "100"]);

    let entry = journal.next_with("FLEET_UNIT", "flap.service").await;
    let event = Event::CrashLoop {
        place: Place { unit: "flap.service".into(), machine: None, ip: None },
        to: "activating/auto-restart".into(),
        reason: "systemd has been waiting to restart it for more than 12 s".into(),
    };
    let expected = [
        ("FLEET_EVENT", event.name()),
        ("MESSAGE_ID", event.message_id()),
        ("PRIORITY", "4"),
        ("FLEET_IP", "10.0.0.1"),
        ("FLEET_TO", event.to().unwrap()),
        ("FLEET_REASON", event.reason().unwrap()),
    ];
    for (field, value) in expected {
        assert_eq!(entry.get(field).map(String::as_str), Some(value), "{field} in {entry:?}");
    }
}

/// A recording of 60 s in which one unit has failed, one is not reported by any machine, and one
/// fits no machine. At its end a healthy unit becomes inactive.
fn recording_with_problems() -> String {
    let file = |unit: &str| {
        json!({
            "unit": unit,
            "desired": "launched",
            "target": "m1",
            "requirements_known": true,
        })
    };
    let mut files = ["bad.service", "missed.service", "ok.service"].map(file).to_vec();
    files.push(json!({
        "unit": "gpu.service",
        "desired": "launched",
        "global": true,
        "requirements": ["MachineMetadata=role=gpu"],
        "requirements_known": true,
    }));

    let state = |unit: &str, active: &str| {
        json!({
            "unit": unit,
            "machine": "m1",
            "active": active,
            "sub": active,
        })
    };
    let polls = (0..60).map(|second| {
        let ok = if second < 59 { "active" } else { "inactive" };
        json!({
            "t": second,
            "topic": "registry",
            "files": files,
            "states": [state("bad.service", "failed"), state("ok.service", ok)],
            "machines": [{"id": "m1"}],
        })
    });

    std::iter::once(json!({"recording": 1, "source": "etcd"}))
        .chain(polls)
        .map(|line| format!("{line}\n"))
        .collect()
}

#[tokio::test]
async fn problems_at_the_start_are_logged_once_and_a_missed_unit_once_its_time_is_over() {
    let Some(journal) = Journal::new() else {
        return;
    };
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("recording.jsonl");
    fs::write(&path, recording_with_problems()).unwrap();

    let _daemon = journal.start(&["--replay", path.to_str().unwrap(), "--replay-speed", "100"]);
    let mut logged = Vec::new();
    loop {
        let entry = journal.next().await;
        let Some(unit) = entry.get("FLEET_UNIT") else {
            continue;
        };
        if entry.contains_key("FLEET_EVENT") {
            assert_eq!(unit, "ok.service", "the last poll: {entry:?}");
            break;
        }

        assert_eq!(entry["PRIORITY"], "4", "{entry:?}");
        assert!(!entry.contains_key("MESSAGE_ID"), "{entry:?}");
        logged.push(unit.clone());
    }
    assert_eq!(logged, ["bad.service", "missed.service"]);
}
