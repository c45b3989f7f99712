//! Sockets that the service manager passes (`sd_listen_fds(3)`), to the real program.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program with up to three sockets as its file descriptors from 3 on, and the file that it
/// logs to.
fn program(directory: &Path, sockets: Vec<OwnedFd>) -> (Command, PathBuf) {
    let log = directory.join("log");
    let count = sockets.len();
    let mut streams = sockets.into_iter().map(Stdio::from);
    let mut next = || streams.next().unwrap_or_else(Stdio::null);
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec 3<&0 4<&1 5<&2 </dev/null >\"$0\" 2>&1; LISTEN_PID=$$ exec \"$@\""])
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_fleet-monitor"))
        .args(["--demo", "--log-to", "stderr", "--bind", "192.0.2.1", "--port", "1"])
        .env("LISTEN_FDS", count.to_string())
        .env("FLEET_MONITOR_CONFIG", "/dev/null")
        .stdin(next())
        .stdout(next())
        .stderr(next())
        .kill_on_drop(true);
    (command, log)
}

/// Asks for `/healthz` over a connection.
async fn healthy(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> bool {
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .expect("in time")
        .unwrap();
    answer.starts_with("HTTP/1.1 200 ")
}

#[tokio::test]
async fn sockets_of_all_kinds_are_served_at_once() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("socket");
    let ipv4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let addresses: [SocketAddr; 2] = [ipv4.local_addr().unwrap(), ipv6.local_addr().unwrap()];
    let (mut command, log) = program(directory.path(), vec![ipv4.into(), unix.into(), ipv6.into()]);
    let mut program: Child = command.spawn().unwrap();
    drop(command);

    // Whether or not it runs yet: that is the point of passing sockets.
    for address in addresses {
        assert!(healthy(TcpStream::connect(address).await.unwrap()).await, "{address}");
    }
    assert!(healthy(UnixStream::connect(&path).await.unwrap()).await);
    let log = fs::read_to_string(log).unwrap();
    for place in [addresses[0].to_string(), addresses[1].to_string(), path.display().to_string()] {
        assert!(log.contains(&format!("listening on {place}\n")), "no {place} in {log}");
    }

    let stream = UnixStream::connect(&path).await.unwrap();
    let (mut client, _) = client_async("ws://localhost/", stream).await.unwrap();
    let mut next = async || {
        timeout(PATIENCE, client.next())
            .await
            .expect("in time")
            .unwrap()
            .unwrap()
    };
    let first = next().await.into_text().unwrap();
    assert!(first.starts_with(r#"{"type":"machine""#), "{first}");
    client.send(Message::Close(None)).await.unwrap();
    while let Some(Ok(_)) = timeout(PATIENCE, client.next()).await.expect("in time") {}

    // An event stream, and the end of all.
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream
        .write_all(b"GET /v2/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut events = String::new();
    let mut part = [0; 4096];
    while !events.contains(r#""type":"hello""#) {
        let read = timeout(PATIENCE, stream.read(&mut part))
            .await
            .expect("in time")
            .unwrap();
        assert!(read > 0, "{events}");
        events += &String::from_utf8_lossy(&part[..read]);
    }
    program.kill().await.unwrap();
}

#[tokio::test]
async fn over_a_unix_socket_the_rules_of_access_hold() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let _program = program(directory.path(), vec![unix.into()]).0.spawn().unwrap();
    for (headers, status) in [
        ("Host: localhost", "200"),
        ("Host: 10.0.0.1", "200"),
        ("Host: evil.example", "403"),
        ("Host: localhost\r\nOrigin: http://evil.example", "403"),
        ("X: y", "400"),
    ] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let request = format!("GET /v2/state HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer))
            .await
            .expect("in time")
            .unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}: {answer}");
    }
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_refused_with_its_number() {
    let only_streams = "ListenStream=";
    let only_listeners = "Accept=no";
    let good = || OwnedFd::from(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let connected = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        OwnedFd::from(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap())
    };
    let wrong: [(OwnedFd, &str); 5] = [
        (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into(), only_streams),
        (UnixDatagram::unbound().unwrap().into(), only_streams),
        (fs::File::open("/dev/zero").unwrap().into(), only_streams),
        (connected(), only_listeners),
        (StdUnixStream::pair().unwrap().0.into(), only_listeners),
    ];
    for (wrong, problem) in wrong {
        let directory = TempDir::new().unwrap();
        let (mut command, log) = program(directory.path(), vec![good(), wrong]);
        let status = timeout(PATIENCE, command.status()).await.expect("in time").unwrap();
        let log = fs::read_to_string(log).unwrap();
        let notice = log
            .lines()
            .find(|line| line.starts_with("fleet-monitor: "))
            .expect(&log);
        for words in [" 4", "LISTEN_FDS", problem] {
            assert!(notice.contains(words), "no {words:?} in {notice}");
        }
        // What is passed again at the next start is no better: the service is not to be tried
        // again.
        assert_eq!(status.code(), Some(78), "{log}");
    }
}
