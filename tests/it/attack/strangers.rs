//! The clients that mean no good, each with what must become of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::PATIENCE;
use super::wire::{Connection, Message, Protocol, frame, request};

/// Connects with so little room in the kernel that it is full at once, and never reads.
pub async fn fall_silent(
    server: SocketAddr,
    protocol: Protocol,
    doors: Rc<Semaphore>,
) -> Connection {
    let _permit = doors.acquire().await.expect("they are never closed");
    let stream = narrow(server).await;
    Connection::open(stream, &request(server, protocol, None))
        .await
        .expect("a place that is free")
}

async fn narrow(server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(server).await.expect("a connection")
}

/// Sends a request byte by byte, and returns after what time it was cut off.
pub async fn dribble(server: SocketAddr) -> Duration {
    let mut stream = TcpStream::connect(server).await.expect("a connection");
    let begun = Instant::now();
    let request = request(server, Protocol::First, None);
    let mut bytes = request.bytes();
    let mut pace = interval(Duration::from_millis(500));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answer = [0; 12];
    loop {
        tokio::select! {
            read = stream.read(&mut answer) => match read {
                Ok(1..) => assert_ne!(&answer, b"HTTP/1.1 101", "half a request was granted"),
                Ok(0) | Err(_) => return begun.elapsed(),
            },
            _ = pace.tick() => {
                // Where this fails the next read ends too.
                let _ = stream.write_all(&[bytes.next().expect("a request is longer")]).await;
            }
        }
    }
}

/// For so long a deaf one does not read.
const DEAF: Duration = Duration::from_secs(3);

/// A way to be a nuisance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nuisance {
    /// What is no HTTP.
    Noise,
    /// A request without an end.
    LongHead,
    /// What is no WebSocket frame.
    Garbage,
    /// A frame that is not masked.
    Unmasked,
    /// Text that is not UTF-8.
    NoText,
    /// A message of 1 MiB.
    Oversized,
    /// A message in pieces, without an end.
    Fragments,
    /// Pings, as fast as they are taken.
    Pings,
    /// The same, and the answers are not read for a while.
    DeafPings,
}

impl Nuisance {
    pub const ALL: [Self; 9] = [
        Self::Noise,
        Self::LongHead,
        Self::Garbage,
        Self::Unmasked,
        Self::NoText,
        Self::Oversized,
        Self::Fragments,
        Self::Pings,
        Self::DeafPings,
    ];

    /// What it sends, again and again or once, after a handshake or instead.
    fn bytes(self) -> Vec<u8> {
        const TEXT: u8 = 1;
        const BINARY: u8 = 2;
        const PING: u8 = 9;
        const LAST: u8 = 0x80;
        match self {
            Self::Noise => b"\x16\x03\x01 not HTTP\r\n\r\n".to_vec(),
            Self::LongHead => {
                format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(64 * 1024)).into_bytes()
            }
            Self::Garbage => vec![0xff; 64],
            Self::Unmasked => vec![LAST | TEXT, 2, b'h', b'i'],
            Self::NoText => frame(LAST | TEXT, &[0xc3, 0x28]),
            Self::Oversized => frame(LAST | BINARY, &[0; 1024 * 1024]),
            Self::Fragments => {
                let mut fragments = frame(TEXT, &[b'x'; 512]);
                (0..16).for_each(|_| fragments.extend(frame(0, &[b'x'; 512])));
                fragments
            }
            // More than may be sent.
            Self::Pings | Self::DeafPings => {
                let mut pings = frame(LAST | PING, &[]).repeat(100);
                pings.extend(frame(LAST | PING, &[0; 125]).repeat(500));
                pings
            }
        }
    }

    /// The status or the close code that it must be given.
    fn answer(self) -> u16 {
        match self {
            Self::Noise => 400,
            Self::LongHead => 431,
            Self::Garbage | Self::Unmasked => 1002,
            Self::NoText => 1007,
            Self::Pings | Self::DeafPings => 1008,
            Self::Oversized | Self::Fragments => 1009,
        }
    }

    fn shakes_hands(self) -> bool {
        !matches!(self, Self::Noise | Self::LongHead)
    }
}

/// What became of each kind, and how often.
pub type Fates = RefCell<BTreeMap<(Nuisance, Fate), usize>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It was told this and shown out.
    Answered(u16),
    /// It was shown out.
    Cut,
    /// It was not let in, as there were too many.
    TurnedAway,
}

/// So long nobody is a nuisance again.
const PAUSE: Duration = Duration::from_secs(2);

/// Is a nuisance again and again until it is `over`.
pub async fn pester(
    server: SocketAddr,
    nuisance: Nuisance,
    fates: Rc<Fates>,
    over: Rc<Cell<bool>>,
) {
    let bytes = nuisance.bytes();
    while !over.get() {
        let fate = timeout(PATIENCE, once(server, nuisance, &bytes)).await;
        let fate = fate.unwrap_or_else(|_| panic!("{nuisance:?}: it was left alone"));
        // What is cut is cut in the middle of what it sends, or is not read: it may not learn why.
        let deserved = match fate {
            Fate::Answered(answer) => answer == nuisance.answer(),
            Fate::Cut | Fate::TurnedAway => true,
        };
        assert!(deserved, "{nuisance:?}: {fate:?}");
        *fates.borrow_mut().entry((nuisance, fate)).or_default() += 1;
        sleep(PAUSE).await;
    }
}

async fn once(server: SocketAddr, nuisance: Nuisance, bytes: &[u8]) -> Fate {
    let mut stream = match nuisance {
        Nuisance::DeafPings => narrow(server).await,
        _ => TcpStream::connect(server).await.expect("a connection"),
    };
    if !nuisance.shakes_hands() {
        let mut answer = Vec::new();
        let (mut reader, mut writer) = stream.split();
        let _ = tokio::join!(writer.write_all(bytes), reader.read_to_end(&mut answer));
        let status = String::from_utf8_lossy(&answer)
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        return status
            .map_or(if answer.is_empty() { Fate::TurnedAway } else { Fate::Cut }, Fate::Answered);
    }
    let mut connection =
        match Connection::open(stream, &request(server, Protocol::First, None)).await {
            Ok(connection) => connection,
            Err(refusal) => {
                assert!(refusal.is_empty() || refusal.contains(" 503 "), "{nuisance:?}: {refusal}");
                return Fate::TurnedAway;
            }
        };
    let mut unsent = bytes;
    if nuisance == Nuisance::DeafPings {
        let deaf = async {
            while let Ok(sent @ 1..) = connection.stream().write(unsent).await {
                unsent = &unsent[sent..];
            }
        };
        let _ = timeout(DEAF, deaf).await;
    }
    loop {
        let mut told = None;
        connection.messages(|message| {
            if let Message::Close(code) = message {
                told = Some(Fate::Answered(code));
            }
        });
        if let Some(told) = told {
            return told;
        }
        if unsent.is_empty() && matches!(nuisance, Nuisance::Pings | Nuisance::DeafPings) {
            unsent = bytes;
        }
        if connection.exchange(&mut unsent).await.is_err() {
            return Fate::Cut;
        }
    }
}
