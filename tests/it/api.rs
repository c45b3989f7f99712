//! fleet's HTTP API as a source, against real sockets.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use fleet_monitor::cluster::{FleetList, Machine, Reading, UnitFile, UnitState};
use fleet_monitor::source::api::{Address, Api, ApiError};
use fleet_monitor::source::fleetctl::FleetctlConnection;
use fleet_monitor::source::{FleetClient, SourceError};
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::support::Double;
use crate::support::fleetd::{Answer, Fleetd, Recording, Registry, error, http};
use crate::support::snapshots::assert_catalogue;

fn api(address: &str) -> Api {
    Api::new(address.parse().expect("an address"))
}

async fn failure(api: &Api) -> ApiError {
    match api.poll(FleetList::Machines).await {
        Err(SourceError::Api(error)) => error,
        other => panic!("expected an error of the API, got {other:?}"),
    }
}

async fn states(api: &Api) -> Vec<UnitState> {
    match api.poll(FleetList::Units).await {
        Ok(Reading::Units { states, files: None }) => states,
        other => panic!("expected unit states, got {other:?}"),
    }
}

async fn machines(api: &Api) -> Vec<Machine> {
    match api.poll(FleetList::Machines).await {
        Ok(Reading::Machines { machines }) => machines,
        other => panic!("expected machines, got {other:?}"),
    }
}

async fn files(api: &Api) -> Vec<UnitFile> {
    match api.poll(FleetList::UnitFiles).await {
        Ok(Reading::UnitFiles { files }) => files,
        other => panic!("expected unit files, got {other:?}"),
    }
}

// The same rows as fleetctl.

fn cell(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

fn place(machine: Option<&str>, ip: Option<&str>) -> String {
    match (machine, ip) {
        (Some(machine), Some(ip)) => format!("{machine}/{ip}"),
        (machine, _) => cell(machine),
    }
}

#[tokio::test]
async fn rows_are_those_of_fleetctl() {
    for version in ["v0.8.3", "v0.9.2", "v0.11.8", "v1.0.0"] {
        let recording = Recording::load(&format!("fleetd-{version}"));
        let fleetd = Fleetd::unix(Recording::load(&format!("fleetd-{version}")).respond());
        let api = api(fleetd.address());

        let states: Vec<Vec<String>> = states(&api)
            .await
            .iter()
            .map(|row| {
                vec![
                    row.unit.to_string(),
                    cell(row.load.as_deref()),
                    cell(row.active.as_deref()),
                    cell(row.sub.as_deref()),
                    place(row.machine.as_deref(), row.ip.as_deref()),
                    cell(row.hash.as_deref()),
                ]
            })
            .collect();
        assert_eq!(states, recording.fleetctl("list-units"), "{version}");

        let machines = machines(&api).await;
        let listed: Vec<Vec<String>> = machines
            .iter()
            .map(|row| {
                vec![row.id.to_string(), cell(row.ip.as_deref()), cell(row.metadata.as_deref())]
            })
            .collect();
        assert_eq!(listed, recording.fleetctl("list-machines"), "{version}");

        let address = |id: &str| machines.iter().find(|machine| &*machine.id == id)?.ip.as_deref();
        // fleetctl prints `-` as the target of a global unit before 0.10, and what fleet does with
        // a unit in the column STATE, which is not read.
        let global_target = if ["v0.8.3", "v0.9.2"].contains(&version) {
            "-"
        } else {
            "global"
        };
        let files: Vec<Vec<String>> = files(&api)
            .await
            .iter()
            .map(|row| {
                let target = match row.global {
                    true => global_target.to_owned(),
                    false => place(row.target.as_deref(), row.target.as_deref().and_then(address)),
                };
                assert!(row.target_known && !(row.global && row.target.is_some()), "{row:?}");
                vec![
                    row.unit.to_string(),
                    row.global.to_string(),
                    cell(row.desired.as_deref()),
                    target,
                    cell(row.hash.as_deref()),
                    cell(row.description.as_deref()),
                ]
            })
            .collect();
        let mut expected = recording.fleetctl("list-unit-files");
        for row in &mut expected {
            assert_eq!(row.len(), 7, "unit, global, state, dstate, target, hash, desc");
            row.remove(2);
        }
        assert_eq!(files, expected, "{version}");
        let known = version.strip_prefix('v').filter(|version| *version != "0.8.3");
        assert_eq!(api.version().as_deref(), known, "fleetd before 0.9 does not tell");
    }
}

/// One captured cluster of each version, read through its fleetd and through its fleetctl: the same
/// readings.
#[tokio::test]
async fn both_sources_read_the_same_from_one_cluster() {
    for version in ["v0.8.3", "v0.9.2", "v0.11.8", "v1.0.0"] {
        let recording = Recording::load(&format!("fleetd-{version}"));
        let fleetctl = Double::new(version);
        let lists = ["list-units", "list-machines", "list-unit-files"]
            .map(|list| (list, recording.fleetctl(list)));
        fleetctl.write("rows.json", &json!(BTreeMap::from(lists)).to_string());
        let source = fleetctl.source(FleetctlConnection::Default);
        let fleetd = Fleetd::unix(recording.respond());
        let api = api(fleetd.address());
        for topic in FleetList::ALL {
            let mut read = api.poll(topic).await.unwrap();
            if let Reading::UnitFiles { files } = &mut read {
                // Only the API tells what a unit asks of a machine.
                files.iter_mut().for_each(|file| {
                    file.requirements.clear();
                    file.requirements_known = false;
                });
            }
            assert_eq!(read, source.poll(topic).await.unwrap(), "{version}");
        }
    }
}

#[tokio::test]
async fn empty_cluster_is_no_failure() {
    let fleetd = Fleetd::tcp(Recording::load("no-units").respond()).await;
    let api = api(fleetd.address());
    assert_eq!(states(&api).await, []);
    assert_eq!(files(&api).await, []);
    assert_eq!(machines(&api).await.len(), 4);
}

// Pages.

fn state(unit: usize) -> Value {
    json!({"name": format!("unit-{unit:04}.service"), "machineID": "1"})
}

fn registry(units: usize) -> Registry {
    Registry {
        states: (0..units).map(state).collect(),
        ..Registry::default()
    }
}

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
        let fleetd = Fleetd::unix(Recording::load(recording).respond());
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
    let fleetd = Fleetd::unix(|path: &str| registry(99).answer(path));
    let api = api(fleetd.address());
    assert_eq!(names(&states(&api).await), expected(0..99));
    assert_eq!(fleetd.paths(), ["/fleet/v1/state", "/fleet/v1/machines"]);
    let request = &fleetd.seen().requests[0];
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
    let fleetd = Fleetd::unix(|path: &str| registry(100).answer(path));
    let api = api(fleetd.address());
    assert_eq!(names(&states(&api).await), expected(0..100));
    let before = fleetd.seen().requests.len();
    assert_eq!(names(&states(&api).await), expected(0..100));
    assert_eq!(
        fleetd.paths()[before..],
        ["/fleet/v1/state", "/fleet/v1/state?nextPageToken=1%3D", "/fleet/v1/machines"],
        "the page after a full one is asked for"
    );
}

/// A fleetd whose registry is changed by `change` after it has answered the request of that number,
/// from 1.
fn changing(
    start: Registry,
    mut change: impl FnMut(usize, &mut Registry) + Send + 'static,
) -> Fleetd {
    let (mut registry, mut asked) = (start, 0);
    Fleetd::unix(move |path: &str| {
        let answer = registry.answer(path);
        if path.starts_with("/fleet/v1/state") || path.starts_with("/fleet/v1/units") {
            asked += 1;
            change(asked, &mut registry);
        }
        answer
    })
}

#[tokio::test]
async fn row_lost_between_two_pages_is_found() {
    // Three pages are six requests for the first list. After the seventh, on page 1 of the second
    // poll, a row of page 1 goes, so that unit-0100 moves to page 1 and is not on page 2.
    let fleetd = changing(registry(250), |asked, registry| {
        if asked == 7 {
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
async fn row_lost_in_the_very_first_reading_is_found() {
    let fleetd = changing(registry(250), |asked, registry| {
        if asked == 1 {
            registry.states.remove(3);
        }
    });
    assert_eq!(
        names(&states(&api(fleetd.address())).await),
        expected((0..250).filter(|unit| *unit != 3))
    );
}

#[tokio::test]
async fn row_on_two_pages_is_listed_once() {
    let fleetd = changing(registry(250), |asked, registry| {
        if asked == 7 {
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

/// Each poll is three times three pages, and with each page a row goes.
#[tokio::test]
async fn states_that_keep_going_are_told_as_they_were_read_last() {
    let fleetd = changing(registry(290), |_, registry| drop(registry.states.remove(0)));
    let api = api(fleetd.address());
    // Of its last reading, the first page was read when 6 rows had gone, the second when 7, the
    // third when 8.
    let torn = (6..106).chain(107..207).chain(208..290);
    assert_eq!(names(&states(&api).await), expected(torn));
    assert_eq!(states(&api).await.len(), 282 - 9);
}

#[tokio::test]
async fn row_twice_is_told_once_also_by_states_that_keep_changing() {
    let fleetd =
        changing(registry(250), |asked, registry| registry.states.insert(0, state(1_000 + asked)));
    let names = names(&states(&api(fleetd.address())).await);
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    assert_eq!(names[..250], expected(0..250));
}

/// That a unit file is not there means that its unit is gone.
#[tokio::test]
async fn unit_files_that_keep_going_are_a_failure_and_are_read_again_later() {
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
    assert!(matches!(torn, SourceError::Api(ApiError::Torn(..))), "{torn:?}");
    *steady.lock().unwrap() = true;
    let names: Vec<String> = files(&api).await.iter().map(|file| file.unit.to_string()).collect();
    assert_eq!(names, expected(9..250), "a row went with each of three times three pages");
}

#[tokio::test]
async fn endless_pages_are_given_up() {
    let fleetd = Fleetd::unix(|_: &str| Answer::Json(200, json!({"nextPageToken": "again"})));
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::TooManyPages(..)), "{error:?}");
    assert_eq!(fleetd.seen().requests.len(), 1_000);
}

#[tokio::test]
async fn endless_body_is_given_up() {
    let fleetd = Fleetd::unix(|_: &str| {
        let mut response = http(200, &" ".repeat(65 << 20));
        response.extend_from_slice(b"{}");
        Answer::Raw(response)
    });
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::TooLarge(..)), "{error:?}");
}

// Connections.

#[tokio::test]
async fn connection_is_kept_for_each_topic() {
    let fleetd = Fleetd::tcp(|path: &str| registry(5).answer(path)).await;
    let api = api(fleetd.address());
    for _ in 0..3 {
        let (units, machines, files) = tokio::join!(
            api.poll(FleetList::Units),
            api.poll(FleetList::Machines),
            api.poll(FleetList::UnitFiles)
        );
        assert!(units.is_ok() && machines.is_ok() && files.is_ok());
    }
    let seen = fleetd.seen();
    assert_eq!((seen.opened, seen.requests.len()), (3, 12));
    assert!(
        seen.requests[0]
            .contains(&format!("\r\nhost: {}\r\n", fleetd.address().trim_start_matches("http://")))
    );
}

#[tokio::test]
async fn connection_closed_meanwhile_is_opened_again() {
    let mut asked = 0;
    let fleetd = Fleetd::unix(move |path: &str| {
        asked += 1;
        // The second request on the first connection finds it closed, before any byte of an answer.
        if asked == 2 {
            Answer::Close
        } else {
            registry(0).answer(path)
        }
    });
    let api = api(fleetd.address());
    machines(&api).await;
    machines(&api).await;
    let seen = fleetd.seen();
    assert_eq!((seen.opened, seen.requests.len()), (2, 3));
}

#[tokio::test]
async fn connection_closed_after_an_answer_is_opened_again() {
    let fleetd = Fleetd::unix(|_: &str| Answer::Raw(http(200, "{}")));
    let api = api(fleetd.address());
    machines(&api).await;
    fleetd.until(|seen| seen.closed == 1).await;
    machines(&api).await;
    assert_eq!(fleetd.seen().opened, 2);
}

#[tokio::test]
async fn dropped_poll_closes_its_connection() {
    let fleetd = Fleetd::unix(|_: &str| Answer::Hang);
    let api = api(fleetd.address());
    tokio::select! {
        answer = api.poll(FleetList::Machines) => panic!("it never answers: {answer:?}"),
        () = fleetd.until(|seen| seen.requests.len() == 1) => {}
    }
    fleetd.until(|seen| seen.closed == 1).await;
}

#[tokio::test]
async fn older_prefix_is_found_once() {
    let fleetd = Fleetd::unix(Recording::load("fleetd-v0.8.3").respond());
    let api = api(fleetd.address());
    machines(&api).await;
    machines(&api).await;
    assert_eq!(
        fleetd.paths(),
        ["/fleet/v1/machines", "/v1-alpha/machines", "/v1-alpha/machines"]
    );
}

#[tokio::test]
async fn prefix_is_looked_for_again_after_a_failure() {
    let upgraded = Arc::new(Mutex::new(false));
    let now = upgraded.clone();
    let fleetd = Fleetd::unix(move |path: &str| {
        match (path.starts_with("/v1-alpha"), *now.lock().unwrap()) {
            (true, false) | (false, true) => Answer::Json(200, json!({})),
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

// Failures, each with what it is and what to do.

#[tokio::test]
async fn absent_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fleet.sock");
    let error = failure(&api(&format!("unix://{}", path.display()))).await;
    assert!(matches!(&error, ApiError::NoSocket(missing) if *missing == path), "{error:?}");
}

#[tokio::test]
async fn refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fleet.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for address in [format!("unix://{}", path.display()), format!("http://{closed}")] {
        let error = failure(&api(&address)).await;
        assert!(matches!(error, ApiError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(&address), "{error}");
    }
}

#[tokio::test]
async fn unreachable() {
    let error = failure(&api("unix:///dev/null/fleet.sock")).await;
    assert!(matches!(error, ApiError::Unreachable(..)), "{error:?}");
}

#[tokio::test]
async fn closed_without_an_answer() {
    let fleetd = Fleetd::unix(|_: &str| Answer::Close);
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::NoAnswer(_)), "{error:?}");
}

#[tokio::test]
async fn broken_off_in_the_middle() {
    let fleetd = Fleetd::unix(|_: &str| {
        let mut response = http(200, r#"{"machines":[{"id":"1"}]}"#);
        response.truncate(response.len() - 4);
        Answer::Raw(response)
    });
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::BrokenOff(..)), "{error:?}");
}

#[tokio::test]
async fn no_etcd() {
    let recorded = Fleetd::unix(Recording::load("etcd-down").respond());
    let unavailable =
        Fleetd::unix(|_: &str| error(503, "fleet server unable to communicate with etcd"));
    for (fleetd, code) in [(recorded, 500), (unavailable, 503)] {
        let error = failure(&api(fleetd.address())).await;
        assert!(
            matches!(&error, ApiError::NoEtcd { status, .. } if *status == code),
            "{error:?}"
        );
    }
}

/// docker makes a directory where a volume is to come from that is not there yet.
#[tokio::test]
async fn what_is_no_socket_is_said_to_be_that() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (path, kind) in [(directory.path(), "a directory"), (&file, "a file")] {
        let address: Address = format!("unix://{}", path.display()).parse().unwrap();
        for told in [
            address.absence().unwrap(),
            failure(&Api::new(address.clone())).await.to_string(),
        ] {
            assert!(told.contains(path.to_str().unwrap()) && told.contains(kind), "{told}");
        }
        let error = failure(&Api::new(address)).await;
        assert!(matches!(error, ApiError::NotASocket { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn other_status() {
    let fleetd = Fleetd::unix(|_: &str| error(400, "token limit must be 100"));
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::Status { .. }), "{error:?}");
    assert!(
        error.to_string().contains("400") && error.to_string().contains("token limit must be 100"),
        "{error}"
    );
}

#[tokio::test]
async fn not_http() {
    let fleetd =
        Fleetd::tcp(|_: &str| Answer::Raw(b"-ERR wrong number of arguments\r\n\r\n".to_vec()))
            .await;
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::NotHttp(..)), "{error:?}");
}

#[tokio::test]
async fn not_json() {
    let fleetd = Fleetd::unix(|_: &str| {
        Answer::Raw(http(200, "<html><title>Welcome to nginx!</title></html>"))
    });
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::NotJson(..)), "{error:?}");
}

#[tokio::test]
async fn not_fleet() {
    for body in ["null", "[]", r#"{"action":"get","node":{"dir":true}}"#] {
        let fleetd = Fleetd::unix(move |_: &str| Answer::Raw(http(200, body)));
        let error = failure(&api(fleetd.address())).await;
        assert!(matches!(error, ApiError::NotFleet(..)), "{body}: {error:?}");
    }
    let etcd = Fleetd::tcp(|_: &str| Answer::Raw(http(404, "404 page not found\n"))).await;
    let error = failure(&api(etcd.address())).await;
    assert!(matches!(error, ApiError::NotFleet(..)), "{error:?}");
    assert_eq!(etcd.paths(), ["/fleet/v1/machines", "/v1-alpha/machines"]);
}

/// Each in its words, also those that no test can bring about.
#[tokio::test]
async fn failures_are_told_in_these_words() {
    let address = || "unix:///var/run/fleet.sock".parse::<Address>().unwrap();
    let socket = || "/var/run/fleet.sock".into();
    let list = || "/fleet/v1/state".to_owned();
    let status = |status, message: Option<&str>| {
        let status = StatusCode::from_u16(status).unwrap();
        ApiError::Status {
            address: address(),
            path: list(),
            status,
            message: message.map(Into::into),
        }
    };
    let unreachable = io::Error::from(io::ErrorKind::HostUnreachable);
    let no_etcd = ApiError::NoEtcd { address: address(), status: StatusCode::SERVICE_UNAVAILABLE };
    let mut errors = vec![
        ("no socket", ApiError::NoSocket(socket())),
        (
            "a directory where the socket should be",
            ApiError::NotASocket { path: "/var".into() },
        ),
        ("a file where the socket should be", ApiError::NotASocket { path: socket() }),
        ("no permission", ApiError::PermissionDenied(socket())),
        ("nobody listens", ApiError::Refused(address())),
        (
            "no route",
            ApiError::Unreachable("http://10.0.0.1:49153".parse().unwrap(), unreachable),
        ),
        ("closed without an answer", ApiError::NoAnswer(address())),
        ("503", no_etcd),
        ("another status, with a message", status(400, Some("token limit must be 100"))),
        ("another status, without one", status(404, None)),
        ("no JSON", ApiError::NotJson(address(), list())),
        (
            "other JSON",
            ApiError::NotFleet(
                address(),
                "/fleet/v1/state: JSON, but not fleet's: missing field".into(),
            ),
        ),
        ("too large a list", ApiError::TooLarge(address(), list())),
        ("too many pages", ApiError::TooManyPages(address(), list())),
        ("a list that keeps changing", ApiError::Torn(address(), list())),
    ];

    let mut broken_off = http(200, "{}");
    broken_off.pop();
    for (given, answer) in [("broken off", broken_off), ("no HTTP", b"-ERR\r\n\r\n".to_vec())] {
        let fleetd = Fleetd::tcp(move |_: &str| Answer::Raw(answer.clone())).await;
        let error = match failure(&api(fleetd.address())).await {
            ApiError::BrokenOff(_, error) => ApiError::BrokenOff(address(), error),
            ApiError::NotHttp(_, error) => ApiError::NotHttp(address(), error),
            other => panic!("{given}: {other:?}"),
        };
        errors.push((given, error));
    }
    assert_catalogue("api-errors", errors);
}

// Addresses.

#[test]
fn address_is_read_and_written() {
    let tcp = |host: &str, port| Address::Tcp { host: host.to_owned(), port };
    for (text, address, written) in [
        ("unix:///var/run/fleet.sock", Address::Unix("/var/run/fleet.sock".into()), None),
        ("http://core-01.example:49153", tcp("core-01.example", 49153), None),
        ("http://127.0.0.1:80/", tcp("127.0.0.1", 80), Some("http://127.0.0.1:80")),
        ("http://[::1]:49153", tcp("::1", 49153), None),
    ] {
        assert_eq!(text.parse(), Ok(address.clone()), "{text}");
        assert_eq!(address.to_string(), written.unwrap_or(text));
    }
}

#[test]
fn wrong_address_is_refused() {
    for text in [
        "",
        "/var/run/fleet.sock",
        "unix://",
        "unix://fleet.sock",
        "https://core-01:49153",
        "http://",
        "http://core-01",
        "http://core-01:70000",
        "http://core-01:49153/fleet/v1",
        "http://core-01:49153?x=y",
        "http://me@core-01:49153",
    ] {
        text.parse::<Address>().expect_err(text);
    }
}
