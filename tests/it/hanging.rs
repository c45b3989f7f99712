//! The program while something that it writes to, or reads from, hangs, or while it has few open
//! files.
//!
//! In each case the cluster goes on being watched and published, systemd's watchdog is content, and
//! the program ends when it is told to.

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

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the program may take to end when it is told to.
const TIME_TO_STOP: Duration = Duration::from_secs(5);

/// How long the state is waited for until it is asked for again.
const PERIOD: Duration = Duration::from_millis(20);

/// A recording that moves on quickly, and a log of all of it.
const BUSY: [&str; 5] = ["--demo", "--replay-speed", "200", "--log", "debug"];

/// Polls that follow each other closely.
const FAST: [&str; 4] = ["--unit-freq", "0.05", "--machine-freq", "0.1"];

/// The program, which listens on a socket that was passed to it: where that is does not have to be
/// read from its log.
struct Program {
    command: Command,
    directory: TempDir,
    listener: TcpListener,
}

impl Program {
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

    /// Starts it with a service manager that reads what it is told.
    fn start(self) -> Daemon {
        let manager = UnixDatagram::bind(self.path("notify")).unwrap();
        self.start_with(manager)
    }

    fn start_with(mut self, manager: UnixDatagram) -> Daemon {
        let child = self.command.spawn().unwrap();
        let address = self.listener.local_addr().unwrap();
        Daemon { child, address, manager, directory: self.directory }
    }
}

struct Daemon {
    child: Child,
    address: SocketAddr,
    manager: UnixDatagram,
    directory: TempDir,
}

impl Daemon {
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

    /// Asks again until it is so.
    async fn until(&self, what: &str, mut is_so: impl AsyncFnMut(&Self) -> bool) {
        let so = async {
            while !is_so(self).await {
                sleep(PERIOD).await;
            }
        };
        timeout(PATIENCE, so)
            .await
            .unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    /// Checks that the cluster is watched and published.
    async fn goes_on_publishing(&self) {
        self.until("the cluster is ready", async |it| it.get("/readyz").await.0 == 200)
            .await;
        let before = self.revision().await;
        self.until("more is published", async |it| it.revision().await > before + 100)
            .await;
    }

    /// Checks that fleetctl is asked again and again, and believed.
    async fn goes_on_polling(&self) {
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
    async fn notices(&self, message: &str) {
        let mut datagram = [0; 4096];
        let heard = async {
            loop {
                let length = self.manager.recv(&mut datagram).await.unwrap();
                if datagram[..length].starts_with(message.as_bytes()) {
                    return;
                }
            }
        };
        timeout(PATIENCE, heard)
            .await
            .unwrap_or_else(|_| panic!("no {message}"));
    }

    /// Checks that it goes on in every way.
    async fn goes_on(&self) {
        self.notices("READY=1").await;
        self.goes_on_publishing().await;

        // What is in the socket by now is read first.
        for _ in 0..4 {
            self.notices("WATCHDOG=1").await;
        }
    }

    /// Tells it to end, and checks that it does so in time.
    async fn stops(mut self) {
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

/// A pipe that is full: its end to read from, and the other.
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

/// A socket whose queue is full.
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
    // A sender has a limit of its own, too.
    while fills() > 0 {}
    socket
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[tokio::test]
async fn a_stderr_that_nobody_reads_stops_nothing() {
    let (_unread, stderr) = full_pipe();
    let mut program = Program::new(&[&BUSY[..], &["--log-to", "stderr"]].concat());
    program.command.stderr(stderr);
    let daemon = program.start();
    daemon.goes_on().await;
    daemon.stops().await;
}

#[tokio::test]
async fn lines_that_do_not_fit_are_counted_and_said_once_they_flow_again() {
    let (mut unread, stderr) = full_pipe();
    let mut program = Program::new(&["--replay-speed", "1000", "--log-to", "stderr"]);
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
    daemon.stops().await;
    let log = reader.await.unwrap();
    let is_told = log
        .lines()
        .any(|line| line.contains("WARN") && line.contains(" stderr "));
    assert!(is_told, "nothing was said of what was dropped");
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
    let (good, bad) = (states("active"), states("failed"));
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
async fn a_journal_that_hangs_stops_nothing() {
    let Some((_directory, _unread, daemon)) = with_hanging_journal().await else {
        return;
    };
    daemon.stops().await;
}

#[tokio::test]
async fn a_journal_that_hung_gets_whole_entries_when_it_reads_again() {
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
    daemon.stops().await;
}

/// The program, which goes on, with a journal of its own that nobody reads: its directory and its
/// socket.
async fn with_hanging_journal() -> Option<(TempDir, StdUnixDatagram, Daemon)> {
    if !geteuid().is_root() {
        cannot_run("a journal of its own, for one program, takes root");
        return None;
    }
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("socket");
    let unread = full_socket(&socket);

    let arguments = [&BUSY[..], &["--log-to", "journal"]].concat();
    let daemon = Program::launched_by(&journal::launcher(&socket), &arguments).start();
    daemon.goes_on().await;
    Some((directory, unread, daemon))
}

#[tokio::test]
async fn a_service_manager_that_hangs_stops_nothing_and_hears_the_newest_when_it_is_back() {
    let daemon = with_hanging_manager().await;

    daemon.notices("READY=1").await;
    daemon.notices("WATCHDOG=1").await;
    daemon.stops().await;
}

/// The program, which goes on publishing, with a service manager that reads nothing.
async fn with_hanging_manager() -> Daemon {
    let program = Program::new(&BUSY);
    let manager = full_socket(&program.path("notify"));
    manager.set_nonblocking(true).unwrap();
    let daemon = program.start_with(UnixDatagram::from_std(manager).unwrap());
    daemon.goes_on_publishing().await;
    daemon
}

#[tokio::test]
async fn a_service_manager_that_hangs_does_not_delay_the_end() {
    let daemon = with_hanging_manager().await;
    daemon.stops().await;
}

#[tokio::test]
async fn a_recording_that_cannot_be_opened_yet_stops_nothing() {
    let fleetctl = Double::new("v1.0.0");
    let mut program = Program::new(&FAST);
    let recording = program.path("recording");
    fifo(&recording);
    program
        .command
        .arg("--fleetctl")
        .arg(fleetctl.command())
        .arg("--record")
        .arg(&recording);
    let daemon = program.start();
    daemon.notices("READY=1").await;
    daemon.goes_on_polling().await;
    daemon.stops().await;
}

#[tokio::test]
async fn a_recording_that_cannot_be_written_stops_nothing() {
    let fleetctl = Double::new("v1.0.0");
    let mut program = Program::new(&FAST);
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
    daemon.notices("READY=1").await;
    daemon.goes_on_polling().await;
    daemon.stops().await;
}

#[tokio::test]
async fn a_recording_that_hangs_while_it_is_opened_does_not_delay_the_end() {
    let mut program = Program::new(&[]);
    let recording = program.path("recording");
    fifo(&recording);
    program.command.arg("--replay").arg(&recording);
    let daemon = program.start();
    // Nobody is told that it listens until it does, but it listens to signals before.
    daemon
        .until("signals are listened to", async |it| it.has_thread("time-to-stop"))
        .await;
    daemon.stops().await;
}

#[tokio::test]
async fn a_file_that_hangs_while_the_configuration_is_read_again_stops_nothing() {
    let daemon = Program::new(&BUSY).start();
    daemon.goes_on().await;

    let token = daemon.directory.path().join("token");
    fifo(&token);
    let configuration = format!("token_file = {token:?}\n");
    fs::write(daemon.directory.path().join("fleet-monitor.toml"), configuration).unwrap();
    daemon.signal(Signal::HUP);
    daemon.notices("RELOADING=1").await;

    daemon.goes_on_publishing().await;
    daemon.notices("WATCHDOG=1").await;
    daemon.stops().await;
}

#[tokio::test]
async fn with_few_open_files_fleet_is_polled_and_clients_are_answered() {
    let fleetctl = Double::new("v1.0.0");
    let mut program = Program::launched_by(&["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"], &FAST);
    let recording = program.path("recording");
    program
        .command
        .arg("--fleetctl")
        .arg(fleetctl.command())
        .arg("--record")
        .arg(&recording);
    let daemon = program.start();
    daemon.notices("READY=1").await;
    let connect = || TcpStream::connect(daemon.address);
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.push(connect().await.unwrap());
    }
    assert_eq!(daemon.get("/healthz").await.0, 200);
    daemon.goes_on_polling().await;
    daemon.stops().await;
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
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains(" 64 ") && said.contains("LimitNOFILE"), "{said}");
}

#[tokio::test]
async fn a_wrong_configuration_is_not_told_to_a_stderr_that_nobody_reads_for_ever() {
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
