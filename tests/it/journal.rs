//! `docs/journal.md` against the code, and what the journal gets.

use std::fs;
use std::time::Duration;

use fleet_monitor::cluster::{Event, Place, Severity};
use serde_json::json;
use tempfile::TempDir;

use crate::support::journal::Journal;

#[test]
fn the_document_has_every_kind_of_event_with_its_id_and_severity() {
    let document = include_str!("../../docs/journal.md");
    let place = || Place { unit: "web.service".into(), machine: None, ip: None };
    let (from, to) = (|| "active/running".to_owned(), || "inactive/dead".to_owned());
    let events = [
        Event::Appeared { place: place(), to: to() },
        Event::Changed { place: place(), from: from(), to: to() },
        Event::Stale { place: place(), from: from() },
        Event::Back { place: place(), to: to() },
        Event::Gone { place: place(), from: from(), reason: "" },
        Event::CrashLoop { place: place(), to: to(), reason: "".into() },
        Event::CrashLoopOver { place: place(), to: None, reason: "".into() },
        Event::MachineJoined { machine: "1".into(), ip: None },
        Event::MachineSilent { machine: "1".into(), ip: None },
        Event::MachineHeard { machine: "1".into(), ip: None },
        Event::MachineLost { machine: "1".into(), ip: None },
        Event::SourceDown { reason: String::new() },
        Event::SourceBack { after: Duration::ZERO },
        Event::SourceSuspect { missing: 1, of: 2 },
    ];
    assert_eq!(events.each_ref().map(Event::name), Event::NAMES, "one of each kind");
    let rows: Vec<_> = document.lines().filter(|line| line.starts_with("| `") && !line.contains("FLEET_")).collect();
    assert_eq!(rows.len(), events.len());
    let (_, severities) = document.split_once("`PRIORITY` is 4").unwrap();
    let (warnings, _) = severities.split_once('.').unwrap();
    for (event, row) in events.iter().zip(rows) {
        let cells = format!("| `{}` | `{}` | ", event.name(), event.message_id());
        assert!(row.starts_with(&cells), "{row}: not {cells}");
        let is_warning = event.severity() == Severity::Warning;
        assert_eq!(warnings.contains(&format!("`{}`", event.name())), is_warning, "{}", event.name());
    }
    let failed = "failed/failed".to_owned();
    assert_eq!(Event::Changed { place: place(), from: from(), to: failed }.severity(), Severity::Warning);
}

#[tokio::test]
async fn a_crash_loop_is_one_warning_with_how_often_it_restarted() {
    let Some(journal) = Journal::new() else { return };
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/live/4-crash-loop.jsonl");
    let _daemon = journal.of(&["--replay", recording, "--replay-speed", "100"]);

    let entry = journal.next_with("FLEET_UNIT", "flap.service").await;
    let event = Event::CrashLoop {
        place: Place { unit: "flap.service".into(), machine: None, ip: None },
        to: "activating/auto-restart".into(),
        reason: "systemd has been about to start it again for more than 12 s".into(),
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

#[tokio::test]
async fn what_was_wrong_when_watching_began_is_told_once_and_what_is_missed_when_its_time_is_over() {
    let Some(journal) = Journal::new() else { return };
    let file = |unit: &str| json!({"unit": unit, "desired": "launched", "target": "m1", "requirements_known": true});
    let mut files = ["bad.service", "missed.service", "ok.service"].map(file).to_vec();
    files.push(json!({"unit": "gpu.service", "desired": "launched", "global": true,
                      "requirements": ["MachineMetadata=role=gpu"], "requirements_known": true}));
    let state = |unit: &str, active: &str| json!({"unit": unit, "machine": "m1", "active": active, "sub": active});
    let polls = (0..60).map(|second| {
        let states =
            [state("bad.service", "failed"), state("ok.service", if second < 59 { "active" } else { "inactive" })];
        json!({"t": second, "topic": "registry", "files": files, "states": states, "machines": [{"id": "m1"}]})
    });
    let lines = std::iter::once(json!({"recording": 1, "source": "etcd"})).chain(polls);
    let recording = TempDir::new().unwrap();
    let path = recording.path().join("recording.jsonl");
    fs::write(&path, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();

    let _daemon = journal.of(&["--replay", path.to_str().unwrap(), "--replay-speed", "100"]);
    let mut told = Vec::new();
    loop {
        let entry = journal.next().await;
        let Some(unit) = entry.get("FLEET_UNIT") else { continue };
        if entry.contains_key("FLEET_EVENT") {
            assert_eq!(unit, "ok.service", "the last poll: {entry:?}");
            break;
        }
        assert_eq!((entry["PRIORITY"].as_str(), entry.contains_key("MESSAGE_ID")), ("4", false), "{entry:?}");
        told.push(unit.clone());
    }
    assert_eq!(told, ["bad.service", "missed.service"]);
}
