//! The metrics, as Prometheus reads them.

mod dashboard;
mod files;
mod incidents;
mod scrapes;
pub mod tools;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet_monitor::cluster::{
    Event, FleetList, Machine, Member, Moment, ReadFailure, Unit, Verdict, View,
};
use fleet_monitor::feed::Publish;
use fleet_monitor::metrics::UnitSeries;
use fleet_monitor::server::{ServerSettings, Timing};
use wildmatch::WildMatch;

use self::tools::{promtool, python};
use crate::server::{Response, ServerBench, member, settings, unit, view};
use crate::support::{Program, builders};

/// The alerts that the packages contain.
const ALERTS: &str = "packaging/prometheus/fleet-monitor-alerts.yaml";

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
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
        r#"fleet_monitor_unit_file_requests_total{outcome="fetched"} 0"#,
        r#"fleet_unit_verdicts{verdict="unscheduled"} 1"#,
        r#"fleet_unit_verdicts{verdict="machine_lost"} 1"#,
        r#"fleet_unit_verdicts{verdict="ok"} 2"#,
        r#"fleet_machines{state="present"} 2"#,
        r#"fleet_machines{state="lost"} 1"#,
        r#"fleet_machine_info{machine="4567",ip="10.0.0.1",version="",metadata=""} 1"#,
        r#"fleet_machine_troubled{machine="89ab",ip="10.0.0.1",state="lost"} 1"#,
        r#"fleet_unit_troubled{unit="web@2.service",machine="0123",ip="10.0.0.1",verdict="failed"} 1"#,
        "fleet_unit_troubled_left_out 1",
        "fleet_monitor_source_up 1",
        "fleet_monitor_source_suspect 0",
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
    assert_eq!(answer.header("content-type"), PROMETHEUS);
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
async fn only_units_in_trouble_are_named_the_worst_first_and_no_more_than_allowed() {
    let mut bench = bench().await;
    let named = |answer: &Response| -> Vec<String> {
        let lines = answer.text().lines();
        lines
            .filter(|line| line.starts_with("fleet_unit_troubled"))
            .map(Into::into)
            .collect()
    };

    let answer = scrape(&bench, "*/*").await;
    assert_eq!(
        named(&answer),
        [
            r#"fleet_unit_troubled{unit="web@2.service",machine="0123",ip="10.0.0.1",verdict="failed"} 1"#,
            r#"fleet_unit_troubled{unit="web@3.service",machine="0123",ip="10.0.0.1",verdict="machine_lost"} 1"#,
            "fleet_unit_troubled_left_out 1",
        ],
        "the unit that is unscheduled is left out"
    );

    // A cluster that is a thousand times as large, and well, has no more series.
    let series = answer.text().lines().count();
    let names: Vec<String> = (0..5_000).map(|number| format!("{number}.service")).collect();
    let units: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "active")).collect();
    bench.read(FleetList::Units, &view(&units));
    let answer = scrape(&bench, "*/*").await;
    assert_eq!(named(&answer), ["fleet_unit_troubled_left_out 0"]);
    assert!(answer.text().lines().count() <= series);
}

#[tokio::test]
async fn no_unit_is_named_if_none_may_be() {
    let mut bench = ServerBench::start().await;
    let failed = Unit {
        verdict: Verdict::Failed,
        ..(*unit("web.service", "failed")).clone()
    };
    let units = vec![Arc::new(failed)].into();
    bench.read_all(&Arc::new(View { units, machines: vec![] }));

    let answer = scrape(&bench, "*/*").await;
    assert!(!answer.text().contains("web.service"));
    assert!(answer.text().contains("\nfleet_unit_troubled_left_out 1\n"));
}

#[tokio::test]
async fn a_machine_is_either_in_the_cluster_or_in_trouble() {
    let mut bench = ServerBench::start().await;
    let machine = Machine {
        ip: Some("10.0.0.7".into()),
        version: Some("1.0.0".into()),
        metadata: Some(r#"rack=7 "left",role=db"#.into()),
        ..builders::machine("0123")
    };
    let silent = Member {
        silent_since: Some(SystemTime::UNIX_EPOCH),
        ..builders::member(builders::machine("4567"))
    };
    let machines =
        vec![Arc::new(builders::member(machine)), Arc::new(silent), member("89ab", true)];
    bench.read_all(&Arc::new(View { units: vec![].into(), machines }));

    let answer = scrape(&bench, "*/*").await;
    let lines: Vec<&str> = answer
        .text()
        .lines()
        .filter(|line| line.starts_with("fleet_machine_"))
        .collect();
    assert_eq!(
        lines,
        [
            r#"fleet_machine_info{machine="0123",ip="10.0.0.7",version="1.0.0",metadata="rack=7 \"left\",role=db"} 1"#,
            r#"fleet_machine_info{machine="4567",ip="",version="",metadata=""} 1"#,
            r#"fleet_machine_troubled{machine="4567",ip="",state="silent"} 1"#,
            r#"fleet_machine_troubled{machine="89ab",ip="10.0.0.1",state="lost"} 1"#,
        ],
        "one that is lost is not in the cluster"
    );
}

#[tokio::test]
async fn the_source_is_up_and_trusted_or_not() {
    let mut bench = ServerBench::start().await;
    let source = |answer: &Response| {
        let value = |name: &str| {
            let mut lines = answer.text().lines();
            lines
                .find_map(|line| line.strip_prefix(name))
                .expect("a value")
                .to_owned()
        };
        (value("fleet_monitor_source_up "), value("fleet_monitor_source_suspect "))
    };
    let pair = |up: &str, suspect: &str| (up.to_owned(), suspect.to_owned());
    assert_eq!(source(&scrape(&bench, "*/*").await), pair("0", "0"), "nothing was read yet");

    bench.read_all(&view(&[("web.service", "active")]));
    assert_eq!(source(&scrape(&bench, "*/*").await), pair("1", "0"));

    bench.health.suspect_since = Some(SystemTime::now());
    bench.read(FleetList::Units, &view(&[]));
    assert_eq!(source(&scrape(&bench, "*/*").await), pair("1", "1"));

    let failure = ReadFailure { since: Moment::now(), reason: "no answer within 10 s".into() };
    bench.health.lists[FleetList::Machines as usize].failure = Some(failure);
    bench.read(FleetList::Units, &view(&[]));
    assert_eq!(source(&scrape(&bench, "*/*").await), pair("0", "1"));
}

#[tokio::test]
async fn series_are_in_the_same_order_each_time_and_in_each_monitor() {
    let mut orders = HashSet::new();
    for _ in 0..3 {
        let bench = bench().await;
        for _ in 0..2 {
            let answer = scrape(&bench, "*/*").await;
            let series = answer.text().lines().map(|line| {
                let comment = line.starts_with('#');
                if comment {
                    line
                } else {
                    line.rsplit_once(' ').expect("a value").0
                }
            });
            orders.insert(series.collect::<Vec<_>>().join("\n"));
        }
    }
    assert_eq!(orders.len(), 1, "{orders:#?}");
}

#[tokio::test]
async fn the_format_is_the_one_that_the_client_prefers() {
    let bench = bench().await;
    for (accept, expected) in [
        ("application/openmetrics-text;q=0.2, text/plain;q=0.1", OPENMETRICS),
        ("application/openmetrics-text;q=0.1, text/plain;q=0.2", PROMETHEUS),
        ("application/openmetrics-text;q=0, */*", PROMETHEUS),
        ("application/openmetrics-text;version=0.0.1, text/plain;q=0.5", PROMETHEUS),
    ] {
        let answer = scrape(&bench, accept).await;
        assert_eq!(answer.header("content-type"), expected, "{accept}");
    }
}

/// By the program itself: a test has the same process as its server.
#[tokio::test]
async fn what_the_process_uses_is_what_the_system_says() {
    let daemon = Program::new(&["--demo"]).start().await;
    let metrics = daemon.text("/metrics").await.1;
    let value = |name: &str| -> f64 {
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name}")).parse().expect("a number")
    };

    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    let age = since.as_secs_f64() - value("process_start_time_seconds");
    assert!((0.0..60.0).contains(&age), "it was started {age} s ago");
    assert!(value("process_cpu_seconds_total") < 60.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
    assert!(value("process_open_fds") > 3.0);
    assert!(value("process_open_fds") < value("process_max_fds"));
}

#[tokio::test]
async fn promtool_accepts_the_metrics() {
    let bench = bench().await;
    let answer = scrape(&bench, "*/*").await;
    promtool(&["check", "metrics"], &answer.body);
}

/// Prometheus's own parser, which is stricter than that of the older format.
#[tokio::test]
async fn a_parser_of_openmetrics_reads_every_series() {
    const SCRIPT: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(family.type, sample.name, sorted(sample.labels.items()), sample.value)
";
    let bench = bench().await;
    let answer = scrape(&bench, OPENMETRICS).await;
    assert_eq!(answer.header("content-type"), OPENMETRICS);

    if let Some(printed) = python(SCRIPT, &answer.body) {
        let is_series = |line: &&str| !line.starts_with('#');
        assert_eq!(printed.lines().count(), answer.text().lines().filter(is_series).count());
        let nowhere = r"gauge fleet_unit_state [('active_state', 'active'), ('machine', 'none'), ('unit', 'x\\x2d1.service')] 0";
        assert!(printed.contains(nowhere), "{printed}");
    }
}
