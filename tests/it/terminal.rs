//! The commands `status`, `unit` and `check` against the real program: what they print, and with
//! which exit status they end.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::snapshots::assert_catalogue;
use crate::support::{Daemon, Program};

const MACHINE: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";

/// The result of a command.
struct Output {
    status: i32,
    stdout: String,
    stderr: String,
}

/// Runs the program with these arguments, and no environment but `variables`.
async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);

    let output = timeout(Duration::from_secs(30), command.output())
        .await
        .expect("it ends")
        .unwrap();
    Output {
        status: output.status.code().expect("an exit status"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command that asks this monitor.
async fn ask(daemon: &Daemon, arguments: &[&str]) -> Output {
    let url = format!("http://{}", daemon.address);
    run(arguments, &[("FLEET_MONITOR_URL", &url)]).await
}

/// A recording of one moment, in which each unit has this state.
fn recording(directory: &Path, units: &[(&str, &str)]) -> String {
    let states: Vec<Value> = units
        .iter()
        .map(|(unit, active)| {
            let sub = if *active == "active" { "running" } else { active };
            json!({"unit": unit, "machine": MACHINE, "ip": "10.0.0.1", "load": "loaded",
                   "active": active, "sub": sub})
        })
        .collect();
    let files: Vec<Value> = units
        .iter()
        .map(|(unit, _)| json!({"unit": unit, "desired": "launched", "target": MACHINE}))
        .collect();
    let lines = [
        json!({"recording": 1, "source": "fleetctl v1.0.0"}),
        json!({"t": 0.0, "took": 0.0, "topic": "machines",
               "machines": [{"id": MACHINE, "ip": "10.0.0.1"}]}),
        json!({"t": 0.0, "took": 0.0, "topic": "unit_files", "files": files}),
        json!({"t": 0.0, "took": 0.0, "topic": "units", "states": states}),
    ];

    let path = directory.join("recording.jsonl");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A monitor that has read this recording to its end. To it, what is wrong is a problem at once.
async fn monitor(units: &[(&str, &str)], arguments: &[&str]) -> Daemon {
    patient_monitor(units, &[&["--problem-after", "0"], arguments].concat()).await
}

/// The same, but nothing has been wrong for long enough to be a problem.
async fn patient_monitor(units: &[(&str, &str)], arguments: &[&str]) -> Daemon {
    let directory = TempDir::new().unwrap();
    let path = recording(directory.path(), units);

    let daemon = Program::new(&[&["--replay", &path], arguments].concat())
        .start()
        .await;
    daemon.source_is("ended").await;
    daemon
}

const WELL: [(&str, &str); 2] = [("a.service", "active"), ("b.service", "active")];
const WRONG: [(&str, &str); 2] = [("a.service", "active"), ("b.service", "failed")];

#[tokio::test]
async fn status_says_what_is_wrong_and_its_exit_status_whether_anything_is() {
    let well = monitor(&WELL, &[]).await;
    let output = ask(&well, &["status"]).await;
    assert_eq!((output.status, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    assert!(output.stdout.contains("10.0.0.1") && !output.stdout.contains("a.service"));

    let wrong = monitor(&WRONG, &[]).await;
    let output = ask(&wrong, &["status"]).await;
    assert_eq!(output.status, 1, "{}", output.stdout);
    assert!(output.stdout.contains("b.service") && !output.stdout.contains("a.service"));

    let all = ask(&wrong, &["status", "--all"]).await;
    assert!(all.stdout.contains("a.service"), "{}", all.stdout);
    assert!(!output.stdout.contains('\u{1b}'), "no colours into a pipe");
    assert!(
        ask(&wrong, &["status", "--color", "always"])
            .await
            .stdout
            .contains('\u{1b}')
    );
}

#[tokio::test]
async fn what_has_not_been_wrong_for_long_enough_is_no_problem() {
    let wrong = patient_monitor(&WRONG, &[]).await;

    let status = ask(&wrong, &["status"]).await;
    assert_eq!(status.status, 0, "{}", status.stdout);
    assert!(status.stdout.contains("1 failed"), "it is mentioned: {}", status.stdout);
    assert!(!status.stdout.contains("b.service"), "{}", status.stdout);

    let check = ask(&wrong, &["check"]).await;
    assert_eq!(check.status, 0, "{}", check.stdout);
    assert!(check.stdout.contains("1 failed"), "it is mentioned: {}", check.stdout);
    let check = ask(&wrong, &["check", "--for", "0"]).await;
    assert_eq!(check.status, 2, "a time of its own counts instead: {}", check.stdout);
}

#[tokio::test]
async fn a_filter_selects_what_is_assessed() {
    let wrong = monitor(&WRONG, &[]).await;

    assert_eq!(ask(&wrong, &["status", "a.service"]).await.status, 0);
    assert_eq!(ask(&wrong, &["check", "unit:a.service"]).await.status, 0);
    assert_eq!(ask(&wrong, &["check", "unit:b.service"]).await.status, 2);

    let unknown = ask(&wrong, &["status", "stat:failed"]).await;
    assert_eq!((unknown.status, unknown.stdout.as_str()), (3, ""));
    assert!(unknown.stderr.contains("stat"), "{}", unknown.stderr);
}

#[tokio::test]
async fn times_are_in_utc_or_in_the_zone_of_the_terminal_as_the_reader_chooses() {
    let daemon = monitor(&[("db.service", "failed")], &[]).await;
    let url = format!("http://{}", daemon.address);
    // A zone that needs no file of the host, and one that no host has.
    for (zone, arguments, expected) in [
        ("IST-5:30", &[][..], Some("UTC")),
        ("IST-5:30", &["--time", "utc"], Some("UTC")),
        ("IST-5:30", &["--time", "local"], Some("+05:30")),
        ("Nowhere/Land", &["--time", "local"], Some("UTC")),
        ("IST-5:30", &["--time", "relative"], None),
    ] {
        for command in [&["status"][..], &["unit", "db"]] {
            let arguments = [command, arguments].concat();
            let variables = [("FLEET_MONITOR_URL", &*url), ("TZ", zone)];
            let text = run(&arguments, &variables).await.stdout;

            let zones = ["UTC", "+05:30"].map(|zone| text.contains(zone));
            let expected = ["UTC", "+05:30"].map(|zone| Some(zone) == expected);
            assert_eq!(zones, expected, "{arguments:?} in {zone}:\n{text}");
            assert!(text.contains("≥ "), "there is always an age:\n{text}");
        }
    }
}

#[tokio::test]
async fn json_is_the_state_as_the_server_has_it() {
    let wrong = monitor(&WRONG, &[]).await;

    let output = ask(&wrong, &["status", "--json"]).await;
    assert_eq!(output.status, 1);
    let printed: Value = serde_json::from_str(&output.stdout).unwrap();
    let (_, served) = wrong.get("/v2/state").await;
    assert_eq!(printed["units"], served["units"]);
    assert!(output.stdout.ends_with('\n'));

    let output = ask(&wrong, &["unit", "b", "--json"]).await;
    let printed: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(printed, json!([served["units"][1]]));
}

#[tokio::test]
async fn a_unit_is_found_without_its_suffix_and_a_missing_one_is_named() {
    let wrong = monitor(&WRONG, &[]).await;

    let output = ask(&wrong, &["unit", "b"]).await;
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    for expected in ["b.service", "10.0.0.1", "failed", "fleetctl status b.service"] {
        assert!(output.stdout.contains(expected), "{expected}: {}", output.stdout);
    }

    let problem = output.stdout.lines().find(|line| line.starts_with("  problem"));
    assert!(problem.expect("its problem").contains("b.service"), "{problem:?}");
    let output = ask(&wrong, &["unit", "a"]).await;
    assert!(!output.stdout.contains("  problem"), "{}", output.stdout);

    let output = ask(&wrong, &["unit", "b", "c"]).await;
    assert_eq!(output.status, 1);
    assert!(output.stdout.contains("b.service") && output.stderr.contains("no unit c"));
}

/// A recording in which `b.service` fails and is started again four times, and then so much happens
/// to others that the newest events of the cluster have none of it.
fn flapping(directory: &Path) -> String {
    let path = recording(directory, &WELL);
    let text = std::fs::read_to_string(&path).unwrap();
    let states: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let mut states = states["states"].as_array().unwrap().clone();
    let others = (0..600).map(|number| {
        let mut state = states[0].clone();
        state["unit"] = format!("other-{number:03}.service").into();
        state
    });
    states.extend(others.collect::<Vec<_>>());

    let mut text = text;
    for step in 1..=11 {
        let is_failed = step <= 8 && step % 2 == 1;
        states[1]["active"] = if is_failed { "failed" } else { "active" }.into();
        states[1]["sub"] = if is_failed { "failed" } else { "running" }.into();
        if step > 8 {
            for other in &mut states[2..] {
                other["sub"] = if step % 2 == 1 { "exited" } else { "running" }.into();
            }
        }
        let line = json!({"t": f64::from(step) / 10.0, "topic": "units", "states": states});
        text += &format!("{line}\n");
    }
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn the_last_hour_of_a_unit_is_known_although_much_happened_to_others_since() {
    let directory = TempDir::new().unwrap();
    let path = flapping(directory.path());
    let daemon = Program::new(&["--replay", &path]).start().await;
    daemon.source_is("ended").await;
    let (_, state) = daemon.get("/v2/state?topics=events&filter=unit:b.service").await;
    assert_eq!(state["transitions"], json!([]), "the newest events are those of others");

    let output = ask(&daemon, &["unit", "b"]).await;
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let hour = output
        .stdout
        .lines()
        .find(|line| line.contains("last hour"))
        .expect("a line");
    assert!(hour.contains("8 changes") && hour.contains("flapping"), "{hour}");
    assert!(hour.ends_with("4 times") && hour.contains('x'), "{hour}");
    let events = output.stdout.matches("b.service on 10.0.0.1: ").count();
    assert_eq!(events, 8, "{}", output.stdout);

    let quiet = ask(&daemon, &["unit", "a"]).await.stdout;
    assert!(quiet.contains("no changes") && !quiet.contains("flapping"), "{quiet}");
}

#[tokio::test]
async fn of_a_server_without_histories_the_newest_events_are_shown() {
    let directory = TempDir::new().unwrap();
    let path = flapping(directory.path());
    let daemon = Program::new(&["--replay", &path, "--history", "0"]).start().await;
    daemon.source_is("ended").await;

    let output = ask(&daemon, &["unit", "other-000"]).await;
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    assert!(output.stdout.contains("other-000.service on 10.0.0.1: "), "{}", output.stdout);
    let output = ask(&daemon, &["unit", "b"]).await;
    assert!(!output.stdout.contains("flapping"), "{}", output.stdout);
}

#[tokio::test]
async fn a_unit_has_the_commands_and_the_links_of_the_server_and_the_status_the_first_of_them() {
    let link = ["--link", "Logs=https://logs.example/{unit}?host={ip}"];
    let wrong = monitor(&WRONG, &link).await;

    let unit = ask(&wrong, &["unit", "b"]).await;
    assert_eq!((unit.status, unit.stderr.as_str()), (0, ""));
    let (_, next) = unit.stdout.split_once("\nNext:\n").expect("next steps");
    let next: Vec<&str> = next.lines().map(str::trim_start).collect();
    assert_eq!(next[0], "fleetctl journal --lines=50 b.service");
    assert!(next.contains(&&*format!("fleetctl ssh {MACHINE}")), "{next:?}");
    assert_eq!(next.last(), Some(&"Logs: https://logs.example/b.service?host=10.0.0.1"));

    let status = ask(&wrong, &["status"]).await;
    let last = status.stdout.lines().last().unwrap();
    assert!(last.ends_with(next[0]), "{last}");
    let well = monitor(&WELL, &link).await;
    let status = ask(&well, &["status"]).await;
    assert!(!status.stdout.contains("fleetctl journal"), "{}", status.stdout);
}

/// A server that has this state, and an error of this status at every other path.
async fn server_of_state(state: Value, status: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();

    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut lines = BufReader::new(&mut stream).lines();
            let request = lines.next_line().await.unwrap().unwrap_or_default();
            while lines.next_line().await.unwrap().is_some_and(|line| !line.is_empty()) {}

            let (status, body) = match request.contains("/v2/state") {
                true => (200, state.to_string()),
                false => (status, json!({"error": {"message": "no such thing"}}).to_string()),
            };
            let head = format!(
                "HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_server_without_next_steps_is_shown_all_the_same() {
    let wrong = monitor(&WRONG, &[]).await;
    let (_, state) = wrong.get("/v2/state").await;

    let old = server_of_state(state.clone(), 404).await;
    let broken = server_of_state(state, 500).await;
    for command in [&["status"] as &[&str], &["unit", "b"]] {
        let of_old = run(&[command, &["--url", &old]].concat(), &[]).await;
        assert!(of_old.stdout.contains("b.service"), "{}", of_old.stdout);
        assert!(!of_old.stdout.contains("fleetctl journal"), "{}", of_old.stdout);
        assert_eq!(of_old.stderr, "", "an older server is no problem");

        let of_broken = run(&[command, &["--url", &broken]].concat(), &[]).await;
        assert_eq!((of_broken.status, &of_broken.stdout), (of_old.status, &of_old.stdout));
        assert_eq!(of_broken.stderr.lines().count(), 1, "{}", of_broken.stderr);
        assert!(of_broken.stderr.contains("500"), "{}", of_broken.stderr);
    }
}

#[tokio::test]
async fn of_a_server_without_problems_the_verdicts_count() {
    let wrong = monitor(&WRONG, &[]).await;
    let (_, mut state) = wrong.get("/v2/state").await;
    let problems = state.as_object_mut().unwrap().remove("problems");
    assert_eq!(problems.expect("a list")[0]["kind"], "failed");

    let old = server_of_state(state, 404).await;
    let status = run(&["status", "--url", &old], &[]).await;
    assert_eq!((status.status, status.stderr.as_str()), (1, ""), "{}", status.stdout);
    assert!(status.stdout.contains("b.service") && !status.stdout.contains("a.service"));
    let check = run(&["check", "--url", &old], &[]).await;
    assert_eq!(check.status, 2, "{}", check.stdout);
    let unit = run(&["unit", "b", "--url", &old], &[]).await;
    assert!(!unit.stdout.contains("  problem"), "{}", unit.stdout);
}

#[tokio::test]
async fn check_prints_one_line_and_ends_as_monitoring_systems_expect() {
    let wrong = monitor(&WRONG, &[]).await;

    for (arguments, status) in [
        (&["check"][..], 2),
        (&["check", "--warning", "1"], 1),
        (&["check", "--warning", "stale", "--critical", "failed=2"], 0),
        (&["check", "--critical", "stale,failed"], 2),
        (&["check", "--for", "3600"], 0),
        (&["check", "--critical", "faild"], 3),
        (&["check", "stat:failed"], 3),
    ] {
        let output = ask(&wrong, arguments).await;
        assert_eq!(output.status, status, "{arguments:?}: {}{}", output.stdout, output.stderr);
        assert_eq!(output.stdout.lines().count(), 1, "{arguments:?}: {}", output.stdout);
    }
}

#[tokio::test]
async fn nothing_is_said_of_a_cluster_that_cannot_be_read() {
    let daemon = Program::new(&["--api", "http://127.0.0.1:1"]).start().await;
    daemon.source_is("failing").await;

    let status = ask(&daemon, &["status"]).await;
    assert_eq!(status.status, 3, "{}", status.stdout);
    let check = ask(&daemon, &["check"]).await;
    assert_eq!(check.status, 3, "{}", check.stdout);
    assert!(check.stdout.starts_with("UNKNOWN"), "{}", check.stdout);
}

/// The answer of a monitor to a program that prefers plain text: its head and its body.
async fn plain_text(daemon: &Daemon, target: &str) -> (String, String) {
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();

    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

/// The words of a text. Numbers are left out, since ages grow.
fn words(text: &str) -> Vec<&str> {
    let is_age = |word: &&str| word.parse::<u64>().is_err();
    text.split_whitespace().filter(is_age).collect()
}

#[tokio::test]
async fn a_program_that_prefers_plain_text_gets_what_status_prints() {
    let wrong = monitor(&WRONG, &[]).await;

    let printed = ask(&wrong, &["status"]).await.stdout;
    let (head, served) = plain_text(&wrong, "/").await;
    assert!(head.contains("content-type: text/plain"), "{head}");
    assert_eq!(words(&served), words(&printed));
    assert!(served.contains("b.service"), "{served}");

    let (_, filtered) = plain_text(&wrong, "/?filter=unit:a.service").await;
    assert!(!filtered.contains("b.service"), "{filtered}");
    let (refused, _) = plain_text(&wrong, "/?filter=stat:failed").await;
    assert!(refused.starts_with("http/1.1 400"), "{refused}");

    let (_, page) = wrong.text("/").await;
    assert!(page.contains("<html"), "whoever accepts anything gets the page");
}

#[tokio::test]
async fn plain_text_needs_the_token_as_the_state_does() {
    let directory = TempDir::new().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "secret\n").unwrap();
    let arguments = ["--api", "http://127.0.0.1:1", "--token-file", token.to_str().unwrap()];
    let protected = Program::new(&arguments).start().await;

    let (head, body) = plain_text(&protected, "/").await;
    assert!(head.starts_with("http/1.1 401"), "{head}{body}");
}

/// A server that answers everything with these bytes, and its URL.
async fn server(response: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();

    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = BufReader::new(&mut stream).lines();
            while request
                .next_line()
                .await
                .unwrap()
                .is_some_and(|line| !line.is_empty())
            {}
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn what_prevents_an_answer_is_one_sentence_that_says_what_to_do() {
    let directory = TempDir::new().unwrap();
    let token = directory.path().join("token");
    let wrong_token = directory.path().join("wrong-token");
    std::fs::write(&token, "secret\n").unwrap();
    std::fs::write(&wrong_token, "guess\n").unwrap();
    let [token, wrong_token] = [&token, &wrong_token].map(|path| path.to_str().unwrap());

    let protected = Program::new(&["--api", "http://127.0.0.1:1", "--token-file", token])
        .start()
        .await;
    let url = format!("http://{}", protected.address);
    let with_token = run(&["status", "--url", &url, "--token-file", token], &[]).await;
    assert_eq!(with_token.stderr, "", "{}", with_token.stdout);
    let variables = [("FLEET_MONITOR_URL", &*url), ("FLEET_MONITOR_TOKEN_FILE", token)];
    assert_eq!(run(&["status"], &variables).await.stderr, "");

    let page = server("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<a/>").await;
    let no_http = server("SSH-2.0-OpenSSH_9.2\r\n").await;
    let forbidden = server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let missing = "/nonexistent/fleet-monitor.sock";
    let cases = [
        ("no monitor", vec!["--url", "http://127.0.0.1:1"]),
        ("no socket", vec!["--url", "unix:///nonexistent/fleet-monitor.sock"]),
        ("no token", vec!["--url", &url]),
        ("a wrong token", vec!["--url", &url, "--token-file", wrong_token]),
        ("no token file", vec!["--url", &url, "--token-file", missing]),
        ("a wrong URL", vec!["--url", "ftp://localhost"]),
        ("no CA file", vec!["--url", "https://localhost:1", "--ca", missing]),
        ("another web server", vec!["--url", &page]),
        ("no web server", vec!["--url", &no_http]),
        ("another path", vec!["--url", &forbidden]),
    ];

    let mut texts = Vec::new();
    for (case, arguments) in cases {
        let output = run(&[&["status"], &*arguments].concat(), &[]).await;
        assert_eq!((output.status, output.stdout.as_str()), (3, ""), "{case}");
        assert_eq!(output.stderr.lines().count(), 1, "{case}: {}", output.stderr);
        let text = output
            .stderr
            .replace(&url, "http://MONITOR")
            .replace(&page, "http://SERVER")
            .replace(&no_http, "http://SERVER")
            .replace(&forbidden, "http://SERVER")
            .replace(directory.path().to_str().unwrap(), "DIRECTORY");
        texts.push((case, text));
    }
    assert_catalogue("terminal-errors", texts);
}

#[tokio::test]
async fn a_variable_is_named_if_it_is_wrong_and_counts_as_not_set_if_it_is_empty() {
    let wrong = run(&["status"], &[("FLEET_MONITOR_URL", "ftp://localhost")]).await;
    assert_eq!(wrong.status, 3);
    assert!(wrong.stderr.contains("FLEET_MONITOR_URL") && !wrong.stderr.contains("--url"));

    let well = monitor(&WELL, &[]).await;
    let url = format!("http://{}", well.address);
    let empty = [("FLEET_MONITOR_URL", &*url), ("FLEET_MONITOR_TOKEN_FILE", "")];
    assert_eq!(run(&["status"], &empty).await.stderr, "");
    let overridden = [("FLEET_MONITOR_URL", ""), ("FLEET_MONITOR_TOKEN_FILE", "")];
    assert_eq!(run(&["status", "--url", &url], &overridden).await.stderr, "");
}

#[tokio::test]
async fn a_pipe_that_closes_ends_a_command_quietly() {
    let units: Vec<(String, &str)> = (0..3000)
        .map(|number| (format!("unit-{number:04}.service"), "failed"))
        .collect();
    let units: Vec<(&str, &str)> = units.iter().map(|(unit, state)| (&**unit, *state)).collect();
    let daemon = monitor(&units, &[]).await;

    let mut child = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"))
        .args(["status", "--all", "--url", &format!("http://{}", daemon.address)])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).await.unwrap();

    let output = timeout(Duration::from_secs(30), child.wait_with_output())
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(output.status.code().is_some(), "no signal ends it: {:?}", output.status);
}
