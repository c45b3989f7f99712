use std::io::Write;

use super::*;
use crate::builders;
use crate::cluster::{FleetList, ReadSchedule, Reading};
use crate::snapshots::assert_catalogue;
use crate::source::LATE;
use crate::source::recording::{RecordKeep, Recorder, RecordingRules};

fn recording(lines: &[&str]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    file
}

const LINES: [&str; 5] = [
    r#"{"recording":1,"source":"fleetctl v1.0.0"}"#,
    r#"{"t":0.5,"topic":"machines","machines":[{"id":"m1"}]}"#,
    r#"{"t":2,"event":"a note"}"#,
    r#"{"t":4.5,"topic":"machines","same":true}"#,
    r#"{"t":6.5,"topic":"machines","error":"no route"}"#,
];

async fn report(replay: &mut Replay) -> SourceReport {
    match replay.next().await {
        SourceEvent::Report(report) => report,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_recording_is_played_at_its_intervals_and_stays_at_its_end() {
    let file = recording(&LINES);
    let mut replay = Replay::open(file.path(), 2.0).unwrap();
    assert_eq!(&*replay.name(), "recording");
    assert!(matches!(replay.next().await, SourceEvent::Restarted));
    assert_eq!(&*replay.name(), "recording of fleetctl v1.0.0");

    let start = Instant::now();
    let first = report(&mut replay).await;
    assert_eq!(start.elapsed().as_millis(), 250, "twice as fast");
    let second = report(&mut replay).await;
    assert_eq!(start.elapsed().as_millis(), 2250);
    assert_eq!(
        second.at.since(first.at),
        Duration::from_secs(4),
        "judged by the recording's clock"
    );

    assert_eq!(first.outcome.unwrap(), second.outcome.unwrap());
    assert_eq!(report(&mut replay).await.outcome.unwrap_err().to_string(), "no route");

    assert!(matches!(replay.next().await, SourceEvent::Ended));
    assert!(replay.has_ended());
    assert!(
        tokio::time::timeout(Duration::from_secs(1000), replay.next())
            .await
            .is_err()
    );
    assert!(replay.liveness().is_alive());
}

#[tokio::test(start_paused = true)]
async fn a_report_states_when_the_recording_has_the_next_one() {
    let file = recording(&[
        r#"{"t":0,"topic":"units","states":[]}"#,
        r#"{"t":1,"topic":"units","same":true}"#,
        r#"{"t":6,"topic":"units","same":true}"#,
        r#"{"t":6,"topic":"machines","machines":[]}"#,
        r#"{"t":14,"topic":"machines","same":true}"#,
    ]);
    let mut replay = Replay::open(file.path(), 2.0).unwrap();
    let second = Duration::from_secs(1);
    // Intervals of 1 s and 5 s, then 8 s to the end, played twice as fast.
    let schedule = ReadSchedule { every: second * 3 / 2, within: 4 * second + LATE };
    assert_eq!(report(&mut replay).await.schedule, Some(schedule));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_cancelled_loses_no_report() {
    let file = recording(&LINES);
    let mut replay = Replay::open(file.path(), 1.0).unwrap();
    let mut reports = 0;
    while !replay.has_ended() {
        if let Ok(SourceEvent::Report(_)) =
            tokio::time::timeout(Duration::from_millis(100), replay.next()).await
        {
            reports += 1;
        }
    }
    assert_eq!(reports, 3);
}

#[tokio::test(start_paused = true)]
async fn the_built_in_recording_is_played_in_a_loop() {
    let mut replay = Replay::demo(1.0);
    let start = Instant::now();
    let mut beginnings = Vec::new();
    while beginnings.len() < 3 {
        match replay.next().await {
            SourceEvent::Restarted => beginnings.push(start.elapsed().as_secs()),
            SourceEvent::Report(report) => assert!(report.outcome.is_ok(), "{report:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(beginnings[0], 0);
    assert!((100..150).contains(&beginnings[1]), "about two minutes: {beginnings:?}");
    assert!(beginnings[2].abs_diff(2 * beginnings[1]) <= 1, "{beginnings:?}");
}

/// Recordings that cannot be played.
fn unplayable() -> Vec<(String, ReplayError)> {
    let lines = [
        "nonsense",
        r#"{"recording":4}"#,
        r#"{"topic":"units","same":true}"#,
        r#"{"t":-1,"topic":"units","same":true}"#,
        r#"{"t":1,"took":-1,"topic":"units","same":true}"#,
        r#"{"t":1,"topic":"units"}"#,
        r#"{"t":1,"topic":"units","same":true}"#,
        r#"{"t":1,"topic":"registry","overdue":[[{"machine":"m1"},-1]]}"#,
        r#"{"t":1,"topic":"bogus"}"#,
    ];
    let mut unplayable: Vec<(String, ReplayError)> = Vec::new();
    let mut open = |content: &[u8]| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let error = Replay::open(file.path(), 1.0).unwrap_err();
        unplayable.push((content.escape_ascii().to_string(), error));
    };
    lines
        .iter()
        .for_each(|line| open(format!("{}\n{line}", LINES[0]).as_bytes()));
    open(LINES[0].as_bytes());
    open(b"{\"t\":1}\n\xff\xff\n");

    let missing = Replay::open(Path::new("/nowhere/recording"), 1.0).unwrap_err();
    unplayable.push(("no file".to_owned(), missing));
    unplayable
}

#[test]
fn an_error_has_the_line_of_the_problem() {
    for (content, error) in unplayable() {
        let expected = match &*content {
            "no file" => matches!(error, ReplayError::Unreadable { .. }),
            content if content.ends_with("v1.0.0\\\"}") => {
                matches!(error, ReplayError::Empty { .. })
            }
            _ => matches!(error, ReplayError::Line { line: 2, .. }),
        };
        assert!(expected, "{content}: {error:?}");
    }
}

#[test]
fn the_wording_of_the_errors() {
    let errors = unplayable().into_iter().map(|(content, mut error)| {
        let (ReplayError::Unreadable { path, .. }
        | ReplayError::Line { path, .. }
        | ReplayError::Empty { path }) = &mut error;
        *path = "FILE".into();
        (content.replace("\\n", "\n").replace("\\\"", "\""), error)
    });
    assert_catalogue("recording-errors", errors);
}

/// A report of units of which one has this sub state.
fn unit_report(start: Moment, second: u64, sub: &str) -> SourceReport {
    let state = builders::unit_state("a.service", "m1", &format!("active/{sub}"));
    SourceReport {
        lists: FleetList::Units.alone(),
        at: start + Duration::from_secs(second),
        took: Duration::ZERO,
        outcome: Ok(Reading::Units { states: vec![state], files: None }),
        schedule: Some(ReadSchedule {
            every: Duration::from_secs(2),
            within: Duration::from_secs(13),
        }),
    }
}

/// Records runs of the program, each of so many seconds, with chapters of ten seconds.
async fn record(path: &Path, runs: &[u64]) {
    let rules = RecordingRules {
        chapter: Duration::from_secs(10),
        ..RecordingRules::default()
    };
    for (run, seconds) in runs.iter().enumerate() {
        let mut recorder = Recorder::open(path, rules).await.unwrap();
        let start = Moment::now();
        for second in 0..*seconds {
            let report = unit_report(start, second, &format!("{run}-{second}"));
            assert!(recorder.write(&report, &"etcd".into()));
        }
        recorder.complete(Duration::from_secs(60));
    }
}

/// What is played: the sub state of each report, and `begin` for each beginning.
async fn played(replay: &mut Replay) -> Vec<String> {
    let mut played = Vec::new();
    loop {
        played.push(match replay.next().await {
            SourceEvent::Restarted => "begin".to_owned(),
            SourceEvent::Ended => return played,
            SourceEvent::Report(report) => match report.outcome.unwrap() {
                Reading::Units { states, .. } => states[0].sub.as_deref().unwrap().to_owned(),
                other => panic!("{other:?}"),
            },
            SourceEvent::Rechecked { .. } => panic!("not in a recording"),
        });
    }
}

fn expected(runs: &[u64]) -> Vec<String> {
    let mut expected = Vec::new();
    for (run, seconds) in runs.iter().enumerate() {
        expected.push("begin".to_owned());
        expected.extend((0..*seconds).map(|second| format!("{run}-{second}")));
    }
    expected
}

#[tokio::test]
async fn a_recording_of_several_runs_begins_anew_with_each_run_but_not_with_each_chapter() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["compressed", "plain.jsonl"] {
        let path = folder.path().join(name);
        record(&path, &[25, 12]).await;
        let mut replay = Replay::open(&path, 1e6).unwrap();
        assert_eq!(played(&mut replay).await, expected(&[25, 12]), "{name}");
        assert_eq!(replay.index.length().as_secs(), 24 + 11, "{name}");

        let positions: Vec<u64> =
            replay.index.chapters.iter().map(|it| it.position.as_secs()).collect();
        assert_eq!(positions, [0, 10, 20, 24, 34], "{name}");
    }
}

#[tokio::test]
async fn a_recording_that_is_cut_is_played_up_to_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["compressed", "plain.jsonl"] {
        let path = folder.path().join(name);
        record(&path, &[25]).await;
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();

        let mut replay = Replay::open(&path, 1e6).unwrap();
        let played = played(&mut replay).await;
        assert!(played.len() > 20, "{name}: {played:?}");
        assert!(expected(&[25]).starts_with(&played), "{name}: {played:?}");
    }
}

#[tokio::test]
async fn what_is_damaged_is_skipped_up_to_the_next_chapter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    record(&path, &[25]).await;
    let index = Replay::open(&path, 1.0).unwrap().index;
    let [second, third] = [1, 2].map(|it| usize::try_from(index.chapters[it].offset).unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = second.midpoint(third);
    bytes[middle..middle + 8].copy_from_slice(&[0xFF; 8]);
    std::fs::write(&path, bytes).unwrap();

    let played = played(&mut Replay::open(&path, 1e6).unwrap()).await;
    let first: Vec<String> = expected(&[10]);
    assert!(played.starts_with(&first), "{played:?}");
    assert!(played.ends_with(&expected(&[25])[21..]), "{played:?}");
    assert!(played.len() < 26, "{played:?}");
}

#[tokio::test]
async fn the_schedule_of_the_source_is_that_of_its_recording() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    record(&path, &[3]).await;

    let mut replay = Replay::open(&path, 1e6).unwrap();
    assert!(matches!(replay.next().await, SourceEvent::Restarted));
    let first = report(&mut replay).await.schedule;
    let second = report(&mut replay).await.schedule;
    assert_eq!(first, unit_report(Moment::now(), 0, "").schedule);
    assert_eq!(second, first);
}

#[tokio::test]
async fn the_older_files_of_a_recording_are_played_before_it() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["compressed", "plain.jsonl"] {
        let path = folder.path().join(name);
        let keep = RecordKeep { age: Some(Duration::from_secs(800)), size: None };
        let mut recorder = Recorder::open(&path, RecordingRules::keeping(Some(keep)))
            .await
            .unwrap();
        let start = Moment::now();
        for second in 0..250 {
            recorder.write(&unit_report(start, second, &format!("0-{second}")), &"etcd".into());
        }
        recorder.complete(Duration::from_secs(60));
        assert_eq!(older_files(&path).unwrap().len(), 2, "{name}");

        let mut replay = Replay::open(&path, 1e6).unwrap();
        assert_eq!(played(&mut replay).await, expected(&[250]), "{name}");
        assert_eq!(replay.index.runs.len(), 1, "{name}");
    }
}
