//! What errors name, and their wording.

use super::conflicts::conflicting;
use super::etcd::{NO_USERS, half_a_pair, lonely_users, user_of_etcd, without_tls};
use super::precedence::{not_utf_8, unusable_env_files, without_a_file};
use super::tls::half_a_certificate;
use super::values::{IMPOSSIBLE, in_file, of_wrong_kinds, quoted_values, wrong_links};
use super::*;

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

pub(super) fn with_unknown_keys() -> Places {
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
fn all_errors_are_reported_at_once() {
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
        "token = 'geheim'\nendpoint = 'http://core:geheim@etcd'\n\
         allowed_origins = ['https://a:geheim@b']\n\
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

pub(super) fn with_a_syntax_error() -> Places {
    Places::new().file("port = 1\ngrace = = 2\n").variable("PORT", "http")
}

#[test]
fn a_syntax_error_names_line_and_column_and_the_other_places_are_still_judged() {
    assert_eq!(
        with_a_syntax_error().refused(),
        [pair("", "FILE:2:9"), pair("port", "FLEET_MONITOR_PORT")]
    );
}

#[test]
fn errors_have_these_words() {
    let mut errors = Vec::new();
    let mut add = |places: Places| errors.push((places.to_string(), places.complaint()));

    in_each_place().into_iter().for_each(&mut add);
    add(Places::new().arguments(&["--problem-after", "faild=3"]));
    add(Places::new().variable("PROBLEM_AFTER", "faild=3"));
    let mut problems = BTreeSet::new();
    for (key, value) in IMPOSSIBLE {
        let places = in_file(key, value);
        let problem = places.load().unwrap_err().0.remove(0).problem;
        // Each once: the other values are refused in the same words.
        if problems.insert(problem) {
            add(places);
        }
    }
    add(of_wrong_kinds());
    let [missing, _, unknown_key, unknown_placeholder, _, twice, _] = wrong_links();
    for (places, _) in [missing, unknown_key, unknown_placeholder, twice] {
        add(places);
    }
    add(with_unknown_keys());
    add(with_a_syntax_error());
    let [(quoted, _), ..] = quoted_values();
    add(quoted);
    without_a_file().into_iter().for_each(&mut add);

    let [(conflict, _), .., (conflict_of_a_user, _)] = conflicting();
    add(conflict);
    add(conflict_of_a_user);
    add(Places::new().arguments(&["--source", "replay"]));
    let [(without_tls, _), ..] = without_tls("etcd_ca");
    add(without_tls);
    half_a_pair().into_iter().for_each(&mut add);
    half_a_certificate().into_iter().for_each(|(places, ..)| add(places));
    NO_USERS.iter().for_each(|name| add(user_of_etcd(name)));
    lonely_users().into_iter().for_each(&mut add);

    let not_utf_8 = environment([not_utf_8()]).unwrap_err().to_string();
    errors.push(("FLEET_MONITOR_LOG=\\xff".to_owned(), not_utf_8));
    let [directory, bytes] = unusable_env_files();
    errors.push(("--env-file ENV, a directory".to_owned(), directory.to_string()));
    errors.push(("--env-file ENV, with \\xff".to_owned(), bytes.to_string()));
    assert_catalogue("configuration-errors", errors);
}
