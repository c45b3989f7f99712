//! Sends the open problems as alerts to Alertmanagers (API v2), each of them with a task of its
//! own.
//!
//! It does not know how an alert is made of a problem.
//!
//! All alerts are sent in one request: when a problem was opened or closed, and again every minute,
//! which is soon enough for their annotations. As with Prometheus, an alert ends by itself after
//! four times that interval, so that it does not stay when the monitor dies. An alert that has
//! ended is sent for 15 minutes more, for an Alertmanager that was restarted or did not get a
//! request. So each request says all that there is to know, and a sender has nothing to remember.

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

    /// Takes the problems as they are now. The senders are woken only if one was opened or closed:
    /// a flapping cluster has new numbers of units each second, and these can wait.
    pub(super) fn update(&mut self, changes: &[ProblemChange], open: &OpenProblems, now: Moment) {
        let mut is_urgent = false;
        let mut is_other_closed = false;
        for change in changes {
            match change {
                ProblemChange::Opened(_) => is_urgent = true,
                ProblemChange::Changed(_) => {}
                ProblemChange::Closed(problem, _) => {
                    is_urgent = true;
                    is_other_closed = true;
                    self.closed
                        .push_back(ClosedProblem { problem: problem.clone(), closed: now });
                }
            }
        }

        is_other_closed |= self.drop_closed(now.instant);
        let closed = is_other_closed.then(|| self.closed.iter().cloned().collect());

        self.state.send_if_modified(|state| {
            let has_restored = changes.is_empty() && !Arc::ptr_eq(&state.open, open);
            is_urgent |= has_restored && !open.is_empty();
            state.open = open.clone();
            if let Some(closed) = closed {
                state.closed = closed;
            }
            is_urgent
        });
    }

    /// Drops the problems that were closed too long ago, or that are too many. Returns whether
    /// there were any.
    fn drop_closed(&mut self, now: Instant) -> bool {
        let before = self.closed.len();
        self.closed.retain(|closed| is_recent(closed, now, self.keep_closed));

        let too_many = self.closed.len().saturating_sub(MAX_CLOSED);
        self.closed.drain(..too_many);
        self.metrics
            .notified(Receiver::Alertmanager, NotificationOutcome::Dropped, too_many);
        self.closed.len() < before
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
            // A clock that was set back since then must not make the alert fire again.
            .map(|closed| Alert::new(&closed.problem, closed.closed.wall.min(now), settings));

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
    /// Not before a problem is opened: there are no alerts.
    AfterChange,
    /// When a problem is opened or closed, or after this time.
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

    /// Waits until a problem is opened or closed, and a moment longer for others. False if there
    /// will be none.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Verdict;
    use crate::problems::{ProblemCause, ProblemEnd};

    fn problem(unit: &str) -> Arc<Problem> {
        let verdict = Verdict::Failed;
        Arc::new(Problem {
            id: unit.into(),
            cause: ProblemCause::Unit { verdict, unit: unit.into(), machine: None },
            since: SystemTime::UNIX_EPOCH,
            since_seen: true,
            opened: SystemTime::UNIX_EPOCH,
            units: Vec::new(),
            machine: None,
        })
    }

    fn book() -> AlertBook {
        AlertBook::new(AlertTiming::default(), Arc::new(Metrics::default()))
    }

    #[test]
    fn senders_are_woken_only_when_a_problem_is_opened_or_closed() {
        let mut book = book();
        let mut state = book.subscribe();
        let problem = problem("a.service");
        let open = OpenProblems::default();

        for (change, is_woken) in [
            (ProblemChange::Opened(problem.clone()), true),
            (ProblemChange::Changed(problem.clone()), false),
            (ProblemChange::Closed(problem, ProblemEnd::Recovered), true),
        ] {
            state.mark_unchanged();
            book.update(std::slice::from_ref(&change), &open, Moment::now());
            assert_eq!(state.has_changed().unwrap(), is_woken, "{change:?}");
        }
    }

    #[test]
    fn the_closed_problems_are_copied_only_when_they_are_others() {
        let mut book = book();
        let open = OpenProblems::default();
        let mut now = Moment::now();
        let mut update = |change, now| {
            book.update(&[change], &open, now);
            book.subscribe().borrow().closed.clone()
        };

        let problem = problem("a.service");
        let closed = update(ProblemChange::Closed(problem.clone(), ProblemEnd::Recovered), now);
        assert_eq!(closed.len(), 1);
        let same = update(ProblemChange::Opened(problem.clone()), now);
        assert!(Arc::ptr_eq(&closed, &same));

        now.instant += AlertTiming::default().keep_closed + Duration::from_secs(1);
        assert!(update(ProblemChange::Changed(problem), now).is_empty());
    }

    #[test]
    fn a_closed_alert_does_not_end_in_the_future_after_a_clock_was_set_back() {
        let settings = AlertmanagerSettings {
            targets: Vec::new(),
            labels: BTreeMap::new(),
            external_url: None,
            timing: AlertTiming::default(),
        };
        let closed = Moment::now();
        let state = AlertState {
            closed: [ClosedProblem { problem: problem("a.service"), closed }].into(),
            ..AlertState::default()
        };

        let now = closed.wall - Duration::from_secs(3600);
        let alerts = state.alerts(&settings, now, closed.instant);

        assert_eq!(alerts[0].ends_at, now);
    }
}
