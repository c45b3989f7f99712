//! Options that exclude each other.

use super::*;

/// Options that lead to different sources: which one is refused, for the sake of which other.
pub(super) fn conflicting() -> [(Places, [&'static str; 2]); 27] {
    let arguments = |arguments: &[&str]| Places::new().arguments(arguments);
    let file = |text: &str| Places::new().file(text);
    let variables = |one: (&str, &str), other: (&str, &str)| {
        Places::new().variable(one.0, one.1).variable(other.0, other.1)
    };
    [
        (
            file("endpoint = 'etcd'").arguments(&["-t", "ssh"]),
            ["endpoint (FILE:1)", "tunnel (--tunnel)"],
        ),
        (arguments(&["--demo", "--replay", "f"]), ["demo (--demo)", "replay (--replay)"]),
        (arguments(&["--demo", "--record", "f"]), ["demo (--demo)", "record (--record)"]),
        (arguments(&["--demo", "--api", "http://h:1"]), ["demo (--demo)", "api (--api)"]),
        (arguments(&["--demo", "-e", "etcd"]), ["demo (--demo)", "endpoint (--endpoint)"]),
        (arguments(&["--demo", "-t", "ssh"]), ["demo (--demo)", "tunnel (--tunnel)"]),
        (file("demo = true\nfleetctl = 'f'"), ["demo (FILE:1)", "fleetctl (FILE:2)"]),
        (
            variables(("REPLAY", "f"), ("ETCD_PREFIX", "/p")),
            ["replay (FLEET_MONITOR_REPLAY)", "etcd_prefix (FLEET_MONITOR_ETCD_PREFIX)"],
        ),
        (
            arguments(&["--replay", "f", "--record", "g"]),
            ["replay (--replay)", "record (--record)"],
        ),
        (
            arguments(&["--replay", "f", "--source", "api"]),
            ["source (--source)", "replay (--replay)"],
        ),
        (
            arguments(&["--demo", "--source", "fleetctl"]),
            ["source (--source)", "demo (--demo)"],
        ),
        (
            arguments(&["--source", "api", "-c", "fleetctl"]),
            ["source (--source)", "fleetctl (--fleetctl)"],
        ),
        (
            variables(("SOURCE", "api"), ("ENDPOINT", "etcd")),
            ["source (FLEET_MONITOR_SOURCE)", "endpoint (FLEET_MONITOR_ENDPOINT)"],
        ),
        (file("source = 'api'\ntunnel = 'ssh'"), ["source (FILE:1)", "tunnel (FILE:2)"]),
        (
            file("api = 'http://h:1'\nsource = 'fleetctl'"),
            ["source (FILE:2)", "api (FILE:1)"],
        ),
        (file("api = 'http://h:1'\nsource = 'etcd'"), ["source (FILE:2)", "api (FILE:1)"]),
        (
            arguments(&["--source", "etcd", "-c", "fleetctl", "-e", "etcd"]),
            ["source (--source)", "fleetctl (--fleetctl)"],
        ),
        (
            variables(("SOURCE", "etcd"), ("TUNNEL", "ssh")),
            ["source (FLEET_MONITOR_SOURCE)", "tunnel (FLEET_MONITOR_TUNNEL)"],
        ),
        (
            arguments(&["--source", "etcd", "--demo"]),
            ["source (--source)", "demo (--demo)"],
        ),
        (
            arguments(&["--source", "etcd", "--replay", "f"]),
            ["source (--source)", "replay (--replay)"],
        ),
        (
            arguments(&["--source", "fleetctl", "--etcd", "http://h:1"]),
            ["source (--source)", "etcd (--etcd)"],
        ),
        (
            variables(("SOURCE", "api"), ("ETCD_PREFIX", "/fleet")),
            ["source (FLEET_MONITOR_SOURCE)", "etcd_prefix (FLEET_MONITOR_ETCD_PREFIX)"],
        ),
        (
            arguments(&["--etcd", "http://h:1", "-e", "etcd"]),
            ["etcd (--etcd)", "endpoint (--endpoint)"],
        ),
        (
            file("etcd = ['http://h:1', 'http://h:2']\ntunnel = 'ssh'"),
            ["etcd (FILE:1)", "tunnel (FILE:2)"],
        ),
        (
            variables(("ETCD", "http://h:1"), ("FLEETCTL", "f")),
            ["etcd (FLEET_MONITOR_ETCD)", "fleetctl (FLEET_MONITOR_FLEETCTL)"],
        ),
        (
            arguments(&["--etcd", "http://h:1", "--api", "http://h:2"]),
            ["etcd (--etcd)", "api (--api)"],
        ),
        // The user of etcd, who may have a password in its name, is named without it.
        (
            arguments(&["--source", "api", "--etcd-user", "u"]),
            ["source (--source)", "etcd_user (--etcd-user)"],
        ),
    ]
}

#[test]
fn conflicts_name_both_and_where_they_were_set() {
    for (places, [refused, other]) in conflicting() {
        let (key, origin) = refused.trim_end_matches(')').split_once(" (").unwrap();
        assert_eq!(places.refused()[0], pair(key, origin), "{places}");

        let problem = places.named(&places.load().unwrap_err().0[0].problem);
        let (key, origin) = other.trim_end_matches(')').split_once(" (").unwrap();
        assert!(
            problem.contains(&format!(" {key} = ")) && problem.contains(&format!(" ({origin})")),
            "{problem}"
        );
    }
}

#[test]
fn a_source_that_is_a_recording_needs_one() {
    assert_eq!(
        Places::new().arguments(&["--source", "replay"]).refused(),
        [pair("source", "--source")]
    );
}

#[test]
fn what_is_no_conflict_is_let_through() {
    for arguments in [
        &["--demo", "--source", "replay"] as &[&str],
        &["--replay", "f", "--source", "replay"],
        &["--replay", "f"],
        &["--source", "api", "--api", "http://10.0.0.1:49153"],
        &["--source", "fleetctl", "-e", "etcd"],
        &["--source", "etcd", "--record", "f"],
        &["--source", "etcd", "-e", "etcd", "--etcd-prefix", "/fleet"],
        &["--source", "etcd", "--etcd", "http://10.0.0.1:2379"],
        &["--source", "fleetctl", "--etcd-prefix", "/_coreos.com/fleet"],
        &["--demo", "--unit-freq", "1", "--grace", "1"],
    ] {
        assert!(Places::new().arguments(arguments).load().is_ok(), "{arguments:?}");
    }
    let switched_off = Places::new().variable("DEMO", "no").arguments(&["--replay", "f"]);
    assert!(switched_off.load().is_ok());
}
