//! `docs/journal.md` against the code.

use std::time::Duration;

use fleet_monitor::cluster::{Event, Place, Severity};

use crate::support::snapshots::assert_catalogue;

fn place(machine: Option<&str>, ip: Option<&str>) -> Place {
    Place { unit: "web.service".into(), machine: machine.map(Into::into), ip: ip.map(Into::into) }
}

/// One event of each kind.
fn events() -> [Event; 12] {
    let place = || place(Some("3f1a8c5e"), Some("10.0.0.1"));
    let (from, to) = (|| "active/running".to_owned(), || "inactive/dead".to_owned());
    let (machine, ip) = (|| "3f1a8c5e".into(), || Some("10.0.0.1".into()));
    [
        Event::Appeared { place: place(), to: to() },
        Event::Changed { place: place(), from: from(), to: to() },
        Event::Stale { place: place(), from: from() },
        Event::Back { place: place(), to: to() },
        Event::Gone { place: place(), from: from(), reason: "REASON" },
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
fn events_are_told_in_these_words() {
    let of = |place| Event::Appeared { place, to: "active/running".to_owned() };
    let told = [
        of(place(Some("3f1a8c5e"), None)),
        of(place(None, None)),
        Event::MachineLost { machine: "3f1a8c5e".into(), ip: None },
        Event::SourceBack { after: Duration::from_secs(200) },
        Event::SourceBack { after: Duration::from_secs(8000) },
    ];
    assert_catalogue("events", events().iter().chain(&told).map(|event| (event.name(), event)));
}

#[test]
fn the_document_has_every_kind_of_event_with_its_id_and_severity() {
    let document = include_str!("../../docs/journal.md");
    let events = events();
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
    let from = "active/running".to_owned();
    assert_eq!(Event::Changed { place: place(None, None), from, to: failed }.severity(), Severity::Warning);
}
