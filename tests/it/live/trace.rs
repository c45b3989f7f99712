//! Prints everything that is known of one unit, to find out why it was shown as it was.
//!
//! It asserts nothing.

use std::env;
use std::time::Duration;

use super::recording::{History, fixture, polled, polls, replay};
use super::truth::Truth;
use super::{END, POLLED, SOURCES};

/// One line for each change of a unit's rows: its time, the machine, the origin, and the row.
fn lines(history: &History, origin: &str, unit: &str) -> Vec<(Duration, String)> {
    let mut lines = Vec::new();

    for key in history.keys().filter(|key| &*key.0 == unit) {
        for (at, shown) in history.changes(key) {
            let row = match shown {
                Some(shown) => format!("{:28} {:13} {}", shown.state, shown.verdict, shown.reason),
                None => "-".to_owned(),
            };
            let machine = &key.1[..4.min(key.1.len())];
            lines.push((*at, format!("{machine} {origin:7} {row}")));
        }
    }
    lines
}

#[test]
#[ignore = "it asserts nothing: it prints the trace of the unit FLEET_LIVE_TRACE"]
fn trace() {
    let unit = env::var("FLEET_LIVE_TRACE").expect("FLEET_LIVE_TRACE names a unit");
    let start = env::var("FLEET_LIVE_START").map_or(0.0, |start| start.parse().unwrap());
    let start = Duration::from_secs_f64(start);
    let sources = match env::var("FLEET_LIVE_SOURCE") {
        Ok(source) => vec![source],
        Err(_) => SOURCES.map(str::to_owned).into(),
    };

    for source in sources {
        let replay = match &*source {
            POLLED => replay(&polled(&polls("etcd.jsonl.gz"), start), start),
            _ => replay(&polls(&format!("{source}.jsonl.gz")), start),
        };

        let mut timeline = lines(&replay.shown, "shown", &unit);
        timeline.extend(lines(&replay.listed, "listed", &unit));
        timeline.extend(lines(&Truth::read(END).history, "true", &unit));
        for (at, event) in &replay.events {
            let is_related = event.place().is_none_or(|place| *place.unit == *unit);
            if is_related {
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
