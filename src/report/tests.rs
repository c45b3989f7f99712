//! What the texts look like, for one cluster in trouble.

use serde_json::{Value, json};

use super::{
    Assessment, CheckRules, ClusterState, EventRow, HistoryDocument, Layout, Milliseconds,
    ProblemRow, ShownUnits, StateDocument, Threshold, TimeFormat, TimeZone, Times, check,
    fitting_format, overview, rows_of_unit, unit_detail,
};
use crate::actions::{Actions, ClusterAccess, LinkTemplate, commands};
use crate::snapshots::assert_catalogue;

const NOW: Milliseconds = 1_700_000_600_000;
const LOST: &str = "d2e8f4a10b6c4973b5d7e9f1a3c5b7d9";
const PRESENT: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";

fn unit(name: &str, machine: Option<(&str, &str)>, verdict: &str, reason: &str, age: u64) -> Value {
    let mut unit = json!({
        "unit": name, "load": "loaded", "active": "active", "sub": "running", "listed": true,
        "desired": "launched", "global": false, "verdict": verdict, "reason": reason,
        "verdict_since": NOW - age * 1000, "verdict_since_seen": age < 600,
        "since": NOW - age * 1000, "since_seen": age < 600,
    });
    if let Some((id, ip)) = machine {
        unit["machine"] = id.into();
        unit["ip"] = ip.into();
        unit["target"] = id.into();
    }
    unit
}

/// A problem that is open since 30 s after it began.
fn problem(id: &str, kind: &str, units: &[(&str, Option<&str>)], age: u64, rest: Value) -> Value {
    let unit = |(unit, machine): &(&str, Option<&str>)| match machine {
        Some(machine) => json!({"unit": unit, "machine": machine}),
        None => json!({"unit": unit}),
    };
    let mut problem = json!({
        "id": id, "kind": kind,
        "severity": if kind == "unscheduled" { "warning" } else { "critical" },
        "since": NOW - age * 1000, "since_seen": age < 600, "opened": NOW - (age - 30) * 1000,
        "count": units.len(), "verdicts": {kind: units.len()},
        "units": units.iter().map(unit).collect::<Vec<_>>(),
    });

    let Value::Object(rest) = rest else {
        panic!("an object: {rest}")
    };
    problem.as_object_mut().unwrap().extend(rest);
    problem
}

/// What was wrong for long enough in [`cluster`].
fn problems() -> Vec<Value> {
    let lost = [("web@1.service", Some(LOST)), ("web@2.service", Some(LOST))];
    vec![
        problem(
            "1",
            "failed",
            &[("db.service", Some(PRESENT))],
            86_400,
            json!({"unit": "db.service", "machine": PRESENT, "ip": "10.0.0.1",
                "text": "db.service failed on 10.0.0.1", "detail": "systemd says that it failed."}),
        ),
        problem(
            "2",
            "machine_lost",
            &lost,
            60,
            json!({"machine": LOST, "ip": "10.0.0.3",
                "text": "machine 10.0.0.3 (d2e8f4a1) lost, 2 units",
                "detail": "web@1.service, web@2.service"}),
        ),
        problem(
            "3",
            "unscheduled",
            &[("nowhere.service", None)],
            7200,
            json!({"unit": "nowhere.service", "text": "nowhere.service is not scheduled",
                "detail": "fleet wants it launched."}),
        ),
    ]
}

/// The same, while only these problems are open; `None` if the server is older than problems.
fn with_problems(health: &Value, problems: Option<Vec<Value>>) -> ClusterState {
    let problems = problems.map(|rows| {
        let rows = rows.into_iter().map(|row| serde_json::from_value(row).unwrap());
        rows.map(|row: ProblemRow| (row.id.clone(), row)).collect()
    });

    ClusterState { problems, ..cluster(health) }
}

/// Times as they are written unless the reader chooses.
fn times(layout: Layout) -> Times {
    Times::new(NOW, fitting_format(layout), &TimeZone::UTC)
}

/// Two units are on a lost machine since a minute, one has failed for a day, one is fine.
fn cluster(health: &Value) -> ClusterState {
    let lost = Some((LOST, "10.0.0.3"));
    let present = Some((PRESENT, "10.0.0.1"));
    let on_lost = "Its machine has left the cluster; this is its last known state.";
    let mut failed = unit("db.service", present, "failed", "systemd says that it failed.", 86_400);
    failed["active"] = "failed".into();
    failed["sub"] = "failed".into();
    failed["description"] = "The database".into();

    let document: StateDocument = serde_json::from_value(json!({
        "epoch": "e", "revision": 7, "time": NOW,
        "software": {"name": "fleet-monitor", "version": "0.1.0"},
        "health": health,
        "units": [
            unit("cache.service", present, "ok", "It is as fleet wants it.", 3600),
            failed,
            unit("nowhere.service", None, "unscheduled", "fleet wants it launched.", 7200),
            unit("web@1.service", lost, "machine_lost", on_lost, 60),
            unit("web@2.service", lost, "machine_lost", on_lost, 60),
        ],
        "machines": [
            {"machine": PRESENT, "ip": "10.0.0.1", "metadata": "role=db", "leader": true,
             "since": NOW - 1000, "since_seen": false},
            {"machine": LOST, "ip": "10.0.0.3", "lost_since": NOW - 60_000,
             "ran": ["cache.service", "web@1.service", "web@2.service"],
             "since": NOW - 1000, "since_seen": true},
        ],
        "problems": problems(),
        "transitions": [
            {"number": 2, "time": NOW - 30_000, "event": "changed", "unit": "db.service",
             "machine": PRESENT, "from": "active/running", "to": "failed/failed",
             "severity": "warning",
             "text": "db.service on 10.0.0.1: active/running → failed/failed"},
            {"number": 1, "time": NOW - 90_000, "event": "appeared", "unit": "web@1.service",
             "machine": LOST, "to": "active/running", "severity": "info",
             "text": "web@1.service on 10.0.0.3 appeared: active/running"},
        ],
    }))
    .unwrap();
    document.into()
}

/// Those of [`problems`], and that of the source.
fn with_source() -> Vec<Value> {
    let source = problem(
        "4",
        "source_failing",
        &[],
        40,
        json!({"text": "fleet cannot be read",
            "detail": "What is shown of the cluster is its last known state."}),
    );

    [problems(), vec![source]].concat()
}

/// Problems of more units than they name.
fn large() -> Vec<Value> {
    let named = [("web@1.service", Some(LOST)), ("web@10.service", Some(PRESENT))];
    let detail = "web@1.service, web@10.service and 28 more";

    vec![
        problem(
            "1",
            "crash_loop",
            &named,
            300,
            json!({"template": "web@.service", "count": 30, "detail": detail,
                "text": "30 units of web@.service are in a crash loop"}),
        ),
        problem(
            "2",
            "stale",
            &named,
            90,
            json!({"severity": "warning", "machine": PRESENT, "ip": "10.0.0.1", "count": 30,
                "text": "30 units are not reported any more on 10.0.0.1", "detail": detail}),
        ),
        problem(
            "3",
            "haunted",
            &[],
            90,
            json!({"severity": "warning", "text": "a problem of a newer server"}),
        ),
    ]
}

/// The commands for a cluster without special flags, and two links.
fn actions() -> Actions {
    let access = ClusterAccess { has_journal: true, ..ClusterAccess::default() };
    let link = |name, url| LinkTemplate::new(name, url).unwrap();

    Actions {
        commands: commands(&access),
        links: vec![
            link("Logs", "https://kibana.example/{unit}?host={ip}"),
            link("Dashboard", "https://grafana.example/d/units?var-prefix={prefix}"),
        ],
        ..Actions::default()
    }
}

fn live() -> Value {
    json!({"source": "fleet API v1.0.0", "state": "ok", "time": NOW - 2000,
           "topics": {"units": {"age": 1.0}}})
}

fn failing() -> Value {
    json!({"source": "fleet API v1.0.0", "state": "failing", "time": NOW, "since": NOW - 14_000,
           "reason": "no answer within 10 s (--poll-timeout)",
           "topics": {"units": {"age": 16.0, "failing_for": 14.0}}})
}

#[test]
fn the_status_is_in_these_words() {
    let screen = Layout { width: Some(80), height: Some(24), color: false };
    let small = Layout { width: Some(60), height: Some(10), color: false };
    let colored = Layout { color: true, ..Layout::default() };
    let mut silent = cluster(&live());
    silent.units.clear();
    silent.machines.remove(LOST);
    let mut machine = silent.machines.remove(PRESENT).unwrap();
    machine.silent_since = Some(NOW - 65_000);
    silent.machines.insert(PRESENT.to_owned(), machine);
    let row = problem(
        "4",
        "machine_silent",
        &[],
        65,
        json!({"severity": "warning", "machine": PRESENT, "ip": "10.0.0.1",
            "text": "machine 10.0.0.1 (3f1a8c5e) silent"}),
    );
    let row: ProblemRow = serde_json::from_value(row).unwrap();
    silent.problems = Some([(row.id.clone(), row)].into());
    let mut soon = silent.clone();
    soon.problems = Some([].into());

    let show = |state: &ClusterState, units, layout| {
        overview(state, &times(layout), units, layout, &actions())
    };
    let texts = [
        ("a pipe", show(&cluster(&live()), ShownUnits::Problems, Layout::default())),
        ("a terminal of 80 × 24", show(&cluster(&live()), ShownUnits::Problems, screen)),
        ("a terminal of 60 × 10", show(&cluster(&live()), ShownUnits::Problems, small)),
        ("a terminal of 80 × 24, with --time local", {
            let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
            let local = Times::new(NOW, TimeFormat::Local, &berlin);
            overview(&cluster(&live()), &local, ShownUnits::Problems, screen, &actions())
        }),
        ("all units", show(&cluster(&live()), ShownUnits::All, Layout::default())),
        ("fleet cannot be read", show(&cluster(&failing()), ShownUnits::Problems, screen)),
        (
            "fleet has not been read for long",
            show(&with_problems(&failing(), Some(with_source())), ShownUnits::Problems, screen),
        ),
        (
            "one problem, and nothing else for long enough",
            show(
                &with_problems(&live(), Some(problems()[..1].to_vec())),
                ShownUnits::Problems,
                screen,
            ),
        ),
        (
            "nothing for long enough",
            show(&with_problems(&live(), Some(vec![])), ShownUnits::Problems, screen),
        ),
        (
            "many units",
            show(&with_problems(&live(), Some(large())), ShownUnits::Problems, screen),
        ),
        (
            "an older server",
            show(&with_problems(&live(), None), ShownUnits::Problems, screen),
        ),
        ("a silent machine without units", show(&silent, ShownUnits::Problems, screen)),
        (
            "a machine that has just become silent",
            show(&soon, ShownUnits::Problems, screen),
        ),
        ("nothing is known", show(&ClusterState::default(), ShownUnits::Problems, screen)),
        (
            "a server without commands",
            overview(
                &cluster(&live()),
                &times(screen),
                ShownUnits::Problems,
                screen,
                &Actions::default(),
            ),
        ),
        (
            "in colour",
            show(&cluster(&live()), ShownUnits::Problems, colored).replace('\u{1b}', "ESC"),
        ),
    ];

    for (case, text) in &texts {
        let is_small = case.contains("60") || case.contains("80");
        // A command is not cut.
        let is_narrow = |line: &str| line.chars().count() <= 80 || line.starts_with("Next: ");
        assert!(!is_small || text.lines().all(is_narrow), "{text}");
    }
    assert_catalogue("terminal-status", texts);
}

#[test]
fn a_cluster_is_well_as_long_as_there_is_no_problem() {
    for (problems, expected) in [
        (Some(vec![]), Assessment::Well),
        (Some(problems()), Assessment::Wrong),
        (None, Assessment::Wrong),
    ] {
        let state = with_problems(&live(), problems);
        assert_eq!(Assessment::of(&state), expected, "{:?}", state.problems);
    }

    let unread = with_problems(&failing(), Some(vec![]));
    assert_eq!(Assessment::of(&unread), Assessment::Unknown);
}

#[test]
fn a_unit_is_described_in_these_words() {
    let state = cluster(&live());
    let pending = with_problems(&live(), Some(vec![]));
    let older = with_problems(&live(), None);
    let show = |name, history: &HistoryDocument, layout| {
        unit_detail(
            &state,
            &rows_of_unit(&state, name),
            history,
            &Times::utc(NOW),
            layout,
            &actions(),
        )
    };
    let plain = Layout::default();
    let watched = |events| HistoryDocument {
        now: NOW,
        complete_since: Some(NOW - 7_200_000),
        dropped: false,
        events,
    };

    let often = watched(falls(&[5000, 3300, 2400, 1500, 600]));
    let dropped = HistoryDocument { dropped: true, ..often.clone() };
    let without = HistoryDocument { dropped: true, ..watched(vec![]) };
    let narrow = Layout { width: Some(80), ..Layout::default() };
    let colored = Layout { color: true, ..Layout::default() };
    let old = |name| HistoryDocument::from_events(&state, name);
    let unread = HistoryDocument::default();

    let without_commands = {
        let rows = rows_of_unit(&state, "db");
        unit_detail(&state, &rows, &old("db.service"), &Times::utc(NOW), plain, &Actions::default())
    };
    let texts = [
        ("a server without commands", without_commands),
        ("a unit without events that are kept", show("cache", &without, plain)),
        ("a unit without events", show("cache", &watched(vec![]), plain)),
        ("a unit that is flapping", show("cache", &often, plain)),
        ("older events were dropped, on 80 columns", show("cache", &dropped, narrow)),
        ("in colour", show("cache", &often, colored).replace('\u{1b}', "ESC")),
        ("a server without histories", show("db", &old("db.service"), plain)),
        ("a unit on a lost machine", show("web@1.service", &old("web@1.service"), plain)),
        ("a unit that is nowhere", show("nowhere.service", &unread, plain)),
        ("a unit that has not failed for long enough", {
            let rows = rows_of_unit(&pending, "db");
            unit_detail(&pending, &rows, &unread, &Times::utc(NOW), plain, &Actions::default())
        }),
        ("a server without problems", {
            let rows = rows_of_unit(&older, "db");
            unit_detail(&older, &rows, &unread, &Times::utc(NOW), plain, &Actions::default())
        }),
    ];
    assert_catalogue("terminal-unit", texts);
}

/// A unit that failed so many seconds ago, and was started again a minute later each time.
fn falls(ages: &[u64]) -> Vec<EventRow> {
    let changed = |age: u64, from: &str, to: &str| EventRow {
        time: NOW - age * 1000,
        event: "changed".into(),
        machine: Some(PRESENT.into()),
        from: Some(from.into()),
        to: Some(to.into()),
        text: format!("cache.service on 10.0.0.1: {from} → {to}"),
        ..EventRow::default()
    };
    ages.iter()
        .flat_map(|age| {
            [
                changed(*age, "active/running", "failed/failed"),
                changed(age - 60, "failed/failed", "active/running"),
            ]
        })
        .collect()
}

#[test]
fn the_next_steps_of_a_global_unit_are_about_the_worst_of_its_rows() {
    let mut state = cluster(&live());
    let rows = ["web@1.service", "web@2.service"].map(|name| {
        let key = state.units.keys().find(|(unit, _)| unit == name).unwrap().clone();
        state.units.remove(&key).unwrap()
    });
    for (mut row, (machine, ip)) in
        rows.into_iter().zip([(PRESENT, "10.0.0.1"), (LOST, "10.0.0.3")])
    {
        row.unit = "agent.service".to_owned();
        row.global = true;
        row.machine = Some(machine.to_owned());
        row.ip = Some(ip.to_owned());
        row.verdict = if machine == PRESENT { "ok" } else { "machine_lost" }.to_owned();
        state.units.insert(row.key(), row);
    }

    let rows = rows_of_unit(&state, "agent");
    let text = unit_detail(
        &state,
        &rows,
        &HistoryDocument::default(),
        &Times::utc(NOW),
        Layout::default(),
        &actions(),
    );
    let (_, next) = text.split_once("\nNext, on ").unwrap();
    assert_eq!(next.lines().next(), Some("10.0.0.3:"));
    assert_eq!(next.lines().nth(1), Some("  ssh core@10.0.0.3"), "{text}");
}

#[test]
fn the_status_ends_with_what_to_do_next_if_the_screen_has_room() {
    // Of 20 columns, the command takes two rows.
    for (width, height, has_room) in
        [(80, 24, true), (80, 16, true), (80, 15, false), (20, 16, false), (20, 17, true)]
    {
        let layout = Layout { width: Some(width), height: Some(height), color: false };
        let state = cluster(&live());
        let text = overview(&state, &times(layout), ShownUnits::Problems, layout, &actions());

        let last = text.lines().last().unwrap();
        assert_eq!(last == "Next: ssh core@10.0.0.3", has_room, "{width} × {height}:\n{text}");
        assert!(!has_room || text.lines().count() < height, "{text}");
    }
}

#[test]
fn a_check_is_in_these_words() {
    let any = Threshold { verdict: None, count: 1 };
    let rules = |lasting| CheckRules { warning: vec![any.clone()], critical: vec![], lasting };
    let starting = json!({"source": "etcd", "state": "starting", "time": NOW, "topics": {}});
    let suspect = json!({"source": "etcd", "state": "suspect", "since": NOW - 5000, "time": NOW,
        "topics": {}});

    let all = with_problems(&live(), Some(problems()));
    let one = with_problems(&live(), Some(problems()[..1].to_vec()));
    let none = with_problems(&live(), Some(vec![]));
    let older = with_problems(&live(), None);
    let unread = ClusterState { health: cluster(&live()).health, ..ClusterState::default() };

    let texts = [
        ("something is wrong", check(&all, &rules(None), NOW).1),
        (
            "one problem, and nothing else for long enough",
            check(&one, &rules(None), NOW).1,
        ),
        ("nothing for long enough", check(&none, &rules(None), NOW).1),
        ("with --for 0", check(&none, &rules(Some(0)), NOW).1),
        ("with --for 100", check(&all, &rules(Some(100)), NOW).1),
        ("with --for 100000", check(&all, &rules(Some(100_000)), NOW).1),
        ("an older server", check(&older, &rules(None), NOW).1),
        ("no units", check(&unread, &rules(None), NOW).1),
        ("fleet cannot be read", check(&cluster(&failing()), &rules(None), NOW).1),
        ("nothing was read yet", check(&cluster(&starting), &rules(None), NOW).1),
        ("the source is suspect", check(&cluster(&suspect), &rules(None), NOW).1),
        ("nothing is known", check(&ClusterState::default(), &rules(None), NOW).1),
    ];
    assert_catalogue("terminal-check", texts);
}
