//! Failures of the API, and the addresses that it can be polled at.

use std::io;

use fleet_monitor::source::api::{Address, Api, ApiError};
use hyper::StatusCode;

use super::{api, failure};
use crate::support::fleetd::{ApiRecording, Fleetd, Reply, error, http};
use crate::support::snapshots::assert_catalogue;

#[tokio::test]
async fn a_missing_socket_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fleet.sock");
    let error = failure(&api(&format!("unix://{}", path.display()))).await;
    assert!(matches!(&error, ApiError::NoSocket(missing) if *missing == path), "{error:?}");
}

#[tokio::test]
async fn a_refused_connection_is_named() {
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
async fn another_problem_with_a_connection_is_unreachable() {
    let error = failure(&api("unix:///dev/null/fleet.sock")).await;
    assert!(matches!(error, ApiError::Unreachable(..)), "{error:?}");
}

#[tokio::test]
async fn a_connection_closed_without_a_reply_is_no_answer() {
    let fleetd = Fleetd::unix(|_: &str| Reply::Close);
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::NoAnswer(_)), "{error:?}");
}

#[tokio::test]
async fn a_reply_that_is_cut_off_is_broken_off() {
    let fleetd = Fleetd::unix(|_: &str| {
        let mut response = http(200, r#"{"machines":[{"id":"1"}]}"#);
        response.truncate(response.len() - 4);
        Reply::Raw(response)
    });
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::BrokenOff(..)), "{error:?}");
}

#[tokio::test]
async fn a_fleetd_without_etcd_is_told_apart() {
    let recorded = Fleetd::unix(ApiRecording::load("etcd-down").respond());
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

/// docker creates a directory for a volume that does not exist.
#[tokio::test]
async fn a_directory_or_a_file_in_place_of_the_socket_is_named() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (path, kind) in [(directory.path(), "a directory"), (&file, "a file")] {
        let address: Address = format!("unix://{}", path.display()).parse().unwrap();
        for message in [
            address.absence().unwrap(),
            failure(&Api::new(address.clone())).await.to_string(),
        ] {
            assert!(message.contains(path.to_str().unwrap()), "{message}");
            assert!(message.contains(kind), "{message}");
        }
        let error = failure(&Api::new(address)).await;
        assert!(matches!(error, ApiError::NotASocket { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn another_status_is_shown_with_its_message() {
    let fleetd = Fleetd::unix(|_: &str| error(400, "token limit must be 100"));
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::Status { .. }), "{error:?}");
    assert!(
        error.to_string().contains("400") && error.to_string().contains("token limit must be 100"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_without_http_is_told_apart() {
    let fleetd =
        Fleetd::tcp(|_: &str| Reply::Raw(b"-ERR wrong number of arguments\r\n\r\n".to_vec())).await;
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::NotHttp(..)), "{error:?}");
}

#[tokio::test]
async fn a_page_that_is_not_json_is_told_apart() {
    let fleetd = Fleetd::unix(|_: &str| {
        Reply::Raw(http(200, "<html><title>Welcome to nginx!</title></html>"))
    });
    let error = failure(&api(fleetd.address())).await;
    assert!(matches!(error, ApiError::NotJson(..)), "{error:?}");
}

#[tokio::test]
async fn a_server_without_fleets_api_is_told_apart() {
    for body in ["null", "[]", r#"{"action":"get","node":{"dir":true}}"#] {
        let fleetd = Fleetd::unix(move |_: &str| Reply::Raw(http(200, body)));
        let error = failure(&api(fleetd.address())).await;
        assert!(matches!(error, ApiError::NotFleet(..)), "{body}: {error:?}");
    }
    let etcd = Fleetd::tcp(|_: &str| Reply::Raw(http(404, "404 page not found\n"))).await;
    let error = failure(&api(etcd.address())).await;
    assert!(matches!(error, ApiError::NotFleet(..)), "{error:?}");
    assert_eq!(etcd.paths(), ["/fleet/v1/machines", "/v1-alpha/machines"]);
}

/// Also those that no test can cause.
#[tokio::test]
async fn each_failure_is_explained() {
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
        ("a list that keeps changing", ApiError::Inconsistent(address(), list())),
    ];

    let mut broken_off = http(200, "{}");
    broken_off.pop();
    for (given, answer) in [("broken off", broken_off), ("no HTTP", b"-ERR\r\n\r\n".to_vec())] {
        let fleetd = Fleetd::tcp(move |_: &str| Reply::Raw(answer.clone())).await;
        let error = match failure(&api(fleetd.address())).await {
            ApiError::BrokenOff(_, error) => ApiError::BrokenOff(address(), error),
            ApiError::NotHttp(_, error) => ApiError::NotHttp(address(), error),
            other => panic!("{given}: {other:?}"),
        };
        errors.push((given, error));
    }
    assert_catalogue("api-errors", errors);
}

#[test]
fn an_address_is_read_and_written() {
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
fn a_wrong_address_is_refused() {
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
