//! The metrics, as Prometheus reads them.

mod incidents;
mod scrapes;

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet_monitor::cluster::{Event, FleetList, Unit, Verdict, View};
use fleet_monitor::feed::Publish;
use fleet_monitor::metrics::UnitSeries;
use fleet_monitor::server::{ServerSettings, Timing};
use tokio::io::AsyncWriteExt;
use wildmatch::WildMatch;

use crate::server::{Response, ServerBench, member, settings, unit, view};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A cluster with something of everything.
async fn bench() -> ServerBench {
    let unit_series = UnitSeries {
        selected: vec![WildMatch::new("web@*.service"), WildMatch::new(r"x\*")],
        max_troubled: 2,
    };
    let settings = ServerSettings { unit_series, ..settings() };
    let mut bench = ServerBench::with(settings, Timing::default(), Publish::Changes).await;
    let failed = Unit {
        verdict: Verdict::Failed,
        ..(*unit("web@2.service", "failed")).clone()
    };
    let lost = Unit {
        verdict: Verdict::MachineLost,
        ..(*unit("web@3.service", "active")).clone()
    };
    let mut nowhere = Unit {
        verdict: Verdict::Unscheduled,
        ..(*unit(r"x\x2d1.service", "active")).clone()
    };
    nowhere.state.machine = None;
    nowhere.state.active = None;
    let view = Arc::new(View {
        units: vec![
            unit("db.service", "active"),
            unit("web@1.service", "active"),
            failed.into(),
            lost.into(),
            nowhere.into(),
        ]
        .into(),
        machines: vec![member("0123", false), member("4567", false), member("89ab", true)],
    });
    bench.health.held_back = 7;
    bench.read_all(&view);
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
    bench
        .metrics
        .polled(FleetList::Units, Duration::from_millis(30), true, at);
    bench
        .metrics
        .polled(FleetList::Machines, Duration::from_millis(10_002), false, at);
    bench
        .metrics
        .transition(&Event::MachineLost { machine: "89ab".into(), ip: None });
    bench
}

async fn scrape(bench: &ServerBench, accept: &str) -> Response {
    let answer = bench.request("GET", "/metrics", &[("Accept", accept)]).await;
    assert_eq!(answer.status, 200);
    answer
}

#[tokio::test]
async fn every_family_is_there_with_its_values() {
    let bench = bench().await;
    let answer =
        scrape(&bench, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert_eq!(answer.header("content-type"), OPENMETRICS);
    assert!(answer.text().ends_with("\n# EOF\n"));
    let lines: Vec<&str> = answer.text().lines().collect();
    for expected in [
        r#"fleet_units{active_state="active"} 2"#,
        r#"fleet_units{active_state="failed"} 1"#,
        r#"fleet_units{active_state="activating"} 0"#,
        r#"fleet_units{active_state="none"} 0"#,
        r#"fleet_units{active_state="machine_lost"} 1"#,
        r#"fleet_units{active_state="unscheduled"} 1"#,
        r#"fleet_units{active_state="stale"} 0"#,
        r#"fleet_unit_verdicts{verdict="failed"} 1"#,
        r#"fleet_unit_verdicts{verdict="unscheduled"} 1"#,
        r#"fleet_unit_verdicts{verdict="machine_lost"} 1"#,
        r#"fleet_unit_verdicts{verdict="ok"} 2"#,
        r#"fleet_machines{state="present"} 2"#,
        r#"fleet_machines{state="lost"} 1"#,
        r#"fleet_unit_state{unit="web@1.service",machine="0123",active_state="active"} 1"#,
        r#"fleet_unit_state{unit="web@1.service",machine="0123",active_state="failed"} 0"#,
        r#"fleet_unit_state{unit="web@2.service",machine="0123",active_state="failed"} 1"#,
        r#"fleet_unit_state{unit="web@3.service",machine="0123",active_state="active"} 0"#,
        r#"fleet_unit_state{unit="x\\x2d1.service",machine="none",active_state="active"} 0"#,
        r#"fleet_monitor_transitions_total{event="machine_lost"} 1"#,
        r#"fleet_monitor_transitions_total{event="source_down"} 0"#,
        "fleet_monitor_disappearances_held_back_total 7",
        r#"fleet_monitor_poll_duration_seconds_sum{topic="units"} 0.03"#,
        r#"fleet_monitor_poll_duration_seconds_count{topic="machines"} 1"#,
        r#"fleet_monitor_poll_duration_seconds_bucket{le="0.05",topic="units"} 1"#,
        // A poll that was given up after the default of 10 s, and a little.
        r#"fleet_monitor_poll_duration_seconds_bucket{le="10.0",topic="machines"} 0"#,
        r#"fleet_monitor_poll_duration_seconds_bucket{le="15.0",topic="machines"} 1"#,
        r#"fleet_monitor_poll_failures_total{topic="machines"} 1"#,
        r#"fleet_monitor_poll_failures_total{topic="unit_files"} 0"#,
        r#"fleet_monitor_poll_last_success_timestamp_seconds{topic="units"} 1.5"#,
        "fleet_monitor_clients 0",
        "fleet_monitor_frames_sent_total 0",
        "fleet_monitor_bytes_sent_total 0",
        r#"fleet_monitor_clients_dropped_total{reason="slow"} 0"#,
        concat!("fleet_monitor_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(lines.contains(&expected), "{expected} is not in\n{}", answer.text());
    }
    assert!(
        !answer.text().contains("db.service"),
        "only units that are asked for have a series"
    );
    assert!(
        !answer.text().contains(r#"timestamp_seconds{topic="machines"}"#),
        "it never succeeded"
    );
}

#[tokio::test]
async fn each_row_is_counted_once_and_a_last_known_state_does_not_count() {
    let mut bench = ServerBench::start().await;
    let rows: Vec<Arc<Unit>> = Verdict::ALL
        .into_iter()
        .map(|verdict| {
            let name = format!("{}.service", verdict.name());
            Arc::new(Unit { verdict, ..(*unit(&name, "active")).clone() })
        })
        .collect();
    let count = rows.len();
    bench.read_all(&Arc::new(View { units: rows.into(), machines: vec![] }));

    let answer = scrape(&bench, "*/*").await;
    let counts: HashMap<&str, usize> = answer
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("fleet_units{active_state=\"")?.split_once("\"} "))
        .map(|(state, count)| (state, count.parse().expect("a count")))
        .collect();
    assert_eq!(counts.values().sum::<usize>(), count);
    assert_eq!(counts["active"], 4, "failed, in a crash loop, outdated and ok: {counts:?}");
    for verdict in ["machine_lost", "unreported", "unscheduled", "ghost", "stale"] {
        assert_eq!(counts[verdict], 1, "{verdict}: {counts:?}");
    }
}

#[tokio::test]
async fn a_unit_that_flaps_has_no_more_series_than_one_that_does_not() {
    let mut bench = bench().await;
    let mut series: Vec<Vec<String>> = vec![];
    for active in ["active", "failed", "activating"] {
        bench.read(FleetList::Units, &view(&[("web@1.service", active)]));
        let answer = scrape(&bench, "*/*").await;
        let of_units = answer
            .text()
            .lines()
            .filter(|line| line.starts_with("fleet_unit_state{"));
        let mut names: Vec<String> = of_units
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
            .collect();
        names.sort();
        series.push(names);
    }
    assert_eq!(series[0].len(), 6);
    assert!(series.iter().all(|names| *names == series[0]), "{series:?}");
}

#[tokio::test]
async fn what_has_not_been_read_has_no_series() {
    let bench = ServerBench::start().await;
    let answer = scrape(&bench, "*/*").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(!answer.text().contains("fleet_units"));
    assert!(!answer.text().contains("fleet_machines"));
    assert!(answer.text().contains("fleet_monitor_clients 0\n"));
}

#[tokio::test]
async fn clients_and_what_they_are_sent_are_counted() {
    use futures_util::StreamExt;

    let bench = bench().await;
    let (mut client, _) = tokio_tungstenite::connect_async(format!("ws://{}", bench.address))
        .await
        .expect("a WebSocket");
    let mut bytes = 0;
    for _ in 0..2 {
        let message = client.next().await.expect("no end").expect("a message");
        bytes += message.len() + if message.len() < 126 { 2 } else { 4 };
    }
    let answer = scrape(&bench, "*/*").await;
    for expected in [
        "fleet_monitor_clients 1\n".to_owned(),
        "fleet_monitor_frames_sent_total 2\n".to_owned(),
        format!("fleet_monitor_bytes_sent_total {bytes}\n"),
    ] {
        assert!(answer.text().contains(&expected), "{expected} is not in\n{}", answer.text());
    }
}

#[tokio::test]
async fn promtool_finds_nothing_to_say() {
    let bench = bench().await;
    let answer = scrape(&bench, "*/*").await;
    let promtool = tokio::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Ok(promtool) => promtool,
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!(
                "not checked: promtool cannot be run ({error}); it is in Debian's package prometheus"
            );
            return;
        }
        Err(error) => {
            panic!("promtool cannot be run: {error}; it is in Debian's package prometheus")
        }
    };
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin.write_all(&answer.body).await.expect("written");
    drop(stdin);
    let output = promtool.wait_with_output().await.expect("an output");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
