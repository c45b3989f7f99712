//! The senders, with real sockets.

use std::collections::HashSet;
use std::time::SystemTime;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use super::*;
use crate::cluster::Verdict;
use crate::feed::{FeedSettings, Publication, Publish, Publisher, SourceInfo};
use crate::metrics::{MetricsFormat, Scrape, UnitSeries};
use crate::post_receiver::{Answer, PostReceiver, Posted};
use crate::problems::{MachineName, ProblemCause, ProblemEnd};

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

pub(super) fn machine_name(id: &str) -> MachineName {
    MachineName { id: id.into(), ip: Some("10.0.0.1".into()) }
}

pub(super) fn problem(cause: ProblemCause) -> Problem {
    Problem {
        id: "0123456789abcdef".into(),
        cause,
        since: SystemTime::now(),
        since_seen: true,
        opened: SystemTime::now(),
        units: Vec::new(),
        machine: None,
    }
}

pub(super) fn settings(urls: &[&str]) -> AlertmanagerSettings {
    AlertmanagerSettings {
        targets: urls.iter().map(|url| url.parse().unwrap()).collect(),
        labels: BTreeMap::new(),
        external_url: None,
        timing: ALERT_TIMING,
    }
}

fn failed(unit: &str) -> Arc<Problem> {
    let cause = ProblemCause::Unit { verdict: Verdict::Failed, unit: unit.into(), machine: None };
    Arc::new(problem(cause))
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

fn encode(problem: &Problem) -> String {
    let unit = problem.cause.unit().unwrap();
    json!({ "unit": unit }).to_string()
}

/// A notifier, and the problems that it knows.
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

    async fn with_alertmanagers(urls: &[&str]) -> Self {
        Self::start(NotifySettings { alertmanager: Some(settings(urls)), webhook: None }).await
    }

    async fn with_webhook(url: &str, directory: Option<&TempDir>) -> Self {
        let webhook = webhook_settings(url, directory);
        Self::start(NotifySettings { alertmanager: None, webhook: Some(webhook) }).await
    }

    fn open(&mut self, units: &[&str]) {
        let problems: Vec<Arc<Problem>> = units.iter().map(|unit| failed(unit)).collect();
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

fn webhook_settings(url: &str, directory: Option<&TempDir>) -> WebhookSettings {
    WebhookSettings {
        target: url.parse().unwrap(),
        secret: None,
        state_directory: directory.map(|directory| directory.path().to_owned()),
        timing: WEBHOOK_TIMING,
    }
}

const ALERTS_SENT: &str = r#"fleet_monitor_notifications_total{to="alertmanager",outcome="sent"}"#;
const ALERTS_FAILED: &str =
    r#"fleet_monitor_notifications_total{to="alertmanager",outcome="failed"}"#;
const EVENTS_SENT: &str = r#"fleet_monitor_notifications_total{to="webhook",outcome="sent"}"#;
const EVENTS_FAILED: &str = r#"fleet_monitor_notifications_total{to="webhook",outcome="failed"}"#;
const EVENTS_DROPPED: &str = r#"fleet_monitor_notifications_total{to="webhook",outcome="dropped"}"#;
const EVENTS_WAITING: &str = r#"fleet_monitor_notifications_waiting{to="webhook"}"#;
const ALERTS_WAITING: &str = r#"fleet_monitor_notifications_waiting{to="alertmanager"}"#;

/// The units of the alerts, and how many seconds after the request each of them ends.
fn ends(posted: &Posted) -> Vec<(String, f64)> {
    let now = time::UtcDateTime::now();
    let alerts = posted.json();
    let alerts = alerts.as_array().unwrap().iter().map(|alert| {
        let unit = alert["labels"]["unit"].as_str().unwrap().to_owned();
        let ends = parse_rfc3339(alert["endsAt"].as_str().unwrap());
        (unit, (ends - now).as_seconds_f64())
    });
    alerts.collect()
}

/// Of the form `2023-11-14T22:13:20.250Z`.
fn parse_rfc3339(text: &str) -> time::UtcDateTime {
    let numbers: Vec<u16> = text
        .trim_end_matches('Z')
        .split(['-', 'T', ':', '.'])
        .map(|number| number.parse().unwrap())
        .collect();
    let [year, month, day, hour, minute, second, millisecond] = numbers[..] else {
        panic!("{text}");
    };
    let small = |number: u16| u8::try_from(number).unwrap();

    let month = time::Month::try_from(small(month)).unwrap();
    let date = time::Date::from_calendar_date(i32::from(year), month, small(day)).unwrap();
    let time =
        time::Time::from_hms_milli(small(hour), small(minute), small(second), millisecond).unwrap();
    time::UtcDateTime::new(date, time)
}

#[tokio::test]
async fn all_open_problems_are_sent_in_one_request_to_each_alertmanager() {
    let mut one = PostReceiver::start().await;
    let mut another = PostReceiver::start().await;
    let prefixed = format!("{}/prefix/", another.url());
    let mut bench = Bench::with_alertmanagers(&[&one.url(), &prefixed]).await;

    let units: Vec<String> = (0..500).map(|number| format!("web@{number}.service")).collect();
    for unit in &units {
        bench.open(&[unit]);
    }

    let posted = one.next().await;
    assert_eq!(posted.path, "/api/v2/alerts");
    assert_eq!(posted.headers["content-type"], "application/json");
    let sent: HashSet<String> = ends(&posted).into_iter().map(|(unit, _)| unit).collect();
    assert_eq!(sent, units.into_iter().collect());

    let posted = another.next().await;
    assert_eq!(posted.path, "/prefix/api/v2/alerts");
    assert_eq!(ends(&posted).len(), 500);
    bench.until(ALERTS_WAITING, |waiting| waiting == 0).await;
}

#[tokio::test]
async fn alerts_are_sent_again_and_end_by_themselves_otherwise() {
    let mut receiver = PostReceiver::start().await;
    let mut bench = Bench::with_alertmanagers(&[&receiver.url()]).await;
    bench.open(&["a.service"]);

    for _ in 0..3 {
        let [(_, seconds)] = &ends(&receiver.next().await)[..] else {
            panic!("one alert");
        };
        assert!((0.0..=0.4).contains(seconds), "{seconds}");
    }
    assert!(bench.metric(ALERTS_SENT) >= 2);
}

#[tokio::test]
async fn an_alert_that_has_ended_is_sent_until_all_have_heard_of_it() {
    let mut receiver = PostReceiver::start().await;
    let mut bench = Bench::with_alertmanagers(&[&receiver.url()]).await;
    bench.open(&["a.service", "b.service"]);
    assert_eq!(ends(&receiver.next().await).len(), 2);

    bench.close("a.service");
    let mut ended = None;
    for _ in 0..5 {
        let posted = receiver.next().await.json();
        let alert = posted
            .as_array()
            .unwrap()
            .iter()
            .find(|alert| alert["labels"]["unit"] == "a.service")
            .unwrap()
            .clone();
        let ends = alert["endsAt"].as_str().unwrap().to_owned();
        if parse_rfc3339(&ends) <= time::UtcDateTime::now() {
            assert_eq!(*ended.get_or_insert(ends.clone()), ends, "it does not end again");
        }
    }
    assert!(ended.is_some());

    // It comes back, and is an open one again.
    bench.open(&["a.service"]);
    loop {
        let seconds: Vec<f64> = ends(&receiver.next().await).into_iter().map(|end| end.1).collect();
        assert_eq!(seconds.len(), 2);
        if seconds.iter().all(|seconds| *seconds > 0.0) {
            break;
        }
    }
}

#[tokio::test]
async fn without_alerts_nothing_is_sent() {
    let mut receiver = PostReceiver::start().await;
    let mut bench = Bench::with_alertmanagers(&[&receiver.url()]).await;
    bench.update(&[]);
    sleep(3 * ALERT_TIMING.resend).await;
    assert!(receiver.take().is_none());
}

#[tokio::test]
async fn an_alertmanager_that_hangs_or_is_down_does_not_affect_another() {
    let hanging = PostReceiver::start().await;
    hanging.set(Answer::Hang);
    let down = PostReceiver::start().await.url();
    let mut receiver = PostReceiver::start().await;
    let mut bench = Bench::with_alertmanagers(&[&hanging.url(), &down, &receiver.url()]).await;

    bench.open(&["a.service"]);
    assert_eq!(ends(&receiver.next().await).len(), 1);
    bench.until(ALERTS_FAILED, |failed| failed >= 3).await;
    bench.until(ALERTS_WAITING, |waiting| waiting == 2).await;
}

#[tokio::test]
async fn an_alertmanager_that_was_restarted_gets_all_alerts() {
    let mut receiver = PostReceiver::start().await;
    let mut bench = Bench::with_alertmanagers(&[&receiver.url()]).await;
    bench.open(&["a.service", "b.service"]);
    receiver.next().await;

    let address = receiver.address;
    drop(receiver);
    bench.close("b.service");
    bench.until(ALERTS_FAILED, |failed| failed > 0).await;

    let mut receiver = PostReceiver::start_at(address).await;
    let alerts = ends(&receiver.next().await);
    assert!(alerts[0].1 > 0.0 && alerts[1].1 <= 0.0, "{alerts:?}");
    bench.until(ALERTS_WAITING, |waiting| waiting == 0).await;
}

/// The kinds of the events of a request, and their units.
fn events(posted: &Posted) -> Vec<String> {
    let events = posted.json()["events"].as_array().unwrap().clone();
    events
        .iter()
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            format!("{} {}", text(&event["event"]), text(&event["problem"]["unit"]))
        })
        .collect()
}

#[tokio::test]
async fn events_are_sent_in_order_and_signed() {
    let mut receiver = PostReceiver::start().await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "geheim").unwrap();
    let secret = WebhookSecret::read(Some(&file), None).unwrap();
    let url = format!("{}/hook?a=b", receiver.url());
    let webhook = WebhookSettings { secret: secret.clone(), ..webhook_settings(&url, None) };
    let mut bench =
        Bench::start(NotifySettings { alertmanager: None, webhook: Some(webhook) }).await;

    bench.open(&["a.service", "b.service"]);
    bench.close("a.service");

    let mut all = Vec::new();
    while all.len() < 3 {
        let posted = receiver.next().await;
        assert_eq!(posted.path, "/hook?a=b");
        let signature = format!("sha256={}", secret.as_ref().unwrap().sign(&posted.body));
        assert_eq!(posted.headers["x-fleet-monitor-signature"], signature);
        assert_eq!(posted.headers["content-type"], "application/json");

        let json = posted.json();
        assert_eq!(json["version"], 1);
        for event in json["events"].as_array().unwrap() {
            assert!(event["time"].as_u64().unwrap() <= json["sent"].as_u64().unwrap());
            let end = (event["event"] == "closed").then_some("recovered");
            assert_eq!(event["end"].as_str(), end);
        }
        all.extend(events(&posted));
    }
    assert_eq!(all, ["opened a.service", "opened b.service", "closed a.service"]);
    bench.until(EVENTS_SENT, |sent| sent == 3).await;
    bench.until(EVENTS_WAITING, |waiting| waiting == 0).await;
}

#[tokio::test]
async fn an_event_is_sent_again_with_the_same_delivery_until_it_is_accepted() {
    let mut receiver = PostReceiver::start().await;
    receiver.set_status(500);
    let mut bench = Bench::with_webhook(&receiver.url(), None).await;
    bench.open(&["a.service"]);

    let first = receiver.next().await;
    assert!(!first.headers.contains_key("x-fleet-monitor-signature"));
    // Events that come meanwhile are not part of what is sent again.
    bench.open(&["b.service"]);
    for status in [404, 410, 302, 204] {
        receiver.set_status(status);
        // There may be one more with the status before.
        bench.until(EVENTS_FAILED, |failed| failed > 0).await;
        let again = receiver.next().await;
        assert_eq!(
            again.headers["x-fleet-monitor-delivery"],
            first.headers["x-fleet-monitor-delivery"]
        );
        assert_eq!(events(&again), ["opened a.service"]);
    }
    bench.until(EVENTS_SENT, |sent| sent == 2).await;
    let mut last = receiver.next().await;
    while let Some(posted) = receiver.take() {
        last = posted;
    }
    assert_eq!(events(&last), ["opened b.service"]);
    assert_ne!(
        last.headers["x-fleet-monitor-delivery"],
        first.headers["x-fleet-monitor-delivery"]
    );
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_pause_gets_it() {
    let mut receiver = PostReceiver::start().await;
    receiver.set(Answer::Status(503, vec![("retry-after", "1".to_owned())]));
    let mut bench = Bench::with_webhook(&receiver.url(), None).await;
    bench.open(&["a.service"]);

    receiver.next().await;
    let start = std::time::Instant::now();
    receiver.set_status(200);
    receiver.next().await;

    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn events_survive_a_restart_of_the_monitor() {
    let directory = TempDir::new().unwrap();
    let mut receiver = PostReceiver::start().await;
    receiver.set_status(500);
    let mut bench = Bench::with_webhook(&receiver.url(), Some(&directory)).await;
    bench.open(&["a.service"]);
    let first = receiver.next().await;
    bench.open(&["b.service"]);
    bench.notifier.flush(Duration::from_secs(60));
    drop(bench);

    // What may have been received already is sent with the same delivery.
    receiver.set_status(200);
    while receiver.take().is_some() {}
    let mut bench = Bench::with_webhook(&receiver.url(), Some(&directory)).await;
    let again = receiver.next().await;
    assert_eq!(
        again.headers["x-fleet-monitor-delivery"],
        first.headers["x-fleet-monitor-delivery"]
    );
    assert_eq!(events(&again), ["opened a.service"]);
    assert_eq!(events(&receiver.next().await), ["opened b.service"]);

    bench.until(EVENTS_SENT, |sent| sent == 2).await;
    bench.open(&["c.service"]);
    assert_eq!(events(&receiver.next().await), ["opened c.service"]);
    bench.until(EVENTS_SENT, |sent| sent == 3).await;
    bench.notifier.flush(Duration::from_secs(60));
    drop(bench);

    let bench = Bench::with_webhook(&receiver.url(), Some(&directory)).await;
    assert_eq!(bench.metric(EVENTS_WAITING), 0);
}

#[tokio::test]
async fn beyond_the_limit_the_oldest_events_are_dropped_and_counted() {
    let mut receiver = PostReceiver::start().await;
    receiver.set(Answer::Hang);
    let mut bench = Bench::with_webhook(&receiver.url(), None).await;
    let units: Vec<String> = (0..10_010).map(|number| format!("{number}.service")).collect();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();

    bench.open(&units);

    assert_eq!(bench.metric(EVENTS_DROPPED), 10);
    assert_eq!(bench.metric(EVENTS_WAITING), 10_000);
    assert_eq!(events(&receiver.next().await).len(), 100);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_does_not_stop_events() {
    let mut receiver = PostReceiver::start().await;
    let directory = TempDir::new().unwrap();
    let webhook = WebhookSettings {
        state_directory: Some(directory.path().join("missing")),
        ..webhook_settings(&receiver.url(), None)
    };
    let mut bench =
        Bench::start(NotifySettings { alertmanager: None, webhook: Some(webhook) }).await;
    bench.open(&["a.service"]);
    assert_eq!(events(&receiver.next().await), ["opened a.service"]);
}
