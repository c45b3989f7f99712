//! The second protocol over real sockets: as WebSocket frames and as server-sent events.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::*;

const SECOND: &str = "fleet-monitor.v2";

impl ServerBench {
    async fn second(&self, query: &str) -> Client {
        let mut request = format!("ws://{}/any?{query}", self.address)
            .into_client_request()
            .expect("a request");
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", HeaderValue::from_static("other, fleet-monitor.v2"));
        let (client, answer) = connect_async(request).await.expect("a WebSocket");
        assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], SECOND);
        client
    }

    async fn events(&self, query: &str, headers: &[(&str, &str)]) -> Events {
        let stream = self.narrow_connection().await;
        Events::begin(stream, self.address, query, headers).await
    }
}

/// A client of `/v2/events`.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn begin(
        mut stream: TcpStream,
        host: SocketAddr,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let mut request = format!("GET /v2/events?{query} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        stream
            .write_all((request + "\r\n").as_bytes())
            .await
            .expect("written");
        let mut events = Self(BufReader::new(stream));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(events.0.read_line(&mut head).await.expect("a line") > 0, "{head}");
        }
        let head = head.to_ascii_lowercase();
        assert!(
            head.starts_with("http/1.1 200 ")
                && head.contains("\r\ncontent-type: text/event-stream\r\n"),
            "{head}"
        );
        events
    }

    /// The next line of the stream that says something; none at its end. Each chunk has whole
    /// lines.
    async fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.0.read_line(&mut line))
                .await
                .expect("in time")
                .expect("a line");
            let line = line.trim_end();
            if read == 0 || line == "0" {
                return None;
            }
            let is_size = u64::from_str_radix(line, 16).is_ok();
            if !line.is_empty() && !is_size {
                return Some(line.to_owned());
            }
        }
    }

    /// The next message, and its ID.
    async fn next(&mut self) -> Option<(Value, Option<String>)> {
        let mut id = None;
        loop {
            let line = self.line().await?;
            if let Some(data) = line.strip_prefix("data: ") {
                return Some((serde_json::from_str(data).expect("JSON"), id));
            }
            if let Some(value) = line.strip_prefix("id: ") {
                id = Some(value.to_owned());
            }
        }
    }

    async fn kinds(&mut self, count: usize) -> Vec<String> {
        let mut kinds = vec![];
        for _ in 0..count {
            kinds.push(kind(&self.next().await.expect("a message").0));
        }
        kinds
    }
}

fn kind(message: &Value) -> String {
    [&message["type"], &message["topic"]]
        .into_iter()
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}

async fn message(client: &mut Client) -> Value {
    serde_json::from_str(&text(client).await).expect("JSON")
}

async fn kinds(client: &mut Client, count: usize) -> Vec<String> {
    let mut kinds = vec![];
    for _ in 0..count {
        kinds.push(kind(&message(client).await));
    }
    kinds
}

const BEGINNING: [&str; 6] = [
    "hello",
    "snapshot units",
    "snapshot machines",
    "snapshot problems",
    "snapshot events",
    "status",
];

#[tokio::test]
async fn a_websocket_gets_all_that_there_is_and_then_what_changes() {
    let mut bench = ServerBench::start().await;
    bench.read_all(&view(&[("a.service", "active"), ("b.service", "active")]));
    let mut client = bench.second("").await;
    assert_eq!(kinds(&mut client, BEGINNING.len()).await, BEGINNING);
    bench.read(FleetList::Units, &view(&[("a.service", "failed")]));
    let delta = message(&mut client).await;
    assert_eq!(kind(&delta), "delta units");
    assert_eq!(delta["upsert"][0]["active"], "failed");
    assert_eq!(delta["remove"], serde_json::json!([{"unit": "b.service", "machine": "0123"}]));

    let position = format!("epoch=epoch&revision={}", delta["revision"]);
    drop(client);
    bench.read(FleetList::Units, &view(&[]));
    let mut again = bench.second(&position).await;
    assert_eq!(kinds(&mut again, 3).await, ["hello", "delta units", "status"]);
    let mut stranger = bench.second("epoch=another&revision=3&topics=machines").await;
    assert_eq!(
        kinds(&mut stranger, 4).await,
        ["hello", "resync", "snapshot machines", "status"]
    );
}

#[tokio::test]
async fn an_event_stream_says_the_same() {
    let mut bench = ServerBench::start().await;
    bench.read_all(&view(&[("a.service", "active"), ("b.service", "active")]));
    let mut events = bench.events("filter=unit:a.*", &[]).await;
    assert_eq!(events.line().await.expect("a line"), "retry: 2000");
    assert_eq!(events.kinds(BEGINNING.len()).await, BEGINNING);
    bench.read(FleetList::Units, &view(&[("a.service", "active"), ("b.service", "failed")]));
    bench.read(FleetList::Units, &view(&[("a.service", "failed"), ("b.service", "failed")]));
    let (delta, id) = events.next().await.expect("a message");
    assert_eq!(delta["upsert"].as_array().map(Vec::len), Some(1));
    let id = id.expect("an ID");
    assert_eq!(id, format!("epoch-{}", delta["revision"]));
    drop(events);
    bench.read(FleetList::Units, &view(&[]));
    let mut again = bench.events("filter=unit:a.*", &[("Last-Event-ID", &id)]).await;
    assert_eq!(again.kinds(3).await, ["hello", "delta units", "status"]);
    bench.stop.cancel();
    assert!(again.next().await.is_none(), "the stream ends with the server");
    drop(again);
    assert_eq!(bench.server.drain(PATIENCE).await, 0);
    assert_eq!((bench.dropped("closed"), bench.dropped("shutdown")), (1, 1));
}

#[tokio::test]
async fn an_idle_line_carries_the_state_of_the_source() {
    let timing = Timing { heartbeat: Duration::from_millis(50), ..Timing::default() };
    let mut bench = ServerBench::with(settings(), timing, Publish::Changes).await;
    bench.read_all(&view(&[("a.service", "active")]));
    let (mut client, mut events) = (bench.second("").await, bench.events("", &[]).await);
    let count = BEGINNING.len() + 2;
    assert_eq!(kinds(&mut client, count).await[count - 3..], ["status"; 3]);
    assert_eq!(events.kinds(count).await[count - 3..], ["status"; 3]);
    let mut first = bench.client().await;
    assert_eq!(text(&mut first).await, NO_MACHINES);
    assert_eq!(text(&mut first).await, list(&[("a.service", "active")]));
    assert!(
        timeout(3 * timing.heartbeat, first.next()).await.is_err(),
        "nothing else is ever sent on the first"
    );
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_with_a_reason() {
    let bench = ServerBench::start().await;
    let protocol = [("sec-websocket-protocol", SECOND)];
    for refused in [
        bench.refused("/?filter=stat:failed", &protocol).await,
        bench.get("/v2/events?filter=stat:failed").await,
    ] {
        assert_eq!(refused.status, 400);
        assert!(
            refused.json()["error"]["message"]
                .as_str()
                .unwrap()
                .contains("filter=\"stat:failed\"")
        );
    }
    let head = bench.request("HEAD", "/v2/events", &[]).await;
    assert_eq!(
        (head.status, head.header("content-type"), head.text()),
        (200, "text/event-stream", "")
    );
    assert_eq!(bench.request("POST", "/v2/events", &[]).await.status, 405);
}

#[tokio::test]
async fn an_event_stream_takes_a_place_and_a_token() {
    let bench = ServerBench::with(
        ServerSettings { max_clients: 1, ..with_token("s3cret") },
        Timing::default(),
        Publish::Changes,
    )
    .await;
    assert_eq!(bench.get("/v2/events").await.status, 401);
    let mut events = bench.events("token=s3cret", &[]).await;
    assert_eq!(events.kinds(BEGINNING.len()).await, BEGINNING);
    assert_eq!(bench.server.clients(), 1);
    let refused = bench.get("/v2/events?token=s3cret").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "10"));
    drop(events);
    bench
        .until("the free place", |bench| bench.server.clients() == 0)
        .await;
    assert_eq!(bench.dropped("closed"), 1);
}

#[tokio::test]
async fn an_event_stream_that_is_not_taken_is_cut_and_others_do_not_wait() {
    let timing = Timing { write: Duration::from_secs(3), ..Timing::default() };
    let mut bench = ServerBench::with(settings(), timing, Publish::Changes).await;
    let slow = bench.events("", &[]).await;
    let mut quick = bench.second("").await;
    assert_eq!(kinds(&mut quick, BEGINNING.len()).await, BEGINNING);
    bench.read(FleetList::Units, &huge("x"));
    // More than the history keeps.
    let again = kinds(&mut quick, BEGINNING.len()).await;
    assert_eq!(again[0], "resync");
    assert_eq!(again[1..], BEGINNING[1..]);
    bench.until("the cut", |bench| bench.dropped("slow") == 1).await;
    assert_eq!(bench.server.clients(), 1);
    drop(slow);
}

#[tokio::test]
async fn an_event_stream_outlives_what_other_connections_are_given() {
    let timing = Timing {
        connection: Duration::from_millis(50),
        handshake: Duration::from_millis(50),
        heartbeat: Duration::from_millis(100),
        ..Timing::default()
    };
    let bench = ServerBench::with(settings(), timing, Publish::Changes).await;
    let mut events = bench.events("", &[]).await;
    let count = BEGINNING.len() + 4;
    assert_eq!(events.kinds(count).await[count - 5..], ["status"; 5]);
}

#[tokio::test]
async fn at_shutdown_a_stream_that_is_not_taken_is_cut() {
    let timing = Timing { close: Duration::from_millis(200), ..Timing::default() };
    let mut bench = ServerBench::with(settings(), timing, Publish::Changes).await;
    let slow = bench.events("", &[]).await;
    bench.until("the client", |bench| bench.server.clients() == 1).await;
    bench.read(FleetList::Units, &huge("x"));
    bench.stop.cancel();
    assert_eq!(bench.server.drain(Duration::from_secs(5)).await, 0);
    assert_eq!(bench.dropped("shutdown"), 1);
    drop(slow);
}
