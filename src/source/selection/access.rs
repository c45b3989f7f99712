//! How an operator's fleetctl reaches the cluster that the source reads. Pure.
//!
//! It must not know which commands there are. Flags and their defaults are those in fleet's source
//! at the tag of each version.

use super::{Backend, Selection};
use crate::net::host;
use crate::source::api::Address;
use crate::source::etcd::{DEFAULT_PREFIX, EtcdSettings, TlsFiles};
use crate::source::fleetctl::{FleetctlConnection, etcd_flags};
use crate::source::version::FleetVersion;

/// The version that is assumed while none is known.
const NEWEST: FleetVersion = FleetVersion(1, 0, 0);
/// The first version that reads fleet's API unless a flag says otherwise, and that accepts several
/// members of etcd.
const API_BY_DEFAULT: FleetVersion = FleetVersion(0, 10, 0);
/// The first version with the flag `--driver`. Those before have an API that is experimental.
const WITH_DRIVER: FleetVersion = FleetVersion(0, 9, 0);
/// The first version with flags for TLS, which had other names before [`WITH_DRIVER`].
const WITH_TLS: FleetVersion = FleetVersion(0, 6, 0);

impl Selection {
    /// The flags with which fleetctl of this version reaches the cluster. None for a recording:
    /// whoever plays it knows best where its cluster is, if there still is one.
    pub(crate) fn fleetctl_flags(&self, version: Option<FleetVersion>) -> Vec<String> {
        let version = version.unwrap_or(NEWEST);

        match &self.backend {
            Backend::Demo { .. } | Backend::Replay { .. } => vec![],
            Backend::Fleetctl { connection, .. } => connection.flags(version),
            Backend::Api(address) => api_flags(address, version),
            Backend::Etcd(settings) => watched_etcd_flags(settings, version),
        }
    }

    /// `HOST:PORT` of the ssh server through which machines are reached; `None`: directly.
    pub(crate) fn jump_host(&self) -> Option<String> {
        match &self.backend {
            Backend::Fleetctl { connection: FleetctlConnection::Tunnel { host, port }, .. } => {
                Some(host::for_socket(host, *port))
            }
            _ => None,
        }
    }
}

fn api_flags(address: &Address, version: FleetVersion) -> Vec<String> {
    if version < WITH_DRIVER {
        let endpoint = match address {
            Address::Unix(path) => path.display().to_string(),
            Address::Tcp { .. } => address.to_string(),
        };
        return vec!["--experimental-api".to_owned(), format!("--endpoint={endpoint}")];
    }

    // Without flags the command works on every machine of the cluster.
    if version >= API_BY_DEFAULT && *address == Address::default() {
        return vec![];
    }
    vec!["--driver=API".to_owned(), format!("--endpoint={address}")]
}

/// fleetctl cannot authenticate as a user of etcd. If one is needed, fleet's API is left.
fn watched_etcd_flags(settings: &EtcdSettings, version: FleetVersion) -> Vec<String> {
    if settings.login.is_some() {
        return vec![];
    }

    let members = match version >= API_BY_DEFAULT {
        true => settings.endpoints.len(),
        false => 1,
    };
    let members: Vec<String> = settings
        .endpoints
        .iter()
        .take(members)
        .map(ToString::to_string)
        .collect();
    let mut flags = etcd_flags(&members.join(","), version);

    if settings.prefix != DEFAULT_PREFIX {
        flags.push(format!("--etcd-key-prefix={}", settings.prefix));
    }
    flags.extend(tls_flags(&settings.tls, version));
    flags
}

fn tls_flags(files: &TlsFiles, version: FleetVersion) -> Vec<String> {
    let names = if version >= WITH_DRIVER {
        ["--ca-file", "--cert-file", "--key-file"]
    } else if version >= WITH_TLS {
        ["--etcd-cafile", "--etcd-certfile", "--etcd-keyfile"]
    } else {
        return vec![];
    };

    let TlsFiles { ca, cert, key } = files;
    names
        .into_iter()
        .zip([ca, cert, key])
        .filter_map(|(name, file)| Some(format!("{name}={}", file.as_ref()?.display())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::selected;
    use super::*;

    fn flags(arguments: &str, version: &str) -> String {
        selected(arguments)
            .fleetctl_flags(FleetVersion::parse(version))
            .join(" ")
    }

    #[test]
    fn fleetctl_gets_the_flags_of_the_polls() {
        assert_eq!(flags("--source fleetctl", "v1.0.0"), "");
        assert_eq!(flags("-t bastion", "v1.0.0"), "--tunnel=bastion:22");
        assert_eq!(flags("-t fd00::1 --tunnel-port 2222", "0.5.0"), "--tunnel=[fd00::1]:2222");

        let etcd = "--source fleetctl -e core-01 --endpoint-port 2379";
        assert_eq!(flags(etcd, "v0.8.3"), "--endpoint=http://core-01:2379");
        assert_eq!(flags(etcd, "v0.9.0"), "--driver=etcd --endpoint=http://core-01:2379");
        assert_eq!(flags(etcd, ""), "--driver=etcd --endpoint=http://core-01:2379");
    }

    #[test]
    fn the_api_needs_flags_unless_it_is_the_default() {
        let default = "--source api";
        assert_eq!(flags(default, ""), "");
        assert_eq!(flags(default, "1.0.0"), "");
        assert_eq!(flags(default, "0.10.0"), "");
        assert_eq!(flags(default, "0.9.2"), "--driver=API --endpoint=unix:///var/run/fleet.sock");
        assert_eq!(flags(default, "0.8.3"), "--experimental-api --endpoint=/var/run/fleet.sock");

        let tcp = "--api http://10.0.0.1:49153";
        assert_eq!(flags(tcp, "1.0.0"), "--driver=API --endpoint=http://10.0.0.1:49153");
        assert_eq!(flags(tcp, "0.8.3"), "--experimental-api --endpoint=http://10.0.0.1:49153");
    }

    #[test]
    fn etcd_needs_the_flags_of_the_version() {
        let members = "--etcd http://10.0.0.1:2379,http://[fd00::1]:2379";
        assert_eq!(
            flags(members, "1.0.0"),
            "--driver=etcd --endpoint=http://10.0.0.1:2379,http://[fd00::1]:2379"
        );
        assert_eq!(flags(members, "0.9.2"), "--driver=etcd --endpoint=http://10.0.0.1:2379");
        assert_eq!(flags(members, "0.8.3"), "--endpoint=http://10.0.0.1:2379");

        let other = "--etcd http://10.0.0.1:2379 --etcd-prefix /staging/fleet/";
        assert_eq!(
            flags(other, "1.0.0"),
            "--driver=etcd --endpoint=http://10.0.0.1:2379 --etcd-key-prefix=/staging/fleet"
        );
    }

    #[test]
    fn etcd_with_tls_needs_the_files_and_with_a_user_it_is_not_for_fleetctl() {
        let tls = "--etcd https://a:2379 --etcd-ca ca.pem --etcd-cert c.pem --etcd-key k.pem";
        let endpoint = "--endpoint=https://a:2379";
        assert_eq!(
            flags(tls, "1.0.0"),
            format!("--driver=etcd {endpoint} --ca-file=ca.pem --cert-file=c.pem --key-file=k.pem")
        );
        assert_eq!(
            flags(tls, "0.8.3"),
            format!("{endpoint} --etcd-cafile=ca.pem --etcd-certfile=c.pem --etcd-keyfile=k.pem")
        );
        assert_eq!(flags(tls, "0.5.0"), endpoint);

        assert_eq!(flags("--etcd http://127.0.0.1:2379 --etcd-user fleet", "1.0.0"), "");
    }

    #[test]
    fn a_recording_has_no_flags() {
        assert_eq!(flags("--demo", "1.0.0"), "");
        assert_eq!(flags("--replay incident.jsonl", "1.0.0"), "");
    }

    #[test]
    fn machines_are_reached_through_the_tunnel() {
        assert_eq!(selected("-t bastion").jump_host().as_deref(), Some("bastion:22"));
        assert_eq!(selected("--source fleetctl -e core-01").jump_host(), None);
        assert_eq!(selected("--demo").jump_host(), None);
    }
}
