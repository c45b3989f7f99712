//! Reads the configuration again: all that it will change is made first, and then either all of it
//! is applied or none.
//!
//! What is made first may wait for a disk or for etcd. So that is done on a thread that may block,
//! and the loop goes on.

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
use crate::server::open_files::OpenFiles;
use crate::source::recording::Recorder;
use crate::source::selection::{Opened, Selection};

/// All that a reload will change, made before anything is changed.
pub(super) struct Next {
    config: Config,
    settings: server::ServerSettings,
    selection: Selection,
    /// The source that replaces the running one; `None`: that one goes on.
    source: Option<Opened>,
    recorder: Option<Recorder>,
}

/// A configuration that is being read again.
pub(super) type Reload = JoinHandle<Result<Next, Failure>>;

/// Waits for the reload that is under way, if there is one.
pub(super) async fn prepared(reload: &mut Option<Reload>) -> Result<Next, Failure> {
    let Some(under_way) = reload else {
        return pending().await;
    };

    let prepared = under_way.await;
    *reload = None;
    // Nobody cancels it: it ends by a panic alone, which is to be heard.
    prepared.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

impl Daemon {
    /// Begins to read the configuration again.
    pub(super) fn prepare_reload(
        &self,
        cli: &Cli,
        environment: &BTreeMap<String, String>,
    ) -> Reload {
        let cli = cli.clone();
        let environment = environment.clone();
        let files = self.files;
        let selection = self.selection.clone();

        let runtime = Handle::current();
        spawn_blocking(move || runtime.block_on(prepare(&cli, &environment, files, &selection)))
    }

    /// Takes over what was read. A bad configuration is refused as a whole, and the old one stays
    /// in force.
    pub(super) async fn finish_reload(&mut self, prepared: Result<Next, Failure>) {
        match prepared {
            Ok(next) => self.take_over(next).await,
            Err(error) => {
                for line in error.to_string().lines() {
                    error!("configuration rejected, keeping the current one: {line}");
                }
            }
        }
    }

    async fn take_over(&mut self, next: Next) {
        if let Some(source) = next.source {
            // The old source is stopped before the new one starts: polls of one topic never
            // overlap.
            self.source.stop().await;
            self.source = source.start();
            info!("{}", next.selection);
        }
        if !next.selection.reads_same_cluster(&self.selection) {
            self.cluster.forget();
            self.problems = None;
        }
        self.proved = true;
        self.selection = next.selection;
        self.recorder = next.recorder;
        if self.recorder.is_some() {
            self.source.tell_all();
        }
        self.cluster.set_retention(retention(&next.config));
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
            warn!("the new {option} takes effect after a restart");
        }
        self.config = next.config;
        info!("the configuration was read again");
    }
}

/// Reads the configuration, and makes what it asks for other than what `running` is.
async fn prepare(
    cli: &Cli,
    environment: &BTreeMap<String, String>,
    files: OpenFiles,
    running: &Selection,
) -> Result<Next, Failure> {
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
    Ok(Next { config, settings, selection, source, recorder })
}

/// What cannot be changed without a restart, and was.
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
