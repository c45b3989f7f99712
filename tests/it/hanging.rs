//! The program while a file, pipe or socket that it writes to or reads from hangs, or while it may
//! open only few files.
//!
//! In each case it goes on to watch and to publish the cluster, it notifies systemd's watchdog, and
//! it ends upon SIGTERM.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram as StdUnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, mknodat};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixDatagram};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::support::{Double, cannot_run, journal};

/// How long any test waits for an event.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the program may take to end after SIGTERM.
const TIME_TO_STOP: Duration = Duration::from_secs(5);

/// The time between two requests of a test that waits for a state.
const PERIOD: Duration = Duration::from_millis(20);

/// A recording that is replayed quickly, and all of it logged.
const BUSY: [&str; 5] = ["--demo", "--replay-speed", "200", "--log", "debug"];

/// Frequent polls.
const FAST: [&str; 4] = ["--unit-freq", "0.05", "--machine-freq", "0.1"];

/// The program with a socket that is passed to it, so that its address is known without reading its
/// log.
struct SocketProgram {
    command: Command,
    directory: TempDir,
    listener: TcpListener,
}

impl SocketProgram {
    /// The program, started through `launcher`, a command line that ends with it.
    fn launched_by(launcher: &[&str], arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        fs::write(directory.path().join("fleet-monitor.toml"), "").unwrap();

        let mut command = Command::new("sh");
        command
            .args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"", "sh"])
            .args(launcher)
            .arg(env!("CARGO_BIN_EXE_fleet-monitor"))
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LISTEN_FDS", "1")
            .env("WATCHDOG_USEC", "400000")
            .env("NOTIFY_SOCKET", directory.path().join("notify"))
            .env("FLEET_MONITOR_CONFIG", directory.path().join("fleet-monitor.toml"))
            .stdin(OwnedFd::from(listener.try_clone().unwrap()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        Self { command, directory, listener }
    }

    fn new(arguments: &[&str]) -> Self {
        Self::launched_by(&[], arguments)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts it with a service manager that reads its notices.
    fn start(self) -> SocketDaemon {
        let manager = UnixDatagram::bind(self.path("notify")).unwrap();
        self.start_with(manager)
    }

    fn start_with(mut self, manager: UnixDatagram) -> SocketDaemon {
        let child = self.command.spawn().unwrap();
        let address = self.listener.local_addr().unwrap();
        SocketDaemon { child, address, manager, directory: self.directory }
    }
}

struct SocketDaemon {
    child: Child,
    address: SocketAddr,
    manager: UnixDatagram,
    directory: TempDir,
}

impl SocketDaemon {
    /// The status and the body at a path.
    async fn get(&self, path: &str) -> (u16, String) {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).await.unwrap();
            response
        };
        let response = timeout(PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| panic!("{path} is not answered"));
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn revision(&self) -> u64 {
        let state: Value = serde_json::from_str(&self.get("/v2/state").await.1).unwrap();
        state["revision"].as_u64().unwrap()
    }

    async fn dropped(&self, to: &str) -> u64 {
        self.metric(&format!("fleet_monitor_writes_dropped_total{{to=\"{to}\"}}"))
            .await
    }

    async fn metric(&self, series: &str) -> u64 {
        let metrics = self.get("/metrics").await.1;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)).unwrap();
        value.trim().parse().unwrap()
    }

    /// Asks again until a condition is fulfilled.
    async fn until(&self, what: &str, mut condition: impl AsyncFnMut(&Self) -> bool) {
        let fulfilled = async {
            while !condition(self).await {
                sleep(PERIOD).await;
            }
        };
        timeout(PATIENCE, fulfilled)
            .await
            .unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    /// Asserts that it goes on to watch and publish the cluster.
    async fn assert_publishes(&self) {
        self.until("the cluster is ready", async |it| it.get("/readyz").await.0 == 200)
            .await;
        let before = self.revision().await;
        self.until("more is published", async |it| it.revision().await > before + 100)
            .await;
    }

    /// Asserts that it goes on to poll fleetctl.
    async fn assert_polls(&self) {
        self.until("the cluster is ready", async |it| it.get("/readyz").await.0 == 200)
            .await;
        let before = self.polls().await;
        self.until("more is read", async |it| it.polls().await > before + 10)
            .await;
    }

    async fn polls(&self) -> u64 {
        self.metric("fleet_monitor_poll_duration_seconds_count{topic=\"units\"}")
            .await
    }

    /// Waits for a message to the service manager.
    async fn wait_for_notice(&self, message: &str) {
        let mut datagram = [0; 4096];
        let received = async {
            loop {
                let length = self.manager.recv(&mut datagram).await.unwrap();
                if datagram[..length].starts_with(message.as_bytes()) {
                    return;
                }
            }
        };
        timeout(PATIENCE, received)
            .await
            .unwrap_or_else(|_| panic!("no {message}"));
    }

    /// Asserts that it starts, publishes and notifies the watchdog.
    async fn assert_works(&self) {
        self.wait_for_notice("READY=1").await;
        self.assert_publishes().await;

        // The first notices may have been sent before.
        for _ in 0..4 {
            self.wait_for_notice("WATCHDOG=1").await;
        }
    }

    /// Sends SIGTERM, and asserts that it ends in time.
    async fn assert_stops(mut self) {
        self.signal(Signal::TERM);
        let status = timeout(TIME_TO_STOP, self.child.wait())
            .await
            .expect("it does not stop in time")
            .unwrap();
        assert_eq!(status.code(), Some(0), "{status}");
    }

    fn has_thread(&self, name: &str) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id().unwrap())).unwrap();
        let names =
            threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        names.into_iter().any(|it| it.trim_end() == name)
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
}

/// A full pipe: its reading and its writing end.
fn full_pipe() -> (File, OwnedFd) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fill(&mut writer);
    (File::from(OwnedFd::from(reader)), writer.into())
}

fn fill(pipe: &mut (impl Write + AsFd)) {
    let flags = fcntl_getfl(&*pipe).unwrap();
    fcntl_setfl(&*pipe, flags | OFlags::NONBLOCK).unwrap();
    while pipe.write(b"full\n").is_ok() {}
    fcntl_setfl(&*pipe, flags).unwrap();
}

/// A socket with a full queue.
fn full_socket(path: &Path) -> StdUnixDatagram {
    let socket = StdUnixDatagram::bind(path).unwrap();
    let fills = || {
        let sender = StdUnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        let mut sent = 0;
        loop {
            match sender.send_to(b"full", path) {
                Ok(_) => sent += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
                Err(error) => panic!("{error}"),
            }
        }
    };
    // Each sender has a limit of its own, too.
    while fills() > 0 {}
    socket
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[tokio::test]
async fn a_stderr_that_nobody_reads_blocks_nothing() {
    let (_unread, stderr) = full_pipe();
    let mut program = SocketProgram::new(&[&BUSY[..], &["--log-to", "stderr"]].concat());
    program.command.stderr(stderr);
    let daemon = program.start();
    daemon.assert_works().await;
    daemon.assert_stops().await;
}

#[tokio::test]
async fn dropped_log_lines_are_counted_and_reported_later() {
    let (mut unread, stderr) = full_pipe();
    let mut program = SocketProgram::new(&["--replay-speed", "1000", "--log-to", "stderr"]);
    let recording = program.path("recording");
    fs::write(&recording, storm()).unwrap();
    program.command.arg("--replay").arg(&recording).stderr(stderr);
    let daemon = program.start();
    daemon
        .until("lines are dropped", async |it| it.dropped("log").await > 0)
        .await;

    let reader = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        unread.read_to_string(&mut text).unwrap();
        text
    });
    daemon
        .until("the recording is over", async |it| {
            it.get("/readyz").await.1.contains(r#""state":"ended""#)
        })
        .await;
    daemon.assert_stops().await;
    let log = reader.await.unwrap();
    let is_reported = log
        .lines()
        .any(|line| line.contains("WARN") && line.contains(" stderr "));
    assert!(is_reported, "the dropped lines are not reported");
}

/// A recording in which 1,000 units with long names fail and recover, again and again.
fn storm() -> String {
    let states = |active: &str| {
        let unit = |number| {
            json!({
                "unit": format!("{number:0>200}.service"),
                "machine": "m1",
                "load": "loaded",
                "active": active,
                "sub": active,
            })
            .to_string()
        };
        (0..1000).map(unit).collect::<Vec<_>>().join(",")
    };
    let good = states("active");
    let bad = states("failed");
    let mut text = concat!(
        r#"{"recording":1,"source":"a storm"}"#,
        "\n",
        r#"{"t":0,"topic":"machines","machines":[{"id":"m1"}]}"#,
        "\n",
        r#"{"t":0,"topic":"unit_files","files":[]}"#,
        "\n",
    )
    .to_owned();
    for second in 0..30 {
        let states = if second % 2 == 0 { &good } else { &bad };
        text += &format!("{{\"t\":{second},\"topic\":\"units\",\"states\":[{states}]}}\n");
    }
    text
}

#[tokio::test]
async fn a_journal_that_hangs_blocks_nothing() {
    let Some((_directory, _unread, daemon)) = with_hanging_journal().await else {
        return;
    };
    daemon.assert_stops().await;
}

#[tokio::test]
async fn a_journal_that_reads_again_gets_whole_entries() {
    let Some((_directory, reader, daemon)) = with_hanging_journal().await else {
        return;
    };

    reader.set_nonblocking(true).unwrap();
    let reader = UnixDatagram::from_std(reader).unwrap();
    let mut datagram = [0; 4096];
    let entry = async {
        loop {
            let length = reader.recv(&mut datagram).await.unwrap();
            let fields = journal::entry(&datagram[..length]);
            if fields.contains_key("FLEET_UNIT") && fields.contains_key("MESSAGE_ID") {
                return fields;
            }
        }
    };
    let entry = timeout(PATIENCE, entry).await.expect("an entry of a unit");
    assert!(entry["MESSAGE"].contains(&entry["FLEET_UNIT"]), "{entry:?}");
    assert!(["4", "6"].contains(&&*entry["PRIORITY"]), "{entry:?}");
    assert_eq!(entry["SYSLOG_IDENTIFIER"], "fleet-monitor");
    daemon.assert_stops().await;
}

/// The running program with a journal of its own that nobody reads: its directory and its socket.
async fn with_hanging_journal() -> Option<(TempDir, StdUnixDatagram, SocketDaemon)> {
    if !geteuid().is_root() {
        cannot_run("a journal of its own, for one program, takes root");
        return None;
    }
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("socket");
    let unread = full_socket(&socket);

    let arguments = [&BUSY[..], &["--log-to", "journal"]].concat();
    let daemon = SocketProgram::launched_by(&journal::launcher(&socket), &arguments).start();
    daemon.assert_works().await;
    Some((directory, unread, daemon))
}

#[tokio::test]
async fn a_service_manager_that_hangs_blocks_nothing_and_gets_the_newest_notices_later() {
    let daemon = with_hanging_manager().await;

    daemon.wait_for_notice("READY=1").await;
    daemon.wait_for_notice("WATCHDOG=1").await;
    daemon.assert_stops().await;
}

/// The running program with a service manager that reads nothing.
async fn with_hanging_manager() -> SocketDaemon {
    let program = SocketProgram::new(&BUSY);
    let manager = full_socket(&program.path("notify"));
    manager.set_nonblocking(true).unwrap();
    let daemon = program.start_with(UnixDatagram::from_std(manager).unwrap());
    daemon.assert_publishes().await;
    daemon
}

#[tokio::test]
async fn a_service_manager_that_hangs_does_not_delay_the_end() {
    let daemon = with_hanging_manager().await;
    daemon.assert_stops().await;
}

#[tokio::test]
async fn a_recording_that_cannot_be_opened_yet_blocks_nothing() {
    let fleetctl = Double::new("v1.0.0");
    let mut program = SocketProgram::new(&FAST);
    let recording = program.path("recording");
    fifo(&recording);
    program
        .command
        .arg("--fleetctl")
        .arg(fleetctl.command())
        .arg("--record")
        .arg(&recording);
    let daemon = program.start();
    daemon.wait_for_notice("READY=1").await;
    daemon.assert_polls().await;
    daemon.assert_stops().await;
}

#[tokio::test]
async fn a_recording_that_cannot_be_written_blocks_nothing() {
    let fleetctl = Double::new("v1.0.0");
    let mut program = SocketProgram::new(&FAST);
    let recording = program.path("recording");
    fifo(&recording);
    // Open at both ends, full, and never read.
    let mut unread = File::options().read(true).write(true).open(&recording).unwrap();
    fill(&mut unread);
    program
        .command
        .arg("--fleetctl")
        .arg(fleetctl.command())
        .arg("--record")
        .arg(&recording);
    let daemon = program.start();
    daemon.wait_for_notice("READY=1").await;
    daemon.assert_polls().await;
    daemon.assert_stops().await;
}

#[tokio::test]
async fn a_recording_that_hangs_while_it_is_opened_does_not_delay_the_end() {
    let mut program = SocketProgram::new(&[]);
    let recording = program.path("recording");
    fifo(&recording);
    program.command.arg("--replay").arg(&recording);
    let daemon = program.start();
    // It handles signals before it is ready.
    daemon
        .until("signals are handled", async |it| it.has_thread("time-to-stop"))
        .await;
    daemon.assert_stops().await;
}

#[tokio::test]
async fn a_file_that_hangs_during_a_reload_blocks_nothing() {
    let daemon = SocketProgram::new(&BUSY).start();
    daemon.assert_works().await;

    let token = daemon.directory.path().join("token");
    fifo(&token);
    let configuration = format!("token_file = {token:?}\n");
    fs::write(daemon.directory.path().join("fleet-monitor.toml"), configuration).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_notice("RELOADING=1").await;

    daemon.assert_publishes().await;
    daemon.wait_for_notice("WATCHDOG=1").await;
    daemon.assert_stops().await;
}

#[tokio::test]
async fn with_few_open_files_fleet_is_polled_and_clients_are_answered() {
    let fleetctl = Double::new("v1.0.0");
    let mut program =
        SocketProgram::launched_by(&["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"], &FAST);
    let recording = program.path("recording");
    program
        .command
        .arg("--fleetctl")
        .arg(fleetctl.command())
        .arg("--record")
        .arg(&recording);
    let daemon = program.start();
    daemon.wait_for_notice("READY=1").await;
    let connect = || TcpStream::connect(daemon.address);
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.push(connect().await.unwrap());
    }
    assert_eq!(daemon.get("/healthz").await.0, 200);
    daemon.assert_polls().await;
    daemon.assert_stops().await;
}

#[tokio::test]
async fn with_too_few_open_files_it_ends_with_78_and_names_the_number_that_is_needed() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 63; exec \"$0\" --demo", env!("CARGO_BIN_EXE_fleet-monitor")]);
    let output = command
        .env("FLEET_MONITOR_CONFIG", "/dev/null")
        .output()
        .await
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{message}");
    assert!(message.contains(" 64 ") && message.contains("LimitNOFILE"), "{message}");
}

#[tokio::test]
async fn a_wrong_configuration_ends_the_program_although_nobody_reads_stderr() {
    let (_unread, stderr) = full_pipe();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"));
    let command = command
        .args(["--config", "/no/such/file"])
        .stderr(stderr)
        .kill_on_drop(true);
    let status = timeout(TIME_TO_STOP, command.status())
        .await
        .expect("it does not end")
        .unwrap();
    assert_eq!(status.code(), Some(78));
}
