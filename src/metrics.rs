//! The metric families, all in one place.
//!
//! What happens is counted as it happens. What the cluster is, is computed from the publication
//! when somebody asks, so that no poll pays for it and the numbers always fit together.
//!
//! This module knows what is counted, not who counts or who asks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};
use wildmatch::WildMatch;

use crate::cluster::{Event, FleetList, Moment, Verdict};
use crate::feed::Publication;

/// systemd's active states (`org.freedesktop.systemd1(5)`), which are there even while no unit has
/// them.
const ACTIVE_STATES: [&str; 6] =
    ["active", "reloading", "inactive", "failed", "activating", "deactivating"];

/// The bounds of the poll durations, in seconds: from a fast answer over a socket to beyond the
/// default deadline of 10 s.
const DURATIONS: [f64; 13] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0];

/// What may not be written as fast as there is something to write.
const LOG: &str = "log";
const RECORDING: &str = "recording";

/// Why a client is not there any more, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It went away by itself.
    Closed,
    /// It did not take a message in time.
    Slow,
    /// It answered no ping in time.
    Silent,
    /// It sent too many messages.
    RateLimitExceeded,
    /// It sent too large a message.
    Oversized,
    /// It broke the WebSocket protocol.
    Protocol,
    /// The server was stopped.
    Shutdown,
    /// It was refused, as there were as many clients as the options allow.
    Refused,
    /// Its connection was closed unheard, as there were too many connections of all kinds.
    OverBudget,
}

impl Dropped {
    /// All reasons.
    pub const ALL: [Dropped; 9] = [
        Dropped::Closed,
        Dropped::Slow,
        Dropped::Silent,
        Dropped::RateLimitExceeded,
        Dropped::Oversized,
        Dropped::Protocol,
        Dropped::Shutdown,
        Dropped::Refused,
        Dropped::OverBudget,
    ];

    /// The name as a label.
    pub fn name(self) -> &'static str {
        match self {
            Dropped::Closed => "closed",
            Dropped::Slow => "slow",
            Dropped::Silent => "silent",
            Dropped::RateLimitExceeded => "flood",
            Dropped::Oversized => "oversized",
            Dropped::Protocol => "protocol",
            Dropped::Shutdown => "shutdown",
            Dropped::Refused => "refused",
            Dropped::OverBudget => "crowded",
        }
    }
}

/// A text form of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4, for what does not ask for OpenMetrics.
    Prometheus,
}

impl Format {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A family with one label, whose values are names.
type ByName<M> = Family<[(&'static str, &'static str); 1], M, fn() -> M>;
type Seconds = Gauge<f64, AtomicU64>;

/// What has been counted since the start.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    transitions: ByName<Counter>,
    poll_duration: ByName<Histogram>,
    poll_failures: ByName<Counter>,
    registry_differences: Counter,
    poll_last_success: ByName<Seconds>,
    frames_sent: Counter,
    bytes_sent: Counter,
    writes_dropped: ByName<Counter>,
    dropped: ByName<Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("fleet_monitor"),
            transitions: ByName::new_with_constructor(Counter::default),
            poll_duration: ByName::new_with_constructor(|| Histogram::new(DURATIONS)),
            poll_failures: ByName::new_with_constructor(Counter::default),
            registry_differences: Counter::default(),
            poll_last_success: ByName::new_with_constructor(Seconds::default),
            frames_sent: Counter::default(),
            bytes_sent: Counter::default(),
            writes_dropped: ByName::new_with_constructor(Counter::default),
            dropped: ByName::new_with_constructor(Counter::default),
        };
        // A counter that is there from the start shows its first increase.
        for event in Event::NAMES {
            drop(metrics.transitions.get_or_create(&[("event", event)]));
        }
        for topic in FleetList::ALL {
            drop(metrics.poll_duration.get_or_create(&[("topic", topic.name())]));
            drop(metrics.poll_failures.get_or_create(&[("topic", topic.name())]));
        }
        for to in [LOG, RECORDING] {
            drop(metrics.writes_dropped.get_or_create(&[("to", to)]));
        }
        for reason in Dropped::ALL {
            drop(metrics.dropped.get_or_create(&[("reason", reason.name())]));
        }

        let registry = &mut metrics.registry;
        registry.register(
            "transitions",
            "What happened in the cluster",
            metrics.transitions.clone(),
        );
        registry.register_with_unit(
            "poll_duration",
            "How long the source took to answer, or to fail",
            Unit::Seconds,
            metrics.poll_duration.clone(),
        );
        registry.register("poll_failures", "Polls that failed", metrics.poll_failures.clone());
        registry.register_with_unit(
            "poll_last_success_timestamp",
            "When a poll last succeeded, in seconds since 1970",
            Unit::Seconds,
            metrics.poll_last_success.clone(),
        );
        registry.register(
            "registry_differences",
            "Keys of etcd that were not as the watch of them had said",
            metrics.registry_differences.clone(),
        );
        registry.register("frames_sent", "Messages sent to clients", metrics.frames_sent.clone());
        registry.register(
            "bytes_sent",
            "Bytes of messages sent to clients, with what frames them",
            metrics.bytes_sent.clone(),
        );
        registry.register(
            "writes_dropped",
            "Lines of the log and polls of a recording that were dropped, as whoever takes them did not",
            metrics.writes_dropped.clone(),
        );
        registry.register(
            "clients_dropped",
            "Clients that left or were refused",
            metrics.dropped.clone(),
        );
        let build = ByName::<Gauge>::new_with_constructor(Gauge::default);
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("build_info", "The version of this program; always 1", build);
        metrics
    }

    /// Counts a poll. What was told without being asked for took no time, and has no duration.
    pub fn polled(&self, topic: FleetList, took: Duration, succeeded: bool, at: SystemTime) {
        let topic = [("topic", topic.name())];
        if !took.is_zero() {
            self.poll_duration.get_or_create(&topic).observe(took.as_secs_f64());
        }
        if succeeded {
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            self.poll_last_success.get_or_create(&topic).set(at.as_secs_f64());
        } else {
            self.poll_failures.get_or_create(&topic).inc();
        }
    }

    /// Counts the differences that a comparison with the whole registry has found.
    pub fn checked(&self, differences: usize) {
        self.registry_differences.inc_by(differences as u64);
    }

    /// Takes note of how many lines of the log have been dropped so far.
    pub fn log_lines_dropped(&self, so_far: u64) {
        let dropped = self.writes_dropped.get_or_create(&[("to", LOG)]);
        dropped.inc_by(so_far.saturating_sub(dropped.get()));
    }

    /// Counts a poll that the recording lacks.
    pub fn recorded_poll_dropped(&self) {
        self.writes_dropped.get_or_create(&[("to", RECORDING)]).inc();
    }

    /// Counts something that happened.
    pub fn transition(&self, event: &Event) {
        self.transitions.get_or_create(&[("event", event.name())]).inc();
    }

    /// Counts messages to one client, together `bytes` long with what frames them.
    pub fn sent(&self, messages: usize, bytes: usize) {
        self.frames_sent.inc_by(messages as u64);
        self.bytes_sent.inc_by(bytes as u64);
    }

    /// Counts a client that is not there any more.
    pub fn client_dropped(&self, reason: Dropped) {
        self.dropped.get_or_create(&[("reason", reason.name())]).inc();
    }

    /// All metrics as text. Units that match one of the globs `units` (`*`, `?`) have a series of
    /// their own.
    pub fn encode(
        &self,
        format: Format,
        publication: &Publication,
        clients: usize,
        units: &[String],
    ) -> String {
        let openmetrics = self
            .encode_openmetrics(publication, clients, units)
            // Writing to a String does not fail, and no other error is raised by the metrics used
            // here.
            .expect("metrics are encoded to memory");
        match format {
            Format::OpenMetrics => openmetrics,
            Format::Prometheus => to_prometheus(&openmetrics),
        }
    }

    fn encode_openmetrics(
        &self,
        publication: &Publication,
        clients: usize,
        units: &[String],
    ) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &cluster(publication, units))?;
        encode_registry(&mut text, &state(publication, clients))?;
        encode_registry(&mut text, &self.registry)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// The families that are about the cluster. What has not been read yet is not there.
fn cluster(publication: &Publication, globs: &[String]) -> Registry {
    let globs: Vec<WildMatch> = globs.iter().map(|glob| WildMatch::new(glob)).collect();
    let mut registry = Registry::with_prefix("fleet");
    if publication.unit_list.is_some() {
        let mut states: BTreeMap<&str, i64> = ACTIVE_STATES.map(|state| (state, 0)).into();
        let mut verdicts: BTreeMap<&str, i64> =
            Verdict::ALL.map(|verdict| (verdict.name(), 0)).into();
        let single = Family::<Vec<(&'static str, String)>, Gauge>::default();
        for unit in publication.view.units.iter() {
            let state = &unit.state;
            *states.entry(state.active.as_deref().unwrap_or("none")).or_default() += 1;
            *verdicts.entry(unit.verdict.name()).or_default() += 1;
            if globs.iter().any(|glob| glob.matches(&state.unit)) {
                // A series for each state, so that a unit that flaps has no more of them than one
                // that does not.
                for active in ACTIVE_STATES {
                    let labels = vec![
                        ("unit", state.unit.to_string()),
                        ("machine", state.machine.as_deref().unwrap_or("none").to_owned()),
                        ("active_state", active.to_owned()),
                    ];
                    single
                        .get_or_create(&labels)
                        .set((state.active.as_deref() == Some(active)).into());
                }
            }
        }
        registry.register(
            "units",
            "Units by systemd's active state; none: not reported",
            gauges("active_state", states),
        );
        registry.register(
            "unit_verdicts",
            "Units by what is judged of them",
            gauges("verdict", verdicts),
        );
        registry.register(
            "unit_state",
            "Whether each unit that --metrics-units selects is in each of systemd's active states",
            single,
        );
    }
    if publication.machine_list.is_some() {
        let machines = &publication.view.machines;
        let lost = machines.iter().filter(|member| member.lost_since.is_some()).count();
        let machines = [("present", (machines.len() - lost) as i64), ("lost", lost as i64)];
        registry.register(
            "machines",
            "Machines in the cluster, and those that left it",
            gauges("state", machines),
        );
    }
    registry
}

/// The families that are about this program, but are not counted here.
fn state(publication: &Publication, clients: usize) -> Registry {
    let mut registry = Registry::with_prefix("fleet_monitor");
    let held_back = Counter::<u64>::default();
    held_back.inc_by(publication.health.held_back);
    registry.register(
        "disappearances_held_back",
        "Rows that fleet's list did not have although they had not gone",
        held_back,
    );
    let health = &publication.health;
    let ready = Gauge::<i64>::default();
    ready.set((health.ready() && health.overdue(Moment::now()).is_none()).into());
    registry.register("ready", "Whether the data can be relied on, as /readyz says", ready);
    let connected = Gauge::<i64>::default();
    connected.set(clients as i64);
    registry.register(
        "clients",
        "Clients that are connected: WebSockets and event streams",
        connected,
    );
    registry
}

fn gauges<'a>(
    label: &'static str,
    values: impl IntoIterator<Item = (&'a str, i64)>,
) -> impl Metric {
    let family = Family::<Vec<(&'static str, String)>, Gauge>::default();
    for (name, value) in values {
        family.get_or_create(&vec![(label, name.to_owned())]).set(value);
    }
    family
}

/// OpenMetrics in the older text format, where a counter's family is named with its `_total`, and
/// which knows neither units nor an end mark.
fn to_prometheus(openmetrics: &str) -> String {
    let counters: Vec<&str> = openmetrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        let line = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(keyword @ ("HELP" | "TYPE")), Some(name), Some(rest))
                if counters.contains(&name) =>
            {
                &format!("# {keyword} {name}_total {rest}")
            }
            (Some("#"), Some("UNIT" | "EOF"), ..) => continue,
            _ => line,
        };
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_counters_with_their_suffix() {
        let openmetrics = "# HELP a_b Text of a_b.\n# TYPE a_b counter\na_b_total{x=\"y z\"} 1\n# HELP s S.\n\
                           # TYPE s gauge\n# UNIT s seconds\ns 2\n# EOF\n";
        let prometheus = "# HELP a_b_total Text of a_b.\n# TYPE a_b_total counter\na_b_total{x=\"y z\"} 1\n# HELP s S.\n\
                          # TYPE s gauge\ns 2\n";
        assert_eq!(to_prometheus(openmetrics), prometheus);
    }
}
