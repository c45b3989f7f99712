//! The README's table of options is that of the program.

use std::collections::BTreeMap;
use std::process::Command;

const README: &str = include_str!("../../README.md");

/// Each key of the configuration with its default; without one it is `none`.
fn options() -> BTreeMap<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"));
    let empty = tempfile::NamedTempFile::new().unwrap();
    let output = command
        .env_clear()
        .arg("--check-config")
        .arg("--config")
        .arg(empty.path())
        .output()
        .unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    let plain = |value: &str| value.replace(['"', '[', ']', ' '], "");
    let option = |line: &str| match line.split_once(" = ") {
        Some((key, rest)) => {
            let value = plain(
                rest.rsplit_once("  # default")
                    .unwrap_or_else(|| panic!("not a default: {line}"))
                    .0,
            );
            (key.trim().to_owned(), if value.is_empty() { "none".to_owned() } else { value })
        }
        None => {
            let key = line
                .strip_prefix("# ")
                .and_then(|line| line.strip_suffix(" is not set"));
            (
                key.unwrap_or_else(|| panic!("not understood: {line}")).to_owned(),
                "none".to_owned(),
            )
        }
    };
    report.lines().map(option).collect()
}

/// The cells of each row of the table of options.
fn table() -> Vec<Vec<&'static str>> {
    let (_, rest) = README
        .split_once("<!-- table: options -->\n")
        .expect("a table of options");
    let rows = rest.lines().take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

#[test]
fn every_option_is_there_with_its_default() {
    // These two belong to the command line alone, or are words of the program.
    let not_in_a_file = ["config", "check_config"];
    let listed: BTreeMap<String, String> = table()
        .into_iter()
        .map(|row| {
            let name = row[0]
                .split('`')
                .find_map(|part| part.strip_prefix("--"))
                .expect("a long name");
            (name.replace('-', "_"), row[1].replace('`', ""))
        })
        .filter(|(key, _)| !not_in_a_file.contains(&&**key))
        .collect();
    assert_eq!(listed, options());
}

#[test]
fn every_option_has_the_short_name_that_the_help_tells() {
    let output = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for row in table() {
        let names: Vec<&str> = row[0].split('`').filter(|name| name.starts_with('-')).collect();
        let expected = names.join(", ");
        let is_it = |line: &str| {
            line.trim()
                .strip_prefix(&*expected)
                .is_some_and(|rest| !rest.starts_with('-'))
        };
        assert!(help.lines().any(is_it), "{expected} in\n{help}");
    }
}
