//! Builds units, unit files and machines for all tests. A test changes only what matters to it:
//! `Machine { ip, ..machine("m1") }`.
//!
//! The unit tests of the crate, and its benches, include this file too.

use std::time::SystemTime;

use fleet_monitor::cluster::{Machine, MachineDetails, Member, Unit, UnitFile, UnitState, Verdict};

/// The state of a unit that a machine reports: loaded, with this active and sub state, such as
/// `active/running`.
pub fn unit_state(unit: &str, machine: &str, state: &str) -> UnitState {
    let (active, sub) = state.split_once('/').expect("active/sub");

    UnitState {
        unit: unit.into(),
        machine: Some(machine.into()),
        ip: None,
        load: Some("loaded".into()),
        active: Some(active.into()),
        sub: Some(sub.into()),
        hash: None,
    }
}

/// The file of a unit that fleet wants launched, with this target. It has no requirements.
pub fn unit_file(unit: &str, target: Option<&str>) -> UnitFile {
    UnitFile {
        unit: unit.into(),
        hash: None,
        desired: Some("launched".into()),
        target: target.map(Into::into),
        target_known: true,
        global: false,
        description: None,
        requirements: Vec::new(),
        requirements_known: true,
    }
}

/// A machine of which only the ID is known.
pub fn machine(id: &str) -> Machine {
    Machine { id: id.into(), ip: None, metadata: None, version: None }
}

/// A unit as it is shown: listed, with the verdict `ok`. Nothing is known of its machine.
pub fn unit(state: UnitState) -> Unit {
    Unit {
        state,
        listed: true,
        stale_since: None,
        file: None,
        verdict: Verdict::Ok,
        reason: "".into(),
        verdict_since: SystemTime::UNIX_EPOCH,
        verdict_since_seen: false,
        since: SystemTime::UNIX_EPOCH,
        since_seen: false,
        machine: MachineDetails::default(),
    }
}

/// A machine as it is shown: in the cluster.
pub fn member(machine: Machine) -> Member {
    Member {
        machine,
        leads: false,
        silent_since: None,
        lost_since: None,
        ran: Default::default(),
        since: SystemTime::UNIX_EPOCH,
        since_seen: false,
    }
}
