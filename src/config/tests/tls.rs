//! The files for TLS with clients.

use super::*;

/// A certificate without its key, the other way round, and a CA without either; each in another
/// place, with the key and its origin.
pub(super) fn half_a_certificate() -> [(Places, &'static str, &'static str); 3] {
    [
        (Places::new().arguments(&["--tls-cert", "c"]), "tls_cert", "--tls-cert"),
        (Places::new().variable("TLS_KEY", "k"), "tls_key", "FLEET_MONITOR_TLS_KEY"),
        (Places::new().file("\ntls_client_ca = 'a'"), "tls_client_ca", "FILE:2"),
    ]
}

#[test]
fn a_certificate_and_its_key_need_each_other() {
    let files = Places::new().file("tls_cert = 'c'\ntls_key = 'k'");
    let (config, _) = files.variable("TLS_CLIENT_CA", "a").load().unwrap();
    let tls = config.tls.unwrap();
    assert_eq!([tls.cert, tls.key, tls.client_ca.unwrap()], ["c", "k", "a"].map(PathBuf::from));

    for (places, key, origin) in half_a_certificate() {
        assert_eq!(places.refused(), [pair(key, origin)]);
    }
}
