//! Sends problems to others: as alerts to Alertmanagers, and as events to a webhook.
//!
//! It does not know how problems are found, nor how the cluster is read. The loop passes on what
//! has become of problems with [`Notifier::update`], which never waits. Tasks send it, and each of
//! them tries again by itself, so that a receiver that hangs affects neither the loop nor another
//! receiver.

mod alert;
mod alertmanager;
mod delivery_log;
mod queue;
mod signature;
mod webhook;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::cluster::Moment;
use crate::metrics::Metrics;
use crate::net::tls::{NoHostRoots, TlsClient};
use crate::problems::{OpenProblems, Problem, ProblemChange};
use alertmanager::{AlertBook, AlertSender};
use webhook::{Webhook, WebhookSender};

pub use crate::net::http::{PostTarget, PostTargetError};
pub use alertmanager::AlertTiming;
pub use queue::state_directory;
pub use signature::{SecretError, WebhookSecret};
pub use webhook::WebhookTiming;

/// The labels that say what an alert is about. `unit`, `template` and `machine` are missing from
/// one that is not about such a thing.
pub const OWN_LABELS: [&str; 6] = ["alertname", "severity", "kind", "unit", "template", "machine"];

/// Encodes a problem as JSON, for the events of the webhook.
pub type ProblemEncoder = fn(&Problem) -> String;

/// Who is informed of problems.
#[derive(Clone, Debug, Default)]
pub struct NotifySettings {
    /// `None`: no alerts are sent.
    pub alertmanager: Option<AlertmanagerSettings>,
    /// `None`: no events are sent.
    pub webhook: Option<WebhookSettings>,
}

/// The Alertmanagers that get each alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertmanagerSettings {
    /// Where they listen, each with the path in `--web.route-prefix` of Alertmanager, if it has
    /// one.
    pub targets: Vec<PostTarget>,
    /// Labels of all alerts, besides those that say what it is about.
    pub labels: BTreeMap<String, String>,
    /// The address of the page, to which alerts link. `None`: they have no link.
    pub external_url: Option<String>,
    /// When alerts are sent.
    pub timing: AlertTiming,
}

/// The webhook that gets each event.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// What it listens at.
    pub target: PostTarget,
    /// The key of the signatures. `None`: requests are not signed.
    pub secret: Option<WebhookSecret>,
    /// The directory for events that have not been delivered, from [`state_directory`]. `None`:
    /// they are kept in memory only.
    pub state_directory: Option<PathBuf>,
    /// When events are sent.
    pub timing: WebhookTiming,
}

/// Informs others of problems.
#[derive(Debug)]
pub struct Notifier {
    alerts: Option<AlertBook>,
    webhook: Option<Arc<Webhook>>,
    encode: ProblemEncoder,
}

impl Notifier {
    /// Starts a task for each receiver. Dropping the tasks ends them; one that ends by itself has
    /// panicked.
    ///
    /// Events that an earlier process could not deliver are read from the state directory.
    ///
    /// # Errors
    ///
    /// A receiver has `https://`, and this host has no CA certificates.
    pub async fn start(
        settings: NotifySettings,
        encode: ProblemEncoder,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, JoinSet<()>), NoHostRoots> {
        let tls = settings.tls_client()?;
        let mut tasks = JoinSet::new();

        let alerts = settings.alertmanager.map(|settings| {
            let settings = Arc::new(settings);
            let book = AlertBook::new(settings.timing, metrics.clone());
            for target in &settings.targets {
                let sender = AlertSender::new(
                    target,
                    tls.clone(),
                    settings.clone(),
                    book.subscribe(),
                    metrics.clone(),
                );
                tasks.spawn(sender.run());
            }
            book
        });

        let mut webhook = None;
        if let Some(settings) = settings.webhook {
            let shared = Arc::new(Webhook::open(&settings, metrics).await);
            tasks.spawn(WebhookSender::new(settings, tls, shared.clone()).run());
            webhook = Some(shared);
        }

        Ok((Self { alerts, webhook, encode }, tasks))
    }

    /// Passes on what has become of problems, and which are open now: also those that go on after a
    /// restart, with which nothing has happened. It never waits.
    pub fn update(&mut self, changes: &[ProblemChange], open: &OpenProblems, now: Moment) {
        if let Some(alerts) = &mut self.alerts {
            alerts.update(changes, open, now);
        }
        if let Some(webhook) = self.webhook.as_ref().filter(|_| !changes.is_empty()) {
            webhook.push(changes, self.encode, now);
        }
    }

    /// Waits until all events that have not been delivered are on disk, but no longer than `limit`.
    ///
    /// Nothing is sent for the sake of the end: alerts end by themselves unless the next process
    /// sends them again, and that one delivers the events.
    pub fn flush(&self, limit: Duration) {
        if let Some(webhook) = &self.webhook {
            webhook.flush(limit);
        }
    }
}

impl NotifySettings {
    /// Finds the errors of [`Notifier::start`] without starting anything.
    ///
    /// # Errors
    ///
    /// A receiver has `https://`, and this host has no CA certificates.
    pub fn check(&self) -> Result<(), NoHostRoots> {
        self.tls_client().map(|_| ())
    }

    /// `None`: no receiver has `https://`.
    fn tls_client(&self) -> Result<Option<TlsClient>, NoHostRoots> {
        self.has_tls().then(TlsClient::of_host).transpose()
    }

    fn has_tls(&self) -> bool {
        let alertmanagers = self.alertmanager.iter().flat_map(|settings| &settings.targets);
        let webhook = self.webhook.iter().map(|settings| &settings.target);

        alertmanagers.chain(webhook).any(PostTarget::is_tls)
    }
}
