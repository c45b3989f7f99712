//! The files for Prometheus in `packaging/prometheus`.

use std::fs;

use super::ALERTS;
use super::tools::promtool;
use crate::architecture::root;

/// One alert of the file, as its lines.
struct Alert {
    name: String,
    lines: Vec<String>,
}

fn alerts() -> Vec<Alert> {
    let text = fs::read_to_string(root().join(ALERTS)).expect("the file");
    let mut alerts: Vec<Alert> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            alerts.push(Alert { name: name.to_owned(), lines: Vec::new() });
        } else if let Some(alert) = alerts.last_mut() {
            alert.lines.push(line.to_owned());
        }
    }
    assert!(alerts.len() > 10, "they are not found");
    alerts
}

impl Alert {
    fn value(&self, key: &str) -> &str {
        let mut lines = self.lines.iter();
        lines
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
            .unwrap_or_else(|| panic!("{} has no {key}", self.name))
    }
}

fn checked(arguments: &[&str], file: &str) {
    let path = root().join(file);
    promtool(&[arguments, &[path.to_str().expect("UTF-8")]].concat(), b"");
}

#[test]
fn prometheus_accepts_the_rules_and_the_example() {
    checked(&["check", "rules"], ALERTS);
    checked(&["check", "rules"], "packaging/prometheus/fleet-monitor-recording.yaml");
    checked(&["check", "config", "--syntax-only"], "packaging/prometheus/scrape.yaml");
}

#[test]
fn each_alert_fires_in_time_and_says_what_is_wrong() {
    checked(&["test", "rules"], "tests/it/metrics/alerts.yaml");

    let tested = fs::read_to_string(root().join("tests/it/metrics/alerts.yaml")).expect("a file");
    for alert in alerts() {
        let test = format!("alertname: {}\n        exp_alerts:", alert.name);
        assert!(tested.contains(&test), "{} is not tested", alert.name);
    }
}

#[test]
fn each_alert_names_what_it_is_about() {
    for alert in alerts() {
        let description = alert.value("description");
        let needed: &[&str] = match () {
            () if alert.name == "FleetUnitsNotNamed" => &["$value"],
            () if alert.name.starts_with("FleetUnit") => {
                &["$labels.unit", "$labels.machine", "$labels.ip"]
            }
            () if alert.name.starts_with("FleetMachine") => &["$labels.machine", "$labels.ip"],
            () => &["$labels.instance"],
        };
        for label in needed {
            assert!(description.contains(label), "{} lacks {label}", alert.name);
        }
        assert!(alert.value("summary").len() > 20);
        assert!(["critical", "warning", "info"].contains(&alert.value("severity")));
    }
}

/// Its heading is its name, and so is the end of the link.
#[test]
fn each_alert_has_a_section_of_the_runbook() {
    let operations = fs::read_to_string(root().join("docs/operations.md")).expect("the page");
    let installed = "file:///usr/share/doc/fleet-monitor/docs/operations.md";

    for alert in alerts() {
        let anchor = alert.name.to_lowercase();
        assert_eq!(alert.value("runbook_url"), format!("{installed}#{anchor}"));
        assert!(operations.contains(&format!("\n#### {}\n\n", alert.name)), "{}", alert.name);
    }

    let headings = operations.lines().filter(|line| line.starts_with("#### Fleet"));
    assert_eq!(headings.count(), alerts().len(), "a section of no alert");
}
