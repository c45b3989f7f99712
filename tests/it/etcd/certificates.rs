//! The source `etcd` with the certificates of old clusters: made by openssl(1), and used by a real
//! etcd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fleet_monitor::source::etcd::error::{FileError, TlsFileError};
use fleet_monitor::source::etcd::{EtcdSettings, EtcdSource, TlsFiles};
use tempfile::TempDir;

use super::tls::no_tls;
use super::watched::{follow, settings, until};
use crate::support::etcd::{Etcd, TlsListener, free_port, registry};
use crate::support::snapshots::assert_catalogue;
use crate::support::{Log, cannot_run};

const EC: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
const RSA_1024: &[&str] = &["rsa:1024"];
const NAMES: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1\n";

/// A directory of keys (NAME.key) and certificates (NAME.pem), with a CA named `ca`.
struct Authority(TempDir);

impl Authority {
    /// `None` where there is no openssl.
    fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            cannot_run("openssl is not there; it is in Debian's package openssl");
            return None;
        }
        let authority = Self(TempDir::new().unwrap());
        authority.ca("ca", EC);
        Some(authority)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Makes a CA. All CAs have the same name.
    fn ca(&self, name: &str, key: &[&str]) {
        let key_file = format!("{name}.key");
        let file = format!("{name}.pem");
        let request =
            ["req", "-x509", "-nodes", "-subj", "/CN=an old CA", "-days", "30", "-newkey"];
        self.openssl(&[&request, key, &["-keyout", &key_file, "-out", &file]].concat());
    }

    /// Makes a certificate for `CN=localhost` with these extensions. Without any, it is of version
    /// 1.
    fn issue(&self, name: &str, ca: &str, key: &[&str], hash: &str, extensions: &str) {
        let [key_file, request, file, extension_file] =
            ["key", "csr", "pem", "ext"].map(|kind| format!("{name}.{kind}"));
        let asked = ["req", "-nodes", "-subj", "/CN=localhost", "-newkey"];
        self.openssl(&[&asked, key, &["-keyout", &key_file, "-out", &request]].concat());

        let ca_file = format!("{ca}.pem");
        let ca_key = format!("{ca}.key");
        let signed = [
            "x509",
            "-req",
            "-CA",
            &ca_file,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-days",
            "30",
            hash,
        ];
        self.write(&extension_file, extensions);
        let extended: &[&str] = if extensions.is_empty() {
            &[]
        } else {
            &["-extfile", &extension_file]
        };
        self.openssl(&[signed.as_slice(), &["-in", &request, "-out", &file], extended].concat());
    }

    /// An etcd with the certificate of that name. It requires client certificates of the CA
    /// `client_ca`, if there is one.
    async fn etcd(&self, name: &str, client_ca: Option<&str>) -> Option<(Etcd, String)> {
        let port = free_port();
        let certificate = self.path(&format!("{name}.pem"));
        let key = self.path(&format!("{name}.key"));
        let authority = client_ca.map(|name| self.path(name));
        let etcd = Etcd::start_with_tls(TlsListener { port, certificate, key, authority }).await?;
        etcd.fill(&registry("v1.0.0")).await;
        Some((etcd, format!("https://127.0.0.1:{port}")))
    }

    /// The settings that trust the CAs in that file.
    fn settings(&self, url: &str, ca: &str) -> EtcdSettings {
        EtcdSettings {
            tls: TlsFiles { ca: Some(self.path(ca)), cert: None, key: None },
            ..settings(&[url])
        }
    }

    /// The error for these files with the client's certificate and key. It must be about this
    /// option and its file.
    fn refusal(&self, cert: &str, key: &str, option: &str) -> String {
        let tls = TlsFiles {
            ca: Some(self.path("ca.pem")),
            cert: Some(self.path(cert)),
            key: Some(self.path(key)),
        };
        let error = EtcdSource::new(EtcdSettings { tls, ..settings(&["https://127.0.0.1:2379"]) })
            .unwrap_err();
        assert_is_about(&error, option, &self.path(if option == "etcd_key" { key } else { cert }));
        self.without_directory(&error.to_string())
    }

    fn without_directory(&self, text: &str) -> String {
        text.replace(self.0.path().to_str().unwrap(), "DIRECTORY")
    }
}

fn assert_is_about(error: &FileError, option: &str, file: &Path) {
    match error {
        FileError::Tls(TlsFileError::File { option: named, path, .. }) => {
            assert_eq!((*named, path.as_path()), (option, file), "{error}");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn each_problem_with_the_certificate_of_etcd_is_explained() {
    let Some(files) = Authority::new() else {
        return;
    };
    files.ca("weak", RSA_1024);
    files.ca("anew", EC);
    let plain = ("ca", EC, "-sha256");
    let cases = [
        ("a common name alone", plain, "basicConstraints=CA:FALSE\n"),
        ("other names", plain, "subjectAltName=DNS:etcd-01,IP:10.0.0.1\n"),
        ("version 1", plain, ""),
        ("a CA's own", plain, "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:TRUE\n"),
        ("a key of 1024 bits", ("ca", RSA_1024, "-sha256"), NAMES),
        ("a CA of 1024 bits", ("weak", EC, "-sha256"), NAMES),
        ("SHA-1 and ECDSA", ("ca", EC, "-sha1"), NAMES),
        ("SHA-1 and RSA", ("weak", RSA_1024, "-sha1"), NAMES),
        (
            "for clients",
            plain,
            "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=clientAuth\n",
        ),
        ("a CA that was made anew", ("anew", EC, "-sha256"), NAMES),
    ];
    let mut explanations = Vec::new();
    for (case, (ca, key, hash), extensions) in cases {
        files.issue("etcd", ca, key, hash, extensions);
        let Some((_etcd, url)) = files.etcd("etcd", None).await else {
            return;
        };
        let trusted = if ca == "weak" { "weak.pem" } else { "ca.pem" };
        let problem = no_tls(files.settings(&url, trusted), &url).await;
        explanations.push((case, files.without_directory(&problem)));
    }
    assert_catalogue("etcd-certificates", explanations);
}

#[tokio::test]
async fn a_missing_client_certificate_is_explained_with_its_options() {
    let Some(files) = Authority::new() else {
        return;
    };
    files.issue("etcd", "ca", EC, "-sha256", NAMES);
    let Some((_etcd, url)) = files.etcd("etcd", Some("ca.pem")).await else {
        return;
    };
    let problem = no_tls(files.settings(&url, "ca.pem"), &url).await;
    assert!(problem.contains("--etcd-cert") && problem.contains("--etcd-key"), "{problem}");
}

#[tokio::test]
async fn a_broken_certificate_in_a_bundle_is_skipped_with_a_warning() {
    let Some(files) = Authority::new() else {
        return;
    };
    files.ca("another", EC);
    files.issue("etcd", "ca", EC, "-sha256", NAMES);
    let Some((_etcd, url)) = files.etcd("etcd", None).await else {
        return;
    };

    let good = files.read("ca.pem");
    let another = files.read("another.pem");
    let cut_off = another.split_once("-----END").unwrap().0;
    let typo = another.replacen("MII", "M!!", 1);
    let short = another.replace(another.lines().nth(2).unwrap(), "");
    let mut warnings = Vec::new();
    for (name, broken) in [("cut-off", cut_off), ("typo", &typo), ("too-short", &short)] {
        let log = Log::listen();
        let bundle = files.write(name, &format!("# our CAs\n{broken}{good}{another}"));
        let mut watched = follow(EtcdSource::new(files.settings(&url, name)).unwrap());
        until(&mut watched, |registry| !registry.states.is_empty()).await;
        let lines = log.lines(&["WARN", bundle.to_str().unwrap()]);
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        let sentence = lines[0].split_once(": ").expect("a module before the sentence").1;
        warnings.push((name, files.without_directory(sentence)));

        // Without another certificate, the file is an error.
        files.write(name, broken);
        let error = EtcdSource::new(files.settings(&url, name)).unwrap_err();
        assert_is_about(&error, "etcd_ca", &bundle);
        assert!(error.to_string().contains(" line 1 "), "{error}");
    }
    assert_catalogue("etcd-ca-warnings", warnings);
}

#[test]
fn a_key_that_cannot_be_used_is_explained() {
    let Some(files) = Authority::new() else {
        return;
    };
    files.issue("client", "ca", EC, "-sha256", NAMES);
    files.issue("weak", "ca", RSA_1024, "-sha256", NAMES);
    files.openssl(&["pkcs8", "-topk8", "-in", "client.key", "-out", "pkcs8", "-passout", "pass:x"]);
    files.openssl(&[
        "rsa",
        "-in",
        "weak.key",
        "-traditional",
        "-aes128",
        "-out",
        "traditional",
        "-passout",
        "pass:x",
    ]);
    files.openssl(&["pkey", "-in", "client.key", "-outform", "DER", "-out", "der"]);
    files.openssl(&["genrsa", "-out", "long.key", "2048"]);
    files.openssl(&["rsa", "-in", "long.key", "-outform", "DER", "-out", "long-der"]);
    let explanations = [
        ("encrypted, PKCS #8", "client.pem", "pkcs8"),
        ("encrypted, as OpenSSL did before", "client.pem", "traditional"),
        ("DER", "client.pem", "der"),
        ("DER of 2048 bits", "client.pem", "long-der"),
        ("1024 bits", "weak.pem", "weak.key"),
    ]
    .map(|(given, cert, key)| (given, files.refusal(cert, key, "etcd_key")));
    assert_catalogue("etcd-keys", explanations);
}

#[test]
fn a_client_certificate_that_cannot_be_used_is_explained() {
    let Some(files) = Authority::new() else {
        return;
    };
    files.issue("client", "ca", EC, "-sha256", NAMES);
    files.issue("old", "ca", EC, "-sha256", "");
    files.openssl(&["x509", "-in", "client.pem", "-outform", "DER", "-out", "der"]);
    // Without its intermediate certificates, etcd could not verify it.
    let broken = files.read("ca.pem").replacen("MII", "M!!", 1);
    files.write("chain", &(files.read("client.pem") + &broken));
    let line = format!(" line {} ", files.read("client.pem").lines().count() + 1);

    let explanations = [
        ("version 1", "old.pem", "old.key"),
        ("DER", "der", "client.key"),
        ("a key", "client.key", "client.key"),
        ("a broken certificate after the first", "chain", "client.key"),
    ]
    .map(|(given, cert, key)| {
        (given, files.refusal(cert, key, "etcd_cert").replace(&line, " line N "))
    });
    assert_catalogue("etcd-client-certificates", explanations);
}
