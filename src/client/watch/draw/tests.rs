use std::time::{Duration, Instant};

use crossterm::event::KeyCode;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::super::model::Request;
use super::*;
use crate::actions::{ClusterAccess, LinkTemplate, commands};
use crate::report::{Message, TimeFormat, TimeZone};
use crate::snapshots::assert_text;

const WEB: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
const DB: &str = "9c4b7a2e1d3f48568e0f1a2b3c4d5e6f";
const OLD: &str = "d2e8f4a10b6c4973b5d7e9f1a3c5b7d9";

/// The server's clock.
const NOW: u64 = 1_700_000_100_000;

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);

fn unit(name: &str, machine: &str, state: &str, verdict: &str, reason: &str, age: u64) -> Value {
    let ip = match machine {
        WEB => "172.17.8.101",
        DB => "172.17.8.102",
        _ => "172.17.8.103",
    };
    let (active, sub) = state.split_once('/').unwrap();
    json!({
        "unit": name, "machine": machine, "ip": ip, "load": "loaded", "active": active, "sub": sub,
        "listed": true, "desired": "launched", "target": machine, "global": false,
        "description": "Serves something", "requirements": ["MachineMetadata=role=web"],
        "verdict": verdict, "reason": reason, "verdict_since": NOW - age * 1000,
        "verdict_since_seen": true, "since": NOW - age * 1000, "since_seen": age < 3_600,
    })
}

fn event(number: u64, age: u64, severity: &str, name: &str, text: &str) -> Value {
    json!({"number": number, "time": NOW - age * 1000, "event": name, "unit": "db.service",
        "machine": DB, "severity": severity, "text": text})
}

fn problem(id: &str, kind: &str, (name, machine): (&str, &str), age: u64, text: &str) -> Value {
    let is_warning = matches!(kind, "machine_silent" | "stale");
    json!({"id": id, "kind": kind, "severity": if is_warning { "warning" } else { "critical" },
        "since": NOW - age * 1000, "since_seen": true, "opened": NOW - (age - 30) * 1000,
        "machine": machine, "count": 1, "verdicts": {kind: 1},
        "units": [{"unit": name, "machine": machine}], "text": text})
}

/// A cluster with three machines, some problems, and many units without any.
fn messages() -> Vec<Value> {
    let ok = "It is as fleet wants it.";
    let mut units = vec![
        unit("db.service", DB, "failed/failed", "failed", "systemd says that it failed.", 80),
        unit(
            "agent.service",
            OLD,
            "active/running",
            "machine_lost",
            "Its machine left the cluster.",
            300,
        ),
        unit(
            "a-very-long-name-of-a-unit-that-nobody-would-type@production.service",
            WEB,
            "activating/auto-restart",
            "crash_loop",
            "It was restarted 5 times in 60 s.",
            7_300,
        ),
        json!({"unit": "new.service", "verdict": "unscheduled", "desired": "launched",
            "reason": "fleet has not scheduled it on any machine.", "verdict_since": NOW - 5_000,
            "verdict_since_seen": true}),
    ];
    units.extend((1..=40).map(|number| {
        unit(&format!("web@{number:02}.service"), WEB, "active/running", "ok", ok, 200_000)
    }));

    vec![
        json!({"type": "hello", "epoch": "e", "source": "fleet API v1.0.0"}),
        json!({"type": "snapshot", "topic": "units", "rows": units}),
        json!({"type": "snapshot", "topic": "machines", "rows": [
            {"machine": WEB, "ip": "172.17.8.101", "metadata": "region=us-west,role=web",
                "version": "1.0.0", "leader": true, "since": NOW - 400_000},
            {"machine": DB, "ip": "172.17.8.102", "silent_since": NOW - 3_000},
            {"machine": OLD, "ip": "172.17.8.103", "lost_since": NOW - 300_000,
                "ran": ["agent.service", "web@07.service"]},
        ]}),
        json!({"type": "snapshot", "topic": "problems", "rows": [
            problem("1", "failed", ("db.service", DB), 80, "db.service failed on 172.17.8.102"),
            problem("2", "crash_loop",
                ("a-very-long-name-of-a-unit-that-nobody-would-type@production.service", WEB),
                7_300,
                "a-very-long-name-of-a-unit-that-nobody-would-type@production.service is in a \
                 crash loop on 172.17.8.101"),
            problem("3", "machine_lost", ("agent.service", OLD), 300,
                "machine 172.17.8.103 (d2e8f4a1) lost, 1 unit"),
        ]}),
        json!({"type": "snapshot", "topic": "events", "rows": [
            event(3, 300, "warning", "machine_lost", "machine 172.17.8.103 left the cluster"),
            event(7, 80, "warning", "changed",
                "db.service on 172.17.8.102: active/running → failed/failed"),
            event(8, 5, "info", "appeared", "new.service was submitted"),
        ]}),
        status(json!({"state": "ok"})),
    ]
}

fn status(mut health: Value) -> Value {
    health["time"] = NOW.into();
    health["source"] = "fleet API v1.0.0".into();
    json!({"type": "status", "revision": 9, "health": health})
}

fn receive(model: &mut Model, messages: Vec<Value>) {
    let messages: Vec<Message> = messages
        .into_iter()
        .map(|message| serde_json::from_value(message).unwrap())
        .collect();
    model.receive(messages).unwrap();
}

fn model() -> Model {
    let mut model = Model::new("", Instant::now());
    receive(&mut model, messages());
    model.actions.commands = commands(&ClusterAccess::default());
    model.actions.links = vec![LinkTemplate::new("Logs", "https://logs.example/{unit}").unwrap()];
    model
}

fn press(model: &mut Model, keys: &[KeyCode]) -> Option<Request> {
    model.prepare(20);
    keys.iter().filter_map(|key| model.press((*key).into())).last()
}

/// The screen as lines of text.
fn screen(model: &mut Model, (width, height): (u16, u16), theme: Theme) -> String {
    model.prepare(list_height(model, height));
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, theme)).unwrap();

    let buffer = terminal.backend().buffer();
    let line = |y| -> String { (0..width).map(|x| buffer[(x, y)].symbol()).collect() };
    let lines: Vec<String> = (0..height).map(|y| line(y).trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

fn assert_screen(name: &str, model: &mut Model, size: (u16, u16)) {
    let text = screen(model, size, Theme::Monochrome);
    assert_text(name, &text);
    assert_eq!(screen(model, size, Theme::Colored), text, "colours say nothing of their own");
}

#[test]
fn units_fit_a_small_and_a_large_screen() {
    assert_screen("watch-units-80x24", &mut model(), SMALL);
    assert_screen("watch-units-200x60", &mut model(), LARGE);
}

#[test]
fn machines_fit_a_small_and_a_large_screen() {
    let mut model = model();
    press(&mut model, &[KeyCode::Char('2')]);
    assert_screen("watch-machines-80x24", &mut model, SMALL);
    assert_screen("watch-machines-200x60", &mut model, LARGE);
}

#[test]
fn events_fit_a_small_and_a_large_screen() {
    let mut model = model();
    press(&mut model, &[KeyCode::Char('3')]);
    assert_screen("watch-events-80x24", &mut model, SMALL);
    assert_screen("watch-events-200x60", &mut model, LARGE);
}

#[test]
fn details_say_what_is_known_and_which_commands_help() {
    let mut model = model();
    press(&mut model, &[KeyCode::Enter]);
    assert_screen("watch-unit-80x24", &mut model, SMALL);
    assert_screen("watch-unit-200x60", &mut model, LARGE);

    press(&mut model, &[KeyCode::Char('2'), KeyCode::Enter]);
    assert_screen("watch-machine-80x24", &mut model, SMALL);
}

#[test]
fn a_key_switches_all_times_to_the_zone_of_the_terminal_and_to_utc() {
    let mut model = model();
    let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    model.set_times(TimeFormat::Relative, berlin);

    press(&mut model, &[KeyCode::Char('t')]);
    assert_screen("watch-units-local-80x24", &mut model, SMALL);
    press(&mut model, &[KeyCode::Enter]);
    assert_screen("watch-unit-local-80x24", &mut model, SMALL);

    press(&mut model, &[KeyCode::Char('t'), KeyCode::Char('3')]);
    assert_screen("watch-events-utc-80x24", &mut model, SMALL);
    assert_screen("watch-events-utc-200x60", &mut model, LARGE);

    press(&mut model, &[KeyCode::Char('t')]);
    assert_screen("watch-events-80x24", &mut model, SMALL);
}

#[test]
fn the_help_is_a_box_over_the_screen() {
    let mut model = model();
    press(&mut model, &[KeyCode::Char('?')]);
    assert_screen("watch-help-80x24", &mut model, SMALL);
}

#[test]
fn a_lost_connection_keeps_the_rows_and_says_of_when_they_are() {
    let mut model = model();
    model.set_now(Instant::now() + Duration::from_secs(12));
    model.disconnect(
        "the connection to http://localhost:8989 was lost: the server closed it".to_owned(),
        Duration::from_millis(2_500),
    );
    assert_screen("watch-disconnected-80x24", &mut model, SMALL);
}

#[test]
fn a_filter_is_shown_while_it_is_typed_requested_and_in_force() {
    let mut model = model();
    let mut lines = String::new();
    let mut record = |model: &mut Model, case: &str| {
        let text = screen(model, SMALL, Theme::Monochrome);
        let [tabs, last] = [text.lines().nth(2).unwrap(), text.lines().last().unwrap()];
        lines.push_str(&format!("{case}\n    {tabs}\n    {last}\n\n"));
    };

    press(&mut model, &[KeyCode::Char('/'), KeyCode::Char('x'), KeyCode::Char(':')]);
    record(&mut model, "typed");

    let request = press(&mut model, &[KeyCode::Enter]);
    assert_eq!(request, Some(Request::Subscribe));
    record(&mut model, "requested");

    model.refuse_filter("x is no key of a filter".to_owned());
    let text = screen(&mut model, SMALL, Theme::Monochrome);
    assert!(text.contains("x is no key of a filter"), "{text}");

    press(&mut model, &[KeyCode::Char('/')]);
    press(&mut model, &[KeyCode::Backspace; 2]);
    press(&mut model, &[KeyCode::Char('w'), KeyCode::Char('*'), KeyCode::Enter]);
    receive(&mut model, messages());
    record(&mut model, "in force");

    press(&mut model, &[KeyCode::Char('/'), KeyCode::Backspace, KeyCode::Backspace]);
    press(&mut model, &[KeyCode::Enter]);
    record(&mut model, "removed");
    assert_text("watch-filters", &lines);
}

#[test]
fn the_state_of_the_source_is_in_the_first_line() {
    let since = NOW - 40_000;
    let mut lines = String::new();
    for health in [
        json!({"state": "ok"}),
        json!({"state": "ok", "recording": true}),
        json!({"state": "starting"}),
        json!({"state": "failing", "since": since, "reason": "no answer within 10 s"}),
        json!({"state": "overdue", "since": since, "reason": "units were last read 40 s ago"}),
        json!({"state": "suspect", "since": since}),
        json!({"state": "ended"}),
        json!({"state": "a state of a newer server"}),
    ] {
        let mut model = model();
        let state = health.to_string();
        receive(&mut model, vec![status(health)]);

        let text = screen(&mut model, SMALL, Theme::Monochrome);
        let first = text.lines().next().unwrap();
        let notice = text.lines().nth(22).unwrap();
        lines.push_str(&format!("{state}\n    {first}\n    {notice}\n\n"));
    }
    assert_text("watch-sources", &lines);
}

#[test]
fn the_headline_says_what_is_wrong_and_claims_nothing_else() {
    let snapshot =
        |topic: &str, rows: Value| json!({"type": "snapshot", "topic": topic, "rows": rows});
    let ok = unit("a.service", WEB, "active/running", "ok", "", 1);
    let read = status(json!({"state": "ok", "topics": {"units": {"age": 1.0}}}));
    let silent = snapshot("machines", json!([{"machine": DB, "silent_since": NOW}]));
    let failed = unit("a.service", WEB, "failed/failed", "failed", "", 1);
    let failed = snapshot("units", json!([failed]));
    let no_problems = snapshot("problems", json!([]));
    let one_problem = problem("1", "stale", ("b.service", WEB), 60, "b.service is not reported");
    let one_problem = snapshot("problems", json!([one_problem]));

    let mut lines = String::new();
    for (case, filter, messages) in [
        ("before the first message", "", vec![]),
        ("before the first list", "", vec![status(json!({"state": "starting"}))]),
        ("an empty cluster", "", vec![read.clone()]),
        ("a filter without a match", "x*", vec![read.clone()]),
        ("all is well", "", vec![snapshot("units", json!([ok])), read]),
        ("nothing for long enough", "", vec![failed.clone(), silent.clone(), no_problems]),
        ("one problem", "", vec![failed.clone(), one_problem]),
        ("many problems", "", messages()),
        ("an older server", "", vec![failed, silent]),
    ] {
        let mut model = Model::new(filter, Instant::now());
        receive(&mut model, messages);
        let text = screen(&mut model, SMALL, Theme::Monochrome);
        lines.push_str(&format!("{case}\n    {}\n\n", text.lines().nth(1).unwrap()));
    }
    assert_text("watch-headlines", &lines);
}

#[test]
fn any_size_can_be_drawn() {
    let keys = [KeyCode::Char('1'), KeyCode::Char('2'), KeyCode::Char('3'), KeyCode::Enter];
    for last in [KeyCode::Null, KeyCode::Char('?'), KeyCode::Char('/')] {
        let mut model = model();
        model.disconnect("lost".to_owned(), Duration::from_secs(1));
        for key in keys {
            press(&mut model, &[key, last]);
            for size in [(1, 1), (2, 3), (10, 5), (300, 2), (3, 100), (80, 24), (20, 10)] {
                screen(&mut model, size, Theme::Colored);
            }
            press(&mut model, &[KeyCode::Esc]);
        }
    }
}
