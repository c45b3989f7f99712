//! `fleet-monitor logs` in a pipe and in a real terminal, against a double of the monitor.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::support::snapshots::assert_catalogue;
use crate::support::{LogServer, LogViewer, Terminal, log_line, log_machine, within_timeout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fleet-monitor");
const WEB: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
const DB: &str = "9c4b7a2e1d3f48568e0f1a2b3c4d5e6f";

const CONTROL_C: &str = "\x03";

/// The result of a command.
struct Finished {
    status: i32,
    stdout: String,
    stderr: String,
}

/// A running command.
struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

/// Starts `logs`, with its output in pipes.
fn start(server: &LogServer, arguments: &[&str]) -> Running {
    start_at(&server.url(), arguments)
}

fn start_at(url: &str, arguments: &[&str]) -> Running {
    let mut child = Command::new(PROGRAM)
        .args(["logs", "--url", url])
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    Running { child, stdout, stderr }
}

impl Running {
    /// The next line of stdout.
    async fn line(&mut self) -> String {
        let line = within_timeout("a line", self.stdout.next_line()).await;
        line.unwrap().expect("a line")
    }

    /// The next line of stderr.
    async fn note(&mut self) -> String {
        let note = within_timeout("a note", self.stderr.next_line()).await;
        note.unwrap().expect("a note")
    }

    /// Waits for the end of the command.
    async fn finish(self) -> Finished {
        let Self { mut child, stdout, stderr } = self;
        let mut out = String::new();
        let mut err = String::new();
        let (mut stdout, mut stderr) = (stdout.into_inner(), stderr.into_inner());

        let all = async {
            tokio::try_join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err))?;
            child.wait().await
        };
        let status = within_timeout("the end of the command", all).await.unwrap();
        Finished {
            status: status.code().expect("an exit status"),
            stdout: out,
            stderr: err,
        }
    }
}

/// What `logs` prints if the stream consists of these messages.
async fn printed(arguments: &[&str], messages: &[Value]) -> Finished {
    let mut server = LogServer::alone().await;
    let running = start(&server, arguments);
    server.viewer().await.begin(messages).await;
    running.finish().await
}

fn end() -> Value {
    json!({"type": "end"})
}

/// The first lines of a log that is followed.
async fn followed(server: &mut LogServer) -> LogViewer {
    let mut viewer = server.viewer().await;
    let machine = log_machine(WEB, "10.0.0.1", "connected");
    viewer.begin(&[machine, log_line(WEB, 1, 6, "one")]).await;
    viewer
}

#[tokio::test]
async fn the_last_lines_are_printed_and_notes_are_beside_them() {
    let messages = [
        log_machine(WEB, "10.0.0.1", "connected"),
        log_line(WEB, 1, 6, "one"),
        json!({"type": "missed", "machine": WEB, "lines": 120, "reason": "slow"}),
        log_line(WEB, 2, 3, "two"),
        end(),
    ];

    let output = printed(&["web"], &messages).await;
    assert_eq!(output.status, 0, "{}", output.stderr);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(
        lines,
        ["Nov 14 22:13:20 docker[4711]: one", "Nov 14 22:13:20 docker[4711]: two"]
    );
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(output.stderr.contains("120"), "{}", output.stderr);
}

#[tokio::test]
async fn the_request_has_what_the_arguments_say() {
    for (arguments, expected) in [
        (&["web"][..], json!({"unit": "web.service", "lines": "200", "follow": "no"})),
        (
            &["cron.timer", "-fn", "5", "--machine", "10.0.0.1", "--", "timeout", "-GET"],
            json!({
                "unit": "cron.timer",
                "lines": "5",
                "follow": "yes",
                "machine": "10.0.0.1",
                "filter": "timeout -GET",
            }),
        ),
    ] {
        let mut server = LogServer::alone().await;
        let _running = start(&server, arguments);
        let viewer = server.viewer().await;
        assert_eq!(json!(viewer.query()), expected);
    }
}

#[tokio::test]
async fn a_token_is_sent_in_a_header() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&token, "secret\n").unwrap();
    let mut server = LogServer::alone().await;
    let path = token.path().to_str().unwrap();

    let _running = start(&server, &["web", "--token-file", path]);
    let viewer = server.viewer().await;
    let head = viewer.request.to_ascii_lowercase();
    assert!(head.contains("\r\nauthorization: bearer secret\r\n"), "{head}");
    assert!(!head.contains("token=secret"), "{head}");
}

#[tokio::test]
async fn json_is_one_object_per_line_as_it_was_sent() {
    let hostile = log_line(WEB, 2, 3, "a\u{1b}[2J\u{9b}31mb\nc");
    let sent = [log_line(WEB, 1, 6, "one"), hostile];
    let messages = [&[log_machine(WEB, "10.0.0.1", "connected")], &sent[..], &[end()]].concat();

    let output = printed(&["web", "--json"], &messages).await;
    let lines: Vec<Value> = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, sent);
    let is_control = |char: char| char.is_control() && char != '\n';
    assert!(!output.stdout.contains(is_control), "{:?}", output.stdout);
}

#[tokio::test]
async fn only_the_colours_of_priorities_are_escape_sequences() {
    let messages = [
        log_line(WEB, 1, 3, "failed\u{1b}[2J"),
        log_line(WEB, 2, 6, "well\u{1b}]0;title\u{7}"),
        end(),
    ];

    let plain = printed(&["web"], &messages).await.stdout;
    assert!(!plain.contains(['\u{1b}', '\u{7}']), "{plain:?}");
    let colored = printed(&["web", "--color", "always"], &messages).await.stdout;
    let lines: Vec<&str> = colored.lines().collect();
    assert!(
        lines[0].contains("\u{1b}[31m") && !lines[0].contains("[2J\u{1b}[2J"),
        "{lines:?}"
    );
    assert!(!lines[1].contains('\u{1b}'), "{lines:?}");
}

#[tokio::test]
async fn the_exit_status_says_whether_a_log_was_read() {
    let connected = log_machine(WEB, "10.0.0.1", "connected");
    let failed = log_machine(DB, "10.0.0.2", "failed");

    for (messages, status) in [
        (vec![connected.clone(), failed.clone(), end()], 0),
        (vec![connected, end()], 0),
        (vec![failed, end()], 1),
        (vec![end()], 1),
    ] {
        let output = printed(&["web"], &messages).await;
        assert_eq!(output.status, status, "{messages:?}: {}", output.stderr);
    }
}

#[tokio::test]
async fn what_prevents_a_log_is_one_sentence() {
    let mut server = LogServer::alone().await;
    let mut texts = Vec::new();
    let refusals = [
        ("no such unit", 404, "there is no unit web.service", 1),
        ("a wrong filter", 400, "there is no key stat:", 3),
        ("too many readers", 503, "too many logs are read already; try again later", 3),
        ("no access", 403, "the host is not allowed", 3),
    ];
    for (case, status, message, expected) in refusals {
        for arguments in [&["web"][..], &["web", "-f"]] {
            let running = start(&server, arguments);
            server.viewer().await.refuse(status, message).await;
            let output = running.finish().await;
            assert_eq!((output.status, output.stdout.as_str()), (expected, ""), "{case}");
            assert_eq!(output.stderr.lines().count(), 1, "{case}: {}", output.stderr);
            if arguments.len() == 1 {
                texts.push((case, output.stderr));
            }
        }
    }

    let running = start(&server, &["web"]);
    let mut viewer = server.viewer().await;
    viewer.begin(&[log_machine(WEB, "10.0.0.1", "connected")]).await;
    drop(viewer);
    let cut_off = running.finish().await;
    assert_eq!(cut_off.status, 3, "what is missing would not be noticed");
    texts.push(("cut off", cut_off.stderr));

    for (case, garbage) in [
        ("no JSON", "data: Hello\n\n"),
        ("another message", "data: {\"type\":\"line\",\"time\":\"now\"}\n\n"),
    ] {
        let running = start(&server, &["web", "-f"]);
        let mut viewer = server.viewer().await;
        viewer.begin(&[]).await;
        viewer.write(garbage).await;
        let output = running.finish().await;
        assert_eq!(output.status, 3, "{case}: {}", output.stderr);
        texts.push((case, output.stderr));
    }

    let nobody = start_at("http://127.0.0.1:1", &["web", "-f"]).finish().await;
    assert_eq!(nobody.status, 3);
    texts.push(("no monitor", nobody.stderr));

    let url = server.url();
    let texts = texts
        .into_iter()
        .map(|(case, text)| (case, text.trim_end().replace(&url, "http://MONITOR")));
    assert_catalogue("log-errors", texts);
}

#[tokio::test]
async fn a_log_is_followed_line_by_line_to_another_machine() {
    let mut server = LogServer::alone().await;
    let mut running = start(&server, &["web", "-f"]);
    let mut viewer = followed(&mut server).await;
    assert!(running.line().await.ends_with("one"));

    viewer.send(&[log_line(WEB, 2, 6, "two")]).await;
    assert!(running.line().await.ends_with("two"));

    let moved = json!({"type": "moved", "machine": DB});
    let machine = log_machine(DB, "10.0.0.2", "connected");
    viewer.send(&[moved, machine, log_line(DB, 3, 6, "three")]).await;
    let note = running.note().await;
    assert!(note.contains("web.service") && note.contains("10.0.0.2"), "{note}");
    let line = running.line().await;
    assert!(line.contains(" 10.0.0.2 docker") && line.ends_with("three"), "{line}");
}

#[tokio::test]
async fn a_lost_connection_is_opened_again_without_printing_a_line_twice() {
    let mut server = LogServer::alone().await;
    let mut running = start(&server, &["web", "-f"]);
    drop(followed(&mut server).await);
    assert!(running.line().await.ends_with("one"));
    let note = running.note().await;
    assert!(note.contains(&server.address.to_string()), "{note}");

    // As right after a restart: the unit is not known yet, or there is no answer at all.
    server
        .viewer()
        .await
        .refuse(404, "there is no unit web.service")
        .await;
    drop(server.viewer().await);
    let mut viewer = server.viewer().await;
    assert_eq!(viewer.query()["lines"], "0");
    viewer
        .begin(&[log_machine(WEB, "10.0.0.1", "connected"), log_line(WEB, 2, 6, "two")])
        .await;
    assert!(running.line().await.ends_with("two"));
    running.note().await;

    drop(running);
    viewer.until_closed().await;
}

#[tokio::test]
async fn a_connection_that_is_lost_before_the_first_line_begins_anew() {
    let mut server = LogServer::alone().await;
    let mut running = start(&server, &["web", "-f", "-n", "7"]);
    let mut viewer = server.viewer().await;
    viewer.begin(&[log_machine(WEB, "10.0.0.1", "connecting")]).await;
    drop(viewer);
    running.note().await;

    assert_eq!(server.viewer().await.query()["lines"], "7");
}

#[tokio::test]
async fn a_pipe_that_is_closed_ends_it_quietly() {
    let mut server = LogServer::alone().await;
    let mut running = start(&server, &["web", "-f"]);
    let viewer = followed(&mut server).await;
    running.line().await;

    // Nothing else is written, so there is no further line whose writing could fail.
    let Running { mut child, stdout, mut stderr } = running;
    drop(stdout);
    let status = within_timeout("the end", child.wait()).await.unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(stderr.next_line().await.unwrap(), None);
    viewer.until_closed().await;
}

#[tokio::test]
async fn control_c_ends_it_quietly_and_priorities_have_colours_on_a_terminal() {
    let mut server = LogServer::alone().await;
    let command = [PROGRAM, "logs", "web", "-f", "--url", &server.url()];
    let mut terminal = Terminal::start(&command, &[], 80, 24);
    let mut viewer = server.viewer().await;
    viewer.begin(&[log_line(WEB, 1, 3, "one")]).await;
    terminal.shows("one").await;
    assert!(terminal.is_colored());

    terminal.press(CONTROL_C);
    let (_, text) = terminal.end().await;
    assert_eq!(
        text.trim_end().lines().count(),
        2,
        "a line, and what the terminal echoes: {text}"
    );
    viewer.until_closed().await;
}
