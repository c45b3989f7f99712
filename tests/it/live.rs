//! Compares recordings of a live cluster with what the systemd of each machine reported at the same
//! time.
//!
//! During 560 s etcd was down, fleetd was killed four times, a machine was partitioned, and a
//! fleetd hung. All three sources were recorded at once (`tests/fixtures/live/README.md`). The
//! recording of etcd is replayed in three ways: as changes, as the source yields it; as whole
//! registries; and as lists, which each monitor polls at different moments.
//!
//! `FLEET_LIVE_TRACE=flap.service cargo test --test it -- live::trace --ignored --nocapture` prints
//! everything that was listed, shown and true of one unit, by a monitor that starts at
//! `FLEET_LIVE_START` (seconds, 0 by default) with the source `FLEET_LIVE_SOURCE` (`etcd`, `api`,
//! `fleetctl` or `lists`; by default the first three, one after the other).

pub mod recording;
mod trace;
pub mod truth;

use std::sync::LazyLock;
use std::time::Duration;

use recording::{MonitorReplay, changes, polled, polls, replay};
use truth::{FalselyGone, Fault, Truth, lost_then_stale};

pub const SOURCES: [&str; 3] = ["etcd", "api", "fleetctl"];

/// The recording of etcd as lists, which each monitor polls at different moments.
const POLLED: &str = "lists";

/// The recording of etcd as whole registries.
const REGISTRIES: &str = "registry";

/// The duration of the recordings.
pub const END: Duration = Duration::from_secs(560);

/// The starts of the monitors: ten before the first incident, and ten during the incidents.
pub fn starts() -> impl Iterator<Item = Duration> {
    let before = (0..10).map(|step| Duration::from_millis(step * 1100));
    let during = (0..10).map(|step| Duration::from_secs(20 + step * 53));
    before.chain(during)
}

/// The faults and delays of twenty monitors with one source.
#[derive(Default)]
struct SourceResult {
    source: &'static str,
    falsely_gone: FalselyGone,
    falsely_gone_in_lists: FalselyGone,
    crash_loops_called_ok: Vec<Fault>,
    lost_then_stale: Vec<Fault>,
    ghosts: Ghosts,
    ghosts_in_lists: Ghosts,
    changed: Delays,
    gone: Delays,
    changed_in_lists: Delays,
    gone_in_lists: Delays,
}

#[derive(Default)]
struct Ghosts {
    times: Vec<Fault>,
}

impl Ghosts {
    fn longest(&self) -> Duration {
        self.times
            .iter()
            .map(|(_, from, to)| *to - *from)
            .max()
            .unwrap_or_default()
    }

    fn total(&self) -> Duration {
        self.times.iter().map(|(_, from, to)| *to - *from).sum()
    }
}

/// The times until changes were shown; `None` for a change that never was.
#[derive(Default)]
struct Delays(Vec<Option<Duration>>);

impl Delays {
    fn sorted(&self) -> Vec<Duration> {
        let mut delays: Vec<Duration> = self.0.iter().flatten().copied().collect();
        delays.sort();
        delays
    }

    fn median(&self) -> Duration {
        let delays = self.sorted();
        delays.get(delays.len() / 2).copied().unwrap_or_default()
    }

    fn worst(&self) -> Duration {
        self.sorted().last().copied().unwrap_or_default()
    }

    fn never(&self) -> usize {
        self.0.iter().filter(|delay| delay.is_none()).count()
    }
}

static RESULTS: LazyLock<Vec<SourceResult>> = LazyLock::new(|| {
    let truth = Truth::read(END);

    std::thread::scope(|scope| {
        let sources = SOURCES.into_iter().chain([POLLED, REGISTRIES]);
        let threads: Vec<_> = sources
            .map(|source| scope.spawn(|| measure(source, &truth)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
});

fn measure(source: &'static str, truth: &Truth) -> SourceResult {
    let mut result = SourceResult { source, ..SourceResult::default() };
    let file = if [POLLED, REGISTRIES].contains(&source) {
        "etcd"
    } else {
        source
    };
    let recorded = polls(&format!("{file}.jsonl.gz"));

    for start in starts() {
        let replay = match source {
            "etcd" => replay(&changes(&recorded, start), start),
            POLLED => replay(&polled(&recorded, start), start),
            _ => replay(&recorded, start),
        };
        result.add(&replay, truth);
    }
    result
}

impl SourceResult {
    fn add(&mut self, replay: &MonitorReplay, truth: &Truth) {
        self.falsely_gone.extend(truth.falsely_gone(&replay.shown, replay));
        self.falsely_gone_in_lists
            .extend(truth.falsely_gone(&replay.listed, replay));
        self.crash_loops_called_ok.extend(truth.crash_loops_called_ok(replay));
        self.lost_then_stale.extend(lost_then_stale(&replay.shown));
        self.ghosts.times.extend(truth.ghosts(&replay.shown));
        self.ghosts_in_lists.times.extend(truth.ghosts(&replay.listed));

        let (changed, gone) = truth.delays(&replay.shown, replay.start);
        self.changed.0.extend(changed);
        self.gone.0.extend(gone);

        let (changed, gone) = truth.delays(&replay.listed, replay.start);
        self.changed_in_lists.0.extend(changed);
        self.gone_in_lists.0.extend(gone);
    }

    fn crash_loop_called_ok_for(&self) -> Duration {
        self.crash_loops_called_ok
            .iter()
            .map(|(_, from, to)| *to - *from)
            .sum()
    }
}

fn print_table() {
    println!("Counted over {} monitors each", starts().count());
    for it in &*RESULTS {
        println!("{}", it.source);
        for (what, gone) in [
            ("rows falsely gone", &it.falsely_gone),
            ("  in fleet's lists", &it.falsely_gone_in_lists),
        ] {
            println!(
                "  {what:28} {:5}, {} more while fleet had the unit elsewhere, {} never came back",
                gone.back.len(),
                gone.while_elsewhere.len(),
                gone.for_good.len()
            );
        }
        println!(
            "  crash loops called ok        {:5} times, {:.0} s in all",
            it.crash_loops_called_ok.len(),
            it.crash_loop_called_ok_for().as_secs_f64()
        );
        println!("  machine lost, then stale     {:5}", it.lost_then_stale.len());

        for (what, ghosts) in [
            ("ok though it did not run", &it.ghosts),
            ("  in fleet's lists", &it.ghosts_in_lists),
        ] {
            println!(
                "  {what:28} {:5} times, the longest {:.1} s, in all {:.0} s",
                ghosts.times.len(),
                ghosts.longest().as_secs_f64(),
                ghosts.total().as_secs_f64()
            );
        }
        for (what, delays) in [
            ("a change is shown after", &it.changed),
            ("  in fleet's lists", &it.changed_in_lists),
            ("a row is gone after", &it.gone),
            ("  in fleet's lists", &it.gone_in_lists),
        ] {
            println!(
                "  {what:28} {:5.1} s (median), {:.1} s (worst of {}), never: {}",
                delays.median().as_secs_f64(),
                delays.worst().as_secs_f64(),
                delays.0.len(),
                delays.never()
            );
        }
    }
}

/// The faults of each source, one a line, with the number of monitors that had the same fault at
/// about the same time.
fn describe<'a>(faults_of: impl Fn(&'a SourceResult) -> &'a [Fault]) -> String {
    const ABOUT: Duration = Duration::from_secs(5);
    let mut lines = String::new();

    for it in &*RESULTS {
        let mut faults = faults_of(it).to_vec();
        faults.sort();
        let is_same = |a: &Fault, b: &Fault| a.0 == b.0 && b.1 < a.1 + ABOUT;

        for same in faults.chunk_by(is_same) {
            let ((unit, machine), from, to) = &same[0];
            let from = from.as_secs_f64();
            let to = to.as_secs_f64();
            let source = it.source;
            let machine = &machine[..4];
            let monitors = same.len();
            lines += &format!(
                "{source:8} {unit} on {machine}, from {from:.1} to {to:.1} s: {monitors} times\n"
            );
        }
    }
    lines
}

#[test]
fn no_row_that_ran_all_the_time_is_reported_gone() {
    print_table();

    let in_lists: usize = RESULTS.iter().map(|it| it.falsely_gone_in_lists.back.len()).sum();
    assert!(
        in_lists > 500,
        "the recordings have changed: fleet's lists have only {in_lists} in them"
    );

    let faults = describe(|it| &it.falsely_gone.back);
    assert!(faults.is_empty(), "rows were reported gone and came back:\n{faults}");
}

#[test]
fn no_row_that_runs_until_the_end_is_missing_there() {
    let faults = describe(|it| &it.falsely_gone.for_good);
    assert!(faults.is_empty(), "rows were reported gone:\n{faults}");
}

#[test]
fn no_crash_loop_is_called_ok() {
    let faults = describe(|it| &it.crash_loops_called_ok);
    assert!(faults.is_empty(), "crash loops were `ok`:\n{faults}");
}

#[test]
fn a_row_on_a_lost_machine_does_not_become_stale() {
    let faults = describe(|it| &it.lost_then_stale);
    assert!(faults.is_empty(), "rows turned from machine lost to stale:\n{faults}");
}

#[test]
fn a_unit_that_does_not_run_is_ok_for_no_longer_than_fleet_lists_it_as_running() {
    for it in &*RESULTS {
        let ours = &it.ghosts;
        let fleets = &it.ghosts_in_lists;

        assert!(
            ours.longest() <= fleets.longest(),
            "{}: {:?} > {:?}",
            it.source,
            ours.longest(),
            fleets.longest()
        );
        assert!(
            ours.total() <= fleets.total(),
            "{}: {:?} > {:?}",
            it.source,
            ours.total(),
            fleets.total()
        );
    }
}

#[test]
fn a_change_is_shown_as_soon_as_fleet_lists_it() {
    for it in &*RESULTS {
        let ours = &it.changed;
        let fleets = &it.changed_in_lists;

        assert!(
            ours.median() <= fleets.median(),
            "{}: {:?} > {:?}",
            it.source,
            ours.median(),
            fleets.median()
        );
        assert!(
            ours.never() <= fleets.never(),
            "{}: {} > {}",
            it.source,
            ours.never(),
            fleets.never()
        );
    }
}
