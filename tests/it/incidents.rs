//! Single incidents: which events and verdicts they lead to, and that all monitors show the same.

mod agreement;
mod storm;

use std::time::Duration;

use fleet_monitor::cluster::{
    Event, Machine, Reading, RegistrySnapshot, Severity, UnitFile, UnitName, UnitState,
};
use fleet_monitor::source::recording::RecordedReport;

use crate::live::recording::{MonitorReplay, Shown, UnitOnMachine, polled, polls, replay};
use crate::live::truth::lost_then_stale;
use crate::support::builders;

const LOST: &str = "cccccccccccccccccccccccccccccccc";

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn key(unit: &str, machine: &str) -> UnitOnMachine {
    (unit.into(), machine.into())
}

/// A machine by its ID.
fn machine(id: &str) -> Machine {
    Machine {
        ip: Some(format!("10.0.0.{id}").into()),
        ..builders::machine(id)
    }
}

/// A unit that its machine reports as running.
fn running(unit: &str, machine: &str) -> UnitState {
    UnitState {
        ip: Some(format!("10.0.0.{machine}").into()),
        ..builders::unit_state(unit, machine, "active/running")
    }
}

/// A unit that fleet wants launched on a machine.
fn wanted(unit: &str, machine: &str) -> UnitFile {
    UnitFile {
        requirements_known: false,
        ..builders::unit_file(unit, Some(machine))
    }
}

fn registry_at(at: f64, registry: RegistrySnapshot) -> RecordedReport {
    let topics = &fleet_monitor::cluster::FleetList::ALL;
    RecordedReport {
        at: seconds(at),
        time: None,
        took: Duration::ZERO,
        lists: topics,
        schedule: None,
        outcome: Ok(Reading::Registry(registry)),
    }
}

impl MonitorReplay {
    /// The units of the events with this name, each with its second.
    fn units_of(&self, event: &str) -> Vec<(f64, UnitName)> {
        let events = self.events.iter().filter(|(_, it)| it.name() == event);
        events
            .filter_map(|(at, event)| Some((at.as_secs_f64(), event.place()?.unit.clone())))
            .collect()
    }

    fn count(&self, event: &str) -> usize {
        self.events.iter().filter(|(_, it)| it.name() == event).count()
    }

    /// The verdict on a row at a second; `-` if the row was not there.
    fn verdict(&self, key: &UnitOnMachine, at: f64) -> &'static str {
        self.shown.at(key, seconds(at)).map_or("-", |shown| shown.verdict)
    }

    /// The different verdicts on a row between two seconds, in order.
    fn verdicts(&self, key: &UnitOnMachine, from: f64, to: f64) -> Vec<&'static str> {
        let spans = self.shown.spans(key, seconds(to));
        let spans =
            spans.filter(|(begun, ended, _)| *begun < seconds(to) && *ended > seconds(from));
        let mut verdicts: Vec<_> = spans
            .map(|(_, _, shown)| shown.map_or("-", |shown| shown.verdict))
            .collect();
        verdicts.dedup();
        verdicts
    }
}

#[test]
fn a_fleetd_that_crashed_removes_no_row_from_etcd() {
    let replay = replay(&polls("1-etcd-fleetd-crash.jsonl"), Duration::ZERO);

    assert_eq!(replay.units_of("gone"), []);
    for unit in ["agent.service", "pinned.service"] {
        assert_eq!(
            replay.verdict(&key(unit, LOST), 60.0),
            "ok",
            "{unit}, after its machine has reported it again"
        );
    }
}

#[test]
fn a_fleetd_that_crashed_removes_no_row_from_lists() {
    let polls = polls("2-fleetctl-fleetd-crash.jsonl");
    for start in 0..10 {
        let replay = replay(&polls, Duration::from_secs(start));

        assert_eq!(replay.units_of("gone"), [], "from {start} s on");
        for unit in ["agent.service", "pinned.service"] {
            assert_eq!(
                replay.verdict(&key(unit, LOST), 118.0),
                "ok",
                "{unit}, after its machine has reported it again"
            );
        }
    }
}

#[test]
fn the_rows_of_a_lost_machine_are_lost_until_fleet_has_them_elsewhere() {
    let replay = replay(&polls("3-fleetctl-machine-lost-then-stale.jsonl"), Duration::ZERO);

    // The machine leaves at 20.0 s, which is shown within two polls, and six of twelve units start
    // elsewhere at 22.1 s.
    for unit in ["u02", "u03", "u06", "u07", "u10", "u11"] {
        let key = key(&format!("{unit}.service"), LOST);
        assert_eq!(replay.verdict(&key, 30.0), "-", "{unit} is elsewhere");
    }
    for unit in ["u14", "u15", "u18", "u19", "u22", "u23"] {
        let key = key(&format!("{unit}.service"), LOST);
        assert_eq!(replay.verdicts(&key, 24.0, 88.0), ["machine_lost"], "{unit} is nowhere");
    }
    assert_eq!(lost_then_stale(&replay.shown), []);
}

#[test]
fn one_lost_machine_does_not_make_the_source_suspect() {
    let replay = replay(&polls("3-fleetctl-machine-lost-then-stale.jsonl"), Duration::ZERO);
    assert_eq!((replay.count("source_suspect"), replay.count("machine_lost")), (0, 1));
}

#[test]
fn a_unit_that_restarts_for_ten_minutes_is_a_crash_loop_from_20_s_on() {
    let replay = replay(&polls("4-crash-loop.jsonl"), Duration::ZERO);
    let key = replay.shown.keys().find(|key| &*key.0 == "flap.service").unwrap();

    assert_eq!(replay.verdicts(key, 20.2, 598.0), ["crash_loop"]);
}

#[test]
fn a_crash_loop_is_one_event_within_20_s_and_none_of_its_restarts_is() {
    let polls = polls("4-crash-loop.jsonl");
    for start in 0..10 {
        let replay = replay(&polls, Duration::from_secs(start));
        let [(at, event)] = replay.events.as_slice() else {
            panic!("from {start} s on: {:?}", replay.events)
        };

        assert!(*at <= seconds(start as f64 + 20.0), "{at:?}");
        assert_eq!((event.name(), event.severity()), ("crash_loop", Severity::Warning));
        let place = event.place().unwrap();
        assert_eq!((&*place.unit, place.ip.as_deref()), ("flap.service", Some("10.0.0.1")));
        assert!(event.reason().unwrap().chars().any(|it| it.is_ascii_digit()), "{event}");
    }
}

/// The unit fails every five seconds until 300 s, and then runs. It is polled each second.
#[test]
fn a_crash_loop_whose_restarts_are_all_seen_is_one_event_and_one_when_it_is_over() {
    let there = "1";
    let elsewhere = "2";
    let registry = |at: u16| {
        let mut unit = running("a.service", there);
        if at < 300 && at % 5 < 3 {
            unit.active = Some("activating".into());
            unit.sub = Some("auto-restart".into());
        }
        RegistrySnapshot {
            index: at.into(),
            states: [unit, running("b.service", elsewhere)].into(),
            machines: [machine(there), machine(elsewhere)].into(),
            files: [wanted("a.service", there), wanted("b.service", elsewhere)].into(),
            ..RegistrySnapshot::default()
        }
    };
    let polls: Vec<RecordedReport> =
        (0..420).map(|at| registry_at(at.into(), registry(at))).collect();
    let lists = polled(&polls, Duration::ZERO);

    for (source, replay) in [
        ("etcd", replay(&polls, Duration::ZERO)),
        ("lists", replay(&lists, Duration::ZERO)),
    ] {
        let count = |name| replay.count(name);
        assert_eq!(
            (count("crash_loop"), count("crash_loop_over")),
            (1, 1),
            "{source}: {:?}",
            replay.events
        );
        assert!(
            count("changed") <= 4,
            "{source}: only restarts before the loop was detected: {:?}",
            replay.events
        );
        let (at, over) = replay.events.last().unwrap();
        assert_eq!(
            (over.name(), over.to()),
            ("crash_loop_over", Some("active/running")),
            "{source}"
        );
        assert!(
            (seconds(358.0)..seconds(366.0)).contains(at),
            "{source}: it ran for a minute: {at:?}"
        );
    }
}

#[test]
fn the_reason_of_a_lasting_crash_loop_has_the_number_of_restarts() {
    let replay = replay(&polls("4-crash-loop.jsonl"), Duration::ZERO);
    let key = replay.shown.keys().find(|key| &*key.0 == "flap.service").unwrap();
    let Some(Shown { reason, .. }) = replay.shown.at(key, seconds(598.0)) else {
        panic!("it is there")
    };
    assert!(reason.chars().any(|it| it.is_ascii_digit()), "{reason}");
}

#[test]
fn a_machine_that_is_back_long_after_an_outage_of_etcd_has_lost_no_row() {
    let replay = replay(&polls("5-etcd-outage.jsonl"), Duration::ZERO);

    assert_eq!(replay.units_of("gone"), []);
    for unit in ["agent.service", "web.service"] {
        let key = key(unit, LOST);
        assert!(
            !replay.verdicts(&key, 41.0, 119.0).contains(&"ok"),
            "{unit} is not reported from 40 to 120 s"
        );
        assert_eq!(
            replay.verdict(&key, 125.0),
            "ok",
            "{unit}, after its machine has reported it again"
        );
    }
}

#[test]
fn a_fleetd_that_crashes_again_before_its_first_report_removes_no_row() {
    let replay = replay(&polls("6-etcd-fleetd-crashes-again.jsonl"), Duration::ZERO);
    let pinned = key("pinned.service", LOST);

    assert_eq!(replay.units_of("gone"), []);
    assert_eq!((replay.count("machine_lost"), replay.count("machine_joined")), (2, 2));
    // The state is renewed late at 28.5 s and expires at 58.5 s; the machine is lost at 80 s, and
    // reports the unit again at 170 s.
    assert_eq!(replay.verdicts(&pinned, 0.0, 58.4), ["ok", "stale", "ok", "stale"]);
    assert_eq!(replay.units_of("stale"), [(61.5, "pinned.service".into())]);
    assert_eq!(replay.verdicts(&pinned, 80.1, 169.9), ["machine_lost"]);
    assert_eq!(replay.verdict(&pinned, 170.0), "ok");
}

/// `fleetctl unload` makes fleetd v1.0.0 delete a unit's states and set them again 4 ms later;
/// seconds after that it deletes them for good.
#[test]
fn states_that_are_deleted_and_set_again_at_once_are_no_event() {
    let there = "1";
    let elsewhere = "2";
    let states = vec![running("a.service", there), running("b.service", elsewhere)];
    let launched = vec![wanted("a.service", there), wanted("b.service", elsewhere)];

    let mut unloaded = launched.clone();
    unloaded[0].desired = Some("inactive".into());
    let mut taken_away = unloaded.clone();
    taken_away[0].target = None;

    let registry = |index, states: &[UnitState], files: &[UnitFile]| RegistrySnapshot {
        index,
        states: states.into(),
        machines: [machine(there), machine(elsewhere)].into(),
        files: files.into(),
        ..RegistrySnapshot::default()
    };
    let mut polls = vec![
        registry_at(0.0, registry(1, &states, &launched)),
        registry_at(10.0, registry(2, &states, &unloaded)),
        registry_at(10.4, registry(3, &states, &taken_away)),
        registry_at(11.0, registry(4, &states[1..], &taken_away)),
        registry_at(11.004, registry(5, &states, &taken_away)),
        registry_at(12.0, registry(6, &states, &taken_away)),
        registry_at(15.0, registry(7, &states[1..], &taken_away)),
    ];
    polls.extend(
        (16..30).map(|at| registry_at(f64::from(at), registry(8, &states[1..], &taken_away))),
    );

    let replay = replay(&polls, Duration::ZERO);
    let rows = |(_, event): &&(Duration, Event)| {
        matches!(event, Event::Gone { .. } | Event::Appeared { .. })
    };
    let events: Vec<_> = replay.events.iter().filter(rows).collect();
    let [(at, Event::Gone { place, .. })] = events.as_slice() else {
        panic!("it is gone once: {events:?}")
    };
    assert_eq!(&*place.unit, "a.service");
    assert!((seconds(15.0)..seconds(20.0)).contains(at), "{at:?}");
}
