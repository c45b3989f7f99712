//! What Prometheus would have scraped during a recorded incident: the recording is read as the
//! program reads it, at its own pace, and every 15 s of recorded time the metrics are taken.
//!
//! It does not know what is expected of them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet_monitor::cluster::{Cluster, FleetList, Moment, Transition};
use fleet_monitor::feed::fields::MachineField;
use fleet_monitor::feed::{FeedInput, FeedSettings, Publish, Publisher, SourceInfo};
use fleet_monitor::metrics::{Metrics, MetricsFormat, Scrape, UnitSeries};
use fleet_monitor::source::recording::RecordedReport;

use crate::live::recording::GRACE;
use crate::support::recorded_poll;

/// The interval between two scrapes, in seconds.
pub const INTERVAL: u64 = 15;

/// The series of an incident, with a value for each scrape; `None` where a series was not there.
pub struct Scrapes {
    series: BTreeMap<String, Vec<Option<f64>>>,
    count: usize,
}

/// What is read after the end of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// What was read before the incident: it is over.
    AsBefore,
    /// What was read last: it goes on.
    AsItEnded,
}

/// The scrapes of a monitor that makes these polls, from the first second to `end`.
pub fn scrapes(polls: &[RecordedReport], afterwards: Afterwards, end: Duration) -> Scrapes {
    let mut monitor = Monitor::new();
    let mut scrapes = Scrapes { series: BTreeMap::new(), count: 0 };
    let later = later_polls(polls, afterwards, end);
    let mut polls = polls.iter().chain(&later).peekable();

    let mut at = Duration::ZERO;
    while at <= end {
        while let Some(poll) = polls.next_if(|poll| poll.at <= at) {
            monitor.apply(poll);
        }
        scrapes.add(&monitor.scrape(at));
        at += Duration::from_secs(INTERVAL);
    }
    scrapes
}

/// The polls after the recording: each list at its usual interval.
fn later_polls(
    polls: &[RecordedReport],
    afterwards: Afterwards,
    end: Duration,
) -> Vec<RecordedReport> {
    let ended = polls.last().expect("polls").at;
    let mut later = Vec::new();

    for list in FleetList::ALL {
        let mut of_list = polls.iter().filter(|poll| poll.lists == list.alone());
        let repeated = match afterwards {
            Afterwards::AsBefore => of_list.next(),
            Afterwards::AsItEnded => of_list.next_back(),
        };
        let interval = Duration::from_secs(if list == FleetList::Units { 2 } else { 10 });

        let mut at = ended + Duration::from_secs(1 + list as u64);
        while let Some(poll) = repeated.filter(|_| at <= end) {
            later.push(RecordedReport { at, ..poll.clone() });
            at += interval;
        }
    }

    later.sort_by_key(|poll| poll.at);
    later
}

/// A monitor whose clock is that of a recording, which begins in 1970, as that of `promtool` does.
struct Monitor {
    start: Moment,
    cluster: Cluster,
    publisher: Publisher,
    metrics: Metrics,
}

impl Monitor {
    fn new() -> Self {
        let settings = FeedSettings {
            unit_fields: vec!["unit".parse().expect("a field")],
            machine_fields: MachineField::ALL.into(),
            publish: Publish::Changes,
        };
        Self {
            start: Moment { wall: SystemTime::UNIX_EPOCH, ..Moment::now() },
            cluster: Cluster::new(GRACE),
            publisher: Publisher::new(settings, "epoch", SourceInfo::default()),
            metrics: Metrics::new(),
        }
    }

    fn apply(&mut self, poll: &RecordedReport) {
        let at = self.start + poll.at;
        for list in poll.lists {
            self.metrics.polled(*list, poll.took, poll.outcome.is_ok(), at.wall);
        }

        let transitions = recorded_poll::apply(&mut self.cluster, poll, self.start);
        let read = poll.outcome.as_ref().map_or(&[][..], |_| poll.lists);
        self.publish(&transitions, read, at);
    }

    fn publish(&mut self, transitions: &[Arc<Transition>], read: &[FleetList], at: Moment) {
        self.publisher.publish(FeedInput {
            view: self.cluster.view(),
            problems: &Default::default(),
            health: self.cluster.health(),
            transitions,
            change: Some(self.cluster.change()),
            read,
            now: at,
        });
        for transition in transitions {
            self.metrics.transition(&transition.event);
        }
    }

    fn scrape(&self, at: Duration) -> String {
        let publication = self.publisher.subscribe().borrow().clone();
        let unit_series = UnitSeries { max_troubled: 1_000, ..UnitSeries::default() };
        let scrape = Scrape {
            publication: &publication,
            clients: 2,
            unit_series: &unit_series,
            now: self.start + at,
        };
        self.metrics.encode(MetricsFormat::Prometheus, scrape)
    }
}

impl Scrapes {
    /// The times of the scrapes, in seconds.
    pub fn times(&self) -> impl Iterator<Item = u64> {
        (0..self.count as u64).map(|index| index * INTERVAL)
    }

    fn add(&mut self, text: &str) {
        self.push("up", 1.0);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let value = value.parse().expect("a number");

            self.push(series, value);
        }
        self.count += 1;
    }

    fn push(&mut self, series: &str, value: f64) {
        const TARGET: &str = r#"job="fleet-monitor",instance="core-01:8989""#;
        let name = match series.split_once('{') {
            Some((name, labels)) => format!("{name}{{{TARGET},{labels}"),
            None => format!("{series}{{{TARGET}}}"),
        };

        let values = self.series.entry(name).or_default();
        values.resize(self.count, None);
        values.push(Some(value));
    }

    /// The series as `promtool test rules` reads them. One that is not there any more is stale from
    /// then on, as Prometheus marks it after a scrape.
    pub fn input_series(&self) -> String {
        let mut text = String::new();
        for (name, values) in &self.series {
            let mut written = String::new();
            let mut was_there = false;
            for index in 0..self.count {
                let value = values.get(index).copied().flatten();
                match (value, was_there) {
                    (Some(value), _) => write!(written, "{value} "),
                    (None, true) => write!(written, "stale "),
                    (None, false) => write!(written, "_ "),
                }
                .expect("written");
                was_there = value.is_some();
            }

            let name = serde_json::to_string(name).expect("a string");
            writeln!(text, "      - series: {name}\n        values: '{}'", written.trim_end())
                .expect("written");
        }
        text
    }
}
