//! The source `etcd` over TLS, with a real etcd that asks for a certificate.

use std::fs;
use std::path::PathBuf;

use fleet_monitor::source::etcd::error::{FileError, TlsError};
use fleet_monitor::source::etcd::{Etcd as Source, Settings, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::trouble::failure;
use super::watched::{follow, settings, until};
use crate::support::etcd::{Encrypted, Etcd, free_port, registry};

/// The files of two authorities, and of those whom they have certified.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        for name in ["ours", "another"] {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
            files.write(&format!("{name}.pem"), &authority.pem());
            for (whose, names) in [("server", vec!["127.0.0.1".to_owned(), "localhost".to_owned()]), ("client", vec![])]
            {
                let key = KeyPair::generate().unwrap();
                let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
                files.write(&format!("{name}-{whose}.pem"), &certificate.pem());
                files.write(&format!("{name}-{whose}.key"), &key.serialize_pem());
            }
        }
        files.write("empty", "");
        files.write("prose", "Dear etcd,\nplease let me in.\n");
        files
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// These files for the three options; none where there is no name.
    fn tls(&self, [ca, cert, key]: [&str; 3]) -> Tls {
        let path = |name: &str| (!name.is_empty()).then(|| self.path(name));
        Tls { ca: path(ca), cert: path(cert), key: path(key) }
    }

    fn settings(&self, url: &str, files: [&str; 3]) -> Settings {
        Settings { tls: self.tls(files), ..settings(&[url]) }
    }

    async fn etcd(&self) -> Option<(Etcd, u16)> {
        let port = free_port();
        let (certificate, key) = (self.path("ours-server.pem"), self.path("ours-server.key"));
        let etcd = Etcd::start_with(Some(Encrypted { port, certificate, key, authority: Some(self.path("ours.pem")) }))
            .await?;
        etcd.fill(&registry("v1.0.0")).await;
        Some((etcd, port))
    }
}

const RIGHT: [&str; 3] = ["ours.pem", "ours-client.pem", "ours-client.key"];

#[tokio::test]
async fn with_the_right_files_it_is_watched() {
    let files = Files::new();
    let Some((etcd, port)) = files.etcd().await else { return };
    for host in ["127.0.0.1", "localhost"] {
        let settings = files.settings(&format!("https://{host}:{port}"), RIGHT);
        let source = Source::new(settings).unwrap();
        source.probe().await.unwrap();
        let mut watched = follow(source);
        until(&mut watched, |told| !told.states.is_empty()).await;
        let index = etcd.set("/_coreos.com/fleet/job/new.service/target-state", "launched", None).await;
        until(&mut watched, |told| told.index >= index).await;
        assert!(watched.name().starts_with("etcd v3."), "{}", watched.name());
    }
}

#[tokio::test]
async fn what_it_does_not_agree_to_is_told_with_its_address() {
    let files = Files::new();
    let Some((etcd, port)) = files.etcd().await else { return };
    let (url, plain) = (format!("https://127.0.0.1:{port}"), etcd.url());
    let not_ours = format!(
        "it does not accept the certificate in etcd_cert = {:?} (BadCertificate): that must be of a CA that etcd trusts",
        files.path("another-client.pem"),
    );
    // Who is refused after the handshake (TLS 1.3) may not hear why: the connection is reset before the alert is read.
    let unheard = "it ended the connection after the handshake (";
    let cases = [
        (&url, ["another.pem", RIGHT[1], RIGHT[2]], ["its certificate is of no CA in etcd_ca = "; 2]),
        (&url, [RIGHT[0], "", ""], ["it wants a certificate of its clients: name one with --etcd-cert", unheard]),
        (&url, [RIGHT[0], "another-client.pem", "another-client.key"], [&not_ours, unheard]),
        (
            &plain.replace("http", "https"),
            RIGHT,
            ["tls handshake eof: does etcd speak TLS", "Connection reset by peer"],
        ),
    ];
    for (url, names, problems) in cases {
        let said = failure(&mut follow(Source::new(files.settings(url, names)).unwrap())).await;
        let is_said = |problem| said.starts_with(&format!("no TLS with etcd at {url}: {problem}"));
        assert!(problems.into_iter().any(is_said), "{said}");
    }
    let url = url.replace("https", "http");
    let said = failure(&mut follow(Source::new(settings(&[&url])).unwrap())).await;
    assert!(said.starts_with(&format!("etcd at {url} broke off: ")), "{said}");
    // Without an authority of its own, those of the host are believed, and none of them knows this etcd. A host may
    // have none.
    let url = url.replace("http", "https");
    match Source::new(files.settings(&url, ["", RIGHT[1], RIGHT[2]])) {
        Ok(source) => {
            let said = failure(&mut follow(source)).await;
            assert!(
                said.starts_with(&format!(
                    "no TLS with etcd at {url}: its certificate is of no CA in this host's own: "
                )),
                "{said}"
            );
        }
        Err(error) => assert!(matches!(error, FileError::Tls(TlsError::NoAuthorities)), "{error}"),
    }
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_told_by_how_much() {
    let files = Files::new();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    files.write("ours.pem", &authority.pem());
    for (from, to, problem) in [
        (2015, 2018, "its certificate, or that of its CA, expired "),
        (2090, 2095, "its certificate, or that of its CA, is valid only in "),
    ] {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().unwrap();
        files.write("ours-server.pem", &params.signed_by(&key, &authority).unwrap().pem());
        files.write("ours-server.key", &key.serialize_pem());
        let Some((_etcd, port)) = files.etcd().await else { return };
        let url = format!("https://127.0.0.1:{port}");
        let said = failure(&mut follow(Source::new(files.settings(&url, [RIGHT[0], "", ""])).unwrap())).await;
        assert!(said.starts_with(&format!("no TLS with etcd at {url}: {problem}")), "{said}");
        assert!(said.contains(" days ") && said.contains("by this host's clock"), "{said}");
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let files = Files::new();
    for (option, position) in [("etcd_ca", 0), ("etcd_cert", 1), ("etcd_key", 2)] {
        // Each of these is not what the option asks for.
        let other = if position == 2 { RIGHT[1] } else { RIGHT[2] };
        for name in ["missing", "empty", "prose", other] {
            let mut names = RIGHT;
            names[position] = name;
            let error = Source::new(files.settings("https://127.0.0.1:2379", names)).unwrap_err().to_string();
            let (path, what) = (files.path(name), ["certificate", "certificate", "private key"][position]);
            let problem =
                if name == "missing" { "No such file or directory" } else { &format!("there is no {what} in it") };
            assert!(error.starts_with(&format!("{option} = {path:?}: ")) && error.contains(problem), "{error}");
        }
    }
    let error = Source::new(files.settings("https://127.0.0.1:2379", [RIGHT[0], RIGHT[1], "another-client.key"]));
    let error = error.unwrap_err().to_string();
    for words in ["etcd_cert", "etcd_key", RIGHT[1], "another-client.key", "does not belong"] {
        assert!(error.contains(words), "{error}");
    }
}
