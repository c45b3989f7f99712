//! The rows that are not `ok`, and how long each of them has not been.
//!
//! It knows nothing of problems.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{ProblemDelays, ProblemKind, ProblemSeverity};
use crate::cluster::{MachineId, Moment, RowKey, Unit, Verdict, View};

/// Counts the time in which the source could be relied on. It stands still in between.
#[derive(Debug, Default)]
pub(super) struct TrustedClock {
    time: Duration,
    /// The last moment, and whether the source could be relied on then.
    last: Option<(Moment, bool)>,
}

impl TrustedClock {
    pub(super) fn time(&self) -> Duration {
        self.time
    }

    /// Goes on to a moment. The time since the last one counts if the source could be relied on at
    /// its beginning and at its end.
    pub(super) fn advance(&mut self, now: Moment, is_trusted: bool) {
        if let Some((last, true)) = self.last
            && is_trusted
        {
            self.time += now.since(last);
        }
        self.last = Some((now, is_trusted));
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
    severity_since: Duration,
    /// Since when it has not been `ok`.
    wrong_since: Duration,
}

impl WrongRow {
    fn new(unit: Arc<Unit>, machine: Option<MachineId>, clock: Duration) -> Self {
        Self {
            severity: ProblemKind::Unit(unit.verdict).severity(),
            unit,
            machine,
            severity_since: clock,
            wrong_since: clock,
        }
    }

    /// Whether it has been as bad as this, or worse, for long enough.
    pub(super) fn has_lasted(&self, clock: Duration, delays: &ProblemDelays) -> bool {
        let since = match self.severity {
            ProblemSeverity::Critical => self.severity_since,
            ProblemSeverity::Warning => self.wrong_since,
        };
        clock - since >= delays.of(ProblemKind::Unit(self.unit.verdict))
    }

    /// Whether it has been exactly as bad as this for long enough.
    pub(super) fn has_kept_severity(&self, clock: Duration, delays: &ProblemDelays) -> bool {
        clock - self.severity_since >= delays.of(ProblemKind::Unit(self.unit.verdict))
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
        clock: Duration,
        machine_of: impl Fn(&Unit) -> Option<MachineId>,
    ) {
        let is_fine = view.units.tally().of(Verdict::Ok) == view.units.len();
        if is_fine {
            self.rows.clear();
            return;
        }

        self.rows.retain(|key, _| {
            let unit = view.units.get(key);
            unit.is_some_and(|unit| unit.verdict != Verdict::Ok)
        });
        for unit in view.units.iter().filter(|unit| unit.verdict != Verdict::Ok) {
            self.update_row(unit, machine_of(unit), clock);
        }
    }

    fn update_row(&mut self, unit: &Arc<Unit>, machine: Option<MachineId>, clock: Duration) {
        let new = WrongRow::new(unit.clone(), machine, clock);

        match self.rows.get_mut(&unit.key()) {
            Some(row) if row.machine.is_none() && new.machine.is_none() => {
                if row.severity != new.severity {
                    row.severity = new.severity;
                    row.severity_since = clock;
                }
                row.unit = new.unit;
            }
            // What is wrong because of a machine begins anew when that is over.
            _ => {
                self.rows.insert(unit.key(), new);
            }
        }
    }
}
