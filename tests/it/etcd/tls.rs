//! The source `etcd` over TLS, with a real etcd that requires a client certificate.

use std::time::SystemTime;

use fleet_monitor::source::etcd::error::{
    CertificateRefusal, EtcdError, FileError, HandshakeError, TlsFileError,
};
use fleet_monitor::source::etcd::{EtcdSettings, EtcdSource, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use super::trouble::failure;
use super::watched::{follow, settings, until};
use crate::support::certificates::CertificateFiles;
use crate::support::etcd::{Etcd, TlsListener, free_port, registry};
use crate::support::snapshots::assert_catalogue;

impl CertificateFiles {
    /// These files for the three options. An empty name leaves an option out.
    fn tls(&self, [ca, cert, key]: [&str; 3]) -> TlsFiles {
        let path = |name: &str| (!name.is_empty()).then(|| self.path(name));
        TlsFiles { ca: path(ca), cert: path(cert), key: path(key) }
    }

    fn settings(&self, url: &str, files: [&str; 3]) -> EtcdSettings {
        EtcdSettings { tls: self.tls(files), ..settings(&[url]) }
    }

    async fn etcd(&self) -> Option<(Etcd, u16)> {
        let port = free_port();
        let certificate = self.path("ours-server.pem");
        let key = self.path("ours-server.key");
        let etcd = Etcd::start_with_tls(TlsListener {
            port,
            certificate,
            key,
            authority: Some(self.path("ours.pem")),
        })
        .await?;
        etcd.fill(&registry("v1.0.0")).await;
        Some((etcd, port))
    }
}

const RIGHT: [&str; 3] = ["ours.pem", "ours-client.pem", "ours-client.key"];

/// Why there is no TLS with this etcd.
pub async fn no_tls(settings: EtcdSettings, url: &str) -> String {
    match failure(&mut follow(EtcdSource::new(settings).unwrap()), url).await {
        EtcdError::Tls(_, problem) => problem.to_string(),
        other => panic!("{other}"),
    }
}

fn assert_unknown_issuer(error: &EtcdError) {
    let EtcdError::Tls(_, problem) = error else {
        panic!("{error}");
    };
    let is_expected = matches!(
        problem.reason,
        HandshakeError::Certificate(CertificateRefusal::UnknownIssuer(_))
    );
    assert!(is_expected, "{error}");
}

#[tokio::test]
async fn with_the_right_files_it_is_watched() {
    let files = CertificateFiles::new();
    let Some((etcd, port)) = files.etcd().await else {
        return;
    };
    for host in ["127.0.0.1", "localhost"] {
        let settings = files.settings(&format!("https://{host}:{port}"), RIGHT);
        let source = EtcdSource::new(settings).unwrap();
        source.probe().await.unwrap();
        let mut watched = follow(source);
        until(&mut watched, |registry| !registry.states.is_empty()).await;
        let index = etcd
            .set("/_coreos.com/fleet/job/new.service/target-state", "launched", None)
            .await;
        until(&mut watched, |registry| registry.index >= index).await;
        assert!(watched.name().starts_with("etcd v3."), "{}", watched.name());
    }
}

#[tokio::test]
async fn a_failed_handshake_is_explained_with_the_options_to_change() {
    let files = CertificateFiles::new();
    let Some((etcd, port)) = files.etcd().await else {
        return;
    };
    let url = format!("https://127.0.0.1:{port}");
    let plain = etcd.url();
    let option = |name: &str, file: &str| format!("{name} = {:?}", files.path(file));
    // A client that is refused after the handshake (TLS 1.3) may not learn why: the connection is
    // reset before the alert is read.
    let cases = [
        (&url, ["another.pem", RIGHT[1], RIGHT[2]], option("etcd_ca", "another.pem")),
        (&url, [RIGHT[0], "", ""], "--etcd-cert".to_owned()),
        (
            &url,
            [RIGHT[0], "another-client.pem", "another-client.key"],
            option("etcd_cert", "another-client.pem"),
        ),
        (&plain.replace("http", "https"), RIGHT, "http:// in --etcd".to_owned()),
    ];
    for (url, names, named) in cases {
        let problem = no_tls(files.settings(url, names), url).await;
        assert!(problem.contains(&named), "{problem}");
    }

    let url = url.replace("https", "http");
    let error = failure(&mut follow(EtcdSource::new(settings(&[&url])).unwrap()), &url).await;
    assert!(matches!(error, EtcdError::BrokenOff(..)), "{error}");

    // Without --etcd-ca, the CAs of the host are trusted, and none of them has issued this
    // certificate. A host may have none.
    let url = url.replace("http", "https");
    match EtcdSource::new(files.settings(&url, ["", RIGHT[1], RIGHT[2]])) {
        Ok(source) => {
            let error = failure(&mut follow(source), &url).await;
            assert_unknown_issuer(&error);
        }
        Err(error) => {
            assert!(matches!(error, FileError::NoCaCertificates), "{error}");
        }
    }
}

#[tokio::test]
async fn an_expired_certificate_is_explained_with_a_time_span() {
    let files = CertificateFiles::new();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    files.write("ours.pem", &authority.pem());
    let mut explanations = Vec::new();
    for (given, from, to, nearest) in
        [("expired", 2015, 2018, 2018), ("not valid yet", 2090, 2095, 2090)]
    {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().unwrap();
        files.write("ours-server.pem", &params.signed_by(&key, &authority).unwrap().pem());
        files.write("ours-server.key", &key.serialize_pem());
        let Some((_etcd, port)) = files.etcd().await else {
            return;
        };
        let url = format!("https://127.0.0.1:{port}");
        let problem = no_tls(files.settings(&url, [RIGHT[0], "", ""]), &url).await;

        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let distance = date_time_ymd(nearest, 1, 1)
            .unix_timestamp()
            .unsigned_abs()
            .abs_diff(now);
        let days = format!(" {} days ", distance / 86_400);
        assert!(problem.contains(&days), "{days}: {problem}");
        explanations.push((given, problem.replace(&days, " SOME days ")));
    }
    assert_catalogue("etcd-certificate-times", explanations);
}

#[test]
fn files_that_cannot_be_used_are_explained() {
    let files = CertificateFiles::new();
    let mut explanations = Vec::new();
    let mut refused = |names: [&str; 3]| {
        let error = EtcdSource::new(files.settings("https://127.0.0.1:2379", names)).unwrap_err();
        let text = error
            .to_string()
            .replace(files.directory().to_str().unwrap(), "DIRECTORY");
        explanations.push((names.join(" "), text));
        error
    };

    for (option, position) in [("etcd_ca", 0), ("etcd_cert", 1), ("etcd_key", 2)] {
        // None of these is what the option is for.
        let other = if position == 2 { RIGHT[1] } else { RIGHT[2] };
        for name in ["missing", "empty", "prose", other] {
            let mut names = RIGHT;
            names[position] = name;
            match refused(names) {
                FileError::Tls(TlsFileError::File { option: named, path, .. }) => {
                    assert_eq!((named, path), (option, files.path(name)));
                }
                other => panic!("{other}"),
            }
        }
    }
    match refused([RIGHT[0], RIGHT[1], "another-client.key"]) {
        FileError::Tls(TlsFileError::Pair { cert, key, .. }) => {
            assert_eq!((cert, key), (files.path(RIGHT[1]), files.path("another-client.key")));
        }
        other => panic!("{other}"),
    }
    assert_catalogue("etcd-tls-files", explanations);
}
