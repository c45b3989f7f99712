//! Which alerts of `packaging/prometheus` fire during recorded incidents, and when: `promtool`
//! evaluates the rules on the series that Prometheus would have had.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use fleet_monitor::cluster::{FleetList, Reading, UnitFile, UnitState};
use fleet_monitor::source::recording::RecordedReport;
use tempfile::TempDir;

use super::ALERTS;
use super::scrapes::{Afterwards, INTERVAL, Scrapes, scrapes};
use super::tools::promtool;
use crate::architecture::root;
use crate::live::recording;
use crate::support::builders;
use crate::timeline;

/// Units of the recorded clusters that fail on purpose, or that no machine may run.
const BROKEN: &str =
    "(badsetting|conflict-a|conflict-b|crash|flap|masked-user|notify-static|nowhere)[.]service";

/// An alert that fires from a second on until the end.
#[derive(Clone, Copy, Debug)]
struct Firing {
    alert: &'static str,
    /// Empty for an alert about a machine or a monitor.
    unit: &'static str,
    /// Empty for an alert about a monitor, or a unit that is nowhere.
    ip: &'static str,
    from: u64,
}

fn firing(alert: &'static str, unit: &'static str, ip: &'static str, from: u64) -> Firing {
    Firing { alert, unit, ip, from }
}

/// A timeline as the program would have read it, up to a second of it.
pub fn timeline_until(name: &str, end: u64) -> Vec<RecordedReport> {
    let polls = timeline::polls(name);
    timeline::sampled(&polls, Duration::from_millis(600))
        .into_iter()
        .take_while(|poll| poll.at <= Duration::from_secs(end))
        .cloned()
        .collect()
}

/// The polls, and with each poll of the machines one of the unit files. They were not recorded in
/// the outages of etcd; these follow from the units that were listed first.
fn with_unit_files(polls: Vec<RecordedReport>) -> Vec<RecordedReport> {
    let states = polls.iter().find_map(|poll| match &poll.outcome {
        Ok(Reading::Units { states, .. }) => Some(states),
        _ => None,
    });
    let files = unit_files(states.expect("units were read"));

    let with_files = |poll: RecordedReport| {
        let file_poll = (poll.lists == FleetList::Machines.alone()).then(|| RecordedReport {
            lists: FleetList::UnitFiles.alone(),
            outcome: poll
                .outcome
                .as_ref()
                .map(|_| Reading::UnitFiles { files: files.clone() })
                .map_err(Clone::clone),
            ..poll.clone()
        });
        [poll].into_iter().chain(file_poll)
    };
    polls.into_iter().flat_map(with_files).collect()
}

fn unit_files(states: &[UnitState]) -> Vec<UnitFile> {
    let mut files: Vec<UnitFile> = Vec::new();
    for state in states {
        match files.iter_mut().find(|file| file.unit == state.unit) {
            Some(file) => {
                file.global = true;
                file.target = None;
            }
            None => files.push(UnitFile {
                requirements_known: false,
                ..builders::unit_file(&state.unit, state.machine.as_deref())
            }),
        }
    }
    files
}

/// Checks at each scrape which alerts fire, those about units whose name matches `except` aside.
fn assert_fires(name: &str, scrapes: &Scrapes, except: &str, expected: &[Firing]) {
    let rules = root().join(ALERTS);
    let mut text = format!(
        "rule_files: ['{}']\nevaluation_interval: {INTERVAL}s\ntests:\n  - name: {name}\n    \
         interval: {INTERVAL}s\n    input_series:\n{}    promql_expr_test:\n",
        rules.display(),
        scrapes.input_series()
    );

    for at in scrapes.times() {
        writeln!(
            text,
            "      - eval_time: {at}s\n        expr: 'group by (alertname, unit, ip) \
             (ALERTS{{alertstate=\"firing\",unit!~\"{except}\"}})'\n        exp_samples:"
        )
        .expect("written");
        for it in expected.iter().filter(|it| it.from <= at) {
            let mut labels = format!("alertname=\"{}\"", it.alert);
            for (label, value) in [("unit", it.unit), ("ip", it.ip)] {
                if !value.is_empty() {
                    write!(labels, ",{label}=\"{value}\"").expect("written");
                }
            }
            writeln!(text, "          - labels: '{{{labels}}}'\n            value: 1")
                .expect("written");
        }
    }

    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join(format!("{name}.yaml"));
    fs::write(&file, text).expect("written");
    promtool(&["test", "rules", file.to_str().expect("UTF-8")], b"");
}

/// Ten minutes, in which all alerts fire that ever do but those that wait for half an hour.
const TEN_MINUTES: Duration = Duration::from_secs(600);

#[test]
fn a_restart_of_fleetd_or_an_outage_of_etcd_fires_no_alert() {
    // The second recording begins before all rows are back after an earlier restart.
    for (name, afterwards) in [
        ("fleetd-restart", Afterwards::AsBefore),
        ("fleetd-restart-of-the-polled-machine", Afterwards::AsItEnded),
    ] {
        let polls = timeline_until(name, 120);
        assert_fires(name, &scrapes(&polls, afterwards, TEN_MINUTES), BROKEN, &[]);
    }

    // A machine joins when etcd is back after 70 s, and is not there in what follows.
    for (name, expected) in [
        ("etcd-down-10s", &[][..]),
        ("etcd-down-70s", &[firing("FleetMachineLost", "", "172.17.8.104", 270)]),
    ] {
        let polls = with_unit_files(timeline_until(name, 120));
        assert_fires(name, &scrapes(&polls, Afterwards::AsBefore, TEN_MINUTES), BROKEN, expected);
    }
}

/// An outage of etcd, six times a fleetd that is killed or stopped, and a network that is away for
/// a minute.
#[test]
fn ten_minutes_of_short_trouble_fire_no_alert_for_a_unit_that_is_well() {
    // From the second time on that so many rows are missing that the list is suspect.
    for (name, second) in
        [("api.jsonl.gz", 195), ("fleetctl.jsonl.gz", 555), ("etcd.jsonl.gz", 555)]
    {
        let polls = recording::polls(name);
        let end = polls.last().expect("polls").at;
        let scrapes = scrapes(&polls, Afterwards::AsItEnded, end);
        assert_fires(name, &scrapes, BROKEN, &[firing("FleetUnsteady", "", "", second)]);
    }
}

#[test]
fn a_machine_that_is_back_within_two_minutes_fires_no_alert() {
    for name in ["kill-machine-and-return", "shutdown-machine-and-return", "partition-machine"] {
        let polls = timeline_until(name, 120);
        let scrapes = scrapes(&polls, Afterwards::AsBefore, TEN_MINUTES);
        assert_fires(name, &scrapes, BROKEN, &[]);
    }
}

/// It loses power at 2 s, which fleet notices at 21 s.
#[test]
fn a_machine_that_stays_away_is_named_and_so_are_its_units_that_are_nowhere() {
    let polls = timeline_until("kill-machine-and-return", 55);
    let scrapes = scrapes(&polls, Afterwards::AsItEnded, TEN_MINUTES);
    let ip = "172.17.8.104";
    assert_fires(
        "killed-for-good",
        &scrapes,
        BROKEN,
        &[
            firing("FleetMachineLost", "", ip, 150),
            firing("FleetUnitNowhere", "node-agent.service", ip, 330),
        ],
    );
}

#[test]
fn each_unit_that_a_lost_machine_leaves_behind_is_named() {
    let polls = recording::polls("3-fleetctl-machine-lost-then-stale.jsonl");
    let scrapes = scrapes(&polls, Afterwards::AsItEnded, TEN_MINUTES);
    let left = ["u14", "u15", "u18", "u19", "u22", "u23"];
    let mut expected = vec![firing("FleetMachineLost", "", "10.0.0.3", 150)];
    let names = left.map(|unit| format!("{unit}.service").leak() as &'static str);
    expected.extend(names.map(|unit| firing("FleetUnitNowhere", unit, "10.0.0.3", 330)));
    assert_fires("left-behind", &scrapes, BROKEN, &expected);
}

#[test]
fn a_crash_loop_fires_one_alert_for_as_long_as_it_lasts() {
    let polls = recording::polls("4-crash-loop.jsonl");
    let scrapes = scrapes(&polls, Afterwards::AsItEnded, TEN_MINUTES);
    let flap = firing("FleetUnitCrashLoop", "flap.service", "10.0.0.1", 75);
    assert_fires("crash-loop", &scrapes, "none", &[flap]);
}

/// In the same incident as above, in which no machine of theirs was concerned.
#[test]
fn units_that_fail_all_the_time_have_one_alert_without_a_break() {
    let polls = timeline_until("fleetd-restart-of-the-polled-machine", 120);
    let scrapes = scrapes(&polls, Afterwards::AsItEnded, TEN_MINUTES);
    assert_fires(
        "broken",
        &scrapes,
        "none",
        &[
            firing("FleetUnitFailed", "badsetting.service", "172.17.8.104", 75),
            firing("FleetUnitFailed", "crash.service", "172.17.8.104", 75),
            firing("FleetUnitFailed", "masked-user.service", "172.17.8.102", 75),
            firing("FleetUnitCrashLoop", "flap.service", "172.17.8.104", 75),
            firing("FleetUnitNowhere", "conflict-a.service", "", 315),
            firing("FleetUnitNowhere", "nowhere.service", "", 315),
        ],
    );
}

/// etcd stops at 2 s. The verdicts on the units stay as they were.
#[test]
fn an_outage_that_lasts_fires_an_alert_for_the_source_and_none_for_a_unit() {
    let polls = with_unit_files(timeline_until("etcd-down-70s", 60));
    let scrapes = scrapes(&polls, Afterwards::AsItEnded, TEN_MINUTES);
    assert_fires("outage", &scrapes, BROKEN, &[firing("FleetUnreadable", "", "", 300)]);
}
