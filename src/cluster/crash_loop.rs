//! Whether a unit fails, is started again, and fails again, as far as its reported states show it.
//!
//! systemd reports `activating/auto-restart` while it waits to start a unit again. Samples may miss
//! that: a wait can be shorter than the time between two of them, and a unit that fails at once can
//! be seen in nothing but the wait. It knows nothing of who reports, and time is passed in.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::model::{Moment, UnitState};
use super::transition::Seconds;

/// Restarts that are further apart than this are not one loop.
const WINDOW: Duration = Duration::from_secs(600);
/// A unit that is seen in nothing but the wait for so long fails again and again between the
/// samples: systemd waits for 0.1 s by default (`systemd.service(5)`, `RestartSec=`).
const ONLY_WAITING: Duration = Duration::from_secs(12);
/// How long a unit must have run at least until its loop is over.
const RECOVERY: Duration = Duration::from_secs(60);
/// How many restarts are remembered.
const REMEMBERED: usize = 32;

/// What a state says of restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// systemd waits to start it again.
    Waiting,
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It does not run, and nothing will start it.
    Stopped,
}

impl Phase {
    fn of(state: &UnitState) -> Self {
        match (state.active.as_deref(), state.sub.as_deref()) {
            (Some("activating"), Some(sub)) if sub.starts_with("auto-restart") => Phase::Waiting,
            (Some("activating"), _) => Phase::Starting,
            (Some("active" | "reloading" | "refreshing"), _) => Phase::Running,
            _ => Phase::Stopped,
        }
    }
}

/// How a restart came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// It was seen to wait.
    Seen,
    /// It went from running to starting: somebody may have asked for that.
    Inferred,
}

/// Whether a unit is in a crash loop, and whether that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Loop {
    /// It is in none.
    None,
    /// It is in one that was not told yet.
    Untold,
    /// It is in one that was told.
    Told,
    /// One that was told is over, which was not told yet.
    Over(Reason),
}

type Reason = Cow<'static, str>;

/// What there is to tell of a crash loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoopNews {
    /// It has begun: how often the unit was restarted.
    Begun(Reason),
    /// It is over: how that is known.
    Over(Reason),
}

/// The restarts of one unit on one machine.
#[derive(Clone, Debug)]
pub(crate) struct RestartHistory {
    phase: Phase,
    phase_since: Moment,
    restarts: VecDeque<(Moment, Evidence)>,
    state: Loop,
}

impl RestartHistory {
    /// The history of a unit of which this is the first known state.
    pub(crate) fn new(state: &UnitState, at: Moment) -> Self {
        let phase = Phase::of(state);
        let mut history = Self {
            phase,
            phase_since: at,
            restarts: VecDeque::new(),
            state: Loop::None,
        };

        if phase == Phase::Waiting {
            history.restarts.push_back((at, Evidence::Seen));
        }
        history
    }

    /// Takes another state.
    pub(crate) fn note(&mut self, state: &UnitState, at: Moment) {
        let phase = Phase::of(state);
        if phase == self.phase {
            return;
        }
        // What became due before it.
        self.advance(at);

        match (self.phase, phase) {
            (_, Phase::Waiting) => self.restarted(at, Evidence::Seen),
            (Phase::Running, Phase::Starting) => self.restarted(at, Evidence::Inferred),
            _ => {}
        }
        self.phase = phase;
        self.phase_since = at;
    }

    fn restarted(&mut self, at: Moment, evidence: Evidence) {
        if self.restarts.back().is_some_and(|(last, _)| at.since(*last) > WINDOW) {
            self.restarts.clear();
        }
        if self.restarts.len() == REMEMBERED {
            self.restarts.pop_front();
        }
        self.restarts.push_back((at, evidence));

        let seen = self
            .restarts
            .iter()
            .filter(|(_, evidence)| *evidence == Evidence::Seen)
            .count();
        if seen >= 2 || self.restarts.len() >= 3 {
            self.begin();
        }
    }

    fn begin(&mut self) {
        match self.state {
            Loop::None => self.state = Loop::Untold,
            // Nobody was told that it was over.
            Loop::Over(_) => self.state = Loop::Told,
            Loop::Untold | Loop::Told => {}
        }
    }

    fn end(&mut self, reason: Reason) {
        self.restarts.clear();
        self.state = if self.is_told() { Loop::Over(reason) } else { Loop::None };
    }

    /// fleet does not want it to run any more: once it has stopped, nothing starts it again.
    pub(crate) fn not_wanted(&mut self) {
        if self.is_looping() && self.phase == Phase::Stopped {
            self.end("fleet does not want it to run any more".into());
        }
    }

    /// Lets time pass. Returns when time alone will change something, if it will.
    pub(crate) fn advance(&mut self, at: Moment) -> Option<Instant> {
        let lasts = at.since(self.phase_since);
        let change = match (self.phase, self.is_looping()) {
            (Phase::Waiting, false) => ONLY_WAITING,
            (Phase::Running | Phase::Stopped, true) => self.longest_gap().max(RECOVERY),
            _ => return None,
        };
        if lasts < change {
            return Some(self.phase_since.instant + change);
        }

        match self.phase {
            Phase::Waiting => self.begin(),
            Phase::Running => {
                self.end(format!("it has been running for {}", Seconds(lasts)).into());
            }
            _ => self.end(format!("it has not been started again for {}", Seconds(lasts)).into()),
        }
        None
    }

    fn is_looping(&self) -> bool {
        matches!(self.state, Loop::Untold | Loop::Told)
    }

    /// Whether it is in a loop that was told.
    pub(crate) fn is_told(&self) -> bool {
        self.state == Loop::Told
    }

    /// What there is to tell. That a loop has begun is told as soon as it `is_shown`.
    pub(crate) fn news(&mut self, is_shown: bool) -> Option<LoopNews> {
        match &self.state {
            Loop::Untold if is_shown => {
                let times = self.loop_in_words()?;
                self.state = Loop::Told;
                Some(LoopNews::Begun(times))
            }
            Loop::Over(reason) => {
                let reason = reason.clone();
                self.state = Loop::None;
                Some(LoopNews::Over(reason))
            }
            _ => None,
        }
    }

    /// How long one round of the loop took at most.
    fn longest_gap(&self) -> Duration {
        let moments = || self.restarts.iter().map(|(moment, _)| *moment);
        moments()
            .zip(moments().skip(1))
            .map(|(one, next)| next.since(one))
            .max()
            .unwrap_or_default()
    }

    /// How often it was restarted, in words; none if it is in no loop.
    pub(crate) fn loop_in_words(&self) -> Option<Reason> {
        if !self.is_looping() {
            return None;
        }
        let (first, last) = (self.restarts.front()?.0, self.restarts.back()?.0);

        let times = match self.restarts.len() {
            1 => format!(
                "systemd has been about to start it again for more than {}",
                Seconds(ONLY_WAITING)
            ),
            count => format!("{count} restarts were seen within {}", Seconds(last.since(first))),
        };
        Some(times.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builders;

    /// As `active/sub`.
    fn state(text: &str) -> UnitState {
        builders::unit_state("a.service", "m1", text)
    }

    /// Feeds states at seconds, and returns whether it loops after each.
    fn looping(samples: &[(u64, &str)]) -> Vec<bool> {
        let start = Moment::now();
        let mut history: Option<RestartHistory> = None;
        let mut loops = Vec::new();
        for (second, text) in samples {
            let state = state(text);
            let at = start + Duration::from_secs(*second);
            let history = history.get_or_insert_with(|| RestartHistory::new(&state, at));
            history.note(&state, at);
            history.advance(at);
            loops.push(history.loop_in_words().is_some());
        }
        loops
    }

    /// Feeds states at seconds, and returns what there is to tell, with when.
    fn told(samples: &[(u64, &str)]) -> Vec<(u64, LoopNews)> {
        let start = Moment::now();
        let mut history = RestartHistory::new(&state(samples[0].1), start);
        let mut told = Vec::new();
        for (second, text) in samples {
            let at = start + Duration::from_secs(*second);
            history.note(&state(text), at);
            history.advance(at);
            told.extend(history.news(true).map(|news| (*second, news)));
        }
        told
    }

    const WAIT: &str = "activating/auto-restart";
    const RUN: &str = "active/running";

    #[test]
    fn the_second_restart_makes_a_loop() {
        assert_eq!(
            looping(&[(0, RUN), (10, WAIT), (12, RUN), (20, WAIT)]),
            [false, false, false, true]
        );
    }

    #[test]
    fn one_restart_is_none() {
        assert_eq!(looping(&[(0, RUN), (10, WAIT), (20, WAIT), (21, RUN), (600, RUN)]), [false; 5]);
    }

    #[test]
    fn a_unit_that_is_only_ever_seen_waiting_is_in_a_loop() {
        assert_eq!(
            looping(&[(0, WAIT), (10, WAIT), (12, WAIT), (14, RUN)]),
            [false, false, true, true]
        );
    }

    #[test]
    fn restarts_far_apart_are_no_loop() {
        assert_eq!(
            looping(&[(0, WAIT), (5, RUN), (700, WAIT), (705, RUN), (1500, WAIT)]),
            [false; 5]
        );
    }

    #[test]
    fn a_loop_is_over_when_it_ran_for_a_minute() {
        let samples = [(0, WAIT), (5, RUN), (10, WAIT), (12, RUN), (71, RUN), (72, RUN)];
        assert_eq!(looping(&samples), [false, false, true, true, true, false]);
    }

    #[test]
    fn a_loop_is_over_when_it_ran_for_as_long_as_its_rounds_took() {
        let samples = [(0, WAIT), (5, RUN), (200, WAIT), (205, RUN), (404, RUN), (405, RUN)];
        assert_eq!(looping(&samples), [false, false, true, true, true, false]);
    }

    #[test]
    fn starting_for_long_does_not_end_a_loop() {
        let samples = [
            (0, WAIT),
            (1, "activating/start"),
            (91, WAIT),
            (92, "activating/start"),
            (181, WAIT),
        ];
        assert_eq!(looping(&samples), [false, false, true, true, true]);
    }

    #[test]
    fn restarts_between_two_samples_are_inferred_from_starts() {
        let start = "activating/start";
        let samples = [(0, RUN), (2, start), (4, RUN), (6, start), (8, RUN), (10, start)];
        assert_eq!(looping(&samples), [false, false, false, false, false, true]);
    }

    #[test]
    fn a_loop_is_told_once_however_often_it_restarts_and_once_when_it_is_over() {
        let begun = LoopNews::Begun("2 restarts were seen within 5 s".into());
        let over = LoopNews::Over("it has been running for 60 s".into());
        let samples = [
            (0, RUN),
            (5, WAIT),
            (7, RUN),
            (10, WAIT),
            (12, RUN),
            (20, WAIT),
            (22, RUN),
            (82, RUN),
            (90, RUN),
        ];
        assert_eq!(told(&samples), [(10, begun), (82, over)]);
    }

    #[test]
    fn a_loop_that_systemd_gives_up_is_over() {
        let over = LoopNews::Over("it has not been started again for 60 s".into());
        let samples = [
            (0, WAIT),
            (2, RUN),
            (4, WAIT),
            (6, "failed/failed"),
            (65, "failed/failed"),
            (66, "failed/failed"),
        ];
        assert_eq!(told(&samples).last(), Some(&(66, over)));
    }

    #[test]
    fn a_loop_of_a_unit_that_fleet_stops_is_over_at_once() {
        let mut history = RestartHistory::new(&state(WAIT), Moment::now());
        history.advance(Moment::now() + ONLY_WAITING);
        history.news(true);

        history.not_wanted();
        assert_eq!(history.news(true), None, "systemd goes on to start it");
        history.note(&state("inactive/dead"), Moment::now());
        history.not_wanted();
        assert_eq!(
            history.news(true),
            Some(LoopNews::Over("fleet does not want it to run any more".into()))
        );
    }

    #[test]
    fn what_was_never_shown_to_loop_is_not_told_to_be_over() {
        let mut history = RestartHistory::new(&state(WAIT), Moment::now());
        history.advance(Moment::now() + ONLY_WAITING);
        assert_eq!(history.news(false), None, "something worse is shown of it");

        history.note(&state("inactive/dead"), Moment::now());
        history.not_wanted();
        assert_eq!(history.news(true), None);
    }
}
