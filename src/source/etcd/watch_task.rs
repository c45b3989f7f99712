//! The task that watches etcd: it connects to a member, and to the next one if that fails, reads
//! the registry, and reports what changes. It knows neither HTTP ([`MemberClient`]) nor what a key
//! means ([`key_tree`]).

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{self, Permit};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::EtcdSource;
use super::endpoint::Endpoint;
use super::error::{EtcdError, EtcdErrors};
use super::key_tree::{self, KeyTree};
use super::keys::{KeyEvent, Node};
use super::member_client::{MemberClient, TreeSnapshot};
use super::monitor::{self, MonitorEvent, PROBE_INTERVAL};
use super::report_schedule::ReportSchedule;
use super::stall::{StallDetector, WatchHealth};
use super::watch::{EventWatch, WatchEnd, WatchStart};
use crate::cluster::{FleetList, Moment, ReadSchedule, Reading, Text};
use crate::net::backoff::Backoff;
use crate::source::{Liveness, MARGIN, SourceEvent, SourceReport};

/// How often a report is made although nothing has changed, as long as etcd responds.
const TICK: Duration = Duration::from_secs(1);
/// How long a tree that was read for a comparison waits for the watch to catch up with it.
const CATCH_UP_TIME: Duration = Duration::from_secs(2);
/// The first and the longest wait before a retry when no member can be read.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Watches etcd for as long as it runs.
pub(super) struct WatchTask {
    etcd: EtcdSource,
    tree: KeyTree,
    /// Whether the next report is of the whole registry.
    wants_snapshot: Arc<AtomicBool>,
    /// The ID of etcd's cluster that was read last.
    cluster_id: Option<String>,
    /// Whether the last watch ended because it could not catch up with etcd's events.
    needs_stream: bool,
    /// Watches may use streams from this moment on.
    streams_allowed_after: Instant,
    events: mpsc::Sender<SourceEvent>,
    name: Arc<Mutex<Text>>,
    liveness: Liveness,
}

/// The state of one watch of one member.
struct WatchSession {
    endpoint: Endpoint,
    schedule: ReportSchedule,
    stall: StallDetector,
    comparison: Option<PendingComparison>,
}

impl WatchSession {
    fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            schedule: ReportSchedule::new(),
            stall: StallDetector::new(),
            comparison: None,
        }
    }
}

/// A whole tree that is compared as soon as the watch has caught up with it.
struct PendingComparison {
    tree: Node,
    index: u64,
    /// At this moment it is compared even if the watch has not caught up.
    until: Instant,
}

impl WatchTask {
    pub(super) fn new(
        etcd: EtcdSource,
        events: mpsc::Sender<SourceEvent>,
        wants_snapshot: Arc<AtomicBool>,
        name: Arc<Mutex<Text>>,
        liveness: Liveness,
    ) -> Self {
        Self {
            tree: KeyTree::new(&etcd.settings.prefix),
            etcd,
            wants_snapshot,
            cluster_id: None,
            needs_stream: false,
            streams_allowed_after: Instant::now(),
            events,
            name,
            liveness,
        }
    }

    /// Watches one member until the watch ends, then reads the same or the next one again.
    pub(super) async fn run(mut self) {
        let members = self.etcd.settings.endpoints.clone();
        let mut member = 0;
        let mut backoff = Backoff::new(FIRST_BACKOFF, LONGEST_BACKOFF);
        let mut errors = Vec::new();
        loop {
            self.liveness.set_deadline(Instant::now() + self.timeout() * 2);

            let (has_failed, must_wait) = match self.read_registry(&members[member]).await {
                Ok(watch) => {
                    errors.clear();
                    let started = Instant::now();
                    let has_failed = self.follow(watch).await;
                    let was_short = started.elapsed() < TICK;
                    if !was_short {
                        backoff.reset();
                    }
                    (has_failed, was_short)
                }
                Err(error) => {
                    debug!("{error}");
                    errors.push(error);
                    (true, errors.len() == members.len())
                }
            };

            if has_failed {
                member = (member + 1) % members.len();
            }
            if errors.len() == members.len() {
                self.report_failure(std::mem::take(&mut errors)).await;
            }
            if must_wait {
                let wait = backoff.wait(fastrand::f64());
                self.liveness.set_deadline(Instant::now() + wait + self.timeout() * 2);
                sleep(wait).await;
            }
        }
    }

    fn timeout(&self) -> Duration {
        self.etcd.settings.timeout
    }

    /// Reads and reports the whole registry of a member, and returns the watch that follows on it.
    async fn read_registry(&mut self, endpoint: &Endpoint) -> Result<EventWatch, EtcdError> {
        let started = Instant::now();
        let prefix = self.etcd.settings.prefix.clone();
        let mut client = self.etcd.client(endpoint);
        let with_stream =
            std::mem::take(&mut self.needs_stream) && Instant::now() >= self.streams_allowed_after;
        let mut watch_start = if with_stream {
            WatchStart::with_stream(self.etcd.client(endpoint), &prefix).await?
        } else {
            WatchStart::without_stream(self.etcd.client(endpoint))
        };

        let TreeSnapshot { tree, index, cluster_id } =
            watch_start.read_tree(&mut client, &prefix).await?;
        if !key_tree::is_of_fleet(&tree) {
            let keys = format!("{prefix}/machines or {prefix}/job");
            return Err(EtcdError::KeyNotFound(endpoint.clone(), keys));
        }
        let name = self.update_name(&mut client).await;
        self.forget_other_cluster(endpoint, cluster_id, index).await;

        // TTLs count from the complete response, so that the time it took makes no key overdue.
        self.tree.load(tree, index, Instant::now().into_std());
        info!(
            "watching fleet's registry in {name} at {endpoint}: {} keys at index {index}",
            self.tree.key_count()
        );
        self.wants_snapshot.store(true, Relaxed);
        let report = self.report(started.elapsed());
        self.emit(SourceEvent::Report(report)).await;

        Ok(watch_start.into_watch(client, prefix, index, self.streams_allowed_after))
    }

    /// Sets the name of this source from the version of the member.
    async fn update_name(&self, client: &mut MemberClient) -> String {
        let name = match client.version().await {
            Some(version) => format!("etcd v{version}"),
            None => "etcd".to_owned(),
        };
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name.as_str().into();
        name
    }

    /// Discards what is known if it was read from another cluster, or from one whose data was
    /// restored from a backup since.
    async fn forget_other_cluster(
        &mut self,
        endpoint: &Endpoint,
        cluster_id: Option<String>,
        index: u64,
    ) {
        let old_index = self.tree.index();
        let old_id = std::mem::replace(&mut self.cluster_id, cluster_id);
        let is_other = old_id.is_some() && old_id != self.cluster_id;
        if !is_other && index >= old_index {
            return;
        }

        warn!(
            "etcd at {endpoint} is another cluster than before, or was restored (index {index}, \
             it was {old_index}; cluster {}, it was {}): starting anew",
            self.cluster_id.as_deref().unwrap_or("unknown"),
            old_id.as_deref().unwrap_or("unknown"),
        );
        self.tree = KeyTree::new(&self.etcd.settings.prefix);
        self.emit(SourceEvent::Restarted).await;
    }

    /// Reports what a watch delivers, until it ends for any reason. Returns whether the member has
    /// failed, so that the next one is used.
    async fn follow(&mut self, watch: EventWatch) -> bool {
        let mut session = WatchSession::new(watch.endpoint().clone());
        let prefix = self.etcd.settings.prefix.clone();
        let mut changes = pin!(watch.events());

        let (sender, mut probes) = mpsc::channel(1);
        let client = self.etcd.client(&session.endpoint);
        let comparison_interval = self.etcd.comparison_interval;
        let mut monitor = pin!(monitor::monitor(client, &prefix, comparison_interval, sender));

        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reports = self.events.clone();

        loop {
            let recheck_at = session.schedule.recheck_at();
            let not_before = self.tree.has_changed().then(|| session.schedule.not_before());
            tokio::select! {
                Some(events) = changes.next() => match events {
                    Ok(events) => self.apply(&events, &mut session.schedule),
                    Err(end) => return self.end_watch(end, &session.endpoint),
                },
                error = &mut monitor => {
                    info!("{error}");
                    return true;
                }
                Some(probe) = probes.recv() => {
                    let health = self.handle_probe(probe, &mut session);
                    if health != WatchHealth::UpToDate {
                        self.end_stalled_watch(health, session.endpoint);
                        return false;
                    }
                }
                _ = ticks.tick() => {
                    session.stall.tick();
                    session.schedule.tick();
                }
                () = sleep_until_some(recheck_at) => session.schedule.recheck(),
                permit = reserve(&reports, not_before), if session.schedule.is_due() => {
                    let Ok(permit) = permit else { return false };
                    self.send_report(permit, &mut session.schedule);
                }
            }

            let has_differences = self.compare_if_ready(&mut session).await;
            if has_differences {
                return false;
            }
        }
    }

    fn apply(&mut self, events: &[KeyEvent], schedule: &mut ReportSchedule) {
        let now = Instant::now().into_std();
        self.tree.record_received(now);
        for event in events {
            self.tree.apply(event, now);
        }

        schedule.record_received();
        if self.tree.has_changed() {
            schedule.record_changes();
        }
    }

    /// Handles the result of a probe, and returns what it shows about the watch.
    fn handle_probe(&mut self, probe: MonitorEvent, session: &mut WatchSession) -> WatchHealth {
        session.schedule.record_received();
        self.tree.record_received(Instant::now().into_std());

        match probe {
            MonitorEvent::Alive { newest } => session.stall.probe(newest, self.tree.index()),
            MonitorEvent::ComparisonBegins => {
                self.tree.begin_comparison();
                WatchHealth::UpToDate
            }
            MonitorEvent::Tree { tree, index } => {
                let until = Instant::now() + CATCH_UP_TIME;
                session.comparison = Some(PendingComparison { tree, index, until });
                WatchHealth::UpToDate
            }
        }
    }

    fn send_report(&mut self, permit: Permit<'_, SourceEvent>, schedule: &mut ReportSchedule) {
        let now = Instant::now();
        let has_changes = self.tree.has_changed();
        let report = self.report(Duration::ZERO);
        let ends_leases = report.outcome.as_ref().is_ok_and(Reading::ends_leases);

        permit.send(SourceEvent::Report(report));
        schedule.record_report(now, has_changes, ends_leases);
        self.liveness.set_deadline(now + PROBE_INTERVAL + self.timeout());
    }

    /// The next report: the whole registry if a snapshot is requested, otherwise the changes.
    fn report(&mut self, took: Duration) -> SourceReport {
        let at = Moment::now();
        let reading = if self.wants_snapshot.swap(false, Relaxed) {
            Reading::Registry(self.tree.snapshot(at.instant))
        } else {
            let changes = self.tree.changes(at.instant);
            Reading::Changes { index: self.tree.index(), changes }
        };

        // A member that does not respond is abandoned after the timeout. Then the next one has the
        // same timeout for the read of its whole tree.
        let within = PROBE_INTERVAL + 2 * self.timeout() + MARGIN;
        SourceReport {
            lists: &FleetList::ALL,
            at,
            took,
            outcome: Ok(reading),
            schedule: Some(ReadSchedule::new(PROBE_INTERVAL, within)),
        }
    }

    /// Reports that no member can be read.
    async fn report_failure(&self, errors: Vec<EtcdError>) {
        let report = SourceReport {
            lists: &FleetList::ALL,
            at: Moment::now(),
            took: Duration::ZERO,
            outcome: Err(EtcdErrors(errors).into()),
            schedule: None,
        };
        self.emit(SourceEvent::Report(report)).await;
    }

    /// Compares the watched state with a tree that was read for a comparison, if there is one and
    /// the watch has caught up with it. Returns whether they differ.
    async fn compare_if_ready(&mut self, session: &mut WatchSession) -> bool {
        let watched_index = self.tree.index();
        let ready = session.comparison.take_if(|comparison| {
            watched_index >= comparison.index || Instant::now() >= comparison.until
        });
        let Some(PendingComparison { tree, index, .. }) = ready else {
            return false;
        };

        let differences = self.tree.count_differences(tree, index);
        self.emit(SourceEvent::Rechecked { differences }).await;
        if differences > 0 {
            warn!(
                "{differences} keys of etcd at {} differ from the watched state: reading the \
                 registry again",
                session.endpoint
            );
        }
        differences > 0
    }

    /// Logs why a watch has ended, and returns whether the member has failed.
    fn end_watch(&mut self, end: WatchEnd, endpoint: &Endpoint) -> bool {
        match end {
            WatchEnd::Failed(error) => {
                info!("{error}");
                return true;
            }
            WatchEnd::EventsCleared => {
                let index = self.tree.index();
                info!(
                    "etcd at {endpoint} no longer has the events after index {index} (it keeps \
                     1,000): reading the registry again"
                );
                // Only with a stream the next watch can keep up. So a stream is used even if the
                // last one has stalled.
                self.needs_stream = true;
                self.streams_allowed_after = Instant::now();
            }
            WatchEnd::IndexReset => {
                info!(
                    "etcd at {endpoint} has a lower index than before: reading the registry again"
                );
            }
            WatchEnd::DirectoryReplaced => {
                let key = &self.etcd.settings.prefix;
                info!(
                    "the watched directory {key} of etcd at {endpoint} was deleted: reading the \
                     registry again"
                );
            }
        }
        false
    }

    /// Logs that a watch has stalled. If this program was not suspended, a proxy may be holding
    /// back responses until they are complete. So the next watches use no streams for a while.
    fn end_stalled_watch(&mut self, health: WatchHealth, endpoint: Endpoint) {
        info!("{}", EtcdError::Stalled(endpoint));
        if health == WatchHealth::Stalled {
            self.streams_allowed_after = Instant::now() + self.etcd.stream_retry;
        }
    }

    async fn emit(&self, event: SourceEvent) {
        // The receiver is gone only when this task is about to be cancelled.
        let _ = self.events.send(event).await;
    }
}

/// Waits until a moment, or for ever.
async fn sleep_until_some(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits until `not_before`, if it is set, and then for a place in the channel.
async fn reserve(
    events: &mpsc::Sender<SourceEvent>,
    not_before: Option<Instant>,
) -> Result<Permit<'_, SourceEvent>, SendError<()>> {
    if let Some(moment) = not_before {
        sleep_until(moment).await;
    }
    events.reserve().await
}
