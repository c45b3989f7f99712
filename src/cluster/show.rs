//! Makes the view. What is as it was before stays the same in memory, so that a change can be told by a pointer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::conclude::Several;
use super::judge;
use super::merge::{Cluster, MachineRow, Row};
use super::{Member, Moment, Unit, UnitFile, View};

/// Since when a machine's key has been away, unless it was there a moment ago: when its fleetd restarts it is away for
/// 0.1 s.
fn away_since(row: &MachineRow, at: Moment) -> Option<SystemTime> {
    let missing = row.missing.filter(|missing| at.since(missing.since) >= Duration::from_secs(1));
    missing.map(|missing| missing.since.wall)
}

impl Cluster {
    /// Makes the view anew.
    pub(super) fn show(&mut self, at: Moment, several: &Several) {
        let settled = !self.is_unsettled(at);
        let mut units = Vec::with_capacity(self.rows.len());
        // Out of the way while they are changed one by one: what is shown of a row does not depend on the others.
        let mut rows = std::mem::take(&mut self.rows);
        let mut files = self.files.iter().flat_map(|files| &files.files).peekable();
        for ((unit, _), row) in &mut rows {
            while files.next_if(|(name, _)| *name < unit).is_some() {}
            let file = files.peek().filter(|(name, _)| *name == unit).map(|(_, file)| *file);
            let unit = self.unit(row, file, settled, several, at);
            units.push(match &row.shown {
                Some(same) if **same == unit => same.clone(),
                _ => row.shown.insert(Arc::new(unit)).clone(),
            });
        }
        self.rows = rows;
        let leader = self.registry.as_ref().and_then(|registry| registry.leader.as_ref());
        let machines = self.machines.values().map(|row| {
            let shown = Member {
                machine: row.machine.clone(),
                leads: leader == Some(&row.machine.id),
                silent_since: row.silent_since.or(away_since(row, at)),
                lost_since: row.lost.map(|lost| lost.wall),
                since: row.since,
                since_seen: row.since_seen,
            };
            let same = self.view.machines.binary_search_by(|old| old.machine.id.cmp(&shown.machine.id)).ok();
            match same.map(|index| &self.view.machines[index]) {
                Some(same) if **same == shown => same.clone(),
                _ => Arc::new(shown),
            }
        });
        let view = View { units, machines: machines.collect() };
        self.complete |= self.health.unread().next().is_none();
        if view != *self.view {
            self.view = Arc::new(view);
        }
    }

    fn unit(&self, row: &Row, file: Option<&Arc<UnitFile>>, settled: bool, several: &Several, at: Moment) -> Unit {
        let mut state = row.state.clone();
        let (verdict, reason) = match &state.machine {
            None => judge::verdict_on_unreported(file.map(|file| &**file)),
            Some(machine) => {
                let evidence = self.evidence(row, file.map(|file| &**file), settled, several);
                if evidence.machine_lost && !self.grace.is_zero() {
                    state.ip = None;
                } else if state.ip.is_none() && !self.grace.is_zero() {
                    state.ip = self.machines.get(machine).and_then(|row| row.machine.ip.clone());
                }
                evidence.verdict()
            }
        };
        let (verdict_since, verdict_since_seen) = match &row.shown {
            Some(before) if before.verdict == verdict => (before.verdict_since, before.verdict_since_seen),
            Some(_) => (at.wall, self.complete),
            None => (row.since, row.since_seen),
        };
        Unit {
            state,
            listed: row.listed,
            stale_since: row.overdue_since.or_else(|| row.missing.map(|missing| missing.since.wall)),
            file: file.cloned(),
            verdict,
            reason,
            verdict_since,
            verdict_since_seen,
            since: row.since,
            since_seen: row.since_seen,
        }
    }
}
