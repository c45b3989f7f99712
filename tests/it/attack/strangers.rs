//! The clients that mean no good, each with what must become of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::either::Either;

use super::PATIENCE;
use super::wire::{Connection, Message, Protocol, frame, request};
use crate::support::endpoint::{self, Endpoint};

/// Connects with so little room in the kernel that it is full at once, and never reads.
pub async fn fall_silent(server: Endpoint, protocol: Protocol, doors: Rc<Semaphore>) -> Connection {
    let _permit = doors.acquire().await.expect("they are never closed");
    let stream = server.connect_narrow().await.expect("a connection");
    Connection::open(stream, &request(server.address, protocol, None))
        .await
        .expect("a place that is free")
}

/// Sends a request byte by byte, and returns after what time it was cut off.
pub async fn dribble_request(server: Endpoint) -> Duration {
    let stream = server.connect().await.expect("a connection");
    dribble(stream, request(server.address, Protocol::First, None).as_bytes()).await
}

/// The same with the beginning of a handshake.
pub async fn dribble_hello(server: Endpoint) -> Duration {
    let stream = TcpStream::connect(server.address).await.expect("a connection");
    dribble(Either::Left(stream), &server.hello()).await
}

async fn dribble(mut stream: endpoint::Connection, bytes: &[u8]) -> Duration {
    let begun = Instant::now();
    let mut bytes = bytes.iter().copied();
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
                let _ = stream.write_all(&[bytes.next().expect("it is longer")]).await;
            }
        }
    }
}

/// For so long a deaf one does not read.
const DEAF: Duration = Duration::from_secs(3);

/// What is no HTTP, and of TLS a hello that is cut off.
pub const NOISE: &[u8] = b"\x16\x03\x01\0\x06\x01\0\0\x02no";

/// An alert (RFC 8446, section 6).
const DECODE_ERROR: u16 = 50;

/// A way to be a nuisance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nuisance {
    /// What is neither HTTP nor TLS.
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
            Self::Noise => NOISE.to_vec(),
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

    /// The status, the close code or the alert of TLS that it must be given.
    fn answer(self, has_tls: bool) -> u16 {
        match self {
            Self::Noise if has_tls => DECODE_ERROR,
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
pub async fn pester(server: Endpoint, nuisance: Nuisance, fates: Rc<Fates>, over: Rc<Cell<bool>>) {
    let bytes = nuisance.bytes();
    while !over.get() {
        let fate = timeout(PATIENCE, once(&server, nuisance, &bytes)).await;
        let fate = fate.unwrap_or_else(|_| panic!("{nuisance:?}: it was left alone"));
        // What is cut is cut in the middle of what it sends, or is not read: it may not learn why.
        let deserved = match fate {
            Fate::Answered(answer) => answer == nuisance.answer(server.tls.is_some()),
            Fate::Cut | Fate::TurnedAway => true,
        };
        assert!(deserved, "{nuisance:?}: {fate:?}");
        *fates.borrow_mut().entry((nuisance, fate)).or_default() += 1;
        sleep(PAUSE).await;
    }
}

async fn once(server: &Endpoint, nuisance: Nuisance, bytes: &[u8]) -> Fate {
    let stream = match nuisance {
        Nuisance::DeafPings => server.connect_narrow().await,
        Nuisance::Noise => TcpStream::connect(server.address).await.map(Either::Left),
        _ => server.connect().await,
    };
    let stream = match stream {
        Ok(stream) => stream,
        Err(_) if server.tls.is_some() => return Fate::TurnedAway,
        Err(error) => panic!("{nuisance:?}: {error}"),
    };
    if !nuisance.shakes_hands() {
        let mut answer = Vec::new();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let sent = async {
            let _ = writer.write_all(bytes).await;
            let _ = writer.flush().await;
        };
        let _ = tokio::join!(sent, reader.read_to_end(&mut answer));
        return match (status_or_alert(&answer), answer.is_empty()) {
            (Some(answer), _) => Fate::Answered(answer),
            (None, false) => Fate::Cut,
            (None, true) => Fate::TurnedAway,
        };
    }
    let mut connection =
        match Connection::open(stream, &request(server.address, Protocol::First, None)).await {
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

/// The status of an answer, or the alert of TLS that it is.
fn status_or_alert(answer: &[u8]) -> Option<u16> {
    const ALERT: u8 = 21;
    match *answer {
        [ALERT, _, _, 0, 2, _, alert] => Some(alert.into()),
        _ => String::from_utf8_lossy(answer).split(' ').nth(1)?.parse().ok(),
    }
}
