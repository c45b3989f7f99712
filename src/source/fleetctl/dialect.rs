//! The arguments that each version of fleetctl accepts, and the columns that it prints. Pure.
//!
//! It must not know how fleetctl is run. All versions accept flags with two dashes, and global
//! flags before the command; flags with one dash are not accepted from 0.13 on. The columns are
//! those in fleet's source at the tag of each version.

use std::fmt;

use super::super::table::{self, TableError};
use super::super::version::FleetVersion;
use crate::cluster::{FleetList, Reading};
use crate::net::host;

/// How fleetctl connects to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FleetctlConnection {
    /// By fleetctl's own default: etcd on this machine, and from 0.10 on fleet's API. `FLEETCTL_*`
    /// in the environment changes it.
    #[default]
    Default,
    /// To an etcd at this host (`--endpoint`).
    Etcd {
        /// Name or address; an IPv6 address without brackets.
        host: String,
        /// The port of etcd's client API.
        port: u16,
    },
    /// Through an ssh tunnel.
    Tunnel {
        /// Name or address of the ssh server; an IPv6 address without brackets.
        host: String,
        /// The port of the ssh server.
        port: u16,
    },
}

impl FleetctlConnection {
    /// The flags that select it, for a version of fleetctl.
    pub(in crate::source) fn flags(&self, version: FleetVersion) -> Vec<String> {
        match self {
            FleetctlConnection::Default => vec![],
            FleetctlConnection::Etcd { host, port } => {
                etcd_flags(&format!("http://{}", host::in_url(host, *port)), version)
            }
            FleetctlConnection::Tunnel { host, port } => {
                vec![format!("--tunnel={}", host::for_socket(host, *port))]
            }
        }
    }
}

/// The flags with which fleetctl reads etcd at an endpoint. From 0.13 on, an endpoint without the
/// first one is the endpoint of fleet's API.
pub(in crate::source) fn etcd_flags(endpoint: &str, version: FleetVersion) -> Vec<String> {
    let endpoint = format!("--endpoint={endpoint}");

    if version >= FleetVersion(0, 9, 0) {
        vec!["--driver=etcd".into(), endpoint]
    } else {
        vec![endpoint]
    }
}

/// A version of fleetctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetctlVersion {
    number: FleetVersion,
    text: String,
}

/// Why the output of `fleetctl --version` is not the version of a CoreOS fleetctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VersionError {
    /// The command-line tool of Fleet, the osquery product, has the same name.
    Osquery,
    /// It is another program.
    Unknown,
}

impl FleetctlVersion {
    /// The oldest version whose output is known.
    const OLDEST: FleetVersion = FleetVersion(0, 5, 0);

    /// Parses the output of `fleetctl --version`: `fleetctl version 0.11.8`, from 0.12 on
    /// `fleetctl version v0.12.0`.
    pub(super) fn parse(output: &str) -> Result<Self, VersionError> {
        let line = output.lines().next().unwrap_or_default().trim_end();
        if line.starts_with("fleetctl - version ") {
            return Err(VersionError::Osquery);
        }

        let text = line.strip_prefix("fleetctl version ").ok_or(VersionError::Unknown)?;
        let text = text.strip_prefix('v').unwrap_or(text);

        match FleetVersion::parse(text) {
            Some(number) => Ok(Self { number, text: text.to_owned() }),
            None => Err(VersionError::Unknown),
        }
    }

    /// Its number, without the suffix of an unofficial build.
    pub(super) fn number(&self) -> FleetVersion {
        self.number
    }

    /// Whether this version is so old that its output is not known.
    pub(super) fn is_too_old(&self) -> bool {
        self.number < Self::OLDEST
    }

    /// The arguments that request a list.
    pub(super) fn arguments(
        &self,
        connection: &FleetctlConnection,
        list: FleetList,
    ) -> Vec<String> {
        let mut arguments = connection.flags(self.number);
        arguments.extend([self.command(list), "--no-legend", "--full"].map(String::from));
        arguments.push(format!("--fields={}", self.columns(list).join(",")));
        arguments
    }

    /// The arguments that request the file of a unit. After `--`, a name that begins with `-` is
    /// not taken for a flag: so do both of Go's parsers that fleetctl has had, `flag` and from 0.13
    /// on `pflag`.
    pub(super) fn cat_arguments(&self, connection: &FleetctlConnection, unit: &str) -> Vec<String> {
        let mut arguments = connection.flags(self.number);
        arguments.extend(["cat", "--", unit].map(String::from));
        arguments
    }

    /// Parses the output of a call with [`arguments`](Self::arguments).
    pub(super) fn read(&self, list: FleetList, output: &[u8]) -> Result<Reading, TableError> {
        let columns = self.columns(list);
        Ok(match list {
            FleetList::Units => Reading::Units {
                states: table::units(output, columns)?,
                files: if self.lists_files_with_units() {
                    Some(table::unit_files(output, columns)?)
                } else {
                    None
                },
            },
            FleetList::Machines => {
                let mut machines = table::machines(output, columns)?;
                if self.number < FleetVersion(0, 6, 0) {
                    table::sort_metadata(&mut machines);
                }
                Reading::Machines { machines }
            }
            FleetList::UnitFiles => {
                Reading::UnitFiles { files: table::unit_files(output, columns)? }
            }
        })
    }

    /// Before 0.7, `list-units` lists all submitted units, and `list-unit-files` is missing (0.5)
    /// or has fewer columns (0.6).
    fn lists_files_with_units(&self) -> bool {
        self.number < FleetVersion(0, 7, 0)
    }

    fn command(&self, list: FleetList) -> &'static str {
        match list {
            FleetList::Machines => "list-machines",
            FleetList::UnitFiles if !self.lists_files_with_units() => "list-unit-files",
            FleetList::Units | FleetList::UnitFiles => "list-units",
        }
    }

    /// The columns to request. The description is last, where it may contain tabs.
    fn columns(&self, list: FleetList) -> &'static [&'static str] {
        match (list, self.number) {
            (FleetList::Machines, _) => &["machine", "ip", "metadata"],
            // These versions also have a column `state`. It is not the desired state, and follows
            // from the other columns.
            (_, FleetVersion(0, ..=5, _)) => {
                &["unit", "load", "active", "sub", "machine", "hash", "desc"]
            }
            (_, FleetVersion(0, 6, _)) => {
                &["unit", "dstate", "tmachine", "load", "active", "sub", "machine", "hash", "desc"]
            }
            (FleetList::Units, _) => &["unit", "load", "active", "sub", "machine", "hash"],
            (FleetList::UnitFiles, FleetVersion(0, 7, 0)) => {
                &["unit", "dstate", "tmachine", "hash", "desc"]
            }
            (FleetList::UnitFiles, FleetVersion(0, 7, _)) => {
                &["unit", "global", "dstate", "tmachine", "hash", "desc"]
            }
            (FleetList::UnitFiles, _) => &["unit", "global", "dstate", "target", "hash", "desc"],
        }
    }
}

impl fmt::Display for FleetctlVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> FleetctlVersion {
        FleetctlVersion::parse(&format!("fleetctl version {text}\n")).unwrap()
    }

    #[test]
    fn a_version_is_parsed_with_and_without_v() {
        assert_eq!(version("0.11.8").to_string(), "v0.11.8");
        assert_eq!(version("v1.0.0"), version("1.0.0"));
        assert_eq!(version("v1.0.0+git").to_string(), "v1.0.0+git");
        assert_eq!(version("0.10.2").number, FleetVersion(0, 10, 2));
    }

    #[test]
    fn other_programs_are_recognized() {
        let osquery = "fleetctl - version 4.62.1\n  branch: \tHEAD\n  revision: \td5a2ab5\n";
        assert_eq!(FleetctlVersion::parse(osquery), Err(VersionError::Osquery));
        for other in [
            "",
            "true (GNU coreutils) 9.1\n",
            "fleetctl version\n",
            "fleetctl version 1.0\n",
            "fleetctl version 1.0.0.0",
        ] {
            assert_eq!(FleetctlVersion::parse(other), Err(VersionError::Unknown), "{other}");
        }
    }

    #[test]
    fn old_versions_are_too_old() {
        assert!(version("0.4.0").is_too_old());
        assert!(!version("0.5.0").is_too_old());
    }

    #[test]
    fn the_flag_driver_is_used_from_0_9_on() {
        let etcd = FleetctlConnection::Etcd { host: "core-01".into(), port: 4001 };
        let arguments = |text: &str| version(text).arguments(&etcd, FleetList::Machines).join(" ");
        let expected = "--endpoint=http://core-01:4001 list-machines --no-legend --full \
                        --fields=machine,ip,metadata";

        assert_eq!(arguments("0.8.3"), expected);
        assert_eq!(arguments("0.9.0"), format!("--driver=etcd {expected}"));
        assert_eq!(arguments("v1.0.0"), format!("--driver=etcd {expected}"));
    }

    #[test]
    fn a_unit_file_is_requested_over_the_same_connection_as_lists() {
        let tunnel = FleetctlConnection::Tunnel { host: "core-01".into(), port: 22 };
        let arguments = version("0.11.8").cat_arguments(&tunnel, "-.mount");
        assert_eq!(arguments, ["--tunnel=core-01:22", "cat", "--", "-.mount"]);

        let etcd = FleetctlConnection::Etcd { host: "core-01".into(), port: 4001 };
        let arguments = version("1.0.0").cat_arguments(&etcd, "a.service").join(" ");
        assert_eq!(arguments, "--driver=etcd --endpoint=http://core-01:4001 cat -- a.service");
    }

    #[test]
    fn an_ipv6_address_is_put_in_brackets() {
        let tunnel = |host: &str| FleetctlConnection::Tunnel { host: host.into(), port: 22 };
        let flag =
            |host: &str| version("1.0.0").arguments(&tunnel(host), FleetList::Units).remove(0);
        assert_eq!(flag("core-01"), "--tunnel=core-01:22");
        assert_eq!(flag("fd00::1"), "--tunnel=[fd00::1]:22");
        assert_eq!(flag("fe80::1%eth0"), "--tunnel=[fe80::1%eth0]:22");

        let etcd = FleetctlConnection::Etcd { host: "fe80::1%eth0".into(), port: 4001 };
        let flag = version("1.0.0").arguments(&etcd, FleetList::Units).remove(1);
        assert_eq!(flag, "--endpoint=http://[fe80::1%25eth0]:4001");
    }

    #[test]
    fn only_columns_of_the_version_are_requested() {
        let fields = |text: &str| {
            let arguments =
                version(text).arguments(&FleetctlConnection::Default, FleetList::UnitFiles);
            format!("{} {}", arguments[0], arguments[3])
        };
        assert_eq!(fields("0.5.4"), "list-units --fields=unit,load,active,sub,machine,hash,desc");
        assert_eq!(
            fields("0.6.0"),
            "list-units --fields=unit,dstate,tmachine,load,active,sub,machine,hash,desc"
        );
        assert_eq!(fields("0.7.0"), "list-unit-files --fields=unit,dstate,tmachine,hash,desc");
        assert_eq!(
            fields("0.7.1"),
            "list-unit-files --fields=unit,global,dstate,tmachine,hash,desc"
        );
        assert_eq!(fields("0.8.0"), "list-unit-files --fields=unit,global,dstate,target,hash,desc");
        assert_eq!(fields("1.0.0"), "list-unit-files --fields=unit,global,dstate,target,hash,desc");
    }
}
