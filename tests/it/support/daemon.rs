//! The program itself, started as a service manager would start it.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixDatagram};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::{Double, Process};

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the program may take to end when it is told to.
const TIME_TO_STOP: Duration = Duration::from_secs(5);

/// The program and what it is to be started with: a configuration file of its own, and no variable
/// of whoever runs the tests.
pub struct Program {
    command: Command,
    directory: TempDir,
}

impl Program {
    pub fn new(arguments: &[&str]) -> Self {
        Self::at(env!("CARGO_BIN_EXE_fleet-monitor"), arguments)
    }

    /// The build of the program at this path.
    pub fn at(path: impl AsRef<OsStr>, arguments: &[&str]) -> Self {
        Self::run(Command::new(path), arguments)
    }

    /// The program, started by this command with its path and arguments.
    pub fn under(wrapper: &[&str], arguments: &[&str]) -> Self {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(env!("CARGO_BIN_EXE_fleet-monitor"));
        Self::run(command, arguments)
    }

    fn run(mut command: Command, arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env(MARK, directory.path());
        command
            .env("FLEET_MONITOR_BIND", "127.0.0.1")
            .env("FLEET_MONITOR_PORT", "0");
        command
            .env("FLEET_MONITOR_LOG_TO", "stderr")
            .env("FLEET_MONITOR_CONFIG", directory.path().join(FILE));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let program = Self { command, directory };
        program.configure("");
        program
    }

    /// The program that is to ask this fleetctl.
    pub fn asking(fleetctl: &Double, arguments: &[&str]) -> Self {
        let mut program = Self::new(arguments);
        program.command.arg("--fleetctl").arg(fleetctl.command());
        program
    }

    pub fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Changes its configuration file.
    pub fn configure(&self, text: &str) {
        configure(self.directory.path(), text);
    }

    /// A file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts it and waits until it listens.
    pub async fn start(self) -> Daemon {
        let mut daemon = self.launch();
        tokio::select! {
            address = daemon.log.find(|line| line.rsplit(' ').next()?.parse().ok()) => daemon.address = address,
            status = daemon.child.wait() => panic!("it ended with {status:?}: {:#?}", daemon.log.all()),
        }
        daemon
    }

    /// Starts it and waits until it has ended by itself: its exit status and what it said to a
    /// person and to systemd.
    pub async fn end(self) -> (i32, String, Vec<String>) {
        let mut daemon = self.launch();
        let status = patient("the end of the program", daemon.child.wait()).await.unwrap();
        daemon.log.end().await;
        // What is sent last is heard last.
        UnixDatagram::unbound()
            .unwrap()
            .send_to(b"THE END", daemon.directory.path().join(NOTIFY))
            .await
            .unwrap();
        daemon.notices.first("THE END").await;
        (status.code().unwrap(), daemon.log.all().join("\n"), daemon.notices.all())
    }

    /// Starts it and waits for nothing, so that nobody knows where it listens.
    pub fn launch(mut self) -> Daemon {
        let socket = self.path(NOTIFY);
        let notices = Heard::notices(UnixDatagram::bind(&socket).unwrap());
        let mut child = self.command.env("NOTIFY_SOCKET", socket).spawn().unwrap();
        let log = Heard::lines(child.stderr.take().unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Daemon { log, notices, address, child, directory: self.directory }
    }
}

/// A variable that all processes of one started program have in their environment, and no others.
const MARK: &str = "STARTED_BY_TEST";

const FILE: &str = "fleet-monitor.toml";

const NOTIFY: &str = "notify";

fn configure(directory: &Path, text: &str) {
    fs::write(directory.join(FILE), text).unwrap();
}

/// The running program. When dropped, it and all that it started are killed.
pub struct Daemon {
    /// Its log, line by line.
    pub log: Heard,
    /// What it told systemd, message by message.
    pub notices: Heard,
    pub address: SocketAddr,
    child: Child,
    directory: TempDir,
}

impl Daemon {
    /// The program with this fleetctl.
    pub async fn asking(fleetctl: &Double, arguments: &[&str]) -> Self {
        Program::asking(fleetctl, arguments).start().await
    }

    /// Changes its configuration file.
    pub fn configure(&self, text: &str) {
        configure(self.directory.path(), text);
    }

    /// A file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        pid(self.child.id().unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Tells it to end, and checks that it does so in time and leaves nobody behind.
    pub async fn stop(&mut self, signal: Signal) -> ExitStatus {
        let children: Vec<Process> = self.children().into_iter().map(Process::new).collect();
        self.signal(signal);
        let status = timeout(TIME_TO_STOP, self.child.wait()).await;
        let status = status
            .unwrap_or_else(|_| panic!("it does not stop: {:#?}", self.log.all()))
            .unwrap();
        for child in children {
            child.ended().await;
        }
        assert_eq!(self.children(), Vec::<u32>::new(), "they were left behind");
        status
    }

    /// Sends SIGHUP and waits until it has been seen to.
    pub async fn reload(&self) {
        let before = self.notices.count("READY=1");
        self.signal(Signal::HUP);
        self.notices.nth(before + 1, "READY=1").await;
    }

    /// The processes that it, or one of its children, has started.
    pub fn children(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.directory.path().display());
        let marked = |process: &u32| {
            let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        };
        processes()
            .filter(|process| Some(*process) != self.child.id())
            .filter(marked)
            .collect()
    }

    /// The children of this process that a program of this name was, whether they have ended or
    /// not.
    pub fn children_of(parent: u32, name: &str) -> Vec<u32> {
        let stat =
            |process: &u32| fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let is_such = |process: &u32| {
            let stat = stat(process);
            let parents = stat
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            parents == Some(parent) && stat.contains(&format!("({name})"))
        };
        processes().filter(is_such).collect()
    }

    /// Its resident memory, in KiB.
    pub fn memory(&self) -> u64 {
        self.size("VmRSS:")
    }

    /// The most that it ever was, in KiB.
    pub fn peak_memory(&self) -> u64 {
        self.size("VmHWM:")
    }

    fn size(&self, of: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(of)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub async fn connect(&self) -> Client {
        self.open(format!("ws://{}/", self.address).into_client_request().unwrap())
            .await
    }

    async fn open(&self, request: Request) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let handshake = tokio_tungstenite::client_async(request, stream);
        Client(patient("the handshake", handshake).await.unwrap().0)
    }

    /// A client of the second protocol that is told events and the state of the source.
    async fn follow(&self) -> Client {
        let mut request = format!("ws://{}/?topics=events", self.address)
            .into_client_request()
            .unwrap();
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", "fleet-monitor.v2".parse().unwrap());
        self.open(request).await
    }

    /// Waits until so many events of this kind have happened, and returns the last of these.
    pub async fn nth_event(&self, n: usize, kind: &str) -> Value {
        let mut client = self.follow().await;
        let mut happened = Vec::new();
        loop {
            let mut message = client.next().await;
            match message["type"].as_str().unwrap() {
                "snapshot" => happened = message["rows"].as_array().unwrap().clone(),
                "event" => happened.push(message.take()),
                _ => {}
            }
            if let Some(event) = happened.iter().filter(|event| event["event"] == kind).nth(n - 1) {
                return event.clone();
            }
        }
    }

    /// Waits until an event of this kind has happened.
    pub async fn event(&self, kind: &str) -> Value {
        self.nth_event(1, kind).await
    }

    /// How many events of this kind have happened so far.
    pub async fn events(&self, kind: &str) -> usize {
        let state = self.get("/v2/state").await.1;
        state["transitions"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["event"] == kind)
            .count()
    }

    /// Waits until the source is in this state, such as `ok` when everything has been read.
    pub async fn source_is(&self, state: &str) {
        let mut client = self.follow().await;
        while client.next_of("status").await["health"]["state"] != state {}
    }

    /// The value of a counter, with its labels as `/metrics` has them.
    pub async fn counter(&self, series: &str) -> u64 {
        let text = self.text("/metrics").await.1;
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Waits until a counter has grown by so much.
    pub async fn counts(&self, more: u64, series: &str) {
        let enough = self.counter(series).await + more;
        patient(series, async { while self.counter(series).await < enough {} }).await;
    }

    /// The status and the JSON at a path.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.text(path).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    /// The status and the text at a path.
    pub async fn text(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        patient(path, stream.read_to_string(&mut response)).await.unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The state of the source, as `/v2/state` has it.
    pub async fn health(&self) -> Value {
        self.get("/v2/state").await.1["health"].take()
    }

    /// How many polls have failed so far, of all topics.
    pub async fn failed_polls(&self) -> u64 {
        let (_, metrics) = self.text("/metrics").await;
        let failures = metrics
            .lines()
            .filter(|line| line.starts_with("fleet_monitor_poll_failures_total{"));
        failures
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
            .sum()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It first, so that it starts nobody anew. Who has ended in the meantime cannot be killed.
        let _ = self.child.start_kill();
        for child in self.children() {
            let _ = kill_process(pid(child), Signal::KILL);
        }
    }
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

/// A WebSocket client.
pub struct Client(WebSocketStream<TcpStream>);

impl Client {
    /// The next message.
    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_text().await).unwrap()
    }

    /// The next message, as it is on the wire.
    pub async fn next_text(&mut self) -> String {
        loop {
            match patient("a message", self.0.next()).await {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("no message, but {other:?}"),
            }
        }
    }

    /// The next message of this type.
    pub async fn next_of(&mut self, r#type: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == r#type {
                return message;
            }
        }
    }

    /// The close frame that ends the connection, whatever comes before it.
    pub async fn close(mut self) -> CloseFrame {
        loop {
            match patient("a close frame", self.0.next()).await {
                Some(Ok(Message::Close(frame))) => return frame.unwrap(),
                Some(Ok(_)) => {}
                other => panic!("no close frame, but {other:?}"),
            }
        }
    }
}

/// What was said, one thing after the other, with the time at which it was heard.
#[derive(Clone)]
pub struct Heard(watch::Receiver<Vec<(Instant, Arc<str>)>>);

impl Heard {
    fn lines(pipe: impl tokio::io::AsyncRead + Unpin + Send + 'static) -> Self {
        let (said, heard) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                said.send_modify(|said| said.push((Instant::now(), line.into())));
            }
        });
        Self(heard)
    }

    fn notices(socket: UnixDatagram) -> Self {
        let (said, heard) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut datagram = [0; 4096];
            while let Ok(length) = socket.recv(&mut datagram).await {
                let text = String::from_utf8_lossy(&datagram[..length]);
                said.send_modify(|said| said.push((Instant::now(), text.trim_end().into())));
            }
        });
        Self(heard)
    }

    pub fn all(&self) -> Vec<String> {
        self.0.borrow().iter().map(|(_, said)| said.to_string()).collect()
    }

    /// How often something with `what` in it was said so far.
    pub fn count(&self, what: &str) -> usize {
        self.times(what).len()
    }

    /// When something with `what` in it was said.
    pub fn times(&self, what: &str) -> Vec<Instant> {
        self.0
            .borrow()
            .iter()
            .filter(|(_, said)| said.contains(what))
            .map(|(at, _)| *at)
            .collect()
    }

    /// Waits until something with `what` in it has been said.
    pub async fn first(&self, what: &str) -> String {
        self.nth(1, what).await
    }

    /// Waits until something with `what` in it has been said so many times, and returns the last of
    /// these.
    pub async fn nth(&self, n: usize, what: &str) -> String {
        let nth = |said: &Vec<(Instant, Arc<str>)>| {
            said.iter()
                .filter(|(_, said)| said.contains(what))
                .nth(n - 1)
                .map(|(_, said)| said.to_string())
        };
        let mut heard = self.0.clone();
        match timeout(PATIENCE, heard.wait_for(|said| nth(said).is_some())).await {
            Ok(Ok(said)) => nth(&said).unwrap(),
            _ => panic!("{what:?} was not said {n} times: {:#?}", self.all()),
        }
    }

    /// Waits until something is said in which this is found.
    pub async fn find<T>(&self, what: impl Fn(&str) -> Option<T>) -> T {
        let first = |said: &Vec<(Instant, Arc<str>)>| said.iter().find_map(|(_, said)| what(said));
        let mut heard = self.0.clone();
        match timeout(PATIENCE, heard.wait_for(|said| first(said).is_some())).await {
            Ok(Ok(said)) => first(&said).unwrap(),
            _ => panic!("it was not said: {:#?}", self.all()),
        }
    }

    /// Waits until nothing more can be said.
    async fn end(&self) {
        let mut heard = self.0.clone();
        patient("the end of what is said", async { while heard.changed().await.is_ok() {} }).await;
    }
}

async fn patient<T>(what: impl Debug, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited too long for {what:?}"))
}
