//! Watches fleet's registry in etcd: each change is reported as it happens, at a cost that does not
//! grow with the registry. It knows neither how a report is evaluated nor who displays it.
//!
//! It reads the whole registry once, and then watches from the index of that read on. If the watch
//! is interrupted (events are no longer in etcd's history, etcd restarts, a member fails), it reads
//! the whole registry again, from the next member if this one failed. Meanwhile the rows stay as
//! they are. Every 5 minutes it reads the whole registry to compare it with the watched state. All
//! requests are GET.

mod batching_stream;
mod connector;
pub(crate) mod endpoint;
pub mod error;
mod file_reader;
pub mod key_tree;
pub mod keys;
pub mod login;
mod member_client;
mod monitor;
mod redirect;
mod report_schedule;
mod stall;
mod tls;
mod tls_error;
mod value;
mod watch;
mod watch_task;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::warn;

use super::{Liveness, SourceEvent};
use crate::cluster::Text;
use connector::MemberConfig;
use endpoint::Endpoint;
use error::{EtcdError, EtcdErrors, FileError};
pub(crate) use file_reader::EtcdFileReader;
use login::Login;
use member_client::MemberClient;
pub use report_schedule::RECHECK_DELAY;
use tls::MemberTls;
use watch_task::WatchTask;

/// The directory of fleet's registry, unless `etcd_key_prefix` of fleet names another one.
pub(crate) const DEFAULT_PREFIX: &str = "/_coreos.com/fleet";

/// How often the whole registry is read for a comparison.
const COMPARISON_INTERVAL: Duration = Duration::from_secs(300);
/// How long no streams are used for watches after a watch has stalled.
const STREAM_RETRY: Duration = Duration::from_secs(300);

/// The options of this source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdSettings {
    /// The members of etcd. If one fails, the next is used.
    pub endpoints: Vec<Endpoint>,
    /// The directory of fleet's registry, such as `/_coreos.com/fleet`.
    pub prefix: String,
    /// The files for `https://` members.
    pub tls: TlsFiles,
    /// The etcd user to authenticate as. `None`: requests have no credentials.
    pub login: Option<Login>,
    /// How long a response may take.
    pub timeout: Duration,
}

/// PEM files for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// CA certificates to verify etcd with. `None`: those of the host.
    pub ca: Option<PathBuf>,
    /// The client certificate, followed by intermediate certificates.
    pub cert: Option<PathBuf>,
    /// The private key of the client certificate.
    pub key: Option<PathBuf>,
}

/// An etcd that can be watched.
#[derive(Debug)]
pub struct EtcdSource {
    settings: EtcdSettings,
    member_config: Arc<MemberConfig>,
    comparison_interval: Duration,
    stream_retry: Duration,
}

impl EtcdSource {
    /// Reads the files that the settings name. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// A file cannot be used.
    pub fn new(settings: EtcdSettings) -> Result<Self, FileError> {
        let has_tls = settings.endpoints.iter().any(|endpoint| endpoint.tls);
        let tls = has_tls.then(|| MemberTls::new(&settings.tls)).transpose()?;
        let authorization = settings.login.as_ref().map(Login::authorization).transpose()?;

        let member_config = Arc::new(MemberConfig {
            members: settings.endpoints.clone(),
            tls,
            authorization,
            timeout: settings.timeout,
        });
        Ok(Self {
            settings,
            member_config,
            comparison_interval: COMPARISON_INTERVAL,
            stream_retry: STREAM_RETRY,
        })
    }

    /// Sets another time between two comparisons, for tests.
    #[must_use]
    pub fn with_comparison_interval(self, comparison_interval: Duration) -> Self {
        Self { comparison_interval, ..self }
    }

    /// Sets another time without streams after one has stalled, for tests.
    #[must_use]
    pub fn with_stream_retry(self, stream_retry: Duration) -> Self {
        Self { stream_retry, ..self }
    }

    /// Checks that at least one member has the v2 API, which fleet needs.
    ///
    /// # Errors
    ///
    /// No member has it, or none responds: the error of each member.
    pub async fn probe(&self) -> Result<(), EtcdErrors> {
        let mut errors = Vec::new();
        for endpoint in &self.settings.endpoints {
            match self.client(endpoint).get(&self.settings.prefix, "").await {
                // The directory of fleet is missing, but it is the v2 API that says so.
                Ok(_) | Err(EtcdError::KeyNotFound(..)) => return Ok(()),
                Err(error) => errors.push(error),
            }
        }
        Err(EtcdErrors(errors))
    }

    /// Reads single unit files beside the watch, over connections of its own.
    pub(crate) fn file_reader(&self) -> EtcdFileReader {
        EtcdFileReader::new(self.member_config.clone(), self.settings.prefix.clone())
    }

    /// Starts to watch. Dropping the result ends the watch.
    pub fn start(self) -> EtcdWatcher {
        self.log_warnings();

        let (sender, events) = mpsc::channel(1);
        let name = Arc::new(Mutex::new("etcd".into()));
        let liveness = Liveness::default();
        let wants_snapshot = Arc::new(AtomicBool::new(true));
        let watch_task =
            WatchTask::new(self, sender, wants_snapshot.clone(), name.clone(), liveness.clone());

        let mut task = JoinSet::new();
        task.spawn(watch_task.run());
        EtcdWatcher { events, name, liveness, wants_snapshot, task }
    }

    /// Logs problems with the settings that do not prevent a watch.
    fn log_warnings(&self) {
        for warning in self.member_config.tls.iter().flat_map(MemberTls::warnings) {
            warn!("{warning}");
        }

        let settings = &self.settings;
        let not_confidential =
            settings.endpoints.iter().find(|endpoint| !endpoint.is_confidential());
        if let (Some(login), Some(endpoint)) = (&settings.login, not_confidential) {
            warn!(
                "the password of etcd_user = {:?} is sent unencrypted to {endpoint}: use https://",
                login.user
            );
        }
    }

    fn client(&self, endpoint: &Endpoint) -> MemberClient {
        MemberClient::new(endpoint, self.member_config.clone())
    }
}

/// An etcd that is being watched.
#[derive(Debug)]
pub struct EtcdWatcher {
    events: mpsc::Receiver<SourceEvent>,
    name: Arc<Mutex<Text>>,
    liveness: Liveness,
    wants_snapshot: Arc<AtomicBool>,
    task: JoinSet<()>,
}

impl EtcdWatcher {
    /// The name of this source, such as `etcd v3.4.23`.
    pub fn name(&self) -> Text {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The deadline of the next event.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// Makes the next report one of the whole registry, for a receiver that has missed reports.
    pub(crate) fn request_snapshot(&self) {
        self.wants_snapshot.store(true, Relaxed);
    }

    /// Waits for the next event. May be cancelled and called again: no event is lost.
    pub async fn next(&mut self) -> SourceEvent {
        tokio::select! {
            Some(event) = self.events.recv() => event,
            // Nobody cancels the task as long as this value exists, so it ends only by a panic,
            // which must not be lost.
            Some(Err(error)) = self.task.join_next() => {
                std::panic::resume_unwind(error.into_panic())
            }
        }
    }

    /// Cancels the watch, and returns when its task has ended.
    pub async fn stop(&mut self) {
        self.task.shutdown().await;
    }
}
