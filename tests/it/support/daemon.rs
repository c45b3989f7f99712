//! The program itself, started as a service manager starts it.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use super::certificates::CertificateFiles;
use super::endpoint::Endpoint;
use super::message_log::{MessageLog, within_timeout};
use super::{Client, Double, Process};

/// How long the program may take to end after SIGTERM or SIGINT.
const TIME_TO_STOP: Duration = Duration::from_secs(5);

/// The program before it is started. It has a configuration file of its own, and inherits no
/// environment variable.
pub struct Program {
    command: Command,
    directory: TempDir,
    tls: Option<TlsConnector>,
}

impl Program {
    pub fn new(arguments: &[&str]) -> Self {
        Self::at(env!("CARGO_BIN_EXE_fleet-monitor"), arguments)
    }

    /// Another build of the program.
    pub fn at(path: impl AsRef<OsStr>, arguments: &[&str]) -> Self {
        Self::started_by(Command::new(path), arguments)
    }

    /// The program, started by a wrapper, which gets its path and arguments.
    pub fn under(wrapper: &[&str], arguments: &[&str]) -> Self {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(env!("CARGO_BIN_EXE_fleet-monitor"));
        Self::started_by(command, arguments)
    }

    fn started_by(mut command: Command, arguments: &[&str]) -> Self {
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

        let program = Self { command, directory, tls: None };
        program.configure("");
        program
    }

    /// The program with this fleetctl as its source.
    pub fn asking(fleetctl: &Double, arguments: &[&str]) -> Self {
        let mut program = Self::new(arguments);
        program.command.arg("--fleetctl").arg(fleetctl.command());
        program
    }

    pub fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The program with the certificate `ours-server`.
    pub fn with_tls(mut self, files: &CertificateFiles) -> Self {
        self.tls = Some(files.connector("ours"));
        self.environment("FLEET_MONITOR_TLS_CERT", files.path("ours-server.pem"))
            .environment("FLEET_MONITOR_TLS_KEY", files.path("ours-server.key"))
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
        let address = |line: &str| line.rsplit(' ').next()?.parse().ok();

        tokio::select! {
            address = daemon.log.find(address) => daemon.address = address,
            status = daemon.child.wait() => {
                panic!("the program ended with {status:?}: {:#?}", daemon.log.all())
            }
        }
        daemon
    }

    /// Starts it and waits until it has ended by itself. Returns its exit status, its log, and its
    /// notifications to systemd.
    pub async fn end(self) -> (i32, String, Vec<String>) {
        let mut daemon = self.launch();
        let status = within_timeout("the end of the program", daemon.child.wait())
            .await
            .unwrap();
        daemon.log.end().await;

        // Datagrams are received in the order in which they were sent.
        UnixDatagram::unbound()
            .unwrap()
            .send_to(b"THE END", daemon.directory.path().join(NOTIFY))
            .await
            .unwrap();
        daemon.notices.first("THE END").await;

        (status.code().unwrap(), daemon.log.all().join("\n"), daemon.notices.all())
    }

    /// Starts it without waiting until it listens, so its address is not known.
    pub fn launch(mut self) -> Daemon {
        let socket = self.path(NOTIFY);
        let notices = MessageLog::of_datagrams(UnixDatagram::bind(&socket).unwrap());
        let mut child = self.command.env("NOTIFY_SOCKET", socket).spawn().unwrap();
        let log = MessageLog::of_lines(child.stderr.take().unwrap());

        Daemon {
            log,
            notices,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            child,
            directory: self.directory,
            tls: self.tls,
        }
    }
}

/// An environment variable by which all processes of one started program are found.
const MARK: &str = "STARTED_BY_TEST";

const FILE: &str = "fleet-monitor.toml";

const NOTIFY: &str = "notify";

fn configure(directory: &Path, text: &str) {
    fs::write(directory.join(FILE), text).unwrap();
}

/// The running program. Dropping it kills the program and all processes that it has started.
pub struct Daemon {
    /// The lines of its log.
    pub log: MessageLog,
    /// Its notifications to systemd.
    pub notices: MessageLog,
    pub address: SocketAddr,
    child: Child,
    directory: TempDir,
    tls: Option<TlsConnector>,
}

impl Daemon {
    /// Starts the program with this fleetctl as its source.
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

    pub fn pid(&self) -> Pid {
        pid(self.child.id().unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Sends it a signal, and checks that it ends in time and leaves no process behind.
    pub async fn stop(&mut self, signal: Signal) -> ExitStatus {
        let before = self.children();
        self.signal(signal);

        let status = timeout(TIME_TO_STOP, self.child.wait()).await;
        let status = status
            .unwrap_or_else(|_| panic!("the program does not stop: {:#?}", self.log.all()))
            .unwrap();

        // Also those that were started just before the signal: they have been killed, but a process
        // takes a moment to end.
        for child in before.into_iter().chain(self.children()) {
            Process::new(child).ended().await;
        }
        assert_eq!(self.children(), Vec::<u32>::new(), "processes were left behind");
        status
    }

    /// Kills it, as by a power failure.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends SIGHUP and waits until the reload is done.
    pub async fn reload(&self) {
        let before = self.notices.count("READY=1");
        self.signal(Signal::HUP);
        self.notices.nth(before + 1, "READY=1").await;
    }

    /// The processes that the program or one of its children has started.
    pub fn children(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.directory.path().display());
        let is_marked = |process: &u32| {
            let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        };

        processes()
            .filter(|process| Some(*process) != self.child.id())
            .filter(is_marked)
            .collect()
    }

    /// The children of `parent` whose program has this name, also those that are zombies.
    pub fn children_of(parent: u32, name: &str) -> Vec<u32> {
        let stat =
            |process: &u32| fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let is_child = |process: &u32| {
            let stat = stat(process);
            let parent_id = stat
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            parent_id == Some(parent) && stat.contains(&format!("({name})"))
        };

        processes().filter(is_child).collect()
    }

    /// Its resident memory, in KiB.
    pub fn memory(&self) -> u64 {
        self.memory_of("VmRSS:")
    }

    /// Its highest resident memory so far, in KiB.
    pub fn peak_memory(&self) -> u64 {
        self.memory_of("VmHWM:")
    }

    /// The value of a line of `/proc/PID/status` (`proc_pid_status(5)`), in KiB.
    fn memory_of(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Where it listens.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { address: self.address, tls: self.tls.clone() }
    }

    pub async fn connect(&self) -> Client {
        let request = format!("ws://{}/", self.address).into_client_request().unwrap();
        Client::connect(&self.endpoint(), request).await
    }

    /// A client of the second protocol that receives events and the state of the source.
    pub async fn connect_to_events(&self) -> Client {
        self.subscribe("topics=events").await
    }

    /// A client of the second protocol with this query.
    pub async fn subscribe(&self, query: &str) -> Client {
        let mut request: Request = format!("ws://{}/?{query}", self.address)
            .into_client_request()
            .unwrap();
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", "fleet-monitor.v2".parse().unwrap());

        Client::connect(&self.endpoint(), request).await
    }

    /// Waits until `n` events of this kind have happened, and returns the last of these.
    pub async fn nth_event(&self, n: usize, kind: &str) -> Value {
        let mut client = self.connect_to_events().await;
        let mut events = Vec::new();

        loop {
            let mut message = client.next().await;
            match message["type"].as_str().unwrap() {
                "snapshot" => events = message["rows"].as_array().unwrap().clone(),
                "event" => events.push(message.take()),
                _ => {}
            }

            if let Some(event) = events.iter().filter(|event| event["event"] == kind).nth(n - 1) {
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
        let mut client = self.connect_to_events().await;
        while client.next_of("status").await["health"]["state"] != state {}
    }

    /// The value of a counter, with its labels as `/metrics` has them.
    pub async fn counter(&self, series: &str) -> u64 {
        let text = self.text("/metrics").await.1;
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Waits until a counter has grown by `increase`.
    pub async fn counts(&self, increase: u64, series: &str) {
        let target = self.counter(series).await + increase;
        within_timeout(series, async { while self.counter(series).await < target {} }).await;
    }

    /// The status and the JSON at a path.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.text(path).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    /// The status and the text at a path.
    pub async fn text(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.request("GET", path).await;
        (status, body)
    }

    /// The status, the head and the body of the response to a request.
    pub async fn request(&self, method: &str, path: &str) -> (u16, String, String) {
        let mut stream = self.endpoint().connect().await.unwrap();

        let host = self.address;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();

        let mut response = String::new();
        within_timeout(path, stream.read_to_string(&mut response))
            .await
            .unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_owned(), body.to_owned())
    }

    /// The state of the source, as `/v2/state` has it.
    pub async fn health(&self) -> Value {
        self.get("/v2/state").await.1["health"].take()
    }

    /// How many polls have failed so far.
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
        // The program first, so that it starts no further process. Killing a process that has
        // already ended fails.
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
