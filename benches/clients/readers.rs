//! Clients, as cheap as they can be: what they are told is told apart and counted, and not looked
//! at.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use fleet_monitor::server::open_files::OpenFiles;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::LocalSet;

/// How a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    First,
    Second,
    Events,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::First, Self::Second, Self::Events];

    pub fn of(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .expect("a kind")
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Events => "events",
        }
    }

    /// The type of the message that ends what a client gets when it comes.
    pub fn last_of_state(self) -> &'static str {
        match self {
            Self::First => "unit",
            Self::Second | Self::Events => "status",
        }
    }

    /// The type of the message that ends what a client gets when a row has changed.
    pub fn last_of_change(self) -> &'static str {
        match self {
            Self::First => "unit",
            Self::Second | Self::Events => "event",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Many connections of another process.
pub struct Readers {
    control: TcpStream,
    _process: Child,
}

impl Readers {
    /// Connects so many.
    pub async fn start(server: SocketAddr, count: usize, kind: Kind) -> Self {
        Self::with(server, count, &[kind.name()]).await
    }

    /// Such that do not read.
    pub async fn silent(server: SocketAddr, count: usize, kind: Kind) -> Self {
        Self::with(server, count, &["silent", kind.name()]).await
    }

    /// Such that ask for nothing, and count a message each so many bytes.
    pub async fn of_bytes(server: SocketAddr, count: usize, bytes: usize) -> Self {
        Self::with(server, count, &["bytes", &bytes.to_string()]).await
    }

    async fn with(server: SocketAddr, count: usize, order: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let control = listener.local_addr().expect("an address").to_string();
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command
            .args(["readers", &server.to_string(), &control, &count.to_string()])
            .args(order);
        let process = command.kill_on_drop(true).spawn().expect("this program");
        Self {
            control: listener.accept().await.expect("a connection").0,
            _process: process,
        }
    }

    /// Waits until each has been told once more: at first the state, then a change each time.
    /// Silent ones: until they are connected.
    pub async fn got_all(&mut self) {
        self.control.read_u8().await.expect("the readers are there");
    }
}

/// The other process: reports each time when all its connections have been told once more.
pub fn read(order: &[&str]) {
    let [server, control, count, ref order @ ..] = *order else {
        panic!("not an order: {order:?}")
    };
    let count: usize = count.parse().expect("a number");
    OpenFiles::raise();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let control = TcpStream::connect(control).await.expect("the bench");
        control.set_nodelay(true).expect("no delay");
        let (mut bench, control) = control.into_split();
        let told = Rc::new(Told { count, so_far: Cell::new(0), control });
        let mut silent = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(server).await.expect("a connection");
            match *order {
                ["silent", name] => {
                    shake_hands(&mut stream, server, Kind::of(name)).await;
                    silent.push(stream);
                    told.add(1);
                }
                ["bytes", each] => {
                    let (told, each) = (told.clone(), each.parse().expect("a number"));
                    tokio::task::spawn_local(count_bytes(stream, each, told));
                }
                [name] => {
                    let rest = shake_hands(&mut stream, server, Kind::of(name)).await;
                    tokio::task::spawn_local(count_messages(
                        stream,
                        rest,
                        Kind::of(name),
                        told.clone(),
                    ));
                }
                _ => panic!("not an order: {order:?}"),
            }
        }
        // The bench sends nothing: this waits until it has gone.
        let _ = bench.read_u8().await;
    });
}

/// What all connections have been told.
struct Told {
    count: usize,
    so_far: Cell<usize>,
    control: tokio::net::tcp::OwnedWriteHalf,
}

impl Told {
    fn add(&self, times: usize) {
        for _ in 0..times {
            self.so_far.update(|so_far| so_far + 1);
            if self.so_far.get().is_multiple_of(self.count) {
                self.control.try_write(&[0]).expect("the bench is there");
            }
        }
    }
}

const BUFFER: usize = 16 * 1024;

async fn count_bytes(mut stream: TcpStream, each: usize, told: Rc<Told>) {
    let (mut buffer, mut got) = (vec![0; BUFFER], 0);
    while let Ok(more @ 1..) = stream.read(&mut buffer).await {
        told.add((got + more) / each - got / each);
        got += more;
    }
}

async fn count_messages(mut stream: TcpStream, rest: Vec<u8>, kind: Kind, told: Rc<Told>) {
    let (mut decoder, mut settled) = (Decoder::new(kind), false);
    let mut take = |bytes: &[u8]| {
        let mut times = 0;
        decoder.feed(bytes, |r#type| {
            let awaited = if settled {
                kind.last_of_change()
            } else {
                kind.last_of_state()
            };
            if r#type == awaited {
                settled = true;
                times += 1;
            }
        });
        told.add(times);
    };
    take(&rest);
    let mut buffer = vec![0; BUFFER];
    while let Ok(more @ 1..) = stream.read(&mut buffer).await {
        take(&buffer[..more]);
    }
}

/// One client of the bench's own process.
pub struct Listener {
    stream: TcpStream,
    decoder: Decoder,
    unread: Vec<u8>,
}

impl Listener {
    pub async fn connect(server: SocketAddr, kind: Kind) -> Self {
        let mut stream = TcpStream::connect(server).await.expect("a connection");
        let unread = shake_hands(&mut stream, &server.to_string(), kind).await;
        Self { stream, decoder: Decoder::new(kind), unread }
    }

    /// Reads until a message of this type has come: all the bytes of it and of what came before.
    pub async fn until(&mut self, awaited: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let read = std::mem::take(&mut self.unread);
            let mut come = false;
            self.decoder.feed(&read, |r#type| come |= r#type == awaited);
            bytes.extend(read);
            if come {
                return bytes;
            }
            self.unread.reserve(BUFFER);
            let more = self.stream.read_buf(&mut self.unread).await.expect("a server");
            assert_ne!(more, 0, "the server has closed the connection");
        }
    }
}

/// Finds the messages in what was read.
struct Decoder {
    kind: Kind,
    /// The first bytes of the frame or line under way.
    beginning: Vec<u8>,
    /// How much of it was read.
    read: usize,
}

impl Decoder {
    /// So many bytes of a frame or line tell its type.
    const BEGINNING: usize = 48;

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            beginning: Vec::with_capacity(Self::BEGINNING),
            read: 0,
        }
    }

    /// Takes in what was read, and tells the type of each message that is complete.
    fn feed(&mut self, mut bytes: &[u8], mut tell: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let end = match self.kind {
                Kind::First | Kind::Second => self.frame().map(|length| length - self.read),
                Kind::Events => bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1),
            };
            let unknown = if self.kind == Kind::Events { bytes.len() } else { 1 };
            let (taken, rest) = bytes.split_at(end.unwrap_or(unknown).min(bytes.len()));
            let room = Self::BEGINNING.saturating_sub(self.beginning.len()).min(taken.len());
            self.beginning.extend_from_slice(&taken[..room]);
            self.read += taken.len();
            bytes = rest;
            if end.is_some_and(|end| end == taken.len()) {
                if let Some(r#type) = self.r#type() {
                    tell(r#type);
                }
                self.beginning.clear();
                self.read = 0;
            }
        }
    }

    /// The length of the frame under way, if enough of it was read (RFC 6455, section 5.2).
    fn frame(&self) -> Option<usize> {
        let (&[_, length], rest) = self.beginning.split_first_chunk()?;
        Some(match length {
            126 => 4 + usize::from(u16::from_be_bytes(*rest.first_chunk()?)),
            127 => 10 + u64::from_be_bytes(*rest.first_chunk()?) as usize,
            length => 2 + usize::from(length),
        })
    }

    fn r#type(&self) -> Option<&str> {
        const KEY: &[u8] = b"{\"type\":\"";
        let start = self.beginning.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
        let text = &self.beginning[start..];
        str::from_utf8(&text[..text.iter().position(|byte| *byte == b'"')?]).ok()
    }
}

/// Returns what was read of what follows.
async fn shake_hands(stream: &mut TcpStream, server: &str, kind: Kind) -> Vec<u8> {
    const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (path, headers, subprotocol, status) = match kind {
        Kind::First => ("/", WEBSOCKET, "", "HTTP/1.1 101"),
        Kind::Second => {
            ("/", WEBSOCKET, "Sec-WebSocket-Protocol: fleet-monitor.v2\r\n", "HTTP/1.1 101")
        }
        Kind::Events => ("/v2/events", "Accept: text/event-stream\r\n", "", "HTTP/1.1 200"),
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n{headers}{subprotocol}\r\n");
    stream.write_all(request.as_bytes()).await.expect("a server");
    let mut head = Vec::new();
    loop {
        let more = stream.read_buf(&mut head).await.expect("a server");
        assert_ne!(more, 0, "the server has closed the connection");
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            assert!(head.starts_with(status.as_bytes()), "{}", String::from_utf8_lossy(&head));
            return head.split_off(end + 4);
        }
    }
}
