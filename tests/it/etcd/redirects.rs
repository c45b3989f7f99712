//! The source `etcd` with etcd 0.4, whose followers redirect requests that only their leader can
//! answer (`etcd/server/server.go`, `Dispatch`; `uhttp.Redirect`). No such etcd runs any more:
//! doubles reply as it did.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_monitor::source::etcd::error::{EtcdError, RedirectError};
use fleet_monitor::source::etcd::{EtcdSettings, EtcdSource};
use tempfile::TempDir;

use super::misbehaving::{CLUSTER, asked, leaf, state, tree};
use super::trouble::failure;
use super::watched::{follow, settings, until, watch};
use crate::support::etcd::{EtcdDouble, EtcdReply};
use crate::support::fleetd::Reply;

/// A reply with this status, headers and body.
fn reply(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Whole(
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
            .into_bytes(),
    )
}

fn redirect(status: &str, to: &str) -> Reply {
    reply(status, &format!("Location: {to}\r\n"), "<a>Temporary Redirect</a>.\n\n")
}

/// The leader, which replies to each request.
async fn leader() -> EtcdDouble {
    EtcdDouble::tcp(|path: &str| match path {
        _ if path.contains("wait=true") => Reply::Hang,
        _ if path.contains("engine-leader") => EtcdReply::of(
            CLUSTER,
            7,
            &serde_json::json!({"node": leaf("lease/engine-leader", &serde_json::json!({}), 7)}),
        )
        .whole(),
        _ if path.contains("recursive=true") => {
            EtcdReply::of(CLUSTER, 7, &tree(&[state("a.service", "running", 5)])).whole()
        }
        _ => reply("200 OK", "", "etcd 0.4.9"),
    })
    .await
}

/// A follower, which redirects requests for a quorum to the leader, and lists these members.
async fn follower(leader: &str, members: &'static str) -> EtcdDouble {
    let leader = leader.to_owned();
    EtcdDouble::tcp(move |path: &str| match path {
        _ if path.contains("quorum=true") => {
            redirect("307 Temporary Redirect", &format!("{leader}{path}"))
        }
        "/v2/machines" => reply("200 OK", "", members),
        _ if path.contains("wait=true") => Reply::Hang,
        "/version" => reply("200 OK", "", "etcd 0.4.9"),
        _ => reply("404 Not Found", "", "404 page not found\n"),
    })
    .await
}

/// The same address by another name of this host.
fn by_name(url: &str) -> String {
    url.replace("127.0.0.1", "localhost")
}

/// The target and the status of a redirect, and why it is not followed.
async fn not_followed(double: &EtcdDouble) -> (String, u16, RedirectError) {
    match failure(&mut watch(&[double.address()]), double.address()).await {
        EtcdError::Redirect { to, status, why, .. } => (to, status.as_u16(), why),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_redirect_to_a_named_member_is_followed() {
    let leader = leader().await;
    let follower = follower(leader.address(), "").await;
    let mut watched = watch(&[follower.address(), leader.address()]);
    until(&mut watched, |registry| !registry.states.is_empty()).await;
    assert!(watched.name().starts_with("etcd v0.4.9"), "{}", watched.name());
    leader
        .until(|traffic| {
            traffic
                .requests
                .iter()
                .filter(|request| request.contains("quorum=true"))
                .count()
                >= 2
        })
        .await;
    assert_eq!(asked(&follower, "/v2/machines"), 0, "a named member need not be looked up");
}

#[tokio::test]
async fn a_redirect_to_a_member_that_etcd_lists_is_followed() {
    let leader = leader().await;
    let follower =
        follower(&by_name(leader.address()), "http://10.0.0.1:4001, http://localhost:4001").await;
    until(&mut watch(&[follower.address()]), |registry| !registry.states.is_empty()).await;
    assert_eq!((asked(&follower, "/v2/members"), asked(&follower, "/v2/machines")), (1, 1));
}

#[tokio::test]
async fn a_redirect_to_an_unknown_host_is_an_error_with_its_target() {
    let leader = leader().await;
    let elsewhere = by_name(leader.address());
    let follower = follower(&elsewhere, "http://10.0.0.1:4001").await;
    let (to, status, why) = not_followed(&follower).await;
    assert!(to.starts_with(&format!("{elsewhere}/v2/keys/_coreos.com/fleet?")), "{to}");
    assert_eq!((status, why), (307, RedirectError::UnknownHost));
    assert_eq!(leader.traffic().opened, 0, "no request is sent there");
}

#[tokio::test]
async fn a_redirect_that_etcd_would_not_send_is_an_error_with_its_target() {
    let path = "/v2/keys/_coreos.com/fleet?recursive=true&quorum=true";
    for (status, to, why) in [
        (307, format!("https://127.0.0.1:1{path}"), RedirectError::Scheme),
        (301, format!("https://127.0.0.1:1{path}"), RedirectError::Status),
        (302, "http://127.0.0.1:1/login".to_owned(), RedirectError::Status),
        (307, "http://127.0.0.1:1/login".to_owned(), RedirectError::Path),
        (307, "/login".to_owned(), RedirectError::Address),
    ] {
        let location = to.clone();
        let double =
            EtcdDouble::tcp(move |_: &str| redirect(&format!("{status} Whatever"), &location))
                .await;
        assert_eq!(not_followed(&double).await, (to, status, why));
    }
}

#[tokio::test]
async fn redirects_without_an_end_are_given_up() {
    let address = Arc::new(Mutex::new(String::new()));
    let own = address.clone();
    let double = EtcdDouble::tcp(move |path: &str| {
        redirect("307 Temporary Redirect", &format!("{}{path}", own.lock().unwrap()))
    })
    .await;
    double.address().clone_into(&mut address.lock().unwrap());
    assert_eq!(not_followed(&double).await.2, RedirectError::TooMany);
    assert_eq!(asked(&double, "recursive=true"), 4);
}

/// The follower may have a new leader by the time that the old one fails.
#[tokio::test]
async fn after_a_leader_fails_the_follower_is_asked_again() {
    let first = leader().await;
    let second = leader().await;
    let leaders = [first.address().to_owned(), second.address().to_owned()];
    let is_lost = Arc::new(Mutex::new(false));
    let lost = is_lost.clone();
    let follower = EtcdDouble::tcp(move |path: &str| {
        redirect(
            "307 Temporary Redirect",
            &format!("{}{path}", leaders[usize::from(*lost.lock().unwrap())]),
        )
    })
    .await;
    let within = EtcdSettings {
        timeout: Duration::from_secs(2),
        ..settings(&[follower.address()])
    };
    let mut watched = follow(EtcdSource::new(within).unwrap());
    until(&mut watched, |registry| !registry.states.is_empty()).await;
    *is_lost.lock().unwrap() = true;
    drop(first);
    second
        .until(|traffic| {
            traffic
                .requests
                .iter()
                .any(|request| request.contains("recursive=true"))
        })
        .await;
    until(&mut watched, |registry| !registry.states.is_empty()).await;
}

#[tokio::test]
async fn a_password_is_not_sent_to_a_member_that_was_not_named() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "geheim").unwrap();
    let leader = leader().await;
    let follower = follower(&by_name(leader.address()), "http://localhost:4001").await;
    let login = fleet_monitor::source::etcd::login::Login {
        user: "monitor".into(),
        password_file: Some(file),
        credentials: None,
    };
    let source =
        EtcdSource::new(EtcdSettings { login: Some(login), ..settings(&[follower.address()]) })
            .unwrap();
    until(&mut follow(source), |registry| !registry.states.is_empty()).await;
    let has_password = |request: &String| request.to_lowercase().contains("\r\nauthorization: ");
    assert!(follower.traffic().requests.iter().all(has_password));
    assert!(!leader.traffic().requests.iter().any(has_password));
}
