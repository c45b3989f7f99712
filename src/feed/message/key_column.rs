//! The column `key` of the unit list: a text for each row that no other row has, and that people
//! can read.
//!
//! It does not know the other columns.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::cluster::Unit;

/// Stands for the machine in the key of a row that is on none.
const NO_MACHINE: &str = "no machine";

/// The keys of these rows, which are sorted by name: the unit's name, and the machine in brackets
/// if several rows have this name.
pub(super) fn keys<'a>(listed: &[&'a Unit]) -> Vec<Cow<'a, str>> {
    let mut keys = Vec::with_capacity(listed.len());

    for rows in listed.chunk_by(|one, next| one.state.unit == next.state.unit) {
        match rows {
            [only] => keys.push(Cow::Borrowed(&*only.state.unit)),
            several => keys.extend(keys_of_one_name(several).map(Cow::Owned)),
        }
    }
    keys
}

/// The keys of rows with the same name.
fn keys_of_one_name(rows: &[&Unit]) -> impl Iterator<Item = String> {
    let mut rows_at: HashMap<&str, usize> = HashMap::new();
    for ip in rows.iter().filter_map(|row| row.state.ip.as_deref()) {
        *rows_at.entry(ip).or_default() += 1;
    }

    rows.iter().map(move |row| {
        let state = &row.state;
        let own_ip = state.ip.as_deref().filter(|ip| rows_at[ip] == 1);
        let place = match &state.machine {
            Some(machine) => own_ip.unwrap_or(machine),
            None => NO_MACHINE,
        };

        format!("{} [{place}]", state.unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builders::{unit, unit_state};
    use crate::cluster::UnitState;

    /// The keys of rows with these names, machines and addresses.
    fn keys_of(rows: &[(&str, Option<&str>, Option<&str>)]) -> Vec<String> {
        let row = |(name, machine, ip): &(&str, Option<&str>, Option<&str>)| {
            unit(UnitState {
                machine: machine.map(Into::into),
                ip: ip.map(Into::into),
                ..unit_state(name, "m1", "active/running")
            })
        };
        let units: Vec<Unit> = rows.iter().map(row).collect();

        keys(&units.iter().collect::<Vec<_>>())
            .into_iter()
            .map(Cow::into_owned)
            .collect()
    }

    #[test]
    fn a_row_that_alone_has_its_name_has_it_as_its_key() {
        let rows = [
            ("a.service", Some("m1"), Some("10.0.0.1")),
            ("b.service", Some("m1"), None),
            ("c.service", None, None),
        ];
        assert_eq!(keys_of(&rows), ["a.service", "b.service", "c.service"]);
    }

    #[test]
    fn rows_with_the_same_name_have_the_address_in_brackets() {
        let rows = [
            ("a.service", Some("m1"), Some("10.0.0.1")),
            ("a.service", Some("m2"), Some("10.0.0.2")),
            ("b.service", Some("m2"), Some("10.0.0.2")),
        ];
        assert_eq!(keys_of(&rows), ["a.service [10.0.0.1]", "a.service [10.0.0.2]", "b.service"]);
    }

    #[test]
    fn without_an_address_of_its_own_a_row_has_the_machine_in_brackets() {
        let rows = [
            ("a.service", None, None),
            ("a.service", Some("m1"), Some("10.0.0.1")),
            ("a.service", Some("m2"), Some("10.0.0.1")),
            ("a.service", Some("m3"), None),
            ("a.service", Some("m4"), Some("10.0.0.4")),
        ];
        assert_eq!(
            keys_of(&rows),
            [
                "a.service [no machine]",
                "a.service [m1]",
                "a.service [m2]",
                "a.service [m3]",
                "a.service [10.0.0.4]",
            ]
        );
    }
}
