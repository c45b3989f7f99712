//! Tests of the test bed: the etcd that tests start repeats recorded events and fails on demand,
//! and the double misbehaves on demand.

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

/// Applies an event to the values, and checks that it fits to them.
fn apply(values: &mut BTreeMap<String, String>, event: &RecordedEvent) {
    let RecordedEvent { action, node, previous } = event;
    let is_directory = node.dir || previous.as_ref().is_some_and(|node| node.dir);
    if !is_directory {
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
    tree.values()
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
        .collect()
}

#[test]
fn recorded_events_follow_from_each_other() {
    for name in RECORDINGS {
        let recording = EtcdRecording::load(name);
        let mut values = values(&recording.start);
        let mut index = recording.index;
        let mut t = 0.0;
        for recorded in &recording.events {
            assert!(recorded.t >= t, "{name}");
            t = recorded.t;

            index += 1;
            assert_eq!(recorded.event.node.modified, index, "{name}");
            apply(&mut values, &recorded.event);
        }
    }
}

#[tokio::test]
async fn a_tree_can_be_filled_in() {
    for version in ["v0.5.0", "v0.8.3", "v0.9.2", "v0.11.8", "v1.0.0"] {
        let Some(etcd) = Etcd::start().await else {
            return;
        };
        let tree = registry(version);
        etcd.fill(&tree).await;

        let (filled, index) = etcd.tree(PREFIX).await;
        assert_eq!(filled.values(), tree.values(), "{version}");
        assert!(index >= tree.flat().len() as u64);
        for (key, node) in filled.flat() {
            let ttl = tree.flat()[key].ttl;
            assert_eq!(node.ttl.is_some(), ttl.is_some(), "{version} {key}");
            assert!(node.ttl <= ttl, "{version} {key}");
        }
    }
}

#[tokio::test]
async fn recorded_events_can_be_repeated() {
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
            apply(&mut expected, event);
            let seen = etcd.event(PREFIX, index).await;
            let change = |event: &RecordedEvent| {
                (event.action.clone(), event.node.key.clone(), event.node.value.clone())
            };
            assert_eq!(change(&seen), change(event), "{name}");
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
async fn a_key_can_be_made_to_expire() {
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
        "a watch does not deliver the shortened TTL"
    );
    assert_eq!(etcd.send(Method::GET, "/key", &[]).await.body["errorCode"], 100);
}

#[tokio::test]
async fn an_event_that_is_no_longer_in_the_history_is_an_error() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let first = etcd.set(&format!("{PREFIX}/key"), "value", None).await;
    let from = first.to_string();
    let watch = [("wait", "true"), ("recursive", "true"), ("waitIndex", from.as_str())];
    etcd.churn(999).await;
    assert_eq!(etcd.event(PREFIX, first).await.node.modified, first);
    etcd.churn(1).await;

    let response = etcd.send(Method::GET, PREFIX, &watch).await;
    assert_eq!(response.status, 400);
    assert_eq!(response.body["errorCode"], 401);
    assert_eq!(response.index, first + 1000);
}

#[tokio::test]
async fn a_killed_etcd_comes_back_with_its_data() {
    let Some(mut etcd) = Etcd::start().await else {
        return;
    };
    let url = etcd.url();
    let set = etcd.set("/key", "value", None).await;

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
async fn a_paused_etcd_does_not_respond_until_it_is_resumed() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    etcd.pause();
    let mut write = std::pin::pin!(etcd.set("/key", "value", None));
    timeout(Duration::from_millis(300), &mut write).await.unwrap_err();

    etcd.resume();

    let set = write.await;
    assert_eq!(etcd.event("/key", set).await.action, "set");
}

#[tokio::test]
async fn a_dropped_etcd_is_gone() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let process = format!("/proc/{}", etcd.pid());
    assert!(Path::new(&process).exists());
    etcd.pause();
    drop(etcd);
    assert!(!Path::new(&process).exists());
}

/// All that a server sends for a path, and whether it closes the connection after that.
async fn response(double: &EtcdDouble, path: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(double.address().strip_prefix("http://").unwrap())
        .await
        .unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: etcd\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    let end = timeout(Duration::from_millis(300), stream.read_to_end(&mut bytes)).await;
    (String::from_utf8(bytes).unwrap(), end.is_ok())
}

#[tokio::test]
async fn the_double_misbehaves_on_demand() {
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
    let head = "HTTP/1.1 200 Whatever\r\nX-Etcd-Cluster-Id: 1c45a069f3a1d796\r\n\
                X-Etcd-Index: 7\r\nContent-Length: 16\r\n\r\n";
    assert_eq!(
        response(&double, "/whole").await,
        (format!("{head}{{\"action\":\"get\"}}"), false)
    );
    assert_eq!(response(&double, "/truncated").await, (format!("{head}{{\"action"), true));
    assert_eq!(response(&double, "/silent").await, (head.to_owned(), false));
    let (dripped, ended) = response(&double, "/dripping").await;
    assert!(
        head.starts_with(&dripped) && (1..10).contains(&dripped.len()) && !ended,
        "{dripped}"
    );
    let (forgotten, _) = response(&double, "/forgotten").await;
    assert!(
        forgotten.starts_with("HTTP/1.1 400 ") && forgotten.contains("\"errorCode\":401"),
        "{forgotten}"
    );
    assert!(response(&double, "/v2/keys").await.0.starts_with("HTTP/1.1 404 "));
    assert_eq!(double.paths().len(), 6);
}
