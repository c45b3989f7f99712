//! `/v2/logs` on real sockets, with doubles of systemd-journal-gatewayd.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet_monitor::cluster::{
    Event, FleetList, Machine, Moment, Place, Transition, Unit, UnitState, Verdict, View,
};
use fleet_monitor::feed::{FeedInput, Publish};
use fleet_monitor::server::{ServerSettings, Timing};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::{ServerBench, settings, with_token};
use crate::support::builders;
use crate::support::journal_gateway::{GatewayMode, JournalGateway};

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(30);

const WEB: &str = "web.service";

/// A server for a cluster whose machines are loopback addresses.
struct LogBench {
    server: ServerBench,
    port: u16,
}

/// A reader of a log.
struct LogReader(BufReader<TcpStream>);

impl LogBench {
    /// A server with one machine, and its journal.
    async fn start() -> (Self, JournalGateway) {
        let gateway = JournalGateway::start("127.0.0.1", 0).await;
        let port = gateway.address.port();
        let settings = ServerSettings { journal_port: Some(port), ..settings() };
        let timing = Timing { heartbeat: Duration::from_millis(200), ..Timing::default() };
        let server = ServerBench::with(settings, timing, Publish::Changes).await;

        let mut bench = Self { server, port };
        bench.show(&[("127.0.0.1", WEB)], &["127.0.0.1"]);
        (bench, gateway)
    }

    /// The journal of another machine.
    async fn gateway(&self, ip: &str) -> JournalGateway {
        JournalGateway::start(ip, self.port).await
    }

    /// Publishes which units are on which machines, and which machines there are. The ID of a
    /// machine is `m-` and its address.
    fn show(&mut self, units: &[(&str, &str)], machines: &[&str]) {
        self.server.read_all(&view(units, machines));
    }

    /// Publishes that a unit has moved.
    fn moved(&mut self, from: &str, to: &str, machines: &[&str]) {
        let gone = Transition {
            number: 1,
            time: SystemTime::now(),
            event: Event::Gone {
                place: Place {
                    unit: WEB.into(),
                    machine: Some(id(from).as_str().into()),
                    ip: Some(from.into()),
                },
                from: "active/running".into(),
                reason: "it moved".into(),
            },
        };
        self.server.publisher.publish(FeedInput {
            problems: &Default::default(),
            view: &view(&[(to, WEB)], machines),
            health: &self.server.health,
            transitions: &[Arc::new(gone)],
            change: None,
            read: &FleetList::ALL,
            now: Moment::now(),
        });
    }

    async fn read(&self, query: &str) -> LogReader {
        let mut stream = TcpStream::connect(self.server.address).await.unwrap();
        let request =
            format!("GET /v2/logs?{query} HTTP/1.1\r\nHost: {}\r\n\r\n", self.server.address);
        stream.write_all(request.as_bytes()).await.unwrap();

        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).await.unwrap();
        }
        LogReader(reader)
    }

    async fn refusal(&self, query: &str) -> (u16, String) {
        let response = self.server.get(&format!("/v2/logs?{query}")).await;
        (response.status, response.text().to_owned())
    }

    /// The status of the answer, whose body is not read.
    async fn status(&self, query: &str) -> u16 {
        let mut stream = TcpStream::connect(self.server.address).await.unwrap();
        let request =
            format!("GET /v2/logs?{query} HTTP/1.1\r\nHost: {}\r\n\r\n", self.server.address);
        stream.write_all(request.as_bytes()).await.unwrap();

        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
    }

    fn metric(&self, series: &str) -> u64 {
        self.server.metric(series)
    }
}

impl LogReader {
    /// The next event. Heartbeats are skipped.
    async fn next(&mut self) -> Value {
        let event = async {
            loop {
                let mut line = String::new();
                let read = self.0.read_line(&mut line).await.unwrap();
                assert!(read > 0, "the stream has ended");
                if let Some(data) = line.strip_prefix("data: ") {
                    return serde_json::from_str(data).expect("JSON");
                }
            }
        };
        timeout(PATIENCE, event).await.expect("an event in time")
    }

    /// The next event of this type.
    async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await;
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// The messages of the next lines.
    async fn messages(&mut self, count: usize) -> Vec<String> {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.push(self.next_of("line").await["message"].as_str().unwrap().to_owned());
        }
        messages
    }

    /// Waits until a machine is in this state.
    async fn until(&mut self, state: &str) -> Value {
        loop {
            let event = self.next_of("machine").await;
            if event["state"] == state {
                return event;
            }
        }
    }

    async fn read_to_end(mut self) {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut rest))
            .await
            .expect("an end in time")
            .unwrap();
    }
}

fn id(ip: &str) -> String {
    format!("m-{ip}")
}

fn view(units: &[(&str, &str)], machines: &[&str]) -> Arc<View> {
    let unit = |(ip, name): &(&str, &str)| {
        let state = UnitState {
            ip: Some((*ip).into()),
            ..builders::unit_state(name, &id(ip), "active/running")
        };
        Arc::new(builders::unit(state))
    };
    let member = |ip: &&str| {
        let machine = Machine { ip: Some((*ip).into()), ..builders::machine(&id(ip)) };
        Arc::new(builders::member(machine))
    };

    Arc::new(View {
        units: units.iter().map(unit).collect(),
        machines: machines.iter().map(member).collect(),
    })
}

#[tokio::test]
async fn the_last_lines_come_in_order_and_then_what_follows() {
    let (bench, gateway) = LogBench::start().await;
    gateway.write_about(WEB, "Started Web.");
    gateway.write(WEB, "one");
    gateway.write("other.service", "not this one");
    gateway.write(WEB, "two");
    gateway.write_about(WEB, "Failed.");

    let mut reader = bench.read(&format!("unit={WEB}&lines=3")).await;
    assert_eq!(reader.next().await["state"], "connecting");
    assert_eq!(
        reader.until("connected").await,
        json!({
            "type": "machine", "machine": "m-127.0.0.1", "ip": "127.0.0.1", "state": "connected",
            "role": "current", "reason": null,
        })
    );
    assert_eq!(
        reader.next().await,
        json!({
            "type": "line", "machine": "m-127.0.0.1", "time": 1_700_000_001_000_u64,
            "priority": 6, "pid": 4711, "identifier": "web", "message": "one",
            "truncated": false, "binary": false, "cursor": "s=127.0.0.1;i=1",
        })
    );
    assert_eq!(reader.messages(2).await, ["two", "Failed."]);

    gateway.write(WEB, "three");
    gateway.write_about(WEB, "Stopped.");
    let mut rest = reader.messages(2).await;
    rest.sort();
    assert_eq!(rest, ["Stopped.", "three"]);
}

#[tokio::test]
async fn a_log_that_is_not_followed_ends() {
    let (bench, gateway) = LogBench::start().await;
    gateway.write(WEB, "one");

    let mut reader = bench.read(&format!("unit={WEB}&follow=no")).await;
    assert_eq!(reader.messages(1).await, ["one"]);
    assert_eq!(reader.next().await, json!({ "type": "end" }));
    reader.read_to_end().await;
    gateway.until_open(0).await;
}

#[tokio::test]
async fn all_who_read_a_log_share_its_connections_and_the_last_one_closes_them() {
    let (bench, gateway) = LogBench::start().await;
    gateway.write(WEB, "one");

    let mut readers = Vec::new();
    for _ in 0..5 {
        let mut reader = bench.read(&format!("unit={WEB}")).await;
        assert_eq!(reader.messages(1).await, ["one"]);
        readers.push(reader);
    }
    gateway.write(WEB, "two");
    for reader in &mut readers {
        assert_eq!(reader.messages(1).await, ["two"]);
    }

    gateway.until_open(2).await;
    assert_eq!(gateway.requests().len(), 4);
    assert_eq!(bench.metric("fleet_monitor_log_streams "), 5);
    drop(readers);
    gateway.until_open(0).await;
}

#[tokio::test]
async fn only_this_path_is_asked_for_with_get_and_the_name_is_escaped() {
    let (mut bench, gateway) = LogBench::start().await;
    let name = r"a\x2d&follow=b c@1.service";
    bench.show(&[("127.0.0.1", name)], &["127.0.0.1"]);
    gateway.write(name, "one");

    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("unit", name)
        .finish();
    let mut reader = bench.read(&query).await;
    assert_eq!(reader.messages(1).await, ["one"]);
    gateway.until_requests(4).await;

    let escaped = "a%5Cx2d%26follow%3Db%20c%401.service";
    let requests = gateway.requests();
    let paths: Vec<&str> = requests.iter().map(|request| &*request.path).collect();
    assert_eq!(paths[0], format!("/entries?_SYSTEMD_UNIT={escaped}"));
    assert_eq!(paths[1], format!("/entries?UNIT={escaped}&_PID=1"));
    assert!(
        paths.contains(&&*format!("/entries?follow&_SYSTEMD_UNIT={escaped}")),
        "{paths:?}"
    );
    assert!(
        requests
            .iter()
            .all(|request| request.headers["accept"] == "application/json")
    );
    assert_eq!(requests[0].headers["range"], "entries=:-1000:");
}

#[tokio::test]
async fn a_filter_selects_lines_and_not_machines() {
    let (bench, gateway) = LogBench::start().await;
    for message in ["GET /a 200", "DEBUG x", "GET /b 500", "POST /a 200"] {
        gateway.write(WEB, message);
    }

    for (filter, expected) in [
        ("get%20-500", vec!["GET /a 200"]),
        ("*200", vec!["GET /a 200", "POST /a 200"]),
        ("machine:127.0.0.1%20debug", vec!["DEBUG x"]),
        ("state:failed%20post", vec!["POST /a 200"]),
    ] {
        let mut reader = bench.read(&format!("unit={WEB}&follow=no&filter={filter}")).await;
        assert_eq!(reader.messages(expected.len()).await, expected, "{filter}");
        assert_eq!(reader.next().await["type"], "end");
    }
}

#[tokio::test]
async fn the_log_follows_a_unit_that_moves_and_has_that_of_the_machine_before() {
    let (mut bench, first) = LogBench::start().await;
    let second = bench.gateway("127.0.0.2").await;
    first.write(WEB, "on the first");
    second.write("other.service", "something else");
    second.write(WEB, "long ago");
    second.write_now(WEB, "on the second");

    let mut reader = bench.read(&format!("unit={WEB}")).await;
    assert_eq!(reader.messages(1).await, ["on the first"]);
    bench.moved("127.0.0.1", "127.0.0.2", &["127.0.0.1", "127.0.0.2"]);
    let moved = reader.next_of("moved").await;
    assert_eq!(moved["machine"], "m-127.0.0.2");
    let line = reader.next_of("line").await;
    assert_eq!(
        (&line["machine"], &line["message"]),
        (&moved["machine"], &json!("on the second"))
    );

    // Who comes later gets both, in the order of time.
    let mut late = bench.read(&format!("unit={WEB}&follow=no")).await;
    assert_eq!(late.next().await["role"], "current");
    assert_eq!(late.next().await["role"], "previous");
    assert_eq!(late.messages(3).await, ["on the first", "long ago", "on the second"]);

    let only = format!("unit={WEB}&follow=no&machine=127.0.0.1");
    let mut only = bench.read(&only).await;
    assert_eq!(only.messages(1).await, ["on the first"]);
    assert_eq!(only.next().await["type"], "end");
}

#[tokio::test]
async fn a_machine_that_has_left_the_cluster_is_not_asked() {
    let (mut bench, first) = LogBench::start().await;
    let second = bench.gateway("127.0.0.2").await;
    second.write_now(WEB, "here");
    let mut reader = bench.read(&format!("unit={WEB}&lines=0")).await;
    reader.until("connected").await;

    bench.moved("127.0.0.1", "127.0.0.2", &["127.0.0.2"]);
    let ended = reader.until("ended").await;
    assert_eq!(ended["machine"], "m-127.0.0.1");
    assert_eq!(reader.messages(1).await, ["here"]);
    first.until_open(0).await;

    let requests = first.requests().len();
    let mut late = bench.read(&format!("unit={WEB}&follow=no")).await;
    assert_eq!(late.until("ended").await["role"], "previous");
    assert_eq!(late.messages(1).await, ["here"]);
    assert_eq!(first.requests().len(), requests);
}

#[tokio::test]
async fn entries_are_the_same_however_they_arrive() {
    let (bench, gateway) = LogBench::start().await;
    gateway.set_mode(GatewayMode::SendsBytes);
    gateway.write(WEB, "Größe");
    gateway.write_all(WEB, [json!([27, 91, 51, 49, 109, 114, 111, 116, 255]), json!(null)]);

    let mut reader = bench.read(&format!("unit={WEB}")).await;
    assert_eq!(reader.messages(1).await, ["Größe"]);
    let binary = reader.next_of("line").await;
    assert_eq!((&binary["message"], &binary["binary"]), (&json!("rot\u{fffd}"), &json!(true)));
    assert_eq!(reader.next_of("line").await["truncated"], true);

    // A line of 1 MiB is not passed on, and those after it are.
    gateway.set_mode(GatewayMode::Works);
    gateway.write(WEB, &"x".repeat(1 << 20));
    gateway.write(WEB, "after");
    assert_eq!(reader.next_of("missed").await["lines"], 1);
    assert_eq!(reader.messages(1).await, ["after"]);
}

#[tokio::test]
async fn a_connection_that_is_lost_is_resumed_without_a_gap_or_a_repetition() {
    let (bench, gateway) = LogBench::start().await;
    gateway.write(WEB, "one");
    let mut reader = bench.read(&format!("unit={WEB}")).await;
    assert_eq!(reader.messages(1).await, ["one"]);

    gateway.until_requests(4).await;
    gateway.set_mode(GatewayMode::Fails);
    gateway.close_connections();
    let failed = reader.until("failed").await;
    assert!(!failed["reason"].as_str().unwrap().is_empty());
    gateway.write(WEB, "meanwhile");
    gateway.write_about(WEB, "Stopped.");
    gateway.set_mode(GatewayMode::Works);

    reader.until("connected").await;
    assert_eq!(reader.messages(2).await, ["meanwhile", "Stopped."]);
    gateway.write(WEB, "two");
    assert_eq!(reader.messages(1).await, ["two"]);
}

#[tokio::test]
async fn what_was_read_before_a_failure_is_read_again() {
    let (bench, gateway) = LogBench::start().await;
    gateway.set_mode(GatewayMode::FailsAboutUnit);
    gateway.write(WEB, "one");

    let mut reader = bench.read(&format!("unit={WEB}")).await;
    reader.until("failed").await;
    gateway.set_mode(GatewayMode::Works);
    assert_eq!(reader.messages(1).await, ["one"]);
}

#[tokio::test]
async fn lines_that_were_not_asked_for_do_not_come_after_a_failure_either() {
    let (bench, gateway) = LogBench::start().await;
    gateway.set_mode(GatewayMode::Fails);
    gateway.write(WEB, "old");

    let mut reader = bench.read(&format!("unit={WEB}&lines=0")).await;
    reader.until("failed").await;
    gateway.set_mode(GatewayMode::Works);
    reader.until("connected").await;
    gateway.until_requests(5).await;
    gateway.write(WEB, "new");
    assert_eq!(reader.messages(1).await, ["new"]);
}

#[tokio::test]
async fn a_machine_that_comes_back_with_another_address_is_read_there() {
    let (mut bench, first) = LogBench::start().await;
    let second = bench.gateway("127.0.0.2").await;
    first.write(WEB, "one");
    let mut reader = bench.read(&format!("unit={WEB}")).await;
    assert_eq!(reader.messages(1).await, ["one"]);

    let mut moved = (*view(&[("127.0.0.1", WEB)], &["127.0.0.1"])).clone();
    let machine = Machine {
        ip: Some("127.0.0.2".into()),
        ..builders::machine("m-127.0.0.1")
    };
    moved.machines = vec![Arc::new(builders::member(machine))];
    second.write_now(WEB, "two");
    bench.server.read_all(&Arc::new(moved));

    let line = reader.next_of("line").await;
    assert_eq!((&line["machine"], &line["message"]), (&json!("m-127.0.0.1"), &json!("two")));
    first.until_open(0).await;
}

/// A machine that cannot be asked, and then one that left the cluster while its unit was destroyed.
#[tokio::test]
async fn what_cannot_be_asked_is_said_once_and_nobody_is_asked_after_the_end() {
    let (mut bench, gateway) = LogBench::start().await;
    gateway.write(WEB, "one");
    let mut reader = bench.read(&format!("unit={WEB}")).await;
    assert_eq!(reader.messages(1).await, ["one"]);

    let unnamed = |units: &[(&str, &str)]| {
        let mut view = (*view(units, &["127.0.0.1"])).clone();
        view.machines
            .push(Arc::new(builders::member(builders::machine("m-unknown"))));
        Arc::new(view)
    };
    bench
        .server
        .read_all(&unnamed(&[("127.0.0.1", WEB), ("unknown", WEB)]));
    let failed = reader.until("failed").await;
    assert_eq!(failed["machine"], "m-unknown");

    // More changes of the cluster say nothing new.
    for number in 0..3 {
        let other = format!("{number}.service");
        let units = [("127.0.0.1", WEB), ("unknown", WEB), ("127.0.0.1", &other)];
        bench.server.read_all(&unnamed(&units));
    }
    bench.show(&[], &[]);
    let ended = reader.next().await;
    assert_eq!((&ended["state"], &ended["machine"]), (&json!("ended"), &json!("m-127.0.0.1")));
    gateway.until_open(0).await;
}

#[tokio::test]
async fn an_entry_that_is_cut_off_is_read_again() {
    let (bench, gateway) = LogBench::start().await;
    gateway.set_mode(GatewayMode::CutsEntries);
    gateway.write(WEB, "one");
    gateway.write(WEB, "two");

    let mut reader = bench.read(&format!("unit={WEB}")).await;
    assert_eq!(reader.messages(1).await, ["one"]);
    gateway.set_mode(GatewayMode::Works);
    assert_eq!(reader.messages(1).await, ["two"]);
}

#[tokio::test]
async fn a_machine_that_cannot_be_read_says_why_and_does_not_hold_up_the_others() {
    for (mode, named) in [
        (GatewayMode::Fails, "500"),
        (GatewayMode::SendsGarbage, "<html>"),
        (GatewayMode::Hangs, "10 s"),
    ] {
        let (mut bench, first) = LogBench::start().await;
        let second = bench.gateway("127.0.0.2").await;
        bench.show(&[("127.0.0.1", WEB), ("127.0.0.2", WEB)], &["127.0.0.1", "127.0.0.2"]);
        first.set_mode(mode);
        second.write(WEB, "one");

        let mut reader = bench.read(&format!("unit={WEB}")).await;
        if mode == GatewayMode::Hangs {
            assert_eq!(reader.messages(1).await, ["one"]);
        }
        let failed = reader.until("failed").await;
        assert_eq!(failed["machine"], "m-127.0.0.1");
        assert!(failed["reason"].as_str().unwrap().contains(named), "{failed}");

        let mut answer = bench.read(&format!("unit={WEB}&follow=no")).await;
        assert_eq!(answer.messages(1).await, ["one"], "{mode:?}");
        assert_eq!(answer.next_of("end").await["type"], "end");
    }
}

#[tokio::test]
async fn a_machine_without_a_gateway_is_named_with_what_to_do() {
    let (mut bench, _gateway) = LogBench::start().await;
    bench.show(&[("127.0.0.3", WEB)], &["127.0.0.3"]);

    let mut reader = bench.read(&format!("unit={WEB}&follow=no")).await;
    let failed = reader.until("failed").await;
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("127.0.0.3") && reason.contains("gatewayd.socket"), "{reason}");
    assert_eq!(reader.next().await["type"], "end");
    assert!(bench.metric("fleet_monitor_journal_requests_total{outcome=\"failed\"} ") > 0);
}

/// 10,000 lines at a time, again and again, as from a unit that writes 10,000 lines a second.
#[tokio::test]
async fn a_flood_is_counted_and_the_newest_lines_still_come() {
    let (bench, gateway) = LogBench::start().await;
    let mut reader = bench.read(&format!("unit={WEB}&lines=0")).await;
    reader.until("connected").await;
    gateway.until_requests(4).await;

    gateway.write_all(WEB, (0..10_000).map(|number| json!(format!("line {number}"))));
    let mut lines = 0;
    let mut missed = 0;
    while lines + missed < 10_000 {
        let event = reader.next().await;
        match event["type"].as_str() {
            Some("line") => lines += 1,
            Some("missed") => missed += event["lines"].as_u64().unwrap(),
            _ => {}
        }
    }
    assert_eq!(lines + missed, 10_000);
    assert!((500..2_000).contains(&lines), "{lines}");

    gateway.write(WEB, "after the flood");
    assert_eq!(reader.messages(1).await, ["after the flood"]);
    assert_eq!(bench.metric("fleet_monitor_log_lines_total{outcome=\"missed\"} "), missed);
}

/// The lines fit into no buffer of the kernel, so the reader is behind until it reads.
#[tokio::test]
async fn a_slow_reader_misses_lines_and_is_told_how_many() {
    let (bench, gateway) = LogBench::start().await;
    let mut reader = bench.read(&format!("unit={WEB}&lines=0")).await;
    let mut other = bench.read(&format!("unit={WEB}&lines=0")).await;
    reader.until("connected").await;
    other.until("connected").await;
    gateway.until_requests(4).await;

    let mut written = 0;
    while bench.metric("fleet_monitor_log_lines_total{outcome=\"missed\"} ") == 0 {
        gateway.write_all(WEB, (0..400).map(|_| json!("x".repeat(3_000))));
        written += 400;
        let mut seen = 0;
        while seen < 400 {
            let event = other.next().await;
            seen += match event["type"].as_str() {
                Some("line") => 1,
                Some("missed") => event["lines"].as_u64().unwrap(),
                _ => 0,
            };
        }
    }

    let mut lines = 0;
    let mut missed = 0;
    while lines + missed < written {
        let event = reader.next().await;
        match event["type"].as_str() {
            Some("line") => lines += 1,
            Some("missed") => missed += event["lines"].as_u64().unwrap(),
            _ => {}
        }
    }
    assert_eq!(lines + missed, written);
}

#[tokio::test]
async fn readers_are_limited() {
    let (bench, gateway) = LogBench::start().await;
    gateway.write(WEB, "one");

    let mut readers = Vec::new();
    for _ in 0..64 {
        readers.push(bench.read(&format!("unit={WEB}")).await);
    }
    let (status, text) = bench.refusal(&format!("unit={WEB}")).await;
    assert_eq!(status, 503, "{text}");

    readers.pop();
    while bench.status(&format!("unit={WEB}")).await == 503 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.requests().len(), 4);
}

#[tokio::test]
async fn what_has_no_log_is_refused_with_a_reason() {
    let (mut bench, gateway) = LogBench::start().await;
    let unreported = Unit {
        verdict: Verdict::Unscheduled,
        ..builders::unit(UnitState {
            machine: None,
            ..builders::unit_state("lone.service", "", "inactive/dead")
        })
    };
    let many: Vec<String> = (1..=17).map(|number| format!("127.0.1.{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let everywhere: Vec<(&str, &str)> = many.iter().map(|ip| (*ip, "many.service")).collect();
    let mut view = (*view(&everywhere, &many)).clone();
    view.units.insert(Arc::new(unreported));
    bench.server.read_all(&Arc::new(view));

    for (query, status, named) in [
        ("unit=none.service", 404, "none.service"),
        ("unit=lone.service", 404, "lone.service"),
        ("unit=many.service&machine=127.0.0.1", 404, "machine"),
        ("unit=many.service", 400, "17"),
        ("lines=5", 400, "unit"),
        ("unit=a&lines=many", 400, "lines"),
    ] {
        let (given, text) = bench.refusal(query).await;
        assert_eq!(given, status, "{query}: {text}");
        assert!(text.contains(named), "{query}: {text}");
    }
    assert_eq!(gateway.requests(), []);
}

#[tokio::test]
async fn a_log_needs_the_token_and_is_not_kept_in_caches() {
    let (mut bench, gateway) = LogBench::start().await;
    bench
        .server
        .server
        .set_settings(ServerSettings { journal_port: Some(bench.port), ..with_token("secret") });
    bench.show(&[("127.0.0.1", WEB)], &["127.0.0.1"]);
    gateway.write(WEB, "one");

    for query in [format!("unit={WEB}"), format!("unit={WEB}&token=wrong")] {
        assert_eq!(bench.refusal(&query).await.0, 401, "{query}");
    }
    let path = format!("/v2/logs?unit={WEB}&follow=no");
    let foreign = [("Authorization", "Bearer secret"), ("Host", "evil.example")];
    assert_eq!(bench.server.request("GET", &path, &foreign).await.status, 403);
    assert_eq!(gateway.requests(), []);

    let header = [("Authorization", "Bearer secret")];
    for (path, headers) in [(format!("{path}&token=secret"), &[][..]), (path, &header)] {
        let response = bench.server.request("GET", &path, headers).await;
        assert_eq!((response.status, response.header("cache-control")), (200, "no-store"));
        assert!(response.text().contains("\"message\":\"one\""), "{}", response.text());
    }
}

#[tokio::test]
async fn without_the_option_no_machine_is_asked() {
    let gateway = JournalGateway::start("127.0.0.1", 0).await;
    let mut server = ServerBench::start().await;
    server.read_all(&view(&[("127.0.0.1", WEB)], &["127.0.0.1"]));

    let response = server.get(&format!("/v2/logs?unit={WEB}")).await;
    assert_eq!(response.status, 404);
    assert!(response.text().contains("--journal-port"), "{}", response.text());
    assert_eq!(gateway.requests(), []);
}

#[tokio::test]
async fn turning_logs_off_ends_those_that_are_read() {
    let (bench, gateway) = LogBench::start().await;
    gateway.write(WEB, "one");
    let mut reader = bench.read(&format!("unit={WEB}")).await;
    assert_eq!(reader.messages(1).await, ["one"]);

    bench.server.server.set_settings(settings());
    reader.read_to_end().await;
    gateway.until_open(0).await;
}
