//! The whole program with real fleetctl processes, sockets, signals and a real `NOTIFY_SOCKET`.

use std::fs;
use std::time::Duration;

use fleet_monitor::server::open_files::OpenFileLimit;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::fleetd::{ApiRecording, Fleetd};
use crate::support::snapshots::assert_catalogue;
use crate::support::{Client, Daemon, Double, Program, VERSIONS, recorded};

/// The number of failed polls of units.
const FAILURES: &str = r#"fleet_monitor_poll_failures_total{topic="units"}"#;

/// A line of the log without its time.
const ERROR: &str = "Z ERROR ";
const WARN: &str = "Z  WARN ";
const DEBUG: &str = "Z DEBUG ";

/// Options for short poll intervals.
const FAST: [&str; 4] = ["--unit-freq", "0.1", "--machine-freq", "0.2"];

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&FAST, more].concat()
}

/// The message that is expected for a recorded list.
fn message(version: &str, list: &str, r#type: &str, fields: &[&str]) -> Value {
    let recorded = &recorded(version)["lists"][list];
    let columns = recorded["columns"].as_array().unwrap();
    let cell = |row: &Value, field: &str| {
        let text = &row[columns.iter().position(|column| column == field).unwrap()];
        if (version, field) != ("v0.5.0", "metadata") {
            return text.clone();
        }
        // Only this version prints the pairs in another order at each call.
        let mut pairs: Vec<_> = text.as_str().unwrap().split(',').collect();
        pairs.sort_unstable();
        pairs.join(",").into()
    };
    let rows = recorded["rows"].as_array().unwrap().iter();
    let items: Vec<Vec<Value>> = rows
        .map(|row| fields.iter().map(|field| cell(row, field)).collect())
        .collect();
    json!({ "type": r#type, "fields": fields, "items": items })
}

fn machines(version: &str) -> Value {
    message(version, "list-machines", "machine", &["machine", "ip", "metadata"])
}

fn units(version: &str) -> Value {
    message(version, "list-units", "unit", &["unit", "load", "active", "sub", "machine"])
}

/// Makes the fleetctl, a v1.0.0, list its first unit in another state. Returns the message that is
/// expected then.
fn change(fleetctl: &Double, sub: &str) -> Value {
    let mut rows = recorded("v1.0.0")["lists"]["list-units"]["rows"].take();
    rows[0][3] = sub.into();
    fleetctl.write("rows.json", &json!({ "list-units": rows }).to_string());
    let mut units = units("v1.0.0");
    units["items"][0][3] = sub.into();
    units
}

/// A program that has read all lists from a fleetctl v1.0.0.
async fn watching(fleetctl: &Double, more: &[&str]) -> Daemon {
    let daemon = Daemon::asking(fleetctl, &arguments(more)).await;
    daemon.source_is("ok").await;
    daemon
}

#[tokio::test]
async fn clients_get_what_each_version_lists() {
    for version in VERSIONS {
        for connection in [&[] as &[&str], &["-e", "127.0.0.1"], &["-t", "host"]] {
            let fleetctl = Double::new(version);
            let mut daemon = watching(&fleetctl, connection).await;
            let mut client = daemon.connect().await;
            assert_eq!(client.next().await, machines(version), "{version} {connection:?}");
            assert_eq!(client.next().await, units(version), "{version} {connection:?}");
            drop(client);
            daemon.stop(Signal::TERM).await;
        }
    }
}

#[tokio::test]
async fn a_message_is_compact_json_with_its_keys_in_order() {
    let fleetctl = Double::new("v1.0.0");
    let daemon = watching(&fleetctl, &[]).await;
    let mut client = daemon.connect().await;
    for start in [
        r#"{"type":"machine","fields":["machine","ip","metadata"],"items":[["3f1a8c5e9b2d4f60a7c1d2e3b4f50617","172"#,
        r#"{"type":"unit","fields":["unit","load","active","sub","machine"],"items":[["a-very-long-unit-name-which-i"#,
    ] {
        let text = client.next_text().await;
        assert!(text.starts_with(start), "{text}");
    }
}

#[tokio::test]
async fn with_changes_a_poll_without_one_sends_nothing() {
    let fleetctl = Double::new("v1.0.0");
    fleetctl.mode("leave list-units");
    let mut polls = fleetctl.processes();
    let daemon = watching(&fleetctl, &[]).await;
    let mut client = daemon.connect().await;
    assert_eq!(
        (client.next().await, client.next().await),
        (machines("v1.0.0"), units("v1.0.0"))
    );
    for _ in 0..5 {
        polls.next().await;
    }
    let changed = change(&fleetctl, "exited");
    assert_eq!(client.next().await, changed);
}

#[tokio::test]
async fn with_polls_each_poll_sends_its_list() {
    let fleetctl = Double::new("v1.0.0");
    let daemon = watching(&fleetctl, &["--publish", "polls"]).await;
    let mut client = daemon.connect().await;
    for _ in 0..4 {
        assert_eq!(client.next_of("machine").await, machines("v1.0.0"));
        assert_eq!(client.next_of("unit").await, units("v1.0.0"));
    }
}

#[tokio::test]
async fn systemd_gets_readiness_when_it_listens_and_a_status_line() {
    let fleetctl = Double::new("v1.0.0");
    let daemon = Daemon::asking(&fleetctl, &arguments(&[])).await;
    let notices = &daemon.notices;
    notices.first("READY=1").await;
    let mut client = daemon.connect().await;
    client.next_of("unit").await;
    // It begins with machines and units, and ends with clients. Of the units four are on no
    // machine, and so not in the list.
    let counts = |clients| {
        move |notice: &str| {
            let numbers = numbers(notice.strip_prefix("STATUS=fleetctl v1.0.0: ")?);
            (numbers.starts_with(&[4, 34]) && numbers.ends_with(&[clients])).then_some(())
        }
    };
    notices.find(counts(1)).await;
    let another = daemon.connect().await;
    notices.find(counts(2)).await;
    drop((client, another));
    notices.find(counts(0)).await;

    fleetctl.mode("fail list-units");
    let status = notices.first("exit status: 1").await;
    assert!(status.starts_with("STATUS=fleetctl v1.0.0: "), "{status}");
    let numbers = numbers(&status);
    assert!(
        numbers.windows(2).any(|pair| pair == [4, 34]) && numbers.ends_with(&[0]),
        "{status}"
    );
}

fn numbers(text: &str) -> Vec<usize> {
    text.split(|char: char| !char.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[tokio::test]
async fn the_watchdog_is_content_whatever_fleetctl_does() {
    let fleetctl = Double::new("v1.0.0");
    let program = Program::asking(
        &fleetctl,
        &arguments(&["--log", "fleet_monitor=debug", "--poll-timeout", "2"]),
    );
    let daemon = program.environment("WATCHDOG_USEC", "300000").start().await;
    daemon.notices.nth(4, "WATCHDOG=1").await;
    for mode in ["fail", "hang"] {
        fleetctl.mode(mode);
        daemon.counts(3, FAILURES).await;
        let alive = daemon.notices.count("WATCHDOG=1");
        daemon.notices.nth(alive + 4, "WATCHDOG=1").await;
    }
    assert_eq!(daemon.log.count(ERROR), 0, "{:#?}", daemon.log.all());
}

#[tokio::test]
async fn without_a_watchdog_no_keep_alive_is_sent() {
    let fleetctl = Double::new("v1.0.0");
    let mut daemon = watching(&fleetctl, &[]).await;
    daemon.stop(Signal::TERM).await;
    daemon.notices.first("STOPPING=1").await;
    assert_eq!(daemon.notices.count("WATCHDOG=1"), 0);
}

#[tokio::test]
async fn a_signal_ends_it_with_a_farewell() {
    for signal in [Signal::TERM, Signal::INT] {
        let fleetctl = Double::new("v1.0.0");
        let mut daemon = watching(&fleetctl, &[]).await;
        let client = daemon.connect().await;
        let (status, farewell) = tokio::join!(daemon.stop(signal), client.close());
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert_eq!(farewell.code, CloseCode::Away, "{signal:?}");
        daemon.notices.first("STOPPING=1").await;
    }
}

#[tokio::test]
async fn a_fleetctl_that_hangs_does_not_delay_the_end_and_does_not_outlive_it() {
    let fleetctl = Double::new("v1.0.0");
    fleetctl.mode("hang");
    let mut polls = fleetctl.processes();
    let mut daemon = Daemon::asking(&fleetctl, &arguments(&["--poll-timeout", "600"])).await;
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(polls.next().await);
    }
    assert_eq!(
        daemon.children().len(),
        6,
        "one fleetctl with a child for each of units, machines and unit files"
    );
    assert_eq!(daemon.stop(Signal::TERM).await.code(), Some(0));
    for (fleetctl, child) in processes {
        fleetctl.ended().await;
        child.ended().await;
    }
}

/// Makes the unit list larger than the kernel's buffers for a client that does not read.
fn enlarge(fleetctl: &Double) {
    let rows: Vec<Value> = (0..20_000)
        .map(|number| {
            json!([
                format!("a-service-of-many@{number:05}.service"),
                "loaded",
                "active",
                "running",
                "-",
                "-"
            ])
        })
        .map(|mut row| {
            row[4] = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617/172.17.8.101".into();
            row
        })
        .collect();
    fleetctl.write("rows.json", &json!({ "list-units": rows }).to_string());
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_neither_the_others_nor_the_end() {
    let fleetctl = Double::new("v1.0.0");
    enlarge(&fleetctl);
    let mut daemon = watching(&fleetctl, &["--publish", "polls"]).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(daemon.address).await.unwrap();
    let url = format!("ws://{}/", daemon.address);
    let (mut silent, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let mut reader = daemon.connect().await;
    for _ in 0..6 {
        assert_eq!(reader.next_of("unit").await["items"].as_array().unwrap().len(), 20_000);
    }
    let (status, farewell) = tokio::join!(daemon.stop(Signal::TERM), reader.close());
    assert_eq!((status.code(), farewell.code), (Some(0), CloseCode::Away));
    // It stayed connected until the end.
    let _ = silent.close(None).await;
}

#[tokio::test]
async fn a_reload_is_announced_and_takes_effect_for_who_is_connected() {
    let fleetctl = Double::new("v1.0.0");
    let daemon = watching(&fleetctl, &[]).await;
    let mut client = daemon.connect().await;
    assert_eq!(
        (client.next().await, client.next().await),
        (machines("v1.0.0"), units("v1.0.0"))
    );

    daemon.configure("unit_fields = 'unit,active'\n");
    daemon.reload().await;
    assert_eq!(
        client.next().await,
        message("v1.0.0", "list-units", "unit", &["unit", "active"])
    );
    let notices = daemon.notices.all();
    let reloading = notices
        .iter()
        .position(|notice| notice.starts_with("RELOADING=1\nMONOTONIC_USEC="))
        .unwrap();
    assert!(notices[..reloading].contains(&"READY=1".to_owned()), "{notices:?}");
    assert!(notices[reloading..].contains(&"READY=1".to_owned()), "{notices:?}");
}

#[tokio::test]
async fn a_reload_changes_what_is_logged() {
    let fleetctl = Double::new("v1.0.0");
    let daemon = watching(&fleetctl, &[]).await;
    daemon.configure("log = 'fleet_monitor=debug'\n");
    daemon.reload().await;
    fleetctl.mode("fail list-units");
    daemon.log.first(DEBUG).await;
    daemon.configure("log = 'off'\n");
    daemon.reload().await;
    let lines = daemon.log.all().len();
    fleetctl.mode("replay");
    daemon.event("source_back").await;
    assert_eq!(daemon.log.all().len(), lines, "{:?}", daemon.log.all());
}

#[tokio::test]
async fn a_reload_names_what_needs_a_restart_and_nothing_else() {
    let daemon = Program::new(&["--demo"])
        .environment("FLEET_MONITOR_LOG_TO", "")
        .start()
        .await;
    for configuration in ["grace = 5\n", "grace = 5\nlog_to = 'journal'\n"] {
        daemon.configure(configuration);
        daemon.reload().await;
    }
    let warns_of = |line: &str, option| line.contains(WARN) && line.contains(option);
    daemon.log.find(|line| warns_of(line, "log_to").then_some(())).await;
    assert!(
        !daemon.log.all().iter().any(|line| warns_of(line, "grace")),
        "{:#?}",
        daemon.log.all()
    );
}

#[tokio::test]
async fn a_reload_compares_with_what_runs_and_not_with_the_last_reload() {
    let daemon = Program::new(&["--demo"])
        .environment("FLEET_MONITOR_LOG_TO", "")
        .environment("FLEET_MONITOR_BIND", "")
        .start()
        .await;
    // So that the end of each reload is waited for, and not that of the start.
    daemon.notices.first("READY=1").await;

    let pending = "log_to = 'journal'";
    for configuration in [pending, pending, "", "bind = '::1'"] {
        daemon.configure(configuration);
        daemon.reload().await;
    }

    let warns_of = |line: &str, option| line.contains(WARN) && line.contains(option);
    daemon.log.find(|line| warns_of(line, "bind").then_some(())).await;
    let warnings = daemon.log.all();
    let warnings = warnings.iter().filter(|line| warns_of(line, "log_to")).count();
    assert_eq!(warnings, 2, "{:#?}", daemon.log.all());
}

#[tokio::test]
async fn a_reload_changes_frequencies_timeouts_fields_and_access() {
    let fleetctl = Double::new("v1.0.0");
    let daemon = Daemon::asking(&fleetctl, &[]).await;
    daemon.source_is("ok").await;
    let token = daemon.path("token");
    fs::write(&token, "secret\n").unwrap();
    assert_eq!(daemon.get("/v2/state").await.0, 200);

    daemon.configure(
        "unit_freq = 0.1\nmachine_freq = 0.2\npoll_timeout = 0.5\nmachine_fields = 'machine'\npublish = 'polls'\n",
    );
    daemon.reload().await;
    let mut client = daemon.connect().await;
    for _ in 0..5 {
        assert_eq!(client.next_of("machine").await["fields"], json!(["machine"]));
        client.next_of("unit").await;
    }
    fleetctl.mode("hang list-units");
    let reason = daemon.event("source_down").await["reason"].take();
    assert!(reason.as_str().unwrap().contains("0.5 s (--poll-timeout)"), "{reason}");

    daemon.configure(&format!("token_file = {token:?}\n"));
    daemon.reload().await;
    assert_eq!(daemon.get("/v2/state").await.0, 401);
    daemon.configure("max_clients = 1\n");
    daemon.reload().await;
    assert_eq!(daemon.get("/v2/state").await.0, 200);
}

/// The command of a unit or a machine with this name.
async fn command(daemon: &Daemon, of: &str, name: &str) -> Option<String> {
    let (status, actions) = daemon.get("/v2/actions").await;
    assert_eq!(status, 200, "{actions}");

    let commands = actions["commands"][of].as_array().unwrap();
    let found = commands.iter().find(|command| command["name"] == name);
    found.map(|command| command["command"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_commands_are_those_for_the_source_and_for_the_version_of_fleetctl() {
    let etcd = &["--source", "fleetctl", "-e", "127.0.0.1"] as &[&str];
    for (version, connection, fleetctl_with_flags) in [
        ("v0.8.3", etcd, "fleetctl --endpoint=http://127.0.0.1:4001"),
        ("v1.0.0", etcd, "fleetctl --driver=etcd --endpoint=http://127.0.0.1:4001"),
        ("v0.11.8", &["-t", "host"], "fleetctl --tunnel=host:22"),
        ("v0.11.8", &[], "fleetctl"),
    ] {
        let fleetctl = Double::new(version);
        let daemon = watching(&fleetctl, connection).await;

        let shell = command(&daemon, "machine", "shell").await;
        assert_eq!(shell, Some(format!("{fleetctl_with_flags} ssh {{machine}}")), "{version}");
        let history = command(&daemon, "unit", "history").await;
        assert_eq!(history, None, "the log is on stderr, without fields");
    }
}

#[tokio::test]
async fn a_recording_has_commands_without_addresses() {
    let daemon = Program::new(&["--demo"]).start().await;
    let unit_file = command(&daemon, "unit", "unit file").await;
    assert_eq!(unit_file.as_deref(), Some("fleetctl cat {unit}"));
}

#[tokio::test]
async fn a_reload_changes_links_and_commands() {
    let fleetctl = Double::new("v1.0.0");
    let program = Program::new(&[]);
    let command_of_fleetctl = format!("fleetctl = {:?}\n", fleetctl.command());
    program.configure(&command_of_fleetctl);
    let daemon = program.start().await;
    daemon.source_is("ok").await;
    assert_eq!(daemon.get("/v2/actions").await.1["links"], json!([]));

    let links = "[[links]]\nname = 'Logs'\nurl = 'https://logs.example/{unit}'\n";
    daemon.configure(&format!("{command_of_fleetctl}tunnel = 'host'\n{links}"));
    daemon.reload().await;
    let (_, actions) = daemon.get("/v2/actions").await;
    let link = json!({"name": "Logs", "url": "https://logs.example/{unit}"});
    assert_eq!(actions["links"], json!([link]));
    let shell = command(&daemon, "machine", "shell").await;
    assert_eq!(shell.as_deref(), Some("fleetctl --tunnel=host:22 ssh {machine}"));

    daemon.configure(&format!("{command_of_fleetctl}{}", links.replace("{unit}", "{unit")));
    daemon.reload().await;
    assert_eq!(
        daemon.get("/v2/actions").await.1["links"],
        json!([link]),
        "a wrong link is refused"
    );
}

#[tokio::test]
async fn the_status_is_sent_at_most_once_a_second() {
    let fleetctl = Double::new("v1.0.0");
    let daemon = watching(&fleetctl, &[]).await;
    for _ in 0..30 {
        let client = daemon.connect().await;
        tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>())
            .await
            .unwrap_err();
        drop(client);
    }
    let told = daemon.notices.times("STATUS=");
    // The first status is from the start.
    for pair in told[1..].windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(700), "{told:?}");
    }
}

#[tokio::test]
async fn a_reload_of_a_bad_file_is_refused_and_the_old_one_stays() {
    let fleetctl = Double::new("v1.0.0");
    let program = Program::asking(&fleetctl, &arguments(&[]));
    program.configure("unit_fields = 'unit,sub'\n");
    let daemon = program.start().await;
    daemon.source_is("ok").await;
    let mut client = daemon.connect().await;
    client.next_of("unit").await;

    for (bad, complaint) in [
        ("unit_fields = 'unit,active'\ncolour = 'red'\n", "colour (FILE:2)"),
        ("port = 5\nfleetctl", "FILE"),
        ("source = 'fleetctl'\ntunnel = 'a'\nendpoint = 'b'\n", "tunnel"),
        ("record = '/no/such/directory/recording'\n", "record"),
        ("token_file = '/no/such/token'\n", "token_file"),
    ] {
        let errors = daemon.log.count(ERROR);
        daemon.configure(bad);
        daemon.reload().await;
        let refusal = daemon.log.nth(errors + 1, ERROR).await;
        let complaint =
            complaint.replace("FILE", daemon.path("fleet-monitor.toml").to_str().unwrap());
        assert!(refusal.contains(&complaint), "no {complaint:?} in {refusal}");
    }
    change(&fleetctl, "exited");
    let next = client.next().await;
    assert_eq!(
        (&next["fields"], &next["items"][0][1]),
        (&json!(["unit", "sub"]), &json!("exited"))
    );
}

#[tokio::test]
async fn a_reload_that_changes_the_source_leaves_no_child_of_the_old_one() {
    let fleetctl = Double::new("v1.0.0");
    fleetctl.mode("hang list-units");
    let mut polls = fleetctl.processes();
    let daemon = Daemon::asking(&fleetctl, &["--poll-timeout", "600"]).await;
    let (old, child) = polls.next().await;
    fleetctl.mode("replay");
    daemon.configure("unit_freq = 0.1\n");
    daemon.reload().await;
    old.reaped().await;
    child.ended().await;
    let mut client = daemon.connect().await;
    assert_eq!(client.next_of("unit").await, units("v1.0.0"));
}

#[tokio::test]
async fn a_reload_that_does_not_concern_the_source_leaves_it_alone() {
    let fleetctl = Double::new("v1.0.0");
    let daemon = watching(&fleetctl, &[]).await;
    daemon.configure("max_clients = 5\ngrace = 10\n");
    daemon.reload().await;
    assert_eq!(fleetctl.calls().iter().filter(|call| *call == &["--version"]).count(), 1);
}

#[tokio::test]
async fn whatever_goes_wrong_the_last_good_rows_stay() {
    let fleetctl = Double::new("v1.0.0");
    let daemon = watching(&fleetctl, &["--poll-timeout", "5"]).await;
    assert_eq!(daemon.get("/readyz").await.0, 200);
    assert_eq!(daemon.health().await["state"], "ok");
    let mut early = daemon.connect().await;
    assert_eq!((early.next().await, early.next().await), (machines("v1.0.0"), units("v1.0.0")));

    let modes = [
        ("fail", "exit status: 1"),
        ("hang", "5 s (--poll-timeout)"),
        ("garbage", "UTF-8"),
        ("cut", "line 30"),
        ("die", "signal: 9 (SIGKILL)"),
        ("usage", "unknown flag"),
        ("flood", "64 MiB"),
    ];
    for (round, (mode, reason)) in modes.into_iter().enumerate() {
        fleetctl.mode(&format!("{mode} list-units"));
        let event = daemon.nth_event(round + 1, "source_down").await;
        assert_eq!(event["severity"], "warning", "{mode}");
        assert!(event["reason"].as_str().unwrap().contains(reason), "{mode}: {event}");
        let line = daemon.log.first(event["text"].as_str().unwrap()).await;
        assert!(line.contains(WARN), "{mode}: {line}");
        let (status, ready) = daemon.get("/readyz").await;
        assert!(
            status == 503 && ready["reason"].as_str().unwrap().contains(reason),
            "{mode}: {status} {ready}"
        );
        let health = daemon.health().await;
        assert_eq!(health["state"], "failing", "{mode}: {health}");
        assert!(health["reason"].as_str().unwrap().contains(reason), "{mode}: {health}");
        assert_eq!(daemon.get("/healthz").await.0, 200, "{mode}");
        let mut late = daemon.connect().await;
        assert_eq!(
            (late.next().await, late.next().await),
            (machines("v1.0.0"), units("v1.0.0")),
            "{mode}"
        );

        fleetctl.mode("replay");
        daemon.nth_event(round + 1, "source_back").await;
        assert_eq!(daemon.get("/readyz").await.0, 200, "{mode}");
        assert_eq!(daemon.events("source_down").await, round + 1, "{mode}");
    }
    let changed = change(&fleetctl, "exited");
    assert_eq!(early.next().await, changed, "something was sent during the failures");
    assert_eq!(daemon.events("source_back").await, modes.len());
}

#[tokio::test]
async fn failures_back_off_and_one_success_ends_that() {
    let fleetctl = Double::new("v1.0.0");
    let options = ["--publish", "polls", "--log", "fleet_monitor=debug"];
    let daemon = watching(&fleetctl, &options).await;
    fleetctl.mode("fail list-units");
    // Each failure is one line of this level, and nothing else has this level.
    daemon.log.nth(6, DEBUG).await;
    let failures = daemon.log.times(DEBUG);
    for (failed, times) in failures.windows(2).enumerate() {
        // At least three quarters of the interval, doubled each time; at most is up to the machine.
        let at_least = Duration::from_millis(100).mul_f64(0.74 * 2_f64.powi(failed as i32 + 1));
        assert!(
            times[1] - times[0] >= at_least,
            "{failed}: {:?} < {at_least:?}",
            times[1] - times[0]
        );
    }
    fleetctl.mode("replay");
    daemon.event("source_back").await;
    let mut client = daemon.connect().await;
    let back = std::time::Instant::now();
    for _ in 0..8 {
        client.next_of("unit").await;
    }
    assert!(
        back.elapsed() < Duration::from_secs(15),
        "it still polls as slowly as while it failed"
    );
}

#[tokio::test]
async fn polls_of_one_kind_never_overlap() {
    let fleetctl = Double::new("v1.0.0");
    fleetctl.mode("hang list-units");
    let mut polls = fleetctl.processes();
    let options = ["--unit-freq", "0.2", "--machine-freq", "3600", "--poll-timeout", "0.4"];
    let daemon = Daemon::asking(&fleetctl, &options).await;
    for poll in 0..4 {
        polls.next().await;
        let children = daemon.children().len();
        // With the first one, machines and unit files are asked for. On a busy machine this one has
        // been killed by now.
        assert!(
            poll == 0 || children <= 2,
            "{children} processes: a fleetctl and its child were to be there alone"
        );
    }
}

/// It exits with `EX_CONFIG`, and its message contains all of these words.
async fn refused(program: Program, words: &[&str]) {
    let (code, said, _) = program.end().await;
    assert_eq!(code, 78, "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
}

#[tokio::test]
async fn a_fleetctl_that_cannot_be_used_ends_it_with_78() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fleetctl");
    let (data, not_a_program) =
        (format!("{fixtures}/v1.0.0.json"), format!("{fixtures}/not-a-program"));
    let advice = "--fleetctl";
    refused(Program::new(&["-c", "/no/fleetctl"]), &["/no/fleetctl", "No such file", advice]).await;
    refused(
        Program::new(&["-c", "no-such-fleetctl"]),
        &["no-such-fleetctl", "/usr/bin", advice],
    )
    .await;
    refused(Program::new(&["-c", &data]), &[&data, advice]).await;
    refused(Program::new(&["-c", &not_a_program]), &[&not_a_program, "Exec format error"]).await;

    let osquery = Double::new("v1.0.0");
    osquery.mode("osquery");
    refused(Program::asking(&osquery, &[]), &["osquery", advice]).await;
    let old = Double::new("v0.4.0");
    refused(Program::asking(&old, &[]), &["v0.4.0", "v0.5.0", advice]).await;
}

/// It worked at the start: a later replacement is a failure that is retried.
#[tokio::test]
async fn a_fleetctl_that_goes_away_later_does_not_end_it() {
    let fleetctl = Double::new("v1.0.0");
    let daemon = watching(&fleetctl, &[]).await;
    let (command, away) = (fleetctl.command(), fleetctl.command().with_extension("away"));
    fs::rename(&command, &away).unwrap();
    let reason = daemon.event("source_down").await["reason"].take();
    assert!(reason.as_str().unwrap().contains(command.to_str().unwrap()), "{reason}");
    assert!(reason.as_str().unwrap().contains("No such file"), "{reason}");
    let mut client = daemon.connect().await;
    assert_eq!(client.next_of("unit").await, units("v1.0.0"));
    fs::rename(&away, &command).unwrap();
    daemon.event("source_back").await;
}

#[tokio::test]
async fn a_port_in_use_ends_it_with_status_1_and_systemd_gets_no_readiness() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let fleetctl = Double::new("v1.0.0");
    let program = Program::asking(&fleetctl, &["-p", &address.port().to_string()]);
    let (code, said, notices) = program.end().await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&address.to_string()) && said.contains("--port"), "{said}");
    assert!(!notices.contains(&"READY=1".to_owned()), "{notices:?}");
    assert_eq!(fleetctl.calls().len(), 0, "fleet was asked although nobody can be told");
}

#[tokio::test]
async fn auto_takes_the_fleetctl_in_path_where_there_is_no_socket() {
    let fleetctl = Double::new("v0.11.8");
    let directory = fleetctl.command().parent().unwrap().to_owned();
    let path = format!("{}:/usr/bin:/bin", directory.display());
    let daemon = Program::new(&[]).environment("PATH", path).start().await;
    daemon.log.first("unix:///var/run/fleet.sock").await;
    let mut client = daemon.connect().await;
    assert_eq!(client.next_of("unit").await, units("v0.11.8"));
}

#[tokio::test]
async fn an_api_makes_the_messages_that_fleetctl_makes() {
    let recording = ApiRecording::load("fleetd-v1.0.0");
    let fleetd = Fleetd::unix(ApiRecording::load("fleetd-v1.0.0").respond());
    let mut daemon = Program::new(&["--api", fleetd.address()]).start().await;
    daemon.log.first(fleetd.address()).await;
    daemon.source_is("ok").await;
    let mut client = daemon.connect().await;
    assert_eq!(client.next().await["items"], json!(recording.fleetctl("list-machines")));
    let rows: Vec<_> = recording
        .fleetctl("list-units")
        .into_iter()
        .map(|row| row[..5].to_vec())
        .collect();
    assert_eq!(client.next().await["items"], json!(rows));
    drop((fleetd, client));
    daemon.event("source_down").await;
    assert_eq!(daemon.stop(Signal::TERM).await.code(), Some(0));
}

#[tokio::test]
async fn auto_with_nothing_to_read_from_ends_with_78_and_says_what_to_try() {
    let empty = TempDir::new().unwrap();
    let program = Program::new(&[]).environment("PATH", empty.path());
    let words = [
        "unix:///var/run/fleet.sock",
        "fleetctl",
        "-e",
        "-t",
        "--api",
        "--fleetctl",
        "--demo",
    ];
    refused(program, &words).await;
}

#[tokio::test]
async fn errors_at_the_start_have_these_words() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let empty = TempDir::new().unwrap();
    let directory = TempDir::new().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "two words").unwrap();

    let (demo, token) = (
        |more: &[&str]| Program::new(&[&["--demo"], more].concat()),
        token.to_str().unwrap(),
    );
    let programs = [
        ("a port in use", demo(&["--port", &port])),
        ("a file in the place of a socket", demo(&["--listen", "unix:///dev/null"])),
        ("no directory for a socket", demo(&["--listen", "unix:///nowhere/a.sock"])),
        ("an address of another machine", demo(&["--bind", "192.0.2.1", "--port", "1"])),
        ("no token file", demo(&["--token-file", "/nowhere/token"])),
        ("no token in the file", demo(&["--token-file", token])),
        (
            "a recording that cannot be written",
            Program::new(&["-c", "/bin/true", "--record", "/nowhere/recording"]),
        ),
        ("nothing to read from", Program::new(&[]).environment("PATH", empty.path())),
    ];
    let mut told = Vec::new();
    for (given, program) in programs {
        let (code, said, _) = program.end().await;
        let said = said
            .replace(&port, "PORT")
            .replace(token, "FILE")
            .replace(empty.path().to_str().unwrap(), "PATH");
        // Lines of the log begin with a time.
        let notices: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("fleet-monitor: "))
            .collect();
        told.push((format!("{given}: exit status {code}"), notices.join("\n")));
    }
    assert_catalogue("start-failures", told);
}

/// The messages of both types, up to the last one that the test waits for.
async fn messages_until(client: &mut Client, last: &Value) -> (Vec<Value>, Vec<Value>) {
    let (mut machines, mut units) = (Vec::new(), Vec::new());
    while units.last() != Some(last) {
        let message = client.next().await;
        if message["type"] == "unit" {
            &mut units
        } else {
            &mut machines
        }
        .push(message);
    }
    (machines, units)
}

#[tokio::test]
async fn what_was_recorded_is_replayed() {
    let fleetctl = Double::new("v1.0.0");
    fleetctl.mode("leave list-units");
    let mut polls = fleetctl.processes();
    let directory = TempDir::new().unwrap();
    let recording = directory.path().join("recording.jsonl");
    let recording = recording.to_str().unwrap();
    let mut daemon = Daemon::asking(&fleetctl, &arguments(&["--record", recording])).await;
    let mut client = daemon.connect().await;
    for _ in 0..4 {
        polls.next().await;
    }
    fleetctl.mode("fail list-units");
    daemon.event("source_down").await;
    fleetctl.mode("replay");
    let last = change(&fleetctl, "exited");
    let live = messages_until(&mut client, &last).await;
    assert_eq!(live, (vec![machines("v1.0.0")], vec![units("v1.0.0"), last.clone()]));
    daemon.stop(Signal::TERM).await;

    // Slow polls, so that the client is connected before the change.
    let mut daemon = Program::new(&["--replay", recording, "--replay-speed", "0.3"])
        .start()
        .await;
    let mut client = daemon.connect().await;
    assert_eq!(messages_until(&mut client, &last).await, live);
    daemon.event("source_down").await;
    daemon.source_is("ended").await;
    let health = daemon.health().await;
    assert_eq!(
        (&health["recording"], &health["source"]),
        (&json!(true), &json!("recording of fleetctl v1.0.0"))
    );
    let mut late = daemon.connect().await;
    assert_eq!((late.next().await, late.next().await), (machines("v1.0.0"), last));
    assert_eq!(daemon.stop(Signal::TERM).await.code(), Some(0));
}

#[tokio::test]
async fn a_wrong_line_in_a_recording_ends_it_with_78_and_is_named() {
    let directory = TempDir::new().unwrap();
    let recording = directory.path().join("recording.jsonl");
    fs::write(
        &recording,
        "{\"recording\":1}\n{\"t\":0,\"topic\":\"units\",\"states\":[]}\n{\"t\":1,\"topic\":\"un\n",
    )
    .unwrap();
    let program = Program::new(&["--replay", recording.to_str().unwrap()]);
    refused(program, &[recording.to_str().unwrap(), "line 3: "]).await;
    refused(Program::new(&["--replay", "/no/recording"]), &["/no/recording", "No such file"]).await;
}

#[tokio::test]
async fn the_demo_moves_and_says_that_it_is_a_recording() {
    let daemon = Program::new(&["--demo", "--replay-speed", "20"]).start().await;
    let mut client = daemon.connect().await;
    let mut before = client.next_of("unit").await;
    for _ in 0..5 {
        let next = client.next_of("unit").await;
        assert_ne!(next, before);
        before = next;
    }
    let health = daemon.health().await;
    assert_eq!(health["recording"], true, "{health}");
    assert!(
        health["source"]
            .as_str()
            .unwrap()
            .starts_with("recording of fleetctl v1.0.0"),
        "{health}"
    );
}

/// The columns with which the prototype's dashboard can show units with the same name.
const WITH_KEY: &str = "key,load,active,sub,machine";

/// Connects two clients of the first protocol, one after the other. The program looks at its
/// clients right after it has written the status line, which has their number. So it has looked at
/// the first one by the time that the line has both.
async fn clients_that_were_looked_at(daemon: &Daemon) -> [Client; 2] {
    let connect = async || {
        let before = daemon.notices.count("STATUS=");
        let mut client = daemon.connect().await;
        client.next_of("unit").await;
        daemon.notices.nth(before + 1, "STATUS=").await;
        client
    };
    [connect().await, connect().await]
}

#[tokio::test]
async fn the_log_of_the_demo_says_once_that_a_dashboard_may_need_keys() {
    let daemon = Program::new(&["--demo"]).start().await;
    let _clients = clients_that_were_looked_at(&daemon).await;

    let entry = daemon.log.first(WITH_KEY).await;
    assert!(entry.contains(" WARN "), "{entry}");

    let _others = clients_that_were_looked_at(&daemon).await;
    assert_eq!(daemon.log.count(WITH_KEY), 1);
}

#[tokio::test]
async fn the_log_says_nothing_of_keys_if_they_are_there_or_if_somebody_uses_the_second_protocol() {
    let with_keys = Program::new(&["--demo", "--unit-fields", WITH_KEY]).start().await;
    let with_second = Program::new(&["--demo"]).start().await;
    let _second = with_second.connect_to_events().await;

    for daemon in [with_keys, with_second] {
        let _clients = clients_that_were_looked_at(&daemon).await;
        assert_eq!(daemon.log.count(WITH_KEY), 0, "{:#?}", daemon.log.all());
    }
}

/// A recording of one machine and one unit, which ends in the state `sub`. With it a short test
/// shows what the program has to survive for hours: polls that fail in every way, and many clients.
fn recorded_part(source: &str, unit: &str, sub: &str) -> String {
    let state = |sub: &str| json!({"unit": unit, "machine": "m1", "ip": "10.0.0.1", "load": "loaded", "active": "active", "sub": sub});
    let lines = [
        json!({"recording": 1, "source": source}),
        json!({"t": 0, "topic": "machines", "machines": [{"id": "m1", "ip": "10.0.0.1"}]}),
        json!({"t": 0, "topic": "unit_files", "files": [{"unit": unit, "desired": "launched", "target": "m1"}]}),
        json!({"t": 0, "topic": "units", "states": [state("start")]}),
        json!({"t": 1, "topic": "units", "states": [state(sub)]}),
    ];
    lines.map(|line| format!("{line}\n")).concat()
}

#[tokio::test]
async fn a_client_goes_on_when_a_recording_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let recording = directory.path().join("recording.jsonl");
    let parts =
        ["running", "exited", "dead"].map(|sub| recorded_part("fleetctl v1.0.0", "a.service", sub));
    std::fs::write(&recording, parts.concat()).unwrap();
    let mut daemon = Program::new(&["--replay", recording.to_str().unwrap()]).start().await;
    let mut client = daemon.connect().await;
    // A state that the next part overwrites at once may be missed; the end of the last part is not.
    while client.next_of("unit").await["items"][0][3] != "dead" {}
    daemon.stop(Signal::TERM).await;
}

#[tokio::test]
async fn a_reload_to_another_cluster_forgets_the_old_one() {
    let mut daemon = {
        let program = Program::new(&[]);
        for name in ["a", "b"] {
            std::fs::write(
                program.path(name),
                recorded_part(name, &format!("{name}.service"), "running"),
            )
            .unwrap();
        }
        program.configure(&format!("replay = {:?}", program.path("a")));
        program.start().await
    };
    let mut client = daemon.connect().await;
    while client.next_of("unit").await["items"][0][3] != "running" {}
    daemon.configure(&format!("replay = {:?}", daemon.path("b")));
    daemon.reload().await;
    let items = client.next_of("unit").await["items"].clone();
    assert_eq!(items.as_array().map(Vec::len), Some(1), "{items}");
    assert_eq!(items[0][0], "b.service");
    assert_eq!(daemon.events("gone").await, 0, "what was forgotten has not gone");
    daemon.stop(Signal::TERM).await;
}

#[tokio::test]
async fn output_of_fleetctl_cannot_forge_a_notification_to_systemd() {
    let directory = tempfile::tempdir().unwrap();
    let recording = directory.path().join("recording.jsonl");
    let error = format!("no\nWATCHDOG=trigger\n{}", "x".repeat(100_000));
    let lines = [
        json!({"recording": 1, "source": "a\nSTOPPING=1"}),
        json!({"t": 0, "topic": "units", "error": error}),
    ];
    std::fs::write(&recording, lines.map(|line| format!("{line}\n")).concat()).unwrap();
    let mut daemon = Program::new(&["--replay", recording.to_str().unwrap()]).start().await;
    let status = daemon.notices.first("no WATCHDOG=trigger xxx").await;
    assert!(
        status.starts_with("STATUS=recording of a STOPPING=1: ") && status.len() < 1000,
        "{status}"
    );
    daemon.stop(Signal::TERM).await;
}

#[tokio::test]
async fn a_watchdog_of_no_time_is_none() {
    let fleetctl = Double::new("v1.0.0");
    let program = Program::asking(&fleetctl, &arguments(&[])).environment("WATCHDOG_USEC", "0");
    let mut daemon = program.start().await;
    daemon.source_is("ok").await;
    daemon.stop(Signal::TERM).await;
}

#[tokio::test]
async fn a_services_variables_are_named_once_and_not_at_a_reload() {
    let program = Program::new(&["--demo", "--port", "0"]);
    let program = program
        .environment("FLEET_MONITOR_PORT", "tcp://10.96.0.7:8989")
        .environment("FLEET_MONITOR_SERVICE_HOST", "10.96.0.7");
    let mut daemon = program.start().await;
    daemon.configure("grace = 20");
    daemon.reload().await;
    daemon.stop(Signal::TERM).await;
    assert_eq!(daemon.log.count("FLEET_MONITOR_SERVICE_HOST"), 1, "{:#?}", daemon.log.all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_stay_whatever_goes_wrong_and_nothing_grows() {
    const CLIENTS: usize = 1000;
    OpenFileLimit::raise();
    let fleetctl = Double::new("v1.0.0");
    let options = ["--poll-timeout", "1", "--log", "fleet_monitor=debug"];
    let mut daemon = watching(&fleetctl, &options).await;
    let (connected, mut connections) = mpsc::channel(CLIENTS);
    let mut clients = JoinSet::new();
    let last = {
        let mut last = units("v1.0.0");
        last["items"][0][3] = "exited".into();
        last
    };
    for _ in 0..CLIENTS {
        let mut client = daemon.connect().await;
        let (connected, last) = (connected.clone(), last.clone());
        clients.spawn(async move {
            assert_eq!(
                (client.next().await, client.next().await),
                (machines("v1.0.0"), units("v1.0.0"))
            );
            connected.send(()).await.unwrap();
            // A client that is dropped does not get this far.
            assert_eq!(client.next().await, last);
            client
        });
    }
    for _ in 0..CLIENTS {
        connections.recv().await.unwrap();
    }
    let mut memory = Vec::new();
    let mut rounds = 0;
    for _ in 0..3 {
        for mode in ["fail", "hang", "flood", "garbage", "die"] {
            rounds += 1;
            fleetctl.mode(&format!("{mode} list-units"));
            daemon.counts(2, FAILURES).await;
            fleetctl.mode("replay");
            daemon.nth_event(rounds, "source_back").await;
        }
        memory.push(daemon.memory());
    }
    // The client that waited for the events may still be connected.
    let clients_are_there = async { while daemon.health().await["clients"] != CLIENTS {} };
    tokio::time::timeout(Duration::from_secs(60), clients_are_there)
        .await
        .expect("all clients, and no others");
    assert!(memory[2] < memory[0] + 16 * 1024, "memory grows, in KiB: {memory:?}");
    assert_eq!(change(&fleetctl, "exited"), last);
    let mut clients = clients.join_all().await;
    assert_eq!(clients.len(), CLIENTS);
    let status = daemon.stop(Signal::TERM).await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(clients.pop().unwrap().close().await.code, CloseCode::Away);
}
