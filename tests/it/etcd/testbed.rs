//! The etcd that tests start does to its keys what was recorded of others, and fails as it is told
//! to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::etcd::{
    Etcd, EtcdDouble, EtcdRecording, EtcdReply, PREFIX, RecordedEvent, RecordedNode, TimedEvent,
    registry,
};

const RECORDINGS: [&str; 10] = [
    "filling-the-cluster.v0.5.0",
    "filling-the-cluster.v0.8.3",
    "filling-the-cluster.v0.9.2",
    "filling-the-cluster.v0.11.8",
    "filling-the-cluster.v1.0.0",
    "fleetd-restart",
    "fleetd-restart-of-the-polled-machine",
    "kill-machine-and-return",
    "shutdown-machine-and-return",
    "start-stop-destroy",
];

/// What an event leaves of the values: applied to the start, all events have to fit to each other.
fn change(values: &mut BTreeMap<String, String>, event: &RecordedEvent) {
    let RecordedEvent { action, node, previous } = event;
    let directory = node.dir || previous.as_ref().is_some_and(|node| node.dir);
    if !directory {
        assert_eq!(
            previous.as_ref().and_then(|node| node.value.as_ref()),
            values.get(&node.key),
            "{action} {} at {}",
            node.key,
            node.modified
        );
    }
    match &node.value {
        Some(value) => {
            values.insert(node.key.clone(), value.clone());
        }
        None => {
            values.retain(|key, _| *key != node.key && !key.starts_with(&format!("{}/", node.key)));
        }
    }
}

fn values(tree: &RecordedNode) -> BTreeMap<String, String> {
    let values = tree.values().into_iter();
    values
        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
        .collect()
}

#[test]
fn recorded_events_follow_from_each_other() {
    for name in RECORDINGS {
        let recording = EtcdRecording::load(name);
        let mut values = values(&recording.start);
        let (mut index, mut t) = (recording.index, 0.0);
        for recorded in &recording.events {
            assert!(recorded.t >= t, "{name}");
            (index, t) = (index + 1, recorded.t);
            assert_eq!(recorded.event.node.modified, index, "{name}");
            change(&mut values, &recorded.event);
        }
    }
}

#[tokio::test]
async fn what_was_filled_in_is_there() {
    for version in ["v0.5.0", "v0.8.3", "v0.9.2", "v0.11.8", "v1.0.0"] {
        let Some(etcd) = Etcd::start().await else {
            return;
        };
        let tree = registry(version);
        etcd.fill(&tree).await;
        let (there, index) = etcd.tree(PREFIX).await;
        assert_eq!(there.values(), tree.values(), "{version}");
        assert!(index >= tree.flat().len() as u64);
        for (key, node) in there.flat() {
            let life = tree.flat()[key].ttl;
            assert_eq!(node.ttl.is_some(), life.is_some(), "{version} {key}");
            assert!(node.ttl <= life, "{version} {key}");
        }
    }
}

#[tokio::test]
async fn what_happened_then_happens_again() {
    for replay in ["filling-the-cluster.v0.5.0", "fleetd-restart", "start-stop-destroy"]
        .map(|name| tokio::spawn(replay(name)))
    {
        replay.await.unwrap();
    }
}

async fn replay(name: &str) {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let recording = EtcdRecording::load(name);
    etcd.fill(&recording.start).await;
    let mut expected = values(&recording.start);
    for step in recording.steps() {
        let indices = etcd.apply_step(step).await;
        for (TimedEvent { event, .. }, index) in step.iter().zip(indices) {
            change(&mut expected, event);
            let seen = etcd.event(PREFIX, index).await;
            let told = |event: &RecordedEvent| {
                (event.action.clone(), event.node.key.clone(), event.node.value.clone())
            };
            assert_eq!(told(&seen), told(event), "{name}");
            assert_eq!(
                (seen.node.modified, seen.node.ttl),
                (index, event.node.ttl),
                "{name} {}",
                event.node.key
            );
            let before = |event: &RecordedEvent| {
                event.previous.as_ref().map(|node| (node.dir, node.value.clone()))
            };
            assert_eq!(before(&seen), before(event), "{name} {}", event.node.key);
        }
    }
    assert_eq!(values(&etcd.tree(PREFIX).await.0), expected, "{name}");
}

#[tokio::test]
async fn a_key_expires_by_itself() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let set = etcd.set("/key", "value", Some(100)).await;
    let expired = etcd.expire(&["/key"]).await[0];
    assert!(expired > set);
    let event = etcd.event("/key", set + 1).await;
    assert_eq!(
        (event.action.as_str(), event.node.modified),
        ("expire", expired),
        "no watch hears of the shortened life"
    );
    assert_eq!(etcd.send(Method::GET, "/key", &[]).await.body["errorCode"], 100);
}

#[tokio::test]
async fn what_is_forgotten_is_an_error() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let first = etcd.set(&format!("{PREFIX}/key"), "value", None).await;
    let from = first.to_string();
    let watch = [("wait", "true"), ("recursive", "true"), ("waitIndex", from.as_str())];
    etcd.churn(999).await;
    assert_eq!(etcd.event(PREFIX, first).await.node.modified, first);
    etcd.churn(1).await;
    let said = etcd.send(Method::GET, PREFIX, &watch).await;
    assert_eq!(
        (said.status, &said.body["errorCode"], said.index),
        (400, &json!(401), first + 1000)
    );
}

#[tokio::test]
async fn a_killed_one_comes_back_with_what_it_had() {
    let Some(mut etcd) = Etcd::start().await else {
        return;
    };
    let (url, set) = (etcd.url(), etcd.set("/key", "value", None).await);
    etcd.stop_hard();
    TcpStream::connect(url.strip_prefix("http://").unwrap())
        .await
        .unwrap_err();
    etcd.restart().await;
    assert_eq!(etcd.url(), url);
    let (node, index) = etcd.tree("/key").await;
    assert_eq!((node.value.as_deref(), node.modified), (Some("value"), set));
    assert!(index >= set);
}

#[tokio::test]
async fn a_paused_one_says_nothing_until_it_goes_on() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    etcd.pause();
    let asked = etcd.set("/key", "value", None);
    let mut asked = std::pin::pin!(asked);
    timeout(Duration::from_millis(300), &mut asked).await.unwrap_err();
    etcd.resume();
    let set = asked.await;
    assert_eq!(etcd.event("/key", set).await.action, "set");
}

#[tokio::test]
async fn a_dropped_one_is_gone() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let process = format!("/proc/{}", etcd.pid());
    assert!(Path::new(&process).exists());
    etcd.pause();
    drop(etcd);
    assert!(!Path::new(&process).exists());
}

/// All that a server says to a request for a path, until it ends the connection or says nothing
/// more.
async fn said(double: &EtcdDouble, path: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(double.address().strip_prefix("http://").unwrap())
        .await
        .unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: etcd\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    let ended = timeout(Duration::from_millis(300), stream.read_to_end(&mut bytes))
        .await
        .is_ok();
    (String::from_utf8(bytes).unwrap(), ended)
}

#[tokio::test]
async fn the_double_misbehaves_as_it_is_told_to() {
    let reply = || EtcdReply::of("1c45a069f3a1d796", 7, &json!({"action": "get"}));
    let double = EtcdDouble::tcp(move |path: &str| match path {
        "/whole" => reply().whole(),
        "/truncated" => reply().truncated(),
        "/silent" => reply().silent(),
        "/dripping" => reply().dripping(Duration::from_millis(50)),
        "/forgotten" => EtcdReply::error("1c45a069f3a1d796", 7, 401).whole(),
        _ => EtcdReply::without_v2().whole(),
    })
    .await;
    let head = "HTTP/1.1 200 Whatever\r\nX-Etcd-Cluster-Id: 1c45a069f3a1d796\r\nX-Etcd-Index: 7\r\nContent-Length: 16\r\n\r\n";
    assert_eq!(said(&double, "/whole").await, (format!("{head}{{\"action\":\"get\"}}"), false));
    assert_eq!(said(&double, "/truncated").await, (format!("{head}{{\"action"), true));
    assert_eq!(said(&double, "/silent").await, (head.to_owned(), false));
    let (dripped, ended) = said(&double, "/dripping").await;
    assert!(
        head.starts_with(&dripped) && (1..10).contains(&dripped.len()) && !ended,
        "{dripped}"
    );
    let (forgotten, _) = said(&double, "/forgotten").await;
    assert!(
        forgotten.starts_with("HTTP/1.1 400 ") && forgotten.contains("\"errorCode\":401"),
        "{forgotten}"
    );
    assert!(said(&double, "/v2/keys").await.0.starts_with("HTTP/1.1 404 "));
    assert_eq!(double.paths().len(), 6);
}
