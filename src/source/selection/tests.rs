use clap::Parser;

use super::*;
use crate::cli::Cli;
use crate::config::{self, Environment};
use crate::snapshots::assert_catalogue;

/// The options of a command line.
fn options(arguments: &str) -> Options {
    let arguments = ["fleet-monitor", "--config", "/dev/null"]
        .into_iter()
        .chain(arguments.split_whitespace());
    let cli = Cli::parse_from(arguments);
    let (config, _) = config::load(&cli, &Environment::default()).expect("a configuration");
    config.source
}

pub(super) fn selected(arguments: &str) -> Selection {
    decide(&options(arguments), SelectionFacts::default())
}

fn absence() -> Option<String> {
    Some("there is no unix:///var/run/fleet.sock".to_owned())
}

fn with_socket(exists: bool) -> SelectionFacts {
    SelectionFacts {
        api_absence: absence().filter(|_| !exists),
        ..SelectionFacts::default()
    }
}

fn with_etcd(etcd: EtcdProbe) -> SelectionFacts {
    SelectionFacts { etcd, ..SelectionFacts::default() }
}

/// Short name for the most frequent reason.
const REQUESTED: SelectionReason = SelectionReason::Requested;

fn demo() -> Backend {
    Backend::Demo { speed: 1.0 }
}

fn replay_at(speed: f64) -> ReplayOptions {
    ReplayOptions { speed, from: None, to: None }
}

fn replay(path: &str) -> Backend {
    Backend::Replay { path: path.into(), options: replay_at(1.0) }
}

fn api(address: &str) -> Backend {
    Backend::Api(address.parse().unwrap())
}

fn fleetctl(command: &str, connection: &FleetctlConnection) -> Backend {
    Backend::Fleetctl { command: command.to_owned(), connection: connection.clone() }
}

/// An etcd with these members, and all other options at their defaults.
fn etcd(members: &[&str]) -> Backend {
    let members = members.iter().map(|member| member.parse().unwrap()).collect();
    Backend::Etcd(options("").etcd_settings(members))
}

#[test]
fn a_requested_source_is_used_whatever_is_found() {
    let default = &FleetctlConnection::Default;
    let endpoint = &FleetctlConnection::Etcd { host: "etcd".to_owned(), port: 4001 };
    let tunnel = &FleetctlConnection::Tunnel { host: "ssh".to_owned(), port: 22 };
    for (arguments, backend, reason) in [
        ("--demo", demo(), REQUESTED),
        ("--demo --source replay", demo(), REQUESTED),
        ("--replay f", replay("f"), REQUESTED),
        ("--replay f --source replay", replay("f"), REQUESTED),
        ("--source fleetctl", fleetctl("fleetctl", default), REQUESTED),
        ("--source fleetctl -c /f -e etcd", fleetctl("/f", endpoint), REQUESTED),
        ("--source fleetctl -e etcd", fleetctl("fleetctl", endpoint), REQUESTED),
        ("-c /f", fleetctl("/f", default), SelectionReason::FleetctlOption),
        ("-c /f -e etcd", fleetctl("/f", endpoint), SelectionReason::FleetctlOption),
        ("-t ssh", fleetctl("fleetctl", tunnel), SelectionReason::FleetctlOption),
        (
            "-t ssh --api http://h:1",
            fleetctl("fleetctl", tunnel),
            SelectionReason::FleetctlOption,
        ),
        ("--source api", api("unix:///var/run/fleet.sock"), REQUESTED),
        ("--api http://h:1", api("http://h:1"), REQUESTED),
        ("--etcd https://a:1,http://b:2", etcd(&["https://a:1", "http://b:2"]), REQUESTED),
        ("--source etcd --etcd http://a:1", etcd(&["http://a:1"]), REQUESTED),
        ("--source etcd -e etcd", etcd(&["http://etcd:4001"]), REQUESTED),
        ("--source etcd -e ::1", etcd(&["http://[::1]:4001"]), REQUESTED),
        (
            "--source etcd",
            etcd(&["http://127.0.0.1:2379", "http://127.0.0.1:4001"]),
            REQUESTED,
        ),
    ] {
        for api_absence in [absence(), None] {
            let etcd = EtcdProbe::Unusable("it is no etcd".to_owned());
            let selection = decide(&options(arguments), SelectionFacts { api_absence, etcd });
            assert_eq!((&selection.backend, &selection.reason), (&backend, &reason), "{arguments}");
        }
    }
}

#[test]
fn if_no_source_is_requested_the_socket_decides() {
    for arguments in ["", "--source auto", "--api unix:///var/run/fleet.sock", "--etcd-prefix /p"] {
        let options = options(arguments);
        assert_eq!(options.request(), SourceRequest::Any, "{arguments}");
        let found = decide(&options, with_socket(true));
        assert_eq!(
            (found.backend, found.reason),
            (api("unix:///var/run/fleet.sock"), SelectionReason::ApiSocketExists)
        );
        let not_found = decide(&options, with_socket(false));
        assert_eq!(not_found.backend, fleetctl("fleetctl", &FleetctlConnection::Default));
        assert_eq!(not_found.reason, SelectionReason::NoApiSocket(absence().unwrap()));
    }
}

#[test]
fn the_etcd_at_endpoint_is_watched_unless_it_answers_that_it_cannot_be() {
    let endpoint = FleetctlConnection::Etcd { host: "etcd".to_owned(), port: 4001 };
    let why = || "it has no v2 API".to_owned();
    for arguments in ["-e etcd", "-e etcd --api http://h:1"] {
        for (probe, backend, reason) in [
            (EtcdProbe::SpeaksV2, etcd(&["http://etcd:4001"]), SelectionReason::EtcdSpeaksV2),
            (
                EtcdProbe::NoAnswer,
                etcd(&["http://etcd:4001"]),
                SelectionReason::EtcdGaveNoAnswer,
            ),
            (
                EtcdProbe::Unusable(why()),
                fleetctl("fleetctl", &endpoint),
                SelectionReason::EtcdIsUnusable(why()),
            ),
        ] {
            let selection = decide(&options(arguments), with_etcd(probe));
            assert_eq!((selection.backend, selection.reason), (backend, reason), "{arguments}");
        }
    }
}

#[test]
fn the_wording_of_the_selections() {
    let unusable = EtcdProbe::Unusable("it has no v2 API".to_owned());
    let selections = [
        ("--demo", SelectionFacts::default()),
        ("--replay f", SelectionFacts::default()),
        ("--api http://h:1", SelectionFacts::default()),
        ("--etcd https://a:1,http://b:2", SelectionFacts::default()),
        ("--source fleetctl", SelectionFacts::default()),
        ("-c /f", SelectionFacts::default()),
        ("-e etcd", with_etcd(EtcdProbe::SpeaksV2)),
        ("-e etcd", with_etcd(EtcdProbe::NoAnswer)),
        ("-e etcd", with_etcd(unusable)),
        ("--source auto", with_socket(true)),
        ("--source auto", with_socket(false)),
    ];
    let texts =
        selections.map(|(arguments, facts)| (arguments, decide(&options(arguments), facts)));
    assert_catalogue("source-selections", texts);
}

#[test]
fn a_source_receives_its_options() {
    let fleetctl = selected("-c /f -t ssh").backend;
    let tunnel = FleetctlConnection::Tunnel { host: "ssh".to_owned(), port: 22 };
    assert_eq!(fleetctl, Backend::Fleetctl { command: "/f".to_owned(), connection: tunnel });

    let etcd =
        selected("--etcd https://a:1 --etcd-ca ca.pem --etcd-prefix /p --poll-timeout 3").backend;
    let tls = TlsFiles { ca: Some("ca.pem".into()), ..TlsFiles::default() };
    let endpoints = vec!["https://a:1".parse().unwrap()];
    let timeout = Duration::from_secs(3);
    assert_eq!(
        etcd,
        Backend::Etcd(etcd::EtcdSettings {
            endpoints,
            prefix: "/p".to_owned(),
            tls,
            login: None,
            timeout
        })
    );

    let replay = selected("--replay f --replay-speed 4").backend;
    assert_eq!(replay, Backend::Replay { path: "f".into(), options: replay_at(4.0) });
    assert_eq!(selected("--demo --replay-speed 4").backend, Backend::Demo { speed: 4.0 });
}

#[test]
fn a_missing_fleetctl_means_no_source_only_if_none_was_requested() {
    let missing = |arguments| selected(arguments).open().expect_err("no such fleetctl").to_string();
    let named = missing("-c /nowhere/fleetctl");
    assert!(named.contains("/nowhere/fleetctl"), "{named}");

    let mut selection = decide(&options(""), with_socket(false));
    selection.backend = selected("-c /nowhere/fleetctl").backend;
    let nothing = selection.open().expect_err("no such fleetctl");
    assert!(matches!(nothing, OpenError::NothingToRead { .. }), "{nothing:?}");
    assert!(
        nothing.to_string().contains(&absence().unwrap()) && nothing.to_string().contains(&named),
        "{nothing}"
    );
}

#[test]
fn a_source_goes_on_after_a_reload_that_does_not_change_it() {
    for (before, after, expected) in [
        ("-c /f", "-c /f", true),
        ("-c /f", "-c /g", false),
        ("-c /f", "-c /f --unit-freq 1", false),
        ("-c /f", "-c /f --poll-timeout 1", false),
        ("-t a", "-t b", false),
        ("--replay f", "--replay f", true),
        ("--replay f", "--replay f --replay-speed 2", false),
        ("--etcd http://a:1", "--etcd http://a:1", true),
        ("--etcd http://a:1", "--etcd http://a:1,http://b:1", false),
        ("--etcd https://a:1 --etcd-ca f", "--etcd https://a:1 --etcd-ca f", false),
        // The reason may change while the source stays.
        ("-e etcd", "--source etcd -e etcd", true),
        ("-c fleetctl", "--source fleetctl", true),
    ] {
        assert_eq!(selected(after).keeps(&selected(before)), expected, "{before} -> {after}");
    }
}

#[test]
fn the_cluster_is_the_same_if_the_source_or_one_member_of_etcd_is_the_same() {
    for (one, other, expected) in [
        ("-c /f", "-c /f --unit-freq 1 --poll-timeout 1", true),
        ("-c /f", "-c /g", false),
        ("-c /f", "-c /f -t ssh", false),
        ("--source api", "--api http://h:1", false),
        ("--source api", "--source fleetctl", false),
        (
            "--etcd http://a:1,http://b:1",
            "--etcd http://b:1,http://c:1 --poll-timeout 1",
            true,
        ),
        ("--etcd http://a:1", "--etcd http://b:1", false),
        ("--etcd http://a:1", "--etcd http://a:1 --etcd-prefix /p", false),
        ("--etcd https://a:1", "--etcd https://a:1 --etcd-ca f", true),
        ("--demo", "--demo --replay-speed 2", false),
    ] {
        let one = selected(one);
        let other = selected(other);
        assert_eq!(one.reads_same_cluster(&other), expected, "{one:?} and {other:?}");
        assert_eq!(other.reads_same_cluster(&one), expected, "{other:?} and {one:?}");
    }
}
