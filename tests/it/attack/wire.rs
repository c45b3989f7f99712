//! A client's end of a connection, as small as it can be: thousands of them share one thread and
//! one buffer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::support::endpoint;

/// How a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    First,
    Second,
    /// The second one as server-sent events.
    Events,
}

impl Protocol {
    pub const ALL: [Self; 3] = [Self::First, Self::Second, Self::Events];
}

/// The point from which a client wants to go on: an epoch and a revision.
pub type Point<'a> = Option<(&'a str, u64)>;

/// What a client asks for.
pub fn request(server: SocketAddr, protocol: Protocol, point: Point<'_>) -> String {
    const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (path, headers) = match (protocol, point) {
        (Protocol::First, _) => ("/".to_owned(), WEBSOCKET.to_owned()),
        (Protocol::Second, point) => {
            let query =
                point.map(|(epoch, revision)| format!("?epoch={epoch}&revision={revision}"));
            let subprotocol = "Sec-WebSocket-Protocol: fleet-monitor.v2\r\n";
            (format!("/{}", query.unwrap_or_default()), format!("{WEBSOCKET}{subprotocol}"))
        }
        (Protocol::Events, point) => {
            let last =
                point.map(|(epoch, revision)| format!("Last-Event-ID: {epoch}-{revision}\r\n"));
            (
                "/v2/events".to_owned(),
                format!("Accept: text/event-stream\r\n{}", last.unwrap_or_default()),
            )
        }
    };
    format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n{headers}\r\n")
}

/// A frame as a client sends it, masked with zeros (RFC 6455, section 5.2). `first` is its first
/// byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length @ 0..126) => frame.push(MASKED | length as u8),
        Ok(length) => {
            frame.push(MASKED | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(MASKED | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// What the server says.
pub enum Message<'a> {
    Text(&'a [u8]),
    Ping,
    Pong,
    Close(u16),
}

/// What the bytes after the head are.
#[derive(Clone, Copy, Debug)]
enum Coding {
    Frames,
    Chunks,
    Plain,
}

/// A connection whose request was granted.
#[derive(Debug)]
pub struct Connection {
    stream: endpoint::Connection,
    coding: Coding,
    /// What was read and is not a whole frame or chunk yet.
    unread: Vec<u8>,
    /// What the chunks carried and is not a whole event yet.
    events: Vec<u8>,
}

impl Connection {
    /// Sends a request and reads the head of its answer. The error is that head if the request was
    /// not granted, or nothing where there was no answer.
    pub async fn open(mut stream: endpoint::Connection, request: &str) -> Result<Self, String> {
        let mut unread = Vec::new();
        let sent = stream.write_all(request.as_bytes()).await;
        while sent.is_ok() {
            if read(&mut stream, &mut unread).await.is_err() {
                break;
            }
            let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&unread[..end]).to_ascii_lowercase();
            unread.drain(..end + 4);
            let coding = match head.split(' ').nth(1) {
                Some("101") => Coding::Frames,
                Some("200") if head.contains("transfer-encoding: chunked") => Coding::Chunks,
                Some("200") => Coding::Plain,
                _ => return Err(head),
            };
            return Ok(Self { stream, coding, unread, events: Vec::new() });
        }
        Err(String::new())
    }

    /// Waits for more. The end of the connection is an error.
    pub async fn read(&mut self) -> io::Result<()> {
        read(&mut self.stream, &mut self.unread).await
    }

    /// Reads what there is, or sends of these bytes what can be sent. What can no more be sent is
    /// given up.
    pub async fn exchange(&mut self, bytes: &mut &[u8]) -> io::Result<()> {
        let Self { stream, unread, .. } = self;
        poll_fn(|context| {
            if let Poll::Ready(read) = poll_read(stream, context, unread) {
                return Poll::Ready(read);
            }

            let stream = Pin::new(&mut *stream);
            if bytes.is_empty() {
                // The rest of what was encrypted. If that fails, the next read ends too.
                let _ = stream.poll_flush(context);
                return Poll::Pending;
            }
            match ready!(stream.poll_write(context, bytes)) {
                Ok(sent) => *bytes = &bytes[sent..],
                Err(_) => *bytes = &[],
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Hands over the messages that are complete.
    pub fn messages(&mut self, mut take: impl FnMut(Message<'_>)) {
        let mut read = 0;
        match self.coding {
            Coding::Frames => {
                while let Some((message, length)) = parse_frame(&self.unread[read..]) {
                    take(message);
                    read += length;
                }
            }
            Coding::Chunks => {
                while let Some((chunk, length)) = parse_chunk(&self.unread[read..]) {
                    self.events.extend_from_slice(chunk);
                    read += length;
                }
            }
            Coding::Plain => {
                self.events.extend_from_slice(&self.unread);
                read = self.unread.len();
            }
        }
        self.unread.drain(..read);
        let mut taken = 0;
        while let Some(line) = line(&self.events[taken..]) {
            if let Some(data) = line.strip_prefix(b"data: ") {
                take(Message::Text(data));
            }
            taken += line.len() + 1;
        }
        self.events.drain(..taken);
    }

    /// Answers a ping.
    pub fn pong(&mut self) {
        const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
        // Six bytes find room in the kernel.
        let _ = self.stream.write(&PONG).now_or_never();
    }

    pub fn stream(&mut self) -> &mut endpoint::Connection {
        &mut self.stream
    }
}

/// Waits until there is something to read, and appends it. The end of the stream is an error.
async fn read(stream: &mut endpoint::Connection, to: &mut Vec<u8>) -> io::Result<()> {
    poll_fn(|context| poll_read(stream, context, to)).await
}

fn poll_read(
    stream: &mut endpoint::Connection,
    context: &mut Context<'_>,
    to: &mut Vec<u8>,
) -> Poll<io::Result<()>> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
    }

    BUFFER.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(stream).poll_read(context, &mut buffer))?;

        match buffer.filled() {
            [] => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            bytes => {
                to.extend_from_slice(bytes);
                Poll::Ready(Ok(()))
            }
        }
    })
}

/// The first frame, if it is complete, and its length.
fn parse_frame(bytes: &[u8]) -> Option<(Message<'_>, usize)> {
    let (&[first, length], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match length {
        126 => rest
            .split_first_chunk()
            .map(|(length, rest)| (u16::from_be_bytes(*length).into(), rest))?,
        127 => rest
            .split_first_chunk()
            .map(|(length, rest)| (u64::from_be_bytes(*length) as usize, rest))?,
        length => (usize::from(length), rest),
    };
    let payload = rest.get(..length)?;
    let message = match first {
        0x81 => Message::Text(payload),
        0x88 => Message::Close(payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code))),
        0x89 => Message::Ping,
        0x8a => Message::Pong,
        other => panic!("no server sends such a frame: {other:#x}"),
    };
    Some((message, bytes.len() - rest.len() + length))
}

/// What the first chunk carries, if it is complete, and its length (RFC 9112, section 7.1).
fn parse_chunk(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let size = line(bytes)?;
    let length = usize::from_str_radix(str::from_utf8(size).ok()?.trim_end(), 16).ok()?;
    let chunk = bytes.get(size.len() + 1..)?;
    Some((chunk.get(..length)?, size.len() + 1 + length + 2)).filter(|(_, all)| *all <= bytes.len())
}

/// The first line, if it is complete, without its end. The search is the standard library's, which
/// is fast in a debug build too.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    let length = { bytes }.skip_until(b'\n').ok()?;
    bytes[..length].strip_suffix(b"\n")
}
