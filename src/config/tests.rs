use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use clap::{CommandFactory, Parser};
use proptest::prelude::*;
use tempfile::TempDir;

use super::layers::OPTIONS;
use super::*;
use crate::server::access::AllowedHost;
use crate::snapshots::{assert_catalogue, assert_text};
use crate::source::api::Address;
use crate::source::selection::Request;

/// The three places, and a directory in which no default file is.
struct Places {
    arguments: String,
    cli: Cli,
    variables: BTreeMap<String, String>,
    directory: TempDir,
}

impl Places {
    fn new() -> Self {
        Self {
            arguments: String::new(),
            cli: Cli::default(),
            variables: BTreeMap::new(),
            directory: TempDir::new().unwrap(),
        }
    }

    fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.join(" ");
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
        let origin = self
            .load()
            .unwrap()
            .1
            .into_iter()
            .find(|setting| setting.key == key)
            .unwrap()
            .origin;
        self.named(&origin)
    }

    /// All that is wrong, for people.
    fn complaint(&self) -> String {
        self.named(&self.load().unwrap_err().to_string())
    }

    /// What is wrong: of each error the key and the origin.
    fn refused(&self) -> Vec<(String, String)> {
        let errors = self.load().unwrap_err().0.into_iter();
        errors
            .map(|error| (error.key.unwrap_or_default(), self.named(&error.origin)))
            .collect()
    }

    /// With the file's path as `FILE`.
    fn named(&self, text: &str) -> String {
        text.replace(self.path().to_str().unwrap(), "FILE")
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments = Some(self.arguments.clone()).filter(|arguments| !arguments.is_empty());
        let variables = self.variables.iter().map(|(name, value)| format!("{name}={value}"));
        let file = fs::read_to_string(self.path()).unwrap_or_default();
        let lines = file.lines().map(|line| format!("FILE: {line}"));
        let directory = self.path().is_dir().then(|| "FILE is a directory".to_owned());

        let given: Vec<String> = arguments
            .into_iter()
            .chain(variables)
            .chain(lines)
            .chain(directory)
            .collect();
        f.write_str(&given.join("\n"))
    }
}

fn pair(key: &str, origin: &str) -> (String, String) {
    (key.to_owned(), origin.to_owned())
}

fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

fn variable(key: &str) -> String {
    format!("FLEET_MONITOR_{}", key.to_uppercase())
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
        unit_fields: vec![
            UnitField::Unit,
            UnitField::Load,
            UnitField::Active,
            UnitField::Sub,
            UnitField::Machine,
        ],
        machine_fields: vec![MachineField::Machine, MachineField::Ip, MachineField::Metadata],
        metrics_units: vec![],
        allowed_origins: vec![],
        allowed_hosts: vec![],
        token_file: None,
        max_clients: 10_000,
        log: "info".parse().unwrap(),
        log_to: crate::telemetry::LogTarget::Auto,
    };
    assert_eq!(defaults(), expected);
}

#[test]
fn every_option_is_a_flag_and_the_help_tells_its_default() {
    let command = Cli::command();
    let flags: BTreeSet<_> = command
        .get_arguments()
        .map(|argument| argument.get_id().as_str())
        .collect();
    let keys = OPTIONS.iter().map(|(key, _)| *key).chain(["config", "check_config"]);
    assert_eq!(flags, keys.collect());
    for &(key, default) in OPTIONS {
        let argument = command
            .get_arguments()
            .find(|argument| argument.get_id() == key)
            .unwrap();
        let help = argument.get_help().unwrap().to_string();
        match default {
            Some("false") => assert!(!help.contains("[default"), "{key}: {help}"),
            Some("") => assert!(help.ends_with("[default: none]"), "{key}: {help}"),
            Some(default) => {
                assert!(help.ends_with(&format!("[default: {default}]")), "{key}: {help}");
            }
            None if key == "api" => {
                assert!(help.ends_with(&format!("[default: {}]", Address::default())), "{help}");
            }
            None => {}
        }
    }
}

#[test]
fn the_help_lists_the_unit_fields() {
    let names: Vec<_> = UnitField::ALL.iter().map(|field| field.name()).collect();
    let command = Cli::command();
    let argument = command
        .get_arguments()
        .find(|argument| argument.get_id() == "unit_fields")
        .unwrap();
    assert!(argument.get_help().unwrap().to_string().contains(&names.join(", ")));
}

#[test]
fn a_stronger_place_wins() {
    let flag = ["--port", "1"];
    let all = || {
        Places::new()
            .file("\nport = 3")
            .variable("PORT", "2")
            .arguments(&flag)
    };
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
    for file in [
        "port = 1\nunit_freq = 0.5\ndemo = true",
        "port = '1'\nunit_freq = '0.5'\ndemo = 'yes'",
    ] {
        let config = Places::new().file(file).config();
        assert_eq!(
            (config.port, config.source.unit_freq, config.source.demo),
            (1, Duration::from_millis(500), true)
        );
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
    let emptied = Places::new()
        .file("allowed_hosts = ['a']")
        .arguments(&["--allowed-hosts", ""]);
    assert_eq!(emptied.config().allowed_hosts, []);
}

#[test]
fn an_empty_variable_is_not_set() {
    let places = Places::new()
        .variable("PORT", "")
        .variable("CONFIG", "")
        .file("port = 3");
    assert_eq!(places.config().port, 3);
}

/// The same wrong value in each place.
fn in_each_place() -> [Places; 3] {
    [
        Places::new().arguments(&["--unit-freq", "fast"]),
        Places::new().variable("UNIT_FREQ", "fast"),
        Places::new().file("unit_freq = 'fast'"),
    ]
}

#[test]
fn an_error_names_key_value_and_origin_in_each_place() {
    for (places, origin) in
        in_each_place()
            .iter()
            .zip(["--unit-freq", "FLEET_MONITOR_UNIT_FREQ", "FILE:1"])
    {
        assert_eq!(places.refused(), [pair("unit_freq", origin)]);
        let complaint = places.complaint();
        assert!(
            complaint.starts_with(&format!("unit_freq = \"fast\" ({origin}): ")),
            "{complaint}"
        );
    }
}

/// Values that no option can have.
const IMPOSSIBLE: [(&str, &str); 71] = [
    ("fleetctl", ""),
    ("machine_freq", "10s"),
    ("unit_freq", "0"),
    ("unit_freq", "-2"),
    ("unit_freq", "NaN"),
    ("unit_freq", "inf"),
    ("unit_freq", "86401"),
    ("unit_freq", "1e-12"),
    ("endpoint", "http://etcd.example.com:4001"),
    ("endpoint", "etcd.example.com:4001"),
    ("endpoint", "-oProxyCommand"),
    ("endpoint", "core-01%eth0"),
    ("endpoint_port", "0"),
    ("tunnel", ""),
    ("tunnel", "[::1]:22"),
    ("tunnel", "core@10.0.0.1"),
    ("tunnel_port", "ssh"),
    ("source", "docker"),
    ("api", "http://10.0.0.1"),
    ("api", "http://10.0.0.1:80/fleet/v1"),
    ("api", "https://10.0.0.1"),
    ("api", "unix://fleet.sock"),
    ("api", "/var/run/fleet.sock"),
    ("api", "http://"),
    ("etcd", ""),
    ("etcd", "10.0.0.1:2379"),
    ("etcd", "http://10.0.0.1:2379,"),
    ("etcd", "http://10.0.0.1:2379,https://10.0.0.2"),
    ("etcd", "http://10.0.0.1:2379,http://root:secret@10.0.0.2:2379"),
    ("etcd", "http://10.0.0.1:2379/v2/keys"),
    ("etcd_prefix", ""),
    ("etcd_prefix", "/"),
    ("etcd_prefix", "_coreos.com/fleet"),
    ("etcd_prefix", "/_coreos.com//fleet"),
    ("etcd_prefix", "/_coreos.com/../fleet"),
    ("etcd_prefix", "/fleet?quorum=true"),
    ("etcd_prefix", "/fleet#"),
    ("etcd_prefix", "/my fleet"),
    ("etcd_prefix", "/fleet%20"),
    ("etcd_prefix", "/fleet\u{7}"),
    ("etcd_ca", ""),
    ("etcd_cert", ""),
    ("etcd_key", ""),
    ("etcd_password_file", ""),
    ("poll_timeout", "0"),
    ("grace", "-1"),
    ("grace", "NaN"),
    ("demo", "maybe"),
    ("record", ""),
    ("replay_speed", "0"),
    ("replay_speed", "inf"),
    ("port", "70000"),
    ("port", "-1"),
    ("bind", "localhost"),
    ("bind", "[10.0.0.1]"),
    ("publish", "never"),
    ("unit_fields", ""),
    ("unit_fields", "unit,unit"),
    ("unit_fields", "unit,colour"),
    ("machine_fields", "id"),
    ("metrics_units", "a.service b.service"),
    ("allowed_origins", "ops.example.com"),
    ("allowed_origins", "https://ops.example.com/"),
    ("allowed_origins", "https://*,"),
    ("allowed_hosts", "ops.example.com:8989"),
    ("allowed_hosts", "a,,b"),
    ("token_file", ""),
    ("max_clients", "0"),
    ("max_clients", "18446744073709551615"),
    ("log", ""),
    ("log_to", "syslog"),
];

/// A value in the file.
fn in_file(key: &str, value: &str) -> Places {
    Places::new().file(&format!("{key} = {}", serde_json::Value::from(value)))
}

#[test]
fn impossible_values_are_refused() {
    for (key, value) in IMPOSSIBLE {
        assert_eq!(in_file(key, value).refused(), [pair(key, "FILE:1")], "{value}");
        if !value.is_empty() {
            let places = Places::new().variable(&key.to_uppercase(), value);
            assert_eq!(places.refused(), [pair(key, &variable(key))], "{value}");
        }
        // A switch has no value there.
        if key != "demo" {
            let places = Places::new().arguments(&[&format!("{}={value}", flag(key))]);
            assert_eq!(places.refused(), [pair(key, &flag(key))], "{value}");
        }
    }
    let places = Places::new().variable("LOG", "info,fleet_monitor=loud");
    assert_eq!(places.refused(), [pair("log", "FLEET_MONITOR_LOG")]);
}

fn of_wrong_kinds() -> Places {
    Places::new().file("port = [1, 2]\nunit_fields = { unit = true }\n[grace]\nseconds = 3\n")
}

#[test]
fn wrong_kinds_are_refused() {
    let refused = [pair("grace", "FILE:3"), pair("port", "FILE:1"), pair("unit_fields", "FILE:2")];
    assert_eq!(of_wrong_kinds().refused(), refused);
}

#[test]
fn hosts_are_names_or_addresses() {
    for host in ["etcd.example.com", "10.0.0.1", "::1", "core-01"] {
        let etcd = Places::new()
            .arguments(&["-e", host, "--endpoint-port", "2379"])
            .config()
            .source
            .connection;
        assert_eq!(etcd, Connection::Etcd { host: host.into(), port: 2379 });
        let tunnel = Places::new().arguments(&["-t", host]).config().source.connection;
        assert_eq!(tunnel, Connection::Tunnel { host: host.into(), port: 22 });
    }
    for (text, host) in [
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
    ] {
        let etcd = Places::new().arguments(&["-e", text]).config().source.connection;
        assert_eq!(etcd, Connection::Etcd { host: host.into(), port: 4001 });
        let tunnel = Places::new().arguments(&["-t", text]).config().source.connection;
        assert_eq!(tunnel, Connection::Tunnel { host: host.into(), port: 22 });
    }
    assert_eq!(
        Places::new().arguments(&["--bind", "[::1]"]).config().bind,
        Some("::1".parse().unwrap())
    );
    assert_eq!(
        Places::new()
            .variable("ENDPOINT_PORT", "2379")
            .config()
            .source
            .connection,
        Connection::Default
    );
}

#[test]
fn origins_and_host_names_are_compared_in_lower_case() {
    let places = Places::new()
        .variable("ALLOWED_ORIGINS", "https://Ops.example.com,http://[::1]:8000, *")
        .variable("ALLOWED_HOSTS", "Monitor.example.com,*");
    let config = places.config();
    let origins = ["https://ops.example.com", "http://[::1]:8000", "*"];
    assert_eq!(config.allowed_origins, origins.map(|origin| origin.parse().unwrap()));
    assert_eq!(config.allowed_hosts, ["monitor.example.com", "*"].map(AllowedHost::new));
}

#[test]
fn pages_without_an_origin_can_be_allowed() {
    let places = Places::new().variable("ALLOWED_ORIGINS", "null");
    assert_eq!(places.config().allowed_origins, ["null".parse().unwrap()]);
}

/// Options that lead to different sources: which one is refused, for the sake of which other.
fn conflicting() -> [(Places, [&'static str; 2]); 22] {
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
fn a_stronger_choice_of_the_source_wins() {
    /// What is asked for, and what fleetctl is told.
    fn left(places: &Places) -> (Request, Connection) {
        let options = places.config().source;
        (options.request(), options.connection)
    }
    let endpoint = || Connection::Etcd { host: "etcd".into(), port: 4001 };
    let etcd = |members: &[&str]| {
        Request::Etcd(members.iter().map(|member| member.parse().unwrap()).collect())
    };
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
            assert_eq!(
                left(&places),
                (expected.clone(), Connection::Default),
                "{arguments:?} over {file}"
            );
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
    for file in [
        "source = 'api'",
        "endpoint = 'etcd'",
        "tunnel = 'ssh'",
        "fleetctl = 'f'",
        "demo = true",
        members,
    ] {
        let members = Places::new().file(file).arguments(&["--etcd", "https://g:1"]);
        assert_eq!(left(&members), (etcd(&["https://g:1"]), Connection::Default), "{file}");
        let (source, _) = left(&Places::new().file(file).variable("SOURCE", "etcd"));
        assert!(matches!(source, Request::Etcd(_)), "{file}: {source:?}");
    }
    let kept = Places::new()
        .file("source = 'etcd'\nrecord = 'r'\netcd_prefix = '/p'")
        .arguments(&["-e", "etcd"]);
    assert_eq!(
        (left(&kept), kept.config().record),
        ((etcd(&["http://etcd:4001"]), endpoint()), Some("r".into()))
    );
    let told = Places::new().file("source = 'api'").arguments(&["--demo"]);
    assert_eq!(told.origin("source"), "default", "what does not count is not shown");
    let overridden = Places::new()
        .file("endpoint = 'etcd'")
        .variable("SOURCE", "api")
        .arguments(&["--source", "auto"]);
    assert_eq!(
        left(&overridden),
        (etcd_or_fleetctl(), endpoint()),
        "an overridden choice decides nothing"
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

fn with_unknown_keys() -> Places {
    Places::new()
        .file("prot = 1\n'unit-freq' = 2\ncolour = 'red'\n[server]\nport = 1\n")
        .variable("UNIT_FRQ", "1")
        .variable("FOO", "")
        .variable("TOKEN", "geheim")
}

#[test]
fn unknown_keys_are_refused_with_what_may_have_been_meant() {
    let errors = with_unknown_keys().load().unwrap_err().0;
    let errors: Vec<_> = errors
        .iter()
        .map(|error| (error.key.as_deref().unwrap(), &*error.problem))
        .collect();
    let expected = [
        ("colour", None),
        ("prot", Some("port")),
        ("server", None),
        ("unit-freq", Some("unit_freq")),
        ("foo", None),
        ("token", Some("FLEET_MONITOR_TOKEN_FILE")),
        ("unit_frq", Some("FLEET_MONITOR_UNIT_FREQ")),
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:?}");
    for ((key, problem), (unknown, meant)) in errors.into_iter().zip(expected) {
        assert_eq!(key, unknown);
        assert_eq!(problem.contains('?'), meant.is_some(), "{problem}");
        assert!(problem.contains(meant.unwrap_or_default()), "{problem}");
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let places = Places::new()
        .file("machine_freq = 'slow'\nsorce = 'api'")
        .variable("PORT", "http")
        .arguments(&["--unit-freq", "fast", "--demo", "--replay", "f"]);
    let keys: Vec<_> = places
        .load()
        .unwrap_err()
        .0
        .into_iter()
        .map(|error| error.key.unwrap())
        .collect();
    assert_eq!(keys, ["sorce", "machine_freq", "unit_freq", "port", "demo"]);
}

#[test]
fn credentials_and_unknown_values_are_not_printed() {
    let places = Places::new().file(
        "token = 'geheim'\nendpoint = 'http://core:geheim@etcd'\nallowed_origins = ['https://a:geheim@b']\n\
         api = 'http://core:geheim@10.0.0.1'",
    );
    assert_eq!(places.refused().len(), 4);
    assert!(!places.complaint().contains("geheim"), "{}", places.complaint());
    for members in [
        "['http://a:1', 'http://root:geheim@b:1']",
        "'http://root:geheim@a:1,http://root:geheim@b:1'",
    ] {
        let complaint = Places::new().file(&format!("etcd = {members}")).complaint();
        assert!(!complaint.contains("geheim"), "{complaint}");
    }
    assert!(!Places::new().file("token = 'geheim").complaint().contains("geheim"));
}

/// Names that a user of etcd cannot have.
const NO_USERS: [&str; 2] = ["root:geheim", ""];

fn user_of_etcd(name: &str) -> Places {
    Places::new().arguments(&["--etcd", "http://a:1", "--etcd-user", name])
}

#[test]
fn a_user_of_etcd_has_no_password_in_its_name_and_no_error_shows_one() {
    for name in NO_USERS {
        let places = user_of_etcd(name);
        assert_eq!(places.refused(), [pair("etcd_user", "--etcd-user")]);
        assert_eq!(places.load().unwrap_err().0[0].value, None, "{name}");
    }

    for places in [
        Places::new().arguments(&["--source", "api", "--etcd-user", "root:geheim"]),
        Places::new().arguments(&["--etcd", "root:geheim@etcd:2379"]),
        Places::new().arguments(&["-e", "root:geheim@etcd"]),
        Places::new().file("etcd_password = 'geheim'"),
        Places::new().variable("ETCD_PASSWORD", "geheim"),
    ] {
        assert!(!places.complaint().contains("geheim"), "{}", places.complaint());
    }
}

/// A user without an etcd, and a password without a user.
fn lonely_users() -> [Places; 2] {
    [
        Places::new().arguments(&["--etcd-user", "u", "--etcd-password-file", "f"]),
        Places::new().arguments(&["--etcd", "http://a:1", "--etcd-password-file", "f"]),
    ]
}

#[test]
fn a_user_of_etcd_needs_an_etcd_and_a_password_needs_a_user() {
    let [no_etcd, no_user] = lonely_users();
    assert_eq!(no_etcd.refused(), [pair("etcd_user", "--etcd-user")]);
    assert_eq!(no_user.refused(), [pair("etcd_password_file", "--etcd-password-file")]);

    for etcd in [["--etcd", "http://a:1"], ["-e", "a"], ["--source", "etcd"]] {
        assert!(
            Places::new()
                .arguments(&[&etcd[..], &["--etcd-user", "u"]].concat())
                .load()
                .is_ok()
        );
    }
    // Another source that was asked for in a stronger place needs neither.
    let file = "etcd = ['http://a:1']\netcd_user = 'u'\netcd_password_file = 'f'";
    for other in [&["--demo"] as &[&str], &["-t", "ssh"], &["--api", "http://h:1"]] {
        assert_eq!(
            Places::new().file(file).arguments(other).config().source.etcd_user,
            None,
            "{other:?}"
        );
    }
}

/// Files that are named and not there, and one that is a directory.
fn without_a_file() -> [Places; 3] {
    let directory = Places::new();
    fs::create_dir(directory.path()).unwrap();
    [
        Places::new().arguments(&["--config", "/nowhere/f"]),
        Places::new().variable("CONFIG", "/nowhere/f"),
        directory,
    ]
}

#[test]
fn the_default_file_may_be_absent_but_a_named_one_not() {
    assert!(Places::new().load().is_ok());
    let refused = [
        pair("config", "--config"),
        pair("config", "FLEET_MONITOR_CONFIG"),
        pair("", "FILE"),
    ];
    for (places, refused) in without_a_file().iter().zip(refused) {
        assert_eq!(places.refused(), [refused]);
    }
}

#[test]
fn a_named_file_is_read_instead_of_the_default_one() {
    let places = Places::new().file("port = 3");
    let other = places.directory.path().join("other.toml");
    fs::write(&other, "port = 4").unwrap();
    let other = other.to_str().unwrap().to_owned();
    let places = places.variable("CONFIG", &other);
    assert_eq!(places.config().port, 4);
    let places = places
        .variable("CONFIG", "/nowhere/f")
        .arguments(&["--config", &other]);
    assert_eq!(places.config().port, 4);
}

fn with_a_syntax_error() -> Places {
    Places::new().file("port = 1\ngrace = = 2\n").variable("PORT", "http")
}

#[test]
fn a_syntax_error_names_line_and_column_and_the_other_places_are_still_judged() {
    assert_eq!(
        with_a_syntax_error().refused(),
        [pair("", "FILE:2:9"), pair("port", "FLEET_MONITOR_PORT")]
    );
}

fn not_utf_8() -> (OsString, OsString) {
    ("FLEET_MONITOR_LOG".into(), OsString::from_vec(vec![0xff]))
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused_if_it_is_ours() {
    let variables = [("PATH".into(), not_utf_8().1), ("FLEET_MONITOR_PORT".into(), "1".into())];
    let expected = BTreeMap::from([("FLEET_MONITOR_PORT".into(), "1".into())]);
    assert_eq!(environment(variables).unwrap().variables, expected);
    assert_eq!(environment([not_utf_8()]).unwrap_err().0[0].origin, "FLEET_MONITOR_LOG");
}

#[test]
fn the_report_tells_value_and_origin_of_every_option() {
    let places = Places::new()
        .file("machine_freq = 5")
        .variable("UNIT_FREQ", "0.5")
        .arguments(&["-e", "etcd"]);
    let settings = places.load().unwrap().1;
    let of = |key: &str| {
        let setting = settings.iter().find(|setting| setting.key == key).unwrap();
        (setting.value.as_deref(), places.named(&setting.origin))
    };
    assert_eq!(of("fleetctl").0, None);
    assert_eq!(of("machine_freq"), (Some("5"), "FILE:1".to_owned()));
    assert_eq!(of("unit_freq"), (Some("0.5"), "FLEET_MONITOR_UNIT_FREQ".to_owned()));
    assert_eq!(of("endpoint"), (Some("\"etcd\""), "--endpoint".to_owned()));
    assert_eq!(of("demo"), (Some("false"), "default".to_owned()));

    let keys: BTreeSet<_> = settings.iter().map(|setting| setting.key).collect();
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
    assert_round_trip(&Places::new().arguments(&[
        "--source",
        "etcd",
        "-e",
        "etcd",
        "--etcd-prefix",
        "/fleet/",
    ]));
    assert_round_trip(
        &Places::new()
            .variable("ETCD", "https://10.0.0.1:2379, http://[::1]:2379")
            .variable("ETCD_CA", "ca.pem")
            .variable("ETCD_CERT", "c.pem")
            .variable("ETCD_KEY", "k.pem"),
    );
    assert_round_trip(&Places::new().arguments(&[
        "--demo",
        "--unit-freq",
        ".5",
        "--grace",
        "1e1",
        "--port",
        "010",
    ]));
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
        etcd_members: ["https://a:1", "https://b:2"]
            .map(|text| text.parse().unwrap())
            .to_vec(),
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
        (
            Places::new().arguments(&flags.each_ref().map(String::as_str)),
            "--etcd",
            "--etcd-prefix",
        ),
        (
            options.iter().fold(Places::new(), |places, (key, value)| {
                places.variable(&key.to_uppercase(), value)
            }),
            "FLEET_MONITOR_ETCD",
            "FLEET_MONITOR_ETCD_PREFIX",
        ),
        (
            Places::new()
                .file(&options.map(|(key, value)| format!("{key} = '{value}'\n")).concat()),
            "FILE:1",
            "FILE:2",
        ),
    ];
    for (places, etcd, prefix) in places {
        assert_eq!(places.config().source, expected, "{etcd}");
        assert_eq!(
            (places.origin("etcd").as_str(), places.origin("etcd_prefix").as_str()),
            (etcd, prefix)
        );
    }
    let array = Places::new().file("etcd = ['https://a:1', 'https://b:2']");
    assert_eq!(array.config().source.etcd_members, expected.etcd_members);
}

/// A file for TLS where etcd is not asked over TLS, in each place; for each, its key and its
/// origin.
fn without_tls(key: &str) -> [(Places, String); 3] {
    let endpoint = Places::new().variable("ENDPOINT", "etcd");
    [
        (
            Places::new().arguments(&["--etcd", "http://a:1,http://b:2", &flag(key), "f"]),
            flag(key),
        ),
        (endpoint.variable(&key.to_uppercase(), "f"), variable(key)),
        (
            Places::new().file(&format!("source = 'etcd'\n{key} = 'f'")),
            "FILE:2".to_owned(),
        ),
    ]
}

/// An etcd of which one member is asked over TLS.
fn with_tls() -> Places {
    Places::new().file("etcd = ['http://a:1', 'https://b:2']")
}

/// A certificate without its key, and the other way round.
fn half_a_pair() -> [Places; 2] {
    [
        with_tls().arguments(&["--etcd-cert", "f"]),
        with_tls().variable("ETCD_KEY", "f"),
    ]
}

#[test]
fn files_for_tls_need_tls_and_one_another() {
    for key in ["etcd_ca", "etcd_cert", "etcd_key"] {
        for (places, origin) in without_tls(key) {
            assert_eq!(places.refused()[0], pair(key, &origin));
        }
    }
    assert!(
        with_tls().arguments(&["--etcd-ca", "f"]).load().is_ok(),
        "one of them is asked over TLS"
    );

    let [no_key, no_certificate] = half_a_pair();
    assert_eq!(no_key.refused(), [pair("etcd_cert", "--etcd-cert")]);
    assert_eq!(no_certificate.refused(), [pair("etcd_key", "FLEET_MONITOR_ETCD_KEY")]);
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
    assert_eq!(environment.service_links, ["FLEET_MONITOR_ENV_BLOB", "FLEET_MONITOR_PORT"]);
    assert_text("ignored-variables", &environment.ignored().unwrap());
    assert_eq!(Environment::default().ignored(), None);

    let mut places = Places { variables: environment.variables, ..Places::new() };
    assert_eq!(places.refused(), [pair("prt", "FLEET_MONITOR_PRT")]);
    places.variables.remove("FLEET_MONITOR_PRT");
    assert_eq!(
        (places.config().port, places.config().source.unit_freq),
        (8989, Duration::from_secs(5))
    );
}

/// Values in quotation marks, and where they were set.
fn quoted_values() -> [(Places, [&'static str; 2]); 9] {
    let variable = |name, value| Places::new().variable(name, value);
    [
        (variable("PORT", "\"8989\""), ["port", "FLEET_MONITOR_PORT"]),
        (variable("FLEETCTL", "'/bin/fleetctl'"), ["fleetctl", "FLEET_MONITOR_FLEETCTL"]),
        (variable("ENDPOINT", "\"\""), ["endpoint", "FLEET_MONITOR_ENDPOINT"]),
        (
            variable("ALLOWED_HOSTS", "\"a,b\""),
            ["allowed_hosts", "FLEET_MONITOR_ALLOWED_HOSTS"],
        ),
        (
            Places::new().file("metrics_units = ['a', '\"b\"']"),
            ["metrics_units", "FILE:1"],
        ),
        (Places::new().file("record = \"'f'\""), ["record", "FILE:1"]),
        (Places::new().arguments(&["--log", "'info'"]), ["log", "--log"]),
        (variable("CONFIG", "'/etc/f'"), ["config", "FLEET_MONITOR_CONFIG"]),
        (Places::new().arguments(&["--config", "\"f\""]), ["config", "--config"]),
    ]
}

#[test]
fn quotation_marks_around_a_value_are_refused() {
    for (places, [key, origin]) in quoted_values() {
        assert_eq!(places.refused(), [pair(key, origin)], "{places}");
    }
}

#[test]
fn a_quotation_mark_at_one_end_is_part_of_the_value() {
    let places = Places::new().variable("TOKEN_FILE", "'").variable("RECORD", "\"a'");
    assert_eq!(places.config().token_file, Some("'".into()));
    assert_eq!(places.config().record, Some("\"a'".into()));
}

#[test]
fn what_is_wrong_is_told_in_these_words() {
    let mut told = Vec::new();
    let mut tell = |places: Places| told.push((places.to_string(), places.complaint()));

    in_each_place().into_iter().for_each(&mut tell);
    let mut problems = BTreeSet::new();
    for (key, value) in IMPOSSIBLE {
        let places = in_file(key, value);
        let problem = places.load().unwrap_err().0.remove(0).problem;
        // Each once: the other values are refused in the same words.
        if problems.insert(problem) {
            tell(places);
        }
    }
    tell(Places::new().variable("LOG", "info,fleet_monitor=loud"));
    tell(of_wrong_kinds());
    tell(with_unknown_keys());
    tell(with_a_syntax_error());
    let [(quoted, _), ..] = quoted_values();
    tell(quoted);
    without_a_file().into_iter().for_each(&mut tell);

    let [(conflict, _), .., (conflict_of_a_user, _)] = conflicting();
    tell(conflict);
    tell(conflict_of_a_user);
    tell(Places::new().arguments(&["--source", "replay"]));
    let [(without_tls, _), ..] = without_tls("etcd_ca");
    tell(without_tls);
    half_a_pair().into_iter().for_each(&mut tell);
    NO_USERS.iter().for_each(|name| tell(user_of_etcd(name)));
    lonely_users().into_iter().for_each(&mut tell);

    let not_utf_8 = environment([not_utf_8()]).unwrap_err().to_string();
    told.push(("FLEET_MONITOR_LOG=\\xff".to_owned(), not_utf_8));
    assert_catalogue("configuration-errors", told);
}
