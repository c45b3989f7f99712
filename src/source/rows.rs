//! Columns that are made in the same way wherever a row comes from: as fleetctl prints them. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::cluster::{Machine, MachineId, Text, UnitState};

/// An empty text and none are the same to fleet, and `-` to fleetctl.
pub(super) fn filled<'a, T: From<&'a str>>(text: Option<&'a str>) -> Option<T> {
    text.filter(|text| !text.is_empty()).map(T::from)
}

/// Metadata as fleetctl prints it: pairs sorted by key, between commas.
pub(super) fn metadata(pairs: &BTreeMap<String, String>) -> Option<Text> {
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    filled(Some(&pairs.join(",")))
}

/// Fills in each state's address from the list of machines, as fleetctl does.
pub(super) fn join(states: &mut [UnitState], machines: &[Machine]) {
    let addresses: HashMap<&MachineId, &Text> =
        machines.iter().filter_map(|machine| Some((&machine.id, machine.ip.as_ref()?))).collect();
    for state in states {
        state.ip = state.machine.as_ref().and_then(|id| addresses.get(id)).copied().cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_that_of_the_listed_machine() {
        let state = |machine: Option<&str>| UnitState {
            machine: machine.map(MachineId::from),
            ..UnitState::unreported("a.service".into())
        };
        let machine =
            |id: &str, ip: &str| Machine { id: id.into(), ip: Some(ip.into()), metadata: None, version: None };
        let mut states = [state(Some("1")), state(Some("2")), state(None)];
        join(&mut states, &[machine("1", "10.0.0.1"), machine("3", "10.0.0.3")]);
        let addresses: Vec<Option<&str>> = states.iter().map(|state| state.ip.as_deref()).collect();
        assert_eq!(addresses, [Some("10.0.0.1"), None, None]);
    }
}
