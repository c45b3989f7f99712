//! What `--check-config` prints.

use super::*;

#[test]
fn the_report_tells_value_and_origin_of_every_option() {
    let places = Places::new()
        .file("machine_freq = 5")
        .variable("UNIT_FREQ", "0.5")
        .arguments(&["-e", "etcd"]);
    let settings = places.load().unwrap().1.options;
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

/// The comments of a report that are not about one option.
fn notes(places: &Places) -> Vec<String> {
    let (_, settings) = places.load().unwrap();
    let report = places.named(&report(&settings, &places.environment));
    report
        .lines()
        .filter(|line| line.starts_with("# ") && !line.ends_with(" is not set"))
        .map(str::to_owned)
        .collect()
}

fn with_an_absent_env_file() -> Places {
    let mut places = Places::new().file("");
    let path = places.env_path();
    places.environment.add_file(&path).unwrap();
    places
}

fn with_lines_that_do_not_count() -> Places {
    Places::new()
        .file("")
        .env_file("PORT=1\n\nexport FLEET_MONITOR_PORT=2\nDIRECTORY\n")
}

#[test]
fn the_report_says_which_files_are_absent_and_which_lines_do_not_count() {
    for (places, beginnings) in [
        (Places::new(), &["# FILE: "] as &[&str]),
        (Places::new().file(""), &[]),
        (with_an_absent_env_file(), &["# ENV: "]),
        (with_lines_that_do_not_count(), &["# ENV:3: ", "# ENV:4: "]),
    ] {
        let notes = notes(&places);
        assert_eq!(notes.len(), beginnings.len(), "{notes:?}");
        for (note, beginning) in notes.iter().zip(beginnings) {
            assert!(note.starts_with(beginning), "{notes:?}");
        }
        assert_eq!(places.origin("port"), "default");
    }
}

#[test]
fn the_notes_of_the_report_have_these_words() {
    let texts = [
        ("no configuration file", notes(&Places::new())),
        ("no file of variables", notes(&with_an_absent_env_file())),
        ("lines that set no variable", notes(&with_lines_that_do_not_count())),
    ];
    assert_catalogue("check-config-notes", texts.map(|(case, notes)| (case, notes.join("\n"))));
}

/// What [`report`] prints is a file with the same effect.
pub(super) fn assert_round_trip(places: &Places) {
    let (config, settings) = places.load().unwrap();
    let report = report(&settings, &places.environment);
    assert_eq!(Places::new().file(&report).config(), config, "{report}");
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
            .variable("LINKS", "A=http://a/{unit}?b=c, \"B=https://{ip}:1/#{instance}")
            .variable("ALLOWED_ORIGINS", "*")
            .variable("LOG", "info,fleet_monitor=debug")
            .variable("TUNNEL", "::1")
            .variable("BIND", "::1")
            .variable("LISTEN", "unix:///run/a.sock, [::1]:0")
            .variable("UNIT_FIELDS", "verdict,unit"),
    );
}

proptest! {
    #[test]
    fn no_text_makes_any_option_panic(
        index in 0..OPTIONS.len(),
        text in "\\PC*|[-+0-9.eE]*|[a-z,=:/@*\\[\\]{}]*",
    ) {
        let key = OPTIONS[index].0;
        let places = Places::new().variable(&key.to_uppercase(), &text);
        match places.load() {
            Ok(_) => assert_round_trip(&places),
            Err(errors) => {
                let is_named = errors.0.iter().any(|error| error.key.as_deref() == Some(key));
                prop_assert!(is_named);
            }
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
