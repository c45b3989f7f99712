use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::cluster::UnitState;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_quick_answer_keeps_the_interval() {
    let mut pacing = PollPacing::new(2 * SECOND);
    let delay = pacing.after(SECOND / 10, true, 0.5);
    assert_eq!(delay.regular, 2 * SECOND - SECOND / 10);
    assert_eq!(delay.earliest_wake, Some(SECOND * 4 / 10));
    assert!(!delay.slow_begins);
}

#[test]
fn a_slow_answer_causes_a_pause_and_is_reported_once() {
    let mut pacing = PollPacing::new(2 * SECOND);
    let delay = pacing.after(5 * SECOND, true, 0.5);
    assert_eq!(
        (delay.regular, delay.earliest_wake, delay.slow_begins),
        (20 * SECOND, Some(20 * SECOND), true)
    );
    assert!(!pacing.after(5 * SECOND, true, 0.5).slow_begins, "reported twice");
    assert!(!pacing.after(SECOND / 10, true, 0.5).slow_begins);
    assert!(pacing.after(5 * SECOND, true, 0.5).slow_begins, "slow again, but not reported");
}

#[test]
fn the_backoff_after_failures_grows_to_30_seconds_and_ends_with_a_success() {
    let mut pacing = PollPacing::new(2 * SECOND);
    let waits: Vec<f64> = (0..6)
        .map(|_| pacing.after(SECOND / 10, false, 1.0).regular.as_secs_f64())
        .collect();
    assert_eq!(waits, [4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
    assert_eq!(pacing.after(SECOND / 10, true, 1.0).regular, 2 * SECOND - SECOND / 10);
    let low = pacing.after(SECOND / 10, false, 0.0).regular;
    assert!(low >= 2 * SECOND - SECOND / 10 && low < 4 * SECOND, "no jitter: {low:?}");
    assert_eq!(
        PollPacing::new(60 * SECOND).after(SECOND, false, 1.0).regular,
        59 * SECOND,
        "faster than the interval"
    );
    let mut pacing = PollPacing::new(2 * SECOND);
    assert!((0..100_000).all(|_| pacing.after(SECOND, false, 1.0).regular <= LONGEST_BACKOFF));
}

#[test]
fn a_slow_failure_causes_a_pause_too() {
    let wait = |took| PollPacing::new(2 * SECOND).after(took, false, 0.0).regular;
    assert_eq!(wait(5 * SECOND), 20 * SECOND);
    assert_eq!(wait(10 * SECOND), LONGEST_BACKOFF);
}

/// Answers with one more unit each time. Records the polls, and checks that polls of one list do
/// not overlap.
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
        assert_eq!(self.running[list as usize].fetch_add(1, Ordering::SeqCst), 0, "{list} overlap");
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

async fn run_until(source: &mut Polled, end: Instant) -> Vec<SourceReport> {
    let mut reports = Vec::new();
    while let Ok(event) = tokio::time::timeout_at(end, source.next()).await {
        let SourceEvent::Report(report) = event else {
            panic!("{event:?}")
        };
        reports.push(report);
    }
    reports
}

#[tokio::test(start_paused = true)]
async fn a_new_row_makes_the_other_lists_be_read_at_once() {
    let growing = Arc::new(GrowingClient::default());
    let start = Instant::now();
    let mut source = Polled::start(growing.clone(), schedule());
    run_until(&mut source, start + 9 * SECOND).await;

    let polled_at = |list: FleetList| -> Vec<u64> {
        let polls = growing.polls.lock().unwrap();
        polls
            .iter()
            .filter(|(polled, _)| *polled == list)
            .map(|(_, at)| (*at - start).as_secs())
            .collect()
    };
    // The first three answers have three rows. The fourth unit appears at 6 s, the fifth at 8 s.
    // After the first list the others are read again as soon as their pause is over.
    assert_eq!(polled_at(FleetList::Units), [0, 2, 4, 6, 8]);
    assert_eq!(polled_at(FleetList::Machines), [0, 0, 6, 8]);
    assert_eq!(polled_at(FleetList::UnitFiles), [0, 0, 6, 8]);
}

#[tokio::test(start_paused = true)]
async fn after_the_first_list_the_others_are_read_again_as_soon_as_their_pause_is_over() {
    let growing = Arc::new(GrowingClient::default());
    let start = Instant::now();
    let mut source = Polled::start(growing.clone(), schedule());
    run_until(&mut source, start + SECOND).await;

    let polls = growing.polls.lock().unwrap();
    for list in [FleetList::Machines, FleetList::UnitFiles] {
        let polls_of_list = polls.iter().filter(|(polled, _)| *polled == list);
        let begun: Vec<Duration> = polls_of_list.map(|(_, at)| *at - start).collect();
        // Each poll takes 0.1 s, and the pause is four times as long.
        assert_eq!(begun.len(), 2, "{list}");
        assert_eq!(begun[1].as_millis() / 10, 50, "{list}");
    }
}

/// Fails until a moment, each list after a time of its own. From then on it answers at once.
struct FailingClient {
    polls: Mutex<Vec<(FleetList, Instant)>>,
    outage_ends: Instant,
    takes: [Duration; 3],
}

impl FleetClient for FailingClient {
    fn name(&self) -> String {
        "failing".to_owned()
    }

    async fn poll(&self, list: FleetList) -> Result<Reading, SourceError> {
        let begun = Instant::now();
        self.polls.lock().unwrap().push((list, begun));
        if begun < self.outage_ends {
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

/// When each list was first read after an outage, and how often in the 30 s after the outage.
async fn polls_after_outage(outage: Duration, takes: [Duration; 3]) -> [(Duration, usize); 3] {
    let start = Instant::now();
    let outage_ends = start + outage;
    let client = Arc::new(FailingClient { polls: Mutex::default(), outage_ends, takes });
    let mut source = Polled::start(client.clone(), schedule());
    run_until(&mut source, outage_ends + 30 * SECOND).await;

    let polls = client.polls.lock().unwrap();
    FleetList::ALL.map(|list| {
        let successful = polls
            .iter()
            .filter(|(polled, at)| *polled == list && *at >= outage_ends);
        let times: Vec<Duration> = successful.map(|(_, at)| *at - start).collect();
        (times[0], times.len())
    })
}

#[tokio::test(start_paused = true)]
async fn when_one_list_can_be_read_again_all_are_read_at_once() {
    let [units, machines, files] = polls_after_outage(60 * SECOND, [SECOND / 10; 3]).await;
    assert_eq!((machines.0, files.0), (units.0, units.0));
    // Once more after the first list: a recovery causes one poll, not many.
    assert!(machines.1 <= 2 && files.1 <= 2, "{machines:?} {files:?}");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_was_running_when_another_list_recovered_is_retried_at_once() {
    let [units, _, files] =
        polls_after_outage(3 * SECOND, [SECOND / 10, SECOND / 10, 9 * SECOND]).await;
    assert!(units.0 < 9 * SECOND, "{units:?}");
    assert_eq!(files.0.as_secs(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_report_states_when_the_next_one_is_expected() {
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

    let within = interval - took + 10 * SECOND + CANCEL_DELAY + MARGIN;
    assert_eq!(report.schedule, Some(ReadSchedule::new(interval, within)));
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_hangs_is_cancelled_and_delays_no_other() {
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
async fn a_panic_of_a_poll_is_propagated() {
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
async fn a_source_whose_client_hangs_is_alive() {
    let hanging =
        Arc::new(GrowingClient { hang: Some(FleetList::Units), ..GrowingClient::default() });
    let start = Instant::now();
    let mut source = Polled::start(hanging, schedule());
    let mut cancelled = 0;
    for second in 1..=120 {
        let reports = run_until(&mut source, start + second * SECOND).await;
        cancelled += reports.iter().filter(|report| report.outcome.is_err()).count();
        assert!(source.liveness().is_alive(), "not alive after {second} s");
    }
    assert_eq!(cancelled, 3, "each takes 10 s until its timeout and 30 s of backoff");
}

#[tokio::test(start_paused = true)]
async fn a_source_with_a_stuck_loop_is_not_alive() {
    // Nobody receives the reports, so no loop can go on.
    let source = Polled::start(Arc::new(GrowingClient::default()), schedule());
    tokio::time::sleep(10 * SECOND).await;
    assert!(source.liveness().is_alive());
    tokio::time::sleep(20 * SECOND).await;
    assert!(!source.liveness().is_alive());
}
