//! The metrics.
//!
//! It must not know which module counts something, nor who requests the metrics. Events are counted
//! when they happen. The state of the cluster is computed from the publication when the metrics are
//! requested (`gauges`), so that polls cost nothing more and all values belong to one moment.

mod drop_reason;
mod family;
mod format;
mod gauges;
mod journal_outcome;
mod notifications;
mod process;
mod unit_file_outcome;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use wildmatch::WildMatch;

use crate::cluster::{Event, FleetList, Moment};
use crate::feed::Publication;
pub use drop_reason::DropReason;
use family::{LabeledFamily, PairFamily};
pub use format::MetricsFormat;
pub(crate) use journal_outcome::JournalOutcome;
pub(crate) use notifications::{NotificationOutcome, Receiver, WaitingGauge};
use process::ProcessStart;
pub use unit_file_outcome::UnitFileOutcome;

/// The buckets of the poll durations, in seconds: from a fast response over a socket to beyond the
/// default timeout of 10 s.
const DURATIONS: [f64; 13] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0];

/// Values of the label `to`: the queues in front of slow readers, which drop entries when full.
const LOG: &str = "log";
const RECORDING: &str = "recording";

/// Values of the label `outcome`: whether a reader of a log got a line.
const SENT: &str = "sent";
const MISSED: &str = "missed";

/// A time or a duration in seconds.
type SecondsGauge = Gauge<f64, AtomicU64>;

/// The metrics that are collected since the start of the program.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    transitions: LabeledFamily<Counter>,
    poll_duration: LabeledFamily<Histogram>,
    poll_failures: LabeledFamily<Counter>,
    registry_differences: Counter,
    history_merged: Counter,
    poll_last_success: LabeledFamily<SecondsGauge>,
    frames_sent: Counter,
    bytes_sent: Counter,
    writes_dropped: LabeledFamily<Counter>,
    clients_dropped: LabeledFamily<Counter>,
    tls_handshakes_failed: Counter,
    journal_requests: LabeledFamily<Counter>,
    log_lines: LabeledFamily<Counter>,
    log_streams: Gauge,
    unit_file_requests: LabeledFamily<Counter>,
    notifications: PairFamily<Counter>,
    notifications_waiting: LabeledFamily<Gauge>,
    process_start: ProcessStart,
}

/// Which units have series of their own.
#[derive(Clone, Debug, Default)]
pub struct UnitSeries {
    /// Globs that select units by name, for the metric of their states.
    pub selected: Vec<WildMatch>,
    /// How many of the units whose verdict is not `ok` are named, the worst first.
    pub max_troubled: usize,
}

/// What is to be shown of the present, besides what has been counted.
#[derive(Clone, Copy, Debug)]
pub struct Scrape<'a> {
    /// The cluster and the source.
    pub publication: &'a Publication,
    /// The number of connected clients.
    pub clients: usize,
    /// Which units are named.
    pub unit_series: &'a UnitSeries,
    /// The present.
    pub now: Moment,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Self {
        let lists = || FleetList::ALL.map(FleetList::name);
        let histogram = || Histogram::new(DURATIONS);

        let mut metrics = Self {
            registry: Registry::with_prefix("fleet_monitor"),
            transitions: LabeledFamily::with_series("event", Event::NAMES, Counter::default),
            poll_duration: LabeledFamily::with_series("topic", lists(), histogram),
            poll_failures: LabeledFamily::with_series("topic", lists(), Counter::default),
            registry_differences: Counter::default(),
            history_merged: Counter::default(),
            poll_last_success: LabeledFamily::new("topic", SecondsGauge::default),
            frames_sent: Counter::default(),
            bytes_sent: Counter::default(),
            writes_dropped: LabeledFamily::with_series("to", [LOG, RECORDING], Counter::default),
            tls_handshakes_failed: Counter::default(),
            clients_dropped: LabeledFamily::with_series(
                "reason",
                DropReason::ALL.map(DropReason::name),
                Counter::default,
            ),
            journal_requests: LabeledFamily::with_series(
                "outcome",
                JournalOutcome::ALL.map(JournalOutcome::name),
                Counter::default,
            ),
            log_lines: LabeledFamily::with_series("outcome", [SENT, MISSED], Counter::default),
            log_streams: Gauge::default(),
            unit_file_requests: LabeledFamily::with_series(
                "outcome",
                UnitFileOutcome::ALL.map(UnitFileOutcome::name),
                Counter::default,
            ),
            notifications: PairFamily::new(
                ["to", "outcome"],
                notifications::all_pairs(),
                Counter::default,
            ),
            notifications_waiting: LabeledFamily::with_series(
                "to",
                Receiver::ALL.map(Receiver::name),
                Gauge::default,
            ),
            process_start: ProcessStart::read(),
        };

        metrics.register();
        metrics
    }

    /// Registers each family with its help text.
    fn register(&mut self) {
        let registry = &mut self.registry;

        registry.register("transitions", "What happened in the cluster", self.transitions.clone());
        registry.register_with_unit(
            "poll_duration",
            "How long the source took to answer, or to fail",
            Unit::Seconds,
            self.poll_duration.clone(),
        );
        registry.register("poll_failures", "Polls that failed", self.poll_failures.clone());
        registry.register_with_unit(
            "poll_last_success_timestamp",
            "When a poll last succeeded, in seconds since 1970",
            Unit::Seconds,
            self.poll_last_success.clone(),
        );
        registry.register(
            "registry_differences",
            "Keys that differed from the watched state when the registry was read again",
            self.registry_differences.clone(),
        );
        registry.register(
            "history_merged_events",
            "Events that another monitor has seen, and this one had not",
            self.history_merged.clone(),
        );
        registry.register("frames_sent", "Messages sent to clients", self.frames_sent.clone());
        registry.register(
            "bytes_sent",
            "Bytes of messages sent to clients, with what frames them",
            self.bytes_sent.clone(),
        );
        registry.register(
            "writes_dropped",
            "Lines of the log and polls of a recording that were dropped because the reader was \
             too slow",
            self.writes_dropped.clone(),
        );
        registry.register(
            "tls_handshakes_failed",
            "Connections that ended before a TLS handshake was complete",
            self.tls_handshakes_failed.clone(),
        );
        registry.register(
            "clients_dropped",
            "Clients that left or were refused",
            self.clients_dropped.clone(),
        );
        registry.register(
            "unit_file_requests",
            "Requests for unit files, by what became of them",
            self.unit_file_requests.clone(),
        );

        registry.register(
            "journal_requests",
            "Requests for the journal of a machine, which readers of logs have caused",
            self.journal_requests.clone(),
        );
        registry.register(
            "log_lines",
            "Lines of logs that readers were sent, or missed because they or the limits are slower \
             than the unit",
            self.log_lines.clone(),
        );
        registry.register("log_streams", "Readers of logs", self.log_streams.clone());

        registry.register(
            "notifications",
            "Alerts and events in requests to those who are informed of problems",
            self.notifications.clone(),
        );
        registry.register(
            "notifications_waiting",
            "Alerts and events that have not been accepted yet",
            self.notifications_waiting.clone(),
        );

        let build = LabeledFamily::<Gauge>::new("version", Gauge::default);
        build.get(env!("CARGO_PKG_VERSION")).set(1);
        registry.register("build_info", "The version of this program; always 1", build);
    }

    /// Counts a poll that ended at `at`. If `took` is zero, no single request led to the report, as
    /// with the changes of a watch. Then no duration is recorded.
    pub fn polled(&self, list: FleetList, took: Duration, succeeded: bool, at: SystemTime) {
        let list = list.name();

        if !took.is_zero() {
            self.poll_duration.get(list).observe(took.as_secs_f64());
        }
        if succeeded {
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            self.poll_last_success.get(list).set(at.as_secs_f64());
        } else {
            self.poll_failures.get(list).inc();
        }
    }

    /// Counts keys that differed from the watched state when etcd's registry was read again.
    pub fn checked(&self, differences: usize) {
        self.registry_differences.inc_by(differences as u64);
    }

    /// Counts events that were learned from another monitor.
    pub(crate) fn history_merged(&self, events: usize) {
        self.history_merged.inc_by(events as u64);
    }

    /// Sets how many lines of the log have been dropped so far.
    pub fn log_lines_dropped(&self, so_far: u64) {
        let dropped = self.writes_dropped.get(LOG);
        dropped.inc_by(so_far.saturating_sub(dropped.get()));
    }

    /// Counts polls that are missing from the recording.
    pub fn recorded_polls_dropped(&self, polls: u64) {
        self.writes_dropped.get(RECORDING).inc_by(polls);
    }

    /// Counts an event of a unit, a machine or the source.
    pub fn transition(&self, event: &Event) {
        self.transitions.get(event.name()).inc();
    }

    /// Counts messages to one client. `bytes` is their size on the wire, including framing.
    pub fn sent(&self, messages: usize, bytes: usize) {
        self.frames_sent.inc_by(messages as u64);
        self.bytes_sent.inc_by(bytes as u64);
    }

    /// Counts a connection on which a TLS handshake began, or was awaited, and failed.
    pub fn tls_handshake_failed(&self) {
        self.tls_handshakes_failed.inc();
    }

    /// Counts a client that is no longer connected, or was refused.
    pub fn client_dropped(&self, reason: DropReason) {
        self.clients_dropped.get(reason.name()).inc();
    }

    /// Counts a request for the journal of a machine.
    pub(crate) fn journal_request(&self, outcome: JournalOutcome) {
        self.journal_requests.get(outcome.name()).inc();
    }

    /// Counts a request for a unit file.
    pub fn unit_file_requested(&self, outcome: UnitFileOutcome) {
        self.unit_file_requests.get(outcome.name()).inc();
    }

    /// Counts lines of a log for one reader.
    pub(crate) fn log_lines(&self, sent: u64, missed: u64) {
        self.log_lines.get(SENT).inc_by(sent);
        self.log_lines.get(MISSED).inc_by(missed);
    }

    /// The number of readers of logs.
    pub(crate) fn log_streams(&self) -> &Gauge {
        &self.log_streams
    }

    /// Counts alerts or events for a receiver.
    pub(crate) fn notified(&self, to: Receiver, outcome: NotificationOutcome, count: usize) {
        self.notifications
            .get([to.name(), outcome.name()])
            .inc_by(count as u64);
    }

    /// The number of alerts or events that wait for a receiver, of which the caller knows a part.
    pub(crate) fn notifications_waiting(&self, to: Receiver) -> WaitingGauge {
        WaitingGauge::new(self.notifications_waiting.get(to.name()))
    }

    /// All metrics as text. Series are in the same order each time.
    pub fn encode(&self, format: MetricsFormat, scrape: Scrape) -> String {
        let openmetrics = self
            .encode_openmetrics(scrape)
            .expect("writing to a String does not fail, nor do these metrics");

        match format {
            MetricsFormat::OpenMetrics => openmetrics,
            MetricsFormat::Prometheus => format::to_prometheus(&openmetrics),
        }
    }

    fn encode_openmetrics(&self, scrape: Scrape) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &gauges::cluster(scrape.publication, scrape.unit_series))?;
        encode_registry(&mut text, &gauges::program(scrape))?;
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &process::process(&self.process_start))?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}
