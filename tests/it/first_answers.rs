//! The whole program, while its source lists no units although fleet has some: etcd or fleetd have
//! just started.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::fleetd::{ApiRecording, Fleetd, Reply, Respond};
use crate::support::{Daemon, Double, Program};

/// How long the list stays empty. A unit becomes `unreported` if its machine does not report it
/// within 10 s.
const EMPTY_FOR: Duration = Duration::from_secs(12);

/// The longest wait for one event.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A client of the event stream.
struct EventStreamClient(Lines<BufReader<TcpStream>>);

impl EventStreamClient {
    async fn connect(daemon: &Daemon) -> Self {
        let mut stream = TcpStream::connect(daemon.address).await.unwrap();

        stream
            .write_all(b"GET /v2/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();

        Self(BufReader::new(stream).lines())
    }

    /// The next message. It must not have a unit that is `unreported`.
    async fn next(&mut self) -> Value {
        loop {
            let line = self.0.next_line().await.unwrap().expect("no end");
            assert!(!line.contains(r#""verdict":"unreported""#), "{line}");
            if let Some(message) = line.strip_prefix("data: ") {
                return serde_json::from_str(message).unwrap();
            }
        }
    }
}

/// Starts the program with a source that lists no units. After a while, `list` makes the source
/// list all `count` units.
async fn suspects_the_empty_list(program: Program, list: impl FnOnce(), count: usize) {
    let mut daemon = program.start().await;
    let mut events = EventStreamClient::connect(&daemon).await;

    let suspect = async { while events.next().await["event"] != "source_suspect" {} };
    timeout(TIMEOUT, suspect)
        .await
        .expect("the empty list makes the source suspect");

    let no_unit_unreported = async {
        loop {
            events.next().await;
        }
    };
    let _: Result<(), _> = timeout(EMPTY_FOR, no_unit_unreported).await;

    list();
    // The health would be no proof: on a busy machine it may be failing or overdue in between.
    let listed = async {
        while daemon.get("/v1/units").await.1["items"].as_array().map(Vec::len) != Some(count) {
            events.next().await;
        }
    };
    timeout(TIMEOUT, listed).await.expect("all units are listed");

    daemon.stop(Signal::TERM).await;
}

/// A fleetd v1.0.0 that answers requests for states with `empty`. The function makes it list them.
fn fleetd(empty: Value) -> (impl Respond, impl FnOnce()) {
    let lists_states = Arc::new(AtomicBool::new(false));
    let mut recorded = ApiRecording::load("fleetd-v1.0.0").respond();

    let shared = lists_states.clone();
    let respond = move |path: &str| {
        let is_listing = shared.load(Ordering::Relaxed);
        if path.starts_with("/fleet/v1/state") && !is_listing {
            Reply::Json(200, empty.clone())
        } else {
            recorded(path)
        }
    };

    (respond, move || lists_states.store(true, Ordering::Relaxed))
}

#[tokio::test]
async fn units_that_the_first_answers_lack_are_not_unreported() {
    let fleetctl = Double::new("v1.0.0");
    fleetctl.write("rows.json", r#"{"list-units": []}"#);
    let program = Program::asking(&fleetctl, &[]);
    let with_fleetctl = suspects_the_empty_list(program, || fleetctl.write("rows.json", "{}"), 30);

    let with_api = async |empty| {
        let (respond, list) = fleetd(empty);
        let fleetd = Fleetd::unix(respond);
        let program = Program::new(&["--api", fleetd.address()]);
        let count = ApiRecording::load("fleetd-v1.0.0").fleetctl("list-units").len();
        suspects_the_empty_list(program, list, count).await;
    };

    tokio::join!(with_fleetctl, with_api(json!({ "states": null })), with_api(json!({})));
}
