//! The dashboard for Grafana: it is as Grafana's schema says, and each of its queries finds
//! something in the metrics of a recorded incident.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::incidents::timeline_until;
use super::scrapes::{Afterwards, INTERVAL, scrapes};
use super::tools::{promtool, python};

const DASHBOARD: &str = include_str!("../../../packaging/grafana/fleet-monitor.json");
const SCHEMA: &str = include_str!("dashboard.py");

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).expect("JSON")
}

/// The panels that show something, without the headings of rows.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = dashboard["panels"].as_array().expect("panels");
    panels.iter().filter(|panel| panel["type"] != "row")
}

/// The queries of all panels, with values in the place of variables.
fn queries(dashboard: &Value) -> Vec<String> {
    panels(dashboard)
        .flat_map(|panel| panel["targets"].as_array().expect("targets"))
        .map(|target| {
            let query = target["expr"].as_str().expect("a query");
            query
                .replace("$job", "fleet-monitor")
                .replace("$instance", ".+")
                .replace("$__rate_interval", "1m")
        })
        .collect()
}

#[test]
fn grafana_knows_all_that_is_in_it() {
    let dashboard = dashboard();
    let Some(unknown) = python(SCHEMA, dashboard.to_string().as_bytes()) else {
        return;
    };
    assert_eq!(unknown, "");

    // That the check finds something.
    let mut wrong = dashboard;
    let last = wrong["panels"]
        .as_array_mut()
        .expect("panels")
        .last_mut()
        .expect("a panel");
    last["options"]["showHeaders"] = json!(true);
    let unknown = python(SCHEMA, wrong.to_string().as_bytes()).expect("Python");
    assert!(unknown.trim_end().ends_with(".options.showHeaders"), "{unknown}");
}

#[test]
fn each_query_finds_something() {
    let polls = timeline_until("kill-machine-and-return", 55);
    let scrapes = scrapes(&polls, Afterwards::AsItEnded, Duration::from_secs(90));
    let mut text = format!(
        "evaluation_interval: {INTERVAL}s\ntests:\n  - interval: {INTERVAL}s\n    \
         input_series:\n{}    promql_expr_test:\n",
        scrapes.input_series()
    );
    for query in queries(&dashboard()) {
        // What is not drawn because it is zero is there all the same.
        let query = query.strip_suffix(" > 0").unwrap_or(&query);
        let found = Value::from(format!("count({query}) > bool 0"));
        writeln!(
            text,
            "      - eval_time: 90s\n        expr: {found}\n        exp_samples: \
             [{{labels: '{{}}', value: 1}}]"
        )
        .expect("written");
    }

    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("dashboard.yaml");
    fs::write(&file, text).expect("written");
    promtool(&["test", "rules", file.to_str().expect("UTF-8")], b"");
}

#[test]
fn each_panel_asks_the_data_source_that_is_selected() {
    let dashboard = dashboard();
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    for panel in panels(&dashboard) {
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{panel}");
        assert!(targets.iter().chain([panel]).all(|it| it["datasource"] == source), "{panel}");
    }

    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<&Value> = variables.iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    for query in queries(&dashboard) {
        assert!(!query.contains('$'), "an unknown variable: {query}");
        assert!(query.contains(r#"job="fleet-monitor",instance=~".+""#), "{query}");
    }
}

#[test]
fn panels_have_numbers_of_their_own_and_do_not_overlap() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");

        let place = |side: &str| panel["gridPos"][side].as_u64().expect("a number");
        assert!(place("x") + place("w") <= 24, "{panel}");
        for y in place("y")..place("y") + place("h") {
            for x in place("x")..place("x") + place("w") {
                assert!(taken.insert((x, y)), "{} overlaps another", panel["title"]);
            }
        }
    }
}
