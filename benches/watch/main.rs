//! What `fleet-monitor watch` costs: `cargo bench --bench watch`.
//!
//! A monitor plays a recording of 5,000 units on 50 machines, of which 80 change every 2 s. The
//! release build of `watch` shows it in a terminal with 200 columns and 60 rows. Printed is its CPU
//! time in per cent of a core, and what it costs to decode the same messages alone: the floor.
//! Nothing is asserted: the line ends with the budget, and with `OVER` if that is exceeded.

#[expect(dead_code, reason = "the bench of sources uses the rest")]
#[path = "../sources/cpu.rs"]
mod cpu;
#[expect(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use cpu::CpuMeter;
use fleet_monitor::report::{ClusterState, Message};
use serde_json::{Value, json};
use support::{Daemon, Program, Terminal};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const UNITS: usize = 5_000;
const MACHINES: usize = 50;
/// How many units change at a time, and how often.
const CHANGES: usize = 80;
const INTERVAL: f64 = 2.0;
/// How long the snapshot may take until it is measured.
const SETTLE: Duration = Duration::from_secs(10);
const TIME: Duration = Duration::from_secs(40);
/// In per cent of a core.
const BUDGET: f64 = 3.0;

const HASH: &str = "a54d85379efe04d9b798936c1f3b9cffedff1b74";

#[tokio::main]
async fn main() {
    let load = fs::read_to_string("/proc/loadavg").expect("procfs");
    println!("the load of this machine was {}", load.split(' ').next().unwrap_or_default());

    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("recording.jsonl");
    fs::write(&path, recording()).expect("a recording");
    let path = path.to_str().expect("a name in UTF-8");
    let daemon = Program::new(&["--replay", path]).start().await;
    daemon.source_is("ok").await;

    let program = env!("CARGO_BIN_EXE_fleet-monitor");
    let url = format!("http://{}", daemon.address);
    let mut terminal = Terminal::start(&[program, "watch", "--url", &url], &[], 200, 60);
    terminal.shows("unit-0").await;
    sleep(SETTLE).await;

    let (cpu, floor) = tokio::join!(CpuMeter::measure_for(terminal.pid(), TIME), floor(&daemon));
    let over = if cpu.own > BUDGET { "  OVER" } else { "" };
    println!(
        "{UNITS} units, {CHANGES} changes every {INTERVAL} s: {:.2} % of a core, decoding alone \
         {floor:.2} % (budget {BUDGET} %){over}",
        cpu.own
    );
}

/// The recording: all units, and then some that change, again and again.
fn recording() -> String {
    let mut text = String::new();
    let mut line = |value: Value| writeln!(text, "{value}").expect("a string");

    line(json!({"recording": 1, "source": "fleetctl v1.0.0"}));
    let machines: Vec<Value> = (0..MACHINES)
        .map(|number| json!({"id": machine(number), "ip": address(number), "metadata": "role=web"}))
        .collect();
    line(json!({"t": 0.0, "topic": "machines", "machines": machines}));
    let files: Vec<Value> = (0..UNITS)
        .map(|number| {
            json!({"unit": unit(number), "hash": HASH, "desired": "launched",
                "target": machine(number), "global": false, "description": "Serves something"})
        })
        .collect();
    line(json!({"t": 0.0, "topic": "unit_files", "files": files}));

    let rounds = ((SETTLE + TIME).as_secs_f64() / INTERVAL) as usize + 10;
    for round in 0..rounds {
        let time = round as f64 * INTERVAL;
        let states: Vec<Value> = (0..UNITS).map(|number| state(number, round)).collect();
        line(json!({"t": time, "topic": "units", "states": states}));
        line(json!({"t": time, "topic": "machines", "same": true}));
        line(json!({"t": time, "topic": "unit_files", "same": true}));
    }
    text
}

/// A unit's state in a round. In each round, other units fail, and those of the round before run
/// again: half of the changes each.
fn state(number: usize, round: usize) -> Value {
    let half = CHANGES / 2;
    let first = round * half % UNITS;
    let is_failed = (first..first + half).contains(&number);
    let (active, sub) = if is_failed {
        ("failed", "failed")
    } else {
        ("active", "running")
    };

    json!({"unit": unit(number), "machine": machine(number), "ip": address(number),
        "load": "loaded", "active": active, "sub": sub, "hash": HASH})
}

fn unit(number: usize) -> String {
    format!("unit-{number:05}@production.service")
}

fn machine(number: usize) -> String {
    format!("{:032x}", number % MACHINES)
}

fn address(number: usize) -> String {
    format!("172.17.8.{}", number % MACHINES)
}

/// What it costs to decode and keep the messages of the event stream, in per cent of a core.
async fn floor(daemon: &Daemon) -> f64 {
    let mut stream = TcpStream::connect(daemon.address).await.expect("a connection");
    // A response of HTTP/1.0 has no chunks.
    let request = format!("GET /v2/events HTTP/1.0\r\nHost: {}\r\n\r\n", daemon.address);
    stream.write_all(request.as_bytes()).await.expect("a request");

    let mut lines = BufReader::new(stream).lines();
    let mut state = ClusterState::default();
    let mut busy = Duration::ZERO;
    let decode_all = async {
        while let Ok(Some(line)) = lines.next_line().await {
            let Some(data) = line.strip_prefix("data: ") else {
                continue;
            };
            let start = Instant::now();
            let message: Message = serde_json::from_str(data).expect("a message");
            let is_snapshot = matches!(message, Message::Snapshot { .. });
            state.apply(message).expect("rows");

            // The snapshots come once.
            if !is_snapshot {
                busy += start.elapsed();
            }
        }
    };

    let _ = timeout(TIME, decode_all).await;
    assert_eq!(state.units.len(), UNITS, "all units are there");
    busy.as_secs_f64() / TIME.as_secs_f64() * 100.0
}
