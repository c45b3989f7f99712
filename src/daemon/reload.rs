//! Reloads the configuration: everything is prepared first, and then all of it is applied, or none.
//!
//! Preparing may wait for a disk or for etcd. So it runs on a thread that may block, and the loop
//! goes on. This module does not know how the configuration is read and validated.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::path::PathBuf;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{error, info, warn};

use super::prepare::{Prepared, open_recorder, prepare};
use super::{Daemon, Failure, feed_settings, retention};
use crate::cli::Cli;
use crate::cluster::Moment;
use crate::config::{self, Config, Environment};
use crate::notify::PostTarget;
use crate::server::listen::ListenAddress;
use crate::server::open_files::OpenFileLimit;
use crate::source::recording::{Recorder, RecordingRules};
use crate::source::selection::Selection;
use crate::telemetry::LogTarget;

/// The new state that a reload has prepared and that has not been applied yet.
pub(super) struct PreparedReload {
    config: Config,
    /// Its source replaces the running one, if there is one.
    opened: Prepared,
    /// `None`: the running recorder goes on.
    recorder: Option<Option<Recorder>>,
}

/// A reload that is being prepared.
pub(super) type PendingReload = JoinHandle<Result<PreparedReload, Failure>>;

/// Waits until the pending reload is prepared. Without one it never returns.
pub(super) async fn prepared(
    reload: &mut Option<PendingReload>,
) -> Result<PreparedReload, Failure> {
    let Some(task) = reload else {
        return pending().await;
    };

    let prepared = task.await;
    *reload = None;
    // The task is never cancelled, so the only error is a panic, which goes on here.
    prepared.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

impl Daemon {
    /// Starts to read the configuration again, in a task of its own.
    pub(super) fn prepare_reload(&self, cli: &Cli, environment: &Environment) -> PendingReload {
        let cli = cli.clone();
        let environment = environment.clone();
        let files = self.files;
        let running = Running {
            selection: self.selection.clone(),
            recording: self.recorder.as_ref().map(|recorder| recorder.path().to_owned()),
        };

        let runtime = Handle::current();
        spawn_blocking(move || runtime.block_on(prepare_all(&cli, &environment, files, &running)))
    }

    /// Applies a prepared reload. If the configuration is wrong, it is rejected as a whole, and the
    /// current one is kept.
    pub(super) async fn finish_reload(&mut self, prepared: Result<PreparedReload, Failure>) {
        match prepared {
            Ok(next) => self.apply_reload(next).await,
            Err(error) => {
                for line in error.to_string().lines() {
                    error!("configuration rejected, keeping the current one: {line}");
                }
            }
        }
    }

    async fn apply_reload(&mut self, next: PreparedReload) {
        let PreparedReload { config, opened, recorder } = next;
        let Prepared { settings, notify: _, peers: _, selection, source } = opened;

        let was_live = !self.source.is_recording();
        if let Some(source) = source {
            // The old source is stopped first, so that two polls of one list never overlap.
            self.source.stop().await;
            self.unit_file_reader.send_replace(source.unit_file_reader());
            self.source = source.start();
            self.publish_playback_control(retention(&config));
            info!("{selection}");
        }

        if !selection.reads_same_cluster(&self.selection) {
            self.cluster.reset();
            self.forget_saved();
            self.close_problems(was_live);
            self.initial_problems = None;
            self.fleet_version = None;
        }
        self.has_reported = true;
        self.selection = selection;

        match recorder {
            Some(recorder) => {
                self.recorder = recorder;
                if self.recorder.is_some() {
                    self.source.request_snapshot();
                }
            }
            None => {
                if let Some(recorder) = &mut self.recorder {
                    recorder.set_rules(RecordingRules::keeping(config.record_keep));
                }
            }
        }

        self.publish_recording();

        self.cluster.set_retention(retention(&config));
        self.problems.set_delays(config.problem_after.clone());
        self.publisher.set_settings(feed_settings(&config));
        self.publisher.set_history(config.history, Moment::now());
        self.server.set_settings(settings);
        self.publish_source_info();
        self.publish_commands();
        self.publish(&[], &[]);

        if config.log != self.log_filter
            && let Err(error) = self.log.set_filter(&config.log)
        {
            error!("{error}");
        }
        for option in self.started_with.differing(&RestartOptions::of(&config)) {
            warn!("the new {option} takes effect after a restart");
        }
        self.log_filter = config.log;
        info!("the configuration was read again");
    }
}

/// What goes on after a reload, if the new configuration names the same.
struct Running {
    /// The selection that the source was started from.
    selection: Selection,
    /// The path of the recording. It must not be opened a second time: a recorder that is writing
    /// to it has not completed it yet.
    recording: Option<PathBuf>,
}

/// Reads the configuration and opens what it names: the source and the recording, unless those that
/// are `running` can go on.
async fn prepare_all(
    cli: &Cli,
    environment: &Environment,
    files: OpenFileLimit,
    running: &Running,
) -> Result<PreparedReload, Failure> {
    let (config, _) =
        config::load(cli, environment).map_err(|errors| Failure::Config(errors.to_string()))?;
    let opened = prepare(&config, environment, files, Some(&running.selection)).await?;
    let recorder = match config.record == running.recording {
        true => None,
        false => Some(open_recorder(&config).await?),
    };

    Ok(PreparedReload { config, opened, recorder })
}

/// The options that only take effect after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RestartOptions {
    port: u16,
    bind: Option<IpAddr>,
    listen: Vec<ListenAddress>,
    log_to: LogTarget,
    notify: NotifyOptions,
    history_from: Vec<PostTarget>,
    history_token_file: Option<PathBuf>,
}

/// The options of those who are informed of problems.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NotifyOptions {
    alertmanager: Vec<PostTarget>,
    alert_labels: BTreeMap<String, String>,
    webhook: Option<PostTarget>,
    webhook_secret_file: Option<PathBuf>,
    external_url: Option<String>,
}

impl RestartOptions {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            port: config.port,
            bind: config.bind,
            listen: config.listen.clone(),
            log_to: config.log_to,
            history_from: config.history_from.clone(),
            history_token_file: config.history_token_file.clone(),
            notify: NotifyOptions {
                alertmanager: config.alertmanager.clone(),
                alert_labels: config.alert_labels.clone(),
                webhook: config.webhook.clone(),
                webhook_secret_file: config.webhook_secret_file.clone(),
                external_url: config.external_url.clone(),
            },
        }
    }

    /// The keys of the options that differ.
    fn differing(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let differ = [
            ("port", self.port != other.port),
            ("bind", self.bind != other.bind),
            ("listen", self.listen != other.listen),
            ("log_to", self.log_to != other.log_to),
            ("history_from", self.history_from != other.history_from),
            ("history_token_file", self.history_token_file != other.history_token_file),
            ("alertmanager", self.notify.alertmanager != other.notify.alertmanager),
            ("alert_labels", self.notify.alert_labels != other.notify.alert_labels),
            ("webhook", self.notify.webhook != other.notify.webhook),
            (
                "webhook_secret_file",
                self.notify.webhook_secret_file != other.notify.webhook_secret_file,
            ),
            ("external_url", self.notify.external_url != other.notify.external_url),
        ];
        differ
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(option, _)| option)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn fixed_after(arguments: &[&str]) -> Vec<&'static str> {
        let options = |arguments: &[&str]| {
            let cli =
                Cli::parse_from([&["fleet-monitor", "--config", "/dev/null"], arguments].concat());
            let (config, _) = config::load(&cli, &Environment::default()).expect("a configuration");
            RestartOptions::of(&config)
        };
        options(&[]).differing(&options(arguments)).collect()
    }

    #[test]
    fn what_takes_a_restart_is_named_if_it_has_changed() {
        assert_eq!(fixed_after(&["--port", "1"]), ["port"]);
        assert_eq!(fixed_after(&["--listen", "unix:///run/a.sock"]), ["listen"]);
        assert_eq!(fixed_after(&["--webhook", "https://a/b"]), ["webhook"]);
        assert_eq!(fixed_after(&["--bind", "::1", "--log-to", "stderr"]), ["bind", "log_to"]);
        assert_eq!(fixed_after(&["--log", "debug", "--grace", "1", "--max-clients", "5"]), [""; 0]);
    }
}
