//! The rows that are not `ok`, and how long each of them has not been.
//!
//! It knows nothing of problems.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{ProblemDelays, ProblemKind, ProblemSeverity};
use crate::cluster::{MachineId, Moment, RowKey, Unit, Verdict, View};

/// What identifies a row here: the unit, and the machine that reports it or should. So a row stays
/// the same when its machine does not report it any more.
pub(super) fn row_key(unit: &Unit) -> RowKey {
    (unit.state.unit.clone(), unit.machine_id().cloned())
}

/// The row with such a key.
pub(super) fn find_row<'a>(view: &'a View, key: &RowKey) -> Option<&'a Arc<Unit>> {
    let unreported = || {
        let row = view.units.get(&(key.0.clone(), None))?;
        (row.machine_id() == key.1.as_ref()).then_some(row)
    };

    view.units.get(key).or_else(unreported)
}

/// How far the source can be relied on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reliance {
    /// It cannot.
    #[default]
    None,
    /// What it reports is so. What it does not report proves nothing: an outage has just ended.
    Reports,
    /// What it does not report is not there.
    Absences,
}

/// A time of the [`TrustedClock`], or the time between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TrustedTime {
    /// The time in which reports could be relied on.
    reports: Duration,
    /// The time in which absences could be relied on too.
    absences: Duration,
}

impl TrustedTime {
    /// The time that counts for a verdict.
    fn of(self, verdict: Verdict) -> Duration {
        if verdict.has_current_state() {
            self.reports
        } else {
            self.absences
        }
    }

    /// The time in which the source answered.
    pub(super) fn of_reports(self) -> Duration {
        self.reports
    }

    /// The time that counts for what depends on absences.
    pub(super) fn of_absences(self) -> Duration {
        self.absences
    }

    /// This time, `age` earlier; zero if it is too early for that.
    pub(super) fn before(self, age: Duration) -> TrustedTime {
        TrustedTime {
            reports: self.reports.saturating_sub(age),
            absences: self.absences.saturating_sub(age),
        }
    }

    pub(super) fn since(self, earlier: TrustedTime) -> TrustedTime {
        TrustedTime {
            reports: self.reports.saturating_sub(earlier.reports),
            absences: self.absences.saturating_sub(earlier.absences),
        }
    }
}

/// Counts the time in which the source could be relied on. It stands still in between.
#[derive(Debug, Default)]
pub(super) struct TrustedClock {
    time: TrustedTime,
    last: Option<(Moment, Reliance)>,
}

impl TrustedClock {
    /// A clock that has counted so much time already.
    pub(super) fn starting_at(time: Duration) -> Self {
        Self {
            time: TrustedTime { reports: time, absences: time },
            last: None,
        }
    }

    pub(super) fn time(&self) -> TrustedTime {
        self.time
    }

    /// Goes on to a moment. The time since the last one counts as far as the source could be relied
    /// on at its beginning and at its end.
    pub(super) fn advance(&mut self, now: Moment, reliance: Reliance) {
        if let Some((last, before)) = self.last {
            let passed = now.since(last);
            let reliance = reliance.min(before);

            if reliance >= Reliance::Reports {
                self.time.reports += passed;
            }
            if reliance >= Reliance::Absences {
                self.time.absences += passed;
            }
        }
        self.last = Some((now, reliance));
    }
}

/// A row that is not `ok`. Its times are those of the [`TrustedClock`].
#[derive(Debug)]
pub(super) struct WrongRow {
    pub(super) unit: Arc<Unit>,
    /// The machine that it is wrong because of.
    pub(super) machine: Option<MachineId>,
    pub(super) severity: ProblemSeverity,
    /// Since when it has had this severity.
    severity_since: TrustedTime,
    /// Since when it has not been `ok`.
    wrong_since: TrustedTime,
}

impl WrongRow {
    fn new(unit: Arc<Unit>, machine: Option<MachineId>, clock: TrustedTime) -> Self {
        Self {
            severity: ProblemKind::Unit(unit.verdict).severity(),
            unit,
            machine,
            severity_since: clock,
            wrong_since: clock,
        }
    }

    /// How long it is until it has been as bad as this, or worse, for long enough; zero if it has.
    pub(super) fn left(&self, clock: TrustedTime, delays: &ProblemDelays) -> Duration {
        self.delay(delays).saturating_sub(self.lasted(clock))
    }

    /// For how much longer than long enough it has been as bad as this, or worse.
    pub(super) fn overdue(&self, clock: TrustedTime, delays: &ProblemDelays) -> Duration {
        self.lasted(clock).saturating_sub(self.delay(delays))
    }

    /// Whether it has been exactly as bad as this for long enough.
    pub(super) fn has_kept_severity(&self, clock: TrustedTime, delays: &ProblemDelays) -> bool {
        clock.since(self.severity_since).of(self.unit.verdict) >= self.delay(delays)
    }

    fn lasted(&self, clock: TrustedTime) -> Duration {
        let since = match self.severity {
            ProblemSeverity::Critical => self.severity_since,
            ProblemSeverity::Warning => self.wrong_since,
        };
        clock.since(since).of(self.unit.verdict)
    }

    fn delay(&self, delays: &ProblemDelays) -> Duration {
        delays.of(ProblemKind::Unit(self.unit.verdict))
    }
}

/// All rows that are not `ok`.
#[derive(Debug, Default)]
pub(super) struct WrongRows {
    rows: HashMap<RowKey, WrongRow>,
}

impl WrongRows {
    pub(super) fn get(&self, key: &RowKey) -> Option<&WrongRow> {
        self.rows.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&RowKey, &WrongRow)> {
        self.rows.iter()
    }

    /// Applies a view. `machine_of` is the machine that a row is wrong because of.
    pub(super) fn update(
        &mut self,
        view: &View,
        clock: TrustedTime,
        machine_of: impl Fn(&Unit) -> Option<MachineId>,
    ) {
        let is_fine = view.units.tally().of(Verdict::Ok) == view.units.len();
        if is_fine {
            self.rows.clear();
            return;
        }

        self.rows.retain(|key, _| {
            let unit = find_row(view, key);
            unit.is_some_and(|unit| unit.verdict != Verdict::Ok)
        });
        for unit in view.units.iter().filter(|unit| unit.verdict != Verdict::Ok) {
            self.update_row(unit, machine_of(unit), clock);
        }
    }

    fn update_row(&mut self, unit: &Arc<Unit>, machine: Option<MachineId>, clock: TrustedTime) {
        let new = WrongRow::new(unit.clone(), machine, clock);

        match self.rows.get_mut(&row_key(unit)) {
            Some(row) if row.machine.is_none() && new.machine.is_none() => {
                if row.severity != new.severity {
                    row.severity = new.severity;
                    row.severity_since = clock;
                }
                row.unit = new.unit;
            }
            // What is wrong because of a machine begins anew when that is over.
            _ => {
                self.rows.insert(row_key(unit), new);
            }
        }
    }
}
