//! IPv6 addresses in brackets and with a zone, as people copy them.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use fleet_monitor::cluster::{FleetList, Reading};
use fleet_monitor::source::FleetClient;
use fleet_monitor::source::api::Api;

use crate::support::etcd::{Etcd, registry};
use crate::support::fleetd::{ApiRecording, Fleetd};
use crate::support::{Daemon, Double, Program, Proxy, cannot_run};

/// An IPv6 address with a zone: a link-local one, or else the loopback address with the number of
/// its interface.
struct Zoned {
    address: SocketAddrV6,
    zone: String,
}

impl Zoned {
    fn of_this_host() -> Option<Self> {
        let interfaces = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        let lines = interfaces
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut found: Vec<Self> = lines
            .filter_map(|fields| {
                let ip = Ipv6Addr::from(u128::from_str_radix(fields[0], 16).ok()?);
                let index = u32::from_str_radix(fields[1], 16).ok()?;
                let zone = if ip == Ipv6Addr::LOCALHOST {
                    index.to_string()
                } else {
                    fields[5].to_owned()
                };
                let has_zone = ip == Ipv6Addr::LOCALHOST || ip.is_unicast_link_local();
                has_zone.then(|| Self { address: SocketAddrV6::new(ip, 0, 0, index), zone })
            })
            .collect();

        found.sort_by_key(|zoned| zoned.address.ip().is_loopback());
        if found.is_empty() {
            cannot_run("there is no IPv6");
        }
        found.into_iter().next()
    }

    /// The form for options that take only a host.
    fn host(&self) -> String {
        format!("{}%{}", self.address.ip(), self.zone)
    }

    fn url(&self, port: u16) -> String {
        format!("http://[{}%25{}]:{port}", self.address.ip(), self.zone)
    }
}

#[tokio::test]
async fn etcd_is_watched_at_an_address_with_a_zone_in_each_notation() {
    let Some(zoned) = Zoned::of_this_host() else {
        return;
    };
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    etcd.fill(&registry("v1.0.0")).await;

    let server = etcd.url().trim_start_matches("http://").parse().unwrap();
    let proxy = Proxy::at(SocketAddr::V6(zoned.address), server).await;
    let port = proxy.address.port();
    let url = zoned.url(port);
    let bare = url.replace("%25", "%");
    let host = zoned.host();
    let port = port.to_string();
    let bracketed = format!("[{host}]");
    for arguments in [
        &["--etcd", &url][..],
        &["--etcd", &bare],
        &["-e", &host, "--endpoint-port", &port],
        &["-e", &bracketed, "--endpoint-port", &port],
    ] {
        let daemon = Program::new(arguments).start().await;
        daemon.source_is("ok").await;
        assert!(
            daemon.health().await["source"]
                .as_str()
                .unwrap()
                .starts_with("etcd v3.")
        );
        daemon.log.first(&url).await;
    }
}

#[tokio::test]
async fn the_api_is_read_at_an_address_with_a_zone_which_is_not_sent() {
    let Some(zoned) = Zoned::of_this_host() else {
        return;
    };
    let fleetd = Fleetd::tcp_at(
        SocketAddr::V6(zoned.address),
        ApiRecording::load("fleetd-v1.0.0").respond(),
    )
    .await;
    let port: u16 = fleetd.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let api = Api::new(zoned.url(port).parse().unwrap());
    let Reading::Machines { machines } = api.poll(FleetList::Machines).await.unwrap() else {
        panic!("these are no machines");
    };
    assert!(!machines.is_empty());
    assert_eq!(api.address().to_string(), zoned.url(port));

    let request = fleetd.traffic().requests.remove(0).to_lowercase();
    assert!(
        request.contains(&format!("host: [{}]:{port}\r\n", zoned.address.ip())),
        "{request}"
    );
}

#[tokio::test]
async fn fleetctl_gets_an_address_with_a_zone_in_its_own_notation() {
    for (arguments, flag) in [
        (["-t", "[fe80::1%eth0]"], "--tunnel=[fe80::1%eth0]:22"),
        (["-t", "::1"], "--tunnel=[::1]:22"),
        (["-e", "fe80::1%eth0"], "--endpoint=http://[fe80::1%25eth0]:4001"),
        (["-e", "[::1]"], "--endpoint=http://[::1]:4001"),
    ] {
        let fleetctl = Double::new("v1.0.0");
        let daemon = Daemon::asking(&fleetctl, &arguments).await;
        daemon.source_is("ok").await;
        assert!(
            fleetctl
                .calls()
                .iter()
                .any(|call| call.iter().any(|argument| argument == flag)),
            "{flag}"
        );
    }
}

#[tokio::test]
async fn it_listens_at_an_address_in_brackets() {
    if Zoned::of_this_host().is_none() {
        return;
    }
    let daemon = Program::new(&["--demo", "--bind", "[::1]"]).start().await;
    assert_eq!(daemon.address.ip(), Ipv6Addr::LOCALHOST);
}
