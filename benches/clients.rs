//! What many clients cost the server: `cargo bench --bench clients`.
//!
//! - the CPU time of a frame, beside a loop that only writes the same bytes to the same number of sockets;
//! - the resident memory of a client: idle, after a message of 1 MiB, and one that does not read;
//! - the time until a changed row has reached the last of 10,000 clients, beside the same loop.
//!
//! The clients are in a process of their own, and each part is in a fresh one: this program again, with arguments.
//! Nothing is asserted: compare two runs on the same machine.

use std::cell::Cell;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_monitor::cluster::{Cluster, Health, Moment, Reading, UnitState, View};
use fleet_monitor::feed::fields::{MachineField, UnitField};
use fleet_monitor::feed::{self, News, Publish, Publisher, SourceInfo};
use fleet_monitor::metrics::Metrics;
use fleet_monitor::server::access::Policy;
use fleet_monitor::server::listen::OpenFiles;
use fleet_monitor::server::{Server, Settings, Timing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

/// Rows of a unit list that is encoded to about 2 KB, 100 KB and 1 MiB.
const SMALL: usize = 20;
const LARGE: usize = 1_000;
const HUGE: usize = 10_500;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cpu"] => on_one_core(cpu_of_a_frame()),
        ["memory"] => on_one_core(memory_of_a_client()),
        ["time"] => on_one_core(time_to_the_last_client()),
        ["readers", server, control, count, bytes, kind] => {
            let number = |text: &str| text.parse().expect("a number");
            read(server, control, number(count), number(bytes), kind);
        }
        _ => {
            for part in ["cpu", "memory", "time"] {
                let this = std::env::current_exe().expect("a path");
                let status = std::process::Command::new(this).arg(part).status().expect("this program");
                assert!(status.success(), "{part}: {status}");
            }
        }
    }
}

fn on_one_core(part: impl Future<Output = ()>) {
    OpenFiles::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(part);
}

async fn cpu_of_a_frame() {
    const CLIENTS: usize = 1_000;
    println!("CPU time of a frame, {CLIENTS} clients (budget 1.5 × at 2 KB, 1.25 × at 100 KB):");
    for (rows, rounds) in [(SMALL, 200), (LARGE, 20)] {
        let frames = (CLIENTS * rounds) as f64;
        let (mut served, mut written) = (f64::MAX, f64::MAX);
        let mut bytes = 0;
        // The best of some: what else runs on the machine only makes it worse.
        for _ in 0..3 {
            let mut bench = Bench::start(rows).await;
            bytes = bench.frame().len();
            let mut readers = Readers::start(bench.address, CLIENTS, bytes, "websockets").await;
            readers.got_all().await;
            let before = cpu_time();
            for _ in 0..rounds {
                bench.change();
                readers.got_all().await;
            }
            served = served.min((cpu_time() - before).as_secs_f64() / frames);

            let mut floor = Floor::start(CLIENTS, bench.frame()).await;
            let before = cpu_time();
            for _ in 0..rounds {
                floor.round().await;
            }
            written = written.min((cpu_time() - before).as_secs_f64() / frames);
        }
        let [server, floor] = [served, written].map(|seconds| seconds * 1e6);
        println!("  {bytes:>7} bytes: server {server:6.2} µs, write() {floor:6.2} µs: {:.2} ×", server / floor);
    }
}

async fn memory_of_a_client() {
    const CLIENTS: usize = 1_000;
    println!("Resident memory of a client, {CLIENTS} clients (budget 8 KiB):");
    let mut bench = Bench::start(HUGE).await;
    bench.change();
    let bytes = bench.frame().len();
    // One client first, so that all that is not for each of them is there.
    Readers::start(bench.address, 1, bytes, "websockets").await.got_all().await;
    let before = resident();
    let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / CLIENTS as f64;
    let mut readers = Readers::start(bench.address, CLIENTS, bytes, "websockets").await;
    readers.got_all().await;
    println!("  after the first message of {bytes} bytes: {:5.2} KiB", each(resident(), before));
    for _ in 0..3 {
        bench.change();
        readers.got_all().await;
    }
    println!("  after three more:                         {:5.2} KiB", each(resident(), before));
    let before = resident();
    let mut silent = Readers::start(bench.address, CLIENTS, bytes, "silent").await;
    silent.got_all().await;
    for _ in 0..3 {
        bench.change();
        readers.got_all().await;
    }
    println!("  one that does not read, after three more: {:5.2} KiB", each(resident(), before));
}

async fn time_to_the_last_client() {
    const ROUNDS: usize = 9;
    let clients = 10_000.min(OpenFiles::raise().connections());
    println!("Time until a changed row has reached the last of {clients} clients (budget 0.5 s):");
    let mut bench = Bench::start(SMALL).await;
    let bytes = bench.frame().len();
    let median = |mut took: Vec<Duration>| {
        took.sort_unstable();
        took[took.len() / 2].as_secs_f64() * 1e3
    };
    let mut readers = Readers::start(bench.address, clients, bytes, "websockets").await;
    readers.got_all().await;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        bench.change();
        readers.got_all().await;
        took.push(begun.elapsed());
    }
    let server = median(took);
    drop(readers);
    bench.empty().await;
    let mut floor = Floor::start(clients, bench.frame()).await;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        floor.round().await;
        took.push(begun.elapsed());
    }
    let floor = median(took);
    println!("  {bytes:>7} bytes: server {server:6.1} ms, write() {floor:6.1} ms: {:.2} ×", server / floor);
}

/// A real server, and two views of one size to publish in turn.
struct Bench {
    address: SocketAddr,
    server: Server,
    publisher: Publisher,
    views: [Arc<View>; 2],
    health: Health,
    stop: CancellationToken,
}

impl Bench {
    async fn start(rows: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let fields = [UnitField::Unit, UnitField::Load, UnitField::Active, UnitField::Sub, UnitField::Machine];
        let settings = feed::Settings {
            unit_fields: fields.into(),
            machine_fields: MachineField::ALL.into(),
            publish: Publish::Changes,
        };
        let publisher = Publisher::new(settings, "epoch", SourceInfo::default());
        // Pings are not counted among the frames.
        let timing =
            Timing { ping: Duration::from_secs(3600), silence: Duration::from_secs(7200), ..Timing::default() };
        let settings = Settings {
            max_clients: 20_000,
            max_connections: usize::MAX,
            access: Policy::default(),
            metrics_units: vec![],
        };
        let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
        let server = Server::new(settings, timing, publisher.subscribe(), metrics, stop.clone());
        tokio::spawn({
            let server = server.clone();
            async move { server.serve(listener).await }
        });
        let mut cluster = Cluster::new(Duration::ZERO);
        let views = ["running", "stopped"].map(|sub| {
            let states = (0..rows).map(|row| unit(row, if row == 0 { sub } else { "running" })).collect();
            cluster.read(Reading::Units { states, files: None }, Moment::now(), Duration::ZERO);
            cluster.view().clone()
        });
        let mut bench = Self { address, server, publisher, views, health: cluster.health().clone(), stop };
        bench.change();
        bench
    }

    /// Publishes one changed row; the message is as long as the last one.
    fn change(&mut self) {
        self.views.swap(0, 1);
        let news =
            News { view: &self.views[0], health: &self.health, transitions: &[], read: None, now: Moment::now() };
        self.publisher.publish(news);
    }

    fn frame(&self) -> Vec<u8> {
        let publication = self.publisher.subscribe().borrow().clone();
        publication.units.as_ref().expect("units have been published").frame.bytes().to_vec()
    }

    /// Waits until all clients have gone.
    async fn empty(&self) {
        while self.server.clients() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn unit(row: usize, sub: &str) -> UnitState {
    UnitState {
        unit: format!("web@{row:05}.service").as_str().into(),
        load: Some("loaded".into()),
        active: Some("active".into()),
        sub: Some(sub.into()),
        machine: Some("3f1a8c5e9b2d4f60a7c1d2e3b4f50617".into()),
        ip: Some("172.17.8.101".into()),
        hash: None,
    }
}

/// Sockets that are only written to.
struct Floor {
    sockets: Vec<std::net::TcpStream>,
    readers: Readers,
    frame: Vec<u8>,
}

impl Floor {
    async fn start(count: usize, frame: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let readers = Readers::start(listener.local_addr().expect("an address"), count, frame.len(), "bytes").await;
        let mut sockets = Vec::new();
        for _ in 0..count {
            let socket = listener.accept().await.expect("a connection").0;
            socket.set_nodelay(true).expect("no delay");
            let socket = socket.into_std().expect("a socket");
            socket.set_nonblocking(false).expect("a blocking socket");
            sockets.push(socket);
        }
        Self { sockets, readers, frame }
    }

    async fn round(&mut self) {
        for socket in &mut self.sockets {
            socket.write_all(&self.frame).expect("written");
        }
        self.readers.got_all().await;
    }
}

/// Many connections of another process.
struct Readers {
    control: TcpStream,
    _process: Child,
}

impl Readers {
    /// Connects so many. `kind`: `websockets`, `silent` ones, which do not read, or such that read mere `bytes`.
    async fn start(server: SocketAddr, count: usize, bytes: usize, kind: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let control = listener.local_addr().expect("an address").to_string();
        let arguments = ["readers", &server.to_string(), &control, &count.to_string(), &bytes.to_string(), kind];
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        let process = command.args(arguments).kill_on_drop(true).spawn().expect("this program");
        Self { control: listener.accept().await.expect("a connection").0, _process: process }
    }

    /// Waits until each has got one frame more; silent ones, until they are connected.
    async fn got_all(&mut self) {
        self.control.read_u8().await.expect("the readers are there");
    }
}

/// The other process: reports on `control` each time when all connections have got `bytes` more.
fn read(server: &str, control: &str, count: usize, bytes: usize, kind: &str) {
    OpenFiles::raise();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let control = TcpStream::connect(control).await.expect("the bench");
        control.set_nodelay(true).expect("no delay");
        let (mut bench, control) = control.into_split();
        let (control, got) = (Rc::new(control), Rc::new(Cell::new(0)));
        let add = move |more: usize| {
            let whole = count * bytes;
            let (before, after) = (got.get() / whole, (got.get() + more) / whole);
            got.set(got.get() + more);
            for _ in before..after {
                control.try_write(&[0]).expect("the bench is there");
            }
        };
        let mut connections = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(server).await.expect("a connection");
            if kind != "bytes" {
                add(shake_hands(&mut stream, server).await);
            }
            if kind == "silent" {
                connections.push(stream);
                continue;
            }
            let add = add.clone();
            tokio::task::spawn_local(async move {
                let mut buffer = vec![0; 16 * 1024];
                while let Ok(more @ 1..) = stream.read(&mut buffer).await {
                    add(more);
                }
            });
        }
        if kind == "silent" {
            add(count * bytes);
        }
        // The bench sends nothing: this waits until it has gone.
        let _ = bench.read_u8().await;
    });
}

/// Returns how much was read of what follows.
async fn shake_hands(stream: &mut TcpStream, server: &str) -> usize {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("a server");
    let mut head = Vec::new();
    loop {
        stream.read_buf(&mut head).await.expect("a server");
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
            return head.len() - end - 4;
        }
    }
}

/// The CPU time of this process (`proc_pid_stat(5)`).
fn cpu_time() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields = stat.rsplit_once(')').expect("a name in parentheses").1.split_whitespace();
    let ticks: u32 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u32>().expect("a number")).sum();
    TICK * ticks
}

/// The resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
