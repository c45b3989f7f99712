//! A problem as an alert of Alertmanager's API v2. Pure.
//!
//! It does not know when an alert is sent.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use percent_encoding::utf8_percent_encode;
use serde::{Serialize, Serializer};

use super::AlertmanagerSettings;
use crate::net::percent::RESERVED;
use crate::problems::{Problem, ProblemCause};
use crate::utc;

/// The runbook, as in `packaging/prometheus/fleet-monitor-alerts.yaml`.
const RUNBOOK: &str = "file:///usr/share/doc/fleet-monitor/docs/operations.md";

/// What identifies an alert. Two open problems never have the same labels, and a problem has the
/// same ones after a restart of the monitor, and in another monitor of the same cluster.
pub(super) type AlertLabels = BTreeMap<String, String>;

/// An alert, as it is sent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    pub(super) labels: AlertLabels,
    annotations: BTreeMap<&'static str, String>,
    #[serde(serialize_with = "rfc3339")]
    starts_at: SystemTime,
    #[serde(serialize_with = "rfc3339")]
    pub(super) ends_at: SystemTime,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

impl Alert {
    /// The alert of a problem, which ends at this time, be it past or to come.
    pub(super) fn new(
        problem: &Problem,
        ends_at: SystemTime,
        settings: &AlertmanagerSettings,
    ) -> Self {
        Self {
            labels: labels(&problem.cause, settings),
            annotations: annotations(problem),
            // Alertmanager refuses an alert that ends before it starts, as after a clock was set
            // back.
            starts_at: problem.since.min(ends_at),
            ends_at,
            link: settings.external_url.as_deref().map(|url| link(url, &problem.cause)),
        }
    }
}

/// The address of a machine, the number of units and the ID of a problem are not in the labels:
/// they may differ between monitors, or change.
fn labels(cause: &ProblemCause, settings: &AlertmanagerSettings) -> AlertLabels {
    let machine = cause.machine().map(|machine| &*machine.id);
    let own = [
        ("alertname", Some(cause.kind().alert_name())),
        ("severity", Some(cause.severity().name())),
        ("kind", Some(cause.kind().name())),
        ("unit", cause.unit().map(|unit| &**unit)),
        ("template", cause.template().map(|template| &**template)),
        ("machine", machine),
    ];

    let mut labels = settings.labels.clone();
    for (name, value) in own {
        match value {
            Some(value) => labels.insert(name.to_owned(), value.to_owned()),
            None => labels.remove(name),
        };
    }
    labels
}

fn annotations(problem: &Problem) -> BTreeMap<&'static str, String> {
    let ip = problem.cause.machine().and_then(|machine| machine.ip.as_deref());
    let annotations = [
        ("summary", problem.summary()),
        ("description", problem.description()),
        ("ip", ip.unwrap_or_default().to_owned()),
        ("runbook_url", runbook_url(problem.cause.kind().alert_name())),
    ];

    annotations.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

/// The section of the runbook about an alert, where the packages install it.
fn runbook_url(alert_name: &str) -> String {
    format!("{RUNBOOK}#{}", alert_name.to_ascii_lowercase())
}

/// The page with the units that a problem is about.
fn link(page: &str, cause: &ProblemCause) -> String {
    let filter = match cause {
        ProblemCause::Source(_) => None,
        ProblemCause::Unit { unit, .. } => Some(format!("unit:{unit}")),
        ProblemCause::Template { template, .. } => {
            Some(format!("unit:{}", template.replacen("@.", "@*.", 1)))
        }
        ProblemCause::Machine { machine, .. } => Some(format!("machine:{}", machine.id)),
        ProblemCause::OnMachine { verdict, machine: Some(machine) } => {
            Some(format!("machine:{} verdict:{}", machine.id, verdict.name()))
        }
        ProblemCause::OnMachine { verdict, machine: None } => {
            Some(format!("verdict:{}", verdict.name()))
        }
    };

    let page = page.trim_end_matches('/');
    match filter {
        Some(filter) => format!("{page}/#tab=units&q={}", utf8_percent_encode(&filter, RESERVED)),
        None => format!("{page}/"),
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since_1970.as_secs();

    serializer.collect_str(&format_args!(
        "{}T{}.{:03}Z",
        utc::day(seconds),
        utc::time_of_day(seconds),
        since_1970.subsec_millis()
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::Verdict;
    use crate::notify::AlertTiming;
    use crate::problems::{MachineName, MachineTrouble, ProblemKind, SourceFault};

    fn settings() -> AlertmanagerSettings {
        AlertmanagerSettings {
            targets: Vec::new(),
            labels: BTreeMap::new(),
            external_url: None,
            timing: AlertTiming::default(),
        }
    }

    fn problem(cause: ProblemCause, since: SystemTime) -> Problem {
        Problem {
            id: "0123456789abcdef".into(),
            cause,
            since,
            since_seen: true,
            opened: since,
            units: Vec::new(),
            machine: None,
        }
    }

    fn machine_name(id: &str) -> MachineName {
        MachineName { id: id.into(), ip: Some("10.0.0.1".into()) }
    }

    fn unit_cause(unit: &str) -> ProblemCause {
        ProblemCause::Unit {
            verdict: Verdict::Failed,
            unit: unit.into(),
            machine: Some(machine_name("m1")),
        }
    }

    fn encoded(cause: ProblemCause, settings: &AlertmanagerSettings) -> Value {
        let since = UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let ends = since + Duration::from_secs(60);
        serde_json::to_value(Alert::new(&problem(cause, since), ends, settings)).unwrap()
    }

    #[test]
    fn an_alert_has_the_format_of_the_api() {
        let alert = encoded(unit_cause("db.service"), &settings());

        assert_eq!(
            alert,
            json!({
                "labels": {
                    "alertname": "FleetUnitFailed",
                    "kind": "failed",
                    "machine": "m1",
                    "severity": "critical",
                    "unit": "db.service",
                },
                "annotations": {
                    "ip": "10.0.0.1",
                    "runbook_url": format!("{RUNBOOK}#fleetunitfailed"),
                    "summary": "db.service failed on 10.0.0.1",
                },
                "startsAt": "2023-11-14T22:13:20.250Z",
                "endsAt": "2023-11-14T22:14:20.250Z",
            })
        );
    }

    #[test]
    fn labels_of_the_options_are_added_and_replace_none() {
        let mut settings = settings();
        for (name, value) in [("cluster", "prod"), ("severity", "page"), ("template", "x")] {
            settings.labels.insert(name.to_owned(), value.to_owned());
        }

        let labels = &encoded(unit_cause("db.service"), &settings)["labels"];

        assert_eq!(labels["cluster"], "prod");
        assert_eq!(labels["severity"], "critical");
        assert_eq!(labels["template"], Value::Null);
    }

    #[test]
    fn no_two_causes_have_the_same_labels() {
        let machine = || machine_name("m1");
        let verdict = Verdict::MachineLost;
        let causes = [
            ProblemCause::Source(SourceFault::Failing),
            ProblemCause::Machine { trouble: MachineTrouble::Lost, machine: machine() },
            ProblemCause::Machine { trouble: MachineTrouble::Silent, machine: machine() },
            ProblemCause::OnMachine { verdict, machine: Some(machine()) },
            ProblemCause::OnMachine { verdict, machine: None },
            ProblemCause::OnMachine { verdict: Verdict::Unreported, machine: None },
            ProblemCause::Template { verdict, template: "a@.service".into() },
            ProblemCause::Unit { verdict, unit: "a@.service".into(), machine: None },
            ProblemCause::Unit { verdict, unit: "a@.service".into(), machine: Some(machine()) },
        ];

        let settings = settings();
        let mut all: Vec<AlertLabels> =
            causes.iter().map(|cause| labels(cause, &settings)).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "{all:#?}");
    }

    #[test]
    fn an_alert_links_to_what_it_is_about() {
        let mut settings = settings();
        settings.external_url = Some("https://fleet.example.com/monitor/".to_owned());
        let links = [
            ProblemCause::Source(SourceFault::Failing),
            unit_cause(r"x\x2d1.service"),
            ProblemCause::Template { verdict: Verdict::Failed, template: "web@.service".into() },
            ProblemCause::Machine { trouble: MachineTrouble::Lost, machine: machine_name("m1") },
        ]
        .map(|cause| encoded(cause, &settings)["generatorURL"].as_str().unwrap().to_owned());

        let page = "https://fleet.example.com/monitor/";
        assert_eq!(
            links,
            [
                page.to_owned(),
                format!("{page}#tab=units&q=unit%3Ax%5Cx2d1.service"),
                format!("{page}#tab=units&q=unit%3Aweb%40%2A.service"),
                format!("{page}#tab=units&q=machine%3Am1"),
            ]
        );
    }

    #[test]
    fn each_alert_has_a_section_of_the_runbook() {
        let runbook = include_str!("../../docs/operations.md");
        for kind in ProblemKind::all() {
            let heading = format!("\n#### {}\n", kind.alert_name());
            assert!(runbook.contains(&heading), "{heading}");
        }
    }

    #[test]
    fn an_alert_never_ends_before_it_starts() {
        let since = UNIX_EPOCH + Duration::from_secs(60);
        let problem = problem(unit_cause("a.service"), since);
        let alert = Alert::new(&problem, UNIX_EPOCH, &settings());
        assert!(alert.starts_at <= alert.ends_at);
    }
}
