//! How many bytes a poll takes in a recording: `cargo bench --bench recording`.
//!
//! A cluster of 5,000 units on 50 machines is polled every two seconds, and 80 units change between
//! two polls. All changed rows go back and forth between two states, as those of a crash loop do.
//! The same polls are written as version 2 of the format had them, whole lists, and as they are
//! written now, uncompressed and compressed. Nothing is asserted: the last line has its budget, and
//! ends with `OVER` if that is exceeded.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_monitor::cluster::{FleetList, Moment, Reading, UnitState};
use fleet_monitor::source::SourceReport;
use fleet_monitor::source::recording::{LineEncoder, RecordingFile};

const UNITS: usize = 5_000;
const MACHINES: usize = 50;
const CHANGES: usize = 80;
/// As many as a chapter has: 300 s.
const POLLS: usize = 150;
const INTERVAL: Duration = Duration::from_secs(2);

/// Bytes that a poll may take, its part of the whole list at the beginning of the chapter included.
const BUDGET: f64 = 20_000.0;

fn main() {
    let reports = reports();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole_lists: usize = reports
        .iter()
        .map(|report| match &report.outcome {
            Ok(Reading::Units { states, .. }) => {
                serde_json::to_vec(states).expect("rows are JSON").len()
            }
            _ => 0,
        })
        .sum();
    println!("{UNITS} units, {CHANGES} changes a poll, a chapter of {POLLS} polls");
    println!("whole lists, as version 2: {:.0} bytes a poll", per_poll(whole_lists as f64));

    let (plain, time) = write(&folder.path().join("recording.jsonl"), &reports);
    println!("changed rows, plain: {}", described(plain, time));

    let (compressed, time) = write(&folder.path().join("recording"), &reports);
    let over = if per_poll(compressed as f64) > BUDGET {
        " OVER"
    } else {
        ""
    };
    let described = described(compressed, time);
    println!("changed rows, zstd: {described} (budget: {BUDGET:.0} bytes){over}");
}

fn described(bytes: u64, time: Duration) -> String {
    let bytes = per_poll(bytes as f64);
    let polls_a_day = 86_400.0 / INTERVAL.as_secs_f64();
    format!(
        "{bytes:.0} bytes and {:.2} ms a poll, {:.0} MB a day",
        per_poll(time.as_secs_f64() * 1e3),
        bytes * polls_a_day / 1e6,
    )
}

fn per_poll(sum: f64) -> f64 {
    sum / POLLS as f64
}

/// Writes one chapter. Returns its size in bytes, and how long that took.
fn write(path: &Path, reports: &[SourceReport]) -> (u64, Duration) {
    let start = Instant::now();
    let mut encoder = LineEncoder::default();
    let mut file = RecordingFile::open(path).expect("a file");
    let mut lines = encoder.begin_chapter(&reports[0], &"etcd".into());

    for report in reports {
        lines.extend(encoder.line(report));
        file.append(&lines).expect("a disk");
        lines.clear();
    }
    file.end_chapter().expect("a disk");

    let time = start.elapsed();
    (fs::metadata(path).expect("a file").len(), time)
}

fn reports() -> Vec<SourceReport> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut hexadecimal =
        |digits: usize| -> String { (0..digits).map(|_| random.digit(16)).collect() };
    let machines: Vec<String> = (0..MACHINES).map(|_| hexadecimal(32)).collect();
    let mut states: Vec<UnitState> = (0..UNITS)
        .map(|number| UnitState {
            unit: format!("service-{}@{}.service", number / 10, number % 10)
                .as_str()
                .into(),
            machine: Some(machines[number % MACHINES].as_str().into()),
            ip: Some(format!("10.21.{}.{}", number % MACHINES / 8, number % MACHINES).into()),
            load: Some("loaded".into()),
            active: Some("active".into()),
            sub: Some("running".into()),
            hash: Some(hexadecimal(40).into()),
        })
        .collect();
    let start = Moment::now();

    (0..POLLS)
        .map(|poll| {
            let at = start + INTERVAL * u32::try_from(poll).expect("few polls");
            for change in 0..CHANGES {
                let state = &mut states[(poll * 631 + change * 61) % UNITS];
                let is_running = state.sub.as_deref() == Some("running");
                let (active, sub) = match is_running {
                    true => ("activating", "auto-restart"),
                    false => ("active", "running"),
                };
                state.active = Some(active.into());
                state.sub = Some(sub.into());
            }
            SourceReport {
                lists: FleetList::Units.alone(),
                at,
                took: Duration::from_millis(50),
                outcome: Ok(Reading::Units { states: states.clone(), files: None }),
                schedule: None,
            }
        })
        .collect()
}
