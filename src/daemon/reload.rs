//! Reloads the configuration: everything is prepared first, and then all of it is applied, or none.
//!
//! Preparing may wait for a disk or for etcd. So it runs on a thread that may block, and the loop
//! goes on. This module does not know how the configuration is read and validated.

use std::collections::BTreeMap;
use std::future::pending;
use std::panic::resume_unwind;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{error, info, warn};

use super::{
    Daemon, Failure, credentials, feed_settings, open_recorder, retention, server_settings,
};
use crate::cli::Cli;
use crate::config::{self, Config};
use crate::server;
use crate::server::open_files::OpenFileLimit;
use crate::source::recording::Recorder;
use crate::source::selection::{OpenedSource, Selection};

/// The new state that a reload has prepared and that has not been applied yet.
pub(super) struct PreparedReload {
    config: Config,
    settings: server::ServerSettings,
    selection: Selection,
    /// The source that replaces the running one; `None`: the running one is kept.
    source: Option<OpenedSource>,
    recorder: Option<Recorder>,
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
    pub(super) fn prepare_reload(
        &self,
        cli: &Cli,
        environment: &BTreeMap<String, String>,
    ) -> PendingReload {
        let cli = cli.clone();
        let environment = environment.clone();
        let files = self.files;
        let selection = self.selection.clone();

        let runtime = Handle::current();
        spawn_blocking(move || runtime.block_on(prepare(&cli, &environment, files, &selection)))
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
        if let Some(source) = next.source {
            // The old source is stopped first, so that two polls of one list never overlap.
            self.source.stop().await;
            self.source = source.start();
            info!("{}", next.selection);
        }

        if !next.selection.reads_same_cluster(&self.selection) {
            self.cluster.reset();
            self.problems = None;
        }
        self.has_reported = true;
        self.selection = next.selection;

        self.recorder = next.recorder;
        if self.recorder.is_some() {
            self.source.request_snapshot();
        }

        self.cluster.set_retention(retention(&next.config));
        self.publisher.set_settings(feed_settings(&next.config));
        self.server.set_settings(next.settings);
        self.publish_source_info();
        self.publish(&[], &[]);

        if next.config.log != self.config.log
            && let Err(error) = self.log.set_filter(&next.config.log)
        {
            error!("{error}");
        }
        for option in fixed_options_that_differ(&self.config, &next.config) {
            warn!("the new {option} takes effect after a restart");
        }
        self.config = next.config;
        info!("the configuration was read again");
    }
}

/// Reads the configuration and opens what it names: the recording, and the source, unless the one
/// that was started from the `running` selection can go on.
async fn prepare(
    cli: &Cli,
    environment: &BTreeMap<String, String>,
    files: OpenFileLimit,
    running: &Selection,
) -> Result<PreparedReload, Failure> {
    let (mut config, _) =
        config::load(cli, environment).map_err(|errors| Failure::Config(errors.to_string()))?;
    let settings = server_settings(&config, files)?;

    config.source.credentials = credentials();
    let selection = Selection::choose(&config.source).await;
    let source = if selection.keeps(running) {
        None
    } else {
        Some(selection.open()?)
    };

    let recorder = open_recorder(config.record.as_deref()).await?;
    Ok(PreparedReload { config, settings, selection, source, recorder })
}

/// The options that have changed and that only take effect after a restart.
fn fixed_options_that_differ(old: &Config, new: &Config) -> impl Iterator<Item = &'static str> {
    let differ = [
        ("port", old.port != new.port),
        ("bind", old.bind != new.bind),
        ("log_to", old.log_to != new.log_to),
    ];
    differ
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(option, _)| option)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn fixed_after(arguments: &[&str]) -> Vec<&'static str> {
        let config = |arguments: &[&str]| {
            let cli =
                Cli::parse_from([&["fleet-monitor", "--config", "/dev/null"], arguments].concat());
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
