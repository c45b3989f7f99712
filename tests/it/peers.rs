//! Monitors of one cluster keep one history: each asks the others for it at its start. So it
//! outlives the machine of a monitor. Another monitor may be anything: it may lie, hang, or watch
//! another cluster.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::restarts::{Fleet, has_two_problems, machine, problems, row, state, until};
use crate::support::fleetd::{Fleetd, Reply};
use crate::support::{Daemon, Program};

/// The text in the log that ends a merge.
const MERGED: &str = "merged the history";

/// A monitor on another machine: nothing was saved there.
struct Elsewhere {
    directory: TempDir,
}

impl Elsewhere {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn program(&self, fleet: &Fleet, from: &str) -> Program {
        fleet
            .program()
            .environment("STATE_DIRECTORY", self.directory.path())
            .environment("FLEET_MONITOR_HISTORY_FROM", from)
    }

    async fn start(&self, fleet: &Fleet, from: &str) -> Daemon {
        let daemon = self.program(fleet, from).start().await;
        daemon.source_is("ok").await;
        daemon
    }
}

/// Starts a monitor on another machine that has nothing but what these others tell.
async fn merged(fleet: &Fleet, others: &[&Daemon]) -> (Elsewhere, Daemon) {
    let elsewhere = Elsewhere::new();
    let daemon = elsewhere.start(fleet, &urls(others)).await;
    daemon.log.nth(others.len(), MERGED).await;
    (elsewhere, daemon)
}

fn urls(daemons: &[&Daemon]) -> String {
    let urls = daemons.iter().map(|daemon| format!("http://{}", daemon.address));
    urls.collect::<Vec<_>>().join(",")
}

async fn history(daemon: &Daemon, query: &str) -> Value {
    daemon.get(&format!("/v2/history?{query}")).await.1
}

/// How often each event is in a list of events, without those of the source.
fn counts(events: &Value) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events.as_array().unwrap() {
        let name = event["event"].as_str().unwrap();
        if !name.starts_with("source") {
            *counts.entry(event["text"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    counts
}

fn milliseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A fleet that has lost machine 2 and had a unit that failed and runs again, and a monitor that
/// has seen it.
async fn with_history() -> (Fleet, Daemon) {
    let fleet = Fleet::new();
    for number in 0..12 {
        fleet.set(&format!("api-{number}.service"), 3, "active");
    }
    let daemon = fleet.start().await;
    fleet.set("web-0.service", 1, "failed");
    daemon.nth_event(1, "changed").await;
    fleet.set("web-0.service", 1, "active");
    daemon.nth_event(2, "changed").await;
    fleet.lose(2);
    until(&daemon, "two problems", has_two_problems).await;
    (fleet, daemon)
}

#[tokio::test]
async fn two_monitors_have_one_history_when_one_is_killed_with_its_machine() {
    let (fleet, mut first) = with_history().await;
    let (_, second) = merged(&fleet, &[&first]).await;
    let known = until(&second, "two problems", has_two_problems).await;
    let before = state(&first).await;
    assert_eq!(problems(&known), problems(&before), "with the same IDs and times");

    // The first one dies with machine 1, and its disk. fleet starts it on another machine.
    first.kill().await;
    fleet.lose(1);
    second.nth_event(2, "machine_lost").await;
    let has_problem_of_first = |state: &Value| {
        let is_it =
            |problem: &Value| problem["kind"] == "machine_lost" && problem["machine"] == machine(1);
        problems(state).values().any(is_it) && has_two_problems(state)
    };
    until(&second, "a problem with machine 1", has_problem_of_first).await;
    let (_, third) = merged(&fleet, &[&second]).await;

    let expected = state(&second).await;
    let found = until(&third, "its problems", |state| problems(state) == problems(&expected)).await;
    assert_eq!(
        found["machines"], expected["machines"],
        "with address, time, and what ran there"
    );
    assert_eq!(row(&found, "machines", "machine", &machine(2))["ip"], "10.0.0.2");
    for unit in ["bad.service", "web-0.service", "web-1.service"] {
        assert_eq!(row(&found, "units", "unit", unit), row(&expected, "units", "unit", unit));
    }
    assert_eq!(counts(&found["transitions"]), counts(&expected["transitions"]));

    for query in ["unit=web-0.service".to_owned(), format!("machine={}", machine(2))] {
        let [found, expected] = [history(&third, &query).await, history(&second, &query).await];
        assert_eq!(counts(&found["events"]), counts(&expected["events"]), "{query}");
        assert_eq!(found["complete_since"], expected["complete_since"], "{query}");
    }
    let start = before["health"]["events_since"].as_u64().unwrap();
    let complete = history(&third, "unit=web-0.service").await;
    assert_eq!(complete["complete_since"], start, "since the start of the one that died");
    assert_eq!(complete["dropped"], false);
}

#[tokio::test]
async fn of_three_monitors_two_know_the_same_and_nothing_is_doubled() {
    let (fleet, first) = with_history().await;
    let (_, second) = merged(&fleet, &[&first]).await;
    fleet.set("web-2.service", 1, "failed");
    let [of_first, of_second] =
        [first.nth_event(3, "changed").await, second.nth_event(3, "changed").await];
    assert_eq!(of_first["text"], of_second["text"]);

    let (directory, mut third) = merged(&fleet, &[&first, &second]).await;

    let expected = state(&first).await;
    let found = state(&third).await;
    assert_eq!(counts(&found["transitions"]), counts(&expected["transitions"]));
    assert_eq!(found["machines"], expected["machines"]);
    let failed = history(&third, "unit=web-2.service").await;
    assert_eq!(failed["events"].as_array().unwrap().len(), 1, "{failed}");

    // It asks again after a restart, and knows all of it already.
    third.stop(Signal::TERM).await;
    let third = directory.start(&fleet, &urls(&[&first, &second])).await;
    third.log.nth(2, MERGED).await;
    let again = state(&third).await;
    assert_eq!(counts(&again["transitions"]), counts(&expected["transitions"]));
    assert_eq!(third.counter("fleet_monitor_history_merged_events_total").await, 0);
}

#[tokio::test]
async fn what_happened_while_it_did_not_run_is_learned_and_its_gap_is_closed() {
    let fleet = Fleet::new();
    let first = fleet.start().await;
    let elsewhere = Elsewhere::new();
    let mut second = elsewhere.start(&fleet, "").await;
    let start = state(&first).await["health"]["events_since"].clone();
    second.kill().await;
    for (state, number) in [("failed", 1), ("active", 2), ("failed", 3), ("active", 4)] {
        fleet.set("web-0.service", 1, state);
        first.nth_event(number, "changed").await;
    }

    let second = elsewhere.start(&fleet, &urls(&[&first])).await;
    second.log.first(MERGED).await;

    let found = history(&second, "unit=web-0.service").await;
    assert_eq!(found["events"].as_array().unwrap().len(), 4, "{found}");
    assert!(found["complete_since"].as_u64() <= start.as_u64(), "{found} {start}");
    // Since when the unit runs.
    let expected = state(&first).await;
    let unit = row(&state(&second).await, "units", "unit", "web-0.service");
    assert_eq!(unit["since"], row(&expected, "units", "unit", "web-0.service")["since"]);
    assert_eq!(unit["since_seen"], true);
}

#[tokio::test]
async fn after_a_short_restart_the_history_is_complete_since_before() {
    let fleet = Fleet::new();
    let mut daemon = fleet.start().await;
    fleet.saved("commit").await;
    let before = history(&daemon, "unit=web-0.service").await;
    daemon.stop(Signal::TERM).await;

    let mut daemon = fleet.start().await;
    let after = history(&daemon, "unit=web-0.service").await;
    assert_eq!(after["complete_since"], before["complete_since"]);
    assert_ne!(after["complete_since"], state(&daemon).await["health"]["events_since"]);

    // Nothing watched for longer than a poll may take.
    daemon.stop(Signal::TERM).await;
    sleep(Duration::from_secs(11)).await;
    let daemon = fleet.start().await;
    let after = history(&daemon, "unit=web-0.service").await;
    assert_eq!(after["complete_since"], state(&daemon).await["health"]["events_since"]);
}

#[tokio::test]
async fn a_monitor_that_hangs_delays_nothing_and_is_merged_when_it_answers() {
    let (fleet, first) = with_history().await;
    let shared = first.text("/v2/history").await.1;
    let mut asked = 0;
    let slow = Fleetd::tcp(move |_: &str| {
        asked += 1;
        // It closes some connections first, then it answers byte for byte, and slowly.
        match asked {
            1 => Reply::Close,
            _ => Reply::Raw(http_json(&shared)),
        }
    })
    .await;
    let hanging = Fleetd::tcp(|_: &str| Reply::Hang).await;

    let elsewhere = Elsewhere::new();
    let from = format!("{},{}", hanging.address(), slow.address());
    let daemon = elsewhere.start(&fleet, &from).await;
    assert_eq!(daemon.get("/readyz").await.0, 200);

    daemon.log.first(MERGED).await;
    hanging.until(|traffic| !traffic.requests.is_empty()).await;
    assert_eq!(
        history(&daemon, "unit=web-0.service").await["events"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // And it watches on.
    fleet.set("web-0.service", 1, "failed");
    daemon.event("changed").await;
}

/// A response with JSON as text.
fn http_json(body: &str) -> Vec<u8> {
    crate::support::fleetd::http(200, body)
}

/// What becomes of a monitor that merges this answer: its state.
async fn told(
    fleet: &Fleet,
    answer: impl FnMut(&str) -> Reply + Send + 'static,
) -> (Daemon, Value) {
    let liar = Fleetd::tcp(answer).await;
    let daemon = Elsewhere::new().start(fleet, liar.address()).await;
    daemon.log.first(liar.address()).await;
    let state = state(&daemon).await;
    (daemon, state)
}

#[tokio::test]
async fn a_monitor_that_sends_something_else_is_ignored_and_said_once() {
    let fleet = Fleet::new();
    let other = fleet.start().await;
    let whole: Value = other.get("/v2/history").await.1;
    let with = |key: &str, value: Value| {
        let mut lie = whole.clone();
        lie[key] = value;
        Reply::Json(200, lie)
    };
    let huge = {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"epoch\":\"";
        [head.as_bytes(), &vec![b'x'; 80 << 20]].concat()
    };

    let lies = [
        Reply::Raw(http_json("\u{0}\u{1}not JSON")),
        Reply::Json(200, json!([])),
        Reply::Json(200, json!({})),
        Reply::Json(404, json!({"error": {"code": 404, "message": "no"}})),
        with("units", json!({"unit": "a"})),
        with("units", json!([{"unit": 5}])),
        with("events", json!([{"time": -1, "event": "gone"}])),
        with("events", json!([{"time": 1.5, "event": "gone"}])),
        with("now", json!("yesterday")),
        with("now", json!(u64::MAX)),
        with("interval", json!(null)),
        with("machines", json!([])),
        Reply::Raw(huge),
        Reply::Raw(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        ),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let shown = format!("lie {number}");
        let mut lie = Some(lie);
        let mut again = move |_: &str| lie.take().unwrap_or(Reply::Hang);
        let (daemon, found) = told(&fleet, move |path| again(path)).await;
        assert_eq!(found["units"].as_array().unwrap().len(), 9, "{shown}");
        assert_eq!(found["machines"].as_array().unwrap().len(), 3, "{shown}");
        assert_eq!(found["transitions"], json!([]), "{shown}");
        assert_eq!(daemon.log.count(MERGED), 0, "{shown}");
        assert_eq!(
            daemon.log.count("no history from") + daemon.log.count("is ignored"),
            1,
            "{shown}"
        );
        assert!(daemon.peak_memory() < 400 << 20, "{shown}: {}", daemon.peak_memory());
    }
}

#[tokio::test]
async fn a_monitor_that_lies_well_changes_nothing_that_this_one_sees() {
    let fleet = Fleet::new();
    let other = fleet.start().await;
    let mut lie: Value = other.get("/v2/history").await.1;
    let now = milliseconds(SystemTime::now());
    let (past, future) = (now - 60_000, now + 3_600_000);

    // Units and machines that are not there, other states, and times in the future.
    for unit in lie["units"].as_array_mut().unwrap() {
        match unit["unit"].as_str().unwrap() {
            "web-0.service" => unit["since"] = json!(future),
            "web-1.service" => unit["active"] = json!("failed"),
            _ => {}
        }
        unit["since"] = if unit["unit"] == "web-1.service" {
            json!(past)
        } else {
            unit["since"].clone()
        };
    }
    let mut invented = lie["units"][0].clone();
    invented["unit"] = json!("invented.service");
    invented["verdict"] = json!("machine_lost");
    invented["machine"] = json!(machine(9));
    lie["units"].as_array_mut().unwrap().push(invented);
    lie["machines"].as_array_mut().unwrap().extend([
        json!({"machine": machine(9), "since": past, "since_seen": true, "lost_since": future}),
        json!({"machine": machine(8), "since": 1, "since_seen": true, "lost_since": 2}),
        json!({"machine": machine(1), "since": past, "since_seen": true, "lost_since": past}),
    ]);
    let event = |time: u64, unit: &str| {
        json!({
            "time": time, "event": "changed", "unit": unit, "machine": machine(1),
            "from": "active/running",
            "to": "failed/failed",
        })
    };
    let day = 25 * 3_600_000;
    lie["events"] = json!([
        event(future, "web-0.service"),
        event(now - day, "web-0.service"),
        event(past, "web-0.service"),
        json!({"time": past, "event": "source_down", "reason": "a lie"}),
    ]);
    let problem = json!({
        "id": "0123456789abcdef", "since": past, "since_seen": true, "opened": past,
        "cause": {"unit": {"verdict": "failed", "unit": "web-0.service",
                           "machine": {"id": machine(1), "ip": null}}},
        "units": [{"unit": "web-0.service", "machine": machine(1)}],
    });
    lie["problems"] = json!([problem]);

    let honest = state(&other).await;
    let (daemon, _) = told(&fleet, move |_: &str| Reply::Json(200, lie.clone())).await;
    daemon.log.first(MERGED).await;
    let found = state(&daemon).await;

    assert_eq!(found["machines"].as_array().unwrap().len(), 3);
    let keys = |state: &Value| -> Vec<Value> {
        let units = state["units"].as_array().unwrap().iter();
        units
            .map(|unit| json!([unit["unit"], unit["active"], unit["verdict"]]))
            .collect()
    };
    assert_eq!(keys(&found), keys(&honest));
    for unit in ["web-0.service", "web-1.service"] {
        let since = &row(&found, "units", "unit", unit)["since"];
        assert!(since.as_u64() > Some(past) && since.as_u64() < Some(future), "{unit}: {since}");
    }
    assert_eq!(counts(&found["transitions"]).len(), 1, "{}", found["transitions"]);
    assert!(!problems(&found).contains_key("0123456789abcdef"));
}

#[tokio::test]
async fn a_monitor_of_another_cluster_is_recognised() {
    let other = Fleet::new();
    other.change(|registry| {
        registry.machines.clear();
        registry
            .machines
            .push(json!({"id": machine(77), "primaryIP": "10.0.0.1", "metadata": {}}));
    });
    for number in 0..8 {
        other.set(&format!("web-{number}.service"), 77, "active");
    }
    other.set("bad.service", 77, "failed");
    let stranger = other.start().await;
    other.set("web-0.service", 77, "failed");
    stranger.event("changed").await;

    let fleet = Fleet::new();
    let elsewhere = Elsewhere::new();
    let daemon = elsewhere.start(&fleet, &urls(&[&stranger])).await;

    daemon.log.first("another cluster").await;
    assert_eq!(state(&daemon).await["transitions"], json!([]));
    assert_eq!(daemon.log.count(MERGED), 0);
    assert_eq!(daemon.log.count("another cluster"), 1);
}

#[tokio::test]
async fn the_history_needs_the_token_and_it_is_sent_to_no_other_server() {
    let fleet = Fleet::new();
    let directory = TempDir::new().unwrap();
    let [right, wrong] = ["right", "incorrect"].map(|token| {
        let path = directory.path().join(token);
        fs::write(&path, token).unwrap();
        path
    });
    let first = fleet
        .program()
        .environment("FLEET_MONITOR_TOKEN_FILE", &right)
        .start()
        .await;
    let url = urls(&[&first]);

    for environment in [None, Some(("FLEET_MONITOR_HISTORY_TOKEN_FILE", &wrong))] {
        let elsewhere = Elsewhere::new();
        let mut program = elsewhere.program(&fleet, &url);
        if let Some((name, path)) = environment {
            program = program.environment(name, path);
        }
        let refused = program.start().await;
        let line = refused.log.first(&url).await;
        assert!(line.contains("401") && line.contains("--history-token-file"), "{line}");
        assert!(!line.contains("incorrect"), "{line}");
    }

    // Its own token is the default, and that of the others can be another one.
    for (name, path) in [
        ("FLEET_MONITOR_TOKEN_FILE", &right),
        ("FLEET_MONITOR_HISTORY_TOKEN_FILE", &right),
    ] {
        let elsewhere = Elsewhere::new();
        let program = elsewhere.program(&fleet, &url).environment(name, path);
        program.start().await.log.first(MERGED).await;
    }

    // A redirect is not followed.
    let thief = Fleetd::tcp(|_: &str| Reply::Json(200, json!({}))).await;
    let location = thief.address().to_owned();
    let redirecting = Fleetd::tcp(move |_: &str| {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {location}/v2/history\r\n");
        Reply::Whole(format!("{head}Content-Length: 0\r\n\r\n").into_bytes())
    })
    .await;
    let elsewhere = Elsewhere::new();
    let program = elsewhere
        .program(&fleet, redirecting.address())
        .environment("FLEET_MONITOR_TOKEN_FILE", &right);
    program.start().await.log.first("redirects are not followed").await;
    assert_eq!(thief.traffic().opened, 0);
    let request = redirecting.traffic().requests[0].to_lowercase();
    assert!(request.contains("authorization: bearer right"), "{request}");
}

#[tokio::test]
async fn a_monitor_that_starts_later_is_asked_again_and_one_may_name_itself() {
    let fleet = Fleet::new();
    let ports: Vec<u16> = (0..2)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect::<Vec<_>>()
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect();
    let from = format!("http://127.0.0.1:{},http://127.0.0.1:{}", ports[0], ports[1]);
    let [one, other] = [Elsewhere::new(), Elsewhere::new()];
    let program = |elsewhere: &Elsewhere, port: u16| {
        elsewhere
            .program(&fleet, &from)
            .environment("FLEET_MONITOR_PORT", port.to_string())
    };

    let first = program(&one, ports[0]).start().await;
    first.log.first("no history from").await;
    let second = program(&other, ports[1]).start().await;

    first.log.first(MERGED).await;
    second.log.first(MERGED).await;
    assert_eq!(first.log.count("is ignored") + second.log.count("is ignored"), 0);
}

#[tokio::test]
async fn before_everything_is_read_there_is_no_history_to_share() {
    let fleet = Fleet::new();
    let registry = fleet.registry.lock().unwrap().take();
    let daemon = fleet.start().await;
    daemon.event("source_down").await;
    assert_eq!(daemon.get("/v2/history").await.0, 503);

    *fleet.registry.lock().unwrap() = registry;
    daemon.source_is("ok").await;
    let (status, head, body) = daemon.request("GET", "/v2/history").await;
    assert_eq!(status, 200);
    assert!(head.to_lowercase().contains("no-store"), "{head}");
    assert!(body.contains("complete_since"));
}
