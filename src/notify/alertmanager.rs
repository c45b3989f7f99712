//! Sends the open problems as alerts to Alertmanagers (API v2), each of them with a task of its
//! own.
//!
//! It does not know how an alert is made of a problem.
//!
//! All alerts are sent in one request: when a problem has changed, and again every minute. As with
//! Prometheus, an alert ends by itself after four times that interval, so that it does not stay
//! when the monitor dies. An alert that has ended is sent for 15 minutes more, for an Alertmanager
//! that was restarted or did not get a request. So each request says all that there is to know,
//! and a sender has nothing to remember.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;

use super::AlertmanagerSettings;
use super::alert::{Alert, AlertLabels};
use super::delivery_log::DeliveryLog;
use crate::cluster::Moment;
use crate::metrics::{Metrics, NotificationOutcome, Receiver, WaitingGauge};
use crate::net::backoff::Backoff;
use crate::net::http::{PostClient, PostTarget};
use crate::net::tls::TlsClient;
use crate::problems::{OpenProblems, Problem, ProblemChange};

/// Where alerts are posted, below the URL of an Alertmanager.
const PATH: &str = "/api/v2/alerts";
/// How many times the interval of resending an alert lasts, unless it is sent again.
const INTERVALS_TO_LIVE: u32 = 4;
/// How many alerts that have ended are kept. Others end by themselves.
const MAX_CLOSED: usize = 10_000;

/// When alerts are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertTiming {
    /// How long after a change others are waited for, to be sent in the same request.
    pub collect: Duration,
    /// How often all alerts are sent again.
    pub resend: Duration,
    /// How long alerts are sent that have ended.
    pub keep_closed: Duration,
    /// How long a request may take.
    pub request: Duration,
    /// The wait after a first failure. It grows up to `longest_retry`.
    pub first_retry: Duration,
    /// The longest wait after a failure.
    pub longest_retry: Duration,
}

impl Default for AlertTiming {
    fn default() -> Self {
        Self {
            collect: Duration::from_secs(1),
            resend: Duration::from_secs(60),
            keep_closed: Duration::from_secs(15 * 60),
            request: Duration::from_secs(10),
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(60),
        }
    }
}

/// The problems that alerts are about, for all senders.
#[derive(Debug)]
pub(super) struct AlertBook {
    state: watch::Sender<AlertState>,
    closed: VecDeque<ClosedProblem>,
    keep_closed: Duration,
    metrics: Arc<Metrics>,
}

/// The problems at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct AlertState {
    open: OpenProblems,
    /// Those that ended lately, the last one at the end.
    closed: Arc<[ClosedProblem]>,
}

#[derive(Clone, Debug)]
struct ClosedProblem {
    problem: Arc<Problem>,
    closed: Moment,
}

impl AlertBook {
    pub(super) fn new(timing: AlertTiming, metrics: Arc<Metrics>) -> Self {
        Self {
            state: watch::Sender::default(),
            closed: VecDeque::new(),
            keep_closed: timing.keep_closed,
            metrics,
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<AlertState> {
        self.state.subscribe()
    }

    pub(super) fn update(&mut self, changes: &[ProblemChange], open: &OpenProblems, now: Moment) {
        for change in changes {
            if let ProblemChange::Closed(problem, _) = change {
                self.closed
                    .push_back(ClosedProblem { problem: problem.clone(), closed: now });
            }
        }

        self.closed
            .retain(|closed| is_recent(closed, now.instant, self.keep_closed));
        let too_many = self.closed.len().saturating_sub(MAX_CLOSED);
        self.closed.drain(..too_many);
        self.metrics
            .notified(Receiver::Alertmanager, NotificationOutcome::Dropped, too_many);

        self.state.send_replace(AlertState {
            open: open.clone(),
            closed: self.closed.iter().cloned().collect(),
        });
    }
}

impl AlertState {
    /// All alerts to send now. A problem that has come back is open, and not closed.
    fn alerts(
        &self,
        settings: &AlertmanagerSettings,
        now: SystemTime,
        steady_now: Instant,
    ) -> Vec<Alert> {
        let ends = now + settings.timing.resend * INTERVALS_TO_LIVE;
        let open = self.open.iter().map(|problem| Alert::new(problem, ends, settings));
        let closed = self
            .closed
            .iter()
            .filter(|closed| is_recent(closed, steady_now, settings.timing.keep_closed))
            .map(|closed| Alert::new(&closed.problem, closed.closed.wall, settings));

        let by_labels: BTreeMap<AlertLabels, Alert> = closed
            .chain(open)
            .map(|alert| (alert.labels.clone(), alert))
            .collect();
        by_labels.into_values().collect()
    }
}

fn is_recent(closed: &ClosedProblem, now: Instant, keep: Duration) -> bool {
    now.saturating_duration_since(closed.closed.instant) <= keep
}

/// Sends alerts to one Alertmanager.
#[derive(Debug)]
pub(super) struct AlertSender {
    client: PostClient,
    settings: Arc<AlertmanagerSettings>,
    state: watch::Receiver<AlertState>,
    backoff: Backoff,
    log: DeliveryLog,
    metrics: Arc<Metrics>,
    waiting: WaitingGauge,
}

/// When alerts are sent the next time.
enum NextRequest {
    /// Not before something has changed: there are none.
    AfterChange,
    /// When something has changed, or after this time.
    AfterChangeOr(Duration),
    /// After this time: the last request failed.
    Retry(Duration),
}

impl AlertSender {
    pub(super) fn new(
        target: &PostTarget,
        tls: Option<TlsClient>,
        settings: Arc<AlertmanagerSettings>,
        state: watch::Receiver<AlertState>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let AlertTiming { request, first_retry, longest_retry, .. } = settings.timing;

        Self {
            client: PostClient::new(target.below(PATH), tls, request),
            settings,
            state,
            backoff: Backoff::new(first_retry, longest_retry),
            log: DeliveryLog::new(Receiver::Alertmanager),
            waiting: metrics.notifications_waiting(Receiver::Alertmanager),
            metrics,
        }
    }

    /// Sends alerts for as long as there is a book.
    pub(super) async fn run(mut self) {
        let mut next = NextRequest::AfterChange;
        loop {
            match next {
                NextRequest::AfterChange => {
                    if !self.change().await {
                        return;
                    }
                }
                NextRequest::AfterChangeOr(time) => {
                    tokio::select! {
                        is_changed = self.change() => if !is_changed { return },
                        () = sleep(time) => {}
                    }
                }
                NextRequest::Retry(time) => sleep(time).await,
            }
            next = self.send().await;
        }
    }

    /// Waits for a change, and a moment longer for others. False if there will be none.
    async fn change(&mut self) -> bool {
        let is_changed = self.state.changed().await.is_ok();
        if is_changed {
            sleep(self.settings.timing.collect).await;
        }
        is_changed
    }

    /// Sends all alerts.
    async fn send(&mut self) -> NextRequest {
        let state = self.state.borrow_and_update().clone();
        let alerts = state.alerts(&self.settings, SystemTime::now(), Instant::now());
        let count = alerts.len();
        self.waiting.set(count);
        if alerts.is_empty() {
            return NextRequest::AfterChange;
        }

        let body = serde_json::to_vec(&alerts).expect("alerts have only texts and times");
        let headers = [("content-type", "application/json".to_owned())];
        match self.client.post(&headers, Bytes::from(body)).await {
            Ok(()) => {
                self.metrics
                    .notified(Receiver::Alertmanager, NotificationOutcome::Sent, count);
                self.waiting.set(0);
                self.log.succeeded();
                self.backoff.reset();
                NextRequest::AfterChangeOr(self.settings.timing.resend)
            }
            Err(error) => {
                self.metrics
                    .notified(Receiver::Alertmanager, NotificationOutcome::Failed, count);
                self.log.failed(&error);
                NextRequest::Retry(self.backoff.wait(fastrand::f64()))
            }
        }
    }
}
