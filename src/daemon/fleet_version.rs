//! The version of fleet that the cluster has, for the commands that operators copy.
//!
//! It must not know which commands there are, nor how they depend on the version.

use std::collections::BTreeMap;

use super::Daemon;
use crate::actions::{ClusterAccess, commands};
use crate::cluster::View;
use crate::source::version::FleetVersion;

impl Daemon {
    /// Publishes the commands anew if the version of fleet is another one than before.
    pub(super) fn update_fleet_version(&mut self) {
        let version = self
            .source
            .fleet_version()
            .or_else(|| most_frequent_version(self.cluster.view()))
            .or(self.fleet_version);

        if version != self.fleet_version {
            self.fleet_version = version;
            self.publish_commands();
        }
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

/// The version that most machines have. If two are equally frequent, the newest.
fn most_frequent_version(view: &View) -> Option<FleetVersion> {
    let mut counts: BTreeMap<FleetVersion, usize> = BTreeMap::new();
    let versions = view
        .machines
        .iter()
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
