//! Sockets that the service manager passes (`sd_listen_fds(3)`), and those of `--listen`, with the
//! real program.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Daemon, Program};

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

/// The program before it starts, with these values of `--listen`.
fn listening_on(addresses: &str) -> Program {
    Program::new(&["--demo", "--listen", addresses])
}

fn url(path: &Path) -> String {
    format!("unix://{}", path.display())
}

/// Whether a monitor answers on the socket.
async fn answers(path: &Path) -> bool {
    match UnixStream::connect(path).await {
        Ok(stream) => healthy(stream).await,
        Err(_) => false,
    }
}

/// Starts the program, which has to end by itself because of its socket. Returns what it says.
async fn refused(path: &Path) -> String {
    let (code, log, _) = listening_on(&url(path)).end().await;

    let notice = log.lines().find(|line| line.starts_with("fleet-monitor: "));
    let notice = notice.expect(&log);
    assert_eq!(code, 1, "{log}");
    assert!(notice.contains(&url(path)), "{notice}");
    notice.to_owned()
}

#[tokio::test]
async fn a_unix_socket_is_served_beside_the_port_and_removed_at_the_end() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("monitor.sock");
    let mut daemon = listening_on(&url(&path)).start().await;

    assert!(answers(&path).await);
    assert!(healthy(TcpStream::connect(daemon.address).await.unwrap()).await);
    daemon.source_is("ok").await;
    let status = printed_by(&["status", "--url", &url(&path)]).await;
    assert!(status.contains("MACHINE"), "{status}");

    assert_eq!(daemon.stop(Signal::TERM).await.code(), Some(0));
    assert!(!path.exists());
}

/// What a command of the program prints.
async fn printed_by(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"));
    command.args(arguments).env_clear().kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("in time").unwrap();

    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn several_addresses_are_listened_on() {
    let directory = TempDir::new().unwrap();
    let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
    let addresses = format!("{},127.0.0.1:0,{}", url(&one), url(&other));
    let daemon = listening_on(&addresses).start().await;

    assert!(answers(&one).await && answers(&other).await);
    daemon.log.nth(4, "listening on ").await;
    let ports: Vec<SocketAddr> = daemon
        .log
        .all()
        .iter()
        .filter_map(|line| line.rsplit_once("listening on ")?.1.parse().ok())
        .collect();
    assert_eq!(ports.len(), 2, "{ports:?}");
    for port in ports {
        assert!(healthy(TcpStream::connect(port).await.unwrap()).await, "{port}");
    }
}

#[tokio::test]
async fn a_socket_is_for_the_user_and_the_group_whatever_the_umask_is() {
    for umask in ["0", "0777", "0022"] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("monitor.sock");
        let wrapper = ["sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"];
        let arguments = ["--demo", "--listen", &url(&path)];
        let _daemon = Program::under(&wrapper, &arguments).start().await;

        let metadata = fs::symlink_metadata(&path).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o660, "umask {umask}");
    }
}

#[tokio::test]
async fn a_socket_that_a_killed_monitor_left_behind_is_replaced() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("monitor.sock");
    let mut killed = listening_on(&url(&path)).start().await;
    killed.stop(Signal::KILL).await;
    assert!(path.exists() && !answers(&path).await, "it is stale");

    let _daemon = listening_on(&url(&path)).start().await;
    assert!(answers(&path).await);
}

#[tokio::test]
async fn a_socket_of_another_process_is_kept() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("monitor.sock");
    let _first = listening_on(&url(&path)).start().await;

    assert!(refused(&path).await.contains("in use"));
    assert!(answers(&path).await, "the first one still listens there");

    // Another program, whose queue of connections may be full, or which uses datagrams.
    let stream = directory.path().join("stream.sock");
    let _stream = UnixListener::bind(&stream).unwrap();
    let datagrams = directory.path().join("datagrams.sock");
    let _datagrams = UnixDatagram::bind(&datagrams).unwrap();
    for path in [stream, datagrams] {
        assert!(refused(&path).await.contains("in use"), "{}", path.display());
        assert!(path.exists(), "{}", path.display());
    }
}

#[tokio::test]
async fn of_two_monitors_that_start_at_once_one_gets_the_socket() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("monitor.sock");
    drop(UnixListener::bind(&path).unwrap());

    let started = [(); 4].map(|()| listening_on(&url(&path)).launch());
    let mut listening = 0;
    for daemon in &started {
        let is_listening = |line: &str| match line {
            line if line.contains("in use") => Some(0),
            line if line.contains(&format!("listening on {}", path.display())) => Some(1),
            _ => None,
        };
        listening += daemon.log.find(is_listening).await;
    }
    assert_eq!(listening, 1);
    assert!(answers(&path).await);
}

#[tokio::test]
async fn what_is_no_socket_is_never_removed() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    let folder = directory.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path().join("nothing"), &link).unwrap();

    for path in [&file, &folder, &link] {
        assert!(refused(path).await.contains("not a socket"), "{}", path.display());
        assert!(path.symlink_metadata().is_ok(), "{}", path.display());
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
}

#[tokio::test]
async fn without_its_directory_a_socket_is_refused() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing");

    let notice = refused(&missing.join("monitor.sock")).await;
    assert!(notice.contains(&format!("directory {}", missing.display())), "{notice}");
}

#[tokio::test]
async fn a_socket_that_was_replaced_meanwhile_is_not_removed_at_the_end() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("monitor.sock");
    let mut daemon = listening_on(&url(&path)).start().await;

    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    daemon.stop(Signal::TERM).await;
    assert!(path.exists());
}

#[tokio::test]
async fn a_unix_socket_is_served_beside_the_sockets_of_systemd() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("monitor.sock");
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = tcp.local_addr().unwrap();
    let (mut command, log) = program(directory.path(), vec![tcp.into()]);
    let _program = command.args(["--listen", &url(&path)]).spawn().unwrap();

    // The socket of systemd is accepted on only when the other one exists.
    assert!(healthy(TcpStream::connect(address).await.unwrap()).await);
    assert!(answers(&path).await, "{}", fs::read_to_string(log).unwrap());
}

#[tokio::test]
async fn another_value_of_listen_takes_effect_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("monitor.sock");
    let daemon: Daemon = Program::new(&["--demo"]).start().await;

    daemon.configure(&format!("listen = [\"{}\"]", url(&path)));
    daemon.reload().await;
    daemon
        .log
        .find(|line| (line.contains("listen ") && line.contains("restart")).then_some(()))
        .await;
    assert!(!path.exists());
}
