//! The judgement over rows, as pure functions: which missing row is gone, and what is wrong with a unit.
//!
//! fleet's lists lack rows that are there and have rows that are not (measured for v1.0.0 and v0.11.8): a restart of
//! fleetd takes away the rows of global units on all machines for up to 19 s, the first answers after an outage of etcd
//! are short for 10 to 30 s, and the row of a destroyed unit lives on as `active/running` for seconds to minutes. So a
//! row is judged by everything that is known: what the machines report, what fleet wants, and who is in the cluster.

use std::borrow::Cow;

use super::{MachineId, Text, UnitFile, UnitState, Verdict};

/// What is known about one unit on one machine.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What its machine reported last.
    pub state: &'a UnitState,
    /// Whether the last reading of the units had it.
    pub reported: bool,
    /// Whether the unit files were read since it appeared, and are believed. If not, a missing `file` proves nothing.
    pub files_known: bool,
    /// Its unit file.
    pub file: Option<&'a UnitFile>,
    /// Whether its machine has left the cluster.
    pub machine_lost: bool,
    /// Whether fleet reported it after its machine had left.
    pub outlived_machine: bool,
    /// Whether all of it is of one moment, so that the target is where the unit belongs now.
    pub exact: bool,
    /// Whether it is missing for the reason alone that its machine did not report it in time.
    pub expired: bool,
    /// Whether its machine should have reported it again by now.
    pub overdue: bool,
    /// Another machine that reports the same unit: the target, or, if this row is missing, one that came later.
    pub elsewhere: Option<&'a MachineId>,
}

impl Evidence<'_> {
    /// The machine that fleet has moved the unit to, if that machine reports it.
    fn moved(&self) -> Option<&MachineId> {
        let file = self.file?;
        let here = file.target.as_ref() == self.state.machine.as_ref();
        // The target may have been read before fleet chose anew, so what is missing here may be elsewhere all the same.
        if file.global || (here && self.reported) { None } else { self.elsewhere }
    }

    /// Whether fleet does not want it here any more, whether or not it runs elsewhere already.
    fn is_taken_away(&self) -> bool {
        let elsewhere =
            |file: &UnitFile| !file.global && file.target_known && file.target.as_ref() != self.state.machine.as_ref();
        self.exact && self.file.is_some_and(elsewhere)
    }

    /// Whether nothing but a word of fleet ends the wait for it: nobody took it away, and fleet wants it just here. Of a
    /// global unit fleet never says where it does not belong.
    pub fn is_awaited(&self) -> bool {
        self.exact && self.expired && !self.file.is_some_and(|file| file.global) && !self.is_taken_away()
    }

    fn wanted(&self) -> Option<&str> {
        self.file?.desired.as_deref()
    }

    /// Why a row that is not reported is gone for good, if that is certain.
    pub fn gone(&self) -> Option<&'static str> {
        if self.files_known && self.file.is_none() {
            Some("its unit file is gone")
        } else if self.wanted() == Some("inactive") && self.files_known {
            Some("fleet has unloaded it")
        } else if self.moved().is_some() {
            Some("fleet has moved it to another machine")
        } else if self.is_taken_away() {
            Some("fleet has taken it away from its machine")
        } else if self.is_awaited() {
            None
        } else if self.outlived_machine && self.machine_lost {
            Some("its machine has left the cluster, and fleet has let go of it")
        } else {
            None
        }
    }

    /// The verdict on a row with a machine, and its reason in one sentence.
    pub fn verdict(&self) -> (Verdict, Cow<'static, str>) {
        let state = self.state;
        let active = state.active.as_deref().unwrap_or("-");
        let sub = state.sub.as_deref().unwrap_or("-");
        if !self.reported {
            let reason = match (self.machine_lost, self.expired) {
                (true, _) => "Its machine has left the cluster; it is not reported any more.",
                (false, true) => "fleet wants it, but its machine has let it expire; this is its last known state.",
                (false, false) => "fleet wants it but does not report it at the moment; this is its last known state.",
            };
            return (if self.machine_lost { Verdict::MachineLost } else { Verdict::Stale }, reason.into());
        }
        if self.files_known {
            if self.file.is_none() {
                let reason = format!("Its unit file is gone, though its machine still reports it as {active}/{sub}.");
                return (Verdict::Ghost, reason.into());
            }
            if self.wanted() == Some("inactive") {
                let reason = format!("fleet has unloaded it, though its machine still reports it as {active}/{sub}.");
                return (Verdict::Ghost, reason.into());
            }
        }
        if self.machine_lost {
            let reason = format!("Its machine has left the cluster; fleet still lists it as {active}/{sub}.");
            return (Verdict::MachineLost, reason.into());
        }
        if let Some(machine) = self.moved() {
            let reason = format!("fleet has moved it to {machine}; this machine still reports it.");
            return (Verdict::Ghost, reason.into());
        }
        if self.is_taken_away() {
            let reason = "fleet has taken it away from this machine, which still reports it.";
            return (Verdict::Ghost, reason.into());
        }
        if active == "failed" {
            let reason = if sub == "failed" { "systemd says that it failed.".into() } else { failed_because(sub) };
            return (Verdict::Failed, reason);
        }
        if let Some(load @ ("bad-setting" | "error" | "not-found")) = state.load.as_deref() {
            return (Verdict::Failed, format!("systemd cannot load its unit file: {load}.").into());
        }
        if self.overdue {
            let reason = "Its machine should have reported it again by now, and it expires soon unless it does.";
            return (Verdict::Stale, reason.into());
        }
        let file_hash = self.file.and_then(|file| file.hash.as_ref());
        if let (Some(here), Some(fleets)) = (&state.hash, file_hash)
            && here != fleets
        {
            let (here, fleets) = (short(here), short(fleets));
            let reason = format!("The machine runs version {here} of its unit file, fleet has {fleets}.");
            return (Verdict::Outdated, reason.into());
        }
        let reason = if self.wanted() == Some("launched") && active == "inactive" {
            "It is loaded but not running: it has finished, or was stopped on its machine."
        } else {
            "It is as fleet wants it."
        };
        (Verdict::Ok, reason.into())
    }
}

fn failed_because(sub: &str) -> Cow<'static, str> {
    format!("systemd says that it failed: {sub}.").into()
}

/// The verdict on a unit that no machine reports, and its reason in one sentence.
pub fn verdict_on_unreported(file: Option<&UnitFile>) -> (Verdict, Cow<'static, str>) {
    let Some(file) = file else {
        return (Verdict::Ok, "No machine reports it.".into());
    };
    let desired = match file.desired.as_deref() {
        None => return (Verdict::Ok, "No machine reports it, and this fleet does not say what it wants.".into()),
        Some("inactive") => return (Verdict::Ok, "It is only submitted: fleet does not want it anywhere.".into()),
        Some(desired) => desired,
    };
    let asks = match &*file.requirements {
        [] => String::new(),
        requirements => format!("; it asks for {}", requirements.join(", ")),
    };
    if file.global {
        let reason = format!("It is global and wanted {desired}, but no machine reports it{asks}.");
        return (Verdict::Unreported, reason.into());
    }
    match &file.target {
        Some(target) => {
            let reason = format!("fleet wants it {desired} on {target}, which does not report it.");
            (Verdict::Unreported, reason.into())
        }
        None if !file.target_known => {
            (Verdict::Unreported, format!("fleet wants it {desired}, but no machine reports it.").into())
        }
        None => (Verdict::Unscheduled, format!("fleet wants it {desired}, but no machine takes it{asks}.").into()),
    }
}

/// A hash as fleetctl shortens it.
fn short(hash: &Text) -> &str {
    hash.get(..7).unwrap_or(hash)
}

/// Whether so many of all rows are missing that it is the source that is to be doubted.
pub fn too_many(missing: usize, of: usize) -> bool {
    missing > 2 && missing * 3 > of
}
