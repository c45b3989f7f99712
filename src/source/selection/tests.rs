use std::collections::BTreeMap;

use clap::Parser;

use super::*;
use crate::cli::Cli;
use crate::config;

/// As on a command line.
fn options(arguments: &str) -> Options {
    let arguments = ["fleet-monitor", "--config", "/dev/null"].into_iter().chain(arguments.split_whitespace());
    let (config, _) = config::load(&Cli::parse_from(arguments), &BTreeMap::new()).expect("a configuration");
    config.source
}

fn selected(arguments: &str) -> Selection {
    decide(&options(arguments), Facts::default())
}

fn absence() -> Option<String> {
    Some("there is no unix:///var/run/fleet.sock".to_owned())
}

fn with_socket(exists: bool) -> Facts {
    Facts { api_absence: absence().filter(|_| !exists), ..Facts::default() }
}

fn with_etcd(etcd: Probe) -> Facts {
    Facts { etcd, ..Facts::default() }
}

#[test]
fn a_source_that_is_asked_for_is_used_whatever_is_found() {
    for (arguments, expected) in [
        ("--demo", "playing the recording that is built in, again and again (--demo)"),
        ("--demo --source replay -e etcd", "playing the recording that is built in, again and again (--demo)"),
        ("--replay f", "playing the recording f"),
        ("--replay f --source replay --api http://h:1", "playing the recording f"),
        ("--source fleetctl", "reading fleet through fleetctl: as was asked for"),
        ("--source fleetctl -c /f -e etcd", "reading fleet through /f: as was asked for"),
        ("--source fleetctl -e etcd", "reading fleet through fleetctl: as was asked for"),
        ("-c /f", "reading fleet through /f: as was asked for (-c, -e or -t)"),
        ("-c /f -e etcd", "reading fleet through /f: as was asked for (-c, -e or -t)"),
        ("-t ssh", "reading fleet through fleetctl: as was asked for (-c, -e or -t)"),
        ("-t ssh --api http://h:1", "reading fleet through fleetctl: as was asked for (-c, -e or -t)"),
        ("--source api", "reading fleet's HTTP API at unix:///var/run/fleet.sock: as was asked for"),
        ("--api http://h:1", "reading fleet's HTTP API at http://h:1: as was asked for"),
        (
            "--etcd https://a:1,http://b:2",
            "watching fleet's registry in etcd at https://a:1, http://b:2: as was asked for",
        ),
        ("--source etcd --etcd http://a:1", "watching fleet's registry in etcd at http://a:1: as was asked for"),
        ("--source etcd -e etcd", "watching fleet's registry in etcd at http://etcd:4001: as was asked for"),
        ("--source etcd -e ::1", "watching fleet's registry in etcd at http://[::1]:4001: as was asked for"),
        (
            "--source etcd",
            "watching fleet's registry in etcd at http://127.0.0.1:2379, http://127.0.0.1:4001: as was asked for",
        ),
    ] {
        for api_absence in [absence(), None] {
            let etcd = Probe::Unusable("it is no etcd".to_owned());
            let selection = decide(&options(arguments), Facts { api_absence, etcd });
            assert_eq!(selection.to_string(), expected, "{arguments}");
        }
    }
}

#[test]
fn where_nothing_is_asked_for_the_socket_decides() {
    for arguments in ["", "--source auto", "--api unix:///var/run/fleet.sock", "--etcd-prefix /p"] {
        let options = options(arguments);
        assert_eq!(options.request(), Request::Any, "{arguments}");
        assert_eq!(
            decide(&options, with_socket(true)).to_string(),
            "reading fleet's HTTP API at unix:///var/run/fleet.sock: its socket is there, and nothing asks for fleetctl"
        );
        assert_eq!(
            decide(&options, with_socket(false)).to_string(),
            "reading fleet through fleetctl: there is no unix:///var/run/fleet.sock"
        );
    }
}

#[test]
fn at_an_endpoint_etcd_is_watched_unless_it_answers_that_it_cannot_be() {
    for arguments in ["-e etcd", "-e etcd --api http://h:1"] {
        let decided = |etcd| decide(&options(arguments), with_etcd(etcd)).to_string();
        assert_eq!(
            decided(Probe::SpeaksV2),
            "watching fleet's registry in etcd at http://etcd:4001: it speaks version 2 of its API (--source fleetctl \
             goes through fleetctl)"
        );
        assert_eq!(
            decided(Probe::NoAnswer),
            "watching fleet's registry in etcd at http://etcd:4001: it has not answered yet (--source fleetctl goes \
             through fleetctl)"
        );
        assert_eq!(
            decided(Probe::Unusable("it has no v2 API".to_owned())),
            "reading fleet through fleetctl: as was asked for (-e), and not watching etcd itself: it has no v2 API"
        );
    }
}

#[test]
fn a_source_gets_the_options_that_belong_to_it() {
    let fleetctl = selected("-c /f -t ssh").backend;
    let tunnel = Connection::Tunnel { host: "ssh".to_owned(), port: 22 };
    assert_eq!(fleetctl, Backend::Fleetctl { command: "/f".to_owned(), connection: tunnel });

    let etcd = selected("--etcd https://a:1 --etcd-ca ca.pem --etcd-prefix /p --poll-timeout 3").backend;
    let tls = Tls { ca: Some("ca.pem".into()), ..Tls::default() };
    let endpoints = vec!["https://a:1".parse().unwrap()];
    let timeout = Duration::from_secs(3);
    assert_eq!(etcd, Backend::Etcd(etcd::Settings { endpoints, prefix: "/p".to_owned(), tls, login: None, timeout }));

    let replay = selected("--replay f --replay-speed 4").backend;
    assert_eq!(replay, Backend::Replay { path: "f".into(), speed: 4.0 });
    assert_eq!(selected("--demo --replay-speed 4").backend, Backend::Demo { speed: 4.0 });
}

#[test]
fn only_where_nothing_is_asked_for_a_missing_fleetctl_means_that_there_is_nothing_to_read() {
    let missing = |arguments| selected(arguments).open().expect_err("no such fleetctl").to_string();
    let named = missing("-c /nowhere/fleetctl");
    assert!(named.contains("/nowhere/fleetctl") && !named.contains("nothing to read fleet from"), "{named}");

    let mut selection = decide(&options(""), with_socket(false));
    selection.backend = selected("-c /nowhere/fleetctl").backend;
    let nothing = selection.open().expect_err("no such fleetctl").to_string();
    assert_eq!(nothing, format!("nothing to read fleet from: there is no unix:///var/run/fleet.sock, and {named}"));
}

#[test]
fn a_source_goes_on_after_a_reload_that_does_not_concern_it() {
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
        // Why it is used may change without the source.
        ("-e etcd", "--source etcd -e etcd", true),
        ("-c fleetctl", "--source fleetctl", true),
    ] {
        assert_eq!(selected(after).keeps(&selected(before)), expected, "{before} -> {after}");
    }
}

#[test]
fn the_cluster_is_the_same_if_the_source_is_or_one_member_of_etcd_is() {
    for (one, other, expected) in [
        ("-c /f", "-c /f --unit-freq 1 --poll-timeout 1", true),
        ("-c /f", "-c /g", false),
        ("-c /f", "-c /f -t ssh", false),
        ("--source api", "--api http://h:1", false),
        ("--source api", "--source fleetctl", false),
        ("--etcd http://a:1,http://b:1", "--etcd http://b:1,http://c:1 --poll-timeout 1", true),
        ("--etcd http://a:1", "--etcd http://b:1", false),
        ("--etcd http://a:1", "--etcd http://a:1 --etcd-prefix /p", false),
        ("--etcd https://a:1", "--etcd https://a:1 --etcd-ca f", true),
        ("--demo", "--demo --replay-speed 2", false),
    ] {
        let (one, other) = (selected(one), selected(other));
        assert_eq!(one.reads_same_cluster(&other), expected, "{one:?} and {other:?}");
        assert_eq!(other.reads_same_cluster(&one), expected, "{other:?} and {one:?}");
    }
}
