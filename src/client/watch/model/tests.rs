use crossterm::event::KeyCode;
use serde_json::{Value, json};

use super::*;

fn message(message: Value) -> Message {
    serde_json::from_value(message).unwrap()
}

fn unit(name: &str, verdict: &str) -> Value {
    json!({"unit": name, "machine": "m1", "verdict": verdict})
}

fn units(units: &[(&str, &str)]) -> Message {
    let rows: Vec<Value> = units.iter().map(|(name, verdict)| unit(name, verdict)).collect();
    message(json!({"type": "snapshot", "topic": "units", "rows": rows}))
}

fn event(number: u64, unit: &str) -> Message {
    message(json!({"type": "event", "revision": number, "number": number, "unit": unit,
        "machine": "m1"}))
}

fn model(messages: Vec<Message>) -> Model {
    let mut model = Model::new("", Instant::now());
    model.receive(messages).unwrap();
    model.prepare(5);
    model
}

fn press(model: &mut Model, code: KeyCode) -> Option<Request> {
    let request = model.press(code.into());
    model.prepare(5);
    request
}

fn type_text(model: &mut Model, text: &str) {
    for char in text.chars() {
        assert_eq!(press(model, KeyCode::Char(char)), None);
    }
}

fn visible(model: &Model) -> Vec<&str> {
    model
        .list()
        .visible()
        .map(|(key, _)| match key {
            Key::Unit((unit, _)) => &**unit,
            Key::Machine(machine) => &**machine,
            Key::Event(number) => model.event(*number).unwrap().unit.as_ref().unwrap(),
        })
        .collect()
}

fn unit_key(name: &str) -> Key {
    Key::Unit((name.to_owned(), Some("m1".to_owned())))
}

#[test]
fn the_worst_comes_first_and_keys_choose_another_order() {
    let mut model = model(vec![units(&[("a", "ok"), ("b", "failed"), ("c", "stale")])]);
    assert_eq!(visible(&model), ["b", "c", "a"]);

    press(&mut model, KeyCode::Char('s'));
    assert_eq!(visible(&model), ["a", "b", "c"]);

    press(&mut model, KeyCode::Char('r'));
    assert_eq!(visible(&model), ["c", "b", "a"]);
}

#[test]
fn each_list_keeps_its_own_cursor_and_order() {
    let mut model = model(vec![units(&[("a", "ok"), ("b", "ok")]), event(1, "a"), event(2, "b")]);
    press(&mut model, KeyCode::Down);
    press(&mut model, KeyCode::Char('3'));
    assert_eq!(visible(&model), ["b", "a"], "the newest event is first");

    press(&mut model, KeyCode::Tab);
    assert_eq!(model.tab, Tab::Units);
    assert_eq!(model.list().selected(), Some(&unit_key("b")));

    press(&mut model, KeyCode::BackTab);
    assert_eq!(model.tab, Tab::Events);
}

#[test]
fn keys_that_come_faster_than_the_screen_is_drawn_find_the_rows() {
    let mut model = model(vec![units(&[("a", "ok")]), event(1, "gone")]);
    model.press(KeyCode::Char('3').into());
    model.press(KeyCode::Enter.into());
    assert_eq!(model.mode, Mode::Details(Key::Event(1)));
}

#[test]
fn details_of_a_row_follow_the_cursor_and_are_left_with_esc() {
    let mut model = model(vec![units(&[("a", "ok"), ("b", "ok")])]);
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.mode, Mode::Details(unit_key("a")));

    press(&mut model, KeyCode::Down);
    assert_eq!(model.mode, Mode::Details(unit_key("b")));

    press(&mut model, KeyCode::Char('?'));
    press(&mut model, KeyCode::Char('j'));
    assert_eq!(model.mode, Mode::Details(unit_key("b")), "a key only closes the help");

    press(&mut model, KeyCode::Esc);
    assert_eq!(model.mode, Mode::List);
}

#[test]
fn an_event_leads_to_its_unit_or_else_to_itself() {
    let mut model = model(vec![units(&[("a", "ok")]), event(1, "gone"), event(2, "a")]);
    press(&mut model, KeyCode::Char('3'));

    press(&mut model, KeyCode::Enter);
    assert_eq!(model.mode, Mode::Details(unit_key("a")));

    press(&mut model, KeyCode::Down);
    assert_eq!(model.mode, Mode::Details(Key::Event(1)));
}

#[test]
fn rows_stay_until_those_of_a_new_filter_arrive() {
    let mut model = model(vec![units(&[("a", "ok"), ("b", "failed")])]);

    press(&mut model, KeyCode::Char('/'));
    type_text(&mut model, "q /state:failed ");
    press(&mut model, KeyCode::Home);
    press(&mut model, KeyCode::Delete);
    press(&mut model, KeyCode::Delete);
    press(&mut model, KeyCode::Delete);
    assert_eq!(press(&mut model, KeyCode::Enter), Some(Request::Subscribe));
    assert_eq!(model.filter.subscribed(), "state:failed");
    assert_eq!(model.connection, Connection::Connecting);
    assert_eq!(visible(&model), ["b", "a"]);

    model.receive(vec![units(&[("b", "failed")])]).unwrap();
    model.prepare(5);
    assert_eq!(visible(&model), ["b"]);
    assert_eq!(model.filter.applied, "state:failed");
    assert!(!model.awaits_filter());
}

#[test]
fn a_filter_that_is_cancelled_or_the_same_changes_nothing() {
    let mut model = model(vec![units(&[("a", "ok")])]);
    press(&mut model, KeyCode::Char('/'));
    type_text(&mut model, "x");
    assert_eq!(press(&mut model, KeyCode::Esc), None);

    press(&mut model, KeyCode::Char('/'));
    assert_eq!(press(&mut model, KeyCode::Enter), None);
    assert_eq!(model.connection, Connection::Live);
}

#[test]
fn a_filter_that_the_server_refuses_can_be_corrected() {
    let mut model = model(vec![units(&[("a", "ok")])]);
    press(&mut model, KeyCode::Char('/'));
    type_text(&mut model, "sate:x");
    press(&mut model, KeyCode::Enter);
    assert!(model.awaits_filter());

    model.refuse_filter("no such key".to_owned());
    assert_eq!(model.filter.subscribed(), "");
    assert_eq!(model.filter.refusal.as_ref().unwrap().message, "no such key");

    press(&mut model, KeyCode::Char('/'));
    assert_eq!(model.mode, Mode::Filter(EditLine::new("sate:x")));
    assert_eq!(model.filter.refusal, None);
}

#[test]
fn ages_go_by_the_clock_of_the_server() {
    let start = Instant::now();
    let mut model = model(vec![message(json!({"type": "status", "revision": 1,
        "health": {"state": "ok", "time": 5_000}}))]);

    model.set_now(start + Duration::from_secs(60));
    assert!((64_000..=65_000).contains(&model.server_now()), "{}", model.server_now());
}

#[test]
fn ages_at_a_recording_go_by_its_clock() {
    for (rate, expected) in [(60.0, 3_605_000), (0.0, 5_000)] {
        let start = Instant::now();
        let mut model = model(vec![message(json!({"type": "status", "revision": 1,
            "health": {"state": "ok", "time": 5_000, "replay": {"rate": rate, "clock": true}}}))]);

        model.set_now(start + Duration::from_secs(60));
        let now = model.server_now();
        assert!(now <= expected && now + 60_000 > expected, "{now}");
    }
}

#[test]
fn a_lost_connection_is_known_with_its_reason_and_the_next_attempt() {
    let mut model = model(vec![units(&[("a", "ok")])]);
    model.disconnect("the server closed it".to_owned(), Duration::from_secs(3));

    let Connection::Lost { next_attempt, .. } = model.connection else {
        panic!("{:?}", model.connection)
    };
    assert_eq!(model.remaining(next_attempt), Duration::from_secs(3));
    assert_eq!(visible(&model), ["a"]);

    model.receive(vec![]).unwrap();
    assert_eq!(model.connection, Connection::Live);
}

#[test]
fn keys_quit_and_suspend_in_every_mode() {
    for open in ["", "?", "/"] {
        let mut model = model(vec![units(&[("a", "ok")])]);
        type_text(&mut model, open);
        let control_c = KeyEvent::new(KeyCode::Char('c'), crossterm::event::KeyModifiers::CONTROL);
        assert_eq!(model.press(control_c), Some(Request::Quit), "{open}");
    }

    let mut model = model(vec![]);
    assert_eq!(press(&mut model, KeyCode::Char('q')), Some(Request::Quit));
    let control_z = KeyEvent::new(KeyCode::Char('z'), crossterm::event::KeyModifiers::CONTROL);
    assert_eq!(model.press(control_z), Some(Request::Suspend));
}
