//! Prints all that is known of one unit, for whoever has to find out why it was shown as it was.

use std::env;
use std::time::Duration;

use super::recording::{History, fixture, polled, polls, watch};
use super::truth::Truth;
use super::{END, POLLED, SOURCES};

/// A history's lines: when, on which machine, whose word, what.
fn lines(history: &History, whose: &str, unit: &str) -> Vec<(Duration, String)> {
    let mut lines = Vec::new();

    for key in history.keys().filter(|key| &*key.0 == unit) {
        for (at, shown) in history.changes(key) {
            let what = match shown {
                Some(shown) => format!("{:28} {:13} {}", shown.state, shown.verdict, shown.reason),
                None => "-".to_owned(),
            };
            let machine = &key.1[..4.min(key.1.len())];
            lines.push((*at, format!("{machine} {whose:7} {what}")));
        }
    }
    lines
}

#[test]
#[ignore = "it proves nothing: it prints what FLEET_LIVE_TRACE asks for"]
fn trace() {
    let unit = env::var("FLEET_LIVE_TRACE").expect("FLEET_LIVE_TRACE names a unit");
    let start = env::var("FLEET_LIVE_START").map_or(0.0, |start| start.parse().unwrap());
    let start = Duration::from_secs_f64(start);
    let sources = match env::var("FLEET_LIVE_SOURCE") {
        Ok(source) => vec![source],
        Err(_) => SOURCES.map(str::to_owned).into(),
    };

    for source in sources {
        let watched = match &*source {
            POLLED => watch(&polled(&polls("etcd.jsonl.gz"), start), start),
            _ => watch(&polls(&format!("{source}.jsonl.gz")), start),
        };

        let mut timeline = lines(&watched.shown, "shown", &unit);
        timeline.extend(lines(&watched.listed, "listed", &unit));
        timeline.extend(lines(&Truth::read(END).history, "true", &unit));
        for (at, event) in &watched.events {
            let concerns = event.place().is_none_or(|place| *place.unit == *unit);
            if concerns {
                timeline.push((*at, format!("     event   {event}")));
            }
        }
        for line in fixture("actions.jsonl").lines() {
            let action: serde_json::Value = serde_json::from_str(line).unwrap();
            timeline.push((
                Duration::from_secs_f64(action["t"].as_f64().unwrap()),
                format!("     done    {}", action["did"]),
            ));
        }
        timeline.sort_by_key(|line| line.0);

        println!("{source}: {unit}, for a monitor that starts at {} s", start.as_secs_f64());
        for (at, line) in timeline {
            println!("{:8.2}  {line}", at.as_secs_f64());
        }
    }
}
