//! What `docs/operations.md` tells to alert on, and to look up, is there.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

const OPERATIONS: &str = include_str!("../../docs/operations.md");
const PROTOCOL: &str = include_str!("../../docs/protocol.md");

fn rules() -> &'static str {
    let (_, rest) = OPERATIONS
        .split_once("<!-- example: alerting rules -->\n```yaml\n")
        .expect("rules");
    rest.split_once("```").unwrap().0
}

#[test]
fn prometheus_accepts_the_alerting_rules() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("rules.yaml");
    fs::write(&file, rules()).unwrap();
    match Command::new("promtool").args(["check", "rules"]).arg(&file).output() {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) if std::env::var_os("CI").is_none_or(|ci| ci != "true") => {
            eprintln!(
                "not checked: promtool cannot be run ({error}); it is in Debian's package prometheus"
            );
        }
        Err(error) => {
            panic!("promtool cannot be run: {error}; it is in Debian's package prometheus")
        }
    }
}

#[test]
fn the_metrics_that_it_names_are_in_the_protocol() {
    let word = |character: char| !(character.is_ascii_alphanumeric() || character == '_');
    let named: Vec<&str> = OPERATIONS
        .split(word)
        .filter(|word| word.starts_with("fleet_") && *word != "fleet_monitor")
        .collect();
    assert!(named.len() > 8, "{named:?}");
    for metric in named {
        assert!(PROTOCOL.contains(&format!("`{metric}`")), "{metric}");
    }
}

/// As GitHub makes them.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|&character| character.is_alphanumeric() || "-_ ".contains(character));
    kept.map(|character| if character == ' ' { '-' } else { character })
        .collect()
}

#[test]
fn its_links_lead_somewhere() {
    let headings = OPERATIONS.lines().filter(|line| line.starts_with('#'));
    let anchors: Vec<String> = headings
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect();
    for link in OPERATIONS
        .split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap())
    {
        match link.split_once('#') {
            Some(("", place)) => {
                assert!(anchors.iter().any(|anchor| anchor == place), "{link} in {anchors:#?}");
            }
            _ => {
                let file = link.split('#').next().unwrap();
                assert!(
                    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                        .join("docs")
                        .join(file)
                        .is_file(),
                    "{link}"
                );
            }
        }
    }
}
