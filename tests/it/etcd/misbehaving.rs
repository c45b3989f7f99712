//! The source `etcd` with a server that does not behave like etcd.

use std::time::Duration;

use fleet_monitor::cluster::{Reading, RegistrySnapshot};
use fleet_monitor::source::etcd::error::EtcdError;
use fleet_monitor::source::etcd::{EtcdSettings, EtcdSource};
use fleet_monitor::source::{SourceError, SourceEvent};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::trouble::{failure, single_error};
use super::watched::{follow, next, settings, until, watch};
use crate::support::Log;
use crate::support::etcd::{EtcdDouble, EtcdReply, PREFIX};
use crate::support::fleetd::{Reply, Respond};
use crate::support::snapshots::assert_catalogue;

pub const CLUSTER: &str = "1c45a069f3a1d796";
const ANOTHER_CLUSTER: &str = "cdf818194e3a8c32";

/// A key of fleet's with its value.
pub fn leaf(key: &str, value: &Value, modified: u64) -> Value {
    json!({
        "key": format!("{PREFIX}/{key}"),
        "value": value.to_string(),
        "modifiedIndex": modified,
        "createdIndex": modified,
    })
}

pub fn state(unit: &str, sub: &str, modified: u64) -> Value {
    let state = json!({
        "loadState": "loaded",
        "activeState": "active",
        "subState": sub,
        "machineState": {"ID": "m1"},
    });
    leaf(&format!("states/{unit}/m1"), &state, modified)
}

/// A registry with a machine and these states.
pub fn tree(states: &[Value]) -> Value {
    let directory = |key: &str, nodes: &[Value]| -> Value {
        json!({"key": key, "dir": true, "nodes": nodes, "modifiedIndex": 1})
    };
    let machines = [directory(
        &format!("{PREFIX}/machines/m1"),
        &[leaf("machines/m1/object", &json!({"ID": "m1"}), 2)],
    )];
    let folders = [
        directory(&format!("{PREFIX}/machines"), &machines),
        directory(&format!("{PREFIX}/states"), states),
    ];
    json!({"action": "get", "node": directory(PREFIX, &folders)})
}

pub fn event(unit: &str, index: u64) -> Value {
    json!({"action": "set", "node": state(unit, "running", index)})
}

/// A server with these replies for the whole tree and for a watch, and without a leader.
pub fn etcd(
    mut whole: impl FnMut() -> Reply + Send + 'static,
    mut watch: impl FnMut(&str) -> Reply + Send + 'static,
) -> impl Respond {
    move |path: &str| match path {
        _ if path.contains("wait=true") => watch(path),
        _ if path.contains("recursive=true") => whole(),
        "/version" => {
            Reply::Whole(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\netcd 0.4.9".to_vec())
        }
        _ => EtcdReply::error(CLUSTER, 1, 100).whole(),
    }
}

/// The beginning of a response in chunks, up to and including the first chunk.
pub fn chunk(index: u64, text: &str) -> String {
    let head = format!(
        "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: {CLUSTER}\r\nX-Etcd-Index: {index}\r\n\
         Transfer-Encoding: chunked"
    );
    format!("{head}\r\n\r\n{:x}\r\n{text}\r\n", text.len())
}

fn within_a_second(double: &EtcdDouble) -> EtcdSettings {
    EtcdSettings {
        timeout: Duration::from_secs(1),
        ..settings(&[double.address()])
    }
}

pub fn units(registry: &RegistrySnapshot) -> Vec<&str> {
    registry.states.iter().map(|state| &*state.unit).collect()
}

pub fn asked(double: &EtcdDouble, text: &str) -> usize {
    double.paths().iter().filter(|path| path.contains(text)).count()
}

fn assert_only_gets(double: &EtcdDouble) {
    let requests = double.traffic().requests;
    assert!(requests.iter().all(|request| request.starts_with("GET ")), "{requests:?}");
}

#[tokio::test]
async fn a_response_without_a_registry_is_an_error_and_no_empty_cluster() {
    let reply = || EtcdReply::of(CLUSTER, 7, &tree(&[state("a.service", "running", 5)]));
    let json = |body: &Value| EtcdReply::of(CLUSTER, 7, body).whole();
    let raw = |head: &str, body: &str| {
        Reply::Raw(
            format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes(),
        )
    };
    let is_no_fleet: IsExpected = |error| matches!(error, EtcdError::KeyNotFound(..));
    let has_no_object: IsExpected =
        |error| matches!(error, EtcdError::KeyNotFound(_, keys) if keys.contains("/machines"));
    let has_no_index: IsExpected =
        |error| matches!(error, EtcdError::NotEtcd(_, problem) if problem.contains("X-Etcd-Index"));
    let deep = format!("{{\"node\":{}", "{\"nodes\":[".repeat(100_000));
    let another_registry = json!({"node": {
        "key": PREFIX,
        "dir": true,
        "nodes": [{"key": format!("{PREFIX}/pizza"), "value": "x"}],
    }});
    let cases: Vec<(Reply, IsExpected)> = vec![
        (reply().truncated(), is_broken_off),
        (Reply::Close, is_broken_off),
        (reply().dripping(Duration::from_millis(20)), is_late),
        (reply().silent(), is_late),
        (Reply::Hang, is_late),
        (EtcdReply::error(CLUSTER, 7, 300).whole(), has_failed),
        (raw("502 Bad Gateway", "<html>no</html>"), |error| has_status(error, 502, "")),
        (raw("200 OK\r\nX-Etcd-Index: 1", &deep), is_not_etcd),
        (json(&json!({"machines": []})), is_not_etcd),
        (json(&json!({"node": "/"})), is_not_etcd),
        (raw("200 OK", "<html>Welcome to nginx!</html>"), has_no_index),
        (Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), is_not_etcd),
        (EtcdReply::error(CLUSTER, 7, 100).whole(), is_no_fleet),
        (json(&another_registry), has_no_object),
        (json(&json!({"node": {"key": PREFIX, "value": "x"}})), has_no_object),
    ];
    join_all(
        cases
            .into_iter()
            .enumerate()
            .map(|(case, (answer, is_expected))| async move {
                let mut answer = Some(answer);
                // The first reply decides; later requests hang.
                let double =
                    EtcdDouble::tcp(move |_: &str| answer.take().unwrap_or(Reply::Hang)).await;
                let mut watched = follow(EtcdSource::new(within_a_second(&double)).unwrap());
                let error = first_error(
                    timeout(Duration::from_secs(5), next(&mut watched))
                        .await
                        .expect("an error in time"),
                );
                assert!(!error.is_unusable(), "retrying may help with each of these: {error}");
                let error = single_error(error, double.address());
                assert!(is_expected(&error), "case {case}: {error}");
                assert_only_gets(&double);
            }),
    )
    .await;
}

/// Whether an error is of the expected kind.
type IsExpected = fn(&EtcdError) -> bool;

fn is_broken_off(error: &EtcdError) -> bool {
    matches!(error, EtcdError::BrokenOff(..))
}

fn is_late(error: &EtcdError) -> bool {
    matches!(error, EtcdError::Timeout(_, time) if *time == Duration::from_secs(1))
}

fn is_not_etcd(error: &EtcdError) -> bool {
    matches!(error, EtcdError::NotEtcd(..))
}

/// Error 300 of etcd.
fn has_failed(error: &EtcdError) -> bool {
    has_status(error, 500, "Raft Internal Error")
}

fn has_status(error: &EtcdError, expected: u16, text: &str) -> bool {
    match error {
        EtcdError::Status { status, message, .. } => *status == expected && message == text,
        _ => false,
    }
}

fn first_error(event: SourceEvent) -> SourceError {
    match event {
        SourceEvent::Report(report) => report.outcome.expect_err("no reading"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_registry_that_has_no_end_is_given_up() {
    let head =
        format!("HTTP/1.1 200 OK\r\nX-Etcd-Index: 7\r\nContent-Length: {}\r\n\r\n", u64::MAX / 2);
    let flood = move |_: &str| Reply::Raw([head.as_bytes(), &vec![b' '; 257 << 20]].concat());
    let double = EtcdDouble::tcp(flood).await;
    let error = failure(&mut watch(&[double.address()]), double.address()).await;
    assert!(matches!(&error, EtcdError::TooLarge(_, 256, key) if key == PREFIX), "{error}");
}

/// The sentence of a log line, without its time, level and module.
fn sentence(line: &str) -> &str {
    line.split_once(": ").expect("a module before the sentence").1
}

#[tokio::test]
async fn a_watch_that_fails_is_logged_and_followed_by_a_whole_reading() {
    let reply = || EtcdReply::of(CLUSTER, 7, &event("b.service", 8));
    let text = event("b.service", 8).to_string();
    let half = &text[..text.len() / 2];
    let in_chunks = |text: &str| Reply::Whole(format!("{}0\r\n\r\n", chunk(7, text)).into_bytes());
    let cases: Vec<(&str, Reply)> = vec![
        ("an answer that is cut off", reply().truncated()),
        ("an event that is cut off", Reply::Raw(chunk(7, half).into_bytes())),
        ("half an event in a whole answer", in_chunks(half)),
        ("half an event, and no more", Reply::Stall(chunk(7, half).into_bytes())),
        ("an answer that drips", reply().dripping(Duration::from_millis(20))),
        (
            "an event without an end",
            Reply::Raw(chunk(7, &"x".repeat(17 << 20)).into_bytes()),
        ),
        ("what is no event", in_chunks("{\"action\":\"get\"}\n")),
        ("an answer without an index", EtcdReply { head: None, ..reply() }.whole()),
        ("an error of etcd", EtcdReply::error(CLUSTER, 7, 300).whole()),
        ("an error of etcd without its words", EtcdReply::error(CLUSTER, 7, 300).silent()),
        ("status 404", EtcdReply::without_v2().whole()),
        ("an index that is forgotten", EtcdReply::error(CLUSTER, 7, 401).whole()),
        ("an index of the past", EtcdReply::of(CLUSTER, 3, &json!({})).whole()),
    ];
    let log = &Log::listen();

    let ends = join_all(cases.into_iter().map(|(case, reply)| async move {
        let end = end_of_watch(log, case, reply).await;
        let end = match case {
            // How hyper explains it is not the same each time.
            "an answer that is cut off" | "an event that is cut off" => {
                end.split_once(": ").expect("a cause").0.to_owned()
            }
            _ => end,
        };
        (case, end)
    }));

    assert_catalogue("etcd-watch-ends", ends.await);
}

/// What is logged when a watch ends with this reply. The registry must be read again, and no row
/// may vanish meanwhile.
async fn end_of_watch(log: &Log, case: &str, reply: Reply) -> String {
    let mut reply = Some(reply);
    let whole = || EtcdReply::of(CLUSTER, 7, &tree(&[state("a.service", "running", 5)])).whole();
    let double = EtcdDouble::tcp(etcd(whole, move |_| reply.take().unwrap_or(Reply::Hang))).await;
    let mut watched = follow(EtcdSource::new(within_a_second(&double)).unwrap());

    let is_whole = |request: &&String| request.contains("?recursive=true");
    let again = double.until(|traffic| traffic.requests.iter().filter(is_whole).count() == 2);
    let readings = until(&mut watched, |registry| {
        assert_eq!(units(registry), ["a.service"], "{case}");
        false
    });
    tokio::select! {
        again = timeout(Duration::from_secs(15), again) => again.expect("the second read"),
        _ = readings => unreachable!(),
    }
    assert_only_gets(&double);

    // The first line is logged when the watch begins, the next one when it ends.
    let lines = log.lines(&["INFO", double.address()]);
    sentence(&lines[1]).replace(double.address(), "URL")
}

#[tokio::test]
async fn another_cluster_and_a_restored_one_are_begun_anew() {
    let mut warnings = Vec::new();
    for (case, cluster, index) in
        [("another cluster", ANOTHER_CLUSTER, 900), ("an index of the past", CLUSTER, 50)]
    {
        let mut trees =
            [(CLUSTER, 100, "old.service"), (cluster, index, "new.service")].into_iter();
        let whole = move || match trees.next() {
            Some((cluster, index, unit)) => {
                EtcdReply::of(cluster, index, &tree(&[state(unit, "running", 5)])).whole()
            }
            None => Reply::Hang,
        };
        let mut has_ended = false;
        let watches = move |_: &str| match std::mem::replace(&mut has_ended, true) {
            false => EtcdReply::error(CLUSTER, 100, 401).whole(),
            true => Reply::Hang,
        };
        let log = Log::listen();
        let double = EtcdDouble::tcp(etcd(whole, watches)).await;
        let mut watched = watch(&[double.address()]);

        loop {
            match next(&mut watched).await {
                SourceEvent::Report(report) => match report.outcome {
                    Ok(Reading::Registry(registry)) => {
                        assert_eq!(units(&registry), ["old.service"]);
                    }
                    other => panic!("{other:?}"),
                },
                SourceEvent::Restarted => break,
                other => panic!("{other:?}"),
            }
        }
        let registry = until(&mut watched, |_| true).await;
        assert_eq!(units(&registry), ["new.service"]);
        assert_eq!(registry.index, index);

        let lines = log.lines(&["WARN", double.address()]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        warnings.push((case, sentence(&lines[0]).replace(double.address(), "URL")));
    }
    assert_catalogue("etcd-cluster-changes", warnings);
}

#[tokio::test]
async fn keys_that_the_watch_missed_are_counted_and_read_again() {
    let running = |unit, modified| state(unit, "running", modified);
    let mut is_first = true;
    let whole = move || {
        let states = match std::mem::replace(&mut is_first, false) {
            true => [
                running("changed.service", 5),
                running("same.service", 6),
                running("went.service", 7),
            ],
            false => [
                running("changed.service", 8),
                running("came.service", 9),
                running("same.service", 6),
            ],
        };
        EtcdReply::of(CLUSTER, 10, &tree(&states)).whole()
    };
    let double = EtcdDouble::tcp(etcd(whole, |_| Reply::Hang)).await;
    let mut watched = follow(
        EtcdSource::new(settings(&[double.address()]))
            .unwrap()
            .with_comparison_interval(Duration::from_secs(1)),
    );
    let differences = loop {
        match next(&mut watched).await {
            SourceEvent::Report(report) => match report.outcome {
                Ok(Reading::Registry(registry)) => {
                    assert_eq!(
                        units(&registry),
                        ["changed.service", "same.service", "went.service"]
                    );
                }
                other => panic!("{other:?}"),
            },
            SourceEvent::Rechecked { differences } => break differences,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(differences, 3);
    until(&mut watched, |registry| {
        units(registry) == ["came.service", "changed.service", "same.service"]
    })
    .await;
    until(&mut watched, |_| asked(&double, "?recursive=true") == 4).await;
    assert_only_gets(&double);
}

/// A member that is cut off from the others answers with old data, except to requests for a
/// quorum.
#[tokio::test]
async fn a_member_that_is_cut_off_from_the_others_is_given_up() {
    let mut is_cut_off = false;
    let member = move |path: &str| match path {
        _ if path.contains("wait=true") => Reply::Hang,
        "/version" => {
            Reply::Whole(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\netcd 2.3.8".to_vec())
        }
        _ if path.contains("quorum=true") && is_cut_off => Reply::Hang,
        _ if path.contains("recursive=true") => {
            is_cut_off = true;
            EtcdReply::of(CLUSTER, 7, &tree(&[state("a.service", "running", 5)])).whole()
        }
        _ => EtcdReply::of(
            CLUSTER,
            7,
            &json!({"node": leaf("lease/engine-leader", &json!({"MachineID": "m1"}), 7)}),
        )
        .whole(),
    };
    let double = EtcdDouble::tcp(member).await;
    let mut watched = follow(EtcdSource::new(within_a_second(&double)).unwrap());
    let error = timeout(Duration::from_secs(10), failure(&mut watched, double.address()))
        .await
        .expect("an error in time");
    assert!(is_late(&error), "{error}");
}
