//! The README's table of options, and its other examples, against the programs that read them.

use std::collections::BTreeMap;
use std::process::Command;

use crate::support::cannot_run;

const README: &str = include_str!("../../README.md");

/// Each key of the configuration and its default, or `none`.
fn options_of_the_program() -> BTreeMap<String, String> {
    let empty_file = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"));
    let output = command
        .env_clear()
        .arg("--check-config")
        .arg("--config")
        .arg(empty_file.path())
        .output()
        .unwrap();
    let report = String::from_utf8(output.stdout).unwrap();

    report.lines().map(option_of_report).collect()
}

/// The key and the default in a line of the report: `KEY = VALUE  # default`, or `# KEY is not
/// set`.
fn option_of_report(line: &str) -> (String, String) {
    let Some((key, rest)) = line.split_once(" = ") else {
        let key = line
            .strip_prefix("# ")
            .and_then(|line| line.strip_suffix(" is not set"))
            .unwrap_or_else(|| panic!("unknown line: {line}"));
        return (key.to_owned(), "none".to_owned());
    };

    let (value, _) = rest
        .rsplit_once("  # default")
        .unwrap_or_else(|| panic!("not a default: {line}"));
    let value = value.replace(['"', '[', ']', ' '], "");
    let value = if value.is_empty() { "none".to_owned() } else { value };
    (key.trim().to_owned(), value)
}

/// The cells of each row of the table of options.
fn table_of_options() -> Vec<Vec<&'static str>> {
    let (_, rest) = README
        .split_once("<!-- table: options -->\n")
        .expect("a table of options");
    let rows = rest.lines().take_while(|line| line.starts_with('|')).skip(2);

    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

#[test]
fn the_readme_has_every_option_with_its_default() {
    // These are options of the command line only.
    let not_in_a_file = ["config", "check_config", "env_file"];
    let listed: BTreeMap<String, String> = table_of_options()
        .into_iter()
        .map(|row| {
            let name = row[0]
                .split('`')
                .find_map(|part| part.strip_prefix("--"))
                .expect("a long name");
            // Each link has a flag of its own.
            let key = if name == "link" { "links" } else { name };
            (key.replace('-', "_"), row[1].replace('`', ""))
        })
        .filter(|(key, _)| !not_in_a_file.contains(&&**key))
        .collect();

    assert_eq!(listed, options_of_the_program());
}

#[test]
fn the_readme_has_the_short_names_of_the_help() {
    let output = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();

    for row in table_of_options() {
        let names: Vec<&str> = row[0].split('`').filter(|name| name.starts_with('-')).collect();
        let expected = names.join(", ");
        let has_exactly_these = |line: &str| {
            line.trim()
                .strip_prefix(&*expected)
                .is_some_and(|rest| !rest.starts_with('-'))
        };
        assert!(help.lines().any(has_exactly_these), "{expected} in\n{help}");
    }
}

#[test]
fn prometheus_accepts_the_scrape_configuration() {
    let (_, rest) = README
        .split_once("<!-- example: scrape configuration -->\n```yaml\n")
        .expect("a scrape configuration");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rest.split_once("```").unwrap().0).unwrap();

    match Command::new("promtool")
        .args(["check", "config"])
        .arg(file.path())
        .output()
    {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) => cannot_run(&format!(
            "promtool cannot be run ({error}); it is in Debian's package prometheus"
        )),
    }
}
