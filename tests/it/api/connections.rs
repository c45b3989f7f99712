//! Connections: kept, closed and opened again. The prefix of the paths.

use std::sync::{Arc, Mutex};

use fleet_monitor::cluster::FleetList;
use fleet_monitor::source::FleetClient;
use fleet_monitor::source::api::ApiError;
use serde_json::json;

use super::{api, failure, machines, registry};
use crate::support::fleetd::{ApiRecording, Fleetd, Reply, error, http};

#[tokio::test]
async fn a_connection_is_kept_for_each_list() {
    let fleetd = Fleetd::tcp(|path: &str| registry(5).reply(path)).await;
    let api = api(fleetd.address());
    for _ in 0..3 {
        let (units, machines, files) = tokio::join!(
            api.poll(FleetList::Units),
            api.poll(FleetList::Machines),
            api.poll(FleetList::UnitFiles)
        );
        assert!(units.is_ok() && machines.is_ok() && files.is_ok());
    }
    let traffic = fleetd.traffic();
    assert_eq!((traffic.opened, traffic.requests.len()), (3, 12));
    assert!(
        traffic.requests[0]
            .contains(&format!("\r\nhost: {}\r\n", fleetd.address().trim_start_matches("http://")))
    );
}

#[tokio::test]
async fn a_kept_connection_that_turns_out_closed_is_opened_again() {
    let mut asked = 0;
    let fleetd = Fleetd::unix(move |path: &str| {
        asked += 1;
        // The second request on the first connection finds it closed, before any byte of an answer.
        if asked == 2 {
            Reply::Close
        } else {
            registry(0).reply(path)
        }
    });
    let api = api(fleetd.address());
    machines(&api).await;
    machines(&api).await;
    let traffic = fleetd.traffic();
    assert_eq!((traffic.opened, traffic.requests.len()), (2, 3));
}

#[tokio::test]
async fn a_connection_that_is_closed_after_a_reply_is_opened_again() {
    let fleetd = Fleetd::unix(|_: &str| Reply::Raw(http(200, "{}")));
    let api = api(fleetd.address());
    machines(&api).await;
    fleetd.until(|traffic| traffic.closed == 1).await;
    machines(&api).await;
    assert_eq!(fleetd.traffic().opened, 2);
}

#[tokio::test]
async fn dropping_a_poll_closes_its_connection() {
    let fleetd = Fleetd::unix(|_: &str| Reply::Hang);
    let api = api(fleetd.address());
    tokio::select! {
        answer = api.poll(FleetList::Machines) => panic!("it never answers: {answer:?}"),
        () = fleetd.until(|traffic| traffic.requests.len() == 1) => {}
    }
    fleetd.until(|traffic| traffic.closed == 1).await;
}

#[tokio::test]
async fn an_older_prefix_is_looked_for_once() {
    let fleetd = Fleetd::unix(ApiRecording::load("fleetd-v0.8.3").respond());
    let api = api(fleetd.address());
    machines(&api).await;
    machines(&api).await;
    assert_eq!(
        fleetd.paths(),
        ["/fleet/v1/machines", "/v1-alpha/machines", "/v1-alpha/machines"]
    );
}

#[tokio::test]
async fn the_prefix_is_looked_for_again_after_a_failure() {
    let upgraded = Arc::new(Mutex::new(false));
    let now = upgraded.clone();
    let fleetd = Fleetd::unix(move |path: &str| {
        match (path.starts_with("/v1-alpha"), *now.lock().unwrap()) {
            (true, false) | (false, true) => Reply::Json(200, json!({})),
            _ => error(404, ""),
        }
    });
    let api = api(fleetd.address());
    machines(&api).await;
    *upgraded.lock().unwrap() = true;
    let error = failure(&api).await;
    assert!(matches!(error, ApiError::NotFleet(..)), "{error:?}");
    machines(&api).await;
}
