//! What the systemd of each machine said of its units, and how far from it a history of rows is.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_monitor::cluster::{MachineId, Text, UnitName};
use serde::Deserialize;

use super::recording::{History, Key, Shown, Watched, fixture};

/// How exactly the clocks of the truth and of the recordings agree.
const CLOCKS: Duration = Duration::from_secs(1);

/// A monitor that heard nothing for so long has not watched a crash loop meanwhile.
const UNHEARD: Duration = Duration::from_secs(10);

/// How long a unit in a crash loop may seem to run, or to start, between two restarts.
const BETWEEN_RESTARTS: Duration = Duration::from_secs(3);

/// How long after the first sight of a crash loop its second restart is, at most. systemd waits for
/// less before it restarts any of the recorded units; most restarts fall between two samples of the
/// truth.
const SECOND_RESTART: Duration = Duration::from_secs(5);

/// How long after its second restart a crash loop must be told.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

/// A state that did not last so long is not waited for: a poll may not have met it.
const LASTING: Duration = Duration::from_secs(5);

pub struct Truth {
    pub history: History,
    pub end: Duration,
}

/// A line of the truth: from then on, these are the units of one machine.
#[derive(Deserialize)]
struct Sample {
    t: f64,
    machine: MachineId,
    units: BTreeMap<UnitName, Text>,
}

/// A row, from when until when something was wrong with it.
pub type Fault = (Key, Duration, Duration);

/// Rows that were shown as gone although they ran all the time.
#[derive(Default)]
pub struct FalselyGone {
    /// They came back later.
    pub back: Vec<Fault>,
    /// They came back later; when they went, another machine reported the unit, which is what fleet
    /// then wanted.
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

    /// Whether the unit was known to any systemd; one that never was loaded (`bad-setting`) was
    /// not.
    fn knows(&self, unit: &UnitName) -> bool {
        self.history.keys().any(|key| key.0 == *unit)
    }

    /// Whether the unit ran, started or reloaded all the time, as far as the clocks can say.
    fn ran_throughout(&self, key: &Key, from: Duration, to: Duration) -> bool {
        let runs = |shown: Option<&Shown>| {
            shown.is_some_and(|shown| {
                ["active/", "activating/", "reloading/"]
                    .iter()
                    .any(|state| shown.state.starts_with(state))
            })
        };

        let from = from.saturating_sub(CLOCKS);
        let to = (to + CLOCKS).min(self.end);
        runs(self.history.at(key, from))
            && self
                .history
                .changes(key)
                .iter()
                .filter(|(at, _)| (from..=to).contains(at))
                .all(|(_, shown)| runs(shown.as_ref()))
    }

    /// Which of the rows went and came back, and should not have gone. `watched` says where else
    /// they were listed.
    pub fn falsely_gone(&self, rows: &History, watched: &Watched) -> FalselyGone {
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
                    Some(_) if watched.is_listed_elsewhere(key, *gone) => {
                        &mut found.while_elsewhere
                    }
                    Some(_) => &mut found.back,
                };
                faults.push((key.clone(), *gone, until));
            }
        }
        found
    }

    /// The times for which a unit was in a crash loop.
    fn crash_loops(&self, key: &Key) -> Vec<(Duration, Duration)> {
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

    /// The times for which a row was shown as `ok` though its unit was in a crash loop, and the
    /// monitor had watched that for longer than it may take to tell.
    pub fn crash_loops_called_ok(&self, watched: &Watched) -> Vec<Fault> {
        let mut found = Vec::new();

        for key in self.history.keys() {
            for (begun, ended) in self.crash_loops(key) {
                let Some(due) = watched.has_watched(key, begun, SECOND_RESTART + TOLD_WITHIN)
                else {
                    continue;
                };
                let is_ok =
                    |shown: Option<&Shown>| shown.is_some_and(|shown| shown.verdict == "ok");

                for (from, to, _) in watched
                    .shown
                    .spans(key, self.end)
                    .filter(|(_, _, shown)| is_ok(*shown))
                {
                    let from = from.max(due);
                    let to = to.min(ended);
                    if to > from + CLOCKS {
                        found.push((key.clone(), from, to));
                    }
                }
            }
        }
        found
    }

    /// The times for which a row was shown as running although its unit did not run.
    pub fn ghosts(&self, rows: &History) -> Vec<Fault> {
        let mut found: Vec<Fault> = Vec::new();
        let seems_to_run = |shown: Option<&Shown>| {
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
                if runs || !seems_to_run(rows.at(key, from)) {
                    continue;
                }
                match found.last_mut() {
                    Some(last) if last.0 == *key && last.2 == from => last.2 = to,
                    _ => found.push((key.clone(), from, to)),
                }
            }
        }
        found.retain(|(_, from, to)| *to > *from + CLOCKS);
        found
    }

    /// How long it took until each lasting change after `start` was shown; `None` where it never
    /// was while it was so. A unit that stopped for good is shown so when its row is gone.
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
                if from <= start || to < from + LASTING {
                    continue;
                }

                let is_so = |shown: Option<&Shown>| shown.map(|shown| &shown.state) == state;
                let since = if is_so(rows.at(key, from)) {
                    Some(from)
                } else {
                    let mut changes = rows
                        .changes(key)
                        .iter()
                        .filter(|(at, _)| (from..to + CLOCKS).contains(at));
                    changes.find(|(_, shown)| is_so(shown.as_ref())).map(|(at, _)| *at)
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

impl Watched {
    /// Whether another machine was listed with the unit at that moment, and fleet wants it on one
    /// alone.
    fn is_listed_elsewhere(&self, key: &Key, at: Duration) -> bool {
        let mut others = self
            .listed
            .keys()
            .filter(|other| other.0 == key.0 && other.1 != key.1);
        !self.global.contains(&key.0) && others.any(|other| self.listed.at(other, at).is_some())
    }

    /// When the row had been listed for `time` since `begun`, without a break.
    fn has_watched(&self, key: &Key, begun: Duration, time: Duration) -> Option<Duration> {
        let mut since = None;
        let mut last = Duration::ZERO;

        for at in self.heard.iter().copied().filter(|at| *at >= begun) {
            if at > last + UNHEARD || self.listed.at(key, at).is_none() {
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

/// The rows that turned from `machine_lost` to `stale`, and when.
pub fn lost_turned_stale(shown: &History) -> Vec<Fault> {
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
