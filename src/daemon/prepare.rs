//! Opens what the configuration names, for a start, a reload and `--check-config`. So all three
//! find the same errors.
//!
//! Nothing is started here, and nothing is changed, except that a recording is created. This module
//! must not know how the configuration was read.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::config::{Config, Environment};
use crate::metrics::UnitSeries;
use crate::net::host;
use crate::notify::{
    self, AlertTiming, AlertmanagerSettings, NotifySettings, WebhookSecret, WebhookSettings,
    WebhookTiming,
};
use crate::peers::PeerSettings;
use crate::server::access::{AccessPolicy, Token};
use crate::server::open_files::OpenFileLimit;
use crate::server::{ServerSettings, ServerTls};
use crate::source::recording::{Recorder, RecordingRules};
use crate::source::selection::{OpenedSource, Selection};

/// The selected source, opened, and the settings of the server.
pub(super) struct Prepared {
    pub(super) settings: ServerSettings,
    pub(super) notify: NotifySettings,
    pub(super) peers: PeerSettings,
    pub(super) selection: Selection,
    /// `None`: the running source can go on.
    pub(super) source: Option<OpenedSource>,
}

/// Selects and opens the source, and reads the token. The source is not opened if the one that was
/// started from the `running` selection can go on.
pub(super) async fn prepare(
    config: &Config,
    environment: &Environment,
    files: OpenFileLimit,
    running: Option<&Selection>,
) -> Result<Prepared, Failure> {
    let settings = server_settings(config, files)?;
    let notify = notify_settings(config)?;
    let peers = peer_settings(config)?;

    let mut options = config.source.clone();
    options.credentials = credentials();
    options.search_path.clone_from(&environment.path);
    let selection = Selection::choose(&options).await;
    let source = match running {
        Some(running) if selection.keeps(running) => None,
        _ => Some(selection.open()?),
    };

    Ok(Prepared { settings, notify, peers, selection, source })
}

/// What `--check-config` does beyond reading the options: all that a start does before it listens.
/// Returns the selected source and the reason in one sentence.
///
/// # Errors
///
/// Those with which a start would end.
pub async fn check(config: &Config, environment: &Environment) -> Result<String, Failure> {
    let files = raise_open_files()?;
    let prepared = prepare(config, environment, files, None).await?;
    prepared.notify.check()?;
    prepared.peers.check()?;

    if let Some(path) = &config.record {
        Recorder::check(path)
            .await
            .map_err(|error| unusable_recording(path, &error))?;
    }
    Ok(prepared.selection.to_string())
}

/// Raises the limit on open files as far as the system allows.
///
/// # Errors
///
/// If the limit is too low to run at all.
pub fn raise_open_files() -> Result<OpenFileLimit, Failure> {
    let files = OpenFileLimit::raise();

    match files.too_low_error() {
        Some(too_low) => Err(Failure::Config(too_low)),
        None => Ok(files),
    }
}

/// Opens the recording. `None`: nothing is recorded.
pub(super) async fn open_recorder(config: &Config) -> Result<Option<Recorder>, Failure> {
    let Some(path) = &config.record else {
        return Ok(None);
    };

    match Recorder::open(path, RecordingRules::keeping(config.record_keep)).await {
        Ok(recorder) => Ok(Some(recorder)),
        Err(error) => Err(unusable_recording(path, &error)),
    }
}

fn unusable_recording(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Config(format!("record = {:?}: cannot be opened: {error}", path.display()))
}

/// systemd's directory for the state of a service (`systemd.exec(5)`): the first of several, which
/// are separated by colons.
pub(super) fn state_directory() -> Option<PathBuf> {
    notify::state_directory(std::env::var_os("STATE_DIRECTORY").as_deref())
}

/// systemd's directory of credentials (`systemd.exec(5)`).
fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// Who is informed of problems.
fn notify_settings(config: &Config) -> Result<NotifySettings, Failure> {
    let webhook = match &config.webhook {
        Some(target) => {
            let file = config.webhook_secret_file.as_deref();
            let secret = WebhookSecret::read(file, credentials().as_deref())
                .map_err(|error| Failure::Config(format!("webhook_secret_file: {error}")))?;
            Some(WebhookSettings {
                target: target.clone(),
                secret,
                state_directory: state_directory(),
                timing: WebhookTiming::default(),
            })
        }
        None => None,
    };
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let own_url = || format!("{scheme}://{}", host::in_url(&hostname(), config.port));
    let alertmanager = (!config.alertmanager.is_empty()).then(|| AlertmanagerSettings {
        targets: config.alertmanager.clone(),
        labels: config.alert_labels.clone(),
        external_url: Some(config.external_url.clone().unwrap_or_else(own_url)),
        timing: AlertTiming::default(),
    });

    Ok(NotifySettings { alertmanager, webhook })
}

/// Which other monitors are asked for their history. Without a token of their own they have that of
/// this server: monitors of one cluster usually have the same.
fn peer_settings(config: &Config) -> Result<PeerSettings, Failure> {
    if config.history_from.is_empty() {
        return Ok(PeerSettings::default());
    }

    let token = match &config.history_token_file {
        Some(file) => Token::read(Some(file), None)
            .map_err(|error| Failure::Config(format!("history_token_file: {error}")))?,
        None => server_token(config)?,
    };

    Ok(PeerSettings {
        targets: config.history_from.clone(),
        authorization: token.map(|token| token.authorization()),
    })
}

/// The token that requests to this server must carry.
fn server_token(config: &Config) -> Result<Option<Token>, Failure> {
    Token::read(config.token_file.as_deref(), credentials().as_deref())
        .map_err(|error| Failure::Config(format!("token_file: {error}")))
}

/// The name of this host.
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn server_settings(config: &Config, files: OpenFileLimit) -> Result<ServerSettings, Failure> {
    let token = server_token(config)?;
    let tls = config.tls.clone().map(ServerTls::read).transpose();

    Ok(ServerSettings {
        max_clients: config.max_clients,
        max_connections: files.connections(),
        journal_port: config.journal_port,
        links: config.links.clone(),
        unit_files: config.unit_files,
        unit_series: UnitSeries {
            selected: config.metrics_units.clone(),
            max_troubled: config.metrics_troubled,
        },
        tls: tls.map_err(|error| Failure::Config(error.to_string()))?,
        access: AccessPolicy {
            allowed_origins: config.allowed_origins.clone(),
            allowed_hosts: config.allowed_hosts.clone(),
            token,
            hostname: hostname(),
        },
    })
}
