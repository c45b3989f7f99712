//! A line to a server that can be cut, and that knows what was asked on it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes on what clients and a server say to each other.
pub struct Proxy {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<u8>>>,
    line: watch::Sender<Line>,
}

#[derive(Clone, Copy, PartialEq)]
enum Line {
    Whole,
    /// Lets WebSockets through and nothing else.
    ForWebSockets,
    /// A connection ends.
    Cut,
}

impl Proxy {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<u8>>>::default();
        let line = watch::Sender::new(Line::Whole);
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
        self.line.send_replace(Line::Cut);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.line.send_replace(Line::Whole);
    }

    /// Lets WebSockets through again. Of other requests one may be on its way already that asks what happened to a
    /// WebSocket before.
    pub fn mend_for_websockets(&self) {
        self.line.send_replace(Line::ForWebSockets);
    }

    /// The lines of what clients sent that start so.
    pub fn asked(&self, start: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let asked = String::from_utf8_lossy(&asked);
        asked.lines().filter(|line| line.starts_with(start)).map(ToOwned::to_owned).collect()
    }
}

async fn pass(client: TcpStream, server: SocketAddr, asked: Arc<Mutex<Vec<u8>>>, mut line: watch::Receiver<Line>) {
    let now = *line.borrow();
    if now == Line::Cut {
        return;
    }
    // A server that is not there, like one that goes away, ends the connection.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::select! {
        _ = line.wait_for(|line| *line == Line::Cut) => {}
        _ = copy(&mut from_server, &mut to_client) => {}
        () = listen(from_client, to_server, asked, now) => {}
    }
}

async fn listen(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, asked: Arc<Mutex<Vec<u8>>>, line: Line) {
    let mut said = [0; 4096];
    while let Ok(length @ 1..) = client.read(&mut said).await {
        // Only WebSockets say so, and what they say later is masked.
        let head = String::from_utf8_lossy(&said[..length]);
        if line == Line::ForWebSockets && head.starts_with("GET ") && !head.contains("Upgrade: websocket") {
            break;
        }
        asked.lock().unwrap().extend_from_slice(&said[..length]);
        if server.write_all(&said[..length]).await.is_err() {
            break;
        }
    }
}
