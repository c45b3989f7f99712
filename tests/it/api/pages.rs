//! Lists of several pages, also those that change while they are read.

use std::sync::{Arc, Mutex};

use fleet_monitor::cluster::{FleetList, UnitState};
use fleet_monitor::source::api::ApiError;
use fleet_monitor::source::{FleetClient, SourceError};
use serde_json::json;

use super::{api, failure, files, registry, state, states};
use crate::support::fleetd::{ApiRecording, Fleetd, Registry, Reply, http};

fn names(states: &[UnitState]) -> Vec<String> {
    states.iter().map(|state| state.unit.to_string()).collect()
}

fn expected(units: impl IntoIterator<Item = usize>) -> Vec<String> {
    units
        .into_iter()
        .map(|unit| format!("unit-{unit:04}.service"))
        .collect()
}

#[tokio::test]
async fn recorded_pages_make_one_list() {
    for (recording, states_listed, files_listed) in [
        ("many", Some(255), 255),
        ("exactly-100", Some(100), 100),
        ("101-units", None, 101),
    ] {
        let fleetd = Fleetd::unix(ApiRecording::load(recording).respond());
        let api = api(fleetd.address());
        if let Some(listed) = states_listed {
            assert_eq!(states(&api).await.len(), listed, "{recording}");
        }
        let files = files(&api).await;
        assert_eq!(files.len(), files_listed, "{recording}");
        assert!(files.is_sorted_by(|a, b| a.unit < b.unit), "{recording}");
    }
}

#[tokio::test]
async fn one_page_costs_one_request() {
    let fleetd = Fleetd::unix(|path: &str| registry(99).reply(path));
    let api = api(fleetd.address());
    assert_eq!(names(&states(&api).await), expected(0..99));
    assert_eq!(fleetd.paths(), ["/fleet/v1/state", "/fleet/v1/machines"]);
    let request = &fleetd.traffic().requests[0];
    assert!(request.starts_with("GET /fleet/v1/state HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nhost: fleet\r\n"), "{request}");
    assert!(
        request.contains(concat!(
            "\r\nuser-agent: fleet-monitor/",
            env!("CARGO_PKG_VERSION"),
            "\r\n"
        )),
        "{request}"
    );
}

#[tokio::test]
async fn unchanged_pages_are_read_once_after_the_first_time() {
    let fleetd = Fleetd::unix(|path: &str| registry(100).reply(path));
    let api = api(fleetd.address());
    assert_eq!(names(&states(&api).await), expected(0..100));
    let before = fleetd.traffic().requests.len();
    assert_eq!(names(&states(&api).await), expected(0..100));
    assert_eq!(
        fleetd.paths()[before..],
        ["/fleet/v1/state", "/fleet/v1/state?nextPageToken=1%3D", "/fleet/v1/machines"],
        "the page after a full one is asked for"
    );
}

/// A fleetd whose registry changes after each page of states or units. `change` gets the number of
/// pages so far.
fn changing(
    start: Registry,
    mut change: impl FnMut(usize, &mut Registry) + Send + 'static,
) -> Fleetd {
    let mut registry = start;
    let mut pages = 0;
    Fleetd::unix(move |path: &str| {
        let reply = registry.reply(path);
        if path.starts_with("/fleet/v1/state") || path.starts_with("/fleet/v1/units") {
            pages += 1;
            change(pages, &mut registry);
        }
        reply
    })
}

#[tokio::test]
async fn a_row_that_is_missing_between_two_pages_is_found() {
    // Three pages are six requests for the first list. After the seventh, on page 1 of the second
    // poll, a row of page 1 goes, so that unit-0100 moves to page 1 and is not on page 2.
    let fleetd = changing(registry(250), |pages, registry| {
        if pages == 7 {
            registry.states.remove(3);
        }
    });
    let api = api(fleetd.address());
    assert_eq!(names(&states(&api).await), expected(0..250));
    assert_eq!(names(&states(&api).await), expected((0..250).filter(|unit| *unit != 3)));
    assert_eq!(
        fleetd
            .paths()
            .iter()
            .filter(|path| path.starts_with("/fleet/v1/state"))
            .count(),
        6 + 9
    );
}

#[tokio::test]
async fn a_row_that_is_missing_in_the_very_first_read_is_found() {
    let fleetd = changing(registry(250), |pages, registry| {
        if pages == 1 {
            registry.states.remove(3);
        }
    });
    assert_eq!(
        names(&states(&api(fleetd.address())).await),
        expected((0..250).filter(|unit| *unit != 3))
    );
}

#[tokio::test]
async fn a_row_on_two_pages_is_listed_once() {
    let fleetd = changing(registry(250), |pages, registry| {
        if pages == 7 {
            registry
                .states
                .insert(0, json!({"name": "a.service", "machineID": "1"}));
        }
    });
    let api = api(fleetd.address());
    states(&api).await;
    let names = names(&states(&api).await);
    assert_eq!(names[0], "a.service");
    assert_eq!(names[1..], expected(0..250));
}

/// Each poll reads three pages three times, and with each page a row vanishes.
#[tokio::test]
async fn states_that_keep_vanishing_are_returned_as_they_were_read_last() {
    let fleetd = changing(registry(290), |_, registry| drop(registry.states.remove(0)));
    let api = api(fleetd.address());
    // The first page of the last read came after 6 rows had vanished, the second after 7, the third
    // after 8.
    let torn = (6..106).chain(107..207).chain(208..290);
    assert_eq!(names(&states(&api).await), expected(torn));
    assert_eq!(states(&api).await.len(), 282 - 9);
}

#[tokio::test]
async fn a_row_on_two_pages_is_listed_once_although_the_list_keeps_changing() {
    let fleetd =
        changing(registry(250), |pages, registry| registry.states.insert(0, state(1_000 + pages)));
    let names = names(&states(&api(fleetd.address())).await);
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    assert_eq!(names[..250], expected(0..250));
}

/// A missing unit file means that its unit is gone, so such a list must not be used.
#[tokio::test]
async fn unit_files_that_keep_vanishing_are_a_failure_and_are_read_again_later() {
    let steady = Arc::new(Mutex::new(false));
    let calm = steady.clone();
    let fleetd = changing(
        Registry { units: registry(250).states, ..Registry::default() },
        move |_, registry| {
            if !*calm.lock().unwrap() {
                registry.units.remove(0);
            }
        },
    );
    let api = api(fleetd.address());
    let torn = api
        .poll(FleetList::UnitFiles)
        .await
        .expect_err("it changes before every page");
    assert!(matches!(torn, SourceError::Api(ApiError::Inconsistent(..))), "{torn:?}");
    *steady.lock().unwrap() = true;
    let names: Vec<String> = files(&api).await.iter().map(|file| file.unit.to_string()).collect();
    assert_eq!(names, expected(9..250), "a row vanished with each of three times three pages");
}

#[tokio::test]
async fn a_list_without_a_last_page_is_given_up() {
    let fleetd = Fleetd::unix(|_: &str| Reply::Json(200, json!({"nextPageToken": "again"})));
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::TooManyPages(..)), "{error:?}");
    assert_eq!(fleetd.traffic().requests.len(), 1_000);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_given_up() {
    let fleetd = Fleetd::unix(|_: &str| {
        let mut response = http(200, &" ".repeat(65 << 20));
        response.extend_from_slice(b"{}");
        Reply::Raw(response)
    });
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::TooLarge(..)), "{error:?}");
}
