//! The version of fleet that the cluster has, for the commands that operators copy.
//!
//! It must not know which commands there are, nor how they depend on the version.

use std::collections::BTreeMap;

use super::Daemon;
use crate::actions::{ClusterAccess, commands};
use crate::cluster::Member;
use crate::source::version::FleetVersion;

impl Daemon {
    /// Publishes the commands anew if the version of fleet is another one than before.
    pub(super) fn update_fleet_version(&mut self) {
        let version = self
            .source
            .fleet_version()
            .or_else(|| self.version_of_machines())
            .or(self.fleet_version);

        if version != self.fleet_version {
            self.fleet_version = version;
            self.publish_commands();
        }
    }

    /// The version that the machines have. `None` if they do not say it, or have not changed: most
    /// events are about units.
    fn version_of_machines(&self) -> Option<FleetVersion> {
        let (_, delta) = self.cluster.change();
        if self.fleet_version.is_some() && delta.machines.is_empty() {
            return None;
        }

        let machines = self.cluster.view().machines.iter();
        most_frequent_version(machines.map(|member| &**member))
    }

    /// Publishes the commands for the selected source.
    pub(super) fn publish_commands(&self) {
        self.server.set_commands(commands(&ClusterAccess {
            fleetctl_flags: self.selection.fleetctl_flags(self.fleet_version),
            jump_host: self.selection.jump_host(),
            has_journal: self.log.has_fields(),
        }));
    }
}

/// The version that most of the present machines have. If two are equally frequent, the newest.
fn most_frequent_version<'a>(members: impl Iterator<Item = &'a Member>) -> Option<FleetVersion> {
    let mut counts: BTreeMap<FleetVersion, usize> = BTreeMap::new();
    let versions = members
        .filter(|member| member.lost_since.is_none())
        .filter_map(|member| FleetVersion::parse(member.machine.version.as_deref()?));
    for version in versions {
        *counts.entry(version).or_default() += 1;
    }

    counts
        .into_iter()
        .max_by_key(|(version, count)| (*count, *version))
        .map(|(version, _)| version)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::builders;
    use crate::cluster::Machine;

    fn member(version: Option<&str>) -> Member {
        let version = version.map(Into::into);
        builders::member(Machine { version, ..builders::machine("m1") })
    }

    #[test]
    fn the_version_is_that_of_most_machines_that_are_there() {
        let of = |versions: &[Option<&str>]| {
            let members: Vec<Member> = versions.iter().map(|version| member(*version)).collect();
            most_frequent_version(members.iter())
        };

        assert_eq!(of(&[]), None);
        assert_eq!(of(&[None, Some("unknown")]), None);
        let mixed = [Some("1.0.0"), Some("0.8.3"), None, Some("0.8.3")];
        assert_eq!(of(&mixed), Some(FleetVersion(0, 8, 3)));
        assert_eq!(of(&[Some("0.9.2"), Some("0.11.8")]), Some(FleetVersion(0, 11, 8)));

        let lost = Member {
            lost_since: Some(SystemTime::UNIX_EPOCH),
            ..member(Some("1.0.0"))
        };
        assert_eq!(most_frequent_version([&lost].into_iter()), None);
    }
}
