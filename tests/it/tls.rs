//! HTTPS of the program itself, asked by its own commands.

use std::fs;
use std::process::Stdio;

use tokio::process::Command;

use crate::support::certificates::CertificateFiles;
use crate::support::snapshots::assert_catalogue;
use crate::support::{Daemon, Program};

/// The demo with HTTPS. Each client needs a certificate if there is a `client_ca`.
fn program(files: &CertificateFiles, cert: &str, key: &str, client_ca: Option<&str>) -> Program {
    let path = |name: &str| files.path(name).to_str().unwrap().to_owned();
    let program = Program::new(&["--demo", "--tls-cert", &path(cert), "--tls-key", &path(key)]);

    match client_ca {
        Some(name) => program.environment("FLEET_MONITOR_TLS_CLIENT_CA", path(name)),
        None => program,
    }
}

/// What `check` prints, about the monitor at this URL.
async fn check(files: &CertificateFiles, url: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"));
    let output = command
        .args(["check", "--critical", "1000", "--url", url])
        .args(arguments)
        .current_dir(files.directory())
        .env_clear()
        .env("SSL_CERT_FILE", files.path("another.pem"))
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn https(daemon: &Daemon) -> String {
    format!("https://localhost:{}", daemon.address.port())
}

#[tokio::test]
async fn a_command_verifies_the_monitor() {
    let files = CertificateFiles::new();
    let daemon = program(&files, "ours-server.pem", "ours-server.key", None)
        .start()
        .await;
    let url = https(&daemon);
    let port = daemon.address.port().to_string();

    let mut answer = String::new();
    // Until the first reading it says that it knows nothing.
    while !answer.contains("OK") {
        assert!(!answer.contains("TLS"), "{answer}");
        answer = check(&files, &url, &["--ca", "ours.pem"]).await;
    }

    let mut refusals = Vec::new();
    for (what, url, arguments) in [
        ("a CA of the host that has not issued it", url.clone(), &[][..]),
        ("another CA", url.clone(), &["--ca", "another.pem"]),
        ("no TLS", format!("http://localhost:{port}"), &[]),
        ("a file that is none", url.clone(), &["--ca", "prose"]),
        ("a certificate alone", url.clone(), &["--cert", "ours-client.pem"]),
    ] {
        let answer = check(&files, &url, arguments).await;
        assert!(answer.starts_with("UNKNOWN"), "{what}: {answer}");
        refusals.push((what, answer.trim_end().replace(&port, "PORT")));
    }
    assert_catalogue("tls-of-commands", refusals);
}

#[tokio::test]
async fn a_command_shows_its_certificate() {
    let files = CertificateFiles::new();
    let daemon = program(&files, "ours-server.pem", "ours-server.key", Some("ours.pem"))
        .start()
        .await;
    let url = https(&daemon);

    let identity = ["--ca", "ours.pem", "--cert", "ours-client.pem", "--key", "ours-client.key"];
    let answer = check(&files, &url, &identity).await;
    assert!(!answer.contains("TLS"), "{answer}");

    let without = check(&files, &url, &identity[..2]).await;
    let another = ["--cert", "another-client.pem", "--key", "another-client.key"];
    let another = check(&files, &url, &[&identity[..2], &another].concat()).await;
    for answer in [&without, &another] {
        assert!(answer.starts_with("UNKNOWN") && answer.contains("certificate"), "{answer}");
    }
    assert!(without.contains("--cert"), "{without}");
}

#[tokio::test]
async fn files_that_cannot_be_used_prevent_a_start_and_are_explained() {
    let files = CertificateFiles::new();
    let mut errors = Vec::new();
    for (what, cert, key, client_ca) in [
        ("no such file", "nowhere", "ours-server.key", None),
        ("no certificate", "prose", "ours-server.key", None),
        ("a key instead of the certificate", "ours-server.key", "ours-server.key", None),
        ("no key", "ours-server.pem", "empty", None),
        ("the key of another", "ours-server.pem", "another-server.key", None),
        ("no CA", "ours-server.pem", "ours-server.key", Some("prose")),
    ] {
        let (status, log, _) = program(&files, cert, key, client_ca).end().await;
        assert_eq!(status, 78, "{what}: {log}");
        let log = log.replace(files.directory().to_str().unwrap(), "DIRECTORY");
        let error = log.split_once("tls_").map(|(_, error)| format!("tls_{error}"));
        errors.push((what, error.unwrap_or(log)));
    }
    assert_catalogue("tls-files", errors);
}

#[tokio::test]
async fn a_reload_reads_the_certificate_again_or_keeps_the_current_one() {
    let files = CertificateFiles::new();
    let copy = |from: &str, to: &str| fs::copy(files.path(from), files.path(to)).unwrap();
    copy("ours-server.pem", "cert");
    copy("ours-server.key", "key");
    let daemon = program(&files, "cert", "key", None).start().await;
    let url = https(&daemon);
    assert!(!check(&files, &url, &["--ca", "ours.pem"]).await.contains("TLS"));

    copy("another-server.pem", "cert");
    daemon.reload().await;
    assert!(!check(&files, &url, &["--ca", "ours.pem"]).await.contains("TLS"));

    copy("another-server.key", "key");
    daemon.reload().await;
    assert!(!check(&files, &url, &["--ca", "another.pem"]).await.contains("TLS"));
}
