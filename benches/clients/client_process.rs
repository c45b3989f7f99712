//! Many clients in a process of their own. They use as little CPU time as possible: they count
//! messages, and do not parse them.

use std::cell::Cell;
use std::rc::Rc;

use fleet_monitor::server::open_files::OpenFileLimit;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::{LocalSet, spawn_local};

use crate::client::{BUFFER, ClientKind, handshake};
use crate::endpoint::{Connection, Connector, Endpoint};
use crate::message_reader::MessageReader;

/// The process, seen from the bench. It is killed when this is dropped.
pub struct ClientProcess {
    /// The process writes one byte to it each time when all clients have received something.
    control: TcpStream,
    _process: Child,
}

impl ClientProcess {
    /// Connects so many clients.
    pub async fn start(server: &Endpoint, count: usize, kind: ClientKind) -> Self {
        Self::spawn(server, count, &[kind.name()]).await
    }

    /// Connects clients that do not read.
    pub async fn silent(server: &Endpoint, count: usize, kind: ClientKind) -> Self {
        Self::spawn(server, count, &["silent", kind.name()]).await
    }

    /// Connects clients that send no request. For them, so many bytes are one message.
    pub async fn counting_bytes(server: &Endpoint, count: usize, message: usize) -> Self {
        Self::spawn(server, count, &["bytes", &message.to_string()]).await
    }

    async fn spawn(server: &Endpoint, count: usize, behaviour: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let control = listener.local_addr().expect("an address").to_string();

        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command
            .arg("clients")
            .args(server.arguments())
            .args([&control, &count.to_string()])
            .args(behaviour);
        let process = command.kill_on_drop(true).spawn().expect("this program");

        Self {
            control: listener.accept().await.expect("a connection").0,
            _process: process,
        }
    }

    /// Waits until all clients have received one thing more: first the state, then one change for
    /// each call. Silent clients receive nothing; for them, it waits until all are connected.
    pub async fn all_received(&mut self) {
        self.control.read_u8().await.expect("the process is running");
    }
}

/// The main function of the process.
pub fn run(arguments: &[&str]) {
    let [address, certificate, control, count, ref behaviour @ ..] = *arguments else {
        panic!("unknown arguments: {arguments:?}")
    };
    let count: usize = count.parse().expect("a number");

    OpenFileLimit::raise();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");

    let server = Endpoint::from_arguments([address, certificate]).connector();
    LocalSet::new().block_on(&runtime, async {
        let control = TcpStream::connect(control).await.expect("the bench");
        control.set_nodelay(true).expect("no delay");
        let (mut bench, control) = control.into_split();

        let received = Rc::new(ReceivedCounter { clients: count, total: Cell::new(0), control });
        let mut silent = Vec::new();
        for _ in 0..count {
            silent.extend(connect(&server, behaviour, &received).await);
        }

        // The bench sends nothing: this waits for its end.
        let _ = bench.read_u8().await;
    });
}

/// Connects one client, and reads in a task of its own. Returns the connection of a silent client,
/// which must stay open.
async fn connect(
    server: &Connector,
    behaviour: &[&str],
    received: &Rc<ReceivedCounter>,
) -> Option<Connection> {
    let mut stream = server.connect().await;

    match *behaviour {
        ["silent", kind] => {
            handshake(&mut stream, server.address, ClientKind::from_name(kind)).await;
            received.add(1);
            return Some(stream);
        }
        ["bytes", message] => {
            let message = message.parse().expect("a number");
            spawn_local(count_bytes(stream, message, received.clone()));
        }
        [kind] => {
            let kind = ClientKind::from_name(kind);
            let unread = handshake(&mut stream, server.address, kind).await;
            spawn_local(count_messages(stream, unread, kind, received.clone()));
        }
        _ => panic!("unknown behaviour: {behaviour:?}"),
    }
    None
}

/// What all clients together have received.
struct ReceivedCounter {
    clients: usize,
    total: Cell<usize>,
    control: OwnedWriteHalf,
}

impl ReceivedCounter {
    fn add(&self, count: usize) {
        for _ in 0..count {
            self.total.update(|total| total + 1);
            if self.total.get().is_multiple_of(self.clients) {
                self.control.try_write(&[0]).expect("the bench is running");
            }
        }
    }
}

async fn count_bytes(mut stream: Connection, message: usize, received: Rc<ReceivedCounter>) {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;

    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        received.add((total + read) / message - total / message);
        total += read;
    }
}

async fn count_messages(
    mut stream: Connection,
    unread: Vec<u8>,
    kind: ClientKind,
    received: Rc<ReceivedCounter>,
) {
    let mut reader = MessageReader::new(kind);
    let mut has_state = false;
    let mut process = |bytes: &[u8]| {
        let mut count = 0;
        reader.process(bytes, |r#type| {
            let last = if has_state {
                kind.last_of_change()
            } else {
                kind.last_of_state()
            };
            if r#type == last {
                has_state = true;
                count += 1;
            }
        });
        received.add(count);
    };

    process(&unread);
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        process(&buffer[..read]);
    }
}
