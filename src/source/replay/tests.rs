use std::io::Write;

use super::*;
use crate::cluster::ReadSchedule;
use crate::snapshots::assert_catalogue;
use crate::source::LATE;

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
        r#"{"recording":3}"#,
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
