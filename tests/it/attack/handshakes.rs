//! Ten thousand clients that begin a handshake of TLS and never complete it, against the program
//! itself.

use fleet_monitor::server::open_files::OpenFileLimit;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::strangers::NOISE;
use crate::support::certificates::CertificateFiles;
use crate::support::endpoint::Endpoint;
use crate::support::{Program, within_timeout};

const HANDSHAKES: usize = 10_000;

/// So many at a time: fewer than the server's limit for connections without a WebSocket, so that
/// none is refused.
const WAVE: usize = 1_000;

/// The resident memory that a handshake may cost, in KiB. rustls buffers a message of 64 KiB.
const MEMORY: f64 = 96.0;

/// How far a handshake gets.
#[derive(Clone, Copy, Debug)]
enum Handshake {
    /// Half of a hello.
    Half,
    /// A whole one. The answer is read, and nothing else is sent.
    Unfinished,
    /// A hello of the greatest size, but for its last bytes.
    LongHello,
    /// A record with a hello that is cut off.
    Garbage,
}

impl Handshake {
    const ALL: [Self; 4] = [Self::Half, Self::Unfinished, Self::LongHello, Self::Garbage];

    fn bytes(self, server: &Endpoint) -> Vec<u8> {
        match self {
            Self::Half => {
                let hello = server.hello();
                hello[..hello.len() / 2].to_vec()
            }
            Self::Unfinished => server.hello(),
            Self::LongHello => {
                let hello = [&[1, 0, 0xff, 0xf0][..], &[3; 60_000]].concat();
                hello.chunks(1 << 14).flat_map(record).collect()
            }
            Self::Garbage => NOISE.to_vec(),
        }
    }

    async fn begin(self, server: &Endpoint) -> TcpStream {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&self.bytes(server)).await.unwrap();

        let mut answer = Vec::new();
        match self {
            Self::Half | Self::LongHello => {}
            Self::Unfinished => {
                let length = stream.read_buf(&mut answer).await.unwrap();
                assert!(length > 0 && answer[0] == 22, "{answer:x?}");
            }
            // An alert, and the end.
            Self::Garbage => {
                let _ = stream.read_to_end(&mut answer).await;
                assert_eq!(answer.first(), Some(&21), "{answer:x?}");
            }
        }
        stream
    }
}

/// A record with a part of a handshake (RFC 8446, section 5.1).
fn record(part: &[u8]) -> Vec<u8> {
    let length = u16::try_from(part.len()).unwrap().to_be_bytes();
    [&[22, 3, 1], &length[..], part].concat()
}

#[tokio::test]
async fn ten_thousand_incomplete_handshakes_cost_little_and_others_are_served() {
    OpenFileLimit::raise();
    let files = CertificateFiles::new();
    let daemon = Program::new(&["--demo"]).with_tls(&files).start().await;
    let server = daemon.endpoint();
    let failures = "fleet_monitor_tls_handshakes_failed_total";
    assert_eq!(daemon.text("/healthz").await.0, 200);

    let mut clients = vec![daemon.connect().await];
    clients[0].next().await;
    let before = daemon.memory();
    for wave in 0..HANDSHAKES / WAVE {
        let handshake = Handshake::ALL[wave % Handshake::ALL.len()];
        let begun = join_all((0..WAVE).map(|_| handshake.begin(&server)));
        let begun = within_timeout("the beginning of handshakes", begun).await;

        assert_eq!(daemon.text("/healthz").await.0, 200);
        let mut client = daemon.connect().await;
        client.next().await;
        clients.push(client);

        drop(begun);
        let all = ((wave + 1) * WAVE) as u64;
        within_timeout("their end", async { while daemon.counter(failures).await < all {} }).await;
        println!("{handshake:?}: at most {} KiB so far", daemon.peak_memory() - before);
    }

    let each = daemon.peak_memory().saturating_sub(before) as f64 / WAVE as f64;
    println!("{each:.1} KiB for each of {WAVE} at a time, {HANDSHAKES} in all");
    assert!(each < MEMORY, "{each:.1} KiB for each");
    assert_eq!(daemon.counter(failures).await, HANDSHAKES as u64);
    // Those that were connected meanwhile have noticed nothing.
    for client in &mut clients {
        client.next().await;
    }
}
