//! The unit states that the systemd of each machine reported, and how far the rows of a replay
//! differ from them.
//!
//! It does not know how the rows were obtained.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_monitor::cluster::{MachineId, Text, UnitName};
use serde::Deserialize;

use super::recording::{History, MonitorReplay, Shown, UnitOnMachine, fixture};

/// The maximal difference of the clocks of the truth and of the recordings.
const CLOCK_ERROR: Duration = Duration::from_secs(1);

/// A monitor that read no list for longer than this has not observed a crash loop meanwhile.
const MAX_READ_GAP: Duration = Duration::from_secs(10);

/// How long a unit in a crash loop may be running or starting between two restarts.
const BETWEEN_RESTARTS: Duration = Duration::from_secs(3);

/// The maximal time from the first observation of a crash loop to its second restart. systemd waits
/// for less than that before it restarts any of the recorded units; most restarts fall between two
/// samples of the truth.
const SECOND_RESTART: Duration = Duration::from_secs(5);

/// The maximal time from its second restart until a crash loop must be shown.
const SHOWN_WITHIN: Duration = Duration::from_secs(15);

/// A state that lasted for less than this need not be shown: it may fall between two polls.
const MIN_DURATION: Duration = Duration::from_secs(5);

pub struct Truth {
    pub history: History,
    pub end: Duration,
}

/// A line of the truth: the states of all units of one machine from `t` (in seconds) on.
#[derive(Deserialize)]
struct Sample {
    t: f64,
    machine: MachineId,
    units: BTreeMap<UnitName, Text>,
}

/// A row that was wrong, and the beginning and end of that.
pub type Fault = (UnitOnMachine, Duration, Duration);

/// Rows that were shown as gone although they ran all the time.
#[derive(Default)]
pub struct FalselyGone {
    /// They came back later.
    pub back: Vec<Fault>,
    /// They came back later, but while they were gone fleet wanted the unit on another machine,
    /// which reported it.
    pub while_elsewhere: Vec<Fault>,
    /// They did not come back, although they ran until the end.
    pub for_good: Vec<Fault>,
}

impl FalselyGone {
    pub fn extend(&mut self, other: FalselyGone) {
        self.back.extend(other.back);
        self.while_elsewhere.extend(other.while_elsewhere);
        self.for_good.extend(other.for_good);
    }
}

impl Truth {
    /// The truth of the recordings, which end at `end`.
    pub fn read(end: Duration) -> Self {
        let mut machines: BTreeMap<MachineId, BTreeMap<UnitName, Text>> = BTreeMap::new();
        let mut history = History::default();

        for line in fixture("truth.jsonl.gz").lines() {
            let sample: Sample = serde_json::from_str(line).unwrap();
            machines.insert(sample.machine, sample.units);

            let rows = machines.iter().flat_map(|(machine, units)| {
                units.iter().map(|(unit, state)| {
                    ((unit.clone(), machine.clone()), Shown::raw(state.clone()))
                })
            });
            history.set(Duration::from_secs_f64(sample.t), rows.collect());
        }
        Self { history, end }
    }

    /// Whether any systemd knew the unit. It does not know a unit that it could not load
    /// (`bad-setting`).
    fn knows(&self, unit: &UnitName) -> bool {
        self.history.keys().any(|key| key.0 == *unit)
    }

    /// Whether the unit was running, starting or reloading all the time, within the clock error.
    pub fn ran_throughout(&self, key: &UnitOnMachine, from: Duration, to: Duration) -> bool {
        let runs = |shown: Option<&Shown>| {
            shown.is_some_and(|shown| {
                ["active/", "activating/", "reloading/"]
                    .iter()
                    .any(|state| shown.state.starts_with(state))
            })
        };

        let from = from.saturating_sub(CLOCK_ERROR);
        let to = (to + CLOCK_ERROR).min(self.end);
        runs(self.history.at(key, from))
            && self
                .history
                .changes(key)
                .iter()
                .filter(|(at, _)| (from..=to).contains(at))
                .all(|(_, shown)| runs(shown.as_ref()))
    }

    /// The rows that disappeared although their units ran all the time. `replay` tells where else
    /// they were listed.
    pub fn falsely_gone(&self, rows: &History, replay: &MonitorReplay) -> FalselyGone {
        let mut found = FalselyGone::default();

        for key in rows.keys() {
            let changes = rows.changes(key);
            for (index, (gone, _)) in
                changes.iter().enumerate().filter(|(_, (_, shown))| shown.is_none())
            {
                let back = changes.get(index + 1).map(|(back, _)| *back);
                let until = back.unwrap_or(self.end);
                if !self.ran_throughout(key, *gone, until) {
                    continue;
                }

                let faults = match back {
                    None => &mut found.for_good,
                    Some(_) if replay.is_listed_elsewhere(key, *gone) => &mut found.while_elsewhere,
                    Some(_) => &mut found.back,
                };
                faults.push((key.clone(), *gone, until));
            }
        }
        found
    }

    /// The periods in which a unit was in a crash loop.
    fn crash_loops(&self, key: &UnitOnMachine) -> Vec<(Duration, Duration)> {
        let mut loops: Vec<(Duration, Duration)> = Vec::new();
        let waits = |shown: &Option<&Shown>| {
            shown.is_some_and(|shown| &*shown.state == "activating/auto-restart")
        };

        for (from, to, _) in self.history.spans(key, self.end).filter(|(_, _, shown)| waits(shown))
        {
            match loops.last_mut() {
                Some(last) if from <= last.1 + BETWEEN_RESTARTS => last.1 = to,
                _ => loops.push((from, to)),
            }
        }
        loops
    }

    /// The periods in which a row was shown as `ok` although its unit was in a crash loop which the
    /// monitor had observed for long enough.
    pub fn crash_loops_called_ok(&self, replay: &MonitorReplay) -> Vec<Fault> {
        let mut found = Vec::new();

        for key in self.history.keys() {
            for (begun, ended) in self.crash_loops(key) {
                let Some(due) = replay.observed_for(key, begun, SECOND_RESTART + SHOWN_WITHIN)
                else {
                    continue;
                };
                let is_ok =
                    |shown: Option<&Shown>| shown.is_some_and(|shown| shown.verdict == "ok");

                for (from, to, _) in replay
                    .shown
                    .spans(key, self.end)
                    .filter(|(_, _, shown)| is_ok(*shown))
                {
                    let from = from.max(due);
                    let to = to.min(ended);
                    if to > from + CLOCK_ERROR {
                        found.push((key.clone(), from, to));
                    }
                }
            }
        }
        found
    }

    /// The periods in which a row was shown as running although its unit did not run.
    pub fn ghosts(&self, rows: &History) -> Vec<Fault> {
        let mut found: Vec<Fault> = Vec::new();
        let is_shown_running = |shown: Option<&Shown>| {
            shown.is_some_and(|it| it.is_active() && matches!(it.verdict, "ok" | ""))
        };

        for key in rows.keys().filter(|key| self.knows(&key.0)) {
            let mut moments: Vec<Duration> = rows.changes(key).iter().map(|(at, _)| *at).collect();
            moments.extend(self.history.changes(key).iter().map(|(at, _)| *at));
            moments.push(self.end);
            moments.sort();

            for pair in moments.windows(2) {
                let [from, to] = *pair else { continue };
                let runs = self.history.at(key, from).is_some_and(Shown::is_active);
                if runs || !is_shown_running(rows.at(key, from)) {
                    continue;
                }
                match found.last_mut() {
                    Some(last) if last.0 == *key && last.2 == from => last.2 = to,
                    _ => found.push((key.clone(), from, to)),
                }
            }
        }
        found.retain(|(_, from, to)| *to > *from + CLOCK_ERROR);
        found
    }

    /// The time until each lasting change after `start` was shown, first for changes of state, then
    /// for units that stopped for good, whose rows must be removed. `None` for a change that was
    /// never shown while it lasted.
    pub fn delays(
        &self,
        rows: &History,
        start: Duration,
    ) -> (Vec<Option<Duration>>, Vec<Option<Duration>>) {
        let mut changed = Vec::new();
        let mut gone = Vec::new();

        for key in self.history.keys() {
            for (from, to, state) in self.history.spans(key, self.end) {
                let state = state.map(|shown| &shown.state);
                if from <= start || to < from + MIN_DURATION {
                    continue;
                }

                let is_equal = |shown: Option<&Shown>| shown.map(|shown| &shown.state) == state;
                let since = if is_equal(rows.at(key, from)) {
                    Some(from)
                } else {
                    let mut changes = rows
                        .changes(key)
                        .iter()
                        .filter(|(at, _)| (from..to + CLOCK_ERROR).contains(at));
                    changes.find(|(_, shown)| is_equal(shown.as_ref())).map(|(at, _)| *at)
                };
                let delay = since.map(|since| since - from);

                match state {
                    Some(_) => changed.push(delay),
                    None if to == self.end => gone.push(delay),
                    None => {}
                }
            }
        }
        (changed, gone)
    }
}

impl MonitorReplay {
    /// Whether the unit is not global, and was listed on another machine at that moment.
    fn is_listed_elsewhere(&self, key: &UnitOnMachine, at: Duration) -> bool {
        let mut others = self
            .listed
            .keys()
            .filter(|other| other.0 == key.0 && other.1 != key.1);
        !self.global.contains(&key.0) && others.any(|other| self.listed.at(other, at).is_some())
    }

    /// When the row had been listed for `time` since `begun` without interruption.
    fn observed_for(
        &self,
        key: &UnitOnMachine,
        begun: Duration,
        time: Duration,
    ) -> Option<Duration> {
        let mut since = None;
        let mut last = Duration::ZERO;

        for at in self.list_reads.iter().copied().filter(|at| *at >= begun) {
            if at > last + MAX_READ_GAP || self.listed.at(key, at).is_none() {
                since = None;
            }
            if self.listed.at(key, at).is_some() {
                let since = *since.get_or_insert(at);
                if at >= since + time {
                    return Some(at);
                }
            }
            last = at;
        }
        None
    }
}

/// The rows whose verdict changed from `machine_lost` to `stale`, and when.
pub fn lost_then_stale(shown: &History) -> Vec<Fault> {
    let mut found = Vec::new();

    for key in shown.keys() {
        for pair in shown.changes(key).windows(2) {
            let [(_, Some(before)), (at, Some(after))] = pair else {
                continue;
            };
            if before.verdict == "machine_lost" && after.verdict == "stale" {
                found.push((key.clone(), *at, *at));
            }
        }
    }
    found
}
