//! The daemon: it connects all parts, starts them, and stops them at the end.
//!
//! One task runs the loop (`run_loop`): it takes events from the source, passes readings to the
//! cluster, publishes the results, handles signals, and reports to systemd. So systemd's watchdog
//! notices when any of that is stuck. The tasks of the server run beside it, and read only
//! publications.

mod fleet_version;
mod initial_problems;
mod peers;
mod prepare;
mod recording;
mod reload;
mod restart;
mod run_loop;
mod state_keeper;
mod unit_files;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cli::Cli;
use crate::cluster::{Cluster, Moment, Retention, Transition};
use crate::config::{Config, Environment};
use crate::feed::{self, Publisher, SourceInfo};
use crate::lifecycle::{ServiceManager, Signals};
use crate::metrics::Metrics;
use crate::net::tls::NoHostRoots;
use crate::notify::Notifier;
use crate::peers::{PeerHistory, Peers};
use crate::problems::ProblemTracker;
use crate::saved_state::SavedState;
use crate::server::listen::{ListenError, listen};
use crate::server::open_files::OpenFileLimit;
use crate::server::{Server, Timing};
use crate::source::recording::Recorder;
use crate::source::selection::{OpenError, Selection};
use crate::source::version::FleetVersion;
use crate::source::{Source, UnitFileReader};
use crate::telemetry::{LogFilter, LogHandle};
use crate::unit_files::{UnitFileService, UnitFiles};
use initial_problems::InitialProblems;
use prepare::{Prepared, open_recorder, prepare, state_directory};
use reload::RestartOptions;
use restart::{Restart, previous_run};
use state_keeper::StateKeeper;
use unit_files::CurrentSource;

pub use prepare::{check, raise_open_files};

/// The exit status after a wrong configuration: `EX_CONFIG` of `sysexits(3)`. The service unit has
/// it in `RestartPreventExitStatus=`, so systemd does not restart the program.
const EX_CONFIG: u8 = 78;
/// The time that the source gets to stop its child processes. This time and the next three together
/// are less than the 5 s after SIGTERM after which the program has ended, as is documented.
const STOP_SOURCE: Duration = Duration::from_secs(1);
/// The time that clients get to close their connections.
const DRAIN: Duration = Duration::from_millis(2500);
/// The time that the last lines of a recording get to be written, and the last events for a
/// webhook.
const FLUSH: Duration = Duration::from_millis(250);
/// The time that the last changes get to be saved.
const FLUSH_STATE: Duration = Duration::from_millis(750);

/// An error that ends the program.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration cannot be used. A restart does not help.
    #[error("{0}")]
    Config(String),
    /// The system refuses something, such as a port that is in use.
    #[error("{0}")]
    System(String),
}

impl Failure {
    /// The exit status of the program after this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Config(_) => ExitCode::from(EX_CONFIG),
            Failure::System(_) => ExitCode::FAILURE,
        }
    }
}

impl From<NoHostRoots> for Failure {
    fn from(error: NoHostRoots) -> Self {
        Failure::Config(error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Failure::Config(error.to_string())
    }
}

/// Runs until a signal ends it. `files` is what [`raise_open_files`] returned.
///
/// # Errors
///
/// If the source, the recording, the token or an address to listen on cannot be used, or if the
/// first report shows that the source can never work.
pub async fn run(
    cli: &Cli,
    environment: &Environment,
    config: Config,
    files: OpenFileLimit,
    log: LogHandle,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()
        .map_err(|error| Failure::System(format!("cannot listen to signals: {error}")))?;
    let mut service = ServiceManager::from_environment()
        .map_err(|error| Failure::System(format!("cannot start a thread: {error}")))?;

    let Prepared { settings, notify, peers, selection, source } =
        prepare(&config, environment, files, None).await?;
    let source = source.expect("without a running source, one is opened");
    let recorder = open_recorder(&config).await?;
    let listeners = listen(config.bind, config.port, &config.listen);
    let listeners = listeners.map_err(|error| match error {
        ListenError::Bind { .. } | ListenError::Unix { .. } => Failure::System(error.to_string()),
        // A restart does not help: systemd passes the same socket again.
        ListenError::Passed { .. } => Failure::Config(error.to_string()),
    })?;

    let stop = CancellationToken::new();
    let metrics = Arc::new(Metrics::new());
    let epoch = format!("{:016x}", fastrand::u64(..));
    let mut publisher = Publisher::new(feed_settings(&config), &epoch, SourceInfo::default());
    publisher.set_history(config.history, Moment::now());
    let (notifier, mut notifying) =
        Notifier::start(notify, feed::problem_json, metrics.clone()).await?;
    let (unit_files, unit_file_requests) = UnitFiles::channel();
    let server = Server::new(
        settings,
        Timing::default(),
        publisher.subscribe(),
        metrics.clone(),
        unit_files,
        stop.clone(),
    );

    info!("fleet-monitor {}: {selection}", env!("CARGO_PKG_VERSION"));
    match files.shortage_warning(config.max_clients) {
        Some(shortage) => warn!("{shortage}"),
        None => info!("{files}"),
    }

    let unit_file_reader = watch::Sender::new(source.unit_file_reader());
    let unit_file_source = CurrentSource::new(unit_file_reader.subscribe());
    let mut reading_files = JoinSet::new();
    reading_files.spawn(UnitFileService::new(unit_file_source, unit_file_requests).run());

    let retention = retention(&config);
    let source = source.start();
    // A recording goes on with nothing, and nobody else knows it.
    let (Restart { cluster, saved, keeper }, peers) = if source.is_recording() {
        (Restart::without(retention), Peers::none())
    } else {
        (Restart::from(state_directory(), retention).await, Peers::ask(peers)?)
    };
    let mut daemon = Daemon {
        peers,
        peer_histories: Vec::new(),
        cluster,
        saved,
        has_restored: false,
        keeper,
        source,
        unit_file_reader,
        selection,
        fleet_version: None,
        started_with: RestartOptions::of(&config),
        log_filter: config.log,
        log,
        publisher,
        server,
        files,
        metrics,
        recorder,
        caught_up_with: None,
        has_reported: false,
        problems: ProblemTracker::new(config.problem_after.clone()),
        notifier,
        initial_problems: None,
        has_logged_repeated_names: false,
    };
    let previous_run = daemon.saved.as_ref().map(previous_run);
    daemon.publisher.set_previous_run(previous_run);
    daemon.publish_source_info();
    daemon.publish_commands();
    daemon.publish_recording();
    daemon.publish_playback_control(retention);

    // Only now: the first client gets all of it.
    let mut accepting = JoinSet::new();
    for listener in listeners {
        info!("listening on {listener}");
        let server = daemon.server.clone();
        accepting.spawn(async move { server.serve(listener).await });
    }
    let server = daemon.server.clone();
    accepting.spawn(async move { server.follow_certificate().await });
    service.set_status(&daemon.status());
    service.notify_ready();

    let ended = tokio::select! {
        ended = daemon.run(cli, environment, &mut signals, &mut service) => ended,
        Some(Err(error)) = accepting.join_next() => {
            Err(Failure::System(format!("the accept loop failed: {error}")))
        }
        Some(Err(error)) = notifying.join_next() => {
            Err(Failure::System(format!("sending problems failed: {error}")))
        }
        Some(Err(error)) = reading_files.join_next() => {
            Err(Failure::System(format!("reading unit files failed: {error}")))
        }
    };

    service.notify_stopping();
    stop.cancel();
    reading_files.shutdown().await;
    if timeout(STOP_SOURCE, daemon.source.stop()).await.is_err() {
        warn!("the source did not stop in time");
    }

    let left = daemon.server.drain(DRAIN).await;
    if left > 0 {
        warn!("{left} connections did not close in time");
    }

    daemon.notifier.flush(FLUSH);
    if let Some(recorder) = &daemon.recorder {
        recorder.complete(FLUSH);
    }
    // The source may have become a recording with a reload.
    if let Some(keeper) = daemon.keeper.as_mut().filter(|_| !daemon.source.is_recording()) {
        keeper.finish(&daemon.cluster, &daemon.publisher.last(), FLUSH_STATE);
    }
    ended
}

struct Daemon {
    /// The options that stay as they were at the start.
    started_with: RestartOptions,
    /// The filter of the log that is in force.
    log_filter: LogFilter,
    log: LogHandle,
    cluster: Cluster,
    /// The other monitors, which are asked for their history.
    peers: Peers,
    /// Their answers that are not merged yet, since not all lists have been read.
    peer_histories: Vec<PeerHistory>,
    /// What the program that ran before has saved, until everything has been read.
    saved: Option<SavedState>,
    /// Whether the problems and events in `saved` go on.
    has_restored: bool,
    /// Saves the state; `None` if it is not saved.
    keeper: Option<StateKeeper>,
    publisher: Publisher,
    server: Server,
    files: OpenFileLimit,
    metrics: Arc<Metrics>,
    source: Source,
    /// Reads single unit files from the same source.
    unit_file_reader: watch::Sender<UnitFileReader>,
    selection: Selection,
    /// The version of fleet on which the commands for operators depend, as it was last known.
    fleet_version: Option<FleetVersion>,
    recorder: Option<Recorder>,
    /// What happened before the place in a recording to which a viewer has gone, while that is
    /// played at once.
    caught_up_with: Option<Vec<Arc<Transition>>>,
    /// Whether the source has delivered a first report, be it a reading or an error. An error that
    /// can never go away ends the program only as the first report, and never after a reload.
    has_reported: bool,
    problems: ProblemTracker,
    /// Informs others of problems.
    notifier: Notifier,
    /// Units that may turn out to be unhealthy without an event; `None` until all lists have been
    /// read.
    initial_problems: Option<InitialProblems>,
    /// Whether the log says already that a client may fail because names repeat.
    has_logged_repeated_names: bool,
}

fn feed_settings(config: &Config) -> feed::FeedSettings {
    feed::FeedSettings {
        unit_fields: config.unit_fields.clone(),
        machine_fields: config.machine_fields.clone(),
        publish: config.publish,
    }
}

fn retention(config: &Config) -> Retention {
    Retention { grace: config.grace, lost: config.keep_lost }
}
