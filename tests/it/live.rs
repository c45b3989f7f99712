//! Recordings of a live cluster, held against what the systemd of each machine said at the same
//! time.
//!
//! During 560 s etcd was away, fleetd was killed four times, a machine was partitioned, and a
//! fleetd hung. All three sources were recorded at once: `tests/fixtures/live/README.md`. What etcd
//! said is played as changes, as the source tells it, as whole registries, and as lists, each
//! monitor with polls at moments of its own.
//!
//! `FLEET_LIVE_TRACE=flap.service cargo test --test it -- live::trace --ignored --nocapture` prints
//! all that was listed, shown and true of one unit, by a monitor that starts at `FLEET_LIVE_START`
//! (seconds, 0 by default) with the source `FLEET_LIVE_SOURCE` (`etcd`, `api`, `fleetctl` or
//! `lists`; the three by default).

pub mod recording;
mod trace;
pub mod truth;

use std::sync::LazyLock;
use std::time::Duration;

use recording::{Watched, changes, polled, polls, watch};
use truth::{FalselyGone, Fault, Truth, lost_turned_stale};

pub const SOURCES: [&str; 3] = ["etcd", "api", "fleetctl"];

/// What etcd said, as lists: each monitor has polled at moments of its own.
const POLLED: &str = "lists";

/// What etcd said, each time all of it.
const WHOLE: &str = "registry";

/// How long the recordings are.
pub const END: Duration = Duration::from_secs(560);

/// When the monitors start: ten before anything happens, and ten while it does.
fn starts() -> impl Iterator<Item = Duration> {
    let before = (0..10).map(|step| Duration::from_millis(step * 1100));
    let during = (0..10).map(|step| Duration::from_secs(20 + step * 53));
    before.chain(during)
}

/// What twenty monitors with one source did, counted over all of them.
#[derive(Default)]
struct Measured {
    source: &'static str,
    falsely_gone: FalselyGone,
    falsely_gone_in_lists: FalselyGone,
    crash_loops_called_ok: Vec<Fault>,
    lost_turned_stale: Vec<Fault>,
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

/// Times until a change was shown; `None` where it never was.
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

static MEASURED: LazyLock<Vec<Measured>> = LazyLock::new(|| {
    let truth = Truth::read(END);

    std::thread::scope(|scope| {
        let sources = SOURCES.into_iter().chain([POLLED, WHOLE]);
        let threads: Vec<_> = sources
            .map(|source| scope.spawn(|| measure(source, &truth)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
});

fn measure(source: &'static str, truth: &Truth) -> Measured {
    let mut measured = Measured { source, ..Measured::default() };
    let file = if [POLLED, WHOLE].contains(&source) {
        "etcd"
    } else {
        source
    };
    let recorded = polls(&format!("{file}.jsonl.gz"));

    for start in starts() {
        let watched = match source {
            "etcd" => watch(&changes(&recorded, start), start),
            POLLED => watch(&polled(&recorded, start), start),
            _ => watch(&recorded, start),
        };
        measured.add(&watched, truth);
    }
    measured
}

impl Measured {
    fn add(&mut self, watched: &Watched, truth: &Truth) {
        self.falsely_gone.extend(truth.falsely_gone(&watched.shown, watched));
        self.falsely_gone_in_lists
            .extend(truth.falsely_gone(&watched.listed, watched));
        self.crash_loops_called_ok
            .extend(truth.crash_loops_called_ok(watched));
        self.lost_turned_stale.extend(lost_turned_stale(&watched.shown));
        self.ghosts.times.extend(truth.ghosts(&watched.shown));
        self.ghosts_in_lists.times.extend(truth.ghosts(&watched.listed));

        let (changed, gone) = truth.delays(&watched.shown, watched.start);
        self.changed.0.extend(changed);
        self.gone.0.extend(gone);

        let (changed, gone) = truth.delays(&watched.listed, watched.start);
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
    for it in &*MEASURED {
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
        println!("  machine lost turned stale    {:5}", it.lost_turned_stale.len());

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

/// What was found of each source, one a line, with how many monitors found the same at about the
/// same time.
fn found<'a>(of: impl Fn(&'a Measured) -> &'a [Fault]) -> String {
    const ABOUT: Duration = Duration::from_secs(5);
    let mut lines = String::new();

    for it in &*MEASURED {
        let mut faults = of(it).to_vec();
        faults.sort();
        let is_same = |a: &Fault, b: &Fault| a.0 == b.0 && b.1 < a.1 + ABOUT;

        for same in faults.chunk_by(is_same) {
            let ((unit, machine), from, to) = &same[0];
            let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
            let (source, machine, monitors) = (it.source, &machine[..4], same.len());
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

    let in_lists: usize = MEASURED.iter().map(|it| it.falsely_gone_in_lists.back.len()).sum();
    assert!(
        in_lists > 500,
        "the recordings are not what they were: fleet's lists have only {in_lists} in them"
    );

    let found = found(|it| &it.falsely_gone.back);
    assert!(found.is_empty(), "rows were reported gone and came back:\n{found}");
}

#[test]
fn no_row_that_runs_until_the_end_is_missing_there() {
    let found = found(|it| &it.falsely_gone.for_good);
    assert!(found.is_empty(), "rows were reported gone:\n{found}");
}

#[test]
fn no_crash_loop_is_called_ok() {
    let found = found(|it| &it.crash_loops_called_ok);
    assert!(found.is_empty(), "crash loops were `ok`:\n{found}");
}

#[test]
fn a_row_whose_machine_is_lost_does_not_turn_stale() {
    let found = found(|it| &it.lost_turned_stale);
    assert!(found.is_empty(), "rows turned from machine lost to stale:\n{found}");
}

/// A ghost that fleet itself lists as running is `ok` for no longer than in fleet's list.
#[test]
fn what_does_not_run_is_ok_for_no_longer_than_fleet_says_so() {
    for it in &*MEASURED {
        let (ours, fleets) = (&it.ghosts, &it.ghosts_in_lists);
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
    for it in &*MEASURED {
        let (ours, fleets) = (&it.changed, &it.changed_in_lists);
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
