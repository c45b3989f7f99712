//! When the source `etcd` watches by a stream, and when event by event.

use serde_json::json;

use super::misbehaving::{CLUSTER, asked, chunk, etcd, event, leaf, tree, units};
use super::watched::{until, watch};
use crate::support::etcd::{EtcdDouble, EtcdReply};
use crate::support::fleetd::Reply;

#[tokio::test]
async fn watches_that_end_after_each_event_deliver_each_event_once() {
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
        let registry = until(&mut watched, |registry| registry.index == LAST).await;
        assert_eq!(registry.states.len(), 50);
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

/// etcd's stream that starts behind has one event, and then none.
#[tokio::test]
async fn a_stream_whose_first_event_is_not_new_is_dropped() {
    const LAST: u64 = 14;
    let watches = |path: &str| {
        let index: u64 = path.rsplit_once("waitIndex=").unwrap().1.parse().unwrap();
        let text = format!("{}\n", event(&format!("unit-{index}.service"), index));
        match path.contains("stream=true") {
            // The first event is new. By the time of the next request, all others have happened.
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
    let registry = until(&mut watch(&[double.address()]), |registry| registry.index == LAST).await;
    assert_eq!(
        units(&registry),
        ["unit-11.service", "unit-12.service", "unit-13.service", "unit-14.service"]
    );
    assert_eq!((asked(&double, "?recursive=true"), asked(&double, "stream=true")), (1, 1));
}

/// A proxy may forward a response only when it is complete, which a stream never is.
#[tokio::test]
async fn where_a_proxy_holds_streams_back_events_are_requested_one_by_one() {
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
    // fleet goes on to write, as the probe of its leader shows.
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
    until(&mut watch(&[double.address()]), |registry| registry.index == 14).await;
    assert_eq!((asked(&double, "?recursive=true"), asked(&double, "stream=true")), (2, 1));
}

/// Even if the last stream has stalled.
#[tokio::test]
async fn a_watch_that_cannot_catch_up_event_by_event_tries_a_stream_again() {
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

    until(&mut watched, |registry| registry.index == 2000).await;

    assert_eq!((asked(&double, "?recursive=true"), asked(&double, "stream=true")), (3, 2));
}

/// etcd drops a client that does not keep up with a stream, also while a large tree is read.
#[tokio::test]
async fn a_stream_is_read_while_the_tree_is_read() {
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

    let registry = until(&mut watch(&[double.address()]), |registry| registry.index == LAST).await;

    assert_eq!(registry.states.len(), 320);
    assert_eq!((asked(&double, "?recursive=true"), asked(&double, "stream=true")), (2, 1));
}
