//! Sends the beginning and the end of problems as events to a webhook: each at least once, in
//! order.
//!
//! It does not know how a problem is encoded, nor where events wait.
//!
//! No status but 2xx is a success, and none is final: an event that is not accepted is sent again
//! until it is, or until too many wait. That is also true of 410 (Gone), since only the operator
//! knows whether a webhook is gone for good, and its URL is one of his options.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time::sleep;
use tracing::warn;

use super::delivery_log::DeliveryLog;
use super::queue::{EventBatch, EventQueue};
use super::signature::WebhookSecret;
use super::{ProblemEncoder, WebhookSettings};
use crate::cluster::Moment;
use crate::metrics::{Metrics, NotificationOutcome, Receiver, WaitingGauge};
use crate::net::backoff::Backoff;
use crate::net::http::PostClient;
use crate::net::tls::TlsClient;
use crate::problems::ProblemChange;

/// The version of the format of requests.
const FORMAT_VERSION: u32 = 1;
/// The longest time that a receiver can ask to be left alone (`Retry-After`).
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// When events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookTiming {
    /// How long a request may take.
    pub request: Duration,
    /// The wait after a first failure. It grows up to `longest_retry`.
    pub first_retry: Duration,
    /// The longest wait after a failure, unless the receiver asks for a longer one.
    pub longest_retry: Duration,
}

impl Default for WebhookTiming {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(300),
        }
    }
}

/// The events that wait for the webhook, shared by the loop and the sender.
#[derive(Debug)]
pub(super) struct Webhook {
    queue: EventQueue,
    metrics: Arc<Metrics>,
    waiting: Mutex<WaitingGauge>,
    /// Whether the log says already that events are dropped.
    has_logged_drop: AtomicBool,
}

impl Webhook {
    /// Reads the events that an earlier process could not deliver.
    pub(super) async fn open(settings: &WebhookSettings, metrics: Arc<Metrics>) -> Self {
        let webhook = Self {
            queue: EventQueue::open(settings.state_directory.as_deref()).await,
            waiting: Mutex::new(metrics.notifications_waiting(Receiver::Webhook)),
            metrics,
            has_logged_drop: AtomicBool::new(false),
        };

        webhook.update_gauge();
        webhook
    }

    /// Appends an event for each problem that was opened or closed.
    pub(super) fn push(&self, changes: &[ProblemChange], encode: ProblemEncoder, now: Moment) {
        let events = changes
            .iter()
            .filter_map(|change| event(change, encode, now.wall))
            .collect();
        let dropped = self.queue.push(events);
        self.update_gauge();

        self.metrics
            .notified(Receiver::Webhook, NotificationOutcome::Dropped, dropped);
        if dropped > 0 && !self.has_logged_drop.swap(true, Relaxed) {
            warn!("too many events wait for the webhook: the oldest are dropped");
        }
    }

    pub(super) fn flush(&self, limit: Duration) {
        self.queue.flush(limit);
    }

    fn delivered(&self, batch: &EventBatch) {
        self.queue.remove(batch);
        self.update_gauge();
        self.has_logged_drop.store(false, Relaxed);
        self.metrics
            .notified(Receiver::Webhook, NotificationOutcome::Sent, batch.events.len());
    }

    fn failed(&self, batch: &EventBatch) {
        self.metrics
            .notified(Receiver::Webhook, NotificationOutcome::Failed, batch.events.len());
    }

    fn update_gauge(&self) {
        let mut gauge = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        gauge.set(self.queue.len());
    }
}

/// Sends events to the webhook.
#[derive(Debug)]
pub(super) struct WebhookSender {
    client: PostClient,
    secret: Option<WebhookSecret>,
    webhook: Arc<Webhook>,
    backoff: Backoff,
    log: DeliveryLog,
}

impl WebhookSender {
    pub(super) fn new(
        settings: WebhookSettings,
        tls: Option<TlsClient>,
        webhook: Arc<Webhook>,
    ) -> Self {
        let WebhookTiming { request, first_retry, longest_retry } = settings.timing;

        Self {
            client: PostClient::new(settings.target, tls, request),
            secret: settings.secret,
            webhook,
            backoff: Backoff::new(first_retry, longest_retry),
            log: DeliveryLog::new(Receiver::Webhook),
        }
    }

    /// Sends events for ever.
    pub(super) async fn run(mut self) {
        loop {
            let batch = self.webhook.queue.next_batch().await;
            let body = body(&batch, SystemTime::now());
            let headers = self.headers(&batch, &body);

            match self.client.post(&headers, Bytes::from(body)).await {
                Ok(()) => {
                    self.webhook.delivered(&batch);
                    self.log.succeeded();
                    self.backoff.reset();
                }
                Err(error) => {
                    self.webhook.failed(&batch);
                    self.log.failed(&error);

                    let asked = error.reason.retry_after().unwrap_or_default();
                    let wait = self.backoff.wait(fastrand::f64());
                    sleep(wait.max(asked.min(LONGEST_RETRY_AFTER))).await;
                }
            }
        }
    }

    fn headers(&self, batch: &EventBatch, body: &str) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("x-fleet-monitor-delivery", batch.delivery_id.clone()),
        ];
        if let Some(secret) = &self.secret {
            let signature = format!("sha256={}", secret.sign(body.as_bytes()));
            headers.push(("x-fleet-monitor-signature", signature));
        }
        headers
    }
}

/// The event of a change as JSON. `None` for one that is no event: a problem has other units.
fn event(change: &ProblemChange, encode: ProblemEncoder, at: SystemTime) -> Option<String> {
    let at = milliseconds(at);

    match change {
        ProblemChange::Opened(problem) => {
            let problem = encode(problem);
            Some(format!(r#"{{"event":"opened","time":{at},"problem":{problem}}}"#))
        }
        ProblemChange::Closed(problem, end) => {
            let problem = encode(problem);
            let end = end.name();
            Some(format!(r#"{{"event":"closed","time":{at},"end":"{end}","problem":{problem}}}"#))
        }
        ProblemChange::Changed(_) => None,
    }
}

/// The body of a request, with the time at which it is sent.
fn body(batch: &EventBatch, sent: SystemTime) -> String {
    format!(
        r#"{{"version":{FORMAT_VERSION},"sent":{},"events":[{}]}}"#,
        milliseconds(sent),
        batch.events.join(",")
    )
}

/// Since 1970.
fn milliseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}
