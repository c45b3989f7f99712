use std::fs;
use std::path::Path;

use super::*;
use crate::builders;
use crate::cluster::Moment;
use crate::source::SourceError;

fn report(list: FleetList, at: Moment, outcome: Result<Reading, SourceError>) -> SourceReport {
    SourceReport {
        lists: list.alone(),
        at,
        took: Duration::from_millis(50),
        outcome,
        schedule: None,
    }
}

/// Writes the reports to a file, and returns its text.
async fn record(path: &Path, reports: &[SourceReport], source: &str) -> String {
    let mut recorder = Recorder::open(path).await.unwrap();
    for report in reports {
        assert!(recorder.write(report, &source.into()));
    }

    recorder.flush(Duration::from_secs(60));
    fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn a_recording_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let start = Moment::now();
    let machine = Machine { ip: Some("10.0.0.1".into()), ..builders::machine("3f1a") };
    let reading = Reading::Machines { machines: vec![machine] };
    let later = |seconds| start + Duration::from_secs(seconds);
    let reports = [
        report(FleetList::Machines, later(0), Ok(reading.clone())),
        report(FleetList::Machines, later(2), Ok(reading.clone())),
        report(FleetList::Machines, later(4), Err(SourceError::Recorded("no route".into()))),
        report(FleetList::Machines, later(6), Ok(reading.clone())),
    ];

    let text = record(&folder.path().join("recording"), &reports, "fleetctl v1.0.0").await;
    let mut reader = RecordingReader::default();
    let entries: Vec<RecordingEntry> =
        text.lines().filter_map(|line| reader.read(line).unwrap()).collect();

    let poll = |at, outcome| {
        let took = Duration::from_millis(50);
        RecordingEntry::Poll(RecordedReport {
            at: Duration::from_secs(at) + took,
            took,
            lists: FleetList::Machines.alone(),
            outcome,
        })
    };
    assert_eq!(
        entries,
        [
            RecordingEntry::Begin { source: Some("fleetctl v1.0.0".into()) },
            poll(0, Ok(reading.clone())),
            poll(2, Ok(reading.clone())),
            poll(4, Err("no route".to_owned())),
            poll(6, Ok(reading)),
        ]
    );
    assert_eq!(text.matches("\"machines\":[").count(), 1, "an equal list is written once");
}

#[tokio::test]
async fn a_registry_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let machine = |id: &str| Machine { version: Some("1.0.0".into()), ..builders::machine(id) };
    let first = RegistrySnapshot {
        index: 7,
        machines: [machine("1")].into(),
        leader: Some("1".into()),
        ..RegistrySnapshot::default()
    };
    let unit = || Lease::Unit("a.service".into(), "1".into());
    let second = RegistrySnapshot {
        index: 9,
        expired: vec![unit(), Lease::Machine("2".into())],
        overdue: vec![(unit(), Duration::from_millis(26_500))],
        leader: None,
        ..first.clone()
    };
    let third = RegistrySnapshot { machines: [].into(), ..second.clone() };
    let reports = [&first, &second, &third].map(|registry| SourceReport {
        lists: &FleetList::ALL,
        at: Moment::now(),
        took: Duration::ZERO,
        outcome: Ok(Reading::Registry(registry.clone())),
        schedule: None,
    });

    let text = record(&folder.path().join("recording"), &reports, "etcd").await;
    let mut reader = RecordingReader::default();
    let readings = text.lines().filter_map(|line| match reader.read(line).unwrap() {
        Some(RecordingEntry::Poll(poll)) => Some((poll.lists, poll.outcome)),
        _ => None,
    });

    let expected = [first, second, third]
        .map(|registry| (&FleetList::ALL[..], Ok(Reading::Registry(registry))));
    assert_eq!(readings.collect::<Vec<_>>(), expected);
    assert_eq!(
        text.matches("\"machines\":[").count(),
        2,
        "an equal list is not written again: {text}"
    );
}

#[test]
fn an_error_names_what_is_wrong_with_the_line() {
    for (line, culprit) in [
        ("{", "column"),
        (r#"{"recording":3}"#, "3"),
        (r#"{"topic":"units","same":true}"#, "`t`"),
        (r#"{"t":-1,"topic":"units","same":true}"#, "`t`"),
        (r#"{"t":1,"topic":"units"}"#, "units"),
        (r#"{"t":1,"topic":"units","same":true}"#, "`same`"),
        (r#"{"t":1,"topic":"bogus"}"#, "bogus"),
    ] {
        let error = RecordingReader::default().read(line).unwrap_err();
        assert!(error.contains(culprit), "{line}: {error}");
    }
}

#[test]
fn a_line_without_a_poll_is_ignored() {
    assert_eq!(RecordingReader::default().read("").unwrap(), None);
    assert_eq!(
        RecordingReader::default()
            .read(r#"{"t":2,"event":"a machine loses power"}"#)
            .unwrap(),
        None
    );
}
