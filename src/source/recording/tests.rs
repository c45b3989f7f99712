use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::*;
use crate::builders;
use crate::cluster::{Moment, RegistrySnapshot};
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

/// A time as it is recorded.
fn milliseconds(time: SystemTime) -> SystemTime {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap();
    UNIX_EPOCH + Duration::from_millis(u64::try_from(since_epoch.as_millis()).unwrap())
}

/// Writes the reports to a file, and returns its text.
async fn record(path: &Path, reports: &[SourceReport], source: &str) -> String {
    let mut recorder = Recorder::open(path, RecordingRules::default()).await.unwrap();
    for report in reports {
        assert!(recorder.write(report, &source.into()));
    }

    recorder.complete(Duration::from_secs(60));
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

    let text = record(&folder.path().join("recording.jsonl"), &reports, "fleetctl v1.0.0").await;
    let mut reader = RecordingReader::default();
    let entries: Vec<RecordingEntry> =
        text.lines().filter_map(|line| reader.read(line).unwrap()).collect();

    let took = Duration::from_millis(50);
    let begun = start.before(took).wall;
    let poll = |at, outcome| {
        let at = Duration::from_secs(at) + took;
        RecordingEntry::Poll(RecordedReport {
            at,
            time: Some(milliseconds(begun + at)),
            took,
            lists: FleetList::Machines.alone(),
            schedule: None,
            outcome,
        })
    };
    assert_eq!(
        entries,
        [
            RecordingEntry::Begin {
                source: Some("fleetctl v1.0.0".into()),
                at: Duration::ZERO,
                time: Some(milliseconds(begun)),
            },
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

    let text = record(&folder.path().join("recording.jsonl"), &reports, "etcd").await;
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
        (r#"{"recording":4}"#, "4"),
        (r#"{"recording":3,"time":"yesterday"}"#, "`time`"),
        (r#"{"t":1,"time":"12:00","topic":"units","same":true}"#, "`time`"),
        (r#"{"t":1,"topic":"units","changed_states":[{"unit":"a"}]}"#, "previous"),
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

/// A cluster of so many units.
fn units(count: usize) -> Vec<UnitState> {
    (0..count)
        .map(|number| builders::unit_state(&format!("unit-{number:05}.service"), "m1", "a/b"))
        .collect()
}

/// Reports of a cluster of which every list is polled, each second another unit changes.
fn polls(start: Moment, seconds: u64) -> Vec<SourceReport> {
    let mut states = units(100);
    let mut reports = Vec::new();

    for second in 0..seconds {
        let at = start + Duration::from_secs(second);
        if second % 10 == 0 {
            let machines = vec![builders::machine("m1")];
            reports.push(report(FleetList::Machines, at, Ok(Reading::Machines { machines })));
            let files = vec![builders::unit_file("unit-00000.service", Some("m1"))];
            reports.push(report(FleetList::UnitFiles, at, Ok(Reading::UnitFiles { files })));
        }
        states[usize::try_from(second).unwrap() % 100].sub = Some(format!("{second}").into());
        let reading = Reading::Units { states: states.clone(), files: None };
        reports.push(report(FleetList::Units, at, Ok(reading)));
    }
    reports
}

/// All entries of a text.
fn entries(text: &str) -> Vec<RecordingEntry> {
    let mut reader = RecordingReader::default();
    text.lines().filter_map(|line| reader.read(line).unwrap()).collect()
}

fn outcomes(entries: &[RecordingEntry]) -> Vec<Result<Reading, String>> {
    let outcomes = entries.iter().filter_map(|entry| match entry {
        RecordingEntry::Poll(poll) => Some(poll.outcome.clone()),
        RecordingEntry::Begin { .. } => None,
    });
    outcomes.collect()
}

fn expected(reports: &[SourceReport]) -> Vec<Result<Reading, String>> {
    reports
        .iter()
        .map(|report| report.outcome.as_ref().map(Clone::clone).map_err(ToString::to_string))
        .collect()
}

const CHAPTERS_OF_A_MINUTE: RecordingRules = RecordingRules {
    keep: None,
    chapter: Duration::from_secs(60),
    retry: Duration::ZERO,
};

#[tokio::test]
async fn only_rows_that_have_changed_are_written_and_all_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let reports = polls(Moment::now(), 30);

    let text = record(&folder.path().join("recording.jsonl"), &reports, "etcd").await;
    assert_eq!(outcomes(&entries(&text)), expected(&reports));
    assert_eq!(text.matches("\"states\":[").count(), 1, "a whole list is written once");
}

#[tokio::test]
async fn each_chapter_can_be_read_without_those_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording.jsonl");
    let reports = polls(Moment::now(), 150);
    let mut recorder = Recorder::open(&path, CHAPTERS_OF_A_MINUTE).await.unwrap();
    for report in &reports {
        assert!(recorder.write(report, &"etcd".into()));
    }
    recorder.complete(Duration::from_secs(60));
    let text = fs::read_to_string(&path).unwrap();

    assert_eq!(outcomes(&entries(&text)), expected(&reports), "nothing is read twice");
    let chapters: Vec<usize> = text.match_indices("{\"recording\"").map(|(at, _)| at).collect();
    assert_eq!(chapters.len(), 3);

    let last = entries(&text[chapters[2]..]);
    let begun = matches!(last[0], RecordingEntry::Begin { at, .. } if at.as_secs() == 120);
    assert!(begun, "{:?}", last[0]);
    // What was last known of the two other lists comes first.
    let mut first: Vec<_> = outcomes(&last[..4]);
    first.sort_by_key(|outcome| outcome.as_ref().map(|reading| reading.lists()[0]).unwrap());
    let polled = expected(&reports);
    let of_the_chapter = &polled[polled.len() - 30 - 6..];
    assert!(first.iter().all(|outcome| polled.contains(outcome)));
    assert_eq!(first.len(), 3);
    assert!(of_the_chapter.ends_with(&outcomes(&last)[3..]));
}

#[tokio::test]
async fn a_watched_registry_is_requested_again_for_each_chapter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording.jsonl");
    let start = Moment::now();
    let watched = |seconds, reading| SourceReport {
        lists: &FleetList::ALL,
        ..report(FleetList::Units, start + Duration::from_secs(seconds), Ok(reading))
    };
    let registry = || Reading::Registry(RegistrySnapshot::default());
    let change = || Reading::Changes { index: 1, changes: vec![Observation::Leads(None)] };

    let mut recorder = Recorder::open(&path, CHAPTERS_OF_A_MINUTE).await.unwrap();
    let mut write = |report: &SourceReport| {
        assert!(recorder.write(report, &"etcd".into()));
        recorder.complete(Duration::from_secs(60));
        recorder.takes_snapshot()
    };
    // `complete` ends the chapter, so that each next report is to begin one.
    assert!(!write(&watched(0, registry())));
    assert!(write(&watched(1, change())), "it can only go on with a whole registry");
    assert!(!write(&watched(2, registry())));
    drop(recorder);

    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(outcomes(&entries(&text)), [Ok(registry()), Ok(registry())]);
}

#[tokio::test]
async fn a_compressed_recording_that_is_cut_anywhere_is_read_up_to_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let reports = polls(Moment::now(), 20);
    let mut recorder = Recorder::open(&path, RecordingRules::default()).await.unwrap();
    for report in &reports {
        recorder.write(report, &"etcd".into());
    }
    // Nothing completes it, as if the program had been killed.
    recorder.flush(Duration::from_secs(60));
    let bytes = fs::read(&path).unwrap();

    let read = |length: usize| {
        let cut = folder.path().join("cut");
        fs::write(&cut, &bytes[..length]).unwrap();
        let mut lines = ChapterLines::open(&cut, 0).unwrap();
        let mut text = String::new();
        let mut line = Vec::new();
        while lines.read(&mut line).unwrap() {
            text.push_str(str::from_utf8(&line).unwrap());
        }
        outcomes(&entries(&text))
    };
    assert_eq!(read(bytes.len()), expected(&reports), "all that was written");

    let mut longest = 0;
    for length in (4..bytes.len()).step_by(7) {
        let outcomes = read(length);
        assert!(expected(&reports).starts_with(&outcomes), "{length} bytes");
        assert!(outcomes.len() >= longest, "{length} bytes");
        longest = outcomes.len();
    }
    assert!(longest > 10, "{longest}");
}

#[tokio::test]
async fn a_recording_goes_on_when_its_disk_has_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording.jsonl");
    // Each write to it fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let reports = polls(Moment::now(), 10);
    let (lost, kept) = reports.split_at(6);

    let mut recorder = Recorder::open(&path, CHAPTERS_OF_A_MINUTE).await.unwrap();
    for report in lost {
        assert!(recorder.write(report, &"etcd".into()));
    }
    recorder.flush(Duration::from_secs(60));
    assert_eq!(recorder.take_dropped(), 6);

    fs::remove_file(&path).unwrap();
    for report in kept {
        assert!(recorder.write(report, &"etcd".into()));
    }
    recorder.complete(Duration::from_secs(60));
    assert_eq!(recorder.take_dropped(), 0);
    let text = fs::read_to_string(&path).unwrap();
    assert!(outcomes(&entries(&text)).ends_with(&expected(kept)), "{text}");
}

/// The files of a recording, the oldest first, each with all its entries.
fn files(path: &Path) -> Vec<Vec<RecordingEntry>> {
    let mut paths = older_files(path).unwrap();
    paths.push(path.to_owned());

    let texts = paths.into_iter().map(|path| {
        let mut lines = ChapterLines::open(&path, 0).unwrap();
        let mut text = String::new();
        let mut line = Vec::new();
        while lines.read(&mut line).unwrap() {
            text.push_str(str::from_utf8(&line).unwrap());
        }
        entries(&text)
    });
    texts.collect()
}

async fn record_with(path: &Path, keep: RecordKeep, reports: &[SourceReport]) {
    let rules = RecordingRules::keeping(Some(keep));
    let mut recorder = Recorder::open(path, rules).await.unwrap();
    for reports in reports.chunks(100) {
        for report in reports {
            assert!(recorder.write(report, &"etcd".into()));
        }
        recorder.flush(Duration::from_secs(60));
    }
    recorder.complete(Duration::from_secs(60));
}

#[tokio::test]
async fn what_is_older_than_the_age_to_keep_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let reports = polls(Moment::now(), 400);
    let keep = RecordKeep { age: Some(Duration::from_secs(80)), size: None };
    record_with(&path, keep, &reports).await;

    let files = files(&path);
    assert!(
        (9..=10).contains(&files.len()),
        "eight that are kept, and the newest: {}",
        files.len()
    );
    for file in &files {
        let length = outcomes(file).len();
        assert!((10..=16).contains(&length), "ten seconds: {length}");
        assert!(matches!(file[0], RecordingEntry::Begin { .. }), "each can be played alone");
    }
    let last = outcomes(files.last().unwrap());
    assert_eq!(last.last(), expected(&reports).last());
}

#[tokio::test]
async fn the_files_together_are_no_larger_than_the_size_to_keep() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let size = 24 * 1024;
    record_with(&path, RecordKeep { age: None, size: Some(size) }, &polls(Moment::now(), 2000))
        .await;

    let mut paths = older_files(&path).unwrap();
    assert!(paths.len() >= 5, "{paths:?}");
    paths.push(path);
    let total: u64 = paths.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!((size / 2..=size).contains(&total), "{total} bytes");
}
