//! A source that polls a [`FleetClient`] on a schedule: one loop for each list of fleet.
//!
//! It must not know how the client reads a list.
//!
//! - Polls of one list never overlap; polls of different lists may.
//! - A poll that takes too long is cancelled.
//! - After a failure, the loop backs off. It retries at once when another loop succeeds again after
//!   a failure of its own.
//! - The pause after a poll is several times as long as the poll took, to leave fleet time for its
//!   work.
//! - When a row of the unit list has appeared or vanished, and after the first unit list, the
//!   machines and unit files are read as soon as their own pause is over: only they show why.

#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::info;

use super::version::FleetVersion;
use super::{FleetClient, Liveness, MARGIN, SourceError, SourceEvent, SourceReport};
use crate::cluster::{FleetList, Moment, ReadSchedule, Reading, Text};
use crate::net::backoff::Backoff;

/// The longest wait after a failure, unless the interval itself is longer.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// After a poll, the loop pauses for at least this many times the duration of the poll, or after a
/// failure for [`LONGEST_BACKOFF`] if that is shorter. fleet reads its whole registry again for
/// each page of its API, so the cost of a poll grows with the square of the number of units (5,000
/// units: 27 s for the unit files).
const PAUSE_FACTOR: u32 = 4;

/// How long after its timeout a poll is cancelled. A client that has the same timeout can report a
/// better error than [`SourceError::Timeout`] in this time.
const CANCEL_DELAY: Duration = Duration::from_millis(500);

/// How often each list is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Interval between the starts of two polls of the units.
    pub units: Duration,
    /// Interval between the starts of two polls of the machines, and of the unit files.
    pub machines: Duration,
    /// How long a poll may take.
    pub timeout: Duration,
}

/// A source that is polled.
pub struct Polled {
    name: Box<dyn Fn() -> String + Send + Sync>,
    fleet_version: Box<dyn Fn() -> Option<FleetVersion> + Send + Sync>,
    reports: mpsc::Receiver<SourceReport>,
    loops: JoinSet<()>,
    liveness: Liveness,
}

impl fmt::Debug for Polled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polled")
            .field("name", &self.name())
            .field("liveness", &self.liveness)
            .finish_non_exhaustive()
    }
}

impl Polled {
    /// Starts polling. Dropping the source cancels its polls.
    pub fn start<C: FleetClient>(client: Arc<C>, schedule: Schedule) -> Self {
        let (report_sender, reports) = mpsc::channel(1);
        let wakers = Arc::new([Notify::new(), Notify::new()]);
        let recovery = watch::Sender::new(None);
        let liveness = Liveness::default();

        let mut loops = JoinSet::new();
        for list in FleetList::ALL {
            let interval = match list {
                FleetList::Units => schedule.units,
                FleetList::Machines | FleetList::UnitFiles => schedule.machines,
            };
            let poll_loop = PollLoop {
                list,
                client: client.clone(),
                timeout: schedule.timeout,
                pacing: PollPacing::new(interval),
                wakers: wakers.clone(),
                recovery: recovery.clone(),
                unit_keys_hash: None,
                reports: report_sender.clone(),
                liveness: liveness.clone(),
            };
            loops.spawn(poll_loop.run());
        }

        Self {
            name: {
                let client = client.clone();
                Box::new(move || client.name())
            },
            fleet_version: Box::new(move || client.fleet_version()),
            reports,
            loops,
            liveness,
        }
    }

    /// The client's name for messages, such as `fleet API`.
    pub(crate) fn name(&self) -> Text {
        (self.name)().into()
    }

    /// The version of the fleetctl or fleetd that answers; `None` if it is not known.
    pub(crate) fn fleet_version(&self) -> Option<FleetVersion> {
        (self.fleet_version)()
    }

    /// By when the source yields its next event.
    pub(crate) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// Waits for the next report.
    pub async fn next(&mut self) -> SourceEvent {
        tokio::select! {
            Some(report) = self.reports.recv() => SourceEvent::Report(report),
            // Nobody cancels a loop while this source exists, so it has panicked.
            Some(Err(error)) = self.loops.join_next() => {
                std::panic::resume_unwind(error.into_panic())
            }
        }
    }

    /// Cancels all polls, and returns when they have ended.
    pub async fn stop(&mut self) {
        self.loops.shutdown().await;
    }
}

/// The loop that polls one list.
struct PollLoop<C> {
    list: FleetList,
    client: Arc<C>,
    timeout: Duration,
    pacing: PollPacing,
    /// Wakers of the loop of the machines and of the loop of the unit files.
    wakers: Arc<[Notify; 2]>,
    /// When a loop last succeeded right after a failure. All loops share it.
    recovery: watch::Sender<Option<Instant>>,
    /// A hash of the keys in the last unit list; `None` before the first.
    unit_keys_hash: Option<u64>,
    reports: mpsc::Sender<SourceReport>,
    liveness: Liveness,
}

impl<C: FleetClient> PollLoop<C> {
    async fn run(mut self) {
        loop {
            let begun = Instant::now();
            self.liveness.set_deadline_of(self.list, begun + self.timeout);
            let outcome = self.poll().await;

            let at = Moment::now();
            let took = begun.elapsed();
            let delay = self.next_delay(took, outcome.is_ok());
            let report = SourceReport {
                lists: self.list.alone(),
                at,
                took,
                outcome,
                schedule: Some(self.schedule(took, delay)),
            };

            self.wake_others(&report);
            let ended = begun + took;
            self.liveness
                .set_deadline_of(self.list, ended + delay.regular + self.timeout);
            if self.reports.send(report).await.is_err() {
                return;
            }

            self.wait(begun, ended, delay).await;
        }
    }

    async fn poll(&self) -> Result<Reading, SourceError> {
        timeout(self.timeout + CANCEL_DELAY, self.client.poll(self.list))
            .await
            .unwrap_or(Err(SourceError::Timeout(self.timeout)))
    }

    /// The delay after a poll. If this loop has recovered, the other loops are notified.
    fn next_delay(&mut self, took: Duration, succeeded: bool) -> PollDelay {
        if succeeded && self.pacing.is_backing_off() {
            self.recovery.send_replace(Some(Instant::now()));
        }
        let delay = self.pacing.after(took, succeeded, fastrand::f64());

        if delay.slow_begins {
            info!(
                "reading the {} took {:.1} s: the next poll starts in {:.1} s, \
                 to leave fleet time for its work",
                self.list,
                took.as_secs_f64(),
                delay.regular.as_secs_f64()
            );
        }
        delay
    }

    fn schedule(&self, took: Duration, delay: PollDelay) -> ReadSchedule {
        let within = delay.regular + self.timeout + CANCEL_DELAY + MARGIN;
        ReadSchedule::new(delay.regular + took, within)
    }

    /// Waits until the next poll is due, after a poll that lasted from `begun` to `ended`.
    async fn wait(&self, begun: Instant, ended: Instant, delay: PollDelay) {
        let woken = async {
            match (delay.earliest_wake, self.own_waker()) {
                (Some(earliest), Some(waker)) => {
                    waker.notified().await;
                    sleep_until(ended + earliest).await;
                }
                (Some(_), None) => std::future::pending().await,
                // If this poll began before another loop recovered, its failure is out of date.
                (None, _) => {
                    let is_newer = |at: &Option<Instant>| at.is_some_and(|at| at >= begun);
                    // This cannot fail: `self` holds a sender.
                    let _ = self.recovery.subscribe().wait_for(is_newer).await;
                }
            }
        };

        tokio::select! {
            () = sleep_until(ended + delay.regular) => {}
            () = woken => {}
        }
    }

    fn own_waker(&self) -> Option<&Notify> {
        match self.list {
            FleetList::Units => None,
            FleetList::Machines => Some(&self.wakers[0]),
            FleetList::UnitFiles => Some(&self.wakers[1]),
        }
    }

    /// Wakes the other loops if a row of the unit list has appeared or vanished, and after the
    /// first unit list: their last readings may be older than this list. They begin after this
    /// list was read, so what they read is never older than it.
    fn wake_others(&mut self, report: &SourceReport) {
        let Ok(Reading::Units { states, .. }) = &report.outcome else {
            return;
        };

        let mut hasher = DefaultHasher::new();
        for state in states {
            (&state.unit, &state.machine).hash(&mut hasher);
        }
        let hash = Some(hasher.finish());

        if self.unit_keys_hash != hash {
            for waker in &*self.wakers {
                waker.notify_one();
            }
        }
        self.unit_keys_hash = hash;
    }
}

/// How long a loop waits after a poll.
#[derive(Clone, Copy, Debug, PartialEq)]
struct PollDelay {
    /// Until the next poll, unless the loop is woken.
    regular: Duration,
    /// How long after the poll a changed unit list may wake the loop at the earliest. `None` after
    /// a failure: then only the recovery of another loop wakes it.
    earliest_wake: Option<Duration>,
    /// Whether this is the first slow poll after a fast one.
    slow_begins: bool,
}

/// Decides how long a loop waits. Pure: time and randomness are passed in.
#[derive(Debug)]
struct PollPacing {
    interval: Duration,
    backoff: Backoff,
    slow: bool,
}

impl PollPacing {
    fn new(interval: Duration) -> Self {
        let backoff = Backoff::new(interval.saturating_mul(2), LONGEST_BACKOFF);
        Self { interval, backoff, slow: false }
    }

    fn is_backing_off(&self) -> bool {
        self.backoff.is_active()
    }

    /// The delay after a poll. `chance`, a random number between 0 and 1, decides on the jitter of
    /// the backoff.
    fn after(&mut self, took: Duration, succeeded: bool, chance: f64) -> PollDelay {
        let until_next = self.interval.saturating_sub(took);
        let pause = took * PAUSE_FACTOR;

        if succeeded {
            self.backoff.reset();
            let slow = pause > until_next;
            let slow_begins = slow && !self.slow;
            self.slow = slow;

            return PollDelay {
                regular: until_next.max(pause),
                earliest_wake: Some(pause),
                slow_begins,
            };
        }

        let backoff = self.backoff.wait(chance);
        let regular = backoff.max(until_next).max(pause.min(LONGEST_BACKOFF));
        PollDelay { regular, earliest_wake: None, slow_begins: false }
    }
}
