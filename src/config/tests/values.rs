//! What each kind of value accepts, and what not.

use super::*;
use crate::problems::ProblemDelays;
use crate::server::access::AllowedHost;

pub(super) fn defaults() -> Config {
    Places::new().config()
}

#[test]
fn the_defaults_are_as_documented() {
    let expected = Config {
        source: selection::Options {
            choice: SourceChoice::Auto,
            fleetctl: None,
            connection: FleetctlConnection::Default,
            api: Address::Unix("/var/run/fleet.sock".into()),
            etcd_members: vec![],
            etcd_prefix: "/_coreos.com/fleet".into(),
            etcd_tls: TlsFiles::default(),
            etcd_user: None,
            etcd_password_file: None,
            credentials: None,
            search_path: None,
            demo: false,
            replay: None,
            replay_options: ReplayOptions { speed: 1.0, from: None, to: None },
            machine_freq: Duration::from_secs(10),
            unit_freq: Duration::from_secs(2),
            poll_timeout: Duration::from_secs(10),
        },
        grace: Duration::from_secs(30),
        keep_lost: Duration::from_secs(3600),
        history: Duration::from_secs(86_400),
        record_keep: None,
        history_from: vec![],
        history_token_file: None,
        record: None,
        problem_after: ProblemDelays::default(),
        alertmanager: vec![],
        alert_labels: [].into(),
        webhook: None,
        webhook_secret_file: None,
        external_url: None,
        port: 8989,
        bind: None,
        listen: vec![],
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
        journal_port: None,
        links: vec![],
        metrics_troubled: 1_000,
        allowed_origins: vec![],
        allowed_hosts: vec![],
        token_file: None,
        tls: None,
        unit_files: None,
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
    let keys = OPTIONS
        .iter()
        .map(|(key, _)| *key)
        .chain(["config", "check_config", "env_file"]);
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

fn link(name: &str, url: &str) -> LinkTemplate {
    LinkTemplate::new(name, url).unwrap()
}

#[test]
fn links_are_tables_or_name_and_url() {
    let expected = [
        link("Logs", "https://kibana.example/{unit}?host={ip}"),
        link("Node exporter", "http://{ip}:9100/"),
    ];
    for places in [
        Places::new().file(
            "links = [\n  { name = 'Logs', url = 'https://kibana.example/{unit}?host={ip}' },\n  \
             { name = 'Node exporter', url = 'http://{ip}:9100/' },\n]",
        ),
        Places::new().file(
            "[[links]]\nname = 'Logs'\nurl = 'https://kibana.example/{unit}?host={ip}'\n\
             [[links]]\nname = 'Node exporter'\nurl = 'http://{ip}:9100/'",
        ),
        Places::new().variable(
            "LINKS",
            "Logs=https://kibana.example/{unit}?host={ip}, Node exporter=http://{ip}:9100/",
        ),
        Places::new().arguments(&[
            "--link",
            "Logs=https://kibana.example/{unit}?host={ip}",
            "--link",
            "Node exporter=http://{ip}:9100/",
        ]),
    ] {
        assert_eq!(places.config().links, expected, "{places}");
    }

    // On the command line nothing separates links, so a comma is one of the URL.
    let comma = Places::new().arguments(&["--link", "A=http://a/?_g=(a:b,c=d)"]);
    assert_eq!(comma.config().links, [link("A", "http://a/?_g=(a:b,c=d)")]);
    let emptied = Places::new()
        .file("links = ['A=http://a/']")
        .arguments(&["--link", ""]);
    assert_eq!(emptied.config().links, []);
}

/// Links that are wrong in the file, and the lines of their errors.
pub(super) fn wrong_links() -> [(Places, usize); 7] {
    let twenty_one: Vec<String> = (0..21).map(|number| format!("'{number}=http://a/'")).collect();

    [
        (Places::new().file("port = 1\n[[links]]\nname = 'Logs'"), 2),
        (Places::new().file("[[links]]\nurl = 'http://a/'"), 1),
        (Places::new().file("links = [{ name = 'Logs', link = 'http://a/' }]"), 1),
        (Places::new().file("links = [{ name = 'Logs', url = 'http://a/{host}' }]"), 1),
        (Places::new().file("links = { name = 'Logs', url = 'http://a/' }"), 1),
        (Places::new().file("links = ['Logs=http://a/', 'Logs=http://b/']"), 1),
        (Places::new().file(&format!("links = [{}]", twenty_one.join(", "))), 1),
    ]
}

#[test]
fn wrong_links_are_refused() {
    for (places, line) in wrong_links() {
        assert_eq!(places.refused(), [pair("links", &format!("FILE:{line}"))], "{places}");
    }

    let places = Places::new().arguments(&["--link", "Logs=http://root:geheim@a/{unit}"]);
    assert!(!places.complaint().contains("geheim"), "{}", places.complaint());
}

/// Values that no option can have.
pub(super) const IMPOSSIBLE: [(&str, &str); 132] = [
    ("fleetctl", ""),
    ("machine_freq", "10s"),
    ("unit_freq", "0"),
    ("unit_freq", "-2"),
    ("unit_freq", "NaN"),
    ("unit_freq", "inf"),
    ("unit_freq", "86401"),
    ("unit_freq", "1e-12"),
    ("from", "yesterday"),
    ("from", "90"),
    ("to", "25:00"),
    ("to", "-5s"),
    ("record_keep", ""),
    ("record_keep", "24"),
    ("record_keep", "24h,12h"),
    ("record_keep", "1GiB,24h,1GiB"),
    ("record_keep", "59s"),
    ("record_keep", "24h,1023KiB"),
    ("record_keep", "99999999999999999999TiB"),
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
    ("problem_after", ""),
    ("problem_after", "-1"),
    ("problem_after", "100000"),
    ("problem_after", "30,stale=x"),
    ("problem_after", "stale="),
    ("problem_after", "faild=3"),
    ("problem_after", "ok=3"),
    ("problem_after", "source_failing=3"),
    ("problem_after", "30,20"),
    ("problem_after", "stale=1,stale=2"),
    ("history_from", "core-02:8989"),
    ("history_token_file", ""),
    ("alertmanager", "10.0.0.1:9093"),
    ("alertmanager", "ftp://10.0.0.1"),
    ("alertmanager", "http://10.0.0.1:9093,http://"),
    ("alert_labels", "cluster"),
    ("alert_labels", "1st=a"),
    ("alert_labels", "cluster="),
    ("alert_labels", "severity=page"),
    ("webhook", "hooks.example.com/fleet"),
    ("webhook", "https://hooks.example.com/#a"),
    ("webhook_secret_file", ""),
    ("external_url", "fleet.example.com"),
    ("external_url", "https://root:geheim@fleet.example.com"),
    ("port", "70000"),
    ("port", "-1"),
    ("bind", "localhost"),
    ("bind", "[10.0.0.1]"),
    ("listen", "/run/a.sock"),
    ("listen", "unix://run/a.sock"),
    ("listen", "unix:///run/a.sock,8990"),
    ("listen", "unix:///run/a.sock,localhost:8990"),
    ("publish", "never"),
    ("unit_fields", ""),
    ("unit_fields", "unit,unit"),
    ("unit_fields", "unit,colour"),
    ("machine_fields", "id"),
    ("metrics_units", "a.service b.service"),
    ("journal_port", "0"),
    ("journal_port", "yes"),
    ("links", "Logs"),
    ("links", "=http://a/"),
    ("links", "Logs="),
    ("links", "Logs=/logs/{unit}"),
    ("links", "Logs=http://a/{name}"),
    ("links", "Logs=http://a/{unit"),
    ("links", "Logs=http://a/my logs"),
    ("links", "Logs=http://root:secret@a/{unit}"),
    ("links", "Logs=http://{unit}/"),
    ("links", "Logs=http://a:port/"),
    ("links", "Logs=http://a/../{unit}"),
    ("links", "'Logs=http://a/{unit}'"),
    ("metrics_troubled", "many"),
    ("metrics_troubled", "100001"),
    ("allowed_origins", "ops.example.com"),
    ("allowed_origins", "https://ops.example.com/"),
    ("allowed_origins", "https://*,"),
    ("allowed_hosts", "ops.example.com:8989"),
    ("allowed_hosts", "a,,b"),
    ("token_file", ""),
    ("max_clients", "0"),
    ("max_clients", "18446744073709551615"),
    ("log", ""),
    ("log", "warning"),
    ("log", "info,inof"),
    ("log", "fleet_monitr=debug"),
    ("log", "info,etcd=debug"),
    ("log", "info,hyper=warn"),
    ("log", "info,fleet_monitor=loud"),
    ("log_to", "syslog"),
];

/// A value in the file.
pub(super) fn in_file(key: &str, value: &str) -> Places {
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
}

#[test]
fn a_recording_is_kept_by_age_by_size_or_by_both() {
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
    for (text, age, size) in [
        ("24h", hours(24), None),
        ("1GiB", None, Some(1 << 30)),
        ("24h,1GiB", hours(24), Some(1 << 30)),
        ("500MB, 7d", hours(7 * 24), Some(500_000_000)),
        ("90m,2TiB", Some(Duration::from_secs(5400)), Some(2 << 40)),
    ] {
        let places = Places::new().arguments(&["--record", "f", "--record-keep", text]);
        assert_eq!(places.config().record_keep, Some(RecordKeep { age, size }), "{text}");
    }

    let alone = Places::new().arguments(&["--record-keep", "24h"]);
    assert_eq!(alone.refused(), [pair("record_keep", "--record-keep")]);
}

#[test]
fn a_kind_of_problems_may_have_a_time_of_its_own() {
    let seconds = Duration::from_secs_f64;
    let delays = |default, by_name: &[(&'static str, f64)]| ProblemDelays {
        default: seconds(default),
        by_name: by_name.iter().map(|(name, time)| (*name, seconds(*time))).collect(),
    };

    for (places, expected) in [
        (Places::new().arguments(&["--problem-after", "0"]), delays(0.0, &[])),
        (
            Places::new().variable("PROBLEM_AFTER", "stale=300, source = 0.5"),
            delays(30.0, &[("stale", 300.0), ("source", 0.5)]),
        ),
        (Places::new().file("problem_after = 10"), delays(10.0, &[])),
        (
            Places::new().file("problem_after = [10, 'machine_lost=60']"),
            delays(10.0, &[("machine_lost", 60.0)]),
        ),
    ] {
        assert_eq!(places.config().problem_after, expected, "{places}");
    }
}

#[test]
fn an_unknown_kind_of_problems_is_refused_with_what_may_have_been_meant() {
    let complaint = Places::new().arguments(&["--problem-after", "faild=3"]).complaint();
    assert!(complaint.trim_end().ends_with("did you mean failed?"), "{complaint}");

    let complaint = Places::new()
        .arguments(&["--problem-after", "everything=3"])
        .complaint();
    assert!(!complaint.contains("did you mean"), "{complaint}");
}

#[test]
fn an_unknown_word_in_a_log_filter_is_refused_with_what_may_have_been_meant() {
    for (filter, meant) in [
        ("warning", "warn"),
        ("WARNING", "warn"),
        ("inof", "info"),
        ("debugging", "debug"),
        ("fleet_monitor=warning", "warn"),
        ("fleet_monitr=debug", "fleet_monitor"),
        ("fleet-monitor=debug", "fleet_monitor"),
        ("info,etcd=debug", "fleet_monitor::source::etcd"),
        ("source::etcd=debug", "fleet_monitor::source::etcd"),
        ("fleet_monitor::sorce::etcd=debug", "fleet_monitor::source::etcd"),
        ("fleet_monitr::daemon", "fleet_monitor::daemon"),
    ] {
        let errors = Places::new().arguments(&["--log", filter]).load().unwrap_err().0;
        assert_eq!(errors.len(), 1, "{filter}: {errors:?}");
        let problem = &errors[0].problem;
        assert!(problem.ends_with(&format!("did you mean {meant}?")), "{filter}: {problem}");
    }
    for filter in ["hyper=debug", "loud", "fleet_monitor::colour=debug"] {
        let complaint = Places::new().arguments(&["--log", filter]).complaint();
        assert!(!complaint.contains("did you mean"), "{complaint}");
    }
}

#[test]
fn a_negative_number_is_refused_like_any_other_impossible_value() {
    for (option, key) in [
        ("-u", "unit_freq"),
        ("-m", "machine_freq"),
        ("-p", "port"),
        ("-e", "endpoint"),
        ("-t", "tunnel"),
        ("--grace", "grace"),
        ("--keep-lost", "keep_lost"),
        ("--history", "history"),
        ("--poll-timeout", "poll_timeout"),
        ("--replay-speed", "replay_speed"),
        ("--endpoint-port", "endpoint_port"),
        ("--tunnel-port", "tunnel_port"),
        ("--metrics-troubled", "metrics_troubled"),
        ("--problem-after", "problem_after"),
        ("--max-clients", "max_clients"),
    ] {
        let places = Places::new().arguments(&[option, "-1"]);
        assert_eq!(places.refused(), [pair(key, &flag(key))], "{option}");
    }
}

pub(super) fn of_wrong_kinds() -> Places {
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
        assert_eq!(etcd, FleetctlConnection::Etcd { host: host.into(), port: 2379 });
        let tunnel = Places::new().arguments(&["-t", host]).config().source.connection;
        assert_eq!(tunnel, FleetctlConnection::Tunnel { host: host.into(), port: 22 });
    }
    for (text, host) in [
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
    ] {
        let etcd = Places::new().arguments(&["-e", text]).config().source.connection;
        assert_eq!(etcd, FleetctlConnection::Etcd { host: host.into(), port: 4001 });
        let tunnel = Places::new().arguments(&["-t", text]).config().source.connection;
        assert_eq!(tunnel, FleetctlConnection::Tunnel { host: host.into(), port: 22 });
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
        FleetctlConnection::Default
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

/// Values in quotation marks, and where they were set.
pub(super) fn quoted_values() -> [(Places, [&'static str; 2]); 9] {
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
fn problems_may_have_delays_of_their_own_and_are_sent_to_several_places() {
    let places = Places::new().file(
        "problem_after = [60, 'failed=10', 'stale = 300']\n\
         alertmanager = 'http://a:9093/am, https://b'\n\
         alert_labels = ['cluster=west', 'team=a=b']\n\
         webhook = 'https://user:geheim@hooks.example.com/services/geheim?key=geheim'\n\
         webhook_secret_file = '/run/secret'\n\
         external_url = 'https://fleet.example.com/'",
    );
    let config = places.config();

    let seconds = Duration::from_secs;
    assert_eq!(config.problem_after.default, seconds(60));
    let by_name = [("failed", seconds(10)), ("stale", seconds(300))];
    assert_eq!(config.problem_after.by_name, by_name.into());
    let shown: Vec<_> = config.alertmanager.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["http://a:9093", "https://b"]);
    assert_eq!(config.alert_labels["team"], "a=b");
    assert_eq!(config.external_url.as_deref(), Some("https://fleet.example.com"));
    assert!(!format!("{config:?}").contains("geheim"));

    let wrong = Places::new().arguments(&["--webhook", "https://hooks.example.com/geheim#"]);
    assert!(!wrong.complaint().contains("geheim"), "{}", wrong.complaint());
}

#[test]
fn other_monitors_may_be_asked_for_their_history() {
    let places = Places::new().arguments(&[
        "--history-from",
        "http://core-01:8989,https://fleet.example.com/west",
        "--history-token-file",
        "/etc/token",
    ]);
    let shown: Vec<_> = places.config().history_from.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["http://core-01:8989", "https://fleet.example.com"]);
    assert_eq!(places.config().history_token_file, Some("/etc/token".into()));

    let token_alone = in_file("history_token_file", "/etc/token");
    assert_eq!(token_alone.refused(), [pair("history_token_file", "FILE:1")]);
    let without_history =
        Places::new().arguments(&["--history", "0", "--history-from", "http://core-01:8989"]);
    assert_eq!(without_history.refused(), [pair("history_from", "--history-from")]);
}

#[test]
fn what_belongs_to_a_receiver_needs_it() {
    for (key, value) in [("webhook_secret_file", "/run/secret"), ("alert_labels", "a=b")] {
        assert_eq!(in_file(key, value).refused(), [pair(key, "FILE:1")]);
    }
}
