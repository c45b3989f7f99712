use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::tabwriter::render;
use super::*;
use crate::cluster::MachineId;
use crate::snapshots::assert_catalogue;

const UNITS: [&str; 6] = ["unit", "load", "active", "sub", "machine", "hash"];
const MACHINES: [&str; 3] = ["machine", "ip", "metadata"];
const FILES: [&str; 6] = ["unit", "global", "dstate", "target", "hash", "desc"];

/// As v0.11.8 prints it. The second machine is no longer in fleet's list of machines; the third row
/// has no hash.
const LISTED: &str = "\
    conflict-a.service\tloaded\tactive\t\trunning\t\t\
    5555eeee6666ffff7777000088881111/10.44.0.12\tb1eecd8638577595d5889f7bdf42f79d499331a4\n\
    crash.service\t\tloaded\tfailed\t\tfailed\t\t\
    1111aaaa2222bbbb3333cccc4444dddd\t\t3854661799e66f56f11a25b36b834b49efb64735\n\
    flap.service\t\tloaded\tactivating\tauto-restart\t\
    9999222233334444555566667777aaaa/10.44.0.13\t-\n";

#[test]
fn units_are_read_by_their_columns() {
    let units = units(LISTED.as_bytes(), &UNITS).unwrap();
    assert_eq!(units.len(), 3);
    assert_eq!(
        units[0],
        UnitState {
            unit: "conflict-a.service".into(),
            machine: Some("5555eeee6666ffff7777000088881111".into()),
            ip: Some("10.44.0.12".into()),
            load: Some("loaded".into()),
            active: Some("active".into()),
            sub: Some("running".into()),
            hash: Some("b1eecd8638577595d5889f7bdf42f79d499331a4".into()),
        }
    );
    assert_eq!(
        (units[1].machine.as_deref(), &units[1].ip),
        (Some("1111aaaa2222bbbb3333cccc4444dddd"), &None)
    );
    assert_eq!((units[2].sub.as_deref(), &units[2].hash), (Some("auto-restart"), &None));
}

#[test]
fn equal_texts_of_many_rows_are_stored_once() {
    let lines = ["a.service\tloaded\tm1/10.0.0.1\n", "b.service\tnot-found\tm2/10.0.0.2\n"];
    let read = units(lines.repeat(2).concat().as_bytes(), &["unit", "load", "machine"]).unwrap();
    let texts = |row: usize| {
        let UnitState { machine, ip, load, .. } = &read[row];
        [machine.as_deref(), ip.as_deref(), load.as_deref()]
            .map(|text: Option<&str>| text.unwrap().as_ptr())
    };
    assert_eq!((texts(0), texts(1)), (texts(2), texts(3)));
    assert_eq!(read[3].ip.as_deref(), Some("10.0.0.2"));
}

#[test]
fn the_layout_of_the_tests_is_that_of_fleetctl() {
    let rows: Vec<Vec<&str>> = LISTED
        .lines()
        .map(|line| line.split('\t').filter(|s| !s.is_empty()).collect())
        .collect();
    assert_eq!(render(&rows), LISTED);
}

#[test]
fn metadata_is_read_whole() {
    let output = "3f1a8c5e\t172.17.8.101\towner=Zoë \"q\" \t tab,tags=a,b=c d\n\
                  9c4b7a2e\t172.17.8.102\t-\n\
                  d2e8f4a1\t-\t\t=noval\n";
    let machines = machines(output.as_bytes(), &MACHINES).unwrap();
    assert_eq!(machines[0].metadata.as_deref(), Some("owner=Zoë \"q\" \t tab,tags=a,b=c d"));
    assert_eq!(machines[1].metadata, None);
    assert_eq!((&machines[2].ip, machines[2].metadata.as_deref()), (&None, Some("=noval")));
}

#[test]
fn metadata_in_random_order_is_sorted() {
    let mut machines = machines(b"a\t-\trole=db,disk=ssd,=noval\nb\t-\t-\n", &MACHINES).unwrap();
    sort_metadata(&mut machines);
    assert_eq!(machines[0].metadata.as_deref(), Some("=noval,disk=ssd,role=db"));
}

#[test]
fn a_target_is_a_machine_or_nothing() {
    let output = "a.service\tfalse\tlaunched\tabcd/10.0.0.1\tff\tA\n\
                  b.service\ttrue\tlaunched\tglobal\tff\tB\n\
                  c.service\ttrue\tlaunched\t-\tff\t-\n\
                  d.service\tfalse\t-\t-\tff\tD\n";
    let files = unit_files(output.as_bytes(), &FILES).unwrap();
    let targets: Vec<_> = files
        .iter()
        .map(|file| (file.global, file.target.as_deref()))
        .collect();
    assert_eq!(targets, [(false, Some("abcd")), (true, None), (true, None), (false, None)]);
    assert_eq!((files[3].desired.as_deref(), files[2].description.as_deref()), (None, None));
    assert!(files.iter().all(|file| file.target_known));
}

#[test]
fn a_column_that_was_not_requested_is_unknown() {
    let files = unit_files(b"a.service\tff\tA\n", &["unit", "hash", "desc"]).unwrap();
    assert!(!files[0].target_known && !files[0].global && files[0].desired.is_none());
}

#[test]
fn a_description_may_take_several_lines() {
    let output = "a.service\tfirst line \\\n  second line \\\n\tthird\nb.service\t-\n";
    let files = unit_files(output.as_bytes(), &["unit", "desc"]).unwrap();
    assert_eq!(files[0].description.as_deref(), Some("first line  second line  third"));
    assert_eq!(files[1].unit, "b.service".into());
}

#[test]
fn a_line_may_end_with_the_line_ends_of_terminals() {
    for end in ["\r\n", "\r\r\n"] {
        let behind_a_terminal = |output: &str| output.replace('\n', end).into_bytes();
        assert_eq!(units(&behind_a_terminal(LISTED), &UNITS), units(LISTED.as_bytes(), &UNITS));
        let machines = machines(&behind_a_terminal("a\t-\trole=web,rack=7\n"), &MACHINES).unwrap();
        assert_eq!(machines[0].metadata.as_deref(), Some("role=web,rack=7"));
        let files =
            unit_files(&behind_a_terminal("a\tfirst \\\n  second\nb\t-\n"), &["unit", "desc"])
                .unwrap();
        assert_eq!(
            (files[0].description.as_deref(), &files[1].description),
            (Some("first  second"), &None)
        );
    }
}

#[test]
fn a_control_character_in_a_column_is_an_error() {
    for control in ["\0", "\x08", "\x1b[31m", "\x7f", "\u{9b}", "\r"] {
        let output = format!("b.service\tloaded\na.{control}service\tloaded\n");
        let error = units(output.as_bytes(), &["unit", "load"]).unwrap_err();
        assert!(
            matches!(error, TableError::ControlCharacters { line: 2, .. }),
            "{control:?}: {error}"
        );
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
}

#[test]
fn a_control_character_in_free_text_is_replaced() {
    let machines = machines(b"a\t-\track=7\tleft,x=\x1b[31m\x00\n", &MACHINES).unwrap();
    assert_eq!(machines[0].metadata.as_deref(), Some("rack=7\tleft,x=\u{fffd}[31m\u{fffd}"));
    let files = unit_files("a.service\tbell \x07\n".as_bytes(), &["unit", "desc"]).unwrap();
    assert_eq!(files[0].description.as_deref(), Some("bell \u{fffd}"));
}

#[test]
fn an_empty_output_has_no_rows() {
    assert_eq!(units(b"", &UNITS), Ok(Vec::new()));
}

/// Outputs that are no tables of the requested columns.
fn invalid_tables() -> Vec<(&'static [u8], TableError)> {
    let machines = |output: &'static [u8]| (output, machines(output, &MACHINES).unwrap_err());
    let files =
        |output: &'static [u8]| (output, unit_files(output, &["unit", "desc"]).unwrap_err());
    let units = |output: &'static [u8]| (output, units(output, &["unit", "hash"]).unwrap_err());
    vec![
        machines(b"abcd\t\xff\t-\n"),
        machines(b"NAME:\n\tfleetctl - \n"),
        machines(b"Usage of fleetctl:\n"),
        machines(b"a\t-\t-\nb\t-\tx"),
        machines(b"a\t-\t-\nb\t-\n"),
        machines(b"a\t-\t-\n\nb\t-\t-\n"),
        machines(b"-\t-\t-\n"),
        machines(b"/10.0.0.1\t-\t-\n"),
        files(b"-\tx\n"),
        files(b"a.service\tx\\\n"),
        units(b"a\tb\tc\n"),
        units(b"a\x1b[31m\tb\n"),
    ]
}

#[test]
fn an_error_has_the_line_and_the_kind_of_the_problem() {
    use TableError::{CutOff, HelpText, MissingName, NotUtf8, WrongColumns};

    let found: Vec<TableError> = invalid_tables().into_iter().map(|(_, error)| error).collect();
    assert!(
        matches!(
            &found[..],
            [
                NotUtf8(5),
                HelpText,
                HelpText,
                CutOff { line: 2, .. },
                WrongColumns { line: 2, expected: 3, .. },
                WrongColumns { line: 2, expected: 3, .. },
                MissingName { line: 1, .. },
                MissingName { line: 1, .. },
                MissingName { line: 1, .. },
                CutOff { line: 1, .. },
                WrongColumns { line: 1, expected: 2, .. },
                TableError::ControlCharacters { line: 1, .. },
            ]
        ),
        "{found:?}"
    );
    let long = units("ü".repeat(1000).as_bytes(), &["unit", "hash"]).unwrap_err();
    assert!(long.to_string().ends_with("üü…`"), "{long}");
}

#[test]
fn the_wording_of_the_errors() {
    let errors = invalid_tables()
        .into_iter()
        .map(|(output, error)| (output.escape_ascii(), error));
    assert_catalogue("table-errors", errors);
}

fn cell() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9@:_.%-][a-zA-Z0-9@:_. %\u{e9}-]{0,20}"
        .prop_filter("a single dash stands for no value", |cell| cell != "-")
}

fn text() -> impl Strategy<Value = Option<Text>> {
    option::of(cell().prop_map(|cell| cell.as_str().into()))
}

fn place() -> impl Strategy<Value = (Option<MachineId>, Option<Text>)> {
    option::of(("[0-9a-f]{1,32}", option::of("[0-9a-f.:]{1,20}"))).prop_map(|place| match place {
        Some((id, ip)) => (Some(id.as_str().into()), ip.map(|ip| ip.as_str().into())),
        None => (None, None),
    })
}

fn shown(value: Option<&str>) -> String {
    value.unwrap_or("-").to_owned()
}

fn shown_place(machine: Option<&MachineId>, ip: Option<&Text>) -> String {
    match (machine, ip) {
        (Some(machine), Some(ip)) => format!("{machine}/{ip}"),
        (machine, _) => shown(machine.map(|id| &**id)),
    }
}

prop_compose! {
    fn unit_state()(
        unit in cell(),
        (machine, ip) in place(),
        load in text(),
        active in text(),
        sub in text(),
        hash in text(),
    ) -> UnitState {
        UnitState { unit: unit.as_str().into(), machine, ip, load, active, sub, hash }
    }
}

prop_compose! {
    fn machine()(
        id in "[0-9a-f]{1,32}",
        ip in text(),
        metadata in option::of("[a-z=][a-z=,\t \u{e9}]{0,30}"),
    ) -> Machine {
        Machine {
            id: id.as_str().into(),
            ip,
            metadata: metadata.map(|text| text.as_str().into()),
            version: None,
        }
    }
}

prop_compose! {
    fn unit_file()(
        unit in cell(),
        global in any::<bool>(),
        desired in text(),
        (target, _) in place(),
        hash in text(),
        description in text(),
    ) -> UnitFile {
        UnitFile {
            unit: unit.as_str().into(),
            hash,
            desired,
            target: target.filter(|_| !global),
            target_known: true,
            global,
            description,
            requirements: Vec::new(),
            requirements_known: false,
        }
    }
}

/// Reads the output as each of the three lists, whatever it is.
fn read_all_lists(output: &[u8]) {
    let _ = units(output, &UNITS);
    let _ = machines(output, &MACHINES);
    let _ = unit_files(output, &FILES);
}

fn unit_row(state: &UnitState) -> Vec<String> {
    vec![
        state.unit.to_string(),
        shown(state.load.as_deref()),
        shown(state.active.as_deref()),
        shown(state.sub.as_deref()),
        shown_place(state.machine.as_ref(), state.ip.as_ref()),
        shown(state.hash.as_deref()),
    ]
}

fn unit_file_row(file: &UnitFile) -> Vec<String> {
    let target = if file.global {
        "global".into()
    } else {
        shown_place(file.target.as_ref(), None)
    };
    vec![
        file.unit.to_string(),
        file.global.to_string(),
        shown(file.desired.as_deref()),
        target,
        shown(file.hash.as_deref()),
        shown(file.description.as_deref()),
    ]
}

fn machine_row(machine: &Machine) -> Vec<String> {
    vec![
        machine.id.to_string(),
        shown(machine.ip.as_deref()),
        shown(machine.metadata.as_deref()),
    ]
}

/// fleetctl's layout handles a tab within a value as a column, and may print several tabs.
fn with_tabs_joined(machines: Vec<Machine>) -> Vec<Machine> {
    let join = |text: Text| {
        let parts: Vec<&str> = text.split('\t').filter(|part| !part.is_empty()).collect();
        parts.join("\t").as_str().into()
    };
    machines
        .into_iter()
        .map(|machine| Machine { metadata: machine.metadata.map(join), ..machine })
        .collect()
}

proptest! {
    #[test]
    fn no_output_makes_it_panic(output in vec(any::<u8>(), 0..400)) {
        read_all_lists(&output);
    }

    #[test]
    fn no_output_like_a_table_makes_it_panic(output in "([a-\u{e9}/\\\\ -]{0,3}[\t\n]){0,40}") {
        read_all_lists(output.as_bytes());
    }

    #[test]
    fn units_are_read_as_they_were_printed(states in vec(unit_state(), 0..12)) {
        let rows: Vec<Vec<String>> = states.iter().map(unit_row).collect();
        prop_assert_eq!(units(render(&rows).as_bytes(), &UNITS), Ok(states));
    }

    #[test]
    fn unit_files_are_read_as_they_were_printed(files in vec(unit_file(), 0..12)) {
        let rows: Vec<Vec<String>> = files.iter().map(unit_file_row).collect();
        prop_assert_eq!(unit_files(render(&rows).as_bytes(), &FILES), Ok(files));
    }

    #[test]
    fn machines_are_read_as_they_were_printed(listed in vec(machine(), 0..12)) {
        let rows: Vec<Vec<String>> = listed.iter().map(machine_row).collect();
        let read = machines(render(&rows).as_bytes(), &MACHINES).unwrap();
        prop_assert_eq!(with_tabs_joined(read), with_tabs_joined(listed));
    }
}
