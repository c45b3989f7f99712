//! What is sent when problems begin and end.

mod alertmanager;
mod alerts;
mod daemon;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet_monitor::cluster::{Moment, Verdict};
use fleet_monitor::feed::{FeedSettings, Publication, Publish, Publisher, SourceInfo};
use fleet_monitor::metrics::{Metrics, MetricsFormat, Scrape, UnitSeries};
use fleet_monitor::notify::{
    AlertTiming, AlertmanagerSettings, Notifier, NotifySettings, WebhookSettings, WebhookTiming,
};
use fleet_monitor::problems::{
    MachineName, OpenProblems, Problem, ProblemCause, ProblemChange, ProblemEnd,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::post_receiver::PostReceiver;

const NOTIFICATIONS: &str = include_str!("../../docs/notifications.md");

/// Much shorter than those of the program, so that a test does not take minutes.
const ALERT_TIMING: AlertTiming = AlertTiming {
    collect: Duration::from_millis(20),
    resend: Duration::from_millis(100),
    keep_closed: Duration::from_secs(60),
    request: Duration::from_millis(300),
    first_retry: Duration::from_millis(10),
    longest_retry: Duration::from_millis(40),
};
const WEBHOOK_TIMING: WebhookTiming = WebhookTiming {
    request: Duration::from_millis(300),
    first_retry: Duration::from_millis(10),
    longest_retry: Duration::from_millis(40),
};

fn alerts_to(urls: &[&str], timing: AlertTiming) -> NotifySettings {
    let alertmanager = AlertmanagerSettings {
        targets: urls.iter().map(|url| url.parse().unwrap()).collect(),
        labels: BTreeMap::from([("cluster".to_owned(), "west".to_owned())]),
        external_url: Some("https://fleet.example.com".to_owned()),
        timing,
    };
    NotifySettings { alertmanager: Some(alertmanager), webhook: None }
}

fn events_to(url: &str, directory: Option<&TempDir>) -> NotifySettings {
    let webhook = WebhookSettings {
        target: url.parse().unwrap(),
        secret: None,
        state_directory: directory.map(|directory| directory.path().to_owned()),
        timing: WEBHOOK_TIMING,
    };
    NotifySettings { alertmanager: None, webhook: Some(webhook) }
}

/// A unit that has failed.
fn problem(unit: &str) -> Arc<Problem> {
    let machine = MachineName { id: "m1".into(), ip: Some("10.0.0.1".into()) };
    let cause = ProblemCause::Unit {
        verdict: Verdict::Failed,
        unit: unit.into(),
        machine: Some(machine),
    };

    Arc::new(Problem {
        id: "0123456789abcdef".into(),
        cause,
        since: SystemTime::now(),
        since_seen: true,
        opened: SystemTime::now(),
        units: Vec::new(),
        machine: None,
    })
}

fn encode(problem: &Problem) -> String {
    json!({ "unit": problem.cause.unit() }).to_string()
}

/// A monitor, as far as it informs others of problems.
struct Bench {
    notifier: Notifier,
    _tasks: JoinSet<()>,
    metrics: Arc<Metrics>,
    open: Vec<Arc<Problem>>,
}

impl Bench {
    async fn start(settings: NotifySettings) -> Self {
        let metrics = Arc::new(Metrics::new());
        let (notifier, tasks) = Notifier::start(settings, encode, metrics.clone()).await.unwrap();
        Self { notifier, _tasks: tasks, metrics, open: Vec::new() }
    }

    fn open(&mut self, units: &[&str]) {
        let problems: Vec<Arc<Problem>> = units.iter().map(|unit| problem(unit)).collect();
        self.open.extend(problems.iter().cloned());
        let changes: Vec<_> = problems.into_iter().map(ProblemChange::Opened).collect();
        self.update(&changes);
    }

    fn close(&mut self, unit: &str) {
        let is_it = |problem: &Arc<Problem>| &**problem.cause.unit().unwrap() == unit;
        let position = self.open.iter().position(is_it).unwrap();
        let problem = self.open.remove(position);
        self.update(&[ProblemChange::Closed(problem, ProblemEnd::Recovered)]);
    }

    fn update(&mut self, changes: &[ProblemChange]) {
        let open: OpenProblems = self.open.iter().cloned().collect();
        self.notifier.update(changes, &open, Moment::now());
    }

    fn metric(&self, name: &str) -> i64 {
        let text = self.metrics.encode(
            MetricsFormat::Prometheus,
            Scrape {
                publication: &publication(),
                clients: 0,
                unit_series: &UnitSeries::default(),
                now: Moment::now(),
            },
        );
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
    }

    async fn until(&self, name: &str, is_expected: impl Fn(i64) -> bool) {
        for _ in 0..1_000 {
            if is_expected(self.metric(name)) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} is {}", self.metric(name));
    }
}

/// One without anything in it.
fn publication() -> Arc<Publication> {
    let settings = FeedSettings {
        unit_fields: Vec::new(),
        machine_fields: Vec::new(),
        publish: Publish::Changes,
    };
    let publisher = Publisher::new(settings, "epoch", SourceInfo::default());
    publisher.subscribe().borrow().clone()
}

/// The JSON below the comment `example: NAME` of the document.
fn example(name: &str) -> Value {
    let (_, rest) = NOTIFICATIONS
        .split_once(&format!("<!-- example: {name} -->\n```json\n"))
        .unwrap_or_else(|| panic!("an example {name}"));
    let text = rest.split("```").next().unwrap();
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn keys(value: &Value) -> BTreeSet<&String> {
    value.as_object().expect("an object").keys().collect()
}

#[tokio::test]
async fn the_documented_alert_is_what_is_sent() {
    let mut receiver = PostReceiver::start().await;
    let mut bench = Bench::start(alerts_to(&[&receiver.url()], ALERT_TIMING)).await;
    bench.open(&["db.service"]);
    let posted = receiver.next().await.json();

    let documented = &example("alert")[0];
    let sent = &posted[0];
    assert_eq!(keys(sent), keys(documented));
    assert_eq!(sent["labels"], documented["labels"]);
    assert_eq!(sent["generatorURL"], documented["generatorURL"]);
    assert_eq!(
        sent["annotations"]["summary"], documented["annotations"]["summary"],
        "{sent} {documented}"
    );
}

#[tokio::test]
async fn the_documented_events_are_what_is_sent() {
    let mut receiver = PostReceiver::start().await;
    let mut bench = Bench::start(events_to(&receiver.url(), None)).await;
    bench.open(&["db.service"]);
    let opened = receiver.next().await.json();
    bench.close("db.service");
    let closed = receiver.next().await.json();

    let documented = example("events");
    let documented_events = documented["events"].as_array().unwrap();
    assert_eq!(documented["version"], opened["version"]);
    for (sent, documented_event) in [opened, closed].iter().zip(documented_events) {
        assert_eq!(keys(sent), keys(&documented));
        let event = &sent["events"][0];
        assert_eq!(keys(event), keys(documented_event));
        assert_eq!(event["event"], documented_event["event"]);
        assert_eq!(event["end"], documented_event["end"]);
    }
}
