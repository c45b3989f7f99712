//! Where the program listens, with TLS or without, and connections to it.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConnection;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::either::Either;

/// A connection to the program.
pub type Connection = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Where the program listens.
#[derive(Clone)]
pub struct Endpoint {
    pub address: SocketAddr,
    /// `None`: without TLS.
    pub tls: Option<TlsConnector>,
}

impl Endpoint {
    /// Opens a connection. With TLS, the handshake is done after that.
    pub async fn connect(&self) -> io::Result<Connection> {
        self.begin(TcpStream::connect(self.address).await?).await
    }

    /// The same with so little room in the kernel that it is full at once.
    pub async fn connect_narrow(&self) -> io::Result<Connection> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        self.begin(socket.connect(self.address).await?).await
    }

    /// What a client with TLS sends first.
    pub fn hello(&self) -> Vec<u8> {
        let config = self.tls.as_ref().expect("TLS").config().clone();
        let name = ServerName::from(self.address.ip());
        let mut hello = Vec::new();
        ClientConnection::new(config, name)
            .unwrap()
            .write_tls(&mut hello)
            .unwrap();
        hello
    }

    async fn begin(&self, stream: TcpStream) -> io::Result<Connection> {
        match &self.tls {
            None => Ok(Either::Left(stream)),
            Some(tls) => {
                let name = ServerName::from(self.address.ip());
                Ok(Either::Right(Box::new(tls.connect(name, stream).await?)))
            }
        }
    }
}

/// Makes the connection end with a reset when it is dropped.
pub fn reset_on_drop(connection: &Connection) -> io::Result<()> {
    match connection {
        Either::Left(stream) => stream.set_zero_linger(),
        Either::Right(stream) => stream.get_ref().0.set_zero_linger(),
    }
}
