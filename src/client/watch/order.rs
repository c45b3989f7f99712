//! The three lists, and the orders in which their rows can be. Pure.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::list::Key;
use crate::report::{ClusterState, MachineRow, Since, UnitRow, verdicts};

/// One of the three lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Units,
    Machines,
    Events,
}

impl Tab {
    pub(super) const ALL: [Tab; 3] = [Tab::Units, Tab::Machines, Tab::Events];

    /// The orders in which a key goes through them. The first is the default.
    pub(super) fn orders(self) -> &'static [Order] {
        match self {
            Tab::Units => &[Order::Problem, Order::Name, Order::Machine, Order::Since],
            Tab::Machines => &[Order::Problem, Order::Name, Order::Since],
            Tab::Events => &[Order::Since],
        }
    }
}

/// What the rows of a list are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The worst first.
    Problem,
    /// By name; machines by address.
    Name,
    /// Units by the address of their machine.
    Machine,
    /// The newest first.
    Since,
}

/// A place in the network: addresses by number, then names, then nothing.
type PlaceRank<'a> = (bool, Option<IpAddr>, Option<&'a str>);

/// The keys of all units.
pub(super) fn units(state: &ClusterState, order: Order, is_reversed: bool) -> Vec<Key> {
    // They are sorted by name, and all sorting is stable.
    let mut rows: Vec<&UnitRow> = state.units.values().collect();
    match order {
        Order::Name => {}
        Order::Problem => rows.sort_by_key(|unit| verdicts::rank(&unit.verdict)),
        Order::Machine => rows.sort_by_cached_key(|unit| place_rank(unit.place())),
        Order::Since => rows.sort_by_key(|unit| Reverse(Since::of_unit(unit).time)),
    }

    ordered(rows.into_iter().map(|unit| Key::Unit(unit.key())), is_reversed)
}

/// The keys of all machines.
pub(super) fn machines(state: &ClusterState, order: Order, is_reversed: bool) -> Vec<Key> {
    let mut rows: Vec<&MachineRow> = state.machines.values().collect();
    rows.sort_by_cached_key(|machine| place_rank(Some(machine.name())));
    match order {
        Order::Name | Order::Machine => {}
        Order::Problem => rows.sort_by_key(|machine| machine.status().tone()),
        Order::Since => rows.sort_by_key(|machine| Reverse(Since::of_machine(machine).time)),
    }

    ordered(
        rows.into_iter().map(|machine| Key::Machine(machine.machine.clone())),
        is_reversed,
    )
}

/// The keys of all events, the newest first.
pub(super) fn events(state: &ClusterState, is_reversed: bool) -> Vec<Key> {
    ordered(state.events.iter().rev().map(|event| Key::Event(event.number)), is_reversed)
}

fn ordered(keys: impl DoubleEndedIterator<Item = Key>, is_reversed: bool) -> Vec<Key> {
    if is_reversed {
        keys.rev().collect()
    } else {
        keys.collect()
    }
}

fn place_rank(place: Option<&str>) -> PlaceRank<'_> {
    let address = place.and_then(|place| place.parse().ok());
    (address.is_none(), address, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, ip: Option<&str>, verdict: &str, since: u64) -> UnitRow {
        UnitRow {
            unit: name.to_owned(),
            machine: ip.map(|ip| format!("id-of-{ip}")),
            ip: ip.map(str::to_owned),
            verdict: verdict.to_owned(),
            since,
            verdict_since: since,
            ..UnitRow::default()
        }
    }

    fn state() -> ClusterState {
        let units = [
            unit("a", Some("10.0.0.10"), "ok", 3),
            unit("b", None, "unscheduled", 1),
            unit("c", Some("10.0.0.9"), "failed", 2),
            unit("d", Some("10.0.0.10"), "failed", 4),
        ];
        ClusterState {
            units: units.into_iter().map(|unit| (unit.key(), unit)).collect(),
            ..ClusterState::default()
        }
    }

    fn names(keys: Vec<Key>) -> String {
        keys.into_iter()
            .map(|key| match key {
                Key::Unit((unit, _)) => unit,
                Key::Machine(machine) => machine,
                Key::Event(number) => number.to_string(),
            })
            .collect()
    }

    #[test]
    fn units_are_sorted_by_problem_name_machine_or_time() {
        for (order, sorted) in [
            (Order::Problem, "cdba"),
            (Order::Name, "abcd"),
            (Order::Machine, "cadb"),
            (Order::Since, "dacb"),
        ] {
            assert_eq!(names(units(&state(), order, false)), sorted, "{order:?}");
            let reversed: String = sorted.chars().rev().collect();
            assert_eq!(names(units(&state(), order, true)), reversed, "{order:?}");
        }
    }

    #[test]
    fn machines_are_sorted_by_problem_address_or_time() {
        let machine = |id: &str, ip: &str, lost_since, silent_since, since| {
            let ip = Some(ip.to_owned());
            let machine = id.to_owned();
            let row = MachineRow {
                machine,
                ip,
                lost_since,
                silent_since,
                since,
                ..Default::default()
            };
            (id.to_owned(), row)
        };
        let state = ClusterState {
            machines: [
                machine("a", "10.0.0.10", None, None, 1),
                machine("b", "10.0.0.9", None, None, 2),
                machine("c", "10.0.0.11", None, Some(8), 3),
                machine("d", "10.0.0.12", Some(9), None, 4),
            ]
            .into(),
            ..ClusterState::default()
        };

        for (order, sorted) in
            [(Order::Problem, "dcba"), (Order::Name, "bacd"), (Order::Since, "dcba")]
        {
            assert_eq!(names(machines(&state, order, false)), sorted, "{order:?}");
        }
    }
}
