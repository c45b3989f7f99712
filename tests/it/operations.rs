//! What `docs/operations.md` tells to alert on, and to look up, is there.

const OPERATIONS: &str = include_str!("../../docs/operations.md");
const PROTOCOL: &str = include_str!("../../docs/protocol.md");

/// The files that it describes, and that name metrics.
const FILES: [&str; 4] = [
    OPERATIONS,
    include_str!("../../packaging/prometheus/fleet-monitor-alerts.yaml"),
    include_str!("../../packaging/prometheus/fleet-monitor-recording.yaml"),
    include_str!("../../packaging/grafana/fleet-monitor.json"),
];

#[test]
fn the_metrics_that_it_and_its_files_name_are_in_the_protocol() {
    let word = |character: char| !(character.is_ascii_alphanumeric() || character == '_');

    for file in FILES {
        let named: Vec<&str> = file
            .split(word)
            .filter(|word| word.starts_with("fleet_") || word.starts_with("process_"))
            .filter(|word| *word != "fleet_monitor")
            .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
            .collect();
        assert!(named.len() >= 5, "{named:?}");
        for metric in named {
            assert!(PROTOCOL.contains(&format!("`{metric}`")), "{metric}");
        }
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
