//! The source `etcd` with an etcd that has users: a real one, whose users etcdctl creates.

use std::fs;
use std::io;
use std::process::{Command, Output};

use fleet_monitor::source::etcd::error::EtcdError;
use fleet_monitor::source::etcd::login::Login;
use fleet_monitor::source::etcd::{EtcdSettings, EtcdSource};
use rustix::process::Signal;
use tempfile::TempDir;

use super::daemon::{etcd, reason, until_ready};
use super::trouble::failure;
use super::watched::{follow, next, settings, until};
use crate::support::etcd::{Etcd, EtcdDouble, EtcdReply, PREFIX};
use crate::support::fleetd::Reply;
use crate::support::{Program, cannot_run};

const PASSWORD: &str = "correct horse: battery";

const ROOT: &str = "root:root's own";

/// Runs etcdctl for version 2 of etcd's API.
fn etcdctl(etcd: &Etcd, arguments: &[&str]) -> io::Result<Output> {
    let mut command = Command::new("etcdctl");
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("ETCDCTL_API", "2");
    command.args(["--endpoints", &etcd.url()]).args(arguments).output()
}

/// Runs etcdctl as root.
fn as_root(etcd: &Etcd, arguments: &[&str]) {
    let output = etcdctl(etcd, &[&["--username", ROOT], arguments].concat()).unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// An etcd in which `monitor` may read fleet's registry. Neither `other` nor a client without a
/// login may read anything.
async fn guarded() -> Option<Etcd> {
    let etcd = etcd().await?;
    if etcdctl(&etcd, &["--version"]).is_err() {
        cannot_run("etcdctl is not there; it is in Debian's package etcd-client");
        return None;
    }
    for arguments in [["user", "add", ROOT].as_slice(), &["auth", "enable"]] {
        let output = etcdctl(&etcd, arguments).unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    as_root(&etcd, &["role", "add", "fleet-reader"]);
    as_root(
        &etcd,
        &["role", "grant", "fleet-reader", "--path", "/_coreos.com/fleet*", "--read"],
    );
    as_root(&etcd, &["user", "add", &format!("monitor:{PASSWORD}")]);
    as_root(&etcd, &["user", "grant", "monitor", "--roles", "fleet-reader"]);
    as_root(&etcd, &["user", "add", &format!("other:{PASSWORD}")]);
    as_root(&etcd, &["role", "revoke", "guest", "--path", "/*", "--readwrite"]);
    Some(etcd)
}

/// A user with its password in a file.
fn login(directory: &TempDir, user: &str, password: &str) -> Login {
    let file = directory.path().join("password");
    fs::write(&file, format!("{password}\n")).unwrap();
    Login {
        user: user.into(),
        password_file: Some(file),
        credentials: None,
    }
}

#[tokio::test]
async fn with_the_right_user_it_is_watched() {
    let Some(etcd) = guarded().await else { return };
    let directory = TempDir::new().unwrap();
    let login = login(&directory, "monitor", PASSWORD);
    let source =
        EtcdSource::new(EtcdSettings { login: Some(login), ..settings(&[&etcd.url()]) }).unwrap();
    source.probe().await.unwrap();
    let mut watched = follow(source);
    let before = until(&mut watched, |registry| !registry.states.is_empty())
        .await
        .index;
    as_root(&etcd, &["set", &format!("{PREFIX}/job/new.service/target-state"), "launched"]);
    until(&mut watched, |registry| registry.index > before).await;
}

#[tokio::test]
async fn a_refusal_names_the_user_and_the_key() {
    let Some(etcd) = guarded().await else { return };
    let url = etcd.url();
    let directory = TempDir::new().unwrap();
    let etcds_message = "The request requires user authentication (Insufficient credentials)";
    match failure(&mut follow(EtcdSource::new(settings(&[&url])).unwrap()), &url).await {
        EtcdError::NoLogin { status, message, key, .. } => {
            assert_eq!((status.as_u16(), &*message, &*key), (401, etcds_message, PREFIX));
        }
        other => panic!("{other}"),
    }

    for (user, password) in [("monitor", "wrong"), ("nobody", PASSWORD), ("other", PASSWORD)] {
        let login = Some(login(&directory, user, password));
        let source = EtcdSource::new(EtcdSettings { login, ..settings(&[&url]) }).unwrap();
        let refused = forbidden(source, &url).await;
        assert_eq!(refused, (user.to_owned(), 401, etcds_message.to_owned(), PREFIX.to_owned()));
    }
}

/// The user that was refused, the status and the message of that, and the key.
async fn forbidden(source: EtcdSource, url: &str) -> (String, u16, String, String) {
    match failure(&mut follow(source), url).await {
        EtcdError::Forbidden { user, status, message, key, .. } => {
            (user, status.as_u16(), message, key)
        }
        other => panic!("{other}"),
    }
}

/// A proxy in front of etcd may send it.
#[tokio::test]
async fn a_status_403_is_a_refusal_too() {
    let reply = || {
        EtcdReply {
            status: 403,
            head: None,
            body: "<html>Forbidden</html>".into(),
        }
        .whole()
    };
    let double = EtcdDouble::tcp(move |_: &str| reply()).await;
    let directory = TempDir::new().unwrap();
    let login = Some(login(&directory, "monitor", PASSWORD));
    let source = EtcdSource::new(EtcdSettings { login, ..settings(&[double.address()]) }).unwrap();
    let refused = forbidden(source, double.address()).await;
    assert_eq!(refused, ("monitor".to_owned(), 403, String::new(), PREFIX.to_owned()));
}

#[tokio::test]
async fn without_a_user_no_login_is_sent() {
    let double = EtcdDouble::tcp(|_: &str| Reply::Close).await;
    next(&mut follow(EtcdSource::new(settings(&[double.address()])).unwrap())).await;
    let requests = double.traffic().requests;
    assert!(
        !requests
            .iter()
            .any(|request| request.to_lowercase().contains("authorization")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn the_program_reads_the_password_from_the_credential_and_shows_it_nowhere() {
    let Some(etcd) = guarded().await else { return };
    let url = etcd.url();
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("etcd-password"), PASSWORD).unwrap();
    let recording = directory.path().join("recording.jsonl");
    let arguments = [
        "--etcd",
        &url,
        "--etcd-user",
        "monitor",
        "--record",
        recording.to_str().unwrap(),
        "--log",
        "trace",
    ];
    let program =
        || Program::new(&arguments).environment("CREDENTIALS_DIRECTORY", directory.path());
    let mut daemon = program().start().await;
    until_ready(&daemon).await;
    let (_, state) = daemon.get("/v2/state").await;

    // A reload with a wrong password starts a new watch with it, which is refused.
    fs::write(directory.path().join("etcd-password"), "geheim").unwrap();
    daemon.reload().await;
    let reason = reason(&daemon).await;
    assert!(reason.contains("HTTP 401") && reason.contains("\"monitor\""), "{reason}");
    daemon.stop(Signal::TERM).await;

    let log = daemon.log.all().join("\n");
    let recorded = fs::read_to_string(&recording).unwrap();
    // In base64 as in the header, and as it is.
    let secrets = [PASSWORD, "geheim", "bW9uaXRvcjpjb3JyZWN0IGhvcnNl", "bW9uaXRvcjpnZWhlaW0"];
    for secret in secrets {
        for (place, text) in [
            ("log", &log),
            ("recording", &recorded),
            ("state", &state.to_string()),
            ("reason", &reason),
        ] {
            assert!(!text.contains(secret), "the {place} shows it");
        }
    }
}

#[tokio::test]
async fn a_user_without_a_password_ends_with_78() {
    let (code, message, _) =
        Program::new(&["--etcd", "http://127.0.0.1:1", "--etcd-user", "monitor"])
            .end()
            .await;
    assert_eq!(code, 78);
    assert!(
        message.contains("etcd_user = \"monitor\"") && message.contains("--etcd-password-file"),
        "{message}"
    );
}

#[tokio::test]
async fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    for arguments in [
        &["--etcd", "http://monitor:geheim@127.0.0.1:1"] as &[&str],
        &["--etcd", "http://127.0.0.1:1", "--etcd-user", "monitor:geheim"],
        &["--etcd-password=geheim"],
        &["--etcd-password", "geheim"],
    ] {
        let (code, message, _) = Program::new(arguments).end().await;
        assert!(code == 78 || code == 2, "{code}: {message}");
        assert!(message.contains("etcd-password-file"), "{message}");
        assert!(!message.contains("geheim"), "{message}");
    }
}
