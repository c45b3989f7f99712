//! A source that asks on a schedule: one lane for each list, each with its own pace.
//!
//! Polls of one list never overlap, polls of different lists may. A poll that takes too long is
//! given up; after a failure the lane backs off, until another lane has an answer again after a
//! failure of its own; after a slow answer it leaves fleet alone for a while. When a row of the
//! unit list has appeared or vanished, and after the first list, the machines and unit files are
//! asked for at once, since only they can tell why.
//!
//! It knows that something can be asked ([`FleetClient`]), not what.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::info;

use super::{FleetClient, Liveness, MARGIN, SourceError, SourceEvent, SourceReport};
use crate::cluster::{Expected, FleetList, Moment, Reading, Text};

/// The longest wait after a failure, unless the interval itself is longer.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// After a poll that took `d`, fleet is left alone for this many times `d`. Each page of fleet's
/// API makes it read its whole registry again, so that reading costs it the square of the units
/// (5,000 units: 27 s for the unit files).
const PAUSE: u32 = 4;

/// How much longer than its timeout a poll is waited for. A source that gives up by itself can tell
/// more than that time is over: it has the last word.
const LAST_WORD: Duration = Duration::from_millis(500);

/// When what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// From the beginning of one poll of the units to that of the next.
    pub units: Duration,
    /// The same for machines and unit files.
    pub machines: Duration,
    /// How long a poll may take.
    pub timeout: Duration,
}

/// A source that is polled.
pub struct Polled {
    name: Box<dyn Fn() -> String + Send + Sync>,
    reports: mpsc::Receiver<SourceReport>,
    lanes: JoinSet<()>,
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
    /// Begins to poll. Dropping it gives up what is under way.
    pub fn start<P: FleetClient>(poll: Arc<P>, schedule: Schedule) -> Self {
        let (sender, reports) = mpsc::channel(1);
        let wake = Arc::new([Notify::new(), Notify::new()]);
        let recovered = watch::Sender::new(None);
        let mut lanes = JoinSet::new();
        let liveness = Liveness::default();
        for list in FleetList::ALL {
            let lane = PollLoop {
                list,
                poll: poll.clone(),
                timeout: schedule.timeout,
                pace: PollPacing::new(if list == FleetList::Units {
                    schedule.units
                } else {
                    schedule.machines
                }),
                wake: wake.clone(),
                recovered: recovered.clone(),
                keys: None,
                reports: sender.clone(),
                liveness: liveness.clone(),
            };
            lanes.spawn(lane.run());
        }
        Self {
            name: Box::new(move || poll.name()),
            reports,
            lanes,
            liveness,
        }
    }

    /// What is asked, for people.
    pub fn name(&self) -> Text {
        (self.name)().into()
    }

    /// When it will speak next.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// Waits for the next report.
    pub async fn next(&mut self) -> SourceEvent {
        tokio::select! {
            Some(report) = self.reports.recv() => SourceEvent::Report(report),
            // Nobody cancels a lane as long as this is there: it ends by a panic alone, which is to
            // be heard.
            Some(Err(error)) = self.lanes.join_next() => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Gives up what is under way, and returns when it is.
    pub async fn stop(&mut self) {
        self.lanes.shutdown().await;
    }
}

struct PollLoop<P> {
    list: FleetList,
    poll: Arc<P>,
    timeout: Duration,
    pace: PollPacing,
    /// Wakes the lanes of the machines and the unit files.
    wake: Arc<[Notify; 2]>,
    /// When a lane last had an answer after a failure; all lanes share it.
    recovered: watch::Sender<Option<Instant>>,
    /// The keys of the last unit list, as a hash.
    keys: Option<u64>,
    reports: mpsc::Sender<SourceReport>,
    liveness: Liveness,
}

impl<P: FleetClient> PollLoop<P> {
    async fn run(mut self) {
        loop {
            let begun = Instant::now();
            self.liveness.set_deadline_of(self.list, begun + self.timeout);
            let outcome = match timeout(self.timeout + LAST_WORD, self.poll.poll(self.list)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(SourceError::Timeout(self.timeout)),
            };
            let at = Moment::now();
            let took = begun.elapsed();
            let succeeded = outcome.is_ok();
            if succeeded && self.pace.is_backing_off() {
                self.recovered.send_replace(Some(Instant::now()));
            }
            let wait = self.pace.after(took, succeeded, fastrand::f64());
            let expected = Expected {
                every: wait.regular + took,
                within: wait.regular + self.timeout + LAST_WORD + MARGIN,
            };
            let report = SourceReport {
                lists: self.list.alone(),
                at,
                took,
                outcome,
                expected: Some(expected),
            };
            if wait.stretched {
                info!(
                    "reading the {} took {:.1} s: the next one waits {:.1} s, to leave fleet time for its work",
                    self.list,
                    took.as_secs_f64(),
                    wait.regular.as_secs_f64()
                );
            }
            self.wake_others(&report);
            let ended = begun + took;
            self.liveness
                .set_deadline_of(self.list, ended + wait.regular + self.timeout);
            if self.reports.send(report).await.is_err() {
                return;
            }
            self.wait(begun, ended, wait).await;
        }
    }

    /// Waits until the next poll is due, after one that `begun` and `ended`.
    async fn wait(&self, begun: Instant, ended: Instant, wait: PollDelay) {
        let woken = async {
            match (wait.earliest, self.own_bell()) {
                (Some(earliest), Some(bell)) => {
                    bell.notified().await;
                    sleep_until(ended + earliest).await;
                }
                (Some(_), None) => std::future::pending().await,
                // A poll that failed, and was under way when another lane recovered, tells of the
                // time before.
                (None, _) => {
                    let since = |at: &Option<Instant>| at.is_some_and(|at| at >= begun);
                    // The sender is ours, so there always is one.
                    let _ = self.recovered.subscribe().wait_for(since).await;
                }
            }
        };
        tokio::select! {
            () = sleep_until(ended + wait.regular) => {}
            () = woken => {}
        }
    }

    fn own_bell(&self) -> Option<&Notify> {
        match self.list {
            FleetList::Units => None,
            FleetList::Machines => Some(&self.wake[0]),
            FleetList::UnitFiles => Some(&self.wake[1]),
        }
    }

    /// Wakes the other lanes if a row of the unit list has appeared or vanished, and after the
    /// first list: what they read before it may be older. It takes the report, not the reading, so
    /// that what they then read is never older than it: the report's time is set before they begin.
    fn wake_others(&mut self, report: &SourceReport) {
        let Ok(Reading::Units { states, .. }) = &report.outcome else {
            return;
        };
        let mut hasher = DefaultHasher::new();
        for state in states {
            (&state.unit, &state.machine).hash(&mut hasher);
        }
        let keys = Some(hasher.finish());
        if self.keys != keys {
            for bell in &*self.wake {
                bell.notify_one();
            }
        }
        self.keys = keys;
    }
}

/// How long a lane waits after a poll.
#[derive(Clone, Copy, Debug, PartialEq)]
struct PollDelay {
    /// Until the next poll, if nothing happens.
    regular: Duration,
    /// Until it may be woken by a list of units; `None` after a failure, when only a recovery wakes
    /// it.
    earliest: Option<Duration>,
    /// Whether the wait was stretched just now because the poll was slow.
    stretched: bool,
}

/// The pace of a lane. Pure: time and chance are passed in.
#[derive(Debug)]
struct PollPacing {
    interval: Duration,
    failures: u32,
    slow: bool,
}

impl PollPacing {
    fn new(interval: Duration) -> Self {
        Self { interval, failures: 0, slow: false }
    }

    fn is_backing_off(&self) -> bool {
        self.failures > 0
    }

    /// The wait after a poll that `took` this long. `chance` is between 0 and 1, so that many
    /// monitors whose fleet fails at the same moment do not come back at the same moment.
    fn after(&mut self, took: Duration, succeeded: bool, chance: f64) -> PollDelay {
        let until_next = self.interval.saturating_sub(took);
        let pause = took * PAUSE;
        if succeeded {
            self.failures = 0;
            let slow = pause > until_next;
            let stretched = slow && !self.slow;
            self.slow = slow;
            return PollDelay {
                regular: until_next.max(pause),
                earliest: Some(pause),
                stretched,
            };
        }
        self.failures += 1;
        let doubled = self
            .interval
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST_BACKOFF);
        let backoff = doubled.mul_f64(0.75 + chance.clamp(0.0, 1.0) / 4.0);
        let regular = backoff.max(until_next).max(pause.min(LONGEST_BACKOFF));
        PollDelay { regular, earliest: None, stretched: false }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::cluster::UnitState;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_quick_answer_keeps_the_interval() {
        let mut pace = PollPacing::new(2 * SECOND);
        let wait = pace.after(SECOND / 10, true, 0.5);
        assert_eq!(wait.regular, 2 * SECOND - SECOND / 10);
        assert_eq!(wait.earliest, Some(SECOND * 4 / 10));
        assert!(!wait.stretched);
    }

    #[test]
    fn a_slow_answer_earns_a_pause_and_is_told_once() {
        let mut pace = PollPacing::new(2 * SECOND);
        let wait = pace.after(5 * SECOND, true, 0.5);
        assert_eq!(
            (wait.regular, wait.earliest, wait.stretched),
            (20 * SECOND, Some(20 * SECOND), true)
        );
        assert!(!pace.after(5 * SECOND, true, 0.5).stretched, "told twice");
        assert!(!pace.after(SECOND / 10, true, 0.5).stretched);
        assert!(pace.after(5 * SECOND, true, 0.5).stretched, "slow again, and not told");
    }

    #[test]
    fn failures_back_off_to_30_seconds_and_one_success_ends_it() {
        let mut pace = PollPacing::new(2 * SECOND);
        let waits: Vec<f64> = (0..6)
            .map(|_| pace.after(SECOND / 10, false, 1.0).regular.as_secs_f64())
            .collect();
        assert_eq!(waits, [4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        assert_eq!(pace.after(SECOND / 10, true, 1.0).regular, 2 * SECOND - SECOND / 10);
        let low = pace.after(SECOND / 10, false, 0.0).regular;
        assert!(low >= 2 * SECOND - SECOND / 10 && low < 4 * SECOND, "no jitter: {low:?}");
        assert_eq!(
            PollPacing::new(60 * SECOND).after(SECOND, false, 1.0).regular,
            59 * SECOND,
            "faster than the interval"
        );
        let mut pace = PollPacing::new(2 * SECOND);
        assert!((0..100_000).all(|_| pace.after(SECOND, false, 1.0).regular <= LONGEST_BACKOFF));
    }

    #[test]
    fn a_slow_failure_earns_a_pause_too() {
        let wait = |took| PollPacing::new(2 * SECOND).after(took, false, 0.0).regular;
        assert_eq!(wait(5 * SECOND), 20 * SECOND);
        assert_eq!(wait(10 * SECOND), LONGEST_BACKOFF);
    }

    /// Answers with one unit more each time; counts polls and checks that none of one list
    /// overlap.
    #[derive(Default)]
    struct GrowingClient {
        polls: Mutex<Vec<(FleetList, Instant)>>,
        running: [AtomicUsize; 3],
        hang: Option<FleetList>,
    }

    impl FleetClient for GrowingClient {
        fn name(&self) -> String {
            "growing".to_owned()
        }

        async fn poll(&self, list: FleetList) -> Result<Reading, SourceError> {
            assert_eq!(
                self.running[list as usize].fetch_add(1, Ordering::SeqCst),
                0,
                "{list} overlap"
            );
            let count = {
                let mut polls = self.polls.lock().unwrap();
                polls.push((list, Instant::now()));
                polls.iter().filter(|(polled, _)| *polled == list).count()
            };
            if self.hang == Some(list) {
                self.running[list as usize].fetch_sub(1, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(SECOND / 10).await;
            self.running[list as usize].fetch_sub(1, Ordering::SeqCst);
            let unit =
                |number: usize| UnitState::unreported(format!("{number}.service").as_str().into());
            Ok(match list {
                FleetList::Units => {
                    Reading::Units { states: (0..count.max(3)).map(unit).collect(), files: None }
                }
                FleetList::Machines => Reading::Machines { machines: vec![] },
                FleetList::UnitFiles => Reading::UnitFiles { files: vec![] },
            })
        }
    }

    fn schedule() -> Schedule {
        Schedule {
            units: 2 * SECOND,
            machines: 100 * SECOND,
            timeout: 10 * SECOND,
        }
    }

    async fn run_until(source: &mut Polled, enough: Instant) -> Vec<SourceReport> {
        let mut reports = Vec::new();
        while let Ok(said) = tokio::time::timeout_at(enough, source.next()).await {
            let SourceEvent::Report(report) = said else {
                panic!("{said:?}")
            };
            reports.push(report);
        }
        reports
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_row_makes_it_ask_at_once_why() {
        let growing = Arc::new(GrowingClient::default());
        let start = Instant::now();
        let mut source = Polled::start(growing.clone(), schedule());
        run_until(&mut source, start + 9 * SECOND).await;
        let of = |list: FleetList| -> Vec<u64> {
            let polls = growing.polls.lock().unwrap();
            polls
                .iter()
                .filter(|(polled, _)| *polled == list)
                .map(|(_, at)| (*at - start).as_secs())
                .collect()
        };
        // Three rows are there in the first three answers; the fourth unit comes at 6 s, the fifth
        // at 8 s. After the first list they are asked again as soon as the pause is over.
        assert_eq!(of(FleetList::Units), [0, 2, 4, 6, 8]);
        assert_eq!(of(FleetList::Machines), [0, 0, 6, 8]);
        assert_eq!(of(FleetList::UnitFiles), [0, 0, 6, 8]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_explains_the_first_list_is_read_again_as_soon_as_the_pause_is_over() {
        let growing = Arc::new(GrowingClient::default());
        let start = Instant::now();
        let mut source = Polled::start(growing.clone(), schedule());
        run_until(&mut source, start + SECOND).await;
        let polls = growing.polls.lock().unwrap();
        for list in [FleetList::Machines, FleetList::UnitFiles] {
            let of = polls.iter().filter(|(polled, _)| *polled == list);
            let begun: Vec<Duration> = of.map(|(_, at)| *at - start).collect();
            // Each poll takes 0.1 s, and four times that is left for fleet.
            assert_eq!(begun.len(), 2, "{list}");
            assert_eq!(begun[1].as_millis() / 10, 50, "{list}");
        }
    }

    /// Fails until a moment, each list after a time of its own, and answers at once from then on.
    struct FailingClient {
        polls: Mutex<Vec<(FleetList, Instant)>>,
        until: Instant,
        takes: [Duration; 3],
    }

    impl FleetClient for FailingClient {
        fn name(&self) -> String {
            "outage".to_owned()
        }

        async fn poll(&self, list: FleetList) -> Result<Reading, SourceError> {
            let begun = Instant::now();
            self.polls.lock().unwrap().push((list, begun));
            if begun < self.until {
                tokio::time::sleep(self.takes[list as usize]).await;
                return Err(SourceError::Recorded("an outage".to_owned()));
            }
            Ok(match list {
                FleetList::Units => Reading::Units { states: vec![], files: None },
                FleetList::Machines => Reading::Machines { machines: vec![] },
                FleetList::UnitFiles => Reading::UnitFiles { files: vec![] },
            })
        }
    }

    /// When each list was first read after an outage, and how often in the half minute from then
    /// on.
    async fn after_an_outage(lasts: Duration, takes: [Duration; 3]) -> [(Duration, usize); 3] {
        let start = Instant::now();
        let outage =
            Arc::new(FailingClient { polls: Mutex::default(), until: start + lasts, takes });
        let mut source = Polled::start(outage.clone(), schedule());
        run_until(&mut source, outage.until + 30 * SECOND).await;
        let polls = outage.polls.lock().unwrap();
        FleetList::ALL.map(|list| {
            let good = polls.iter().filter(|(of, at)| *of == list && *at >= outage.until);
            let good: Vec<Duration> = good.map(|(_, at)| *at - start).collect();
            (good[0], good.len())
        })
    }

    #[tokio::test(start_paused = true)]
    async fn when_one_topic_can_be_read_again_all_are_asked_at_once() {
        let [units, machines, files] = after_an_outage(60 * SECOND, [SECOND / 10; 3]).await;
        assert_eq!((machines.0, files.0), (units.0, units.0));
        // Once more after the first list; a recovery is no reason to ask again and again.
        assert!(machines.1 <= 2 && files.1 <= 2, "{machines:?} {files:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_was_under_way_when_another_topic_recovered_is_made_again_at_once() {
        let [units, _, files] =
            after_an_outage(3 * SECOND, [SECOND / 10, SECOND / 10, 9 * SECOND]).await;
        assert!(units.0 < 9 * SECOND, "{units:?}");
        assert_eq!(files.0.as_secs(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_says_how_old_it_may_become() {
        let mut source = Polled::start(Arc::new(GrowingClient::default()), schedule());
        let SourceEvent::Report(report) = source.next().await else {
            panic!("no report")
        };
        let took = SECOND / 10;
        let interval = if report.lists == [FleetList::Units] {
            2 * SECOND
        } else {
            100 * SECOND
        };
        let within = interval - took + 10 * SECOND + LAST_WORD + MARGIN;
        assert_eq!(report.expected, Some(Expected { every: interval, within }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_hangs_is_given_up_and_delays_no_other() {
        let hanging =
            Arc::new(GrowingClient { hang: Some(FleetList::Machines), ..GrowingClient::default() });
        let start = Instant::now();
        let mut source = Polled::start(hanging, schedule());
        let reports = run_until(&mut source, start + 11 * SECOND).await;
        let timeouts: Vec<FleetList> = reports
            .iter()
            .filter(|report| matches!(report.outcome, Err(SourceError::Timeout(_))))
            .map(|report| report.lists[0])
            .collect();
        assert_eq!(timeouts, [FleetList::Machines]);
        assert_eq!(
            reports
                .iter()
                .filter(|report| report.lists == [FleetList::Units])
                .count(),
            6
        );
    }

    #[tokio::test]
    #[should_panic(expected = "a poll that panics")]
    async fn a_panic_of_a_poll_is_heard() {
        struct PanickingClient;
        impl FleetClient for PanickingClient {
            fn name(&self) -> String {
                "panicking".to_owned()
            }

            async fn poll(&self, _: FleetList) -> Result<Reading, SourceError> {
                panic!("a poll that panics")
            }
        }
        Polled::start(Arc::new(PanickingClient), schedule()).next().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_promise_is_kept_also_by_a_source_that_hangs() {
        let hanging =
            Arc::new(GrowingClient { hang: Some(FleetList::Units), ..GrowingClient::default() });
        let start = Instant::now();
        let mut source = Polled::start(hanging, schedule());
        let mut given_up = 0;
        for second in 1..=120 {
            let reports = run_until(&mut source, start + second * SECOND).await;
            given_up += reports.iter().filter(|report| report.outcome.is_err()).count();
            assert!(source.liveness().is_alive(), "broken after {second} s");
        }
        assert_eq!(given_up, 3, "one every 10 s of waiting and 30 s of backoff");
    }

    #[tokio::test(start_paused = true)]
    async fn the_promise_is_broken_by_a_lane_that_is_stuck() {
        // Nobody takes the reports, so that no lane gets on.
        let source = Polled::start(Arc::new(GrowingClient::default()), schedule());
        tokio::time::sleep(10 * SECOND).await;
        assert!(source.liveness().is_alive());
        tokio::time::sleep(20 * SECOND).await;
        assert!(!source.liveness().is_alive());
    }
}
