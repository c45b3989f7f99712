use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::builders;
use crate::cluster::{Machine, UnitFile, UnitState};

fn rows<R: ApiRow>(body: &Value) -> Vec<R> {
    decode_page(body.to_string().as_bytes()).expect("a page").rows
}

/// A unit file with these options: section, name and value.
fn file(options: &[(&str, &str, &str)]) -> UnitFile {
    let options: Vec<Value> = options
        .iter()
        .map(|(section, name, value)| json!({"section": section, "name": name, "value": value}))
        .collect();
    rows(&json!({"units": [{"name": "a.service", "options": options}]})).remove(0)
}

// The rows of these bodies are from fleetd v1.0.0.

#[test]
fn a_state_has_fleetctls_columns_and_no_address() {
    let body = json!({"states": [{
        "hash": "a54d85379efe04d9b798936c1f3b9cffedff1b74",
        "machineID": "3f1a8c5e9b2d4f60a7c1d2e3b4f50617",
        "name": r"with-dash\x2descaped.service",
        "systemdActiveState": "active",
        "systemdLoadState": "loaded",
        "systemdSubState": "running",
    }]});
    let expected = UnitState {
        unit: r"with-dash\x2descaped.service".into(),
        machine: Some("3f1a8c5e9b2d4f60a7c1d2e3b4f50617".into()),
        ip: None,
        load: Some("loaded".into()),
        active: Some("active".into()),
        sub: Some("running".into()),
        hash: Some("a54d85379efe04d9b798936c1f3b9cffedff1b74".into()),
    };
    assert_eq!(rows::<UnitState>(&body), [expected]);
}

#[test]
fn metadata_is_sorted_pairs_whatever_they_contain() {
    let metadata = json!({
        "region": "eu-west", "": "noval", "empty": "", "expr": "a=b=c", "tags": "a,b=c d",
    });
    let machines: Vec<Machine> = rows(&json!({"machines": [
        {"id": "7b05", "metadata": metadata, "primaryIP": "172.17.8.104"},
        {"id": "d2e8", "primaryIP": ""},
    ]}));
    assert_eq!(
        machines[0].metadata.as_deref(),
        Some("=noval,empty=,expr=a=b=c,region=eu-west,tags=a,b=c d")
    );
    assert_eq!(machines[1], builders::machine("d2e8"));
}

#[test]
fn the_hash_is_of_the_file_as_fleet_writes_it() {
    let one_section = [("Service", "ExecStart", "/bin/sleep infinity")];
    let three_sections = [
        ("Unit", "Description", "Web front end"),
        ("Service", "ExecStart", "/bin/sleep infinity"),
        ("X-Fleet", "MachineMetadata", "role=web"),
    ];
    // fleet writes [X-Fleet], its two options, an empty line, [Service].
    let scattered = [
        ("X-Fleet", "MachineMetadata", "role=db"),
        ("Service", "ExecStart", "x"),
        ("X-Fleet", "Conflicts", ""),
    ];
    for (options, hash) in [
        (&one_section[..], "8385c9176f09a5ee3bbb88d45c6fc3f0b69d1f52"),
        (&three_sections, "a54d85379efe04d9b798936c1f3b9cffedff1b74"),
        (&scattered, "d1426f68b075873cf1ee5f57989defcf393a3251"),
    ] {
        assert_eq!(file(options).hash.as_deref(), Some(hash));
    }
}

#[test]
fn the_description_is_the_first_one_on_one_line() {
    let described = |options: &[_]| file(options).description;
    assert_eq!(described(&[]), None);
    assert_eq!(described(&[("Unit", "Description", "")]), None);
    assert_eq!(described(&[("Service", "Description", "x")]), None);

    let two = [("Unit", "Description", "one"), ("Unit", "Description", "two")];
    assert_eq!(described(&two).as_deref(), Some("one"));

    let continued = [("Unit", "Description", "first line \\\n  second line")];
    assert_eq!(described(&continued).as_deref(), Some("first line  second line"));
}

#[test]
fn an_option_without_a_value_is_an_empty_one() {
    let option = json!({"section": "Unit", "name": "Description"});
    let body = json!({"units": [{"name": "a.service", "options": [option]}]});
    assert_eq!(rows::<UnitFile>(&body)[0].description, None);
}

#[test]
fn the_last_truthy_global_counts() {
    let global = |value: &str| file(&[("X-Fleet", "Global", value)]).global;
    for value in ["true", "TRUE", "yes", "1", "on", "t", "\"true\""] {
        assert!(global(value), "{value}");
    }
    for value in ["", "false", "no", "0", "off", "y"] {
        assert!(!global(value), "{value}");
    }

    assert!(!file(&[("X-Fleet", "Global", "true"), ("X-Fleet", "Global", "no")]).global);
    assert!(!file(&[("Service", "Global", "true")]).global);
}

#[test]
fn a_unit_that_has_a_machine_is_not_global() {
    let option = json!({"section": "X-Fleet", "name": "Global", "value": "yes"});
    let unit = json!({"name": "a.service", "machineID": "1", "options": [option]});
    let scheduled: UnitFile = rows(&json!({"units": [unit]})).remove(0);
    assert!(!scheduled.global);
    assert_eq!(scheduled.target, Some("1".into()));
}

#[test]
fn requirements_are_those_that_fleet_heeds() {
    let file = file(&[
        ("Unit", "Description", "x"),
        ("X-Fleet", "Global", "true"),
        ("X-Fleet", "MachineMetadata", "\"region=us-west\" \"region=us-east\""),
        ("X-Fleet", "X-ConditionMachineOf", "web.service"),
        ("X-Fleet", "machineof", "web.service"),
        ("Unit", "Conflicts", "b.service"),
    ]);
    let requirements: Vec<&str> = file.requirements.iter().map(|text| &**text).collect();
    let expected = [
        "MachineMetadata=\"region=us-west\" \"region=us-east\"",
        "X-ConditionMachineOf=web.service",
    ];
    assert_eq!(requirements, expected);
}

#[test]
fn control_characters_are_replaced_in_each_column() {
    let options = json!([
        {"section": "Unit", "name": "Description", "value": "a\u{7}b"},
        {"section": "X-Fleet", "name": "Conflicts", "value": "b\r"},
    ]);
    let file: UnitFile = rows(&json!({"units": [{
        "name": "a\u{1b}[31m.service",
        "desiredState": "x\n",
        "machineID": "m\0",
        "options": options,
    }]}))
    .remove(0);
    assert_eq!(&*file.unit, "a\u{fffd}[31m.service");
    assert_eq!(file.desired.as_deref(), Some("x\u{fffd}"));
    assert_eq!(file.target.as_deref(), Some("m\u{fffd}"));
    assert_eq!(file.description.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(&*file.requirements[0], "Conflicts=b\u{fffd}");

    let state: UnitState = rows(&json!({"states": [{
        "name": "a\n.service",
        "hash": "\u{7f}",
        "machineID": "m\r",
        "systemdSubState": "x\u{9b}",
    }]}))
    .remove(0);
    assert_eq!(&*state.unit, "a\u{fffd}.service");
    assert_eq!(state.machine.as_deref(), Some("m\u{fffd}"));
    assert_eq!(state.hash.as_deref(), Some("\u{fffd}"));
    assert_eq!(state.sub.as_deref(), Some("x\u{fffd}"));

    let machine: Machine = rows(&json!({"machines": [{
        "id": "m\n",
        "primaryIP": "\u{1b}",
        "metadata": {"rack": "7\tleft,\nright"},
    }]}))
    .remove(0);
    assert_eq!(&*machine.id, "m\u{fffd}");
    assert_eq!(machine.ip.as_deref(), Some("\u{fffd}"));
    assert_eq!(machine.metadata.as_deref(), Some("rack=7\tleft,\u{fffd}right"));
}

#[test]
fn a_list_that_is_missing_or_null_is_an_empty_one() {
    for body in [
        "{}",
        r#"{"machines":null}"#,
        r#"{"machines":[]}"#,
        r#"{"machines":[],"kind":"x","nextPageToken":""}"#,
    ] {
        let page = decode_page::<Machine>(body.as_bytes()).expect(body);
        assert_eq!(page, ListPage { rows: Vec::new(), next: None }, "{body}");
    }
}

#[test]
fn other_json_is_not_taken_for_an_empty_list() {
    for body in [
        "null",
        "[]",
        "7",
        r#"{"action":"get","node":{}}"#,
        r#"{"machines":[{}]}"#,
        r#"{"machines":{}}"#,
        r#"{"error":{}}"#,
    ] {
        let page = decode_page::<Machine>(body.as_bytes());
        assert!(matches!(page, Err(WireError::NotFleet(_))), "{body}");
    }
    for body in ["", "<html>", "{", r#"{"machines":["#, "{}{}"] {
        let page = decode_page::<Machine>(body.as_bytes());
        assert!(matches!(page, Err(WireError::NotJson)), "{body}");
    }
}

#[test]
fn an_error_has_a_message_that_may_be_empty() {
    let empty = br#"{"error":{"code":500,"message":""}}"#;
    let limit = br#"{"error":{"code":400,"message":"token limit must be 100"}}"#;
    assert_eq!(error_message(empty).as_deref(), Some(""));
    assert_eq!(error_message(limit).as_deref(), Some("token limit must be 100"));
    assert_eq!(error_message(b"404 page not found"), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body: Vec<u8>) {
        let _ = decode_page::<UnitState>(&body);
        let _ = decode_page::<Machine>(&body);
        let _ = decode_page::<UnitFile>(&body);
        let _ = error_message(&body);
    }
}
