//! `fleet-monitor watch` in a real terminal and in a pipe, against the real daemon.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::support::fleetd::{self, Fleetd};
use crate::support::snapshots::assert_catalogue;
use crate::support::{Daemon, Double, Program, Proxy, Terminal, within_timeout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fleet-monitor");
const MACHINE: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
const HASH: &str = "a54d85379efe04d9b798936c1f3b9cffedff1b74";

const DOWN: &str = "\x1b[B";
const ESCAPE: &str = "\x1b";
const CONTROL_C: &str = "\x03";
const CONTROL_Z: &str = "\x1a";
const ENTER: &str = "\r";

/// From now on the fleetctl lists these units as `(unit, "active/sub")`, all on one machine.
fn list(fleetctl: &Double, units: &[(&str, &str)]) {
    let place = format!("{MACHINE}/10.0.0.1");
    let files: Vec<_> = units
        .iter()
        .map(|(unit, _)| json!([unit, "false", "launched", "launched", place, HASH, "-"]))
        .collect();
    let states: Vec<_> = units
        .iter()
        .map(|(unit, state)| {
            let (active, sub) = state.split_once('/').unwrap();
            json!([unit, "loaded", active, sub, place, HASH])
        })
        .collect();

    let machines = [[MACHINE, "10.0.0.1", "role=web"]];
    let lists = json!({"list-machines": machines, "list-unit-files": files, "list-units": states});
    fleetctl.write("rows.json", &lists.to_string());
}

fn listing(units: &[(&str, &str)]) -> Double {
    let fleetctl = Double::new("v1.0.0");
    list(&fleetctl, units);
    fleetctl
}

const UNITS: [(&str, &str); 3] = [
    ("api.service", "active/running"),
    ("db.service", "failed/failed"),
    ("web.service", "active/running"),
];

/// A monitor that polls the fleetctl five times a second and has read its lists.
async fn monitor(fleetctl: &Double) -> Daemon {
    let arguments = ["--unit-freq", "0.2", "--machine-freq", "0.2"];
    let daemon = Daemon::asking(fleetctl, &arguments).await;
    daemon.source_is("ok").await;
    daemon
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// A terminal with `watch`.
fn watch(address: SocketAddr, arguments: &[&str], (columns, rows): (u16, u16)) -> Terminal {
    let url = url(address);
    let command = [&[PROGRAM, "watch", "--url", &url], arguments].concat();
    Terminal::start(&command, &[], columns, rows)
}

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);

/// Whether the screen is filled down to its last line, and no further than it is wide.
async fn fills(terminal: &mut Terminal, (_, rows): (u16, u16)) {
    terminal
        .until("the last line", |screen| {
            let lines: Vec<String> = screen.rows(0, screen.size().1.get()).collect();
            UNITS
                .iter()
                .all(|(unit, _)| lines.iter().any(|line| line.starts_with(unit)))
                && lines.iter().filter(|line| line.starts_with("Enter")).count() == 1
                && lines[usize::from(rows) - 1].starts_with("Enter")
        })
        .await;
}

#[tokio::test]
async fn it_fills_the_screen_and_is_resized_while_it_runs() {
    let fleetctl = listing(&UNITS);
    let daemon = monitor(&fleetctl).await;

    for (first, second) in [(SMALL, LARGE), (LARGE, SMALL)] {
        let mut terminal = watch(daemon.address, &[], first);
        fills(&mut terminal, first).await;

        terminal.resize(second.0, second.1);
        fills(&mut terminal, second).await;

        terminal.resize(first.0, first.1);
        fills(&mut terminal, first).await;

        list(&fleetctl, &[UNITS[0], UNITS[1], UNITS[2], ("new.service", "active/running")]);
        terminal.shows("new.service").await;
        list(&fleetctl, &UNITS);

        terminal.press("q");
        let (status, _) = terminal.end().await;
        assert!(status.success());
    }
}

#[tokio::test]
async fn keys_lead_to_details_lists_and_filters() {
    let fleetctl = listing(&UNITS);
    let daemon = monitor(&fleetctl).await;
    let mut terminal = watch(daemon.address, &["unit:*"], SMALL);
    terminal.shows("web.service").await;

    terminal.press(DOWN);
    terminal.press(ENTER);
    terminal.shows("fleetctl status api.service").await;
    terminal.press(ESCAPE);
    terminal.shows("web.service").await;

    terminal.press("2");
    terminal.shows("role=web").await;
    terminal.press("1");
    terminal.shows("web.service").await;

    terminal.press("/");
    terminal.press("\x15unit:web*");
    terminal.press(ENTER);
    terminal.hides("api.service").await;
    assert!(terminal.text().contains("web.service"));

    terminal.press("/");
    terminal.press("\x15state:");
    terminal.press(ENTER);
    terminal.shows("state:").await;
    terminal.shows("web.service").await;
    assert!(!terminal.text().contains("api.service"), "the filter before stays in force");

    terminal.press(CONTROL_C);
    assert!(terminal.end().await.0.success());
}

#[tokio::test]
async fn a_problem_is_named_above_the_list_until_it_is_over() {
    let fleetctl = listing(&UNITS);
    let arguments = ["--unit-freq", "0.2", "--problem-after", "0"];
    let daemon = Daemon::asking(&fleetctl, &arguments).await;
    daemon.source_is("ok").await;
    let mut terminal = watch(daemon.address, &[], SMALL);
    terminal.shows("1 problem: db.service failed").await;

    terminal.press(ENTER);
    terminal.shows("Problem ").await;
    terminal.press(ESCAPE);

    list(&fleetctl, &[UNITS[0], ("db.service", "active/running"), UNITS[2]]);
    terminal.hides("1 problem").await;
}

#[tokio::test]
async fn a_lost_connection_is_shown_and_resumed_where_it_was() {
    let fleetctl = listing(&UNITS);
    let daemon = monitor(&fleetctl).await;
    let proxy = Proxy::to(daemon.address).await;
    let mut terminal = watch(proxy.address, &[], SMALL);
    terminal.shows("live").await;

    proxy.cut();
    terminal.shows("disconnected").await;
    terminal.shows("web.service").await;
    list(&fleetctl, &[UNITS[0], UNITS[1]]);
    daemon.event("gone").await;
    assert!(terminal.text().contains("web.service"), "the rows stay");

    proxy.mend();
    terminal.hides("disconnected").await;
    terminal.hides("web.service").await;
    terminal.shows("live").await;
    let resumed = proxy.asked("last-event-id: ");
    assert!(!resumed.is_empty(), "epoch and revision are in the request");
}

#[tokio::test]
async fn a_monitor_that_restarts_is_followed() {
    let fleetctl = listing(&UNITS);
    let mut daemon = monitor(&fleetctl).await;
    let mut terminal = watch(daemon.address, &[], LARGE);
    terminal.shows("live").await;

    daemon.stop(Signal::TERM).await;
    terminal.shows("disconnected").await;
    assert!(terminal.text().contains("web.service"), "the rows stay");

    list(&fleetctl, &[UNITS[0], ("new.service", "active/running")]);
    let port = daemon.address.port().to_string();
    let _daemon = Program::asking(&fleetctl, &["--port", &port]).start().await;
    terminal.shows("new.service").await;
    terminal.hides("web.service").await;
    terminal.shows("live").await;
}

#[tokio::test]
async fn a_signal_ends_it_and_the_terminal_is_as_before() {
    let fleetctl = listing(&UNITS);
    let daemon = monitor(&fleetctl).await;
    let mut terminal = watch(daemon.address, &[], SMALL);
    terminal
        .until("the other screen", vt100::Screen::alternate_screen)
        .await;
    terminal.shows("web.service").await;

    terminal.signal(Signal::TERM);

    let (status, text) = terminal.end().await;
    assert_eq!(status.code(), Some(128 + Signal::TERM.as_raw()));
    assert!(!text.contains("web.service"), "the screen from before is back");
}

#[tokio::test]
async fn it_is_suspended_and_continued_by_a_shell() {
    let fleetctl = listing(&UNITS);
    let daemon = monitor(&fleetctl).await;
    let shell = ["bash", "--norc", "--noprofile", "-i"];
    let mut terminal = Terminal::start(&shell, &[("PS1", r"ready \# ")], LARGE.0, LARGE.1);
    terminal.shows("ready").await;
    terminal.press(&format!("{PROGRAM} watch --url {}\r", url(daemon.address)));
    terminal.shows("web.service").await;

    terminal.press(CONTROL_Z);
    terminal.shows("[1]+").await;
    assert!(!terminal.text().contains("web.service"));

    terminal.press("fg\r");
    terminal.shows("web.service").await;
    fills(&mut terminal, LARGE).await;

    // The third prompt: until then, the program that ends may take what is typed.
    terminal.press("q");
    terminal.shows("ready 3").await;
    terminal.press("exit\r");
    assert!(terminal.end().await.0.success());
}

#[tokio::test]
async fn colours_are_used_unless_they_are_refused() {
    let fleetctl = listing(&UNITS);
    let daemon = monitor(&fleetctl).await;
    let url = url(daemon.address);

    for (variables, arguments, is_colored) in [
        (&[][..], &[][..], true),
        (&[("NO_COLOR", "1")], &[], false),
        (&[("NO_COLOR", "1")], &["--color", "always"], true),
        (&[], &["--color", "never"], false),
    ] {
        let command = [&[PROGRAM, "watch", "--url", &url], arguments].concat();
        let mut terminal = Terminal::start(&command, variables, SMALL.0, SMALL.1);
        terminal.shows("web.service").await;
        assert_eq!(terminal.is_colored(), is_colored, "{variables:?} {arguments:?}");
    }
}

#[tokio::test]
async fn a_terminal_has_lines_only_if_it_is_asked_for_them_or_cannot_do_more() {
    let fleetctl = listing(&UNITS);
    let daemon = monitor(&fleetctl).await;
    let url = url(daemon.address);

    for (variables, arguments) in [(&[][..], &["--plain"][..]), (&[("TERM", "dumb")], &[])] {
        let command = [&[PROGRAM, "watch", "--url", &url], arguments].concat();
        let mut terminal = Terminal::start(&command, variables, 200, 24);
        list(&fleetctl, &[UNITS[0]]);
        terminal.shows("db.service").await;
        terminal.until("lines", |screen| !screen.alternate_screen()).await;
        list(&fleetctl, &UNITS);

        terminal.press(CONTROL_C);
        assert!(!terminal.end().await.0.success());
    }
}

/// `watch` with its output in a pipe.
fn piped(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg("watch")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_pipe_gets_a_line_for_each_event_at_once() {
    let fleetctl = listing(&UNITS);
    let daemon = monitor(&fleetctl).await;
    list(&fleetctl, &[UNITS[0], UNITS[1], ("web.service", "active/exited")]);
    daemon.event("changed").await;

    let mut child = piped(&["--url", &url(daemon.address), "unit:web*"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let earlier = within_timeout("an event of before", lines.next_line())
        .await
        .unwrap()
        .unwrap();
    assert!(earlier.contains("web.service") && earlier.contains("exited"), "{earlier}");

    list(
        &fleetctl,
        &[UNITS[0], ("db.service", "active/running"), ("web.service", "failed/failed")],
    );
    let next = within_timeout("a line", lines.next_line()).await.unwrap().unwrap();
    let words: Vec<&str> = next.split(' ').collect();
    assert!(words[0].ends_with('Z') && words[1] == "warning", "{next}");
    assert!(next.contains("web.service") && next.contains("failed"), "{next}");
}

#[tokio::test]
async fn a_pipe_that_is_closed_ends_it_quietly() {
    let fleetctl = listing(&UNITS);
    let daemon = monitor(&fleetctl).await;
    list(&fleetctl, &[UNITS[0], UNITS[1], ("web.service", "active/exited")]);
    daemon.event("changed").await;

    // Nothing else happens, so there is no further line whose writing could fail.
    let mut child = piped(&["--url", &url(daemon.address)]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    within_timeout("a line", lines.next_line()).await.unwrap().unwrap();
    drop(lines);

    let status = within_timeout("the end", child.wait()).await.unwrap();
    let mut errors = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .await
        .unwrap();
    assert!(status.success() && errors.is_empty(), "{status}: {errors}");
}

#[tokio::test]
async fn a_pipe_is_told_of_a_restart_beside_the_events() {
    let fleetctl = listing(&UNITS);
    let mut daemon = monitor(&fleetctl).await;
    let mut child = piped(&["--url", &url(daemon.address)]).spawn().unwrap();
    let mut events = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    list(&fleetctl, &[UNITS[0], UNITS[1], ("web.service", "active/exited")]);
    within_timeout("a line", events.next_line()).await.unwrap().unwrap();

    daemon.stop(Signal::TERM).await;
    let lost = within_timeout("an error", errors.next_line()).await.unwrap().unwrap();
    assert!(lost.contains(&daemon.address.to_string()), "{lost}");

    let port = daemon.address.port().to_string();
    let _daemon = Program::asking(&fleetctl, &["--port", &port, "--unit-freq", "0.2"])
        .start()
        .await;
    within_timeout("the connection", errors.next_line())
        .await
        .unwrap()
        .unwrap();
    list(&fleetctl, &UNITS);
    let event = within_timeout("an event", events.next_line()).await.unwrap().unwrap();
    assert!(event.contains("web.service"), "{event}");
}

#[tokio::test]
async fn what_is_wrong_with_the_address_or_the_token_is_one_sentence() {
    let directory = tempfile::TempDir::new().unwrap();
    let [secret, wrong] = ["secret", "wrong"].map(|token| {
        let path = directory.path().join(token);
        fs::write(&path, format!("{token}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let daemon = Program::new(&["--demo", "--token-file", &secret]).start().await;
    let monitor = url(daemon.address);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stranger = Fleetd::tcp(|_| fleetd::error(404, "no such path")).await;

    let mut catalogue = Vec::new();
    for (case, arguments) in [
        ("no monitor", vec!["--url", &*url(nobody)]),
        ("no token", vec!["--url", &*monitor]),
        ("a wrong token", vec!["--url", &*monitor, "--token-file", &*wrong]),
        ("no such file", vec!["--url", &*monitor, "--token-file", "/no/such/file"]),
        ("a wrong filter", vec!["--url", &*monitor, "--token-file", &*secret, "state:"]),
        ("an invalid URL", vec!["--url", "ftp://core-01"]),
        ("another server", vec!["--url", stranger.address()]),
    ] {
        let mut command = piped(&arguments);
        let output = within_timeout(case, command.output()).await.unwrap();
        assert_eq!(output.status.code(), Some(3), "{case}");
        assert!(output.stdout.is_empty(), "{case}");

        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{case}: {text}");
        let text = text
            .trim_end()
            .replace(&nobody.to_string(), "127.0.0.1:1")
            .replace(stranger.address(), "http://127.0.0.1:2")
            .replace(&daemon.address.to_string(), "127.0.0.1:8989");
        catalogue.push((case, text));
    }
    assert_catalogue("watch-errors", catalogue);

    // The same before the screen is taken.
    let url = url(nobody);
    let command = [PROGRAM, "watch", "--url", &url];
    let terminal = Terminal::start(&command, &[], SMALL.0, SMALL.1);
    let (status, text) = terminal.end().await;
    assert_eq!(status.code(), Some(3));
    assert!(text.contains("--url"), "{text}");
}
