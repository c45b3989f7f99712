//! The least that a server can do: one `write` for each client.

use std::io::Write;
use std::net::TcpStream;

use tokio::net::TcpListener;

use crate::client_process::ClientProcess;
use crate::endpoint::Endpoint;

/// Sockets to which one message is written again and again.
pub struct WriteLoop {
    sockets: Vec<TcpStream>,
    clients: ClientProcess,
    message: Vec<u8>,
}

impl WriteLoop {
    pub async fn start(count: usize, message: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = Endpoint::plain(listener.local_addr().expect("an address"));
        let clients = ClientProcess::counting_bytes(&endpoint, count, message.len()).await;

        let mut sockets = Vec::new();
        for _ in 0..count {
            let socket = listener.accept().await.expect("a connection").0;
            socket.set_nodelay(true).expect("no delay");
            let socket = socket.into_std().expect("a socket");
            socket.set_nonblocking(false).expect("a blocking socket");
            sockets.push(socket);
        }

        Self { sockets, clients, message }
    }

    /// Writes the message to all sockets, and waits until all clients have received it.
    pub async fn round(&mut self) {
        for socket in &mut self.sockets {
            socket.write_all(&self.message).expect("written");
        }

        self.clients.all_received().await;
    }
}
