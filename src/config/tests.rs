use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use clap::{CommandFactory, Parser};
use proptest::prelude::*;
use tempfile::TempDir;

use super::layers::OPTIONS;
use super::*;
use crate::source::api::Address;
use crate::source::selection::Request;

/// The three places, and a directory in which no default file is.
struct Places {
    cli: Cli,
    variables: BTreeMap<String, String>,
    directory: TempDir,
}

impl Places {
    fn new() -> Self {
        Self { cli: Cli::default(), variables: BTreeMap::new(), directory: TempDir::new().unwrap() }
    }

    fn arguments(mut self, arguments: &[&str]) -> Self {
        self.cli = Cli::try_parse_from(["fleet-monitor"].iter().chain(arguments)).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(format!("FLEET_MONITOR_{name}"), value.into());
        self
    }

    fn file(self, text: &str) -> Self {
        fs::write(self.path(), text).unwrap();
        self
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("fleet-monitor.toml")
    }

    fn load(&self) -> Result<(Config, Vec<Setting>), ConfigErrors> {
        load_over(&self.cli, &self.variables, &self.path())
    }

    fn config(&self) -> Config {
        self.load().unwrap().0
    }

    fn origin(&self, key: &str) -> String {
        let origin = self.load().unwrap().1.into_iter().find(|setting| setting.key == key).unwrap().origin;
        self.named(&origin)
    }

    /// The errors, with the file's path as `FILE`.
    fn errors(&self) -> Vec<String> {
        self.named(&self.load().unwrap_err().to_string()).lines().map(str::to_owned).collect()
    }

    fn named(&self, text: &str) -> String {
        text.replace(self.path().to_str().unwrap(), "FILE")
    }
}

fn defaults() -> Config {
    Places::new().config()
}

#[test]
fn the_defaults_are_as_documented() {
    let expected = Config {
        source: selection::Options {
            choice: SourceChoice::Auto,
            fleetctl: None,
            connection: Connection::Default,
            api: Address::Unix("/var/run/fleet.sock".into()),
            etcd_members: vec![],
            etcd_prefix: "/_coreos.com/fleet".into(),
            etcd_tls: Tls::default(),
            etcd_user: None,
            etcd_password_file: None,
            credentials: None,
            demo: false,
            replay: None,
            replay_speed: 1.0,
            machine_freq: Duration::from_secs(10),
            unit_freq: Duration::from_secs(2),
            poll_timeout: Duration::from_secs(10),
        },
        grace: Duration::from_secs(30),
        keep_lost: Duration::from_secs(3600),
        record: None,
        port: 8989,
        bind: None,
        publish: Publish::Changes,
        unit_fields: vec![UnitField::Unit, UnitField::Load, UnitField::Active, UnitField::Sub, UnitField::Machine],
        machine_fields: vec![MachineField::Machine, MachineField::Ip, MachineField::Metadata],
        metrics_units: vec![],
        allowed_origins: vec![],
        allowed_hosts: vec![],
        token_file: None,
        max_clients: 10_000,
        log: "info".into(),
        log_to: crate::telemetry::Target::Auto,
    };
    assert_eq!(defaults(), expected);
}

#[test]
fn every_option_is_a_flag_and_the_help_tells_its_default() {
    let command = Cli::command();
    let flags: BTreeSet<_> = command.get_arguments().map(|argument| argument.get_id().as_str()).collect();
    let keys = OPTIONS.iter().map(|(key, _)| *key).chain(["config", "check_config"]);
    assert_eq!(flags, keys.collect());
    let spellings = command.get_after_help().unwrap().to_string();
    assert!(spellings.contains("--config is not\nin the file, and --check-config only here"), "{spellings}");
    for &(key, default) in OPTIONS {
        let argument = command.get_arguments().find(|argument| argument.get_id() == key).unwrap();
        let help = argument.get_help().unwrap().to_string();
        match default {
            Some("false") => assert!(!help.contains("[default"), "{key}: {help}"),
            Some("") => assert!(help.ends_with("[default: none]"), "{key}: {help}"),
            Some(default) => assert!(help.ends_with(&format!("[default: {default}]")), "{key}: {help}"),
            None if key == "api" => assert!(help.ends_with(&format!("[default: {}]", Address::default())), "{help}"),
            None => {}
        }
    }
}

#[test]
fn the_help_lists_the_unit_fields() {
    let names: Vec<_> = UnitField::ALL.iter().map(|field| field.name()).collect();
    let command = Cli::command();
    let argument = command.get_arguments().find(|argument| argument.get_id() == "unit_fields").unwrap();
    assert!(argument.get_help().unwrap().to_string().contains(&names.join(", ")));
}

#[test]
fn a_stronger_place_wins() {
    let flag = ["--port", "1"];
    let all = || Places::new().file("\nport = 3").variable("PORT", "2").arguments(&flag);
    assert_eq!((all().config().port, all().origin("port").as_str()), (1, "--port"));

    let pairs = [
        (Places::new().arguments(&flag).variable("PORT", "2"), 1, "--port"),
        (Places::new().arguments(&flag).file("port = 3"), 1, "--port"),
        (Places::new().arguments(&flag), 1, "--port"),
        (Places::new().variable("PORT", "2").file("port = 3"), 2, "FLEET_MONITOR_PORT"),
        (Places::new().variable("PORT", "2"), 2, "FLEET_MONITOR_PORT"),
        (Places::new().file("\nport = 3"), 3, "FILE:2"),
        (Places::new(), 8989, "default"),
    ];
    for (places, port, origin) in pairs {
        assert_eq!((places.config().port, places.origin("port").as_str()), (port, origin));
    }
}

#[test]
fn text_and_numbers_are_the_same_in_the_file() {
    for file in ["port = 1\nunit_freq = 0.5\ndemo = true", "port = '1'\nunit_freq = '0.5'\ndemo = 'yes'"] {
        let config = Places::new().file(file).config();
        assert_eq!((config.port, config.source.unit_freq, config.source.demo), (1, Duration::from_millis(500), true));
    }
}

#[test]
fn lists_are_arrays_or_text_with_commas() {
    let expected = vec![UnitField::Unit, UnitField::Verdict];
    for places in [
        Places::new().file("unit_fields = ['unit', 'verdict']"),
        Places::new().file("unit_fields = 'unit, verdict'"),
        Places::new().variable("UNIT_FIELDS", "unit,verdict"),
        Places::new().arguments(&["--unit-fields", "unit,verdict"]),
    ] {
        assert_eq!(places.config().unit_fields, expected);
    }
    let emptied = Places::new().file("allowed_hosts = ['a']").arguments(&["--allowed-hosts", ""]);
    assert_eq!(emptied.config().allowed_hosts, Vec::<String>::new());
}

#[test]
fn an_empty_variable_is_not_set() {
    let places = Places::new().variable("PORT", "").variable("CONFIG", "").file("port = 3");
    assert_eq!(places.config().port, 3);
}

#[test]
fn an_error_names_key_value_and_origin_in_each_place() {
    let expected = "expected seconds, such as 2 or 0.5 (more than 0, at most a day)";
    let places = [
        (Places::new().arguments(&["--unit-freq", "fast"]), "--unit-freq"),
        (Places::new().variable("UNIT_FREQ", "fast"), "FLEET_MONITOR_UNIT_FREQ"),
        (Places::new().file("unit_freq = 'fast'"), "FILE:1"),
    ];
    for (places, origin) in places {
        assert_eq!(places.errors(), [format!("unit_freq = \"fast\" ({origin}): {expected}")]);
    }
}

#[test]
fn impossible_values_are_refused() {
    let port = "expected a port from 0 to 65535 (0: any that is free)";
    let remote_port = "expected a port from 1 to 65535";
    let seconds = "expected seconds, such as 2 or 0.5 (more than 0, at most a day)";
    let or_off = "expected seconds, such as 30 or 0.5 (0: off, at most a day)";
    let directory = "expected a directory in etcd, such as /_coreos.com/fleet";
    let factor = "expected a factor, such as 10 or 0.5 (from 0.001 to 1000000)";
    let path = "expected the path of a file";
    let host = "expected the name or address of a host";
    let alone = |flag| format!("expected a host alone, without scheme or port; {flag} sets the port");
    let endpoint = alone("--endpoint-port");
    let tunnel = alone("--tunnel-port");
    let origins = "expected origins, such as https://ops.example.com or http://10.0.0.1:8000, or *";
    let hosts = "expected names of hosts, without a port, or *";
    let unit_fields = |name: &str| {
        format!(
            "\"{name}\" is not a field; expected unit, load, active, sub, machine, hash, dstate, target, global, desc, \
             verdict"
        )
    };
    let cases = [
        ("port", "70000", port),
        ("port", "-1", port),
        ("endpoint_port", "0", remote_port),
        ("tunnel_port", "ssh", remote_port),
        ("bind", "localhost", "expected an IP address, such as 127.0.0.1 or ::"),
        ("fleetctl", "", "expected a command, such as /usr/bin/fleetctl"),
        ("unit_freq", "0", seconds),
        ("unit_freq", "-2", seconds),
        ("unit_freq", "NaN", seconds),
        ("unit_freq", "inf", seconds),
        ("unit_freq", "86401", seconds),
        ("unit_freq", "1e-12", seconds),
        ("machine_freq", "10s", seconds),
        ("poll_timeout", "0", seconds),
        ("grace", "-1", or_off),
        ("grace", "NaN", or_off),
        ("replay_speed", "0", factor),
        ("replay_speed", "inf", factor),
        ("demo", "maybe", "expected true or false"),
        ("record", "", path),
        ("token_file", "", path),
        ("endpoint", "http://etcd.example.com:4001", endpoint.as_str()),
        ("endpoint", "etcd.example.com:4001", endpoint.as_str()),
        ("tunnel", "[::1]:22", tunnel.as_str()),
        ("endpoint", "-oProxyCommand", host),
        ("tunnel", "core@10.0.0.1", host),
        ("endpoint", "core-01%eth0", host),
        ("bind", "[10.0.0.1]", "expected an IP address, such as 127.0.0.1 or ::"),
        ("tunnel", "", host),
        ("source", "docker", "expected one of auto, fleetctl, api, etcd, replay"),
        ("publish", "never", "expected one of changes, polls"),
        ("log_to", "syslog", "expected one of auto, journal, stderr"),
        ("api", "http://10.0.0.1", "it needs a port, as in http://127.0.0.1:49153"),
        ("api", "http://10.0.0.1:80/fleet/v1", "only a host and a port may follow http://"),
        ("api", "https://10.0.0.1", "fleet speaks no TLS; use http://HOST:PORT"),
        ("api", "unix://fleet.sock", "the path must be absolute, as in unix:///var/run/fleet.sock"),
        ("api", "/var/run/fleet.sock", "expected unix:///PATH or http://HOST:PORT"),
        ("etcd", "", "expected at least one member, such as http://127.0.0.1:2379"),
        ("etcd", "10.0.0.1:2379", "expected http://HOST:PORT or https://HOST:PORT"),
        ("etcd", "http://10.0.0.1:2379,", "expected http://HOST:PORT or https://HOST:PORT"),
        ("etcd", "http://10.0.0.1:2379,https://10.0.0.2", "it needs a port, as in http://127.0.0.1:2379"),
        (
            "etcd",
            "http://10.0.0.1:2379,http://root:secret@10.0.0.2:2379",
            "no user and password may be in it: --etcd-user NAME, with the password in --etcd-password-file FILE",
        ),
        ("etcd", "http://10.0.0.1:2379/v2/keys", "only a host and a port may follow the scheme"),
        ("etcd_prefix", "", directory),
        ("etcd_prefix", "/", directory),
        ("etcd_prefix", "_coreos.com/fleet", directory),
        ("etcd_prefix", "/_coreos.com//fleet", directory),
        ("etcd_prefix", "/_coreos.com/../fleet", directory),
        ("etcd_prefix", "/fleet?quorum=true", directory),
        ("etcd_prefix", "/fleet#", directory),
        ("etcd_prefix", "/my fleet", directory),
        ("etcd_prefix", "/fleet%20", directory),
        ("etcd_prefix", "/fleet\u{7}", directory),
        ("etcd_ca", "", path),
        ("etcd_cert", "", path),
        ("etcd_key", "", path),
        ("etcd_password_file", "", path),
        ("max_clients", "0", "expected a number from 1 to 1000000"),
        ("max_clients", "18446744073709551615", "expected a number from 1 to 1000000"),
        ("allowed_origins", "ops.example.com", origins),
        ("allowed_origins", "https://ops.example.com/", origins),
        ("allowed_origins", "https://*,", origins),
        ("allowed_hosts", "ops.example.com:8989", hosts),
        ("allowed_hosts", "a,,b", hosts),
        ("metrics_units", "a.service b.service", "expected names of units, such as web@*.service"),
        ("unit_fields", "", "expected at least one field"),
        ("unit_fields", "unit,unit", "\"unit\" is there twice"),
        ("unit_fields", "unit,colour", &unit_fields("colour")),
        ("machine_fields", "id", "\"id\" is not a field; expected machine, ip, metadata"),
        ("log", "", "expected a filter, such as info or info,fleet_monitor=debug"),
    ];
    for (key, value, problem) in cases {
        let flag = format!("--{}", key.replace('_', "-"));
        let in_file = Places::new().file(&format!("{key} = {}", serde_json::Value::from(value)));
        let errors = in_file.errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with(&format!("{key} = ")) && errors[0].ends_with(&format!(" (FILE:1): {problem}")),
            "{errors:?}"
        );
        if !value.is_empty() {
            let variable = key.to_uppercase();
            let errors = Places::new().variable(&variable, value).errors();
            assert!(errors[0].ends_with(&format!(" (FLEET_MONITOR_{variable}): {problem}")), "{errors:?}");
        }
        if key != "demo" {
            let errors = Places::new().arguments(&[&format!("{flag}={value}")]).errors();
            assert!(errors[0].ends_with(&format!(" ({flag}): {problem}")), "{errors:?}");
        }
    }
    let filter = Places::new().variable("LOG", "info,fleet_monitor=loud").errors();
    assert!(filter[0].contains("expected a filter"), "{filter:?}");
}

#[test]
fn wrong_kinds_are_refused() {
    let file = "port = [1, 2]\nunit_fields = { unit = true }\n[grace]\nseconds = 3\n";
    assert_eq!(
        Places::new().file(file).errors(),
        [
            "grace = {…} (FILE:3): expected a single value",
            "port = [1, 2] (FILE:1): expected a single value",
            r#"unit_fields = {…} (FILE:2): expected a list, such as ["a", "b"] or "a,b""#,
        ]
    );
}

#[test]
fn hosts_are_names_or_addresses() {
    for host in ["etcd.example.com", "10.0.0.1", "::1", "core-01"] {
        let etcd = Places::new().arguments(&["-e", host, "--endpoint-port", "2379"]).config().source.connection;
        assert_eq!(etcd, Connection::Etcd { host: host.into(), port: 2379 });
        let tunnel = Places::new().arguments(&["-t", host]).config().source.connection;
        assert_eq!(tunnel, Connection::Tunnel { host: host.into(), port: 22 });
    }
    for (text, host) in [("[::1]", "::1"), ("fe80::1%eth0", "fe80::1%eth0"), ("[fe80::1%eth0]", "fe80::1%eth0")] {
        let etcd = Places::new().arguments(&["-e", text]).config().source.connection;
        assert_eq!(etcd, Connection::Etcd { host: host.into(), port: 4001 });
        let tunnel = Places::new().arguments(&["-t", text]).config().source.connection;
        assert_eq!(tunnel, Connection::Tunnel { host: host.into(), port: 22 });
    }
    assert_eq!(Places::new().arguments(&["--bind", "[::1]"]).config().bind, Some("::1".parse().unwrap()));
    assert_eq!(Places::new().variable("ENDPOINT_PORT", "2379").config().source.connection, Connection::Default);
}

#[test]
fn origins_and_host_names_are_compared_in_lower_case() {
    let places = Places::new()
        .variable("ALLOWED_ORIGINS", "https://Ops.example.com,http://[::1]:8000, *")
        .variable("ALLOWED_HOSTS", "Monitor.example.com,*");
    let config = places.config();
    assert_eq!(config.allowed_origins, ["https://ops.example.com", "http://[::1]:8000", "*"]);
    assert_eq!(config.allowed_hosts, ["monitor.example.com", "*"]);
}

#[test]
fn conflicts_name_both_and_where_they_were_set() {
    let cases = [
        (
            Places::new().file("endpoint = 'etcd'").arguments(&["-t", "ssh"]),
            r#"endpoint = "etcd" (FILE:1): cannot be combined with tunnel = "ssh" (--tunnel)"#,
        ),
        (
            Places::new().arguments(&["--demo", "--replay", "f"]),
            r#"demo = true (--demo): cannot be combined with replay = "f" (--replay)"#,
        ),
        (
            Places::new().arguments(&["--demo", "--record", "f"]),
            r#"demo = true (--demo): cannot be combined with record = "f" (--record)"#,
        ),
        (
            Places::new().arguments(&["--replay", "f", "--record", "g"]),
            r#"replay = "f" (--replay): cannot be combined with record = "g" (--record)"#,
        ),
        (
            Places::new().arguments(&["--replay", "f", "--source", "api"]),
            r#"source = "api" (--source): cannot be combined with replay = "f" (--replay)"#,
        ),
        (
            Places::new().arguments(&["--demo", "--source", "fleetctl"]),
            r#"source = "fleetctl" (--source): cannot be combined with demo = true (--demo)"#,
        ),
        (
            Places::new().arguments(&["--source", "replay"]),
            r#"source = "replay" (--source): needs a recording: --replay FILE or --demo"#,
        ),
        (
            Places::new().arguments(&["--source", "api", "-c", "fleetctl"]),
            r#"source = "api" (--source): cannot be combined with fleetctl = "fleetctl" (--fleetctl)"#,
        ),
        (
            Places::new().variable("SOURCE", "api").variable("ENDPOINT", "etcd"),
            r#"source = "api" (FLEET_MONITOR_SOURCE): cannot be combined with endpoint = "etcd" (FLEET_MONITOR_ENDPOINT)"#,
        ),
        (
            Places::new().file("source = 'api'\ntunnel = 'ssh'"),
            r#"source = "api" (FILE:1): cannot be combined with tunnel = "ssh" (FILE:2)"#,
        ),
        (
            Places::new().file("api = 'http://h:1'\nsource = 'fleetctl'"),
            r#"source = "fleetctl" (FILE:2): cannot be combined with api = "http://h:1" (FILE:1)"#,
        ),
        (
            Places::new().file("api = 'http://h:1'\nsource = 'etcd'"),
            r#"source = "etcd" (FILE:2): cannot be combined with api = "http://h:1" (FILE:1)"#,
        ),
        (
            Places::new().arguments(&["--source", "etcd", "-c", "fleetctl", "-e", "etcd"]),
            r#"source = "etcd" (--source): cannot be combined with fleetctl = "fleetctl" (--fleetctl)"#,
        ),
        (
            Places::new().variable("SOURCE", "etcd").variable("TUNNEL", "ssh"),
            r#"source = "etcd" (FLEET_MONITOR_SOURCE): cannot be combined with tunnel = "ssh" (FLEET_MONITOR_TUNNEL)"#,
        ),
        (
            Places::new().arguments(&["--source", "etcd", "--demo"]),
            r#"source = "etcd" (--source): cannot be combined with demo = true (--demo)"#,
        ),
        (
            Places::new().arguments(&["--source", "etcd", "--replay", "f"]),
            r#"source = "etcd" (--source): cannot be combined with replay = "f" (--replay)"#,
        ),
        (
            Places::new().arguments(&["--source", "fleetctl", "--etcd", "http://h:1"]),
            r#"source = "fleetctl" (--source): cannot be combined with etcd = "http://h:1" (--etcd)"#,
        ),
        (
            Places::new().variable("SOURCE", "api").variable("ETCD_PREFIX", "/fleet"),
            r#"source = "api" (FLEET_MONITOR_SOURCE): cannot be combined with etcd_prefix = "/fleet" (FLEET_MONITOR_ETCD_PREFIX)"#,
        ),
        (
            Places::new().arguments(&["--etcd", "http://h:1", "-e", "etcd"]),
            r#"etcd = "http://h:1" (--etcd): cannot be combined with endpoint = "etcd" (--endpoint)"#,
        ),
        (
            Places::new().file("etcd = ['http://h:1', 'http://h:2']\ntunnel = 'ssh'"),
            r#"etcd = ["http://h:1", "http://h:2"] (FILE:1): cannot be combined with tunnel = "ssh" (FILE:2)"#,
        ),
        (
            Places::new().variable("ETCD", "http://h:1").variable("FLEETCTL", "f"),
            r#"etcd = "http://h:1" (FLEET_MONITOR_ETCD): cannot be combined with fleetctl = "f" (FLEET_MONITOR_FLEETCTL)"#,
        ),
        (
            Places::new().arguments(&["--etcd", "http://h:1", "--api", "http://h:2"]),
            r#"etcd = "http://h:1" (--etcd): cannot be combined with api = "http://h:2" (--api)"#,
        ),
    ];
    for (places, error) in cases {
        assert_eq!(places.errors(), [error]);
    }
}

#[test]
fn a_stronger_choice_of_the_source_wins() {
    /// What is asked for, and what fleetctl is told.
    fn left(places: &Places) -> (Request, Connection) {
        let options = places.config().source;
        (options.request(), options.connection)
    }
    let endpoint = || Connection::Etcd { host: "etcd".into(), port: 4001 };
    let etcd = |members: &[&str]| Request::Etcd(members.iter().map(|member| member.parse().unwrap()).collect());
    let etcd_or_fleetctl = || Request::EtcdOrFleetctl("http://etcd:4001".parse().unwrap());
    let files = [
        "source = 'api'\napi = 'http://h:1'",
        "source = 'fleetctl'\nendpoint = 'etcd'",
        "tunnel = 'ssh'",
        "fleetctl = 'f'\nrecord = 'r'",
        "demo = true",
        "replay = 'f'",
        "etcd = ['https://h:1']\netcd_ca = 'c'\netcd_prefix = '/p'",
        "source = 'etcd'",
    ];
    for (arguments, expected) in [
        (&["--demo"] as &[&str], Request::Demo),
        (&["--replay", "g"], Request::Replay("g".into())),
        (&["--source", "api"], Request::Api),
        (&["--api", "http://g:1"], Request::Api),
    ] {
        for file in files {
            let places = Places::new().file(file).arguments(arguments);
            assert_eq!(left(&places), (expected.clone(), Connection::Default), "{arguments:?} over {file}");
            if let [option, value] = arguments {
                let places = Places::new().file(file).variable(&option[2..].to_uppercase(), value);
                let expected = (expected.clone(), Connection::Default);
                assert_eq!(left(&places), expected, "{option} in the environment over {file}");
            }
        }
    }
    let members = "etcd = 'https://h:1'\netcd_cert = 'c'\netcd_key = 'k'";
    for file in ["source = 'api'\napi = 'http://h:1'", "demo = true", "replay = 'f'", members] {
        let over = |arguments: &[&str]| left(&Places::new().file(file).arguments(arguments));
        assert_eq!(over(&["-e", "etcd"]), (etcd_or_fleetctl(), endpoint()), "{file}");
        assert_eq!(over(&["-c", "f"]).0, Request::FleetctlOption, "{file}");
        assert_eq!(over(&["--source", "fleetctl"]).0, Request::Fleetctl, "{file}");
    }
    for file in ["source = 'api'", "endpoint = 'etcd'", "tunnel = 'ssh'", "fleetctl = 'f'", "demo = true", members] {
        let members = Places::new().file(file).arguments(&["--etcd", "https://g:1"]);
        assert_eq!(left(&members), (etcd(&["https://g:1"]), Connection::Default), "{file}");
        let (source, _) = left(&Places::new().file(file).variable("SOURCE", "etcd"));
        assert!(matches!(source, Request::Etcd(_)), "{file}: {source:?}");
    }
    let kept = Places::new().file("source = 'etcd'\nrecord = 'r'\netcd_prefix = '/p'").arguments(&["-e", "etcd"]);
    assert_eq!((left(&kept), kept.config().record), ((etcd(&["http://etcd:4001"]), endpoint()), Some("r".into())));
    let told = Places::new().file("source = 'api'").arguments(&["--demo"]);
    assert_eq!(told.origin("source"), "default", "what does not count is not shown");
    let overridden = Places::new().file("endpoint = 'etcd'").variable("SOURCE", "api").arguments(&["--source", "auto"]);
    assert_eq!(left(&overridden), (etcd_or_fleetctl(), endpoint()), "an overridden choice decides nothing");
}

#[test]
fn what_is_no_conflict_is_let_through() {
    for arguments in [
        &["--demo", "--source", "replay"] as &[&str],
        &["--replay", "f", "--source", "replay"],
        &["--replay", "f"],
        &["--source", "api", "--api", "http://10.0.0.1:49153"],
        &["--source", "fleetctl", "-e", "etcd"],
        &["--demo", "-e", "etcd"],
        &["--source", "etcd", "--record", "f"],
        &["--source", "etcd", "-e", "etcd", "--etcd-prefix", "/fleet"],
        &["--source", "etcd", "--etcd", "http://10.0.0.1:2379"],
        &["--source", "fleetctl", "--etcd-prefix", "/_coreos.com/fleet"],
        &["--demo", "--etcd", "http://10.0.0.1:2379"],
    ] {
        assert!(Places::new().arguments(arguments).load().is_ok(), "{arguments:?}");
    }
    let switched_off = Places::new().variable("DEMO", "no").arguments(&["--replay", "f"]);
    assert!(switched_off.load().is_ok());
}

#[test]
fn unknown_keys_are_refused_with_what_may_have_been_meant() {
    let places = Places::new()
        .file("prot = 1\n'unit-freq' = 2\ncolour = 'red'\n[server]\nport = 1\n")
        .variable("UNIT_FRQ", "1")
        .variable("FOO", "")
        .variable("TOKEN", "geheim");
    assert_eq!(
        places.errors(),
        [
            "colour (FILE:3): unknown option",
            "prot (FILE:1): unknown option; did you mean port?",
            "server (FILE:4): unknown option",
            "unit-freq (FILE:2): unknown option; did you mean unit_freq?",
            "foo (FLEET_MONITOR_FOO): unknown option",
            "token (FLEET_MONITOR_TOKEN): unknown option; did you mean FLEET_MONITOR_TOKEN_FILE?",
            "unit_frq (FLEET_MONITOR_UNIT_FRQ): unknown option; did you mean FLEET_MONITOR_UNIT_FREQ?",
        ]
    );
}

#[test]
fn all_errors_are_told_at_once() {
    let places = Places::new().file("machine_freq = 'slow'\nsorce = 'api'").variable("PORT", "http").arguments(&[
        "--unit-freq",
        "fast",
        "--demo",
        "--replay",
        "f",
    ]);
    let keys: Vec<_> = places.load().unwrap_err().0.into_iter().map(|error| error.key.unwrap()).collect();
    assert_eq!(keys, ["sorce", "machine_freq", "unit_freq", "port", "demo"]);
}

#[test]
fn credentials_and_unknown_values_are_not_printed() {
    let places = Places::new().file(
        "token = 'geheim'\nendpoint = 'http://core:geheim@etcd'\nallowed_origins = ['https://a:geheim@b']\n\
         api = 'http://core:geheim@10.0.0.1'",
    );
    let errors = places.errors();
    assert_eq!(errors.len(), 4);
    assert!(errors.iter().all(|error| !error.contains("geheim")), "{errors:?}");
    for members in ["['http://a:1', 'http://root:geheim@b:1']", "'http://root:geheim@a:1,http://root:geheim@b:1'"] {
        let errors = Places::new().file(&format!("etcd = {members}")).errors();
        assert!(!errors[0].contains("geheim"), "{errors:?}");
    }
    assert!(!Places::new().file("token = 'geheim").errors()[0].contains("geheim"));
}

#[test]
fn a_user_of_etcd_has_no_password_in_its_name_and_no_error_shows_one() {
    let alone = "etcd_user (--etcd-user): expected a user's name alone; its password is in --etcd-password-file FILE";
    let with_password = ["--etcd", "http://a:1", "--etcd-user", "root:geheim"];
    assert_eq!(Places::new().arguments(&with_password).errors(), [alone]);
    let name = "etcd_user (--etcd-user): expected the name of a user of etcd";
    assert_eq!(Places::new().arguments(&["--etcd", "http://a:1", "--etcd-user", ""]).errors(), [name]);

    for places in [
        Places::new().arguments(&["--source", "api", "--etcd-user", "root:geheim"]),
        Places::new().arguments(&["--etcd", "root:geheim@etcd:2379"]),
        Places::new().arguments(&["-e", "root:geheim@etcd"]),
        Places::new().file("etcd_password = 'geheim'"),
        Places::new().variable("ETCD_PASSWORD", "geheim"),
    ] {
        let errors = places.errors();
        assert!(errors.iter().all(|error| !error.contains("geheim")), "{errors:?}");
    }
}

#[test]
fn a_user_of_etcd_needs_an_etcd_and_a_password_needs_a_user() {
    let no_etcd = r"etcd_user (--etcd-user): needs an etcd that is watched: --etcd http://HOST:PORT";
    assert_eq!(Places::new().arguments(&["--etcd-user", "u", "--etcd-password-file", "f"]).errors(), [no_etcd]);
    let no_user =
        r#"etcd_password_file = "f" (--etcd-password-file): needs the user whose password it is: --etcd-user NAME"#;
    let lonely = ["--etcd", "http://a:1", "--etcd-password-file", "f"];
    assert_eq!(Places::new().arguments(&lonely).errors(), [no_user]);

    for etcd in [["--etcd", "http://a:1"], ["-e", "a"], ["--source", "etcd"]] {
        assert!(Places::new().arguments(&[&etcd[..], &["--etcd-user", "u"]].concat()).load().is_ok());
    }
    // Another source that was asked for in a stronger place needs neither.
    let file = "etcd = ['http://a:1']\netcd_user = 'u'\netcd_password_file = 'f'";
    for other in [&["--demo"] as &[&str], &["-t", "ssh"], &["--api", "http://h:1"]] {
        assert_eq!(Places::new().file(file).arguments(other).config().source.etcd_user, None, "{other:?}");
    }
}

#[test]
fn the_default_file_may_be_absent_but_a_named_one_not() {
    assert!(Places::new().load().is_ok());
    let named = [
        (Places::new().arguments(&["--config", "/nowhere/f"]), "--config"),
        (Places::new().variable("CONFIG", "/nowhere/f"), "FLEET_MONITOR_CONFIG"),
    ];
    for (places, origin) in named {
        let expected =
            format!("config = \"/nowhere/f\" ({origin}): cannot be read: No such file or directory (os error 2)");
        assert_eq!(places.errors(), [expected]);
    }
    let places = Places::new();
    fs::create_dir(places.path()).unwrap();
    assert_eq!(places.errors(), ["FILE: cannot be read: Is a directory (os error 21)"]);
}

#[test]
fn a_named_file_is_read_instead_of_the_default_one() {
    let places = Places::new().file("port = 3");
    let other = places.directory.path().join("other.toml");
    fs::write(&other, "port = 4").unwrap();
    let other = other.to_str().unwrap().to_owned();
    let places = places.variable("CONFIG", &other);
    assert_eq!(places.config().port, 4);
    let places = places.variable("CONFIG", "/nowhere/f").arguments(&["--config", &other]);
    assert_eq!(places.config().port, 4);
}

#[test]
fn a_syntax_error_names_line_and_column() {
    let places = Places::new().file("port = 1\ngrace = = 2\n").variable("PORT", "http");
    let errors = places.errors();
    assert!(errors[0].starts_with("FILE:2:9: "), "{errors:?}");
    assert_eq!(errors.len(), 2, "the other places are still judged: {errors:?}");
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused_if_it_is_ours() {
    let broken = || OsString::from_vec(vec![0xff]);
    let variables = [("PATH".into(), broken()), ("FLEET_MONITOR_PORT".into(), "1".into())];
    let expected = BTreeMap::from([("FLEET_MONITOR_PORT".into(), "1".into())]);
    assert_eq!(environment(variables).unwrap().variables, expected);
    let errors = environment([("FLEET_MONITOR_LOG".into(), broken())]).unwrap_err();
    assert_eq!(errors.to_string(), "FLEET_MONITOR_LOG: is not UTF-8");
}

#[test]
fn the_report_tells_value_and_origin() {
    let places = Places::new().file("machine_freq = 5").variable("UNIT_FREQ", "0.5").arguments(&["-e", "etcd"]);
    let report = places.named(&report(&places.load().unwrap().1));
    for line in [
        "# fleetctl is not set",
        r"machine_freq    = 5                             # FILE:1",
        r"unit_freq       = 0.5                           # FLEET_MONITOR_UNIT_FREQ",
        r#"endpoint        = "etcd"                        # --endpoint"#,
        r#"machine_fields  = ["machine", "ip", "metadata"] # default"#,
        r"demo            = false                         # default",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(report.lines().any(|found| squeezed(found) == squeezed(line)), "no {line} in:\n{report}");
    }
    let comments: BTreeSet<_> =
        report.lines().filter(|line| !line.contains("unit_fields")).filter_map(|line| line.find("  # ")).collect();
    assert_eq!(comments.len(), 1, "not aligned:\n{report}");
    let keys: BTreeSet<_> = places.load().unwrap().1.iter().map(|setting| setting.key).collect();
    assert_eq!(keys, OPTIONS.iter().map(|(key, _)| *key).collect());
}

/// What [`report`] prints is a file with the same effect.
fn assert_round_trip(places: &Places) {
    let (config, settings) = places.load().unwrap();
    let again = Places::new().file(&report(&settings));
    assert_eq!(again.config(), config, "{}", report(&settings));
}

#[test]
fn the_report_is_a_file_with_the_same_effect() {
    assert_round_trip(&Places::new());
    assert_round_trip(&Places::new().arguments(&["--source", "fleetctl"]));
    assert_round_trip(&Places::new().arguments(&["--api", "http://10.0.0.1:49153"]));
    assert_round_trip(&Places::new().arguments(&["--source", "etcd", "-e", "etcd", "--etcd-prefix", "/fleet/"]));
    assert_round_trip(
        &Places::new()
            .variable("ETCD", "https://10.0.0.1:2379, http://[::1]:2379")
            .variable("ETCD_CA", "ca.pem")
            .variable("ETCD_CERT", "c.pem")
            .variable("ETCD_KEY", "k.pem"),
    );
    assert_round_trip(&Places::new().arguments(&["--demo", "--unit-freq", ".5", "--grace", "1e1", "--port", "010"]));
    assert_round_trip(
        &Places::new()
            .variable("RECORD", "C:\\tab\t\"quoted\"\u{7f}\u{1}\nline # no comment")
            .variable("TOKEN_FILE", "9223372036854775808")
            .variable("FLEETCTL", "NaN")
            .variable("METRICS_UNITS", "web@*.service, \"odd\".service")
            .variable("ALLOWED_ORIGINS", "*")
            .variable("LOG", "info,fleet_monitor=debug")
            .variable("TUNNEL", "::1")
            .variable("BIND", "::1")
            .variable("UNIT_FIELDS", "verdict,unit"),
    );
}

proptest! {
    #[test]
    fn no_text_makes_any_option_panic(index in 0..OPTIONS.len(), text in "\\PC*|[-+0-9.eE]*|[a-z,=:/@*\\[\\]{}]*") {
        let key = OPTIONS[index].0;
        let places = Places::new().variable(&key.to_uppercase(), &text);
        match places.load() {
            Ok(_) => assert_round_trip(&places),
            Err(errors) => prop_assert!(errors.0.iter().any(|error| error.key.as_deref() == Some(key))),
        }
    }

    #[test]
    fn no_file_makes_it_panic(text in "\\PC*|([a-z_]{1,8} = [-'\"\\[\\]{}0-9a-z,.]{0,8}\n){0,4}") {
        // Whether it is right is judged by the other tests.
        let _ = Places::new().file(&text).load();
    }

    #[test]
    fn any_time_is_reported_as_it_is(seconds in 1e-9..86_400.0f64) {
        assert_round_trip(&Places::new().variable("UNIT_FREQ", &seconds.to_string()));
    }
}

#[test]
fn the_options_of_etcd_are_the_same_in_each_place() {
    let tls = |name: &str| Some(PathBuf::from(name));
    let expected = selection::Options {
        etcd_members: ["https://a:1", "https://b:2"].map(|text| text.parse().unwrap()).to_vec(),
        etcd_prefix: "/registry/fleet".into(),
        etcd_tls: Tls { ca: tls("ca.pem"), cert: tls("c.pem"), key: tls("k.pem") },
        etcd_user: Some("monitor".into()),
        etcd_password_file: Some("p".into()),
        poll_timeout: Duration::from_secs(3),
        ..defaults().source
    };
    let options = [
        ("etcd", "https://a:1,https://b:2"),
        ("etcd_prefix", "/registry/fleet/"),
        ("etcd_ca", "ca.pem"),
        ("etcd_cert", "c.pem"),
        ("etcd_key", "k.pem"),
        ("etcd_user", "monitor"),
        ("etcd_password_file", "p"),
        ("poll_timeout", "3"),
    ];
    let flags = options.map(|(key, value)| format!("--{}={value}", key.replace('_', "-")));
    let places = [
        (Places::new().arguments(&flags.each_ref().map(String::as_str)), "--etcd", "--etcd-prefix"),
        (
            options.iter().fold(Places::new(), |places, (key, value)| places.variable(&key.to_uppercase(), value)),
            "FLEET_MONITOR_ETCD",
            "FLEET_MONITOR_ETCD_PREFIX",
        ),
        (Places::new().file(&options.map(|(key, value)| format!("{key} = '{value}'\n")).concat()), "FILE:1", "FILE:2"),
    ];
    for (places, etcd, prefix) in places {
        assert_eq!(places.config().source, expected, "{etcd}");
        assert_eq!((places.origin("etcd").as_str(), places.origin("etcd_prefix").as_str()), (etcd, prefix));
    }
    let array = Places::new().file("etcd = ['https://a:1', 'https://b:2']");
    assert_eq!(array.config().source.etcd_members, expected.etcd_members);
}

#[test]
fn files_for_tls_need_tls_and_one_another() {
    let tls = "needs an etcd that is asked over TLS: --etcd https://HOST:PORT";
    for key in ["etcd_ca", "etcd_cert", "etcd_key"] {
        let (flag, variable) = (format!("--{}", key.replace('_', "-")), key.to_uppercase());
        for (places, origin) in [
            (Places::new().arguments(&["--etcd", "http://a:1,http://b:2", &flag, "f"]), flag.clone()),
            (Places::new().variable("ENDPOINT", "etcd").variable(&variable, "f"), format!("FLEET_MONITOR_{variable}")),
            (Places::new().file(&format!("source = 'etcd'\n{key} = 'f'")), "FILE:2".into()),
        ] {
            assert_eq!(places.errors()[0], format!("{key} = \"f\" ({origin}): {tls}"));
        }
    }
    let asked = || Places::new().file("etcd = ['http://a:1', 'https://b:2']");
    assert!(asked().arguments(&["--etcd-ca", "f"]).load().is_ok(), "one of them is asked over TLS");
    assert_eq!(
        asked().arguments(&["--etcd-cert", "f"]).errors(),
        [r#"etcd_cert = "f" (--etcd-cert): needs its private key: --etcd-key FILE"#]
    );
    assert_eq!(
        asked().variable("ETCD_KEY", "f").errors(),
        [r#"etcd_key = "f" (FLEET_MONITOR_ETCD_KEY): needs its certificate: --etcd-cert FILE"#]
    );
}

#[test]
fn a_services_variables_set_no_option_and_the_others_still_do() {
    let address = || OsString::from("tcp://10.0.0.1:8989");
    let variables = [
        ("FLEET_MONITOR_PORT".into(), address()),
        ("FLEET_MONITOR_ENV_BLOB".into(), OsString::from_vec(vec![0xff])),
        ("FLEET_MONITOR_PRT".into(), address()),
        ("FLEET_MONITOR_UNIT_FREQ".into(), "5".into()),
    ];
    let environment = environment(variables).unwrap();
    let notice =
        "ignored, since Kubernetes or docker sets them for a service: FLEET_MONITOR_ENV_BLOB, FLEET_MONITOR_PORT";
    assert_eq!(environment.ignored().as_deref(), Some(notice));
    assert_eq!(Environment::default().ignored(), None);

    let mut places = Places { variables: environment.variables, ..Places::new() };
    assert_eq!(places.errors(), ["prt (FLEET_MONITOR_PRT): unknown option; did you mean FLEET_MONITOR_PORT?"]);
    places.variables.remove("FLEET_MONITOR_PRT");
    assert_eq!((places.config().port, places.config().source.unit_freq), (8989, Duration::from_secs(5)));
}

#[test]
fn quotation_marks_around_a_value_are_named() {
    let problem = "has quotation marks around it; write it without them";
    for (places, shown) in [
        (Places::new().variable("PORT", "\"8989\""), "port = \"\\\"8989\\\"\" (FLEET_MONITOR_PORT)"),
        (
            Places::new().variable("FLEETCTL", "'/bin/fleetctl'"),
            "fleetctl = \"'/bin/fleetctl'\" (FLEET_MONITOR_FLEETCTL)",
        ),
        (Places::new().variable("ENDPOINT", "\"\""), "endpoint = \"\\\"\\\"\" (FLEET_MONITOR_ENDPOINT)"),
        (
            Places::new().variable("ALLOWED_HOSTS", "\"a,b\""),
            "allowed_hosts = \"\\\"a,b\\\"\" (FLEET_MONITOR_ALLOWED_HOSTS)",
        ),
        (Places::new().file("metrics_units = ['a', '\"b\"']"), "metrics_units = [\"a\", \"\\\"b\\\"\"] (FILE:1)"),
        (Places::new().file("record = \"'f'\""), "record = \"'f'\" (FILE:1)"),
        (Places::new().arguments(&["--log", "'info'"]), "log = \"'info'\" (--log)"),
        (Places::new().variable("CONFIG", "'/etc/f'"), "config = \"'/etc/f'\" (FLEET_MONITOR_CONFIG)"),
        (Places::new().arguments(&["--config", "\"f\""]), "config = \"\\\"f\\\"\" (--config)"),
    ] {
        assert_eq!(places.errors(), [format!("{shown}: {problem}")]);
    }
}

#[test]
fn a_quotation_mark_at_one_end_is_part_of_the_value() {
    let places = Places::new().variable("TOKEN_FILE", "'").variable("RECORD", "\"a'");
    assert_eq!(places.config().token_file, Some("'".into()));
    assert_eq!(places.config().record, Some("\"a'".into()));
}
