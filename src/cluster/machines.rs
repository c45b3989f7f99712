//! The machines of the cluster, with the state of each.
//!
//! It knows nothing of units except how many rows each machine has, and how many of these are
//! reported.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::machine_life::{
    MachineEvidence, MachineNotice, MachinePresence, MachineStanding, RESTART, step,
};
use super::model::{Machine, MachineId, Moment, Text, UnitName};
use super::peer::{KnownSince, LearningTime, PeerMachine};
use super::report::{Absence, Novelty, ReportStatus};
use super::retention::Retention;
use super::saved::{SavedMachine, SavedPresence};
use super::saved_time::SavedTime;
use super::source_trust::SourceStanding;
use super::transition::Event;
use super::view::Member;

/// How long a machine may be missing before it is shown as silent. A restarting fleetd is missing
/// for 0.1 s.
const SHOWN_AS_SILENT: Duration = Duration::from_secs(1);

const _: () = assert!(SHOWN_AS_SILENT.as_millis() < RESTART.as_millis());

/// What is known of one machine.
#[derive(Debug)]
struct MachineRecord {
    machine: Machine,
    report: ReportStatus,
    presence: MachinePresence,
    /// When it joined, or when it was first read.
    since: SystemTime,
    /// Whether this process saw it join.
    since_seen: bool,
    /// The number of rows on it.
    rows: usize,
    /// How many of these rows are reported.
    reported: usize,
    /// Whether any row was reported at the last step.
    is_reporting: bool,
    /// When `is_reporting` last changed.
    reporting_changed: Moment,
    /// The units that were reported there when it was last in the cluster; `None` while it is.
    ran: Option<Arc<[UnitName]>>,
}

impl MachineRecord {
    fn new(machine: Machine, at: Moment, since_seen: bool) -> Self {
        Self {
            machine,
            report: ReportStatus::Current,
            presence: MachinePresence::Present,
            since: at.wall,
            since_seen,
            rows: 0,
            reported: 0,
            is_reporting: false,
            reporting_changed: at,
            ran: None,
        }
    }

    /// The machine that was saved, without any row. A lost or missing one stays so until a reading
    /// contains it.
    fn restore(saved: SavedMachine, now: Moment) -> Self {
        let absent = |since: SavedTime| ReportStatus::Absent {
            since: since.moment(now),
            absence: Absence::Unlisted,
            confirmed: true,
        };
        let (presence, report) = match saved.presence {
            SavedPresence::Present => (MachinePresence::Present, ReportStatus::Current),
            SavedPresence::Returned => (MachinePresence::Returned, ReportStatus::Current),
            SavedPresence::Silent { since } => {
                (MachinePresence::Silent { since: since.moment(now) }, ReportStatus::Current)
            }
            SavedPresence::Missing { since } => {
                (MachinePresence::Missing { since: since.moment(now) }, absent(since))
            }
            SavedPresence::Lost { since } => {
                (MachinePresence::Lost { since: since.moment(now) }, absent(since))
            }
        };

        Self {
            report,
            presence,
            since: saved.since.0,
            ran: report.is_absent().then(|| saved.ran.into()),
            ..Self::new(saved.machine, now, saved.since_seen)
        }
    }

    fn saved(&self) -> SavedMachine {
        SavedMachine {
            machine: self.machine.clone(),
            presence: match self.presence {
                MachinePresence::Present => SavedPresence::Present,
                MachinePresence::Returned => SavedPresence::Returned,
                MachinePresence::Silent { since } => SavedPresence::Silent { since: since.into() },
                MachinePresence::Missing { since } => {
                    SavedPresence::Missing { since: since.into() }
                }
                MachinePresence::Lost { since } => SavedPresence::Lost { since: since.into() },
            },
            since: SavedTime(self.since),
            since_seen: self.since_seen,
            ran: self.ran.iter().flat_map(|units| units.iter().cloned()).collect(),
        }
    }

    /// Since when none of its rows has been reported; `None` if one is, or if it has none.
    fn mute_since(&self) -> Option<Moment> {
        (self.rows > 0 && self.reported == 0).then_some(self.reporting_changed)
    }

    fn standing(&self) -> MachineStanding {
        match self.presence {
            MachinePresence::Lost { since } => MachineStanding::Lost { since },
            MachinePresence::Missing { since } | MachinePresence::Silent { since } => {
                MachineStanding::NotReporting { since }
            }
            MachinePresence::Returned => {
                MachineStanding::NotReporting { since: self.reporting_changed }
            }
            MachinePresence::Present => match self.mute_since() {
                Some(since) => MachineStanding::NotReporting { since },
                None => MachineStanding::Reporting { since: self.reporting_changed },
            },
        }
    }

    /// Makes one step of its life. Returns the notice to emit, if there is one.
    fn step(
        &mut self,
        source: SourceStanding,
        passes_through: bool,
        has_company: bool,
        at: Moment,
    ) -> Option<MachineNotice> {
        let is_reporting = self.reported > 0;
        if is_reporting != self.is_reporting {
            self.is_reporting = is_reporting;
            self.reporting_changed = at;
        }

        let evidence = MachineEvidence {
            report: self.report,
            rows: self.rows,
            mute_since: self.mute_since(),
            source_has_recovered: !source.may_be_outdated() || passes_through,
            suspect: source == SourceStanding::Suspect,
            has_company: has_company || passes_through,
        };
        let (presence, notice) = step(self.presence, &evidence, at);
        self.presence = presence;

        if notice == Some(MachineNotice::Joined) {
            self.since = at.wall;
            self.since_seen = true;
        }
        notice
    }

    fn event(&self, notice: MachineNotice) -> Event {
        let machine = self.machine.id.clone();
        let ip = self.machine.ip.clone();

        match notice {
            MachineNotice::Lost => Event::MachineLost { machine, ip },
            MachineNotice::Silent => Event::MachineSilent { machine, ip },
            MachineNotice::Heard => Event::MachineHeard { machine, ip },
            MachineNotice::Joined => Event::MachineJoined { machine, ip },
        }
    }

    /// The machine as it is shown.
    fn member(&self, leads: bool, at: Moment) -> Member {
        let silent_since = match self.presence {
            MachinePresence::Silent { since } => Some(since.wall),
            MachinePresence::Missing { since } if at.since(since) >= SHOWN_AS_SILENT => {
                Some(since.wall)
            }
            _ => None,
        };
        let lost_since = match self.presence {
            MachinePresence::Lost { since } => Some(since.wall),
            _ => None,
        };

        Member {
            machine: self.machine.clone(),
            leads,
            silent_since,
            lost_since,
            ran: self.ran.clone().filter(|_| lost_since.is_some()).unwrap_or_default(),
            since: self.since,
            since_seen: self.since_seen,
        }
    }
}

/// All known machines, present or lost.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    records: BTreeMap<MachineId, MachineRecord>,
    leader: Option<MachineId>,
}

impl Machines {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether other machines are known, and not this one: it is not in the cluster.
    pub(crate) fn is_unknown(&self, id: &MachineId) -> bool {
        !self.records.is_empty() && !self.records.contains_key(id)
    }

    pub(crate) fn get(&self, id: &MachineId) -> Option<&Machine> {
        self.records.get(id).map(|record| &record.machine)
    }

    /// A machine for messages: its address, or its ID if no address is known.
    pub(crate) fn display_name<'a>(&'a self, id: &'a MachineId) -> &'a str {
        self.ip(id).map_or(id, |ip| ip)
    }

    pub(crate) fn ip(&self, id: &MachineId) -> Option<&Text> {
        self.records.get(id)?.machine.ip.as_ref()
    }

    /// Whether a machine has, or had, a reported row that is still kept.
    pub(crate) fn has_rows(&self, id: &MachineId) -> bool {
        self.records.get(id).is_some_and(|record| record.rows > 0)
    }

    /// The standing of a machine; `None` if it was never listed.
    pub(crate) fn standing(&self, id: &MachineId) -> Option<MachineStanding> {
        self.records.get(id).map(MachineRecord::standing)
    }

    pub(crate) fn presence(&self, id: &MachineId) -> Option<MachinePresence> {
        self.records.get(id).map(|record| record.presence)
    }

    #[cfg(test)]
    pub(crate) fn presences(&self) -> BTreeMap<MachineId, MachinePresence> {
        self.records
            .iter()
            .map(|(id, record)| (id.clone(), record.presence))
            .collect()
    }

    /// The machines that are in the cluster, without those of which no report is expected yet.
    pub(crate) fn present(&self) -> impl Iterator<Item = &Machine> {
        let is_present = |record: &&MachineRecord| {
            matches!(record.presence, MachinePresence::Present | MachinePresence::Silent { .. })
        };
        self.records.values().filter(is_present).map(|record| &record.machine)
    }

    /// The machines that were saved, without any row.
    pub(crate) fn restore(saved: Vec<SavedMachine>, now: Moment) -> Self {
        let records = saved
            .into_iter()
            .map(|saved| (saved.machine.id.clone(), MachineRecord::restore(saved, now)));

        Self { records: records.collect(), leader: None }
    }

    /// Adds a machine that was lost before it was ever read, without any row.
    pub(crate) fn insert_lost(&mut self, saved: SavedMachine, now: Moment) {
        let id = saved.machine.id.clone();
        self.records.insert(id, MachineRecord::restore(saved, now));
    }

    /// Learns since when a machine has been in the cluster, if another monitor knows that better.
    pub(crate) fn learn_since(&mut self, peer: &PeerMachine, learning: LearningTime) {
        let Some(record) = self.records.get_mut(peer.id()) else {
            return;
        };
        let is_present = !matches!(record.presence, MachinePresence::Lost { .. });
        let known = KnownSince { time: record.since, is_seen: record.since_seen };

        if is_present && known.is_improved_by(peer.since(), learning) {
            record.since = peer.since().time;
            record.since_seen = peer.since().is_seen;
        }
    }

    /// What is to be saved of a machine.
    pub(crate) fn saved(&self, id: &MachineId) -> Option<SavedMachine> {
        self.records.get(id).map(MachineRecord::saved)
    }

    /// Removes the machines that are none of these, and not lost already.
    pub(crate) fn retain(&mut self, ids: &BTreeSet<MachineId>) {
        self.records.retain(|id, record| {
            let is_lost = matches!(record.presence, MachinePresence::Lost { .. });
            is_lost || ids.contains(id)
        });
    }

    /// Adds a machine, or updates its description. Returns whether the machine or its description
    /// is new.
    pub(crate) fn upsert(
        &mut self,
        machine: Machine,
        at: Moment,
        novelty: Novelty,
        events: &mut Vec<Event>,
    ) -> bool {
        if let Some(record) = self.records.get_mut(&machine.id) {
            if record.report.is_absent() {
                record.report = ReportStatus::Current;
                record.ran = None;
            }

            let is_changed = record.machine != machine;
            record.machine = machine;
            return is_changed;
        }

        let record = MachineRecord::new(machine, at, novelty.is_seen);
        if novelty.is_event {
            events.push(record.event(MachineNotice::Joined));
        }
        self.records.insert(record.machine.id.clone(), record);
        true
    }

    /// The machines that the source reports, overdue ones included.
    pub(crate) fn reported(&self) -> BTreeSet<MachineId> {
        self.ids_of(|record| !record.report.is_absent()).collect()
    }

    /// The machines whose keys should have been renewed by now.
    pub(crate) fn overdue(&self) -> Vec<MachineId> {
        self.ids_of(|record| record.report.is_overdue()).collect()
    }

    pub(crate) fn ids(&self) -> Vec<MachineId> {
        self.records.keys().cloned().collect()
    }

    fn ids_of(
        &self,
        predicate: impl Fn(&MachineRecord) -> bool,
    ) -> impl Iterator<Item = MachineId> {
        self.records
            .iter()
            .filter(move |(_, record)| predicate(record))
            .map(|(id, _)| id.clone())
    }

    /// The machines that have just become absent, so that it is not known yet what ran there.
    pub(crate) fn just_absent(&self) -> Vec<MachineId> {
        self.ids_of(|record| record.report.is_absent() && record.ran.is_none())
            .collect()
    }

    pub(crate) fn mark_absent(&mut self, id: &MachineId, absence: Absence, at: Moment) {
        if let Some(record) = self.records.get_mut(id) {
            record.report.mark_absent(absence, at);
        }
    }

    /// Sets which units a machine reported before it was absent.
    pub(crate) fn set_ran(&mut self, id: &MachineId, units: Vec<UnitName>) {
        if let Some(record) = self.records.get_mut(id) {
            record.ran = Some(units.into());
        }
    }

    pub(crate) fn mark_overdue(&mut self, id: &MachineId, since: Moment) {
        if let Some(record) = self.records.get_mut(id) {
            record.report.mark_overdue(since);
        }
    }

    pub(crate) fn mark_renewed(&mut self, id: &MachineId) {
        if let Some(record) = self.records.get_mut(id) {
            record.report.mark_renewed();
        }
    }

    pub(crate) fn set_leader(&mut self, leader: Option<MachineId>) {
        self.leader = leader;
    }

    /// Adjusts the number of rows of a machine, and the number of those that are reported.
    pub(crate) fn adjust_counts(&mut self, id: &MachineId, rows: isize, reported: isize) {
        let Some(record) = self.records.get_mut(id) else {
            return;
        };

        record.rows = record.rows.saturating_add_signed(rows);
        record.reported = record.reported.saturating_add_signed(reported);
    }

    /// Sets the counts of a machine whose rows were known before the machine itself.
    pub(crate) fn set_counts(&mut self, id: &MachineId, rows: usize, reported: usize) {
        if let Some(record) = self.records.get_mut(id) {
            record.rows = rows;
            record.reported = reported;
        }
    }

    /// Sets the counts of a machine that was saved with its rows.
    pub(crate) fn restore_counts(&mut self, id: &MachineId, rows: usize, reported: usize) {
        self.set_counts(id, rows, reported);

        if let Some(record) = self.records.get_mut(id) {
            record.is_reporting = reported > 0;
        }
    }

    /// Makes one step of each machine's life. Returns the machines that are in another state now.
    pub(crate) fn step(
        &mut self,
        source: SourceStanding,
        retention: Retention,
        at: Moment,
        events: &mut Vec<Event>,
    ) -> BTreeSet<MachineId> {
        let passes_through = retention.passes_through();
        let has_company = self.records.values().any(|record| !record.report.is_absent());
        let mut changed = BTreeSet::new();

        for (id, record) in &mut self.records {
            let before = std::mem::discriminant(&record.presence);
            let notice = record.step(source, passes_through, has_company, at);

            if std::mem::discriminant(&record.presence) != before {
                changed.insert(id.clone());
            }
            events.extend(notice.map(|notice| record.event(notice)));
        }
        changed
    }

    /// Removes machines that have been lost for the keep time and have no row any more. Returns
    /// which.
    pub(crate) fn remove_lost(&mut self, retention: Retention, at: Moment) -> Vec<MachineId> {
        let is_over = |record: &MachineRecord| match record.presence {
            MachinePresence::Lost { since } => {
                let is_of_interest = at.since(since) < retention.lost || record.rows > 0;
                !is_of_interest || retention.passes_through()
            }
            _ => false,
        };
        let removed: Vec<MachineId> = self.ids_of(is_over).collect();

        for id in &removed {
            self.records.remove(id);
        }
        removed
    }

    /// The machines as they are shown: all, or only those that the source reports. One that is
    /// shown as before is shared with `before`.
    pub(crate) fn members(
        &self,
        before: &[Arc<Member>],
        reported_only: bool,
        at: Moment,
    ) -> Vec<Arc<Member>> {
        let member = |record: &MachineRecord| {
            let leads = self.leader.as_ref() == Some(&record.machine.id);
            let member = record.member(leads, at);

            let known = before
                .binary_search_by(|known| known.machine.id.cmp(&member.machine.id))
                .map(|index| &before[index]);
            match known {
                Ok(known) if **known == member => known.clone(),
                _ => Arc::new(member),
            }
        };
        self.records
            .values()
            .filter(|record| !reported_only || !record.report.is_absent())
            .map(member)
            .collect()
    }

    /// A machine, or one with only its ID if it was never listed.
    pub(crate) fn get_or_unknown(&self, id: &MachineId) -> Machine {
        let unknown = || Machine { id: id.clone(), ip: None, metadata: None, version: None };

        self.get(id).cloned().unwrap_or_else(unknown)
    }
}
