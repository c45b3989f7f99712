//! Which place wins, and which file is read.

use super::*;

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
fn an_empty_variable_is_not_set() {
    let places = Places::new()
        .variable("PORT", "")
        .variable("CONFIG", "")
        .file("port = 3");
    assert_eq!(places.config().port, 3);
}

#[test]
fn the_variable_of_the_commands_is_no_option_of_the_daemon() {
    let places = Places::new().variable("URL", "unix:///run/fleet-monitor.sock");
    assert_eq!(places.config(), Places::new().config());
}

#[test]
fn a_source_in_a_stronger_place_overrides_source_options_of_weaker_ones() {
    /// What is asked for, and what fleetctl is told.
    fn left(places: &Places) -> (SourceRequest, FleetctlConnection) {
        let options = places.config().source;
        (options.request(), options.connection)
    }
    let endpoint = || FleetctlConnection::Etcd { host: "etcd".into(), port: 4001 };
    let etcd = |members: &[&str]| {
        SourceRequest::Etcd(members.iter().map(|member| member.parse().unwrap()).collect())
    };
    let etcd_or_fleetctl = || SourceRequest::EtcdOrFleetctl("http://etcd:4001".parse().unwrap());
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
        (&["--demo"] as &[&str], SourceRequest::Demo),
        (&["--replay", "g"], SourceRequest::Replay("g".into())),
        (&["--source", "api"], SourceRequest::Api),
        (&["--api", "http://g:1"], SourceRequest::Api),
    ] {
        for file in files {
            let places = Places::new().file(file).arguments(arguments);
            assert_eq!(
                left(&places),
                (expected.clone(), FleetctlConnection::Default),
                "{arguments:?} over {file}"
            );
            if let [option, value] = arguments {
                let places = Places::new().file(file).variable(&option[2..].to_uppercase(), value);
                let expected = (expected.clone(), FleetctlConnection::Default);
                assert_eq!(left(&places), expected, "{option} in the environment over {file}");
            }
        }
    }
    let members = "etcd = 'https://h:1'\netcd_cert = 'c'\netcd_key = 'k'";
    for file in ["source = 'api'\napi = 'http://h:1'", "demo = true", "replay = 'f'", members] {
        let over = |arguments: &[&str]| left(&Places::new().file(file).arguments(arguments));
        assert_eq!(over(&["-e", "etcd"]), (etcd_or_fleetctl(), endpoint()), "{file}");
        assert_eq!(over(&["-c", "f"]).0, SourceRequest::FleetctlOption, "{file}");
        assert_eq!(over(&["--source", "fleetctl"]).0, SourceRequest::Fleetctl, "{file}");
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
        assert_eq!(left(&members), (etcd(&["https://g:1"]), FleetctlConnection::Default), "{file}");
        let (source, _) = left(&Places::new().file(file).variable("SOURCE", "etcd"));
        assert!(matches!(source, SourceRequest::Etcd(_)), "{file}: {source:?}");
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

/// Files that are named and not there, and one that is a directory.
pub(super) fn without_a_file() -> [Places; 3] {
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

pub(super) fn not_utf_8() -> (OsString, OsString) {
    ("FLEET_MONITOR_LOG".into(), OsString::from_vec(vec![0xff]))
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused_if_it_is_ours() {
    let variables = [("PATH".into(), not_utf_8().1), ("FLEET_MONITOR_PORT".into(), "1".into())];
    let expected = BTreeMap::from([("FLEET_MONITOR_PORT".into(), "1".into())]);
    let environment_of = environment(variables).unwrap();
    assert_eq!((environment_of.variables, environment_of.path), (expected, Some(not_utf_8().1)));
    assert_eq!(environment([not_utf_8()]).unwrap_err().0[0].origin, "FLEET_MONITOR_LOG");
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

    let mut places = Places { environment, ..Places::new() };
    assert_eq!(places.refused(), [pair("prt", "FLEET_MONITOR_PRT")]);
    places.environment.variables.remove("FLEET_MONITOR_PRT");
    assert_eq!(
        (places.config().port, places.config().source.unit_freq),
        (8989, Duration::from_secs(5))
    );
}

#[test]
fn an_env_file_overrides_the_environment_and_has_its_lines_as_origins() {
    let places = Places::new()
        .variable("PORT", "2")
        .variable("GRACE", "2")
        .file("grace = 1\nkeep_lost = 1")
        .env_file("# the service\nFLEET_MONITOR_PORT=\"3\"\nFLEET_MONITOR_KEEP_LOST='4'\nOTHER=5")
        .arguments(&["--unit-freq", "6"]);

    assert_eq!((places.config().port, &*places.origin("port")), (3, "ENV:2"));
    assert_eq!(places.origin("keep_lost"), "ENV:3");
    assert_eq!(places.origin("grace"), "FLEET_MONITOR_GRACE");
    assert_eq!(places.origin("unit_freq"), "--unit-freq");
    assert_eq!(places.environment.path, None);
}

#[test]
fn an_error_about_an_env_file_names_the_line() {
    let places = Places::new()
        .env_file("FLEET_MONITOR_PROT=1\nFLEET_MONITOR_UNIT_FREQ=fast\nFLEET_MONITOR_DEMO=yes")
        .arguments(&["--source", "api"]);
    assert_eq!(places.refused(), [pair("prot", "ENV:1"), pair("unit_freq", "ENV:2")]);

    let config = Places::new().env_file("\nFLEET_MONITOR_CONFIG=/nowhere/f");
    assert_eq!(config.refused(), [pair("config", "ENV:2")]);
}

#[test]
fn an_env_file_sets_the_search_path_and_may_take_a_services_variable_back() {
    let mut environment = environment([
        ("PATH".into(), "/bin".into()),
        ("FLEET_MONITOR_PORT".into(), "tcp://10.0.0.1:8989".into()),
    ])
    .unwrap();
    assert_eq!(environment.service_links, ["FLEET_MONITOR_PORT"]);

    let directory = TempDir::new().unwrap();
    let file = directory.path().join("env");
    fs::write(&file, "PATH=/opt/bin\nFLEET_MONITOR_PORT=1\nFLEET_MONITOR_X_SERVICE_HOST=h")
        .unwrap();
    environment.add_file(&file).unwrap();
    assert_eq!(environment.path, Some("/opt/bin".into()));
    assert_eq!(environment.service_links, ["FLEET_MONITOR_X_SERVICE_HOST"]);
    assert_eq!(environment.variables["FLEET_MONITOR_PORT"], "1");
}

/// Errors about a whole file of variables: a directory, and one that is not UTF-8.
pub(super) fn unusable_env_files() -> [ConfigErrors; 2] {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("env");
    fs::write(&file, [0xff]).unwrap();

    [directory.path(), &file].map(|path| {
        let mut errors = Environment::default().add_file(path).unwrap_err();
        let path = path.to_str().unwrap().to_owned();
        let shown = errors.0[0].value.take().unwrap();
        errors.0[0].value = Some(shown.replace(&path, "ENV"));
        errors
    })
}

#[test]
fn an_env_file_that_cannot_be_read_is_refused_unless_it_is_absent() {
    for errors in unusable_env_files() {
        assert_eq!(errors.0[0].origin, "--env-file", "{errors}");
        assert_eq!(errors.0[0].key.as_deref(), Some("env_file"), "{errors}");
    }
    assert!(Environment::default().add_file(Path::new("/nowhere/env")).is_ok());
}
