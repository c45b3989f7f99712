//! The machines, and where each of them stands in its life.
//!
//! It counts the rows of each machine, and knows nothing else of units.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::machine_life::{MachineEvidence, MachineNews, MachinePresence, RESTART, step};
use super::model::{Machine, MachineId, Moment, Text};
use super::observation::{Absence, Report};
use super::transition::Event;
use super::unit_life::{MachineStanding, Retention, SourceStanding};
use super::view::Member;

/// How long a key may be away until it is shown that it is: when fleetd restarts, for 0.1 s.
const SHOWN_AWAY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Row {
    machine: Machine,
    report: Report,
    presence: MachinePresence,
    since: SystemTime,
    since_seen: bool,
    rows: usize,
    reported: usize,
    /// Whether any of its rows was reported at the last step.
    speaks: bool,
    /// Since when that has been so.
    turned: Moment,
}

impl Row {
    fn mute_since(&self) -> Option<Moment> {
        (self.rows > 0 && self.reported == 0).then_some(self.turned)
    }

    fn standing(&self) -> MachineStanding {
        match self.presence {
            MachinePresence::Lost { since } => MachineStanding::Lost { since },
            MachinePresence::Missing { since } | MachinePresence::Silent { since } => {
                MachineStanding::Waiting { since }
            }
            MachinePresence::Returned => MachineStanding::Waiting { since: self.turned },
            MachinePresence::Present => match self.mute_since() {
                Some(since) => MachineStanding::Waiting { since },
                None => MachineStanding::Speaking { since: self.turned },
            },
        }
    }
}

/// All machines that are known.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    rows: BTreeMap<MachineId, Row>,
    leader: Option<MachineId>,
}

/// What the source is worth at the moment, as far as machines are concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    standing: SourceStanding,
    passes_through: bool,
}

impl Source {
    pub(crate) fn new(standing: SourceStanding, retention: Retention) -> Self {
        Self { standing, passes_through: retention.passes_through() }
    }
}

impl Machines {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn get(&self, id: &MachineId) -> Option<&Machine> {
        self.rows.get(id).map(|row| &row.machine)
    }

    /// A machine as people name it: by its address, where that is or was known.
    pub(crate) fn name<'a>(&'a self, id: &'a MachineId) -> &'a str {
        self.ip(id).map_or(id, |ip| ip)
    }

    pub(crate) fn ip(&self, id: &MachineId) -> Option<&Text> {
        self.rows.get(id)?.machine.ip.as_ref()
    }

    /// Whether a machine has reported a unit, as far as any are known to be on it.
    pub(crate) fn has_spoken(&self, id: &MachineId) -> bool {
        self.rows.get(id).is_some_and(|row| row.rows > 0)
    }

    /// Where a machine stands; none for one that was never listed.
    pub(crate) fn standing(&self, id: &MachineId) -> Option<MachineStanding> {
        self.rows.get(id).map(Row::standing)
    }

    #[cfg(test)]
    pub(crate) fn presences(&self) -> BTreeMap<MachineId, MachinePresence> {
        self.rows.iter().map(|(id, row)| (id.clone(), row.presence)).collect()
    }

    pub(crate) fn presence(&self, id: &MachineId) -> Option<MachinePresence> {
        self.rows.get(id).map(|row| row.presence)
    }

    /// The machines that are in the cluster and reported, or may report, units.
    pub(crate) fn present(&self) -> impl Iterator<Item = &Machine> {
        let is_there = |row: &&Row| {
            matches!(row.presence, MachinePresence::Present | MachinePresence::Silent { .. })
        };
        self.rows.values().filter(is_there).map(|row| &row.machine)
    }

    /// A machine is there. Returns whether it describes itself anew.
    pub(crate) fn seen(
        &mut self,
        machine: Machine,
        at: Moment,
        is_first: bool,
        events: &mut Vec<Event>,
    ) -> bool {
        if let Some(row) = self.rows.get_mut(&machine.id) {
            if row.report.is_absent() {
                row.report = Report::Current;
            }
            let is_new = row.machine != machine;
            row.machine = machine;
            return is_new;
        }

        if !is_first {
            events
                .push(Event::MachineJoined { machine: machine.id.clone(), ip: machine.ip.clone() });
        }
        let row = Row {
            report: Report::Current,
            presence: MachinePresence::Present,
            since: at.wall,
            since_seen: !is_first,
            rows: 0,
            reported: 0,
            speaks: false,
            turned: at,
            machine,
        };
        self.rows.insert(row.machine.id.clone(), row);
        true
    }

    /// The machines that are there now and were so before, to be told which of them a list lacks.
    pub(crate) fn listed(&self) -> BTreeSet<MachineId> {
        self.rows
            .iter()
            .filter(|(_, row)| !row.report.is_absent())
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub(crate) fn absent(&mut self, id: &MachineId, absence: Absence, at: Moment) {
        let Some(row) = self.rows.get_mut(id) else {
            return;
        };

        row.report = match row.report {
            Report::Absent { since, confirmed, .. } if absence == Absence::Expired => {
                Report::Absent { since, absence, confirmed }
            }
            Report::Absent { .. } => return,
            _ => Report::Absent { since: at, absence, confirmed: false },
        };
    }

    pub(crate) fn overdue(&mut self, id: &MachineId, since: Moment) {
        if let Some(row) = self.rows.get_mut(id)
            && row.report == Report::Current
        {
            row.report = Report::Overdue { since };
        }
    }

    pub(crate) fn renewed(&mut self, id: &MachineId) {
        if let Some(row) = self.rows.get_mut(id)
            && matches!(row.report, Report::Overdue { .. })
        {
            row.report = Report::Current;
        }
    }

    pub(crate) fn overdue_machines(&self) -> Vec<MachineId> {
        let is_overdue =
            |(_, row): &(&MachineId, &Row)| matches!(row.report, Report::Overdue { .. });
        self.rows
            .iter()
            .filter(is_overdue)
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub(crate) fn lead(&mut self, leader: Option<MachineId>) {
        self.leader = leader;
    }

    /// Counts a row that was added to a machine, or taken away from it, and whether it is reported.
    pub(crate) fn count(&mut self, id: &MachineId, rows: isize, reported: isize) {
        let Some(row) = self.rows.get_mut(id) else {
            return;
        };

        row.rows = row.rows.saturating_add_signed(rows);
        row.reported = row.reported.saturating_add_signed(reported);
    }

    /// Sets the counts of a machine that was not known when its rows were.
    pub(crate) fn recount(&mut self, id: &MachineId, rows: usize, reported: usize) {
        if let Some(row) = self.rows.get_mut(id) {
            row.rows = rows;
            row.reported = reported;
        }
    }

    /// Lets each machine make its step. Returns those that stand elsewhere now.
    pub(crate) fn step(
        &mut self,
        source: Source,
        at: Moment,
        events: &mut Vec<Event>,
    ) -> BTreeSet<MachineId> {
        let has_company = self.rows.values().any(|row| !row.report.is_absent());
        let mut moved = BTreeSet::new();

        for (id, row) in &mut self.rows {
            let speaks = row.reported > 0;
            if speaks != row.speaks {
                row.speaks = speaks;
                row.turned = at;
            }

            let evidence = MachineEvidence {
                report: row.report,
                rows: row.rows,
                mute_since: row.mute_since(),
                settled: !source.standing.is_old() || source.passes_through,
                suspect: source.standing == SourceStanding::Suspect,
                has_company: has_company || source.passes_through,
            };
            let before = row.presence;
            let (presence, news) = step(before, &evidence, at);
            row.presence = presence;
            if std::mem::discriminant(&before) != std::mem::discriminant(&presence) {
                moved.insert(id.clone());
            }

            let Some(news) = news else { continue };
            let (machine, ip) = (id.clone(), row.machine.ip.clone());
            events.push(match news {
                MachineNews::Lost => Event::MachineLost { machine, ip },
                MachineNews::Silent => Event::MachineSilent { machine, ip },
                MachineNews::Heard => Event::MachineHeard { machine, ip },
                MachineNews::Joined => {
                    row.since = at.wall;
                    row.since_seen = true;
                    Event::MachineJoined { machine, ip }
                }
            });
        }
        moved
    }

    /// Forgets machines that have been lost for long enough and on which no row is.
    pub(crate) fn forget_lost(&mut self, retention: Retention, at: Moment) {
        self.rows.retain(|_, row| match row.presence {
            MachinePresence::Lost { since } => {
                let is_of_interest = at.since(since) < retention.grace || row.rows > 0;
                is_of_interest && !retention.passes_through()
            }
            _ => true,
        });
    }

    /// The machines as they are shown. What did not change stays the same in memory.
    pub(crate) fn members(&self, before: &[Arc<Member>], at: Moment) -> Vec<Arc<Member>> {
        let member = |row: &Row| {
            let shown = Member {
                machine: row.machine.clone(),
                leads: self.leader.as_ref() == Some(&row.machine.id),
                silent_since: silent_since(row, at),
                lost_since: match row.presence {
                    MachinePresence::Lost { since } => Some(since.wall),
                    _ => None,
                },
                since: row.since,
                since_seen: row.since_seen,
            };
            let same = before
                .binary_search_by(|old| old.machine.id.cmp(&shown.machine.id))
                .ok();
            match same.map(|index| &before[index]) {
                Some(same) if **same == shown => same.clone(),
                _ => Arc::new(shown),
            }
        };
        self.rows.values().map(member).collect()
    }

    /// A machine, or what is known of one that was never listed.
    pub(crate) fn described(&self, id: &MachineId) -> Machine {
        let unknown = || Machine { id: id.clone(), ip: None, metadata: None, version: None };
        self.get(id).cloned().unwrap_or_else(unknown)
    }
}

fn silent_since(row: &Row, at: Moment) -> Option<SystemTime> {
    match row.presence {
        MachinePresence::Silent { since } => Some(since.wall),
        MachinePresence::Missing { since } if at.since(since) >= SHOWN_AWAY => Some(since.wall),
        _ => None,
    }
}

const _: () = assert!(SHOWN_AWAY.as_millis() < RESTART.as_millis());
