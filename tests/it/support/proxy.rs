//! A TCP proxy in front of a server: it can cut or hold connections, and records what clients
//! request. It does not know what either of them is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long any test waits for an event.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running proxy.
pub struct Proxy {
    pub address: SocketAddr,
    /// All bytes that clients have sent.
    received: watch::Sender<Vec<u8>>,
    mode: watch::Sender<ProxyMode>,
}

/// What the proxy does with connections.
#[derive(Clone, Copy, PartialEq)]
enum ProxyMode {
    /// Forwards everything.
    Forward,
    /// Forwards WebSockets, and closes other connections.
    OnlyWebSockets,
    /// Holds back each connection whose last request contains this text.
    Hold(&'static str),
    /// Closes all connections.
    Cut,
}

impl Proxy {
    /// Listens on a free port.
    pub async fn to(server: SocketAddr) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), server).await
    }

    /// Listens on this address.
    pub async fn at(address: SocketAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = watch::Sender::<Vec<u8>>::default();
        let mode = watch::Sender::new(ProxyMode::Forward);

        tokio::spawn({
            let received = received.clone();
            let mode = mode.subscribe();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(forward(client, server, received.clone(), mode.clone()));
                }
            }
        });
        Self { address, received, mode }
    }

    /// Closes all connections, and each new one.
    pub fn cut(&self) {
        self.mode.send_replace(ProxyMode::Cut);
    }

    /// Holds back requests that contain this text, and their responses, until
    /// [`Proxy::mend`].
    pub fn hold(&self, text: &'static str) {
        self.mode.send_replace(ProxyMode::Hold(text));
    }

    /// Forwards everything again.
    pub fn mend(&self) {
        self.mode.send_replace(ProxyMode::Forward);
    }

    /// Forwards only WebSockets again. Another request, which asks what happened to a WebSocket
    /// before, may be on its way already.
    pub fn mend_for_websockets(&self) {
        self.mode.send_replace(ProxyMode::OnlyWebSockets);
    }

    /// The lines that clients have sent and that start with this text.
    pub fn asked(&self, start: &str) -> Vec<String> {
        let received = self.received.borrow();
        let received = String::from_utf8_lossy(&received);
        received
            .lines()
            .filter(|line| line.starts_with(start))
            .map(ToOwned::to_owned)
            .collect()
    }

    /// Waits until clients have sent this many lines that start with this text.
    pub async fn until_asked_times(&self, start: &str, count: usize) {
        let mut received = self.received.subscribe();
        let is_enough = received.wait_for(|_| self.asked(start).len() >= count);
        timeout(PATIENCE, is_enough).await.expect("so many requests").unwrap();
    }

    /// Waits until clients have sent this text.
    pub async fn until_asked(&self, text: &str) {
        let mut received = self.received.subscribe();
        let has_text = received.wait_for(|all| String::from_utf8_lossy(all).contains(text));
        timeout(PATIENCE, has_text).await.expect("the request").unwrap();
    }
}

async fn forward(
    client: TcpStream,
    server: SocketAddr,
    received: watch::Sender<Vec<u8>>,
    mut mode: watch::Receiver<ProxyMode>,
) {
    let mode_at_start = *mode.borrow();
    if mode_at_start == ProxyMode::Cut {
        return;
    }
    // If the server is down, the client's connection is closed.
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };

    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let hold = ConnectionHold { last_request: Arc::default(), mode: mode.clone() };
    tokio::select! {
        _ = mode.wait_for(|mode| *mode == ProxyMode::Cut) => {}
        () = forward_responses(from_server, to_client, hold.clone()) => {}
        () = forward_requests(from_client, to_server, received, mode_at_start, hold) => {}
    }
}

/// Decides whether one connection is held back.
#[derive(Clone)]
struct ConnectionHold {
    last_request: Arc<Mutex<String>>,
    mode: watch::Receiver<ProxyMode>,
}

impl ConnectionHold {
    /// Waits until the connection is not held back.
    async fn is_over(&mut self) {
        let last_request = &self.last_request;
        let is_over = |mode: &ProxyMode| match mode {
            ProxyMode::Hold(text) => !last_request.lock().unwrap().contains(text),
            _ => true,
        };
        // Without a proxy, nothing is held back.
        let _ = self.mode.wait_for(is_over).await;
    }
}

async fn forward_responses(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    mut hold: ConnectionHold,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = server.read(&mut buffer).await {
        hold.is_over().await;
        if client.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
}

async fn forward_requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    received: watch::Sender<Vec<u8>>,
    mode: ProxyMode,
    mut hold: ConnectionHold,
) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = client.read(&mut buffer).await {
        // Only the first request of a WebSocket has this header; what follows is masked.
        let request = String::from_utf8_lossy(&buffer[..length]);
        if mode == ProxyMode::OnlyWebSockets
            && request.starts_with("GET ")
            && !request.contains("Upgrade: websocket")
        {
            break;
        }

        *hold.last_request.lock().unwrap() = request.into_owned();
        received.send_modify(|all| all.extend_from_slice(&buffer[..length]));
        hold.is_over().await;
        if server.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
}
