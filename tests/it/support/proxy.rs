//! A line to a server that can be cut or held, and that knows what was asked on it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Passes on what clients and a server say to each other.
pub struct Proxy {
    pub address: SocketAddr,
    asked: watch::Sender<Vec<u8>>,
    line: watch::Sender<LinkState>,
}

#[derive(Clone, Copy, PartialEq)]
enum LinkState {
    Whole,
    /// Lets WebSockets through and nothing else.
    ForWebSockets,
    /// Where something with these words was asked last, nothing comes through.
    Held(&'static str),
    /// A connection ends.
    Cut,
}

impl Proxy {
    pub async fn to(server: SocketAddr) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), server).await
    }

    /// The same, with an address of its own.
    pub async fn at(address: SocketAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = watch::Sender::<Vec<u8>>::default();
        let line = watch::Sender::new(LinkState::Whole);
        tokio::spawn({
            let (asked, line) = (asked.clone(), line.subscribe());
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(pass(client, server, asked.clone(), line.clone()));
                }
            }
        });
        Self { address, asked, line }
    }

    /// Ends all connections, and those to come too.
    pub fn cut(&self) {
        self.line.send_replace(LinkState::Cut);
    }

    /// Keeps what is asked with these words, and what is answered to such, until the line is
    /// mended.
    pub fn hold(&self, words: &'static str) {
        self.line.send_replace(LinkState::Held(words));
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.line.send_replace(LinkState::Whole);
    }

    /// Lets WebSockets through again. Of other requests one may be on its way already that asks
    /// what happened to a WebSocket before.
    pub fn mend_for_websockets(&self) {
        self.line.send_replace(LinkState::ForWebSockets);
    }

    /// The lines of what clients sent that start so.
    pub fn asked(&self, start: &str) -> Vec<String> {
        let asked = self.asked.borrow();
        let asked = String::from_utf8_lossy(&asked);
        asked
            .lines()
            .filter(|line| line.starts_with(start))
            .map(ToOwned::to_owned)
            .collect()
    }

    /// Waits until clients have sent so many lines that start so.
    pub async fn until_asked_times(&self, start: &str, count: usize) {
        let mut asked = self.asked.subscribe();
        let is_enough = asked.wait_for(|_| self.asked(start).len() >= count);
        timeout(PATIENCE, is_enough)
            .await
            .expect("it is asked so often")
            .unwrap();
    }

    /// Waits until clients have sent something with these words.
    pub async fn until_asked(&self, words: &str) {
        let mut asked = self.asked.subscribe();
        let has_words = asked.wait_for(|asked| String::from_utf8_lossy(asked).contains(words));
        timeout(PATIENCE, has_words).await.expect("it is asked").unwrap();
    }
}

async fn pass(
    client: TcpStream,
    server: SocketAddr,
    asked: watch::Sender<Vec<u8>>,
    mut line: watch::Receiver<LinkState>,
) {
    let now = *line.borrow();
    if now == LinkState::Cut {
        return;
    }
    // A server that is not there, like one that goes away, ends the connection.
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let hold = Hold { last: Arc::default(), line: line.clone() };
    tokio::select! {
        _ = line.wait_for(|line| *line == LinkState::Cut) => {}
        () = answer(from_server, to_client, hold.clone()) => {}
        () = listen(from_client, to_server, asked, now, hold) => {}
    }
}

/// What keeps one connection from passing on what it has.
#[derive(Clone)]
struct Hold {
    /// What was asked last.
    last: Arc<Mutex<String>>,
    line: watch::Receiver<LinkState>,
}

impl Hold {
    async fn is_over(&mut self) {
        let last = &self.last;
        let is_over = |line: &LinkState| !matches!(line, LinkState::Held(words) if last.lock().unwrap().contains(words));
        // Nobody holds it who is gone.
        let _ = self.line.wait_for(is_over).await;
    }
}

async fn answer(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, mut hold: Hold) {
    let mut said = vec![0; 1 << 16];
    while let Ok(length @ 1..) = server.read(&mut said).await {
        hold.is_over().await;
        if client.write_all(&said[..length]).await.is_err() {
            break;
        }
    }
}

async fn listen(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    asked: watch::Sender<Vec<u8>>,
    line: LinkState,
    mut hold: Hold,
) {
    let mut said = [0; 4096];
    while let Ok(length @ 1..) = client.read(&mut said).await {
        // Only WebSockets say so, and what they say later is masked.
        let head = String::from_utf8_lossy(&said[..length]);
        if line == LinkState::ForWebSockets
            && head.starts_with("GET ")
            && !head.contains("Upgrade: websocket")
        {
            break;
        }
        *hold.last.lock().unwrap() = head.into_owned();
        asked.send_modify(|asked| asked.extend_from_slice(&said[..length]));
        hold.is_over().await;
        if server.write_all(&said[..length]).await.is_err() {
            break;
        }
    }
}
