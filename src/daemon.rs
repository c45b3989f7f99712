//! The only place where all parts meet.
//!
//! One task reads the source, has the cluster judge what it says, and publishes; it also answers signals and tells
//! systemd how things are, so that the watchdog sees it when any of that is stuck. The server's tasks run beside it and
//! see publications alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::cli::Cli;
use crate::cluster::{Cluster, Moment, Topic, Transition, Verdict};
use crate::config::{self, Config, SourceChoice};
use crate::feed::{self, News, Publisher, SourceInfo};
use crate::lifecycle::{ServiceManager, Signal, Signals};
use crate::metrics::Metrics;
use crate::server::access::{Policy, Token};
use crate::server::listen::{ListenError, OpenFiles, listen};
use crate::server::{self, Server, Timing};
use crate::source::api::{Address, Api};
use crate::source::etcd::error::EtcdErrors;
use crate::source::etcd::{self, Etcd, Tls};
use crate::source::fleetctl::{self, Connection, Fleetctl};
use crate::source::polled::{Polled, Schedule};
use crate::source::recording::Recorder;
use crate::source::replay::Replay;
use crate::source::{Report, Said, Source, SourceError};
use crate::telemetry::{self, Log};

/// How often the status line is made anew.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How long an etcd is asked what it is before it is watched.
const PROBE: Duration = Duration::from_secs(2);
/// How long children and clients are waited for at the end; together less than the 5 s that are promised.
const STOP_SOURCE: Duration = Duration::from_secs(1);
const DRAIN: Duration = Duration::from_secs(3);

/// Why the program ends, other than being told to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What it was told to do cannot be done.
    #[error("{0}")]
    Config(String),
    /// The system does not let it.
    #[error("{0}")]
    System(String),
}

/// Runs until a signal ends it.
///
/// # Errors
///
/// When there is nothing to watch, nowhere to listen, or the source turns out to be unusable at the beginning.
pub async fn run(cli: &Cli, environment: &BTreeMap<String, String>, config: Config, log: Log) -> Result<(), Failure> {
    let mut signals =
        Signals::listen().map_err(|error| Failure::System(format!("cannot listen to signals: {error}")))?;
    let mut service = ServiceManager::from_environment();
    let (choice, why) = Choice::of(&config).await;
    let source = choice.open(&config)?;
    let files = OpenFiles::raise();
    let settings = server_settings(&config, files)?;
    let recorder = open_recorder(config.record.as_deref())?;
    let listeners = listen(config.bind, config.port).map_err(|error| match error {
        ListenError::Bind { .. } => Failure::System(error.to_string()),
        // As wrong as it is now, it is passed again at the next start.
        ListenError::Passed { .. } => Failure::Config(error.to_string()),
    })?;

    let stop = CancellationToken::new();
    let metrics = Arc::new(Metrics::new());
    let epoch = format!("{:016x}", fastrand::u64(..));
    let publisher = Publisher::new(feed_settings(&config), &epoch, SourceInfo::default());
    let server = Server::new(settings, Timing::default(), publisher.subscribe(), metrics.clone(), stop.clone());

    info!("fleet-monitor {}: {why}", env!("CARGO_PKG_VERSION"));
    match files.shortage(config.max_clients) {
        Some(shortage) => warn!("{shortage}"),
        None => info!("{files}"),
    }
    let mut accepting = JoinSet::new();
    for listener in listeners {
        info!("listening on {listener}");
        let server = server.clone();
        accepting.spawn(async move { server.serve(listener).await });
    }

    let mut daemon = Daemon {
        cluster: Cluster::new(config.grace),
        source: source(),
        choice,
        config,
        log,
        publisher,
        server,
        files,
        metrics,
        recorder,
        proved: false,
        began: false,
    };
    daemon.name_source();
    service.status(&daemon.status());
    service.ready();
    let ended = tokio::select! {
        ended = daemon.watch(cli, environment, &mut signals, &mut service) => ended,
        Some(Err(error)) = accepting.join_next() => Err(Failure::System(format!("no client can come any more: {error}"))),
    };

    service.stopping();
    stop.cancel();
    if timeout(STOP_SOURCE, daemon.source.stop()).await.is_err() {
        warn!("the source did not stop in time");
    }
    let left = daemon.server.drain(DRAIN).await;
    if left > 0 {
        warn!("{left} connections did not close in time");
    }
    ended
}

struct Daemon {
    config: Config,
    log: Log,
    cluster: Cluster,
    publisher: Publisher,
    server: Server,
    files: OpenFiles,
    metrics: Arc<Metrics>,
    source: Source,
    choice: Choice,
    recorder: Option<Recorder>,
    /// Whether the source has shown that it can be used.
    proved: bool,
    /// Whether everything has been read once.
    began: bool,
}

impl Daemon {
    async fn watch(
        &mut self,
        cli: &Cli,
        environment: &BTreeMap<String, String>,
        signals: &mut Signals,
        service: &mut ServiceManager,
    ) -> Result<(), Failure> {
        let mut status = interval(STATUS_INTERVAL);
        let mut watchdog = interval(service.watchdog_interval().unwrap_or(Duration::from_secs(86_400)));
        for ticks in [&mut status, &mut watchdog] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                said = self.source.next() => self.hear(said)?,
                signal = signals.next() => match signal {
                    Signal::Stop(name) => {
                        info!("{name}: stopping");
                        return Ok(());
                    }
                    Signal::Reload => {
                        service.reloading();
                        self.reload(cli, environment).await;
                        service.ready();
                    }
                },
                _ = status.tick() => service.status(&self.status()),
                _ = watchdog.tick(), if service.watchdog_interval().is_some() => {
                    // It watches us, not fleet: a source that fails keeps its word as well as one that succeeds.
                    if self.source.promise().is_kept() {
                        service.alive();
                    } else {
                        error!("the source is stuck: systemd's watchdog will act unless it moves again");
                    }
                }
            }
        }
    }

    fn hear(&mut self, said: Said) -> Result<(), Failure> {
        self.name_source();
        match said {
            Said::Report(report) => self.take(report)?,
            // What was there stays to be seen until the recording has said something.
            Said::Began => self.cluster.forget(),
            Said::Checked { differences } => self.metrics.checked(differences),
            Said::Ended => info!("the recording is over; what it showed last stays"),
        }
        Ok(())
    }

    fn take(&mut self, report: Report) -> Result<(), Failure> {
        self.record(&report);
        let Report { topics, at, took, outcome } = report;
        for topic in topics {
            self.metrics.polled(*topic, took, outcome.is_ok(), at.wall);
        }
        let (transitions, read) = match outcome {
            Ok(reading) => (self.cluster.read(reading, at, took), topics),
            Err(error) if error.is_unusable() && !self.proved => return Err(Failure::Config(error.to_string())),
            Err(error) => {
                debug!("the {} cannot be read: {error}", listed(topics));
                (self.cluster.fail(topics, &one_line(&error), at), &[][..])
            }
        };
        self.proved = true;
        self.publish(&transitions, read);
        if !self.began && self.cluster.health().ready() {
            self.began = true;
            info!("first reading: {}", self.status());
            self.tell_what_is_wrong();
        }
        Ok(())
    }

    fn publish(&mut self, transitions: &[Arc<Transition>], read: &[Topic]) {
        if self.source.is_recording()
            && self.cluster.health().topic(Topic::Units).read.is_none()
            && transitions.is_empty()
        {
            return;
        }
        let (view, health) = (self.cluster.view(), self.cluster.health());
        let change = Some(self.cluster.change());
        self.publisher.publish(News { view, health, transitions, change, read, now: Moment::now() });
        // Told last, so that whoever reads the journal and then looks sees what it says.
        for transition in transitions {
            self.metrics.transition(&transition.event);
            telemetry::tell(transition);
        }
    }

    /// What was wrong when watching began is no transition, but belongs in the journal.
    fn tell_what_is_wrong(&self) {
        for unit in self.cluster.view().units.iter().filter(|unit| unit.verdict != Verdict::Ok) {
            let (machine, ip) = (unit.state.machine.as_deref(), unit.state.ip.as_deref());
            warn!(
                fleet_unit = &*unit.state.unit,
                fleet_machine = machine,
                fleet_ip = ip,
                "{}{} is {}: {}",
                unit.state.unit,
                ip.or(machine).map(|place| format!(" on {place}")).unwrap_or_default(),
                unit.verdict,
                unit.reason
            );
        }
    }

    fn record(&mut self, report: &Report) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.write(report, &self.source.name())
        {
            error!("recording ends here, the rest goes on: cannot write: {error}");
            self.recorder = None;
        }
    }

    fn name_source(&mut self) {
        let (recording, ended) = (self.source.is_recording(), self.source.has_ended());
        self.publisher.name_source(SourceInfo { name: self.source.name(), recording, ended }, Moment::now());
    }

    fn status(&self) -> String {
        feed::status_line(&self.publisher.last(), self.server.clients())
    }

    /// Reads the configuration again. A bad one is refused as a whole, and the old one stays in force.
    async fn reload(&mut self, cli: &Cli, environment: &BTreeMap<String, String>) {
        match self.prepare(cli, environment).await {
            Ok(next) => self.take_over(next).await,
            Err(error) => {
                for line in error.to_string().lines() {
                    error!("the configuration was not taken into use, the old one stays: {line}");
                }
            }
        }
    }

    async fn prepare(&self, cli: &Cli, environment: &BTreeMap<String, String>) -> Result<Next, Failure> {
        let (config, _) = config::load(cli, environment).map_err(|errors| Failure::Config(errors.to_string()))?;
        let settings = server_settings(&config, self.files)?;
        let (choice, why) = Choice::of(&config).await;
        // What is in the files may have changed.
        let has_files = |it: &etcd::Settings| it.tls != Tls::default() || it.login.is_some();
        let same_choice = choice == self.choice && !matches!(&choice, Choice::Etcd(it) if has_files(it));
        let same_source = same_choice && schedule(&config) == schedule(&self.config);
        let source = if same_source { None } else { Some((choice.open(&config)?, why)) };
        let recorder = open_recorder(config.record.as_deref())?;
        Ok(Next { config, settings, choice, source, recorder })
    }

    async fn take_over(&mut self, next: Next) {
        if let Some((source, why)) = next.source {
            // The old source is stopped before the new one starts: polls of one topic never overlap.
            self.source.stop().await;
            self.source = source();
            info!("{why}");
        }
        if !next.choice.is_of_same_cluster(&self.choice) {
            self.cluster.forget();
            self.began = false;
        }
        self.proved = true;
        self.choice = next.choice;
        self.recorder = next.recorder;
        self.cluster.set_retention(next.config.grace.into());
        self.publisher.set(feed_settings(&next.config));
        self.server.set(next.settings);
        self.name_source();
        self.publish(&[], &[]);
        if next.config.log != self.config.log
            && let Err(error) = self.log.set_filter(&next.config.log)
        {
            error!("{error}");
        }
        for option in fixed_options_that_differ(&self.config, &next.config) {
            warn!("the new {option} is taken into use at the next start only");
        }
        self.config = next.config;
        info!("the configuration was read again");
    }
}

/// What cannot be changed without a restart, and was.
fn fixed_options_that_differ(old: &Config, new: &Config) -> impl Iterator<Item = &'static str> {
    let differ = [("port", old.port != new.port), ("bind", old.bind != new.bind), ("log_to", old.log_to != new.log_to)];
    differ.into_iter().filter(|(_, differs)| *differs).map(|(option, _)| option)
}

/// All that a reload will change, made before anything is changed.
struct Next {
    config: Config,
    settings: server::Settings,
    choice: Choice,
    source: Option<(Start, String)>,
    recorder: Option<Recorder>,
}

fn listed(topics: &[Topic]) -> String {
    topics.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An error as one line that is not too long for a status: part of it may be what somebody else said.
fn one_line(error: &SourceError) -> String {
    const LONGEST: usize = 600;
    let text = error.to_string();
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(LONGEST).collect()
}

/// What to watch.
#[derive(Clone, Debug, PartialEq)]
enum Choice {
    Demo { speed: f64 },
    Replay { path: PathBuf, speed: f64 },
    Api(Address),
    Etcd(etcd::Settings),
    Fleetctl { command: String, connection: Connection },
}

/// Starts a source that was found to be usable.
type Start = Box<dyn FnOnce() -> Source + Send>;

impl Choice {
    /// What the configuration asks for, and why it is that.
    async fn of(config: &Config) -> (Self, String) {
        let speed = config.replay_speed;
        if config.demo {
            let why = "playing the recording that is built in, again and again (--demo)";
            return (Choice::Demo { speed }, why.to_owned());
        }
        if let Some(path) = config.replay.clone() {
            let why = format!("playing the recording {}", path.display());
            return (Choice::Replay { path, speed }, why);
        }
        let asked = "as was asked for";
        let mut not_etcd = None;
        if let Some(settings) = config.etcd(credentials().as_deref()) {
            let members = settings.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let speaks = if config.source == SourceChoice::Etcd { Ok(asked) } else { speaks_v2(&settings).await };
            match speaks {
                Ok(why) => {
                    return (Choice::Etcd(settings), format!("watching fleet's registry in etcd at {members}: {why}"));
                }
                Err(error) => not_etcd = Some(format!("{asked} (-e), and not watching etcd itself: {error}")),
            }
        }
        let socket_is_there = matches!(&config.api, Address::Unix(path) if path.exists());
        let (use_api, why) = match config.source {
            SourceChoice::Api => (true, asked.to_owned()),
            SourceChoice::Fleetctl => (false, asked.to_owned()),
            _ if config.asks_for_fleetctl() => (false, not_etcd.unwrap_or(format!("{asked} (-c, -e or -t)"))),
            _ if socket_is_there => (true, "its socket is there, and nothing asks for fleetctl".to_owned()),
            _ => (false, format!("there is no {}", config.api)),
        };
        if use_api {
            let why = format!("reading fleet's HTTP API at {}: {why}", config.api);
            return (Choice::Api(config.api.clone()), why);
        }
        let command = config.fleetctl.clone().unwrap_or_else(|| "fleetctl".to_owned());
        let why = format!("reading fleet through {command}: {why}");
        (Choice::Fleetctl { command, connection: config.connection.clone() }, why)
    }

    /// Whether it leads to the same cluster as another does, in the same way.
    fn is_of_same_cluster(&self, other: &Self) -> bool {
        match (self, other) {
            (Choice::Etcd(one), Choice::Etcd(two)) => {
                one.prefix == two.prefix && one.endpoints.iter().any(|member| two.endpoints.contains(member))
            }
            _ => self == other,
        }
    }

    /// Finds what is needed for it. Nothing is started yet.
    fn open(&self, config: &Config) -> Result<Start, Failure> {
        let schedule = schedule(config);
        Ok(match self.clone() {
            Choice::Demo { speed } => Box::new(move || Source::Replay(Box::new(Replay::demo(speed)))),
            Choice::Replay { path, speed } => {
                let replay = Replay::open(&path, speed).map_err(|error| Failure::Config(error.to_string()))?;
                Box::new(move || Source::Replay(Box::new(replay)))
            }
            Choice::Api(address) => {
                Box::new(move || Source::Polled(Polled::start(Arc::new(Api::new(address)), schedule)))
            }
            Choice::Etcd(settings) => {
                let etcd = Etcd::new(settings).map_err(|error| Failure::Config(error.to_string()))?;
                Box::new(move || Source::Etcd(etcd.start()))
            }
            Choice::Fleetctl { command, connection } => {
                let nothing_asked = config.source == SourceChoice::Auto && !config.asks_for_fleetctl();
                let settings = fleetctl::Settings { command, connection, timeout: config.poll_timeout };
                let fleetctl = Fleetctl::new(settings).map_err(|error| {
                    Failure::Config(if nothing_asked {
                        format!("nothing to read fleet from: there is no {}, and {error}", config.api)
                    } else {
                        error.to_string()
                    })
                })?;
                Box::new(move || Source::Polled(Polled::start(Arc::new(fleetctl), schedule)))
            }
        })
    }
}

/// Whether an etcd can be watched, as far as it says in a short time. One that does not answer now is taken for one that
/// can: fleetctl would have to wait for the same one.
async fn speaks_v2(settings: &etcd::Settings) -> Result<&'static str, EtcdErrors> {
    let settings = etcd::Settings { timeout: settings.timeout.min(PROBE), ..settings.clone() };
    match Etcd::new(settings) {
        Ok(etcd) => match etcd.probe().await {
            Ok(()) => Ok("it speaks version 2 of its API (--source fleetctl goes through fleetctl)"),
            Err(errors) if errors.is_unusable() => Err(errors),
            Err(_) => Ok("it has not answered yet (--source fleetctl goes through fleetctl)"),
        },
        // It is told when the source is opened.
        Err(_) => Ok("its files cannot be used"),
    }
}

fn schedule(config: &Config) -> Schedule {
    Schedule { units: config.unit_freq, machines: config.machine_freq, timeout: config.poll_timeout }
}

fn open_recorder(path: Option<&Path>) -> Result<Option<Recorder>, Failure> {
    let Some(path) = path else { return Ok(None) };
    match Recorder::open(path) {
        Ok(recorder) => Ok(Some(recorder)),
        Err(error) => Err(Failure::Config(format!("record = {:?}: cannot be opened: {error}", path.display()))),
    }
}

fn feed_settings(config: &Config) -> feed::Settings {
    feed::Settings {
        unit_fields: config.unit_fields.clone(),
        machine_fields: config.machine_fields.clone(),
        publish: config.publish,
    }
}

/// systemd's directory of credentials (`systemd.exec(5)`).
fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

fn server_settings(config: &Config, files: OpenFiles) -> Result<server::Settings, Failure> {
    let token = Token::read(config.token_file.as_deref(), credentials().as_deref())
        .map_err(|error| Failure::Config(format!("token_file: {error}")))?;
    Ok(server::Settings {
        max_clients: config.max_clients,
        max_connections: files.connections(),
        metrics_units: config.metrics_units.clone(),
        access: Policy {
            allowed_origins: config.allowed_origins.clone(),
            allowed_hosts: config.allowed_hosts.clone(),
            token,
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn fixed_after(arguments: &[&str]) -> Vec<&'static str> {
        let config = |arguments: &[&str]| {
            let cli = Cli::parse_from([&["fleet-monitor", "--config", "/dev/null"], arguments].concat());
            config::load(&cli, &BTreeMap::new()).expect("a configuration").0
        };
        fixed_options_that_differ(&config(&[]), &config(arguments)).collect()
    }

    #[test]
    fn what_takes_a_restart_is_named_if_it_has_changed() {
        assert_eq!(fixed_after(&["--port", "1"]), ["port"]);
        assert_eq!(fixed_after(&["--bind", "::1", "--log-to", "stderr"]), ["bind", "log_to"]);
        assert_eq!(fixed_after(&["--log", "debug", "--grace", "1", "--max-clients", "5"]), [""; 0]);
    }
}
