//! Whether a unit fails, is started again, and fails again, as far as its reported states show it.
//!
//! systemd reports `activating/auto-restart` while it waits to start a unit again. Samples may miss that: a wait can be
//! shorter than the time between two of them, and a unit that fails at once can be seen in nothing but the wait. It knows
//! nothing of who reports, and time is passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::model::{Moment, UnitState};
use super::transition::Seconds;

/// Restarts that are further apart than this are not one loop.
const WINDOW: Duration = Duration::from_secs(600);
/// A unit that is seen in nothing but the wait for so long fails again and again between the samples: systemd waits for
/// 0.1 s by default (`systemd.service(5)`, `RestartSec=`).
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

/// The restarts of one unit on one machine.
#[derive(Clone, Debug)]
pub(super) struct RestartHistory {
    phase: Phase,
    phase_since: Moment,
    restarts: VecDeque<(Moment, Evidence)>,
    is_looping: bool,
}

impl RestartHistory {
    /// The history of a unit of which this is the first known state.
    pub(super) fn new(state: &UnitState, at: Moment) -> Self {
        let phase = Phase::of(state);
        let mut history = Self { phase, phase_since: at, restarts: VecDeque::new(), is_looping: false };

        if phase == Phase::Waiting {
            history.restarts.push_back((at, Evidence::Seen));
        }
        history
    }

    /// Takes another state.
    pub(super) fn note(&mut self, state: &UnitState, at: Moment) {
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

        let seen = self.restarts.iter().filter(|(_, evidence)| *evidence == Evidence::Seen).count();
        self.is_looping |= seen >= 2 || self.restarts.len() >= 3;
    }

    /// Lets time pass. Returns when time alone will change something, if it will.
    pub(super) fn advance(&mut self, at: Moment) -> Option<Instant> {
        let (change, becomes_looping) = match (self.phase, self.is_looping) {
            (Phase::Waiting, false) => (ONLY_WAITING, true),
            (Phase::Running | Phase::Stopped, true) => (self.longest_gap().max(RECOVERY), false),
            _ => return None,
        };
        if at.since(self.phase_since) < change {
            return Some(self.phase_since.instant + change);
        }

        self.is_looping = becomes_looping;
        if !becomes_looping {
            self.restarts.clear();
        }
        None
    }

    /// How long one round of the loop took at most.
    fn longest_gap(&self) -> Duration {
        let moments = || self.restarts.iter().map(|(moment, _)| *moment);
        moments().zip(moments().skip(1)).map(|(one, next)| next.since(one)).max().unwrap_or_default()
    }

    /// How often it was restarted, in words; none if it is in no loop.
    pub(super) fn loop_in_words(&self) -> Option<String> {
        if !self.is_looping {
            return None;
        }
        let (first, last) = (self.restarts.front()?.0, self.restarts.back()?.0);

        Some(match self.restarts.len() {
            1 => format!("systemd has been about to start it again for more than {}", Seconds(ONLY_WAITING)),
            count => format!("{count} restarts were seen within {}", Seconds(last.since(first))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds states at seconds, and returns whether it loops after each.
    fn looping(samples: &[(u64, &str)]) -> Vec<bool> {
        let start = Moment::now();
        let mut history: Option<RestartHistory> = None;
        let mut loops = Vec::new();
        for (second, text) in samples {
            let (active, sub) = text.split_once('/').unwrap();
            let state = UnitState {
                active: Some(active.into()),
                sub: Some(sub.into()),
                ..UnitState::unreported("a.service".into())
            };
            let at = start + Duration::from_secs(*second);
            let history = history.get_or_insert_with(|| RestartHistory::new(&state, at));
            history.note(&state, at);
            history.advance(at);
            loops.push(history.loop_in_words().is_some());
        }
        loops
    }

    const WAIT: &str = "activating/auto-restart";
    const RUN: &str = "active/running";

    #[test]
    fn the_second_restart_makes_a_loop() {
        assert_eq!(looping(&[(0, RUN), (10, WAIT), (12, RUN), (20, WAIT)]), [false, false, false, true]);
    }

    #[test]
    fn one_restart_is_none() {
        assert_eq!(looping(&[(0, RUN), (10, WAIT), (20, WAIT), (21, RUN), (600, RUN)]), [false; 5]);
    }

    #[test]
    fn a_unit_that_is_only_ever_seen_waiting_is_in_a_loop() {
        assert_eq!(looping(&[(0, WAIT), (10, WAIT), (12, WAIT), (14, RUN)]), [false, false, true, true]);
    }

    #[test]
    fn restarts_far_apart_are_no_loop() {
        assert_eq!(looping(&[(0, WAIT), (5, RUN), (700, WAIT), (705, RUN), (1500, WAIT)]), [false; 5]);
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
        let samples = [(0, WAIT), (1, "activating/start"), (91, WAIT), (92, "activating/start"), (181, WAIT)];
        assert_eq!(looping(&samples), [false, false, true, true, true]);
    }

    #[test]
    fn restarts_between_two_samples_are_inferred_from_starts() {
        let start = "activating/start";
        let samples = [(0, RUN), (2, start), (4, RUN), (6, start), (8, RUN), (10, start)];
        assert_eq!(looping(&samples), [false, false, false, false, false, true]);
    }
}
