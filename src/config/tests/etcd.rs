//! The options of etcd: members, TLS, users.

use super::values::defaults;
use super::*;

/// Names that a user of etcd cannot have.
pub(super) const NO_USERS: [&str; 2] = ["root:geheim", ""];

pub(super) fn user_of_etcd(name: &str) -> Places {
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
pub(super) fn lonely_users() -> [Places; 2] {
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

#[test]
fn the_options_of_etcd_are_the_same_in_each_place() {
    let tls = |name: &str| Some(PathBuf::from(name));
    let expected = selection::Options {
        etcd_members: ["https://a:1", "https://b:2"]
            .map(|text| text.parse().unwrap())
            .to_vec(),
        etcd_prefix: "/registry/fleet".into(),
        etcd_tls: TlsFiles { ca: tls("ca.pem"), cert: tls("c.pem"), key: tls("k.pem") },
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
pub(super) fn without_tls(key: &str) -> [(Places, String); 3] {
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
pub(super) fn with_tls() -> Places {
    Places::new().file("etcd = ['http://a:1', 'https://b:2']")
}

/// A certificate without its key, and the other way round.
pub(super) fn half_a_pair() -> [Places; 2] {
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
