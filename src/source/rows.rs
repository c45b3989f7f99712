//! Formats the columns that several sources have in common, in the format of fleetctl. Pure.
//!
//! It must not know which source a row comes from.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use crate::cluster::{Machine, MachineId, Text, UnitState};

/// A text as a [`printable`] value; `None` if it is empty or missing. fleet does not distinguish an
/// empty text from a missing one, and fleetctl prints `-` for both.
pub(super) fn printable_if_any<T: for<'a> From<&'a str>>(text: Option<&str>) -> Option<T> {
    text.filter(|text| !text.is_empty()).map(printable)
}

/// A text that is safe to display, to log and to write to a terminal: each control character except
/// a tab is replaced by `U+FFFD`. fleet refuses control characters in names, but not in metadata or
/// unit files, and any client of etcd may have written them.
pub(super) fn printable<T: for<'a> From<&'a str>>(text: &str) -> T {
    T::from(&without_controls(text))
}

/// Replaces control characters except tabs: metadata may contain tabs, and fleetctl prints them.
fn without_controls(text: &str) -> Cow<'_, str> {
    let is_control = |character: char| character.is_control() && character != '\t';

    if text.contains(is_control) {
        Cow::Owned(text.replace(is_control, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Metadata as fleetctl prints it: pairs sorted by key, separated by commas.
pub(super) fn metadata(pairs: &BTreeMap<String, String>) -> Option<Text> {
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    printable_if_any(Some(&pairs.join(",")))
}

/// Fills in each state's address from the list of machines, as fleetctl does.
pub(super) fn join(states: &mut [UnitState], machines: &[Machine]) {
    let addresses: HashMap<&MachineId, &Text> = machines
        .iter()
        .filter_map(|machine| Some((&machine.id, machine.ip.as_ref()?)))
        .collect();

    for state in states {
        state.ip = state
            .machine
            .as_ref()
            .and_then(|id| addresses.get(id))
            .copied()
            .cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builders;

    #[test]
    fn control_characters_are_replaced_and_a_tab_is_kept() {
        let shown = |text: &str| printable_if_any::<Text>(Some(text));

        assert_eq!(shown("rack 7\tleft, Zoë").as_deref(), Some("rack 7\tleft, Zoë"));
        assert_eq!(
            shown("a\0b\x1b[31mc\r\nd\u{9b}e\x7f").as_deref(),
            Some("a\u{fffd}b\u{fffd}[31mc\u{fffd}\u{fffd}d\u{fffd}e\u{fffd}")
        );
        assert_eq!(shown(""), None);
    }

    #[test]
    fn the_address_of_a_state_is_that_of_its_listed_machine() {
        let state = |machine: Option<&str>| UnitState {
            machine: machine.map(MachineId::from),
            ..UnitState::unreported("a.service".into())
        };
        let machine = |id: &str, ip: &str| Machine { ip: Some(ip.into()), ..builders::machine(id) };
        let mut states = [state(Some("1")), state(Some("2")), state(None)];

        join(&mut states, &[machine("1", "10.0.0.1"), machine("3", "10.0.0.3")]);
        let addresses: Vec<Option<&str>> = states.iter().map(|state| state.ip.as_deref()).collect();
        assert_eq!(addresses, [Some("10.0.0.1"), None, None]);
    }
}
