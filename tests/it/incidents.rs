//! Single incidents: what they must look like to whoever watches, and that all who watch come to
//! the same view.

mod agreement;
mod storm;

use std::time::Duration;

use fleet_monitor::cluster::{
    Event, Machine, Reading, RegistrySnapshot, Severity, UnitFile, UnitName, UnitState,
};
use fleet_monitor::source::recording::RecordedPoll;

use crate::live::recording::{Key, Shown, Watched, polled, polls, watch};
use crate::live::truth::lost_turned_stale;
use crate::support::builders;

const LOST: &str = "cccccccccccccccccccccccccccccccc";

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn key(unit: &str, machine: &str) -> Key {
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

fn registry_at(at: f64, registry: RegistrySnapshot) -> RecordedPoll {
    let topics = &fleet_monitor::cluster::FleetList::ALL;
    RecordedPoll {
        at: seconds(at),
        took: Duration::ZERO,
        lists: topics,
        outcome: Ok(Reading::Registry(registry)),
    }
}

impl Watched {
    /// The units that were told to be so (`gone`, …), with when.
    fn told(&self, event: &str) -> Vec<(f64, UnitName)> {
        let told = self.events.iter().filter(|(_, it)| it.name() == event);
        told.filter_map(|(at, event)| Some((at.as_secs_f64(), event.place()?.unit.clone())))
            .collect()
    }

    fn count(&self, event: &str) -> usize {
        self.events.iter().filter(|(_, it)| it.name() == event).count()
    }

    /// The verdict on a row at a moment; `-` if it was not there.
    fn verdict(&self, key: &Key, at: f64) -> &'static str {
        self.shown.at(key, seconds(at)).map_or("-", |shown| shown.verdict)
    }

    /// The verdicts on a row between two moments, one after the other.
    fn verdicts(&self, key: &Key, from: f64, to: f64) -> Vec<&'static str> {
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
fn a_fleetd_that_crashed_takes_no_row_away_from_etcd() {
    let watched = watch(&polls("1-etcd-fleetd-crash.jsonl"), Duration::ZERO);

    assert_eq!(watched.told("gone"), []);
    for unit in ["agent.service", "pinned.service"] {
        assert_eq!(
            watched.verdict(&key(unit, LOST), 60.0),
            "ok",
            "{unit}, after its machine has reported it again"
        );
    }
}

#[test]
fn a_fleetd_that_crashed_takes_no_row_away_from_lists() {
    let polls = polls("2-fleetctl-fleetd-crash.jsonl");
    for start in 0..10 {
        let watched = watch(&polls, Duration::from_secs(start));

        assert_eq!(watched.told("gone"), [], "from {start} s on");
        for unit in ["agent.service", "pinned.service"] {
            assert_eq!(
                watched.verdict(&key(unit, LOST), 118.0),
                "ok",
                "{unit}, after its machine has reported it again"
            );
        }
    }
}

#[test]
fn the_rows_of_a_lost_machine_are_lost_until_fleet_has_them_elsewhere() {
    let watched = watch(&polls("3-fleetctl-machine-lost-then-stale.jsonl"), Duration::ZERO);

    // Its machine has left at 20.0 s, as is told within two polls, and six of twelve units have
    // come up elsewhere at 22.1 s.
    for unit in ["u02", "u03", "u06", "u07", "u10", "u11"] {
        let key = key(&format!("{unit}.service"), LOST);
        assert_eq!(watched.verdict(&key, 30.0), "-", "{unit} is elsewhere");
    }
    for unit in ["u14", "u15", "u18", "u19", "u22", "u23"] {
        let key = key(&format!("{unit}.service"), LOST);
        assert_eq!(watched.verdicts(&key, 24.0, 88.0), ["machine_lost"], "{unit} is nowhere");
    }
    assert_eq!(lost_turned_stale(&watched.shown), []);
}

#[test]
fn one_lost_machine_does_not_make_the_source_suspect() {
    let watched = watch(&polls("3-fleetctl-machine-lost-then-stale.jsonl"), Duration::ZERO);
    assert_eq!((watched.count("source_suspect"), watched.count("machine_lost")), (0, 1));
}

#[test]
fn a_unit_that_restarts_for_ten_minutes_is_a_crash_loop_from_20_s_on() {
    let watched = watch(&polls("4-crash-loop.jsonl"), Duration::ZERO);
    let key = watched.shown.keys().find(|key| &*key.0 == "flap.service").unwrap();

    assert_eq!(watched.verdicts(key, 20.2, 598.0), ["crash_loop"]);
}

#[test]
fn a_crash_loop_is_one_event_within_20_s_and_none_of_its_restarts_is() {
    let polls = polls("4-crash-loop.jsonl");
    for start in 0..10 {
        let watched = watch(&polls, Duration::from_secs(start));
        let [(at, event)] = watched.events.as_slice() else {
            panic!("from {start} s on: {:?}", watched.events)
        };

        assert!(*at <= seconds(start as f64 + 20.0), "{at:?}");
        assert_eq!((event.name(), event.severity()), ("crash_loop", Severity::Warning));
        let place = event.place().unwrap();
        assert_eq!((&*place.unit, place.ip.as_deref()), ("flap.service", Some("10.0.0.1")));
        assert!(event.reason().unwrap().chars().any(|it| it.is_ascii_digit()), "{event}");
    }
}

/// A unit that fails every five seconds, and is told so by whoever looks each second, until it
/// runs.
#[test]
fn a_crash_loop_of_which_every_restart_is_seen_is_told_once_and_once_when_it_is_over() {
    let (there, elsewhere) = ("1", "2");
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
    let polls: Vec<RecordedPoll> =
        (0..420).map(|at| registry_at(at.into(), registry(at))).collect();
    let lists = polled(&polls, Duration::ZERO);

    for (source, watched) in [
        ("etcd", watch(&polls, Duration::ZERO)),
        ("lists", watch(&lists, Duration::ZERO)),
    ] {
        let count = |name| watched.count(name);
        assert_eq!(
            (count("crash_loop"), count("crash_loop_over")),
            (1, 1),
            "{source}: {:?}",
            watched.events
        );
        assert!(
            count("changed") <= 4,
            "{source}: those before it was a loop: {:?}",
            watched.events
        );
        let (at, over) = watched.events.last().unwrap();
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
fn a_crash_loop_that_lasts_says_how_often() {
    let watched = watch(&polls("4-crash-loop.jsonl"), Duration::ZERO);
    let key = watched.shown.keys().find(|key| &*key.0 == "flap.service").unwrap();
    let Some(Shown { reason, .. }) = watched.shown.at(key, seconds(598.0)) else {
        panic!("it is there")
    };
    assert!(reason.chars().any(|it| it.is_ascii_digit()), "{reason}");
}

#[test]
fn a_machine_that_is_back_long_after_an_outage_of_etcd_has_lost_no_row() {
    let watched = watch(&polls("5-etcd-outage.jsonl"), Duration::ZERO);

    assert_eq!(watched.told("gone"), []);
    for unit in ["agent.service", "web.service"] {
        let key = key(unit, LOST);
        assert!(
            !watched.verdicts(&key, 41.0, 119.0).contains(&"ok"),
            "{unit} is not reported from 40 to 120 s"
        );
        assert_eq!(
            watched.verdict(&key, 125.0),
            "ok",
            "{unit}, after its machine has reported it again"
        );
    }
}

#[test]
fn a_fleetd_that_crashes_again_before_it_has_reported_takes_no_row_away() {
    let watched = watch(&polls("6-etcd-fleetd-crashes-again.jsonl"), Duration::ZERO);
    let pinned = key("pinned.service", LOST);

    assert_eq!(watched.told("gone"), []);
    assert_eq!((watched.count("machine_lost"), watched.count("machine_joined")), (2, 2));
    // Renewed late at 28.5 s, expired at 58.5 s; its machine is lost at 80 s, and reports it again
    // at 170 s.
    assert_eq!(watched.verdicts(&pinned, 0.0, 58.4), ["ok", "stale", "ok", "stale"]);
    assert_eq!(watched.told("stale"), [(61.5, "pinned.service".into())]);
    assert_eq!(watched.verdicts(&pinned, 80.1, 169.9), ["machine_lost"]);
    assert_eq!(watched.verdict(&pinned, 170.0), "ok");
}

/// `fleetctl unload` makes fleetd v1.0.0 delete a unit's states and set them again 4 ms later; they
/// go for good seconds after.
#[test]
fn states_that_are_deleted_and_set_again_at_once_are_nothing() {
    let (there, elsewhere) = ("1", "2");
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

    let watched = watch(&polls, Duration::ZERO);
    let rows = |(_, event): &&(Duration, Event)| {
        matches!(event, Event::Gone { .. } | Event::Appeared { .. })
    };
    let told: Vec<_> = watched.events.iter().filter(rows).collect();
    let [(at, Event::Gone { place, .. })] = told.as_slice() else {
        panic!("it goes once: {told:?}")
    };
    assert_eq!(&*place.unit, "a.service");
    assert!((seconds(15.0)..seconds(20.0)).contains(at), "{at:?}");
}
