//! The server on real sockets, fed by hand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet_monitor::cluster::{
    FleetList, Health, ListHealth, Machine, Member, Moment, ReadFailure, ReadSchedule, Unit,
    UnitState, View,
};
use fleet_monitor::feed::fields::{MachineField, UnitField};
use fleet_monitor::feed::{self, FeedInput, Publish, Publisher, SourceInfo};
use fleet_monitor::metrics::{Metrics, MetricsFormat, Scrape, UnitSeries};
use fleet_monitor::server::access::{AccessPolicy, Token};
use fleet_monitor::server::open_files::OpenFileLimit;
use fleet_monitor::server::{Server, ServerSettings, Timing};
use fleet_monitor::unit_files::UnitFiles;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;

use crate::support::builders;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(20);

const NO_MACHINES: &str = r#"{"type":"machine","fields":["machine","ip","metadata"],"items":[]}"#;

/// A running server, and the hand that feeds it.
pub struct ServerBench {
    pub server: Server,
    pub publisher: Publisher,
    pub address: SocketAddr,
    pub metrics: Arc<Metrics>,
    pub stop: CancellationToken,
    pub health: Health,
}

pub fn settings() -> ServerSettings {
    let access = AccessPolicy { hostname: "core-01".into(), ..AccessPolicy::default() };
    ServerSettings {
        max_clients: 10_000,
        max_connections: 20_000,
        access,
        journal_port: None,
        links: vec![],
        unit_files: None,
        unit_series: UnitSeries::default(),
        tls: None,
    }
}

/// The settings with a token.
pub fn with_token(token: &str) -> ServerSettings {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, token).expect("written");
    let mut settings = settings();
    settings.access.token = Token::read(Some(&file), None).expect("a token");
    settings
}

impl ServerBench {
    pub async fn start() -> Self {
        Self::with(settings(), Timing::default(), Publish::Changes).await
    }

    pub async fn with(settings: ServerSettings, timing: Timing, publish: Publish) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let fields = [
            UnitField::Unit,
            UnitField::Load,
            UnitField::Active,
            UnitField::Sub,
            UnitField::Machine,
        ];
        let feed = feed::FeedSettings {
            unit_fields: fields.into(),
            machine_fields: MachineField::ALL.into(),
            publish,
        };
        let publisher = Publisher::new(feed, "epoch", SourceInfo::live("test"));
        let metrics = Arc::new(Metrics::new());
        let stop = CancellationToken::new();
        let server = Server::new(
            settings,
            timing,
            publisher.subscribe(),
            metrics.clone(),
            UnitFiles::channel().0,
            stop.clone(),
        );
        tokio::spawn({
            let server = server.clone();
            async move { server.serve(listener).await }
        });
        Self {
            server,
            publisher,
            address,
            metrics,
            stop,
            health: Health::default(),
        }
    }

    /// Publishes that this topic was read.
    pub fn read(&mut self, topic: FleetList, view: &Arc<View>) {
        self.health.lists[topic as usize] =
            ListHealth { read: Some(Moment::now()), ..ListHealth::default() };
        self.publisher.publish(FeedInput {
            problems: &Default::default(),
            view,
            health: &self.health,
            transitions: &[],
            change: None,
            read: topic.alone(),
            now: Moment::now(),
        });
    }

    /// Publishes that everything was read this long ago, and is to be read every 2 s, 13 s later at
    /// the latest.
    pub fn read_before(&mut self, age: Duration, view: &Arc<View>) {
        let read = Some(Moment::now().before(age));
        let schedule = Some(ReadSchedule::new(Duration::from_secs(2), Duration::from_secs(13)));
        self.health.lists = FleetList::ALL.map(|_| ListHealth { read, failure: None, schedule });
        let now = Moment::now();
        self.publisher.publish(FeedInput {
            problems: &Default::default(),
            view,
            health: &self.health,
            transitions: &[],
            change: None,
            read: &FleetList::ALL,
            now,
        });
    }

    /// Publishes that everything was read.
    pub fn read_all(&mut self, view: &Arc<View>) {
        for topic in FleetList::ALL {
            self.read(topic, view);
        }
    }

    async fn client(&self) -> Client {
        self.client_at("/").await
    }

    async fn client_at(&self, path: &str) -> Client {
        connect_async(format!("ws://{}{path}", self.address))
            .await
            .expect("a WebSocket")
            .0
    }

    /// The status and the reason with which a WebSocket is refused.
    async fn refused(&self, path: &str, headers: &[(&'static str, &str)]) -> Response {
        let mut request = format!("ws://{}{path}", self.address)
            .into_client_request()
            .expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        match connect_async(request).await {
            Err(Error::Http(response)) => Response {
                status: response.status().as_u16(),
                headers: response
                    .headers()
                    .iter()
                    .map(|(name, value)| {
                        (name.to_string(), value.to_str().expect("ASCII").to_owned())
                    })
                    .collect(),
                body: response.into_body().unwrap_or_default(),
            },
            other => panic!("not refused: {other:?}"),
        }
    }

    /// A connection whose kernel takes little that is not read.
    async fn narrow_connection(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        socket.connect(self.address).await.expect("a connection")
    }

    /// A connection whose WebSocket handshake is done, and which then does what the test wants.
    async fn raw_client(&self) -> TcpStream {
        self.handshake(self.narrow_connection().await).await
    }

    async fn handshake(&self, mut stream: TcpStream) -> TcpStream {
        let request = format!(
            "GET /any HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a byte"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        stream
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[]).await
    }

    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        self.send((request + "\r\n").as_bytes()).await
    }

    async fn send(&self, request: &[u8]) -> Response {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(request).await.expect("written");
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("in time")
            .expect("an answer");
        Response::parse(&answer)
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.metric(&format!("fleet_monitor_clients_dropped_total{{reason=\"{reason}\"}} "))
    }

    /// The value of a series, which is given as in the text, with a blank behind it.
    pub fn metric(&self, series: &str) -> u64 {
        let publication = self.publisher.subscribe().borrow().clone();
        let scrape = Scrape {
            publication: &publication,
            clients: 0,
            unit_series: &UnitSeries::default(),
            now: Moment::now(),
        };
        let text = self.metrics.encode(MetricsFormat::Prometheus, scrape);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series))
            .expect("a series");
        line.parse().expect("a number")
    }

    /// Waits for what no socket tells.
    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "{what} did not come");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    fn parse(answer: &[u8]) -> Self {
        let end = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&answer[..end]).expect("ASCII");
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .expect("a status");
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { status, headers, body: answer[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

pub fn unit(name: &str, active: &str) -> Arc<Unit> {
    let state = UnitState {
        ip: Some("10.0.0.1".into()),
        active: Some(active.into()),
        sub: None,
        ..builders::unit_state(name, "0123", "active/running")
    };
    Arc::new(builders::unit(state))
}

pub fn view(units: &[(&str, &str)]) -> Arc<View> {
    Arc::new(View {
        units: units.iter().map(|(name, active)| unit(name, active)).collect(),
        machines: vec![],
    })
}

pub fn member(id: &str, lost: bool) -> Arc<Member> {
    let machine = Machine { ip: Some("10.0.0.1".into()), ..builders::machine(id) };
    Arc::new(Member {
        lost_since: lost.then_some(SystemTime::UNIX_EPOCH),
        ..builders::member(machine)
    })
}

/// A list with so long names that no buffer of the kernel holds it.
fn huge(mark: &str) -> Arc<View> {
    let name = format!("{mark}{}", "x".repeat(16_000));
    Arc::new(View {
        units: (0..400)
            .map(|number| unit(&format!("{number}-{name}"), "active"))
            .collect(),
        machines: vec![],
    })
}

fn list(units: &[(&str, &str)]) -> String {
    let items: Vec<String> = units
        .iter()
        .map(|(name, active)| format!(r#"["{name}","loaded","{active}","-","0123/10.0.0.1"]"#))
        .collect();
    format!(
        r#"{{"type":"unit","fields":["unit","load","active","sub","machine"],"items":[{}]}}"#,
        items.join(",")
    )
}

/// The next message; pings are answered on the way.
async fn next(client: &mut Client) -> Result<Message, Error> {
    loop {
        match timeout(PATIENCE, client.next())
            .await
            .expect("a message in time")
            .expect("no end")
        {
            Ok(Message::Ping(_)) => {}
            other => return other,
        }
    }
}

async fn text(client: &mut Client) -> String {
    next(client)
        .await
        .expect("a message")
        .into_text()
        .expect("text")
        .to_string()
}

/// The code of the close frame that comes next, after which the server must end the connection.
async fn close_code(client: &mut Client) -> CloseCode {
    let code = loop {
        match next(client).await.expect("a message") {
            Message::Close(frame) => break frame.expect("a reason").code,
            Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let end = timeout(PATIENCE, client.next()).await.expect("an end in time");
    assert!(end.is_none(), "{end:?}");
    code
}

#[tokio::test]
async fn a_client_gets_machines_and_units_on_any_path_and_then_what_changes() {
    let mut bench = ServerBench::start().await;
    let units = [("a.service", "active"), ("b@1.service", "failed")];
    let first = Arc::new(View {
        machines: vec![member("0123", false)],
        ..(*view(&units)).clone()
    });
    bench.read_all(&first);
    let machines = r#"{"type":"machine","fields":["machine","ip","metadata"],"items":[["0123","10.0.0.1","-"]]}"#;
    for path in ["/", "/ws", "/v1/units", "/no/such%20path?query"] {
        let mut client = bench.client_at(path).await;
        assert_eq!(text(&mut client).await, machines, "{path}");
        assert_eq!(text(&mut client).await, list(&units), "{path}");
    }
    let mut client = bench.client().await;
    assert_eq!(text(&mut client).await, machines);
    assert_eq!(text(&mut client).await, list(&units));

    // The same again is not sent, nor are the machines when the units change.
    bench.read_all(&first);
    let second = Arc::new(View {
        machines: first.machines.clone(),
        ..(*view(&[("a.service", "failed")])).clone()
    });
    bench.read(FleetList::Units, &second);
    assert_eq!(text(&mut client).await, list(&[("a.service", "failed")]));
    let third = Arc::new(View { machines: vec![], ..(*second).clone() });
    bench.read(FleetList::Machines, &third);
    assert_eq!(text(&mut client).await, NO_MACHINES);
}

#[tokio::test]
async fn what_has_not_been_read_is_not_sent() {
    let mut bench = ServerBench::start().await;
    let mut client = bench.client().await;
    bench.read(FleetList::Units, &view(&[]));
    assert_eq!(text(&mut client).await, list(&[]));
    bench.read(FleetList::Machines, &view(&[]));
    assert_eq!(text(&mut client).await, NO_MACHINES);
}

#[tokio::test]
async fn every_poll_is_sent_when_asked_for() {
    let mut bench = ServerBench::with(settings(), Timing::default(), Publish::Polls).await;
    let view = view(&[("a.service", "active")]);
    bench.read_all(&view);
    let mut client = bench.client().await;
    assert_eq!(text(&mut client).await, NO_MACHINES);
    for _ in 0..3 {
        assert_eq!(text(&mut client).await, list(&[("a.service", "active")]));
        bench.read(FleetList::Units, &view);
    }
}

#[tokio::test]
async fn a_client_of_a_subprotocol_is_taken_without_one() {
    let bench = ServerBench::start().await;
    let headers = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let mut stream = TcpStream::connect(bench.address).await.expect("a connection");
    stream.write_all(headers.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("a byte"));
    }
    let answer = Response::parse(&answer);
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(!answer.headers.contains_key("sec-websocket-protocol"));
    assert!(!answer.headers.contains_key("sec-websocket-extensions"));
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused() {
    let bench = ServerBench::start().await;
    let upgrade = [("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")];
    let answer = bench
        .request("GET", "/", &[upgrade[0], upgrade[1], ("Sec-WebSocket-Version", "8")])
        .await;
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (426, "13"));
    let answer = bench.request("GET", "/", &upgrade).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["code"], 400);
    let version = ("Sec-WebSocket-Version", "13");
    assert_eq!(
        bench
            .request("POST", "/", &[upgrade[0], upgrade[1], version])
            .await
            .status,
        400
    );
    assert_eq!(bench.server.clients(), 0);
}

#[tokio::test]
async fn more_clients_than_allowed_are_told_to_come_again() {
    let bench = ServerBench::with(
        ServerSettings { max_clients: 2, ..settings() },
        Timing::default(),
        Publish::Changes,
    )
    .await;
    let first = bench.client().await;
    let _second = bench.client().await;
    let answer = bench.refused("/", &[]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "10");
    assert!(answer.text().contains("--max-clients"), "{}", answer.text());
    assert_eq!(bench.dropped("refused"), 1);

    // HTTP still works, and so does a WebSocket once there is room.
    assert_eq!(bench.get("/healthz").await.status, 200);
    drop(first);
    bench.until("room", |bench| bench.server.clients() == 1).await;
    let _third = bench.client().await;
    bench
        .server
        .set_settings(ServerSettings { max_clients: 3, ..settings() });
    let _fourth = bench.client().await;
}

#[tokio::test]
async fn a_thousand_clients_get_a_change() {
    OpenFileLimit::raise();
    let mut bench = ServerBench::start().await;
    bench.read_all(&view(&[]));
    let mut clients = Vec::new();
    for _ in 0..1000 {
        clients.push(bench.client().await);
    }
    for client in &mut clients {
        assert_eq!(text(client).await, NO_MACHINES);
        assert_eq!(text(client).await, list(&[]));
    }
    assert_eq!(bench.server.clients(), 1000);
    bench.read(FleetList::Units, &view(&[("a.service", "active")]));
    for client in &mut clients {
        assert_eq!(text(client).await, list(&[("a.service", "active")]));
    }
    bench.stop.cancel();
    for client in &mut clients {
        assert_eq!(close_code(client).await, CloseCode::Away);
    }
    assert_eq!(bench.server.drain(PATIENCE).await, 0);
    assert_eq!(bench.dropped("shutdown"), 1000);
}

#[tokio::test]
async fn a_slow_client_delays_nobody_and_is_dropped() {
    let timing = Timing { write: Duration::from_secs(1), ..Timing::default() };
    let mut bench = ServerBench::with(settings(), timing, Publish::Changes).await;
    let _slow = bench.raw_client().await;
    let mut quick = bench.client().await;
    bench.until("both", |bench| bench.server.clients() == 2).await;
    bench.read(FleetList::Units, &huge("first"));
    assert!(text(&mut quick).await.contains("first"));
    bench.read(FleetList::Units, &view(&[("second.service", "active")]));
    assert_eq!(text(&mut quick).await, list(&[("second.service", "active")]));
    assert_eq!(bench.server.clients(), 2, "the slow one has time");
    bench
        .until("the end of the slow one", |bench| bench.server.clients() == 1)
        .await;
    assert_eq!(bench.dropped("slow"), 1);
    bench.read(FleetList::Units, &view(&[("third.service", "active")]));
    assert_eq!(text(&mut quick).await, list(&[("third.service", "active")]));
}

#[tokio::test]
async fn a_client_that_takes_a_large_message_slowly_gets_it_whole_and_then_the_latest() {
    let mut bench = ServerBench::start().await;
    let mut slow = bench.raw_client().await;
    bench.until("the client", |bench| bench.server.clients() == 1).await;
    bench.read(FleetList::Units, &huge("first"));
    let mut header = [0; 10];
    slow.read_exact(&mut header).await.expect("a header");
    for name in ["skipped.service", "last.service"] {
        bench.read(FleetList::Units, &view(&[(name, "active")]));
    }
    let length = u64::from_be_bytes(header[2..].try_into().expect("eight bytes"));
    let mut payload = vec![0; length as usize];
    slow.read_exact(&mut payload).await.expect("a payload");
    assert!(payload.ends_with(b"]]}"));
    let last = list(&[("last.service", "active")]);
    let mut frame = vec![0; last.len() + 4];
    slow.read_exact(&mut frame).await.expect("a frame");
    assert_eq!(std::str::from_utf8(&frame[4..]).expect("UTF-8"), last);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_dropped_and_one_that_does_is_not() {
    let timing = Timing {
        ping: Duration::from_millis(100),
        pong: Duration::from_millis(300),
        ..Timing::default()
    };
    let bench = ServerBench::with(settings(), timing, Publish::Changes).await;
    let mut lively = bench.client().await;
    let mut silent = bench.raw_client().await;
    let mut pings = 0;
    let mut frame = [0; 2];
    tokio::select! {
        message = next(&mut lively) => panic!("the lively one got {message:?}"),
        () = async {
            while silent.read_exact(&mut frame).await.is_ok() {
                assert_eq!(frame, [0x89, 0], "a ping");
                pings += 1;
            }
        } => {}
    }
    assert!((2..=4).contains(&pings), "{pings} pings");
    assert_eq!(bench.dropped("silent"), 1);
    assert_eq!(bench.server.clients(), 1);
}

#[tokio::test]
async fn a_client_that_takes_long_is_asked_whether_it_is_there_before_it_is_dropped() {
    let timing = Timing {
        ping: Duration::from_millis(100),
        pong: Duration::from_secs(10),
        ..Timing::default()
    };
    let mut bench = ServerBench::with(settings(), timing, Publish::Changes).await;
    let mut slow = bench.raw_client().await;
    bench.until("the client", |bench| bench.server.clients() == 1).await;
    bench.read(FleetList::Units, &huge("x"));
    // No ping goes out in the middle of a message, and it takes longer than several pings.
    let mut header = [0; 10];
    loop {
        slow.read_exact(&mut header[..2]).await.expect("a frame");
        if header[0] == 0x81 {
            break;
        }
    }
    slow.read_exact(&mut header[2..]).await.expect("a length");
    let length = u64::from_be_bytes(header[2..].try_into().expect("eight bytes")) as usize;
    let mut taken = vec![0; length];
    for piece in taken.chunks_mut(length / 10) {
        tokio::time::sleep(timing.ping).await;
        slow.read_exact(piece).await.expect("a piece");
    }
    slow.read_exact(&mut header[..2]).await.expect("a frame after it");
    assert_eq!(header[..2], [0x89, 0], "a ping");
    assert_eq!(bench.dropped("silent"), 0);
}

#[tokio::test]
async fn messages_of_clients_are_ignored_up_to_4_kib() {
    let mut bench = ServerBench::start().await;
    let mut client = bench.client().await;
    for message in [
        Message::text("x".repeat(4096)),
        Message::binary(vec![0; 4096]),
        Message::Ping("?".into()),
    ] {
        client.send(message).await.expect("sent");
    }
    assert_eq!(next(&mut client).await.expect("a pong"), Message::Pong("?".into()));
    bench.read(FleetList::Units, &view(&[]));
    assert_eq!(text(&mut client).await, list(&[]));

    client.send(Message::text("x".repeat(4097))).await.expect("sent");
    assert_eq!(close_code(&mut client).await, CloseCode::Size);
    assert_eq!(bench.dropped("oversized"), 1);
}

#[tokio::test]
async fn a_large_message_in_small_pieces_is_too_large_all_the_same() {
    let bench = ServerBench::start().await;
    let mut stream = bench.raw_client().await;
    // A text frame that is not the last, and continuations of it, with a mask of zeros (RFC 6455,
    // section 5.2).
    for opcode in [0x01, 0x00, 0x00] {
        let mut frame = vec![opcode, 0x80 | 126, 0x08, 0x00, 0, 0, 0, 0];
        frame.extend([b'x'; 2048]);
        stream.write_all(&frame).await.expect("written");
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an end");
    assert_eq!(answer[2..4], 1009_u16.to_be_bytes());
}

#[tokio::test]
async fn a_flood_is_refused() {
    let bench = ServerBench::start().await;
    // With masks of zeros: messages, empty ones, pongs, and empty parts of a message that never
    // ends.
    let frames: [(&[u8], &[u8]); 4] = [
        (&[], &[0x81, 0x81, 0, 0, 0, 0, b'x']),
        (&[], &[0x82, 0x80, 0, 0, 0, 0]),
        (&[], &[0x8a, 0x80, 0, 0, 0, 0]),
        (&[0x01, 0x80, 0, 0, 0, 0], &[0x00, 0x80, 0, 0, 0, 0]),
    ];
    for (beginning, frame) in frames {
        let mut stream = bench.raw_client().await;
        let mut flood = beginning.to_vec();
        while flood.len() <= Timing::MAX_BYTES_PER_WINDOW {
            flood.extend(frame);
        }
        stream.write_all(&flood).await.expect("written");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an end");
        assert_eq!(answer[..1], [0x88], "{frame:?}");
        assert_eq!(answer[2..4], 1008_u16.to_be_bytes(), "{frame:?}");
    }
    assert_eq!(bench.dropped("flood"), 4);
}

#[tokio::test]
async fn what_is_no_websocket_is_told_so() {
    let bench = ServerBench::start().await;
    // A frame without a mask, and text that is not UTF-8.
    for (frame, code) in
        [(&[0x81, 0x01, b'x'][..], 1002_u16), (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007)]
    {
        let mut stream = bench.raw_client().await;
        stream.write_all(frame).await.expect("written");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an end");
        assert_eq!(answer[..1], [0x88]);
        assert_eq!(answer[2..4], code.to_be_bytes());
    }
    assert_eq!(bench.dropped("protocol"), 2);
}

#[tokio::test]
async fn a_client_that_closes_is_answered() {
    let bench = ServerBench::start().await;
    let mut client = bench.client().await;
    client.close(None).await.expect("closed");
    assert!(matches!(next(&mut client).await, Ok(Message::Close(None))));
    assert!(timeout(PATIENCE, client.next()).await.expect("in time").is_none());
    bench.until("the end", |bench| bench.dropped("closed") == 1).await;
}

#[tokio::test]
async fn what_is_sent_right_after_the_handshake_is_not_lost() {
    let bench = ServerBench::start().await;
    let mut stream = TcpStream::connect(bench.address).await.expect("a connection");
    let mut request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    request.extend(b"\x89\x81\0\0\0\0?");
    stream.write_all(&request).await.expect("written");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n\x8a\x01?") {
        answer.push(
            timeout(PATIENCE, stream.read_u8())
                .await
                .expect("in time")
                .expect("a byte"),
        );
    }
}

/// How long until the server ends a connection that sends `bytes` and then one more byte each time
/// `drip` passes.
async fn cut_off(bench: &ServerBench, bytes: &[u8], drip: Option<Duration>) -> (Vec<u8>, Duration) {
    let start = Instant::now();
    let stream = TcpStream::connect(bench.address).await.expect("a connection");
    let (mut reader, mut writer) = stream.into_split();
    let bytes = bytes.to_vec();
    let writing = tokio::spawn(async move {
        let mut sent = writer.write_all(&bytes).await;
        while let (Some(drip), Ok(())) = (drip, &sent) {
            tokio::time::sleep(drip).await;
            sent = writer.write_all(b"x").await;
        }
        // Kept open: it is for the server to end it.
        std::future::pending::<()>().await;
        drop(writer);
    });
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, reader.read_to_end(&mut answer))
        .await
        .expect("an end in time");
    writing.abort();
    (answer, start.elapsed())
}

#[tokio::test]
async fn half_open_and_slow_handshakes_are_cut_off() {
    let limit = Duration::from_millis(500);
    let bench = ServerBench::with(
        settings(),
        Timing { handshake: limit, ..Timing::default() },
        Publish::Changes,
    )
    .await;
    let cases: [(&[u8], Option<Duration>); 4] = [
        (b"", None),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n", None),
        (b"GET / HTTP/1.1\r\nX-Slow: ", Some(limit / 20)),
        // The next request on a connection has no more time than the first.
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", None),
    ];
    for (bytes, drip) in cases {
        let (_, took) = cut_off(&bench, bytes, drip).await;
        assert!(
            took >= limit && took < limit * 6,
            "{took:?} after {:?}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[tokio::test]
async fn a_handshake_of_17_kib_is_refused_and_one_of_15_kib_is_not() {
    let bench = ServerBench::start().await;
    for (size, status) in [(15, "101"), (17, "431")] {
        let mut head = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Large: "
            .to_owned();
        head += &"x".repeat(size * 1024 - head.len() - 4);
        let mut stream = TcpStream::connect(bench.address).await.expect("a connection");
        stream
            .write_all((head + "\r\n\r\n").as_bytes())
            .await
            .expect("written");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(
            std::str::from_utf8(&answer).expect("ASCII"),
            format!("HTTP/1.1 {status}"),
            "{size} KiB"
        );
    }
}

#[tokio::test]
async fn an_oversized_handshake_is_cut_off() {
    let bench = ServerBench::start().await;
    let head = |size: usize| {
        let start = "GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\nX-Large: ";
        format!("{start}{}", "x".repeat(size - start.len() - 4))
    };
    let (answer, took) = cut_off(&bench, head(40_000).as_bytes(), None).await;
    assert!(took < Timing::default().handshake / 2, "{took:?}");
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(
        bench
            .send(format!("{}\r\n\r\n", head(16_000)).as_bytes())
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let short = Duration::from_millis(300);
    let timing = Timing { connection: short, write: short, ..Timing::default() };
    let mut bench = ServerBench::with(settings(), timing, Publish::Changes).await;
    bench.read_all(&huge("x"));
    let mut stream = bench.narrow_connection().await;
    stream
        .write_all(b"GET /v1/units HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("written");
    stream.readable().await.expect("an answer");
    assert_eq!(bench.server.drain(PATIENCE).await, 0);
}

#[tokio::test]
async fn at_shutdown_everybody_is_told_and_nobody_waited_for_for_long() {
    let timing = Timing { close: Duration::from_millis(200), ..Timing::default() };
    let mut bench = ServerBench::with(settings(), timing, Publish::Changes).await;
    let mut polite = bench.client().await;
    let _rude = bench.raw_client().await;
    // Browsers open connections that they may need later.
    let _unused = TcpStream::connect(bench.address).await.expect("a connection");
    bench.get("/healthz").await;
    bench.read(FleetList::Units, &view(&[]));
    assert_eq!(text(&mut polite).await, list(&[]));
    bench.stop.cancel();
    assert_eq!(close_code(&mut polite).await, CloseCode::Away);
    assert_eq!(bench.server.drain(Duration::from_secs(5)).await, 0);
    assert!(TcpStream::connect(bench.address).await.is_err(), "no new clients");
}

#[tokio::test]
async fn at_shutdown_a_request_that_is_still_under_way_is_answered() {
    let bench = ServerBench::with(settings(), Timing::default(), Publish::Changes).await;
    let mut client = bench.client().await;
    let requests = ["GET /healthz HTTP/1.1\r\n", "GET / HTTP/1.1\r\n"];
    let mut connections = Vec::new();
    for request in requests {
        connections.push((request, TcpStream::connect(bench.address).await.expect("a connection")));
    }
    // They are served in the order in which they came.
    bench.get("/healthz").await;
    bench.stop.cancel();
    assert_eq!(close_code(&mut client).await, CloseCode::Away);
    for (request, mut connection) in connections {
        connection
            .write_all(format!("{request}Host: localhost\r\n\r\n").as_bytes())
            .await
            .expect("written");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.expect("an end");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{request}: {answer:?}");
    }
    assert_eq!(bench.server.drain(PATIENCE).await, 0);
}

#[tokio::test]
async fn at_shutdown_a_message_under_way_is_finished_if_the_client_takes_it() {
    let mut bench = ServerBench::with(
        settings(),
        Timing { close: PATIENCE, ..Timing::default() },
        Publish::Changes,
    )
    .await;
    let mut slow = bench.raw_client().await;
    bench.until("the client", |bench| bench.server.clients() == 1).await;
    bench.read(FleetList::Units, &huge("x"));
    let mut header = [0; 10];
    slow.read_exact(&mut header).await.expect("a header");
    bench.stop.cancel();
    let length = u64::from_be_bytes(header[2..].try_into().expect("eight bytes"));
    let mut payload = vec![0; length as usize];
    slow.read_exact(&mut payload).await.expect("a payload");
    assert!(payload.ends_with(b"]]}"));
    let mut farewell = Vec::new();
    slow.read_to_end(&mut farewell).await.expect("an end");
    assert_eq!((farewell[0], &farewell[2..4]), (0x88, &1001_u16.to_be_bytes()[..]));
    drop(slow);
    assert_eq!(bench.server.drain(PATIENCE).await, 0);
    assert_eq!(bench.dropped("shutdown"), 1);
}

#[tokio::test]
async fn at_shutdown_a_message_that_the_client_does_not_take_is_cut() {
    let timing = Timing { close: Duration::from_millis(200), ..Timing::default() };
    let mut bench = ServerBench::with(settings(), timing, Publish::Changes).await;
    let mut slow = bench.raw_client().await;
    bench.until("the client", |bench| bench.server.clients() == 1).await;
    bench.read(FleetList::Units, &huge("x"));
    slow.read_u8().await.expect("a message");
    bench.stop.cancel();
    assert_eq!(bench.server.drain(Duration::from_secs(5)).await, 0);
    assert_eq!(bench.dropped("shutdown"), 1);
    assert!(slow.read_to_end(&mut Vec::new()).await.is_err(), "not reset");
}

#[tokio::test]
async fn the_drain_ends_at_its_deadline() {
    let timing = Timing { close: PATIENCE, ..Timing::default() };
    let bench = ServerBench::with(settings(), timing, Publish::Changes).await;
    let _rude = bench.raw_client().await;
    bench.until("the client", |bench| bench.server.clients() == 1).await;
    bench.stop.cancel();
    assert_eq!(bench.server.drain(Duration::from_millis(100)).await, 1);
}

mod history;
mod http;
mod limits;
mod pages;
mod tls;
mod updates;
