//! The whole program whose source lists no unit at first, though fleet has some: an etcd that comes
//! up, a fleetd that has only just begun.

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

/// Longer than a unit may take from `fleetctl start` to its first report, which is 10 s.
const LONG: Duration = Duration::from_secs(12);

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of the event stream.
struct Events(Lines<BufReader<TcpStream>>);

impl Events {
    async fn of(daemon: &Daemon) -> Self {
        let mut stream = TcpStream::connect(daemon.address).await.unwrap();
        stream
            .write_all(b"GET /v2/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        Self(BufReader::new(stream).lines())
    }

    /// The next message; none may show a unit as unreported.
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

/// The program is started, and its source lists no unit until it is told to list them all: as many
/// as these.
async fn doubts_what_it_reads(program: Program, list: impl FnOnce(), count: usize) {
    let mut daemon = program.start().await;
    let mut events = Events::of(&daemon).await;
    let doubted = async { while events.next().await["event"] != "source_suspect" {} };
    timeout(PATIENCE, doubted).await.expect("the empty list is doubted");
    let shown = async {
        loop {
            events.next().await;
        }
    };
    let _: Result<(), _> = timeout(LONG, shown).await;

    list();
    // Not by the health: on a busy machine it may be failing or overdue in between.
    let listed = async {
        while daemon.get("/v1/units").await.1["items"].as_array().map(Vec::len) != Some(count) {
            events.next().await;
        }
    };
    timeout(PATIENCE, listed).await.expect("the whole list is shown");
    daemon.stop(Signal::TERM).await;
}

/// A fleetd v1.0.0 that answers with this when it is asked for states, until it is told to list
/// them.
fn fleetd(empty: Value) -> (impl Respond, impl FnOnce()) {
    let lists = Arc::new(AtomicBool::new(false));
    let mut recorded = ApiRecording::load("fleetd-v1.0.0").respond();
    let is_listing = lists.clone();
    let respond = move |path: &str| match path.starts_with("/fleet/v1/state")
        && !is_listing.load(Ordering::Relaxed)
    {
        true => Reply::Json(200, empty.clone()),
        false => recorded(path),
    };
    (respond, move || lists.store(true, Ordering::Relaxed))
}

#[tokio::test]
async fn units_that_the_first_answers_lack_are_not_unreported() {
    let fleetctl = Double::new("v1.0.0");
    fleetctl.write("rows.json", r#"{"list-units": []}"#);
    let program = Program::asking(&fleetctl, &[]);
    let of_fleetctl = doubts_what_it_reads(program, || fleetctl.write("rows.json", "{}"), 30);

    let of_api = async |empty| {
        let (respond, list) = fleetd(empty);
        let fleetd = Fleetd::unix(respond);
        let program = Program::new(&["--api", fleetd.address()]);
        let count = ApiRecording::load("fleetd-v1.0.0").fleetctl("list-units").len();
        doubts_what_it_reads(program, list, count).await;
    };
    tokio::join!(of_fleetctl, of_api(json!({ "states": null })), of_api(json!({})));
}
