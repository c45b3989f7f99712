//! One client: its kinds, its handshake, and how it reads.

use std::fmt;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::endpoint::{Connection, Endpoint};
use crate::message_reader::MessageReader;

/// How much is read at once.
pub const BUFFER: usize = 16 * 1024;

/// A protocol and its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// The first protocol.
    First,
    /// The second protocol, over a WebSocket.
    Second,
    /// The second protocol, over an event stream.
    Events,
}

impl ClientKind {
    pub const ALL: [Self; 3] = [Self::First, Self::Second, Self::Events];

    pub fn from_name(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .expect("a kind of client")
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Events => "events",
        }
    }

    /// The type of the last message that a client gets when it connects.
    pub fn last_of_state(self) -> &'static str {
        match self {
            Self::First => "unit",
            Self::Second | Self::Events => "status",
        }
    }

    /// The type of the last message that a client gets when a row has changed.
    pub fn last_of_change(self) -> &'static str {
        match self {
            Self::First => "unit",
            Self::Second | Self::Events => "event",
        }
    }
}

impl fmt::Display for ClientKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A client in the process of the bench.
pub struct SingleClient {
    stream: Connection,
    reader: MessageReader,
    /// What has been read, but not processed.
    unread: Vec<u8>,
}

impl SingleClient {
    pub async fn connect(server: &Endpoint, kind: ClientKind) -> Self {
        let mut stream = server.connector().connect().await;
        let unread = handshake(&mut stream, server.address, kind).await;

        Self { stream, reader: MessageReader::new(kind), unread }
    }

    /// Reads until a message of this type is complete. Returns all bytes since the last call.
    pub async fn read_until(&mut self, last_type: &str) -> Vec<u8> {
        let mut bytes = Vec::new();

        loop {
            let unread = std::mem::take(&mut self.unread);
            let mut is_complete = false;
            self.reader
                .process(&unread, |r#type| is_complete |= r#type == last_type);
            bytes.extend(unread);
            if is_complete {
                return bytes;
            }

            self.unread.reserve(BUFFER);
            let read = self.stream.read_buf(&mut self.unread).await.expect("a server");
            assert_ne!(read, 0, "the server has closed the connection");
        }
    }
}

/// Sends the request and reads the head of the response. Returns what was read behind the head.
pub async fn handshake(stream: &mut Connection, server: SocketAddr, kind: ClientKind) -> Vec<u8> {
    const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
                             Sec-WebSocket-Version: 13\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const SECOND_PROTOCOL: &str = "Sec-WebSocket-Protocol: fleet-monitor.v2\r\n";
    const EVENT_STREAM: &str = "Accept: text/event-stream\r\n";

    let (path, headers, subprotocol, status) = match kind {
        ClientKind::First => ("/", WEBSOCKET, "", "HTTP/1.1 101"),
        ClientKind::Second => ("/", WEBSOCKET, SECOND_PROTOCOL, "HTTP/1.1 101"),
        ClientKind::Events => ("/v2/events", EVENT_STREAM, "", "HTTP/1.1 200"),
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n{headers}{subprotocol}\r\n");
    stream.write_all(request.as_bytes()).await.expect("a server");

    let mut head = Vec::new();
    loop {
        let read = stream.read_buf(&mut head).await.expect("a server");
        assert_ne!(read, 0, "the server has closed the connection");

        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            assert!(head.starts_with(status.as_bytes()), "{}", String::from_utf8_lossy(&head));
            return head.split_off(end + 4);
        }
    }
}
