use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use tokio::time::Instant;

use super::*;
use crate::builders;
use crate::cluster::{FleetList, Moment, ReadSchedule, Reading};
use crate::playback::PlaybackCommand;
use crate::snapshots::assert_catalogue;
use crate::source::recording::{RecordKeep, Recorder, RecordingRules};
use crate::source::{LATE, SourceReport};

fn recording(lines: &[&str]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    file
}

fn open_at(path: &Path, speed: f64) -> Result<Replay, ReplayError> {
    Replay::open(path, &ReplayOptions { speed, from: None, to: None })
}

const LINES: [&str; 5] = [
    r#"{"recording":1,"source":"fleetctl v1.0.0"}"#,
    r#"{"t":0.5,"topic":"machines","machines":[{"id":"m1"}]}"#,
    r#"{"t":2,"event":"a note"}"#,
    r#"{"t":4.5,"topic":"machines","same":true}"#,
    r#"{"t":6.5,"topic":"machines","error":"no route"}"#,
];

/// The next event that is not only the passing of time.
async fn next(replay: &mut Replay) -> SourceEvent {
    loop {
        match replay.next().await {
            SourceEvent::TimePassed(_) => {}
            event => return event,
        }
    }
}

async fn report(replay: &mut Replay) -> SourceReport {
    match next(replay).await {
        SourceEvent::Report(report) => report,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_recording_is_played_at_its_intervals_and_stays_at_its_end() {
    let file = recording(&LINES);
    let mut replay = open_at(file.path(), 2.0).unwrap();
    assert_eq!(&*replay.name(), "recording");
    assert!(matches!(next(&mut replay).await, SourceEvent::Restarted));
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

    assert!(matches!(next(&mut replay).await, SourceEvent::Ended));
    assert!(replay.has_ended());
    assert!(
        tokio::time::timeout(Duration::from_secs(1000), next(&mut replay))
            .await
            .is_err()
    );
    assert!(replay.liveness().is_alive());
}

/// The positions at which time has passed before the end, by the clock of the readings.
async fn ticks(replay: &mut Replay) -> Vec<f64> {
    let mut ticks = Vec::new();
    let mut first = None;
    loop {
        match replay.next().await {
            SourceEvent::Report(report) => first = first.or(Some(report.at)),
            SourceEvent::TimePassed(at) => {
                let since = at.since(first.expect("a report")).as_secs_f64();
                ticks.push((since * 1000.0).round() / 1000.0);
            }
            SourceEvent::Ended => return ticks,
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn time_passes_between_reports_in_seconds_of_the_recording_at_any_speed() {
    let file = recording(&LINES);
    for speed in [0.1, 1.0, 1e6] {
        let mut replay = open_at(file.path(), speed).unwrap();
        // The first report is at 0.5 s, the last one at 6.5 s.
        let expected = [0.5, 1.5, 2.5, 3.5, 4.5, 5.5];
        assert_eq!(ticks(&mut replay).await, expected, "{speed}");
    }
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
    let mut replay = open_at(file.path(), 2.0).unwrap();
    let second = Duration::from_secs(1);
    // Intervals of 1 s and 5 s, then 8 s to the end, played twice as fast.
    let schedule = ReadSchedule::new(second * 3 / 2, 4 * second + LATE);
    assert_eq!(report(&mut replay).await.schedule, Some(schedule));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_cancelled_loses_no_report() {
    let file = recording(&LINES);
    let mut replay = open_at(file.path(), 1.0).unwrap();
    let mut reports = 0;
    while !replay.has_ended() {
        if let Ok(SourceEvent::Report(_)) =
            tokio::time::timeout(Duration::from_millis(100), next(&mut replay)).await
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
        match next(&mut replay).await {
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
        let error = open_at(file.path(), 1.0).unwrap_err();
        unplayable.push((content.escape_ascii().to_string(), error));
    };
    lines
        .iter()
        .for_each(|line| open(format!("{}\n{line}", LINES[0]).as_bytes()));
    open(LINES[0].as_bytes());
    open(b"{\"t\":1}\n\xff\xff\n");

    let missing = open_at(Path::new("/nowhere/recording"), 1.0).unwrap_err();
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
        | ReplayError::Part { path, .. }
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
        schedule: Some(ReadSchedule::new(Duration::from_secs(2), Duration::from_secs(13))),
    }
}

/// When a run begins: at 22:13:20 and each hour after that.
fn start_of(run: usize) -> Moment {
    let hours = Duration::from_secs(3600 * run as u64);
    let wall = UNIX_EPOCH + Duration::from_secs(1_700_000_000) + hours;
    Moment { wall, ..Moment::now() }
}

/// Records runs of the program, each of so many seconds, with chapters of ten seconds.
async fn record(path: &Path, runs: &[u64]) {
    let rules = RecordingRules {
        chapter: Duration::from_secs(10),
        ..RecordingRules::default()
    };
    for (run, seconds) in runs.iter().enumerate() {
        let mut recorder = Recorder::open(path, rules).await.unwrap();
        let start = start_of(run);
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
        played.push(match next(replay).await {
            SourceEvent::Restarted => "begin".to_owned(),
            SourceEvent::Ended => return played,
            SourceEvent::Report(report) => match report.outcome.unwrap() {
                Reading::Units { states, .. } => states[0].sub.as_deref().unwrap().to_owned(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
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
        let mut replay = open_at(&path, 1e6).unwrap();
        assert_eq!(played(&mut replay).await, expected(&[25, 12]), "{name}");
        assert_eq!(replay.player.index.length().as_secs(), 24 + 11, "{name}");

        let positions: Vec<u64> = replay
            .player
            .index
            .chapters
            .iter()
            .map(|it| it.position.as_secs())
            .collect();
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

        let mut replay = open_at(&path, 1e6).unwrap();
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
    let index = open_at(&path, 1.0).unwrap().player.index;
    let [second, third] = [1, 2].map(|it| usize::try_from(index.chapters[it].offset).unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = second.midpoint(third);
    bytes[middle..middle + 8].copy_from_slice(&[0xFF; 8]);
    std::fs::write(&path, bytes).unwrap();

    let played = played(&mut open_at(&path, 1e6).unwrap()).await;
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

    let mut replay = open_at(&path, 1e6).unwrap();
    assert!(matches!(next(&mut replay).await, SourceEvent::Restarted));
    let first = report(&mut replay).await.schedule;
    let second = report(&mut replay).await.schedule;
    let recorded = unit_report(Moment::now(), 0, "").schedule.unwrap();
    // A second of this process is a million of the recording.
    let margin = LATE * 1_000_000;
    assert_eq!(first, Some(ReadSchedule { margin, ..recorded }));
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

        let mut replay = open_at(&path, 1e6).unwrap();
        assert_eq!(played(&mut replay).await, expected(&[250]), "{name}");
        assert_eq!(replay.player.index.runs.len(), 1, "{name}");
    }
}

/// The sub states up to the end of catching up, and whether the last event was that.
async fn caught_up(replay: &mut Replay) -> Vec<String> {
    let mut played = Vec::new();
    loop {
        match next(replay).await {
            SourceEvent::Restarted => {}
            SourceEvent::CaughtUp => return played,
            SourceEvent::CatchingUp(report) => match report.outcome.unwrap() {
                Reading::Units { states, .. } => {
                    played.push(states[0].sub.as_deref().unwrap().to_owned());
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_goes_to_any_place_and_sees_what_was_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    record(&path, &[25, 12]).await;
    let mut replay = open_at(&path, 1.0).unwrap();
    let control = replay.control().unwrap();

    for (second, last) in [(20, "0-20"), (3, "0-3"), (30, "1-6"), (10, "0-10")] {
        assert!(control.send(PlaybackCommand::Seek(Duration::from_secs(second))));
        assert!(matches!(next(&mut replay).await, SourceEvent::Sought));
        let played = caught_up(&mut replay).await;
        assert_eq!(played.last().map(String::as_str), Some(last), "{second} s");

        let playback = replay.playback().unwrap();
        assert_eq!(playback.position, Duration::from_secs(second));
        let run = usize::from(second >= 24);
        let expected = start_of(run).wall + Duration::from_secs(second - 24 * run as u64);
        assert_eq!(playback.time, Some(expected), "{second} s");
    }

    // From there it goes on at its own pace.
    let start = Instant::now();
    report(&mut replay).await;
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_it_is_paused_nothing_is_played() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    record(&path, &[25]).await;
    let mut replay = open_at(&path, 1.0).unwrap();
    let control = replay.control().unwrap();
    assert!(matches!(next(&mut replay).await, SourceEvent::Restarted));
    report(&mut replay).await;
    report(&mut replay).await;

    control.send(PlaybackCommand::Pause);
    assert!(matches!(next(&mut replay).await, SourceEvent::PlaybackChanged));
    let waiting = tokio::time::timeout(Duration::from_secs(1000), next(&mut replay)).await;
    assert!(waiting.is_err());
    assert!(replay.liveness().is_alive());
    assert!(!replay.playback().unwrap().is_running);

    control.send(PlaybackCommand::Resume);
    assert!(matches!(next(&mut replay).await, SourceEvent::PlaybackChanged));
    control.send(PlaybackCommand::SetSpeed(0.5));
    assert!(matches!(next(&mut replay).await, SourceEvent::PlaybackChanged));
    let start = Instant::now();
    report(&mut replay).await;
    assert_eq!(start.elapsed().as_secs(), 2, "at half the speed");
}

#[tokio::test(start_paused = true)]
async fn only_a_part_is_played_by_offset_by_time_of_day_or_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    record(&path, &[25, 12]).await;

    for (from, to, first, last) in [
        (Some("5s"), Some("8s"), "0-5", "0-8"),
        (Some("22:13:30"), Some("22:13:32"), "0-10", "0-12"),
        (Some("2023-11-14T23:13:25Z"), None, "1-5", "1-11"),
        (None, Some("2023-11-14T22:13:23Z"), "0-0", "0-3"),
    ] {
        let time = |text: Option<&str>| text.map(|text| RecordedTime::parse(text).unwrap());
        let options = ReplayOptions { speed: 1.0, from: time(from), to: time(to) };
        let mut replay = Replay::open(&path, &options).unwrap();
        let mut all = match from {
            Some(_) => caught_up(&mut replay).await.split_off(0).pop().into_iter().collect(),
            None => Vec::new(),
        };
        all.extend(played(&mut replay).await);
        all.retain(|played| played != "begin");
        assert_eq!(all.first().map(String::as_str), Some(first), "{from:?}");
        assert_eq!(all.last().map(String::as_str), Some(last), "{to:?}");
    }
}

#[tokio::test]
async fn a_part_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    record(&path, &[25]).await;
    let old = recording(&LINES);

    for (path, from, to) in [
        (&*path, Some("10m"), None),
        (&*path, Some("20s"), Some("10s")),
        (&*path, Some("2023-11-14T23:00:00Z"), None),
        (old.path(), Some("14:30"), None),
        (old.path(), None, Some("2023-11-14T23:00:00Z")),
    ] {
        let time = |text: Option<&str>| text.map(|text| RecordedTime::parse(text).unwrap());
        let options = ReplayOptions { speed: 1.0, from: time(from), to: time(to) };
        let error = Replay::open(path, &options).unwrap_err();
        assert!(matches!(error, ReplayError::Part { .. }), "{from:?} {to:?}: {error:?}");
    }
}

#[tokio::test]
async fn the_places_of_events_are_found() {
    let file = recording(&[
        r#"{"t":0,"topic":"machines","machines":[{"id":"m1"}]}"#,
        r#"{"t":0,"topic":"unit_files","files":[]}"#,
        r#"{"t":0,"topic":"units","states":[]}"#,
        r#"{"t":5,"topic":"machines","machines":[{"id":"m1"},{"id":"m2"}]}"#,
        r#"{"t":6,"topic":"machines","same":true}"#,
        r#"{"t":9,"topic":"machines","machines":[{"id":"m1"},{"id":"m2"},{"id":"m3"}]}"#,
    ]);
    let replay = open_at(file.path(), 1.0).unwrap();
    let control = replay.control().unwrap();
    let second = Duration::from_secs(1);
    replay.search_events(Retention { grace: second, lost: second });

    while !control.marks().is_complete {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(control.marks().positions, [5 * second, 9 * second]);
}
