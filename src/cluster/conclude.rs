//! What follows from all that is known: which rows are gone, whether the source is to be doubted, and which units
//! nobody reports. The rules themselves are in [`super::judge`].

use std::collections::{BTreeSet, HashMap};

use super::judge::{self, Evidence};
use super::merge::{Cluster, Doubt, Files, Key, RESTART, Row, text};
use super::{Event, MachineId, Moment, Place, UnitFile, UnitName, UnitState};

/// The state of a unit that no machine reports, in transitions.
const SUBMITTED: &str = "submitted";

/// For each unit that has rows on several machines, the machines that report it, and since when.
pub(super) type Several = HashMap<UnitName, Vec<(MachineId, Moment)>>;

impl Cluster {
    /// Draws the conclusions.
    pub(super) fn conclude(&mut self, at: Moment, events: &mut Vec<Event>) {
        let settled = !self.is_unsettled(at);
        if settled {
            self.note_outlived();
        }
        let several = self.several();
        if self.rows.values().any(|row| row.missing.is_some()) || self.doubt.is_some() {
            self.drop_what_is_gone(at, settled, &several, events);
            self.doubt_the_source(at, settled, events);
            self.tell_of_the_stale(settled, events);
        }
        self.add_unreported(at, events);
        self.forget_lost_machines(at);
        self.show(at, &several);
    }

    /// Marks the rows that fleet goes on to report after their machine has left: it then lists them without an address.
    fn note_outlived(&mut self) {
        let outlived: Vec<Key> = self
            .rows
            .iter()
            .filter(|(key, row)| key.1.is_some() && row.missing.is_none() && row.state.ip.is_none())
            .filter(|(_, row)| self.has_lost_machine(row))
            .map(|(key, _)| key.clone())
            .collect();
        for key in outlived {
            if let Some(row) = self.rows.get_mut(&key) {
                row.outlived_machine = true;
            }
        }
    }

    fn several(&self) -> Several {
        let mut several = Several::new();
        let mut rows = self.rows.iter().filter(|(key, _)| key.1.is_some()).peekable();
        let mut before: Option<&UnitName> = None;
        while let Some(((unit, machine), row)) = rows.next() {
            let is_one_of_several = before == Some(unit) || rows.peek().is_some_and(|((next, _), _)| next == unit);
            before = Some(unit);
            if let (true, None, Some(machine)) = (is_one_of_several, row.missing, machine)
                && !self.has_lost_machine(row)
            {
                several.entry(unit.clone()).or_default().push((machine.clone(), row.appeared));
            }
        }
        several
    }

    pub(super) fn evidence<'a>(
        &'a self,
        row: &'a Row,
        file: Option<&'a UnitFile>,
        settled: bool,
        several: &'a Several,
    ) -> Evidence<'a> {
        let target = file.and_then(|file| file.target.as_ref());
        let machine = row.state.machine.as_ref();
        let others = several.get(&row.state.unit).map_or(&[][..], Vec::as_slice);
        // A missing row needs no proof by the target, which may have been read before fleet chose anew: a row that came
        // later than this one will do.
        let elsewhere = others
            .iter()
            .filter(|(other, _)| Some(other) != machine)
            .find(|(other, appeared)| {
                Some(other) == target || (row.missing.is_some() && appeared.instant > row.appeared.instant)
            })
            .map(|(other, _)| other);
        Evidence {
            state: &row.state,
            reported: row.missing.is_none(),
            files_known: self.files.as_ref().is_some_and(|files| {
                let whole = settled || self.registry.is_some() || file.is_some();
                files.read.is_since(row.appeared) && whole && self.are_believed(files, row)
            }),
            file,
            machine_lost: settled && self.has_lost_machine(row),
            outlived_machine: row.outlived_machine,
            exact: self.registry.is_some(),
            expired: row.missing.is_some_and(|missing| missing.expired),
            overdue: row.overdue_since.is_some(),
            elsewhere,
        }
    }

    /// An etcd without any fleet key answers with empty lists and no error. So an empty list of unit files says that a
    /// row is gone only if machines that were read after it vanished show that it is fleet that answers.
    fn are_believed(&self, files: &Files, row: &Row) -> bool {
        let there = |since| self.machines_read.is_some_and(|read| read.is_since(since));
        !files.files.is_empty() || row.missing.is_none_or(|missing| there(missing.since))
    }

    fn file(&self, unit: &UnitName) -> Option<&UnitFile> {
        self.files.as_ref()?.files.get(unit).map(|file| &**file)
    }

    fn missing(&self) -> impl Iterator<Item = (&Key, &Row)> {
        self.rows.iter().filter(|(_, row)| row.missing.is_some())
    }

    fn drop_what_is_gone(&mut self, at: Moment, settled: bool, several: &Several, events: &mut Vec<Event>) {
        let gone: Vec<(Key, &'static str)> = self
            .missing()
            .filter_map(|(key, row)| {
                let missing = row.missing?.since;
                let waited_since = self.recovered.filter(|it| it.instant > missing.instant).unwrap_or(missing);
                let evidence = self.evidence(row, self.file(&key.0), settled, several);
                let waits = self.is_failing() || self.doubt.is_some() || at.since(waited_since) < self.grace;
                let reason = if self.grace.is_zero() {
                    "fleet does not list it any more"
                } else if let Some(reason) = evidence.gone() {
                    reason
                } else if waits || evidence.is_awaited() {
                    return None;
                } else {
                    "fleet has not reported it for longer than the grace (--grace)"
                };
                Some((key.clone(), reason))
            })
            .collect();
        for (key, reason) in gone {
            if let Some(row) = self.rows.remove(&key) {
                events.push(Event::Gone { place: self.place(&row.state), from: text(&row.state), reason });
            }
        }
    }

    /// Whether fleet, as far as is known, wants a missing unit just where it was.
    fn is_wanted_here(&self, row: &Row, settled: bool) -> bool {
        // When one fleetd lets go of a global unit, it takes the states of all machines away, and each of these puts its
        // own back when it renews it, up to 24 s later (fleet v1.0.0). As long as that is known to be all, it is no news.
        let is_global = self.file(&row.state.unit).is_some_and(|file| file.global);
        if self.registry.is_some() && is_global && row.missing.is_some_and(|missing| !missing.expired) {
            return false;
        }
        let elsewhere = self.file(&row.state.unit).is_some_and(|file| {
            !file.global && file.target_known && file.target.as_ref() != row.state.machine.as_ref()
        });
        let lost = settled && self.has_lost_machine(row);
        !elsewhere && !lost
    }

    /// When a large part of all rows is missing at once though fleet wants them just there, it is the source that is
    /// doubted: one event says so, instead of one for each row. While what fleet wants and who is there was read before
    /// they vanished, nothing is said yet: a machine may just have been shut down. The doubt ends when all are back, or
    /// when it has been fewer for the grace; the grace of those begins then.
    fn doubt_the_source(&mut self, at: Moment, settled: bool, events: &mut Vec<Event>) {
        let wanted = || self.missing().filter(|(_, row)| self.is_wanted_here(row, settled));
        let (expired, others): (Vec<_>, Vec<_>) =
            wanted().partition(|(_, row)| row.missing.is_some_and(|missing| missing.expired));
        // What expires on one machine alone is that machine's doing, and nobody else is to be doubted.
        let machines: BTreeSet<_> = expired.iter().map(|(key, _)| &key.1).collect();
        let missing = others.len() + if machines.len() > 1 { expired.len() } else { 0 };
        let of = self.rows.keys().filter(|key| key.1.is_some()).count();
        if judge::too_many(missing, of) {
            let mut doubt = self.doubt.unwrap_or(Doubt { since: at, confirmed: false, fewer: None });
            doubt.fewer = None;
            if !doubt.confirmed && self.is_informed_since(doubt.since) {
                doubt.confirmed = true;
                self.health.suspect_since = Some(doubt.since.wall);
                events.push(Event::SourceSuspect { missing, of });
            }
            self.doubt = Some(doubt);
            return;
        }
        let Some(doubt) = &mut self.doubt else { return };
        let fewer = *doubt.fewer.get_or_insert(at);
        if !doubt.confirmed {
            self.doubt = None;
        } else if missing == 0 || at.since(fewer) >= self.grace {
            self.doubt = None;
            self.health.suspect_since = None;
            self.recovered = Some(at);
        }
    }

    /// Tells of each missing row that fleet wants just where it was; of one whose machine has left, or which is being
    /// moved, other events tell.
    fn tell_of_the_stale(&mut self, settled: bool, events: &mut Vec<Event>) {
        if self.doubt.is_some() {
            return;
        }
        let stale: Vec<Key> = self
            .missing()
            .filter(|(_, row)| {
                row.missing.is_some_and(|missing| !missing.told && self.is_informed_since(missing.since))
                    && self.is_wanted_here(row, settled)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in stale {
            let Some(row) = self.rows.get_mut(&key) else { continue };
            if let Some(missing) = &mut row.missing {
                missing.told = true;
            }
            let (state, from) = (row.state.clone(), text(&row.state));
            events.push(Event::Stale { place: self.place(&state), from });
        }
    }

    /// Whether what fleet wants and who is there has been read since a row went missing; or, where that takes long, the
    /// units once more. A row that went because fleet let go of it is not worth an event before its end.
    fn is_informed_since(&self, missing: Moment) -> bool {
        if self.registry.is_some() {
            return self.units_read.is_some_and(|read| read.ended.since(missing) >= RESTART);
        }
        let files = self.files.as_ref().is_some_and(|files| files.read.is_since(missing));
        let machines = self.machines_read.is_some_and(|read| read.is_since(missing));
        let again = self.units_read.is_some_and(|read| read.ended.instant > missing.instant);
        (files && machines) || again
    }

    /// Keeps one row without a machine for each unit that fleet knows and no machine reports.
    fn add_unreported(&mut self, at: Moment, events: &mut Vec<Event>) {
        // Before the units have been read it is not known that no machine reports them.
        let (Some(Files { files, read }), Some(_)) = (&self.files, self.units_read) else { return };
        let there = self.machines_read.is_some_and(|machines| machines.is_since(read.begun));
        if files.is_empty() && !there && !self.grace.is_zero() {
            return;
        }
        let first = !self.complete;
        let nowhere = |unit: &UnitName| Place { unit: unit.clone(), machine: None, ip: None };
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        // The row without a machine comes before those with one, as `None` comes before `Some`.
        let mut rows = self.rows.iter().peekable();
        let mut wanted = files.keys().peekable();
        loop {
            let unit = match (rows.peek(), wanted.peek()) {
                (Some(((unit, _), _)), Some(wanted)) => unit.min(wanted),
                (Some(((unit, _), _)), None) => unit,
                (None, Some(wanted)) => wanted,
                (None, None) => break,
            };
            let is_wanted = wanted.next_if(|wanted| *wanted == unit).is_some();
            let unreported = rows.next_if(|((row, machine), _)| row == unit && machine.is_none()).is_some();
            let mut is_placed = false;
            while rows.next_if(|((row, _), _)| row == unit).is_some() {
                is_placed = true;
            }
            if unreported && (is_placed || !is_wanted) {
                if !is_placed {
                    let (place, reason) = (nowhere(unit), "its unit file is gone");
                    events.push(Event::Gone { place, from: SUBMITTED.to_owned(), reason });
                }
                gone.push((unit.clone(), None));
            } else if is_wanted && !unreported && !is_placed {
                let was_shown = self.view.units.binary_search_by(|shown| shown.state.unit.cmp(unit)).is_ok();
                if !first && !was_shown {
                    events.push(Event::Appeared { place: nowhere(unit), to: SUBMITTED.to_owned() });
                }
                let state = UnitState::unreported(unit.clone());
                new.push(((unit.clone(), None), Row::new(state, at, !first)));
            }
        }
        for key in gone {
            self.rows.remove(&key);
        }
        self.rows.extend(new);
        let unplaced = &self.unplaced;
        for (key, row) in self.rows.iter_mut().filter(|(key, _)| key.1.is_none()) {
            row.listed = unplaced.contains(&key.0);
        }
    }

    /// Forgets a lost machine when no row is on it any more and the grace is over.
    fn forget_lost_machines(&mut self, at: Moment) {
        let (grace, rows) = (self.grace, &self.rows);
        let in_use = |id: &MachineId| rows.keys().any(|key| key.1.as_ref() == Some(id));
        self.machines.retain(|id, row| match row.lost {
            Some(lost) => at.since(lost) < grace || (!grace.is_zero() && in_use(id)),
            None => true,
        });
    }
}
