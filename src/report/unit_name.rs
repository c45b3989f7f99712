//! Names of units as people type them.

use crate::unit_types::UNIT_TYPES;

/// The full name of a unit. Without a suffix it is that of a service, as for fleetctl and
/// journalctl.
pub fn full_name(name: &str) -> String {
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix);
    if suffix.is_some_and(|suffix| UNIT_TYPES.contains(&suffix)) {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_suffix_is_that_of_a_service() {
        for (name, full) in [
            ("web@1", "web@1.service"),
            ("web@10.0.0.1", "web@10.0.0.1.service"),
            ("web.service", "web.service"),
            ("cron.timer", "cron.timer"),
            ("", ".service"),
        ] {
            assert_eq!(full_name(name), full);
        }
    }
}
