//! The whole program while it records: killed, reloaded, and downloaded from; and while it plays a
//! recording.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::support::post_receiver::PostReceiver;
use crate::support::{Daemon, Double, Program};

/// Polls as fast as the program allows.
const FAST: [&str; 4] = ["-m", "0.1", "-u", "0.05"];

/// Starts a program that records a fleetctl to this file.
async fn recording(fleetctl: &Double, path: &Path, more: &[&str]) -> Daemon {
    let record = ["--record", path.to_str().unwrap()];
    Daemon::asking(fleetctl, &[&FAST, &record[..], more].concat()).await
}

/// Waits until the units have been polled so many more times.
async fn polls(daemon: &Daemon, count: u64) {
    daemon.source_is("ok").await;
    daemon
        .counts(count, "fleet_monitor_poll_duration_seconds_count{topic=\"units\"}")
        .await;
}

/// Plays a recording to its end. Returns the units that are there then.
async fn played(path: &Path) -> Vec<Value> {
    let arguments = ["--replay", path.to_str().unwrap(), "--replay-speed", "100"];
    let daemon = Program::new(&arguments).start().await;
    daemon.source_is("ended").await;
    daemon.get("/v2/state").await.1["units"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_monitor_that_is_killed_loses_nothing_and_its_recording_is_gone_on_with() {
    let fleetctl = Double::new("v1.0.0");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");

    for _ in 0..2 {
        let mut daemon = recording(&fleetctl, &path, &["--record-keep", "1m"]).await;
        polls(&daemon, 8).await;
        let live = daemon.get("/v2/state").await.1["units"].as_array().unwrap().len();
        daemon.stop(Signal::KILL).await;

        assert_eq!(played(&path).await.len(), live);
    }
}

#[tokio::test]
async fn a_reload_goes_on_with_the_same_file() {
    let fleetctl = Double::new("v1.0.0");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let mut daemon = recording(&fleetctl, &path, &[]).await;
    polls(&daemon, 4).await;
    daemon.reload().await;
    polls(&daemon, 4).await;
    daemon.stop(Signal::TERM).await;

    let bytes = fs::read(&path).unwrap();
    let text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap();
    assert_eq!(text.matches("{\"recording\":").count(), 1, "one chapter: {text}");
}

#[tokio::test]
async fn a_second_monitor_does_not_record_to_the_same_file() {
    let fleetctl = Double::new("v1.0.0");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let daemon = recording(&fleetctl, &path, &[]).await;
    polls(&daemon, 4).await;

    let second = Program::asking(&fleetctl, &["--record", path.to_str().unwrap()]);
    let (status, log, _) = second.end().await;
    assert_eq!(status, 78, "{log}");
    assert!(log.contains("record = "), "{log}");
    assert_eq!(daemon.failed_polls().await, 0);
}

/// The head of the response to a request, and its body, of which the chunks are put together.
async fn download(daemon: &Daemon, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    let host = daemon.address;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();

    let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(response[..end].to_vec()).unwrap();
    let mut rest = &response[end + 4..];
    if !head.contains("transfer-encoding: chunked") {
        return (head, rest.to_vec());
    }

    let mut body = Vec::new();
    loop {
        let line = rest.iter().position(|byte| *byte == b'\r').unwrap();
        let length = usize::from_str_radix(str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            assert_eq!(&rest[line..], b"\r\n\r\n", "the end");
            return (head, body);
        }
        body.extend(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 4 + length..];
    }
}

fn text_of(recording: &[u8]) -> String {
    String::from_utf8(zstd::decode_all(recording).unwrap()).unwrap()
}

#[tokio::test]
async fn the_last_minutes_are_handed_out_as_a_recording_that_plays_alone() {
    let fleetctl = Double::new("v1.0.0");
    let folder = tempfile::tempdir().unwrap();
    for name in ["recording", "recording.jsonl"] {
        let path = folder.path().join(name);
        let daemon = recording(&fleetctl, &path, &["--record-keep", "1h"]).await;
        polls(&daemon, 6).await;
        let live = daemon.get("/v2/state").await.1["units"].as_array().unwrap().len();

        let (head, body) = download(&daemon, "/v2/recording?last=15m").await;
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        for header in [
            "content-type: application/zstd",
            "cache-control: no-store",
            "content-disposition: attachment; filename=\"fleet-monitor-20",
        ] {
            assert!(head.contains(header), "{head}");
        }
        let file = folder.path().join("download");
        fs::write(&file, body).unwrap();
        assert_eq!(played(&file).await.len(), live, "{name}");
    }
}

/// All texts in a JSON value that have so many characters at least, but no states and versions.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(values) => {
            for (key, value) in values {
                let stays = ["active", "desired", "load", "run", "source", "sub", "time", "topic"];
                if ![&stays[..], &["version"]].concat().contains(&&**key) {
                    texts(value, found);
                }
            }
        }
        _ => {}
    }
}

/// A cluster in which each text is unlike all others.
fn distinctive(second: usize) -> Vec<Value> {
    let machine = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
    let hash = "a54d85379efe04d9b798936c1f3b9cffedff1b74";
    let state = json!({
        "unit": "payroll@zurich.service",
        "machine": machine,
        "ip": "172.31.7.9",
        "load": "loaded",
        "active": "active",
        "sub": if second.is_multiple_of(2) { "running" } else { "exited" },
        "hash": hash,
    });
    let file = json!({
        "unit": "payroll@zurich.service",
        "hash": hash,
        "desired": "launched",
        "target": machine,
        "description": "Pays the salaries",
        "requirements": ["MachineMetadata=datacentre=basel"],
        "requirements_known": true,
    });
    let metadata = "datacentre=basel,owner=personnel";
    vec![
        json!({"id": machine, "ip": "172.31.7.9", "metadata": metadata, "version": "1.0.0"}),
        file,
        state,
    ]
}

#[tokio::test]
async fn nothing_of_the_cluster_is_left_in_an_anonymized_recording_and_it_plays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let now = "2099-01-01T00:00:00Z";
    let mut lines =
        vec![json!({"recording": 3, "run": "r", "source": "fleetctl v1.0.0", "t": 0, "time": now})];
    for second in 0..4 {
        let mut line = |topic: &str, key: &str, rows: &Value| {
            let mut line = json!({"t": second, "time": now, "topic": topic});
            line[key] = rows.clone();
            lines.push(line);
        };
        let [machine, file, state] = &distinctive(second)[..] else {
            panic!()
        };
        line("machines", "machines", &json!([machine]));
        line("unit_files", "files", &json!([file]));
        match second {
            0 => line("units", "states", &json!([state])),
            _ => line("units", "changed_states", &json!([state])),
        }
    }
    let error = "ssh: connect to host core-17.intranet.example port 22: Connection refused";
    lines.push(json!({"t": 4, "time": now, "topic": "units", "error": error}));
    let lease = json!({"unit": ["payroll@zurich.service", "3f1a8c5e9b2d4f60a7c1d2e3b4f50617"]});
    lines.push(json!({"t": 5, "time": now, "topic": "changes", "index": 1, "changes": [
        {"expired": lease}, {"not_wanted": "payroll@zurich.service"},
        {"leads": "3f1a8c5e9b2d4f60a7c1d2e3b4f50617"},
    ]}));
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&path, text).unwrap();

    let mut words = Vec::new();
    lines.iter().for_each(|line| texts(line, &mut words));
    let originals: Vec<&str> = words
        .iter()
        .flat_map(|text| text.split(|char: char| !char.is_alphanumeric() && char != '-'))
        .filter(|word| word.len() > 2 && word.parse::<f64>().is_err())
        .filter(|word| !["service", "MachineMetadata", "the"].contains(word))
        .collect();
    for word in ["payroll", "zurich", "basel", "owner", "salaries", "intranet"] {
        assert!(originals.contains(&word), "{word}");
    }

    // The monitor goes on with this file, and so with its format.
    let fleetctl = Double::new("v1.0.0");
    let daemon = recording(&fleetctl, &path, &[]).await;
    let (_, original) = download(&daemon, "/v2/recording?last=15m").await;
    let (_, anonymous) = download(&daemon, "/v2/recording?last=15m&anonymize=1").await;
    drop(daemon);

    let original = text_of(&original);
    let anonymous_text = text_of(&anonymous);
    for word in originals.into_iter().chain(["172.31.7.9"]) {
        assert!(original.contains(word), "{word} was there: {original}");
        assert!(!anonymous_text.contains(word), "{word} is left: {anonymous_text}");
    }
    assert!(anonymous_text.contains("unit-1@1.service"), "{anonymous_text}");
    assert!(anonymous_text.contains("auto-restart") || anonymous_text.contains("exited"));

    let file = folder.path().join("anonymous");
    fs::write(&file, anonymous).unwrap();
    let daemon = Program::new(&["--replay", file.to_str().unwrap()]).start().await;
    assert_eq!(daemon.get("/v2/state").await.0, 200);
}

#[tokio::test]
async fn without_a_recording_there_is_nothing_to_hand_out() {
    let fleetctl = Double::new("v1.0.0");
    let mut daemon = Daemon::asking(&fleetctl, &FAST).await;
    for method in ["GET", "HEAD"] {
        let (status, ..) = daemon.request(method, "/v2/recording").await;
        assert_eq!(status, 404, "{method}");
    }
    daemon.stop(Signal::TERM).await;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let daemon = recording(&fleetctl, &path, &[]).await;
    polls(&daemon, 4).await;
    assert_eq!(daemon.request("HEAD", "/v2/recording").await.0, 200);
    for query in ["last=15", "anonymize=2", "minutes=15"] {
        let (status, _) = daemon.text(&format!("/v2/recording?{query}")).await;
        assert_eq!(status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_recording_needs_the_token() {
    let fleetctl = Double::new("v1.0.0");
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "0123456789abcdef0123456789abcdef\n").unwrap();
    let path = folder.path().join("recording");
    let with_token = ["--token-file", token.to_str().unwrap()];
    let daemon = recording(&fleetctl, &path, &with_token).await;
    assert_eq!(daemon.request("GET", "/v2/recording").await.0, 401);
    let in_query = "/v2/recording?token=0123456789abcdef0123456789abcdef";
    assert_eq!(daemon.request("GET", in_query).await.0, 401, "not in the query");
}

/// A recording of one unit with a wall clock: at each of so many seconds it has another sub state.
fn seconds(count: u32) -> String {
    recorded((0..count).map(|second| (second, "active", format!("s{second}"))))
}

/// A recording of one unit with a wall clock: the seconds at which its state was read.
fn recorded(states: impl IntoIterator<Item = (u32, &'static str, String)>) -> String {
    let head = json!({
        "recording": 3, "run": "r", "source": "etcd", "t": 0, "time": "2023-11-14T22:13:20Z",
    });
    let mut text = format!("{head}\n");
    for (second, active, sub) in states {
        let time =
            format!("2023-11-14T22:{:02}:{:02}Z", 13 + (20 + second) / 60, (20 + second) % 60);
        let line = |topic: &str, key: &str, rows: Value| {
            let mut line = json!({"t": second, "time": time, "topic": topic});
            line[key] = rows;
            format!("{line}\n")
        };
        let file = json!({"unit": "a.service", "desired": "launched", "target": "m1"});
        text.push_str(&line("machines", "machines", json!([{"id": "m1"}])));
        text.push_str(&line("unit_files", "files", json!([file])));
        let state = json!({"unit": "a.service", "machine": "m1", "active": active, "sub": sub});
        text.push_str(&line("units", "states", json!([state])));
    }
    text
}

async fn replaying(text: &str, more: &[&str]) -> (Daemon, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording.jsonl");
    fs::write(&path, text).unwrap();
    let replay = ["--replay", path.to_str().unwrap()];
    (Program::new(&[&replay[..], more].concat()).start().await, folder)
}

async fn sub_state(daemon: &Daemon) -> String {
    let (_, mut state) = daemon.get("/v2/state").await;
    let sub = state["units"][0]["sub"].take();
    sub.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_part_of_a_recording_is_played_up_to_its_end_with_its_wall_clock() {
    let part = ["--from", "22:13:25", "--to", "10s", "--replay-speed", "50"];
    let (daemon, _folder) = replaying(&seconds(60), &part).await;
    daemon.source_is("ended").await;
    assert_eq!(sub_state(&daemon).await, "s10");

    let health = daemon.health().await;
    assert_eq!(health["time"], json!(1_700_000_010_000_u64), "the end of the part: {health}");
    assert_eq!(
        health["replay"],
        json!({
            "begin": 5000, "end": 10000, "position": 10000, "paused": false, "rate": 0.0,
            "speed": 50.0, "clock": true,
        })
    );
}

#[tokio::test]
async fn viewers_change_how_a_recording_is_played_and_get_what_was_then() {
    let (daemon, _folder) = replaying(&seconds(60), &[]).await;
    let mut client = daemon.connect_to_events().await;
    daemon.source_is("ok").await;

    assert_eq!(daemon.request("POST", "/v2/replay?paused=1&position=40000").await.0, 200);
    while client.next_of("status").await["health"]["replay"]["position"] != 40000 {}
    while sub_state(&daemon).await != "s40" {}
    let (status, replay) = daemon.get("/v2/replay").await;
    assert_eq!((status, &replay["time"]), (200, &json!(1_700_000_000_000_u64)));

    for query in ["", "?position=-1", "?paused=maybe", "?speed=0", "?stop=1"] {
        let (status, ..) = daemon.request("POST", &format!("/v2/replay{query}")).await;
        assert_eq!(status, 400, "{query}");
    }
    assert_eq!(daemon.request("DELETE", "/v2/replay").await.0, 405);
    assert_eq!(daemon.request("POST", "/v2/state").await.0, 405);
}

/// A unit that fails at 10 s, is read again at 70 s, and is well from 80 s on.
fn failure() -> String {
    let state = |second| if (10..80).contains(&second) { "failed" } else { "active" };
    recorded([0, 10, 70, 80, 100].map(|second| (second, state(second), state(second).to_owned())))
}

/// The problems that are shown, and since when.
async fn problems(daemon: &Daemon) -> Value {
    let (_, state) = daemon.get("/v2/state?topics=problems").await;
    let problems = state["problems"].as_array().unwrap().iter();
    problems
        .map(|it| json!([it["id"], it["since"], it["opened"]]))
        .collect()
}

/// Waits until these problems are shown.
async fn problems_are(daemon: &Daemon, expected: &Value, when: &str) {
    let mut shown = problems(daemon).await;
    for _ in 0..500 {
        if shown == *expected {
            return;
        }
        sleep(Duration::from_millis(20)).await;
        shown = problems(daemon).await;
    }
    panic!("{when}: {shown}, not {expected}");
}

#[tokio::test]
async fn the_problems_of_a_recording_are_those_of_its_clock_at_any_speed() {
    let after = ["--problem-after", "20"];
    let mut all = Vec::new();
    for speed in ["20", "1000", "1000000"] {
        for (to, is_open) in [("29.9s", false), ("31s", true), ("79s", true), ("80s", false)] {
            let part = ["--to", to, "--replay-speed", speed];
            let (daemon, _folder) = replaying(&failure(), &[&after[..], &part].concat()).await;
            daemon.source_is("ended").await;
            let shown = problems(&daemon).await;
            assert_eq!(
                shown.as_array().unwrap().len(),
                usize::from(is_open),
                "{to} {speed}: {shown}"
            );
            all.extend(shown.as_array().unwrap().clone());
        }
    }

    // It failed at 22:13:30, 20 s before it became a problem.
    let begin = 1_700_000_000_000_u64;
    assert_eq!(all[0][1], begin + 10_000);
    assert_eq!(all[0][2], begin + 30_000);
    assert!(all.iter().all(|problem| *problem == all[0]), "{all:?}");
}

#[tokio::test]
async fn the_problems_at_a_place_are_the_same_however_one_gets_there_and_nobody_is_informed() {
    let mut receiver = PostReceiver::start().await;
    let url = receiver.url();
    let notify = ["--problem-after", "20", "--webhook", &url, "--alertmanager", &url];
    let (daemon, _folder) =
        replaying(&failure(), &[&notify[..], &["--to", "40s", "--replay-speed", "50"]].concat())
            .await;
    daemon.source_is("ended").await;
    let open = problems(&daemon).await;
    assert_eq!(open.as_array().unwrap().len(), 1);

    let (daemon, _folder) = replaying(&failure(), &notify).await;
    for (change, expected) in [
        ("position=40000&paused=1", &open),
        ("position=20000", &json!([])),
        ("position=75000", &open),
        ("position=90000", &json!([])),
        // It is played through the moment at which the problem was opened.
        ("position=25000&paused=0&speed=50", &open),
        ("position=29000&paused=1", &json!([])),
    ] {
        assert_eq!(daemon.request("POST", &format!("/v2/replay?{change}")).await.0, 200);
        problems_are(&daemon, expected, change).await;
    }

    // While it is paused, its time stands still.
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(problems(&daemon).await, json!([]));
    assert!(receiver.take().is_none());
}

#[tokio::test]
async fn what_is_gone_to_is_no_event_of_the_journal_a_second_time() {
    let (daemon, _folder) = replaying(&seconds(60), &["--replay-speed", "20"]).await;
    daemon.source_is("ended").await;
    let counted = |text: String| {
        let lines = text
            .lines()
            .filter(|line| line.starts_with("fleet_monitor_events_total"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = counted(daemon.text("/metrics").await.1);

    daemon.request("POST", "/v2/replay?paused=1&position=30000").await;
    while sub_state(&daemon).await != "s30" {}
    assert_eq!(counted(daemon.text("/metrics").await.1), before);
}

#[tokio::test]
async fn of_a_live_cluster_and_of_the_demo_nothing_can_be_changed() {
    let fleetctl = Double::new("v1.0.0");
    let live = Daemon::asking(&fleetctl, &FAST).await;
    let demo = Program::new(&["--demo"]).start().await;
    for daemon in [live, demo] {
        for method in ["GET", "POST"] {
            assert_eq!(daemon.request(method, "/v2/replay?paused=1").await.0, 404, "{method}");
        }
        assert_eq!(daemon.health().await.get("replay"), None);
    }
}

#[tokio::test]
async fn a_recording_is_changed_with_the_token_and_from_an_allowed_origin_only() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "0123456789abcdef0123456789abcdef\n").unwrap();
    let (daemon, _folder) =
        replaying(&seconds(60), &["--token-file", token.to_str().unwrap()]).await;
    assert_eq!(daemon.request("POST", "/v2/replay?paused=1").await.0, 401);

    let (daemon, _folder) = replaying(&seconds(60), &[]).await;
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    let request = format!(
        "POST /v2/replay?paused=1 HTTP/1.1\r\nHost: {}\r\nOrigin: https://evil.example\r\n\
         Connection: close\r\nContent-Length: 0\r\n\r\n",
        daemon.address
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 403"), "{response}");
}
