//! Whether a unit is in a crash loop: whether it fails, is restarted, and fails again, as far as
//! its reported states show it.
//!
//! It does not know which machine reports the states, and time is passed in.
//!
//! systemd reports `activating/auto-restart` while it waits before it restarts a unit. Polling can
//! miss that: the wait may be shorter than the poll interval, and a unit that fails at once may be
//! seen in no other state.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::model::{Moment, ReasonText, UnitState};
use super::saved_time::SavedTime;
use super::transition::HumanDuration;

/// Restarts that are further apart than this do not belong to one loop.
const WINDOW: Duration = Duration::from_secs(600);
/// A unit that is seen only waiting for a restart for so long fails between the polls: systemd
/// waits for 0.1 s by default (`systemd.service(5)`, `RestartSec=`).
const ONLY_WAITING: Duration = Duration::from_secs(12);
/// A loop is over when the unit has run, or has been stopped, for this time, or for the longest
/// time between two restarts if that is longer.
const RECOVERY: Duration = Duration::from_secs(60);
/// How many restarts are kept.
const MAX_RESTARTS: usize = 32;

/// What a unit's state says about restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunPhase {
    /// systemd waits before it restarts the unit.
    Waiting,
    Starting,
    Running,
    /// It does not run, and systemd will not restart it.
    Stopped,
}

impl RunPhase {
    fn from_state(state: &UnitState) -> Self {
        match (state.active.as_deref(), state.sub.as_deref()) {
            (Some("activating"), Some(sub)) if sub.starts_with("auto-restart") => RunPhase::Waiting,
            (Some("activating"), _) => RunPhase::Starting,
            (Some("active" | "reloading" | "refreshing"), _) => RunPhase::Running,
            _ => RunPhase::Stopped,
        }
    }
}

/// How a restart was detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Detection {
    /// systemd was seen waiting to restart the unit.
    Observed,
    /// The unit went from running to starting, which an operator may have asked for.
    Inferred,
}

/// Whether a unit is in a crash loop, and which of its two events were emitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CrashLoopState {
    None,
    /// It is in a loop, which has not been an event yet.
    Detected,
    /// It is in a loop, which has been an event.
    Announced,
    /// A loop that has been an event is over, which has not been an event yet.
    Over(ReasonText),
}

/// What is to be reported of a crash loop. Each value becomes an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CrashLoopNotice {
    /// The loop was detected; the text says how often the unit was restarted.
    Begun(ReasonText),
    /// The loop is over; the text says how that is known.
    Over(ReasonText),
}

/// A [`RestartHistory`] with restarts, as it is saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedRestarts {
    phase_since: SavedTime,
    restarts: Vec<(SavedTime, Detection)>,
    state: CrashLoopState,
}

/// The restarts of one unit on one machine.
#[derive(Clone, Debug)]
pub(crate) struct RestartHistory {
    phase: RunPhase,
    phase_since: Moment,
    restarts: VecDeque<(Moment, Detection)>,
    state: CrashLoopState,
}

impl RestartHistory {
    /// The history of a unit whose first known state is `state`.
    pub(crate) fn new(state: &UnitState, at: Moment) -> Self {
        let phase = RunPhase::from_state(state);
        let mut history = Self {
            phase,
            phase_since: at,
            restarts: VecDeque::new(),
            state: CrashLoopState::None,
        };

        if phase == RunPhase::Waiting {
            history.restarts.push_back((at, Detection::Observed));
        }
        history
    }

    /// What is to be saved; `None` if there were no restarts.
    pub(crate) fn saved(&self) -> Option<SavedRestarts> {
        let restarts = self.restarts.iter();
        let has_restarts = !self.restarts.is_empty() || self.state != CrashLoopState::None;

        has_restarts.then(|| SavedRestarts {
            phase_since: self.phase_since.into(),
            restarts: restarts.map(|(moment, how)| ((*moment).into(), *how)).collect(),
            state: self.state.clone(),
        })
    }

    /// The history of a unit with this state and these restarts. While the program did not run, the
    /// unit may have been restarted any number of times: so a phase in a loop begins anew.
    pub(crate) fn restore(state: &UnitState, saved: &SavedRestarts, now: Moment) -> Self {
        let mut history = Self {
            phase: RunPhase::from_state(state),
            phase_since: saved.phase_since.moment(now),
            restarts: saved
                .restarts
                .iter()
                .map(|(time, how)| (time.moment(now), *how))
                .collect(),
            state: saved.state.clone(),
        };

        if history.is_looping() {
            history.phase_since = now;
        }
        history
    }

    /// Records another reported state, and when it was seen.
    pub(crate) fn record_state(&mut self, state: &UnitState, at: Moment) {
        let phase = RunPhase::from_state(state);
        if phase == self.phase {
            return;
        }

        // The phase that ends now may have been long enough to begin or end a loop.
        self.advance(at);

        match (self.phase, phase) {
            (_, RunPhase::Waiting) => self.record_restart(at, Detection::Observed),
            (RunPhase::Running, RunPhase::Starting) => {
                self.record_restart(at, Detection::Inferred);
            }
            _ => {}
        }
        self.phase = phase;
        self.phase_since = at;
    }

    fn record_restart(&mut self, at: Moment, detection: Detection) {
        if self.restarts.back().is_some_and(|(last, _)| at.since(*last) > WINDOW) {
            self.restarts.clear();
        }
        if self.restarts.len() == MAX_RESTARTS {
            self.restarts.pop_front();
        }
        self.restarts.push_back((at, detection));

        let observed = self
            .restarts
            .iter()
            .filter(|(_, detection)| *detection == Detection::Observed)
            .count();
        if observed >= 2 || self.restarts.len() >= 3 {
            self.begin();
        }
    }

    fn begin(&mut self) {
        match self.state {
            CrashLoopState::None => self.state = CrashLoopState::Detected,
            // That the loop was over has not been an event: it goes on.
            CrashLoopState::Over(_) => self.state = CrashLoopState::Announced,
            CrashLoopState::Detected | CrashLoopState::Announced => {}
        }
    }

    fn end(&mut self, reason: ReasonText) {
        self.restarts.clear();
        self.state = if self.is_announced() {
            CrashLoopState::Over(reason)
        } else {
            CrashLoopState::None
        };
    }

    /// Records that fleet does not want the unit to run. Once it has stopped, its loop is over.
    pub(crate) fn record_not_wanted(&mut self) {
        if self.is_looping() && self.phase == RunPhase::Stopped {
            self.end("fleet does not want it to run any more".into());
        }
    }

    /// Begins or ends a loop if enough time has passed. Returns when to call this again although no
    /// other state was reported.
    pub(crate) fn advance(&mut self, at: Moment) -> Option<Instant> {
        let duration = at.since(self.phase_since);
        let threshold = match (self.phase, self.is_looping()) {
            (RunPhase::Waiting, false) => ONLY_WAITING,
            (RunPhase::Running | RunPhase::Stopped, true) => self.longest_gap().max(RECOVERY),
            _ => return None,
        };
        if duration < threshold {
            return Some(self.phase_since.instant + threshold);
        }

        let duration = HumanDuration(duration);
        match self.phase {
            RunPhase::Waiting => self.begin(),
            RunPhase::Running => {
                self.end(format!("it has been running for {duration}").into());
            }
            _ => self.end(format!("it has not been restarted for {duration}").into()),
        }
        None
    }

    fn is_looping(&self) -> bool {
        matches!(self.state, CrashLoopState::Detected | CrashLoopState::Announced)
    }

    /// Whether the unit is in a loop, and that has been an event.
    pub(crate) fn is_announced(&self) -> bool {
        self.state == CrashLoopState::Announced
    }

    /// Takes the notice that is pending, if one is. The beginning of a loop is pending until the
    /// row `is_shown` to be in a crash loop.
    pub(crate) fn take_notice(&mut self, is_shown: bool) -> Option<CrashLoopNotice> {
        match &self.state {
            CrashLoopState::Detected if is_shown => {
                let restarts = self.describe()?;
                self.state = CrashLoopState::Announced;
                Some(CrashLoopNotice::Begun(restarts))
            }
            CrashLoopState::Over(reason) => {
                let reason = reason.clone();
                self.state = CrashLoopState::None;
                Some(CrashLoopNotice::Over(reason))
            }
            _ => None,
        }
    }

    /// The longest time between two restarts.
    fn longest_gap(&self) -> Duration {
        let moments = || self.restarts.iter().map(|(moment, _)| *moment);

        moments()
            .zip(moments().skip(1))
            .map(|(one, next)| next.since(one))
            .max()
            .unwrap_or_default()
    }

    /// How often the unit was restarted, for people; `None` if it is not in a loop.
    pub(crate) fn describe(&self) -> Option<ReasonText> {
        if !self.is_looping() {
            return None;
        }
        let (first, _) = self.restarts.front()?;
        let (last, _) = self.restarts.back()?;

        let text = match self.restarts.len() {
            1 => format!(
                "systemd has been waiting to restart it for more than {}",
                HumanDuration(ONLY_WAITING)
            ),
            count => {
                format!("{count} restarts were seen within {}", HumanDuration(last.since(*first)))
            }
        };
        Some(text.into())
    }
}
