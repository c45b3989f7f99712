//! The source `etcd` with a server that does not do as etcd does.

use std::time::Duration;

use fleet_monitor::cluster::{Reading, RegistrySnapshot};
use fleet_monitor::source::etcd::error::EtcdError;
use fleet_monitor::source::etcd::{EtcdSettings, EtcdSource};
use fleet_monitor::source::{SourceError, SourceEvent};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::trouble::{failure, of_one};
use super::watched::{follow, next, settings, until, watch};
use crate::support::Log;
use crate::support::etcd::{EtcdDouble, EtcdReply, PREFIX};
use crate::support::fleetd::{Reply, Respond};
use crate::support::snapshots::assert_catalogue;

const CLUSTER: &str = "1c45a069f3a1d796";
const ANOTHER_CLUSTER: &str = "cdf818194e3a8c32";

/// A key of fleet's with its value.
pub fn leaf(key: &str, value: &Value, modified: u64) -> Value {
    json!({"key": format!("{PREFIX}/{key}"), "value": value.to_string(), "modifiedIndex": modified, "createdIndex": modified})
}

pub fn state(unit: &str, sub: &str, modified: u64) -> Value {
    let state = json!({"loadState": "loaded", "activeState": "active", "subState": sub, "machineState": {"ID": "m1"}});
    leaf(&format!("states/{unit}/m1"), &state, modified)
}

/// A registry with a machine and these states.
pub fn tree(states: &[Value]) -> Value {
    let directory = |key: &str, nodes: &[Value]| json!({"key": key, "dir": true, "nodes": nodes, "modifiedIndex": 1});
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

fn event(unit: &str, index: u64) -> Value {
    json!({"action": "set", "node": state(unit, "running", index)})
}

/// A server that says this of the whole tree and of a watch, and knows no leader.
fn etcd(
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

/// The beginning of an answer in chunks, up to and with one of them.
fn chunk(index: u64, text: &str) -> String {
    let head = format!(
        "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: {CLUSTER}\r\nX-Etcd-Index: {index}\r\nTransfer-Encoding: chunked"
    );
    format!("{head}\r\n\r\n{:x}\r\n{text}\r\n", text.len())
}

fn within_a_second(double: &EtcdDouble) -> EtcdSettings {
    EtcdSettings {
        timeout: Duration::from_secs(1),
        ..settings(&[double.address()])
    }
}

fn units(told: &RegistrySnapshot) -> Vec<&str> {
    told.states.iter().map(|state| &*state.unit).collect()
}

pub fn asked(double: &EtcdDouble, words: &str) -> usize {
    double.paths().iter().filter(|path| path.contains(words)).count()
}

fn assert_only_gets(double: &EtcdDouble) {
    let requests = double.traffic().requests;
    assert!(requests.iter().all(|request| request.starts_with("GET ")), "{requests:?}");
}

#[tokio::test]
async fn what_is_no_registry_is_an_error_and_no_empty_cluster() {
    let reply = || EtcdReply::of(CLUSTER, 7, &tree(&[state("a.service", "running", 5)]));
    let json = |body: &Value| EtcdReply::of(CLUSTER, 7, body).whole();
    let raw = |head: &str, body: &str| {
        Reply::Raw(
            format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes(),
        )
    };
    let is_no_fleet: Is = |error| matches!(error, EtcdError::NoFleet(..));
    let has_no_object: Is =
        |error| matches!(error, EtcdError::NoFleet(_, keys) if keys.contains("/machines"));
    let has_no_index: Is =
        |error| matches!(error, EtcdError::NotEtcd(_, problem) if problem.contains("X-Etcd-Index"));
    let deep = format!("{{\"node\":{}", "{\"nodes\":[".repeat(100_000));
    let somebody_elses = json!({"node": {"key": PREFIX, "dir": true, "nodes": [{"key": format!("{PREFIX}/pizza"), "value": "x"}]}});
    let cases: Vec<(Reply, Is)> = vec![
        (reply().truncated(), is_broken_off),
        (Reply::Close, is_broken_off),
        (reply().dripping(Duration::from_millis(20)), is_late),
        (reply().silent(), is_late),
        (Reply::Hang, is_late),
        (EtcdReply::error(CLUSTER, 7, 300).whole(), has_failed),
        (
            raw("502 Bad Gateway", "<html>no</html>"),
            |error| matches!(error, EtcdError::Status { status, message, .. } if *status == 502 && message.is_empty()),
        ),
        (raw("200 OK\r\nX-Etcd-Index: 1", &deep), is_not_etcd),
        (json(&json!({"machines": []})), is_not_etcd),
        (json(&json!({"node": "/"})), is_not_etcd),
        (raw("200 OK", "<html>Welcome to nginx!</html>"), has_no_index),
        (Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), is_not_etcd),
        (EtcdReply::error(CLUSTER, 7, 100).whole(), is_no_fleet),
        (json(&somebody_elses), has_no_object),
        (json(&json!({"node": {"key": PREFIX, "value": "x"}})), has_no_object),
    ];
    join_all(
        cases
            .into_iter()
            .enumerate()
            .map(|(case, (answer, is_expected))| async move {
                let mut answer = Some(answer);
                // The first decides; whatever comes later comes too late.
                let double =
                    EtcdDouble::tcp(move |_: &str| answer.take().unwrap_or(Reply::Hang)).await;
                let mut watched = follow(EtcdSource::new(within_a_second(&double)).unwrap());
                let error = first_error(
                    timeout(Duration::from_secs(5), next(&mut watched))
                        .await
                        .expect("it is said in time"),
                );
                assert!(!error.is_unusable(), "none of these is for ever: {error}");
                let error = of_one(error, double.address());
                assert!(is_expected(&error), "case {case}: {error}");
                assert_only_gets(&double);
            }),
    )
    .await;
}

/// Whether an error is of a kind.
type Is = fn(&EtcdError) -> bool;

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
    matches!(error, EtcdError::Status { status, message, .. } if *status == 500 && message.starts_with("Raft"))
}

fn first_error(said: SourceEvent) -> SourceError {
    match said {
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

#[tokio::test]
async fn a_watch_that_goes_wrong_is_told_in_the_log_and_followed_by_a_whole_reading() {
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
    let told = join_all(cases.into_iter().map(|(case, answer)| async move {
        let mut answer = Some(answer);
        let whole =
            || EtcdReply::of(CLUSTER, 7, &tree(&[state("a.service", "running", 5)])).whole();
        let double =
            EtcdDouble::tcp(etcd(whole, move |_| answer.take().unwrap_or(Reply::Hang))).await;
        let mut watched = follow(EtcdSource::new(within_a_second(&double)).unwrap());
        let is_whole = |request: &String| request.contains("?recursive=true");
        let again = double.until(|traffic| {
            traffic.requests.iter().filter(|request| is_whole(request)).count() == 2
        });
        let readings = until(&mut watched, |told| {
            assert_eq!(units(told), ["a.service"], "{case}");
            false
        });
        tokio::select! {
            again = timeout(Duration::from_secs(15), again) => again.expect("it asks again"),
            _ = readings => unreachable!(),
        }
        assert_only_gets(&double);

        // That the watch begins, why it ends, and maybe that it has begun anew.
        let lines = log.lines(&["INFO", double.address()]);
        let (_, said) = lines[1].split_once("source::etcd: ").expect("it is of the source");
        // How a connection ends is not the same each time.
        let said = said
            .split_once("broke off")
            .map_or(said, |(whose, _)| &said[..whose.len() + "broke off".len()]);
        (case, said.replace(double.address(), "URL"))
    }));
    assert_catalogue("etcd-watch-ends", told.await);
}

#[tokio::test]
async fn another_cluster_and_a_past_are_begun_anew() {
    for (cluster, index) in [(ANOTHER_CLUSTER, 900), (CLUSTER, 50)] {
        let mut trees =
            [(CLUSTER, 100, "old.service"), (cluster, index, "new.service")].into_iter();
        let whole = move || match trees.next() {
            Some((cluster, index, unit)) => {
                EtcdReply::of(cluster, index, &tree(&[state(unit, "running", 5)])).whole()
            }
            None => Reply::Hang,
        };
        let mut ended = false;
        let watches = move |_: &str| match std::mem::replace(&mut ended, true) {
            false => EtcdReply::error(CLUSTER, 100, 401).whole(),
            true => Reply::Hang,
        };
        let (log, double) = (Log::listen(), EtcdDouble::tcp(etcd(whole, watches)).await);
        let mut watched = watch(&[double.address()]);
        loop {
            match next(&mut watched).await {
                SourceEvent::Report(report) => match report.outcome {
                    Ok(Reading::Registry(told)) => assert_eq!(units(&told), ["old.service"]),
                    other => panic!("{other:?}"),
                },
                SourceEvent::Began => break,
                other => panic!("{other:?}"),
            }
        }
        let told = until(&mut watched, |_| true).await;
        assert_eq!((units(&told), told.index), (vec!["new.service"], index));
        let named = ["WARN", double.address(), cluster, CLUSTER, &index.to_string()];
        assert_eq!(log.lines(&named).len(), 1);
    }
}

#[tokio::test]
async fn watches_that_end_after_each_event_tell_each_event_once() {
    const LAST: u64 = 60;
    for (keeps, is_live) in [(true, true), (true, false), (false, true), (false, false)] {
        let watches = move |path: &str| {
            let index: u64 = path.rsplit_once("waitIndex=").unwrap().1.parse().unwrap();
            if index > LAST {
                return Reply::Hang;
            }
            let text = format!("{}\n", event(&format!("unit-{index}.service"), index));
            let answer =
                format!("{}0\r\n\r\n", chunk(if is_live { index - 1 } else { LAST }, &text))
                    .into_bytes();
            if keeps {
                Reply::Whole(answer)
            } else {
                Reply::Raw(answer)
            }
        };
        let whole = || EtcdReply::of(CLUSTER, 10, &tree(&[])).whole();
        let double = EtcdDouble::tcp(etcd(whole, watches)).await;
        let mut watched = watch(&[double.address()]);
        let told = until(&mut watched, |told| told.index == LAST).await;
        assert_eq!(told.states.len(), 50);
        double
            .until(|traffic| {
                traffic
                    .requests
                    .iter()
                    .any(|request| request.contains("waitIndex=61"))
            })
            .await;
        assert_eq!(
            (asked(&double, "?recursive=true"), asked(&double, "wait=true")),
            (1, 51),
            "{keeps} {is_live}"
        );
        assert_eq!(asked(&double, "stream=true") > 0, is_live);
    }
}

/// As etcd does it: a stream that begins behind has one event, and then none.
#[tokio::test]
async fn a_stream_is_left_whose_first_event_is_not_new() {
    const LAST: u64 = 14;
    let watches = |path: &str| {
        let index: u64 = path.rsplit_once("waitIndex=").unwrap().1.parse().unwrap();
        let text = format!("{}\n", event(&format!("unit-{index}.service"), index));
        match path.contains("stream=true") {
            // The first has just happened, and by the time of the next request so have all others.
            false if index == 11 => {
                Reply::Whole(format!("{}0\r\n\r\n", chunk(10, &text)).into_bytes())
            }
            false if index <= LAST => {
                Reply::Whole(format!("{}0\r\n\r\n", chunk(LAST, &text)).into_bytes())
            }
            true if index <= LAST => Reply::Stall(chunk(LAST, &text).into_bytes()),
            _ => Reply::Hang,
        }
    };
    let double =
        EtcdDouble::tcp(etcd(|| EtcdReply::of(CLUSTER, 10, &tree(&[])).whole(), watches)).await;
    let told = until(&mut watch(&[double.address()]), |told| told.index == LAST).await;
    assert_eq!(
        units(&told),
        ["unit-11.service", "unit-12.service", "unit-13.service", "unit-14.service"]
    );
    assert_eq!((asked(&double, "?recursive=true"), asked(&double, "stream=true")), (1, 1));
}

/// A proxy may pass on an answer when it is whole, which a stream never is.
#[tokio::test]
async fn where_streams_do_not_come_through_it_is_asked_event_by_event() {
    let live = |index: u64| {
        let text = format!("{}\n", event(&format!("unit-{index}.service"), index));
        Reply::Whole(format!("{}0\r\n\r\n", chunk(index - 1, &text)).into_bytes())
    };
    let mut indices = [10, 12].into_iter();
    let mut respond = etcd(
        move || {
            indices
                .next()
                .map_or(Reply::Hang, |index| EtcdReply::of(CLUSTER, index, &tree(&[])).whole())
        },
        move |path: &str| match path.rsplit_once("waitIndex=").unwrap().1.parse().unwrap() {
            _ if path.contains("stream=true") => Reply::Stall(chunk(12, "\n").into_bytes()),
            index @ (11 | 13 | 14) => live(index),
            _ => Reply::Hang,
        },
    );
    // fleet goes on to write, as the look at its leader shows.
    let leader = move |path: &str| match path.contains("engine-leader") {
        true => EtcdReply::of(
            CLUSTER,
            12,
            &json!({"node": leaf("lease/engine-leader", &json!({}), 12)}),
        )
        .whole(),
        false => respond(path),
    };
    let double = EtcdDouble::tcp(leader).await;
    until(&mut watch(&[double.address()]), |told| told.index == 14).await;
    assert_eq!((asked(&double, "?recursive=true"), asked(&double, "stream=true")), (2, 1));
}

/// Whatever had become of a stream before.
#[tokio::test]
async fn who_cannot_keep_up_event_by_event_tries_a_stream_again() {
    let mut indices = [10, 12, 2000].into_iter();
    let mut respond = etcd(
        move || {
            indices
                .next()
                .map_or(Reply::Hang, |index| EtcdReply::of(CLUSTER, index, &tree(&[])).whole())
        },
        move |path: &str| match path
            .rsplit_once("waitIndex=")
            .map(|(_, index)| index.parse().unwrap())
        {
            Some(11) if !path.contains("stream=true") => {
                let text = format!("{}\n", event("unit-11.service", 11));
                Reply::Whole(format!("{}0\r\n\r\n", chunk(10, &text)).into_bytes())
            }
            Some(13) => EtcdReply::error(CLUSTER, 2000, 401).whole(),
            _ => Reply::Stall(chunk(12, "\n").into_bytes()),
        },
    );
    let leader = move |path: &str| match path.contains("engine-leader") {
        true => EtcdReply::of(
            CLUSTER,
            12,
            &json!({"node": leaf("lease/engine-leader", &json!({}), 12)}),
        )
        .whole(),
        false => respond(path),
    };
    let double = EtcdDouble::tcp(leader).await;
    let mut watched = watch(&[double.address()]);

    until(&mut watched, |told| told.index == 2000).await;

    assert_eq!((asked(&double, "?recursive=true"), asked(&double, "stream=true")), (3, 2));
}

/// etcd drops who does not keep up with a stream: while the tree is read, which takes as long as it
/// is large, too.
#[tokio::test]
async fn a_stream_is_read_while_the_tree_is() {
    const LAST: u64 = 420;
    // More than the buffers of sockets hold.
    let large = "x".repeat(100_000);
    let event = |index: u64| {
        let mut event = event(&format!("unit-{index}.service"), index);
        event["padding"] = json!(large);
        format!("{event}\n")
    };
    let events: String = (101..=LAST).map(event).collect();
    let mut trees = [10, 100].into_iter();
    let whole = move || match trees.next() {
        Some(10) => EtcdReply::of(CLUSTER, 10, &tree(&[])).whole(),
        Some(index) => match EtcdReply::of(CLUSTER, index, &tree(&[])).whole() {
            Reply::Whole(bytes) => Reply::AfterStall(bytes),
            other => other,
        },
        None => Reply::Hang,
    };
    let mut is_first = true;
    let watches = move |_: &str| match std::mem::replace(&mut is_first, false) {
        true => EtcdReply::error(CLUSTER, 100, 401).whole(),
        false => Reply::Stall(chunk(100, &events).into_bytes()),
    };
    let double = EtcdDouble::tcp(etcd(whole, watches)).await;

    let told = until(&mut watch(&[double.address()]), |told| told.index == LAST).await;

    assert_eq!(told.states.len(), 320);
    assert_eq!((asked(&double, "?recursive=true"), asked(&double, "stream=true")), (2, 1));
}

#[tokio::test]
async fn what_the_watch_did_not_tell_is_counted_and_read() {
    let there = |unit, modified| state(unit, "running", modified);
    let mut first = true;
    let whole = move || {
        let states = match std::mem::replace(&mut first, false) {
            true => {
                [there("changed.service", 5), there("same.service", 6), there("went.service", 7)]
            }
            false => {
                [there("changed.service", 8), there("came.service", 9), there("same.service", 6)]
            }
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
                Ok(Reading::Registry(told)) => {
                    assert_eq!(units(&told), ["changed.service", "same.service", "went.service"]);
                }
                other => panic!("{other:?}"),
            },
            SourceEvent::Checked { differences } => break differences,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(differences, 3);
    until(&mut watched, |told| {
        units(told) == ["came.service", "changed.service", "same.service"]
    })
    .await;
    until(&mut watched, |_| asked(&double, "?recursive=true") == 4).await;
    assert_only_gets(&double);
}

/// A member that is cut off from the others answers from its past, but for what a quorum has to
/// confirm.
#[tokio::test]
async fn a_member_that_is_cut_off_from_the_others_is_left() {
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
        .expect("it is found");
    assert!(is_late(&error), "{error}");
}
